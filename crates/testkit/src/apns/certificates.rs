//! The stand-in's own CA, its server certificate, and push certificates as Apple's portal would give them.

use std::net::IpAddr;
use std::sync::Arc;

use model::TimeMs;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use time::OffsetDateTime;

use super::Error;

/// attributeType userid (RFC 4519): where an MDM push certificate has its topic.
const USER_ID: &[u64] = &[0, 9, 2342, 19_200_300, 100, 1, 1];

/// A push certificate with its key.
#[derive(Clone)]
pub struct PushIdentity {
    /// PEM.
    pub cert_pem: String,
    /// PKCS#8, PEM, without a passphrase.
    pub key_pem: String,
}

impl std::fmt::Debug for PushIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PushIdentity(sealed)")
    }
}

/// The stand-in's CA: it certifies both ends.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
    pub pem: String,
}

impl Authority {
    pub fn make() -> Result<Self, Error> {
        let key = KeyPair::generate()?;
        let mut params = params("Push stand-in test CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?;
        Ok(Self { der: certificate.der().clone(), pem: certificate.pem(), issuer: Issuer::new(params, key) })
    }

    /// What the server shows and asks for: a certificate for `address` and `localhost`; from the other end
    /// one of this CA.
    pub fn server(&self, address: IpAddr) -> Result<rustls::ServerConfig, Error> {
        let tls = |e: &dyn std::fmt::Display| Error::Tls(e.to_string());
        let key = KeyPair::generate()?;
        let mut params = params("Push stand-in");
        params.subject_alt_names = vec![SanType::IpAddress(address)];
        params.subject_alt_names.push(SanType::DnsName("localhost".try_into()?));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &self.issuer)?;

        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).map_err(|e| tls(&e))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .map_err(|e| tls(&e))?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| tls(&e))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate.der().clone()], key)
            .map_err(|e| tls(&e))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }

    /// A push certificate for this topic, valid until then.
    pub fn push(&self, topic: &str, until_ms: TimeMs) -> Result<PushIdentity, Error> {
        let key = KeyPair::generate()?;
        let mut params = params("APSP:stand-in");
        params.distinguished_name.push(DnType::CustomDnType(USER_ID.to_vec()), topic);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let until = OffsetDateTime::from_unix_timestamp(until_ms.div_euclid(1000));
        params.not_after = until.map_err(|_| rcgen::Error::Time)?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(PushIdentity { cert_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }
}

fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

/// The topic of a client's certificate.
pub(crate) fn topic_of(der: &[u8]) -> Option<String> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let user_id = USER_ID.iter().map(u64::to_string).collect::<Vec<_>>().join(".");
    let found = certificate.subject().iter_attributes().find(|a| a.attr_type().to_id_string() == user_id)?;
    found.as_str().ok().map(str::to_owned)
}
