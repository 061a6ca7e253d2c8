//! Offline: was our EPMM hit, what was taken, what to do now. Needs no server.

pub mod exposure;
pub mod finding;
pub mod moment;
pub mod report;
