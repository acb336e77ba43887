//! Frozen encoders: trainer and exported file compute the same embeddings and probabilities, padding does not contribute,
//! and the exported file is complete.

use std::path::Path;

use affectd::config::Config;
use affectd::datasets::{Clip, Split, load};
use affectd::model::{Model, ModelSource, Observer, load_contract};
use affectd::train::corpus::{Corpus, Recipe};
use affectd::train::encoder::{Embeddings, Encoder, Pooling, Variant};
use affectd::train::onnx::ModelProto;
use affectd::train::waveform::{Waveform, WaveformStrength};
use affectd::train::{Identity, Trained, Training};
use prost::Message;

use crate::support::encoder_fixture::{
    BANDS, FRAMES, KEY, ROWS, WIDTH, graph_of, head, on_frames, on_samples, open, write,
};
use crate::support::train_fixture::labels;

fn exported(folder: &Path, trained: &Trained) -> std::path::PathBuf {
    let path = folder.join("toy.onnx");
    let identity = Identity { name: "toy".into(), version: "0.0.1".into(), data: None };
    trained.write(&path, &identity).unwrap();
    path
}

fn decoded(path: &Path) -> ModelProto {
    ModelProto::decode(std::fs::read(path).unwrap().as_slice()).unwrap()
}

fn clips(training: &Training) -> Vec<Clip> {
    load(&training.selection.data[0], Split::All).unwrap()
}

/// The embeddings of the trainer.
fn embeddings(training: &Training) -> Corpus {
    let encoder = training.encoder.as_ref().unwrap();
    Embeddings::new(encoder, &training.recipe)
        .unwrap()
        .read(&clips(training), &labels(), "all", None)
        .unwrap()
}

/// The windows as a model receives them, padded: `[windows][rows * columns]`.
fn inputs(training: &Training) -> Vec<Vec<f32>> {
    let encoder = training.encoder.as_ref().unwrap();
    let size = encoder.contract.rows() * encoder.contract.coefficients();
    let recipe = Recipe { keep_samples: true, ..training.recipe.clone() };
    let corpus = Corpus::read(&clips(training), &labels(), &recipe, "all").unwrap();
    let padded = |window: &affectd::train::corpus::LabelledWindow| {
        let mut out = vec![0.0; size];
        match encoder.contract.coefficients() {
            1 => out.iter_mut().zip(&window.samples).for_each(|(out, it)| *out = f32::from(*it) / 32_768.0),
            _ => window.write_padded(&mut out),
        }
        out
    };
    corpus.windows.iter().map(padded).collect()
}

fn furthest(found: &[f32], wanted: &[f32]) -> f32 {
    assert_eq!(found.len(), wanted.len());
    found.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Runs a model whose only output is the value `output`.
fn observed(mut model: ModelProto, output: &str, windows: &[Vec<f32>], shape: &[usize]) -> Vec<f32> {
    let graph = graph_of(&mut model);
    graph.output.truncate(1);
    graph.output[0].name = output.to_owned();
    let tensor = graph.output[0].r#type.as_mut().unwrap().tensor_type.as_mut().unwrap();
    tensor.shape = None;
    let mut observer = Observer::load(&model.encode_to_vec(), &Config::default().engine).unwrap();
    let run = |window: &Vec<f32>| {
        let shape: Vec<usize> = [&[1], shape].concat();
        observer.tensors(&shape, window).unwrap().remove(0).unwrap().values
    };
    windows.iter().flat_map(run).collect()
}

#[track_caller]
fn file_equals_trainer(encoder: &ModelProto, pooling: Pooling, layer: Option<&str>) -> ModelProto {
    let folder = tempfile::tempdir().unwrap();
    let training = head(folder.path(), open(folder.path(), encoder, pooling, layer));
    let trained = training.run().unwrap();
    let path = exported(folder.path(), &trained);
    let mut model = Model::load(ModelSource::File(path.clone()), &Config::default().engine).unwrap();
    let (windows, mut found) = (inputs(&training), Vec::new());
    model.sessions[0].run(&windows.concat(), windows.len(), &mut found).unwrap();
    let corpus = embeddings(&training);
    let wanted: Vec<f32> =
        trained.probabilities(&corpus.windows).concat().iter().map(|it| *it as f32).collect();
    let difference = furthest(&found, &wanted);
    assert!(difference < 1e-4, "{pooling:?}: probabilities differ by {difference}");
    let spread = wanted.iter().copied().fold(0.0, f32::max);
    assert!(spread > 0.6, "{pooling:?} has learnt nothing: no probability above {spread}");
    let file = decoded(&path);
    if pooling != Pooling::Attentive {
        let nodes = &file.graph.as_ref().unwrap().node;
        let flatten = nodes.iter().find(|node| node.op_type == "Flatten").unwrap().output[0].clone();
        let sizes: &[usize] = if windows[0].len() == ROWS * BANDS { &[ROWS, BANDS] } else { &[16_000] };
        let found = observed(file.clone(), &flatten, &windows, sizes);
        let wanted: Vec<f32> = corpus.windows.iter().flat_map(|window| window.features.clone()).collect();
        let difference = furthest(&found, &wanted);
        assert!(difference < 1e-4, "{pooling:?}: embeddings differ by {difference}");
    }
    file
}

#[test]
fn the_file_of_a_mean_of_frames_gives_the_trainers_embeddings_and_probabilities() {
    file_equals_trainer(&on_frames("NTC"), Pooling::Mean, None);
}

#[test]
fn the_file_of_means_and_deviations_of_a_named_layer_gives_those_of_the_trainer() {
    let file = file_equals_trainer(&on_frames("NCT"), Pooling::MeanDeviation, Some("deep"));
    let graph = file.graph.unwrap();
    assert_eq!((graph.input.len(), graph.output.len()), (1, 1));
    assert!(graph.node.iter().any(|node| node.op_type == "Constant"), "constants of the encoder are kept");
}

#[test]
fn the_file_of_an_attentive_pooling_gives_the_trainers_probabilities() {
    let file = file_equals_trainer(&on_frames("NTC"), Pooling::Attentive, Some("frames"));
    let graph = file.graph.unwrap();
    assert!(!graph.node.iter().any(|node| node.output[0] == "deep"), "nodes after the layer are left out");
    assert!(!graph.initializer.iter().any(|tensor| tensor.name.starts_with("projection")));
}

#[test]
fn an_encoder_of_samples_with_a_newer_operator_set_gives_those_of_the_trainer() {
    let mut encoder = on_samples();
    encoder.opset_import[0].version = 20;
    let file = file_equals_trainer(&encoder, Pooling::MeanDeviation, None);
    assert_eq!(file.opset_import[0].version, 20);
}

/// The frames of the encoder pooled here, over the frames that begin before the end of the audio.
#[test]
fn frames_without_audio_do_not_contribute() {
    let folder = tempfile::tempdir().unwrap();
    for model in [on_frames("NTC"), on_samples()] {
        let training = head(folder.path(), open(folder.path(), &model, Pooling::MeanDeviation, None));
        let encoder = training.encoder.as_ref().unwrap();
        let (rows, columns) = (encoder.contract.rows(), encoder.contract.coefficients());
        let shape: Vec<usize> = if columns == 1 { vec![1, rows] } else { vec![rows, columns] };
        let corpus = embeddings(&training);
        let mut short = 0;
        for (window, embedding) in inputs(&training).iter().zip(&corpus.windows) {
            let frames = observed(model.clone(), "frames", std::slice::from_ref(window), &shape);
            let audio = window.iter().rposition(|value| *value != 0.0).unwrap() / columns + 1;
            let count = (0..FRAMES).filter(|frame| frame * rows / FRAMES < audio).count();
            short += usize::from(count < FRAMES);
            let column =
                |at: usize| frames.chunks_exact(WIDTH).take(count).map(move |frame| f64::from(frame[at]));
            let mean = |at: usize| column(at).sum::<f64>() / count as f64;
            let variance =
                |at: usize| column(at).map(|it| (it - mean(at)).powi(2)).sum::<f64>() / count as f64;
            let means = (0..WIDTH).map(mean);
            let deviations = (0..WIDTH).map(|at| (variance(at) + 1e-5).sqrt());
            let wanted: Vec<f32> = means.chain(deviations).map(|it| it as f32).collect();
            let difference = furthest(&embedding.features, &wanted);
            assert!(difference < 1e-4, "{count} frames: {difference}");
        }
        assert!(short > 10, "{short} windows are padded");
    }
}

#[test]
fn the_file_has_its_contract_the_encoders_attribution_and_its_origin() {
    let folder = tempfile::tempdir().unwrap();
    let training = head(folder.path(), open(folder.path(), &on_frames("NCT"), Pooling::Mean, None));
    let trained = training.run().unwrap();
    let path = exported(folder.path(), &trained);
    let contract = load_contract(&path).unwrap();
    assert_eq!((contract.name.as_str(), contract.labels), ("toy", labels()));
    assert_eq!((contract.layout.name(), contract.frames), ("NTC", Some(ROWS)));
    assert_eq!(contract.provenance.metrics["test_accuracy"], trained.test.accuracy);
    let metadata = decoded(&path).metadata_props;
    let value =
        |key: &str| metadata.iter().filter(|it| it.key == key).map(|it| &it.value).collect::<Vec<_>>();
    assert_eq!(value(KEY).len(), 1);
    assert_eq!(value("attribution"), ["toy encoder, MIT"]);
    let origin: serde_json::Value = serde_json::from_str(value("affectd.encoder")[0]).unwrap();
    let sha256 = &training.encoder.as_ref().unwrap().sha256;
    assert_eq!((&origin["layer"], &origin["sha256"]), (&"frames".into(), &sha256.as_str().into()));
}

#[test]
fn weights_in_another_file_become_part_of_the_encoder() {
    let folder = tempfile::tempdir().unwrap();
    let inside = on_frames("NTC");
    let mut outside = inside.clone();
    let kernel =
        graph_of(&mut outside).initializer.iter_mut().find(|it| it.name.starts_with("kernel")).unwrap();
    let bytes = std::mem::take(&mut kernel.raw_data);
    kernel.data_location = 1;
    let length = bytes.len().to_string();
    for (key, value) in [("location", "weights.bin"), ("offset", "16"), ("length", length.as_str())] {
        let entry = affectd::train::onnx::StringStringEntryProto { key: key.into(), value: value.into() };
        kernel.external_data.push(entry);
    }
    std::fs::write(folder.path().join("weights.bin"), [vec![7; 16], bytes].concat()).unwrap();
    let values = |model: &ModelProto| {
        let training = head(folder.path(), open(folder.path(), model, Pooling::Mean, None));
        embeddings(&training).windows
    };
    assert_eq!(values(&outside), values(&inside));
}

#[test]
fn copies_are_augmented_before_the_encoder_and_repeatable() {
    let folder = tempfile::tempdir().unwrap();
    for model in [on_frames("NTC"), on_samples()] {
        let training = head(folder.path(), open(folder.path(), &model, Pooling::Mean, None));
        let recipe = &training.recipe;
        let encoder: &Encoder = training.encoder.as_ref().unwrap();
        let embeddings = Embeddings::new(encoder, recipe).unwrap();
        let some = &clips(&training)[..6];
        let read = |copy: Option<usize>| {
            let variant = copy.map(|copy| {
                let strength = WaveformStrength { noise: 1.0, ..WaveformStrength::NONE };
                let front_end = recipe.front_end().unwrap();
                Variant { waveform: Waveform::new(strength, front_end, 16_000), seed: 3, copy }
            });
            embeddings.read(some, &labels(), "some", variant.as_ref()).unwrap()
        };
        let [plain, first, again, second] = [None, Some(1), Some(1), Some(2)].map(read);
        assert_eq!(first, again);
        assert_eq!(plain.windows.len(), first.windows.len());
        for (one, other) in [(&plain, &first), (&first, &second)] {
            let pairs = one.windows.iter().zip(&other.windows);
            assert!(pairs.into_iter().all(|(one, other)| one.features != other.features));
        }
    }
}

#[test]
fn the_file_that_the_encoder_was_read_from_is_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), &on_frames("NTC"));
    let before = std::fs::read(&path).unwrap();
    let encoder = open(folder.path(), &on_frames("NTC"), Pooling::Mean, Some("deep"));
    assert_eq!((encoder.layer.as_str(), encoder.frames, encoder.width), ("deep", FRAMES, WIDTH));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}
