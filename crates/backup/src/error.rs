//! What can go wrong with a backup, by whose doing.

use std::path::{Path, PathBuf};

/// Why a backup was not made, or is not taken.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The operator's: a line of `backup.recipients`.
    #[error(
        "backup.recipients: '{given}' is no recipient; give public keys as 'age-keygen' prints them (age1…)"
    )]
    Recipient {
        /// As it was given; a recipient is public.
        given: String,
    },
    /// The operator's: nobody to encrypt to.
    #[error(
        "backup.recipients: there is none, so nothing could be encrypted; make a key where it is kept offline \
         ('age-keygen -o matron-backup.key') and put its public half (age1…) into the configuration; is it the one that the house was started with (--config)?"
    )]
    NoRecipients,
    /// The operator's: the file with the identity.
    #[error("the identity file {}: {why}", path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// What is the matter; never its content.
        why: String,
    },
    /// The operator's: the identity given is none of the recipients'.
    #[error("the part {part} was not encrypted to this identity; give the identity of one of its recipients")]
    NotForThisIdentity {
        /// Which part.
        part: String,
    },
    /// A file can't be read or written.
    #[error("{} can't be {verb}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// `read` or `written`.
        verb: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
    /// A part could not be written.
    #[error("the part {part} can't be written: {source}")]
    Write {
        /// Which part.
        part: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file of a room changed its length while it was copied.
    #[error("{name} changed while it was copied into the part {part}; make the backup again")]
    Changed {
        /// Which part.
        part: String,
        /// Which file.
        name: String,
    },
    /// The backup is not whole.
    #[error("{}: this is no whole backup: {why}", path.display())]
    NotWhole {
        /// The backup's folder.
        path: PathBuf,
        /// What is missing.
        why: String,
    },
    /// A part is not the one that the manifest tells of.
    #[error("the part {part} is not as it was made: {why}; take another backup, or another copy of this one")]
    Damaged {
        /// Which part.
        part: String,
        /// What differs.
        why: String,
    },
    /// The manifest's signature does not fit it.
    #[error(
        "the manifest is not as the vault signed it; parts of two backups were put together, or it was changed"
    )]
    Signature,
}

impl BackupError {
    pub(crate) fn read(path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::File { path, verb: "read", source }
    }

    pub(crate) fn written(path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::File { path, verb: "written", source }
    }

    pub(crate) fn damaged(part: &str, why: impl Into<String>) -> Self {
        Self::Damaged { part: part.to_owned(), why: why.into() }
    }
}
