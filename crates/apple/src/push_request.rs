//! The request that Apple's push certificate portal takes: a CSR that an MDM vendor has signed.
//!
//! Source: "Setting Up Push Notifications for Your MDM Customers" (Apple, Device Management): the CSR in
//! DER, signed with the vendor's RSA key (PKCS#1 v1.5, SHA-256); a property list of three strings, which is
//! base64-encoded as a whole. The chain is PEM, from the vendor's certificate up to and with Apple's root.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use plist::{Dictionary, Value};

use crate::x509::verify::Hash;
use crate::x509::{Certificate, PublicKey, RsaSigner, Signer, X509Error};
use crate::{Malformed, csr, plist_guard};

/// The largest request that is read, encoded.
pub const MAX_REQUEST_BYTES: usize = 256 * 1024;
/// The most certificates of a vendor's chain.
const MAX_CHAIN: usize = 8;
const CSR: &str = "PushCertRequestCSR";
const CHAIN: &str = "PushCertCertificateChain";
const SIGNATURE: &str = "PushCertSignature";

/// A push certificate request with its vendor's signature. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushRequest {
    /// The CSR, DER.
    pub csr_der: Vec<u8>,
    /// The vendor's certificate first, then who issued it, up to the root; DER.
    pub chain: Vec<Vec<u8>>,
    /// The vendor's RSA signature over [`PushRequest::csr_der`].
    pub signature: Vec<u8>,
}

/// Why a request would not be taken by Apple. Says which part, never its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PushRequestError {
    /// More than [`MAX_REQUEST_BYTES`].
    #[error("the request is larger than 256 KiB")]
    TooLarge,
    /// The outer or an inner base64, or a PEM block.
    #[error("{0} is not base64")]
    NotBase64(&'static str),
    /// No property list, or one without the three strings.
    #[error("the request can't be read: {0}")]
    Malformed(#[from] Malformed),
    /// The CSR itself.
    #[error("the CSR in it is refused: {0}")]
    Csr(#[from] csr::CsrRefused),
    /// A certificate of the chain can't be read, or there is none, or there are more than eight.
    #[error("the vendor's chain can't be read: it takes one to eight certificates in PEM")]
    Chain,
    /// A certificate was not issued by the one after it.
    #[error("the vendor's chain is broken: certificate {0} was not signed by the one after it")]
    Link(usize),
    /// Apple wants the root in it.
    #[error("the vendor's chain ends before its root: add Apple's WWDR and root certificates")]
    NoRoot,
    /// Apple takes RSA here.
    #[error("the vendor's key is not RSA")]
    NotRsa,
    /// The signature is not the vendor's over this CSR.
    #[error("the vendor's signature is not that of the first certificate's key over this CSR (SHA-256)")]
    Signature,
    /// The vendor's key can't sign.
    #[error("the vendor's key could not sign")]
    Own,
}

impl From<X509Error> for PushRequestError {
    fn from(_: X509Error) -> Self {
        Self::Own
    }
}

impl PushRequest {
    /// Signs a CSR as a vendor. `chain` begins with the vendor's certificate.
    ///
    /// # Errors
    /// [`PushRequestError`], when what came out would not pass [`PushRequest::verify`].
    pub fn sign(csr_der: &[u8], chain: Vec<Vec<u8>>, vendor: &RsaSigner) -> Result<Self, PushRequestError> {
        let signature = vendor.sign(csr_der)?;
        let request = Self { csr_der: csr_der.to_vec(), chain, signature };
        request.verify()?;
        Ok(request)
    }

    /// Checks all that Apple's portal checks but whose root it is: the CSR's own signature, the chain's
    /// links up to a self-signed root, the vendor's signature.
    ///
    /// # Errors
    /// [`PushRequestError`] names what is wrong.
    pub fn verify(&self) -> Result<(), PushRequestError> {
        csr::parse(&self.csr_der)?;
        if !(1..=MAX_CHAIN).contains(&self.chain.len()) {
            return Err(PushRequestError::Chain);
        }
        let certificates: Vec<Certificate<'_>> = self
            .chain
            .iter()
            .map(|der| Certificate::parse(der))
            .collect::<Result<_, _>>()
            .map_err(|_| PushRequestError::Chain)?;
        for (n, pair) in certificates.windows(2).enumerate() {
            let [this, issuer] = pair else { continue };
            if !this.is_issued_by(issuer) {
                return Err(PushRequestError::Link(n + 1));
            }
        }
        // Apple's own root is signed with SHA-1, which nobody needs to verify: a root is trusted by itself.
        let ends = certificates.last().is_some_and(|root| root.issuer_der() == root.subject_der());
        if !ends {
            return Err(PushRequestError::NoRoot);
        }
        let vendor = certificates.first().ok_or(PushRequestError::Chain)?;
        let key = PublicKey::from_spki(vendor.spki_der()).map_err(|_| PushRequestError::NotRsa)?;
        if !key.is_rsa() {
            return Err(PushRequestError::NotRsa);
        }
        if !key.verifies(vendor.spki_der(), Hash::Sha256, &self.csr_der, &self.signature) {
            return Err(PushRequestError::Signature);
        }
        Ok(())
    }

    /// What is uploaded to `https://identity.apple.com/pushcert/`: the property list, in base64.
    ///
    /// # Errors
    /// [`PushRequestError::Own`] when the list could not be written.
    pub fn to_text(&self) -> Result<String, PushRequestError> {
        let chain: String = self.chain.iter().map(|der| pem_block(der)).collect();
        let mut list = Dictionary::new();
        list.insert(CSR.into(), Value::String(STANDARD.encode(&self.csr_der)));
        list.insert(CHAIN.into(), Value::String(chain));
        list.insert(SIGNATURE.into(), Value::String(STANDARD.encode(&self.signature)));
        let mut xml = Vec::new();
        Value::Dictionary(list).to_writer_xml(&mut xml).map_err(|_| PushRequestError::Own)?;
        Ok(STANDARD.encode(xml))
    }

    /// Reads what [`PushRequest::to_text`] writes, and what vendors' tools write: white space in the base64
    /// is passed over. Nothing is checked yet; see [`PushRequest::verify`].
    ///
    /// # Errors
    /// [`PushRequestError`] names the part.
    pub fn parse(text: &[u8]) -> Result<Self, PushRequestError> {
        if text.len() > MAX_REQUEST_BYTES {
            return Err(PushRequestError::TooLarge);
        }
        let xml = unbase64(text, "the request")?;
        let list = plist_guard::parse(&xml, MAX_REQUEST_BYTES)?;
        let list = list.as_dictionary().ok_or(Malformed::NotADictionary)?;
        let string = |key: &'static str| {
            let value = list.get(key).ok_or(Malformed::MissingKey(key))?;
            value.as_string().ok_or(Malformed::WrongType(key))
        };
        Ok(Self {
            csr_der: unbase64(string(CSR)?.as_bytes(), CSR)?,
            chain: certificates(string(CHAIN)?)?,
            signature: unbase64(string(SIGNATURE)?.as_bytes(), SIGNATURE)?,
        })
    }
}

fn unbase64(text: &[u8], what: &'static str) -> Result<Vec<u8>, PushRequestError> {
    let bare: Vec<u8> = text.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
    STANDARD.decode(bare).map_err(|_| PushRequestError::NotBase64(what))
}

/// A certificate as PEM (RFC 7468): 64 characters a line, as Apple asks.
fn pem_block(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut out = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = more;
    }
    out.push_str("-----END CERTIFICATE-----\n");
    out
}

fn certificates(pem: &str) -> Result<Vec<Vec<u8>>, PushRequestError> {
    let mut out = Vec::new();
    let mut rest = pem;
    while let Some((_, after)) = rest.split_once("-----BEGIN CERTIFICATE-----") {
        let (body, more) = after.split_once("-----END CERTIFICATE-----").ok_or(PushRequestError::Chain)?;
        if out.len() == MAX_CHAIN {
            return Err(PushRequestError::Chain);
        }
        out.push(unbase64(body.as_bytes(), CHAIN)?);
        rest = more;
    }
    if out.is_empty() { Err(PushRequestError::Chain) } else { Ok(out) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::{P256Signer, Window, ca_certificate, ra_certificate};
    use proptest::prelude::*;
    use std::sync::LazyLock;

    struct Vendor {
        key: RsaSigner,
        chain: Vec<Vec<u8>>,
    }

    static VENDOR: LazyLock<Vendor> = LazyLock::new(|| {
        let root = P256Signer::generate().unwrap();
        let window = Window { not_before_ms: 0, not_after_ms: 1_000_000 };
        let root_cert = ca_certificate(&root, "Made-up root", [1; 16], window).unwrap();
        let key = RsaSigner::generate().unwrap();
        let cert = ra_certificate(&root_cert, &root, key.spki_der(), [2; 16], window).unwrap();
        Vendor { key, chain: vec![cert, root_cert] }
    });

    static SIGNED: LazyLock<PushRequest> = LazyLock::new(|| {
        let hospital = RsaSigner::generate().unwrap();
        let csr = csr::build(&hospital, "Example Hospital", None).unwrap();
        PushRequest::sign(&csr, VENDOR.chain.clone(), &VENDOR.key).unwrap()
    });

    #[test]
    fn a_signed_request_is_read_back_and_holds() {
        let text = SIGNED.to_text().unwrap();
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b)));
        let back = PushRequest::parse(text.as_bytes()).unwrap();
        assert_eq!(back, *SIGNED);
        back.verify().unwrap();
        let wrapped: String =
            text.as_bytes().chunks(76).flat_map(|l| [std::str::from_utf8(l).unwrap(), "\r\n"]).collect();
        assert_eq!(PushRequest::parse(wrapped.as_bytes()).unwrap(), *SIGNED);
        let xml = String::from_utf8(STANDARD.decode(text).unwrap()).unwrap();
        assert!(xml.lines().all(|l| l.len() <= 4096) && xml.contains("<key>PushCertRequestCSR</key>"));
    }

    #[test]
    fn a_request_that_apple_would_refuse_is_refused_here_by_its_part() {
        let wrong = |change: &dyn Fn(&mut PushRequest)| {
            let mut request = SIGNED.clone();
            change(&mut request);
            request.verify().unwrap_err()
        };
        assert_eq!(wrong(&|r| r.signature[0] ^= 1), PushRequestError::Signature);
        assert_eq!(wrong(&|r| r.chain.truncate(1)), PushRequestError::NoRoot);
        assert_eq!(wrong(&|r| r.chain.reverse()), PushRequestError::Link(1));
        assert_eq!(wrong(&|r| r.chain.clear()), PushRequestError::Chain);
        assert_eq!(wrong(&|r| r.chain = vec![r.chain[1].clone()]), PushRequestError::NotRsa);
        assert!(matches!(wrong(&|r| r.csr_der.truncate(20)), PushRequestError::Csr(_)));
        let other = RsaSigner::generate().unwrap();
        assert_eq!(
            PushRequest::sign(&SIGNED.csr_der, VENDOR.chain.clone(), &other).unwrap_err(),
            PushRequestError::Signature
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn no_text_makes_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..256), at in any::<prop::sample::Index>(), to in any::<u8>()) {
            let _ = PushRequest::parse(&bytes);
            let mut xml = STANDARD.decode(SIGNED.to_text().unwrap()).unwrap();
            let at = at.index(xml.len());
            xml[at] = to;
            if let Ok(read) = PushRequest::parse(STANDARD.encode(&xml).as_bytes()) {
                let _ = read.verify();
            }
        }
    }
}
