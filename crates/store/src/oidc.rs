//! Sessions that were signed in by OpenID Connect. They read masks; no order is behind them.

use model::{Digest, TimeMs};
use rusqlite::params;

use crate::view::id;
use crate::{StoreError, Tx, View};

/// A session that only reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcSessionRecord {
    /// SHA-256 of its secret.
    pub hash: Digest,
    /// A keyed hash of the provider's name for the person.
    pub subject: Digest,
    /// The role's name.
    pub role: String,
    /// The group the role is held to.
    pub group: Option<String>,
    /// Since when.
    pub began_at_ms: TimeMs,
    /// It ends then unless it is used.
    pub idle_until_ms: TimeMs,
    /// Until when at most.
    pub expires_at_ms: TimeMs,
}

/// What came of a session that was to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OidcBegan {
    /// It began; these of the same person ended for it, the oldest first.
    Ended(Vec<Digest>),
    /// Nothing was kept: a session or an API key has that hash.
    Taken,
}

const COLUMNS: &str = "hash, subject, role, home, began_at_ms, idle_until_ms, expires_at_ms";

impl View<'_> {
    /// Those that have not run out.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn oidc_sessions(&self, now_ms: TimeMs) -> Result<Vec<OidcSessionRecord>, StoreError> {
        self.all(&format!("SELECT {COLUMNS} FROM oidc_sessions WHERE expires_at_ms > ?1"), [now_ms], |r| {
            Ok(OidcSessionRecord {
                hash: id(r, 0)?,
                subject: id(r, 1)?,
                role: r.get(2)?,
                group: r.get(3)?,
                began_at_ms: r.get(4)?,
                idle_until_ms: r.get(5)?,
                expires_at_ms: r.get(6)?,
            })
        })
    }
}

impl View<'_> {
    /// Whether a session of that hash stands.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn has_oidc_session(&self, hash: Digest) -> Result<bool, StoreError> {
        let found = self.one("SELECT 1 FROM oidc_sessions WHERE hash = ?1", [hash.as_bytes()], |_| Ok(()))?;
        Ok(found.is_some())
    }
}

impl Tx<'_> {
    /// The key under which subjects are hashed; `fresh` from now on if there was none.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn oidc_key(&self, fresh: [u8; 32]) -> Result<[u8; 32], StoreError> {
        self.run("INSERT INTO oidc_key (one, key) VALUES (1, ?1) ON CONFLICT DO NOTHING", [fresh])?;
        let kept: Option<Digest> = self.one("SELECT key FROM oidc_key WHERE one = 1", [], |r| id(r, 0))?;
        kept.map(|k| k.0).ok_or_else(|| StoreError::Refused("the key of oidc_key is not there".into()))
    }

    /// A session begins. One person has `most` at once. The hashes of others' sessions and of API keys can be read in the
    /// ledger: whoever signs in takes none of them.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn put_oidc_session(&self, s: &OidcSessionRecord, most: u32) -> Result<OidcBegan, StoreError> {
        let taken = self.one(
            "SELECT 1 FROM sessions WHERE hash = ?1 UNION ALL SELECT 1 FROM api_keys WHERE hash = ?1
             UNION ALL SELECT 1 FROM oidc_sessions WHERE hash = ?1",
            [s.hash.as_bytes()],
            |_| Ok(()),
        )?;
        if taken.is_some() {
            return Ok(OidcBegan::Taken);
        }
        self.run(
            "INSERT INTO oidc_sessions (hash, subject, role, home, began_at_ms, idle_until_ms, expires_at_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                s.hash.as_bytes(),
                s.subject.as_bytes(),
                s.role,
                s.group,
                s.began_at_ms,
                s.idle_until_ms,
                s.expires_at_ms
            ],
        )?;
        let over = self.all(
            "SELECT hash FROM oidc_sessions WHERE subject = ?1 ORDER BY began_at_ms DESC LIMIT -1 OFFSET ?2",
            params![s.subject.as_bytes(), most],
            |r| id(r, 0),
        )?;
        over.iter().try_for_each(|hash| self.end_oidc_session(*hash))?;
        Ok(OidcBegan::Ended(over))
    }

    /// It was used: it ends later, if nobody uses it further.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn oidc_session_used(&self, hash: Digest, idle_until_ms: TimeMs) -> Result<(), StoreError> {
        self.run(
            "UPDATE oidc_sessions SET idle_until_ms = ?2 WHERE hash = ?1",
            params![hash.as_bytes(), idle_until_ms],
        )?;
        Ok(())
    }

    /// A session ends.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn end_oidc_session(&self, hash: Digest) -> Result<(), StoreError> {
        self.run("DELETE FROM oidc_sessions WHERE hash = ?1", [hash.as_bytes()])?;
        Ok(())
    }

    /// Forgets those that have run out.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn drop_expired_oidc(&self, now_ms: TimeMs) -> Result<(), StoreError> {
        self.run("DELETE FROM oidc_sessions WHERE expires_at_ms <= ?1", [now_ms])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;

    fn session(n: u8, subject: u8, began_at_ms: TimeMs) -> OidcSessionRecord {
        OidcSessionRecord {
            hash: Digest([n; 32]),
            subject: Digest([subject; 32]),
            role: "auditor".into(),
            group: None,
            began_at_ms,
            idle_until_ms: began_at_ms + 10,
            expires_at_ms: began_at_ms + 100,
        }
    }

    #[tokio::test]
    async fn a_session_is_found_until_it_ends_and_only_the_newest_of_one_person_stay() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("core.db")).unwrap();
        let ended = store.write(|tx| {
            let mut ended = vec![];
            for n in 1..=4 {
                ended.push(tx.put_oidc_session(&session(n, 9, i64::from(n)), 2)?);
            }
            ended.push(tx.put_oidc_session(&session(5, 8, 5), 2)?);
            Ok(ended)
        });
        let none = || OidcBegan::Ended(vec![]);
        let one = |n| OidcBegan::Ended(vec![Digest([n; 32])]);
        assert_eq!(ended.await.unwrap(), [none(), none(), one(1), one(2), none()]);
        let found = |now_ms| {
            let store = &store;
            async move {
                let mut all = store.read(move |v| v.oidc_sessions(now_ms)).await.unwrap();
                all.sort_by_key(|s| s.began_at_ms);
                all.into_iter().map(|s| s.hash.0[0]).collect::<Vec<_>>()
            }
        };
        assert_eq!(found(0).await, [3, 4, 5]);
        assert_eq!(found(104).await, [5]);
        let again = store.write(|tx| tx.put_oidc_session(&session(4, 7, 9), 2)).await.unwrap();
        assert_eq!(again, OidcBegan::Taken);
        let has = |n| store.read(move |v| v.has_oidc_session(Digest([n; 32])));
        assert!(has(4).await.unwrap() && !has(1).await.unwrap());
        store.write(|tx| tx.end_oidc_session(Digest([4; 32]))).await.unwrap();
        store.write(|tx| tx.oidc_session_used(Digest([3; 32]), 77)).await.unwrap();
        assert_eq!(
            store
                .read(|v| v.oidc_sessions(0))
                .await
                .unwrap()
                .iter()
                .filter(|s| s.idle_until_ms == 77)
                .count(),
            1
        );
        store.write(|tx| tx.drop_expired_oidc(104)).await.unwrap();
        assert_eq!(found(0).await, [5]);
        store.write(|tx| tx.restored(6).map(drop)).await.unwrap();
        assert_eq!(found(0).await, [] as [u8; 0]);
    }

    #[tokio::test]
    async fn who_signs_in_takes_the_hash_of_no_session_and_of_no_api_key() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("core.db")).unwrap();
        let put = store.write(|tx| {
            tx.run(
                "INSERT INTO sessions (hash, order_id, person, records, searches, compartments, expires_at_ms)
                 VALUES (?1, x'00', x'00', 0, 0, 0, 9)",
                [[1u8; 32]],
            )?;
            tx.run(
                "INSERT INTO api_keys (hash, scopes, label, expires_at_ms) VALUES (?1, 1, 'x', 9)",
                [[2u8; 32]],
            )?;
            [1, 2, 3]
                .into_iter()
                .map(|n| tx.put_oidc_session(&session(n, 9, 0), 2))
                .collect::<Result<Vec<_>, _>>()
        });
        assert_eq!(put.await.unwrap(), [OidcBegan::Taken, OidcBegan::Taken, OidcBegan::Ended(vec![])]);
        assert_eq!(store.read(|v| v.oidc_sessions(0)).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn the_key_of_subjects_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("core.db")).unwrap();
        for fresh in [[1; 32], [2; 32]] {
            assert_eq!(store.write(move |tx| tx.oidc_key(fresh)).await.unwrap(), [1; 32]);
        }
    }
}
