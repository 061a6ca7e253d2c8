//! The supervisor and its five rooms, as processes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::{Duration, Instant};

use testkit::house::House;

const ROOMS: [&str; 5] = ["door", "reader", "core", "vault", "courier"];

fn house() -> House {
    House::start(env!("CARGO_BIN_EXE_matron"), &[]).unwrap()
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < until, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_first_start_makes_everything_and_a_second_finds_it() {
    let mut house = house();
    assert!(house.token().starts_with("matron-join-"));
    let root = std::fs::read(house.room_dir("door").join("root.pub")).unwrap();
    house.stop().unwrap();
    house.run().unwrap();
    assert_eq!(std::fs::read(house.room_dir("door").join("root.pub")).unwrap(), root);
    for room in ROOMS {
        assert!(house.pid(room).is_some(), "{room}");
    }
}

#[test]
fn each_room_that_is_killed_is_started_again_and_the_others_go_on() {
    let house = house();
    for room in ROOMS {
        let before: Vec<_> = ROOMS.iter().map(|r| house.pid(r)).collect();
        house.kill_room(room).unwrap();
        wait_for(room, || house.pid(room).is_some_and(|p| !before.contains(&Some(p))));
        for (other, pid) in ROOMS.iter().zip(&before).filter(|(r, _)| **r != room) {
            assert_eq!(house.pid(other), *pid, "{other} went on while {room} died");
        }
    }
}

#[test]
fn rooms_end_when_their_supervisor_is_killed() {
    let mut house = house();
    let pids: Vec<_> = ROOMS.iter().map(|r| house.pid(r).unwrap()).collect();
    house.kill().unwrap();
    for pid in pids {
        wait_for("a room to end", || {
            let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            state.is_empty() || state.contains(") Z ")
        });
    }
    house.run().unwrap();
}

#[test]
fn there_is_no_socket_path_and_keys_are_for_their_owner_alone() {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};
    let house = house();
    let mut folders = vec![house.data()];
    let mut keys = 0;
    while let Some(dir) = folders.pop() {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            let kind = entry.file_type().unwrap();
            assert!(!kind.is_socket(), "{}", entry.path().display());
            if kind.is_dir() {
                folders.push(entry.path());
            } else if entry.file_name().to_string_lossy().contains("key") {
                keys += 1;
                let mode = entry.metadata().unwrap().permissions().mode();
                assert_eq!(mode & 0o077, 0, "{}", entry.path().display());
            }
        }
    }
    assert!(keys >= 6, "only {keys} key files were looked at");
}

#[test]
fn two_servers_do_not_share_a_data_folder() {
    let house = house();
    let data = house.data();
    let second = house.matron(&["serve", "--data", data.to_str().unwrap()]).unwrap();
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("another 'matron serve' runs on"));
}

#[test]
fn a_mistake_in_the_configuration_stops_the_start_by_its_name() {
    let house = house();
    let out = house.matron(&["serve", "--data", "/nonexistent", "--set", "phones.lisen=1"]).unwrap();
    assert!(!out.status.success());
    assert!(String::from_utf8_lossy(&out.stderr).contains("lisen"));
}

/// A `matron` that a careless script starts: with a variable and an open file too many.
fn careless(dir: &std::path::Path) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let (script, secret) = (dir.join("careless"), dir.join("left-open"));
    std::fs::write(&secret, "not for a room").unwrap();
    let text = format!(
        "#!/bin/sh\nexport LEFT_OVER=not-for-a-room\nexec 7<{}\nexec {} \"$@\"\n",
        secret.display(),
        env!("CARGO_BIN_EXE_matron")
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    script
}

#[test]
fn a_room_inherits_no_variable_and_no_descriptor_but_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::start(careless(dir.path()), &[]).unwrap();
    let mut looked = 0;
    for room in ROOMS {
        let process = format!("/proc/{}", house.pid(room).unwrap());
        // A room is closed to its own user's processes: only root looks.
        let Ok(environ) = std::fs::read_to_string(format!("{process}/environ")) else { continue };
        for variable in environ.split('\0').filter(|v| !v.is_empty()) {
            let resolver = room == "courier" && variable == "RES_OPTIONS=use-vc";
            assert!(resolver || variable.starts_with("RUST_BACKTRACE="), "{room} has {variable}");
        }
        let own = house.room_dir(room);
        for entry in std::fs::read_dir(format!("{process}/fd")).unwrap().flatten() {
            let Ok(to) = std::fs::read_link(entry.path()) else { continue };
            let text = to.to_string_lossy().into_owned();
            let known = to.starts_with(&own)
                || ["socket:", "pipe:", "anon_inode:"].iter().any(|kind| text.starts_with(kind))
                || text == "/dev/null"
                || to == house.data().join("lock")
                || to == house.data().parent().unwrap().join("log");
            assert!(known, "{room} holds {text}");
            if to == house.data().join("lock") {
                let info = entry.path().to_string_lossy().replace("/fd/", "/fdinfo/");
                let info = std::fs::read_to_string(info).unwrap();
                let flags = info.lines().find_map(|l| l.strip_prefix("flags:")).unwrap().trim();
                assert!(flags.ends_with('0'), "{room} can write the lock: {flags}");
            }
        }
        looked += 1;
    }
    if looked == 0 {
        skipped::not_possible("only root sees what a held room has inherited");
    }
}

/// A field of /proc/PID/status.
fn status(pid: u32, name: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let value = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
    value.unwrap_or_default().trim().to_owned()
}

#[test]
fn a_running_house_is_held_by_the_kernel_as_proc_shows_it() {
    let house = house();
    for room in ROOMS {
        let pid = house.pid(room).unwrap();
        for (name, wanted) in [
            ("NoNewPrivs", "1"),
            ("Seccomp", "2"),
            ("CapEff", "0000000000000000"),
            ("CapPrm", "0000000000000000"),
        ] {
            assert_eq!(status(pid, name), wanted, "{room}: {name}");
        }
        assert!(status(pid, "Seccomp_filters").parse::<u32>().unwrap() >= 3);
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        assert!(limits.lines().any(|l| l.starts_with("Max core file size        0 ")), "{limits}");
        // No setuid program helps, and the rooms' supervisor is closed as they are.
        let parent: u32 = status(pid, "PPid").parse().unwrap();
        assert_eq!(status(parent, "NoNewPrivs"), "1");
    }
    let log = house.log();
    for room in ROOMS {
        let held =
            |l: &str| l.contains("the kernel holds the room") && l.contains(&format!("room=\"{room}\""));
        let line = log.lines().find(|l| held(l)).unwrap_or_else(|| panic!("{log}"));
        assert!(line.contains("sandbox.filters=3") && line.contains("sandbox.landlock="), "{line}");
    }
}

#[test]
fn a_layer_is_left_out_only_by_its_name_and_that_is_said() {
    let without = r#"sandbox.danger_without=["seccomp", "landlock"]"#;
    let house = House::start(env!("CARGO_BIN_EXE_matron"), &[without]).unwrap();
    for room in ROOMS {
        let pid = house.pid(room).unwrap();
        assert_eq!(status(pid, "Seccomp"), "0");
        assert_eq!(status(pid, "NoNewPrivs"), "1");
    }
    assert!(house.log().contains("the rooms run without seccomp, landlock"), "{}", house.log());
    let data = house.data();
    let data = data.to_str().unwrap();
    let told = |set: &str| {
        let out = house.matron(&["doctor", "--json", "--data", data, "--set", set]).unwrap();
        let report: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        let checks = report["checks"].as_array().unwrap().clone();
        let of = |id: &str| checks.iter().find(|c| c["id"] == id).unwrap()["verdict"].clone();
        (of("sandbox.door"), of("sandbox.files"))
    };
    assert_eq!(told(without), ("warn".into(), "warn".into()));
    // By a configuration that does not accept it, the rooms that run are at fault.
    assert_eq!(told("sandbox.danger_without=[]").0, "fail");
    let wrong = house
        .matron(&["serve", "--data", "/nonexistent", "--set", "sandbox.danger_without=[\"all\"]"])
        .unwrap();
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("landlock_tcp"), "{wrong:?}");
}

/// A script that starts `matron` where /etc/passwd has a user for each room, in a mount namespace of its own, and
/// lets those users through to the data folder. `None`, where that is not allowed.
fn with_users(dir: &std::path::Path) -> Option<std::path::PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let (script, passwd) = (dir.join("with-users"), dir.join("passwd"));
    let mut users = std::fs::read_to_string("/etc/passwd").unwrap();
    for (uid, room) in (64_001..).zip(ROOMS) {
        users.push_str(&format!("house-{room}:x:{uid}:{uid}::/:/usr/sbin/nologin\n"));
    }
    std::fs::write(&passwd, users).unwrap();
    let within = format!("mount --bind {} /etc/passwd && exec", passwd.display());
    let text = format!(
        "#!/bin/sh\nchmod 711 \"$(dirname \"$3\")\"\nexec unshare --mount sh -c '{within} {} \"$@\"' sh \"$@\"\n",
        env!("CARGO_BIN_EXE_matron")
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut probe = std::process::Command::new("unshare");
    probe.args(["--mount", "sh", "-c"]).arg(format!("{within} true"));
    let may = probe.status().is_ok_and(|s| s.success());
    // The rooms' users have to reach the program.
    let reached = std::path::Path::new(env!("CARGO_BIN_EXE_matron"))
        .ancestors()
        .skip(1)
        .all(|folder| std::fs::metadata(folder).unwrap().permissions().mode() & 0o001 != 0);
    if !may || !reached {
        skipped::not_possible("users of their own need root, and a program that they can reach");
        return None;
    }
    Some(script)
}

#[test]
fn started_as_root_each_room_is_a_user_of_its_own_and_its_folder_is_its_users() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let Some(script) = with_users(dir.path()) else { return };
    let mut house = House::start(script, &["sandbox.user_prefix=house-"]).unwrap();
    let check = |house: &House| {
        for (uid, room) in (64_001..).zip(ROOMS) {
            let pid = house.pid(room).unwrap();
            let uids = format!("{uid}\t{uid}\t{uid}\t{uid}");
            assert_eq!(status(pid, "Uid"), uids, "{room}");
            assert_eq!(status(pid, "Gid"), uids, "{room}");
            assert_eq!(status(pid, "Groups"), "", "{room}");
            let folder = std::fs::metadata(house.room_dir(room)).unwrap();
            assert_eq!((folder.uid(), folder.mode() & 0o077), (uid, 0), "{room}");
            // Closed to its own user's other processes.
            assert_eq!(std::fs::metadata(format!("/proc/{pid}/environ")).unwrap().uid(), 0, "{room}");
        }
    };
    check(&house);
    for room in ROOMS {
        let before = house.pid(room);
        house.kill_room(room).unwrap();
        wait_for(room, || house.pid(room).is_some_and(|p| Some(p) != before));
    }
    house.stop().unwrap();
    house.run().unwrap();
    check(&house);
    let data = house.data();
    let doctor =
        ["doctor", "--json", "--data", data.to_str().unwrap(), "--set", "sandbox.user_prefix=house-"];
    let out = house.matron(&doctor).unwrap();
    let report: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|_| panic!("{out:?}"));
    let checks = report["checks"].as_array().unwrap();
    for id in ["data", "sandbox.users", "sandbox.vault", "sandbox.door", "database", "ledger"] {
        let check = checks.iter().find(|c| c["id"] == id).unwrap();
        assert_eq!(check["verdict"], "ok", "{check:#}");
    }
    assert!(!checks.iter().any(|c| c["id"] == "data.owner"), "{checks:#?}");
    let users = checks.iter().find(|c| c["id"] == "sandbox.users").unwrap();
    assert!(users["found"].as_str().unwrap().contains("of its own"), "{users:#}");
}
