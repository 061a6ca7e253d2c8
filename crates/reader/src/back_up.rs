//! The reader's part of a backup.

use std::fs::File;

use backup::{BackupError, Made, Request};

use crate::Config;

/// The files of the reader's folder that a backup holds.
pub const BACKED_UP: &[&str] = &[
    "ra.key",
    "sender.key",
    "change.key",
    "ra.der",
    "ra.older.der",
    "ca.der",
    "root.pub",
    "statement.cbor",
    rpc::authorities::AUTHORITIES,
];

/// Writes the reader's part.
///
/// # Errors
/// [`BackupError`].
pub fn back_up(config: &Config, request: &Request, out: File) -> Result<Made, BackupError> {
    backup::back_up_files("reader", &config.data_dir, BACKED_UP, rpc::at_rest::peek, request, out)
}
