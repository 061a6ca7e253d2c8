//! Declarative management: which sets phones should hold, what they fetch, and what they say they hold.

use model::{Digest, OrderId, TimeMs};
use rusqlite::{Row, params};

use crate::view::id;
use crate::{Slot, StoreError, Tx, View};

/// A set as an order made it.
#[derive(Debug, Clone)]
pub struct NewSet {
    /// The order.
    pub order: OrderId,
    /// The ledger's index of it.
    pub position: u64,
    /// The set's name.
    pub name: String,
    /// When.
    pub at_ms: TimeMs,
    /// Its declarations; none: the set is gone.
    pub items: Vec<SetItem>,
}

/// One declaration of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetItem {
    /// `activation`, `asset`, `configuration` or `management`.
    pub kind: String,
    /// Its identifier.
    pub identifier: String,
    /// Its `Type`.
    pub declared_type: String,
    /// Its `ServerToken`.
    pub token: Digest,
    /// SHA-256 of what the phone fetches.
    pub digest: Digest,
    /// It has effect.
    pub in_force: bool,
}

/// A declaration that a phone should hold, and by which set.
#[derive(Debug, Clone)]
pub struct WantedDeclaration {
    /// The set's name.
    pub set: String,
    /// The order that set it.
    pub order: OrderId,
    /// When.
    pub at_ms: TimeMs,
    /// The declaration.
    pub item: SetItem,
}

/// What a phone says of one of its declarations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclarationState {
    /// Its kind's word.
    pub kind: String,
    /// Its identifier.
    pub identifier: String,
    /// The token of what it holds; empty when that is none of ours.
    pub token: Vec<u8>,
    /// It is in force.
    pub active: bool,
    /// 0 not looked at yet, 1 invalid, 2 valid.
    pub valid: u8,
    /// Apple's codes.
    pub reasons: Vec<String>,
    /// When the phone last said so.
    pub at_ms: TimeMs,
}

/// A status item that a phone can't report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusError {
    /// The item.
    pub item: String,
    /// Apple's codes.
    pub reasons: Vec<String>,
}

/// The vault's word for a phone.
#[derive(Debug, Clone)]
pub struct DeclarationsKept {
    /// order::SignedDeclarations as CBOR.
    pub warrant: Vec<u8>,
    /// The ledger's index it goes up to.
    pub position: u64,
    /// What `tokens` answers.
    pub tokens: Vec<u8>,
    /// What `declaration-items` answers.
    pub items: Vec<u8>,
    /// When it runs out.
    pub expires_at_ms: TimeMs,
}

fn item(r: &Row<'_>, from: usize) -> rusqlite::Result<SetItem> {
    Ok(SetItem {
        kind: r.get(from)?,
        identifier: r.get(from + 1)?,
        declared_type: r.get(from + 2)?,
        token: id(r, from + 3)?,
        digest: id(r, from + 4)?,
        in_force: r.get(from + 5)?,
    })
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').filter(|w| !w.is_empty()).map(str::to_owned).collect()
}

fn index(position: u64) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}

/// The phone's warrant, unless an order came since.
pub(crate) const KEPT: &str =
    "SELECT warrant, position, tokens, items, expires_at_ms FROM declaration_warrants
    WHERE slot = ?1 AND position >= wanted AND warrant IS NOT NULL";

/// What a phone should hold.
pub(crate) const WANTED: &str =
    "SELECT p.name, s.order_id, s.at_ms, i.kind, i.identifier, i.declared_type, i.token,
    i.digest, i.in_force FROM phone_sets p JOIN declaration_sets s ON s.number = p.number
    JOIN set_items i ON i.number = p.number WHERE p.slot = ?1";

/// Bodies that no set names any more. A fresh one may be there before the ledger's entry is.
const UNUSED_BODIES: &str = "DELETE FROM declaration_bodies WHERE digest IN
    (SELECT b.digest FROM declaration_bodies b WHERE b.at_ms < ?2 AND NOT EXISTS
    (SELECT 1 FROM set_items i WHERE i.digest = b.digest) LIMIT ?1)";

/// So many apps of one source a phone may have by messages that each tell of some.
pub const MOST_APPS_OF_ONE: u32 = 4096;

impl View<'_> {
    /// The vault's word for a phone, unless an order about it came since. It may have run out.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn find_declarations(&self, slot: Slot) -> Result<Option<DeclarationsKept>, StoreError> {
        self.one(KEPT, [slot.0], |r| {
            Ok(DeclarationsKept {
                warrant: r.get(0)?,
                position: u64::try_from(r.get::<_, i64>(1)?).unwrap_or(0),
                tokens: r.get(2)?,
                items: r.get(3)?,
                expires_at_ms: r.get(4)?,
            })
        })
    }

    /// What phones fetch, sealed to the door.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn find_declaration_body(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        self.one("SELECT sealed FROM declaration_bodies WHERE digest = ?1", [digest.as_bytes()], |r| r.get(0))
    }

    /// What a phone should hold, by set, kind and identifier.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn wanted_declarations(&self, slot: Slot) -> Result<Vec<WantedDeclaration>, StoreError> {
        self.all(WANTED, [slot.0], |r| {
            Ok(WantedDeclaration { set: r.get(0)?, order: id(r, 1)?, at_ms: r.get(2)?, item: item(r, 3)? })
        })
    }

    /// What a phone says it holds.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn declaration_states(&self, slot: Slot) -> Result<Vec<DeclarationState>, StoreError> {
        self.all(
            "SELECT kind, identifier, token, active, valid, reasons, at_ms FROM declaration_states
             WHERE slot = ?1 ORDER BY kind, identifier",
            [slot.0],
            |r| {
                Ok(DeclarationState {
                    kind: r.get(0)?,
                    identifier: r.get(1)?,
                    token: r.get(2)?,
                    active: r.get(3)?,
                    valid: r.get(4)?,
                    reasons: words(&r.get::<_, String>(5)?),
                    at_ms: r.get(6)?,
                })
            },
        )
    }

    /// What a phone can't report.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn status_errors(&self, slot: Slot) -> Result<Vec<StatusError>, StoreError> {
        self.all("SELECT item, reasons FROM status_errors WHERE slot = ?1 ORDER BY item", [slot.0], |r| {
            Ok(StatusError { item: r.get(0)?, reasons: words(&r.get::<_, String>(1)?) })
        })
    }
}

impl Tx<'_> {
    /// An order set declarations for these phones.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn put_set(&self, set: &NewSet, slots: &[Slot]) -> Result<(), StoreError> {
        let mut number = None;
        if !set.items.is_empty() {
            self.run(
                "INSERT INTO declaration_sets (order_id, name, at_ms) VALUES (?1, ?2, ?3)",
                params![set.order.as_bytes(), set.name, set.at_ms],
            )?;
            let n = *number.insert(self.connection().last_insert_rowid());
            for i in &set.items {
                self.run(
                    "INSERT INTO set_items (number, kind, identifier, declared_type, token, digest, in_force)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                    params![
                        n,
                        i.kind,
                        i.identifier,
                        i.declared_type,
                        i.token.as_bytes(),
                        i.digest.as_bytes(),
                        i.in_force
                    ],
                )?;
            }
        }
        for slot in slots {
            match number {
                Some(n) => self.run(
                    "INSERT INTO phone_sets (slot, name, number) VALUES (?1, ?2, ?3)
                     ON CONFLICT (slot, name) DO UPDATE SET number = excluded.number",
                    params![slot.0, set.name, n],
                )?,
                None => self
                    .run("DELETE FROM phone_sets WHERE slot = ?1 AND name = ?2", params![slot.0, set.name])?,
            };
            self.run(
                "INSERT INTO declaration_warrants (slot, wanted) VALUES (?1, ?2)
                 ON CONFLICT (slot) DO UPDATE SET wanted = MAX(wanted, excluded.wanted)",
                params![slot.0, index(set.position)],
            )?;
        }
        Ok(())
    }

    /// Keeps what phones fetch; sealed anew, it takes the place of a body that the door may not be able to open.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn put_declaration_body(
        &self,
        digest: &Digest,
        sealed: &[u8],
        at_ms: TimeMs,
    ) -> Result<(), StoreError> {
        self.run(
            "INSERT INTO declaration_bodies (digest, sealed, at_ms) VALUES (?1, ?2, ?3)
             ON CONFLICT (digest) DO UPDATE SET sealed = excluded.sealed, at_ms = excluded.at_ms",
            params![digest.as_bytes(), sealed, at_ms],
        )?;
        Ok(())
    }

    /// Keeps the vault's word for a phone, unless there is a newer one.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn keep_declarations(&self, slot: Slot, kept: &DeclarationsKept) -> Result<(), StoreError> {
        self.run(
            "INSERT INTO declaration_warrants (slot, wanted, position, warrant, tokens, items, expires_at_ms)
             VALUES (?1, ?2, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (slot) DO UPDATE SET
             position = excluded.position, warrant = excluded.warrant, tokens = excluded.tokens,
             items = excluded.items, expires_at_ms = excluded.expires_at_ms
             WHERE excluded.position >= declaration_warrants.position",
            params![slot.0, index(kept.position), kept.warrant, kept.tokens, kept.items, kept.expires_at_ms],
        )?;
        Ok(())
    }

    /// What a phone says it holds: all of it.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn put_declaration_states(&self, slot: Slot, states: &[DeclarationState]) -> Result<(), StoreError> {
        self.run("DELETE FROM declaration_states WHERE slot = ?1", [slot.0])?;
        for s in states {
            self.run(
                "INSERT INTO declaration_states (slot, kind, identifier, token, active, valid, reasons, at_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING",
                params![
                    slot.0,
                    s.kind,
                    s.identifier,
                    s.token,
                    s.active,
                    s.valid,
                    s.reasons.join(" "),
                    s.at_ms
                ],
            )?;
        }
        Ok(())
    }

    /// What a phone can't report. With `whole`, what it said before and says no more is dropped.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn put_status_errors(
        &self,
        slot: Slot,
        errors: &[StatusError],
        whole: bool,
        at_ms: TimeMs,
    ) -> Result<(), StoreError> {
        if whole {
            self.run("DELETE FROM status_errors WHERE slot = ?1", [slot.0])?;
        }
        for e in errors {
            self.run(
                "INSERT INTO status_errors (slot, item, reasons, at_ms) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (slot, item) DO UPDATE SET reasons = excluded.reasons, at_ms = excluded.at_ms",
                params![slot.0, e.item, e.reasons.join(" "), at_ms],
            )?;
        }
        Ok(())
    }

    /// A status item that is reported after all.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn drop_status_error(&self, slot: Slot, item: &str) -> Result<(), StoreError> {
        self.run("DELETE FROM status_errors WHERE slot = ?1 AND item = ?2", params![slot.0, item])?;
        Ok(())
    }

    /// The phone begins anew: it holds nothing, and what it said of itself is no longer so.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn forget_declaration_states(&self, slot: Slot) -> Result<(), StoreError> {
        self.run("DELETE FROM declaration_states WHERE slot = ?1", [slot.0])?;
        self.run("DELETE FROM status_errors WHERE slot = ?1", [slot.0])?;
        Ok(())
    }

    /// One app of a source changed or went. One that is new beyond [`MOST_APPS_OF_ONE`] is left out.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn change_app(
        &self,
        slot: Slot,
        source: &str,
        app: &crate::App,
        removed: bool,
    ) -> Result<(), StoreError> {
        self.run(
            "DELETE FROM apps WHERE slot = ?1 AND source = ?2 AND identifier = ?3",
            params![slot.0, source, app.identifier],
        )?;
        if !removed {
            self.run(
                "INSERT INTO apps (slot, source, identifier, version, short_version)
                 SELECT ?1, ?2, ?3, ?4, ?5 WHERE (SELECT COUNT(*) FROM apps WHERE slot = ?1 AND source = ?2) < ?6",
                params![slot.0, source, app.identifier, app.version, app.short_version, MOST_APPS_OF_ONE],
            )?;
        }
        Ok(())
    }

    /// Drops sets that no phone holds, and bodies from before `before_ms` that no set names. Returns how
    /// many it dropped.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn drop_unused_sets(&self, limit: u32, before_ms: TimeMs) -> Result<usize, StoreError> {
        let unused: Vec<i64> = self.all(
            "SELECT s.number FROM declaration_sets s WHERE NOT EXISTS
             (SELECT 1 FROM phone_sets p WHERE p.number = s.number) LIMIT ?1",
            [limit],
            |r| r.get(0),
        )?;
        for number in &unused {
            self.run("DELETE FROM set_items WHERE number = ?1", [number])?;
            self.run("DELETE FROM declaration_sets WHERE number = ?1", [number])?;
        }
        Ok(unused.len() + self.run(UNUSED_BODIES, params![limit, before_ms])?)
    }
}
