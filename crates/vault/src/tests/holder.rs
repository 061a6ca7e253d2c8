//! Holders' cards, and what a phone's holder asks for with one.

use std::collections::BTreeMap;

use super::alarms::Pipe;
use super::*;
use model::{Clock as _, StandingTemplate};
use order::{HolderCardsAnswer, HolderCode, Warrant};
use rpc::alarm::AlarmKind;

use crate::standing::{Acted, Asking};

impl House {
    fn holders(&mut self, key: &Ed25519Secret, template: StandingTemplate, cap_an_hour: u32) -> OrderId {
        let expires_at_ms = self.clock.now_ms() + 300 * DAY_MS;
        let kind = OrderKind::MakeStanding { template, cap_an_hour, expires_at_ms };
        let (signed, sealed) = self.now(key, kind, vec![]);
        let outcome = self.submit(&signed, &sealed, vec![]);
        assert_eq!(outcome.refusal, None);
        outcome.order.unwrap()
    }

    /// An order that is made now, whatever the clock shows.
    fn now(
        &mut self,
        key: &Ed25519Secret,
        kind: OrderKind,
        targets: Vec<EnrolmentId>,
    ) -> (SignedOrder, Vec<u8>) {
        let now_ms = self.clock.now_ms();
        self.order_with(key, kind, targets, None, |o| {
            o.made_at_ms = now_ms;
            o.expires_at_ms = now_ms + DAY_MS;
        })
    }

    /// An enrolled phone with its holder's code.
    fn with_card(&mut self, key: &Ed25519Secret) -> (EnrolmentId, String) {
        let invited = self.invite(key, "Grace Example", "ward-7");
        let challenge = self.chamber.invitation_challenge(&invited.enrolment).to_string();
        self.issue(&challenge, &RsaSigner::generate().unwrap()).unwrap();
        (invited.enrolment, invited.holder_code.unwrap())
    }

    fn ask(&mut self, standing: OrderId, phone: EnrolmentId, code: &str) -> Result<Acted, Refusal> {
        self.durable(|c| c.act(&standing, &phone, &Asking { code: Some(code), over: None }, None))
    }

    /// Asks, when the phone is done with what was asked before.
    fn ask_anew(
        &mut self,
        standing: OrderId,
        (phone, code): (EnrolmentId, &str),
        before: &Acted,
    ) -> Result<Acted, Refusal> {
        let over = Some(before.command.command);
        self.durable(|c| c.act(&standing, &phone, &Asking { code: Some(code), over }, None))
    }

    fn not(&mut self, standing: OrderId, phone: EnrolmentId, code: &str) -> Refusal {
        self.ask(standing, phone, code).err().unwrap()
    }

    fn cards(&mut self, key: &Ed25519Secret, phones: Vec<EnrolmentId>) -> Result<Vec<String>, Refusal> {
        let (signed, sealed) = self.now(key, OrderKind::HolderCards, phones.clone());
        let outcome = self.submit(&signed, &sealed, vec![]);
        if let Some(refusal) = outcome.refusal {
            return Err(refusal);
        }
        let answer: HolderCardsAnswer = decode(&self.answer(&signed, &outcome)).unwrap();
        assert_eq!(answer.cards.iter().map(|c| c.enrolment).collect::<Vec<_>>(), phones);
        Ok(answer.cards.into_iter().map(|c| c.code).collect())
    }

    /// The command's dictionary, once the door has opened it.
    fn texts(&self, acted: &Acted) -> (String, BTreeMap<String, String>) {
        let (_, signed) = &acted.command.warrants[0];
        let claimed: Warrant = decode(&signed.warrant).unwrap();
        let plain = to::open(&self.door, to::INFO_DELIVERY, claimed.digest.as_bytes(), &acted.command.body);
        let (id, request_type, body) = apple::command::parse(&plain.unwrap()).unwrap();
        assert_eq!(id, acted.command.command);
        let texts = body.iter().filter_map(|(k, v)| Some((k.clone(), v.as_string()?.to_owned())));
        (request_type, texts.collect())
    }
}

#[test]
fn a_phones_holder_has_it_put_in_lost_mode_and_ring_with_the_cards_code_and_a_fixed_text() {
    let (mut house, key) = House::joined();
    let (phone, code) = house.with_card(&key);
    let lost = house.holders(&key, StandingTemplate::HolderLostMode, 10);
    let rings = house.holders(&key, StandingTemplate::HolderRings, 10);
    let now_ms = house.clock.now_ms();
    let typed = code.to_uppercase().replace('-', " ");
    let acted = house.ask(lost, phone, &typed).ok().unwrap();
    assert_eq!(acted.expires_at_ms, now_ms + 7 * DAY_MS);
    let (request_type, body) = house.texts(&acted);
    assert_eq!(request_type, "EnableLostMode");
    assert_eq!(body["Message"], "This phone is lost. It belongs to Example Hospital.");
    assert_eq!(body["PhoneNumber"], "+44 20 7946 0123");
    assert_eq!(house.chamber.warrants(&lost, &[phone]).unwrap().len(), 1);
    let rung = house.ask(rings, phone, &code).ok().unwrap();
    assert_eq!(house.texts(&rung).0, "PlayLostModeSound");
    assert_eq!(rung.expires_at_ms, now_ms + HOUR_MS);
    assert!(house.chamber.state.enrolments[&phone].renewal.is_none(), "it renews nothing");
}

#[test]
fn without_the_newest_code_of_that_very_phone_nothing_is_done_and_nothing_written() {
    let (mut house, key) = House::joined();
    let (phone, code) = house.with_card(&key);
    let (other, others) = house.with_card(&key);
    let lost = house.holders(&key, StandingTemplate::HolderLostMode, 10);
    let newest = house.cards(&key, vec![phone]).unwrap().remove(0);
    assert_ne!(newest, code);
    let entries = house.chamber.state.entries;
    let mut pipe = Pipe::of(&house);
    pipe.read();
    for wrong in [code.as_str(), &others, "", "a", "abcd-efgh-ijkm-npqr-2345", &format!("{newest}a")] {
        assert_eq!(house.not(lost, phone, wrong), Refusal::WrongHolderCode, "{wrong}");
    }
    assert_eq!(
        house.durable(|c| c.act(&lost, &phone, &Asking::default(), None)).err(),
        Some(Refusal::WrongHolderCode)
    );
    assert_eq!(house.not(lost, EnrolmentId([9; 16]), &newest), Refusal::WrongHolderCode);
    assert_eq!(house.not(lost, other, &newest), Refusal::WrongHolderCode);
    assert_eq!(house.chamber.state.entries, entries, "a flood of guesses fills no ledger");
    let told = pipe.read();
    let of = told.iter().map(|a| (a.kind, a.count, a.enrolment, a.refusal)).collect::<Vec<_>>();
    let number = Refusal::WrongHolderCode.number();
    assert_eq!(of, [(AlarmKind::ForgedOrders, 3, Some(phone), Some(number))], "and the rest as a sum");
    let mut house = house.restart();
    assert_eq!(house.not(lost, phone, &code), Refusal::WrongHolderCode, "the card before is void");
    assert!(house.ask(lost, phone, &newest).is_ok());
    assert!(house.ask(lost, other, &others).is_ok());
}

#[test]
fn the_same_ask_again_gets_the_same_command_and_spends_nothing_over_a_restart_too() {
    let (mut house, key) = House::joined();
    let (phone, code) = house.with_card(&key);
    let lost = house.holders(&key, StandingTemplate::HolderLostMode, 2);
    let rings = house.holders(&key, StandingTemplate::HolderRings, 1000);
    let first = house.ask(lost, phone, &code).ok().unwrap();
    let entries = house.chamber.state.entries;
    house.clock.advance(9 * MINUTE_MS);
    let mut house = house.restart();
    let again = house.ask(lost, phone, &code).ok().unwrap();
    assert_eq!((again.command.command, again.position), (first.command.command, first.position));
    assert_eq!(again.expires_at_ms, first.expires_at_ms);
    assert_eq!(house.texts(&again), house.texts(&first));
    assert_eq!(house.chamber.state.entries, entries);
    house.clock.advance(MINUTE_MS);
    let later = house.ask(lost, phone, &code).ok().unwrap();
    assert_ne!(later.command.command, first.command.command);
    // Ringing: a minute; one holder does not spend what there is for all.
    for n in 0..12 {
        assert!(house.ask(rings, phone, &code).is_ok(), "{n}");
        house.clock.advance(MINUTE_MS + 1);
    }
    assert_eq!(house.not(rings, phone, &code), Refusal::HolderAskedTooOften);
    house.clock.advance(HOUR_MS);
    assert!(house.ask(rings, phone, &code).is_ok());
}

#[test]
fn a_holder_who_asks_when_the_phone_is_done_gets_another_command_three_times_an_hour_and_no_more() {
    let (mut house, key) = House::joined();
    let (phone, code) = house.with_card(&key);
    let lost = house.holders(&key, StandingTemplate::HolderLostMode, 100);
    let first = house.ask(lost, phone, &code).ok().unwrap();
    let second = house.ask_anew(lost, (phone, &code), &first).ok().unwrap();
    assert_ne!(second.command.command, first.command.command);
    // The answer was lost, and core says the same once more.
    let again = house.ask_anew(lost, (phone, &code), &first).ok().unwrap();
    assert_eq!(again.command.command, second.command.command);
    let third = house.ask_anew(lost, (phone, &code), &second).ok().unwrap();
    let refused = house.ask_anew(lost, (phone, &code), &third).err();
    assert_eq!(refused, Some(Refusal::HolderAskedTooOften));
    assert_eq!(house.ask(lost, phone, &code).ok().unwrap().command.command, third.command.command);
}

#[test]
fn a_new_card_and_an_erased_holder_call_back_what_was_asked_for_and_free_nobody_to_ask_more() {
    let (mut house, key) = House::joined();
    let (phone, code) = house.with_card(&key);
    let (other, others) = house.with_card(&key);
    let lost = house.holders(&key, StandingTemplate::HolderLostMode, 100);
    let first = house.ask(lost, phone, &code).ok().unwrap();
    assert!(house.ask(lost, other, &others).is_ok());
    let newest = house.cards(&key, vec![phone]).unwrap().remove(0);
    let mut house = house.restart();
    let signed = |house: &House| house.chamber.warrants(&lost, &[phone, other]).unwrap();
    assert_eq!(signed(&house).iter().map(|w| w.0).collect::<Vec<_>>(), [other], "and no other phone's");
    let second = house.ask(lost, phone, &newest).ok().unwrap();
    assert_ne!(second.command.command, first.command.command);
    assert!(house.ask_anew(lost, (phone, &newest), &second).is_ok());
    let newest = house.cards(&key, vec![phone]).unwrap().remove(0);
    assert_eq!(house.not(lost, phone, &newest), Refusal::HolderAskedTooOften);
    let subject = model::DataSubject::Holder(other);
    let kind = OrderKind::ErasePerson { subject, despite_enrolled: true };
    let (order, sealed) = house.now(&key, kind, vec![]);
    assert_eq!(house.submit(&order, &sealed, vec![]).refusal, None);
    assert!(signed(&house).is_empty());
}

#[test]
fn a_phone_is_lost_three_times_an_hour_over_all_standing_orders_that_are_or_were() {
    let (mut house, key) = House::joined();
    let (phone, code) = house.with_card(&key);
    let one = house.holders(&key, StandingTemplate::HolderLostMode, 100);
    let two = house.holders(&key, StandingTemplate::HolderLostMode, 100);
    let rings = house.holders(&key, StandingTemplate::HolderRings, 100);
    let first = house.ask(one, phone, &code).ok().unwrap();
    assert!(house.ask_anew(one, (phone, &code), &first).is_ok());
    let (order, sealed) = house.now(&key, OrderKind::EndStanding { order: one }, vec![]);
    assert_eq!(house.submit(&order, &sealed, vec![]).refusal, None);
    let mut house = house.restart();
    let third = house.ask(two, phone, &code).ok().unwrap();
    let refused = house.ask_anew(two, (phone, &code), &third).err();
    assert_eq!(refused, Some(Refusal::HolderAskedTooOften));
    assert!(house.ask(rings, phone, &code).is_ok(), "ringing is another thing");
    house.clock.advance(HOUR_MS);
    assert!(house.ask_anew(two, (phone, &code), &third).is_ok());
}

#[test]
fn cards_and_lost_modes_of_one_person_stay_within_one_budget() {
    let (mut house, key) = House::joined();
    let desk = house.person(&key, 79, Role::ServiceDesk, None);
    let phones: Vec<_> = (0..20).map(|_| house.invite(&key, "Ada Example", "ward-7").enrolment).collect();
    let enrolled = house.enrolled(&key, "Grace Example", "ward-7");
    let loses = |house: &mut House| {
        let kind = OrderKind::Command { command: model::Command::EnableLostMode };
        let now_ms = house.clock.now_ms();
        let secrets = CommandSecrets { message: Some("Lost".into()), ..CommandSecrets::default() };
        let (signed, sealed) = house.order_with(&desk, kind, vec![enrolled], Some(&encode(&secrets)), |o| {
            o.made_at_ms = now_ms;
            o.expires_at_ms = now_ms + DAY_MS;
        });
        house.submit(&signed, &sealed, vec![]).refusal
    };
    assert!(house.cards(&desk, phones[..19].to_vec()).is_ok());
    assert_eq!(loses(&mut house), None);
    assert_eq!(house.cards(&desk, vec![phones[19]]), Err(Refusal::BudgetSpent));
    assert_eq!(loses(&mut house), Some(Refusal::BudgetSpent));
    assert!(house.cards(&key, vec![phones[19]]).is_ok(), "another one's budget");
    house.clock.advance(HOUR_MS + MINUTE_MS);
    assert!(house.cards(&desk, vec![phones[19]]).is_ok());
}

#[test]
fn holders_together_have_no_more_done_in_an_hour_than_the_cap_and_nothing_without_a_standing_order() {
    let (mut house, key) = House::joined();
    let phones: Vec<_> = (0..3).map(|_| house.with_card(&key)).collect();
    let lost = house.holders(&key, StandingTemplate::HolderLostMode, 2);
    for (phone, code) in &phones[..2] {
        assert!(house.ask(lost, *phone, code).is_ok());
    }
    let (third, code) = &phones[2];
    assert_eq!(house.not(lost, *third, code), Refusal::StandingCapReached);
    let mut house = house.restart();
    assert_eq!(house.not(lost, *third, code), Refusal::StandingCapReached);
    // Those that have been asked are asked again for nothing.
    assert!(house.ask(lost, phones[0].0, &phones[0].1).is_ok());
    house.clock.advance(HOUR_MS);
    assert!(house.ask(lost, *third, code).is_ok());
    let (signed, sealed) = house.now(&key, OrderKind::EndStanding { order: lost }, vec![]);
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, None);
    assert_eq!(house.not(lost, *third, code), Refusal::NoSuchStanding);
    assert!(house.chamber.warrants(&lost, &[*third]).is_err(), "what is not done yet is not done");
    assert_eq!(house.not(OrderId([0xee; 16]), *third, code), Refusal::NoSuchStanding);
}

#[test]
fn a_phone_that_is_not_under_management_does_nothing_for_its_holder() {
    let (mut house, key) = House::joined();
    let lost = house.holders(&key, StandingTemplate::HolderLostMode, 10);
    let invited = house.invite(&key, "Ada Example", "ward-7");
    let code = invited.holder_code.clone().unwrap();
    assert_eq!(house.not(lost, invited.enrolment, &code), Refusal::UnknownEnrolment, "it has not come yet");
    let (phone, code) = house.with_card(&key);
    let left = ledger::Body::CheckedOut { enrolment: phone };
    house.durable(|c| c.witness(vec![(left, 1)]));
    assert_eq!(house.not(lost, phone, &code), Refusal::UnknownEnrolment);
    assert_eq!(house.cards(&key, vec![phone]), Err(Refusal::UnknownEnrolment));
    let (phone, code) = house.with_card(&key);
    house.clock.advance(731 * DAY_MS);
    assert_eq!(house.not(lost, phone, &code), Refusal::NoSuchStanding, "it ran out before");
}

#[test]
fn an_order_for_cards_that_comes_again_shows_the_codes_that_are_good_alone() {
    let (mut house, key) = House::joined();
    let (one, two) = (house.with_card(&key).0, house.with_card(&key).0);
    let (signed, sealed) = house.now(&key, OrderKind::HolderCards, vec![one, two]);
    let outcome = house.submit(&signed, &sealed, vec![]);
    let first: HolderCardsAnswer = decode(&house.answer(&signed, &outcome)).unwrap();
    let mut house = house.restart();
    let again = house.submit(&signed, &sealed, vec![]);
    assert_eq!(decode::<HolderCardsAnswer>(&house.answer(&signed, &again)).unwrap(), first);
    house.cards(&key, vec![one]).unwrap();
    let again = house.submit(&signed, &sealed, vec![]);
    let left: HolderCardsAnswer = decode(&house.answer(&signed, &again)).unwrap();
    assert_eq!(left.cards, first.cards[1..]);
}

#[test]
fn an_invitation_that_comes_again_has_its_code_until_another_card_is_made() {
    let (mut house, key) = House::joined();
    let kind = OrderKind::Invite { group: Group::new("ward-7").unwrap(), valid_ms: 7 * DAY_MS };
    let secrets = encode(&InviteSecrets { name: "Ada Example".into(), email: "p@example.org".into() });
    let (signed, sealed) = house.order(&key, kind, vec![], Some(&secrets));
    let outcome = house.submit(&signed, &sealed, vec![]);
    let first: InviteAnswer = decode(&house.answer(&signed, &outcome)).unwrap();
    let again = house.submit(&signed, &sealed, vec![]);
    assert_eq!(decode::<InviteAnswer>(&house.answer(&signed, &again)).unwrap(), first);
    let code = HolderCode::read(&first.holder_code.unwrap()).unwrap();
    assert_eq!(house.chamber.state.enrolments[&first.enrolment].card, Some(code.hash()));
    house.cards(&key, vec![first.enrolment]).unwrap();
    let again = house.submit(&signed, &sealed, vec![]);
    let again: InviteAnswer = decode(&house.answer(&signed, &again)).unwrap();
    assert_eq!((again.holder_code, again.link_secret), (None, first.link_secret));
}

#[test]
fn a_breach_and_an_erased_holder_void_cards() {
    let (mut house, key) = House::joined();
    let (one, code) = house.with_card(&key);
    let (two, _) = house.with_card(&key);
    let subject = model::DataSubject::Holder(two);
    let (signed, sealed) =
        house.now(&key, OrderKind::ErasePerson { subject, despite_enrolled: true }, vec![]);
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, None);
    assert_eq!(house.chamber.state.enrolments[&two].card, None);
    assert!(house.chamber.state.enrolments[&one].card.is_some());
    house.clock.advance(1);
    let (signed, sealed) = house.now(&key, OrderKind::AssumeBreach { reissues_an_hour: 5 }, vec![]);
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, None);
    house.clock.advance(1);
    let lost = house.holders(&key, StandingTemplate::HolderLostMode, 10);
    assert_eq!(house.not(lost, one, &code), Refusal::WrongHolderCode);
    let newest = house.cards(&key, vec![one]).unwrap().remove(0);
    assert!(house.ask(lost, one, &newest).is_ok());
}

#[test]
fn a_standing_order_for_holders_has_a_low_cap_and_a_ward_manager_makes_cards_for_the_own_group_alone() {
    let (mut house, key) = House::joined();
    let expires_at_ms = NOW_MS + 300 * DAY_MS;
    for (template, most) in [(StandingTemplate::HolderLostMode, 200), (StandingTemplate::HolderRings, 1_000)]
    {
        let kind = OrderKind::MakeStanding { template, cap_an_hour: most + 1, expires_at_ms };
        let (signed, sealed) = house.order(&key, kind, vec![], None);
        assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, Some(Refusal::BadArgument));
    }
    let manager = house.person(&key, 78, Role::WardManager, Some("ward-8"));
    let (phone, _) = house.with_card(&key);
    assert_eq!(house.cards(&manager, vec![phone]), Err(Refusal::OutOfScope));
    assert_eq!(house.cards(&key, vec![]), Err(Refusal::BadArgument));
    let own = house.invite(&key, "Ada Example", "ward-8").enrolment;
    assert!(house.cards(&manager, vec![own]).is_ok());
}
