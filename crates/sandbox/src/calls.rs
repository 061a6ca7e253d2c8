//! Which system calls each room may make, as data: [`filter`](crate::filter) compiles it, the tests read it.
//!
//! Three answers. What the code of a room makes is allowed, with its arguments held where they matter. What
//! nothing in a room ever makes, and what an intruder wants first, ends the process: see [`killed`]. All else,
//! also what a later kernel adds, is refused with `EPERM`, since libraries probe for it and go on without.

use crate::Room;

/// A system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// As in syscalls(2).
    pub name: &'static str,
    /// Its number on this architecture.
    pub number: i64,
}

/// What an argument has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Is {
    /// This, looking at the low 32 bits.
    Word(u32),
    /// This, looking at all 64 bits.
    Whole(u64),
    /// Its low 32 bits, under this mask, are this value.
    Masked {
        /// The bits that count.
        mask: u32,
        /// What they have to be.
        value: u32,
    },
}

/// An argument, counted from 0, and what it has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argument(pub u8, pub Is);

/// A call that a room may make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allow {
    /// Which call.
    pub call: Call,
    /// It is allowed when all arguments of one of these fit; empty: always.
    pub when: Vec<Vec<Argument>>,
}

macro_rules! calls {
    ($($name:ident)*) => {
        [$(Call { name: stringify!($name), number: number::$name }),*]
    };
}

/// The numbers under the calls' own names.
mod number {
    macro_rules! numbers {
        ($($name:ident = $number:ident,)*) => { $(#[allow(non_upper_case_globals)] pub(super) const $name: i64 = libc::$number;)* };
    }
    numbers! {
        accept4 = SYS_accept4, add_key = SYS_add_key, acct = SYS_acct, adjtimex = SYS_adjtimex, bpf = SYS_bpf, brk = SYS_brk,
        chroot = SYS_chroot, clock_adjtime = SYS_clock_adjtime, clock_getres = SYS_clock_getres,
        clock_gettime = SYS_clock_gettime, clock_nanosleep = SYS_clock_nanosleep, clock_settime = SYS_clock_settime,
        clone = SYS_clone, clone3 = SYS_clone3, close = SYS_close, connect = SYS_connect,
        copy_file_range = SYS_copy_file_range, delete_module = SYS_delete_module, dup = SYS_dup,
        epoll_create1 = SYS_epoll_create1, epoll_ctl = SYS_epoll_ctl, epoll_pwait = SYS_epoll_pwait,
        eventfd2 = SYS_eventfd2, execve = SYS_execve, execveat = SYS_execveat, exit = SYS_exit,
        exit_group = SYS_exit_group, faccessat = SYS_faccessat, faccessat2 = SYS_faccessat2,
        fallocate = SYS_fallocate, fanotify_init = SYS_fanotify_init, fchmod = SYS_fchmod, fcntl = SYS_fcntl,
        fdatasync = SYS_fdatasync, finit_module = SYS_finit_module, flock = SYS_flock, fsconfig = SYS_fsconfig,
        fsmount = SYS_fsmount, fsopen = SYS_fsopen, fspick = SYS_fspick, fstat = SYS_fstat, fsync = SYS_fsync,
        ftruncate = SYS_ftruncate, futex = SYS_futex, getcwd = SYS_getcwd, getdents64 = SYS_getdents64,
        getegid = SYS_getegid, geteuid = SYS_geteuid, getgid = SYS_getgid, getpeername = SYS_getpeername,
        getpid = SYS_getpid, getppid = SYS_getppid, getrandom = SYS_getrandom, getrusage = SYS_getrusage,
        getsockname = SYS_getsockname, getsockopt = SYS_getsockopt, gettid = SYS_gettid,
        gettimeofday = SYS_gettimeofday, getuid = SYS_getuid, init_module = SYS_init_module,
        io_uring_enter = SYS_io_uring_enter, io_uring_register = SYS_io_uring_register,
        io_uring_setup = SYS_io_uring_setup, ioctl = SYS_ioctl, kcmp = SYS_kcmp,
        kexec_file_load = SYS_kexec_file_load, kexec_load = SYS_kexec_load, keyctl = SYS_keyctl,
        lseek = SYS_lseek, madvise = SYS_madvise, mkdirat = SYS_mkdirat, mmap = SYS_mmap, mount = SYS_mount,
        mount_setattr = SYS_mount_setattr, move_mount = SYS_move_mount, mprotect = SYS_mprotect,
        mremap = SYS_mremap, munmap = SYS_munmap, name_to_handle_at = SYS_name_to_handle_at,
        nanosleep = SYS_nanosleep, newfstatat = SYS_newfstatat, open_by_handle_at = SYS_open_by_handle_at,
        open_tree = SYS_open_tree, openat = SYS_openat, perf_event_open = SYS_perf_event_open,
        personality = SYS_personality, pidfd_getfd = SYS_pidfd_getfd, pivot_root = SYS_pivot_root,
        ppoll = SYS_ppoll, prctl = SYS_prctl, pread64 = SYS_pread64, preadv = SYS_preadv,
        prlimit64 = SYS_prlimit64, process_madvise = SYS_process_madvise, process_vm_readv = SYS_process_vm_readv,
        process_vm_writev = SYS_process_vm_writev, ptrace = SYS_ptrace, pwrite64 = SYS_pwrite64,
        pwritev = SYS_pwritev, quotactl = SYS_quotactl, read = SYS_read, readlinkat = SYS_readlinkat,
        readv = SYS_readv, reboot = SYS_reboot, recvfrom = SYS_recvfrom, recvmsg = SYS_recvmsg,
        renameat = SYS_renameat, renameat2 = SYS_renameat2, request_key = SYS_request_key,
        restart_syscall = SYS_restart_syscall, rseq = SYS_rseq, rt_sigaction = SYS_rt_sigaction,
        rt_sigprocmask = SYS_rt_sigprocmask, rt_sigreturn = SYS_rt_sigreturn,
        sched_getaffinity = SYS_sched_getaffinity, sched_yield = SYS_sched_yield, sendmsg = SYS_sendmsg,
        sendto = SYS_sendto, set_robust_list = SYS_set_robust_list, setdomainname = SYS_setdomainname,
        setgid = SYS_setgid, setgroups = SYS_setgroups, sethostname = SYS_sethostname, setns = SYS_setns,
        setresgid = SYS_setresgid, setresuid = SYS_setresuid, setsockopt = SYS_setsockopt,
        settimeofday = SYS_settimeofday, setuid = SYS_setuid, shutdown = SYS_shutdown,
        sigaltstack = SYS_sigaltstack, socket = SYS_socket, socketpair = SYS_socketpair, statx = SYS_statx,
        swapoff = SYS_swapoff, swapon = SYS_swapon, sysinfo = SYS_sysinfo, syslog = SYS_syslog,
        tgkill = SYS_tgkill, umount2 = SYS_umount2, uname = SYS_uname, unlinkat = SYS_unlinkat,
        unshare = SYS_unshare, userfaultfd = SYS_userfaultfd, vhangup = SYS_vhangup, write = SYS_write,
        writev = SYS_writev, sendmmsg = SYS_sendmmsg,
    }
    #[cfg(target_arch = "x86_64")]
    numbers! {
        access = SYS_access, epoll_wait = SYS_epoll_wait, fork = SYS_fork, getdents = SYS_getdents,
        ioperm = SYS_ioperm, iopl = SYS_iopl, lstat = SYS_lstat, mkdir = SYS_mkdir, modify_ldt = SYS_modify_ldt,
        open = SYS_open, poll = SYS_poll, readlink = SYS_readlink, rename = SYS_rename, rmdir = SYS_rmdir,
        stat = SYS_stat, unlink = SYS_unlink, vfork = SYS_vfork,
    }
}

/// Memory, threads, time, waiting, what one may know of oneself, and the files and connections one has.
const EVERY_ROOM: &[Call] = &calls![
    brk munmap mremap madvise
    futex set_robust_list rseq sched_yield sched_getaffinity exit exit_group restart_syscall
    rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack
    clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday
    epoll_create1 epoll_ctl epoll_pwait eventfd2 ppoll
    getpid getppid gettid getuid geteuid getgid getegid getrandom getrusage uname sysinfo getcwd
    close dup read write readv writev pread64 pwrite64 preadv pwritev lseek fstat newfstatat statx
    readlinkat faccessat faccessat2 getdents64 fsync fdatasync ftruncate fallocate
    renameat renameat2 unlinkat mkdirat
    getsockname getpeername getsockopt shutdown recvfrom recvmsg
];

/// The same where the architecture has older calls for it.
#[cfg(target_arch = "x86_64")]
const EVERY_ROOM_OLDER: &[Call] = &calls![
    stat lstat access readlink getdents poll epoll_wait rename unlink mkdir rmdir
];
#[cfg(not(target_arch = "x86_64"))]
const EVERY_ROOM_OLDER: &[Call] = &[];

/// What ends the process: another program, another process's memory or descriptors, a namespace or mount, the
/// kernel's own programs and keys, its less trodden ways round a filter.
const KILLED: &[Call] = &calls![
    execve execveat ptrace process_vm_readv process_vm_writev process_madvise pidfd_getfd kcmp
    bpf io_uring_setup io_uring_enter io_uring_register perf_event_open userfaultfd
    add_key request_key keyctl
    unshare setns chroot pivot_root mount umount2 open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr
    name_to_handle_at open_by_handle_at fanotify_init quotactl acct
    init_module finit_module delete_module kexec_load kexec_file_load reboot swapon swapoff syslog
    clock_settime clock_adjtime adjtimex settimeofday sethostname setdomainname personality vhangup
    setuid setgid setresuid setresgid setgroups
];

#[cfg(target_arch = "x86_64")]
const KILLED_OLDER: &[Call] = &calls![fork vfork iopl ioperm modify_ldt];
#[cfg(not(target_arch = "x86_64"))]
const KILLED_OLDER: &[Call] = &[];

/// Refused as if the kernel had none: glibc then takes `clone`, whose flags can be looked at.
pub const NOT_THERE: Call = Call { name: "clone3", number: number::clone3 };

/// Ends the process unless its flags are a thread's.
pub const THREADS_ALONE: Call = Call { name: "clone", number: number::clone };

/// The flags of a thread of this process, in no namespace of its own (clone(2)).
pub const THREAD_MASK: u32 = NEW_NAMESPACES | (libc::CLONE_THREAD | libc::CLONE_VM) as u32;
const NEW_NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32;
/// What they have to be under that mask.
pub const THREAD: u32 = (libc::CLONE_THREAD | libc::CLONE_VM) as u32;

/// What ends the process whatever its arguments; [`THREADS_ALONE`] beside it.
pub fn killed() -> impl Iterator<Item = Call> {
    KILLED.iter().chain(KILLED_OLDER).copied()
}

fn one(call: Call, arguments: &[Argument]) -> Allow {
    Allow { call, when: vec![arguments.to_vec()] }
}

fn any(call: Call, index: u8, values: &[u32]) -> Allow {
    Allow { call, when: values.iter().map(|v| vec![Argument(index, Is::Word(*v))]).collect() }
}

fn none_of(bits: u32) -> Is {
    Is::Masked { mask: bits, value: 0 }
}

/// What is done to descriptors.
const FCNTL: &[u32] = FCNTL_AND_WAITING.split_at(8).0;
/// A token's module waits for the locks of its files.
const FCNTL_AND_WAITING: [u32; 9] = [
    libc::F_GETFD as u32,
    libc::F_SETFD as u32,
    libc::F_GETFL as u32,
    libc::F_SETFL as u32,
    libc::F_DUPFD as u32,
    libc::F_DUPFD_CLOEXEC as u32,
    libc::F_GETLK as u32,
    libc::F_SETLK as u32,
    libc::F_SETLKW as u32,
];

/// What every room makes and what is held by its arguments. `pid`: the process that is held.
fn held(room: Room, pid: u32) -> Vec<Allow> {
    let [mmap, mprotect, clone, tgkill, prctl, prlimit, ioctl, fcntl, socketpair, setsockopt, openat, fchmod] =
        calls![mmap mprotect clone tgkill prctl prlimit64 ioctl fcntl socketpair setsockopt openat fchmod];
    let no_other_user = none_of(libc::S_ISUID | libc::S_ISGID);
    let executable = none_of(libc::PROT_EXEC as u32);
    let (socket, tcp) = (libc::SOL_SOCKET as u32, libc::IPPROTO_TCP as u32);
    let option =
        |level: u32, name: i32| vec![Argument(1, Is::Word(level)), Argument(2, Is::Word(name as u32))];
    let mut out = vec![
        // A file that runs as its owner would be a way for others on the host, whom no sandbox holds.
        one(openat, &[Argument(3, no_other_user)]),
        one(fchmod, &[Argument(1, no_other_user)]),
        // No bytes that came in become code.
        one(mmap, &[Argument(2, executable)]),
        one(mprotect, &[Argument(2, executable)]),
        one(clone, &[Argument(0, Is::Masked { mask: THREAD_MASK, value: THREAD })]),
        // abort() and a thread's own signals; nobody else's process.
        one(tgkill, &[Argument(0, Is::Word(pid))]),
        any(prctl, 0, &[libc::PR_SET_NAME as u32]),
        // One's own limits may be read.
        one(prlimit, &[Argument(0, Is::Word(0)), Argument(2, Is::Whole(0))]),
        any(ioctl, 1, &[libc::FIONBIO as u32, libc::FIOCLEX as u32]),
        // Not the ones that have the kernel send signals (F_SETOWN, F_SETSIG, leases, notifications).
        any(fcntl, 1, if room == Room::Hsm { &FCNTL_AND_WAITING } else { FCNTL }),
        // tokio wakes itself through one. No datagrams: those could be sent to any socket path.
        one(
            socketpair,
            &[
                Argument(0, Is::Word(libc::AF_UNIX as u32)),
                Argument(1, Is::Masked { mask: 0xf, value: libc::SOCK_STREAM as u32 }),
            ],
        ),
        Allow {
            call: setsockopt,
            when: vec![
                option(tcp, libc::TCP_NODELAY),
                option(tcp, libc::TCP_KEEPIDLE),
                option(tcp, libc::TCP_KEEPINTVL),
                option(tcp, libc::TCP_KEEPCNT),
                option(tcp, libc::TCP_USER_TIMEOUT),
                option(socket, libc::SO_KEEPALIVE),
                option(socket, libc::SO_LINGER),
            ],
        },
    ];
    #[cfg(target_arch = "x86_64")]
    out.push(one(calls![open][0], &[Argument(2, no_other_user)]));
    out
}

/// Writing to sockets. One that may be or become an unconnected TCP socket (a listener after shutdown(2))
/// could be connected by MSG_FASTOPEN without connect(2), which Landlock need not see.
fn sending(room: Room) -> Vec<Allow> {
    let [sendto, sendmsg] = calls![sendto sendmsg];
    match room {
        Room::Door | Room::Core | Room::Courier => vec![
            one(sendto, &[Argument(3, none_of(libc::MSG_FASTOPEN as u32))]),
            one(sendmsg, &[Argument(2, none_of(libc::MSG_FASTOPEN as u32))]),
        ],
        Room::Reader | Room::Vault | Room::Hsm => {
            [sendto, sendmsg].map(|call| Allow { call, when: Vec::new() }).into()
        }
    }
}

/// What a room alone makes.
fn own(room: Room, dns_over_udp: bool) -> Vec<Allow> {
    let always = |call| Allow { call, when: Vec::new() };
    match room {
        Room::Door => calls![accept4].map(always).into(),
        // Copies of the database are made whole before an upgrade.
        Room::Core => calls![accept4 copy_file_range].map(always).into(),
        Room::Reader | Room::Hsm => Vec::new(),
        // The ledger's own lock. Not to let go: the house's lock is held by an inherited descriptor.
        Room::Vault => {
            vec![one(calls![flock][0], &[Argument(1, Is::Word((libc::LOCK_EX | libc::LOCK_NB) as u32))])]
        }
        Room::Courier => {
            let [socket, connect] = calls![socket connect];
            let kind = |kind: i32| Is::Masked { mask: 0xf, value: kind as u32 };
            let mut when = Vec::new();
            for family in [libc::AF_INET, libc::AF_INET6] {
                let family = Argument(0, Is::Word(family as u32));
                // No other protocol that streams: Landlock sees TCP alone (not MPTCP, SCTP, SMC).
                for protocol in [0, libc::IPPROTO_TCP as u32] {
                    when.push(vec![
                        family,
                        Argument(1, kind(libc::SOCK_STREAM)),
                        Argument(2, Is::Word(protocol)),
                    ]);
                }
                if dns_over_udp {
                    for protocol in [0, libc::IPPROTO_UDP as u32] {
                        when.push(vec![
                            family,
                            Argument(1, kind(libc::SOCK_DGRAM)),
                            Argument(2, Is::Word(protocol)),
                        ]);
                    }
                }
            }
            let mut out = vec![Allow { call: socket, when }, always(connect)];
            if dns_over_udp {
                out.push(one(calls![sendmmsg][0], &[Argument(3, none_of(libc::MSG_FASTOPEN as u32))]));
            }
            out
        }
    }
}

/// All that a room may make. `pid`: the process that is held; `dns_over_udp`: the courier's names are
/// resolved by datagrams.
#[must_use]
pub fn allowed(room: Room, pid: u32, dns_over_udp: bool) -> Vec<Allow> {
    let always = EVERY_ROOM.iter().chain(EVERY_ROOM_OLDER);
    let mut out: Vec<Allow> = always.map(|call| Allow { call: *call, when: Vec::new() }).collect();
    out.extend(held(room, pid));
    out.extend(sending(room));
    out.extend(own(room, dns_over_udp));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_call_is_allowed_and_ends_the_process() {
        let killed: BTreeSet<i64> = killed().map(|c| c.number).collect();
        for room in Room::ALL.into_iter().chain([Room::Hsm]) {
            let rules = allowed(room, 1, true);
            let numbers: BTreeSet<i64> = rules.iter().map(|a| a.call.number).collect();
            assert_eq!(numbers.len(), rules.len(), "a call has two rules for the {}", room.name());
            assert_eq!(numbers.intersection(&killed).count(), 0, "{}", room.name());
            assert!(!numbers.contains(&NOT_THERE.number));
        }
    }

    #[test]
    fn only_the_courier_makes_sockets_and_only_door_and_core_take_connections() {
        let may = |room: Room, name: &str| allowed(room, 1, false).iter().any(|a| a.call.name == name);
        for room in Room::ALL.into_iter().chain([Room::Hsm]) {
            assert_eq!(may(room, "socket"), room == Room::Courier);
            assert_eq!(may(room, "connect"), room == Room::Courier);
            assert_eq!(may(room, "accept4"), matches!(room, Room::Door | Room::Core));
            for never in ["bind", "listen", "kill", "chmod", "fchmodat", "link", "symlink", "truncate"] {
                assert!(!may(room, never), "{} {never}", room.name());
            }
        }
    }
}
