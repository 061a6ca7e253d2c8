//! The push certificate's way: request, vendor's signature, import, renewal. openssl plays Apple and the
//! vendor's CA, and checks what was written; Python reads the property list.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const TOPIC: &str = "com.apple.mgmt.External.00000000-1111-2222-3333-444444444444";

struct Desk {
    dir: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let desk = Self { dir: tempfile::tempdir().unwrap() };
        // A made-up root and, below it, a vendor's certificate.
        desk.openssl("req -x509 -nodes -newkey rsa:2048 -days 30 -subj /CN=Made-up\\ Root -keyout root.key -out root.pem");
        desk.openssl(
            "req -nodes -newkey rsa:2048 -subj /CN=Made-up\\ Vendor -keyout vendor.key -out vendor.csr",
        );
        desk.openssl(
            "x509 -req -in vendor.csr -CA root.pem -CAkey root.key -CAcreateserial -days 20 -out vendor.pem",
        );
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn openssl(&self, arguments: &str) -> String {
        let words: Vec<String> =
            arguments.replace("\\ ", "\u{1}").split(' ').map(|w| w.replace('\u{1}', " ")).collect();
        let out = Command::new("openssl").args(&words).current_dir(self.dir.path()).output().unwrap();
        assert!(out.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    /// What Apple's portal would give for a request.
    fn apple(&self, csr: &Path, topic: &str, extra: &str, out: &str) -> PathBuf {
        std::fs::copy(csr, self.path("apple.csr")).unwrap();
        std::fs::write(self.path("apple.ext"), "extendedKeyUsage=clientAuth\n").unwrap();
        self.openssl(&format!(
            "x509 -req -in apple.csr -CA root.pem -CAkey root.key -CAcreateserial -extfile apple.ext {extra} -subj /UID={topic}/CN=APSP:made-up -out {out}"
        ));
        self.path(out)
    }

    fn matron(&self, arguments: &[&str]) -> (i32, String, String) {
        let out = Command::new(env!("CARGO_BIN_EXE_matron"))
            .args(arguments)
            .env("MATRON_DATA", self.path("data"))
            .env("TZ", "UTC")
            .env_remove("MATRON_CONFIG")
            .current_dir(self.dir.path())
            .output()
            .unwrap();
        let text = |b: Vec<u8>| String::from_utf8(b).unwrap();
        (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
    }

    #[track_caller]
    fn done(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.matron(arguments);
        assert_eq!(code, 0, "{out}{err}");
        out
    }

    #[track_caller]
    fn refused(&self, arguments: &[&str], says: &str) {
        let (code, out, err) = self.matron(arguments);
        assert!(code == 1 && err.contains(says), "{code}: {out}{err}");
    }

    fn shown(&self) -> Value {
        serde_json::from_str(&self.done(&["push", "show", "--json"])).unwrap()
    }
}

#[test]
fn a_push_certificate_is_asked_for_signed_by_a_vendor_taken_up_and_renewed() {
    let desk = Desk::new();
    assert_eq!(desk.shown()["imported"], false);
    desk.done(&["push", "csr", "--name", "Example Hospital"]);
    let folder = desk.path("data/push");
    let (key, csr) = (folder.join("next.key"), folder.join("next.csr"));
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    desk.openssl(&format!("req -verify -noout -in {}", csr.display()));
    assert!(desk.openssl(&format!("rsa -noout -text -in {}", key.display())).contains("2048 bit"));

    // The vendor signs; others' tools read it.
    let sign = ["push", "vendor-sign", "--csr", csr.to_str().unwrap(), "--vendor-cert", "vendor.pem"];
    desk.done(&[&sign[..], &["--vendor-key", "vendor.key", "--chain", "root.pem"]].concat());
    let python = r#"
import base64, plistlib
d = plistlib.loads(base64.b64decode(open('push-request.txt').read(), validate=True))
assert sorted(d) == ['PushCertCertificateChain', 'PushCertRequestCSR', 'PushCertSignature'], d.keys()
open('read.der', 'wb').write(base64.b64decode(d['PushCertRequestCSR'], validate=True))
open('read.sig', 'wb').write(base64.b64decode(d['PushCertSignature'], validate=True))
open('read.pem', 'w').write(d['PushCertCertificateChain'])
assert all(len(l) <= 64 for l in d['PushCertCertificateChain'].splitlines())
"#;
    let read = Command::new("python3").args(["-c", python]).current_dir(desk.dir.path()).status().unwrap();
    assert!(read.success());
    std::fs::write(desk.path("vendor.pub"), desk.openssl("x509 -in read.pem -noout -pubkey")).unwrap();
    desk.openssl("dgst -sha256 -verify vendor.pub -signature read.sig read.der");
    desk.openssl("verify -CAfile root.pem read.pem");
    desk.done(&["push", "request", "--signed", "push-request.txt"]);

    // A vendor that gives a signature alone: the same bytes come out.
    desk.openssl("dgst -sha256 -sign vendor.key -out alone.sig read.der");
    let alone = [
        "push",
        "request",
        "--vendor-signature",
        "alone.sig",
        "--vendor-chain",
        "read.pem",
        "--out",
        "alone.txt",
    ];
    desk.done(&alone);
    assert_eq!(
        std::fs::read(desk.path("alone.txt")).unwrap(),
        std::fs::read(desk.path("push-request.txt")).unwrap()
    );

    let apple = desk.apple(&csr, TOPIC, "-days 300", "first.pem");
    let said = desk.done(&["push", "import", "--no-try", apple.to_str().unwrap()]);
    assert!(said.contains(TOPIC) && said.contains("[push]"), "{said}");
    let shown = desk.shown();
    assert_eq!((&shown["topic"], &shown["key_fits"]), (&TOPIC.into(), &true.into()));
    assert_eq!(shown["request_pending"], false);
    let current = folder.join("push.pem");
    assert_eq!(std::fs::metadata(&current).unwrap().permissions().mode() & 0o777, 0o600);
    let before = std::fs::read(&current).unwrap();

    // Renewed a year later: a new key, the same topic, the old file kept beside it.
    desk.done(&["push", "csr"]);
    let renewed = desk.apple(&csr, TOPIC, "-days 365", "second.pem");
    desk.done(&["push", "import", "--no-try", renewed.to_str().unwrap()]);
    assert_ne!(std::fs::read(&current).unwrap(), before);
    assert_eq!(std::fs::read(folder.join("push.previous.pem")).unwrap(), before);
    assert!(!key.exists(), "the request is over");
    for entry in std::fs::read_dir(&folder).unwrap() {
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
    }
}

#[test]
fn what_would_silence_the_fleet_is_refused_and_changes_nothing() {
    let desk = Desk::new();
    desk.done(&["push", "csr"]);
    let csr = desk.path("data/push/next.csr");
    let import = |file: &PathBuf, says: &str| {
        desk.refused(&["push", "import", "--no-try", file.to_str().unwrap()], says)
    };
    import(&desk.apple(&csr, "org.example", "-days 300", "no-topic.pem"), "no MDM push certificate");
    let over = "-not_before 20200101000000Z -not_after 20210101000000Z";
    let can_date = Command::new("openssl").args(["x509", "-help"]).output().unwrap();
    if String::from_utf8_lossy(&can_date.stderr).contains("-not_after") {
        import(&desk.apple(&csr, TOPIC, over, "over.pem"), "it ran out");
    } else {
        skipped::not_possible("this openssl can't make a certificate that has run out");
    }
    desk.openssl("req -nodes -newkey rsa:2048 -subj /CN=other -keyout other.key -out other.csr");
    import(&desk.apple(&desk.path("other.csr"), TOPIC, "-days 300", "other.pem"), "answers another request");
    std::fs::write(desk.path("junk.pem"), "junk").unwrap();
    import(&desk.path("junk.pem"), "holds no certificate");
    // The chain that follows has to have issued it.
    let good = desk.apple(&csr, TOPIC, "-days 300", "good.pem");
    let chained = [std::fs::read(&good).unwrap(), std::fs::read(desk.path("vendor.pem")).unwrap()].concat();
    std::fs::write(desk.path("chained.pem"), chained).unwrap();
    import(&desk.path("chained.pem"), "was not issued by");
    assert_eq!(desk.shown()["imported"], false);
    assert!(desk.path("data/push/next.key").exists(), "the request goes on");

    // A vendor's signature over another request, or by another key.
    let sign = |csr: &str, key: &str, out: &str| {
        let a = [
            "push",
            "vendor-sign",
            "--csr",
            csr,
            "--vendor-cert",
            "vendor.pem",
            "--vendor-key",
            key,
            "--chain",
            "root.pem",
            "--out",
            out,
        ];
        desk.matron(&a)
    };
    assert_eq!(sign("other.csr", "vendor.key", "theirs.txt").0, 0);
    desk.refused(&["push", "request", "--signed", "theirs.txt"], "another request");
    let (code, _, err) = sign("other.csr", "other.key", "x.txt");
    assert!(code == 1 && err.contains("is not the key of"), "{err}");
    assert!(!desk.path("x.txt").exists());
}

#[test]
fn setup_takes_pem_files_and_what_apples_portal_gave_and_names_both_in_the_configuration() {
    let desk = Desk::new();
    desk.openssl("req -nodes -newkey rsa:2048 -subj /CN=localhost -keyout tls.key -out tls.csr");
    std::fs::write(
        desk.path("tls.ext"),
        "subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n",
    )
    .unwrap();
    desk.openssl("x509 -req -in tls.csr -CA root.pem -CAkey root.key -CAcreateserial -days 90 -sha256 -extfile tls.ext -out tls.pem");
    // Nobody is pushed to from here.
    let config = desk.path("matron.toml");
    std::fs::write(&config, "[push]\nendpoint = \"https://127.0.0.1:1\"\n").unwrap();
    let port = testkit::house::free().unwrap().port();
    let host = format!("localhost:{port}");
    let mut setup =
        vec!["setup", "--config", "matron.toml", "--host", &host, "--organization", "Example Hospital"];
    setup.extend(["--tls", "files", "--tls-trust", "root.pem", "--tls-certificate", "tls.pem", "--tls-key"]);
    // Another certificate's key first: nothing of it is written.
    let (code, out, err) = desk.matron(&[&setup[..], &["vendor.key"]].concat());
    assert!(code != 0 && out.contains("is not the key of"), "{code}: {out}{err}");
    assert!(!std::fs::read_to_string(&config).unwrap().contains("tls_certificate"));
    setup.push("tls.key");
    let said = desk.done(&setup);
    assert!(said.contains("ok    TLS certificate") && said.contains("asked for in"), "{said}");

    let apple = desk.apple(&desk.path("data/push/next.csr"), TOPIC, "-days 300", "given.pem");
    let said = desk.done(&[&setup[..], &["--push-certificate", apple.to_str().unwrap()]].concat());
    assert!(said.contains("ok    push certificate") && said.contains(TOPIC), "{said}");
    let written: toml::Table = std::fs::read_to_string(&config).unwrap().parse().unwrap();
    let text = |section: &str, key: &str| written[section][key].as_str().unwrap().to_owned();
    assert_eq!(text("push", "topic"), TOPIC);
    assert_eq!(text("push", "endpoint"), "https://127.0.0.1:1", "what a person wrote stays");
    let current = desk.path("data/push/push.pem").display().to_string();
    assert_eq!((text("push", "certificate"), text("push", "key")), (current.clone(), current));
    assert_eq!(text("phones", "tls_certificate"), desk.path("tls.pem").display().to_string());
    assert_eq!(text("phones", "tls_key"), desk.path("tls.key").display().to_string());
    // Once more without the answers: all of it is known, but whose CA that is.
    let (code, said, _) = desk.matron(&["setup", "--config", "matron.toml", "--check"]);
    assert!(code == 1 && said.contains("ok    push certificate") && said.contains("--tls-trust"), "{said}");
    let said = desk.done(&["setup", "--config", "matron.toml", "--check", "--tls-trust", "root.pem"]);
    for done in ["ok    TLS certificate", "ok    push certificate"] {
        assert!(said.contains(done), "{said}");
    }
}
