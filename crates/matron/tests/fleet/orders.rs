//! Orders, warrants, and phones that obey them.

use super::*;
use model::{Digest, Setting};
use order::{ApiScope, OpenAnswer, decode, sha256};

#[tokio::test]
async fn a_phone_enrols_reports_and_obeys_a_signed_order() {
    let ward = Ward::open(&[]).await;
    let mut phone = ward.phone(0).await;
    let record = ward.device(id(&phone)).await;
    assert_eq!(record["state"], "enrolled");
    assert_eq!(record["clear"]["OSVersion"], phone.handset().os_version);
    let number = record["masks"]["PhoneNumber"]
        .as_str()
        .or(record["masks"]["ServiceSubscriptions.0.PhoneNumber"].as_str());
    let real = &phone.handset().lines[0].phone_number;
    assert!(number.is_some_and(|m| m.ends_with(&real[real.len() - 2..]) && !m.contains(&real[3..8])));

    let secrets = CommandSecrets { message: Some("Please call the desk".into()), ..Default::default() };
    let said = ward.command(Command::DeviceLock, &[id(&phone)], &secrets).await.unwrap();
    assert_eq!(said["erasing"], false);
    let talk = ward.obey(&mut phone).await;
    assert_eq!(talk.commands, [("DeviceLock".to_owned(), "Acknowledged")]);
    assert!(phone.is_locked());
    let path = format!("/api/v1/devices/{}/commands", id(&phone));
    let commands = ward.admin.call("GET", &path, None).await.unwrap();
    let lock = commands["items"].as_array().unwrap().iter().find(|c| c["request_type"] == "DeviceLock");
    assert_eq!(lock.unwrap()["state"], "acknowledged");
}

#[tokio::test]
async fn every_kind_of_command_reaches_the_phone_and_its_answer_comes_back() {
    let ward = Ward::open(&[]).await;
    let mut index = 0;
    let (mut phone, holder) = loop {
        if simulate::Handset::of(7, index).supervised {
            break (ward.phone(index).await, simulate::people(7, index + 1).pop().unwrap().name);
        }
        index += 1;
    };
    let on = [id(&phone)];
    let lost = CommandSecrets { message: Some("Lost".into()), ..Default::default() };
    let none = CommandSecrets::default();
    let settings = Command::Settings { items: vec![Setting::PersonalHotspot { enabled: false }] };
    for (command, secrets) in [
        (Command::EnableLostMode, &lost),
        (Command::DeviceLocation, &none),
        (Command::PlayLostModeSound, &none),
        (Command::DisableLostMode, &none),
        (Command::ClearPasscode, &none),
        (settings, &none),
        (Command::RestartDevice { notify_user: false }, &none),
    ] {
        let name = command.kind().request_type();
        ward.command(command, &on, secrets).await.unwrap_or_else(|e| panic!("{name}: {e:#}"));
        let talk = ward.obey(&mut phone).await;
        // Whether it is in lost mode now is asked of it in the same visit.
        let asked = matches!(name, "EnableLostMode" | "DisableLostMode").then_some("DeviceInformation");
        let expected: Vec<_> =
            [Some(name), asked].into_iter().flatten().map(|n| (n.to_owned(), "Acknowledged")).collect();
        assert_eq!(talk.commands, expected, "{name}");
    }
    assert!(!phone.has_passcode());
    let erase = Command::EraseDevice { preserve_data_plan: false, disallow_proximity_setup: false };
    let wrong = CommandSecrets { holder_name: Some("Nobody Atall".into()), ..Default::default() };
    let refused = ward.command(erase.clone(), &on, &wrong).await.unwrap_err();
    assert!(format!("{refused:#}").contains("name"), "{refused:#}");
    let right = CommandSecrets { holder_name: Some(holder), ..Default::default() };
    assert_eq!(ward.command(erase, &on, &right).await.unwrap()["erasing"], true);
    assert_eq!(ward.obey(&mut phone).await.ending, simulate::Ending::Erased);
    assert_eq!(ward.device(on[0]).await["state"], "checked_out", "an erased phone is no longer managed");
}

#[tokio::test]
async fn a_mild_profile_is_installed_sealed_and_removed_under_the_holders_name() {
    const PROFILE: &[u8] = include_bytes!("../../../apple/tests/data/profile_mild.mobileconfig");
    let identifier = apple::profile::inspect(PROFILE).unwrap().identifier;
    let ward = Ward::open(&[]).await;
    let mut phone = ward.phone(0).await;
    let on = [id(&phone)];
    let install = CommandSecrets { profile: Some(PROFILE.to_vec()), ..Default::default() };
    let said = ward.command(Command::InstallProfile, &on, &install).await.unwrap();
    assert_eq!(said["erasing"], false);
    let talk = ward.obey(&mut phone).await;
    assert_eq!(talk.commands, [("InstallProfile".to_owned(), "Acknowledged")]);
    assert!(phone.profiles().any(|p| p == identifier));
    // Removing may take management away, so it counts as erasure: one phone, and its holder's name.
    let remove = || Command::RemoveProfile { identifier: identifier.clone() };
    assert!(ward.command(remove(), &on, &CommandSecrets::default()).await.is_err());
    let holder = simulate::people(7, 1).pop().unwrap().name;
    let named = CommandSecrets { holder_name: Some(holder), ..Default::default() };
    assert_eq!(ward.command(remove(), &on, &named).await.unwrap()["erasing"], true);
    let talk = ward.obey(&mut phone).await;
    assert_eq!(talk.commands, [("RemoveProfile".to_owned(), "Acknowledged")]);
    assert!(!phone.profiles().any(|p| p == identifier));
}

#[tokio::test]
async fn a_command_that_needs_supervision_says_so_before_it_is_sent() {
    let ward = Ward::open(&[]).await;
    let mut index = 0;
    while simulate::Handset::of(7, index).supervised {
        index += 1;
    }
    let mut phone = ward.phone(index).await;
    let lost = CommandSecrets { message: Some("Lost".into()), ..Default::default() };
    let refused = ward.command(Command::EnableLostMode, &[id(&phone)], &lost).await.unwrap_err();
    assert!(format!("{refused:#}").contains("supervis"), "{refused:#}");
    assert!(ward.obey(&mut phone).await.commands.is_empty());
}

#[tokio::test]
async fn what_a_record_hides_opens_by_an_order_and_stands_in_the_ledger() {
    let ward = Ward::open(&[]).await;
    let phone = ward.phone(0).await;
    let record = ward.device(id(&phone)).await;
    let field = record["sealed_fields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["name"].as_str().unwrap().to_owned())
        .find(|name| name.ends_with("IMEI"))
        .unwrap();
    let kind = OrderKind::Open { fields: vec![field.clone()] };
    let (_, answer) = ward.admin.order(kind, vec![id(&phone)], None).await.unwrap();
    let answer: OpenAnswer = decode(&answer).unwrap();
    let value = String::from_utf8_lossy(&answer.fields[0].value).replace(' ', "");
    assert!(phone.handset().lines.iter().any(|l| l.imei == value), "an IMEI of this phone");
    let ledger = ward.admin.call("GET", "/api/v1/ledger?from=0&limit=200", None).await.unwrap();
    let text = ledger.to_string();
    assert!(text.contains(&field) && !text.contains(&value));
}

#[tokio::test]
async fn a_search_under_a_grant_finds_a_phone_by_its_normalised_values() {
    let ward = Ward::open(&[]).await;
    let (first, second) = (ward.phone(0).await, ward.phone(1).await);
    let session = format!("ms_{}", "s".repeat(43));
    let kind = OrderKind::Grant {
        session: Digest(sha256(session.as_bytes()).0),
        records: 0,
        searches: 6,
        compartments: vec![],
        valid_ms: model::clock::HOUR_MS,
    };
    ward.admin.order(kind, vec![], None).await.unwrap();
    let desk = ward.admin.with_secret(&session);
    let h = first.handset();
    let national = h.lines[0].phone_number.replace("+44", "0");
    let spaced = format!("{} {}", &national[..5], &national[5..]);
    let imei = &h.lines[0].imei;
    let dashed = format!("{}-{}-{}-{}", &imei[..2], &imei[2..8], &imei[8..14], &imei[14..]);
    let name = simulate::people(7, 1).pop().unwrap().name;
    for (field, term) in [
        ("phone", spaced),
        ("phone", h.lines[0].phone_number.clone()),
        ("imei", dashed),
        ("serial", h.serial.to_lowercase()),
        ("name", name.to_uppercase()),
    ] {
        let found = desk.search(field, &term).await.unwrap();
        let ids: Vec<_> = found["items"].as_array().unwrap().iter().map(|d| d["enrolment"].clone()).collect();
        assert!(ids.contains(&id(&first).to_string().into()), "{field}");
        assert!(!ids.contains(&id(&second).to_string().into()), "{field}");
    }
    assert_eq!(desk.search("phone", "07700 900999").await.unwrap()["items"].as_array().unwrap().len(), 0);
    assert!(desk.search("phone", "07700 900998").await.is_err(), "the grant is spent");
}

#[tokio::test]
async fn a_recalled_order_does_nothing_to_a_phone_that_has_not_fetched_it() {
    let ward = Ward::open(&[]).await;
    let mut phone = ward.phone(0).await;
    let said = ward.command(Command::DeviceLock, &[id(&phone)], &CommandSecrets::default()).await.unwrap();
    let order = said["order"].as_str().unwrap().parse().unwrap();
    ward.admin.order(OrderKind::Recall { order }, vec![], None).await.unwrap();
    assert!(ward.obey(&mut phone).await.commands.is_empty());
    assert!(!phone.is_locked());
}

#[tokio::test]
async fn a_phone_enrolled_anew_replaces_its_old_enrolment() {
    let ward = Ward::open(&[]).await;
    let mut old = ward.phone(0).await;
    let new = ward.phone(0).await;
    assert_eq!(ward.device(id(&new)).await["state"], "enrolled");
    let record = ward.device(id(&old)).await;
    assert_eq!(
        (&record["state"], &record["replaced_by"]),
        (&"replaced".into(), &id(&new).to_string().into())
    );
    let mut connection = old.connect().await.unwrap();
    assert!(old.converse(&mut connection, Temper::obliging()).await.is_err());
}

#[tokio::test]
async fn an_api_key_reads_masks_within_its_scopes_and_nothing_else() {
    let ward = Ward::open(&[]).await;
    let phone = ward.phone(0).await;
    let key = format!("mk_{}", "a".repeat(43));
    let kind = OrderKind::MakeApiKey {
        hash: sha256(key.as_bytes()),
        scopes: vec![ApiScope::Devices],
        valid_ms: model::clock::DAY_MS,
        label: "a dashboard".into(),
    };
    ward.admin.order(kind, vec![], None).await.unwrap();
    let as_key = ward.admin.with_secret(&key);
    let record = as_key.call("GET", &format!("/api/v1/devices/{}", id(&phone)), None).await.unwrap();
    let text = record.to_string();
    for line in &phone.handset().lines {
        assert!(!text.contains(&line.imei) && !text.contains(&line.phone_number));
    }
    for denied in [
        "/api/v1/ledger/head",
        "/api/v1/commands",
        "/metrics",
        "/api/v1/devices?names=true",
        "/api/v1/people",
    ] {
        assert!(as_key.call("GET", denied, None).await.is_err(), "{denied}");
    }
    assert!(as_key.ask(&["SecurityInfo"], &[id(&phone)]).await.is_err());
    assert!(as_key.call("GET", "/api/v1/devices", None).await.is_ok());
    ward.admin.order(OrderKind::EndApiKey { hash: sha256(key.as_bytes()) }, vec![], None).await.unwrap();
    let ended = as_key.call("GET", "/api/v1/devices", None).await.unwrap_err().to_string();
    assert!(ended.contains("401"), "{ended}");
    let stranger = ward.admin.with_secret("mk_nobody");
    assert!(stranger.call("GET", "/api/v1/devices", None).await.is_err());
}
