//! Evaluations: too many at once, too many clips, compressed silence, clients that leave.

use std::time::Duration;

use affectd::proto::evaluate_response::Response as Answer;
use affectd::proto::evaluation_service_client::EvaluationServiceClient;
use affectd::proto::{AudioFormat, Encoding, EvaluateRequest, EvaluateResponse, LabelledClip};
use futures::Stream;
use tonic::{Code, Status, Streaming};

use crate::support::call_fixture::{bounded, connect, format, noise, tiny};
use crate::support::daemon::Daemon;
use crate::support::flac_bomb;
use crate::support::victim::Victim;

const LIMIT: Duration = Duration::from_secs(3);

fn clip(number: usize, format: AudioFormat, audio: Vec<u8>) -> EvaluateRequest {
    let (id, speaker) = (format!("clip-{number}"), format!("speaker-{number}"));
    let clip = LabelledClip { id, label: "anger".into(), speaker, format: Some(format), audio: audio.into() };
    EvaluateRequest { clip: Some(clip) }
}

fn short(number: usize) -> EvaluateRequest {
    clip(number, format(Encoding::Mulaw, 8_000, 1), noise(2_000, number as u64))
}

fn bomb(number: usize, seconds: u32) -> EvaluateRequest {
    clip(number, format(Encoding::File, 0, 0), flac_bomb::silence(seconds))
}

async fn evaluate(
    daemon: &Daemon,
    requests: impl Stream<Item = EvaluateRequest> + Send + 'static,
) -> Result<Streaming<EvaluateResponse>, Status> {
    let mut client = EvaluationServiceClient::new(connect(daemon).await);
    let answer = bounded("the call", client.evaluate(requests)).await?;
    Ok(answer.into_inner())
}

async fn all(mut answers: Streaming<EvaluateResponse>) -> Result<Vec<Answer>, Status> {
    let mut found = Vec::new();
    while let Some(answer) = bounded("an answer", answers.message()).await? {
        found.extend(answer.response);
    }
    Ok(found)
}

#[tokio::test]
async fn compressed_silence_is_skipped_beside_a_stream() {
    let (_folder, options) = tiny();
    let daemon = options.start().await;
    let victim = Victim::start(&daemon).await;
    let requests = (0..4).map(|number| bomb(number, 16_560)).chain([short(4)]);
    let requests: Vec<_> = requests.collect();
    let answers = all(evaluate(&daemon, futures::stream::iter(requests)).await.unwrap()).await.unwrap();
    let [skipped @ .., Answer::Clip(scored), Answer::Report(report)] = &answers[..] else {
        panic!("{answers:?}")
    };
    for answer in skipped {
        assert!(
            matches!(answer, Answer::Clip(clip) if clip.skipped.contains("audio.max_file_duration")),
            "{answer:?}"
        );
    }
    assert!(scored.skipped.is_empty());
    assert_eq!((report.clips, report.skipped), (1, 4));
    victim.stop().await.assert_p99(LIMIT);
}

#[tokio::test]
async fn evaluations_and_their_clips_are_limited() {
    let (_folder, options) = tiny();
    let options = options.set("evaluation.max_concurrent", "1").set("evaluation.max_clips", "20");
    let daemon = options.set("limits.first_chunk_timeout", "1s").start().await;
    let victim = Victim::start(&daemon).await;
    let open = evaluate(&daemon, futures::stream::pending()).await.unwrap();
    let second = evaluate(&daemon, futures::stream::empty()).await.unwrap_err();
    assert_eq!(second.code(), Code::ResourceExhausted);
    assert!(second.message().contains("evaluation.max_concurrent"), "{second}");
    let silent = all(open).await.unwrap_err();
    assert_eq!(silent.code(), Code::DeadlineExceeded, "{silent}");

    let many: Vec<_> = (0..30).map(short).collect();
    let refused = all(evaluate(&daemon, futures::stream::iter(many)).await.unwrap()).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("evaluation.max_clips"), "{refused}");
    victim.stop().await.assert_p99(LIMIT);
}

#[tokio::test]
async fn an_evaluation_ends_with_its_client() {
    let (_folder, options) = tiny();
    let daemon = options.set("evaluation.max_concurrent", "1").start().await;
    let victim = Victim::start(&daemon).await;
    // HTTP/2 resets a call once both of its sides are dropped.
    let requests: Vec<_> = (0..8).map(|number| bomb(number, 3_000)).collect();
    drop(evaluate(&daemon, futures::stream::iter(requests)).await.unwrap());
    // The next evaluation may begin as soon as the daemon has noticed.
    let next = async {
        loop {
            match evaluate(&daemon, futures::stream::iter([short(0)])).await {
                Ok(answers) => return all(answers).await.unwrap(),
                Err(status) => assert_eq!(status.code(), Code::ResourceExhausted),
            }
        }
    };
    assert_eq!(bounded("the next evaluation", next).await.len(), 2);
    victim.stop().await.assert_p99(LIMIT);
}
