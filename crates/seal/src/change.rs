//! "Nothing changed", without opening: reader adds a tag, core compares it with the one it has.

use aws_lc_rs::hmac::{Context, HMAC_SHA256, Key};
use aws_lc_rs::rand::SecureRandom;
use minicbor::{Decode, Encode};
use model::EnrolmentId;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::error::SealError;

/// Reader's key for change tags; core never has it, so it can't test a guess against a tag.
#[derive(Clone, Zeroize, ZeroizeOnDrop, Encode, Decode)]
#[cbor(transparent)]
pub struct ChangeTagKey(
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    [u8; 32],
);

impl ChangeTagKey {
    /// A new key.
    ///
    /// # Errors
    /// [`SealError::Randomness`].
    pub fn generate(rng: &dyn SecureRandom) -> Result<Self, SealError> {
        let mut key = Self([0; 32]);
        rng.fill(&mut key.0).map_err(|_| SealError::Randomness)?;
        Ok(key)
    }

    /// The key of these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The tag of one field's normalised value (or of a whole report, under a name of its own): the
    /// first 16 bytes of HMAC-SHA-256 over enrolment id, counted name and value. Equal for equal
    /// values of one phone's field; says nothing across phones or fields.
    #[must_use]
    pub fn tag(&self, enrolment: &EnrolmentId, name: &str, value: &[u8]) -> [u8; 16] {
        let mut mac = Context::with_key(&Key::new(HMAC_SHA256, &self.0));
        mac.update(b"matron/change/1\0");
        mac.update(enrolment.as_bytes());
        mac.update(&(name.len() as u64).to_be_bytes());
        mac.update(name.as_bytes());
        mac.update(value);
        let mut tag = [0; 16];
        tag.iter_mut().zip(mac.sign().as_ref()).for_each(|(to, from)| *to = *from);
        tag
    }
}

impl std::fmt::Debug for ChangeTagKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChangeTagKey(sealed)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_equal_only_for_the_same_phone_field_and_value() {
        let key = ChangeTagKey::from_bytes([1; 32]);
        let (a, b) = (EnrolmentId([1; 16]), EnrolmentId([2; 16]));
        let tag = key.tag(&a, "IMEI", b"1");
        assert_eq!(tag, key.tag(&a, "IMEI", b"1"));
        assert_ne!(tag, key.tag(&b, "IMEI", b"1"));
        assert_ne!(tag, key.tag(&a, "IMEI", b"2"));
        assert_ne!(tag, key.tag(&a, "IME", b"I1"));
        assert_ne!(tag, ChangeTagKey::from_bytes([2; 32]).tag(&a, "IMEI", b"1"));
    }
}
