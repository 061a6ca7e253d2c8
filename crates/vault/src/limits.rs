//! The table of limits asked with what the ledger says: enough signatures, enough left of the budgets, how
//! long to cool off.

use ledger::{Approval, Body, Counted, Opaque};
use model::{Digest, Duty, Group, KeyId, Limit, PersonId, Role, TimeMs, Whose, Window};
use order::limits::{self, Asked, Hold, Overview, Signing, Weighed, Why};
use order::{Order, OrderKind, Refusal, Scheme, VerifiedOrder};

use crate::chamber::Chamber;
use crate::submit::Outcome;

/// A person who signed an order, by a key from outside the browser if one of theirs is.
pub(crate) struct Signatory {
    pub(crate) person: PersonId,
    pub(crate) key: KeyId,
    pub(crate) role: Role,
    pub(crate) group: Option<Group>,
    scheme: Scheme,
    signature: Vec<u8>,
}

/// Why an order is not accepted.
pub(crate) enum Stop {
    /// It is refused for good.
    Refused(Refusal, Option<Hold>),
    /// It is not decided, and may come again with another signature or later.
    Held(Refusal, Hold),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal, None)
    }
}

impl Chamber {
    /// Who signed, in the order in which they did: each person once, however many of their keys did. Of several the one from
    /// outside the browser counts, since that is good for more.
    pub(crate) fn signatories(&self, verified: &VerifiedOrder) -> Vec<Signatory> {
        let mut people: Vec<Signatory> = Vec::new();
        for s in verified.signatures() {
            let Some((person, held)) = self.state.holder_of(&s.key) else { continue };
            let signatory = Signatory {
                person,
                key: s.key,
                role: held.role,
                group: held.group.clone(),
                scheme: s.scheme,
                signature: s.signature.clone(),
            };
            match people.iter_mut().find(|p| p.person == person) {
                None => people.push(signatory),
                Some(p) if !p.scheme.is_outside_browser() && s.scheme.is_outside_browser() => *p = signatory,
                Some(_) => {}
            }
        }
        people
    }

    /// Asks the table.
    pub(crate) fn weigh(
        &self,
        order: &Order,
        erasing: bool,
        people: &[Signatory],
    ) -> Result<(Weighed, Counted), Stop> {
        let first = people.first().ok_or(Refusal::UnknownSigner)?;
        let asked = Asked {
            duty: limits::duty(&order.kind, erasing),
            count: limits::count(order),
            phones: u32::try_from(order.targets.len()).unwrap_or(u32::MAX),
            two_administrators: self.state.two_administrators,
        };
        let signings: Vec<Signing> =
            people.iter().map(|p| Signing { role: p.role, scheme: p.scheme }).collect();
        // Ending is anybody's at once; ending a key is a change of keys all the same.
        if matches!(order.kind, OrderKind::EndKey { .. })
            && !signings.iter().any(|s| s.scheme.is_outside_browser())
        {
            let Asked { duty, count, .. } = asked;
            let hold = Hold { duty, count, needs: 1, why: Why::OutsideBrowser };
            return Err(stop((Refusal::NeedsSignatures, hold)));
        }
        let spent = self.state.budgets.of(first.person, self.now_ms);
        let mut weighed = limits::weigh(&self.state.limits, &asked, &signings, &spent).map_err(stop)?;
        // A card tells no phone anything: there is nothing to wait with.
        if matches!(order.kind, OrderKind::HolderCards) {
            weighed.cooling_off_ms = 0;
        }
        if !weighed.approved {
            self.grant_is_within_a_day(order, first.role)?;
        }
        let not_before_ms = (weighed.cooling_off_ms > 0).then(|| self.now_ms + weighed.cooling_off_ms);
        if not_before_ms.is_some_and(|at_ms| at_ms >= order.expires_at_ms) {
            return Err(Refusal::ExpiresCoolingOff.into());
        }
        let approval =
            |p: &Signatory| Approval { key: p.key, person: p.person, signature: Opaque(p.signature.clone()) };
        let approvals = people.iter().skip(1).map(approval).collect();
        let counted = Counted { duty: asked.duty, count: asked.count, approvals, not_before_ms };
        Ok((weighed, counted))
    }

    /// A grant that would open more than its signer may in a day takes a second signature, and pays for itself.
    fn grant_is_within_a_day(&self, order: &Order, role: Role) -> Result<(), Stop> {
        let OrderKind::Grant { records, searches, .. } = &order.kind else { return Ok(()) };
        for (duty, count) in [(Duty::Open, *records), (Duty::Search, *searches)] {
            let (whose, window) = (Whose::Person(role), Window::Day);
            let most = self.state.limits.get(&Limit::Budget { duty, whose, window });
            if count > most {
                let why = Why::Budget { whose, window, most, left: most, refills_at_ms: None };
                let hold = Hold { duty, count, needs: 2, why };
                let two = self.state.two_administrators;
                return Err(stop((if two { Refusal::NeedsSignatures } else { Refusal::BudgetSpent }, hold)));
            }
        }
        Ok(())
    }

    /// Whether the budgets pay for a use of a grant. One that several signed pays for itself, within what
    /// several may do together.
    pub(crate) fn budgets_pay(&self, session: &Digest, records: u32, searches: u32) -> Result<(), Hold> {
        let Some(s) = self.state.sessions.get(session) else { return Ok(()) };
        let Some(role) = self.state.people.get(&s.person).map(|p| p.role) else { return Ok(()) };
        let spent = self.state.budgets.of(s.person, self.now_ms);
        for (duty, count) in [(Duty::Open, records), (Duty::Search, searches)] {
            if count > 0 {
                limits::budgets_pay(&self.state.limits, duty, count, role, s.approved, &spent)
                    .map_err(|why| Hold { duty, count, needs: if s.approved { 1 } else { 2 }, why })?;
            }
        }
        Ok(())
    }

    /// Leaves an order undecided. The first time, the ledger says so: whoever tries with a stolen key is seen.
    pub(crate) fn hold(&mut self, verified: &VerifiedOrder, refusal: Refusal, hold: Hold) -> Outcome {
        let (id, expires_at_ms) = (verified.id(), verified.order().expires_at_ms);
        if !self.state.held.contains_key(&id) {
            tracing::warn!(
                order = %id, duty = hold.duty.name(), count = hold.count, refusal = refusal.number(),
                "an order is beyond what its signatures are good for"
            );
            self.alarm_of_budget(verified, refusal);
            self.record(Body::OrderHeld {
                order: id,
                digest: verified.digest(),
                people: self.signatories(verified).iter().map(|p| p.person).collect(),
                duty: hold.duty,
                count: hold.count,
                needs: hold.needs,
                expires_at_ms,
            });
        }
        Outcome { refusal: Some(refusal), order: Some(id), hold: Some(hold), ..Outcome::default() }
    }

    /// Until when an accepted order cools off, if it still does.
    pub(crate) fn cools_until(&self, order: &model::OrderId) -> Option<TimeMs> {
        let c = self.state.commanded.get(order).filter(|c| !c.recalled)?;
        (self.now_ms < c.not_before_ms).then_some(c.not_before_ms)
    }

    /// The table's changed numbers and what was spent, for people to read.
    pub(crate) fn overview(&self) -> Overview {
        let role_of = |p: &PersonId| self.state.people.get(p).map(|p| p.role);
        Overview {
            changed: self.state.limits.changed(),
            spent: self.state.budgets.rows(role_of, self.now_ms),
            administrators: u32::try_from(self.state.administrators()).unwrap_or(u32::MAX),
            two_administrators: self.state.two_administrators,
        }
    }
}

fn stop((refusal, hold): (Refusal, Hold)) -> Stop {
    match refusal {
        Refusal::NeedsSignatures | Refusal::ApprovedBudgetSpent => Stop::Held(refusal, hold),
        _ => Stop::Refused(refusal, Some(hold)),
    }
}
