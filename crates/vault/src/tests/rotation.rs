//! Keys made anew by order, rows sealed again, older keys destroyed; and a breach that is assumed.

use super::*;
use apple::x509::P256Signer;
use ledger::Body;
use model::{Clock as _, KeyName, StandingTemplate};
use order::ServiceTokenSecrets;
use rpc::proto::ResealAnswer;

pub(super) const LATER_MS: i64 = MINUTE_MS;

impl House {
    pub(super) fn now_order(&mut self, key: &Ed25519Secret, kind: OrderKind) -> (SignedOrder, Vec<u8>) {
        let now_ms = self.clock.now_ms();
        self.order_with(key, kind, vec![], None, |o| {
            o.made_at_ms = now_ms;
            o.expires_at_ms = now_ms + DAY_MS;
        })
    }

    pub(super) fn rotate(&mut self, key: &Ed25519Secret, keys: &[KeyName]) -> Outcome {
        let kind = OrderKind::RotateKeys { keys: keys.to_vec() };
        let (signed, sealed) = self.now_order(key, kind);
        self.submit(&signed, &sealed, vec![])
    }

    pub(super) fn assume_breach(&mut self, key: &Ed25519Secret) -> Outcome {
        let (signed, sealed) = self.now_order(key, OrderKind::AssumeBreach { reissues_an_hour: 100 });
        self.submit(&signed, &sealed, vec![])
    }

    fn reseal(&mut self, phone: EnrolmentId, rows: &[SealedRow]) -> Result<ResealAnswer, Refusal> {
        let rows: Vec<_> = rows.iter().map(|r| (phone, r.clone())).collect();
        self.durable(|c| c.reseal(&rows))
    }

    pub(super) fn nothing_left(&mut self, key: KeyName) -> Result<(), Refusal> {
        let before = self.chamber.state.rotations.old(key).unwrap().before;
        self.durable(|c| c.nothing_left(key, before))
    }

    fn opens(&mut self, phone: EnrolmentId, row: &SealedRow) -> bool {
        self.chamber.opener.open(&phone, row).is_ok()
    }

    fn served(&mut self) -> u32 {
        let signed = self.durable(Chamber::statement);
        let root = self.chamber.keys.root.public();
        signed.verify(&root, self.clock.now_ms(), 0).unwrap().epoch
    }
}

impl House {
    /// What a room would answer when it is asked for its new key.
    pub(super) fn room_makes(&mut self, key: KeyName, public: impl Into<Vec<u8>>) -> u32 {
        let public: Vec<u8> = public.into();
        let awaited = self.chamber.state.rotations.awaited();
        let number = awaited.iter().find(|(k, _)| *k == key).unwrap().1;
        self.durable(|c| c.room_key_made(key, number, public));
        number
    }

    pub(super) fn statement(&mut self) -> order::TrustedStatement {
        let signed = self.durable(Chamber::statement);
        let root = self.chamber.keys.root.public();
        signed.verify(&root, self.clock.now_ms(), 0).unwrap()
    }
}

fn resealed(answer: ResealAnswer) -> Vec<SealedRow> {
    answer.rows.into_iter().map(|r| rpc::row_from(r.row.unwrap()).unwrap()).collect()
}

#[test]
fn a_rotated_compartments_rows_are_sealed_again_and_then_the_older_key_is_gone_for_good() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "Grace Example", "ward-7");
    let number = house.row(phone, "PhoneNumber", Compartment::Contact, b"+447700900123");
    let imei = house.row(phone, "IMEI", Compartment::Hardware, b"490154203237518");
    let before = house.chamber.keys.file.compartments[1].key.secret_bytes().to_vec();
    assert_eq!(house.served(), 1);
    assert_eq!(house.rotate(&key, &[KeyName::Contact]).refusal, None);
    assert_eq!(house.served(), 2);
    // Both epochs open; what is sealed from now on is of the new one.
    let fresh = house.row(phone, "PhoneNumber", Compartment::Contact, b"+447700900124");
    assert_eq!(seal::epoch_of(&fresh.wrapped_key), Some(2));
    assert!(house.opens(phone, &number) && house.opens(phone, &fresh) && house.opens(phone, &imei));
    let answer = house.reseal(phone, &[number.clone(), imei.clone(), fresh.clone()]).unwrap();
    assert_eq!(answer.rows.iter().map(|r| r.at).collect::<Vec<_>>(), [0], "only what is under the older key");
    let again = resealed(answer).remove(0);
    assert_eq!(house.chamber.opener.open(&phone, &again).unwrap().as_slice(), b"+447700900123");
    assert_eq!(house.nothing_left(KeyName::Contact), Err(Refusal::OldKeyStillNeeded), "too soon");
    house.clock.advance(LATER_MS);
    assert_eq!(house.nothing_left(KeyName::Contact), Ok(()));
    assert!(!house.opens(phone, &number) && house.opens(phone, &again) && house.opens(phone, &imei));
    let file = std::fs::read(house.dir.path().join("keys.cbor")).unwrap();
    assert!(!file.windows(32).any(|w| w == before), "the older key is in no file");
    let mut house = house.restart();
    assert!(!house.opens(phone, &number) && house.opens(phone, &again) && house.opens(phone, &imei));
    assert_eq!(house.served(), 2);
}

#[test]
fn every_key_rotates_and_the_house_goes_on() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "Grace Example", "ward-7");
    let row = house.row(phone, "PhoneNumber", Compartment::Contact, b"+447700900123");
    let secrets = encode(&ServiceTokenSecrets { token: b"made up".to_vec() });
    let service = || "com.apple.maid".to_owned();
    let (signed, sealed) =
        house.order(&key, OrderKind::SetServiceToken { service: service() }, vec![], Some(&secrets));
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, None);
    let warrant_before = house.chamber.keys.warrant.public();
    // Made before the rotation, submitted after it.
    let lock = OrderKind::Command { command: Command::DeviceLock };
    let secrets = encode(&CommandSecrets { message: Some("call the desk".into()), ..Default::default() });
    let early = house.order(&key, lock, vec![phone], Some(&secrets));
    let all: Vec<KeyName> = KeyName::rotatable().filter(|k| k.made_by().is_none()).collect();
    assert_eq!(house.rotate(&key, &all).refusal, None);
    assert_ne!(house.chamber.keys.warrant.public(), warrant_before);
    assert_eq!(house.submit(&early.0, &early.1, vec![]).refusal, None, "an order sealed to the older key");
    house.durable(Chamber::keep_keys);
    let token = house.chamber.state.service_tokens[&service()].clone();
    let newest = &house.chamber.keys.file.order_key;
    assert!(to::open(newest, to::INFO_SERVICE_TOKEN, service().as_bytes(), &token.0).is_ok());
    let again = resealed(house.reseal(phone, std::slice::from_ref(&row)).unwrap()).remove(0);
    house.clock.advance(LATER_MS);
    for name in KeyName::ALL
        .iter()
        .filter(|k| k.compartment().is_some() && k.made_by().is_none())
        .chain(&[KeyName::Index])
    {
        assert_eq!(house.nothing_left(*name), Ok(()), "{}", name.name());
    }
    assert!(!house.opens(phone, &row) && house.opens(phone, &again));
    assert!(house.chamber.keys.file.retired.as_ref().unwrap().senders.is_empty());
    // The key of orders goes when every order that was sealed to it has run out.
    assert_eq!(house.chamber.keys.order_keys().count(), 2);
    house.clock.advance(31 * DAY_MS);
    house.durable(Chamber::keep_keys);
    assert_eq!(house.chamber.keys.order_keys().count(), 1);
    assert_eq!(house.submit(&early.0, &early.1, vec![]).refusal, None, "its recorded outcome");
    let mut house = house.restart();
    assert!(house.opens(phone, &again));
    let told = house.durable(|c| c.give_back(phone, crate::give_back::Asked::Service(service())));
    assert!(told.is_ok());
}

#[test]
fn a_rotation_whose_files_were_not_written_is_done_at_the_next_start() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "Grace Example", "ward-7");
    let row = house.row(phone, "PhoneNumber", Compartment::Contact, b"+447700900123");
    let file = house.dir.path().join("keys.cbor");
    let before = std::fs::read(&file).unwrap();
    assert_eq!(house.rotate(&key, &[KeyName::Contact, KeyName::Warrant]).refusal, None);
    // The ledger has it, the key file is as it was: killed between the two.
    std::fs::write(&file, &before).unwrap();
    let mut house = house.restart();
    assert_eq!(house.served(), 2);
    assert!(house.opens(phone, &row));
    // The same at the end: the ledger says that the older key is destroyed, and it still stands in the file.
    house.clock.advance(LATER_MS);
    let both = std::fs::read(&file).unwrap();
    assert_eq!(house.nothing_left(KeyName::Contact), Ok(()));
    std::fs::write(&file, &both).unwrap();
    let mut house = house.restart();
    assert!(!house.opens(phone, &row));
    assert!(std::fs::read(&file).unwrap().len() < both.len());
}

#[test]
fn the_vault_stops_when_new_keys_can_not_be_written_and_nobody_was_told() {
    let (mut house, key) = House::joined();
    // A folder in the way of the temporary file, as a full disk would be.
    std::fs::create_dir(house.dir.path().join(".keys.cbor.new")).unwrap();
    let (signed, _) = house.now_order(&key, OrderKind::RotateKeys { keys: vec![KeyName::Index] });
    let submitted = Submitted { signed: encode(&signed), ..Submitted::default() };
    house.chamber.tick();
    house.chamber.submit(&submitted);
    assert!(house.chamber.flush().is_err());
    std::fs::remove_dir(house.dir.path().join(".keys.cbor.new")).unwrap();
    let mut house = house.restart();
    assert_eq!(house.served(), 2);
}

#[test]
fn a_ledger_from_before_a_rotation_destroys_no_key_and_the_next_epoch_is_a_new_one() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "Grace Example", "ward-7");
    let row = house.row(phone, "PhoneNumber", Compartment::Contact, b"+447700900123");
    let log = house.dir.path().join(ledger::FILE_NAME);
    let older = std::fs::read(&log).unwrap();
    assert_eq!(house.rotate(&key, &[KeyName::Contact]).refusal, None);
    let fresh = house.row(phone, "PhoneNumber", Compartment::Contact, b"+447700900124");
    let House { dir, clock, chamber, reader, door, token, answers, tls_certificate, next } = house;
    drop(chamber);
    std::fs::write(&log, &older).unwrap();
    let _ = std::fs::remove_dir_all(dir.path().join(ledger::TREE_DIR));
    let chamber = Chamber::open(dir.path(), config(&dir), Arc::new(clock.clone())).unwrap();
    let mut house = House { dir, clock, chamber, reader, door, token, answers, tls_certificate, next };
    assert!(house.opens(phone, &row) && house.opens(phone, &fresh));
    assert_eq!(house.rotate(&key, &[KeyName::Hardware]).refusal, None);
    assert_eq!(house.served(), 3);
    assert!(house.opens(phone, &row) && house.opens(phone, &fresh));
}

#[test]
fn sealing_again_opens_nothing_to_core_takes_no_forgery_and_stands_in_the_ledger() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "Grace Example", "ward-7");
    let other = house.enrolled(&key, "Mary Example", "ward-7");
    let row = house.row(phone, "PhoneNumber", Compartment::Contact, b"+447700900123");
    assert!(
        resealed(house.reseal(phone, std::slice::from_ref(&row)).unwrap()).is_empty(),
        "nothing was rotated"
    );
    assert_eq!(house.rotate(&key, &[KeyName::Contact]).refusal, None);
    let entries = house.chamber.state.entries;
    let core = KeyPairSecret::generate(&SystemRandom::new()).unwrap();
    let publics = vec![CompartmentPublic { epoch: 1, ..house.chamber.keys.file.compartments[1].public() }];
    let mut sealer = Sealer::new(core, publics);
    let forged = sealer
        .seal(
            &SystemRandom::new(),
            0,
            &phone,
            "PhoneNumber",
            Compartment::Contact,
            b"+447700900999",
            String::new(),
            vec![],
        )
        .unwrap();
    let moved = house.reseal(other, std::slice::from_ref(&row)).unwrap();
    assert_eq!((moved.rows.len(), moved.lost), (0, vec![0]), "a row of another phone");
    let by_core = house.reseal(phone, &[forged]).unwrap();
    assert_eq!((by_core.rows.len(), by_core.lost), (0, vec![0]), "of this phone, by who may not seal");
    let answer = house.reseal(phone, &[row]).unwrap();
    let mut written = Vec::new();
    ledger::replay(house.dir.path(), |entry| {
        if let (true, Body::Resealed { rows }) = (entry.position.index >= entries, &entry.entry.body) {
            written.push(*rows);
        }
    })
    .unwrap();
    assert_eq!(written, [1, 1, 1], "what was tried counts, whether it opened or not");
    let bytes = resealed(answer).remove(0);
    assert!(![bytes.ciphertext, bytes.wrapped_key].concat().windows(7).any(|w| w == b"7700900"));
}

#[test]
fn no_more_is_sealed_again_in_an_hour_than_the_cap() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "Grace Example", "ward-7");
    let row = house.row(phone, "PhoneNumber", Compartment::Contact, b"+447700900123");
    assert_eq!(house.rotate(&key, &[KeyName::Contact]).refusal, None);
    house.durable(|c| c.record(Body::Resealed { rows: 2_000_000 }));
    assert_eq!(house.reseal(phone, std::slice::from_ref(&row)).err(), Some(Refusal::ResealCapReached));
    let mut house = house.restart();
    assert_eq!(house.reseal(phone, std::slice::from_ref(&row)).err(), Some(Refusal::ResealCapReached));
    house.clock.advance(HOUR_MS);
    assert_eq!(resealed(house.reseal(phone, &[row]).unwrap()).len(), 1);
}

#[test]
fn keys_rotate_by_administrators_alone_and_by_two_where_there_are_two() {
    let (mut house, key) = House::joined();
    let engineer = house.person(&key, 50, Role::Engineer, None);
    assert_eq!(house.rotate(&engineer, &[KeyName::Index]).refusal, Some(Refusal::RoleNotAllowed));
    assert_eq!(house.rotate(&key, &[]).refusal, Some(Refusal::BadArgument));
    assert_eq!(house.rotate(&key, &[KeyName::Links]).refusal, Some(Refusal::BadArgument));
    let second = house.person(&key, 51, Role::Administrator, None);
    assert_eq!(house.rotate(&key, &[KeyName::Index]).refusal, Some(Refusal::NeedsSignatures));
    let (mut signed, sealed) = house.now_order(&key, OrderKind::RotateKeys { keys: vec![KeyName::Index] });
    signed.add_signature(&second);
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, None);
}

#[test]
fn after_a_breach_nothing_that_was_signed_before_counts() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "Grace Example", "ward-7");
    let desk = house.person(&key, 50, Role::ServiceDesk, None);
    let template = StandingTemplate::RenewCertificates { before_ms: 30 * DAY_MS };
    let make = OrderKind::MakeStanding { template, cap_an_hour: 10, expires_at_ms: NOW_MS + 300 * DAY_MS };
    let (signed, sealed) = house.order(&key, make, vec![], None);
    let standing = house.submit(&signed, &sealed, vec![]).order.unwrap();
    let lock = house.command(&key, Command::DeviceLock, vec![phone], &CommandSecrets::default());
    let lock = lock.order.unwrap();
    let session = Digest([7; 32]);
    let grant = OrderKind::Grant {
        session,
        records: 5,
        searches: 5,
        compartments: vec![Compartment::Contact],
        valid_ms: HOUR_MS,
    };
    let (signed, sealed) = house.order(&key, grant, vec![], None);
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, None);
    let open_invitation = house.invite(&key, "Mary Example", "ward-7");
    let early = house.order(&key, OrderKind::Command { command: Command::DeviceLock }, vec![phone], None);
    house.clock.advance(LATER_MS);
    assert_eq!(house.assume_breach(&key).refusal, None);
    let refused = house.submit(&early.0, &early.1, vec![]).refusal;
    assert_eq!(refused, Some(Refusal::SignedBeforeBreach));
    let row = house.row(phone, "PhoneNumber", Compartment::Contact, b"+447700900123");
    let used = house.durable(|c| c.use_grant(&session, &[(phone, row)], &[]).map(|_| ()));
    assert_eq!(used, Err(Refusal::GrantExhausted));
    assert_eq!(house.durable(|c| c.warrants(&lock, &[phone])).err(), Some(Refusal::NothingToRecall));
    assert_eq!(
        house.durable(|c| c.act(&standing, &phone, &crate::standing::Asking::default(), None)).err(),
        Some(Refusal::NoSuchStanding)
    );
    let challenge = house.chamber.invitation_challenge(&open_invitation.enrolment).to_string();
    let issued = house.issue(&challenge, &RsaSigner::generate().unwrap());
    assert_eq!(issued.err(), Some(Refusal::InvitationNotOpen));
    let (signed, sealed) = house.now_order(&desk, OrderKind::Recall { order: lock });
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, Some(Refusal::UnknownSigner));
    // The key that orders were sealed to before is gone at once.
    house.durable(Chamber::keep_keys);
    assert_eq!(house.chamber.keys.order_keys().count(), 1);
    let mut house = house.restart();
    assert_eq!(house.durable(|c| c.warrants(&lock, &[phone])).err(), Some(Refusal::NothingToRecall));
}

#[test]
fn a_breach_is_over_when_phones_have_new_certificates_and_its_signers_new_keys() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "Grace Example", "ward-7");
    house.person(&key, 50, Role::Auditor, None);
    let uuid = house.chamber.keys.payload_key().payload_uuid(&phone, "mdm");
    house.clock.advance(LATER_MS);
    let breach = house.assume_breach(&key).order.unwrap();
    let left = |house: &mut House| {
        let b = house.durable(|c| c.keys_overview()).breach.unwrap();
        (b.phones_left, b.signers_left, b.people_without_key)
    };
    assert_eq!(left(&mut house), (1, 1, 1));
    house.clock.advance(LATER_MS);
    // The order itself lets the vault ask phones for new certificates.
    let acted =
        house.durable(|c| c.act(&breach, &phone, &crate::standing::Asking::default(), None)).ok().unwrap();
    let renewal = house.chamber.state.enrolments[&phone].renewal.unwrap();
    let derive = &house.chamber.keys.file.derive_key;
    let challenge = derive.renewal_challenge(&breach, &phone, renewal.number).to_string();
    assert_eq!(acted.command.warrants[0].0, phone);
    assert_eq!(
        house.chamber.keys.payload_key().payload_uuid(&phone, "mdm"),
        uuid,
        "the phone knows its profile by it"
    );
    house.issue(&challenge, &RsaSigner::generate().unwrap()).unwrap();
    assert_eq!(left(&mut house), (0, 1, 1));
    assert_eq!(
        house.durable(|c| c.act(&breach, &phone, &crate::standing::Asking::default(), None)).err(),
        Some(Refusal::CertificateNotDue)
    );
    // Another key for the signer, and the old one ends.
    let (signed, sealed) = house.now_order(&key, OrderKind::EndKey { key: key.id() });
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, Some(Refusal::KeyStays), "it is the only one");
    let new = Ed25519Secret::from_seed([60; 32]).unwrap();
    let (signed, sealed) = house.now_order(&key, OrderKind::AddKey { key: new.person_key() });
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, None);
    let (signed, sealed) = house.now_order(&new, OrderKind::EndKey { key: key.id() });
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, None);
    assert_eq!(left(&mut house), (0, 0, 1));
    let (signed, sealed) = house.now_order(&key, OrderKind::RotateKeys { keys: vec![KeyName::Index] });
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, Some(Refusal::UnknownSigner));
    let mut house = house.restart();
    assert_eq!(left(&mut house), (0, 0, 1));
}

#[test]
fn a_rooms_new_key_is_stated_when_it_comes_and_the_older_one_is_needed_until_nothing_is_left() {
    let (mut house, key) = House::joined();
    let before = house.statement();
    assert_eq!(house.rotate(&key, &[KeyName::Push, KeyName::Delivery]).refusal, None);
    let said = house.statement();
    assert_eq!(
        (said.delivery_key, said.older_needed.clone()),
        (before.delivery_key, None),
        "none has come yet"
    );
    assert_eq!(house.chamber.state.rotations.awaited(), [(KeyName::Push, 2), (KeyName::Delivery, 2)]);
    assert_eq!(house.room_makes(KeyName::Delivery, [7; 32]), 2);
    let said = house.statement();
    assert_eq!((said.epoch, said.delivery_key.0), (3, [7; 32]));
    assert!(said.needs_older(KeyName::Delivery) && !said.needs_older(KeyName::Push));
    assert!(house.room_makes(KeyName::Push, [8; 32]) == 2 && house.statement().needs_older(KeyName::Push));
    assert_eq!(house.chamber.state.rotations.awaited(), []);
    // Bytes sealed from now on open with the new key alone.
    assert_eq!(house.nothing_left(KeyName::Delivery), Err(Refusal::OldKeyStillNeeded));
    house.clock.advance(LATER_MS);
    assert_eq!(house.nothing_left(KeyName::Delivery), Ok(()));
    assert_eq!(house.nothing_left(KeyName::Push), Ok(()));
    let said = house.statement();
    assert_eq!((said.epoch, said.older_needed.clone()), (4, None));
    let mut house = house.restart();
    let again = house.statement();
    assert_eq!((again.epoch, again.delivery_key.0), (4, [7; 32]));
    assert!(again.compartments.contains(&(Compartment::Push, order::X25519Public([8; 32]))));
}

#[test]
fn a_rooms_key_that_was_not_ordered_is_not_taken_nor_one_that_can_be_none() {
    let (mut house, key) = House::joined();
    let stated = house.statement().delivery_key;
    let entries = house.chamber.state.entries;
    house.durable(|c| c.room_key_made(KeyName::Delivery, 1, vec![7; 32]));
    assert_eq!(house.chamber.state.entries, entries, "nobody ordered it");
    assert_eq!(house.rotate(&key, &[KeyName::Delivery]).refusal, None);
    for (number, public) in [(3, vec![7; 32]), (2, vec![7; 31]), (2, vec![]), (2, stated.0.to_vec())] {
        house.durable(|c| c.room_key_made(KeyName::Delivery, number, public.clone()));
        assert_eq!(house.statement().delivery_key, stated);
    }
    house.durable(|c| c.room_key_made(KeyName::Index, 2, vec![7; 32]));
    // Ordered again before it came, the newer answer counts.
    assert_eq!(house.rotate(&key, &[KeyName::Delivery]).refusal, None);
    house.durable(|c| c.room_key_made(KeyName::Delivery, 2, vec![7; 32]));
    assert_eq!(house.statement().delivery_key, stated);
    house.durable(|c| c.room_key_made(KeyName::Delivery, 3, vec![8; 32]));
    assert_eq!(house.statement().delivery_key.0, [8; 32]);
    house.durable(|c| c.room_key_made(KeyName::Delivery, 3, vec![9; 32]));
    assert_eq!(house.statement().delivery_key.0, [8; 32], "once");
}

#[test]
fn what_was_begun_with_rooms_keys_goes_on_after_a_crash_before_or_after_the_key_file() {
    let (mut house, key) = House::joined();
    let file = house.dir.path().join("keys.cbor");
    let before = std::fs::read(&file).unwrap();
    assert_eq!(house.rotate(&key, &[KeyName::Push, KeyName::Warrant]).refusal, None);
    // Killed after the ledger had the order and before the key file was written.
    std::fs::write(&file, &before).unwrap();
    let mut house = house.restart();
    assert_eq!(*house.chamber.state.rotations.awaited(), [(KeyName::Push, 2)]);
    let before = std::fs::read(&file).unwrap();
    house.room_makes(KeyName::Push, [8; 32]);
    // Killed after the ledger had the room's key and before the key file was written.
    std::fs::write(&file, &before).unwrap();
    let mut house = house.restart();
    assert_eq!(house.chamber.state.rotations.awaited(), []);
    let said = house.statement();
    assert!(said.compartments.contains(&(Compartment::Push, order::X25519Public([8; 32]))));
    assert!(said.needs_older(KeyName::Push));
}

#[test]
fn a_breach_is_not_over_while_a_room_has_not_made_its_new_key() {
    let (mut house, key) = House::joined();
    house.clock.advance(LATER_MS);
    assert_eq!(house.assume_breach(&key).refusal, None);
    let awaited = |house: &mut House| {
        let keys = house.durable(|c| c.keys_overview()).keys;
        let of = |k: &&rpc::proto::KeyState| k.awaited;
        keys.iter().filter(of).filter_map(|k| KeyName::from_number(k.key as u8)).collect::<Vec<_>>()
    };
    let all: Vec<KeyName> = KeyName::ALL.iter().copied().filter(|k| k.made_by().is_some()).collect();
    assert_eq!(awaited(&mut house), all);
    house.room_makes(KeyName::Push, [8; 32]);
    house.room_makes(KeyName::Delivery, [9; 32]);
    assert!(!awaited(&mut house).contains(&KeyName::Push));
    house.room_makes(KeyName::ReaderSender, [10; 32]);
    let ra = RsaSigner::generate().unwrap();
    house.room_makes(KeyName::ScepRa, ra.spki_der());
    house.room_makes(KeyName::Tls, P256Signer::generate().unwrap().spki_der());
    house.room_makes(KeyName::ChangeTags, [11; 31]);
    assert_eq!(awaited(&mut house), [KeyName::ChangeTags]);
    house.room_makes(KeyName::ChangeTags, [11; 32]);
    assert_eq!(awaited(&mut house), []);
    // The RA of before goes at once, as the key of orders does.
    house.durable(Chamber::keep_keys);
    assert!(!house.statement().needs_older(KeyName::ScepRa));
}

#[test]
fn what_the_older_reader_sealed_opens_until_it_is_sealed_again_and_then_no_more() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "Grace Example", "ward-7");
    let row = house.row(phone, "PhoneNumber", Compartment::Contact, b"+447700900123");
    assert_eq!(house.rotate(&key, &[KeyName::ReaderSender]).refusal, None);
    let new = KeyPairSecret::generate(&SystemRandom::new()).unwrap();
    house.room_makes(KeyName::ReaderSender, new.public().0);
    let before = std::mem::replace(&mut house.reader, new);
    let said = house.statement();
    assert_eq!(said.reader_key.0, house.reader.public().0);
    assert_eq!(said.older_readers, Some(vec![order::X25519Public(before.public().0)]));
    assert!(house.opens(phone, &row));
    let again = resealed(house.reseal(phone, std::slice::from_ref(&row)).unwrap()).remove(0);
    let fresh = house.row(phone, "PhoneNumber", Compartment::Contact, b"+447700900124");
    house.clock.advance(LATER_MS);
    let mut house = house.restart();
    assert!(house.opens(phone, &row), "over a restart too");
    for name in KeyName::ALL.iter().filter(|k| k.compartment().is_some()) {
        assert_eq!(house.nothing_left(*name), Ok(()), "{}", name.name());
    }
    assert!(!house.opens(phone, &row) && house.opens(phone, &again) && house.opens(phone, &fresh));
    assert_eq!(house.statement().older_readers, None);
}

#[test]
fn a_new_ra_is_certified_by_the_ca_and_stated_and_the_older_one_goes_after_an_hour() {
    let (mut house, key) = House::joined();
    let before = house.statement();
    assert_eq!(before.ra_certificate, None);
    assert_eq!(house.rotate(&key, &[KeyName::ScepRa]).refusal, None);
    house.room_makes(KeyName::ScepRa, P256Signer::generate().unwrap().spki_der());
    house.room_makes(KeyName::ScepRa, *b"no key");
    assert_eq!(house.statement().ra_fingerprint, before.ra_fingerprint, "a SCEP RA needs RSA");
    let ra = RsaSigner::generate().unwrap();
    house.room_makes(KeyName::ScepRa, ra.spki_der());
    let said = house.statement();
    let der = said.ra_certificate.clone().unwrap();
    let certificate = Certificate::parse(&der).unwrap();
    assert_eq!(said.ra_fingerprint, order::sha256(&der));
    assert_eq!(certificate.spki_der(), ra.spki_der());
    assert!(certificate.is_signed_by(house.chamber.keys.ca.spki_der()));
    assert!(said.needs_older(KeyName::ScepRa));
    house.clock.advance(LATER_MS);
    assert_eq!(house.nothing_left(KeyName::ScepRa), Err(Refusal::BadArgument), "core does not decide it");
    house.durable(Chamber::keep_keys);
    assert!(house.statement().needs_older(KeyName::ScepRa));
    house.clock.advance(HOUR_MS);
    house.durable(Chamber::keep_keys);
    assert!(!house.statement().needs_older(KeyName::ScepRa));
    let mut house = house.restart();
    assert_eq!(house.statement().ra_certificate, Some(der));
}
