//! The API refuses by default.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod house;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use core_room::{Access, RouteInfo, routes};
use house::http::{SESSION, key};
use house::vault::FakeVault;
use house::{House, until};
use ledger::{Body, Effect, Opaque};
use model::{Digest, EnrolmentId, KeyId, OrderId, PersonId};
use order::ApiScope;
use serde_json::{Value, json};

/// A path of that template that names nothing.
fn path_of(r: &RouteInfo) -> String {
    r.path
        .replace("{enrolment}", "00000000000000000000000000000000")
        .replace("{order}", "00000000000000000000000000000000")
        .replace("{command}", "00000000-0000-0000-0000-000000000000")
}

fn public(r: &RouteInfo) -> bool {
    matches!(r.access, Access::Public(_))
}

#[tokio::test]
async fn every_route_but_the_public_ones_refuses_whoever_has_no_credentials() {
    let house = House::start().await;
    house.sign_in().await;
    let wrong = ["ms_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB", "mk_short", "", &SESSION.to_lowercase()];
    for r in routes().iter().filter(|r| !public(r)) {
        let path = path_of(r);
        let body = json!({});
        let body = (r.method == "POST").then_some(&body);
        let answer = house.http(r.method, &path, None, body).await;
        assert_eq!(answer.status, 401, "{} {path}", r.method);
        assert!(answer.head.contains("application/problem+json"), "{}", answer.head);
        assert_eq!(answer.json()["type"], "urn:matron:problem:unauthorised");
        for secret in wrong {
            let answer = house.http(r.method, &path, Some(secret), body).await;
            assert_eq!(answer.status, 401, "{} {path} {secret}", r.method);
        }
    }
    house.stop().await;
}

#[tokio::test]
async fn no_odd_way_to_write_a_path_or_a_method_gets_past_the_guard() {
    let house = House::start().await;
    house.sign_in().await;
    let public_paths: Vec<String> = routes().iter().filter(|r| public(r)).map(|r| r.path.clone()).collect();
    for r in routes() {
        let path = path_of(&r);
        let odd = [
            path.to_uppercase(),
            format!("/{path}"),
            path.replace('/', "//"),
            format!("{path}/"),
            format!("{path}/..;/"),
            format!("/healthz/..;{path}"),
            format!("/healthz/..{path}"),
            format!("/healthz/%2e%2e{path}"),
            path.replace("/api", "/%61pi"),
            path.replace("/api", "/./api"),
            format!("{path};x=y"),
            format!("{path}%00"),
            format!("{path}?x=y"),
            format!("http://localhost{path}"),
        ];
        for path in &odd {
            let answer = house.http(r.method, path, None, None).await;
            let is_public = public(&r) && public_paths.iter().any(|p| path.contains(p.as_str()));
            let refused = matches!(answer.status, 400 | 401 | 404 | 405 | 415 | 422);
            assert!(refused || is_public, "{} {path}: {}", r.method, answer.status);
            // No provider answers here.
            let no_provider = is_public && answer.status == 503 && path.contains("/oidc/begin");
            assert!(answer.status < 500 || no_provider, "{} {path}: {}", r.method, answer.status);
        }
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "FOO"] {
            let known = routes().iter().any(|k| {
                k.path == r.path
                    && public(k)
                    && (k.method == method || (k.method == "GET" && method == "HEAD"))
            });
            let answer = house.http(method, &path, None, None).await;
            assert!(
                known || matches!(answer.status, 400 | 401 | 404 | 405),
                "{method} {path}: {}",
                answer.status
            );
        }
    }
    house.stop().await;
}

#[tokio::test]
async fn an_api_key_reads_its_scopes_and_nothing_else() {
    let house = House::start().await;
    house.sign_in().await;
    for scope in [ApiScope::Devices, ApiScope::Commands, ApiScope::Ledger, ApiScope::Metrics] {
        let key = house.make_key(scope).await;
        for r in routes().iter().filter(|r| !public(r)) {
            let body = json!({});
            let body = (r.method == "POST").then_some(&body);
            let status = house.http(r.method, &path_of(r), Some(&key), body).await.status;
            if [Access::Scope(scope), Access::RunsOr(scope)].contains(&r.access) {
                // It was let in, and what was posted is no checkpoint, or what was asked no rule.
                let is_bad = match status {
                    400 => r.path == "/api/v1/device-groups/preview",
                    422 => r.path == "/ledger/cosigned",
                    _ => false,
                };
                assert!(matches!(status, 200 | 404) || is_bad, "{scope:?} {}: {status}", r.path);
            } else {
                assert_eq!(status, 403, "{scope:?} {}", r.path);
            }
        }
    }
    let devices = key(ApiScope::Devices as u8);
    let names = house.http("GET", "/api/v1/devices?names=true", Some(&devices), None).await;
    assert_eq!(names.status, 403, "a key reads masks only");
    house.clock.advance(2 * model::clock::DAY_MS);
    assert_eq!(house.http("GET", "/api/v1/devices", Some(&devices), None).await.status, 401, "it ran out");
    house.clock.advance(30 * model::clock::DAY_MS);
    assert_eq!(house.get("/api/v1/devices").await.status, 401, "so did the session");
    house.stop().await;
}

#[tokio::test]
async fn authorisation_comes_before_parsing() {
    let house = House::start().await;
    house.sign_in().await;
    let answer = house.http("GET", "/api/v1/devices?limit=junk&nonsense=1", None, None).await;
    assert_eq!(answer.status, 401);
    assert_eq!(house.get("/api/v1/devices?limit=junk").await.status, 400);
    assert_eq!(house.get("/api/v1/devices?limit=0").await.status, 400);
    assert_eq!(house.get("/api/v1/devices?nonsense=1").await.status, 400);
    assert_eq!(house.get("/api/v1/devices?cursor=junk").await.status, 400);
    assert_eq!(house.get("/api/v1/devices?state=junk").await.status, 400);
    let junk = house.post("/api/v1/queries", &json!({"queries": "secret text"})).await;
    assert_eq!(junk.status, 422);
    assert!(!junk.body.contains("secret text"), "a problem does not quote the body");
    let erase = house.post("/api/v1/queries", &json!({"queries": ["EraseDevice"], "targets": null})).await;
    assert_eq!(erase.status, 400);
    house.stop().await;
}

#[tokio::test]
async fn an_answer_carries_its_request_id_and_is_never_cached() {
    let house = House::start().await;
    house.sign_in().await;
    let missing = house.get("/api/v1/devices/ffffffffffffffffffffffffffffffff").await;
    assert_eq!(missing.status, 404);
    let id = missing.json()["instance"].as_str().unwrap().to_owned();
    assert!(id.len() == 16 && missing.head.contains(&format!("x-request-id: {id}")));
    assert!(missing.head.contains("cache-control: no-store"));
    house.stop().await;
}

#[tokio::test]
async fn pages_lead_from_one_to_the_next_and_a_prefix_names_one_phone() {
    let house = House::start().await;
    house.sign_in().await;
    for n in 60..65 {
        house.invite(n).await;
    }
    let mut seen = vec![];
    let mut path = "/api/v1/devices?limit=2".to_owned();
    loop {
        let page = house.get(&path).await.json();
        let items = page["items"].as_array().unwrap();
        seen.extend(items.iter().map(|i| i["enrolment"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(c) => path = format!("/api/v1/devices?limit=2&cursor={c}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 5);
    let one = house.get("/api/v1/devices/3c3c3c").await.json();
    assert_eq!(one["enrolment"], "3c".repeat(16));
    assert_eq!(house.get("/api/v1/devices/3c3c3").await.status, 404, "too short");
    assert_eq!(house.get("/api/v1/invitations").await.json()["items"].as_array().unwrap().len(), 5);
    let people = house.get("/api/v1/people").await.json();
    assert_eq!(people["items"][0]["role"], "administrator");
    let ledger = house.get("/api/v1/ledger?from=1&limit=3").await.json();
    assert_eq!(ledger["items"][0]["kind"], "person_joined");
    assert_eq!(ledger["next_cursor"], "4");
    let metrics = house.get("/metrics").await;
    assert!(metrics.body.contains("matron_core_enrolments{state=\"Invited\"} 5"), "{}", metrics.body);
    let orders = house.get("/api/v1/orders?limit=1").await.json();
    assert_eq!(orders["items"][0]["kind"], "invite");
    house.stop().await;
}

/// An order that the vault accepted, to make cards for so many phones.
fn cards(n: u8, phones: u32) -> Body {
    let id = |n: u32| EnrolmentId(u128::from(n).to_be_bytes());
    Body::OrderAccepted {
        order: OrderId([n; 16]),
        digest: Digest([n; 32]),
        signer: KeyId([1; 16]),
        person: PersonId([5; 16]),
        bytes: Opaque(vec![]),
        signature: Opaque(vec![]),
        effect: Effect::HolderCardsMade { cards: (0..phones).map(|p| (id(p), Digest([n; 32]))).collect() },
        counted: None,
    }
}

#[tokio::test]
async fn the_ledgers_list_tells_the_first_that_an_entry_names_and_one_by_itself_is_whole_with_its_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::start_in(dir.path().to_owned(), FakeVault::new(), true).await;
    house.sign_in().await;
    house.vault.append(cards(50, 2_000), vec![], vec![]);
    house.vault.append(cards(51, 3), vec![], vec![]);
    let path = "/api/v1/ledger?kind=holder_cards_made&sort=newest";
    let list = async |house: &House, path: &str| house.get(path).await.json()["items"].clone();
    until("both to be followed", || async { list(&house, path).await.as_array().unwrap().len() == 2 }).await;
    let listed = list(&house, path).await;
    let named = |item: &Value| {
        let effect = &item["summary"]["effect"];
        (effect["enrolments"].as_array().unwrap().len(), effect["enrolments_count"].as_u64().unwrap())
    };
    assert_eq!((named(&listed[0]), named(&listed[1])), ((3, 3), (20, 2_000)));
    assert!(listed[1]["told"].as_str().unwrap().ends_with("(2000 phones)"), "{}", listed[1]["told"]);
    assert_eq!((&listed[1]["witness"], &listed[1]["raw"]), (&json!("vault"), &Value::Null));

    // With its bytes: the same, and they are those that the ledger's hash is of.
    let with_bytes = list(&house, &format!("{path}&raw=true")).await;
    for (item, plain) in with_bytes.as_array().unwrap().iter().zip(listed.as_array().unwrap()) {
        let raw = STANDARD.decode(item["raw"].as_str().unwrap()).unwrap();
        assert_eq!(item["hash"], json!(order::sha256(&raw)));
        assert_eq!((&item["summary"], &item["told"]), (&plain["summary"], &plain["told"]));
        let one = house.get(&format!("/api/v1/ledger/{}", item["index"])).await.json();
        assert_eq!((&one["raw"], &one["hash"], &one["told"]), (&item["raw"], &item["hash"], &item["told"]));
        let (all, count) = named(&one);
        assert_eq!(all as u64, count);
    }
    for none in ["/api/v1/ledger/99999", "/api/v1/ledger/-1", "/api/v1/ledger/x"] {
        assert_eq!(house.get(none).await.status, 404, "{none}");
    }
    // What was made as it was followed is what is made of its bytes after a start.
    let vault = house.vault.clone();
    house.stop().await;
    let again = House::start_in(dir.path().to_owned(), vault, true).await;
    assert_eq!(list(&again, path).await, listed);
    again.stop().await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_it_is_read() {
    let house = House::start().await;
    house.sign_in().await;
    let large = json!({"queries": ["a".repeat(2 << 20)]});
    let answer = house.post("/api/v1/queries", &large).await;
    assert_eq!(answer.status, 413);
    house.stop().await;
}

/// The document has one schema of a name: of two types with the same, one would be told as the other.
#[test]
fn no_two_types_of_the_api_have_one_name_in_its_document() {
    let api = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api");
    let (mut folders, mut names) = (vec![api], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(path).unwrap();
            for derived in text
                .split("#[derive(")
                .skip(1)
                .filter(|d| d.split_once(")]").is_some_and(|(traits, _)| traits.contains("ToSchema")))
            {
                let mut words = derived.split_whitespace().skip_while(|w| !matches!(*w, "struct" | "enum"));
                names.extend(words.nth(1).map(|n| n.split('<').next().unwrap_or(n).to_owned()));
            }
        }
    }
    names.sort();
    assert!(names.len() > 50, "{names:?}");
    let twice: Vec<_> = names.windows(2).filter(|w| w[0] == w[1]).collect();
    assert!(twice.is_empty(), "{twice:?}");
}
