//! `WatchEvents` and `affectd watch`: published events of other calls, filtered, until the daemon has drained.

use affectd::client::{self, Credentials, GrpcServer, WatchedEvents};
use affectd::proto::{AudioChunk, EmotionEvent, WatchEventsRequest};
use tokio::process::Command;

use crate::support::call_fixture::{bounded, chunk, connect, last, noise, recognize, telephone, tiny};

fn stream(id: &str, team: &str) -> Vec<AudioChunk> {
    let attributes = [("team".to_owned(), team.to_owned())].into();
    vec![AudioChunk { attributes, ..last(chunk(id, telephone(), noise(20_000, 3))) }]
}

#[tokio::test]
async fn events_of_all_calls_arrive_filtered_until_the_daemon_has_drained() {
    let (_folder, options) = tiny();
    let daemon = options.start().await;
    let channel = connect(&daemon).await;
    let north = WatchEventsRequest {
        attributes: [("team".to_owned(), "north".to_owned())].into(),
        ..Default::default()
    };
    let server = GrpcServer { authority: daemon.grpc.to_string(), tls: false };
    let watching = client::connect(&server, &Credentials::default()).await.unwrap();
    let open = |filter| WatchedEvents::open(watching.clone(), filter);
    let mut all = bounded("the call", open(WatchEventsRequest::default())).await.unwrap();
    let mut filtered = bounded("the call", open(north)).await.unwrap();

    let mut sent = recognize(&channel, stream("a", "north")).await.good();
    sent.extend(recognize(&channel, stream("b", "south")).await.good());
    let of_a: Vec<EmotionEvent> = sent.iter().filter(|event| event.stream_id == "a").cloned().collect();
    assert!(!of_a.is_empty() && of_a.len() < sent.len());
    let mut received = Vec::new();
    for _ in &sent {
        received.push(bounded("an event", all.next()).await.unwrap().unwrap());
    }
    assert_eq!(received, sent);

    daemon.terminate();
    let mut received = Vec::new();
    while let Some(event) = bounded("the end", filtered.next()).await.unwrap() {
        received.push(event);
    }
    assert_eq!(received, of_a);
    assert!(bounded("the end", all.next()).await.unwrap().is_none());
}

#[tokio::test]
async fn the_command_prints_the_events_of_a_daemon() {
    let (_folder, options) = tiny();
    let daemon = options.start().await;
    let channel = connect(&daemon).await;
    let url = format!("grpc://{}", daemon.grpc);
    let watch = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_affectd"));
        command.args(arguments).args(["--format", "jsonl", "--max-events", "2", "--stream-id", "b"]);
        command.stdout(std::process::Stdio::piped()).kill_on_drop(true).spawn().unwrap()
    };
    let commands = [watch(&["watch", &url]), watch(&["tail", "--from", &url])];
    let ended = futures::future::join_all(commands.into_iter().map(tokio::process::Child::wait_with_output));
    tokio::pin!(ended);
    // The commands see only what is published after they have connected, so streams are sent until both have ended.
    let outputs = loop {
        tokio::select! {
            biased;
            outputs = &mut ended => break outputs,
            _ = async {
                recognize(&channel, stream("a", "north")).await.good();
                recognize(&channel, stream("b", "north")).await.good();
            } => {}
        }
    };
    for output in outputs {
        let output = output.unwrap();
        assert!(output.status.success());
        let events: Vec<EmotionEvent> = String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert!(events.len() == 2 && events.iter().all(|event| event.stream_id == "b"), "{events:?}");
    }
}
