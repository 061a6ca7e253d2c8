//! The append-only record that is the vault's state: entries, chained hashes, verification, and a file
//! store.
//!
//! - [`entry`]: what one entry says, a closed enum with one canonical encoding.
//! - [`FileLedger`]: appends batches, each durable or absent as a whole; [`LedgerReader`] follows it.
//! - [`verify()`]: checks a ledger from outside and names the first entry that is wrong.
//! - [`PersonKeys`]: the key of each person, under which the ledger's personal fields are sealed.
//!
//! The vault writes an entry, and only when [`FileLedger::append_batch`] has returned does it act; its
//! state is a replay ([`FileLedger::open_replaying`]). Each entry names the hash of the one before, so
//! a change anywhere changes [`FileLedger::head`]: whoever remembers a head (core, a witness) notices.
//! The chain alone does not stop someone who owns the file from writing it anew from some entry on;
//! that is what remembered heads, and later signed checkpoints, are for.

pub mod disk;
mod effect;
pub mod entry;
mod error;
mod frame;
mod personal;
pub mod snapshot;
mod store;
mod verify;
mod words;

pub use disk::{Disk, FileDisk};
pub use entry::{
    Approval, Body, Counted, Declared, Effect, Entry, Opaque, PersonalSealed, ReasonKey, RefusalCode,
    SigningPublicKey, Witness,
};
pub use error::{Damage, EntryError, LedgerError};
pub use frame::{FILE_NAME, Position, Record};
pub use personal::{KEYS_FILE_NAME, PersonKeys, Subject};
pub use store::{Cut, Entries, FileLedger, LedgerReader};
pub use verify::{Report, replay, verify};
