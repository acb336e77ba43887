//! The reloader: loads the models at the start, and again on request or when a file has changed. It owns all batchers.
//!
//! Input: the configuration, requests to load again. Output: registries, and scored batches of every model. A model of the same shape (front
//! end, window, labels) replaces its predecessor between two batches; one of another shape serves new streams, while open ones finish on the
//! old sessions. Where loading fails the old model stays in service. Sessions that seem broken are replaced in the same way: by sessions on
//! another device where the device is gone and `engine.device` allows it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::Role;
use super::fit::{ModelSlot, check, shape};
use super::load::{LoadedModel, load};
use super::watch::FileWatch;
use super::{ConfiguredModel, LoadLimits};
use super::{
    ModelRegistry, ProcessorCost, RegistryReceiver, ReloadError, ReloaderOptions, ServedModel, Shadow,
    Utilization,
};
use crate::audio::CHANNELS;
use crate::batch::{self, Batcher, ScoredBatch};
use crate::model::{Contract, Model, ModelSource, Session};
use crate::serving::JobOrigin;
use crate::stream::{SetupError, StreamSetup};
use crate::telemetry::metrics::{self, GaugeGuard};
use crate::telemetry::process_cpu;

/// How often files are polled.
const POLL: Duration = Duration::from_secs(1);

/// All models in service, with their batchers.
#[derive(Debug)]
pub struct Reloader {
    options: ReloaderOptions,
    members: Vec<Member>,
    /// Batchers that serve only streams opened before an exchange.
    retired: Vec<Batcher<Session>>,
    scored: mpsc::Sender<ScoredBatch<JobOrigin>>,
    registry: watch::Sender<Arc<ModelRegistry>>,
    setups: u64,
    processor: Arc<ProcessorCost>,
    /// CPU time and windows at the last poll.
    seen: (Duration, u64),
}

#[derive(Debug)]
struct Member {
    source: ModelSource,
    limits: LoadLimits,
    role: Role,
    file: Option<FileWatch>,
    served: Arc<ServedModel>,
    batcher: Batcher<Session>,
    _in_use: GaugeGuard,
}

impl Reloader {
    /// Loads every configured model; scored batches of all go to `scored`.
    ///
    /// # Errors
    /// See [`ReloadError`]: nothing is in service then.
    pub async fn start(
        options: &ReloaderOptions,
        scored: mpsc::Sender<ScoredBatch<JobOrigin>>,
    ) -> Result<Self, ReloadError> {
        let registry = watch::Sender::new(Arc::new(ModelRegistry::default()));
        let mut reloader = Self {
            options: options.clone(),
            members: vec![],
            retired: vec![],
            scored,
            registry,
            setups: 0,
            processor: Arc::default(),
            seen: Default::default(),
        };
        match reloader.load_all(&options.models).await {
            Ok(()) => {
                reloader.announce();
                Ok(reloader)
            }
            Err(error) => {
                reloader.join().await;
                Err(error)
            }
        }
    }

    async fn load_all(&mut self, models: &[ConfiguredModel]) -> Result<(), ReloadError> {
        for model in models {
            let (source, role) = (ModelSource::configured(model.path.as_deref()), model.role.clone());
            let file = model.path.as_deref().map(FileWatch::new);
            let loaded = load(source.clone(), model.limits, &self.options).await?;
            let in_use = in_use(&loaded.model);
            let (served, batcher) = self.put_into_service(loaded)?;
            let limits = model.limits;
            self.members.push(Member { source, limits, role, file, served, batcher, _in_use: in_use });
        }
        check(&self.members.iter().map(Member::slot).collect::<Vec<_>>())
    }

    /// A receiver of the current registry.
    #[must_use]
    pub fn registries(&self) -> RegistryReceiver {
        self.registry.subscribe()
    }

    /// Loads models again on each message of `reload` and when a file has changed, until `stop`.
    pub async fn run(mut self, mut reload: mpsc::Receiver<()>, stop: CancellationToken) -> Self {
        let mut polls = tokio::time::interval(POLL);
        polls.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return self,
                Some(()) = reload.recv() => self.reload(|member| member.file.is_some()).await,
                _ = polls.tick() => {
                    self.measure_processor();
                    self.reload(|member| member.has_changed() || member.batcher.seems_broken()).await;
                }
            }
        }
    }

    /// Measures the process's CPU time for the windows since the last poll.
    fn measure_processor(&mut self) {
        let windows = self.members.iter().map(|member| member.served.utilization.cost().windows()).sum();
        let now = (process_cpu(), windows);
        let (cpu, before) = std::mem::replace(&mut self.seen, now);
        self.processor.add(now.0.saturating_sub(cpu), windows.saturating_sub(before));
    }

    /// Takes all models out of service and waits until their last results are sent.
    pub async fn join(self) {
        // The registry holds the last senders of jobs besides those of open streams, which have ended.
        self.registry.send_replace(Arc::default());
        let Self { members, retired, scored, .. } = self;
        let mut batchers = retired;
        for Member { served, batcher, .. } in members {
            drop(served);
            batchers.push(batcher);
        }
        drop(scored);
        for batcher in batchers {
            batcher.join().await;
        }
    }

    /// Loads the members again that `wanted` selects.
    async fn reload(&mut self, wanted: impl Fn(&mut Member) -> bool) {
        self.retired.retain(|batcher| !batcher.has_ended());
        let mut exchanged = false;
        for index in 0..self.members.len() {
            if !wanted(&mut self.members[index]) {
                continue;
            }
            match self.exchange(index).await {
                Ok(()) => {
                    exchanged = true;
                    metrics::model_reload("ok");
                }
                Err(error) => {
                    metrics::model_reload("failed");
                    let model = &self.members[index].source;
                    tracing::error!(%model, "kept the model in service: failed to {error}");
                }
            }
        }
        if exchanged {
            self.announce();
        }
    }

    async fn exchange(&mut self, index: usize) -> Result<(), ReloadError> {
        let Member { source, limits, .. } = &self.members[index];
        let loaded = load(source.clone(), *limits, &self.options).await?;
        let new = &loaded.model;
        let setup = self.setup(&new.contract)?;
        let mut slots: Vec<_> = self.members.iter().map(Member::slot).collect();
        slots[index] = ModelSlot { name: &new.contract.name, setup: &setup, ..slots[index] };
        check(&slots)?;
        let was = self.members[index].served.contract.clone();
        let member = &mut self.members[index];
        member._in_use = in_use(new);
        let same_shape = shape(&was) == shape(&new.contract);
        if same_shape && new.sessions.len() == member.batcher.threads() {
            let contract = new.contract.clone();
            member.served = Arc::new(ServedModel { contract: contract.clone(), ..(*member.served).clone() });
            member.batcher.replace(contract, loaded.model.sessions);
        } else {
            let (served, batcher) = self.put_into_service(loaded)?;
            let member = &mut self.members[index];
            member.served = served;
            self.retired.push(std::mem::replace(&mut member.batcher, batcher));
        }
        let now = &self.members[index].served.contract;
        tracing::info!(
            was = was.version,
            now = now.version,
            name = now.name,
            open_streams_too = same_shape,
            "model exchanged"
        );
        Ok(())
    }

    /// The setup of a model's streams.
    fn setup(&self, contract: &Contract) -> Result<StreamSetup, SetupError> {
        let ReloaderOptions { window, audio, vad, .. } = &self.options;
        let setup = StreamSetup::new(contract, window, audio)?.gated(contract, vad)?;
        Ok(StreamSetup { bounds: self.options.bounds, summaries: self.options.summaries, ..setup })
    }

    /// Starts a batcher of its own.
    fn put_into_service(
        &mut self,
        LoadedModel { model, max_size }: LoadedModel,
    ) -> Result<(Arc<ServedModel>, Batcher<Session>), ReloadError> {
        let Model { contract, sessions, time_per_window, .. } = model;
        let options = batch::Options { max_size: Some(max_size), ..self.options.batch.clone() };
        let setup = self.setup(&contract)?;
        let (jobs, waiting) = batch::inbox(&options);
        let batcher = batch::start(contract.clone(), sessions, &options, waiting, self.scored.clone());
        self.setups += 1;
        batcher.cost().add(time_per_window, 1);
        self.processor.guess(time_per_window);
        let hop = setup.geometry.span().hop;
        let utilization = Utilization::new(batcher.cost().clone(), batcher.threads(), hop);
        let (setup_number, shadows) = (self.setups, Vec::new());
        let share = Arc::new(Semaphore::new(self.options.shard_capacity.min(Semaphore::MAX_PERMITS)));
        let room = || Arc::new(Semaphore::new(room_ahead(max_size, batcher.threads())));
        let (ahead, backlog) = (room(), room());
        let served = ServedModel {
            contract,
            setup,
            setup_number,
            jobs,
            share,
            ahead,
            backlog,
            is_only: false,
            utilization,
            shadows,
        };
        Ok((Arc::new(served), batcher))
    }

    /// Publishes the registry: serving models in the order of the configuration, shadows beside the first.
    fn announce(&self) {
        let shadow = |member: &Member| match &member.role {
            Role::Serving => None,
            Role::Shadow { topic } => {
                let topic = topic.as_deref().map(Arc::from);
                Some(Shadow { model: member.served.clone(), topic })
            }
        };
        let mut shadows: Vec<Shadow> = self.members.iter().filter_map(shadow).collect();
        let serving = self.members.iter().filter(|member| member.role == Role::Serving);
        let is_only = serving.clone().count() == 1;
        let models = serving.map(|member| {
            let shadows = std::mem::take(&mut shadows);
            Arc::new(ServedModel { shadows, is_only, ..(*member.served).clone() })
        });
        self.registry.send_replace(Arc::new(ModelRegistry::new(models.collect(), self.processor.clone())));
    }
}

fn in_use(model: &Model) -> GaugeGuard {
    metrics::model_in_use(&model.contract.name, &model.contract.version, &model.engine, &model.device)
}

impl Member {
    fn has_changed(&mut self) -> bool {
        self.file.as_mut().is_some_and(FileWatch::has_changed)
    }

    fn slot(&self) -> ModelSlot<'_> {
        ModelSlot { role: &self.role, name: &self.served.contract.name, setup: &self.served.setup }
    }
}

/// Returns the windows of streams ahead of real time, or of backlogs, that may be on their way through a model: the batches that its sessions run, one that is formed,
/// and as many again that wait. Every chunk finds room for all of its channels.
fn room_ahead(batch: usize, sessions: usize) -> usize {
    let channels = usize::from(*CHANNELS.end());
    (2 * batch.saturating_mul(sessions + 1)).clamp(channels, Semaphore::MAX_PERMITS)
}
