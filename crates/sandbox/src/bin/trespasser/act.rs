//! What is tried, as the tests say it.

use std::path::PathBuf;

use sandbox::{Allowed, Room};
use serde::{Deserialize, Serialize};

/// Stands for the process's own id among a call's arguments.
pub const OWN_PID: i64 = i64::MIN;

/// Enter this room, then try these.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Task {
    pub room: Room,
    pub allowed: Allowed,
    pub acts: Vec<Act>,
    /// Calls that this kernel is made to seem to lack.
    pub lacking: Vec<i64>,
}

/// One act. Its outcome is what the kernel said: 0 or more, or the error's number below 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    /// A bare system call.
    Call {
        number: i64,
        with: [i64; 6],
    },
    /// A harmless call by 32-bit x86's interface, which has numbers of its own.
    OldInterface,
    /// Opens to read; a folder to list.
    Read(PathBuf),
    List(PathBuf),
    Write(PathBuf),
    /// Opens to read and cuts short at once.
    OpenShort(PathBuf),
    /// truncate(2).
    Short(PathBuf),
    Make(PathBuf),
    MakeFolder(PathBuf),
    Remove(PathBuf),
    RemoveFolder(PathBuf),
    Rename(PathBuf, PathBuf),
    Link(PathBuf, PathBuf),
    Symlink(PathBuf, PathBuf),
    /// mknod(2) with these mode bits.
    Node(PathBuf, u32),
    /// A device's own command.
    DeviceCommand(PathBuf),
    Execute(PathBuf),
    /// TCP to this port of 127.0.0.1.
    Connect(u16),
    Bind(u16),
    /// TCP without connect(2), by MSG_FASTOPEN.
    FastOpen(u16),
    /// The same by a listener that was handed in and is shut down first.
    ListenerFastOpen(u16),
    /// Looks a name up, as the courier does: how many addresses it has.
    Resolve(String),
    ConnectPath(PathBuf),
    ConnectAbstract(String),
    /// A datagram to a socket path.
    DatagramTo(PathBuf),
    Signal(i32),
    /// A thread of the process's own, which ends.
    Thread,
    /// Says that it is there, and waits for its end.
    Stay,
}
