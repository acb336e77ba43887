//! A stretch of audio without a long gap: a resampler and a windower for each channel.
//!
//! In: the stretch's samples, in order. Out: its windows, the partial one at its end. Knows no chunks.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::channel_windower::ChannelWindower;
use super::window::{Window, window};
use super::windower::Cut;
use super::{StreamSetup, Workbench};
use crate::audio::{Resampler, ResamplerPlan};

/// The state of one stretch.
#[derive(Debug)]
pub(super) struct Stretch {
    pub first_window: u64,
    plan: Arc<ResamplerPlan>,
    channels: Vec<(Resampler, ChannelWindower)>,
}

impl Stretch {
    /// A stretch that begins at the source sample `position` and owes each channel the windows from `owed` on.
    pub fn open(
        bench: &Workbench,
        plan: Arc<ResamplerPlan>,
        position: u64,
        first_window: u64,
        owed: &[u64],
    ) -> Self {
        let geometry = bench.tools.geometry();
        // No reader is left in the middle of a window; were one, that window would be beyond saving.
        let earliest = geometry.first_window_from(position, plan.source_rate_hz());
        let channel = |next: &u64| {
            let resampler = Resampler::new(plan.clone(), position);
            let next = earliest.max(*next);
            let windower = ChannelWindower::new(&bench.tools, resampler.next_output(), first_window, next);
            (resampler, windower)
        };
        let channels = owed.iter().map(channel).collect();
        Self { first_window, plan, channels }
    }

    /// The next window of each channel.
    pub fn next_windows(&self) -> Vec<u64> {
        self.channels.iter().map(|(_, windower)| windower.next_window()).collect()
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
        for (channel, (samples, (resampler, windower))) in planar.iter().zip(&mut self.channels).enumerate() {
            bench.resampled.clear();
            resampler.push(&samples[part.clone()], &mut bench.resampled);
            windower.push(&mut bench.tools, &bench.resampled, &mut |cut| {
                emit(window(setup, &self.plan, channel, cut, Duration::ZERO));
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
        for (channel, (mut resampler, mut windower)) in self.channels.into_iter().enumerate() {
            bench.resampled.clear();
            resampler.finish(&mut bench.resampled);
            let mut give = |cut: Cut| emit(window(setup, &self.plan, channel, cut, end));
            windower.push(&mut bench.tools, &bench.resampled, &mut give);
            next.push(windower.finish(&mut bench.tools, &mut give));
        }
        next
    }
}
