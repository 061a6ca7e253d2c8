//! Core's part of a backup, and what is done with its database when it comes back.

use std::fs::{self, File};
use std::path::Path;

use backup::{BackupError, Made, PartWriter, Place, Request};
use model::{Compartment, EnrolmentId, SealedRow, TimeMs};
use store::{Position, Store, StoreError};

use crate::{Config, DATABASE_FILE};

/// The files of core's folder that a backup holds.
pub const BACKED_UP: &[&str] = &[DATABASE_FILE, "root.pub", "statement.cbor"];

/// The copy of the database while it is read into the part: as readable as the database beside it.
const COPY: &str = "core.db.backup-partial";

/// The copy, removed when dropped.
struct Copy<'a>(&'a Path);

impl Drop for Copy<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.0);
    }
}

fn place(p: Position) -> Place {
    Place { entries: p.entries, hash: p.hash }
}

/// Writes core's part: the database as it was at one moment.
///
/// # Errors
/// [`BackupError`].
pub fn back_up(config: &Config, request: &Request, out: File) -> Result<Made, BackupError> {
    let dir = &config.data_dir;
    let path = dir.join(COPY);
    let refused = |e: StoreError| BackupError::Write {
        part: "core".into(),
        source: std::io::Error::other(format!("the database's copy in {}: {e}", path.display())),
    };
    let mut part = PartWriter::begin("core", out, &request.recipients()?)?;
    // What an earlier one that was killed left.
    let _ = fs::remove_file(&path);
    let copy = Copy(&path);
    let followed = store::copy(&dir.join(DATABASE_FILE), &path).map_err(refused)?;
    part.put_file(DATABASE_FILE, &path)?;
    drop(copy);
    part.put_files_by(dir, &["root.pub", "statement.cbor"], |path| std::fs::read(path))?;
    Ok(Made { part: part.finish(Some(place(followed)))?, signed: None })
}

/// Ends what a restored database must not go on with ([`store::Tx::restored`]), and answers how far it
/// followed the ledger.
///
/// # Errors
/// Why it can't be read or written, in words for the operator.
pub fn restored(dir: &Path, now_ms: TimeMs) -> Result<Place, StoreError> {
    let path = dir.join(DATABASE_FILE);
    let at = store::position(&path)?;
    let store = Store::open(&path)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|e| StoreError::Refused(e.to_string()))?;
    runtime.block_on(store.write(move |tx| tx.restored(now_ms)))?;
    Ok(place(at))
}

/// A sealed row of the database, for a rehearsal to try the vault's keys on.
///
/// # Errors
/// When the database can't be read.
pub fn find_test_row(dir: &Path) -> Result<Option<(EnrolmentId, SealedRow)>, StoreError> {
    Store::open(&dir.join(DATABASE_FILE))?.read_now(|v| v.find_test_row(Compartment::Push))
}
