//! `matron restore`: a house from a backup, in an empty data folder.
//!
//! Everything is made below `restore.unfinished`; `rooms` takes its name last. Killed anywhere before, there
//! is no house yet, and the next restore begins anew.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use backup::{Identities, MANIFEST_FILE, Manifest, PartMade};
use rpc::hsm::Make;
use serde_json::{Value, json};

use super::RestoreArgs;
use super::child::step;
use super::make::{private_folder, sync_folder, write_whole};
use super::place::give_to_owner_of;
use crate::cli::show;
use crate::config::{Config, RootKey};
use crate::rooms::{Room, Step};
use crate::root_key::Unlocking;

/// The configuration in the house's part.
pub(super) const CONFIGURATION: &str = "matron.toml";
/// Where it is put in the restored data folder, for whoever has lost their own.
const CONFIGURATION_RESTORED: &str = "matron.restored.toml";
const UNFINISHED: &str = "restore.unfinished";

/// What was restored.
pub(super) struct House {
    pub(super) manifest: Manifest,
    pub(super) vault: vault::Restored,
    /// A push certificate came with it.
    pub(super) push: bool,
    /// The configuration that was in force.
    pub(super) config: Config,
}

pub(super) fn restore(args: &RestoreArgs) -> Result<()> {
    let data = std::path::absolute(&args.data).context("the data folder")?;
    let house = into(&data, &args.backup, &args.identity, args.ledger.as_deref())?;
    let root_key = house.manifest.signed.root_key;
    let fingerprint = order::sha256(&root_key.0).to_string();
    let v = &house.vault;
    if args.json {
        let said = json!({
            "data": data, "made_at_ms": house.manifest.made_at_ms, "ledger_entries": v.entries,
            "phones": v.phones, "administrators": v.administrators, "confirmations": v.confirmations,
            "invitations_withdrawn": v.withdrawn, "root_key": root_key, "push_certificate": house.push,
        });
        return Ok(show::print_json(&said)?);
    }
    let mut text = format!(
        "Restored into {} from the backup of {}: {} phones, {} in the ledger.\n\
         Root key's fingerprint: {} (compare it with 'matron admin whoami' of an administrator; one of before\n\
         another root key is another one).\n\
         Sessions, API keys and open invitations ({}) of that time have ended.\n",
        data.display(),
        show::time(house.manifest.made_at_ms),
        v.phones,
        show::count(v.entries, "entry"),
        fingerprint.get(..16).unwrap_or_default(),
        v.withdrawn,
    );
    if house.push {
        text.push_str(&format!("The push certificate is {}.\n", data.join("push/push.pem").display()));
    }
    text.push_str(&format!(
        "The configuration of that time: {}.\n\n\
         Start it with 'matron serve'; never beside another copy of this house. Phones are served. Nothing is opened,\n\
         searched or commanded until {} of {} administrators confirm the restore: matron confirm-restore\n",
        data.join(CONFIGURATION_RESTORED).display(),
        v.confirmations,
        v.administrators,
    ));
    Ok(show::print(&text)?)
}

/// Makes a house of the backup in `data`, which must be empty.
pub(super) fn into(data: &Path, from: &Path, identity: &Path, newer: Option<&Path>) -> Result<House> {
    // All that can be refused without writing is refused first.
    let manifest = Manifest::read(from)?;
    let identities = Identities::read(identity)?;
    let made_data = !data.exists();
    private_folder(data)?;
    let Some(_held) = crate::serve::try_lock(data)? else {
        bail!("a Matron runs on {}; a restore needs an empty folder", data.display());
    };
    empty(data)?;
    let work = data.join(UNFINISHED);
    let restored = (|| {
        private_folder(&work)?;
        unpack(&work, from, &manifest, &identities)?;
        if let Some(newer) = newer {
            take_ledger(&work, newer)?;
        }
        let config = configuration(&work)?;
        let unlocking = Unlocking::open(&config, data, Make::No)?;
        let vault = settle(&config, &unlocking, &work, (&manifest, from))?;
        let push = commit(data, &work)?;
        Ok(House { manifest, vault, push, config })
    })();
    if restored.is_err() && !data.join("rooms").exists() {
        let _ = fs::remove_dir_all(&work);
        if made_data {
            let _ = fs::remove_file(data.join("lock"));
            let _ = fs::remove_dir(data);
        }
    }
    restored
}

/// Refuses a folder that holds anything but what a killed restore left, and removes that.
fn empty(data: &Path) -> Result<()> {
    let work = data.join(UNFINISHED);
    let interrupted = work.is_dir();
    // Of a killed restore: it had an empty folder, and puts these there last.
    let own = ["push", "ca.pem", CONFIGURATION_RESTORED];
    let mut found = Vec::new();
    for entry in fs::read_dir(data).with_context(|| format!("the data folder {}", data.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let left = interrupted && own.contains(&name.as_str()) && !work.join(&name).exists();
        if name == "lock" || name == UNFINISHED {
        } else if left {
            found.push(name);
        } else {
            bail!(
                "{}: '{name}' is there; a restore needs an empty data folder. Nothing was changed",
                data.display()
            );
        }
    }
    for name in found {
        let path = data.join(name);
        if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }
            .with_context(|| format!("{}", path.display()))?;
    }
    if interrupted {
        fs::remove_dir_all(&work).with_context(|| format!("{}", work.display()))?;
    }
    Ok(())
}

/// The folders of the parts below `work`, and which files each may hold.
fn unpack(work: &Path, from: &Path, manifest: &Manifest, identities: &Identities) -> Result<()> {
    for part in &manifest.parts {
        let room = work.join("rooms").join(&part.name);
        let kept = |files: &'static [&'static str]| {
            let room = room.clone();
            move |name: &str| files.contains(&name).then(|| room.join(name))
        };
        match part.name.as_str() {
            "house" => {
                let to = |name: &str| (name == CONFIGURATION).then(|| work.join(CONFIGURATION_RESTORED));
                one(from, part, identities, &to, &[CONFIGURATION])?;
            }
            "core" => one(from, part, identities, &kept(core_room::BACKED_UP), &["core.db", "root.pub"])?,
            "door" => one(from, part, identities, &kept(door::BACKED_UP), &["delivery.key", "ca.cert.der"])?,
            "reader" => one(from, part, identities, &kept(reader::BACKED_UP), &["ra.key", "sender.key"])?,
            "vault" => one(from, part, identities, &kept(vault::BACKED_UP), vault::BACKED_UP)?,
            _ => {
                let own = kept(courier::BACKED_UP);
                let to = |name: &str| {
                    let push = [courier::PUSH_CERTIFICATE, courier::PUSH_KEY].contains(&name);
                    if push { Some(work.join(name)) } else { own(name) }
                };
                one(from, part, identities, &to, &["push.key"])?;
            }
        }
        sync_folder(if room.is_dir() { &room } else { work })?;
    }
    Ok(())
}

fn one(
    from: &Path,
    part: &PartMade,
    identities: &Identities,
    to: &impl Fn(&str) -> Option<PathBuf>,
    needed: &[&str],
) -> Result<()> {
    let names = backup::unpack(from, part, identities, to)?;
    if let Some(missing) = needed.iter().find(|n| !names.iter().any(|have| have == *n)) {
        bail!("the part {} holds no {missing}; take another backup", part.name);
    }
    Ok(())
}

/// A newer ledger of the same house takes the place of the backup's. That it continues it, the vault's step
/// looks at.
fn take_ledger(work: &Path, newer: &Path) -> Result<()> {
    let vault = work.join("rooms/vault");
    let into = vault.join(ledger::FILE_NAME);
    fs::remove_file(&into).with_context(|| format!("{}", into.display()))?;
    let mut read = fs::File::open(newer).with_context(|| format!("the newer ledger {}", newer.display()))?;
    let mut written = super::make::new_file(&into)?;
    std::io::copy(&mut read, &mut written).and_then(|_| written.sync_all()).context("the newer ledger")?;
    sync_folder(&vault)
}

/// The configuration in the house's part.
///
/// A backup holds the keys without what they were wrapped under, and so does the restored house until its rooms
/// are first started: they are wrapped then, under what is configured where it runs.
fn configuration(work: &Path) -> Result<Config> {
    let text =
        fs::read_to_string(work.join(CONFIGURATION_RESTORED)).context("the configuration in the backup")?;
    let mut config: Config = toml::from_str(&text)
        .context("the configuration in the backup; restore it with the version of Matron that made it")?;
    // But for root key and CA on a token: no backup has those, and the vault needs them.
    if config.vault.root_key != RootKey::Pkcs11 {
        config.vault.root_key = RootKey::File;
    }
    Ok(config)
}

/// Database and ledger are looked at and take note that they were restored.
fn settle(
    config: &Config,
    unlocking: &Unlocking,
    work: &Path,
    (manifest, from): (&Manifest, &Path),
) -> Result<vault::Restored> {
    let rooms = work.join("rooms");
    let root = manifest.signed.root_key;
    let core = (Room::Core, Step::Restored);
    let said = step(config, unlocking, core, &rooms.join("core"), Value::Null)?;
    let followed: backup::Place = serde_json::from_str(&said)?;
    ensure!(
        Some(followed) == manifest.followed(),
        "the database followed the ledger to entry {}, the manifest says otherwise; take another backup",
        followed.entries
    );
    let said = vault::Restore {
        manifest: order::sha256(&fs::read(from.join(MANIFEST_FILE))?),
        made_at_ms: manifest.made_at_ms,
        ledger: manifest.ledger().context("the manifest")?,
        followed,
        root_key: root,
    };
    let vault = (Room::Vault, Step::Restored);
    let said = step(config, unlocking, vault, &rooms.join("vault"), serde_json::to_value(&said)?)?;
    let restored: vault::Restored = serde_json::from_str(&said)?;
    for room in Room::ALL.into_iter().filter(|r| *r != Room::Vault) {
        let pinned = fs::read(rooms.join(room.name()).join("root.pub")).unwrap_or_default();
        // One of before: the room had not followed yet when its part was made, and is led on at its start.
        ensure!(
            restored.roots.iter().any(|known| known.0 == *pinned),
            "the {} pinned another root key than the backup's; take another backup",
            room.name()
        );
    }
    Ok(restored)
}

/// Puts everything in its place; the rooms last. Answers whether a push certificate is there.
fn commit(data: &Path, work: &Path) -> Result<bool> {
    let ca = fs::read(work.join("rooms/door/ca.cert.der")).context("the CA's certificate")?;
    write_whole(&data.join("ca.pem"), pem::encode(&pem::Pem::new("CERTIFICATE", ca)).as_bytes())?;
    open_to_all(&data.join("ca.pem"))?;
    let push = work.join("push").is_dir();
    if push {
        fs::rename(work.join("push"), data.join("push")).context("the push certificate")?;
    }
    fs::rename(work.join(CONFIGURATION_RESTORED), data.join(CONFIGURATION_RESTORED))
        .context("the configuration")?;
    give_all(data, data)?;
    sync_folder(data)?;
    fs::rename(work.join("rooms"), data.join("rooms")).context("the rooms")?;
    sync_folder(data)?;
    let _ = fs::remove_dir_all(work);
    Ok(push)
}

fn open_to_all(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o644))?)
}

/// Where root restores for the user that Matron runs as: everything goes to the data folder's owner.
fn give_all(data: &Path, dir: &Path) -> Result<()> {
    if fs::metadata(data)?.uid() == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        give_to_owner_of(data, &path)?;
        if path.is_dir() {
            give_all(data, &path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restore_touches_no_folder_that_holds_anything_of_someone_elses() {
        let dir = tempfile::tempdir().unwrap();
        for there in ["rooms", "push", "ca.pem", "notes.txt"] {
            let data = dir.path().join(format!("with-{there}"));
            fs::create_dir_all(data.join(there)).unwrap();
            let refused = empty(&data).unwrap_err().to_string();
            assert!(refused.contains(there) && refused.contains("Nothing was changed"), "{refused}");
            assert!(data.join(there).exists());
        }
        // What a killed restore left is begun anew; what someone put beside it stays.
        let data = dir.path().join("interrupted");
        fs::create_dir_all(data.join(UNFINISHED).join("rooms")).unwrap();
        fs::create_dir_all(data.join("push")).unwrap();
        fs::write(data.join("lock"), "").unwrap();
        empty(&data).unwrap();
        assert!(!data.join(UNFINISHED).exists() && !data.join("push").exists() && data.join("lock").exists());
        fs::create_dir_all(data.join(UNFINISHED).join("push")).unwrap();
        fs::create_dir_all(data.join("push")).unwrap();
        assert!(empty(&data).unwrap_err().to_string().contains("push"));
    }
}
