//! From matched lines to steps: doubles out, repeats folded, grades weighed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Context;
use super::flaws::open_that_day;
use crate::finding::{Cite, Grade, Layout, Raw, Stage, Step};
use crate::fold::inert;
use crate::input::Content;
use crate::scan::hits::Hit;

/// Lines of the same kind from one client within this time are one step.
const REPEAT_MS: i64 = 10 * 60 * 1000;
/// Two layouts write the same request within this time.
const SAME_REQUEST_MS: i64 = 2_000;
/// So many different chunks within [`REPEAT_MS`] are an upload.
const CHUNKS: usize = 3;
/// So many wipes within an hour by one account are a mass wipe.
const MASS_WIPE: usize = 10;
/// Samples that say whose log it is.
const ENOUGH_SAMPLES: u64 = 20;

/// A hit and where it came from.
#[derive(Clone, Copy)]
pub(super) struct Placed<'a> {
    pub(super) hit: &'a Hit,
    pub(super) content: usize,
}

/// All hits that count, doubles removed, in order of time.
pub(super) fn placed<'a>(contents: &'a [Content], skip: &BTreeSet<usize>) -> (Vec<Placed<'a>>, u64) {
    let mut all: Vec<Placed<'_>> = Vec::new();
    for (i, c) in contents.iter().enumerate() {
        if let Some(f) = c.findings.as_ref().filter(|_| !skip.contains(&i)) {
            all.extend(f.hits.lines.iter().map(|hit| Placed { hit, content: i }));
        }
    }
    // The same line in several files (a rotated copy that grew on) counts as often as in the file that has it most.
    let mut times: HashMap<(&[u8], usize), u64> = HashMap::new();
    for p in &all {
        *times.entry((&p.hit.raw, p.content)).or_default() += 1;
    }
    let mut best: HashMap<&[u8], (u64, usize)> = HashMap::new();
    for ((raw, content), n) in &times {
        let b = best.entry(raw).or_insert((*n, *content));
        if *n > b.0 || (*n == b.0 && *content < b.1) {
            *b = (*n, *content);
        }
    }
    let before = all.len();
    all.retain(|p| best.get(p.hit.raw.as_slice()).is_none_or(|b| b.1 == p.content));
    // The same request written in a layout with a status and in one without.
    let with_status: BTreeSet<(&str, &[u8], i64)> = all
        .iter()
        .filter(|p| p.hit.status.is_some())
        .filter_map(|p| Some((p.hit.client.as_str(), p.hit.path.as_slice(), p.hit.at_ms?)))
        .collect();
    all.retain(|p| {
        let (Layout::EpmmRequest, Some(at)) = (p.hit.layout, p.hit.at_ms) else { return true };
        let (c, path) = (p.hit.client.as_str(), p.hit.path.as_slice());
        with_status.range((c, path, at - SAME_REQUEST_MS)..=(c, path, at + SAME_REQUEST_MS)).next().is_none()
    });
    let doubled = (before - all.len()) as u64;
    all.sort_by_key(|p| (p.hit.at_ms.unwrap_or(i64::MAX), p.content, p.hit.offset));
    (all, doubled)
}

/// Is this content another product's log? It is if its samples ask for other paths than the appliance's.
pub(super) fn is_foreign(c: &Content) -> bool {
    c.findings.as_ref().is_some_and(|f| {
        f.sampled_theirs >= ENOUGH_SAMPLES
            // A lone visit to `/mifs/` is a scanner's too.
            && f.sampled_ours * 200 <= f.sampled_theirs.min(400)
            && !f.layouts.keys().any(|l| {
                matches!(
                    l,
                    Layout::EpmmAccess | Layout::EpmmRequest | Layout::SentryAudit | Layout::EpmmAudit
                )
            })
    })
}

/// Steps out of hits.
pub(super) fn steps(ctx: &Context<'_>, contents: &[Content], all: &[Placed<'_>]) -> Vec<Step> {
    let foreign: Vec<bool> = contents.iter().map(is_foreign).collect();
    let page = page_for_everything(all);
    let habit = ordinary_stylesheets(all);
    let mut groups: BTreeMap<(&str, usize, Option<u16>), Vec<Placed<'_>>> = BTreeMap::new();
    for p in all {
        groups.entry((&p.hit.client, p.hit.rule, p.hit.status)).or_default().push(*p);
    }
    let mut out = Vec::new();
    for ((_, rule, _), group) in &groups {
        let Some(r) = ctx.rules.rules.get(*rule) else { continue };
        if r.grade == Grade::NoTrace && !matches!(r.info.stage, Stage::Persistence | Stage::Destruction) {
            continue;
        }
        let mut run: Vec<Placed<'_>> = Vec::new();
        for p in group {
            let apart = run.last().is_some_and(|l| match (l.hit.at_ms, p.hit.at_ms) {
                (Some(a), Some(b)) => b - a > REPEAT_MS,
                (a, b) => a != b,
            });
            if apart {
                out.extend(step(ctx, contents, &foreign, &page, &habit, &run));
                run.clear();
            }
            run.push(*p);
        }
        out.extend(step(ctx, contents, &foreign, &page, &habit, &run));
    }
    add_uncited(ctx, contents, &mut out);
    out.sort_by(|a, b| {
        let key = |s: &Step| (s.at_ms.unwrap_or(i64::MAX), s.cite.file.clone(), s.cite.byte_offset);
        key(a).cmp(&key(b))
    });
    out
}

/// Sizes that three or more different data routes of 2023 answered alike: a page shown for every path.
fn page_for_everything(all: &[Placed<'_>]) -> BTreeSet<u64> {
    let mut paths: BTreeMap<u64, BTreeSet<&[u8]>> = BTreeMap::new();
    for p in all {
        let api = memchr::memmem::find(&p.hit.path, b"/api/v2").is_some();
        if let (true, Some(200), Some(b)) = (api, p.hit.status, p.hit.bytes) {
            paths.entry(b).or_default().insert(&p.hit.path);
        }
    }
    paths.into_iter().filter(|(_, p)| p.len() >= 3).map(|(b, _)| b).collect()
}

/// Clients, and the first and last time.
type Fetchers<'a> = (BTreeSet<&'a str>, i64, i64);

/// Names like a staged dump's that twenty clients fetched in one size over a week: part of the product there.
fn ordinary_stylesheets(all: &[Placed<'_>]) -> BTreeSet<Vec<u8>> {
    let mut by: BTreeMap<(&[u8], u64), Fetchers<'_>> = BTreeMap::new();
    for p in all.iter().filter(|p| p.hit.path.ends_with(b".css")) {
        if let (Some(200), Some(b), Some(at)) = (p.hit.status, p.hit.bytes, p.hit.at_ms) {
            let e = by.entry((&p.hit.path, b)).or_insert((BTreeSet::new(), at, at));
            e.0.insert(&p.hit.client);
            e.1 = e.1.min(at);
            e.2 = e.2.max(at);
        }
    }
    by.into_iter()
        .filter(|(_, (clients, from, to))| clients.len() >= 20 && to - from >= 7 * 86_400_000)
        .map(|((path, _), _)| path.to_vec())
        .collect()
}

/// Did one account order ten or more within an hour? However long it went on.
fn is_mass_wipe(run: &[Placed<'_>]) -> bool {
    let mut by: BTreeMap<Option<&[u8]>, Vec<i64>> = BTreeMap::new();
    for p in run {
        if let Some(at) = p.hit.at_ms {
            by.entry(p.hit.user.as_deref()).or_default().push(at);
        }
    }
    by.into_values().any(|mut times| {
        times.sort_unstable();
        times.windows(MASS_WIPE).any(|w| w.last().zip(w.first()).is_some_and(|(b, a)| b - a <= 3_600_000))
    })
}

/// One step out of a run of like lines.
fn step(
    ctx: &Context<'_>,
    contents: &[Content],
    foreign: &[bool],
    page: &BTreeSet<u64>,
    habit: &BTreeSet<Vec<u8>>,
    run: &[Placed<'_>],
) -> Option<Step> {
    // The line that says most: the largest answer, else the first.
    let first = run.first()?;
    let lead = run.iter().max_by_key(|p| (p.hit.bytes.unwrap_or(0), std::cmp::Reverse(p.hit.offset)))?;
    let lead = if matches!(ctx.rules.rules.get(first.hit.rule)?.info.stage, Stage::Fetch | Stage::ApiAccess) {
        lead
    } else {
        first
    };
    let hit = lead.hit;
    let rule = ctx.rules.rules.get(hit.rule)?;
    let mut grade = rule.grade;
    let mut note = rule.note.clone();
    let mut open = None;
    let stage = rule.info.stage;

    if matches!(stage, Stage::Attempt | Stage::Upload | Stage::ApiAccess) && grade >= Grade::Attempted {
        open = open_that_day(&ctx.ran, &rule.info.cves, hit.at_ms);
        if open.is_some() {
            grade = if stage == Stage::ApiAccess && grade == Grade::LikelyCompromised {
                Grade::DataLeft
            } else {
                grade.max(Grade::LikelyCompromised)
            };
        }
    }
    let chunks: BTreeSet<u64> = run.iter().map(|p| p.hit.query_key).collect();
    if stage == Stage::Upload && chunks.len() >= CHUNKS {
        grade = grade.max(Grade::LikelyCompromised);
        note = format!(
            "{} different chunks of base64 in a row: a file written piece by piece. {note}",
            chunks.len()
        );
    }
    if stage == Stage::Destruction {
        if !is_mass_wipe(run) {
            return None;
        }
        grade = Grade::Probed;
        note = format!(
            "{} wipes or retirements, {MASS_WIPE} or more of them within an hour by one account. Ask who ordered them. {note}",
            run.len()
        );
    }
    if stage == Stage::ApiAccess && hit.bytes.is_some_and(|b| page.contains(&b)) && grade > Grade::Attempted {
        grade = Grade::Attempted;
        note.push_str(" Several different paths answered with exactly this size: it looks like one page shown for every path.");
    }
    if habit.contains(&hit.path) {
        grade = Grade::Probed;
        note.push_str(" Twenty or more clients fetched it in one size over a week, so it looks like part of the product here.");
    }
    let after_step =
        matches!(stage, Stage::ApiAccess | Stage::Loader | Stage::Stage | Stage::Fetch | Stage::Tunnel);
    if foreign.get(lead.content).copied().unwrap_or(false) && after_step && grade > Grade::Probed {
        grade = Grade::Probed;
        note.push_str(" This log shows no ordinary traffic of the appliance, so the answer is taken for another product's.");
    } else if foreign.get(lead.content).copied().unwrap_or(false) && grade > Grade::Probed {
        if open.is_none() {
            grade = grade.min(Grade::Attempted);
        }
        note.push_str(" This log looks like another product's: the text was sent, but perhaps to a server that is not EPMM.");
    }
    if hit.status.is_none() && hit.layout == Layout::EpmmRequest {
        note.push_str(" This layout has no status, so what was answered is not known.");
    }
    if hit.deeper {
        note.push_str(" Some of it is encoded more often than was followed.");
    }
    let last = run.last()?;
    Some(Step {
        at_ms: hit.at_ms,
        zone_guessed: hit.zone_assumed && ctx.zone_guessed,
        stage,
        grade,
        rule: rule.info.id.clone(),
        rule_name: rule.info.name.clone(),
        title: rule.info.title.clone(),
        confidence: rule.info.confidence,
        cves: rule.info.cves.clone(),
        techniques: rule.info.techniques.clone(),
        client: Some(hit.client.clone()).filter(|c| c != "-"),
        via: hit.via.clone(),
        method: hit.method.as_deref().map(|m| Raw(inert(m))),
        path: Some(Raw(inert(&hit.path))).filter(|p| !p.0.is_empty()),
        status: hit.status,
        bytes_out: hit.bytes,
        user_agent: hit.agent.as_deref().map(|a| Raw(inert(a))),
        repeats: run.len() as u64 - 1,
        repeats_until_ms: last.hit.at_ms.filter(|_| run.len() > 1),
        note,
        cite: Cite {
            file: contents.get(lead.content)?.name.clone(),
            line: hit.line,
            byte_offset: hit.offset,
            raw: Raw(inert(&hit.raw)),
            cut: hit.cut,
        },
        version_open: open,
    })
}

/// Lines that were counted but not kept are repeats of the client's last step under that rule.
fn add_uncited(ctx: &Context<'_>, contents: &[Content], steps: &mut [Step]) {
    let mut counted: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let mut uncited = false;
    for f in contents.iter().filter_map(|c| c.findings.as_ref()) {
        uncited |= f.hits.uncited > 0;
        for ((client, rule), n) in &f.hits.counts {
            if let Some(r) = ctx.rules.rules.get(*rule) {
                *counted.entry((client, &r.info.id)).or_default() += n.lines;
            }
        }
    }
    if !uncited {
        return;
    }
    let mut shown: BTreeMap<(String, String), (u64, usize)> = BTreeMap::new();
    for (i, s) in steps.iter().enumerate() {
        let e =
            shown.entry((s.client.clone().unwrap_or_else(|| "-".into()), s.rule.clone())).or_insert((0, i));
        e.0 += s.repeats + 1;
        e.1 = i;
    }
    for ((client, rule), (n, last)) in shown {
        let all = counted.get(&(client.as_str(), rule.as_str())).copied().unwrap_or(n);
        if let Some(s) = steps.get_mut(last).filter(|_| all > n) {
            s.repeats += all - n;
        }
    }
}
