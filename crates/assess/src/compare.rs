//! `--compare OTHER`: lines of interest that stand in another copy of the same
//! logs (a SIEM, a load balancer, a backup) and are missing here.

use std::collections::BTreeMap;

use crate::finding::{Cite, Grade, IntegrityFinding, IntegrityKind, Raw, Remark};
use crate::fold::inert;
use crate::input::Content;
use crate::scan::hits::{Hit, earliest};

/// Findings listed.
const MAX_MISSING: usize = 200;
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

/// What is there and missing here, within the time that is covered here.
pub fn compare(here: &[Content], there: &[Content], remarks: &mut Vec<Remark>) -> Vec<IntegrityFinding> {
    let mut known: BTreeMap<Key<'_>, Vec<i64>> = BTreeMap::new();
    let (mut first, mut last) = (None, None);
    for c in here {
        if let Some(f) = &c.findings {
            first = earliest(first, f.first_ms);
            last = last.max(f.last_ms);
        }
    }
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
        text: format!("{compared} lines of interest of the other copy were looked for here (by time, method, path and query): {missing} are missing, {outside} lie outside the time that is covered here. Ordinary lines are not compared."),
    });
    out
}
