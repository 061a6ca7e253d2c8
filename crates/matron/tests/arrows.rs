//! The house's plan holds: each crate depends on those it may, and on no others.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::process::Command;

/// Who may depend on whom (development dependencies aside), and why where it is not plain.
const ALLOWED: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("order", &["model"]),
    ("apple", &["model"]),
    ("seal", &["model"]),
    ("ledger", &["model"]),
    ("backup", &["model"]),
    ("words", &["ledger", "model", "order"]),
    // A client of the API: it imports no room, and core no page.
    ("console", &["ledger", "model", "order", "words"]),
    ("rpc", &["model", "order"]),
    ("sandbox", &[]),
    ("hsm", &["rpc", "sandbox"]),
    ("store", &["model"]),
    ("door", &["backup", "model", "order", "rpc", "seal"]),
    ("reader", &["apple", "backup", "model", "order", "rpc", "seal"]),
    ("vault", &["apple", "backup", "ledger", "model", "order", "rpc", "seal"]),
    ("courier", &["backup", "model", "order", "rpc", "seal"]),
    ("core-room", &["backup", "ledger", "model", "order", "rpc", "seal", "store", "words"]),
    ("simulate", &["apple", "model", "order"]),
    ("assess", &["ledger", "model"]),
    // In a drill it stands in any room's place, and knows what there is to know. Nobody depends on it.
    ("intruder", &["apple", "door", "ledger", "model", "order", "reader", "rpc", "sandbox", "seal", "store"]),
    ("skipped", &[]),
    ("testkit", &["model", "order", "rpc", "simulate", "skipped"]),
    (
        "matron",
        &[
            "assess",
            "backup",
            "console",
            "core-room",
            "courier",
            "door",
            "hsm",
            "ledger",
            "model",
            "order",
            "reader",
            "rpc",
            "sandbox",
            "seal",
            "simulate",
            "vault",
            "apple",
            "words",
        ],
    ),
];

#[test]
fn the_arrows_between_crates_are_those_of_the_house() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let ours: BTreeSet<&str> = packages.iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(ours, ALLOWED.iter().map(|(name, _)| *name).collect());
    for package in packages {
        let name = package["name"].as_str().unwrap();
        let allowed = ALLOWED.iter().find(|(n, _)| *n == name).unwrap().1;
        for dependency in package["dependencies"].as_array().unwrap() {
            let to = dependency["name"].as_str().unwrap();
            if dependency["kind"] == "dev" || !ours.contains(to) {
                continue;
            }
            assert!(allowed.contains(&to), "{name} depends on {to}, which the plan does not allow");
        }
    }
}
