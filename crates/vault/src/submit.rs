//! An order comes in: is it one, who signed it, may they, and has it been decided before?

use ledger::{Body, Counted, Effect, Opaque, ReasonKey, RefusalCode};
use model::{EnrolmentId, KeyId, PersonId, SealedRow, TimeMs};
use order::limits::Hold;
use order::{
    Order, OrderKind, PersonKey, Refusal, Scheme, SignatureError, SignedOrder, VerifiedOrder, decode, roles,
    sha256,
};
use rpc::alarm::AlarmKind;
use seal::to;
use zeroize::Zeroizing;

use crate::chamber::Chamber;
use crate::command::PreparedCommand;
use crate::declarations::DeclarationBody;
use crate::limits::{Signatory, Stop};

/// Clocks of administrators' machines may be this far ahead.
const CLOCK_GRACE_MS: i64 = 5 * model::clock::MINUTE_MS;

/// The largest sealed arguments: a profile of this size, in base64 and with the most warrants, still
/// fits the answer to core.
const LARGEST_SEALED_BYTES: usize = 7 << 20;

/// Refusals that say that somebody wanted more than they may.
const BUDGETS: [Refusal; 6] = [
    Refusal::ErasesTooMany,
    Refusal::TooManyPhones,
    Refusal::GrantExhausted,
    Refusal::BudgetSpent,
    Refusal::ApprovedBudgetSpent,
    Refusal::NeedsSecondAdministrator,
];

/// What came with an order.
#[derive(Default)]
pub(crate) struct Submitted {
    pub(crate) signed: Vec<u8>,
    pub(crate) sealed_arguments: Vec<u8>,
    pub(crate) rows: Vec<(EnrolmentId, SealedRow)>,
    /// The saved version that is installed; of one that is saved, the version before.
    pub(crate) profile: Option<SealedRow>,
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) refusal: Option<Refusal>,
    pub(crate) order: Option<model::OrderId>,
    pub(crate) position: u64,
    pub(crate) sealed_answer: Vec<u8>,
    pub(crate) commands: Vec<PreparedCommand>,
    pub(crate) declarations: Vec<DeclarationBody>,
    pub(crate) erasing: bool,
    /// A saved version, for core to keep.
    pub(crate) profile: Option<SealedRow>,
    /// Where and why the order's content does not fit, in words of Apple's schema.
    pub(crate) detail: Option<String>,
    /// What stood in the way, where it was a limit.
    pub(crate) hold: Option<Hold>,
    /// It is accepted and cools off until then.
    pub(crate) cools_until_ms: Option<TimeMs>,
}

/// An accepted order's consequence, before it is written.
pub(crate) struct Consequence {
    pub(crate) effect: Effect,
    pub(crate) answer: Option<Zeroizing<Vec<u8>>>,
    pub(crate) commands: Vec<PreparedCommand>,
    pub(crate) declarations: Vec<DeclarationBody>,
    pub(crate) profile: Option<SealedRow>,
    pub(crate) erasing: bool,
}

impl Consequence {
    pub(crate) fn of(effect: Effect) -> Self {
        Self {
            effect,
            answer: None,
            commands: Vec::new(),
            declarations: Vec::new(),
            profile: None,
            erasing: false,
        }
    }
}

/// Who is ordering.
pub(crate) struct Signer {
    pub(crate) person: PersonId,
    pub(crate) key: KeyId,
}

/// An order that may be carried out.
struct Allowed {
    signer: Signer,
    counted: Option<Counted>,
    consequence: Consequence,
}

impl Chamber {
    /// Decides an order.
    pub(crate) fn submit(&mut self, submitted: &Submitted) -> Outcome {
        self.detail = None;
        let outcome = self.submitted(submitted);
        Outcome { detail: self.detail.take().filter(|_| outcome.refusal.is_some()), ..outcome }
    }

    fn submitted(&mut self, submitted: &Submitted) -> Outcome {
        let Ok(signed) = decode::<SignedOrder>(&submitted.signed) else {
            return self.refuse_unknown(Refusal::Unreadable);
        };
        let verified = match signed.verify(|id, order| self.find_key(id, order)) {
            Ok(v) => v,
            Err(SignatureError::Bytes(_)) => return self.refuse_unknown(Refusal::Unreadable),
            Err(SignatureError::DoesNotFit | SignatureError::Passkey(_)) => {
                return self.refuse_unknown(Refusal::BadSignature);
            }
            Err(SignatureError::UnknownKey) => return self.unknown_signer(&signed),
        };
        if let Some(before) = self.state.decided.get(&verified.id()).copied() {
            return self.decided_before(&verified, before, submitted);
        }
        match self.decide(&verified, submitted) {
            Ok(allowed) => self.accept(&signed, &verified, allowed),
            // Ours, and it will pass: the order stays undecided, so that it may come again.
            Err(Stop::Refused(refusal @ Refusal::LedgerUnavailable, _)) => {
                Outcome { refusal: Some(refusal), order: Some(verified.id()), ..Outcome::default() }
            }
            Err(Stop::Held(refusal, hold)) => self.hold(&verified, refusal, hold),
            Err(Stop::Refused(refusal, hold)) => Outcome { hold, ..self.refuse(&verified, refusal) },
        }
    }

    /// A registered key, or the one-time token's for the order that it alone may sign.
    fn find_key(&self, id: KeyId, order: &Order) -> Option<PersonKey> {
        if matches!(order.kind, OrderKind::JoinFirst { .. }) {
            let token = self.state.first_token?;
            return (order::key_id(&token.0) == id)
                .then(|| PersonKey { scheme: Scheme::Ed25519, public: token.0.to_vec() });
        }
        let (_, person) = self.state.holder_of(&id)?;
        debug_assert!(person.present);
        self.state.keys.get(&id).map(|held| held.key.clone())
    }

    /// A stranger's order is counted, not written: strangers must not be able to fill the ledger.
    fn refuse_unknown(&mut self, refusal: Refusal) -> Outcome {
        self.state.refused_orders += 1;
        tracing::warn!(refusal = refusal.number(), "an order was refused");
        if matches!(refusal, Refusal::BadSignature | Refusal::UnknownSigner | Refusal::TokenSpent) {
            self.alarm(AlarmKind::ForgedOrders).refusal = Some(refusal.number());
        }
        Outcome { refusal: Some(refusal), ..Outcome::default() }
    }

    /// The first administrator's order may come again after the token is spent: it gets its outcome.
    fn unknown_signer(&mut self, signed: &SignedOrder) -> Outcome {
        let digest = sha256(&signed.order);
        let Ok(order) = decode::<Order>(&signed.order) else {
            return self.refuse_unknown(Refusal::Unreadable);
        };
        let before = self.state.decided.get(&order.id).filter(|b| b.digest == digest && b.refusal == 0);
        if let (OrderKind::JoinFirst { .. }, Some(before)) = (&order.kind, before) {
            let position = before.position;
            return Outcome { order: Some(order.id), position, ..Outcome::default() };
        }
        let spent = matches!(order.kind, OrderKind::JoinFirst { .. }) && self.state.first_token.is_none();
        self.refuse_unknown(if spent { Refusal::TokenSpent } else { Refusal::UnknownSigner })
    }

    /// The same order again acts no second time: its outcome is made again from what was recorded.
    fn decided_before(
        &mut self,
        verified: &VerifiedOrder,
        before: crate::state::Decided,
        submitted: &Submitted,
    ) -> Outcome {
        if before.digest != verified.digest() {
            return self.refuse_unknown(Refusal::IdReused);
        }
        let id = Some(verified.id());
        if before.refusal != 0 {
            let refusal = Refusal::from_number(before.refusal).or(Some(Refusal::BadArgument));
            return Outcome { refusal, order: id, position: before.position, ..Outcome::default() };
        }
        if self.check_order_is_confirmed(&verified.order().kind).is_err() {
            // It stands; what comes of it is made again once the restore is confirmed. Until then it is undecided
            // for whoever asks.
            return Outcome { refusal: Some(Refusal::LedgerUnavailable), order: id, ..Outcome::default() };
        }
        if self.state.is_before_breach(before.position) {
            // It was decided, and nothing more comes of it.
            return Outcome { order: id, position: before.position, ..Outcome::default() };
        }
        let cools_until_ms = self.cools_until(&verified.id());
        let again = Outcome { order: id, position: before.position, cools_until_ms, ..Outcome::default() };
        match self.again(verified, before.at_ms, submitted) {
            Ok(c) => match self.seal_answer(verified.order(), c.answer.as_deref()) {
                Ok(sealed_answer) => Outcome {
                    sealed_answer,
                    commands: c.commands,
                    declarations: c.declarations,
                    profile: c.profile,
                    erasing: c.erasing,
                    ..again
                },
                Err(_) => again,
            },
            // What could be shown once can't be made again (an opened row that core lost, say).
            Err(_) => again,
        }
    }

    fn decide(&mut self, verified: &VerifiedOrder, submitted: &Submitted) -> Result<Allowed, Stop> {
        let order = verified.order();
        self.check_times_and_reason(order)?;
        self.check_passkeys_are_no_copies(verified)?;
        let join_first = matches!(order.kind, OrderKind::JoinFirst { .. });
        let mut people = self.signatories(verified);
        // Whoever may not sign it even when it is harmless does not get it parsed. Beside someone who may, a
        // signature that is good for nothing neither helps nor stands in the way.
        people.retain(|p| roles::rule(p.role, &order.kind, false).is_some());
        if people.is_empty() && !join_first {
            return Err(Refusal::RoleNotAllowed.into());
        }
        self.check_order_is_confirmed(&order.kind)?;
        let arguments = self.open_arguments(order, &submitted.sealed_arguments)?;
        let arguments = self.with_saved(order, arguments, submitted.profile.as_ref())?;
        if let OrderKind::JoinFirst { key: new_key } = &order.kind {
            let key = *verified.signers().first().ok_or(Refusal::BadSignature)?;
            let consequence = self.join_first(order, new_key, &arguments)?;
            let signer = Signer { person: self.keys.file.derive_key.person(&order.id), key };
            return Ok(Allowed { signer, counted: None, consequence });
        }
        let erasing = self.judge(order, &arguments)?;
        let mut refusal = Refusal::RoleNotAllowed;
        people.retain(|p| self.check_rule(order, p, erasing).map_err(|r| refusal = r).is_ok());
        let first = people.first().ok_or(refusal)?;
        let signer = Signer { person: first.person, key: first.key };
        // What is wrong in any case is said before someone else is asked to sign.
        self.check_beforehand(order, &signer, &arguments, erasing)?;
        let told = self.check_outline(order, &arguments);
        let (weighed, counted) = match self.weigh(order, erasing, &people) {
            Ok(weighed) if told? || people.len() == 1 => weighed,
            // Nobody is asked to sign what they can't be shown. That more was tried than the signatures are good for is
            // told all the same.
            Err(Stop::Held(beyond, _)) if told != Ok(true) => {
                self.alarm_of_budget(verified, beyond);
                return Err(told.err().unwrap_or(Refusal::NotOutlined).into());
            }
            Ok(_) => return Err(Refusal::NotOutlined.into()),
            Err(stop) => return Err(stop),
        };
        let cools = weighed.cooling_off_ms > 0;
        let mut consequence = self.consequence(order, &signer, &arguments, submitted, erasing, cools)?;
        if let Effect::BreachAssumed { signers, .. } = &mut consequence.effect {
            *signers = people.iter().map(|p| p.key).collect();
        }
        Ok(Allowed { signer, counted: Some(counted), consequence })
    }

    /// Where someone signs in, the passkey's count has to have risen. Not with other orders, nor with a grant that
    /// waited for a second signature: they come with the count of when they were signed, and that grant was looked at
    /// when it came first. A passkey that keeps no count stays at 0.
    fn check_passkeys_are_no_copies(&mut self, verified: &VerifiedOrder) -> Result<(), Refusal> {
        let order = verified.order();
        if !matches!(order.kind, OrderKind::Grant { .. }) || self.state.held.contains_key(&order.id) {
            return Ok(());
        }
        for (key, said) in verified.asserted() {
            let held = self.state.keys.get(key);
            let before = held.map_or(0, |k| k.sign_count);
            if said.sign_count <= before && before > 0 {
                let person = held.map(|k| k.person);
                let alarm = self.alarm(AlarmKind::PasskeyCopied);
                alarm.person = person;
                alarm.refusal = Some(Refusal::PasskeyCopied.number());
                return Err(Refusal::PasskeyCopied);
            }
        }
        Ok(())
    }

    /// Whether this person's role may sign it, for these phones.
    fn check_rule(&self, order: &Order, p: &Signatory, erasing: bool) -> Result<(), Refusal> {
        let rule = roles::rule(p.role, &order.kind, erasing).ok_or(Refusal::RoleNotAllowed)?;
        if rule.own_group_only {
            self.check_scope(order, p.group.as_ref())?;
        }
        if order.targets.len() > rule.most_targets {
            return Err(if erasing { Refusal::ErasesTooMany } else { Refusal::TooManyPhones });
        }
        Ok(())
    }

    fn check_times_and_reason(&self, order: &Order) -> Result<(), Refusal> {
        if order.expires_at_ms <= self.now_ms {
            return Err(Refusal::Expired);
        }
        if self.state.breach.as_ref().is_some_and(|b| order.made_at_ms < b.at_ms) {
            return Err(Refusal::SignedBeforeBreach);
        }
        if order.made_at_ms > self.now_ms + CLOCK_GRACE_MS {
            return Err(Refusal::FromTheFuture);
        }
        if order.expires_at_ms.saturating_sub(order.made_at_ms) > Order::LONGEST_LIFE_MS {
            return Err(Refusal::LivesTooLong);
        }
        // People read reasons in terminals: no control character steers one.
        let steers = order.reason.chars().any(char::is_control);
        if order.reason.trim().is_empty() || order.reason.len() > Order::LONGEST_REASON_BYTES || steers {
            return Err(Refusal::BadReason);
        }
        if order.targets.len() > Order::MOST_TARGETS {
            return Err(Refusal::BadArgument);
        }
        let mut seen = order.targets.clone();
        seen.sort_unstable();
        if seen.windows(2).any(|w| w.first() == w.last()) {
            return Err(Refusal::BadArgument);
        }
        Ok(())
    }

    /// Opens what lies sealed beside the order; its digest stands in what was signed.
    pub(crate) fn open_arguments(&self, order: &Order, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        if sealed.len() > LARGEST_SEALED_BYTES {
            return Err(Refusal::BadSealedArguments);
        }
        match (order.sealed_digest, sealed.is_empty()) {
            (None, true) => Ok(Zeroizing::new(Vec::new())),
            (Some(digest), false) if digest == sha256(sealed) => self
                .keys
                .open_order(to::INFO_ORDER_ARGS, order.id.as_bytes(), sealed)
                .map_err(|_| Refusal::BadSealedArguments),
            _ => Err(Refusal::BadSealedArguments),
        }
    }

    fn check_scope(&self, order: &Order, own: Option<&model::Group>) -> Result<(), Refusal> {
        let own = own.ok_or(Refusal::OutOfScope)?;
        if let OrderKind::Invite { group, .. } = &order.kind
            && group != own
        {
            return Err(Refusal::OutOfScope);
        }
        let mut targets = order.targets.clone();
        if let OrderKind::Recall { order } = &order.kind {
            targets.extend(self.state.commanded.get(order).into_iter().flat_map(|c| c.targets.clone()));
        }
        for target in &targets {
            let enrolment = self.state.enrolments.get(target).ok_or(Refusal::UnknownEnrolment)?;
            if enrolment.group != *own {
                return Err(Refusal::OutOfScope);
            }
        }
        Ok(())
    }

    fn accept(&mut self, signed: &SignedOrder, verified: &VerifiedOrder, allowed: Allowed) -> Outcome {
        let Allowed { signer, counted, consequence } = allowed;
        let order = verified.order();
        let sealed_answer = match self.seal_answer(order, consequence.answer.as_deref()) {
            Ok(a) => a,
            Err(refusal) => return self.refuse(verified, refusal),
        };
        let of_signer = verified.signatures().iter().find(|s| s.key == signer.key);
        let signature = of_signer.map(|s| s.signature.clone()).unwrap_or_default();
        let cools_until_ms = counted.as_ref().and_then(|c| c.not_before_ms);
        self.tell_of_effect(order, &signer, &consequence);
        let position = self.record(Body::OrderAccepted {
            order: order.id,
            digest: verified.digest(),
            signer: signer.key,
            person: signer.person,
            bytes: Opaque(signed.order.clone()),
            signature: Opaque(signature),
            effect: consequence.effect,
            counted: counted.map(Box::new),
        });
        tracing::info!(order = %order.id, kind = order.kind.name(), targets = order.targets.len(), "order accepted");
        Outcome {
            refusal: None,
            order: Some(order.id),
            position,
            sealed_answer,
            commands: consequence.commands,
            declarations: consequence.declarations,
            profile: consequence.profile,
            detail: None,
            erasing: consequence.erasing,
            hold: None,
            cools_until_ms,
        }
    }

    /// What others should know of, whoever signed it.
    fn tell_of_effect(&mut self, order: &Order, signer: &Signer, consequence: &Consequence) {
        let (kind, person) = match &consequence.effect {
            Effect::PersonJoined { person, .. } | Effect::PasskeyJoined { person, .. } => {
                (AlarmKind::PersonAdded, *person)
            }
            Effect::PersonRemoved { person } => (AlarmKind::PersonRemoved, *person),
            Effect::PersonKeyAdded { person, .. } | Effect::PasskeyAdded { person, .. } => {
                (AlarmKind::KeyAdded, *person)
            }
            Effect::StandingMade { .. } | Effect::StandingEnded { .. } => {
                (AlarmKind::StandingChanged, signer.person)
            }
            Effect::LimitSet { .. } => (AlarmKind::LimitChanged, signer.person),
            Effect::ApiKeyMade { .. } => (AlarmKind::ApiKeyMade, signer.person),
            Effect::KeysRotated { .. } | Effect::OlderCaEnded { .. } => {
                (AlarmKind::KeysRotated, signer.person)
            }
            Effect::BreachAssumed { .. } => (AlarmKind::BreachAssumed, signer.person),
            Effect::RestoreConfirmed { .. } => (AlarmKind::RestoreConfirmed, signer.person),
            _ if consequence.erasing && order.targets.len() > 1 => (AlarmKind::ErasingOrder, signer.person),
            _ => return,
        };
        let (id, phones) = (order.id, order.targets.len());
        let alarm = self.alarm(kind);
        (alarm.order, alarm.person) = (Some(id), Some(person));
        if kind == AlarmKind::ErasingOrder {
            alarm.count = u64::try_from(phones).unwrap_or(u64::MAX);
        }
    }

    fn refuse(&mut self, verified: &VerifiedOrder, refusal: Refusal) -> Outcome {
        let id = verified.id();
        if BUDGETS.contains(&refusal) {
            self.alarm_of_budget(verified, refusal);
        }
        tracing::warn!(order = %id, refusal = refusal.number(), "an order was refused");
        let position = match ReasonKey::new(&reason_key(refusal)) {
            Ok(key) => self.record(Body::OrderRefused {
                order: Some(id),
                digest: verified.digest(),
                signer: verified.signers().first().copied(),
                reason: RefusalCode(refusal.number()),
                key,
            }),
            Err(_) => 0,
        };
        Outcome { refusal: Some(refusal), order: Some(id), position, ..Outcome::default() }
    }

    /// Somebody wanted more than they may, or more than they may alone.
    pub(crate) fn alarm_of_budget(&mut self, verified: &VerifiedOrder, refusal: Refusal) {
        let person = verified.signers().first().and_then(|k| self.state.holder_of(k)).map(|(p, _)| p);
        let alarm = self.alarm(AlarmKind::BudgetHit);
        (alarm.order, alarm.person, alarm.refusal) = (Some(verified.id()), person, Some(refusal.number()));
    }

    fn seal_answer(&self, order: &Order, answer: Option<&Vec<u8>>) -> Result<Vec<u8>, Refusal> {
        let Some(answer) = answer else { return Ok(Vec::new()) };
        let to_key = seal::PublicKey(order.answer_key.0);
        to::seal(&to_key, to::INFO_ORDER_ANSWER, order.id.as_bytes(), answer, &self.rng)
            .map_err(|_| Refusal::BadArgument)
    }
}

/// `WrongHolder` → `wrong_holder`: the word that stands in the ledger.
fn reason_key(refusal: Refusal) -> String {
    let mut out = String::new();
    for c in format!("{refusal:?}").chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_a_word_that_the_ledger_takes() {
        for r in Refusal::ALL {
            assert!(ReasonKey::new(&reason_key(r)).is_ok(), "{r:?}");
        }
        assert_eq!(reason_key(Refusal::WrongHolder), "wrong_holder");
    }
}
