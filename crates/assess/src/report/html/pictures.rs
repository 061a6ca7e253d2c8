//! The coverage bar and the timelines, as inline SVG.
//!
//! Positions across are percentages, so that the text keeps its size on paper and on a phone.

use maud::{Markup, html};

use crate::finding::{Assessment, Chain, Grade, Stage, Step, UnixMs};
use crate::report::figures::{self, Times};
use crate::report::html::t;
use crate::report::words;

/// Steps drawn in one timeline; the evidence table has them all.
const MOST_DOTS: usize = 120;
/// Dots nearer than this (in percent) to the numbered one before them carry no number.
const NEAR: f64 = 5.2;

/// A stretch of time as percent of a line.
struct Scale {
    from: UnixMs,
    to: UnixMs,
}

impl Scale {
    fn of(times: impl Iterator<Item = UnixMs>) -> Option<Self> {
        let (mut from, mut to) = (None, None);
        for at in times {
            from = Some(from.map_or(at, |x: UnixMs| x.min(at)));
            to = Some(to.map_or(at, |x: UnixMs| x.max(at)));
        }
        let (from, to) = (from?, to?);
        Some(if from == to { Self { from: from - 30_000, to: to + 30_000 } } else { Self { from, to } })
    }

    fn percent(&self, at: UnixMs) -> f64 {
        let whole = (self.to - self.from) as f64;
        (((at - self.from) as f64) * 100.0 / whole).clamp(0.0, 100.0)
    }

    fn at(&self, ms: UnixMs) -> String {
        percent(self.percent(ms))
    }

    fn width(&self, from: UnixMs, to: UnixMs) -> String {
        percent((self.percent(to) - self.percent(from)).max(0.4))
    }
}

fn percent(v: f64) -> String {
    format!("{v:.2}%")
}

fn colour(grade: Grade) -> &'static str {
    match grade {
        Grade::NoTrace => "#51606e",
        Grade::Probed => "#b07a1a",
        Grade::Attempted => "#c05a00",
        Grade::LikelyCompromised => "#b3261e",
        Grade::DataLeft => "#7d0a12",
    }
}

/// The bar: what was read, where the holes are, when the appliance stood open, when something happened.
pub(super) fn coverage(a: &Assessment, times: &Times) -> Markup {
    let c = &a.coverage;
    let window = c.window.as_ref();
    let ends = [c.first_ms, c.last_ms, window.and_then(|w| w.from_ms), window.and_then(|w| w.to_ms)];
    let Some(scale) = Scale::of(ends.into_iter().flatten()) else {
        return html! { p class="key" { "No line with a time was read: there is nothing to draw a coverage bar from." } };
    };
    let open = window.map(|w| (w.from_ms.unwrap_or(scale.from), w.to_ms.unwrap_or(scale.to)));
    let marks: Vec<(UnixMs, Grade, usize)> =
        a.chains.iter().take(40).filter_map(|c| Some((c.first_ms?, c.grade, c.number))).collect();
    let read = match (c.first_ms, c.last_ms) {
        (Some(from), Some(to)) => {
            format!("Lines were read from {} to {}", times.minute(from), times.minute(to))
        }
        _ => "No line with a time was read".to_owned(),
    };
    let says = format!("{read}, with {}.", figures::count(c.holes.len() as u64, "hole", "holes"));
    html! {
        div class="figure" {
            svg height="94" role="img" aria-label=(t(&says)) {
                title { (t(&says)) }
                @if let Some((from, to)) = open {
                    text x=(scale.at(from)) y="11" text-anchor=(anchor(scale.percent(from))) class="soft" { "stood open" }
                    rect x=(scale.at(from)) y="17" width=(scale.width(from, to)) height="6" fill="#5b3e8e" {}
                }
                rect x="0" y="30" width="100%" height="22" class="none" {}
                @if let (Some(from), Some(to)) = (c.first_ms, c.last_ms) {
                    rect x=(scale.at(from)) y="30" width=(scale.width(from, to)) height="22" fill="#1f5c7a" {}
                }
                @for hole in c.holes.iter().take(200) {
                    rect x=(scale.at(hole.from_ms)) y="30" width=(scale.width(hole.from_ms, hole.to_ms)) height="22" fill="#f6c453" {
                        title { (t(&format!("{} to {}: {}", times.minute(hole.from_ms), times.minute(hole.to_ms), hole.why))) }
                    }
                }
                @for (at, grade, number) in &marks {
                    line x1=(scale.at(*at)) x2=(scale.at(*at)) y1="26" y2="60" stroke=(colour(*grade)) stroke-width="2" {}
                    circle cx=(scale.at(*at)) cy="64" r="6" fill=(colour(*grade)) {
                        title { "Chain " (number) ", " (words::grade(*grade)) ", " (times.full(*at)) }
                    }
                }
                text x="0" y="90" { (times.day(scale.from)) }
                text x="100%" y="90" text-anchor="end" { (times.day(scale.to)) }
            }
            p class="key" {
                "Blue: lines were read. Empty: none. Yellow: a hole. Violet: the time of exposure that was given. \
                 Dots: first step of a chain."
            }
        }
    }
}

fn anchor(percent: f64) -> &'static str {
    if percent > 80.0 { "end" } else { "start" }
}

struct Lane<'a> {
    stage: Stage,
    dots: Vec<(usize, &'a Step)>,
}

/// A chain's steps over time, one lane a stage; numbers are rows of the evidence table.
pub(super) fn timeline(chain: &Chain, times: &Times) -> Markup {
    let timed = || chain.steps.iter().enumerate().take(MOST_DOTS).filter(|(_, s)| s.at_ms.is_some());
    if timed().count() < 2 {
        return html! {};
    }
    let Some(scale) = Scale::of(timed().filter_map(|(_, s)| s.at_ms)) else { return html! {} };
    let mut lanes: Vec<Lane<'_>> = Vec::new();
    for (i, step) in timed() {
        match lanes.iter_mut().find(|l| l.stage == step.stage) {
            Some(lane) => lane.dots.push((i, step)),
            None => lanes.push(Lane { stage: step.stage, dots: vec![(i, step)] }),
        }
    }
    let height = lanes.len() * 40 + 26;
    let says = format!("Timeline of chain {}: {} steps.", chain.number, chain.steps.len());
    html! {
        div class="figure" {
            svg height=(height) role="img" aria-label=(says) {
                title { (says) }
                @for (n, lane) in lanes.iter().enumerate() {
                    text x="0" y=(n * 40 + 12) class="soft" { (words::stage(lane.stage)) }
                    line x1="0" x2="100%" y1=(n * 40 + 26) y2=(n * 40 + 26) class="lane" {}
                    (dots(chain, lane, &scale, n * 40 + 26, times))
                }
                text x="0" y=(height - 2) { (times.full(scale.from)) }
                text x="100%" y=(height - 2) text-anchor="end" { (times.clock(scale.to)) }
            }
            p class="key" { "Numbers are steps of chain " (chain.number) " in the evidence table." }
        }
    }
}

fn dots(chain: &Chain, lane: &Lane<'_>, scale: &Scale, y: usize, times: &Times) -> Markup {
    let mut last = f64::NEG_INFINITY;
    let mut drawn = Vec::with_capacity(lane.dots.len());
    for (i, step) in &lane.dots {
        let Some(at) = step.at_ms else { continue };
        let x = scale.percent(at);
        let numbered = x - last >= NEAR;
        if numbered {
            last = x;
        }
        drawn.push((i + 1, *step, at, numbered));
    }
    html! {
        @for (number, step, at, numbered) in drawn {
            // Kept inside the picture at both ends.
            svg x=(percent(scale.percent(at) * 0.96 + 2.0)) y=(y) overflow="visible" {
                title { (chain.number) "." (number) " " (times.full(at)) " " (t(&step.rule_name)) }
                circle r=(if numbered { 9 } else { 4 }) fill=(colour(step.grade)) {}
                @if numbered { text class=(if number < 100 { "num" } else { "num many" }) y="3.5" text-anchor="middle" { (number) } }
            }
        }
    }
}
