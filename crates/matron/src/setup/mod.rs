//! `matron setup`: from nothing to a house that phones can enrol with, step by step. Run again, it shows
//! what is done and goes on with what is not. It changes nothing that was answered before, unless another
//! answer is given, and with `--check` nothing at all.

mod ask;
mod file;
mod people;
mod server;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use model::{Clock, SystemClock, TimeMs};

use crate::Place;
use crate::cli::failure::{Result, failed, usage};
use crate::cli::{Reach, show};
use crate::push::{self, Folder};
use ask::{Answers, Asker};
use file::File;

#[derive(Debug, Args)]
pub(crate) struct Setup {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    answers: Answers,
    /// Answers from a file (TOML, names as the flags have them, with _ for -). A flag wins.
    #[arg(long, value_name = "FILE")]
    answer: Option<PathBuf>,
    /// Ask nothing and change nothing: only show what is done and what is not.
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    reach: Reach,
}

/// How a step stands.
enum Stand {
    /// Done before, or now.
    Done(String),
    /// Not yet, and what to do; the other steps go on.
    Open(String, String),
    /// It can't be so; what to do.
    Wrong(String, String),
}

/// What the steps share.
struct Walk {
    place: Place,
    data: PathBuf,
    answers: Answers,
    asker: Asker,
    check: bool,
    reach: Reach,
    file: File,
    now_ms: TimeMs,
}

type Step = fn(&mut Walk) -> Result<Stand>;

const STEPS: &[(&str, Step)] = &[
    ("data folder", data_folder),
    ("host name", server::host),
    ("organisation", server::organization),
    ("TLS certificate", server::tls),
    ("push certificate", push_certificate),
    ("configuration", configuration),
    ("house", people::house),
    ("administrator", people::administrator),
    ("standing order", people::standing_order),
    ("test invitation", people::invitation),
];

/// Where the configuration is kept when nobody says.
fn configuration_path(place: &Place) -> PathBuf {
    let packaged = Path::new("/etc/matron");
    match &place.config {
        Some(path) => path.clone(),
        None if packaged.is_dir() => packaged.join("matron.toml"),
        None => place.data.join("matron.toml"),
    }
}

pub(crate) fn run(args: Setup) -> ExitCode {
    match walk(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(e) => e.tell(false),
    }
}

/// Walks through the steps; whether nothing was wrong.
fn walk(args: Setup) -> Result<bool> {
    if args.reach.json {
        return Err(usage(
            "--json: setup speaks to a person; for programs: 'matron doctor --json', 'matron push show --json'",
        ));
    }
    let answers = args.answers.with_file(args.answer.as_deref())?;
    let path = configuration_path(&args.place);
    let data = std::path::absolute(&args.place.data).map_err(failed)?;
    let file = File::read(&path)?;
    let mut walk = Walk {
        place: Place { config: Some(file.path.clone()), ..args.place },
        data,
        answers,
        asker: Asker { person: !args.check && show::is_person() },
        check: args.check,
        reach: args.reach,
        file,
        now_ms: SystemClock.now_ms(),
    };
    let (mut open, mut wrong) = (0usize, 0usize);
    for (n, (name, step)) in STEPS.iter().enumerate() {
        let (word, text, remedy) = match step(&mut walk)? {
            Stand::Done(text) => ("ok   ", text, String::new()),
            Stand::Open(text, remedy) => {
                open += 1;
                ("to do", text, remedy)
            }
            Stand::Wrong(text, remedy) => {
                wrong += 1;
                ("WRONG", text, remedy)
            }
        };
        show::print(&format!("{:>2}/{} {word} {name:<16} {}\n", n + 1, STEPS.len(), show::line(&text)))?;
        for line in remedy.lines() {
            show::print(&format!("                              {}\n", show::line(line)))?;
        }
    }
    let config = walk.file.path.display();
    show::print(&match (open, wrong) {
        (0, 0) => format!(
            "\nAll is done. Would an iPhone connect?  matron doctor --config {config} --data {} --phone-ready\n",
            walk.place.data.display()
        ),
        (_, 0) => format!("\n{open} to do. Run the same again: it goes on from there.\n"),
        _ => format!(
            "\n{wrong} wrong, {open} to do. Correct it and run the same again: it goes on from there.\n"
        ),
    })?;
    Ok(wrong == 0)
}

fn data_folder(walk: &mut Walk) -> Result<Stand> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};
    let data = &walk.data;
    if !data.exists() {
        if walk.check {
            return Ok(Stand::Open(format!("{} is not there yet", data.display()), String::new()));
        }
        if let Err(e) = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data) {
            return Ok(Stand::Wrong(
                format!("{}: {e}", data.display()),
                "name a folder that can be made with --data, or run this as its owner".into(),
            ));
        }
    }
    let m = std::fs::metadata(data).map_err(failed)?;
    if !m.is_dir() {
        return Ok(Stand::Wrong(
            format!("{} is no folder", data.display()),
            "name another with --data".into(),
        ));
    }
    let own = rustix::process::geteuid().as_raw();
    if own != 0 && own != m.uid() {
        return Ok(Stand::Wrong(
            format!("{} is user {}'s, and this is user {own}", data.display(), m.uid()),
            format!("run this as user {} (sudo -u), so that Matron can read what is made", m.uid()),
        ));
    }
    Ok(Stand::Done(format!("{} (user {}, mode {:o})", data.display(), m.uid(), m.mode() & 0o777)))
}

fn push_certificate(walk: &mut Walk) -> Result<Stand> {
    let folder = Folder::of(&walk.data)?;
    if let (Some(file), false) = (walk.answers.push_certificate.clone(), walk.check)
        && !push::is_current(&folder, &file)
    {
        let import = push::Import::of(walk.place.clone(), file, walk.answers.push_key.clone());
        if let Err(e) = push::import(&import) {
            return Ok(Stand::Wrong(e.to_string(), String::new()));
        }
    }
    if let Some((topic, until_ms)) = push::current(&folder) {
        if !walk.check && walk.file.text("push.certificate").is_none_or(|p| Path::new(&p) == folder.current())
        {
            let path = folder.current().display().to_string();
            walk.file.set("push.topic", topic.clone())?;
            walk.file.set("push.certificate", path.clone())?;
            walk.file.set("push.key", path)?;
        }
        let left = push::in_days(crate::certificate::days_left(until_ms, walk.now_ms));
        let text = format!("{topic}, until {} ({left})", show::time(until_ms));
        return Ok(match push::ending(until_ms, walk.now_ms) {
            push::Ending::Far => Stand::Done(text),
            _ => Stand::Open(
                text,
                "renew it: matron push csr, then 'Renew' under the same Apple ID, then matron push import"
                    .into(),
            ),
        });
    }
    if let Some(other) = walk.file.text("push.certificate") {
        return Ok(Stand::Done(format!("the configuration names {other}; 'matron doctor' looks at it")));
    }
    if walk.check {
        return Ok(Stand::Open("there is none yet".into(), "matron push csr begins".into()));
    }
    push::prepare(&folder, "Matron push", false)?;
    let data = walk.place.data.display();
    Ok(Stand::Open(
        format!("asked for in {}", folder.next_csr().display()),
        format!(
            "have it signed by an MDM vendor: 'matron push csr --data {data}' says how\n\
             upload the signed request at {}\n\
             then: matron setup … --push-certificate DOWNLOADED.pem",
            push::PORTAL
        ),
    ))
}

fn configuration(walk: &mut Walk) -> Result<Stand> {
    let path = walk.file.path.display().to_string();
    if walk.file.changed.is_empty() {
        return Ok(match (walk.file.is_new, crate::config::Config::read(&walk.place)) {
            (true, _) => Stand::Open(format!("{path} is not there yet"), String::new()),
            (false, Ok(_)) => Stand::Done(format!("{path}, nothing to change")),
            (false, Err(e)) => {
                Stand::Wrong(format!("{e:#}"), "correct it; 'matron config check' looks at it alone".into())
            }
        });
    }
    if let Err(e) = walk.file.write(&walk.place) {
        return Ok(Stand::Wrong(e.to_string(), String::new()));
    }
    let told: Vec<String> = walk
        .file
        .changed
        .iter()
        .map(|c| match &c.before {
            Some(before) => format!("{} from '{before}' to '{}'", c.key, c.now),
            None => c.key.to_owned(),
        })
        .collect();
    walk.file.is_new = false;
    Ok(Stand::Done(format!("{path}: {} written, the rest as it was", told.join(", "))))
}
