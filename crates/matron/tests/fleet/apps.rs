//! Apps by order, their settings, and commands without a type.

use super::*;
use model::{AppAttributes, AppSource, Setting};

const APP: &str = "org.example.hospital.ward-pager";
const SETTINGS: &[u8] =
    b"<plist version=\"1.0\"><dict><key>Server</key><string>pager-9f3b.example.org</string></dict></plist>";

fn install(identifier: &str) -> Command {
    Command::InstallApplication {
        identifier: identifier.into(),
        source: AppSource::Manifest { url: format!("https://apps.example.org/{identifier}.plist") },
        remove_with_management: true,
        no_backup: true,
        take_over: false,
    }
}

async fn app(ward: &Ward, phone: EnrolmentId, identifier: &str) -> Value {
    let device = ward.device(phone).await;
    let apps = device["managed_apps"].as_array().unwrap();
    apps.iter().find(|a| a["identifier"] == identifier).cloned().unwrap_or_default()
}

#[tokio::test]
async fn an_app_is_installed_when_the_phone_says_so_and_not_when_it_acknowledges() {
    let ward = Ward::open(&[]).await;
    let mut phone = ward.phone(0).await;
    let on = id(&phone);
    let none = CommandSecrets::default();
    ward.command(install(APP), &[on], &none).await.unwrap();
    assert_eq!(app(&ward, on, APP).await["state"], "requested");
    let talk = ward.obey(&mut phone).await;
    let names: Vec<_> = talk.commands.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["InstallApplication", "ManagedApplicationList"], "it is asked at once");
    let said = app(&ward, on, APP).await;
    assert_eq!((&said["state"], &said["confirmed_at_ms"]), (&"installing".into(), &Value::Null));
    ward.admin.ask(&["ManagedApplicationList"], &[on]).await.unwrap();
    ward.obey(&mut phone).await;
    let said = app(&ward, on, APP).await;
    assert!(said["state"] == "installed" && said["confirmed_at_ms"].is_i64(), "{said}");

    // One whose installation comes to nothing, and one that the phone refuses.
    let broken = "org.example.hospital.broken";
    ward.command(install(broken), &[on], &none).await.unwrap();
    ward.obey(&mut phone).await;
    ward.admin.ask(&["ManagedApplicationList"], &[on]).await.unwrap();
    ward.obey(&mut phone).await;
    let said = app(&ward, on, broken).await;
    assert_eq!((&said["state"], &said["reason"]), (&"failed".into(), &"Failed".into()));

    // With an app go its data: erasure's limits and the holder's name.
    let remove = || Command::RemoveApplication { identifier: APP.into() };
    assert!(ward.command(remove(), &[on], &none).await.is_err());
    let holder = simulate::people(7, 1).pop().unwrap().name;
    let named = CommandSecrets { holder_name: Some(holder), ..Default::default() };
    assert_eq!(ward.command(remove(), &[on], &named).await.unwrap()["erasing"], true);
    ward.obey(&mut phone).await;
    assert_eq!(app(&ward, on, APP).await["state"], "removed");
}

#[tokio::test]
async fn an_apps_settings_are_sealed_on_their_way_there_and_back() {
    let ward = Ward::open(&[]).await;
    let mut phone = ward.phone(0).await;
    let on = [id(&phone)];
    let secrets = CommandSecrets { app_configuration: Some(SETTINGS.to_vec()), ..Default::default() };
    ward.command(install(APP), &on, &secrets).await.unwrap();
    let attributes = AppAttributes { removable: Some(false), ..AppAttributes::default() };
    let items = vec![Setting::ApplicationAttributes { identifier: APP.into(), attributes }];
    let none = CommandSecrets::default();
    assert_eq!(ward.command(Command::Settings { items }, &on, &none).await.unwrap()["erasing"], false);
    let identifiers = || vec![APP.to_owned()];
    ward.command(Command::ManagedApplicationConfiguration { identifiers: identifiers() }, &on, &none)
        .await
        .unwrap();
    ward.command(Command::ManagedApplicationAttributes { identifiers: identifiers() }, &on, &none)
        .await
        .unwrap();
    let feedback = Command::ManagedApplicationFeedback { identifiers: identifiers(), delete_feedback: true };
    ward.command(feedback, &on, &none).await.unwrap();
    ward.command(Command::ValidateApplications { identifiers: vec![] }, &on, &none).await.unwrap();
    let talk = ward.obey(&mut phone).await;
    assert!(talk.commands.iter().all(|(_, status)| *status == "Acknowledged"), "{:?}", talk.commands);

    let device = ward.device(on[0]).await;
    let compartment = |name: &str| {
        let fields = device["sealed_fields"].as_array().unwrap();
        fields.iter().find(|f| f["name"] == name).map(|f| f["compartment"].clone()).unwrap_or_default()
    };
    assert_eq!(compartment("ApplicationConfigurations"), "secret");
    assert_eq!(compartment("ManagedApplicationFeedback"), "secret");
    assert_eq!(compartment("ApplicationAttributes"), "other");
    let kind = OrderKind::Open { fields: vec!["ApplicationConfigurations".into()] };
    let (_, answer) = ward.admin.order(kind, on.to_vec(), None).await.unwrap();
    let opened = order::decode::<order::OpenAnswer>(&answer).unwrap().fields.pop().unwrap();
    assert!(String::from_utf8_lossy(&opened.value).contains("pager-9f3b.example.org"));
    assert_eq!(found(&ward.house.data(), b"pager-9f3b"), [] as [std::path::PathBuf; 0]);

    // Without settings, what it has is taken away; an app's VPN is another matter.
    let items = vec![Setting::ApplicationConfiguration { identifier: APP.into() }];
    ward.command(Command::Settings { items }, &on, &none).await.unwrap();
    let attributes = AppAttributes { vpn_uuid: Some("0A0B".into()), ..AppAttributes::default() };
    let items = vec![Setting::ApplicationAttributes { identifier: APP.into(), attributes }];
    assert!(ward.command(Command::Settings { items }, &on, &none).await.is_err(), "it counts as erasure");
}

#[tokio::test]
async fn restrictions_and_waiting_updates_are_shown_where_they_may_be_seen() {
    let ward = Ward::open(&[]).await;
    let old = |i: &u32| {
        let h = simulate::Handset::of(7, *i);
        h.supervised && h.os_major == 17
    };
    let mut phone = ward.phone((0..).find(old).unwrap()).await;
    let on = id(&phone);
    ward.admin.ask(&["Restrictions", "AvailableOSUpdates", "OSUpdateStatus"], &[on]).await.unwrap();
    ward.obey(&mut phone).await;
    let device = ward.device(on).await;
    assert_eq!(device["clear"]["Restrictions.allowCamera"], true);
    let kinds: Vec<_> =
        device["reports"].as_array().unwrap().iter().map(|r| r["kind"].as_str().unwrap()).collect();
    for kind in ["Restrictions", "AvailableOSUpdates"] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    let clear = device["clear"].as_object().unwrap();
    assert!(clear.keys().any(|k| k.starts_with("AvailableOSUpdates.0.")), "{clear:?}");
}

#[tokio::test]
async fn a_raw_command_is_held_to_apples_schema_and_can_not_do_what_a_typed_one_judges() {
    let ward = Ward::open(&[]).await;
    let index = (0..).find(|i| simulate::Handset::of(7, *i).supervised).unwrap();
    let mut phone = ward.phone(index).await;
    let on = [id(&phone)];
    let raw = |request_type: &str, inner: &str| {
        let text = format!(
            "<plist version=\"1.0\"><dict><key>RequestType</key><string>{request_type}</string>{inner}</dict></plist>"
        );
        let secrets = CommandSecrets { raw: Some(text.into_bytes()), ..Default::default() };
        (Command::Raw { request_type: request_type.into() }, secrets)
    };
    let (command, secrets) = raw("UserConfigured", "");
    assert_eq!(ward.command(command, &on, &secrets).await.unwrap()["erasing"], false);
    let talk = ward.obey(&mut phone).await;
    assert_eq!(talk.commands, [("UserConfigured".to_owned(), "Acknowledged")]);

    let holder = simulate::people(7, index + 1).pop().unwrap().name;
    for (request_type, inner, why) in [
        ("InstallProfile", "<key>Payload</key><data></data>", "a command of its own"),
        ("EraseDevice", "", "a command of its own"),
        ("UserConfigured", "<key>Payload</key><data></data>", "schema"),
        ("NoSuchThing", "", "schema"),
    ] {
        let (command, secrets) = raw(request_type, inner);
        let secrets = CommandSecrets { holder_name: Some(holder.clone()), ..secrets };
        let refused = format!("{:#}", ward.command(command, &on, &secrets).await.unwrap_err());
        assert!(refused.contains(why), "{request_type}: {refused}");
    }
    // One thing in the order, another in what lies sealed beside it.
    let (command, _) = raw("UserConfigured", "");
    let (_, other) = raw("DeviceConfigured", "");
    assert!(ward.command(command, &on, &other).await.is_err());
    // Off the list of mild ones: erasure's limits, and the holder's name.
    let (command, secrets) = raw("ClearRestrictionsPassword", "");
    assert!(ward.command(command.clone(), &on, &secrets).await.is_err());
    let named = CommandSecrets { holder_name: Some(holder), ..secrets };
    assert_eq!(ward.command(command, &on, &named).await.unwrap()["erasing"], true);
    assert!(ward.obey(&mut phone).await.commands.iter().any(|(name, _)| name == "ClearRestrictionsPassword"));
}
