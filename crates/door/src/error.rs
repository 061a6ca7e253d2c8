//! What stops the door. What it refuses a phone is no error: see `answer` and `counters`.

/// The door can't start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operator's: its folder, a PEM file.
    #[error("the door's {what} at {path}: {why}")]
    Files {
        /// Which file.
        what: &'static str,
        /// Where.
        path: String,
        /// What is the matter.
        why: String,
    },
    /// The operator's or ours: TLS can't be set up with these keys and certificates.
    #[error("the door's TLS: {0}")]
    Tls(String),
    /// Ours or the host's: pairs or the control pair.
    #[error("the door's wall: {0}")]
    Wall(String),
}

impl Error {
    pub(crate) fn files(what: &'static str, path: &std::path::Path, why: impl std::fmt::Display) -> Self {
        Self::Files { what, path: path.display().to_string(), why: why.to_string() }
    }
}
