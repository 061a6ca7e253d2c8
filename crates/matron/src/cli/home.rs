//! The folder where the command line keeps the signing key, the session, and what it has seen.
//! Files are for their owner alone (0600) and written whole or not at all.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use model::{Digest, PersonId, TimeMs};
use order::Ed25519Secret;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::failure::{Result, failed, usage};

const KEY_FILE: &str = "key.json";
const SESSION_FILE: &str = "session.json";
const SEEN_FILE: &str = "seen.json";

/// How far a key has come.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KeyState {
    /// Made; nobody has registered it through this home.
    Made,
    /// Its join order was made and perhaps sent; the outcome is not known here.
    Pending,
    /// The vault knows it.
    Joined,
}

/// A join order as it was first signed: what is sent again must be the very same bytes.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct PendingJoin {
    /// Base64.
    pub(crate) signed_order: String,
    /// Base64.
    pub(crate) sealed_arguments: String,
}

/// `key.json`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyFile {
    version: u8,
    pub(crate) state: KeyState,
    /// The Ed25519 seed, in hexadecimal: the secret.
    seed: String,
    pub(crate) person: Option<PersonId>,
    /// The vault's root key, pinned; hexadecimal.
    pub(crate) root_key: Option<Digest>,
    pub(crate) server: Option<String>,
    /// SHA-256 of the token the join was begun with.
    pub(crate) token_hash: Option<Digest>,
    pub(crate) pending: Option<PendingJoin>,
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        self.seed.zeroize();
    }
}

impl KeyFile {
    pub(crate) fn new(seed: &[u8; 32]) -> Self {
        Self {
            version: 1,
            state: KeyState::Made,
            seed: hex(seed),
            person: None,
            root_key: None,
            server: None,
            token_hash: None,
            pending: None,
        }
    }

    pub(crate) fn secret(&self) -> Result<Ed25519Secret> {
        // A digest's text form is that of any 32 bytes.
        let seed: Digest = self.seed.parse().map_err(|_| failed("key.json: the seed is not 64 digits"))?;
        Ed25519Secret::from_seed(seed.0).ok_or_else(|| failed("key.json: the seed makes no key"))
    }
}

/// `session.json`.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Session {
    /// `ms_` and 43 characters.
    pub(crate) secret: String,
    pub(crate) expires_at_ms: TimeMs,
    pub(crate) records: u32,
    pub(crate) searches: u32,
    /// The server it is for.
    pub(crate) server: String,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

/// `seen.json`: what must never go back.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Of this house.
    pub(crate) root_key: Digest,
    /// The newest statement's epoch.
    pub(crate) epoch: u32,
    /// How long the ledger was, when it was verified.
    pub(crate) entries: u64,
    /// The hash of its last entry then.
    pub(crate) hash: Option<Digest>,
    /// Root keys that were trusted before, the first one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) former_roots: Vec<Digest>,
    /// What its ledger is called: the origin of its checkpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) log: Option<String>,
}

impl Seen {
    /// Nothing yet of the house with this root key.
    pub(crate) fn of(root_key: Digest) -> Self {
        Self { root_key, epoch: 0, entries: 0, hash: None, former_roots: Vec::new(), log: None }
    }
}

/// The folder.
pub(crate) struct Home(PathBuf);

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

impl Home {
    pub(crate) fn at(dir: Option<&Path>) -> Result<Self> {
        if let Some(dir) = dir {
            return Ok(Self(dir.to_owned()));
        }
        let home = std::env::var_os("HOME").filter(|h| !h.is_empty());
        let home = home.ok_or_else(|| usage("HOME is not set; say with --home where your key is kept"))?;
        Ok(Self(PathBuf::from(home).join(".config/matron")))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let path = self.0.join(name);
        let file = match fs::File::open(&path) {
            Ok(f) => f,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(failed(format!("{}: {e}", path.display()))),
        };
        let mode = file.metadata().map_err(failed)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(failed(format!(
                "{} can be read by others (mode {:o}). Ask who could have read it; then 'chmod 600' it, or join \
                 with a new key",
                path.display(),
                mode & 0o777
            )));
        }
        let text = Zeroizing::new(std::io::read_to_string(file).map_err(failed)?);
        // The parser's words may quote the file: only the place is told.
        serde_json::from_str(&text).map(Some).map_err(|e| {
            failed(format!("{} can't be read (line {}, column {})", path.display(), e.line(), e.column()))
        })
    }

    fn write<T: Serialize>(&self, name: &str, value: &T) -> Result<()> {
        let text = Zeroizing::new(serde_json::to_string_pretty(value).map_err(failed)?);
        let path = self.0.join(name);
        self.write_bytes(name, text.as_bytes()).map_err(|e| failed(format!("{}: {e}", path.display())))
    }

    fn write_bytes(&self, name: &str, bytes: &[u8]) -> std::io::Result<()> {
        if !self.0.is_dir() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        }
        let unfinished = self.0.join(format!(".{name}.{}", std::process::id()));
        let _ = fs::remove_file(&unfinished);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, self.0.join(name))?;
        fs::File::open(&self.0)?.sync_all()
    }

    pub(crate) fn find_key(&self) -> Result<Option<KeyFile>> {
        let key: Option<KeyFile> = self.read(KEY_FILE)?;
        match &key {
            Some(k) if k.version != 1 => Err(failed("key.json was written by a newer version of Matron")),
            _ => Ok(key),
        }
    }

    pub(crate) fn keep_key(&self, key: &KeyFile) -> Result<()> {
        self.write(KEY_FILE, key)
    }

    pub(crate) fn find_session(&self) -> Result<Option<Session>> {
        self.read(SESSION_FILE)
    }

    pub(crate) fn keep_session(&self, session: &Session) -> Result<()> {
        self.write(SESSION_FILE, session)
    }

    pub(crate) fn forget_session(&self) -> Result<()> {
        match fs::remove_file(self.0.join(SESSION_FILE)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(failed(e)),
            _ => Ok(()),
        }
    }

    /// What was seen of the house with this root key.
    pub(crate) fn seen(&self, root_key: Digest) -> Result<Seen> {
        let seen: Option<Seen> = self.read(SEEN_FILE)?;
        // A change of the root key that was cut short has perhaps been noted here and not with the key.
        let of_house = |s: &Seen| s.root_key == root_key || s.former_roots.contains(&root_key);
        Ok(seen.filter(of_house).unwrap_or_else(|| Seen::of(root_key)))
    }

    pub(crate) fn keep_seen(&self, seen: &Seen) -> Result<()> {
        self.write(SEEN_FILE, seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_back_and_is_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(Some(&dir.path().join("deep/home"))).unwrap();
        assert!(home.find_key().unwrap().is_none());
        home.keep_key(&KeyFile::new(&[7; 32])).unwrap();
        let back = home.find_key().unwrap().unwrap();
        assert_eq!(back.secret().unwrap().seed(), &[7; 32]);
        let mode = |p: PathBuf| fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(home.path().join(KEY_FILE)), 0o600);
        assert_eq!(mode(home.path().to_owned()), 0o700);
    }

    #[test]
    fn a_key_that_others_can_read_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(Some(dir.path())).unwrap();
        home.keep_key(&KeyFile::new(&[7; 32])).unwrap();
        fs::set_permissions(dir.path().join(KEY_FILE), fs::Permissions::from_mode(0o644)).unwrap();
        let told = home.find_key().err().unwrap().to_string();
        assert!(told.contains("can be read by others") && !told.contains("0707"), "{told}");
    }

    #[test]
    fn a_damaged_key_file_is_told_without_its_content() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(Some(dir.path())).unwrap();
        home.write_bytes(KEY_FILE, b"{\"seed\": \"secretsecret\", }").unwrap();
        let told = home.find_key().err().unwrap().to_string();
        assert!(told.contains("can't be read") && !told.contains("secretsecret"), "{told}");
    }

    #[test]
    fn what_was_seen_of_another_house_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(Some(dir.path())).unwrap();
        let seen = Seen { epoch: 4, entries: 9, hash: Some(Digest([2; 32])), ..Seen::of(Digest([1; 32])) };
        home.keep_seen(&seen).unwrap();
        assert!(home.seen(Digest([1; 32])).unwrap() == seen);
        assert_eq!(home.seen(Digest([3; 32])).unwrap().epoch, 0);
    }
}
