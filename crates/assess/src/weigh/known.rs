//! What others published: files of listings, and indicators, weighed by their age.

use std::collections::{BTreeMap, BTreeSet};

use super::{Context, DAY_MS, MAX_REMARKS, staged};
use crate::finding::{
    Cite, Confidence, Grade, IndicatorHit, IndicatorKind, Raw, Remark, Stage, Step, UnixMs,
};
use crate::fold::inert;
use crate::input::{Content, listing};

/// After this many days an address says nothing by itself.
const ADDRESS_FRESH_DAYS: i64 = 90;

/// Matches in file listings, as steps.
pub(super) fn files(ctx: &Context<'_>, contents: &[Content], skip: &BTreeSet<usize>) -> Vec<Step> {
    let mut out = Vec::new();
    for (_, c) in contents.iter().enumerate().filter(|(i, _)| !skip.contains(i)) {
        for m in c.listing.iter().flat_map(|l| &l.matches) {
            let (rule, title, grade, confidence, note) = match m.why {
                listing::Why::Indicator(i) => {
                    let Some(x) = ctx.indicators.list.get(i) else { continue };
                    let (what, grade) = match x.kind {
                        IndicatorKind::FileHash => ("hash", Grade::LikelyCompromised),
                        _ => ("name", Grade::Probed),
                    };
                    (
                        format!("indicator:{}", inert(x.value.as_bytes())),
                        format!("A file whose {what} was published as malicious"),
                        grade,
                        Confidence::SecondHand,
                        format!("Rests on the file's {what}, as published by {}. The listing's own time is the file's last change, which an intruder can set.", x.source),
                    )
                }
                listing::Why::StagedName => (
                    staged::RULE.to_owned(),
                    "A file under the name of a staged dump".to_owned(),
                    Grade::LikelyCompromised,
                    Confidence::Verified,
                    "Rests on the name under which intruders laid dumps. Suspect: compare with a clean installation, and look whether it was fetched.".to_owned(),
                ),
                listing::Why::LoaderPage => (
                    "listing:403.jsp".to_owned(),
                    "The page where intruders hid a class loader".to_owned(),
                    Grade::Probed,
                    Confidence::SecondHand,
                    "Rests on the name alone; the vendor may ship a page of this name. Compare its hash with a clean installation.".to_owned(),
                ),
            };
            out.push(Step {
                at_ms: m.mtime_ms,
                zone_guessed: false,
                stage: Stage::KnownFile,
                grade,
                rule,
                rule_name: "file-listing".into(),
                title,
                confidence,
                cves: vec![],
                techniques: vec!["T1505.003".into()],
                client: None,
                via: None,
                method: None,
                path: Some(Raw(inert(&m.path))),
                status: None,
                bytes_out: None,
                user_agent: None,
                repeats: 0,
                repeats_until_ms: None,
                note,
                cite: Cite {
                    file: c.name.clone(),
                    line: m.line,
                    byte_offset: m.offset,
                    raw: Raw(inert(&m.raw)),
                    cut: m.raw.len() >= 1024,
                },
                version_open: None,
            });
        }
    }
    out
}

/// Indicators met in lines and listings.
pub(super) fn indicators(
    ctx: &Context<'_>,
    contents: &[Content],
    skip: &BTreeSet<usize>,
    as_of: Option<UnixMs>,
    remarks: &mut Vec<Remark>,
) -> Vec<IndicatorHit> {
    let mut by: BTreeMap<usize, IndicatorHit> = BTreeMap::new();
    let mut add = |i: usize,
                   name: &str,
                   lines: u64,
                   first: Option<i64>,
                   last: Option<i64>,
                   line: u64,
                   offset: u64,
                   raw: &[u8]| {
        let Some(x) = ctx.indicators.list.get(i) else { return };
        let age_days = x.dated_ms.zip(first.or(as_of)).map(|(d, t)| (t - d) / DAY_MS);
        // An address changes hands; a hash does not.
        let ages =
            matches!(x.kind, IndicatorKind::Address | IndicatorKind::Domain | IndicatorKind::UserAgent);
        let stale = ages && age_days.is_none_or(|a| a.abs() > ADDRESS_FRESH_DAYS);
        let grade = match x.kind {
            _ if stale => Grade::NoTrace,
            IndicatorKind::FileHash => Grade::LikelyCompromised,
            IndicatorKind::UserAgent => Grade::NoTrace,
            _ => Grade::Probed,
        };
        let e = by.entry(i).or_insert_with(|| IndicatorHit {
            value: inert(x.value.as_bytes()),
            kind: x.kind,
            source: x.source.clone(),
            dated_ms: x.dated_ms,
            age_days,
            stale,
            grade,
            hits: 0,
            first: Cite {
                file: name.to_owned(),
                line,
                byte_offset: offset,
                raw: Raw(inert(raw)),
                cut: raw.len() >= 1024,
            },
            first_ms: first,
            last_ms: last,
        });
        e.hits += lines;
        e.first_ms = crate::scan::hits::earliest(e.first_ms, first);
        e.last_ms = e.last_ms.max(last);
    };
    for (_, c) in contents.iter().enumerate().filter(|(i, _)| !skip.contains(i)) {
        for (i, s) in c.findings.iter().flat_map(|f| &f.indicators) {
            add(*i, &c.name, s.lines, s.first_ms, s.last_ms, s.line, s.offset, &s.raw);
        }
        for m in c.listing.iter().flat_map(|l| &l.matches) {
            if let listing::Why::Indicator(i) = m.why {
                add(i, &c.name, 1, m.mtime_ms, m.mtime_ms, m.line, m.offset, &m.raw);
            }
        }
    }
    let out: Vec<IndicatorHit> = by.into_values().collect();
    for h in out.iter().filter(|h| h.stale).take(MAX_REMARKS) {
        remarks.push(Remark {
            about: h.value.clone(),
            text: format!("A published indicator ({}), but its date and these lines lie more than {ADDRESS_FRESH_DAYS} days apart or it has none: addresses change hands, so it counts as a remark.", h.source),
        });
    }
    out
}
