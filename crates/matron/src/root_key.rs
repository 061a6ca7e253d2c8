//! Where the rooms' keys are wrapped under what comes from: `vault.root_key`. Nothing here reads a byte of it; each
//! room does, before it is held ([`rpc::at_rest`]).

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::config::{Config, RootKey};
use crate::rooms::Room;

/// The credential's name, as systemd has it.
pub(crate) const CREDENTIAL: &str = "matron-root-key";

impl Config {
    /// The file that has the secret; `None`: the keys lie beside the data.
    pub(crate) fn root_key_file(&self) -> Result<Option<PathBuf>> {
        match self.vault.root_key {
            RootKey::File => Ok(None),
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

    /// What a room is handed to unlock its files: nothing for core, which has no key.
    pub(crate) fn root_key_for(&self, room: Room) -> Result<Vec<OwnedFd>> {
        match self.root_key_file()?.filter(|_| room != Room::Core) {
            Some(path) => Ok(vec![OwnedFd::from(File::open(&path).context("the root key's credential")?)]),
            None => Ok(Vec::new()),
        }
    }

    /// The same for a one-shot child: arguments.
    pub(crate) fn root_key_arguments(&self, room: Room) -> Result<Vec<std::ffi::OsString>> {
        let path = self.root_key_file()?.filter(|_| room != Room::Core);
        Ok(path.into_iter().flat_map(|p| ["--root-key".into(), p.into_os_string()]).collect())
    }
}
