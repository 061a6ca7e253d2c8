//! For development: what tests, simulated phones and the demo stand on. No room depends on it.
//!
//! - [`apns`]: a push service on loopback that behaves as Apple's does, with its own certificates.

pub mod apns;
