//! The templates: each fixed, each taking only a public key from whoever asked.
//!
//! | template | key usage | extended key usage | subject |
//! |---|---|---|---|
//! | CA, and its successor's key | keyCertSign, cRLSign | none | CN as given |
//! | device | digitalSignature, and keyEncipherment for RSA | clientAuth | O = `Matron device`, CN = enrolment id |
//! | server | digitalSignature, and keyEncipherment for RSA | serverAuth | O = `Matron`, CN = `Matron server` |
//! | RA | digitalSignature, keyEncipherment | none | O = `Matron`, CN = `Matron SCEP RA` |
//! | profile signer | digitalSignature | emailProtection | O = `Matron`, CN = `Matron profiles` |
//!
//! A profile is signed CMS, which iOS shows as *Verified* when the chain ends in a root that the
//! phone trusts; it asks for no extended key usage of its own. `emailProtection` is what S/MIME
//! verifiers (`openssl cms -verify`) ask for. The RA's certificate has no extended key usage, so
//! that it serves neither as a phone nor as a server.
//!
//! iOS refuses server certificates from a private CA that live longer than 825 days (Apple,
//! HT103769): give [`server_certificate`] a window within that.

use super::der::{self, seq, tag, tlv};
use super::{Certificate, PublicKey, SignatureAlgorithm, Signer, X509Error, oid, write_time};
use aws_lc_rs::digest;
use model::clock::TimeMs;
use model::id::EnrolmentId;
use std::net::IpAddr;

/// From when to when a certificate is valid, both inclusive, in whole seconds (rounded down).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Not before.
    pub not_before_ms: TimeMs,
    /// Not after.
    pub not_after_ms: TimeMs,
}

/// What a server is called by those who connect to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerName {
    /// A host name (letters, digits, hyphens, dots; `*.` may stand in front).
    Dns(String),
    /// An address.
    Ip(IpAddr),
}

const SIGNATURE: u8 = 0x80;
const ENCIPHERMENT: u8 = 0x20;
const CERT_SIGN: u8 = 0x04;
const CRL_SIGN: u8 = 0x02;

/// Makes the CA's own, self-signed certificate: path length 0, since nothing below it may sign.
///
/// `serial` is 16 random bytes; two of its bits are fixed so that it is positive and of full length.
///
/// # Errors
/// [`X509Error::NotIssued`] for a common name that is empty or over 64 characters, or a window
/// that ends before it begins; [`X509Error::Signing`].
pub fn ca_certificate(
    signer: &dyn Signer,
    common_name: &str,
    serial: [u8; 16],
    window: Window,
) -> Result<Vec<u8>, X509Error> {
    let subject = name(None, common_name)?;
    let skid = key_id(signer.spki_der())?;
    let constraints = seq(&[&[tag::BOOLEAN, 1, 0xff], &der::unsigned(&[])]);
    let extensions = [
        extension(oid::BASIC_CONSTRAINTS, true, &constraints),
        key_usage(CERT_SIGN | CRL_SIGN),
        extension(oid::SUBJECT_KEY_ID, false, &der::octets(&skid)),
        extension(oid::AUTHORITY_KEY_ID, false, &seq(&[&tlv(tag::context(0), &[&skid])])),
    ];
    certificate(signer, &subject, &subject, signer.spki_der(), serial, window, &extensions)
}

/// Certifies the key of the CA that comes after this one, under the same name: who trusts this CA alone can then follow
/// a chain to what the next one issues ("new with old", RFC 9810, section 4.4; RFC 5280 counts a certificate whose issuer
/// is its subject in no path length).
///
/// # Errors
/// As [`device_certificate`].
pub fn successor_certificate(
    ca_der: &[u8],
    ca_signer: &dyn Signer,
    spki_der: &[u8],
    serial: [u8; 16],
    window: Window,
) -> Result<Vec<u8>, X509Error> {
    let ca = Certificate::parse(ca_der)?;
    let constraints = extension(oid::BASIC_CONSTRAINTS, true, &seq(&[&[tag::BOOLEAN, 1, 0xff]]));
    let usage = key_usage(CERT_SIGN | CRL_SIGN);
    under(ca_der, ca_signer, spki_der, ca.subject_der(), serial, window, vec![constraints, usage])
}

/// Issues a phone's certificate. The subject is the enrolment id, which says nothing of the person.
///
/// # Errors
/// [`X509Error::NotIssued`] if `ca_der` is no CA, is not `ca_signer`'s, or ends before the window
/// does; [`X509Error::PublicKey`] for a weak or malformed key; [`X509Error::Signing`].
pub fn device_certificate(
    ca_der: &[u8],
    ca_signer: &dyn Signer,
    spki_der: &[u8],
    enrolment: &EnrolmentId,
    serial: [u8; 16],
    window: Window,
) -> Result<Vec<u8>, X509Error> {
    let subject = name(Some("Matron device"), &enrolment.to_string())?;
    leaf(
        ca_der,
        ca_signer,
        spki_der,
        &subject,
        serial,
        window,
        &[key_usage(signing_usage(spki_der)?), extended_key_usage(oid::CLIENT_AUTH)],
    )
}

/// Issues the certificate of a TLS listener, for 1 to 32 names.
///
/// # Errors
/// As [`device_certificate`], and [`X509Error::NotIssued`] for a name that is no host name.
pub fn server_certificate(
    ca_der: &[u8],
    ca_signer: &dyn Signer,
    spki_der: &[u8],
    names: &[ServerName],
    serial: [u8; 16],
    window: Window,
) -> Result<Vec<u8>, X509Error> {
    if names.is_empty() || names.len() > 32 {
        return Err(X509Error::NotIssued("a server has 1 to 32 names"));
    }
    let names = names.iter().map(general_name).collect::<Result<Vec<_>, _>>()?;
    let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
    let subject = name(Some("Matron"), "Matron server")?;
    leaf(
        ca_der,
        ca_signer,
        spki_der,
        &subject,
        serial,
        window,
        &[
            key_usage(signing_usage(spki_der)?),
            extended_key_usage(oid::SERVER_AUTH),
            extension(oid::SUBJECT_ALT_NAME, false, &seq(&names)),
        ],
    )
}

/// Issues the SCEP registration authority's certificate, for its RSA key.
///
/// # Errors
/// As [`device_certificate`], and [`X509Error::PublicKey`] for a key that is not RSA.
pub fn ra_certificate(
    ca_der: &[u8],
    ca_signer: &dyn Signer,
    spki_der: &[u8],
    serial: [u8; 16],
    window: Window,
) -> Result<Vec<u8>, X509Error> {
    if !PublicKey::from_spki(spki_der)?.is_rsa() {
        return Err(X509Error::PublicKey("a SCEP RA needs RSA"));
    }
    let subject = name(Some("Matron"), "Matron SCEP RA")?;
    leaf(ca_der, ca_signer, spki_der, &subject, serial, window, &[key_usage(SIGNATURE | ENCIPHERMENT)])
}

/// Issues the certificate that signs enrolment profiles.
///
/// # Errors
/// As [`device_certificate`].
pub fn profile_signer_certificate(
    ca_der: &[u8],
    ca_signer: &dyn Signer,
    spki_der: &[u8],
    serial: [u8; 16],
    window: Window,
) -> Result<Vec<u8>, X509Error> {
    let subject = name(Some("Matron"), "Matron profiles")?;
    leaf(
        ca_der,
        ca_signer,
        spki_der,
        &subject,
        serial,
        window,
        &[key_usage(SIGNATURE), extended_key_usage(oid::EMAIL_PROTECTION)],
    )
}

/// Makes the throw-away self-signed certificate with which a SCEP *client* signs its first request
/// (RFC 8894, section 2.3).
///
/// # Errors
/// [`X509Error::NotIssued`] for a bad common name or window; [`X509Error::Signing`].
pub fn self_signed_request_certificate(
    signer: &dyn Signer,
    common_name: &str,
    serial: [u8; 16],
    window: Window,
) -> Result<Vec<u8>, X509Error> {
    let subject = name(None, common_name)?;
    let extensions = [key_usage(SIGNATURE | ENCIPHERMENT)];
    certificate(signer, &subject, &subject, signer.spki_der(), serial, window, &extensions)
}

fn leaf(
    ca_der: &[u8],
    ca_signer: &dyn Signer,
    spki_der: &[u8],
    subject: &[u8],
    serial: [u8; 16],
    window: Window,
    own: &[Vec<u8>],
) -> Result<Vec<u8>, X509Error> {
    let mut extensions = vec![extension(oid::BASIC_CONSTRAINTS, true, &seq(&[]))];
    extensions.extend_from_slice(own);
    under(ca_der, ca_signer, spki_der, subject, serial, window, extensions)
}

/// A certificate under the CA, with these extensions and the key identifiers.
fn under(
    ca_der: &[u8],
    ca_signer: &dyn Signer,
    spki_der: &[u8],
    subject: &[u8],
    serial: [u8; 16],
    window: Window,
    mut extensions: Vec<Vec<u8>>,
) -> Result<Vec<u8>, X509Error> {
    let ca = Certificate::parse(ca_der)?;
    if !ca.is_ca() || ca.spki_der() != ca_signer.spki_der() {
        return Err(X509Error::NotIssued("the CA's certificate and key don't belong together"));
    }
    if window.not_after_ms > ca.not_after_ms() {
        return Err(X509Error::NotIssued("it would outlive the CA's certificate"));
    }
    PublicKey::from_spki(spki_der)?;
    let issuer_id = ca.subject_key_id().ok_or(X509Error::NotIssued("the CA has no key identifier"))?;
    extensions.push(extension(oid::SUBJECT_KEY_ID, false, &der::octets(&key_id(spki_der)?)));
    extensions.push(extension(oid::AUTHORITY_KEY_ID, false, &seq(&[&tlv(tag::context(0), &[issuer_id])])));
    certificate(ca_signer, ca.subject_der(), subject, spki_der, serial, window, &extensions)
}

fn certificate(
    signer: &dyn Signer,
    issuer: &[u8],
    subject: &[u8],
    spki_der: &[u8],
    serial: [u8; 16],
    window: Window,
    extensions: &[Vec<u8>],
) -> Result<Vec<u8>, X509Error> {
    const OUT_OF_RANGE: X509Error = X509Error::NotIssued("a time lies outside the years 1950 to 9999");
    if window.not_after_ms <= window.not_before_ms {
        return Err(X509Error::NotIssued("its window ends before it begins"));
    }
    let not_before = write_time(window.not_before_ms).ok_or(OUT_OF_RANGE)?;
    let not_after = write_time(window.not_after_ms).ok_or(OUT_OF_RANGE)?;
    let [first, rest @ ..] = serial;
    let first = first & 0x7f | 0x40;
    let serial = tlv(tag::INTEGER, &[&[first], &rest]);
    let algorithm = signature_algorithm(signer.algorithm());
    let extensions: Vec<&[u8]> = extensions.iter().map(Vec::as_slice).collect();
    let tbs = seq(&[
        &der::context(0, &[&der::unsigned(&[2])]),
        &serial,
        &algorithm,
        issuer,
        &seq(&[&not_before, &not_after]),
        subject,
        spki_der,
        &der::context(3, &[&seq(&extensions)]),
    ]);
    let signature = signer.sign(&tbs)?;
    Ok(seq(&[&tbs, &algorithm, &der::bits(&signature)]))
}

/// The `AlgorithmIdentifier` of a certificate's or CSR's signature.
pub(crate) fn signature_algorithm(algorithm: SignatureAlgorithm) -> Vec<u8> {
    match algorithm {
        SignatureAlgorithm::EcdsaP256Sha256 => der::algorithm(oid::ECDSA_SHA256, false),
        SignatureAlgorithm::RsaPkcs1Sha256 => der::algorithm(oid::SHA256_WITH_RSA, true),
    }
}

/// A distinguished name of an organisation (if any) and a common name.
pub(crate) fn name(organization: Option<&str>, common_name: &str) -> Result<Vec<u8>, X509Error> {
    let attribute = |id: &[u8], text: &str| {
        let pair = seq(&[&der::oid(id), &tlv(tag::UTF8, &[text.as_bytes()])]);
        tlv(tag::SET, &[&pair])
    };
    // RFC 5280, appendix A: ub-common-name is 64.
    if common_name.is_empty() || common_name.chars().count() > 64 || common_name.contains(char::is_control) {
        return Err(X509Error::NotIssued("a common name has 1 to 64 characters"));
    }
    let organization = organization.map(|o| attribute(oid::ORGANIZATION, o)).unwrap_or_default();
    Ok(seq(&[&organization, &attribute(oid::COMMON_NAME, common_name)]))
}

/// RFC 7093, method 1: the first 160 bits of the SHA-256 of the public key's bits.
fn key_id(spki_der: &[u8]) -> Result<Vec<u8>, X509Error> {
    let mut inside = der::only(spki_der, tag::SEQUENCE, "a public key is malformed")?.inside();
    inside.any()?;
    let bits = inside.expect(tag::BIT_STRING, "a public key has no bits")?.whole_bits()?;
    let hash = digest::digest(&digest::SHA256, bits);
    Ok(hash.as_ref().iter().copied().take(20).collect())
}

fn extension(id: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let critical: &[u8] = if critical { &[tag::BOOLEAN, 1, 0xff] } else { &[] };
    seq(&[&der::oid(id), critical, &der::octets(value)])
}

fn key_usage(bits: u8) -> Vec<u8> {
    let unused = bits.trailing_zeros() as u8;
    extension(oid::KEY_USAGE, true, &tlv(tag::BIT_STRING, &[&[unused, bits]]))
}

/// An EC key can't encipher (RFC 8813).
fn signing_usage(spki_der: &[u8]) -> Result<u8, X509Error> {
    Ok(if PublicKey::from_spki(spki_der)?.is_rsa() { SIGNATURE | ENCIPHERMENT } else { SIGNATURE })
}

fn extended_key_usage(purpose: &[u8]) -> Vec<u8> {
    extension(oid::EXT_KEY_USAGE, false, &seq(&[&der::oid(purpose)]))
}

fn general_name(name: &ServerName) -> Result<Vec<u8>, X509Error> {
    match name {
        ServerName::Dns(dns) => {
            let host = dns.strip_prefix("*.").unwrap_or(dns);
            let label = |l: &str| {
                !l.is_empty()
                    && l.len() <= 63
                    && !l.starts_with('-')
                    && !l.ends_with('-')
                    && l.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
            };
            if dns.len() > 253 || !host.split('.').all(label) {
                return Err(X509Error::NotIssued("a server's name is no host name"));
            }
            Ok(tlv(tag::context(2), &[dns.as_bytes()]))
        }
        ServerName::Ip(IpAddr::V4(ip)) => Ok(tlv(tag::context(7), &[&ip.octets()])),
        ServerName::Ip(IpAddr::V6(ip)) => Ok(tlv(tag::context(7), &[&ip.octets()])),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{P256Signer, RsaSigner};
    use super::*;
    use model::clock::DAY_MS;

    const NOW_MS: TimeMs = 1_790_000_000_000;
    const YEAR: Window = Window { not_before_ms: NOW_MS, not_after_ms: NOW_MS + 365 * DAY_MS };

    fn ca() -> (P256Signer, Vec<u8>) {
        let key = P256Signer::generate().unwrap();
        let window = Window { not_after_ms: NOW_MS + 3650 * DAY_MS, ..YEAR };
        let der = ca_certificate(&key, "Matron test CA", [0xff; 16], window).unwrap();
        (key, der)
    }

    #[test]
    fn a_device_certificate_says_the_enrolment_id_and_chains_to_the_ca() {
        let (key, ca_der) = ca();
        let phone = RsaSigner::generate().unwrap();
        let id = EnrolmentId([0x5a; 16]);
        let der = device_certificate(&ca_der, &key, phone.spki_der(), &id, [0; 16], YEAR).unwrap();
        let cert = Certificate::parse(&der).unwrap();
        assert_eq!(cert.common_name(), Some(id.to_string().as_str()));
        assert_eq!(cert.spki_der(), phone.spki_der());
        assert_eq!((cert.not_before_ms(), cert.not_after_ms()), (YEAR.not_before_ms, YEAR.not_after_ms));
        assert_eq!(cert.serial().len(), 16);
        assert_eq!(cert.serial()[0], 0x40);
        assert!(cert.is_signed_by(key.spki_der()) && !cert.is_ca());
        assert!(!cert.is_signed_by(P256Signer::generate().unwrap().spki_der()));
        assert!(Certificate::parse(&ca_der).unwrap().is_ca());
    }

    #[test]
    fn nothing_is_issued_that_outlives_the_ca_or_is_not_signed_by_it() {
        let (key, ca_der) = ca();
        let phone = P256Signer::generate().unwrap();
        let id = EnrolmentId([1; 16]);
        let too_long = Window { not_after_ms: NOW_MS + 3651 * DAY_MS, ..YEAR };
        let issue = |ca: &[u8], signer: &P256Signer, window| {
            device_certificate(ca, signer, phone.spki_der(), &id, [1; 16], window)
        };
        assert!(matches!(issue(&ca_der, &key, too_long), Err(X509Error::NotIssued(_))));
        assert!(matches!(issue(&ca_der, &phone, YEAR), Err(X509Error::NotIssued(_))));
        let leaf = issue(&ca_der, &key, YEAR).unwrap();
        assert!(matches!(issue(&leaf, &phone, YEAR), Err(X509Error::NotIssued(_))));
        let backwards = Window { not_after_ms: NOW_MS, ..YEAR };
        assert!(matches!(issue(&ca_der, &key, backwards), Err(X509Error::NotIssued(_))));
    }

    #[test]
    fn a_server_name_that_is_no_host_name_is_refused() {
        let (key, ca_der) = ca();
        let issue = |dns: &str| {
            let names = [ServerName::Dns(dns.to_owned())];
            server_certificate(&ca_der, &key, key.spki_der(), &names, [1; 16], YEAR)
        };
        for bad in ["", "a b", "-a.example", "a..b", "a\0.example.org", "*.*.example.org"] {
            assert!(issue(bad).is_err(), "{bad}");
        }
        assert!(issue("*.phones.example.org").is_ok());
    }

    #[test]
    fn a_servers_names_are_read_back_and_a_phone_has_none() {
        let (key, ca_der) = ca();
        let names = [
            ServerName::Dns("mdm.example.org".into()),
            ServerName::Ip("192.0.2.7".parse().unwrap()),
            ServerName::Ip("2001:db8::7".parse().unwrap()),
        ];
        let server = server_certificate(&ca_der, &key, key.spki_der(), &names, [1; 16], YEAR).unwrap();
        assert_eq!(Certificate::parse(&server).unwrap().server_names(), Some(names.to_vec()));
        let phone = device_certificate(&ca_der, &key, key.spki_der(), &EnrolmentId([1; 16]), [1; 16], YEAR);
        assert_eq!(Certificate::parse(&phone.unwrap()).unwrap().server_names(), None);
        assert_eq!(Certificate::parse(&ca_der).unwrap().server_names(), None);
    }

    #[test]
    fn the_next_cas_key_is_certified_by_the_one_before_under_the_same_name() {
        let (old, old_der) = ca();
        let new = P256Signer::generate().unwrap();
        let der = successor_certificate(&old_der, &old, new.spki_der(), [1; 16], YEAR).unwrap();
        let (cert, ca) = (Certificate::parse(&der).unwrap(), Certificate::parse(&old_der).unwrap());
        assert!(cert.is_ca() && cert.is_signed_by(old.spki_der()));
        assert_eq!((cert.subject_der(), cert.issuer_der()), (ca.subject_der(), ca.subject_der()));
        assert_eq!(cert.spki_der(), new.spki_der());
        assert!(successor_certificate(&old_der, &new, new.spki_der(), [1; 16], YEAR).is_err());
    }

    #[test]
    fn an_ra_key_that_is_not_rsa_is_refused() {
        let (key, ca_der) = ca();
        assert!(ra_certificate(&ca_der, &key, key.spki_der(), [1; 16], YEAR).is_err());
    }
}
