//! Certification requests (PKCS#10, RFC 2986): what a phone asks to have certified.
//!
//! Only the public key and the challenge are taken from one. Its subject and the extensions it
//! asks for are ignored: the template of [`crate::x509`] decides.

use crate::x509::verify::signature_scheme;
use crate::x509::{
    Algorithms, Malformed, PublicKey, Signer, X509Error,
    der::{self, Tlv, only, seq, tag, tlv},
    name, oid, signature_algorithm,
};
use std::fmt;
use zeroize::Zeroizing;

/// The largest request that is read.
pub const MAX_CSR_BYTES: usize = 16 * 1024;
/// The longest challenge that is read, in bytes of text.
pub const MAX_CHALLENGE_BYTES: usize = 1024;

/// A request whose signature was verified over the bytes as they came.
#[derive(Clone)]
pub struct Csr {
    /// The public key, DER `SubjectPublicKeyInfo`, as received.
    pub spki_der: Vec<u8>,
    /// What kind of key it is, and how large.
    pub key: PublicKey,
    /// The `challengePassword` (RFC 2985, 5.4.1), if there was one. A secret.
    pub challenge: Option<Zeroizing<String>>,
}

impl fmt::Debug for Csr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Csr").field("key", &self.key).field("challenge", &"sealed").finish_non_exhaustive()
    }
}

/// Why a request is refused. Always the phone's doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CsrRefused {
    /// More than [`MAX_CSR_BYTES`].
    #[error("the request is larger than 16 KiB")]
    TooLarge,
    /// Not a `CertificationRequest`.
    #[error("the request is malformed: {0}")]
    Malformed(Malformed),
    /// A key that is weak, huge or of another kind.
    #[error("the request's key is refused: {0}")]
    Key(&'static str),
    /// MD5, SHA-1 (unless admitted), PSS, or an algorithm that doesn't fit the key.
    #[error("the request's signature algorithm is refused")]
    SignatureAlgorithm,
    /// The signature is not the key's.
    #[error("the request's signature is wrong")]
    Signature,
    /// Given twice, too long, or not text.
    #[error("the request's challenge can't be read")]
    Challenge,
}

impl From<Malformed> for CsrRefused {
    fn from(m: Malformed) -> Self {
        Self::Malformed(m)
    }
}

/// Reads and verifies a request, with strong algorithms only.
///
/// # Errors
/// [`CsrRefused`] says why.
pub fn parse(der: &[u8]) -> Result<Csr, CsrRefused> {
    parse_with(der, Algorithms::Strong)
}

/// Reads and verifies a request; `admit` says whether its signature may use SHA-1.
///
/// # Errors
/// [`CsrRefused`] says why.
pub fn parse_with(der: &[u8], admit: Algorithms) -> Result<Csr, CsrRefused> {
    if der.len() > MAX_CSR_BYTES {
        return Err(CsrRefused::TooLarge);
    }
    let mut outer = only(der, tag::SEQUENCE, "it is not one sequence")?.inside();
    let info = outer.expect(tag::SEQUENCE, "it has no body")?;
    let algorithm = outer.expect(tag::SEQUENCE, "it has no signature algorithm")?;
    let signature = outer.expect(tag::BIT_STRING, "it has no signature")?.whole_bits()?;
    outer.finish("it has trailing elements")?;

    let mut body = info.inside();
    let version = body.expect(tag::INTEGER, "it has no version")?;
    if version.body != [0] {
        return Err(Malformed("its version is not 1").into());
    }
    body.expect(tag::SEQUENCE, "it has no subject")?;
    let spki = body.expect(tag::SEQUENCE, "it has no public key")?.full;
    // OpenSSL and others leave the attributes out when there are none.
    let attributes = body.optional(tag::context_constructed(0))?;
    body.finish("its body has trailing elements")?;

    let key = PublicKey::from_spki(spki).map_err(|e| match e {
        X509Error::PublicKey(why) => CsrRefused::Key(why),
        _ => CsrRefused::Key("it is malformed"),
    })?;
    let (hash, rsa) = signature_scheme(&algorithm)?.ok_or(CsrRefused::SignatureAlgorithm)?;
    if rsa != key.is_rsa() || !hash.admitted(admit) {
        return Err(CsrRefused::SignatureAlgorithm);
    }
    if !key.verifies(spki, hash, info.full, signature) {
        return Err(CsrRefused::Signature);
    }
    let challenge = attributes.map_or(Ok(None), |a| challenge(&a))?;
    Ok(Csr { spki_der: spki.to_vec(), key, challenge })
}

fn challenge(attributes: &Tlv<'_>) -> Result<Option<Zeroizing<String>>, CsrRefused> {
    let what = "its attributes are malformed";
    let mut all = attributes.inside();
    let mut found = None;
    while !all.is_empty() {
        let mut attribute = all.expect(tag::SEQUENCE, what)?.inside();
        let name = attribute.expect(tag::OID, what)?;
        let values = attribute.expect(tag::SET, what)?;
        attribute.finish(what)?;
        if name.body == oid::CHALLENGE_PASSWORD {
            let mut values = values.inside();
            let value = values.any()?;
            if !values.is_empty() || found.is_some() {
                return Err(CsrRefused::Challenge);
            }
            found = Some(text(&value)?);
        }
    }
    Ok(found)
}

/// A DirectoryString (or IA5String, which some clients send).
fn text(value: &Tlv<'_>) -> Result<Zeroizing<String>, CsrRefused> {
    let text = match value.tag {
        tag::UTF8 | tag::PRINTABLE | tag::IA5 | tag::TELETEX => {
            Zeroizing::new(std::str::from_utf8(value.body).map_err(|_| CsrRefused::Challenge)?.to_owned())
        }
        tag::BMP => {
            let (pairs, rest) = value.body.as_chunks::<2>();
            let units = Zeroizing::new(pairs.iter().map(|p| u16::from_be_bytes(*p)).collect::<Vec<u16>>());
            if !rest.is_empty() {
                return Err(CsrRefused::Challenge);
            }
            Zeroizing::new(String::from_utf16(&units).map_err(|_| CsrRefused::Challenge)?)
        }
        _ => return Err(CsrRefused::Challenge),
    };
    if text.len() > MAX_CHALLENGE_BYTES { Err(CsrRefused::Challenge) } else { Ok(text) }
}

/// Builds and signs a request, as a phone does.
///
/// # Errors
/// [`X509Error::NotIssued`] for a common name that is empty or over 64 characters;
/// [`X509Error::Signing`].
pub fn build(signer: &dyn Signer, common_name: &str, challenge: Option<&str>) -> Result<Vec<u8>, X509Error> {
    let attribute = challenge.map_or_else(Default::default, |text| {
        let value = Zeroizing::new(tlv(tag::UTF8, &[text.as_bytes()]));
        Zeroizing::new(seq(&[&der::oid(oid::CHALLENGE_PASSWORD), &Zeroizing::new(tlv(tag::SET, &[&value]))]))
    });
    let info = Zeroizing::new(seq(&[
        &der::unsigned(&[]),
        &name(None, common_name)?,
        signer.spki_der(),
        &der::context(0, &[&attribute]),
    ]));
    let signature = signer.sign(&info)?;
    Ok(seq(&[&info, &signature_algorithm(signer.algorithm()), &der::bits(&signature)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::{P256Signer, RsaSigner};
    use proptest::prelude::*;
    use std::sync::LazyLock;

    static VALID: LazyLock<Vec<u8>> =
        LazyLock::new(|| build(&P256Signer::generate().unwrap(), "phone", Some("a challenge")).unwrap());

    #[test]
    fn a_built_request_is_read_back_with_its_challenge_and_key() {
        let key = RsaSigner::generate().unwrap();
        let csr = parse(&build(&key, "phone", Some("Ä challenge")).unwrap()).unwrap();
        assert_eq!(csr.spki_der, key.spki_der());
        assert_eq!(csr.key, PublicKey::Rsa { bits: 2048 });
        assert_eq!(csr.challenge.as_ref().map(|c| c.as_str()), Some("Ä challenge"));
        assert!(!format!("{csr:?}").contains("challenge\")"));
        assert!(parse(&build(&key, "phone", None).unwrap()).unwrap().challenge.is_none());
    }

    #[test]
    fn a_request_signed_by_another_key_is_refused() {
        struct Liar(P256Signer, P256Signer);
        impl Signer for Liar {
            fn spki_der(&self) -> &[u8] {
                self.0.spki_der()
            }
            fn algorithm(&self) -> crate::x509::SignatureAlgorithm {
                self.0.algorithm()
            }
            fn sign(&self, message: &[u8]) -> Result<Vec<u8>, X509Error> {
                self.1.sign(message)
            }
        }
        let liar = Liar(P256Signer::generate().unwrap(), P256Signer::generate().unwrap());
        let der = build(&liar, "phone", None).unwrap();
        assert_eq!(parse(&der).unwrap_err(), CsrRefused::Signature);
    }

    #[test]
    fn a_challenge_longer_than_the_bound_is_refused() {
        let key = P256Signer::generate().unwrap();
        let der = build(&key, "phone", Some(&"x".repeat(MAX_CHALLENGE_BYTES + 1))).unwrap();
        assert_eq!(parse(&der).unwrap_err(), CsrRefused::Challenge);
        assert_eq!(parse(&vec![0x30; MAX_CSR_BYTES + 1]).unwrap_err(), CsrRefused::TooLarge);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn arbitrary_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            prop_assert!(parse(&bytes).is_err());
        }

        #[test]
        fn a_request_with_any_byte_changed_or_cut_off_is_refused(at in any::<prop::sample::Index>(), flip in 1u8..) {
            let mut bytes = VALID.clone();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert!(parse(&bytes).is_err());
            prop_assert!(parse(&VALID[..at]).is_err());
        }
    }
}
