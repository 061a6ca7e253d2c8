//! The door's part of a backup.

use std::fs::File;

use backup::{BackupError, Made, Request};

use crate::Config;
use crate::install::{CA_CERTIFICATE, DELIVERY_KEY, TLS_CERTIFICATE, TLS_KEY};

/// The files of the door's folder that a backup holds. Without one that a configuration never made, it
/// is whole all the same.
pub const BACKED_UP: &[&str] = &[
    TLS_KEY,
    TLS_CERTIFICATE,
    CA_CERTIFICATE,
    DELIVERY_KEY,
    "root.pub",
    "statement.cbor",
    rpc::authorities::AUTHORITIES,
    "acme.chain.der",
    "acme.key.der",
    "acme.next.key.der",
    "acme.thumbprint",
];

/// Writes the door's part.
///
/// # Errors
/// [`BackupError`].
pub fn back_up(config: &Config, request: &Request, out: File) -> Result<Made, BackupError> {
    backup::back_up_files("door", &config.data_dir, BACKED_UP, rpc::at_rest::peek, request, out)
}
