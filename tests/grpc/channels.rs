//! Channel policies and channel names: a real daemon over real gRPC.

use affectd::proto::{AudioChunk, ChannelPolicy, EmotionEvent, Encoding};
use tonic::Code;

use crate::support::call_fixture::{
    chunk, connect, format, last, metric, more, noise, recognize, same, shapes, telephone, tiny,
};

const SAMPLE: &[u8] = include_bytes!("../../deploy/samples/call-stereo-mulaw.wav");
const NAMES: [&str; 2] = ["agent", "customer"];

/// 1.7 s of stereo: three windows per channel.
fn stereo(policy: ChannelPolicy, names: &[&str]) -> AudioChunk {
    let first = chunk("call", format(Encoding::PcmS16le, 16_000, 2), noise(16_000 * 17 / 10 * 4, 1));
    asking(first, policy, names)
}

fn asking(chunk: AudioChunk, policy: ChannelPolicy, names: &[&str]) -> AudioChunk {
    let channel_names = names.iter().map(|&name| name.to_owned()).collect();
    AudioChunk { channels: policy.into(), channel_names, ..chunk }
}

/// Each channel with events: index, name and number of events.
fn channels(events: &[EmotionEvent]) -> Vec<(u32, String, usize)> {
    let mut found: Vec<(u32, String, usize)> = Vec::new();
    for event in events {
        let known = found.iter_mut().find(|(channel, ..)| *channel == event.channel);
        match known {
            Some((_, name, count)) => {
                assert_eq!(*name, event.channel_name);
                *count += 1;
            }
            None => found.push((event.channel, event.channel_name.clone(), 1)),
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn a_stream_sets_its_channel_policy() {
    let (_folder, options) = tiny();
    let daemon = options.start().await;
    let channel = connect(&daemon).await;
    let of =
        async |policy, names: &[&str]| recognize(&channel, vec![last(stereo(policy, names))]).await.good();
    let split = of(ChannelPolicy::Unspecified, &NAMES).await;
    assert_eq!(channels(&split), [(0, "agent".into(), 3), (1, "customer".into(), 3)]);
    same(&of(ChannelPolicy::Split, &[]).await, &split).expect("split is the default, and names change no id");

    let first = of(ChannelPolicy::First, &NAMES).await;
    assert_eq!(channels(&first), [(0, "agent".into(), 3)]);
    let own: Vec<EmotionEvent> = split.iter().filter(|event| event.channel == 0).cloned().collect();
    same(&first, &own).expect("the first channel as it was");

    let mix = of(ChannelPolicy::Mix, &[]).await;
    assert_eq!(channels(&mix), [(0, String::new(), 3)]);
    let audio = stereo(ChannelPolicy::Mix, &[]).audio;
    let (pairs, _) = audio.as_chunks::<4>();
    let mean = pairs.iter().flat_map(|[a, b, c, d]| {
        let sum = i32::from(i16::from_le_bytes([*a, *b])) + i32::from(i16::from_le_bytes([*c, *d]));
        (sum as f32 / 65_536.0).to_le_bytes()
    });
    let mean = chunk("call", format(Encoding::PcmF32le, 16_000, 1), mean.collect::<Vec<u8>>());
    let of_mean = recognize(&channel, vec![last(mean)]).await.good();
    assert_eq!(shapes(&mix), shapes(&of_mean));
    same(&mix, &of_mean).expect("the mean of both");
}

#[tokio::test]
async fn a_file_has_its_channels_named_and_mixed() {
    let (_folder, options) = tiny();
    let daemon = options.set("audio.channels", "first").start().await;
    let channel = connect(&daemon).await;
    let file = |policy, names: &[&str]| {
        let (head, tail) = SAMPLE.split_at(70_001);
        vec![asking(chunk("call", format(Encoding::File, 0, 0), head), policy, names), last(more(tail))]
    };
    let configured = recognize(&channel, file(ChannelPolicy::Unspecified, &NAMES)).await.good();
    assert_eq!(channels(&configured), [(0, "agent".into(), 29)], "according to audio.channels");
    let split = recognize(&channel, file(ChannelPolicy::Split, &NAMES)).await.good();
    assert_eq!(channels(&split), [(0, "agent".into(), 29), (1, "customer".into(), 29)]);
    let mix = recognize(&channel, file(ChannelPolicy::Mix, &[])).await.good();
    assert_eq!(channels(&mix), [(0, String::new(), 29)]);
    let wrong = recognize(&channel, file(ChannelPolicy::Split, &["agent"])).await;
    let (code, message) = wrong.refusal();
    assert_eq!(code, Code::InvalidArgument);
    assert!(message.contains("channel_names") && message.contains("2 channels"), "{message}");
}

#[tokio::test]
async fn an_impossible_channel_request_is_refused() {
    let (_folder, options) = tiny();
    let daemon = options.start().await;
    let channel = connect(&daemon).await;
    let mono = |policy, names: &[&str]| asking(chunk("call", telephone(), noise(800, 2)), policy, names);
    let unknown = AudioChunk { channels: 9, ..mono(ChannelPolicy::Split, &[]) };
    let (split, mix) = (ChannelPolicy::Split, ChannelPolicy::Mix);
    let later = |policy, names: &[&str]| vec![stereo(split, &NAMES), asking(more([0; 4]), policy, names)];
    for (what, chunks, parts) in [
        ("unknown", vec![unknown], ["channels = 9", "CHANNEL_POLICY_MIX"]),
        ("one name too many", vec![mono(split, &NAMES)], ["agent", "one for each of 1 channels"]),
        ("no name in a name", vec![mono(split, &[""])], ["channel_names", "not empty"]),
        ("names of a mean", vec![stereo(mix, &NAMES)], ["channel_names", "none"]),
        ("another policy", later(mix, &[]), ["split (agent, customer)", "mix (agent, customer)"]),
        ("other names", later(split, &["a", "b"]), ["split (agent, customer)", "split (a, b)"]),
    ] {
        let outcome = recognize(&channel, chunks).await;
        let (code, message) = outcome.refusal();
        assert_eq!(code, Code::InvalidArgument, "{what}");
        assert!(parts.iter().all(|part| message.contains(part)), "{what}: {message}");
    }
    // Repeating the same policy is not a change.
    let again = vec![stereo(split, &NAMES), last(asking(more([]), split, &NAMES))];
    assert_eq!(recognize(&channel, again).await.good().len(), 6);
}

#[tokio::test]
async fn a_mixed_stream_of_eight_channels_counts_as_one_channel() {
    // One channel of the tiny model fits; two would not.
    let (_folder, options) = tiny();
    let daemon = options.start().await;
    let channel = connect(&daemon).await;
    let eight = |policy| {
        let first = chunk("call", format(Encoding::Mulaw, 8_000, 8), noise(8 * 24_000, 3));
        vec![last(asking(first, policy, &[]))]
    };
    for (policy, analysed) in [(ChannelPolicy::Mix, 1), (ChannelPolicy::First, 1), (ChannelPolicy::Split, 8)]
    {
        let events = recognize(&channel, eight(policy)).await.good();
        assert_eq!(events.len(), 5 * analysed, "{policy:?}");
    }
    assert_eq!(metric(&daemon, "affectd_audio_seconds_total{source=\"grpc\"").await, 9.0);
}
