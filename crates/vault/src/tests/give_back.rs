//! What phones ask back: theirs alone, so often an hour, written before it leaves.

use super::*;
use order::{ServiceTokenSecrets, SignedWarrant};

use crate::give_back::Asked;

const TOKEN: &[u8] = b"a made-up bootstrap token";

impl House {
    fn give(&mut self, phone: EnrolmentId, asked: Asked) -> Result<(SignedWarrant, Vec<u8>), Refusal> {
        self.durable(|c| c.give_back(phone, asked))
    }

    fn bootstrap(&self, phone: EnrolmentId) -> Asked {
        Asked::Bootstrap(self.row(phone, "BootstrapToken", Compartment::Escrow, TOKEN))
    }

    /// What the door reads and checks.
    fn read(&self, phone: EnrolmentId, (signed, body): &(SignedWarrant, Vec<u8>)) -> Vec<u8> {
        let claimed: order::Warrant = decode(&signed.warrant).unwrap();
        let plain = to::open(&self.door, to::INFO_DELIVERY, claimed.digest.as_bytes(), body).unwrap();
        let answer = WarrantedAnswer {
            subject: Subject::Enrolment(phone),
            class: AnswerClass::Escrow,
            status: 200,
            command: None,
            bytes: &plain,
        };
        let now_ms = model::Clock::now_ms(&*self.clock);
        assert!(signed.verify(&self.chamber.keys.warrant.public(), now_ms, &answer).is_ok());
        plain.to_vec()
    }

    fn set_token(&mut self, key: &Ed25519Secret, service: &str, token: Option<&[u8]>) -> Option<Refusal> {
        let secrets = token.map(|t| encode(&ServiceTokenSecrets { token: t.to_vec() }));
        let kind = OrderKind::SetServiceToken { service: service.into() };
        let (signed, sealed) = self.order(key, kind, vec![], secrets.as_deref());
        self.submit(&signed, &sealed, vec![]).refusal
    }
}

#[test]
fn a_phone_gets_back_its_own_bootstrap_token_and_no_other_row_or_phones() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "Grace Example", "ward-7");
    let other = house.enrolled(&key, "Alan Example", "ward-7");
    let entries = house.chamber.state.entries;
    let asked = house.bootstrap(phone);
    let given = house.give(phone, asked).unwrap();
    let plain = house.read(phone, &given);
    assert_eq!(apple::returned::read("BootstrapToken", &plain).unwrap(), TOKEN);
    assert_eq!(house.chamber.state.entries, entries + 1, "it stands in the ledger");
    // Core hands over another phone's row, another row, the row under another name, or asks for a stranger.
    let asked = house.bootstrap(other);
    assert_eq!(house.give(phone, asked).err(), Some(Refusal::CannotOpen));
    let unlock = house.row(phone, "UnlockToken", Compartment::Escrow, b"made up");
    assert_eq!(house.give(phone, Asked::Bootstrap(unlock.clone())).err(), Some(Refusal::BadArgument));
    let renamed = SealedRow { name: "BootstrapToken".into(), ..unlock };
    assert_eq!(house.give(phone, Asked::Bootstrap(renamed)).err(), Some(Refusal::CannotOpen));
    let stranger = EnrolmentId([9; 16]);
    let asked = house.bootstrap(stranger);
    assert_eq!(house.give(stranger, asked).err(), Some(Refusal::UnknownEnrolment));
    assert_eq!(house.chamber.state.entries, entries + 1, "what is refused fills no ledger");
}

#[test]
fn so_often_an_hour_and_no_more_whatever_restarts_or_the_clock() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "Grace Example", "ward-7");
    let other = house.enrolled(&key, "Alan Example", "ward-7");
    let give = |house: &mut House, phone| {
        let asked = house.bootstrap(phone);
        house.give(phone, asked).err()
    };
    for _ in 0..12 {
        assert_eq!(give(&mut house, phone), None);
    }
    assert_eq!(give(&mut house, phone), Some(Refusal::AskedTooOften));
    assert_eq!(give(&mut house, other), None, "another phone is not held up");
    let mut house = house.restart();
    assert_eq!(give(&mut house, phone), Some(Refusal::AskedTooOften));
    house.clock.advance(-2 * HOUR_MS);
    assert_eq!(give(&mut house, phone), Some(Refusal::AskedTooOften), "a clock set back gives nothing");
    house.clock.advance(3 * HOUR_MS);
    assert_eq!(give(&mut house, phone), None);
}

#[test]
fn a_services_token_survives_a_restart_sealed_and_only_an_administrator_sets_it() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "Grace Example", "ward-7");
    let service = || Asked::Service("com.apple.maid".into());
    assert_eq!(house.give(phone, service()).err(), Some(Refusal::NoServiceToken));
    let engineer = house.person(&key, 43, Role::Engineer, None);
    let token = b"made-up-token-of-the-hospital";
    assert_eq!(house.set_token(&engineer, "com.apple.maid", Some(token)), Some(Refusal::RoleNotAllowed));
    assert_eq!(house.set_token(&key, "com apple maid", Some(token)), Some(Refusal::BadArgument));
    assert_eq!(house.set_token(&key, "com.apple.maid", Some(b"")), Some(Refusal::BadArgument));
    assert_eq!(house.set_token(&key, "com.apple.maid", None), Some(Refusal::NoServiceToken));
    assert_eq!(house.set_token(&key, "com.apple.maid", Some(token)), None);
    let mut house = house.restart();
    let given = house.give(phone, service()).unwrap();
    let plain = house.read(phone, &given);
    assert_eq!(apple::returned::read("TokenData", &plain).unwrap(), token);
    let ledger = std::fs::read(house.dir.path().join("ledger.log")).unwrap();
    assert!(!ledger.windows(token.len()).any(|w| w == token), "the ledger has it sealed");
    assert_eq!(house.set_token(&key, "com.apple.maid", None), None);
    assert_eq!(house.give(phone, service()).err(), Some(Refusal::NoServiceToken));
}
