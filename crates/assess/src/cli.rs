//! `matron assess`: arguments, the run, exit codes.

use std::ffi::OsString;
use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args as ClapArgs;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::compare;
use crate::demo;
use crate::error::Error;
use crate::finding::{ExposureWindow, Remark};
use crate::indicators::Indicators;
use crate::input::{self, Options};
use crate::line::{FieldMap, Format};
use crate::moment::{self, Zone};
use crate::report::OutputArgs;
use crate::report::terminal::Layout;
use crate::rules::RuleSet;
use crate::scan::prefilter::Prefilter;
use crate::scan::roll::Every;
use crate::scan::{Progress, Setup};
use crate::weigh::{Context, Geo, flaws, weigh};

/// Exit code for a command that can't be followed.
pub const USAGE: u8 = 2;
/// The zone taken when nobody names one: these are British hospitals.
const HOME_ZONE: &str = "Europe/London";

/// What the codes mean, for scripts.
const EXIT_CODES: &str = "Exit codes: 0 no trace found; 3 unknown (nothing found, too little read); 10 probed; 11 attempted; \
     12 likely compromised; 13 data left; 2 the command was wrong; 1 an output could not be written.";

/// Options of `matron assess`.
#[derive(Debug, Clone, Default, ClapArgs)]
#[command(after_help = EXIT_CODES)]
pub struct Args {
    /// Logs, archives, folders, exports, file listings; `-` reads standard input
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Zone of lines without an offset: Europe/London, UTC, +01:00
    #[arg(long, value_name = "ZONE")]
    pub tz: Option<String>,
    /// Format of the lines, as Apache's LogFormat or nginx's log_format
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// Names of JSON fields: client=src_ip,url=http.target (time, client, forwarded, method, url, query, request, status, bytes, agent, referer, user, action, line)
    #[arg(long, value_name = "FIELD=NAME,...")]
    pub json_map: Vec<String>,
    /// Further Sigma rules: a folder or a file
    #[arg(long, value_name = "DIR")]
    pub rules: Vec<PathBuf>,
    /// Indicators: STIX 2.1, MISP JSON or CSV
    #[arg(long, value_name = "FILE")]
    pub indicators: Vec<PathBuf>,
    /// Country and network of addresses: an MMDB file (repeatable)
    #[arg(long, value_name = "MMDB")]
    pub geoip: Vec<PathBuf>,
    /// Another copy of the same logs: lines that are there and missing here
    #[arg(long, value_name = "PATH")]
    pub compare: Vec<PathBuf>,
    /// The appliance's version, if need be with its days: 12.5.0.0@2025-01-10..2025-05-16 (repeatable)
    #[arg(long, value_name = "VERSION[@FROM..TO]")]
    pub epmm_version: Vec<String>,
    /// The flaw was open from this day on
    #[arg(long, value_name = "DATE")]
    pub exposed_from: Option<String>,
    /// The flaw was open until this day
    #[arg(long, value_name = "DATE")]
    pub exposed_to: Option<String>,
    /// The day against which ages are weighed (default: the newest line)
    #[arg(long, value_name = "DATE")]
    pub as_of: Option<String>,
    /// Most bytes that one packed file may unpack to
    #[arg(long, value_name = "BYTES")]
    pub max_unpacked: Option<u64>,
    /// Don't hash the files given: faster, but the report then names no digest of them
    #[arg(long)]
    pub no_hash: bool,
    /// Threads that read and scan, 1 to 16; the report is the same with any number
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub threads: usize,
    /// List the rules and leave
    #[arg(long)]
    pub list_rules: bool,
    /// List the texts that the first stage searches for and leave
    #[arg(long)]
    pub list_literals: bool,
    /// Write a small made-up bundle and assess it
    #[arg(long, conflicts_with = "paths")]
    pub demo: bool,
    /// Neither brief nor progress: only the outputs asked for, and the exit code
    #[arg(long, short)]
    pub quiet: bool,
    /// Colour in the brief: auto is for terminals, unless NO_COLOR is set
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    pub color: Colour,
    /// Columns of the terminal that standard output is, if it is one ([`terminal_columns`]).
    #[arg(skip)]
    pub terminal: Option<usize>,
    /// Outputs.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// When the brief is coloured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Colour {
    /// On a terminal that can, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Even into a file.
    Always,
    /// Not at all.
    Never,
}

/// Columns of the terminal that standard output is; `None` if it is a file or a pipe.
pub fn terminal_columns() -> Option<usize> {
    let out = std::io::stdout();
    if !out.is_terminal() {
        return None;
    }
    Some(terminal_size::terminal_size_of(out).map_or(80, |(w, _)| usize::from(w.0)))
}

/// How the brief is laid out: `no_color` and `term` are what the environment says.
fn layout(args: &Args, no_color: Option<OsString>, term: Option<OsString>) -> Layout {
    let can =
        args.terminal.is_some() && no_color.is_none_or(|v| v.is_empty()) && term.is_none_or(|t| t != "dumb");
    let colour = match args.color {
        Colour::Auto => can,
        Colour::Always => true,
        Colour::Never => false,
    };
    Layout { columns: args.terminal.unwrap_or(Layout::default().columns), colour }
}

/// Runs the command. Returns the exit code: 0 no trace, 3 unknown, 10 probed,
/// 11 attempted, 12 likely compromised, 13 data left; 2 usage; 1 an output
/// that could not be written.
pub fn run(args: &Args, stdin: &mut (dyn Read + Send), stdout: &mut dyn Write, stderr: &mut dyn Write) -> u8 {
    match go(args, stdin, stdout, stderr) {
        Ok(code) => code,
        Err(e) => {
            let _ = writeln!(stderr, "assess: {}", crate::report::plain::visible(&e.to_string()));
            if e.is_usage() { USAGE } else { 1 }
        }
    }
}

fn go(
    args: &Args,
    stdin: &mut (dyn Read + Send),
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> Result<u8, Error> {
    let mut remarks = Vec::new();
    let rules = rules(args, &mut remarks)?;
    if args.list_rules {
        return list_rules(&rules, stdout).map(|()| 0).map_err(|e| Error::Operator(e.to_string()));
    }
    if !args.quiet {
        for (file, why) in &rules.refused {
            let line = format!("assess: rule file {file} is not used: {why}");
            let _ = writeln!(stderr, "{}", crate::report::plain::visible(&line));
        }
    }
    let indicators = indicators(args, &mut remarks)?;
    let zone_name = args.tz.as_deref().unwrap_or(HOME_ZONE);
    let zone = Zone::parse(zone_name).ok_or_else(|| {
        Error::Usage(format!("--tz {zone_name}: not a zone; try Europe/London, UTC or +01:00"))
    })?;
    let ran = args
        .epmm_version
        .iter()
        .map(|v| flaws::Ran::parse(v, &zone).map_err(|e| Error::Usage(format!("--epmm-version {v}: {e}"))))
        .collect::<Result<Vec<_>, _>>()?;
    let window = window(args, &ran, &zone)?;
    let as_of_ms = date(args.as_of.as_deref(), "--as-of", &zone)?;
    let geo = if args.geoip.is_empty() { None } else { Some(Geo::open(&args.geoip).map_err(Error::Usage)?) };
    let mut setup = setup(args, rules, indicators, zone)?;
    if args.list_literals {
        for l in literals(&setup.rules, &setup.indicators).unwrap_or_default() {
            writeln!(stdout, "{l}").map_err(|e| Error::Operator(e.to_string()))?;
        }
        return Ok(0);
    }
    let paths = if args.demo {
        let made = demo::write(&std::env::temp_dir().join("matron-assess-demo"))
            .map_err(|e| Error::Operator(format!("the demonstration bundle can't be written: {e}")))?;
        if !args.quiet {
            let _ =
                writeln!(stderr, "A made-up bundle was written to {} and is now assessed.", made.display());
        }
        vec![made]
    } else {
        args.paths.clone()
    };
    if paths.is_empty() {
        return Err(Error::Usage(
            "nothing to read: name a log, an archive or a folder (`-` for standard input), or try --demo"
                .into(),
        ));
    }
    if let Some(missing) = paths.iter().chain(&args.compare).find(|p| p.as_os_str() != "-" && !p.exists()) {
        return Err(Error::Usage(format!("{}: there is no such file or folder", missing.display())));
    }
    // The other copy is evidence as well: nothing is written over it.
    let evidence: Vec<PathBuf> = paths.iter().chain(&args.compare).cloned().collect();
    let outputs = args.output.prepare(&evidence)?;
    let options =
        Options { hash: !args.no_hash, max_unpacked: args.max_unpacked, threads: args.threads.clamp(1, 16) };
    if !args.compare.is_empty() {
        setup.every = Every::note();
    }
    let mut contents = with_progress(args, &paths, |p| input::read_all(&paths, stdin, &setup, &options, p));
    let mut compared = Vec::new();
    if !args.compare.is_empty() {
        setup.every = setup.every.turn();
        let there = with_progress(args, &args.compare, |p| {
            input::read_all(&args.compare, &mut std::io::empty(), &setup, &options, p)
        });
        compared = compare::compare(&contents, &there, &mut remarks);
        compared.extend(compare::ordinary(&setup.every, &contents, &there, &mut remarks));
        setup.every = Every::Pass;
        // What stands in the other copy is evidence too.
        input::join(&mut contents, there);
    }
    let context = Context {
        rules: &setup.rules,
        indicators: &setup.indicators,
        ran,
        window,
        zone: zone_name.to_owned(),
        zone_guessed: args.tz.is_none(),
        as_of_ms,
        geo,
        compared,
        remarks,
    };
    let mut assessment = weigh(context, &contents);
    drop(contents);
    assessment.exposure = outputs.exposure().cloned();
    let layout = (!args.quiet).then(|| layout(args, std::env::var_os("NO_COLOR"), std::env::var_os("TERM")));
    let written = outputs.write(&assessment, layout, stdout)?;
    if !args.quiet {
        for w in written {
            let _ = writeln!(stderr, "wrote {w}");
        }
    }
    Ok(assessment.verdict.exit_code())
}

fn rules(args: &Args, remarks: &mut Vec<Remark>) -> Result<RuleSet, Error> {
    let mut set = RuleSet::embedded().map_err(Error::Operator)?;
    for dir in &args.rules {
        set.add_folder(dir).map_err(|e| Error::Usage(format!("--rules {}: {e}", dir.display())))?;
    }
    if let [(file, why), ..] = set.refused.as_slice()
        && set.rules.iter().all(|r| r.info.builtin)
    {
        return Err(Error::Usage(format!("--rules: no rule could be used; {file}: {why}")));
    }
    remarks.extend(set.refused.iter().map(|(file, why)| Remark {
        about: file.clone(),
        text: format!("This rule file was not used: {why}."),
    }));
    remarks.extend(set.costly.iter().map(|t| Remark {
        about: t.clone(),
        text: "This rule names no text to search for, so every line was parsed for it (slower).".into(),
    }));
    Ok(set)
}

fn indicators(args: &Args, remarks: &mut Vec<Remark>) -> Result<Indicators, Error> {
    let mut all = Indicators::builtin();
    for f in &args.indicators {
        let r = all.add_file(f).map_err(|e| Error::Usage(format!("--indicators {}: {e}", f.display())))?;
        let fault = r.fault.map(|f| format!(" Read in part only: {f}.")).unwrap_or_default();
        remarks.push(Remark {
            about: f.display().to_string(),
            text: format!("{} indicators taken, {} passed over (kinds or patterns that can't be matched in a log).{fault}", r.taken, r.passed_over),
        });
    }
    Ok(all)
}

fn literals(rules: &RuleSet, indicators: &Indicators) -> Option<Vec<String>> {
    let mut l = rules.literals();
    l.extend(indicators.literals()?);
    l.sort();
    l.dedup();
    Some(l)
}

fn setup(args: &Args, rules: RuleSet, indicators: Indicators, zone: Zone) -> Result<Setup, Error> {
    let format = args
        .format
        .as_deref()
        .map(Format::compile)
        .transpose()
        .map_err(|e| Error::Usage(format!("--format: {e}")))?;
    let mut fields = FieldMap::default();
    for m in &args.json_map {
        fields.extend(m).map_err(|e| Error::Usage(format!("--json-map: {e}")))?;
    }
    let l = literals(&rules, &indicators);
    let every_line = rules.every_line() || l.is_none();
    let prefilter = Prefilter::new(&l.unwrap_or_default(), every_line).map_err(Error::Operator)?;
    Ok(Setup { rules, prefilter, indicators, format, fields, zone, every: Every::Pass })
}

fn date(text: Option<&str>, option: &str, zone: &Zone) -> Result<Option<i64>, Error> {
    text.map(|t| {
        moment::typed(t, zone).ok_or_else(|| {
            Error::Usage(format!("{option} {t}: not a date like 2025-05-16 or 2025-05-16T09:30"))
        })
    })
    .transpose()
}

fn window(args: &Args, ran: &[flaws::Ran], zone: &Zone) -> Result<Option<ExposureWindow>, Error> {
    let mut from_ms = date(args.exposed_from.as_deref(), "--exposed-from", zone)?;
    let mut to_ms = date(args.exposed_to.as_deref(), "--exposed-to", zone)?;
    let mut source = Vec::new();
    if let Some(f) = &args.exposed_from {
        source.push(format!("--exposed-from {f}"));
    }
    if let Some(t) = &args.exposed_to {
        source.push(format!("--exposed-to {t}"));
    }
    let cves: std::collections::BTreeSet<String> = ran
        .iter()
        .flat_map(|r| {
            flaws::FLAWS.iter().filter(|f| f.open_to(r.version)).flat_map(|f| f.cves).map(|c| (*c).to_owned())
        })
        .collect();
    if source.is_empty() {
        let dated: Vec<&flaws::Ran> =
            ran.iter().filter(|r| r.from_ms.is_some() || r.to_ms.is_some()).collect();
        if dated.is_empty() || cves.is_empty() {
            return Ok(None);
        }
        from_ms = dated.iter().map(|r| r.from_ms).min().flatten();
        to_ms = dated.iter().map(|r| r.to_ms).max().flatten();
    }
    source.extend(ran.iter().map(|r| format!("--epmm-version {}", r.text)));
    if from_ms.zip(to_ms).is_some_and(|(f, t)| t < f) {
        return Err(Error::Usage("the window ends before it begins".into()));
    }
    Ok(Some(ExposureWindow { from_ms, to_ms, source: source.join(", "), cves: cves.into_iter().collect() }))
}

fn with_progress<T>(args: &Args, paths: &[PathBuf], work: impl FnOnce(&Progress) -> T) -> T {
    let progress = Progress::default();
    if args.quiet || !std::io::stderr().is_terminal() {
        return work(&progress);
    }
    let bar =
        ProgressBar::with_draw_target(Some(input::total_bytes(paths)), ProgressDrawTarget::stderr_with_hz(5));
    if let Ok(style) =
        ProgressStyle::with_template("{bar:30} {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left")
    {
        bar.set_style(style);
    }
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let drawer = scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                bar.set_position(progress.0.load(std::sync::atomic::Ordering::Relaxed));
                std::thread::park_timeout(Duration::from_millis(150));
            }
            bar.finish_and_clear();
        });
        let out = work(&progress);
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        drawer.thread().unpark();
        out
    })
}

fn list_rules(set: &RuleSet, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "{:<34} {:<19} {:<10}  title [how sure its facts are]", "name", "grade", "version")?;
    for r in &set.rules {
        let grade = serde_json::to_value(r.grade)
            .ok()
            .and_then(|v| v.as_str().map(str::to_owned))
            .unwrap_or_default();
        let plain = crate::report::plain::visible;
        writeln!(
            out,
            "{:<34} {:<19} {}  {} [{}]",
            plain(&r.info.name),
            grade,
            plain(&r.info.version),
            plain(&r.info.title),
            crate::report::words::confidence(r.info.confidence)
        )?;
    }
    for (f, why) in &set.refused {
        writeln!(out, "not used: {f}: {}", crate::report::plain::visible(why))?;
    }
    Ok(())
}

/// The command by itself, for the example, its manual page and tests.
pub fn command() -> clap::Command {
    Args::augment_args(clap::Command::new("assess").version(env!("CARGO_PKG_VERSION")))
}

/// Parses words like a shell's and runs; for the example and tests.
pub fn run_words(
    words: impl IntoIterator<Item = OsString>,
    stdin: &mut (dyn Read + Send),
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> u8 {
    match command().try_get_matches_from(words) {
        Ok(m) => match <Args as clap::FromArgMatches>::from_arg_matches(&m) {
            Ok(args) => run(&args, stdin, stdout, stderr),
            Err(e) => {
                let _ = write!(stderr, "{e}");
                USAGE
            }
        },
        Err(e) => {
            let help = !e.use_stderr();
            let _ = if help { write!(stdout, "{e}") } else { write!(stderr, "{e}") };
            if help { 0 } else { USAGE }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_for_terminals_unless_told_otherwise() {
        let with = |color, terminal| Args { color, terminal, ..Args::default() };
        let told = |a: &Args, no: Option<&str>, term: Option<&str>| {
            layout(a, no.map(Into::into), term.map(Into::into)).colour
        };
        let (file, screen) = (with(Colour::Auto, None), with(Colour::Auto, Some(120)));
        assert!(!told(&file, None, Some("xterm")));
        assert!(told(&screen, None, Some("xterm")) && told(&screen, Some(""), None));
        assert!(!told(&screen, Some("1"), Some("xterm")) && !told(&screen, None, Some("dumb")));
        assert!(told(&with(Colour::Always, None), Some("1"), None));
        assert!(!told(&with(Colour::Never, Some(80)), None, None));
        assert_eq!(layout(&screen, None, None).columns, 120);
    }
}
