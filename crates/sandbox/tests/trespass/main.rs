//! Every rule of the sandbox, by doing inside each room what it forbids: a program enters the room by the room's
//! own function and tries; the kernel refuses.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

#[path = "../../src/bin/trespasser/act.rs"]
mod act;
mod arguments;
mod calls;
mod files;
mod network;
mod process;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use act::{Act, Task};
use sandbox::{Allowed, Layer, Room};

const ACCESS: i64 = -(libc::EACCES as i64);
const PERMISSION: i64 = -(libc::EPERM as i64);
const OTHER_FOLDER: i64 = -(libc::EXDEV as i64);

/// Whatever is held: the rooms, and the process that speaks to a token.
const HELD: [Room; 6] = [Room::Door, Room::Reader, Room::Core, Room::Vault, Room::Courier, Room::Hsm];

/// A house's folders with a file in each, and one room's part in it.
struct House {
    dir: tempfile::TempDir,
}

impl House {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for room in HELD {
            let folder = dir.path().join("data/rooms").join(room.name());
            std::fs::create_dir_all(folder.join("empty")).unwrap();
            std::fs::write(folder.join("key"), "secret").unwrap();
            // No loader to be refused in its stead: whether it may be executed is asked before what it is.
            std::fs::write(folder.join("program"), "neither a script nor a program").unwrap();
            std::fs::set_permissions(folder.join("program"), PermissionsExt::from_mode(0o755)).unwrap();
        }
        std::fs::create_dir_all(dir.path().join("tls")).unwrap();
        std::fs::write(dir.path().join("tls/chain.pem"), "public").unwrap();
        Self { dir }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn folder(&self, room: Room) -> PathBuf {
        self.at("data/rooms").join(room.name())
    }

    fn allowed(&self, room: Room) -> Allowed {
        Allowed { reads: vec![self.at("tls/chain.pem")], ..Allowed::only(self.folder(room)) }
    }
}

/// Another room than this one.
fn other(room: Room) -> Room {
    if room == Room::Vault { Room::Core } else { Room::Vault }
}

fn command(room: Room, allowed: &Allowed, acts: &[Act]) -> Command {
    on_a_kernel_without(&[], room, allowed, acts)
}

/// The same where the kernel seems to lack these calls.
fn on_a_kernel_without(calls: &[i64], room: Room, allowed: &Allowed, acts: &[Act]) -> Command {
    let task = Task { room, allowed: allowed.clone(), acts: acts.to_vec(), lacking: calls.to_vec() };
    let mut command = Command::new(env!("CARGO_BIN_EXE_trespasser"));
    command.arg(serde_json::to_string(&task).unwrap()).env_clear();
    command
}

fn run(room: Room, allowed: &Allowed, acts: &[Act]) -> Output {
    command(room, allowed, acts).stdin(Stdio::null()).output().unwrap()
}

/// Tries them one after another in one process, and says what the kernel answered to each.
fn tried(room: Room, allowed: &Allowed, acts: &[Act]) -> Vec<i64> {
    let output = run(room, allowed, acts);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let first = acts.first();
    assert!(output.status.success(), "{}: {:?} {said} {first:?}…", room.name(), output.status);
    serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}"))
}

/// Whether the kernel ended the process for it.
fn ends(room: Room, allowed: &Allowed, act: &Act) -> bool {
    run(room, allowed, std::slice::from_ref(act)).status.signal() == Some(libc::SIGSYS)
}

fn landlock_alone(allowed: &Allowed) -> Allowed {
    Allowed { without: vec![Layer::Seccomp], ..allowed.clone() }
}
