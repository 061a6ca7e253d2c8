//! One real room of an installed house, held by the kernel as ever, with the test in the place of the supervisor and
//! of every neighbour: what a taken neighbour could say to it.

use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Child;
use std::sync::mpsc;
use std::time::Duration;

use rpc::control::{ControlEnd, ToRoom, ToSupervisor, neighbours};

use crate::house::{House, HouseError};
use crate::recorded::start_room;

/// How long the room may take to answer the supervisor.
const PATIENCE: Duration = Duration::from_secs(20);

/// The room.
#[derive(Debug)]
pub struct Alone {
    child: Child,
    control: ControlEnd,
    said: mpsc::Receiver<ToSupervisor>,
}

impl Alone {
    /// Starts `room` of a house that is stopped, and waits until it serves.
    ///
    /// # Errors
    /// [`HouseError`] when it can't start.
    pub fn start(
        binary: &Path,
        house: &House,
        room: &str,
        listener: Option<(&str, &TcpListener)>,
    ) -> Result<Self, HouseError> {
        let log = house.data().join("log");
        let base_url = house.base_url();
        let (child, control) = start_room(binary, &house.data(), room, &base_url, listener, "warn", &log)?;
        let (tx, said) = mpsc::channel();
        let listening = control.try_clone()?;
        std::thread::spawn(move || {
            while let Ok(Some((message, _))) = listening.receive::<ToSupervisor>() {
                if tx.send(message).is_err() {
                    return;
                }
            }
        });
        let alone = Self { child, control, said };
        match alone.said.recv_timeout(PATIENCE) {
            Ok(ToSupervisor::Ready) => Ok(alone),
            other => Err(HouseError::NotReady(format!("{room}: {other:?}"))),
        }
    }

    /// Hands the room a fresh pair with this neighbour; the test has the neighbour's end.
    ///
    /// # Errors
    /// The host's.
    pub fn meet(&self, neighbour: &str) -> std::io::Result<UnixStream> {
        let (ours, theirs) = neighbours()?;
        self.control.send(&ToRoom::Peer { room: neighbour.into() }, &[theirs])?;
        Ok(UnixStream::from(ours))
    }

    /// Hands the vault the end of a pipe for alarms that it writes; the test has the one that the courier reads.
    ///
    /// # Errors
    /// The host's.
    pub fn alarms(&self) -> std::io::Result<std::os::fd::OwnedFd> {
        let (read, write) = rpc::alarm::pipe()?;
        self.control.send(&ToRoom::Alarms, &[write])?;
        Ok(read)
    }

    /// Whether it answers the supervisor, as it does every two seconds in a house.
    #[must_use]
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
            && self.control.send(&ToRoom::Ping, &[]).is_ok()
            && self.says_so()
    }

    /// It may have said other things before: the vault says which rooms' keys it waits for.
    fn says_so(&self) -> bool {
        while let Ok(said) = self.said.recv_timeout(PATIENCE) {
            if matches!(said, ToSupervisor::Alive) {
                return true;
            }
        }
        false
    }

    /// The most memory it ever had, in bytes; 0 when the host does not say.
    #[must_use]
    pub fn most_memory_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
        line.and_then(|l| l.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0) * 1024
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.control.send(&ToRoom::Stop, &[]);
        let _ = self.child.wait();
    }
}
