//! The phone's end: making a request, opening the answer.

use super::{ContentCipher, FailInfo, Random};
use crate::cms::enveloped::{Enveloped, seal};
use crate::cms::signed::{Content, SignedData, attribute, sign};
use crate::cms::{CmsError, normalise};
use crate::x509::der::{self, Malformed, tag, tlv};
use crate::x509::{Algorithms, Certificate, RsaSigner, oid};

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
    let ra = Certificate::parse(request.ra_cert)?;
    let envelope = seal(request.csr_der, &ra, request.cipher, rng)?;
    let text = |id: u8, text: &str| attribute(&oid::scep(id), &tlv(tag::PRINTABLE, &[text.as_bytes()]));
    let attributes = vec![
        text(2, "19"),
        attribute(&oid::scep(5), &der::octets(&request.sender_nonce)),
        text(7, request.transaction_id),
    ];
    sign(Content::Attached(&envelope), request.signer, &[request.signer_cert], attributes)
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

/// The RA's and the CA's certificates, DER, out of the answer to `GetCACert` as [`super::ca_cert`]
/// gives it. Which is which: [`Certificate::is_ca`].
///
/// # Errors
/// [`CmsError::Malformed`].
pub fn open_ca_cert(body: &[u8]) -> Result<Vec<Vec<u8>>, CmsError> {
    let der = normalise(body)?;
    Ok(SignedData::parse(&der)?.certificates.iter().map(|c| c.to_vec()).collect())
}

/// Opens a `CertRep`: checks that the RA signed it, that it answers this request, and decrypts it.
///
/// # Errors
/// [`CmsError`] says what could not be believed.
pub fn open_cert_rep(body: &[u8], request: &Request<'_>, rng: &dyn Random) -> Result<Answer, CmsError> {
    let der = normalise(body)?;
    let message = SignedData::parse(&der)?;
    let content = message.content.unwrap_or_default();
    let (signer, certificate) = message.verify(content, Algorithms::AdmitOld)?;
    if certificate.as_der() != request.ra_cert {
        return Err(CmsError::Signer("it is not the RA"));
    }
    let value = |id: u8| -> Result<&[u8], CmsError> {
        let attribute = signer.attribute(&oid::scep(id))?;
        Ok(attribute.ok_or(Malformed("a SCEP attribute is missing"))?.body)
    };
    if value(2)? != b"3"
        || value(6)? != request.sender_nonce
        || value(7)? != request.transaction_id.as_bytes()
    {
        return Err(CmsError::Malformed(Malformed("it answers another request")));
    }
    match value(3)? {
        b"0" => {}
        b"2" => return Ok(Answer::Refused(FailInfo::from_text(value(4)?))),
        b"3" => return Ok(Answer::Pending),
        _ => return Err(CmsError::Malformed(Malformed("its status is unknown"))),
    }
    let envelope = normalise(content)?;
    let own = Certificate::parse(request.signer_cert)?;
    let envelope = Enveloped::parse(&envelope, &own, Algorithms::AdmitOld)?;
    let plain = envelope.open(request.signer, rng)?.ok_or(CmsError::Decryption)?;
    Ok(Answer::Issued(open_ca_cert(&plain)?))
}
