//! Scopes per RPC and per HTTP path, client certificates as identities.

use affectd::proto::WatchEventsRequest;
use affectd::proto::evaluation_service_client::EvaluationServiceClient;
use affectd::proto::event_service_client::EventServiceClient;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;

use crate::support::call_fixture::{bounded, chunk, connect, last, noise, telephone, tiny};
use crate::support::certificates::Authority;
use crate::support::credentials::{recognize_as, token, tokens_file, with_token};
use crate::support::daemon::affectd;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/samples/calm.wav");

#[tokio::test]
async fn each_rpc_needs_its_scope_and_health_needs_none() {
    let (folder, options) = tiny();
    let tokens = ["recognize", "evaluate", "read", "admin"].map(|scope| token(folder.path(), scope, scope));
    let daemon = options.set("auth.tokens", tokens_file(folder.path()).to_str().unwrap()).start().await;
    let channel = connect(&daemon).await;
    for (index, token) in tokens.iter().enumerate() {
        let allowed = |scope: usize| index == scope || index == 3;
        let stream = vec![last(chunk(&format!("s{index}"), telephone(), noise(8_000, 1)))];
        let recognized = recognize_as(&channel, token, stream).await;
        let evaluated = EvaluationServiceClient::new(channel.clone())
            .evaluate(with_token(futures::stream::empty(), token))
            .await;
        let request = ServerReflectionRequest {
            message_request: Some(MessageRequest::ListServices(String::new())),
            ..ServerReflectionRequest::default()
        };
        let described = ServerReflectionClient::new(channel.clone())
            .server_reflection_info(with_token(futures::stream::iter([request]), token))
            .await;
        let watched = EventServiceClient::new(channel.clone())
            .watch_events(with_token(WatchEventsRequest::default(), token))
            .await;
        assert_eq!(watched.is_ok(), allowed(2), "token {index} watches events");
        let outcomes = [recognized.err(), evaluated.err(), described.err()];
        for (scope, outcome) in outcomes.into_iter().enumerate() {
            let code = outcome.as_ref().map(tonic::Status::code);
            let expected = (!allowed(scope)).then_some(Code::PermissionDenied);
            assert_eq!(code, expected, "token {index}, scope {scope}: {outcome:?}");
            let needed = format!("the scope {:?} is needed", ["recognize", "evaluate", "read"][scope]);
            assert!(outcome.is_none_or(|status| status.message().contains(&needed)));
        }
    }
    HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await.expect("health is open");
    // A path of no service: nothing of the server is described without credentials.
    let mut raw = tonic::client::Grpc::new(channel);
    raw.ready().await.unwrap();
    let path = "/affectd.v1.Unknown/Call".parse().unwrap();
    let codec = tonic_prost::ProstCodec::<HealthCheckRequest, HealthCheckRequest>::default();
    let status =
        raw.unary(tonic::Request::new(HealthCheckRequest::default()), path, codec).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn calls_and_recordings_need_their_scopes_and_the_page_and_probes_need_nothing() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (folder, options) = tiny();
    let (reader, sender) =
        (token(folder.path(), "reader", "read"), token(folder.path(), "sender", "recognize"));
    let options = options.set("auth.tokens", tokens_file(folder.path()).to_str().unwrap());
    let daemon = options.set("auth.max_failures", "1").start().await;
    for open in ["/", "/assets/app.js", "/metrics", "/livez", "/readyz"] {
        assert_eq!(daemon.get(open).await.unwrap().0, 200, "{open}");
    }
    assert_eq!(daemon.get("/nothing").await.unwrap().0, 404);
    let calls = async |token: Option<&str>| {
        let mut socket = tokio::net::TcpStream::connect(daemon.http).await.unwrap();
        let header = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let request =
            format!("GET /api/calls HTTP/1.1\r\nHost: localhost\r\n{header}Connection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        bounded("the calls", socket.read_to_string(&mut answer)).await.unwrap();
        answer
    };
    assert!(calls(Some(&reader)).await.starts_with("HTTP/1.1 200"));
    let recordings = async |token: Option<&str>| {
        let body = std::fs::read(SAMPLE).unwrap();
        let mut socket = tokio::net::TcpStream::connect(daemon.http).await.unwrap();
        let header = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let length = body.len();
        let head = format!(
            "POST /v1/analyze HTTP/1.1\r\nHost: localhost\r\n{header}Content-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        // A server that refuses may close its side before it has read the body.
        _ = socket.write_all(&body).await;
        let mut answer = Vec::new();
        _ = bounded("the answer", socket.read_to_end(&mut answer)).await;
        String::from_utf8_lossy(&answer).chars().take(15).collect::<String>()
    };
    assert_eq!(recordings(Some(&sender)).await, "HTTP/1.1 200 OK");
    for token in [Some(reader.as_str()), None] {
        assert_ne!(recordings(token).await, "HTTP/1.1 200 OK");
    }
    let missing = calls(None).await;
    assert!(missing.starts_with("HTTP/1.1 401") && missing.contains("www-authenticate: Bearer"), "{missing}");
    assert!(calls(Some(&sender)).await.starts_with("HTTP/1.1 403"));
    assert!(calls(Some("affectd_guess")).await.starts_with("HTTP/1.1 401"));
    let blocked = calls(Some("affectd_guess")).await;
    assert!(blocked.starts_with("HTTP/1.1 429") && blocked.contains("retry-after: "), "{blocked}");
    assert!(calls(Some(&reader)).await.starts_with("HTTP/1.1 200"), "a token that was valid before");
}

#[tokio::test]
async fn the_subject_of_a_client_certificate_is_an_identity_with_the_configured_scopes() {
    let (folder, options) = tiny();
    let authority = Authority::new(folder.path(), "ours");
    let (server, client) =
        (authority.sign(folder.path(), "server"), authority.sign(folder.path(), "gateway"));
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let options = options
        .set("tls.cert", &path(&server.cert))
        .set("tls.key", &path(&server.key))
        .set("tls.client_ca", &path(&authority.file))
        .set("tls.client_auth", "optional")
        .set("http.tls", "false");
    let url = |port: u16| format!("grpcs://localhost:{port}");
    for (scopes, reason) in [("recognize", None), ("evaluate", Some("the scope \"recognize\" is needed"))] {
        let daemon = options.clone().set("auth.mtls_scopes", scopes).start().await;
        let send = async |own: &[&str]| {
            let to = url(daemon.grpc.port());
            let ca = path(&authority.file);
            let mut command = affectd();
            command.args(["send", SAMPLE, "--speed", "max", "--quiet", "--to", &to, "--ca", &ca]).args(own);
            let output = bounded("send", command.output()).await.unwrap();
            (output.status.code(), String::from_utf8(output.stderr).unwrap())
        };
        let (code, stderr) = send(&["--cert", &path(&client.cert), "--key", &path(&client.key)]).await;
        assert_eq!(code, Some(i32::from(reason.is_some())), "{stderr}");
        assert!(reason.is_none_or(|reason| stderr.contains(reason)), "{stderr}");
        let (code, stderr) = send(&[]).await;
        assert!(code == Some(1) && stderr.contains("authorization: missing"), "{stderr}");
    }
}
