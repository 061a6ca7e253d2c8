//! What one enrolment by SCEP costs the server in CPU, and where.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests and benches may fail loudly")]

#[path = "../tests/scep_house/mod.rs"]
mod scep_house;

use apple::csr;
use apple::scep::client::{Request, pkcs_req};
use apple::scep::{Algorithms, ContentCipher, request, response};
use apple::x509::{RsaSigner, Signer, SystemRandom};
use scep_house::{CHALLENGE, House, Phone};
use std::sync::LazyLock;

struct World {
    house: House,
    phone: Phone,
    csr: Vec<u8>,
    body: Vec<u8>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let (house, phone) = (House::new(), Phone::new());
    let csr = csr::build(&phone.key, "phone", Some(CHALLENGE)).unwrap();
    let body = ask(&house, &phone, &csr);
    World { house, phone, csr, body }
});

fn ask(house: &House, phone: &Phone, csr: &[u8]) -> Vec<u8> {
    let request = Request {
        signer: &phone.key,
        signer_cert: &phone.cert,
        csr_der: csr,
        ra_cert: house.ra.cert_der(),
        transaction_id: "0123456789abcdef",
        sender_nonce: [9; 16],
        cipher: ContentCipher::Aes256,
    };
    pkcs_req(&request, &SystemRandom).unwrap()
}

fn main() {
    LazyLock::force(&WORLD);
    divan::main();
}

/// Reader: verify, decrypt, verify the certification request.
#[divan::bench]
fn open() -> request::Opened {
    request::open(&WORLD.body, &WORLD.house.ra, Algorithms::Strong, &SystemRandom).unwrap()
}

/// Vault: verify the certification request again, and issue.
#[divan::bench]
fn issue() -> Vec<u8> {
    WORLD.house.issue(&csr::parse(&WORLD.csr).unwrap().spki_der)
}

/// The same by a CA with a key of RSA-3072.
#[divan::bench]
fn issue_by_rsa_ca(bencher: divan::Bencher<'_, '_>) {
    let house = House::rsa();
    bencher.bench(|| house.issue(&csr::parse(&WORLD.csr).unwrap().spki_der));
}

/// Reader: encrypt and sign the answer.
#[divan::bench]
fn answer(bencher: divan::Bencher<'_, '_>) {
    let world = &*WORLD;
    let opened = request::open(&world.body, &world.house.ra, Algorithms::Strong, &SystemRandom).unwrap();
    let issued = world.house.issue(world.phone.key.spki_der());
    let chain = [world.house.ca_cert.as_slice()];
    bencher.bench(|| {
        response::success(&opened.context, &issued, &chain, &world.house.ra, &SystemRandom).unwrap()
    });
}

/// All of the server's part: open, issue, answer.
#[divan::bench]
fn enrolment() -> Vec<u8> {
    WORLD.house.answer(&WORLD.body, Algorithms::Strong).unwrap()
}

/// The phone's request, without making its key.
#[divan::bench]
fn phone_asks() -> Vec<u8> {
    ask(&WORLD.house, &WORLD.phone, &WORLD.csr)
}

/// One RSA-2048 signature, for comparison.
#[divan::bench]
fn rsa_signature() -> Vec<u8> {
    WORLD.phone.key.sign(b"a message").unwrap()
}

/// A phone's new key.
#[divan::bench(sample_count = 20)]
fn rsa_key() -> RsaSigner {
    RsaSigner::generate().unwrap()
}

/// A stored key read again.
#[divan::bench]
fn rsa_key_from_pkcs8(bencher: divan::Bencher<'_, '_>) {
    let pkcs8 = WORLD.phone.key.to_pkcs8().unwrap();
    bencher.bench(|| RsaSigner::from_pkcs8(&pkcs8).unwrap());
}
