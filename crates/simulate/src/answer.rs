//! What a phone answers to a command, and what the command does to it.
//!
//! Source of keys and types: Apple's schema, `mdm/commands/*.yaml`. Error codes: Apple's MDM Protocol
//! Reference and the pages of the single commands; a phone that isn't supervised was seen to say that the
//! request type isn't valid.

mod act;
mod apps;
mod device;
mod lists;

pub(crate) use act::read_profile;

use crate::declared::Declared;
use crate::handset::Handset;
use crate::report::{Status, error_chain};
use plist::{Dictionary, Value};

/// Apple's codes in `MCMDMErrorDomain`.
pub(crate) mod code {
    pub(crate) const NOT_AUTHORIZED: i64 = 12007;
    pub(crate) const MALFORMED_REQUEST: i64 = 12008;
    pub(crate) const PROFILE_REPLACEMENT: i64 = 12009;
    pub(crate) const PROFILE_NOT_MANAGED: i64 = 12013;
    pub(crate) const INVALID_REQUEST_TYPE: i64 = 12021;
    pub(crate) const NOT_IN_LOST_MODE: i64 = 12067;
}

/// A profile on the phone.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub(crate) struct Installed {
    #[n(0)]
    pub(crate) identifier: String,
    #[n(1)]
    pub(crate) uuid: String,
    #[n(2)]
    pub(crate) display_name: Option<String>,
    #[n(3)]
    pub(crate) organization: Option<String>,
    /// Type, identifier, UUID of each payload.
    #[n(4)]
    pub(crate) payloads: Vec<(String, String, String)>,
}

/// What changes about a phone while it lives.
#[derive(Debug, Clone, Default, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub(crate) struct Life {
    #[n(0)]
    pub(crate) passcode: bool,
    #[n(1)]
    pub(crate) locked: bool,
    #[n(2)]
    pub(crate) lost_mode: bool,
    #[n(3)]
    pub(crate) device_name: Option<String>,
    #[n(4)]
    pub(crate) time_zone: Option<String>,
    #[n(5)]
    pub(crate) roaming: Option<bool>,
    #[n(6)]
    pub(crate) voice_roaming: Option<bool>,
    #[n(7)]
    pub(crate) hotspot: Option<bool>,
    /// By how many hundredths the battery differs from the handset's.
    #[n(8)]
    pub(crate) drained: u8,
    /// Installed by management, the enrolment profile first.
    #[n(9)]
    pub(crate) profiles: Vec<Installed>,
    /// Declarative management.
    #[n(20)]
    #[cbor(default)]
    pub(crate) declared: Declared,
    /// Installed or removed by command, beside those that the handset came with.
    #[n(10)]
    #[cbor(default)]
    pub(crate) apps: Vec<apps::Ordered>,
    /// How often its Activation Lock bypass code was cleared: each time it makes another.
    #[n(11)]
    #[cbor(default)]
    pub(crate) bypass_code: u32,
}

/// What a phone knows of itself besides.
pub(crate) struct Own<'a> {
    pub(crate) handset: &'a Handset,
    pub(crate) seed: u64,
    pub(crate) index: u32,
    pub(crate) certificate: &'a [u8],
    pub(crate) roots: Vec<&'a [u8]>,
    pub(crate) unlock_token: &'a [u8],
    pub(crate) now_ms: model::TimeMs,
}

/// What a command leads to once it was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// The conversation goes on.
    Go,
    /// Everything is gone, the certificate too.
    Erased,
    /// It is switched off, until somebody switches it on.
    Off,
    /// It starts again, and comes back by itself.
    Restart,
    /// Management was removed: `CheckOut`.
    Leave,
    /// Its own enrolment profile came anew: it fetches another certificate before it answers.
    Renew,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reply {
    pub(crate) status: Status,
    pub(crate) content: Dictionary,
    pub(crate) after: After,
}

impl Reply {
    fn done(content: Dictionary) -> Self {
        Self { status: Status::Acknowledged, content, after: After::Go }
    }

    pub(crate) fn ok() -> Self {
        Self::done(Dictionary::new())
    }

    fn then(after: After) -> Self {
        Self { after, ..Self::ok() }
    }

    fn list(key: &str, items: Vec<Value>) -> Self {
        let mut content = Dictionary::new();
        content.insert(key.to_owned(), Value::Array(items));
        Self::done(content)
    }

    fn failed(status: Status, chain: Value) -> Self {
        let mut content = Dictionary::new();
        content.insert("ErrorChain".to_owned(), chain);
        Self { status, content, after: After::Go }
    }

    pub(crate) fn error(code: i64, description: &str) -> Self {
        Self::failed(Status::Error, error_chain(code, "MCMDMErrorDomain", description))
    }

    fn malformed(description: &str) -> Self {
        Self::failed(
            Status::CommandFormatError,
            error_chain(code::MALFORMED_REQUEST, "MCMDMErrorDomain", description),
        )
    }
}

/// Obeys one command.
pub(crate) fn answer(own: &Own<'_>, life: &mut Life, request_type: &str, command: &Dictionary) -> Reply {
    match request_type {
        "DeviceInformation" => device::information(own, life, command),
        "SecurityInfo" => device::security(life),
        "InstalledApplicationList" => lists::apps(own, command),
        "ManagedApplicationList" => apps::list(own, life, command),
        "InstallApplication" => apps::install(life, command),
        "RemoveApplication" => apps::remove(own, life, command),
        "ManagedApplicationConfiguration" => apps::configurations(life, command),
        "ManagedApplicationFeedback" => apps::feedback(life, command),
        "ManagedApplicationAttributes" => apps::attributes(life, command),
        "ValidateApplications" => Reply::ok(),
        "ActivationLockBypassCode" => supervised(own, request_type, || device::bypass_code(own, life)),
        "ClearActivationLockBypassCode" => supervised(own, request_type, || {
            life.bypass_code += 1;
            Reply::ok()
        }),
        "Restrictions" => device::restrictions(),
        "StopMirroring" | "UserConfigured" | "DeviceConfigured" | "ClearRestrictionsPassword" => {
            supervised(own, request_type, Reply::ok)
        }
        "ProfileList" => lists::profiles(life),
        "CertificateList" => lists::certificates(own),
        "ProvisioningProfileList" => Reply::list("ProvisioningProfileList", Vec::new()),
        "ManagedMediaList" => Reply::list("Books", Vec::new()),
        "AvailableOSUpdates" => lists::updates(own),
        "OSUpdateStatus" => Reply::list("OSUpdateStatus", Vec::new()),
        "InstallProfile" => act::install_profile(life, command),
        "RemoveProfile" => act::remove_profile(life, command),
        "DeviceLock" => act::lock(life, command),
        "ClearPasscode" => act::clear_passcode(own, life, command),
        "EraseDevice" => Reply::then(After::Erased),
        "EnableLostMode" => supervised(own, request_type, || act::enable_lost_mode(life, command)),
        "DisableLostMode" => supervised(own, request_type, || act::disable_lost_mode(life)),
        "DeviceLocation" => supervised(own, request_type, || act::location(own, life)),
        "PlayLostModeSound" => supervised(own, request_type, || act::play_sound(life)),
        "RestartDevice" => supervised(own, request_type, || Reply::then(After::Restart)),
        "ShutDownDevice" => supervised(own, request_type, || Reply::then(After::Off)),
        "Settings" => act::settings(own, life, command),
        "DeclarativeManagement" => {
            // With tokens or without: it looks once the conversation is over.
            life.declared.on = true;
            life.declared.due = true;
            Reply::ok()
        }
        // UserList among them: it is for shared iPads and Macs.
        _ => not_valid(request_type),
    }
}

fn supervised(own: &Own<'_>, request_type: &str, then: impl FnOnce() -> Reply) -> Reply {
    if own.handset.supervised { then() } else { not_valid(request_type) }
}

fn not_valid(request_type: &str) -> Reply {
    // A server's word is repeated, within bounds.
    let name: String = request_type.chars().take(64).collect();
    Reply::error(code::INVALID_REQUEST_TYPE, &format!("“{name}” is not a valid request type."))
}

/// Commands that a phone whose screen is locked puts off.
pub(crate) fn may_be_put_off(request_type: &str) -> bool {
    matches!(
        request_type,
        "InstallProfile"
            | "RemoveProfile"
            | "InstalledApplicationList"
            | "ProfileList"
            | "CertificateList"
            | "Settings"
    )
}

#[cfg(test)]
#[path = "../../apple/tests/schema/mod.rs"]
mod schema;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{dict, report};
    use order::FreeQuery;
    use proptest::prelude::*;

    fn with_own<T>(index: u32, then: impl FnOnce(&Own<'_>) -> T) -> T {
        let handset = Handset::of(31, index);
        let (certificate, roots) = (&[0x30, 0][..], vec![&[0x30, 0][..]]);
        then(&Own {
            handset: &handset,
            seed: 31,
            index,
            certificate,
            roots,
            unlock_token: b"token",
            now_ms: 1_795_000_000_123,
        })
    }

    /// The `Command` dictionary of a free query, as the door makes it.
    fn query(query: FreeQuery) -> Dictionary {
        apple::command::parse(&query.bytes(model::CommandId([1; 16]))).unwrap().2
    }

    #[test]
    fn every_answer_to_a_query_is_what_apples_schema_says() {
        for (kind, file) in [
            (FreeQuery::DeviceInformation, "information.device"),
            (FreeQuery::SecurityInfo, "information.security"),
            (FreeQuery::InstalledApplicationList, "application.installed.list"),
            (FreeQuery::ManagedApplicationList, "application.managed.list"),
            (FreeQuery::ProfileList, "profile.list"),
            (FreeQuery::CertificateList, "certificate.list"),
            (FreeQuery::ProvisioningProfileList, "profile.provisioning.list"),
            (FreeQuery::AvailableOSUpdates, "system.update.available"),
            (FreeQuery::OSUpdateStatus, "system.update.status"),
            (FreeQuery::ManagedMediaList, "media.managed.list"),
            (FreeQuery::Restrictions, "device.restrictions.list"),
        ] {
            let Some(doc) = schema::load(&format!("commands/{file}")) else { return };
            let keys = schema::keys(&doc, "responsekeys");
            for index in 0..60 {
                let mut life = Life::default();
                life.profiles.push(Installed {
                    identifier: "a".into(),
                    uuid: "b".into(),
                    display_name: Some("c".into()),
                    organization: None,
                    payloads: vec![("d".into(), "e".into(), "f".into())],
                });
                let reply = with_own(index, |own| answer(own, &mut life, kind.request_type(), &query(kind)));
                assert_eq!(reply.status, Status::Acknowledged);
                schema::check(file, &reply.content, &keys);
            }
        }
    }

    #[test]
    fn where_a_lost_phone_is_and_what_a_lock_says_are_what_apples_schema_says() {
        let supervised = (0..).find(|i| Handset::of(31, *i).supervised).unwrap();
        let mut life = Life { lost_mode: true, ..Life::default() };
        let message = dict([("Message", "Lost".into())]);
        for (request_type, file) in
            [("DeviceLocation", "device.lostmode.location"), ("DeviceLock", "device.lock")]
        {
            let Some(doc) = schema::load(&format!("commands/{file}")) else { return };
            let reply = with_own(supervised, |own| answer(own, &mut life, request_type, &message));
            assert!(!reply.content.is_empty());
            schema::check(file, &reply.content, &schema::keys(&doc, "responsekeys"));
        }
    }

    #[test]
    fn dates_are_near_the_time_that_the_phone_was_given() {
        let mut life = Life { lost_mode: true, ..Life::default() };
        let index =
            (0..).find(|i| Handset::of(31, *i).supervised && Handset::of(31, *i).switches[0]).unwrap();
        let located = with_own(index, |own| answer(own, &mut life, "DeviceLocation", &Dictionary::new()));
        assert_eq!(located.content["Timestamp"].as_string(), Some("2026-11-18T11:06:40Z"));
        let told = with_own(index, |own| {
            answer(own, &mut life, "DeviceInformation", &query(FreeQuery::DeviceInformation))
        });
        let responses = told.content["QueryResponses"].as_dictionary().unwrap();
        let backup = responses["LastCloudBackupDate"].as_date().unwrap().to_xml_format();
        assert!(("2026-10-28".."2026-11-18").contains(&backup.as_str()), "{backup}");
    }

    #[test]
    fn check_ins_are_what_apples_schema_says() {
        for index in 0..60 {
            let phone = crate::Phone::new(31, index);
            let handset = phone.handset();
            for (message, file) in [
                (phone.authenticate_message(&handset), "authenticate"),
                (phone.check_in_message("CheckOut", &handset), "checkout"),
            ] {
                let Some(doc) = schema::load(&format!("checkin/{file}")) else { return };
                // The schema lists EnrollmentID as required: it is, where there is no UDID.
                let mut keys = schema::keys(&doc, "payloadkeys");
                keys.iter_mut().filter(|k| k.name.starts_with("Enroll")).for_each(|k| k.required = false);
                schema::check(file, &message, &keys);
            }
        }
    }

    #[test]
    fn a_phone_without_supervision_says_that_the_request_is_not_valid() {
        let not = (0..).find(|i| !Handset::of(31, *i).supervised).unwrap();
        for request_type in
            ["EnableLostMode", "DisableLostMode", "DeviceLocation", "RestartDevice", "ShutDownDevice"]
        {
            let mut life = Life::default();
            let reply = with_own(not, |own| answer(own, &mut life, request_type, &Dictionary::new()));
            assert_eq!((reply.status, reply.after), (Status::Error, After::Go), "{request_type}");
        }
    }

    /// Values as deep as a command may be, of every kind.
    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
            prop::collection::vec(any::<u8>(), 0..12).prop_map(Value::Data),
        ];
        leaf.prop_recursive(3, 24, 6, |inner| {
            let key = prop_oneof![
                Just("Item".to_owned()),
                Just("Enabled".to_owned()),
                Just("DeviceName".to_owned()),
                "[A-Za-z]{0,8}"
            ];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
                prop::collection::hash_map(key, inner, 0..6)
                    .prop_map(|pairs| Value::Dictionary(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn whatever_stands_in_a_command_it_is_answered_with_a_report_that_the_reader_takes(
            request_type in prop_oneof![
                Just("DeviceInformation"), Just("InstalledApplicationList"), Just("ManagedApplicationList"),
                Just("InstallProfile"), Just("RemoveProfile"), Just("DeviceLock"), Just("ClearPasscode"),
                Just("EnableLostMode"), Just("Settings"), Just("NoSuchThing"),
            ],
            key in prop_oneof![
                Just("Queries"), Just("Identifiers"), Just("Payload"), Just("Identifier"), Just("Message"),
                Just("UnlockToken"), Just("Settings"),
            ],
            value in values(),
            index in 0u32..40,
        ) {
            let command = dict([(key, value)]);
            let mut life = Life::default();
            let reply = with_own(index, |own| answer(own, &mut life, request_type, &command));
            let id = model::CommandId([2; 16]).to_string();
            let bytes = report("00008110-0000000000000001", reply.status, Some(&id), reply.content, index % 2 == 0);
            prop_assert!(apple::message::parse(&bytes.unwrap()).is_ok());
        }
    }
}
