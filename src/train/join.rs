//! Several model files as one: the mean of their logarithms of probabilities, softened by one temperature.
//!
//! In: files with the same labels, windows and front end (one may see fewer coefficients of the same cepstrum), and
//! labelled clips. Out: one file. The temperature is chosen on the validation clips; the test clips are scored once,
//! through the file itself. Never trains.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use prost::Message;

use super::Identity;
use super::corpus::{Corpus, Recipe};
use super::graph::{Graph, Port, int};
use super::measure::MeasuredModel;
use super::onnx::ModelProto;
use super::score::{Score, best_temperature};
use super::selection::Selection;
use crate::config;
use crate::evaluation::datasets::{Clip, DatasetSplits};
use crate::features::MfccOptions;
use crate::model::{Contract, Input, METADATA_KEY, load_contract};

/// A model that is going to be member of another.
#[derive(Debug)]
pub struct Member {
    path: PathBuf,
    model: ModelProto,
    contract: Contract,
}

/// Ensemble that fit together.
#[derive(Debug)]
pub struct Ensemble(Vec<Member>);

impl Ensemble {
    /// Reads files and checks that they fit together; the one with the most coefficients comes first.
    ///
    /// # Errors
    /// Fewer than two files, files that cannot be read, or whose contracts differ in more than their name and the number
    /// of coefficients.
    pub fn read(paths: &[PathBuf]) -> anyhow::Result<Self> {
        ensure!(paths.len() > 1, "join models: at least two files are needed, not {}", paths.len());
        let mut members = paths.iter().map(|path| Member::read(path)).collect::<anyhow::Result<Vec<_>>>()?;
        members.sort_by_key(|member| std::cmp::Reverse(member.contract.coefficients()));
        for other in &members[1..] {
            ensure!(
                shared(&other.contract) == shared(&members[0].contract),
                "join models: {} and {} differ in labels, window or front end",
                members[0].path.display(),
                other.path.display()
            );
        }
        Ok(Self(members))
    }

    /// What all members, and so the whole, are made for.
    pub fn contract(&self) -> &Contract {
        &self.0[0].contract
    }

    /// The temperature that suits the mean of the members on a corpus.
    ///
    /// # Errors
    /// A member that cannot be loaded or gives no answer.
    pub fn temperature(&self, corpus: &Corpus, engine: &config::Engine) -> anyhow::Result<f64> {
        let mut mean = vec![vec![0.0; self.contract().labels.len()]; corpus.windows.len()];
        for member in &self.0 {
            let logits = member.logits(corpus, self.contract().coefficients(), engine)?;
            for (sum, value) in mean.iter_mut().flatten().zip(logits.iter().flatten()) {
                *sum += value / self.0.len() as f32;
            }
        }
        Ok(best_temperature(corpus, &mean))
    }

    /// The whole as one graph.
    ///
    /// # Errors
    /// A member without a graph.
    pub fn join(&self, contract: &Contract) -> anyhow::Result<ModelProto> {
        let mut graph = Graph::default();
        let mut logs = Vec::new();
        for (index, member) in self.0.iter().enumerate() {
            let width = member.contract.coefficients();
            let input = match width == contract.coefficients() {
                true => "input".to_owned(),
                false => first_coefficients(&mut graph, width),
            };
            let inner = member.model.graph.clone();
            let inner =
                inner.with_context(|| format!("join models: {} holds no graph", member.path.display()))?;
            let probabilities = graph.adopt(inner, &format!("part_{index}"), &input);
            let least = graph.floats("least", &[], &[1e-7]);
            let clamped = graph.op("Max", &[&probabilities, &least]);
            logs.push(graph.op("Log", &[&clamped]));
        }
        let logs: Vec<&str> = logs.iter().map(String::as_str).collect();
        let mean = graph.op("Mean", &logs);
        let coldness = graph.floats("coldness", &[], &[1.0 / contract.temperature as f32]);
        let logits = graph.op("Mul", &[&mean, &coldness]);
        let probabilities = graph.op_with("Softmax", &[&logits], vec![int("axis", 1)]);
        let input = Port { name: "input", sizes: vec![contract.rows(), contract.coefficients()] };
        let output = Port { name: "probabilities", sizes: vec![contract.labels.len()] };
        let json = serde_json::to_string(contract)?;
        Ok(graph.finish(&probabilities, input, output, (METADATA_KEY, json)))
    }
}

impl Member {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
        let model =
            ModelProto::decode(bytes.as_slice()).with_context(|| format!("read {}", path.display()))?;
        Ok(Self { path: path.to_owned(), model, contract: load_contract(path)? })
    }

    /// Logits of windows that have `width` coefficients a frame.
    fn logits(
        &self,
        corpus: &Corpus,
        width: usize,
        engine: &config::Engine,
    ) -> anyhow::Result<Vec<Vec<f32>>> {
        let own = self.contract.coefficients();
        let mut windows = corpus.windows.clone();
        for window in &mut windows {
            window.features =
                window.features.chunks_exact(width).flat_map(|frame| &frame[..own]).copied().collect();
        }
        MeasuredModel::load(&self.path, engine)?.logits(&windows)
    }
}

/// What the members of a whole have in common.
fn shared(contract: &Contract) -> (Vec<String>, Input, u32, [usize; 2], Option<MfccOptions>) {
    // The first coefficients of a cepstrum are the same however many follow, unless deltas stand behind them.
    let free = contract.input == Input::Mfcc && contract.mfcc.as_ref().is_some_and(|it| it.deltas == 0);
    let mfcc = contract.mfcc.clone().map(|it| MfccOptions { n_mfcc: if free { 0 } else { it.n_mfcc }, ..it });
    let window = [contract.window.length_samples, contract.window.hop_samples];
    (contract.labels.clone(), contract.input, contract.sample_rate_hz, window, mfcc)
}

fn first_coefficients(graph: &mut Graph, width: usize) -> String {
    let start = graph.ints("start", &[0]);
    let end = graph.ints("end", &[width as i64]);
    let axis = graph.ints("axis", &[2]);
    graph.op("Slice", &["input", &start, &end, &axis])
}

/// A scores file and what it reaches.
#[derive(Debug, Clone, Copy)]
pub struct EnsembleScores {
    /// On the clips that chose the temperature.
    pub validation: Score,
    /// On the test clips.
    pub test: Score,
}

/// Joins files, writes the whole and measures it.
///
/// # Errors
/// Ensemble that do not fit together, data that cannot be read, a file that cannot be written.
pub fn write(
    members: &Ensemble,
    (selection, cache): (&Selection, Option<PathBuf>),
    (path, identity): (&Path, &Identity),
    engine: &config::Engine,
) -> anyhow::Result<EnsembleScores> {
    let recipe = Recipe::of_contract(members.contract(), cache)?;
    let (DatasetSplits { validation, test, .. }, audit) = selection.partition(&recipe)?;
    eprint!("{audit}");
    let corpus = |clips: &[Clip], what| Corpus::read(clips, &members.contract().labels, &recipe, what);
    let validation = corpus(&validation, "validation")?;
    let mut contract = members.contract().clone();
    (contract.name, contract.version) = (identity.name.clone(), identity.version.clone());
    contract.temperature = members.temperature(&validation, engine)?;
    let written = |contract: &Contract| {
        let bytes = members.join(contract)?.encode_to_vec();
        std::fs::write(path, bytes).with_context(|| format!("write {}", path.display()))
    };
    written(&contract)?;
    let mut file = MeasuredModel::load(path, engine)?;
    let scores =
        EnsembleScores { validation: file.score(&validation)?, test: file.score(&corpus(&test, "test")?)? };
    let seed = contract.provenance.seed;
    contract.provenance = selection.provenance(identity, (&scores.validation, &scores.test), seed);
    written(&contract)?;
    Ok(scores)
}
