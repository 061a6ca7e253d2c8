//! What counts as mild: a sample that does, every way that was thought of to make it harmful, and the
//! list itself against Apple's schema.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test may fail

mod schema;

use apple::Malformed;
use apple::harm::{self, Harm, Rule, Why};
use model::{Command, CommandKind, CommandSecrets, Setting};
use plist::{Dictionary, Value};
use proptest::prelude::*;

const MILD: &[u8] = include_bytes!("data/profile_mild.mobileconfig");
const WIFI: usize = 0;
const CLIP: usize = 1;
const PASSCODE: usize = 2;
const RESTRICTIONS: usize = 4;

fn mild() -> Dictionary {
    Value::from_reader(std::io::Cursor::new(MILD)).unwrap().into_dictionary().unwrap()
}

fn judged(profile: &Dictionary) -> Harm {
    let mut bytes = Vec::new();
    Value::Dictionary(profile.clone()).to_writer_xml(&mut bytes).unwrap();
    harm::judge(&bytes).unwrap()
}

fn payload(profile: &mut Dictionary, i: usize) -> &mut Dictionary {
    profile.get_mut("PayloadContent").and_then(Value::as_array_mut).unwrap()[i].as_dictionary_mut().unwrap()
}

fn whys(harm: Harm) -> Vec<(String, String, Why)> {
    match harm {
        Harm::Mild => vec![],
        Harm::Erasing { because } => because.into_iter().map(|f| (f.payload_type, f.key, f.why)).collect(),
    }
}

fn data(len: usize) -> Value {
    Value::Data(vec![0; len])
}

#[test]
fn the_sample_of_mild_payloads_is_mild() {
    assert_eq!(harm::judge(MILD), Ok(Harm::Mild));
}

#[test]
fn each_way_to_make_a_mild_payload_harmful_counts_as_erasure() {
    let dictionary = || Value::Dictionary(Dictionary::new());
    let cases: Vec<(usize, &str, Value, Why)> = vec![
        // erases, or locks out
        (PASSCODE, "maxFailedAttempts", 2.into(), Why::OutOfRange),
        (PASSCODE, "maxFailedAttempts", 5.into(), Why::OutOfRange),
        (PASSCODE, "maxFailedAttempts", (-1).into(), Why::OutOfRange),
        (PASSCODE, "maxFailedAttempts", Value::Integer(u64::MAX.into()), Why::OutOfRange),
        (PASSCODE, "maxFailedAttempts", 10.0.into(), Why::WrongType),
        (PASSCODE, "maxFailedAttempts", "10".into(), Why::WrongType),
        (PASSCODE, "maxFailedAttempts", true.into(), Why::WrongType),
        (PASSCODE, "MaxFailedAttempts", 10.into(), Why::UnlistedKey),
        (PASSCODE, "minLength", 16.into(), Why::OutOfRange),
        (PASSCODE, "maxPINAgeInDays", 1.into(), Why::OutOfRange),
        (PASSCODE, "changeAtNextAuth", true.into(), Why::UnlistedKey),
        (PASSCODE, "customRegex", dictionary(), Why::UnlistedKey),
        (RESTRICTIONS, "allowFingerprintForUnlock", false.into(), Why::UnlistedKey),
        (RESTRICTIONS, "allowPasscodeModification", false.into(), Why::UnlistedKey),
        // sees traffic
        (WIFI, "ProxyType", "Auto".into(), Why::OutOfRange),
        (WIFI, "ProxyPACURL", "https://proxy.example.org/p".into(), Why::UnlistedKey),
        (WIFI, "ProxyServer", "192.0.2.1".into(), Why::UnlistedKey),
        (WIFI, "EAPClientConfiguration", dictionary(), Why::UnlistedKey),
        (WIFI, "PayloadCertificateUUID", "x".into(), Why::UnlistedKey),
        (WIFI, "EncryptionType", "Any".into(), Why::OutOfRange),
        (WIFI, "EncryptionType", "None".into(), Why::OutOfRange),
        (WIFI, "EncryptionType", "WEP".into(), Why::OutOfRange),
        (WIFI, "Password", "short".into(), Why::OutOfRange),
        (RESTRICTIONS, "allowUntrustedTLSPrompt", true.into(), Why::OutOfRange),
        (CLIP, "URL", "http://intranet.example.org".into(), Why::OutOfRange),
        (CLIP, "URL", "https://intranet.example.org@192.0.2.1/".into(), Why::OutOfRange),
        (CLIP, "URL", "javascript:0".into(), Why::OutOfRange),
        (CLIP, "URL", "https:///x".into(), Why::OutOfRange),
        (CLIP, "FullScreen", true.into(), Why::OutOfRange),
        (CLIP, "TargetApplicationBundleIdentifier", "org.example".into(), Why::UnlistedKey),
        (CLIP, "Icon", data((1 << 20) + 1), Why::OutOfRange),
        // takes apps or updates away
        (RESTRICTIONS, "allowCamera", false.into(), Why::UnlistedKey),
        (RESTRICTIONS, "blockedAppBundleIDs", Value::Array(vec![]), Why::UnlistedKey),
        (RESTRICTIONS, "forceDelayedSoftwareUpdates", true.into(), Why::UnlistedKey),
        (RESTRICTIONS, "forceEncryptedBackup", false.into(), Why::OutOfRange),
        // replaces management
        (WIFI, "PayloadIdentifier", "matron.enrolment.mdm".into(), Why::ReplacesManagement),
        (WIFI, "PayloadIdentifier", " Matron.Enrolment".into(), Why::ReplacesManagement),
        (WIFI, "PayloadVersion", 2.into(), Why::OutOfRange),
        (WIFI, "PayloadType", Value::Boolean(true), Why::WrongType),
    ];
    for (i, key, value, why) in cases {
        let mut profile = mild();
        payload(&mut profile, i).insert(key.to_owned(), value.clone());
        let found = whys(judged(&profile));
        assert!(found.iter().any(|(_, k, w)| k == key && *w == why), "{key} = {value:?} gives {found:?}");
    }
}

#[test]
fn each_key_of_the_profile_itself_that_is_not_listed_counts_as_erasure() {
    let cases: Vec<(&str, Value, Why)> = vec![
        ("PayloadIdentifier", "matron.enrolment".into(), Why::ReplacesManagement),
        ("IsEncrypted", true.into(), Why::UnlistedKey),
        ("EncryptedPayloadContent", data(10), Why::UnlistedKey),
        ("HasRemovalPasscode", true.into(), Why::UnlistedKey),
        ("DurationUntilRemoval", 1.0.into(), Why::UnlistedKey),
        ("ConsentText", Value::Dictionary(Dictionary::new()), Why::UnlistedKey),
        ("TargetDeviceType", 5.into(), Why::OutOfRange),
        ("PayloadContent", Value::Array(vec![]), Why::Empty),
    ];
    for (key, value, why) in cases {
        let mut profile = mild();
        profile.insert(key.to_owned(), value);
        let found = whys(judged(&profile));
        assert!(
            found.iter().any(|(t, k, w)| t == "Configuration" && k == key && *w == why),
            "{key}: {found:?}"
        );
    }
    let mut profile = mild();
    profile.remove("PayloadIdentifier");
    assert!(judged(&profile).is_erasing());
}

#[test]
fn a_payload_without_what_makes_it_mild_counts_as_erasure() {
    for (i, key) in [(WIFI, "Password"), (WIFI, "EncryptionType"), (WIFI, "PayloadIdentifier"), (CLIP, "URL")]
    {
        let mut profile = mild();
        payload(&mut profile, i).remove(key);
        let found = whys(judged(&profile));
        assert!(found.iter().any(|(_, k, w)| k == key && *w == Why::MissingKey), "{key}: {found:?}");
    }
}

#[test]
fn every_type_of_apples_schema_that_is_not_listed_counts_as_erasure() {
    let listed: Vec<&str> = harm::mild_keys().map(|(kind, ..)| kind).collect();
    let types = [
        "com.apple.security.root",
        "com.apple.security.pem",
        "com.apple.security.pkcs12",
        "com.apple.mdm",
        "com.apple.security.scep",
        "com.apple.security.acme",
        "com.apple.vpn.managed",
        "com.apple.relay.managed",
        "com.apple.proxy.http.global",
        "com.apple.dnsSettings.managed",
        "com.apple.dnsProxy.managed",
        "com.apple.webcontent-filter",
        "com.apple.app.lock",
        "com.apple.profileRemovalPassword",
        "com.apple.mail.managed",
        "com.apple.eas.account",
        "com.apple.cellular",
        "com.apple.homescreenlayout",
        "com.apple.font",
        "com.apple.declarations",
        "com.apple.WIFI.managed",
        "",
        "a\u{7}b",
    ];
    for kind in types {
        assert!(!listed.contains(&kind));
        let mut profile = mild();
        payload(&mut profile, WIFI).insert("PayloadType".into(), kind.into());
        let found = whys(judged(&profile));
        assert!(found.iter().any(|(.., w)| *w == Why::UnlistedType), "{kind}: {found:?}");
        assert!(found.iter().all(|(t, ..)| t.bytes().all(|b| b.is_ascii_graphic())));
    }
}

#[test]
fn findings_are_bounded_and_too_many_payloads_are_not_mild() {
    let mut profile = mild();
    for i in 0..1000 {
        payload(&mut profile, WIFI).insert(format!("Key{i}"), true.into());
    }
    assert_eq!(whys(judged(&profile)).len(), harm::MAX_FINDINGS);
    let mut profile = mild();
    let content = profile.get_mut("PayloadContent").and_then(Value::as_array_mut).unwrap();
    *content = vec![content[WIFI].clone(); harm::MAX_MILD_PAYLOADS + 1];
    assert!(whys(judged(&profile)).iter().any(|(.., w)| *w == Why::TooManyPayloads));
}

#[test]
fn a_profile_that_can_not_be_read_is_refused() {
    for (bad, why) in [
        (&b"\x30\x80\x06\x09"[..], Malformed::SignedEnvelope),
        (b"", Malformed::Empty),
        (b"<dict/>", Malformed::MissingKey("PayloadType")),
        (
            b"<dict><key>PayloadType</key><string>Configuration</string></dict>",
            Malformed::MissingKey("PayloadContent"),
        ),
    ] {
        assert_eq!(harm::judge(bad), Err(why));
    }
    // The same key twice: the phone might read the other one.
    let twice = String::from_utf8(MILD.to_vec()).unwrap().replace(
        "<key>maxFailedAttempts</key>",
        "<key>maxFailedAttempts</key><integer>2</integer><key>maxFailedAttempts</key>",
    );
    assert_eq!(harm::judge(twice.as_bytes()), Err(Malformed::DuplicateKey));
}

#[test]
fn commands_that_destroy_or_remove_count_as_erasure_and_the_others_do_not() {
    let none = CommandSecrets::default();
    let erasing =
        |command: &Command, secrets: &CommandSecrets| harm::judge_command(command, secrets).is_erasing();
    assert!(erasing(
        &Command::EraseDevice { preserve_data_plan: true, disallow_proximity_setup: false },
        &none
    ));
    assert!(erasing(&Command::RemoveProfile { identifier: "org.example.ward".into() }, &none));
    assert!(erasing(&Command::DeviceLock, &CommandSecrets { pin: Some("123456".into()), ..none.clone() }));
    assert!(erasing(&Command::InstallProfile, &none));
    let with =
        |profile: &[u8]| CommandSecrets { profile: Some(profile.to_vec()), ..CommandSecrets::default() };
    assert!(erasing(&Command::InstallProfile, &with(b"\x30\x80")));
    assert!(!erasing(&Command::InstallProfile, &with(MILD)));
    let items = vec![Setting::Bluetooth { enabled: false }, Setting::DeviceName];
    for command in [
        Command::DeviceLock,
        Command::ClearPasscode,
        Command::EnableLostMode,
        Command::DisableLostMode,
        Command::DeviceLocation,
        Command::PlayLostModeSound,
        Command::RestartDevice { notify_user: false },
        Command::ShutDownDevice,
        Command::Settings { items },
    ] {
        assert!(!erasing(&command, &none), "{command:?}");
        assert_ne!(command.kind(), CommandKind::EraseDevice);
    }
}

#[test]
fn every_listed_key_is_in_apples_schema_with_its_type_and_range() {
    for (kind, name, rule) in harm::mild_keys() {
        let file = match kind {
            "Configuration" => "TopLevel",
            "*" => "CommonPayloadKeys",
            other => other,
        };
        let Some(doc) = schema::load(&format!("profiles/{file}")) else { return };
        if !matches!(kind, "Configuration" | "*") {
            assert_eq!(doc["payload"]["payloadtype"].as_str(), Some(kind));
        }
        let keys = schema::keys(&doc, "payloadkeys");
        let key = keys.iter().find(|k| k.name == name).unwrap_or_else(|| panic!("{kind} has no {name}"));
        let kind_of_rule = match rule {
            Rule::Bool | Rule::Exactly(_) => "<boolean>",
            Rule::Integer(..) => "<integer>",
            Rule::Text(..) | Rule::OneOf(_) | Rule::HttpsUrl => "<string>",
            Rule::Data(_) => "<data>",
            Rule::Payloads => "<array>",
        };
        assert_eq!(key.kind, kind_of_rule, "{kind} {name}");
        if let (Rule::Integer(min, max), Some((low, high))) = (rule, key.range) {
            assert!(low <= min && max <= high && min <= max, "{kind} {name}");
        }
        if let (Rule::OneOf(texts), false) = (rule, key.allowed.is_empty()) {
            assert!(texts.iter().all(|t| key.allowed.iter().any(|a| a == t)), "{kind} {name}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_key_that_is_not_listed_is_never_mild(i in 0usize..5, key in "[a-zA-Z]{1,16}", value: bool) {
        let mut profile = mild();
        let kind = payload(&mut profile, i)["PayloadType"].as_string().unwrap().to_owned();
        prop_assume!(!harm::mild_keys().any(|(k, name, _)| (k == kind || k == "*") && name == key));
        payload(&mut profile, i).insert(key, value.into());
        prop_assert!(judged(&profile).is_erasing());
    }

    #[test]
    fn what_is_judged_and_what_is_sent_are_judged_alike(
        changes in proptest::collection::vec(any::<(u16, u8)>(), 1..4),
    ) {
        let mut bytes = MILD.to_vec();
        for (at, byte) in changes {
            let at = usize::from(at) % bytes.len();
            bytes[at] = byte;
        }
        if let (Ok(harm), Ok(sent)) = (harm::judge(&bytes), apple::profile::rewritten(&bytes)) {
            prop_assert_eq!(harm::judge(&sent), Ok(harm));
        }
    }
}
