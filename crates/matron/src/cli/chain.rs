//! Checks a ledger entry by entry: form, place, chain, the signature under every accepted order, and
//! what this home remembers of it.

use std::collections::{BTreeMap, HashMap};

use ledger::entry::NO_PREVIOUS;
use ledger::{Body, Effect, Entry};
use model::{Digest, KeyId, PersonId, TimeMs};
use order::{OrderKind, OrderSignature, PersonKey, Scheme, SignedOrder, key_id, sha256};

use super::home::Seen;
use super::roots::Roots;

/// A ledger as far as it was checked.
pub(crate) struct Chain {
    entries: u64,
    head: Digest,
    roots: Roots,
    first_token: Option<[u8; 32]>,
    keys: HashMap<KeyId, (PersonId, PersonKey)>,
    remembered: Option<Seen>,
    /// Signatures that were checked.
    pub(crate) orders: u64,
    /// Entries by kind.
    pub(crate) kinds: BTreeMap<&'static str, u64>,
    pub(crate) first_at_ms: Option<TimeMs>,
    pub(crate) last_at_ms: Option<TimeMs>,
}

impl Chain {
    /// A check from the first entry on. `remembered`: where the ledger stood at an earlier check.
    pub(crate) fn new(remembered: Option<Seen>) -> Self {
        Self {
            entries: 0,
            head: NO_PREVIOUS,
            roots: Roots::default(),
            first_token: None,
            keys: HashMap::new(),
            remembered,
            orders: 0,
            kinds: BTreeMap::new(),
            first_at_ms: None,
            last_at_ms: None,
        }
    }

    pub(crate) fn entries(&self) -> u64 {
        self.entries
    }

    pub(crate) fn head(&self) -> Digest {
        self.head
    }

    /// The root keys that the entries tell of.
    pub(crate) fn roots(&self) -> &Roots {
        &self.roots
    }

    /// Takes the next entry's bytes.
    pub(crate) fn take(&mut self, raw: &[u8]) -> Result<(), String> {
        let n = self.entries;
        let entry = Entry::decode(raw).map_err(|e| format!("entry {n} can't be read: {e}"))?;
        if entry.index != n {
            return Err(format!("entry {} stands where entry {n} should", entry.index));
        }
        if entry.previous != self.head {
            return Err(format!(
                "entry {n} does not continue the one before: an entry was changed or taken out"
            ));
        }
        let hash = sha256(raw);
        if let Some(seen) = self.remembered.as_ref().filter(|s| s.entries == n + 1)
            && seen.hash != Some(hash)
        {
            return Err(format!(
                "entry {n} is another one than when it was verified here before: history was written anew"
            ));
        }
        self.roots.take(n, &entry.body)?;
        self.body(n, &entry.body)?;
        *self.kinds.entry(entry.body.kind()).or_default() += 1;
        self.first_at_ms.get_or_insert(entry.at_ms);
        self.last_at_ms = Some(entry.at_ms);
        self.entries = n + 1;
        self.head = hash;
        Ok(())
    }

    /// Says whether the whole ledger was there.
    pub(crate) fn finish(&self) -> Result<(), String> {
        match &self.remembered {
            Some(seen) if seen.entries > self.entries => Err(format!(
                "it has {} entries, and it had {} when it was verified here before: its end was cut off, or an old \
                 copy took its place",
                self.entries, seen.entries
            )),
            _ => Ok(()),
        }
    }

    fn body(&mut self, n: u64, body: &Body) -> Result<(), String> {
        match body {
            Body::Genesis { first_token_key, .. } if n == 0 => {
                self.first_token = Some(first_token_key.0);
                Ok(())
            }
            Body::Genesis { .. } => Err(format!("entry {n} begins the ledger a second time")),
            _ if n == 0 => Err("entry 0 is not a ledger's beginning".into()),
            Body::OrderAccepted { order, digest, signer, person, bytes, signature, effect, counted } => {
                let of = |key: KeyId, signature: &ledger::Opaque| OrderSignature {
                    key,
                    scheme: self.keys.get(&key).map_or(Scheme::Ed25519, |(_, k)| k.scheme),
                    signature: signature.0.clone(),
                };
                let mut signers = vec![(*signer, *person)];
                let mut signed =
                    SignedOrder { order: bytes.0.clone(), signatures: vec![of(*signer, signature)] };
                for a in counted.iter().flat_map(|c| &c.approvals) {
                    if signers.iter().any(|(_, p)| *p == a.person) {
                        return Err(format!("entry {n}: two signatures of order {order} are one person's"));
                    }
                    signers.push((a.key, a.person));
                    signed.signatures.push(of(a.key, &a.signature));
                }
                let verified = signed.verify(|id, order| {
                    let (_, person) = signers.iter().find(|(key, _)| *key == id)?;
                    self.find_key(id, &order.kind, *person)
                });
                let verified = verified
                    .map_err(|e| format!("entry {n}: order {order} was not signed as it says: {e}"))?;
                if verified.id() != *order || verified.digest() != *digest {
                    return Err(format!("entry {n} names another order than the one that was signed"));
                }
                self.orders += 1;
                self.effect(effect);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn find_key(&self, id: KeyId, kind: &OrderKind, person: PersonId) -> Option<PersonKey> {
        if matches!(kind, OrderKind::JoinFirst { .. }) {
            let token = self.first_token.filter(|t| key_id(t) == id)?;
            return Some(PersonKey { scheme: Scheme::Ed25519, public: token.to_vec() });
        }
        self.keys.get(&id).filter(|(holder, _)| *holder == person).map(|(_, key)| key.clone())
    }

    fn effect(&mut self, effect: &Effect) {
        match effect {
            Effect::PersonJoined { person, key_id, public_key, .. }
            | Effect::PersonKeyAdded { person, key_id, public_key } => {
                let key = PersonKey { scheme: Scheme::Ed25519, public: public_key.0.to_vec() };
                self.first_token = None;
                self.keys.insert(*key_id, (*person, key));
            }
            Effect::PasskeyJoined { person, key_id, passkey, .. }
            | Effect::PasskeyAdded { person, key_id, passkey } => {
                let key = PersonKey { scheme: Scheme::Passkey, public: passkey.0.clone() };
                self.first_token = None;
                self.keys.insert(*key_id, (*person, key));
            }
            Effect::PersonRemoved { person } => self.keys.retain(|_, (holder, _)| holder != person),
            Effect::PersonKeyEnded { key_id, .. } => {
                self.keys.remove(key_id);
            }
            Effect::BreachAssumed { signers, .. } => {
                self.first_token = None;
                self.keys.retain(|id, _| signers.contains(id));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::{Opaque, PersonalSealed, SigningPublicKey, Witness};
    use model::{OrderId, Role};
    use order::{Ed25519Secret, Order, X25519Public};

    fn signing(seed: u8) -> Ed25519Secret {
        Ed25519Secret::from_seed([seed; 32]).unwrap()
    }

    fn public(key: &Ed25519Secret) -> SigningPublicKey {
        SigningPublicKey(key.public().try_into().unwrap())
    }

    struct Writer {
        previous: Digest,
        all: Vec<Vec<u8>>,
    }

    impl Writer {
        fn add(&mut self, body: Body) {
            let entry = Entry {
                version: 1,
                index: self.all.len() as u64,
                at_ms: 1_000,
                previous: self.previous,
                witness: Witness::Vault,
                body,
                word: None,
            };
            let bytes = entry.encode().unwrap();
            self.previous = sha256(&bytes);
            self.all.push(bytes);
        }

        fn order(&mut self, kind: OrderKind, signer: &Ed25519Secret, effect: Effect) {
            let id = OrderId([u8::try_from(self.all.len()).unwrap(); 16]);
            let order = Order {
                version: 1,
                id,
                kind,
                targets: vec![],
                reason: "made up".into(),
                made_at_ms: 0,
                expires_at_ms: 10,
                answer_key: X25519Public([9; 32]),
                sealed_digest: None,
                outline: None,
            };
            let signed = SignedOrder::sign(&order, signer);
            self.add(Body::OrderAccepted {
                order: id,
                digest: sha256(&signed.order),
                signer: signer.id(),
                person: PersonId([1; 16]),
                bytes: Opaque(signed.order.clone()),
                signature: Opaque(signed.signatures[0].signature.clone()),
                effect,
                counted: None,
            });
        }
    }

    fn house() -> Writer {
        let (token, ada) = (signing(1), signing(2));
        let mut w = Writer { previous: NO_PREVIOUS, all: vec![] };
        w.add(Body::Genesis { root_key: public(&signing(9)), first_token_key: public(&token) });
        let joined = Effect::PersonJoined {
            person: PersonId([1; 16]),
            role: Role::Administrator,
            group: None,
            key_id: ada.id(),
            public_key: public(&ada),
            name: PersonalSealed(vec![1]),
        };
        w.order(OrderKind::JoinFirst { key: ada.person_key() }, &token, joined);
        let session = Digest([4; 32]);
        w.order(OrderKind::EndSession { session }, &ada, Effect::SessionEnded { session });
        w
    }

    fn check(entries: &[Vec<u8>], remembered: Option<Seen>) -> Result<Chain, String> {
        let mut chain = Chain::new(remembered);
        for e in entries {
            chain.take(e)?;
        }
        chain.finish()?;
        Ok(chain)
    }

    fn seen(entries: u64, hash: Digest) -> Option<Seen> {
        Some(Seen { epoch: 1, entries, hash: Some(hash), ..Seen::of(Digest([0; 32])) })
    }

    #[test]
    fn a_whole_ledger_holds_with_every_signature() {
        let w = house();
        let chain = check(&w.all, None).unwrap();
        assert_eq!((chain.entries(), chain.orders, chain.head()), (3, 2, w.previous));
        assert_eq!(chain.roots().first(), Some(Digest(public(&signing(9)).0)));
        assert!(check(&w.all, seen(3, w.previous)).is_ok());
    }

    /// Ada adds another key; then this happens to it; then it signs.
    fn signed_after(happens: impl Fn(&Ed25519Secret) -> Effect) -> Result<Chain, String> {
        let (ada, other) = (signing(2), signing(3));
        let person = PersonId([1; 16]);
        let mut w = house();
        let (key_id, public_key) = (other.id(), public(&other));
        let add = OrderKind::AddKey { key: other.person_key() };
        w.order(add, &ada, Effect::PersonKeyAdded { person, key_id, public_key });
        let session = Digest([5; 32]);
        w.order(OrderKind::EndSession { session }, &ada, happens(&other));
        w.order(OrderKind::EndSession { session }, &other, Effect::SessionEnded { session });
        check(&w.all, None)
    }

    #[test]
    fn an_order_by_a_key_that_had_ended_is_noticed() {
        let person = PersonId([1; 16]);
        let session = Digest([6; 32]);
        assert!(signed_after(|_| Effect::SessionEnded { session }).is_ok());
        let breach = |signers| Effect::BreachAssumed {
            epoch: 2,
            signers,
            reissues_an_hour: 1,
            expires_at_ms: 9,
            keys: None,
        };
        assert!(signed_after(|other| breach(vec![signing(2).id(), other.id()])).is_ok());
        for ended in [
            signed_after(|other| Effect::PersonKeyEnded { person, key_id: other.id() }),
            signed_after(|_| Effect::PersonRemoved { person }),
            signed_after(|_| breach(vec![signing(2).id()])),
        ] {
            let why = ended.err().unwrap();
            assert!(why.contains("entry 5") && why.contains("not registered"), "{why}");
        }
    }

    #[test]
    fn a_changed_byte_a_missing_entry_and_another_order_are_noticed() {
        let w = house();
        for n in 0..w.all.len() - 1 {
            let mut changed = w.all.clone();
            let last = changed[n].len() - 1;
            changed[n][last] ^= 1;
            assert!(check(&changed, None).is_err(), "entry {n}");
            let mut missing = w.all.clone();
            missing.remove(n);
            assert!(check(&missing, None).is_err(), "without {n}");
        }
        let mut swapped = w.all.clone();
        swapped.swap(1, 2);
        assert!(check(&swapped, None).is_err());
    }

    #[test]
    fn an_order_that_nobody_registered_signed_is_noticed_though_the_chain_is_whole() {
        let mut w = house();
        let session = Digest([5; 32]);
        w.order(OrderKind::EndSession { session }, &signing(7), Effect::SessionEnded { session });
        assert!(check(&w.all, None).err().unwrap().contains("was not signed as it says"));
        let mut w = house();
        let key = signing(8).person_key();
        w.order(OrderKind::JoinFirst { key }, &signing(1), Effect::SessionEnded { session });
        assert!(check(&w.all, None).is_err(), "the token is spent");
    }

    #[test]
    fn an_older_and_a_forked_ledger_are_refused_by_whoever_remembers() {
        let w = house();
        let older = &w.all[..2];
        assert!(check(older, None).is_ok());
        assert!(check(older, seen(3, w.previous)).err().unwrap().contains("cut off"));
        let mut fork = house();
        fork.all.truncate(2);
        fork.previous = sha256(&fork.all[1]);
        let session = Digest([6; 32]);
        fork.order(OrderKind::EndSession { session }, &signing(2), Effect::SessionEnded { session });
        assert!(check(&fork.all, None).is_ok());
        assert!(check(&fork.all, seen(3, w.previous)).err().unwrap().contains("written anew"));
    }
}
