//! What an entry is called, and whom and what it is about: by these a ledger is looked through.

use model::{DataSubject, EnrolmentId, KeyId, OrderId, PersonId};

use crate::effect::Effect;
use crate::entry::Body;

/// Whom and what an entry names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// People who sign orders.
    pub people: Vec<PersonId>,
    /// Phones.
    pub enrolments: Vec<EnrolmentId>,
    /// Orders: the one it records, or the one it acts under or ends.
    pub orders: Vec<OrderId>,
    /// The key of someone whom the entry itself does not name.
    pub signer: Option<KeyId>,
    /// The grant of someone whom the entry itself does not name.
    pub grant: Option<OrderId>,
    /// How many phones or records it speaks of; 1 where it is of neither.
    pub amount: u32,
}

/// Every word that [`Body::kind`] answers.
pub const KINDS: &[&str] = &[
    "genesis",
    "keys_stated",
    "person_joined",
    "person_key_added",
    "passkey_joined",
    "passkey_added",
    "person_removed",
    "invited",
    "invitation_withdrawn",
    "opened",
    "granted",
    "commanded",
    "recalled",
    "rejected",
    "api_key_made",
    "api_key_revoked",
    "session_ended",
    "service_token_set",
    "standing_made",
    "standing_ended",
    "restore_confirmed",
    "declarations_set",
    "limit_set",
    "person_erased",
    "keys_rotated",
    "breach_assumed",
    "person_key_ended",
    "older_ca_ended",
    "device_group_saved",
    "device_group_ended",
    "profile_saved",
    "holder_cards_made",
    "profile_ended",
    "order_refused",
    "order_held",
    "grant_used",
    "certificate_issued",
    "certificate_refused",
    "authenticated",
    "token_updated",
    "checked_out",
    "command_finished",
    "phone_refused",
    "standing_used",
    "given_back",
    "restored",
    "resealed",
    "keys_destroyed",
    "service_token_resealed",
    "room_key_taken",
    "server_certificate_issued",
    "certificate_taken",
    "oidc_signed_in",
];

impl Effect {
    fn kind(&self) -> &'static str {
        match self {
            Self::PersonJoined { .. } => "person_joined",
            Self::PersonKeyAdded { .. } => "person_key_added",
            Self::PasskeyJoined { .. } => "passkey_joined",
            Self::PasskeyAdded { .. } => "passkey_added",
            Self::PersonRemoved { .. } => "person_removed",
            Self::Invited { .. } => "invited",
            Self::InvitationWithdrawn { .. } => "invitation_withdrawn",
            Self::Opened { .. } => "opened",
            Self::Granted { .. } => "granted",
            Self::Commanded { .. } => "commanded",
            Self::Recalled { .. } => "recalled",
            Self::Rejected { .. } => "rejected",
            Self::ApiKeyMade { .. } => "api_key_made",
            Self::ApiKeyRevoked { .. } => "api_key_revoked",
            Self::SessionEnded { .. } => "session_ended",
            Self::ServiceTokenSet { .. } => "service_token_set",
            Self::StandingMade { .. } => "standing_made",
            Self::StandingEnded { .. } => "standing_ended",
            Self::RestoreConfirmed { .. } => "restore_confirmed",
            Self::DeclarationsSet { .. } => "declarations_set",
            Self::LimitSet { .. } => "limit_set",
            Self::PersonErased { .. } => "person_erased",
            Self::KeysRotated { .. } => "keys_rotated",
            Self::BreachAssumed { .. } => "breach_assumed",
            Self::PersonKeyEnded { .. } => "person_key_ended",
            Self::OlderCaEnded { .. } => "older_ca_ended",
            Self::DeviceGroupSaved { .. } => "device_group_saved",
            Self::DeviceGroupEnded { .. } => "device_group_ended",
            Self::ProfileSaved { .. } => "profile_saved",
            Self::HolderCardsMade { .. } => "holder_cards_made",
            Self::ProfileEnded { .. } => "profile_ended",
        }
    }

    fn about(&self, of: &mut About) {
        match self {
            Self::PersonJoined { person, .. }
            | Self::PersonKeyAdded { person, .. }
            | Self::PasskeyJoined { person, .. }
            | Self::PasskeyAdded { person, .. }
            | Self::PersonRemoved { person }
            | Self::PersonKeyEnded { person, .. }
            | Self::PersonErased { subject: DataSubject::Person(person) } => of.people.push(*person),
            Self::RestoreConfirmed { without, .. } => of.people.extend(without),
            Self::Invited { enrolment, .. }
            | Self::InvitationWithdrawn { enrolment }
            | Self::PersonErased { subject: DataSubject::Holder(enrolment) } => {
                of.enrolments.push(*enrolment)
            }
            Self::Opened { fields } => of.enrolments.extend(fields.iter().map(|f| f.0)),
            Self::HolderCardsMade { cards } => of.enrolments.extend(cards.iter().map(|c| c.0)),
            Self::Commanded { targets, .. } | Self::DeclarationsSet { targets, .. } => {
                of.enrolments.extend(targets);
            }
            Self::Recalled { order } | Self::Rejected { order } | Self::StandingEnded { order } => {
                of.orders.push(*order);
            }
            _ => {}
        }
    }
}

impl Body {
    /// The word for its kind; an accepted order's is that of what it did.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Genesis { .. } => "genesis",
            Self::KeysStated { .. } => "keys_stated",
            Self::OrderAccepted { effect, .. } => effect.kind(),
            Self::OrderRefused { .. } => "order_refused",
            Self::OrderHeld { .. } => "order_held",
            Self::GrantUsed { .. } => "grant_used",
            Self::CertificateIssued { .. } => "certificate_issued",
            Self::CertificateRefused { .. } => "certificate_refused",
            Self::Authenticated { .. } => "authenticated",
            Self::TokenUpdated { .. } => "token_updated",
            Self::CheckedOut { .. } => "checked_out",
            Self::CommandFinished { .. } => "command_finished",
            Self::PhoneRefused { .. } => "phone_refused",
            Self::StandingUsed { .. } => "standing_used",
            Self::GivenBack { .. } => "given_back",
            Self::Restored { .. } => "restored",
            Self::Resealed { .. } => "resealed",
            Self::KeysDestroyed { .. } => "keys_destroyed",
            Self::ServiceTokenResealed { .. } => "service_token_resealed",
            Self::RoomKeyTaken { .. } => "room_key_taken",
            Self::RootSucceeded { .. } => "root_succeeded",
            Self::ServerCertificateIssued { .. } => "server_certificate_issued",
            Self::CertificateTaken { .. } => "certificate_taken",
            Self::OidcSignedIn { .. } => "oidc_signed_in",
        }
    }

    /// Whom and what it names, each once.
    #[must_use]
    pub fn about(&self) -> About {
        let mut of = About::default();
        match self {
            Self::OrderAccepted { order, person, effect, counted, .. } => {
                of.orders.push(*order);
                of.people.push(*person);
                of.people.extend(counted.iter().flat_map(|c| &c.approvals).map(|a| a.person));
                effect.about(&mut of);
            }
            Self::OrderHeld { order, people, .. } => {
                of.orders.push(*order);
                of.people.extend(people);
            }
            Self::OrderRefused { order, signer, .. } => {
                of.orders.extend(order);
                of.signer = *signer;
            }
            Self::GrantUsed { grant, opened, .. } => {
                of.orders.push(*grant);
                of.grant = Some(*grant);
                of.enrolments.extend(opened.iter().map(|o| o.0));
            }
            Self::CertificateRefused { enrolment, .. } => of.enrolments.extend(enrolment),
            Self::Authenticated { enrolment, replaced } => {
                of.enrolments.push(*enrolment);
                of.enrolments.extend(replaced);
            }
            Self::StandingUsed { standing, enrolment, .. } => {
                of.orders.push(*standing);
                of.enrolments.push(*enrolment);
            }
            Self::CertificateIssued { enrolment, .. }
            | Self::TokenUpdated { enrolment }
            | Self::CheckedOut { enrolment }
            | Self::CommandFinished { enrolment, .. }
            | Self::PhoneRefused { enrolment, .. }
            | Self::GivenBack { enrolment, .. }
            | Self::CertificateTaken { enrolment, .. } => of.enrolments.push(*enrolment),
            _ => {}
        }
        once(&mut of.people);
        once(&mut of.enrolments);
        once(&mut of.orders);
        let opens = matches!(self, Self::GrantUsed { .. });
        let one = matches!(self, Self::Authenticated { .. }) || (of.enrolments.is_empty() && !opens);
        // Of a grant that paid for searches alone no record was opened.
        of.amount = if one { 1 } else { u32::try_from(of.enrolments.len()).unwrap_or(u32::MAX) };
        of
    }
}

fn once<T: Ord>(items: &mut Vec<T>) {
    items.sort_unstable();
    items.dedup();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_that_was_used_names_its_phones_once_and_whose_grant_it_was() {
        let (one, two) = (EnrolmentId([1; 16]), EnrolmentId([2; 16]));
        let opened = vec![(two, "IMEI".into()), (one, "IMEI".into()), (two, "MEID".into())];
        let body = Body::GrantUsed { grant: OrderId([7; 16]), opened, searches: 1 };
        let about = body.about();
        assert_eq!(about.enrolments, [one, two]);
        assert_eq!((about.grant, about.amount), (Some(OrderId([7; 16])), 2));
        let none = Body::GrantUsed { grant: OrderId([7; 16]), opened: vec![], searches: 3 };
        assert_eq!(none.about().amount, 0);
        assert_eq!(none.kind(), "grant_used");
    }

    #[test]
    fn a_phone_that_takes_anothers_place_is_found_under_both_and_counts_once() {
        let (one, two) = (EnrolmentId([1; 16]), EnrolmentId([2; 16]));
        let about = Body::Authenticated { enrolment: two, replaced: Some(one) }.about();
        assert_eq!((about.enrolments, about.amount), (vec![one, two], 1));
    }

    #[test]
    fn no_kind_stands_twice_in_the_list() {
        let mut kinds = KINDS.to_vec();
        once(&mut kinds);
        assert_eq!(kinds.len(), KINDS.len());
        assert!(KINDS.contains(&Body::Resealed { rows: 1 }.kind()));
    }
}
