//! What a system call costs within each room's sandbox and before it, in nanoseconds:
//! `cargo run --release -p sandbox --example cost`. Each room is tried in a process of its own.

use std::io::{IoSlice, Write};
use std::process::Command;
use std::time::Instant;

use rustix::net::{SendFlags, send};
use sandbox::{Allowed, Room};

/// Short enough that many a run is not interrupted.
const CALLS: u32 = 5_000;
const RUNS: u32 = 400;

/// The quickest of many short runs, in nanoseconds a call: what else the machine does only adds.
fn cost(call: impl Fn()) -> f64 {
    let run = |_| {
        let began = Instant::now();
        (0..CALLS).for_each(|_| call());
        began.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
    };
    (0..RUNS).map(run).fold(f64::INFINITY, f64::min)
}

/// A call that nothing is asked of; one that does a little; two whose arguments are looked at.
fn costs(sink: &std::fs::File, pipe: &std::io::PipeWriter) -> [(&'static str, f64); 4] {
    [
        ("getppid", cost(|| _ = rustix::process::getppid())),
        ("writev to /dev/null", cost(|| _ = (&*sink).write_vectored(&[IoSlice::new(b"x")]))),
        ("fcntl(F_GETFL)", cost(|| _ = rustix::fs::fcntl_getfl(sink))),
        // Refused by the kernel as no socket, after the sandbox let it through.
        ("sendto", cost(|| _ = send(pipe, b"x", SendFlags::NOSIGNAL))),
    ]
}

fn within(room: Room) -> Result<(), Box<dyn std::error::Error>> {
    let sink = std::fs::File::options().write(true).open("/dev/null")?;
    let (_reader, pipe) = std::io::pipe()?;
    let folder = tempfile::tempdir()?;
    let before = costs(&sink, &pipe);
    sandbox::enter(room, &Allowed::only(folder.path()))?;
    let after = costs(&sink, &pipe);
    for ((what, before), (_, after)) in before.into_iter().zip(after) {
        println!("{:<8} {what:<20} {before:>7.0} {after:>7.0} {:>+6.0}", room.name(), after - before);
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if let Some(name) = std::env::args().nth(1) {
        let room = Room::ALL.into_iter().find(|r| r.name() == name).ok_or("no such room")?;
        return within(room);
    }
    println!("{:<8} {:<20} {:>7} {:>7} {:>6}", "room", "call", "before", "within", "ns");
    for room in Room::ALL {
        Command::new(std::env::current_exe()?).arg(room.name()).status()?;
    }
    Ok(())
}
