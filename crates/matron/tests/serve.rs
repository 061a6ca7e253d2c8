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
