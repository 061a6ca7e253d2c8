//! How phones reach a server: whom they trust, which address stands for a name, how TLS is set up.

use crate::http::Connection;
use crate::keys::PhoneKey;
use crate::{Failure, Fault, Step};
use http::Uri;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How many roots may be given, by the operator and the profile together.
const MAX_ROOTS: usize = 16;

/// Whom phones trust, and where they dial. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Network {
    anchors: Arc<Vec<CertificateDer<'static>>>,
    verifier: Arc<Anchored>,
    provider: Arc<CryptoProvider>,
    dial: Option<SocketAddr>,
    timeout: Duration,
}

impl Network {
    /// Phones that trust these certificates: CAs, or the server's own certificate, as PEM or one DER.
    ///
    /// # Errors
    /// [`Fault::Anchor`] if there is no certificate in it, one can't be read, or there are more than 16.
    pub fn trusting(anchors: &[u8]) -> Result<Self, Fault> {
        let certs = if anchors.starts_with(b"0") {
            vec![CertificateDer::from(anchors.to_vec())]
        } else {
            CertificateDer::pem_slice_iter(anchors)
                .collect::<Result<Vec<_>, _>>()
                .map_err(|_| Fault::Anchor("it is no PEM"))?
        };
        Self::with_anchors(certs, None, Duration::from_secs(30))
    }

    fn with_anchors(
        anchors: Vec<CertificateDer<'static>>,
        dial: Option<SocketAddr>,
        timeout: Duration,
    ) -> Result<Self, Fault> {
        if anchors.is_empty() {
            return Err(Fault::Anchor("there is no certificate in it"));
        }
        if anchors.len() > MAX_ROOTS {
            return Err(Fault::Anchor("there are more than 16 certificates"));
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        for cert in &anchors {
            roots.add(cert.clone()).map_err(|_| Fault::Anchor("a certificate can't be read"))?;
        }
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .map_err(|_| Fault::Anchor("no verifier can be made of it"))?;
        let anchors = Arc::new(anchors);
        let verifier = Arc::new(Anchored { chain, exact: anchors.clone() });
        Ok(Self { anchors, verifier, provider, dial, timeout })
    }

    /// The same, dialling `address` whatever host a URL names.
    #[must_use]
    pub fn dialling(mut self, address: SocketAddr) -> Self {
        self.dial = Some(address);
        self
    }

    /// Dials `address` from now on whatever host a URL names; `None`: the host that it names.
    pub(crate) fn dial(&mut self, address: Option<SocketAddr>) {
        self.dial = address;
    }

    /// The same, giving up on an answer after `timeout_ms` (30 s unless set).
    #[must_use]
    pub fn with_timeout_ms(mut self, timeout_ms: u64) -> Self {
        self.timeout = Duration::from_millis(timeout_ms);
        self
    }

    /// The same, trusting the roots of an installed profile as well.
    pub(crate) fn and_trusting(&self, roots_der: &[Vec<u8>]) -> Result<Self, Fault> {
        let new: Vec<_> =
            roots_der.iter().filter(|r| self.anchors.iter().all(|a| a.as_ref() != r.as_slice())).collect();
        if new.is_empty() {
            return Ok(self.clone());
        }
        let mut anchors = (*self.anchors).clone();
        anchors.extend(new.into_iter().map(|der| CertificateDer::from(der.clone())));
        Self::with_anchors(anchors, self.dial, self.timeout)
    }

    /// The certificates that are trusted, DER.
    pub(crate) fn anchors(&self) -> impl Iterator<Item = &[u8]> {
        self.anchors.iter().map(AsRef::as_ref)
    }

    /// TLS 1.3 as a phone does it, with a client certificate if there is one. Keep it with the phone: it
    /// holds the session tickets.
    pub(crate) fn tls(&self, identity: Option<(&PhoneKey, &[u8])>) -> Result<Arc<ClientConfig>, Fault> {
        let builder = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier.clone());
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some((key, cert)) => {
                let certified = CertifiedKey::new(vec![CertificateDer::from(cert.to_vec())], key.tls()?);
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
            }
        };
        // One server, a few tickets: the default would reserve room for 32 servers a phone.
        config.resumption = Resumption::in_memory_sessions(4);
        Ok(Arc::new(config))
    }

    /// Connects to the URL's host.
    pub(crate) async fn connect(&self, url: &Uri, tls: Arc<ClientConfig>) -> Result<Connection, Failure> {
        let open = async {
            let (host, port) = host_and_port(url)?;
            let name =
                ServerName::try_from(host.to_owned()).map_err(|_| Fault::Url("its host is no name"))?;
            let tcp = match self.dial {
                Some(address) => tokio::net::TcpStream::connect(address).await?,
                None => tokio::net::TcpStream::connect((host, port)).await?,
            };
            tcp.set_nodelay(true)?;
            let stream = tokio_rustls::TlsConnector::from(tls).connect(name, tcp).await.map_err(tls_fault)?;
            let authority = url.authority().map(|a| a.as_str()).unwrap_or_default();
            Ok(Connection::new(stream, authority, self.timeout))
        };
        let opened = tokio::time::timeout(self.timeout, open).await.unwrap_or(Err(Fault::Timeout));
        opened.map_err(|fault: Fault| fault.at(Step::Connect))
    }
}

/// tokio-rustls wraps TLS faults into I/O ones.
fn tls_fault(error: std::io::Error) -> Fault {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(tls) => Fault::Tls(tls.clone()),
        None => Fault::Io(error),
    }
}

/// Reads an `https` URL.
pub(crate) fn https(url: &str) -> Result<Uri, Fault> {
    let uri: Uri = url.trim().parse().map_err(|_| Fault::Url("it can't be read"))?;
    if uri.scheme_str() != Some("https") {
        return Err(Fault::Url("it must begin with https://"));
    }
    host_and_port(&uri)?;
    Ok(uri)
}

fn host_and_port(url: &Uri) -> Result<(&str, u16), Fault> {
    let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err(Fault::Url("it names no host"));
    }
    Ok((host, url.port_u16().unwrap_or(443)))
}

/// A chain to an anchor, or exactly one of the anchors: a self-signed server certificate often says that
/// it is a CA, which no chain may end with.
#[derive(Debug)]
struct Anchored {
    chain: Arc<WebPkiServerVerifier>,
    exact: Arc<Vec<CertificateDer<'static>>>,
}

impl ServerCertVerifier for Anchored {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.exact.iter().any(|anchor| anchor == end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        self.chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_urls_with_a_host_are_taken() {
        for good in
            ["https://mdm.example.org/enrol/x", "https://192.0.2.1:8443/", " https://[2001:db8::1]/a\n"]
        {
            assert!(https(good).is_ok(), "{good}");
        }
        for bad in ["http://mdm.example.org/", "", "mdm.example.org", "https://", "https:///x", "file:///etc"]
        {
            assert!(matches!(https(bad), Err(Fault::Url(_))), "{bad}");
        }
    }

    #[test]
    fn an_anchor_without_a_certificate_is_refused() {
        for bad in [
            &b""[..],
            b"no PEM",
            b"0\x03abc",
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            assert!(matches!(Network::trusting(bad), Err(Fault::Anchor(_))));
        }
    }
}
