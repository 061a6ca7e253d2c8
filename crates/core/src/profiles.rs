//! The library of profiles: versions as the ledger has them, and what phones say of them.

use ledger::{Body, Effect};
use model::{Command, CommandKind, ProfileId};
use order::OrderKind;
use store::{LedgerRow, ProfileVersion, StoreError, Tx};

/// Takes a version in as the ledger says it, and a profile's end.
pub(crate) fn project(tx: &Tx<'_>, row: &LedgerRow, body: &Body) -> Result<(), StoreError> {
    let Body::OrderAccepted { order, person, effect, .. } = body else { return Ok(()) };
    if let Effect::ProfileEnded { profile } = effect {
        return tx.end_profile(*profile, *order, row.at_ms);
    }
    let Effect::ProfileSaved { profile, version, outline, signed, erasing, because, .. } = effect else {
        return Ok(());
    };
    let because: Vec<(&str, &str)> =
        because.iter().map(|b| (b.payload_type.as_str(), b.key.as_str())).collect();
    tx.put_profile_version(&ProfileVersion {
        profile: *profile,
        version: *version,
        order: *order,
        position: row.index,
        saved_at_ms: row.at_ms,
        signer: *person,
        identifier: outline.identifier.clone(),
        signed: *signed,
        erasing: *erasing,
        outline: order::encode(outline.as_ref()),
        because: order::encode(&because),
    })
}

/// What an order asks phones to hold of the library: versions, and 0 for a profile to be without.
pub(crate) fn wanted(tx: &Tx<'_>, kind: &OrderKind) -> Result<Vec<(ProfileId, u32)>, StoreError> {
    match kind {
        OrderKind::InstallSaved { profile, version, .. } => Ok(vec![(*profile, *version)]),
        OrderKind::Command { command: Command::RemoveProfile { identifier } } => {
            Ok(tx.profiles_named(identifier)?.into_iter().map(|p| (p, 0)).collect())
        }
        _ => Ok(Vec::new()),
    }
}

/// Whether a phone's answer to such a command says something of a profile.
pub(crate) fn is_about_one(request_type: &str) -> bool {
    [CommandKind::InstallProfile, CommandKind::RemoveProfile].iter().any(|k| k.request_type() == request_type)
}
