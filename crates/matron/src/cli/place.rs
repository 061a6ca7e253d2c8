//! An order from the draft to its answer: sealed, signed, shown from the signed bytes, sent.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use model::clock::DAY_MS;
use model::{CommandId, EnrolmentId, OrderId, SealedOutline, TimeMs};
use order::{Ed25519Secret, Order, OrderKind, SignedOrder, X25519Public, encode, sha256};
use seal::{KeyPairSecret, PublicKey, to};
use serde::{Deserialize, Serialize};
use serde_json::json;
use zeroize::Zeroizing;

use super::desk::{Desk, from_base64, read_answer, shaped, to_base64};
use super::failure::{CliError, Result, failed};
use super::{in_words, show};

/// Orders that change no phone are carried out at once; they need no long life.
const SHORT_LIFE_MS: TimeMs = DAY_MS;
/// How often an order is sent when the server does not answer. The same bytes act once.
const ATTEMPTS: u32 = 4;

/// What a person wants, before it is an order.
pub(crate) struct Draft {
    kind: OrderKind,
    targets: Vec<EnrolmentId>,
    reason: String,
    life_ms: TimeMs,
    secrets: Option<Zeroizing<Vec<u8>>>,
    outline: Option<SealedOutline>,
    beside: Beside,
}

/// What is shown beside the order's own words.
#[derive(Default, Clone)]
pub(crate) struct Beside {
    /// What the order does beside its own words, checked against a digest that stands in it.
    pub(crate) inside: Vec<String>,
    /// What lies sealed in it, as this person gave it.
    pub(crate) sealed: Vec<(&'static str, String)>,
    /// What the server says of each phone.
    pub(crate) labels: BTreeMap<EnrolmentId, String>,
    /// Warnings.
    pub(crate) warnings: Vec<String>,
}

/// An order that is signed and not sent.
pub(crate) struct Signed {
    pub(crate) id: OrderId,
    pub(crate) signed: SignedOrder,
    pub(crate) sealed: Option<Vec<u8>>,
    pub(crate) answer_key: KeyPairSecret,
    beside: Beside,
}

/// A command that an order made.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Made {
    pub(crate) command: CommandId,
    pub(crate) targets: u32,
}

/// What came of an order.
pub(crate) struct Placed {
    pub(crate) order: OrderId,
    pub(crate) position: u64,
    pub(crate) commands: Vec<Made>,
    pub(crate) erasing: bool,
    /// It cools off until then: no phone is told before.
    pub(crate) cools_until_ms: Option<TimeMs>,
    pub(crate) answer: Option<Zeroizing<Vec<u8>>>,
}

#[derive(Deserialize)]
struct Accepted {
    order: OrderId,
    position: u64,
    sealed_answer: Option<String>,
    commands: Vec<Made>,
    erasing: bool,
    #[serde(default)]
    cools_until_ms: Option<TimeMs>,
}

impl Draft {
    pub(crate) fn new(kind: OrderKind, reason: &str) -> Self {
        Self {
            kind,
            targets: Vec::new(),
            reason: reason.to_owned(),
            life_ms: SHORT_LIFE_MS,
            secrets: None,
            outline: None,
            beside: Beside::default(),
        }
    }

    pub(crate) fn to(mut self, targets: Vec<EnrolmentId>) -> Self {
        self.targets = targets;
        self
    }

    pub(crate) fn living(mut self, life_ms: TimeMs) -> Self {
        self.life_ms = life_ms;
        self
    }

    /// Arguments that are sealed to the vault.
    pub(crate) fn sealing<T: minicbor::Encode<()>>(mut self, secrets: &T) -> Self {
        self.secrets = Some(Zeroizing::new(encode(secrets)));
        self
    }

    /// What the order tells of them, in the clear.
    pub(crate) fn telling(mut self, outline: Option<SealedOutline>) -> Self {
        self.outline = outline;
        self
    }

    pub(crate) fn beside(mut self, beside: Beside) -> Self {
        self.beside = beside;
        self
    }

    /// Signs with the home's key, under the statement that the pinned root key signed.
    pub(crate) fn sign(self, desk: &Desk) -> Result<Signed> {
        let order_key = desk.statement()?.order_key;
        self.sign_with(desk, &desk.signer()?.key, order_key)
    }

    pub(crate) fn sign_with(
        self,
        desk: &Desk,
        key: &Ed25519Secret,
        order_key: X25519Public,
    ) -> Result<Signed> {
        let id = OrderId(desk.random()?);
        let answer_key = KeyPairSecret::generate(&desk.rng).map_err(failed)?;
        let sealed = match &self.secrets {
            None => None,
            Some(plain) => {
                let vault = PublicKey(order_key.0);
                let sealed = to::seal(&vault, to::INFO_ORDER_ARGS, id.as_bytes(), plain, &desk.rng);
                Some(sealed.map_err(failed)?)
            }
        };
        let made_at_ms = desk.now_ms();
        let order = Order {
            version: Order::VERSION,
            id,
            kind: self.kind,
            targets: self.targets,
            reason: self.reason.trim().to_owned(),
            made_at_ms,
            expires_at_ms: made_at_ms + self.life_ms,
            answer_key: X25519Public(answer_key.public().0),
            sealed_digest: sealed.as_deref().map(sha256),
            outline: self.outline,
        };
        if order.reason.is_empty() || order.reason.len() > Order::LONGEST_REASON_BYTES {
            return Err(super::failure::usage("--reason: 1 to 500 bytes"));
        }
        Ok(Signed { id, signed: SignedOrder::sign(&order, key), sealed, answer_key, beside: self.beside })
    }

    /// The whole way: signs, shows, asks, sends.
    pub(crate) fn place(self, desk: &Desk, yes: bool) -> Result<Placed> {
        let signed = self.sign(desk)?;
        signed.show_and_ask(desk, yes)?;
        send_order(desk, &signed)
    }
}

impl Signed {
    /// Shows what the signed bytes say, and asks.
    pub(crate) fn show_and_ask(&self, desk: &Desk, yes: bool) -> Result<()> {
        if !(yes && desk.reach.json) {
            let text = in_words::order_in_words(&self.signed, &self.beside)
                .map_err(|e| failed(format!("the order that was signed can't be read back: {e}")))?;
            eprint!("{text}");
        }
        show::confirm(yes, "Send this order?")
    }

    fn body(&self) -> serde_json::Value {
        json!({
            "signed_order": to_base64(&encode(&self.signed)),
            "sealed_arguments": self.sealed.as_deref().map(to_base64),
        })
    }
}

/// Sends a signed order and opens its answer.
pub(crate) fn send_order(desk: &Desk, signed: &Signed) -> Result<Placed> {
    let placed = send_bytes(desk, &signed.body()).map_err(|e| match e {
        CliError::Unreachable(why) => CliError::Unreachable(format!(
            "{why}\nIt may have been accepted all the same: look with 'matron orders show {}' before you order \
             it again",
            signed.id
        )),
        CliError::Waits { why, .. } => waits(&why, signed.id),
        e => e,
    })?;
    if placed.order != signed.id {
        return Err(failed("the server answered for another order"));
    }
    let answer = match placed.sealed_answer {
        None => None,
        Some(text) => {
            let sealed = from_base64("sealed answer", &text)?;
            let aad = signed.id.as_bytes();
            let opened = to::open(&signed.answer_key, to::INFO_ORDER_ANSWER, aad, &sealed);
            Some(opened.map_err(|_| {
                failed(format!(
                    "the answer to order {} does not open with its key: it was altered",
                    signed.id
                ))
            })?)
        }
    };
    Ok(Placed {
        order: placed.order,
        position: placed.position,
        commands: placed.commands,
        erasing: placed.erasing,
        cools_until_ms: placed.cools_until_ms,
        answer,
    })
}

fn waits(why: &str, order: OrderId) -> CliError {
    CliError::Waits { why: format!("{why}:\n{}", to_approve(&order)), order: Some(order) }
}

/// Sends an order that waited, with one more signature. What lies sealed beside it is with the server, and its
/// answer is for whoever made it.
pub(crate) fn send_signed(desk: &Desk, signed: &SignedOrder, id: OrderId) -> Result<Placed> {
    let body = json!({ "signed_order": to_base64(&encode(signed)), "sealed_arguments": null });
    let placed = send_bytes(desk, &body).map_err(|e| match e {
        CliError::Waits { why, .. } => waits(&why, id),
        e => e,
    })?;
    if placed.order != id {
        return Err(failed("the server answered for another order"));
    }
    let Accepted { order, position, commands, erasing, cools_until_ms, .. } = placed;
    Ok(Placed { order, position, commands, erasing, cools_until_ms, answer: None })
}

/// That an order cools off, and how it is stopped.
pub(crate) fn cooling_in_words(order: OrderId, cools_until_ms: Option<TimeMs>) -> String {
    cools_until_ms.map_or_else(String::new, |at_ms| {
        format!(
            "\nIt cools off until {}: no phone is told before, and until then 'matron orders recall {order}' leaves \
             nothing done.",
            show::time(at_ms)
        )
    })
}

/// The very same bytes, again when the server is away: the vault acts once.
pub(crate) fn resend(desk: &Desk, signed_order: &str, sealed_arguments: &str) -> Result<OrderId> {
    let body = json!({ "signed_order": signed_order, "sealed_arguments": sealed_arguments });
    Ok(send_bytes(desk, &body)?.order)
}

fn send_bytes(desk: &Desk, body: &serde_json::Value) -> Result<Accepted> {
    let bytes = serde_json::to_vec(body).map_err(failed)?;
    let mut attempt = 1;
    loop {
        let sent = desk.client.send(Method::POST, "/api/v1/orders", None, Some(bytes.clone()));
        match sent.and_then(|a| read_answer(&a)) {
            Ok(value) => return shaped(&value),
            Err(CliError::Unreachable(_)) if attempt < ATTEMPTS => {
                std::thread::sleep(Duration::from_millis(250 << attempt));
                attempt += 1;
            }
            Err(e) => return Err(e),
        }
    }
}

/// The reason, asked for when it is missing.
pub(crate) fn reason(given: Option<String>) -> Result<String> {
    match given {
        Some(r) => Ok(r),
        None => show::ask("Why? Auditors read it; no names or numbers here:", "--reason"),
    }
}

/// What was decoded strictly from an answer.
pub(crate) fn opened<T>(placed: &Placed) -> Result<T>
where
    T: minicbor::Encode<()> + for<'b> minicbor::Decode<'b, ()>,
{
    let bytes = placed.answer.as_deref().ok_or_else(|| {
        failed(format!("order {} was accepted, and its answer is not there any more", placed.order))
    })?;
    order::decode(bytes).map_err(|_| failed("the order's answer can't be read by this version"))
}
/// What to do with an order that waits.
fn to_approve(order: &OrderId) -> String {
    format!(
        "it waits as order {order}: another administrator looks at it and signs with 'matron approve {order}'"
    )
}
