//! Who may call what: sessions and API keys, known by their SHA-256 alone, as the ledger says.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use model::clock::MINUTE_MS;
use model::{Compartment, Digest, OrderId, PersonId, Role, TimeMs};
use order::ApiScope;
use order::session::IDLE_MS;
use store::{ApiKeyRecord, OidcSessionRecord, PersonRecord, SessionRecord};

use crate::holder::Holder;

/// What a secret is for, by its first letters. A key's hash finds no session, and the other way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecretOf {
    /// `ms_`: a person's session, of either kind.
    Session,
    /// `mk_`: a program's key.
    Key,
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Actor {
    /// A person in a session that a grant of theirs made.
    Person(Session),
    /// A person in a session that was signed in by OpenID Connect: no order is behind it, and it changes nothing.
    Reader(Reader),
    /// A program with a read-only key.
    Key { scopes: u32 },
    /// A phone's holder, with the code of the holder's card. No route but the holder's own lets one in.
    Holder(Holder),
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

/// A session that reads masks. It has no order and no person who signs, so nothing that takes a [`Session`] takes it;
/// only [`AccessTable::find`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reader(OidcSessionRecord, Role);

impl Reader {
    /// SHA-256 of its secret.
    pub fn hash(&self) -> Digest {
        self.0.hash
    }

    /// A keyed hash of the provider's name for the person.
    pub fn subject(&self) -> Digest {
        self.0.subject
    }

    /// What it reads as.
    pub fn role(&self) -> Role {
        self.1
    }

    /// The group it is held to.
    pub fn group(&self) -> Option<&str> {
        self.0.group.as_deref()
    }

    /// Until when, if it is not used before.
    pub fn ends_at_ms(&self) -> TimeMs {
        self.0.idle_until_ms.min(self.0.expires_at_ms)
    }
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
            Self::Person(_) | Self::Reader(_) => true,
            Self::Key { scopes } => scopes & scope_bit(scope) != 0,
            Self::Holder(_) => false,
        }
    }

    /// An administrator or an engineer, in a session of their own grant.
    pub fn runs_the_house(&self) -> bool {
        matches!(self, Self::Person(s) if matches!(s.role, Role::Administrator | Role::Engineer))
    }

    /// The group it is held to, if any.
    pub fn group(&self) -> Option<&str> {
        match self {
            Self::Person(s) => s.group.as_deref(),
            Self::Reader(r) => r.group(),
            Self::Key { .. } => None,
            // No group is called so: it reaches none.
            Self::Holder(_) => Some(""),
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
    readers: HashMap<Digest, OidcSessionRecord>,
    keys: HashMap<Digest, ApiKeyRecord>,
}

/// Everyone who may call.
#[derive(Default)]
pub(crate) struct AccessTable(RwLock<Inner>);

/// The role of that name.
pub(crate) fn role_of(name: &str) -> Option<Role> {
    Role::ALL.into_iter().find(|r| r.name() == name)
}

/// What a reader reads as: of the three roles alone that may be had so, and a ward manager with a group alone.
fn reads_as(r: &OidcSessionRecord) -> Option<Role> {
    match (role_of(&r.role)?, r.group.is_some()) {
        (role @ (Role::Auditor | Role::ServiceDesk), false) | (role @ Role::WardManager, true) => Some(role),
        _ => None,
    }
}

impl AccessTable {
    pub fn new(
        people: Vec<PersonRecord>,
        sessions: Vec<SessionRecord>,
        readers: Vec<OidcSessionRecord>,
        keys: Vec<ApiKeyRecord>,
    ) -> Self {
        let table = Self::default();
        for p in people.into_iter().filter(|p| p.removed_at_ms.is_none()) {
            if let Some(role) = role_of(&p.role) {
                table.put_person(p.person, role, p.group);
            }
        }
        sessions.into_iter().for_each(|s| table.put_session(s));
        readers.into_iter().for_each(|r| table.put_oidc_session(r));
        keys.into_iter().for_each(|k| table.put_key(k));
        table
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who has the secret of this kind and hash. The look-up goes by the hash of what was given, so its time
    /// says nothing about any secret.
    pub fn find(&self, of: SecretOf, hash: &Digest, now_ms: TimeMs) -> Option<Actor> {
        let inner = self.read();
        if of == SecretOf::Key {
            let key = inner.keys.get(hash).filter(|k| now_ms < k.expires_at_ms)?;
            return Some(Actor::Key { scopes: key.scopes });
        }
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
        let r = inner.readers.get(hash).filter(|r| now_ms < r.idle_until_ms.min(r.expires_at_ms))?;
        Some(Actor::Reader(Reader(r.clone(), reads_as(r)?)))
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

    /// A session ends, of whichever kind: the vault says so.
    pub fn end_session(&self, hash: &Digest) {
        let mut inner = self.write();
        inner.sessions.remove(hash);
        inner.readers.remove(hash);
    }

    /// One that only reads ends; no other session and no key of that hash does.
    pub fn end_reader(&self, hash: &Digest) {
        self.write().readers.remove(hash);
    }

    /// Takes no other session's place.
    pub fn put_oidc_session(&self, r: OidcSessionRecord) {
        self.write().readers.insert(r.hash, r);
    }

    /// It was used: it ends later. Answers until when, if that has to be written down: a minute is not.
    pub fn used(&self, reader: &Reader, now_ms: TimeMs) -> Option<TimeMs> {
        let idle_until_ms = now_ms + IDLE_MS;
        let mut inner = self.write();
        let kept = inner.readers.get_mut(&reader.hash())?;
        let due = idle_until_ms - kept.idle_until_ms >= MINUTE_MS;
        if due {
            kept.idle_until_ms = idle_until_ms;
        }
        due.then_some(idle_until_ms)
    }

    /// Those who read only, the first to end first.
    pub fn readers(&self, now_ms: TimeMs) -> Vec<OidcSessionRecord> {
        let inner = self.read();
        let live = |r: &&OidcSessionRecord| now_ms < r.idle_until_ms.min(r.expires_at_ms);
        let mut readers: Vec<_> = inner.readers.values().filter(live).cloned().collect();
        readers.sort_by_key(|r| (r.expires_at_ms, r.hash.0));
        readers
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
        inner.readers.clear();
        inner.keys.clear();
    }

    pub fn drop_expired(&self, now_ms: TimeMs) {
        let mut inner = self.write();
        inner.sessions.retain(|_, s| now_ms < s.expires_at_ms);
        inner.readers.retain(|_, r| now_ms < r.idle_until_ms.min(r.expires_at_ms));
        inner.keys.retain(|_, k| now_ms < k.expires_at_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(n: u8, role: &str, group: Option<&str>) -> OidcSessionRecord {
        OidcSessionRecord {
            hash: Digest([n; 32]),
            subject: Digest([9; 32]),
            role: role.into(),
            group: group.map(str::to_owned),
            began_at_ms: 0,
            idle_until_ms: IDLE_MS,
            expires_at_ms: 3 * IDLE_MS,
        }
    }

    #[test]
    fn a_reader_ends_when_idle_or_at_its_end_whichever_is_first_and_is_never_a_person() {
        let table = AccessTable::new(vec![], vec![], vec![reader(1, "auditor", None)], vec![]);
        let found = |now_ms| match table.find(SecretOf::Session, &Digest([1; 32]), now_ms) {
            Some(Actor::Reader(r)) => Some(r),
            None => None,
            other => panic!("{other:?}"),
        };
        let r = found(IDLE_MS - 1).unwrap();
        assert!(found(IDLE_MS).is_none());
        assert_eq!(table.used(&r, MINUTE_MS / 2), None, "less than a minute is not written down");
        assert_eq!(table.used(&r, IDLE_MS - 1), Some(2 * IDLE_MS - 1));
        let r = found(2 * IDLE_MS - 2).unwrap();
        assert!(table.used(&r, 2 * IDLE_MS - 2).is_some());
        assert_eq!(table.used(&r, 3 * IDLE_MS - 1).map(|_| ()), Some(()));
        assert!(found(3 * IDLE_MS).is_none(), "no use makes it longer than its end");
        table.drop_expired(3 * IDLE_MS);
        assert_eq!(table.used(&r, 3 * IDLE_MS), None);
    }

    #[test]
    fn a_reader_of_a_role_that_signs_more_or_of_no_group_is_nobody() {
        for (role, group) in [
            ("administrator", None),
            ("engineer", None),
            ("ward_manager", None),
            ("auditor", Some("ward-7")),
            ("x", None),
        ] {
            let table = AccessTable::new(vec![], vec![], vec![reader(1, role, group)], vec![]);
            assert_eq!(table.find(SecretOf::Session, &Digest([1; 32]), 0), None, "{role}");
        }
    }

    #[test]
    fn a_readers_end_and_its_hash_touch_no_grants_session_and_no_api_key() {
        let hash = Digest([1; 32]);
        let granted = SessionRecord {
            hash,
            order: OrderId([1; 16]),
            person: PersonId([2; 16]),
            records: 0,
            searches: 0,
            compartments: 0,
            expires_at_ms: 9,
        };
        let key = ApiKeyRecord { hash: Digest([2; 32]), scopes: 1, label: String::new(), expires_at_ms: 9 };
        let readers = vec![reader(1, "auditor", None), reader(2, "auditor", None)];
        let table = AccessTable::new(vec![], vec![granted], readers, vec![key]);
        table.put_person(PersonId([2; 16]), Role::Administrator, None);
        let session = |n| table.find(SecretOf::Session, &Digest([n; 32]), 0);
        let key = |n| table.find(SecretOf::Key, &Digest([n; 32]), 0);
        assert!(matches!(session(1), Some(Actor::Person(_))));
        assert_eq!(key(1), None, "a session's secret is no key's");
        assert!(
            matches!(key(2), Some(Actor::Key { scopes: 1 })),
            "a key stays a key beside a reader of its hash"
        );
        table.end_reader(&Digest([1; 32]));
        table.end_reader(&Digest([2; 32]));
        assert!(matches!(session(1), Some(Actor::Person(_))));
        assert_eq!(session(2), None, "a key's secret is no session's");
        assert!(key(2).is_some());
    }

    #[test]
    fn a_restore_and_a_sign_out_end_readers() {
        let readers = || vec![reader(1, "auditor", None), reader(2, "ward_manager", Some("ward-7"))];
        let table = AccessTable::new(vec![], vec![], readers(), vec![]);
        table.end_session(&Digest([1; 32]));
        assert!(
            table.find(SecretOf::Session, &Digest([1; 32]), 0).is_none()
                && table.find(SecretOf::Session, &Digest([2; 32]), 0).is_some()
        );
        table.end_all();
        assert!(table.find(SecretOf::Session, &Digest([2; 32]), 0).is_none() && table.readers(0).is_empty());
    }
}
