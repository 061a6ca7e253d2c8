//! `matron doctor --phone-ready` against servers that each have one thing wrong, and against a real house;
//! `matron doctor` on the house's host.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod old;
mod server;

use std::process::Command;

use model::clock::DAY_MS;
use model::{Clock, SystemClock};
use serde_json::Value;
use server::{Authority, Bad, Server};
use testkit::house::House;

/// Runs the doctor and gives its JSON and exit code.
fn doctor(arguments: &[&str]) -> (Value, i32) {
    let out = Command::new(env!("CARGO_BIN_EXE_matron"))
        .arg("doctor")
        .args(arguments)
        .arg("--json")
        .env("TZ", "UTC")
        .env_remove("MATRON_CONFIG")
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let value = serde_json::from_str(&text)
        .unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&out.stderr)));
    (value, out.status.code().unwrap())
}

fn check<'a>(report: &'a Value, id: &str) -> &'a Value {
    let checks = report["checks"].as_array().unwrap();
    checks.iter().find(|c| c["id"] == id).unwrap_or_else(|| panic!("no {id} in {report:#}"))
}

#[track_caller]
fn is(report: &Value, id: &str, verdict: &str, says: &str) {
    let check = check(report, id);
    assert_eq!(check["verdict"], verdict, "{check:#}");
    let text = format!("{} {} {}", check["found"], check["means"], check["remedy"]);
    assert!(text.contains(says), "{text}");
    if matches!(verdict, "warn" | "fail") {
        assert!(
            !check["means"].as_str().unwrap().is_empty() && !check["remedy"].as_str().unwrap().is_empty()
        );
    }
}

/// Looks at a server whose root is given to `--trust`.
fn look(server: &Server) -> (Value, i32) {
    let trust = server.authority.root_file();
    doctor(&["--phone-ready", &server.url(), "--trust", trust.to_str().unwrap()])
}

#[test]
fn a_server_that_is_all_right_is_found_so() {
    let (report, code) = look(&Server::good());
    assert_eq!(code, 0, "{report:#}");
    for id in [
        "tcp",
        "tls",
        "tls.name",
        "tls.dates",
        "tls.key",
        "tls.signature",
        "tls.life",
        "tls.usage",
        "enrol",
        "clock",
        "checkin",
    ] {
        is(&report, id, "ok", "");
    }
    is(&report, "tls.client_certificate", "ok", "asks for a phone's certificate");
    is(&report, "tls.chain", "warn", "--trust");
    is(&report, "dns", "warn", "inner network");
    is(&report, "profile", "skipped", "--link");
}

#[test]
fn each_fault_of_a_certificate_is_named() {
    let now_ms = SystemClock.now_ms();
    let day = DAY_MS;
    let with = |change: &dyn Fn(&mut server::Leaf)| {
        let mut leaf = server::Leaf::good(now_ms);
        change(&mut leaf);
        let (report, code) = look(&Server::with(Authority::make(), &leaf, Bad::Nothing));
        assert_eq!(code, 1, "{report:#}");
        report
    };
    is(&with(&|l| l.until_ms = now_ms - day), "tls.dates", "fail", "has run out");
    is(&with(&|l| l.from_ms = now_ms + day), "tls.dates", "fail", "not valid yet");
    is(&with(&|l| l.names = vec!["other.example.org".into()]), "tls.name", "fail", "not for localhost");
    is(&with(&|l| l.names = vec![]), "tls.name", "fail", "common name");
    is(&with(&|l| l.until_ms = l.from_ms + 826 * day), "tls.life", "fail", "825");
    is(&with(&|l| l.server_auth = Some(false)), "tls.usage", "fail", "leaves TLS servers out");
    is(&with(&|l| l.server_auth = None), "tls.usage", "fail", "no extended key usage");
    let missing = with(&|l| l.send_intermediate = false);
    is(&missing, "tls.chain", "fail", "Made-up Intermediate");
    is(&missing, "tls.chain", "fail", "http://ca.example.org/intermediate.cer");
}

#[test]
fn a_root_that_no_phone_was_told_of_is_named() {
    let server = Server::good();
    let (report, code) = doctor(&["--phone-ready", &server.url()]);
    assert_eq!(code, 1);
    is(&report, "tls.chain", "fail", "Made-up Root");
}

#[test]
fn each_fault_of_what_stands_in_front_is_named() {
    let with =
        |bad: Bad| look(&Server::with(Authority::make(), &server::Leaf::good(SystemClock.now_ms()), bad)).0;
    is(&with(Bad::RequiresCertificate), "tls.client_certificate", "fail", "want of a client certificate");
    is(&with(Bad::AsksForNoCertificate), "tls.client_certificate", "warn", "Mdm-Signature");
    is(&with(Bad::Redirects), "enrol", "fail", "https://login.example.org/");
    is(&with(Bad::NoScep), "scep.capabilities", "fail", "404");
    is(&with(Bad::NoScep), "scep.certificates", "fail", "404");
    is(&with(Bad::Login), "checkin", "fail", "drops its management");
    is(&with(Bad::ClockBehind), "clock", "fail", "behind");
    is(&with(Bad::OnlyTls12), "tls", "warn", "no TLS 1.3");
}

#[test]
fn a_profile_is_judged_by_its_signature_and_its_urls() {
    let leaf = server::Leaf::good(SystemClock.now_ms());
    let with = |bad: Bad| {
        let server = Server::with(Authority::make(), &leaf, bad);
        let trust = server.authority.root_file();
        let link = format!("{}/enrol/{}", server.url(), "b".repeat(32));
        doctor(&["--phone-ready", &server.url(), "--trust", trust.to_str().unwrap(), "--link", &link]).0
    };
    is(&with(Bad::UnsignedProfile), "profile", "warn", "not signed");
    is(&with(Bad::ProfileAsPage), "profile", "fail", "text/html");
    is(&with(Bad::Nothing), "profile", "fail", "signature does not hold");
    // An untrusted connection is shown no link.
    let server = Server::with(Authority::make(), &leaf, Bad::UnsignedProfile);
    let link = format!("{}/enrol/{}", server.url(), "b".repeat(32));
    let (report, _) = doctor(&["--phone-ready", &server.url(), "--link", &link]);
    is(&report, "profile", "skipped", "was not sent");
    assert!(server.asked().iter().all(|path| !path.contains("bbbb")), "{:?}", server.asked());
    assert!(!report.to_string().contains("bbbb"));
}

#[test]
fn a_closed_port_and_a_name_that_is_none_end_the_look() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (report, code) = doctor(&["--phone-ready", &format!("https://localhost:{}", closed.port())]);
    assert_eq!(code, 1);
    is(&report, "tcp", "fail", "firewall");
    let (report, code) = doctor(&["--phone-ready", "https://mdm.invalid"]);
    assert_eq!(code, 1);
    is(&report, "dns", "fail", "has no address");
}

#[test]
fn a_real_house_is_ready_but_for_its_own_ca_and_the_push() {
    let house = House::start(env!("CARGO_BIN_EXE_matron"), &[]).unwrap();
    let matron = |arguments: &[&str]| {
        let out = house.matron(arguments).unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    matron(&["admin", "join", "--token", house.token(), "--name", "Ada Example"]);
    let said = matron(&[
        "invite",
        "--name",
        "Grace Example",
        "--email",
        "grace@example.org",
        "--group",
        "ward-7",
        "--yes",
        "--json",
    ]);
    let link = serde_json::from_str::<Value>(&said).unwrap()["link"].as_str().unwrap().to_owned();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("link");
    std::fs::write(&file, &link).unwrap();
    let trust = house.ca_pem();
    let (report, code) = doctor(&[
        "--phone-ready",
        &house.base_url(),
        "--trust",
        trust.to_str().unwrap(),
        "--link",
        &format!("@{}", file.display()),
    ]);
    assert_eq!(code, 0, "{report:#}");
    for id in ["scep.capabilities", "scep.certificates", "checkin", "enrol", "tls", "tls.life", "tls.usage"] {
        is(&report, id, "ok", "");
    }
    is(&report, "profile", "ok", &house.base_url());
    is(&report, "tls.client_certificate", "ok", "");

    let data = house.data();
    let (report, code) = doctor(&["--data", data.to_str().unwrap()]);
    assert_eq!(code, 0, "{report:#}");
    for id in [
        "house",
        "room.door",
        "room.reader",
        "room.core",
        "room.vault",
        "room.courier",
        "sandbox.supervisor",
        "sandbox.door",
        "sandbox.reader",
        "sandbox.core",
        "sandbox.vault",
        "sandbox.courier",
        "kernel.seccomp",
        "kernel.landlock",
        "kernel.landlock_truncate",
        "kernel.landlock_tcp",
        "database",
        "ledger",
        "statement",
        "tls.own",
        "ca",
        "data",
    ] {
        is(&report, id, "ok", "");
    }
    is(&report, "push.certificate", "warn", "matron push csr");
    is(&report, "keys", "warn", "vault.root_key");
    // The supervisor is closed to its own user's processes: which program it is, root alone sees.
    let root = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0;
    is(&report, "version", if root { "ok" } else { "skipped" }, "");
}

#[test]
fn the_hosts_doctor_names_what_was_broken_and_repairs_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let mut house = House::start(env!("CARGO_BIN_EXE_matron"), &[]).unwrap();
    house.stop().unwrap();
    let data = house.data();
    let (report, code) = doctor(&["--data", data.to_str().unwrap()]);
    assert_eq!(code, 0, "{report:#}");
    is(&report, "house", "warn", "no 'matron serve' runs");
    is(&report, "database", "ok", "whole");

    std::fs::set_permissions(data.join("rooms/door/tls.key.der"), std::fs::Permissions::from_mode(0o644))
        .unwrap();
    let ledger = house.room_dir("vault").join("ledger.log");
    let mut bytes = std::fs::read(&ledger).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(&ledger, &bytes).unwrap();
    std::fs::copy(house.room_dir("door").join("root.pub"), data.join("other")).unwrap();
    std::fs::write(house.room_dir("reader").join("root.pub"), [9u8; 32]).unwrap();
    let (report, code) = doctor(&["--data", data.to_str().unwrap()]);
    assert_eq!(code, 1);
    let open = check(&report, "data");
    assert!(open["found"].as_str().unwrap().contains("tls.key.der"), "{open:#}");
    is(&report, "ledger", "fail", "");
    is(&report, "statement", "fail", "reader");
    assert_eq!(std::fs::read(&ledger).unwrap(), bytes);
}

#[test]
fn a_provider_that_can_not_be_asked_is_named_with_what_to_correct() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "made-up\n").unwrap();
    let closed = testkit::house::free().unwrap().port();
    let settings = [
        format!("oidc.issuer=https://localhost:{closed}"),
        "oidc.client_id=matron".to_owned(),
        format!("oidc.client_secret={}", secret.display()),
        "oidc.console_url=https://matron.example.org".to_owned(),
        "oidc.roles=[{claim=\"groups\",value=\"x\",role=\"auditor\"}]".to_owned(),
    ];
    let data = dir.path().join("data");
    let mut arguments = vec!["--data", data.to_str().unwrap()];
    settings.iter().for_each(|s| arguments.extend(["--set", s]));
    let (report, code) = doctor(&arguments);
    assert_eq!(code, 1);
    is(&report, "oidc.provider", "fail", "can't be reached");
    is(&report, "oidc.provider", "fail", "oidc.hosts");
    std::fs::write(&secret, "\n").unwrap();
    let (report, _) = doctor(&arguments);
    is(&report, "oidc.provider", "fail", "is empty");
}
