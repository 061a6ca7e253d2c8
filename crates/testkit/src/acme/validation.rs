//! The authority looks: it really connects, and what it sees has to be exactly right.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

const PATIENCE: Duration = Duration::from_secs(10);
/// id-pe-acmeIdentifier (RFC 8737, 3).
const ACME_IDENTIFIER: &str = "1.3.6.1.5.5.7.1.31";

/// Error type and detail of a problem document.
pub(super) type Seen = Result<(), (&'static str, String)>;

fn connection(e: impl std::fmt::Display) -> (&'static str, String) {
    ("connection", e.to_string())
}

fn wrong(detail: impl Into<String>) -> (&'static str, String) {
    ("unauthorized", detail.into())
}

pub(super) async fn http01(at: SocketAddr, host: &str, token: &str, key_authorization: &str) -> Seen {
    let look = async {
        let tcp = TcpStream::connect(at).await.map_err(connection)?;
        let (mut sender, line) =
            hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await.map_err(connection)?;
        let line = tokio::spawn(line);
        let request = Request::get(format!("/.well-known/acme-challenge/{token}"))
            .header("host", host)
            .body(Empty::<Bytes>::new())
            .map_err(connection)?;
        let answer = sender.send_request(request).await.map_err(connection)?;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(connection)?.to_bytes();
        line.abort();
        if status != 200 {
            return Err(wrong(format!("status {status}")));
        }
        if &body[..] != key_authorization.as_bytes() {
            return Err(wrong("another key authorization"));
        }
        Ok(())
    };
    tokio::time::timeout(PATIENCE, look).await.unwrap_or_else(|_| Err(connection("no answer in time")))
}

pub(super) async fn tls_alpn01(at: SocketAddr, host: &str, key_authorization: &str) -> Seen {
    let look = async {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(connection)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anything(provider)))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
        let tcp = TcpStream::connect(at).await.map_err(connection)?;
        let name = ServerName::try_from(host.to_owned()).map_err(connection)?;
        let tls = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await;
        let tls = tls.map_err(|e| ("tls", e.to_string()))?;
        let state = tls.get_ref().1;
        if state.alpn_protocol() != Some(b"acme-tls/1") {
            return Err(wrong("acme-tls/1 was not agreed on"));
        }
        match state.peer_certificates() {
            Some([one]) => check_certificate(one, host, key_authorization),
            _ => Err(wrong("not one certificate")),
        }
    };
    tokio::time::timeout(PATIENCE, look).await.unwrap_or_else(|_| Err(connection("no answer in time")))
}

/// RFC 8737, 3: one dNSName, and the critical acmeIdentifier with the key authorization's SHA-256.
fn check_certificate(der: &CertificateDer<'_>, host: &str, key_authorization: &str) -> Seen {
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|e| wrong(e.to_string()))?;
    let names = certificate.subject_alternative_name().map_err(|e| wrong(e.to_string()))?;
    let names = names.map(|n| n.value.general_names.as_slice()).unwrap_or_default();
    let one_name = matches!(names, [GeneralName::DNSName(name)] if name.eq_ignore_ascii_case(host));
    if !rest.is_empty() || !one_name || certificate.subject() != certificate.issuer() {
        return Err(wrong("not a self-signed certificate for this host alone"));
    }
    let found = certificate.extensions().iter().find(|e| e.oid.to_id_string() == ACME_IDENTIFIER);
    let extension = found.ok_or_else(|| wrong("no acmeIdentifier"))?;
    let expected = [&[4, 32][..], digest(&SHA256, key_authorization.as_bytes()).as_ref()].concat();
    if !extension.critical || extension.value != expected {
        return Err(wrong("the acmeIdentifier is not critical, or is another"));
    }
    Ok(())
}

/// Takes any certificate: the validation looks at it itself. The handshake's signature is checked.
#[derive(Debug)]
struct Anything(Arc<CryptoProvider>);

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // webpki refuses a certificate with a critical extension that it does not know, and this one has it.
        key_signed(&self.0, message, cert, dss, false)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        key_signed(&self.0, message, cert, dss, true)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

fn key_signed(
    provider: &CryptoProvider,
    message: &[u8],
    cert: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
    tls13: bool,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    let bad = || rustls::Error::General("the handshake is not signed by the certificate's key".into());
    let (_, certificate) = X509Certificate::from_der(cert).map_err(|_| bad())?;
    let spki = rustls::pki_types::SubjectPublicKeyInfoDer::from(certificate.public_key().raw);
    let algorithms = &provider.signature_verification_algorithms;
    if tls13 {
        return rustls::crypto::verify_tls13_signature_with_raw_key(message, &spki, dss, algorithms);
    }
    let key = &certificate.public_key().subject_public_key.data;
    aws_lc_rs::signature::UnparsedPublicKey::new(&aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1, key)
        .verify(message, dss.signature())
        .map(|()| HandshakeSignatureValid::assertion())
        .map_err(|_| bad())
}
