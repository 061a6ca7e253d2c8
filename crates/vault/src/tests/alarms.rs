//! What raises an alarm, and when.

use std::fs::File;
use std::io::Read;

use rpc::alarm::{Alarm, AlarmKind, AlarmWriter, FRAME_BYTES, pipe};

use super::*;

/// The courier's end.
struct Pipe(File);

impl Pipe {
    fn of(house: &House) -> Self {
        let (read, write) = pipe().unwrap();
        house.chamber.alarms.attach(AlarmWriter::new(write));
        Self(File::from(read))
    }

    fn read(&mut self) -> Vec<Alarm> {
        let mut frame = [0; FRAME_BYTES];
        let mut out = Vec::new();
        while let Ok(FRAME_BYTES) = self.0.read(&mut frame) {
            out.push(Alarm::from_frame(&frame).unwrap());
        }
        out
    }

    fn kinds(&mut self) -> Vec<AlarmKind> {
        self.read().iter().map(|a| a.kind).collect()
    }
}

#[test]
fn people_and_keys_that_come_and_go_raise_alarms_that_name_the_order() {
    let (mut house, key) = House::joined();
    let mut pipe = Pipe::of(&house);
    assert_eq!(pipe.kinds(), [AlarmKind::PersonAdded], "the first administrator");
    let engineer = house.person(&key, 7, Role::Engineer, None);
    let added = pipe.read();
    assert_eq!(added.iter().map(|a| a.kind).collect::<Vec<_>>(), [AlarmKind::PersonAdded]);
    let person = house.chamber.state.holder_of(&order::key_id(&engineer.public())).unwrap().0;
    assert_eq!((added[0].person, added[0].order.is_some()), (Some(person), true));
    let more = Ed25519Secret::from_seed([8; 32]).unwrap();
    let (signed, sealed) = house.order(&engineer, OrderKind::AddKey { key: more.person_key() }, vec![], None);
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, None);
    let (again, sealed) = house.order(&key, OrderKind::RemovePerson { person }, vec![], None);
    assert_eq!(house.submit(&again, &sealed, vec![]).refusal, None);
    assert_eq!(pipe.kinds(), [AlarmKind::KeyAdded, AlarmKind::PersonRemoved]);
    // Told once, not at each repetition or restart.
    house.submit(&signed, &[], vec![]);
    let house = house.restart();
    assert_eq!(pipe.kinds(), []);
    assert_eq!(Pipe::of(&house).kinds(), []);
}

#[test]
fn nothing_is_told_of_before_it_is_durable_and_a_ledger_that_fails_is_an_alarm_itself() {
    let (mut house, key) = House::joined();
    let mut pipe = Pipe::of(&house);
    pipe.read();
    let kind = OrderKind::AddKey { key: Ed25519Secret::from_seed([8; 32]).unwrap().person_key() };
    let (signed, _) = house.order(&key, kind, vec![], None);
    let submitted = Submitted { signed: encode(&signed), sealed_arguments: vec![], rows: vec![] };
    house.chamber.tick();
    assert_eq!(house.chamber.submit(&submitted).refusal, None);
    assert_eq!(pipe.kinds(), []);
    let source = std::io::Error::other("a made-up fault");
    house.chamber.fail(ledger::LedgerError::Io { what: "can't write", path: "x".into(), source });
    assert!(house.chamber.flush().is_err());
    assert_eq!(pipe.kinds(), [AlarmKind::LedgerUnwritable]);
}

#[test]
fn forged_orders_spent_budgets_and_reused_challenges_raise_alarms() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "P", "ward-7");
    let other = house.enrolled(&key, "Q", "ward-7");
    let mut pipe = Pipe::of(&house);
    pipe.read();
    let stranger = Ed25519Secret::from_seed([99; 32]).unwrap();
    for _ in 0..2 {
        house.person_refused(&stranger);
        assert_eq!(pipe.read(), []);
    }
    house.person_refused(&stranger);
    let told = pipe.read();
    assert_eq!(told.iter().map(|a| (a.kind, a.count)).collect::<Vec<_>>(), [(AlarmKind::ForgedOrders, 3)]);
    let refused = house.command(&key, erase(), vec![phone, other], &holder("P")).refusal;
    assert_eq!(refused, Some(Refusal::NeedsSecondAdministrator));
    let hit = pipe.read();
    assert_eq!(hit.iter().map(|a| a.kind).collect::<Vec<_>>(), [AlarmKind::BudgetHit]);
    assert_eq!(hit[0].refusal, Some(Refusal::NeedsSecondAdministrator.number()));

    let invited = house.invite(&key, "A One", "ward-7");
    let challenge = house.chamber.keys.file.derive_key.challenge(&invited.enrolment).to_string();
    house.issue(&challenge, &RsaSigner::generate().unwrap()).unwrap();
    let again = house.issue(&challenge, &RsaSigner::generate().unwrap());
    assert_eq!(again.err(), Some(Refusal::ChallengeReused));
    let told = pipe.read();
    let of = told.iter().map(|a| (a.kind, a.enrolment)).collect::<Vec<_>>();
    assert_eq!(of, [(AlarmKind::ChallengeReused, Some(invited.enrolment))]);
}

#[test]
fn a_grant_that_is_spent_and_a_clock_that_is_set_back_raise_alarms() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "P", "ward-7");
    let session = Digest([5; 32]);
    let compartments = vec![Compartment::Identity];
    let kind = OrderKind::Grant { session, records: 1, searches: 0, compartments, valid_ms: HOUR_MS };
    let (signed, sealed) = house.order(&key, kind, vec![], None);
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, None);
    let mut pipe = Pipe::of(&house);
    pipe.read();
    let row = (phone, house.row(phone, "DeviceName", Compartment::Identity, b"a phone"));
    let rows = [row];
    assert!(house.durable(|c| c.use_grant(&session, &rows, b"")).is_ok());
    assert_eq!(pipe.kinds(), []);
    assert!(house.durable(|c| c.use_grant(&session, &rows, b"")).is_err());
    assert_eq!(pipe.kinds(), [AlarmKind::BudgetHit]);
    house.clock.advance(-12 * HOUR_MS);
    for _ in 0..3 {
        house.durable(|c| c.statement());
    }
    assert_eq!(pipe.kinds(), [AlarmKind::ClockSetBack]);
}

#[test]
fn a_restore_that_is_not_confirmed_raises_an_alarm_at_each_start() {
    let (house, _) = House::joined().0.backed_up_and_restored();
    assert_eq!(Pipe::of(&house).kinds(), [AlarmKind::RestoredUnconfirmed]);
    let house = house.restart();
    assert_eq!(Pipe::of(&house).kinds(), [AlarmKind::RestoredUnconfirmed]);
}

impl House {
    fn person_refused(&mut self, key: &Ed25519Secret) {
        let kind = OrderKind::Invite { group: Group::new("ward-7").unwrap(), valid_ms: DAY_MS };
        let (signed, sealed) = self.order(key, kind, vec![], None);
        assert_eq!(self.submit(&signed, &sealed, vec![]).refusal, Some(Refusal::UnknownSigner));
    }
}
