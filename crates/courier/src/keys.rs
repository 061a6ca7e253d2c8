//! The room's folder: `push.key` (X25519, 32 bytes, opens the push compartment), `topic`, and the files of
//! [`rpc::trust`].

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use rpc::at_rest;
use rpc::install::{CourierPublic, Installed};
use rpc::key_ring::KeyRing;
use rpc::trust::Trust;
use seal::KeyPairSecret;
use zeroize::Zeroizing;

use crate::Error;

pub(crate) const PUSH_KEY: &str = "push.key";

/// The first start: makes the push compartment's key in the room's own folder (0600, the folder 0700) and
/// says its public half. A key that is there already stays; so it can be asked again.
///
/// # Errors
/// [`Error::File`], [`Error::BadFile`], [`Error::Keys`].
pub fn prepare(dir: &Path) -> Result<CourierPublic, Error> {
    use std::os::unix::fs::DirBuilderExt;
    let path = dir.join(PUSH_KEY);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|source| Error::File {
        path: dir.to_owned(),
        verb: "written",
        source,
    })?;
    match fs::metadata(&path) {
        Ok(_) => {}
        Err(e) if e.kind() == ErrorKind::NotFound => {
            let mut key = Zeroizing::new([0u8; 32]);
            SystemRandom::new()
                .fill(key.as_mut())
                .map_err(|_| Error::Keys("the system gave no random bytes".into()))?;
            at_rest::write(dir, PUSH_KEY, key.as_ref()).map_err(|source| Error::File {
                path,
                verb: "written",
                source,
            })?;
        }
        Err(source) => return Err(Error::File { path, verb: "read", source }),
    }
    let keys = push_keys(dir, &open_ring(dir)?)?;
    Ok(CourierPublic { push_key: keys.first().map(|k| k.public().0).unwrap_or_default() })
}

/// Takes what the vault's child made: pins the root key and keeps the first key statement.
///
/// # Errors
/// [`Error::File`].
pub fn install(dir: &Path, installed: &Installed) -> Result<(), Error> {
    Trust::install(dir, &installed.root_key, &installed.statement).map_err(|source| Error::File {
        path: dir.join("root.pub"),
        verb: "written",
        source,
    })
}

/// The push compartment's keys.
pub(crate) fn open_ring(dir: &Path) -> Result<KeyRing, Error> {
    KeyRing::open(dir, PUSH_KEY).map_err(|source| Error::File {
        path: dir.join(PUSH_KEY),
        verb: "read",
        source,
    })
}

/// The same as key pairs, the newest first.
pub(crate) fn push_keys(dir: &Path, ring: &KeyRing) -> Result<Vec<KeyPairSecret>, Error> {
    let pair = |(_, bytes): (u32, &[u8])| {
        let key = <[u8; 32]>::try_from(bytes).map_err(|_| Error::BadFile {
            path: dir.join(PUSH_KEY),
            why: "it does not have 32 bytes; restore it from a backup, or install anew".into(),
        })?;
        Ok(KeyPairSecret::from_bytes(Zeroizing::new(key)))
    };
    ring.newest_first().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn preparing_twice_gives_the_same_key_and_no_one_else_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("courier");
        let first = prepare(&dir).unwrap();
        assert_eq!(prepare(&dir).unwrap(), first);
        assert_eq!(fs::metadata(dir.join(PUSH_KEY)).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_key_that_was_cut_is_named_and_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(PUSH_KEY), [1; 5]).unwrap();
        assert!(prepare(dir.path()).unwrap_err().to_string().contains("push.key"));
        assert_eq!(fs::read(dir.path().join(PUSH_KEY)).unwrap(), [1; 5]);
    }
}
