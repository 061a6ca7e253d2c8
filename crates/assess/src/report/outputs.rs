//! The options that say what is written where, checked before anything is read, and the writing itself.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::draft::{self, Duties};
use crate::error::Error;
use crate::export::{Tlp, ocsf, queries, stix};
use crate::exposure::{self, Exposure, InventoryOptions, MAX_INVENTORY_BYTES, People};
use crate::finding::{Assessment, UnixMs};
use crate::report::brief::BriefOptions;
use crate::report::terminal::{self, Layout};
use crate::report::{html, json, timeline};

/// The zone of a time that names none: these are British hospitals.
const HOME_ZONE: &str = "Europe/London";
/// The file name that means standard output.
const STDOUT: &str = "-";

/// Options of `matron assess` about its outputs.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Outputs")]
pub struct OutputArgs {
    /// Write the report as one HTML file (`-`: standard output)
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Write everything as JSON: to standard output, or `--json=FILE`
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = STDOUT)]
    pub json: Option<PathBuf>,
    /// Write a STIX 2.1 bundle
    #[arg(long, value_name = "FILE")]
    pub stix: Option<PathBuf>,
    /// How far the STIX bundle may go: clear, green, amber, amber+strict, red
    #[arg(long, value_name = "TLP", default_value = "amber+strict", requires = "stix")]
    pub tlp: String,
    /// Write OCSF detection findings, one JSON object a line
    #[arg(long, value_name = "FILE")]
    pub ocsf: Option<PathBuf>,
    /// Write every step in order of time as CSV (`csv` or `-`: standard output)
    #[arg(long, value_name = "FILE")]
    pub timeline: Option<PathBuf>,
    /// Write drafts for the ICO, NHS DSPT and NIS into this folder; a person completes and submits them
    #[arg(long, value_name = "DIR")]
    pub drafts: Option<PathBuf>,
    /// Write queries for Entra sign-ins and firewall flows into this folder
    #[arg(long, value_name = "DIR")]
    pub queries: Option<PathBuf>,
    /// When the organisation became aware (2025-05-28T09:30, British time unless an offset is given): starts the clocks
    #[arg(long, value_name = "TIME")]
    pub aware_at: Option<String>,
    /// Clocks and thresholds of the law, as JSON, instead of the built-in ones
    #[arg(long, value_name = "FILE")]
    pub duties: Option<PathBuf>,
    /// Count people, numbers and devices in this export of the device list (CSV)
    #[arg(long, value_name = "FILE", help_heading = "What could have been taken")]
    pub inventory: Option<PathBuf>,
    /// Say what a column means, e.g. --map imei="IMEI (slot 1)" (repeatable)
    #[arg(
        long,
        value_name = "WORD=COLUMN",
        requires = "inventory",
        help_heading = "What could have been taken"
    )]
    pub map: Vec<String>,
    /// The day that the inventory shows
    #[arg(long, value_name = "DATE", requires = "inventory", help_heading = "What could have been taken")]
    pub inventory_date: Option<String>,
    /// Write the list of people to a new file that only you can read
    #[arg(long, value_name = "FILE", requires = "inventory", help_heading = "What could have been taken")]
    pub write_people: Option<PathBuf>,
    /// Seal that list to this age recipient (age1...)
    #[arg(long, value_name = "AGE", requires = "write_people", help_heading = "What could have been taken")]
    pub people_recipient: Option<String>,
}

/// The options, checked, with what they name already read. Made before the logs are read, so that a
/// mistake costs no hour.
#[derive(Debug)]
pub struct Outputs {
    args: OutputArgs,
    brief: BriefOptions,
    tlp: Tlp,
    exposure: Option<Exposure>,
    people: People,
}

impl OutputArgs {
    /// Checks the options against each other and against `inputs`, the evidence: nothing is ever
    /// written over it or into its folders.
    ///
    /// # Errors
    /// [`Error`], which says what to change.
    pub fn prepare(&self, inputs: &[PathBuf]) -> Result<Outputs, Error> {
        let mut inputs = inputs.to_vec();
        inputs.extend(self.inventory.iter().chain(self.duties.iter()).cloned());
        for (option, path) in self.targets() {
            refuse_evidence(option, path, &inputs)?;
        }
        let on_stdout: Vec<_> = self.targets().into_iter().filter(|(o, p)| is_stdout(o, p)).collect();
        if let [_, (option, _), ..] = on_stdout.as_slice() {
            return Err(refused(
                option,
                STDOUT,
                "only one output can go to standard output; name a file for the others",
            ));
        }
        for (option, dir) in [("--drafts", &self.drafts), ("--queries", &self.queries)] {
            if dir.as_deref().is_some_and(|d| d.exists() && !d.is_dir()) {
                return Err(refused(
                    option,
                    dir.as_deref().map(show).unwrap_or_default(),
                    "is a file; name a folder",
                ));
            }
        }
        let tlp = Tlp::parse(&self.tlp)
            .or(self.tlp.is_empty().then(Tlp::default))
            .ok_or_else(|| refused("--tlp", &self.tlp, "must be clear, green, amber, amber+strict or red"))?;
        let aware_at_ms = self.aware_at.as_deref().map(|t| moment("--aware-at", t)).transpose()?;
        let duties = match &self.duties {
            Some(path) => Duties::parse(&read_text(path, 1_000_000)?)?,
            None => Duties::default(),
        };
        if let Some(recipient) = &self.people_recipient {
            exposure::people::check_recipient(recipient)?;
        }
        if let Some(path) = self.write_people.as_deref().filter(|p| p.exists()) {
            return Err(refused(
                "--write-people",
                show(path),
                "exists; a list of people is never written over a file",
            ));
        }
        let (exposure, people) = self.count()?;
        Ok(Outputs { args: self.clone(), brief: BriefOptions { aware_at_ms, duties }, tlp, exposure, people })
    }

    fn targets(&self) -> Vec<(&'static str, &Path)> {
        let all = [
            ("--html", &self.html),
            ("--json", &self.json),
            ("--stix", &self.stix),
            ("--ocsf", &self.ocsf),
            ("--timeline", &self.timeline),
            ("--drafts", &self.drafts),
            ("--queries", &self.queries),
            ("--write-people", &self.write_people),
        ];
        all.into_iter().filter_map(|(o, p)| Some((o, p.as_deref()?))).collect()
    }

    fn count(&self) -> Result<(Option<Exposure>, People), Error> {
        let Some(path) = &self.inventory else { return Ok((None, People::default())) };
        let dated_ms = self.inventory_date.as_deref().map(|t| moment("--inventory-date", t)).transpose()?;
        let options =
            InventoryOptions { told: self.map.clone(), dated_ms, keep_people: self.write_people.is_some() };
        let name = path.file_name().map_or_else(|| show(path), |n| n.to_string_lossy().into_owned());
        // A file is read twice, block by block; what comes through a pipe can be read only once.
        let unreadable = |source| Error::Read { path: show(path), source };
        let mut file = std::fs::File::open(path).map_err(unreadable)?;
        let (exposure, people) = if file.metadata().map_err(unreadable)?.is_file() {
            exposure::read_from(&name, &mut file, &options)?
        } else {
            exposure::read(&name, &read_bounded(path, MAX_INVENTORY_BYTES)?, &options)?
        };
        Ok((Some(exposure), people))
    }
}

impl Outputs {
    /// What was counted in the inventory, for [`Assessment::exposure`].
    pub fn exposure(&self) -> Option<&Exposure> {
        self.exposure.as_ref()
    }

    /// Whether an output takes standard output, so that the brief can't be there too.
    pub fn takes_stdout(&self) -> bool {
        self.args.targets().into_iter().any(|(o, p)| is_stdout(o, p))
    }

    /// Writes all outputs that were asked for, and the brief to `stdout` if `brief` says how and no
    /// other output is there. Gives the names of the files that were written.
    ///
    /// Files are readable by their owner alone and replace a former report whole or not at all.
    ///
    /// # Errors
    /// [`Error::Write`] with the file's name; the others were written.
    pub fn write(
        &self,
        a: &Assessment,
        brief: Option<Layout>,
        stdout: &mut dyn Write,
    ) -> Result<Vec<String>, Error> {
        let mut written = Vec::new();
        if let Some(layout) = brief.filter(|_| !self.takes_stdout()) {
            put(stdout, &terminal::render(a, &self.brief, layout))?;
        }
        let args = &self.args;
        let single = [
            ("--html", &args.html, args.html.as_ref().map(|_| Ok(html::render(a, &self.brief)))),
            ("--json", &args.json, args.json.as_ref().map(|_| json::render(a))),
            ("--stix", &args.stix, args.stix.as_ref().map(|_| stix::render(a, &self.brief, self.tlp))),
            ("--ocsf", &args.ocsf, args.ocsf.as_ref().map(|_| ocsf::render(a, &self.brief))),
            ("--timeline", &args.timeline, args.timeline.as_ref().map(|_| Ok(timeline::render(a)))),
        ];
        for (option, path, text) in single {
            let (Some(path), Some(text)) = (path, text) else { continue };
            let text = text?;
            if is_stdout(option, path) {
                put(stdout, &text)?;
            } else {
                written.push(replace(path, &text)?);
            }
        }
        if let Some(dir) = &args.drafts {
            for draft in draft::drafts(a, &self.brief) {
                written.push(replace(&dir.join(draft.file), &draft.text)?);
            }
        }
        if let Some(dir) = &args.queries {
            for query in queries::queries(a) {
                written.push(replace(&dir.join(query.file), &query.text)?);
            }
        }
        if let Some(path) = &args.write_people {
            exposure::people::write(&self.people, path, args.people_recipient.as_deref())?;
            written.push(show(path));
        }
        Ok(written)
    }
}

fn refused(option: &'static str, value: impl Into<String>, why: &str) -> Error {
    Error::Option { option, value: value.into(), why: why.to_owned() }
}

fn show(path: &Path) -> String {
    crate::report::plain::visible(&path.to_string_lossy())
}

fn is_stdout(option: &str, path: &Path) -> bool {
    let folder = matches!(option, "--drafts" | "--queries" | "--write-people");
    !folder && (path == Path::new(STDOUT) || (option == "--timeline" && path == Path::new("csv")))
}

/// Refuses a target that is an input or lies in a folder that is one: the next run would read it as
/// evidence, and evidence is not written to.
fn refuse_evidence(option: &'static str, target: &Path, inputs: &[PathBuf]) -> Result<(), Error> {
    if is_stdout(option, target) {
        return Ok(());
    }
    let Some(place) = real_place(target) else { return Ok(()) };
    for input in inputs {
        let Ok(input) = input.canonicalize() else { continue };
        if place == input {
            return Err(refused(option, show(target), "is one of the inputs; name another file"));
        }
        if input.is_dir() && place.starts_with(&input) {
            let why =
                "lies in a folder that is being read; evidence is never written to: name a place outside it";
            return Err(refused(option, show(target), why));
        }
    }
    Ok(())
}

/// Where a path that may not exist yet really lies: its nearest existing ancestor, resolved.
fn real_place(path: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(path).ok()?;
    let mut rest = Vec::new();
    let mut at = absolute.as_path();
    loop {
        if let Ok(real) = at.canonicalize() {
            return Some(rest.iter().rev().fold(real, |p: PathBuf, part| p.join(part)));
        }
        rest.push(at.file_name()?.to_owned());
        at = at.parent()?;
    }
}

fn read_bounded(path: &Path, limit_bytes: u64) -> Result<Vec<u8>, Error> {
    use std::io::Read as _;
    let failed = |source| Error::Read { path: show(path), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    // One more than the limit, so that a file above it is noticed and not cut.
    file.take(limit_bytes + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn read_text(path: &Path, limit_bytes: u64) -> Result<String, Error> {
    let bytes = read_bounded(path, limit_bytes)?;
    String::from_utf8(bytes).map_err(|e| Error::Read {
        path: show(path),
        source: std::io::Error::new(std::io::ErrorKind::InvalidData, e.utf8_error()),
    })
}

/// A time with an offset, or a British one; a day alone is its first moment.
fn moment(option: &'static str, text: &str) -> Result<UnixMs, Error> {
    let text = text.trim();
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Ok(at.as_millisecond());
    }
    let wrong =
        || refused(option, crate::report::plain::visible(text), "is no time; write it as 2025-05-28T09:30");
    let at = text.parse::<DateTime>().map_err(|_| wrong())?;
    let zone = TimeZone::get(HOME_ZONE).map_err(|_| wrong())?;
    Ok(zone.to_timestamp(at).map_err(|_| wrong())?.as_millisecond())
}

fn put(out: &mut dyn Write, text: &str) -> Result<(), Error> {
    let failed = |source| Error::Write { path: "standard output".to_owned(), source };
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Whoever reads has seen enough (`| head`).
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(failed),
    }
}

/// Writes beside the target and renames, so that there is a whole report or the former one.
fn replace(path: &Path, text: &str) -> Result<String, Error> {
    let failed = |source| Error::Write { path: show(path), source };
    // A pipe or a device can't be renamed over.
    if path.exists() && !path.is_file() {
        std::fs::OpenOptions::new()
            .write(true)
            .open(path)
            .and_then(|mut f| f.write_all(text.as_bytes()))
            .map_err(failed)?;
        return Ok(show(path));
    }
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir).map_err(failed)?;
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|e| failed(e.error))?;
    Ok(show(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        out: OutputArgs,
        inputs: Vec<PathBuf>,
    }

    fn cli(args: &[&str]) -> (OutputArgs, Vec<PathBuf>) {
        let cli = Cli::try_parse_from(std::iter::once(&"assess").chain(args)).unwrap();
        (cli.out, cli.inputs)
    }

    #[test]
    fn json_takes_no_input_for_its_file() {
        let (out, inputs) = cli(&["--json", "logs"]);
        assert_eq!(out.json.as_deref(), Some(Path::new("-")));
        assert_eq!(inputs, [PathBuf::from("logs")]);
    }

    #[test]
    fn an_output_in_the_evidence_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("access_log");
        std::fs::write(&log, "line").unwrap();
        for (args, input) in [
            (format!("--html={}/new/report.html", dir.path().display()), dir.path().to_owned()),
            (format!("--json={}", log.display()), log.clone()),
            (format!("--drafts={}/x", dir.path().display()), dir.path().to_owned()),
        ] {
            let (out, _) = cli(&[&args]);
            assert!(out.prepare(&[input]).unwrap_err().is_usage(), "{args}");
        }
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "line");
    }

    #[test]
    fn two_outputs_on_standard_output_are_refused() {
        let (out, _) = cli(&["--json", "--timeline", "csv"]);
        assert!(out.prepare(&[]).is_err());
    }

    #[test]
    fn all_outputs_are_written_and_again_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let d = dir.path().display();
        let args: Vec<String> = [
            "html=r.html",
            "json=r.json",
            "stix=r.stix",
            "ocsf=r.ocsf",
            "timeline=r.csv",
            "drafts=d",
            "queries=q",
        ]
        .iter()
        .map(|s| format!("--{}", s.replace('=', &format!("={d}/"))))
        .collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let (out, _) = cli(&args);
        let prepared = out.prepare(&[]).unwrap();
        let mut brief = Vec::new();
        let names = prepared.write(&sample::data_left(), Some(Layout::default()), &mut brief).unwrap();
        assert_eq!(names.len(), 5 + 3 + 6);
        let read = || names.iter().map(|n| std::fs::read(n).unwrap()).collect::<Vec<_>>();
        let first = read();
        assert!(first.iter().all(|bytes| !bytes.is_empty()) && !brief.is_empty());
        prepared.write(&sample::data_left(), None, &mut Vec::new()).unwrap();
        assert_eq!(first, read());
    }

    #[test]
    fn the_brief_gives_way_to_what_was_asked_for_on_standard_output() {
        let (out, _) = cli(&["--json"]);
        let mut stdout = Vec::new();
        out.prepare(&[]).unwrap().write(&sample::data_left(), Some(Layout::default()), &mut stdout).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&stdout).unwrap();
        assert_eq!(json["verdict"], "data_left");
    }

    #[cfg(unix)]
    #[test]
    fn a_report_is_readable_by_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.html");
        replace(&path, "x").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn awareness_without_an_offset_is_british_time() {
        assert_eq!(moment("--aware-at", "2025-05-28T09:30").unwrap(), sample::AWARE_MS);
        assert_eq!(moment("--aware-at", "2025-05-28 09:30").unwrap(), sample::AWARE_MS);
        assert_eq!(moment("--aware-at", "2025-05-28T08:30Z").unwrap(), sample::AWARE_MS);
        assert!(moment("--aware-at", "28/05/2025").unwrap_err().is_usage());
    }

    #[test]
    fn an_inventory_is_counted_before_any_log_is_read_and_its_people_written_apart() {
        let dir = tempfile::tempdir().unwrap();
        let inventory = dir.path().join("devices.csv");
        std::fs::write(&inventory, "User ID,IMEI\nawright,490154203237518\n").unwrap();
        let people = dir.path().join("people.csv");
        let (out, _) =
            cli(&["--inventory", inventory.to_str().unwrap(), "--write-people", people.to_str().unwrap()]);
        let prepared = out.prepare(&[]).unwrap();
        assert_eq!(prepared.exposure().unwrap().counts.people, 1);
        prepared.write(&sample::data_left(), None, &mut Vec::new()).unwrap();
        assert!(std::fs::read_to_string(&people).unwrap().contains("awright"));
    }
}
