//! A new CA beside the older one, until no phone uses that one's certificates or an order ends it; and the door's own
//! TLS key.

use super::rotation::LATER_MS;
use super::*;
use apple::x509::{P256Signer, RsaSigner, ServerName, Signer, Window, server_certificate};
use ledger::{Body, Effect};
use model::{Clock as _, KeyName};

impl House {
    /// The phone does what a renewal asks of it; its new certificate.
    fn renew(&mut self, standing: &OrderId, phone: EnrolmentId) -> Vec<u8> {
        self.durable(|c| c.act(standing, &phone, &crate::standing::Asking::default(), None).map(drop))
            .unwrap();
        let renewal = self.chamber.state.enrolments[&phone].renewal.unwrap();
        let derive = &self.chamber.keys.file.derive_key;
        let challenge = derive.renewal_challenge(standing, &phone, renewal.number).to_string();
        self.issue(&challenge, &RsaSigner::generate().unwrap()).unwrap().1
    }

    /// Core says that the phone came with it.
    fn taken(&mut self, enrolment: EnrolmentId, certificate: &[u8], number: u64) {
        let word = Body::CertificateTaken { enrolment, certificate: sha256(certificate) };
        self.durable(|c| c.witness(vec![(word, number)]));
    }

    fn left(&mut self) -> u64 {
        let keys = self.durable(|c| c.keys_overview()).keys;
        keys.iter().find(|k| k.key == u32::from(KeyName::Ca.number())).unwrap().phones_left
    }

    fn end_older_ca(&mut self, key: &Ed25519Secret) -> Outcome {
        let before = self.chamber.state.rotations.made_in(KeyName::Ca);
        let (signed, sealed) = self.now_order(key, OrderKind::EndOlderCa { before });
        self.submit(&signed, &sealed, vec![])
    }

    fn key_file(&self) -> Vec<u8> {
        std::fs::read(self.dir.path().join("keys.cbor")).unwrap()
    }
}

fn by(certificate: &[u8], ca: &[u8]) -> bool {
    let (certificate, ca) = (Certificate::parse(certificate).unwrap(), Certificate::parse(ca).unwrap());
    certificate.is_issued_by(&ca)
}

#[test]
fn a_new_ca_signs_what_is_issued_from_then_on_and_the_key_of_the_older_one_is_gone_at_once() {
    let (mut house, key) = House::joined();
    let before = house.chamber.keys.file.ca_certificate.clone();
    let secret = house.chamber.keys.file.ca_pkcs8.clone();
    let signer = house.chamber.keys.file.profile_signer_certificate.clone();
    assert_eq!(house.statement().authorities, None, "as releases before stated it");
    assert_eq!(house.rotate(&key, &[KeyName::Ca]).refusal, None);
    let said = house.statement();
    let [newest, older] = &said.authorities.clone().unwrap()[..] else { panic!("two count") };
    assert_eq!((&older.certificate, said.ca_fingerprint), (&before, sha256(&newest.certificate)));
    assert_ne!(newest.certificate, before);
    // Whoever trusts the older one alone comes to the newest by the older one's word for its key.
    let successor = older.successor.clone().unwrap();
    assert!(by(&successor, &before) && newest.successor.is_none());
    let of_newest = Certificate::parse(&newest.certificate).unwrap();
    assert_eq!(Certificate::parse(&successor).unwrap().spki_der(), of_newest.spki_der());
    // The RA is the newest one's, with the same key; a phone knows its profile by who signed it, so that stays for those of before.
    let ra = said.ra_certificate.clone().unwrap();
    assert!(by(&ra, &newest.certificate) && sha256(&ra) == said.ra_fingerprint);
    assert_eq!(house.chamber.keys.profile_chain(1), [signer.as_slice(), before.as_slice()]);
    let [of_new, root] = house.chamber.keys.profile_chain(2);
    assert!(by(of_new, &newest.certificate) && root == newest.certificate);
    let invited = house.invite(&key, "Grace Example", "ward-7");
    let challenge = house.chamber.invitation_challenge(&invited.enrolment).to_string();
    let (_, certificate) = house.issue(&challenge, &RsaSigner::generate().unwrap()).unwrap();
    assert!(by(&certificate, &newest.certificate) && !by(&certificate, &before));
    assert!(!house.key_file().windows(secret.len()).any(|w| w == secret), "the older key is in no file");
    let mut house = house.restart();
    assert_eq!(house.statement().authorities, said.authorities);
    assert_eq!(house.left(), 0);
}

#[test]
fn a_profile_from_before_another_ca_gets_no_certificate_and_its_link_gives_one_that_does() {
    let (mut house, key) = House::joined();
    let signer = RsaSigner::generate().unwrap();
    let (taken, late) =
        (house.invite(&key, "Grace Example", "ward-7"), house.invite(&key, "Mary Example", "ward-7"));
    let (used, unused) = (
        house.chamber.invitation_challenge(&taken.enrolment),
        house.chamber.invitation_challenge(&late.enrolment),
    );
    let (_, certificate) = house.issue(&used, &signer).unwrap();
    assert_eq!(house.rotate(&key, &[KeyName::Ca]).refusal, None);
    assert_eq!(house.issue(&used, &signer).unwrap().1, certificate, "an answer that was lost is given again");
    let refused = house.issue(&unused, &RsaSigner::generate().unwrap()).unwrap_err();
    assert_eq!(refused, Refusal::InvitationNotOpen);
    let anew = house.chamber.invitation_challenge(&late.enrolment);
    assert_ne!(anew, unused);
    let (_, certificate) = house.issue(&anew, &RsaSigner::generate().unwrap()).unwrap();
    assert!(by(&certificate, &house.chamber.keys.file.ca_certificate));
}

#[test]
fn phones_change_to_the_newest_ca_and_the_older_one_counts_until_the_last_has() {
    let (mut house, key) = House::joined();
    let (one, other) =
        (house.enrolled(&key, "Grace Example", "ward-7"), house.enrolled(&key, "Mary Example", "ward-7"));
    let standing = house.standing(&key, 10);
    assert_eq!(
        house.durable(|c| c.act(&standing, &one, &crate::standing::Asking::default(), None)).err(),
        Some(Refusal::CertificateNotDue)
    );
    house.clock.advance(LATER_MS);
    assert_eq!(house.rotate(&key, &[KeyName::Ca]).refusal, None);
    house.clock.advance(LATER_MS);
    let newest = house.chamber.keys.file.ca_certificate.clone();
    assert_eq!(house.left(), 2);
    let certificate = house.renew(&standing, one);
    assert!(by(&certificate, &newest));
    assert_eq!(house.left(), 2, "given, and not used yet");
    assert_eq!(
        house.durable(|c| c.act(&standing, &one, &crate::standing::Asking::default(), None)).err(),
        Some(Refusal::CertificateNotDue)
    );
    house.taken(one, &certificate, 1);
    assert_eq!(house.left(), 1);
    assert_eq!(house.nothing_left(KeyName::Ca), Err(Refusal::OldKeyStillNeeded), "whatever core says");
    // This one's installation fails half-way: it is asked again after a while.
    house.renew(&standing, other);
    house.clock.advance(6 * HOUR_MS);
    let certificate = house.renew(&standing, other);
    let mut house = house.restart();
    assert_eq!(house.left(), 1);
    house.taken(other, b"another certificate", 2);
    assert_eq!(house.left(), 1);
    house.taken(other, &certificate, 3);
    assert_eq!(house.left(), 0);
    assert_eq!(house.statement().authorities.clone().unwrap().len(), 2);
    assert_eq!(house.nothing_left(KeyName::Ca), Ok(()));
    let after = house.statement().authorities.clone().unwrap();
    assert_eq!((after.len(), &after[0].certificate), (1, &newest));
    let mut house = house.restart();
    assert_eq!(house.statement().authorities, Some(after));
}

#[test]
fn an_older_ca_is_ended_by_administrators_alone_by_two_where_there_are_two_and_only_if_there_is_one() {
    let (mut house, key) = House::joined();
    let engineer = house.person(&key, 50, Role::Engineer, None);
    house.enrolled(&key, "Grace Example", "ward-7");
    assert_eq!(house.end_older_ca(&key).refusal, Some(Refusal::NoOlderCa));
    assert_eq!(house.rotate(&key, &[KeyName::Ca]).refusal, None);
    assert_eq!(house.end_older_ca(&engineer).refusal, Some(Refusal::RoleNotAllowed));
    let second = house.person(&key, 51, Role::Administrator, None);
    assert_eq!(house.end_older_ca(&key).refusal, Some(Refusal::NeedsSignatures));
    assert_eq!(house.statement().authorities.clone().unwrap().len(), 2);
    let (mut signed, sealed) = house.now_order(&key, OrderKind::EndOlderCa { before: 2 });
    signed.add_signature(&second);
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, None);
    assert_eq!(house.statement().authorities.clone().unwrap().len(), 1);
    let mut house = house.restart();
    assert_eq!(house.statement().authorities.clone().unwrap().len(), 1);
    let (mut signed, sealed) = house.now_order(&key, OrderKind::EndOlderCa { before: 2 });
    signed.add_signature(&second);
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, Some(Refusal::NoOlderCa));
}

#[test]
fn an_end_of_an_older_ca_that_was_held_back_ends_none_of_a_later_day() {
    let (mut house, key) = House::joined();
    house.enrolled(&key, "Grace Example", "ward-7");
    assert_eq!(house.rotate(&key, &[KeyName::Ca]).refusal, None);
    let held_back = house.now_order(&key, OrderKind::EndOlderCa { before: 2 });
    assert_eq!(house.rotate(&key, &[KeyName::Ca]).refusal, None);
    assert_eq!(house.submit(&held_back.0, &held_back.1, vec![]).refusal, Some(Refusal::AnotherCaSince));
    assert_eq!(house.statement().authorities.clone().unwrap().len(), 3);
    let now = house.now_order(&key, OrderKind::EndOlderCa { before: 3 });
    assert_eq!(house.submit(&now.0, &now.1, vec![]).refusal, None);
    assert_eq!(house.statement().authorities.clone().unwrap().len(), 1);
}

#[test]
fn the_end_of_an_older_ca_begins_an_epoch_so_that_no_room_believes_the_statement_of_before() {
    let (mut house, key) = House::joined();
    let root = house.chamber.keys.root.public();
    let phone = house.enrolled(&key, "Grace Example", "ward-7");
    for by_order in [true, false] {
        assert_eq!(house.rotate(&key, &[KeyName::Ca]).refusal, None);
        let before = house.durable(Chamber::statement);
        assert_eq!(house.statement().authorities.clone().unwrap().len(), 2);
        if by_order {
            assert_eq!(house.end_older_ca(&key).refusal, None);
        } else {
            house.durable(|c| c.witness(vec![(Body::CheckedOut { enrolment: phone }, 1)]));
            house.clock.advance(LATER_MS);
            assert_eq!(house.nothing_left(KeyName::Ca), Ok(()));
        }
        let newest = house.statement().epoch;
        assert_eq!(house.statement().authorities.clone().unwrap().len(), 1);
        let refused = before.verify(&root, house.clock.now_ms(), newest).unwrap_err();
        assert_eq!(refused, order::StatementError::GoesBack);
        house = house.restart();
        assert_eq!(house.statement().epoch, newest);
    }
}

#[test]
fn a_ca_that_has_ended_by_itself_leads_to_none_and_the_house_goes_on_with_the_next() {
    let (mut house, key) = House::joined();
    assert_eq!(house.rotate(&key, &[KeyName::Ca]).refusal, None);
    for days in [20 * 365 - 1, 20 * 365 + 400] {
        house.clock.advance(days * DAY_MS);
        assert_eq!(house.rotate(&key, &[KeyName::Ca]).refusal, None);
        house = house.restart();
        let all = house.statement().authorities.clone().unwrap();
        assert_eq!((all.len(), all[0].successor.as_ref()), (1, None), "after {days} days");
    }
}

#[test]
fn at_most_four_older_cas_count_at_once() {
    let (mut house, key) = House::joined();
    house.enrolled(&key, "Grace Example", "ward-7");
    for _ in 0..4 {
        assert_eq!(house.rotate(&key, &[KeyName::Ca]).refusal, None);
    }
    let mut house = house.restart();
    assert_eq!(house.statement().authorities.clone().unwrap().len(), 5);
    assert_eq!(house.rotate(&key, &[KeyName::Ca]).refusal, Some(Refusal::TooManyOlderCas));
    assert_eq!(house.end_older_ca(&key).refusal, None);
    assert_eq!(house.rotate(&key, &[KeyName::Ca]).refusal, None);
}

#[test]
fn where_the_vault_does_not_know_the_doors_key_the_ca_is_made_anew_with_it_alone() {
    let (mut house, key) = House::joined();
    // As a house of a release before.
    house.chamber.keys.file.tls_spki = None;
    assert_eq!(house.rotate(&key, &[KeyName::Ca]).refusal, Some(Refusal::CaWithoutTls));
    assert_eq!(house.rotate(&key, &[KeyName::Ca, KeyName::Tls]).refusal, None);
}

/// What OpenSSL says of a chain: `root` alone is trusted.
fn openssl_verifies(root: &[u8], between: &[Vec<u8>], leaf: &[u8]) -> Result<(), String> {
    let dir = TempDir::new().unwrap();
    let openssl = |arguments: &[&str]| {
        let made = std::process::Command::new("openssl").args(arguments).current_dir(dir.path()).output();
        let made = made.expect("openssl has to be installed");
        match made.status.success() {
            true => Ok(made.stdout),
            false => Err(String::from_utf8_lossy(&made.stderr).into_owned()),
        }
    };
    let pem = |name: &str, all: &[&[u8]]| {
        let mut text = Vec::new();
        for der in all {
            std::fs::write(dir.path().join("der"), der).unwrap();
            text.extend(openssl(&["x509", "-inform", "der", "-in", "der"]).unwrap());
        }
        std::fs::write(dir.path().join(name), text).unwrap();
    };
    pem("root", &[root]);
    pem("between", &between.iter().map(Vec::as_slice).collect::<Vec<_>>());
    pem("leaf", &[leaf]);
    let at = (NOW_MS / 1000 + 60).to_string();
    let mut arguments = vec!["verify", "-x509_strict", "-attime", &at, "-CAfile", "root"];
    if !between.is_empty() {
        arguments.extend(["-untrusted", "between"]);
    }
    arguments.push("leaf");
    openssl(&arguments).map(drop)
}

#[test]
fn who_trusts_the_first_ca_alone_comes_to_the_doors_certificate_after_one_and_after_two_rotations() {
    let (mut house, key) = House::joined();
    let first = house.chamber.keys.file.ca_certificate.clone();
    let mut own = house.tls_certificate.clone();
    assert_eq!(openssl_verifies(&first, &[], &own), Ok(()));
    for count in [1, 2] {
        assert_eq!(house.rotate(&key, &[KeyName::Ca]).refusal, None);
        own = house.durable(|c| c.renew_server(&own)).unwrap();
        let all = house.statement().authorities.clone().unwrap();
        let successors: Vec<_> = all.iter().filter_map(|ca| ca.successor.clone()).collect();
        assert_eq!(successors.len(), count);
        assert_eq!(openssl_verifies(&first, &successors, &own), Ok(()), "{count}");
        assert_eq!(openssl_verifies(&all[0].certificate, &[], &own), Ok(()));
        assert!(openssl_verifies(&first, &successors[1..], &own).is_err(), "it needs each of them");
    }
}

#[test]
fn killed_at_either_write_of_a_new_ca_or_of_an_older_ones_end_the_next_start_does_what_the_ledger_says() {
    let (mut house, key) = House::joined();
    house.enrolled(&key, "Grace Example", "ward-7");
    let file = house.dir.path().join("keys.cbor");
    let first = house.chamber.keys.file.ca_certificate.clone();
    let before = house.key_file();
    assert_eq!(house.rotate(&key, &[KeyName::Ca]).refusal, None);
    // Killed after the ledger had the order and before the key file was written: nobody was told of the CA that was lost.
    let lost = house.chamber.keys.file.ca_certificate.clone();
    std::fs::write(&file, &before).unwrap();
    let mut house = house.restart();
    let made = house.chamber.keys.file.ca_certificate.clone();
    assert!(made != first && made != lost);
    let both = house.statement().authorities.clone().unwrap();
    assert_eq!((both.len(), &both[1].certificate), (2, &first));
    // A half-written file beside it is none.
    std::fs::write(house.dir.path().join(".keys.cbor.new"), &before[..before.len() / 2]).unwrap();
    let mut house = house.restart();
    assert_eq!(house.statement().authorities, Some(both));
    // The end of the older one, the same.
    let before = house.key_file();
    assert_eq!(house.end_older_ca(&key).refusal, None);
    std::fs::write(&file, &before).unwrap();
    let mut house = house.restart();
    let left = house.statement().authorities.clone().unwrap();
    assert_eq!((left.len(), &left[0].certificate), (1, &made));
    // Written, and killed before anyone was told: nothing more is to be done.
    let after = house.key_file();
    let house = house.restart();
    assert_eq!(house.key_file(), after);
}

#[test]
fn a_ca_that_can_not_be_written_is_none_and_nobody_was_told() {
    let (mut house, key) = House::joined();
    let before = house.key_file();
    std::fs::create_dir(house.dir.path().join(".keys.cbor.new")).unwrap();
    let (signed, sealed) = house.now_order(&key, OrderKind::RotateKeys { keys: vec![KeyName::Ca] });
    let submitted = Submitted { signed: encode(&signed), sealed_arguments: sealed, ..Submitted::default() };
    house.chamber.tick();
    house.chamber.submit(&submitted);
    assert!(house.chamber.flush().is_err());
    assert_eq!(house.key_file(), before);
    std::fs::remove_dir(house.dir.path().join(".keys.cbor.new")).unwrap();
    let mut house = house.restart();
    assert_eq!(house.statement().authorities.clone().unwrap().len(), 2);
}

#[test]
fn a_ledger_from_before_a_new_ca_ends_none_and_a_second_new_one_is_led_to_from_the_first() {
    let (mut house, key) = House::joined();
    house.enrolled(&key, "Grace Example", "ward-7");
    let first = house.chamber.keys.file.ca_certificate.clone();
    assert_eq!(house.rotate(&key, &[KeyName::Ca]).refusal, None);
    let second = house.chamber.keys.file.ca_certificate.clone();
    assert_eq!(house.rotate(&key, &[KeyName::Ca]).refusal, None);
    let all = house.statement().authorities.clone().unwrap();
    let certificates: Vec<_> = all.iter().map(|ca| ca.certificate.clone()).collect();
    assert_eq!(certificates[1..], [second.clone(), first.clone()]);
    assert!(
        by(all[1].successor.as_ref().unwrap(), &second) && by(all[2].successor.as_ref().unwrap(), &first)
    );
    assert_eq!(house.left(), 1);
    // Keys that are newer than the ledger, as after a restore of an older backup of it: nothing is dropped.
    let said = crate::rotation::Rotations::default();
    let dir = house.dir.path().to_owned();
    assert!(!house.chamber.keys.settle(&dir, &said, &SystemRandom::new()).unwrap());
    assert_eq!(house.chamber.keys.authorities(&said), Some(all));
}

#[test]
fn a_breach_that_an_older_release_wrote_down_made_no_new_ca() {
    let (mut house, _) = House::joined();
    let before = house.chamber.keys.file.ca_certificate.clone();
    let effect = Effect::BreachAssumed {
        epoch: 2,
        signers: vec![],
        reissues_an_hour: 1,
        expires_at_ms: NOW_MS + DAY_MS,
        keys: None,
    };
    house.durable(|c| {
        c.record(Body::OrderAccepted {
            order: OrderId([200; 16]),
            digest: Digest([1; 32]),
            signer: model::KeyId([1; 16]),
            person: model::PersonId([1; 16]),
            bytes: ledger::Opaque(vec![]),
            signature: ledger::Opaque(vec![]),
            effect,
            counted: None,
        })
    });
    assert_eq!(house.chamber.keys.file.ca_certificate, before);
    assert!(!house.chamber.state.rotations.awaited().iter().any(|(k, _)| *k == KeyName::Tls));
    assert_eq!(house.statement().authorities, None);
}

#[test]
fn the_doors_certificate_is_made_for_its_own_key_alone_whoever_has_an_older_cas_key() {
    let (mut house, key) = House::joined();
    let current = house.tls_certificate.clone();
    let known = Certificate::parse(&current).unwrap().spki_der().to_vec();
    let thief = P256Signer::generate().unwrap();
    let window = Window { not_before_ms: NOW_MS - DAY_MS, not_after_ms: NOW_MS + DAY_MS };
    let names = [ServerName::Dns("mdm.example.org".into())];
    let (ca, signer) = (house.chamber.keys.file.ca_certificate.clone(), &house.chamber.keys.ca);
    let forged = server_certificate(&ca, signer.as_ref(), thief.spki_der(), &names, [9; 16], window).unwrap();
    assert_eq!(house.durable(|c| c.renew_server(&current)), Err(Refusal::CertificateNotDue));
    assert_eq!(house.rotate(&key, &[KeyName::Ca]).refusal, None);
    let newest = house.chamber.keys.file.ca_certificate.clone();
    // What the stolen older key made brings its thief a certificate for the door's key, which he has not.
    for from in [&forged, &current] {
        let made = house.durable(|c| c.renew_server(from)).unwrap();
        assert!(by(&made, &newest));
        assert_eq!(Certificate::parse(&made).unwrap().spki_der(), known);
    }
    assert_eq!(house.end_older_ca(&key).refusal, None);
    // A door that slept through all that.
    let made = house.durable(|c| c.renew_server(&current)).unwrap();
    assert_eq!(house.durable(|c| c.renew_server(&made)), Err(Refusal::CertificateNotDue));
    let other = P256Signer::generate().unwrap();
    let foreign = apple::x509::ca_certificate(&other, "Matron CA", [1; 16], window).unwrap();
    let foreign = server_certificate(&foreign, &other, thief.spki_der(), &names, [9; 16], window).unwrap();
    assert_eq!(house.durable(|c| c.renew_server(&foreign)), Err(Refusal::BadCertificateRequest));
}

#[test]
fn a_new_tls_key_of_the_doors_is_certified_when_it_came_by_the_supervisor_and_not_before() {
    let (mut house, key) = House::joined();
    let current = house.tls_certificate.clone();
    assert_eq!(house.rotate(&key, &[KeyName::Tls]).refusal, None);
    assert_eq!(house.durable(|c| c.renew_server(&current)), Err(Refusal::CertificateNotDue));
    house.room_makes(KeyName::Tls, *b"no key");
    house.room_makes(KeyName::Tls, RsaSigner::generate().unwrap().spki_der());
    assert_eq!(house.durable(|c| c.renew_server(&current)), Err(Refusal::CertificateNotDue));
    let new = P256Signer::generate().unwrap();
    house.room_makes(KeyName::Tls, new.spki_der());
    let mut house = house.restart();
    let of_tls = |house: &mut House| {
        let keys = house.durable(|c| c.keys_overview()).keys;
        keys.iter().find(|k| k.key == u32::from(KeyName::Tls.number())).unwrap().old_before
    };
    assert_ne!(of_tls(&mut house), 0, "the older one is shown still");
    let made = house.durable(|c| c.renew_server(&current)).unwrap();
    assert_eq!(Certificate::parse(&made).unwrap().spki_der(), new.spki_der());
    let names = |der: &[u8]| Certificate::parse(der).unwrap().server_names();
    assert_eq!(names(&made), names(&current));
    assert_eq!(of_tls(&mut house), 0);
    let mut house = house.restart();
    assert_eq!(of_tls(&mut house), 0);
    assert_eq!(house.durable(|c| c.renew_server(&made)), Err(Refusal::CertificateNotDue));
}
