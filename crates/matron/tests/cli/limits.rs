//! Orders that take two people, from one's command line to the other's.

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
