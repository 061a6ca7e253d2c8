//! Signed notes (C2SP signed-note): a text, and lines that sign it. Here two kinds of signature are
//! known: Ed25519 over the text, by a log, and a witness's cosignature with its time (C2SP
//! tlog-cosignature, version 1). Lines of other keys are kept and believed in nothing.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::frame::sha256;

/// The most bytes a note has: 16 signatures of any kind fit.
pub const LARGEST_NOTE_BYTES: usize = 96 << 10;
/// The most signatures that are read.
const MOST_SIGNATURES: usize = 64;
/// The longest name of a key.
const LONGEST_NAME_BYTES: usize = 256;

/// What is wrong with a note or a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It has not a note's form.
    #[error("this is not a signed note")]
    Malformed,
    /// It is no verifier key.
    #[error("this is no verifier key (name+hash+base64, with an Ed25519 key)")]
    Key,
    /// A line names the key, and its signature does not fit the text.
    #[error("the signature in the key's name does not fit")]
    Signature,
    /// No line is this key's.
    #[error("the key has not signed it")]
    Unsigned,
}

/// How a key signs notes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Signs {
    /// Ed25519 over the note's text: a log.
    Text = 1,
    /// Ed25519 over a time and the text: a witness.
    Cosigns = 4,
}

/// A public key with its name, which signs notes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VerifierKey {
    name: String,
    signs: Signs,
    public: [u8; 32],
}

fn is_name(name: &str) -> bool {
    (1..=LONGEST_NAME_BYTES).contains(&name.len())
        && !name.chars().any(|c| c.is_whitespace() || c == '+' || c.is_control())
}

impl VerifierKey {
    /// A key of this name.
    ///
    /// # Errors
    /// [`NoteError::Key`] when the name is empty, or holds a space or a plus.
    pub fn new(name: &str, signs: Signs, public: [u8; 32]) -> Result<Self, NoteError> {
        if is_name(name) { Ok(Self { name: name.to_owned(), signs, public }) } else { Err(NoteError::Key) }
    }

    /// A key whose name is known to be one.
    pub(crate) fn named(name: String, signs: Signs, public: [u8; 32]) -> Self {
        Self { name, signs, public }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Another key under the same name, which signs in the same way.
    #[must_use]
    pub fn with(&self, public: [u8; 32]) -> Self {
        Self { public, ..self.clone() }
    }

    /// The same key under another name.
    #[must_use]
    pub fn called(&self, name: String) -> Self {
        Self { name, ..self.clone() }
    }

    /// How it signs.
    #[must_use]
    pub fn signs(&self) -> Signs {
        self.signs
    }

    /// Its public bytes.
    #[must_use]
    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// The first bytes of SHA-256 over name, newline, kind and key.
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        let kind = [b'\n', self.signs as u8];
        let hash = sha256(&[self.name.as_bytes(), &kind, &self.public].concat());
        let [a, b, c, d, ..] = hash.0;
        [a, b, c, d]
    }

    /// Checks the note's lines in this key's name. For a witness the time it signed at, in seconds since
    /// 1970; for a log 0. Of several good lines of a witness the newest counts.
    ///
    /// # Errors
    /// [`NoteError::Unsigned`] when there is no such line, [`NoteError::Signature`] when one does not fit.
    pub fn verify(&self, note: &Note) -> Result<u64, NoteError> {
        let id = self.id();
        let mut newest = None;
        for line in note.signatures.iter().filter(|s| s.name == self.name && s.id == id) {
            let at_s = self.fits(&note.text, &line.signature).ok_or(NoteError::Signature)?;
            newest = newest.max(Some(at_s));
        }
        newest.ok_or(NoteError::Unsigned)
    }

    fn fits(&self, text: &str, signature: &[u8]) -> Option<u64> {
        let key = UnparsedPublicKey::new(&ED25519, &self.public);
        match self.signs {
            Signs::Text => key.verify(text.as_bytes(), signature).ok().map(|()| 0),
            Signs::Cosigns => {
                let (at_s, signature) = signature.split_first_chunk::<8>()?;
                let at_s = u64::from_be_bytes(*at_s);
                let message = cosigned(text, at_s);
                (i64::try_from(at_s).is_ok() && key.verify(message.as_bytes(), signature).is_ok())
                    .then_some(at_s)
            }
        }
    }

    /// This key's line under a text, where `sign` is Ed25519 with its secret half. `at_s` is the time of
    /// a cosignature.
    #[must_use]
    pub fn sign(&self, text: &str, at_s: u64, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> NoteSignature {
        let signature = match self.signs {
            Signs::Text => sign(text.as_bytes()),
            Signs::Cosigns => [at_s.to_be_bytes().to_vec(), sign(cosigned(text, at_s).as_bytes())].concat(),
        };
        NoteSignature { name: self.name.clone(), id: self.id(), signature }
    }
}

/// What a witness signs.
fn cosigned(text: &str, at_s: u64) -> String {
    format!("cosignature/v1\ntime {at_s}\n{text}")
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = u32::from_be_bytes(self.id());
        let key = [&[self.signs as u8][..], &self.public].concat();
        write!(f, "{}+{id:08x}+{}", self.name, STANDARD.encode(key))
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let (name, rest) = text.trim().split_once('+').ok_or(NoteError::Key)?;
        let (id, key) = rest.split_once('+').ok_or(NoteError::Key)?;
        let key = STANDARD.decode(key).map_err(|_| NoteError::Key)?;
        let (kind, public) = key.split_first().ok_or(NoteError::Key)?;
        let signs = match kind {
            1 => Signs::Text,
            4 => Signs::Cosigns,
            _ => return Err(NoteError::Key),
        };
        let key = Self::new(name, signs, public.try_into().map_err(|_| NoteError::Key)?)?;
        let right = id == format!("{:08x}", u32::from_be_bytes(key.id()));
        if right { Ok(key) } else { Err(NoteError::Key) }
    }
}

/// One line under a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// The key's name.
    pub name: String,
    /// The key's id.
    pub id: [u8; 4],
    /// The signature's own bytes.
    pub signature: Vec<u8>,
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.id[..], &self.signature].concat();
        writeln!(f, "\u{2014} {} {}", self.name, STANDARD.encode(bytes))
    }
}

impl FromStr for NoteSignature {
    type Err = NoteError;

    /// Reads a line, with or without its newline.
    fn from_str(line: &str) -> Result<Self, NoteError> {
        let line = line.strip_suffix('\n').unwrap_or(line);
        let (name, bytes) = line
            .strip_prefix("\u{2014} ")
            .and_then(|rest| rest.split_once(' '))
            .ok_or(NoteError::Malformed)?;
        let bytes = STANDARD.decode(bytes).map_err(|_| NoteError::Malformed)?;
        let (id, signature) = bytes.split_first_chunk::<4>().ok_or(NoteError::Malformed)?;
        if !is_name(name) || signature.is_empty() {
            return Err(NoteError::Malformed);
        }
        Ok(Self { name: name.to_owned(), id: *id, signature: signature.to_vec() })
    }
}

/// A text with what signs it. Nothing in it counts before [`VerifierKey::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The text, with its last newline.
    pub text: String,
    /// The lines below it.
    pub signatures: Vec<NoteSignature>,
}

impl Note {
    /// Reads a note.
    ///
    /// # Errors
    /// [`NoteError::Malformed`].
    pub fn read(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > LARGEST_NOTE_BYTES {
            return Err(NoteError::Malformed);
        }
        let whole = std::str::from_utf8(bytes).map_err(|_| NoteError::Malformed)?;
        if whole.bytes().any(|b| b < 0x20 && b != b'\n') {
            return Err(NoteError::Malformed);
        }
        let split = whole.rfind("\n\n").ok_or(NoteError::Malformed)?;
        let (text, lines) = whole.split_at_checked(split + 1).ok_or(NoteError::Malformed)?;
        let lines =
            lines.strip_prefix('\n').and_then(|l| l.strip_suffix('\n')).ok_or(NoteError::Malformed)?;
        let signatures = lines
            .split('\n')
            .take(MOST_SIGNATURES + 1)
            .map(str::parse)
            .collect::<Result<Vec<NoteSignature>, _>>()?;
        if signatures.len() > MOST_SIGNATURES {
            return Err(NoteError::Malformed);
        }
        Ok(Self { text: text.to_owned(), signatures })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|s| write!(f, "{s}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use proptest::prelude::*;

    const EXAMPLE: &str = "If you think cryptography is the answer to your problem,\n\
         then you don't know what your problem is.\n\n\
         \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    const EXAMPLE_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

    fn pair(seed: u8) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
    }

    fn key(seed: u8, name: &str, signs: Signs) -> VerifierKey {
        VerifierKey::new(name, signs, pair(seed).public_key().as_ref().try_into().unwrap()).unwrap()
    }

    fn signed(key: &VerifierKey, seed: u8, at_s: u64) -> Note {
        let text = "a text\nof lines\n".to_owned();
        let line = key.sign(&text, at_s, |m| pair(seed).sign(m).as_ref().to_vec());
        Note { text, signatures: vec![line] }
    }

    #[test]
    fn a_note_that_another_program_signed_verifies() {
        let note = Note::read(EXAMPLE.as_bytes()).unwrap();
        let key: VerifierKey = EXAMPLE_KEY.parse().unwrap();
        assert_eq!(key.verify(&note), Ok(0));
        assert_eq!((note.to_string().as_str(), key.to_string().as_str()), (EXAMPLE, EXAMPLE_KEY));
        let other = Note { text: note.text.replace("answer", "question"), ..note };
        assert_eq!(key.verify(&other), Err(NoteError::Signature));
    }

    #[test]
    fn a_cosignature_tells_its_time_and_fits_no_other() {
        let witness = key(1, "witness.example.org/w1", Signs::Cosigns);
        let mut note = signed(&witness, 1, 1_780_000_000);
        assert_eq!(witness.verify(&note), Ok(1_780_000_000));
        note.signatures[0].signature[7] ^= 1;
        assert_eq!(witness.verify(&note), Err(NoteError::Signature));
        assert_eq!(key(2, "witness.example.org/w1", Signs::Cosigns).verify(&note), Err(NoteError::Unsigned));
        assert_eq!(key(1, "witness.example.org/w1", Signs::Text).verify(&note), Err(NoteError::Unsigned));
    }

    #[test]
    fn what_is_no_note_or_no_key_is_refused() {
        let good = signed(&key(1, "log.example.org", Signs::Text), 1, 0).to_string();
        assert!(Note::read(good.as_bytes()).is_ok());
        for bad in [
            String::new(),
            good.replace("\n\n", "\n"),
            good.trim_end().to_owned(),
            good.replace('\u{2014}', "-"),
            good.replace("a text", "a\ttext"),
            good.replace("log.example.org", "log example.org"),
            format!("{good}\n"),
        ] {
            assert_eq!(Note::read(bad.as_bytes()), Err(NoteError::Malformed), "{bad}");
        }
        let text = EXAMPLE_KEY;
        for bad in ["", "x", "x+y", &text.replace("c74f20a3", "c74f20a4"), &text.replace("ARpc", "BRpc")] {
            assert_eq!(bad.parse::<VerifierKey>(), Err(NoteError::Key), "{bad}");
        }
        assert_eq!(VerifierKey::new("a b", Signs::Text, [1; 32]), Err(NoteError::Key));
    }

    proptest! {
        #[test]
        fn any_flipped_bit_of_a_note_is_refused_or_leaves_it_unsigned(bit in any::<prop::sample::Index>()) {
            let key = key(1, "log.example.org", Signs::Text);
            let mut bytes = signed(&key, 1, 0).to_string().into_bytes();
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let held = Note::read(&bytes).and_then(|n| key.verify(&n));
            prop_assert!(held.is_err(), "{held:?}");
        }

        #[test]
        fn reading_any_bytes_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), text in ".{0,80}") {
            let _ = Note::read(&bytes);
            let _ = text.parse::<VerifierKey>();
            let _ = Note::read(format!("x\n\n\u{2014} {text}\n").as_bytes());
        }
    }
}
