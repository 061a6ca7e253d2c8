//! Lines as they stand in logs: of other products, of an appliance at work, and the many ways to
//! write one attack. A false alarm costs a night; a missed line costs more.

// Helpers of tests may fail as tests may.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod answers;
mod others;
mod variants;
mod work;

use std::path::Path;

use serde_json::Value;

/// Assesses one file with this text; the exit code and the JSON.
fn assess(name: &str, text: &[u8], options: &[&str]) -> (u8, Value) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    assess_path(&path, options)
}

/// Assesses what lies at a path.
fn assess_path(path: &Path, options: &[&str]) -> (u8, Value) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let words = ["assess".into(), path.as_os_str().to_owned(), "--json".into()];
    let words = words.into_iter().chain(options.iter().map(Into::into));
    let code = assess::cli::run_words(words, &mut std::io::empty(), &mut out, &mut err);
    let json =
        serde_json::from_slice(&out).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&err)));
    (code, json)
}

/// What the evidence rests on, for a failed test.
fn grounds(v: &Value) -> String {
    let steps = v["chains"].as_array().unwrap().iter().flat_map(|c| c["steps"].as_array().unwrap());
    steps.map(|s| format!("{} {} {}\n", s["grade"], s["rule_name"], s["cite"]["raw"])).collect()
}
