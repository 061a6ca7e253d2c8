//! Putting a backup together: a part a room, the vault's last, then the manifest, then its name.
//!
//! Until the rename at the end the folder begins with a dot, and the manifest in it is the last file that
//! is written: whatever is killed or torn before leaves nothing that looks like a backup.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use backup::{
    FORMAT, MANIFEST_FILE, Made, Manifest, PARTS, PartMade, PartWriter, Recipients, Request, part_file,
};
use clap::ValueEnum;
use model::{Clock, SystemClock, TimeMs};

use crate::config::Config;
use crate::rooms::Room;

/// A backup's name: `matron-` and the time in UTC.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name(String);

impl Name {
    pub(crate) fn at(at_ms: TimeMs) -> Result<Self> {
        Ok(Self(jiff::Timestamp::from_millisecond(at_ms)?.strftime("matron-%Y%m%dT%H%M%SZ").to_string()))
    }

    /// `None`: it is no such name.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let time = text.strip_prefix("matron-")?;
        let plain = time.len() == 16
            && time.bytes().enumerate().all(|(n, b)| match n {
                8 => b == b'T',
                15 => b == b'Z',
                _ => b.is_ascii_digit(),
            });
        plain.then(|| Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The folder before it is whole.
    pub(super) fn unfinished(&self) -> String {
        format!(".{}.unfinished", self.0)
    }
}

/// Makes a folder for its owner alone, if it is not there.
pub(super) fn private_folder(dir: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("the folder {} can't be made", dir.display()))
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|d| d.sync_all()).with_context(|| format!("the folder {}", dir.display()))
}

/// A new file for its owner alone.
pub(super) fn new_file(path: &Path) -> Result<File> {
    let open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    open.with_context(|| format!("the file {} can't be made", path.display()))
}

/// Removes what backups that did not come to their end left in `dir`.
pub(super) fn remove_unfinished(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("the folder {}", dir.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(".matron-") && name.ends_with(".unfinished") {
            fs::remove_dir_all(entry.path()).with_context(|| format!("{}", entry.path().display()))?;
        }
    }
    Ok(())
}

/// Makes the backup `name` in `dir`. `ask` has a room write its part into the file and answer.
pub(crate) fn make(
    config: &Config,
    dir: &Path,
    name: &Name,
    ask: &mut dyn FnMut(Room, &Request, File) -> Result<Made>,
) -> Result<PathBuf> {
    let recipients = Recipients::parse(&config.backup.recipients)?;
    private_folder(dir)?;
    remove_unfinished(dir)?;
    let rooms = dir.parent().unwrap_or(dir).join("rooms");
    let space = rustix::fs::statvfs(dir).with_context(|| format!("the folder {}", dir.display()))?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let needed = needed_for(bytes_below(&rooms));
    // A disk that a backup fills is the vault's too.
    ensure!(
        free >= needed,
        "{}: {} MB are free and a backup may take {} MB for a while; make room first",
        dir.display(),
        free >> 20,
        needed >> 20
    );
    let (unfinished, finished) = (dir.join(name.unfinished()), dir.join(name.as_str()));
    ensure!(!finished.exists(), "{} is there already; wait a second and try again", finished.display());
    private_folder(&unfinished)?;
    let made = parts(config, &unfinished, &recipients, ask);
    if made.is_err() {
        let _ = fs::remove_dir_all(&unfinished);
    }
    made?;
    fs::rename(&unfinished, &finished).with_context(|| format!("{}", finished.display()))?;
    sync_folder(dir)?;
    Ok(finished)
}

/// What a backup of so much may take: the database's copy and its part, and as much as a busy house writes
/// meanwhile.
fn needed_for(rooms_bytes: u64) -> u64 {
    rooms_bytes.saturating_mul(2).saturating_add(64 << 20)
}

fn bytes_below(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|e| match e.metadata() {
            Ok(m) if m.is_dir() => bytes_below(&e.path()),
            Ok(m) => m.len(),
            Err(_) => 0,
        })
        .sum()
}

fn parts(
    config: &Config,
    into: &Path,
    recipients: &Recipients,
    ask: &mut dyn FnMut(Room, &Request, File) -> Result<Made>,
) -> Result<()> {
    let made_at_ms = SystemClock.now_ms();
    let mut before: Vec<PartMade> = Vec::new();
    let mut signed = None;
    for part in PARTS {
        let path = into.join(part_file(part));
        let out = new_file(&path)?;
        let made = match Room::from_str(part, false) {
            Ok(room) => {
                let recipients = config.backup.recipients.clone();
                let request = Request { recipients, made_at_ms, before: before.clone() };
                ask(room, &request, out).with_context(|| format!("the {part}'s part"))?
            }
            Err(_) => house(config, out, recipients)?,
        };
        let bytes = fs::metadata(&path)?.len();
        if made.part.name != part || made.part.bytes != bytes {
            bail!(
                "the {part} says that it wrote {} bytes to {}, and there are {bytes}: something else wrote there, or the \
                 disk lost some; make the backup again",
                made.part.bytes,
                path.display()
            );
        }
        signed = made.signed;
        before.push(made.part);
    }
    let manifest = Manifest {
        format: FORMAT,
        matron: env!("CARGO_PKG_VERSION").to_owned(),
        made_at_ms,
        recipients: config.backup.recipients.clone(),
        parts: before,
        signed: signed.context("the vault did not sign for the parts")?,
    };
    // The parts' names before the manifest's.
    sync_folder(into)?;
    write_whole(&into.join(MANIFEST_FILE), &manifest.encode())?;
    sync_folder(into)?;
    // As a restore will read it.
    Manifest::read(into)?;
    Ok(())
}

pub(super) fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    use std::io::Write;
    let mut file = new_file(path)?;
    file.write_all(content).and_then(|()| file.sync_all()).with_context(|| format!("{}", path.display()))
}

/// The supervisor's own part: the configuration in force. It holds no key.
fn house(config: &Config, out: File, recipients: &Recipients) -> Result<Made> {
    let text = toml::to_string_pretty(config)?;
    let mut part = PartWriter::begin("house", out, recipients)?;
    part.put(super::restore::CONFIGURATION, text.len() as u64, text.as_bytes())?;
    Ok(Made { part: part.finish(None)?, signed: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backups_name_is_its_time_and_leads_nowhere_else() {
        let name = Name::at(1_764_291_600_123).unwrap();
        assert_eq!(name.as_str(), "matron-20251128T010000Z");
        assert_eq!(Name::read(name.as_str()), Some(name));
        for other in [
            "",
            "matron-",
            "matron-20251128T010000Z/..",
            "../atron-20251128T010000Z",
            "matron-2025112aT010000Z",
        ] {
            assert_eq!(Name::read(other), None, "{other}");
        }
    }

    #[test]
    fn a_backup_asks_for_twice_the_rooms_files_and_some_more_before_it_begins() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("core")).unwrap();
        fs::write(dir.path().join("core/core.db"), vec![0; 5000]).unwrap();
        fs::write(dir.path().join("lock"), vec![0; 10]).unwrap();
        assert_eq!(bytes_below(dir.path()), 5010);
        assert_eq!(needed_for(5010), 10_020 + (64 << 20));
        assert_eq!(needed_for(u64::MAX), u64::MAX);
    }

    #[test]
    fn a_backup_whose_room_fails_leaves_nothing_that_looks_like_one() {
        let dir = tempfile::tempdir().unwrap();
        let key = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
        let mut config = Config::default();
        config.backup.recipients = vec![key.into()];
        let name = Name::at(1_764_291_600_000).unwrap();
        // What one that was killed left.
        fs::create_dir_all(dir.path().join(".matron-20251127T010000Z.unfinished")).unwrap();
        for fails in ["core", "vault"] {
            let mut ask = |room: Room, request: &Request, out: File| {
                if room.name() == fails {
                    bail!("no space left");
                }
                Ok(backup::back_up_files(
                    room.name(),
                    dir.path(),
                    &[],
                    |path| std::fs::read(path),
                    request,
                    out,
                )?)
            };
            let refused = format!("{:#}", make(&config, dir.path(), &name, &mut ask).unwrap_err());
            assert!(refused.contains(&format!("the {fails}'s part: no space left")), "{refused}");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        }
        // A vault that does not sign.
        let mut ask = |room: Room, request: &Request, out: File| {
            Ok(backup::back_up_files(room.name(), dir.path(), &[], |path| std::fs::read(path), request, out)?)
        };
        let refused = make(&config, dir.path(), &name, &mut ask).unwrap_err().to_string();
        assert!(refused.contains("did not sign"), "{refused}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
