//! The ways out: a signed webhook, syslog over TLS, and mail (`smtp`).

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use model::TimeMs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::config::{AlarmsConfig, read_secret};
use super::message::Message;
use super::smtp::mail;
use crate::https::Authority;

/// One try takes at most so long.
const PATIENCE: Duration = Duration::from_secs(20);
/// With mail: relays look up who asks, and some greet late on purpose.
const MAIL_PATIENCE: Duration = Duration::from_secs(60);
/// A collector that took everything is waited for so long to close.
const CLOSING: Duration = Duration::from_secs(3);
/// What a webhook answers is read so far and not looked at.
const MOST_ANSWER_BYTES: usize = 64 * 1024;

/// Where alarms go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Destination {
    Webhook,
    Syslog,
    Email,
}

/// It was taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Delivered {
    ToAll,
    /// Not for everybody it was meant for; for whom not, and why.
    ToSome(String),
}

impl Destination {
    /// Those that are configured.
    pub(super) fn of(config: &AlarmsConfig) -> Vec<Self> {
        let webhook = config.webhook_url.as_ref().map(|_| Self::Webhook);
        let syslog = config.syslog.as_ref().map(|_| Self::Syslog);
        let email = config.email_relay.as_ref().map(|_| Self::Email);
        webhook.into_iter().chain(syslog).chain(email).collect()
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Syslog => "syslog",
            Self::Email => "email",
        }
    }

    /// Tries once. Why not, without a secret or what the other side wrote.
    pub(super) async fn send(
        self,
        config: &AlarmsConfig,
        message: &Message,
        now_ms: TimeMs,
    ) -> Result<Delivered, String> {
        let patience = if self == Self::Email { MAIL_PATIENCE } else { PATIENCE };
        let sent = async {
            match self {
                Self::Webhook => webhook(config, message, now_ms).await.map(|()| Delivered::ToAll),
                Self::Syslog => syslog(config, message).await.map(|()| Delivered::ToAll),
                Self::Email => mail(config, message).await,
            }
        };
        tokio::time::timeout(patience, sent)
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {} seconds", patience.as_secs())))
    }
}

/// The files are read anew each time: a renewed certificate or anchor needs no restart.
pub(super) fn tls(config: &AlarmsConfig, client: bool) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let read = |path: &std::path::Path| -> Result<Vec<CertificateDer<'static>>, String> {
        CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect)
            .map_err(|e| format!("{}: {e}", path.display()))
    };
    if let Some(path) = &config.trust_anchor {
        for own in read(path)? {
            roots.add(own).map_err(|e| format!("{}: {e}", path.display()))?;
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots);
    match (&config.syslog_certificate, &config.syslog_key) {
        (Some(chain), Some(key)) if client => {
            let key_der = PrivateKeyDer::from_pem_file(key).map_err(|e| format!("{}: {e}", key.display()))?;
            builder
                .with_client_auth_cert(read(chain)?, key_der)
                .map_err(|e| format!("{}: {e}", chain.display()))
        }
        _ => Ok(builder.with_no_client_auth()),
    }
}

fn unreachable(to: &Authority, error: &std::io::Error) -> String {
    format!("{} port {} can't be reached: {error}", to.host, to.port)
}

pub(super) async fn reach(to: &Authority) -> Result<TcpStream, String> {
    TcpStream::connect((to.host.as_str(), to.port)).await.map_err(|e| unreachable(to, &e))
}

pub(super) async fn over_tls(
    to: &Authority,
    tls: ClientConfig,
    tcp: TcpStream,
) -> Result<TlsStream<TcpStream>, String> {
    let name = ServerName::try_from(to.host.clone()).map_err(|e| e.to_string())?;
    TlsConnector::from(Arc::new(tls)).connect(name, tcp).await.map_err(|e| unreachable(to, &e))
}

async fn connect(to: &Authority, tls: ClientConfig) -> Result<TlsStream<TcpStream>, String> {
    over_tls(to, tls, reach(to).await?).await
}

/// POST, signed as Standard Webhooks has it: HMAC-SHA-256 of id, time and body.
async fn webhook(config: &AlarmsConfig, message: &Message, now_ms: TimeMs) -> Result<(), String> {
    let (Some(Ok(to)), Some(url), Some(secret)) =
        (config.webhook(), &config.webhook_url, &config.webhook_secret)
    else {
        return Err("no webhook is configured".into());
    };
    let secret = read_secret(secret)?;
    let uri: Uri = url.parse().map_err(|_| "alarms.webhook_url is no URL".to_owned())?;
    let (id, seconds, body) = (message.id(), now_ms.div_euclid(1000), message.json().to_string());
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
    let signature = STANDARD.encode(hmac::sign(&key, format!("{id}.{seconds}.{body}").as_bytes()));
    let request = Request::builder()
        .method(Method::POST)
        .uri(uri.path_and_query().map_or("/", |p| p.as_str()))
        .header(HOST, uri.authority().map(|a| a.as_str()).unwrap_or_default())
        .header(CONTENT_TYPE, "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", seconds)
        .header("webhook-signature", format!("v1,{signature}"))
        .body(Full::new(Bytes::from(body)))
        .map_err(|e| e.to_string())?;
    let mut tls = tls(config, false)?;
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let stream = connect(&to, tls).await?;
    let answered = |e: hyper::Error| format!("{} did not answer: {e}", to.host);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(answered)?;
    let connection = tokio::spawn(connection);
    let answer = sender.send_request(request).await.map_err(answered);
    let status = match answer {
        Ok(answer) => {
            let status = answer.status();
            let _ = Limited::new(answer.into_body(), MOST_ANSWER_BYTES).collect().await;
            Ok(status)
        }
        Err(e) => Err(e),
    };
    connection.abort();
    match status? {
        status if status.is_success() => Ok(()),
        status => Err(format!("{} answered {}", to.host, status.as_u16())),
    }
}

/// RFC 5425 has no acknowledgement: what was written, and read by one who then closed without an error, counts as
/// delivered.
async fn syslog(config: &AlarmsConfig, message: &Message) -> Result<(), String> {
    let Some(Ok(to)) = config.syslog_authority() else { return Err("no syslog is configured".into()) };
    let lost = |e: std::io::Error| format!("{} broke the connection off: {e}", to.host);
    let mut stream = connect(&to, tls(config, true)?).await?;
    stream.write_all(&message.syslog_frame()).await.map_err(lost)?;
    stream.flush().await.map_err(lost)?;
    stream.shutdown().await.map_err(lost)?;
    // With TLS 1.3 a client learns only here that its certificate was refused.
    let mut answer = [0; 256];
    loop {
        match tokio::time::timeout(CLOSING, stream.read(&mut answer)).await {
            Err(_) | Ok(Ok(0)) => return Ok(()),
            Ok(Ok(_)) => {}
            Ok(Err(e)) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(()),
            Ok(Err(e)) => return Err(lost(e)),
        }
    }
}
