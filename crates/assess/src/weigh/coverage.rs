//! The second answer: what was read, from when to when, with which holes; and
//! whether the log itself was tampered with.

use std::collections::{BTreeMap, BTreeSet};

use super::Context;
use super::flaws::FLAWS;
use crate::finding::{
    Cite, Coverage, CoverageGrade, ExposureWindow, Hole, InputKind, IntegrityFinding, IntegrityKind, Layout,
    NotAssessable, ProxyFinding, Raw, ReadState, UnixMs,
};
use crate::input::Content;
use crate::line::{Field, layout_has};
use crate::moment::local_text;
use crate::scan::{Findings, Sample};

/// Shortest pause that can be a hole.
const LEAST_HOLE_MS: i64 = 3 * 3_600_000;
const DAY_MS: i64 = 86_400_000;
/// Time that runs back by less is a slow answer or two writers.
const BACKWARDS_MS: i64 = 10 * 60 * 1000;
/// Findings of one kind in one file.
const MAX_EACH: usize = 20;

fn logs<'a>(
    contents: &'a [Content],
    skip: &'a BTreeSet<usize>,
) -> impl Iterator<Item = (&'a Content, &'a Findings)> {
    contents
        .iter()
        .enumerate()
        .filter(|(i, _)| !skip.contains(i))
        .filter_map(|(_, c)| Some((c, c.findings.as_ref()?)))
        .filter(|(c, _)| {
            matches!(
                c.kind,
                InputKind::WebLog | InputKind::JsonLines | InputKind::SentryAudit | InputKind::EpmmAudit
            )
        })
}

/// Contents that are web logs, and what was found in them.
pub(super) fn web<'a>(
    contents: &'a [Content],
    skip: &'a BTreeSet<usize>,
) -> impl Iterator<Item = (&'a Content, &'a Findings)> {
    logs(contents, skip).filter(|(c, _)| c.kind != InputKind::EpmmAudit)
}

/// Pauses longer than the logs' habit, in all logs taken together.
fn holes(contents: &[Content], skip: &BTreeSet<usize>) -> (Vec<Hole>, i64) {
    // Stretches with lines.
    let mut stretches: Vec<(i64, i64)> = Vec::new();
    for (_, f) in web(contents, skip) {
        let (Some(mut from), Some(to)) = (f.first_ms, f.last_ms) else { continue };
        let mut gaps: Vec<_> = f.gaps.iter().map(|g| (g.from_ms, g.to_ms)).collect();
        gaps.sort_unstable();
        for (a, b) in gaps {
            if a >= from && b <= to {
                stretches.push((from, a));
                from = b;
            }
        }
        stretches.push((from, to));
    }
    stretches.sort_unstable();
    let mut pauses: Vec<(i64, i64)> = Vec::new();
    let mut end: Option<i64> = None;
    for (a, b) in stretches {
        if let Some(e) = end.filter(|e| a > *e) {
            pauses.push((e, a));
        }
        end = Some(end.map_or(b, |e| e.max(b)));
    }
    // The habit: the median of each day's longest pause (an hour where none was longer).
    let mut per_day: BTreeMap<i64, i64> = BTreeMap::new();
    for (a, b) in &pauses {
        let d = per_day.entry(a.div_euclid(DAY_MS)).or_default();
        *d = (*d).max(b - a);
    }
    let span = web(contents, skip)
        .filter_map(|(_, f)| f.first_ms.zip(f.last_ms))
        .fold(None, |s: Option<(i64, i64)>, (a, b)| Some(s.map_or((a, b), |(x, y)| (x.min(a), y.max(b)))));
    let days = span.map_or(1, |(a, b)| usize::try_from((b - a) / DAY_MS + 1).unwrap_or(1));
    let mut longest: Vec<i64> = per_day.into_values().collect();
    longest.sort_unstable();
    let quiet = days.saturating_sub(longest.len());
    let median = if days / 2 < quiet {
        3_600_000
    } else {
        longest.get(days / 2 - quiet).copied().unwrap_or(3_600_000)
    };
    let threshold = LEAST_HOLE_MS.max(median.saturating_mul(3));
    let out = pauses
        .into_iter()
        .filter(|(a, b)| b - a >= threshold)
        .map(|(from_ms, to_ms)| Hole {
            from_ms,
            to_ms,
            why: format!(
                "no line for {} hours; these logs usually pause for no more than {}",
                (to_ms - from_ms) / 3_600_000,
                hours(median)
            ),
        })
        .collect();
    (out, threshold)
}

fn hours(ms: i64) -> String {
    let h = (ms + 1_800_000) / 3_600_000;
    if h <= 1 { "an hour".into() } else { format!("{h} hours") }
}

/// Whole, part or nothing, and everything else about what was read.
pub(super) fn coverage(
    ctx: &Context<'_>,
    contents: &[Content],
    skip: &BTreeSet<usize>,
    integrity: &[IntegrityFinding],
) -> Coverage {
    let (holes, tolerance) = holes(contents, skip);
    let (mut first_ms, mut last_ms) = (None, None);
    let mut assessable = contents.iter().any(|c| c.listing.is_some());
    for (_, f) in logs(contents, skip) {
        assessable |= f.sampled.1 > 0 || f.hits.total > 0;
        first_ms = crate::scan::hits::earliest(first_ms, f.first_ms);
        last_ms = last_ms.max(f.last_ms);
    }
    let mut reasons = Vec::new();
    let unread: Vec<&Content> =
        contents.iter().filter(|c| matches!(c.state, ReadState::Part(_) | ReadState::NotRead(_))).collect();
    for c in unread.iter().take(5) {
        let (ReadState::Part(why) | ReadState::NotRead(why)) = &c.state else { continue };
        reasons.push(format!("{} was not read whole: {why}.", c.name));
    }
    if unread.len() > 5 {
        reasons.push(format!("{} further files were not read whole.", unread.len() - 5));
    }
    let tampered = integrity
        .iter()
        .filter(|i| matches!(i.kind, IntegrityKind::Erased | IntegrityKind::MissingHere))
        .count();
    if tampered > 0 {
        reasons.push(format!(
            "{tampered} place(s) show erased or missing lines: what stood there was not read."
        ));
    }
    if !assessable {
        reasons.push("No line of a web log, audit log or file listing was found in what was given.".into());
    }
    let grade = if !assessable {
        CoverageGrade::None
    } else if unread.is_empty() && tampered == 0 {
        CoverageGrade::Whole
    } else {
        CoverageGrade::Part
    };
    let window = ctx.window.clone();
    let window_covered =
        window.as_ref().map(|w| covered(w, (first_ms, last_ms), &ctx.zone, &holes, tolerance, &mut reasons));
    let not_assessable = not_assessable(ctx, contents, skip, &mut reasons);
    Coverage {
        grade,
        first_ms,
        last_ms,
        holes,
        window,
        window_covered,
        not_epmm: Vec::new(),
        not_assessable,
        reasons,
    }
}

fn covered(
    w: &ExposureWindow,
    (first, last): (Option<UnixMs>, Option<UnixMs>),
    zone: &str,
    holes: &[Hole],
    tolerance: i64,
    reasons: &mut Vec<String>,
) -> bool {
    let before = reasons.len();
    match (first, last) {
        (Some(first), Some(last)) => {
            if let Some(from) = w.from_ms.filter(|f| *f < first - tolerance) {
                reasons.push(format!(
                    "The window begins {}, the first line is of {}.",
                    local_text(from, zone),
                    local_text(first, zone)
                ));
            }
            if let Some(to) = w.to_ms.filter(|t| *t > last + tolerance) {
                reasons.push(format!(
                    "The window ends {}, the last line is of {}.",
                    local_text(to, zone),
                    local_text(last, zone)
                ));
            }
            if w.from_ms.is_none() || w.to_ms.is_none() {
                reasons.push(
                    "The window is open on one side, so it can't be said to be covered: give both ends."
                        .into(),
                );
            }
            let inside = holes
                .iter()
                .filter(|h| w.from_ms.is_none_or(|f| h.to_ms > f) && w.to_ms.is_none_or(|t| h.from_ms < t))
                .count();
            if inside > 0 {
                reasons.push(if inside == 1 {
                    "A hole lies inside the window.".to_owned()
                } else {
                    format!("{inside} holes lie inside the window.")
                });
            }
        }
        _ => reasons.push("No line bears a time, so the window can't be covered.".into()),
    }
    reasons.len() == before
}

fn not_assessable(
    ctx: &Context<'_>,
    contents: &[Content],
    skip: &BTreeSet<usize>,
    reasons: &mut Vec<String>,
) -> Vec<NotAssessable> {
    let mut out = BTreeSet::new();
    for flaw in FLAWS.iter().filter(|f| !f.no_trace.is_empty()) {
        out.insert(NotAssessable {
            rule: flaw.cves.join(", "),
            title: flaw.title.into(),
            layout: None,
            why: flaw.no_trace.into(),
        });
    }
    let layouts: BTreeSet<Layout> =
        web(contents, skip).flat_map(|(_, f)| f.layouts.keys().copied()).collect();
    for l in layouts.iter().filter(|l| !layout_has(**l, Field::Status)) {
        for r in ctx.rules.rules.iter().filter(|r| r.detection.uses("sc-status")) {
            out.insert(NotAssessable {
                rule: r.info.id.clone(),
                title: r.info.title.clone(),
                layout: Some(*l),
                why: "This layout has no status field, and the rule needs one.".into(),
            });
        }
    }
    // Lines that a rule may concern and that no other layout of the same time decides.
    let decided: Vec<(i64, i64)> = web(contents, skip)
        .filter(|(_, f)| {
            f.layouts.keys().any(|l| layout_has(*l, Field::Status) && *l != Layout::Unrecognised)
        })
        .filter_map(|(_, f)| f.first_ms.zip(f.last_ms))
        .collect();
    let mut open = 0;
    for (_, f) in web(contents, skip) {
        for n in &f.open {
            if !out.iter().any(|o| o.rule == n.rule && o.layout == n.layout) {
                out.insert(n.clone());
            }
        }
        let within = f
            .first_ms
            .zip(f.last_ms)
            .is_some_and(|(a, b)| decided.iter().any(|(x, y)| *x <= a + DAY_MS && *y >= b - DAY_MS));
        let without = f.layouts.keys().any(|l| !layout_has(*l, Field::Status));
        if without && !within {
            open += f.open_lines;
        }
    }
    if open > 0 {
        reasons.push(format!(
            "{open} line(s) on routes of interest stand in a layout without a status, so some rules can't be decided: give the https-access_log of the same time."
        ));
    }
    out.into_iter().collect()
}

/// Findings about the logs themselves.
pub(super) fn integrity(contents: &[Content], skip: &BTreeSet<usize>) -> Vec<IntegrityFinding> {
    let mut out = Vec::new();
    let (holes, _) = holes(contents, skip);
    for (c, f) in logs(contents, skip) {
        let cite = |line: u64, offset: u64| Cite {
            file: c.name.clone(),
            line,
            byte_offset: offset,
            raw: Raw(String::new()),
            cut: true,
        };
        for h in &holes {
            if let Some(g) = f.gaps.iter().find(|g| g.from_ms <= h.from_ms && g.to_ms >= h.to_ms) {
                out.push(IntegrityFinding {
                    kind: IntegrityKind::Gap,
                    file: c.name.clone(),
                    from_ms: Some(g.from_ms),
                    to_ms: Some(g.to_ms),
                    cite: Some(cite(g.line, g.offset)),
                    count: u64::try_from((g.to_ms - g.from_ms) / 60_000).unwrap_or(0),
                    text: format!(
                        "A pause of {} minutes: {}. Lines may have been deleted, or the appliance was off.",
                        (g.to_ms - g.from_ms) / 60_000,
                        h.why
                    ),
                });
            }
        }
        for (before, s) in backwards(&f.samples).into_iter().take(MAX_EACH) {
            out.push(IntegrityFinding {
                kind: IntegrityKind::TimeBackwards,
                file: c.name.clone(),
                from_ms: Some(before.at_ms),
                to_ms: Some(s.at_ms),
                cite: Some(cite(s.line, s.offset)),
                count: u64::try_from((before.at_ms - s.at_ms) / 60_000).unwrap_or(0),
                text: format!(
                    "Time runs back by {} minutes between line {} and line {} and stays there (seen in samples: every line of the first 256 KiB, then the ends of each block of 256 KiB). Files put together, a clock that was set, or lines moved.",
                    (before.at_ms - s.at_ms) / 60_000,
                    before.line,
                    s.line
                ),
            });
        }
        for (offset, line) in f.nul.iter().take(MAX_EACH) {
            out.push(IntegrityFinding {
                kind: IntegrityKind::Erased,
                file: c.name.clone(),
                from_ms: None,
                to_ms: None,
                cite: Some(cite(*line, *offset)),
                count: 1,
                text: format!("NUL bytes from byte {offset} on, where lines should be: an erased part, or a file that was cut while open."),
            });
        }
        for (offset, line, why) in f.unreadable.iter().take(MAX_EACH) {
            out.push(IntegrityFinding {
                kind: IntegrityKind::Unreadable,
                file: c.name.clone(),
                from_ms: None,
                to_ms: None,
                cite: Some(cite(*line, *offset)),
                count: 1,
                text: format!("At byte {offset}: {why}."),
            });
        }
        if f.cut_end && c.kind == InputKind::WebLog && !matches!(c.state, ReadState::NotALog(_)) {
            out.push(IntegrityFinding {
                kind: IntegrityKind::Truncated,
                file: c.name.clone(),
                from_ms: None,
                to_ms: f.last_ms,
                cite: None,
                count: 1,
                text: "The file ends inside a line: it was cut, or copied while it was written.".into(),
            });
        }
    }
    out.sort_by(|a, b| {
        (a.kind, &a.file, a.from_ms, a.cite.as_ref().map(|c| c.byte_offset)).cmp(&(
            b.kind,
            &b.file,
            b.from_ms,
            b.cite.as_ref().map(|c| c.byte_offset),
        ))
    });
    out
}

/// Places where time falls back and the next samples stay behind; a slow answer or a lone odd line doesn't.
fn backwards(samples: &[Sample]) -> Vec<(Sample, Sample)> {
    samples
        .windows(4)
        .filter_map(|w| {
            let [a, b, c, d] = w else { return None };
            let low = b.at_ms - BACKWARDS_MS;
            // The hour that the clock shows twice in October is no finding.
            let autumn = b.twice || c.twice;
            (a.at_ms > low && c.at_ms < low && d.at_ms < low && !autumn).then_some((*b, *c))
        })
        .collect()
}

/// Behind a proxy, nearly all lines bear one or two addresses.
pub(super) fn proxy(contents: &[Content], skip: &BTreeSet<usize>) -> Option<ProxyFinding> {
    let mut peers: BTreeMap<&[u8], u64> = BTreeMap::new();
    let (mut all, mut forwarded) = (0u64, 0u64);
    for (_, f) in web(contents, skip) {
        for (p, (n, fw)) in &f.peers {
            *peers.entry(p).or_default() += n;
            all += n;
            forwarded += fw;
        }
    }
    if all < 50 {
        return None;
    }
    let mut by: Vec<(&[u8], u64)> = peers.into_iter().collect();
    by.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    let top: Vec<(&[u8], u64)> = by.iter().take(2).copied().filter(|(_, n)| n * 5 >= all).collect();
    let share = top.iter().map(|(_, n)| n).sum::<u64>() * 100 / all;
    if share < 90 {
        return None;
    }
    let mut addresses: Vec<String> = top.iter().map(|(p, _)| crate::fold::inert(p)).collect();
    addresses.sort();
    let used = forwarded * 2 >= all;
    let text = if used {
        "Nearly all lines come from the same address, a proxy or load balancer; the forwarded address in the line is used as the client. Whoever speaks to the proxy may write that address himself."
    } else {
        "Nearly all lines come from the same address, so clients can't be told apart: steps are joined by time and path. Ask for the proxy's or load balancer's own log of the same time."
    };
    Some(ProxyFinding {
        addresses,
        share_percent: u8::try_from(share).unwrap_or(100),
        forwarded_used: used,
        text: text.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(at_min: i64) -> Sample {
        Sample { at_ms: at_min * 60_000, offset: 0, line: 1, twice: false }
    }

    #[test]
    fn time_that_falls_back_and_stays_is_found_and_a_straggler_is_not() {
        assert_eq!(backwards(&[s(100), s(101), s(50), s(51), s(52)]).len(), 1);
        assert_eq!(backwards(&[s(100), s(101), s(50), s(102), s(103)]).len(), 0);
        assert_eq!(backwards(&[s(100), s(200), s(101), s(102)]).len(), 0, "one line from the future");
        assert_eq!(backwards(&[s(100), s(101), s(95), s(96)]).len(), 0);
    }
}
