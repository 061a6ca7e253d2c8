//! The small words that entries are made of.

use minicbor::{Decode, Encode};

use crate::error::EntryError;

/// Bytes that the ledger keeps and does not read (a signed order, a signature, a certificate).
/// `Debug` shows their length alone, since an order's reason may name someone.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Opaque(
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub Vec<u8>,
);

impl std::fmt::Debug for Opaque {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opaque({} bytes)", self.0.len())
    }
}

/// A personal field sealed under its subject's own key ([`crate::PersonKeys`]): destroying that key
/// erases the field from an append-only ledger.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct PersonalSealed(
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub Vec<u8>,
);

impl std::fmt::Debug for PersonalSealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PersonalSealed(sealed)")
    }
}

/// A person's Ed25519 public key (RFC 8032), 32 bytes. The same shape serves the root key and the
/// first token's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct SigningPublicKey(
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub [u8; 32],
);

/// Why an order was refused: a stable number (the table is the vault's).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct RefusalCode(#[n(0)] pub u16);

/// The short word that goes with a [`RefusalCode`], such as `wrong_role`: 1 to 48 characters of
/// `a-z 0-9 _`. It comes from the vault's own table, so no text from outside gets into the ledger
/// this way.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct ReasonKey(#[n(0)] String);

impl ReasonKey {
    /// Checks and takes a word.
    ///
    /// # Errors
    /// [`EntryError::ReasonKey`] when it is empty, longer than 48, or holds another character.
    pub fn new(key: &str) -> Result<Self, EntryError> {
        let ok = (1..=48).contains(&key.len())
            && key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if ok { Ok(Self(key.to_owned())) } else { Err(EntryError::ReasonKey) }
    }

    /// The word.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
