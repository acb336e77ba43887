//! Bearer tokens and JWTs for tests, and calls that carry them.
//!
//! Input: names, scopes and claims. Output: files for the daemon, and clients.

use std::path::{Path, PathBuf};

use affectd::proto::recognition_service_client::RecognitionServiceClient;
use affectd::proto::{AudioChunk, RecognizeRequest};
use affectd::security::NewToken;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::call_fixture::bounded;

/// A token of `scopes` and its entry in the file `folder/tokens.toml`, which is created or extended.
pub fn token(folder: &Path, name: &str, scopes: &str) -> String {
    let token = NewToken::create(name, scopes.parse().expect("scopes"), None).expect("random numbers");
    let path = tokens_file(folder);
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    std::fs::write(path, text + &token.entry).expect("a file");
    token.token
}

/// The file of [`token`].
pub fn tokens_file(folder: &Path) -> PathBuf {
    folder.join("tokens.toml")
}

/// A request with a bearer token.
pub fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    let value = format!("Bearer {token}").parse().expect("a token in ASCII");
    request.metadata_mut().insert("authorization", value);
    request
}

/// Sends `chunks` as one call with `token`; returns the number of events, or the status.
pub async fn recognize_as(channel: &Channel, token: &str, chunks: Vec<AudioChunk>) -> Result<usize, Status> {
    let mut client = RecognitionServiceClient::new(channel.clone());
    let requests: Vec<_> = chunks.into_iter().map(|chunk| RecognizeRequest { chunk: Some(chunk) }).collect();
    let call = client.recognize(with_token(futures::stream::iter(requests), token));
    let mut events = bounded("the call", call).await?.into_inner();
    let mut count = 0;
    while bounded("an event", events.message()).await?.is_some() {
        count += 1;
    }
    Ok(count)
}

/// An issuer of JWTs with one P-256 key.
pub struct Issuer {
    key: EcdsaKeyPair,
    id: String,
}

impl Issuer {
    /// An issuer with a new key.
    pub fn new(id: &str) -> Issuer {
        let random = SystemRandom::new();
        let document =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random);
        Issuer { key: key.expect("a key"), id: id.to_owned() }
    }

    /// The key set with its public key.
    pub fn key_set(&self) -> Value {
        let point = self.key.public_key().as_ref();
        let (x, y) = (base64url(&point[1..33]), base64url(&point[33..]));
        let id = &self.id;
        json!({"keys": [{"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": id, "x": x, "y": y}]})
    }

    /// A JWT with these claims.
    pub fn sign(&self, claims: &Value) -> String {
        let header = json!({"alg": "ES256", "typ": "JWT", "kid": self.id});
        let message = unsigned(&header, claims);
        let signature = self.key.sign(&SystemRandom::new(), message.as_bytes()).expect("a signature");
        format!("{message}.{}", base64url(signature.as_ref()))
    }
}

/// The header and the claims of a JWT without its signature.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(claims.to_string().as_bytes()))
}

/// base64url without padding (RFC 4648).
pub fn base64url(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for part in bytes.chunks(3) {
        let bits =
            part.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - part.len()));
        for index in 0..=part.len() {
            text.push(char::from(LETTERS[(bits >> (18 - 6 * index)) as usize & 63]));
        }
    }
    text
}
