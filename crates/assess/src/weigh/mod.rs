//! From what was read to what it means: the two answers.

mod chains;
mod coverage;
pub mod flaws;
mod geo;
mod staged;
mod steps;
mod thinned;

use std::collections::{BTreeMap, BTreeSet};

pub use geo::Geo;

use crate::finding::{
    Assessment, Attribution, Cite, Confidence, CoverageGrade, Evidence, ExposureWindow, Grade, Ground,
    GroundKind, IndicatorHit, IndicatorKind, InputFile, IntegrityFinding, Raw, ReadState, Remark, RuleRef,
    Stage, Step, TimeZoneNote, UnixMs, Verdict,
};
use crate::fold::inert;
use crate::indicators::Indicators;
use crate::input::{Content, listing};
use crate::rules::RuleSet;

/// After this many days an address says nothing by itself.
const ADDRESS_FRESH_DAYS: i64 = 90;
const DAY_MS: i64 = 86_400_000;
/// Reasons listed.
const MAX_GROUNDS: usize = 12;
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
    all.extend(known_files(&ctx, contents, &skip));
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
    let indicator_hits = indicator_hits(&ctx, contents, &skip, as_of_ms, &mut remarks);
    let evidence = evidence(&chains, &indicator_hits);
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
        attributions: attributions(&chains),
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

/// Matches in file listings, as steps.
fn known_files(ctx: &Context<'_>, contents: &[Content], skip: &BTreeSet<usize>) -> Vec<Step> {
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

fn indicator_hits(
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

fn ground_kind(s: &Step) -> GroundKind {
    match s.stage {
        // What was only asked for rests on its route, whatever it would have been.
        Stage::Fetch | Stage::ApiAccess if s.grade <= Grade::Probed => GroundKind::Route,
        Stage::Fetch => GroundKind::StagedFileFetched,
        Stage::KnownFile => GroundKind::KnownFile,
        Stage::ApiAccess => GroundKind::AnsweredWithData,
        Stage::Attempt | Stage::Upload if s.version_open.is_some() => GroundKind::VersionOpenThatDay,
        Stage::Attempt => GroundKind::ExploitText,
        Stage::Upload if s.grade <= Grade::Attempted => GroundKind::ExploitText,
        Stage::Probe => GroundKind::Route,
        _ if s.grade <= Grade::Probed => GroundKind::Route,
        _ => GroundKind::AfterStep,
    }
}

fn evidence(chains: &[crate::finding::Chain], indicators: &[IndicatorHit]) -> Evidence {
    let mut grounds: Vec<Ground> = Vec::new();
    let mut told: BTreeSet<(Grade, &str)> = BTreeSet::new();
    for (ci, c) in chains.iter().enumerate() {
        for (si, s) in c.steps.iter().enumerate().filter(|(_, s)| s.grade > Grade::NoTrace) {
            // One reason a rule and grade is enough; the chains list the rest.
            if !told.insert((s.grade, &s.rule)) {
                continue;
            }
            let open = s.version_open.as_ref().map(|v| format!(" ({v})")).unwrap_or_default();
            grounds.push(Ground {
                grade: s.grade,
                kind: ground_kind(s),
                text: format!("{}{open}. {}", s.title, s.note),
                chain: Some(ci),
                step: Some(si),
            });
        }
    }
    for h in indicators.iter().filter(|h| h.grade > Grade::NoTrace) {
        grounds.push(Ground {
            grade: h.grade,
            kind: GroundKind::Indicator,
            text: format!(
                "{} was published as an indicator by {} and stands in {} line(s).",
                h.value, h.source, h.hits
            ),
            chain: None,
            step: None,
        });
    }
    grounds.sort_by(|a, b| {
        b.grade
            .cmp(&a.grade)
            .then_with(|| (a.chain.is_none(), a.chain, a.step).cmp(&(b.chain.is_none(), b.chain, b.step)))
    });
    grounds.truncate(MAX_GROUNDS);
    Evidence { grade: grounds.first().map_or(Grade::NoTrace, |g| g.grade), rests_on: grounds }
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

/// Campaigns, as others name them.
fn attributions(chains: &[crate::finding::Chain]) -> Vec<Attribution> {
    let serious: Vec<&Step> =
        chains.iter().flat_map(|c| &c.steps).filter(|s| s.grade >= Grade::Attempted).collect();
    let within = |s: &Step, from: i64, to: i64| s.at_ms.is_some_and(|t| t >= from && t < to);
    let mut out = Vec::new();
    let mut campaign =
        |name: &str, actor: Option<&str>, by: &str, confidence, steps: Vec<&Step>, what: &str| {
            if steps.is_empty() {
                return;
            }
            let techniques: BTreeSet<String> = steps.iter().flat_map(|s| s.techniques.clone()).collect();
            out.push(Attribution {
                campaign: name.into(),
                actor: actor.map(Into::into),
                by_whom: by.into(),
                confidence,
                overlap: vec![format!("{what}: {} step(s) here", steps.len())],
                techniques: techniques.into_iter().collect(),
            });
        };
    let of = |cve: &str, from, to| {
        serious
            .iter()
            .copied()
            .filter(|s| s.cves.iter().any(|c| c == cve) && within(s, from, to))
            .collect::<Vec<_>>()
    };
    // 15 May to 31 August 2025; 1 January to 30 April 2026.
    campaign(
        "Exploitation of CVE-2025-4427 and CVE-2025-4428, from 15 May 2025",
        Some("UNC5221"),
        "EclecticIQ",
        Confidence::Verified,
        of("CVE-2025-4428", 1_747_267_200_000, 1_756_684_800_000),
        "the same flaw in the same months",
    );
    let mut early: Vec<&Step> = of("CVE-2026-1281", 1_767_225_600_000, 1_777_593_600_000);
    early.extend(
        serious
            .iter()
            .copied()
            .filter(|s| s.stage == Stage::Loader && within(s, 1_767_225_600_000, 1_777_593_600_000)),
    );
    campaign(
        "Exploitation of CVE-2026-1281 and CVE-2026-1340, January and February 2026, with sleeping loaders",
        None,
        "public analyses; no actor is named by them here",
        Confidence::SecondHand,
        early,
        "the same flaw or loader in the same months",
    );
    out
}

/// Names of files that could not be read whole, for messages.
pub fn unread(contents: &[Content]) -> usize {
    contents.iter().filter(|c| matches!(c.state, ReadState::Part(_) | ReadState::NotRead(_))).count()
}
