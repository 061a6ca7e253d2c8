//! What can go wrong with the database, by whose doing.

use std::path::PathBuf;

use rusqlite::ErrorCode;

/// Why the store did not do it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The operator's: a newer Matron wrote this database.
    #[error(
        "{}: the database has version {found}, this Matron knows up to {known}; start the newer Matron \
         again, or restore the backup made before it",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// The operator's: the file or the disk.
    #[error("{}: the database can't be opened: {why}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        why: String,
    },
    /// The operator's: no copy could be made before an upgrade, so nothing was upgraded.
    #[error(
        "{}: the copy that is made before the database is upgraded can't be written: {why}; make room \
         beside the database and start again. Nothing was changed",
        path.display()
    )]
    Copy {
        /// The copy.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
    /// The operator's: the disk is full, fails, or can't be written. Nothing of the write was kept.
    #[error("the database's disk refused ({0}); nothing was kept")]
    Disk(String),
    /// The operator's or ours: SQLite refused. Nothing of the write was kept.
    #[error("the database refused: {0}")]
    Refused(String),
    /// Ours: a stored value is not what its column holds.
    #[error("the database holds a value that is no {0}")]
    Damaged(&'static str),
    /// The store is closed.
    #[error("the database is closed")]
    Closed,
    /// Ours: a write ended in a panic; nothing of it was kept.
    #[error("a write failed within; nothing of it was kept")]
    Panicked,
}

impl From<rusqlite::Error> for StoreError {
    fn from(e: rusqlite::Error) -> Self {
        // Only SQLite's own words: never a value, which could be a person's.
        match e {
            rusqlite::Error::SqliteFailure(code, text) => {
                let words = text.unwrap_or_else(|| code.to_string());
                match code.code {
                    ErrorCode::DiskFull | ErrorCode::ReadOnly | ErrorCode::SystemIoFailure => {
                        Self::Disk(words)
                    }
                    _ => Self::Refused(words),
                }
            }
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..) => Self::Damaged("value of its column"),
            other => Self::Refused(other.to_string()),
        }
    }
}
