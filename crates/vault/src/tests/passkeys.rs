//! Passkeys: who signs with one, what it is good for, and what a copy of it gets.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::Limit;
use order::{Assertion, OrderSignature, Passkey, PersonKey, Scheme};
use rpc::alarm::AlarmKind;

use super::*;

/// An authenticator in software: EdDSA, with a count.
struct Authenticator {
    secret: Ed25519Secret,
    count: u32,
    /// How much it counts for each signature: 0 for one that is synchronised.
    step: u32,
}

impl Authenticator {
    fn new(seed: u8) -> Self {
        Self { secret: Ed25519Secret::from_seed([seed; 32]).unwrap(), count: 0, step: 1 }
    }

    fn person_key(&self) -> PersonKey {
        let mut cose = vec![0xa4, 1, 1, 3, 0x27, 0x20, 6, 0x21, 0x58, 32];
        cose.extend(self.secret.public());
        let (rp_id, origin) = ("matron.example.org".into(), "https://matron.example.org".into());
        PersonKey { scheme: Scheme::Passkey, public: encode(&Passkey { rp_id, origin, cose }) }
    }

    /// Signs an order's bytes as a browser has it done; it counts one more each time.
    fn sign(&mut self, order: &[u8]) -> SignedOrder {
        self.count += self.step;
        let challenge = URL_SAFE_NO_PAD.encode(sha256(order).0);
        let client = format!(
            r#"{{"type":"webauthn.get","challenge":"{challenge}","origin":"https://matron.example.org","crossOrigin":false}}"#
        );
        let data = [&sha256(b"matron.example.org").0[..], &[0x05], &self.count.to_be_bytes()].concat();
        let signature = self.secret.sign(&[&data[..], &sha256(client.as_bytes()).0].concat());
        let assertion =
            Assertion { authenticator_data: data, client_data_json: client.into_bytes(), signature };
        let key = order::key_id(&self.person_key().public);
        let signatures = vec![OrderSignature { key, scheme: Scheme::Passkey, signature: encode(&assertion) }];
        SignedOrder { order: order.to_vec(), signatures }
    }

    /// Signs in; the session is of this byte.
    fn sign_in(&mut self, house: &mut House, session: u8) -> Option<Refusal> {
        let signed = self.sign(&grant(house, session));
        house.submit(&signed, &[], vec![]).refusal
    }
}

/// The bytes of an order to sign in.
fn grant(house: &mut House, session: u8) -> Vec<u8> {
    let session = Digest([session; 32]);
    let kind = OrderKind::Grant { session, records: 0, searches: 0, compartments: vec![], valid_ms: HOUR_MS };
    let nobody = Ed25519Secret::from_seed([99; 32]).unwrap();
    house.order(&nobody, kind, vec![], None).0.order
}

/// A house whose first administrator has added a passkey, which takes his other key's signature.
fn with_passkey() -> (House, Authenticator) {
    let (mut house, key) = House::joined();
    let authenticator = Authenticator::new(31);
    let (signed, sealed) =
        house.order(&key, OrderKind::AddKey { key: authenticator.person_key() }, vec![], None);
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, None);
    (house, authenticator)
}

#[test]
fn the_first_administrator_may_join_by_a_passkey_and_signs_in_with_it_after_a_restart_too() {
    let mut house = House::new();
    let mut authenticator = Authenticator::new(31);
    let kind = OrderKind::JoinFirst { key: authenticator.person_key() };
    let secrets = encode(&JoinSecrets { name: "Ada Example".into() });
    let token = Ed25519Secret::from_seed(*house.token.seed()).unwrap();
    let (signed, sealed) = house.order(&token, kind, vec![], Some(&secrets));
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, None);
    assert_eq!(authenticator.sign_in(&mut house, 1), None);
    let mut house = house.restart();
    assert_eq!(authenticator.sign_in(&mut house, 2), None);
}

#[test]
fn a_passkeys_assertion_is_good_for_the_order_it_was_made_for_alone() {
    let (mut house, mut authenticator) = with_passkey();
    let (one, another) = (grant(&mut house, 1), grant(&mut house, 2));
    let signed = authenticator.sign(&one);
    let moved = SignedOrder { order: another, signatures: signed.signatures.clone() };
    assert_eq!(house.submit(&moved, &[], vec![]).refusal, Some(Refusal::BadSignature));
    assert_eq!(house.submit(&signed, &[], vec![]).refusal, None);
}

#[test]
fn a_copy_of_a_passkey_does_not_sign_in_once_the_other_has_after_a_restart_neither() {
    let (mut house, mut own) = with_passkey();
    assert_eq!(own.sign_in(&mut house, 1), None);
    let mut copy = Authenticator {
        secret: Ed25519Secret::from_seed(*own.secret.seed()).unwrap(),
        count: own.count,
        step: 1,
    };
    assert_eq!(own.sign_in(&mut house, 2), None);
    let mut pipe = super::alarms::Pipe::of(&house);
    pipe.read();
    assert_eq!(copy.sign_in(&mut house, 3), Some(Refusal::PasskeyCopied));
    let alarms = pipe.read();
    let told: Vec<_> = alarms.iter().map(|a| (a.kind, a.refusal)).collect();
    assert_eq!(told, [(AlarmKind::PasskeyCopied, Some(Refusal::PasskeyCopied.number()))]);
    copy.count = 0;
    let mut house = house.restart();
    assert_eq!(copy.sign_in(&mut house, 4), Some(Refusal::PasskeyCopied));
    assert_eq!(own.sign_in(&mut house, 5), None);
}

#[test]
fn a_grant_that_waits_for_a_second_signature_is_no_copys_though_its_signer_signed_in_meanwhile() {
    let (mut house, key) = House::joined();
    house.person(&key, 50, Role::Administrator, None);
    let second = Ed25519Secret::from_seed([50; 32]).unwrap();
    let mut own = Authenticator::new(31);
    let (mut signed, sealed) = house.order(&key, OrderKind::AddKey { key: own.person_key() }, vec![], None);
    signed.add_signature(&second);
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, None);
    let session = Digest([9; 32]);
    let (records, compartments) = (5_000, vec![Compartment::Identity]);
    let kind = OrderKind::Grant { session, records, searches: 0, compartments, valid_ms: HOUR_MS };
    let wide = house.order(&key, kind, vec![], None).0.order;
    let mut waits = own.sign(&wide);
    assert_eq!(house.submit(&waits, &[], vec![]).refusal, Some(Refusal::NeedsSignatures));
    assert_eq!(own.sign_in(&mut house, 1), None);
    waits.add_signature(&second);
    assert_eq!(house.submit(&waits, &[], vec![]).refusal, None);
    // The count of then is no way back for a copy.
    let mut copy =
        Authenticator { secret: Ed25519Secret::from_seed(*own.secret.seed()).unwrap(), count: 0, step: 1 };
    assert_eq!(copy.sign_in(&mut house, 2), Some(Refusal::PasskeyCopied));
}

#[test]
fn a_passkey_that_keeps_no_count_signs_in_again_and_again() {
    let (mut house, mut authenticator) = with_passkey();
    authenticator.step = 0;
    for session in 1..4 {
        assert_eq!(authenticator.sign_in(&mut house, session), None);
    }
}

#[test]
fn a_passkey_alone_changes_no_people_keys_or_limits() {
    let (mut house, mut authenticator) = with_passkey();
    let nobody = Ed25519Secret::from_seed([99; 32]).unwrap();
    let more = Authenticator::new(32).person_key();
    let own = order::key_id(&authenticator.person_key().public);
    let person = house.chamber.state.holder_of(&own).unwrap().0;
    let duty = model::Duty::Lock;
    let secrets = encode(&JoinSecrets { name: "Mary Example".into() });
    for (kind, secrets) in [
        (
            OrderKind::AddPerson { key: more.clone(), role: Role::Engineer, group: None },
            Some(secrets.as_slice()),
        ),
        (OrderKind::RemovePerson { person }, None),
        (OrderKind::AddKey { key: more }, None),
        (OrderKind::EndKey { key: own }, None),
        (OrderKind::SetLimit { limit: Limit::Alone { duty }, value: 2 }, None),
        (OrderKind::RotateKeys { keys: vec![model::KeyName::Index] }, None),
        (OrderKind::AssumeBreach { reissues_an_hour: 100 }, None),
    ] {
        let name = kind.name();
        let (bare, sealed) = house.order(&nobody, kind, vec![], secrets);
        let signed = authenticator.sign(&bare.order);
        let refusal = house.submit(&signed, &sealed, vec![]).refusal;
        let earlier = match name {
            "remove_person" => Refusal::LastAdministrator,
            "set_limit" => Refusal::NeedsSecondAdministrator,
            _ => Refusal::NeedsSignatures,
        };
        assert_eq!(refusal, Some(earlier), "{name}");
    }
}

#[test]
fn the_passkeys_of_two_administrators_remove_nobody_and_set_no_limit_until_a_key_of_theirs_signs_too() {
    let (mut house, mut ada) = with_passkey();
    let ada_key = Ed25519Secret::from_seed([42; 32]).unwrap();
    let ben_key = house.person(&ada_key, 60, Role::Administrator, None);
    let mut ben = Authenticator::new(33);
    let (mut add, sealed) = house.order(&ben_key, OrderKind::AddKey { key: ben.person_key() }, vec![], None);
    add.add_signature(&ada_key);
    assert_eq!(house.submit(&add, &sealed, vec![]).refusal, None);
    let engineer = house.person_by(&[&ada_key, &ben_key], 61, Role::Engineer, None);
    let person = house.chamber.state.holder_of(&order::key_id(&engineer.public())).unwrap().0;
    let limit = Limit::Alone { duty: model::Duty::Lock };
    for kind in [OrderKind::SetLimit { limit, value: 2 }, OrderKind::RemovePerson { person }] {
        let name = kind.name();
        let (bare, sealed) = house.order(&ada_key, kind, vec![], None);
        let mut signed = ada.sign(&bare.order);
        signed.signatures.extend(ben.sign(&bare.order).signatures);
        let outcome = house.submit(&signed, &sealed, vec![]);
        assert_eq!(outcome.refusal, Some(Refusal::NeedsSignatures), "{name}");
        assert_eq!(outcome.hold.map(|h| h.why), Some(order::limits::Why::OutsideBrowser), "{name}");
        signed.add_signature(&ben_key);
        assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, None, "{name}");
    }
}

#[test]
fn a_signature_from_outside_the_browser_counts_though_the_same_person_gave_a_passkeys_first() {
    let (mut house, mut authenticator) = with_passkey();
    let key = Ed25519Secret::from_seed([42; 32]).unwrap();
    let kind = OrderKind::RotateKeys { keys: vec![model::KeyName::Index] };
    let (bare, sealed) = house.order(&key, kind, vec![], None);
    let mut signed = authenticator.sign(&bare.order);
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, Some(Refusal::NeedsSignatures));
    signed.add_signature(&key);
    let outcome = house.submit(&signed, &sealed, vec![]);
    assert_eq!(outcome.refusal, None);
    let mut signers = vec![];
    ledger::replay(house.dir.path(), |entry| {
        if let ledger::Body::OrderAccepted { signer, counted, .. } = &entry.entry.body
            && entry.position.index == outcome.position
        {
            signers.push((*signer, counted.as_ref().unwrap().approvals.len()));
        }
    })
    .unwrap();
    assert_eq!(signers, [(key.id(), 0)], "one person, once");
}

#[test]
fn who_could_sign_outside_the_browser_still_can_whatever_keys_they_end() {
    let (mut house, authenticator) = with_passkey();
    let key = Ed25519Secret::from_seed([42; 32]).unwrap();
    let mut end = |id| {
        let (signed, sealed) = house.order(&key, OrderKind::EndKey { key: id }, vec![], None);
        house.submit(&signed, &sealed, vec![]).refusal
    };
    assert_eq!(end(key.id()), Some(Refusal::KeyStays));
    assert_eq!(end(order::key_id(&authenticator.person_key().public)), None);
}

#[test]
fn a_passkey_for_another_site_or_of_no_known_kind_does_not_join() {
    let (mut house, key) = House::joined();
    let good = Authenticator::new(31).person_key();
    let other = |change: &dyn Fn(&mut Passkey)| {
        let mut passkey = Passkey::read(&good.public).unwrap();
        change(&mut passkey);
        PersonKey { scheme: Scheme::Passkey, public: encode(&passkey) }
    };
    for bad in [
        other(&|k| k.origin = "http://matron.example.org".into()),
        other(&|k| k.origin = "https://example.com".into()),
        other(&|k| k.cose = vec![0xa0]),
        PersonKey { scheme: Scheme::Passkey, public: vec![1; 32] },
        PersonKey { scheme: Scheme::Ed25519, public: good.public.clone() },
    ] {
        let (signed, sealed) = house.order(&key, OrderKind::AddKey { key: bad }, vec![], None);
        assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, Some(Refusal::BadArgument));
    }
}
