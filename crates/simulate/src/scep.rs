//! What a phone does with SCEP's answers before and around the request itself, which `apple::scep::client`
//! makes. Reads `GetCACert` by itself, so that a server can't be right by the reader's mistake.

use crate::Fault;
use apple::scep::ContentCipher;
use apple::x509::{Certificate, PublicKey};
use aws_lc_rs::digest;

/// How many certificates are read of one answer.
const MAX_CERTIFICATES: usize = 16;

/// What the server says it can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caps {
    pub(crate) post: bool,
    pub(crate) aes: bool,
    pub(crate) sha256: bool,
}

/// Reads `GetCACaps`: a word a line, in any case.
pub(crate) fn read_caps(body: &[u8]) -> Caps {
    let text = String::from_utf8_lossy(body).to_ascii_lowercase();
    let has = |word: &str| text.lines().any(|line| line.trim() == word);
    let standard = has("scepstandard");
    Caps {
        post: standard || has("postpkioperation"),
        aes: standard || has("aes"),
        sha256: standard || has("sha-256"),
    }
}

impl Caps {
    /// How to encrypt. Phones without a word on AES would use triple DES; these don't.
    pub(crate) fn cipher(self, index: u32) -> Result<ContentCipher, Fault> {
        if !self.aes || !self.sha256 {
            return Err(Fault::Scep("GetCACaps offers neither AES nor SCEPStandard"));
        }
        Ok(if index.is_multiple_of(2) { ContentCipher::Aes256 } else { ContentCipher::Aes128 })
    }
}

/// The certificates in an answer to `GetCACert`.
pub(crate) fn read_ca_certs(content_type: &str, body: &[u8]) -> Result<Vec<Vec<u8>>, Fault> {
    let certificates = match content_type {
        "application/x-x509-ca-cert" => vec![body.to_vec()],
        "application/x-x509-ca-ra-cert" => {
            certificates_only(body).ok_or(Fault::Scep("GetCACert can't be read"))?
        }
        _ => return Err(Fault::Scep("GetCACert has another content type than RFC 8894 says")),
    };
    if certificates.is_empty() || certificates.iter().any(|der| Certificate::parse(der).is_err()) {
        return Err(Fault::Scep("GetCACert holds no certificate that can be read"));
    }
    Ok(certificates)
}

/// The certificate to encrypt to: the RA's, below the CA whose fingerprint the profile told.
pub(crate) fn choose_ra<'a>(certs: &'a [Vec<u8>], fingerprint: Option<&[u8]>) -> Result<&'a [u8], Fault> {
    let parsed =
        || certs.iter().filter_map(|der| Certificate::parse(der).ok().map(|cert| (der.as_slice(), cert)));
    let (ca_der, ca) = parsed()
        .find(|(_, cert)| cert.is_ca())
        .or_else(|| parsed().next())
        .ok_or(Fault::Scep("GetCACert holds no certificate"))?;
    if let Some(expected) = fingerprint {
        let algorithm = match expected.len() {
            20 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            32 => &digest::SHA256,
            _ => return Err(Fault::Scep("CAFingerprint is neither SHA-1 nor SHA-256")),
        };
        if digest::digest(algorithm, ca_der).as_ref() != expected {
            return Err(Fault::Scep("the CA isn't the one whose fingerprint the profile told"));
        }
    }
    let rsa =
        |cert: &Certificate<'_>| matches!(PublicKey::from_spki(cert.spki_der()), Ok(PublicKey::Rsa { .. }));
    parsed()
        .find(|(der, cert)| *der != ca_der && rsa(cert) && cert.is_signed_by(ca.spki_der()))
        .or_else(|| rsa(&ca).then_some((ca_der, ca)))
        .map(|(der, _)| der)
        .ok_or(Fault::Scep("there is no RSA certificate below the CA to encrypt to"))
}

/// The certificates of a certificates-only message (RFC 5652, degenerate SignedData), in DER.
fn certificates_only(body: &[u8]) -> Option<Vec<Vec<u8>>> {
    const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
    let (outer, rest) = element(body, 0x30)?;
    let (kind, outer) = element(outer.body, 0x06)?.also_rest(rest)?;
    if kind.body != SIGNED_DATA {
        return None;
    }
    let (explicit, _) = element(outer, 0xa0)?;
    let (data, _) = element(explicit.body, 0x30)?;
    let (_version, data) = element(data.body, 0x02)?;
    let (_digests, data) = element(data, 0x31)?;
    let (_content, data) = element(data, 0x30)?;
    let (set, _) = element(data, 0xa0)?;
    let (mut left, mut found) = (set.body, Vec::new());
    while !left.is_empty() && found.len() < MAX_CERTIFICATES {
        let (certificate, rest) = element(left, 0x30)?;
        found.push(certificate.full.to_vec());
        left = rest;
    }
    left.is_empty().then_some(found)
}

/// One DER element: with and without its header.
#[derive(Clone, Copy)]
struct Element<'a> {
    full: &'a [u8],
    body: &'a [u8],
}

trait AlsoRest<'a>: Sized {
    /// Only if nothing follows the outermost element.
    fn also_rest(self, outer_rest: &[u8]) -> Option<Self>;
}

impl<'a> AlsoRest<'a> for (Element<'a>, &'a [u8]) {
    fn also_rest(self, outer_rest: &[u8]) -> Option<Self> {
        outer_rest.is_empty().then_some(self)
    }
}

/// The element at the beginning of `bytes`, which must have this tag, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(Element<'_>, &[u8])> {
    let (&[found, first], after) = bytes.split_first_chunk::<2>()?;
    if found != tag {
        return None;
    }
    let (length, header) = match first {
        0..=0x7f => (usize::from(first), 2),
        0x81..=0x83 => {
            let octets = after.get(..usize::from(first & 0x7f))?;
            (octets.iter().fold(0, |n, b| n << 8 | usize::from(*b)), 2 + octets.len())
        }
        _ => return None,
    };
    let (full, rest) = bytes.split_at_checked(header + length)?;
    Some((Element { full, body: full.get(header..)? }, rest))
}

/// The certificate for our own key among those that were issued.
pub(crate) fn ours<'a>(
    issued: &'a [Vec<u8>],
    spki_der: &[u8],
    now_ms: model::TimeMs,
) -> Result<&'a [u8], Fault> {
    let der = issued
        .iter()
        .find(|der| Certificate::parse(der).is_ok_and(|cert| cert.spki_der() == spki_der))
        .ok_or(Fault::Scep("no certificate in the answer is for the key that asked"))?;
    let cert = Certificate::parse(der).map_err(Fault::Key)?;
    // Clocks may differ by some minutes.
    if now_ms > cert.not_after_ms() || now_ms < cert.not_before_ms() - 10 * model::clock::MINUTE_MS {
        return Err(Fault::Scep("the certificate isn't valid now"));
    }
    Ok(der)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn capabilities_are_read_in_any_case_and_unknown_ones_ignored() {
        let caps = read_caps(b"aes\r\nPostPKIOperation\nSHA-256\nSomethingNew\n");
        assert_eq!(caps, Caps { post: true, aes: true, sha256: true });
        assert_eq!(read_caps(b"SCEPStandard"), Caps { post: true, aes: true, sha256: true });
        let none = read_caps(b"\xff\xfe");
        assert!(!none.post && none.cipher(0).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn arbitrary_bytes_are_no_certificates_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(read_ca_certs("application/x-x509-ca-ra-cert", &bytes).is_err());
            prop_assert!(read_ca_certs("application/x-x509-ca-cert", &bytes).is_err());
            let _ = read_caps(&bytes);
        }
    }
}
