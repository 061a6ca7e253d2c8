//! A stolen disk or backup in the thief's hands: every file, at leisure, in no sandbox. Every 32 bytes that lie in
//! a file of that length or at the end of one may be a key, and each is tried on every sealed value.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use model::{Compartment, EnrolmentId, SealedRow};
use order::SignedStatement;
use seal::{CompartmentSecret, KeyPairSecret, Opener, PublicKey};
use zeroize::Zeroizing;

use crate::core::Loot;
use crate::{Outcome, tell};

/// Files that are larger hold no key alone.
const LARGEST_KEY_FILE_BYTES: u64 = 64 << 10;

fn files_below(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(t) if t.is_dir() => files_below(&entry.path(), out),
            Ok(t) if t.is_file() => out.push(entry.path()),
            _ => {}
        }
    }
}

/// Tries what is in a folder.
pub(crate) fn rob(folder: &Path) -> Outcome<()> {
    let mut files = Vec::new();
    files_below(folder, &mut files);
    tell::attempt("read the files", true, format!("nobody ({} files)", files.len()));
    let mut keys: HashSet<[u8; 32]> = HashSet::new();
    for file in &files {
        if std::fs::metadata(file)?.len() <= LARGEST_KEY_FILE_BYTES {
            let bytes = std::fs::read(file)?;
            keys.extend(
                bytes
                    .windows(32)
                    .filter(|_| bytes.len() <= 8 << 10)
                    .filter_map(|w| <[u8; 32]>::try_from(w).ok()),
            );
        }
    }
    let databases = files.iter().filter(|f| f.file_name().is_some_and(|n| n == "core.db"));
    for database in databases {
        let core = database.parent().unwrap_or(folder);
        let loot = Loot::take(core)?;
        let statement: SignedStatement = order::decode(&std::fs::read(core.join("statement.cbor"))?)?;
        let root = std::fs::read(core.join("root.pub"))?;
        let statement = statement
            .verify(&root, 0, 0)
            .or_else(|_| statement.verify(&root, model::Clock::now_ms(&model::SystemClock), 0))?;
        let senders = [PublicKey(statement.reader_key.0), PublicKey(statement.vault_sender_key.0)];
        let publics: Vec<(Compartment, [u8; 32])> =
            statement.compartments.iter().map(|(c, k)| (*c, k.0)).collect();
        tell::attempt("find keys among the files", false, format!("{} candidates", keys.len()));
        for key in &keys {
            let pair = KeyPairSecret::from_bytes(Zeroizing::new(*key));
            let public = pair.public().0;
            for (compartment, _) in publics.iter().filter(|(_, k)| *k == public) {
                open_all(&loot.rows, *compartment, &pair, statement.epoch, &senders);
            }
        }
    }
    tell::done();
    Ok(())
}

fn open_all(
    rows: &[(EnrolmentId, SealedRow)],
    compartment: Compartment,
    key: &KeyPairSecret,
    epoch: u32,
    senders: &[PublicKey],
) {
    let secrets = (0..=epoch).map(|epoch| CompartmentSecret { compartment, epoch, key: key.clone() });
    let mut opener = Opener::new(secrets.collect(), senders.to_vec());
    for (phone, row) in rows.iter().filter(|(_, r)| r.compartment == compartment) {
        let opened = opener.open(phone, row);
        let name = if compartment == Compartment::Push { "open a push token" } else { "open a record" };
        tell::attempt(name, opened.is_ok(), "the seal");
        let Ok(value) = opened else { continue };
        if compartment == Compartment::Push {
            tell::push_token(*phone, &value);
        } else {
            tell::value(Some(*phone), &String::from_utf8_lossy(&value));
        }
    }
}
