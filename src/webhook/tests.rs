//! The webhook against receivers of a test.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Options, SigningSecret, Webhook, sign};
use crate::proto::Alert;
use crate::serving::{EventReceiver, EventSender, SinkMessage};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn alert(id: &str, state: &str) -> Arc<Alert> {
    Arc::new(Alert { alert_id: id.to_owned(), state: state.to_owned(), ..Alert::default() })
}

/// The dead letters in the queue: id, state, reason.
fn dead_letters(receiver: &mut EventReceiver) -> Vec<(String, String, String)> {
    let mut letters = Vec::new();
    while let Ok(event) = receiver.try_recv() {
        let SinkMessage::UndeliveredAlert(alert, reason) = event.message else { panic!("no dead letter") };
        letters.push((alert.alert_id.clone(), alert.state.clone(), reason));
    }
    letters
}

fn options(url: String) -> Options {
    Options { url: Some(url), secret: Some(SECRET.to_owned()), ..Options::default() }
}

/// A receiver that answers each request with the next of `statuses`, the last one for ever. Returns its address and the requests.
async fn receiver(statuses: &'static [u16]) -> (String, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook?team=north", listener.local_addr().unwrap());
    let (sender, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for number in 0.. {
            let (mut socket, _) = listener.accept().await.unwrap();
            let (mut text, mut buffer) = (String::new(), [0; 4_096]);
            let complete = |text: &str| {
                let (head, body) = text.split_once("\r\n\r\n")?;
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
                (body.len() >= length.parse().ok()?).then_some(())
            };
            while complete(&text).is_none() {
                let count = socket.read(&mut buffer).await.unwrap();
                text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
            }
            let status = statuses[number.min(statuses.len() - 1)];
            let _ = sender.send(text);
            let response = format!("HTTP/1.1 {status} -\r\ncontent-length: 0\r\n\r\n");
            socket.write_all(response.as_bytes()).await.unwrap();
        }
    });
    (url, requests)
}

fn header<'a>(request: &'a str, name: &str) -> &'a str {
    let line = request.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")[..]));
    line.unwrap_or_else(|| panic!("{name} in {request}"))
}

#[tokio::test]
async fn a_request_is_signed_over_its_id_its_time_and_its_body() {
    let (url, mut requests) = receiver(&[204]).await;
    let (webhook, sender) = Webhook::new(&options(url), None).unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn(webhook.run(stop.clone()));
    sender.send(alert("one", "raised"));
    let request = requests.recv().await.unwrap();
    assert!(request.starts_with("POST /hook?team=north HTTP/1.1\r\n"), "{request}");
    let body = request.split_once("\r\n\r\n").unwrap().1;
    let timestamp: u64 = header(&request, "webhook-timestamp").parse().unwrap();
    let message = super::Message { id: "one".to_owned(), body: body.to_owned() };
    let expected = sign(&SigningSecret::decode(SECRET).unwrap(), &message, timestamp);
    assert_eq!(
        (header(&request, "webhook-id"), header(&request, "webhook-signature")),
        ("one", expected.as_str())
    );
    assert_eq!(header(&request, "content-type"), "application/json");
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn a_receiver_that_is_gone_makes_a_dead_letter_at_once() {
    let (url, mut requests) = receiver(&[410]).await;
    let (sink, mut letters) = EventSender::channel(10);
    let (webhook, sender) = Webhook::new(&options(url), Some(sink)).unwrap();
    let task = tokio::spawn(webhook.run(CancellationToken::new()));
    sender.send(alert("one", "raised"));
    requests.recv().await.unwrap();
    let letter = letters.recv().await.unwrap();
    assert!(matches!(letter.message, SinkMessage::UndeliveredAlert(_, reason) if reason.contains("410")));
    task.abort();
}

#[tokio::test]
async fn when_the_daemon_stops_each_alert_is_tried_once_more_and_then_a_dead_letter() {
    let (url, mut requests) = receiver(&[500]).await;
    let (sink, mut letters) = EventSender::channel(10);
    let (webhook, sender) = Webhook::new(&options(url), Some(sink)).unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn(webhook.run(stop.clone()));
    sender.send(alert("one", "raised"));
    requests.recv().await.unwrap();
    // Waits behind the alert that is to be tried again in five seconds.
    sender.send(alert("one", "cleared"));
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(30), task).await.unwrap().unwrap();
    let found = dead_letters(&mut letters);
    let found: Vec<(&str, &str)> = found.iter().map(|(id, state, _)| (id.as_str(), state.as_str())).collect();
    assert_eq!(found, [("one", "raised"), ("one", "cleared")]);
    assert!(sender.room.available_permits() == super::queue::MOST_QUEUED, "nothing is queued any more");
}

#[tokio::test]
async fn alerts_beyond_a_thousand_become_dead_letters() {
    let (sink, mut letters) = EventSender::channel(10);
    let (_webhook, sender) = Webhook::new(&options("http://127.0.0.1:1/".to_owned()), Some(sink)).unwrap();
    for number in 0..1_002 {
        sender.send(alert(&number.to_string(), "raised"));
    }
    let found = dead_letters(&mut letters);
    assert_eq!(found.iter().map(|(id, ..)| id.as_str()).collect::<Vec<_>>(), ["1000", "1001"]);
}

#[test]
fn the_tries_of_one_alert_are_eight_within_ten_minutes() {
    assert_eq!((super::queue::PAUSES.len() + 1, super::queue::PAUSES.iter().sum::<u64>()), (8, 600));
}

#[test]
fn a_secret_is_whsec_and_base64_of_24_to_64_bytes() {
    assert_eq!(SigningSecret::decode(SECRET).unwrap().len(), 24);
    for bad in
        ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_abcd", "whsec_!fKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
    {
        assert_eq!(SigningSecret::decode(bad), None, "{bad}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_without_an_open_request_waits_for_nothing() {
    let (webhook, _sender) = Webhook::new(&options("http://127.0.0.1:9/".to_owned()), None).unwrap();
    let stop = CancellationToken::new();
    stop.cancel();
    let started = tokio::time::Instant::now();
    webhook.run(stop).await;
    assert_eq!(started.elapsed(), Duration::ZERO);
}
