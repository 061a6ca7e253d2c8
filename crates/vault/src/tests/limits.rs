//! Budgets, several signers, cooling-off: what one stolen key is good for.

use super::*;
use ledger::{Body, Effect};
use model::{Duty, Limit, Whose, Window};
use order::limits::Why;

/// Two administrators and some phones.
pub(super) struct Two {
    pub(super) house: House,
    pub(super) ada: Ed25519Secret,
    pub(super) ben: Ed25519Secret,
    pub(super) phones: Vec<EnrolmentId>,
}

const HOLDER: &str = "Grace Example";

pub(super) fn two(phones: usize) -> Two {
    let (mut house, ada) = House::joined();
    let ben = house.person(&ada, 60, Role::Administrator, None);
    let phones = (0..phones).map(|_| house.enrolled(&ada, HOLDER, "ward-7")).collect();
    Two { house, ada, ben, phones }
}

type Signed = (SignedOrder, Vec<u8>);

impl House {
    fn erasing(&mut self, key: &Ed25519Secret, phones: &[EnrolmentId]) -> Signed {
        let secrets = if phones.len() == 1 { holder(HOLDER) } else { CommandSecrets::default() };
        let now_ms = self.clock_ms();
        let kind = OrderKind::Command { command: erase() };
        self.order_with(key, kind, phones.to_vec(), Some(&encode(&secrets)), |o| {
            o.made_at_ms = now_ms;
            o.expires_at_ms = now_ms + 7 * DAY_MS;
        })
    }

    fn clock_ms(&self) -> i64 {
        use model::Clock;
        self.clock.now_ms()
    }

    fn setting(&mut self, key: &Ed25519Secret, limit: Limit, value: u32) -> Signed {
        let now_ms = self.clock_ms();
        self.order_with(key, OrderKind::SetLimit { limit, value }, vec![], None, |o| {
            o.made_at_ms = now_ms;
            o.expires_at_ms = now_ms + DAY_MS;
        })
    }

    fn say(&mut self, signed: &Signed) -> Outcome {
        self.submit(&signed.0, &signed.1, vec![])
    }

    /// Wipes phone by phone, each by an order of its own, until nothing more is accepted.
    fn wipe(&mut self, key: &Ed25519Secret, phones: &[EnrolmentId]) -> usize {
        let orders: Vec<Signed> = phones.iter().map(|p| self.erasing(key, &[*p])).collect();
        orders.iter().filter(|o| self.say(o).refusal.is_none()).count()
    }

    fn bodies(&self, wanted: impl Fn(&Body) -> bool) -> usize {
        let mut found = 0;
        ledger::replay(self.dir.path(), |r| found += usize::from(wanted(&r.entry.body))).unwrap();
        found
    }
}

fn id_of(signed: &Signed) -> OrderId {
    decode::<Order>(&signed.0.order).unwrap().id
}

#[test]
fn one_stolen_key_wipes_a_handful_a_day_and_every_further_try_stands_in_the_ledger() {
    let Two { mut house, ada, phones, .. } = two(20);
    assert_eq!(house.wipe(&ada, &phones[..10]), 3, "in an hour");
    house.clock.advance(2 * HOUR_MS);
    let mut house = house.restart();
    assert_eq!(house.wipe(&ada, &phones[10..]), 2, "in a day");
    assert_eq!(house.bodies(|b| matches!(b, Body::OrderHeld { duty: Duty::Erase, .. })), 15);
    house.clock.advance(25 * HOUR_MS);
    assert_eq!(house.wipe(&ada, &phones[..10]), 3, "the next day");
}

#[test]
fn all_who_sign_alone_wipe_no_more_than_the_house_may() {
    let Two { mut house, ada, ben, phones } = two(12);
    let clair = house.person_by(&[&ada, &ben], 61, Role::Engineer, None);
    let dan = house.person_by(&[&ada, &ben], 62, Role::Engineer, None);
    let mut wiped = house.wipe(&ada, &phones[..3]);
    wiped += house.wipe(&ben, &phones[3..6]);
    assert_eq!(wiped, 6);
    wiped += house.wipe(&clair, &phones[6..9]) + house.wipe(&dan, &phones[9..]);
    assert_eq!(wiped, 6, "the hour's six of the house are spent");
}

#[test]
fn another_administrators_signature_over_the_same_bytes_lifts_the_budget() {
    let Two { mut house, ada, ben, phones } = two(6);
    assert_eq!(house.wipe(&ada, &phones[..3]), 3);
    let mut fourth = house.erasing(&ada, &phones[3..4]);
    let held = house.say(&fourth);
    assert_eq!(held.refusal, Some(Refusal::NeedsSignatures));
    let Some(Why::Budget { whose, window, most, left, refills_at_ms }) = held.hold.map(|h| h.why) else {
        panic!("no budget was named")
    };
    assert_eq!((whose, window, most, left), (Whose::Person(Role::Administrator), Window::Hour, 3, 0));
    assert_eq!(refills_at_ms, Some(NOW_MS + HOUR_MS));
    // The same person's other signature is none.
    let again = (
        SignedOrder { signatures: vec![fourth.0.signatures[0].clone(); 2], ..fourth.0.clone() },
        fourth.1.clone(),
    );
    assert_eq!(house.say(&again).refusal, Some(Refusal::NeedsSignatures));
    fourth.0.add_signature(&ben);
    let approved = house.say(&fourth);
    assert_eq!((approved.refusal, approved.commands.len()), (None, 1));
    let entries = house.chamber.state.entries;
    let mut house = house.restart();
    assert_eq!(house.say(&fourth).position, approved.position);
    assert_eq!(house.chamber.state.entries, entries, "an order that comes again acts no second time");
    let report = ledger::verify(house.dir.path()).unwrap();
    assert_eq!(report.entries, entries);
}

#[test]
fn a_second_signature_by_the_same_person_by_an_engineer_or_over_other_bytes_is_none() {
    let Two { mut house, ada, ben, phones } = two(4);
    let engineer = house.person_by(&[&ada, &ben], 61, Role::Engineer, None);
    let other = house.person_by(&[&ada, &ben], 62, Role::Engineer, None);
    let mut order = house.erasing(&engineer, &phones[..2]);
    order.0.add_signature(&other);
    assert_eq!(house.say(&order).refusal, Some(Refusal::NeedsSignatures), "no administrator");
    let mut swapped = house.erasing(&ada, &phones[..2]);
    let by_ben = house.erasing(&ben, &phones[2..4]);
    swapped.0.signatures.push(by_ben.0.signatures[0].clone());
    assert_eq!(house.say(&swapped).refusal, Some(Refusal::BadSignature));
    // A second key of the same person.
    let second_key = Ed25519Secret::from_seed([63; 32]).unwrap();
    let (mut add, sealed) =
        house.order(&ada, OrderKind::AddKey { key: second_key.person_key() }, vec![], None);
    assert_eq!(house.say(&(add.clone(), sealed.clone())).refusal, Some(Refusal::NeedsSignatures));
    add.add_signature(&ben);
    assert_eq!(house.say(&(add, sealed)).refusal, None);
    let mut twice = house.erasing(&ada, &phones[..2]);
    twice.0.add_signature(&second_key);
    assert_eq!(house.say(&twice).refusal, Some(Refusal::NeedsSignatures));
    twice.0.add_signature(&ben);
    assert_eq!(house.say(&twice).refusal, None);
}

#[test]
fn what_erases_several_phones_cools_off_before_any_warrant_is_signed_over_restarts_too() {
    let Two { mut house, ada, ben, phones } = two(5);
    let mut order = house.erasing(&ada, &phones);
    assert_eq!(house.say(&order).refusal, Some(Refusal::NeedsSignatures));
    order.0.add_signature(&ben);
    let accepted = house.say(&order);
    assert_eq!((accepted.refusal, accepted.commands.len()), (None, 0));
    assert_eq!(accepted.cools_until_ms, Some(NOW_MS + HOUR_MS));
    let id = id_of(&order);
    for _ in 0..2 {
        house = house.restart();
        house.chamber.tick();
        assert_eq!(house.chamber.warrants(&id, &phones).unwrap_err(), Refusal::CoolingOff);
        let again = house.say(&order);
        assert_eq!((again.commands.len(), again.cools_until_ms), (0, Some(NOW_MS + HOUR_MS)));
        house.clock.advance(30 * MINUTE_MS - 1);
    }
    // Set back, it ends no sooner.
    house.clock.advance(-2 * HOUR_MS);
    assert_eq!(house.say(&order).commands.len(), 0);
    house.clock.advance(2 * HOUR_MS + 2);
    let done = house.say(&order);
    assert_eq!((done.cools_until_ms, done.commands.len()), (None, 1));
    assert_eq!(done.commands[0].warrants.len(), 5);
    assert_eq!(house.chamber.warrants(&id, &phones).unwrap().len(), 5);
}

#[test]
fn an_order_called_back_while_it_cools_off_leaves_nothing_done() {
    let Two { mut house, ada, ben, phones } = two(5);
    let mut order = house.erasing(&ada, &phones);
    order.0.add_signature(&ben);
    assert_eq!(house.say(&order).refusal, None);
    // One of them is enough to stop it.
    let recall = house.order(&ben, OrderKind::Recall { order: id_of(&order) }, vec![], None);
    assert_eq!(house.say(&recall).refusal, None);
    house.clock.advance(2 * HOUR_MS);
    let mut house = house.restart();
    let again = house.say(&order);
    assert_eq!((again.commands.len(), again.cools_until_ms), (0, None));
    assert_eq!(house.chamber.warrants(&id_of(&order), &phones).unwrap_err(), Refusal::NothingToRecall);
}

#[test]
fn an_order_that_would_run_out_while_it_cools_off_is_refused() {
    let Two { mut house, ada, ben, phones } = two(2);
    let kind = OrderKind::Command { command: erase() };
    let (mut signed, sealed) =
        house.order_with(&ada, kind, phones, None, |o| o.expires_at_ms = NOW_MS + HOUR_MS);
    signed.add_signature(&ben);
    assert_eq!(house.say(&(signed, sealed)).refusal, Some(Refusal::ExpiresCoolingOff));
}

#[test]
fn a_house_of_one_administrator_comes_to_two_and_never_back_to_one() {
    let (mut house, ada) = House::joined();
    let limit = Limit::Signers { duty: Duty::Erase };
    let alone = house.setting(&ada, limit, 2);
    assert_eq!(house.say(&alone).refusal, Some(Refusal::NeedsSecondAdministrator));
    let ben = house.person(&ada, 60, Role::Administrator, None);
    // From here on people take two, also over a restart.
    let mut house = house.restart();
    let new = Ed25519Secret::from_seed([61; 32]).unwrap();
    let kind = OrderKind::AddPerson { key: new.person_key(), role: Role::Administrator, group: None };
    let secrets = encode(&JoinSecrets { name: "Eve Example".into() });
    let mut third = house.order(&ada, kind, vec![], Some(&secrets));
    assert_eq!(house.say(&third).refusal, Some(Refusal::NeedsSignatures));
    let (ben_id, _) = house.chamber.state.holder_of(&ben.id()).unwrap();
    let remove = OrderKind::RemovePerson { person: ben_id };
    let by_both = |house: &mut House, kind: OrderKind| {
        let mut order = house.order(&ada, kind, vec![], None);
        order.0.add_signature(&ben);
        house.say(&order).refusal
    };
    let alone = house.order(&ada, remove.clone(), vec![], None);
    assert_eq!(house.say(&alone).refusal, Some(Refusal::TwoAdministratorsStay));
    assert_eq!(by_both(&mut house, remove.clone()), Some(Refusal::TwoAdministratorsStay));
    third.0.add_signature(&ben);
    assert_eq!(house.say(&third).refusal, None);
    let alone = house.order(&ada, remove.clone(), vec![], None);
    assert_eq!(house.say(&alone).refusal, Some(Refusal::NeedsSignatures));
    assert_eq!(by_both(&mut house, remove), None);
}

#[test]
fn a_limit_is_set_by_two_within_its_bounds_and_stands_over_a_restart() {
    let Two { mut house, ada, ben, phones } = two(8);
    let whose = Whose::Person(Role::Administrator);
    let hour = Limit::Budget { duty: Duty::Erase, whose, window: Window::Hour };
    let mut set = house.setting(&ada, hour, 1);
    assert_eq!(house.say(&set).refusal, Some(Refusal::NeedsSignatures));
    set.0.add_signature(&ben);
    assert_eq!(house.say(&set).refusal, None);
    let mut beyond = house.setting(&ada, hour, 11);
    beyond.0.add_signature(&ben);
    assert_eq!(house.say(&beyond).refusal, Some(Refusal::LimitOutOfBounds));
    let mut house = house.restart();
    assert_eq!(house.wipe(&ada, &phones), 1);
    assert_eq!(house.chamber.overview().changed, [(hour, 1)]);
    let spent = house.chamber.overview().spent;
    assert!(spent.iter().any(|r| r.duty == Duty::Erase && r.whose == Whose::House && r.hour == 1));
}

#[test]
fn a_key_that_was_taken_out_approves_nothing_any_more() {
    let Two { mut house, ada, ben, phones } = two(2);
    let clair = house.person_by(&[&ada, &ben], 61, Role::Administrator, None);
    let mut order = house.erasing(&ada, &phones);
    assert_eq!(house.say(&order).refusal, Some(Refusal::NeedsSignatures));
    let (ada_id, _) = house.chamber.state.holder_of(&ada.id()).unwrap();
    let mut remove = house.order(&ben, OrderKind::RemovePerson { person: ada_id }, vec![], None);
    remove.0.add_signature(&clair);
    assert_eq!(house.say(&remove).refusal, None);
    order.0.add_signature(&ben);
    assert_eq!(
        house.say(&order).refusal,
        Some(Refusal::UnknownSigner),
        "what the thief began is not finished"
    );
}

#[test]
fn openings_and_searches_are_paid_from_the_persons_budget_whatever_grants_there_are() {
    let Two { mut house, ada, ben, .. } = two(0);
    let manager = Ed25519Secret::from_seed([70; 32]).unwrap();
    let group = Group::new("ward-7").unwrap();
    let kind =
        OrderKind::AddPerson { key: manager.person_key(), role: Role::WardManager, group: Some(group) };
    let secrets = encode(&JoinSecrets { name: "Mary Example".into() });
    let mut add = house.order(&ada, kind, vec![], Some(&secrets));
    add.0.add_signature(&ben);
    assert_eq!(house.say(&add).refusal, None);
    let phone = house.enrolled(&ada, HOLDER, "ward-7");
    let row = (phone, house.row(phone, "DeviceName", Compartment::Identity, b"a phone"));
    let mut opened = 0;
    for n in 0..3 {
        let session = Digest([80 + n; 32]);
        let compartments = vec![Compartment::Identity];
        let kind = OrderKind::Grant { session, records: 40, searches: 0, compartments, valid_ms: HOUR_MS };
        let grant = house.order(&manager, kind, vec![], None);
        assert_eq!(house.say(&grant).refusal, None);
        for _ in 0..40 {
            let used = house.durable(|c| c.use_grant(&session, std::slice::from_ref(&row), b""));
            opened += usize::from(used.is_ok());
        }
        house = house.restart();
    }
    assert_eq!(opened, 60, "a ward manager's hour, over three grants and as many restarts");
    let open = OrderKind::Open { fields: vec!["DeviceName".into()] };
    let (signed, sealed) = house.order(&manager, open, vec![phone], None);
    let one_by_one = house.submit(&signed, &sealed, vec![row.clone()]);
    assert_eq!(one_by_one.refusal, Some(Refusal::NeedsSignatures));
    // More than a day's worth takes two to begin with, and then pays for itself.
    let session = Digest([90; 32]);
    let compartments = vec![Compartment::Identity];
    let kind = OrderKind::Grant { session, records: 300, searches: 0, compartments, valid_ms: HOUR_MS };
    let mut wide = house.order(&manager, kind, vec![], None);
    assert_eq!(house.say(&wide).refusal, Some(Refusal::NeedsSignatures));
    wide.0.add_signature(&ada);
    assert_eq!(house.say(&wide).refusal, None);
    let used = house.durable(|c| c.use_grant(&session, std::slice::from_ref(&row), b"")).unwrap();
    assert_eq!(used.records_left, 299);
}

#[test]
fn a_clock_set_back_gives_no_budget_back_also_over_a_restart() {
    let Two { mut house, ada, phones, .. } = two(12);
    assert_eq!(house.wipe(&ada, &phones[..4]), 3);
    house.clock.advance(-12 * HOUR_MS);
    assert_eq!(house.wipe(&ada, &phones[4..5]), 0);
    let mut house = house.restart();
    assert_eq!(house.wipe(&ada, &phones[4..5]), 0);
    // By years: what was spent counts as spent now.
    house.clock.advance(-400 * DAY_MS);
    let mut house = house.restart();
    assert_eq!(house.wipe(&ada, &phones[4..5]), 0);
    house.clock.advance(DAY_MS + MINUTE_MS);
    assert_eq!(house.wipe(&ada, &phones[4..10]), 3, "and it stops nobody afterwards");
}

#[test]
fn killed_between_the_ledger_and_the_answer_a_budget_is_spent_once_and_not_given_back() {
    let Two { mut house, ada, phones, .. } = two(6);
    // Lost before the write: nothing was spent, and the same order is decided as if for the first time.
    let first = house.erasing(&ada, &phones[..1]);
    let submitted =
        Submitted { signed: encode(&first.0), sealed_arguments: first.1.clone(), ..Submitted::default() };
    house.chamber.tick();
    assert_eq!(house.chamber.submit(&submitted).refusal, None);
    let mut house = house.restart();
    let spent = |h: &House| {
        let rows = h.chamber.overview().spent;
        rows.iter().find(|r| r.duty == Duty::Erase && r.whose == Whose::House).map_or(0, |r| r.hour)
    };
    assert_eq!(spent(&house), 0);
    assert_eq!(house.say(&first).refusal, None);
    // Lost after the write: the answer never left, and it is spent all the same, once.
    let mut house = house.restart();
    assert_eq!(spent(&house), 1);
    let again = house.say(&first);
    assert_eq!((again.refusal, again.commands.len()), (None, 1));
    assert_eq!(spent(&house), 1);
    // Torn at any byte: decided and spent, or neither.
    let before = std::fs::read(house.dir.path().join(ledger::FILE_NAME)).unwrap();
    let second = house.erasing(&ada, &phones[1..2]);
    assert_eq!(house.say(&second).refusal, None);
    let after = std::fs::read(house.dir.path().join(ledger::FILE_NAME)).unwrap();
    assert!(after.len() > before.len());
    for cut in (before.len()..=after.len()).step_by(37).chain([after.len()]) {
        // The head still says how far the file was acknowledged before.
        let torn = [&before[..], &after[before.len()..cut]].concat();
        std::fs::write(house.dir.path().join(ledger::FILE_NAME), torn).unwrap();
        house = house.restart();
        let decided = house.chamber.state.decided.contains_key(&id_of(&second));
        assert_eq!(spent(&house), if decided { 2 } else { 1 }, "cut at {cut} of {}", after.len());
    }
    assert_eq!(spent(&house), 2);
}

#[test]
fn a_held_order_that_an_administrator_rejects_is_refused_for_good_whoever_signs_it_then() {
    let Two { mut house, ada, ben, phones } = two(6);
    assert_eq!(house.wipe(&ada, &phones[..3]), 3);
    let mut fourth = house.erasing(&ada, &phones[3..4]);
    assert_eq!(house.say(&fourth).refusal, Some(Refusal::NeedsSignatures));
    let reject = |house: &mut House, key: &Ed25519Secret, order| {
        let (signed, sealed) = house.order(key, OrderKind::Reject { order }, vec![], None);
        house.submit(&signed, &sealed, vec![])
    };
    let clair = house.person_by(&[&ada, &ben], 61, Role::ServiceDesk, None);
    let id = id_of(&fourth);
    assert_eq!(reject(&mut house, &clair, id).refusal, Some(Refusal::RoleNotAllowed));
    assert_eq!(reject(&mut house, &ben, OrderId([200; 16])).refusal, Some(Refusal::NothingToReject));
    assert_eq!(reject(&mut house, &ben, id).refusal, None);
    fourth.0.add_signature(&ben);
    let mut house = house.restart();
    for _ in 0..2 {
        let again = house.say(&fourth);
        assert_eq!((again.refusal, again.commands.len()), (Some(Refusal::Rejected), 0));
        house = house.restart();
    }
    assert_eq!(reject(&mut house, &ben, id).refusal, Some(Refusal::NothingToReject), "it waits no more");
    let by = house.chamber.state.holder_of(&ben.id()).unwrap().0;
    let rejected = |b: &Body| matches!(b, Body::OrderAccepted { effect: Effect::Rejected { order }, person, .. } if *order == id && *person == by);
    assert_eq!(house.bodies(rejected), 1, "the ledger says who");
}
