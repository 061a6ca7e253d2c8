//! `cargo bench -p ledger`: durable appends by batch size, replay, and a person's field sealed. The
//! ledger lies under the build's target directory; set `TMPDIR` to measure another disk.

#![allow(clippy::unwrap_used)]

use aws_lc_rs::rand::SystemRandom;
use divan::Bencher;
use divan::counter::ItemsCount;
use ledger::{Body, Effect, FileLedger, Opaque, PersonKeys, verify};
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

#[divan::bench(args = [1, 16, 64, 256])]
fn append_durably(bencher: Bencher<'_, '_>, batch: usize) {
    let dir = directory();
    let mut ledger = FileLedger::open(dir.path()).unwrap();
    bencher
        .counter(ItemsCount::new(batch))
        .with_inputs(|| vec![order(); batch])
        .bench_local_values(|bodies| ledger.append_batch(bodies, 1).unwrap());
}

#[divan::bench]
fn verify_100_000_entries(bencher: Bencher<'_, '_>) {
    let dir = directory();
    let mut ledger = FileLedger::open(dir.path()).unwrap();
    for _ in 0..100 {
        ledger.append_batch(vec![order(); 1000], 1).unwrap();
    }
    bencher.counter(ItemsCount::new(100_000usize)).bench_local(|| verify(dir.path()).unwrap());
}

#[divan::bench]
fn seal_a_known_persons_field(bencher: Bencher<'_, '_>) {
    let (dir, rng) = (directory(), SystemRandom::new());
    let mut keys = PersonKeys::load(dir.path()).unwrap();
    bencher.bench_local(|| keys.seal(PersonId([1; 16]).into(), b"a made-up name", &rng).unwrap());
}
