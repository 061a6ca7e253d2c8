//! The tree beside the ledger, and core's words that come again.

use super::*;
use ledger::checkpoint::log_key;
use ledger::{Body, FileLedger, SignedCheckpoint, TREE_DIR};
use std::path::Path;
use std::time::{Duration, Instant};

fn signed(house: &TempDir, root_key: [u8; 32]) -> Option<SignedCheckpoint> {
    let bytes = std::fs::read(house.path().join(TREE_DIR).join(ledger::CHECKPOINT_FILE)).ok()?;
    Some(SignedCheckpoint::open(&bytes, &log_key(&root_key)).unwrap())
}

fn audited(dir: &Path, root_key: &[u8; 32]) -> u64 {
    let mut audit = ledger::Audit::with_folder(&dir.join(TREE_DIR), &[*root_key]).unwrap();
    let report = ledger::scan(dir, |s| audit.take(&s.position)).unwrap();
    audit.finish().unwrap();
    report.entries
}

#[test]
fn a_word_of_cores_that_comes_again_is_written_once_also_over_a_restart() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "Grace Example", "ward-7");
    let finished =
        |n: u8| Body::CommandFinished { enrolment: phone, command: model::CommandId([n; 16]), status: 2 };
    let words: Vec<_> = (0..200u8).map(|n| (finished(n), 1000 + u64::from(n))).collect();
    let before = house.chamber.state.entries;
    house.durable(|c| c.witness(words.clone()));
    house.durable(|c| c.witness(words.clone()));
    assert_eq!(house.chamber.state.entries, before + 200);
    // The vault dies after its fdatasync, before core knows; core says more the next time.
    let mut house = house.restart();
    let more: Vec<_> = words.iter().cloned().chain([(finished(200), 1200)]).collect();
    house.durable(|c| c.witness(more));
    assert_eq!(house.chamber.state.entries, before + 201);
    // The same fact under a number of its own is another word; so is another fact under a number that a
    // database from a backup gives again.
    house.durable(|c| c.witness(vec![(finished(200), 1201), (finished(9), 1200)]));
    assert_eq!(house.chamber.state.entries, before + 203);
}

#[test]
fn a_checkpoint_over_what_is_durable_is_signed_beside_the_ledger_and_a_restart_goes_on() {
    let (house, _) = House::joined();
    let House { dir, clock, chamber, .. } = house;
    let root_key: [u8; 32] = chamber.keys.root.public().try_into().unwrap();
    let entries = chamber.state.entries;
    let (door, ended) = crate::chamber::start(chamber).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    while signed(&dir, root_key).is_none_or(|s| s.size() < entries) {
        assert!(Instant::now() < end, "no checkpoint");
        std::thread::sleep(Duration::from_millis(20));
    }
    runtime
        .block_on(door.decide(|c| c.record(Body::KeysStated { epoch: 1, statement_digest: Digest([1; 32]) })))
        .ok()
        .unwrap();
    drop(door);
    runtime.block_on(ended).unwrap().unwrap();
    while signed(&dir, root_key).is_none_or(|s| s.size() < entries + 1) {
        assert!(Instant::now() < end, "the last entry was not signed for");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(audited(dir.path(), &root_key), entries + 1);
    // The folder is a cache: without it the next start makes it again.
    std::fs::remove_dir_all(dir.path().join(TREE_DIR)).unwrap();
    let chamber = Chamber::open(dir.path(), config(&dir), Arc::new(clock.clone())).unwrap();
    let (door, ended) = crate::chamber::start(chamber).unwrap();
    drop(door);
    runtime.block_on(ended).unwrap().unwrap();
    while signed(&dir, root_key).is_none_or(|s| s.size() < entries + 1) {
        assert!(Instant::now() < end, "it was not made again");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(audited(dir.path(), &root_key), entries + 1);
}

#[test]
fn a_vault_whose_ledger_went_back_or_was_rewritten_since_it_signed_does_not_start() {
    let (mut house, key) = House::joined();
    let old = std::fs::read(house.dir.path().join(ledger::FILE_NAME)).unwrap();
    house.invite(&key, "Grace Example", "ward-7");
    let root = Ed25519Secret::from_seed(house.chamber.keys.file.root_seed).unwrap();
    let mut publisher = house.chamber.publisher.take().unwrap();
    let records = FileLedger::reader(&house.chamber.ledger).read_from(publisher.size()).unwrap();
    records.for_each(|r| publisher.push(&r.unwrap().position).unwrap());
    publisher.publish(|m| root.sign(m)).unwrap();
    let House { dir, clock, chamber, .. } = house;
    drop(chamber);
    let path = dir.path().join(ledger::FILE_NAME);
    std::fs::write(&path, &old).unwrap();
    let open = || Chamber::open(dir.path(), config(&dir), Arc::new(clock.clone())).err().unwrap().to_string();
    assert!(open().contains("an old copy took its place"), "{}", open());
    // Grown again to the same length with another history.
    let mut ledger = FileLedger::open(dir.path()).unwrap();
    for _ in 0..3 {
        ledger
            .append_batch(vec![Body::KeysStated { epoch: 1, statement_digest: Digest([8; 32]) }], NOW_MS)
            .unwrap();
    }
    drop(ledger);
    assert!(open().contains("history was written anew"), "{}", open());
}
