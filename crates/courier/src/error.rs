//! Why the room can't start or go on. A push that fails is no error of the room: core is told.

use std::path::PathBuf;

/// The courier's errors.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operator's: a configuration key's value.
    #[error("courier.{key} {why}")]
    Config {
        /// The key.
        key: &'static str,
        /// What is wrong, and what would be right.
        why: String,
    },
    /// The operator's: the room's folder, or a file that the configuration names.
    #[error("the courier's file {path} can't be {verb}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// `read` or `written`.
        verb: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The operator's: a file's content is not what it should be.
    #[error("the courier's file {path} is not usable: {why}")]
    BadFile {
        /// Which.
        path: PathBuf,
        /// What is wrong, and what to do.
        why: String,
    },
    /// The host's: no random numbers for the room's key.
    #[error("the courier's key could not be made: {0}")]
    Keys(String),
    /// The host's: the pair with core can't be served.
    #[error("the courier can't serve core: {0}")]
    Serve(#[from] tonic::transport::Error),
    /// The supervisor's: its control pair is gone.
    #[error("the courier can't reach the supervisor: {0}")]
    Supervisor(std::io::Error),
}
