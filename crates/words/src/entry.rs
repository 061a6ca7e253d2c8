//! The ledger's entries in words.

use ledger::{Body, Effect};
use order::root::SignedSuccession;
use order::{Order, Refusal, sha256};

use crate::{count, line, time};

fn short(id: &impl std::fmt::Display) -> String {
    id.to_string().chars().take(12).collect()
}

fn refusal(code: u16) -> String {
    Refusal::from_number(code).map_or_else(|| format!("reason {code}"), |r| r.to_string())
}

/// Who else signed, and until when it cools off.
fn counted_in_words(c: &ledger::Counted) -> String {
    let mut out = String::new();
    if !c.approvals.is_empty() {
        let people: Vec<_> = c.approvals.iter().map(|a| short(&a.person)).collect();
        out.push_str(&format!(", signed by {} too", people.join(" and ")));
    }
    if let Some(at_ms) = c.not_before_ms {
        out.push_str(&format!(", cooling off until {}", time(at_ms)));
    }
    out
}

/// What an entry says, in a sentence without its end.
#[must_use]
pub fn told(body: &Body) -> String {
    match body {
        Body::Genesis { root_key, .. } => {
            format!("the ledger begins under root key {}", short(&order::sha256(&root_key.0)))
        }
        Body::KeysStated { epoch, .. } => format!("the vault stated its keys, epoch {epoch}"),
        Body::OrderAccepted { person, bytes, effect, counted, .. } => {
            let order = order::decode::<Order>(&bytes.0).ok();
            let what = order.as_ref().map(|o| crate::what(&o.kind)).unwrap_or_default();
            let why = order.as_ref().map(|o| format!(" (why: {})", o.reason)).unwrap_or_default();
            let on = match effect {
                Effect::Commanded { targets, .. } if targets.len() == 1 => {
                    targets.first().map(|t| format!(" to {}", short(t))).unwrap_or_default()
                }
                Effect::Commanded { targets, .. } => {
                    format!(" to {}", count(targets.len() as u64, "phone"))
                }
                Effect::HolderCardsMade { cards } => match cards.as_slice() {
                    [(one, _)] => format!(" ({})", short(one)),
                    many => format!(" ({})", count(many.len() as u64, "phone")),
                },
                Effect::Opened { fields } => {
                    fields.first().map(|(e, _)| format!(" of {}", short(e))).unwrap_or_default()
                }
                Effect::ProfileSaved { version, outline, erasing, .. } => {
                    let grave = if *erasing { ", which counts as erasure" } else { "" };
                    format!(": '{}', version {version}{grave}", line(&outline.identifier))
                }
                Effect::Invited { enrolment, .. } | Effect::InvitationWithdrawn { enrolment } => {
                    format!(", enrolment {}", short(enrolment))
                }
                Effect::DeviceGroupSaved { phones, .. } if !phones.is_empty() => {
                    format!(" ({})", count(phones.len() as u64, "phone"))
                }
                _ => String::new(),
            };
            let more = counted.as_deref().map(counted_in_words).unwrap_or_default();
            format!("{} ordered: {what}{on}{more}{why}", short(person))
        }
        Body::OrderHeld { order, people, duty, count, needs, .. } => {
            let by = people.first().map(short).unwrap_or_default();
            let so_far = people.len();
            format!(
                "{by} ordered more than the signatures are good for: {}, {count}; order {} waits with {so_far} of \
                 {needs} signatures",
                crate::limits::duty(*duty),
                short(order)
            )
        }
        Body::OrderRefused { reason, .. } => format!("an order was refused: {}", refusal(reason.0)),
        Body::GrantUsed { grant, opened, searches } => {
            let mut phones: Vec<_> = opened.iter().map(|(e, _)| e).collect();
            phones.dedup();
            format!(
                "grant {} opened {} and made {} searches",
                short(grant),
                count(phones.len() as u64, "record"),
                searches
            )
        }
        Body::CertificateIssued { enrolment, .. } => format!("a certificate for {}", short(enrolment)),
        Body::CertificateRefused { enrolment, reason } => {
            let of = enrolment.as_ref().map(|e| format!(" for {}", short(e))).unwrap_or_default();
            format!("no certificate{of}: {}", refusal(reason.0))
        }
        Body::Resealed { rows } => {
            format!(
                "{} sealed again under newer keys; nobody learned what they say",
                count((*rows).into(), "row")
            )
        }
        Body::KeysDestroyed { keys, before, .. } => {
            let names: Vec<_> = keys.iter().map(|k| k.name()).collect();
            format!("older keys than of epoch {before} were destroyed: {}", names.join(", "))
        }
        Body::ServiceTokenResealed { service, .. } => {
            format!("the token of {} was sealed again under a newer key", line(service))
        }
        Body::RoomKeyTaken { key, epoch, .. } => {
            let room = key.made_by().unwrap_or("vault");
            format!("the {room}'s new key '{}' was taken, epoch {epoch}", key.name())
        }
        Body::RootSucceeded { succession } => match SignedSuccession(succession.0.clone()).open() {
            Some(s) => format!(
                "another root key signs from here on, fingerprint {}…, epoch {}; the one before vouches for it",
                sha256(&s.next).to_string().get(..16).unwrap_or_default(),
                s.epoch
            ),
            None => "another root key, by what is no chain of root keys".into(),
        },
        Body::Authenticated { enrolment, replaced } => {
            let instead =
                replaced.as_ref().map(|r| format!(", in place of {}", short(r))).unwrap_or_default();
            format!("phone {} began to enrol{instead}", short(enrolment))
        }
        Body::TokenUpdated { enrolment } => format!("phone {} is enrolled", short(enrolment)),
        Body::CheckedOut { enrolment } => format!("phone {} left", short(enrolment)),
        Body::CommandFinished { enrolment, command, status } => {
            let how = match status {
                2 => "acknowledged".to_owned(),
                4 | 5 => "answered with an error to".to_owned(),
                n => format!("ended ({n})"),
            };
            format!("phone {} {how} command {command}", short(enrolment))
        }
        Body::PhoneRefused { enrolment, .. } => format!("phone {} was turned away", short(enrolment)),
        // A phone that renews has had a certificate.
        Body::StandingUsed { standing, enrolment, number: 0, .. } => format!(
            "the holder of phone {} asked for what standing order {} lets holders do",
            short(enrolment),
            short(standing)
        ),
        Body::StandingUsed { standing, enrolment, .. } => {
            format!(
                "standing order {} asked phone {} to renew its certificate",
                short(standing),
                short(enrolment)
            )
        }
        Body::GivenBack { enrolment, what } => {
            format!("phone {} got back what is kept for it: {}", short(enrolment), line(what))
        }
        Body::Restored { made_at_ms, .. } => format!(
            "THE HOUSE WAS RESTORED from the backup of {}: what happened between then and now is missing",
            time(*made_at_ms)
        ),
        Body::ServerCertificateIssued { .. } => "the door's own certificate was renewed".into(),
        Body::CertificateTaken { enrolment, .. } => {
            format!("phone {} came with its renewed certificate", short(enrolment))
        }
        Body::OidcSignedIn { subject, role, group, .. } => {
            let group = group.as_ref().map(|g| format!(" of {}", g.as_str())).unwrap_or_default();
            let (subject, role) = (short(subject), crate::limits::role(*role));
            format!(
                "somebody ({subject}) signed in with their organisation's account, to read as {role}{group}"
            )
        }
    }
}

/// A kind's word in the ledger ([`Body::kind`]) as people say it.
#[must_use]
pub fn kind_name(kind: &str) -> &str {
    match kind {
        "genesis" => "The beginning",
        "keys_stated" => "Keys stated",
        "person_joined" => "Person joined",
        "person_key_added" => "Key added",
        "passkey_joined" => "Person joined by passkey",
        "passkey_added" => "Passkey added",
        "person_removed" => "Person removed",
        "invited" => "Invitation",
        "invitation_withdrawn" => "Invitation withdrawn",
        "opened" => "Record opened",
        "granted" => "Session",
        "commanded" => "Command",
        "recalled" => "Called back",
        "rejected" => "Rejected",
        "api_key_made" => "API key made",
        "api_key_revoked" => "API key ended",
        "session_ended" => "Session ended",
        "service_token_set" => "Service's token set",
        "standing_made" => "Standing order made",
        "standing_ended" => "Standing order ended",
        "restore_confirmed" => "Restore confirmed",
        "declarations_set" => "Declarations set",
        "limit_set" => "Limit set",
        "person_erased" => "Person erased",
        "keys_rotated" => "Keys rotated",
        "breach_assumed" => "Breach assumed",
        "person_key_ended" => "Key ended",
        "older_ca_ended" => "Older CA ended",
        "device_group_saved" => "Device group saved",
        "device_group_ended" => "Device group ended",
        "profile_saved" => "Profile saved",
        "holder_cards_made" => "Holder's card",
        "profile_ended" => "Profile taken out of the library",
        "order_refused" => "Order refused",
        "order_held" => "Order waits",
        "grant_used" => "Records opened in a session",
        "certificate_issued" => "Certificate issued",
        "certificate_refused" => "Certificate refused",
        "authenticated" => "Phone begins to enrol",
        "token_updated" => "Phone enrolled",
        "checked_out" => "Phone left",
        "command_finished" => "Command answered",
        "phone_refused" => "Phone turned away",
        "standing_used" => "Standing order used",
        "given_back" => "Given back to a phone",
        "restored" => "House restored",
        "resealed" => "Sealed again",
        "keys_destroyed" => "Keys destroyed",
        "service_token_resealed" => "Service's token sealed again",
        "room_key_taken" => "Room's key taken",
        "server_certificate_issued" => "Door's certificate issued",
        "certificate_taken" => "Renewed certificate taken up",
        "oidc_signed_in" => "Signed in to read",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_entry_has_its_words() {
        for kind in ledger::KINDS {
            assert_ne!(kind_name(kind), *kind);
        }
    }
}
