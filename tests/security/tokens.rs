//! Bearer tokens: good ones, bad ones, a file that changes, `affectd token create`, and addresses with too many failures.

use std::path::Path;

use tonic::Code;

use crate::support::call_fixture::{
    Call, bounded, chunk, connect, last, metric, metric_reaches, noise, telephone, tiny,
};
use crate::support::credentials::{recognize_as, token, tokens_file, with_token};
use crate::support::daemon::{Options, affectd};

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/samples/calm.wav");

fn with_tokens(options: Options, folder: &Path) -> Options {
    options.set("auth.tokens", tokens_file(folder).to_str().unwrap())
}

fn call(stream_id: &str) -> Vec<affectd::proto::AudioChunk> {
    vec![last(chunk(stream_id, telephone(), noise(8_000, 1)))]
}

#[tokio::test]
async fn a_known_token_is_accepted_and_anything_else_refused_without_repeating_it() {
    let (folder, options) = tiny();
    let good = token(folder.path(), "gateway", "recognize");
    let daemon = with_tokens(options, folder.path()).start().await;
    let channel = connect(&daemon).await;
    assert_eq!(recognize_as(&channel, &good, call("good")).await.unwrap(), 1);
    let unknown = "affectd_0123456789abcdef";
    for bad in [unknown, &good[1..], &good.to_uppercase(), "a.b.c"] {
        let status = recognize_as(&channel, bad, call("bad")).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{bad}");
        assert!(status.message() == "authorization: the token is unknown", "{}", status.message());
    }
    let failures = |reason| format!("affectd_auth_failures_total{{reason=\"{reason}\"}}");
    assert_eq!(metric(&daemon, &failures("unknown_token")).await, 4.0);
    let missing = Call::try_open(&channel).await.err().expect("a call without a token is refused");
    assert_eq!(missing.code(), Code::Unauthenticated);
    assert_eq!(missing.message(), "authorization: missing, expected \"Bearer TOKEN\"");
    let mut basic = with_token((), "x");
    basic.metadata_mut().insert("authorization", "Basic YTpi".parse().unwrap());
    let (metadata, _, ()) = basic.into_parts();
    let mut client =
        affectd::proto::recognition_service_client::RecognitionServiceClient::new(channel.clone());
    let request =
        tonic::Request::from_parts(metadata, tonic::Extensions::default(), futures::stream::empty());
    let status = client.recognize(request).await.unwrap_err();
    assert_eq!(status.message(), "authorization: malformed, expected \"Bearer TOKEN\"");
    let (_, text) = daemon.get("/metrics").await.unwrap();
    for secret in [&good, unknown] {
        assert!(!daemon.log().contains(secret) && !text.contains(secret));
    }
}

#[tokio::test]
async fn the_binary_sends_the_token_of_a_file_and_creates_tokens() {
    let (folder, options) = tiny();
    let (tokens, secret) = (tokens_file(folder.path()), folder.path().join("token"));
    let create = ["token", "create", "--scope", "recognize", "--name", "sender", "--days", "1"];
    let (to, file) = (tokens.to_str().unwrap(), secret.to_str().unwrap());
    let output =
        affectd().args(create).args(["--append-to", to, "--token-file", file]).output().await.unwrap();
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(secret.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let output =
        affectd().args(create).args(["--append-to", to, "--token-file", file]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(1), "the token file is not overwritten");
    let output = affectd().args(create).output().await.unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let (shown, entry) = printed.split_once('\n').unwrap();
    assert!(shown.starts_with("affectd_") && entry.contains("sha256") && !entry.contains(shown), "{printed}");
    let output = affectd().args(["token", "create", "--scope", "all", "--name", "x"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(2));

    let daemon = with_tokens(options, folder.path()).start().await;
    let url = format!("grpc://{}", daemon.grpc);
    let send = ["send", SAMPLE, "--speed", "max", "--quiet", "--to", &url];
    let output = bounded("send", affectd().args(send).args(["--token-file", file]).output()).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let output = bounded("send", affectd().args(send).output()).await.unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && stderr.contains("authorization: missing"), "{stderr}");
    let load = ["load", "--target", &url, "--streams", "1", "--speed", "max", "--seconds", "1"];
    let output = bounded("load", affectd().args(load).args(["--token-file", file]).output()).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let output =
        affectd().args(["send", SAMPLE, "--to", &url, "--token-file", SAMPLE]).output().await.unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("does not hold one token"), "{stderr}");
}

#[tokio::test]
async fn a_changed_file_applies_without_a_restart_and_an_invalid_one_does_not() {
    let (folder, options) = tiny();
    let old = token(folder.path(), "old", "recognize");
    let daemon = with_tokens(options, folder.path()).start().await;
    let channel = connect(&daemon).await;
    recognize_as(&channel, &old, call("old")).await.unwrap();
    std::fs::remove_file(tokens_file(folder.path())).unwrap();
    let new = token(folder.path(), "new", "recognize");
    let reloads =
        |outcome| format!("affectd_security_reloads_total{{kind=\"tokens\",outcome=\"{outcome}\"}}");
    metric_reaches(&daemon, &reloads("ok"), |count| count >= 1.0).await;
    recognize_as(&channel, &new, call("new")).await.unwrap();
    assert_eq!(recognize_as(&channel, &old, call("old")).await.unwrap_err().code(), Code::Unauthenticated);
    std::fs::write(tokens_file(folder.path()), "[[token]]\nname = 1").unwrap();
    metric_reaches(&daemon, &reloads("failed"), |count| count >= 1.0).await;
    recognize_as(&channel, &new, call("again")).await.unwrap();
}

#[tokio::test]
async fn an_address_with_too_many_failures_is_refused_but_for_credentials_that_were_valid() {
    use tonic_types::StatusExt;
    let (folder, options) = tiny();
    let (used, unused) =
        (token(folder.path(), "used", "recognize"), token(folder.path(), "unused", "recognize"));
    let daemon = with_tokens(options, folder.path()).set("auth.max_failures", "3").start().await;
    let channel = connect(&daemon).await;
    recognize_as(&channel, &used, call("first")).await.unwrap();
    for _ in 0..3 {
        let status = recognize_as(&channel, "affectd_guess", call("guess")).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated);
    }
    for refused in ["affectd_guess", &unused] {
        let status = recognize_as(&channel, refused, call("guess")).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
        assert!(status.message().contains("too many failed attempts"), "{status:?}");
        assert!(status.get_details_retry_info().and_then(|info| info.retry_delay).is_some(), "{status:?}");
    }
    recognize_as(&channel, &used, call("second")).await.expect("a client behind the same address goes on");
    assert_eq!(metric(&daemon, "affectd_auth_failures_total{reason=\"too_many_failures\"}").await, 2.0);
}
