//! A vault that comes back from a backup.

use super::*;
use crate::{BACKED_UP, Restore, TestRecord, back_up, restored, try_record};
use age::secrecy::ExposeSecret;
use backup::{Identities, Made, Place, Request, unpack};
use ledger::{FileLedger, KEYS_FILE_NAME};
use model::PersonId;
use std::fs::{self, File};
use std::path::Path;

/// An operator's key pair, and a folder for backups.
struct Operator {
    dir: TempDir,
    recipient: String,
    identities: Identities,
}

impl Operator {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let secret = age::x25519::Identity::generate();
        let path = dir.path().join("key");
        fs::write(&path, secret.to_string().expose_secret()).unwrap();
        Self { recipient: secret.to_public().to_string(), identities: Identities::read(&path).unwrap(), dir }
    }

    fn back_up(&self, house: &House) -> Made {
        let path = self.dir.path().join("vault.tar.age");
        let _ = fs::remove_file(&path);
        let recipients = vec![self.recipient.clone()];
        let request = Request { recipients, made_at_ms: NOW_MS, before: vec![] };
        back_up(&config(&house.dir), &request, File::create(path).unwrap()).unwrap()
    }

    /// The vault's folder out of that backup, and what the restore says of it.
    fn unpacked(&self, made: &Made) -> (TempDir, Restore) {
        let dir = TempDir::new().unwrap();
        let to = |name: &str| BACKED_UP.contains(&name).then(|| dir.path().join(name));
        let names = unpack(self.dir.path(), &made.part, &self.identities, &to).unwrap();
        assert_eq!(names, BACKED_UP);
        let ledger = made.part.place.unwrap();
        let said = Restore {
            manifest: Digest([9; 32]),
            made_at_ms: NOW_MS,
            ledger,
            followed: ledger,
            root_key: made.signed.as_ref().unwrap().root_key,
        };
        (dir, said)
    }
}

impl House {
    /// This house as it comes back from its backup.
    pub(super) fn backed_up_and_restored(self) -> (Self, crate::Restored) {
        let operator = Operator::new();
        let made = operator.back_up(&self);
        self.restored_from(&operator, &made)
    }

    fn restored_from(self, operator: &Operator, made: &Made) -> (Self, crate::Restored) {
        let (dir, said) = operator.unpacked(made);
        let answer = restored(dir.path(), &said, NOW_MS).unwrap();
        let Self { clock, reader, door, token, answers, tls_certificate, next, .. } = self;
        let chamber = Chamber::open(dir.path(), config(&dir), Arc::new(clock.clone())).unwrap();
        (Self { dir, clock, chamber, reader, door, token, answers, tls_certificate, next }, answer)
    }

    fn order_refused(
        &mut self,
        key: &Ed25519Secret,
        kind: OrderKind,
        targets: Vec<EnrolmentId>,
    ) -> Option<Refusal> {
        let (signed, sealed) = self.order(key, kind, targets, None);
        self.submit(&signed, &sealed, vec![]).refusal
    }

    fn confirm(&mut self, key: &Ed25519Secret, without: Vec<PersonId>) -> Option<Refusal> {
        let kind = OrderKind::ConfirmRestore { manifest: Digest([9; 32]), made_at_ms: NOW_MS, without };
        self.order_refused(key, kind, vec![])
    }

    fn grant(&mut self, key: &Ed25519Secret, session: u8, records: u32) -> Option<Refusal> {
        let kind = OrderKind::Grant {
            session: Digest([session; 32]),
            records,
            searches: 0,
            compartments: vec![Compartment::Identity],
            valid_ms: HOUR_MS,
        };
        self.order_refused(key, kind, vec![])
    }

    fn person_of(&self, key: &Ed25519Secret) -> PersonId {
        self.chamber.state.holder_of(&key.id()).unwrap().0
    }
}

#[test]
fn a_restored_vault_opens_searches_and_commands_nothing_until_two_administrators_confirm_it() {
    let (mut house, ada) = House::joined();
    let grace = house.person(&ada, 43, Role::Administrator, None);
    let phone = house.enrolled(&ada, "P 1", "ward-7");
    let invited = house.invite(&ada, "P 2", "ward-7");
    assert_eq!(house.grant(&ada, 5, 3), None);
    let lock = house.command(&ada, Command::DeviceLock, vec![phone], &CommandSecrets::default());
    let lock = lock.order.unwrap();
    let row = house.row(phone, "DeviceName", Compartment::Identity, b"a phone");

    let (mut house, answer) = house.backed_up_and_restored();
    assert_eq!((answer.phones, answer.administrators, answer.confirmations, answer.withdrawn), (1, 2, 2, 1));
    let unconfirmed = Some(Refusal::RestoredUnconfirmed);
    for _ in 0..2 {
        let refuses = |h: &mut House| {
            let one = (phone, row.clone());
            let used = h.durable(|c| c.use_grant(&Digest([5; 32]), &[one], b""));
            assert_eq!(used.err(), unconfirmed);
            let fields = vec!["DeviceName".to_owned()];
            assert_eq!(h.order_refused(&ada, OrderKind::Open { fields }, vec![phone]), unconfirmed);
            assert_eq!(h.grant(&ada, 6, 1), unconfirmed);
            let locked = h.command(&ada, Command::DeviceLock, vec![phone], &CommandSecrets::default());
            assert_eq!(locked.refusal, unconfirmed);
            assert_eq!(h.durable(|c| c.warrants(&lock, &[phone])).err(), unconfirmed);
            assert_eq!(h.durable(|c| c.declarations(&[phone])).err(), unconfirmed);
            let remove = OrderKind::RemovePerson { person: h.person_of(&grace) };
            assert_eq!(h.order_refused(&ada, remove, vec![]), unconfirmed);
            let challenge = h.chamber.invitation_challenge(&invited.enrolment).to_string();
            let issued = h.issue(&challenge, &RsaSigner::generate().unwrap());
            assert_eq!(issued.err(), Some(Refusal::InvitationNotOpen));
        };
        refuses(&mut house);
        // Nor does a restart, and one administrator alone is not enough, however often.
        house = house.restart();
        refuses(&mut house);
        assert_eq!(house.confirm(&ada, vec![]), None);
        refuses(&mut house);
    }
    // What only takes away, and a session that reads masks, are allowed meanwhile.
    let mut house = house;
    assert_eq!(house.grant(&ada, 7, 0), None);
    // What phones had still to do is called back already.
    let recall = OrderKind::Recall { order: lock };
    assert_eq!(house.order_refused(&ada, recall, vec![]), Some(Refusal::NothingToRecall));

    assert_eq!(house.confirm(&grace, vec![]), None);
    let mut house = house.restart();
    assert_eq!(house.grant(&ada, 8, 3), None);
    let used = house.durable(|c| c.use_grant(&Digest([8; 32]), &[(phone, row)], b"")).unwrap();
    assert_eq!(used.opened[0].2.as_slice(), b"a phone");
    // The grant of before the restore stays ended, and so does what was recalled.
    assert_eq!(
        house.durable(|c| c.use_grant(&Digest([5; 32]), &[], b"")).err(),
        Some(Refusal::GrantExhausted)
    );
    assert_eq!(house.durable(|c| c.warrants(&lock, &[phone])).err(), Some(Refusal::NothingToRecall));
    assert_eq!(house.confirm(&ada, vec![]), Some(Refusal::NoSuchRestore));
}

#[test]
fn an_order_of_before_a_restore_that_comes_again_opens_and_commands_nothing_until_it_is_confirmed() {
    let (mut house, ada) = House::joined();
    let phone = house.enrolled(&ada, "P 1", "ward-7");
    let rows = vec![(phone, house.row(phone, "DeviceName", Compartment::Identity, b"a phone"))];
    let open = OrderKind::Open { fields: vec!["DeviceName".into()] };
    let open = house.order(&ada, open, vec![phone], None);
    assert_eq!(house.submit(&open.0, &open.1, rows.clone()).refusal, None);
    let kind = OrderKind::Command { command: Command::DeviceLock };
    let lock = house.order(&ada, kind, vec![phone], Some(&encode(&CommandSecrets::default())));
    assert_eq!(house.submit(&lock.0, &lock.1, vec![]).refusal, None);

    let (mut house, _) = house.backed_up_and_restored();
    for (signed, sealed) in [&open, &lock] {
        let again = house.submit(signed, sealed, rows.clone());
        // Undecided, so that core brings it again later.
        assert_eq!(again.refusal, Some(Refusal::LedgerUnavailable));
        assert!(again.sealed_answer.is_empty() && again.commands.is_empty());
    }
    assert_eq!(house.confirm(&ada, vec![]), None);
    let again = house.submit(&open.0, &open.1, rows.clone());
    assert_eq!((again.refusal, again.sealed_answer.is_empty()), (None, false));
    // What it had phones do, it has them do no more.
    let again = house.submit(&lock.0, &lock.1, vec![]);
    assert_eq!((again.refusal, again.commands.len()), (None, 0));
}

#[test]
fn an_order_recalled_after_the_backup_stays_undone_though_the_restored_house_knows_of_no_recall() {
    let (mut house, ada) = House::joined();
    let ben = house.person(&ada, 43, Role::Administrator, None);
    let phones = ["P 1", "P 2"].map(|name| house.enrolled(&ada, name, "ward-7"));
    let lock = house.command(&ada, Command::DeviceLock, vec![phones[0]], &CommandSecrets::default());
    // One that is cooling off, and so was signed for no phone yet.
    let kind = OrderKind::Command { command: erase() };
    let (mut erasing, sealed) =
        house.order(&ada, kind, phones.to_vec(), Some(&encode(&CommandSecrets::default())));
    erasing.add_signature(&ben);
    let cooling = house.submit(&erasing, &sealed, vec![]);
    assert!(cooling.refusal.is_none() && cooling.cools_until_ms.is_some());
    let operator = Operator::new();
    let made = operator.back_up(&house);
    for order in [lock.order.unwrap(), cooling.order.unwrap()] {
        assert_eq!(house.order_refused(&ada, OrderKind::Recall { order }, vec![]), None);
    }
    let (mut house, _) = house.restored_from(&operator, &made);
    assert_eq!(house.confirm(&ada, vec![]), None);
    assert_eq!(house.confirm(&ben, vec![]), None);
    house.clock.advance(2 * HOUR_MS);
    let mut house = house.restart();
    for (order, phone) in [(lock.order.unwrap(), phones[0]), (cooling.order.unwrap(), phones[1])] {
        let warrants = house.durable(|c| c.warrants(&order, &[phone]));
        assert_eq!(warrants.err(), Some(Refusal::NothingToRecall));
    }
    let again = house.submit(&erasing, &sealed, vec![]);
    assert_eq!((again.refusal, again.commands.len()), (None, 0));
    // Given anew it is done, as ever.
    let anew = house.command(&ada, Command::DeviceLock, vec![phones[0]], &CommandSecrets::default());
    assert_eq!((anew.refusal, anew.commands.len()), (None, 1));
}

#[test]
fn a_house_that_was_taken_back_gives_no_certificate_a_serial_number_it_gave_before() {
    let (mut house, ada) = House::joined();
    let invited = house.invite(&ada, "P 1", "ward-7");
    let challenge = house.chamber.invitation_challenge(&invited.enrolment).to_string();
    let phone = RsaSigner::generate().unwrap();
    // The very same question to two houses of one past.
    let copy = TempDir::new().unwrap();
    for entry in fs::read_dir(house.dir.path()).unwrap().filter_map(Result::ok).filter(|e| e.path().is_file())
    {
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let first = house.issue(&challenge, &phone).unwrap().1;
    assert_eq!(house.issue(&challenge, &phone).unwrap().1, first, "asked again, the same one");
    let sealed = house.request(&challenge, &phone);
    let mut other = Chamber::open(copy.path(), config(&copy), Arc::new(house.clock.clone())).unwrap();
    let second = other.issue(&sealed).unwrap().1;
    let serial = |der: &[u8]| Certificate::parse(der).unwrap().serial().to_vec();
    assert_ne!(serial(&first), serial(&second));
}

#[test]
fn a_confirmation_names_the_very_restore_and_the_same_people_to_remove() {
    let (mut house, ada) = House::joined();
    let grace = house.person(&ada, 43, Role::Administrator, None);
    let mallory = house.person_by(&[&ada, &grace], 44, Role::Administrator, None);
    let desk = house.person_by(&[&ada, &grace], 45, Role::ServiceDesk, None);
    let (mut house, answer) = house.backed_up_and_restored();
    assert_eq!(answer.confirmations, 2);
    let gone = house.person_of(&mallory);
    let other = |manifest, made_at_ms| OrderKind::ConfirmRestore { manifest, made_at_ms, without: vec![] };
    for kind in [other(Digest([8; 32]), NOW_MS), other(Digest([9; 32]), NOW_MS + 1)] {
        assert_eq!(house.order_refused(&ada, kind, vec![]), Some(Refusal::NoSuchRestore));
    }
    assert_eq!(house.confirm(&desk, vec![]), Some(Refusal::RoleNotAllowed));
    assert_eq!(house.confirm(&mallory, vec![gone]), Some(Refusal::BadArgument), "nobody removes themselves");
    assert_eq!(house.confirm(&ada, vec![gone, gone]), Some(Refusal::BadArgument));
    assert_eq!(house.confirm(&ada, vec![PersonId([1; 16])]), Some(Refusal::BadArgument));
    // One who would be removed counts for nothing, nor does who confirmed something else.
    assert_eq!(house.confirm(&mallory, vec![]), None);
    assert_eq!(house.confirm(&ada, vec![gone]), None);
    assert_eq!(house.grant(&ada, 6, 1), Some(Refusal::RestoredUnconfirmed));
    assert_eq!(house.confirm(&grace, vec![gone]), None);
    assert_eq!(house.grant(&ada, 7, 1), None);
    let mut house = house.restart();
    assert_eq!(house.grant(&mallory, 8, 0), Some(Refusal::UnknownSigner));
    assert_eq!(house.grant(&grace, 9, 1), None);
}

#[test]
fn the_only_administrator_confirms_alone() {
    let (mut house, ada) = House::joined();
    house.person(&ada, 45, Role::Engineer, None);
    let (mut house, answer) = house.backed_up_and_restored();
    assert_eq!((answer.administrators, answer.confirmations), (1, 1));
    assert_eq!(house.grant(&ada, 6, 1), Some(Refusal::RestoredUnconfirmed));
    assert_eq!(house.confirm(&ada, vec![]), None);
    assert_eq!(house.grant(&ada, 7, 1), None);
}

#[test]
fn a_backup_taken_while_the_vault_decides_holds_what_was_durable_and_the_keys_for_it() {
    let (mut house, ada) = House::joined();
    let operator = Operator::new();
    house.invite(&ada, "Mary Example", "ward-7");
    let made = operator.back_up(&house);
    house.invite(&ada, "Ben Example", "ward-7");
    let (dir, said) = operator.unpacked(&made);
    assert_eq!(said.ledger.entries + 1, house.chamber.state.entries);
    let answer = restored(dir.path(), &said, NOW_MS).unwrap();
    assert_eq!(answer.entries, said.ledger.entries + 1);
    assert_eq!(answer.withdrawn, 1);
}

#[test]
fn a_newer_ledger_of_the_same_house_takes_the_backups_place_and_another_ledger_does_not() {
    let (mut house, ada) = House::joined();
    let grace = house.person(&ada, 43, Role::Administrator, None);
    let alan = house.person_by(&[&ada, &grace], 44, Role::Administrator, None);
    let operator = Operator::new();
    let made = operator.back_up(&house);
    let removed = OrderKind::RemovePerson { person: house.person_of(&alan) };
    let (mut signed, sealed) = house.order(&ada, removed, vec![], None);
    signed.add_signature(&grace);
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, None);
    let newer = fs::read(house.dir.path().join(ledger::FILE_NAME)).unwrap();
    let with = |bytes: &[u8]| {
        let (dir, said) = operator.unpacked(&made);
        fs::write(dir.path().join(ledger::FILE_NAME), bytes).unwrap();
        let before = fs::read(dir.path().join(ledger::FILE_NAME)).unwrap();
        let answer = restored(dir.path(), &said, NOW_MS);
        if answer.is_err() {
            assert_eq!(fs::read(dir.path().join(ledger::FILE_NAME)).unwrap(), before, "nothing was written");
        }
        answer
    };
    assert_eq!(with(&newer).unwrap().administrators, 2, "who was removed since stays removed");
    let (other, _) = House::joined();
    let of_another = fs::read(other.dir.path().join(ledger::FILE_NAME)).unwrap();
    assert!(with(&of_another).unwrap_err().to_string().contains("ledger"));
    // One that is shorter than the backup's.
    let shorter = TempDir::new().unwrap();
    let first = FileLedger::open(shorter.path()).unwrap();
    drop(first);
    let shorter = fs::read(shorter.path().join(ledger::FILE_NAME)).unwrap();
    assert!(with(&shorter).unwrap_err().to_string().contains("ledger"));
}

#[test]
fn a_newer_ledger_that_tells_of_a_ca_whose_key_the_backup_has_not_is_refused() {
    let (mut house, ada) = House::joined();
    let operator = Operator::new();
    let before = operator.back_up(&house);
    let of = |house: &House, made: &Made| {
        let (dir, said) = operator.unpacked(made);
        fs::copy(house.dir.path().join(ledger::FILE_NAME), dir.path().join(ledger::FILE_NAME)).unwrap();
        restored(dir.path(), &said, NOW_MS).map(drop).map_err(|e| e.to_string())
    };
    assert_eq!(house.rotate(&ada, &[model::KeyName::Contact]).refusal, None);
    assert_eq!(of(&house, &before), Ok(()), "other keys are made anew");
    assert_eq!(house.rotate(&ada, &[model::KeyName::Ca]).refusal, None);
    let why = of(&house, &before).unwrap_err();
    assert!(why.contains("without --ledger"), "{why}");
    let after = operator.back_up(&house);
    house.enrolled(&ada, "P 1", "ward-7");
    assert_eq!(of(&house, &after), Ok(()));
}

#[test]
fn who_was_erased_in_the_newer_ledger_is_erased_again_in_the_restored_house() {
    let (mut house, ada) = House::joined();
    let invited = |house: &mut House, name| house.invite(&ada, name, "ward-7").enrolment;
    let (grace, ben) = (invited(&mut house, "Grace Example"), invited(&mut house, "Ben Example"));
    let operator = Operator::new();
    let made = operator.back_up(&house);
    let subject = model::DataSubject::Holder(grace);
    let erase = OrderKind::ErasePerson { subject, despite_enrolled: true };
    assert_eq!(house.order_refused(&ada, erase, vec![]), None);
    let newer = fs::read(house.dir.path().join(ledger::FILE_NAME)).unwrap();
    let (dir, said) = operator.unpacked(&made);
    let key_file = dir.path().join(KEYS_FILE_NAME);
    let with_her_key = fs::read(&key_file).unwrap();
    fs::write(dir.path().join(ledger::FILE_NAME), newer).unwrap();
    restored(dir.path(), &said, NOW_MS).unwrap();
    let chamber = Chamber::open(dir.path(), config(&dir), Arc::new(house.clock.clone())).unwrap();
    let opens = |phone: EnrolmentId| {
        chamber.people_keys.open(phone.into(), &chamber.state.enrolments[&phone].holder).is_ok()
    };
    assert!(!opens(grace) && opens(ben));
    let now = fs::read(&key_file).unwrap();
    let changed = now.chunks(64).zip(with_her_key.chunks(64)).filter(|(a, b)| a != b).count();
    assert_eq!(changed, 1, "her key is out of the file");
}

#[test]
fn parts_that_do_not_belong_together_are_refused_and_nothing_is_written() {
    let (mut house, ada) = House::joined();
    let operator = Operator::new();
    house.invite(&ada, "Mary Example", "ward-7");
    let made = operator.back_up(&house);
    let ahead = Place { entries: 99, hash: Digest([1; 32]) };
    type Change<'a> = (&'a str, &'a dyn Fn(&Path, &mut Restore));
    let changes: [Change<'_>; 5] = [
        ("root key", &|_, said| said.root_key = Digest([3; 32])),
        ("database", &|_, said| said.followed = ahead),
        ("manifest says", &|_, said| said.ledger = ahead),
        ("persons", &|dir, _| fs::write(dir.join(KEYS_FILE_NAME), "no keys").unwrap()),
        ("keys.cbor", &|dir, _| fs::write(dir.join("keys.cbor"), "no keys").unwrap()),
    ];
    for (word, change) in changes {
        let (dir, mut said) = operator.unpacked(&made);
        change(dir.path(), &mut said);
        let ledger = fs::read(dir.path().join(ledger::FILE_NAME)).unwrap();
        let refused = restored(dir.path(), &said, NOW_MS).unwrap_err().to_string();
        assert!(refused.contains(word), "{word}: {refused}");
        assert_eq!(fs::read(dir.path().join(ledger::FILE_NAME)).unwrap(), ledger);
    }
}

#[test]
fn a_test_record_opens_with_its_own_keys_alone_and_says_nothing_of_its_value() {
    let (mut house, ada) = House::joined();
    let phone = house.enrolled(&ada, "Mary Example", "ward-7");
    let row = house.row(phone, "DeviceName", Compartment::Identity, b"a made-up value");
    let record = TestRecord {
        enrolment: phone,
        name: row.name.clone(),
        compartment: row.compartment.number().into(),
        wrapped_key: row.wrapped_key.clone(),
        ciphertext: row.ciphertext.clone(),
        mask: seal::mask("DeviceName", "a made-up value"),
        names_of: u64::MAX,
    };
    // A rehearsal's vault does not run.
    let still = |House { dir, chamber, .. }: House| {
        drop(chamber);
        dir
    };
    let dir = still(house);
    let tried = try_record(dir.path(), &record).unwrap();
    assert!(tried.opened && tried.name_opened == Some(true), "{tried:?}");
    assert!(!format!("{tried:?}").contains("made-up"));
    for other in [
        TestRecord { name: "ProductName".into(), ..record.clone() },
        TestRecord { mask: "…9".into(), ..record.clone() },
        TestRecord { enrolment: EnrolmentId([7; 16]), ..record.clone() },
    ] {
        assert!(!try_record(dir.path(), &other).unwrap().opened, "{other:?}");
    }
    let others = still(House::joined().0);
    assert!(!try_record(others.path(), &record).unwrap().opened);
}
