//! Checkpoints (C2SP tlog-checkpoint): a note that says how large the tree is and what its root is.
//!
//! The house's log is named by its first root key: the origin is `matron/ledger/` and the first 16 bytes
//! of the key's SHA-256, in hexadecimal. The root key signs its checkpoints, so whoever has the key that
//! every room and every administrator has pinned needs nothing else to check one. A root key that took
//! the first one's place signs under the same name: it is the same log.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::Digest;

use crate::frame::sha256;
use crate::note::{Note, NoteError, NoteSignature, Signs, VerifierKey};

/// What the name of every house's log begins with.
const ORIGIN: &str = "matron/ledger/";

/// The name of the log that began under this root key: its checkpoints' origin, and the key's name.
#[must_use]
pub fn origin_of(root_key: &[u8; 32]) -> String {
    let fingerprint = sha256(root_key).to_string();
    format!("{ORIGIN}{}", fingerprint.get(..32).unwrap_or_default())
}

/// The installation's root key as it signs checkpoints.
#[must_use]
pub fn log_key(root_key: &[u8; 32]) -> VerifierKey {
    VerifierKey::named(origin_of(root_key), Signs::Text, *root_key)
}

/// The same of a root key that may have taken another's place, for this note: the log's name, which is the first one's, is
/// taken from the note. Whoever remembers what was signed before holds the name against what it was then.
#[must_use]
pub fn log_key_for(note: &[u8], root_key: &[u8; 32]) -> VerifierKey {
    let end = note.iter().position(|b| *b == b'\n').unwrap_or(0);
    let named = note.get(..end).and_then(|line| std::str::from_utf8(line).ok());
    match named.filter(|name| name.starts_with(ORIGIN)) {
        Some(name) => VerifierKey::named(name.to_owned(), Signs::Text, *root_key),
        None => log_key(root_key),
    }
}

/// A tree's head, as a note's text says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// How many leaves.
    pub size: u64,
    /// The root at that size.
    pub root: Digest,
}

impl Checkpoint {
    /// Reads a note's text. Lines after the third are another log's to make; of ours there are none.
    ///
    /// # Errors
    /// [`NoteError::Malformed`].
    pub fn read(text: &str) -> Result<Self, NoteError> {
        let body = text.strip_suffix('\n').ok_or(NoteError::Malformed)?;
        let mut lines = body.split('\n');
        let mut line = || lines.next().filter(|l| !l.is_empty()).ok_or(NoteError::Malformed);
        let (origin, size_text, root) = (line()?, line()?, line()?);
        let size: u64 = size_text.parse().map_err(|_| NoteError::Malformed)?;
        let root = STANDARD.decode(root).map_err(|_| NoteError::Malformed)?;
        let root = Digest(root.try_into().map_err(|_| NoteError::Malformed)?);
        if size.to_string() != size_text || lines.any(str::is_empty) {
            return Err(NoteError::Malformed);
        }
        Ok(Self { origin: origin.to_owned(), size, root })
    }

    /// The note's text.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root.0))
    }

    /// Signs it; `sign` is Ed25519 with the root key.
    #[must_use]
    pub fn sign(&self, root_key: &[u8; 32], sign: impl FnOnce(&[u8]) -> Vec<u8>) -> Note {
        let text = self.text();
        let line = log_key_for(text.as_bytes(), root_key).sign(&text, 0, sign);
        Note { text, signatures: vec![line] }
    }
}

/// A checkpoint that a log's key signed; there is no other way to have one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note: Note,
}

impl SignedCheckpoint {
    /// Reads a note and checks that this key signed it, for the log of the key's name.
    ///
    /// # Errors
    /// [`NoteError`] says what does not hold.
    pub fn open(bytes: &[u8], key: &VerifierKey) -> Result<Self, NoteError> {
        let note = Note::read(bytes)?;
        key.verify(&note)?;
        let checkpoint = Checkpoint::read(&note.text)?;
        if checkpoint.origin != key.name() {
            return Err(NoteError::Unsigned);
        }
        Ok(Self { checkpoint, note })
    }

    /// The same for the log of a house, whichever of its root keys signed; the newest stands last in `roots`.
    ///
    /// # Errors
    /// As [`SignedCheckpoint::open`].
    pub fn of_house(bytes: &[u8], roots: &[[u8; 32]]) -> Result<Self, NoteError> {
        let mut why = NoteError::Unsigned;
        for root in roots.iter().rev() {
            match Self::open(bytes, &log_key_for(bytes, root)) {
                Ok(signed) => return Ok(signed),
                Err(e) => why = e,
            }
        }
        Err(why)
    }

    /// What it says.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// How many leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.checkpoint.size
    }

    /// The root at that size.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.checkpoint.root
    }

    /// The note, with every line that came with it.
    #[must_use]
    pub fn note(&self) -> &Note {
        &self.note
    }

    /// Keeps the log's own lines and the newest `most` of the others.
    pub fn keep_newest(&mut self, most: usize) {
        let origin = &self.checkpoint.origin;
        let others = self.note.signatures.iter().filter(|s| s.name != *origin).count();
        let mut drop = others.saturating_sub(most);
        self.note.signatures.retain(|s| {
            let dropped = s.name != *origin && drop > 0;
            drop -= usize::from(dropped);
            !dropped
        });
    }

    /// Adds a line, in place of an older one of the same key. The line is not judged.
    pub fn add(&mut self, line: NoteSignature) {
        self.note.signatures.retain(|s| (&s.name, s.id) != (&line.name, line.id));
        self.note.signatures.push(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

    fn pair() -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
    }

    fn public() -> [u8; 32] {
        pair().public_key().as_ref().try_into().unwrap()
    }

    fn note(size: u64, origin: &str) -> Note {
        let checkpoint = Checkpoint { origin: origin.into(), size, root: Digest([5; 32]) };
        checkpoint.sign(&public(), |m| pair().sign(m).as_ref().to_vec())
    }

    #[test]
    fn a_checkpoint_opens_for_the_root_key_and_its_own_log_alone() {
        let origin = origin_of(&public());
        let bytes = note(70, &origin).to_string().into_bytes();
        let opened = SignedCheckpoint::open(&bytes, &log_key(&public())).unwrap();
        assert_eq!((opened.size(), opened.root()), (70, Digest([5; 32])));
        assert_eq!(SignedCheckpoint::open(&bytes, &log_key(&[8; 32])), Err(NoteError::Unsigned));
        let foreign = note(70, "another.example.org/log").to_string().into_bytes();
        assert_eq!(SignedCheckpoint::open(&foreign, &log_key(&public())), Err(NoteError::Unsigned));
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert!(SignedCheckpoint::open(&bad, &log_key(&public())).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_texts_size_and_root_have_one_spelling() {
        let root = STANDARD.encode([5; 32]);
        let read = |text: &str| Checkpoint::read(text).map(|c| c.size);
        assert_eq!(read(&format!("log\n0\n{root}\n")), Ok(0));
        assert_eq!(read(&format!("log\n12\n{root}\nan extension\n")), Ok(12));
        for text in [
            format!("log\n012\n{root}\n"),
            format!("log\n+12\n{root}\n"),
            format!("log\n12\n{root}"),
            format!("\n12\n{root}\n"),
            format!("log\n12\n{root}\n\n"),
            "log\n12\nAAAA\n".to_owned(),
            "log\n12\n".to_owned(),
            format!("log\n99999999999999999999\n{root}\n"),
        ] {
            assert_eq!(read(&text), Err(NoteError::Malformed), "{text}");
        }
    }
}
