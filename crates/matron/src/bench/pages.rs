//! The console's pages, as a browser asks for them.

use anyhow::{Context, Result, ensure};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, COOKIE, HOST, SET_COOKIE, USER_AGENT};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use model::{Compartment, EnrolmentId};
use order::{HolderCardsAnswer, OrderKind, sha256};

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
        let request = Request::get(path).header(COOKIE, &self.cookie).header(HOST, &self.address);
        let response = send(&self.address, request, Bytes::new()).await?;
        ensure!(response.status() == 200, "{path}: {}", response.status());
        Ok(response.into_body().collect().await?.to_bytes())
    }
}

/// On a connection of its own.
async fn send(address: &str, request: http::request::Builder, body: Bytes) -> Result<Response<Incoming>> {
    let stream = tokio::net::TcpStream::connect(address).await.context("the console")?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender.send_request(request.header(USER_AGENT, NAME).body(Full::new(body))?).await?)
}

/// A phone's holder at a borrowed computer, with a card.
pub(super) struct Holder {
    address: String,
    code: String,
}

impl Holder {
    /// With a new card, which an order makes.
    pub(super) async fn of(admin: &Admin, phone: EnrolmentId) -> Result<Self> {
        let (_, answer) = admin.order(OrderKind::HolderCards, vec![phone], None).await?;
        let answer: HolderCardsAnswer = order::decode(&answer)?;
        let code = answer.cards.first().context("a holder's card")?.code.clone();
        Ok(Self { address: admin.address().to_owned(), code })
    }

    /// Signs in with the card's code.
    pub(super) async fn sign_in(&self) -> Result<Browser> {
        let request = Request::post("/my-phone/session")
            .header(HOST, &self.address)
            .header("sec-fetch-site", "same-origin")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let response = send(&self.address, request, Bytes::from(format!("code={}", self.code))).await?;
        let told = (response.headers().get(SET_COOKIE)).and_then(|c| c.to_str().ok()?.split(';').next());
        let cookie = told.context("the card's code opened nothing")?.to_owned();
        ensure!(response.status() == 303, "signing in with a card: {}", response.status());
        response.into_body().collect().await?;
        Ok(Browser { address: self.address.clone(), cookie })
    }
}
