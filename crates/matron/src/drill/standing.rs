//! Standing orders that install, for an intruder in core to go beyond; what they did is counted by the vault's ledger.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use ledger::{Body, Entry, LedgerError};
use model::clock::{DAY_MS, HOUR_MS};
use model::{
    Clock, Condition, DeviceGroupDefinition, DeviceGroupId, DeviceGroupName, DeviceGroupRule, Group, Join,
    OrderId, ProfileId, StandingInstall, StandingTemplate, SystemClock,
};
use order::{OrderKind, SaveSecrets, SavedAnswer, ShownVersion, encode};
use serde_json::Value;

use crate::bench::admin::Admin;

/// How many phones an hour the one does that reaches the drill's phones.
const CAP: u32 = 2;
const DEVICE_GROUP: DeviceGroupId = DeviceGroupId([0x33; 16]);

/// Two of them: one for the home group of the drill's phones, one for another group. The house itself does nothing under
/// either, since their device group holds nobody.
pub(super) struct Installing {
    in_reach: OrderId,
    out_of_reach: OrderId,
}

/// What the vault did under them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Acts {
    pub(super) within: u64,
    /// More than the cap in an hour, or on phones that are in another group.
    pub(super) beyond: u64,
}

/// A network of this name. It is mild.
fn wifi(identifier: &str) -> Vec<u8> {
    format!(
        "<plist version=\"1.0\"><dict><key>PayloadType</key><string>Configuration</string>\
         <key>PayloadVersion</key><integer>1</integer><key>PayloadUUID</key><string>A0</string>\
         <key>PayloadIdentifier</key><string>{identifier}</string><key>PayloadContent</key><array><dict>\
         <key>PayloadType</key><string>com.apple.wifi.managed</string><key>PayloadVersion</key><integer>1</integer>\
         <key>PayloadUUID</key><string>B0</string><key>PayloadIdentifier</key><string>{identifier}.1</string>\
         <key>SSID_STR</key><string>Example Ward</string><key>EncryptionType</key><string>WPA2</string>\
         <key>AutoJoin</key><true/><key>Password</key><string>a made up one</string></dict></array></dict></plist>"
    )
    .into_bytes()
}

fn order_of(said: &Value) -> Result<OrderId> {
    let id = said["order"].as_str().context("an order's answer without its id")?;
    id.parse().map_err(|e| anyhow::anyhow!("an order's id: {e}"))
}

impl Installing {
    /// While there is one administrator, who signs alone.
    pub(super) async fn make(admin: &Admin) -> Result<Self> {
        let name = DeviceGroupName::new("Nobody").context("a device group's name")?;
        let conditions = vec![Condition::HomeGroups(vec![Group::new("nobody")?])];
        let definition = DeviceGroupDefinition::Rule(DeviceGroupRule { join: Join::All, conditions });
        let kind = OrderKind::SaveDeviceGroup {
            group: DEVICE_GROUP,
            replaces: None,
            name: name.clone(),
            definition,
        };
        admin.order(kind, vec![], None).await?;
        // Another one lies beside it, to be tried in its place.
        save(admin, 0x78, "org.example.drill-other").await?;
        let (profile, identifier, shown) = save(admin, 0x77, "org.example.drill").await?;
        let install = |home: &str| -> Result<StandingTemplate> {
            let install = StandingInstall {
                profile,
                version: 1,
                identifier: identifier.clone(),
                shown: shown.digest(),
                device_group: DEVICE_GROUP,
                name: name.clone(),
                home: Some(Group::new(home)?),
            };
            Ok(StandingTemplate::InstallSaved { install: Box::new(install) })
        };
        let make = async |template| {
            let expires_at_ms = SystemClock.now_ms() + 20 * DAY_MS;
            let kind = OrderKind::MakeStanding { template, cap_an_hour: CAP, expires_at_ms };
            order_of(&admin.order(kind, vec![], None).await?.0)
        };
        Ok(Self {
            in_reach: make(install("bench")?).await?,
            out_of_reach: make(install("elsewhere")?).await?,
        })
    }

    /// What the vault's ledger has of them, up to now.
    pub(super) fn acts(&self, vault_dir: &Path) -> Result<Acts> {
        let mut by_hour: BTreeMap<i64, u64> = BTreeMap::new();
        let mut acts = Acts::default();
        ledger::scan(vault_dir, |scanned| -> Result<(), LedgerError> {
            let Ok(entry) = Entry::decode(scanned.bytes) else { return Ok(()) };
            match entry.body {
                Body::StandingUsed { standing, .. } if standing == self.in_reach => {
                    *by_hour.entry(entry.at_ms.div_euclid(HOUR_MS)).or_default() += 1;
                }
                Body::StandingUsed { standing, .. } if standing == self.out_of_reach => acts.beyond += 1,
                _ => {}
            }
            Ok(())
        })?;
        for n in by_hour.into_values() {
            let within = n.min(u64::from(CAP));
            acts.within += within;
            acts.beyond += n - within;
        }
        Ok(acts)
    }
}

async fn save(admin: &Admin, n: u8, identifier: &str) -> Result<(ProfileId, String, ShownVersion)> {
    let profile = ProfileId([n; 16]);
    let secrets = encode(&SaveSecrets { profile: wifi(identifier), salt: vec![n; 32] });
    let (said, answer) = admin.order(OrderKind::SaveProfile { profile }, vec![], Some(&secrets)).await?;
    let saved: SavedAnswer = order::decode(&answer)?;
    if !saved.because.is_empty() {
        bail!("the drill's profile counts as erasure: {}", saved.because.join(", "));
    }
    let shown =
        ShownVersion { saved_by: order_of(&said)?, outline: saved.outline, erasing: false, because: vec![] };
    Ok((profile, identifier.to_owned(), shown))
}
