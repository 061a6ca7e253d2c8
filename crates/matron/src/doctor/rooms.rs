//! The supervisor and its rooms, as /proc shows them.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use model::TimeMs;

use super::Check;
use crate::cli::show;
use crate::rooms::Room;

/// A process of the house.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) uid: u32,
    pub(super) since_ms: TimeMs,
    pub(super) resident_bytes: u64,
    pub(super) most_files: Option<u64>,
}

/// Who holds the data folder's lock: the running `matron serve`, by /proc/locks. Asks for no lock itself,
/// so that a start at this moment is not refused.
pub(crate) fn holder(data: &Path) -> Option<u32> {
    let inode = std::fs::metadata(data.join("lock")).ok()?.ino();
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|l| holder_in(l, inode))
}

/// `1: FLOCK  ADVISORY  WRITE 812 fe:00:131081 0 EOF`
fn holder_in(line: &str, inode: u64) -> Option<u32> {
    let mut words = line.split_whitespace().skip(1);
    let (kind, _, how) = (words.next()?, words.next()?, words.next()?);
    let pid = words.next()?.parse().ok()?;
    let of: u64 = words.next()?.rsplit(':').next()?.parse().ok()?;
    (kind == "FLOCK" && how == "WRITE" && of == inode).then_some(pid)
}

fn stat(pid: u32) -> Option<(u32, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may hold anything.
    let rest: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    Some((rest.get(1)?.parse().ok()?, rest.get(19)?.parse().ok()?))
}

fn booted_at_ms() -> Option<TimeMs> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("btime "))?;
    line.trim().parse::<TimeMs>().ok()?.checked_mul(1000)
}

pub(super) fn process(pid: u32) -> Option<Process> {
    let (_, ticks) = stat(pid)?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| {
        status.lines().find_map(|l| l.strip_prefix(name))?.split_whitespace().next()?.parse::<u64>().ok()
    };
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
    let most_files = limits
        .lines()
        .find_map(|l| l.strip_prefix("Max open files"))
        .and_then(|l| l.split_whitespace().next()?.parse().ok());
    let ticks_per_s = rustix::param::clock_ticks_per_second().max(1);
    let since_ms = booted_at_ms()? + i64::try_from(ticks * 1000 / ticks_per_s).ok()?;
    Some(Process {
        pid,
        uid: u32::try_from(field("Uid:")?).ok()?,
        since_ms,
        resident_bytes: field("VmRSS:").unwrap_or(0) * 1024,
        most_files,
    })
}

/// The rooms that this supervisor started.
pub(super) fn of(supervisor: u32) -> Vec<(Room, Process)> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        if stat(pid).is_none_or(|(parent, _)| parent != supervisor) {
            continue;
        }
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        let room = Room::ALL.into_iter().find(|r| line.ends_with(&format!("\0room\0{}\0", r.name())));
        if let (Some(room), Some(process)) = (room, process(pid)) {
            out.push((room, process));
        }
    }
    out
}

/// The process that speaks to the token.
pub(super) fn token_process(supervisor: u32) -> Option<u32> {
    let of_ours = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.ends_with(b"\0hsm\0") && stat(*pid).is_some_and(|(parent, _)| parent == supervisor)
    };
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok()).find(of_ours)
}

/// A room that began so much later than the supervisor was started again.
const TOGETHER_MS: TimeMs = 30_000;

/// The supervisor, each room, and whether they run this very program.
pub(super) fn checks(data: &Path, now_ms: TimeMs) -> Vec<Check> {
    let mut out = Vec::new();
    let Some(pid) = holder(data) else {
        out.push(Check::warn(
            "house",
            "no 'matron serve' runs on this data folder",
            "phones get no answer",
            "systemctl start matron, or matron serve",
        ));
        return out;
    };
    let Some(supervisor) = process(pid) else {
        out.push(Check::skipped(
            "house",
            format!("process {pid} holds the data folder; it can't be looked at from here"),
        ));
        return out;
    };
    let ago = |at_ms: TimeMs| show::span(now_ms - at_ms);
    out.push(Check::ok(
        "house",
        format!("runs since {} (process {pid}, user {})", show::time(supervisor.since_ms), supervisor.uid),
    ));
    let rooms = of(pid);
    for room in Room::ALL {
        let id = match room {
            Room::Door => "room.door",
            Room::Reader => "room.reader",
            Room::Core => "room.core",
            Room::Vault => "room.vault",
            Room::Courier => "room.courier",
        };
        let Some((_, p)) = rooms.iter().find(|(r, _)| *r == room) else {
            out.push(Check::fail(
                id,
                "does not run",
                "it died and is being started again, or keeps dying; what it does is not done",
                "its last words are in the log: journalctl -u matron",
            ));
            continue;
        };
        let found = format!(
            "runs for {}, {} MB (process {}, user {})",
            ago(p.since_ms),
            p.resident_bytes / 1_000_000,
            p.pid,
            p.uid
        );
        out.push(if p.since_ms > supervisor.since_ms + TOGETHER_MS {
            Check::warn(
                id,
                format!(
                    "{found}; it was started again, {} after the supervisor",
                    show::span(p.since_ms - supervisor.since_ms)
                ),
                "it died at least once",
                "journalctl -u matron says why",
            )
        } else {
            Check::ok(id, found)
        });
    }
    out.push(version(pid));
    out
}

fn version(pid: u32) -> Check {
    let id = "version";
    let here = env!("CARGO_PKG_VERSION");
    let link = std::fs::read_link(format!("/proc/{pid}/exe"));
    let same = || {
        let of = |p: &str| std::fs::metadata(p).map(|m| (m.dev(), m.ino())).ok();
        let theirs = of(&format!("/proc/{pid}/exe"))?;
        Some(theirs == of("/proc/self/exe")?)
    };
    match (link, same()) {
        (Ok(path), _) if path.to_string_lossy().ends_with(" (deleted)") => Check::warn(
            id,
            format!("this is {here}; the running one was replaced on the disk"),
            "an upgrade is installed and not in force",
            "restart: systemctl restart matron",
        ),
        (_, Some(true)) => Check::ok(id, format!("{here}, the one that runs")),
        (_, Some(false)) => Check::warn(
            id,
            format!("this is {here}; another file runs"),
            "what this program knows of formats may differ from the one that runs",
            "use the binary that runs",
        ),
        _ => {
            Check::skipped(id, format!("{here}; the running one is closed to its own user: root can compare"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_lock_is_read_from_the_kernels_list() {
        let line = "1: FLOCK  ADVISORY  WRITE 812 fe:00:131081 0 EOF";
        assert_eq!(holder_in(line, 131_081), Some(812));
        assert_eq!(holder_in(line, 131_082), None);
        for other in ["", "1: POSIX  ADVISORY  WRITE 812 fe:00:131081 0 EOF", "1: FLOCK", "x"] {
            assert_eq!(holder_in(other, 131_081), None);
        }
    }

    #[test]
    fn this_process_is_read_from_proc() {
        let own = process(std::process::id()).unwrap();
        assert!(own.resident_bytes > 1_000_000 && own.most_files.is_some());
        let now_ms = model::Clock::now_ms(&model::SystemClock);
        assert!((now_ms - own.since_ms).abs() < 3_600_000);
    }
}
