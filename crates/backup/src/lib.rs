//! What a backup is: one part a room, each encrypted by that room to the operator's recipients, and a
//! manifest that holds them together.
//!
//! ```text
//! matron-20261128T030000Z/
//!   house.tar.age  core.tar.age  door.tar.age  reader.tar.age  courier.tar.age  vault.tar.age
//!   manifest.json        written last, signed by the vault
//! ```
//!
//! A part is a tar archive in age's format (<https://age-encryption.org/v1>), so that `age -d` and `tar`
//! read it without Matron. Whoever makes a part holds recipients alone: nothing here that a running
//! house does can open what it wrote. age says nothing of who wrote a file; that the parts belong
//! together is the vault's signature over the manifest.

mod error;
mod key;
mod manifest;
mod part;

pub use error::BackupError;
pub use key::{Identities, Recipients};
pub use manifest::{
    FORMAT, MANIFEST_FILE, Made, Manifest, PARTS, PartMade, Place, Request, Signed, part_file,
};
pub use part::{Kept, PartWriter, Sink, back_up_files, check, unpack};
