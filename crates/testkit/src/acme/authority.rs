//! The stand-in's root and intermediate, and what they certify.

use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SerialNumber, SignatureAlgorithm,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use time::OffsetDateTime;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

use super::Error;

pub(super) struct Authority {
    intermediate: Issuer<'static, KeyPair>,
    intermediate_pem: String,
    pub(super) root_pem: String,
}

/// A stranger's public key: a P-256 point.
struct Foreign(Vec<u8>);

impl PublicKeyData for Foreign {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn ca(name: &str, below: u8) -> CertificateParams {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

impl Authority {
    pub(super) fn make() -> Result<Self, Error> {
        let root_key = KeyPair::generate()?;
        let root = ca("ACME stand-in root", 1);
        let root_pem = root.self_signed(&root_key)?.pem();
        let root = Issuer::new(root, root_key);
        let key = KeyPair::generate()?;
        let mut params = ca("ACME stand-in intermediate", 0);
        params.use_authority_key_identifier_extension = true;
        let intermediate_pem = params.signed_by(&key, &root)?.pem();
        Ok(Self { intermediate: Issuer::new(params, key), intermediate_pem, root_pem })
    }

    /// A server's chain and key for `localhost`, PEM.
    pub(super) fn localhost(&self) -> Result<(String, String), Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let own = params.signed_by(&key, &self.intermediate)?.pem();
        Ok((format!("{own}{}", self.intermediate_pem), key.serialize_pem()))
    }

    /// What the directory's own TLS shows.
    pub(super) fn server(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
        use rustls::pki_types::pem::PemObject;
        let bad = |e: rustls::pki_types::pem::Error| Error::Tls(e.to_string());
        let (chain, key) = self.localhost()?;
        let chain =
            CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<_, _>>().map_err(bad)?;
        Ok((chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(bad)?))
    }

    /// A certificate for these names, for whoever's key signed this request; `Err`: what is wrong with it.
    pub(super) fn certify(&self, request: &[u8], names: &[String], life: Duration) -> Result<String, String> {
        let (rest, csr) =
            X509CertificationRequest::from_der(request).map_err(|_| "no PKCS #10".to_owned())?;
        if !rest.is_empty() {
            return Err("there is more than the request".into());
        }
        let point = csr.certification_request_info.subject_pki.subject_public_key.data.to_vec();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &point)
            .verify(csr.certification_request_info.raw, &csr.signature_value.data)
            .map_err(|_| "its signature is not its key's (P-256 with SHA-256)".to_owned())?;
        let mut wanted = Vec::new();
        for extension in csr.requested_extensions().into_iter().flatten() {
            if let ParsedExtension::SubjectAlternativeName(san) = extension {
                for name in &san.general_names {
                    match name {
                        GeneralName::DNSName(name) => wanted.push((*name).to_owned()),
                        _ => return Err("a name that is no DNS name".into()),
                    }
                }
            }
        }
        let mut names = names.to_vec();
        wanted.sort();
        names.sort();
        if wanted != names || csr.certification_request_info.subject.iter_common_name().next().is_some() {
            return Err(format!("its names are {wanted:?}, the order's are {names:?}"));
        }
        let text = |e: rcgen::Error| e.to_string();
        let mut params = CertificateParams::new(names).map_err(text)?;
        params.distinguished_name = DistinguishedName::new();
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let mut serial = [0u8; 12];
        aws_lc_rs::rand::fill(&mut serial).map_err(|_| "no random bytes".to_owned())?;
        if let Some(first) = serial.first_mut() {
            *first = *first & 0x3f | 0x40;
        }
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.not_before = OffsetDateTime::now_utc() - life / 10;
        params.not_after = OffsetDateTime::now_utc() + life * 9 / 10;
        let own = params.signed_by(&Foreign(point), &self.intermediate).map_err(text)?.pem();
        Ok(format!("{own}{}", self.intermediate_pem))
    }
}
