//! What could have been taken: counts from an inventory export (`--inventory`).
//!
//! Only numbers leave this module. The one thing that holds names is [`People`], which has no
//! `Debug` of its content and no way out but [`people::write`], for `--write-people`.

mod columns;
mod count;
pub mod people;
mod text;
mod values;

use serde::{Deserialize, Serialize};

pub use columns::{Column, Columns, Field, How};
pub use count::{InventoryOptions, People, Person, read, read_from};
pub use text::{Encoding, MAX_INVENTORY_BYTES};

use crate::finding::UnixMs;

/// How many people, numbers and devices an inventory names. No personal value is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exposure {
    /// The export's name, as given.
    pub file: String,
    /// SHA-256 of its bytes, lower-case hex.
    pub sha256: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// How it was decoded (`UTF-8`, `Windows-1252`, …).
    pub encoding: String,
    /// The day the inventory shows, if known.
    pub dated_ms: Option<UnixMs>,
    /// Where that day comes from, in plain words.
    pub dated_by: String,
    /// The columns that were counted.
    pub columns: Vec<MappedColumn>,
    /// Headings of the columns that were not read.
    pub unread_columns: Vec<String>,
    /// Rows read.
    pub rows: u64,
    /// Rows that named no person (shared or unassigned devices).
    pub rows_without_person: u64,
    /// What was counted.
    pub counts: Counts,
    /// What makes a count uncertain, in plain sentences.
    pub notes: Vec<String>,
}

/// Distinct things named in an inventory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// People: distinct accounts, else e-mail addresses, else names.
    pub people: u64,
    /// Accounts (user ids) whose tokens must be revoked.
    pub accounts: u64,
    /// Devices: distinct device ids, else serial numbers, else IMEIs, else rows.
    pub devices: u64,
    /// Telephone numbers.
    pub phone_numbers: u64,
    /// IMEIs and MEIDs.
    pub imeis: u64,
    /// E-mail addresses.
    pub emails: u64,
    /// Devices with a stored location.
    pub locations: u64,
    /// Serial numbers.
    pub serials: u64,
}

/// A column and what it was taken for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MappedColumn {
    /// The heading in the file.
    pub heading: String,
    /// What it means (`phone`, `imei`, …), as `--map` writes it.
    pub field: String,
    /// How that was found: by its heading, by its values, or as told.
    pub how: String,
}
