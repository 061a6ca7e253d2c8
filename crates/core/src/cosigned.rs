//! The newest checkpoint that a witness cosigned, as witnesses hand it back. Core has no witness's key
//! and judges no cosignature: whoever reads it does (`matron ledger cosigned`).

use std::fs;

use ledger::note::LARGEST_NOTE_BYTES;
use ledger::{NoteSignature, SignedCheckpoint};
use model::TimeMs;

use crate::room::Room;

/// The file in core's folder.
const FILE: &str = "cosigned";
/// The most lines that are kept, and the longest of them in bytes: post-quantum ones fit.
const MOST_LINES: usize = 16;
const LONGEST_LINE_BYTES: usize = 5 << 10;

/// Why a note was not kept.
pub(crate) enum NotKept {
    /// It is no checkpoint that the root key signed, or nobody else signed it.
    NotOurs,
    /// A larger tree was cosigned before, or it is larger than the newest known one.
    Older,
    /// The folder can't be written.
    Disk(std::io::Error),
}

fn open(room: &Room, bytes: &[u8]) -> Option<SignedCheckpoint> {
    // Of one that another took the place of there is no proof any more: a witness cosigns the next one soon.
    SignedCheckpoint::of_house(bytes, &[room.trust.root()]).ok()
}

/// What is kept.
pub(crate) fn kept(room: &Room) -> Option<SignedCheckpoint> {
    open(room, &fs::read(room.config.data_dir.join(FILE)).ok()?)
}

/// Whose line, and when it says it was signed.
pub(crate) type Lines = Vec<(String, Option<TimeMs>)>;

/// How many entries were cosigned, by whom and when, as the lines say themselves.
pub(crate) fn told(room: &Room) -> Option<(u64, Lines)> {
    let kept = kept(room)?;
    let others = kept.note().signatures.iter().filter(|s| s.name != kept.checkpoint().origin);
    Some((kept.size(), others.map(|s| (s.name.clone(), time_of(&s.signature))).collect()))
}

/// An Ed25519 cosignature begins with its time in seconds (C2SP tlog-cosignature).
fn time_of(signature: &[u8]) -> Option<TimeMs> {
    const ED25519_BYTES: usize = 64;
    let (at_s, rest) = signature.split_first_chunk::<8>()?;
    let at_s = i64::try_from(u64::from_be_bytes(*at_s)).ok()?;
    if rest.len() == ED25519_BYTES { at_s.checked_mul(1000) } else { None }
}

/// Keeps a note's cosignatures: with those that are there for the same tree, in place of those of a
/// smaller one.
pub(crate) fn keep(room: &Room, bytes: &[u8]) -> Result<(), NotKept> {
    let _one_at_a_time = room.cosigned.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let given = Some(bytes).filter(|b| b.len() <= LARGEST_NOTE_BYTES).and_then(|b| open(room, b));
    let given = given.ok_or(NotKept::NotOurs)?;
    let newest = room.checkpoint.borrow().as_ref().map_or(0, |c| c.size());
    let before = kept(room);
    if given.size() > newest || before.as_ref().is_some_and(|b| b.size() > given.size()) {
        return Err(NotKept::Older);
    }
    let is_others =
        |s: &&NoteSignature| s.name != given.checkpoint().origin && s.signature.len() <= LONGEST_LINE_BYTES;
    let lines: Vec<NoteSignature> = given.note().signatures.iter().filter(is_others).cloned().collect();
    if lines.is_empty() {
        return Err(NotKept::NotOurs);
    }
    let mut all = before.filter(|b| b.checkpoint() == given.checkpoint()).unwrap_or_else(|| given.clone());
    lines.into_iter().for_each(|line| all.add(line));
    // The log's own line comes first and stays.
    all.keep_newest(MOST_LINES);
    rpc::trust::write_file(&room.config.data_dir, FILE, all.note().to_string().as_bytes(), false)
        .map_err(NotKept::Disk)
}
