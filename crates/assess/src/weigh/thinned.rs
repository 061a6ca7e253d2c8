//! Hours with far fewer lines than they ever have.
//!
//! Files of one folder whose names differ only in digits are one log, rotated. An hour is "thinned"
//! when it has less than a tenth of the lines that the same hour of the day had on its *quietest*
//! other day, at least seven others of them, sixty lines at least. Since the quietest day counts,
//! nights, weekends and holidays are in the measure; since hours that a file covers only in part are
//! left out, so are beginnings, ends and pauses (a pause is a finding of its own).

use std::collections::{BTreeMap, BTreeSet};

use crate::finding::{IntegrityFinding, IntegrityKind};
use crate::input::Content;
use crate::moment::utc_text;
use crate::scan::Findings;

const HOUR_MS: i64 = 3_600_000;
/// Other days that must show the same hour.
const OTHER_DAYS: usize = 7;
/// Lines that the quietest of them must have.
const LEAST_LINES: u64 = 60;
/// One in so many lines is left, or fewer.
const LEFT_ONE_IN: u64 = 10;
/// Between two rotated files.
const ROTATION_MS: i64 = 10 * 60 * 1000;
/// Findings of one log.
const MAX_EACH: usize = 20;

/// A name without its digits and packing, in its folder.
fn log_of(name: &str) -> String {
    let (folder, last) = name.rsplit_once('/').unwrap_or(("", name));
    let last = last.trim_end_matches(".gz").trim_end_matches(".bz2").trim_end_matches(".xz");
    let bare: String = last.chars().filter(|c| !c.is_ascii_digit()).collect();
    // The folder inside a packed file is named after it: `…/access_log-1.gz!/access_log-1`.
    let folder = match folder.strip_suffix('!') {
        Some(packed) => packed.rsplit_once('/').map_or("", |(f, _)| f),
        None => folder,
    };
    format!("{folder}/{}", bare.trim_end_matches(['.', '-', '_']))
}

/// Findings about logs that go on for more than a week.
pub(super) fn thinned<'a>(logs: impl Iterator<Item = (&'a Content, &'a Findings)>) -> Vec<IntegrityFinding> {
    let mut groups: BTreeMap<String, Vec<(&Content, &Findings)>> = BTreeMap::new();
    for (c, f) in logs {
        groups.entry(log_of(&c.name)).or_default().push((c, f));
    }
    groups.into_values().flat_map(|g| of_one(&g)).collect()
}

/// Hours that are covered from their first to their last minute.
fn covered(files: &[(&Content, &Findings)]) -> BTreeSet<i64> {
    let mut spans: Vec<(i64, i64)> = files.iter().filter_map(|(_, f)| f.first_ms.zip(f.last_ms)).collect();
    spans.sort_unstable();
    let mut joined: Vec<(i64, i64)> = Vec::new();
    for (a, b) in spans {
        match joined.last_mut() {
            Some(l) if a <= l.1 + ROTATION_MS => l.1 = l.1.max(b),
            _ => joined.push((a, b)),
        }
    }
    let gaps: Vec<(i64, i64)> =
        files.iter().flat_map(|(_, f)| f.gaps.iter().map(|g| (g.from_ms, g.to_ms))).collect();
    let hours: BTreeSet<i64> = files.iter().flat_map(|(_, f)| f.hours.keys().copied()).collect();
    // An hour of which hardly a line is left may have none at all in the map.
    let near: BTreeSet<i64> = hours.iter().flat_map(|h| [h - 1, *h, h + 1]).collect();
    near.into_iter()
        .filter(|h| {
            let (from, to) = (h * HOUR_MS, (h + 1) * HOUR_MS);
            joined.iter().any(|(a, b)| *a <= from && *b >= to)
                && !gaps.iter().any(|(a, b)| *a < to && *b > from)
        })
        .collect()
}

fn of_one(files: &[(&Content, &Findings)]) -> Vec<IntegrityFinding> {
    let mut lines: BTreeMap<i64, u64> = BTreeMap::new();
    for (hour, n) in files.iter().flat_map(|(_, f)| &f.hours) {
        *lines.entry(*hour).or_default() += n;
    }
    let hours = covered(files);
    let mut by_hour_of_day: BTreeMap<i64, Vec<u64>> = BTreeMap::new();
    for h in &hours {
        by_hour_of_day.entry(h.rem_euclid(24)).or_default().push(lines.get(h).copied().unwrap_or(0));
    }
    for counts in by_hour_of_day.values_mut() {
        counts.sort_unstable();
    }
    let mut out: Vec<(i64, i64, u64, u64)> = Vec::new();
    for h in &hours {
        let n = lines.get(h).copied().unwrap_or(0);
        let Some([first, second, rest @ ..]) = by_hour_of_day.get(&h.rem_euclid(24)).map(Vec::as_slice)
        else {
            continue;
        };
        // The least of the others.
        let least = if *first == n { *second } else { *first };
        if rest.len() + 1 < OTHER_DAYS || least < LEAST_LINES || n.saturating_mul(LEFT_ONE_IN) >= least {
            continue;
        }
        match out.last_mut() {
            Some((_, to, found, usual)) if *to == *h => {
                *to = h + 1;
                *found += n;
                *usual += least;
            }
            _ => out.push((*h, h + 1, n, least)),
        }
    }
    let file = files.iter().map(|(c, _)| c.name.as_str()).max().unwrap_or_default();
    let name = |from: i64| {
        let of = files.iter().find(|(_, f)| {
            f.first_ms.zip(f.last_ms).is_some_and(|(a, b)| a <= from * HOUR_MS && b >= from * HOUR_MS)
        });
        of.map_or(file, |(c, _)| c.name.as_str()).to_owned()
    };
    out.into_iter()
        .take(MAX_EACH)
        .map(|(from, to, n, least)| IntegrityFinding {
            kind: IntegrityKind::Thinned,
            file: name(from),
            from_ms: Some(from * HOUR_MS),
            to_ms: Some(to * HOUR_MS),
            cite: None,
            count: n,
            text: format!(
                "From {} to {} there are {n} lines; on every other day the same hours had {least} or more. Lines may have been deleted, or clients could not reach the appliance.",
                utc_text(from * HOUR_MS),
                utc_text(to * HOUR_MS)
            ),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotated_files_are_one_log_and_two_folders_are_two() {
        for n in [
            "d/https-access_log",
            "d/https-access_log.1",
            "d/https-access_log-20250516.gz",
            "d/https-access_log-20250516.gz!/https-access_log-20250516",
        ] {
            assert_eq!(log_of(n), "d/https-access_log", "{n}");
        }
        assert_ne!(log_of("node1/access_log"), log_of("node2/access_log"));
        assert_ne!(log_of("d/https-access_log"), log_of("d/https-request_log"));
    }
}
