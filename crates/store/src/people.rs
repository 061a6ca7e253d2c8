//! People, sessions and API keys, as the ledger says. Of a secret only its SHA-256 is known.

use model::{Digest, KeyId, OrderId, PersonId, TimeMs};
use rusqlite::params;

use crate::view::id;
use crate::{StoreError, Tx, View};

/// Someone who signs orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonRecord {
    /// Who.
    pub person: PersonId,
    /// The role's name.
    pub role: String,
    /// The group the role is held to.
    pub group: Option<String>,
    /// The keys that sign.
    pub keys: Vec<KeyId>,
    /// Since when.
    pub joined_at_ms: TimeMs,
    /// Until when, once removed.
    pub removed_at_ms: Option<TimeMs>,
}

/// A session and its grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRecord {
    /// SHA-256 of its secret.
    pub hash: Digest,
    /// The order that made it.
    pub order: OrderId,
    /// Whose.
    pub person: PersonId,
    /// Records it may open in all.
    pub records: u32,
    /// Searches it may make in all.
    pub searches: u32,
    /// Compartments as bits: `1 << number`.
    pub compartments: u32,
    /// Until when.
    pub expires_at_ms: TimeMs,
}

/// A read-only API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyRecord {
    /// SHA-256 of the key.
    pub hash: Digest,
    /// What it reads, as bits: `1 << scope number`.
    pub scopes: u32,
    /// What it is for.
    pub label: String,
    /// Until when.
    pub expires_at_ms: TimeMs,
}

impl View<'_> {
    /// Everyone, those who left too, after that id.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn people(&self, after: Option<PersonId>, limit: u32) -> Result<Vec<PersonRecord>, StoreError> {
        let after = after.map_or_else(Vec::new, |p| p.0.to_vec());
        let mut people = self.all(
            "SELECT person, role, home, joined_at_ms, removed_at_ms FROM people WHERE person > ?1
             ORDER BY person LIMIT ?2",
            params![after, limit],
            |r| {
                Ok(PersonRecord {
                    person: id(r, 0)?,
                    role: r.get(1)?,
                    group: r.get(2)?,
                    keys: vec![],
                    joined_at_ms: r.get(3)?,
                    removed_at_ms: r.get(4)?,
                })
            },
        )?;
        for p in &mut people {
            p.keys = self.all(
                "SELECT key_id FROM person_keys WHERE person = ?1 ORDER BY key_id",
                [p.person.as_bytes()],
                |r| id(r, 0),
            )?;
        }
        Ok(people)
    }

    /// Whose key that is.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn person_of_key(&self, key: KeyId) -> Result<Option<PersonId>, StoreError> {
        self.one("SELECT person FROM person_keys WHERE key_id = ?1", [key.as_bytes()], |r| id(r, 0))
    }

    /// The passkeys that sign, each with its public half and site as the ledger has them.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn passkeys(&self) -> Result<Vec<(KeyId, Vec<u8>)>, StoreError> {
        self.all(
            "SELECT key_id, passkey FROM person_keys WHERE passkey IS NOT NULL ORDER BY key_id",
            [],
            |r| Ok((id(r, 0)?, r.get(1)?)),
        )
    }

    /// Sessions that have not run out.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn sessions(&self, now_ms: TimeMs) -> Result<Vec<SessionRecord>, StoreError> {
        self.all(
            "SELECT hash, order_id, person, records, searches, compartments, expires_at_ms FROM sessions
             WHERE expires_at_ms > ?1",
            [now_ms],
            |r| {
                Ok(SessionRecord {
                    hash: id(r, 0)?,
                    order: id(r, 1)?,
                    person: id(r, 2)?,
                    records: r.get(3)?,
                    searches: r.get(4)?,
                    compartments: r.get(5)?,
                    expires_at_ms: r.get(6)?,
                })
            },
        )
    }

    /// API keys that have not run out.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn api_keys(&self, now_ms: TimeMs) -> Result<Vec<ApiKeyRecord>, StoreError> {
        self.all(
            "SELECT hash, scopes, label, expires_at_ms FROM api_keys WHERE expires_at_ms > ?1",
            [now_ms],
            |r| {
                Ok(ApiKeyRecord {
                    hash: id(r, 0)?,
                    scopes: r.get(1)?,
                    label: r.get(2)?,
                    expires_at_ms: r.get(3)?,
                })
            },
        )
    }
}

impl Tx<'_> {
    /// Someone joins.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn put_person(
        &self,
        person: PersonId,
        role: &str,
        group: Option<&str>,
        at_ms: TimeMs,
    ) -> Result<(), StoreError> {
        self.run(
            "INSERT INTO people (person, role, home, joined_at_ms) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (person) DO UPDATE SET role = excluded.role, home = excluded.home",
            params![person.as_bytes(), role, group, at_ms],
        )?;
        Ok(())
    }

    /// Someone has one more key; for a passkey, its public half with its site.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn put_person_key(
        &self,
        person: PersonId,
        key: KeyId,
        passkey: Option<&[u8]>,
        at_ms: TimeMs,
    ) -> Result<(), StoreError> {
        self.run(
            "INSERT INTO person_keys (key_id, person, added_at_ms, passkey) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO NOTHING",
            params![key.as_bytes(), person.as_bytes(), at_ms, passkey],
        )?;
        Ok(())
    }

    /// The passkey of a key that was noted before passkeys were.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn keep_passkey(&self, key: KeyId, passkey: &[u8]) -> Result<(), StoreError> {
        self.run(
            "UPDATE person_keys SET passkey = ?2 WHERE key_id = ?1 AND passkey IS NULL",
            params![key.as_bytes(), passkey],
        )?;
        Ok(())
    }

    /// Someone leaves: their keys and sessions end.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn remove_person(&self, person: PersonId, at_ms: TimeMs) -> Result<(), StoreError> {
        self.run(
            "UPDATE people SET removed_at_ms = ?2 WHERE person = ?1",
            params![person.as_bytes(), at_ms],
        )?;
        self.run("DELETE FROM person_keys WHERE person = ?1", [person.as_bytes()])?;
        self.run("DELETE FROM sessions WHERE person = ?1", [person.as_bytes()])?;
        Ok(())
    }

    /// A key signs no more.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn end_person_key(&self, key: KeyId) -> Result<(), StoreError> {
        self.run("DELETE FROM person_keys WHERE key_id = ?1", [key.as_bytes()])?;
        Ok(())
    }

    /// Nobody's keys sign any more but these.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn end_person_keys_but(&self, kept: &[KeyId]) -> Result<(), StoreError> {
        let all: Vec<KeyId> = self.all("SELECT key_id FROM person_keys", [], |r| id(r, 0))?;
        all.into_iter().filter(|k| !kept.contains(k)).try_for_each(|k| self.end_person_key(k))
    }

    /// A session begins.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn put_session(&self, s: &SessionRecord) -> Result<(), StoreError> {
        self.run(
            "INSERT INTO sessions (hash, order_id, person, records, searches, compartments, expires_at_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (hash) DO NOTHING",
            params![
                s.hash.as_bytes(),
                s.order.as_bytes(),
                s.person.as_bytes(),
                s.records,
                s.searches,
                s.compartments,
                s.expires_at_ms
            ],
        )?;
        Ok(())
    }

    /// A session ends.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn end_session(&self, hash: Digest) -> Result<(), StoreError> {
        self.run("DELETE FROM sessions WHERE hash = ?1", [hash.as_bytes()])?;
        Ok(())
    }

    /// An API key was made.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn put_api_key(&self, k: &ApiKeyRecord) -> Result<(), StoreError> {
        self.run(
            "INSERT INTO api_keys (hash, scopes, label, expires_at_ms) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (hash) DO NOTHING",
            params![k.hash.as_bytes(), k.scopes, k.label, k.expires_at_ms],
        )?;
        Ok(())
    }

    /// An API key reads no more.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn end_api_key(&self, hash: Digest) -> Result<(), StoreError> {
        self.run("DELETE FROM api_keys WHERE hash = ?1", [hash.as_bytes()])?;
        Ok(())
    }

    /// Forgets sessions and API keys that have run out.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn drop_expired_access(&self, now_ms: TimeMs) -> Result<(), StoreError> {
        self.run("DELETE FROM sessions WHERE expires_at_ms <= ?1", [now_ms])?;
        self.run("DELETE FROM api_keys WHERE expires_at_ms <= ?1", [now_ms])?;
        Ok(())
    }
}
