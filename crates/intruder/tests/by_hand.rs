//! The intruder is the drill's, and nothing without it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::process::{Command, Stdio};

#[test]
fn started_by_hand_the_intruder_takes_no_room_and_says_who_starts_it() {
    for arguments in [&["room", "core"][..], &["room", "attic"], &[]] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_matron-intruder"));
        let output = program.args(arguments).stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
    }
    let output = Command::new(env!("CARGO_BIN_EXE_matron-intruder")).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("started by 'matron drill'"));
}
