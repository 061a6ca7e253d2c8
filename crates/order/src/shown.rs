//! What of a saved version a person is shown before it is installed, as a digest that the order carries.

use minicbor::{Decode, Encode};
use model::{Digest, OrderId, Outline, ProfileId, StandingTemplate};

use crate::OrderKind;

/// What a person is shown of a saved version. Whoever shows it computes the digest from what is shown, the vault from
/// what it saved.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ShownVersion {
    /// The order that saved it.
    #[n(0)]
    pub saved_by: OrderId,
    /// What it says in the clear, its identifier too.
    #[n(1)]
    pub outline: Outline,
    /// It counts as erasure.
    #[n(2)]
    pub erasing: bool,
    /// Because of these: payload types with a key each.
    #[n(3)]
    pub because: Vec<(String, String)>,
}

impl ShownVersion {
    /// SHA-256 of `matron/shown/1\0` and the encoding.
    #[must_use]
    pub fn digest(&self) -> Digest {
        crate::sha256(&[b"matron/shown/1\0".as_slice(), &crate::encode(self)].concat())
    }
}

/// Which version an order installs, now or by itself later, with the digest of what was shown of it.
#[must_use]
pub fn installs(kind: &OrderKind) -> Option<(ProfileId, u32, Digest)> {
    match kind {
        OrderKind::InstallSaved { profile, version, shown, .. } => Some((*profile, *version, *shown)),
        OrderKind::MakeStanding { template: StandingTemplate::InstallSaved { install }, .. } => {
            Some((install.profile, install.version, install.shown))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_shown_otherwise_has_another_digest_and_what_json_carried_has_the_same() {
        let key = model::OutlinedKey { path: "A".into(), value: model::OutlinedValue::Whole(i64::MIN) };
        let shown = ShownVersion {
            saved_by: OrderId([1; 16]),
            outline: Outline { identifier: "org.example.a".into(), keys: vec![key], ..Outline::default() },
            erasing: true,
            because: vec![("Configuration".into(), "A".into())],
        };
        let outline = Outline { left_out: 1, ..shown.outline.clone() };
        for other in [
            ShownVersion { saved_by: OrderId([2; 16]), ..shown.clone() },
            ShownVersion { outline, ..shown.clone() },
            ShownVersion { erasing: false, ..shown.clone() },
            ShownVersion { because: vec![], ..shown.clone() },
        ] {
            assert_ne!(other.digest(), shown.digest());
        }
        let carried = serde_json::from_str(&serde_json::to_string(&shown.outline).unwrap()).unwrap();
        assert_eq!(ShownVersion { outline: carried, ..shown.clone() }.digest(), shown.digest());
    }
}
