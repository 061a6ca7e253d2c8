//! Compartments, sealing and opening, masks, indexes, change tags. Pure: no I/O, no clock of its own;
//! randomness comes in as [`aws_lc_rs::rand::SecureRandom`] (rooms pass a `SystemRandom`).

mod change;
mod error;
mod index;
mod key;
mod mask;
mod normalise;
mod opener;
mod sealer;
pub mod to;
mod window;

pub use change::ChangeTagKey;
pub use error::{OpenError, SealError};
pub use index::{IndexEntry, IndexKey, Scanner, SearchToken};
pub use key::{CompartmentPublic, CompartmentSecret, KeyPairSecret, PublicKey};
pub use mask::mask;
pub use normalise::{MAX_TERMS, SearchField, imei_is_valid, terms};
pub use opener::{CACHED_WINDOWS, Opener};
pub use sealer::{MAX_FIELD_BYTES, MAX_NAME_BYTES, Sealer};
pub use window::{WINDOW_MS, WRAPPED_KEY_BYTES};
