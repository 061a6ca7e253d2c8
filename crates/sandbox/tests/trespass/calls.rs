//! System calls by number.

use std::collections::BTreeSet;

use sandbox::calls::{NOT_THERE, allowed, killed};

use crate::*;

/// Beyond the newest call that any kernel has today.
const NUMBERS: std::ops::Range<i64> = 0..600;
/// The same calls under x86-64's other interface (x32).
const X32: i64 = 0x4000_0000;

/// uretprobe(2) and uprobe(2): the kernel's own trampolines make them, and it asks no filter; whoever else does
/// gets an error or SIGILL from the call itself.
const UNFILTERED: &[i64] = if cfg!(target_arch = "x86_64") { &[335, 336] } else { &[] };

fn invalid(number: i64) -> Act {
    Act::Call { number, with: [-1; 6] }
}

#[test]
fn every_call_that_a_room_does_not_need_is_refused_in_that_room() {
    let house = House::new();
    let killed: BTreeSet<i64> = killed().map(|c| c.number).collect();
    for room in HELD {
        let may: BTreeSet<i64> = allowed(room, 1, false).iter().map(|a| a.call.number).collect();
        let mut numbers: Vec<i64> =
            NUMBERS.filter(|n| !may.contains(n) && !killed.contains(n) && !UNFILTERED.contains(n)).collect();
        if cfg!(target_arch = "x86_64") {
            numbers.extend(may.iter().chain(&killed).map(|n| n | X32));
        }
        let acts: Vec<Act> = numbers.iter().map(|n| invalid(*n)).collect();
        let outcomes = tried(room, &house.allowed(room), &acts);
        assert!(numbers.len() > 350, "{}", numbers.len());
        for (number, outcome) in numbers.iter().zip(outcomes) {
            let wanted = if *number == NOT_THERE.number { -i64::from(libc::ENOSYS) } else { PERMISSION };
            assert_eq!(outcome, wanted, "{}: call {number}", room.name());
        }
    }
}

#[test]
fn what_only_an_intruder_calls_ends_the_process_in_every_room() {
    let house = House::new();
    for room in HELD {
        for number in UNFILTERED {
            let output = run(room, &house.allowed(room), &[invalid(*number)]);
            let refused = output.stdout.starts_with(b"[-");
            assert!(refused || output.status.signal() == Some(libc::SIGILL), "{}: {number}", room.name());
        }
        for call in killed() {
            assert!(
                ends(room, &house.allowed(room), &invalid(call.number)),
                "{}: {}",
                room.name(),
                call.name
            );
        }
    }
}

#[test]
fn no_room_runs_a_program_and_none_makes_a_process_or_a_namespace() {
    let house = House::new();
    let clone = |flags: i32| Act::Call { number: libc::SYS_clone, with: [i64::from(flags), 0, 0, 0, 0, 0] };
    let thread = libc::CLONE_VM | libc::CLONE_THREAD | libc::CLONE_SIGHAND;
    for room in HELD {
        let allowed = house.allowed(room);
        for act in [
            Act::Execute("/bin/sh".into()),
            Act::Execute(house.folder(room).join("program")),
            clone(libc::SIGCHLD),
            clone(libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD),
            clone(libc::CLONE_NEWUSER | libc::SIGCHLD),
            clone(thread | libc::CLONE_NEWNET),
            clone(thread | libc::CLONE_NEWUSER),
        ] {
            assert!(ends(room, &allowed, &act), "{}: {act:?}", room.name());
        }
        assert_eq!(tried(room, &allowed, &[Act::Thread, Act::Thread]), [0, 0]);
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn the_32_bit_interface_is_no_way_round_the_filters() {
    let house = House::new();
    for room in HELD {
        let signal = run(room, &house.allowed(room), &[Act::OldInterface]).status.signal();
        // A kernel without that interface ends whoever tries it by itself.
        assert!([Some(libc::SIGSYS), Some(libc::SIGSEGV)].contains(&signal), "{}: {signal:?}", room.name());
    }
}
