//! A webhook's receiver of the drill's own: when an alarm came, by its own clock.

use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use model::{Clock, SystemClock, TimeMs};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// The longest that an alarm is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// An alarm that came.
#[derive(Debug, Clone)]
pub(crate) struct Came {
    pub(crate) at_ms: TimeMs,
    pub(crate) kind: String,
}

/// What came so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hooks(Arc<Mutex<Vec<Came>>>);

impl Hooks {
    /// Listens on loopback with this TLS; gives the settings that lead a house's alarms here. What the house has to
    /// trust and to sign with lies in `folder`.
    pub(crate) async fn listen(
        folder: &Path,
        ca_pem: &[u8],
        tls: Arc<rustls::ServerConfig>,
    ) -> Result<(Self, Vec<String>)> {
        std::fs::create_dir_all(folder)?;
        let mut secret = [0u8; 32];
        SystemRandom::new().fill(&mut secret).ok().context("no random numbers")?;
        std::fs::write(folder.join("ca.pem"), ca_pem)?;
        std::fs::write(folder.join("secret"), format!("whsec_{}\n", STANDARD.encode(secret)))?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let hooks = Self::default();
        tokio::spawn(hooks.clone().take(listener, TlsAcceptor::from(tls)));
        let settings = vec![
            format!("alarms.webhook_url=https://localhost:{port}/drill"),
            format!("alarms.webhook_secret={}", folder.join("secret").display()),
            format!("alarms.trust_anchor={}", folder.join("ca.pem").display()),
        ];
        Ok((hooks, settings))
    }

    fn hold(&self) -> MutexGuard<'_, Vec<Came>> {
        // Whoever panicked left a whole list.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn take(self, listener: TcpListener, tls: TlsAcceptor) {
        while let Ok((stream, _)) = listener.accept().await {
            let (hooks, tls) = (self.clone(), tls.clone());
            tokio::spawn(async move {
                let Ok(stream) = tls.accept(stream).await else { return };
                let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                    let hooks = hooks.clone();
                    async move {
                        let at_ms = SystemClock.now_ms();
                        let body =
                            request.into_body().collect().await.map(|b| b.to_bytes()).unwrap_or_default();
                        let said: Value = serde_json::from_slice(&body).unwrap_or_default();
                        let kind = said.pointer("/data/kind").and_then(Value::as_str).unwrap_or_default();
                        hooks.hold().push(Came { at_ms, kind: kind.to_owned() });
                        Ok::<_, Infallible>(http::Response::new(Full::new(Bytes::new())))
                    }
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    }

    /// How long after `since_ms` the first alarm of one of these kinds came; waits for it a while.
    pub(crate) async fn after(&self, since_ms: TimeMs, kinds: &[&str]) -> Option<u64> {
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            let first = self
                .hold()
                .iter()
                .filter(|c| c.at_ms >= since_ms && kinds.contains(&c.kind.as_str()))
                .map(|c| c.at_ms)
                .min();
            if let Some(at_ms) = first {
                return u64::try_from(at_ms - since_ms).ok();
            }
            if tokio::time::Instant::now() > until {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
