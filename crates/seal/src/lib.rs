//! Compartments, sealing and opening, masks, indexes, change tags. Pure: no I/O and no clock of its
//! own; randomness comes in as [`aws_lc_rs::rand::SecureRandom`] (rooms pass a `SystemRandom`).
//!
//! What is not on the model's allow-list is sealed where it enters, and opened where an order allows
//! it. Who uses what:
//!
//! - **reader** seals each field with a [`Sealer`] (the compartments' public keys, its own sender key),
//!   adds the [`mask()`] that lists show and a [`ChangeTagKey`]'s tag, and seals SCEP requests with
//!   [`to::seal_auth`].
//! - **vault** has the secrets: an [`Opener`], the [`IndexKey`], and [`to::open`] for orders'
//!   arguments. It seals answers to the order's key and deliveries to the door.
//! - **courier** has an [`Opener`] with the *push* secret alone.
//! - **core** keeps rows and [`IndexEntry`]s, and scans with a [`SearchToken`] that the vault made for
//!   a search; it holds no key.
//! - **door** opens deliveries ([`to::INFO_DELIVERY`]).
//!
//! A field is AES-256-GCM under a data key that lives for one compartment and one minute
//! ([`WINDOW_MS`]); the data key is wrapped with HPKE (RFC 9180) in Auth mode, so the row proves that
//! reader made it. Enrolment id, field name and version are associated data and the compartment is in
//! HPKE's `info`: a value that was moved does not open. Rows of one window carry the same
//! [`model::SealedRow::wrapped_key`], which a store may keep once.
//!
//! Every fixed string that goes into a key or a tag begins with `matron/` and ends with its version.

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
pub use window::{WINDOW_MS, WRAPPED_KEY_BYTES, epoch_of};
