//! For development: what tests, simulated phones and the demo stand on. No room depends on it.
//!
//! - [`alone`]: one real room, with the test in the place of its neighbours.
//! - [`acme`]: a certificate authority on loopback that speaks ACME strictly.
//! - [`apns`]: a push service on loopback that behaves as Apple's does, with its own certificates.
//! - [`house`]: the real binary on a temporary folder.
//! - [`recorded`]: the real rooms with a recorder in every wall.
//! - [`smtp`]: a mail relay on loopback, strict, with the faults a client has to survive.
//! - [`softhsm`]: a PKCS#11 token in a temporary folder.

pub mod acme;
pub mod alone;
pub mod apns;
pub mod house;
pub mod recorded;
pub mod smtp;
pub mod softhsm;
