//! Orders: from what a page's form asks for to the bytes that a passkey signs, and on to the API.
//!
//! The server encodes (one encoder, [`order`]'s own), the browser seals and signs. What a person is shown is read back
//! from the encoded bytes.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::clock::DAY_MS;
use model::{
    Command, Compartment, DeviceGroupDefinition, DeviceGroupId, DeviceGroupName, Digest, EnrolmentId, Group,
    OrderId, ProfileId, TimeMs,
};
use order::{
    Order, OrderKind, OrderSignature, Passkey, PersonKey, Scheme, SignedOrder, SignedStatement, X25519Public,
    key_id, registered_key, sha256,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::api::{Api, Failure, Peer};
use crate::guard::Visitor;
use crate::session::{self, Bearer};
use crate::shapes::{FoundPasskey, ProfileVersion, SignedBytes, Statement};

/// A command waits for its phone so long.
const COMMAND_LIFE_MS: TimeMs = 7 * DAY_MS;

/// What a form asks for.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum What {
    JoinFirst {
        rp_id: String,
        origin: String,
        attestation: String,
    },
    SignIn {
        session: Digest,
        names: bool,
    },
    Open {
        fields: Vec<String>,
    },
    Lock,
    LostMode,
    LostModeOff,
    Ring,
    Locate,
    ClearPasscode,
    Restart {
        ask: bool,
    },
    Erase {
        keep_esim: bool,
    },
    Invite {
        group: String,
        days: u32,
    },
    Withdraw,
    Recall {
        order: OrderId,
    },
    Reject {
        order: OrderId,
    },
    SaveProfile {
        profile: ProfileId,
    },
    InstallSaved {
        profile: ProfileId,
        version: u32,
        identifier: String,
        erasing: bool,
        shown: Digest,
    },
    RemoveProfile {
        identifier: String,
    },
    EndProfile {
        profile: ProfileId,
    },
    SaveDeviceGroup {
        group: DeviceGroupId,
        replaces: Option<OrderId>,
        name: String,
        definition: DeviceGroupDefinition,
    },
    EndDeviceGroup {
        group: DeviceGroupId,
    },
    EndSession {
        session: Digest,
    },
    HolderCards,
}

/// What a form asks for, with all that an order says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    id: OrderId,
    what: What,
    targets: Vec<EnrolmentId>,
    reason: String,
    /// 32 bytes in base64.
    answer_key: String,
    /// What is sealed beside it, in base64.
    sealed: Option<String>,
}

/// An order in words, read back from its bytes.
#[derive(Debug, Serialize)]
struct InWords {
    lines: Vec<(&'static str, String)>,
    /// What a person should stop at.
    grave: Option<String>,
}

fn base64(what: &str, text: &str) -> Result<Vec<u8>, Failure> {
    STANDARD.decode(text).map_err(|_| Failure::bad(format!("{what} is not base64")))
}

fn kind(what: What) -> Result<(OrderKind, TimeMs), Failure> {
    let command = |command| (OrderKind::Command { command }, COMMAND_LIFE_MS);
    let at_once = |kind| (kind, DAY_MS);
    Ok(match what {
        What::JoinFirst { rp_id, origin, attestation } => {
            at_once(OrderKind::JoinFirst { key: passkey(rp_id, origin, &attestation)? })
        }
        What::SignIn { session, names } => at_once(OrderKind::Grant {
            session,
            records: if names { order::session::NAMES } else { 0 },
            searches: if names { order::session::SEARCHES } else { 0 },
            compartments: if names { vec![Compartment::Identity] } else { vec![] },
            valid_ms: order::session::LIFE_MS,
        }),
        What::Open { fields } => at_once(OrderKind::Open { fields }),
        What::Lock => command(Command::DeviceLock),
        What::LostMode => command(Command::EnableLostMode),
        What::LostModeOff => command(Command::DisableLostMode),
        What::Ring => command(Command::PlayLostModeSound),
        What::Locate => command(Command::DeviceLocation),
        What::ClearPasscode => command(Command::ClearPasscode),
        What::Restart { ask } => command(Command::RestartDevice { notify_user: ask }),
        What::Erase { keep_esim } => {
            command(Command::EraseDevice { preserve_data_plan: keep_esim, disallow_proximity_setup: false })
        }
        What::Invite { group, days } => {
            let group = Group::new(&group).map_err(|e| Failure::bad(format!("the group: {e}")))?;
            at_once(OrderKind::Invite { group, valid_ms: TimeMs::from(days) * DAY_MS })
        }
        What::Withdraw => at_once(OrderKind::WithdrawInvitation),
        What::Recall { order } => at_once(OrderKind::Recall { order }),
        What::Reject { order } => at_once(OrderKind::Reject { order }),
        What::SaveProfile { profile } => at_once(OrderKind::SaveProfile { profile }),
        What::InstallSaved { profile, version, identifier, erasing, shown } => {
            (OrderKind::InstallSaved { profile, version, identifier, erasing, shown }, COMMAND_LIFE_MS)
        }
        What::EndProfile { profile } => at_once(OrderKind::EndProfile { profile }),
        What::RemoveProfile { identifier } => command(Command::RemoveProfile { identifier }),
        What::SaveDeviceGroup { group, replaces, name, definition } => {
            let name = DeviceGroupName::new(name.trim()).map_err(|e| Failure::bad(e.to_string()))?;
            at_once(OrderKind::SaveDeviceGroup { group, replaces, name, definition })
        }
        What::EndDeviceGroup { group } => at_once(OrderKind::EndDeviceGroup { group }),
        What::HolderCards => at_once(OrderKind::HolderCards),
        What::EndSession { session } => at_once(OrderKind::EndSession { session }),
    })
}

fn passkey(rp_id: String, origin: String, attestation: &str) -> Result<PersonKey, Failure> {
    let attestation = base64("the passkey", attestation)?;
    let cose = registered_key(&attestation).map_err(|e| Failure::bad(format!("the passkey: {e}")))?;
    let public = order::encode(&Passkey { rp_id, origin, cose });
    Passkey::read(&public).map_err(|e| Failure::bad(format!("the passkey: {e}")))?;
    Ok(PersonKey { scheme: Scheme::Passkey, public })
}

fn encoded(wanted: Wanted, made_at_ms: TimeMs) -> Result<Vec<u8>, Failure> {
    let answer_key: [u8; 32] = base64("the answer key", &wanted.answer_key)?
        .try_into()
        .map_err(|_| Failure::bad("the answer key is not 32 bytes"))?;
    let sealed = wanted.sealed.as_deref().map(|s| base64("what is sealed", s)).transpose()?;
    let reason = wanted.reason.trim().to_owned();
    if reason.is_empty() {
        return Err(Failure::bad("say why: auditors read it later. No names or numbers in it"));
    }
    if reason.len() > Order::LONGEST_REASON_BYTES {
        return Err(Failure::bad(format!("the reason is longer than {} bytes", Order::LONGEST_REASON_BYTES)));
    }
    let (kind, life_ms) = kind(wanted.what)?;
    Ok(order::encode(&Order {
        version: Order::VERSION,
        id: wanted.id,
        kind,
        targets: wanted.targets,
        reason,
        made_at_ms,
        expires_at_ms: made_at_ms + life_ms,
        answer_key: X25519Public(answer_key),
        sealed_digest: sealed.map(|s| sha256(&s)),
        outline: None,
    }))
}

/// What is told before it is signed, from the bytes alone.
fn in_words(bytes: &[u8]) -> Result<InWords, Failure> {
    const NAMED: usize = 10;
    let order: Order = order::decode(bytes).map_err(|_| Failure::bad("the order can't be read back"))?;
    let mut lines = vec![("What", crate::api::sentence(&words::line(&words::what(&order.kind))))];
    lines.extend(
        words::outline::inside(&order).iter().map(|told| ("What it does", crate::api::sentence(told))),
    );
    if !order.targets.is_empty() {
        // Whole: two phones' first digits may be alike.
        let names = order.targets.iter().take(NAMED).map(ToString::to_string);
        let more = order.targets.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let names = names.collect::<Vec<_>>().join(", ");
        let to = if matches!(order.kind, OrderKind::SaveDeviceGroup { .. }) { "Lists" } else { "To" };
        lines.push((to, format!("{}: {names}{more}", words::count(order.targets.len() as u64, "phone"))));
    }
    lines.push(("Why", words::line(&order.reason)));
    lines.push(("Until", words::time(order.expires_at_ms)));
    if let Some(what) = words::outline::sealed(&order) {
        lines.push(("Sealed", crate::api::sentence(what)));
    }
    let one = if order.targets.len() == 1 { "the phone" } else { "any of these phones" };
    let every = if order.targets.len() == 1 { "the phone" } else { "every one of these phones" };
    let grave = match &order.kind {
        OrderKind::Command { command: Command::EraseDevice { preserve_data_plan, .. } } => {
            Some(if *preserve_data_plan {
                format!(
                    "Everything on {every} is deleted, photographs and messages too. There is no way back. An erased phone leaves \
                     management."
                )
            } else {
                format!(
                    "Everything on {every} is deleted, photographs, messages and the eSIM too. There is no way back. An erased phone \
                     can't be reached, by call or by Matron, until someone sets it up again."
                )
            })
        }
        OrderKind::Command { command: Command::ClearPasscode } => {
            Some(format!("Whoever holds {one} can open it until a new passcode is set."))
        }
        OrderKind::Command { command: Command::EnableLostMode } => Some(format!(
            "Whoever holds {one} can do nothing with it but read the message, and call the number if one was given.",
        )),
        OrderKind::Command { command: Command::RemoveProfile { identifier } } => Some(format!(
            "What '{}' set up goes from {every}, as its page says: a network, a certificate, a passcode's rules. Removing a profile \
             counts as erasure.",
            words::line(identifier)
        )),
        OrderKind::EndProfile { .. } => {
            Some("There is no way back: what is sealed of its versions is deleted, and its identifier is not used again.".into())
        }
        OrderKind::InstallSaved { identifier, erasing: true, .. } => Some(format!(
            "'{}' counts as erasure: what it sets can delete what is on {every}, or take the phone out of management, as its page \
             says. Sign it as you would sign an erasure.",
            words::line(identifier)
        )),
        _ => None,
    };
    Ok(InWords { lines, grave })
}

/// An order that waits, for another person's passkey: the very bytes, and what they say.
pub(crate) async fn waiting(
    State(api): State<Api>,
    Extension(v): Extension<Visitor>,
    Path(order): Path<String>,
) -> Response {
    let found = async {
        let id: OrderId = order.parse().map_err(|_| Failure::not_found("order"))?;
        let signed = signed(&api, &v, id).await?;
        let mut words = in_words(&signed.order)?;
        if let Ok(order) = order::decode::<Order>(&signed.order) {
            let saved = inside(&api, &v, &order).await?;
            words.lines.extend(saved.iter().map(|told| ("What it does", crate::api::sentence(told))));
        }
        Ok::<_, Failure>(json!({ "order": STANDARD.encode(&signed.order), "words": words }))
    };
    answered(found.await)
}

/// What an order does by what lies sealed in it or by what was saved; an error where that can't be shown whole, and so
/// nobody is asked to sign.
pub(crate) async fn inside(api: &Api, v: &Visitor, order: &Order) -> Result<Vec<String>, Failure> {
    if !order.tells() {
        return Err(Failure::bad(
            "the order does not tell all that it does, so nobody signs it second; whoever made it makes it again with this \
             version, or in parts",
        ));
    }
    inside_saved(api, v, &order.kind).await
}

/// What an order does that installs a saved version, held against the digest that stands in the order: what the API says
/// alone is not shown.
async fn inside_saved(api: &Api, v: &Visitor, kind: &OrderKind) -> Result<Vec<String>, Failure> {
    /// A version as the API tells it.
    #[derive(Deserialize)]
    struct Saved {
        version: ProfileVersion,
        outline: model::Outline,
        because: Vec<(String, String)>,
    }
    let Some((profile, number, digest)) = order::installs(kind) else { return Ok(Vec::new()) };
    let asked = format!("/api/v1/profiles/{profile}/versions/{number}");
    let saved: Saved = match api.get(&asked, &v.bearer).await {
        Err(f) if f.status == http::StatusCode::NOT_FOUND => {
            return Err(Failure::bad("what this version says is not there any more, so it can't be signed"));
        }
        found => found?,
    };
    let Saved { version, outline, because } = saved;
    let mut told = words::outline::saved(&outline);
    told.push(match version.erasing {
        true => format!("it counts as erasure: {}", words::profile::because(&because)),
        false => "it is mild".into(),
    });
    let shown = order::ShownVersion { saved_by: version.order, outline, erasing: version.erasing, because };
    if shown.digest() == digest {
        Ok(told)
    } else {
        Err(Failure::bad("what is kept as this version is not what the order was signed for; sign nothing"))
    }
}

/// An order as it was signed.
pub(crate) async fn signed(api: &Api, v: &Visitor, id: OrderId) -> Result<SignedOrder, Failure> {
    let told: SignedBytes = api.get(&format!("/api/v1/orders/{id}/signed"), &v.bearer).await?;
    let signed: SignedOrder = order::decode(&base64("the order", &told.signed_order)?)
        .map_err(|_| Failure::bad("the order can't be read by this version"))?;
    let order: Order = order::decode(&signed.order).map_err(|_| {
        Failure::bad("the order can't be read by this version; don't sign it elsewhere either")
    })?;
    if order.id == id { Ok(signed) } else { Err(Failure::bad("another order came than the one asked for")) }
}

/// The key that arguments are sealed to, the root key that vouches for it, and what leads there from those before it.
pub(crate) async fn key(State(api): State<Api>) -> Response {
    let found = async {
        let s: Statement = api.get_open("/api/v1/statement").await?;
        let signed: SignedStatement = order::decode(&base64("the statement", &s.statement)?)
            .map_err(|_| Failure::bad("the key statement can't be read"))?;
        let root = base64("the root key", &s.root_key)?;
        let trusted = signed.verify(&root, api.clock.now_ms(), 0).map_err(|e| Failure::bad(e.to_string()))?;
        let successions = signed.successions.iter().flatten().map(|link| STANDARD.encode(&link.0));
        Ok::<_, Failure>(json!({
            "order_key": STANDARD.encode(trusted.order_key.0), "root_key": s.root_key,
            "successions": successions.collect::<Vec<_>>(),
        }))
    };
    answered(found.await)
}

fn answered(answer: Result<Value, Failure>) -> Response {
    match answer {
        Ok(value) => Json(value).into_response(),
        Err(f) => f.json(),
    }
}

/// An order's bytes and its words.
pub(crate) async fn prepare(State(api): State<Api>, body: axum::body::Bytes) -> Response {
    let encoded = |wanted| encoded(wanted, api.clock.now_ms());
    let made = parsed::<Wanted>(&body).and_then(encoded).and_then(|bytes| {
        let words = in_words(&bytes)?;
        Ok(json!({ "order": STANDARD.encode(&bytes), "words": words }))
    });
    answered(made)
}

/// A body of this shape. What is wrong is told by place, never by content.
fn parsed<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|e| {
        Failure::bad(format!(
            "the page sent what the server does not know (line {}, column {}); reload the page",
            e.line(),
            e.column()
        ))
    })
}

/// How a browser signed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Signature {
    Passkey { authenticator_data: String, client_data_json: String, signature: String },
    Ed25519 { public: String, signature: String },
}

/// A signed order.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    order: String,
    #[serde(default)]
    sealed: Option<String>,
    signature: Signature,
}

async fn signature(
    api: &Api,
    peer: Peer,
    order: &str,
    signature: Signature,
) -> Result<OrderSignature, Failure> {
    match signature {
        Signature::Passkey { authenticator_data, client_data_json, signature } => {
            let body = json!({
                "order": order, "authenticator_data": authenticator_data, "client_data_json": client_data_json,
                "signature": signature,
            });
            let found: FoundPasskey = api.post_from("/api/v1/passkeys/find", peer, &body).await?;
            let signature = base64("the signature", &found.signature)?;
            Ok(OrderSignature { key: found.key, scheme: Scheme::Passkey, signature })
        }
        Signature::Ed25519 { public, signature } => Ok(OrderSignature {
            key: key_id(&base64("the public key", &public)?),
            scheme: Scheme::Ed25519,
            signature: base64("the signature", &signature)?,
        }),
    }
}

async fn carried(api: &Api, peer: Peer, signed: Signed) -> Result<Value, Failure> {
    let bytes = base64("the order", &signed.order)?;
    let signature = signature(api, peer, &signed.order, signed.signature).await?;
    let whole = SignedOrder { order: bytes, signatures: vec![signature] };
    let body = json!({
        "signed_order": STANDARD.encode(order::encode(&whole)), "sealed_arguments": signed.sealed,
    });
    api.post("/api/v1/orders", None, &body).await
}

/// A signed order, on to the vault.
pub(crate) async fn submit(
    State(api): State<Api>,
    peer: Peer,
    headers: http::HeaderMap,
    body: axum::body::Bytes,
) -> Response {
    // Who is signed in is not held up by what others at their address try.
    let inside = match Bearer::of_cookie(&headers) {
        // Whoever only reads has nothing to sign.
        Some(bearer) => {
            let found = api.get::<Value>("/api/v1/session", &bearer).await;
            found.is_ok_and(|s| s.get("signed_in_by").and_then(Value::as_str) == Some("grant"))
        }
        None => false,
    };
    let peer = peer.filter(|_| !inside);
    let carried = async { carried(&api, peer, parsed(&body)?).await };
    answered(carried.await)
}

/// A grant that makes a session, with the secret that the cookie keeps.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignIn {
    order: String,
    signature: Signature,
    secret: String,
}

/// Signs in: the grant goes to the vault, and the cookie is set once it was accepted.
pub(crate) async fn sign_in(
    State(api): State<Api>,
    peer: Peer,
    headers: http::HeaderMap,
    body: axum::body::Bytes,
) -> Response {
    let signed_in = async {
        let asked: SignIn = parsed(&body)?;
        let secret =
            session::secret(&asked.secret).ok_or_else(|| Failure::bad("the secret is not 32 bytes"))?;
        let signed = Signed { order: asked.order, sealed: None, signature: asked.signature };
        carried(&api, peer, signed).await?;
        // The grant has to be for this cookie in this browser, or the cookie would be of no use.
        let bearer = Bearer::of(&secret, &headers);
        api.get::<Value>("/api/v1/session", &bearer).await?;
        Ok::<_, Failure>(session::set(&asked.secret))
    };
    match signed_in.await {
        Ok(cookie) => ([(http::header::SET_COOKIE, cookie)], Json(json!({}))).into_response(),
        Err(f) => f.json(),
    }
}
