//! Cryptographic Message Syntax (RFC 5652): what profiles and SCEP need of it.

mod ber;
pub(crate) mod enveloped;
pub(crate) mod signed;

use crate::x509::{Algorithms, Malformed, Signer, X509Error, oid, read_time, write_time};
pub(crate) use ber::normalise;
use model::clock::TimeMs;
use signed::{Content, SignedData, attribute};

/// The largest message that is read, in bytes.
pub const MAX_CMS_BYTES: usize = 4 * 1024 * 1024;

/// How content is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum ContentCipher {
    /// AES-128 in CBC mode.
    #[n(0)]
    Aes128,
    /// AES-256 in CBC mode.
    #[n(1)]
    Aes256,
    /// Triple DES in CBC mode: only under [`Algorithms::AdmitOld`].
    #[n(2)]
    TripleDes,
    /// Single DES in CBC mode, no protection at all: only under [`Algorithms::AdmitOld`]. It is what
    /// the SCEP libraries in Go send (micromdm's `scepclient`, the device simulator mdmb).
    #[n(3)]
    SingleDes,
}

/// Why a message could not be made, read or believed. Names elements, never their content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CmsError {
    /// The sender's: larger than the bound.
    #[error("the message is too large")]
    TooLarge,
    /// The sender's: not the CMS that was expected.
    #[error("the message is malformed: {0}")]
    Malformed(#[from] Malformed),
    /// The sender's: an algorithm that is not accepted.
    #[error("the message uses an algorithm that is not accepted")]
    Algorithm,
    /// The sender's: no signer's certificate in it, or a key that is refused.
    #[error("the message's signer is refused: {0}")]
    Signer(&'static str),
    /// The sender's: digest or signature do not fit.
    #[error("the message's signature is wrong")]
    Signature,
    /// The sender's: it is not encrypted to us, or can't be encrypted to them (RSA keys alone can).
    #[error("the message has no recipient that fits")]
    Recipient,
    /// The sender's: it can't be decrypted, for whatever reason.
    #[error("the message can't be decrypted")]
    Decryption,
    /// Ours: a key or certificate of our own.
    #[error(transparent)]
    Own(#[from] X509Error),
}

/// Signs `content` (SHA-256; attributes contentType, messageDigest, signingTime) and carries it and
/// the certificates along: what an enrolment profile is served as. `cert_chain` begins with the
/// signer's own certificate; give the intermediate ones too, the root may be left out.
///
/// # Errors
/// [`CmsError::Signer`] if the first certificate isn't the signer's; [`CmsError::Own`].
pub fn sign_attached(
    content: &[u8],
    signer: &dyn Signer,
    cert_chain: &[&[u8]],
    signing_time_ms: TimeMs,
) -> Result<Vec<u8>, CmsError> {
    let time = write_time(signing_time_ms)
        .ok_or(X509Error::NotIssued("a time lies outside the years 1950 to 9999"))?;
    signed::sign(Content::Attached(content), signer, cert_chain, vec![attribute(oid::SIGNING_TIME, &time)])
}

/// Signs `content` (SHA-256) without carrying it along: Apple's `Mdm-Signature`, as a phone makes it.
/// `cert_chain` begins with the signer's own certificate. Some systems sign the time too, others don't.
///
/// # Errors
/// As [`sign_attached`].
pub fn sign_detached(
    content: &[u8],
    signer: &dyn Signer,
    cert_chain: &[&[u8]],
    signing_time_ms: Option<TimeMs>,
) -> Result<Vec<u8>, CmsError> {
    let mut attributes = Vec::new();
    if let Some(at_ms) = signing_time_ms {
        let time =
            write_time(at_ms).ok_or(X509Error::NotIssued("a time lies outside the years 1950 to 9999"))?;
        attributes.push(attribute(oid::SIGNING_TIME, &time));
    }
    signed::sign(Content::Detached(content), signer, cert_chain, attributes)
}

/// The content of a signed message (BER or DER), after its digest and signature were verified with
/// the signer's certificate that it carries. That proves integrity, not who signed: the certificate
/// may be anyone's. Strong algorithms only.
///
/// # Errors
/// [`CmsError`] says why.
pub fn unwrap_signed(message: &[u8]) -> Result<Vec<u8>, CmsError> {
    Ok(unwrap_signed_by(message)?.content)
}

/// A signed content and who signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// What was signed.
    pub content: Vec<u8>,
    /// The certificate (DER) whose key signed it; nobody has vouched for it yet.
    pub certificate_der: Vec<u8>,
}

/// [`unwrap_signed`], with the signer's certificate.
///
/// # Errors
/// [`CmsError`] says why.
pub fn unwrap_signed_by(message: &[u8]) -> Result<Attached, CmsError> {
    let der = normalise_bounded(message)?;
    let data = SignedData::parse(&der)?;
    let content = data.content.ok_or(Malformed("signed data has no content"))?;
    let (_, certificate) = data.verify(content, Algorithms::Strong)?;
    Ok(Attached { content: content.to_vec(), certificate_der: certificate.as_der().to_vec() })
}

/// Verifies a detached signature over `content` (embedded content is ignored) and gives the signer's
/// certificate, DER, whose own chain the caller checks: Apple's `Mdm-Signature`. `admit` says whether
/// SHA-1 is taken.
///
/// # Errors
/// [`CmsError`] says why.
pub fn verify_detached(message: &[u8], content: &[u8], admit: Algorithms) -> Result<Vec<u8>, CmsError> {
    Ok(verify_detached_when(message, content, admit)?.certificate_der)
}

/// What a detached signature says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detached {
    /// The signer's certificate, whose own chain the caller checks.
    pub certificate_der: Vec<u8>,
    /// When it was signed, if the signer signed that.
    pub signing_time_ms: Option<TimeMs>,
}

/// [`verify_detached`], with the time of signing where the signature holds one.
///
/// # Errors
/// [`CmsError`] says why.
pub fn verify_detached_when(message: &[u8], content: &[u8], admit: Algorithms) -> Result<Detached, CmsError> {
    let der = normalise_bounded(message)?;
    let data = SignedData::parse(&der)?;
    let (signer, certificate) = data.verify(content, admit)?;
    let signing_time_ms = match signer.attribute(oid::SIGNING_TIME)? {
        Some(time) => Some(read_time(&time)?),
        None => None,
    };
    Ok(Detached { certificate_der: certificate.as_der().to_vec(), signing_time_ms })
}

fn normalise_bounded(message: &[u8]) -> Result<Vec<u8>, CmsError> {
    if message.len() > MAX_CMS_BYTES { Err(CmsError::TooLarge) } else { Ok(normalise(message)?) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::{P256Signer, Window, self_signed_request_certificate};
    use proptest::prelude::*;
    use std::sync::LazyLock;

    const CONTENT: &[u8] = b"<plist/>";
    static SIGNED: LazyLock<(Vec<u8>, Vec<u8>)> = LazyLock::new(|| {
        let key = P256Signer::generate().unwrap();
        let window = Window { not_before_ms: 0, not_after_ms: 1000 };
        let cert = self_signed_request_certificate(&key, "signer", [7; 16], window).unwrap();
        (sign_attached(CONTENT, &key, &[&cert], 1_790_000_000_000).unwrap(), cert)
    });

    #[test]
    fn a_signed_content_is_unwrapped_as_it_was() {
        assert_eq!(unwrap_signed(&SIGNED.0).unwrap(), CONTENT);
        assert_eq!(verify_detached(&SIGNED.0, CONTENT, Algorithms::Strong).unwrap(), SIGNED.1);
    }

    #[test]
    fn another_content_than_the_signed_one_is_refused() {
        assert_eq!(
            verify_detached(&SIGNED.0, b"<plist></plist>", Algorithms::Strong),
            Err(CmsError::Signature)
        );
    }

    #[test]
    fn a_detached_signature_is_over_the_body_that_travels_beside_it() {
        let key = P256Signer::generate().unwrap();
        let window = Window { not_before_ms: 0, not_after_ms: 4_000_000_000_000 };
        let certificate = self_signed_request_certificate(&key, "Phone", [1; 16], window).unwrap();
        for time in [None, Some(1_790_000_000_000)] {
            let signed = sign_detached(CONTENT, &key, &[&certificate], time).unwrap();
            let found = verify_detached_when(&signed, CONTENT, Algorithms::Strong).unwrap();
            assert_eq!(found, Detached { certificate_der: certificate.clone(), signing_time_ms: time });
            assert!(unwrap_signed(&signed).is_err(), "there is no content in it");
            let other = verify_detached_when(&signed, b"<plist></plist>", Algorithms::Strong);
            assert_eq!(other, Err(CmsError::Signature));
        }
        // Content that it does carry counts for nothing.
        let attached = sign_attached(b"<plist></plist>", &key, &[&certificate], 0).unwrap();
        let over = verify_detached_when(&attached, CONTENT, Algorithms::Strong);
        assert_eq!(over, Err(CmsError::Signature));
    }

    #[test]
    fn a_certificate_of_another_key_does_not_sign() {
        let key = P256Signer::generate().unwrap();
        assert!(matches!(sign_attached(CONTENT, &key, &[&SIGNED.1], 0), Err(CmsError::Signer(_))));
        assert!(matches!(sign_attached(CONTENT, &key, &[], 0), Err(CmsError::Signer(_))));
    }

    #[test]
    fn a_message_over_the_bound_is_refused() {
        assert_eq!(unwrap_signed(&vec![0x30; MAX_CMS_BYTES + 1]), Err(CmsError::TooLarge));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn arbitrary_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            prop_assert!(unwrap_signed(&bytes).is_err());
        }

        #[test]
        fn a_changed_byte_never_changes_the_content_unnoticed(at in any::<prop::sample::Index>(), flip in 1u8..) {
            let mut bytes = SIGNED.0.clone();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            // Bytes that nothing signs (a digest list, the certificate's own signature) may change.
            if let Ok(content) = unwrap_signed(&bytes) {
                prop_assert_eq!(content, CONTENT);
            }
            prop_assert!(unwrap_signed(&SIGNED.0[..at]).is_err());
        }
    }
}
