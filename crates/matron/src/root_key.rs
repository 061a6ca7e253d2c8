//! Where the rooms' keys are wrapped under what comes from: `vault.root_key`. Nothing here reads a byte of it; each
//! room does, before it is held ([`rpc::at_rest`]).

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rpc::hsm::Make;

use crate::config::{Config, RootKey};
use crate::pkcs11::Process;
use crate::rooms::Room;

/// The credential's name, as systemd has it.
pub(crate) const CREDENTIAL: &str = "matron-root-key";

impl Config {
    /// The file that has the secret, where it is a file that is not beside the data.
    pub(crate) fn root_key_file(&self) -> Result<Option<PathBuf>> {
        match self.vault.root_key {
            RootKey::File | RootKey::Pkcs11 => Ok(None),
            RootKey::Credential => {
                let dir = std::env::var_os("CREDENTIALS_DIRECTORY").context(
                    "vault.root_key = \"credential\": there is no CREDENTIALS_DIRECTORY; start Matron as a service \
                     with LoadCredentialEncrypted=matron-root-key (docs/operations.md, \"Keys\")",
                )?;
                let path = PathBuf::from(dir).join(CREDENTIAL);
                File::open(&path).with_context(|| {
                    format!("vault.root_key = \"credential\": {} can't be read", path.display())
                })?;
                Ok(Some(path))
            }
        }
    }
}

/// What rooms are handed to unlock their files, and the vault to sign.
pub(crate) enum Unlocking {
    /// Nothing: the keys lie beside the data.
    Beside,
    /// A descriptor of this file.
    File(PathBuf),
    /// What the token gives. `None`: its process has ended and is not there again yet.
    Token(Option<Process>),
}

impl Unlocking {
    /// As it is configured. `data`: the house's folder. A token is opened, and keys are made on it as `make` says.
    ///
    /// # Errors
    /// When there is no such credential, or the token can't be opened: [`crate::pkcs11::NotOpened`].
    pub(crate) fn open(config: &Config, data: &Path, make: Make) -> Result<Self> {
        Ok(match (config.vault.root_key, config.root_key_file()?) {
            (RootKey::Pkcs11, _) => Self::Token(Some(Process::start(config, data, make)?)),
            (_, Some(path)) => Self::File(path),
            (_, None) => Self::Beside,
        })
    }

    /// What a room is handed with its first message: nothing for core, which has no key.
    pub(crate) fn handed_to(&self, room: Room) -> Result<Vec<OwnedFd>> {
        match self {
            _ if room == Room::Core => Ok(Vec::new()),
            Self::Beside => Ok(Vec::new()),
            Self::File(path) => {
                Ok(vec![OwnedFd::from(File::open(path).context("the root key's credential")?)])
            }
            Self::Token(Some(process)) if room == Room::Vault => {
                Ok(vec![process.unlock(room)?, process.stream()?])
            }
            Self::Token(Some(process)) => Ok(vec![process.unlock(room)?]),
            Self::Token(None) => anyhow::bail!("the token is not open"),
        }
    }
}
