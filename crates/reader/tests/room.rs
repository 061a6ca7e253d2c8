//! The reader over a real pair, with a stand-in for the door: what core may know of what a phone said.

// Tests may fail loudly; clippy knows as tests only what stands under #[test].
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod house;

use std::time::Duration;

use house::{House, UDID, plist, refusal, texts};
use model::clock::DAY_MS;
use rpc::control::RoomEvent;
use rpc::proto::observed::What as Said;
use rpc::proto::read_request::What as Asked;
use rpc::proto::{DeviceBody, Observed, Report, ReportStatus};

const TOPIC: &str = "com.apple.mgmt.External.made-up";

fn authenticate(udid: &str) -> String {
    plist(&texts(&[
        ("MessageType", "Authenticate"),
        ("Topic", TOPIC),
        ("UDID", udid),
        ("SerialNumber", "MATRON0001"),
        ("IMEI", "35 000000 000000 6"),
        ("DeviceName", "Siobhan&#8217;s phone"),
        ("OSVersion", "26.1"),
        ("BuildVersion", "23B85"),
        ("ProductName", "iPhone17,1"),
        ("NewInOS27", "unheard of"),
    ]))
}

fn idle() -> String {
    plist(&texts(&[("Status", "Idle"), ("UDID", UDID)]))
}

fn acknowledged(inside: &str) -> String {
    let head =
        [("Status", "Acknowledged"), ("UDID", UDID), ("CommandUUID", "01020304-0506-0708-090A-0B0C0D0E0F10")];
    plist(&(texts(&head) + inside))
}

fn report(observed: Observed) -> Report {
    match observed.what {
        Some(Said::Report(report)) => report,
        other => panic!("no report: {other:?}"),
    }
}

#[tokio::test]
async fn an_authenticate_gives_core_what_is_listed_and_seals_the_rest() {
    let house = House::new();
    let mut reader = house.start().await;
    let (observed, _) = reader.observed(authenticate(UDID)).await;
    assert_eq!((observed.udid_tag.len(), observed.user_channel), (16, false));
    let Some(Said::Authenticate(said)) = observed.what else { panic!() };
    assert_eq!(said.topic, TOPIC);
    let mut clear: Vec<_> = said.clear.iter().map(|c| (c.name.as_str(), c.value.as_str())).collect();
    clear.sort_unstable();
    assert_eq!(
        clear,
        [("BuildVersion", "\"23B85\""), ("OSVersion", "\"26.1\""), ("ProductName", "\"iPhone17,1\"")]
    );
    let opened = house.open(&said.sealed);
    assert_eq!(opened["IMEI"], b"35 000000 000000 6");
    assert_eq!(opened["SerialNumber"], b"MATRON0001");
    assert_eq!(opened["UDID"], UDID.as_bytes());
    assert_eq!(opened["DeviceName"], "Siobhan\u{2019}s phone".as_bytes());
    assert_eq!(opened["NewInOS27"], b"unheard of");
    assert_eq!(opened.len(), 5);
    let imei = said.sealed.iter().find(|r| r.name == "IMEI").unwrap();
    assert_eq!((imei.mask.as_str(), imei.compartment, imei.change_tag.len()), ("•••••••••06", 3, 16));
    reader.stop().await;
}

#[tokio::test]
async fn one_phone_has_one_tag_under_every_enrolment_and_its_fields_do_not() {
    let house = House::new();
    let mut reader = house.start().await;
    let mut as_enrolment = async |enrolment: [u8; 16], udid: &str| {
        let body = authenticate(udid).into_bytes().into();
        let device = Asked::Device(DeviceBody { body, ..DeviceBody::default() });
        match reader.ask(&enrolment, device).await {
            rpc::proto::read_reply::What::Observed(bytes) => {
                let observed: Observed = prost::Message::decode(&*bytes).unwrap();
                let Some(Said::Authenticate(said)) = observed.what else { panic!() };
                let imei = said.sealed.into_iter().find(|r| r.name == "IMEI").unwrap();
                (observed.udid_tag, imei.change_tag)
            }
            other => panic!("{other:?}"),
        }
    };
    let first = as_enrolment([1; 16], UDID).await;
    let again = as_enrolment([1; 16], UDID).await;
    let second = as_enrolment([2; 16], UDID).await;
    let other = as_enrolment([1; 16], "00008110-000000000000FFFF").await;
    assert_eq!(first, again);
    assert_eq!(first.0, second.0);
    assert_ne!(first.1, second.1);
    assert_ne!(first.0, other.0);
    reader.stop().await;
    // The tag outlives the room.
    let mut reader = house.start().await;
    assert_eq!(reader.observed(authenticate(UDID)).await.0.udid_tag, first.0);
    reader.stop().await;
}

#[tokio::test]
async fn push_and_unlock_tokens_of_any_length_are_sealed_as_they_came() {
    use base64::Engine as _;
    let house = House::new();
    let mut reader = house.start().await;
    for bytes in [1usize, 31, 32, 100, 3000] {
        let token: Vec<u8> = (0..bytes).map(|n| (n % 251) as u8).collect();
        let data = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
        let inside = texts(&[
            ("MessageType", "TokenUpdate"),
            ("Topic", TOPIC),
            ("UDID", UDID),
            ("PushMagic", "magic"),
        ]) + &format!("<key>Token</key><data>{}</data>", data(&token))
            + &format!("<key>UnlockToken</key><data>{}</data>", data(&[9; 700]))
            + "<key>AwaitingConfiguration</key><true/>";
        let (observed, _) = reader.observed(plist(&inside)).await;
        let Some(Said::TokenUpdate(said)) = observed.what else { panic!() };
        assert!(said.awaiting_configuration);
        let opened = house.open(&said.sealed);
        assert_eq!(opened["Token"], token);
        assert_eq!(opened["PushMagic"], b"magic");
        assert_eq!(opened["UnlockToken"], vec![9; 700]);
        let compartment = |name: &str| said.sealed.iter().find(|r| r.name == name).unwrap().compartment;
        assert_eq!((compartment("Token"), compartment("PushMagic"), compartment("UnlockToken")), (4, 4, 5));
        assert!(said.clear.is_empty());
    }
    reader.stop().await;
}

#[tokio::test]
async fn a_shared_ipads_user_speaks_on_the_user_channel() {
    let house = House::new();
    let mut reader = house.start().await;
    let user = texts(&[
        ("Status", "Idle"),
        ("UDID", UDID),
        ("UserID", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"),
        ("UserShortName", "made.up"),
    ]);
    assert!(reader.observed(plist(&user)).await.0.user_channel);
    let (observed, bytes) = reader.observed(idle()).await;
    assert!(!observed.user_channel);
    // An Idle is small: a tag and a status.
    assert!(bytes.len() < 40, "{}", bytes.len());
    let said = report(observed);
    assert_eq!((said.status(), said.command, said.content), (ReportStatus::Idle, vec![], None));
    reader.stop().await;
}

#[tokio::test]
async fn a_report_keeps_its_tag_until_something_worth_a_write_changes() {
    let house = House::new();
    let mut reader = house.start().await;
    let info = |inside: &str| acknowledged(&format!("<key>QueryResponses</key><dict>{inside}</dict>"));
    let mut tag = async |inside: &str| {
        let content = report(reader.observed(info(inside)).await.0).content.unwrap();
        assert_eq!(content.kind, "DeviceInformation");
        content.change_tag
    };
    let battery = |level: &str, free: &str| {
        format!(
            "<key>BatteryLevel</key><real>{level}</real><key>AvailableDeviceCapacity</key><real>{free}</real>\
             <key>DeviceName</key><string>a</string>"
        )
    };
    let first = tag(&battery("0.5", "10.0")).await;
    assert_eq!(tag(&battery("0.5", "10.0")).await, first);
    // In another order, and with another amount of free space: nothing changed.
    let reordered = "<key>DeviceName</key><string>a</string><key>AvailableDeviceCapacity</key><real>9</real>\
                     <key>BatteryLevel</key><real>0.5</real>";
    assert_eq!(tag(reordered).await, first);
    assert_ne!(tag(&battery("0.4", "10.0")).await, first);
    assert_ne!(tag(&battery("0.5", "10.0").replace(">a<", ">b<")).await, first);
    reader.stop().await;
}

#[tokio::test]
async fn numbers_dates_and_dual_sims_are_kept_in_words_a_person_reads() {
    let house = House::new();
    let mut reader = house.start().await;
    let inside = "<key>QueryResponses</key><dict>\
        <key>BatteryLevel</key><real>0.71</real><key>DeviceCapacity</key><real>128</real>\
        <key>IsSupervised</key><true/><key>CellularTechnology</key><integer>3</integer>\
        <key>LastCloudBackupDate</key><date>2026-11-24T08:15:00Z</date>\
        <key>AvailableDeviceCapacity</key><real>63.5</real>\
        <key>ServiceSubscriptions</key><array>\
          <dict><key>PhoneNumber</key><string>07700 900123</string><key>Slot</key><string>CTSubscriptionSlotOne</string></dict>\
          <dict><key>PhoneNumber</key><string>+447700900456</string><key>IMEI</key><string>350000000000006</string></dict>\
        </array></dict>";
    let (observed, _) = reader.observed(acknowledged(inside)).await;
    let said = report(observed);
    assert_eq!(said.command, (1..=16).collect::<Vec<u8>>());
    let content = said.content.unwrap();
    let mut clear: Vec<_> = content.clear.iter().map(|c| (c.name.as_str(), c.value.as_str())).collect();
    clear.sort_unstable();
    assert_eq!(
        clear,
        [
            ("BatteryLevel", "0.71"),
            ("CellularTechnology", "3"),
            ("DeviceCapacity", "128.0"),
            ("IsSupervised", "true"),
            ("LastCloudBackupDate", "\"2026-11-24T08:15:00Z\""),
        ]
    );
    let opened = house.open(&content.sealed);
    assert_eq!(opened["ServiceSubscriptions.0.PhoneNumber"], b"07700 900123");
    assert_eq!(opened["ServiceSubscriptions.1.PhoneNumber"], b"+447700900456");
    assert_eq!(opened["ServiceSubscriptions.1.IMEI"], b"350000000000006");
    assert_eq!(opened["AvailableDeviceCapacity"], b"63.5");
    let packed: serde_json::Value = serde_json::from_slice(&opened["ServiceSubscriptions"]).unwrap();
    assert_eq!(packed, serde_json::json!({"ServiceSubscriptions.0.Slot": "CTSubscriptionSlotOne"}));
    reader.stop().await;
}

#[tokio::test]
async fn apps_are_listed_by_identifier_and_all_else_of_them_is_sealed_together() {
    let house = House::new();
    let mut reader = house.start().await;
    let list = |dynamic: u32, odd: &str| {
        acknowledged(&format!(
            "<key>InstalledApplicationList</key><array>\
             <dict><key>Identifier</key><string>org.example.ward</string><key>Name</key><string>Ward &amp; Co</string>\
               <key>Version</key><string>7</string><key>ShortVersion</key><string>1.2</string>\
               <key>DynamicSize</key><integer>{dynamic}</integer></dict>\
             <dict><key>Identifier</key><string>{odd}</string><key>Name</key><string>x</string></dict></array>"
        ))
    };
    let content = report(reader.observed(list(1, "07700 900123")).await.0).content.unwrap();
    assert_eq!(content.kind, "InstalledApplicationList");
    let apps: Vec<_> = content
        .apps
        .iter()
        .map(|a| (a.identifier.as_str(), a.version.as_str(), a.short_version.as_str()))
        .collect();
    assert_eq!(apps, [("org.example.ward", "7", "1.2")]);
    assert!(content.clear.is_empty());
    let opened = house.open(&content.sealed);
    let list_opened: serde_json::Value = serde_json::from_slice(&opened["InstalledApplicationList"]).unwrap();
    assert_eq!(list_opened.as_array().unwrap().len(), 2);
    assert!(
        list_opened.as_array().unwrap().iter().any(|a| a["Name"] == "Ward & Co" && a["DynamicSize"] == 1)
    );
    let grown = report(reader.observed(list(2, "07700 900123")).await.0).content.unwrap();
    assert_eq!(grown.change_tag, content.change_tag);
    assert_eq!(grown.sealed[0].change_tag, content.sealed[0].change_tag);
    let other = report(reader.observed(list(2, "org.example.other")).await.0).content.unwrap();
    assert_ne!(other.change_tag, content.change_tag);
    reader.stop().await;
}

#[tokio::test]
async fn an_error_chain_gives_codes_and_domains_and_seals_its_texts() {
    let house = House::new();
    let mut reader = house.start().await;
    let chain = texts(&[
        ("Status", "Error"),
        ("UDID", UDID),
        ("CommandUUID", "01020304-0506-0708-090A-0B0C0D0E0F10"),
    ]) + "<key>ErrorChain</key><array><dict><key>ErrorCode</key><integer>12021</integer>\
           <key>ErrorDomain</key><string>MCMDMErrorDomain</string>\
           <key>LocalizedDescription</key><string>Siobhan can't</string></dict>\
           <dict><key>ErrorCode</key><integer>-5</integer><key>ErrorDomain</key><string>Siobhan Made-Up</string></dict></array>";
    let (observed, bytes) = reader.observed(plist(&chain)).await;
    let said = report(observed);
    let links: Vec<_> = said.errors.iter().map(|e| (e.code, e.domain.as_str())).collect();
    assert_eq!(links, [(12021, "MCMDMErrorDomain"), (-5, "")]);
    let content = said.content.unwrap();
    assert_eq!((content.kind.as_str(), content.clear.len()), ("ErrorChain", 0));
    let opened = house.open(&content.sealed);
    let text = std::str::from_utf8(&opened["ErrorChain"]).unwrap();
    assert!(text.contains("Siobhan can't") && text.contains("Siobhan Made-Up"));
    assert!(!bytes.windows(7).any(|w| w == b"Siobhan"));
    reader.stop().await;
}

#[tokio::test]
async fn what_can_not_be_read_is_refused_with_a_closed_word_and_the_room_goes_on() {
    let house = House::new();
    let mut reader = house.start().await;
    let good = authenticate(UDID);
    assert_eq!(reader.refused("").await, (400, "empty".into()));
    assert_eq!(reader.refused("hello").await, (400, "not_a_plist".into()));
    assert_eq!(reader.refused(&good.as_bytes()[..good.len() / 2]).await.0, 400);
    assert_eq!(reader.refused(vec![0xff; 100]).await.0, 400);
    let deep = format!("<key>a</key>{}{}", "<array>".repeat(30_000), "</array>".repeat(30_000));
    assert_eq!(reader.refused(plist(&deep)).await, (400, "too_deep".into()));
    let entity = good.replace("?>\n<!DOCTYPE plist", "?>\n<!DOCTYPE plist [<!ENTITY a \"b\">] ");
    assert_eq!(reader.refused(entity).await.0, 400);
    let no_one = plist(&texts(&[("Status", "Idle")]));
    assert_eq!(reader.refused(no_one).await, (400, "no_identity".into()));
    let status = plist(&texts(&[("Status", "Gone"), ("UDID", UDID)]));
    assert_eq!(reader.refused(status).await, (400, "unknown_status".into()));
    assert_eq!(reader.refused(good.replace(TOPIC, "Siobhan Made-Up")).await, (400, "bad_topic".into()));
    let typed = good
        .replace("<key>IMEI</key><string>35 000000 000000 6</string>", "<key>IMEI</key><integer>3</integer>");
    assert_eq!(reader.refused(typed).await, (400, "wrong_type".into()));
    let many: String = (0..3000).map(|n| format!("<key>K{n}</key><true/>")).collect();
    assert_eq!(reader.refused(acknowledged(&many)).await, (413, "too_many_fields".into()));

    let nobody =
        Asked::Device(DeviceBody { body: good.clone().into_bytes().into(), ..DeviceBody::default() });
    assert_eq!(refusal(reader.ask(&[1; 15], nobody).await), (400, "no_enrolment".into()));
    assert!(matches!(reader.observed(good).await.0.what, Some(Said::Authenticate(_))));
    reader.stop().await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_and_one_just_under_it_is_read() {
    let house = House::new();
    let mut reader = house.start().await;
    let padded = |bytes: usize| {
        let mut body = idle();
        body.push_str(&" ".repeat(bytes - body.len()));
        body
    };
    assert_eq!(reader.refused(padded((4 << 20) + 1)).await, (413, "too_large".into()));
    let (observed, _) = reader.observed(padded(4 << 20)).await;
    assert_eq!(report(observed).status(), ReportStatus::Idle);
    reader.stop().await;
}

#[tokio::test]
async fn a_large_list_of_certificates_is_kept_whole() {
    let house = House::new();
    let mut reader = house.start().await;
    let one = format!(
        "<dict><key>CommonName</key><string>made up</string><key>IsIdentity</key><false/>\
         <key>Data</key><data>{}</data></dict>",
        "QUFB".repeat(2000)
    );
    let body = acknowledged(&format!("<key>CertificateList</key><array>{}</array>", one.repeat(400)));
    assert!(body.len() > 3 << 20);
    let content = report(reader.observed(body).await.0).content.unwrap();
    let opened = house.open(&content.sealed);
    let list: serde_json::Value = serde_json::from_slice(&opened["CertificateList"]).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 400);
    assert_eq!(list[0]["Data"]["data"].as_str().unwrap().len(), 8000);
    reader.stop().await;
}

#[tokio::test]
async fn without_a_statement_in_force_a_phone_is_asked_to_come_again() {
    let house = House::new();
    let mut reader = house.start().await;
    house.clock.advance(2 * DAY_MS + 1);
    assert_eq!(reader.refused(idle()).await, (503, "no_statement".into()));
    // Another reader's key, or a stranger's signature, does not count.
    assert_eq!(reader.believe(house.statement(2, [9; 32])).await.epoch, 2);
    assert_eq!(reader.refused(idle()).await, (503, "not_the_stated_reader".into()));
    let stranger = order::Ed25519Secret::from_seed([8; 32]).unwrap();
    let forged = House { root: stranger, ..House::new() };
    assert_ne!(reader.believe(forged.statement(3, house.reader_key)).await.refused, "");
    assert_eq!(reader.believe(house.statement(3, house.reader_key)).await.epoch, 3);
    reader.observed(idle()).await;
    reader.stop().await;
    // A restarted room goes by the statement that it believed.
    let mut reader = house.start().await;
    reader.observed(idle()).await;
    reader.stop().await;
}

#[tokio::test]
async fn a_restarted_door_is_served_over_a_fresh_pair_and_others_are_not() {
    let house = House::new();
    let mut reader = house.start().await;
    reader.observed(idle()).await;
    reader.restart_door().await;
    reader.observed(idle()).await;
    let (theirs, ours) = std::os::unix::net::UnixStream::pair().unwrap();
    reader.events.send(RoomEvent::Peer("core".into(), ours)).unwrap();
    theirs.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let hung_up = tokio::task::spawn_blocking(move || std::io::Read::read(&mut &theirs, &mut [0; 1]));
    assert_eq!(hung_up.await.unwrap().unwrap(), 0);
    reader.observed(idle()).await;
    reader.stop().await;
}

#[tokio::test]
async fn other_check_ins_are_named_and_an_unknown_one_too() {
    let house = House::new();
    let mut reader = house.start().await;
    let new = plist(&texts(&[("MessageType", "SomethingNew"), ("UDID", UDID)]));
    let Some(Said::Other(said)) = reader.observed(new).await.0.what else { panic!() };
    assert_eq!(said.message_type, "SomethingNew");
    let token = texts(&[("MessageType", "GetToken"), ("UDID", UDID), ("TokenServiceType", "com.apple.maid")]);
    let Some(Said::GetToken(said)) = reader.observed(plist(&token)).await.0.what else { panic!() };
    assert_eq!(said.service, "com.apple.maid");
    let out = plist(&texts(&[("MessageType", "CheckOut"), ("UDID", UDID), ("Topic", TOPIC)]));
    assert!(matches!(reader.observed(out).await.0.what, Some(Said::CheckOut(_))));
    let user = plist(&texts(&[("MessageType", "UserAuthenticate"), ("UDID", UDID), ("UserID", "x")]));
    assert!(matches!(reader.observed(user).await.0.what, Some(Said::UserAuthenticate(_))));
    reader.stop().await;
}
