//! The brief: what a tired person needs, in the order in which they need it.
//!
//! [`Brief::of`] turns an assessment into words once; the terminal and the HTML report only lay
//! them out, so that the two can't say different things.

mod actions;
mod collect;
mod happened;
mod signs;
mod taken;

use crate::draft::Duties;
use crate::finding::{Assessment, CoverageGrade, InputKind, ReadState, UnixMs, Verdict};
use crate::report::figures::{self, Times};
use crate::report::words;

pub use signs::Signs;

/// What the person told the report beyond the assessment.
#[derive(Debug, Clone, Default)]
pub struct BriefOptions {
    /// When the organisation became aware (`--aware-at`); starts the legal clocks.
    pub aware_at_ms: Option<UnixMs>,
    /// The legal clocks and thresholds; data, not code.
    pub duties: Duties,
}

/// A whole brief, as words without layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brief {
    /// `Data left`.
    pub verdict: String,
    /// What that means and does not mean.
    pub means: String,
    /// First answer: what the lines show, in one line.
    pub evidence: String,
    /// Second answer: how much was read, in one line.
    pub coverage: String,
    /// Why coverage is less than whole, sentence by sentence.
    pub coverage_reasons: Vec<String>,
    /// What happened, chain by chain.
    pub happened: Vec<Episode>,
    /// What data.
    pub data: Vec<String>,
    /// How far it reaches.
    pub reach: Vec<String>,
    /// Suspected origin.
    pub origin: Vec<String>,
    /// Key points.
    pub key_points: Vec<String>,
    /// Why it matters.
    pub why: Vec<String>,
    /// What to do now, in order.
    pub actions: Vec<Action>,
    /// What to collect, most volatile first.
    pub collect: Vec<Collect>,
}

/// One chain, told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Episode {
    /// Grade, flaws, time and addresses in one sentence.
    pub title: String,
    /// Its telling steps, in order of time.
    pub moments: Vec<Moment>,
    /// Steps that are in the evidence table and not here.
    pub left_out: u64,
}

/// One telling step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// Time of day, or `--:--:--`.
    pub at: String,
    /// What was done.
    pub text: String,
    /// `file:line`.
    pub cite: String,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// What, as an order.
    pub what: String,
    /// Who owns it.
    pub owner: String,
    /// By when.
    pub clock: String,
    /// The clock is the law's, not our suggestion.
    pub law: bool,
    /// Why, or how to know that it is done.
    pub why: String,
}

/// One thing to collect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collect {
    /// What.
    pub what: String,
    /// How long it lasts.
    pub lasts: String,
    /// What it would show.
    pub shows: String,
}

impl Brief {
    /// Puts an assessment into words.
    pub fn of(a: &Assessment, options: &BriefOptions) -> Self {
        let times = Times::of(&a.timezone);
        let signs = Signs::of(a);
        Self {
            verdict: words::verdict(a.verdict).to_owned(),
            means: words::verdict_means(a.verdict).to_owned(),
            evidence: evidence_line(a),
            coverage: coverage_line(a, &times),
            coverage_reasons: a.coverage.reasons.clone(),
            happened: happened::episodes(a, &times),
            data: taken::data(a, &signs, &times),
            reach: taken::reach(a, &signs, &times),
            origin: taken::origin(a),
            key_points: happened::key_points(a, &times),
            why: why(a, &signs),
            actions: actions::actions(a, &signs, options, &times),
            collect: collect::collect(a, &signs),
        }
    }
}

fn evidence_line(a: &Assessment) -> String {
    let mut kinds: Vec<&str> = Vec::new();
    for ground in a.evidence.rests_on.iter().filter(|g| g.grade == a.evidence.grade) {
        let word = words::ground(ground.kind);
        if !kinds.contains(&word) {
            kinds.push(word);
        }
    }
    let grade = words::grade(a.evidence.grade);
    if kinds.is_empty() {
        grade.to_owned()
    } else {
        format!("{grade}; rests on {}", figures::list(&kinds, 3))
    }
}

fn coverage_line(a: &Assessment, times: &Times) -> String {
    let files = Files::of(a);
    let mut parts = vec![format!("{} ({})", words::coverage(a.coverage.grade), files.words())];
    match (a.coverage.first_ms, a.coverage.last_ms) {
        (Some(from), Some(to)) if times.day(from) == times.day(to) => {
            parts.push(format!("{} to {}", times.minute(from), times.clock(to)));
        }
        (Some(from), Some(to)) => parts.push(format!("{} to {}", times.day(from), times.day(to))),
        _ if a.coverage.grade != CoverageGrade::None => parts.push("no times in what was read".to_owned()),
        _ => {}
    }
    if !a.coverage.holes.is_empty() {
        parts.push(figures::count(a.coverage.holes.len() as u64, "hole", "holes"));
    }
    let logs = a.inputs.iter().filter(|i| matches!(i.kind, InputKind::WebLog | InputKind::JsonLines));
    match (a.coverage.not_epmm.len(), logs.count()) {
        (0, _) => {}
        (n, all) if n >= all => {
            parts.push("this does NOT look like EPMM: other products' paths are asked for".to_owned())
        }
        (n, _) => parts.push(format!(
            "{} not look like EPMM's",
            if n == 1 { "1 log does".to_owned() } else { format!("{n} logs do") }
        )),
    }
    match a.coverage.window_covered {
        Some(true) => parts.push("the time of exposure is covered".to_owned()),
        Some(false) => parts.push("the time of exposure is NOT covered".to_owned()),
        None => parts.push("no time of exposure was given to measure against".to_owned()),
    }
    parts.join("; ")
}

/// How many files were read, by how much of them.
struct Files {
    whole: u64,
    part: u64,
    not_read: u64,
    no_log: u64,
    double: u64,
}

impl Files {
    fn of(a: &Assessment) -> Self {
        let mut files = Self { whole: 0, part: 0, not_read: 0, no_log: 0, double: 0 };
        for input in &a.inputs {
            match &input.read {
                _ if input.double_of.is_some() => files.double += 1,
                ReadState::Whole => files.whole += 1,
                ReadState::Part(_) => files.part += 1,
                ReadState::NotRead(_) => files.not_read += 1,
                ReadState::NotALog(_) => files.no_log += 1,
            }
        }
        files
    }

    fn words(&self) -> String {
        let mut parts = vec![format!("{} read whole", figures::count(self.whole, "file", "files"))];
        let more = [
            (self.part, "in part"),
            (self.not_read, "not read"),
            (self.no_log, "no log"),
            (self.double, "a copy of another"),
        ];
        parts.extend(
            more.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", figures::grouped(*n))),
        );
        parts.join(", ")
    }
}

fn why(a: &Assessment, signs: &Signs) -> Vec<String> {
    let mut why = Vec::new();
    match a.verdict {
        Verdict::DataLeft | Verdict::LikelyCompromised => {
            why.push(
                "The appliance knows every managed phone and the person who carries it, holds keys to the directory \
                 and to mail, and can command every phone. Who holds it can use all of that."
                    .to_owned(),
            );
            why.push(
                "Staff whose numbers left can be called or texted by someone who knows their name, employer and \
                 phone; a number with its IMEI helps to take over a line. Warn them before that happens."
                    .to_owned(),
            );
            why.push(
                "A patch closes the way in; it does not put anyone out. Secrets that are not replaced outlive it: \
                 the intrusions of May 2026 are believed to have used credentials stolen in January [second-hand]."
                    .to_owned(),
            );
        }
        Verdict::Attempted => why.push(
            "Exploit text reached the appliance. If its version was open to the flaw that day, it may have worked; \
             the answer's status can't tell. Until the appliance itself has been looked at, this stays open."
                .to_owned(),
        ),
        Verdict::Probed => why.push(
            "Whoever looked knows that the appliance is there and which flaw it might have. Probes are common and are \
             no incident by themselves; an appliance that was open to the flaw that day deserves a closer look."
                .to_owned(),
        ),
        Verdict::NoTrace => why.push(
            "It allows you to say what was looked at and that nothing was found there. It does not allow you to say \
             that nothing happened."
                .to_owned(),
        ),
        Verdict::Unknown => why.push(
            "An appliance that stood open and whose logs are incomplete may have been entered. The missing logs may \
             still exist elsewhere, and they rotate."
                .to_owned(),
        ),
    }
    if signs.destroyed {
        why.push(
            "Phones were ordered to wipe or lock: patient care may depend on some of them today.".to_owned(),
        );
    }
    why
}
