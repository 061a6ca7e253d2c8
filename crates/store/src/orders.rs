//! Orders as they came and how they were decided.

use model::{Digest, KeyId, OrderId, PersonId, TimeMs};
use rusqlite::{Row, params};

use crate::enrolment::numbered;
use crate::view::{coded, id, optional_id};
use crate::{StoreError, Tx, View};
use serde::{Deserialize, Serialize};

numbered!(
    /// Where an order stands.
    OrderState {
        /// Core has it; the vault has not decided.
        Received = 0, "received";
        /// The vault accepted it.
        Accepted = 1, "accepted";
        /// The vault refused it.
        Refused = 2, "refused";
        /// It waits for another signature.
        Pending = 3, "pending";
        /// The vault accepted it, and no phone is told before its cooling-off ends.
        CoolingOff = 4, "cooling_off";
    }
);

/// An order that came in.
#[derive(Debug, Clone)]
pub struct NewOrder {
    /// Its id.
    pub order: OrderId,
    /// SHA-256 of the signed bytes and the signatures.
    pub digest: Digest,
    /// The kind's name.
    pub kind: String,
    /// Why.
    pub reason: String,
    /// How many enrolments it names.
    pub targets: u32,
    /// When it was made.
    pub made_at_ms: TimeMs,
    /// When it expires.
    pub expires_at_ms: TimeMs,
    /// When it came.
    pub received_at_ms: TimeMs,
    /// order::SignedOrder as CBOR.
    pub signed: Vec<u8>,
    /// What lies sealed beside it.
    pub sealed: Vec<u8>,
}

/// How it was decided.
#[derive(Debug, Clone)]
pub struct Decision {
    /// Accepted or refused.
    pub state: OrderState,
    /// When core learnt it.
    pub decided_at_ms: TimeMs,
    /// The outcome in core's own words (JSON), to be given again.
    pub outcome: String,
    /// The answer, sealed to the order's key.
    pub answer: Vec<u8>,
    /// Until when it cools off, for [`OrderState::CoolingOff`].
    pub cools_until_ms: Option<TimeMs>,
    /// The bytes with all the signatures that it was decided by, where they are others than were kept.
    pub signed: Option<Vec<u8>>,
}

/// An order in the list.
#[derive(Debug, Clone)]
pub struct OrderRecord {
    /// Its place, for paging.
    pub number: i64,
    /// Its id.
    pub order: OrderId,
    /// SHA-256 of the signed bytes and the signatures.
    pub digest: Digest,
    /// Where it stands.
    pub state: OrderState,
    /// The kind's name.
    pub kind: String,
    /// Why.
    pub reason: String,
    /// Who signed it, once the ledger says so.
    pub signer: Option<PersonId>,
    /// How many enrolments it names.
    pub targets: u32,
    /// When it was made.
    pub made_at_ms: TimeMs,
    /// When it expires.
    pub expires_at_ms: TimeMs,
    /// When it came.
    pub received_at_ms: TimeMs,
    /// When it was decided.
    pub decided_at_ms: Option<TimeMs>,
    /// When it was called back.
    pub recalled_at_ms: Option<TimeMs>,
    /// order::SignedOrder as CBOR.
    pub signed: Vec<u8>,
    /// What lies sealed beside it; empty once decided.
    pub sealed: Vec<u8>,
    /// The outcome (JSON), once decided.
    pub outcome: Option<String>,
    /// The sealed answer, once decided.
    pub answer: Option<Vec<u8>>,
    /// What stands in the way of one that waits for a signature, as the vault said it.
    pub hold: Option<Vec<u8>>,
    /// Until when it cools off.
    pub cools_until_ms: Option<TimeMs>,
}

const ORDER: &str = "SELECT number, order_id, digest, state, kind, reason, signer, targets, made_at_ms,
    expires_at_ms, received_at_ms, decided_at_ms, recalled_at_ms, signed, sealed, outcome, answer, hold,
    cools_until_ms FROM orders";

fn order(r: &Row<'_>) -> rusqlite::Result<OrderRecord> {
    Ok(OrderRecord {
        number: r.get(0)?,
        order: id(r, 1)?,
        digest: id(r, 2)?,
        state: coded(r, 3, OrderState::from_number)?,
        kind: r.get(4)?,
        reason: r.get(5)?,
        signer: optional_id(r, 6)?,
        targets: r.get(7)?,
        made_at_ms: r.get(8)?,
        expires_at_ms: r.get(9)?,
        received_at_ms: r.get(10)?,
        decided_at_ms: r.get(11)?,
        recalled_at_ms: r.get(12)?,
        signed: r.get(13)?,
        sealed: r.get(14)?,
        outcome: r.get(15)?,
        answer: r.get(16)?,
        hold: r.get(17)?,
        cools_until_ms: r.get(18)?,
    })
}

impl View<'_> {
    /// The order of that id.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn find_order(&self, id: OrderId) -> Result<Option<OrderRecord>, StoreError> {
        self.one(&format!("{ORDER} WHERE order_id = ?1"), [id.as_bytes()], order)
    }

    /// The first orders whose id lies between these two.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn orders_between(
        &self,
        from: OrderId,
        to: OrderId,
        limit: u32,
    ) -> Result<Vec<OrderRecord>, StoreError> {
        self.all(
            &format!("{ORDER} WHERE order_id BETWEEN ?1 AND ?2 ORDER BY order_id LIMIT ?3"),
            params![from.0, to.0, limit],
            order,
        )
    }

    /// Orders, newest first, before that place.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn orders(&self, before: i64, limit: u32) -> Result<Vec<OrderRecord>, StoreError> {
        self.all(
            &format!("{ORDER} WHERE number < ?1 ORDER BY number DESC LIMIT ?2"),
            params![before, limit],
            order,
        )
    }

    /// How many orders the vault has yet to decide, and how many bytes they are.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn undecided_size(&self) -> Result<(u64, u64), StoreError> {
        let bytes = "SELECT COALESCE(SUM(LENGTH(signed) + LENGTH(sealed)), 0) FROM orders WHERE state = 0";
        Ok((self.count("SELECT COUNT(*) FROM orders WHERE state = 0", [])?, self.count(bytes, [])?))
    }

    /// Orders that the vault has yet to decide.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn undecided_orders(&self, limit: u32) -> Result<Vec<OrderRecord>, StoreError> {
        self.all(&format!("{ORDER} WHERE state = 0 ORDER BY number LIMIT ?1"), [limit], order)
    }

    /// Orders that wait for another signature, from that place on, oldest first.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn pending_orders(&self, after: i64, limit: u32) -> Result<Vec<OrderRecord>, StoreError> {
        self.all(
            &format!("{ORDER} WHERE state = 3 AND number > ?1 ORDER BY number LIMIT ?2"),
            params![after, limit],
            order,
        )
    }

    /// Orders that waited for another signature until they ran out before then.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn pending_over(&self, before_ms: TimeMs) -> Result<Vec<OrderId>, StoreError> {
        let over = "SELECT order_id FROM orders WHERE state = 3 AND expires_at_ms <= ?1";
        self.all(over, [before_ms], |r| id(r, 0))
    }

    /// How many orders wait for another signature, how many of them were first signed by this key, and how many
    /// bytes all of them are.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn pending_size(&self, key: KeyId) -> Result<(u64, u64, u64), StoreError> {
        let all = "SELECT COUNT(*) FROM orders WHERE state = 3";
        let bytes = "SELECT COALESCE(SUM(LENGTH(signed) + LENGTH(sealed)), 0) FROM orders WHERE state = 3";
        let of_key = "SELECT COUNT(*) FROM orders WHERE state = 3 AND held_by = ?1";
        Ok((self.count(all, [])?, self.count(of_key, [key.as_bytes()])?, self.count(bytes, [])?))
    }

    /// Orders whose cooling-off has ended by then.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn cooled_orders(&self, now_ms: TimeMs, limit: u32) -> Result<Vec<OrderRecord>, StoreError> {
        self.all(
            &format!("{ORDER} WHERE state = 4 AND cools_until_ms <= ?1 ORDER BY cools_until_ms LIMIT ?2"),
            params![now_ms, limit],
            order,
        )
    }

    /// Orders that cool off, those that end first in front.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn cooling_orders(&self, limit: u32) -> Result<Vec<OrderRecord>, StoreError> {
        self.cooled_orders(TimeMs::MAX, limit)
    }

    /// When the next cooling-off ends.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn next_cooled_ms(&self) -> Result<Option<TimeMs>, StoreError> {
        let next = "SELECT cools_until_ms FROM orders WHERE state = 4 ORDER BY cools_until_ms LIMIT 1";
        self.one(next, [], |r| r.get(0))
    }
}

impl Tx<'_> {
    /// Keeps an order before the vault is asked. False: an order of that id is there already.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn receive_order(&self, o: &NewOrder) -> Result<bool, StoreError> {
        let n = self.run(
            "INSERT INTO orders (order_id, digest, state, kind, reason, targets, made_at_ms, expires_at_ms,
             received_at_ms, signed, sealed) VALUES (?1, ?2, 0, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
             ON CONFLICT (order_id) DO NOTHING",
            params![
                o.order.as_bytes(),
                o.digest.as_bytes(),
                o.kind,
                o.reason,
                o.targets,
                o.made_at_ms,
                o.expires_at_ms,
                o.received_at_ms,
                o.signed,
                o.sealed
            ],
        )?;
        Ok(n > 0)
    }

    /// Keeps how an order was decided; its sealed arguments are dropped, unless it cools off. That the vault accepted
    /// it counts also after core itself took it for one that had run out.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn decide_order(&self, id: OrderId, d: &Decision) -> Result<(), StoreError> {
        self.run(
            "UPDATE orders SET state = ?2, decided_at_ms = COALESCE(decided_at_ms, ?3), outcome = ?4, answer = ?5,
             sealed = CASE WHEN ?2 = 4 THEN sealed ELSE x'' END, hold = NULL, cools_until_ms = ?6,
             signed = COALESCE(?7, signed)
             WHERE order_id = ?1 AND (state IN (0, 3, 4) OR (state = 2 AND ?2 IN (1, 4)))",
            params![
                id.as_bytes(),
                d.state.number(),
                d.decided_at_ms,
                d.outcome,
                d.answer,
                d.cools_until_ms,
                d.signed
            ],
        )?;
        Ok(())
    }

    /// Keeps an undecided order until it has the signatures that it takes: the bytes with those it has so far,
    /// the key that signed first, and what the vault said.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn hold_order(&self, id: OrderId, signed: &[u8], by: KeyId, hold: &[u8]) -> Result<(), StoreError> {
        self.run(
            "UPDATE orders SET state = 3, signed = ?2, held_by = ?3, hold = ?4
             WHERE order_id = ?1 AND state IN (0, 3)",
            params![id.as_bytes(), signed, by.as_bytes(), hold],
        )?;
        Ok(())
    }

    /// Forgets a received order whose id belongs to another order, or that never was one: nothing was
    /// decided under it.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn drop_undecided(&self, id: OrderId, digest: Digest) -> Result<(), StoreError> {
        self.run(
            "DELETE FROM orders WHERE order_id = ?1 AND digest = ?2 AND state = 0",
            params![id.as_bytes(), digest.as_bytes()],
        )?;
        Ok(())
    }

    /// The ledger says who signed it.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn signed_by(&self, id: OrderId, person: PersonId) -> Result<(), StoreError> {
        self.run(
            "UPDATE orders SET signer = ?2 WHERE order_id = ?1",
            params![id.as_bytes(), person.as_bytes()],
        )?;
        Ok(())
    }

    /// The vault decided an order that waits here for a signature: its outcome was lost on the way, and is asked
    /// for again. False: no such order waits.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn ask_again(&self, id: OrderId) -> Result<bool, StoreError> {
        Ok(self.run("UPDATE orders SET state = 0 WHERE order_id = ?1 AND state = 3", [id.as_bytes()])? > 0)
    }

    /// The order was called back: what is open of it is cancelled.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn recall_order(&self, id: OrderId, at_ms: TimeMs) -> Result<(), StoreError> {
        self.run(
            "UPDATE orders SET recalled_at_ms = ?2 WHERE order_id = ?1 AND recalled_at_ms IS NULL",
            params![id.as_bytes(), at_ms],
        )?;
        self.run(
            "UPDATE orders SET state = 1, sealed = x'', cools_until_ms = NULL WHERE order_id = ?1 AND state = 4",
            [id.as_bytes()],
        )?;
        self.cancel_order(id, at_ms)?;
        Ok(())
    }
}
