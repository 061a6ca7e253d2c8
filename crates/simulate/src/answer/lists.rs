//! Lists: apps, profiles, certificates, updates.

use super::{Life, Own, Reply};
use crate::handset::App;
use crate::report::dict;
use apple::x509::Certificate;
use plist::{Dictionary, Value};

/// Do the command's `Identifiers` ask for this app? They ask for all when there are none.
pub(super) fn asked(command: &Dictionary, app: &App) -> bool {
    match command.get("Identifiers").and_then(Value::as_array) {
        Some(list) if !list.is_empty() => list.iter().any(|id| id.as_string() == Some(app.identifier)),
        _ => true,
    }
}

pub(super) fn apps(own: &Own<'_>, command: &Dictionary) -> Reply {
    let managed_only = command.get("ManagedAppsOnly").and_then(Value::as_boolean).unwrap_or(false);
    let items = own.handset.apps.iter().filter(|app| asked(command, app) && (app.managed || !managed_only));
    let items = items.map(|app| {
        Value::Dictionary(dict([
            ("Identifier", app.identifier.into()),
            ("Name", app.name.into()),
            ("ShortVersion", app.short_version.as_str().into()),
            ("Version", app.version.as_str().into()),
            ("BundleSize", app.size_bytes.into()),
            ("DynamicSize", (app.size_bytes / 7).into()),
            ("IsValidated", true.into()),
            ("Installing", false.into()),
            ("AppStoreVendable", (!app.managed).into()),
            ("DeviceBasedVPP", app.managed.into()),
            ("BetaApp", false.into()),
            ("AdHocCodeSigned", false.into()),
            ("HasUpdateAvailable", false.into()),
        ]))
    });
    Reply::list("InstalledApplicationList", items.collect())
}

pub(super) fn profiles(life: &Life) -> Reply {
    let items = life.profiles.iter().enumerate().map(|(i, profile)| {
        let payloads = profile.payloads.iter().map(|(kind, identifier, uuid)| {
            Value::Dictionary(dict([
                ("PayloadType", kind.as_str().into()),
                ("PayloadVersion", 1i64.into()),
                ("PayloadIdentifier", identifier.as_str().into()),
                ("PayloadUUID", uuid.as_str().into()),
            ]))
        });
        let mut item = dict([
            ("PayloadUUID", profile.uuid.as_str().into()),
            ("PayloadIdentifier", profile.identifier.as_str().into()),
            ("PayloadVersion", 1i64.into()),
            ("PayloadRemovalDisallowed", false.into()),
            ("HasRemovalPasscode", false.into()),
            ("IsEncrypted", false.into()),
            // The enrolment profile was installed by a person.
            ("IsManaged", (i > 0).into()),
            ("PayloadContent", Value::Array(payloads.collect())),
        ]);
        let texts =
            [("PayloadDisplayName", &profile.display_name), ("PayloadOrganization", &profile.organization)];
        for (key, text) in texts {
            if let Some(text) = text {
                item.insert(key.to_owned(), text.as_str().into());
            }
        }
        Value::Dictionary(item)
    });
    Reply::list("ProfileList", items.collect())
}

pub(super) fn certificates(own: &Own<'_>) -> Reply {
    let identity = std::iter::once((own.certificate, true));
    let items = identity.chain(own.roots.iter().map(|der| (*der, false))).map(|(der, is_identity)| {
        let name = Certificate::parse(der).ok().and_then(|cert| cert.common_name().map(str::to_owned));
        Value::Dictionary(dict([
            ("CommonName", name.unwrap_or_default().into()),
            ("IsIdentity", is_identity.into()),
            ("Data", Value::Data(der.to_vec())),
        ]))
    });
    Reply::list("CertificateList", items.collect())
}

pub(super) fn updates(own: &Own<'_>) -> Reply {
    let mut items = Vec::new();
    if own.handset.os_major == 17 {
        items.push(Value::Dictionary(dict([
            ("ProductKey", "iOSUpdate22B91".into()),
            ("HumanReadableName", "iOS 18.1.1".into()),
            ("HumanReadableNameLocale", "en_GB".into()),
            ("MetadataURL", "https://updates.example/22B91".into()),
            ("ProductName", "iOS".into()),
            ("Version", "18.1.1".into()),
            ("Build", "22B91".into()),
            ("DownloadSize", 6_400_000_000i64.into()),
            ("InstallSize", 2_100_000_000i64.into()),
            ("AppIdentifiersToClose", Value::Array(Vec::new())),
            ("IsCritical", false.into()),
            ("RestartRequired", true.into()),
            ("AllowsInstallLater", true.into()),
            ("IsSecurityResponse", false.into()),
        ])));
    }
    Reply::list("AvailableOSUpdates", items)
}
