//! Which keys count today: the vault's root key says so, every day anew.

use minicbor::{Decode, Encode};
use model::{Compartment, Digest, KeyName, TimeMs};

use crate::root::{BrokenSuccession, SignedSuccession, follow};
use crate::{BytesError, Ed25519Secret, bytes, signature::ed25519_fits};

/// An X25519 public key (RFC 7748), 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct X25519Public(
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub [u8; 32],
);

/// The keys of all rooms, as the vault states them. Public halves only.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct KeyStatement {
    /// Of this encoding; 1.
    #[n(0)]
    pub version: u8,
    /// Rises with every change of a key; a room never goes back to a lower one.
    #[n(1)]
    pub epoch: u32,
    /// When it was made.
    #[n(2)]
    pub made_at_ms: TimeMs,
    /// When it no longer counts: two days later.
    #[n(3)]
    pub expires_at_ms: TimeMs,
    /// Warrants are signed by this Ed25519 key.
    #[n(4)]
    #[cbor(with = "minicbor::bytes")]
    pub warrant_key: Vec<u8>,
    /// Orders' arguments are sealed to this key.
    #[n(5)]
    pub order_key: X25519Public,
    /// What goes to a phone and is secret is sealed to this key of the door.
    #[n(6)]
    pub delivery_key: X25519Public,
    /// Values of each compartment are sealed to these keys.
    #[n(7)]
    pub compartments: Vec<(Compartment, X25519Public)>,
    /// The reader proves itself by this key when it seals.
    #[n(8)]
    pub reader_key: X25519Public,
    /// The vault proves itself by this key when it seals.
    #[n(9)]
    pub vault_sender_key: X25519Public,
    /// SHA-256 of the CA certificate (DER).
    #[n(10)]
    pub ca_fingerprint: Digest,
    /// SHA-256 of the RA certificate (DER).
    #[n(11)]
    pub ra_fingerprint: Digest,
    /// Keys that another room made for itself and of which an older one is still needed; the older ones of the others
    /// are destroyed. The first statements have none.
    #[n(12)]
    pub older_needed: Option<Vec<KeyName>>,
    /// Keys with which the reader proved itself before, as long as rows of then are kept.
    #[n(13)]
    pub older_readers: Option<Vec<X25519Public>>,
    /// The RA certificate (DER), once it is another than the installation's: the reader has it from here.
    #[n(14)]
    #[cbor(with = "minicbor::bytes")]
    pub ra_certificate: Option<Vec<u8>>,
    /// The CAs whose certificates count, the newest first, once there was another than the installation's.
    #[n(15)]
    pub authorities: Option<Vec<Authority>>,
}

/// A CA whose certificates count.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Authority {
    /// Its own certificate (DER).
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub certificate: Vec<u8>,
    /// The key of the CA after it, certified by it (DER), by which whoever trusts this one alone comes to that one.
    /// `None`: it is the newest.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub successor: Option<Vec<u8>>,
}

impl KeyStatement {
    /// Whether a room keeps its older keys of this name.
    #[must_use]
    pub fn needs_older(&self, key: KeyName) -> bool {
        self.older_needed.as_ref().is_some_and(|keys| keys.contains(&key))
    }
}

/// A statement with the root key's signature, and with what leads to that key from those before it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SignedStatement {
    /// The encoded [`KeyStatement`].
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub statement: Vec<u8>,
    /// Ed25519 over [`STATEMENT_CONTEXT`] and those bytes.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub signature: Vec<u8>,
    /// From the installation's root key to the one that signed, once there was another.
    #[n(2)]
    pub successions: Option<Vec<SignedSuccession>>,
}

/// What stands before a statement's bytes when they are signed.
pub const STATEMENT_CONTEXT: &[u8] = b"matron/statement/1\0";

/// A statement does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Its bytes are no statement.
    #[error(transparent)]
    Bytes(#[from] BytesError),
    /// It is not signed by the root key that this room pinned at its installation.
    #[error("the key statement is not signed by the pinned root key")]
    NotRoot,
    /// It comes with a chain of root keys that is none.
    #[error(transparent)]
    Broken(#[from] BrokenSuccession),
    /// It has run out, or is not yet valid.
    #[error("the key statement has run out; the vault renews it daily, so look why it could not")]
    Expired,
    /// A newer one was believed before.
    #[error("the key statement is older than one this room has already believed")]
    GoesBack,
}

/// A statement that was checked against the pinned root key.
#[derive(Debug, Clone)]
pub struct TrustedStatement {
    statement: KeyStatement,
    roots: Vec<[u8; 32]>,
}

impl TrustedStatement {
    /// The root keys from the pinned one to the one that signed, which is pinned from now on. One: nothing changes.
    #[must_use]
    pub fn roots(&self) -> &[[u8; 32]] {
        &self.roots
    }
}

impl std::ops::Deref for TrustedStatement {
    type Target = KeyStatement;
    fn deref(&self) -> &KeyStatement {
        &self.statement
    }
}

impl SignedStatement {
    /// Encodes and signs.
    #[must_use]
    pub fn sign(statement: &KeyStatement, root: &Ed25519Secret) -> Self {
        let statement = bytes::encode(statement);
        let signature = root.sign(&[STATEMENT_CONTEXT, &statement].concat());
        Self { statement, signature, successions: None }
    }

    /// The same with a root key that is elsewhere: `sign` signs the bytes that it is given.
    ///
    /// # Errors
    /// What `sign` failed with.
    pub fn sign_with<E>(
        statement: &KeyStatement,
        sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<Self, E> {
        let statement = bytes::encode(statement);
        let signature = sign(&[STATEMENT_CONTEXT, &statement].concat())?;
        Ok(Self { statement, signature, successions: None })
    }

    /// Checks it against the pinned root key or one that it leads to, the time, and the newest epoch this room has seen.
    ///
    /// # Errors
    /// [`StatementError`] says what does not hold.
    pub fn verify(
        &self,
        root_public: &[u8],
        now_ms: TimeMs,
        newest_epoch: u32,
    ) -> Result<TrustedStatement, StatementError> {
        let pinned = root_public.try_into().map_err(|_| StatementError::NotRoot)?;
        let roots = follow(pinned, self.successions.as_deref().unwrap_or_default())?;
        let newest = roots.last().unwrap_or(pinned);
        if !ed25519_fits(newest, STATEMENT_CONTEXT, &self.statement, &self.signature) {
            return Err(StatementError::NotRoot);
        }
        let s: KeyStatement = bytes::decode(&self.statement)?;
        if s.version != 1 {
            return Err(BytesError::Unreadable.into());
        }
        if s.epoch < newest_epoch {
            return Err(StatementError::GoesBack);
        }
        // One that was made later than it is here says that this clock is behind.
        if now_ms >= s.expires_at_ms || now_ms < s.made_at_ms.saturating_sub(model::clock::SET_BACK_MS) {
            return Err(StatementError::Expired);
        }
        Ok(TrustedStatement { statement: s, roots })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(epoch: u32) -> KeyStatement {
        KeyStatement {
            version: 1,
            epoch,
            made_at_ms: 1000,
            expires_at_ms: 2000,
            warrant_key: vec![1; 32],
            order_key: X25519Public([2; 32]),
            delivery_key: X25519Public([3; 32]),
            compartments: vec![(Compartment::Push, X25519Public([4; 32]))],
            reader_key: X25519Public([5; 32]),
            vault_sender_key: X25519Public([6; 32]),
            ca_fingerprint: Digest([7; 32]),
            ra_fingerprint: Digest([8; 32]),
            older_needed: None,
            older_readers: None,
            ra_certificate: None,
            authorities: None,
        }
    }

    #[test]
    fn only_the_pinned_root_makes_a_statement_and_only_for_its_time() {
        let root = Ed25519Secret::from_seed([1; 32]).unwrap();
        let other = Ed25519Secret::from_seed([2; 32]).unwrap();
        let s = SignedStatement::sign(&statement(3), &root);
        assert_eq!(s.verify(&root.public(), 1500, 3).unwrap().epoch, 3);
        assert_eq!(s.verify(&other.public(), 1500, 3).unwrap_err(), StatementError::NotRoot);
        assert_eq!(s.verify(&root.public(), 2000, 3).unwrap_err(), StatementError::Expired);
        assert_eq!(s.verify(&root.public(), 1500, 4).unwrap_err(), StatementError::GoesBack);
        let first = KeyStatement { made_at_ms: TimeMs::MIN, ..statement(3) };
        assert!(SignedStatement::sign(&first, &root).verify(&root.public(), 1500, 3).is_ok());
    }

    #[test]
    fn a_statement_of_a_later_root_key_counts_with_the_chain_that_leads_there_and_one_of_an_earlier_no_more()
    {
        let [first, second, other] = [1, 2, 3].map(|n| Ed25519Secret::from_seed([n; 32]).unwrap());
        let public = |key: &Ed25519Secret| <[u8; 32]>::try_from(key.public()).unwrap();
        let link = |former: &Ed25519Secret, next: &Ed25519Secret| {
            let (from, to) = (public(former), public(next));
            let said = crate::root::Succession { epoch: 4, made_at_ms: 1000, former: from, next: to };
            Some(vec![said.sign(former, next)])
        };
        let mut s = SignedStatement::sign(&statement(4), &second);
        assert_eq!(s.verify(&first.public(), 1500, 3).unwrap_err(), StatementError::NotRoot);
        s.successions = link(&first, &second);
        assert_eq!(s.verify(&first.public(), 1500, 3).unwrap().roots(), [public(&first), public(&second)]);
        assert_eq!(s.verify(&second.public(), 1500, 3).unwrap().roots(), [public(&second)]);
        assert_eq!(s.verify(&other.public(), 1500, 3).unwrap_err(), StatementError::NotRoot);
        // The key before signs nothing any more, with the chain or without.
        for successions in [None, link(&first, &second)] {
            let old = SignedStatement { successions, ..SignedStatement::sign(&statement(4), &first) };
            assert_eq!(old.verify(&second.public(), 1500, 3).unwrap_err(), StatementError::NotRoot);
        }
        // Nor does it name another once its place is taken.
        let again = SignedStatement {
            successions: link(&first, &other),
            ..SignedStatement::sign(&statement(5), &other)
        };
        assert_eq!(again.verify(&second.public(), 1500, 3).unwrap_err(), StatementError::NotRoot);
    }

    #[test]
    fn a_statement_of_before_there_were_older_keys_is_still_read() {
        let root = Ed25519Secret::from_seed([1; 32]).unwrap();
        let none = SignedStatement::sign(&statement(3), &root);
        // Twelve fields, as releases before wrote them.
        assert_eq!(none.statement.first(), Some(&0x8c));
        assert!(!none.verify(&root.public(), 1500, 3).unwrap().needs_older(KeyName::Push));
        let some = KeyStatement { older_needed: Some(vec![KeyName::Push]), ..statement(3) };
        let some = SignedStatement::sign(&some, &root).verify(&root.public(), 1500, 3).unwrap();
        assert!(some.needs_older(KeyName::Push) && !some.needs_older(KeyName::Delivery));
    }
}
