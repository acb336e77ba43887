//! TLS and mutual TLS of both servers, with the daemon's own clients, and certificates that change while streams run.

use std::path::Path;

use tonic::transport::{Certificate as Pem, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::support::call_fixture::{
    Call, bounded, chunk, last, metric_reaches, more, noise, recognize, telephone, tiny,
};
use crate::support::certificates::{Authority, Certificate};
use crate::support::daemon::{Daemon, Options, affectd};

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/samples/calm.wav");

/// A daemon whose gRPC server has `certificate`; HTTP stays plain, so that its state can be read.
fn with_tls(options: Options, certificate: &Certificate) -> Options {
    options
        .set("tls.cert", certificate.cert.to_str().unwrap())
        .set("tls.key", certificate.key.to_str().unwrap())
        .set("http.tls", "false")
}

/// Runs a command of the binary; returns its exit code and its stderr.
async fn run(args: &[&str]) -> (Option<i32>, String) {
    let output = bounded("the command", affectd().args(args).output()).await.unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

async fn send(daemon: &Daemon, flags: &[&str]) -> (Option<i32>, String) {
    let url = format!("grpcs://localhost:{}", daemon.grpc.port());
    run(&[&["send", SAMPLE, "--speed", "max", "--quiet", "--to", &url], flags].concat()).await
}

/// Opens a connection that trusts `authority`.
async fn secured(
    daemon: &Daemon,
    authority: &Path,
    own: Option<&Certificate>,
) -> Result<Channel, tonic::transport::Error> {
    let mut tls = ClientTlsConfig::new().ca_certificate(Pem::from_pem(std::fs::read(authority).unwrap()));
    if let Some(own) = own {
        tls = tls.identity(Identity::from_pem(
            std::fs::read(&own.cert).unwrap(),
            std::fs::read(&own.key).unwrap(),
        ));
    }
    let endpoint = Endpoint::from_shared(format!("https://{}", daemon.grpc)).unwrap();
    bounded("a connection", endpoint.tls_config(tls).unwrap().connect()).await
}

#[tokio::test]
async fn every_grpc_client_of_the_binary_uses_tls_and_refuses_an_unknown_authority() {
    let (folder, options) = tiny();
    let (authority, other) = (Authority::new(folder.path(), "ours"), Authority::new(folder.path(), "other"));
    let daemon = with_tls(options, &authority.sign(folder.path(), "server")).start().await;
    let (ca, wrong) = (authority.file.to_str().unwrap(), other.file.to_str().unwrap());
    let url = format!("grpcs://127.0.0.1:{}", daemon.grpc.port());
    std::fs::copy(SAMPLE, folder.path().join("a.wav")).unwrap();
    std::fs::write(folder.path().join("clips.csv"), "path,label,speaker\na.wav,one,s\n").unwrap();
    let data = format!("manifest:{}", folder.path().join("clips.csv").display());
    let commands: [&[&str]; 3] = [
        &["send", SAMPLE, "--speed", "max", "--to", &url],
        &["load", "--target", &url, "--streams", "2", "--speed", "max", "--seconds", "1"],
        &["evaluate", "--data", &data, "--server", &url],
    ];
    for command in commands {
        let (code, stderr) = run(&[command, &["--ca", ca]].concat()).await;
        // The labels of the tiny model are not those of the clip: the call itself must succeed.
        assert!(code == Some(0) || stderr.contains("no clip could be scored"), "{command:?}: {stderr}");
        let (code, stderr) = run(&[command, &["--ca", wrong]].concat()).await;
        assert_eq!(code, Some(1), "{command:?}: {stderr}");
        assert!(stderr.contains("invalid peer certificate"), "{command:?}: {stderr}");
        // Without --ca the authorities of the operating system apply, which have not signed the certificate.
        assert_eq!(run(command).await.0, Some(1), "{command:?}");
    }
    let plain = format!("grpc://{}", daemon.grpc);
    assert_eq!(
        run(&["send", SAMPLE, "--speed", "max", "--to", &plain]).await.0,
        Some(1),
        "a client without TLS"
    );
    let (code, stderr) = run(&["send", SAMPLE, "--to", &plain, "--ca", ca]).await;
    assert!(code == Some(2) && stderr.contains("only allowed with grpcs://"), "{stderr}");
}

#[tokio::test]
async fn an_expired_certificate_is_refused_by_either_side() {
    let (folder, options) = tiny();
    let authority = Authority::new(folder.path(), "ours");
    let ca = authority.file.to_str().unwrap();
    let expired = authority.sign_until(folder.path(), "expired", 2001);
    let daemon = with_tls(options.clone(), &expired).start().await;
    let (code, stderr) = send(&daemon, &["--ca", ca]).await;
    assert!(code == Some(1) && stderr.contains("xpired"), "{stderr}");
    let options = with_tls(options, &authority.sign(folder.path(), "server"));
    let daemon = options.set("tls.client_ca", ca).set("tls.client_auth", "required").start().await;
    let (cert, key) = (expired.cert.to_str().unwrap(), expired.key.to_str().unwrap());
    let (code, stderr) = send(&daemon, &["--ca", ca, "--cert", cert, "--key", key]).await;
    assert_eq!(code, Some(1), "{stderr}");
    metric_reaches(&daemon, "affectd_tls_handshakes_failed_total{reason=\"error\"}", |count| count >= 1.0)
        .await;
}

#[tokio::test]
async fn a_client_certificate_is_needed_checked_or_ignored_as_configured() {
    let (folder, options) = tiny();
    let (authority, clients) =
        (Authority::new(folder.path(), "ours"), Authority::new(folder.path(), "clients"));
    let server = authority.sign(folder.path(), "server");
    let (good, foreign) = (clients.sign(folder.path(), "good"), authority.sign(folder.path(), "foreign"));
    let ca = authority.file.to_str().unwrap();
    // Exit codes without a certificate, with a valid one, and with one of another authority.
    for (mode, codes) in [("none", [0, 0, 0]), ("optional", [0, 0, 1]), ("required", [1, 0, 1])] {
        let options = with_tls(options.clone(), &server).set("tls.client_auth", mode);
        let daemon = options.set("tls.client_ca", clients.file.to_str().unwrap()).start().await;
        for (own, expected) in [None, Some(&good), Some(&foreign)].into_iter().zip(codes) {
            let own =
                own.map(|own| ["--cert", own.cert.to_str().unwrap(), "--key", own.key.to_str().unwrap()]);
            let flags = [&["--ca", ca][..], own.as_ref().map_or(&[], |own| &own[..])].concat();
            let (code, stderr) = send(&daemon, &flags).await;
            assert_eq!(code, Some(expected), "{mode} {own:?}: {stderr}");
        }
    }
}

#[tokio::test]
async fn changed_certificates_apply_to_new_connections_while_streams_go_on() {
    let (folder, options) = tiny();
    let (old, new) = (Authority::new(folder.path(), "old"), Authority::new(folder.path(), "new"));
    let server = old.sign(folder.path(), "server");
    let daemon = with_tls(options, &server).start().await;
    let channel = secured(&daemon, &old.file, None).await.unwrap();
    let mut call = Call::begin(&channel, chunk("open", telephone(), noise(8_000, 1))).await;
    call.event().await;
    new.sign(folder.path(), "server");
    let reloads =
        |outcome| format!("affectd_security_reloads_total{{kind=\"certificate\",outcome=\"{outcome}\"}}");
    metric_reaches(&daemon, &reloads("ok"), |count| count >= 1.0).await;
    assert!(secured(&daemon, &old.file, None).await.is_err(), "the old authority");
    let channel = secured(&daemon, &new.file, None).await.unwrap();
    recognize(&channel, vec![last(chunk("new", telephone(), noise(8_000, 2)))]).await.good();
    std::fs::write(&server.cert, "not a certificate").unwrap();
    metric_reaches(&daemon, &reloads("failed"), |count| count >= 1.0).await;
    assert!(daemon.log().contains("tls.cert: file"), "{}", daemon.log());
    secured(&daemon, &new.file, None).await.expect("the previous certificate stays in use");
    call.send(last(more(noise(8_000, 3)))).await;
    assert!(!call.rest().await.good().is_empty(), "the open stream goes on");
}

#[tokio::test]
async fn a_connection_without_a_handshake_delays_no_other_one() {
    let (folder, options) = tiny();
    let authority = Authority::new(folder.path(), "ours");
    let daemon = with_tls(options, &authority.sign(folder.path(), "server")).start().await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(tokio::net::TcpStream::connect(daemon.grpc).await.unwrap());
    }
    let channel = secured(&daemon, &authority.file, None).await.unwrap();
    recognize(&channel, vec![last(chunk("call", telephone(), noise(8_000, 1)))]).await.good();
}

#[tokio::test]
async fn http_uses_tls_too_unless_it_is_turned_off() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (folder, options) = tiny();
    let authority = Authority::new(folder.path(), "ours");
    let options = with_tls(options, &authority.sign(folder.path(), "server")).set("http.tls", "true");
    let daemon = options.start_unready().await;
    let mut roots = rustls::RootCertStore::empty();
    use rustls::pki_types::pem::PemObject;
    roots.add(rustls::pki_types::CertificateDer::from_pem_file(&authority.file).unwrap()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into());
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let socket = tokio::net::TcpStream::connect(daemon.http).await.unwrap();
    let mut stream = connector.connect("localhost".try_into().unwrap(), socket).await.unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok\n"), "{answer}");
    assert!(!matches!(daemon.get("/livez").await, Ok((200, _))), "plain HTTP on the same port");
}

#[tokio::test]
async fn an_incomplete_or_unusable_tls_section_is_refused_with_the_key() {
    let (folder, options) = tiny();
    let authority = Authority::new(folder.path(), "ours");
    let (one, other) = (authority.sign(folder.path(), "one"), authority.sign(folder.path(), "two"));
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let missing = path(&folder.path().join("missing.pem"));
    let cases: [(&[(&str, &str)], &str); 6] = [
        (&[("tls.cert", &path(&one.cert))], "`tls.key`"),
        (&[("tls.key", &path(&one.key))], "`tls.cert`"),
        (&[("tls.client_auth", "required")], "`tls.client_auth`"),
        (&[("tls.cert", &path(&one.cert)), ("tls.key", &path(&other.key))], "does not fit tls.key"),
        (&[("tls.cert", &missing), ("tls.key", &path(&one.key))], "missing.pem"),
        (&[("tls.cert", &path(&one.key)), ("tls.key", &path(&one.key))], "holds no certificate in PEM"),
    ];
    for (settings, reason) in cases {
        let options = settings.iter().fold(options.clone(), |options, (key, value)| options.set(key, value));
        let output = bounded("the end", options.command().output()).await.unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{settings:?}: {stderr}");
        assert!(stderr.contains(reason), "{settings:?}: {stderr}");
    }
}
