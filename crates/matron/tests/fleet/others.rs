//! Clients of other makers.

use super::*;
use std::process::Command as Process;

pub(crate) fn has(program: &str) -> bool {
    let there = Process::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap();
    if !there.status.success() {
        skipped::not_installed(program);
    }
    there.status.success()
}

/// The profile behind a link, fetched by curl and verified by openssl.
fn profile(ward: &Ward, link: &str, dir: &Path) -> String {
    let (signed, plain) = (dir.join("p.mobileconfig"), dir.join("p.plist"));
    let fetched = Process::new("curl")
        .args(["-sf", "--cacert"])
        .arg(ward.house.ca_pem())
        .arg("-o")
        .arg(&signed)
        .arg(link)
        .status();
    assert!(fetched.unwrap().success());
    let verified = Process::new("openssl")
        .args(["cms", "-verify", "-inform", "DER", "-purpose", "any", "-CAfile"])
        .arg(ward.house.ca_pem())
        .arg("-in")
        .arg(&signed)
        .arg("-out")
        .arg(&plain)
        .output()
        .unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    std::fs::read_to_string(plain).unwrap()
}

fn challenge(profile: &str) -> String {
    let after = profile.split("<key>Challenge</key>").nth(1).unwrap();
    after.split("<string>").nth(1).unwrap().split("</string>").next().unwrap().to_owned()
}

#[tokio::test]
async fn openssl_verifies_the_signed_profile() {
    if !has("openssl") || !has("curl") {
        return;
    }
    let ward = Ward::open(&[]).await;
    let link = ward.invite(0).await;
    let dir = tempfile::TempDir::new().unwrap();
    let text = profile(&ward, &link, dir.path());
    for expected in
        ["com.apple.mdm", "com.apple.security.scep", "com.apple.security.root", "<key>Topic</key>"]
    {
        assert!(text.contains(expected), "{expected}");
    }
    let person = simulate::people(7, 1).pop().unwrap();
    assert!(!text.contains(&person.name) && !text.contains(&person.email), "it names nobody");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strongswan_gets_a_certificate_that_openssl_verifies() {
    if !has("pki") || !has("openssl") {
        return;
    }
    let ward = Ward::open(&[]).await;
    let link = ward.invite(0).await;
    let dir = tempfile::TempDir::new().unwrap();
    let at = |name: &str| dir.path().join(name);
    let challenge = challenge(&profile(&ward, &link, dir.path()));
    let url = format!("http://127.0.0.1:{}/scep", relay(&ward).await);
    let key = Process::new("pki")
        .args(["--gen", "--type", "rsa", "--size", "2048", "--outform", "pem"])
        .output()
        .unwrap();
    std::fs::write(at("key.pem"), key.stdout).unwrap();
    let ca = Process::new("pki")
        .args(["--scepca", "--url", &url, "--outform", "pem", "--caout"])
        .arg(at("ca.pem"))
        .arg("--raout")
        .arg(at("ra.pem"))
        .output()
        .unwrap();
    assert!(ca.status.success(), "{}", String::from_utf8_lossy(&ca.stderr));
    let ra = ["ra.pem", "ra-1.pem"].iter().map(|n| at(n)).find(|p| p.exists()).unwrap();
    let got = Process::new("pki")
        .args([
            "--scep",
            "--url",
            &url,
            "--dn",
            "CN=a phone",
            "--password",
            &challenge,
            "--outform",
            "pem",
            "--in",
        ])
        .arg(at("key.pem"))
        .arg("--cacert-enc")
        .arg(&ra)
        .arg("--cacert-sig")
        .arg(&ra)
        .arg("--cacert")
        .arg(at("ca.pem"))
        .output()
        .unwrap();
    assert!(got.status.success(), "{}", String::from_utf8_lossy(&got.stderr));
    std::fs::write(at("phone.pem"), got.stdout).unwrap();
    let verified = Process::new("openssl")
        .args(["verify", "-purpose", "sslclient", "-CAfile"])
        .arg(ward.house.ca_pem())
        .arg(at("phone.pem"))
        .output()
        .unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    // With it, curl is a phone to the device route; without, it is not.
    let with = |cert: bool| {
        let mut curl = Process::new("curl");
        curl.args([
            "-s",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "-X",
            "PUT",
            "--data-binary",
            "x",
            "--cacert",
        ])
        .arg(ward.house.ca_pem());
        if cert {
            curl.arg("--cert").arg(at("phone.pem")).arg("--key").arg(at("key.pem"));
        }
        let out = curl.arg(format!("{}/mdm", ward.house.base_url())).output().unwrap();
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    assert_eq!((with(true).as_str(), with(false).as_str()), ("400", "400"));
}

/// strongSwan's pki speaks plain HTTP here: a relay that adds the TLS of the phones' listener.
async fn relay(ward: &Ward) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (ca, target) = (ward.house.ca_pem(), ward.house.phones().to_string());
    tokio::spawn(async move {
        while let Ok((mut plain, _)) = listener.accept().await {
            let (ca, target) = (ca.clone(), target.clone());
            tokio::spawn(async move {
                let mut tls = tokio::process::Command::new("openssl")
                    .args([
                        "s_client",
                        "-quiet",
                        "-verify_return_error",
                        "-servername",
                        "localhost",
                        "-connect",
                        &target,
                        "-CAfile",
                    ])
                    .arg(ca)
                    .stdin(std::process::Stdio::piped())
                    .stdout(std::process::Stdio::piped())
                    .stderr(std::process::Stdio::null())
                    .kill_on_drop(true)
                    .spawn()
                    .unwrap();
                let (mut to, mut from) = (tls.stdin.take().unwrap(), tls.stdout.take().unwrap());
                let (mut read, mut write) = plain.split();
                let _ =
                    tokio::join!(tokio::io::copy(&mut read, &mut to), tokio::io::copy(&mut from, &mut write));
            });
        }
    });
    port
}
