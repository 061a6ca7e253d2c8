//! Keys in memory: ECDSA P-256 for the CA and for signing profiles, RSA for SCEP.

use super::der::{self, seq, tag, tlv};
use super::{RSA_MAX_BITS, RSA_MIN_BITS, SignatureAlgorithm, Signer, X509Error, oid};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{
    KeyPair as RsaKeyPair, KeySize, OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey,
    Pkcs1PrivateDecryptingKey, PrivateDecryptingKey,
};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256};
use std::fmt;
use zeroize::Zeroizing;

/// An ECDSA P-256 key.
pub struct P256Signer {
    key: EcdsaKeyPair,
    spki_der: Vec<u8>,
}

impl P256Signer {
    fn new(key: EcdsaKeyPair) -> Self {
        let algorithm = seq(&[&der::oid(oid::EC_PUBLIC_KEY), &der::oid(oid::P256)]);
        let spki_der = seq(&[&algorithm, &der::bits(key.public_key().as_ref())]);
        Self { key, spki_der }
    }

    /// Makes a key.
    ///
    /// # Errors
    /// [`X509Error::Random`] if the library has no random numbers.
    pub fn generate() -> Result<Self, X509Error> {
        EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map(Self::new).map_err(|_| X509Error::Random)
    }

    /// Reads an unencrypted PKCS#8 key (RFC 5958).
    ///
    /// # Errors
    /// [`X509Error::Key`] if it is not an ECDSA P-256 key.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, X509Error> {
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8)
            .map(Self::new)
            .map_err(|_| X509Error::Key("not an ECDSA P-256 key in PKCS#8"))
    }

    /// The key as PKCS#8; wiped when dropped.
    ///
    /// # Errors
    /// [`X509Error::Key`] if the library can't encode it.
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, X509Error> {
        let document = self.key.to_pkcs8v1().map_err(|_| X509Error::Key("it can't be encoded"))?;
        Ok(Zeroizing::new(document.as_ref().to_vec()))
    }
}

impl Signer for P256Signer {
    fn spki_der(&self) -> &[u8] {
        &self.spki_der
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::EcdsaP256Sha256
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, X509Error> {
        let rng = aws_lc_rs::rand::SystemRandom::new();
        self.key.sign(&rng, message).map(|s| s.as_ref().to_vec()).map_err(|_| X509Error::Signing)
    }
}

impl fmt::Debug for P256Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("P256Signer(sealed)")
    }
}

/// An RSA key of 2048 to 8192 bits that signs and decrypts.
pub struct RsaSigner {
    key: RsaKeyPair,
    pkcs1: Pkcs1PrivateDecryptingKey,
    oaep: OaepPrivateDecryptingKey,
    spki_der: Vec<u8>,
}

impl RsaSigner {
    /// Makes a key of 2048 bits, what phones expect of SCEP.
    ///
    /// # Errors
    /// [`X509Error::Random`] if the library has no random numbers.
    pub fn generate() -> Result<Self, X509Error> {
        Self::generate_of(KeySize::Rsa2048)
    }

    /// Makes a key of 3072 bits, as strong as P-256: for a CA that lives for years. A signature
    /// costs about three times as much as with [`RsaSigner::generate`].
    ///
    /// # Errors
    /// [`X509Error::Random`] if the library has no random numbers.
    pub fn generate_for_ca() -> Result<Self, X509Error> {
        Self::generate_of(KeySize::Rsa3072)
    }

    fn generate_of(size: KeySize) -> Result<Self, X509Error> {
        let key = RsaKeyPair::generate(size).map_err(|_| X509Error::Random)?;
        let pkcs8 = encode(&key)?;
        Self::from_pkcs8(&pkcs8)
    }

    /// Reads an unencrypted PKCS#8 key (RFC 5958).
    ///
    /// # Errors
    /// [`X509Error::Key`] if it is not an RSA key of 2048 to 8192 bits.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, X509Error> {
        const NOT_RSA: X509Error = X509Error::Key("not an RSA key of 2048 to 8192 bits in PKCS#8");
        let key = RsaKeyPair::from_pkcs8(pkcs8).map_err(|_| NOT_RSA)?;
        let bits = key.public_modulus_len() * 8;
        if !(RSA_MIN_BITS..=RSA_MAX_BITS).contains(&bits) {
            return Err(NOT_RSA);
        }
        let decrypting = || PrivateDecryptingKey::from_pkcs8(pkcs8).map_err(|_| NOT_RSA);
        let spki: PublicKeyX509Der<'_> = key.public_key().as_der().map_err(|_| NOT_RSA)?;
        let spki_der = spki.as_ref().to_vec();
        Ok(Self {
            pkcs1: Pkcs1PrivateDecryptingKey::new(decrypting()?).map_err(|_| NOT_RSA)?,
            oaep: OaepPrivateDecryptingKey::new(decrypting()?).map_err(|_| NOT_RSA)?,
            key,
            spki_der,
        })
    }

    /// The key as PKCS#8; wiped when dropped.
    ///
    /// # Errors
    /// [`X509Error::Key`] if the library can't encode it.
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, X509Error> {
        encode(&self.key)
    }

    /// What was encrypted to this key with RSAES-PKCS1-v1_5. None for any failure: the caller must
    /// not let the sender tell it from a success with a wrong key (Bleichenbacher, 1998).
    #[must_use]
    pub fn decrypt_pkcs1(&self, ciphertext: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let mut out = Zeroizing::new(vec![0; self.pkcs1.min_output_size()]);
        let len = self.pkcs1.decrypt(ciphertext, &mut out).ok()?.len();
        out.truncate(len);
        Some(out)
    }

    /// What was encrypted to this key with RSAES-OAEP, SHA-1 (RFC 8017's default, harmless here:
    /// OAEP does not rest on collision resistance) or SHA-256 for hash and mask alike. None for any
    /// failure, see [`RsaSigner::decrypt_pkcs1`].
    #[must_use]
    pub fn decrypt_oaep(&self, ciphertext: &[u8], sha256: bool) -> Option<Zeroizing<Vec<u8>>> {
        let algorithm = if sha256 { &OAEP_SHA256_MGF1SHA256 } else { &OAEP_SHA1_MGF1SHA1 };
        let mut out = Zeroizing::new(vec![0; self.oaep.min_output_size()]);
        let len = self.oaep.decrypt(algorithm, ciphertext, &mut out, None).ok()?.len();
        out.truncate(len);
        Some(out)
    }
}

fn encode(key: &RsaKeyPair) -> Result<Zeroizing<Vec<u8>>, X509Error> {
    let pkcs8: Pkcs8V1Der<'_> = key.as_der().map_err(|_| X509Error::Key("it can't be encoded"))?;
    Ok(Zeroizing::new(pkcs8.as_ref().to_vec()))
}

impl Signer for RsaSigner {
    fn spki_der(&self) -> &[u8] {
        &self.spki_der
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::RsaPkcs1Sha256
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, X509Error> {
        let rng = aws_lc_rs::rand::SystemRandom::new();
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(&RSA_PKCS1_SHA256, &rng, message, &mut signature).map_err(|_| X509Error::Signing)?;
        Ok(signature)
    }
}

impl fmt::Debug for RsaSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RsaSigner(sealed)")
    }
}

/// An RSA public key as a SubjectPublicKeyInfo (RFC 8017, A.1.1; RFC 3279, 2.3.1), from its big-endian numbers: for a
/// key that is held elsewhere.
#[must_use]
pub fn rsa_spki(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let key = seq(&[&der::unsigned(modulus), &der::unsigned(exponent)]);
    let algorithm = seq(&[&der::oid(oid::RSA), &tlv(tag::NULL, &[])]);
    seq(&[&algorithm, &der::bits(&key)])
}

/// Reads a stored key of either kind, for a CA that may have either.
///
/// # Errors
/// [`X509Error::Key`] if it is neither ECDSA P-256 nor RSA of 2048 to 8192 bits, in PKCS#8.
pub fn signer_from_pkcs8(pkcs8: &[u8]) -> Result<Box<dyn Signer>, X509Error> {
    if let Ok(key) = P256Signer::from_pkcs8(pkcs8) {
        return Ok(Box::new(key));
    }
    match RsaSigner::from_pkcs8(pkcs8) {
        Ok(key) => Ok(Box::new(key)),
        Err(_) => Err(X509Error::Key("neither ECDSA P-256 nor RSA of 2048 to 8192 bits in PKCS#8")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_pkcs8_and_says_nothing_in_debug() {
        let key = P256Signer::generate().unwrap();
        let again = P256Signer::from_pkcs8(&key.to_pkcs8().unwrap()).unwrap();
        assert_eq!(key.spki_der(), again.spki_der());
        assert_eq!(format!("{key:?}"), "P256Signer(sealed)");

        let key = RsaSigner::generate().unwrap();
        let again = RsaSigner::from_pkcs8(&key.to_pkcs8().unwrap()).unwrap();
        assert_eq!(key.spki_der(), again.spki_der());
        assert_eq!(format!("{key:?}"), "RsaSigner(sealed)");
    }

    #[test]
    fn an_rsa_keys_numbers_make_the_bytes_that_the_library_makes() {
        let key = RsaSigner::generate().unwrap();
        let mut numbers = der::Reader::new(key.key.public_key().as_ref());
        let mut numbers = numbers.expect(tag::SEQUENCE, "key").unwrap().inside();
        let [modulus, exponent] =
            [(); 2].map(|()| numbers.expect(tag::INTEGER, "number").unwrap().unsigned().unwrap());
        assert_eq!(rsa_spki(modulus, exponent), key.spki_der());
    }

    #[test]
    fn a_stored_key_of_either_kind_is_read() {
        let (ec, rsa) = (P256Signer::generate().unwrap(), RsaSigner::generate().unwrap());
        for (pkcs8, spki) in
            [(ec.to_pkcs8().unwrap(), ec.spki_der()), (rsa.to_pkcs8().unwrap(), rsa.spki_der())]
        {
            assert_eq!(signer_from_pkcs8(&pkcs8).unwrap().spki_der(), spki);
        }
        assert!(matches!(signer_from_pkcs8(b"no key"), Err(X509Error::Key(_))));
    }

    #[test]
    fn a_key_of_the_wrong_kind_is_refused() {
        let pkcs8 = P256Signer::generate().unwrap().to_pkcs8().unwrap();
        assert!(matches!(RsaSigner::from_pkcs8(&pkcs8), Err(X509Error::Key(_))));
        assert!(matches!(P256Signer::from_pkcs8(&pkcs8[1..]), Err(X509Error::Key(_))));
    }
}
