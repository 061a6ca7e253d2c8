//! What phones reported: a few fields in the clear, all else sealed.

use model::{Compartment, EnrolmentId, SealedRow, TimeMs};
use rusqlite::{Row, params};

use crate::device_group::SAID;
use crate::view::{coded, id};
use crate::{Slot, StoreError, Tx, View};

/// Which message or report said a field: a report's kind, a check-in's name, or `ledger`.
pub type FieldSource<'a> = &'a str;

/// An app on a phone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// Its bundle identifier.
    pub identifier: String,
    /// Its build version.
    pub version: String,
    /// Its version as people know it.
    pub short_version: String,
}

/// When a kind of report last came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportKind {
    /// `DeviceInformation`, …
    pub kind: String,
    /// When the phone last confirmed it.
    pub at_ms: TimeMs,
}

/// What may be shown of a sealed field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedNote {
    /// The field's path.
    pub name: String,
    /// Who can open it.
    pub compartment: Compartment,
    /// At most the last two characters of a number.
    pub mask: String,
    /// When it last changed.
    pub at_ms: TimeMs,
}

/// A sealed row to be kept.
#[derive(Debug, Clone)]
pub struct SealedUpdate {
    /// The row.
    pub row: SealedRow,
    /// Whether the vault has index entries to make for it.
    pub indexed: bool,
}

pub(crate) fn sealed_row(r: &Row<'_>) -> rusqlite::Result<SealedRow> {
    Ok(SealedRow {
        name: r.get(0)?,
        compartment: coded(r, 1, Compartment::from_number)?,
        wrapped_key: r.get(2)?,
        ciphertext: r.get(3)?,
        mask: r.get(4)?,
        change_tag: r.get(5)?,
    })
}

const SEALED: &str = "SELECT s.name, s.compartment, w.wrapped, s.ciphertext, s.mask, s.change_tag
    FROM sealed_rows s JOIN wrapped_keys w ON w.id = s.wrapped";

/// So many sealed rows a phone may have by messages that each tell a part: else one that names ever new list elements
/// fills the disk.
pub const MOST_SEALED_OF_ONE: usize = 8192;

/// Tables of what a phone said of itself, besides sealed rows.
const REPORTED: [&str; 7] =
    ["clear_fields", "reports", "apps", "app_requests", "declaration_states", "status_errors", "phone_sets"];

impl View<'_> {
    /// Phones that left before then, and invitations that were taken back, of which something is kept beside `escrow`.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn left_before(&self, before_ms: TimeMs, limit: u32) -> Result<Vec<Slot>, StoreError> {
        self.all(
            "SELECT e.slot FROM enrolments e WHERE e.state IN (4, 5, 6) AND e.ended_at_ms < ?1 AND
             (EXISTS (SELECT 1 FROM sealed_rows s WHERE s.slot = e.slot AND s.compartment <> ?2)
              OR EXISTS (SELECT 1 FROM clear_fields c WHERE c.slot = e.slot)) LIMIT ?3",
            params![before_ms, Compartment::Escrow.number(), limit],
            |r| Ok(Slot(r.get(0)?)),
        )
    }

    /// The sealed row of that name.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn find_sealed(&self, slot: Slot, name: &str) -> Result<Option<SealedRow>, StoreError> {
        self.one(&format!("{SEALED} WHERE s.slot = ?1 AND s.name = ?2"), params![slot.0, name], sealed_row)
    }

    /// The sealed rows that this source said last.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn sealed_from(&self, slot: Slot, source: FieldSource<'_>) -> Result<Vec<SealedRow>, StoreError> {
        let sql = format!("{SEALED} WHERE s.slot = ?1 AND s.source = ?2 ORDER BY s.name");
        self.all(&sql, params![slot.0, source], sealed_row)
    }

    /// What may be shown of every sealed field of a phone, by name.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn sealed_notes(&self, slot: Slot) -> Result<Vec<SealedNote>, StoreError> {
        self.all(
            "SELECT name, compartment, mask, at_ms FROM sealed_rows WHERE slot = ?1 ORDER BY name",
            [slot.0],
            |r| {
                Ok(SealedNote {
                    name: r.get(0)?,
                    compartment: coded(r, 1, Compartment::from_number)?,
                    mask: r.get(2)?,
                    at_ms: r.get(3)?,
                })
            },
        )
    }

    /// The fields in the clear: name and JSON scalar.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn clear_fields(&self, slot: Slot) -> Result<Vec<(String, String)>, StoreError> {
        self.all("SELECT name, value FROM clear_fields WHERE slot = ?1 ORDER BY name", [slot.0], |r| {
            Ok((r.get(0)?, r.get(1)?))
        })
    }

    /// The apps a phone reported, by identifier.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn apps(&self, slot: Slot) -> Result<Vec<App>, StoreError> {
        self.all(
            "SELECT DISTINCT identifier, version, short_version FROM apps a WHERE slot = ?1
             AND NOT (version = '' AND EXISTS (SELECT 1 FROM apps o WHERE o.slot = a.slot
             AND o.source <> a.source AND o.identifier = a.identifier)) ORDER BY identifier",
            [slot.0],
            |r| Ok(App { identifier: r.get(0)?, version: r.get(1)?, short_version: r.get(2)? }),
        )
    }

    /// How many apps a phone reported: each counts once, whichever lists it stands in.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn count_apps(&self, slot: Slot) -> Result<u64, StoreError> {
        self.count("SELECT COUNT(DISTINCT identifier) FROM apps WHERE slot = ?1", [slot.0])
    }

    /// When the phone last confirmed that kind of report.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn reported_at_ms(&self, slot: Slot, kind: &str) -> Result<Option<TimeMs>, StoreError> {
        self.one("SELECT at_ms FROM reports WHERE slot = ?1 AND kind = ?2", params![slot.0, kind], |r| {
            r.get(0)
        })
    }

    /// Which reports came and when.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn reports(&self, slot: Slot) -> Result<Vec<ReportKind>, StoreError> {
        self.all("SELECT kind, at_ms FROM reports WHERE slot = ?1 ORDER BY kind", [slot.0], |r| {
            Ok(ReportKind { kind: r.get(0)?, at_ms: r.get(1)? })
        })
    }

    /// Sealed rows that want index entries, a few at a time.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn index_due(&self, limit: u32) -> Result<Vec<(Slot, EnrolmentId, SealedRow)>, StoreError> {
        self.all(INDEX_DUE, [limit], |r| Ok((Slot(r.get(6)?), id(r, 7)?, sealed_row(r)?)))
    }
}

/// From what is due, which is little or nothing, to the rest: `CROSS JOIN` keeps SQLite to that order, which it
/// leaves when the table is empty at its `ANALYZE`, and then walks all phones to find none.
pub(crate) const INDEX_DUE: &str =
    "SELECT s.name, s.compartment, w.wrapped, s.ciphertext, s.mask, s.change_tag, d.slot, e.enrolment
    FROM index_due d CROSS JOIN enrolments e ON e.slot = d.slot
    CROSS JOIN sealed_rows s ON s.slot = d.slot AND s.name = d.name
    CROSS JOIN wrapped_keys w ON w.id = s.wrapped LIMIT ?1";

impl Tx<'_> {
    /// Whether the phone's newest report of this kind carried the same tag; if so its time is noted,
    /// and nothing else needs to be written.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn same_report(&self, slot: Slot, kind: &str, tag: &[u8], at_ms: TimeMs) -> Result<bool, StoreError> {
        let n = self.run(
            "UPDATE reports SET at_ms = ?4 WHERE slot = ?1 AND kind = ?2 AND change_tag = ?3",
            params![slot.0, kind, tag, at_ms],
        )?;
        Ok(n > 0)
    }

    /// Notes a report that changed.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn put_report(&self, slot: Slot, kind: &str, tag: &[u8], at_ms: TimeMs) -> Result<(), StoreError> {
        self.run(
            "INSERT INTO reports (slot, kind, change_tag, at_ms) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (slot, kind) DO UPDATE SET change_tag = excluded.change_tag, at_ms = excluded.at_ms",
            params![slot.0, kind, tag, at_ms],
        )?;
        Ok(())
    }

    /// Sets the clear fields of a source. With `whole`, those that it said before and says no more are
    /// dropped.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn put_clear(
        &self,
        slot: Slot,
        source: FieldSource<'_>,
        fields: &[(String, String)],
        whole: bool,
        at_ms: TimeMs,
    ) -> Result<(), StoreError> {
        if whole {
            let before: Vec<String> = self.all(
                "SELECT name FROM clear_fields WHERE slot = ?1 AND source = ?2",
                params![slot.0, source],
                |r| r.get(0),
            )?;
            for name in before.iter().filter(|b| !fields.iter().any(|(name, _)| name == *b)) {
                self.run("DELETE FROM clear_fields WHERE slot = ?1 AND name = ?2", params![slot.0, name])?;
                self.put_said(slot, name, None)?;
            }
        }
        for (name, value) in fields {
            let changed = self.run(
                "INSERT INTO clear_fields (slot, name, value, source, at_ms) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (slot, name) DO UPDATE SET value = excluded.value, source = excluded.source,
                 at_ms = excluded.at_ms WHERE value <> excluded.value OR source <> excluded.source",
                params![slot.0, name, value, source, at_ms],
            )?;
            if changed > 0 {
                self.put_said(slot, name, Some(value))?;
            }
        }
        Ok(())
    }

    /// Puts beside the phone what rules of device groups ask for.
    fn put_said(&self, slot: Slot, name: &str, value: Option<&str>) -> Result<(), StoreError> {
        if let Some((_, column)) = SAID.iter().find(|(field, _)| *field == name) {
            self.run(
                &format!("UPDATE enrolments SET {column} = ?2 WHERE slot = ?1"),
                params![slot.0, value],
            )?;
        }
        Ok(())
    }

    /// Sets the sealed rows of a source; a row whose change tag is the stored one is left as it is.
    /// With `whole`, rows that the source said before and says no more are dropped; without, no more than
    /// [`MOST_SEALED_OF_ONE`] come together. Returns how many rows it wrote.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn put_sealed(
        &self,
        slot: Slot,
        source: FieldSource<'_>,
        rows: &[SealedUpdate],
        whole: bool,
        at_ms: TimeMs,
    ) -> Result<usize, StoreError> {
        if whole {
            let before: Vec<String> = self.all(
                "SELECT name FROM sealed_rows WHERE slot = ?1 AND source = ?2",
                params![slot.0, source],
                |r| r.get(0),
            )?;
            for name in before.iter().filter(|b| !rows.iter().any(|u| u.row.name == **b)) {
                self.drop_sealed(slot, name)?;
            }
        }
        // What comes in parts is bounded here: a message's own bound says nothing of how many messages come.
        let mut room = if whole { usize::MAX } else { MOST_SEALED_OF_ONE - self.sealed_rows(slot)? };
        let mut written = 0;
        for update in rows {
            if !whole && self.lacks_sealed(slot, &update.row.name)? {
                let Some(left) = room.checked_sub(1) else { continue };
                room = left;
            }
            written += usize::from(self.put_one_sealed(slot, source, update, at_ms)?);
        }
        Ok(written)
    }

    fn sealed_rows(&self, slot: Slot) -> Result<usize, StoreError> {
        let counted = self.count("SELECT COUNT(*) FROM sealed_rows WHERE slot = ?1", [slot.0])?;
        Ok(usize::try_from(counted).unwrap_or(usize::MAX).min(MOST_SEALED_OF_ONE))
    }

    fn lacks_sealed(&self, slot: Slot, name: &str) -> Result<bool, StoreError> {
        let there = "SELECT 1 FROM sealed_rows WHERE slot = ?1 AND name = ?2";
        Ok(self.one(there, params![slot.0, name], |_| Ok(()))?.is_none())
    }

    fn put_one_sealed(
        &self,
        slot: Slot,
        source: FieldSource<'_>,
        update: &SealedUpdate,
        at_ms: TimeMs,
    ) -> Result<bool, StoreError> {
        let row = &update.row;
        if !row.change_tag.is_empty() {
            let same = self.one(
                "SELECT change_tag = ?3 FROM sealed_rows WHERE slot = ?1 AND name = ?2",
                params![slot.0, row.name, row.change_tag],
                |r| r.get::<_, bool>(0),
            )?;
            if same == Some(true) {
                return Ok(false);
            }
        }
        let wrapped = self.wrapped_key(&row.wrapped_key)?;
        self.run(
            "INSERT INTO sealed_rows
             (slot, name, compartment, wrapped, ciphertext, mask, change_tag, source, at_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT (slot, name) DO UPDATE SET compartment = excluded.compartment,
             wrapped = excluded.wrapped, ciphertext = excluded.ciphertext, mask = excluded.mask,
             change_tag = excluded.change_tag, source = excluded.source, at_ms = excluded.at_ms",
            params![
                slot.0,
                row.name,
                row.compartment.number(),
                wrapped,
                row.ciphertext,
                row.mask,
                row.change_tag,
                source,
                at_ms
            ],
        )?;
        if update.indexed {
            self.run(
                "INSERT INTO index_due (slot, name) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                params![slot.0, row.name],
            )?;
        }
        Ok(true)
    }

    /// A sealed row that this source said is no longer so.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn drop_sealed_from(
        &self,
        slot: Slot,
        source: FieldSource<'_>,
        name: &str,
    ) -> Result<(), StoreError> {
        let said = self.one(
            "SELECT 1 FROM sealed_rows WHERE slot = ?1 AND name = ?2 AND source = ?3",
            params![slot.0, name, source],
            |_| Ok(()),
        )?;
        if said.is_some() { self.drop_sealed(slot, name) } else { Ok(()) }
    }

    /// Drops a sealed row with its index entries, whoever said it.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn drop_sealed(&self, slot: Slot, name: &str) -> Result<(), StoreError> {
        self.run("DELETE FROM sealed_rows WHERE slot = ?1 AND name = ?2", params![slot.0, name])?;
        self.run("DELETE FROM index_due WHERE slot = ?1 AND name = ?2", params![slot.0, name])?;
        self.drop_index(slot, name)
    }

    /// Forgets what a phone reported and whose it was. What it told for `escrow` stays: it may be the only way back into
    /// a phone that is the organisation's.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn forget_reported(&self, slot: Slot) -> Result<(), StoreError> {
        let sealed: Vec<String> = self.all(
            "SELECT name FROM sealed_rows WHERE slot = ?1 AND compartment <> ?2",
            params![slot.0, Compartment::Escrow.number()],
            |r| r.get(0),
        )?;
        for name in &sealed {
            self.drop_sealed(slot, name)?;
        }
        for table in REPORTED {
            self.run(&format!("DELETE FROM {table} WHERE slot = ?1"), [slot.0])?;
        }
        // What rules ask of is kept in columns too.
        self.run(
            "UPDATE enrolments SET said_passcode_complies = NULL, said_passcode_present = NULL, said_encryption = NULL,
             said_lost = NULL WHERE slot = ?1",
            [slot.0],
        )?;
        Ok(())
    }

    /// Sets the apps of a phone as this report lists them.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn put_apps(&self, slot: Slot, source: FieldSource<'_>, apps: &[App]) -> Result<(), StoreError> {
        self.run("DELETE FROM apps WHERE slot = ?1 AND source = ?2", params![slot.0, source])?;
        for app in apps {
            self.run(
                "INSERT INTO apps (slot, source, identifier, version, short_version)
                 VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
                params![slot.0, source, app.identifier, app.version, app.short_version],
            )?;
        }
        Ok(())
    }

    /// Forgets wrapped keys that no row is under any more.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn drop_unused_keys(&self, limit: u32) -> Result<usize, StoreError> {
        self.forget();
        self.run(
            "DELETE FROM wrapped_keys WHERE id IN (SELECT w.id FROM wrapped_keys w WHERE NOT EXISTS
             (SELECT 1 FROM sealed_rows s WHERE s.wrapped = w.id) LIMIT ?1)",
            [limit],
        )
    }
}
