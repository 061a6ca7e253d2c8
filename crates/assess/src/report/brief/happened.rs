//! What happened, and the key points.

use crate::finding::{Assessment, Chain, Confidence, Layout, Step, UnixMs};
use crate::report::brief::{Episode, Moment};
use crate::report::figures::{self, Times};
use crate::report::plain::{visible_end, visible_within};
use crate::report::words;

/// Chains that are told; the rest is in the evidence table.
const MOST_EPISODES: usize = 4;
/// Steps that are told of one chain.
const MOST_MOMENTS: usize = 7;

pub(super) fn episodes(a: &Assessment, times: &Times) -> Vec<Episode> {
    let mut told: Vec<Episode> = a.chains.iter().take(MOST_EPISODES).map(|c| episode(c, times)).collect();
    let rest = a.chains.len().saturating_sub(MOST_EPISODES);
    if rest > 0 {
        told.push(Episode {
            title: format!(
                "{} more of the same or a lower grade; they stand in the HTML report, the JSON and the timeline.",
                figures::count(rest as u64, "chain", "chains")
            ),
            moments: Vec::new(),
            left_out: 0,
        });
    }
    if told.is_empty() {
        told.push(Episode {
            title:
                "No line that was read asks for a route known to be vulnerable, and no step that follows a \
                    break-in was seen."
                    .to_owned(),
            moments: Vec::new(),
            left_out: 0,
        });
    }
    told
}

fn episode(chain: &Chain, times: &Times) -> Episode {
    let chosen = telling(&chain.steps);
    let left_out = (chain.steps.len() - chosen.len()) as u64 + chain.steps_left_out;
    let mut day: Option<String> = None;
    let moments = chosen
        .into_iter()
        .map(|step| {
            let moment = moment(step, times, day.as_deref());
            day = step.at_ms.map(|ms| times.day(ms)).or(day.take());
            moment
        })
        .collect();
    Episode { title: title(chain, times), moments, left_out }
}

fn title(chain: &Chain, times: &Times) -> String {
    let when = match (chain.first_ms, chain.last_ms) {
        (Some(from), Some(to)) if to > from => {
            format!("{}, for {}", times.full(from), figures::span(to - from))
        }
        (Some(at), _) => times.full(at),
        _ => "time not known".to_owned(),
    };
    let flaws =
        if chain.cves.is_empty() { String::new() } else { format!(" ({})", figures::list(&chain.cves, 3)) };
    let from = match chain.clients.as_slice() {
        [] => String::new(),
        clients => {
            let shown: Vec<String> = clients.iter().map(|c| visible_within(c, 45)).collect();
            format!(" From {}.", figures::list(&shown, 3))
        }
    };
    format!("Chain {}: {}{flaws}. {when}.{from}", chain.number, words::grade(chain.grade))
}

/// The first step of each stage, then the worst, as many as fit, in order of time.
fn telling(steps: &[Step]) -> Vec<&Step> {
    let mut order: Vec<usize> = (0..steps.len()).collect();
    let first_of_stage =
        |i: usize| steps.get(i).is_some_and(|s| steps.iter().take(i).all(|before| before.stage != s.stage));
    order.sort_by_key(|&i| (!first_of_stage(i), std::cmp::Reverse(steps.get(i).map(|s| s.grade)), i));
    order.truncate(MOST_MOMENTS);
    order.sort_unstable();
    order.into_iter().filter_map(|i| steps.get(i)).collect()
}

fn moment(step: &Step, times: &Times, day: Option<&str>) -> Moment {
    let who = step.client.as_deref().map_or_else(|| "somebody".to_owned(), |c| visible_within(c, 45));
    let mut text = format!("{who} {}", words::step_did(step.stage, step.grade));
    if let Some(path) = &step.path {
        let method =
            step.method.as_ref().map(|m| format!("{} ", visible_within(&m.0, 12))).unwrap_or_default();
        text.push_str(&format!(": {method}{}", visible_within(&path.0, 60)));
    }
    let mut answer = Vec::new();
    answer.extend(step.status.map(|s| format!("status {s}")));
    answer.extend(step.bytes_out.map(figures::size));
    if !answer.is_empty() {
        text.push_str(&format!(" ({})", answer.join(", ")));
    }
    if step.repeats > 0 {
        let until =
            step.repeats_until_ms.map(|ms| format!(", until {}", times.clock(ms))).unwrap_or_default();
        text.push_str(&format!(", and {} more like it{until}", figures::grouped(step.repeats)));
    }
    let text = match (step.at_ms, day) {
        (Some(ms), Some(day)) if times.day(ms) != day => format!("[{}] {text}", times.day(ms)),
        _ => text,
    };
    Moment {
        at: step.at_ms.map_or_else(|| "--:--:--".to_owned(), |ms| times.clock(ms)),
        text,
        cite: format!("{}:{}", visible_end(&step.cite.file, 54), step.cite.line),
    }
}

pub(super) fn key_points(a: &Assessment, times: &Times) -> Vec<String> {
    let mut points: Vec<String> = a.evidence.rests_on.iter().take(4).map(|g| g.text.clone()).collect();
    if !a.chains.is_empty() {
        points.push(
            "A status code alone proves neither success nor failure: the flaws of 2025 and 2026 answer 400 and 404 \
             either way."
                .to_owned(),
        );
    }
    points.extend(a.integrity.iter().take(3).map(|f| {
        format!("The log itself ({}, {}): {}", words::integrity(f.kind), visible_end(&f.file, 50), f.text)
    }));
    more(&mut points, a.integrity.len(), 3, "findings about the logs themselves");
    points.extend(a.coverage.holes.iter().take(2).map(|h| hole(h.from_ms, h.to_ms, &h.why, times)));
    points.extend(a.indicator_hits.iter().take(3).map(|hit| {
        let age = hit.age_days.map(|d| format!(", {d} days old then")).unwrap_or_default();
        let stale = if hit.stale { "; too old to count, a remark only" } else { "" };
        format!(
            "Published {} {} ({}{age}) was met {}{stale}.",
            words::indicator(hit.kind),
            visible_within(&hit.value, 70),
            hit.source,
            figures::count(hit.hits, "time", "times"),
        )
    }));
    points.extend(a.proxy.iter().map(|p| p.text.clone()));
    if a.timezone.guessed && a.timezone.lines_without_offset > 0 {
        let say = if a.timezone.why.contains("--tz") { "" } else { " Say it with --tz." };
        points.push(format!(
            "Times are guessed to be {}: {}{say}",
            a.timezone.name,
            a.timezone.why.trim_end()
        ));
    }
    points.extend(
        a.coverage.not_assessable.iter().take(3).map(|n| format!("Not assessable: {}. {}", n.title, n.why)),
    );
    more(&mut points, a.coverage.not_assessable.len(), 3, "things that these logs can't show");
    points.extend(unsure(a));
    points.extend(
        a.remarks.iter().take(3).map(|r| format!("Remark on {}: {}", visible_end(&r.about, 50), r.text)),
    );
    points
}

fn more(points: &mut Vec<String>, all: usize, told: usize, what: &str) {
    if all > told {
        points.push(format!("{} more {what} stand in the HTML report and the JSON.", all - told));
    }
}

fn hole(from: UnixMs, to: UnixMs, why: &str, times: &Times) -> String {
    format!(
        "No lines from {} to {} ({}): {why}",
        times.minute(from),
        times.minute(to),
        figures::span(to - from)
    )
}

/// Which of the facts behind a finding are not read in public text.
fn unsure(a: &Assessment) -> Vec<String> {
    let mut unsure = Vec::new();
    let soft: Vec<String> = a
        .rule_set
        .iter()
        .filter(|r| r.hits > 0 && r.confidence != Confidence::Verified)
        .map(|r| format!("{} ({})", r.name, words::confidence(r.confidence)))
        .collect();
    if !soft.is_empty() {
        unsure.push(format!(
            "Some rules that matched rest on facts that are less than certain: {}.",
            figures::list(&soft, 3)
        ));
    }
    if a.inputs.iter().any(|i| i.layouts.contains(&Layout::EpmmAccess)) {
        unsure.push(
            "The layout of https-access_log is known from published rules and from memory; no real file has \
             confirmed it. Look at the cited lines yourself."
                .to_owned(),
        );
    }
    unsure
}
