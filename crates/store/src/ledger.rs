//! How far core has followed the vault's ledger, and core's words that wait to go into it.

use model::{Digest, TimeMs};
use rusqlite::{Row, params};

use crate::view::id;
use crate::{StoreError, Tx, View};

/// How far the ledger was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// How many entries.
    pub entries: u64,
    /// SHA-256 of the last one; zeros when there is none.
    pub hash: Digest,
}

/// An entry as it was followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerRow {
    /// Its place.
    pub index: u64,
    /// When the vault wrote it.
    pub at_ms: TimeMs,
    /// SHA-256 of its bytes.
    pub hash: Digest,
    /// Its bytes.
    pub entry: Vec<u8>,
}

/// An entry in a list, without its bytes where they are many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedRow {
    /// Its place.
    pub index: u64,
    /// When the vault wrote it.
    pub at_ms: TimeMs,
    /// SHA-256 of its bytes.
    pub hash: Digest,
    /// How many bytes it has.
    pub bytes: u32,
    /// They; `None` where there are more than were asked for.
    pub entry: Option<Vec<u8>>,
}

pub(crate) fn index(r: &Row<'_>) -> rusqlite::Result<u64> {
    let n: i64 = r.get(0)?;
    u64::try_from(n).map_err(|_| crate::view::damaged(0))
}

pub(crate) fn signed(index: u64) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}

pub(crate) fn ledger_row(r: &Row<'_>) -> rusqlite::Result<LedgerRow> {
    Ok(LedgerRow { index: index(r)?, at_ms: r.get(1)?, hash: id(r, 2)?, entry: r.get(3)? })
}

pub(crate) fn listed_row(r: &Row<'_>) -> rusqlite::Result<ListedRow> {
    Ok(ListedRow { index: index(r)?, at_ms: r.get(1)?, hash: id(r, 2)?, entry: r.get(3)?, bytes: r.get(4)? })
}

impl View<'_> {
    /// How far the ledger was applied.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn position(&self) -> Result<Position, StoreError> {
        let last =
            self.one("SELECT number, hash FROM ledger_items ORDER BY number DESC LIMIT 1", [], |r| {
                Ok(Position { entries: index(r)? + 1, hash: id(r, 1)? })
            })?;
        Ok(last.unwrap_or(Position { entries: 0, hash: Digest([0; 32]) }))
    }

    /// Entries from that place on.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn ledger_rows(&self, from: u64, limit: u32) -> Result<Vec<LedgerRow>, StoreError> {
        self.all(
            "SELECT number, at_ms, hash, entry FROM ledger_items WHERE number >= ?1 ORDER BY number LIMIT ?2",
            params![signed(from), limit],
            ledger_row,
        )
    }

    /// The hashes of the entries from that place on, in order.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn ledger_hashes(&self, from: u64, limit: u32) -> Result<Vec<Digest>, StoreError> {
        self.all(
            "SELECT hash FROM ledger_items WHERE number >= ?1 ORDER BY number LIMIT ?2",
            params![signed(from), limit],
            |r| id(r, 0),
        )
    }

    /// The oldest words that wait, with their numbers.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn words(&self, limit: u32) -> Result<Vec<(i64, Vec<u8>)>, StoreError> {
        self.all("SELECT number, body FROM outbox WHERE body <> x'' ORDER BY number LIMIT ?1", [limit], |r| {
            Ok((r.get(0)?, r.get(1)?))
        })
    }

    /// How many words wait.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn count_words(&self) -> Result<u64, StoreError> {
        self.count("SELECT COUNT(*) FROM outbox WHERE body <> x''", [])
    }
}

impl Tx<'_> {
    /// Notes an entry as applied. It is refused when it is not the next one.
    ///
    /// # Errors
    /// When the database refuses, or the place is taken.
    pub fn put_ledger_row(&self, row: &LedgerRow) -> Result<(), StoreError> {
        self.run(
            "INSERT INTO ledger_items (number, at_ms, hash, entry) VALUES (?1, ?2, ?3, ?4)",
            params![signed(row.index), row.at_ms, row.hash.as_bytes(), row.entry],
        )?;
        Ok(())
    }

    /// A word for the vault, in the same transaction as what it speaks of.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn say(&self, body: &[u8]) -> Result<(), StoreError> {
        self.run("INSERT INTO outbox (body) VALUES (?1)", [body])?;
        Ok(())
    }

    /// The vault has written down the words up to this number. The last one's row stays, emptied, so that
    /// the next word's number was never given before.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn said(&self, up_to: i64) -> Result<(), StoreError> {
        self.run("DELETE FROM outbox WHERE number <= ?1", [up_to])?;
        self.run("INSERT INTO outbox (number, body) VALUES (?1, x'')", [up_to])?;
        Ok(())
    }
}
