//! The program that stands in a room's place in a drill (`matron drill`). It is started as the room is, as the
//! same user, with the same descriptors and keys, and enters the room's sandbox by the room's own call; from then
//! on it does what someone would who runs code there and has read Matron's source. What it got it says, line
//! by line, on standard output; the drill counts what was really lost.
//!
//! Nothing here gets round anything: each attempt is the plain call, the plain message, over what the room has.

mod core;
mod courier;
mod disk;
mod door;
mod everywhere;
mod reader;
mod tell;
mod told;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use rpc::control::{ControlEnd, Entered, RoomEvent, ToSupervisor, introduced};
use sandbox::Room;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;

use told::Told;

/// Phones that are talking when all was tried may end their talks before the intruder risks its life.
pub(crate) const LAST_TALKS: Duration = Duration::from_millis(1500);

/// How long a next life waits for its neighbours.
const NEIGHBOURS_COME: Duration = Duration::from_millis(300);

/// What went wrong with the intruder itself.
pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What the supervisor's first message holds for whoever stands in the room.
#[derive(Debug, Deserialize)]
struct Started {
    /// The room's own part of the configuration.
    room: Value,
    sandbox: sandbox::Allowed,
}

/// A room that was taken: what its process has.
pub(crate) struct Taken {
    pub(crate) config: Value,
    pub(crate) told: Told,
    pub(crate) events: UnboundedReceiver<RoomEvent>,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["room", room] => match Room::ALL.into_iter().find(|r| r.name() == *room) {
            Some(room) => in_place_of(room),
            None => Err(format!("there is no room '{room}'").into()),
        },
        ["disk", folder] => disk::rob(Path::new(folder)),
        _ => Err("this program is started by 'matron drill', not by hand".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("matron-intruder: {e}");
            ExitCode::from(1)
        }
    }
}

fn in_place_of(room: Room) -> Outcome<()> {
    let mut introduced = introduced::<Started>()?;
    // What the room itself keeps of the root key's credential: its own key, before it is held.
    rpc::at_rest::unlock(room.name(), introduced.root_key.take())?;
    // As the room does, at the same moment: before there is a second thread and before a neighbour is handed in.
    sandbox::enter(room, &introduced.config.sandbox)?;
    let folder = introduced.config.sandbox.folder.clone();
    let Entered { config, control, events, mut pings, backups: _backups } = introduced.enter()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let alive = control.try_clone()?;
    runtime.spawn(async move {
        while pings.recv().await.is_some() {
            let _ = alive.send(&ToSupervisor::Alive, &[]);
        }
    });
    let told = Told::read(&folder)?;
    runtime.block_on(stay(room, &control, Taken { config: config.room, told, events }))
}

/// Tries everything, then stays until the supervisor ends it: a room that dies would be started again.
async fn stay(room: Room, control: &ControlEnd, taken: Taken) -> Outcome<()> {
    let acts = everywhere::Acts::open(&taken.told, room);
    control.send(&ToSupervisor::Ready, &[])?;
    if acts.goes_on() {
        // What the kernel ends a process for was tried; this is the next life, with fresh pairs.
        return say_garbage(taken.events, acts).await;
    }
    let told = taken.told.clone();
    everywhere::plain_attempts(&told, room);
    match room {
        Room::Reader => reader::run(taken, acts).await,
        Room::Core => core::run(taken, acts).await,
        Room::Courier => courier::run(taken, acts).await,
        Room::Door => door::run(taken, acts).await,
        // Whoever has the vault, or signs with its keys, has everything; there is nothing to be measured.
        Room::Vault | Room::Hsm => Err(format!("the {} is not drilled", room.name()).into()),
    }
}

/// How much of nothing is said to each neighbour.
const GARBAGE_BYTES: usize = 1 << 20;

/// Says bytes that are no message to every neighbour, then goes on with what costs it its life.
async fn say_garbage(mut events: UnboundedReceiver<RoomEvent>, acts: everywhere::Acts) -> Outcome<()> {
    tokio::spawn(async move {
        tokio::time::sleep(NEIGHBOURS_COME).await;
        tokio::task::spawn_blocking(move || acts.go_on());
    });
    let mut bytes = vec![0; GARBAGE_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| "no random numbers")?;
    let mut held = Vec::new();
    loop {
        match events.recv().await {
            Some(RoomEvent::Peer(_, mut pair)) => {
                tell::tried("stop a neighbour by bytes that are no message");
                // Half of a greeting first, so that some of it is read on.
                let _ = pair.set_nonblocking(true);
                let _ = pair.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").and_then(|_| pair.write(&bytes));
                held.push(pair);
            }
            Some(RoomEvent::Stop) | None => return Ok(()),
            Some(_) => {}
        }
    }
}
