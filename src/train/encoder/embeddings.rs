//! The embeddings of clips: windows through front end and encoder, with a cache on disk.
//!
//! Input: labelled clips, optionally with augmentation of their samples. Output: a [`Corpus`] whose features are embeddings
//! (one frame for each window) or frames. Invariants: an entry of the cache depends on the encoder's nodes up to the layer,
//! the pooling, the front end, the clip and the augmentation; the same clip gives the same values for any number of threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, ensure};
use prost::Message;
use rand::SeedableRng;
use rand::rngs::StdRng;
use sha2::{Digest, Sha256};

use super::{Encoder, EncoderGraph, Pooled, Pooling, digits};
use crate::datasets::Clip;
use crate::features::{FrontEnd, features_with_deltas};
use crate::model::{Input, Observer};
use crate::train::cache::Cache;
use crate::train::corpus::{self, Corpus, Recipe, write_padded};
use crate::train::cut::{CutClip, CutWindow};
use crate::train::graph::Port;
use crate::train::waveform::Waveform;

/// The maximum number of windows in one run.
const BATCH: usize = 4;

/// The augmentation of one copy of the training windows.
#[derive(Debug)]
pub struct Variant {
    /// The augmentation of samples.
    pub waveform: Waveform,
    /// The seed of the run.
    pub seed: u64,
    /// The number of the copy, from 1.
    pub copy: usize,
}

/// The computation of embeddings.
#[derive(Debug)]
pub struct Embeddings<'a> {
    /// The encoder.
    pub encoder: &'a Encoder,
    recipe: &'a Recipe,
    front_end: FrontEnd,
    /// The bytes of the graph from windows to embeddings.
    graph: Vec<u8>,
    /// Idle sessions. A thread takes one, or creates one where there is none, and puts it back.
    sessions: Mutex<Vec<Observer>>,
}

impl<'a> Embeddings<'a> {
    /// Prepares the graph; no session is created yet.
    ///
    /// # Errors
    /// Returns an error where the front end's options are invalid.
    pub fn new(encoder: &'a Encoder, recipe: &'a Recipe) -> anyhow::Result<Self> {
        let built = encoder.graph()?;
        let [frames, width] = encoder.embedding_size();
        let name = built.free_name("embedding");
        let (last, sizes) = match &built.pooled {
            Pooled::Embedding(value) => (value.clone(), vec![width]),
            Pooled::Frames { values, .. } => (values.clone(), vec![frames, width]),
        };
        let EncoderGraph { graph, input, .. } = built;
        let model = graph.finish(&last, input, Port { name, sizes }, ("", String::new()));
        let graph = encoder.complete(model).encode_to_vec();
        let front_end = recipe.front_end()?;
        Ok(Self { encoder, recipe, front_end, graph, sessions: Mutex::default() })
    }

    /// Returns the embeddings of clips. `what` names the clips in the progress.
    ///
    /// # Errors
    /// Returns an error for the first clip that cannot be decoded, whose emotion is not among `labels`, or whose embedding
    /// is not finite, and where ONNX Runtime fails.
    pub fn read(
        &self,
        clips: &[Clip],
        labels: &[String],
        what: &str,
        variant: Option<&Variant>,
    ) -> anyhow::Result<Corpus> {
        let cache = self.open_cache(variant)?;
        let computed = AtomicUsize::new(0);
        let corpus = Corpus::of_clips(clips, labels, &format!("encode {what}"), |bytes, clip| {
            let embed = |bytes: &[u8]| {
                computed.fetch_add(1, Ordering::Relaxed);
                self.embed(bytes, clip, variant).with_context(|| format!("clip {}", clip.id))
            };
            match &cache {
                Some(cache) => cache.get_or(bytes, embed),
                None => embed(bytes),
            }
        })?;
        let cached = clips.len() - computed.into_inner();
        eprintln!("encoder: {what}: {} clips, {cached} of them from the cache", clips.len());
        Ok(corpus)
    }

    fn open_cache(&self, variant: Option<&Variant>) -> anyhow::Result<Option<Cache>> {
        let Some(folder) = &self.recipe.cache else { return Ok(None) };
        let Recipe { mfcc, input, sample_rate_hz, window, .. } = self.recipe;
        let variant = variant.map(|it| serde_json::json!([it.waveform.strength(), it.seed, it.copy]));
        let graph = digits(&Sha256::digest(&self.graph));
        let settings = serde_json::json!(["embeddings", graph, mfcc, input, sample_rate_hz, window, variant]);
        Cache::open(folder, &settings).map(Some)
    }

    fn embed(&self, bytes: &[u8], clip: &Clip, variant: Option<&Variant>) -> anyhow::Result<CutClip> {
        let samples = corpus::samples(bytes, clip, self.recipe.sample_rate_hz)?;
        let mut rng = variant.map(|variant| variant.generator(bytes));
        let windows: Vec<Vec<f32>> = self
            .recipe
            .window_ranges(samples.len())
            .into_iter()
            .map(|range| self.window(&samples[range], variant.zip(rng.as_mut())))
            .collect();
        Ok(CutClip(self.run(&windows)?))
    }

    /// Returns a window as the encoder's graph receives it, without padding.
    fn window(&self, samples: &[f32], variant: Option<(&Variant, &mut StdRng)>) -> Vec<f32> {
        let is_waveform = self.recipe.input == Input::Waveform;
        let changed = variant.and_then(|(variant, rng)| {
            let samples = corpus::at_16_bits(samples);
            match is_waveform {
                true => variant.waveform.change(&samples, rng).map(|changed| changed.samples),
                false => variant.waveform.apply(&samples, rng),
            }
        });
        changed.unwrap_or_else(|| match is_waveform {
            true => samples.to_vec(),
            false => features_with_deltas(&self.front_end, samples),
        })
    }

    fn run(&self, windows: &[Vec<f32>]) -> anyhow::Result<Vec<CutWindow>> {
        let idle = self.sessions.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut session = match idle {
            Some(session) => session,
            None => Observer::with_threads(&self.graph, &self.encoder.engine, 1)?,
        };
        let mut found = Vec::with_capacity(windows.len());
        for batch in windows.chunks(BATCH) {
            self.run_batch(&mut session, batch, &mut found)?;
        }
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).push(session);
        Ok(found)
    }

    fn run_batch(
        &self,
        session: &mut Observer,
        windows: &[Vec<f32>],
        found: &mut Vec<CutWindow>,
    ) -> anyhow::Result<()> {
        let sizes = self.encoder.window_sizes();
        let size: usize = sizes.iter().product();
        let mut batch = vec![0.0; windows.len() * size];
        for (window, out) in windows.iter().zip(batch.chunks_exact_mut(size)) {
            write_padded(window, out);
        }
        let shape: Vec<usize> = std::iter::once(windows.len()).chain(sizes).collect();
        let tensor = session.tensors(&shape, &batch)?.into_iter().next().flatten();
        let values = tensor.context("the embedding is not a tensor of 32-bit floats")?.values;
        ensure!(
            values.iter().all(|value| value.is_finite()),
            "the encoder returns a value that is not finite"
        );
        let [frames, width] = self.encoder.embedding_size();
        ensure!(
            values.len() == windows.len() * frames * width,
            "the encoder returns {} values for {} windows",
            values.len(),
            windows.len()
        );
        for window in values.chunks_exact(frames * width) {
            let features = match self.encoder.options.pooling {
                Pooling::Mean | Pooling::MeanDeviation => window.to_vec(),
                Pooling::Attentive => without_padding(window, width),
            };
            found.push(CutWindow { features, samples: Vec::new() });
        }
        Ok(())
    }
}

impl Variant {
    /// Returns the generator of a clip, so that its augmentation does not depend on the other clips.
    fn generator(&self, clip: &[u8]) -> StdRng {
        let mut hash = Sha256::new();
        hash.update(self.seed.to_le_bytes());
        hash.update((self.copy as u64).to_le_bytes());
        hash.update(clip);
        StdRng::from_seed(hash.finalize().into())
    }
}

/// Returns frames without the rows of 0 at their end.
fn without_padding(frames: &[f32], width: usize) -> Vec<f32> {
    let last = frames.chunks_exact(width).rposition(|frame| frame.iter().any(|value| *value != 0.0));
    frames[..last.map_or(0, |last| (last + 1) * width)].to_vec()
}
