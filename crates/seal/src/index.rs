//! Search without an oracle: salted entries and tokens.
//!
//! An entry is (r, PRF(T, r)) with r random. T is the token HMAC-SHA-256(index key, field ‖ 0 ‖
//! term), which the vault makes for a search that a grant pays for; core scans its entries with it.
//! Two equal values have different entries, and without T nobody can say whether they are equal.
//!
//! **Why AES-256 as PRF.** T is 32 uniform bytes that serve this purpose alone, so it is a key;
//! AES-256 is a pseudo-random permutation on 16 bytes, and a permutation under distinct random inputs
//! can't be told from a random function before about 2⁶⁴ entries under one token (the PRP/PRF
//! switching lemma). It costs one block an entry where HMAC-SHA-256 costs two compressions. A false
//! match has probability 2⁻¹²⁸.

use aws_lc_rs::cipher::{AES_256, EncryptingKey, UnboundCipherKey};
use aws_lc_rs::hmac::{Context, HMAC_SHA256, Key};
use aws_lc_rs::rand::SecureRandom;
use minicbor::{Decode, Encode};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::error::SealError;
use crate::normalise::{SearchField, terms};

/// The vault's index key.
#[derive(Clone, Zeroize, ZeroizeOnDrop, Encode, Decode)]
#[cbor(transparent)]
pub struct IndexKey(
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    [u8; 32],
);

/// What core searches with. It says which of its entries hold one value, to whoever has it.
#[derive(Clone, Zeroize, ZeroizeOnDrop, Encode, Decode)]
#[cbor(transparent)]
pub struct SearchToken(
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    [u8; 32],
);

/// One term of one field of one phone, as core keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub struct IndexEntry {
    /// Random.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub r: [u8; 16],
    /// PRF(T, r).
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub prf: [u8; 16],
}

impl IndexEntry {
    /// r ‖ prf: 32 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        let mut out = [0; 32];
        out.iter_mut().zip(self.r.iter().chain(&self.prf)).for_each(|(to, from)| *to = *from);
        out
    }

    /// Reads [`IndexEntry::to_bytes`]; `None` if there are not 32 bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (r, prf) = bytes.split_first_chunk::<16>()?;
        Some(Self { r: *r, prf: prf.try_into().ok()? })
    }
}

impl IndexKey {
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

    /// The token of one normalised term (see [`terms`]).
    #[must_use]
    pub fn token(&self, field: SearchField, term: &str) -> SearchToken {
        let mut mac = Context::with_key(&Key::new(HMAC_SHA256, &self.0));
        mac.update(b"matron/index/1\0");
        mac.update(field.name().as_bytes());
        mac.update(&[0]);
        mac.update(term.as_bytes());
        let mut token = SearchToken([0; 32]);
        token.0.iter_mut().zip(mac.sign().as_ref()).for_each(|(to, from)| *to = *from);
        token
    }

    /// A value's tokens, one for each of its terms: a row matches a search when it has an entry for
    /// every one of them.
    #[must_use]
    pub fn tokens(&self, field: SearchField, value: &str) -> Vec<SearchToken> {
        terms(field, value).iter().map(|term| self.token(field, term)).collect()
    }

    /// A value's entries, one for each of its terms, with fresh salts.
    ///
    /// # Errors
    /// [`SealError::Randomness`].
    pub fn entries(
        &self,
        field: SearchField,
        value: &str,
        rng: &dyn SecureRandom,
    ) -> Result<Vec<IndexEntry>, SealError> {
        self.tokens(field, value).iter().map(|token| token.entry(rng)).collect()
    }
}

impl SearchToken {
    /// The token of these bytes, as core got it from the vault.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The token as it travels to core.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A fresh entry for this term.
    ///
    /// # Errors
    /// [`SealError::Randomness`].
    pub fn entry(&self, rng: &dyn SecureRandom) -> Result<IndexEntry, SealError> {
        let mut r = [0; 16];
        rng.fill(&mut r).map_err(|_| SealError::Randomness)?;
        let mut prf = r;
        self.scanner()?.prf(&mut prf)?;
        Ok(IndexEntry { r, prf })
    }

    /// Whether this entry holds the token's term. For more than a few entries take a [`Scanner`].
    #[must_use]
    pub fn matches(&self, entry: &IndexEntry) -> bool {
        self.scanner().is_ok_and(|s| s.matches(entry))
    }

    /// The token with its key made ready for a scan.
    ///
    /// # Errors
    /// [`SealError::Cipher`], which 32 bytes never cause.
    pub fn scanner(&self) -> Result<Scanner, SealError> {
        let key = UnboundCipherKey::new(&AES_256, &self.0).map_err(|_| SealError::Cipher)?;
        EncryptingKey::ecb(key).map(Scanner).map_err(|_| SealError::Cipher)
    }
}

/// A token at work. AWS-LC's key is wiped when it is dropped.
pub struct Scanner(EncryptingKey);

impl Scanner {
    /// Whether this entry holds the token's term.
    #[must_use]
    pub fn matches(&self, entry: &IndexEntry) -> bool {
        let mut block = entry.r;
        self.prf(&mut block).is_ok() && block == entry.prf
    }

    /// PRF over whole blocks in place.
    fn prf(&self, blocks: &mut [u8]) -> Result<(), SealError> {
        self.0.encrypt(blocks).map(drop).map_err(|_| SealError::Cipher)
    }
}

macro_rules! sealed_debug {
    ($($name:ident),*) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(sealed)"))
            }
        }
    )*};
}

sealed_debug!(IndexKey, SearchToken, Scanner);

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::rand::SystemRandom;

    fn key() -> IndexKey {
        IndexKey::from_bytes([5; 32])
    }

    #[test]
    fn equal_values_have_different_entries_and_one_token_finds_both() {
        let rng = SystemRandom::new();
        let a = key().entries(SearchField::Phone, "07700 900123", &rng).unwrap();
        let b = key().entries(SearchField::Phone, "+447700900123", &rng).unwrap();
        assert_ne!(a, b);
        assert_ne!(a[0].prf, b[0].prf);
        let token = &key().tokens(SearchField::Phone, "0044 7700 900123")[0];
        assert!(token.matches(&a[0]) && token.matches(&b[0]));
    }

    #[test]
    fn a_token_finds_neither_another_value_nor_the_same_under_another_field_or_key() {
        let rng = SystemRandom::new();
        let entry = key().token(SearchField::Serial, "ABC").entry(&rng).unwrap();
        assert!(key().token(SearchField::Serial, "ABC").matches(&entry));
        assert!(!key().token(SearchField::Serial, "ABD").matches(&entry));
        assert!(!key().token(SearchField::Udid, "ABC").matches(&entry));
        assert!(!IndexKey::from_bytes([6; 32]).token(SearchField::Serial, "ABC").matches(&entry));
    }

    #[test]
    fn a_scan_of_many_entries_finds_exactly_its_own() {
        let rng = SystemRandom::new();
        let entries: Vec<_> = (0..500)
            .map(|n| key().token(SearchField::Serial, &format!("S{}", n % 50)).entry(&rng).unwrap())
            .collect();
        let scanner = key().token(SearchField::Serial, "S7").scanner().unwrap();
        let found: Vec<_> = (0..500).filter(|n| scanner.matches(&entries[*n])).collect();
        assert_eq!(found, (0..10).map(|k| 7 + 50 * k).collect::<Vec<_>>());
    }

    #[test]
    fn an_entry_is_32_bytes_and_reads_back() {
        let entry = IndexEntry { r: [1; 16], prf: [2; 16] };
        assert_eq!(IndexEntry::from_bytes(&entry.to_bytes()), Some(entry));
        assert_eq!(IndexEntry::from_bytes(&[0; 31]), None);
        assert_eq!(IndexEntry::from_bytes(&[0; 33]), None);
    }

    #[test]
    fn keys_and_tokens_show_nothing() {
        let token = key().token(SearchField::Serial, "ABC");
        assert_eq!(format!("{:?} {token:?}", key()), "IndexKey(sealed) SearchToken(sealed)");
    }
}
