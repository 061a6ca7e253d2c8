//! What raises an alarm, and when.

use std::fs::File;
use std::io::Read;

use rpc::alarm::{Alarm, AlarmKind, AlarmWriter, FRAME_BYTES, pipe};

use super::*;

/// The courier's end.
pub(super) struct Pipe(File);

impl Pipe {
    pub(super) fn of(house: &House) -> Self {
        let (read, write) = pipe().unwrap();
        house.chamber.alarms.attach(AlarmWriter::new(write));
        Self(File::from(read))
    }

    pub(super) fn read(&mut self) -> Vec<Alarm> {
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
    let submitted = Submitted { signed: encode(&signed), ..Submitted::default() };
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
    let challenge = house.chamber.invitation_challenge(&invited.enrolment).to_string();
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
fn a_ledger_that_ended_in_a_torn_entry_raises_an_alarm_at_the_start() {
    use std::io::Write;
    let (house, _) = House::joined();
    let path = house.dir.path().join(ledger::FILE_NAME);
    std::fs::File::options().append(true).open(path).unwrap().write_all(b"MLB1 torn").unwrap();
    let house = house.restart();
    assert_eq!(Pipe::of(&house).kinds(), [AlarmKind::LedgerCut]);
    // It is cut off, and the next start finds nothing.
    assert_eq!(Pipe::of(&house.restart()).kinds(), []);
}

#[test]
fn words_of_one_phone_beyond_the_cap_raise_one_alarm_that_names_it() {
    let (mut house, key) = House::joined();
    let phones = ["P", "Q"].map(|name| house.enrolled(&key, name, "ward-7"));
    let mut pipe = Pipe::of(&house);
    pipe.read();
    let mut number = 0;
    let mut told = Vec::new();
    for _ in 0..400 {
        number += 1;
        let word = (ledger::Body::TokenUpdated { enrolment: phones[0] }, number);
        house.durable(|c| c.witness(vec![word]));
        told.extend(pipe.read());
    }
    let of: Vec<_> = told.iter().map(|a| (a.kind, a.enrolment)).collect();
    assert_eq!(of, [(AlarmKind::WordsCapped, Some(phones[0]))]);
    let word = (ledger::Body::TokenUpdated { enrolment: phones[1] }, number + 1);
    house.durable(|c| c.witness(vec![word]));
    assert_eq!(pipe.kinds(), [], "another phone has said little");
}

#[test]
fn a_standing_order_whose_cap_is_hit_raises_an_alarm_once_an_hour() {
    let (mut house, key) = House::joined();
    let phones: Vec<_> = (0..3).map(|_| house.enrolled(&key, "P", "ward-7")).collect();
    let standing = house.standing(&key, 1);
    house.near_the_end();
    assert!(house.act(standing, phones[0]).is_ok());
    let mut pipe = Pipe::of(&house);
    pipe.read();
    for phone in &phones[1..] {
        assert_eq!(house.refused(standing, *phone), Refusal::StandingCapReached);
    }
    let told = pipe.read();
    let of: Vec<_> = told.iter().map(|a| (a.kind, a.order, a.refusal)).collect();
    let cap = Refusal::StandingCapReached.number();
    assert_eq!(of, [(AlarmKind::BudgetHit, Some(standing), Some(cap))]);
    house.clock.advance(HOUR_MS);
    assert!(house.act(standing, phones[1]).is_ok());
    assert_eq!(house.refused(standing, phones[2]), Refusal::StandingCapReached);
    assert_eq!(pipe.kinds(), [AlarmKind::BudgetHit]);
}

#[test]
fn a_changed_limit_and_a_changed_standing_order_raise_alarms_that_name_who_changed_them() {
    let (mut house, ada) = House::joined();
    let ben = house.person(&ada, 43, Role::Administrator, None);
    let mut pipe = Pipe::of(&house);
    pipe.read();
    let limit = model::Limit::CoolingOff { duty: model::Duty::Erase };
    let (mut signed, sealed) = house.order(&ada, OrderKind::SetLimit { limit, value: 7200 }, vec![], None);
    signed.add_signature(&ben);
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, None);
    let template = model::StandingTemplate::RenewCertificates { before_ms: 60 * DAY_MS };
    let kind = OrderKind::MakeStanding { template, cap_an_hour: 5, expires_at_ms: NOW_MS + 30 * DAY_MS };
    let (mut signed, sealed) = house.order(&ada, kind, vec![], None);
    signed.add_signature(&ben);
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, None);
    let who = house.chamber.state.holder_of(&ada.id()).unwrap().0;
    let told: Vec<_> = pipe.read().iter().map(|a| (a.kind, a.person)).collect();
    assert_eq!(told, [(AlarmKind::LimitChanged, Some(who)), (AlarmKind::StandingChanged, Some(who))]);
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
