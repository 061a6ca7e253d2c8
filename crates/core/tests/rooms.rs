//! Core among its neighbours.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod house;

use std::time::Duration;

use house::http::{SESSION, order};
use house::phone::{Phone, information};
use house::vault::{FakeVault, sealed};
use house::{House, until};
use ledger::Body;
use model::{Command, CommandId, Compartment, EnrolmentId};
use order::{OrderKind, Refusal};
use rpc::proto::core_reply::Answer;
use rpc::proto::core_request::What;
use rpc::proto::{PushResult, ReportStatus};
use serde_json::json;

fn lock(n: u8, targets: &[EnrolmentId]) -> order::Order {
    order(n, OrderKind::Command { command: Command::DeviceLock }, targets)
}

fn given(answer: &Answer) -> CommandId {
    match answer {
        Answer::Warranted(w) => rpc::command_id(&w.command).unwrap(),
        Answer::Free(f) => rpc::command_id(&f.command).unwrap(),
        other => panic!("no command: {other:?}"),
    }
}

#[tokio::test]
async fn a_phone_goes_from_its_invitation_to_a_stored_report() {
    let house = House::start().await;
    house.sign_in().await;
    let profile = house.ask_core(&[], What::Profile(vec![7; 32].into())).await;
    let Answer::Warranted(profile) = profile else { panic!("{profile:?}") };
    assert_eq!((profile.class, profile.status, profile.sealed), (2, 200, true));
    assert_eq!(house.ask_core(&[], What::Profile(vec![0; 32].into())).await, Answer::Plain(410));
    let phone = house.enrol(7).await;
    until("the ledger hears of it", || async {
        let words = house.vault.lock().words.clone();
        words.contains(&Body::Authenticated { enrolment: phone.enrolment, replaced: None })
            && words.contains(&Body::TokenUpdated { enrolment: phone.enrolment })
    })
    .await;
    let device = house.get(&format!("/api/v1/devices/{}", phone.enrolment)).await.json();
    assert_eq!(device["state"], "enrolled");
    assert_eq!(device["clear"]["OSVersion"], "17.5");
    assert_eq!(device["masks"]["PhoneNumber"].as_str().unwrap().chars().last(), Some('7'));
    assert_eq!(device["holder"], serde_json::Value::Null);
    assert_eq!(device["reports"][0]["kind"], "DeviceInformation");
    assert_eq!(device["push"], "ok");
    assert_eq!(device["pending_commands"], 0);
    house.stop().await;
}

#[tokio::test]
async fn an_order_is_delivered_with_its_warrant_answered_and_witnessed_once() {
    let house = House::start().await;
    house.sign_in().await;
    let phone = house.enrol(7).await;
    let answer = house.order(&lock(40, &[phone.enrolment])).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.json()["commands"][0]["targets"], 1);
    let first = house.idle(&phone).await;
    // The reply was lost: the same bytes come again.
    assert_eq!(house.idle(&phone).await, first);
    let Answer::Warranted(w) = &first else { panic!("{first:?}") };
    assert_eq!((w.class, w.status), (1, 200));
    assert!(w.body.starts_with(b"<bytes of"));
    assert_eq!(house.acknowledges(&phone, given(&first)).await, Answer::Plain(200));
    assert_eq!(house.acknowledges(&phone, given(&first)).await, Answer::Plain(200));
    let again = house.order(&lock(40, &[phone.enrolment])).await;
    assert_eq!(again.body, answer.body, "the recorded outcome");
    assert_eq!(house.idle(&phone).await, Answer::Plain(200), "it is not given again");
    let finished =
        |b: &Body| matches!(b, Body::CommandFinished { command, status: 2, .. } if *command == given(&first));
    until("it is witnessed", || async { house.vault.lock().words.iter().any(finished) }).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(house.vault.lock().words.iter().filter(|b| finished(b)).count(), 1);
    house.stop().await;
}

#[tokio::test]
async fn a_command_that_is_put_off_stands_in_nobodys_way_and_comes_again() {
    let house = House::start().await;
    house.sign_in().await;
    let phone = house.enrol(7).await;
    for n in [40, 41] {
        assert_eq!(house.order(&lock(n, &[phone.enrolment])).await.status, 200);
    }
    let first = given(&house.idle(&phone).await);
    let second = given(&house.reports(&phone, ReportStatus::NotNow, Some(first), None).await);
    assert_ne!(first, second);
    assert_eq!(house.acknowledges(&phone, second).await, Answer::Plain(200), "the conversation ends");
    // It came again without a push and long before the retry.
    house.clock.advance(60_000);
    assert_eq!(house.idle(&phone).await, Answer::Plain(200));
    let pushed = house.courier.pushed.lock().unwrap().len();
    house.clock.advance(16 * 60_000);
    assert_eq!(given(&house.idle(&phone).await), first);
    assert!(house.courier.pushed.lock().unwrap().len() >= pushed);
    let error = house.reports(&phone, ReportStatus::Error, Some(first), None).await;
    assert_eq!(error, Answer::Plain(200));
    let listed = house.get("/api/v1/commands?state=error").await.json();
    assert_eq!(listed["items"][0]["errors"][0]["code"], 12021);
    assert_eq!(listed["items"][0]["not_now_count"], 1);
    house.stop().await;
}

#[tokio::test]
async fn another_phone_under_the_same_certificate_is_turned_away_and_the_ledger_hears_of_it() {
    let house = House::start().await;
    house.sign_in().await;
    let phone = house.enrol(7).await;
    let other = Phone { tag: vec![99; 16], ..phone.clone() };
    assert_eq!(house.idle(&other).await, Answer::Plain(400));
    assert_eq!(house.authenticates(&other).await, Answer::Plain(400));
    let refused =
        |b: &Body| matches!(b, Body::PhoneRefused { enrolment, .. } if *enrolment == phone.enrolment);
    until("it is witnessed", || async { house.vault.lock().words.iter().any(refused) }).await;
    assert_eq!(house.idle(&phone).await, Answer::Plain(200), "the phone itself goes on");
    assert_eq!(house.idle(&Phone::of(EnrolmentId([250; 16]))).await, Answer::Plain(400));
    house.stop().await;
}

#[tokio::test]
async fn a_token_before_authenticate_is_refused_and_changes_nothing() {
    let house = House::start().await;
    house.sign_in().await;
    let phone = Phone::of(house.invite(7).await);
    assert_eq!(house.updates_token(&phone, false).await, Answer::Plain(400), "no certificate yet");
    house.scep(phone.enrolment).await;
    assert_eq!(house.updates_token(&phone, false).await, Answer::Plain(400));
    let device = house.get(&format!("/api/v1/devices/{}", phone.enrolment)).await.json();
    assert_eq!((&device["state"], &device["push"]), (&json!("issued"), &json!("none")));
    house.stop().await;
}

#[tokio::test]
async fn a_phone_that_enrols_anew_replaces_its_old_enrolment() {
    let house = House::start().await;
    house.sign_in().await;
    let old = house.enrol(7).await;
    assert_eq!(house.order(&lock(40, &[old.enrolment])).await.status, 200);
    let new = Phone { enrolment: house.invite(8).await, tag: old.tag.clone() };
    house.scep(new.enrolment).await;
    assert_eq!(house.authenticates(&new).await, Answer::Plain(200));
    assert_eq!(house.idle(&new).await, Answer::Plain(200), "nothing before TokenUpdate");
    assert_eq!(house.idle(&old).await, Answer::Plain(400));
    let device = house.get(&format!("/api/v1/devices/{}", old.enrolment)).await.json();
    assert_eq!(device["state"], "replaced");
    assert_eq!(device["replaced_by"], new.enrolment.to_string());
    assert_eq!(device["pending_commands"], 0);
    let word = Body::Authenticated { enrolment: new.enrolment, replaced: Some(old.enrolment) };
    until("it is witnessed", || async { house.vault.lock().words.contains(&word) }).await;
    house.stop().await;
}

#[tokio::test]
async fn a_phone_that_begins_anew_has_an_empty_queue_and_keeps_its_unlock_token() {
    let house = House::start().await;
    house.sign_in().await;
    let phone = house.enrol(7).await;
    assert_eq!(house.order(&lock(40, &[phone.enrolment])).await.status, 200);
    assert_eq!(house.authenticates(&phone).await, Answer::Plain(200));
    assert_eq!(house.idle(&phone).await, Answer::Plain(200));
    assert_eq!(house.updates_token(&phone, false).await, Answer::Plain(200));
    let clear = order(41, OrderKind::Command { command: Command::ClearPasscode }, &[phone.enrolment]);
    assert_eq!(house.order(&clear).await.status, 200);
    let sent = house.vault.lock().submissions.last().unwrap().clone();
    assert_eq!(sent.rows.len(), 1);
    assert_eq!(sent.rows[0].row.as_ref().unwrap().name, "UnlockToken");
    house.stop().await;
}

#[tokio::test]
async fn without_the_vault_phones_go_on_and_an_order_is_taken_up_when_it_is_back() {
    let mut house = House::start().await;
    house.sign_in().await;
    let phone = house.enrol(7).await;
    house.vault_dies().await;
    assert_eq!(house.idle(&phone).await, Answer::Plain(200));
    assert_eq!(house.ask_core(&[], What::Profile(vec![7; 32].into())).await, Answer::Plain(503));
    let answer = house.order(&lock(40, &[phone.enrolment])).await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (503, Some("vault_away")));
    let queued = house.post("/api/v1/queries", &json!({"queries": ["SecurityInfo"], "targets": null})).await;
    assert_eq!((queued.status, queued.json()["queued"].as_u64()), (202, Some(1)));
    house.clock.advance(10_000);
    house.vault_comes();
    until("the order is taken up", || async {
        house.get(&format!("/api/v1/orders/{}", order::Order::id_of(40))).await.json()["state"] == "accepted"
    })
    .await;
    assert!(matches!(house.idle(&phone).await, Answer::Free(_)));
    house.stop().await;
}

#[tokio::test]
async fn an_order_that_was_accepted_on_its_second_signature_is_carried_out_though_the_answer_was_lost() {
    let house = House::start().await;
    house.sign_in().await;
    let phone = house.enrol(7).await;
    house.vault.lock().refuse = Some(Refusal::NeedsSignatures);
    let lock = lock(40, &[phone.enrolment]);
    assert_eq!(house.order(&lock).await.json()["refusal"], Refusal::NeedsSignatures.number());
    let state = async || house.get(&format!("/api/v1/orders/{}", lock.id)).await.json()["state"].clone();
    assert_eq!(state().await, "pending");

    house.clock.advance(10_000);
    house.vault.lock().refuse = None;
    house.vault.lock().loses = 1;
    let answer = house.order(&lock).await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (503, Some("vault_away")));
    assert!(answer.body.contains("this signature may not have reached it"), "{}", answer.body);
    until("it is taken up", || async { state().await == "accepted" }).await;
    assert!(matches!(house.idle(&phone).await, Answer::Warranted(_)));
    house.stop().await;
}

#[tokio::test]
async fn a_signature_for_an_order_that_waits_for_the_vault_takes_nothing_of_it_away() {
    let mut house = House::start().await;
    house.sign_in().await;
    house.vault_dies().await;
    let invite =
        order(41, OrderKind::Invite { group: model::Group::new("ward-7").unwrap(), valid_ms: 1000 }, &[]);
    assert_eq!(house.order_with(&invite, Some(b"sealed arguments")).await.status, 503);
    house.vault_comes();
    // Whoever approves it brings a signature alone.
    until("it is decided", || async { house.order(&invite).await.status == 200 }).await;
    let brought: Vec<Vec<u8>> =
        house.vault.lock().submissions.iter().map(|s| s.sealed_arguments.clone()).collect();
    assert_eq!(brought.last().unwrap(), b"sealed arguments", "the one that was decided had them");
    house.stop().await;
}

#[tokio::test]
async fn a_ledger_that_went_back_is_not_followed_and_health_says_so() {
    let mut house = House::start().await;
    house.sign_in().await;
    house.invite(7).await;
    house.vault_dies().await;
    house.vault.roll_back(1);
    house.vault_comes();
    until("it is refused", || async {
        let health = house.get("/api/v1/health").await.json();
        health["status"] == "degraded"
            && health["vault"]["following"].as_str().is_some_and(|f| f.contains("shorter"))
    })
    .await;
    assert!(house.vault.lock().asked_beyond > 0, "the vault hears of it, and raises the alarm");
    house.stop().await;
}

#[tokio::test]
async fn a_ledger_of_another_history_is_not_followed() {
    let mut house = House::start().await;
    house.sign_in().await;
    house.invite(7).await;
    house.vault_dies().await;
    house.vault.roll_back(1);
    house.vault.append(Body::TokenUpdated { enrolment: EnrolmentId([1; 16]) }, vec![], vec![]);
    house.vault.append(Body::TokenUpdated { enrolment: EnrolmentId([2; 16]) }, vec![], vec![]);
    let before = house.get("/api/v1/ledger/head").await.json();
    house.vault_comes();
    until("it is refused", || async {
        let health = house.get("/api/v1/health").await.json();
        health["vault"]["following"].as_str().is_some_and(|f| f.contains("another"))
    })
    .await;
    assert_eq!(house.get("/api/v1/ledger/head").await.json(), before);
    assert!(house.vault.lock().asked_beyond > 0, "the vault hears of it, and raises the alarm");
    house.stop().await;
}

async fn refused(house: &House, why: &str) -> bool {
    let health = house.get("/api/v1/health").await.json();
    health["vault"]["following"].as_str().is_some_and(|f| f.contains(why))
}

#[tokio::test]
async fn a_vault_whose_checkpoint_is_of_other_entries_than_it_hands_over_is_not_followed() {
    let mut house = House::start().await;
    house.sign_in().await;
    house.invite(7).await;
    let size_of = |answer: &str| answer.lines().nth(1).and_then(|l| l.parse::<u64>().ok());
    until("its checkpoint is served", || async {
        let said = house.get("/ledger/checkpoint").await;
        let head = house.get("/api/v1/ledger/head").await.json();
        said.status == 200 && size_of(&said.body) == head["entries"].as_u64()
    })
    .await;
    let kept = std::fs::read(house.dir.join("checkpoint")).unwrap();
    house.vault_dies().await;
    house.vault.lock().lies = true;
    house.vault_comes();
    until("it is refused", || refused(&house, "two checkpoints of one size")).await;
    assert_eq!(house.get("/ledger/checkpoint").await.status, 503);
    assert_eq!(std::fs::read(house.dir.join("checkpoint")).unwrap(), kept);
    house.vault_dies().await;
    house.vault.append(Body::TokenUpdated { enrolment: EnrolmentId([1; 16]) }, vec![], vec![]);
    house.vault_comes();
    until("a larger one is refused", || refused(&house, "other entries than those it handed over")).await;
    house.vault_dies().await;
    house.vault.lock().lies = false;
    house.vault_comes();
    until("the true one is followed again", || async { house.get("/ledger/checkpoint").await.status == 200 })
        .await;
    house.stop().await;
}

#[tokio::test]
async fn a_cosigned_checkpoint_is_kept_and_given_and_nothing_else_is() {
    let house = House::start().await;
    house.sign_in().await;
    until("the checkpoint is served", || async { house.get("/ledger/checkpoint").await.status == 200 }).await;
    let note = house.get("/ledger/checkpoint").await.body;
    let line = |name: &str, n: u8| {
        let id = [n; 4];
        ledger::NoteSignature { name: name.into(), id, signature: vec![n; 72] }.to_string()
    };
    assert_eq!(house.get("/ledger/cosigned").await.status, 404);
    assert_eq!(house.post_text("/ledger/cosigned", &note).await, 422, "nobody else signed it");
    assert_eq!(house.post_text("/ledger/cosigned", "x").await, 422);
    let forged = note.replacen('\n', "x\n", 1) + &line("w.example.org", 1);
    assert_eq!(house.post_text("/ledger/cosigned", &forged).await, 422);
    for (name, n) in [("w.example.org", 1), ("v.example.org", 2), ("w.example.org", 1)] {
        let cosigned = note.clone() + &line(name, n);
        assert_eq!(house.post_text("/ledger/cosigned", &cosigned).await, 204);
    }
    let kept = house.get("/ledger/cosigned").await.body;
    assert_eq!(kept.lines().filter(|l| l.contains(".example.org")).count(), 2, "{kept}");
    for n in 10..40 {
        let cosigned = note.clone() + &line(&format!("w{n}.example.org"), n);
        assert_eq!(house.post_text("/ledger/cosigned", &cosigned).await, 204);
    }
    let kept = house.get("/ledger/cosigned").await.body;
    assert_eq!(kept.lines().filter(|l| l.contains(".example.org")).count(), 16);
    house.stop().await;
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let house = House::start().await;
    house.sign_in().await;
    let phone = house.enrol(7).await;
    assert_eq!(house.order(&lock(40, &[phone.enrolment])).await.status, 200);
    let command = given(&house.idle(&phone).await);
    let midway = house.copy_database();
    assert_eq!(house.acknowledges(&phone, command).await, Answer::Plain(200));
    let after = house.copy_database();
    let vault = house.vault.clone();
    house.stop().await;

    // Killed after the answer: it is done.
    let again = House::start_in(after.path().to_owned(), vault.clone(), true).await;
    assert_eq!(again.idle(&phone).await, Answer::Plain(200));
    let c = again.get(&format!("/api/v1/commands/{command}")).await.json();
    assert_eq!(c["state"], "acknowledged");
    again.stop().await;

    // Killed before it: the phone asks again and gets the same bytes.
    let again = House::start_in(midway.path().to_owned(), vault, true).await;
    assert_eq!(given(&again.idle(&phone).await), command);
    assert_eq!(again.acknowledges(&phone, command).await, Answer::Plain(200));
    again.stop().await;
}

#[tokio::test]
async fn a_warrant_that_is_about_to_run_out_is_renewed_before_the_phone_gets_it() {
    let house = House::start().await;
    house.sign_in().await;
    let phone = house.enrol(7).await;
    house.vault.lock().warrant_life_ms = 30_000;
    assert_eq!(house.order(&lock(40, &[phone.enrolment])).await.status, 200);
    let Answer::Warranted(w) = house.idle(&phone).await else { panic!("no command") };
    let signed: order::SignedWarrant = order::decode(&w.warrant).unwrap();
    let warrant: order::Warrant = order::decode(&signed.warrant).unwrap();
    assert!(warrant.expires_at_ms > house.now_ms() + model::clock::DAY_MS);
    assert_eq!(house.vault.lock().warrants_asked, 1);
    house.stop().await;
}

#[tokio::test]
async fn a_command_whose_warrant_is_refused_ends_and_the_one_behind_it_goes_out() {
    let house = House::start().await;
    house.sign_in().await;
    let phone = house.enrol(7).await;
    house.vault.lock().warrant_life_ms = 30_000;
    assert_eq!(house.order(&lock(40, &[phone.enrolment])).await.status, 200);
    house.post("/api/v1/queries", &json!({"queries": ["SecurityInfo"], "targets": [phone.enrolment]})).await;
    house.vault.lock().refuse = Some(Refusal::Expired);
    assert!(matches!(house.idle(&phone).await, Answer::Free(_)));
    let listed = house.get("/api/v1/commands?state=expired").await.json();
    assert_eq!(listed["items"][0]["request_type"], "DeviceLock");
    house.stop().await;
}

#[tokio::test]
async fn an_order_that_is_called_back_reaches_no_phone() {
    let house = House::start().await;
    house.sign_in().await;
    let phone = house.enrol(7).await;
    let lock = lock(40, &[phone.enrolment]);
    assert_eq!(house.order(&lock).await.status, 200);
    assert_eq!(house.order(&order(41, OrderKind::Recall { order: lock.id }, &[])).await.status, 200);
    assert_eq!(house.idle(&phone).await, Answer::Plain(200));
    let listed = house.get(&format!("/api/v1/orders/{}", lock.id)).await.json();
    assert_eq!(listed["commands"][0]["state"], "cancelled");
    assert!(listed["recalled_at_ms"].is_i64());
    house.stop().await;
}

#[tokio::test]
async fn a_command_that_needs_supervision_is_refused_before_it_is_submitted() {
    let house = House::start().await;
    house.sign_in().await;
    let phone = house.enrol(7).await;
    let before = house.vault.lock().submissions.len();
    let restart = Command::RestartDevice { notify_user: true };
    let answer = house.order(&order(40, OrderKind::Command { command: restart }, &[phone.enrolment])).await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (409, Some("needs_supervision")));
    assert_eq!(answer.json()["enrolments"][0], phone.enrolment.to_string());
    assert_eq!(house.vault.lock().submissions.len(), before);
    house.stop().await;
}

#[tokio::test]
async fn a_report_that_changes_nothing_writes_no_inventory() {
    let house = House::start().await;
    house.sign_in().await;
    let phone = house.enrol(7).await;
    let at = |device: &serde_json::Value, name: &str| {
        let fields = device["sealed_fields"].as_array().unwrap();
        fields.iter().find(|f| f["name"] == name).unwrap()["at_ms"].as_i64().unwrap()
    };
    let path = format!("/api/v1/devices/{}", phone.enrolment);
    let before = house.get(&path).await.json();
    for (n, changes) in [(7, false), (8, true)] {
        house.clock.advance(60_000);
        let ask = json!({"queries": ["DeviceInformation"], "targets": [phone.enrolment]});
        house.post("/api/v1/queries", &ask).await;
        let command = given(&house.idle(&phone).await);
        let content = Some(information(n));
        house.reports(&phone, ReportStatus::Acknowledged, Some(command), content).await;
        let device = house.get(&path).await.json();
        assert_eq!(at(&device, "PhoneNumber") > at(&before, "PhoneNumber"), changes);
        assert_eq!(at(&device, "SerialNumber"), at(&before, "SerialNumber"), "this one did not change");
        let confirmed = device["reports"][0]["at_ms"].as_i64();
        assert_eq!(confirmed, Some(house.now_ms()), "but it was confirmed");
    }
    house.stop().await;
}

#[tokio::test]
async fn a_phone_is_pushed_when_something_waits_and_not_after_apple_gave_it_up() {
    let house = House::start().await;
    house.sign_in().await;
    let phone = house.enrol(7).await;
    let pushed = |n: usize| {
        let all = house.courier.pushed.clone();
        async move { all.lock().unwrap().len() >= n }
    };
    until("the first inventory is pushed for", || pushed(1)).await;
    house.courier.pushed.lock().unwrap().clear();
    house.courier.answers.lock().unwrap().insert(phone.enrolment, PushResult::Unregistered);
    assert_eq!(house.order(&lock(40, &[phone.enrolment])).await.status, 200);
    until("it is pushed", || pushed(1)).await;
    until("it is marked", || async {
        house.get(&format!("/api/v1/devices/{}", phone.enrolment)).await.json()["push"] == "unregistered"
    })
    .await;
    assert_eq!(house.order(&lock(41, &[phone.enrolment])).await.status, 200);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(house.courier.pushed.lock().unwrap().len(), 1);
    house.courier.answers.lock().unwrap().clear();
    assert_eq!(house.updates_token(&phone, false).await, Answer::Plain(200));
    assert_eq!(house.order(&lock(42, &[phone.enrolment])).await.status, 200);
    until("a new token makes it reachable", || pushed(2)).await;
    house.stop().await;
}

#[tokio::test]
async fn a_search_finds_a_phone_by_number_and_by_name_and_no_value_lies_in_the_database() {
    let house = House::start().await;
    house.sign_in().await;
    let (a, b) = (house.enrol(7).await, house.enrol(8).await);
    let search = |text: &'static str| {
        let body = json!({"sealed_search": base64(text.as_bytes())});
        let house = &house;
        async move { house.post("/api/v1/search", &body).await.json() }
    };
    until("the numbers are indexed", || async {
        search("phone:07700 900107").await["items"].as_array().is_some_and(|i| i.len() == 1)
    })
    .await;
    let found = search("phone:+44 (0)7700 900107").await;
    assert_eq!(found["items"][0]["enrolment"], a.enrolment.to_string());
    assert_eq!(found["searches_left"], 3);
    let found = search("name:madeupi nurse").await;
    assert_eq!(found["items"][0]["enrolment"], b.enrolment.to_string());
    assert_eq!(found["items"].as_array().unwrap().len(), 1, "both words must be the same person's");
    assert_eq!(search("phone:07700 900199").await["items"], json!([]));
    for file in ["core.db", "core.db-wal"] {
        let bytes = std::fs::read(house.dir.join(file)).unwrap_or_default();
        for value in ["+447700900107", "Madeupi", "F2LMADEUP01", "490154203237518", SESSION] {
            assert!(!bytes.windows(value.len()).any(|w| w == value.as_bytes()), "{value} in {file}");
        }
    }
    house.stop().await;
}

#[tokio::test]
async fn names_are_opened_for_the_page_that_asks_for_them_and_under_a_grant_alone() {
    let house = House::start().await;
    house.sign_in().await;
    house.enrol(7).await;
    let plain = house.get("/api/v1/devices").await.json();
    assert_eq!(plain["items"][0]["holder"], serde_json::Value::Null);
    assert!(house.vault.lock().opened.is_empty());
    let named = house.get("/api/v1/devices?names=true").await.json();
    assert_eq!(named["items"][0]["holder"], "Nurse Madeuph");
    assert_eq!(house.vault.lock().opened.len(), 1);
    house.vault.lock().refuse = Some(Refusal::GrantExhausted);
    let spent = house.get("/api/v1/devices?names=true").await;
    assert_eq!((spent.status, spent.json()["refusal"].as_u64()), (403, Some(16)));
    house.stop().await;
}

#[tokio::test]
async fn a_clear_field_that_is_not_on_the_list_is_not_kept_whatever_the_reader_says() {
    let house = House::start().await;
    house.sign_in().await;
    let phone = house.enrol(7).await;
    let ask = json!({"queries": ["DeviceInformation"], "targets": [phone.enrolment]});
    house.post("/api/v1/queries", &ask).await;
    let command = given(&house.idle(&phone).await);
    let mut content = information(9);
    content.clear.push(house::phone::clear("DeviceName", "\"a name\""));
    house.reports(&phone, ReportStatus::Acknowledged, Some(command), Some(content)).await;
    let device = house.get(&format!("/api/v1/devices/{}", phone.enrolment)).await;
    assert!(!device.body.contains("a name"));
    house.stop().await;
}

#[tokio::test]
async fn messages_that_make_no_sense_change_nothing_and_are_never_a_401() {
    let house = House::start().await;
    house.sign_in().await;
    let phone = house.enrol(7).await;
    let raw = |bytes: &'static [u8]| house.ask_core(&phone.enrolment.0, What::Observed(bytes.into()));
    assert_eq!(raw(b"\xff\xff\xff").await, Answer::Plain(400));
    assert_eq!(raw(b"").await, Answer::Plain(400));
    assert_eq!(house.ask_core(&[1], What::Observed(b"".as_slice().into())).await, Answer::Plain(400));
    let untagged = Phone { tag: vec![], ..phone.clone() };
    assert_eq!(house.idle(&untagged).await, Answer::Plain(400));
    let unknown = CommandId([77; 16]);
    assert_eq!(house.acknowledges(&phone, unknown).await, Answer::Plain(200));
    assert_eq!(house.reports(&phone, ReportStatus::NotNow, Some(unknown), None).await, Answer::Plain(200));
    assert_eq!(house.scep(EnrolmentId([7; 16])).await, Answer::ScepIssued(b"der".as_slice().into()));
    assert!(matches!(
        house.ask_core(&[], What::Scep(b"short".as_slice().into())).await,
        Answer::ScepRefused(20)
    ));
    assert_eq!(house.idle(&phone).await, Answer::Plain(200));
    house.stop().await;
}

#[tokio::test]
async fn a_phone_that_leaves_is_answered_no_more() {
    let house = House::start().await;
    house.sign_in().await;
    let phone = house.enrol(7).await;
    let out = rpc::proto::observed::What::CheckOut(rpc::proto::CheckOut {});
    assert_eq!(house.says(&phone, out).await, Answer::Plain(200));
    assert_eq!(house.idle(&phone).await, Answer::Plain(400));
    let word = Body::CheckedOut { enrolment: phone.enrolment };
    until("it is witnessed", || async { house.vault.lock().words.contains(&word) }).await;
    house.stop().await;
}

#[tokio::test]
async fn an_open_order_takes_the_named_rows_of_its_phone_to_the_vault() {
    let house = House::start().await;
    house.sign_in().await;
    let phone = house.enrol(7).await;
    let open = OrderKind::Open { fields: vec!["PhoneNumber".into(), "Absent".into()] };
    let answer = house.order(&order(40, open, &[phone.enrolment])).await;
    assert_eq!(answer.json()["sealed_answer"], base64(b"answer"));
    let rows = house.vault.lock().submissions.last().unwrap().rows.clone();
    assert_eq!(rows.len(), 1);
    let expected = sealed("PhoneNumber", Compartment::Contact, "+447700900107");
    assert_eq!(rows[0].row, Some(rpc::row_to(expected)));
    house.stop().await;
}

#[tokio::test]
async fn a_refused_order_says_why_and_an_unsigned_one_leaves_no_trace() {
    let house = House::start().await;
    house.sign_in().await;
    let phone = house.enrol(7).await;
    house.vault.lock().refuse = Some(Refusal::UnknownSigner);
    let answer = house.order(&lock(40, &[phone.enrolment])).await;
    assert_eq!((answer.status, answer.json()["refusal"].as_u64()), (403, Some(3)));
    assert_eq!(house.get(&format!("/api/v1/orders/{}", order::Order::id_of(40))).await.status, 404);
    house.vault.lock().refuse = Some(Refusal::RoleNotAllowed);
    let answer = house.order(&lock(41, &[phone.enrolment])).await;
    assert_eq!((answer.status, answer.json()["refusal"].as_u64()), (403, Some(4)));
    let kept = house.get(&format!("/api/v1/orders/{}", order::Order::id_of(41))).await.json();
    assert_eq!((&kept["state"], &kept["refusal"]), (&json!("refused"), &json!(4)));
    let junk = json!({"signed_order": base64(b"junk"), "sealed_arguments": null});
    assert_eq!(house.http("POST", "/api/v1/orders", None, Some(&junk)).await.status, 422);
    house.stop().await;
}

#[tokio::test]
async fn an_order_is_found_by_its_first_digits_and_several_that_begin_so_are_named() {
    let house = House::start().await;
    house.sign_in().await;
    let phone = house.enrol(7).await;
    let mut orders = Vec::new();
    for last in [1, 2] {
        let mut id = [0x60; 16];
        id[15] = last;
        let order = order::Order { id: model::OrderId(id), ..lock(60, &[phone.enrolment]) };
        assert_eq!(house.order(&order).await.status, 200);
        orders.push(order.id.to_string());
    }
    let get = async |id: &str| house.get(&format!("/api/v1/orders/{id}")).await;
    let several = get("606060").await;
    assert_eq!((several.status, &several.json()["code"]), (409, &json!("ambiguous")));
    let detail = several.json()["detail"].as_str().unwrap().to_owned();
    assert!(orders.iter().all(|id| detail.contains(id)), "{detail}");
    for id in &orders {
        assert_eq!(get(id).await.json()["order"], **id);
    }
    for none in ["60606", "616161", "zzzzzz"] {
        assert_eq!(get(none).await.status, 404, "{none}");
    }
    house.stop().await;
}

#[tokio::test]
async fn a_fresh_core_with_no_vault_serves_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::start_in(dir.path().to_owned(), FakeVault::new(), false).await;
    assert_eq!(house.http("GET", "/healthz", None, None).await.body, "ok");
    let statement = house.http("GET", "/api/v1/statement", None, None).await.json();
    assert_eq!(statement["root_key"], base64(&house::root().public()));
    house.stop().await;
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// The hexadecimal id of the `n`th test order.
trait IdOf {
    fn id_of(n: u8) -> model::OrderId;
}

impl IdOf for order::Order {
    fn id_of(n: u8) -> model::OrderId {
        model::OrderId([n; 16])
    }
}
