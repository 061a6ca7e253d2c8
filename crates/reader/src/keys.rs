//! The room's folder: keys that it made itself, and what it was told to trust at the installation.
//!
//! | file | what |
//! |---|---|
//! | `ra.key` | the SCEP RA's RSA key, PKCS#8 |
//! | `sender.key` | X25519, 32 bytes: the reader proves itself by it when it seals |
//! | `change.key` | 32 bytes: change tags and the tag of a phone |
//! | `ra.der`, `ca.der` | the RA's and the CA's certificate |
//! | `root.pub`, `statement.cbor` | see [`rpc::trust`] |
//!
//! The keys are wrapped where the root key comes from elsewhere: see [`rpc::at_rest`].

use std::fs;
use std::path::Path;

use apple::scep::RaKey;
use apple::x509::{RsaSigner, Signer};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use model::Clock;
use rpc::at_rest;
use rpc::install::{Installed, ReaderPublic};
use rpc::trust::{Trust, write_file};
use seal::{ChangeTagKey, KeyPairSecret};
use zeroize::Zeroizing;

use crate::Error;

const RA_KEY: &str = "ra.key";
const SENDER_KEY: &str = "sender.key";
const CHANGE_KEY: &str = "change.key";
const RA_CERTIFICATE: &str = "ra.der";
const CA_CERTIFICATE: &str = "ca.der";

/// What the room holds while it runs.
pub(crate) struct Keys {
    pub ra: RaKey,
    pub ca_certificate: Vec<u8>,
    pub sender: KeyPairSecret,
    pub tags: ChangeTagKey,
    pub trust: Trust,
}

/// The first start: makes the room's keys in its own folder (0600, the folder 0700) and says their public
/// halves. Keys that are there already stay; so it can be asked again.
///
/// # Errors
/// [`Error::File`], [`Error::BadFile`], [`Error::Keys`].
pub fn prepare(dir: &Path) -> Result<ReaderPublic, Error> {
    make_dir(dir)?;
    if !is_there(dir, RA_KEY) {
        let key = RsaSigner::generate().and_then(|k| k.to_pkcs8()).map_err(|e| Error::Keys(e.to_string()))?;
        write_secret(dir, RA_KEY, &key)?;
    }
    for name in [SENDER_KEY, CHANGE_KEY] {
        if !is_there(dir, name) {
            let mut key = Zeroizing::new([0u8; 32]);
            SystemRandom::new()
                .fill(key.as_mut())
                .map_err(|_| Error::Keys("the system gave no random bytes".into()))?;
            write_secret(dir, name, key.as_ref())?;
        }
    }
    let sender = KeyPairSecret::from_bytes(key_bytes(dir, SENDER_KEY)?);
    key_bytes(dir, CHANGE_KEY)?;
    Ok(ReaderPublic { ra_spki: ra_signer(dir)?.spki_der().to_vec(), sender_key: sender.public().0 })
}

/// Takes what the vault's child made: pins the root key, keeps the first key statement and the certificates.
///
/// # Errors
/// [`Error::BadFile`] when the RA's certificate is not for this room's key, [`Error::File`].
pub fn install(dir: &Path, installed: &Installed) -> Result<(), Error> {
    let certificate = installed.ra_certificate.clone();
    RaKey::new(ra_signer(dir)?, certificate).map_err(|e| bad(dir, RA_CERTIFICATE, e))?;
    write(dir, RA_CERTIFICATE, &installed.ra_certificate)?;
    write(dir, CA_CERTIFICATE, &installed.ca_certificate)?;
    Trust::install(dir, &installed.root_key, &installed.statement).map_err(|source| Error::File {
        path: dir.join("root.pub"),
        verb: "written",
        source,
    })
}

impl Keys {
    /// Reads the folder.
    pub fn open(dir: &Path, clock: &dyn Clock) -> Result<Self, Error> {
        let ra = RaKey::new(ra_signer(dir)?, read(dir, RA_CERTIFICATE)?)
            .map_err(|e| bad(dir, RA_CERTIFICATE, e))?;
        let ca_certificate = read(dir, CA_CERTIFICATE)?;
        apple::x509::Certificate::parse(&ca_certificate).map_err(|e| bad(dir, CA_CERTIFICATE, e))?;
        let trust = Trust::open(dir, clock).map_err(|source| Error::File {
            path: dir.join("root.pub"),
            verb: "read",
            source,
        })?;
        Ok(Self {
            ra,
            ca_certificate,
            sender: KeyPairSecret::from_bytes(key_bytes(dir, SENDER_KEY)?),
            tags: ChangeTagKey::from_bytes(*key_bytes(dir, CHANGE_KEY)?),
            trust,
        })
    }
}

fn ra_signer(dir: &Path) -> Result<RsaSigner, Error> {
    RsaSigner::from_pkcs8(&read_secret(dir, RA_KEY)?).map_err(|e| bad(dir, RA_KEY, e))
}

fn key_bytes(dir: &Path, name: &str) -> Result<Zeroizing<[u8; 32]>, Error> {
    let bytes = read_secret(dir, name)?;
    <[u8; 32]>::try_from(bytes.as_slice())
        .map(Zeroizing::new)
        .map_err(|_| bad(dir, name, "it does not have 32 bytes"))
}

fn bad(dir: &Path, name: &str, why: impl ToString) -> Error {
    Error::BadFile { path: dir.join(name), why: why.to_string() }
}

fn make_dir(dir: &Path) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|source| Error::File {
        path: dir.to_owned(),
        verb: "written",
        source,
    })
}

fn is_there(dir: &Path, name: &str) -> bool {
    dir.join(name).exists()
}

fn read(dir: &Path, name: &str) -> Result<Vec<u8>, Error> {
    let path = dir.join(name);
    fs::read(&path).map_err(|source| Error::File { path, verb: "read", source })
}

fn read_secret(dir: &Path, name: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
    at_rest::read(dir, name).map_err(|source| Error::File { path: dir.join(name), verb: "read", source })
}

fn write(dir: &Path, name: &str, content: &[u8]) -> Result<(), Error> {
    write_file(dir, name, content, false).map_err(|source| Error::File {
        path: dir.join(name),
        verb: "written",
        source,
    })
}

fn write_secret(dir: &Path, name: &str, content: &[u8]) -> Result<(), Error> {
    at_rest::write(dir, name, content).map_err(|source| Error::File {
        path: dir.join(name),
        verb: "written",
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn preparing_twice_gives_the_same_keys_and_no_one_else_can_read_them() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("reader");
        let first = prepare(&dir).unwrap();
        assert_eq!(prepare(&dir).unwrap(), first);
        for name in [RA_KEY, SENDER_KEY, CHANGE_KEY] {
            let mode = fs::metadata(dir.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_key_file_that_was_cut_is_named_and_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path()).unwrap();
        fs::write(dir.path().join(SENDER_KEY), [1; 31]).unwrap();
        let error = prepare(dir.path()).unwrap_err();
        assert!(error.to_string().contains("sender.key"), "{error}");
        assert_eq!(fs::read(dir.path().join(SENDER_KEY)).unwrap(), [1; 31]);
    }
}
