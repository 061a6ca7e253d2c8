//! One HTTPS request at a time, to a host and port that the caller names: no redirect is followed, no proxy asked, no
//! cookie kept; what is read is bounded.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Request, Uri, response};
use http_body_util::{BodyExt, Limited};
use hyper::body::Body;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;

use crate::Error;

/// Host and port that requests go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Authority {
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// Where an `https` URL leads, or why it is none.
pub(crate) fn authority_of(url: &str) -> Result<Authority, &'static str> {
    let uri: Uri = url.parse().map_err(|_| "must be a URL such as https://id.example.org/path")?;
    if uri.scheme_str() != Some("https") {
        return Err("must begin with https://");
    }
    let authority = uri.authority().ok_or("must name a host")?;
    if authority.as_str().contains('@') {
        return Err("must have no user name");
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    Ok(Authority { host, port: authority.port_u16().unwrap_or(443) })
}

/// What other servers write, cut short and without control characters, for the log and the health page.
pub(crate) fn bounded(text: &str) -> String {
    const MOST_CHARS: usize = 300;
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST_CHARS).collect()
}

/// Why a request was not answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAnswered {
    #[error("it can't be reached: {0}")]
    Connection(#[from] std::io::Error),
    #[error("its answer can't be read: {0}")]
    Http(#[from] hyper::Error),
    #[error("its answer is too large or was cut short")]
    Body,
    #[error("the request can't be written")]
    Request,
}

/// A client that trusts the public roots, and those of this file beside them.
pub(crate) fn client(trust_anchor: Option<&Path>) -> Result<Arc<ClientConfig>, Error> {
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    if let Some(path) = trust_anchor {
        let bad = |why: String| Error::BadFile { path: path.to_owned(), why };
        for own in CertificateDer::pem_file_iter(path).map_err(|e| bad(e.to_string()))? {
            roots.add(own.map_err(|e| bad(e.to_string()))?).map_err(|e| bad(e.to_string()))?;
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::Keys(e.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(tls))
}

/// Sends one request there over a connection of its own and reads at most so many bytes.
pub(crate) async fn send<B>(
    tls: &Arc<ClientConfig>,
    to: &Authority,
    request: Request<B>,
    most_bytes: usize,
) -> Result<(response::Parts, Bytes), NotAnswered>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (mut head, body) = request.into_parts();
    let named = head.uri.authority().map(|a| a.as_str().to_owned()).unwrap_or_default();
    let path = head.uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
    head.uri = path.parse().map_err(|_| NotAnswered::Request)?;
    head.headers.insert(HOST, HeaderValue::try_from(named).map_err(|_| NotAnswered::Request)?);
    let tcp = TcpStream::connect((to.host.as_str(), to.port)).await?;
    let name = ServerName::try_from(to.host.clone()).map_err(std::io::Error::other)?;
    let tls = tokio_rustls::TlsConnector::from(tls.clone()).connect(name, tcp).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls)).await?;
    let connection = tokio::spawn(connection);
    let answered = sender.send_request(Request::from_parts(head, body)).await;
    let read = async {
        let (head, body) = answered?.into_parts();
        let body = Limited::new(body, most_bytes).collect().await.map_err(|_| NotAnswered::Body)?;
        Ok((head, body.to_bytes()))
    };
    read.await.inspect_err(|_: &NotAnswered| connection.abort())
}
