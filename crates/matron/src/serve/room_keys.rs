//! Keys that rooms make anew for themselves: the vault says which, the rooms are asked, and what they answer goes to the
//! vault. The supervisor sees public halves alone, and core is not on the way.
//!
//! Nothing of it is kept: the vault says at its start what it waits for, a room answers again what it answered before,
//! and whoever died is asked when it is back. So it ends well whoever is killed, and when.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use model::KeyName;
use rpc::control::ToRoom;
use rpc::trust::write_file;

use super::Supervisor;
use crate::rooms::Room;

/// In the data folder: the certificates of the CAs that count. Public.
const CA_PEM: &str = "ca.pem";

/// The newest word of the vault.
#[derive(Clone, Default)]
pub(super) struct Wanted(Arc<Mutex<Said>>);

#[derive(Default)]
struct Said {
    keys: Vec<(KeyName, u32)>,
    /// The CAs that count, until they are written down.
    authorities: Option<Vec<Vec<u8>>>,
}

impl Wanted {
    /// Each key once.
    pub(super) fn put(&self, keys: &[(KeyName, u32)], authorities: Vec<Vec<u8>>) {
        let of = |key: &KeyName| keys.iter().rev().find(|(k, _)| k == key).copied();
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.keys = KeyName::ALL.iter().filter_map(of).collect();
        if !authorities.is_empty() {
            said.authorities = Some(authorities);
        }
    }

    fn all(&self) -> Vec<(KeyName, u32)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keys.clone()
    }

    /// Writes the CAs that count for people and scripts, if that is not done: what a phone or a browser has to trust.
    fn write_authorities(&self, data: &Path) -> std::io::Result<()> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Once for each word of the vault, whether it can be written or not.
        let Some(authorities) = said.authorities.take() else { return Ok(()) };
        let pems: Vec<_> =
            authorities.iter().map(|der| pem::Pem::new("CERTIFICATE", der.as_slice())).collect();
        let text = pem::encode_many(&pems);
        if std::fs::read(data.join(CA_PEM)).ok().as_deref() != Some(text.as_bytes()) {
            write_file(data, CA_PEM, text.as_bytes(), false)?;
        }
        Ok(())
    }
}

/// Whose key it is.
fn room_of(key: KeyName) -> Option<Room> {
    Room::ALL.into_iter().find(|room| Some(room.name()) == key.made_by())
}

impl Supervisor {
    /// Asks the rooms for what the vault waits for.
    pub(super) fn ask_for_keys(&self) {
        if let Some(data) = self.rooms_dir.parent()
            && let Err(e) = self.wanted.write_authorities(data)
        {
            self.warn(&format!("the CAs' certificates could not be written to {CA_PEM}: {e}"));
        }
        for (key, number) in self.wanted.all() {
            let Some(living) = room_of(key).and_then(|room| self.living.get(&room)).filter(|l| l.ready)
            else {
                continue;
            };
            living.may_say.fetch_add(1, Ordering::Relaxed);
            // One that reads nothing is ended by its silence.
            let _ = living.control.send(&ToRoom::MakeKey { key, number }, &[]);
        }
    }

    /// A room made what it was asked for: the vault is told.
    pub(super) fn key_made(&self, from: Room, key: KeyName, number: u32, public: Vec<u8>) {
        if room_of(key) != Some(from) || !self.wanted.all().contains(&(key, number)) {
            return;
        }
        if let Some(vault) = self.living.get(&Room::Vault).filter(|l| l.ready) {
            let _ = vault.control.send(&ToRoom::KeyMade { key, number, public }, &[]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_that_another_room_makes_is_of_a_room_that_there_is() {
        for key in KeyName::ALL {
            assert_eq!(room_of(*key).map(Room::name), key.made_by());
        }
    }

    #[test]
    fn of_what_the_vault_says_the_newest_word_of_each_key_counts() {
        let wanted = Wanted::default();
        wanted.put(&[(KeyName::Push, 2), (KeyName::Push, 3), (KeyName::Delivery, 2)], vec![]);
        assert_eq!(wanted.all(), [(KeyName::Push, 3), (KeyName::Delivery, 2)]);
        wanted.put(&[], vec![]);
        assert_eq!(wanted.all(), []);
    }
}
