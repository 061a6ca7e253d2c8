//! OpenSSL as the judge of what this crate makes, and as the maker of what it reads. Says loudly when
//! there is no `openssl`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests and benches may fail loudly"
)]

mod scep_house;

use apple::cms::{self, CmsError};
use apple::csr::{self, CsrRefused};
use apple::x509::{
    Algorithms, Certificate, P256Signer, PublicKey, RsaSigner, ServerName, Signer,
    profile_signer_certificate, server_certificate,
};
use model::clock::{Clock, SystemClock};
use scep_house::{ENROLMENT, House, must, pem, run, window};
use std::fs;
use std::path::Path;

const PROFILE: &[u8] = b"<?xml version=\"1.0\"?>\n<plist version=\"1.0\"><dict/></plist>\n";

fn openssl(folder: &Path, line: &str) -> bool {
    must("openssl", &line.split(' ').collect::<Vec<_>>(), folder)
}

fn openssl_says(folder: &Path, line: &str) -> String {
    let output = run("openssl", &line.split(' ').collect::<Vec<_>>(), folder).unwrap();
    assert!(output.status.success(), "openssl {line}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn openssl_verifies_every_template_for_its_purpose_and_for_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let house = House::new();
    if !pem(folder, "ca", &house.ca_cert) {
        return;
    }
    let rsa = RsaSigner::generate().unwrap();
    let ec = P256Signer::generate().unwrap();
    let names = [ServerName::Dns("phones.example.org".into()), ServerName::Ip("192.0.2.7".parse().unwrap())];
    let server =
        |spki| server_certificate(&house.ca_cert, &*house.ca, spki, &names, [5; 16], window()).unwrap();
    let signer =
        profile_signer_certificate(&house.ca_cert, &*house.ca, ec.spki_der(), [6; 16], window()).unwrap();
    pem(folder, "phone", &house.issue(rsa.spki_der()));
    pem(folder, "phone-ec", &house.issue(ec.spki_der()));
    pem(folder, "server", &server(ec.spki_der()));
    pem(folder, "ra", house.ra.cert_der());
    pem(folder, "signer", &signer);

    let verify = "verify -x509_strict -CAfile ca.pem";
    for good in [
        "-purpose sslclient phone.pem",
        "-purpose sslclient phone-ec.pem",
        "-purpose sslserver -verify_hostname phones.example.org server.pem",
        "-purpose sslserver -verify_ip 192.0.2.7 server.pem",
        "-purpose smimesign signer.pem",
        "ra.pem",
    ] {
        openssl(folder, &format!("{verify} {good}"));
    }
    for bad in [
        "-purpose sslserver phone.pem",
        "-purpose sslclient server.pem",
        "-purpose sslclient signer.pem",
        "-purpose smimesign phone.pem",
        "-purpose sslserver -verify_hostname other.example.org server.pem",
        // A phone's certificate can't act as a CA.
        "-untrusted phone.pem -purpose crlsign phone.pem",
    ] {
        let line = format!("{verify} {bad}");
        let got = run("openssl", &line.split(' ').collect::<Vec<_>>(), folder).unwrap();
        assert!(!got.status.success(), "{bad}");
    }

    let text = openssl_says(
        folder,
        "x509 -in phone.pem -noout -subject -ext basicConstraints,keyUsage,extendedKeyUsage",
    );
    for expected in [
        &format!("subject=O = Matron device, CN = {ENROLMENT}"),
        "CA:FALSE",
        "Digital Signature, Key Encipherment",
        "TLS Web Client Authentication",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let text = openssl_says(folder, "x509 -in ca.pem -noout -ext basicConstraints,keyUsage");
    assert!(text.contains("CA:TRUE, pathlen:0") && text.contains("Certificate Sign, CRL Sign"), "{text}");
}

#[test]
fn openssl_verifies_a_signed_profile() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let house = House::new();
    if !pem(folder, "ca", &house.ca_cert) {
        return;
    }
    let (ec, rsa) = (P256Signer::generate().unwrap(), RsaSigner::generate().unwrap());
    let signers: [&dyn Signer; 2] = [&ec, &rsa];
    for signer in signers {
        let cert =
            profile_signer_certificate(&house.ca_cert, &*house.ca, signer.spki_der(), [6; 16], window())
                .unwrap();
        let now_ms = SystemClock.now_ms();
        let signed = cms::sign_attached(PROFILE, signer, &[&cert, &house.ca_cert], now_ms).unwrap();
        fs::write(folder.join("profile.der"), &signed).unwrap();
        for program in ["cms", "smime"] {
            openssl(
                folder,
                &format!("{program} -verify -binary -inform DER -in profile.der -CAfile ca.pem -out out"),
            );
            assert_eq!(fs::read(folder.join("out")).unwrap(), PROFILE);
        }
    }
}

#[test]
fn what_openssl_signs_is_unwrapped_also_in_ber_and_sha1_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("profile"), PROFILE).unwrap();
    if !openssl(folder, "req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -subj /CN=signer") {
        return;
    }
    let sign = "-sign -binary -nodetach -signer cert.pem -inkey key.pem -in profile -outform DER -out signed";
    for form in ["cms -stream", "cms -md sha512", "cms -keyid", "smime", "cms -noattr"] {
        let (program, more) = form.split_once(' ').unwrap_or((form, "-nosmimecap"));
        openssl(folder, &format!("{program} {sign} {more}"));
        let signed = fs::read(folder.join("signed")).unwrap();
        assert_eq!(cms::unwrap_signed(&signed).unwrap(), PROFILE, "{form}");
    }
    openssl(folder, &format!("cms {sign} -md sha1"));
    let signed = fs::read(folder.join("signed")).unwrap();
    assert_eq!(cms::unwrap_signed(&signed), Err(CmsError::Algorithm));

    // Detached, as `Mdm-Signature` is.
    openssl(folder, &format!("cms {}", sign.replace("-nodetach ", "")));
    let signed = fs::read(folder.join("signed")).unwrap();
    openssl(folder, "x509 -in cert.pem -outform DER -out cert.der");
    let cert = fs::read(folder.join("cert.der")).unwrap();
    assert_eq!(cms::verify_detached(&signed, PROFILE, Algorithms::Strong).unwrap(), cert);
    assert_eq!(cms::verify_detached(&signed, b"another body", Algorithms::Strong), Err(CmsError::Signature));
    assert!(Certificate::parse(&cert).unwrap().is_signed_by(Certificate::parse(&cert).unwrap().spki_der()));
}

#[test]
fn requests_of_openssl_are_read_and_weak_ones_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    if run("openssl", &["version"], folder).is_none() {
        return;
    }
    let request = |key: &str, more: &str| {
        let line =
            format!("req -new -newkey {key} -nodes -keyout key.pem -subj /CN=x {more}-outform DER -out csr");
        openssl(folder, &line);
        csr::parse(&fs::read(folder.join("csr")).unwrap())
    };
    assert_eq!(request("rsa:2048", "").unwrap().key, PublicKey::Rsa { bits: 2048 });
    assert_eq!(request("rsa:3072", "-sha512 ").unwrap().key, PublicKey::Rsa { bits: 3072 });
    assert_eq!(request("ec -pkeyopt ec_paramgen_curve:P-256", "").unwrap().key, PublicKey::P256);
    assert_eq!(request("ec -pkeyopt ec_paramgen_curve:P-384", "-sha384 ").unwrap().key, PublicKey::P384);
    assert!(matches!(request("rsa:1024", ""), Err(CsrRefused::Key(_))));
    assert!(matches!(request("ec -pkeyopt ec_paramgen_curve:P-521", ""), Err(CsrRefused::Key(_))));
    assert!(matches!(request("ed25519", ""), Err(CsrRefused::Key(_))));
    assert_eq!(request("rsa:2048", "-md5 ").unwrap_err(), CsrRefused::SignatureAlgorithm);
    assert_eq!(request("rsa:2048", "-sha1 ").unwrap_err(), CsrRefused::SignatureAlgorithm);
    let sha1 = fs::read(folder.join("csr")).unwrap();
    assert!(csr::parse_with(&sha1, Algorithms::AdmitOld).is_ok());

    // And the other way: openssl reads ours, and finds its signature good.
    let csr = csr::build(&RsaSigner::generate().unwrap(), "phone", Some("made up")).unwrap();
    fs::write(folder.join("ours"), csr).unwrap();
    openssl(folder, "req -inform DER -in ours -noout -verify");
    let text = openssl_says(folder, "req -inform DER -in ours -noout -text");
    assert!(text.contains("challengePassword") && text.contains("made up"), "{text}");
}
