//! The positions on the pages of an Ogg stream, and what they prove about its end.
//!
//! Input: the position of each page, in samples per channel, and the samples that were decoded up to it.
//! Output: the number of samples at the end that are padding of the encoder.
//! Invariants: positions that contradict the decoded samples or each other prove nothing; absent ones are
//! absent.

/// The most samples per channel that an encoder pads the last packet with.
const PADDING: i64 = 8_192;

/// The positions of one stream.
#[derive(Debug, Default)]
pub(super) struct Granules {
    /// The difference between the first position and the samples up to it, and the number of positions.
    offset: i64,
    count: usize,
    /// Whether a position disagrees with the samples up to it.
    is_wrong: bool,
}

impl Granules {
    /// Records the position of a page that is not the last one. `decoded` samples precede it.
    pub(super) fn record(&mut self, position: i64, decoded: usize) {
        let offset = position.saturating_sub(decoded as i64);
        self.is_wrong |= self.count > 0 && offset != self.offset;
        self.offset = if self.count == 0 { offset } else { self.offset };
        self.count += 1;
    }

    /// Returns how many of the `decoded` samples are padding, where the last page ends at `position` and holds
    /// `on_page` samples.
    pub(super) fn padding(&self, position: i64, decoded: usize, on_page: usize) -> usize {
        // A stream that was cut at its start begins with a position above zero.
        let end = position.saturating_sub(self.offset.max(0));
        let surplus = (decoded as i64).saturating_sub(end);
        let is_plausible =
            !self.is_wrong && self.offset >= 0 && surplus <= PADDING && surplus < on_page as i64;
        if is_plausible { usize::try_from(surplus).unwrap_or(0) } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_last_position_that_agrees_with_the_others_proves_padding() {
        let mut granules = Granules::default();
        assert_eq!(granules.padding(700, 960, 960), 260, "a single page");
        granules.record(48_000, 48_000);
        assert_eq!(granules.padding(95_000, 96_000, 48_000), 1_000);
        assert_eq!(granules.padding(97_000, 96_000, 48_000), 0, "nothing to remove");
        assert_eq!(granules.padding(60_000, 96_000, 48_000), 0, "more than an encoder pads");
        assert_eq!(granules.padding(0, 96_000, 48_000), 0);
    }

    #[test]
    fn positions_of_a_stream_that_was_cut_at_its_start_are_relative() {
        let mut granules = Granules::default();
        granules.record(1_048_000, 48_000);
        assert_eq!(granules.padding(1_095_000, 96_000, 48_000), 1_000);
    }

    #[test]
    fn positions_in_another_unit_prove_nothing() {
        let mut granules = Granules::default();
        granules.record(16_000, 48_000);
        granules.record(32_000, 96_000);
        assert_eq!(granules.padding(47_000, 144_000, 48_000), 0);
    }
}
