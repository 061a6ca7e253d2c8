//! Holders' cards from the command line: whose each is, where to go with it, whom to call.

use super::*;

#[test]
fn cards_of_several_phones_say_whose_each_is_where_to_go_and_whom_to_call() {
    const CALL: &str = "020 7946 0123";
    let set = format!("organization_phone={CALL}");
    let house = House::start(env!("CARGO_BIN_EXE_matron"), &[&set]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let ada = Admin::at(&house.api_url(), &dir.path().join("ada"));
    ada.fine(&["admin", "join", "--token", house.token(), "--name", "Ada Example"]);
    let (ca, fleet) = (house.ca_pem(), dir.path().join("fleet"));
    let (ca, fleet) = (ca.to_str().unwrap(), fleet.to_str().unwrap());
    ada.fine(&["simulate", "--phones", "2", "--seed", "7", "--ca", ca, "--keep", fleet, "--quiet"]);
    let list = ada.json(&["devices", "list"]);
    let ids: Vec<&str> =
        list["items"].as_array().unwrap().iter().map(|d| d["enrolment"].as_str().unwrap()).collect();
    let cards = ["devices", "holder-card", ids[0], ids[1], "--yes"];
    let told = ada.run(&cards);
    assert_eq!(told.code, 0, "{}", told.err);
    for person in simulate::people(7, 2) {
        assert!(told.out.contains(&format!("Holder's card: {}, ", person.name)), "{}", told.out);
    }
    let blocks: Vec<&str> = told.out.trim_end().split("\n\n").collect();
    assert_eq!(blocks.len(), 2, "{}", told.out);
    for (block, id) in blocks.iter().zip(&ids) {
        let link = format!("{}/my-phone#", house.api_url());
        for part in [CALL, link.as_str(), "iPhone ", &format!("phone {}", &id[..12])] {
            assert!(block.contains(part), "{part}: {block}");
        }
    }
    assert!(told.err.contains("names are opened for the cards"), "{}", told.err);
    let opened = |tail: &str| tail.matches("Holder.Name").count();
    let tail = ada.fine(&["ledger", "tail", "-n", "100"]);
    assert_eq!(opened(&tail), 2, "each is opened by an order of its own: {tail}");

    let json = ada.json(&[&cards[..], &["--no-names"]].concat());
    for card in json["cards"].as_array().unwrap() {
        assert!(
            card["holder"].is_null() && card["call"] == CALL && card["holder_code"].is_string(),
            "{card}"
        );
        assert_eq!(card["address"], format!("{}/my-phone", house.api_url()));
    }
    assert_eq!(opened(&ada.fine(&["ledger", "tail", "-n", "100"])), 2, "and not where it was not wanted");
    ada.fine(&["ledger", "verify"]);
}
