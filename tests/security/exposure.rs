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
