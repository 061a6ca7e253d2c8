//! Sets of declarations: what they come to, what they may take away, and how long the vault signs for them.

use super::*;
use model::{DeclarationId, DeclarationKind, SetName};
use order::{DeclarationAnswer, DeclarationSecrets, DeclarationsError, SignedDeclarations, endpoint_hash};

const POLICY: &str = r#"[
    {"Type": "com.apple.activation.simple", "Identifier": "on",
     "Payload": {"StandardConfigurations": ["passcode"]}},
    {"Type": "com.apple.configuration.passcode.settings", "Identifier": "passcode",
     "Payload": {"MinimumLength": 6}}
]"#;
const STATUS: &str = r#"[
    {"Type": "com.apple.activation.simple", "Identifier": "on2",
     "Payload": {"StandardConfigurations": ["status"]}},
    {"Type": "com.apple.configuration.management.status-subscriptions", "Identifier": "status",
     "Payload": {"StatusItems": [{"Name": "device.operating-system.version"}]}}
]"#;

impl House {
    fn declare_as(
        &mut self,
        key: &Ed25519Secret,
        set: &str,
        json: &str,
        targets: Vec<EnrolmentId>,
        holder: Option<&str>,
    ) -> (SignedOrder, Vec<u8>, Outcome) {
        let secrets = DeclarationSecrets {
            declarations: json.as_bytes().to_vec(),
            holder_name: holder.map(str::to_owned),
        };
        let kind = OrderKind::SetDeclarations { set: SetName::new(set).unwrap() };
        let (signed, sealed) = self.order(key, kind, targets, Some(&encode(&secrets)));
        let outcome = self.submit(&signed, &sealed, vec![]);
        (signed, sealed, outcome)
    }

    fn declare(&mut self, key: &Ed25519Secret, set: &str, json: &str, phone: EnrolmentId) -> Outcome {
        self.declare_as(key, set, json, vec![phone], None).2
    }

    fn told(&mut self, phone: EnrolmentId) -> (SignedDeclarations, Vec<u8>, Vec<u8>) {
        let told = self.durable(|c| c.declarations(&[phone])).unwrap().pop().unwrap();
        assert_eq!(told.enrolment, phone);
        (told.warrant, told.tokens, told.items)
    }

    fn fits(
        &self,
        warrant: &SignedDeclarations,
        phone: EnrolmentId,
        endpoint: &str,
        status: u16,
        bytes: &[u8],
    ) -> Result<(), DeclarationsError> {
        let answer = DeclarationAnswer { enrolment: phone, endpoint: endpoint_hash(endpoint), status, bytes };
        warrant.verify(&self.chamber.keys.warrant.public(), self.chamber.now_ms, &answer)
    }

    /// A declaration's bytes as the door opens them.
    fn body(&self, outcome: &Outcome, n: usize) -> Vec<u8> {
        let body = &outcome.declarations[n];
        let opened = to::open(&self.door, to::INFO_DELIVERY, body.digest.as_bytes(), &body.sealed_body);
        opened.unwrap().to_vec()
    }
}

#[test]
fn every_answer_of_a_set_is_warranted_for_its_phone_and_endpoint_alone() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "A One", "ward-7");
    let other = house.enrolled(&key, "B Two", "ward-7");
    assert_eq!(house.chamber.declarations(&[phone]).err(), Some(Refusal::NoDeclarations));
    let outcome = house.declare(&key, "policy", POLICY, phone);
    assert_eq!((outcome.refusal, outcome.erasing), (None, false));
    // One command, whose bytes hold no declaration.
    let [command] = &outcome.commands[..] else { panic!() };
    assert_eq!(apple::command::parse(&command.body).unwrap().1, "DeclarativeManagement");
    let (warrant, tokens, items) = house.told(phone);
    assert_eq!(house.fits(&warrant, phone, "tokens", 200, &tokens), Ok(()));
    assert_eq!(house.fits(&warrant, phone, "declaration-items", 200, &items), Ok(()));
    let passcode = house.body(&outcome, 1);
    let endpoint = "declaration/configuration/passcode";
    assert_eq!(house.fits(&warrant, phone, endpoint, 200, &passcode), Ok(()));
    assert_eq!(house.fits(&warrant, phone, endpoint, 404, b""), Err(DeclarationsError::OtherStatus));
    let on = house.body(&outcome, 0);
    assert_eq!(house.fits(&warrant, phone, endpoint, 200, &on), Err(DeclarationsError::OtherBytes));
    assert_eq!(
        house.fits(&warrant, phone, "declaration/asset/passcode", 200, &passcode),
        Err(DeclarationsError::OtherEndpoint)
    );
    assert_eq!(house.fits(&warrant, other, "tokens", 200, &tokens), Err(DeclarationsError::OtherPhone));
    // Core can't read a body: it is sealed to the door.
    let sealed = &outcome.declarations[1].sealed_body;
    assert!(!sealed.windows(8).any(|w| w == b"passcode"));
}

#[test]
fn a_set_outlives_its_order_and_a_restart_and_is_signed_for_day_by_day() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "A One", "ward-7");
    house.declare(&key, "policy", POLICY, phone);
    let (old, tokens, _) = house.told(phone);
    house.clock.advance(400 * DAY_MS);
    let mut house = house.restart();
    house.chamber.tick();
    assert_eq!(house.fits(&old, phone, "tokens", 200, &tokens), Err(DeclarationsError::Expired));
    let (new, same, _) = house.told(phone);
    assert_eq!(same, tokens, "nothing changed for the phone");
    assert_eq!(house.fits(&new, phone, "tokens", 200, &tokens), Ok(()));
}

#[test]
fn sets_add_up_and_one_replaced_takes_what_it_held_before_with_a_warranted_404() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "A One", "ward-7");
    house.declare(&key, "policy", POLICY, phone);
    let only_policy = house.told(phone).1;
    house.declare(&key, "status", STATUS, phone);
    let (warrant, tokens, items) = house.told(phone);
    assert_ne!(tokens, only_policy);
    let text = String::from_utf8(items).unwrap();
    assert!(text.contains("\"passcode\"") && text.contains("\"status\""));
    let gone = "declaration/configuration/status";
    assert_eq!(house.fits(&warrant, phone, gone, 404, b""), Err(DeclarationsError::OtherStatus));
    assert_eq!(house.declare(&key, "status", "[]", phone).refusal, None);
    let (warrant, tokens, items) = house.told(phone);
    assert_eq!(house.fits(&warrant, phone, gone, 404, b""), Ok(()));
    assert!(!String::from_utf8(items).unwrap().contains("\"status\""));
    assert_eq!(tokens, only_policy, "the same content at the same moment has the same token");
    // Set again, it is no longer gone; after a restart either.
    house.declare(&key, "status", STATUS, phone);
    let mut house = house.restart();
    let warrant = house.told(phone).0;
    assert_eq!(house.fits(&warrant, phone, gone, 404, b""), Err(DeclarationsError::OtherStatus));
    assert_eq!(house.chamber.state.declared.of(&phone).unwrap().held().count(), 4);
}

#[test]
fn a_set_that_takes_a_policy_away_counts_as_erasure_however_it_is_written() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "Grace Example", "ward-7");
    let other = house.enrolled(&key, "B Two", "ward-7");
    let both = vec![phone, other];
    assert_eq!(house.declare_as(&key, "policy", POLICY, both.clone(), None).2.refusal, None);
    let weaker = POLICY.replace("6", "4");
    assert_eq!(house.declare_as(&key, "policy", &weaker, both.clone(), None).2.refusal, None);
    let inactive = POLICY.replace("[\"passcode\"]", "[]");
    let renamed = POLICY.replace("\"passcode\"", "\"another\"");
    let posing = r#"[{"Type": "com.apple.management.properties", "Identifier": "passcode", "Payload": {}}]"#;
    for taken in ["[]", &inactive, &renamed, posing] {
        let refused = house.declare_as(&key, "policy", taken, both.clone(), None).2;
        assert_eq!(refused.refusal, Some(Refusal::ErasesTooMany), "{taken}");
        let wrong = house.declare_as(&key, "policy", taken, vec![phone], Some("Mary Example")).2;
        assert_eq!(wrong.refusal, Some(Refusal::WrongHolder), "{taken}");
    }
    let right = house.declare_as(&key, "policy", "[]", vec![phone], Some("grace EXAMPLE")).2;
    assert_eq!((right.refusal, right.erasing), (None, true));
    // What is not on the list of mild ones counts too, whatever was there before.
    let account = r#"[{"Type": "com.apple.configuration.account.caldav", "Identifier": "a",
                       "Payload": {"HostName": "192.0.2.1"}}]"#;
    let refused = house.declare_as(&key, "mail", account, both, None).2;
    assert_eq!(refused.refusal, Some(Refusal::ErasesTooMany));
}

#[test]
fn a_set_is_refused_when_it_is_broken_taken_too_large_or_not_the_signers_to_set() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "A One", "ward-7");
    house.declare(&key, "policy", POLICY, phone);
    let taken = house.declare(&key, "again", POLICY, phone).refusal;
    assert_eq!(taken, Some(Refusal::DeclarationTaken));
    for bad in ["", "{}", "[{}]", r#"[{"Type": "com.apple.unheard.of", "Identifier": "a", "Payload": {}}]"#] {
        assert_eq!(house.declare(&key, "bad", bad, phone).refusal, Some(Refusal::BadDeclaration), "{bad}");
    }
    let one = |n| {
        format!(r#"{{"Type": "com.apple.management.properties", "Identifier": "p{n}", "Payload": {{}}}}"#)
    };
    let many = |n| format!("[{}]", (0..n).map(one).collect::<Vec<_>>().join(","));
    let refused = house.declare(&key, "many", &many(199), phone).refusal;
    assert_eq!(refused, Some(Refusal::TooManyDeclarations));
    assert_eq!(house.declare(&key, "many", &many(198), phone).refusal, None);
    let stranger = EnrolmentId([9; 16]);
    assert_eq!(house.declare(&key, "x", STATUS, stranger).refusal, Some(Refusal::UnknownEnrolment));
    let desk = house.person(&key, 50, Role::ServiceDesk, None);
    assert_eq!(house.declare(&desk, "x", STATUS, phone).refusal, Some(Refusal::RoleNotAllowed));
    let other = house.enrolled(&key, "B Two", "ward-7");
    let look = house.command(&key, Command::DeclarativeManagement, vec![other], &CommandSecrets::default());
    assert_eq!(look.refusal, Some(Refusal::NoDeclarations));
}

#[test]
fn an_order_for_declarations_that_comes_again_gives_the_same_bytes_and_can_not_be_called_back() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "A One", "ward-7");
    let (signed, sealed, first) = house.declare_as(&key, "policy", POLICY, vec![phone], None);
    let mut house = house.restart();
    let entries = house.chamber.state.entries;
    let again = house.submit(&signed, &sealed, vec![]);
    assert_eq!((again.refusal, again.position), (None, first.position));
    assert_eq!(house.chamber.state.entries, entries);
    assert_eq!(house.body(&again, 1), house.body(&first, 1));
    assert_eq!(again.commands[0].body, first.commands[0].body);
    let order = decode::<Order>(&signed.order).unwrap().id;
    let (recall, _) = house.order(&key, OrderKind::Recall { order }, vec![], None);
    assert_eq!(house.submit(&recall, &[], vec![]).refusal, Some(Refusal::SetStands));
}

#[test]
fn what_a_phone_held_before_is_remembered_within_bounds() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "A One", "ward-7");
    for round in 0..3 {
        let one = |n| {
            format!(
                r#"{{"Type": "com.apple.management.properties", "Identifier": "p{round}.{n}", "Payload": {{}}}}"#
            )
        };
        let set = format!("[{}]", (0..150).map(one).collect::<Vec<_>>().join(","));
        assert_eq!(house.declare(&key, "many", &set, phone).refusal, None);
    }
    let gone = house.chamber.state.declared.of(&phone).unwrap().gone();
    assert_eq!(gone.len(), 200);
    let newest = (DeclarationKind::Management, DeclarationId::new("p1.149").unwrap());
    assert_eq!(gone.last(), Some(&newest));
}
