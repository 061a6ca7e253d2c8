//! What a phone's holder may do with the code of the holder's card: lost mode and ringing, under a standing order.
//! The vault keeps the code's hash alone and asks for the code each time, so that core, which carries it, can do nothing
//! of it for a phone whose code it was not handed.

use aws_lc_rs::constant_time;
use ledger::Effect;
use model::clock::{DAY_MS, HOUR_MS, MINUTE_MS};
use model::{Command, CommandId, CommandSecrets, EnrolmentId, OrderId, TimeMs};
use order::{HolderCard, HolderCardsAnswer, HolderCode, Order, Refusal, encode, sha256};
use rpc::alarm::AlarmKind;
use zeroize::Zeroizing;

use crate::chamber::Chamber;
use crate::command::refusal_of;
use crate::standing::{Acted, Asking};
use crate::submit::Consequence;

/// One thing that a holder may ask for.
struct Ask {
    command: Command,
    /// Asked again within this time, the same command is given again, and nothing is spent: an answer may be lost.
    again_ms: TimeMs,
    /// How long the phone has to fetch it.
    life_ms: TimeMs,
    /// The most for one phone in an hour, so that one holder does not spend the cap of all.
    most_an_hour: u32,
}

const LOST_MODE: Ask =
    Ask { command: Command::EnableLostMode, again_ms: 10 * MINUTE_MS, life_ms: 7 * DAY_MS, most_an_hour: 3 };
const RING: Ask =
    Ask { command: Command::PlayLostModeSound, again_ms: MINUTE_MS, life_ms: HOUR_MS, most_an_hour: 12 };

impl Chamber {
    /// New cards for the order's phones.
    pub(crate) fn holder_cards(&self, order: &Order) -> Result<Consequence, Refusal> {
        if order.targets.is_empty() {
            return Err(Refusal::BadArgument);
        }
        let mut cards = Vec::with_capacity(order.targets.len());
        for phone in &order.targets {
            let e = self.state.enrolments.get(phone).filter(|e| e.is_under_management(self.now_ms));
            e.ok_or(Refusal::UnknownEnrolment)?;
            let code = self.keys.file.derive_key.holder_code(phone, &order.id);
            cards.push((*phone, code.ok_or(Refusal::BadArgument)?.hash()));
        }
        let answer = self.answer_with(order, |phone| self.keys.file.derive_key.holder_code(phone, &order.id));
        Ok(Consequence { answer: Some(answer), ..Consequence::of(Effect::HolderCardsMade { cards }) })
    }

    /// The same answer, for an order that was accepted before.
    pub(crate) fn cards_answer(&self, order: &Order) -> Zeroizing<Vec<u8>> {
        self.answer_with(order, |phone| self.card_of(phone, &order.id))
    }

    fn answer_with(
        &self,
        order: &Order,
        code: impl Fn(&EnrolmentId) -> Option<HolderCode>,
    ) -> Zeroizing<Vec<u8>> {
        let card = |phone: &EnrolmentId| {
            Some(HolderCard { enrolment: *phone, code: code(phone)?.grouped().to_string() })
        };
        let cards = order.targets.iter().filter_map(card).collect();
        Zeroizing::new(encode(&HolderCardsAnswer { cards, call: self.config.organization_phone.clone() }))
    }

    /// The code that this order made for the phone, while it is the newest card's.
    pub(crate) fn card_of(&self, phone: &EnrolmentId, order: &OrderId) -> Option<HolderCode> {
        let code = self.keys.file.derive_key.holder_code(phone, order)?;
        let newest = self.state.enrolments.get(phone)?.card?;
        (code.hash() == newest).then_some(code)
    }

    pub(crate) fn lost_mode(
        &mut self,
        standing: &OrderId,
        enrolment: &EnrolmentId,
        asking: &Asking<'_>,
    ) -> Result<Acted, Refusal> {
        let secrets = CommandSecrets {
            message: Some(format!("This phone is lost. It belongs to {}.", self.config.organization)),
            phone_number: self.config.organization_phone.clone(),
            ..CommandSecrets::default()
        };
        self.act_for_holder(standing, enrolment, asking, (&LOST_MODE, &secrets))
    }

    pub(crate) fn ring(
        &mut self,
        standing: &OrderId,
        enrolment: &EnrolmentId,
        asking: &Asking<'_>,
    ) -> Result<Acted, Refusal> {
        self.act_for_holder(standing, enrolment, asking, (&RING, &CommandSecrets::default()))
    }

    fn act_for_holder(
        &mut self,
        standing: &OrderId,
        enrolment: &EnrolmentId,
        asking: &Asking<'_>,
        (ask, secrets): (&Ask, &CommandSecrets),
    ) -> Result<Acted, Refusal> {
        self.check_code(enrolment, asking.code)?;
        self.managed(enrolment)?;
        let s = self.stands(standing)?;
        let build = |id: CommandId| {
            apple::command::build(id, &ask.command, secrets, None)
                .map(Zeroizing::new)
                .map_err(|e| refusal_of(&e))
        };
        if let Some(last) = s.last(enrolment).copied()
            && (0..ask.again_ms).contains(&(self.now_ms - last.at_ms))
            && self.now_ms < last.expires_at_ms
            && asking.over != Some(last.command)
        {
            let bytes = build(last.command)?;
            // Another text was configured since: that is another command.
            if sha256(&bytes) == last.digest {
                return self.acted(enrolment, last.command, &bytes, (last.position, last.expires_at_ms));
            }
        }
        // Over all standing orders that let holders do it: another one makes nobody free to ask more.
        let alike = self.state.standing.values().filter(|other| other.template == s.template);
        let times: u32 = alike.map(|s| s.times(enrolment, self.now_ms)).sum();
        if times >= ask.most_an_hour {
            return Err(Refusal::HolderAskedTooOften);
        }
        let expires_at_ms = (self.now_ms + ask.life_ms).min(s.expires_at_ms);
        let acted = self.act_anew(standing, enrolment, (0, expires_at_ms), build)?;
        let kind = ask.command.kind().request_type();
        tracing::info!(standing = %standing, enrolment = %enrolment, kind, "a phone's holder asked for a command");
        Ok(acted)
    }

    /// Whether the code is that of the phone's newest card. A wrong one is told of and not written: whoever guesses must
    /// not be able to fill the ledger.
    fn check_code(&mut self, enrolment: &EnrolmentId, code: Option<&str>) -> Result<(), Refusal> {
        let right = self.state.enrolments.get(enrolment).and_then(|e| e.card);
        let given = code.and_then(HolderCode::read).map(|c| c.hash());
        let fits = |right: &[u8], given: &[u8]| constant_time::verify_slices_are_equal(right, given).is_ok();
        if let (Some(right), Some(given)) = (right, given)
            && fits(right.as_bytes(), given.as_bytes())
        {
            return Ok(());
        }
        tracing::warn!(enrolment = %enrolment, "a holder's code came that fits no card");
        let known = self.state.enrolments.contains_key(enrolment);
        let alarm = self.alarm(AlarmKind::ForgedOrders);
        alarm.refusal = Some(Refusal::WrongHolderCode.number());
        alarm.enrolment = known.then_some(*enrolment);
        Err(Refusal::WrongHolderCode)
    }
}
