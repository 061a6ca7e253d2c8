//! Holders' cards: which phone a code is for. Codes are kept as hashes.

use model::{Digest, EnrolmentId, TimeMs};
use rusqlite::params;

use crate::enrolment::Slot;
use crate::view::id;
use crate::{StoreError, Tx, View};

/// The newest card of a phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HolderCardRecord {
    /// The phone.
    pub enrolment: EnrolmentId,
    /// Where it stands in the tables.
    pub slot: Slot,
    /// The hash of the card's code.
    pub code: Digest,
    /// Since when.
    pub made_at_ms: TimeMs,
}

impl View<'_> {
    /// The card whose code has this hash.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn find_holder_card(&self, code: Digest) -> Result<Option<HolderCardRecord>, StoreError> {
        self.one(
            "SELECT e.enrolment, h.slot, h.made_at_ms FROM holder_cards h JOIN enrolments e ON e.slot = h.slot
             WHERE h.code = ?1",
            [code.as_bytes()],
            |r| {
                Ok(HolderCardRecord {
                    enrolment: id(r, 0)?,
                    slot: Slot(r.get(1)?),
                    code,
                    made_at_ms: r.get(2)?,
                })
            },
        )
    }

    /// Since when this phone has its card; none: it has no card that is good.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn holder_card_since(&self, slot: Slot) -> Result<Option<TimeMs>, StoreError> {
        self.one("SELECT made_at_ms FROM holder_cards WHERE slot = ?1", [slot.0], |r| r.get(0))
    }
}

impl Tx<'_> {
    /// The phone has this card; the one of before is void.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn put_holder_card(&self, slot: Slot, code: Digest, at_ms: TimeMs) -> Result<(), StoreError> {
        self.run(
            "INSERT OR REPLACE INTO holder_cards (slot, code, made_at_ms) VALUES (?1, ?2, ?3)",
            params![slot.0, code.as_bytes(), at_ms],
        )?;
        Ok(())
    }

    /// The phone has no card any more.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn drop_holder_card(&self, slot: Slot) -> Result<(), StoreError> {
        self.run("DELETE FROM holder_cards WHERE slot = ?1", [slot.0])?;
        Ok(())
    }

    /// No phone has a card any more.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn drop_holder_cards(&self) -> Result<(), StoreError> {
        self.run("DELETE FROM holder_cards", [])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NewInvitation, Store};
    use model::LinkHash;

    #[tokio::test]
    async fn a_card_leads_to_its_phone_until_another_takes_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("core.db")).unwrap();
        let invite = |n: u8| NewInvitation {
            enrolment: EnrolmentId([n; 16]),
            link: LinkHash([n; 32]),
            group: "ward-7".into(),
            expires_at_ms: 10,
            invited_at_ms: 1,
        };
        let (one, two) = (Digest([1; 32]), Digest([2; 32]));
        let slot = store
            .write(move |tx| {
                let slot = tx.invite(&invite(1))?;
                let other = tx.invite(&invite(2))?;
                tx.put_holder_card(slot, one, 5)?;
                tx.put_holder_card(other, Digest([3; 32]), 5)?;
                Ok(slot)
            })
            .await
            .unwrap();
        let find = async |code| store.read(move |v| v.find_holder_card(code)).await.unwrap();
        let made =
            |code, made_at_ms| HolderCardRecord { enrolment: EnrolmentId([1; 16]), slot, code, made_at_ms };
        assert_eq!((find(one).await, find(two).await), (Some(made(one, 5)), None));
        store.write(move |tx| tx.put_holder_card(slot, two, 7)).await.unwrap();
        assert_eq!((find(one).await, find(two).await), (None, Some(made(two, 7))));
        assert_eq!(store.read(move |v| v.holder_card_since(slot)).await.unwrap(), Some(7));
        store.write(move |tx| tx.drop_holder_card(slot)).await.unwrap();
        assert_eq!(find(two).await, None);
        assert!(find(Digest([3; 32])).await.is_some());
        store.write(|tx| tx.drop_holder_cards()).await.unwrap();
        assert_eq!(find(Digest([3; 32])).await, None);
    }
}
