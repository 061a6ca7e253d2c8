//! The two answers, never mixed: verdicts, exit codes, coverage, order, and what people get sealed.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

fn line(day: u32, minute: u32, client: &str, request: &str, status: u16, bytes: u64) -> String {
    format!(
        "{client}:51544 - - 2025-05-{day:02}--{:02}-{:02}-00 \"{request} HTTP/1.1\" {status} {bytes} \"-\" \"UA\" 77\n",
        minute / 60,
        minute % 60
    )
}

fn day(day: u32, extra: &[(u32, &str, u16, u64)]) -> String {
    let mut lines: Vec<(u32, String)> = (0..1440)
        .map(|m| (m, line(day, m, &format!("10.0.0.{}", m % 50), "PUT /mifs/c/i/mdm/mdm.html", 200, 0)))
        .collect();
    lines.extend(extra.iter().map(|(m, r, s, b)| (*m, line(day, *m, "203.0.113.7", r, *s, *b))));
    lines.sort_by_key(|l| l.0);
    lines.into_iter().map(|l| l.1).collect()
}

fn put(dir: &Path, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn run_raw(words: &[&str]) -> (u8, Vec<u8>, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let words = std::iter::once("assess").chain(words.iter().copied()).map(Into::into);
    let code = assess::cli::run_words(words, &mut std::io::empty(), &mut out, &mut err);
    (code, out, String::from_utf8_lossy(&err).into_owned())
}

fn run(words: &[&str]) -> (u8, Value) {
    let words: Vec<&str> = words.iter().copied().chain(["--json"]).collect();
    let (code, out, err) = run_raw(&words);
    (code, serde_json::from_slice(&out).unwrap_or_else(|e| panic!("{e}: {err}")))
}

const PROBE: (u32, &str, u16, u64) = (100, "GET /mifs/rs/api/v2/featureusage?format=INERT", 400, 168);
const ATTEMPT: (u32, &str, u16, u64) = (101, "GET /mifs/rs/api/v2/featureusage?format=${INERT}", 400, 168);
const LOADER: (u32, &str, u16, u64) = (110, "GET /mifs/403.jsp?k0=INERT", 200, 12);
const FETCH: (u32, &str, u16, u64) = (120, "GET /mifs/css/mibasecss1.css", 200, 9_000_000);

#[test]
fn each_verdict_has_its_name_and_its_exit_code_and_a_missing_file_hides_no_evidence() {
    let t = tempfile::tempdir().unwrap();
    let broken = put(t.path(), "cut.tar.gz", [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 75, 76]);
    for (extra, grade, code) in [
        (&[][..], "no_trace", 0),
        (&[PROBE][..], "probed", 10),
        (&[PROBE, ATTEMPT][..], "attempted", 11),
        (&[ATTEMPT, LOADER][..], "likely_compromised", 12),
        (&[ATTEMPT, LOADER, FETCH][..], "data_left", 13),
    ] {
        let log = put(t.path(), &format!("{grade}.log"), day(15, extra));
        let log = log.to_str().unwrap();
        let (got, v) = run(&[log]);
        assert_eq!((got, v["verdict"].as_str().unwrap()), (code, grade));
        assert_eq!(v["evidence"]["grade"], grade);
        assert_eq!(v["coverage"]["grade"], "whole");
        // With a file that can't be read: the evidence stays, only "no trace" can't be said any more.
        let (got, v) = run(&[broken.to_str().unwrap(), log]);
        assert_eq!(v["evidence"]["grade"], grade);
        assert_eq!(v["coverage"]["grade"], "part");
        let want = if grade == "no_trace" { (3, "unknown") } else { (code, grade) };
        assert_eq!((got, v["verdict"].as_str().unwrap()), want);
    }
}

#[test]
fn the_top_level_of_the_json_is_the_contract() {
    let t = tempfile::tempdir().unwrap();
    let log = put(t.path(), "a.log", day(15, &[ATTEMPT]));
    let (_, v) = run(&[log.to_str().unwrap()]);
    for key in ["verdict", "evidence", "coverage", "tool_version", "rule_set", "inputs", "chains", "timezone"]
    {
        assert!(!v[key].is_null(), "{key}");
    }
    assert_eq!(v["inputs"][0]["sha256"].as_str().unwrap().len(), 64);
    assert!(v["rule_set"].as_array().unwrap().iter().all(|r| r["version"].as_str().unwrap().len() == 10));
    let cite = &v["chains"][0]["steps"][0]["cite"];
    let text = fs::read(&log).unwrap();
    let at = usize::try_from(cite["byte_offset"].as_u64().unwrap()).unwrap();
    assert!(text[at..].starts_with(cite["raw"].as_str().unwrap().as_bytes()), "the offset is the line's");
    let line = text[..at].iter().filter(|b| **b == b'\n').count() as u64 + 1;
    assert_eq!(cite["line"].as_u64(), Some(line));
}

#[test]
fn no_trace_needs_all_of_the_window_and_a_hole_in_it_is_unknown() {
    let t = tempfile::tempdir().unwrap();
    let three = day(14, &[]) + &day(15, &[]) + &day(16, &[]);
    let whole = put(t.path(), "whole.log", &three);
    let whole = whole.to_str().unwrap();
    let inside = ["--exposed-from", "2025-05-14T12:00", "--exposed-to", "2025-05-16T12:00"];
    let with = |path, window: &[&str]| {
        let words: Vec<&str> = std::iter::once(path).chain(window.iter().copied()).collect();
        let (code, v) = run(&words);
        (code, v["coverage"]["window_covered"].as_bool())
    };
    assert_eq!(with(whole, &inside), (0, Some(true)));
    assert_eq!(
        with(whole, &["--exposed-from", "2025-05-01", "--exposed-to", "2025-05-16"]),
        (3, Some(false))
    );
    assert_eq!(
        with(whole, &["--exposed-from", "2025-05-15", "--exposed-to", "2025-06-16"]),
        (3, Some(false))
    );
    assert_eq!(with(whole, &["--epmm-version", "12.5.0.0@2025-05-01..2025-05-15"]), (3, Some(false)));
    let holed: String =
        three.lines().filter(|l| !l.contains("2025-05-15--0")).map(|l| format!("{l}\n")).collect();
    let holed = put(t.path(), "holed.log", holed);
    assert_eq!(with(holed.to_str().unwrap(), &inside), (3, Some(false)));
}

#[test]
fn a_status_alone_proves_neither_success_nor_failure() {
    let t = tempfile::tempdir().unwrap();
    for status in [200, 400, 401, 404, 500] {
        let log = put(t.path(), "a.log", day(15, &[(101, ATTEMPT.1, status, 900)]));
        let (code, v) = run(&[log.to_str().unwrap()]);
        assert_eq!(code, 11, "{status}");
        assert_eq!(v["evidence"]["rests_on"][0]["kind"], "exploit_text");
        // What ran that day decides, and the report says that it rests on it.
        let (code, v) = run(&[log.to_str().unwrap(), "--epmm-version", "12.5.0.0"]);
        assert_eq!(code, 12, "{status}");
        assert_eq!(v["evidence"]["rests_on"][0]["kind"], "version_open_that_day");
    }
}

#[test]
fn the_order_of_the_files_changes_nothing_but_the_list_of_files() {
    let t = tempfile::tempdir().unwrap();
    let a = put(t.path(), "a.log", day(15, &[PROBE, ATTEMPT]));
    let b = put(t.path(), "b.log", day(16, &[LOADER, FETCH]));
    let c = put(t.path(), "c.log", day(17, &[]));
    let [a, b, c] = [&a, &b, &c].map(|p| p.to_str().unwrap());
    for output in
        [&["--json"][..], &["--timeline", "csv"], &["--html", "-"], &["--stix", "-"], &["--ocsf", "-"], &[]]
    {
        let with = |files: [&str; 3]| {
            let words: Vec<&str> = files.into_iter().chain(output.iter().copied()).collect();
            run_raw(&words).1
        };
        let first = with([a, b, c]);
        assert!(!first.is_empty());
        assert!(first == with([a, b, c]), "run again: {output:?}");
        assert!(first == with([c, a, b]), "another order: {output:?}");
        assert!(first == with([b, c, a]), "another order: {output:?}");
    }
}

#[test]
fn the_seventy_two_hours_end_when_the_law_says_also_over_the_change_of_clocks() {
    let t = tempfile::tempdir().unwrap();
    let log = put(t.path(), "a.log", day(15, &[ATTEMPT, FETCH]));
    for (aware, ends) in [
        ("2025-05-28T09:30", "31 May 2025, 09:30 BST"),
        ("2025-05-28T08:30Z", "31 May 2025, 09:30 BST"),
        // The clocks go back on 26 October: 72 hours on, the clock shows an hour less.
        ("2025-10-24T09:30", "27 October 2025, 08:30 GMT"),
    ] {
        let (code, out, err) = run_raw(&[log.to_str().unwrap(), "--aware-at", aware]);
        assert_eq!(code, 13, "{err}");
        let text: String = String::from_utf8(out).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        let short = ends.replace("October", "Oct");
        assert!(text.contains(ends) || text.contains(&short), "{aware}: {ends}");
    }
}

#[test]
fn the_list_of_people_is_for_its_owner_alone_or_sealed_so_that_debians_age_opens_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let t = tempfile::tempdir().unwrap();
    let log = put(t.path(), "a.log", day(15, &[ATTEMPT, FETCH]));
    let inventory = put(
        t.path(),
        "devices.csv",
        "User ID,Display Name,Email Address,Current Phone Number,IMEI\nawright,Ada Wright,ada@example.org,07700 900123,490154203237518\n",
    );
    let [log, inventory] = [&log, &inventory].map(|p| p.to_str().unwrap());
    let plain = t.path().join("people.csv");
    let (code, out, err) =
        run_raw(&[log, "--inventory", inventory, "--write-people", plain.to_str().unwrap()]);
    assert_eq!(code, 13, "{err}");
    assert_eq!(fs::metadata(&plain).unwrap().permissions().mode() & 0o777, 0o600);
    let list = fs::read_to_string(&plain).unwrap();
    assert!(list.contains("Ada Wright") && !String::from_utf8_lossy(&out).contains("Ada"));

    let key = t.path().join("key.txt");
    let made = std::process::Command::new("age-keygen").arg("-o").arg(&key).output();
    let Ok(made) = made else {
        skipped::not_installed("age");
        return;
    };
    let said = String::from_utf8_lossy(&made.stderr).into_owned();
    let recipient = said.split_whitespace().find(|w| w.starts_with("age1")).unwrap();
    let sealed = t.path().join("people.age");
    let (code, _, err) = run_raw(&[
        log,
        "--inventory",
        inventory,
        "--write-people",
        sealed.to_str().unwrap(),
        "--people-recipient",
        recipient,
    ]);
    assert_eq!(code, 13, "{err}");
    assert!(memchr::memmem::find(&fs::read(&sealed).unwrap(), b"Ada").is_none());
    let opened =
        std::process::Command::new("age").arg("-d").arg("-i").arg(&key).arg(&sealed).output().unwrap();
    assert!(opened.status.success(), "{}", String::from_utf8_lossy(&opened.stderr));
    assert_eq!(opened.stdout, list.as_bytes());
}

#[test]
fn a_rule_file_that_can_not_be_used_is_named_with_the_reason() {
    let t = tempfile::tempdir().unwrap();
    let log = put(t.path(), "a.log", day(15, &[(101, "GET /mifs/odd/place?x=1", 200, 9)]));
    let rules = t.path().join("rules");
    fs::create_dir(&rules).unwrap();
    let many = "title: many\ncorrelation:\n  type: event_count\n  rules: [b]\n  timespan: 5m\n  condition:\n    gte: 10\n";
    put(&rules, "many.yml", many);
    let words = [log.to_str().unwrap(), "--rules", rules.to_str().unwrap()];
    let (code, _, err) = run_raw(&words);
    assert_eq!(code, 2, "a folder of which nothing can be used is a mistake");
    assert!(err.contains("many.yml") && err.contains("correlation"), "{err}");
    let good = "title: An odd place\nlogsource:\n  category: webserver\ndetection:\n  selection:\n    cs-uri-stem|contains: /odd/place\n    sc-status: 200\n  condition: selection\nlevel: medium\n";
    put(&rules, "good.yml", good);
    let (code, out, err) = run_raw(&words);
    assert_eq!(code, 10, "{err}");
    assert!(err.contains("many.yml") && err.contains("event_count"), "{err}");
    let text = String::from_utf8(out).unwrap();
    assert!(text.to_lowercase().contains("odd/place"), "{text}");
}

/// EPMM's audit export: `n` wipes by these accounts in turn, `minutes` apart.
fn wipes(n: u32, minutes: u32, accounts: &[&str]) -> String {
    let rows = (0..n).map(|i| {
        let m = i * minutes;
        let who = accounts[i as usize % accounts.len()];
        format!(
            "Wipe,{who},2025-05-{:02}T{:02}:{:02}:00Z,10.1.1.1,device {i}\n",
            15 + m / 1440,
            m / 60 % 24,
            m % 60
        )
    });
    std::iter::once("Action,Performed By,Date,IP Address,Details\n".to_owned()).chain(rows).collect()
}

#[test]
fn a_mass_wipe_is_told_however_long_it_goes_on_and_the_days_work_of_several_is_none() {
    let t = tempfile::tempdir().unwrap();
    for (n, minutes, accounts, told) in [
        (60, 1, &["a.one"][..], true),
        (100, 5, &["a.one"], true),
        (9, 1, &["a.one"], false),
        (100, 9, &["a.one"], false),
        (30, 5, &["a.one", "b.two", "c.three"], false),
    ] {
        let csv = put(t.path(), "audit.csv", wipes(n, minutes, accounts));
        let (code, v) = run(&[csv.to_str().unwrap()]);
        let found = v["chains"].to_string().contains("destruction");
        assert_eq!(found, told, "{n} every {minutes} minutes: {code} {}", v["chains"]);
        assert!(code <= 10, "a wipe alone is no proof of a break-in: {code}");
    }
}
