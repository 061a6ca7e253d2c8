//! The console's pages, as a browser asks for them.

use anyhow::{Context, Result, ensure};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use model::Compartment;
use order::{OrderKind, sha256};

use super::admin::Admin;

const NAME: &str = "matron-bench";

/// A browser that is signed in.
pub(super) struct Browser {
    address: String,
    cookie: String,
}

impl Browser {
    /// Signs in, with a grant that opens names.
    pub(super) async fn sign_in(admin: &Admin) -> Result<Self> {
        let mut secret = [0; 32];
        SystemRandom::new().fill(&mut secret).ok().context("random bytes")?;
        let (cookie, session) = console::of_browser(&secret, NAME.as_bytes());
        let kind = OrderKind::Grant {
            session: sha256(session.as_bytes()),
            records: 100,
            searches: 20,
            compartments: vec![Compartment::Identity],
            valid_ms: model::clock::HOUR_MS,
        };
        admin.order(kind, vec![], None).await?;
        Ok(Self { address: admin.address().to_owned(), cookie })
    }

    /// A page's markup.
    pub(super) async fn page(&self, path: &str) -> Result<Bytes> {
        let stream = tokio::net::TcpStream::connect(&self.address).await.context("the console")?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = http::Request::get(path)
            .header("host", &self.address)
            .header("user-agent", NAME)
            .header("cookie", &self.cookie)
            .body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        ensure!(response.status() == 200, "{path}: {}", response.status());
        Ok(response.into_body().collect().await?.to_bytes())
    }
}
