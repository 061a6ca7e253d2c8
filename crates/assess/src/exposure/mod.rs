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
pub use count::{InventoryOptions, People, Person, read};
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

/// Why an inventory can't be counted, or a list of people not written.
#[derive(Debug, thiserror::Error)]
pub enum ExposureError {
    /// Administrator: the file is too large.
    #[error("the inventory is larger than {limit_bytes} bytes; export fewer columns, or split it")]
    TooLarge {
        /// The limit, in bytes.
        limit_bytes: u64,
    },
    /// Administrator: not a table of text.
    #[error("the inventory is not a text table; save it as CSV (a workbook can't be read)")]
    NotText,
    /// Administrator: no heading row, or a table without rows.
    #[error("the inventory has no rows under its headings")]
    Empty,
    /// Administrator: a row that CSV does not allow.
    #[error("row {row} of the inventory can't be read as CSV; mend or remove it, then run again")]
    BadRow {
        /// Row number, from 1, the heading row included.
        row: u64,
    },
    /// Administrator: a `--map` that can't be followed.
    #[error("--map {pair}: {why}")]
    Mapping {
        /// The argument as given.
        pair: String,
        /// What is wrong with it.
        why: String,
    },
    /// Administrator: no column means anything to the count.
    #[error(
        "no column of the inventory looks like a person, phone number, IMEI or e-mail; \
         name one with --map, for example --map phone=\"Handset number\""
    )]
    NothingToCount,
    /// Administrator: not an age recipient.
    #[error("--people-recipient is not an age recipient (one begins with age1)")]
    Recipient,
    /// Operator: the list of people could not be written.
    #[error("the list of people could not be written to {path}: {source}")]
    Write {
        /// Where it should have gone.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Operator: sealing failed.
    #[error("the list of people could not be sealed")]
    Seal,
}
