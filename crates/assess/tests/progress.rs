//! The progress bar, on a terminal of its own.

// Helpers of tests may fail as tests may.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use regex::Regex;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// Set in the process that this test starts of itself: the words of its command line, a line each.
const WORDS: &str = "ASSESS_TEST_WORDS";
const BYTES: u64 = 512 << 20;

/// Runs the test `name` of this program again, with these words and its standard error on a terminal of
/// 100 columns; what the terminal was sent, and whether the run ended as it should.
fn on_a_terminal(name: &str, words: &[&str]) -> (String, bool) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let path = ptsname(&master, Vec::new()).unwrap();
    let slave = File::options().read(true).write(true).open(path.to_str().unwrap()).unwrap();
    tcsetwinsize(&slave, Winsize { ws_row: 40, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(WORDS, words.join("\n"))
        .env("TERM", "xterm")
        .stdout(Stdio::null())
        .stderr(slave)
        .spawn()
        .unwrap();
    let mut sent = Vec::new();
    let mut piece = [0u8; 4096];
    let mut screen = File::from(master);
    // The last process that had it open has ended: an error, by Linux's custom.
    while let Ok(n @ 1..) = screen.read(&mut piece) {
        sent.extend_from_slice(&piece[..n]);
    }
    (String::from_utf8_lossy(&sent).into_owned(), child.wait().unwrap().success())
}

/// In the process that was started: runs the command, and says that it did.
fn ran_as_told() -> bool {
    let Some(words) = std::env::var(WORDS).ok() else { return false };
    let mut out = Vec::new();
    let words = words.lines().map(Into::into);
    let code = assess::cli::run_words(words, &mut std::io::empty(), &mut out, &mut std::io::sink());
    assert_eq!(code, 3, "a file of zeros is no log: nothing is known");
    true
}

/// A file of half a gigabyte that takes no place on the disk.
fn large(dir: &Path) -> String {
    let path = dir.join("large.log");
    File::create(&path).unwrap().set_len(BYTES).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_bar_with_bytes_rate_and_time_left_runs_on_a_terminal_and_is_gone_at_the_end() {
    if ran_as_told() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = large(dir.path());
    let name = "a_bar_with_bytes_rate_and_time_left_runs_on_a_terminal_and_is_gone_at_the_end";
    let (sent, well) = on_a_terminal(name, &["assess", &path]);
    assert!(well, "{sent:?}");
    let frame =
        Regex::new(r"([0-9.]+) ([KM]?i?B) of 512\.00 MiB  [0-9.]+ [KMG]?i?B/s  [0-9hms]+ left").unwrap();
    let seen: Vec<&str> = frame.find_iter(&sent).map(|m| m.as_str()).collect();
    let under_way = |f: &&&str| f.contains("MiB of") && !f.starts_with("512.00");
    assert!(seen.iter().any(|f| under_way(&f)), "no frame between begin and end: {sent:?}");
    let last = sent.rfind("left").unwrap();
    assert!(sent[last..].contains("\u{1b}[2K"), "the bar still stands there: {:?}", &sent[last..]);
}

#[test]
fn quiet_sends_nothing_to_the_terminal() {
    if ran_as_told() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = large(dir.path());
    let (sent, well) = on_a_terminal("quiet_sends_nothing_to_the_terminal", &["assess", "--quiet", &path]);
    assert!(well, "{sent:?}");
    assert_eq!(sent, "");
}
