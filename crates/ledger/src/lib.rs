//! The append-only record that is the vault's state: entries, chained hashes, verification, and a
//! file store.

pub mod entry;
mod error;

pub use entry::{
    Body, Effect, Entry, Opaque, PersonalSealed, ReasonKey, RefusalCode, SigningPublicKey, Witness,
};
pub use error::{Damage, EntryError, LedgerError};
