//! Rows under older keys, to be sealed again; and what a breach ends.

use model::{Compartment, EnrolmentId, SealedRow, TimeMs};
use rusqlite::params;

use crate::inventory::sealed_row;
use crate::view::id;
use crate::{Slot, StoreError, Tx, View};

/// A row that is to be sealed again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaleRow {
    /// The place of its wrapped key: the next batch begins there.
    pub place: i64,
    /// The phone's number here.
    pub slot: Slot,
    /// The phone.
    pub enrolment: EnrolmentId,
    /// The row.
    pub row: SealedRow,
}

/// A wrapped key is version (1) ‖ epoch (4, big endian) ‖ …, and blobs compare byte by byte.
fn epoch_bytes(epoch: u32) -> [u8; 4] {
    epoch.to_be_bytes()
}

impl View<'_> {
    /// Rows of a compartment under keys of epochs below `before`, from a place on.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn stale_rows(
        &self,
        compartment: Compartment,
        before: u32,
        from: i64,
        limit: u32,
    ) -> Result<Vec<StaleRow>, StoreError> {
        self.all(
            "SELECT s.name, s.compartment, w.wrapped, s.ciphertext, s.mask, s.change_tag, w.id, s.slot, e.enrolment
             FROM wrapped_keys w CROSS JOIN sealed_rows s INDEXED BY sealed_rows_by_wrapped ON s.wrapped = w.id
             JOIN enrolments e ON e.slot = s.slot
             WHERE w.id >= ?1 AND substr(w.wrapped, 2, 4) < ?2 AND s.compartment = ?3 ORDER BY w.id LIMIT ?4",
            params![from, epoch_bytes(before), compartment.number(), limit],
            |r| {
                Ok(StaleRow {
                    place: r.get(6)?,
                    slot: Slot(r.get(7)?),
                    enrolment: id(r, 8)?,
                    row: sealed_row(r)?,
                })
            },
        )
    }

    /// How many such rows there are.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn count_stale(&self, compartment: Compartment, before: u32) -> Result<u64, StoreError> {
        self.count(
            "SELECT COUNT(*) FROM wrapped_keys w CROSS JOIN sealed_rows s INDEXED BY sealed_rows_by_wrapped
             ON s.wrapped = w.id WHERE substr(w.wrapped, 2, 4) < ?1 AND s.compartment = ?2",
            params![epoch_bytes(before), compartment.number()],
        )
    }

    /// How many rows wait for index entries.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn count_index_due(&self) -> Result<u64, StoreError> {
        self.count("SELECT COUNT(*) FROM index_due", [])
    }
}

impl Tx<'_> {
    /// Puts a row that was sealed again in the place of the one it was made of, unless the phone has said something
    /// else since.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn put_resealed(&self, slot: Slot, was: &SealedRow, is: &SealedRow) -> Result<bool, StoreError> {
        let wrapped = self.wrapped_key(&is.wrapped_key)?;
        let n = self.run(
            "UPDATE sealed_rows SET wrapped = ?3, ciphertext = ?4 WHERE slot = ?1 AND name = ?2 AND ciphertext = ?5",
            params![slot.0, was.name, wrapped, is.ciphertext, was.ciphertext],
        )?;
        Ok(n > 0)
    }

    /// Every row that has index entries gets new ones.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn index_anew(&self) -> Result<usize, StoreError> {
        self.run(
            "INSERT INTO index_due (slot, name) SELECT DISTINCT slot, name FROM index_entries WHERE true
             ON CONFLICT DO NOTHING",
            [],
        )
    }

    /// No warrant that was signed before is used again.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn drop_warrants(&self) -> Result<(), StoreError> {
        self.run("UPDATE queue SET warrant = NULL, warrant_expires_at_ms = 0 WHERE state < 3 AND warrant IS NOT NULL", [])?;
        self.run("UPDATE declaration_warrants SET warrant = NULL, expires_at_ms = 0", [])?;
        Ok(())
    }

    /// A breach was assumed: sessions, API keys, open invitations and standing orders end, what orders asked of phones
    /// is cancelled, and every phone may be asked for a new certificate. Answers whose invitations those were.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn breached(&self, at_ms: TimeMs) -> Result<Vec<EnrolmentId>, StoreError> {
        let withdrawn = self.restored(at_ms)?;
        self.run(
            "UPDATE queue SET state = 6, done_at_ms = ?1, warrant = NULL WHERE state < 3 AND number IN
             (SELECT number FROM commands WHERE order_id IS NOT NULL)",
            [at_ms],
        )?;
        self.run("UPDATE standing_orders SET ended_at_ms = ?1 WHERE ended_at_ms IS NULL", [at_ms])?;
        self.run("UPDATE certificates SET asked_at_ms = NULL", [])?;
        Ok(withdrawn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NewInvitation, SealedUpdate, Store};
    use model::LinkHash;

    fn wrapped(epoch: u32, n: u8) -> Vec<u8> {
        [&[1], epoch.to_be_bytes().as_slice(), &[n; 96]].concat()
    }

    fn row(name: &str, epoch: u32, n: u8) -> SealedRow {
        SealedRow {
            name: name.into(),
            compartment: Compartment::Contact,
            wrapped_key: wrapped(epoch, n),
            ciphertext: vec![n; 40],
            mask: String::new(),
            change_tag: vec![],
        }
    }

    #[tokio::test]
    async fn rows_of_older_epochs_are_found_in_turn_and_a_newer_report_is_not_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("core.db")).unwrap();
        let slot = store
            .write(|tx| {
                let slot = tx.invite(&NewInvitation {
                    enrolment: EnrolmentId([1; 16]),
                    link: LinkHash([1; 32]),
                    group: "ward-7".into(),
                    expires_at_ms: 1000,
                    invited_at_ms: 1,
                })?;
                for (name, epoch, n) in [("A", 1, 1), ("B", 255, 2), ("C", 256, 3), ("D", 257, 4)] {
                    let update = SealedUpdate { row: row(name, epoch, n), indexed: false };
                    tx.put_sealed(slot, "x", &[update], false, 1)?;
                }
                Ok(slot)
            })
            .await
            .unwrap();
        let stale =
            |before, from| store.read_now(|v| v.stale_rows(Compartment::Contact, before, from, 10)).unwrap();
        let names = |rows: Vec<StaleRow>| rows.into_iter().map(|r| r.row.name).collect::<String>();
        assert_eq!(names(stale(257, 0)), "ABC");
        assert_eq!(names(stale(256, 0)), "AB");
        assert_eq!(names(stale(257, stale(257, 0)[1].place)), "BC");
        assert_eq!(store.read_now(|v| v.count_stale(Compartment::Contact, 257)).unwrap(), 3);
        assert_eq!(store.read_now(|v| v.count_stale(Compartment::Identity, 257)).unwrap(), 0);
        let was = stale(257, 0);
        let written = store
            .write(move |tx| {
                tx.put_sealed(
                    slot,
                    "x",
                    &[SealedUpdate { row: row("B", 256, 9), indexed: false }],
                    false,
                    2,
                )?;
                Ok((
                    tx.put_resealed(slot, &was[0].row, &row("A", 257, 7))?,
                    tx.put_resealed(slot, &was[1].row, &row("B", 257, 8))?,
                ))
            })
            .await
            .unwrap();
        assert_eq!(written, (true, false));
        assert_eq!(names(stale(257, 0)), "CB".to_owned());
    }
}
