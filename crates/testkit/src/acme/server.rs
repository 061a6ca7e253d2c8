//! The stand-in's resources (RFC 8555, 7.1) over TLS.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::authority::Authority;
use super::jws::{Jwk, Signed, Signer};
use super::words::{Said, problem};
use super::{Error, Manner, validation};

/// More than any request of a client.
const MOST_BYTES: usize = 64 * 1024;
const ORDER_LIFE_S: i64 = 3600;

struct Account {
    key: Jwk,
    contact: Value,
}

struct Authorization {
    host: String,
    token: String,
    status: &'static str,
    /// By type; both at first.
    challenges: [(&'static str, &'static str, Option<Value>); 2],
}

struct Order {
    account: usize,
    authorizations: Vec<usize>,
    status: &'static str,
    expires: OffsetDateTime,
    processing: u32,
    chain: Option<String>,
    replaces: Option<String>,
}

struct State {
    manner: Manner,
    nonces: BTreeSet<String>,
    accounts: Vec<Account>,
    orders: Vec<Order>,
    authorizations: Vec<Authorization>,
    /// How often each resource was asked.
    asked: HashMap<String, u64>,
    refused: Vec<String>,
}

struct Inside {
    base: String,
    authority: Authority,
    state: Mutex<State>,
}

/// The running stand-in. It ends with the runtime.
pub struct Server(Arc<Inside>);

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "acme::Server({})", self.0.base)
    }
}

impl Server {
    /// Listens on loopback.
    ///
    /// # Errors
    /// When it can't.
    pub async fn start(manner: Manner) -> Result<Self, Error> {
        let authority = Authority::make()?;
        let (chain, key) = authority.server()?;
        let tls = |e: rustls::Error| Error::Tls(e.to_string());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(tls)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(tls)?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let state = State {
            manner,
            nonces: BTreeSet::new(),
            accounts: Vec::new(),
            orders: Vec::new(),
            authorizations: Vec::new(),
            asked: HashMap::new(),
            refused: Vec::new(),
        };
        let base = format!("https://localhost:{}", listener.local_addr()?.port());
        let inside = Arc::new(Inside { base, authority, state: Mutex::new(state) });
        tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), inside.clone()));
        Ok(Self(inside))
    }

    /// Where the directory is.
    #[must_use]
    pub fn directory(&self) -> String {
        format!("{}/directory", self.0.base)
    }

    /// The root of its own TLS and of what it issues, PEM.
    #[must_use]
    pub fn root_pem(&self) -> String {
        self.0.authority.root_pem.clone()
    }

    /// A server's chain and key for `localhost` under the same root, PEM.
    ///
    /// # Errors
    /// [`Error::Certificate`].
    pub fn certificate_for_localhost(&self) -> Result<(String, String), Error> {
        self.0.authority.localhost()
    }

    /// Changes how it behaves.
    pub fn behave(&self, change: impl FnOnce(&mut Manner)) {
        change(&mut self.0.state().manner);
    }

    /// How often a resource was asked, by the first part of its path.
    #[must_use]
    pub fn asked(&self, resource: &str) -> u64 {
        self.0.state().asked.get(resource).copied().unwrap_or(0)
    }

    /// What it refused, as `resource: type: detail`.
    #[must_use]
    pub fn refused(&self) -> Vec<String> {
        self.0.state().refused.clone()
    }

    /// How many accounts and orders there are.
    #[must_use]
    pub fn kept(&self) -> (usize, usize) {
        let state = self.0.state();
        (state.accounts.len(), state.orders.len())
    }

    /// The contacts of the newest account.
    #[must_use]
    pub fn contact(&self) -> Value {
        self.0.state().accounts.last().map(|a| a.contact.clone()).unwrap_or_default()
    }

    /// What the newest order replaces, by its own word.
    #[must_use]
    pub fn replaces(&self) -> Option<String> {
        self.0.state().orders.last()?.replaces.clone()
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, inside: Arc<Inside>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, inside) = (acceptor.clone(), inside.clone());
        tokio::spawn(async move {
            let Ok(tls) = acceptor.accept(stream).await else { return };
            let service = service_fn(move |request: Request<Incoming>| {
                let inside = inside.clone();
                async move { Ok::<_, std::convert::Infallible>(inside.answer(request).await) }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(tls), service).await;
        });
    }
}

fn random_text() -> String {
    let mut bytes = [0; 24];
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

fn not_found() -> Said {
    Said::problem(404, "malformed", "there is no such thing")
}

fn stamp(at: OffsetDateTime) -> String {
    at.replace_nanosecond(0).ok().and_then(|t| t.format(&Rfc3339).ok()).unwrap_or_default()
}

impl Inside {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        let resource = path.split('/').nth(1).unwrap_or_default().to_owned();
        *self.state().asked.entry(resource.clone()).or_default() += 1;
        let said = if self.state().manner.out_of_order {
            Err(Said::problem(500, "serverInternal", "out of order"))
        } else {
            self.clone().said(request, &path).await
        };
        let nonce = random_text();
        self.state().nonces.insert(nonce.clone());
        let said = said.unwrap_or_else(|refused| {
            self.state().refused.push(format!("{resource}: {refused:?}"));
            refused
        });
        said.response((resource != "directory").then_some(nonce))
    }

    async fn said(self: Arc<Self>, request: Request<Incoming>, path: &str) -> Result<Said, Said> {
        let method = request.method().clone();
        match (&method, path) {
            (&Method::GET, "/directory") => return Ok(self.directory()),
            (&Method::HEAD, "/new-nonce") => return Ok(Said::nothing(200)),
            (&Method::GET, "/new-nonce") => return Ok(Said::nothing(204)),
            (&Method::GET, _) if path.starts_with("/renewal-info/") => return self.renewal_info(path),
            (&Method::POST, _) => {}
            _ => return Err(Said::problem(405, "malformed", "this resource does not take this method")),
        }
        let kind = request.headers().get(http::header::CONTENT_TYPE);
        if kind.and_then(|k| k.to_str().ok()) != Some("application/jose+json") {
            return Err(Said::problem(415, "malformed", "application/jose+json alone"));
        }
        if request.headers().get(http::header::USER_AGENT).is_none() {
            return Err(Said::problem(400, "malformed", "RFC 8555, 6.1: a client says who it is"));
        }
        let body = Limited::new(request.into_body(), MOST_BYTES).collect().await;
        let body = body.map_err(|_| Said::problem(413, "malformed", "too large"))?.to_bytes();
        let signed = Signed::read(&body, &format!("{}{path}", self.base))?;
        {
            let mut state = self.state();
            let known = state.nonces.remove(&signed.nonce);
            if !known || state.manner.bad_nonces > 0 {
                state.manner.bad_nonces = state.manner.bad_nonces.saturating_sub(1);
                return Err(Said::problem(400, "badNonce", "this nonce is unknown or was used"));
            }
        }
        if path == "/new-account" {
            return self.new_account(&signed);
        }
        let account = self.account_of(&signed)?;
        let mut parts = path.trim_start_matches('/').split('/');
        let (resource, id) = (parts.next().unwrap_or_default(), parts.next());
        let id = id.map(|id| id.parse::<usize>().map_err(|_| not_found())).transpose()?;
        match (resource, id) {
            ("new-order", None) => self.new_order(account, &signed),
            ("account", Some(id)) if id == account => self.change_account(account, &signed),
            ("order", Some(id)) => self.order(account, id, &signed),
            ("authorization", Some(id)) => self.authorization(account, id, &signed),
            ("challenge", Some(id)) => self.challenge(account, id, parts.next().unwrap_or_default(), &signed),
            ("finalize", Some(id)) => self.finalize(account, id, &signed),
            ("certificate", Some(id)) => self.certificate(account, id, &signed),
            _ => Err(not_found()),
        }
    }

    fn directory(&self) -> Said {
        let url = |name: &str| format!("{}/{name}", self.base);
        let mut directory = json!({
            "newNonce": url("new-nonce"), "newAccount": url("new-account"), "newOrder": url("new-order"),
            "revokeCert": url("revoke-cert"), "keyChange": url("key-change"),
            "meta": { "caaIdentities": ["acme.example.org"], "termsOfService": url("terms") },
        });
        if let (Some(_), Some(map)) = (self.state().manner.window_s, directory.as_object_mut()) {
            map.insert("renewalInfo".into(), url("renewal-info").into());
        }
        Said::json(200, &directory)
    }

    fn renewal_info(&self, path: &str) -> Result<Said, Said> {
        let window = self.state().manner.window_s.ok_or_else(not_found)?;
        let id = path.trim_start_matches("/renewal-info/");
        let parts: Vec<_> = id.split('.').map(|p| URL_SAFE_NO_PAD.decode(p)).collect();
        let [Ok(authority), Ok(serial)] = &parts[..] else { return Err(not_found()) };
        if authority.is_empty() || serial.is_empty() {
            return Err(not_found());
        }
        let at = |s| stamp(OffsetDateTime::now_utc() + time::Duration::seconds(s));
        let body = json!({ "suggestedWindow": { "start": at(window.0), "end": at(window.1) } });
        Ok(Said::json(200, &body).later(Some(21_600)))
    }

    fn account_url(&self, id: usize) -> String {
        format!("{}/account/{id}", self.base)
    }

    fn account_json(&self, contact: &Value) -> Value {
        json!({ "status": "valid", "contact": contact, "orders": format!("{}/orders", self.base) })
    }

    fn new_account(&self, signed: &Signed) -> Result<Said, Said> {
        let Signer::Key(key) = &signed.signer else {
            return Err(Said::problem(400, "malformed", "a new account shows its key"));
        };
        signed.verify(key)?;
        let payload = signed.payload.as_ref().ok_or_else(|| Said::problem(400, "malformed", "no payload"))?;
        let mut state = self.state();
        if let Some(id) = state.accounts.iter().position(|a| a.key == *key) {
            let body =
                self.account_json(&state.accounts.get(id).map(|a| a.contact.clone()).unwrap_or_default());
            return Ok(Said::json(200, &body).at(self.account_url(id)));
        }
        if payload["onlyReturnExisting"] == true {
            return Err(Said::problem(400, "accountDoesNotExist", "there is none with this key"));
        }
        if payload["termsOfServiceAgreed"] != true {
            return Err(Said::problem(403, "userActionRequired", "the terms have to be agreed to"));
        }
        let contact = payload.get("contact").cloned().unwrap_or_else(|| json!([]));
        let body = self.account_json(&contact);
        state.accounts.push(Account { key: key.clone(), contact });
        let url = self.account_url(state.accounts.len() - 1);
        Ok(Said::json(201, &body).at(url))
    }

    fn account_of(&self, signed: &Signed) -> Result<usize, Said> {
        let Signer::Account(url) = &signed.signer else {
            return Err(Said::problem(
                400,
                "malformed",
                "everything but a new account is signed by an account",
            ));
        };
        let state = self.state();
        let id = (0..state.accounts.len()).find(|id| self.account_url(*id) == *url);
        let account = id.and_then(|id| Some((id, state.accounts.get(id)?)));
        let (id, account) =
            account.ok_or_else(|| Said::problem(400, "accountDoesNotExist", "there is no such account"))?;
        signed.verify(&account.key)?;
        Ok(id)
    }

    fn change_account(&self, id: usize, signed: &Signed) -> Result<Said, Said> {
        let mut state = self.state();
        let account = state.accounts.get_mut(id).ok_or_else(not_found)?;
        if let Some(contact) = signed.payload.as_ref().and_then(|p| p.get("contact")) {
            let all = contact.as_array().cloned().unwrap_or_default();
            if !all.iter().all(|c| c.as_str().is_some_and(|c| c.starts_with("mailto:"))) {
                return Err(Said::problem(400, "unsupportedContact", "mailto alone"));
            }
            account.contact = contact.clone();
        }
        let body = self.account_json(&account.contact);
        Ok(Said::json(200, &body))
    }

    fn new_order(&self, account: usize, signed: &Signed) -> Result<Said, Said> {
        let mut state = self.state();
        if let Some(seconds) = state.manner.rate_limited {
            let problem = Said::problem(429, "rateLimited", "too many new orders");
            return Err(problem.later(Some(seconds)));
        }
        let payload = signed.payload.clone().unwrap_or_default();
        let mut hosts = Vec::new();
        let identifiers = payload.get("identifiers").and_then(Value::as_array);
        for identifier in identifiers.into_iter().flatten() {
            match (identifier["type"].as_str(), identifier["value"].as_str()) {
                (Some("dns"), Some(host)) if !host.is_empty() && host == host.to_ascii_lowercase() => {
                    hosts.push(host.to_owned());
                }
                _ => {
                    return Err(Said::problem(
                        400,
                        "unsupportedIdentifier",
                        "DNS names in small letters alone",
                    ));
                }
            }
        }
        let replaces = payload.get("replaces").and_then(Value::as_str).map(str::to_owned);
        if hosts.is_empty() || (replaces.is_some() && state.manner.window_s.is_none()) {
            return Err(Said::problem(
                400,
                "malformed",
                "no identifiers, or replaces without renewal information",
            ));
        }
        if replaces.is_some() && state.orders.iter().any(|o| o.replaces == replaces && o.status == "valid") {
            return Err(Said::problem(409, "alreadyReplaced", "an order replaced this certificate"));
        }
        let first = state.authorizations.len();
        for host in hosts {
            state.authorizations.push(Authorization {
                host,
                token: random_text(),
                status: "pending",
                challenges: [("http-01", "pending", None), ("tls-alpn-01", "pending", None)],
            });
        }
        let life_s = if state.manner.orders_run_out { -1 } else { ORDER_LIFE_S };
        let order = Order {
            account,
            authorizations: (first..state.authorizations.len()).collect(),
            status: "pending",
            expires: OffsetDateTime::now_utc() + time::Duration::seconds(life_s),
            processing: state.manner.processing,
            chain: None,
            replaces,
        };
        state.orders.push(order);
        let id = state.orders.len() - 1;
        let body = self.order_json(&state, id).ok_or_else(not_found)?;
        Ok(Said::json(201, &body).at(format!("{}/order/{id}", self.base)))
    }

    fn order_json(&self, state: &State, id: usize) -> Option<Value> {
        let order = state.orders.get(id)?;
        let authorizations = order.authorizations.iter();
        let identifiers = authorizations.clone().filter_map(|a| state.authorizations.get(*a));
        let mut body = json!({
            "status": order.status,
            "expires": stamp(order.expires),
            "identifiers": identifiers.map(|a| json!({ "type": "dns", "value": a.host })).collect::<Vec<_>>(),
            "authorizations":
                authorizations.map(|a| format!("{}/authorization/{a}", self.base)).collect::<Vec<_>>(),
            "finalize": format!("{}/finalize/{id}", self.base),
        });
        let map = body.as_object_mut()?;
        if let Some(replaces) = &order.replaces {
            map.insert("replaces".into(), replaces.clone().into());
        }
        if order.status == "valid" {
            map.insert("certificate".into(), format!("{}/certificate/{id}", self.base).into());
        }
        Some(body)
    }

    /// The order, if it is this account's, with what has become of it meanwhile.
    fn settle<'s>(&self, state: &'s mut State, account: usize, id: usize) -> Result<&'s mut Order, Said> {
        let State { orders, authorizations, .. } = state;
        let order = orders.get_mut(id).filter(|o| o.account == account).ok_or_else(not_found)?;
        let statuses =
            || order.authorizations.iter().filter_map(|a| authorizations.get(*a)).map(|a| a.status);
        if order.status == "pending" && statuses().any(|s| s == "invalid") {
            order.status = "invalid";
        }
        if order.status == "pending" && statuses().all(|s| s == "valid") {
            order.status = "ready";
        }
        if matches!(order.status, "pending" | "ready") && order.expires < OffsetDateTime::now_utc() {
            order.status = "invalid";
        }
        Ok(order)
    }

    fn post_as_get(signed: &Signed) -> Result<(), Said> {
        match signed.payload {
            None => Ok(()),
            Some(_) => Err(Said::problem(400, "malformed", "POST-as-GET has no payload")),
        }
    }

    fn order(&self, account: usize, id: usize, signed: &Signed) -> Result<Said, Said> {
        Self::post_as_get(signed)?;
        let mut state = self.state();
        let order = self.settle(&mut state, account, id)?;
        if order.status == "processing" {
            match order.processing.checked_sub(1) {
                Some(left) => order.processing = left,
                None => order.status = "valid",
            }
        }
        let again = (order.status == "processing").then_some(1);
        let body = self.order_json(&state, id).ok_or_else(not_found)?;
        Ok(Said::json(200, &body).later(again))
    }

    fn is_of(state: &State, account: usize, authorization: usize) -> Result<(), Said> {
        let of = |o: &Order| o.account == account && o.authorizations.contains(&authorization);
        if state.orders.iter().any(of) { Ok(()) } else { Err(not_found()) }
    }

    fn challenge_json(&self, id: usize, a: &Authorization, challenge: usize) -> Option<Value> {
        let (kind, status, error) = a.challenges.get(challenge)?;
        let url = format!("{}/challenge/{id}/{kind}", self.base);
        let mut body = json!({ "type": kind, "url": url, "token": a.token, "status": status });
        if let (Some(error), Some(map)) = (error, body.as_object_mut()) {
            map.insert("error".into(), error.clone());
        }
        Some(body)
    }

    fn authorization(&self, account: usize, id: usize, signed: &Signed) -> Result<Said, Said> {
        Self::post_as_get(signed)?;
        let state = self.state();
        Self::is_of(&state, account, id)?;
        let a = state.authorizations.get(id).ok_or_else(not_found)?;
        let challenges: Vec<_> = (0..2).filter_map(|c| self.challenge_json(id, a, c)).collect();
        let identifier = json!({ "type": "dns", "value": a.host });
        let body = json!({ "status": a.status, "identifier": identifier, "challenges": challenges });
        Ok(Said::json(200, &body))
    }

    fn challenge(
        self: Arc<Self>,
        account: usize,
        id: usize,
        kind: &str,
        signed: &Signed,
    ) -> Result<Said, Said> {
        if signed.payload.as_ref().is_none_or(|p| *p != json!({})) {
            return Err(Said::problem(400, "malformed", "a challenge is answered with an empty object"));
        }
        let mut state = self.state();
        Self::is_of(&state, account, id)?;
        let key = state.accounts.get(account).map(|a| a.key.thumbprint()).unwrap_or_default();
        let a = state.authorizations.get_mut(id).ok_or_else(not_found)?;
        let challenge = a.challenges.iter().position(|c| c.0 == kind).ok_or_else(not_found)?;
        if a.status != "pending" || a.challenges.iter().any(|c| c.1 != "pending") {
            return Err(Said::problem(400, "malformed", "this authorization is past that"));
        }
        if let Some(c) = a.challenges.get_mut(challenge) {
            c.1 = "processing";
        }
        let (host, token) = (a.host.clone(), a.token.clone());
        let body = self.challenge_json(id, a, challenge).ok_or_else(not_found)?;
        drop(state);
        tokio::spawn(self.validate(id, challenge, host, token, key));
        Ok(Said::json(200, &body))
    }

    async fn validate(
        self: Arc<Self>,
        id: usize,
        challenge: usize,
        host: String,
        token: String,
        key: String,
    ) {
        let manner = self.state().manner.clone();
        tokio::time::sleep(manner.validation_pause).await;
        let key_authorization = format!("{token}.{key}");
        let seen = match challenge {
            0 => validation::http01(manner.http, &host, &token, &key_authorization).await,
            _ => validation::tls_alpn01(manner.tls, &host, &key_authorization).await,
        };
        let mut state = self.state();
        let Some(a) = state.authorizations.get_mut(id) else { return };
        let Some(c) = a.challenges.get_mut(challenge) else { return };
        match seen {
            Ok(()) => (a.status, c.1) = ("valid", "valid"),
            Err((kind, detail)) => {
                (a.status, c.1) = ("invalid", "invalid");
                c.2 = Some(problem(403, kind, &detail));
            }
        }
    }

    fn finalize(&self, account: usize, id: usize, signed: &Signed) -> Result<Said, Said> {
        let bad = |detail: &str| Said::problem(400, "badCSR", detail);
        let csr = signed.payload.as_ref().and_then(|p| p["csr"].as_str()).ok_or_else(|| bad("none"))?;
        let csr = URL_SAFE_NO_PAD.decode(csr).map_err(|_| bad("no base64url"))?;
        let mut state = self.state();
        let life = state.manner.life;
        let order = self.settle(&mut state, account, id)?;
        if order.status != "ready" {
            return Err(Said::problem(403, "orderNotReady", order.status));
        }
        let proved = order.authorizations.clone();
        let names: Vec<String> =
            proved.iter().filter_map(|a| Some(state.authorizations.get(*a)?.host.clone())).collect();
        let chain = self.authority.certify(&csr, &names, life).map_err(|why| bad(&why))?;
        let order = self.settle(&mut state, account, id)?;
        order.chain = Some(chain);
        order.status = "processing";
        let body = self.order_json(&state, id).ok_or_else(not_found)?;
        Ok(Said::json(200, &body).at(format!("{}/order/{id}", self.base)).later(Some(1)))
    }

    fn certificate(&self, account: usize, id: usize, signed: &Signed) -> Result<Said, Said> {
        Self::post_as_get(signed)?;
        let mut state = self.state();
        let order = self.settle(&mut state, account, id)?;
        match (&order.chain, order.status) {
            (Some(chain), "valid") => Ok(Said::chain(chain)),
            _ => Err(not_found()),
        }
    }
}

impl Manner {
    /// Obliging: validates on these ports of loopback, issues at once, for 90 days.
    #[must_use]
    pub fn obliging(http: SocketAddr, tls: SocketAddr) -> Self {
        Self {
            http,
            tls,
            life: std::time::Duration::from_secs(90 * 86_400),
            bad_nonces: 0,
            processing: 0,
            rate_limited: None,
            out_of_order: false,
            orders_run_out: false,
            validation_pause: std::time::Duration::ZERO,
            window_s: None,
        }
    }
}
