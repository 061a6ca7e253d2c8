//! Uses of a grant: opening rows and paying for searches. What a use costs is written before its
//! answer leaves; nothing is given back.

use ledger::Body;
use model::{Digest, EnrolmentId, SealedRow};
use order::{Refusal, SearchSecrets};
use rpc::alarm::AlarmKind;
use seal::{SearchField, SearchToken, to};
use zeroize::Zeroizing;

use crate::chamber::Chamber;
use crate::order_kinds::arguments;
use crate::state::records_of;

/// What a use of a grant gives core.
#[derive(Default)]
pub(crate) struct Granted {
    pub(crate) opened: Vec<(EnrolmentId, String, Zeroizing<Vec<u8>>)>,
    pub(crate) tokens: Vec<SearchToken>,
    pub(crate) field: Option<SearchField>,
    pub(crate) records_left: u32,
    pub(crate) searches_left: u32,
}

/// The most rows opened at once.
const MOST_ROWS: usize = 1_000;

impl Chamber {
    pub(crate) fn use_grant(
        &mut self,
        session: &Digest,
        rows: &[(EnrolmentId, SealedRow)],
        sealed_search: &[u8],
    ) -> Result<Granted, Refusal> {
        self.check_budgets_are_confirmed()?;
        let s = self.state.sessions.get(session).cloned().ok_or(Refusal::GrantExhausted)?;
        if self.now_ms >= s.expires_at_ms || rows.len() > MOST_ROWS {
            return Err(Refusal::GrantExhausted);
        }
        let person = self.state.people.get(&s.person).filter(|p| p.present);
        let person = person.cloned().ok_or(Refusal::GrantExhausted)?;
        let opened: Vec<(EnrolmentId, String)> = rows.iter().map(|(e, r)| (*e, r.name.clone())).collect();
        let records = records_of(&opened);
        let searches = u32::from(!sealed_search.is_empty());
        if records > s.records_left || searches > s.searches_left {
            let alarm = self.alarm(AlarmKind::BudgetHit);
            (alarm.person, alarm.order) = (Some(s.person), Some(s.order));
            alarm.refusal = Some(Refusal::GrantExhausted.number());
            return Err(Refusal::GrantExhausted);
        }
        if self.budgets_pay(session, records, searches).is_err() {
            let alarm = self.alarm(AlarmKind::BudgetHit);
            (alarm.person, alarm.order) = (Some(s.person), Some(s.order));
            alarm.refusal = Some(Refusal::BudgetSpent.number());
            return Err(Refusal::BudgetSpent);
        }
        let held = person.role == model::Role::WardManager;
        for (enrolment, row) in rows {
            if !s.compartments.contains(&row.compartment) {
                return Err(Refusal::GrantDoesNotCover);
            }
            let e = self.state.enrolments.get(enrolment).ok_or(Refusal::UnknownEnrolment)?;
            if held && person.group.as_ref() != Some(&e.group) {
                return Err(Refusal::OutOfScope);
            }
        }
        let mut granted = Granted::default();
        if searches > 0 {
            let aad = session.as_bytes();
            let plain = self
                .keys
                .open_order(to::INFO_ORDER_ARGS, aad, sealed_search)
                .map_err(|_| Refusal::BadSealedArguments)?;
            let wanted: SearchSecrets = arguments(&plain)?;
            let field = SearchField::from_name(&wanted.field).ok_or(Refusal::BadArgument)?;
            granted.tokens = self.keys.file.index_key.tokens(field, &wanted.term);
            granted.field = Some(field);
            if granted.tokens.is_empty() {
                return Err(Refusal::BadArgument);
            }
        }
        for (enrolment, row) in rows {
            let value = self.opener.open(enrolment, row).map_err(|_| Refusal::CannotOpen)?;
            granted.opened.push((*enrolment, row.name.clone(), value));
        }
        if records > 0 || searches > 0 {
            self.record(Body::GrantUsed { grant: s.order, opened, searches });
        }
        granted.records_left = s.records_left - records;
        granted.searches_left = s.searches_left - searches;
        Ok(granted)
    }
}
