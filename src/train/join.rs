//! Ensembles: several model files in one graph, which averages their log-probabilities.
//!
//! Input: model files with the same labels, windows and front end (a member may use fewer coefficients of the same
//! cepstrum), and labelled clips. Output: one ONNX file with `softmax(mean(log p) / temperature)`. Invariants: the
//! temperature is fitted on the validation clips; the test clips are scored once, with the written file.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use prost::Message;

use super::Identity;
use super::corpus::{Corpus, Recipe};
use super::graph::{Graph, OPSET, Port, int};
use super::logits::statistics;
use super::measure::MeasuredModel;
use super::onnx::ModelProto;
use super::score::{Score, best_temperature};
use super::selection::Selection;
use crate::config;
use crate::datasets::{Clip, DatasetSplits};
use crate::features::MfccOptions;
use crate::model::{Contract, Input, Layout, METADATA_KEY, Output, TrainingLogits, load_contract};

/// A member of an ensemble.
#[derive(Debug)]
pub struct Member {
    path: PathBuf,
    model: ModelProto,
    contract: Contract,
}

/// Models with compatible contracts; the one with the most coefficients comes first.
#[derive(Debug)]
pub struct Ensemble(Vec<Member>);

impl Ensemble {
    /// Reads model files and checks that they are compatible.
    ///
    /// # Errors
    /// Returns an error with fewer than two files, where a file cannot be read or its output is not `probabilities`, and where contracts differ in
    /// labels, window, front end or layout. The number of MFCCs without deltas may differ.
    pub fn read(paths: &[PathBuf]) -> anyhow::Result<Self> {
        ensure!(paths.len() > 1, "join models: at least two files are needed, not {}", paths.len());
        let mut members = paths.iter().map(|path| Member::read(path)).collect::<anyhow::Result<Vec<_>>>()?;
        members.sort_by_key(|member| std::cmp::Reverse(member.contract.coefficients()));
        for other in &members[1..] {
            ensure!(
                shared(&other.contract) == shared(&members[0].contract),
                "join models: {} and {} differ in labels, window, front end or layout",
                members[0].path.display(),
                other.path.display()
            );
        }
        Ok(Self(members))
    }

    /// Returns the contract of the member with the most coefficients, whose input is that of the ensemble.
    pub fn contract(&self) -> &Contract {
        &self.0[0].contract
    }

    /// Fits the temperature of the ensemble on a corpus. Returns it with the statistics of the logits.
    ///
    /// # Errors
    /// Returns an error where a member cannot be loaded or fails.
    pub fn calibrated(
        &self,
        corpus: &Corpus,
        engine: &config::Engine,
    ) -> anyhow::Result<(f64, TrainingLogits)> {
        let mut mean = vec![vec![0.0; self.contract().labels.len()]; corpus.windows.len()];
        for member in &self.0 {
            let logits = member.logits(corpus, self.contract().coefficients(), engine)?;
            for (sum, value) in mean.iter_mut().flatten().zip(logits.iter().flatten()) {
                *sum += value / self.0.len() as f32;
            }
        }
        let temperature = best_temperature(corpus, &mean);
        Ok((temperature, statistics(corpus, &mean, temperature)))
    }

    /// Builds the graph of the ensemble.
    ///
    /// # Errors
    /// Returns an error where a member has no graph.
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
            let probabilities = graph.inline(inner, &format!("part_{index}"), &input);
            let least = graph.floats("least", &[], &[1e-7]);
            let clamped = graph.op("Max", &[&probabilities, &least]);
            logs.push(graph.op("Log", &[&clamped]));
        }
        let logs: Vec<&str> = logs.iter().map(String::as_str).collect();
        let mean = graph.op("Mean", &logs);
        let inverse_temperature =
            graph.floats("inverse_temperature", &[], &[1.0 / contract.temperature as f32]);
        let logits = graph.op("Mul", &[&mean, &inverse_temperature]);
        let probabilities = graph.op_with("Softmax", &[&logits], vec![int("axis", 1)]);
        let input = Port { name: "input".to_owned(), sizes: vec![contract.rows(), contract.coefficients()] };
        let output = Port { name: "probabilities".to_owned(), sizes: vec![contract.labels.len()] };
        let json = serde_json::to_string(contract)?;
        Ok(graph.finish(&probabilities, input, output, (METADATA_KEY, json)))
    }
}

impl Member {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
        let model =
            ModelProto::decode(bytes.as_slice()).with_context(|| format!("read {}", path.display()))?;
        let contract = load_contract(path)?;
        let file = path.display();
        ensure!(
            contract.output == Output::Probabilities,
            "join models: {file}: output: only \"probabilities\" can be joined"
        );
        let operators = model.opset_import.iter().map(|it| (it.domain.as_str(), it.version));
        let other = operators.filter(|(domain, version)| !(domain.is_empty() && *version == OPSET)).count();
        ensure!(
            other == 0,
            "join models: {file}: only the operators of ONNX in version {OPSET} can be joined"
        );
        Ok(Self { path: path.to_owned(), model, contract })
    }

    /// Returns the member's logits for windows with `width` coefficients per frame, of which it uses the first ones.
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

/// Returns the parts of a contract that all members must share.
fn shared(contract: &Contract) -> (Vec<String>, Input, Layout, u32, [usize; 2], Option<MfccOptions>) {
    // The first MFCCs do not depend on how many follow, so a member may use fewer. With deltas the positions of the
    // values differ, and the number must be the same.
    let free = contract.input == Input::Mfcc && contract.mfcc.as_ref().is_some_and(|it| it.deltas == 0);
    let mfcc = contract.mfcc.clone().map(|it| MfccOptions { n_mfcc: if free { 0 } else { it.n_mfcc }, ..it });
    let window = [contract.window.length_samples, contract.window.hop_samples];
    (contract.labels.clone(), contract.input, contract.layout, contract.sample_rate_hz, window, mfcc)
}

/// Adds a node that keeps the first `width` coefficients of the graph's input and returns its name.
fn first_coefficients(graph: &mut Graph, width: usize) -> String {
    let start = graph.ints("start", &[0]);
    let end = graph.ints("end", &[width as i64]);
    let axis = graph.ints("axis", &[2]);
    graph.op("Slice", &["input", &start, &end, &axis])
}

/// The scores of an ensemble.
#[derive(Debug, Clone, Copy)]
pub struct EnsembleScores {
    /// The score on the validation clips, on which the temperature was fitted.
    pub validation: Score,
    /// The score on the test clips.
    pub test: Score,
}

/// Builds the ensemble, writes it to `path` and scores the written file.
///
/// The file is written twice: the scores are measured on the file itself and then become part of its contract.
///
/// # Errors
/// Returns an error where data cannot be read, a model fails, or the file cannot be written.
pub fn write(
    members: &Ensemble,
    selection: &Selection,
    cache: Option<PathBuf>,
    path: &Path,
    identity: &Identity,
    engine: &config::Engine,
) -> anyhow::Result<EnsembleScores> {
    let recipe = Recipe::of_contract(members.contract(), cache)?;
    let (DatasetSplits { validation, test, .. }, audit) = selection.splits(&recipe)?;
    eprint!("{audit}");
    let corpus = |clips: &[Clip], what| Corpus::read(clips, &members.contract().labels, &recipe, what);
    let validation = corpus(&validation, "validation")?;
    let mut contract = members.contract().clone();
    (contract.name, contract.version) = (identity.name.clone(), identity.version.clone());
    let (temperature, logits) = members.calibrated(&validation, engine)?;
    (contract.temperature, contract.adaptation) = (temperature, Some(logits));
    // The ensemble has probabilities alone.
    contract.out_of_domain = None;
    contract.values.clear();
    let written = |contract: &Contract| {
        let bytes = members.join(contract)?.encode_to_vec();
        std::fs::write(path, bytes).with_context(|| format!("write {}", path.display()))
    };
    written(&contract)?;
    let mut file = MeasuredModel::load(path, engine)?;
    let scores =
        EnsembleScores { validation: file.score(&validation)?, test: file.score(&corpus(&test, "test")?)? };
    let seed = contract.provenance.seed;
    contract.provenance = selection.provenance(identity, &scores.validation, &scores.test, seed);
    written(&contract)?;
    Ok(scores)
}
