//! `cargo bench -p ledger --bench rates`: how many entries a second one core checks against the signed tree, and how
//! many become durable, by batch size. The checking is timed by the thread's own time on the CPU (Linux's
//! schedstat) beside the wall clock, so that other work on the machine does not show; the median of several runs.
//! The ledger lies under the build's target directory; set `TMPDIR` to measure another disk.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::{Duration, Instant};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use ledger::disk::{Disk, FileDisk};
use ledger::{Audit, Body, Effect, FileLedger, Opaque, Publisher, TREE_DIR, scan, verify};
use model::{CommandId, CommandKind, Digest, EnrolmentId, KeyId, OrderId, PersonId};
use tempfile::TempDir;

const ENTRIES: usize = 200_000;
const RUNS: usize = 9;
const BATCHES: [usize; 4] = [1, 16, 64, 256];

fn directory() -> TempDir {
    TempDir::new_in(std::env::var("TMPDIR").unwrap_or(env!("CARGO_TARGET_TMPDIR").to_owned())).unwrap()
}

fn pair() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

fn root_key() -> [u8; 32] {
    pair().public_key().as_ref().try_into().unwrap()
}

/// What a phone's answer leaves behind: about 90 bytes.
fn answer() -> Body {
    Body::CommandFinished { enrolment: EnrolmentId([9; 16]), command: CommandId([7; 16]), status: 2 }
}

/// An order to lock one phone: about 500 bytes.
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

/// The thread's time on a CPU so far.
fn on_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// Entries a second: by the CPU's time, by the wall clock.
fn rate(entries: usize, mut work: impl FnMut()) -> (f64, f64) {
    let (mut cpu, mut wall) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let (at_cpu, at) = (on_cpu(), Instant::now());
        work();
        cpu.push(entries as f64 / (on_cpu() - at_cpu).as_secs_f64());
        wall.push(entries as f64 / at.elapsed().as_secs_f64());
    }
    (median(cpu), median(wall))
}

fn say(what: &str, batch: usize, (cpu, wall): (f64, f64)) {
    println!("{what:<44} batches of {batch:>3}: {cpu:>10.0}/s of CPU time, {wall:>10.0}/s by the clock");
}

/// Writes and makes nothing durable: what is to be checked has to be there soon.
struct Unsynced(FileDisk);

impl Disk for Unsynced {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write_at(offset, bytes)
    }

    fn sync(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn checks(name: &str, body: fn() -> Body) {
    for batch in BATCHES {
        let dir = directory();
        let unsynced = |file| Box::new(Unsynced(FileDisk(file))) as Box<dyn Disk>;
        let mut ledger = FileLedger::open_with(dir.path(), unsynced, |_| {}).unwrap();
        let mut publisher = Publisher::open(dir.path(), &[root_key()]).unwrap();
        for _ in 0..ENTRIES / batch {
            for r in ledger.append_batch(vec![body(); batch], 1).unwrap() {
                publisher.push(&r.position).unwrap();
            }
        }
        publisher.publish(|m| pair().sign(m).as_ref().to_vec()).unwrap();
        let entries = ENTRIES / batch * batch;
        let tree = dir.path().join(TREE_DIR);
        let quick = rate(entries, || {
            let mut audit = Audit::with_folder(&tree, &[root_key()]).unwrap();
            scan(dir.path(), |s| audit.take(&s.position)).unwrap();
            audit.finish().unwrap();
        });
        say(&format!("check against the signed tree, {name}"), batch, quick);
        if batch == 64 {
            say(
                &format!("each entry decoded too, {name}"),
                batch,
                rate(entries, || {
                    verify(dir.path()).unwrap();
                }),
            );
        }
    }
}

fn durable() {
    for batch in BATCHES {
        let dir = directory();
        let mut ledger = FileLedger::open(dir.path()).unwrap();
        let (mut entries, mut syncs) = (0usize, Vec::new());
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(4) {
            let at = Instant::now();
            entries += ledger.append_batch(vec![order(); batch], 1).unwrap().len();
            syncs.push(at.elapsed().as_secs_f64() * 1000.0);
        }
        let all = entries as f64 / begun.elapsed().as_secs_f64();
        println!(
            "durable, 500 bytes{:26} batches of {batch:>3}: {all:>10.0}/s by the clock, one batch {:.2} ms (median)",
            "",
            median(syncs)
        );
    }
}

fn main() {
    checks("90 bytes", answer);
    checks("500 bytes", order);
    durable();
}
