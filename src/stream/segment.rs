//! A segment: audio of one stream without a gap longer than `audio.max_gap`.
//!
//! Input: the samples of the segment, in order, one buffer per channel.
//! Output: the windows of each channel, including the partial one at the end of the segment.
//! Invariants: a segment holds one resampler, one windower and, where silence is detected, one voice activity
//! detector for each channel; it is independent of how the audio was divided into chunks.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::{Scratch, StreamSetup};
use crate::audio::{Resampler, ResamplerPlan};
use crate::vad::{ActivityMeter, Gate, MeterScratch, SpeechCounter, VoiceActivity};
use crate::window::ChannelWindower;
use crate::window::{Activity, CutWindow, Window, WindowGeometry, window};

/// The state of one segment.
#[derive(Debug)]
pub(super) struct Segment {
    /// Index of the first window that starts in the segment. It identifies the segment within its stream.
    pub first_window: u64,
    plan: Arc<ResamplerPlan>,
    channels: Vec<Channel>,
}

/// The state of one channel.
#[derive(Debug)]
struct Channel {
    resampler: Resampler,
    windower: ChannelWindower,
    /// Present exactly where the setup has a gate.
    activity: Option<VoiceActivity>,
    /// Present exactly where the setup is measured.
    meter: Option<ActivityMeter>,
}

impl Segment {
    /// Opens a segment at the source sample `position`. Channel `c` produces the windows from `pending[c]` on.
    pub fn open(
        setup: &StreamSetup,
        plan: Arc<ResamplerPlan>,
        position: u64,
        first_window: u64,
        pending: &[u64],
    ) -> Self {
        let geometry = &setup.geometry;
        // A resumed stream begins at or before the start of each pending window. Should it ever begin later,
        // the window that started earlier lacks its first samples and is skipped: an event made of part of its
        // audio would carry the id of the complete window.
        let earliest = geometry.first_window_from(position, plan.source_rate_hz());
        let channel = |pending: &u64| {
            let resampler = Resampler::new(plan.clone(), position);
            let next_window = earliest.max(*pending);
            let origin = resampler.next_output();
            let activity = setup.gate.as_ref().map(|_| VoiceActivity::new(origin, next_window));
            let windower =
                ChannelWindower::new(geometry, setup.front_end.is_some(), origin, first_window, next_window);
            let meter =
                setup.measured.then(|| ActivityMeter::new(geometry, origin, first_window, next_window));
            Channel { resampler, windower, activity, meter }
        };
        let channels = pending.iter().map(channel).collect();
        Self { first_window, plan, channels }
    }

    /// Returns the index of the next window of each channel.
    pub fn next_windows(&self) -> Vec<u64> {
        self.channels.iter().map(|channel| channel.windower.next_window()).collect()
    }

    /// Accepts the samples `part` of each channel in `planar` and passes each window that they complete to
    /// `emit`, channel by channel.
    pub fn push(
        &mut self,
        setup: &StreamSetup,
        scratch: &mut Scratch,
        planar: &[Vec<f32>],
        part: Range<usize>,
        emit: &mut dyn FnMut(Window),
    ) {
        let channels = self.channels.len();
        for (number, (samples, channel)) in planar.iter().zip(&mut self.channels).enumerate() {
            let Channel { resampler, windower, activity, meter } = channel;
            let Scratch { channel: tables, resampled, speech, meter: meter_scratch, .. } = &mut *scratch;
            resampled.clear();
            resampler.push(&samples[part.clone()], resampled);
            let mut silence = SilenceCheck::new(&setup.gate, activity, speech, resampled);
            let mut measure = Measure::new(meter, meter_scratch, &setup.geometry, resampled);
            windower.push(tables, resampled, &mut |cut| {
                let (silent, activity) = (silence.is_silent(&cut), measure.take(&cut, channels));
                let cut = window(&setup.geometry, &self.plan, number, cut, Duration::ZERO);
                emit(Window { silent, activity, ..cut });
            });
        }
    }

    /// Ends the segment at the time `end` and passes the remaining windows, among them the partial ones, to
    /// `emit`. Returns the index of the next window of each channel.
    pub fn end(
        self,
        setup: &StreamSetup,
        scratch: &mut Scratch,
        end: Duration,
        emit: &mut dyn FnMut(Window),
    ) -> Vec<u64> {
        let channels = self.channels.len();
        let mut next = Vec::with_capacity(channels);
        for (number, channel) in self.channels.into_iter().enumerate() {
            let Channel { mut resampler, mut windower, mut activity, mut meter } = channel;
            let Scratch { channel: tables, resampled, speech, meter: meter_scratch, .. } = &mut *scratch;
            resampled.clear();
            resampler.finish(resampled);
            let mut silence = SilenceCheck::new(&setup.gate, &mut activity, speech, resampled);
            let mut measure = Measure::new(&mut meter, meter_scratch, &setup.geometry, resampled);
            let mut emit_cut = |cut: CutWindow| {
                let (silent, activity) = (silence.is_silent(&cut), measure.take(&cut, channels));
                let cut = window(&setup.geometry, &self.plan, number, cut, end);
                emit(Window { silent, activity, ..cut });
            };
            windower.push(tables, resampled, &mut emit_cut);
            next.push(windower.finish(tables, &mut emit_cut));
        }
        next
    }
}

/// Decides which windows are silent; no window is silent if the setup has no gate.
struct SilenceCheck<'a>(Option<(&'a Gate, &'a mut VoiceActivity, &'a mut SpeechCounter)>);

impl<'a> SilenceCheck<'a> {
    /// Creates the check for the windows that `samples` complete, after the voice activity of the channel has
    /// accepted these samples.
    fn new(
        gate: &'a Option<Gate>,
        activity: &'a mut Option<VoiceActivity>,
        speech: &'a mut SpeechCounter,
        samples: &[f32],
    ) -> Self {
        Self(gate.as_ref().zip(activity.as_mut()).map(|(gate, activity)| {
            activity.push(gate, samples);
            (gate, activity, speech)
        }))
    }

    /// Returns whether a window is silent. Every window must be checked once, in order.
    fn is_silent(&mut self, cut: &CutWindow) -> bool {
        self.0
            .as_mut()
            .is_some_and(|(gate, activity, speech)| activity.is_silent(gate, speech, cut.index, cut.partial))
    }
}

/// Measures windows for the summary of a call; measures nothing where the setup is not measured.
struct Measure<'a> {
    meter: Option<(&'a mut ActivityMeter, &'a mut MeterScratch)>,
    geometry: &'a WindowGeometry,
}

impl<'a> Measure<'a> {
    /// Creates the measurement of the windows that `samples` complete, after the meter has accepted these samples.
    fn new(
        meter: &'a mut Option<ActivityMeter>,
        scratch: &'a mut MeterScratch,
        geometry: &'a WindowGeometry,
        samples: &[f32],
    ) -> Self {
        let mut meter = meter.as_mut().map(|meter| (meter, scratch));
        if let Some((meter, _)) = &mut meter {
            meter.push(samples);
        }
        Self { meter, geometry }
    }

    /// Returns the activity of a window of a stream with this number of channels.
    fn take(&mut self, cut: &CutWindow, channels: usize) -> Option<Box<Activity>> {
        let (meter, scratch) = self.meter.as_mut()?;
        let activity = meter.take(scratch, self.geometry, (cut.index, cut.partial));
        Some(Box::new(Activity { channels: u32::try_from(channels).unwrap_or(u32::MAX), ..activity }))
    }
}
