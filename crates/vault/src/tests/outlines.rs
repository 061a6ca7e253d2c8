//! What an order tells of what lies sealed in it is what lies sealed in it, and whoever signs second is told.

use super::alarms::Pipe;
use super::limits::two;
use super::*;
use model::{OutlinedValue, SealedOutline, SetName};
use order::DeclarationSecrets;
use rpc::alarm::AlarmKind;

const UPDATE: &str = r#"[
    {"Type": "com.apple.activation.simple", "Identifier": "on", "Payload": {"StandardConfigurations": ["os"]}},
    {"Type": "com.apple.configuration.softwareupdate.enforcement.specific", "Identifier": "os",
     "Payload": {"TargetOSVersion": "18.1", "TargetLocalDateTime": "2026-12-01T20:00:00"}}
]"#;

fn update() -> (OrderKind, Vec<u8>) {
    let secrets = DeclarationSecrets { declarations: UPDATE.into(), holder_name: None };
    (OrderKind::SetDeclarations { set: SetName::new("os-update").unwrap() }, encode(&secrets))
}

#[test]
fn an_order_that_tells_another_version_or_deadline_than_lies_sealed_in_it_is_refused() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "A One", "ward-7");
    let (kind, secrets) = update();
    type Change = fn(&mut Order);
    let other: [Change; 3] = [
        |o| {
            let Some(SealedOutline::Declarations(set)) = &mut o.outline else { panic!() };
            let keys = &mut set.declarations[1].keys;
            let version = keys.iter_mut().find(|k| k.path == "TargetOSVersion").unwrap();
            version.value = OutlinedValue::Text("18.2".into());
        },
        |o| {
            let Some(SealedOutline::Declarations(set)) = &mut o.outline else { panic!() };
            set.declarations.pop();
        },
        |o| o.outline = Some(SealedOutline::Raw(vec![])),
    ];
    for change in other {
        let (signed, sealed) = house.order_with(&key, kind.clone(), vec![phone], Some(&secrets), change);
        assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, Some(Refusal::OutlinedOtherwise));
    }
    // Nor does an order tell of what it has not.
    let lock = OrderKind::Command { command: Command::DeviceLock };
    let (signed, sealed) =
        house.order_with(&key, lock, vec![phone], None, |o| o.outline = Some(SealedOutline::Raw(vec![])));
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, Some(Refusal::OutlinedOtherwise));
    let (signed, sealed) = house.order(&key, kind, vec![phone], Some(&secrets));
    let told = format!("{:?}", decode::<Order>(&signed.order).unwrap().outline);
    assert!(told.contains("18.1") && told.contains("2026-12-01T20:00:00"), "{told}");
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, None);
}

#[test]
fn whoever_signs_alone_knows_what_they_sealed_and_an_older_command_line_may_leave_the_outline_out() {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "A One", "ward-7");
    let (kind, secrets) = update();
    let (signed, sealed) = house.order_with(&key, kind, vec![phone], Some(&secrets), |o| o.outline = None);
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, None);
}

#[test]
fn nobody_is_asked_to_sign_second_what_they_can_not_be_shown() {
    let mut two = two(2);
    let kind = OrderKind::Command { command: Command::Raw { request_type: "LogOutUser".into() } };
    let raw =
        b"<plist version=\"1.0\"><dict><key>RequestType</key><string>LogOutUser</string></dict></plist>";
    let secrets = encode(&CommandSecrets { raw: Some(raw.to_vec()), ..CommandSecrets::default() });
    let long = |o: &mut Order| o.expires_at_ms = NOW_MS + 7 * DAY_MS;
    let phones = two.phones.clone();
    let (signed, sealed) =
        two.house.order_with(&two.ada, kind.clone(), phones.clone(), Some(&secrets), |o| {
            long(o);
            o.outline = None;
        });
    assert_eq!(two.house.submit(&signed, &sealed, vec![]).refusal, Some(Refusal::NotOutlined));
    // Nor with both signatures at once.
    let (mut both, sealed) =
        two.house.order_with(&two.ada, kind.clone(), phones.clone(), Some(&secrets), |o| {
            long(o);
            o.outline = None;
        });
    both.add_signature(&two.ben);
    assert_eq!(two.house.submit(&both, &sealed, vec![]).refusal, Some(Refusal::NotOutlined));
    let (mut told, sealed) = two.house.order_with(&two.ada, kind, phones.clone(), Some(&secrets), long);
    assert_eq!(two.house.submit(&told, &sealed, vec![]).refusal, Some(Refusal::NeedsSignatures));
    told.add_signature(&two.ben);
    assert_eq!(two.house.submit(&told, &sealed, vec![]).refusal, None);
    // A profile that does not fit Apple's schema can't be told of, and so not be signed by two.
    let misfit = b"<plist version=\"1.0\"><dict><key>PayloadType</key><string>Configuration</string>\
        <key>PayloadVersion</key><integer>1</integer><key>PayloadIdentifier</key><string>org.example.p</string>\
        <key>PayloadUUID</key><string>0B9A1E80-0000-4000-8000-000000000001</string><key>PayloadContent</key>\
        <array><dict><key>PayloadType</key><string>com.apple.wifi.managed</string></dict></array></dict></plist>";
    let secrets = encode(&CommandSecrets { profile: Some(misfit.to_vec()), ..CommandSecrets::default() });
    let kind = OrderKind::Command { command: Command::InstallProfile };
    let (signed, sealed) = two.house.order_with(&two.ada, kind, phones, Some(&secrets), long);
    assert_eq!(decode::<Order>(&signed.order).unwrap().outline, None);
    assert_eq!(two.house.submit(&signed, &sealed, vec![]).refusal, Some(Refusal::NotOutlined));
}

#[test]
fn leaving_the_outline_out_or_wrong_keeps_no_alarm_back_and_hides_no_limit() {
    let mut two = two(2);
    let mut pipe = Pipe::of(&two.house);
    pipe.read();
    let kind = OrderKind::Command { command: Command::Raw { request_type: "LogOutUser".into() } };
    let raw =
        b"<plist version=\"1.0\"><dict><key>RequestType</key><string>LogOutUser</string></dict></plist>";
    let secrets = encode(&CommandSecrets { raw: Some(raw.to_vec()), ..CommandSecrets::default() });
    let other = Some(SealedOutline::Profile(model::Outline::default()));
    for (outline, refusal) in [(None, Refusal::NotOutlined), (other, Refusal::OutlinedOtherwise)] {
        let (signed, sealed) =
            two.house.order_with(&two.ada, kind.clone(), two.phones.clone(), Some(&secrets), |o| {
                o.expires_at_ms = NOW_MS + 7 * DAY_MS;
                o.outline = outline.clone();
            });
        assert_eq!(two.house.submit(&signed, &sealed, vec![]).refusal, Some(refusal));
        let told = pipe.read();
        let order = decode::<Order>(&signed.order).unwrap().id;
        let hit = (AlarmKind::BudgetHit, Some(order), Some(Refusal::NeedsSignatures.number()));
        assert_eq!(told.iter().map(|a| (a.kind, a.order, a.refusal)).collect::<Vec<_>>(), [hit]);
    }
}

#[test]
fn a_set_that_can_not_be_told_whole_is_signed_by_one_alone_and_not_by_two() {
    let mut two = two(2);
    let items: Vec<_> = (0..=model::Outline::MOST_KEYS).map(|_| r#"{"Name": "mdm.app"}"#).collect();
    let declarations = format!(
        r#"[{{"Type": "com.apple.configuration.management.status-subscriptions", "Identifier": "s",
        "Payload": {{"StatusItems": [{}]}}}}]"#,
        items.join(",")
    );
    let secrets = encode(&DeclarationSecrets { declarations: declarations.into(), holder_name: None });
    let kind = OrderKind::SetDeclarations { set: SetName::new("policy").unwrap() };
    let phone = vec![two.phones[0]];
    let (mut signed, sealed) = two.house.order(&two.ada, kind.clone(), phone.clone(), Some(&secrets));
    assert!(!decode::<Order>(&signed.order).unwrap().tells());
    signed.add_signature(&two.ben);
    assert_eq!(two.house.submit(&signed, &sealed, vec![]).refusal, Some(Refusal::NotOutlined));
    let (signed, sealed) = two.house.order(&two.ada, kind, phone, Some(&secrets));
    assert_eq!(two.house.submit(&signed, &sealed, vec![]).refusal, None);
}
