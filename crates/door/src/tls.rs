//! TLS with or without a phone's certificate, and the enrolment id that stands in one.

use std::path::Path;
use std::sync::Arc;

use model::EnrolmentId;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::Error;
use crate::install::{CA_CERTIFICATE, TLS_CERTIFICATE, TLS_KEY, read};
use crate::room::Config;

fn tls(e: impl std::fmt::Display) -> Error {
    Error::Tls(e.to_string())
}

/// The configuration of the phones' listener. A certificate of our CA with the client purpose is
/// taken, its absence too (invitations and SCEP come before it), any other ends the handshake.
pub(crate) fn server_config(config: &Config) -> Result<Arc<ServerConfig>, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let ca = CertificateDer::from(read(&config.data_dir, CA_CERTIFICATE)?.to_vec());
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone()).map_err(tls)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(tls)?;
    let (chain, key) = match (&config.tls_certificate, &config.tls_key) {
        (Some(certificate), Some(key)) => (pem_chain(certificate)?, pem_key(key)?),
        _ => {
            let own = CertificateDer::from(read(&config.data_dir, TLS_CERTIFICATE)?.to_vec());
            let key = read(&config.data_dir, TLS_KEY)?;
            (vec![own, ca], PrivateKeyDer::try_from(key.to_vec()).map_err(tls)?)
        }
    };
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(tls)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(tls)?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    // The default cache of sessions holds 256; tickets hold any number of phones.
    server.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(tls)?;
    Ok(Arc::new(server))
}

fn pem_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let bad = |e: &dyn std::fmt::Display| Error::files("TLS certificate (phones.tls_certificate)", path, e);
    let certificates = CertificateDer::pem_file_iter(path).map_err(|e| bad(&e))?;
    let chain: Vec<_> = certificates.collect::<Result<_, _>>().map_err(|e| bad(&e))?;
    if chain.is_empty() { Err(bad(&"it holds no certificate")) } else { Ok(chain) }
}

fn pem_key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_file(path).map_err(|e| Error::files("TLS key (phones.tls_key)", path, e))
}

/// The enrolment id in a certificate that our CA issued to a phone: subject `CN=<id>`,
/// `O=Matron device`. `None` for any other certificate, even one of our CA's.
pub(crate) fn enrolment_of(certificate: &CertificateDer<'_>) -> Option<EnrolmentId> {
    let (rest, certificate) = X509Certificate::from_der(certificate).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let subject = certificate.subject();
    let organization = subject.iter_organization().next()?.as_str().ok()?;
    let name = subject.iter_common_name().next()?.as_str().ok()?;
    if organization != "Matron device" || name.len() != 32 {
        return None;
    }
    name.parse().ok()
}
