//! Smoothing in a real daemon: raw scores are kept, smoothed scores decide the emotion, and no smoothing crosses a gap or a call.

use affectd::proto::{AudioChunk, EmotionEvent, EmotionScore};

use crate::support::call_fixture::{chunk, connect, last, more, noise, recognize, telephone, tiny};

/// The value of `publish.smoothing_windows`.
const WINDOWS: usize = 3;

fn probabilities(scores: &[EmotionScore]) -> Vec<f32> {
    scores.iter().map(|score| score.probability).collect()
}

fn close(one: &[f32], other: &[f32]) -> bool {
    one.len() == 3 && other.len() == 3 && one.iter().zip(other).all(|(a, b)| (a - b).abs() < 1e-5)
}

/// The mean over the newest windows with weights 1, 1/2, 1/4: α = 2 / (3 + 1).
fn exponential(windows: &[Vec<f32>]) -> Vec<f32> {
    let newest = windows.iter().rev().take(WINDOWS).zip([1.0, 0.5, 0.25]);
    let total: f32 = newest.clone().map(|(_, weight)| weight).sum();
    (0..windows[0].len())
        .map(|at| newest.clone().map(|(row, weight)| row[at] * weight).sum::<f32>() / total)
        .collect()
}

/// The median of the newest windows, label by label; the mean of two.
fn median(windows: &[Vec<f32>]) -> Vec<f32> {
    let newest: Vec<_> = windows.iter().rev().take(WINDOWS).collect();
    let of_label = |at: usize| {
        let mut values: Vec<f32> = newest.iter().map(|row| row[at]).collect();
        values.sort_by(f32::total_cmp);
        (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0
    };
    (0..windows[0].len()).map(of_label).collect()
}

#[track_caller]
fn assert_smoothed(events: &[EmotionEvent], by_hand: fn(&[Vec<f32>]) -> Vec<f32>) {
    let raw: Vec<Vec<f32>> = events.iter().map(|event| probabilities(&event.scores)).collect();
    for (at, event) in events.iter().enumerate() {
        let smoothed = probabilities(&event.smoothed_scores);
        let expected = by_hand(&raw[..=at]);
        assert!(close(&smoothed, &expected), "window {}: {smoothed:?}, {expected:?}", event.window_index);
        let best =
            event.smoothed_scores.iter().max_by(|a, b| a.probability.total_cmp(&b.probability)).unwrap();
        assert_eq!(event.confidence, best.probability);
        let decided = if best.probability < 0.5 { "uncertain" } else { best.emotion.as_str() };
        assert_eq!(event.emotion, decided, "{event:?}");
    }
}

/// Four seconds of varying loudness, so that the windows differ; then a gap of an hour, and two more seconds.
fn chunks(stream_id: &str) -> Vec<AudioChunk> {
    let audio = |seconds: usize, seed: usize| -> Vec<u8> {
        // µ-law: the upper bits are the loudness, so one bit there makes a window soft or loud.
        let loudness = |at: usize| if (at / 3_000 + seed).is_multiple_of(2) { 0xff } else { 0xbf };
        noise(seconds * 8_000, seed as u64)
            .into_iter()
            .enumerate()
            .map(|(at, byte)| byte & loudness(at))
            .collect()
    };
    let far = AudioChunk { first_sample: Some(3_600 * 8_000), ..more(audio(2, 2)) };
    vec![chunk(stream_id, telephone(), audio(4, 1)), last(far)]
}

#[tokio::test]
async fn the_smoothed_scores_of_a_segment_decide_the_emotion_and_the_raw_ones_are_kept() {
    let (_folder, options) = tiny();
    let off = options.start().await;
    let plain = recognize(&connect(&off).await, chunks("call")).await.good();
    assert!(plain.iter().all(|event| event.smoothed_scores.is_empty()));
    for (method, by_hand) in [("exponential", exponential as fn(&[Vec<f32>]) -> _), ("median", median)] {
        let options = options.clone().set("publish.smoothing", method).set("publish.smoothing_windows", "3");
        let daemon = options.set("publish.uncertain_below", "0.5").start().await;
        let channel = connect(&daemon).await;
        // Another call with the same stream id starts without smoothing state.
        for _ in 0..2 {
            let events = recognize(&channel, chunks("call")).await.good();
            assert_eq!(events.len(), plain.len());
            for (event, plain) in events.iter().zip(&plain) {
                assert_eq!(event.event_id, plain.event_id);
                assert!(
                    close(&probabilities(&event.scores), &probabilities(&plain.scores)),
                    "{event:?}, {plain:?}"
                );
            }
            let gap = events.iter().position(|event| event.window_index >= 7_200).unwrap();
            assert_eq!((gap, events.len()), (7, 10), "two stretches");
            assert_smoothed(&events[..gap], by_hand);
            assert_smoothed(&events[gap..], by_hand);
            assert!(events[1..gap].iter().any(|event| event.smoothed_scores != event.scores), "{events:?}");
        }
    }
}
