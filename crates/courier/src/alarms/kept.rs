//! Alarms that are not delivered to everyone yet: one file in the courier's folder, written whole at each change.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rpc::alarm::Alarm;
use rpc::trust::write_file;
use serde::{Deserialize, Serialize};

const FILE: &str = "alarms.json";
/// The most that are kept. The oldest stay: they tell how it began.
const MOST: usize = 1_000;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    number: u64,
    /// The alarm's frame in base64.
    frame: String,
    /// To whom it still has to go.
    left: Vec<String>,
}

impl Entry {
    fn alarm(&self) -> Option<Alarm> {
        Alarm::from_frame(&STANDARD.decode(&self.frame).ok()?)
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Content {
    next: u64,
    /// Lost for want of room and not yet said.
    lost: u64,
    entries: VecDeque<Entry>,
}

/// What is kept.
#[derive(Debug)]
pub(super) struct Kept {
    dir: PathBuf,
    content: Content,
    /// Lost since the start.
    pub(super) lost: u64,
}

impl Kept {
    /// Reads what is there; what is left for nobody of `to` is let go.
    pub(super) fn open(dir: &Path, to: &[&str]) -> Self {
        let content = match std::fs::read(dir.join(FILE)) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::error!(%error, "the kept alarms can't be read; they are lost, the ledger has what happened");
                Content { lost: 1, ..Content::default() }
            }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Content::default(),
            Err(error) => {
                tracing::error!(%error, "the kept alarms can't be read");
                Content { lost: 1, ..Content::default() }
            }
        };
        let mut kept = Self { dir: dir.to_owned(), content, lost: 0 };
        for entry in &mut kept.content.entries {
            entry.left.retain(|name| to.contains(&name.as_str()));
        }
        kept.content.entries.retain(|e| !e.left.is_empty() && e.alarm().is_some());
        kept
    }

    fn write(&self) {
        let text = serde_json::to_vec(&self.content).unwrap_or_default();
        if let Err(error) = write_file(&self.dir, FILE, &text, true) {
            // They are sent from memory all the same.
            tracing::error!(%error, "the alarms can't be kept: the courier's folder can't be written");
        }
    }

    /// Takes one in, durably.
    pub(super) fn put(&mut self, mut alarm: Alarm, to: &[&str]) {
        self.lost = self.lost.saturating_add(alarm.lost_before);
        if self.content.entries.len() >= MOST {
            let more = alarm.lost_before.saturating_add(1);
            self.content.lost = self.content.lost.saturating_add(more);
            self.lost = self.lost.saturating_add(1);
            return;
        }
        alarm.lost_before = alarm.lost_before.saturating_add(std::mem::take(&mut self.content.lost));
        let number = self.content.next;
        self.content.next += 1;
        let left = to.iter().map(|n| (*n).to_owned()).collect();
        self.content.entries.push_back(Entry { number, frame: STANDARD.encode(alarm.to_frame()), left });
        self.write();
    }

    /// The oldest that has to go to `name`.
    pub(super) fn next(&self, name: &str) -> Option<(u64, Alarm)> {
        let of = |e: &&Entry| e.left.iter().any(|l| l == name);
        let entry = self.content.entries.iter().find(of)?;
        Some((entry.number, entry.alarm()?))
    }

    /// It is with `name`.
    pub(super) fn delivered(&mut self, number: u64, name: &str) {
        for entry in self.content.entries.iter_mut().filter(|e| e.number == number) {
            entry.left.retain(|l| l != name);
        }
        self.content.entries.retain(|e| !e.left.is_empty());
        self.write();
    }

    /// How many have to go to `name`.
    pub(super) fn waiting(&self, name: &str) -> u64 {
        let of = |e: &&Entry| e.left.iter().any(|l| l == name);
        u64::try_from(self.content.entries.iter().filter(of).count()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rpc::alarm::AlarmKind;

    fn alarm(id: u8) -> Alarm {
        Alarm::new([id; 16], AlarmKind::PersonAdded, 5)
    }

    #[test]
    fn an_alarm_is_kept_over_a_restart_until_each_destination_has_it() {
        let dir = tempfile::TempDir::new().unwrap();
        let to = ["webhook", "syslog"];
        let mut kept = Kept::open(dir.path(), &to);
        kept.put(alarm(1), &to);
        kept.put(alarm(2), &to);
        let (first, _) = kept.next("webhook").unwrap();
        kept.delivered(first, "webhook");
        drop(kept);
        let mut kept = Kept::open(dir.path(), &to);
        assert_eq!(kept.next("webhook").unwrap().1, alarm(2));
        assert_eq!(kept.next("syslog").unwrap().1, alarm(1));
        assert_eq!((kept.waiting("webhook"), kept.waiting("syslog")), (1, 2));
        kept.delivered(first, "syslog");
        drop(kept);
        // A destination that is no longer configured holds nothing back.
        let kept = Kept::open(dir.path(), &["syslog"]);
        assert_eq!((kept.waiting("webhook"), kept.waiting("syslog")), (0, 1));
    }

    #[test]
    fn a_full_list_keeps_the_oldest_and_says_with_the_next_how_many_are_lost() {
        let dir = tempfile::TempDir::new().unwrap();
        let mut kept = Kept::open(dir.path(), &["syslog"]);
        kept.content.entries = (0..MOST)
            .map(|n| Entry {
                number: n as u64,
                frame: STANDARD.encode(alarm(1).to_frame()),
                left: vec!["syslog".into()],
            })
            .collect();
        kept.content.next = MOST as u64;
        for _ in 0..7 {
            kept.put(alarm(2), &["syslog"]);
        }
        assert_eq!((kept.waiting("syslog"), kept.lost), (MOST as u64, 7));
        kept.delivered(0, "syslog");
        kept.put(alarm(3), &["syslog"]);
        assert_eq!(kept.content.entries.back().unwrap().alarm().unwrap().lost_before, 7);
    }

    #[test]
    fn a_damaged_file_is_no_reason_not_to_start() {
        let dir = tempfile::TempDir::new().unwrap();
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        let mut kept = Kept::open(dir.path(), &["syslog"]);
        kept.put(alarm(1), &["syslog"]);
        assert_eq!(kept.next("syslog").unwrap().1.lost_before, 1);
    }
}
