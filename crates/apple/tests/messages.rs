//! What phones send, as a phone sends it: `tests/data`, with made-up people and numbers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test may fail

use apple::Malformed;
use apple::checkin::Endpoint;
use apple::message::{self, Channel, Field, FieldValue, Message};
use apple::report::{Answer, Report, Status};
use model::{Compartment, FieldClass, classify};
use plist::{Dictionary, Value};
use proptest::prelude::*;

macro_rules! sample {
    ($name:literal) => {
        include_bytes!(concat!("data/", $name, ".xml")).as_slice()
    };
}

const SAMPLES: &[&[u8]] = &[
    sample!("authenticate"),
    sample!("token_update"),
    sample!("check_out"),
    sample!("declarative"),
    sample!("user_authenticate"),
    sample!("set_bootstrap_token"),
    sample!("get_bootstrap_token"),
    sample!("get_token"),
    sample!("idle"),
    sample!("not_now"),
    sample!("error"),
    sample!("device_information"),
    sample!("security_info"),
    sample!("installed_applications"),
    sample!("managed_applications"),
    sample!("profile_list"),
    sample!("certificate_list"),
    sample!("device_location"),
];

const UDID: &str = "00008101-000A1C0E3C02001E";

fn report(body: &[u8]) -> Report {
    match message::parse(body) {
        Ok(Message::Report(report)) => *report,
        other => panic!("not a report: {other:?}"),
    }
}

fn find<'a>(fields: &'a [Field], name: &str) -> Option<&'a FieldValue> {
    fields.iter().find(|f| f.name == name).map(|f| &f.value)
}

/// The sample with its outermost dictionary changed.
fn changed(body: &[u8], change: impl FnOnce(&mut Dictionary)) -> Vec<u8> {
    let mut value = Value::from_reader(std::io::Cursor::new(body)).unwrap().into_dictionary().unwrap();
    change(&mut value);
    let mut out = Vec::new();
    Value::Dictionary(value).to_writer_xml(&mut out).unwrap();
    out
}

fn binary(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Value::from_reader(std::io::Cursor::new(body)).unwrap().to_writer_binary(&mut out).unwrap();
    out
}

#[test]
fn authenticate_keeps_all_that_the_phone_says_of_itself() {
    let Ok(Message::Authenticate(m)) = message::parse(sample!("authenticate")) else { panic!() };
    assert_eq!(m.who.udid.as_deref(), Some(UDID));
    assert_eq!(m.who.channel(), Channel::Device);
    assert!(m.topic.starts_with("com.apple.mgmt."));
    let text = |name| find(&m.fields, name).and_then(FieldValue::as_text);
    assert_eq!(text("SerialNumber"), Some("TESTSERIAL01"));
    assert_eq!(text("UDID"), Some(UDID));
    assert_eq!(text("NewInOS27.Inner%2EKey"), Some("kept"));
    assert_eq!(classify("NewInOS27.Inner%2EKey"), FieldClass::Sealed(Compartment::Other));
}

#[test]
fn an_account_driven_enrolment_authenticates_without_a_udid() {
    let body = changed(sample!("authenticate"), |d| {
        d.remove("UDID");
        d.insert("EnrollmentID".into(), "made-up-enrolment".into());
    });
    assert_eq!(message::parse(&body).unwrap().who().device_id(), Some("made-up-enrolment"));
    let body = changed(&body, |d| drop(d.insert("EnrollmentID".into(), "".into())));
    assert_eq!(message::parse(&body), Err(Malformed::NoIdentity));
}

#[test]
fn token_update_gives_token_magic_and_unlock_token() {
    let Ok(Message::TokenUpdate(m)) = message::parse(sample!("token_update")) else { panic!() };
    assert_eq!(m.token(), (0..32).collect::<Vec<u8>>());
    assert_eq!(m.push_magic(), "4B9A5A1D-0000-4000-8000-000000000001");
    assert!(m.unlock_token().is_some_and(|t| t.starts_with(b"unlock token")));
    assert!(!m.awaiting_configuration && !m.not_on_console);
    for (name, compartment) in
        [("Token", Compartment::Push), ("PushMagic", Compartment::Push), ("UnlockToken", Compartment::Escrow)]
    {
        assert!(find(&m.fields, name).is_some());
        assert_eq!(classify(name), FieldClass::Sealed(compartment));
    }
}

#[test]
fn a_push_token_of_any_length_is_taken_and_an_unlock_token_may_be_absent() {
    for len in [0, 1, 20, 100, 5000] {
        let body = changed(sample!("token_update"), |d| {
            d.insert("Token".into(), Value::Data(vec![7; len]));
            d.remove("UnlockToken");
        });
        let Ok(Message::TokenUpdate(m)) = message::parse(&body) else { panic!("{len}") };
        assert_eq!(m.token().len(), len);
        assert_eq!(m.unlock_token(), None);
    }
}

#[test]
fn a_user_of_a_shared_ipad_is_told_from_the_device() {
    let body = changed(sample!("token_update"), |d| {
        d.insert("UserID".into(), message::SHARED_IPAD_USER_ID.into());
        d.insert("UserShortName".into(), "ward7".into());
    });
    let parsed = message::parse(&body).unwrap();
    assert_eq!(parsed.who().channel(), Channel::User);
    assert_eq!(parsed.who().user_short_name.as_deref(), Some("ward7"));
}

#[test]
fn a_missing_or_mistyped_key_is_named_in_the_refusal() {
    type Case = (&'static [u8], &'static str, Option<Value>, Malformed);
    let cases: &[Case] = &[
        (sample!("authenticate"), "Topic", None, Malformed::MissingKey("Topic")),
        (sample!("authenticate"), "IMEI", Some(1.into()), Malformed::WrongType("IMEI")),
        (sample!("authenticate"), "UDID", Some(true.into()), Malformed::WrongType("UDID")),
        (sample!("authenticate"), "UDID", None, Malformed::NoIdentity),
        (sample!("authenticate"), "MessageType", None, Malformed::UnknownMessage),
        (sample!("authenticate"), "MessageType", Some(1.into()), Malformed::WrongType("MessageType")),
        (sample!("authenticate"), "MessageType", Some("a b".into()), Malformed::UnknownMessage),
        (sample!("token_update"), "Token", None, Malformed::MissingKey("Token")),
        (sample!("token_update"), "Token", Some("x".into()), Malformed::WrongType("Token")),
        (sample!("token_update"), "Token", Some(Value::Array(vec![1.into()])), Malformed::WrongType("Token")),
        (sample!("token_update"), "PushMagic", None, Malformed::MissingKey("PushMagic")),
        (sample!("token_update"), "UnlockToken", Some("x".into()), Malformed::WrongType("UnlockToken")),
        (sample!("declarative"), "Endpoint", None, Malformed::MissingKey("Endpoint")),
        (sample!("declarative"), "Endpoint", Some("../x".into()), Malformed::WrongType("Endpoint")),
        (sample!("get_token"), "TokenServiceType", None, Malformed::MissingKey("TokenServiceType")),
        (
            sample!("set_bootstrap_token"),
            "BootstrapToken",
            Some(1.into()),
            Malformed::WrongType("BootstrapToken"),
        ),
        (sample!("idle"), "Status", Some("Sleeping".into()), Malformed::UnknownStatus),
        (sample!("idle"), "Status", None, Malformed::UnknownMessage),
        (sample!("idle"), "UDID", None, Malformed::NoIdentity),
        (sample!("not_now"), "CommandUUID", Some(1.into()), Malformed::WrongType("CommandUUID")),
        (sample!("error"), "ErrorChain", Some("x".into()), Malformed::WrongType("ErrorChain")),
        (
            sample!("device_information"),
            "QueryResponses",
            Some("x".into()),
            Malformed::WrongType("QueryResponses"),
        ),
        (sample!("profile_list"), "ProfileList", Some("x".into()), Malformed::WrongType("ProfileList")),
    ];
    for (body, key, value, why) in cases {
        let bad = changed(body, |d| match value {
            Some(value) => drop(d.insert((*key).into(), value.clone())),
            None => drop(d.remove(key)),
        });
        assert_eq!(message::parse(&bad), Err(*why), "{key} {value:?}");
    }
    assert_eq!(message::parse(b"<array/>"), Err(Malformed::NotADictionary));
}

#[test]
fn a_message_type_from_the_future_is_kept_whole() {
    let body =
        changed(sample!("authenticate"), |d| drop(d.insert("MessageType".into(), "ReturnToWard".into())));
    let Ok(Message::Unknown { message_type, fields, who }) = message::parse(&body) else { panic!() };
    assert_eq!(message_type, "ReturnToWard");
    assert_eq!(who.udid.as_deref(), Some(UDID));
    assert!(find(&fields, "IMEI").is_some() && find(&fields, "Topic").is_some());
}

#[test]
fn the_smaller_check_ins_are_read() {
    assert!(matches!(message::parse(sample!("check_out")), Ok(Message::CheckOut(m)) if m.topic.is_some()));
    let Ok(Message::UserAuthenticate(m)) = message::parse(sample!("user_authenticate")) else { panic!() };
    assert_eq!(m.digest_response, None);
    let Ok(Message::SetBootstrapToken(m)) = message::parse(sample!("set_bootstrap_token")) else { panic!() };
    assert_eq!(m.token.as_deref(), Some(&b"made-up bootstrap token"[..]));
    let cleared = changed(sample!("set_bootstrap_token"), |d| {
        drop(d.insert("BootstrapToken".into(), Value::Data(vec![])))
    });
    assert!(matches!(message::parse(&cleared), Ok(Message::SetBootstrapToken(m)) if m.token.is_none()));
    assert!(matches!(message::parse(sample!("get_bootstrap_token")), Ok(Message::GetBootstrapToken(_))));
    let Ok(Message::GetToken(m)) = message::parse(sample!("get_token")) else { panic!() };
    assert_eq!(m.service_type, "com.apple.watch.pairing");
    assert!(find(&m.fields, "TokenParameters.WatchUDID").is_some());
    let Ok(Message::DeclarativeManagement(m)) = message::parse(sample!("declarative")) else { panic!() };
    assert_eq!((m.endpoint, m.data.map(|d| d.len())), (Endpoint::Status, Some(18)));
    let one = changed(sample!("declarative"), |d| {
        drop(d.insert("Endpoint".into(), "declaration/asset/a.b".into()))
    });
    let Ok(Message::DeclarativeManagement(m)) = message::parse(&one) else { panic!() };
    assert_eq!(m.endpoint, Endpoint::Declaration { kind: "asset".into(), identifier: "a.b".into() });
}

#[test]
fn each_status_is_read_with_its_command() {
    for (body, status, has_command) in [
        (sample!("idle"), Status::Idle, false),
        (sample!("not_now"), Status::NotNow, true),
        (sample!("error"), Status::Error, true),
        (sample!("security_info"), Status::Acknowledged, true),
    ] {
        let report = report(body);
        assert_eq!(report.status, status);
        assert_eq!(report.command_id.is_some(), has_command);
        assert_eq!(report.foreign_command_uuid, None);
    }
    let odd = changed(sample!("not_now"), |d| {
        d.insert("CommandUUID".into(), "query-1".into());
        d.insert("Status".into(), "CommandFormatError".into());
    });
    let odd = report(&odd);
    assert_eq!(odd.status, Status::CommandFormatError);
    assert_eq!((odd.command_id, odd.foreign_command_uuid.as_deref()), (None, Some("query-1")));
}

#[test]
fn an_error_chain_gives_codes_and_domains_and_keeps_its_descriptions_as_fields() {
    let report = report(sample!("error"));
    let chain: Vec<_> = report.error_chain.iter().map(|e| (e.code, e.domain.as_deref())).collect();
    assert_eq!(chain, [(Some(12021), Some("MCMDMErrorDomain")), (Some(4), Some("NSCocoaErrorDomain"))]);
    assert!(report.find("ErrorChain.0.LocalizedDescription").is_some());
    assert_eq!(classify("ErrorChain.0.LocalizedDescription"), FieldClass::Sealed(Compartment::Other));
    assert_eq!(report.answer, Answer::Nothing);
}

#[test]
fn device_information_is_flat_with_a_path_for_every_value() {
    let report = report(sample!("device_information"));
    assert_eq!(report.answer, Answer::DeviceInformation);
    assert!(report.items.is_empty());
    let text = |name| report.find(name).and_then(FieldValue::as_text);
    assert_eq!(text("PhoneNumber"), Some("+447700900123"));
    assert_eq!(text("ServiceSubscriptions.1.PhoneNumber"), Some("+447700900456"));
    assert_eq!(text("EthernetMACs.1"), Some("02:00:5e:10:00:04"));
    assert_eq!(report.find("BatteryLevel"), Some(&FieldValue::Real(0.83)));
    assert_eq!(report.find("LastCloudBackupDate"), Some(&FieldValue::Date(1_793_502_000_000)));
    assert_eq!(report.find("MDMOptions.ActivationLockAllowedWhileSupervised"), Some(&FieldValue::Bool(true)));
}

#[test]
fn lists_become_items_and_security_info_keeps_its_prefix() {
    let apps = report(sample!("installed_applications"));
    assert_eq!((apps.answer, apps.items.len()), (Answer::InstalledApplicationList, 40));
    assert_eq!(apps.items[3].find("Identifier").and_then(FieldValue::as_text), Some("org.example.app3"));
    assert_eq!(apps.items[3].find("Version").and_then(FieldValue::as_text), Some("103"));
    assert!(apps.fields.is_empty());

    let managed = report(sample!("managed_applications"));
    assert_eq!((managed.answer, managed.items.len()), (Answer::ManagedApplicationList, 3));
    assert_eq!(managed.items[0].find("Identifier").and_then(FieldValue::as_text), Some("org.example.app0"));
    assert_eq!(managed.items[0].find("Status").and_then(FieldValue::as_text), Some("Managed"));

    let profiles = report(sample!("profile_list"));
    assert_eq!((profiles.answer, profiles.items.len()), (Answer::ProfileList, 1));
    assert_eq!(
        profiles.items[0].find("PayloadContent.0.PayloadType").and_then(FieldValue::as_text),
        Some("com.apple.wifi.managed")
    );

    let certificates = report(sample!("certificate_list"));
    assert_eq!((certificates.answer, certificates.items.len()), (Answer::CertificateList, 2));
    assert_eq!(
        certificates.items[1].find("Data").and_then(FieldValue::as_bytes),
        Some(&[0x30, 3, 2, 1, 1][..])
    );

    let security = report(sample!("security_info"));
    assert_eq!(security.answer, Answer::SecurityInfo);
    assert_eq!(security.find("SecurityInfo.PasscodePresent"), Some(&FieldValue::Bool(true)));
    assert!(security.find("SecurityInfo.ManagementStatus.EnrolledViaDEP").is_some());

    let location = report(sample!("device_location"));
    assert_eq!(location.answer, Answer::DeviceLocation);
    assert_eq!(location.find("Latitude"), Some(&FieldValue::Real(51.5)));
}

#[test]
fn a_name_that_is_too_long_is_refused() {
    let named = |len: usize| {
        changed(sample!("device_information"), |d| {
            let answers = d.get_mut("QueryResponses").and_then(Value::as_dictionary_mut).unwrap();
            answers.insert("k".repeat(len), Value::Array(vec![true.into(); 3]));
        })
    };
    assert!(message::parse(&named(message::MAX_NAME_BYTES - 2)).is_ok());
    assert_eq!(message::parse(&named(message::MAX_NAME_BYTES)), Err(Malformed::NameTooLong));
}

#[test]
fn two_values_under_one_path_are_refused() {
    let body = changed(sample!("device_information"), |d| drop(d.insert("IMEI".into(), "x".into())));
    assert_eq!(message::parse(&body), Err(Malformed::DuplicateKey));
    let body = changed(sample!("managed_applications"), |d| {
        let list = d.get_mut("ManagedApplicationList").and_then(Value::as_dictionary_mut).unwrap();
        list["org.example.app0"].as_dictionary_mut().unwrap().insert("Identifier".into(), "x".into());
    });
    assert_eq!(message::parse(&body), Err(Malformed::DuplicateKey));
}

#[test]
fn the_same_content_is_normalised_to_the_same_bytes_and_another_content_is_not() {
    for body in SAMPLES {
        let Ok(Message::Report(report)) = message::parse(body) else { continue };
        let Ok(Message::Report(again)) = message::parse(&binary(body)) else { panic!() };
        assert_eq!(report.normalised(), again.normalised());
    }
    let one = report(sample!("installed_applications"));
    let other = changed(sample!("installed_applications"), |d| {
        d.insert("CommandUUID".into(), "0A0B0C0D-0E0F-4000-8000-000000000099".into());
        let list = d.get_mut("InstalledApplicationList").and_then(Value::as_array_mut).unwrap();
        list.reverse();
        for app in list {
            let app = app.as_dictionary_mut().unwrap();
            let mut pairs: Vec<_> = app.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
            pairs.reverse();
            *app = pairs.into_iter().collect();
        }
    });
    assert_eq!(one.normalised(), report(&other).normalised());
    let newer = changed(sample!("installed_applications"), |d| {
        let list = d.get_mut("InstalledApplicationList").and_then(Value::as_array_mut).unwrap();
        list[0].as_dictionary_mut().unwrap().insert("Version".into(), "101".into());
    });
    assert_ne!(one.normalised(), report(&newer).normalised());
}

#[test]
fn debug_of_any_message_shows_nothing_that_the_phone_said() {
    for body in SAMPLES {
        let shown = format!("{:?}", message::parse(body).unwrap());
        for said in [UDID, "TESTSERIAL01", "7700", "made-up", "35 000000", "unlock", "Ward Wi-Fi", "51.5"] {
            assert!(!shown.contains(said), "{said} in {shown}");
        }
    }
}

#[test]
fn every_value_of_a_report_is_among_its_fields_or_items() {
    fn leaves(value: &Value) -> usize {
        match value {
            Value::Array(items) => items.iter().map(leaves).sum(),
            Value::Dictionary(pairs) => pairs.values().map(leaves).sum(),
            _ => 1,
        }
    }
    for body in SAMPLES {
        let Ok(Message::Report(report)) = message::parse(body) else { continue };
        let said = leaves(&Value::from_reader(std::io::Cursor::new(body)).unwrap());
        // Status, UDID and CommandUUID have places of their own; a managed app's key becomes a field.
        let typed = 2 + usize::from(report.command_id.is_some());
        let keys = if report.answer == Answer::ManagedApplicationList { report.items.len() } else { 0 };
        let kept = report.fields.len() + report.items.iter().map(|i| i.fields.len()).sum::<usize>();
        assert_eq!(said, typed + kept - keys);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_damaged_or_cut_message_is_read_or_refused_and_never_panics(
        which in 0..SAMPLES.len(),
        as_binary: bool,
        cut: Option<u16>,
        changes in proptest::collection::vec(any::<(u16, u8)>(), 0..6),
    ) {
        let mut body = if as_binary { binary(SAMPLES[which]) } else { SAMPLES[which].to_vec() };
        for (at, byte) in changes {
            let at = usize::from(at) % body.len();
            body[at] = byte;
        }
        if let Some(cut) = cut {
            body.truncate(usize::from(cut) % body.len());
        }
        if let Ok(Message::Report(report)) = message::parse(&body) {
            prop_assert!(!report.normalised().is_empty());
        }
    }

    #[test]
    fn arbitrary_bytes_are_refused_and_never_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(message::parse(&body).is_err());
    }
}
