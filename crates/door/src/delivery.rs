//! The key that what is secret for a phone is sealed to: made anew when an order says so. The one before stays until
//! what was sealed to it is sealed to the newest.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use aws_lc_rs::rand::SystemRandom;
use model::{Digest, KeyName};
use order::TrustedStatement;
use rpc::key_ring::KeyRing;
use rpc::proto::{DeliveryResealAnswer, DeliveryResealRequest, ResealedDelivery};
use seal::{KeyPairSecret, PublicKey, to};
use zeroize::Zeroizing;

use crate::Error;
use crate::install::DELIVERY_KEY;

/// The door's delivery keys, shared by all connections.
pub(crate) struct Delivery {
    ring: Mutex<KeyRing>,
    /// The newest first.
    keys: RwLock<Arc<[KeyPairSecret]>>,
}

fn pairs(ring: &KeyRing) -> io::Result<Arc<[KeyPairSecret]>> {
    let pair = |(_, bytes): (u32, &[u8])| {
        let bytes: [u8; 32] =
            bytes.try_into().map_err(|_| io::Error::other("a key in it is not 32 bytes"))?;
        Ok(KeyPairSecret::from_bytes(Zeroizing::new(bytes)))
    };
    ring.newest_first().map(pair).collect()
}

/// Opens what was sealed to one of these keys.
pub(crate) fn open(keys: &[KeyPairSecret], digest: &Digest, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    keys.iter().find_map(|key| to::open(key, to::INFO_DELIVERY, digest.as_bytes(), sealed).ok())
}

impl Delivery {
    pub(crate) fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(DELIVERY_KEY);
        let ring = KeyRing::open(dir, DELIVERY_KEY).map_err(|e| Error::files("delivery key", &path, e))?;
        let keys = pairs(&ring).map_err(|e| Error::files("delivery key", &path, e))?;
        Ok(Self { ring: Mutex::new(ring), keys: RwLock::new(keys) })
    }

    /// The keys that open, the newest first.
    pub(crate) fn keys(&self) -> Arc<[KeyPairSecret]> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The key of an order's number, made if it is not there; its public half.
    pub(crate) fn make(&self, number: u32) -> io::Result<PublicKey> {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || {
            let key = KeyPairSecret::generate(&SystemRandom::new()).map_err(io::Error::other)?;
            Ok(Zeroizing::new(key.secret_bytes().to_vec()))
        };
        let made = ring.make(number, fresh)?;
        let bytes: [u8; 32] = made.as_slice().try_into().map_err(io::Error::other)?;
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = pairs(&ring)?;
        Ok(KeyPairSecret::from_bytes(Zeroizing::new(bytes)).public())
    }

    /// Destroys the keys before the stated one, if the statement says that they are needed no more.
    pub(crate) fn follow(&self, statement: &TrustedStatement) {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = self.keys();
        let at = keys.iter().position(|key| key.public().0 == statement.delivery_key.0);
        let Some((number, _)) = at.and_then(|at| ring.newest_first().nth(at)) else {
            tracing::error!(
                "the key statement names a delivery key that the door has not; 'matron keys rotate delivery' makes another"
            );
            return;
        };
        if statement.needs_older(KeyName::Delivery) {
            return;
        }
        match ring.destroy_before(number).and_then(|gone| Ok((gone, pairs(&ring)?))) {
            Ok((0, _)) => {}
            Ok((gone, keys)) => {
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
                tracing::info!(keys = gone, "older delivery keys were destroyed");
            }
            Err(e) => tracing::warn!(error = %e, "older delivery keys can't be destroyed yet"),
        }
    }

    /// Seals again to the stated key what an older one opens. `None`: the door does not hold the stated key (it came from
    /// an older backup); what is sealed to it now would open for nobody.
    pub(crate) fn reseal(
        &self,
        request: &DeliveryResealRequest,
        statement: &TrustedStatement,
    ) -> Option<DeliveryResealAnswer> {
        let keys = self.keys();
        let stated = PublicKey(statement.delivery_key.0);
        let (newest, older): (Vec<_>, Vec<_>) = keys.iter().cloned().partition(|k| k.public() == stated);
        if newest.is_empty() {
            return None;
        }
        let mut answer = DeliveryResealAnswer::default();
        for (at, body) in (0u32..).zip(&request.bodies) {
            let digest = Digest::try_from(body.digest.as_slice()).ok();
            let Some(digest) = digest.filter(|d| open(&newest, d, &body.sealed).is_none()) else { continue };
            let again = open(&older, &digest, &body.sealed).and_then(|bytes| {
                let rng = SystemRandom::new();
                to::seal(&stated, to::INFO_DELIVERY, digest.as_bytes(), &bytes, &rng).ok()
            });
            match again {
                Some(sealed) => answer.bodies.push(ResealedDelivery { at, sealed }),
                None => answer.lost.push(at),
            }
        }
        Some(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Clock, SystemClock};
    use order::{Ed25519Secret, KeyStatement, SignedStatement, X25519Public};
    use rpc::proto::SealedDelivery;

    fn statement(delivery: PublicKey, older: bool) -> TrustedStatement {
        let (root, now_ms) = (Ed25519Secret::from_seed([1; 32]).unwrap(), SystemClock.now_ms());
        let statement = KeyStatement {
            version: 1,
            epoch: 1,
            made_at_ms: now_ms,
            expires_at_ms: now_ms + 1000,
            warrant_key: vec![1; 32],
            order_key: X25519Public([2; 32]),
            delivery_key: X25519Public(delivery.0),
            compartments: vec![],
            reader_key: X25519Public([0; 32]),
            vault_sender_key: X25519Public([0; 32]),
            ca_fingerprint: Digest([0; 32]),
            ra_fingerprint: Digest([0; 32]),
            older_needed: older.then(|| vec![KeyName::Delivery]),
            older_readers: None,
            ra_certificate: None,
            authorities: None,
        };
        SignedStatement::sign(&statement, &root).verify(&root.public(), now_ms, 1).unwrap()
    }

    fn sealed(to: PublicKey, text: &[u8]) -> SealedDelivery {
        let (digest, rng) = (order::sha256(text), SystemRandom::new());
        let sealed = seal::to::seal(&to, to::INFO_DELIVERY, digest.as_bytes(), text, &rng).unwrap();
        SealedDelivery { digest: digest.0.to_vec(), sealed }
    }

    #[test]
    fn what_waits_is_sealed_again_to_the_stated_key_and_the_older_one_goes_when_it_is_not_needed() {
        let dir = tempfile::tempdir().unwrap();
        crate::prepare(dir.path()).unwrap();
        let door = Delivery::open(dir.path()).unwrap();
        let first = door.keys()[0].public();
        let new = door.make(2).unwrap();
        assert_eq!(door.make(2).unwrap(), new, "asked again");
        // Made and not yet stated: nothing is destroyed, nothing is sealed to it.
        let stands = sealed(first, b"made up");
        door.follow(&statement(first, false));
        let asked = DeliveryResealRequest { bodies: vec![stands.clone()] };
        assert_eq!(door.reseal(&asked, &statement(first, false)), Some(DeliveryResealAnswer::default()));
        let stated = statement(new, true);
        door.follow(&stated);
        let digest = order::sha256(b"made up");
        assert!(open(&door.keys(), &digest, &stands.sealed).is_some(), "the older one still opens");
        let foreign = sealed(KeyPairSecret::generate(&SystemRandom::new()).unwrap().public(), b"x");
        let bodies = vec![stands.clone(), sealed(new, b"y"), foreign];
        let answer = door.reseal(&DeliveryResealRequest { bodies }, &stated).unwrap();
        assert_eq!((answer.bodies.len(), answer.lost), (1, vec![2]));
        let again = &answer.bodies[0];
        door.follow(&statement(new, false));
        // From the file, as after a restart.
        let door = Delivery::open(dir.path()).unwrap();
        assert_eq!(door.keys().len(), 1);
        assert!(open(&door.keys(), &digest, &stands.sealed).is_none());
        assert_eq!(open(&door.keys(), &digest, &again.sealed).unwrap().as_slice(), b"made up");
    }

    #[test]
    fn a_statement_of_a_key_that_the_door_has_not_destroys_none_and_seals_nothing_to_it() {
        let dir = tempfile::tempdir().unwrap();
        crate::prepare(dir.path()).unwrap();
        let door = Delivery::open(dir.path()).unwrap();
        door.make(2).unwrap();
        let elsewhere = statement(PublicKey([9; 32]), false);
        door.follow(&elsewhere);
        assert_eq!(door.keys().len(), 2);
        let stands = sealed(door.keys()[0].public(), b"made up");
        assert_eq!(door.reseal(&DeliveryResealRequest { bodies: vec![stands] }, &elsewhere), None);
    }
}
