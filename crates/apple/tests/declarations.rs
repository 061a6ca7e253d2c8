//! Declarations: a set that is mild, every way that was thought of to make one harmful or broken, and the
//! tables against Apple's schema.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test may fail

use apple::declaration::{
    DECLARATIONS, DeclarationWhy, Key, ManifestItem, Shape, in_force, judge, manifest, mild_declaration_keys,
    read_set, removal_is_mild,
};
use apple::harm::{Harm, Why};
use model::{DeclarationId, DeclarationKind, Digest};
use proptest::prelude::*;
use serde_json::{Value, json};
use yaml_rust2::{Yaml, YamlLoader};

fn mild() -> Value {
    json!([
        {"Type": "com.apple.activation.simple", "Identifier": "org.example.on",
         "Payload": {"StandardConfigurations": ["org.example.passcode", "org.example.status", "org.example.update"]}},
        {"Type": "com.apple.configuration.passcode.settings", "Identifier": "org.example.passcode",
         "Payload": {"RequirePasscode": true, "MinimumLength": 6, "MaximumFailedAttempts": 10}},
        {"Type": "com.apple.configuration.management.status-subscriptions", "Identifier": "org.example.status",
         "Payload": {"StatusItems": [{"Name": "device.operating-system.version"}]}},
        {"Type": "com.apple.configuration.softwareupdate.enforcement.specific", "Identifier": "org.example.update",
         "Payload": {"TargetOSVersion": "18.1", "TargetLocalDateTime": "2026-12-01T20:00:00",
                     "DetailsURL": "https://intranet.example.org/update"}},
        {"Type": "com.apple.management.organization-info", "Identifier": "org.example.who",
         "Payload": {"Name": "Example Hospital", "URL": "https://example.org"}},
        {"Type": "com.apple.management.properties", "Identifier": "org.example.properties",
         "Payload": {"ward": "7", "beds": 20}},
    ])
}

fn read(set: &Value) -> Result<Vec<apple::declaration::Declaration>, apple::declaration::DeclarationError> {
    read_set(set.to_string().as_bytes())
}

#[test]
fn the_sample_of_mild_declarations_is_mild() {
    let set = read(&mild()).unwrap();
    assert_eq!(judge(&set), Harm::Mild);
    assert_eq!(in_force(&set).len(), 3);
}

#[test]
fn each_way_to_make_a_mild_declaration_harmful_counts_as_erasure() {
    let cases: Vec<(usize, &str, Value, Why)> = vec![
        (0, "Predicate", json!("(@status(passcode.is-present) == FALSE)"), Why::UnlistedKey),
        (1, "MaximumFailedAttempts", json!(2), Why::OutOfRange),
        (1, "MaximumFailedAttempts", json!(5), Why::OutOfRange),
        (1, "MinimumLength", json!(16), Why::OutOfRange),
        (1, "MaximumInactivityInMinutes", json!(0), Why::OutOfRange),
        (1, "MaximumPasscodeAgeInDays", json!(1), Why::OutOfRange),
        (1, "PasscodeReuseLimit", json!(50), Why::OutOfRange),
        (3, "DetailsURL", json!("http://intranet.example.org"), Why::OutOfRange),
        (3, "DetailsURL", json!("https://intranet.example.org@192.0.2.1/"), Why::OutOfRange),
        (3, "TargetLocalDateTime", json!("tomorrow"), Why::OutOfRange),
        (4, "Proof", json!({"IdentityToken": "x"}), Why::UnlistedKey),
        (4, "Name", json!("a\u{202}\u{1b}[2K"), Why::OutOfRange),
        (5, "nested", json!({"a": 1}), Why::WrongType),
    ];
    for (which, key, value, why) in cases {
        let mut set = mild();
        set[which]["Payload"][key] = value;
        let Harm::Erasing { because } = judge(&read(&set).unwrap()) else { panic!("{key} is mild") };
        assert_eq!((because[0].key.as_str(), because[0].why), (key, why));
    }
}

#[test]
fn accounts_certificates_profiles_by_address_and_apps_count_as_erasure() {
    let reference = json!({"Reference": {"DataURL": "https://example.org/asset"}});
    let sets = [
        json!([{"Type": "com.apple.configuration.legacy", "Identifier": "a",
                "Payload": {"ProfileURL": "https://example.org/p"}}]),
        json!([{"Type": "com.apple.configuration.app.managed", "Identifier": "a",
                "Payload": {"ManifestURL": "https://example.org/m"}}]),
        json!([{"Type": "com.apple.asset.credential.certificate", "Identifier": "c", "Payload": reference},
               {"Type": "com.apple.configuration.security.certificate", "Identifier": "a",
                "Payload": {"CredentialAssetReference": "c"}}]),
        json!([{"Type": "com.apple.configuration.account.caldav", "Identifier": "a",
                "Payload": {"HostName": "192.0.2.1"}}]),
        json!([{"Type": "com.apple.configuration.softwareupdate.settings", "Identifier": "a",
                "Payload": {"Deferrals": {"CombinedPeriodInDays": 90}}}]),
    ];
    for set in sets {
        let Harm::Erasing { because } = judge(&read(&set).unwrap()) else { panic!("{set}") };
        assert_eq!(because[0].why, Why::UnlistedType);
    }
}

#[test]
fn what_can_not_be_used_is_refused_with_the_declaration_and_the_key() {
    let broken = |change: &dyn Fn(&mut Value)| {
        let mut set = mild();
        change(&mut set);
        let e = read(&set).unwrap_err();
        (e.declaration, e.key, e.why)
    };
    let named = |id: &str, key: &str, why| (id.to_owned(), key.to_owned(), why);
    use DeclarationWhy::*;
    for (got, wanted) in [
        (
            broken(&|s| s[1]["Payload"]["MinLength"] = json!(6)),
            named("org.example.passcode", "MinLength", UnknownKey),
        ),
        (
            broken(&|s| s[1]["Payload"]["MinimumLength"] = json!("6")),
            named("org.example.passcode", "MinimumLength", WrongType),
        ),
        (
            broken(&|s| s[1]["Payload"]["MinimumLength"] = json!(6.0)),
            named("org.example.passcode", "MinimumLength", WrongType),
        ),
        (
            broken(&|s| s[1]["Payload"]["MinimumLength"] = json!(17)),
            named("org.example.passcode", "MinimumLength", OutOfRange),
        ),
        (
            broken(&|s| s[1]["Payload"]["ChangeAtNextAuth"] = json!(true)),
            named("org.example.passcode", "ChangeAtNextAuth", UnknownKey),
        ),
        (
            broken(&|s| s[2]["Payload"]["StatusItems"][0] = json!({})),
            named("org.example.status", "StatusItems.Name", MissingKey),
        ),
        (
            broken(&|s| s[3]["Payload"] = json!({"TargetOSVersion": "18.1"})),
            named("org.example.update", "TargetLocalDateTime", MissingKey),
        ),
        (
            broken(&|s| s[0]["Type"] = json!("com.apple.activation.complex")),
            named("org.example.on", "Type", UnknownType),
        ),
        (
            broken(&|s| s[0]["Payload"]["StandardConfigurations"] = json!(["org.example.who"])),
            named("org.example.on", "StandardConfigurations", NoSuchConfiguration),
        ),
        (
            broken(&|s| s[0]["Payload"]["StandardConfigurations"] = json!(["elsewhere"])),
            named("org.example.on", "StandardConfigurations", NoSuchConfiguration),
        ),
        (broken(&|s| s[1]["Identifier"] = json!("org.example.on")), named("org.example.on", "", Twice)),
        (
            broken(&|s| s[1]["Identifier"] = json!("Mary's policy")),
            named("declaration 2", "Identifier", BadIdentifier),
        ),
        (broken(&|s| s[1]["ServerToken"] = json!("1")), named("declaration 2", "ServerToken", ServerToken)),
        (broken(&|s| s[1]["Extra"] = json!("1")), named("declaration 2", "Extra", ForeignKey)),
        (broken(&|s| s[1] = json!("x")), named("declaration 2", "", NotASet)),
        (broken(&|s| *s = json!({})), named("", "", NotASet)),
    ] {
        assert_eq!(got, wanted);
    }
    let account = json!([{"Type": "com.apple.configuration.account.google", "Identifier": "g",
                          "Payload": {"UserIdentityAssetReference": "nobody"}}]);
    assert_eq!(read(&account).unwrap_err().why, NoSuchAsset);
    let one = |n: usize| json!({"Type": "com.apple.management.properties", "Identifier": format!("p{n}"), "Payload": {}});
    let many = |n: usize| Value::Array((0..n).map(one).collect());
    assert_eq!(read(&many(200)).unwrap().len(), 200);
    assert_eq!(read(&many(201)).unwrap_err().why, TooMany);
    assert_eq!(read_set(b"").unwrap_err().why, Json(apple::Malformed::Empty));
    assert_eq!(read_set(b"[]").unwrap(), []);
}

#[test]
fn a_token_hashes_the_whole_content_and_is_64_octets() {
    let first = read(&mild()).unwrap();
    let mut other = mild();
    other[1]["Payload"]["MinimumLength"] = json!(7);
    let other = read(&other).unwrap();
    assert_ne!(first[1].token(), other[1].token());
    assert_eq!(first[0].token(), other[0].token());
    for declaration in first {
        let body: Value = serde_json::from_slice(&declaration.body()).unwrap();
        assert_eq!(body["ServerToken"], declaration.token().to_string());
        assert_eq!(body["ServerToken"].as_str().unwrap().len(), 64);
        assert_eq!(body["Type"], declaration.declared_type());
        assert_eq!(body.as_object().unwrap().len(), 4);
    }
}

#[test]
fn a_manifest_has_all_four_lists_and_its_token_changes_with_any_declaration() {
    let item = |id: &str, token| ManifestItem {
        kind: DeclarationKind::Configuration,
        identifier: DeclarationId::new(id).unwrap(),
        token: Digest([token; 32]),
    };
    let some = manifest(&[item("b", 1), item("a", 2)], 1_795_000_000_123);
    let value: Value = serde_json::from_slice(&some.items).unwrap();
    let names: Vec<_> = value["Declarations"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["Activations", "Assets", "Configurations", "Management"]);
    assert_eq!(value["Declarations"]["Configurations"][0]["Identifier"], "a");
    let tokens: Value = serde_json::from_slice(&some.tokens).unwrap();
    assert_eq!(tokens["SyncTokens"]["DeclarationsToken"], value["DeclarationsToken"]);
    assert_eq!(tokens["SyncTokens"]["Timestamp"], "2026-11-18T11:06:40Z");
    assert_eq!(manifest(&[item("a", 2), item("b", 1)], 1_795_000_000_123), some);
    assert_ne!(manifest(&[item("a", 3), item("b", 1)], 1_795_000_000_123).items, some.items);
    let empty: Value = serde_json::from_slice(&manifest(&[], 0).items).unwrap();
    assert_eq!(empty["Declarations"]["Management"], json!([]));
}

/// The declarations of Apple's schema that iOS knows: name, keys, supervised alone.
fn schema() -> Option<Vec<(String, Yaml)>> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/data/apple-device-management/declarative/declarations");
    if !root.is_dir() {
        skipped::not_possible(&format!(
            "Apple's schema is not at {}; declarations were not checked",
            root.display()
        ));
        return None;
    }
    let (mut folders, mut out) = (vec![root], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
                continue;
            }
            let doc =
                YamlLoader::load_from_str(&std::fs::read_to_string(entry.path()).unwrap()).unwrap().remove(0);
            let name = doc["payload"]["declarationtype"].as_str().filter(|n| *n != "any");
            if let Some(name) = name
                && !not_on_ios(&doc["payload"])
            {
                out.push((name.to_owned(), doc.clone()));
            }
        }
    }
    Some(out)
}

fn not_on_ios(of: &Yaml) -> bool {
    of["supportedOS"]["iOS"]["introduced"].as_str() == Some("n/a")
}

fn same_keys(at: &str, keys: &[Key], yaml: &Yaml) {
    let theirs: Vec<&Yaml> = yaml.as_vec().into_iter().flatten().filter(|k| !not_on_ios(k)).collect();
    assert_eq!(keys.len(), theirs.len(), "{at}");
    for (key, theirs) in keys.iter().zip(theirs) {
        let name = theirs["key"].as_str().unwrap();
        let name = if name.starts_with("ANY") { "*" } else { name };
        assert_eq!(key.name, name, "{at}");
        let required = theirs["presence"].as_str() == Some("required");
        assert_eq!(key.required, required && name != "*", "{at}.{name}");
        same_shape(&format!("{at}.{name}"), &key.shape, theirs);
    }
}

fn same_shape(at: &str, shape: &Shape, yaml: &Yaml) {
    let allowed: Vec<_> = yaml["rangelist"].as_vec().into_iter().flatten().filter_map(Yaml::as_str).collect();
    match (shape, yaml["type"].as_str().unwrap()) {
        (Shape::Text, "<string>") => assert!(allowed.is_empty(), "{at}"),
        (Shape::OneOf(words), "<string>") => assert_eq!(*words, allowed, "{at}"),
        (Shape::Whole(min, max), "<integer>") => {
            assert_eq!(yaml["range"]["min"].as_i64().unwrap_or(i64::MIN), *min, "{at}");
            assert_eq!(yaml["range"]["max"].as_i64().unwrap_or(i64::MAX), *max, "{at}");
        }
        (Shape::Truth, "<boolean>") | (Shape::Real, "<real>") | (Shape::Any, "<any>") => {}
        (Shape::List(of), "<array>") => same_shape(at, of, &yaml["subkeys"][0]),
        (Shape::Object(keys), "<dictionary>") => same_keys(at, keys, &yaml["subkeys"]),
        (shape, theirs) => panic!("{at}: {shape:?} is {theirs} in the schema"),
    }
}

#[test]
fn every_declaration_and_key_of_the_table_is_apples_and_none_is_left_out() {
    let Some(schema) = schema() else { return };
    assert_eq!(DECLARATIONS.len(), schema.len());
    assert!(DECLARATIONS.is_sorted_by_key(|d| d.name));
    for (name, doc) in schema {
        let row = DECLARATIONS.iter().find(|d| d.name == name).unwrap_or_else(|| panic!("{name} is missing"));
        same_keys(&name, row.keys, &doc["payloadkeys"]);
        let enrolments: Vec<_> = doc["payload"]["supportedOS"]["iOS"]["allowed-enrollments"]
            .as_vec()
            .into_iter()
            .flatten()
            .filter_map(Yaml::as_str)
            .collect();
        assert_eq!(row.supervised, enrolments == ["supervised"], "{name}");
    }
}

#[test]
fn what_is_mild_is_in_the_table() {
    for (declared, key, _) in mild_declaration_keys() {
        let row = DECLARATIONS.iter().find(|d| d.name == declared).unwrap_or_else(|| panic!("{declared}"));
        assert!(row.keys.iter().any(|k| k.name == key), "{declared}.{key}");
    }
    assert!(!removal_is_mild("com.apple.configuration.passcode.settings"));
    assert!(!removal_is_mild("com.apple.configuration.account.mail"));
    assert!(!removal_is_mild("com.apple.configuration.security.certificate"));
    assert!(removal_is_mild("com.apple.configuration.softwareupdate.enforcement.specific"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn what_is_sent_is_what_was_judged(at in any::<prop::sample::Index>(), with in any::<u8>()) {
        let mut bytes = mild().to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = with;
        if let Ok(set) = read_set(&bytes) {
            let again: Vec<Value> = set
                .iter()
                .map(|d| {
                    let mut body: Value = serde_json::from_slice(&d.body()).unwrap();
                    body.as_object_mut().unwrap().remove("ServerToken").unwrap();
                    body
                })
                .collect();
            let again = read_set(Value::Array(again).to_string().as_bytes()).unwrap();
            prop_assert_eq!(judge(&again), judge(&set));
            prop_assert!(again == set);
        }
    }
}
