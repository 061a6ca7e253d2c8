//! `DeviceInformation` and `SecurityInfo`.

use super::{Life, Own, Reply};
use crate::dice::Dice;
use crate::handset::{Handset, Line};
use crate::numbers;
use crate::report::dict;
use model::TimeMs;
use model::clock::{DAY_MS, MINUTE_MS};
use plist::{Dictionary, Value};
use std::time::{Duration, UNIX_EPOCH};

/// How many queries are looked at; Apple knows some eighty.
const MAX_QUERIES: usize = 256;

pub(super) fn information(own: &Own<'_>, life: &Life, command: &Dictionary) -> Reply {
    let Some(queries) = command.get("Queries").and_then(Value::as_array) else {
        return Reply::malformed("Queries is missing.");
    };
    let mut responses = Dictionary::new();
    for query in queries.iter().take(MAX_QUERIES).filter_map(Value::as_string) {
        if let Some(value) = property(own, life, query) {
            responses.insert(query.to_owned(), value);
        }
    }
    Reply::done(dict([("QueryResponses", Value::Dictionary(responses))]))
}

/// One property; None for what this phone doesn't know or doesn't tell.
fn property(own: &Own<'_>, life: &Life, name: &str) -> Option<Value> {
    let phone = own.handset;
    let [backup, store, analytics, diagnostics, roaming] = phone.switches;
    let line = phone.lines.first()?;
    Some(match name {
        "UDID" => phone.udid.as_str().into(),
        "DeviceName" => life.device_name.as_deref().unwrap_or(&phone.device_name).into(),
        "OSVersion" => phone.os_version.into(),
        "BuildVersion" => phone.build_version.into(),
        "SupplementalBuildVersion" if phone.os_major >= 16 => phone.build_version.into(),
        "SupplementalOSVersionExtra" if phone.os_major >= 16 => "".into(),
        "ModelName" => "iPhone".into(),
        "Model" => phone.model.as_str().into(),
        "ModelNumber" if phone.os_major >= 18 => phone.model.as_str().into(),
        "ProductName" => phone.product_name.into(),
        "SerialNumber" => phone.serial.as_str().into(),
        "DeviceCapacity" => phone.capacity_gb.into(),
        "AvailableDeviceCapacity" => phone.available_gb.into(),
        "BatteryLevel" => battery(phone, life).into(),
        "CellularTechnology" => if line.eid.is_some() { 1i64 } else { 3 }.into(),
        "ModemFirmwareVersion" => phone.modem.as_str().into(),
        "IsSupervised" => phone.supervised.into(),
        "IsMultiUser" | "IsNetworkTethered" | "AwaitingConfiguration" => false.into(),
        "IsDeviceLocatorServiceEnabled" => phone.locator.into(),
        "IsActivationLockEnabled" => (phone.locator && !phone.supervised).into(),
        "IsDoNotDisturbInEffect" => (life.drained % 5 == 4).into(),
        "IsMDMLostModeEnabled" => life.lost_mode.into(),
        "IsCloudBackupEnabled" => backup.into(),
        "LastCloudBackupDate" if backup => Value::Date(backup_date(own)),
        "EASDeviceIdentifier" => Dice::of(own.seed, own.index, 5).digits(26).into(),
        "iTunesStoreAccountIsActive" => store.into(),
        "iTunesStoreAccountHash" if store => account_hash(own).into(),
        "AppAnalyticsEnabled" => analytics.into(),
        "DiagnosticSubmissionEnabled" => diagnostics.into(),
        "TimeZone" => life.time_zone.as_deref().unwrap_or(phone.time_zone).into(),
        "WiFiMAC" => phone.wifi_mac.as_str().into(),
        "BluetoothMAC" => phone.bluetooth_mac.as_str().into(),
        "DataRoamingEnabled" => life.roaming.unwrap_or(roaming).into(),
        "VoiceRoamingEnabled" => life.voice_roaming.unwrap_or(false).into(),
        "PersonalHotspotEnabled" => life.hotspot.unwrap_or(roaming && analytics).into(),
        "SoftwareUpdateDeviceID" => phone.product_name.into(),
        "ServiceSubscriptions" => Value::Array(
            phone.lines.iter().enumerate().map(|(i, line)| subscription(phone, line, i == 0)).collect(),
        ),
        // Since iOS 16 these stand in ServiceSubscriptions alone.
        "IMEI" if phone.os_major < 16 => numbers::spaced(&line.imei).into(),
        "MEID" if phone.os_major < 16 => line.meid.as_str().into(),
        "ICCID" if phone.os_major < 16 => line.iccid.as_str().into(),
        "PhoneNumber" if phone.os_major < 16 => line.phone_number.as_str().into(),
        "IsRoaming" if phone.os_major < 16 => false.into(),
        "CurrentCarrierNetwork" | "SubscriberCarrierNetwork" if phone.os_major < 16 => line.carrier.into(),
        "CurrentMCC" | "SubscriberMCC" if phone.os_major < 16 => "234".into(),
        "CurrentMNC" | "SubscriberMNC" if phone.os_major < 16 => line.mnc.into(),
        _ => return None,
    })
}

fn battery(phone: &Handset, life: &Life) -> f64 {
    let level = phone.battery - f64::from(life.drained) / 100.0;
    // Charged again once it ran low; two decimals as phones report them.
    ((if level < 0.05 { level + 0.9 } else { level }) * 100.0).round() / 100.0
}

/// Some night of the last three weeks.
fn backup_date(own: &Own<'_>) -> plist::Date {
    let mut dice = Dice::of(own.seed, own.index, 6);
    let (days, minutes) = (1 + dice.below(21), dice.below(6 * 60));
    let today = own.now_ms.div_euclid(DAY_MS);
    let at_ms = (today * DAY_MS).saturating_sub_unsigned(days * DAY_MS.unsigned_abs());
    date(at_ms.saturating_add_unsigned(minutes * MINUTE_MS.unsigned_abs()))
}

/// In whole seconds, as phones tell time.
pub(super) fn date(at_ms: TimeMs) -> plist::Date {
    let since = Duration::from_secs(u64::try_from(at_ms / 1000).unwrap_or(0));
    plist::Date::from(UNIX_EPOCH + since)
}

fn account_hash(own: &Own<'_>) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(Dice::of(own.seed, own.index, 7).bytes::<20>())
}

fn subscription(phone: &Handset, line: &Line, first: bool) -> Value {
    let mut item = dict([
        ("CarrierSettingsVersion", "62.0".into()),
        ("CurrentCarrierNetwork", line.carrier.into()),
        ("CurrentMCC", "234".into()),
        ("CurrentMNC", line.mnc.into()),
        ("ICCID", line.iccid.as_str().into()),
        ("IMEI", numbers::spaced(&line.imei).into()),
        ("IsDataPreferred", first.into()),
        ("IsRoaming", false.into()),
        ("IsVoicePreferred", first.into()),
        ("Label", if first { "Primary" } else { "Secondary" }.into()),
        (
            "LabelID",
            if first {
                "00000000-0000-0000-0000-000000000001"
            } else {
                "00000000-0000-0000-0000-000000000002"
            }
            .into(),
        ),
        ("MEID", line.meid.as_str().into()),
        ("PhoneNumber", line.phone_number.as_str().into()),
        ("Slot", line.slot.into()),
    ]);
    if let Some(eid) = &line.eid {
        item.insert("EID".to_owned(), eid.as_str().into());
    }
    if phone.os_major >= 16 {
        item.insert("SubscriberCarrierNetwork".to_owned(), line.carrier.into());
    }
    Value::Dictionary(item)
}

pub(super) fn security(life: &Life) -> Reply {
    let restricted = life
        .profiles
        .iter()
        .any(|p| p.payloads.iter().any(|(kind, _, _)| kind == "com.apple.mobiledevice.passwordpolicy"));
    let mut info = dict([
        ("HardwareEncryptionCaps", 3i64.into()),
        ("PasscodePresent", life.passcode.into()),
        // Without a policy no passcode is compliant too.
        ("PasscodeCompliant", (life.passcode || !restricted).into()),
        ("PasscodeCompliantWithProfiles", (life.passcode || !restricted).into()),
        ("PasscodeLockGracePeriod", 0i64.into()),
        ("PasscodeLockGracePeriodEnforced", 0i64.into()),
        ("AutoLockTime", 120i64.into()),
    ]);
    let status = dict([("IsUserEnrollment", false.into())]);
    info.insert("ManagementStatus".to_owned(), Value::Dictionary(status));
    Reply::done(dict([("SecurityInfo", Value::Dictionary(info))]))
}

/// The Activation Lock bypass code, as Apple writes it: six groups of letters and digits.
pub(super) fn bypass_code(own: &Own<'_>, life: &Life) -> Reply {
    const LETTERS: &[u8; 32] = b"0123456789ACDEFGHJKLMNPQRTUVWXYZ";
    let mut dice = Dice::of(own.seed, own.index, 500 + u64::from(life.bypass_code));
    let mut letter = || {
        let at = usize::try_from(dice.below(32)).unwrap_or(0);
        LETTERS.get(at).map_or('0', |l| char::from(*l))
    };
    let mut group = |n: usize| (0..n).map(|_| letter()).collect::<String>();
    let code = [5, 5, 4, 4, 4, 4].map(&mut group).join("-");
    Reply::done(dict([("ActivationLockBypassCode", code.into())]))
}

/// What restrictions hold: none that a profile brought.
pub(super) fn restrictions() -> Reply {
    let value = |b: bool| Value::Dictionary(dict([("value", b.into())]));
    let bools = dict([("allowCamera", value(true)), ("allowScreenShot", value(true))]);
    let all = dict([("restrictedBool", Value::Dictionary(bools))]);
    Reply::done(dict([
        ("GlobalRestrictions", Value::Dictionary(all)),
        ("ProfileRestrictions", Value::Dictionary(Dictionary::new())),
    ]))
}
