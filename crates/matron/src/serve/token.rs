//! The token's process in a running house. When it ends, the vault ends with it, since its stream leads nowhere; both
//! begin anew. Rooms that have to be started meanwhile wait. The others go on.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::Result;
use rpc::hsm::{Make, ToHsm, ToSupervisor};

use super::{Event, HUNG, LONGEST_PAUSE, Supervisor, shown};
use crate::pkcs11::{NotOpened, Process};
use crate::rooms::Room;
use crate::root_key::Unlocking;

/// Before it is opened again the first time.
const PAUSE: Duration = Duration::from_millis(500);

/// What is known of the token's process.
#[derive(Default)]
pub(super) struct Watched {
    /// Which one of them it is.
    life: u64,
    answered: Option<Instant>,
    /// Rooms that are started once it is there.
    waiting: BTreeSet<&'static str>,
    /// Why it is away, as it was said last.
    told: Option<String>,
}

impl Supervisor {
    /// Hears what it says from now on.
    pub(super) fn watch_token(&mut self) -> Result<()> {
        let Unlocking::Token(Some(process)) = &self.unlocking else { return Ok(()) };
        self.token.life += 1;
        self.token.answered = Some(Instant::now());
        let (life, control, events) = (self.token.life, process.control.try_clone()?, self.events.clone());
        std::thread::Builder::new().name("from the token".into()).spawn(move || {
            loop {
                let said = control.receive::<ToSupervisor>().ok().flatten().map(|(said, _)| said);
                let ended = said.is_none();
                if events.send(Event::TokenSaid(life, said)).is_err() || ended {
                    return;
                }
            }
        })?;
        Ok(())
    }

    pub(super) fn ping_token(&mut self) {
        let Unlocking::Token(Some(process)) = &mut self.unlocking else { return };
        let _ = process.control.send(&ToHsm::Ping, &[]);
        if self.token.answered.is_some_and(|at| at.elapsed() > HUNG) {
            process.end();
            self.token.answered = None;
            self.warn(&format!("the token has not answered for {} s; its process is ended", HUNG.as_secs()));
        }
    }

    pub(super) fn token_said(&mut self, life: u64, said: Option<ToSupervisor>) {
        if life != self.token.life {
            return;
        }
        match said {
            Some(ToSupervisor::Alive) => self.token.answered = Some(Instant::now()),
            Some(ToSupervisor::Failed { why, .. }) => self.warn(&shown(&why)),
            Some(ToSupervisor::Ready | ToSupervisor::Making) => {}
            None => {
                self.unlocking = Unlocking::Token(None);
                self.warn("the token's process ended; the vault ends with it, and both are started again");
                if let Some(stop) = self.living.get_mut(&Room::Vault).and_then(|l| l.stop.take()) {
                    let _ = stop.send(());
                }
                self.open_token_after(PAUSE);
            }
        }
    }

    fn open_token_after(&self, pause: Duration) {
        let (config, data, events) = (self.config.clone(), self.data(), self.events.clone());
        // A thread of its own: a module may take its time.
        std::thread::spawn(move || {
            std::thread::sleep(pause);
            let _ = events.send(Event::TokenOpened(Process::start(&config, &data, Make::No)));
        });
    }

    /// Starts what waited for it.
    pub(super) fn token_opened(&mut self, opened: Result<Process>) -> Result<()> {
        match opened {
            Ok(process) => {
                self.unlocking = Unlocking::Token(Some(process));
                self.watch_token()?;
                self.token.told = None;
                self.warn("the token is open again");
                for room in Room::ALL {
                    if self.token.waiting.remove(room.name()) {
                        let _ = self.events.send(Event::StartAgain(room));
                    }
                }
                Ok(())
            }
            // Whoever started this house has to look; what restarts it finds the note, and does not try either.
            Err(e) if e.downcast_ref::<NotOpened>().is_some_and(|e| e.pin_refused) => Err(e),
            Err(e) => {
                let why = shown(&format!("{e:#}"));
                // Each reason once, not each try.
                if self.token.told.as_ref() != Some(&why) {
                    self.warn(&format!("{why}; trying again"));
                    self.token.told = Some(why);
                }
                self.open_token_after(LONGEST_PAUSE);
                Ok(())
            }
        }
    }

    /// Whether this room can't be started before the token is open; it is then.
    pub(super) fn waits_for_token(&mut self, room: Room) -> bool {
        let waits = matches!(self.unlocking, Unlocking::Token(None)) && room != Room::Core;
        if waits {
            self.token.waiting.insert(room.name());
        }
        waits
    }
}
