//! What reading a phone's message costs: `cargo bench -p apple --bench parse`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test may fail

use apple::{harm, message, plist_guard};
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

const IDLE: &[u8] = include_bytes!("../tests/data/idle.xml");
const DEVICE_INFORMATION: &[u8] = include_bytes!("../tests/data/device_information.xml");
const APPLICATIONS: &[u8] = include_bytes!("../tests/data/installed_applications.xml");
const PROFILE: &[u8] = include_bytes!("../tests/data/profile_mild.mobileconfig");

#[divan::bench]
fn idle() -> message::Message {
    message::parse(black_box(IDLE)).expect("a sample")
}

#[divan::bench]
fn device_information() -> message::Message {
    message::parse(black_box(DEVICE_INFORMATION)).expect("a sample")
}

#[divan::bench]
fn installed_applications_40() -> message::Message {
    message::parse(black_box(APPLICATIONS)).expect("a sample")
}

#[divan::bench]
fn device_information_binary(bencher: Bencher<'_, '_>) {
    let mut body = Vec::new();
    plist_guard::parse(DEVICE_INFORMATION, 1 << 20)
        .expect("a sample")
        .to_writer_binary(&mut body)
        .expect("writes");
    bencher.bench(|| message::parse(black_box(&body)).expect("a sample"));
}

#[divan::bench]
fn device_information_normalised(bencher: Bencher<'_, '_>) {
    let message::Message::Report(report) = message::parse(DEVICE_INFORMATION).expect("a sample") else {
        return;
    };
    bencher.bench(|| black_box(&report).normalised());
}

#[divan::bench]
fn judge_a_profile() -> harm::Harm {
    harm::judge(black_box(PROFILE)).expect("a sample")
}
