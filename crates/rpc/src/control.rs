//! The control pair: how the supervisor speaks to a room, and hands it descriptors.
//!
//! It is a `SOCK_SEQPACKET` socket pair; the room finds its end as standard input. Each packet is
//! one JSON message with the descriptors that belong to it (SCM_RIGHTS, unix(7)). When the
//! supervisor dies, the room reads the end of the stream and stops.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use model::KeyName;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::{Deserialize, Serialize};

/// The largest control message in bytes; a room's configuration is the largest of them.
const LARGEST_BYTES: usize = 64 * 1024;

/// What the supervisor says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum ToRoom {
    /// The first message: the room's part of the configuration. Where the root key comes from outside the disk, a
    /// descriptor of it comes too, see [`crate::at_rest`]; and a second one for the vault where it is on a token, see
    /// [`crate::hsm`].
    Start {
        /// As the room's `Config` type reads it.
        config: serde_json::Value,
    },
    /// A fresh pair with this neighbour comes with the message (one descriptor).
    Peer {
        /// Which neighbour.
        room: String,
    },
    /// A bound listener comes with the message (one descriptor).
    Listener {
        /// `phones` or `administrators`.
        name: String,
    },
    /// The room's end of the pipe for alarms comes with the message (one descriptor). See [`crate::alarm`].
    Alarms,
    /// Answer with [`ToSupervisor::Alive`], from where the room does its work.
    Ping,
    /// Write your part of a backup into the file that comes with the message (one descriptor).
    BackUp {
        /// `backup::Request`: to whom, and what is there already.
        request: serde_json::Value,
    },
    /// Make a key of yours anew and answer with [`ToSupervisor::KeyMade`]. Asked again, the answer is the same.
    MakeKey {
        /// Which.
        key: KeyName,
        /// The order's, by which the vault knows the answer: the epoch that it began.
        number: u32,
    },
    /// To the vault: what a room made.
    KeyMade {
        /// Which.
        key: KeyName,
        /// As it was asked.
        number: u32,
        /// The public half.
        public: Vec<u8>,
    },
    /// Finish what is under way, and exit.
    Stop,
}

/// What a room says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum ToSupervisor {
    /// It serves.
    Ready,
    /// It can't start or go on, and why: shown to the operator.
    Failed {
        /// What happened, to which thing, what to do.
        why: String,
    },
    /// The answer to [`ToRoom::Ping`].
    Alive,
    /// The answer to [`ToRoom::BackUp`].
    BackedUp {
        /// `backup::Made`; null when it was not.
        made: serde_json::Value,
        /// Why not; empty when it was.
        refused: String,
    },
    /// The vault alone: these keys, with their numbers, are to be made by the rooms that hold them, and nothing else is.
    /// Said at its start and at each change; the supervisor asks the rooms until it is said otherwise.
    KeysWanted {
        /// Which, and for which number.
        keys: Vec<(KeyName, u32)>,
        /// The certificates (DER) of the CAs that count, the newest first: for people and scripts the supervisor puts them
        /// where they are found. Public.
        authorities: Vec<Vec<u8>>,
    },
    /// The answer to [`ToRoom::MakeKey`]: it is in the room's folder.
    KeyMade {
        /// Which.
        key: KeyName,
        /// As it was asked.
        number: u32,
        /// The public half.
        public: Vec<u8>,
    },
}

/// The answer to [`ToRoom::MakeKey`].
#[must_use]
pub fn key_made(key: KeyName, number: u32, public: &[u8]) -> ToSupervisor {
    ToSupervisor::KeyMade { key, number, public: public.to_vec() }
}

/// One end of a control pair.
#[derive(Debug)]
pub struct ControlEnd(OwnedFd);

/// Two connected ends: the supervisor keeps the first, the room gets the second as standard input.
///
/// # Errors
/// When the kernel has no more descriptors.
pub fn pair() -> io::Result<(ControlEnd, OwnedFd)> {
    let (a, b) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    Ok((ControlEnd(a), b))
}

/// A connected pair of stream sockets for two neighbours.
///
/// # Errors
/// When the kernel has no more descriptors.
pub fn neighbours() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?)
}

impl ControlEnd {
    /// The room's end, which it finds as standard input.
    ///
    /// # Errors
    /// When standard input is closed.
    pub fn from_stdin() -> io::Result<Self> {
        Ok(Self(io::stdin().as_fd().try_clone_to_owned()?))
    }

    /// An end whose descriptor is in hand: the other one of a [`pair`].
    #[must_use]
    pub fn of(end: OwnedFd) -> Self {
        Self(end)
    }

    /// A second handle on the same end.
    ///
    /// # Errors
    /// When the kernel has no more descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self(self.0.try_clone()?))
    }

    /// Sends one message with its descriptors (at most two).
    ///
    /// # Errors
    /// When the other end is gone, or has left so many messages unread that no more fit.
    pub fn send<M: Serialize>(&self, message: &M, descriptors: &[OwnedFd]) -> io::Result<()> {
        let text = serde_json::to_vec(message).map_err(io::Error::other)?;
        if text.len() > LARGEST_BYTES {
            return Err(io::Error::other("a control message is larger than 64 KiB"));
        }
        let fds: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&fds)) {
            return Err(io::Error::other("more than two descriptors in one control message"));
        }
        // A room that does not read its messages must not hold up whoever sends them.
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        sendmsg(&self.0, &[IoSlice::new(&text)], &mut ancillary, flags)?;
        Ok(())
    }

    /// Waits for one message. `None`: the other end is gone.
    ///
    /// # Errors
    /// When the message can't be read as one.
    pub fn receive<M: for<'d> Deserialize<'d>>(&self) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
        let mut text = vec![0u8; LARGEST_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut reset = false;
        let got = loop {
            let into = &mut [IoSliceMut::new(&mut text)];
            match recvmsg(&self.0, into, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
                Err(rustix::io::Errno::INTR) => {}
                // It ended with messages of ours unread. Linux says so once, ahead of the last it sent.
                Err(rustix::io::Errno::CONNRESET) if !reset => reset = true,
                Err(rustix::io::Errno::CONNRESET) => return Ok(None),
                other => break other?.bytes,
            }
        };
        if got == 0 {
            return Ok(None);
        }
        let mut fds = Vec::new();
        for m in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = m {
                fds.extend(rights);
            }
        }
        let body = text.get(..got).unwrap_or_default();
        let message = serde_json::from_slice(body).map_err(io::Error::other)?;
        Ok(Some((message, fds)))
    }
}

/// What reaches a room's main loop.
#[derive(Debug)]
pub enum RoomEvent {
    /// A fresh pair with this neighbour; an older one is dead.
    Peer(String, UnixStream),
    /// A bound listener.
    Listener(String, TcpListener),
    /// The room's end of the pipe for alarms.
    Alarms(OwnedFd),
    /// See [`ToRoom::MakeKey`].
    MakeKey(KeyName, u32),
    /// See [`ToRoom::KeyMade`].
    KeyMade(KeyName, u32, Vec<u8>),
    /// Finish and exit.
    Stop,
}

/// What [`Introduced::enter`] hands a room.
#[derive(Debug)]
pub struct Entered<C> {
    /// Its configuration.
    pub config: C,
    /// For [`ControlEnd::send`].
    pub control: ControlEnd,
    /// What its main loop has to see.
    pub events: tokio::sync::mpsc::UnboundedReceiver<RoomEvent>,
    /// One for each [`ToRoom::Ping`]; at most one waits.
    pub pings: tokio::sync::mpsc::Receiver<()>,
    /// One for each [`ToRoom::BackUp`], with its file.
    pub backups: tokio::sync::mpsc::UnboundedReceiver<(serde_json::Value, File)>,
}

/// What the supervisor says first, heard before anything else is begun.
#[derive(Debug)]
pub struct Introduced<C> {
    /// The room's configuration.
    pub config: C,
    /// For [`ControlEnd::send`].
    pub control: ControlEnd,
    /// What the room's secret files are wrapped under comes from here: for [`crate::at_rest::unlock`].
    pub root_key: Option<File>,
    /// The vault's stream to the token: for [`crate::hsm::connect`].
    pub hsm: Option<OwnedFd>,
}

/// A room's first word with the supervisor: waits for the configuration. No thread is started, so that the
/// room can still narrow itself as a whole; then [`Introduced::enter`].
///
/// # Errors
/// When standard input is no control pair, or the configuration is not the room's.
pub fn introduced<C: for<'d> Deserialize<'d>>() -> io::Result<Introduced<C>> {
    let control = ControlEnd::from_stdin()?;
    let (config, handed) = match control.receive::<ToRoom>()? {
        Some((ToRoom::Start { config }, handed)) => {
            (serde_json::from_value(config).map_err(io::Error::other)?, handed)
        }
        _ => return Err(io::Error::other("a room is started by 'matron serve', not by hand")),
    };
    let mut handed = handed.into_iter();
    let (root_key, hsm) = (handed.next().map(File::from), handed.next());
    Ok(Introduced { config, control, root_key, hsm })
}

impl<C> Introduced<C> {
    /// From here on control messages are read, on a thread of its own.
    ///
    /// # Errors
    /// When the kernel has no more descriptors or threads.
    pub fn enter(self) -> io::Result<Entered<C>> {
        let Self { config, control, .. } = self;
        let (tx, events) = tokio::sync::mpsc::unbounded_channel();
        let (pinged, pings) = tokio::sync::mpsc::channel(1);
        let (asked, backups) = tokio::sync::mpsc::unbounded_channel();
        let reading = control.try_clone()?;
        let read = move || read_control(&reading, &tx, &pinged, &asked);
        std::thread::Builder::new().name("control".into()).spawn(read)?;
        Ok(Entered { config, control, events, pings, backups })
    }
}

fn read_control(
    control: &ControlEnd,
    tx: &tokio::sync::mpsc::UnboundedSender<RoomEvent>,
    pinged: &tokio::sync::mpsc::Sender<()>,
    backups: &tokio::sync::mpsc::UnboundedSender<(serde_json::Value, File)>,
) {
    loop {
        let (message, mut fds) = match control.receive::<ToRoom>() {
            Ok(Some(m)) => m,
            Ok(None) | Err(_) => {
                let _ = tx.send(RoomEvent::Stop);
                return;
            }
        };
        let event = match (message, fds.pop()) {
            (ToRoom::Peer { room }, Some(fd)) => RoomEvent::Peer(room, UnixStream::from(fd)),
            (ToRoom::Listener { name }, Some(fd)) => RoomEvent::Listener(name, TcpListener::from(fd)),
            (ToRoom::Alarms, Some(end)) => RoomEvent::Alarms(end),
            (ToRoom::MakeKey { key, number }, _) => RoomEvent::MakeKey(key, number),
            (ToRoom::KeyMade { key, number, public }, _) => RoomEvent::KeyMade(key, number, public),
            (ToRoom::Stop, _) => RoomEvent::Stop,
            (ToRoom::BackUp { request }, Some(fd)) => {
                let _ = backups.send((request, File::from(fd)));
                continue;
            }
            (ToRoom::Ping, _) => {
                // One that still waits will be answered; more would say nothing new.
                let _ = pinged.try_send(());
                continue;
            }
            _ => continue,
        };
        if tx.send(event).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn a_descriptor_crosses_the_control_pair_and_works() {
        let (parent, child) = pair().unwrap();
        let child = ControlEnd(child);
        let (a, b) = neighbours().unwrap();
        parent.send(&ToRoom::Peer { room: "vault".into() }, &[b]).unwrap();
        let (message, mut fds) = child.receive::<ToRoom>().unwrap().unwrap();
        assert_eq!(message, ToRoom::Peer { room: "vault".into() });
        UnixStream::from(a).write_all(b"hello").unwrap();
        let mut text = [0; 5];
        UnixStream::from(fds.pop().unwrap()).read_exact(&mut text).unwrap();
        assert_eq!(&text, b"hello");
    }

    #[test]
    fn a_room_that_reads_nothing_does_not_hold_up_its_supervisor() {
        let (parent, _child) = pair().unwrap();
        let (tx, rx) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let full = (0..100_000).any(|_| parent.send(&ToRoom::Stop, &[]).is_err());
            tx.send(full).unwrap();
        });
        assert_eq!(rx.recv_timeout(std::time::Duration::from_secs(20)), Ok(true));
    }

    #[test]
    fn the_last_words_of_a_room_are_heard_though_it_left_messages_unread() {
        let (parent, child) = pair().unwrap();
        parent.send(&ToRoom::Ping, &[]).unwrap();
        let room = ControlEnd(child);
        room.send(&ToSupervisor::Failed { why: "made up".into() }, &[]).unwrap();
        drop(room);
        let (said, _) = parent.receive::<ToSupervisor>().unwrap().unwrap();
        assert_eq!(said, ToSupervisor::Failed { why: "made up".into() });
        assert!(parent.receive::<ToSupervisor>().unwrap().is_none());
    }

    #[test]
    fn the_end_of_the_supervisor_is_seen_as_the_end() {
        let (parent, child) = pair().unwrap();
        drop(parent);
        assert!(ControlEnd(child).receive::<ToRoom>().unwrap().is_none());
    }
}
