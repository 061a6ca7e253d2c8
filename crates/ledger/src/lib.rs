//! The append-only record: entries, chained hashes, verification; a file store.
