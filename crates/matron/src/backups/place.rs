//! `matron backup`: asks the running supervisor by a file in the data folder, or makes the backup itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use backup::{MANIFEST_FILE, Manifest, Recipients};
use model::{Clock, SystemClock, TimeMs};
use rpc::hsm::Make;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::BackupArgs;
use super::make::{Name, make, private_folder, remove_unfinished, sync_folder, write_whole};
use crate::cli::show;
use crate::config::Config;
use crate::root_key::Unlocking;

/// In the data folder: what the supervisor is asked for. Whoever can write there may ask; to whom a backup is
/// encrypted the supervisor's own configuration says.
pub(crate) const REQUEST_FILE: &str = "backup.request";

/// In the data folder: when the last backup was made and where it went, for the doctor.
pub(crate) const LAST_FILE: &str = "backup.last";

/// How long the supervisor may take to take a request up: it looks every few seconds.
const TAKEN_UP: Duration = Duration::from_secs(30);
/// How often is looked whether it is there.
const LOOK: Duration = Duration::from_millis(100);

/// The request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    /// The backup's name.
    pub(crate) name: String,
}

/// The last backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Last {
    pub(crate) made_at_ms: TimeMs,
    pub(crate) backup: PathBuf,
}

/// Where backups are made.
pub(crate) fn backups_dir(data: &Path) -> PathBuf {
    data.join("backups")
}

/// Where the supervisor says why it made none.
pub(crate) fn failed_file(data: &Path, name: &Name) -> PathBuf {
    backups_dir(data).join(format!("{}.failed", name.as_str()))
}

pub(super) fn back_up(args: &BackupArgs) -> Result<()> {
    let config = Config::read(&args.place)?;
    Recipients::parse(&config.backup.recipients)?;
    let data = std::path::absolute(&args.place.data).context("the data folder")?;
    if !data.join("rooms").is_dir() {
        bail!("{}: there is no Matron in this folder", data.display());
    }
    let name = Name::at(SystemClock.now_ms())?;
    let made = match crate::serve::try_lock(&data)? {
        Some(_held) => {
            let unlocking = Unlocking::open(&config, &data, Make::No)?;
            let mut ask =
                |room, request: &_, out| super::child::part(&config, &unlocking, &data, (room, request), out);
            make(&config, &backups_dir(&data), &name, &mut ask)?
        }
        None => ask_the_running(&data, &name)?,
    };
    let manifest = Manifest::read(&made)?;
    if manifest.recipients != config.backup.recipients {
        eprintln!(
            "matron: it is encrypted to the recipients that Matron was started with; this configuration has \
             others: restart Matron and make another backup"
        );
    }
    let dir = args.to.as_deref().map_or_else(|| backups_dir(&data), Path::to_owned);
    let made = match &args.to {
        Some(to) => moved(&made, to, &name, &manifest)?,
        None => made,
    };
    let last = Last { made_at_ms: manifest.made_at_ms, backup: made.clone() };
    leave(&data, LAST_FILE, &serde_json::to_vec(&last)?)?;
    let removed = args.keep.map_or(Ok(0), |keep| keep_newest(&dir, keep))?;
    let bytes: u64 = manifest.parts.iter().map(|p| p.bytes).sum();
    let ledger = manifest.ledger().context("the manifest")?;
    if args.json {
        let said = json!({
            "backup": made, "made_at_ms": manifest.made_at_ms, "bytes": bytes, "ledger_entries": ledger.entries,
            "ledger_hash": ledger.hash, "removed": removed,
        });
        return Ok(show::print_json(&said)?);
    }
    let mut text = format!(
        "{}\n{} bytes, the ledger to its entry {}. Rehearse it: matron restore --rehearse --identity FILE {}\n",
        made.display(),
        bytes,
        ledger.entries,
        made.display(),
    );
    if removed > 0 {
        text.push_str(&format!("{removed} older ones were removed.\n"));
    }
    Ok(show::print(&text)?)
}

/// Leaves a request for the supervisor, and waits for what comes of it.
fn ask_the_running(data: &Path, name: &Name) -> Result<PathBuf> {
    let request = data.join(REQUEST_FILE);
    let wanted = serde_json::to_vec(&Wanted { name: name.as_str().to_owned() })?;
    leave(data, REQUEST_FILE, &wanted).with_context(|| {
        format!("{} can't be written; run this as the data folder's owner", request.display())
    })?;
    let (finished, failed) = (backups_dir(data).join(name.as_str()), failed_file(data, name));
    let begun = Instant::now();
    let mut looked = Instant::now();
    loop {
        if finished.join(MANIFEST_FILE).is_file() {
            return Ok(finished);
        }
        if let Ok(why) = fs::read_to_string(&failed) {
            let _ = fs::remove_file(&failed);
            bail!("the running Matron made no backup: {why}");
        }
        if begun.elapsed() > TAKEN_UP && request.exists() {
            let _ = fs::remove_file(&request);
            bail!(
                "the running Matron does not take up the request; does it run the same version, and on this folder?"
            );
        }
        if looked.elapsed() > Duration::from_secs(2) {
            looked = Instant::now();
            if crate::serve::try_lock(data)?.is_some() && !finished.exists() {
                let _ = fs::remove_file(&request);
                bail!("Matron stopped while the backup was made; make it again");
            }
        }
        std::thread::sleep(LOOK);
    }
}

/// Writes a file into the data folder, whole and its owner's from the moment when it has its name: root asks for
/// the user that Matron runs as, who may take it up at once.
fn leave(data: &Path, name: &str, content: &[u8]) -> Result<()> {
    let (path, unfinished) = (data.join(name), data.join(format!(".{name}.new")));
    let _ = fs::remove_file(&unfinished);
    write_whole(&unfinished, content)?;
    give_to_owner_of(data, &unfinished)?;
    fs::rename(&unfinished, &path).with_context(|| format!("{}", path.display()))?;
    sync_folder(data)
}

/// Gives a file that root wrote to the owner of `folder`.
pub(super) fn give_to_owner_of(folder: &Path, path: &Path) -> Result<()> {
    use std::os::unix::fs::{MetadataExt, chown};
    let look = |p: &Path| fs::metadata(p).with_context(|| format!("{}", p.display()));
    let (owner, now) = (look(folder)?, look(path)?);
    if (now.uid(), now.gid()) != (owner.uid(), owner.gid()) {
        chown(path, Some(owner.uid()), Some(owner.gid()))
            .with_context(|| format!("{} can't be given to the data folder's owner", path.display()))?;
    }
    Ok(())
}

/// Copies a backup into `to` and removes it where it was, once the copy is found whole.
fn moved(made: &Path, to: &Path, name: &Name, manifest: &Manifest) -> Result<PathBuf> {
    private_folder(to)?;
    remove_unfinished(to)?;
    let (unfinished, finished) = (to.join(name.unfinished()), to.join(name.as_str()));
    private_folder(&unfinished)?;
    let files = manifest.parts.iter().map(|p| backup::part_file(&p.name)).chain([MANIFEST_FILE.to_owned()]);
    for file in files {
        let (from, into) = (made.join(&file), unfinished.join(&file));
        let mut read = fs::File::open(&from).with_context(|| format!("{}", from.display()))?;
        let mut written = super::make::new_file(&into)?;
        std::io::copy(&mut read, &mut written).and_then(|_| written.sync_all()).with_context(|| {
            format!("{} can't be written; the backup stays in {}", into.display(), made.display())
        })?;
    }
    for part in &manifest.parts {
        backup::check(&unfinished, part)?;
    }
    sync_folder(&unfinished)?;
    fs::rename(&unfinished, &finished).with_context(|| format!("{}", finished.display()))?;
    sync_folder(to)?;
    fs::remove_dir_all(made).with_context(|| format!("{}", made.display()))?;
    Ok(finished)
}

/// Removes all whole backups in `dir` but the newest so many; answers how many.
fn keep_newest(dir: &Path, keep: u32) -> Result<usize> {
    let mut there: Vec<Name> = fs::read_dir(dir)?
        .flatten()
        .filter(|e| e.path().join(MANIFEST_FILE).is_file())
        .filter_map(|e| Name::read(e.file_name().to_str()?))
        .collect();
    there.sort();
    let old = there.len().saturating_sub(usize::try_from(keep).unwrap_or(usize::MAX));
    for name in there.iter().take(old) {
        // Out of sight first: half a removed backup must not look like one.
        let (path, unfinished) = (dir.join(name.as_str()), dir.join(name.unfinished()));
        fs::rename(&path, &unfinished)
            .and_then(|()| fs::remove_dir_all(&unfinished))
            .with_context(|| format!("{}", path.display()))?;
    }
    Ok(old)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_for_a_backup_names_no_recipient_and_no_folder() {
        let read = |text: &str| serde_json::from_str::<Wanted>(text).ok().and_then(|w| Name::read(&w.name));
        assert!(read(r#"{"name":"matron-20251128T010000Z"}"#).is_some());
        for other in [
            r#"{"name":"matron-20251128T010000Z","recipients":["age1made-up"]}"#,
            r#"{"name":"matron-20251128T010000Z","to":"/tmp"}"#,
            r#"{"name":"../../tmp/x"}"#,
            "{}",
        ] {
            assert!(read(other).is_none(), "{other}");
        }
    }

    #[test]
    fn the_newest_backups_are_kept_and_nothing_else_is_touched() {
        let dir = tempfile::tempdir().unwrap();
        for day in 1..=5 {
            let backup = dir.path().join(format!("matron-2025110{day}T010000Z"));
            fs::create_dir(&backup).unwrap();
            fs::write(backup.join(MANIFEST_FILE), "made up").unwrap();
        }
        // Not whole, and not ours.
        fs::create_dir(dir.path().join("matron-20251031T010000Z")).unwrap();
        fs::create_dir(dir.path().join("photographs")).unwrap();
        assert_eq!(keep_newest(dir.path(), 2).unwrap(), 3);
        let mut names: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let kept =
            ["matron-20251031T010000Z", "matron-20251104T010000Z", "matron-20251105T010000Z", "photographs"];
        assert_eq!(names, kept);
        assert_eq!(keep_newest(dir.path(), 9).unwrap(), 0);
    }
}
