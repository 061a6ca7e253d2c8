//! Which root key comes after which. The root key is what every room, administrator and witness has pinned; another one takes
//! its place by a statement that both have signed, as The Update Framework has it for its root role (specification, "Update the root role"):
//! the one before says who follows, and the new one that it is there. Whoever has pinned any of them is led to the newest.

use minicbor::{Decode, Encode};
use model::TimeMs;

use crate::Ed25519Secret;
use crate::signature::ed25519_fits;

/// What stands before a succession's bytes, and is signed with them.
pub const SUCCESSION_CONTEXT: &[u8; 14] = b"matron/root/1\0";
/// Context, epoch (4 bytes, big endian), time (8), the key before (32), the key after it (32).
const SIGNED_BYTES: usize = 14 + 4 + 8 + 32 + 32;
/// And both signatures.
const BYTES: usize = SIGNED_BYTES + 64 + 64;

/// One root key's place was taken by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Succession {
    /// The epoch that began with the new key.
    pub epoch: u32,
    /// When it was made.
    pub made_at_ms: TimeMs,
    /// The key before (Ed25519).
    pub former: [u8; 32],
    /// The key after it (Ed25519).
    pub next: [u8; 32],
}

impl Succession {
    fn to_bytes(self) -> Vec<u8> {
        let (epoch, made_at_ms) = (self.epoch.to_be_bytes(), self.made_at_ms.to_be_bytes());
        [SUCCESSION_CONTEXT.as_slice(), &epoch, &made_at_ms, &self.former, &self.next].concat()
    }

    /// Signs it with both keys; each `sign` is Ed25519 over the bytes that it is given.
    ///
    /// # Errors
    /// What one of them failed with.
    pub fn sign_with<E>(
        self,
        by_former: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
        by_next: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<SignedSuccession, E> {
        let mut bytes = self.to_bytes();
        let (former, next) = (by_former(&bytes)?, by_next(&bytes)?);
        bytes.extend(former);
        bytes.extend(next);
        Ok(SignedSuccession(bytes))
    }

    /// The same with both keys at hand.
    #[must_use]
    pub fn sign(self, former: &Ed25519Secret, next: &Ed25519Secret) -> SignedSuccession {
        let signed = self.sign_with::<std::convert::Infallible>(|m| Ok(former.sign(m)), |m| Ok(next.sign(m)));
        signed.unwrap_or_else(|never| match never {})
    }
}

/// A succession as it travels: its bytes and both signatures. Nothing is believed of it before [`SignedSuccession::open`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct SignedSuccession(
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub Vec<u8>,
);

impl SignedSuccession {
    /// What it says, if both keys say it.
    #[must_use]
    pub fn open(&self) -> Option<Succession> {
        let said = self.read()?;
        let (signed, signatures) = self.0.split_at_checked(SIGNED_BYTES)?;
        let (by_former, by_next) = signatures.split_at_checked(64)?;
        let fits = |key: &[u8; 32], signature| ed25519_fits(key, &[], signed, signature);
        (fits(&said.former, by_former) && fits(&said.next, by_next)).then_some(said)
    }

    /// What it says, unverified.
    fn read(&self) -> Option<Succession> {
        if self.0.len() != BYTES {
            return None;
        }
        let rest = self.0.strip_prefix(SUCCESSION_CONTEXT)?;
        let (epoch, rest) = rest.split_first_chunk()?;
        let (made_at_ms, rest) = rest.split_first_chunk()?;
        let (former, rest) = rest.split_first_chunk()?;
        let (next, _) = rest.split_first_chunk()?;
        Some(Succession {
            epoch: u32::from_be_bytes(*epoch),
            made_at_ms: TimeMs::from_be_bytes(*made_at_ms),
            former: *former,
            next: *next,
        })
    }
}

/// A chain does not lead on from the pinned key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a change of the root key is not signed by the key before and the one after it")]
pub struct BrokenSuccession;

/// The root keys from the pinned one to the newest, in their order: those that the chain leads to. A chain that does not name
/// the pinned one leads nowhere, and it stays.
///
/// # Errors
/// [`BrokenSuccession`]: what follows the pinned key is no chain.
pub fn follow(pinned: &[u8; 32], chain: &[SignedSuccession]) -> Result<Vec<[u8; 32]>, BrokenSuccession> {
    let mut roots = vec![*pinned];
    let after = chain.iter().skip_while(|link| link.read().is_none_or(|s| s.former != *pinned));
    for link in after {
        let said = link.open().ok_or(BrokenSuccession)?;
        if roots.last() != Some(&said.former) || roots.contains(&said.next) {
            return Err(BrokenSuccession);
        }
        roots.push(said.next);
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(n: u8) -> Ed25519Secret {
        Ed25519Secret::from_seed([n; 32]).unwrap()
    }

    fn public(n: u8) -> [u8; 32] {
        key(n).public().try_into().unwrap()
    }

    fn link(former: u8, next: u8) -> SignedSuccession {
        let said = Succession { epoch: 2, made_at_ms: 1000, former: public(former), next: public(next) };
        said.sign(&key(former), &key(next))
    }

    #[test]
    fn whoever_pinned_any_key_of_a_chain_is_led_to_its_newest_and_whoever_pinned_another_is_not() {
        let chain = [link(1, 2), link(2, 3)];
        assert_eq!(follow(&public(1), &chain).unwrap(), [public(1), public(2), public(3)]);
        assert_eq!(follow(&public(2), &chain).unwrap(), [public(2), public(3)]);
        assert_eq!(follow(&public(3), &chain).unwrap(), [public(3)]);
        assert_eq!(follow(&public(9), &chain).unwrap(), [public(9)]);
        assert_eq!(follow(&public(1), &[]).unwrap(), [public(1)]);
    }

    #[test]
    fn a_chain_with_a_gap_a_circle_or_one_signature_too_few_leads_nowhere() {
        assert_eq!(follow(&public(1), &[link(1, 2), link(3, 4)]), Err(BrokenSuccession));
        assert_eq!(follow(&public(1), &[link(1, 2), link(2, 1)]), Err(BrokenSuccession));
        let said = Succession { epoch: 2, made_at_ms: 1000, former: public(1), next: public(2) };
        for (by_former, by_next) in [(1, 1), (2, 2), (9, 2), (1, 9), (2, 1)] {
            let forged = said.sign(&key(by_former), &key(by_next));
            assert_eq!(follow(&public(1), &[forged]), Err(BrokenSuccession), "{by_former} {by_next}");
        }
    }

    proptest! {
        #[test]
        fn any_flipped_bit_of_a_succession_breaks_it(byte in 0usize..BYTES, bit in 0u8..8) {
            let mut flipped = link(1, 2);
            flipped.0[byte] ^= 1 << bit;
            prop_assert_eq!(flipped.open(), None);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(SignedSuccession(bytes).open(), None);
        }
    }
}
