//! A backup while the house runs: asked for by a file in the data folder, made room by room beside the
//! supervisor's own work.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use backup::{Made, Request};
use rpc::control::{ToRoom, ToSupervisor};

use super::{Event, Supervisor, shown};
use crate::backups::{Name, REQUEST_FILE, Wanted, backups_dir, failed_file, made, make};
use crate::rooms::Room;

/// How long one room may take for its part.
const LONGEST_PART: Duration = Duration::from_secs(4 * 3600);

/// What came of a room's part.
type Answer = (Room, Result<Made>);

/// A backup that is being made.
pub(super) struct UnderWay {
    answers: Sender<Answer>,
    /// The room that writes its part now.
    asked: Option<Room>,
}

impl Supervisor {
    pub(super) fn data(&self) -> std::path::PathBuf {
        self.rooms_dir.parent().unwrap_or(&self.rooms_dir).to_owned()
    }

    /// Takes up a request, if there is one and no backup is under way.
    pub(super) fn look_for_a_backup_request(&mut self) {
        let path = self.data().join(REQUEST_FILE);
        if self.backup.is_some() || !path.exists() {
            return;
        }
        let text = fs::read(&path).unwrap_or_default();
        let _ = fs::remove_file(&path);
        let wanted = serde_json::from_slice::<Wanted>(&text).ok().and_then(|w| Name::read(&w.name));
        let Some(name) = wanted else {
            self.warn("a request for a backup can't be read; it was removed");
            return;
        };
        let (answers, answered) = channel();
        self.backup = Some(UnderWay { answers, asked: None });
        let (config, events, dir) = (self.config.clone(), self.events.clone(), backups_dir(&self.data()));
        std::thread::spawn(move || {
            let mut ask = |room: Room, request: &Request, out: File| {
                let asked = Event::AskPart(room, serde_json::to_value(request)?, out);
                events.send(asked).map_err(|_| anyhow!("Matron stops"))?;
                wait(room, &answered)
            };
            let done = make(&config, &dir, &name, &mut ask).map(|_| ());
            let _ = events.send(Event::BackupEnded(name, done));
        });
    }

    /// Hands a room the file for its part.
    pub(super) fn ask_part(&mut self, room: Room, request: serde_json::Value, out: File) {
        let Some(under_way) = self.backup.as_mut() else { return };
        under_way.asked = Some(room);
        let sent = self.living.get(&room).filter(|l| l.ready).map(|l| {
            l.may_say.fetch_add(1, Ordering::Relaxed);
            l.control.send(&ToRoom::BackUp { request }, &[OwnedFd::from(out)])
        });
        if !matches!(sent, Some(Ok(()))) {
            self.part_answered(room, Err(anyhow!("it is not there at this moment; try again")));
        }
    }

    /// A room's answer, or its end.
    pub(super) fn part_answered(&mut self, room: Room, answer: Result<Made>) {
        if let Some(under_way) = self.backup.as_mut().filter(|u| u.asked == Some(room)) {
            under_way.asked = None;
            let _ = under_way.answers.send((room, answer));
        }
    }

    pub(super) fn part_said(&mut self, room: Room, said: ToSupervisor) {
        self.part_answered(room, made(said));
    }

    pub(super) fn backup_ended(&mut self, name: &Name, done: Result<()>) {
        self.backup = None;
        match done {
            Ok(()) if self.quiet => {}
            Ok(()) => println!("the backup {} was made", name.as_str()),
            Err(e) => {
                let why = shown(&format!("{e:#}"));
                self.warn(&format!("the backup {} could not be made: {why}", name.as_str()));
                let told = failed_file(&self.data(), name);
                let dir = backups_dir(&self.data());
                let _ = fs::create_dir_all(&dir).and_then(|()| fs::write(told, why));
            }
        }
    }
}

fn wait(room: Room, answered: &Receiver<Answer>) -> Result<Made> {
    match answered.recv_timeout(LONGEST_PART) {
        Ok((from, answer)) if from == room => answer,
        Ok(_) => bail!("another room answered in its place; see the lines above, and make the backup again"),
        Err(RecvTimeoutError::Timeout) => bail!("it took longer than {} h", LONGEST_PART.as_secs() / 3600),
        Err(RecvTimeoutError::Disconnected) => bail!("Matron stops"),
    }
}
