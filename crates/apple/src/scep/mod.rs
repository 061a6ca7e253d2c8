//! SCEP (RFC 8894), both ends: what a registration authority reads and answers, and a client for
//! simulated phones and tests.
//!
//! `GetCACaps` → [`ca_caps`]; `GetCACert` → [`ca_cert`]; `PKIOperation` → [`request::open`], then
//! [`response::success`] or [`response::failure`].

pub mod client;
pub mod request;
pub mod response;
mod sealed;

pub use crate::cms::ContentCipher;
use crate::cms::{CmsError, signed::certificates_only};
use crate::csr::CsrRefused;
pub use crate::x509::Algorithms;
pub use crate::x509::Random;
use crate::x509::{Malformed, RsaSigner, X509Error};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
pub use sealed::SealedRequest;

/// `Content-Type` of the answer to `GetCACaps`.
pub const CA_CAPS_TYPE: &str = "text/plain";
/// `Content-Type` of the answer to `GetCACert` (CA and RA, RFC 8894 section 4.2.1.2).
pub const CA_CERT_TYPE: &str = "application/x-x509-ca-ra-cert";
/// `Content-Type` of a `PKIOperation`, both ways.
pub const PKI_MESSAGE_TYPE: &str = "application/x-pki-message";
/// The largest `PKIOperation` body that is read, in bytes.
pub const MAX_REQUEST_BYTES: usize = 64 * 1024;

/// The RA's key with its certificate.
#[derive(Debug)]
pub struct RaKey {
    signer: RsaSigner,
    cert_der: Vec<u8>,
}

impl RaKey {
    /// Puts the two together.
    ///
    /// # Errors
    /// [`X509Error::Key`] if the certificate is not this key's; [`X509Error::Malformed`].
    pub fn new(signer: RsaSigner, cert_der: Vec<u8>) -> Result<Self, X509Error> {
        if crate::x509::Certificate::parse(&cert_der)?.spki_der() != crate::x509::Signer::spki_der(&signer) {
            return Err(X509Error::Key("the RA's certificate is another key's"));
        }
        Ok(Self { signer, cert_der })
    }

    /// The RA's certificate, DER.
    #[must_use]
    pub fn cert_der(&self) -> &[u8] {
        &self.cert_der
    }
}

/// What is needed to answer a request later; nothing in it is secret. The requester's certificate
/// has the subject that the enrolment profile asked for, which says nothing of the person.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Context {
    /// The client's `transactionID`: printable ASCII, 1 to 128 characters.
    #[n(0)]
    pub transaction_id: String,
    /// The client's `senderNonce`, returned as `recipientNonce`: 1 to 64 bytes.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub sender_nonce: Vec<u8>,
    /// The certificate that signed the request and to which the answer is encrypted, DER.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub requester_cert: Vec<u8>,
    /// How to encrypt the answer.
    #[n(3)]
    pub cipher: ContentCipher,
}

impl Context {
    /// Writes it as CBOR.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        minicbor::to_vec(self).unwrap_or_default()
    }

    /// Reads what [`Context::to_bytes`] wrote; None for anything else.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut decoder = minicbor::Decoder::new(bytes);
        let context = decoder.decode().ok()?;
        (decoder.position() == bytes.len()).then_some(context)
    }
}

/// Why a certificate is not given (RFC 8894, section 3.2.1.4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailInfo {
    /// An algorithm or key that is not accepted.
    BadAlg = 0,
    /// Signature or decryption failed.
    BadMessageCheck = 1,
    /// A request that is not permitted or not supported.
    BadRequest = 2,
    /// The signing time is off.
    BadTime = 3,
    /// No certificate fits.
    BadCertId = 4,
}

impl FailInfo {
    /// The reason that a response's attribute names.
    fn from_text(text: &[u8]) -> Option<Self> {
        match text {
            b"0" => Some(Self::BadAlg),
            b"1" => Some(Self::BadMessageCheck),
            b"2" => Some(Self::BadRequest),
            b"3" => Some(Self::BadTime),
            b"4" => Some(Self::BadCertId),
            _ => None,
        }
    }
}

/// The kinds of request that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageType {
    /// PKCSReq (19): a first certificate, permitted by the challenge.
    PkcsReq,
    /// RenewalReq (17): signed with the certificate that is to be renewed. Whether that was issued
    /// here is for the caller to check; [`ca_caps`] does not offer it.
    RenewalReq,
}

/// Why a request can't be honoured. Always the client's doing, but for [`Reason::Ours`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Over [`MAX_REQUEST_BYTES`].
    #[error("the request is larger than 64 KiB")]
    TooLarge,
    /// Not a SCEP message.
    #[error("the request is malformed: {0}")]
    Malformed(&'static str),
    /// An algorithm that is off or unknown.
    #[error("the request uses an algorithm that is not accepted: {0}")]
    Algorithm(&'static str),
    /// The outer signature's signer: none, several, or a key that is weak or of another kind.
    #[error("the request's signer is refused: {0}")]
    Signer(&'static str),
    /// The outer signature is wrong.
    #[error("the request's signature is wrong")]
    Signature,
    /// It can't be decrypted: one reason for every way in which that fails.
    #[error("the request can't be decrypted")]
    Decryption,
    /// A message type other than PKCSReq and RenewalReq.
    #[error("the request's message type {0} is not supported")]
    MessageType(u32),
    /// The certification request inside.
    #[error(transparent)]
    Csr(#[from] CsrRefused),
    /// Ours: our own keys or random numbers failed.
    #[error(transparent)]
    Ours(#[from] X509Error),
}

/// A request that can't be honoured, and whom to tell.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct ScepError {
    /// Why.
    pub reason: Reason,
    /// With what to make a signed refusal by [`response::failure`]; None if the message's signature
    /// or header could not be believed: answer HTTP 400.
    pub answer: Option<Box<Context>>,
}

impl ScepError {
    /// What to tell the client. Whatever fails between decryption and the certification request's
    /// signature is told as one: until then the content may be a captured one that was altered, and
    /// a distinction would decrypt it. Log [`ScepError::reason`] instead, which says more.
    #[must_use]
    pub fn fail_info(&self) -> FailInfo {
        match &self.reason {
            Reason::Algorithm(_) | Reason::Signer(_) => FailInfo::BadAlg,
            Reason::Signature | Reason::Decryption | Reason::Csr(_) => FailInfo::BadMessageCheck,
            Reason::TooLarge | Reason::Malformed(_) | Reason::MessageType(_) | Reason::Ours(_) => {
                FailInfo::BadRequest
            }
        }
    }
}

/// The answer to `GetCACaps` (RFC 8894, section 3.5.2): one capability a line, of which clients
/// ignore those they don't know. What [`Algorithms::AdmitOld`] admits is not offered.
///
/// `SCEPStandard` implies AES, SHA-256 and POST, which are listed for clients older than the RFC.
/// `SHA-384` is not in the RFC's list; it is accepted here, and strongSwan 5.9.8, which compares
/// these flags by the wrong bits, takes AES for unsupported without it.
#[must_use]
pub fn ca_caps() -> &'static str {
    "AES\nPOSTPKIOperation\nSCEPStandard\nSHA-256\nSHA-384\nSHA-512\n"
}

/// The answer to `GetCACert`: a certificates-only CMS message of the RA's and the CA's certificate,
/// to be sent as [`CA_CERT_TYPE`]. If the CA's key is not RSA, clients of the Go family can't use it,
/// see [`crate::x509`].
#[must_use]
pub fn ca_cert(ra_cert_der: &[u8], ca_cert_der: &[u8]) -> Vec<u8> {
    certificates_only(&[ra_cert_der, ca_cert_der])
}

/// The bytes of a `PKIOperation` by GET, from its `message` parameter, whose percent signs may
/// still be encoded. Forgives what clients and proxies do to base64: a plus sign turned into a
/// space, the URL alphabet, missing padding, line ends.
///
/// Of a POST only the body counts: mdmb sends the message in the query as well, raw.
///
/// # Errors
/// [`Reason::TooLarge`] or [`Reason::Malformed`].
pub fn decode_get_message(message: &str) -> Result<Vec<u8>, Reason> {
    if message.len() > MAX_REQUEST_BYTES * 4 {
        return Err(Reason::TooLarge);
    }
    let mut text = Vec::with_capacity(message.len());
    let mut input = message.bytes();
    while let Some(c) = input.next() {
        let c = if c == b'%' {
            hex(input.next()).and_then(|h| Some(h << 4 | hex(input.next())?))
        } else {
            Some(c)
        };
        match c.ok_or(NOT_BASE64)? {
            b' ' | b'-' => text.push(b'+'),
            b'_' => text.push(b'/'),
            b'\r' | b'\n' | b'=' => {}
            other => text.push(other),
        }
    }
    let bytes = BASE64.decode(text).map_err(|_| NOT_BASE64)?;
    if bytes.len() > MAX_REQUEST_BYTES { Err(Reason::TooLarge) } else { Ok(bytes) }
}

const NOT_BASE64: Reason = Reason::Malformed("it is not base64");
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

fn hex(digit: Option<u8>) -> Option<u8> {
    char::from(digit?).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

impl From<Malformed> for Reason {
    fn from(m: Malformed) -> Self {
        Self::Malformed(m.0)
    }
}

impl From<CmsError> for Reason {
    fn from(e: CmsError) -> Self {
        match e {
            CmsError::TooLarge => Self::TooLarge,
            CmsError::Malformed(m) => m.into(),
            CmsError::Algorithm => Self::Algorithm("its encryption"),
            CmsError::Signer(why) => Self::Signer(why),
            CmsError::Signature => Self::Signature,
            CmsError::Recipient => Self::Malformed("it is not encrypted to the RA"),
            CmsError::Decryption => Self::Decryption,
            CmsError::Own(e) => Self::Ours(e),
        }
    }
}
