//! The owner of all batchers: loads the models at the start, and again when it is told to or a file has changed.
//!
//! In: the configuration, the word to load again. Out: lineups, and scored batches of every model. A model of the same shape (front end,
//! window, labels) takes its predecessor's place between two batches; one of another shape serves new streams, while open ones finish on
//! the old sessions. Where loading fails the old model stays.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::watch::FileWatch;
use super::{Lineup, Lineups, ServedModel};
use crate::batch::{self, Batcher, ScoredBatch};
use crate::config::{self, Config};
use crate::envelope::JobOrigin;
use crate::metrics;
use crate::model::{Contract, Model, ModelError, ModelSource, Session};
use crate::stream::{SetupError, StreamSetup};

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Why a model cannot be put into service.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// It cannot be loaded.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Its windows cannot be cut.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// Streams could not tell it from another one.
    #[error("serve two models named {0:?}: give one of them another name in its contract")]
    SameName(String),
    /// Loading panicked.
    #[error("load a model: the engine panicked")]
    Panicked,
}

/// All models in service, with their batchers.
#[derive(Debug)]
pub struct Fleet {
    config: Config,
    members: Vec<Member>,
    /// Batchers that serve only streams opened before an exchange.
    retired: Vec<Batcher<Session>>,
    scored: mpsc::Sender<ScoredBatch<JobOrigin>>,
    lineup: watch::Sender<Arc<Lineup>>,
    setups: u64,
}

#[derive(Debug)]
struct Member {
    source: ModelSource,
    file: Option<FileWatch>,
    served: Arc<ServedModel>,
    batcher: Batcher<Session>,
}

impl Fleet {
    /// Loads every configured model; scored batches of all go to `scored`.
    ///
    /// # Errors
    /// See [`FleetError`]: nothing is in service then.
    pub async fn start(
        config: &Config,
        scored: mpsc::Sender<ScoredBatch<JobOrigin>>,
    ) -> Result<Self, FleetError> {
        let lineup = watch::Sender::new(Arc::new(Lineup::default()));
        let mut fleet =
            Self { config: config.clone(), members: vec![], retired: vec![], scored, lineup, setups: 0 };
        for model in std::slice::from_ref(&config.model) {
            let source = ModelSource::configured(model);
            let file = model.path.as_deref().map(FileWatch::new);
            let loaded = fleet.load(&source).await?;
            fleet.check_name(&loaded.contract, fleet.members.len())?;
            let (served, batcher) = fleet.put_into_service(loaded)?;
            fleet.members.push(Member { source, file, served, batcher });
        }
        fleet.announce();
        Ok(fleet)
    }

    /// Gives the lineup of the moment.
    #[must_use]
    pub fn lineups(&self) -> Lineups {
        self.lineup.subscribe()
    }

    /// Loads models again whenever `reload` says so or a file has changed, until told to stop.
    pub async fn run(mut self, mut reload: mpsc::Receiver<()>, stop: CancellationToken) -> Self {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return self,
                Some(()) = reload.recv() => self.reload(|_| true).await,
                _ = looks.tick() => {
                    self.reload(|member| member.file.as_mut().is_some_and(FileWatch::has_changed)).await;
                }
            }
        }
    }

    /// Takes all models out of service and waits until their last answers are out.
    pub async fn join(self) {
        // Streams are over: these were the last who could hand in work.
        self.lineup.send_replace(Arc::default());
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

    /// Loads those from files again that `wanted` picks.
    async fn reload(&mut self, wanted: impl Fn(&mut Member) -> bool) {
        self.retired.retain(|batcher| !batcher.has_ended());
        for index in 0..self.members.len() {
            let ModelSource::File(path) = self.members[index].source.clone() else { continue };
            if !wanted(&mut self.members[index]) {
                continue;
            }
            match self.exchange(index).await {
                Ok(()) => metrics::model_reload("ok"),
                Err(error) => {
                    metrics::model_reload("failed");
                    tracing::error!(model = %path.display(), "kept the model in service: failed to {error}");
                }
            }
        }
        self.announce();
    }

    async fn exchange(&mut self, index: usize) -> Result<(), FleetError> {
        let loaded = self.load(&self.members[index].source).await?;
        self.check_name(&loaded.contract, index)?;
        let was = self.members[index].served.contract.clone();
        let member = &mut self.members[index];
        let same_shape = shape(&was) == shape(&loaded.contract);
        if same_shape && loaded.sessions.len() == member.batcher.threads() {
            let contract = loaded.contract.clone();
            member.served = Arc::new(ServedModel { contract: contract.clone(), ..(*member.served).clone() });
            member.batcher.replace(contract, loaded.sessions);
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

    /// Reads, checks and warms up a model on a thread of its own.
    async fn load(&self, source: &ModelSource) -> Result<Model, FleetError> {
        let (source, engine): (_, config::Engine) = (source.clone(), self.config.engine.clone());
        let loaded = tokio::task::spawn_blocking(move || Model::load(source, &engine)).await;
        let model = loaded.map_err(|_| FleetError::Panicked)??;
        let Contract { name, version, .. } = &*model.contract;
        tracing::info!(
            name,
            version,
            device = model.device,
            library = %model.library.display(),
            "model loaded"
        );
        metrics::model_info(name, version, &model.engine, &model.device);
        Ok(model)
    }

    fn check_name(&self, contract: &Contract, index: usize) -> Result<(), FleetError> {
        let others = self.members.iter().enumerate().filter(|(other, _)| *other != index);
        match others.map(|(_, member)| &member.served.contract).find(|other| other.name == contract.name) {
            Some(other) => Err(FleetError::SameName(other.name.clone())),
            None => Ok(()),
        }
    }

    /// Starts a batcher of its own.
    fn put_into_service(&mut self, model: Model) -> Result<(Arc<ServedModel>, Batcher<Session>), FleetError> {
        let Model { contract, sessions, .. } = model;
        let setup = StreamSetup::new(&contract, &self.config.window, &self.config.audio)?;
        let (jobs, waiting) = mpsc::channel(batch::INBOX);
        let batcher =
            batch::start(contract.clone(), sessions, &self.config.batch, waiting, self.scored.clone());
        self.setups += 1;
        Ok((Arc::new(ServedModel { contract, setup, setup_number: self.setups, jobs }), batcher))
    }

    fn announce(&self) {
        let models = self.members.iter().map(|member| member.served.clone()).collect();
        self.lineup.send_replace(Arc::new(Lineup::new(models)));
    }
}

/// All that the streams of a model depend on.
fn shape(contract: &Contract) -> impl PartialEq + use<> {
    let Contract { labels, input, sample_rate_hz, window, frames, mfcc, .. } = contract.clone();
    (labels, input, sample_rate_hz, window, frames, mfcc)
}
