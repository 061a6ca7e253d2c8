//! What needs no room: a stolen session, a stolen backup, a stolen disk.

use std::collections::{BTreeSet, HashSet};
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use model::{
    Clock, Command as Ordered, CommandSecrets, Duty, EnrolmentId, Limit, Role, SystemClock, Whose, Window,
};
use order::limits::Limits;
use order::{OrderKind, encode};
use serde_json::{Value, json};
use tokio::process::Command;

use super::occupy::{Loot, rob};
use super::report::RoomReport;
use super::rooms::{Scene, covered};
use super::{ScratchFolder, Taking};
use crate::bench::admin::Admin;
use crate::config::RootKey;
use crate::serve::drilled::Drilled;

/// What the stolen session's grant pays for.
const RECORDS: u32 = 6;

/// The vault signs a checkpoint once a second at most.
const CHECKPOINT: Duration = Duration::from_secs(2);

/// Adds an attempt to a tally.
fn tally(report: &mut RoomReport, name: &str, got: bool, by: &str) {
    let t = report.attempts.entry(name.to_owned()).or_default();
    t.tried += 1;
    if got {
        t.got += 1;
    } else {
        *t.refused_by.entry(by.to_owned()).or_default() += 1;
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from).with_context(|| format!("{}", from.display()))? {
        let (entry, path) = entry.map(|e| (e.file_name(), e.path()))?;
        let kind = path.symlink_metadata()?;
        if kind.is_dir() {
            copy(&path, &to.join(entry))?;
        } else if kind.is_file() {
            std::fs::copy(&path, to.join(entry)).with_context(|| format!("{}", path.display()))?;
        }
    }
    Ok(())
}

impl Scene<'_> {
    /// Whoever has an administrator's bearer secret, and no key, uses the API as the browser would.
    pub(super) async fn steal_a_session(&mut self) -> Result<RoomReport> {
        let mut report = RoomReport::of(Taking::Session, self.fleet.truth.len() as u64);
        let from = self.ledger_since(0)?.entries;
        let mut victim = self.admins.pop().context("there is no administrator")?;
        victim.sign_in_for(RECORDS, 0, covered()).await?;
        report.records_paid_for = u64::from(RECORDS);
        let mut read: BTreeSet<EnrolmentId> = BTreeSet::new();
        let nobody = HashSet::new();
        let mut seen = String::new();
        // Names, one by one: a page at a time the grant would be refused whole.
        let (mut cursor, mut refused) = (String::new(), 0);
        while refused < 5 {
            let path = format!("/api/v1/devices?names=true&limit=1{cursor}");
            match victim.call("GET", &path, None).await {
                Ok(page) => {
                    for item in page.get("items").and_then(Value::as_array).into_iter().flatten() {
                        let text = |key: &str| item.get(key).and_then(Value::as_str);
                        let phone = text("enrolment").and_then(|e| e.parse().ok());
                        read.extend(self.fleet.truth.shown(
                            phone,
                            text("holder").unwrap_or_default(),
                            &nobody,
                        ));
                    }
                    tally(&mut report, "open a name within the grant", true, "");
                    let next = page.get("next_cursor").and_then(Value::as_str);
                    cursor = next.map(|c| format!("&cursor={c}")).unwrap_or_default();
                }
                Err(_) => {
                    refused += 1;
                    tally(&mut report, "open a name beyond the grant", false, "the vault, by core");
                    cursor = String::new();
                }
            }
        }
        // All that can be looked at without opening.
        let mut paths: Vec<String> = [
            "devices?limit=200",
            "people",
            "orders?limit=200",
            "commands?limit=200",
            "ledger?limit=200",
            "invitations",
            "roles",
            "certificates",
            "health",
        ]
        .map(|p| format!("/api/v1/{p}"))
        .into();
        let phones = self.fleet.truth.enrolments();
        paths.extend(phones.iter().take(50).map(|e| format!("/api/v1/devices/{e}")));
        for path in paths {
            // An answer that did not come shows nothing, and proves nothing.
            let got = victim.text(&path).await?;
            let shown = self.fleet.truth.shown(None, &got, &nobody).len();
            tally(&mut report, "find a name or number among what is shown", shown > 0, "masks and seals");
            seen.push_str(&got);
        }
        read.extend(self.fleet.truth.shown(None, &seen, &nobody));
        // What changes anything takes a key.
        for body in [
            json!({ "signed_order": "" }),
            json!({ "signed_order": "oA==" }),
            json!({ "kind": "EraseDevice", "targets": phones }),
        ] {
            let got = victim.call("POST", "/api/v1/orders", Some(&body)).await.is_ok();
            tally(&mut report, "order a phone erased without a key", got, "core (it is no order)");
        }
        let queries = json!({ "queries": ["EraseDevice", "DeviceLock"], "targets": phones });
        let got = victim.call("POST", "/api/v1/queries", Some(&queries)).await.is_ok();
        tally(&mut report, "wipe a phone by a query", got, "core (it is none)");
        let before = self.fleet.wiped();
        let all = self.fleet.truth.len();
        self.fleet.sweep(all).await?;
        report.phones_wiped = self.fleet.wiped() - before;
        report.phones_connected = all as u64;
        self.steal_the_key(&victim, &mut report).await?;
        self.admins.push(victim);
        let since = self.ledger_since(from)?;
        report.records_read = read.len() as u64;
        report.ledger_entries = since.entries;
        report.records_in_ledger = since.opened.len() as u64;
        Ok(report)
    }

    /// With the signing key too the thief orders phones erased, one by one, with the right names, until no order is
    /// accepted; then several at once.
    async fn steal_the_key(&mut self, victim: &Admin, report: &mut RoomReport) -> Result<()> {
        let whose = Whose::Person(Role::Administrator);
        let an_hour = Limit::Budget { duty: Duty::Erase, whose, window: Window::Hour };
        report.phones_paid_for = u64::from(Limits::default().get(&an_hour));
        let phones = self.fleet.at_home(12);
        let name = "erase a phone with the stolen key within its budget";
        let kind = || OrderKind::Command {
            command: Ordered::EraseDevice { preserve_data_plan: false, disallow_proximity_setup: false },
        };
        let mut targets: Vec<Vec<EnrolmentId>> = phones.iter().map(|p| vec![*p]).collect();
        targets.push(phones.clone());
        for some in targets {
            let holder_name = some.first().and_then(|p| self.fleet.truth.holder_of(p)).map(str::to_owned);
            let secrets = encode(&CommandSecrets { holder_name, ..CommandSecrets::default() });
            let several = some.len() > 1;
            let done = victim.order(kind(), some, Some(&secrets)).await.is_ok();
            let name =
                if done && !several { name } else { "erase phones with the stolen key beyond its budget" };
            tally(report, name, done, "the vault");
        }
        let before = self.fleet.wiped();
        let all = self.fleet.truth.len();
        self.fleet.sweep(all).await?;
        report.phones_wiped_by_key = self.fleet.wiped() - before;
        report.notes.push(format!(
            "with the signing key too: {} phones, of {} that it may an hour",
            report.phones_wiped_by_key, report.phones_paid_for
        ));
        Ok(())
    }

    /// A backup in the hands of someone without an identity for it.
    pub(super) async fn steal_a_backup(&mut self) -> Result<RoomReport> {
        let mut report = RoomReport::of(Taking::Backup, self.fleet.truth.len() as u64);
        let from = self.ledger_since(0)?.entries;
        let shelf = self.folder.path().join("shelf");
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["backup", "--json", "--data"]).arg(self.house.data()).arg("--to").arg(&shelf);
        for pair in &self.set {
            command.args(["--set", pair]);
        }
        let made = command.output().await?;
        if !made.status.success() {
            bail!("the backup: {}", String::from_utf8_lossy(&made.stderr).trim());
        }
        let loot = rob(&self.intruder, &shelf, &self.fleet.truth).await?;
        self.count_stolen(&mut report, loot, &shelf)?;
        report.ledger_entries = self.ledger_since(from)?.entries;
        Ok(report)
    }

    /// The data folder in a thief's hands; then what can be done with a copy by someone who has the root key too: an
    /// older ledger put back, and a second vault.
    pub(super) async fn steal_the_disk(&mut self) -> Result<RoomReport> {
        let mut report = RoomReport::of(Taking::Disk, self.fleet.truth.len() as u64);
        let from = self.ledger_since(0)?.entries;
        self.house.stop()?;
        let stolen = self.folder.path().join("stolen");
        copy(self.house.data(), &stolen)?;
        let loot = rob(&self.intruder, &stolen, &self.fleet.truth).await?;
        self.count_stolen(&mut report, loot, &stolen)?;
        let parent = self.folder.path();
        let twin = ScratchFolder::make(parent)?;
        copy(self.house.data(), &twin.data())?;
        // The house goes on, and is witnessed.
        self.start(None).await?;
        self.come_back().await?;
        self.begin_session().await.context("the house goes on")?;
        if self.witness(&self.house.data().join("rooms/vault/tree")).await? {
            bail!("the witness alarms about a house that nobody touched");
        }
        self.house.stop()?;
        self.second_vault(&mut report, &twin).await?;
        self.older_ledger(&mut report).await?;
        report.ledger_entries = self.ledger_since(from).map(|s| s.entries).unwrap_or_default();
        report.notes.push(match self.house.config.vault.root_key {
            RootKey::File => "the root key lies beside the data".to_owned(),
            RootKey::Credential | RootKey::Pkcs11 => {
                "the root key is elsewhere; with it, everything".to_owned()
            }
        });
        Ok(report)
    }

    /// Somebody signs in, which the ledger notes, and its checkpoint follows.
    async fn begin_session(&mut self) -> Result<()> {
        let admin = self.admins.first_mut().context("there is no administrator")?;
        admin.sign_in_for(1, 0, covered()).await?;
        tokio::time::sleep(CHECKPOINT).await;
        Ok(())
    }

    /// A second vault is started on a copy, and writes a history of its own.
    async fn second_vault(&mut self, report: &mut RoomReport, twin: &ScratchFolder) -> Result<()> {
        // What stands there is for the next one.
        let kept = self.folder.path().join("twin");
        copy(&twin.data(), &kept)?;
        self.start(Some(twin)).await?;
        self.begin_session().await.context("the second vault")?;
        let alarmed = self.witness(&twin.data().join("rooms/vault/tree")).await?;
        self.house.stop()?;
        tally(report, "have a second vault on a copied disk taken for the first", !alarmed, "the witness");
        Ok(())
    }

    /// The vault's folder of yesterday in the place of today's, so that what was spent is there again.
    async fn older_ledger(&mut self, report: &mut RoomReport) -> Result<()> {
        let vault = self.folder.data().join("rooms/vault");
        std::fs::rename(&vault, self.folder.path().join("vault.newest"))?;
        copy(&self.folder.path().join("twin/rooms/vault"), &vault)?;
        let since_ms = SystemClock.now_ms();
        self.start(None).await?;
        report.alarm_ms = self.hooks.after(since_ms, &["ledger_older"]).await;
        let spent = self.begin_session().await.is_ok();
        tally(report, "have what was spent back by an older ledger", spent, "core (the ledger went back)");
        let alarmed = self.witness(&vault.join("tree")).await?;
        tally(report, "have an older ledger taken for the newest", !alarmed, "the witness");
        if report.alarm_ms.is_none() {
            report.broken.push("an older ledger raised no alarm".into());
        }
        self.house.stop()
    }

    /// Starts the house again at its addresses, or one on a copied disk.
    async fn start(&mut self, twin: Option<&ScratchFolder>) -> Result<()> {
        let (phones, administrators) = (self.house.phones, self.house.administrators);
        let listen = |at| TcpListener::bind(at).with_context(|| format!("the address {at}"));
        let folder = twin.unwrap_or(self.folder);
        // It waits for its rooms on this thread.
        self.house = Drilled::start(folder, self.set.clone(), listen(phones)?, listen(administrators)?)?;
        Ok(())
    }

    /// Has a witness that remembers look at a ledger's tree; gives whether it alarms.
    async fn witness(&self, tree: &Path) -> Result<bool> {
        let root = std::fs::read(self.folder.data().join("rooms/core/root.pub"))?;
        let root: String = root.iter().map(|b| format!("{b:02x}")).collect();
        let looked = Command::new(std::env::current_exe()?)
            .args(["witness", "--once", "--name", "witness.example.org/drill", "--log", &root, "--state"])
            .arg(self.folder.path().join("witness"))
            .arg("--from")
            .arg(tree)
            .output()
            .await?;
        match looked.status.code() {
            Some(0) => Ok(false),
            Some(1) => Ok(true),
            _ => bail!("the witness: {}", String::from_utf8_lossy(&looked.stderr).trim()),
        }
    }

    fn count_stolen(&self, report: &mut RoomReport, loot: Loot, folder: &Path) -> Result<()> {
        let mut read = loot.records(&self.fleet.truth);
        let (in_files, places) = self.fleet.truth.in_files(folder)?;
        read.extend(in_files);
        report.records_read = read.len() as u64;
        report.push_tokens_read = loot.push_tokens.len() as u64;
        report.attempts = loot.attempts;
        for file in super::truth::files_below(folder)? {
            let name = "find a name or number in a file";
            tally(report, name, places.contains(&file), "the seal");
        }
        Ok(())
    }
}
