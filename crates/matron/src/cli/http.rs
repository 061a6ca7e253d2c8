//! The HTTP client: hyper over one connection a request, on a runtime of this thread alone.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::failure::{CliError, Result, failed, usage};

/// How long a request may take, and a connection.
const PATIENCE: Duration = Duration::from_secs(60);
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// The largest answer that is read.
const LARGEST_ANSWER_BYTES: usize = 64 << 20;
/// Where systems keep the certificates they trust.
const BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// A server's answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

/// Speaks to one server.
pub(crate) struct Client {
    runtime: tokio::runtime::Runtime,
    server: String,
    host: String,
    port: u16,
    authority: String,
    tls: Option<Arc<rustls::ClientConfig>>,
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_matches(['[', ']']);
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether an address leads to this machine alone.
pub(crate) fn is_loopback_url(url: &str) -> bool {
    url.parse::<Uri>().is_ok_and(|u| u.host().is_some_and(is_loopback))
}

impl Client {
    /// A client of `server`. `plain_http` admits http to an address that is not this machine.
    pub(crate) fn new(server: &str, ca: Option<&Path>, plain_http: bool) -> Result<Self> {
        let wrong = || {
            usage(format!(
                "--server: '{server}' is no address; give for example https://mdm.example.org:8444"
            ))
        };
        let uri: Uri = server.trim_end_matches('/').parse().map_err(|_| wrong())?;
        let authority = uri.authority().ok_or_else(wrong)?;
        if !matches!(uri.path(), "" | "/") || authority.as_str().contains('@') {
            return Err(wrong());
        }
        let host = uri.host().ok_or_else(wrong)?.to_owned();
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong()),
        };
        if !https && !plain_http && !is_loopback(&host) {
            return Err(usage(format!(
                "--server: {server} is another machine, and plain http would show your session to everyone in \
                 between; use https, or accept it with --danger-plain-http"
            )));
        }
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let tls = if https { Some(Arc::new(tls(ca)?)) } else { None };
        Ok(Self { runtime, server: server.to_owned(), host, port, authority: authority.to_string(), tls })
    }

    /// The server as it was named.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// One request and its whole answer, whatever its status.
    pub(crate) fn send(
        &self,
        method: Method,
        path: &str,
        bearer: Option<&str>,
        body: Option<Vec<u8>>,
    ) -> Result<Answer> {
        let mut request = Request::builder().method(method).uri(path).header("host", &self.authority);
        if let Some(secret) = bearer {
            request = request.header("authorization", format!("Bearer {secret}"));
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(Full::new(Bytes::from(body.unwrap_or_default()))).map_err(failed)?;
        self.runtime.block_on(async {
            match tokio::time::timeout(PATIENCE, self.exchange(request)).await {
                Ok(answer) => answer,
                Err(_) => Err(self.away("it did not answer within a minute")),
            }
        })
    }

    fn away(&self, why: impl std::fmt::Display) -> CliError {
        CliError::Unreachable(format!(
            "can't reach {}: {why}. Is 'matron serve' running, and is --server (MATRON_URL) right?",
            self.server
        ))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer> {
        let connecting = TcpStream::connect((self.host.trim_matches(['[', ']']), self.port));
        let stream = match tokio::time::timeout(CONNECT_PATIENCE, connecting).await {
            Ok(Ok(s)) => s,
            Ok(Err(e)) => return Err(self.away(e)),
            Err(_) => return Err(self.away("no connection within 10 seconds")),
        };
        match &self.tls {
            None => self.converse(stream, request).await,
            Some(tls) => {
                let name = ServerName::try_from(self.host.trim_matches(['[', ']']).to_owned());
                let name = name.map_err(|_| usage("--server: not a host's name"))?;
                let connector = tokio_rustls::TlsConnector::from(tls.clone());
                let stream = connector.connect(name, stream).await.map_err(|e| self.away(e))?;
                self.converse(stream, request).await
            }
        }
    }

    async fn converse<S>(&self, stream: S, request: Request<Full<Bytes>>) -> Result<Answer>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| self.away(e))?;
        let driver = tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(|e| self.away(e))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), LARGEST_ANSWER_BYTES).collect().await;
        driver.abort();
        let body = body.map_err(|e| self.away(format!("its answer broke off ({e})")))?;
        Ok(Answer { status, body: body.to_bytes() })
    }
}

fn tls(ca: Option<&Path>) -> Result<rustls::ClientConfig> {
    let from_env = std::env::var_os("SSL_CERT_FILE").map(std::path::PathBuf::from);
    let path =
        match ca.map(Path::to_owned).or(from_env) {
            Some(p) => p,
            None => BUNDLES.iter().map(std::path::PathBuf::from).find(|p| p.is_file()).ok_or_else(|| {
                usage("no trusted certificates were found on this machine; give --server-ca")
            })?,
        };
    let mut roots = rustls::RootCertStore::empty();
    let read = CertificateDer::pem_file_iter(&path)
        .map_err(|e| usage(format!("--server-ca: {}: {e}", path.display())))?;
    roots.add_parsable_certificates(read.flatten());
    if roots.is_empty() {
        return Err(usage(format!("--server-ca: {} holds no certificate (PEM)", path.display())));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(failed)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// A query string of the pairs that have a value, percent-encoded (RFC 3986).
pub(crate) fn query(pairs: &[(&str, Option<String>)]) -> String {
    let mut out = String::new();
    for (name, value) in pairs {
        let Some(value) = value else { continue };
        out.push(if out.is_empty() { '?' } else { '&' });
        out.push_str(name);
        out.push('=');
        out.push_str(&percent(value));
    }
    out
}

/// One path segment or query value.
pub(crate) fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_to_another_machine_is_refused_unless_accepted() {
        assert!(Client::new("http://127.0.0.1:8444", None, false).is_ok());
        assert!(Client::new("http://[::1]:8444/", None, false).is_ok());
        assert!(Client::new("http://localhost:8444", None, false).is_ok());
        assert_eq!(Client::new("http://192.0.2.1:8444", None, false).err().unwrap().code(), 2);
        assert_eq!(Client::new("http://localhost.example.org", None, false).err().unwrap().code(), 2);
        assert!(Client::new("http://192.0.2.1:8444", None, true).is_ok());
        for bad in ["", "127.0.0.1:8444", "ftp://x", "http://a@localhost", "http://localhost/path"] {
            assert!(Client::new(bad, None, false).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_a_person_types_stays_one_value_of_the_query() {
        let q = query(&[("a", Some("x&b=1 é/".into())), ("b", None), ("c", Some("1".into()))]);
        assert_eq!(q, "?a=x%26b%3D1%20%C3%A9%2F&c=1");
    }
}
