//! Apple's device protocol: bytes to types and back, and nothing else. No I/O, no clock, no randomness,
//! no room's rules.
//!
//! Reader parses with it what phones send; the vault builds with it what phones obey, and judges what an
//! administrator wants to install; simulated phones speak with it from the other side. **The door never
//! has it**: whoever takes the end of the TLS finds no parser of bodies there.
//!
//! | module | what for | who uses it |
//! |---|---|---|
//! | [`plist_guard`] | property lists, XML and binary, read strictly and within bounds | all below |
//! | [`message`] | one message from a phone: [`message::parse`] | reader |
//! | [`checkin`], [`report`] | the messages' types | reader |
//! | [`command`] | a typed command as bytes, and back | vault, simulate |
//! | [`app`], [`raw`] | commands about apps; commands without a type here, against a closed table | vault, matron |
//! | [`returned`] | answers to `GetBootstrapToken` and `GetToken` | vault, simulate |
//! | [`profile`] | the enrolment profile; reading and rewriting any profile | vault, simulate, matron |
//! | [`json`] | JSON, read strictly and within bounds | the two below |
//! | [`declaration`] | sets of declarations: read, judged, as bytes for phones | vault, simulate, matron |
//! | [`status`] | a phone's status report | reader |
//! | [`harm`] | is this profile, this command mild, or does it count as erasure | vault |
//! | [`outline`] | what an order tells of what lies sealed beside it | vault, matron |
//! | [`push_request`] | the request for a push certificate, with a vendor's signature | matron |
//! | [`x509`], [`csr`], [`cms`], [`scep`] | certificates and SCEP (RFC 8894) | reader, vault, simulate |
//!
//! # What a phone says is never lost and never trusted
//! A message's known keys are typed and checked; every other key is kept as a [`message::Field`], to be
//! sealed as `other` where nothing else is known of it. Every error ([`Malformed`]) says why in a closed
//! word and holds nothing of the message, so it may be logged. Types that hold what a phone said have a
//! `Debug` that says `sealed`.
//!
//! # What was judged is what is sent
//! A profile is read by the strict reader, judged, and written anew; the phone gets the new bytes. Two
//! parsers that disagree over a duplicate key, a comment or an entity are how a filter is walked around.
//!
//! # Sources
//! Apple's device-management schema (YAML, `mdm/checkin`, `mdm/commands`, `mdm/profiles`; iOS 18.1 and
//! newer), Apple's `PropertyList-1.0.dtd`, RFC 8894, RFC 5652. Tests read the schema where it is at hand.

pub mod app;
pub mod checkin;
pub mod cms;
pub mod command;
pub mod csr;
pub mod declaration;
mod error;
pub mod harm;
pub mod json;
pub mod message;
pub mod outline;
pub mod plist_guard;
pub mod profile;
pub mod push_request;
pub mod raw;
pub mod report;
pub mod returned;
pub mod scep;
pub mod status;
pub mod x509;

pub use error::{CommandError, Malformed, ProfileError, RawError};
