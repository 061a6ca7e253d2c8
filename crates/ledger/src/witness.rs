//! What a witness does (C2SP tlog-witness): remembers the newest checkpoint of each log that it cosigned,
//! and cosigns a newer one only with the proof that the log went on from there. Who remembers, and how a
//! request comes, is the caller's.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::Digest;

use crate::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::note::{LARGEST_NOTE_BYTES, NoteError, VerifierKey};
use crate::proof::hash;
use crate::tree::check_consistency;

/// The most hashes of a consistency proof.
const MOST_HASHES: usize = 63;
/// The largest request: a note, and a proof in base64.
pub const LARGEST_REQUEST_BYTES: usize = LARGEST_NOTE_BYTES + (4 << 10);

/// A request to cosign, as it is posted to `add-checkpoint`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size that the witness is thought to have cosigned; 0 for none.
    pub old: u64,
    /// From that size to the checkpoint's.
    pub proof: Vec<Digest>,
    /// The checkpoint's bytes.
    pub note: Vec<u8>,
}

impl AddCheckpoint {
    /// Reads a request's body; `None` when it is none.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        if body.len() > LARGEST_REQUEST_BYTES {
            return None;
        }
        let (head, note) = std::str::from_utf8(body).ok()?.split_once("\n\n")?;
        let mut lines = head.split('\n');
        let old = lines.next()?.strip_prefix("old ")?;
        let number: u64 = old.parse().ok()?;
        let proof = lines.map(hash).collect::<Option<Vec<_>>>()?;
        let fits = number.to_string() == old && proof.len() <= MOST_HASHES;
        fits.then(|| Self { old: number, proof, note: note.as_bytes().to_vec() })
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        self.proof.iter().try_for_each(|h| writeln!(f, "{}", STANDARD.encode(h.0)))?;
        write!(f, "\n{}", String::from_utf8_lossy(&self.note))
    }
}

/// Why a witness does not cosign. The numbers are those of the specification's HTTP answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotCosigned {
    /// 400: not a request, or its old size is larger than its new one.
    #[error("the request can't be read, or its sizes can't be")]
    Malformed,
    /// 404: no such log is watched.
    #[error("this log is not one that is watched here")]
    UnknownLog,
    /// 403: its key has not signed it.
    #[error("the checkpoint is not signed by its log's key")]
    NotSigned,
    /// 409: another size was cosigned last; it is in the answer.
    #[error("the newest checkpoint that was cosigned here has {size} entries")]
    OtherSize {
        /// That size.
        size: u64,
    },
    /// 409: the same size, and another root: the log **forked**.
    #[error("the log signed two checkpoints of {size} entries with different roots: it forked")]
    Forked {
        /// The size.
        size: u64,
    },
    /// 422: the proof does not lead from the one to the other.
    #[error(
        "there is no proof that the log of {size} entries goes on from the {old} that were cosigned here"
    )]
    NotConsistent {
        /// The size that was cosigned.
        old: u64,
        /// The size asked for.
        size: u64,
    },
}

/// Judges a request against the newest checkpoint of that log that was cosigned. The caller holds both
/// still until what this returns is durable, and answers only then.
///
/// # Errors
/// [`NotCosigned`] says why not.
pub fn judge(
    request: &AddCheckpoint,
    key: &VerifierKey,
    before: Option<&Checkpoint>,
) -> Result<SignedCheckpoint, NotCosigned> {
    let signed = SignedCheckpoint::open(&request.note, key).map_err(|e| match e {
        NoteError::Malformed => NotCosigned::Malformed,
        _ => NotCosigned::NotSigned,
    })?;
    if request.old > signed.size() {
        return Err(NotCosigned::Malformed);
    }
    let (size, root) = before.map_or((0, Digest([0; 32])), |b| (b.size, b.root));
    if request.old != size {
        return Err(NotCosigned::OtherSize { size });
    }
    if before.is_some() && size == signed.size() && root != signed.root() {
        return Err(NotCosigned::Forked { size });
    }
    check_consistency(size, &root, signed.size(), &signed.root(), &request.proof)
        .map_err(|_| NotCosigned::NotConsistent { old: size, size: signed.size() })?;
    Ok(signed)
}

/// Which log a request is about, before anything of it is believed.
#[must_use]
pub fn origin_of_request(request: &AddCheckpoint) -> Option<&str> {
    std::str::from_utf8(&request.note).ok()?.split_once('\n').map(|(origin, _)| origin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Position;
    use crate::checkpoint::{log_key, origin_of};
    use crate::tree::{Edge, Nodes, leaf, leaf_hash, node_hash, prove_consistency};
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use proptest::prelude::*;

    struct Leaves(u64, Option<u64>);

    impl Leaves {
        fn leaf(&self, i: u64) -> Digest {
            let hash = Digest([if self.1 == Some(i) { 7 } else { 1 }; 32]);
            leaf_hash(&leaf(&Position { index: i, hash }))
        }

        fn checkpoint(&self, size: u64) -> Checkpoint {
            let mut edge = Edge::new();
            (0..size).for_each(|i| edge.push(self.leaf(i)));
            Checkpoint { origin: origin_of(&root_key()), size, root: edge.root() }
        }
    }

    impl Nodes for Leaves {
        type Error = ();

        fn node(&self, level: u8, index: u64) -> Result<Digest, ()> {
            if level == 0 {
                return if index < self.0 { Ok(self.leaf(index)) } else { Err(()) };
            }
            Ok(node_hash(&self.node(level - 1, index * 2)?, &self.node(level - 1, index * 2 + 1)?))
        }
    }

    fn pair() -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
    }

    fn root_key() -> [u8; 32] {
        pair().public_key().as_ref().try_into().unwrap()
    }

    fn request(log: &Leaves, old: u64, size: u64) -> AddCheckpoint {
        let note = log.checkpoint(size).sign(&root_key(), |m| pair().sign(m).as_ref().to_vec());
        let proof = prove_consistency(log, old, size).unwrap();
        AddCheckpoint { old, proof, note: note.to_string().into_bytes() }
    }

    #[test]
    fn a_log_that_goes_on_is_cosigned_and_one_that_goes_back_or_forks_is_not() {
        let (log, key) = (Leaves(60, None), log_key(&root_key()));
        let judge = |r: &AddCheckpoint, before: Option<&Checkpoint>| judge(r, &key, before).map(|s| s.size());
        assert_eq!(judge(&request(&log, 0, 20), None), Ok(20));
        let before = log.checkpoint(20);
        assert_eq!(judge(&request(&log, 20, 50), Some(&before)), Ok(50));
        assert_eq!(judge(&request(&log, 20, 20), Some(&before)), Ok(20), "again, for a newer time");
        assert_eq!(judge(&request(&log, 0, 50), Some(&before)), Err(NotCosigned::OtherSize { size: 20 }));
        assert_eq!(judge(&request(&log, 0, 10), Some(&before)), Err(NotCosigned::OtherSize { size: 20 }));
        let forked = Leaves(60, Some(3));
        assert_eq!(judge(&request(&forked, 20, 20), Some(&before)), Err(NotCosigned::Forked { size: 20 }));
        let not = Err(NotCosigned::NotConsistent { old: 20, size: 50 });
        assert_eq!(judge(&request(&forked, 20, 50), Some(&before)), not);
        let mut unproved = request(&log, 20, 50);
        unproved.proof.pop();
        assert_eq!(judge(&unproved, Some(&before)), not);
        let back = AddCheckpoint { old: 20, ..request(&log, 0, 10) };
        assert_eq!(judge(&back, Some(&before)), Err(NotCosigned::Malformed));
        let mut stranger = request(&log, 0, 20);
        let last = stranger.note.len() - 8;
        stranger.note[last] ^= 1;
        assert!(matches!(judge(&stranger, None), Err(NotCosigned::NotSigned | NotCosigned::Malformed)));
        let proved = AddCheckpoint { proof: vec![Digest([1; 32])], ..request(&log, 0, 20) };
        assert!(judge(&proved, None).is_err(), "a first checkpoint has no proof");
    }

    #[test]
    fn a_request_reads_back_and_has_one_spelling() {
        let log = Leaves(60, None);
        let whole = request(&log, 20, 50);
        let text = whole.to_string();
        assert_eq!(AddCheckpoint::read(text.as_bytes()), Some(whole.clone()));
        assert_eq!(origin_of_request(&whole), Some(origin_of(&root_key()).as_str()));
        for bad in [
            text.replacen("old 20", "old 020", 1),
            text.replacen("old 20", "old -1", 1),
            text.replacen("old 20", "new 20", 1),
            text.replacen("\n\n", "\nx\n\n", 1),
            format!("old 20\n{}\n{text}", "AAAA".repeat(3)),
        ] {
            assert_eq!(AddCheckpoint::read(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn reading_any_request_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = AddCheckpoint::read(&bytes);
            let _ = crate::proof::Proof::read(&bytes);
            let _ = AddCheckpoint::read(&[&b"old 1\n\n"[..], &bytes].concat()).map(|r| judge(&r, &log_key(&root_key()), None).is_ok());
        }
    }
}
