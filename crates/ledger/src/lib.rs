//! The append-only record that is the vault's state: entries, chained hashes, verification, and a file
//! store.
//!
//! - [`entry`]: what one entry says, a closed enum with one canonical encoding.
//! - [`FileLedger`]: appends batches, each durable or absent as a whole; [`LedgerReader`] follows it.
//! - [`verify()`]: checks a ledger from outside and names the first entry that is wrong; [`scan`] does the
//!   same without decoding what entries say, and [`Audit`] holds them against the signed tree.
//! - [`tree`]: the Merkle tree over the entries, its proofs and their checks; [`tile`]: its hashes as files;
//!   [`note`] and [`checkpoint`]: what is signed of it. [`Publisher`] keeps them beside the ledger.
//! - [`proof`]: that an entry is in the ledger, as a file; [`witness`]: what a witness judges by.
//! - [`PersonKeys`]: the key of each person, under which the ledger's personal fields are sealed.
//!
//! The vault writes an entry, and only when [`FileLedger::append_batch`] has returned does it act; its
//! state is a replay ([`FileLedger::open_replaying`]). Each entry names the hash of the one before, so
//! a change anywhere changes [`FileLedger::head`]: whoever remembers a head (core, a witness) notices.
//! The chain alone does not stop someone who owns the file from writing it anew from some entry on;
//! that is what remembered heads, signed checkpoints and witnesses are for.

mod about;
mod audit;
mod builder;
pub mod checkpoint;
pub mod disk;
mod effect;
pub mod entry;
mod error;
mod frame;
pub mod note;
mod personal;
pub mod proof;
mod publish;
mod scan;
pub mod snapshot;
mod store;
pub mod tile;
pub mod tree;
mod verify;
pub mod witness;
mod words;

pub use about::{About, KINDS};
pub use audit::Audit;
pub use checkpoint::{Checkpoint, SignedCheckpoint};
pub use disk::{Disk, FileDisk};
pub use entry::{
    Approval, Body, Counted, Declared, Effect, Entry, ErasingKey, Opaque, PersonalSealed, ReasonKey,
    RefusalCode, SigningPublicKey, Witness,
};
pub use error::{Damage, EntryError, LedgerError};
pub use frame::{FILE_NAME, Position, Record};
pub use note::{Note, NoteError, NoteSignature, Signs, VerifierKey};
pub use personal::{KEYS_FILE_NAME, PersonCover, PersonKeys, Subject};
pub use proof::Proof;
pub use publish::{CHECKPOINT_FILE, FolderShelf, Publisher, Shelf, TREE_DIR};
pub use scan::{Scanned, scan};
pub use store::{Cut, Entries, FileLedger, LedgerReader};
pub use tile::{Level, Tile, TileFolder, TileNodes, TileSource};
pub use tree::{Edge, ProofError};
pub use verify::{Report, replay, verify};
