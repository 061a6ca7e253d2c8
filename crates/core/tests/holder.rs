//! A phone's holder signs in with the code of the holder's card, and reaches that phone and nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod house;

use core_room::{Access, routes};
use house::http::{Answer as Told, SESSION, key};
use house::phone::{Phone, clear, information};
use house::vault::card_code;
use house::{House, until};
use ledger::{Body, Effect, Opaque};
use model::clock::MINUTE_MS;
use model::{CommandId, Digest, EnrolmentId, KeyId, OrderId, PersonId, StandingTemplate};
use order::{ApiScope, HolderCode, sha256};
use rpc::proto::core_reply::Answer;
use serde_json::json;

fn bearer(n: u8) -> String {
    format!("mh_{}", char::from(b'A' + n).to_string().repeat(43))
}

async fn comes(house: &House, n: u8, code: &str) -> Told {
    let body = json!({ "code": code, "session": sha256(bearer(n).as_bytes()) });
    house.http("POST", "/api/v1/my-phone/session", None, Some(&body)).await
}

async fn status(house: &House, n: u8) -> u16 {
    house.http("GET", "/api/v1/my-phone", Some(&bearer(n)), None).await.status
}

/// What the vault's ledger says next.
fn says(house: &House, n: u8, effect: Effect) {
    let body = Body::OrderAccepted {
        order: OrderId([n; 16]),
        digest: Digest([n; 32]),
        signer: KeyId([1; 16]),
        person: PersonId([5; 16]),
        bytes: Opaque(vec![]),
        signature: Opaque(vec![]),
        effect,
        counted: None,
    };
    house.vault.append(body, vec![], vec![]);
}

#[tokio::test]
async fn a_holder_is_let_into_their_own_routes_alone_and_nobody_else_is() {
    let house = House::start().await;
    house.sign_in().await;
    house.invite(30).await;
    let _ = house.make_key(ApiScope::Devices).await;
    let (one, api_key) = (card_code(30), key(ApiScope::Devices as u8));
    until("the card to be known", || async { comes(&house, 1, &one).await.status == 200 }).await;
    let told = house.http("GET", "/api/v1/my-phone", Some(&bearer(1)), None).await;
    assert_eq!(told.status, 200, "{}", told.body);
    assert_eq!(told.json()["lost_mode"]["can"], "not_enrolled");
    assert!(!told.body.contains(&house::vault::holder_name(30)) && !told.body.contains(&one));
    for r in routes().iter().filter(|r| !matches!(r.access, Access::Public(_))) {
        let path = r.path.replace("{enrolment}", &"1e".repeat(16)).replace("{order}", &"01".repeat(16));
        let body = json!({});
        let body = (r.method != "GET").then_some(&body);
        let own = r.access == Access::Holder;
        let holder = bearer(1);
        if own {
            for other in [SESSION, &api_key] {
                assert_eq!(
                    house.http(r.method, &path, Some(other), body).await.status,
                    403,
                    "{} {path}",
                    r.method
                );
            }
        } else {
            let answer = house.http(r.method, &path, Some(&holder), body).await;
            assert_eq!(answer.status, 403, "{} {path}", r.method);
            assert!(answer.body.contains("its own phone"), "before the route is looked at: {}", answer.body);
        }
    }
    assert_eq!(house.http("DELETE", "/api/v1/my-phone/session", Some(&bearer(1)), None).await.status, 204);
    assert_eq!(status(&house, 1).await, 401);
    house.stop().await;
}

#[tokio::test]
async fn a_wrong_an_old_and_an_unknown_code_get_the_same_answer_and_after_many_only_wrong_ones_wait() {
    let house = House::start().await;
    house.sign_in().await;
    house.invite(30).await;
    let first = card_code(30);
    until("the card to be known", || async { comes(&house, 1, &first).await.status == 200 }).await;
    let newest = HolderCode::read("2222-3333-4444-5555-6666").unwrap();
    let cards = vec![(EnrolmentId([30; 16]), newest.hash())];
    says(&house, 40, Effect::HolderCardsMade { cards });
    until("the session of the card before to end", || async { status(&house, 1).await == 401 }).await;
    assert_eq!(comes(&house, 2, "2222 3333-4444 5555 6666").await.status, 200);
    let answer = |a: Told| (a.status, a.json()["code"].clone(), a.json()["detail"].clone());
    let old = answer(comes(&house, 3, &first).await);
    assert_eq!(old.0, 403);
    for wrong in ["2222-3333-4444-5555-6667", "", "no code at all", &"a".repeat(4000)] {
        assert_eq!(answer(comes(&house, 3, wrong).await), old, "{wrong}");
    }
    assert_eq!(comes(&house, 2, "2222-3333-4444-5555-6666").await.status, 422, "nobody takes a session over");
    for _ in 0..20 {
        comes(&house, 3, "").await;
    }
    assert_eq!(comes(&house, 3, &first).await.status, 429);
    assert_eq!(
        comes(&house, 3, "2222-3333-4444-5555-6666").await.status,
        200,
        "nobody shuts a neighbour out"
    );
    assert_eq!(status(&house, 2).await, 200, "whoever is in stays in");
    let metrics = house.get("/metrics").await.body;
    let counted = |outcome: &str| -> u32 {
        let start = format!("matron_core_holders_total{{outcome=\"{outcome}\"}} ");
        metrics.lines().find_map(|l| l.strip_prefix(&start)).unwrap_or("0").parse().unwrap()
    };
    // One more try is forgiven every three seconds, so how many of the 26 is up to the machine.
    assert!(counted("refused") >= 20 && counted("held_up") >= 1, "{metrics}");
    assert_eq!(counted("refused") + counted("held_up"), 26, "{metrics}");
    house.clock.advance(20 * model::clock::MINUTE_MS);
    assert_eq!(status(&house, 2).await, 401, "after twenty minutes");
    house.stop().await;
}

#[tokio::test]
async fn a_holders_sessions_end_with_the_phone_the_card_and_a_breach() {
    let house = House::start().await;
    house.sign_in().await;
    for n in [30, 31, 32] {
        house.invite(n).await;
        until("the card to be known", || async { comes(&house, n - 30, &card_code(n)).await.status == 200 })
            .await;
    }
    says(&house, 41, Effect::InvitationWithdrawn { enrolment: EnrolmentId([30; 16]) });
    until("the phone that left to end it", || async { status(&house, 0).await == 401 }).await;
    assert_eq!(comes(&house, 5, &card_code(30)).await.status, 403, "nor does its card let anybody in");
    let subject = model::DataSubject::Holder(EnrolmentId([31; 16]));
    says(&house, 42, Effect::PersonErased { subject });
    until("the erased holder's to end", || async { status(&house, 1).await == 401 }).await;
    assert_eq!(status(&house, 2).await, 200);
    let signers = vec![KeyId([1; 16])];
    let (epoch, reissues_an_hour, expires_at_ms) = (2, 5, i64::MAX);
    says(&house, 43, Effect::BreachAssumed { epoch, signers, reissues_an_hour, expires_at_ms, keys: None });
    until("the breach to end the rest", || async { status(&house, 2).await == 401 }).await;
    assert_eq!(comes(&house, 6, &card_code(32)).await.status, 403);
    house.stop().await;
}

#[tokio::test]
async fn without_a_standing_order_a_holder_is_told_that_it_is_not_switched_on_and_the_vault_is_not_asked() {
    let house = House::start().await;
    house.sign_in().await;
    let mut supervised = information(30);
    supervised.clear.retain(|c| c.name != "IsSupervised");
    supervised.clear.push(clear("IsSupervised", "true"));
    house.enrol_saying(30, supervised).await;
    let code = card_code(30);
    until("the card to be known", || async { comes(&house, 1, &code).await.status == 200 }).await;
    let told = || async { house.http("GET", "/api/v1/my-phone", Some(&bearer(1)), None).await.json() };
    assert_eq!(told().await["lost_mode"]["can"], "not_switched_on");
    let lost = house.http("POST", "/api/v1/my-phone/lost-mode", Some(&bearer(1)), None).await;
    assert_eq!((lost.status, lost.json()["code"].as_str()), (409, Some("not_switched_on")));
    assert!(house.vault.lock().acted.is_empty());
    let made = |template| Effect::StandingMade { template, cap_an_hour: 5, expires_at_ms: i64::MAX };
    says(&house, 44, made(StandingTemplate::HolderLostMode));
    until("it to be switched on", || async { told().await["lost_mode"]["can"] == "yes" }).await;
    // This vault says that it knows no such order.
    let lost = house.http("POST", "/api/v1/my-phone/lost-mode", Some(&bearer(1)), None).await;
    assert_eq!((lost.status, lost.json()["code"].as_str()), (409, Some("not_switched_on")));
    let asked = house.vault.lock().acted[0].clone();
    assert_eq!((asked.standing, asked.enrolment), (vec![44; 16], vec![30; 16]));
    assert_eq!(asked.holder_code.as_deref(), Some(code.as_str()), "the vault judges the code for itself");
    assert_eq!(told().await["ring"]["can"], "not_switched_on", "each has a standing order of its own");
    // One that is not supervised would say no.
    house.enrol(31).await;
    until("the card to be known", || async { comes(&house, 2, &card_code(31)).await.status == 200 }).await;
    let lost = house.http("POST", "/api/v1/my-phone/lost-mode", Some(&bearer(2)), None).await;
    assert_eq!((lost.status, lost.json()["code"].as_str()), (409, Some("not_supervised")));
    assert_eq!(house.vault.lock().acted.len(), 1);
    house.stop().await;
}

/// A supervised phone whose holder is signed in and may report it lost.
async fn held(n: u8) -> (House, Phone) {
    let house = House::start().await;
    house.sign_in().await;
    house.vault.lock().acts = true;
    let mut supervised = information(n);
    supervised.clear.retain(|c| c.name != "IsSupervised");
    supervised.clear.push(clear("IsSupervised", "true"));
    let phone = house.enrol_saying(n, supervised).await;
    let (template, expires_at_ms) = (StandingTemplate::HolderLostMode, i64::MAX);
    says(&house, 44, Effect::StandingMade { template, cap_an_hour: 5, expires_at_ms });
    comes_in(&house, n).await;
    let can = || async { told(&house).await["lost_mode"]["can"] == "yes" };
    until("it to be switched on", can).await;
    (house, phone)
}

async fn comes_in(house: &House, n: u8) {
    until("the card to be known", || async { comes(house, 1, &card_code(n)).await.status == 200 }).await;
}

async fn told(house: &House) -> serde_json::Value {
    house.http("GET", "/api/v1/my-phone", Some(&bearer(1)), None).await.json()
}

async fn loses(house: &House) -> u16 {
    house.http("POST", "/api/v1/my-phone/lost-mode", Some(&bearer(1)), None).await.status
}

async fn commands(house: &House, state: &str) -> usize {
    let listed = house.get(&format!("/api/v1/commands?state={state}")).await.json();
    listed["items"].as_array().unwrap().iter().filter(|c| c["request_type"] == "EnableLostMode").count()
}

#[tokio::test]
async fn a_second_ask_while_the_phone_is_away_asks_the_vault_for_nothing_and_the_phone_gets_one_command() {
    let (house, phone) = held(30).await;
    assert_eq!(loses(&house).await, 204);
    house.clock.advance(11 * MINUTE_MS);
    assert_eq!(loses(&house).await, 204);
    assert_eq!(commands(&house, "queued").await, 1);
    assert_eq!(house.vault.lock().acted.len(), 1);
    let Answer::Warranted(w) = house.idle(&phone).await else { panic!("no command") };
    let command = rpc::command_id(&w.command).unwrap();
    // The desk's pages go by what the phone says of itself, so it is asked at once.
    let Answer::Free(asked) = house.acknowledges(&phone, command).await else { panic!("it is not asked") };
    assert_eq!(asked.query, u32::from(order::FreeQuery::DeviceInformation.number()));
    let question = rpc::command_id(&asked.command).unwrap();
    assert_eq!(house.acknowledges(&phone, question).await, Answer::Plain(200));
    // It is done: an ask is a new one, and the vault hears which one is over.
    assert_eq!(loses(&house).await, 204);
    let over = house.vault.lock().acted[1].over.clone();
    assert_eq!((over, commands(&house, "queued").await), (Some(command.0.to_vec()), 1));
    let Answer::Warranted(w) = house.idle(&phone).await else { panic!("no second command") };
    assert_ne!(rpc::command_id(&w.command).unwrap(), command);
    house.stop().await;
}

#[tokio::test]
async fn a_row_for_which_the_vault_has_another_command_is_closed_and_what_waits_behind_it_goes_out() {
    let (house, phone) = held(30).await;
    house.vault.lock().warrant_life_ms = 30_000;
    assert_eq!(loses(&house).await, 204);
    house.post("/api/v1/queries", &json!({"queries": ["SecurityInfo"], "targets": [phone.enrolment]})).await;
    // The vault acted once more, and core never heard of it.
    house.vault.lock().newest.values_mut().for_each(|c| *c = CommandId([0xee; 16]));
    assert!(matches!(house.idle(&phone).await, Answer::Free(_)), "no warrant of another command's");
    assert_eq!((commands(&house, "queued").await, commands(&house, "cancelled").await), (0, 1));
    house.stop().await;
}

#[tokio::test]
async fn a_new_card_closes_what_waits_at_the_phone_of_the_card_before() {
    let (house, phone) = held(30).await;
    assert_eq!(loses(&house).await, 204);
    assert_eq!(commands(&house, "queued").await, 1);
    let newest = HolderCode::read("2222-3333-4444-5555-6666").unwrap();
    says(&house, 46, Effect::HolderCardsMade { cards: vec![(phone.enrolment, newest.hash())] });
    until("it to be called back", || async { commands(&house, "cancelled").await == 1 }).await;
    assert_eq!(house.idle(&phone).await, Answer::Plain(200));
    house.stop().await;
}

#[tokio::test]
async fn an_answer_of_the_vaults_that_brings_no_command_is_told_as_what_it_is() {
    let (house, _) = held(30).await;
    house.vault.lock().acts_empty = true;
    assert_eq!(loses(&house).await, 503);
    assert_eq!(commands(&house, "queued").await, 0);
    house.stop().await;
}

#[tokio::test]
async fn a_core_with_an_empty_database_knows_the_newest_cards_from_the_ledger_alone() {
    let house = House::start().await;
    house.sign_in().await;
    house.invite(30).await;
    let newest = HolderCode::read("2222-3333-4444-5555-6666").unwrap();
    says(&house, 40, Effect::HolderCardsMade { cards: vec![(EnrolmentId([30; 16]), newest.hash())] });
    let vault = house.vault.clone();
    house.stop().await;
    let empty = tempfile::tempdir().unwrap();
    let house = House::start_in(empty.path().to_owned(), vault, true).await;
    let came = || async { comes(&house, 1, "2222-3333-4444-5555-6666").await.status == 200 };
    until("the newest card to be known", came).await;
    assert_eq!(comes(&house, 2, &card_code(30)).await.status, 403);
    house.stop().await;
}
