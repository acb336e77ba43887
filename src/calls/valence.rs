//! The emotions of one channel over a call: shares, the longest period, changes, valence.
//!
//! Input: the windows of the channel in order. Output: figures of the channel. Pure. Times are milliseconds from the start of the call.
//!
//! Each window counts for the time up to the start of the next one, the last one of a segment up to its end; a silent window counts for no
//! time.

use crate::stream::CountedWindow;

/// Valences are held in ten-thousandths.
const SCALE: f64 = 10_000.0;

/// A window with the time that it counts for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weighed {
    /// The window; its emotion is an index into the caller's list.
    pub window: CountedWindow,
    /// The time in milliseconds.
    pub weight: u64,
}

/// The longest time without a change of emotion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// Index of the emotion.
    pub emotion: u8,
    /// Start in milliseconds.
    pub start: u64,
    /// End in milliseconds.
    pub end: u64,
}

/// Returns the windows that are not silent, each with its time.
#[must_use]
pub fn weighed(windows: &[CountedWindow]) -> Vec<Weighed> {
    let nexts = windows.iter().skip(1).map(|next| next.start).chain(std::iter::once(u64::MAX));
    let weigh = |(window, next): (&CountedWindow, u64)| Weighed {
        window: *window,
        weight: next.clamp(window.start, window.end) - window.start,
    };
    let analysed = |weighed: &Weighed| weighed.window.emotion.is_some();
    windows.iter().zip(nexts).map(weigh).filter(analysed).collect()
}

/// Returns the share of the time that each of `emotions` has.
#[must_use]
pub fn shares(windows: &[Weighed], emotions: usize) -> Vec<f64> {
    let mut times = vec![0; emotions];
    for Weighed { window, weight } in windows {
        if let Some(time) = window.emotion.and_then(|emotion| times.get_mut(usize::from(emotion))) {
            *time += weight;
        }
    }
    let total: u64 = times.iter().sum();
    times.into_iter().map(|time| if total == 0 { 0.0 } else { time as f64 / total as f64 }).collect()
}

/// Returns the longest period of one emotion, and how often the emotion changes. A pause ends a period and is no change.
#[must_use]
pub fn periods(windows: &[Weighed]) -> (Option<Period>, u64) {
    let (mut longest, mut current, mut changes): (Option<Period>, Option<Period>, u64) = (None, None, 0);
    for Weighed { window, weight } in windows {
        let Some(emotion) = window.emotion else { continue };
        let (start, end) = (window.start, window.start + weight);
        changes += u64::from(current.is_some_and(|before| before.emotion != emotion));
        current = Some(match current {
            Some(before) if before.emotion == emotion && before.end == start => Period { end, ..before },
            _ => Period { emotion, start, end },
        });
        let length = |period: &Period| period.end - period.start;
        if longest.as_ref().map(length) < current.as_ref().map(length) {
            longest = current;
        }
    }
    (longest, changes)
}

/// Returns the mean valence of the windows whose middle lies from `start` to before `end`; `None` where there are none.
#[must_use]
pub fn mean(windows: &[Weighed], (start, end): (f64, f64)) -> Option<f64> {
    let middle = |window: &CountedWindow| (window.start as f64 + window.end as f64) / 2.0;
    let inside = windows.iter().filter(|it| (start..end).contains(&middle(&it.window)));
    let (sum, time) = inside.fold((0.0, 0.0), |(sum, time), it| {
        (sum + f64::from(it.window.valence) * it.weight as f64, time + it.weight as f64)
    });
    (time > 0.0).then(|| sum / time / SCALE)
}

/// Converts a valence to the number that windows hold.
#[must_use]
pub fn to_stored(valence: f64) -> i32 {
    (valence * SCALE).round() as i32
}

/// Returns the mean valence of each quarter of `duration`.
#[must_use]
pub fn quarters(windows: &[Weighed], duration: u64) -> [Option<f64>; 4] {
    let bound = |quarter: f64| duration as f64 * quarter / 4.0;
    [0.0, 1.0, 2.0, 3.0].map(|quarter| {
        // The middle of a window that ends with the call lies before the end of the call.
        mean(windows, (bound(quarter), bound(quarter + 1.0)))
    })
}

/// Returns the mean valence of the last third of `duration` less that of the first.
#[must_use]
pub fn trend(windows: &[Weighed], duration: u64) -> Option<f64> {
    let third = duration as f64 / 3.0;
    let last = mean(windows, (2.0 * third, f64::INFINITY))?;
    Some(last - mean(windows, (0.0, third))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(start: u64, emotion: Option<u8>, valence: f64) -> CountedWindow {
        CountedWindow { start, end: start + 3_000, emotion, valence: to_stored(valence) }
    }

    #[test]
    fn a_window_counts_up_to_the_next_start_and_the_last_one_to_its_end() {
        let windows = [window(0, Some(0), 1.0), window(1_000, Some(1), 1.0), window(9_000, Some(0), 1.0)];
        let weights: Vec<u64> = weighed(&windows).iter().map(|it| it.weight).collect();
        assert_eq!(weights, [1_000, 3_000, 3_000], "a gap counts for nothing");
        assert_eq!(shares(&weighed(&windows), 3), [4.0 / 7.0, 3.0 / 7.0, 0.0]);
    }

    #[test]
    fn silent_windows_count_for_nothing_and_end_a_period() {
        let windows: Vec<CountedWindow> = [Some(0), Some(0), None, Some(0), Some(1)]
            .into_iter()
            .zip(0..)
            .map(|(emotion, at)| window(at * 1_000, emotion, 2.0))
            .collect();
        let (longest, changes) = periods(&weighed(&windows));
        assert_eq!(longest, Some(Period { emotion: 1, start: 4_000, end: 7_000 }));
        assert_eq!(changes, 1);
        let first_part = periods(&weighed(&windows[..4])).0;
        assert_eq!(first_part.map(|it| (it.start, it.end)), Some((3_000, 6_000)));
        assert_eq!(periods(&[]), (None, 0));
    }

    #[test]
    fn a_quarter_without_a_window_has_no_score() {
        let windows = weighed(&[window(0, Some(0), -4.0), window(17_000, Some(1), 2.0)]);
        assert_eq!(quarters(&windows, 20_000), [Some(-4.0), None, None, Some(2.0)]);
        assert_eq!(trend(&windows, 20_000), Some(6.0));
        assert_eq!(trend(&windows[..1], 20_000), None);
    }
}
