//! TCP, TLS and one HTTP request at a time.
//!
//! To look at a certificate that a phone would refuse, a handshake here takes any. So nothing secret goes over
//! such a connection: what carries an invitation link is sent only where the chain was found good.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{
    AlertDescription, ClientConfig, DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;

use super::super::Check;

/// How long a name, a connection, a handshake or an answer may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long a server that wants a certificate may take to say so.
const SILENCE: Duration = Duration::from_secs(1);
/// The largest answer that is read.
const LARGEST_ANSWER_BYTES: usize = 1 << 20;

/// Where to connect, and as whom.
pub(super) struct Wire {
    pub(super) address: SocketAddr,
    pub(super) host: String,
    pub(super) authority: String,
}

/// What a handshake showed.
pub(super) struct Probed {
    /// As the server sent it, its own first.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// The server asked for a certificate.
    pub(super) asks_for_certificate: bool,
    /// It ended the connection because there was none.
    pub(super) requires_certificate: bool,
}

/// An answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The media type without its parameters.
    pub(super) fn kind(&self) -> &str {
        self.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default().trim()
    }
}

/// Tries each address; gives the first that takes a connection.
pub(super) async fn reachable(addresses: &[IpAddr], port: u16, out: &mut Vec<Check>) -> Option<SocketAddr> {
    let id = "tcp";
    let mut good = Vec::new();
    let mut bad = Vec::new();
    for ip in addresses {
        let address = SocketAddr::new(*ip, port);
        match tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await {
            Ok(Ok(_)) => good.push(address),
            Ok(Err(e)) => bad.push(format!("{address}: {e}")),
            Err(_) => bad.push(format!("{address}: no answer within 10 seconds")),
        }
    }
    let Some(first) = good.first() else {
        out.push(Check::fail(
            id,
            bad.join("; "),
            "phones can't connect",
            format!("is Matron running, and does every firewall let port {port} in?"),
        ));
        return None;
    };
    let told: Vec<_> = good.iter().map(ToString::to_string).collect();
    out.push(if bad.is_empty() {
        Check::ok(id, format!("{} answers", told.join(", ")))
    } else {
        Check::warn(
            id,
            format!("{} answers; {}", told.join(", "), bad.join("; ")),
            "phones that are given the other address first wait, or fail",
            "make every address of the name answer, or take it out of the DNS",
        )
    });
    Some(*first)
}

/// Takes any certificate and remembers it.
#[derive(Debug)]
struct Recorder {
    provider: Arc<CryptoProvider>,
    chain: Mutex<Vec<CertificateDer<'static>>>,
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let mut chain = vec![end_entity.clone().into_owned()];
        chain.extend(intermediates.iter().map(|c| c.clone().into_owned()));
        *self.chain.lock().unwrap_or_else(PoisonError::into_inner) = chain;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        // SHA-1 too: a server that has nothing better shall show its certificate.
        let mut all = self.provider.signature_verification_algorithms.supported_schemes();
        all.push(SignatureScheme::RSA_PKCS1_SHA1);
        all
    }
}

/// Has no certificate, and notices that it was asked for one.
#[derive(Debug, Default)]
struct Asked(AtomicBool);

impl ResolvesClientCert for Asked {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<rustls::sign::CertifiedKey>> {
        self.0.store(true, Ordering::Relaxed);
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

type Tls = tokio_rustls::client::TlsStream<TcpStream>;

fn io(e: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> std::io::Error {
    std::io::Error::other(e)
}

impl Wire {
    async fn connect(&self, config: ClientConfig) -> std::io::Result<Tls> {
        let host = ServerName::try_from(self.host.clone()).map_err(io)?;
        let connecting = async {
            let tcp = TcpStream::connect(self.address).await?;
            tokio_rustls::TlsConnector::from(Arc::new(config)).connect(host, tcp).await
        };
        tokio::time::timeout(PATIENCE, connecting)
            .await
            .map_err(|_| std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer within 10 seconds"))?
    }

    /// One request over a connection of its own, under this configuration.
    pub(super) async fn ask(
        &self,
        config: ClientConfig,
        method: Method,
        path: &str,
        body: &'static [u8],
    ) -> std::io::Result<Answer> {
        let tls = self.connect(config).await?;
        let asking = async {
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(tls)).await.map_err(io)?;
            let driven = tokio::spawn(connection);
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header("host", &self.authority)
                .header("user-agent", concat!("matron-doctor/", env!("CARGO_PKG_VERSION")))
                .body(Full::new(Bytes::from_static(body)))
                .map_err(io)?;
            let answered = sender.send_request(request).await;
            let response = match answered {
                Ok(response) => response,
                Err(e) => {
                    // What TLS said is the better reason: "certificate required" comes only now with TLS 1.3.
                    let why = match driven.await {
                        Ok(Err(of_connection)) => of_connection,
                        _ => e,
                    };
                    return Err(io(why));
                }
            };
            let (head, body) = response.into_parts();
            let body = Limited::new(body, LARGEST_ANSWER_BYTES).collect().await.map_err(io)?.to_bytes();
            Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
        };
        tokio::time::timeout(PATIENCE, asking)
            .await
            .map_err(|_| std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer within 10 seconds"))?
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// A configuration that takes any certificate and offers these versions.
pub(super) fn taking_any(versions: &[&'static SupportedProtocolVersion]) -> std::io::Result<ClientConfig> {
    Ok(recording(versions)?.0)
}

fn recording(
    versions: &[&'static SupportedProtocolVersion],
) -> std::io::Result<(ClientConfig, Arc<Recorder>, Arc<Asked>)> {
    let recorder = Arc::new(Recorder { provider: provider(), chain: Mutex::default() });
    let asked = Arc::new(Asked::default());
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .map_err(io)?
        .dangerous()
        .with_custom_certificate_verifier(recorder.clone())
        .with_client_cert_resolver(asked.clone());
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Every connection shows its certificate anew.
    config.resumption = rustls::client::Resumption::disabled();
    Ok((config, recorder, asked))
}

/// A configuration that trusts these roots alone, as a phone would.
pub(super) fn trusting(roots: rustls::RootCertStore) -> std::io::Result<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(io)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

pub(super) const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

/// Handshakes with what a phone offers, then with each version alone.
pub(super) async fn handshakes(wire: &Wire, out: &mut Vec<Check>) -> Option<Probed> {
    let id = "tls";
    let (config, recorder, asked) = recording(BOTH).ok()?;
    let mut tls = match wire.connect(config).await {
        Ok(tls) => tls,
        // With TLS 1.2 the handshake itself ends.
        Err(_) if asked.0.load(Ordering::Relaxed) => {
            let chain = recorder.chain.lock().unwrap_or_else(PoisonError::into_inner).clone();
            return Some(Probed { chain, asks_for_certificate: true, requires_certificate: true });
        }
        Err(e) => {
            out.push(refused(&e));
            return None;
        }
    };
    let (_, state) = tls.get_ref();
    let suite = state.negotiated_cipher_suite().map(|s| format!("{:?}", s.suite())).unwrap_or_default();
    let version = state
        .protocol_version()
        .map(|v| format!("{v:?}"))
        .unwrap_or_default()
        .replace('_', ".")
        .replace("TLSv", "TLS ");
    let is_13 = state.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3);
    let found = format!("{version}, {suite}: forward secrecy");
    out.push(if is_13 {
        let old_too = match recording(&[&rustls::version::TLS12]) {
            Ok((config, ..)) => wire.connect(config).await.is_ok(),
            Err(_) => false,
        };
        Check::ok(
            id,
            if old_too { format!("{found}; TLS 1.2 too") } else { format!("{found}; TLS 1.3 alone") },
        )
    } else {
        Check::warn(
            id,
            format!("{found}; no TLS 1.3"),
            "phones connect; with TLS 1.2 their certificate goes over the line in the clear",
            "let TLS 1.3 in at the load balancer, or pass TLS through to Matron",
        )
    });
    let requires_certificate = asked.0.load(Ordering::Relaxed) && is_ended(&mut tls).await;
    drop(tls);
    let chain = recorder.chain.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Some(Probed { chain, asks_for_certificate: asked.0.load(Ordering::Relaxed), requires_certificate })
}

/// With TLS 1.3 a server that wants a certificate says so only after the handshake. One that doesn't waits
/// for a request.
async fn is_ended(tls: &mut Tls) -> bool {
    use tokio::io::AsyncReadExt;
    let mut byte = [0u8; 1];
    let said = tokio::time::timeout(SILENCE, tls.read(&mut byte)).await;
    let Ok(Err(e)) = said else { return false };
    let of_tls = e.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
    matches!(
        of_tls,
        Some(rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
                | AlertDescription::HandshakeFailure
                | AlertDescription::BadCertificate
        ))
    )
}

/// Why a handshake failed, in a phone's eyes.
fn refused(error: &std::io::Error) -> Check {
    let id = "tls";
    let tls = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
    let (found, remedy) = match tls {
        Some(
            rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)
            | rustls::Error::PeerIncompatible(_),
        ) => (
            format!("no common version: {error}"),
            "the server speaks TLS 1.1 or older; let it speak TLS 1.2 and 1.3",
        ),
        Some(rustls::Error::AlertReceived(AlertDescription::HandshakeFailure)) => (
            "no common cipher: the server offers none with forward secrecy (ECDHE), or no key that fits one"
                .to_owned(),
            "let the server use ECDHE with AES-GCM or ChaCha20",
        ),
        Some(rustls::Error::InvalidMessage(_)) => (
            "what answers there speaks no TLS".to_owned(),
            "is this the phones' port, and not that of plain HTTP?",
        ),
        _ => (error.to_string(), "is this the phones' port? What stands in front of it?"),
    };
    Check::fail(id, found, "App Transport Security: a phone refuses the connection", remedy)
}
