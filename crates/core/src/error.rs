//! What can stop the room, by whose doing.

use std::path::PathBuf;

/// Why core can't start or go on. What a request does wrong never ends up here.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operator's: a value of the configuration.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// The operator's: the room was never installed in this folder, or its files can't be read.
    #[error("{}: {source}; core is installed by the first 'matron serve' on this data directory", path.display())]
    NotInstalled {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The operator's: the administrators' certificate or key can't be used.
    #[error("{}: {why}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] store::StoreError),
    /// Ours: a task that should go on ended.
    #[error("a task of core ended unexpectedly; see the log before this line")]
    TaskEnded,
    /// The supervisor is gone.
    #[error("the supervisor can't be reached: {0}")]
    Supervisor(std::io::Error),
}
