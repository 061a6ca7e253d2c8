//! What waits for phones sealed to the door's delivery key, to be sealed again to a newer one.

use model::Digest;
use rusqlite::params;

use crate::view::id;
use crate::{StoreError, Tx, View};

/// What one batch reads at most: bodies may be large.
const LARGEST_BATCH_BYTES: usize = 4 << 20;

/// Where something sealed stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeliveryPlace {
    /// A declaration, by the digest of its content.
    Declaration(Digest),
    /// An open command, by its number.
    Command(i64),
}

/// Something that is sealed to the door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedDelivery {
    /// Where it stands.
    pub place: DeliveryPlace,
    /// The sealed bytes.
    pub sealed: Vec<u8>,
    /// Of a command: a warrant for it, whose digest it was sealed with; `None` while none is signed.
    pub warrant: Option<Vec<u8>>,
}

const DECLARATIONS: &str =
    "SELECT digest, sealed FROM declaration_bodies WHERE digest > ?1 ORDER BY digest LIMIT ?2";
const COMMANDS: &str = "SELECT c.number, c.body, (SELECT q.warrant FROM queue q WHERE q.number = c.number
    AND q.state < 3 AND q.warrant IS NOT NULL LIMIT 1) FROM commands c WHERE c.number > ?1 AND c.sealed = 1
    AND c.body IS NOT NULL AND EXISTS (SELECT 1 FROM queue q WHERE q.number = c.number AND q.state < 3)
    ORDER BY c.number LIMIT ?2";

impl View<'_> {
    /// What is sealed to the door, in the order of its places, after one of them; a few at a time.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn deliveries(
        &self,
        after: Option<DeliveryPlace>,
        limit: u32,
    ) -> Result<Vec<SealedDelivery>, StoreError> {
        let mut found = Vec::new();
        if !matches!(after, Some(DeliveryPlace::Command(_))) {
            let from = match &after {
                Some(DeliveryPlace::Declaration(digest)) => digest.as_bytes().to_vec(),
                _ => Vec::new(),
            };
            found = self.all(DECLARATIONS, params![from, limit], |r| {
                let place = DeliveryPlace::Declaration(id(r, 0)?);
                Ok(SealedDelivery { place, sealed: r.get(1)?, warrant: None })
            })?;
        }
        if found.is_empty() {
            let from = if let Some(DeliveryPlace::Command(number)) = after { number } else { 0 };
            found = self.all(COMMANDS, params![from, limit], |r| {
                let place = DeliveryPlace::Command(r.get(0)?);
                Ok(SealedDelivery { place, sealed: r.get(1)?, warrant: r.get(2)? })
            })?;
        }
        let mut bytes = 0;
        let fits = found.iter().take_while(|d| {
            let first = bytes == 0;
            bytes += d.sealed.len();
            first || bytes <= LARGEST_BATCH_BYTES
        });
        let fits = fits.count();
        found.truncate(fits);
        Ok(found)
    }

    /// How many things are sealed to the door.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn count_deliveries(&self) -> Result<u64, StoreError> {
        let declarations = self.count("SELECT COUNT(*) FROM declaration_bodies", [])?;
        let commands = self.count(
            "SELECT COUNT(*) FROM commands c WHERE c.sealed = 1 AND c.body IS NOT NULL
             AND EXISTS (SELECT 1 FROM queue q WHERE q.number = c.number AND q.state < 3)",
            [],
        )?;
        Ok(declarations + commands)
    }
}

impl Tx<'_> {
    /// Puts what was sealed again in the place of what it was made of, unless that has changed since.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn put_delivery(&self, was: &SealedDelivery, is: &[u8]) -> Result<bool, StoreError> {
        let n = match &was.place {
            DeliveryPlace::Declaration(digest) => self.run(
                "UPDATE declaration_bodies SET sealed = ?2 WHERE digest = ?1 AND sealed = ?3",
                params![digest.as_bytes(), is, was.sealed],
            )?,
            DeliveryPlace::Command(number) => self.run(
                "UPDATE commands SET body = ?2 WHERE number = ?1 AND body = ?3",
                params![number, is, was.sealed],
            )?,
        };
        Ok(n > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NewCommand, NewInvitation, Store};
    use model::{CommandId, EnrolmentId, LinkHash};

    #[tokio::test]
    async fn what_is_sealed_to_the_door_is_found_in_turn_and_a_newer_body_is_not_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("core.db")).unwrap();
        store
            .write(|tx| {
                let slot = tx.invite(&NewInvitation {
                    enrolment: EnrolmentId([1; 16]),
                    link: LinkHash([1; 32]),
                    group: "ward-7".into(),
                    expires_at_ms: 1000,
                    invited_at_ms: 1,
                })?;
                for n in [1u8, 2] {
                    tx.put_declaration_body(&Digest([n; 32]), &[n; 3], 1)?;
                }
                for (n, sealed, queued) in
                    [(3, true, true), (4, false, true), (5, true, false), (6, true, true)]
                {
                    let number = tx.put_command(&NewCommand {
                        command: CommandId([n; 16]),
                        order: None,
                        request_type: "DeviceLock".into(),
                        query: None,
                        body: vec![n; 3],
                        sealed,
                        created_at_ms: 1,
                        expires_at_ms: 1000,
                    })?;
                    if queued {
                        tx.queue(slot, number, (n == 3).then_some((&[7u8; 2][..], 9)))?;
                    }
                }
                Ok(())
            })
            .await
            .unwrap();
        let mut all = Vec::new();
        let mut after = None;
        loop {
            let batch = store.read_now(|v| v.deliveries(after, 1)).unwrap();
            let Some(last) = batch.last() else { break };
            after = Some(last.place);
            all.extend(batch);
        }
        assert_eq!(all.iter().map(|d| d.sealed[0]).collect::<Vec<_>>(), [1, 2, 3, 6]);
        assert_eq!(all[2].warrant.as_deref(), Some(&[7u8; 2][..]));
        assert_eq!(all[3].warrant, None);
        assert_eq!(store.read_now(|v| v.count_deliveries()).unwrap(), 4);
        let put = store
            .write(move |tx| {
                let stale = SealedDelivery { sealed: vec![9], ..all[0].clone() };
                Ok((
                    tx.put_delivery(&stale, b"x")?,
                    tx.put_delivery(&all[1], b"y")?,
                    tx.put_delivery(&all[2], b"z")?,
                ))
            })
            .await
            .unwrap();
        assert_eq!(put, (false, true, true));
        let now = store.read_now(|v| v.deliveries(None, 9)).unwrap();
        assert_eq!(now.iter().map(|d| d.sealed.clone()).collect::<Vec<_>>(), [vec![1; 3], b"y".to_vec()]);
    }
}
