//! `affectd send` to a cluster: protobuf records and raw ones with headers, and what the command reports of them.

use std::process::Output;

use affectd::proto::{AudioChunk, Encoding};
use prost::Message;
use tokio::time::timeout;

use crate::support::PATIENCE;
use crate::support::daemon::affectd;
use crate::support::decoder_entries::file_fixture::{PCM, wav};
use crate::support::kafka::Cluster;

async fn send(arguments: &[&str]) -> Output {
    let running = affectd().arg("send").args(arguments).output();
    timeout(PATIENCE, running).await.expect("it ends").unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn records_are_protobuf_or_raw_bytes_with_headers_and_acknowledgements_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("one.wav");
    let samples: Vec<u8> = (0..1_700_i16).flat_map(i16::to_le_bytes).collect();
    std::fs::write(&file, wav(PCM, 16, 1, 8_000, &samples)).unwrap();
    let cluster = Cluster::start().await;
    cluster.create_topic("affectd.audio", 2, &[]).await;
    cluster.create_topic("raw", 1, &[]).await;
    let (file, url) = (file.to_str().unwrap(), format!("kafka://{}", cluster.brokers));
    let sent = send(&[file, "--to", &url, "--speed", "max", "--stream-id", "s", "--format", "jsonl"]).await;
    assert!(sent.status.success(), "{}", text(&sent.stderr));
    let line: serde_json::Value = serde_json::from_slice(&sent.stdout).unwrap();
    assert_eq!((&line["streamId"], &line["chunks"], &line["bytes"]), (&"s".into(), &3.into(), &3_400.into()));
    let records = cluster.read("affectd.audio").await;
    let chunks: Vec<AudioChunk> =
        records.iter().map(|record| AudioChunk::decode(record.value.as_deref().unwrap()).unwrap()).collect();
    assert_eq!(chunks.iter().map(|chunk| chunk.sequence).collect::<Vec<_>>(), [Some(0), Some(1), Some(2)]);
    assert_eq!(chunks[0].format.unwrap().encoding(), Encoding::PcmS16le);
    assert!(records.iter().all(|record| record.key.as_deref() == Some(b"s")));

    let raw = format!("{url}/raw");
    let channels = ["--channels", "first", "--channel-names", "agent"];
    let arguments = [&[file, "--to", &raw, "--speed", "max", "--raw", "--encoding", "mulaw"], &channels[..]];
    let sent = send(&arguments.concat()).await;
    assert!(sent.status.success(), "{}", text(&sent.stderr));
    assert!(text(&sent.stdout).contains("3 chunks acknowledged, 0.2 s of audio, 1700 bytes"));
    let records = cluster.read("raw").await;
    let header = |index: usize, name| records[index].header(name);
    assert_eq!(header(1, "content-type"), Some("audio/PCMU;rate=8000;channels=1"));
    assert_eq!(header(1, "affectd-first-sample"), Some("800"));
    assert_eq!((header(1, "affectd-last"), header(2, "affectd-last")), (None, Some("true")));
    assert_eq!(records[0].value.as_ref().unwrap().len(), 800);
    assert_eq!(
        (header(0, "affectd-channels"), header(0, "affectd-channel-names")),
        (Some("first"), Some("agent"))
    );
}
