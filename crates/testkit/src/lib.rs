//! For development: what tests, simulated phones and the demo stand on. No room depends on it.
//!
//! - [`acme`]: a certificate authority on loopback that speaks ACME strictly.
//! - [`apns`]: a push service on loopback that behaves as Apple's does, with its own certificates.
//! - [`house`]: the real binary on a temporary folder.
//! - [`recorded`]: the real rooms with a recorder in every wall.

pub mod acme;
pub mod apns;
pub mod house;
pub mod recorded;
