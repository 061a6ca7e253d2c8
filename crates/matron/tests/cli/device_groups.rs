//! Device groups on the command line.

use super::*;

#[test]
fn device_groups_are_tried_saved_changed_listed_and_ended_from_the_command_line() {
    let (house, dir) = (house(), tempfile::tempdir().unwrap());
    let ada = Admin::at(&house.api_url(), &dir.path().join("ada"));
    let fine = |arguments: &[&str]| ada.fine(arguments);
    fine(&["admin", "join", "--token", house.token(), "--name", "Ada Example"]);
    let (ca, fleet) = (house.ca_pem(), dir.path().join("fleet"));
    let simulate = ["simulate", "--phones", "2", "--seed", "7", "--ca", ca.to_str().unwrap(), "--keep"];
    fine(&[&simulate[..], &[fleet.to_str().unwrap(), "--quiet"]].concat());
    let list: serde_json::Value = serde_json::from_str(&fine(&["devices", "list", "--json"])).unwrap();
    let ids: Vec<&str> =
        list["items"].as_array().unwrap().iter().map(|d| d["enrolment"].as_str().unwrap()).collect();
    let file = dir.path().join("ids");
    std::fs::write(&file, format!("{}\n\n{}\n", ids[0], ids[0])).unwrap();

    let why = ["--reason", "made up", "--yes"];
    let mut all = String::new();
    let mut told = |arguments: &[&str]| {
        let shown: Vec<_> = arguments.iter().map(|a| if ids.contains(a) { "ID" } else { a }).collect();
        let shown = shown.join(" ").replace(file.to_str().unwrap(), "FILE");
        all.push_str(&format!("$ matron {shown}\n{}\n", ada.golden(arguments)));
    };
    told(&["device-groups", "list"]);
    told(&["device-groups", "preview"]);
    told(&["device-groups", "preview", "--os-below", "x"]);
    told(&["device-groups", "preview", "--os-below", "999", "--lost", "true"]);
    told(
        &[
            &["device-groups", "save", "Old systems", "--os-below", "999", "--home-group", "ward-7", "--any"]
                [..],
            &why,
        ]
        .concat(),
    );
    told(&[&["device-groups", "save", "Trial", "--phones-from", file.to_str().unwrap()][..], &why].concat());
    told(
        &[&["device-groups", "save", "trial", "--add", ids[1], "--rename", "Old Systems"][..], &why].concat(),
    );
    told(&[&["device-groups", "save", "trial", "--add", ids[1]][..], &why].concat());
    told(&["device-groups", "list"]);
    told(&["device-groups", "show", "trial"]);
    told(&["device-groups", "phones", "trial"]);
    told(
        &[&["device-groups", "save", "trial", "--drop", ids[0], "--rename", "Trial of one"][..], &why]
            .concat(),
    );
    told(&[&["device-groups", "save", "old systems", "--rename", "Older"][..], &why].concat());
    told(&["device-groups", "list"]);
    told(&["devices", "list", "--device-group", "nobody"]);
    told(&[&["device-groups", "end", "Older"][..], &why].concat());
    told(&["device-groups", "show", "Older"]);
    insta::assert_snapshot!(all);

    let one: serde_json::Value =
        serde_json::from_str(&fine(&["devices", "list", "--device-group", "Trial of one", "--json"]))
            .unwrap();
    assert_eq!(one["items"].as_array().unwrap().len(), 1);
    assert_eq!(one["items"][0]["enrolment"], ids[1]);

    // A saved profile goes to whoever is in now, each named in the order.
    let profile = dir.path().join("mild.mobileconfig");
    std::fs::write(&profile, include_bytes!("../../../apple/tests/data/profile_mild.mobileconfig")).unwrap();
    let saved = ["profiles", "save", profile.to_str().unwrap(), "--json"];
    let saved: serde_json::Value = serde_json::from_str(&fine(&[&saved[..], &why].concat())).unwrap();
    let install =
        ["profiles", "install", saved["profile"].as_str().unwrap(), "--device-group", "trial of one"];
    let said = ada.run(&[&install[..], &why].concat());
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.err.contains(ids[1]) && !said.err.contains(ids[0]), "{}", said.err);
    assert!(fine(&["devices", "commands", ids[1]]).contains("InstallProfile"));
    assert!(!fine(&["devices", "commands", ids[0]]).contains("InstallProfile"));
}
