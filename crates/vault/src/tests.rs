//! The vault without its walls: orders, invitations, certificates, commands, grants, and what a
//! restart finds.

mod alarms;
mod authority;
mod clock;
mod declarations;
mod device_groups;
mod erase;
mod faults;
mod give_back;
mod holder;
mod hostile;
mod library;
mod limits;
mod outlines;
mod passkeys;
mod readers;
mod renewal;
mod restored;
mod root;
mod rotation;
mod tree;

use std::sync::Arc;

use apple::x509::{Certificate, RsaSigner, Signer as _};
use aws_lc_rs::rand::SystemRandom;
use ledger::Witness;
use model::clock::{DAY_MS, HOUR_MS, HandClock, MINUTE_MS};
use model::{Command, CommandSecrets, Compartment, Digest, EnrolmentId, Group, OrderId, Role, SealedRow};
use order::{
    AnswerClass, Ed25519Secret, InviteAnswer, InviteSecrets, JoinSecrets, OpenAnswer, Order, OrderKind,
    Refusal, SearchSecrets, SignedOrder, Subject, WarrantedAnswer, X25519Public, decode, encode, sha256,
};
use rpc::install::{CourierPublic, DoorPublic, Installed, ReaderPublic, VaultWants};
use seal::{CompartmentPublic, KeyPairSecret, Sealer, to};
use tempfile::TempDir;

use crate::chamber::Chamber;
use crate::room::Config;
use crate::submit::{Outcome, Submitted};

const NOW_MS: i64 = 1_780_000_000_000;

/// A vault in a temporary folder, with the keys of the rooms around it.
struct House {
    dir: TempDir,
    clock: Arc<HandClock>,
    chamber: Chamber,
    reader: KeyPairSecret,
    door: KeyPairSecret,
    token: Ed25519Secret,
    answers: KeyPairSecret,
    tls_certificate: Vec<u8>,
    next: u8,
}

fn config(dir: &TempDir) -> Config {
    Config {
        data_dir: dir.path().into(),
        base_url: "https://mdm.example.org".into(),
        organization: "Example Hospital".into(),
        organization_phone: Some("+44 20 7946 0123".into()),
        topic: "com.apple.mgmt.External.test".into(),
        unsigned_profiles: false,
        admit_old_algorithms: false,
        certificate_days: 730,
        sign_messages: false,
    }
}

fn seed_of(installed: &Installed) -> [u8; 32] {
    let text = installed.first_token.split('-').nth(2).unwrap();
    text.parse::<Digest>().unwrap().0
}

impl House {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let rng = SystemRandom::new();
        let reader = KeyPairSecret::generate(&rng).unwrap();
        let door = KeyPairSecret::generate(&rng).unwrap();
        let push = KeyPairSecret::generate(&rng).unwrap();
        let tls = apple::x509::P256Signer::generate().unwrap();
        let ra = RsaSigner::generate().unwrap();
        let wants = VaultWants {
            door: DoorPublic { tls_spki: tls.spki_der().to_vec(), delivery_key: door.public().0 },
            reader: ReaderPublic { ra_spki: ra.spki_der().to_vec(), sender_key: reader.public().0 },
            courier: CourierPublic { push_key: push.public().0 },
            tls_names: vec!["mdm.example.org".into(), "192.0.2.7".into()],
        };
        let installed = crate::prepare(dir.path(), &wants, NOW_MS).unwrap();
        let clock = Arc::new(HandClock::at(NOW_MS));
        let chamber = Chamber::open(dir.path(), config(&dir), Arc::new(clock.clone())).unwrap();
        let token = Ed25519Secret::from_seed(seed_of(&installed)).unwrap();
        let answers = KeyPairSecret::generate(&rng).unwrap();
        let tls_certificate = installed.tls_certificate;
        Self { dir, clock, chamber, reader, door, token, answers, tls_certificate, next: 0 }
    }

    /// A house whose first administrator has joined.
    fn joined() -> (Self, Ed25519Secret) {
        let mut house = Self::new();
        let key = Ed25519Secret::from_seed([42; 32]).unwrap();
        let kind = OrderKind::JoinFirst { key: key.person_key() };
        let secrets = encode(&JoinSecrets { name: "Ada Example".into() });
        let token = Ed25519Secret::from_seed(*house.token.seed()).unwrap();
        let (signed, sealed) = house.order(&token, kind, vec![], Some(&secrets));
        assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, None);
        (house, key)
    }

    /// What a crash leaves: the files, read anew.
    fn restart(self) -> Self {
        let Self { dir, clock, chamber, reader, door, token, answers, tls_certificate, next } = self;
        drop(chamber);
        let chamber = Chamber::open(dir.path(), config(&dir), Arc::new(clock.clone())).unwrap();
        Self { dir, clock, chamber, reader, door, token, answers, tls_certificate, next }
    }

    fn order_with(
        &mut self,
        key: &Ed25519Secret,
        kind: OrderKind,
        targets: Vec<EnrolmentId>,
        secrets: Option<&[u8]>,
        change: impl FnOnce(&mut Order),
    ) -> (SignedOrder, Vec<u8>) {
        self.next += 1;
        let id = OrderId([self.next; 16]);
        let to_vault = self.chamber.keys.file.order_key.public();
        let seal = |s: &[u8]| {
            to::seal(&to_vault, to::INFO_ORDER_ARGS, id.as_bytes(), s, &SystemRandom::new()).unwrap()
        };
        let sealed = secrets.map(seal).unwrap_or_default();
        let mut order = Order {
            version: 1,
            id,
            kind,
            targets,
            reason: "a test".into(),
            made_at_ms: NOW_MS,
            expires_at_ms: NOW_MS + DAY_MS,
            answer_key: X25519Public(self.answers.public().0),
            sealed_digest: secrets.map(|_| sha256(&sealed)),
            outline: None,
        };
        order.outline = secrets.and_then(|s| outline_of(&order.kind, s));
        change(&mut order);
        (SignedOrder::sign(&order, key), sealed)
    }

    fn order(
        &mut self,
        key: &Ed25519Secret,
        kind: OrderKind,
        targets: Vec<EnrolmentId>,
        secrets: Option<&[u8]>,
    ) -> (SignedOrder, Vec<u8>) {
        self.order_with(key, kind, targets, secrets, |_| {})
    }

    /// Decides and makes durable, as the chamber's thread does.
    fn durable<T>(&mut self, job: impl FnOnce(&mut Chamber) -> T) -> T {
        self.chamber.tick();
        let answer = job(&mut self.chamber);
        self.chamber.flush().unwrap();
        answer
    }

    fn submit(
        &mut self,
        signed: &SignedOrder,
        sealed: &[u8],
        rows: Vec<(EnrolmentId, SealedRow)>,
    ) -> Outcome {
        let submitted =
            Submitted { signed: encode(signed), sealed_arguments: sealed.to_vec(), rows, profile: None };
        self.durable(|c| c.submit(&submitted))
    }

    fn answer(&self, signed: &SignedOrder, outcome: &Outcome) -> Vec<u8> {
        let id = decode::<Order>(&signed.order).unwrap().id;
        let opened = to::open(&self.answers, to::INFO_ORDER_ANSWER, id.as_bytes(), &outcome.sealed_answer);
        opened.unwrap().to_vec()
    }

    fn invite(&mut self, key: &Ed25519Secret, name: &str, group: &str) -> InviteAnswer {
        let kind = OrderKind::Invite { group: Group::new(group).unwrap(), valid_ms: 7 * DAY_MS };
        let secrets = encode(&InviteSecrets { name: name.into(), email: "p@example.org".into() });
        let (signed, sealed) = self.order(key, kind, vec![], Some(&secrets));
        let outcome = self.submit(&signed, &sealed, vec![]);
        assert_eq!(outcome.refusal, None);
        decode(&self.answer(&signed, &outcome)).unwrap()
    }

    fn request(&self, challenge: &str, phone: &RsaSigner) -> Vec<u8> {
        let csr = apple::csr::build(phone, "phone", Some(challenge)).unwrap();
        let request = apple::scep::SealedRequest { csr: csr.into(), challenge: challenge.to_owned().into() };
        let to_vault = self.chamber.keys.file.order_key.public();
        let rng = SystemRandom::new();
        to::seal_auth(&self.reader, &to_vault, to::INFO_SCEP, b"", &request.to_bytes(), &rng).unwrap()
    }

    fn issue(&mut self, challenge: &str, phone: &RsaSigner) -> Result<(EnrolmentId, Vec<u8>), Refusal> {
        let sealed = self.request(challenge, phone);
        self.durable(|c| c.issue(&sealed))
    }

    /// Another person's key, once they have joined in this role.
    fn person(&mut self, key: &Ed25519Secret, seed: u8, role: Role, group: Option<&str>) -> Ed25519Secret {
        self.person_by(&[key], seed, role, group)
    }

    /// The same, let in by several.
    fn person_by(
        &mut self,
        keys: &[&Ed25519Secret],
        seed: u8,
        role: Role,
        group: Option<&str>,
    ) -> Ed25519Secret {
        let new = Ed25519Secret::from_seed([seed; 32]).unwrap();
        let group = group.map(|g| Group::new(g).unwrap());
        let kind = OrderKind::AddPerson { key: new.person_key(), role, group };
        let secrets = encode(&JoinSecrets { name: "Mary Example".into() });
        let first = *keys.first().unwrap();
        let (mut signed, sealed) = self.order(first, kind, vec![], Some(&secrets));
        keys.iter().skip(1).for_each(|key| signed.add_signature(key));
        assert_eq!(self.submit(&signed, &sealed, vec![]).refusal, None);
        new
    }

    /// An enrolled phone of this holder.
    fn enrolled(&mut self, key: &Ed25519Secret, name: &str, group: &str) -> EnrolmentId {
        let invited = self.invite(key, name, group);
        let challenge = self.chamber.invitation_challenge(&invited.enrolment).to_string();
        self.issue(&challenge, &RsaSigner::generate().unwrap()).unwrap().0
    }

    fn row(&self, phone: EnrolmentId, name: &str, compartment: Compartment, value: &[u8]) -> SealedRow {
        let publics: Vec<CompartmentPublic> = self.chamber.keys.compartment_publics();
        let mut sealer = Sealer::new(self.reader.clone(), publics);
        let rng = SystemRandom::new();
        sealer.seal(&rng, NOW_MS, &phone, name, compartment, value, String::new(), vec![]).unwrap()
    }

    fn command(
        &mut self,
        key: &Ed25519Secret,
        command: Command,
        targets: Vec<EnrolmentId>,
        secrets: &CommandSecrets,
    ) -> Outcome {
        let kind = OrderKind::Command { command };
        let (signed, sealed) = self.order(key, kind, targets, Some(&encode(secrets)));
        self.submit(&signed, &sealed, vec![])
    }
}

/// What whoever makes such an order tells of it.
fn outline_of(kind: &OrderKind, arguments: &[u8]) -> Option<model::SealedOutline> {
    match kind {
        OrderKind::Command { command } => apple::outline::of_command(command, &decode(arguments).ok()?),
        OrderKind::SetDeclarations { .. } => crate::declarations::outline_of_set(arguments).ok(),
        _ => None,
    }
}

fn erase() -> Command {
    Command::EraseDevice { preserve_data_plan: true, disallow_proximity_setup: false }
}

fn holder(name: &str) -> CommandSecrets {
    CommandSecrets { holder_name: Some(name.into()), ..CommandSecrets::default() }
}

#[test]
fn the_token_makes_one_administrator_and_no_second() {
    let (mut house, _) = House::joined();
    let key = Ed25519Secret::from_seed([43; 32]).unwrap();
    let token = Ed25519Secret::from_seed(*house.token.seed()).unwrap();
    let kind = OrderKind::JoinFirst { key: key.person_key() };
    let secrets = encode(&JoinSecrets { name: "Eve Example".into() });
    let (signed, sealed) = house.order(&token, kind, vec![], Some(&secrets));
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, Some(Refusal::TokenSpent));
}

#[test]
fn the_first_order_that_comes_again_gets_its_recorded_outcome() {
    let mut house = House::new();
    let key = Ed25519Secret::from_seed([42; 32]).unwrap();
    let token = Ed25519Secret::from_seed(*house.token.seed()).unwrap();
    let kind = OrderKind::JoinFirst { key: key.person_key() };
    let secrets = encode(&JoinSecrets { name: "Ada Example".into() });
    let (signed, sealed) = house.order(&token, kind, vec![], Some(&secrets));
    let first = house.submit(&signed, &sealed, vec![]);
    let mut house = house.restart();
    let entries = house.chamber.state.entries;
    let again = house.submit(&signed, &sealed, vec![]);
    assert_eq!((again.refusal, again.position), (None, first.position));
    assert_eq!(house.chamber.state.entries, entries);
}

#[test]
fn orders_that_are_altered_expired_early_or_by_a_stranger_are_refused() {
    let (mut house, key) = House::joined();
    let lock = || OrderKind::Command { command: Command::DeviceLock };
    let phone = house.enrolled(&key, "Grace Example", "ward-7");
    type Change = fn(&mut Order);
    let cases: [(Refusal, Change); 6] = [
        (Refusal::Expired, |o| o.expires_at_ms = NOW_MS),
        (Refusal::FromTheFuture, |o| o.made_at_ms = NOW_MS + HOUR_MS),
        (Refusal::LivesTooLong, |o| o.expires_at_ms = NOW_MS + 31 * DAY_MS),
        (Refusal::BadReason, |o| o.reason = "  ".into()),
        (Refusal::BadArgument, |o| o.targets = vec![o.targets[0]; 2]),
        (Refusal::UnknownEnrolment, |o| o.targets = vec![EnrolmentId([9; 16])]),
    ];
    for (refusal, change) in cases {
        let (signed, sealed) = house.order_with(&key, lock(), vec![phone], None, change);
        assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, Some(refusal));
    }
    let (mut signed, sealed) = house.order(&key, lock(), vec![phone], None);
    signed.signatures[0].signature[3] ^= 1;
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, Some(Refusal::BadSignature));
    // Each byte of what was signed.
    let (good, sealed_for_good) = house.order(&key, lock(), vec![phone], None);
    let length = good.order.len();
    for at in 0..length {
        let mut altered = good.clone();
        altered.order[at] ^= 1;
        assert!(house.submit(&altered, &sealed_for_good, vec![]).refusal.is_some(), "byte {at}");
    }
    let stranger = Ed25519Secret::from_seed([99; 32]).unwrap();
    let (signed, sealed) = house.order(&stranger, lock(), vec![phone], None);
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, Some(Refusal::UnknownSigner));
    assert_eq!(house.chamber.state.refused_orders, 8 + length as u64);
    assert_eq!(house.submit(&good, &sealed_for_good, vec![]).refusal, None);
}

#[test]
fn sealed_arguments_of_another_order_or_altered_are_refused() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "Grace Example", "ward-7");
    let kind = || OrderKind::Command { command: Command::DeviceLock };
    let secrets = encode(&CommandSecrets { message: Some("call the desk".into()), ..Default::default() });
    let (_, other) = house.order(&key, kind(), vec![phone], Some(&secrets));
    let (signed, mut sealed) = house.order(&key, kind(), vec![phone], Some(&secrets));
    assert_eq!(house.submit(&signed, &other, vec![]).refusal, Some(Refusal::BadSealedArguments));
    let (signed2, _) = house.order(&key, kind(), vec![phone], Some(&secrets));
    assert_eq!(house.submit(&signed2, b"", vec![]).refusal, Some(Refusal::BadSealedArguments));
    sealed[40] ^= 1;
    let id = OrderId([77; 16]);
    let digest = sha256(&sealed);
    let (signed3, _) = house.order_with(&key, kind(), vec![phone], None, |o| {
        o.id = id;
        o.sealed_digest = Some(digest);
    });
    assert_eq!(house.submit(&signed3, &sealed, vec![]).refusal, Some(Refusal::BadSealedArguments));
}

#[test]
fn an_invitation_gives_one_key_one_certificate_that_says_nothing_of_the_person() {
    let (mut house, key) = House::joined();
    let invited = house.invite(&key, "Grace Example", "ward-7");
    let link = model::LinkHash(sha256(invited.link_secret.as_bytes()).0);
    // A mail scanner looks first, and nothing is spent.
    let (warrant, sealed) = house.chamber.profile(&link).unwrap();
    house.chamber.profile(&link).unwrap();
    let claimed: order::Warrant = decode(&warrant.warrant).unwrap();
    let bytes = to::open(&house.door, to::INFO_DELIVERY, claimed.digest.as_bytes(), &sealed).unwrap();
    let answer = WarrantedAnswer {
        subject: Subject::Link(link),
        class: AnswerClass::EnrolmentProfile,
        status: 200,
        command: None,
        bytes: &bytes,
    };
    warrant.verify(&house.chamber.keys.warrant.public(), NOW_MS, &answer).unwrap();
    let plist = apple::cms::unwrap_signed(&bytes).unwrap();
    let profile = apple::profile::parse(&plist).unwrap();
    let phone = RsaSigner::generate().unwrap();
    let (enrolment, certificate) = house.issue(&profile.scep_challenge, &phone).unwrap();
    assert_eq!(enrolment, invited.enrolment);
    let text = String::from_utf8_lossy(&certificate).to_string();
    assert!(!text.contains("Grace") && !text.contains("example.org"));
    let read = Certificate::parse(&certificate).unwrap();
    assert_eq!(read.common_name(), Some(invited.enrolment.to_string().as_str()));
    // A lost reply, even over a restart: the same key, the same certificate.
    let mut house = house.restart();
    assert_eq!(house.issue(&profile.scep_challenge, &phone).unwrap().1, certificate);
    // A second phone on the same link.
    let second = RsaSigner::generate().unwrap();
    let refused = house.issue(&profile.scep_challenge, &second);
    assert_eq!(refused.unwrap_err(), Refusal::ChallengeReused);
}

#[test]
fn an_invitation_runs_out_can_be_withdrawn_and_is_not_guessed() {
    let (mut house, key) = House::joined();
    let phone = RsaSigner::generate().unwrap();
    let late = house.invite(&key, "Grace Example", "ward-7");
    let late_challenge = house.chamber.invitation_challenge(&late.enrolment).to_string();
    let taken = house.invite(&key, "Alan Example", "ward-7");
    let (signed, sealed) = house.order(&key, OrderKind::WithdrawInvitation, vec![taken.enrolment], None);
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, None);
    let challenge = house.chamber.invitation_challenge(&taken.enrolment).to_string();
    assert_eq!(house.issue(&challenge, &phone).unwrap_err(), Refusal::InvitationNotOpen);
    house.clock.advance(8 * DAY_MS);
    assert_eq!(house.issue(&late_challenge, &phone).unwrap_err(), Refusal::InvitationNotOpen);
    assert_eq!(house.issue("no.challenge", &phone).unwrap_err(), Refusal::InvitationNotOpen);
    let link = model::LinkHash(sha256(late.link_secret.as_bytes()).0);
    assert!(house.chamber.profile(&link).is_err());
}

#[test]
fn core_can_not_forge_what_the_reader_seals() {
    let (mut house, key) = House::joined();
    let invited = house.invite(&key, "Grace Example", "ward-7");
    let challenge = house.chamber.invitation_challenge(&invited.enrolment).to_string();
    let core = KeyPairSecret::generate(&SystemRandom::new()).unwrap();
    let forged = House { reader: core, ..house };
    let sealed = forged.request(&challenge, &RsaSigner::generate().unwrap());
    let mut house = forged;
    assert_eq!(house.durable(|c| c.issue(&sealed)).unwrap_err(), Refusal::CannotOpen);
}

#[test]
fn a_command_comes_with_one_digest_and_a_warrant_a_phone() {
    let (mut house, key) = House::joined();
    let phones = vec![house.enrolled(&key, "A One", "ward-7"), house.enrolled(&key, "B Two", "ward-7")];
    let outcome = house.command(&key, Command::DeviceLock, phones.clone(), &CommandSecrets::default());
    assert_eq!((outcome.refusal, outcome.erasing), (None, false));
    let [command] = &outcome.commands[..] else { panic!() };
    assert!(!command.sealed);
    for (phone, warrant) in &command.warrants {
        let answer = WarrantedAnswer {
            subject: Subject::Enrolment(*phone),
            class: AnswerClass::Command,
            status: 200,
            command: Some(command.command),
            bytes: &command.body,
        };
        warrant.verify(&house.chamber.keys.warrant.public(), NOW_MS, &answer).unwrap();
    }
    assert_eq!(command.warrants.len(), 2);
}

#[test]
fn what_a_person_typed_is_sealed_to_the_door() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "A One", "ward-7");
    let secrets = CommandSecrets { message: Some("Call 01632 960001".into()), ..CommandSecrets::default() };
    let outcome = house.command(&key, Command::DeviceLock, vec![phone], &secrets);
    let [command] = &outcome.commands[..] else { panic!() };
    assert!(command.sealed);
    assert!(!String::from_utf8_lossy(&command.body).contains("01632"));
    let claimed: order::Warrant = decode(&command.warrants[0].1.warrant).unwrap();
    let opened = to::open(&house.door, to::INFO_DELIVERY, claimed.digest.as_bytes(), &command.body);
    assert!(String::from_utf8_lossy(&opened.unwrap()).contains("01632 960001"));
}

#[test]
fn an_order_that_erases_alone_touches_one_phone_and_carries_the_holders_name() {
    let (mut house, key) = House::joined();
    let grace = house.enrolled(&key, "Grace Example", "ward-7");
    let alan = house.enrolled(&key, "Alan Example", "ward-7");
    let two = house.command(&key, erase(), vec![grace, alan], &holder("Grace Example"));
    assert_eq!(two.refusal, Some(Refusal::NeedsSecondAdministrator));
    let wrong = house.command(&key, erase(), vec![grace], &holder("Alan Example"));
    assert_eq!(wrong.refusal, Some(Refusal::WrongHolder));
    let none = house.command(&key, erase(), vec![grace], &CommandSecrets::default());
    assert_eq!(none.refusal, Some(Refusal::WrongHolder));
    let right = house.command(&key, erase(), vec![grace], &holder(" grace  EXAMPLE "));
    assert_eq!((right.refusal, right.erasing), (None, true));
}

#[test]
fn lost_mode_for_the_whole_fleet_needs_more_than_one_order() {
    let (mut house, key) = House::joined();
    let phones: Vec<_> = (0..=100u8).map(|n| EnrolmentId([n; 16])).collect();
    let secrets = CommandSecrets { message: Some("lost".into()), ..CommandSecrets::default() };
    let all = house.command(&key, Command::EnableLostMode, phones, &secrets);
    assert_eq!(all.refusal, Some(Refusal::TooManyPhones));
}

#[test]
fn a_profile_off_the_list_of_mild_ones_counts_as_erasure() {
    let (mut house, key) = House::joined();
    let phones = vec![house.enrolled(&key, "A One", "ward-7"), house.enrolled(&key, "B Two", "ward-7")];
    let profile = |payload_type: &str| {
        let text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><plist version=\"1.0\"><dict>\
             <key>PayloadType</key><string>Configuration</string><key>PayloadVersion</key><integer>1</integer>\
             <key>PayloadIdentifier</key><string>org.example.p</string>\
             <key>PayloadUUID</key><string>0B9A1E80-0000-4000-8000-000000000001</string>\
             <key>PayloadContent</key><array><dict><key>PayloadType</key><string>{payload_type}</string>\
             <key>PayloadVersion</key><integer>1</integer><key>PayloadIdentifier</key><string>org.example.p.1</string>\
             <key>PayloadUUID</key><string>0B9A1E80-0000-4000-8000-000000000002</string></dict></array></dict></plist>"
        );
        CommandSecrets { profile: Some(text.into_bytes()), ..CommandSecrets::default() }
    };
    let vpn = profile("com.apple.vpn.managed");
    let many = house.command(&key, Command::InstallProfile, phones.clone(), &vpn);
    assert_eq!(many.refusal, Some(Refusal::NeedsSecondAdministrator));
    let broken = CommandSecrets { profile: Some(b"<plist>".to_vec()), ..CommandSecrets::default() };
    let unreadable = house.command(&key, Command::InstallProfile, phones, &broken);
    assert!(unreadable.refusal.is_some());
}

#[test]
fn a_role_is_held_to_what_it_may_and_to_its_group() {
    let (mut house, key) = House::joined();
    let mine = house.enrolled(&key, "A One", "ward-7");
    let other = house.enrolled(&key, "B Two", "ward-8");
    let manager = Ed25519Secret::from_seed([50; 32]).unwrap();
    let kind = OrderKind::AddPerson {
        key: manager.person_key(),
        role: Role::WardManager,
        group: Some(Group::new("ward-7").unwrap()),
    };
    let secrets = encode(&JoinSecrets { name: "Mary Example".into() });
    let (signed, sealed) = house.order(&key, kind, vec![], Some(&secrets));
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, None);
    let lock =
        |h: &mut House, p| h.command(&manager, Command::DeviceLock, vec![p], &CommandSecrets::default());
    assert_eq!(lock(&mut house, mine).refusal, None);
    assert_eq!(lock(&mut house, other).refusal, Some(Refusal::OutOfScope));
    let wipe = house.command(&manager, erase(), vec![mine], &holder("A One"));
    assert_eq!(wipe.refusal, Some(Refusal::RoleNotAllowed));
}

#[test]
fn clearing_a_passcode_opens_that_phones_token_alone() {
    let (mut house, key) = House::joined();
    let phones = vec![house.enrolled(&key, "A One", "ward-7"), house.enrolled(&key, "B Two", "ward-7")];
    let clear = |h: &mut House| {
        let kind = OrderKind::Command { command: Command::ClearPasscode };
        h.order(&key, kind, phones.clone(), None)
    };
    let rows: Vec<_> =
        phones.iter().map(|p| (*p, house.row(*p, "UnlockToken", Compartment::Escrow, &p.0))).collect();
    let (signed, sealed) = clear(&mut house);
    let outcome = house.submit(&signed, &sealed, rows.clone());
    assert_eq!(outcome.refusal, None);
    assert_eq!(outcome.commands.len(), 2);
    assert!(outcome.commands.iter().all(|c| c.sealed && c.warrants.len() == 1));
    // Rows swapped between the phones by core don't open.
    let swapped = vec![(phones[0], rows[1].1.clone()), (phones[1], rows[0].1.clone())];
    let (signed, sealed) = clear(&mut house);
    assert_eq!(house.submit(&signed, &sealed, swapped).refusal, Some(Refusal::CannotOpen));
    let (signed, sealed) = clear(&mut house);
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, Some(Refusal::NoUnlockToken));
}

#[test]
fn an_order_that_comes_again_acts_no_second_time() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "A One", "ward-7");
    let kind = OrderKind::Command { command: Command::DeviceLock };
    let (signed, sealed) = house.order(&key, kind, vec![phone], None);
    let first = house.submit(&signed, &sealed, vec![]);
    let mut house = house.restart();
    let entries = house.chamber.state.entries;
    let again = house.submit(&signed, &sealed, vec![]);
    assert_eq!(again.position, first.position);
    assert_eq!(again.commands[0].command, first.commands[0].command);
    assert_eq!(again.commands[0].body, first.commands[0].body);
    assert_eq!(house.chamber.state.entries, entries, "nothing was written");
    let (other, sealed) = house.order_with(
        &key,
        OrderKind::Command { command: Command::ShutDownDevice },
        vec![phone],
        None,
        |o| o.id = decode::<Order>(&signed.order).unwrap().id,
    );
    assert_eq!(house.submit(&other, &sealed, vec![]).refusal, Some(Refusal::IdReused));
}

#[test]
fn warrants_are_signed_again_until_the_order_is_recalled_or_expires() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "A One", "ward-7");
    let kind = OrderKind::Command { command: Command::DeviceLock };
    let (signed, sealed) =
        house.order_with(&key, kind, vec![phone], None, |o| o.expires_at_ms = NOW_MS + 3 * DAY_MS);
    house.submit(&signed, &sealed, vec![]);
    let order = decode::<Order>(&signed.order).unwrap().id;
    let expiry = |h: &mut House| {
        h.chamber.tick();
        let w = h.chamber.warrants(&order, &[phone])?;
        Ok::<_, Refusal>(decode::<order::Warrant>(&w[0].1.warrant).unwrap().expires_at_ms)
    };
    assert_eq!(expiry(&mut house), Ok(NOW_MS + DAY_MS));
    house.clock.advance(DAY_MS + HOUR_MS);
    assert_eq!(expiry(&mut house), Ok(NOW_MS + 2 * DAY_MS + HOUR_MS));
    assert_eq!(
        house.chamber.warrants(&order, &[EnrolmentId([9; 16])]).unwrap_err(),
        Refusal::UnknownEnrolment
    );
    let now = house.chamber.now_ms;
    let (recall, sealed) =
        house.order_with(&key, OrderKind::Recall { order }, vec![], None, |o| o.expires_at_ms = now + 1000);
    assert_eq!(house.submit(&recall, &sealed, vec![]).refusal, None);
    assert_eq!(expiry(&mut house), Err(Refusal::NothingToRecall));
}

#[test]
fn opening_is_answered_to_the_orders_key_and_only_for_that_phone() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "A One", "ward-7");
    let row = house.row(phone, "IMEI", Compartment::Hardware, b"353918051234567");
    let open = || OrderKind::Open { fields: vec!["IMEI".into(), "MEID".into()] };
    let (signed, sealed) = house.order(&key, open(), vec![phone], None);
    let outcome = house.submit(&signed, &sealed, vec![(phone, row.clone())]);
    let answer: OpenAnswer = decode(&house.answer(&signed, &outcome)).unwrap();
    assert_eq!(answer.fields.len(), 1);
    assert_eq!(answer.fields[0].value, b"353918051234567");
    let other = house.enrolled(&key, "B Two", "ward-7");
    let (signed, sealed) = house.order(&key, open(), vec![other], None);
    let moved = house.submit(&signed, &sealed, vec![(other, row)]);
    assert_eq!(moved.refusal, Some(Refusal::CannotOpen));
}

#[test]
fn a_grant_opens_no_more_than_its_budget_and_a_restart_gives_nothing_back() {
    let (mut house, key) = House::joined();
    let phones: Vec<_> = (0..3).map(|n| house.enrolled(&key, &format!("P {n}"), "ward-7")).collect();
    let session = Digest([5; 32]);
    let kind = OrderKind::Grant {
        session,
        records: 2,
        searches: 1,
        compartments: vec![Compartment::Identity],
        valid_ms: HOUR_MS,
    };
    let (signed, sealed) = house.order(&key, kind, vec![], None);
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, None);
    let row = |h: &House, p| (p, h.row(p, "DeviceName", Compartment::Identity, b"a phone"));
    let one = row(&house, phones[0]);
    let used = house.durable(|c| c.use_grant(&session, &[one], b"")).unwrap();
    assert_eq!((used.opened.len(), used.records_left), (1, 1));
    let mut house = house.restart();
    let two = [row(&house, phones[1]), row(&house, phones[2])];
    assert_eq!(house.durable(|c| c.use_grant(&session, &two, b"")).err(), Some(Refusal::GrantExhausted));
    let hardware = (phones[1], house.row(phones[1], "IMEI", Compartment::Hardware, b"1"));
    assert_eq!(
        house.durable(|c| c.use_grant(&session, &[hardware], b"")).err(),
        Some(Refusal::GrantDoesNotCover)
    );
    let unknown = Digest([6; 32]);
    assert_eq!(house.durable(|c| c.use_grant(&unknown, &[], b"")).err(), Some(Refusal::GrantExhausted));
    house.clock.advance(HOUR_MS + MINUTE_MS);
    let one = row(&house, phones[1]);
    assert_eq!(house.durable(|c| c.use_grant(&session, &[one], b"")).err(), Some(Refusal::GrantExhausted));
}

#[test]
fn a_search_is_paid_for_and_finds_by_normalised_value() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "A One", "ward-7");
    let session = Digest([5; 32]);
    let kind = OrderKind::Grant { session, records: 0, searches: 1, compartments: vec![], valid_ms: HOUR_MS };
    let (signed, sealed) = house.order(&key, kind, vec![], None);
    house.submit(&signed, &sealed, vec![]);
    let row = house.row(phone, "PhoneNumber", Compartment::Contact, b"+447700900123");
    let entries = house.chamber.index(&[(phone, row.clone()), (phone, row)]);
    assert_eq!(entries.len(), 2);
    assert_ne!(entries[0].prf, entries[1].prf, "equal values look different");
    let wanted = encode(&SearchSecrets { field: "phone".into(), term: "07700 900123".into() });
    let to_vault = house.chamber.keys.file.order_key.public();
    let sealed =
        to::seal(&to_vault, to::INFO_ORDER_ARGS, session.as_bytes(), &wanted, &SystemRandom::new()).unwrap();
    let used = house.durable(|c| c.use_grant(&session, &[], &sealed)).unwrap();
    let entry = seal::IndexEntry::from_bytes(&[&entries[0].r[..], &entries[0].prf[..]].concat()).unwrap();
    assert!(used.tokens[0].matches(&entry));
    assert_eq!(house.durable(|c| c.use_grant(&session, &[], &sealed)).err(), Some(Refusal::GrantExhausted));
}

#[test]
fn the_ledger_verifies_and_names_nobody() {
    let (mut house, key) = House::joined();
    house.enrolled(&key, "Grace Uncommonname", "ward-7");
    let report = ledger::verify(house.dir.path()).unwrap();
    assert_eq!(report.entries, house.chamber.state.entries);
    for file in std::fs::read_dir(house.dir.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("Uncommonname") && !text.contains("p@example.org"));
    }
    let mut witnesses = vec![];
    ledger::replay(house.dir.path(), |r| witnesses.push(r.entry.witness)).unwrap();
    assert!(witnesses.iter().all(|w| *w == Witness::Vault));
}
