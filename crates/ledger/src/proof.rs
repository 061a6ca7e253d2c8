//! A proof that an entry is in the ledger, as one file that needs no server (C2SP tlog-proof, version 1):
//! the entry's place, its inclusion proof, and the checkpoint with everyone's signatures. As extra data it
//! carries the entry itself.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::Digest;

use crate::checkpoint::SignedCheckpoint;
use crate::entry::{Entry, MAX_ENTRY_BYTES};
use crate::error::LedgerError;
use crate::frame::{Position, sha256};
use crate::note::{Note, NoteError, VerifierKey};
use crate::tree::{ProofError, check_inclusion, leaf, leaf_hash};

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";
/// A tree has at most so many levels.
const MOST_HASHES: usize = 64;
/// The largest file: an entry in base64, and the rest.
pub const LARGEST_PROOF_BYTES: usize = MAX_ENTRY_BYTES / 3 * 4 + (256 << 10);

/// Why a proof proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum NoProof {
    /// The file has not a proof's form.
    #[error("this is no proof file (C2SP tlog-proof, version 1) with its entry in it")]
    Malformed,
    /// Its checkpoint is not signed as it should be.
    #[error("its checkpoint: {0}")]
    Note(#[from] NoteError),
    /// Its hashes don't lead from the entry to the checkpoint's root.
    #[error("the entry is not in the tree that the checkpoint is of: {0}")]
    Tree(#[from] ProofError),
    /// Its entry is none.
    #[error("its entry: {0}")]
    Entry(LedgerError),
}

/// A proof as it stands in its file. Nothing in it counts before [`Proof::check`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The entry's bytes.
    pub entry: Vec<u8>,
    /// Its place.
    pub index: u64,
    /// From the leaf's sibling up.
    pub hashes: Vec<Digest>,
    /// The checkpoint.
    pub note: Note,
}

impl Proof {
    /// Reads a file.
    ///
    /// # Errors
    /// [`NoProof::Malformed`], [`NoProof::Note`].
    pub fn read(bytes: &[u8]) -> Result<Self, NoProof> {
        let text = std::str::from_utf8(bytes).map_err(|_| NoProof::Malformed)?;
        let (head, note) = text.split_once("\n\n").ok_or(NoProof::Malformed)?;
        let mut lines = head.split('\n');
        if lines.next() != Some(FIRST_LINE) {
            return Err(NoProof::Malformed);
        }
        let extra = lines.next().and_then(|l| l.strip_prefix("extra ")).ok_or(NoProof::Malformed)?;
        let entry = STANDARD.decode(extra).map_err(|_| NoProof::Malformed)?;
        let index = lines.next().and_then(|l| l.strip_prefix("index ")).ok_or(NoProof::Malformed)?;
        let number: u64 = index.parse().map_err(|_| NoProof::Malformed)?;
        let hashes = lines.map(hash).collect::<Option<Vec<_>>>().ok_or(NoProof::Malformed)?;
        if number.to_string() != index || hashes.len() > MOST_HASHES {
            return Err(NoProof::Malformed);
        }
        Ok(Self { entry, index: number, hashes, note: Note::read(note.as_bytes())? })
    }

    /// Checks it for the log of this key.
    ///
    /// # Errors
    /// [`NoProof`] says what does not hold.
    pub fn check(&self, key: &VerifierKey) -> Result<(Entry, SignedCheckpoint), NoProof> {
        let signed = SignedCheckpoint::open(self.note.to_string().as_bytes(), key)?;
        let position = Position { index: self.index, hash: sha256(&self.entry) };
        check_inclusion(
            &leaf_hash(&leaf(&position)),
            self.index,
            signed.size(),
            &signed.root(),
            &self.hashes,
        )?;
        let entry = Entry::decode(&self.entry).map_err(|e| NoProof::Entry(e.into()))?;
        if entry.index != self.index {
            return Err(NoProof::Malformed);
        }
        Ok((entry, signed))
    }
}

/// One hash in base64.
pub(crate) fn hash(text: &str) -> Option<Digest> {
    Some(Digest(STANDARD.decode(text).ok()?.try_into().ok()?))
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}\nextra {}\nindex {}", STANDARD.encode(&self.entry), self.index)?;
        self.hashes.iter().try_for_each(|h| writeln!(f, "{}", STANDARD.encode(h.0)))?;
        write!(f, "\n{}", self.note)
    }
}
