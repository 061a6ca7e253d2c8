//! Nothing that is to be sealed stands in what core gets, in any encoding it could have.

// Tests may fail loudly; clippy knows as tests only what stands under #[test].
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod house;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use house::{House, PHONE, UDID, plist, texts};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use rpc::proto::read_request::What as Asked;
use rpc::proto::{DeviceBody, read_reply::What};

/// Every form in which `value` could be found: as it is, case folded, its characters alone, UTF-16,
/// hexadecimal, base64 at each alignment, digits packed by nibbles.
fn forms(value: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = vec![value.to_vec()];
    if let Ok(text) = std::str::from_utf8(value) {
        forms.push(text.to_lowercase().into_bytes());
        forms.push(text.to_uppercase().into_bytes());
        let bare: String = text.chars().filter(|c| c.is_alphanumeric()).collect();
        if bare.bytes().all(|b| b.is_ascii_digit()) {
            let packed = |swap: bool| {
                bare.as_bytes()
                    .chunks_exact(2)
                    .map(|p| {
                        let (a, b) = (p[0] - b'0', p[1] - b'0');
                        if swap { b << 4 | a } else { a << 4 | b }
                    })
                    .collect::<Vec<u8>>()
            };
            forms.extend([packed(false), packed(true)]);
        }
        forms.push(bare.into_bytes());
        forms.push(text.encode_utf16().flat_map(u16::to_le_bytes).collect());
        forms.push(text.encode_utf16().flat_map(u16::to_be_bytes).collect());
        forms.push(text.chars().rev().collect::<String>().into_bytes());
    }
    let hex: String = value.iter().map(|b| format!("{b:02x}")).collect();
    forms.push(hex.to_uppercase().into_bytes());
    forms.push(hex.into_bytes());
    for skip in 0..3usize.min(value.len()) {
        // Whole groups of three, whatever stands before and after.
        let whole = &value[skip..];
        let whole = &whole[..whole.len() / 3 * 3];
        forms.push(STANDARD_NO_PAD.encode(whole).into_bytes());
        forms.push(URL_SAFE_NO_PAD.encode(whole).into_bytes());
    }
    forms.retain(|f| f.len() >= 6);
    forms
}

fn found(reply: &[u8], value: &[u8]) -> bool {
    forms(value).iter().any(|form| reply.windows(form.len()).any(|w| w == form.as_slice()))
}

#[test]
fn the_search_itself_finds_what_is_there() {
    let imei = b"350000000000006";
    for form in forms(imei) {
        let mut reply = vec![0x55; 10];
        reply.extend_from_slice(&form);
        reply.push(0x55);
        assert!(found(&reply, imei), "{form:?}");
    }
    let mut reply = b"xy".to_vec();
    reply.extend_from_slice(imei);
    let reply = STANDARD_NO_PAD.encode(reply);
    assert!(found(reply.as_bytes(), imei));
    assert!(!found(b"nothing of the kind in here", imei));
}

/// What of a phone is to be sealed.
const PERSONAL: &[&str] = &[
    "Siobhan Made-Up's iPhone",
    "siobhan.madeup@example.org",
    "07700 900123",
    "+447700900456",
    "350000000000006",
    "35 000000 000001 4",
    "MATRON000123",
    UDID,
    "8944000000000000001",
    "00:00:5e:00:53:af",
    "a sentence with Siobhan in it",
    "com.example.profile.of-siobhan",
    "made-up-push-magic-0001",
];

fn messages() -> Vec<String> {
    let [device, email, first, second, imei, imei2, serial, udid, iccid, mac, sentence, profile, magic] =
        PERSONAL
    else {
        panic!()
    };
    let token = STANDARD_NO_PAD.encode([0xA7; 33]);
    let report = |inside: String| plist(&(texts(&[("Status", "Acknowledged"), ("UDID", udid)]) + &inside));
    let items =
        |list: &str, inside: String| report(format!("<key>{list}</key><array><dict>{inside}</dict></array>"));
    vec![
        plist(&texts(&[
            ("MessageType", "Authenticate"),
            ("Topic", "com.apple.mgmt.External.x"),
            ("UDID", udid),
            ("SerialNumber", serial),
            ("IMEI", imei),
            ("DeviceName", device),
            (sentence, device),
            ("NewInOS27", sentence),
        ])),
        plist(
            &(texts(&[
                ("MessageType", "TokenUpdate"),
                ("Topic", "com.apple.mgmt.External.x"),
                ("UDID", udid),
                ("PushMagic", magic),
                ("UserLongName", device),
            ]) + &format!(
                "<key>Token</key><data>{token}</data><key>UnlockToken</key><data>{token}</data>"
            )),
        ),
        report(format!(
            "<key>QueryResponses</key><dict>{}<key>ServiceSubscriptions</key><array><dict>{}</dict></array>\
             <key>OrganizationInfo</key><dict><key>{email}</key><dict>{}</dict></dict></dict>",
            texts(&[("DeviceName", device), ("WiFiMAC", mac), ("ICCID", iccid), ("OSVersion", "26.1")]),
            texts(&[("PhoneNumber", first), ("IMEI", imei2), ("Label", second)]),
            texts(&[("Model", sentence), ("PhoneNumber", second)]),
        )),
        items("ProfileList", texts(&[("PayloadIdentifier", profile), ("PayloadDisplayName", sentence)])),
        items(
            "CertificateList",
            texts(&[("CommonName", email)]) + &format!("<key>Data</key><data>{token}</data>"),
        ),
        items(
            "InstalledApplicationList",
            texts(&[("Identifier", first), ("Version", "1"), ("Name", sentence)]),
        ),
        items("SomethingElseList", texts(&[(second, email), ("Version", sentence)])),
        plist(
            &(texts(&[("Status", "Error"), ("UDID", udid)])
                + &format!(
                    "<key>ErrorChain</key><array><dict><key>ErrorCode</key><integer>1</integer>{}</dict></array>",
                    texts(&[("ErrorDomain", email), ("USEnglishDescription", sentence)])
                )),
        ),
        report(texts(&[("CommandUUID", sentence), ("Latitude", first)])),
    ]
}

#[tokio::test]
async fn nothing_sealed_stands_in_a_reply_in_any_encoding() {
    let house = House::new();
    let mut reader = house.start().await;
    for (n, message) in messages().into_iter().enumerate() {
        let (_, reply) = reader.observed(message).await;
        for value in PERSONAL {
            assert!(!found(&reply, value.as_bytes()), "message {n} shows {value}");
        }
        assert!(!found(&reply, &[0xA7; 33]), "message {n} shows a token");
    }
    reader.stop().await;
}

/// Dictionaries whose keys and values are personal, nested at random under Apple's own words.
fn nested() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("ServiceSubscriptions"),
        Just("SecurityInfo"),
        Just("OSVersion"),
        Just("Model"),
        Just("IMEI"),
        Just("Status"),
        Just("ManagementStatus"),
        Just("ErrorChain"),
        Just("Siobhan-0001-secret"),
    ];
    let leaf = Just("<string>secret-of-Siobhan\n0002</string>".to_owned());
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            proptest::collection::btree_map(word.clone(), inner.clone(), 1..4).prop_map(|m| {
                let pairs: String = m.into_iter().map(|(k, v)| format!("<key>{k}</key>{v}")).collect();
                format!("<dict>{pairs}</dict>")
            }),
            proptest::collection::vec(inner, 1..3).prop_map(|v| format!("<array>{}</array>", v.concat())),
        ]
    })
}

#[tokio::test]
async fn no_key_or_value_shows_wherever_it_is_nested() {
    let house = House::new();
    let mut reader = house.start().await;
    let mut runner = TestRunner::new(Config::with_cases(0));
    let mut read = 0;
    for _ in 0..150 {
        let tree = nested().new_tree(&mut runner).unwrap().current();
        let inside = texts(&[("Status", "Acknowledged"), ("UDID", UDID)])
            + &format!(
                "<key>QueryResponses</key><dict><key>Contacts</key>{tree}<key>Siobhan-0001-secret</key>{tree}</dict>"
            );
        let device = DeviceBody { body: plist(&inside).into_bytes().into(), ..DeviceBody::default() };
        match reader.ask(&PHONE.0, Asked::Device(device)).await {
            What::Observed(reply) => {
                read += 1;
                assert!(!found(&reply, b"Siobhan-0001-secret"), "{inside}");
                assert!(!found(&reply, b"secret-of-Siobhan"), "{inside}");
            }
            What::Refused(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(read > 100, "{read} of 150 were read");
    reader.stop().await;
}

#[tokio::test]
async fn no_cut_or_altered_message_stops_the_room_or_shows_more() {
    let house = House::new();
    let mut reader = house.start().await;
    let mut runner = TestRunner::new(Config::with_cases(0));
    let messages = messages();
    let any = (0..messages.len(), any::<prop::sample::Index>(), any::<u8>(), any::<bool>());
    for _ in 0..300 {
        let (which, at, byte, cut) = any.new_tree(&mut runner).unwrap().current();
        let mut body = messages[which].clone().into_bytes();
        let at = at.index(body.len());
        if cut {
            body.truncate(at)
        } else {
            body[at] = byte
        }
        match reader.device(body).await {
            What::Refused(refused) => {
                assert!(matches!(refused.status, 400 | 413), "{}", refused.reason);
                assert!(reader::REASONS.contains(&refused.reason.as_str()));
            }
            What::Observed(reply) => {
                assert!(!found(&reply, b"Siobhan Made-Up"), "message {which}, byte {at}")
            }
            other => panic!("{other:?}"),
        }
    }
    reader.stop().await;
}
