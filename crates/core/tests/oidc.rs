//! Signing in by an OpenID provider, over a courier that brings what it is told to; tokens are signed by keys made here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod house;

use std::collections::BTreeMap;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use house::http::{Answer, SESSION, order};
use house::{House, until};
use ledger::{Body, Effect, Opaque};
use model::clock::{HOUR_MS, MINUTE_MS};
use model::{Digest, KeyId, OrderId, PersonId};
use order::{ApiScope, Order, OrderKind, sha256};
use serde_json::{Value, json};

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

struct Signer(&'static str, Ed25519KeyPair);

impl Signer {
    fn new(kid: &'static str) -> Self {
        Self(kid, Ed25519KeyPair::generate().unwrap())
    }

    fn jwks(&self) -> Vec<u8> {
        let key = json!({"kty": "OKP", "crv": "Ed25519", "kid": self.0, "x": b64(self.1.public_key())});
        json!({"keys": [key]}).to_string().into_bytes()
    }

    fn token(&self, claims: &Value) -> String {
        let header = json!({"alg": "EdDSA", "kid": self.0});
        let signed = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
        let signature = self.1.sign(signed.as_bytes());
        format!("{signed}.{}", b64(signature))
    }
}

/// A browser that began to sign in.
struct Begun {
    secret: String,
    asked: BTreeMap<String, String>,
}

async fn began(house: &House) -> Begun {
    let answer = house.http("POST", "/api/v1/oidc/begin", None, Some(&json!({}))).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let answer = answer.json();
    let (endpoint, query) = answer["location"].as_str().unwrap().split_once('?').unwrap();
    assert_eq!(endpoint, "https://id.example.org/authorize");
    let asked = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    Begun { secret: answer["secret"].as_str().unwrap().to_owned(), asked }
}

fn claims(house: &House, begun: &Begun) -> Value {
    let now_s = house.now_ms() / 1000;
    json!({
        "iss": "https://id.example.org/ward", "sub": "ada", "aud": "matron", "nonce": begun.asked["nonce"],
        "exp": now_s + 300, "iat": now_s, "groups": ["canteen", "audit"], "name": "Ada Example", "email": "ada@example.org",
    })
}

fn bearer(n: u8) -> String {
    format!("ms_{}", b64([n; 32]))
}

async fn ended(house: &House, begun: &Begun, n: u8, change: Value) -> Answer {
    let mut back = json!({
        "secret": begun.secret, "state": begun.asked["state"], "code": "sesame", "iss": "https://id.example.org/ward",
        "session": sha256(bearer(n).as_bytes()),
    });
    for (key, value) in change.as_object().unwrap() {
        back[key] = value.clone();
    }
    house.http("POST", "/api/v1/oidc/finish", None, Some(&back)).await
}

/// A provider that signs with that key and gives this token.
fn gives(house: &House, signer: &Signer, claims: &Value) {
    let mut provider = house.courier.provider.lock().unwrap();
    provider.metadata.authorization_endpoint = "https://id.example.org/authorize".into();
    provider.metadata.names_issuer = true;
    provider.jwks = signer.jwks();
    provider.gives.id_token = signer.token(claims);
}

async fn open() -> (House, Signer) {
    let house = House::start().await;
    let signer = Signer::new("one");
    gives(&house, &signer, &json!({}));
    (house, signer)
}

async fn signed_in(house: &House, signer: &Signer, n: u8) {
    let begun = began(house).await;
    gives(house, signer, &claims(house, &begun));
    let answer = ended(house, &begun, n, json!({})).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

async fn status(house: &House, n: u8) -> u16 {
    house.http("GET", "/api/v1/session", Some(&bearer(n)), None).await.status
}

#[tokio::test]
async fn an_organisations_account_makes_a_session_that_reads_and_changes_nothing() {
    let (house, signer) = open().await;
    house.sign_in().await;
    house.invite(30).await;
    let begun = began(&house).await;
    assert_eq!(begun.asked["redirect_uri"], "https://matron.example.org/sign-in/oidc/done");
    assert_eq!(
        (begun.asked["scope"].as_str(), begun.asked["response_type"].as_str()),
        ("openid groups", "code")
    );
    gives(&house, &signer, &claims(&house, &begun));
    let answer = ended(&house, &begun, 1, json!({})).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.json()["role"], "auditor");
    // PKCE: what was redeemed with the code is what the provider was shown a hash of.
    let redeemed = house.courier.provider.lock().unwrap().redeemed[0].clone();
    assert_eq!(b64(sha256(redeemed.verifier.as_bytes()).0), begun.asked["code_challenge"]);
    assert_eq!((redeemed.code.as_str(), begun.asked["code_challenge_method"].as_str()), ("sesame", "S256"));

    let said = || async {
        let words = house.vault.lock().words.clone();
        words.iter().any(|w| matches!(w, Body::OidcSignedIn { session, role: model::Role::Auditor, .. } if *session == sha256(bearer(1).as_bytes())))
    };
    until("the ledger has core's word of it", said).await;
    let session = house.http("GET", "/api/v1/session", Some(&bearer(1)), None).await.json();
    assert_eq!((&session["signed_in_by"], &session["person"]), (&json!("oidc"), &Value::Null));
    assert_eq!(session["compartments"], json!([]));
    for route in core_room::routes() {
        // Its own session, and the stream that has no end.
        let own = ["/api/v1/session", "/api/v1/changes"].contains(&route.path.as_str());
        if own || matches!(route.access, core_room::Access::Public(_)) {
            continue;
        }
        let path = route.path.replace("{enrolment}", &"1e".repeat(16)).replace("{order}", &"01".repeat(16));
        let body = json!({});
        let answer =
            house.http(route.method, &path, Some(&bearer(1)), (route.method != "GET").then_some(&body)).await;
        let theirs = [core_room::Access::Session, core_room::Access::Holder];
        if route.method == "GET" && !theirs.contains(&route.access) {
            assert!(matches!(answer.status, 200 | 404 | 400), "{} {}", route.path, answer.status);
        } else {
            assert_eq!(answer.status, 403, "{} {}", route.method, route.path);
        }
    }
    let names = house.http("GET", "/api/v1/devices?names=true", Some(&bearer(1)), None).await;
    assert_eq!(names.status, 403, "no name is opened");
    // Nothing of the person lies in the database or comes out of the API.
    let listed = house.http("GET", "/api/v1/oidc/sessions", Some(&bearer(1)), None).await;
    assert!(listed.body.contains("auditor") && !listed.body.contains("ada") && !listed.body.contains("Ada"));
    let copy = house.copy_database();
    for name in ["core.db", "core.db-wal"] {
        let bytes = std::fs::read(copy.path().join(name)).unwrap_or_default();
        for word in ["Ada Example", "ada@example.org", "sesame", redeemed.verifier.as_str()] {
            assert!(!bytes.windows(word.len()).any(|w| w == word.as_bytes()), "{name}: {word}");
        }
    }
    assert_eq!(house.http("DELETE", "/api/v1/session", Some(&bearer(1)), None).await.status, 204);
    assert_eq!(status(&house, 1).await, 401);
    house.stop().await;
}

#[tokio::test]
async fn an_answer_that_was_not_begun_here_or_is_for_another_is_refused_and_counted() {
    let (house, signer) = open().await;
    let (begun, other) = (began(&house).await, began(&house).await);
    assert_ne!(begun.asked["state"], other.asked["state"]);
    gives(&house, &signer, &claims(&house, &begun));
    let code = |a: Answer| (a.status, a.json()["code"].as_str().unwrap_or_default().to_owned());
    let refused = |code: &str| (403, code.to_owned());
    let come = |change: Value| ended(&house, &begun, 1, change);
    assert_eq!(code(come(json!({"state": other.asked["state"]})).await), refused("oidc_not_begun_here"));
    assert_eq!(code(come(json!({"state": ""})).await), refused("oidc_not_begun_here"));
    assert_eq!(code(come(json!({"secret": other.secret})).await), refused("oidc_not_begun_here"));
    assert_eq!(code(come(json!({"iss": "https://elsewhere.example.org"})).await), refused("oidc_refused"));
    assert_eq!(
        code(come(json!({"iss": null})).await),
        refused("oidc_refused"),
        "the provider says that it names itself"
    );
    assert_eq!(code(come(json!({"error": "access_denied", "code": null})).await), refused("oidc_denied"));
    assert_eq!(code(come(json!({"code": null})).await), refused("oidc_refused"));
    // A token for the other sign-in: injected, or carried over.
    gives(&house, &signer, &claims(&house, &other));
    assert_eq!(code(come(json!({})).await), refused("oidc_refused"));
    let with = |key: &str, value: Value| {
        let mut all = claims(&house, &begun);
        all[key] = value;
        gives(&house, &signer, &all);
    };
    with("aud", json!("another"));
    assert_eq!(code(come(json!({})).await), refused("oidc_refused"));
    with("exp", json!(house.now_ms() / 1000 - 61));
    assert_eq!(code(come(json!({})).await), refused("oidc_refused"));
    with("groups", json!(["canteen"]));
    assert_eq!(code(come(json!({})).await), refused("oidc_no_role"));
    with("groups", json!("ward-7-leads "));
    assert_eq!(code(come(json!({})).await), refused("oidc_no_role"));
    let mut left_out = claims(&house, &begun);
    left_out["_claim_names"] = json!({"groups": "src1"});
    left_out["groups"] = Value::Null;
    gives(&house, &signer, &left_out);
    assert_eq!(code(come(json!({})).await), refused("oidc_groups_left_out"));
    // The provider refuses the code, or is out of order.
    house.courier.provider.lock().unwrap().gives.refused = "400 (invalid_grant)".into();
    assert_eq!(come(json!({})).await.status, 503);
    house.courier.provider.lock().unwrap().gives.code_refused = true;
    assert_eq!(code(come(json!({})).await), refused("oidc_refused"));
    assert_eq!(status(&house, 1).await, 401, "nobody is in");
    house.sign_in().await;
    let counted = house.get("/metrics").await.body;
    for (outcome, n) in [
        ("not_begun_here", 3),
        ("issuer", 2),
        ("nonce", 1),
        ("audience", 1),
        ("expired", 1),
        ("no_role", 2),
        ("code", 2),
    ] {
        let line = format!("matron_core_oidc_signins_total{{outcome=\"{outcome}\"}} {n}");
        assert!(counted.contains(&line), "{line}\n{counted}");
    }
    house.stop().await;
}

#[tokio::test]
async fn a_provider_that_changes_its_key_is_asked_again_but_not_more_than_once_a_minute() {
    let (house, signer) = open().await;
    let asked = || house.courier.provider.lock().unwrap().keys_asked;
    signed_in(&house, &signer, 1).await;
    signed_in(&house, &signer, 2).await;
    assert_eq!(asked(), 1);
    let next = Signer::new("two");
    let begun = began(&house).await;
    for _ in 0..3 {
        gives(&house, &next, &claims(&house, &begun));
        assert_eq!(ended(&house, &begun, 3, json!({})).await.status, 403);
    }
    assert_eq!(asked(), 1, "whoever makes keys up does not have the provider asked");
    house.clock.advance(MINUTE_MS);
    signed_in(&house, &next, 3).await;
    assert_eq!(asked(), 2);
    // The old key is the provider's no more, and neither is one of the same name.
    let (begun, again) = (began(&house).await, Signer::new("two"));
    gives(&house, &again, &claims(&house, &begun));
    assert_eq!(ended(&house, &begun, 4, json!({})).await.status, 403);
    gives(&house, &signer, &claims(&house, &begun));
    house.courier.provider.lock().unwrap().jwks = next.jwks();
    house.clock.advance(MINUTE_MS);
    assert_eq!(ended(&house, &begun, 4, json!({})).await.status, 403);
    house.stop().await;
}

#[tokio::test]
async fn such_a_session_ends_idle_at_its_end_by_an_order_and_by_a_breach() {
    let (house, signer) = open().await;
    for n in 1..=4 {
        signed_in(&house, &signer, n).await;
    }
    for _ in 0..2 {
        house.clock.advance(20 * MINUTE_MS);
        assert_eq!(status(&house, 1).await, 200);
        assert_eq!(status(&house, 3).await, 200);
        assert_eq!(status(&house, 4).await, 200);
    }
    assert_eq!(status(&house, 2).await, 401, "nobody used it for half an hour");
    // What a page that stands open asks by itself is no use.
    signed_in(&house, &signer, 6).await;
    let alone = format!("{}\r\nx-matron-unattended: 1", bearer(6));
    for wanted in [200, 401] {
        house.clock.advance(20 * MINUTE_MS);
        assert_eq!(house.http("GET", "/api/v1/session", Some(&alone), None).await.status, wanted);
        assert_eq!(status(&house, 1).await, 200);
        assert_eq!(status(&house, 3).await, 200);
        assert_eq!(status(&house, 4).await, 200);
    }
    // An administrator's order, as it comes in the vault's ledger.
    let accepted = |effect: Effect| Body::OrderAccepted {
        order: OrderId([77; 16]),
        digest: Digest([1; 32]),
        signer: KeyId([2; 16]),
        person: PersonId([3; 16]),
        bytes: Opaque(vec![1]),
        signature: Opaque(vec![1]),
        effect,
        counted: None,
    };
    let session = sha256(bearer(3).as_bytes());
    house.vault.append(accepted(Effect::SessionEnded { session }), vec![], vec![]);
    until("the session ended", || async { status(&house, 3).await == 401 }).await;
    assert_eq!(status(&house, 4).await, 200, "another goes on");
    for _ in 0..22 {
        house.clock.advance(20 * MINUTE_MS);
        let still = house.now_ms() < house::START_MS + 8 * HOUR_MS;
        assert_eq!(status(&house, 1).await, if still { 200 } else { 401 });
    }
    assert_eq!(status(&house, 1).await, 401, "eight hours are its end, used or not");
    signed_in(&house, &signer, 5).await;
    let breach = Effect::BreachAssumed {
        epoch: 2,
        signers: vec![],
        reissues_an_hour: 1,
        expires_at_ms: i64::MAX,
        keys: None,
    };
    house.vault.append(accepted(breach), vec![], vec![]);
    until("the session ended", || async { status(&house, 5).await == 401 }).await;
    house.stop().await;
}

#[tokio::test]
async fn a_flood_of_sign_ins_that_nobody_began_waits() {
    let (house, _signer) = open().await;
    let begun = began(&house).await;
    let mut last = 0;
    for _ in 0..25 {
        last = ended(&house, &begun, 1, json!({"state": "made up"})).await.status;
    }
    assert_eq!(last, 429);
    assert_eq!(house.http("POST", "/api/v1/oidc/begin", None, Some(&json!({}))).await.status, 429);
    // Behind the same address passkeys do not wait for it.
    house.sign_in().await;
    assert_eq!(house.get("/api/v1/session").await.status, 200);
    let stranger = json!({"signed_order": "AA==", "sealed_arguments": null});
    assert_ne!(house.http("POST", "/api/v1/orders", None, Some(&stranger)).await.status, 429);
    house.stop().await;
}

#[tokio::test]
async fn a_clock_that_is_wrong_holds_nobody_up() {
    let (house, signer) = open().await;
    let begun = began(&house).await;
    let mut all = claims(&house, &begun);
    all["exp"] = json!(house.now_ms() / 1000 - 61);
    gives(&house, &signer, &all);
    for _ in 0..25 {
        assert_eq!(ended(&house, &begun, 1, json!({})).await.status, 403);
    }
    signed_in(&house, &signer, 1).await;
    house.stop().await;
}

#[tokio::test]
async fn who_signs_in_by_an_account_takes_nobodys_session_and_no_api_key() {
    let (house, signer) = open().await;
    house.sign_in().await;
    let key = house.make_key(order::ApiScope::Devices).await;
    // The ledger shows these hashes to whoever reads.
    for taken in [SESSION, key.as_str()] {
        let begun = began(&house).await;
        gives(&house, &signer, &claims(&house, &begun));
        let answer = ended(&house, &begun, 1, json!({"session": sha256(taken.as_bytes())})).await;
        assert_eq!((answer.status, &answer.json()["code"]), (403, &json!("oidc_refused")));
    }
    for n in 1..=18 {
        signed_in(&house, &signer, n).await;
    }
    // Neither is what it was not.
    assert_eq!(house.get("/api/v1/session").await.json()["signed_in_by"], "grant");
    assert_eq!(house.http("GET", "/api/v1/devices", Some(&key), None).await.status, 200);
    assert_eq!(house.http("GET", "/api/v1/session", Some(&key), None).await.status, 403);
    let begun = began(&house).await;
    gives(&house, &signer, &claims(&house, &begun));
    let answer = ended(&house, &begun, 19, json!({})).await;
    assert_eq!((answer.status, &answer.json()["code"]), (429, &json!("oidc_too_often")), "20 an hour");
    assert_eq!(status(&house, 19).await, 401);
    house.clock.advance(HOUR_MS);
    signed_in(&house, &signer, 19).await;
    house.stop().await;
}

#[tokio::test]
async fn a_ward_manager_without_a_passkey_reads_their_own_ward_alone() {
    let (house, signer) = open().await;
    house.sign_in().await;
    house.invite(30).await;
    let begun = began(&house).await;
    let mut all = claims(&house, &begun);
    all["groups"] = json!(["ward-7-leads"]);
    gives(&house, &signer, &all);
    assert_eq!(ended(&house, &begun, 1, json!({})).await.json()["group"], "ward-7");
    for (path, wanted) in [
        ("/api/v1/devices", 200),
        ("/api/v1/ledger", 403),
        ("/api/v1/orders/pending", 403),
        ("/api/v1/oidc/sessions", 403),
        ("/api/v1/orders", 200),
    ] {
        assert_eq!(house.http("GET", path, Some(&bearer(1)), None).await.status, wanted, "{path}");
    }

    house.stop().await;
}

#[tokio::test]
async fn a_courier_that_lies_sends_no_browser_elsewhere_and_a_silent_provider_is_not_asked_by_all() {
    let (house, signer) = open().await;
    let begun = began(&house).await;
    for elsewhere in ["https://elsewhere.example.org/authorize", "http://id.example.org/authorize"] {
        house.courier.provider.lock().unwrap().metadata.authorization_endpoint = elsewhere.into();
        let answer = house.http("POST", "/api/v1/oidc/begin", None, Some(&json!({}))).await;
        assert_eq!((answer.status, &answer.json()["code"]), (503, &json!("oidc_provider")), "{elsewhere}");
    }
    gives(&house, &signer, &claims(&house, &begun));
    house.courier.provider.lock().unwrap().jwks = vec![];
    for _ in 0..3 {
        assert_eq!(ended(&house, &begun, 1, json!({})).await.status, 503);
    }
    assert_eq!(house.courier.provider.lock().unwrap().keys_asked, 1);
    // A clock that is set back by a day does not make it longer.
    house.clock.advance(-24 * HOUR_MS);
    house.clock.advance(10_000);
    signed_in(&house, &signer, 1).await;
    assert_eq!(house.courier.provider.lock().unwrap().keys_asked, 2);
    house.stop().await;
}

#[tokio::test]
async fn an_order_is_found_by_its_first_digits_whatever_begins_so_that_may_not_be_seen() {
    let (house, signer) = open().await;
    house.sign_in().await;
    let phone = house.enrol(30).await;
    let id = |last| {
        let mut id = [0x60; 16];
        id[15] = last;
        OrderId(id)
    };
    for last in 1..=12 {
        let kind = OrderKind::MakeApiKey {
            hash: sha256(&[last]),
            scopes: vec![ApiScope::Devices],
            valid_ms: HOUR_MS,
            label: "test".into(),
        };
        assert_eq!(house.order(&Order { id: id(last), ..order(40, kind, &[]) }).await.status, 200);
    }
    let lock = OrderKind::Command { command: model::Command::DeviceLock };
    assert_eq!(house.order(&Order { id: id(99), ..order(40, lock, &[phone.enrolment]) }).await.status, 200);
    let begun = began(&house).await;
    let mut all = claims(&house, &begun);
    all["groups"] = json!(["ward-7-leads"]);
    gives(&house, &signer, &all);
    assert_eq!(ended(&house, &begun, 1, json!({})).await.json()["group"], "ward-7");
    let get = async |path: &str| house.http("GET", path, Some(&bearer(1)), None).await;
    let found = get("/api/v1/orders/606060").await;
    assert_eq!((found.status, &found.json()["order"]), (200, &json!(id(99).to_string())), "{}", found.body);
    assert_eq!(get(&format!("/api/v1/orders/{}", id(1))).await.status, 404);
    let several = house.get("/api/v1/orders/606060").await;
    assert_eq!(several.status, 409);
    assert!(several.body.contains("and more"), "{}", several.body);
}

#[tokio::test]
async fn a_line_that_is_taken_out_of_the_roles_ends_its_sessions_at_the_next_start() {
    let house = House::start().await;
    house.sign_in().await;
    let (dir, vault) = (house.copy_database(), house.vault.clone());
    house.stop().await;
    let kept = |n: u8, role: &str, group: Option<&str>| store::OidcSessionRecord {
        hash: sha256(bearer(n).as_bytes()),
        subject: Digest([9; 32]),
        role: role.into(),
        group: group.map(str::to_owned),
        began_at_ms: house::START_MS,
        idle_until_ms: house::START_MS + MINUTE_MS,
        expires_at_ms: house::START_MS + HOUR_MS,
    };
    let all = [
        kept(1, "auditor", None),
        kept(2, "service_desk", None),
        kept(3, "ward_manager", Some("ward-7")),
        kept(4, "ward_manager", Some("ward-8")),
    ];
    let store = store::Store::open(&dir.path().join("core.db")).unwrap();
    store.write(move |tx| all.iter().try_for_each(|s| tx.put_oidc_session(s, 9).map(drop))).await.unwrap();
    drop(store);
    let house = House::start_in(dir.path().to_owned(), vault, true).await;
    for (n, wanted) in [(1, 200), (2, 401), (3, 200), (4, 401)] {
        assert_eq!(status(&house, n).await, wanted, "{n}");
    }
    house.stop().await;
    let store = store::Store::open(&dir.path().join("core.db")).unwrap();
    assert_eq!(store.read(|v| v.oidc_sessions(0)).await.unwrap().len(), 2);
}
