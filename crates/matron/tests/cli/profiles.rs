//! The library of profiles, from a file to a phone that says it holds the version.

use super::*;

fn wifi(password: &str, hidden: bool) -> String {
    let hidden = if hidden { "<true/>" } else { "<false/>" };
    format!(
        "<plist version=\"1.0\"><dict><key>PayloadType</key><string>Configuration</string>
         <key>PayloadVersion</key><integer>1</integer><key>PayloadUUID</key><string>A0</string>
         <key>PayloadIdentifier</key><string>org.example.ward-wifi</string><key>PayloadContent</key><array><dict>
         <key>PayloadType</key><string>com.apple.wifi.managed</string><key>PayloadVersion</key><integer>1</integer>
         <key>PayloadUUID</key><string>B0</string><key>PayloadIdentifier</key><string>org.example.ward-wifi.1</string>
         <key>SSID_STR</key><string>Example Ward</string><key>EncryptionType</key><string>WPA2</string>
         <key>HIDDEN_NETWORK</key>{hidden}<key>Password</key><string>{password}</string>
         </dict></array></dict></plist>"
    )
}

#[test]
fn a_profile_is_saved_compared_installed_and_confirmed_and_nothing_of_its_texts_is_in_core() {
    const CANARY: &str = "canary-password-4711";
    let (house, dir) = (house(), tempfile::tempdir().unwrap());
    let ada = Admin::at(&house.api_url(), &dir.path().join("ada"));
    let fine = |arguments: &[&str]| ada.fine(arguments);
    let json = |arguments: &[&str]| ada.json(arguments);
    let file = |name: &str, text: &str| file_in(dir.path(), name, text.as_bytes());
    fine(&["admin", "join", "--token", house.token(), "--name", "Ada Example"]);
    let (ca, fleet) = (house.ca_pem(), dir.path().join("fleet"));
    let (ca, fleet) = (ca.to_str().unwrap(), fleet.to_str().unwrap());
    let obliging = ["--not-now-per-mille", "0", "--quiet"];
    let simulate = ["simulate", "--phones", "1", "--seed", "7", "--ca", ca, "--keep", fleet];
    fine(&[&simulate[..], &obliging].concat());
    let phone = json(&["devices", "list"])["items"][0]["enrolment"].as_str().unwrap().to_owned();
    let why = ["--reason", "made up", "--yes"];

    assert!(fine(&["profiles", "list"]).contains("The library is empty"));
    let first = file("first.mobileconfig", &wifi(CANARY, true));
    let mut golden = ada.golden(&[&["profiles", "save", &first][..], &why].concat());
    // What does not fit is said before anything is signed, with the key.
    let wrong = file("wrong.mobileconfig", &wifi(CANARY, true).replace("<string>WPA2</string>", "<true/>"));
    let refused = ada.run(&[&["profiles", "save", &wrong][..], &why].concat());
    assert_eq!(refused.code, 2, "{}", refused.err);
    assert!(
        refused.err.contains("PayloadContent.0.EncryptionType: the value has another type"),
        "{}",
        refused.err
    );

    let install = ["profiles", "install", "org.example.ward-wifi", &phone];
    fine(&[&install[..], &why].concat());
    let asked = json(&["profiles", "list"]);
    let counts = |v: &serde_json::Value, key: &str| v["items"][0]["newest"]["phones"][key].as_u64().unwrap();
    assert_eq!(
        (counts(&asked, "asked"), counts(&asked, "confirmed")),
        (1, 0),
        "not before the phone says so"
    );
    let resume = ["simulate", "--ca", ca, "--resume", fleet, "--poll", "1", "--for", "5"];
    fine(&[&resume[..], &obliging].concat());
    let done = json(&["profiles", "list"]);
    assert_eq!((counts(&done, "asked"), counts(&done, "confirmed")), (0, 1));

    let second = file("second.mobileconfig", &wifi("another made up one", false));
    golden.push_str(&ada.golden(&[&["profiles", "save", &second][..], &why].concat()));
    for command in ["list", "show", "diff", "phones"] {
        let named = if command == "list" { vec![] } else { vec!["org.example.ward-wifi"] };
        golden.push_str(&format!("\n$ matron profiles {command}\n"));
        golden.push_str(&ada.golden(&[&["profiles", command][..], &named].concat()));
    }
    // The list has the id's first digits alone.
    let id = done["items"][0]["profile"].as_str().unwrap();
    insta::assert_snapshot!(golden.replace(&id[..8], "xxxxxxxx"));
    let diff = fine(&["profiles", "diff", "org.example.ward-wifi"]);
    assert!(diff.contains("password is another one") && !diff.contains("SSID"), "{diff}");
    let erasing = file("open.mobileconfig", &wifi("", false).replace("WPA2", "None"));
    let saved = fine(&[&["profiles", "save", &erasing][..], &why].concat());
    assert!(saved.contains("version 3") && saved.contains("counts as erasure"), "{saved}");
    let unnamed = ada.run(&[&install[..], &why].concat());
    assert!(unnamed.code == 2 && unnamed.err.contains("--name"), "{}", unnamed.err);
    // What a rule holds is core's word: what erases takes no phones from it.
    let grouped = ["profiles", "install", "org.example.ward-wifi", "--device-group", "Old systems"];
    let grouped = ada.run(&[&grouped[..], &why].concat());
    assert!(grouped.code == 2 && grouped.err.contains("name each phone by its id"), "{}", grouped.err);
    // The order carries what was printed, and says that it erases.
    let named = ada.run(&[&install[..], &["--name", "Someone Else"], &why].concat());
    assert!(named.err.contains("install 'org.example.ward-wifi' (version 3"), "{}", named.err);
    assert!(
        named.err.contains("COUNTS AS ERASURE") && named.err.contains("encryption type"),
        "{}",
        named.err
    );
    let renamed = file("vpn.mobileconfig", &wifi(CANARY, true).replace("ward-wifi<", "ward-vpn<"));
    let renamed = ["profiles", "save", &renamed, "--profile", "org.example.ward-wifi"];
    let refused = ada.run(&[&renamed[..], &why].concat());
    assert!(refused.code == 2 && refused.err.contains("a profile of its own"), "{}", refused.err);
    assert_eq!(ada.run(&["profiles", "show", "org.example.nothing"]).code, 4);
    fine(&[&["device-groups", "save", "All phones", "--os-at-least", "1"][..], &why].concat());
    let standing =
        ["standing", "make", "--does", "install_saved", "--profile", "org.example.ward-wifi", "--of", "2"];
    fine(&[&standing[..], &["--device-group", "All phones"], &why].concat());
    let stands = fine(&["standing", "list"]);
    assert!(stands.contains("stands") && !stands.contains("does nothing"), "{stands}");
    // Taken out, it stays in the history, and is not installed.
    let ended = ada.run(&[&["profiles", "end", "org.example.ward-wifi"][..], &why].concat());
    assert!(
        ended.code == 0 && ended.err.contains("1 phone said that they hold it"),
        "{}{}",
        ended.out,
        ended.err
    );
    assert!(fine(&["profiles", "list"]).contains("The library is empty"));
    assert!(fine(&["profiles", "list", "--ended"]).contains("org.example.ward-wifi"));
    assert!(fine(&["profiles", "show", "org.example.ward-wifi"]).contains("it was taken out of the library"));
    assert!(fine(&["profiles", "phones", "org.example.ward-wifi"]).contains("done"));
    let rests = fine(&["standing", "list"]);
    assert!(
        rests.contains("  rests ") && rests.contains("does nothing: the profile was taken out"),
        "{rests}"
    );
    let warned = fine(&["health"]);
    assert!(warned.contains("1 standing order(s) that install a profile do nothing"), "{warned}");
    let gone = ada.run(&[&install[..], &why].concat());
    assert!(gone.code == 4 && gone.err.contains("--ended"), "{}", gone.err);
    let again = ada.run(&[&["profiles", "save", &second][..], &why].concat());
    assert!(again.err.contains("was taken out of the library, and no other one gets it"), "{}", again.err);

    // Core, its database and its logs never had the password; the phone did.
    let mut seen = 0;
    for entry in walk(&house.data()) {
        let Ok(bytes) = std::fs::read(&entry) else { continue };
        seen += 1;
        for text in [CANARY, "Example Ward"] {
            assert!(!bytes.windows(text.len()).any(|w| w == text.as_bytes()), "{}", entry.display());
        }
    }
    assert!(seen > 5, "{seen} files were looked through");
    assert!(!house.log().contains(CANARY), "the password is in the log");
}

fn walk(dir: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { out.extend(walk(&path)) } else { out.push(path) }
    }
    out
}
