//! Declarations from a folder to a phone and back, from the command line alone.

use super::*;

#[test]
fn a_policy_from_a_starter_folder_is_set_confirmed_updated_and_cleared_from_the_command_line() {
    let (house, dir) = (house(), tempfile::tempdir().unwrap());
    let ada = Admin::at(&house.api_url(), &dir.path().join("ada"));
    let fine = |arguments: &[&str]| ada.fine(arguments);
    let json = |arguments: &[&str]| -> serde_json::Value { serde_json::from_str(&fine(arguments)).unwrap() };
    fine(&["admin", "join", "--token", house.token(), "--name", "Ada Example"]);
    let (ca, fleet, folder) = (house.ca_pem(), dir.path().join("fleet"), dir.path().join("policy"));
    let (ca, fleet, folder) = (ca.to_str().unwrap(), fleet.to_str().unwrap(), folder.to_str().unwrap());
    let obliging = ["--not-now-per-mille", "0", "--quiet"];
    fine(
        &[&["simulate", "--phones", "1", "--seed", "7", "--ca", ca, "--keep", fleet][..], &obliging].concat(),
    );
    let awake = || {
        fine(
            &[&["simulate", "--ca", ca, "--resume", fleet, "--poll", "1", "--for", "4"][..], &obliging]
                .concat(),
        )
    };
    let id = json(&["devices", "list", "--json"])["items"][0]["enrolment"].as_str().unwrap().to_owned();
    let why = ["--reason", "made up", "--yes"];
    let mut all = String::new();
    let mut golden = |arguments: &[&str]| {
        let told: Vec<_> = arguments
            .iter()
            .map(|a| {
                if *a == id {
                    "ID"
                } else if *a == folder {
                    "policy"
                } else {
                    a
                }
            })
            .collect();
        let said = ada.golden(arguments).replace(dir.path().to_str().unwrap(), "DIR");
        all.push_str(&format!("$ matron {}\n{said}\n", told.join(" ")));
    };

    golden(&["declarations", "starter", folder]);
    golden(&["declarations", "starter", folder]);
    golden(&["declarations", "check", folder]);
    golden(&["declarations", "show", &id]);
    golden(&[&["declarations", "set", folder, "--phone", &id][..], &why].concat());
    golden(&["declarations", "show", &id]);
    awake();
    golden(&["declarations", "show", &id]);
    golden(
        &[&["devices", "update-os", &id, "--version", "18.9", "--by", "2030-12-01T20:00"][..], &why].concat(),
    );
    awake();
    golden(&["declarations", "show", &id]);
    // Taking the passcode policy away counts as erasure: the holder's name is asked for, and must fit.
    golden(&[&["declarations", "clear", "--set", "policy", "--phone", &id][..], &why].concat());
    golden(
        &[
            &["declarations", "clear", "--set", "policy", "--phone", &id, "--name", "Not The Holder"][..],
            &why,
        ]
        .concat(),
    );
    let holder = simulate::people(7, 1).pop().unwrap().name;
    fine(
        &[&["declarations", "clear", "--set", "policy", "--phone", &id, "--name", &holder][..], &why]
            .concat(),
    );
    awake();
    std::fs::write(format!("{folder}/passcode.json"), r#"{"Type": "com.apple.configuration.no.such"}"#)
        .unwrap();
    golden(&["declarations", "check", folder]);
    insta::assert_snapshot!(all);
    let left = json(&["declarations", "show", &id, "--json"]);
    let left: Vec<_> = left["declarations"].as_array().unwrap().iter().map(|d| d["set"].clone()).collect();
    assert!(!left.is_empty() && left.iter().all(|set| set == "os-update"), "{left:?}");
}
