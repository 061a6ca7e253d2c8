//! Public keys and signatures of others: which are accepted, and the check.

use super::der::{Malformed, Reader, Tlv, only, tag};
use super::{Algorithms, RSA_MAX_BITS, RSA_MIN_BITS, X509Error, oid};
use aws_lc_rs::digest;
use aws_lc_rs::signature::{self as sig, ParsedPublicKey, VerificationAlgorithm};

/// A hash function named in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    /// The hash that an OID names; none for MD5 and whatever else.
    pub(crate) fn from_oid(content: &[u8]) -> Option<Self> {
        match content {
            oid::SHA1 => Some(Self::Sha1),
            oid::SHA256 => Some(Self::Sha256),
            oid::SHA384 => Some(Self::Sha384),
            oid::SHA512 => Some(Self::Sha512),
            _ => None,
        }
    }

    /// May it be used?
    pub(crate) fn admitted(self, admit: Algorithms) -> bool {
        self != Self::Sha1 || admit == Algorithms::AdmitOld
    }

    pub(crate) fn digest(self, message: &[u8]) -> digest::Digest {
        let algorithm = match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        };
        digest::digest(algorithm, message)
    }
}

/// The hash of a `signatureAlgorithm` in a certificate or CSR, and whether the key is RSA; None for
/// an algorithm that is never accepted.
pub(crate) fn signature_scheme(algorithm: &Tlv<'_>) -> Result<Option<(Hash, bool)>, Malformed> {
    let name = algorithm.inside().expect(tag::OID, "an algorithm has no name")?;
    Ok(match name.body {
        oid::SHA1_WITH_RSA => Some((Hash::Sha1, true)),
        oid::SHA256_WITH_RSA => Some((Hash::Sha256, true)),
        oid::SHA384_WITH_RSA => Some((Hash::Sha384, true)),
        oid::SHA512_WITH_RSA => Some((Hash::Sha512, true)),
        oid::ECDSA_SHA256 => Some((Hash::Sha256, false)),
        oid::ECDSA_SHA384 => Some((Hash::Sha384, false)),
        oid::ECDSA_SHA512 => Some((Hash::Sha512, false)),
        _ => None,
    })
}

/// A public key that Matron accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublicKey {
    /// RSA, 2048 to 8192 bits.
    Rsa {
        /// The modulus' size in bits.
        bits: usize,
    },
    /// ECDSA over P-256.
    P256,
    /// ECDSA over P-384.
    P384,
}

impl PublicKey {
    /// Looks at a DER `SubjectPublicKeyInfo`, with nothing after it.
    ///
    /// # Errors
    /// [`X509Error::PublicKey`] for a key of another kind, of a size outside the limits, not on its
    /// curve, or with a public exponent that is even or not between 3 and 33 bits.
    pub fn from_spki(spki_der: &[u8]) -> Result<Self, X509Error> {
        const BAD: X509Error = X509Error::PublicKey("it is malformed");
        let shape = || -> Result<_, Malformed> {
            let what = "a public key is malformed";
            let mut inside = only(spki_der, tag::SEQUENCE, what)?.inside();
            let mut algorithm = inside.expect(tag::SEQUENCE, what)?.inside();
            let name = algorithm.expect(tag::OID, what)?;
            let parameters = if algorithm.is_empty() { None } else { Some(algorithm.any()?) };
            algorithm.finish(what)?;
            let bits = inside.expect(tag::BIT_STRING, what)?.whole_bits()?;
            inside.finish(what)?;
            Ok((name.body, parameters, bits))
        };
        let (name, parameters, bits) = shape().map_err(|_| BAD)?;
        let curve = parameters.filter(|p| p.tag == tag::OID).map(|p| p.body);
        let key = match (name, curve) {
            (oid::RSA, _) if parameters.is_some_and(|p| p.full == [tag::NULL, 0]) => rsa_key(bits)?,
            (oid::EC_PUBLIC_KEY, Some(oid::P256)) if bits.len() == 65 && bits.first() == Some(&4) => {
                Self::P256
            }
            (oid::EC_PUBLIC_KEY, Some(oid::P384)) if bits.len() == 97 && bits.first() == Some(&4) => {
                Self::P384
            }
            (oid::RSA | oid::EC_PUBLIC_KEY, _) => {
                return Err(X509Error::PublicKey("its parameters are not accepted"));
            }
            _ => return Err(X509Error::PublicKey("it is neither RSA nor ECDSA")),
        };
        // The library's own checks: on the curve, a sound modulus and exponent.
        key.parse(spki_der, Hash::Sha256).ok_or(BAD)?;
        Ok(key)
    }

    fn parse(self, spki_der: &[u8], hash: Hash) -> Option<ParsedPublicKey> {
        ParsedPublicKey::new(self.verification(hash)?, spki_der).ok()
    }

    fn verification(self, hash: Hash) -> Option<&'static dyn VerificationAlgorithm> {
        Some(match (self, hash) {
            (Self::Rsa { .. }, Hash::Sha1) => &sig::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
            (Self::Rsa { .. }, Hash::Sha256) => &sig::RSA_PKCS1_2048_8192_SHA256,
            (Self::Rsa { .. }, Hash::Sha384) => &sig::RSA_PKCS1_2048_8192_SHA384,
            (Self::Rsa { .. }, Hash::Sha512) => &sig::RSA_PKCS1_2048_8192_SHA512,
            (Self::P256, Hash::Sha256) => &sig::ECDSA_P256_SHA256_ASN1,
            (Self::P256, Hash::Sha384) => &sig::ECDSA_P256_SHA384_ASN1,
            (Self::P256, Hash::Sha512) => &sig::ECDSA_P256_SHA512_ASN1,
            (Self::P384, Hash::Sha256) => &sig::ECDSA_P384_SHA256_ASN1,
            (Self::P384, Hash::Sha384) => &sig::ECDSA_P384_SHA384_ASN1,
            (Self::P384, Hash::Sha512) => &sig::ECDSA_P384_SHA512_ASN1,
            (Self::P256 | Self::P384, Hash::Sha1) => return None,
        })
    }

    /// Is `signature` this key's over `message`?
    pub(crate) fn verifies(self, spki_der: &[u8], hash: Hash, message: &[u8], signature: &[u8]) -> bool {
        self.parse(spki_der, hash).is_some_and(|key| key.verify_sig(message, signature).is_ok())
    }

    /// Is it RSA?
    #[must_use]
    pub fn is_rsa(self) -> bool {
        matches!(self, Self::Rsa { .. })
    }
}

/// Measures an `RSAPublicKey` (RFC 8017, A.1.1).
fn rsa_key(bits: &[u8]) -> Result<PublicKey, X509Error> {
    let shape = || -> Result<_, Malformed> {
        let what = "an RSA key is malformed";
        let mut inside = only(bits, tag::SEQUENCE, what)?.inside();
        let modulus = inside.expect(tag::INTEGER, what)?.unsigned()?;
        let exponent = inside.expect(tag::INTEGER, what)?.unsigned()?;
        inside.finish(what)?;
        Ok((bit_len(modulus), bit_len(exponent)))
    };
    let (modulus_bits, exponent_bits) = shape().map_err(|_| X509Error::PublicKey("it is malformed"))?;
    if modulus_bits < RSA_MIN_BITS {
        return Err(X509Error::PublicKey("RSA keys need 2048 bits or more"));
    }
    if modulus_bits > RSA_MAX_BITS {
        return Err(X509Error::PublicKey("RSA keys have 8192 bits at most"));
    }
    if !(2..=33).contains(&exponent_bits) {
        return Err(X509Error::PublicKey("its public exponent is not accepted"));
    }
    Ok(PublicKey::Rsa { bits: modulus_bits })
}

fn bit_len(magnitude: &[u8]) -> usize {
    magnitude.first().map_or(0, |first| magnitude.len() * 8 - first.leading_zeros() as usize)
}

/// Reads an AlgorithmIdentifier's OID content and its parameters.
pub(crate) fn algorithm<'a>(
    reader: &mut Reader<'a>,
    what: &'static str,
) -> Result<(&'a [u8], Option<Tlv<'a>>), Malformed> {
    let mut inside = reader.expect(tag::SEQUENCE, what)?.inside();
    let name = inside.expect(tag::OID, what)?.body;
    let parameters = if inside.is_empty() { None } else { Some(inside.any()?) };
    inside.finish(what)?;
    Ok((name, parameters))
}
