//! The administrator of a scratch house: joins, invites, asks. For measuring, not for people: no
//! questions, no key on a disk.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use model::clock::DAY_MS;
use model::{Clock, Compartment, Duty, EnrolmentId, Group, Limit, OrderId, Role, SealedOutline, SystemClock};
use order::limits::Limits;
use order::{
    DeclarationSecrets, Ed25519Secret, InviteAnswer, InviteSecrets, JoinSecrets, Order, OrderKind,
    SignedOrder, SignedStatement, TrustedStatement, X25519Public, encode, sha256,
};
use seal::{KeyPairSecret, PublicKey, to};
use serde_json::{Value, json};

/// How long a sign-in whose vault is away is tried again.
const VAULT_AWAY: Duration = Duration::from_secs(20);

/// An administrator with a key in memory.
pub(crate) struct Admin {
    address: String,
    rng: SystemRandom,
    key: Ed25519Secret,
    statement: TrustedStatement,
    session: String,
    /// How far the house's clock is ahead of this one, in milliseconds.
    pub(crate) ahead_ms: i64,
}

fn random<const N: usize>(rng: &SystemRandom) -> Result<[u8; N]> {
    let mut out = [0; N];
    rng.fill(&mut out).ok().context("no random numbers")?;
    Ok(out)
}

fn text_of<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

/// One request to the API of the scratch house.
pub(crate) async fn request(
    address: &str,
    method: &str,
    path: &str,
    session: Option<&str>,
    body: Option<&Value>,
) -> Result<Bytes> {
    let stream = tokio::net::TcpStream::connect(address).await.context("the scratch house's API")?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut builder = http::Request::builder().method(method).uri(path).header("host", address);
    if let Some(session) = session {
        builder = builder.header("authorization", format!("Bearer {session}"));
    }
    let bytes = match body {
        Some(body) => {
            builder = builder.header("content-type", "application/json");
            Bytes::from(serde_json::to_vec(body)?)
        }
        None => Bytes::new(),
    };
    let response = sender.send_request(builder.body(Full::new(bytes))?).await?;
    let status = response.status();
    let text = response.into_body().collect().await?.to_bytes();
    if !status.is_success() {
        bail!("{method} {path}: {status}: {}", String::from_utf8_lossy(&text));
    }
    Ok(text)
}

/// What an order tells of what lies sealed in it.
fn outline_of(kind: &OrderKind, secrets: &[u8]) -> Option<SealedOutline> {
    match kind {
        OrderKind::Command { command } => apple::outline::of_command(command, &order::decode(secrets).ok()?),
        OrderKind::SetDeclarations { .. } => {
            let secrets: DeclarationSecrets = order::decode(secrets).ok()?;
            let set = apple::declaration::read_set(&secrets.declarations).ok()?;
            Some(SealedOutline::Declarations(apple::outline::of_set(&set)))
        }
        _ => None,
    }
}

impl Admin {
    /// Joins with the printed token and signs in.
    pub(crate) async fn join(address: &str, token: &str) -> Result<Self> {
        let rng = SystemRandom::new();
        let said: Value =
            serde_json::from_slice(&request(address, "GET", "/api/v1/statement", None, None).await?)?;
        let bytes = |key: &str| STANDARD.decode(text_of(&said, key).unwrap_or_default());
        let signed: SignedStatement = order::decode(&bytes("statement")?)?;
        let statement = signed.verify(&bytes("root_key")?, SystemClock.now_ms(), 0)?;
        let seed = token.split('-').nth(2).context("the token")?.parse::<model::Digest>()?;
        let token_key = Ed25519Secret::from_seed(seed.0).context("the token")?;
        let key = Ed25519Secret::from_seed(random(&rng)?).context("a key")?;
        let session = String::new();
        let person_key = key.person_key();
        let mut admin =
            Self { address: address.to_owned(), rng, key: token_key, statement, session, ahead_ms: 0 };
        let secrets = encode(&JoinSecrets { name: "Bench".into() });
        admin.order(OrderKind::JoinFirst { key: person_key }, vec![], Some(&secrets)).await?;
        admin.key = key;
        admin.sign_in(0).await?;
        Ok(admin)
    }

    /// Signs an order: its id, its bytes with the signature, and what is sealed for the vault.
    fn sign(
        &self,
        kind: OrderKind,
        targets: Vec<EnrolmentId>,
        secrets: Option<&[u8]>,
        answers: PublicKey,
    ) -> Result<(OrderId, SignedOrder, Option<Vec<u8>>)> {
        let id = OrderId(random(&self.rng)?);
        let to_vault = PublicKey(self.statement.order_key.0);
        let sealed = match secrets {
            Some(s) => Some(to::seal(&to_vault, to::INFO_ORDER_ARGS, id.as_bytes(), s, &self.rng)?),
            None => None,
        };
        let now_ms = SystemClock.now_ms() + self.ahead_ms;
        let outline = secrets.and_then(|s| outline_of(&kind, s));
        let order = Order {
            version: Order::VERSION,
            id,
            kind,
            targets,
            reason: "measuring".into(),
            made_at_ms: now_ms,
            expires_at_ms: now_ms + DAY_MS,
            answer_key: X25519Public(answers.0),
            sealed_digest: sealed.as_deref().map(sha256),
            outline,
        };
        Ok((id, SignedOrder::sign(&order, &self.key), sealed))
    }

    /// Signs an order that nobody submits: its bytes go into a ledger in bulk.
    #[cfg_attr(test, allow(dead_code))]
    pub(crate) fn signed(
        &self,
        kind: OrderKind,
        targets: Vec<EnrolmentId>,
        secrets: Option<&[u8]>,
    ) -> Result<(OrderId, SignedOrder, Option<Vec<u8>>)> {
        self.sign(kind, targets, secrets, KeyPairSecret::generate(&self.rng)?.public())
    }

    /// Another person, let in by these keys; gives theirs.
    pub(crate) async fn add_person(
        &self,
        by: &[&Ed25519Secret],
        role: Role,
        group: Option<Group>,
    ) -> Result<Ed25519Secret> {
        let key = Ed25519Secret::from_seed(random(&self.rng)?).context("a key")?;
        let kind = OrderKind::AddPerson { key: key.person_key(), role, group };
        let secrets = encode(&JoinSecrets { name: "Ben Example".into() });
        self.order_by(by, kind, vec![], Some(&secrets)).await?;
        Ok(key)
    }

    /// Sets every budget of these duties to the most that can be set, with a second administrator's
    /// signature: what is measured is the house, not its patience.
    pub(crate) async fn lift(&self, duties: &[Duty]) -> Result<()> {
        let second = self.add_person(&[&self.key], Role::Administrator, None).await?;
        for limit in Limits::all() {
            let Limit::Budget { duty, .. } = limit else { continue };
            if let Some(bounds) = Limits::bounds(&limit).filter(|_| duties.contains(&duty)) {
                let kind = OrderKind::SetLimit { limit, value: *bounds.end() };
                self.order_by(&[&self.key, &second], kind, vec![], None).await?;
            }
        }
        Ok(())
    }

    /// Submits an order that these keys sign, in this order; gives what the API said.
    pub(crate) async fn order_by(
        &self,
        keys: &[&Ed25519Secret],
        kind: OrderKind,
        targets: Vec<EnrolmentId>,
        secrets: Option<&[u8]>,
    ) -> Result<Value> {
        let answers = KeyPairSecret::generate(&self.rng)?;
        let (_, mut signed, sealed) = self.sign(kind, targets, secrets, answers.public())?;
        signed.signatures.clear();
        keys.iter().for_each(|key| signed.add_signature(key));
        self.submit(&signed, sealed).await
    }

    /// Brings an order with what lies sealed beside it.
    pub(crate) async fn submit(&self, signed: &SignedOrder, sealed: Option<Vec<u8>>) -> Result<Value> {
        let body = json!({
            "signed_order": STANDARD.encode(encode(signed)),
            "sealed_arguments": sealed.map(|s| STANDARD.encode(s)),
        });
        self.call("POST", "/api/v1/orders", Some(&body)).await
    }

    /// Signs and submits an order; gives what the API said, and the opened answer.
    pub(crate) async fn order(
        &self,
        kind: OrderKind,
        targets: Vec<EnrolmentId>,
        secrets: Option<&[u8]>,
    ) -> Result<(Value, Vec<u8>)> {
        let answers = KeyPairSecret::generate(&self.rng)?;
        let (id, signed, sealed) = self.sign(kind, targets, secrets, answers.public())?;
        let said = self.submit(&signed, sealed).await?;
        let Some(answer) = text_of(&said, "sealed_answer") else { return Ok((said, Vec::new())) };
        let answer = STANDARD.decode(answer)?;
        let opened = to::open(&answers, to::INFO_ORDER_ANSWER, id.as_bytes(), &answer)?;
        Ok((said, opened.to_vec()))
    }

    /// Invites one person; gives the link.
    pub(crate) async fn invite(&self, name: &str, email: &str) -> Result<String> {
        let kind = OrderKind::Invite { group: Group::new("bench")?, valid_ms: DAY_MS };
        let secrets = encode(&InviteSecrets { name: name.to_owned(), email: email.to_owned() });
        let answer: InviteAnswer = order::decode(&self.order(kind, vec![], Some(&secrets)).await?.1)?;
        Ok(format!("{}/enrol/{}", answer.base_url, answer.link_secret))
    }

    /// One request within the session.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let said = request(&self.address, method, path, Some(&self.session), body).await?;
        Ok(serde_json::from_slice(&said)?)
    }

    /// Queues free queries; gives how many.
    pub(crate) async fn ask(&self, queries: &[&str], targets: &[EnrolmentId]) -> Result<u64> {
        let body = json!({ "queries": queries, "targets": targets });
        let said = self.call("POST", "/api/v1/queries", Some(&body)).await?;
        Ok(said.get("queued").and_then(Value::as_u64).unwrap_or(0))
    }

    /// Begins a session whose grant pays for so many searches; waits for a vault that is just starting.
    pub(crate) async fn sign_in(&mut self, searches: u32) -> Result<()> {
        let session = format!("ms_{}", URL_SAFE_NO_PAD.encode(random::<32>(&self.rng)?));
        let kind = OrderKind::Grant {
            session: sha256(session.as_bytes()),
            records: 0,
            searches,
            compartments: vec![],
            valid_ms: 6 * model::clock::HOUR_MS,
        };
        let answers = KeyPairSecret::generate(&self.rng)?;
        let (_, signed, sealed) = self.sign(kind, vec![], None, answers.public())?;
        let until = Instant::now() + VAULT_AWAY;
        // Core keeps the order; its outcome is what the same one learns.
        while let Err(e) = self.submit(&signed, sealed.clone()).await {
            if Instant::now() > until || !e.to_string().contains(r#""code":"vault_away""#) {
                return Err(e);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.session = session;
        Ok(())
    }

    /// Where the house's API is.
    #[cfg_attr(test, allow(dead_code))]
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Begins a session whose grant pays for so much of these compartments; gives its secret, and signs in with it.
    #[cfg_attr(test, allow(dead_code))]
    pub(crate) async fn sign_in_for(
        &mut self,
        records: u32,
        searches: u32,
        compartments: Vec<Compartment>,
    ) -> Result<String> {
        let session = format!("ms_{}", URL_SAFE_NO_PAD.encode(random::<32>(&self.rng)?));
        let hash = sha256(session.as_bytes());
        let valid_ms = model::clock::HOUR_MS;
        let kind = OrderKind::Grant { session: hash, records, searches, compartments, valid_ms };
        self.order(kind, vec![], None).await?;
        self.session.clone_from(&session);
        Ok(session)
    }

    /// Another person with this key at the same house, without a session.
    #[cfg_attr(test, allow(dead_code))]
    pub(crate) fn beside(&self, key: Ed25519Secret) -> Self {
        let (address, statement) = (self.address.clone(), self.statement.clone());
        Self { address, rng: SystemRandom::new(), key, statement, session: String::new(), ahead_ms: 0 }
    }

    /// The key that signs.
    #[cfg_attr(test, allow(dead_code))]
    pub(crate) fn signs_with(&self) -> &Ed25519Secret {
        &self.key
    }

    /// An answer that is not JSON.
    #[cfg_attr(test, allow(dead_code))]
    pub(crate) async fn text(&self, path: &str) -> Result<String> {
        let said = request(&self.address, "GET", path, Some(&self.session), None).await?;
        Ok(String::from_utf8_lossy(&said).into_owned())
    }

    /// A search that the session's grant pays for.
    pub(crate) async fn search(&self, field: &str, term: &str) -> Result<Value> {
        self.call("POST", "/api/v1/search", Some(&self.sealed_search(field, term)?)).await
    }

    /// What is sent for it.
    pub(crate) fn sealed_search(&self, field: &str, term: &str) -> Result<Value> {
        let wanted = order::SearchSecrets { field: field.to_owned(), term: term.to_owned() };
        let session = sha256(self.session.as_bytes());
        let to_vault = PublicKey(self.statement.order_key.0);
        let aad = session.as_bytes();
        let sealed = to::seal(&to_vault, to::INFO_ORDER_ARGS, aad, &encode(&wanted), &self.rng)?;
        Ok(json!({ "sealed_search": STANDARD.encode(sealed) }))
    }
}

/// For the end-to-end tests, which share this file.
#[cfg(test)]
#[allow(dead_code)]
impl Admin {
    /// Another administrator, who is yet to be added and has no session.
    pub(crate) fn another(&self, seed: u8) -> Self {
        let key = Ed25519Secret::from_seed([seed; 32]).expect("a seed makes a key");
        Self { key, ..self.with_secret("ms_none") }
    }

    /// Begins a session with this secret, whose grant pays for so many searches.
    pub(crate) async fn sign_in_as(&mut self, session: &str, searches: u32) -> Result<()> {
        let kind = OrderKind::Grant {
            session: sha256(session.as_bytes()),
            records: 0,
            searches,
            compartments: vec![],
            valid_ms: model::clock::HOUR_MS,
        };
        self.order(kind, vec![], None).await?;
        self.session = session.to_owned();
        Ok(())
    }

    /// Goes by the newest key statement, under the same root key.
    pub(crate) async fn renew_statement(&mut self) -> Result<()> {
        let said: Value =
            serde_json::from_slice(&request(&self.address, "GET", "/api/v1/statement", None, None).await?)?;
        let bytes = |key: &str| STANDARD.decode(text_of(&said, key).unwrap_or_default());
        let signed: SignedStatement = order::decode(&bytes("statement")?)?;
        self.statement = signed.verify(&bytes("root_key")?, SystemClock.now_ms(), self.statement.epoch)?;
        Ok(())
    }

    /// How this administrator's signatures are verified.
    pub(crate) fn person_key(&self) -> order::PersonKey {
        self.key.person_key()
    }

    /// The key, for orders that others sign too.
    pub(crate) fn key(&self) -> &Ed25519Secret {
        &self.key
    }

    /// The same with another bearer secret.
    pub(crate) fn with_secret(&self, secret: &str) -> Self {
        Self {
            address: self.address.clone(),
            rng: SystemRandom::new(),
            key: Ed25519Secret::from_seed(*self.key.seed()).expect("a seed makes a key"),
            statement: self.statement.clone(),
            session: secret.to_owned(),
            ahead_ms: 0,
        }
    }
}
