//! A CA, an RA and a phone for the tests of SCEP, and the programs that judge them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests and benches may fail loudly"
)]
#![allow(dead_code, reason = "each test file takes what it needs")]

pub mod serve;

use apple::scep::{Algorithms, FailInfo, RaKey, request, response};
use apple::x509::{
    P256Signer, RsaSigner, Signer, SystemRandom, Window, ca_certificate, device_certificate, ra_certificate,
    self_signed_request_certificate,
};
use model::clock::{Clock, DAY_MS, SystemClock};
use model::id::EnrolmentId;
use std::path::Path;
use std::process::{Command, Output};

pub const CHALLENGE: &str = "a made-up challenge";
pub const ENROLMENT: EnrolmentId = EnrolmentId([0x6d; 16]);

/// A year that began a day ago.
pub fn window() -> Window {
    let now_ms = SystemClock.now_ms();
    Window { not_before_ms: now_ms - DAY_MS, not_after_ms: now_ms + 364 * DAY_MS }
}

pub struct House {
    pub ca: Box<dyn Signer>,
    pub ca_cert: Vec<u8>,
    pub ra: RaKey,
}

impl House {
    /// With an ECDSA CA.
    pub fn new() -> Self {
        Self::of(Box::new(P256Signer::generate().unwrap()))
    }

    /// With an RSA CA.
    pub fn rsa() -> Self {
        Self::of(Box::new(RsaSigner::generate_for_ca().unwrap()))
    }

    fn of(ca: Box<dyn Signer>) -> Self {
        let long = Window { not_after_ms: window().not_after_ms + 3650 * DAY_MS, ..window() };
        let ca_cert = ca_certificate(&*ca, "Matron test CA", [1; 16], long).unwrap();
        let key = RsaSigner::generate().unwrap();
        let cert = ra_certificate(&ca_cert, &*ca, key.spki_der(), [2; 16], window()).unwrap();
        Self { ca, ca_cert, ra: RaKey::new(key, cert).unwrap() }
    }

    /// Issues for a key, as the vault would.
    pub fn issue(&self, spki_der: &[u8]) -> Vec<u8> {
        device_certificate(&self.ca_cert, &*self.ca, spki_der, &ENROLMENT, [3; 16], window()).unwrap()
    }

    /// Opens, checks the challenge, issues, answers. None if there is no one to answer.
    pub fn answer(&self, body: &[u8], admit: Algorithms) -> Option<Vec<u8>> {
        match request::open(body, &self.ra, admit, &SystemRandom) {
            Ok(opened) if opened.csr.challenge.as_ref().is_some_and(|c| c.as_str() == CHALLENGE) => {
                let issued = self.issue(&opened.csr.spki_der);
                let chain = [self.ca_cert.as_slice()];
                Some(response::success(&opened.context, &issued, &chain, &self.ra, &SystemRandom).unwrap())
            }
            Ok(opened) => Some(
                response::failure(&opened.context, FailInfo::BadRequest, &self.ra, &SystemRandom).unwrap(),
            ),
            Err(error) => {
                let context = error.answer.as_ref()?;
                Some(response::failure(context, error.fail_info(), &self.ra, &SystemRandom).unwrap())
            }
        }
    }
}

/// A phone's key and the certificate with which it signs its request.
pub struct Phone {
    pub key: RsaSigner,
    pub cert: Vec<u8>,
}

impl Phone {
    pub fn new() -> Self {
        let key = RsaSigner::generate().unwrap();
        let cert = self_signed_request_certificate(&key, "phone", [4; 16], window()).unwrap();
        Self { key, cert }
    }
}

/// Runs a program; None, said loudly, if the machine has none of that name.
pub fn run(program: &str, args: &[&str], folder: &Path) -> Option<Output> {
    match Command::new(program).args(args).current_dir(folder).output() {
        Ok(output) => Some(output),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            skipped::not_installed(program);
            None
        }
        Err(e) => panic!("{program}: {e}"),
    }
}

/// Runs a program that must succeed; false if it is absent.
pub fn must(program: &str, args: &[&str], folder: &Path) -> bool {
    let Some(output) = run(program, args, folder) else { return false };
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{program} {args:?}: {}\n{}\n{}",
        output.status,
        said(&output.stdout),
        said(&output.stderr)
    );
    true
}

/// Writes a certificate as PEM with openssl's help, which only reads that in places.
pub fn pem(folder: &Path, name: &str, der: &[u8]) -> bool {
    let der_name = format!("{name}.der");
    std::fs::write(folder.join(&der_name), der).unwrap();
    must("openssl", &["x509", "-inform", "DER", "-in", &der_name, "-out", &format!("{name}.pem")], folder)
}
