//! How a client ends a call: a deadline, a cancellation and a half-close. Each frees the id of the stream and its place among the open streams.

use std::future::Future;
use std::time::Duration;

use affectd::proto::evaluation_service_client::EvaluationServiceClient;
use affectd::proto::event_service_client::EventServiceClient;
use affectd::proto::recognition_service_client::RecognitionServiceClient;
use affectd::proto::{EvaluateRequest, RecognizeRequest, WatchEventsRequest};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::support::call_fixture::{
    Call, Outcome, bounded, chunk, connect, last, metric_reaches, noise, recognize, same, shapes, telephone,
    tiny,
};
use crate::support::daemon::{Daemon, Options};

/// The deadline of the calls in these tests.
const DEADLINE: Duration = Duration::from_millis(1_500);
const OPEN_STREAMS: &str = "affectd_streams_active";

/// A daemon that has room for one stream.
fn narrow() -> (tempfile::TempDir, Options) {
    let (folder, options) = tiny();
    (folder, options.set("limits.max_streams", "1"))
}

/// Opens the stream "call" again and checks its events. The end of the earlier call is processed concurrently, so a refusal is repeated.
async fn assert_is_free(daemon: &Daemon, channel: &Channel) {
    metric_reaches(daemon, OPEN_STREAMS, |open| open == 0.0).await;
    let again = async {
        loop {
            match recognize(channel, vec![last(chunk("call", telephone(), noise(12_000, 1)))]).await {
                Outcome { status: Some(status), .. }
                    if matches!(status.code(), Code::AlreadyExists | Code::ResourceExhausted) =>
                {
                    tokio::task::yield_now().await;
                }
                outcome => return outcome.good(),
            }
        }
    };
    assert_eq!(bounded("the stream to be free", again).await.len(), 2);
}

/// Reads a call whose requests stay open to its end; returns the number of responses and the status.
async fn ending<T>(
    call: impl Future<Output = Result<Response<Streaming<T>>, Status>>,
) -> (usize, Result<(), Status>) {
    let mut responses = bounded("the call", call).await.unwrap().into_inner();
    let mut count = 0;
    loop {
        match bounded("the end of the call", responses.message()).await {
            Ok(Some(_)) => count += 1,
            Ok(None) => return (count, Ok(())),
            Err(status) => return (count, Err(status)),
        }
    }
}

/// Requests that stay open, with a deadline.
fn open_requests<T: Send + 'static>(first: Option<T>) -> (mpsc::Sender<T>, Request<ReceiverStream<T>>) {
    let (sender, outbound) = mpsc::channel(1);
    if let Some(first) = first {
        sender.try_send(first).unwrap();
    }
    let mut request = Request::new(ReceiverStream::new(outbound));
    request.set_timeout(DEADLINE);
    (sender, request)
}

#[track_caller]
fn assert_exceeded(ended: Result<(), Status>) {
    let status = ended.expect_err("the call does not end with OK");
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert!(status.message().contains("1.5s"), "{status}");
}

#[tokio::test]
async fn a_deadline_ends_a_stream_and_frees_it() {
    let (_folder, options) = narrow();
    let daemon = options.start().await;
    let channel = connect(&daemon).await;
    let first = RecognizeRequest { chunk: Some(chunk("call", telephone(), noise(12_000, 1))) };
    let (_open, request) = open_requests(Some(first));
    let mut client = RecognitionServiceClient::new(channel.clone());
    let (events, ended) = ending(client.recognize(request)).await;
    assert_eq!(events, 2, "the events before the deadline arrive");
    assert_exceeded(ended);
    assert_is_free(&daemon, &channel).await;
}

#[tokio::test]
async fn a_deadline_ends_watching_and_evaluation() {
    let (_folder, options) = tiny();
    let daemon = options.start().await;
    let channel = connect(&daemon).await;
    let mut watch = Request::new(WatchEventsRequest::default());
    watch.set_timeout(DEADLINE);
    let mut events = EventServiceClient::new(channel.clone());
    assert_exceeded(ending(events.watch_events(watch)).await.1);

    let (_open, clips) = open_requests::<EvaluateRequest>(None);
    let mut evaluation = EvaluationServiceClient::new(channel);
    assert_exceeded(ending(evaluation.evaluate(clips)).await.1);
}

#[tokio::test]
async fn a_call_that_ends_before_its_deadline_ends_with_ok() {
    let (_folder, options) = narrow();
    let daemon = options.start().await;
    let request = RecognizeRequest { chunk: Some(last(chunk("call", telephone(), noise(12_000, 1)))) };
    let mut request = Request::new(tokio_stream::once(request));
    request.set_timeout(Duration::from_secs(3_600));
    let mut client = RecognitionServiceClient::new(connect(&daemon).await);
    let (events, ended) = ending(client.recognize(request)).await;
    assert_eq!(events, 2);
    ended.unwrap();
}

#[tokio::test]
async fn a_cancellation_frees_the_stream_while_the_connection_stays() {
    let (_folder, options) = narrow();
    let daemon = options.start().await;
    let channel = connect(&daemon).await;
    let mut call = Call::begin(&channel, chunk("call", telephone(), noise(12_000, 1))).await;
    assert_eq!(call.events(2).await.len(), 2);
    let second = recognize(&channel, vec![last(chunk("other", telephone(), noise(8_000, 2)))]).await;
    assert_eq!(second.refusal().0, Code::ResourceExhausted, "there is room for one stream");
    drop(call);
    assert_is_free(&daemon, &channel).await;
}

#[tokio::test]
async fn a_half_close_gives_the_remaining_events_and_ok() {
    let (_folder, options) = narrow();
    let daemon = options.start().await;
    let channel = connect(&daemon).await;
    let audio = noise(14_000, 3);
    let with_last = recognize(&channel, vec![last(chunk("call", telephone(), audio.clone()))]).await.good();
    let closed = Call::begin(&channel, chunk("call", telephone(), audio)).await.finish().await.good();
    same(&closed, &with_last).expect("the same stream");
    assert_eq!(shapes(&closed).last(), Some(&(0, 2, true, 1_000, 1_750)), "the partial window arrives too");
    assert_is_free(&daemon, &channel).await;
}
