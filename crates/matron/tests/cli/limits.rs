//! Orders that take two people, from one's command line to the other's.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;

/// The id of the newest order that waits.
fn waiting(admin: &Admin) -> String {
    let said = admin.run(&["orders", "pending", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    list["items"].as_array().unwrap().last().unwrap()["order"].as_str().unwrap().to_owned()
}

#[test]
fn an_order_that_waits_is_looked_at_and_signed_by_another_administrator_and_called_back_in_time() {
    let (house, dir) = (house(), tempfile::tempdir().unwrap());
    let ada = Admin::at(&house.api_url(), &dir.path().join("ada"));
    let ben = Admin::at(&house.api_url(), &dir.path().join("ben"));
    let fine = |admin: &Admin, arguments: &[&str]| admin.fine(arguments);
    fine(&ada, &["admin", "join", "--token", house.token(), "--name", "Ada Example"]);
    let fingerprint = house.token().rsplit('-').next().unwrap();
    let key = |admin: &Admin| {
        let said = fine(admin, &["admin", "key", "--fingerprint", fingerprint, "--json"]);
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        said["public_key"].as_str().unwrap().to_owned()
    };
    let add = |role: &str, key: &str| {
        ada.run(&["people", "add", "--name", "Ben Example", "--role", role, "--key", key, "--yes"])
    };
    // The first administrator lets a second in alone; from then on people take two.
    assert_eq!(add("administrator", &key(&ben)).code, 0);
    fine(&ben, &["admin", "whoami"]);
    let eve = Admin::at(&house.api_url(), &dir.path().join("eve"));
    let said = add("engineer", &key(&eve));
    assert!(said.code == 6 && said.err.contains("matron approve"), "{}", said.err);
    let approved = ben.run(&["approve", &waiting(&ben), "--yes"]);
    assert_eq!(approved.code, 0, "{}", approved.err);
    assert!(
        approved.err.contains("signed by key") && approved.err.contains("administrator"),
        "{}",
        approved.err
    );
    fine(&eve, &["admin", "whoami"]);

    let (ca, fleet) = (house.ca_pem(), dir.path().join("fleet"));
    let (ca, fleet) = (ca.to_str().unwrap(), fleet.to_str().unwrap());
    fine(&ada, &["simulate", "--phones", "2", "--seed", "7", "--ca", ca, "--keep", fleet, "--quiet"]);
    let list: serde_json::Value = serde_json::from_str(&fine(&ada, &["devices", "list", "--json"])).unwrap();
    let ids: Vec<&str> =
        list["items"].as_array().unwrap().iter().map(|d| d["enrolment"].as_str().unwrap()).collect();
    let said = ada.run(&["devices", "erase", ids[0], ids[1], "--reason", "made up", "--yes"]);
    assert!(said.code == 6 && said.err.contains("2 phones in one order"), "{}", said.err);
    let order = waiting(&ada);
    let own = ada.run(&["approve", &order, "--yes"]);
    assert!(own.code == 2 && own.err.contains("you have signed"), "{}", own.err);
    let looked = ben.run(&["approve", &order[..8]]);
    assert_eq!(looked.code, 2, "nobody said yes");
    for part in ["ERASE EVERYTHING", "ON 2 PHONES", ids[0], ids[1], "cools off for 1 hour", "made up"] {
        assert!(looked.err.contains(part), "{part}: {}", looked.err);
    }
    let said = fine(&ben, &["approve", &order, "--yes"]);
    assert!(said.contains("cools off until") && said.contains("orders recall"), "{said}");
    let shown = fine(&ada, &["orders", "show", &order]);
    assert!(shown.contains("cools off for another 59 minutes"), "{shown}");
    let again = ben.run(&["approve", &order, "--yes"]);
    assert_eq!(again.code, 4, "it waits no more: {}", again.err);
    fine(&ada, &["orders", "recall", &order, "--reason", "a mistake", "--yes"]);
    assert!(fine(&ada, &["orders", "show", &order]).contains("called back"));
    fine(&ada, &["simulate", "--ca", ca, "--resume", fleet, "--poll", "1", "--for", "3", "--quiet"]);
    assert!(!fine(&ada, &["commands", "list"]).contains("EraseDevice"));

    let bad =
        ada.run(&["roles", "set", "--kind", "erase", "--cooling-off", "0", "--reason", "made up", "--yes"]);
    assert!(bad.code == 2 && bad.err.contains("from 60"), "{}", bad.err);
    let fewer =
        ["--kind", "erase", "--budget", "2", "--whose", "person", "--role", "administrator", "--in", "day"];
    let set = [&["roles", "set"][..], &fewer, &["--reason", "made up", "--yes"]].concat();
    assert_eq!(ada.run(&set).code, 6);
    fine(&ben, &["approve", &waiting(&ben), "--yes"]);
    let table = fine(&ada, &["roles", "show"]);
    assert!(table.contains("Set by orders") && table.contains("several signing together"), "{table}");
    let told =
        fine(&ada, &["roles", "preview", "--role", "administrator", "--kind", "erase", "--phones", "20"]);
    assert!(told.contains("it waits until another administrator signs"), "{told}");
    // Every signature in the ledger is checked, the second ones too.
    fine(&ada, &["ledger", "verify"]);
    let tail = fine(&ada, &["ledger", "tail", "-n", "200"]);
    assert!(tail.contains("order_held") && tail.contains("too, cooling off until"), "{tail}");
}

const WIFI: &str = "<plist version=\"1.0\"><dict><key>PayloadType</key><string>Configuration</string>
    <key>PayloadVersion</key><integer>1</integer><key>PayloadUUID</key><string>A0</string>
    <key>PayloadIdentifier</key><string>org.example.ward-wifi</string><key>PayloadContent</key><array><dict>
    <key>PayloadType</key><string>com.apple.wifi.managed</string><key>PayloadVersion</key><integer>1</integer>
    <key>PayloadUUID</key><string>B0</string><key>PayloadIdentifier</key><string>org.example.ward-wifi.1</string>
    <key>SSID_STR</key><string>Example Ward</string><key>EncryptionType</key><string>WPA2</string>
    <key>Password</key><string>made-up-password</string></dict></array></dict></plist>";

/// An answer with an order that waits, whose outline is taken out.
fn without_outline(answer: &[u8]) -> Vec<u8> {
    let at = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    let mut body: serde_json::Value = serde_json::from_slice(&answer[at..]).unwrap();
    let bytes = STANDARD.decode(body["signed_order"].as_str().unwrap()).unwrap();
    let mut signed: order::SignedOrder = order::decode(&bytes).unwrap();
    let order: order::Order = order::decode(&signed.order).unwrap();
    assert!(order.outline.is_some());
    signed.order = order::encode(&order::Order { outline: None, ..order });
    body["signed_order"] = STANDARD.encode(order::encode(&signed)).into();
    http("200 OK", &body.to_string())
}

fn http(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

#[test]
fn whoever_signs_second_reads_what_an_order_does_from_its_own_bytes_and_signs_nothing_that_is_shown_otherwise()
 {
    let (house, dir) = (house(), tempfile::tempdir().unwrap());
    let ada = Admin::at(&house.api_url(), &dir.path().join("ada"));
    let ben = Admin::at(&house.api_url(), &dir.path().join("ben"));
    ada.fine(&["admin", "join", "--token", house.token(), "--name", "Ada Example"]);
    let fingerprint = house.token().rsplit('-').next().unwrap();
    let key =
        ben.json(&["admin", "key", "--fingerprint", fingerprint])["public_key"].as_str().unwrap().to_owned();
    ada.fine(&["people", "add", "--name", "Ben Example", "--role", "administrator", "--key", &key, "--yes"]);
    ben.fine(&["admin", "whoami"]);
    let (ca, fleet) = (house.ca_pem(), dir.path().join("fleet"));
    let (ca, fleet) = (ca.to_str().unwrap(), fleet.to_str().unwrap());
    ada.fine(&["simulate", "--phones", "2", "--seed", "7", "--ca", ca, "--keep", fleet, "--quiet"]);
    let list = ada.json(&["devices", "list"]);
    let id = |n: usize| list["items"][n]["enrolment"].as_str().unwrap().to_owned();
    let (one, other) = (id(0), id(1));
    let why = ["--reason", "made up", "--yes"];
    let alone = ["roles", "set", "--kind", "configure", "--alone", "1"];
    assert_eq!(ada.run(&[&alone[..], &why].concat()).code, 6);
    ben.fine(&["approve", &waiting(&ben), "--yes"]);

    // An update by a deadline: the first signer reads it too.
    let update = [
        "devices",
        "update-os",
        &one,
        &other,
        "--version",
        "18.9",
        "--build",
        "22X1",
        "--by",
        "2030-12-01T20:00",
    ];
    let update = [&update[..], &["--details-url", "https://it.example.org/why?who=ada"], &why].concat();
    let said = ada.run(&update);
    assert_eq!(said.code, 6, "{}", said.err);
    let looked = ben.run(&["approve", &waiting(&ben)]);
    for told in [&said.err, &looked.err] {
        for part in [
            "update the system to 18.9 (build 22X1)",
            "by 2030-12-01 20:00:00 (its own local time)",
            "its page about it is at https://it.example.org",
            "put into force: matron.os-update, matron.os-update.status",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }
    // The same order without what it tells is not signed.
    let hiding = Proxy::before(house.administrators(), |line, _, answer| {
        Some(if line.contains("/signed ") { without_outline(&answer) } else { answer })
    });
    let through = Admin::at(&hiding.url(), &dir.path().join("ben"));
    let refused = through.run(&["approve", &waiting(&ben), "--yes"]);
    assert!(refused.code == 1 && refused.err.contains("does not tell all that it does"), "{}", refused.err);
    assert!(!looked.err.contains("who=ada") && looked.err.contains("sealed to the vault"), "{}", looked.err);
    let updating = waiting(&ben);
    ben.fine(&["approve", &updating, "--yes"]);

    let shown = ada.fine(&["orders", "show", &updating[..8]]);
    assert!(shown.contains("update the system to 18.9 (build 22X1)"), "{shown}");

    // A profile of a file: what it sets, and of its texts that they are there.
    let file = file_in(dir.path(), "wifi.mobileconfig", WIFI.as_bytes());
    let given = ada.run(&[&["devices", "install-profile", &one, &other, &file][..], &why].concat());
    assert_eq!(given.code, 6, "{}", given.err);
    let looked = ben.run(&["approve", &waiting(&ben)]);
    for part in ["'org.example.ward-wifi'", "Wi-Fi: ", "encryption type: WPA2", "password: set (sealed)"] {
        assert!(looked.err.contains(part), "{part}: {}", looked.err);
    }
    assert!(
        !looked.err.contains("Example Ward") && !looked.err.contains("made-up-password"),
        "{}",
        looked.err
    );
    ben.fine(&["approve", &waiting(&ben), "--yes"]);

    // A version of the library: fetched, and held against the digest in the order.
    ada.fine(&[&["profiles", "save", &file][..], &why].concat());
    let install = ["profiles", "install", "org.example.ward-wifi", &one, &other];
    assert_eq!(ada.run(&[&install[..], &why].concat()).code, 6);
    let lying = Proxy::before(house.administrators(), |line, _, answer| {
        if !line.starts_with("GET /api/v1/profiles/") {
            return Some(answer);
        }
        let text = String::from_utf8(answer).unwrap();
        Some(text.replace("WPA2", "WPA3").into_bytes())
    });
    let through = Admin::at(&lying.url(), &dir.path().join("ben"));
    let refused = through.run(&["approve", &waiting(&ben), "--yes"]);
    assert!(
        refused.code == 1 && refused.err.contains("is not what the order was signed for"),
        "{}",
        refused.err
    );
    // Nor one that is said to be there no more.
    let missing = Proxy::before(house.administrators(), |line, _, answer| {
        let gone = http("404 Not Found", r#"{"code":"not_found","detail":"no such version"}"#);
        Some(if line.starts_with("GET /api/v1/profiles/") { gone } else { answer })
    });
    let through = Admin::at(&missing.url(), &dir.path().join("ben"));
    let refused = through.run(&["approve", &waiting(&ben), "--yes"]);
    assert!(refused.code == 1 && refused.err.contains("is not there any more"), "{}", refused.err);
    let looked = ben.run(&["approve", &waiting(&ben)]);
    assert!(
        looked.err.contains("encryption type: WPA2") && looked.err.contains("it was saved by order"),
        "{}",
        looked.err
    );
    ben.fine(&["approve", &waiting(&ben), "--yes"]);
}
