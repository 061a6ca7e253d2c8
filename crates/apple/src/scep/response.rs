//! Answering a request: `CertRep` (RFC 8894, section 3.3.2).

use super::{Context, FailInfo, RaKey, Random};
use crate::cms::signed::{Content, attribute, certificates_only, sign};
use crate::cms::{CmsError, enveloped};
use crate::x509::der::{self, tag, tlv};
use crate::x509::{Certificate, oid};

/// The issued certificate, with the `chain` above it, encrypted to the requester and signed by the
/// RA (SHA-256), to be sent as [`super::PKI_MESSAGE_TYPE`].
///
/// # Errors
/// [`CmsError::Own`] if our keys or random numbers fail, [`CmsError::Recipient`] if the requester's
/// certificate in `context` is not RSA.
pub fn success(
    context: &Context,
    issued_cert_der: &[u8],
    chain: &[&[u8]],
    ra: &RaKey,
    rng: &dyn Random,
) -> Result<Vec<u8>, CmsError> {
    let mut certificates = vec![issued_cert_der];
    certificates.extend_from_slice(chain);
    let requester = Certificate::parse(&context.requester_cert)?;
    let envelope = enveloped::seal(&certificates_only(&certificates), &requester, context.cipher, rng)?;
    cert_rep(context, Content::Attached(&envelope), "0", None, ra, rng)
}

/// A signed refusal.
///
/// # Errors
/// [`CmsError::Own`] if our keys or random numbers fail.
pub fn failure(context: &Context, info: FailInfo, ra: &RaKey, rng: &dyn Random) -> Result<Vec<u8>, CmsError> {
    cert_rep(context, Content::Absent, "2", Some(info), ra, rng)
}

fn cert_rep(
    context: &Context,
    content: Content<'_>,
    status: &str,
    info: Option<FailInfo>,
    ra: &RaKey,
    rng: &dyn Random,
) -> Result<Vec<u8>, CmsError> {
    let mut nonce = [0u8; 16];
    rng.fill(&mut nonce)?;
    let text = |id: u8, text: &str| attribute(&oid::scep(id), &tlv(tag::PRINTABLE, &[text.as_bytes()]));
    let mut attributes = vec![
        text(2, "3"),
        text(3, status),
        attribute(&oid::scep(5), &der::octets(&nonce)),
        attribute(&oid::scep(6), &der::octets(&context.sender_nonce)),
        text(7, &context.transaction_id),
    ];
    if let Some(info) = info {
        attributes.push(text(4, &(info as u8).to_string()));
    }
    sign(content, &ra.signer, &[&ra.cert_der], attributes)
}
