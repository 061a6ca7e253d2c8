//! The table of payload types against Apple's schema, both ways; what is refused, what is told, and what is not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test may fail

mod schema;

use std::collections::BTreeMap;

use apple::profile::schema::{
    Key, Kind, Misfit, MisfitWhy, NotRead, RemarkWhy, common, payload_kinds, read, top_level,
};
use model::{Outline, OutlinedValue, Since};
use plist::{Dictionary, Value};
use proptest::prelude::*;
use yaml_rust2::Yaml;

const MILD: &[u8] = include_bytes!("data/profile_mild.mobileconfig");
const CANARY: &str = "canary-4711";

fn mild() -> Dictionary {
    Value::from_reader(std::io::Cursor::new(MILD)).unwrap().into_dictionary().unwrap()
}

fn bytes(profile: &Dictionary) -> Vec<u8> {
    let mut out = Vec::new();
    Value::Dictionary(profile.clone()).to_writer_xml(&mut out).unwrap();
    out
}

fn payload(profile: &mut Dictionary, i: usize) -> &mut Dictionary {
    profile.get_mut("PayloadContent").and_then(Value::as_array_mut).unwrap()[i].as_dictionary_mut().unwrap()
}

fn misfits(profile: &Dictionary) -> Vec<Misfit> {
    match read(&bytes(profile)) {
        Err(NotRead::Misfits(m)) => m,
        other => panic!("{other:?}"),
    }
}

fn kind_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Truth => "<boolean>",
        Kind::Whole(..) | Kind::WholeOf(_) => "<integer>",
        Kind::OneOf(_) | Kind::Text => "<string>",
        Kind::Real => "<real>",
        Kind::Data => "<data>",
        Kind::Date => "<date>",
        Kind::List(_) => "<array>",
        Kind::Object(_) => "<dictionary>",
        Kind::Any => "<any>",
    }
}

/// What the table says of a key against what Apple's document says of it.
fn same_key(at: &str, ours: &Key, theirs: &schema::Key) {
    assert_eq!(ours.required, theirs.required && !ours.name.starts_with('*'), "{at}: required");
    same_kind(at, ours.kind, theirs);
}

fn same_kind(at: &str, ours: Kind, theirs: &schema::Key) {
    // A dictionary whose keys nobody lists, and what refers to itself, is anything.
    if ours == Kind::Any && (theirs.kind == "<any>" || theirs.subkeys.is_empty()) {
        return;
    }
    assert_eq!(kind_of(ours), theirs.kind, "{at}");
    match ours {
        Kind::OneOf(words) => assert_eq!(words, theirs.allowed, "{at}"),
        Kind::WholeOf(numbers) => {
            assert_eq!(numbers.iter().map(ToString::to_string).collect::<Vec<_>>(), theirs.allowed, "{at}");
        }
        Kind::Text => assert!(theirs.allowed.is_empty(), "{at}"),
        Kind::List(of) => {
            if let Some(item) = theirs.subkeys.first() {
                same_kind(&format!("{at}[]"), *of, item);
            }
        }
        // Languages, each with its text.
        Kind::Object(_) if at.ends_with(".ConsentText") => {}
        Kind::Object(keys) => same_keys(at, keys, &theirs.subkeys),
        _ => {}
    }
}

fn same_keys(at: &str, ours: &[Key], theirs: &[schema::Key]) {
    let name = |k: &schema::Key| if k.name.starts_with("ANY") { "*".to_owned() } else { k.name.clone() };
    let (mut a, mut b): (Vec<_>, Vec<_>) =
        (ours.iter().map(|k| k.name.to_owned()).collect(), theirs.iter().map(name).collect());
    a.sort();
    b.sort();
    assert_eq!(a, b, "{at}");
    for key in theirs {
        let own = ours.iter().find(|k| k.name == name(key)).unwrap();
        same_key(&format!("{at}.{}", key.name), own, key);
    }
}

fn is_for_phones(doc: &Yaml) -> bool {
    let introduced = &doc["payload"]["supportedOS"]["iOS"]["introduced"];
    introduced.as_str().is_some_and(|v| v != "n/a")
}

#[test]
fn the_table_has_every_payload_type_of_apples_schema_that_phones_know_and_each_with_its_keys() {
    let Some(names) = schema::files("profiles") else { return };
    let mut documents: BTreeMap<String, Vec<Yaml>> = BTreeMap::new();
    for name in names {
        let doc = schema::load(&format!("profiles/{name}")).unwrap();
        let kind = doc["payload"]["payloadtype"].as_str().unwrap().to_owned();
        match name.as_str() {
            "TopLevel" => same_keys("TopLevel", top_level(), &schema::keys(&doc, "payloadkeys")),
            "CommonPayloadKeys" => same_keys("common", common(), &schema::keys(&doc, "payloadkeys")),
            _ if is_for_phones(&doc) => documents.entry(kind).or_default().push(doc),
            _ => {}
        }
    }
    let ours: Vec<_> = payload_kinds().map(|k| k.payload_type).collect();
    let (mut sorted, theirs): (Vec<_>, Vec<_>) =
        (ours.clone(), documents.keys().map(String::as_str).collect());
    sorted.sort_unstable();
    assert_eq!(sorted, theirs);
    for kind in payload_kinds() {
        match documents[kind.payload_type].as_slice() {
            [doc] => same_keys(kind.payload_type, kind.keys, &schema::keys(doc, "payloadkeys")),
            // One type in two documents: what either has is there.
            several => {
                for doc in several {
                    for key in schema::keys(doc, "payloadkeys") {
                        let there = kind.keys.iter().any(|k| k.name == key.name);
                        assert!(there, "{}.{}", kind.payload_type, key.name);
                    }
                }
            }
        }
    }
}

#[test]
fn what_the_rules_of_harm_know_the_schema_knows() {
    for (kind, key, _) in
        apple::harm::mild_keys().filter(|(kind, ..)| *kind != "Configuration" && *kind != "*")
    {
        let known = payload_kinds().find(|k| k.payload_type == kind).unwrap();
        assert!(known.keys.iter().any(|k| k.name == key), "{kind}.{key}");
    }
}

#[test]
fn the_outline_tells_truths_numbers_and_listed_words_and_of_the_rest_that_it_is_set() {
    let read = read(MILD).unwrap();
    let wifi = &read.outline.payloads[0];
    assert_eq!(wifi.payload_type, "com.apple.wifi.managed");
    let value = |path: &str| wifi.keys.iter().find(|k| k.path == path).map(|k| k.value.clone());
    assert_eq!(value("EncryptionType"), Some(OutlinedValue::Word("WPA2".into())));
    for hidden in ["SSID_STR", "Password"] {
        assert_eq!(value(hidden), Some(OutlinedValue::Set(Since::Unknown)), "{hidden}");
    }
    let passcode = &read.outline.payloads[2];
    assert!(passcode.keys.iter().any(|k| matches!(k.value, OutlinedValue::Whole(_))));
    assert!(
        read.texts.iter().any(|t| t.path == "SSID_STR") && read.texts.iter().all(|t| t.path != "Password")
    );
    assert_eq!(format!("{read:?}"), format!("Profile({}, sealed)", read.outline.identifier));
}

#[test]
fn a_wrong_type_or_a_missing_key_is_named_by_its_path_alone() {
    let mut p = mild();
    payload(&mut p, 0).insert("AutoJoin".into(), CANARY.into());
    payload(&mut p, 1).remove("URL");
    p.insert("PayloadVersion".into(), CANARY.into());
    let told: Vec<String> = misfits(&p).iter().map(|m| format!("{} {:?}", m.path, m.why)).collect();
    assert_eq!(
        told,
        ["PayloadVersion WrongType", "PayloadContent.0.AutoJoin WrongType", "PayloadContent.1.URL Missing"]
    );
    assert!(!read(&bytes(&p)).unwrap_err().to_string().contains(CANARY));
    // Deep in it, too.
    let mut p = mild();
    let mut eap = Dictionary::new();
    eap.insert("AcceptEAPTypes".into(), Value::Array(vec![25.into(), CANARY.into()]));
    payload(&mut p, 0).insert("EAPClientConfiguration".into(), Value::Dictionary(eap));
    assert_eq!(misfits(&p)[0].path, "PayloadContent.0.EAPClientConfiguration.AcceptEAPTypes.1");
}

#[test]
fn what_the_schema_has_not_is_told_and_not_refused_and_stays_out_of_the_outline() {
    let mut p = mild();
    payload(&mut p, 0).insert("NewInOS27<script>\u{202e}".into(), CANARY.into());
    payload(&mut p, 0).insert("EncryptionType".into(), "WPA9".into());
    let mut unknown = Dictionary::new();
    for (key, value) in [
        ("PayloadType", "org.example.unknown"),
        ("PayloadIdentifier", "org.example.u"),
        ("PayloadUUID", "U"),
        ("Secret", CANARY),
    ] {
        unknown.insert(key.into(), value.into());
    }
    unknown.insert("PayloadVersion".into(), 1.into());
    p.get_mut("PayloadContent").and_then(Value::as_array_mut).unwrap().push(Value::Dictionary(unknown));
    let read = read(&bytes(&p)).unwrap();
    let why = |w| read.remarks.iter().filter(|r| r.why == w).count();
    assert_eq!(
        (why(RemarkWhy::UnknownKey), why(RemarkWhy::NotListed), why(RemarkWhy::UnknownType)),
        (1, 1, 1)
    );
    assert!(read.remarks.iter().all(|r| !r.path.contains('\u{202e}')));
    let (wifi, other) = (&read.outline.payloads[0], read.outline.payloads.last().unwrap());
    assert_eq!((wifi.unknown_keys, other.known, other.unknown_keys), (1, false, 1));
    assert!(other.keys.is_empty() && !format!("{:?}", read.outline).contains("WPA9"));
}

#[test]
fn keys_that_the_schema_has_not_are_told_of_wherever_they_stand_and_what_is_empty_is_told_as_empty() {
    let mut p = mild();
    p.insert("NewInOS27".into(), CANARY.into());
    let mut eap = Dictionary::new();
    eap.insert("AcceptEAPTypes".into(), Value::Array(vec![]));
    eap.insert("NewInOS27".into(), CANARY.into());
    payload(&mut p, 0).insert("EAPClientConfiguration".into(), Value::Dictionary(eap));
    payload(&mut p, 4).insert("allowListedAppBundleIDs".into(), Value::Array(vec![]));
    payload(&mut p, 0).insert("QoSMarkingPolicy".into(), Value::Dictionary(Dictionary::new()));
    let first = read(&bytes(&p)).unwrap();
    let (own, payloads) = (&first.outline.keys, &first.outline.payloads);
    let value = |of: &[model::OutlinedKey], path: &str| {
        let of_path: Vec<_> = of.iter().filter(|k| k.path == path).map(|k| k.value.clone()).collect();
        assert_eq!(of_path.len(), 1, "{path}");
        of_path[0].clone()
    };
    assert_eq!(value(own, "*"), OutlinedValue::Set(Since::Unknown));
    assert_eq!(value(&payloads[0].keys, "EAPClientConfiguration.*"), OutlinedValue::Set(Since::Unknown));
    assert_eq!(value(&payloads[0].keys, "EAPClientConfiguration.AcceptEAPTypes"), OutlinedValue::Empty);
    assert_eq!(value(&payloads[0].keys, "QoSMarkingPolicy"), OutlinedValue::Empty);
    assert_eq!(value(&payloads[4].keys, "allowListedAppBundleIDs"), OutlinedValue::Empty);
    let all = format!("{:?}", first.outline);
    assert!(!all.contains(CANARY) && !all.contains("NewInOS27"), "{all}");
    assert!(first.texts.iter().all(|t| t.text != CANARY && !t.path.contains("OS27")));
    // Another name with the same value is another.
    let since = |p: &Dictionary| {
        let mut now = read(&bytes(p)).unwrap();
        now.since(&first);
        value(&now.outline.keys, "*")
    };
    assert_eq!(since(&p), OutlinedValue::Set(Since::Same));
    p.remove("NewInOS27");
    p.insert("NewInOS28".into(), CANARY.into());
    assert_eq!(since(&p), OutlinedValue::Set(Since::Changed));
}

#[test]
fn an_identifier_that_is_not_plain_and_too_many_payloads_are_refused() {
    for bad in ["", "org.example.\u{202e}wifi", "päck", &"x".repeat(256)] {
        let mut p = mild();
        p.insert("PayloadIdentifier".into(), bad.into());
        assert_eq!(misfits(&p)[0].why, MisfitWhy::NotPlain, "{bad}");
    }
    let mut p = mild();
    let one = Value::Dictionary(payload(&mut p, 0).clone());
    p.insert("PayloadContent".into(), Value::Array(vec![one; 65]));
    assert!(misfits(&p).iter().any(|m| m.why == MisfitWhy::TooMany));
}

#[test]
fn a_profile_larger_than_an_outline_is_cut_and_says_so() {
    let mut p = mild();
    let many: Vec<Value> = (0..3_000).map(|_| CANARY.into()).collect();
    payload(&mut p, 4).insert("allowListedAppBundleIDs".into(), Value::Array(many));
    let read = read(&bytes(&p)).unwrap();
    let told: usize = read.outline.payloads.iter().map(|p| p.keys.len()).sum();
    assert_eq!(told + read.outline.keys.len(), Outline::MOST_KEYS);
    assert!(read.outline.left_out > 1_900 && read.texts.len() <= 300);
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::from(CANARY)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        Just(Value::Data(CANARY.as_bytes().to_vec())),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec(("[A-Za-z]{1,8}", inner), 0..4).prop_map(|pairs| {
                let mut d = Dictionary::new();
                for (key, value) in pairs {
                    d.insert(format!("{key}{CANARY}"), value);
                }
                Value::Dictionary(d)
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn no_outline_and_no_refusal_holds_a_text_or_a_name_of_the_authors(
        which in 0usize..60, values in prop::collection::vec(any_value(), 1..6), own: bool,
    ) {
        let kinds: Vec<_> = payload_kinds().collect();
        let kind = kinds[which % kinds.len()];
        let mut p = mild();
        let first = payload(&mut p, 0);
        first.insert("PayloadType".into(), kind.payload_type.into());
        for (n, value) in values.into_iter().enumerate() {
            let name = kind.keys.get(n * 7 % kind.keys.len().max(1)).map_or("x", |k| k.name);
            first.insert(if own { format!("{name}{CANARY}") } else { name.to_owned() }, value);
        }
        match read(&bytes(&p)) {
            Ok(read) => {
                let outline = minicbor::to_vec(&read.outline).unwrap();
                prop_assert!(!outline.windows(CANARY.len()).any(|w| w == CANARY.as_bytes()));
                prop_assert!(outline.len() < 1 << 20);
                let mut again = read.clone();
                again.since(&read);
                prop_assert!(!again.outline.payloads.iter().flat_map(|p| &p.keys)
                    .any(|k| matches!(k.value, OutlinedValue::Set(Since::Changed | Since::Unknown))));
            }
            Err(e) => prop_assert!(!e.to_string().contains(CANARY)),
        }
    }

    #[test]
    fn arbitrary_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(read(&bytes).is_err());
    }
}
