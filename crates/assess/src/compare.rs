//! `--compare OTHER`: lines that stand in another copy of the same logs (a SIEM,
//! a load balancer, a backup) and are missing here. Lines of interest are told
//! one by one, all others by the hour.

use std::collections::{BTreeMap, BTreeSet};

use crate::finding::{Cite, Grade, IntegrityFinding, IntegrityKind, Raw, Remark};
use crate::fold::inert;
use crate::input::Content;
use crate::scan::hits::{Hit, earliest};
use crate::scan::roll::{ByHour, Every};

/// Findings listed.
const MAX_MISSING: usize = 200;
/// Fewer ordinary lines than this can't tell whether the copies are of the same log.
const ENOUGH_LINES: u64 = 100;
const HOUR_MS: i64 = 3_600_000;
/// The two copies may differ by this much in time.
const SAME_MS: i64 = 2_000;

type Key<'a> = (&'a [u8], u64, Option<&'a [u8]>);

fn hits(contents: &[Content]) -> impl Iterator<Item = (&Content, &Hit)> {
    contents
        .iter()
        .flat_map(|c| c.findings.iter().flat_map(move |f| f.hits.lines.iter().map(move |h| (c, h))))
}

fn key(h: &Hit) -> Key<'_> {
    (&h.path, h.query_key, h.method.as_deref())
}

/// First and last time.
fn span(contents: &[Content]) -> (Option<i64>, Option<i64>) {
    contents
        .iter()
        .filter_map(|c| c.findings.as_ref())
        .fold((None, None), |(a, b), f| (earliest(a, f.first_ms), b.max(f.last_ms)))
}

/// What is there and missing here, within the time that is covered here.
pub fn compare(here: &[Content], there: &[Content], remarks: &mut Vec<Remark>) -> Vec<IntegrityFinding> {
    let mut known: BTreeMap<Key<'_>, Vec<i64>> = BTreeMap::new();
    let (first, last) = span(here);
    for (_, h) in hits(here) {
        known.entry(key(h)).or_default().extend(h.at_ms);
    }
    let (mut out, mut compared, mut missing, mut outside) = (Vec::new(), 0u64, 0u64, 0u64);
    for (c, h) in hits(there).filter(|(_, h)| h.grade > Grade::NoTrace) {
        compared += 1;
        let Some(at) = h.at_ms else { continue };
        if first.is_none_or(|f| at < f - SAME_MS) || last.is_none_or(|l| at > l + SAME_MS) {
            outside += 1;
            continue;
        }
        // Each line here answers for one line there.
        let times = known.entry(key(h)).or_default();
        if let Some(i) = times.iter().position(|t| (t - at).abs() <= SAME_MS) {
            times.swap_remove(i);
            continue;
        }
        missing += 1;
        if out.len() >= MAX_MISSING {
            continue;
        }
        out.push(IntegrityFinding {
            kind: IntegrityKind::MissingHere,
            file: c.name.clone(),
            from_ms: Some(at),
            to_ms: Some(at),
            cite: Some(Cite { file: c.name.clone(), line: h.line, byte_offset: h.offset, raw: Raw(inert(&h.raw)), cut: h.cut }),
            count: 1,
            text: "This line of interest stands in the other copy and is missing here, within the time that is covered here: it may have been deleted.".into(),
        });
    }
    remarks.push(Remark {
        about: "--compare".into(),
        text: format!("{compared} lines of interest of the other copy were looked for here (by time, method, path and query): {missing} are missing, {outside} lie outside the time that is covered here."),
    });
    out
}

/// Lines of any kind that are there and missing here, hour by hour, within the time that is covered here.
pub fn ordinary(
    every: &Every,
    here: &[Content],
    there: &[Content],
    remarks: &mut Vec<Remark>,
) -> Vec<IntegrityFinding> {
    let Some(roll) = every.roll() else { return Vec::new() };
    let (Some(first), Some(last)) = span(here) else { return Vec::new() };
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let parts: Vec<(&Content, &ByHour)> = there
        .iter()
        .filter(|c| c.sha256.as_deref().is_none_or(|h| seen.insert(h)))
        .filter_map(|c| Some((c, &c.findings.as_ref()?.sought)))
        .collect();
    let inside = |hour: i64| (hour + 1) * HOUR_MS > first && hour * HOUR_MS <= last;
    let hours = || parts.iter().flat_map(|(_, s)| s.iter()).filter(|(h, _)| inside(**h));
    let compared: u64 = hours().map(|(_, s)| s.lines).sum();
    let missing: u64 = hours().map(|(_, s)| s.missing).sum();
    let one_in = roll.one_in();
    let share = if one_in > 1 {
        format!(
            " There were more lines here than are held at once, so one in {one_in} was compared, chosen by its digest; give fewer days at a time to compare them all."
        )
    } else {
        String::new()
    };
    let same_log = compared < ENOUGH_LINES || missing * 2 <= compared;
    let verdict = if same_log {
        "A line is the same if method, target and time (within two seconds) are, so a deleted line is not missed where a like one stands beside it."
    } else {
        "Most are missing, so the other copy is not one of the same log, or its clock or zone differs (see --tz): single hours are not listed."
    };
    remarks.push(Remark {
        about: "--compare".into(),
        text: format!("{compared} lines of any kind of the other copy were looked for among {} lines here: {missing} are missing. {verdict}{share}", roll.lines),
    });
    if !same_log {
        return Vec::new();
    }
    let mut out = Vec::new();
    for (c, by_hour) in parts {
        for (hour, s) in by_hour.iter().filter(|(h, s)| inside(**h) && s.missing > 0) {
            let Some((line, offset, raw, cut, at)) = &s.first else { continue };
            // An hour at the edge: what lies outside is not missing.
            if *at < first - SAME_MS || *at > last + SAME_MS {
                continue;
            }
            out.push(IntegrityFinding {
                kind: IntegrityKind::MissingHere,
                file: c.name.clone(),
                from_ms: Some((hour * HOUR_MS).max(first)),
                to_ms: Some(((hour + 1) * HOUR_MS).min(last)),
                cite: Some(Cite { file: c.name.clone(), line: *line, byte_offset: *offset, raw: Raw(inert(raw)), cut: *cut }),
                count: s.missing,
                text: format!("{} of {} lines of this hour stand in the other copy and are missing here; this is the first. They may have been deleted, or never reached the appliance.", s.missing, s.lines),
            });
        }
    }
    out.sort_by_key(|f| std::cmp::Reverse(f.count));
    if out.len() > MAX_MISSING {
        remarks.push(Remark {
            about: "--compare".into(),
            text: format!(
                "Lines are missing in {} hours; the {MAX_MISSING} with most of them are listed.",
                out.len()
            ),
        });
        out.truncate(MAX_MISSING);
    }
    out.sort_by(|a, b| (a.from_ms, &a.file).cmp(&(b.from_ms, &b.file)));
    out
}
