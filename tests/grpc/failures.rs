//! A model that fails on some windows: only those windows fail, their calls receive an error, and other calls complete.

use affectd::batch::BROKEN_AFTER;
use tonic::Code;

use crate::support::call_fixture::{
    chunk, connect, last, metric, metric_reaches, noise, recognize, telephone,
};
use crate::support::daemon::Options;
use crate::support::model_fixture::brittle;

const RELOADS: &str = "affectd_model_reloads_total{outcome=\"ok\"}";

/// µ-law.
fn silence(samples: usize) -> Vec<u8> {
    vec![0xff; samples]
}

#[tokio::test]
async fn a_failed_window_ends_its_own_call_and_other_calls_complete() {
    let folder = tempfile::tempdir().unwrap();
    let path = brittle(folder.path());
    // Batches are larger than one window, so that failing windows share them with good ones.
    let options = Options::new().set("model.path", path.to_str().unwrap()).set("batch.max_delay", "50ms");
    let options = options.set("vad.mode", "off");
    let daemon = options.start().await;
    let channel = connect(&daemon).await;
    let good = (0..8).map(|number| {
        recognize(&channel, vec![last(chunk(&format!("good-{number}"), telephone(), noise(24_000, number)))])
    });
    let bad = recognize(&channel, vec![last(chunk("bad", telephone(), silence(8_000)))]);
    let (good, bad) = tokio::join!(futures::future::join_all(good), bad);
    let (code, message) = bad.refusal();
    assert_eq!(code, Code::Internal);
    assert!(message.contains("window 0") && message.contains("NaN for \"anger\""), "{message}");
    for outcome in good {
        assert_eq!(outcome.good().len(), 5);
    }
    assert_eq!(metric(&daemon, "affectd_windows_total{outcome=\"failed\"}").await, 1.0);
    assert_eq!(metric(&daemon, RELOADS).await, 0.0, "one window is no broken device");
}

#[tokio::test]
async fn sessions_that_fail_repeatedly_are_recreated() {
    let folder = tempfile::tempdir().unwrap();
    let path = brittle(folder.path());
    let options = Options::new().set("model.path", path.to_str().unwrap()).set("vad.mode", "off");
    let daemon = options.start().await;
    let channel = connect(&daemon).await;
    for number in 0..BROKEN_AFTER {
        let call = chunk(&format!("bad-{number}"), telephone(), silence(8_000));
        assert_eq!(recognize(&channel, vec![last(call)]).await.refusal().0, Code::Internal);
    }
    metric_reaches(&daemon, RELOADS, |reloads| reloads == 1.0).await;
    assert!(daemon.log().contains("batch after batch fails"), "{}", daemon.log());
    let good = recognize(&channel, vec![last(chunk("good", telephone(), noise(12_000, 1)))]).await.good();
    assert_eq!(good.len(), 2);
}
