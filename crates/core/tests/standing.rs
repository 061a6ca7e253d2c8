//! Profiles that a standing order installs: who is asked, how often, and what comes between the vault's act and core's row.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod house;

use std::sync::Arc;
use std::time::Duration;

use house::House;
use house::http::order;
use house::phone::Phone;
use house::vault::{FakeVault, PROFILE_IDENTIFIER};
use ledger::{Body, Effect, Opaque};
use model::clock::{DAY_MS, HOUR_MS};
use model::{
    Command, CommandId, DeviceGroupDefinition, DeviceGroupId, DeviceGroupName, Digest, KeyId, OrderId,
    PersonId, ProfileId, StandingInstall, StandingTemplate,
};
use order::{OrderKind, Refusal};
use rpc::proto::core_reply::Answer;
use tokio::sync::Semaphore;

const PROFILE: ProfileId = ProfileId([0x77; 16]);
const GROUP: DeviceGroupId = DeviceGroupId([0x33; 16]);
const STANDING: OrderId = OrderId([60; 16]);

/// What the vault's ledger says next.
fn says(house: &House, order: OrderId, effect: Effect) {
    let body = Body::OrderAccepted {
        order,
        digest: Digest([1; 32]),
        signer: KeyId([1; 16]),
        person: PersonId([5; 16]),
        bytes: Opaque(vec![]),
        signature: Opaque(vec![]),
        effect,
        counted: None,
    };
    house.vault.append(body, vec![], vec![]);
}

/// Which phones the device group holds.
fn group_is(house: &House, phones: &[&Phone]) {
    let effect = Effect::DeviceGroupSaved {
        group: GROUP,
        name: DeviceGroupName::new("Theatre 4").unwrap(),
        definition: DeviceGroupDefinition::List,
        phones: phones.iter().map(|p| p.enrolment).collect(),
    };
    says(house, OrderId([50; 16]), effect);
}

fn stands(house: &House, n: u8) {
    let install = StandingInstall {
        profile: PROFILE,
        version: 1,
        identifier: PROFILE_IDENTIFIER.into(),
        shown: Digest([2; 32]),
        device_group: GROUP,
        name: DeviceGroupName::new("Theatre 4").unwrap(),
        home: None,
    };
    let template = StandingTemplate::InstallSaved { install: Box::new(install) };
    let effect = Effect::StandingMade { template, cap_an_hour: 100, expires_at_ms: i64::MAX };
    says(house, OrderId([n; 16]), effect);
}

/// A house with a saved profile, and these phones in a device group.
async fn house_with(phones: &[u8]) -> (House, Vec<Phone>) {
    let house = House::start().await;
    house.sign_in().await;
    house.vault.lock().acts = true;
    let save = order(51, OrderKind::SaveProfile { profile: PROFILE }, &[]);
    let saved = house.order(&save).await;
    assert_eq!(saved.status, 200, "{}", saved.body);
    let mut all = Vec::new();
    for n in phones {
        all.push(house.enrol(*n).await);
    }
    group_is(&house, &all.iter().collect::<Vec<_>>());
    (house, all)
}

/// Core dies and comes back: a round begins at once, and what ran out is noted.
async fn restarted(house: House) -> House {
    let (dir, clock, vault) = (house.copy_database(), house.clock.clone(), house.vault.clone());
    let path = dir.path().to_owned();
    // Its folder is left to the system: a house holds the one that it made.
    std::mem::forget(dir);
    house.stop().await;
    House::start_by(clock, &tokio::runtime::Handle::current(), path, vault, true).await
}

/// Waits for two rounds at most.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1_250 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never: {what}");
}

/// How often the vault was asked for that phone.
fn asked(vault: &FakeVault, phone: &Phone) -> usize {
    vault.lock().acted.iter().filter(|r| r.enrolment == phone.enrolment.0).count()
}

/// How many commands are in this state.
async fn commands(house: &House, phone: &Phone, state: &str) -> usize {
    let listed = house.get(&format!("/api/v1/commands?state={state}&enrolment={}", phone.enrolment)).await;
    let installs = |c: &&serde_json::Value| c["request_type"] == "InstallProfile";
    listed.json()["items"].as_array().unwrap().iter().filter(installs).count()
}

async fn until_commands(house: &House, phone: &Phone, state: &str, count: usize) {
    for _ in 0..1_250 {
        if commands(house, phone, state).await == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never {count} {state}");
}

/// The phone comes, and does what it is told.
async fn comes(house: &House, phone: &Phone) -> Vec<CommandId> {
    let mut done = Vec::new();
    let mut next = house.idle(phone).await;
    loop {
        let command = match next {
            Answer::Warranted(w) => {
                let command = rpc::command_id(&w.command).unwrap();
                done.push(command);
                command
            }
            Answer::Free(free) => rpc::command_id(&free.command).unwrap(),
            _ => return done,
        };
        next = house.acknowledges(phone, command).await;
    }
}

#[tokio::test]
async fn a_phone_whose_order_ran_out_is_asked_again_after_a_pause_and_one_that_was_called_back_is_not() {
    let (house, phones) = house_with(&[30, 31, 32]).await;
    let [away, called_back, comes_late] = [0, 1, 2].map(|n| phones[n].clone());
    house.vault.lock().warrant_life_ms = 30_000;
    stands(&house, 60);
    for phone in &phones {
        until_commands(&house, phone, "queued", 1).await;
    }
    // The vault has another command for the second by now: its own is called back when it comes.
    house.vault.lock().newest.insert((STANDING, called_back.enrolment), CommandId([0x99; 16]));
    assert_eq!(comes(&house, &called_back).await, []);
    assert_eq!(commands(&house, &called_back, "cancelled").await, 1);
    // A week goes by, and the vault forgets what ran out.
    house.clock.advance(7 * DAY_MS + HOUR_MS);
    house.vault.lock().newest.clear();
    house.vault.lock().act_expires_at_ms = house.now_ms() + 30 * DAY_MS;
    let house = restarted(house).await;
    until_commands(&house, &away, "expired", 1).await;
    until_commands(&house, &comes_late, "expired", 1).await;
    house.clock.advance(DAY_MS - HOUR_MS);
    let house = restarted(house).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(phones.iter().map(|p| asked(&house.vault, p)).collect::<Vec<_>>(), [1, 1, 1], "not yet");
    house.clock.advance(2 * HOUR_MS);
    let house = restarted(house).await;
    until_commands(&house, &away, "queued", 1).await;
    until_commands(&house, &comes_late, "queued", 1).await;
    assert_eq!(comes(&house, &comes_late).await.len(), 1);
    // Another standing order is another word of a person's: it asks the one that was called back, and nobody twice.
    house.vault.lock().at_ms = house.now_ms();
    stands(&house, 61);
    until_commands(&house, &called_back, "queued", 1).await;
    assert_eq!(phones.iter().map(|p| asked(&house.vault, p)).collect::<Vec<_>>(), [2, 2, 2]);
    house.stop().await;
}

#[tokio::test]
async fn a_cap_that_is_spent_leaves_the_others_for_later_and_nobody_gets_it_twice() {
    let (house, phones) = house_with(&[30, 31, 32]).await;
    house.vault.lock().acts_left = 2;
    stands(&house, 60);
    until("the third to be refused", || asked(&house.vault, &phones[2]) > 0).await;
    let first = [comes(&house, &phones[0]).await, comes(&house, &phones[1]).await];
    assert_eq!(first.map(|c| c.len()), [1, 1]);
    assert_eq!(comes(&house, &phones[2]).await, []);
    house.vault.lock().acts_left = 5;
    until_commands(&house, &phones[2], "queued", 1).await;
    assert_eq!((asked(&house.vault, &phones[0]), asked(&house.vault, &phones[1])), (1, 1));
    assert_eq!(house.vault.lock().acts_left, 4);
    house.stop().await;
}

#[tokio::test]
async fn an_act_that_core_never_heard_of_is_the_same_command_when_it_asks_again() {
    let (house, phones) = house_with(&[30, 31]).await;
    house.vault.lock().acts_lost = 1;
    house.vault.lock().acts_left = 2;
    stands(&house, 60);
    until("the vault to have acted", || house.vault.lock().newest.len() == 1).await;
    let made = house.vault.lock().newest[&(STANDING, phones[0].enrolment)];
    // Core dies amid the round.
    let house = restarted(house).await;
    for phone in &phones {
        until_commands(&house, phone, "queued", 1).await;
    }
    assert_eq!(house.vault.lock().acts_left, 0, "the one that was lost is not paid for twice");
    assert_eq!(comes(&house, &phones[0]).await, [made]);
    assert_eq!(comes(&house, &phones[1]).await.len(), 1);
    assert_eq!(comes(&house, &phones[0]).await, []);
    house.stop().await;
}

/// A house whose vault has acted for one phone and has not said so yet.
async fn amid_a_round() -> (House, Phone, Arc<Semaphore>) {
    let (house, mut phones) = house_with(&[30]).await;
    let gate = Arc::new(Semaphore::new(0));
    house.vault.lock().gate = Some(gate.clone());
    stands(&house, 60);
    until("the vault to be asked", || house.vault.lock().acted.len() == 1).await;
    (house, phones.pop().unwrap(), gate)
}

/// The vault's answer comes now: nothing of it waits for the phone.
async fn is_given_nothing(house: House, phone: &Phone, gate: &Semaphore) {
    gate.add_permits(100);
    until_commands(&house, phone, "cancelled", 1).await;
    assert_eq!(commands(&house, phone, "queued").await, 0);
    house.stop().await;
}

#[tokio::test]
async fn who_was_told_to_be_without_it_meanwhile_is_not_given_it() {
    let (house, phone, gate) = amid_a_round().await;
    let identifier = PROFILE_IDENTIFIER.to_owned();
    let remove = OrderKind::Command { command: Command::RemoveProfile { identifier } };
    assert_eq!(house.order(&order(52, remove, &[phone.enrolment])).await.status, 200);
    is_given_nothing(house, &phone, &gate).await;
}

#[tokio::test]
async fn who_left_the_device_group_meanwhile_is_not_given_it() {
    let (house, phone, gate) = amid_a_round().await;
    group_is(&house, &[]);
    followed(&house).await;
    is_given_nothing(house, &phone, &gate).await;
}

#[tokio::test]
async fn a_standing_order_or_a_device_group_that_ended_meanwhile_gives_nobody_anything() {
    for effect in [Effect::StandingEnded { order: STANDING }, Effect::DeviceGroupEnded { group: GROUP }] {
        let (house, phone, gate) = amid_a_round().await;
        says(&house, OrderId([53; 16]), effect);
        followed(&house).await;
        is_given_nothing(house, &phone, &gate).await;
    }
}

/// Core has applied all that the vault's ledger says.
async fn followed(house: &House) {
    for _ in 0..500 {
        let health = house.get("/api/v1/health").await.json();
        if health["ledger_followed"].as_u64() == Some(house.vault.lock().items.len() as u64) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never: the ledger to be followed");
}

async fn rests(house: &House) -> serde_json::Value {
    let listed = house.get("/api/v1/standing").await.json();
    listed["items"].as_array().unwrap().iter().find(|s| s["order"] == STANDING.to_string()).unwrap()["rests"]
        .clone()
}

async fn warned(house: &House) -> bool {
    house.get("/api/v1/health").await.body.contains("1 standing order(s) that install a profile do nothing")
}

#[tokio::test]
async fn a_standing_order_that_does_nothing_says_why_and_so_does_the_health_page() {
    let (house, phones) = house_with(&[30]).await;
    house.vault.lock().installs_not = Some(Refusal::ShownOtherwise);
    stands(&house, 60);
    until("the vault to have refused", || asked(&house.vault, &phones[0]) > 0).await;
    house::until("it to be told", || async { rests(&house).await == "judged_otherwise" }).await;
    assert!(warned(&house).await);
    // A cap that is spent is no rest.
    house.vault.lock().installs_not = None;
    until_commands(&house, &phones[0], "queued", 1).await;
    assert_eq!((rests(&house).await, warned(&house).await), (serde_json::Value::Null, false));
    says(&house, OrderId([53; 16]), Effect::DeviceGroupEnded { group: GROUP });
    followed(&house).await;
    assert_eq!((rests(&house).await, warned(&house).await), ("device_group_ended".into(), true));
    says(&house, OrderId([54; 16]), Effect::ProfileEnded { profile: PROFILE });
    followed(&house).await;
    assert_eq!(rests(&house).await, "profile_ended");
    // Ended, it does not rest: it is over.
    says(&house, OrderId([55; 16]), Effect::StandingEnded { order: STANDING });
    followed(&house).await;
    assert_eq!((rests(&house).await, warned(&house).await), (serde_json::Value::Null, false));
    house.stop().await;
}
