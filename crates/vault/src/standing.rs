//! What the vault does by itself under a standing order: asking a phone to renew its certificate, and what a phone's
//! holder asks for ([`crate::holder`]). Core says for which phone; the vault looks for itself whether the order stands,
//! whether the hour's cap is spent, and whether the template fits the phone by its own record. What an act costs is
//! written before it leaves, so no restart gives it back.

use std::collections::HashMap;

use ledger::{Body, Effect};
use model::clock::HOUR_MS;
use model::{CommandId, Digest, EnrolmentId, KeyName, OrderId, SealedRow, StandingTemplate, TimeMs};
use order::{Order, Refusal, SignedWarrant, sha256};
use rpc::alarm::AlarmKind;
use zeroize::Zeroizing;

use crate::chamber::Chamber;
use crate::command::PreparedCommand;
use crate::state::Enrolment;
use crate::submit::Consequence;

/// A phone that took a certificate and did not come to use it (its installation failed half-way) is
/// asked anew after so long.
pub(crate) const ASKED_ANEW_AFTER_MS: TimeMs = 6 * HOUR_MS;

/// A standing order with what was done under it.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) template: StandingTemplate,
    pub(crate) cap_an_hour: u32,
    pub(crate) expires_at_ms: TimeMs,
    pub(crate) ended: bool,
    /// The latest hour (since 1970) in which something was done. Never goes back.
    hour: i64,
    spent: u32,
    acts: HashMap<EnrolmentId, Act>,
}

/// The last thing that was done for a phone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Act {
    pub(crate) command: CommandId,
    pub(crate) digest: Digest,
    pub(crate) expires_at_ms: TimeMs,
    /// Where it stands in the ledger.
    pub(crate) position: u64,
    pub(crate) at_ms: TimeMs,
    hour: i64,
    /// How often it was done for this phone in that hour.
    times: u32,
    /// It is not done any more; it counts all the same.
    called_back: bool,
}

/// A phone was asked to renew: its next certificate may be fetched with this challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Renewal {
    pub(crate) standing: OrderId,
    /// How many certificates the enrolment had before.
    pub(crate) number: u32,
    pub(crate) expires_at_ms: TimeMs,
}

/// What comes with a holder's ask.
#[derive(Default)]
pub(crate) struct Asking<'a> {
    /// The code of the holder's card.
    pub(crate) code: Option<&'a str>,
    /// This command is over at the phone, as core says: it is not given again.
    pub(crate) over: Option<CommandId>,
}

/// What an act gives core.
pub(crate) struct Acted {
    pub(crate) position: u64,
    pub(crate) command: PreparedCommand,
    pub(crate) expires_at_ms: TimeMs,
}

fn hour_of(at_ms: TimeMs) -> i64 {
    at_ms.div_euclid(HOUR_MS)
}

impl Standing {
    pub(crate) fn new(template: StandingTemplate, cap_an_hour: u32, expires_at_ms: TimeMs) -> Self {
        Self {
            template,
            cap_an_hour,
            expires_at_ms,
            ended: false,
            hour: i64::MIN,
            spent: 0,
            acts: HashMap::new(),
        }
    }

    /// Ends it, with what was asked under it.
    pub(crate) fn end(&mut self) {
        self.ended = true;
        self.acts.clear();
    }

    pub(crate) fn stands(&self, now_ms: TimeMs) -> bool {
        !self.ended && now_ms < self.expires_at_ms
    }

    /// What is left of this hour's cap. A clock that was set back stays in the latest hour it was in.
    pub(crate) fn left(&self, now_ms: TimeMs) -> u32 {
        if hour_of(now_ms) > self.hour {
            self.cap_an_hour
        } else {
            self.cap_an_hour.saturating_sub(self.spent)
        }
    }

    /// The last thing that was done for this phone, unless it was called back.
    pub(crate) fn last(&self, enrolment: &EnrolmentId) -> Option<&Act> {
        self.acts.get(enrolment).filter(|a| !a.called_back)
    }

    /// What a holder asked for with the card of before is called back.
    pub(crate) fn card_changes(&mut self, enrolment: &EnrolmentId) {
        if self.template.is_holders()
            && let Some(act) = self.acts.get_mut(enrolment)
        {
            act.called_back = true;
        }
    }

    /// How often something was done for this phone in this hour.
    pub(crate) fn times(&self, enrolment: &EnrolmentId, now_ms: TimeMs) -> u32 {
        let hour = self.hour.max(hour_of(now_ms));
        self.acts.get(enrolment).filter(|a| a.hour == hour).map_or(0, |a| a.times)
    }

    /// Takes in what was done for a phone, and where and when that was written.
    pub(crate) fn used(
        &mut self,
        enrolment: EnrolmentId,
        (command, digest): (CommandId, Digest),
        expires_at_ms: TimeMs,
        (position, at_ms): (u64, TimeMs),
    ) {
        if hour_of(at_ms) > self.hour {
            self.hour = hour_of(at_ms);
            self.spent = 0;
        }
        self.spent = self.spent.saturating_add(1);
        let times = self.times(&enrolment, at_ms).saturating_add(1);
        let act = Act {
            command,
            digest,
            expires_at_ms,
            position,
            at_ms,
            hour: self.hour,
            times,
            called_back: false,
        };
        self.acts.insert(enrolment, act);
    }

    /// Drops what ran out before then.
    pub(crate) fn sweep(&mut self, before_ms: TimeMs) {
        self.acts.retain(|_, a| a.expires_at_ms >= before_ms);
    }
}

/// Whether the phone may be asked to renew now.
/// `breach_ms`: when a breach was assumed; what was issued before is due at once. So is what a CA before that of
/// `ca_epoch` issued.
fn due(
    e: &Enrolment,
    before_ms: TimeMs,
    (breach_ms, ca_epoch): (Option<TimeMs>, u32),
    now_ms: TimeMs,
) -> Result<(), Refusal> {
    let newest = e.issued.as_ref().filter(|_| !e.withdrawn).ok_or(Refusal::UnknownEnrolment)?;
    if now_ms > newest.not_after_ms {
        return Err(Refusal::CertificateRunOut);
    }
    if breach_ms.is_some_and(|at_ms| newest.at_ms <= at_ms) || e.is_to_change_ca(ca_epoch, now_ms) {
        return Ok(());
    }
    let near_its_end = |not_after_ms: TimeMs| now_ms >= not_after_ms - before_ms;
    // The newest one was perhaps never taken into use: the phone still shows the one before.
    let stuck = e.not_after_before_ms.is_some_and(|end_ms| near_its_end(end_ms) && now_ms <= end_ms)
        && now_ms >= newest.at_ms + ASKED_ANEW_AFTER_MS;
    if near_its_end(newest.not_after_ms) || stuck { Ok(()) } else { Err(Refusal::CertificateNotDue) }
}

impl Chamber {
    pub(crate) fn make_standing(
        &self,
        order: &Order,
        template: &StandingTemplate,
        cap_an_hour: u32,
        expires_at_ms: TimeMs,
    ) -> Result<Consequence, Refusal> {
        let life_ms = expires_at_ms.saturating_sub(self.now_ms);
        let sound = template.is_sound()
            && (1..=template.most_an_hour()).contains(&cap_an_hour)
            && (1..=StandingTemplate::LONGEST_LIFE_MS).contains(&life_ms)
            && order.targets.is_empty();
        if !sound {
            return Err(Refusal::BadArgument);
        }
        if let Some(install) = template.install() {
            self.check_standing_install(install)?;
        }
        let template = template.clone();
        Ok(Consequence::of(Effect::StandingMade { template, cap_an_hour, expires_at_ms }))
    }

    pub(crate) fn end_standing(&self, standing: OrderId) -> Result<Consequence, Refusal> {
        match self.state.standing.get(&standing) {
            Some(s) if s.stands(self.now_ms) => {
                Ok(Consequence::of(Effect::StandingEnded { order: standing }))
            }
            _ => Err(Refusal::NoSuchStanding),
        }
    }

    /// Acts for one phone under a standing order; `profile`: the saved version, where it installs one.
    pub(crate) fn act(
        &mut self,
        standing: &OrderId,
        enrolment: &EnrolmentId,
        asking: &Asking<'_>,
        profile: Option<&SealedRow>,
    ) -> Result<Acted, Refusal> {
        self.check_budgets_are_confirmed()?;
        match self.stands(standing)?.template.clone() {
            StandingTemplate::InstallSaved { install } => {
                self.install_standing(standing, enrolment, &install, profile)
            }
            StandingTemplate::RenewCertificates { before_ms } => self.renew(standing, enrolment, before_ms),
            StandingTemplate::HolderLostMode => self.lost_mode(standing, enrolment, asking),
            StandingTemplate::HolderRings => self.ring(standing, enrolment, asking),
        }
    }

    pub(crate) fn stands(&self, standing: &OrderId) -> Result<&Standing, Refusal> {
        let s = self.state.standing.get(standing).filter(|s| s.stands(self.now_ms));
        s.ok_or(Refusal::NoSuchStanding)
    }

    /// Nothing more is done under it in this hour, when its cap is spent.
    pub(crate) fn check_cap(&mut self, standing: &OrderId) -> Result<(), Refusal> {
        if self.stands(standing)?.left(self.now_ms) > 0 {
            return Ok(());
        }
        self.tell_of_cap(*standing);
        Err(Refusal::StandingCapReached)
    }

    fn renew(
        &mut self,
        standing: &OrderId,
        enrolment: &EnrolmentId,
        before_ms: TimeMs,
    ) -> Result<Acted, Refusal> {
        let e = self.state.enrolments.get(enrolment).ok_or(Refusal::UnknownEnrolment)?;
        let since = (self.state.breach.as_ref().map(|b| b.at_ms), self.state.rotations.made_in(KeyName::Ca));
        due(e, before_ms, since, self.now_ms)?;
        let newest_ends_ms = e.issued.as_ref().map_or(self.now_ms, |i| i.not_after_ms);
        let number = e.certificates;
        self.check_cap(standing)?;
        let expires_at_ms = (self.now_ms + Order::LONGEST_LIFE_MS)
            .min(self.stands(standing)?.expires_at_ms)
            .min(newest_ends_ms.max(self.now_ms + 1));
        let challenge = self.keys.file.derive_key.renewal_challenge(standing, enrolment, number);
        let profile = self.enrolment_profile(enrolment, &challenge)?;
        // The signature in it differs each time, so each act is a command of its own.
        let acted = self.act_anew(standing, enrolment, (number, expires_at_ms), |command| {
            apple::command::install_enrolment(command, &profile)
                .map(Zeroizing::new)
                .map_err(|_| Refusal::BadProfile)
        })?;
        tracing::info!(standing = %standing, enrolment = %enrolment, number, "a phone is asked to renew its certificate");
        Ok(acted)
    }

    /// The phone, if it may be given commands.
    pub(crate) fn managed(&self, enrolment: &EnrolmentId) -> Result<&Enrolment, Refusal> {
        let e = self.state.enrolments.get(enrolment).filter(|e| e.issued.is_some());
        e.filter(|e| e.is_under_management(self.now_ms)).ok_or(Refusal::UnknownEnrolment)
    }

    /// Another act for one phone, written before it leaves. `number`: of a renewal, how many certificates the phone had;
    /// else 0. `build` makes the command's bytes around its id.
    pub(crate) fn act_anew(
        &mut self,
        standing: &OrderId,
        enrolment: &EnrolmentId,
        (number, expires_at_ms): (u32, TimeMs),
        build: impl Fn(CommandId) -> Result<Zeroizing<Vec<u8>>, Refusal>,
    ) -> Result<Acted, Refusal> {
        self.check_cap(standing)?;
        let command = self.keys.file.derive_key.act(standing, enrolment, self.state.entries);
        let bytes = build(command)?;
        let position = self.record(Body::StandingUsed {
            standing: *standing,
            enrolment: *enrolment,
            number,
            command,
            answer_digest: sha256(&bytes),
            expires_at_ms,
        });
        self.acted(enrolment, command, &bytes, (position, expires_at_ms))
    }

    /// What core gets of an act, now or again.
    pub(crate) fn acted(
        &self,
        enrolment: &EnrolmentId,
        command: CommandId,
        bytes: &[u8],
        (position, expires_at_ms): (u64, TimeMs),
    ) -> Result<Acted, Refusal> {
        let digest = sha256(bytes);
        let body = self.seal_to_door(&digest, bytes)?;
        let warrant = self.command_warrant(*enrolment, command, digest, expires_at_ms);
        let command = PreparedCommand { command, body, sealed: true, warrants: vec![(*enrolment, warrant)] };
        Ok(Acted { position, command, expires_at_ms })
    }

    /// Core asks again and again: once an hour is enough.
    fn tell_of_cap(&mut self, standing: OrderId) {
        let hour = hour_of(self.now_ms);
        if self.cap_told.insert(standing, hour) != Some(hour) {
            let alarm = self.alarm(AlarmKind::BudgetHit);
            alarm.order = Some(standing);
            alarm.refusal = Some(Refusal::StandingCapReached.number());
        }
    }

    /// Fresh warrants for what was done under a standing order; a phone for which nothing stands is
    /// passed over. `None`: there is no such standing order.
    pub(crate) fn standing_warrants(
        &self,
        standing: &OrderId,
        phones: &[EnrolmentId],
    ) -> Option<Result<Vec<(EnrolmentId, SignedWarrant)>, Refusal>> {
        let s = self.state.standing.get(standing)?;
        if !s.stands(self.now_ms) {
            return Some(Err(Refusal::NoSuchStanding));
        }
        // What is out of the library is installed no more, also where it waits.
        let installs = s.template.install();
        if let Some(Err(ended)) = installs.map(|i| self.state.library.check_stands(&i.profile)) {
            return Some(Err(ended));
        }
        let warrant = |phone: &EnrolmentId| {
            let a = s.last(phone).filter(|a| self.now_ms < a.expires_at_ms)?;
            Some((*phone, self.command_warrant(*phone, a.command, a.digest, a.expires_at_ms)))
        };
        Some(Ok(phones.iter().filter_map(warrant).collect()))
    }

    /// Whether a renewal's challenge is still good: its standing order stands, and it has not run out.
    pub(crate) fn renewal_stands(&self, renewal: &Renewal) -> bool {
        self.now_ms < renewal.expires_at_ms
            && self.state.standing.get(&renewal.standing).is_some_and(|s| s.stands(self.now_ms))
    }
}
