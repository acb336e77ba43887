//! `POST /v1/analyze`: the events of a recording are those of a gRPC call, and errors have the status of their class.

use affectd::proto::{EmotionEvent, Encoding};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::call_fixture::{
    bounded, chunk, connect, format, last, more, noise, recognize, same, telephone, tiny,
};
use crate::support::daemon::Daemon;

const SAMPLE: &[u8] = include_bytes!("../../deploy/samples/call-stereo-mulaw.wav");

/// Status, header and body of a response.
async fn post(daemon: &Daemon, path: &str, headers: &str, body: &[u8]) -> (u16, String, String) {
    let mut connection = TcpStream::connect(daemon.http).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    let mut answer = Vec::new();
    let exchange = async {
        connection.write_all(head.as_bytes()).await?;
        // A refusal may arrive before the whole body is sent.
        let _ = connection.write_all(body).await;
        connection.read_to_end(&mut answer).await
    };
    bounded("a response", exchange).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = if head.to_lowercase().contains("transfer-encoding: chunked") {
        unchunked(body)
    } else {
        body.into()
    };
    (status, head.to_owned(), body)
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        whole.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
    }
    whole
}

fn events(json: &str) -> Vec<EmotionEvent> {
    let value: Value = serde_json::from_str(json).unwrap();
    serde_json::from_value(value["events"].clone()).unwrap()
}

#[tokio::test]
async fn a_posted_file_and_posted_samples_give_the_events_of_a_call() {
    let (_folder, options) = tiny();
    let daemon = options.start().await;
    let channel = connect(&daemon).await;
    let file = vec![chunk("call", format(Encoding::File, 0, 0), SAMPLE), last(more([]))];
    let expected = recognize(&channel, file).await.good();
    assert!(expected.len() > 4);
    // The default content type of curl, and none.
    for headers in
        ["Content-Type: application/x-www-form-urlencoded\r\n", "", "content-type: audio/x-wav\r\n"]
    {
        let (status, head, body) = post(&daemon, "/v1/analyze?stream_id=call", headers, SAMPLE).await;
        assert_eq!(status, 200, "{body}");
        assert!(head.to_lowercase().contains("content-type: application/json"), "{head}");
        same(&events(&body), &expected).unwrap();
    }
    let accept = "Accept: application/x-ndjson\r\n";
    let (status, head, body) = post(&daemon, "/v1/analyze?stream_id=call", accept, SAMPLE).await;
    assert!(status == 200 && head.contains("application/x-ndjson"), "{head}");
    let lines: Vec<EmotionEvent> = body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    same(&lines, &expected).unwrap();

    let samples = noise(20_000, 5);
    let expected = recognize(&channel, vec![last(chunk("raw", telephone(), samples.clone()))]).await.good();
    let path = "/v1/analyze?stream_id=raw&channel_names=customer";
    let (status, _, body) = post(&daemon, path, "Content-Type: audio/basic\r\n", &samples).await;
    assert_eq!(status, 200, "{body}");
    let mut posted = events(&body);
    for event in &mut posted {
        assert_eq!(std::mem::take(&mut event.channel_name), "customer");
    }
    same(&posted, &expected).unwrap();
}

#[tokio::test]
async fn errors_have_the_status_of_their_class_and_name_the_field() {
    let (_folder, options) = tiny();
    let daemon = options.set("audio.max_file_bytes", "1048576").start().await;
    let large = noise(2 * 1_048_576, 1);
    for (path, headers, body, status, text) in [
        ("/v1/analyze", "", &b"no sound"[..], 400, "is no audio file"),
        ("/v1/analyze", "", b"", 400, "audio"),
        ("/v1/analyze", "", &large, 413, "audio.max_file_bytes"),
        ("/v1/analyze?modle=x", "", SAMPLE, 400, "modle"),
        ("/v1/analyze?model=other", "", SAMPLE, 400, "other"),
        ("/v1/analyze?channels=all", "", SAMPLE, 400, "split, mix and first"),
        ("/v1/analyze?channel_names=a,b,c", "", SAMPLE, 400, "channel_names"),
        ("/v1/analyze", "Content-Type: audio/AMR\r\n", SAMPLE, 415, "AMR"),
        ("/v1/analyze", "Content-Type: audio/l16\r\n", SAMPLE, 415, "rate is missing"),
    ] {
        for accept in ["", "Accept: application/x-ndjson\r\n"] {
            let (found, _, answer) = post(&daemon, path, &format!("{headers}{accept}"), body).await;
            let json: Value = serde_json::from_str(&answer).unwrap();
            assert_eq!((found, &json["error"]["status"]), (status, &Value::from(status)), "{path} {answer}");
            let message = json["error"]["message"].as_str().unwrap().to_lowercase();
            assert!(message.contains(&text.to_lowercase()), "{path}: {message}");
        }
    }
    let (status, _) = daemon.get("/v1/analyze").await.unwrap();
    assert_eq!(status, 405);
}
