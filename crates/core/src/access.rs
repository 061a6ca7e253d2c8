//! Who may call what: sessions and API keys, known by their SHA-256 alone, as the ledger says.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use model::{Compartment, Digest, OrderId, PersonId, Role, TimeMs};
use order::ApiScope;
use store::{ApiKeyRecord, PersonRecord, SessionRecord};

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Actor {
    /// A person in a session.
    Person(Session),
    /// A program with a read-only key.
    Key { scopes: u32 },
}

/// A session, as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    /// SHA-256 of its secret.
    pub hash: Digest,
    pub order: OrderId,
    pub person: PersonId,
    pub role: Role,
    /// The group the person is held to.
    pub group: Option<String>,
    pub compartments: u32,
    pub expires_at_ms: TimeMs,
}

impl Session {
    /// Whether its grant covers the compartment at all (what is left of it the vault knows).
    pub fn covers(&self, compartment: Compartment) -> bool {
        self.compartments & (1 << compartment.number()) != 0
    }
}

impl Actor {
    /// A session reads everything that is masked; a key only its scopes.
    pub fn may_read(&self, scope: ApiScope) -> bool {
        match self {
            Self::Person(_) => true,
            Self::Key { scopes } => scopes & scope_bit(scope) != 0,
        }
    }

    /// The group it is held to, if any.
    pub fn group(&self) -> Option<&str> {
        match self {
            Self::Person(s) => s.group.as_deref(),
            Self::Key { .. } => None,
        }
    }
}

/// The bit of a scope in the ledger's `scopes`, as the vault writes it.
pub(crate) fn scope_bit(scope: ApiScope) -> u32 {
    match scope {
        ApiScope::Devices => 1,
        ApiScope::Commands => 2,
        ApiScope::Ledger => 4,
        ApiScope::Metrics => 8,
    }
}

/// Compartments as bits: 1 shifted by the number.
pub(crate) fn compartment_bits(compartments: &[Compartment]) -> u32 {
    compartments.iter().fold(0, |bits, c| bits | 1 << c.number())
}

#[derive(Default)]
struct Inner {
    people: HashMap<PersonId, (Role, Option<String>)>,
    sessions: HashMap<Digest, SessionRecord>,
    keys: HashMap<Digest, ApiKeyRecord>,
}

/// Everyone who may call.
#[derive(Default)]
pub(crate) struct AccessTable(RwLock<Inner>);

/// The role of that name.
pub(crate) fn role_of(name: &str) -> Option<Role> {
    Role::ALL.into_iter().find(|r| r.name() == name)
}

impl AccessTable {
    pub fn new(people: Vec<PersonRecord>, sessions: Vec<SessionRecord>, keys: Vec<ApiKeyRecord>) -> Self {
        let table = Self::default();
        for p in people.into_iter().filter(|p| p.removed_at_ms.is_none()) {
            if let Some(role) = role_of(&p.role) {
                table.put_person(p.person, role, p.group);
            }
        }
        sessions.into_iter().for_each(|s| table.put_session(s));
        keys.into_iter().for_each(|k| table.put_key(k));
        table
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who has the secret of this hash. The look-up goes by the hash of what was given, so its time
    /// says nothing about any secret.
    pub fn find(&self, hash: &Digest, now_ms: TimeMs) -> Option<Actor> {
        let inner = self.read();
        if let Some(s) = inner.sessions.get(hash).filter(|s| now_ms < s.expires_at_ms) {
            let (role, group) = inner.people.get(&s.person)?;
            return Some(Actor::Person(Session {
                hash: s.hash,
                order: s.order,
                person: s.person,
                role: *role,
                // The one role that is held to a group (order::roles).
                group: group.clone().filter(|_| *role == Role::WardManager),
                compartments: s.compartments,
                expires_at_ms: s.expires_at_ms,
            }));
        }
        let key = inner.keys.get(hash).filter(|k| now_ms < k.expires_at_ms)?;
        Some(Actor::Key { scopes: key.scopes })
    }

    pub fn put_person(&self, person: PersonId, role: Role, group: Option<String>) {
        self.write().people.insert(person, (role, group));
    }

    pub fn remove_person(&self, person: PersonId) {
        let mut inner = self.write();
        inner.people.remove(&person);
        inner.sessions.retain(|_, s| s.person != person);
    }

    pub fn put_session(&self, s: SessionRecord) {
        self.write().sessions.insert(s.hash, s);
    }

    pub fn end_session(&self, hash: &Digest) {
        self.write().sessions.remove(hash);
    }

    pub fn put_key(&self, k: ApiKeyRecord) {
        self.write().keys.insert(k.hash, k);
    }

    /// The API keys that have not run out, the first to end first.
    pub fn keys(&self, now_ms: TimeMs) -> Vec<ApiKeyRecord> {
        let inner = self.read();
        let mut keys: Vec<_> = inner.keys.values().filter(|k| now_ms < k.expires_at_ms).cloned().collect();
        keys.sort_by_key(|k| (k.expires_at_ms, k.hash.0));
        keys
    }

    pub fn end_key(&self, hash: &Digest) {
        self.write().keys.remove(hash);
    }

    /// Sessions and API keys of before a restore.
    pub fn end_all(&self) {
        let mut inner = self.write();
        inner.sessions.clear();
        inner.keys.clear();
    }

    pub fn drop_expired(&self, now_ms: TimeMs) {
        let mut inner = self.write();
        inner.sessions.retain(|_, s| now_ms < s.expires_at_ms);
        inner.keys.retain(|_, k| now_ms < k.expires_at_ms);
    }
}
