//! Orders that change a phone, from the command line to the phone and back.

use super::*;

#[test]
fn a_profile_an_app_and_a_raw_command_go_to_a_phone_from_the_command_line() {
    const PROFILE: &[u8] = include_bytes!("../../../apple/tests/data/profile_mild.mobileconfig");
    const APP: &str = "org.example.hospital.ward-pager";
    let (house, dir) = (house(), tempfile::tempdir().unwrap());
    let ada = Admin::at(&house.api_url(), &dir.path().join("ada"));
    let fine = |arguments: &[&str]| ada.fine(arguments);
    let file = |name: &str, bytes: &[u8]| file_in(dir.path(), name, bytes);
    fine(&["admin", "join", "--token", house.token(), "--name", "Ada Example"]);
    let (ca, fleet) = (house.ca_pem(), dir.path().join("fleet"));
    let (ca, fleet) = (ca.to_str().unwrap(), fleet.to_str().unwrap());
    let obliging = ["--not-now-per-mille", "0", "--quiet"];
    let simulate = ["simulate", "--phones", "1", "--seed", "7", "--ca", ca, "--keep", fleet];
    fine(&[&simulate[..], &obliging].concat());
    let list: serde_json::Value = serde_json::from_str(&fine(&["devices", "list", "--json"])).unwrap();
    let id = list["items"][0]["enrolment"].as_str().unwrap().to_owned();

    let profile = file("mild.mobileconfig", PROFILE);
    let why = ["--reason", "made up", "--yes"];
    let said = fine(&[&["devices", "install-profile", &id, &profile, "--json"][..], &why].concat());
    assert_eq!(serde_json::from_str::<serde_json::Value>(&said).unwrap()["erasing"], false);
    let manifest = format!("https://apps.example.org/{APP}.plist");
    let install = ["devices", "install-app", &id, "--identifier", APP, "--manifest", &manifest];
    let said = fine(&[&install[..], &why].concat());
    assert!(said.contains("Acknowledged is not yet done"), "{said}");
    let token = file("token", b"made-up-token");
    let said = fine(&[&["service-token", "set", "com.apple.maid", "--file", &token][..], &why].concat());
    assert!(said.contains("com.apple.maid"), "{said}");

    // What a raw command may not be is said before anything is signed.
    let raw = |inner: &str| {
        let plist = format!("<plist version=\"1.0\"><dict>{inner}</dict></plist>");
        let path = file("raw.plist", plist.as_bytes());
        ada.run(&[&["devices", "command", &id, "--raw", &path][..], &why].concat())
    };
    let erase = raw("<key>RequestType</key><string>EraseDevice</string>");
    assert!(erase.code == 2 && erase.err.contains("matron devices erase"), "{}", erase.err);
    let keyed = raw("<key>RequestType</key><string>LogOutUser</string><key>Payload</key><data></data>");
    assert!(keyed.code == 2 && keyed.err.contains("Payload"), "{}", keyed.err);
    let unnamed = raw("<key>RequestType</key><string>LogOutUser</string>");
    assert!(unnamed.code != 0 && unnamed.err.contains("--name"), "it counts as erasure: {}", unnamed.err);

    let resume = ["simulate", "--ca", ca, "--resume", fleet, "--poll", "1", "--for", "5"];
    fine(&[&resume[..], &obliging].concat());
    let shown = fine(&["devices", "show", &id]);
    assert!(shown.contains("ORDERED APP") && shown.contains(APP), "{shown}");
    let commands = fine(&["devices", "commands", &id]);
    let line = |name: &str| {
        let found = commands.lines().find(|l| l.contains(name)).map(str::to_owned);
        found.unwrap_or_else(|| panic!("{name}: {commands}"))
    };
    for name in ["InstallProfile", "InstallApplication"] {
        assert!(line(name).contains("acknowledged"), "{commands}");
    }
}

#[test]
fn a_phone_that_is_late_with_its_certificate_stands_in_the_list_with_what_to_do() {
    let house = House::start(env!("CARGO_BIN_EXE_matron"), &["enrolment.certificate_days=1"]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let ada = Admin::at(&house.api_url(), &dir.path().join("ada"));
    ada.fine(&["admin", "join", "--token", house.token(), "--name", "Ada Example"]);
    let ca = house.ca_pem();
    let fleet = dir.path().join("fleet");
    let mut simulate = vec!["simulate", "--phones", "1", "--seed", "7", "--ca", ca.to_str().unwrap()];
    simulate.extend(["--keep", fleet.to_str().unwrap(), "--quiet"]);
    ada.fine(&simulate);
    let id = ada.json(&["devices", "list"])["items"][0]["enrolment"].as_str().unwrap().to_owned();
    let listed = |state: &str| ada.fine(&["certificates", "--state", state]);
    // A day is left, of the 60 that are usual.
    let late = listed("late");
    let line = late.lines().find(|l| l.contains(&id)).unwrap_or_else(|| panic!("{late}"));
    assert!(line.contains("late") && line.contains("have it switched on and online"), "{line}");
    assert!(!listed("ok").contains(&id));
    assert_eq!(ada.json(&["certificates"])["items"][0]["state"], "late");
    // Where an hour before the end is soon enough, it is not.
    ada.fine(&["standing", "make", "--before-hours", "1", "--reason", "made up", "--yes"]);
    assert!(listed("ok").contains(&id) && !listed("late").contains(&id));
}
