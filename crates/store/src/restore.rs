//! A copy of the database for a backup, and what a restored one must not go on with.

use std::path::Path;
use std::time::Duration;

use model::{EnrolmentId, SealedRow, TimeMs};
use rusqlite::Connection;

use crate::inventory::sealed_row;
use crate::view::{View, id};
use crate::{Position, StoreError, Tx, open_error, reader};

/// Writes a whole copy of the database at `path` to `to`, which must not exist: what is committed at one
/// moment, while a core may be writing. Answers how far that copy followed the ledger.
///
/// # Errors
/// [`StoreError::Open`], [`StoreError::Disk`], [`StoreError::Refused`].
pub fn copy(path: &Path, to: &Path) -> Result<Position, StoreError> {
    let name = to.to_str().ok_or_else(|| open_error(to, &"its path is not UTF-8"))?;
    // A killed core's log is read through a connection that may write; one that only reads can't.
    let c = Connection::open(path).map_err(|e| open_error(path, &e))?;
    c.busy_timeout(Duration::from_secs(5))?;
    c.execute("VACUUM INTO ?1", [name])?;
    drop(c);
    position(to)
}

/// How far the database at `path` followed the ledger.
///
/// # Errors
/// [`StoreError::Open`], [`StoreError::Refused`].
pub fn position(path: &Path) -> Result<Position, StoreError> {
    let c = reader(path)?;
    View::over(&c).position()
}

impl View<'_> {
    /// A sealed row that the vault can open, if there is one: for a rehearsal, which tries the keys on it.
    /// One with a mask if possible, since that says whether it opened to the right value.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn find_test_row(
        &self,
        not: model::Compartment,
    ) -> Result<Option<(EnrolmentId, SealedRow)>, StoreError> {
        for condition in ["r.mask <> ''", "r.mask = ''"] {
            let sql = format!(
                "SELECT r.name, r.compartment, w.wrapped, r.ciphertext, r.mask, r.change_tag, e.enrolment
                 FROM sealed_rows r JOIN wrapped_keys w ON w.id = r.wrapped JOIN enrolments e ON e.slot = r.slot
                 WHERE r.compartment <> ?1 AND {condition} LIMIT 1"
            );
            let found = self.one(&sql, [not.number()], |r| Ok((id(r, 6)?, sealed_row(r)?)))?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

impl Tx<'_> {
    /// The house was restored from a backup: sessions, API keys and open invitations end, since they may have
    /// ended after it was made; and no warrant is used that was signed before. What orders had phones still to do
    /// is not done, since it may have been called back. Answers whose invitations those were. Done again, it ends
    /// what came since.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn restored(&self, at_ms: TimeMs) -> Result<Vec<EnrolmentId>, StoreError> {
        let open = self.all("SELECT enrolment FROM enrolments WHERE state = 0", [], |r| id(r, 0))?;
        self.run("UPDATE enrolments SET state = 6, ended_at_ms = ?1 WHERE state = 0", [at_ms])?;
        self.run("DELETE FROM sessions", [])?;
        self.run("DELETE FROM oidc_sessions", [])?;
        self.run("DELETE FROM api_keys", [])?;
        self.drop_warrants()?;
        let undone = "SELECT DISTINCT o.order_id FROM queue q JOIN commands c ON c.number = q.number
             JOIN orders o ON o.order_id = c.order_id WHERE q.state < 3 AND o.kind IN ('command', 'install_saved')
             UNION SELECT order_id FROM orders WHERE state = 4";
        for order in self.all(undone, [], |r| id(r, 0))? {
            self.recall_order(order, at_ms)?;
        }
        Ok(open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ApiKeyRecord, CommandFilter, Decision, NewCommand, NewInvitation, NewOrder, OidcSessionRecord,
        OrderState, SessionRecord, Store,
    };
    use model::{CommandId, Digest, LinkHash, OrderId, PersonId};

    fn invite(tx: &Tx<'_>, n: u8) -> Result<(), StoreError> {
        let invitation = NewInvitation {
            enrolment: EnrolmentId([n; 16]),
            link: LinkHash([n; 32]),
            group: "ward-7".into(),
            expires_at_ms: 1000,
            invited_at_ms: 1,
        };
        tx.invite(&invitation).map(|_| ())
    }

    #[tokio::test]
    async fn a_copy_holds_what_was_committed_and_is_one_file() {
        let dir = tempfile::tempdir().unwrap();
        let (path, to) = (dir.path().join("core.db"), dir.path().join("copy.db"));
        let store = Store::open(&path).unwrap();
        store.write(|tx| invite(tx, 1)).await.unwrap();
        assert_eq!(copy(&path, &to).unwrap().entries, 0);
        store.write(|tx| invite(tx, 2)).await.unwrap();
        assert!(!dir.path().join("copy.db-wal").exists());
        let copied = Store::open(&to).unwrap();
        let there = |n| copied.read_now(|v| Ok(v.find_enrolment(EnrolmentId([n; 16]))?.is_some())).unwrap();
        assert!(there(1) && !there(2));
        // An existing file is never written over.
        assert!(copy(&path, &to).is_err());
    }

    /// An order of `kind` with one command that waits at the second phone.
    fn ordered(tx: &Tx<'_>, n: u8, kind: &str, slot: crate::Slot) -> Result<(), StoreError> {
        let order = OrderId([n; 16]);
        tx.receive_order(&NewOrder {
            order,
            digest: Digest([n; 32]),
            kind: kind.into(),
            reason: "a test".into(),
            targets: 1,
            made_at_ms: 1,
            expires_at_ms: 9000,
            received_at_ms: 1,
            signed: vec![],
            sealed: vec![],
        })?;
        tx.decide_order(order, &accepted(None))?;
        let number = tx.put_command(&NewCommand {
            command: CommandId([n; 16]),
            order: Some(order),
            request_type: "DeviceLock".into(),
            query: None,
            body: vec![1],
            sealed: false,
            created_at_ms: 1,
            expires_at_ms: 9000,
        })?;
        tx.queue(slot, number, Some((b"warrant", 5000)))?;
        Ok(())
    }

    fn accepted(cools_until_ms: Option<TimeMs>) -> Decision {
        Decision {
            state: if cools_until_ms.is_some() { OrderState::CoolingOff } else { OrderState::Accepted },
            decided_at_ms: 2,
            outcome: "{}".into(),
            answer: vec![],
            cools_until_ms,
            signed: None,
        }
    }

    #[tokio::test]
    async fn a_restored_database_lets_nobody_in_and_has_no_warrant() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("core.db")).unwrap();
        let slot = store
            .write(|tx| {
                invite(tx, 1)?;
                invite(tx, 2)?;
                let slot = tx.find_enrolment(EnrolmentId([2; 16]))?.unwrap().slot;
                tx.issue(slot, 2)?;
                tx.put_session(&SessionRecord {
                    hash: Digest([1; 32]),
                    order: OrderId([1; 16]),
                    person: PersonId([1; 16]),
                    records: 5,
                    searches: 5,
                    compartments: 1,
                    expires_at_ms: 1000,
                })?;
                let reader = OidcSessionRecord {
                    hash: Digest([2; 32]),
                    subject: Digest([2; 32]),
                    role: "auditor".into(),
                    group: None,
                    began_at_ms: 1,
                    idle_until_ms: 1000,
                    expires_at_ms: 1000,
                };
                tx.put_oidc_session(&reader, 10)?;
                let label = "metrics".into();
                tx.put_api_key(&ApiKeyRecord {
                    hash: Digest([3; 32]),
                    scopes: 1,
                    label,
                    expires_at_ms: 1000,
                })?;
                ordered(tx, 5, "command", slot)?;
                ordered(tx, 6, "set_declarations", slot)?;
                ordered(tx, 7, "command", slot)?;
                tx.run(
                    "UPDATE orders SET state = 4, cools_until_ms = 8000 WHERE order_id = ?1",
                    [[7u8; 16]],
                )?;
                Ok(slot)
            })
            .await
            .unwrap();
        let lets_in =
            || store.read(|v| Ok((v.sessions(5)?.len(), v.oidc_sessions(5)?.len(), v.api_keys(5)?.len())));
        let open = || {
            let filter = CommandFilter { slot: Some(slot), limit: 10, ..CommandFilter::default() };
            store.read(move |v| {
                let items = v.commands(&filter)?;
                let open = items.into_iter().filter(|c| c.state.number() < 3).map(|c| c.command.0[0]);
                Ok((open.collect::<Vec<_>>(), v.warrants_due(5, 6, 10)?.len(), v.cooling_orders(10)?.len()))
            })
        };
        assert_eq!(lets_in().await.unwrap(), (1, 1, 1));
        assert_eq!(open().await.unwrap(), (vec![7, 6, 5], 0, 1));

        assert_eq!(store.write(|tx| tx.restored(3)).await.unwrap(), [EnrolmentId([1; 16])]);
        assert_eq!(lets_in().await.unwrap(), (0, 0, 0));
        // What an order still had to do is not done; what declares a state is asked of the vault anew.
        assert_eq!(open().await.unwrap(), (vec![6], 1, 0));
        assert!(store.write(|tx| tx.restored(4)).await.unwrap().is_empty());
    }
}
