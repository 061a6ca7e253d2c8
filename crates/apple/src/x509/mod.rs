//! Certificates and the keys that sign them (RFC 5280): a handful of fixed templates, a reader, and
//! the [`Signer`] that a file, or later an HSM, stands behind.
//!
//! The SCEP registration authority (RA) has an RSA key, since SCEP encrypts to it. The CA may have
//! either kind. RSA is the compatible one: the SCEP libraries in Go encrypt a request to *every*
//! certificate that `GetCACert` gave, and fail at one that is not RSA; iOS wants the CA among them.
//! Every certificate is made from a template of this module that takes nothing but a public key
//! from whoever asks: no subject, no extension, no validity of theirs.

pub(crate) mod der;
mod issue;
mod key;
pub(crate) mod oid;
mod read;
mod time;
pub(crate) mod verify;

pub use der::Malformed;
pub use issue::{
    ServerName, Window, ca_certificate, device_certificate, profile_signer_certificate, ra_certificate,
    self_signed_request_certificate, server_certificate, successor_certificate,
};
pub(crate) use issue::{name, signature_algorithm};
pub use key::{P256Signer, RsaSigner, rsa_spki, signer_from_pkcs8};
pub use read::Certificate;
pub(crate) use time::{read_time, write_time};
pub use verify::PublicKey;

/// What an RSA key must measure at least, in bits.
pub const RSA_MIN_BITS: usize = 2048;
/// What an RSA key may measure at most, in bits; beyond it a signature costs more than it proves.
pub const RSA_MAX_BITS: usize = 8192;

/// Which algorithms are taken from a phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Algorithms {
    /// SHA-256 and better, AES. The default.
    #[default]
    Strong,
    /// SHA-1 signatures, triple and single DES as well, for older phones and simulators: one
    /// configuration key, off unless the operator turns it on. MD5, RC2 and short keys stay refused.
    /// With it, who captures a request can read its challenge, but for the TLS around it.
    AdmitOld,
}

/// How a [`Signer`] signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureAlgorithm {
    /// ECDSA over P-256 with SHA-256; the signature is a DER `ECDSA-Sig-Value`.
    EcdsaP256Sha256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RsaPkcs1Sha256,
}

/// A private key, wherever it lies.
pub trait Signer: Send + Sync {
    /// The public key as a DER `SubjectPublicKeyInfo`.
    fn spki_der(&self) -> &[u8];
    /// How [`Signer::sign`] signs.
    fn algorithm(&self) -> SignatureAlgorithm;
    /// Signs `message` (hashing is the signer's part).
    ///
    /// # Errors
    /// [`X509Error::Signing`] if the key can't sign, for instance because its HSM is away.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, X509Error>;
}

/// Where content keys, initialisation vectors and nonces come from.
pub trait Random: Send + Sync {
    /// Fills `out` with random bytes.
    ///
    /// # Errors
    /// [`X509Error::Random`] if the source failed.
    fn fill(&self, out: &mut [u8]) -> Result<(), X509Error>;
}

/// The cryptographic library's generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, out: &mut [u8]) -> Result<(), X509Error> {
        aws_lc_rs::rand::fill(out).map_err(|_| X509Error::Random)
    }
}

/// Why a key or certificate could not be made or read. Names elements, never their content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum X509Error {
    /// The operator's: a stored key is not what it should be.
    #[error("the private key was not accepted: {0}")]
    Key(&'static str),
    /// The operator's or the host's: the key exists and can't sign.
    #[error("signing failed")]
    Signing,
    /// The host's: no random numbers.
    #[error("the random number generator failed")]
    Random,
    /// The sender's: bytes that are no certificate.
    #[error("the certificate can't be read: {0}")]
    Malformed(#[from] Malformed),
    /// The caller's: what was asked for must not be issued.
    #[error("the certificate is not issued: {0}")]
    NotIssued(&'static str),
    /// The sender's: the public key can't be used.
    #[error("the public key is refused: {0}")]
    PublicKey(&'static str),
}
