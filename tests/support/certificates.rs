//! Certificates for TLS tests: an authority and the certificates that it signs, as PEM files.
//!
//! Input: names. Output: files in a folder. Every authority has a key of its own.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// An authority, with its certificate as a file.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// The PEM file of its certificate.
    pub file: PathBuf,
}

/// A certificate and its key, as PEM files.
#[derive(Debug, Clone)]
pub struct Certificate {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    /// An authority whose certificate is written to `folder/name.pem`.
    pub fn new(folder: &Path, name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let file = folder.join(format!("{name}.pem"));
        std::fs::write(&file, params.self_signed(&key).expect("a certificate").pem()).expect("a file");
        Authority { issuer: Issuer::new(params, key), file }
    }

    /// A certificate for this machine, with the subject `CN=name`.
    pub fn sign(&self, folder: &Path, name: &str) -> Certificate {
        self.sign_until(folder, name, 2999)
    }

    /// A certificate that is valid from 1999 to the first day of `year`.
    pub fn sign_until(&self, folder: &Path, name: &str, year: i32) -> Certificate {
        let names = ["localhost", "127.0.0.1"].map(str::to_owned).to_vec();
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = rcgen::date_time_ymd(1999, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let signed = params.signed_by(&key, &self.issuer).expect("a certificate");
        let certificate =
            Certificate { cert: folder.join(format!("{name}.pem")), key: folder.join(format!("{name}.key")) };
        std::fs::write(&certificate.cert, signed.pem()).expect("a file");
        std::fs::write(&certificate.key, key.serialize_pem()).expect("a file");
        certificate
    }
}
