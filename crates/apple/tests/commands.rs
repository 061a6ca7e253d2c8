//! Built commands: read back, checked against Apple's schema, and refused when they can't be sent.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test may fail

mod schema;

use apple::raw::{COMMANDS, Kind, TYPED};
use apple::{CommandError, Malformed, RawError, command};
use model::{AppAttributes, AppSource, Command, CommandId, CommandKind, CommandSecrets, Setting};
use plist::{Dictionary, Value};
use proptest::prelude::*;

const ID: CommandId = CommandId([0xAB; 16]);
const PROFILE: &[u8] = include_bytes!("data/profile_mild.mobileconfig");

fn secrets() -> CommandSecrets {
    CommandSecrets::default()
}

fn with(change: impl FnOnce(&mut CommandSecrets)) -> CommandSecrets {
    let mut secrets = secrets();
    change(&mut secrets);
    secrets
}

fn all_settings() -> Command {
    Command::Settings {
        items: vec![
            Setting::Bluetooth { enabled: true },
            Setting::DataRoaming { enabled: false },
            Setting::VoiceRoaming { enabled: false },
            Setting::PersonalHotspot { enabled: false },
            Setting::DeviceName,
            Setting::TimeZone { name: "Europe/London".into() },
        ],
    }
}

const APP: &str = "org.example.hospital.pager";
const APP_SETTINGS: &[u8] =
    b"<plist version=\"1.0\"><dict><key>Server</key><string>pager.example.org</string></dict></plist>";
const RAW: &[u8] =
    b"<plist version=\"1.0\"><dict><key>RequestType</key><string>UserConfigured</string></dict></plist>";

fn raw(request_type: &str) -> Command {
    Command::Raw { request_type: request_type.into() }
}

fn manifest(url: &str) -> AppSource {
    AppSource::Manifest { url: url.into() }
}

fn install(source: AppSource) -> Command {
    let identifier = APP.into();
    Command::InstallApplication {
        identifier,
        source,
        remove_with_management: true,
        no_backup: true,
        take_over: true,
    }
}

fn app_settings() -> Command {
    let attributes = AppAttributes {
        vpn_uuid: Some("0A0B0C0D-0E0F-4000-8000-000000000010".into()),
        removable: Some(false),
        tap_to_pay_screen_lock: Some(true),
    };
    Command::Settings {
        items: vec![
            Setting::ApplicationConfiguration { identifier: APP.into() },
            Setting::ApplicationAttributes { identifier: APP.into(), attributes },
        ],
    }
}

/// One or more of each kind, with everything it takes.
fn every_command() -> Vec<(Command, CommandSecrets, Option<&'static [u8]>)> {
    let shown = |footnote: bool| {
        with(|s| {
            s.message = Some("Found me? Please call ward 7.\nThank you <3".into());
            s.phone_number = Some("07700 900123".into());
            s.footnote = footnote.then(|| "Example Hospital".into());
        })
    };
    vec![
        (Command::InstallProfile, with(|s| s.profile = Some(PROFILE.to_vec())), None),
        (Command::RemoveProfile { identifier: "org.example.ward".into() }, secrets(), None),
        (Command::DeviceLock, secrets(), None),
        (Command::DeviceLock, shown(false), None),
        (Command::ClearPasscode, secrets(), Some(b"made-up unlock token")),
        (
            Command::EraseDevice { preserve_data_plan: false, disallow_proximity_setup: false },
            secrets(),
            None,
        ),
        (
            Command::EraseDevice { preserve_data_plan: true, disallow_proximity_setup: true },
            with(|s| s.holder_name = Some("A made-up name".into())),
            None,
        ),
        (Command::EnableLostMode, shown(true), None),
        (Command::EnableLostMode, with(|s| s.message = Some("x".into())), None),
        (Command::DisableLostMode, secrets(), None),
        (Command::DeviceLocation, secrets(), None),
        (Command::PlayLostModeSound, secrets(), None),
        (Command::RestartDevice { notify_user: false }, secrets(), None),
        (Command::RestartDevice { notify_user: true }, secrets(), None),
        (Command::ShutDownDevice, secrets(), None),
        (Command::DeclarativeManagement, secrets(), None),
        (all_settings(), with(|s| s.device_name = Some("Ward 7 phone".into())), None),
        (app_settings(), with(|s| s.app_configuration = Some(APP_SETTINGS.to_vec())), None),
        (app_settings(), secrets(), None),
        (install(manifest("https://apps.example.org/pager.plist")), secrets(), None),
        (
            install(AppSource::Store { id: 123_456_789, licensed: true }),
            with(|s| s.app_configuration = Some(APP_SETTINGS.to_vec())),
            None,
        ),
        (Command::RemoveApplication { identifier: APP.into() }, secrets(), None),
        (Command::ClearActivationLockBypassCode, secrets(), None),
        (Command::ManagedApplicationConfiguration { identifiers: vec![APP.into()] }, secrets(), None),
        (
            Command::ManagedApplicationFeedback { identifiers: vec![APP.into()], delete_feedback: true },
            secrets(),
            None,
        ),
        (Command::ManagedApplicationAttributes { identifiers: vec![APP.into()] }, secrets(), None),
        (Command::ValidateApplications { identifiers: vec![] }, secrets(), None),
        (Command::ValidateApplications { identifiers: vec![APP.into()] }, secrets(), None),
        (raw("UserConfigured"), with(|s| s.raw = Some(RAW.to_vec())), None),
    ]
}

fn built(command: &Command, secrets: &CommandSecrets, token: Option<&[u8]>) -> Dictionary {
    let bytes = command::build(ID, command, secrets, token).unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let (id, request_type, body) = command::parse(&bytes).unwrap();
    assert_eq!((id, request_type.as_str()), (ID, command.request_type()));
    body
}

#[test]
fn every_kind_of_command_is_built_and_reads_back() {
    let all = every_command();
    for kind in CommandKind::ALL {
        assert!(all.iter().any(|(c, ..)| c.kind() == kind), "{kind:?}");
    }
    for (command, secrets, token) in &all {
        built(command, secrets, *token);
        let twice = [(); 2].map(|()| command::build(ID, command, secrets, *token).unwrap());
        assert_eq!(twice[0], twice[1]);
    }
}

/// The file of each command.
fn schema_file(kind: CommandKind) -> &'static str {
    match kind {
        CommandKind::InstallProfile => "profile.install",
        CommandKind::RemoveProfile => "profile.remove",
        CommandKind::DeviceLock => "device.lock",
        CommandKind::ClearPasscode => "passcode.clear",
        CommandKind::EraseDevice => "device.erase",
        CommandKind::EnableLostMode => "device.lostmode.enable",
        CommandKind::DisableLostMode => "device.lostmode.disable",
        CommandKind::DeviceLocation => "device.lostmode.location",
        CommandKind::PlayLostModeSound => "device.lostmode.playsound",
        CommandKind::RestartDevice => "device.restart",
        CommandKind::ShutDownDevice => "device.shutdown",
        CommandKind::Settings => "settings",
        CommandKind::DeclarativeManagement => "declarativemanagement",
        CommandKind::InstallApplication => "application.install",
        CommandKind::RemoveApplication => "application.remove",
        CommandKind::ClearActivationLockBypassCode => "device.activationlock.clearbypasscode",
        CommandKind::ManagedApplicationConfiguration => "managed.application.configuration",
        CommandKind::ManagedApplicationFeedback => "managed.application.feedback",
        CommandKind::ManagedApplicationAttributes => "managed.application.attributes",
        CommandKind::ValidateApplications => "application.validate",
        CommandKind::Raw => "user.configured",
    }
}

#[test]
fn every_built_command_is_what_apples_schema_says() {
    for (command, secrets, token) in every_command() {
        let Some(doc) = schema::load(&format!("commands/{}", schema_file(command.kind()))) else { return };
        let mut body = built(&command, &secrets, token);
        let request_type = body.remove("RequestType").and_then(Value::into_string);
        assert_eq!(request_type.as_deref(), doc["payload"]["requesttype"].as_str());
        let keys = schema::keys(&doc, "payloadkeys");
        if let Command::Settings { .. } = command {
            // One of several dictionaries, told apart by Item.
            let items = body.remove("Settings").and_then(Value::into_array).unwrap();
            assert!(body.is_empty());
            for item in items {
                let item = item.into_dictionary().unwrap();
                let name = item["Item"].as_string().unwrap();
                let key = keys[0].subkeys.iter().find(|k| k.name == name).expect(name);
                schema::check(name, &item, &key.subkeys);
            }
        } else {
            schema::check(command.request_type(), &body, &keys);
        }
    }
}

#[test]
fn supervision_is_needed_where_apples_schema_says_so() {
    for (command, ..) in every_command() {
        let Some(doc) = schema::load(&format!("commands/{}", schema_file(command.kind()))) else { return };
        let supervised = doc["payload"]["supportedOS"]["iOS"]["supervised"].as_bool() == Some(true);
        match &command {
            Command::Settings { items } => {
                let keys = schema::keys(&doc, "payloadkeys");
                for item in items {
                    let one = Command::Settings { items: vec![item.clone()] };
                    let name = match item {
                        Setting::Bluetooth { .. } => "Bluetooth",
                        Setting::DataRoaming { .. } => "DataRoaming",
                        Setting::VoiceRoaming { .. } => "VoiceRoaming",
                        Setting::PersonalHotspot { .. } => "PersonalHotspot",
                        Setting::DeviceName => "DeviceName",
                        Setting::TimeZone { .. } => "TimeZone",
                        Setting::ApplicationConfiguration { .. } => "ApplicationConfiguration",
                        Setting::ApplicationAttributes { .. } => "ApplicationAttributes",
                    };
                    let key = keys[0].subkeys.iter().find(|k| k.name == name).expect(name);
                    assert_eq!(command::needs_supervision(&one), key.supervised, "{name}");
                }
                assert_eq!(
                    command::needs_supervision(&command),
                    items.iter().any(Setting::needs_supervision)
                );
            }
            _ => assert_eq!(command::needs_supervision(&command), supervised, "{command:?}"),
        }
    }
}

#[test]
fn the_table_of_raw_commands_is_apples_schema_without_what_has_a_command_of_its_own() {
    let Some(files) = schema::files("commands") else { return };
    let mut known = Vec::new();
    for file in files {
        let Some(doc) = schema::load(&format!("commands/{file}")) else { return };
        let request_type = doc["payload"]["requesttype"].as_str().unwrap().to_owned();
        let ios = &doc["payload"]["supportedOS"]["iOS"];
        let on_iphones = ios["introduced"].as_str() != Some("n/a");
        let ours = COMMANDS.iter().find(|c| c.request_type == request_type);
        let typed = TYPED.iter().any(|(t, _)| *t == request_type);
        assert_eq!(ours.is_some() || typed, on_iphones, "{request_type}");
        known.push(request_type.clone());
        let Some(ours) = ours else { continue };
        let supervised = ios["supervised"].as_bool() == Some(true);
        assert_eq!(model::command::RAW_SUPERVISED.contains(&ours.request_type), supervised, "{request_type}");
        check_raw_keys(&request_type, ours.keys, &schema::keys(&doc, "payloadkeys"));
    }
    for (typed, _) in TYPED {
        assert!(known.iter().any(|k| k == typed), "{typed}");
    }
}

fn check_raw_keys(at: &str, ours: &[apple::raw::Key], theirs: &[schema::Key]) {
    let names = |of: Vec<&str>| of.into_iter().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(
        names(ours.iter().map(|k| k.name).collect()),
        names(theirs.iter().map(|k| k.name.as_str()).collect()),
        "{at}"
    );
    for key in ours {
        let at = format!("{at}.{}", key.name);
        let their = theirs.iter().find(|k| k.name == key.name).unwrap();
        assert_eq!(key.required, their.required, "{at}");
        match key.kind {
            Kind::Text(allowed) => {
                assert_eq!(their.kind, "<string>", "{at}");
                assert_eq!(
                    names(allowed.to_vec()),
                    names(their.allowed.iter().map(String::as_str).collect()),
                    "{at}"
                );
            }
            Kind::Integer(..) => assert_eq!(their.kind, "<integer>", "{at}"),
            Kind::Bool => assert_eq!(their.kind, "<boolean>", "{at}"),
            Kind::Data => assert_eq!(their.kind, "<data>", "{at}"),
            Kind::Dictionaries(keys) => {
                assert_eq!(their.kind, "<array>", "{at}");
                check_raw_keys(&at, keys, &their.subkeys[0].subkeys);
            }
        }
    }
}

#[test]
fn what_a_command_needs_or_does_not_take_is_named_in_the_refusal() {
    let erase = Command::EraseDevice { preserve_data_plan: false, disallow_proximity_setup: false };
    let zone = |name: &str| Command::Settings { items: vec![Setting::TimeZone { name: name.into() }] };
    let cases: Vec<(Command, CommandSecrets, Option<&[u8]>, CommandError)> = vec![
        (Command::InstallProfile, secrets(), None, CommandError::Missing("a profile")),
        (
            Command::InstallProfile,
            with(|s| s.profile = Some(b"\x30\x82\x01\x00".to_vec())),
            None,
            CommandError::Profile(Malformed::SignedEnvelope),
        ),
        (Command::ClearPasscode, secrets(), None, CommandError::Missing("the phone's unlock token")),
        (erase.clone(), secrets(), Some(b"t"), CommandError::Unexpected("unlock token")),
        (erase.clone(), with(|s| s.message = Some("x".into())), None, CommandError::Unexpected("message")),
        // Macs alone take one.
        (erase, with(|s| s.pin = Some("123456".into())), None, CommandError::Unexpected("PIN")),
        (Command::DeviceLock, with(|s| s.pin = Some("123456".into())), None, CommandError::Unexpected("PIN")),
        (
            Command::DeviceLock,
            with(|s| s.footnote = Some("x".into())),
            None,
            CommandError::Unexpected("footnote"),
        ),
        (Command::EnableLostMode, secrets(), None, CommandError::NothingToShow),
        (Command::EnableLostMode, with(|s| s.footnote = Some("x".into())), None, CommandError::NothingToShow),
        (
            Command::EnableLostMode,
            with(|s| s.pin = Some("123456".into())),
            None,
            CommandError::Unexpected("PIN"),
        ),
        (
            Command::EnableLostMode,
            with(|s| s.message = Some(String::new())),
            None,
            CommandError::Empty("the message"),
        ),
        (
            Command::EnableLostMode,
            with(|s| s.message = Some("x".repeat(501))),
            None,
            CommandError::TooLong("the message", 500),
        ),
        (
            Command::EnableLostMode,
            with(|s| s.message = Some("a\u{202E}b".into())),
            None,
            CommandError::BadCharacter("the message"),
        ),
        (
            Command::DeviceLock,
            with(|s| s.phone_number = Some("call me".into())),
            None,
            CommandError::BadCharacter("the phone number"),
        ),
        (
            Command::RemoveProfile { identifier: "a\nb".into() },
            secrets(),
            None,
            CommandError::BadCharacter("the profile's identifier"),
        ),
        (Command::Settings { items: vec![] }, secrets(), None, CommandError::BadSettings),
        (
            Command::Settings {
                items: vec![Setting::Bluetooth { enabled: true }, Setting::Bluetooth { enabled: false }],
            },
            secrets(),
            None,
            CommandError::BadSettings,
        ),
        (all_settings(), secrets(), None, CommandError::Missing("a device name")),
        (
            zone("Europe/London"),
            with(|s| s.device_name = Some("x".into())),
            None,
            CommandError::Unexpected("device name"),
        ),
        (zone("Europe London"), secrets(), None, CommandError::BadCharacter("the time zone")),
        (
            install(manifest("http://apps.example.org/pager.plist")),
            secrets(),
            None,
            CommandError::BadUrl("the manifest's address"),
        ),
        (
            install(manifest("https://apps.example.org@example.net/pager.plist")),
            secrets(),
            None,
            CommandError::BadUrl("the manifest's address"),
        ),
        (
            Command::RemoveApplication { identifier: "org.example pager".into() },
            secrets(),
            None,
            CommandError::BadAppIdentifier,
        ),
        (
            Command::ManagedApplicationFeedback {
                identifiers: vec![APP.into(), APP.into()],
                delete_feedback: false,
            },
            secrets(),
            None,
            CommandError::BadAppList(64),
        ),
        (
            app_settings(),
            with(|s| s.app_configuration = Some(b"<plist><array/></plist>".to_vec())),
            None,
            CommandError::BadAppConfiguration(256 << 10),
        ),
        (
            Command::RemoveApplication { identifier: APP.into() },
            with(|s| s.app_configuration = Some(APP_SETTINGS.to_vec())),
            None,
            CommandError::Unexpected("app settings"),
        ),
        (raw("UserConfigured"), secrets(), None, CommandError::Missing("the raw command")),
        (
            raw("DeviceConfigured"),
            with(|s| s.raw = Some(RAW.to_vec())),
            None,
            CommandError::Raw(RawError::NoRequestType),
        ),
        (
            Command::DisableLostMode,
            with(|s| s.profile = Some(vec![])),
            None,
            CommandError::Unexpected("profile"),
        ),
    ];
    for (command, secrets, token, why) in cases {
        assert_eq!(command::build(ID, &command, &secrets, token), Err(why), "{command:?}");
    }
}

#[test]
fn a_profile_is_sent_as_what_was_read_of_it() {
    let odd = b"<?xml version=\"1.0\"?><plist><!-- c --><dict><key>Payload&#84;ype</key><string>Config<![CDATA[uration]]></string>\
                <key>PayloadContent</key><array/></dict></plist>";
    let body = built(&Command::InstallProfile, &with(|s| s.profile = Some(odd.to_vec())), None);
    let sent = std::str::from_utf8(body["Payload"].as_data().unwrap()).unwrap();
    assert!(sent.contains("<key>PayloadType</key>") && sent.contains("<string>Configuration</string>"));
    assert!(!sent.contains("CDATA") && !sent.contains("<!-- c") && !sent.contains("&#"));
}

#[test]
fn what_is_not_a_command_is_refused() {
    for (bad, why) in [
        ("<array/>", Malformed::NotADictionary),
        ("<dict/>", Malformed::MissingKey("CommandUUID")),
        ("<dict><key>CommandUUID</key><string>x</string></dict>", Malformed::WrongType("CommandUUID")),
        ("<dict><key>Command</key><string>x</string></dict>", Malformed::WrongType("Command")),
        (
            "<dict><key>CommandUUID</key><string>0A0B0C0D-0E0F-4000-8000-000000000010</string><key>Command</key><dict/></dict>",
            Malformed::MissingKey("RequestType"),
        ),
    ] {
        assert_eq!(command::parse(bad.as_bytes()), Err(why), "{bad}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_is_shown_as_it_was_typed_or_refused(message in ".{0,40}", number in "[0-9+ ]{1,20}", id: [u8; 16]) {
        let secrets = with(|s| {
            s.message = Some(message.clone());
            s.phone_number = Some(number.clone());
        });
        if let Ok(bytes) = command::build(CommandId(id), &Command::EnableLostMode, &secrets, None) {
            let (back, _, body) = command::parse(&bytes).unwrap();
            prop_assert_eq!(back, CommandId(id));
            prop_assert_eq!(body["Message"].as_string(), Some(message.as_str()));
            prop_assert_eq!(body["PhoneNumber"].as_string(), Some(number.as_str()));
        }
    }

    #[test]
    fn arbitrary_or_damaged_bytes_are_refused_or_read_and_never_panic(at: u16, byte: u8, cut: u16) {
        let mut bytes = command::build(ID, &Command::DeviceLock, &secrets(), None).unwrap();
        let len = bytes.len();
        bytes[usize::from(at) % len] = byte;
        bytes.truncate(usize::from(cut) % (len + 1));
        if let Ok((_, request_type, _)) = command::parse(&bytes) {
            prop_assert!(request_type.len() <= len);
        }
    }
}
