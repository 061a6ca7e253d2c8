//! Tokens by keys of our own: what a provider would make, and what someone who poses as one would.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use serde_json::json;

use super::*;

const NOW_MS: TimeMs = 1_795_564_800_000;
const ISSUER: &str = "https://id.example.org/ward";

fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A signer of each kind.
struct Signers {
    rsa: RsaKeyPair,
    p256: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
}

impl Signers {
    fn new() -> Self {
        Self {
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
            p256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            ed25519: Ed25519KeyPair::generate().unwrap(),
        }
    }

    fn jwks(&self) -> Value {
        let rsa: RsaPublicKeyComponents<Vec<u8>> = self.rsa.public_key().into();
        let point = self.p256.public_key().as_ref();
        json!({"keys": [
            {"kty": "RSA", "kid": "rsa", "use": "sig", "n": b64(&rsa.n), "e": b64(&rsa.e)},
            {"kty": "RSA", "kid": "rsa-enc", "use": "enc", "n": b64(&rsa.n), "e": b64(&rsa.e)},
            {"kty": "RSA", "kid": "rsa-ps", "alg": "PS256", "n": b64(&rsa.n), "e": b64(&rsa.e)},
            {"kty": "EC", "crv": "P-256", "kid": "p256", "x": b64(&point[1..33]), "y": b64(&point[33..])},
            {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": b64(self.ed25519.public_key().as_ref())},
            {"kty": "oct", "kid": "oct", "k": b64(b"a secret that the client knows")},
        ]})
    }

    fn keys(&self) -> Keys {
        Keys::read(self.jwks().to_string().as_bytes()).unwrap()
    }

    fn sign(&self, alg: &str, signed: &[u8]) -> Vec<u8> {
        let rng = SystemRandom::new();
        let rsa = |padding| {
            let mut out = vec![0; self.rsa.public_modulus_len()];
            self.rsa.sign(padding, &rng, signed, &mut out).unwrap();
            out
        };
        match alg {
            "RS256" => rsa(&RSA_PKCS1_SHA256),
            "PS256" => rsa(&RSA_PSS_SHA256),
            "ES256" => self.p256.sign(&rng, signed).unwrap().as_ref().to_vec(),
            "EdDSA" => self.ed25519.sign(signed).as_ref().to_vec(),
            "HS256" => {
                let key = aws_lc_rs::hmac::Key::new(
                    aws_lc_rs::hmac::HMAC_SHA256,
                    b"a secret that the client knows",
                );
                aws_lc_rs::hmac::sign(&key, signed).as_ref().to_vec()
            }
            _ => Vec::new(),
        }
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        let head = format!("{}.{}", b64(header.to_string().as_bytes()), b64(claims.to_string().as_bytes()));
        let signature = self.sign(header["alg"].as_str().unwrap_or_default(), head.as_bytes());
        format!("{head}.{}", b64(&signature))
    }
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "248289761001", "aud": "matron", "nonce": "n", "groups": ["ward-7-leads"],
        "exp": NOW_MS / 1000 + 300, "iat": NOW_MS / 1000, "realm_access": {"roles": ["reader"]}, "odd.name": "x",
    })
}

fn with(key: &str, value: Value) -> Value {
    let mut all = claims();
    match value {
        Value::Null => drop(all.as_object_mut().unwrap().remove(key)),
        value => all[key] = value,
    }
    all
}

fn judged(signers: &Signers, token: &str) -> Result<Claims, Unfit> {
    let expected = Expected { issuer: ISSUER, client_id: "matron", nonce: "n", now_ms: NOW_MS };
    check(token, &signers.keys(), &expected)
}

#[test]
fn a_token_by_each_allowed_algorithm_is_believed() {
    let s = Signers::new();
    for (alg, kid) in
        [("RS256", "rsa"), ("PS256", "rsa"), ("PS256", "rsa-ps"), ("ES256", "p256"), ("EdDSA", "ed")]
    {
        let token = s.token(&json!({"alg": alg, "kid": kid}), &claims());
        let read = judged(&s, &token).map_err(|e| format!("{alg}: {e:?}")).unwrap();
        assert_eq!(read.subject(), "248289761001");
        assert_eq!(read.get("groups").unwrap()[0], "ward-7-leads");
        assert_eq!(read.get("realm_access.roles").unwrap()[0], "reader");
        assert_eq!(read.get("odd.name").unwrap(), "x");
        assert!(read.get("realm_access.none").is_none());
    }
}

#[test]
fn none_an_hmac_and_another_keys_algorithm_are_refused() {
    let s = Signers::new();
    let refused = |header: Value| judged(&s, &s.token(&header, &claims())).err();
    // The library does not know those at all.
    for alg in ["none", "None", "RS1", ""] {
        assert_eq!(refused(json!({"alg": alg, "kid": "rsa"})), Some(Unfit::Unreadable), "{alg}");
    }
    for alg in ["HS256", "HS512", "ES384", "RS512"] {
        assert_eq!(refused(json!({"alg": alg, "kid": "rsa"})), Some(Unfit::Algorithm), "{alg}");
    }
    // The client's secret, and the public key as one.
    assert_eq!(refused(json!({"alg": "HS256", "kid": "oct"})), Some(Unfit::Algorithm));
    assert_eq!(refused(json!({"alg": "HS256"})), Some(Unfit::Algorithm));
    assert_eq!(refused(json!({"alg": "RS384", "kid": "rsa"})), Some(Unfit::Algorithm));
    // A key says what it is for.
    assert_eq!(refused(json!({"alg": "RS256", "kid": "rsa-ps"})), Some(Unfit::Algorithm));
    assert_eq!(refused(json!({"alg": "RS256", "kid": "rsa-enc"})), Some(Unfit::UnknownKey));
    assert!(refused(json!({"alg": "ES256", "kid": "rsa"})).is_some());
    assert!(refused(json!({"alg": "EdDSA", "kid": "p256"})).is_some());
    // Keys that the token brings itself count for nothing; what it calls critical is not known here.
    let jwk = s.jwks()["keys"][0].clone();
    let brought = json!({"alg": "RS256", "jwk": jwk, "jku": "https://elsewhere.example.org/keys"});
    assert_eq!(refused(brought), Some(Unfit::UnknownKey));
    assert!(refused(json!({"alg": "RS256", "kid": "rsa", "crit": ["b64"], "b64": false})).is_some());
}

#[test]
fn a_token_that_was_touched_or_signed_by_another_or_an_unknown_key_is_refused() {
    let (s, other) = (Signers::new(), Signers::new());
    let header = json!({"alg": "ES256", "kid": "p256"});
    assert_eq!(judged(&s, &other.token(&header, &claims())).err(), Some(Unfit::Signature));
    assert_eq!(
        judged(&s, &s.token(&json!({"alg": "ES256", "kid": "new"}), &claims())).err(),
        Some(Unfit::UnknownKey)
    );
    // Of several keys none is meant by a token that names none.
    assert_eq!(judged(&s, &s.token(&json!({"alg": "ES256"}), &claims())).err(), Some(Unfit::UnknownKey));
    let token = s.token(&header, &claims());
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    parts[1] = b64(with("groups", json!(["all"])).to_string().as_bytes());
    assert_eq!(judged(&s, &parts.join(".")).err(), Some(Unfit::Signature));
    for none in [
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}", parts[0], parts[1]),
        String::new(),
        ".".into(),
        "..".into(),
    ] {
        assert!(judged(&s, &none).is_err(), "{none}");
    }
    assert_eq!(judged(&s, &"a".repeat(MOST_BYTES + 1)).err(), Some(Unfit::Unreadable));
}

#[test]
fn a_token_of_another_issuer_audience_time_or_browser_is_refused() {
    let s = Signers::new();
    let came = |claims: Value| judged(&s, &s.token(&json!({"alg": "EdDSA", "kid": "ed"}), &claims)).err();
    let at = |minutes: i64| json!(NOW_MS / 1000 + minutes * 60);
    assert_eq!(came(claims()), None);
    assert_eq!(came(with("iss", json!("https://id.example.org/other"))), Some(Unfit::Issuer));
    assert_eq!(came(with("aud", json!("another"))), Some(Unfit::Audience));
    assert_eq!(came(with("aud", json!([]))), Some(Unfit::Audience));
    assert_eq!(
        came(with("aud", json!(["matron", "another"]))),
        Some(Unfit::Audience),
        "several, and for whom it is not said"
    );
    assert_eq!(came(with("azp", json!("another"))), Some(Unfit::Audience));
    let mut several = with("aud", json!(["another", "matron"]));
    several["azp"] = json!("matron");
    assert_eq!(came(several), None);
    assert_eq!(came(with("exp", at(-1))), Some(Unfit::Expired));
    assert_eq!(came(with("exp", json!(NOW_MS / 1000 - 59))), None, "clocks differ");
    assert_eq!(came(with("nbf", at(2))), Some(Unfit::NotYet));
    assert_eq!(came(with("iat", at(2))), Some(Unfit::NotYet));
    assert_eq!(came(with("iat", at(-16))), Some(Unfit::Stale));
    assert_eq!(came(with("iat", at(-5))), None, "Entra ID's own way");
    assert_eq!(came(with("nonce", json!("another"))), Some(Unfit::Nonce));
    assert_eq!(came(with("sub", json!(""))), Some(Unfit::Subject));
    assert_eq!(came(with("sub", json!("x".repeat(256)))), Some(Unfit::Subject));
}

#[test]
fn a_claim_that_is_not_there_or_of_another_type_counts_for_nothing() {
    let s = Signers::new();
    let came = |claims: Value| judged(&s, &s.token(&json!({"alg": "EdDSA", "kid": "ed"}), &claims)).err();
    for key in ["iss", "sub", "aud", "exp", "iat", "nonce"] {
        assert_eq!(came(with(key, Value::Null)), Some(Unfit::Unreadable), "{key}");
        assert_eq!(came(with(key, json!({"x": 1}))), Some(Unfit::Unreadable), "{key}");
    }
    for key in ["exp", "iat", "nbf"] {
        assert_eq!(came(with(key, json!("99999999999"))), Some(Unfit::Unreadable), "{key} as text");
    }
    assert_eq!(came(with("exp", json!(-1))), Some(Unfit::Expired));
    assert_eq!(came(with("iat", json!(1e300))), Some(Unfit::NotYet));
    assert_eq!(came(with("nbf", json!(1e300))), Some(Unfit::NotYet));
    assert_eq!(came(with("exp", json!(1e300))), None);
}

#[test]
fn keys_of_an_unknown_kind_are_passed_over_and_what_is_no_key_set_is_none() {
    let s = Signers::new();
    let mut jwks = s.jwks();
    jwks["keys"]
        .as_array_mut()
        .unwrap()
        .push(json!({"kty": "AKP", "alg": "ML-DSA-44", "kid": "pq", "pub": "AA"}));
    let keys = Keys::read(jwks.to_string().as_bytes()).unwrap();
    assert!(keys.find(Some("p256")).is_some() && keys.find(Some("oct")).is_none());
    for none in ["", "[]", "{}", "<html>"] {
        assert!(Keys::read(none.as_bytes()).is_none(), "{none}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn no_bytes_from_outside_are_believed_or_panic(
        parts in proptest::collection::vec("[ -~]{0,60}", 0..5),
        raw in "\\PC{0,200}",
        key in prop_oneof![Just("iss"), Just("aud"), Just("exp"), Just("nonce"), Just("sub")],
        odd in prop_oneof![Just(json!(null)), Just(json!([1])), Just(json!({"a": [1]})), Just(json!(f64::MAX)), Just(json!(""))],
    ) {
        let keys = Keys::read(br#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"ed","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#).unwrap();
        let expected = Expected { issuer: ISSUER, client_id: "matron", nonce: "n", now_ms: NOW_MS };
        let header = b64(br#"{"alg":"EdDSA","kid":"ed"}"#);
        let body = b64(with(key, odd).to_string().as_bytes());
        let encoded = parts.iter().map(|p| b64(p.as_bytes())).collect::<Vec<_>>().join(".");
        for token in [raw, parts.join("."), encoded.clone(), format!("{header}.{body}.{encoded}")] {
            prop_assert!(check(&token, &keys, &expected).is_err());
        }
        let _ = Keys::read(encoded.as_bytes());
    }
}
