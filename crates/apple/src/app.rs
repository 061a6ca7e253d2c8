//! The parts of commands about apps.

use crate::{CommandError, plist_guard};
use model::{AppAttributes, AppSource, CommandSecrets, is_app_identifier};
use plist::{Dictionary, Value};

/// Most apps that one command names.
pub const MAX_APPS: usize = 64;
/// The largest settings of an app, in bytes of their property list.
pub const MAX_APP_CONFIGURATION_BYTES: usize = 256 << 10;

pub(crate) fn identifier(text: &str) -> Result<Value, CommandError> {
    if is_app_identifier(text) { Ok(text.into()) } else { Err(CommandError::BadAppIdentifier) }
}

/// `Identifiers`: each once.
pub(crate) fn identifiers(list: &[String], may_be_empty: bool) -> Result<Vec<Value>, CommandError> {
    let mut seen: Vec<&String> = list.iter().collect();
    seen.sort_unstable();
    seen.dedup();
    if (list.is_empty() && !may_be_empty) || list.len() > MAX_APPS || seen.len() != list.len() {
        return Err(CommandError::BadAppList(MAX_APPS));
    }
    list.iter().map(|text| identifier(text)).collect()
}

/// The app's settings, read strictly: what the phone gets is written anew from what was read.
pub(crate) fn configuration(secrets: &CommandSecrets) -> Result<Option<Dictionary>, CommandError> {
    let Some(bytes) = &secrets.app_configuration else { return Ok(None) };
    let bad = CommandError::BadAppConfiguration(MAX_APP_CONFIGURATION_BYTES);
    let read = plist_guard::parse(bytes, MAX_APP_CONFIGURATION_BYTES).map_err(|_| bad.clone())?;
    read.into_dictionary().map(Some).ok_or(bad)
}

/// Checks an app's settings before anything is signed.
///
/// # Errors
/// [`CommandError::BadAppConfiguration`].
pub fn check_configuration(bytes: &[u8]) -> Result<(), CommandError> {
    let secrets = CommandSecrets { app_configuration: Some(bytes.to_vec()), ..CommandSecrets::default() };
    configuration(&secrets).map(drop)
}

/// A manifest's address: `https`, a host, no user name that would make one host look like another.
pub(crate) fn https<'a>(what: &'static str, url: &'a str) -> Result<&'a str, CommandError> {
    if crate::harm::is_plain_https(url) { Ok(url) } else { Err(CommandError::BadUrl(what)) }
}

/// The keys of `InstallApplication`.
pub(crate) fn install(
    body: &mut Dictionary,
    source: &AppSource,
    flags: (bool, bool, bool),
    secrets: &CommandSecrets,
) -> Result<(), CommandError> {
    let (remove_with_management, no_backup, take_over) = flags;
    match source {
        AppSource::Manifest { url } => {
            body.insert("ManifestURL".into(), https("the manifest's address", url)?.into());
        }
        AppSource::Store { id, licensed } => {
            body.insert("iTunesStoreID".into(), i64::from(*id).into());
            if *licensed {
                let mut options = Dictionary::new();
                options.insert("PurchaseMethod".into(), 1i64.into());
                body.insert("Options".into(), Value::Dictionary(options));
            }
        }
    }
    let flags = i64::from(remove_with_management) + 4 * i64::from(no_backup);
    if flags > 0 {
        body.insert("ManagementFlags".into(), flags.into());
    }
    if take_over {
        body.insert("ChangeManagementState".into(), "Managed".into());
    }
    if let Some(settings) = configuration(secrets)? {
        body.insert("Configuration".into(), Value::Dictionary(settings));
    }
    Ok(())
}

/// `Attributes` of a managed app.
pub(crate) fn attributes(a: &AppAttributes) -> Result<Dictionary, CommandError> {
    let mut out = Dictionary::new();
    if let Some(uuid) = &a.vpn_uuid {
        let plain = (1..=64).contains(&uuid.len())
            && uuid.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
        if !plain {
            return Err(CommandError::BadCharacter("the VPN's UUID"));
        }
        out.insert("VPNUUID".into(), uuid.as_str().into());
    }
    if let Some(removable) = a.removable {
        out.insert("Removable".into(), removable.into());
    }
    if let Some(lock) = a.tap_to_pay_screen_lock {
        out.insert("TapToPayScreenLock".into(), lock.into());
    }
    Ok(out)
}
