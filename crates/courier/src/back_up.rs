//! The courier's part of a backup: its folder (without alarms under way), and Apple's push certificate that the configuration names.

use std::fs::File;
use std::path::Path;

use backup::{BackupError, Made, PartWriter, Request};

use crate::Config;

/// The files of the courier's folder that a backup holds. An order for a certificate that is under way
/// is begun anew.
pub const BACKED_UP: &[&str] =
    &["push.key", "topic", "root.pub", "statement.cbor", "acme.account.key", "acme.account.json"];

/// The push certificate with its chain, and with its key unless that stands in a file of its own.
pub const PUSH_CERTIFICATE: &str = "push/push.pem";
/// The push certificate's key, where it stands in a file of its own.
pub const PUSH_KEY: &str = "push/push.key.pem";

/// Writes the courier's part.
///
/// # Errors
/// [`BackupError`].
pub fn back_up(config: &Config, request: &Request, out: File) -> Result<Made, BackupError> {
    let mut part = PartWriter::begin("courier", out, &request.recipients()?)?;
    part.put_files_by(&config.data_dir, BACKED_UP, rpc::at_rest::peek)?;
    let certificate = config.push_certificate.as_deref();
    let key = config.push_key.as_deref().filter(|k| Some(*k) != certificate);
    let mut put = |name: &str, path: Option<&Path>| match path {
        // One that was taken away meanwhile is missed by the courier too, and health says so.
        Some(path) if path.exists() => part.put_file(name, path),
        _ => Ok(()),
    };
    put(PUSH_CERTIFICATE, certificate)?;
    put(PUSH_KEY, key)?;
    Ok(Made { part: part.finish(None)?, signed: None })
}
