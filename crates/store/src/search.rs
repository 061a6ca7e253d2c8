//! Salted index entries. What they mean only a search token tells; the store can't.

use std::ops::Range;

use model::EnrolmentId;
use rusqlite::params;

use crate::view::id;
use crate::{Slot, StoreError, Tx, View};

/// All phones, for [`View::scan_index`].
pub const EVERY_SLOT: Range<Slot> = Slot(0)..Slot(i64::MAX);

/// One index entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexItem {
    /// Whose.
    pub slot: Slot,
    /// Of which field path.
    pub name: String,
    /// r ‖ PRF(T, r).
    pub entry: Vec<u8>,
}

impl View<'_> {
    /// Shows every entry of that kind of field (`phone`, `imei`, …) of these phones, row after row in order.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn scan_index(
        &self,
        field: &str,
        slots: Range<Slot>,
        mut each: impl FnMut(Slot, &str, &[u8]),
    ) -> Result<(), StoreError> {
        let mut statement = self.prepare(
            "SELECT slot, name, entry FROM index_entries WHERE field = ?1 AND slot >= ?2 AND slot < ?3
             ORDER BY slot, name, n",
        )?;
        let mut rows = statement.query(params![field, slots.start.0, slots.end.0])?;
        while let Some(r) = rows.next()? {
            let name = r.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
            let entry = r.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
            each(Slot(r.get(0)?), name, entry);
        }
        Ok(())
    }

    /// A slot that about half of all phones lie before.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn middle_slot(&self) -> Result<Slot, StoreError> {
        let middle = self.one("SELECT coalesce(max(slot), 0) / 2 FROM enrolments", [], |r| r.get(0))?;
        Ok(Slot(middle.unwrap_or(0)))
    }

    /// The ids of these slots.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn ids_of(&self, slots: &[Slot]) -> Result<Vec<EnrolmentId>, StoreError> {
        let mut out = Vec::with_capacity(slots.len());
        for slot in slots {
            let found: Option<EnrolmentId> =
                self.one("SELECT enrolment FROM enrolments WHERE slot = ?1", [slot.0], |r| id(r, 0))?;
            out.extend(found);
        }
        Ok(out)
    }
}

impl Tx<'_> {
    /// Sets the index entries of one field of a phone, unless the row was changed since (its
    /// ciphertext differs): then it stays due.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn put_index(
        &self,
        field: &str,
        slot: Slot,
        name: &str,
        ciphertext: &[u8],
        entries: &[Vec<u8>],
    ) -> Result<bool, StoreError> {
        let unchanged = self.one(
            "SELECT 1 FROM sealed_rows WHERE slot = ?1 AND name = ?2 AND ciphertext = ?3",
            params![slot.0, name, ciphertext],
            |_| Ok(()),
        )?;
        if unchanged.is_none() {
            return Ok(false);
        }
        self.drop_index(slot, name)?;
        for (n, entry) in (0_i64..).zip(entries) {
            self.run(
                "INSERT INTO index_entries (field, slot, name, n, entry) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![field, slot.0, name, n, entry],
            )?;
        }
        self.run("DELETE FROM index_due WHERE slot = ?1 AND name = ?2", params![slot.0, name])?;
        Ok(true)
    }

    /// Drops the index entries of one field of a phone.
    ///
    /// # Errors
    /// When the database refuses.
    pub(crate) fn drop_index(&self, slot: Slot, name: &str) -> Result<(), StoreError> {
        // Fields are few and closed, so each is asked by the key's first column.
        for field in INDEXED {
            self.run(
                "DELETE FROM index_entries WHERE field = ?1 AND slot = ?2 AND name = ?3",
                params![field, slot.0, name],
            )?;
        }
        Ok(())
    }
}

/// The kinds of field that can be searched (crate `seal` gives them these words).
const INDEXED: &[&str] = &["phone", "imei", "serial", "udid", "name", "email", "device_name"];
