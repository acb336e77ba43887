//! Out-of-domain streams of a real daemon: the score of each event, one log line a channel, and the gauge.

use std::path::{Path, PathBuf};

use affectd::model::Contract;
use affectd::proto::EmotionEvent;

use crate::support::call_fixture::{
    Call, OUT_OF_DOMAIN_LEVEL, chunk, connect, format, last, logs, loud, metric, metric_reaches, more,
    recognize, soft, telephone,
};
use crate::support::daemon::{Daemon, Options};
use crate::support::model_fixture;

const GAUGE: &str = "affectd_out_of_domain_streams";
const BEGIN: &str = "a channel is out of domain";
const END: &str = "a channel is no longer out of domain";

/// Writes the tiny model with an out-of-domain score to a folder, or without it.
fn put(folder: &Path, version: &str, with_score: bool) -> PathBuf {
    let (contract, graph) = model_fixture::with_out_of_domain(OUT_OF_DOMAIN_LEVEL);
    let out_of_domain = contract.out_of_domain.filter(|_| with_score);
    let contract = Contract { version: version.into(), out_of_domain, ..contract };
    let written = tempfile::tempdir_in(folder).unwrap();
    let path = folder.join("model.onnx");
    std::fs::rename(model_fixture::write(written.path(), graph, &contract), &path).unwrap();
    path
}

/// A daemon whose streams are out of domain after 3 s.
fn options(model: &Path) -> Options {
    Options::new()
        .set("model.path", model.to_str().unwrap())
        .set("engine.device", "cpu")
        .set("publish.out_of_domain_after", "3s")
}

fn lines(daemon: &Daemon, text: &str) -> Vec<String> {
    daemon.log().lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}

fn scores(events: &[EmotionEvent]) -> Vec<Option<f32>> {
    events.iter().map(|event| event.out_of_domain_score).collect()
}

/// Sends seconds of audio one by one, and reads the two windows of each.
async fn speak(call: &mut Call, audio: fn(usize, u64) -> Vec<u8>, seconds: u64) -> Vec<EmotionEvent> {
    let mut events = Vec::new();
    for seed in 0..seconds {
        call.send(more(audio(8_000, seed))).await;
        events.extend(call.events(2).await);
    }
    events
}

#[tokio::test]
async fn a_stream_that_stays_above_the_threshold_is_logged_once_and_counted_until_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = options(&put(folder.path(), "1", true)).start().await;
    assert_eq!(daemon.get("/metrics").await.unwrap().1.matches(&format!("\n{GAUGE} 0\n")).count(), 1);
    let channel = connect(&daemon).await;

    let mut call = Call::begin(&channel, chunk("music", telephone(), loud(8_000, 1))).await;
    let mut events = vec![call.event().await];
    events.extend(speak(&mut call, loud, 1).await);
    assert_eq!(metric(&daemon, GAUGE).await, 0.0, "2 s are above the threshold");
    events.extend(speak(&mut call, loud, 4).await);
    assert!(scores(&events).iter().all(|score| score.unwrap() > OUT_OF_DOMAIN_LEVEL), "{events:?}");
    metric_reaches(&daemon, GAUGE, |streams| streams == 1.0).await;
    logs(&daemon, BEGIN).await;
    let begun = lines(&daemon, BEGIN);
    assert_eq!(begun.len(), 1, "{begun:?}");
    assert!(
        begun[0].contains("music") && begun[0].contains("channel=0") && begun[0].contains("at=3s"),
        "{begun:?}"
    );

    let events = speak(&mut call, soft, 3).await;
    assert!(scores(&events[2..]).iter().all(|score| score.unwrap() < OUT_OF_DOMAIN_LEVEL), "{events:?}");
    metric_reaches(&daemon, GAUGE, |streams| streams == 0.0).await;
    logs(&daemon, END).await;
    let _ = speak(&mut call, loud, 5).await;
    metric_reaches(&daemon, GAUGE, |streams| streams == 1.0).await;
    assert!(call.finish().await.status.is_none());
    metric_reaches(&daemon, GAUGE, |streams| streams == 0.0).await;
    assert_eq!((lines(&daemon, BEGIN).len(), lines(&daemon, END).len()), (2, 1), "{}", daemon.log());
}

#[tokio::test]
async fn channels_are_judged_each_by_itself_and_the_stream_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = options(&put(folder.path(), "1", true)).start().await;
    let channel = connect(&daemon).await;
    let both = |left: Vec<u8>, right: Vec<u8>| -> Vec<u8> {
        left.into_iter().zip(right).flat_map(|(left, right)| [left, right]).collect()
    };
    let stereo = format(affectd::proto::Encoding::Mulaw, 8_000, 2);
    let mut call = Call::begin(&channel, chunk("call", stereo, both(soft(48_000, 1), loud(48_000, 2)))).await;
    let events = call.events(22).await;
    for event in &events {
        let is_above = event.out_of_domain_score.unwrap() > OUT_OF_DOMAIN_LEVEL;
        assert_eq!(is_above, event.channel == 1, "{event:?}");
    }
    metric_reaches(&daemon, GAUGE, |streams| streams == 1.0).await;
    assert!(lines(&daemon, BEGIN).iter().all(|line| line.contains("channel=1")), "{}", daemon.log());
    call.send(more(both(loud(40_000, 1), loud(40_000, 2)))).await;
    call.events(20).await;
    metric_reaches(&daemon, GAUGE, |streams| streams == 1.0).await;
    logs(&daemon, "channel=0").await;
    assert_eq!(lines(&daemon, BEGIN).len(), 2);
}

#[tokio::test]
async fn a_reload_without_the_score_ends_the_state_and_one_with_it_begins_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = put(folder.path(), "1", true);
    let daemon = options(&path).start().await;
    let channel = connect(&daemon).await;
    let mut call = Call::begin(&channel, chunk("call", telephone(), loud(8_000, 1))).await;
    assert!(call.event().await.out_of_domain_score.is_some());
    let _ = speak(&mut call, loud, 4).await;
    metric_reaches(&daemon, GAUGE, |streams| streams == 1.0).await;
    for (version, with_score) in [("2", false), ("3", true)] {
        put(folder.path(), version, with_score);
        let ok = "affectd_model_reloads_total{outcome=\"ok\"}";
        metric_reaches(&daemon, ok, |reloads| reloads == version.parse::<f64>().unwrap() - 1.0).await;
        let events = speak(&mut call, loud, 5).await;
        let last = events.last().unwrap();
        assert_eq!(
            (last.model.as_str(), last.out_of_domain_score.is_some()),
            (&*format!("tiny@{version}"), with_score)
        );
        let expected = if with_score { 1.0 } else { 0.0 };
        metric_reaches(&daemon, GAUGE, |streams| streams == expected).await;
    }
    assert_eq!((lines(&daemon, BEGIN).len(), lines(&daemon, END).len()), (2, 1), "{}", daemon.log());
}

#[tokio::test]
async fn a_model_without_the_score_gives_events_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = options(&put(folder.path(), "1", false)).start().await;
    let audio = last(chunk("call", telephone(), loud(48_000, 1)));
    let events = recognize(&connect(&daemon).await, vec![audio]).await.good();
    assert_eq!(scores(&events), [None; 11]);
    assert!(!serde_json::to_string(&events[0]).unwrap().contains("outOfDomain"));
    assert_eq!((metric(&daemon, GAUGE).await, lines(&daemon, BEGIN).len()), (0.0, 0));
}
