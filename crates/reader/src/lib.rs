//! The room that parses what phones send, and seals it before anyone else sees it.
//!
//! The door hands over bodies as they came; this room reads them ([`apple`]), decides field by field what
//! may stand in the clear ([`model::classify`]: sealed unless listed), seals the rest to the vault's
//! compartments, and says what core may know: an `Observed`. It opens SCEP envelopes and seals the request
//! in them to the vault. It answers one neighbour, the door, over one pair; it has no network, no database,
//! and reads files of its own folder alone, at the start (a believed key statement is kept there).
//!
//! Whoever takes this room sees what passes through it meanwhile, and nothing that is stored: it holds the
//! compartments' *public* keys alone. It does hold the SCEP RA's key and its own sender key, so
//! certificates that were issued and rows that were sealed meanwhile are suspect.
//!
//! # What a sealed value is
//! Text is sealed as its UTF-8, data as it came, numbers and truth values as a person writes them, dates
//! as RFC 3339 in UTC. So whoever opens an IMEI, a push token or an unlock token has it without decoding.
//! Rows named after a whole structure (`ProfileList`, `CertificateList`, `ErrorChain`, `SecurityInfo`…)
//! hold JSON: an object from path to value, or a list of such objects, data as `{"data": base64}`.
//!
//! # What stands in a row's name
//! Names travel in the clear, and a dictionary's key can be as personal as its value. So a path is a name
//! only when it is made of a top-level key, list positions and containers of Apple's schema; everything
//! else is packed into one row under its top-level key, or under `OtherKeys` when that isn't a plain word.
//!
//! # When has a report changed
//! Its tag covers all that the phone said except what moves by itself and is worth no write:
//! `AvailableDeviceCapacity`, an app's `DynamicSize`, a fresh `DevicePropertiesAttestation`. What core shows
//! in the clear is always covered (`BatteryLevel` and `LastCloudBackupDate` too), so that a list never shows
//! a value that the phone has since corrected.

mod back_up;
mod config;
mod content;
mod declared;
mod desk;
mod error;
mod fields;
mod json;
mod keys;
mod observe;
mod reason;
mod room;
mod scep;
mod signed;

pub use back_up::{BACKED_UP, back_up};
pub use config::Config;
pub use desk::Desk;
pub use error::Error;
pub use keys::{install, prepare};
pub use reason::REASONS;
pub use room::{run, run_with_clock};
