//! `affectd evaluate --cross`: the matrix of several models on several corpora.
//!
//! Input: models and corpora. Output: the matrix on stdout. Invariants: every pair has a label in common, which is checked before anything is decoded; each
//! corpus is read once, whatever the number of models.

use std::collections::BTreeSet;
use std::io::{self, Write};

use super::Args;
use super::corpus::{progress, usable};
use crate::cli::UsageError;
use crate::cli::model::{ReportFormat, source};
use crate::config::Config;
use crate::datasets::{Clip, DatasetSpec, Pool, Split};
use crate::evaluation::{
    Answers, CrossCell, CrossCorpus, CrossModel, CrossReport, Perturbation, shared_labels,
};
use crate::model::{Contract, Model, ModelSource};
use crate::offline::OfflineModel;
use crate::offline::cross::evaluate_corpus;
use crate::telemetry::excerpt_of_list;

/// A corpus and its usable clips.
struct Corpus {
    described: CrossCorpus,
    clips: Vec<Clip>,
}

/// Runs the command.
pub(super) async fn run(args: Args, config: Config) -> anyhow::Result<()> {
    let sources: Vec<ModelSource> = match args.model.is_empty() {
        true => vec![source(None, &config)],
        false => args.model.iter().cloned().map(|file| source(Some(file), &config)).collect(),
    };
    let contracts = sources.iter().map(ModelSource::contract).collect::<Result<Vec<_>, _>>()?;
    let models = described(&sources, &contracts);
    let (format, perturbation) = (args.format, Perturbation::new(args.gain_db, args.telephone));
    let (corpora, models) =
        tokio::task::spawn_blocking(move || anyhow::Ok((corpora(&args, &models)?, models))).await??;
    let mut loaded = Vec::new();
    for source in sources {
        let engine = config.engine.clone();
        let model = tokio::task::spawn_blocking(move || Model::load(source, &engine)).await??;
        loaded.push(OfflineModel::start(model, &config)?);
    }
    let report = matrix(&loaded, models, corpora, &perturbation).await?;
    for model in loaded {
        model.stop().await;
    }
    super::warn_of_clipped(&perturbation);
    let mut out = io::stdout().lock();
    match format {
        ReportFormat::Table => write!(out, "{report}")?,
        ReportFormat::Json => writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?,
    }
    Ok(())
}

/// Describes the models by different names.
fn described(sources: &[ModelSource], contracts: &[Contract]) -> Vec<CrossModel> {
    let is_unique =
        |name: &str| contracts.iter().filter(|contract| contract.full_name() == name).count() == 1;
    let describe = |(source, contract): (&ModelSource, &Contract)| {
        let name = contract.full_name();
        CrossModel {
            model: if is_unique(&name) { name } else { format!("{name} ({source})") },
            file: source.to_string(),
            labels: contract.labels.clone(),
            trained_on: contract.provenance.datasets.clone(),
            protocol: contract.provenance.protocol.clone(),
        }
    };
    sources.iter().zip(contracts).map(describe).collect()
}

/// Reads the corpora, and removes their unusable clips. Every model shares a label with every corpus.
fn corpora(args: &Args, models: &[CrossModel]) -> anyhow::Result<Vec<Corpus>> {
    let (specs, splits) = (&args.data, &args.split);
    if splits.len() > 1 && splits.len() != specs.len() {
        let (splits, data) = (splits.len(), specs.len());
        return Err(UsageError(format!(
            "--split names {splits} splits for {data} corpora: name one, or one for each"
        ))
        .into());
    }
    let protocol = args.protocol.protocol(args.seed)?;
    let pools = Pool::read_each(specs, &args.protocol.labels()?)?;
    let names = names(specs);
    for (name, pool) in names.iter().zip(&pools) {
        check_shared(models, name, &labels_of(&mut pool.clips()))?;
    }
    let mut corpora = Vec::new();
    for (at, (name, pool)) in names.into_iter().zip(pools).enumerate() {
        let split = splits.get(at).or(splits.first()).copied().unwrap_or(Split::All);
        let clips = usable(pool, split, &protocol)?;
        let labels = labels_of(&mut clips.iter());
        check_shared(models, &name, &labels)?;
        let (data, split) = (specs[at].to_string(), split.to_string());
        let described = CrossCorpus { corpus: name, data, split, clips: clips.len() as u64, labels };
        corpora.push(Corpus { described, clips });
    }
    Ok(corpora)
}

/// Returns the labels that occur, sorted.
fn labels_of(clips: &mut dyn Iterator<Item = &Clip>) -> Vec<String> {
    clips.map(|clip| clip.emotion.clone()).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Returns an error for the first model that shares no label with a corpus.
fn check_shared(models: &[CrossModel], corpus: &str, labels: &[String]) -> anyhow::Result<()> {
    match models.iter().find(|model| shared_labels(&model.labels, labels).is_empty()) {
        None => Ok(()),
        Some(CrossModel { model, labels: of_model, .. }) => Err(UsageError(format!(
            "model {model} and corpus {corpus} share no label: the model has {}, the corpus {}; rename labels with --map-label",
            excerpt_of_list(of_model),
            excerpt_of_list(labels)
        ))
        .into()),
    }
}

/// Returns short names of the corpora: that of the dataset, or the stem of a manifest; with a number where an earlier one has the same.
fn names(specs: &[DatasetSpec]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for spec in specs {
        let name = spec.short_name();
        let number = (2..).map(|number| format!("{name}-{number}"));
        let unused = std::iter::once(name.clone()).chain(number).find(|name| !names.contains(name));
        names.push(unused.unwrap_or(name));
    }
    names
}

/// Evaluates every model on every corpus.
async fn matrix(
    loaded: &[OfflineModel],
    models: Vec<CrossModel>,
    corpora: Vec<Corpus>,
    perturbation: &Perturbation,
) -> anyhow::Result<CrossReport> {
    let progress = progress(corpora.iter().map(|corpus| corpus.clips.len() as u64).sum())?;
    let mut columns = Vec::new();
    let mut described = Vec::new();
    for Corpus { described: corpus, clips } in corpora {
        let shared: Vec<_> =
            models.iter().map(|model| shared_labels(&model.labels, &corpus.labels)).collect();
        let answers: Vec<_> = shared.iter().map(|labels| Answers::only(labels)).collect();
        let reports = evaluate_corpus(loaded, clips, &answers, perturbation, || progress.inc(1)).await?;
        let cells = models.iter().zip(shared).zip(reports).map(|((model, labels), found)| CrossCell {
            model: model.model.clone(),
            corpus: corpus.corpus.clone(),
            chance: 1.0 / labels.len() as f64,
            labels,
            left_out: found.left_out,
            report: found.report,
        });
        columns.push(cells.collect::<Vec<_>>().into_iter());
        described.push(corpus);
    }
    progress.finish_and_clear();
    let rows = models.iter().flat_map(|_| columns.iter_mut().filter_map(Iterator::next).collect::<Vec<_>>());
    let cells: Vec<CrossCell> = rows.collect();
    if let Some(CrossCell { model, corpus, report, .. }) = cells.iter().find(|cell| cell.report.clips == 0) {
        anyhow::bail!("no clip of {corpus} could be scored by {model}: all {} were skipped", report.skipped);
    }
    Ok(CrossReport { models, corpora: described, cells })
}
