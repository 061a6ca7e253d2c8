//! Commands as bytes: built by the vault from a typed order, read by simulated phones.
//!
//! The bytes are an XML property list `{Command: {RequestType, …}, CommandUUID}`; the same arguments give
//! the same bytes, so that a warrant's digest stays true. Source: `mdm/commands/*.yaml`.

use crate::plist_guard::{self, Node};
use crate::{CommandError, Malformed, app, profile, raw};
use model::{Command, CommandId, CommandSecrets, Setting};
use plist::{Dictionary, Value};

/// Longest message on a locked phone's screen, in characters. Apple sets no limit; a screen does.
pub const MAX_MESSAGE_CHARS: usize = 500;
/// Longest footnote, in characters.
pub const MAX_FOOTNOTE_CHARS: usize = 200;
/// Longest phone number, in characters.
pub const MAX_PHONE_NUMBER_CHARS: usize = 40;
/// Longest device name, in characters.
pub const MAX_DEVICE_NAME_CHARS: usize = 63;
/// Longest profile or time zone identifier, in characters.
pub const MAX_IDENTIFIER_CHARS: usize = 255;
/// Most items of one `Settings` command.
pub const MAX_SETTINGS: usize = 16;
/// Largest command that [`parse`] reads, in bytes.
pub const MAX_COMMAND_BYTES: usize = 8 << 20;

/// Builds the bytes of `command` under the id `id`.
///
/// `secrets` must hold exactly what this command needs; `holder_name`, which the vault compares by
/// itself, is ignored. `unlock_token` (from `escrow`) is for `ClearPasscode` alone. A profile is read
/// strictly and written anew ([`profile::rewritten`]), so that a phone reads what was judged.
///
/// # Errors
/// [`CommandError`]: an argument is missing, not taken by this command, or can't be sent.
pub fn build(
    id: CommandId,
    command: &Command,
    secrets: &CommandSecrets,
    unlock_token: Option<&[u8]>,
) -> Result<Vec<u8>, CommandError> {
    check_taken(command, secrets, unlock_token)?;
    if let Command::Raw { request_type } = command {
        let bytes = secrets.raw.as_deref().ok_or(CommandError::Missing("the raw command"))?;
        let (named, body) = raw::read(bytes)?;
        if named != request_type {
            return Err(crate::RawError::NoRequestType.into());
        }
        return written(id, body);
    }
    let mut body = Dictionary::new();
    body.insert("RequestType".into(), command.request_type().into());
    match command {
        Command::InstallProfile => {
            let bytes = secrets.profile.as_deref().ok_or(CommandError::Missing("a profile"))?;
            body.insert("Payload".into(), Value::Data(profile::rewritten(bytes)?));
        }
        Command::RemoveProfile { identifier } => {
            let identifier = line("the profile's identifier", identifier, MAX_IDENTIFIER_CHARS)?;
            body.insert("Identifier".into(), identifier.into());
        }
        Command::DeviceLock => {
            put_texts(&mut body, secrets)?;
        }
        Command::ClearPasscode => {
            let token = unlock_token.ok_or(CommandError::Missing("the phone's unlock token"))?;
            body.insert("UnlockToken".into(), Value::Data(token.to_vec()));
        }
        Command::EraseDevice { preserve_data_plan, disallow_proximity_setup } => {
            // Left out when false: before iOS 14 DisallowProximitySetup stood with no other option.
            put_flag(&mut body, "PreserveDataPlan", *preserve_data_plan);
            put_flag(&mut body, "DisallowProximitySetup", *disallow_proximity_setup);
        }
        Command::EnableLostMode => {
            if secrets.message.is_none() && secrets.phone_number.is_none() {
                return Err(CommandError::NothingToShow);
            }
            put_texts(&mut body, secrets)?;
            if let Some(footnote) = &secrets.footnote {
                body.insert("Footnote".into(), text("the footnote", footnote, MAX_FOOTNOTE_CHARS)?.into());
            }
        }
        Command::RestartDevice { notify_user } => put_flag(&mut body, "NotifyUser", *notify_user),
        Command::Settings { items } => {
            body.insert("Settings".into(), Value::Array(settings(items, secrets)?));
        }
        Command::InstallApplication { identifier, source, remove_with_management, no_backup, take_over } => {
            app::identifier(identifier)?;
            app::install(&mut body, source, (*remove_with_management, *no_backup, *take_over), secrets)?;
        }
        Command::RemoveApplication { identifier } => {
            body.insert("Identifier".into(), app::identifier(identifier)?);
        }
        Command::ManagedApplicationConfiguration { identifiers }
        | Command::ManagedApplicationAttributes { identifiers } => {
            body.insert("Identifiers".into(), Value::Array(app::identifiers(identifiers, false)?));
        }
        Command::ManagedApplicationFeedback { identifiers, delete_feedback } => {
            body.insert("Identifiers".into(), Value::Array(app::identifiers(identifiers, false)?));
            put_flag(&mut body, "DeleteFeedback", *delete_feedback);
        }
        Command::ValidateApplications { identifiers } => {
            let identifiers = app::identifiers(identifiers, true)?;
            if !identifiers.is_empty() {
                body.insert("Identifiers".into(), Value::Array(identifiers));
            }
        }
        Command::DisableLostMode
        | Command::ClearActivationLockBypassCode
        | Command::Raw { .. }
        | Command::DeviceLocation
        | Command::PlayLostModeSound
        | Command::ShutDownDevice
        | Command::DeclarativeManagement => {}
    }
    written(id, body)
}

/// Builds the bytes of `InstallProfile` with an enrolment profile of the house's own, signed as it is: a
/// phone that is asked to renew its certificate. [`build`] refuses such a profile, since nobody may order it.
///
/// # Errors
/// [`CommandError::Unwritable`] when the profile is too large.
pub fn install_enrolment(id: CommandId, profile: &[u8]) -> Result<Vec<u8>, CommandError> {
    let mut body = Dictionary::new();
    body.insert("RequestType".into(), "InstallProfile".into());
    body.insert("Payload".into(), Value::Data(profile.to_vec()));
    written(id, body)
}

fn written(id: CommandId, body: Dictionary) -> Result<Vec<u8>, CommandError> {
    let mut outer = Dictionary::new();
    outer.insert("Command".into(), Value::Dictionary(body));
    outer.insert("CommandUUID".into(), id.to_string().into());
    plist_guard::write(&Value::Dictionary(outer)).ok_or(CommandError::Unwritable)
}

/// Reads a command, as a phone does: its id, its `RequestType`, and the `Command` dictionary.
///
/// # Errors
/// [`Malformed`] when it isn't a command, or its `CommandUUID` isn't a UUID.
pub fn parse(bytes: &[u8]) -> Result<(CommandId, String, Dictionary), Malformed> {
    let Node::Dict(pairs) = plist_guard::read(bytes, MAX_COMMAND_BYTES)? else {
        return Err(Malformed::NotADictionary);
    };
    let (mut id, mut command) = (None, None);
    for (key, value) in pairs {
        match (key.as_ref(), value) {
            ("CommandUUID", Node::Text(text)) => {
                id = Some(text.parse().map_err(|_| Malformed::WrongType("CommandUUID"))?);
            }
            ("Command", node @ Node::Dict(_)) => command = plist_guard::into_value(node).into_dictionary(),
            ("CommandUUID", _) => return Err(Malformed::WrongType("CommandUUID")),
            ("Command", _) => return Err(Malformed::WrongType("Command")),
            _ => {}
        }
    }
    let id = id.ok_or(Malformed::MissingKey("CommandUUID"))?;
    let command = command.ok_or(Malformed::MissingKey("Command"))?;
    let request_type = match command.get("RequestType") {
        Some(Value::String(text)) => text.clone(),
        Some(_) => return Err(Malformed::WrongType("RequestType")),
        None => return Err(Malformed::MissingKey("RequestType")),
    };
    Ok((id, request_type, command))
}

/// An unsupervised iPhone refuses this command, or one of its settings.
#[must_use]
pub fn needs_supervision(command: &Command) -> bool {
    command.needs_supervision()
}

/// Refuses what this command would drop silently.
fn check_taken(
    command: &Command,
    secrets: &CommandSecrets,
    unlock_token: Option<&[u8]>,
) -> Result<(), CommandError> {
    let shows_text = matches!(command, Command::DeviceLock | Command::EnableLostMode);
    let names_device = matches!(command, Command::Settings { items } if items.contains(&Setting::DeviceName));
    let configures_app = match command {
        Command::InstallApplication { .. } => true,
        Command::Settings { items } => {
            items.iter().any(|i| matches!(i, Setting::ApplicationConfiguration { .. }))
        }
        _ => false,
    };
    let given = [
        (secrets.app_configuration.is_some(), configures_app, "app settings"),
        (secrets.raw.is_some(), matches!(command, Command::Raw { .. }), "raw command"),
        (secrets.profile.is_some(), matches!(command, Command::InstallProfile), "profile"),
        (secrets.message.is_some(), shows_text, "message"),
        (secrets.phone_number.is_some(), shows_text, "phone number"),
        (secrets.footnote.is_some(), matches!(command, Command::EnableLostMode), "footnote"),
        // Of Macs alone, by Apple's schema; whoever signs beside it is not told of one.
        (secrets.pin.is_some(), false, "PIN"),
        (secrets.device_name.is_some(), names_device, "device name"),
        (unlock_token.is_some(), matches!(command, Command::ClearPasscode), "unlock token"),
    ];
    match given.iter().find(|(is_given, taken, _)| *is_given && !*taken) {
        Some((_, _, what)) => Err(CommandError::Unexpected(what)),
        None => Ok(()),
    }
}

fn put_flag(body: &mut Dictionary, key: &str, value: bool) {
    if value {
        body.insert(key.into(), true.into());
    }
}

fn put_texts(body: &mut Dictionary, secrets: &CommandSecrets) -> Result<(), CommandError> {
    if let Some(message) = &secrets.message {
        body.insert("Message".into(), text("the message", message, MAX_MESSAGE_CHARS)?.into());
    }
    if let Some(number) = &secrets.phone_number {
        let number = line("the phone number", number, MAX_PHONE_NUMBER_CHARS)?;
        if !number.chars().all(|c| c.is_ascii_digit() || "+-()./ *#,".contains(c)) {
            return Err(CommandError::BadCharacter("the phone number"));
        }
        body.insert("PhoneNumber".into(), number.into());
    }
    Ok(())
}

fn settings(items: &[Setting], secrets: &CommandSecrets) -> Result<Vec<Value>, CommandError> {
    if items.is_empty() || items.len() > MAX_SETTINGS {
        return Err(CommandError::BadSettings);
    }
    let mut names = Vec::new();
    let mut out = Vec::new();
    let nothing = || Value::Dictionary(Dictionary::new());
    for setting in items {
        let mut about = None;
        let (name, key, value): (&str, &str, Value) = match setting {
            Setting::Bluetooth { enabled } => ("Bluetooth", "Enabled", (*enabled).into()),
            Setting::DataRoaming { enabled } => ("DataRoaming", "Enabled", (*enabled).into()),
            Setting::VoiceRoaming { enabled } => ("VoiceRoaming", "Enabled", (*enabled).into()),
            Setting::PersonalHotspot { enabled } => ("PersonalHotspot", "Enabled", (*enabled).into()),
            Setting::DeviceName => {
                let name = secrets.device_name.as_deref().ok_or(CommandError::Missing("a device name"))?;
                ("DeviceName", "DeviceName", line("the device name", name, MAX_DEVICE_NAME_CHARS)?.into())
            }
            Setting::TimeZone { name } => ("TimeZone", "TimeZone", time_zone(name)?.into()),
            Setting::ApplicationConfiguration { identifier } => {
                about = Some(app::identifier(identifier)?);
                // Without a Configuration, the app's is taken away.
                let settings = app::configuration(secrets)?.map(Value::Dictionary);
                ("ApplicationConfiguration", "Configuration", settings.unwrap_or_else(nothing))
            }
            Setting::ApplicationAttributes { identifier, attributes } => {
                about = Some(app::identifier(identifier)?);
                let attributes = app::attributes(attributes)?;
                ("ApplicationAttributes", "Attributes", Value::Dictionary(attributes))
            }
        };
        // Twice the same setting in one command: which of the two counts is anyone's guess.
        if names.contains(&name) {
            return Err(CommandError::BadSettings);
        }
        names.push(name);
        let mut item = Dictionary::new();
        item.insert("Item".into(), name.into());
        if let Some(identifier) = about {
            item.insert("Identifier".into(), identifier);
        }
        // Of an app's settings and attributes, none at all means: take them away.
        if !(name.starts_with("Application") && value == nothing()) {
            item.insert(key.into(), value);
        }
        out.push(Value::Dictionary(item));
    }
    Ok(out)
}

/// An IANA name such as `Europe/London`.
fn time_zone(name: &str) -> Result<&str, CommandError> {
    let name = line("the time zone", name, 64)?;
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_+-".contains(&b));
    if plain { Ok(name) } else { Err(CommandError::BadCharacter("the time zone")) }
}

/// A text that may have several lines.
fn text<'a>(what: &'static str, text: &'a str, max_chars: usize) -> Result<&'a str, CommandError> {
    if text.is_empty() {
        return Err(CommandError::Empty(what));
    }
    if text.chars().count() > max_chars {
        return Err(CommandError::TooLong(what, max_chars));
    }
    // Directional overrides make a number on the screen read as another one; the last two XML can't say.
    let bad = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FFFE}' | '\u{FFFF}')
    };
    if text.contains(bad) { Err(CommandError::BadCharacter(what)) } else { Ok(text) }
}

/// A text of one line.
fn line<'a>(what: &'static str, value: &'a str, max_chars: usize) -> Result<&'a str, CommandError> {
    let value = text(what, value, max_chars)?;
    if value.contains('\n') { Err(CommandError::BadCharacter(what)) } else { Ok(value) }
}
