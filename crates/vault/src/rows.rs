//! Sealed rows that core keeps because of a ledger entry, and index entries for rows it has.

use ledger::{Body, Effect, PersonalSealed, Subject};
use model::{Compartment, EnrolmentId, SealedRow};
use order::InviteSecrets;
use rpc::proto;
use seal::SearchField;

use crate::chamber::Chamber;

/// The field path of a holder's name in core's tables.
pub(crate) const HOLDER_NAME: &str = "Holder.Name";
/// The field path of a holder's email address.
pub(crate) const HOLDER_EMAIL: &str = "Holder.Email";

/// A value that is searched for is never longer when it is sealed.
const LARGEST_INDEXED_BYTES: usize = 16 << 10;

impl Chamber {
    /// Index entries for rows whose field can be searched; rows that don't open are passed over.
    pub(crate) fn index(&mut self, rows: &[(EnrolmentId, SealedRow)]) -> Vec<proto::IndexRow> {
        let mut out = Vec::new();
        for (enrolment, row) in rows {
            if row.ciphertext.len() > LARGEST_INDEXED_BYTES {
                continue;
            }
            let Some(field) = SearchField::of(&row.name) else { continue };
            match self.opener.open(enrolment, row) {
                Ok(value) => out.extend(self.index_value(enrolment, &row.name, field, &value)),
                Err(e) => {
                    tracing::warn!(enrolment = %enrolment, field = row.name, reason = %e, "a row was not indexed");
                }
            }
        }
        out
    }

    fn index_value(
        &self,
        enrolment: &EnrolmentId,
        name: &str,
        field: SearchField,
        value: &[u8],
    ) -> Vec<proto::IndexRow> {
        let Ok(text) = std::str::from_utf8(value) else { return Vec::new() };
        let entries = self.keys.file.index_key.entries(field, text, &self.rng).unwrap_or_default();
        let to = |e: seal::IndexEntry| proto::IndexRow {
            enrolment: enrolment.0.to_vec(),
            name: name.to_owned(),
            r: e.r.to_vec(),
            prf: e.prf.to_vec(),
        };
        entries.into_iter().map(to).collect()
    }

    /// What core keeps because of this entry: an invitation's holder, sealed for `identity`.
    pub(crate) fn personal_rows(&mut self, body: &Body) -> (Vec<proto::PhoneRow>, Vec<proto::IndexRow>) {
        let Some((enrolment, holder)) = invited(body) else { return (Vec::new(), Vec::new()) };
        // An erased person's rows are simply gone.
        let Ok(plain) = self.people_keys.open(Subject::from(*enrolment), holder) else {
            return (Vec::new(), Vec::new());
        };
        let Ok(secrets) = order::decode::<InviteSecrets>(&plain) else { return (Vec::new(), Vec::new()) };
        let mut rows = Vec::new();
        let mut entries = Vec::new();
        for (name, value) in [(HOLDER_NAME, &secrets.name), (HOLDER_EMAIL, &secrets.email)] {
            let sealed = self.sealer.seal(
                &self.rng,
                self.now_ms,
                enrolment,
                name,
                Compartment::Identity,
                value.as_bytes(),
                seal::mask(name, value),
                Vec::new(),
            );
            match sealed {
                Ok(row) => rows
                    .push(proto::PhoneRow { enrolment: enrolment.0.to_vec(), row: Some(rpc::row_to(row)) }),
                Err(e) => tracing::error!(reason = %e, "a holder's name could not be sealed"),
            }
            if let Some(field) = SearchField::of(name) {
                entries.extend(self.index_value(enrolment, name, field, value.as_bytes()));
            }
        }
        (rows, entries)
    }
}

/// The invitation that the entry tells of, if any: no other entry has rows.
pub(crate) fn invited(body: &Body) -> Option<(&EnrolmentId, &PersonalSealed)> {
    match body {
        Body::OrderAccepted { effect: Effect::Invited { enrolment, holder, .. }, .. } => {
            Some((enrolment, holder))
        }
        _ => None,
    }
}
