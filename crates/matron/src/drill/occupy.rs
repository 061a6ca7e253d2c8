//! A room in the intruder's hands: the program in its place, what it says, and whether the kernel holds it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use model::{EnrolmentId, TimeMs};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::mpsc;

use super::truth::Truth;
use crate::rooms::Room;
use crate::serve::drilled::Drilled;

/// The file that tells the intruder what it may want to know, in the room's folder.
const TOLD_FILE: &str = "intruder.told";
/// How long an intruder may take beyond what it was told to wait.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long it may take to try what the kernel ends it for, a life each.
const LAST_ACTS_PATIENCE: Duration = Duration::from_secs(30);

/// How one kind of attempt went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Tally {
    pub(crate) tried: u64,
    pub(crate) got: u64,
    /// Of those that were refused, by whom.
    pub(crate) refused_by: BTreeMap<String, u64>,
}

/// What the intruder says.
#[derive(Debug, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
enum Said {
    Attempt { attempt: String, got: Option<bool>, by: String },
    Value { of: Option<EnrolmentId>, value: String },
    Passing { of: EnrolmentId, value: String },
    PushToken { of: EnrolmentId, value: String },
    Minted { of: String },
    ForgeryRefused { at_ms: TimeMs },
    Done,
    Over,
}

/// What came of an occupation.
#[derive(Debug, Default)]
pub(crate) struct Loot {
    pub(crate) attempts: BTreeMap<String, Tally>,
    values: Vec<(Option<EnrolmentId>, String)>,
    /// The phones that speak to the room meanwhile: of no other is it believed that it said something.
    visiting: HashSet<EnrolmentId>,
    /// Of those, the ones that said something true to it.
    pub(crate) passing: HashSet<EnrolmentId>,
    pub(crate) push_tokens: BTreeSet<EnrolmentId>,
    pub(crate) minted: BTreeSet<String>,
    pub(crate) forgery_at_ms: Option<TimeMs>,
    /// It tried all that it survives.
    done: bool,
    /// And what it does not.
    pub(crate) over: bool,
    /// Lines that were not what an intruder says.
    pub(crate) unreadable: u64,
}

impl Loot {
    /// Takes in one line.
    pub(crate) fn take(&mut self, line: &str, truth: &Truth) {
        match serde_json::from_str(line) {
            Ok(Said::Attempt { attempt, got, by }) => {
                let tally = self.attempts.entry(attempt).or_default();
                tally.tried += 1;
                if got == Some(true) {
                    tally.got += 1;
                } else {
                    *tally.refused_by.entry(by).or_default() += 1;
                }
            }
            Ok(Said::Value { of, value }) => self.values.push((of, value)),
            Ok(Said::Passing { of, value }) => {
                if self.visiting.contains(&of) && truth.is_said_by(&of, &value) {
                    self.passing.insert(of);
                }
            }
            Ok(Said::PushToken { of, value }) => {
                if truth.is_token_of(&of, &value) {
                    self.push_tokens.insert(of);
                }
            }
            Ok(Said::Minted { of }) => {
                self.minted.insert(of);
            }
            Ok(Said::ForgeryRefused { at_ms }) => {
                self.forgery_at_ms.get_or_insert(at_ms);
            }
            Ok(Said::Done) => self.done = true,
            Ok(Said::Over) => self.over = true,
            Err(_) => self.unreadable += 1,
        }
    }

    /// Whose records it shows something true of.
    pub(crate) fn records(&self, truth: &Truth) -> BTreeSet<EnrolmentId> {
        self.values.iter().flat_map(|(of, value)| truth.shown(*of, value, &self.passing)).collect()
    }
}

/// What the intruder is told beside the house's own.
#[derive(Debug, Clone)]
pub(crate) struct Tip {
    pub(crate) enrolments: Vec<EnrolmentId>,
    pub(crate) guesses: Vec<String>,
    pub(crate) secrets: Vec<std::path::PathBuf>,
    pub(crate) tcp_port: u16,
    pub(crate) udp_port: u16,
    pub(crate) unix_path: std::path::PathBuf,
    pub(crate) canary: std::path::PathBuf,
    pub(crate) sign_ins: usize,
    pub(crate) patience_s: u64,
}

/// A room that is held.
pub(crate) struct Occupation<'a> {
    house: &'a Drilled,
    room: Room,
    lines: mpsc::UnboundedReceiver<String>,
    pub(crate) loot: Loot,
    /// What is wrong with how the kernel holds the intruder.
    pub(crate) unheld: Vec<String>,
    /// The other rooms' processes before.
    neighbours: Vec<u32>,
}

impl<'a> Occupation<'a> {
    /// Puts the intruder into the room.
    pub(crate) fn begin(
        house: &'a Drilled,
        room: Room,
        intruder: &Path,
        tip: &Tip,
        visiting: HashSet<EnrolmentId>,
    ) -> Result<Self> {
        let folder = house.data().join("rooms").join(room.name());
        let is_this = |words: &[String]| words.get(2).is_some_and(|w| w == room.name());
        let others = processes().into_iter().filter(|(_, words)| !is_this(words)).map(|(pid, _)| pid);
        let neighbours: Vec<u32> = others.collect();
        let told = json!({
            "data": house.data(),
            "processes": neighbours.iter().copied().chain([std::process::id()]).collect::<Vec<_>>(),
            "enrolments": tip.enrolments,
            "guesses": tip.guesses,
            "secrets": tip.secrets,
            "tcp_port": tip.tcp_port,
            "udp_port": tip.udp_port,
            "unix_path": tip.unix_path,
            "canary": tip.canary,
            "sign_ins": tip.sign_ins,
            "patience_s": tip.patience_s,
        });
        clean(&folder);
        std::fs::write(folder.join(TOLD_FILE), told.to_string())?;
        let pipe = house.take(room, intruder)?;
        let (to, lines) = mpsc::unbounded_channel();
        std::thread::Builder::new()
            .name(format!("hears the {}", room.name()))
            .spawn(move || listen(pipe, &to))?;
        Ok(Self {
            house,
            room,
            lines,
            loot: Loot { visiting, ..Loot::default() },
            unheld: vec!["the intruder was never seen".into()],
            neighbours,
        })
    }

    /// Hears it until it says that it is done.
    pub(crate) async fn hear(&mut self, truth: &Truth, patience_s: u64) {
        let until = tokio::time::Instant::now() + PATIENCE + Duration::from_secs(patience_s);
        while !self.loot.done {
            match tokio::time::timeout_at(until, self.lines.recv()).await {
                Ok(Some(line)) => self.loot.take(&line, truth),
                _ => return,
            }
            if !self.unheld.is_empty() {
                self.unheld = self.faults();
            }
        }
    }

    /// Hears what it does last, which costs it its life.
    pub(crate) async fn hear_its_end(&mut self, truth: &Truth) {
        let until = tokio::time::Instant::now() + LAST_ACTS_PATIENCE;
        while !self.loot.over {
            match tokio::time::timeout_at(until, self.lines.recv()).await {
                Ok(Some(line)) => self.loot.take(&line, truth),
                _ => return,
            }
        }
    }

    /// Looks from outside, at what /proc shows of the program in the room's place.
    fn faults(&self) -> Vec<String> {
        let found = processes()
            .into_iter()
            .find(|(_, words)| words.get(1..3) == Some(&["room".to_owned(), self.room.name().to_owned()]));
        let Some(status) =
            found.and_then(|(pid, _)| std::fs::read_to_string(format!("/proc/{pid}/status")).ok())
        else {
            return vec!["the intruder was never seen".into()];
        };
        let field =
            |name: &str| status.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
        let mut out = Vec::new();
        let seccomp = !self.house.config.sandbox.danger_without.contains(&sandbox::Layer::Seccomp);
        if seccomp && field("Seccomp") != Some("2") {
            out.push("no filter on its system calls".to_owned());
        }
        if field("NoNewPrivs") != Some("1") {
            out.push("what it starts could gain privileges".to_owned());
        }
        if field("CapEff").is_none_or(|c| c.bytes().any(|b| b != b'0')) {
            out.push("it has capabilities".to_owned());
        }
        out
    }

    /// Gives the room back to itself, once it was looked through.
    pub(crate) fn end(self, truth: &Truth) -> Result<(Loot, BTreeSet<EnrolmentId>, Vec<String>)> {
        let folder = self.house.data().join("rooms").join(self.room.name());
        // What it was told to guess at are numbers that phones have.
        std::fs::remove_file(folder.join(TOLD_FILE))?;
        let (in_files, _) = truth.in_files(&folder)?;
        let living: Vec<u32> = processes().into_iter().map(|(pid, _)| pid).collect();
        let mut unheld = self.unheld;
        let died = self.neighbours.iter().filter(|pid| !living.contains(pid)).count();
        if died > 0 {
            unheld.push(format!("{died} neighbours of the intruder's died"));
        }
        self.house.give_back(self.room)?;
        clean(&folder);
        if self.loot.unreadable > 0 {
            bail!(
                "the intruder in the {} said {} lines that can't be read",
                self.room.name(),
                self.loot.unreadable
            );
        }
        let mut records = self.loot.records(truth);
        records.extend(in_files);
        Ok((self.loot, records, unheld))
    }
}

/// Removes what an intruder left.
fn clean(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("intruder.") {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn listen(pipe: impl Read, to: &mpsc::UnboundedSender<String>) {
    for line in BufReader::new(pipe).lines().map_while(Result::ok) {
        if to.send(line).is_err() {
            return;
        }
    }
}

/// This process's children that live, with their command lines. (One that has ended and was not waited for has none.)
pub(crate) fn processes() -> Vec<(u32, Vec<String>)> {
    let parent = std::process::id().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let ours = stat.rsplit(')').next().and_then(|r| r.split_whitespace().nth(1)) == Some(parent.as_str());
        let Ok(line) = std::fs::read_to_string(entry.path().join("cmdline")) else { continue };
        if ours && !line.is_empty() {
            found.push((pid, line.split('\0').map(str::to_owned).collect()));
        }
    }
    found
}

/// A program without a room, as a thief runs it: what it says of a folder.
pub(crate) async fn rob(intruder: &Path, folder: &Path, truth: &Truth) -> Result<Loot> {
    let output = tokio::process::Command::new(intruder)
        .arg("disk")
        .arg(folder)
        .env_clear()
        .stdin(std::process::Stdio::null())
        .stderr(std::process::Stdio::inherit())
        .output()
        .await
        .context("the thief")?;
    let mut loot = Loot::default();
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().for_each(|line| loot.take(line, truth));
    if !output.status.success() {
        bail!("the thief did not come to an end");
    }
    Ok(loot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_tallied_by_who_refused_them() {
        let (mut loot, truth) = (Loot::default(), Truth::default());
        for line in [
            r#"{"say":"attempt","attempt":"a","got":false,"by":"the kernel"}"#,
            r#"{"say":"attempt","attempt":"a","got":true,"by":"nobody"}"#,
            r#"{"say":"attempt","attempt":"b","got":null,"by":"the phones tell"}"#,
            r#"{"say":"forgery_refused","at_ms":5}"#,
            r#"{"say":"forgery_refused","at_ms":9}"#,
            r#"{"say":"done"}"#,
            "no JSON",
        ] {
            loot.take(line, &truth);
        }
        let a = &loot.attempts["a"];
        assert_eq!((a.tried, a.got, a.refused_by["the kernel"]), (2, 1, 1));
        assert_eq!(
            (loot.attempts["b"].tried, loot.forgery_at_ms, loot.done, loot.unreadable),
            (1, Some(5), true, 1)
        );
    }
}
