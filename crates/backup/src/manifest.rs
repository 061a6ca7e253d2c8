//! What holds the parts of a backup together.

use std::fs;
use std::path::Path;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use model::{Digest, TimeMs};
use serde::{Deserialize, Serialize};

use crate::{BackupError, Recipients};

/// The manifest's name in the backup's folder.
pub const MANIFEST_FILE: &str = "manifest.json";
/// The format that this release writes and reads.
pub const FORMAT: u32 = 1;
/// The parts, in the order in which they are made: the vault's last, since its ledger must not be
/// older than what core's database followed.
pub const PARTS: [&str; 6] = ["house", "core", "door", "reader", "courier", "vault"];
/// A manifest is never longer, in bytes.
const LARGEST_BYTES: u64 = 1 << 20;
/// What stands before the signed text, so that no signature of another kind can be taken for it.
const CONTEXT: &str = "matron/backup/1";

/// A part's file name.
#[must_use]
pub fn part_file(part: &str) -> String {
    format!("{part}.tar.age")
}

/// A place in the ledger: how many entries, and the hash of the last of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// How many entries.
    pub entries: u64,
    /// SHA-256 of the last one; zeros when there is none.
    pub hash: Digest,
}

/// A part as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartMade {
    /// One of [`PARTS`].
    pub name: String,
    /// The encrypted file's length.
    pub bytes: u64,
    /// The encrypted file's SHA-256.
    pub sha256: Digest,
    /// Core: how far its database followed the ledger. Vault: how far its ledger goes.
    pub place: Option<Place>,
}

/// What a room is asked: its part, into the file that comes with the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// To whom it is encrypted.
    pub recipients: Vec<String>,
    /// When the backup was begun.
    pub made_at_ms: TimeMs,
    /// The parts that are there already; the vault signs for them with its own.
    pub before: Vec<PartMade>,
}

impl Request {
    /// The recipients, read.
    ///
    /// # Errors
    /// [`BackupError::Recipient`], [`BackupError::NoRecipients`].
    pub fn recipients(&self) -> Result<Recipients, BackupError> {
        Recipients::parse(&self.recipients)
    }
}

/// What a room answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Made {
    /// Its part.
    pub part: PartMade,
    /// The vault alone: its root public key, and the signature over all parts.
    pub signed: Option<Signed>,
}

/// The vault's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// Ed25519 (RFC 8032), 32 bytes.
    pub root_key: Digest,
    /// 64 bytes in hexadecimal.
    pub signature: String,
}

/// The manifest. In the clear, and public: numbers, times and digests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// The version of Matron that made it.
    pub matron: String,
    /// When it was begun.
    pub made_at_ms: TimeMs,
    /// To whom it is encrypted.
    pub recipients: Vec<String>,
    /// Every one of [`PARTS`], in that order.
    pub parts: Vec<PartMade>,
    /// By the vault, over time and parts.
    pub signed: Signed,
}

/// The text that the vault signs: the time, then a line a part.
#[must_use]
pub fn signed_text(made_at_ms: TimeMs, parts: &[PartMade]) -> String {
    let mut text = format!("{CONTEXT}\nmade_at_ms {made_at_ms}\n");
    for p in parts {
        let place = p.place.map_or_else(|| "-".to_owned(), |at| format!("{} {}", at.entries, at.hash));
        text.push_str(&format!("part {} {} {} {place}\n", p.name, p.bytes, p.sha256));
    }
    text
}

impl Signed {
    /// Signs, as the vault does.
    #[must_use]
    pub fn over(
        made_at_ms: TimeMs,
        parts: &[PartMade],
        root_key: [u8; 32],
        sign: impl FnOnce(&[u8]) -> Vec<u8>,
    ) -> Self {
        let signature = sign(signed_text(made_at_ms, parts).as_bytes());
        let signature = signature.iter().map(|b| format!("{b:02x}")).collect();
        Self { root_key: Digest(root_key), signature }
    }

    fn fits(&self, text: &str) -> bool {
        let bytes: Option<Vec<u8>> = self
            .signature
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect();
        let key = UnparsedPublicKey::new(&ED25519, &self.root_key.0);
        bytes.is_some_and(|signature| key.verify(text.as_bytes(), &signature).is_ok())
    }
}

impl Manifest {
    /// Reads the manifest of the backup in `dir` and checks that it tells of a whole backup, signed by
    /// the root key that it names. Whose key that is, the vault's part tells.
    ///
    /// # Errors
    /// [`BackupError::NotWhole`], [`BackupError::Signature`], [`BackupError::File`].
    pub fn read(dir: &Path) -> Result<Self, BackupError> {
        let not_whole = |why: String| BackupError::NotWhole { path: dir.to_owned(), why };
        let path = dir.join(MANIFEST_FILE);
        let length = match fs::metadata(&path) {
            Ok(m) => m.len(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(not_whole(format!("there is no {MANIFEST_FILE}, which is written last")));
            }
            Err(e) => return Err(BackupError::read(&path)(e)),
        };
        if length > LARGEST_BYTES {
            return Err(not_whole(format!("{MANIFEST_FILE} is too long")));
        }
        let text = fs::read(&path).map_err(BackupError::read(&path))?;
        Self::decode(&text).map_err(|e| match e {
            Unreadable::Json(why) => not_whole(format!("{MANIFEST_FILE} can't be read ({why})")),
            Unreadable::Format(n) => not_whole(format!(
                "it has the format {n}, this Matron reads {FORMAT}; restore it with the Matron that made it"
            )),
            Unreadable::Parts => not_whole("not every part is named once, in its order".into()),
            Unreadable::Places => not_whole("it does not say how far database and ledger go".into()),
            Unreadable::Signature => BackupError::Signature,
        })
    }

    fn decode(text: &[u8]) -> Result<Self, Unreadable> {
        #[derive(Deserialize)]
        struct Versioned {
            format: u32,
        }
        let json = |e: serde_json::Error| Unreadable::Json(e.to_string());
        let Versioned { format } = serde_json::from_slice(text).map_err(json)?;
        if format != FORMAT {
            return Err(Unreadable::Format(format));
        }
        let manifest: Self = serde_json::from_slice(text).map_err(json)?;
        if !manifest.parts.iter().map(|p| p.name.as_str()).eq(PARTS) {
            return Err(Unreadable::Parts);
        }
        if manifest.followed().is_none() || manifest.ledger().is_none() {
            return Err(Unreadable::Places);
        }
        if !manifest.signed.fits(&signed_text(manifest.made_at_ms, &manifest.parts)) {
            return Err(Unreadable::Signature);
        }
        Ok(manifest)
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Strings and numbers alone: there is nothing in it that JSON can't say.
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        text
    }

    /// A part.
    #[must_use]
    pub fn part(&self, name: &str) -> Option<&PartMade> {
        self.parts.iter().find(|p| p.name == name)
    }

    /// How far core's database had followed the ledger.
    #[must_use]
    pub fn followed(&self) -> Option<Place> {
        self.part("core").and_then(|p| p.place)
    }

    /// How far the vault's ledger goes.
    #[must_use]
    pub fn ledger(&self) -> Option<Place> {
        self.part("vault").and_then(|p| p.place)
    }
}

enum Unreadable {
    Json(String),
    Format(u32),
    Parts,
    Places,
    Signature,
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use proptest::prelude::*;

    fn manifest() -> Manifest {
        let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let at = |n| Some(Place { entries: n, hash: Digest([n as u8; 32]) });
        let parts: Vec<PartMade> = (1..)
            .zip(PARTS)
            .map(|(n, name)| PartMade {
                name: name.into(),
                bytes: n * 100,
                sha256: Digest([n as u8; 32]),
                place: match name {
                    "core" => at(3),
                    "vault" => at(5),
                    _ => None,
                },
            })
            .collect();
        let root: [u8; 32] = key.public_key().as_ref().try_into().unwrap();
        let signed = Signed::over(1_700_000_000_000, &parts, root, |t| key.sign(t).as_ref().to_vec());
        Manifest {
            format: FORMAT,
            matron: "0.1.0".into(),
            made_at_ms: 1_700_000_000_000,
            recipients: vec!["age1".into()],
            parts,
            signed,
        }
    }

    #[test]
    fn a_manifest_reads_back_and_without_one_there_is_no_whole_backup() {
        let dir = tempfile::tempdir().unwrap();
        let refused = Manifest::read(dir.path()).unwrap_err().to_string();
        assert!(refused.contains("no whole backup") && refused.contains("written last"), "{refused}");
        fs::write(dir.path().join(MANIFEST_FILE), manifest().encode()).unwrap();
        assert_eq!(Manifest::read(dir.path()).unwrap(), manifest());
    }

    #[test]
    fn a_part_of_another_backup_or_another_time_does_not_fit_the_vaults_signature() {
        let other_part = |m: &mut Manifest| m.parts[1].sha256 = Digest([9; 32]);
        let other_length = |m: &mut Manifest| m.parts[2].bytes += 1;
        let other_place = |m: &mut Manifest| m.parts[5].place.as_mut().unwrap().entries += 1;
        let other_time = |m: &mut Manifest| m.made_at_ms += 1;
        let other_key = |m: &mut Manifest| m.signed.root_key = Digest([1; 32]);
        let changes: [&dyn Fn(&mut Manifest); 5] =
            [&other_part, &other_length, &other_place, &other_time, &other_key];
        for (n, change) in changes.iter().enumerate() {
            let mut m = manifest();
            change(&mut m);
            assert!(matches!(Manifest::decode(&m.encode()), Err(Unreadable::Signature)), "change {n}");
        }
        let mut m = manifest();
        m.parts.pop();
        assert!(matches!(Manifest::decode(&m.encode()), Err(Unreadable::Parts)));
        let mut m = manifest();
        m.format = 2;
        assert!(matches!(Manifest::decode(&m.encode()), Err(Unreadable::Format(2))));
    }

    proptest! {
        #[test]
        fn no_bytes_upset_the_reading_of_a_manifest(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>()) {
            let _ = Manifest::decode(&bytes);
            let mut good = manifest().encode();
            let n = at.index(good.len());
            bytes.truncate(3);
            good.splice(n..n, bytes);
            let _ = Manifest::decode(&good);
        }
    }
}
