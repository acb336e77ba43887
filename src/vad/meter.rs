//! The speech and the loudness of each window of a channel, for summaries of calls.
//!
//! Input: the samples of the channel at the model's rate, without a gap. Output: for each window an [`Activity`] that covers the samples from
//! the end of the window before it to its own end, so that the windows of a segment together cover all its audio once.
//! Invariants: an activity depends on the samples of its window only, whatever the division of the audio into chunks, so a window that is
//! computed again after a restart has the same activity.
//!
//! The detector and the loudness filter are reset for each window and prepared with up to [`LEAD`] samples of the window before the part that
//! is measured. They belong to the thread, not to the channel: a channel keeps only samples.

use ebur128::{EbuR128, Mode};

use super::SAMPLE_RATE_HZ;
use super::detector::{Detector, FRAME_SAMPLES, to_16_bits};
use crate::window::{Activity, WindowGeometry};

/// Samples that prepare the detector and the filter: 24 frames, which the detector needs to adapt to steady noise.
const LEAD: u64 = 24 * FRAME_SAMPLES as u64;

/// The detector and the filter of one thread. Both are made on first use.
#[derive(Default)]
pub struct MeterScratch {
    detector: Option<Detector>,
    loudness: Option<EbuR128>,
}

impl std::fmt::Debug for MeterScratch {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("MeterScratch")
    }
}

/// The samples of one channel that no window has reported yet.
#[derive(Debug)]
pub struct ActivityMeter {
    samples: Vec<i16>,
    /// Absolute index of `samples[0]`.
    start: u64,
    /// Absolute index behind the last sample that a window has reported.
    reported: u64,
}

impl ActivityMeter {
    /// Creates the meter of a channel whose first sample has the absolute index `origin`, in a segment that begins with `first_window`.
    /// `next_window` is the first window whose activity will be requested.
    #[must_use]
    pub fn new(geometry: &WindowGeometry, origin: u64, first_window: u64, next_window: u64) -> Self {
        let reported = match next_window.checked_sub(1).filter(|before| *before >= first_window) {
            Some(before) => geometry.end(before),
            None => geometry.start(next_window),
        };
        Self { samples: Vec::new(), start: origin, reported }
    }

    /// Accepts the next samples.
    pub fn push(&mut self, samples: &[f32]) {
        self.samples.extend(samples.iter().copied().map(to_16_bits));
        let kept_from = self.reported.saturating_sub(LEAD).min(self.end());
        let stale = kept_from.saturating_sub(self.start);
        // Moving the samples costs as much as they are long, so it happens once a second.
        if stale >= u64::from(SAMPLE_RATE_HZ) {
            self.samples.drain(..stale as usize);
            self.start = kept_from;
        }
    }

    /// Returns the activity of window `index`, all of whose samples must have been accepted. Every window must be requested once, in
    /// order; a partial window must be the last one.
    pub fn take(
        &mut self,
        scratch: &mut MeterScratch,
        geometry: &WindowGeometry,
        (index, partial): (u64, bool),
    ) -> Activity {
        let end = if partial { self.end() } else { geometry.end(index).min(self.end()) };
        let window = geometry.start(index).max(self.start);
        let from = self.reported.max(window).min(end);
        self.reported = end;
        let lead = from.saturating_sub(LEAD).max(window).min(from);
        let at = |sample: u64| (sample - self.start) as usize;
        let (lead, audio) = (&self.samples[at(lead)..at(from)], &self.samples[at(from)..at(end)]);
        let rate = geometry.sample_rate_hz;
        Activity {
            speech: (rate == SAMPLE_RATE_HZ).then(|| speech(scratch.detector(), lead, audio, from)),
            energies: energies(scratch.loudness(rate), lead, audio, rate),
            fingerprint: audio
                .iter()
                .fold(0, |hash, sample| add_to_fingerprint(hash, u64::from(*sample as u16))),
            sounds: audio.iter().any(|sample| *sample != 0),
            end: milliseconds(end, rate),
            channels: 1,
        }
    }

    fn end(&self) -> u64 {
        self.start + self.samples.len() as u64
    }
}

impl MeterScratch {
    fn detector(&mut self) -> &mut Detector {
        self.detector.get_or_insert_with(Detector::new)
    }

    /// The filter for one channel at `rate`; `None` for a rate that it does not support.
    fn loudness(&mut self, rate: u32) -> Option<&mut EbuR128> {
        if self.loudness.as_ref().is_none_or(|filter| filter.rate() != rate) {
            self.loudness = EbuR128::new(1, rate, Mode::M).ok();
        }
        self.loudness.as_mut()
    }
}

/// Adds a value to a fingerprint (FNV-1a with 64 bits).
#[must_use]
pub fn add_to_fingerprint(hash: u64, value: u64) -> u64 {
    (hash ^ value).wrapping_mul(0x0000_0100_0000_01b3).wrapping_add(0x9e37_79b9_7f4a_7c15)
}

fn milliseconds(sample: u64, rate: u32) -> u64 {
    sample * 1_000 / u64::from(rate)
}

/// Returns the periods of speech in `audio`, which begins at the absolute sample `from`.
fn speech(detector: &mut Detector, lead: &[i16], audio: &[i16], from: u64) -> Vec<(u64, u64)> {
    detector.reset();
    // Without audio before it, the detector is prepared with the beginning of the audio itself.
    let lead = if lead.len() < FRAME_SAMPLES { &audio[..audio.len().min(LEAD as usize)] } else { lead };
    let skip = lead.len() % FRAME_SAMPLES;
    lead[skip..].chunks_exact(FRAME_SAMPLES).for_each(|frame| _ = detector.is_speech(frame));
    let mut periods: Vec<(u64, u64)> = Vec::new();
    for (number, frame) in (0_u64..).zip(audio.chunks_exact(FRAME_SAMPLES)) {
        if !detector.is_speech(frame) {
            continue;
        }
        let start = from + number * FRAME_SAMPLES as u64;
        let end = start + FRAME_SAMPLES as u64;
        let (start, end) = (milliseconds(start, SAMPLE_RATE_HZ), milliseconds(end, SAMPLE_RATE_HZ));
        match periods.last_mut() {
            Some(last) if last.1 == start => last.1 = end,
            _ => periods.push((start, end)),
        }
    }
    periods
}

/// Returns the K-weighted energy of each complete 100 ms of `audio`.
fn energies(filter: Option<&mut EbuR128>, lead: &[i16], audio: &[i16], rate: u32) -> Vec<f32> {
    let Some(filter) = filter else { return Vec::new() };
    filter.reset();
    // Cannot fail: the samples are those of one channel.
    let _ = filter.add_frames_i16(lead);
    let energy = |part: &[i16]| {
        filter.add_frames_i16(part).and_then(|()| filter.loudness_window(100)).map_or(0.0, energy_of)
    };
    audio.chunks_exact(rate as usize / 10).map(energy).collect()
}

/// Converts a loudness in LUFS to the energy that it is computed from (ITU-R BS.1770-4, equation 2).
fn energy_of(lufs: f64) -> f32 {
    10_f64.powf((lufs + 0.691) / 10.0) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Windows of 3 s every second at 16 kHz.
    fn geometry() -> WindowGeometry {
        WindowGeometry {
            sample_rate_hz: SAMPLE_RATE_HZ,
            length: 48_000,
            hop: 16_000,
            frame_hop: 160,
            frame_length: 512,
            min_length: 16_000,
        }
    }

    fn tone(samples: usize) -> Vec<f32> {
        (0..samples).map(|at| 0.1 * (at as f32 * 997.0 * std::f32::consts::TAU / 16_000.0).sin()).collect()
    }

    fn activities(audio: &[f32], windows: u64, chunk: usize, from: u64) -> Vec<Activity> {
        let geometry = geometry();
        let origin = from * geometry.hop;
        let (mut meter, mut scratch) =
            (ActivityMeter::new(&geometry, origin, 0, from), MeterScratch::default());
        let (mut all, mut next, mut end) = (Vec::new(), from, origin);
        for part in audio[origin as usize..].chunks(chunk) {
            meter.push(part);
            end += part.len() as u64;
            while next < windows && geometry.end(next) <= end {
                all.push(meter.take(&mut scratch, &geometry, (next, false)));
                next += 1;
            }
        }
        all
    }

    #[test]
    fn windows_cover_the_audio_once_in_any_chunks_and_after_a_restart() {
        let audio = tone(96_000);
        let whole = activities(&audio, 4, 96_000, 0);
        assert_eq!(whole.iter().map(|it| it.energies.len()).collect::<Vec<_>>(), [30, 10, 10, 10]);
        assert_eq!(whole.iter().map(|it| it.end).collect::<Vec<_>>(), [3_000, 4_000, 5_000, 6_000]);
        assert_eq!(activities(&audio, 4, 1_234, 0), whole);
        assert_eq!(activities(&audio, 4, 777, 2), whole[2..]);
    }

    #[test]
    fn the_energy_of_a_tone_is_that_of_its_loudness() {
        // A sine of 997 Hz at −20 dBFS in one channel has −23.01 LUFS (ITU-R BS.1770-4, annex 1).
        let found = activities(&tone(48_000), 1, 48_000, 0);
        let lufs = -0.691 + 10.0 * f64::from(found[0].energies[20]).log10();
        assert!((lufs + 23.01).abs() < 0.1, "{lufs}");
    }

    #[test]
    fn the_partial_window_reports_what_is_left() {
        let (geometry, audio) = (geometry(), tone(56_000));
        let (mut meter, mut scratch) = (ActivityMeter::new(&geometry, 0, 0, 0), MeterScratch::default());
        meter.push(&audio);
        meter.take(&mut scratch, &geometry, (0, false));
        let last = meter.take(&mut scratch, &geometry, (1, true));
        assert_eq!((last.energies.len(), last.end), (5, 3_500));
    }
}
