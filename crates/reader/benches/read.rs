//! What a body costs the reader, from the door's request to the encoded reply, without the pair.

// Tests may fail loudly; clippy knows as tests only what stands under #[test].
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;

use divan::Bencher;
use house::{House, PHONE, UDID, plist, texts};
use model::SystemClock;
use reader::Desk;
use rpc::proto::read_request::What;
use rpc::proto::{DeviceBody, ReadRequest, read_reply};

#[path = "../tests/house/mod.rs"]
mod house;

fn main() {
    divan::main();
}

fn read(bencher: Bencher<'_, '_>, body: String) {
    let house = House::new();
    let desk = Desk::open(&house.config, Arc::new(SystemClock)).unwrap();
    let device = DeviceBody { body: body.into_bytes().into(), ..DeviceBody::default() };
    let enrolment = PHONE.0.to_vec().into();
    let request = ReadRequest { call: 1, enrolment, what: Some(What::Device(device)) };
    assert!(matches!(desk.answer(&request).what, Some(read_reply::What::Observed(_))));
    bencher.bench_local(|| desk.answer(&request));
}

#[divan::bench]
fn idle(bencher: Bencher<'_, '_>) {
    read(bencher, plist(&texts(&[("Status", "Idle"), ("UDID", UDID)])));
}

fn acknowledged(inside: &str) -> String {
    let head =
        [("Status", "Acknowledged"), ("UDID", UDID), ("CommandUUID", "01020304-0506-0708-090A-0B0C0D0E0F10")];
    plist(&(texts(&head) + inside))
}

/// As an iPhone with two SIMs answers to all that Matron asks.
#[divan::bench]
fn device_information(bencher: Bencher<'_, '_>) {
    let sim = texts(&[
        ("CarrierSettingsVersion", "61.0"),
        ("CurrentCarrierNetwork", "Example Mobile"),
        ("CurrentMCC", "234"),
        ("CurrentMNC", "00"),
        ("ICCID", "8944 0000 0000 0000 001"),
        ("IMEI", "35 000000 000000 6"),
        ("Label", "Primary"),
        ("LabelID", "00000000-0000-4000-8000-000000000001"),
        ("PhoneNumber", "+447700900123"),
        ("Slot", "CTSubscriptionSlotOne"),
    ]) + "<key>IsDataPreferred</key><true/><key>IsRoaming</key><false/><key>IsVoicePreferred</key><true/>";
    let inside = texts(&[
        ("BluetoothMAC", "00:00:5e:00:53:01"),
        ("BuildVersion", "23B85"),
        ("DeviceName", "Ward phone"),
        ("EASDeviceIdentifier", "MADEUP0001"),
        ("Model", "MYD83"),
        ("ModelName", "iPhone"),
        ("ModemFirmwareVersion", "1.00.00"),
        ("OSVersion", "26.1"),
        ("ProductName", "iPhone17,1"),
        ("SerialNumber", "MATRON0001"),
        ("TimeZone", "Europe/London"),
        ("UDID", UDID),
        ("WiFiMAC", "00:00:5e:00:53:02"),
    ]) + &[
        "AppAnalyticsEnabled",
        "AwaitingConfiguration",
        "DataRoamingEnabled",
        "DiagnosticSubmissionEnabled",
        "IsActivationLockEnabled",
        "IsCloudBackupEnabled",
        "IsDeviceLocatorServiceEnabled",
        "IsDoNotDisturbInEffect",
        "IsMDMLostModeEnabled",
        "IsNetworkTethered",
        "IsSupervised",
        "PersonalHotspotEnabled",
    ]
    .map(|k| format!("<key>{k}</key><false/>"))
    .concat()
        + "<key>BatteryLevel</key><real>0.71</real><key>DeviceCapacity</key><real>128</real>\
           <key>AvailableDeviceCapacity</key><real>63.5</real><key>CellularTechnology</key><integer>3</integer>\
           <key>LastCloudBackupDate</key><date>2026-11-24T08:15:00Z</date>";
    let sims = format!("<key>ServiceSubscriptions</key><array><dict>{sim}</dict><dict>{sim}</dict></array>");
    read(bencher, acknowledged(&format!("<key>QueryResponses</key><dict>{inside}{sims}</dict>")));
}

#[divan::bench]
fn installed_applications_100(bencher: Bencher<'_, '_>) {
    let apps: String = (0..100)
        .map(|n| {
            let id = format!("org.example.ward.app{n}");
            let texts = texts(&[("Identifier", id.as_str()), ("Name", "Ward app"), ("Version", "7"), ("ShortVersion", "1.2")]);
            format!("<dict>{texts}<key>BundleSize</key><integer>1000000</integer><key>DynamicSize</key><integer>{n}</integer></dict>")
        })
        .collect();
    read(bencher, acknowledged(&format!("<key>InstalledApplicationList</key><array>{apps}</array>")));
}
