//! The command line from a bundle to every output, twice.

// Helpers of tests may fail as tests may.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A documentation address, a drama number, the sample IMEI of the standard.
const INVENTORY: &str = "User ID,Display Name,Email Address,Current Phone Number,IMEI,Device UUID,Last Check-In\n\
    awright,Ada Wright,ada@example.org,07700 900123,490154203237518,d-1,2025-05-17 08:00:00\n\
    bhill,Ben Hill,ben@example.org,PDA,356938035643809,d-2,2025-05-16\n";

fn run(words: &[OsString]) -> (u8, Vec<u8>, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let words = std::iter::once(OsString::from("assess")).chain(words.iter().cloned());
    let code = assess::cli::run_words(words, &mut std::io::empty(), &mut out, &mut err);
    (code, out, String::from_utf8_lossy(&err).into_owned())
}

fn option(name: &str, path: &Path) -> OsString {
    let mut word = OsString::from(format!("--{name}="));
    word.push(path);
    word
}

fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(
                files(&path).into_iter().map(|(p, b)| (PathBuf::from(path.file_name().unwrap()).join(p), b)),
            );
        } else {
            found.insert(path.file_name().unwrap().into(), std::fs::read(&path).unwrap());
        }
    }
    found
}

fn everything(bundle: &Path, inventory: &Path, to: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut words = vec![bundle.as_os_str().to_owned(), "--quiet".into(), option("inventory", inventory)];
    for (name, file) in [
        ("html", "report.html"),
        ("json", "all.json"),
        ("stix", "bundle.json"),
        ("ocsf", "findings.jsonl"),
        ("timeline", "timeline.csv"),
        ("drafts", "drafts"),
        ("queries", "queries"),
    ] {
        words.push(option(name, &to.join(file)));
    }
    words.push("--aware-at=2025-05-28T09:30".into());
    let (code, out, err) = run(&words);
    assert_eq!((code, out.len()), (13, 0), "{err}");
    files(to)
}

#[test]
fn a_bundle_gives_every_output_and_again_the_same_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = assess::demo::write(&dir.path().join("evidence")).unwrap();
    let inventory = dir.path().join("devices.csv");
    std::fs::write(&inventory, INVENTORY).unwrap();
    let first = everything(&bundle, &inventory, &dir.path().join("first"));
    let second = everything(&bundle, &inventory, &dir.path().join("second"));
    assert_eq!(first.len(), 5 + 3 + 6);
    assert!(first == second, "two runs differ");
    for (name, bytes) in &first {
        let text = String::from_utf8(bytes.clone()).unwrap();
        for personal in ["Ada", "awright", "ada@", "900123", "490154203237518"] {
            assert!(!text.contains(personal), "{personal} in {}", name.display());
        }
    }
    let json: serde_json::Value = serde_json::from_slice(&first[Path::new("all.json")]).unwrap();
    assert_eq!(json["exposure"]["counts"]["people"], 2);
    ask_others(&dir.path().join("first"));
}

/// OASIS's validator and the OCSF models about the outputs of a real run.
fn ask_others(dir: &Path) {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| manifest.join("../../target"), PathBuf::from);
    let venv = target.join("assess-validators");
    for (what, file) in [
        ("stix", "bundle.json"),
        ("ocsf", "findings.jsonl"),
        ("kql", "queries/entra-sign-ins.kql"),
        ("kql", "queries/firewall-flows.kql"),
        ("nfdump", "queries/flows.nfdump"),
    ] {
        let script = manifest.join("tests/validate-exchange.sh");
        let out =
            std::process::Command::new("bash").arg(script).arg(&venv).arg(what).arg(dir.join(file)).output();
        match out {
            Ok(out) if out.status.code() != Some(77) => {
                assert!(out.status.success(), "{what}: {}", String::from_utf8_lossy(&out.stdout));
            }
            _ => {
                skipped::not_installed(&format!(
                    "the {what} validator (python3 and PyPI, node and npm, nfdump)"
                ));
            }
        }
    }
}

#[test]
fn an_output_into_the_evidence_is_refused_before_anything_is_read() {
    let dir = tempfile::tempdir().unwrap();
    assess::demo::write(dir.path()).unwrap();
    let before = files(dir.path());
    let (code, _, err) =
        run(&[dir.path().as_os_str().to_owned(), option("html", &dir.path().join("report.html"))]);
    assert_eq!(code, 2);
    assert!(err.contains("evidence is never written to"), "{err}");
    assert!(before == files(dir.path()));
}
