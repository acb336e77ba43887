//! Principals: their own stream ids and their own limits.

use tonic::Code;
use tonic_types::StatusExt;

use affectd::proto::call_service_client::CallServiceClient;
use affectd::proto::evaluation_service_client::EvaluationServiceClient;
use affectd::proto::recognition_service_client::RecognitionServiceClient;
use affectd::proto::{
    AudioChunk, EmotionEvent, GetCallRequest, RecognizeRequest, RecognizeResponse, WatchCallsRequest,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use crate::support::audiosocket_client::announce_with;
use crate::support::call_fixture::{bounded, chunk, connect, last, noise, telephone, tiny};
use crate::support::credentials::{recognize_as, token, tokens_file, with_token};

/// An open call with a token.
struct Open {
    requests: mpsc::Sender<RecognizeRequest>,
    events: Streaming<RecognizeResponse>,
}

impl Open {
    async fn begin(channel: &Channel, token: &str, first: AudioChunk) -> Result<Open, tonic::Status> {
        let (requests, outbound) = mpsc::channel(1);
        requests.send(RecognizeRequest { chunk: Some(first) }).await.unwrap();
        let mut client = RecognitionServiceClient::new(channel.clone());
        let call = client.recognize(with_token(ReceiverStream::new(outbound), token));
        Ok(Open { requests, events: bounded("the call", call).await?.into_inner() })
    }

    async fn event(&mut self) -> Result<EmotionEvent, tonic::Status> {
        let message = bounded("an event", self.events.message()).await?;
        Ok(message.and_then(|response| response.event).expect("an event"))
    }
}

fn first(stream_id: &str) -> AudioChunk {
    chunk(stream_id, telephone(), noise(8_000, 1))
}

#[tokio::test]
async fn two_principals_use_the_same_stream_id_at_once_with_different_event_ids() {
    let (folder, options) = tiny();
    let (one, other) = (token(folder.path(), "one", "recognize"), token(folder.path(), "other", "recognize"));
    let daemon = options.set("auth.tokens", tokens_file(folder.path()).to_str().unwrap()).start().await;
    let channel = connect(&daemon).await;
    let mut of_one = Open::begin(&channel, &one, first("call")).await.unwrap();
    let mut of_other = Open::begin(&channel, &other, first("call")).await.unwrap();
    let (a, b) = (of_one.event().await.unwrap(), of_other.event().await.unwrap());
    assert_eq!((a.stream_id.as_str(), b.stream_id.as_str()), ("call", "call"));
    assert_ne!(a.event_id, b.event_id);
    let mut again = Open::begin(&channel, &one, first("call")).await.unwrap();
    assert_eq!(again.event().await.unwrap_err().code(), Code::AlreadyExists, "the same principal");
}

#[tokio::test]
async fn the_limits_of_one_principal_leave_another_alone() {
    let (folder, options) = tiny();
    let (one, other) = (
        token(folder.path(), "one", "recognize,evaluate"),
        token(folder.path(), "other", "recognize,evaluate"),
    );
    let daemon = options
        .set("auth.tokens", tokens_file(folder.path()).to_str().unwrap())
        .set("limits.principal_streams", "2")
        .set("limits.principal_evaluations", "1")
        .start()
        .await;
    let channel = connect(&daemon).await;
    let mut held = Vec::new();
    for number in 0..2 {
        let mut call = Open::begin(&channel, &one, first(&format!("call-{number}"))).await.unwrap();
        call.event().await.unwrap();
        held.push(call);
    }
    let refused = Open::begin(&channel, &one, first("third")).await.err().expect("a third stream is refused");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("limits.principal_streams"), "{refused:?}");
    assert!(refused.get_details_retry_info().is_some(), "{refused:?}");
    let stream = |id: &str| vec![last(first(id))];
    recognize_as(&channel, &other, stream("other")).await.expect("another principal");
    held[0].requests.send(RecognizeRequest { chunk: Some(last(first("call-0"))) }).await.unwrap();
    while held[0].event_or_end().await {}
    let freed = async {
        while recognize_as(&channel, &one, stream("again")).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    bounded("a freed stream", freed).await;

    let (_open, outbound) = mpsc::channel(1);
    let mut client = EvaluationServiceClient::new(channel.clone());
    let running = client.evaluate(with_token(ReceiverStream::new(outbound), &one)).await.unwrap();
    let refused = client.evaluate(with_token(futures::stream::empty(), &one)).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("limits.principal_evaluations"), "{refused:?}");
    client.evaluate(with_token(futures::stream::empty(), &other)).await.expect("another principal");
    drop(running);
}

impl Open {
    /// Returns whether the call has another event.
    async fn event_or_end(&mut self) -> bool {
        bounded("the end", self.events.message()).await.unwrap().is_some()
    }
}

#[tokio::test]
async fn new_streams_of_a_principal_are_limited_by_the_second() {
    let (folder, options) = tiny();
    let (one, other) = (token(folder.path(), "one", "recognize"), token(folder.path(), "other", "recognize"));
    let options = options.set("auth.tokens", tokens_file(folder.path()).to_str().unwrap());
    let daemon = options.set("limits.principal_streams_per_second", "1").start().await;
    let channel = connect(&daemon).await;
    let mut opened = 0;
    let refused = loop {
        match Open::begin(&channel, &one, first("")).await {
            Ok(_) => opened += 1,
            Err(refused) => break refused,
        }
    };
    assert!(opened >= 1, "the first stream is accepted");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("limits.principal_streams_per_second"), "{refused:?}");
    assert!(refused.get_details_retry_info().is_some(), "{refused:?}");
    recognize_as(&channel, &other, vec![last(first(""))]).await.expect("another principal");
}

#[tokio::test]
async fn the_bytes_of_a_principal_wait_and_those_of_another_do_not() {
    let (folder, options) = tiny();
    let (one, other) = (token(folder.path(), "one", "recognize"), token(folder.path(), "other", "recognize"));
    let options = options.set("auth.tokens", tokens_file(folder.path()).to_str().unwrap());
    let daemon = options.set("limits.principal_bytes_per_second", "16000").start().await;
    let channel = connect(&daemon).await;
    let began = std::time::Instant::now();
    // A burst of one second is free; 48,000 bytes more take three seconds.
    let chunks = (0..8).map(|number| {
        let chunk = chunk("slow", telephone(), noise(8_000, number));
        if number == 7 { last(chunk) } else { chunk }
    });
    let mut slow = Box::pin(recognize_as(&channel, &one, chunks.collect()));
    tokio::select! {
        biased;
        outcome = recognize_as(&channel, &other, vec![last(first(""))]) => assert_eq!(outcome.unwrap(), 1),
        _ = &mut slow => panic!("the slow stream ended before that of another principal"),
    }
    slow.await.unwrap();
    assert!(began.elapsed() >= std::time::Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test]
async fn two_principals_with_one_call_id_have_two_calls() {
    let (folder, options) = tiny();
    let tokens = ["one", "other"].map(|name| token(folder.path(), name, "recognize,read"));
    let options = options.set("auth.tokens", tokens_file(folder.path()).to_str().unwrap());
    let options = options.set("calls.linger", "300ms").set("ingest.audiosocket.address", "127.0.0.1:0");
    let rule =
        [("name", "calm"), ("kind", "emotion"), ("emotion", "anger"), ("below", "1"), ("for", "100ms")];
    let options = rule.iter().fold(options, |it, (key, value)| it.set(&format!("alert.0.{key}"), value));
    let daemon = options.set("alert.0.min_windows", "1").start().await;
    let channel = connect(&daemon).await;
    let mut calls = CallServiceClient::new(channel.clone());
    let mut watch =
        calls.watch_calls(with_token(WatchCallsRequest {}, &tokens[0])).await.unwrap().into_inner();
    // Both streams end before either call does: those of one principal would be one call.
    for token in &tokens {
        let attributes = [("call_id".to_owned(), "call".to_owned())].into();
        recognize_as(&channel, token, vec![last(AudioChunk { attributes, ..first("s") })]).await.unwrap();
    }
    let mut ended = Vec::new();
    for _ in 0..2 {
        let message = bounded("a summary", watch.message()).await.unwrap().unwrap();
        ended.push(message.call.unwrap());
    }
    let ids = |index: usize| (ended[index].summary_id.as_str(), ended[index].alerts[0].alert_id.as_str());
    assert!(ids(0).0 != ids(1).0 && ids(0).1 != ids(1).1, "{ended:?}");
    assert!(ended.iter().all(|call| call.call_id == "call" && call.stream_ids == ["s"]), "{ended:?}");
    for (token, expected) in tokens.iter().zip(&ended) {
        for id in ["call", expected.summary_id.as_str()] {
            let request = GetCallRequest { call_id: id.to_owned() };
            let found = calls.get_call(with_token(request, token)).await.unwrap().into_inner();
            assert_eq!(&found, expected, "{id}");
        }
    }
    let id = "3f0e2a5c-0c1b-4d2e-9f3a-5b6c7d8e9f01";
    for (token, status) in [(&tokens[0], 204), (&tokens[1], 409), (&tokens[0], 204)] {
        let header = format!("Authorization: Bearer {token}\r\n");
        assert_eq!(announce_with(&daemon, id, r#"{"call_id":"call"}"#, &header).await, status);
    }
}
