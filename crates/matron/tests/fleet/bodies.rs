//! What phones send that they should not.

use super::*;

const REPORT: Option<&str> = Some("application/x-apple-aspen-mdm");
const CHECK_IN: Option<&str> = Some("application/x-apple-aspen-mdm-checkin");

fn plist(inside: &str) -> Vec<u8> {
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><plist version=\"1.0\"><dict>{inside}</dict></plist>")
        .into_bytes()
}

#[tokio::test]
async fn a_phone_is_who_its_certificate_says_whatever_its_body_claims() {
    let ward = Ward::open(&[]).await;
    let mut phone = ward.phone(0).await;
    let mut other = ward.phone(1).await;
    ward.command(Command::DeviceLock, &[id(&other)], &CommandSecrets::default()).await.unwrap();
    let mut connection = phone.connect().await.unwrap();
    let idle = |udid: &str| {
        plist(&format!("<key>Status</key><string>Idle</string><key>UDID</key><string>{udid}</string>"))
    };
    let as_other = connection.request("PUT", "/mdm", REPORT, &idle(&other.handset().udid)).await.unwrap();
    assert_eq!((as_other.status, as_other.body.len()), (400, 0));
    let as_itself = connection.request("PUT", "/mdm", REPORT, &idle(&phone.handset().udid)).await.unwrap();
    assert_eq!((as_itself.status, as_itself.body.len()), (200, 0));
    assert_eq!(ward.obey(&mut other).await.commands.len(), 1, "the other's command was kept for it");
}

#[tokio::test]
async fn a_bad_body_gets_a_clean_400_or_413_and_changes_nothing() {
    let ward = Ward::open(&["phones.largest_body_bytes=200000"]).await;
    let mut phone = ward.phone(0).await;
    let udid = phone.handset().udid;
    let good =
        plist(&format!("<key>Status</key><string>Idle</string><key>UDID</key><string>{udid}</string>"));
    let before = ward.device(id(&phone)).await;
    let deep = |open: &str, close: &str, n: usize| {
        plist(&format!("<key>UDID</key>{}{}", open.repeat(n), close.repeat(n)))
    };
    let cases: Vec<(&str, u16, Vec<u8>)> = vec![
        ("empty", 400, vec![]),
        ("no property list", 400, b"hello".to_vec()),
        ("truncated", 400, good[..good.len() / 2].to_vec()),
        ("not UTF-8", 400, [&good[..], &[0xff, 0xfe]].concat()),
        ("deeply nested arrays", 400, deep("<array>", "</array>", 10_000)),
        ("deeply nested dicts", 400, deep("<dict><key>a</key>", "</dict>", 5_000)),
        (
            "an entity",
            400,
            b"<?xml version=\"1.0\"?><!DOCTYPE plist [<!ENTITY a \"b\">]><plist><dict/></plist>".to_vec(),
        ),
        ("wrongly typed", 400, plist("<key>Status</key><integer>3</integer><key>UDID</key><true/>")),
        (
            "a status that is none",
            400,
            plist(&format!("<key>Status</key><string>Great</string><key>UDID</key><string>{udid}</string>")),
        ),
        ("no UDID", 400, plist("<key>Status</key><string>Idle</string>")),
        ("binary, cut", 400, b"bplist00\xd1\x01\x02".to_vec()),
        ("too large", 413, vec![b'a'; 200_001]),
    ];
    for (what, status, body) in cases {
        for content_type in [REPORT, CHECK_IN] {
            let mut connection = phone.connect().await.unwrap();
            let answer = connection.request("PUT", "/mdm", content_type, &body).await.unwrap();
            assert_eq!((answer.status, answer.body.len()), (status, 0), "{what}");
        }
    }
    let after = ward.device(id(&phone)).await;
    for key in ["state", "clear", "masks", "reports", "pending_commands"] {
        assert_eq!(before[key], after[key], "{key}");
    }
    assert!(ward.obey(&mut phone).await.commands.is_empty(), "and the phone goes on");
    assert!(!ward.house.log().contains("hello"), "no body in the log");
}

#[tokio::test]
async fn nothing_is_delivered_before_token_update_and_none_comes_before_authenticate() {
    let ward = Ward::open(&[]).await;
    let mut phone = ward.phone(0).await;
    let udid = phone.handset().udid;
    let message = |kind: &str, more: &str| {
        plist(&format!(
            "<key>MessageType</key><string>{kind}</string><key>UDID</key><string>{udid}</string>\
             <key>Topic</key><string>com.apple.mgmt.External.matron-without-push</string>{more}"
        ))
    };
    let idle =
        plist(&format!("<key>Status</key><string>Idle</string><key>UDID</key><string>{udid}</string>"));
    ward.command(Command::DeviceLock, &[id(&phone)], &CommandSecrets::default()).await.unwrap();
    let mut connection = phone.connect().await.unwrap();
    // It begins anew: the queue is cleared, and nothing comes before TokenUpdate.
    let begun = connection.request("PUT", "/mdm", CHECK_IN, &message("Authenticate", "")).await.unwrap();
    assert_eq!(begun.status, 200);
    let early = connection.request("PUT", "/mdm", REPORT, &idle).await.unwrap();
    assert_eq!((early.status, early.body.len()), (200, 0));
    let token = "<key>PushMagic</key><string>3E6D9A0C-0000-4000-8000-000000000001</string>\
                 <key>Token</key><data>AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUm</data>";
    let updated = connection.request("PUT", "/mdm", CHECK_IN, &message("TokenUpdate", token)).await.unwrap();
    assert_eq!(updated.status, 200, "a token of any length is taken as it comes");
    let asked = connection.request("PUT", "/mdm", REPORT, &idle).await.unwrap();
    assert!(String::from_utf8_lossy(&asked.body).contains("DeviceInformation"));
    let declined = connection
        .request("PUT", "/mdm", CHECK_IN, &message("UserAuthenticate", "<key>UserID</key><string>u</string>"))
        .await
        .unwrap();
    assert_eq!(declined.status, 410);
}
