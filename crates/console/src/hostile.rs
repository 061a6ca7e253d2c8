//! Text from phones and people that means harm: it is shown as text on every page, and nothing else.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::IntoResponse;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use http_body_util::BodyExt;
use proptest::prelude::*;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;

pub(crate) const COOKIE: &str = "__Host-matron=BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc; \
     __Host-matron-holder=BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";
pub(crate) const ENROLMENT: &str = "00112233445566778899aabbccddeeff";

pub(crate) const ORDER: &str = "01010101010101010101010101010101";

/// An order whose reason and argument are that text.
fn order_of(reason: &str) -> order::Order {
    order::Order {
        version: order::Order::VERSION,
        id: model::OrderId([1; 16]),
        kind: order::OrderKind::SetServiceToken { service: reason.to_owned() },
        targets: vec![],
        reason: reason.to_owned(),
        made_at_ms: 0,
        expires_at_ms: 1,
        answer_key: order::X25519Public([0; 32]),
        sealed_digest: None,
        outline: Some(model::SealedOutline::Declarations(model::SetOutline {
            declarations: vec![model::OutlinedDeclaration {
                identifier: model::DeclarationId::new("one").unwrap(),
                declared_type: reason.to_owned(),
                in_force: false,
                keys: vec![model::OutlinedKey {
                    path: reason.to_owned(),
                    value: model::OutlinedValue::Text(reason.to_owned()),
                }],
            }],
            left_out: 1,
        })),
    }
}

/// So much of the text as an order carries.
fn short(text: &str) -> &str {
    text.get(..200).unwrap_or("<i x=1>")
}

/// An entry of that order.
fn entry(reason: &str) -> String {
    use ledger::{Body, Effect, Entry, Opaque, Witness};
    use model::{Digest, KeyId, PersonId};
    let order = order_of(reason);
    let body = Body::OrderAccepted {
        order: order.id,
        digest: Digest([0; 32]),
        signer: KeyId([2; 16]),
        person: PersonId([3; 16]),
        bytes: Opaque(order::encode(&order)),
        signature: Opaque(vec![0; 64]),
        effect: Effect::SessionEnded { session: Digest([0; 32]) },
        counted: None,
    };
    let (version, previous) = (ledger::entry::ENTRY_VERSION, Digest([0; 32]));
    let entry = Entry { version, index: 1, at_ms: 0, previous, witness: Witness::Vault, body, word: None };
    STANDARD.encode(entry.encode().unwrap_or_default())
}

/// An order in a list, as the API tells it.
fn listed(h: &str) -> Value {
    json!({
        "order": ORDER, "kind": h, "reason": h, "signer": null, "state": "pending", "targets": 1, "made_at_ms": 1,
        "expires_at_ms": 9, "recalled_at_ms": null, "cools_until_ms": null, "hold": null,
    })
}

/// A device group of that name, over models of that name.
fn device_group(h: &str) -> Value {
    json!({
        "device_group": ORDER, "name": h, "kind": "rule", "phones": 1, "listed": 2, "order": ORDER, "saved_by": ORDER, "saved_at_ms": 1,
        "definition": { "rule": { "join": "all", "conditions": [{ "models": [h, h] }, { "lost": true }] } },
    })
}

/// A version of a profile of that identifier.
fn profile_version(h: &str) -> Value {
    let phones = json!({ "asked": 1, "failed": 1, "confirmed": 1 });
    json!({
        "version": 1, "order": ORDER, "saved_at_ms": 1, "identifier": h, "signed": true, "erasing": true, "payloads": [h], "phones": phones,
    })
}

/// What it says, with keys and words of that text.
fn profile_outline(h: &str) -> model::Outline {
    let word = model::OutlinedValue::Word(h.to_owned());
    let keys = vec![model::OutlinedKey { path: h.to_owned(), value: word }];
    let payload = model::OutlinedPayload {
        payload_type: h.to_owned(),
        known: true,
        keys: keys.clone(),
        unknown_keys: 1,
    };
    model::Outline { identifier: h.to_owned(), keys, payloads: vec![payload], left_out: 1 }
}

/// What the API would answer where phones, people and machines elsewhere say that text; what Matron says itself is from closed lists.
pub(crate) fn answer(path: &str, h: &str) -> Option<Value> {
    let device = json!({
        "enrolment": ENROLMENT, "state": "enrolled", "group": h, "holder": h, "masks": { h: h, "PhoneNumber": h },
        "clear": { "ModelName": h, "ProductName": h, "OSVersion": { h: [h] } }, "supervised": null, "last_seen_ms": 1,
        "enrolled_at_ms": 1, "invited_at_ms": 1, "pending_commands": 0, "push": "ok",
    });
    let page = |items: Value| json!({ "items": items, "next_cursor": h });
    let detail = || {
        let mut whole = device.clone();
        let more = json!({
            "apps": [{ "identifier": h, "version": h, "short_version": "" }],
            "managed_apps": [{ "identifier": h, "state": "failed", "reason": h, "requested_at_ms": 1, "confirmed_at_ms": null }],
            "reports": [{ "kind": "DeviceInformation", "at_ms": 1 }],
            "sealed_fields": [{ "name": h, "compartment": "hardware", "mask": h }], "replaced_by": ENROLMENT,
        });
        if let (Value::Object(whole), Value::Object(more)) = (&mut whole, more) {
            whole.extend(more);
        }
        whole
    };
    Some(match path {
        "/api/v1/devices" => page(json!([device])),
        "/api/v1/device-groups" => page(json!([device_group(h)])),
        "/api/v1/device-groups/preview" => {
            json!({ "definition": device_group(h)["definition"], "phones": 1, "items": [device] })
        }
        p if p.starts_with("/api/v1/device-groups/") && p.ends_with("/profiles") => page(json!([{
            "profile": ORDER, "identifier": h, "newest": 1, "erasing": true,
            "counted": { "on_newest": 1, "older": 1, "without": 1, "counted_at_ms": 1 },
        }])),
        p if p.starts_with("/api/v1/device-groups/") => device_group(h),
        p if p.contains("/device-groups/") && p.ends_with("/phones") => json!({ "phones": [ENROLMENT] }),
        p if p.contains("/device-groups/") => json!({
            "device_group": ORDER, "name": h, "newest": 2, "counted": {
                "phones": 6, "on_newest": 1, "asked": 1, "older": [{ "version": 1, "phones": 1 }], "without": 3, "to_install": 4,
                "first_to_install": [ENROLMENT], "to_remove": 2, "first_to_remove": [ENROLMENT], "removing": 1, "counted_at_ms": 1,
            },
        }),
        "/api/v1/profiles" => page(
            json!([{ "profile": ORDER, "newest": profile_version(h), "confirmed": 2, "counted_at_ms": 1 }]),
        ),
        p if p.starts_with("/api/v1/profiles/") && p.ends_with("/phones") => page(json!([{
            "enrolment": ENROLMENT, "version": 1, "state": "asked", "command": "sent", "confirmed": 1, "confirmed_at_ms": 1,
        }])),
        p if p.starts_with("/api/v1/profiles/") && p.contains("/versions/") => json!({
            "version": profile_version(h), "outline": profile_outline(h), "because": [[h, h]], "content": true, "against": 1,
            "changes": [{ "payload_type": h, "nth": 1, "path": h, "from": { "word": h }, "to": null, "came": null }],
        }),
        p if p.starts_with("/api/v1/profiles/") => {
            json!({
                "versions": [profile_version(h)], "removing": { "asked": 1, "failed": 0, "confirmed": 0 }, "counted_at_ms": 1, "ended_at_ms": null, "ended_by": null,
            })
        }
        "/api/v1/standing" => page(json!([{
            "order": ORDER, "cap_an_hour": 1, "state": "stands", "rests": h, "expires_at_ms": 9, "uses": 1,
            "install": {
                "profile": ORDER, "version": 1, "identifier": h, "shown": "0".repeat(64), "device_group": ORDER, "name": "Theatre 4", "home": null,
            },
        }])),
        "/api/v1/overview" => json!({
            "group": h, "enrolments": { "enrolled": 1 }, "silent_7_days": 1, "silent_30_days": 1, "lost": 1,
            "passcode_not_compliant": 1, "declarations_invalid": 1, "certificates": { "late": 1 }, "open_commands": 1,
            "deferred_commands": 1, "days": [],
        }),
        "/api/v1/roles" => {
            json!({ "changed": [], "spent": [], "administrators": 1, "two_administrators": false })
        }
        "/api/v1/people" => json!({ "items": [{
            "person": ENROLMENT, "role": "auditor", "group": h, "keys": [ENROLMENT], "passkeys": [ENROLMENT], "joined_at_ms": 1, "removed_at_ms": null,
        }], "next_cursor": null }),
        "/api/v1/api-keys" => {
            page(json!([{ "hash": ENROLMENT, "label": h, "scopes": ["devices"], "expires_at_ms": 1 }]))
        }
        "/api/v1/oidc/sessions" => page(
            json!([{ "session": h, "subject": h, "role": h, "group": h, "began_at_ms": 1, "expires_at_ms": 1 }]),
        ),
        "/api/v1/ledger/head" => json!({ "entries": 2 }),
        "/api/v1/ledger" => page(json!([{
            "index": 1, "at_ms": 1, "witness": "vault", "kind": "commanded", "told": h, "summary": { h: h, "order": { h: h } },
            "hash": ENROLMENT, "raw": entry(short(h)),
        }])),
        "/api/v1/ledger/1" => json!({
            "index": 1, "at_ms": 1, "witness": "vault", "kind": "commanded", "told": h, "summary": { h: h, "order": { h: h } },
            "hash": ENROLMENT, "raw": entry(short(h)),
        }),
        "/api/v1/health" => json!({
            "status": "degraded", "version": "1", "base_url": h, "database": h, "ledger_followed": 1, "open_commands": 1,
            "deferred_commands": 1, "words_waiting": 1, "renewal": { "phones": { "late": 1 } }, "warnings": [h],
            "refused": [{ "what": "held_up", "since_start": 2, "last_hour": 1 }],
            "endings": [{ "what": "key_statement", "ends_at_ms": 1, "state": "soon" }],
            "witness": { "entries": 1, "cosigned": [{ "name": h, "at_ms": 1 }] },
            "vault": { "answers": true, "entries": 1, "refused_orders": 1, "following": h },
            "door": { "answers": true, "counters": { "requests_total": 1 } },
            "courier": {
                "answers": true, "configured": true, "topic": h, "accepted": 1, "failed": 1, "last_error": h,
                "alarms": { "connected": false, "lost": 1, "destinations": [{
                    "name": h, "delivered": 1, "waiting": 1, "last_delivered_at_ms": 1, "last_error": h,
                }] },
            },
        }),
        "/api/v1/invitations" => page(json!([{
            "enrolment": ENROLMENT, "group": h, "invited_at_ms": 1, "expires_at_ms": 2, "expired": false,
        }])),
        "/api/v1/orders/pending" => page(json!([listed(h)])),
        "/api/v1/orders/under_way" => {
            let mut under_way = listed(h);
            let progress = json!({
                "queued": 1, "sent": 1, "not_now": 1, "acknowledged": 1, "error": 1, "expired": 1, "cancelled": 1,
            });
            if let Value::Object(o) = &mut under_way {
                o.insert("progress".into(), progress);
            }
            page(json!([under_way]))
        }
        p if p.ends_with("/signed") => {
            let key = order::Ed25519Secret::from_seed([1; 32]).unwrap();
            let signed = order::SignedOrder::sign(&order_of(short(h)), &key);
            json!({ "signed_order": STANDARD.encode(order::encode(&signed)), "state": "pending" })
        }
        p if p.starts_with("/api/v1/orders/") => listed(h),
        "/api/v1/commands" => page(json!([{
            "enrolment": ENROLMENT, "expires_at_ms": 2, "request_type": h, "state": "error", "created_at_ms": 1, "done_at_ms": 1, "not_now_count": 0,
            "errors": [{ "code": 1, "domain": h }],
        }])),
        p if p.ends_with("/commands") => page(json!([{
            "enrolment": ENROLMENT, "expires_at_ms": 2, "request_type": "DeviceLock", "state": "error", "created_at_ms": 1, "done_at_ms": 1, "not_now_count": 0,
            "errors": [{ "code": 1, "domain": h }],
        }])),
        p if p.starts_with("/api/v1/devices/") => detail(),
        "/api/v1/my-phone" => {
            let asked = json!({ "can": "yes", "state": "on", "asked_at_ms": 1, "confirmed_at_ms": 1 });
            json!({
                "model": h, "os_version": h, "supervised": true, "last_seen_ms": 1, "enrolled_at_ms": 1, "passcode_present": true,
                "passcode_compliant": true, "encrypted": true, "apps": 1, "lost_mode": asked, "ring": asked, "more_done": true, "call": h,
                "done": [{ "at_ms": 1, "what": "command", "request_type": h, "state": "queued", "compartments": [], "by": "hospital" }],
                "expires_at_ms": 9, "now_ms": 2,
            })
        }
        _ => return None,
    })
}

/// The page as the browser gets it.
async fn shown(path: &str, hostile: &str) -> (StatusCode, String) {
    let text = hostile.to_owned();
    let session = json!({
        "person": "00", "signed_in_by": "grant", "role": "administrator", "group": null, "session": "00", "compartments": ["identity"],
        "expires_at_ms": 1, "now_ms": 2,
    });
    let api = Router::new()
        .route("/api/v1/session", get(move || async move { session.to_string() }))
        .fallback(move |request: Request| async move {
            match answer(request.uri().path(), &text) {
                Some(value) => value.to_string().into_response(),
                None => StatusCode::NOT_FOUND.into_response(),
            }
        });
    let request = Request::get(path).header("cookie", COOKIE).body(Body::empty()).unwrap();
    let response = front(api, std::sync::Arc::new(model::SystemClock), None).oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.into()).unwrap())
}

/// Every page that shows what others wrote.
const PAGES: &[&str] = &[
    "/",
    "/phones",
    "/phones?names=true&group=%3Ci%20x%3D1%3E",
    "/phones/00112233445566778899aabbccddeeff",
    "/device-groups",
    "/device-groups/new?os_below=%3Ci%20x%3D1%3E",
    "/device-groups/new?home_group=ward-7",
    "/device-groups/01010101010101010101010101010101",
    "/device-groups/01010101010101010101010101010101/edit",
    "/profiles",
    "/profiles/01010101010101010101010101010101",
    "/profiles/01010101010101010101010101010101?device_group=01010101010101010101010101010101",
    "/ledger",
    "/ledger?phone=%3Ci%20x%3D1%3E&kind=%22%3E%3Ci%20x%3D1%3E",
    "/entries/1",
    "/people",
    "/people?role=%3Ci%20x%3D1%3E&phones=%22%3E%3Ci%20x%3D1%3E",
    "/health",
    "/invite",
    "/approvals",
    "/commands",
    "/commands/01010101010101010101010101010101",
    "/my-phone",
];

/// What else can be asked for by GET, and why it stands not among them.
const NO_PAGES: &[(&str, &str)] = &[
    ("/sign-in", "a form of our own words alone"),
    ("/join", "a form of our own words alone"),
    ("/register", "a form of our own words alone"),
    ("/my-phone/lost", "a question in our own words alone"),
    ("/my-phone/session", "leads to the page"),
    ("/sign-in/oidc", "leads to the provider"),
    (
        "/sign-in/oidc/done",
        "leads to the page, or tells a problem: the browser run by account tries its claims",
    ),
    ("/assets/{name}", "the script and the style sheet"),
    ("/registrations/{link}", "JSON for the command line"),
    ("/phones.csv", "a table, which has a test of its own"),
    ("/device-groups/{device_group}/phones", "JSON: ids"),
    ("/profiles/{profile}/device-groups/{device_group}/phones", "JSON: ids"),
    ("/approvals/{order}", "JSON, which the script puts in as text: the browser runs read it"),
    ("/ledger.jsonl", "a file of entries"),
    ("/ledger.checkpoint", "a file"),
    ("/entries/{index}/proof", "a file"),
    ("/events", "a stream of what changed, without what it is"),
];

/// Whether the path is one of the template's.
fn is_of(template: &str, path: &str) -> bool {
    let (wants, has): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    wants.len() == has.len()
        && wants.iter().zip(&has).all(|(w, h)| w == h || (w.starts_with('{') && !h.is_empty()))
}

#[test]
fn every_page_that_is_asked_for_is_tried_with_hostile_text_or_says_why_not() {
    let all: Vec<_> = pages().into_iter().filter(|p| p.method == "GET").map(|p| p.path).collect();
    let page_of = |address: &str| {
        let path = address.split('?').next().unwrap();
        let exact = all.iter().find(|p| **p == path);
        exact.or_else(|| all.iter().find(|p| is_of(p, path))).copied()
    };
    for path in &all {
        let tried = PAGES.iter().any(|address| page_of(address) == Some(*path));
        let excused = NO_PAGES.iter().any(|(p, _)| p == path);
        assert!(tried != excused, "{path}: tried: {tried}, excused: {excused}");
    }
    for (path, _) in NO_PAGES {
        assert!(all.contains(path), "{path} is no page");
    }
}

#[tokio::test]
async fn markup_formulas_and_marks_of_direction_are_text_in_the_table_of_phones() {
    for hostile in [
        format!("=HYPERLINK(\"https://elsewhere.example\"){MARKUP}"),
        "\u{202e}=1+1\u{2066}\u{200f}\u{7}\u{1b}[31m".to_owned(),
        format!("@SUM(A1)\r\n=2,\"{MARKUP}"),
        format!("+{}", "A".repeat(10_000)),
    ] {
        let text = hostile.clone();
        let session = json!({
            "person": "00", "signed_in_by": "grant", "role": "administrator", "group": null, "session": "00",
            "compartments": ["identity"], "expires_at_ms": 1, "now_ms": 2,
        });
        let api =
            Router::new().route("/api/v1/session", get(move || async move { session.to_string() })).route(
                "/api/v1/devices",
                get(move || async move {
                    let mut page = answer("/api/v1/devices", &text).unwrap();
                    page["next_cursor"] = Value::Null;
                    page.to_string()
                }),
            );
        let request = Request::get("/phones.csv").header("cookie", COOKIE).body(Body::empty()).unwrap();
        let response =
            front(api, std::sync::Arc::new(model::SystemClock), None).oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/csv"));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let mut reader = csv::ReaderBuilder::new().from_reader(&body[..]);
        let heads = reader.headers().unwrap().len();
        let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
        assert_eq!((rows.len(), rows[0].len()), (1, heads), "one phone is one row of the table");
        let said = rows[0]
            .iter()
            .filter(|cell| cell.contains(&"A".repeat(200)) || cell.contains(['=', '@']))
            .count();
        assert!(said >= 3, "its group, its model and its number's mask are told: {rows:?}");
        for cell in &rows[0] {
            assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']), "{}", cell.escape_unicode());
            let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            assert!(!cell.contains(|c: char| c.is_control() || turns(c)), "{}", cell.escape_unicode());
            assert!(cell.chars().count() <= 302, "{} letters", cell.chars().count());
        }
    }
}

const MARKUP: &str = "<i x=1>\"'><svg/onload=x></textarea><script>x()</script>";

fn is_text(path: &str, page: &str) -> Result<(), String> {
    for raw in ["<i x=1>", "<svg/onload", "<script>x", "\"'>"] {
        if page.contains(raw) {
            return Err(format!("{path}: {raw} is markup"));
        }
    }
    // What a form sends back is exact; nobody sees it.
    let seen: String = page
        .split("value=\"")
        .enumerate()
        .map(|(n, part)| match part.split_once('"') {
            Some((_, rest)) if n > 0 => rest,
            _ => part,
        })
        .collect();
    let turns =
        |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    match seen.chars().find(|c| turns(*c) || *c == '\u{7}' || *c == '\u{1b}') {
        Some(c) => Err(format!("{path}: {} is in the page", c.escape_unicode())),
        None => Ok(()),
    }
}

#[tokio::test]
async fn markup_formulas_and_marks_of_direction_are_text_on_every_page() {
    for hostile in [
        MARKUP.to_owned(),
        format!("\u{202e}{MARKUP}\u{2066}\u{7}\u{1b}[31m"),
        format!("=HYPERLINK(\"https://elsewhere.example\"){MARKUP}"),
        format!("{MARKUP}{}", "A".repeat(10_000)),
    ] {
        for path in PAGES {
            let (status, page) = shown(path, &hostile).await;
            assert_eq!(status, StatusCode::OK, "{path}: {page}");
            is_text(path, &page).unwrap();
            let forms = page.matches("<form").count();
            let methods = page.matches(" method=\"dialog\"").count()
                + page.matches(" method=\"get\"").count()
                + page.matches(" method=\"post\"").count();
            assert_eq!(
                forms, methods,
                "{path}: a form without a method sends what was typed into the address"
            );
            assert!(page.contains("&lt;i x=1&gt;"), "{path}: it is shown");
            assert!(page.len() < 150_000, "{path}: {} bytes", page.len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn whatever_someone_writes_no_page_takes_it_for_markup(before in any::<String>(), after in any::<String>()) {
        let hostile = format!("{before}{MARKUP}{after}");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for path in PAGES {
            let (status, page) = runtime.block_on(shown(path, &hostile));
            prop_assert_eq!(status, StatusCode::OK);
            let told = is_text(path, &page);
            prop_assert!(told.is_ok(), "{:?}", told);
        }
    }
}
