//! The TLS configuration of the servers: certificates, private key and client authorities, read again when their files change.
//!
//! Input: [`TlsOptions`]. Output: a configuration of rustls for each protocol. Invariants: TLS 1.2 is the minimum; a connection keeps the configuration of
//! its handshake; a resumed session never outlives the certificates that it was opened with, because each load has a session store of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ServerConfig, WebPkiClientVerifier};
use x509_cert::der::Decode;

use super::file::read;
use super::reload::Reloaded;
use super::{ClientAuth, SecurityError, TlsOptions};

/// The configurations of one load.
#[derive(Debug)]
pub struct TlsConfigs {
    /// For gRPC: HTTP/2 only.
    pub grpc: Arc<ServerConfig>,
    /// For HTTP/1.1.
    pub http: Arc<ServerConfig>,
}

/// The TLS configuration of the servers, which follows its files. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ServerTls(Reloaded<TlsConfigs>);

impl ServerTls {
    /// Loads the files of `[tls]`, and again whenever one of them changes. Returns `None` where TLS is off. Requires a runtime.
    ///
    /// # Errors
    /// Returns an error that names the key and the file where a file cannot be used.
    pub fn start(options: &TlsOptions) -> Result<Option<Self>, SecurityError> {
        let Some(files) = Files::of(options) else { return Ok(None) };
        let paths = [Some(&files.cert), Some(&files.key), files.client_ca.as_ref()];
        let paths = paths.into_iter().flatten().cloned().collect();
        Reloaded::start("certificate", paths, move || files.load()).map(|configs| Some(Self(configs)))
    }

    /// Returns the configurations of the present files.
    #[must_use]
    pub fn current(&self) -> Arc<TlsConfigs> {
        self.0.current()
    }
}

/// The files of `[tls]`.
struct Files {
    cert: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
    client_auth: ClientAuth,
}

impl Files {
    fn of(options: &TlsOptions) -> Option<Self> {
        let TlsOptions { cert, key, client_ca, client_auth } = options.clone();
        Some(Self { cert: cert?, key: key?, client_ca, client_auth })
    }

    fn load(&self) -> Result<TlsConfigs, SecurityError> {
        let config = |protocol: &[u8]| {
            let mut config = self.server_config()?;
            config.alpn_protocols = vec![protocol.to_vec()];
            Ok(Arc::new(config))
        };
        Ok(TlsConfigs { grpc: config(b"h2")?, http: config(b"http/1.1")? })
    }

    fn server_config(&self) -> Result<ServerConfig, SecurityError> {
        let chain = certificates("tls.cert", &self.cert)?;
        let key = read("tls.key", &self.key)?;
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| {
            SecurityError::new(
                "tls.key",
                &self.key,
                "holds no private key in PEM (PKCS #8, PKCS #1 or SEC 1)",
            )
        })?;
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has cipher suites for TLS 1.2 and 1.3");
        let builder = match self.client_verifier()? {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let built = builder.with_single_cert(chain, key);
        built.map_err(|cause| {
            SecurityError::new("tls.cert", &self.cert, format!("does not fit tls.key: {cause}"))
        })
    }

    fn client_verifier(&self) -> Result<Option<Arc<dyn ClientCertVerifier>>, SecurityError> {
        const KEY: &str = "tls.client_ca";
        let Some(path) = self.client_ca.as_ref().filter(|_| self.client_auth != ClientAuth::None) else {
            return Ok(None);
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(KEY, path)? {
            roots.add(certificate).map_err(|cause| SecurityError::new(KEY, path, cause.to_string()))?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(roots.into(), provider());
        let builder = match self.client_auth {
            ClientAuth::Required => builder,
            ClientAuth::None | ClientAuth::Optional => builder.allow_unauthenticated(),
        };
        builder.build().map(Some).map_err(|cause| SecurityError::new(KEY, path, cause.to_string()))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Reads all certificates of a PEM file, at least one.
fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, SecurityError> {
    let content = read(key, path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(SecurityError::new(key, path, "holds no certificate in PEM")),
    }
}

/// Returns the subject of a certificate in the form of RFC 4514, such as `CN=gateway,O=Example`; `None` where it is empty or unreadable.
pub(crate) fn subject(certificate: &CertificateDer<'_>) -> Option<Arc<str>> {
    let certificate = x509_cert::Certificate::from_der(certificate).ok()?;
    let subject = certificate.tbs_certificate().subject().to_string();
    (!subject.is_empty()).then(|| subject.into())
}
