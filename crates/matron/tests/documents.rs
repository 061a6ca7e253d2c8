//! Documents say what is so.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn sources(dir: &Path, out: &mut String) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            if !path.ends_with("target") {
                sources(&path, out);
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_test_that_security_md_names_exists() {
    let page = std::fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let mut code = String::new();
    sources(&root().join("crates"), &mut code);
    let mut named = 0;
    for word in page.split('`').skip(1).step_by(2) {
        let is_name = word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if is_name && word.matches('_').count() >= 3 {
            named += 1;
            assert!(
                code.contains(&format!("fn {word}(")),
                "SECURITY.md names {word}, and there is no such test"
            );
        }
    }
    assert!(named > 20);
}

#[test]
fn every_setting_is_named_in_the_operators_page() {
    let page = std::fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let out =
        std::process::Command::new(env!("CARGO_BIN_EXE_matron")).args(["config", "show"]).output().unwrap();
    assert!(out.status.success());
    let shown: toml::Table = String::from_utf8(out.stdout).unwrap().parse().unwrap();
    for (name, value) in shown {
        match value.as_table() {
            Some(section) => {
                for key in section.keys() {
                    assert!(page.contains(&format!("`{name}.{key}`")), "{name}.{key}");
                }
            }
            None => assert!(page.contains(&format!("`{name}`")), "{name}"),
        }
    }
}

#[test]
fn the_alerts_are_prometheus_own_and_fire_at_what_is_tried_and_not_on_an_ordinary_day() {
    let promtool = std::process::Command::new("promtool")
        .args(["test", "rules", "prometheus-alerts.test.yml"])
        .current_dir(root().join("packaging"))
        .output();
    let Ok(out) = promtool else {
        skipped::not_possible(
            "promtool is not installed (Debian has it in prometheus, which starts a server)",
        );
        return;
    };
    assert!(
        out.status.success(),
        "{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
}
