//! What only shows over a whole log: lines that another copy has, hours with too few lines.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may fail loudly")]

mod kit;

use kit::*;

fn findings<'v>(v: &'v serde_json::Value, kind: &str) -> Vec<&'v serde_json::Value> {
    v["integrity"].as_array().unwrap().iter().filter(|i| i["kind"] == kind).collect()
}

/// A line of the Combined layout, as a load balancer writes it.
fn elsewhere(minute: u32, n: u32) -> String {
    format!(
        "10.9.9.9 - - [16/May/2025:{:02}:{:02}:01 +0100] \"GET /mifs/c/i/mdm.html?deviceid={n:08x} HTTP/1.1\" 200 300 \"-\" \"UA\"\n",
        minute / 60,
        minute % 60
    )
}

fn here(minute: u32, n: u32) -> String {
    line(minute, "10.0.0.1", &format!("GET /mifs/c/i/mdm.html?deviceid={n:08x}"), 200, 300)
}

#[test]
fn ordinary_lines_that_another_copy_has_in_another_layout_and_zone_are_found_missing_by_the_hour() {
    let t = tempfile::tempdir().unwrap();
    let there: String = (0..1440).map(|m| elsewhere(m, m)).collect();
    let whole: String = (0..1440).map(|m| here(m, m)).collect();
    // 40 lines of ordinary traffic are gone between 03:10 and 03:50; no rule knows them.
    let cut: String = (0..1440).filter(|m| !(190..230).contains(m)).map(|m| here(m, m)).collect();
    let other = put(t.path(), "balancer.log", &there);
    let good = put(t.path(), "good.log", whole);
    let (code, v) = run(&[&good, "--compare", &other]);
    assert_eq!((code, findings(&v, "missing_here").len()), (0, 0), "{}", v["integrity"]);
    let bad = put(t.path(), "bad.log", cut);
    for packed in [other.clone(), put(t.path(), "balancer.gz", gz(there.as_bytes()))] {
        let (code, v) = run(&[&bad, "--compare", &packed]);
        assert_eq!(code, 3, "nothing found where lines are missing is unknown");
        let missing = findings(&v, "missing_here");
        assert_eq!(missing.len(), 1, "{}", v["integrity"]);
        assert_eq!((&missing[0]["count"], &missing[0]["cite"]["line"]), (&40.into(), &191.into()));
        assert!(missing[0]["cite"]["raw"].as_str().unwrap().contains("deviceid=000000be"));
        assert!(v["remarks"].to_string().contains("1440 lines of any kind"), "{}", v["remarks"]);
    }
}

#[test]
fn a_copy_of_another_log_or_with_another_clock_is_a_remark_and_no_finding() {
    let t = tempfile::tempdir().unwrap();
    let mine = put(t.path(), "mine.log", (0..1440).map(|m| here(m, m)).collect::<String>());
    let other = put(t.path(), "other.log", (0..1440).map(|m| elsewhere(m, m + 50_000)).collect::<String>());
    let (code, v) = run(&[&mine, "--compare", &other]);
    assert_eq!((code, findings(&v, "missing_here").len()), (0, 0));
    assert!(v["remarks"].to_string().contains("not one of the same log"), "{}", v["remarks"]);
    // Lines outside the time that is covered here are not missing.
    let part = put(t.path(), "part.log", (600..700).map(|m| here(m, m)).collect::<String>());
    let there = put(t.path(), "there.log", (0..1440).map(|m| elsewhere(m, m)).collect::<String>());
    let (_, v) = run(&[&part, "--compare", &there]);
    assert_eq!(findings(&v, "missing_here").len(), 0, "{}", v["integrity"]);
}

#[test]
fn a_report_into_the_folder_of_the_other_copy_is_refused() {
    let t = tempfile::tempdir().unwrap();
    let mine = put(t.path(), "mine.log", day(&[]));
    let there = t.path().join("there");
    std::fs::create_dir(&there).unwrap();
    put(&there, "a.log", day(&[]));
    let report = format!("--html={}", there.join("r.html").display());
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let words = ["assess", &mine, "--compare", there.to_str().unwrap(), &report].map(Into::into);
    assert_eq!(assess::cli::run_words(words, &mut std::io::empty(), &mut out, &mut err), 2);
    assert!(String::from_utf8_lossy(&err).contains("evidence is never written to"));
    let words = ["assess", &mine, "--compare", "/nowhere/at/all"].map(Into::into);
    assert_eq!(assess::cli::run_words(words, &mut std::io::empty(), &mut out, &mut err), 2);
}

/// Sixteen days of May 2025 with the habits of a hospital: quiet nights and weekends, a bank holiday
/// on the 5th. `thin` says what is left of an hour's lines, in a hundred.
fn fortnight(thin: impl Fn(u32, u32) -> u32) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for d in 1..=16u32 {
        let mut text = String::new();
        for h in 0..24u32 {
            let full = if (7..19).contains(&h) { 300 } else { 90 };
            // 3, 4, 10 and 11 May were a weekend, the 5th a bank holiday.
            let full = if matches!(d, 3 | 4 | 10 | 11) { full / 2 } else { full };
            let full = if d == 5 { full / 2 } else { full };
            let n = full * thin(d, h) / 100;
            for i in 0..n {
                let s = i * 3600 / n;
                text.push_str(&format!(
                    "10.0.{}.{}:5000 - - 2025-05-{d:02}--{h:02}-{:02}-{:02} \"GET /mifs/c/i/mdm.html\" 200 300 \"-\" \"UA\" 9\n",
                    i % 7, i % 200, s / 60, s % 60
                ));
            }
        }
        files.push((format!("https-access_log-202505{d:02}"), text));
    }
    files
}

#[test]
fn nights_weekends_and_a_holiday_are_no_finding_and_thinned_hours_are_in_one_file_or_in_many() {
    let t = tempfile::tempdir().unwrap();
    let usual = fortnight(|_, _| 100);
    let whole: String = usual.iter().map(|f| f.1.as_str()).collect();
    let p = put(t.path(), "usual.log", &whole);
    let (code, v) = run(&[&p]);
    assert_eq!((code, findings(&v, "thinned").len()), (0, 0), "{}", v["integrity"]);
    // From 10:00 to 12:00 on the 15th one line in twenty-five is left.
    let thin = fortnight(|d, h| if d == 15 && (10..12).contains(&h) { 4 } else { 100 });
    let one = put(t.path(), "one.log", thin.iter().map(|f| f.1.as_str()).collect::<String>());
    let many = t.path().join("many");
    std::fs::create_dir(&many).unwrap();
    for (i, (name, text)) in thin.iter().enumerate() {
        // As logrotate leaves them: most are packed.
        if i < 13 {
            put(&many, &format!("{name}.gz"), gz(text.as_bytes()));
        } else {
            put(&many, name, text);
        }
    }
    for (path, file) in [(one.as_str(), "one.log"), (many.to_str().unwrap(), "https-access_log-20250515")] {
        let (_, v) = run(&[path]);
        let found = findings(&v, "thinned");
        assert_eq!(found.len(), 1, "{path}: {}", v["integrity"]);
        assert!(found[0]["file"].as_str().unwrap().ends_with(file), "{}", found[0]);
        // British Summer Time: 10:00 by the clock is 09:00 UTC.
        assert_eq!(
            (&found[0]["from_ms"], &found[0]["to_ms"], &found[0]["count"]),
            (&1_747_299_600_000_i64.into(), &1_747_306_800_000_i64.into(), &24.into())
        );
    }
    // Five days are too few to know a habit.
    let short = put(t.path(), "short.log", thin[11..].iter().map(|f| f.1.as_str()).collect::<String>());
    assert_eq!(findings(&run(&[&short]).1, "thinned").len(), 0);
}
