//! The room's folder: keys that it made itself, and what it was told to trust at the installation.
//!
//! | file | what |
//! |---|---|
//! | `ra.key` | the SCEP RA's RSA key, PKCS#8 |
//! | `sender.key` | X25519, 32 bytes: the reader proves itself by it when it seals |
//! | `change.key` | 32 bytes: change tags; and the oldest one, by which phones, users and elements are named |
//! | `ra.der`, `ca.der` | the RA's and the CA's certificate |
//! | `authorities.cbor` | the CAs that count, since there was another: see [`rpc::authorities`] |
//! | `ra.older.der` | the RA's certificate before, since the first rotation |
//! | `root.pub`, `statement.cbor` | see [`rpc::trust`] |
//!
//! `ra.key`, `sender.key` and `change.key` hold older keys too while they rotate: see [`rpc::key_ring`]. The keys are wrapped where the root key comes from elsewhere: see [`rpc::at_rest`].

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use apple::scep::RaKey;
use apple::x509::{RsaSigner, Signer};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use model::{Clock, KeyName};
use order::TrustedStatement;
use rpc::at_rest;
use rpc::authorities::{AUTHORITIES, Authorities};
use rpc::install::{Installed, ReaderPublic};
use rpc::key_ring::KeyRing;
use rpc::trust::{Trust, write_file};
use seal::{ChangeTagKey, KeyPairSecret};
use zeroize::Zeroizing;

use crate::Error;

const RA_KEY: &str = "ra.key";
const SENDER_KEY: &str = "sender.key";
const CHANGE_KEY: &str = "change.key";
const RA_CERTIFICATE: &str = "ra.der";
const OLDER_RA_CERTIFICATE: &str = "ra.older.der";
const CA_CERTIFICATE: &str = "ca.der";

/// What the room holds while it runs.
pub(crate) struct Keys {
    dir: PathBuf,
    rings: Mutex<Rings>,
    current: RwLock<Arc<Current>>,
    pub authorities: Authorities,
    pub trust: Trust,
}

/// The files of the keys that rotate.
struct Rings {
    ra: KeyRing,
    sender: KeyRing,
    change: KeyRing,
}

/// The keys that rotate, as they stand.
pub(crate) struct Current {
    /// The newest first; which counts the statement says.
    senders: Vec<KeyPairSecret>,
    /// The RA that phones are told, with its number.
    pub ra: (u32, RaKey),
    /// The one before, while phones may still go by it.
    older_ra: Option<(u32, RaKey)>,
    /// Whether a value has changed is said by this one.
    pub tags: ChangeTagKey,
    /// By this one a phone, a user and an element of a list are known again. It is the installation's for good: with another
    /// every phone would be another phone.
    pub names: ChangeTagKey,
}

impl Current {
    /// The sender's key that a statement names.
    pub fn sender(&self, statement: &TrustedStatement) -> Option<&KeyPairSecret> {
        self.senders.iter().find(|key| key.public().0 == statement.reader_key.0)
    }

    /// The RAs that open requests, the newest first.
    pub fn ras(&self) -> impl Iterator<Item = &(u32, RaKey)> {
        std::iter::once(&self.ra).chain(&self.older_ra)
    }

    /// The RA of that number; the newest, if it is gone.
    pub fn ra_of(&self, number: u32) -> &RaKey {
        self.ras().find(|(n, _)| *n == number).map_or(&self.ra.1, |(_, ra)| ra)
    }
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
    let sender = senders(dir, &ring(dir, SENDER_KEY)?)?;
    let sender_key = sender.first().map(|key| key.public().0).unwrap_or_default();
    change_keys(dir, &ring(dir, CHANGE_KEY)?)?;
    Ok(ReaderPublic { ra_spki: newest_ra(dir, &ring(dir, RA_KEY)?)?.spki_der().to_vec(), sender_key })
}

/// Takes what the vault's child made: pins the root key, keeps the first key statement and the certificates.
///
/// # Errors
/// [`Error::BadFile`] when the RA's certificate is not for this room's key, [`Error::File`].
pub fn install(dir: &Path, installed: &Installed) -> Result<(), Error> {
    let certificate = installed.ra_certificate.clone();
    ra_of(dir, &ring(dir, RA_KEY)?, certificate)?;
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
        let (ra, sender) = (ring(dir, RA_KEY)?, ring(dir, SENDER_KEY)?);
        let rings = Rings { ra, sender, change: ring(dir, CHANGE_KEY)? };
        let current = rings.current(dir)?;
        let authorities = Authorities::open(dir, CA_CERTIFICATE).map_err(|source| Error::File {
            path: dir.join(AUTHORITIES),
            verb: "read",
            source,
        })?;
        for ca in authorities.all().iter() {
            apple::x509::Certificate::parse(&ca.certificate).map_err(|e| bad(dir, CA_CERTIFICATE, e))?;
        }
        let trust = Trust::open(dir, clock).map_err(|source| Error::File {
            path: dir.join("root.pub"),
            verb: "read",
            source,
        })?;
        let keys = Self {
            dir: dir.to_owned(),
            rings: Mutex::new(rings),
            current: RwLock::new(Arc::new(current)),
            authorities,
            trust,
        };
        // Believed before a crash, and perhaps not done.
        if let Some(statement) = keys.trust.current(clock.now_ms()) {
            keys.follow(&statement);
        }
        Ok(keys)
    }

    /// The keys as they stand.
    pub fn current(&self) -> Arc<Current> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The key of an order's number, made if it is not there; its public half. An RSA key takes its time.
    pub fn make(&self, key: KeyName, number: u32) -> Result<Vec<u8>, Error> {
        let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = &self.dir;
        let public = match key {
            KeyName::ScepRa => {
                let made = rings.ra.make(number, || {
                    let key = RsaSigner::generate().and_then(|key| key.to_pkcs8());
                    key.map(|key| Zeroizing::new(key.to_vec())).map_err(std::io::Error::other)
                });
                let made = made.map_err(|source| written(dir, RA_KEY, source))?;
                RsaSigner::from_pkcs8(&made).map_err(|e| bad(dir, RA_KEY, e))?.spki_der().to_vec()
            }
            KeyName::ReaderSender => {
                let made = rings.sender.make(number, || {
                    let key = KeyPairSecret::generate(&SystemRandom::new());
                    key.map(|key| Zeroizing::new(key.secret_bytes().to_vec())).map_err(std::io::Error::other)
                });
                let made = made.map_err(|source| written(dir, SENDER_KEY, source))?;
                pair(dir, &made)?.public().0.to_vec()
            }
            KeyName::ChangeTags => {
                let made = rings.change.make(number, || {
                    let mut key = Zeroizing::new(vec![0u8; 32]);
                    let filled = SystemRandom::new().fill(&mut key);
                    filled.map(|()| key).map_err(|_| std::io::Error::other("the system gave no random bytes"))
                });
                let made = made.map_err(|source| written(dir, CHANGE_KEY, source))?;
                // Nothing waits for the one before: what is said from now on has tags of the new one.
                let kept = [rings.change.oldest(), number];
                rings.change.destroy_but(&kept).map_err(|source| written(dir, CHANGE_KEY, source))?;
                name_of(&change_key(dir, &made)?)
            }
            _ => return Err(Error::Keys(format!("the key '{}' is not the reader's to make", key.name()))),
        };
        self.put(rings.current(dir)?);
        Ok(public)
    }

    fn put(&self, current: Current) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(current);
    }

    /// Goes by the keys that a statement names; destroys those before, unless it says that they are needed.
    pub fn follow(&self, statement: &TrustedStatement) {
        self.authorities.follow(statement);
        let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        let done = rings.follow_ra(&self.dir, statement).and_then(|()| {
            rings.follow_sender(&self.dir, statement)?;
            rings.current(&self.dir)
        });
        match done {
            Ok(current) => self.put(current),
            Err(error) => tracing::error!(%error, "the reader can't go by the keys that are stated"),
        }
    }
}

impl Rings {
    fn current(&self, dir: &Path) -> Result<Current, Error> {
        let ra = ra_of(dir, &self.ra, read(dir, RA_CERTIFICATE)?)?;
        // Its key may be destroyed already, and at first there is none.
        let older = read(dir, OLDER_RA_CERTIFICATE).and_then(|c| ra_of(dir, &self.ra, c)).ok();
        let older_ra = older.filter(|(number, _)| *number != ra.0);
        let (tags, names) = change_keys(dir, &self.change)?;
        Ok(Current { senders: senders(dir, &self.sender)?, ra, older_ra, tags, names })
    }

    fn follow_ra(&mut self, dir: &Path, statement: &TrustedStatement) -> Result<(), Error> {
        let now = read(dir, RA_CERTIFICATE)?;
        if let Some(new) = &statement.ra_certificate
            && *new != now
            && order::sha256(new) == statement.ra_fingerprint
        {
            ra_of(dir, &self.ra, new.clone())?;
            // Killed between the two, the older one is the present one for a while.
            write(dir, OLDER_RA_CERTIFICATE, &now)?;
            write(dir, RA_CERTIFICATE, new)?;
        }
        let (number, ra) = ra_of(dir, &self.ra, read(dir, RA_CERTIFICATE)?)?;
        if order::sha256(ra.cert_der()) == statement.ra_fingerprint && !statement.needs_older(KeyName::ScepRa)
        {
            let gone = self.ra.destroy_before(number).map_err(|source| written(dir, RA_KEY, source))?;
            if gone > 0 {
                tracing::info!(keys = gone, "older RA keys were destroyed");
            }
        }
        Ok(())
    }

    fn follow_sender(&mut self, dir: &Path, statement: &TrustedStatement) -> Result<(), Error> {
        let at = senders(dir, &self.sender)?.iter().position(|k| k.public().0 == statement.reader_key.0);
        let Some((number, _)) = at.and_then(|at| self.sender.newest_first().nth(at)) else {
            tracing::error!(
                "the key statement names another reader's key: nothing is read until it names ours; \
                 'matron keys rotate reader_sender' makes another"
            );
            return Ok(());
        };
        // What it sealed stays to be opened by the vault; the key itself is good for nothing more.
        let gone = self.sender.destroy_before(number).map_err(|source| written(dir, SENDER_KEY, source))?;
        if gone > 0 {
            tracing::info!(keys = gone, "older keys of the reader's were destroyed");
        }
        Ok(())
    }
}

fn ring(dir: &Path, name: &str) -> Result<KeyRing, Error> {
    KeyRing::open(dir, name).map_err(|source| Error::File { path: dir.join(name), verb: "read", source })
}

fn pair(dir: &Path, bytes: &[u8]) -> Result<KeyPairSecret, Error> {
    let bytes = <[u8; 32]>::try_from(bytes).map_err(|_| bad(dir, SENDER_KEY, "it does not have 32 bytes"))?;
    Ok(KeyPairSecret::from_bytes(Zeroizing::new(bytes)))
}

fn senders(dir: &Path, ring: &KeyRing) -> Result<Vec<KeyPairSecret>, Error> {
    ring.newest_first().map(|(_, bytes)| pair(dir, bytes)).collect()
}

/// The key of change tags, and the one by which phones are named.
fn change_keys(dir: &Path, ring: &KeyRing) -> Result<(ChangeTagKey, ChangeTagKey), Error> {
    let empty = || bad(dir, CHANGE_KEY, "it is empty");
    let (_, newest) = ring.newest_first().next().ok_or_else(empty)?;
    let (_, oldest) = ring.newest_first().last().ok_or_else(empty)?;
    Ok((change_key(dir, newest)?, change_key(dir, oldest)?))
}

fn change_key(dir: &Path, bytes: &[u8]) -> Result<ChangeTagKey, Error> {
    let bytes = <[u8; 32]>::try_from(bytes);
    bytes.map(ChangeTagKey::from_bytes).map_err(|_| bad(dir, CHANGE_KEY, "it does not have 32 bytes"))
}

/// What says which key it is and nothing of it: 32 bytes.
fn name_of(key: &ChangeTagKey) -> Vec<u8> {
    let none = model::EnrolmentId([0; 16]);
    [key.tag(&none, "key/1", b""), key.tag(&none, "key/2", b"")].concat()
}

fn newest_ra(dir: &Path, ring: &KeyRing) -> Result<RsaSigner, Error> {
    let (_, newest) = ring.newest_first().next().ok_or_else(|| bad(dir, RA_KEY, "it is empty"))?;
    RsaSigner::from_pkcs8(newest).map_err(|e| bad(dir, RA_KEY, e))
}

/// The key of a certificate, with its number.
fn ra_of(dir: &Path, ring: &KeyRing, certificate: Vec<u8>) -> Result<(u32, RaKey), Error> {
    let mut why = bad(dir, RA_CERTIFICATE, "it is not for a key of this room's");
    for (number, bytes) in ring.newest_first() {
        let signer = RsaSigner::from_pkcs8(bytes).map_err(|e| bad(dir, RA_KEY, e))?;
        match RaKey::new(signer, certificate.clone()) {
            Ok(ra) => return Ok((number, ra)),
            Err(e) => why = bad(dir, RA_CERTIFICATE, e),
        }
    }
    Err(why)
}

fn written(dir: &Path, name: &str, source: std::io::Error) -> Error {
    Error::File { path: dir.join(name), verb: "written", source }
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
    fn a_new_key_of_change_tags_knows_the_phones_again_and_the_one_before_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path()).unwrap();
        let first = fs::read(dir.path().join(CHANGE_KEY)).unwrap();
        let mut change = ring(dir.path(), CHANGE_KEY).unwrap();
        let of = |dir: &Path| change_keys(dir, &ring(dir, CHANGE_KEY).unwrap()).unwrap();
        let phone = model::EnrolmentId([1; 16]);
        let said = |keys: &(ChangeTagKey, ChangeTagKey)| {
            (keys.0.tag(&phone, "IMEI", b"1"), keys.1.tag(&phone, "UDID", b"1"))
        };
        let before = said(&of(dir.path()));
        let second = change.make(2, || Ok(Zeroizing::new(vec![2; 32]))).unwrap();
        change.destroy_but(&[change.oldest(), 2]).unwrap();
        let after = said(&of(dir.path()));
        assert!(after.0 != before.0 && after.1 == before.1);
        change.make(5, || Ok(Zeroizing::new(vec![5; 32]))).unwrap();
        change.destroy_but(&[change.oldest(), 5]).unwrap();
        let file = fs::read(dir.path().join(CHANGE_KEY)).unwrap();
        let holds = |key: &[u8]| file.windows(32).any(|w| w == key);
        assert!(!holds(&second) && holds(&[5; 32]) && holds(&first));
        let (third, _) = of(dir.path());
        assert_eq!(name_of(&third).len(), 32);
        assert_ne!(name_of(&third), name_of(&change_key(dir.path(), &second).unwrap()));
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
