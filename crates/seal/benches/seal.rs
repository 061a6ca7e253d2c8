//! `cargo bench -p seal`: a field sealed and opened, a window's key wrapped and unwrapped, 100,000
//! index entries scanned.

#![allow(clippy::unwrap_used)]

use aws_lc_rs::rand::SystemRandom;
use divan::Bencher;
use model::{Compartment, EnrolmentId, SealedRow};
use seal::{CompartmentSecret, IndexKey, KeyPairSecret, Opener, Sealer, SearchField, WINDOW_MS};

const PHONE: EnrolmentId = EnrolmentId([1; 16]);

fn main() {
    divan::main();
}

fn pair() -> (SystemRandom, Sealer, Opener) {
    let rng = SystemRandom::new();
    let reader = KeyPairSecret::generate(&rng).unwrap();
    let secret = CompartmentSecret::generate(Compartment::Hardware, 1, &rng).unwrap();
    let sealer = Sealer::new(reader.clone(), vec![secret.public()]);
    (rng, sealer, Opener::new(vec![secret], vec![reader.public()]))
}

fn row(rng: &SystemRandom, sealer: &mut Sealer, now_ms: i64) -> SealedRow {
    let value = b"490154203237518";
    sealer.seal(rng, now_ms, &PHONE, "IMEI", Compartment::Hardware, value, String::new(), vec![]).unwrap()
}

#[divan::bench]
fn seal_a_field(bencher: Bencher<'_, '_>) {
    let (rng, mut sealer, _) = pair();
    bencher.bench_local(|| row(&rng, &mut sealer, 0));
}

#[divan::bench]
fn open_a_field(bencher: Bencher<'_, '_>) {
    let (rng, mut sealer, mut opener) = pair();
    let row = row(&rng, &mut sealer, 0);
    bencher.bench_local(|| opener.open(&PHONE, &row).unwrap());
}

#[divan::bench]
fn wrap_a_windows_key(bencher: Bencher<'_, '_>) {
    let (rng, mut sealer, _) = pair();
    let mut now_ms = 0;
    bencher.bench_local(|| {
        now_ms += WINDOW_MS;
        row(&rng, &mut sealer, now_ms)
    });
}

#[divan::bench]
fn unwrap_a_windows_key(bencher: Bencher<'_, '_>) {
    let (rng, mut sealer, mut opener) = pair();
    let mut now_ms = 0;
    bencher
        .with_inputs(|| {
            now_ms += WINDOW_MS;
            row(&rng, &mut sealer, now_ms)
        })
        .bench_local_values(|row| opener.open(&PHONE, &row).unwrap());
}

#[divan::bench]
fn seal_one_message(bencher: Bencher<'_, '_>) {
    let rng = SystemRandom::new();
    let vault = KeyPairSecret::generate(&rng).unwrap().public();
    bencher.bench(|| seal::to::seal(&vault, seal::to::INFO_ORDER_ARGS, b"id", b"a name", &rng).unwrap());
}

#[divan::bench]
fn scan_100_000_entries(bencher: Bencher<'_, '_>) {
    let rng = SystemRandom::new();
    let key = IndexKey::generate(&rng).unwrap();
    let token = key.token(SearchField::Serial, "MADEUP");
    let entries: Vec<_> = (0..1000).map(|_| token.entry(&rng).unwrap()).cycle().take(100_000).collect();
    let other = key.token(SearchField::Serial, "OTHER").scanner().unwrap();
    bencher.bench(|| entries.iter().filter(|e| other.matches(e)).count());
}
