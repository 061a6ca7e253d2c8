//! Ids, links and challenges, derived from an order's id and a key of the vault: whoever retries an
//! order finds the same ones, and nothing of them has to be stored.

use aws_lc_rs::{constant_time, hmac};
use minicbor::{Decode, Encode};
use model::{CommandId, EnrolmentId, LinkHash, OrderId, PersonId};
use order::HolderCode;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The key that everything here is derived with.
#[derive(Clone, Zeroize, ZeroizeOnDrop, Encode, Decode)]
#[cbor(transparent)]
pub(crate) struct DeriveKey(
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub(crate) [u8; 32],
);

/// Text of 5 bits a character that survives being typed: no 0, 1, l, o.
fn to_text(bytes: &[u8]) -> String {
    let mut out = String::new();
    let (mut held, mut bits) = (0u32, 0u32);
    for b in bytes {
        held = held << 8 | u32::from(*b);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            let place = usize::try_from(held >> bits & 31).unwrap_or(0);
            out.push(char::from(*HolderCode::ALPHABET.get(place).unwrap_or(&b'a')));
        }
    }
    out
}

impl DeriveKey {
    fn bytes(&self, what: &str, parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
        let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.0));
        mac.update(what.as_bytes());
        mac.update(&[0]);
        for p in parts {
            mac.update(p);
        }
        let mut out = Zeroizing::new([0u8; 32]);
        out.iter_mut().zip(mac.sign().as_ref()).for_each(|(to, from)| *to = *from);
        out
    }

    fn id(&self, what: &str, parts: &[&[u8]]) -> [u8; 16] {
        let mut out = [0u8; 16];
        out.iter_mut().zip(self.bytes(what, parts).iter()).for_each(|(to, from)| *to = *from);
        out
    }

    pub(crate) fn enrolment(&self, order: &OrderId) -> EnrolmentId {
        EnrolmentId(self.id("enrolment", &[order.as_bytes()]))
    }

    pub(crate) fn person(&self, order: &OrderId) -> PersonId {
        PersonId(self.id("person", &[order.as_bytes()]))
    }

    /// One id for all phones of an order, or one a phone when a secret differs.
    pub(crate) fn command(&self, order: &OrderId, phone: Option<&EnrolmentId>) -> CommandId {
        let phone = phone.map_or(&[][..], |p| p.as_bytes());
        CommandId(self.id("command", &[order.as_bytes(), phone]))
    }

    /// The link's secret path segment: 160 bits in 32 characters.
    pub(crate) fn link_secret(&self, order: &OrderId) -> Zeroizing<String> {
        let bytes = self.bytes("link", &[order.as_bytes()]);
        Zeroizing::new(to_text(bytes.get(..20).unwrap_or_default()))
    }

    /// What the vault keeps of a link, and the door computes of it.
    pub(crate) fn link_hash(secret: &str) -> LinkHash {
        LinkHash(order::sha256(secret.as_bytes()).0)
    }

    /// The SCEP challenge of an enrolment under a profile that anchors the CA of that epoch: its id, a dot, and 160
    /// bits that only the vault can make.
    pub(crate) fn challenge(&self, enrolment: &EnrolmentId, ca_epoch: u32) -> Zeroizing<String> {
        let bytes = self.bytes("challenge", &[enrolment.as_bytes(), &ca_epoch.to_be_bytes()]);
        Zeroizing::new(format!("{enrolment}.{}", to_text(bytes.get(..20).unwrap_or_default())))
    }

    /// The enrolment that a challenge belongs to and the CA's epoch, if the vault made it under one of these.
    pub(crate) fn read_challenge(&self, challenge: &str, newest_ca_epoch: u32) -> Option<(EnrolmentId, u32)> {
        let enrolment: EnrolmentId = challenge.split('.').next()?.parse().ok()?;
        let of = |epoch: &u32| Self::same(&self.challenge(&enrolment, *epoch), challenge);
        (1..=newest_ca_epoch).rev().find(of).map(|epoch| (enrolment, epoch))
    }

    /// The SCEP challenge of a renewal: the enrolment's id, how many certificates it had, and 160 bits
    /// that only the vault can make.
    pub(crate) fn renewal_challenge(
        &self,
        standing: &OrderId,
        enrolment: &EnrolmentId,
        number: u32,
    ) -> Zeroizing<String> {
        let bytes =
            self.bytes("renewal", &[standing.as_bytes(), enrolment.as_bytes(), &number.to_be_bytes()]);
        let secret = to_text(bytes.get(..20).unwrap_or_default());
        Zeroizing::new(format!("{enrolment}.{number}.{secret}"))
    }

    /// The enrolment and the number that a renewal's challenge names. It proves nothing yet: compare it
    /// with [`Self::renewal_challenge`].
    pub(crate) fn named_in_renewal(challenge: &str) -> Option<(EnrolmentId, u32)> {
        let mut parts = challenge.split('.');
        let (enrolment, number, _secret) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        Some((enrolment.parse().ok()?, number.parse().ok()?))
    }

    /// The command of one act under a standing order; `position` is the act's place in the ledger.
    pub(crate) fn act(&self, standing: &OrderId, phone: &EnrolmentId, position: u64) -> CommandId {
        CommandId(self.id("act", &[standing.as_bytes(), phone.as_bytes(), &position.to_be_bytes()]))
    }

    /// The code of the holder's card that this order made for the phone: 100 bits.
    pub(crate) fn holder_code(&self, enrolment: &EnrolmentId, order: &OrderId) -> Option<HolderCode> {
        let bytes = self.bytes("holder code", &[enrolment.as_bytes(), order.as_bytes()]);
        let text = Zeroizing::new(to_text(bytes.get(..13).unwrap_or_default()));
        HolderCode::read(&text)
    }

    /// Whether two challenges are the same, in a time that says nothing of where they differ.
    pub(crate) fn same(right: &str, given: &str) -> bool {
        constant_time::verify_slices_are_equal(right.as_bytes(), given.as_bytes()).is_ok()
    }

    /// A payload's UUID in the enrolment profile.
    pub(crate) fn payload_uuid(&self, enrolment: &EnrolmentId, which: &str) -> [u8; 16] {
        self.id("payload", &[enrolment.as_bytes(), which.as_bytes()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_leads_to_its_enrolment_and_ca_and_no_other_text_does() {
        let key = DeriveKey([7; 32]);
        let enrolment = EnrolmentId([3; 16]);
        let challenge = key.challenge(&enrolment, 2);
        assert_eq!(key.read_challenge(&challenge, 2), Some((enrolment, 2)));
        assert_eq!(key.read_challenge(&challenge, 9), Some((enrolment, 2)));
        assert_eq!(key.read_challenge(&challenge, 1), None, "of a CA to come");
        assert_eq!(DeriveKey([8; 32]).read_challenge(&challenge, 2), None);
        let other = EnrolmentId([4; 16]);
        let moved = challenge.replace(&enrolment.to_string(), &other.to_string());
        assert_eq!(key.read_challenge(&moved, 2), None);
        for bad in ["", ".", "x.y", &format!("{enrolment}"), &format!("{enrolment}.")] {
            assert_eq!(key.read_challenge(bad, 2), None, "{bad}");
        }
    }

    #[test]
    fn a_renewals_challenge_is_for_one_phone_one_order_and_one_certificate() {
        let key = DeriveKey([7; 32]);
        let (order, enrolment) = (OrderId([1; 16]), EnrolmentId([3; 16]));
        let challenge = key.renewal_challenge(&order, &enrolment, 2);
        assert_eq!(DeriveKey::named_in_renewal(&challenge), Some((enrolment, 2)));
        assert!(DeriveKey::same(&challenge, &key.renewal_challenge(&order, &enrolment, 2)));
        for other in [
            key.renewal_challenge(&order, &enrolment, 3),
            key.renewal_challenge(&OrderId([2; 16]), &enrolment, 2),
            key.renewal_challenge(&order, &EnrolmentId([4; 16]), 2),
            DeriveKey([8; 32]).renewal_challenge(&order, &enrolment, 2),
        ] {
            assert!(!DeriveKey::same(&challenge, &other));
        }
        assert_eq!(key.read_challenge(&challenge, 9), None, "it is no invitation's");
        assert_eq!(DeriveKey::named_in_renewal(&key.challenge(&enrolment, 1)), None);
        assert_eq!(DeriveKey::named_in_renewal(&format!("{}.x", *challenge)), None);
    }

    #[test]
    fn a_holders_code_is_of_one_phone_and_one_order() {
        let key = DeriveKey([7; 32]);
        let (phone, order) = (EnrolmentId([3; 16]), OrderId([1; 16]));
        let code = key.holder_code(&phone, &order).unwrap();
        assert_eq!(key.holder_code(&phone, &order), Some(code.clone()));
        assert_eq!(code.grouped().len(), 24);
        for other in [
            key.holder_code(&EnrolmentId([4; 16]), &order),
            key.holder_code(&phone, &OrderId([2; 16])),
            DeriveKey([8; 32]).holder_code(&phone, &order),
        ] {
            assert_ne!(other, Some(code.clone()));
        }
    }

    #[test]
    fn a_retried_order_finds_the_same_link_and_ids() {
        let key = DeriveKey([7; 32]);
        let order = OrderId([1; 16]);
        assert_eq!(key.link_secret(&order), key.link_secret(&order));
        assert_eq!(key.link_secret(&order).len(), 32);
        assert_eq!(key.enrolment(&order), key.enrolment(&order));
        assert_ne!(key.enrolment(&order), key.enrolment(&OrderId([2; 16])));
    }
}
