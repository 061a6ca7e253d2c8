//! Whether the kernel can hold the rooms, and whether it does: by /proc, not by a room's own word. Landlock shows
//! nowhere outside; each room says at its start which version is in force.

use std::os::unix::fs::MetadataExt;

use sandbox::Layer;

use super::{Check, rooms};
use crate::rooms::Room;

/// What /proc shows of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    uid: u32,
    no_new_privs: bool,
    filters: u32,
    capabilities: u64,
    core_dumps: bool,
    /// The kernel gives the files of a process that is closed to others to root. For root's own it tells nothing.
    closed: Option<bool>,
    locked_bytes: u64,
}

fn held(status: &str, limits: &str, owner: Option<u32>) -> Option<Held> {
    let field =
        |name: &str| status.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let number = |name: &str| field(name)?.split_whitespace().next()?.parse::<u64>().ok();
    let uid = u32::try_from(number("Uid")?).ok()?;
    let core = limits.lines().find_map(|l| l.strip_prefix("Max core file size"))?;
    let filtered = number("Seccomp")? == 2;
    Some(Held {
        uid,
        no_new_privs: number("NoNewPrivs")? == 1,
        // Their number is shown since Linux 5.9.
        filters: if filtered { u32::try_from(number("Seccomp_filters").unwrap_or(1)).ok()? } else { 0 },
        capabilities: u64::from_str_radix(field("CapEff")?, 16).ok()?,
        core_dumps: core.split_whitespace().next()? != "0",
        closed: owner.filter(|_| uid != 0).map(|o| o == 0),
        locked_bytes: number("VmLck").unwrap_or(0) * 1024,
    })
}

fn look(pid: u32) -> Option<Held> {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).ok();
    let owner = std::fs::metadata(format!("/proc/{pid}/environ")).ok().map(|m| m.uid());
    held(&read("status")?, &read("limits")?, owner)
}

/// What is wrong with how a process is held; `without`: what the configuration does without.
fn faults(h: &Held, without: &[Layer], is_room: bool) -> Vec<&'static str> {
    let mut out = Vec::new();
    if is_room && h.filters == 0 && !without.contains(&Layer::Seccomp) {
        out.push("no filter on its system calls");
    }
    if is_room && h.capabilities != 0 {
        out.push("it has capabilities");
    }
    if !h.no_new_privs {
        out.push("what it starts could gain privileges");
    }
    if h.closed == Some(false) {
        out.push("others of its user can read its memory");
    }
    if h.core_dumps {
        out.push("its memory may be written into a core dump");
    }
    out
}

fn room_id(room: Room) -> &'static str {
    match room {
        Room::Door => "sandbox.door",
        Room::Reader => "sandbox.reader",
        Room::Core => "sandbox.core",
        Room::Vault => "sandbox.vault",
        Room::Courier => "sandbox.courier",
    }
}

fn process(id: &'static str, pid: u32, without: &[Layer], is_room: bool) -> Check {
    let Some(h) = look(pid) else {
        return Check::skipped(id, format!("process {pid} can't be looked at from here"));
    };
    let faults = faults(&h, without, is_room);
    if !faults.is_empty() {
        return Check::fail(
            id,
            faults.join("; "),
            "the kernel does not hold it: who takes this process is not kept to it",
            "restart: systemctl restart matron; if it stays, sandbox.danger_without and the log say why",
        );
    }
    let closed = match h.closed {
        Some(_) => "closed to its user's other processes",
        None => "whether it is closed to others can't be told of root's processes",
    };
    let filters = match (is_room, h.filters) {
        (true, 0) => "no filters, as sandbox.danger_without says; no capabilities; ".to_owned(),
        (true, n) => format!("{n} filters on its system calls, no capabilities; "),
        (false, _) => String::new(),
    };
    let found = format!("{filters}no new privileges, no core dumps; {closed}");
    if is_room && h.filters == 0 {
        return Check::warn(
            id,
            found,
            "who takes this room may make any system call",
            "leave sandbox.danger_without out on a kernel that has seccomp",
        );
    }
    Check::ok(id, found)
}

/// The running house, each process.
pub(super) fn checks(supervisor: u32, without: &[Layer], of_token: &[Layer]) -> Vec<Check> {
    let mut out = vec![process("sandbox.supervisor", supervisor, without, false)];
    out.extend(rooms::token_process(supervisor).map(|pid| process("sandbox.hsm", pid, of_token, true)));
    let mut rooms = rooms::of(supervisor);
    rooms.sort_by_key(|(room, _)| Room::ALL.iter().position(|r| r == room));
    out.extend(rooms.iter().map(|(room, p)| process(room_id(*room), p.pid, without, true)));
    out.push(files(without));
    out.extend(users(&rooms));
    if let Some(vault) = rooms.iter().find(|(r, _)| *r == Room::Vault).and_then(|(_, p)| look(p.pid)) {
        let swaps = std::fs::read_to_string("/proc/swaps").unwrap_or_default();
        out.push(memory(&vault, swaps.lines().count() > 1));
    }
    out
}

fn files(without: &[Layer]) -> Check {
    let id = "sandbox.files";
    let left: Vec<&str> = without.iter().filter(|l| **l != Layer::Seccomp).map(|l| l.name()).collect();
    if left.is_empty() {
        Check::skipped(
            id,
            "the kernel shows Landlock to nobody outside; each room's log line 'the kernel holds the room' has its version",
        )
    } else {
        Check::warn(
            id,
            format!("the configuration does without {}", left.join(", ")),
            "who takes a room reads the other rooms' files, where they have one user",
            "leave sandbox.danger_without out on a kernel that has Landlock (Linux 6.7)",
        )
    }
}

fn users(rooms: &[(Room, rooms::Process)]) -> Option<Check> {
    let id = "sandbox.users";
    let (_, first) = rooms.first()?;
    let mut uids: Vec<u32> = rooms.iter().map(|(_, p)| p.uid).collect();
    uids.sort_unstable();
    uids.dedup();
    Some(if uids.len() == rooms.len() && rooms.len() > 1 {
        Check::ok(id, "each room has a user of its own")
    } else {
        Check::ok(
            id,
            format!(
                "all rooms run as user {}; what keeps their files apart is Landlock (sandbox.user_prefix adds users)",
                first.uid
            ),
        )
    })
}

fn memory(vault: &Held, swap: bool) -> Check {
    let id = "sandbox.memory";
    if vault.locked_bytes > 0 {
        Check::ok(id, "the vault's memory stays out of the swap")
    } else if swap {
        Check::warn(
            id,
            "the vault's memory may be written to this machine's swap",
            "its keys could be read from the disk later",
            "LimitMEMLOCK=infinity in the unit (ulimit -Hl), or encrypt the swap",
        )
    } else {
        Check::ok(id, "the vault's memory is not locked; this machine has no swap")
    }
}

/// What this kernel can do.
pub(super) fn kernel(without: &[Layer]) -> Vec<Check> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    let of = |layer: Layer| {
        let id = match layer {
            Layer::Seccomp => "kernel.seccomp",
            Layer::Landlock => "kernel.landlock",
            Layer::LandlockTruncate => "kernel.landlock_truncate",
            Layer::LandlockTcp => "kernel.landlock_tcp",
        };
        if sandbox::supports(layer) {
            Check::ok(id, format!("kernel {release} has it"))
        } else if without.contains(&layer) {
            Check::warn(
                id,
                format!("kernel {release} lacks it, and sandbox.danger_without accepts that"),
                "a room that is taken is not held whole",
                format!("use a kernel with {}", layer.needs()),
            )
        } else {
            Check::fail(
                id,
                format!("kernel {release} lacks it"),
                "Matron does not start here",
                format!("use a kernel with {}; or see sandbox.danger_without", layer.needs()),
            )
        }
    };
    Layer::ALL.into_iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tmatron\nUid:\t990\t990\t990\t990\nVmLck:\t       4 kB\nCapEff:\t0000000000000000\n\
                          NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t3\n";
    const LIMITS: &str = "Max core file size        0                    0                    bytes     \n";

    #[test]
    fn a_room_that_is_not_held_fails_by_what_is_missing() {
        let good = held(STATUS, LIMITS, Some(0)).unwrap();
        assert_eq!((good.filters, good.closed, good.locked_bytes), (3, Some(true), 4096));
        assert_eq!(faults(&good, &[], true), [] as [&str; 0]);
        for (from, to, said) in [
            ("Seccomp:\t2", "Seccomp:\t0", "no filter"),
            ("CapEff:\t0000000000000000", "CapEff:\t0000000000000002", "capabilities"),
            ("NoNewPrivs:\t1", "NoNewPrivs:\t0", "privileges"),
        ] {
            let bad = held(&STATUS.replace(from, to), LIMITS, Some(0)).unwrap();
            let faults = faults(&bad, &[], true);
            assert!(faults.len() == 1 && faults[0].contains(said), "{faults:?}");
        }
        let open = held(STATUS, &LIMITS.replace(" 0 ", " 9 "), Some(990)).unwrap();
        assert_eq!(faults(&open, &[], true).len(), 2);
        let without = held(&STATUS.replace("Seccomp:\t2", "Seccomp:\t0"), LIMITS, Some(0)).unwrap();
        assert_eq!(faults(&without, &[Layer::Seccomp], true), [] as [&str; 0]);
    }

    #[test]
    fn what_can_not_be_told_of_roots_processes_is_not_told() {
        let root = held(&STATUS.replace("990", "0"), LIMITS, Some(0)).unwrap();
        assert_eq!(root.closed, None);
        assert!(held("", LIMITS, None).is_none());
    }
}
