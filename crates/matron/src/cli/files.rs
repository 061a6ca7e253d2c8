//! Files that people give to a command.

use std::path::Path;

use super::failure::{Result, usage};

/// A file that goes into an order.
///
/// # Errors
/// When it can't be read, or is longer than what is sent.
pub(crate) fn read_file(path: &Path, largest_bytes: usize) -> Result<Vec<u8>> {
    let wrong = |e: &dyn std::fmt::Display| usage(format!("{}: {e}", path.display()));
    let size = std::fs::metadata(path).map_err(|e| wrong(&e))?.len();
    if size > largest_bytes as u64 {
        return Err(wrong(&format!("{size} bytes; at most {largest_bytes} are sent")));
    }
    std::fs::read(path).map_err(|e| wrong(&e))
}
