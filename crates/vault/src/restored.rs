//! A house that was restored from a backup: the past since then is missing, spent budgets and removed
//! people with it. So nothing is opened, searched or commanded until administrators have confirmed it.

use ledger::Effect;
use model::{CommandKind, Digest, PersonId, Role, TimeMs};
use order::{OrderKind, Refusal};

use crate::chamber::Chamber;
use crate::state::State;
use crate::submit::{Consequence, Signer};

/// The most people that a confirmation removes.
const MOST_REMOVED: usize = 100;
/// How many administrators have to confirm the same, if there are so many.
const CONFIRMATIONS: usize = 2;

/// A restore that is not confirmed yet.
#[derive(Debug, Clone)]
pub(crate) struct Unconfirmed {
    /// Where it stands in the ledger.
    pub(crate) position: u64,
    pub(crate) manifest: Digest,
    pub(crate) made_at_ms: TimeMs,
    /// How many entries the backup had.
    pub(crate) entries: u64,
    /// How many administrators have to confirm it: as there were when it was restored, so that removing one
    /// changes nothing.
    pub(crate) needed: usize,
    /// Who did, and whom they would remove with it.
    pub(crate) confirmed: Vec<(PersonId, Vec<PersonId>)>,
}

impl State {
    /// Takes in that the house was restored.
    pub(crate) fn restored(&mut self, position: u64, manifest: Digest, made_at_ms: TimeMs, entries: u64) {
        // Ended since the backup was made, perhaps: none of them comes back to life.
        self.sessions.clear();
        self.readers.clear();
        self.api_keys.clear();
        for e in self.enrolments.values_mut() {
            e.withdrawn |= e.issued.is_none();
            e.renewal = None;
        }
        // Called back since, perhaps: no warrant is signed for any of them again. The command that has phones look at
        // their declarations does nothing by itself.
        for c in self.commanded.values_mut().filter(|c| c.kind != CommandKind::DeclarativeManagement) {
            c.recalled = true;
        }
        let needed = self.administrators().clamp(1, CONFIRMATIONS);
        self.unconfirmed =
            Some(Unconfirmed { position, manifest, made_at_ms, entries, needed, confirmed: Vec::new() });
    }

    /// Takes in that an administrator confirmed the restore at `restored`.
    pub(crate) fn restore_confirmed(
        &mut self,
        restored: u64,
        person: PersonId,
        without: &[PersonId],
        complete: bool,
    ) {
        let Some(pending) = self.unconfirmed.as_mut().filter(|u| u.position == restored) else { return };
        pending.confirmed.retain(|(p, _)| *p != person);
        pending.confirmed.push((person, without.to_vec()));
        if complete {
            self.unconfirmed = None;
            without.iter().for_each(|p| self.remove_person(p));
        }
    }
}

impl Chamber {
    /// Whether anything may be spent: not while a restore is unconfirmed.
    pub(crate) fn check_budgets_are_confirmed(&self) -> Result<(), Refusal> {
        if self.state.unconfirmed.is_some() { Err(Refusal::RestoredUnconfirmed) } else { Ok(()) }
    }

    /// The same for an order. What confirms, what only takes away, and a session that reads masks alone
    /// pass.
    pub(crate) fn check_order_is_confirmed(&self, kind: &OrderKind) -> Result<(), Refusal> {
        match kind {
            OrderKind::ConfirmRestore { .. }
            | OrderKind::JoinFirst { .. }
            | OrderKind::Recall { .. }
            | OrderKind::Reject { .. }
            | OrderKind::EndSession { .. }
            | OrderKind::EndApiKey { .. }
            | OrderKind::EndStanding { .. }
            | OrderKind::WithdrawInvitation
            | OrderKind::Grant { records: 0, searches: 0, .. } => Ok(()),
            _ => self.check_budgets_are_confirmed(),
        }
    }

    pub(crate) fn confirm_restore(
        &self,
        signer: &Signer,
        manifest: &Digest,
        made_at_ms: TimeMs,
        without: &[PersonId],
    ) -> Result<Consequence, Refusal> {
        let pending = self.state.unconfirmed.as_ref().ok_or(Refusal::NoSuchRestore)?;
        if (pending.manifest, pending.made_at_ms) != (*manifest, made_at_ms) {
            return Err(Refusal::NoSuchRestore);
        }
        let present = |p: &PersonId| self.state.people.get(p).is_some_and(|p| p.present);
        let ascending = without.windows(2).all(|w| w.first() < w.last());
        if without.len() > MOST_REMOVED
            || !ascending
            || !without.iter().all(present)
            || without.contains(&signer.person)
        {
            return Err(Refusal::BadArgument);
        }
        let administers = |p: &PersonId| {
            self.state.people.get(p).is_some_and(|p| p.present && p.role == Role::Administrator)
        };
        let others = pending.confirmed.iter().filter(|(p, same)| {
            *p != signer.person && administers(p) && !without.contains(p) && same == without
        });
        let complete = others.count() + 1 >= pending.needed;
        let (restored, without) = (pending.position, without.to_vec());
        Ok(Consequence::of(Effect::RestoreConfirmed { restored, without, complete }))
    }
}
