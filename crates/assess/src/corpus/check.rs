//! Runs the reading and the weighing over a corpus and compares with its truth.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{CUSTOM_FORMAT, Plan, Truth};
use crate::finding::{Grade, Layout, ReadState, Verdict};
use crate::fold::inert;
use crate::indicators::Indicators;
use crate::input::{self, Options};
use crate::line::{FieldMap, Format};
use crate::moment::Zone;
use crate::rules::RuleSet;
use crate::scan::prefilter::Prefilter;
use crate::scan::roll::Every;
use crate::scan::{Progress, Setup};
use crate::weigh::{Context, weigh};

/// Faults listed.
const MAX_LISTED: usize = 20;

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Lines read.
    pub lines: u64,
    /// Planted lines.
    pub planted: u64,
    /// Different kinds among them.
    pub kinds: u64,
    /// Planted lines found with at least their grade.
    pub found: u64,
    /// The others: kind, and the line.
    pub missed: Vec<String>,
    /// Lines that were not planted.
    pub benign: u64,
    /// Of these, lines judged "probed" (what scanners and gone apps look like).
    pub benign_probed: u64,
    /// Of these, lines or steps above "probed": there must be none.
    pub false_alarms: Vec<String>,
    /// Matched lines of which only the count was kept, so that they can't be compared.
    pub uncited: u64,
    /// Those of them that are more than a probe: there must be none.
    pub uncited_serious: u64,
    /// The verdict on the whole.
    pub verdict: Option<Verdict>,
}

/// What the plan's layout needs.
///
/// # Errors
/// When a built-in rule can't be read.
pub fn setup(plan: &Plan) -> Result<Setup, String> {
    let rules = RuleSet::embedded()?;
    let indicators = Indicators::builtin();
    let mut literals = rules.literals();
    literals.extend(indicators.literals().unwrap_or_default());
    let prefilter = Prefilter::new(&literals, false)?;
    let custom = plan.layout == Layout::Custom;
    Ok(Setup {
        rules,
        prefilter,
        indicators,
        format: custom.then(|| Format::compile(CUSTOM_FORMAT)).transpose()?,
        fields: FieldMap::default(),
        zone: Zone::parse("UTC").ok_or("no UTC")?,
        every: Every::Pass,
    })
}

/// Reads the corpus that lies at `path` and compares with its truth.
///
/// # Errors
/// When the file could not be read whole.
pub fn check(plan: &Plan, truth: &Truth, path: &Path) -> Result<Checked, String> {
    let setup = setup(plan)?;
    let options = Options { hash: false, max_unpacked: None, threads: 2 };
    let contents =
        input::read_all(&[path.to_owned()], &mut std::io::empty(), &setup, &options, &Progress::default());
    let Some((c, f)) = contents.first().and_then(|c| Some((c, c.findings.as_ref()?))) else {
        return Err("the corpus was not read as lines".into());
    };
    if c.state != ReadState::Whole {
        return Err(format!("the corpus was not read whole: {:?}", c.state));
    }
    let hits: BTreeMap<u64, &crate::scan::hits::Hit> = f.hits.lines.iter().map(|h| (h.line, h)).collect();
    let planted: BTreeSet<u64> = truth.planted.iter().map(|p| p.line).collect();
    let mut out = Checked {
        lines: f.lines,
        planted: truth.planted.len() as u64,
        kinds: truth.planted.iter().map(|p| p.kind).collect::<BTreeSet<_>>().len() as u64,
        benign: f.lines.saturating_sub(planted.len() as u64),
        uncited: f.hits.uncited,
        uncited_serious: f.hits.uncited_serious,
        ..Checked::default()
    };
    for p in &truth.planted {
        // Without a status a route that answered is only a route.
        let lacks = matches!(plan.layout, Layout::EpmmRequest | Layout::SentryAudit);
        let least = if lacks { p.least.min(Grade::Probed) } else { p.least };
        match hits.get(&p.line) {
            Some(h) if h.grade >= least => out.found += 1,
            // An order to look at a line that nobody can grade without a status is an answer too.
            None if lacks && f.open_lines > 0 && needs_status(p.kind) => out.found += 1,
            other => list(&mut out.missed, || {
                let what = other.map_or("not found".to_owned(), |h| format!("{:?}", h.grade));
                format!("line {} ({}): {what}", p.line, p.kind)
            }),
        }
    }
    for h in f.hits.lines.iter().filter(|h| !planted.contains(&h.line)) {
        if h.grade > Grade::Probed {
            list(&mut out.false_alarms, || format!("line {}: {:?} {}", h.line, h.grade, inert(&h.raw)));
        } else if h.grade == Grade::Probed {
            out.benign_probed += 1;
        }
    }
    let context = Context {
        rules: &setup.rules,
        indicators: &setup.indicators,
        ran: Vec::new(),
        window: None,
        zone: "UTC".into(),
        zone_guessed: false,
        as_of_ms: None,
        geo: None,
        compared: Vec::new(),
        remarks: Vec::new(),
    };
    let a = weigh(context, &contents);
    for s in a.chains.iter().flat_map(|c| &c.steps).filter(|s| s.grade > Grade::Probed) {
        if !planted.contains(&s.cite.line) {
            list(&mut out.false_alarms, || {
                format!("step at line {}: {:?} {}", s.cite.line, s.grade, s.title)
            });
        }
    }
    out.verdict = Some(a.verdict);
    Ok(out)
}

/// Kinds that only an answer's status tells from ordinary traffic.
fn needs_status(kind: &str) -> bool {
    matches!(kind, "2026-1281 malformed")
}

fn list(to: &mut Vec<String>, text: impl FnOnce() -> String) {
    if to.len() < MAX_LISTED {
        to.push(text());
    }
}
