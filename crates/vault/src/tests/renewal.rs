//! Certificates renewed under a standing order, and the door's own.

use super::*;
use apple::profile::ReadEnrolment;
use model::{Clock as _, StandingTemplate};

use crate::server::{TLS_LIFE_MS, TLS_RENEW_BEFORE_MS};
use crate::standing::Acted;

const BEFORE_MS: i64 = 60 * DAY_MS;
const LIFE_MS: i64 = 730 * DAY_MS;

impl House {
    pub(super) fn standing(&mut self, key: &Ed25519Secret, cap_an_hour: u32) -> OrderId {
        let template = StandingTemplate::RenewCertificates { before_ms: BEFORE_MS };
        let expires_at_ms = self.clock.now_ms() + 1000 * DAY_MS;
        let kind = OrderKind::MakeStanding { template, cap_an_hour, expires_at_ms };
        let now_ms = self.clock.now_ms();
        let (signed, sealed) = self.order_with(key, kind, vec![], None, |o| {
            o.made_at_ms = now_ms;
            o.expires_at_ms = now_ms + DAY_MS;
        });
        let outcome = self.submit(&signed, &sealed, vec![]);
        assert_eq!(outcome.refusal, None);
        outcome.order.unwrap()
    }

    pub(super) fn act(&mut self, standing: OrderId, phone: EnrolmentId) -> Result<Acted, Refusal> {
        self.durable(|c| c.act(&standing, &phone, &crate::standing::Asking::default(), None))
    }

    pub(super) fn refused(&mut self, standing: OrderId, phone: EnrolmentId) -> Refusal {
        self.act(standing, phone).err().unwrap()
    }

    /// What the phone reads in the command, once the door has opened it.
    fn profile(&self, acted: &Acted) -> ReadEnrolment {
        let (phone, signed) = &acted.command.warrants[0];
        let claimed: order::Warrant = decode(&signed.warrant).unwrap();
        let plain = to::open(&self.door, to::INFO_DELIVERY, claimed.digest.as_bytes(), &acted.command.body);
        let plain = plain.unwrap();
        let answer = WarrantedAnswer {
            subject: Subject::Enrolment(*phone),
            class: AnswerClass::Command,
            status: 200,
            command: Some(acted.command.command),
            bytes: &plain,
        };
        let key = self.chamber.keys.warrant.public();
        assert!(signed.verify(&key, self.clock.now_ms(), &answer).is_ok());
        let (id, request_type, command) = apple::command::parse(&plain).unwrap();
        assert_eq!((id, request_type.as_str()), (acted.command.command, "InstallProfile"));
        let profile = command.get("Payload").and_then(|v| v.as_data()).unwrap();
        apple::profile::parse(&apple::cms::unwrap_signed(profile).unwrap()).unwrap()
    }

    fn set_clock(&self, at_ms: i64) {
        self.clock.advance(at_ms - self.clock.now_ms());
    }

    pub(super) fn near_the_end(&mut self) {
        self.set_clock(NOW_MS + LIFE_MS - BEFORE_MS + HOUR_MS);
    }
}

#[test]
fn a_certificate_is_renewed_to_a_new_key_under_the_same_enrolment_when_it_is_due_and_not_before() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "Ada Example", "ward-7");
    let standing = house.standing(&key, 10);
    assert_eq!(house.refused(standing, phone), Refusal::CertificateNotDue);
    house.near_the_end();
    let acted = house.act(standing, phone).ok().unwrap();
    let read = house.profile(&acted);
    assert_eq!(read.common_name, Some(phone.to_string()));
    assert_eq!(read.server_url, "https://mdm.example.org/mdm");
    let first = house.chamber.state.enrolments[&phone].issued.clone().unwrap();
    let (new, old) = (RsaSigner::generate().unwrap(), first.certificate);
    let (whose, certificate) = house.issue(&read.scep_challenge, &new).unwrap();
    assert_eq!(whose, phone);
    assert_ne!(certificate, old);
    let parsed = Certificate::parse(&certificate).unwrap();
    assert_eq!(parsed.common_name(), Some(phone.to_string().as_str()));
    assert_eq!(parsed.spki_der(), new.spki_der());
    // A lost reply: the same key again. Another key is refused, as is the invitation's challenge.
    assert_eq!(house.issue(&read.scep_challenge, &new).unwrap().1, certificate);
    let other = RsaSigner::generate().unwrap();
    assert_eq!(house.issue(&read.scep_challenge, &other), Err(Refusal::ChallengeReused));
    let invitation = house.chamber.invitation_challenge(&phone).to_string();
    assert_eq!(house.issue(&invitation, &other), Err(Refusal::ChallengeReused));
    // It is fresh now, and so it is not due.
    assert_eq!(house.refused(standing, phone), Refusal::CertificateNotDue);
}

#[test]
fn a_phone_that_took_a_certificate_and_never_came_with_it_is_asked_anew_later() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "Ada Example", "ward-7");
    let standing = house.standing(&key, 10);
    house.near_the_end();
    let first = house.act(standing, phone).ok().unwrap();
    let first = house.profile(&first);
    house.issue(&first.scep_challenge, &RsaSigner::generate().unwrap()).unwrap();
    assert_eq!(house.refused(standing, phone), Refusal::CertificateNotDue);
    house.clock.advance(7 * HOUR_MS);
    let again = house.act(standing, phone).ok().unwrap();
    let again = house.profile(&again);
    assert_ne!(again.scep_challenge, first.scep_challenge);
    assert!(house.issue(&again.scep_challenge, &RsaSigner::generate().unwrap()).is_ok());
    assert_eq!(house.chamber.state.enrolments[&phone].certificates, 3);
}

#[test]
fn a_standing_order_does_no_more_in_an_hour_than_its_cap_whatever_restarts_or_the_clock() {
    let (mut house, key) = House::joined();
    let phones: Vec<_> = (0..4).map(|_| house.enrolled(&key, "Ada Example", "ward-7")).collect();
    let standing = house.standing(&key, 2);
    house.near_the_end();
    assert!(house.act(standing, phones[0]).is_ok());
    assert!(house.act(standing, phones[1]).is_ok());
    assert_eq!(house.refused(standing, phones[2]), Refusal::StandingCapReached);
    let mut house = house.restart();
    assert_eq!(house.refused(standing, phones[2]), Refusal::StandingCapReached);
    house.clock.advance(-HOUR_MS);
    assert_eq!(house.refused(standing, phones[2]), Refusal::StandingCapReached);
    house.clock.advance(3 * HOUR_MS);
    assert!(house.act(standing, phones[2]).is_ok());
}

#[test]
fn a_standing_order_that_ended_or_ran_out_signs_nothing_and_its_challenge_is_refused() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "Ada Example", "ward-7");
    let standing = house.standing(&key, 10);
    house.near_the_end();
    let acted = house.act(standing, phone).ok().unwrap();
    let read = house.profile(&acted);
    assert_eq!(house.chamber.warrants(&standing, &[phone]).unwrap().len(), 1);
    let now_ms = house.clock.now_ms();
    let (signed, sealed) =
        house.order_with(&key, OrderKind::EndStanding { order: standing }, vec![], None, |o| {
            o.made_at_ms = now_ms;
            o.expires_at_ms = now_ms + DAY_MS;
        });
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, None);
    let mut house = house.restart();
    house.chamber.tick();
    assert_eq!(house.refused(standing, phone), Refusal::NoSuchStanding);
    assert_eq!(house.chamber.warrants(&standing, &[phone]).unwrap_err(), Refusal::NoSuchStanding);
    let fresh = RsaSigner::generate().unwrap();
    assert_eq!(house.issue(&read.scep_challenge, &fresh), Err(Refusal::InvitationNotOpen));
    assert_eq!(house.refused(OrderId([0xee; 16]), phone), Refusal::NoSuchStanding);
}

#[test]
fn a_certificate_that_has_run_out_is_not_renewed() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "Ada Example", "ward-7");
    let standing = house.standing(&key, 10);
    house.set_clock(NOW_MS + LIFE_MS + HOUR_MS);
    assert_eq!(house.refused(standing, phone), Refusal::CertificateRunOut);
    assert_eq!(house.refused(standing, EnrolmentId([9; 16])), Refusal::UnknownEnrolment);
}

#[test]
fn only_an_administrator_makes_a_standing_order_and_its_bounds_are_held() {
    let (mut house, key) = House::joined();
    let engineer = house.person(&key, 77, Role::Engineer, None);
    let make = |before_ms, cap_an_hour, expires_at_ms| OrderKind::MakeStanding {
        template: StandingTemplate::RenewCertificates { before_ms },
        cap_an_hour,
        expires_at_ms,
    };
    let far = NOW_MS + 900 * DAY_MS;
    for (signer, kind, refusal) in [
        (&engineer, make(BEFORE_MS, 10, far), Refusal::RoleNotAllowed),
        (&key, make(0, 10, far), Refusal::BadArgument),
        (&key, make(400 * DAY_MS, 10, far), Refusal::BadArgument),
        (&key, make(BEFORE_MS, 0, far), Refusal::BadArgument),
        (&key, make(BEFORE_MS, 20_001, far), Refusal::BadArgument),
        (&key, make(BEFORE_MS, 10, NOW_MS), Refusal::BadArgument),
        (&key, make(BEFORE_MS, 10, i64::MAX), Refusal::BadArgument),
        (&key, make(BEFORE_MS, 10, i64::MIN), Refusal::BadArgument),
        (&engineer, OrderKind::EndStanding { order: OrderId([1; 16]) }, Refusal::RoleNotAllowed),
        (&key, OrderKind::EndStanding { order: OrderId([1; 16]) }, Refusal::NoSuchStanding),
    ] {
        let (signed, sealed) = house.order(signer, kind.clone(), vec![], None);
        assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, Some(refusal), "{kind:?}");
    }
}

#[test]
fn the_doors_certificate_is_renewed_for_its_own_key_and_names_alone_and_only_when_due() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "Ada Example", "ward-7");
    let first = house.tls_certificate.clone();
    assert_eq!(house.durable(|c| c.renew_server(&first)), Err(Refusal::CertificateNotDue));
    house.set_clock(NOW_MS + TLS_LIFE_MS - TLS_RENEW_BEFORE_MS + HOUR_MS);
    let new = house.durable(|c| c.renew_server(&first)).unwrap();
    let (old, made) = (Certificate::parse(&first).unwrap(), Certificate::parse(&new).unwrap());
    assert_eq!(made.spki_der(), old.spki_der());
    assert_eq!(made.server_names(), old.server_names());
    assert!(made.not_after_ms() > old.not_after_ms());
    let entries = house.chamber.state.entries;
    assert_eq!(house.durable(|c| c.renew_server(&first)).unwrap(), new);
    assert_eq!(house.chamber.state.entries, entries, "asked again, it is not written again");
    // A certificate of another CA, a phone's, the CA's own, and no certificate at all.
    let other = House::new();
    let ca = house.chamber.keys.file.ca_certificate.clone();
    let phones = house.chamber.state.enrolments[&phone].issued.clone().unwrap().certificate;
    for foreign in [other.tls_certificate.clone(), phones, ca, b"no certificate".to_vec()] {
        let refused = house.durable(|c| c.renew_server(&foreign));
        assert_eq!(refused, Err(Refusal::BadCertificateRequest));
    }
}
