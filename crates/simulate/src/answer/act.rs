//! Commands that change a phone.

use super::{After, Installed, Life, Own, Reply, code};
use crate::dice::Dice;
use crate::report::{Status, dict, error_chain};
use apple::{Malformed, plist_guard, profile};
use plist::{Dictionary, Value};

/// How many profiles a phone keeps; a server that installs more is told so.
const MAX_PROFILES: usize = 64;
const MAX_PAYLOADS: usize = 64;

/// Reads a profile as a phone lists it, signed or not.
pub(crate) fn read_profile(bytes: &[u8]) -> Result<Installed, Malformed> {
    let unwrapped;
    let bytes = if bytes.first() == Some(&0x30) {
        unwrapped = apple::cms::unwrap_signed(bytes).map_err(|_| Malformed::SignedEnvelope)?;
        &unwrapped
    } else {
        bytes
    };
    let outer = plist_guard::parse(bytes, profile::MAX_PROFILE_BYTES)?;
    let outer = outer.as_dictionary().ok_or(Malformed::NotADictionary)?;
    let text = |of: &Dictionary, key: &str| of.get(key).and_then(Value::as_string).map(str::to_owned);
    let payloads =
        outer.get("PayloadContent").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let payloads = payloads.iter().take(MAX_PAYLOADS).filter_map(Value::as_dictionary).map(|payload| {
        let of = |key| text(payload, key).unwrap_or_default();
        (of("PayloadType"), of("PayloadIdentifier"), of("PayloadUUID"))
    });
    Ok(Installed {
        identifier: text(outer, "PayloadIdentifier").ok_or(Malformed::MissingKey("PayloadIdentifier"))?,
        uuid: text(outer, "PayloadUUID").ok_or(Malformed::MissingKey("PayloadUUID"))?,
        display_name: text(outer, "PayloadDisplayName"),
        organization: text(outer, "PayloadOrganization"),
        payloads: payloads.collect(),
    })
}

pub(super) fn install_profile(life: &mut Life, command: &Dictionary) -> Reply {
    let Some(payload) = command.get("Payload").and_then(Value::as_data) else {
        return Reply::malformed("Payload is missing.");
    };
    let Ok(new) = read_profile(payload) else {
        let chain = error_chain(1000, "MCProfileErrorDomain", "The profile couldn't be read.");
        return Reply::failed(Status::Error, chain);
    };
    if let Some(enrolment) = life.profiles.first().filter(|p| p.identifier == new.identifier) {
        // Only an update of the very same profile, with the very same payloads, may take its place.
        if enrolment.uuid != new.uuid || enrolment.payloads != new.payloads {
            return Reply::error(
                code::PROFILE_REPLACEMENT,
                "The profile can't replace the enrolment profile.",
            );
        }
        return Reply::then(After::Renew);
    }
    let full = life.profiles.len() >= MAX_PROFILES;
    match life.profiles.iter_mut().find(|p| p.identifier == new.identifier) {
        Some(old) => *old = new,
        None if !full => life.profiles.push(new),
        None => {
            let chain = error_chain(4001, "MCInstallationErrorDomain", "There are too many profiles.");
            return Reply::failed(Status::Error, chain);
        }
    }
    Reply::ok()
}

pub(super) fn remove_profile(life: &mut Life, command: &Dictionary) -> Reply {
    let Some(identifier) = command.get("Identifier").and_then(Value::as_string) else {
        return Reply::malformed("Identifier is missing.");
    };
    match life.profiles.iter().position(|p| p.identifier == identifier) {
        // The enrolment profile: with it goes management.
        Some(0) => Reply::then(After::Leave),
        Some(at) => {
            life.profiles.remove(at);
            Reply::ok()
        }
        None => Reply::error(code::PROFILE_NOT_MANAGED, "The profile isn't managed."),
    }
}

pub(super) fn lock(life: &mut Life, command: &Dictionary) -> Reply {
    life.locked = true;
    if !command.contains_key("Message") && !command.contains_key("PhoneNumber") {
        return Reply::ok();
    }
    let result = match (life.lost_mode, life.passcode) {
        (true, _) => "DeviceInLostMode",
        (false, true) => "Success",
        (false, false) => "NoPasscodeSet",
    };
    Reply::done(dict([("MessageResult", result.into())]))
}

pub(super) fn clear_passcode(own: &Own<'_>, life: &mut Life, command: &Dictionary) -> Reply {
    match command.get("UnlockToken").and_then(Value::as_data) {
        None => Reply::malformed("UnlockToken is missing."),
        Some(token) if token == own.unlock_token => {
            life.passcode = false;
            life.locked = false;
            Reply::ok()
        }
        Some(_) => {
            let chain = error_chain(5013, "MCPasscodeErrorDomain", "The passcode can't be cleared.");
            Reply::failed(Status::Error, chain)
        }
    }
}

pub(super) fn enable_lost_mode(life: &mut Life, command: &Dictionary) -> Reply {
    if !command.contains_key("Message") && !command.contains_key("PhoneNumber") {
        return Reply::malformed("Either Message or PhoneNumber is needed.");
    }
    life.lost_mode = true;
    life.locked = true;
    Reply::ok()
}

pub(super) fn disable_lost_mode(life: &mut Life) -> Reply {
    if std::mem::take(&mut life.lost_mode) { Reply::ok() } else { not_lost() }
}

fn not_lost() -> Reply {
    Reply::error(code::NOT_IN_LOST_MODE, "The device isn't in Lost Mode.")
}

pub(super) fn play_sound(life: &Life) -> Reply {
    if life.lost_mode { Reply::ok() } else { not_lost() }
}

pub(super) fn location(own: &Own<'_>, life: &Life) -> Reply {
    if !life.lost_mode {
        return not_lost();
    }
    // In the North Sea, where no hospital is.
    let mut dice = Dice::of(own.seed, own.index, 8);
    let mut part = || f64::from(u32::try_from(dice.below(10_000)).unwrap_or(0)) / 10_000.0;
    Reply::done(dict([
        ("Latitude", (55.0 + part()).into()),
        ("Longitude", (3.0 + part()).into()),
        ("HorizontalAccuracy", (5.0 + (part() * 60.0).round()).into()),
        ("VerticalAccuracy", 8.0.into()),
        ("Altitude", (part() * 40.0).round().into()),
        ("Speed", (-1.0).into()),
        ("Course", (-1.0).into()),
        ("Timestamp", super::device::date(own.now_ms).to_xml_format().into()),
    ]))
}

pub(super) fn settings(own: &Own<'_>, life: &mut Life, command: &Dictionary) -> Reply {
    let Some(items) = command.get("Settings").and_then(Value::as_array) else {
        return Reply::malformed("Settings is missing.");
    };
    let results = items.iter().take(64).map(|item| {
        let item = item.as_dictionary();
        let name = item.and_then(|i| i.get("Item")).and_then(Value::as_string).unwrap_or_default();
        let result = item.ok_or((code::MALFORMED_REQUEST, "The setting can't be read."));
        match result.and_then(|item| setting(own, life, name, item)) {
            Ok(()) => dict([("Item", name.into()), ("Status", "Acknowledged".into())]),
            Err((code, why)) => dict([
                ("Item", name.into()),
                ("Status", "Error".into()),
                ("ErrorChain", error_chain(code, "MCMDMErrorDomain", why)),
            ]),
        }
    });
    let results = results.map(Value::Dictionary).collect();
    Reply::list("Settings", results)
}

fn setting(own: &Own<'_>, life: &mut Life, name: &str, item: &Dictionary) -> Result<(), (i64, &'static str)> {
    const BAD: (i64, &str) =
        (code::MALFORMED_REQUEST, "The setting's value is missing or of the wrong type.");
    let enabled = || item.get("Enabled").and_then(Value::as_boolean).ok_or(BAD);
    let text = |key| {
        let text = item.get(key).and_then(Value::as_string).filter(|t| !t.is_empty() && t.len() <= 255);
        text.map(str::to_owned).ok_or(BAD)
    };
    if matches!(name, "Bluetooth" | "DeviceName" | "TimeZone") && !own.handset.supervised {
        return Err((code::INVALID_REQUEST_TYPE, "The setting isn't valid on a device without supervision."));
    }
    match name {
        "Bluetooth" => drop(enabled()?),
        "ApplicationConfiguration" | "ApplicationAttributes" => {
            super::apps::set(life, name, &text("Identifier")?, item).map_err(|()| BAD)?;
        }
        "DataRoaming" => life.roaming = Some(enabled()?),
        "VoiceRoaming" => life.voice_roaming = Some(enabled()?),
        "PersonalHotspot" => life.hotspot = Some(enabled()?),
        "DeviceName" => life.device_name = Some(text("DeviceName")?),
        "TimeZone" => life.time_zone = Some(text("TimeZone")?),
        _ => return Err((code::NOT_AUTHORIZED, "The setting isn't available on this device.")),
    }
    Ok(())
}
