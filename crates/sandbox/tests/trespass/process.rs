//! Other processes, privileges, and the start itself.

use std::io::BufRead;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Child;

use crate::*;

/// A room that stays, and its /proc/PID/status.
fn staying(mut command: Command) -> (Child, String) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "here\n");
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    (child, status)
}

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    status.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default().trim_start_matches(':').trim()
}

#[test]
fn a_held_room_has_no_privilege_no_core_dump_and_three_filters_as_proc_shows_it() {
    let house = House::new();
    for room in HELD {
        let (mut child, status) = staying(command(room, &house.allowed(room), &[Act::Stay]));
        for (name, wanted) in [
            ("NoNewPrivs", "1"),
            ("Seccomp", "2"),
            ("Seccomp_filters", "3"),
            ("CapEff", "0000000000000000"),
            ("CapPrm", "0000000000000000"),
            ("CapInh", "0000000000000000"),
            ("CapAmb", "0000000000000000"),
        ] {
            assert_eq!(field(&status, name), wanted, "{}: {name}", room.name());
        }
        if rustix::process::geteuid().is_root() {
            assert_eq!(field(&status, "CapBnd"), "0000000000000000");
        }
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
        let core = limits.lines().find(|l| l.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn a_room_signals_nobody_and_reads_nobodys_memory() {
    let house = House::new();
    let (mut sibling, _) = staying(command(Room::Vault, &house.allowed(Room::Vault), &[Act::Stay]));
    let pid = i64::from(sibling.id());
    for room in HELD {
        let allowed = house.allowed(room);
        let of = |name: &str| Act::Read(format!("/proc/{pid}/{name}").into());
        let acts = [Act::Signal(pid as i32), of("mem"), of("environ"), of("maps"), of("fd/0"), of("status")];
        let outcomes = tried(room, &allowed, &acts);
        assert_eq!(outcomes[0], PERMISSION, "{}", room.name());
        assert!(outcomes[1..].iter().all(|o| *o == ACCESS), "{}: {outcomes:?}", room.name());
        assert_eq!(tried(room, &landlock_alone(&allowed), &acts[..1]), [PERMISSION], "Landlock's scope");
        for number in
            [libc::SYS_ptrace, libc::SYS_process_vm_readv, libc::SYS_process_vm_writev, libc::SYS_pidfd_getfd]
        {
            let attach = i64::from(libc::PTRACE_ATTACH);
            let with =
                if number == libc::SYS_ptrace { [attach, pid, 0, 0, 0, 0] } else { [pid, 0, 0, 0, 0, 0] };
            assert!(ends(room, &allowed, &Act::Call { number, with }), "{}: {number}", room.name());
        }
    }
    sibling.kill().unwrap();
    sibling.wait().unwrap();
}

#[test]
fn the_same_user_can_not_look_into_a_held_room_from_outside() {
    let house = House::new();
    let mut command = command(Room::Vault, &house.allowed(Room::Vault), &[Act::Stay]);
    let own = rustix::process::geteuid();
    let nobody = 65_534;
    if own.is_root() {
        std::fs::set_permissions(house.at("."), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        std::os::unix::fs::chown(house.folder(Room::Vault), Some(nobody), None).unwrap();
        command.uid(nobody).gid(nobody);
    }
    let (mut child, status) = staying(command);
    let user = if own.is_root() { nobody } else { own.as_raw() };
    assert_eq!(field(&status, "Uid").split_whitespace().next(), Some(user.to_string().as_str()));
    // The kernel gives the files of a process that is closed to others to root.
    let environ = format!("/proc/{}/environ", child.id());
    assert_eq!(std::fs::metadata(&environ).unwrap().uid(), 0);
    let mut look = Command::new("cat");
    look.arg(&environ).stdout(Stdio::null()).stderr(Stdio::null());
    if own.is_root() {
        look.uid(nobody).gid(nobody);
    }
    assert!(!look.status().unwrap().success());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_room_that_is_not_held_whole_does_not_go_on() {
    let house = House::new();
    let missing = Allowed::only(house.at("nowhere"));
    let output = run(Room::Reader, &missing, &[Act::Thread]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stdout).contains("nowhere"));
    // Within a room a second sandbox can't be made: the filters forbid it, and it is said.
    let read = house.allowed(Room::Reader);
    assert_eq!(
        tried(Room::Reader, &read, &[Act::Call { number: libc::SYS_seccomp, with: [1, 0, 0, 0, 0, 0] }]),
        [PERMISSION]
    );
}

#[test]
fn memory_is_locked_where_the_limit_lets_it() {
    let house = House::new();
    let allowed = Allowed { lock_memory: true, ..house.allowed(Room::Vault) };
    let (mut child, status) = staying(command(Room::Vault, &allowed, &[Act::Stay]));
    let locked: u64 = field(&status, "VmLck").split_whitespace().next().unwrap().parse().unwrap();
    let limit = rustix::process::getrlimit(rustix::process::Resource::Memlock);
    let capabilities = rustix::thread::capabilities(None).unwrap().effective;
    let may = limit.maximum.is_none() || capabilities.contains(rustix::thread::CapabilitySet::SYS_RESOURCE);
    assert_eq!(locked > 0, may, "{locked} kB");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_vault_whose_memory_may_not_be_locked_goes_on_without_and_can_be_seen_to() {
    let house = House::new();
    let allowed = Allowed { lock_memory: true, ..house.allowed(Room::Vault) };
    let held = command(Room::Vault, &allowed, &[Act::Stay]);
    // 64 KiB, and nobody who could raise it: root has to give that up first.
    let mut limited = if rustix::process::geteuid().is_root() {
        let mut setpriv = std::process::Command::new("setpriv");
        setpriv.args(["--bounding-set=-sys_resource,-ipc_lock", "--inh-caps=-all", "sh"]);
        setpriv
    } else {
        std::process::Command::new("sh")
    };
    limited.args(["-c", "ulimit -l 64 && exec \"$@\"", "sh"]);
    limited.arg(held.get_program()).args(held.get_args()).env_clear();
    let (mut child, status) = staying(limited);
    assert_eq!(field(&status, "VmLck").split_whitespace().next(), Some("0"));
    assert_eq!(field(&status, "Seccomp"), "2", "all else holds");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_kernel_without_landlock_is_refused_by_name_unless_that_is_accepted() {
    let house = House::new();
    let lacking = [libc::SYS_landlock_create_ruleset];
    for room in HELD {
        let allowed = house.allowed(room);
        let output = on_a_kernel_without(&lacking, room, &allowed, &[Act::Thread]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(3), "{said}");
        for named in
            ["landlock (needs Linux 5.19", "landlock_truncate", "landlock_tcp", "sandbox.danger_without = ["]
        {
            assert!(said.contains(named), "{said}");
        }
        let accepted = Allowed { without: vec![Layer::Landlock], ..allowed };
        let output = on_a_kernel_without(&lacking, room, &accepted, &[Act::Thread]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "[0]\n", "{output:?}");
    }
}
