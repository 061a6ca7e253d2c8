//! The command as a user runs it: verdicts, bad input, exit codes.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may fail loudly")]

use std::fs;
use std::io::Write;
use std::path::Path;

use assess::cli::run_words;
use serde_json::Value;

/// Runs with `--json` to standard output; exit code and report.
fn run(args: &[&str]) -> (u8, Value) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let words = ["assess", "--quiet", "--json"].iter().chain(args).map(|s| (*s).into());
    let code = run_words(words, &mut std::io::empty(), &mut out, &mut err);
    let v = serde_json::from_slice(&out).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&err)));
    (code, v)
}

fn line(minute: u32, client: &str, request: &str, status: u16, bytes: u64) -> String {
    format!(
        "{client}:5000 - - 2025-05-16--{:02}-{:02}-00 \"{request} HTTP/1.1\" {status} {bytes} \"-\" \"UA\" 9\n",
        minute / 60,
        minute % 60
    )
}

/// A day of ordinary traffic, a line a minute, with `extra` put in by time.
fn day(extra: &[String]) -> String {
    let mut all: Vec<String> = (0..1440)
        .map(|m| line(m, &format!("10.0.{}.{}", m % 7, m % 200), "GET /mifs/c/i/mdm.html", 200, 300))
        .collect();
    all.extend(extra.iter().cloned());
    all.sort_by(|a, b| a.split(' ').nth(3).cmp(&b.split(' ').nth(3)));
    all.concat()
}

fn put(dir: &Path, name: &str, bytes: impl AsRef<[u8]>) -> String {
    let p = dir.join(name);
    fs::write(&p, bytes).unwrap();
    p.to_str().unwrap().to_owned()
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    e.write_all(bytes).unwrap();
    e.finish().unwrap()
}

fn exploit(minute: u32) -> String {
    line(minute, "203.0.113.7", "GET /mifs/rs/api/v2/featureusage?format=%24%7BINERT%7D", 400, 168)
}

#[test]
fn a_quiet_day_is_no_trace_and_never_called_clean() {
    let t = tempfile::tempdir().unwrap();
    let p = put(t.path(), "a.log", day(&[]));
    let (code, v) = run(&[&p]);
    assert_eq!((code, v["verdict"].as_str().unwrap()), (0, "no_trace"), "{}", v["coverage"]);
    assert!(!v.to_string().to_lowercase().contains("clean\""));
}

#[test]
fn exploit_text_is_attempted_and_against_an_open_version_likely_compromised() {
    let t = tempfile::tempdir().unwrap();
    let p = put(t.path(), "a.log", day(&[exploit(200)]));
    assert_eq!(run(&[&p]).0, 11);
    assert_eq!(run(&[&p, "--epmm-version", "12.5.0.0"]).0, 12);
    assert_eq!(run(&[&p, "--epmm-version", "12.5.0.1"]).0, 11);
    assert_eq!(run(&[&p, "--epmm-version", "12.5.0.0@2025-06-01.."]).0, 11, "it ran on another day");
}

#[test]
fn a_large_new_file_after_an_exploit_that_is_gone_later_is_data_left_and_an_upgrade_is_not() {
    let t = tempfile::tempdir().unwrap();
    let quiet_day = day(&[]).replace("2025-05-16", "2025-05-14");
    let fetch = line(300, "198.51.100.9", "GET /mifs/images/b1.png", 200, 12_000_000);
    let gone = line(400, "198.51.100.9", "GET /mifs/images/b1.png", 404, 196);
    let p = put(t.path(), "a.log", quiet_day.clone() + &day(&[exploit(200), fetch, gone]));
    let (code, v) = run(&[&p]);
    assert_eq!(code, 13, "{}", v["evidence"]);
    assert!(
        v["chains"][0]["clients"].as_array().unwrap().len() == 2,
        "fetcher and intruder stand in one chain"
    );
    // An upgrade brings new large files too, and everybody fetches them.
    let many: Vec<String> = (0..30)
        .map(|i| line(300 + i, &format!("10.0.0.{i}"), "GET /mifs/js/new.js", 200, 9_000_000))
        .chain([exploit(200)])
        .collect();
    let p = put(t.path(), "b.log", quiet_day + &day(&many));
    assert_eq!(run(&[&p]).0, 11);
}

#[test]
fn evidence_is_not_hidden_by_a_file_that_could_not_be_read_and_nothing_found_is_then_unknown() {
    let t = tempfile::tempdir().unwrap();
    let packed = gz(day(&[]).as_bytes());
    let cut = put(t.path(), "cut.gz", &packed[..packed.len() / 2]);
    let good = put(t.path(), "a.log", day(&[]));
    let (code, v) = run(&[&good, &cut]);
    assert_eq!((code, v["coverage"]["grade"].as_str().unwrap()), (3, "part"));
    let hit = put(t.path(), "b.log", day(&[exploit(100)]));
    assert_eq!(run(&[&hit, &cut]).0, 11);
    let nothing = put(t.path(), "x.bin", vec![7u8; 5000]);
    assert_eq!(run(&[&nothing]).0, 3);
}

#[test]
fn a_window_that_the_log_does_not_cover_is_unknown() {
    let t = tempfile::tempdir().unwrap();
    let p = put(t.path(), "a.log", day(&[]));
    assert_eq!(run(&[&p, "--exposed-from", "2025-05-16", "--exposed-to", "2025-05-16T23:00"]).0, 0);
    assert_eq!(run(&[&p, "--exposed-from", "2025-05-01", "--exposed-to", "2025-05-16"]).0, 3);
}

#[test]
fn archives_in_archives_are_read_and_doubles_count_once() {
    let t = tempfile::tempdir().unwrap();
    let log = day(&[exploit(100)]);
    let packed = gz(log.as_bytes());
    let mut tar = Vec::new();
    for (name, flag, body) in [("../../etc/up.gz", b'0', packed.as_slice()), ("link", b'2', b"")] {
        tar.extend_from_slice(&assess::input::tar::header(name, body.len() as u64, flag, 0));
        tar.extend_from_slice(body);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.resize(tar.len() + 1024, 0);
    let a = put(t.path(), "b.tgz", gz(&tar));
    let b = put(t.path(), "plain.log", &log);
    let (code, v) = run(&[&a, &b]);
    assert_eq!(code, 11);
    assert_eq!(v["chains"][0]["steps"].as_array().unwrap().len(), 1);
    assert_eq!(v["chains"][0]["steps"][0]["repeats"], 0);
    assert!(v["inputs"].as_array().unwrap().iter().any(|i| !i["double_of"].is_null()));
    assert!(
        !t.path().join("../etc").exists() || !t.path().join("../etc/up.gz").exists(),
        "nothing is written"
    );
}

#[test]
fn a_zip_bomb_is_bounded_and_named() {
    let t = tempfile::tempdir().unwrap();
    let bomb = put(t.path(), "bomb.gz", gz(&vec![b'a'; 30_000_000]));
    let hit = put(t.path(), "a.log", day(&[exploit(5)]));
    let (code, v) = run(&[&bomb, &hit, "--max-unpacked", "1000000"]);
    assert_eq!(code, 11);
    assert!(v["coverage"]["reasons"].to_string().contains("bomb"), "{}", v["coverage"]["reasons"]);
}

#[test]
fn a_huge_line_does_not_hide_what_follows_it() {
    let t = tempfile::tempdir().unwrap();
    let mut text = day(&[]).into_bytes();
    text.extend(vec![b'x'; 6_000_000]);
    text.extend_from_slice(b"\n");
    text.extend_from_slice(exploit(1439).as_bytes());
    let p = put(t.path(), "a.log", &text);
    let (code, v) = run(&[&p]);
    assert_eq!(code, 11);
    assert_eq!(v["chains"][0]["steps"][0]["cite"]["line"], 1442);
    assert!(v["coverage"]["grade"] == "part");
    assert!(v["integrity"].to_string().contains("6000001 bytes"), "{}", v["integrity"]);
}

#[test]
fn links_loops_and_missing_permission_are_named_and_stop_nothing() {
    let t = tempfile::tempdir().unwrap();
    let d = t.path().join("logs");
    fs::create_dir_all(d.join("deep")).unwrap();
    std::os::unix::fs::symlink(&d, d.join("deep/loop")).unwrap();
    put(&d, "a.log", day(&[exploit(5)]));
    let (code, v) = run(&[d.to_str().unwrap()]);
    assert_eq!(code, 11);
    assert!(v["inputs"].to_string().contains("a link inside a folder"));
}

#[test]
fn terminal_escapes_in_a_line_reach_no_output_raw() {
    let t = tempfile::tempdir().unwrap();
    let evil =
        line(9, "203.0.113.7", "GET /mifs/rs/api/v2/featureusage?format=${INERT}\x1b[2J<script>", 400, 168);
    let p = put(t.path(), "a.log", day(&[evil]));
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = run_words(["assess", &p].map(Into::into), &mut std::io::empty(), &mut out, &mut err);
    assert_eq!(code, 11);
    assert!(!out.contains(&0x1b) && !err.contains(&0x1b));
}

#[test]
fn the_same_input_gives_the_same_bytes_with_any_number_of_threads() {
    let t = tempfile::tempdir().unwrap();
    let big: String = (0..60).map(|_| day(&[exploit(100), exploit(101)])).collect();
    let p = put(t.path(), "a.log", big);
    let one = run(&[&p, "--threads", "1"]);
    assert_eq!(one, run(&[&p, "--threads", "2"]));
    assert_eq!(one, run(&[&p, "--threads", "5"]));
}

#[test]
fn a_line_that_was_deleted_here_and_stands_in_the_other_copy_is_found_and_counts() {
    let t = tempfile::tempdir().unwrap();
    let here = put(t.path(), "here.log", day(&[]));
    let there = put(t.path(), "there.log", day(&[exploit(700)]));
    let (code, v) = run(&[&here, "--compare", &there]);
    assert_eq!(code, 11);
    assert!(v["integrity"].as_array().unwrap().iter().any(|i| i["kind"] == "missing_here"));
}

#[test]
fn a_layout_without_a_status_says_what_it_can_not_decide() {
    let t = tempfile::tempdir().unwrap();
    let text: String = (0..200)
        .map(|m| format!("2025-05-15--{:02}-{:02}-00 198.51.100.{m} TLSv1.2 X \"GET /mifs/c/i/mdm.html HTTP/1.1\" 277 \"-\" \"UA\"\n", m / 60, m % 60))
        .collect();
    let p = put(t.path(), "b.log", &text);
    let (code, v) = run(&[&p]);
    assert_eq!(code, 0);
    assert!(
        v["coverage"]["not_assessable"].as_array().unwrap().iter().any(|n| n["layout"] == "epmm_request")
    );
    let exploit = "2025-05-15--03-20-01 203.0.113.7 TLSv1.2 X \"GET /api/v2/featureusage?format=%24%7BINERT%7D HTTP/1.1\" 277 \"-\" \"UA\"\n";
    let p = put(t.path(), "c.log", text + exploit);
    assert_eq!(run(&[&p]).0, 11);
}

#[test]
fn logs_of_another_product_are_never_more_than_probed_by_a_scanners_visit() {
    let t = tempfile::tempdir().unwrap();
    let mut text: String = (0..1000)
        .map(|i| format!("198.51.100.{} - - [16/May/2025:03:{:02}:36 +0100] \"GET /shop/{i} HTTP/1.1\" 200 5120 \"-\" \"UA\"\n", i % 250, i / 20))
        .collect();
    // A site that answers every path with its start page.
    for p in [
        "/mifs/aad/api/v2/authorized/users",
        "/mifs/asfV3/api/v2/admins",
        "/mifs/403.jsp?k=x",
        "/mifs/css/mibasecss1.css",
        "/wp-login.php",
        "/?x=${jndi:INERT}",
    ] {
        text.push_str(&format!(
            "203.0.113.9 - - [16/May/2025:03:55:36 +0100] \"GET {p} HTTP/1.1\" 200 5120 \"-\" \"zgrab\"\n"
        ));
    }
    let p = put(t.path(), "shop.log", text);
    let (code, v) = run(&[&p]);
    assert!(code == 10 || code == 11 && v["evidence"]["grade"] == "probed", "{code} {}", v["evidence"]);
}

#[test]
fn a_command_that_can_not_be_followed_ends_with_two_and_a_reason() {
    for args in [
        vec!["assess"],
        vec!["assess", "/nowhere/at/all"],
        vec!["assess", "--tz", "Mars", "/tmp"],
        vec!["assess", "--nonsense"],
    ] {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = run_words(args.into_iter().map(Into::into), &mut std::io::empty(), &mut out, &mut err);
        assert_eq!(code, 2);
        assert!(!err.is_empty());
    }
}
