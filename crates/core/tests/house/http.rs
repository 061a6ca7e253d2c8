//! A plain HTTP/1.1 client that sends a path exactly as it is given.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::{Compartment, Digest, EnrolmentId, Group, OrderId, TimeMs};
use order::{ApiScope, Ed25519Secret, Order, OrderKind, SignedOrder, X25519Public};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{House, START_MS};

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }
}

pub const SESSION: &str = "ms_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

pub fn key(scope: u8) -> String {
    format!("mk_{}", char::from(b'A' + scope).to_string().repeat(43))
}

impl House {
    pub async fn http(&self, method: &str, path: &str, secret: Option<&str>, body: Option<&Value>) -> Answer {
        let mut stream = TcpStream::connect(self.api).await.unwrap();
        let mut text = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
        if let Some(secret) = secret {
            text.push_str(&format!("authorization: Bearer {secret}\r\n"));
        }
        let body = body.map(ToString::to_string).unwrap_or_default();
        if !body.is_empty() {
            text.push_str(&format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len()));
        }
        text.push_str("\r\n");
        stream.write_all(text.as_bytes()).await.unwrap();
        stream.write_all(body.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
        let body = if head.contains("transfer-encoding: chunked") { dechunk(body) } else { body.to_owned() };
        Answer { status, head: head.to_owned(), body }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.http("GET", path, Some(SESSION), None).await
    }

    /// A body as it is; the status.
    pub async fn post_text(&self, path: &str, body: &str) -> u16 {
        let mut stream = TcpStream::connect(self.api).await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer {SESSION}\r\n\
             content-type: text/plain\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0)
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.http("POST", path, Some(SESSION), Some(body)).await
    }

    pub async fn order(&self, order: &Order) -> Answer {
        self.order_with(order, None).await
    }

    /// An order with what lies sealed beside it.
    pub async fn order_with(&self, order: &Order, sealed: Option<&[u8]>) -> Answer {
        let signed = SignedOrder::sign(order, &administrator());
        let body = json!({
            "signed_order": STANDARD.encode(order::encode(&signed)),
            "sealed_arguments": sealed.map(|s| STANDARD.encode(s)),
        });
        self.http("POST", "/api/v1/orders", None, Some(&body)).await
    }

    /// The first administrator with a session that may do all.
    pub async fn sign_in(&self) {
        let join = order(1, OrderKind::JoinFirst { key: administrator().person_key() }, &[]);
        assert_eq!(self.order(&join).await.status, 200);
        let grant = order(
            2,
            OrderKind::Grant {
                session: order::sha256(SESSION.as_bytes()),
                records: 10,
                searches: 10,
                compartments: vec![Compartment::Identity],
                valid_ms: 20 * model::clock::DAY_MS,
            },
            &[],
        );
        assert_eq!(self.order(&grant).await.status, 200);
    }

    pub async fn make_key(&self, scope: ApiScope) -> String {
        let n = scope as u8;
        let secret = key(n);
        let kind = OrderKind::MakeApiKey {
            hash: order::sha256(secret.as_bytes()),
            scopes: vec![scope],
            valid_ms: model::clock::DAY_MS,
            label: "test".into(),
        };
        assert_eq!(self.order(&order(20 + n, kind, &[])).await.status, 200);
        secret
    }

    pub async fn invite(&self, n: u8) -> EnrolmentId {
        let kind = OrderKind::Invite { group: Group::new("ward-7").unwrap(), valid_ms: model::clock::DAY_MS };
        let answer = self.order(&order(n, kind, &[])).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        EnrolmentId([n; 16])
    }
}

pub fn administrator() -> Ed25519Secret {
    Ed25519Secret::from_seed([4; 32]).unwrap()
}

pub fn order(n: u8, kind: OrderKind, targets: &[EnrolmentId]) -> Order {
    order_at(n, kind, targets, START_MS)
}

pub fn order_at(n: u8, kind: OrderKind, targets: &[EnrolmentId], made_at_ms: TimeMs) -> Order {
    Order {
        version: 1,
        id: OrderId([n; 16]),
        kind,
        targets: targets.to_vec(),
        reason: "a test".into(),
        made_at_ms,
        expires_at_ms: made_at_ms + 20 * model::clock::DAY_MS,
        answer_key: X25519Public([9; 32]),
        sealed_digest: None::<Digest>,
        outline: None,
    }
}

fn dechunk(mut body: &str) -> String {
    let mut out = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let n = usize::from_str_radix(size, 16).unwrap_or(0);
        if n == 0 {
            break;
        }
        out.push_str(&rest[..n]);
        body = &rest[n + 2..];
    }
    out
}
