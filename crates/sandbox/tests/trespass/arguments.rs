//! Calls that a room makes, with arguments that it may not give.

use std::collections::BTreeSet;

use sandbox::calls::allowed;

use crate::act::OWN_PID;
use crate::*;

/// A call, arguments that are refused, and arguments that pass (whatever the kernel then says of them).
type Row = (&'static str, i64, &'static [[i64; 6]], &'static [[i64; 6]]);

const NONE: i64 = -1;
/// fcntl(2); not in libc.
const F_SETSIG: i32 = 10;
const FAST: i64 = libc::MSG_FASTOPEN as i64;
const QUIET: i64 = libc::MSG_NOSIGNAL as i64;
const ANONYMOUS: i64 = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as i64;

const fn option(level: i32, name: i32) -> [i64; 6] {
    [NONE, level as i64, name as i64, 0, 0, 0]
}

const fn on(descriptor: i64, command: i32) -> [i64; 6] {
    [descriptor, command as i64, 0, 0, 0, 0]
}

const fn socket(family: i32, kind: i32, protocol: i32) -> [i64; 6] {
    [family as i64, kind as i64, protocol as i64, 0, 0, 0]
}

const ROWS: &[Row] = &[
    // No file that runs as its owner.
    (
        "openat",
        libc::SYS_openat,
        &[[NONE, 0, 0, 0o4700, 0, 0], [NONE, 0, libc::O_CREAT as i64, 0o2700, 0, 0]],
        &[[NONE, 0, libc::O_CREAT as i64, 0o777, 0, 0]],
    ),
    ("fchmod", libc::SYS_fchmod, &[on(NONE, 0o4755), on(NONE, 0o2755)], &[on(NONE, 0o600)]),
    #[cfg(target_arch = "x86_64")]
    ("open", libc::SYS_open, &[[0, 0, 0o4700, 0, 0, 0], [0, 0, 0o2700, 0, 0, 0]], &[[0, 0, 0o600, 0, 0, 0]]),
    // No bytes become code.
    (
        "mmap",
        libc::SYS_mmap,
        &[
            [0, 4096, 5, ANONYMOUS, NONE, 0],
            [0, 4096, 7, ANONYMOUS, NONE, 0],
            [0, 4096, 4, ANONYMOUS, NONE, 0],
        ],
        &[[0, 4096, 3, ANONYMOUS, NONE, 0]],
    ),
    ("mprotect", libc::SYS_mprotect, &[[0, 4096, 5, 0, 0, 0], [0, 4096, 7, 0, 0, 0]], &[[0, 0, 1, 0, 0, 0]]),
    // Nobody else's threads.
    (
        "tgkill",
        libc::SYS_tgkill,
        &[[1, 1, 0, 0, 0, 0], [NONE, 1, 0, 0, 0, 0]],
        &[[OWN_PID, OWN_PID, 0, 0, 0, 0]],
    ),
    (
        "prctl",
        libc::SYS_prctl,
        &[
            [libc::PR_SET_DUMPABLE as i64, 1, 0, 0, 0, 0],
            [libc::PR_SET_PTRACER as i64, 1, 0, 0, 0, 0],
            [libc::PR_SET_MM as i64, 1, 0, 0, 0, 0],
            [libc::PR_SET_SECCOMP as i64, 2, 0, 0, 0, 0],
            [libc::PR_SET_SECUREBITS as i64, 0, 0, 0, 0, 0],
            [libc::PR_SET_PDEATHSIG as i64, 0, 0, 0, 0, 0],
        ],
        &[[libc::PR_SET_NAME as i64, 0, 0, 0, 0, 0]],
    ),
    (
        "prlimit64",
        libc::SYS_prlimit64,
        &[[1, libc::RLIMIT_NOFILE as i64, 0, 0, 0, 0], [0, libc::RLIMIT_CORE as i64, 1, 0, 0, 0]],
        &[[0, libc::RLIMIT_NOFILE as i64, 0, 0, 0, 0]],
    ),
    (
        "ioctl",
        libc::SYS_ioctl,
        &[on(2, libc::TIOCSTI as i32), on(2, libc::TCGETS as i32), on(2, libc::FIOASYNC as i32)],
        &[on(NONE, libc::FIONBIO as i32), on(NONE, libc::FIOCLEX as i32)],
    ),
    (
        "fcntl",
        libc::SYS_fcntl,
        &[
            on(2, libc::F_SETOWN),
            on(2, F_SETSIG),
            on(2, libc::F_SETLEASE),
            on(2, libc::F_NOTIFY),
            on(2, libc::F_SETPIPE_SZ),
            on(2, libc::F_OFD_SETLK),
        ],
        &[on(2, libc::F_GETFD), on(2, libc::F_GETFL)],
    ),
    (
        "socketpair",
        libc::SYS_socketpair,
        &[
            socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0),
            socket(libc::AF_UNIX, libc::SOCK_SEQPACKET, 0),
            socket(libc::AF_INET, libc::SOCK_STREAM, 0),
            socket(libc::AF_TIPC, libc::SOCK_STREAM, 0),
        ],
        &[socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0)],
    ),
    (
        "setsockopt",
        libc::SYS_setsockopt,
        &[
            option(libc::SOL_SOCKET, libc::SO_REUSEPORT),
            option(libc::SOL_SOCKET, libc::SO_ATTACH_FILTER),
            option(libc::SOL_SOCKET, libc::SO_ATTACH_BPF),
            option(libc::SOL_SOCKET, libc::SO_MARK),
            option(libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT),
            option(libc::IPPROTO_TCP, libc::TCP_REPAIR),
            option(libc::IPPROTO_TCP, libc::TCP_ULP),
            option(libc::IPPROTO_IP, libc::IP_TRANSPARENT),
            option(libc::IPPROTO_IPV6, libc::IPV6_V6ONLY),
        ],
        &[option(libc::IPPROTO_TCP, libc::TCP_NODELAY), option(libc::SOL_SOCKET, libc::SO_LINGER)],
    ),
    ("sendto", libc::SYS_sendto, &[[NONE, 0, 0, FAST, 0, 0]], &[[NONE, 0, 0, QUIET, 0, 0]]),
    ("sendmsg", libc::SYS_sendmsg, &[[NONE, 0, FAST | QUIET, 0, 0, 0]], &[[NONE, 0, QUIET, 0, 0, 0]]),
    ("sendmmsg", libc::SYS_sendmmsg, &[[NONE, 0, 0, FAST, 0, 0]], &[[NONE, 0, 0, QUIET, 0, 0]]),
    (
        "flock",
        libc::SYS_flock,
        &[on(NONE, libc::LOCK_UN), on(NONE, libc::LOCK_SH), on(NONE, libc::LOCK_EX)],
        &[on(NONE, libc::LOCK_EX | libc::LOCK_NB)],
    ),
    (
        "socket",
        libc::SYS_socket,
        &[
            socket(libc::AF_UNIX, libc::SOCK_STREAM, 0),
            socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP),
            socket(libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_ICMP),
            // Streams that Landlock takes for no TCP.
            socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP),
            socket(libc::AF_INET6, libc::SOCK_STREAM, libc::IPPROTO_SCTP),
            socket(libc::AF_NETLINK, libc::SOCK_RAW, 0),
            socket(libc::AF_PACKET, libc::SOCK_RAW, 0),
            socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0),
            socket(libc::AF_ALG, libc::SOCK_SEQPACKET, 0),
        ],
        &[
            socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0),
            socket(libc::AF_INET6, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, libc::IPPROTO_TCP),
        ],
    ),
];

#[test]
fn every_call_that_is_held_by_its_arguments_is_refused_with_others() {
    let house = House::new();
    for (room, dns_over_udp) in HELD.map(|r| (r, false)).into_iter().chain([(Room::Courier, true)]) {
        let rules = allowed(room, 1, dns_over_udp);
        let held: BTreeSet<&str> = rules.iter().filter(|a| !a.when.is_empty()).map(|a| a.call.name).collect();
        let rows: Vec<&Row> = ROWS.iter().filter(|row| held.contains(row.0)).collect();
        let mut tested: BTreeSet<&str> = rows.iter().map(|row| row.0).collect();
        // Ends the process: no_room_runs_a_program_and_none_makes_a_process_or_a_namespace.
        tested.insert("clone");
        assert_eq!(held, tested, "a rule of the {} has no row", room.name());
        let allowed = Allowed { dns_over_udp, ..house.allowed(room) };
        for (name, number, refused, passes) in rows {
            let acts: Vec<Act> = refused
                .iter()
                .chain(*passes)
                .map(|with| Act::Call { number: *number, with: *with })
                .collect();
            let outcomes = tried(room, &allowed, &acts);
            for (at, outcome) in outcomes.iter().enumerate() {
                let what = format!("{}: {name} {:?} gave {outcome}", room.name(), acts[at]);
                assert_eq!(*outcome == PERMISSION, at < refused.len(), "{what}");
            }
        }
    }
}

#[test]
fn datagrams_are_the_couriers_alone_and_only_by_its_configuration() {
    let house = House::new();
    let udp = Act::Call { number: libc::SYS_socket, with: socket(libc::AF_INET, libc::SOCK_DGRAM, 0) };
    for room in HELD {
        for dns_over_udp in [false, true] {
            let allowed = Allowed { dns_over_udp, ..house.allowed(room) };
            let made = tried(room, &allowed, std::slice::from_ref(&udp))[0] >= 0;
            assert_eq!(made, room == Room::Courier && dns_over_udp, "{}", room.name());
        }
    }
}
