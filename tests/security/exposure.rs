//! Ports that other machines can reach need TLS and authentication.

use crate::support::call_fixture::{bounded, tiny};
use crate::support::certificates::Authority;
use crate::support::credentials::{token, tokens_file};

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
    let allowed: [Vec<(&str, &str)>; 2] =
        [[&exposed[..], &[("auth.allow_insecure", "true")]].concat(), [&exposed[..], &tls, &auth].concat()];
    for settings in allowed {
        let options = settings.iter().fold(options.clone(), |options, (key, value)| options.set(key, value));
        options.start_unready().await;
    }
}
