//! Why the room can't start or go on. What a phone sends is never an error of the room: it is refused, with
//! one of [`crate::REASONS`].

use std::path::PathBuf;

/// The reader's errors.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operator's: the room's folder can't be read or written.
    #[error("the reader's file {path} can't be {verb}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// `read` or `written`.
        verb: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The operator's: a key or certificate of the folder is not what it should be.
    #[error("the reader's file {path} is not usable: {why}; restore it from a backup, or install anew")]
    BadFile {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The host's: no random numbers for the room's keys.
    #[error("the reader's keys could not be made: {0}")]
    Keys(String),
    /// The host's: the pair with the door can't be served.
    #[error("the reader can't serve the door: {0}")]
    Serve(#[from] tonic::transport::Error),
    /// The supervisor's: its control pair is gone.
    #[error("the reader can't reach the supervisor: {0}")]
    Supervisor(std::io::Error),
}
