//! X25519 key pairs (RFC 7748), 32 bytes each side.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SecureRandom;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, Serializable};
use minicbor::decode::Decoder;
use minicbor::encode::{Encoder, Write};
use minicbor::{Decode, Encode};
use model::Compartment;
use zeroize::Zeroizing;

use crate::error::SealError;

/// The public half: whoever has it can seal to its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct PublicKey(
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub [u8; 32],
);

impl PublicKey {
    /// The first 16 bytes of the key's SHA-256, by which a sealed value names its sender.
    #[must_use]
    pub fn id(&self) -> [u8; 16] {
        let hash = digest(&SHA256, &self.0);
        let mut id = [0; 16];
        id.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
        id
    }

    pub(crate) fn to_hpke(self) -> Result<<X25519HkdfSha256 as Kem>::PublicKey, SealError> {
        <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(&self.0).map_err(|_| SealError::BadPublicKey)
    }
}

/// The secret half, with its public one beside it. Wiped when dropped; `Debug` says `sealed`. Its CBOR
/// form is the 32 secret bytes: keep it in a file of the room that owns it, nowhere else.
#[derive(Clone)]
pub struct KeyPairSecret {
    secret: Zeroizing<[u8; 32]>,
    public: PublicKey,
}

impl KeyPairSecret {
    /// A new key pair.
    ///
    /// # Errors
    /// [`SealError::Randomness`].
    pub fn generate(rng: &dyn SecureRandom) -> Result<Self, SealError> {
        let mut secret = Zeroizing::new([0; 32]);
        rng.fill(secret.as_mut()).map_err(|_| SealError::Randomness)?;
        Ok(Self::from_bytes(secret))
    }

    /// The key pair of these 32 secret bytes (clamped as RFC 7748 says when used).
    #[must_use]
    pub fn from_bytes(secret: Zeroizing<[u8; 32]>) -> Self {
        let mut public = [0; 32];
        // 32 bytes always make a private key, so this branch is always taken.
        if let Ok(key) = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(secret.as_ref()) {
            X25519HkdfSha256::sk_to_pk(&key).write_exact(&mut public);
        }
        Self { secret, public: PublicKey(public) }
    }

    /// The secret bytes, to be kept in a key file.
    #[must_use]
    pub fn secret_bytes(&self) -> &[u8; 32] {
        &self.secret
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.public
    }

    pub(crate) fn to_hpke(&self) -> Result<<X25519HkdfSha256 as Kem>::PrivateKey, SealError> {
        <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(self.secret.as_ref()).map_err(|_| SealError::Cipher)
    }
}

impl std::fmt::Debug for KeyPairSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyPairSecret(sealed)")
    }
}

impl<C> Encode<C> for KeyPairSecret {
    fn encode<W: Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(self.secret.as_ref())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for KeyPairSecret {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let bytes: [u8; 32] =
            d.bytes()?.try_into().map_err(|_| minicbor::decode::Error::message("a key has 32 bytes"))?;
        Ok(Self::from_bytes(Zeroizing::new(bytes)))
    }
}

/// A compartment's public key, as the vault states it to reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct CompartmentPublic {
    /// The compartment.
    #[n(0)]
    pub compartment: Compartment,
    /// Rises when the compartment gets another key.
    #[n(1)]
    pub epoch: u32,
    /// The key.
    #[n(2)]
    pub key: PublicKey,
}

/// A compartment's opening key: the vault's, but for *push*, which is courier's.
#[derive(Debug, Clone, Encode, Decode)]
pub struct CompartmentSecret {
    /// The compartment.
    #[n(0)]
    pub compartment: Compartment,
    /// The epoch.
    #[n(1)]
    pub epoch: u32,
    /// The key.
    #[n(2)]
    pub key: KeyPairSecret,
}

impl CompartmentSecret {
    /// A new key for a compartment.
    ///
    /// # Errors
    /// [`SealError::Randomness`].
    pub fn generate(compartment: Compartment, epoch: u32, rng: &dyn SecureRandom) -> Result<Self, SealError> {
        Ok(Self { compartment, epoch, key: KeyPairSecret::generate(rng)? })
    }

    /// What others may have.
    #[must_use]
    pub fn public(&self) -> CompartmentPublic {
        CompartmentPublic { compartment: self.compartment, epoch: self.epoch, key: self.key.public() }
    }
}
