//! TLS with or without a phone's certificate, and the enrolment id that stands in one.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use model::{Digest, EnrolmentId};
use order::Authority;
use rpc::authorities::Authorities;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::Error;
use crate::acme::{ACME_TLS, AcmeChallengeKind, Shown};
use crate::install::CA_CERTIFICATE;
use crate::room::Config;
use crate::served::{Served, pem_chain};

fn tls(e: impl std::fmt::Display) -> Error {
    Error::Tls(e.to_string())
}

/// The phones' listener: its TLS, made anew when a CA comes or goes.
pub(crate) struct Front {
    acme: bool,
    shown: Shown,
    authorities: Arc<Authorities>,
    built: RwLock<Built>,
}

struct Built {
    /// Of the CAs.
    generation: u64,
    taken: Arc<[Authority]>,
    acceptor: TlsAcceptor,
    /// Ends the connections that began with it.
    ends: watch::Sender<bool>,
}

impl Front {
    pub(crate) fn new(config: &Config, shown: Shown, authorities: Arc<Authorities>) -> Result<Self, Error> {
        let acme = config.acme.as_ref().is_some_and(|a| a.challenge == AcmeChallengeKind::TlsAlpn01);
        let (generation, taken) = (authorities.generation(), authorities.all());
        let acceptor = TlsAcceptor::from(server_config(acme, shown.clone(), &taken)?);
        let built = Built { generation, taken, acceptor, ends: watch::channel(false).0 };
        Ok(Self { acme, shown, authorities, built: RwLock::new(built) })
    }

    /// What takes the next connection, and what says when that one has to end.
    pub(crate) fn now(&self) -> (TlsAcceptor, watch::Receiver<bool>) {
        let built = self.built.read().unwrap_or_else(PoisonError::into_inner);
        (built.acceptor.clone(), built.ends.subscribe())
    }

    /// Goes by the CAs that count now. When one ended, connections and session tickets that began with it end too: who was
    /// let in by that CA is let in by it no more. The others' phones come again.
    pub(crate) fn follow(&self) -> Result<(), Error> {
        let mut built = self.built.write().unwrap_or_else(PoisonError::into_inner);
        let (generation, taken) = (self.authorities.generation(), self.authorities.all());
        if built.generation == generation {
            return Ok(());
        }
        built.acceptor = TlsAcceptor::from(server_config(self.acme, self.shown.clone(), &taken)?);
        built.generation = generation;
        let counts = |ca: &Authority| taken.iter().any(|new| new.certificate == ca.certificate);
        if !built.taken.iter().all(counts) {
            built.ends.send_replace(true);
            built.ends = watch::channel(false).0;
            tracing::info!(
                "an older CA has ended: its certificates are taken no more, and connections begin anew"
            );
        }
        built.taken = taken;
        Ok(())
    }

    /// Lets every connection finish.
    pub(crate) fn end(&self) {
        self.built.read().unwrap_or_else(PoisonError::into_inner).ends.send_replace(true);
    }
}

/// The configuration of the phones' listener. A certificate of one of our CAs with the client purpose is
/// taken, its absence too (invitations and SCEP come before it), any other ends the handshake.
fn server_config(acme: bool, shown: Shown, authorities: &[Authority]) -> Result<Arc<ServerConfig>, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for ca in authorities {
        roots.add(CertificateDer::from(ca.certificate.clone())).map_err(tls)?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(tls)?;
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(tls)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(shown));
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    if acme {
        server.alpn_protocols.push(ACME_TLS.to_vec());
    }
    // The default cache of sessions holds 256; tickets hold any number of phones.
    server.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(tls)?;
    Ok(Arc::new(server))
}

/// The configuration of a listener behind a load balancer that ends the phones' TLS: nobody gets in who does not
/// show a certificate of this CA.
pub(crate) fn balancer_config(ca: &Path, served: Arc<Served>) -> Result<Arc<ServerConfig>, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for root in pem_chain(ca)? {
        roots.add(root).map_err(tls)?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(tls)?
        .with_client_cert_verifier(verifier.build().map_err(tls)?)
        .with_cert_resolver(served);
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(server))
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// A phone, as its certificate says.
    Phone(Phone),
    /// Someone without a phone's certificate.
    Stranger,
    /// A load balancer that ended the phones' TLS: each message says by its signature whose it is.
    Balancer,
}

/// The phone at the other end of a connection, as its certificate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Phone {
    pub(crate) enrolment: EnrolmentId,
    /// SHA-256 of the certificate: core tells by it whether a renewed one is in use.
    pub(crate) certificate: Digest,
}

/// The phone that a certificate of our CA names.
pub(crate) fn phone_of(certificate: &CertificateDer<'_>) -> Option<Phone> {
    let enrolment = enrolment_of(certificate)?;
    Some(Phone { enrolment, certificate: order::sha256(certificate) })
}

/// The door's TLS alone, from its own folder: what `matron bench` gives its bare servers, so that they
/// and the door shake hands in the same way.
///
/// # Errors
/// [`Error`] when the door's folder is not usable.
pub fn tls_of(config: &Config) -> Result<Arc<ServerConfig>, Error> {
    let authorities = authorities_of(config)?.all();
    let shown = Shown { served: crate::served::open(config, &authorities)?, answers: None };
    let acme = config.acme.as_ref().is_some_and(|a| a.challenge == AcmeChallengeKind::TlsAlpn01);
    server_config(acme, shown, &authorities)
}

/// The CAs that count, from the door's folder.
pub(crate) fn authorities_of(config: &Config) -> Result<Authorities, Error> {
    let dir = &config.data_dir;
    Authorities::open(dir, CA_CERTIFICATE).map_err(|e| Error::files("CAs that count", dir, e))
}

/// The enrolment id in a certificate that our CA issued to a phone: subject `CN=<id>`,
/// `O=Matron device`. `None` for any other certificate, even one of our CA's.
fn enrolment_of(certificate: &CertificateDer<'_>) -> Option<EnrolmentId> {
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
