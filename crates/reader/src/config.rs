//! The reader's part of the configuration.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What the operator sets. Every key but the folder has a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The reader's own folder: its keys, the pinned root key, the certificates.
    pub data_dir: PathBuf,
    /// Whether SCEP requests may use SHA-1 and triple DES, as older phones and simulators do. Off.
    #[serde(default)]
    pub admit_old_algorithms: bool,
    /// The largest body that is read, in bytes (4 MiB; at most 8 MiB). A larger one is answered 413.
    #[serde(default = "largest_body_bytes")]
    pub largest_body_bytes: usize,
}

fn largest_body_bytes() -> usize {
    4 << 20
}

impl Config {
    /// The defaults, in this folder.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            admit_old_algorithms: false,
            largest_body_bytes: largest_body_bytes(),
        }
    }
}
