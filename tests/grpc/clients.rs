//! What common clients send: reflection of both versions, compressed messages, samples split over chunks, files declared as samples, uploads that pause.

use affectd::proto::recognition_service_client::RecognitionServiceClient;
use affectd::proto::{AudioChunk, Encoding, RecognizeRequest};
use tokio_stream::StreamExt;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Request};
use tonic_reflection::pb::{v1, v1alpha};

use crate::support::call_fixture::{
    Call, chunk, connect, format, last, metric, more, noise, recognize, same, shapes, telephone, tiny,
};

const WAV: &[u8] = include_bytes!("../../deploy/samples/call-stereo-mulaw.wav");

#[tokio::test]
async fn both_versions_of_reflection_list_the_services() {
    let (_folder, options) = tiny();
    let daemon = options.start().await;
    let channel = connect(&daemon).await;

    let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let list = v1::server_reflection_request::MessageRequest::ListServices(String::new());
    let request = v1::ServerReflectionRequest { host: String::new(), message_request: Some(list) };
    let answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap();
    let answer = answers.into_inner().message().await.unwrap().unwrap().message_response.unwrap();
    let v1::server_reflection_response::MessageResponse::ListServicesResponse(list) = answer else {
        panic!("{answer:?}")
    };
    let of_v1: Vec<String> = list.service.into_iter().map(|service| service.name).collect();

    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
    let list = v1alpha::server_reflection_request::MessageRequest::ListServices(String::new());
    let request = v1alpha::ServerReflectionRequest { host: String::new(), message_request: Some(list) };
    let answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap();
    let answer = answers.into_inner().message().await.unwrap().unwrap().message_response.unwrap();
    let v1alpha::server_reflection_response::MessageResponse::ListServicesResponse(list) = answer else {
        panic!("{answer:?}")
    };
    let of_v1alpha: Vec<String> = list.service.into_iter().map(|service| service.name).collect();

    for services in [&of_v1, &of_v1alpha] {
        for name in ["affectd.v1.RecognitionService", "affectd.v1.EvaluationService", "grpc.health.v1.Health"]
        {
            assert!(services.iter().any(|service| service == name), "{name} is not in {services:?}");
        }
    }
}

#[tokio::test]
async fn compressed_requests_and_replies_give_the_same_events() {
    let (_folder, options) = tiny();
    let daemon = options.start().await;
    let channel = connect(&daemon).await;
    let audio = noise(20_000, 1);
    let plain = recognize(&channel, vec![last(chunk("call", telephone(), audio.clone()))]).await.good();
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        let mut client = RecognitionServiceClient::new(channel.clone())
            .send_compressed(encoding)
            .accept_compressed(encoding);
        let request = RecognizeRequest { chunk: Some(last(chunk("call", telephone(), audio.clone()))) };
        let answer = client.recognize(tokio_stream::once(request)).await.unwrap();
        let used =
            answer.metadata().get("grpc-encoding").and_then(|used| used.to_str().ok().map(str::to_owned));
        assert_eq!(used, Some(encoding.to_string()), "the reply is compressed");
        let events: Vec<_> = answer.into_inner().map(|event| event.unwrap().event.unwrap()).collect().await;
        same(&events, &plain).expect("the same audio");
    }
}

#[tokio::test]
async fn a_compressed_chunk_is_limited_by_its_size_after_decompression() {
    let (_folder, options) = tiny();
    let daemon =
        options.set("audio.max_chunk_bytes", "50000").set("audio.max_file_bytes", "60000").start().await;
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        let mut client = RecognitionServiceClient::new(connect(&daemon).await).send_compressed(encoding);
        let request = RecognizeRequest { chunk: Some(last(chunk("call", telephone(), vec![0; 50_000_000]))) };
        let answer = client.recognize(Request::new(tokio_stream::once(request))).await;
        let status = match answer {
            Ok(answer) => answer.into_inner().message().await.unwrap_err(),
            Err(status) => status,
        };
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().contains("audio.max_chunk_bytes"), "{status}");
    }
}

#[tokio::test]
async fn a_sample_may_be_split_over_chunks() {
    let (_folder, options) = tiny();
    let daemon = options.start().await;
    let channel = connect(&daemon).await;
    for (encoding, channels, frame) in
        [(Encoding::PcmS16le, 1, 2), (Encoding::PcmS24le, 1, 3), (Encoding::PcmS16le, 2, 4)]
    {
        let format = format(encoding, 8_000, channels);
        let audio = noise(16_000 * frame, 2);
        let whole = recognize(&channel, vec![last(chunk("call", format, audio.clone()))]).await.good();
        assert!(whole.len() >= 3 * channels as usize);
        for size in [1_001, 801, 7_999] {
            for placed in [false, true] {
                let mut begin = 0;
                let mut chunks = Vec::new();
                for part in audio.chunks(size) {
                    let first_sample = placed.then_some((begin / frame) as u64);
                    chunks.push(AudioChunk { first_sample, ..chunk("call", format, part) });
                    begin += part.len();
                }
                let end = chunks.pop().unwrap();
                chunks.push(last(end));
                let events = recognize(&channel, chunks).await.good();
                same(&events, &whole).unwrap_or_else(|error| panic!("{encoding:?} in {size}: {error}"));
            }
        }
    }
}

#[tokio::test]
async fn only_the_end_of_a_stream_may_not_lie_inside_a_sample() {
    let (_folder, options) = tiny();
    let daemon = options.start().await;
    let channel = connect(&daemon).await;
    let pcm = format(Encoding::PcmS16le, 8_000, 1);
    let ended = vec![chunk("call", pcm, noise(801, 3)), last(more(noise(800, 4)))];
    let closed = vec![chunk("call", pcm, noise(801, 3)), more(noise(800, 4))];
    for chunks in [ended, closed] {
        let outcome = recognize(&channel, chunks).await;
        let (code, message) = outcome.refusal();
        assert_eq!(code, Code::InvalidArgument);
        assert!(message.contains("odd byte count: the stream ends 1 bytes into a sample"), "{message}");
    }
    // The rest of the sample before a jump never comes, and what follows the jump begins with a whole sample.
    let jump = AudioChunk { first_sample: Some(8_001), ..last(more(noise(15_998, 5))) };
    let first = AudioChunk { first_sample: Some(0), ..chunk("call", pcm, noise(16_001, 6)) };
    assert_eq!(recognize(&channel, vec![first, jump.clone()]).await.good().len(), 3);
}

/// A WAV file that is sent as 8 kHz µ-law samples.
fn file_as_samples() -> Vec<AudioChunk> {
    let mut chunks = vec![chunk("call", telephone(), [])];
    chunks.extend(WAV.chunks(8_000).map(|part| chunk("call", telephone(), part)));
    let end = chunks.pop().unwrap();
    chunks.push(last(end));
    chunks
}

#[tokio::test]
async fn a_file_declared_as_samples_is_reported_refused_or_decoded() {
    let series = "affectd_rejected_total{source=\"grpc\",reason=\"file_as_samples\"";
    let (_folder, options) = tiny();
    let daemon = options.start().await;
    let warned = recognize(&connect(&daemon).await, file_as_samples()).await.good();
    assert!(daemon.log().contains("WAV"), "{}", daemon.log());
    assert!(daemon.log().contains("WARN") && daemon.log().contains("call"), "{}", daemon.log());
    assert_eq!(metric(&daemon, series).await, 0.0);
    assert!(warned.iter().all(|event| event.channel == 0), "read as mono samples");

    let daemon = options.clone().set("audio.file_as_samples", "refuse").start().await;
    let outcome = recognize(&connect(&daemon).await, file_as_samples()).await;
    let (code, message) = outcome.refusal();
    assert!(code == Code::InvalidArgument && message.contains("ENCODING_FILE"), "{message}");
    assert!(outcome.events.is_empty());
    assert_eq!(metric(&daemon, series).await, 1.0);

    let daemon = options.set("audio.file_as_samples", "decode").start().await;
    let channel = connect(&daemon).await;
    let decoded = recognize(&channel, file_as_samples()).await.good();
    let file = last(chunk("call", format(Encoding::File, 0, 0), WAV));
    let expected = recognize(&channel, vec![file]).await.good();
    assert!(expected.iter().any(|event| event.channel == 1), "{:?}", shapes(&expected));
    same(&decoded, &expected).expect("the file is decoded");
}

#[tokio::test]
async fn an_upload_that_pauses_ends_with_the_idle_timeout_named() {
    let (_folder, options) = tiny();
    let daemon = options.set("audio.idle_timeout", "200ms").start().await;
    let channel = connect(&daemon).await;
    let file = format(Encoding::File, 0, 0);
    let outcome = Call::begin(&channel, chunk("call", file, &WAV[..70_000])).await.rest().await;
    let (code, message) = outcome.refusal();
    assert_eq!(code, Code::InvalidArgument);
    assert!(message.contains("no chunk for 0.2 s (audio.idle_timeout)"), "{message}");
    assert!(!message.contains("truncated"), "{message}");
    // A complete file whose client waits for its events gets them.
    let mut call = Call::begin(&channel, chunk("call", file, WAV)).await;
    assert!(call.events(10).await.iter().all(|event| event.stream_id == "call"));
}
