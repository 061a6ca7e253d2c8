//! From what was read to what it means: the two answers.

mod campaigns;
mod chains;
mod coverage;
mod evidence;
pub mod flaws;
mod geo;
mod known;
mod staged;
mod steps;
mod thinned;

use std::collections::{BTreeMap, BTreeSet};

pub use geo::Geo;

use crate::finding::{
    Assessment, CoverageGrade, ExposureWindow, Grade, InputFile, IntegrityFinding, ReadState, Remark,
    RuleRef, Stage, Step, TimeZoneNote, UnixMs, Verdict,
};
use crate::indicators::Indicators;
use crate::input::Content;
use crate::rules::RuleSet;

const DAY_MS: i64 = 86_400_000;
/// Remarks of one kind listed.
const MAX_REMARKS: usize = 25;

/// What the weighing needs beside the contents.
pub struct Context<'a> {
    /// Rules.
    pub rules: &'a RuleSet,
    /// Indicators.
    pub indicators: &'a Indicators,
    /// Versions that ran.
    pub ran: Vec<flaws::Ran>,
    /// When the appliance was open.
    pub window: Option<ExposureWindow>,
    /// Zone's name.
    pub zone: String,
    /// Nobody named the zone.
    pub zone_guessed: bool,
    /// `--as-of`.
    pub as_of_ms: Option<UnixMs>,
    /// Country and network.
    pub geo: Option<Geo>,
    /// Findings of `--compare`.
    pub compared: Vec<IntegrityFinding>,
    /// Remarks made before (rule files refused…).
    pub remarks: Vec<Remark>,
}

/// Weighs everything. The same contents and context give the same assessment.
pub fn weigh(ctx: Context<'_>, contents: &[Content]) -> Assessment {
    let (doubles, mut skip) = doubles(contents);
    let quoted = prose(contents);
    skip.extend(quoted.iter().copied());
    let (placed, doubled) = steps::placed(contents, &skip);
    let mut all = steps::steps(&ctx, contents, &placed);
    drop(placed);
    let attempts: Vec<(i64, Option<String>)> = all
        .iter()
        .filter(|s| s.grade >= Grade::Attempted)
        .filter_map(|s| Some((s.at_ms?, s.client.clone())))
        .collect();
    let named: BTreeSet<String> = all.iter().filter_map(|s| s.path.as_ref().map(|p| p.0.clone())).collect();
    all.extend(staged::suspects(contents, &skip, &attempts, &named, ctx.zone_guessed));
    all.extend(known::files(&ctx, contents, &skip));
    let first_attempt = attempts.first().map(|a| a.0);
    let mut remarks = ctx.remarks.clone();
    audit_steps(&mut all, first_attempt, &mut remarks);
    all.sort_by(|a, b| (a.at_ms.unwrap_or(i64::MAX), &a.cite).cmp(&(b.at_ms.unwrap_or(i64::MAX), &b.cite)));
    let proxy = coverage::proxy(contents, &skip);
    let proxies: BTreeSet<String> =
        proxy.iter().filter(|p| !p.forwarded_used).flat_map(|p| p.addresses.iter().cloned()).collect();
    let chains = chains::chains(all, &proxies);
    let mut clients = chains::clients(&chains);
    let mut integrity = coverage::integrity(contents, &skip);
    integrity.extend(thinned::thinned(coverage::web(contents, &skip)));
    integrity.extend(ctx.compared.clone());
    let mut coverage = coverage::coverage(&ctx, contents, &skip, &integrity);
    coverage.not_epmm = contents.iter().filter(|c| steps::is_foreign(c)).map(|c| c.name.clone()).collect();
    coverage.not_epmm.sort();
    let as_of_ms = ctx.as_of_ms.or(coverage.last_ms);
    let indicator_hits = known::indicators(&ctx, contents, &skip, as_of_ms, &mut remarks);
    let evidence = evidence::evidence(&chains, &indicator_hits);
    let verdict = match evidence.grade {
        Grade::DataLeft => Verdict::DataLeft,
        Grade::LikelyCompromised => Verdict::LikelyCompromised,
        Grade::Attempted => Verdict::Attempted,
        Grade::Probed => Verdict::Probed,
        // A reason in the coverage's list always stands against "no trace".
        Grade::NoTrace if coverage.grade == CoverageGrade::Whole && coverage.reasons.is_empty() => {
            Verdict::NoTrace
        }
        Grade::NoTrace => Verdict::Unknown,
    };
    let origins = ctx.geo.as_ref().map(|g| g.fill(&mut clients)).unwrap_or_default();
    if doubled > 0 {
        remarks.push(Remark {
            about: "doubled lines".into(),
            text: format!(
                "{doubled} matched line(s) stand in more than one file or layout and were counted once."
            ),
        });
    }
    scanner_remarks(&ctx, contents, &skip, &mut remarks);
    for c in contents {
        remarks.extend(c.remarks.iter().map(|t| Remark { about: c.name.clone(), text: t.clone() }));
        if let Some(f) = c.findings.as_ref().filter(|_| steps::is_foreign(c)) {
            remarks.push(Remark {
                about: c.name.clone(),
                text: format!("This does not look like EPMM: of {} sampled lines, {} ask for other products' paths and {} for the appliance's (/mifs, /mics).", f.sampled.1, f.sampled_theirs, f.sampled_ours),
            });
        }
        if c.findings.as_ref().is_some_and(|f| f.assets.overflow) {
            remarks.push(Remark { about: c.name.clone(), text: "More different static files were asked for than are followed; a staged file among the later ones would be missed.".into() });
        }
    }
    remarks.extend(quoted.iter().filter_map(|i| contents.get(*i)).map(|c| {
        let hit = c.findings.as_ref().and_then(|f| f.hits.lines.first());
        Remark {
            about: c.name.clone(),
            text: format!("It quotes requests that a rule knows (the first at line {}), but no line of it has a time or a client: it was taken for a text about such requests, not for a log.", hit.map_or(0, |h| h.line)),
        }
    }));
    remarks.sort();
    remarks.dedup();
    Assessment {
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        verdict,
        attributions: campaigns::attributions(&chains),
        evidence,
        as_of_ms,
        timezone: timezone(&ctx, contents, &skip),
        rule_set: rule_set(&ctx, contents, &skip),
        inputs: inputs(contents, &doubles),
        chains,
        clients,
        indicator_hits,
        integrity,
        proxy,
        remarks,
        origins,
        exposure: None,
        coverage,
    }
}

/// Contents that only speak of requests: notes, advisories, source code.
fn prose(contents: &[Content]) -> Vec<usize> {
    let bare = |h: &crate::scan::hits::Hit| {
        h.at_ms.is_none() && h.client == "-" && h.layout == crate::finding::Layout::Unrecognised
    };
    let is = |c: &Content| {
        c.findings.as_ref().is_some_and(|f| {
            f.samples.is_empty()
                && f.peers.is_empty()
                && f.hits.total > 0
                && f.hits.lines.iter().all(bare)
                && f.layouts.keys().all(|l| *l == crate::finding::Layout::Unrecognised)
        })
    };
    contents.iter().enumerate().filter(|(_, c)| is(c)).map(|(i, _)| i).collect()
}

/// For each content that is a copy: the index of the one that counts. And the set of copies.
fn doubles(contents: &[Content]) -> (BTreeMap<usize, usize>, BTreeSet<usize>) {
    let mut first: BTreeMap<(&str, bool), usize> = BTreeMap::new();
    let mut of = BTreeMap::new();
    for (i, c) in contents.iter().enumerate() {
        let counts = c.findings.is_some() || c.listing.is_some();
        // The digest of what was read: an archive's own digest is another matter.
        if let Some(h) = c.sha256.as_deref().filter(|_| counts && c.bytes > 0) {
            match first.get(&(h, true)) {
                Some(f) => {
                    of.insert(i, *f);
                }
                None => {
                    first.insert((h, true), i);
                }
            }
        }
    }
    let skip = of.keys().copied().collect();
    (of, skip)
}

fn inputs(contents: &[Content], doubles: &BTreeMap<usize, usize>) -> Vec<InputFile> {
    contents
        .iter()
        .enumerate()
        .map(|(i, c)| {
            let f = c.findings.as_ref();
            InputFile {
                name: c.name.clone(),
                sha256: c.sha256.clone(),
                bytes: c.bytes,
                kind: c.kind,
                layouts: f.map(|f| f.layouts.keys().copied().collect()).unwrap_or_default(),
                read: c.state.clone(),
                first_ms: f.and_then(|f| f.first_ms),
                last_ms: f.and_then(|f| f.last_ms),
                lines: f.map(|f| f.lines).or(c.listing.as_ref().map(|l| l.lines)).unwrap_or(0),
                relevant_lines: f
                    .map(|f| f.hits.total)
                    .or(c.listing.as_ref().map(|l| l.matches.len() as u64))
                    .unwrap_or(0),
                double_of: doubles.get(&i).and_then(|d| contents.get(*d)).map(|d| d.name.clone()),
                inside: c.inside,
            }
        })
        .collect()
}

fn timezone(ctx: &Context<'_>, contents: &[Content], skip: &BTreeSet<usize>) -> TimeZoneNote {
    let lines: u64 = contents
        .iter()
        .enumerate()
        .filter(|(i, _)| !skip.contains(i))
        .filter_map(|(_, c)| c.findings.as_ref())
        .map(|f| f.lines.saturating_mul(f.sampled_zoneless).checked_div(f.sampled.1).unwrap_or(0))
        .sum();
    let why = match (lines, ctx.zone_guessed) {
        (0, _) => "No line depends on it: every time has an offset of its own.".to_owned(),
        (_, true) => format!(
            "The layout has no offset. {} is assumed because the appliance stands in a British hospital; in May its clock would be an hour ahead of UTC. If the appliance ran on UTC, run again with --tz UTC.",
            ctx.zone
        ),
        (_, false) => "As given with --tz.".to_owned(),
    };
    TimeZoneNote {
        name: ctx.zone.clone(),
        guessed: ctx.zone_guessed && lines > 0,
        why,
        lines_without_offset: lines,
    }
}

fn rule_set(ctx: &Context<'_>, contents: &[Content], skip: &BTreeSet<usize>) -> Vec<RuleRef> {
    let mut hits: BTreeMap<usize, u64> = BTreeMap::new();
    for (i, c) in contents.iter().enumerate().filter(|(i, _)| !skip.contains(i)) {
        let _ = i;
        for ((_, rule), n) in c.findings.iter().flat_map(|f| &f.hits.counts) {
            *hits.entry(*rule).or_default() += n.lines;
        }
    }
    ctx.rules
        .rules
        .iter()
        .enumerate()
        .map(|(i, r)| RuleRef { hits: hits.get(&i).copied().unwrap_or(0), ..r.info.clone() })
        .collect()
}

/// Entries of audit logs count when they follow an attempt; else they are remarks.
fn audit_steps(all: &mut Vec<Step>, first_attempt: Option<i64>, remarks: &mut Vec<Remark>) {
    let mut early = 0u64;
    all.retain_mut(|s| match s.stage {
        Stage::Persistence | Stage::Destruction => {
            let follows = first_attempt.zip(s.at_ms).is_some_and(|(a, t)| t >= a && t - a <= 45 * DAY_MS);
            if follows {
                if s.stage == Stage::Destruction {
                    s.grade = Grade::LikelyCompromised;
                } else {
                    s.grade = Grade::Probed;
                }
                s.note = format!("It follows exploit lines within 45 days. {}", s.note);
                true
            } else if s.stage == Stage::Destruction {
                true
            } else {
                early += s.repeats + 1;
                false
            }
        }
        _ => true,
    });
    if early > 0 {
        remarks.push(Remark {
            about: "audit log".into(),
            text: format!("{early} new administrators or widened roles without an exploit line in the 45 days before: ordinary work, as far as this shows."),
        });
    }
}

/// Scanner labels: remarks, never more.
fn scanner_remarks(
    ctx: &Context<'_>,
    contents: &[Content],
    skip: &BTreeSet<usize>,
    remarks: &mut Vec<Remark>,
) {
    let scanner: BTreeSet<usize> = ctx
        .rules
        .rules
        .iter()
        .enumerate()
        .filter(|(_, r)| r.info.stage == Stage::Scanner)
        .map(|(i, _)| i)
        .collect();
    let mut labels: BTreeSet<String> = BTreeSet::new();
    for (_, c) in contents.iter().enumerate().filter(|(i, _)| !skip.contains(i)) {
        for h in c.findings.iter().flat_map(|f| &f.hits.lines) {
            if h.others.iter().any(|o| scanner.contains(o)) && labels.len() < MAX_REMARKS {
                labels.insert(h.client.clone());
            }
        }
    }
    remarks.extend(labels.into_iter().map(|about| Remark {
        about,
        text: "Calls itself a scanner. Labels and addresses are borrowed, so this changes no grade.".into(),
    }));
}

/// Names of files that could not be read whole, for messages.
pub fn unread(contents: &[Content]) -> usize {
    contents.iter().filter(|c| matches!(c.state, ReadState::Part(_) | ReadState::NotRead(_))).count()
}
