//! micromdm's `scepclient` (Debian's package `scep`), the client of the Go family that the device
//! simulator mdmb shares: SHA-1, single DES, every certificate of `GetCACert` as a recipient. Says
//! loudly when it is not there.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests and benches may fail loudly"
)]

mod scep_house;

use apple::scep::Algorithms;
use scep_house::serve::serve;
use scep_house::{CHALLENGE, House, must, run};
use std::fs;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;

fn enrol(
    folder: &Path,
    house: &Arc<House>,
    admit: Algorithms,
    challenge: &str,
    more: &[&str],
) -> Option<Output> {
    let (address, seen) = serve(Arc::clone(house), admit);
    let url = format!("http://{address}/scep");
    let args = ["-server-url", &url, "-challenge", challenge, "-certificate", "phone.pem"];
    let output = run("scepclient", &[&args[..], &["-private-key", "key.pem"], more].concat(), folder)?;
    eprintln!("{:?}", seen.lock().unwrap());
    Some(output)
}

#[test]
fn scepclient_gets_a_certificate_when_old_algorithms_are_admitted_and_the_ca_is_rsa() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let house = Arc::new(House::rsa());
    let Some(got) = enrol(folder, &house, Algorithms::AdmitOld, CHALLENGE, &[]) else { return };
    assert!(got.status.success(), "{}", String::from_utf8_lossy(&got.stderr));
    fs::write(folder.join("ca.der"), &house.ca_cert).unwrap();
    must("openssl", &["x509", "-inform", "DER", "-in", "ca.der", "-out", "ca.pem"], folder);
    must(
        "openssl",
        &["verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", "ca.pem", "phone.pem"],
        folder,
    );
}

#[test]
fn scepclient_is_refused_by_default() {
    let folder = tempfile::tempdir().unwrap();
    let Some(got) = enrol(folder.path(), &Arc::new(House::rsa()), Algorithms::Strong, CHALLENGE, &[]) else {
        return;
    };
    assert!(!got.status.success());
    assert!(!folder.path().join("phone.pem").exists());
}

#[test]
fn scepclient_is_refused_with_a_wrong_challenge() {
    let folder = tempfile::tempdir().unwrap();
    let Some(got) = enrol(folder.path(), &Arc::new(House::rsa()), Algorithms::AdmitOld, "wrong", &[]) else {
        return;
    };
    let said = String::from_utf8_lossy(&got.stderr).into_owned() + &String::from_utf8_lossy(&got.stdout);
    assert!(!got.status.success() && said.contains("badRequest"), "{said}");
}

#[test]
fn scepclient_with_a_short_key_is_refused_though_old_algorithms_are_admitted() {
    let folder = tempfile::tempdir().unwrap();
    let short = ["-keySize", "1024"];
    let house = Arc::new(House::rsa());
    let Some(got) = enrol(folder.path(), &house, Algorithms::AdmitOld, CHALLENGE, &short) else { return };
    assert!(!got.status.success());
    assert!(!folder.path().join("phone.pem").exists());
}
