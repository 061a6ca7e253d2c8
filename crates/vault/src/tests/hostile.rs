//! What someone with a key, a link, or the whole of core tries on the vault.

use super::*;
use crate::state::State;
use ledger::{Body, RefusalCode};

/// The state as a restart would find it.
fn replayed(house: &House) -> State {
    let mut state = State::default();
    ledger::replay(house.dir.path(), |r| state.apply(&r.entry.body, r.entry.at_ms)).unwrap();
    state
}

#[test]
fn an_order_too_long_for_the_ledger_is_refused_and_the_vault_goes_on() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "A One", "ward-7");
    let manager = house.person(&key, 50, Role::WardManager, Some("ward-7"));
    let open = |bytes| OrderKind::Open { fields: vec!["x".repeat(bytes)] };
    let (signed, sealed) = house.order(&manager, open(9 << 20), vec![phone], None);
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, Some(Refusal::Unreadable));
    let (signed, sealed) = house.order(&manager, open(1000), vec![phone], None);
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, Some(Refusal::BadArgument));
    let compartments = vec![Compartment::Identity; 500_000];
    let kind = OrderKind::Grant {
        session: Digest([5; 32]),
        records: 1,
        searches: 1,
        compartments,
        valid_ms: HOUR_MS,
    };
    let (signed, sealed) = house.order(&manager, kind, vec![], None);
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, Some(Refusal::BadArgument));
    house.enrolled(&key, "B Two", "ward-7");
}

#[test]
fn an_accepted_opening_opens_nothing_newer_once_its_answer_was_lost_long_ago() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "A One", "ward-7");
    let row = house.row(phone, "PhoneNumber", Compartment::Contact, b"+447700900123");
    let kind = OrderKind::Open { fields: vec!["PhoneNumber".into()] };
    let (signed, sealed) = house.order(&key, kind, vec![phone], None);
    assert_eq!(house.submit(&signed, &sealed, vec![(phone, row.clone())]).refusal, None);
    let mut house = house.restart();
    house.clock.advance(10 * MINUTE_MS);
    let soon = house.submit(&signed, &sealed, vec![(phone, row)]);
    assert!(!soon.sealed_answer.is_empty(), "a lost answer can be had again");
    house.clock.advance(HOUR_MS);
    let newer = house.row(phone, "PhoneNumber", Compartment::Contact, b"+447700900456");
    let late = house.submit(&signed, &sealed, vec![(phone, newer)]);
    assert_eq!((late.refusal, late.position), (None, soon.position));
    assert!(late.sealed_answer.is_empty());
}

#[test]
fn whoever_has_a_link_can_not_fill_the_ledger_with_refused_requests() {
    let (mut house, key) = House::joined();
    let invited = house.invite(&key, "A One", "ward-7");
    let challenge = house.chamber.invitation_challenge(&invited.enrolment).to_string();
    let (mine, others) = (RsaSigner::generate().unwrap(), RsaSigner::generate().unwrap());
    let (_, certificate) = house.issue(&challenge, &mine).unwrap();
    let before = house.chamber.state.entries;
    for _ in 0..40 {
        assert_eq!(house.issue(&challenge, &others).err(), Some(Refusal::ChallengeReused));
    }
    assert_eq!(house.chamber.state.entries, before + 16);
    let mut house = house.restart();
    assert_eq!(house.issue(&challenge, &others).err(), Some(Refusal::ChallengeReused));
    assert_eq!(house.chamber.state.entries, before + 16, "a restart does not begin to count anew");
    assert_eq!(house.issue(&challenge, &mine).unwrap().1, certificate, "the right key still has its own");
}

#[test]
fn cores_word_is_taken_of_known_phones_and_what_they_can_repeat_only_so_often() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "A One", "ward-7");
    let mut number = 0;
    let mut say = |h: &mut House, enrolment| {
        let word = Body::PhoneRefused { enrolment, reason: RefusalCode(1001) };
        let words = (number..).take(50).map(|n| (word.clone(), n)).collect();
        number += 50;
        let before = h.chamber.state.entries;
        let position = h.durable(|c| c.witness(words));
        assert_eq!(position, h.chamber.state.entries - 1);
        h.chamber.state.entries - before
    };
    assert_eq!(say(&mut house, EnrolmentId([9; 16])), 0);
    assert_eq!(say(&mut house, phone), 50);
    assert_eq!(say(&mut house, phone), 10);
    assert_eq!(say(&mut house, phone), 0);
    house.clock.advance(HOUR_MS);
    assert_eq!(say(&mut house, phone), 50);
}

#[test]
fn an_order_is_not_parsed_for_a_role_that_may_not_sign_it() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "A One", "ward-7");
    let auditor = house.person(&key, 50, Role::Auditor, None);
    let kind = OrderKind::Command { command: Command::InstallProfile };
    let (signed, _) = house.order(&auditor, kind, vec![phone], Some(b"no arguments at all"));
    // What would not even open is not looked at.
    assert_eq!(house.submit(&signed, b"", vec![]).refusal, Some(Refusal::RoleNotAllowed));
}

#[test]
fn a_reason_that_would_steer_a_terminal_is_refused() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "A One", "ward-7");
    for reason in ["fine\u{1b}[2J", "one\nanother line", "bell\u{7}", "c1 \u{9b}2J"] {
        let kind = OrderKind::Command { command: Command::DeviceLock };
        let (signed, sealed) = house.order_with(&key, kind, vec![phone], None, |o| o.reason = reason.into());
        assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, Some(Refusal::BadReason), "{reason:?}");
    }
}

#[test]
fn a_secret_for_each_of_too_many_phones_is_refused_before_any_is_opened() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "A One", "ward-7");
    let enrolment = house.chamber.state.enrolments[&phone].clone();
    let phones: Vec<EnrolmentId> = (0..101u8).map(|n| EnrolmentId([n; 16])).collect();
    for p in &phones {
        house.chamber.state.enrolments.insert(*p, enrolment.clone());
    }
    let kind = OrderKind::Command { command: Command::ClearPasscode };
    let (signed, sealed) = house.order(&key, kind, phones, None);
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, Some(Refusal::TooManyPhones));
}

struct Broken;

impl ledger::Disk for Broken {
    fn write_at(&mut self, _: u64, _: &[u8]) -> std::io::Result<()> {
        Err(std::io::ErrorKind::StorageFull.into())
    }
    fn sync(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_order_that_the_disk_failed_is_not_decided_and_comes_again_after_a_restart() {
    let (mut house, key) = House::joined();
    let kind = OrderKind::Invite { group: Group::new("ward-7").unwrap(), valid_ms: DAY_MS };
    let secrets = encode(&InviteSecrets { name: "A One".into(), email: "p@example.org".into() });
    let (signed, sealed) = house.order(&key, kind, vec![], Some(&secrets));
    let submitted =
        Submitted { signed: encode(&signed), sealed_arguments: sealed.clone(), ..Submitted::default() };
    let elsewhere = TempDir::new().unwrap();
    house.chamber.people_keys =
        ledger::PersonKeys::load_with(elsewhere.path(), |_| Box::new(Broken)).unwrap();
    let entries = house.chamber.state.entries;
    house.chamber.tick();
    // What is decided beside it is promised to nobody: the batch fails as a whole.
    house.chamber.record(Body::CertificateRefused { enrolment: None, reason: RefusalCode(1) });
    assert_eq!(house.chamber.submit(&submitted).refusal, Some(Refusal::LedgerUnavailable));
    assert!(house.chamber.flush().is_err());
    let mut house = house.restart();
    assert_eq!(house.chamber.state.entries, entries);
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, None);
}

#[test]
fn old_orders_and_sessions_leave_memory_and_a_replay_comes_to_the_same_state() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "A One", "ward-7");
    let kind = OrderKind::Command { command: Command::DeviceLock };
    let (signed, sealed) = house.order(&key, kind, vec![phone], None);
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, None);
    let order = decode::<Order>(&signed.order).unwrap().id;
    let kind = OrderKind::Grant {
        session: Digest([5; 32]),
        records: 9,
        searches: 0,
        compartments: vec![Compartment::Identity],
        valid_ms: HOUR_MS,
    };
    let (signed, sealed) = house.order(&key, kind, vec![], None);
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, None);
    let row = house.row(phone, "DeviceName", Compartment::Identity, b"a phone");
    house.durable(|c| c.use_grant(&Digest([5; 32]), &[(phone, row)], b"")).unwrap();
    assert_eq!(replayed(&house).sessions[&Digest([5; 32])].records_left, 8);
    let finished = Body::CommandFinished { enrolment: phone, command: model::CommandId([1; 16]), status: 2 };
    for days in [20, 20] {
        let standing = &house.chamber.state;
        assert_eq!((standing.commanded[&order].targets.len(), standing.sessions.len()), (1, 1));
        house.clock.advance(days * DAY_MS);
        let first = u64::from(days == 20) * house.chamber.state.entries;
        let words = (first..).take(300).map(|n| (finished.clone(), n)).collect();
        house.durable(|c| c.witness(words));
    }
    let (now, then) = (&house.chamber.state, replayed(&house));
    for state in [now, &then] {
        assert_eq!((state.commanded[&order].targets.len(), state.sessions.len()), (0, 0));
    }
    assert_eq!(now.entries, then.entries);
    assert_eq!(house.chamber.warrants(&order, &[phone]).err(), Some(Refusal::Expired));
}
