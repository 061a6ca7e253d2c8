//! A version of the library that an order installs, before an API that tells another one than the order was signed for.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::IntoResponse;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use http_body_util::BodyExt;
use model::{Digest, SealedOutline};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::hostile::{COOKIE, ORDER, answer};
use super::*;

const TEXT: &str = "org.example.wifi";
const VERSION: &str = "/api/v1/profiles/01010101010101010101010101010101/versions/1";

/// The digest of what the API tells of the version.
fn told() -> Digest {
    let told = answer(VERSION, TEXT).unwrap();
    let shown = order::ShownVersion {
        saved_by: ORDER.parse().unwrap(),
        outline: serde_json::from_value(told["outline"].clone()).unwrap(),
        erasing: told["version"]["erasing"].as_bool().unwrap(),
        because: serde_json::from_value(told["because"].clone()).unwrap(),
    };
    shown.digest()
}

fn waiting(shown: Digest) -> Value {
    let kind = order::OrderKind::InstallSaved {
        profile: ORDER.parse().unwrap(),
        version: 1,
        identifier: TEXT.into(),
        erasing: true,
        shown,
    };
    signed(order_of(kind, None))
}

fn order_of(kind: order::OrderKind, outline: Option<SealedOutline>) -> order::Order {
    order::Order {
        version: order::Order::VERSION,
        id: ORDER.parse().unwrap(),
        kind,
        targets: vec![],
        reason: "made up".into(),
        made_at_ms: 0,
        expires_at_ms: 1,
        answer_key: order::X25519Public([0; 32]),
        sealed_digest: None,
        outline,
    }
}

fn signed(order: order::Order) -> Value {
    let key = order::Ed25519Secret::from_seed([1; 32]).unwrap();
    let signed = order::SignedOrder::sign(&order, &key);
    json!({ "signed_order": STANDARD.encode(order::encode(&signed)), "state": "pending" })
}

/// What the console answers at that path, for an order that carries this digest; with or without the version.
async fn asked(path: &str, shown: Digest, is_there: bool) -> (StatusCode, String) {
    asked_of(path, waiting(shown), is_there).await
}

/// The same of any order that waits.
async fn asked_of(path: &str, order: Value, is_there: bool) -> (StatusCode, String) {
    let session = json!({
        "person": "00", "signed_in_by": "grant", "role": "administrator", "group": null, "session": "00", "compartments": [],
        "expires_at_ms": 1, "now_ms": 2,
    });
    let api = Router::new()
        .route("/api/v1/session", get(move || async move { session.to_string() }))
        .fallback(move |request: Request| {
            let told = match request.uri().path() {
                VERSION if !is_there => None,
                p if p.ends_with("/signed") => Some(order.clone()),
                p => answer(p, TEXT),
            };
            async {
                told.map_or_else(|| StatusCode::NOT_FOUND.into_response(), |v| v.to_string().into_response())
            }
        });
    let request = Request::get(path).header("cookie", COOKIE).body(Body::empty()).unwrap();
    let answer = front(api, Arc::new(model::SystemClock), None).oneshot(request).await.unwrap();
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.into()).unwrap())
}

#[tokio::test]
async fn a_version_that_is_not_what_the_order_was_signed_for_is_neither_shown_nor_signed() {
    let dialog = format!("/approvals/{ORDER}");
    let (status, page) = asked("/approvals", told(), true).await;
    assert_eq!(status, StatusCode::OK);
    assert!(
        page.contains("identifier is &#39;org.example.wifi&#39;")
            || page.contains("identifier is 'org.example.wifi'"),
        "{page}"
    );
    assert!(page.contains("it counts as erasure") || page.contains("It counts as erasure"), "{page}");
    assert!(page.contains("Read and sign"), "{page}");
    let (status, words) = asked(&dialog, told(), true).await;
    assert_eq!(status, StatusCode::OK, "{words}");
    assert!(words.contains("identifier is 'org.example.wifi'"), "{words}");

    let (_, page) = asked("/approvals", Digest([7; 32]), true).await;
    assert!(
        page.contains("is not what the order was signed for") && !page.contains("Read and sign"),
        "{page}"
    );
    assert!(!page.contains("identifier is"), "{page}");
    let (status, words) = asked(&dialog, Digest([7; 32]), true).await;
    assert!(status.is_client_error() && words.contains("sign nothing"), "{status}: {words}");

    // Nor is one that is there no more.
    let (_, page) = asked("/approvals", told(), false).await;
    assert!(page.contains("not there any more") && !page.contains("Read and sign"), "{page}");
    let (status, words) = asked(&dialog, told(), false).await;
    assert!(status.is_client_error() && words.contains("not there any more"), "{status}: {words}");
}

#[tokio::test]
async fn an_order_that_does_not_tell_what_it_does_is_not_offered_to_be_signed_and_can_be_rejected() {
    let raw =
        order::OrderKind::Command { command: model::Command::Raw { request_type: "LogOutUser".into() } };
    let cut = model::SetOutline { left_out: 1, ..model::SetOutline::default() };
    let set = order::OrderKind::SetDeclarations { set: model::SetName::new("policy").unwrap() };
    let dialog = format!("/approvals/{ORDER}");
    for (kind, outline) in [(raw.clone(), None), (set, Some(SealedOutline::Declarations(cut)))] {
        let order = signed(order_of(kind, outline));
        let (_, page) = asked_of("/approvals", order.clone(), true).await;
        assert!(page.contains("does not tell all that it does"), "{page}");
        assert!(!page.contains("Read and sign") && page.contains("Reject it"), "{page}");
        let (status, words) = asked_of(&dialog, order, true).await;
        assert!(status.is_client_error() && words.contains("does not tell all"), "{status}: {words}");
    }
    let told = signed(order_of(raw, Some(SealedOutline::Raw(vec![]))));
    let (_, page) = asked_of("/approvals", told, true).await;
    assert!(page.contains("Read and sign"), "{page}");
}
