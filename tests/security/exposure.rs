//! Ports that other machines can reach need TLS and authentication.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::call_fixture::{bounded, tiny};
use crate::support::certificates::Authority;
use crate::support::credentials::{token, tokens_file};
use crate::support::daemon::Daemon;

#[tokio::test]
async fn an_exposed_port_without_tls_and_authentication_is_refused_with_exit_code_64() {
    let (folder, options) = tiny();
    let server = Authority::new(folder.path(), "ours").sign(folder.path(), "server");
    token(folder.path(), "one", "recognize");
    let tokens = tokens_file(folder.path());
    let tls = [("tls.cert", server.cert.to_str().unwrap()), ("tls.key", server.key.to_str().unwrap())];
    let auth = [("auth.tokens", tokens.to_str().unwrap())];
    let exposed = [("grpc.address", "0.0.0.0:0")];
    let refused: [(&str, Vec<(&str, &str)>); 6] = [
        ("grpc.address", exposed.to_vec()),
        ("grpc.address", vec![("grpc.address", "[::]:0")]),
        ("http.address", vec![("http.address", "0.0.0.0:0")]),
        ("grpc.address", [&exposed[..], &tls].concat()),
        ("grpc.address", [&exposed[..], &auth].concat()),
        ("http.address", [&[("http.address", "0.0.0.0:0"), ("http.tls", "false")][..], &tls, &auth].concat()),
    ];
    for (key, settings) in refused {
        let options = settings.iter().fold(options.clone(), |options, (key, value)| options.set(key, value));
        let output = bounded("the end", options.command().output()).await.unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{settings:?}: {stderr}");
        assert!(stderr.lines().count() == 1 && stderr.contains(key), "{stderr}");
        assert!(stderr.contains("auth.allow_insecure = true"), "{stderr}");
    }
    let page = [("http.address", "0.0.0.0:0"), ("http.token", "secret")];
    let allowed: [Vec<(&str, &str)>; 3] = [
        [&exposed[..], &[("auth.allow_insecure", "true")]].concat(),
        [&exposed[..], &tls, &auth].concat(),
        [&page[..], &tls].concat(),
    ];
    for settings in allowed {
        let options = settings.iter().fold(options.clone(), |options, (key, value)| options.set(key, value));
        options.start_unready().await;
    }
}

/// Returns the status of a request with these further headers.
async fn status(daemon: &Daemon, path: &str, headers: &str) -> u16 {
    let mut connection = bounded("a connection", TcpStream::connect(daemon.http)).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: affectd\r\n{headers}\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut beginning = [0; 12];
    bounded("the status", connection.read_exact(&mut beginning)).await.unwrap();
    std::str::from_utf8(&beginning).unwrap().rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn without_a_token_an_exposed_port_answers_for_health_and_metrics_alone() {
    let (_folder, options) = tiny();
    let daemon = options.set("http.address", "0.0.0.0:0").set("auth.allow_insecure", "true").start().await;
    for path in ["/metrics", "/livez", "/readyz", "/"] {
        assert_eq!(status(&daemon, path, "").await, 200, "{path}");
    }
    for path in ["/api/calls", "/api/alerts", "/api/live", "/v1/listen", "/ingest/twilio"] {
        assert_eq!(status(&daemon, path, "").await, 403, "{path}");
    }
    let text = "Authorization: Bearer any\r\n";
    assert_eq!(status(&daemon, "/api/calls", text).await, 403);
}

#[tokio::test]
async fn the_token_of_http_admits_to_calls_and_ingests_and_health_needs_none() {
    let (_folder, options) = tiny();
    let options = options.set("http.address", "0.0.0.0:0").set("auth.allow_insecure", "true");
    let daemon = options.set("http.token", "secret").set("ingest.insecure_loopback", "true").start().await;
    const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                           Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for path in ["/metrics", "/livez", "/readyz", "/"] {
        assert_eq!(status(&daemon, path, "").await, 200, "{path}");
    }
    let wrong = "Authorization: Bearer wrong\r\n";
    let right = "Authorization: Bearer secret\r\n";
    for path in ["/api/calls", "/api/alerts", "/api/live"] {
        for (headers, expected) in [("", 403), (wrong, 403), ("Authorization: secret\r\n", 403), (right, 200)]
        {
            assert_eq!(status(&daemon, path, headers).await, expected, "{path} {headers}");
        }
    }
    for path in ["/v1/listen", "/ingest/websocket", "/ingest/twilio"] {
        // A request that is no WebSocket needs the token, too.
        for (headers, expected) in [("", 403), (right, 400)] {
            assert_eq!(status(&daemon, path, headers).await, expected, "{path} {headers}");
        }
        for (headers, expected) in [("", 403), (wrong, 403), (right, 101)] {
            let headers = format!("{UPGRADE}{headers}");
            assert_eq!(status(&daemon, path, &headers).await, expected, "{path} {headers}");
        }
    }
}

/// Returns the response to a request with exactly these header lines.
async fn response(daemon: &Daemon, request: &str) -> String {
    let mut connection = bounded("a connection", TcpStream::connect(daemon.http)).await.unwrap();
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut response = Vec::new();
    // An accepted WebSocket stays open.
    while !response.windows(4).any(|end| end == b"\r\n\r\n") {
        assert_ne!(bounded("the head", connection.read_buf(&mut response)).await.unwrap(), 0);
    }
    if !response.starts_with(b"HTTP/1.1 101") {
        bounded("the body", connection.read_to_end(&mut response)).await.unwrap();
    }
    String::from_utf8(response).unwrap()
}

const WEBSOCKET: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[tokio::test]
async fn a_site_whose_name_resolves_to_loopback_gets_nothing_that_no_credential_protects() {
    let (_folder, options) = tiny();
    let options = options.set("ingest.insecure_loopback", "true");
    let daemon = options.set("ingest.public_url", "https://voice.example.com").start().await;
    let of = async |target: &str, headers: &str| {
        let connection = if headers.contains("Upgrade") { "" } else { "Connection: close\r\n" };
        response(&daemon, &format!("{target} HTTP/1.1\r\n{headers}{connection}\r\n")).await
    };
    let (evil, own) = ("Host: evil.example\r\n", format!("Host: localhost:{}\r\n", daemon.http.port()));
    let data = ["/", "/assets/app.js", "/api/calls", "/api/calls/x", "/api/alerts", "/api/live/x"];
    let gets = data.map(|path| format!("GET {path}"));
    let writes = ["POST /v1/analyze", "PUT /api/ingest/audiosocket/3f0e2a5c-0c1b-4d2e-9f3a-5b6c7d8e9f01"];
    for target in gets.iter().map(String::as_str).chain(writes) {
        let refused = of(target, evil).await;
        assert!(refused.starts_with("HTTP/1.1 403"), "{target}: {refused}");
        for part in ["host: \"evil.example\"", "localhost", "voice.example.com", "http.token"] {
            assert!(refused.contains(part), "{target}: {refused}");
        }
        let elsewhere = of(target, &format!("{own}Origin: http://evil.example\r\n")).await;
        assert!(elsewhere.starts_with("HTTP/1.1 403") && elsewhere.contains("origin: "), "{elsewhere}");
        for host in [&own, "Host: [::1]\r\n", "Host: 127.0.0.2:1\r\n", "Host: voice.example.com\r\n", ""] {
            let allowed = of(target, host).await;
            assert!(!allowed.starts_with("HTTP/1.1 403"), "{target} {host}: {allowed}");
        }
    }
    for path in ["/v1/listen", "/ingest/websocket", "/ingest/twilio", "/ingest/audiohook"] {
        let target = format!("GET {path}");
        let closing = WEBSOCKET.replace("Connection: Upgrade", "Connection: Upgrade, close");
        let refused = of(&target, &format!("{evil}Origin: http://evil.example\r\n{closing}")).await;
        assert!(refused.contains("host: \"evil.example\""), "{path}: {refused}");
        assert!(of(&target, &format!("{own}{WEBSOCKET}")).await.starts_with("HTTP/1.1 101"), "{path}");
    }
    for path in ["/metrics", "/livez", "/readyz"] {
        assert!(of(&format!("GET {path}"), evil).await.starts_with("HTTP/1.1 200"), "{path}");
    }
}

#[tokio::test]
async fn a_credential_is_accepted_with_any_host() {
    let (_folder, options) = tiny();
    let daemon = options.set("http.token", "secret").start().await;
    let token = "Authorization: Bearer secret\r\n";
    let calls = "GET /api/calls HTTP/1.1\r\nHost: voice.example.com\r\nConnection: close\r\n";
    assert!(response(&daemon, &format!("{calls}{token}\r\n")).await.starts_with("HTTP/1.1 200"));
    assert!(response(&daemon, &format!("{calls}\r\n")).await.contains("token: missing or wrong"));
    let listen = format!("GET /v1/listen HTTP/1.1\r\nHost: voice.example.com\r\n{WEBSOCKET}{token}\r\n");
    assert!(response(&daemon, &listen).await.starts_with("HTTP/1.1 101"));
}

#[tokio::test]
async fn guesses_of_tokens_without_a_principal_are_limited_and_known_tokens_are_not() {
    let (_folder, options) = tiny();
    let options = options.set("http.address", "0.0.0.0:0").set("auth.allow_insecure", "true");
    let options = options.set("http.token", "secret").set("ingest.audiohook.keys", "key:c2VjcmV0");
    let daemon = options.set("auth.max_failures", "4").start().await;
    let right = "Authorization: Bearer secret\r\n";
    assert_eq!(status(&daemon, "/api/calls", right).await, 200);
    for _ in 0..6 {
        assert_eq!(status(&daemon, "/api/calls", "").await, 403, "a request without a token is no guess");
    }
    for (path, headers, expected) in [
        ("/api/calls", "Authorization: Bearer one\r\n", 403),
        ("/v1/listen?token=two", "", 403),
        ("/ingest/twilio", "Sec-WebSocket-Protocol: token, three\r\n", 403),
        ("/ingest/audiohook", "X-API-KEY: four\r\n", 401),
    ] {
        assert_eq!(status(&daemon, path, headers).await, expected, "{path}");
    }
    let guess = "Authorization: Bearer five\r\n";
    for path in
        ["/api/calls", "/api/live", "/v1/listen", "/ingest/websocket", "/ingest/twilio", "/ingest/audiohook"]
    {
        assert_eq!(status(&daemon, path, guess).await, 429, "{path}");
    }
    assert_eq!(
        status(&daemon, "/v1/listen?token=secret", "").await,
        429,
        "a token that was not accepted before"
    );
    let request = format!("GET /api/calls HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{guess}\r\n");
    let refused = response(&daemon, &request).await.to_lowercase();
    assert!(refused.contains("retry-after: ") && refused.contains("too many failed attempts"), "{refused}");
    assert_eq!(status(&daemon, "/api/calls", right).await, 200, "a token that was accepted before");
    assert_eq!(status(&daemon, "/api/calls", "").await, 403);
    assert_eq!(status(&daemon, "/metrics", guess).await, 200);
}
