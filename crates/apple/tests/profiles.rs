//! The enrolment profile: what a phone reads of it, and what Apple's schema says of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test may fail

mod schema;

use apple::profile::{self, EnrolmentProfile, Root};
use apple::{Malformed, ProfileError};
use plist::{Dictionary, Value};
use proptest::prelude::*;

fn enrolment() -> EnrolmentProfile {
    EnrolmentProfile {
        organization: "Example Hospital".into(),
        display_name: "Example Hospital phones".into(),
        description: "Lets Example Hospital manage this phone & find it when lost.".into(),
        roots: vec![
            Root {
                certificate_der: vec![0x30, 0x03, 2, 1, 0],
                display_name: "Example CA".into(),
                uuid: [1; 16],
            },
            Root {
                certificate_der: vec![0x30, 0x03, 2, 1, 1],
                display_name: "Example TLS".into(),
                uuid: [2; 16],
            },
        ],
        scep_url: "https://mdm.example.org:8443/scep".into(),
        scep_challenge: "made-up-challenge".into(),
        common_name: "00112233445566778899aabbccddeeff".into(),
        ca_fingerprint: Some(vec![0xFA; 32]),
        server_url: "https://mdm.example.org:8443/mdm".into(),
        topic: "com.apple.mgmt.External.00000000-0000-4000-8000-000000000000".into(),
        sign_message: false,
        profile_uuid: [3; 16],
        scep_uuid: [4; 16],
        mdm_uuid: [5; 16],
    }
}

fn outer(bytes: &[u8]) -> Dictionary {
    Value::from_reader(std::io::Cursor::new(bytes)).unwrap().into_dictionary().unwrap()
}

#[test]
fn a_phone_reads_what_the_vault_wrote() {
    let wrote = enrolment();
    let bytes = wrote.build().unwrap();
    assert_eq!(bytes, wrote.build().unwrap());
    let read = profile::parse(&bytes).unwrap();
    assert_eq!(read.scep_url, wrote.scep_url);
    assert_eq!(read.scep_challenge, wrote.scep_challenge);
    assert_eq!(read.common_name.as_deref(), Some(wrote.common_name.as_str()));
    assert_eq!(read.key_size_bits, 2048);
    assert_eq!(read.ca_fingerprint, wrote.ca_fingerprint);
    assert_eq!(read.server_url, wrote.server_url);
    assert_eq!(read.check_in_url, wrote.server_url);
    assert_eq!(read.topic, wrote.topic);
    assert!(!read.sign_message);
    assert_eq!(read.roots_der, wrote.roots.iter().map(|r| r.certificate_der.clone()).collect::<Vec<_>>());
}

#[test]
fn the_enrolment_profile_is_what_apples_schema_says() {
    let load = |name: &str| Some(schema::keys(&schema::load(&format!("profiles/{name}"))?, "payloadkeys"));
    let (Some(top), Some(common)) = (load("TopLevel"), load("CommonPayloadKeys")) else { return };
    let profile = outer(&enrolment().build().unwrap());
    schema::check("TopLevel", &profile, &top);
    let payloads = profile["PayloadContent"].as_array().unwrap();
    assert_eq!(payloads.len(), 4);
    for payload in payloads {
        let payload = payload.as_dictionary().unwrap();
        let kind = payload["PayloadType"].as_string().unwrap();
        let keys = [common.clone(), load(kind).unwrap()].concat();
        schema::check(kind, payload, &keys);
    }
}

#[test]
fn the_management_payload_says_what_the_protocol_needs() {
    let profile = outer(&enrolment().build().unwrap());
    let payloads = profile["PayloadContent"].as_array().unwrap();
    let of = |kind: &str| {
        payloads
            .iter()
            .filter_map(Value::as_dictionary)
            .find(|p| p["PayloadType"].as_string() == Some(kind))
            .unwrap()
    };
    let mdm = of("com.apple.mdm");
    assert_eq!(mdm["IdentityCertificateUUID"], of("com.apple.security.scep")["PayloadUUID"]);
    assert_eq!(mdm["AccessRights"].as_signed_integer(), Some(8191));
    assert_eq!(mdm["CheckOutWhenRemoved"].as_boolean(), Some(true));
    assert!(!mdm.contains_key("CheckInURL"));
    let scep = of("com.apple.security.scep")["PayloadContent"].as_dictionary().unwrap();
    assert_eq!(scep["Key Usage"].as_signed_integer(), Some(5));
    let subject = Value::Array(vec!["CN".into(), "00112233445566778899aabbccddeeff".into()]);
    assert_eq!(scep["Subject"], Value::Array(vec![Value::Array(vec![subject])]));
}

#[test]
fn a_configuration_that_makes_no_profile_is_refused_with_its_reason() {
    type Change = fn(&mut EnrolmentProfile);
    let cases: &[(Change, ProfileError)] = &[
        (|p| p.scep_url = "http://mdm.example.org/scep".into(), ProfileError::NotHttps("the SCEP URL")),
        (|p| p.server_url = "https://".into(), ProfileError::BadText("the server URL")),
        (|p| p.server_url = "https://a b".into(), ProfileError::BadText("the server URL")),
        (|p| p.topic = "org.example".into(), ProfileError::BadTopic),
        (|p| p.organization = String::new(), ProfileError::BadText("the organization")),
        (|p| p.scep_challenge = "a\nb".into(), ProfileError::BadText("the SCEP challenge")),
        (|p| p.ca_fingerprint = Some(vec![0; 16]), ProfileError::BadFingerprint),
        (|p| p.roots.clear(), ProfileError::BadRoots),
        (|p| p.roots[0].certificate_der.clear(), ProfileError::BadRoots),
        (|p| p.mdm_uuid = p.scep_uuid, ProfileError::EqualUuids),
    ];
    for (change, why) in cases {
        let mut profile = enrolment();
        change(&mut profile);
        assert_eq!(profile.build(), Err(*why));
    }
}

#[test]
fn people_see_types_identifiers_and_keys_but_no_value() {
    let summary = profile::inspect(include_bytes!("data/profile_mild.mobileconfig")).unwrap();
    assert_eq!(summary.identifier, "org.example.ward");
    assert_eq!(summary.display_name.as_deref(), Some("Ward phones"));
    assert_eq!(summary.payloads.len(), 5);
    assert_eq!(summary.payloads[0].payload_type, "com.apple.wifi.managed");
    assert!(summary.payloads[0].keys.contains(&"Password".to_owned()));
    assert!(!format!("{summary:?}").contains("made-up password"));
}

#[test]
fn debug_of_an_enrolment_profile_hides_its_challenge() {
    let bytes = enrolment().build().unwrap();
    assert_eq!(format!("{:?}", enrolment()), "EnrolmentProfile(sealed)");
    assert_eq!(format!("{:?}", profile::parse(&bytes).unwrap()), "ReadEnrolment(sealed)");
}

#[test]
fn what_is_not_an_enrolment_profile_is_refused() {
    for (bad, why) in [
        (&b"\x30\x82\x01\x00"[..], Malformed::SignedEnvelope),
        (b"<array/>", Malformed::NotADictionary),
        (b"<dict/>", Malformed::MissingKey("PayloadType")),
        (b"<dict><key>PayloadType</key><string>x</string></dict>", Malformed::WrongType("PayloadType")),
        (include_bytes!("data/profile_mild.mobileconfig"), Malformed::MissingKey("com.apple.security.scep")),
    ] {
        assert_eq!(profile::parse(bad).unwrap_err(), why);
    }
}

#[test]
fn a_profile_that_would_grow_past_the_bound_when_written_anew_is_refused() {
    // Each value gains an indent of some 60 tabs, so what fits before would not be read again after.
    let deep = |values: usize| {
        format!(
            "<plist><dict><key>PayloadType</key><string>Configuration</string><key>PayloadContent</key><array>\
             <dict><key>PayloadType</key><string>com.example.deep</string><key>X</key>{}{}{}</dict></array>\
             </dict></plist>",
            "<array>".repeat(58),
            "<true/>".repeat(values),
            "</array>".repeat(58),
        )
    };
    let large = deep(100_000);
    assert!(large.len() < profile::MAX_PROFILE_BYTES);
    assert!(apple::harm::judge(large.as_bytes()).is_ok());
    assert_eq!(profile::rewritten(large.as_bytes()), Err(Malformed::TooLarge));
    let written = profile::rewritten(deep(1_000).as_bytes()).unwrap();
    assert_eq!(profile::rewritten(&written), Ok(written.clone()));
}

#[test]
fn a_profile_with_what_xml_can_not_say_is_not_written_anew() {
    let with = |value: Value| {
        let mut profile = outer(include_bytes!("data/profile_mild.mobileconfig"));
        profile.insert("PayloadDescription".into(), value);
        let mut bytes = Vec::new();
        Value::Dictionary(profile).to_writer_binary(&mut bytes).unwrap();
        profile::rewritten(&bytes)
    };
    assert!(with("a\tb\nc \u{1F600}".into()).is_ok());
    assert_eq!(with("a\u{1}b".into()), Err(Malformed::BadCharacter));
    assert_eq!(with("a\u{FFFE}b".into()), Err(Malformed::BadCharacter));
    assert_eq!(with(f64::INFINITY.into()), Err(Malformed::BadNumber));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_damaged_profile_is_read_or_refused_and_never_panics(
        changes in proptest::collection::vec(any::<(u16, u8)>(), 1..6),
        cut: Option<u16>,
    ) {
        let mut bytes = enrolment().build().unwrap();
        for (at, byte) in changes {
            let at = usize::from(at) % bytes.len();
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(usize::from(cut) % bytes.len());
        }
        let _ = (profile::parse(&bytes).is_ok(), profile::inspect(&bytes).is_ok());
        // What is written anew stays what it is.
        if let Ok(rewritten) = profile::rewritten(&bytes) {
            prop_assert_eq!(profile::rewritten(&rewritten), Ok(rewritten.clone()));
        }
    }
}
