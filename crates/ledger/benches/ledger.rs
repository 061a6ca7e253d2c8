//! `cargo bench -p ledger --bench ledger`: durable appends with the tree kept beside them, proofs, and a person's field
//! sealed (checks and appends alone: `--bench rates`). The
//! ledger lies under the build's target directory; set `TMPDIR` to measure another disk.

#![allow(clippy::unwrap_used)]

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use divan::Bencher;
use divan::counter::ItemsCount;
use ledger::tree::{check_inclusion, prove_inclusion};
use ledger::{Body, Effect, FileLedger, Opaque, PersonKeys, Publisher, TREE_DIR, TileFolder, TileNodes};
use model::{CommandId, CommandKind, Digest, EnrolmentId, KeyId, OrderId, PersonId};
use tempfile::TempDir;

fn main() {
    divan::main();
}

fn directory() -> TempDir {
    TempDir::new_in(std::env::var("TMPDIR").unwrap_or(env!("CARGO_TARGET_TMPDIR").to_owned())).unwrap()
}

/// An order to lock one phone: about 500 bytes, the usual heavy entry.
fn order() -> Body {
    Body::OrderAccepted {
        order: OrderId([1; 16]),
        digest: Digest([2; 32]),
        signer: KeyId([3; 16]),
        person: PersonId([4; 16]),
        bytes: Opaque(vec![5; 250]),
        signature: Opaque(vec![6; 64]),
        effect: Effect::Commanded {
            command: CommandId([7; 16]),
            kind: CommandKind::DeviceLock,
            answer_digest: Digest([8; 32]),
            erasing: false,
            targets: vec![EnrolmentId([9; 16])],
            expires_at_ms: 0,
            per_phone: vec![],
        },
        counted: None,
    }
}

fn pair() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

fn root_key() -> [u8; 32] {
    pair().public_key().as_ref().try_into().unwrap()
}

/// What a phone's answer leaves behind: the usual light entry, about 90 bytes.
fn answer() -> Body {
    Body::CommandFinished { enrolment: EnrolmentId([9; 16]), command: CommandId([7; 16]), status: 2 }
}

const ENTRIES: usize = 100_000;

/// So many light entries in batches of 64, with their tree.
fn published() -> TempDir {
    let dir = directory();
    let mut ledger = FileLedger::open(dir.path()).unwrap();
    let mut publisher = Publisher::open(dir.path(), &[root_key()]).unwrap();
    let mut left = ENTRIES;
    while left > 0 {
        let batch = left.min(64);
        for r in ledger.append_batch(vec![answer(); batch], 1).unwrap() {
            publisher.push(&r.position).unwrap();
        }
        left -= batch;
    }
    publisher.publish(|m| pair().sign(m).as_ref().to_vec()).unwrap();
    dir
}

/// Durable appends while another thread keeps the tree, as the vault does, once a second.
#[divan::bench(args = [1, 16, 64, 256])]
fn append_durably_beside_the_tree(bencher: Bencher<'_, '_>, batch: usize) {
    let dir = directory();
    let mut ledger = FileLedger::open(dir.path()).unwrap();
    let mut publisher = Publisher::open(dir.path(), &[root_key()]).unwrap();
    let (to, positions) = std::sync::mpsc::channel::<Vec<ledger::Position>>();
    let tree = std::thread::spawn(move || {
        let mut last = std::time::Instant::now();
        while let Ok(batch) = positions.recv() {
            batch.iter().for_each(|p| publisher.push(p).unwrap());
            if last.elapsed().as_secs() >= 1 {
                publisher.publish(|m| pair().sign(m).as_ref().to_vec()).unwrap();
                last = std::time::Instant::now();
            }
        }
    });
    bencher.counter(ItemsCount::new(batch)).with_inputs(|| vec![order(); batch]).bench_local_values(
        |bodies| {
            let records = ledger.append_batch(bodies, 1).unwrap();
            to.send(records.iter().map(|r| r.position).collect()).unwrap();
        },
    );
    drop(to);
    tree.join().unwrap();
}

/// One entry's proof out of the tiles, and its check.
#[divan::bench]
fn prove_and_check_one_entry(bencher: Bencher<'_, '_>) {
    let dir = published();
    let folder = TileFolder(dir.path().join(TREE_DIR));
    let size = ENTRIES as u64;
    bencher.bench_local(|| {
        let nodes = TileNodes::new(&folder, size);
        let proof = prove_inclusion(&nodes, 54_321, size).unwrap();
        let leaf = ledger::tree::leaf_hash(&ledger::tree::leaf(&nodes.leaf(54_321).unwrap()));
        let root = ledger::tree::root(&nodes, size).unwrap();
        check_inclusion(&leaf, 54_321, size, &root, &proof).unwrap();
    });
}

#[divan::bench]
fn seal_a_known_persons_field(bencher: Bencher<'_, '_>) {
    let (dir, rng) = (directory(), SystemRandom::new());
    let mut keys = PersonKeys::load(dir.path()).unwrap();
    bencher.bench_local(|| keys.seal(PersonId([1; 16]).into(), b"a made-up name", &rng).unwrap());
}
