//! JWTs: their signature, algorithm, times, issuer, audience and scopes.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tonic::Code;

use crate::support::call_fixture::{chunk, connect, last, metric_reaches, noise, telephone, tiny};
use crate::support::credentials::{Issuer, base64url, recognize_as, unsigned};

const ISSUER: &str = "https://issuer.example.com";

fn claims(change: &Value) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut claims = json!({
        "iss": ISSUER, "aud": ["other", "affectd"], "sub": "alice", "exp": now + 600, "nbf": now - 600,
        "scope": "openid recognize",
    });
    for (name, value) in change.as_object().unwrap() {
        // A time is relative to now.
        let time = ["exp", "nbf"].contains(&name.as_str()).then(|| value.as_i64()).flatten();
        claims[name] = time.map_or(value.clone(), |offset| json!(now as i64 + offset));
    }
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims
}

#[tokio::test]
async fn a_jwt_is_accepted_only_if_key_algorithm_times_issuer_and_audience_fit() {
    let (folder, options) = tiny();
    let (issuer, foreign) = (Issuer::new("key-1"), Issuer::new("key-1"));
    let jwks = folder.path().join("jwks.json");
    std::fs::write(&jwks, issuer.key_set().to_string()).unwrap();
    let daemon = options
        .set("auth.jwks", jwks.to_str().unwrap())
        .set("auth.jwt_issuer", ISSUER)
        .set("auth.jwt_audience", "affectd")
        .set("auth.max_failures", "1000")
        .start()
        .await;
    let channel = connect(&daemon).await;
    let call = async |token: &str| {
        recognize_as(&channel, token, vec![last(chunk("", telephone(), noise(8_000, 1)))]).await
    };
    for good in
        [json!({}), json!({"nbf": null}), json!({"scope": null, "scp": ["recognize"]}), json!({"exp": -10})]
    {
        let outcome = call(&issuer.sign(&claims(&good))).await;
        assert_eq!(outcome.expect("the JWT is accepted"), 1, "{good}");
    }
    let refused = [
        (json!({"exp": -60}), "has expired"),
        (json!({"exp": null}), "a claim of the token"),
        (json!({"exp": "soon"}), "a claim of the token"),
        (json!({"nbf": 60}), "not valid yet"),
        (json!({"nbf": "tomorrow"}), "a claim of the token"),
        (json!({"iss": "https://other.example.com"}), "the issuer"),
        (json!({"iss": null}), "a claim of the token"),
        (json!({"aud": "other"}), "the audience"),
        (json!({"aud": null}), "a claim of the token"),
        (json!({"sub": null}), "a claim of the token"),
    ];
    for (change, reason) in refused {
        let status = call(&issuer.sign(&claims(&change))).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{change}: {status:?}");
        assert!(status.message().contains(reason), "{change}: {status:?}");
    }
    let status = call(&issuer.sign(&claims(&json!({"scope": "openid evaluate"})))).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");

    let good = claims(&json!({}));
    let none = format!("{}.", unsigned(&json!({"alg": "none"}), &good));
    // The public key as the secret of a symmetric algorithm.
    let header = json!({"alg": "HS256", "kid": "key-1"});
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, issuer.key_set().to_string().as_bytes());
    let message = unsigned(&header, &good);
    let symmetric = format!("{message}.{}", base64url(ring::hmac::sign(&key, message.as_bytes()).as_ref()));
    let other_algorithm = issuer.sign(&good).split_once('.').unwrap().1.to_owned();
    let other_algorithm =
        format!("{}.{other_algorithm}", base64url(b"{\"alg\":\"ES384\",\"kid\":\"key-1\"}"));
    let unknown_key = Issuer::new("key-2").sign(&good);
    let changed = issuer.sign(&good).replacen(
        &base64url(good.to_string().as_bytes()),
        &base64url(claims(&json!({"sub": "root"})).to_string().as_bytes()),
        1,
    );
    for forged in
        [foreign.sign(&good), none, symmetric, other_algorithm, unknown_key, changed, "a.b.c".to_owned()]
    {
        let status = call(&forged).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{forged}: {status:?}");
        assert!(!status.message().contains(&forged) && !daemon.log().contains(&forged));
    }

    std::fs::write(&jwks, foreign.key_set().to_string()).unwrap();
    let reloaded = "affectd_security_reloads_total{kind=\"jwks\",outcome=\"ok\"}";
    metric_reaches(&daemon, reloaded, |count| count >= 1.0).await;
    assert_eq!(call(&issuer.sign(&good)).await.unwrap_err().code(), Code::Unauthenticated);
    call(&foreign.sign(&good)).await.expect("the new key");
}
