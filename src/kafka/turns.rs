//! In which order partitions are read, so that all get the same share of the shards.
//!
//! Input: the audio that was read of each partition. Output: the partitions, the one with the least audio first. Pure. Invariant: a partition that had
//! nothing to read is not given the share that it missed.

use std::collections::BTreeMap;

use crate::audio::AudioFormat;

/// The share that a partition may have missed at most, in ms of audio.
const MAX_LEAD_MS: u64 = 2_000;
/// The bit rate that audio without a known format is counted with.
const ENCODED_BYTES_PER_SECOND: u64 = 8_000;

/// The audio that was read of each partition.
#[derive(Debug, Default)]
pub(super) struct Turns {
    read_ms: BTreeMap<i32, u64>,
    /// What was read of the partition that was first in the last round.
    least_ms: u64,
}

impl Turns {
    /// Returns the partitions in the order in which they are read.
    pub fn order(&mut self, partitions: impl Iterator<Item = i32>) -> Vec<i32> {
        let mut order: Vec<(u64, i32)> = partitions.map(|number| (self.of(number), number)).collect();
        order.sort_unstable();
        self.read_ms.retain(|number, _| order.iter().any(|(_, other)| other == number));
        self.least_ms = order.first().map_or(0, |(read_ms, _)| *read_ms);
        order.into_iter().map(|(_, number)| number).collect()
    }

    /// Notes that audio was read.
    pub fn read(&mut self, partition: i32, audio_ms: u64) {
        let read_ms = self.of(partition) + audio_ms;
        self.read_ms.insert(partition, read_ms);
    }

    /// Notes that a partition has nothing to read: it does not fall behind the others.
    pub fn nothing_to_read(&mut self, partition: i32) {
        let highest = self.read_ms.values().max().copied().unwrap_or(0);
        let read_ms = self.of(partition).max(highest.saturating_sub(MAX_LEAD_MS));
        self.read_ms.insert(partition, read_ms);
    }

    fn of(&self, partition: i32) -> u64 {
        self.read_ms.get(&partition).copied().unwrap_or(self.least_ms)
    }
}

/// Returns how much audio a chunk has, in ms; a rough estimate where its format is encoded or not known.
pub(super) fn audio_ms(format: Option<AudioFormat>, bytes: usize) -> u64 {
    let rate = format.and_then(|format| {
        let bytes_per_frame = format.frame_bytes()?;
        Some(u64::from(format.sample_rate_hz()) * bytes_per_frame as u64)
    });
    (bytes as u64 * 1_000) / rate.unwrap_or(ENCODED_BYTES_PER_SECOND).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_take_turns_by_their_audio() {
        let mut turns = Turns::default();
        // One chunk finds room in each round; the chunks of partition 0 are ten times as long.
        let mut read = BTreeMap::<i32, u64>::new();
        for _ in 0..300 {
            let first = turns.order(0..3)[0];
            let audio_ms = if first == 0 { 1_000 } else { 100 };
            turns.read(first, audio_ms);
            *read.entry(first).or_default() += audio_ms;
        }
        let (least, most) = (read.values().min().unwrap(), read.values().max().unwrap());
        assert!(read.len() == 3 && most - least <= 1_000, "{read:?}");
    }

    #[test]
    fn a_partition_that_had_nothing_to_read_does_not_starve_the_others() {
        let mut turns = Turns::default();
        for _ in 0..600 {
            turns.read(0, 1_000);
            turns.nothing_to_read(1);
        }
        let mut firsts = 0;
        while turns.order(0..2)[0] == 1 {
            turns.read(1, 1_000);
            firsts += 1;
        }
        assert!(firsts <= 3, "{firsts}");
    }
}
