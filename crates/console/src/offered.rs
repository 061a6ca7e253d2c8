//! What a page offers each role: all that the vault's table lets the role sign there, and nothing that it refuses.

use std::collections::BTreeSet;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::IntoResponse;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use http_body_util::BodyExt;
use model::{Command, Role};
use order::{OrderKind, roles};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::hostile::{COOKIE, ENROLMENT, ORDER, answer};
use super::*;

/// Something that a page may offer.
struct Act {
    /// The order's kind in the page's form; `sign` and `session` for what is no order of its own kind.
    form: &'static str,
    order: OrderKind,
    erasing: bool,
}

fn act(form: &'static str, order: OrderKind) -> Act {
    Act { form, order, erasing: false }
}

fn command(form: &'static str, command: Command) -> Act {
    act(form, OrderKind::Command { command })
}

fn erases() -> Command {
    Command::EraseDevice { preserve_data_plan: false, disallow_proximity_setup: false }
}

fn erase(form: &'static str) -> Act {
    Act { erasing: true, ..command(form, erases()) }
}

fn order_id() -> model::OrderId {
    ORDER.parse().unwrap()
}

fn invite() -> OrderKind {
    OrderKind::Invite { group: model::Group::new("ward-7").unwrap(), valid_ms: 1 }
}

fn save_device_group() -> OrderKind {
    OrderKind::SaveDeviceGroup {
        group: ORDER.parse().unwrap(),
        replaces: None,
        name: model::DeviceGroupName::new("made up").unwrap(),
        definition: model::DeviceGroupDefinition::List,
    }
}

/// Each page with whatever it offers to whoever may do all of it.
fn table() -> Vec<(String, Vec<Act>)> {
    let for_one = || {
        vec![
            act("open", OrderKind::Open { fields: vec![] }),
            act("holder_cards", OrderKind::HolderCards),
            command("lock", Command::DeviceLock),
            command("lost_mode", Command::EnableLostMode),
            command("lost_mode_off", Command::DisableLostMode),
            command("ring", Command::PlayLostModeSound),
            command("locate", Command::DeviceLocation),
            command("restart", Command::RestartDevice { notify_user: true }),
            command("clear_passcode", Command::ClearPasscode),
            erase("erase"),
        ]
    };
    let for_many = || {
        vec![
            act("holder_cards", OrderKind::HolderCards),
            command("lock", Command::DeviceLock),
            command("lost_mode", Command::EnableLostMode),
            command("restart", Command::RestartDevice { notify_user: true }),
        ]
    };
    let mut of_list = for_many();
    of_list.extend([erase("erase"), act("save_device_group", save_device_group())]);
    let mut of_group = for_many();
    of_group.push(act("end_device_group", OrderKind::EndDeviceGroup { group: ORDER.parse().unwrap() }));
    let recall = || act("recall", OrderKind::Recall { order: order_id() });
    vec![
        (format!("/phones/{ENROLMENT}"), for_one()),
        ("/phones".to_owned(), of_list),
        // An erasure waits; another order cools off.
        (
            "/approvals".to_owned(),
            vec![erase("sign"), act("reject", OrderKind::Reject { order: order_id() }), recall()],
        ),
        // Somebody reads by their organisation's account: whose session it is not ends it as an administrator.
        ("/people".to_owned(), vec![act("end_session", OrderKind::Reject { order: order_id() })]),
        ("/invite".to_owned(), vec![act("invite", invite()), act("withdraw", OrderKind::WithdrawInvitation)]),
        (format!("/device-groups/{ORDER}"), of_group),
        ("/device-groups/new?lost=true".to_owned(), vec![act("save_device_group", save_device_group())]),
        (format!("/commands/{ORDER}"), vec![recall()]),
    ]
}

/// The order that waits: an erasure.
fn waiting() -> Value {
    let order = order::Order {
        version: order::Order::VERSION,
        id: order_id(),
        kind: OrderKind::Command { command: erases() },
        targets: vec![ENROLMENT.parse().unwrap()],
        reason: "made up".into(),
        made_at_ms: 0,
        expires_at_ms: 9,
        answer_key: order::X25519Public([0; 32]),
        sealed_digest: None,
        outline: None,
    };
    let key = order::Ed25519Secret::from_seed([1; 32]).unwrap();
    let signed = order::SignedOrder::sign(&order, &key);
    json!({ "signed_order": STANDARD.encode(order::encode(&signed)), "state": "pending" })
}

/// The page as somebody of that role gets it.
async fn page_of(path: &str, role: Role, signed_in_by: &str) -> (StatusCode, String) {
    let held = matches!(role, Role::WardManager).then_some("ward-7");
    let session = json!({
        "person": "00", "signed_in_by": signed_in_by, "role": role.name(), "group": held, "session": "00",
        "compartments": ["identity"], "expires_at_ms": 1, "now_ms": 2,
    });
    let api = Router::new()
        .route("/api/v1/session", get(move || async move { session.to_string() }))
        .fallback(move |request: Request| async move {
            let path = request.uri().path();
            // As core answers whoever is held to a group.
            let told = match path {
                "/api/v1/orders/pending" if held.is_some() => return StatusCode::FORBIDDEN.into_response(),
                p if p.ends_with("/signed") => Some(waiting()),
                p => answer(p, "made up"),
            };
            match told {
                Some(value) => value.to_string().into_response(),
                None => StatusCode::NOT_FOUND.into_response(),
            }
        });
    let request = Request::get(path).header("cookie", COOKIE).body(Body::empty()).unwrap();
    let response = front(api, Arc::new(model::SystemClock), None).oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.into()).unwrap())
}

/// The kinds of order in the page's forms.
fn offered(page: &str) -> BTreeSet<String> {
    let orders = page.split(" data-order=\"").skip(1).map(|rest| {
        let order = rest.split('"').next().unwrap().replace("&quot;", "\"");
        let order: Value = serde_json::from_str(&order).unwrap_or_else(|e| panic!("{e}: {order}"));
        order["kind"].as_str().unwrap().to_owned()
    });
    let signs = page.contains(" data-approve=\"").then(|| "sign".to_owned());
    orders.chain(signs).collect()
}

#[tokio::test]
async fn a_page_offers_each_role_what_the_vault_lets_it_sign_and_nothing_else() {
    for (path, acts) in table() {
        for role in Role::ALL {
            let (status, page) = page_of(&path, role, "grant").await;
            assert_eq!(status, StatusCode::OK, "{path} for {role:?}: {page}");
            let of_every_group =
                |a: &Act| !(role == Role::WardManager && matches!(a.form, "sign" | "reject"));
            let may = |a: &&Act| roles::rule(role, &a.order, a.erasing).is_some() && of_every_group(a);
            let wanted: BTreeSet<_> = acts.iter().filter(may).map(|a| a.form.to_owned()).collect();
            assert_eq!(offered(&page), wanted, "{path} for {role:?}");
        }
        let everything: BTreeSet<_> = acts.iter().map(|a| a.form.to_owned()).collect();
        let (_, page) = page_of(&path, Role::Administrator, "grant").await;
        assert_eq!(offered(&page), everything, "{path}: an administrator may do all of it");
    }
}

#[tokio::test]
async fn whoever_signed_in_by_account_is_offered_nothing_to_sign() {
    for (path, _) in table() {
        for role in Role::ALL {
            let (status, page) = page_of(&path, role, "oidc").await;
            assert_eq!(status, StatusCode::OK, "{path} for {role:?}");
            assert_eq!(offered(&page), BTreeSet::new(), "{path} for {role:?}");
        }
    }
}

/// The table as people read it: what somebody at the service desk finds on a phone's page, and what they don't.
#[tokio::test]
async fn the_service_desk_is_offered_to_lock_and_find_a_phone_and_not_to_erase_it() {
    let (_, page) = page_of(&format!("/phones/{ENROLMENT}"), Role::ServiceDesk, "grant").await;
    let offered = offered(&page);
    for does in ["lock", "lost_mode", "ring", "locate", "clear_passcode", "open"] {
        assert!(offered.contains(does), "{does}: {offered:?}");
    }
    assert!(!offered.contains("erase"), "{offered:?}");
    let (_, page) = page_of("/approvals", Role::ServiceDesk, "grant").await;
    assert!(page.contains("Your role does not sign this"), "{page}");
}
