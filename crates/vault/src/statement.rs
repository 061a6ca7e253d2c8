//! The key statement, renewed daily under the root key.

use model::{Compartment, KeyName, TimeMs};
use order::{KeyStatement, SignedStatement, X25519Public, sha256};

use crate::Error;
use crate::keys::Keys;
use crate::rotation::Rotations;

/// A statement lives for two days and is renewed when one is left.
pub(crate) const LIFE_MS: TimeMs = 2 * model::clock::DAY_MS;

/// States the keys anew.
///
/// # Errors
/// When the root key is on a token, which does not sign.
pub(crate) fn state_keys(keys: &Keys, said: &Rotations, now_ms: TimeMs) -> Result<SignedStatement, Error> {
    let older = said.older_needed();
    let older_readers: Vec<_> = keys.older_readers().map(|k| X25519Public(k.0)).collect();
    let mut compartments: Vec<_> =
        keys.compartment_publics().into_iter().map(|c| (c.compartment, X25519Public(c.key.0))).collect();
    compartments.push((Compartment::Push, X25519Public(keys.file.push_key.0)));
    compartments.sort_by_key(|(c, _)| c.number());
    let statement = KeyStatement {
        version: 1,
        epoch: keys.file.epoch,
        made_at_ms: now_ms,
        expires_at_ms: now_ms + LIFE_MS,
        warrant_key: keys.warrant.public(),
        order_key: X25519Public(keys.file.order_key.public().0),
        delivery_key: X25519Public(keys.file.delivery_key.0),
        compartments,
        reader_key: X25519Public(keys.file.reader_key.0),
        vault_sender_key: X25519Public(keys.file.sender_key.public().0),
        ca_fingerprint: sha256(&keys.file.ca_certificate),
        ra_fingerprint: sha256(&keys.file.ra_certificate),
        older_needed: (!older.is_empty()).then_some(older),
        older_readers: (!older_readers.is_empty()).then_some(older_readers),
        ra_certificate: [KeyName::ScepRa, KeyName::Ca]
            .iter()
            .any(|key| said.made_in(*key) > 1)
            .then(|| keys.file.ra_certificate.clone()),
        authorities: keys.authorities(said),
    };
    let signed = SignedStatement::sign_with(&statement, |message| keys.root.sign(message))?;
    Ok(SignedStatement { successions: keys.file.successions.clone(), ..signed })
}
