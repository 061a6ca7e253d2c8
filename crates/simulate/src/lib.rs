//! Phones that speak Apple's real protocol over real TLS: for the demo, for load, for tests.
//!
//! A [`Phone`] does what an iPhone does, from the outside and with no knowledge of the server: it
//! fetches its invitation link, verifies and reads the profile, makes an RSA key, gets a certificate
//! by SCEP (RFC 8894), sends `Authenticate` and `TokenUpdate`, then answers whatever commands come
//! until it is told there are none. It keeps profiles that were installed, lost mode, its passcode; it
//! says `NotNow` now and then, goes silent, comes back on a push, and is gone once it was erased.
//!
//! | module | what for |
//! |---|---|
//! | [`people()`] | made-up holders, so that phones can be invited |
//! | [`Handset`] | what a phone is: model, system, numbers, apps; all from a seed |
//! | [`Phone`] | one phone: enrolment, conversations, check-out |
//! | [`run_fleet`] | many phones, bounded in number at once, with progress and a [`Summary`] |
//! | [`keep()`], [`kept`], [`resume_fleet`] | a fleet that lives on after its process ended |
//! | [`load`] | closed-loop load for `matron bench` |
//! | [`Network`] | whom phones trust, and where they dial |
//!
//! ```no_run
//! # async fn demo(ca_pem: &[u8], invited: Vec<simulate::Invited>) -> Result<(), simulate::Fault> {
//! let network = simulate::Network::trusting(ca_pem)?;
//! let options = simulate::FleetOptions::new(42, network);
//! let (summary, phones) = simulate::run_fleet(invited, options, |_progress| {}).await;
//! print!("{summary}");
//! simulate::keep(&phones, std::path::Path::new("fleet"))?;
//! # Ok(())
//! # }
//! ```
//!
//! Everything about a phone follows from `(seed, index)`, so that two runs with one seed make the same
//! fleet. All of it is made up: Ofcom's drama numbers, IMEIs of the GSMA's test range, example domains.
//!
//! Bytes from a server are read as from a stranger: bounded, no recursion, refused with a [`Fault`].

mod answer;
mod declared;
mod dice;
mod enrol;
mod error;
mod escrow;
mod fleet;
mod handset;
mod http;
mod keep;
mod keys;
pub mod load;
mod network;
mod numbers;
mod people;
mod phone;
mod push;
mod report;
mod scep;
mod sign;
mod summary;
mod talk;

pub use enrol::{Enrolled, ProfileTrust};
pub use error::{Failure, Fault, Step};
pub use fleet::{FleetOptions, Invited, Living, Progress, resume_fleet, run_fleet};
pub use handset::{App, Handset, Line};
pub use http::{Connection, MAX_BODY_BYTES, Response};
pub use keep::{keep, kept};
pub use keys::{KeyPool, PhoneKey};
pub use network::Network;
pub use people::{Person, people};
pub use phone::{Phone, State};
pub use push::{PushSource, Pushes, Wake};
pub use summary::Summary;
pub use talk::{Ending, Talk, Temper};
