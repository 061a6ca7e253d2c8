//! The ledger as core followed it.

use std::sync::Arc;

use ::ledger::{Body, Effect, Entry, Witness};
use axum::{Extension, Json};
use model::Digest;
use order::Refusal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{LedgerAbout, LedgerFilter, LedgerRow, StoreError, View};
use utoipa::{IntoParams, ToSchema};

use super::access::{Ledger, Permit};
use super::devices::named;
use super::orders::not_held_to_a_group;
use super::problem::{Problem, ProblemBody};
use super::shape::{Page, Params, encode, id, limit};
use crate::room::Room;

/// An entry of the ledger.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LedgerEntry {
    index: u64,
    at_ms: i64,
    /// `vault`, or `core` for what the vault could not check.
    witness: &'static str,
    kind: &'static str,
    /// Closed fields; nothing personal.
    #[schema(value_type = Object)]
    summary: Value,
    /// SHA-256 of its bytes.
    #[schema(value_type = String)]
    hash: Digest,
    /// Its bytes, in base64.
    raw: String,
}

/// How long the ledger is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Head {
    entries: u64,
    #[schema(value_type = String)]
    hash: Digest,
}

/// From where, and how many.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LedgerQuery {
    /// The first entry's index; 0 by default.
    from: Option<u64>,
    /// 1 to 200, by default 50.
    limit: Option<u32>,
    /// Where the page before ended.
    cursor: Option<String>,
    /// `oldest` first, which is the default, or `newest`.
    sort: Option<String>,
    /// Of this kind alone, by the word in `kind`.
    kind: Option<String>,
    /// About this person: they signed it, approved it, opened by it, or it is about them.
    person: Option<String>,
    /// About this phone: 32 digits, or the first 6 or more if no other begins so.
    enrolment: Option<String>,
    /// From this time on, and before that one.
    since_ms: Option<i64>,
    until_ms: Option<i64>,
}

impl LedgerQuery {
    /// What entries are to be about, the rarest first.
    async fn about(&self, permit: &Permit<Ledger>, room: &Room) -> Result<Vec<LedgerAbout>, Problem> {
        let mut about = Vec::new();
        if let Some(text) = &self.enrolment {
            about.push(LedgerAbout::Enrolment(named(room, permit.actor(), text).await?.enrolment));
        }
        if let Some(text) = &self.person {
            about.push(LedgerAbout::Person(id("person", text)?));
        }
        if let Some(word) = &self.kind {
            let known = ::ledger::KINDS.contains(&word.as_str());
            about.push(LedgerAbout::Kind(
                known.then(|| word.clone()).ok_or_else(|| Problem::bad("there is no such kind of entry"))?,
            ));
        }
        Ok(about)
    }
}

/// What fits, or `None` while entries from before an upgrade are still to be noted.
fn found(v: &View<'_>, q: &LedgerQuery, mut f: LedgerFilter) -> Result<Option<Vec<LedgerRow>>, StoreError> {
    if !f.about.is_empty() && !v.is_all_noted()? {
        return Ok(None);
    }
    if let Some(at_ms) = q.since_ms {
        let Some(place) = v.ledger_place(at_ms)? else { return Ok(Some(Vec::new())) };
        f.from = f.from.max(place);
    }
    if let Some(place) = q.until_ms.map(|at_ms| v.ledger_place(at_ms)).transpose()?.flatten() {
        f.before = Some(f.before.map_or(place, |before| before.min(place)));
    }
    v.ledger_found(&f).map(Some)
}

#[utoipa::path(get, path = "/api/v1/ledger", params(LedgerQuery), responses(
    (status = 200, body = Page<LedgerEntry>),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn list_ledger(
    permit: Permit<Ledger>,
    Extension(room): Extension<Arc<Room>>,
    Params(q): Params<LedgerQuery>,
) -> Result<Json<Page<LedgerEntry>>, Problem> {
    not_held_to_a_group(&permit)?;
    let limit = limit(q.limit)?;
    let newest_first = match q.sort.as_deref() {
        None | Some("oldest") => false,
        Some("newest") => true,
        Some(_) => return Err(Problem::bad("sort is oldest or newest")),
    };
    let cursor = q.cursor.as_ref().map(|c| c.parse::<u64>()).transpose();
    let cursor = cursor.map_err(|_| Problem::bad("the cursor is none that this list gave"))?;
    let about = q.about(&permit, &room).await?;
    let mut filter = LedgerFilter {
        about,
        from: q.from.unwrap_or(0),
        newest_first,
        limit: limit + 1,
        ..Default::default()
    };
    match cursor {
        Some(at) if newest_first => filter.before = Some(at),
        Some(at) => filter.from = at,
        None => {}
    }
    let found = room.store.read(move |v| found(v, &q, filter)).await?;
    let mut rows = found.ok_or_else(|| {
        let detail = "after an upgrade the older entries are still being looked through; ask again in a minute, or \
                      without a filter";
        Problem::new(http::StatusCode::SERVICE_UNAVAILABLE, "not_yet_noted", detail)
    })?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let last = rows.last().filter(|_| more);
    let next_cursor = last.map(|r| if newest_first { r.index } else { r.index + 1 }.to_string());
    Ok(Json(Page { items: rows.into_iter().map(item).collect(), next_cursor }))
}

#[utoipa::path(get, path = "/api/v1/ledger/head", responses(
    (status = 200, body = Head),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn ledger_head(
    _permit: Permit<Ledger>,
    Extension(room): Extension<Arc<Room>>,
) -> Result<Json<Head>, Problem> {
    let at = room.store.read(|v| v.position()).await?;
    Ok(Json(Head { entries: at.entries, hash: at.hash }))
}

fn item(row: LedgerRow) -> LedgerEntry {
    let (witness, (kind, summary)) = match Entry::decode(&row.entry) {
        Ok(e) => (if e.witness == Witness::Core { "core" } else { "vault" }, summary(&e.body)),
        Err(_) => ("vault", ("unknown", json!({}))),
    };
    LedgerEntry {
        index: row.index,
        at_ms: row.at_ms,
        witness,
        kind,
        summary,
        hash: row.hash,
        raw: encode(&row.entry),
    }
}

fn reason(code: u16) -> Value {
    let text = match code {
        crate::checkin::phone_refused::OTHER_PHONE => Some("another phone's tag".to_owned()),
        crate::checkin::phone_refused::TOKEN_BEFORE_AUTHENTICATE => {
            Some("TokenUpdate before Authenticate".to_owned())
        }
        crate::checkin::phone_refused::RETIRED_CERTIFICATE => {
            Some("a certificate that was retired after a renewal".to_owned())
        }
        n => Refusal::from_number(n).map(|r| r.to_string()),
    };
    json!({ "code": code, "text": text })
}

fn summary(body: &Body) -> (&'static str, Value) {
    match body {
        Body::Genesis { .. } => ("genesis", json!({})),
        Body::KeysStated { epoch, statement_digest } => {
            ("keys_stated", json!({ "epoch": epoch, "statement_digest": statement_digest }))
        }
        Body::OrderAccepted { order, digest, signer, person, effect, counted, .. } => {
            let (kind, effect) = effect_summary(effect);
            let counted = counted.as_ref().map(|c| {
                let approved_by: Vec<_> = c.approvals.iter().map(|a| a.person).collect();
                json!({ "duty": c.duty, "count": c.count, "approved_by": approved_by,
                        "not_before_ms": c.not_before_ms })
            });
            let order = json!({ "order": order, "digest": digest, "signer": signer, "person": person,
                                "counted": counted });
            (kind, json!({ "order": order, "effect": effect }))
        }
        Body::OrderHeld { order, digest, people, duty, count, needs, expires_at_ms } => (
            "order_held",
            json!({ "order": order, "digest": digest, "people": people, "duty": duty, "count": count,
                    "needs": needs, "expires_at_ms": expires_at_ms }),
        ),
        Body::OrderRefused { order, digest, signer, reason: code, key } => (
            "order_refused",
            json!({ "order": order, "digest": digest, "signer": signer, "reason": reason(code.0),
                    "key": key.as_str() }),
        ),
        Body::GrantUsed { grant, opened, searches } => {
            ("grant_used", json!({ "grant": grant, "opened": opened, "searches": searches }))
        }
        Body::CertificateIssued { enrolment, key_digest, .. } => {
            ("certificate_issued", json!({ "enrolment": enrolment, "key_digest": key_digest }))
        }
        Body::CertificateRefused { enrolment, reason: code } => {
            ("certificate_refused", json!({ "enrolment": enrolment, "reason": reason(code.0) }))
        }
        Body::Authenticated { enrolment, replaced } => {
            ("authenticated", json!({ "enrolment": enrolment, "replaced": replaced }))
        }
        Body::TokenUpdated { enrolment } => ("token_updated", json!({ "enrolment": enrolment })),
        Body::CheckedOut { enrolment } => ("checked_out", json!({ "enrolment": enrolment })),
        Body::CommandFinished { enrolment, command, status } => {
            let status = match status {
                2 => "acknowledged",
                4 => "error",
                5 => "command_format_error",
                _ => "other",
            };
            let command = command.to_string();
            ("command_finished", json!({ "enrolment": enrolment, "command": command, "status": status }))
        }
        Body::PhoneRefused { enrolment, reason: code } => {
            ("phone_refused", json!({ "enrolment": enrolment, "reason": reason(code.0) }))
        }
        Body::StandingUsed { standing, enrolment, command, expires_at_ms, .. } => (
            "standing_used",
            json!({ "standing": standing, "enrolment": enrolment, "command": command.to_string(),
                    "expires_at_ms": expires_at_ms }),
        ),
        Body::GivenBack { enrolment, what } => {
            ("given_back", json!({ "enrolment": enrolment, "what": what }))
        }
        Body::ServerCertificateIssued { certificate } => {
            ("server_certificate_issued", json!({ "certificate": order::sha256(&certificate.0) }))
        }
        Body::Restored { manifest, made_at_ms, entries } => {
            ("restored", json!({ "manifest": manifest, "made_at_ms": made_at_ms, "entries": entries }))
        }
        Body::Resealed { rows } => ("resealed", json!({ "rows": rows })),
        Body::KeysDestroyed { keys, before, epoch } => {
            ("keys_destroyed", json!({ "keys": keys, "before_epoch": before, "epoch": epoch }))
        }
        Body::ServiceTokenResealed { service, .. } => {
            ("service_token_resealed", json!({ "service": service }))
        }
        Body::RoomKeyTaken { key, number, epoch, .. } => {
            ("room_key_taken", json!({ "key": key, "order_epoch": number, "epoch": epoch }))
        }
        Body::RootSucceeded { succession } => {
            let opened = order::root::SignedSuccession(succession.0.clone()).open();
            let told = opened.map(|s| {
                json!({ "epoch": s.epoch, "former": order::sha256(&s.former), "fingerprint": order::sha256(&s.next) })
            });
            ("root_succeeded", told.unwrap_or_default())
        }
        Body::OidcSignedIn { session, subject, role, group, expires_at_ms } => (
            "oidc_signed_in",
            json!({ "session": session, "subject": subject, "role": role.name(),
                    "group": group.as_ref().map(model::Group::as_str), "expires_at_ms": expires_at_ms }),
        ),
        Body::CertificateTaken { enrolment, certificate } => {
            ("certificate_taken", json!({ "enrolment": enrolment, "certificate": certificate }))
        }
    }
}

fn effect_summary(effect: &Effect) -> (&'static str, Value) {
    match effect {
        Effect::PersonJoined { person, role, group, key_id, .. } => {
            ("person_joined", json!({ "person": person, "role": role.name(), "group": group, "key": key_id }))
        }
        Effect::PersonKeyAdded { person, key_id, .. } => {
            ("person_key_added", json!({ "person": person, "key": key_id }))
        }
        Effect::PasskeyJoined { person, role, group, key_id, .. } => (
            "passkey_joined",
            json!({ "person": person, "role": role.name(), "group": group, "key": key_id }),
        ),
        Effect::PasskeyAdded { person, key_id, .. } => {
            ("passkey_added", json!({ "person": person, "key": key_id }))
        }
        Effect::PersonRemoved { person } => ("person_removed", json!({ "person": person })),
        Effect::Invited { enrolment, group, expires_at_ms, .. } => {
            ("invited", json!({ "enrolment": enrolment, "group": group, "expires_at_ms": expires_at_ms }))
        }
        Effect::InvitationWithdrawn { enrolment } => {
            ("invitation_withdrawn", json!({ "enrolment": enrolment }))
        }
        Effect::Opened { fields } => ("opened", json!({ "fields": fields })),
        Effect::Granted { records, searches, compartments, expires_at_ms, .. } => (
            "granted",
            json!({ "records": records, "searches": searches, "compartments": compartments,
                    "expires_at_ms": expires_at_ms }),
        ),
        Effect::Commanded { command, kind, answer_digest, erasing, targets, expires_at_ms, .. } => (
            "commanded",
            json!({ "command": command, "request_type": kind.request_type(), "answer_digest": answer_digest,
                    "erasing": erasing, "targets": targets, "expires_at_ms": expires_at_ms }),
        ),
        Effect::Recalled { order } => ("recalled", json!({ "order": order })),
        Effect::Rejected { order } => ("rejected", json!({ "order": order })),
        Effect::ApiKeyMade { hash, scopes, expires_at_ms, label } => (
            "api_key_made",
            json!({ "hash": hash, "scopes": scopes, "expires_at_ms": expires_at_ms, "label": label }),
        ),
        Effect::ApiKeyRevoked { hash } => ("api_key_revoked", json!({ "hash": hash })),
        Effect::SessionEnded { .. } => ("session_ended", json!({})),
        Effect::ServiceTokenSet { service, sealed } => {
            ("service_token_set", json!({ "service": service, "given": !sealed.0.is_empty() }))
        }
        Effect::LimitSet { limit, value } => ("limit_set", json!({ "limit": limit, "value": value })),
        Effect::StandingMade { template, cap_an_hour, expires_at_ms } => (
            "standing_made",
            json!({ "template": template, "cap_an_hour": cap_an_hour, "expires_at_ms": expires_at_ms }),
        ),
        Effect::KeysRotated { keys, epoch } => ("keys_rotated", json!({ "keys": keys, "epoch": epoch })),
        Effect::BreachAssumed { epoch, signers, reissues_an_hour, expires_at_ms, keys } => (
            "breach_assumed",
            json!({ "epoch": epoch, "signers": signers, "reissues_an_hour": reissues_an_hour,
                    "expires_at_ms": expires_at_ms, "keys": keys }),
        ),
        Effect::OlderCaEnded { before, epoch } => {
            ("older_ca_ended", json!({ "before": before, "epoch": epoch }))
        }
        Effect::PersonKeyEnded { person, key_id } => {
            ("person_key_ended", json!({ "person": person, "key": key_id }))
        }
        Effect::DeviceGroupSaved { group, name, definition, phones } => (
            "device_group_saved",
            json!({ "device_group": group, "name": name, "definition": definition, "phones": phones }),
        ),
        Effect::DeviceGroupEnded { group } => ("device_group_ended", json!({ "device_group": group })),
        Effect::ProfileSaved { profile, version, outline, commitment, signed, erasing, .. } => (
            "profile_saved",
            json!({ "profile": profile, "version": version, "identifier": outline.identifier,
                    "payloads": outline.payloads.iter().map(|p| &p.payload_type).collect::<Vec<_>>(),
                    "commitment": commitment, "signed": signed, "erasing": erasing }),
        ),
        Effect::HolderCardsMade { cards } => (
            "holder_cards_made",
            json!({ "enrolments": cards.iter().map(|(enrolment, _)| enrolment).collect::<Vec<_>>() }),
        ),
        Effect::ProfileEnded { profile } => ("profile_ended", json!({ "profile": profile })),
        Effect::PersonErased { subject } => ("person_erased", json!({ "subject": subject })),
        Effect::StandingEnded { order } => ("standing_ended", json!({ "order": order })),
        Effect::RestoreConfirmed { restored, without, complete } => {
            ("restore_confirmed", json!({ "restored": restored, "without": without, "complete": complete }))
        }
        Effect::DeclarationsSet { set, declarations, targets, erasing, .. } => (
            "declarations_set",
            json!({ "set": set, "erasing": erasing, "targets": targets,
                    "declarations": declarations.iter().map(|d| json!({
                        "kind": d.kind, "identifier": d.identifier, "type": d.declared_type,
                        "token": d.token, "answer_digest": d.answer_digest, "in_force": d.in_force,
                    })).collect::<Vec<_>>() }),
        ),
    }
}
