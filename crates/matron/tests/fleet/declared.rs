//! Declarative management end to end: set, confirmed by the phone, changed, taken away; an update by a
//! deadline; what a phone that is told otherwise does.

use super::*;
use model::SetName;
use order::DeclarationSecrets;

const ACTIVATION: &str = r#"{"Type": "com.apple.activation.simple", "Identifier": "on",
    "Payload": {"StandardConfigurations": ["passcode", "status"]}}"#;
const STATUS: &str = r#"{"Type": "com.apple.configuration.management.status-subscriptions",
    "Identifier": "status", "Payload": {"StatusItems": [{"Name": "device.operating-system.version"},
    {"Name": "device.model.identifier"}, {"Name": "passcode.is-present"}, {"Name": "passcode.is-compliant"},
    {"Name": "device.identifier.serial-number"}, {"Name": "mdm.app"}, {"Name": "test.error-value"}]}}"#;

fn policy(length: u8) -> String {
    format!(
        r#"[{ACTIVATION}, {STATUS}, {{"Type": "com.apple.configuration.passcode.settings",
            "Identifier": "passcode", "Payload": {{"MinimumLength": {length}}}}}]"#
    )
}

impl Ward {
    async fn declare(
        &self,
        set: &str,
        json: &str,
        targets: &[EnrolmentId],
        holder: Option<String>,
    ) -> anyhow::Result<Value> {
        let secrets = DeclarationSecrets { declarations: json.as_bytes().to_vec(), holder_name: holder };
        let kind = OrderKind::SetDeclarations { set: SetName::new(set).unwrap() };
        self.admin.order(kind, targets.to_vec(), Some(&encode(&secrets))).await.map(|(said, _)| said)
    }

    async fn declarations(&self, phone: EnrolmentId) -> Value {
        self.admin.call("GET", &format!("/api/v1/devices/{phone}/declarations"), None).await.unwrap()
    }
}

fn standings(view: &Value) -> Vec<(String, String)> {
    let text = |d: &Value, key: &str| d[key].as_str().unwrap().to_owned();
    let list = view["declarations"].as_array().unwrap().iter();
    let mut all: Vec<_> = list.map(|d| (text(d, "identifier"), text(d, "standing"))).collect();
    all.sort();
    all
}

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

#[tokio::test]
async fn a_set_of_declarations_is_applied_confirmed_changed_and_taken_away() {
    let ward = Ward::open(&[]).await;
    let (mut phone, mut other) = (ward.phone(0).await, ward.phone(1).await);
    let on = [id(&phone), id(&other)];
    let said = ward.declare("policy", &policy(6), &on, None).await.unwrap();
    assert_eq!(said["erasing"], false);
    let waiting = pairs(&[("on", "waiting"), ("passcode", "waiting"), ("status", "waiting")]);
    assert_eq!(standings(&ward.declarations(on[0]).await), waiting);

    let talk = ward.obey(&mut phone).await;
    assert_eq!(talk.commands, [("DeclarativeManagement".to_owned(), "Acknowledged")]);
    let held: Vec<_> = phone.declarations().collect();
    assert_eq!(held.len(), 3);
    assert!(held.iter().all(|(_, active)| *active));
    let confirmed = pairs(&[("on", "confirmed"), ("passcode", "confirmed"), ("status", "confirmed")]);
    let view = ward.declarations(on[0]).await;
    assert_eq!(standings(&view), confirmed);
    assert!(view["declarations"][0]["said_at_ms"].as_i64().is_some());
    assert_eq!(view["errors"][0]["item"], "test.error-value");
    // The other has not come: nothing of it is confirmed.
    assert_eq!(standings(&ward.declarations(on[1]).await), waiting);

    // What the phone reports by itself stands where inventory stands, and what is not listed is sealed.
    let record = ward.device(on[0]).await;
    assert_eq!(record["clear"]["device.operating-system.version"], phone.handset().os_version);
    assert_eq!(record["clear"]["passcode.is-compliant"], phone.has_passcode());
    let text = record.to_string();
    assert!(text.contains("device.identifier.serial-number") && !text.contains(&phone.handset().serial));

    // Changed: the phone is told, fetches that one anew, and until then it is not confirmed.
    ward.declare("policy", &policy(8), &on, None).await.unwrap();
    let view = ward.declarations(on[0]).await;
    assert!(standings(&view).contains(&("passcode".to_owned(), "waiting".to_owned())));
    ward.obey(&mut phone).await;
    assert_eq!(standings(&ward.declarations(on[0]).await), confirmed);
    ward.obey(&mut other).await;
    assert_eq!(standings(&ward.declarations(on[1]).await), confirmed);

    // Taking a policy away counts as erasure: one phone and its holder's name.
    assert!(ward.declare("policy", "[]", &on, None).await.is_err());
    assert!(ward.declare("policy", "[]", &on[..1], None).await.is_err());
    let holder = simulate::people(7, 1).pop().unwrap().name;
    assert_eq!(ward.declare("policy", "[]", &on[..1], Some(holder)).await.unwrap()["erasing"], true);
    assert_eq!(ward.declarations(on[0]).await["left_over"].as_array().unwrap().len(), 3);
    // It is gone for that phone at once, whatever the phone still holds, and for no other.
    for (phone, there) in [(&mut phone, false), (&mut other, true)] {
        let mut connection = phone.connect().await.unwrap();
        let endpoint = "declaration/configuration/passcode";
        assert_eq!(phone.finds(&mut connection, endpoint).await.unwrap(), there);
        // 404 is warranted for what was taken away; what never was gets a 400.
        assert!(phone.finds(&mut connection, "declaration/configuration/never.was").await.is_err());
    }
    ward.obey(&mut phone).await;
    assert_eq!(phone.declarations().count(), 0);
    assert_eq!(ward.declarations(on[0]).await["left_over"].as_array().unwrap().len(), 0);
    assert_eq!(other.declarations().count(), 3);
}

#[tokio::test]
async fn a_system_update_by_a_deadline_reaches_the_phone_and_how_it_goes_comes_back() {
    const UPDATE: &str = r#"[
        {"Type": "com.apple.activation.simple", "Identifier": "update.on",
         "Payload": {"StandardConfigurations": ["update", "update.status"]}},
        {"Type": "com.apple.configuration.softwareupdate.enforcement.specific", "Identifier": "update",
         "Payload": {"TargetOSVersion": "18.9", "TargetBuildVersion": "22Z99",
                     "TargetLocalDateTime": "2030-12-01T20:00:00"}},
        {"Type": "com.apple.configuration.management.status-subscriptions", "Identifier": "update.status",
         "Payload": {"StatusItems": [{"Name": "softwareupdate.install-state"},
            {"Name": "softwareupdate.pending-version"}, {"Name": "softwareupdate.failure-reason"}]}}]"#;
    let ward = Ward::open(&[]).await;
    let of = |wanted: bool| (0..).find(|i| (simulate::Handset::of(7, *i).os_major >= 17) == wanted).unwrap();
    let (mut new, mut old) = (ward.phone(of(true)).await, ward.phone(of(false)).await);
    let on = [id(&new), id(&old)];
    ward.declare("policy", &policy(6), &on, None).await.unwrap();
    ward.declare("os-update", UPDATE, &on, None).await.unwrap();
    ward.obey(&mut new).await;
    ward.obey(&mut old).await;
    let state = |record: &Value| record["clear"]["softwareupdate.install-state"].clone();
    let record = ward.device(on[0]).await;
    assert_eq!(state(&record), "downloading");
    assert_eq!(record["clear"]["softwareupdate.pending-version.os-version"], "18.9");
    // It goes on, and the phone says so without being asked.
    ward.obey(&mut new).await;
    assert_eq!(state(&ward.device(on[0]).await), "prepared");
    // The policy's set is as it was.
    let confirmed = standings(&ward.declarations(on[0]).await);
    assert!(confirmed.len() == 6 && confirmed.iter().all(|(_, s)| s == "confirmed"), "{confirmed:?}");
    // One that is too old for it says so, with Apple's code.
    let view = ward.declarations(on[1]).await;
    let update =
        view["declarations"].as_array().unwrap().iter().find(|d| d["identifier"] == "update").unwrap();
    assert_eq!(update["standing"], "invalid");
    assert_eq!(update["reasons"][0], "Error.ConfigurationNotSupported");
    // Called off: mild, so for all at once.
    ward.declare("os-update", "[]", &on, None).await.unwrap();
    ward.obey(&mut new).await;
    assert_eq!(new.declarations().count(), 3);
}

#[tokio::test]
async fn declarations_outlive_restarts_of_vault_and_core_and_an_old_set_does_not_come_back() {
    let mut ward = Ward::open(&[]).await;
    let mut phone = ward.phone(0).await;
    let on = [id(&phone)];
    ward.declare("policy", &policy(6), &on, None).await.unwrap();
    ward.obey(&mut phone).await;
    ward.house.stop().unwrap();
    ward.house.run().unwrap();
    ward.declare("policy", &policy(7), &on, None).await.unwrap();
    ward.obey(&mut phone).await;
    let view = ward.declarations(on[0]).await;
    assert!(standings(&view).iter().all(|(_, s)| s == "confirmed"), "{view}");
    // Asked again it has nothing to fetch, and confirms it all the same.
    ward.command(Command::DeclarativeManagement, &on, &CommandSecrets::default()).await.unwrap();
    ward.obey(&mut phone).await;
    assert!(standings(&ward.declarations(on[0]).await).iter().all(|(_, s)| s == "confirmed"));
    let ledger = ward.admin.call("GET", "/api/v1/ledger?from=0&limit=200", None).await.unwrap().to_string();
    assert!(ledger.contains("declarations_set") && !ledger.contains("MinimumLength"));
}
