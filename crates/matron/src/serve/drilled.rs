//! The one way in which a room can be another program: a drill on a house in a folder that the drill itself made.
//! No configuration, argument or variable leads here; whoever calls shows a [`ScratchFolder`], and only
//! `matron drill` makes one.

use std::fs::File;
use std::io::PipeReader;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc as std_mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rpc::hsm::Make;
use tokio::sync::mpsc;

use super::{Event, allow_connections, first_start, hold, listeners, lock, supervise, users};
use crate::Place;
use crate::config::Config;
use crate::drill::ScratchFolder;
use crate::rooms::Room;
use crate::root_key::Unlocking;

/// How long the rooms may take to be ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// What stands in a room's place, and where its standard output leads.
pub(crate) struct Taken {
    pub(super) program: PathBuf,
    reports: OwnedFd,
}

impl Taken {
    pub(super) fn standard_output(&self) -> Result<Stdio> {
        Ok(Stdio::from(self.reports.try_clone()?))
    }
}

/// A house of a drill's: its supervisor runs on a thread of this process.
pub(crate) struct Drilled {
    pub(crate) config: Config,
    pub(crate) phones: SocketAddr,
    pub(crate) administrators: SocketAddr,
    data: PathBuf,
    events: mpsc::UnboundedSender<Event>,
    thread: Option<JoinHandle<Result<()>>>,
    lock: Option<File>,
}

/// Makes a house's keys in the drill's folder, for a server at this address; gives its configuration and the first
/// administrator's token.
pub(crate) fn make(folder: &ScratchFolder, set: Vec<String>) -> Result<(Config, String)> {
    let data = folder.data();
    std::fs::create_dir_all(&data).with_context(|| format!("the data folder {}", data.display()))?;
    let config = Config::read(&Place { data: data.clone(), config: None, set })?;
    let mut first = String::new();
    first_start::install(&config, &data, |token| first = token.to_owned())?;
    Ok((config, first))
}

impl Drilled {
    /// Starts the house in the drill's folder, and waits until its rooms are ready.
    pub(crate) fn start(
        folder: &ScratchFolder,
        set: Vec<String>,
        phones: TcpListener,
        administrators: TcpListener,
    ) -> Result<Self> {
        let data = folder.data();
        let config = Config::read(&Place { data: data.clone(), config: None, set })?;
        sandbox::keep_descriptors();
        let lock = lock(&data)?;
        hold(&config)?;
        users::give(&config, &data)?;
        allow_connections(config.phones.connections);
        let (at, admins_at) = (phones.local_addr()?, administrators.local_addr()?);
        let (tx, rx) = mpsc::unbounded_channel();
        let (ready, is_ready) = std_mpsc::channel();
        let unlocking = Unlocking::open(&config, &data, Make::No)?;
        let (events, house) = (tx.clone(), (config.clone(), unlocking, data.join("rooms")));
        let thread = std::thread::Builder::new().name("supervisor".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let listeners = listeners(phones, administrators, None);
            runtime.block_on(supervise(house, listeners, (tx, rx), Some(ready)))
        })?;
        let (thread, lock) = (Some(thread), Some(lock));
        let mut house = Self { config, phones: at, administrators: admins_at, data, events, thread, lock };
        if is_ready.recv_timeout(PATIENCE).is_err() {
            let why = house.stop().err().unwrap_or_else(|| anyhow!("its rooms were not ready in time"));
            return Err(why.context("the drill's house"));
        }
        Ok(house)
    }

    /// Its data folder.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Puts a program into a room's place, and gives what it says on standard output.
    pub(crate) fn take(&self, room: Room, program: &Path) -> Result<PipeReader> {
        let (reports, into) = std::io::pipe()?;
        let taken = Taken { program: program.to_owned(), reports: into.into() };
        self.say(Event::Take(room, Some(taken)))?;
        Ok(reports)
    }

    /// Gives a room back.
    pub(crate) fn give_back(&self, room: Room) -> Result<()> {
        self.say(Event::Take(room, None))
    }

    fn say(&self, event: Event) -> Result<()> {
        self.events.send(event).ok().context("the drill's house has ended")
    }

    /// Ends it, and waits for its rooms.
    pub(crate) fn stop(&mut self) -> Result<()> {
        let _ = self.events.send(Event::End);
        let ended = self.thread.take().map(JoinHandle::join);
        self.lock = None;
        match ended {
            Some(Ok(done)) => done,
            Some(Err(_)) => bail!("the supervisor's thread died"),
            None => Ok(()),
        }
    }
}

impl Drop for Drilled {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}
