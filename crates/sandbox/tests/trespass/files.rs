//! Files: what Landlock alone refuses, so that no rule hides behind seccomp, and what both together do.

use std::collections::BTreeSet;

use crate::*;

/// A right that Landlock handles, an act that needs it where the room has it not, and what is answered.
fn rows(house: &House, room: Room) -> Vec<(&'static str, Act, &'static [i64])> {
    let theirs = house.folder(other(room));
    let own = house.folder(room);
    const REFUSED: &[i64] = &[ACCESS];
    const ELSEWHERE: &[i64] = &[ACCESS, OTHER_FOLDER];
    vec![
        ("ReadFile", Act::Read(theirs.join("key")), REFUSED),
        ("ReadFile", Act::Read(own.join("link")), REFUSED),
        ("ReadFile", Act::Read(own.join("..").join(other(room).name()).join("key")), REFUSED),
        ("ReadFile", Act::Read("/etc/passwd".into()), REFUSED),
        ("ReadFile", Act::Read("/etc/shadow".into()), REFUSED),
        ("ReadFile", Act::Read("/proc/self/mem".into()), REFUSED),
        ("ReadFile", Act::Read("/proc/1/environ".into()), REFUSED),
        ("ReadFile", Act::Read("/proc/1/mem".into()), REFUSED),
        ("ReadFile", Act::Read(house.at("data/lock")), REFUSED),
        ("ReadDir", Act::List(theirs.clone()), REFUSED),
        ("ReadDir", Act::List(house.at("data/rooms")), REFUSED),
        ("ReadDir", Act::List(house.at("tls")), REFUSED),
        ("ReadDir", Act::List("/proc".into()), REFUSED),
        ("WriteFile", Act::Write(theirs.join("key")), REFUSED),
        ("WriteFile", Act::Write(house.at("tls/chain.pem")), REFUSED),
        ("WriteFile", Act::Write("/etc/passwd".into()), REFUSED),
        ("WriteFile", Act::Write("/proc/self/mem".into()), REFUSED),
        ("WriteFile", Act::Write(house.at("data/lock")), REFUSED),
        ("Truncate", Act::OpenShort(house.at("tls/chain.pem")), REFUSED),
        ("Truncate", Act::Short(theirs.join("key")), REFUSED),
        ("MakeReg", Act::Make(theirs.join("new")), REFUSED),
        ("MakeReg", Act::Make(house.at("data/new")), REFUSED),
        ("MakeReg", Act::Make("/tmp/matron-trespasser".into()), REFUSED),
        ("MakeReg", Act::Make("/dev/shm/matron-trespasser".into()), REFUSED),
        ("MakeReg", Act::Link(theirs.join("key"), own.join("taken")), ELSEWHERE),
        ("MakeDir", Act::MakeFolder(theirs.join("new")), REFUSED),
        ("MakeDir", Act::MakeFolder(house.at("data/rooms/new")), REFUSED),
        ("RemoveFile", Act::Remove(theirs.join("key")), REFUSED),
        ("RemoveDir", Act::RemoveFolder(theirs.join("empty")), REFUSED),
        ("Refer", Act::Rename(own.join("key"), theirs.join("key")), ELSEWHERE),
        ("Refer", Act::Rename(theirs.join("key"), own.join("taken")), ELSEWHERE),
        ("MakeSym", Act::Symlink(theirs.join("key"), own.join("new")), REFUSED),
        ("MakeFifo", Act::Node(own.join("new"), libc::S_IFIFO), REFUSED),
        ("MakeSock", Act::Node(own.join("new"), libc::S_IFSOCK), REFUSED),
        ("MakeChar", Act::Node(own.join("new"), libc::S_IFCHR), REFUSED),
        ("MakeBlock", Act::Node(own.join("new"), libc::S_IFBLK), REFUSED),
        ("IoctlDev", Act::DeviceCommand("/dev/null".into()), REFUSED),
        ("Execute", Act::Execute(own.join("program")), REFUSED),
        ("Execute", Act::Execute("/bin/true".into()), REFUSED),
    ]
}

fn prepared() -> House {
    let house = House::new();
    for room in HELD {
        let target = house.folder(other(room)).join("key");
        std::os::unix::fs::symlink(target, house.folder(room).join("link")).unwrap();
    }
    std::fs::write(house.at("data/lock"), "1").unwrap();
    house
}

#[test]
fn landlock_alone_keeps_every_room_to_its_own_folder_and_what_its_configuration_names() {
    let house = prepared();
    for room in HELD {
        let rows = rows(&house, room);
        let tested: BTreeSet<&str> = rows.iter().map(|(right, ..)| *right).collect();
        assert_eq!(tested, sandbox::file_rights().iter().map(String::as_str).collect(), "a right has no row");
        let mut allowed = landlock_alone(&house.allowed(room));
        // So that the device opens, and what is refused is its command.
        allowed.reads.push("/dev".into());
        let acts: Vec<Act> = rows.iter().map(|(_, act, _)| act.clone()).collect();
        for ((right, act, wanted), outcome) in rows.iter().zip(tried(room, &allowed, &acts)) {
            assert!(wanted.contains(&outcome), "{}: {right} {act:?} gave {outcome}", room.name());
        }
    }
}

#[test]
fn no_room_reads_changes_or_removes_anothers_files_and_its_own_it_does() {
    let house = prepared();
    for room in HELD {
        let allowed = house.allowed(room);
        let rows = rows(&house, room);
        let acts: Vec<Act> =
            rows.iter().map(|(_, act, _)| act.clone()).filter(|a| !matches!(a, Act::Execute(_))).collect();
        for (act, outcome) in acts.iter().zip(tried(room, &allowed, &acts)) {
            assert!(
                [ACCESS, PERMISSION, OTHER_FOLDER].contains(&outcome),
                "{}: {act:?} gave {outcome}",
                room.name()
            );
        }
        let own = house.folder(room);
        let acts = [
            Act::Read(own.join("key")),
            Act::Write(own.join("key")),
            Act::OpenShort(own.join("key")),
            Act::List(own.clone()),
            Act::Make(own.join("made")),
            Act::Rename(own.join("made"), own.join("empty/moved")),
            Act::Remove(own.join("empty/moved")),
            Act::MakeFolder(own.join("folder")),
            Act::RemoveFolder(own.join("folder")),
            Act::Read(house.at("tls/chain.pem")),
        ];
        for (act, outcome) in acts.iter().zip(tried(room, &allowed, &acts)) {
            assert!(outcome >= 0, "{}: {act:?} gave {outcome}", room.name());
        }
        assert_eq!(
            std::fs::read_to_string(house.folder(other(room)).join("key")).unwrap_or_default().len(),
            {
                // Rooms before this one have cut their own short.
                let done = HELD.iter().position(|r| *r == other(room)) < HELD.iter().position(|r| *r == room);
                if done { 0 } else { 6 }
            }
        );
    }
}

#[test]
fn a_certificate_that_is_renewed_under_its_name_is_read() {
    let house = House::new();
    let allowed = house.allowed(Room::Door);
    let mut staying = command(Room::Door, &allowed, &[Act::Stay, Act::Read(house.at("tls/chain.pem"))])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = std::io::BufReader::new(staying.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut said, &mut line).unwrap();
    assert_eq!(line, "here\n");
    std::fs::write(house.at("tls/next.pem"), "renewed").unwrap();
    std::fs::rename(house.at("tls/next.pem"), house.at("tls/chain.pem")).unwrap();
    drop(staying.stdin.take());
    line.clear();
    std::io::BufRead::read_line(&mut said, &mut line).unwrap();
    assert!(staying.wait().unwrap().success());
    let outcomes: Vec<i64> = serde_json::from_str(&line).unwrap();
    assert!(outcomes[1] >= 0, "{outcomes:?}");
}
