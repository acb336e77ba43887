//! A stretch of audio without a long gap: a resampler, a windower and, where silence is told, an ear for speech for each channel.
//!
//! In: the stretch's samples, in order. Out: its windows, the partial one at its end. Knows no chunks.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::{StreamSetup, Workbench};
use crate::audio::{Resampler, ResamplerPlan};
use crate::vad::{Gate, Speech};
use crate::window::ChannelWindower;
use crate::window::Cut;
use crate::window::{Window, window};

/// The state of one stretch.
#[derive(Debug)]
pub(super) struct Stretch {
    pub first_window: u64,
    plan: Arc<ResamplerPlan>,
    channels: Vec<Channel>,
}

/// The state of one channel.
#[derive(Debug)]
struct Channel {
    resampler: Resampler,
    windower: ChannelWindower,
    /// Where `setup.gate` is there.
    speech: Option<Speech>,
}

impl Stretch {
    /// A stretch that begins at the source sample `position` and owes each channel the windows from `owed` on.
    pub fn open(
        setup: &StreamSetup,
        plan: Arc<ResamplerPlan>,
        position: u64,
        first_window: u64,
        owed: &[u64],
    ) -> Self {
        let geometry = &setup.geometry;
        // No reader is left in the middle of a window; were one, that window would be beyond saving.
        let earliest = geometry.first_window_from(position, plan.source_rate_hz());
        let channel = |next: &u64| {
            let resampler = Resampler::new(plan.clone(), position);
            let next = earliest.max(*next);
            let origin = resampler.next_output();
            let speech = setup.gate.as_ref().map(|gate| Speech::new(gate, origin, next));
            let windower =
                ChannelWindower::new(geometry, setup.front_end.is_some(), origin, first_window, next);
            Channel { resampler, windower, speech }
        };
        let channels = owed.iter().map(channel).collect();
        Self { first_window, plan, channels }
    }

    /// The next window of each channel.
    pub fn next_windows(&self) -> Vec<u64> {
        self.channels.iter().map(|channel| channel.windower.next_window()).collect()
    }

    /// Takes a part of the samples in, channel by channel.
    pub fn push(
        &mut self,
        setup: &StreamSetup,
        bench: &mut Workbench,
        planar: &[Vec<f32>],
        part: Range<usize>,
        emit: &mut dyn FnMut(Window),
    ) {
        for (number, (samples, channel)) in planar.iter().zip(&mut self.channels).enumerate() {
            let Channel { resampler, windower, speech } = channel;
            bench.resampled.clear();
            resampler.push(&samples[part.clone()], &mut bench.resampled);
            let mut silence = Silence::listen(&setup.gate, speech, &bench.resampled);
            windower.push(&mut bench.tools, &bench.resampled, &mut |cut| {
                let cut = silence.judge(cut);
                emit(window(&setup.geometry, &self.plan, number, cut, Duration::ZERO));
            });
        }
    }

    /// Gives the partial windows, which end at `end`. Says which window comes next in each channel.
    pub fn end(
        self,
        setup: &StreamSetup,
        bench: &mut Workbench,
        end: Duration,
        emit: &mut dyn FnMut(Window),
    ) -> Vec<u64> {
        let mut next = Vec::with_capacity(self.channels.len());
        for (number, channel) in self.channels.into_iter().enumerate() {
            let Channel { mut resampler, mut windower, mut speech } = channel;
            bench.resampled.clear();
            resampler.finish(&mut bench.resampled);
            let mut silence = Silence::listen(&setup.gate, &mut speech, &bench.resampled);
            let mut give =
                |cut: Cut| emit(window(&setup.geometry, &self.plan, number, silence.judge(cut), end));
            windower.push(&mut bench.tools, &bench.resampled, &mut give);
            next.push(windower.finish(&mut bench.tools, &mut give));
        }
        next
    }
}

/// Tells silent windows from others, where that is wanted.
struct Silence<'a>(Option<(&'a Gate, &'a mut Speech)>);

impl<'a> Silence<'a> {
    /// Hears the samples that the windower takes next.
    fn listen(gate: &'a Option<Gate>, speech: &'a mut Option<Speech>, samples: &[f32]) -> Self {
        let mut both = gate.as_ref().zip(speech.as_mut());
        if let Some((gate, speech)) = &mut both {
            speech.push(gate, samples);
        }
        Self(both)
    }

    /// A window, and whether it is silent.
    fn judge(&mut self, cut: Cut) -> (Cut, bool) {
        let silent = self
            .0
            .as_mut()
            .is_some_and(|(gate, speech)| gate.is_silent(speech.share(gate, cut.index, cut.partial)));
        (cut, silent)
    }
}
