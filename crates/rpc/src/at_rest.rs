//! A room's secret files at rest: wrapped under a key from outside the disk, where the house has one.
//!
//! The supervisor hands each room a descriptor of the secret (a systemd credential, say) with its first message and
//! reads nothing of it. The room derives a key of its own from it (HKDF, RFC 5869, with the room's name), forgets the
//! secret, and only then is held to its sandbox. So a room that is taken later knows its own key and no other room's,
//! and the disk alone opens nothing.
//!
//! A wrapped file is `matron wrapped 1` (16 bytes) ‖ nonce (12) ‖ AES-256-GCM ciphertext with its tag; the file's name is
//! associated data, so one can't be put in another's place. A file that lies in the clear, from before the house
//! had such a secret, is wrapped when it is first read.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::OnceLock;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use zeroize::Zeroizing;

use crate::trust::write_file;

const MAGIC: &[u8; 16] = b"matron wrapped 1";
const SALT: &[u8] = b"matron/at-rest/1";
/// A secret has at least so many bytes: random ones, no passphrase.
pub const SHORTEST_SECRET_BYTES: usize = 32;
const LONGEST_SECRET_BYTES: u64 = 64 << 10;

/// This process's room and its key; set once, before the sandbox.
static OF_THIS_ROOM: OnceLock<WrappingKey> = OnceLock::new();

/// A room's key for its files. Wiped when dropped.
pub struct WrappingKey(Zeroizing<[u8; 32]>);

impl std::fmt::Debug for WrappingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WrappingKey(sealed)")
    }
}

fn cipher(_: aws_lc_rs::error::Unspecified) -> io::Error {
    io::Error::other("the cipher refused")
}

fn expand(secret: &[u8], info: &[u8]) -> io::Result<Zeroizing<[u8; 32]>> {
    let mut out = Zeroizing::new([0; 32]);
    let info = [info];
    let extracted = Salt::new(HKDF_SHA256, SALT).extract(secret);
    extracted.expand(&info, HKDF_SHA256).and_then(|o| o.fill(out.as_mut())).map_err(cipher)?;
    Ok(out)
}

impl WrappingKey {
    /// The key of the room of that name.
    ///
    /// # Errors
    /// When the secret is shorter than [`SHORTEST_SECRET_BYTES`].
    pub fn of(secret: &[u8], room: &str) -> io::Result<Self> {
        if secret.is_empty() {
            return Err(io::Error::other(
                "nothing came of what this house's keys are wrapped under: the root key's credential is empty, or the \
                 token's process has ended; see the lines above",
            ));
        }
        if secret.len() < SHORTEST_SECRET_BYTES {
            return Err(io::Error::other(format!(
                "the root key's credential has {} bytes and needs {SHORTEST_SECRET_BYTES} random ones; make one with \
                 'head -c 32 /dev/urandom'",
                secret.len()
            )));
        }
        expand(secret, room.as_bytes()).map(Self)
    }

    /// A key for another use of the same room's.
    fn derived(&self, info: &str) -> io::Result<Zeroizing<[u8; 32]>> {
        expand(self.0.as_ref(), info.as_bytes())
    }

    fn aead(&self) -> io::Result<LessSafeKey> {
        UnboundKey::new(&AES_256_GCM, self.0.as_ref()).map(LessSafeKey::new).map_err(cipher)
    }

    /// The wrapped bytes of a file of that name.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn wrap(&self, name: &str, content: &[u8]) -> io::Result<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| io::Error::other("the system gave no random bytes"))?;
        let mut out = Zeroizing::new(content.to_vec());
        let tag = self
            .aead()?
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(name), &mut out)
            .map_err(cipher)?;
        Ok([MAGIC.as_slice(), &nonce, &out, tag.as_ref()].concat())
    }

    /// What [`WrappingKey::wrap`] wrapped.
    ///
    /// # Errors
    /// When it was altered, is another file's, or was wrapped under another key.
    pub fn unwrap(&self, name: &str, wrapped: &[u8]) -> io::Result<Zeroizing<Vec<u8>>> {
        let other = || io::Error::other("it was wrapped under another root key's credential, or altered");
        let rest = wrapped.strip_prefix(MAGIC).ok_or_else(other)?;
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>().ok_or_else(other)?;
        let mut out = Zeroizing::new(body.to_vec());
        let opened = self
            .aead()?
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(name), &mut out)
            .map_err(|_| other())?
            .len();
        out.truncate(opened);
        Ok(out)
    }
}

/// From here on this process's secret files are wrapped. To be called once, before the sandbox and before any of
/// them is read; without a secret, they lie in the clear.
///
/// # Errors
/// When the secret can't be read or is too short.
pub fn unlock(room: &str, secret: Option<File>) -> io::Result<()> {
    let Some(secret) = secret else { return Ok(()) };
    let mut bytes = Zeroizing::new(Vec::new());
    secret.take(LONGEST_SECRET_BYTES).read_to_end(&mut bytes)?;
    let key = WrappingKey::of(&bytes, room)?;
    OF_THIS_ROOM.set(key).map_err(|_| io::Error::other("the root key's credential was read twice"))
}

/// A further key of this room's, if its files are wrapped: for a file that is written record by record.
///
/// # Errors
/// Never in practice: HKDF refuses no such length.
pub fn derived(info: &str) -> io::Result<Option<Zeroizing<[u8; 32]>>> {
    OF_THIS_ROOM.get().map(|key| key.derived(info)).transpose()
}

/// Writes a secret file (0600), whole or not at all.
///
/// # Errors
/// When the folder can't be written.
pub fn write(dir: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    match OF_THIS_ROOM.get() {
        Some(key) => write_file(dir, name, &key.wrap(name, content)?, true),
        None => write_file(dir, name, content, true),
    }
}

/// Reads a secret file. One that lies in the clear although the house has a root key elsewhere is wrapped first.
///
/// # Errors
/// When it can't be read, or is wrapped and this process has not the key.
pub fn read(dir: &Path, name: &str) -> io::Result<Zeroizing<Vec<u8>>> {
    let bytes = Zeroizing::new(fs::read(dir.join(name))?);
    if bytes.starts_with(MAGIC) {
        return unwrapped(name, &bytes);
    }
    if OF_THIS_ROOM.get().is_some() {
        write(dir, name, &bytes)?;
        tracing::info!(file = name, "a key file that lay in the clear is wrapped from now on");
    }
    Ok(bytes)
}

fn unwrapped(name: &str, wrapped: &[u8]) -> io::Result<Zeroizing<Vec<u8>>> {
    let key = OF_THIS_ROOM.get().ok_or_else(|| {
        io::Error::other(
            "it is wrapped under the root key's credential or under what a token gives, and none was given; set \
             vault.root_key to what it was (\"credential\", \"pkcs11\") and give the service that credential or token",
        )
    })?;
    key.unwrap(name, wrapped)
}

/// The same, changing nothing: for a backup, which is encrypted to its own recipients. A file that is no secret one
/// comes as it is.
///
/// # Errors
/// As [`read`].
pub fn peek(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let bytes = Zeroizing::new(fs::read(path)?);
    if !bytes.starts_with(MAGIC) {
        return Ok(bytes);
    }
    unwrapped(path.file_name().and_then(|n| n.to_str()).unwrap_or_default(), &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_file_opens_for_its_room_under_its_name_and_secret_alone() {
        let key = WrappingKey::of(&[7; 32], "vault").unwrap();
        let wrapped = key.wrap("keys.cbor", b"made up").unwrap();
        assert!(!wrapped.windows(7).any(|w| w == b"made up"));
        assert_eq!(key.unwrap("keys.cbor", &wrapped).unwrap().as_slice(), b"made up");
        assert!(key.unwrap("other.key", &wrapped).is_err());
        assert!(WrappingKey::of(&[7; 32], "door").unwrap().unwrap("keys.cbor", &wrapped).is_err());
        assert!(WrappingKey::of(&[8; 32], "vault").unwrap().unwrap("keys.cbor", &wrapped).is_err());
        for at in 0..wrapped.len() {
            let mut bad = wrapped.clone();
            bad[at] ^= 1;
            assert!(key.unwrap("keys.cbor", &bad).is_err(), "byte {at}");
            assert!(key.unwrap("keys.cbor", &wrapped[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_short_secret_is_refused_and_nothing_is_shown_of_a_key() {
        let refused = WrappingKey::of(&[7; 31], "vault").unwrap_err().to_string();
        assert!(refused.contains("31 bytes"), "{refused}");
        let refused = WrappingKey::of(&[], "vault").unwrap_err().to_string();
        assert!(refused.contains("token's process has ended"), "{refused}");
        assert_eq!(format!("{:?}", WrappingKey::of(&[7; 32], "vault").unwrap()), "WrappingKey(sealed)");
    }

    #[test]
    fn a_file_in_the_clear_is_wrapped_when_it_is_first_read_and_its_backup_is_not() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "a.key", b"made up").unwrap();
        assert_eq!(fs::read(dir.path().join("a.key")).unwrap(), b"made up");
        let secret = dir.path().join("secret");
        fs::write(&secret, [9; 32]).unwrap();
        unlock("vault", Some(File::open(&secret).unwrap())).unwrap();
        assert_eq!(read(dir.path(), "a.key").unwrap().as_slice(), b"made up");
        assert!(fs::read(dir.path().join("a.key")).unwrap().starts_with(MAGIC));
        assert_eq!(read(dir.path(), "a.key").unwrap().as_slice(), b"made up");
        assert_eq!(peek(&dir.path().join("a.key")).unwrap().as_slice(), b"made up");
        write(dir.path(), "b.key", b"made up too").unwrap();
        fs::rename(dir.path().join("b.key"), dir.path().join("a.key")).unwrap();
        assert!(read(dir.path(), "a.key").is_err(), "another file's content");
        assert_ne!(derived("x").unwrap(), derived("y").unwrap());
    }
}
