//! The vault's part of a backup, and what is done with it when it comes back.
//!
//! Both go by the files: a backup needs no turn of the thread that decides.

use std::fs::File;
use std::path::Path;

use backup::{BackupError, Made, PartWriter, Place, Request, Signed};
use ledger::{Body, Effect, FILE_NAME, KEYS_FILE_NAME, LedgerError, Subject, snapshot};
use model::{Digest, EnrolmentId, KeyName, SealedRow, TimeMs};
use rpc::at_rest;
use serde::{Deserialize, Serialize};

use crate::keys::{KEY_FILE, Keys, open_persons, persons_cover};
use crate::state::open_ledger;
use crate::{Config, Error};

/// The files of the vault's folder that a backup holds.
pub const BACKED_UP: &[&str] = &[KEY_FILE, FILE_NAME, KEYS_FILE_NAME];

fn refused(what: &str, e: impl std::fmt::Display) -> BackupError {
    BackupError::Write { part: "vault".into(), source: std::io::Error::other(format!("{what}: {e}")) }
}

/// Writes the vault's part and signs for all parts.
///
/// # Errors
/// [`BackupError`], also when the ledger is damaged: it is read from end to end.
pub fn back_up(config: &Config, request: &Request, out: File) -> Result<Made, BackupError> {
    let dir = &config.data_dir;
    let keys = Keys::open(dir).map_err(|e| refused("the keys", e))?;
    let ledger_error = |e: LedgerError| refused("the ledger", e);
    let ledger = snapshot::Snapshot::of(dir).map_err(ledger_error)?;
    let head = ledger.report.head;
    let place = Place { entries: ledger.report.entries, hash: head.map_or(Digest([0; 32]), |h| h.hash) };
    let cover = persons_cover(dir).map_err(|e| refused("the persons' keys", e))?;
    // After the ledger: a person's key is durable before the ledger names what it seals.
    let persons = snapshot::person_keys(dir, cover.as_ref()).map_err(ledger_error)?;
    let mut part = PartWriter::begin("vault", out, &request.recipients()?)?;
    // In the clear within what is encrypted to the recipients: a house is lost with its credential otherwise.
    let path = dir.join(KEY_FILE);
    let bytes = at_rest::peek(&path).map_err(|e| refused("the keys", e))?;
    part.put(KEY_FILE, bytes.len() as u64, bytes.as_slice())?;
    let bytes = ledger.bytes();
    part.put(FILE_NAME, bytes, ledger.into_read().map_err(ledger_error)?)?;
    part.put(KEYS_FILE_NAME, persons.len() as u64, persons.as_slice())?;
    let part = part.finish(Some(place))?;
    let mut all = request.before.clone();
    all.push(part.clone());
    let root_key: [u8; 32] =
        keys.root.public().try_into().map_err(|_| refused("the root key", "it is no Ed25519 key"))?;
    let mut failed = None;
    let signed = Signed::over(request.made_at_ms, &all, root_key, |text| {
        keys.root.sign(text).unwrap_or_else(|e| {
            failed = Some(e);
            Vec::new()
        })
    });
    if let Some(e) = failed {
        return Err(refused("the root key", e));
    }
    Ok(Made { part, signed: Some(signed) })
}

/// What the restore says of the backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restore {
    /// SHA-256 of the manifest.
    pub manifest: Digest,
    /// When the backup was made.
    pub made_at_ms: TimeMs,
    /// How far its ledger goes.
    pub ledger: Place,
    /// How far its database followed.
    pub followed: Place,
    /// The root key that signed it.
    pub root_key: Digest,
}

/// What a restored vault says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restored {
    /// How many entries the ledger has now.
    pub entries: u64,
    /// Phones that hold a certificate.
    pub phones: u64,
    /// Administrators.
    pub administrators: u64,
    /// How many of them have to confirm.
    pub confirmations: u64,
    /// Invitations that were open and are withdrawn.
    pub withdrawn: u64,
    /// The house's root keys, the installation's first: what other rooms may have pinned.
    pub roots: Vec<Digest>,
}

const NEWER_ROOT: &str = "the newer ledger tells of a root key that was made after this backup, which has it not; restore a backup of \
     after that, or this one without --ledger";

/// The ledger did not turn out as the manifest says.
fn other_ledger(why: &str) -> Error {
    Error::Restore(why.into())
}

/// Looks at the vault's restored folder from end to end, and writes the restore into its ledger. From then
/// on the vault opens and commands nothing until administrators have confirmed it.
///
/// # Errors
/// [`Error`] when keys, ledger and manifest don't belong together: nothing was written then.
pub fn restored(dir: &Path, said: &Restore, now_ms: TimeMs) -> Result<Restored, Error> {
    let keys = Keys::open(dir)?;
    if keys.root.public() != said.root_key.0 {
        return Err(other_ledger("the manifest was signed by another root key than the vault's part holds"));
    }
    let (mut at_ledger, mut at_followed) = (said.ledger.entries == 0, said.followed.entries == 0);
    ledger::replay(dir, |record| {
        let place = Place { entries: record.position.index + 1, hash: record.position.hash };
        at_ledger |= place == said.ledger;
        at_followed |= place == said.followed;
    })?;
    if !at_ledger {
        return Err(other_ledger("the ledger does not go where the manifest says"));
    }
    if !at_followed {
        return Err(other_ledger("the database followed another ledger than this one, or is ahead of it"));
    }
    open_persons(dir)?;
    let (mut ledger, mut state) = open_ledger(dir)?;
    if !state.is_of(&keys)? {
        return Err(match state.root_key.map(|k| k.0) == keys.roots()?.first().copied() {
            true => other_ledger(NEWER_ROOT),
            false => Error::ForeignLedger,
        });
    }
    // The next start would make another, which nobody is led to.
    if state.rotations.made_in(KeyName::Root) > keys.file.epoch {
        return Err(other_ledger(NEWER_ROOT));
    }
    // The same, which no phone knows.
    if ledger.entries() > said.ledger.entries && state.rotations.made_in(KeyName::Ca) > keys.file.epoch {
        return Err(other_ledger(
            "the newer ledger tells of a CA that was made after this backup, which has not its key; restore a backup of after \
             that, or this one without --ledger (phones that had changed to that CA have to be invited again)",
        ));
    }
    let open_before = state.enrolments.values().filter(|e| e.issued.is_none() && !e.withdrawn).count();
    let body =
        Body::Restored { manifest: said.manifest, made_at_ms: said.made_at_ms, entries: said.ledger.entries };
    ledger.append_batch(vec![body.clone()], now_ms)?;
    state.apply(&body, now_ms);
    Ok(Restored {
        entries: ledger.entries(),
        phones: state.enrolments.values().filter(|e| e.issued.is_some() && !e.withdrawn).count() as u64,
        administrators: state.administrators() as u64,
        confirmations: state.unconfirmed.as_ref().map_or(0, |u| u.needed) as u64,
        withdrawn: open_before as u64,
        roots: keys.roots()?.into_iter().map(Digest).collect(),
    })
}

/// A sealed row of the restored database, to try the keys on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestRecord {
    /// Whose.
    pub enrolment: EnrolmentId,
    /// The field's name.
    pub name: String,
    /// `model::Compartment`'s number.
    pub compartment: u32,
    /// As core keeps it.
    pub wrapped_key: Vec<u8>,
    /// As core keeps it.
    pub ciphertext: Vec<u8>,
    /// What is shown of the value.
    pub mask: String,
    /// The names in so many of the ledger's entries have to open as well; a newer ledger names people whose
    /// keys no backup has.
    pub names_of: u64,
}

/// What came of the test record: nothing of its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tried {
    /// The field's name.
    pub field: String,
    /// It opened, and its mask is the one that stands beside it.
    pub opened: bool,
    /// The holders' names in the ledger opened, but for the erased; absent: the ledger has none whose key is there.
    pub name_opened: Option<bool>,
}

/// Opens one record with the keys in `dir`, for a rehearsal. Its value is compared with its mask and goes
/// nowhere.
///
/// # Errors
/// [`Error`] when keys or ledger can't be read, or the record is none.
pub fn try_record(dir: &Path, record: &TestRecord) -> Result<Tried, Error> {
    let row: SealedRow = rpc::row_from(rpc::proto::SealedRow {
        name: record.name.clone(),
        compartment: record.compartment,
        wrapped_key: record.wrapped_key.clone(),
        ciphertext: record.ciphertext.clone(),
        mask: record.mask.clone(),
        change_tag: Vec::new(),
    })
    .map_err(|e| Error::Restore(e.to_string()))?;
    let keys = Keys::open(dir)?;
    let opened = keys.opener().open(&record.enrolment, &row);
    let fits = opened.is_ok_and(|value| {
        std::str::from_utf8(&value).map_or(row.mask.is_empty(), |v| seal::mask(&row.name, v) == row.mask)
    });
    let persons = open_persons(dir)?;
    let mut name_opened = None;
    ledger::replay(dir, |entry| {
        if entry.position.index < record.names_of
            && let Body::OrderAccepted { effect: Effect::Invited { enrolment, holder, .. }, .. } =
                &entry.entry.body
        {
            match persons.open(Subject::from(*enrolment), holder) {
                Err(LedgerError::Erased) => {}
                other => name_opened = Some(name_opened != Some(false) && other.is_ok()),
            }
        }
    })?;
    Ok(Tried { field: row.name, opened: fits, name_opened })
}
