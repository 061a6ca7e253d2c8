//! What an entry of the ledger says, as closed fields: nothing personal.

use ::ledger::{Body, Effect};
use order::Refusal;
use serde::Serialize;
use serde_json::{Value, json};

use crate::checkin::phone_refused;

fn reason(code: u16) -> Value {
    let text = match code {
        phone_refused::OTHER_PHONE => Some("another phone's tag".to_owned()),
        phone_refused::TOKEN_BEFORE_AUTHENTICATE => Some("TokenUpdate before Authenticate".to_owned()),
        phone_refused::RETIRED_CERTIFICATE => {
            Some("a certificate that was retired after a renewal".to_owned())
        }
        n => Refusal::from_number(n).map(|r| r.to_string()),
    };
    json!({ "code": code, "text": text })
}

/// The first of a list: an entry may name 20,000 phones. Whoever gives it says beside it how many there are.
fn few<T: Serialize>(list: &[T], most: usize) -> Value {
    json!(list.get(..most).unwrap_or(list))
}

/// The kind's word and its closed fields; of each list that can be long the first `most`.
pub(crate) fn summary(body: &Body, most: usize) -> (&'static str, Value) {
    match body {
        Body::Genesis { .. } => ("genesis", json!({})),
        Body::KeysStated { epoch, statement_digest } => {
            ("keys_stated", json!({ "epoch": epoch, "statement_digest": statement_digest }))
        }
        Body::OrderAccepted { order, digest, signer, person, effect, counted, .. } => {
            let (kind, effect) = effect_summary(effect, most);
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
            let (few, opened) = (few(opened, most), opened.len());
            (
                "grant_used",
                json!({ "grant": grant, "opened": few, "opened_count": opened, "searches": searches }),
            )
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

fn effect_summary(effect: &Effect, most: usize) -> (&'static str, Value) {
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
        Effect::Opened { fields } => {
            ("opened", json!({ "fields": few(fields, most), "fields_count": fields.len() }))
        }
        Effect::Granted { records, searches, compartments, expires_at_ms, .. } => (
            "granted",
            json!({ "records": records, "searches": searches, "compartments": compartments,
                    "expires_at_ms": expires_at_ms }),
        ),
        Effect::Commanded { command, kind, answer_digest, erasing, targets, expires_at_ms, .. } => (
            "commanded",
            json!({ "command": command, "request_type": kind.request_type(), "answer_digest": answer_digest,
                    "erasing": erasing, "targets": few(targets, most), "targets_count": targets.len(),
                    "expires_at_ms": expires_at_ms }),
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
            json!({ "device_group": group, "name": name, "definition": definition, "phones": few(phones, most),
                    "phones_count": phones.len() }),
        ),
        Effect::DeviceGroupEnded { group } => ("device_group_ended", json!({ "device_group": group })),
        Effect::ProfileSaved { profile, version, outline, commitment, signed, erasing, .. } => (
            "profile_saved",
            json!({ "profile": profile, "version": version, "identifier": outline.identifier,
                    "payloads": outline.payloads.iter().take(most).map(|p| &p.payload_type).collect::<Vec<_>>(),
                    "payloads_count": outline.payloads.len(),
                    "commitment": commitment, "signed": signed, "erasing": erasing }),
        ),
        Effect::HolderCardsMade { cards } => (
            "holder_cards_made",
            json!({ "enrolments": cards.iter().take(most).map(|(enrolment, _)| enrolment).collect::<Vec<_>>(),
                    "enrolments_count": cards.len() }),
        ),
        Effect::ProfileEnded { profile } => ("profile_ended", json!({ "profile": profile })),
        Effect::PersonErased { subject } => ("person_erased", json!({ "subject": subject })),
        Effect::StandingEnded { order } => ("standing_ended", json!({ "order": order })),
        Effect::RestoreConfirmed { restored, without, complete } => {
            ("restore_confirmed", json!({ "restored": restored, "without": without, "complete": complete }))
        }
        Effect::DeclarationsSet { set, declarations, targets, erasing, .. } => (
            "declarations_set",
            json!({ "set": set, "erasing": erasing, "targets": few(targets, most),
                    "targets_count": targets.len(), "declarations_count": declarations.len(),
                    "declarations": declarations.iter().take(most).map(|d| json!({
                        "kind": d.kind, "identifier": d.identifier, "type": d.declared_type,
                        "token": d.token, "answer_digest": d.answer_digest, "in_force": d.in_force,
                    })).collect::<Vec<_>>() }),
        ),
    }
}
