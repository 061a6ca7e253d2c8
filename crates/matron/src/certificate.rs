//! A certificate's facts, for the operator's commands: what it is for, by whom, until when.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use model::TimeMs;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use zeroize::Zeroizing;

/// attributeType userid (RFC 4519): where a push certificate has its topic.
const USER_ID: &str = "0.9.2342.19200300.100.1.1";
/// Embedded certificate timestamps (RFC 6962, 3.3).
const TIMESTAMPS: &str = "1.3.6.1.4.1.11129.2.4.2";
/// How to fetch the issuer's certificate (RFC 5280, 4.2.2.1).
const CA_ISSUERS: &str = "1.3.6.1.5.5.7.48.2";
/// The largest file that is read.
const LARGEST_FILE_BYTES: u64 = 1 << 20;

/// What is written in a certificate. Texts come from whoever made it: print them through `show::line`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) subject: String,
    pub(crate) issuer: String,
    pub(crate) self_issued: bool,
    pub(crate) not_before_ms: TimeMs,
    pub(crate) not_after_ms: TimeMs,
    /// The subject's UID.
    pub(crate) topic: Option<String>,
    pub(crate) key: Key,
    pub(crate) signature: Signature,
    /// DNS names and addresses of the subject alternative name.
    pub(crate) names: Vec<String>,
    /// None: no extended key usage, so any.
    pub(crate) server_auth: Option<bool>,
    pub(crate) client_auth: Option<bool>,
    pub(crate) has_timestamps: bool,
    /// Where the issuer's certificate can be fetched.
    pub(crate) issuer_url: Option<String>,
}

/// The kind of key and its size in bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    Rsa(usize),
    Ec(usize),
    Other,
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rsa(bits) => write!(f, "RSA {bits}"),
            Self::Ec(bits) => write!(f, "EC {bits}"),
            Self::Other => f.write_str("of another kind"),
        }
    }
}

/// What the issuer's signature is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signature {
    /// SHA-256, -384 or -512.
    Sha2,
    Sha1,
    Md5,
    Other,
}

impl std::fmt::Display for Signature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Sha2 => "SHA-2",
            Self::Sha1 => "SHA-1",
            Self::Md5 => "MD5",
            Self::Other => "an algorithm that is not known here",
        })
    }
}

fn signature_of(oid: &str) -> Signature {
    match oid {
        "1.2.840.113549.1.1.11" | "1.2.840.113549.1.1.12" | "1.2.840.113549.1.1.13"
        | "1.2.840.10045.4.3.2" | "1.2.840.10045.4.3.3" | "1.2.840.10045.4.3.4"
        // RSASSA-PSS: its hash stands in the parameters; public CAs use SHA-256 and better.
        | "1.2.840.113549.1.1.10" => Signature::Sha2,
        "1.2.840.113549.1.1.5" | "1.2.840.10045.4.1" => Signature::Sha1,
        "1.2.840.113549.1.1.4" => Signature::Md5,
        _ => Signature::Other,
    }
}

fn name_of(name: &x509_parser::x509::X509Name<'_>) -> String {
    let common = name.iter_common_name().next().and_then(|a| a.as_str().ok()).map(str::to_owned);
    common.unwrap_or_else(|| name.to_string())
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(v4).to_string());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| std::net::Ipv6Addr::from(v6).to_string())
}

/// Reads a certificate. Nothing of it is verified.
pub(crate) fn facts(der: &[u8]) -> Result<Facts> {
    let (_, certificate) =
        x509_parser::parse_x509_certificate(der).map_err(|_| anyhow!("a certificate can't be read"))?;
    let topic = certificate
        .subject()
        .iter_attributes()
        .find(|a| a.attr_type().to_id_string() == USER_ID)
        .and_then(|a| a.as_str().ok())
        .map(str::to_owned);
    let key = match certificate.public_key().parsed() {
        Ok(k @ x509_parser::public_key::PublicKey::RSA(_)) => Key::Rsa(k.key_size()),
        Ok(k @ x509_parser::public_key::PublicKey::EC(_)) => Key::Ec(k.key_size()),
        _ => Key::Other,
    };
    let names = match certificate.subject_alternative_name() {
        Ok(Some(san)) => san
            .value
            .general_names
            .iter()
            .filter_map(|n| match n {
                GeneralName::DNSName(name) => Some((*name).to_owned()),
                GeneralName::IPAddress(bytes) => address(bytes),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    };
    let usage = certificate.extended_key_usage().ok().flatten();
    let issuer_url = certificate.extensions().iter().find_map(|e| match e.parsed_extension() {
        ParsedExtension::AuthorityInfoAccess(aia) => aia.accessdescs.iter().find_map(|d| {
            let uri = match &d.access_location {
                GeneralName::URI(uri) => (*uri).to_owned(),
                _ => return None,
            };
            (d.access_method.to_id_string() == CA_ISSUERS).then_some(uri)
        }),
        _ => None,
    });
    Ok(Facts {
        subject: name_of(certificate.subject()),
        issuer: name_of(certificate.issuer()),
        self_issued: certificate.subject().as_raw() == certificate.issuer().as_raw(),
        not_before_ms: certificate.validity().not_before.timestamp().saturating_mul(1000),
        not_after_ms: certificate.validity().not_after.timestamp().saturating_mul(1000),
        topic,
        key,
        signature: signature_of(&certificate.signature_algorithm.algorithm.to_id_string()),
        names,
        server_auth: usage.as_ref().map(|u| u.value.server_auth || u.value.any),
        client_auth: usage.as_ref().map(|u| u.value.client_auth || u.value.any),
        has_timestamps: certificate.extensions().iter().any(|e| e.oid.to_id_string() == TIMESTAMPS),
        issuer_url,
    })
}

/// A file's bytes, wiped when dropped: it may hold a key.
pub(crate) fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let size_bytes = std::fs::metadata(path).with_context(|| format!("{}", path.display()))?.len();
    if size_bytes > LARGEST_FILE_BYTES {
        bail!("{}: larger than 1 MiB; that is no certificate or key", path.display());
    }
    Ok(Zeroizing::new(std::fs::read(path).with_context(|| format!("{}", path.display()))?))
}

/// The certificates of a PEM file, or the one of a DER file, in its order.
pub(crate) fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let bytes = read_file(path)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|_| anyhow!("{}: its PEM can't be read", path.display()))?;
    if chain.is_empty() && bytes.first() == Some(&0x30) && facts(&bytes).is_ok() {
        return Ok(vec![CertificateDer::from(bytes.to_vec())]);
    }
    if chain.is_empty() {
        bail!("{}: it holds no certificate (PEM: -----BEGIN CERTIFICATE-----)", path.display());
    }
    Ok(chain)
}

/// The private key of a PEM file.
pub(crate) fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(&read_file(path)?).map_err(|_| {
        anyhow!(
            "{}: it holds no private key in PEM without a passphrase; 'openssl pkey -in KEY -out PLAIN.pem' makes \
             one of a key with a passphrase",
            path.display()
        )
    })
}

/// Is this the certificate's key?
pub(crate) fn fits(certificate: &CertificateDer<'_>, key: &PrivateKeyDer<'_>) -> Result<bool> {
    let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(key)
        .map_err(|_| anyhow!("the private key is of a kind or size that can't be used"))?;
    let public = signing.public_key().ok_or_else(|| anyhow!("the private key says no public key"))?;
    let (_, read) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|_| anyhow!("the certificate can't be read"))?;
    Ok(read.public_key().raw == public.as_ref())
}

/// Whole days until then, negative when it has passed.
pub(crate) fn days_left(not_after_ms: TimeMs, now_ms: TimeMs) -> i64 {
    (not_after_ms - now_ms).div_euclid(model::clock::DAY_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_facts_are_those_of_the_certificate() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params =
            rcgen::CertificateParams::new(vec!["mdm.example.org".into(), "192.0.2.7".into()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "mdm.example.org");
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.self_signed(&key).unwrap();
        let read = facts(certificate.der()).unwrap();
        assert_eq!(read.names, ["mdm.example.org", "192.0.2.7"]);
        assert_eq!((read.key, read.signature), (Key::Ec(256), Signature::Sha2));
        assert_eq!((read.server_auth, read.client_auth), (Some(true), Some(false)));
        assert!(read.self_issued && read.topic.is_none() && !read.has_timestamps);
        let own = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        assert!(fits(certificate.der(), &own).unwrap());
        let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let other = PrivateKeyDer::from_pem_slice(other.as_bytes()).unwrap();
        assert!(!fits(certificate.der(), &other).unwrap());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = facts(&bytes);
        }
    }
}
