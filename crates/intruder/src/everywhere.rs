//! What an intruder tries in whatever room: other rooms' files and memory, the environment, another program, a
//! way out. What the kernel ends a process for comes last; a file in the room's folder says how far it came,
//! since the supervisor starts a room that died again.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::PidfdGetfdFlags;
use sandbox::Room;

use crate::tell;
use crate::told::Told;

/// Files of each room that its neighbours would like.
const WANTED: [(Room, &[&str]); 5] = [
    (Room::Door, &["tls.key.der", "delivery.key", "tls.cert.der"]),
    (Room::Reader, &["ra.key", "sender.key", "change.key"]),
    (Room::Core, &["core.db", "core.db-wal", "checkpoint"]),
    (Room::Vault, &["keys.cbor", "ledger.log", "persons.keys", "tree/checkpoint"]),
    (Room::Courier, &["push.key", "alarms.json"]),
];

fn answered<T>(name: &str, done: std::io::Result<T>) {
    match done {
        Ok(_) => tell::attempt(name, true, "nobody"),
        Err(e) => tell::attempt(name, false, format!("the kernel ({})", e.kind())),
    }
}

/// Opens a file and reads a little of it. One that is not there says nothing of the wall.
fn read_a_little(name: &str, path: &Path) {
    let read = File::open(path).and_then(|mut f| f.read(&mut [0; 64]));
    if !read.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound) {
        answered(name, read);
    }
}

/// What ends no process.
pub(crate) fn plain_attempts(told: &Told, room: Room) {
    let rooms = told.data.join("rooms");
    for (other, names) in WANTED.into_iter().filter(|(other, _)| *other != room) {
        let folder = rooms.join(other.name());
        names.iter().for_each(|name| read_a_little("read another room's file", &folder.join(name)));
        answered("list another room's folder", fs::read_dir(&folder));
        let into = folder.join("intruder.was.here");
        answered(
            "write into another room's folder",
            OpenOptions::new().write(true).create(true).truncate(true).open(&into),
        );
    }
    for folder in [told.data.clone(), told.data.join("backups"), rooms] {
        answered("list the data folder and its backups", fs::read_dir(folder));
    }
    for file in ["/etc/passwd", "/etc/shadow", "/proc/1/environ", "/proc/kcore"] {
        read_a_little("read the host's files", Path::new(file));
    }
    told.secrets
        .iter()
        .for_each(|file| read_a_little("read the root key's credential or a backup's identity", file));
    let own = told.folder.join("intruder.link");
    answered("link out of the own folder", std::os::unix::fs::symlink("/etc/passwd", &own));
    answered("link out of the own folder", fs::hard_link(told.data.join("rooms/vault/keys.cbor"), &own));
    for pid in &told.processes {
        for what in ["mem", "environ", "maps", "fd"] {
            let path = PathBuf::from(format!("/proc/{pid}/{what}"));
            answered(
                "read another process's memory",
                if what == "fd" { fs::read_dir(path).map(drop) } else { File::open(path).map(drop) },
            );
        }
    }
    // Who looks finds the courier's resolver setting at most.
    for (name, _) in std::env::vars_os().filter(|(n, _)| n != "RES_OPTIONS" && n != "RUST_BACKTRACE") {
        tell::attempt("find something in the environment", true, name.display());
    }
    tell::attempt("find something in the environment", false, "nothing is there");
    answered("connect out by TCP", TcpStream::connect(("127.0.0.1", told.tcp_port)));
    answered(
        "connect out by UDP",
        UdpSocket::bind("127.0.0.1:0").and_then(|s| s.send_to(b"here", ("127.0.0.1", told.udp_port))),
    );
    answered("connect to a Unix socket", UnixStream::connect(&told.unix_path));
    answered(
        "connect to a Unix socket",
        UnixDatagram::unbound().and_then(|s| s.send_to(b"here", &told.unix_path)),
    );
    answered("listen for someone", TcpListener::bind("127.0.0.1:0"));
    answered("listen for someone", UnixListener::bind(told.folder.join("intruder.sock")));
}

/// The acts that the kernel ends a process for, in order.
const DEADLY: [&str; 4] =
    ["start a program", "become a program", "take a neighbour's descriptor", "leave the file system's root"];

/// How far the deadly acts came, over this process's lives.
pub(crate) struct Acts {
    told: Told,
    file: PathBuf,
    begun: usize,
}

impl Acts {
    pub(crate) fn open(told: &Told, room: Room) -> Self {
        let file = told.folder.join(format!("intruder.{}.tried", room.name()));
        let begun = fs::read_to_string(&file).ok().and_then(|t| t.trim().parse().ok()).unwrap_or(0);
        Self { told: told.clone(), file, begun }
    }

    /// Whether an earlier life of this process began with them.
    pub(crate) fn goes_on(&self) -> bool {
        self.begun > 0
    }

    /// Tries what is left; what it does not come back from, the next life tells.
    pub(crate) fn go_on(&self) {
        if let Some(act) = self.begun.checked_sub(1).and_then(|n| DEADLY.get(n)) {
            tell::attempt(act, false, "the kernel (it ended the process)");
        }
        for (n, act) in DEADLY.into_iter().enumerate().skip(self.begun) {
            if fs::write(&self.file, (n + 1).to_string()).is_err() {
                return;
            }
            answered(act, self.act(n));
        }
        tell::over();
    }

    fn act(&self, n: usize) -> std::io::Result<()> {
        let shell = || {
            let mut shell = Command::new("/bin/sh");
            shell.arg("-c").arg("echo here > \"$0\"").arg(&self.told.canary);
            shell
        };
        match n {
            0 => shell().status().map(drop),
            // It comes back only where it is refused.
            1 => Err(shell().exec()),
            2 => {
                let any: OwnedFd = File::open(self.told.folder.join(crate::told::TOLD_FILE))?.into();
                Ok(rustix::process::pidfd_getfd(&any, 0, PidfdGetfdFlags::empty()).map(drop)?)
            }
            _ => Ok(rustix::process::chroot(&self.told.folder)?),
        }
    }
}
