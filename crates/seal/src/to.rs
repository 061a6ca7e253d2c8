//! Sealing one message to one key: HPKE (RFC 9180), DHKEM(X25519, HKDF-SHA256), HKDF-SHA256,
//! AES-256-GCM, one shot.
//!
//! Sealed bytes are version (1) ‖ encapsulated key (32) ‖ ciphertext with its tag (16). `info` is one
//! of the constants here, so that what was sealed for one purpose opens for no other; `aad` is what the
//! message belongs to (an order's id, say) and is not part of the sealed bytes.

use aws_lc_rs::rand::SecureRandom;
use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable, setup_receiver, setup_sender_with_rng};
use zeroize::Zeroizing;

use crate::error::{OpenError, SealError};
use crate::key::{KeyPairSecret, PublicKey};

/// Personal and secret arguments of an order, sealed to the vault.
pub const INFO_ORDER_ARGS: &[u8] = b"matron/order-args/1";
/// The vault's answer to an order, sealed to the key that the order names.
pub const INFO_ORDER_ANSWER: &[u8] = b"matron/order-answer/1";
/// Bytes with a secret in them, sealed by the vault to the door's delivery key.
pub const INFO_DELIVERY: &[u8] = b"matron/delivery/1";
/// SCEP challenge and CSR, sealed by reader to the vault in Auth mode.
pub const INFO_SCEP: &[u8] = b"matron/scep/1";

/// A service's token, sealed by the vault to itself, to be kept in its ledger.
pub const INFO_SERVICE_TOKEN: &[u8] = b"matron/service-token/1";

/// The most that is sealed at once.
pub const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// What sealing adds to a message.
pub const OVERHEAD_BYTES: usize = 1 + ENC_BYTES + TAG_BYTES;

const VERSION: u8 = 1;
pub(crate) const ENC_BYTES: usize = 32;
const TAG_BYTES: usize = 16;

/// Seals `plaintext` to `public`; anyone can.
///
/// # Errors
/// [`SealError`]: too large, a key that is none, no random bytes.
pub fn seal(
    public: &PublicKey,
    info: &[u8],
    aad: &[u8],
    plaintext: &[u8],
    rng: &dyn SecureRandom,
) -> Result<Vec<u8>, SealError> {
    versioned(raw_seal(&OpModeS::Base, public, info, aad, plaintext, rng)?)
}

/// Opens what [`seal`] made.
///
/// # Errors
/// [`OpenError::Malformed`] or [`OpenError::DoesNotOpen`].
pub fn open(
    secret: &KeyPairSecret,
    info: &[u8],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    raw_open(&OpModeR::Base, secret, info, aad, unversioned(sealed)?)
}

/// Seals `plaintext` to `public` so that the reader of it knows that `sender` did (Auth mode).
///
/// # Errors
/// As [`seal`].
pub fn seal_auth(
    sender: &KeyPairSecret,
    public: &PublicKey,
    info: &[u8],
    aad: &[u8],
    plaintext: &[u8],
    rng: &dyn SecureRandom,
) -> Result<Vec<u8>, SealError> {
    versioned(raw_seal(&auth_mode(sender)?, public, info, aad, plaintext, rng)?)
}

/// Opens what `sender` sealed with [`seal_auth`], and nothing that anyone else did.
///
/// # Errors
/// As [`open`].
pub fn open_auth(
    secret: &KeyPairSecret,
    sender: &PublicKey,
    info: &[u8],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let mode = OpModeR::Auth(sender.to_hpke().map_err(|_| OpenError::UnknownSender)?);
    raw_open(&mode, secret, info, aad, unversioned(sealed)?)
}

pub(crate) fn auth_mode(sender: &KeyPairSecret) -> Result<OpModeS<'static, X25519HkdfSha256>, SealError> {
    Ok(OpModeS::Auth((sender.to_hpke()?, sender.public().to_hpke()?)))
}

fn versioned(body: Vec<u8>) -> Result<Vec<u8>, SealError> {
    let mut out = body;
    out.insert(0, VERSION);
    Ok(out)
}

fn unversioned(sealed: &[u8]) -> Result<&[u8], OpenError> {
    match sealed.split_first() {
        Some((&VERSION, body)) => Ok(body),
        _ => Err(OpenError::Malformed),
    }
}

/// Encapsulated key ‖ ciphertext ‖ tag.
pub(crate) fn raw_seal(
    mode: &OpModeS<'_, X25519HkdfSha256>,
    public: &PublicKey,
    info: &[u8],
    aad: &[u8],
    plaintext: &[u8],
    rng: &dyn SecureRandom,
) -> Result<Vec<u8>, SealError> {
    if plaintext.len() > MAX_MESSAGE_BYTES {
        return Err(SealError::TooLarge { bytes: plaintext.len(), limit: MAX_MESSAGE_BYTES });
    }
    let mut random = Source { rng, failed: false };
    let (enc, mut context) = setup_sender_with_rng::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
        mode,
        &public.to_hpke()?,
        info,
        &mut random,
    )
    .map_err(|_| SealError::BadPublicKey)?;
    if random.failed {
        return Err(SealError::Randomness);
    }
    let ciphertext = context.seal(plaintext, aad).map_err(|_| SealError::Cipher)?;
    let mut out = Vec::with_capacity(OVERHEAD_BYTES + plaintext.len());
    out.extend_from_slice(&enc.to_bytes());
    out.extend_from_slice(&ciphertext);
    Ok(out)
}

pub(crate) fn raw_open(
    mode: &OpModeR<'_, X25519HkdfSha256>,
    secret: &KeyPairSecret,
    info: &[u8],
    aad: &[u8],
    body: &[u8],
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    if body.len() < ENC_BYTES + TAG_BYTES || body.len() > MAX_MESSAGE_BYTES + OVERHEAD_BYTES {
        return Err(OpenError::Malformed);
    }
    let (enc, ciphertext) = body.split_at_checked(ENC_BYTES).ok_or(OpenError::Malformed)?;
    let enc = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(enc).map_err(|_| OpenError::Malformed)?;
    let secret = secret.to_hpke().map_err(|_| OpenError::DoesNotOpen)?;
    let mut context = setup_receiver::<AesGcm256, HkdfSha256, X25519HkdfSha256>(mode, &secret, &enc, info)
        .map_err(|_| OpenError::DoesNotOpen)?;
    context.open(ciphertext, aad).map(Zeroizing::new).map_err(|_| OpenError::DoesNotOpen)
}

/// The house's randomness for the `hpke` crate, whose trait knows no failure: a failed draw is
/// remembered, and nothing made with it leaves [`raw_seal`].
struct Source<'a> {
    rng: &'a dyn SecureRandom,
    failed: bool,
}

impl rand_core::TryRng for Source<'_> {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Self::Error> {
        if self.rng.fill(dst).is_err() {
            self.failed = true;
        }
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Source<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::rand::SystemRandom;
    use proptest::prelude::*;

    fn pair() -> KeyPairSecret {
        KeyPairSecret::generate(&SystemRandom::new()).unwrap()
    }

    #[test]
    fn what_is_sealed_to_a_key_opens_with_it_alone_and_for_its_purpose_alone() {
        let (rng, vault, other) = (SystemRandom::new(), pair(), pair());
        let sealed = seal(&vault.public(), INFO_ORDER_ARGS, b"order 1", b"Siobhan O'Made-Up", &rng).unwrap();
        assert_eq!(sealed.len(), 17 + OVERHEAD_BYTES);
        assert_eq!(
            open(&vault, INFO_ORDER_ARGS, b"order 1", &sealed).unwrap().as_slice(),
            b"Siobhan O'Made-Up"
        );
        assert_eq!(open(&other, INFO_ORDER_ARGS, b"order 1", &sealed), Err(OpenError::DoesNotOpen));
        assert_eq!(open(&vault, INFO_DELIVERY, b"order 1", &sealed), Err(OpenError::DoesNotOpen));
        assert_eq!(open(&vault, INFO_ORDER_ARGS, b"order 2", &sealed), Err(OpenError::DoesNotOpen));
    }

    #[test]
    fn an_altered_byte_anywhere_does_not_open() {
        let (rng, vault) = (SystemRandom::new(), pair());
        let sealed = seal(&vault.public(), INFO_ORDER_ARGS, b"", b"made up", &rng).unwrap();
        for at in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[at] ^= 1;
            assert!(open(&vault, INFO_ORDER_ARGS, b"", &bad).is_err(), "byte {at}");
        }
    }

    #[test]
    fn in_auth_mode_only_the_named_sender_is_believed() {
        let (rng, vault, reader, core) = (SystemRandom::new(), pair(), pair(), pair());
        let good = seal_auth(&reader, &vault.public(), INFO_SCEP, b"t", b"csr", &rng).unwrap();
        assert_eq!(open_auth(&vault, &reader.public(), INFO_SCEP, b"t", &good).unwrap().as_slice(), b"csr");
        let forged = seal_auth(&core, &vault.public(), INFO_SCEP, b"t", b"csr", &rng).unwrap();
        assert!(open_auth(&vault, &reader.public(), INFO_SCEP, b"t", &forged).is_err());
        let anonymous = seal(&vault.public(), INFO_SCEP, b"t", b"csr", &rng).unwrap();
        assert!(open_auth(&vault, &reader.public(), INFO_SCEP, b"t", &anonymous).is_err());
    }

    #[test]
    fn a_key_of_small_order_is_not_sealed_to() {
        let got = seal(&PublicKey([0; 32]), INFO_ORDER_ARGS, b"", b"x", &SystemRandom::new());
        assert_eq!(got, Err(SealError::BadPublicKey));
    }

    #[test]
    fn a_secret_key_survives_cbor_and_shows_nothing() {
        let key = pair();
        let back: KeyPairSecret = minicbor::decode(&minicbor::to_vec(&key).unwrap()).unwrap();
        assert_eq!(back.public(), key.public());
        assert_eq!(format!("{key:?}"), "KeyPairSecret(sealed)");
        assert!(
            minicbor::decode::<KeyPairSecret>(
                &minicbor::to_vec(minicbor::bytes::ByteVec::from(vec![1; 31])).unwrap()
            )
            .is_err()
        );
    }

    #[test]
    fn the_public_key_is_that_of_rfc_7748() {
        // RFC 7748, section 6.1: Alice's pair.
        let secret = [
            0x77, 0x07, 0x6d, 0x0a, 0x73, 0x18, 0xa5, 0x7d, 0x3c, 0x16, 0xc1, 0x72, 0x51, 0xb2, 0x66, 0x45,
            0xdf, 0x4c, 0x2f, 0x87, 0xeb, 0xc0, 0x99, 0x2a, 0xb1, 0x77, 0xfb, 0xa5, 0x1d, 0xb9, 0x2c, 0x2a,
        ];
        let public = [
            0x85, 0x20, 0xf0, 0x09, 0x89, 0x30, 0xa7, 0x54, 0x74, 0x8b, 0x7d, 0xdc, 0xb4, 0x3e, 0xf7, 0x5a,
            0x0d, 0xbf, 0x3a, 0x0d, 0x26, 0x38, 0x1a, 0xf4, 0xeb, 0xa4, 0xa9, 0x8e, 0xaa, 0x9b, 0x4e, 0x6a,
        ];
        assert_eq!(KeyPairSecret::from_bytes(Zeroizing::new(secret)).public(), PublicKey(public));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_bytes_make_opening_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let key = KeyPairSecret::from_bytes(Zeroizing::new([7; 32]));
            prop_assert!(open(&key, INFO_ORDER_ARGS, b"", &bytes).is_err());
        }
    }
}
