//! The drill itself: a small one in which every promise is kept, and ones with a wall taken down, which must fail.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// The intruder is another package's program; its own test has it built beside the binary under test.
fn intruder() -> PathBuf {
    let beside = Path::new(env!("CARGO_BIN_EXE_matron")).with_file_name("matron-intruder");
    assert!(beside.is_file(), "{} is missing; run the tests with -p intruder -p matron", beside.display());
    beside
}

fn drill(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_matron"))
        .args(["drill", "--json", "--seconds", "2", "--dir"])
        .arg(dir)
        .arg("--intruder")
        .arg(intruder())
        .args(arguments)
        .output()
        .unwrap()
}

fn said(output: &Output) -> Value {
    let errors = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {errors}"))
}

fn broken(room: &Value) -> String {
    room["broken"].to_string()
}

#[test]
fn an_intruder_in_any_room_reads_no_record_and_wipes_no_phone_beyond_what_is_promised() {
    let dir = tempfile::tempdir().unwrap();
    let output = drill(dir.path(), &["--phones", "40"]);
    let all = said(&output);
    assert_eq!(all["promises_kept"], true, "{all:#}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0));
    let rooms = all["rooms"].as_array().unwrap();
    let names: Vec<&str> = rooms.iter().map(|r| r["room"].as_str().unwrap()).collect();
    assert_eq!(names, ["door", "reader", "core", "core_with_grants", "courier", "disk", "backup", "session"]);
    let of = |name: &str| rooms.iter().find(|r| r["room"] == name).unwrap();
    for room in rooms {
        assert_eq!(room["records_total"], 40);
    }
    for name in ["door", "reader", "core", "courier", "disk", "backup"] {
        assert_eq!(of(name)["records_read"], 0, "{name}");
    }
    assert_eq!(of("disk")["push_tokens_read"], 0);
    // The drill measures: what an intruder does get is counted, and it tried a lot.
    let number = |room: &str, key: &str| of(room)[key].as_u64().unwrap();
    let tried = |room: &str| -> u64 {
        of(room)["attempts"].as_object().unwrap().values().map(|t| t["tried"].as_u64().unwrap()).sum()
    };
    assert!(number("core_with_grants", "records_read") >= 15, "{:#}", of("core_with_grants"));
    assert_eq!(number("session", "records_read"), 6);
    assert!(number("door", "phones_wiped") > 0, "a taken door wipes who connects: {:#}", of("door"));
    assert!(number("reader", "phones_heard") > 0);
    // What a standing order lets core have installed, and no more.
    assert!(number("core", "installed_within_cap") > 0, "{:#}", of("core"));
    for what in [
        "have a profile installed beyond a standing order's cap",
        "have another profile installed under a standing order",
        "have a standing order's profile installed on a phone of another group",
    ] {
        assert!(of("core")["attempts"][what]["tried"].as_u64().unwrap() > 10, "{what}: {:#}", of("core"));
    }
    assert!(number("courier", "push_tokens_read") > 0);
    assert!(of("core")["alarm_ms"].is_u64() && of("core_with_grants")["alarm_ms"].is_u64());
    assert!(tried("core") > 500 && tried("reader") > 50 && tried("door") > 200, "{all:#}");
    // Each thing that he tries, so that none is dropped unseen.
    let names = |room: &Value| room["attempts"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let each: Vec<String> = rooms
        .iter()
        .map(|r| format!("{}:\n  {}", r["room"].as_str().unwrap(), names(r).join("\n  ")))
        .collect();
    insta::assert_snapshot!("what_an_intruder_tries", each.join("\n"));
    // Nothing is left of it.
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_drill_that_is_told_to_end_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut running = Command::new(env!("CARGO_BIN_EXE_matron"))
        .args(["drill", "--phones", "20", "--dir"])
        .arg(dir.path())
        .arg("--intruder")
        .arg(intruder())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The house stands, and the first room is being taken.
    let mut said = BufReader::new(running.stderr.take().unwrap()).lines();
    let taken = said.find(|line| line.as_ref().is_ok_and(|l| l.starts_with("drill: "))).unwrap();
    assert!(taken.is_ok());
    assert!(std::fs::read_dir(dir.path()).unwrap().count() >= 2, "the house's folder and its root key's");
    assert!(Command::new("kill").arg(running.id().to_string()).status().unwrap().success());
    said.for_each(drop);
    assert!(!running.wait().unwrap().success());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn without_the_sandbox_an_intruder_reads_other_rooms_files_and_the_drill_says_so_and_fails() {
    let dir = tempfile::tempdir().unwrap();
    let without = r#"sandbox.danger_without=["landlock"]"#;
    let output = drill(dir.path(), &["--phones", "20", "--room", "reader", "--set", without]);
    let all = said(&output);
    assert_eq!(all["promises_kept"], false);
    assert_eq!(output.status.code(), Some(1));
    let reader = &all["rooms"][0];
    assert!(reader["attempts"]["read another room's file"]["got"].as_u64().unwrap() > 0);
    assert!(broken(reader).contains("read another room's file"), "{reader:#}");
}

#[test]
fn without_seccomp_an_intruder_starts_a_program_and_calls_out_and_the_drill_hears_it() {
    let dir = tempfile::tempdir().unwrap();
    let without = r#"sandbox.danger_without=["seccomp", "landlock"]"#;
    let output = drill(dir.path(), &["--phones", "20", "--room", "reader", "--set", without]);
    let all = said(&output);
    assert_eq!((all["promises_kept"].as_bool(), output.status.code()), (Some(false), Some(1)));
    let broken = broken(&all["rooms"][0]);
    assert!(broken.contains("started a program") && broken.contains("called out"), "{broken}");
}

#[test]
fn a_stolen_disk_with_the_root_key_beside_the_data_is_everything_and_the_drill_fails() {
    let dir = tempfile::tempdir().unwrap();
    let output = drill(dir.path(), &["--phones", "20", "--room", "disk", "--set", "vault.root_key=file"]);
    let all = said(&output);
    assert_eq!((all["promises_kept"].as_bool(), output.status.code()), (Some(false), Some(1)));
    assert_eq!(all["rooms"][0]["records_read"], 20, "{all:#}");
    assert_eq!(all["rooms"][0]["push_tokens_read"], 20);
}

#[test]
fn a_drill_without_an_intruder_says_nothing_of_the_promises() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_matron"))
        .args(["drill", "--json", "--intruder", "/nowhere/matron-intruder", "--dir"])
        .arg(dir.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    assert!(String::from_utf8_lossy(&output.stderr).contains("cargo build --release -p intruder"));
}
