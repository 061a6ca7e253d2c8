//! Another root key in place of the one before, over every crash between, and what signs then.

use super::*;
use crate::Error;
use ledger::{Body, FILE_NAME, SignedCheckpoint, TREE_DIR};
use model::{Clock as _, KeyName};
use std::time::{Duration, Instant};

impl House {
    fn root(&self) -> [u8; 32] {
        self.chamber.keys.root.public().try_into().unwrap()
    }

    fn file(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.dir.path().join(name)).unwrap()
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.dir.path().join(name), bytes).unwrap();
    }

    /// The root keys that the ledger's file tells of after the first.
    fn later_roots(&self) -> Vec<[u8; 32]> {
        let mut told = Vec::new();
        ledger::replay(self.dir.path(), |r| {
            if let Body::RootSucceeded { succession } = &r.entry.body {
                told.push(order::root::SignedSuccession(succession.0.clone()).open().unwrap().next);
            }
        })
        .unwrap();
        told
    }

    /// What a room that pinned `root` makes of the statement: the key that it pins then.
    fn leads(&mut self, root: &[u8; 32]) -> [u8; 32] {
        let signed = self.durable(Chamber::statement);
        *signed.verify(root, self.clock.now_ms(), 0).unwrap().roots().last().unwrap()
    }
}

const KEYS: &str = "keys.cbor";

#[test]
fn another_root_key_signs_from_then_on_and_the_one_before_is_gone_at_once() {
    let (mut house, key) = House::joined();
    let (first, seed) = (house.root(), house.chamber.keys.file.root_seed);
    let epoch = house.statement().epoch;
    assert_eq!(house.rotate(&key, &[KeyName::Root]).refusal, None);
    let second = house.root();
    assert_ne!(second, first);
    assert_eq!(house.later_roots(), [second]);
    assert_eq!(house.leads(&first), second);
    assert!(house.statement().epoch > epoch);
    assert!(!house.file(KEYS).windows(32).any(|w| w == seed), "the key before is in no file");
    assert!(house.chamber.state.rotations.old(KeyName::Root).is_none(), "nothing waits for it");
    assert_eq!(house.rotate(&key, &[KeyName::Root]).refusal, None);
    let mut house = house.restart();
    let third = house.root();
    assert_eq!(house.later_roots(), [second, third]);
    assert_eq!((house.leads(&first), house.leads(&second)), (third, third));
}

#[test]
fn a_change_of_the_root_key_is_finished_after_a_crash_at_any_write_of_it() {
    let (mut house, key) = House::joined();
    let first = house.root();
    let keys_before = house.file(KEYS);
    // The order is written, the key can't be.
    std::fs::create_dir(house.dir.path().join(".keys.cbor.new")).unwrap();
    let (signed, sealed) = house.now_order(&key, OrderKind::RotateKeys { keys: vec![KeyName::Root] });
    let submitted = Submitted { signed: encode(&signed), sealed_arguments: sealed, ..Submitted::default() };
    house.chamber.tick();
    house.chamber.submit(&submitted);
    assert!(house.chamber.flush().is_err());
    assert_eq!(house.file(KEYS), keys_before);
    assert_eq!(house.later_roots(), [[0; 32]; 0], "nobody was told of a key that there is not");
    let ordered = house.file(FILE_NAME);
    std::fs::remove_dir(house.dir.path().join(".keys.cbor.new")).unwrap();
    let mut house = house.restart();
    let second = house.root();
    assert_eq!((house.later_roots(), house.leads(&first)), (vec![second], second));
    // The key is written, and the ledger was not told: it is at the next start, of the same key.
    let _ = std::fs::remove_dir_all(house.dir.path().join(TREE_DIR));
    house.put(FILE_NAME, &ordered);
    let mut house = house.restart();
    assert_eq!((house.root(), house.later_roots()), (second, vec![second]));
    assert_eq!(house.leads(&first), second);
    // All is written: nothing more is to be done.
    let (keys, ledger) = (house.file(KEYS), house.file(FILE_NAME));
    let house = house.restart();
    assert_eq!((house.file(KEYS), house.file(FILE_NAME)), (keys, ledger));
}

#[test]
fn keys_of_before_another_root_key_are_not_taken_for_the_ledgers() {
    let (mut house, key) = House::joined();
    let keys_before = house.file(KEYS);
    assert_eq!(house.rotate(&key, &[KeyName::Root]).refusal, None);
    let keys = house.file(KEYS);
    house.put(KEYS, &keys_before);
    let House { dir, clock, chamber, .. } = house;
    drop(chamber);
    let opened = Chamber::open(dir.path(), config(&dir), Arc::new(clock.clone()));
    assert!(matches!(opened.err(), Some(Error::ForeignLedger)));
    assert_eq!(std::fs::read(dir.path().join(KEYS)).unwrap(), keys_before, "and no third key was made");
    std::fs::write(dir.path().join(KEYS), keys).unwrap();
    assert!(Chamber::open(dir.path(), config(&dir), Arc::new(clock)).is_ok());
}

#[test]
fn no_checkpoint_of_the_new_root_key_is_over_a_ledger_that_does_not_lead_to_it() {
    let (mut house, key) = House::joined();
    let first = house.root();
    let (signed, sealed) = house.now_order(&key, OrderKind::RotateKeys { keys: vec![KeyName::Root] });
    let submitted = Submitted { signed: encode(&signed), sealed_arguments: sealed, ..Submitted::default() };
    let House { dir, chamber, .. } = house;
    let entries = chamber.state.entries;
    let (door, ended) = crate::chamber::start(chamber).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(door.decide(move |c| c.submit(&submitted).refusal)).ok().unwrap();
    drop(door);
    runtime.block_on(ended).unwrap().unwrap();
    let newest =
        || std::fs::read(dir.path().join(TREE_DIR).join(ledger::CHECKPOINT_FILE)).unwrap_or_default();
    let end = Instant::now() + Duration::from_secs(20);
    let by = |root: &[u8; 32]| SignedCheckpoint::of_house(&newest(), &[*root]).ok();
    let mut second = None;
    ledger::replay(dir.path(), |r| {
        if let Body::RootSucceeded { succession } = &r.entry.body {
            let said = order::root::SignedSuccession(succession.0.clone()).open().unwrap();
            assert_eq!(said.former, first);
            second = Some((r.position.index, said.next));
        }
    })
    .unwrap();
    let (index, second) = second.unwrap();
    assert_eq!(index, entries + 1, "right after its order");
    loop {
        let (of_first, of_second) = (by(&first), by(&second));
        assert!(
            of_first.is_none_or(|s| s.size() <= index),
            "the key before signs nothing that comes after it"
        );
        if let Some(signed) = of_second {
            assert!(signed.size() > index, "the new key signs a ledger that does not lead to it");
            break;
        }
        assert!(Instant::now() < end, "the new key signs no checkpoint");
        std::thread::sleep(Duration::from_millis(5));
    }
    // It is the same log: its name stays.
    let origin = ledger::checkpoint::origin_of(&first);
    assert_eq!(by(&second).unwrap().checkpoint().origin, origin);
}
