//! Debian's `strongswan-pki`, a SCEP client of other makers, gets certificates from this crate's
//! server half over HTTP. Needs the packages strongswan-pki, libstrongswan-extra-plugins (its curl
//! plugin fetches over HTTP) and openssl; says so loudly when they are not there.

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
use scep_house::{CHALLENGE, House, must, pem, run};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;

/// Is a `pki` with `--scep` and an HTTP fetcher here?
fn pki_is_here(folder: &Path) -> bool {
    let Some(help) = run("pki", &["--help"], folder) else { return false };
    let text = [help.stdout, help.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let loaded = text.lines().find(|l| l.starts_with("loaded plugins:")).unwrap_or_default();
    let here = text.contains("--scepca") && loaded.contains(" curl");
    if !here {
        skipped::not_possible(
            "this `pki` has no --scep or no curl plugin (apt-get install strongswan-pki libstrongswan-extra-plugins)",
        );
    }
    here
}

/// Gets the CA's and RA's certificates and makes a key; gives the server's URL.
fn prepare(folder: &Path, address: SocketAddr) -> String {
    let url = format!("http://{address}/scep");
    must("pki", &["--scepca", "--url", &url, "--caout", "ca.der", "--raout", "ra.der"], folder);
    must("openssl", &["genrsa", "-out", "key.pem", "2048"], folder);
    url
}

fn enrol(folder: &Path, url: &str, more: &[&str]) -> Output {
    let mut args = vec!["--scep", "--url", url, "--in", "key.pem", "--dn", "CN=phone"];
    args.extend(["--cacert-enc", "ra.der", "--cacert-sig", "ra.der", "--cacert", "ca.der"]);
    args.extend_from_slice(more);
    run("pki", &args, folder).unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn strongswan_gets_a_certificate_that_openssl_verifies() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    if !pki_is_here(folder) {
        return;
    }
    let house = Arc::new(House::new());
    let (address, seen) = serve(Arc::clone(&house), Algorithms::Strong);
    let url = prepare(folder, address);
    assert_eq!(std::fs::read(folder.join("ca.der")).unwrap(), house.ca_cert);
    assert_eq!(std::fs::read(folder.join("ra.der")).unwrap(), house.ra.cert_der());
    assert!(pem(folder, "ca", &house.ca_cert));

    for digest in ["sha256", "sha512"] {
        let got = enrol(folder, &url, &["--password", CHALLENGE, "--cipher", "aes", "--digest", digest]);
        assert!(got.status.success(), "{digest}: {}", text(&got));
        assert!(pem(folder, "phone", &got.stdout));
        must(
            "openssl",
            &["verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", "ca.pem", "phone.pem"],
            folder,
        );
        let cert = apple::x509::Certificate::parse(&got.stdout).unwrap();
        assert_eq!(cert.common_name(), Some(scep_house::ENROLMENT.to_string().as_str()));
    }
    assert!(seen.lock().unwrap().iter().any(|line| line == "POST PKIOperation"));
}

#[test]
fn strongswan_is_told_when_its_challenge_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    if !pki_is_here(folder) {
        return;
    }
    let (address, _) = serve(Arc::new(House::new()), Algorithms::Strong);
    let url = prepare(folder, address);
    let got = enrol(folder, &url, &["--password", "not the challenge"]);
    assert!(!got.status.success());
    assert!(text(&got).contains("badRequest"), "{}", text(&got));
}

#[test]
fn triple_des_and_sha1_are_refused_by_default_and_admitted_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    if !pki_is_here(folder) {
        return;
    }
    let house = Arc::new(House::new());
    let (strict, _) = serve(Arc::clone(&house), Algorithms::Strong);
    let (lenient, _) = serve(Arc::clone(&house), Algorithms::AdmitOld);
    let url = prepare(folder, strict);
    let lenient = format!("http://{lenient}/scep");
    for old in [["--cipher", "des3"], ["--digest", "sha1"]] {
        let more = [&["--password", CHALLENGE], &old[..]].concat();
        let got = enrol(folder, &url, &more);
        assert!(!got.status.success(), "{old:?} was accepted");
        let got = enrol(folder, &lenient, &more);
        assert!(got.status.success(), "{old:?}: {}", text(&got));
        assert!(apple::x509::Certificate::parse(&got.stdout).is_ok());
    }
}
