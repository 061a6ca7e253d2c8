//! Tests that ask others' validators. They need python3 and its registry once; without them they say
//! loudly that they were skipped, and fail if `MATRON_REQUIRE_VALIDATORS` is set.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::export::{Tlp, ocsf, queries, stix};
use crate::report::brief::BriefOptions;
use crate::report::sample;

/// Shared by the two tests, and made once: the lock keeps one from using what the other still installs.
static VENV: std::sync::Mutex<()> = std::sync::Mutex::new(());

fn venv() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"));
    target.join("assess-validators")
}

fn validate(what: &str, files: &[PathBuf]) {
    let _held = VENV.lock().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/validate-exchange.sh");
    std::fs::create_dir_all(venv().parent().unwrap()).unwrap();
    let out = Command::new("bash").arg(script).arg(venv()).arg(what).args(files).output();
    let skipped = match &out {
        Ok(out) => out.status.code() == Some(77),
        Err(_) => true,
    };
    if skipped {
        skipped::not_installed(&format!("the {what} validator (python3 and PyPI, node and npm, nfdump)"));
        return;
    }
    let out = out.unwrap();
    assert!(
        out.status.success(),
        "{what}:\n{}\n{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
}

#[test]
fn oasis_own_validator_accepts_the_stix_bundles() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for (name, a) in [
        ("data-left", sample::data_left()),
        ("attempted", sample::attempted()),
        ("no-trace", sample::no_trace()),
        ("hostile", sample::hostile()),
    ] {
        let file = dir.path().join(format!("{name}.json"));
        std::fs::write(&file, stix::render(&a, &BriefOptions::default(), Tlp::default()).unwrap()).unwrap();
        files.push(file);
    }
    validate("stix", &files);
}

#[test]
fn the_models_of_ocsf_accept_the_findings() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for (name, a) in
        [("data-left", sample::data_left()), ("no-trace", sample::no_trace()), ("hostile", sample::hostile())]
    {
        let file = dir.path().join(format!("{name}.jsonl"));
        std::fs::write(&file, ocsf::render(&a, &BriefOptions::default()).unwrap()).unwrap();
        files.push(file);
    }
    validate("ocsf", &files);
}

#[test]
fn microsofts_parser_takes_the_kql_and_nfdump_takes_its_filter() {
    let dir = tempfile::tempdir().unwrap();
    let (mut kql, mut flows) = (Vec::new(), Vec::new());
    for (name, a) in
        [("data-left", sample::data_left()), ("no-trace", sample::no_trace()), ("hostile", sample::hostile())]
    {
        for q in queries::queries(&a) {
            let file = dir.path().join(format!("{name}-{}", q.file));
            std::fs::write(&file, &q.text).unwrap();
            match q.file.rsplit('.').next() {
                Some("kql") => kql.push(file),
                // Without an address in the evidence its filter is a blank to fill in.
                Some("nfdump") if !q.text.contains("src ip FILL_IN") => flows.push(file),
                _ => {}
            }
        }
    }
    assert_eq!((kql.len(), flows.len()), (6, 1));
    validate("kql", &kql);
    validate("nfdump", &flows);
}
