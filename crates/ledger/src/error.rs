//! What can go wrong, by whose doing.

use std::path::PathBuf;

/// Bytes are not an entry: the file was changed, or another version wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// It is not CBOR of an entry's shape.
    #[error("the bytes are not a ledger entry")]
    Malformed,
    /// It decodes, but there is a shorter or ordered form of the same.
    #[error("the entry is not in its canonical form")]
    NotCanonical,
    /// Another version of Matron wrote it.
    #[error("the entry has version {found}; this Matron reads version 1")]
    Version {
        /// The version it names.
        found: u8,
    },
    /// It is larger than [`crate::entry::MAX_ENTRY_BYTES`].
    #[error("the entry has {bytes} bytes, more than a ledger takes")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The witness it names can't have seen what it says.
    #[error("the entry names a witness that can't have seen it")]
    Witness,
    /// A reason's word has another alphabet or length.
    #[error("a reason's word is 1 to 48 characters of a-z, 0-9 and '_'")]
    ReasonKey,
}

/// What the ledger's files answer. The operator's matters (disk, file, a second process) come first,
/// then ours.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The operator's: the disk or the file system refused.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was being done, such as `can't write`.
        what: &'static str,
        /// To which file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The operator's: another process has this ledger open.
    #[error("{} is open in another process; stop that one first", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The operator's: what was acknowledged is damaged or was changed. Nothing was altered.
    #[error(
        "{}: entry {index} at byte {offset} is not what was written ({why}). Nothing was changed. \
         Restore this file from a backup, or from the copy on a standby; do not cut it by hand: what \
         follows this byte would be lost",
        path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The first entry that is wrong.
        index: u64,
        /// Where its frame begins.
        offset: u64,
        /// What is wrong with it.
        why: Damage,
    },
    /// The operator's: the keys in the file are covered by a key that this process was not given.
    #[error(
        "{} is covered by the root key's credential, and none was given; set vault.root_key = \"credential\" and give \
         the service its credential", path.display()
    )]
    Covered {
        /// The file.
        path: PathBuf,
    },
    /// The operator's: the file is of another kind or version.
    #[error("{} is not a file of this version of Matron", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// The operator's: a signed checkpoint tells of more entries than the ledger has.
    #[error(
        "{}: a checkpoint of {signed} entries was signed, and the ledger has {entries}: an old copy took its place, \
         or its end was cut off. Restore the newest ledger; nothing is decided and nothing signed on this one",
        path.display()
    )]
    WentBack {
        /// The checkpoint's file.
        path: PathBuf,
        /// How many entries were signed for.
        signed: u64,
        /// How many there are.
        entries: u64,
    },
    /// The operator's: the signed checkpoint is of other entries.
    #[error(
        "{}: the checkpoint of {signed} entries was signed for others than the ledger's: history was written anew. \
         Keep both as they are, and compare with a witness and a backup",
        path.display()
    )]
    Rewritten {
        /// The checkpoint's file.
        path: PathBuf,
        /// How many entries were signed for.
        signed: u64,
    },
    /// The operator's: an entry is another one than the tree was built of.
    #[error(
        "entry {index} is not the one whose hash stands in {tile}: it was changed after the tree was written, or the \
         tile was"
    )]
    NotInTree {
        /// The entry.
        index: u64,
        /// The tile's path.
        tile: String,
    },
    /// The operator's: a tile is missing, or is none of this tree's.
    #[error(transparent)]
    Tile(crate::tile::BadTile),
    /// A note is none, or is not signed as it should be.
    #[error("the checkpoint: {0}")]
    Note(#[from] crate::note::NoteError),
    /// Ours: an earlier write failed, so what stands on the disk is not known. Open the ledger again.
    #[error("an earlier write to the ledger failed; it takes no more until it is opened again")]
    Halted,
    /// Ours: an entry that was to be written breaks its own rules.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// Ours: a batch holds nothing, or more than one write takes.
    #[error("a batch holds 1 entry to 64 MiB of them")]
    BatchSize,
    /// The administrator's: the person was erased, and with the key all that was sealed under it.
    #[error("this person's data was erased")]
    Erased,
    /// Ours: no key is known for this person.
    #[error("no key is known for this person")]
    NoKey,
    /// The sealed value was altered, or belongs to someone else.
    #[error("a sealed personal field does not open")]
    DoesNotOpen,
    /// Ours: the system gave no random bytes.
    #[error("the system gave no random bytes")]
    Randomness,
}

/// What is wrong with a frame or its entries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The frame's head is no head.
    #[error("its frame has no valid head")]
    Head,
    /// The frame ends before its length.
    #[error("its frame is cut short")]
    Short,
    /// The frame's check differs.
    #[error("its frame's check differs")]
    Check,
    /// The file ends before it, though it was acknowledged.
    #[error("the file ends here, and entries after it were acknowledged")]
    Missing,
    /// The frame continues another place.
    #[error("its index is out of turn")]
    Index,
    /// It does not name the hash of the entry before.
    #[error("it does not continue the entry before")]
    Chain,
    /// Its bytes are no entry.
    #[error("{0}")]
    Entry(EntryError),
}
