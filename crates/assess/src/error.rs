//! Why something could not be made, grouped by who can mend it. No personal value is in any of it.

/// The crate's error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    // --- the administrator, who typed the command or made the file ---
    /// A command that can't be followed; the text says which part of it, and what to do.
    #[error("{0}")]
    Usage(String),
    /// An option that can't be followed.
    #[error("{option} {value}: {why}")]
    Option {
        /// The option.
        option: &'static str,
        /// What was given.
        value: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// The inventory is too large.
    #[error("the inventory is larger than {limit_bytes} bytes; export fewer columns, or split it")]
    InventoryTooLarge {
        /// The limit, in bytes.
        limit_bytes: u64,
    },
    /// The inventory is not a table of text.
    #[error("the inventory is not a text table; save it as CSV (a workbook can't be read)")]
    InventoryNotText,
    /// No row under its headings.
    #[error("the inventory has no rows under its headings")]
    InventoryEmpty,
    /// A row that CSV does not allow.
    #[error("row {row} of the inventory can't be read as CSV; mend or remove it, then run again")]
    InventoryRow {
        /// Row number, from 1, the heading row included.
        row: u64,
    },
    /// A `--map` that can't be followed.
    #[error("--map {pair}: {why}")]
    Mapping {
        /// The argument as given.
        pair: String,
        /// What is wrong with it.
        why: String,
    },
    /// No column means anything to the count.
    #[error(
        "no column of the inventory looks like a person, phone number, IMEI or e-mail; \
         name one with --map, for example --map phone=\"Handset number\""
    )]
    NothingToCount,
    /// Not an age recipient.
    #[error("--people-recipient is not an age recipient (one begins with age1)")]
    Recipient,
    /// The file of duties has another shape.
    #[error("the file of duties (--duties) can't be read: {0}")]
    Duties(serde_json::Error),

    // --- the operator, who looks after files and disks ---
    /// A file that an option names can't be read.
    #[error("{path} can't be read: {source}")]
    Read {
        /// Which.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// An output can't be written.
    #[error("{path} can't be written: {source}")]
    Write {
        /// Which.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },

    /// Something that the operator looks after failed: a full disk, a closed pipe.
    #[error("{0}")]
    Operator(String),

    // --- us ---
    /// A report that can't be put into JSON.
    #[error("the report could not be written as JSON")]
    Json(#[from] serde_json::Error),
    /// The list of people can't be sealed.
    #[error("the list of people could not be sealed")]
    Seal,
}

impl Error {
    /// Whether the person who typed the command can mend it (exit code 2).
    pub fn is_usage(&self) -> bool {
        !matches!(self, Self::Write { .. } | Self::Operator(_) | Self::Json(_) | Self::Seal)
    }
}
