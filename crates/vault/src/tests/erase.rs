//! Erasing people: what stays, what goes, and what a crash in between leaves.

use super::*;
use ledger::{FileLedger, KEYS_FILE_NAME, PersonKeys};
use model::{DataSubject, PersonId};

fn erase(house: &mut House, key: &Ed25519Secret, subject: DataSubject, despite: bool) -> Option<Refusal> {
    let kind = OrderKind::ErasePerson { subject, despite_enrolled: despite };
    let (signed, sealed) = house.order(key, kind, vec![], None);
    house.submit(&signed, &sealed, vec![]).refusal
}

/// What the ledger keeps of the holder opens.
fn opens(house: &House, phone: EnrolmentId) -> bool {
    let holder = &house.chamber.state.enrolments[&phone].holder;
    house.chamber.people_keys.open(phone.into(), holder).is_ok()
}

#[test]
fn a_holder_is_erased_for_good_once_the_phone_left_and_the_ledger_still_verifies() {
    let (mut house, key) = House::joined();
    let (phone, other) =
        (house.enrolled(&key, "Grace Example", "ward-7"), house.enrolled(&key, "Ben Example", "ward-7"));
    let subject = DataSubject::Holder(phone);
    assert_eq!(erase(&mut house, &key, subject, false), Some(Refusal::StillEnrolled));
    assert!(opens(&house, phone));
    house.durable(|c| c.witness(vec![(ledger::Body::CheckedOut { enrolment: phone }, 1)]));
    let before = house.chamber.state.entries;
    assert_eq!(erase(&mut house, &key, subject, false), None);
    assert_eq!(house.chamber.state.entries, before + 1);
    assert!(!opens(&house, phone) && opens(&house, other));
    assert_eq!(erase(&mut house, &key, subject, false), Some(Refusal::NothingToErase));
    let mut house = house.restart();
    assert!(!opens(&house, phone) && opens(&house, other));
    let report = ledger::verify(house.dir.path()).unwrap();
    assert_eq!(report.entries, house.chamber.state.entries);
    let file = std::fs::read(house.dir.path().join(ledger::FILE_NAME)).unwrap();
    assert!(!file.windows(5).any(|w| w == b"Grace"));
    // What core would be handed again of that invitation is nothing.
    let invited = FileLedger::reader(&house.chamber.ledger).read_from(0).unwrap();
    let rows: Vec<_> = invited.map(|r| house.chamber.personal_rows(&r.unwrap().entry.body).0.len()).collect();
    assert_eq!(rows.iter().filter(|n| **n > 0).count(), 1);
}

#[test]
fn a_phone_under_management_keeps_its_holder_unless_the_order_says_so() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "Grace Example", "ward-7");
    assert_eq!(erase(&mut house, &key, DataSubject::Holder(phone), true), None);
    assert!(!opens(&house, phone));
    let refused = house.command(&key, super::erase(), vec![phone], &holder("Grace Example"));
    assert!(refused.refusal.is_some(), "nobody knows the name any more");
}

#[test]
fn only_an_administrator_erases_and_no_one_who_still_signs() {
    let (mut house, key) = House::joined();
    let engineer = house.person(&key, 50, Role::Engineer, None);
    let phone = house.enrolled(&key, "Grace Example", "ward-7");
    let person = house.chamber.state.keys[&engineer.id()].person;
    let whose = DataSubject::Person(person);
    assert_eq!(erase(&mut house, &engineer, DataSubject::Holder(phone), true), Some(Refusal::RoleNotAllowed));
    assert_eq!(erase(&mut house, &key, whose, false), Some(Refusal::PersonStillHere));
    let (signed, sealed) = house.order(&key, OrderKind::RemovePerson { person }, vec![], None);
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, None);
    assert_eq!(erase(&mut house, &key, whose, false), None);
    let unknown = DataSubject::Person(PersonId([9; 16]));
    assert_eq!(erase(&mut house, &key, unknown, false), Some(Refusal::NothingToErase));
}

#[test]
fn an_erasure_that_a_crash_cut_off_after_the_ledger_is_done_at_the_next_start() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "Grace Example", "ward-7");
    let before = std::fs::read(house.dir.path().join(KEYS_FILE_NAME)).unwrap();
    assert_eq!(erase(&mut house, &key, DataSubject::Holder(phone), true), None);
    let House { dir, clock, chamber, reader, door, token, answers, tls_certificate, next } = house;
    drop(chamber);
    // As if the vault had died between the two: the entry is there, and so is the key.
    std::fs::write(dir.path().join(KEYS_FILE_NAME), &before).unwrap();
    let chamber = Chamber::open(dir.path(), config(&dir), Arc::new(clock.clone())).unwrap();
    let house = House { dir, clock, chamber, reader, door, token, answers, tls_certificate, next };
    assert!(!opens(&house, phone));
    let dir = house.dir.path().to_owned();
    let sealed = house.chamber.state.enrolments[&phone].holder.clone();
    drop(house.chamber);
    let keys = PersonKeys::load(&dir).unwrap();
    assert!(matches!(keys.open(phone.into(), &sealed), Err(ledger::LedgerError::Erased)));
}
