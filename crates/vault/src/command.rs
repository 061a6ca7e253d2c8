//! Commands: the vault builds their bytes from the typed order and signs a warrant a phone.

use apple::{harm, outline};
use ledger::{Effect, Subject};
use model::{Command, CommandId, CommandKind, CommandSecrets, Digest, EnrolmentId, SealedRow};
use order::{
    AnswerClass, InviteSecrets, Order, OrderKind, Refusal, SignedWarrant, Subject as WarrantSubject, Warrant,
    sha256,
};
use seal::to;
use seal::{SearchField, terms};
use zeroize::Zeroizing;

use crate::chamber::Chamber;
use crate::declarations::outline_of_set;
use crate::order_kinds::arguments;
use crate::state::Commanded;
use crate::submit::Consequence;

/// The most phones of one order that each have bytes of their own: their rows and bytes cross the wall
/// in one message, and everyone else waits while they are made.
const MOST_WITH_A_SECRET_EACH: usize = 100;
/// The most warrants signed at once.
const MOST_WARRANTS: usize = Order::MOST_TARGETS;

/// One command's bytes with its phones' warrants, for core to keep.
pub(crate) struct PreparedCommand {
    pub(crate) command: CommandId,
    pub(crate) body: Vec<u8>,
    pub(crate) sealed: bool,
    pub(crate) warrants: Vec<(EnrolmentId, SignedWarrant)>,
}

/// Bytes before they are sealed to the door.
pub(crate) struct Built {
    pub(crate) phone: Option<EnrolmentId>,
    pub(crate) command: CommandId,
    pub(crate) bytes: Zeroizing<Vec<u8>>,
    pub(crate) digest: Digest,
}

fn secrets(arguments_bytes: &[u8]) -> Result<CommandSecrets, Refusal> {
    if arguments_bytes.is_empty() { Ok(CommandSecrets::default()) } else { arguments(arguments_bytes) }
}

/// Whether anything in the bytes is for the phone's eyes alone.
fn is_secret(command: &Command, s: &CommandSecrets) -> bool {
    matches!(command.kind(), CommandKind::ClearPasscode)
        || s.profile.is_some()
        || s.message.is_some()
        || s.phone_number.is_some()
        || s.footnote.is_some()
        || s.pin.is_some()
        || s.device_name.is_some()
        || s.app_configuration.is_some()
        || s.raw.is_some()
}

impl Chamber {
    /// Whether the order counts as erasure, by its content.
    pub(crate) fn judge(&self, order: &Order, arguments_bytes: &[u8]) -> Result<bool, Refusal> {
        let command = match &order.kind {
            OrderKind::Command { command } => command,
            // Its arguments hold the profile by now.
            OrderKind::InstallSaved { .. } => &Command::InstallProfile,
            OrderKind::SetDeclarations { set } => {
                return self.judge_declarations(order, set, arguments_bytes);
            }
            _ => return Ok(false),
        };
        let secrets = secrets(arguments_bytes)?;
        Ok(harm::judge_command(command, &secrets).is_erasing())
    }

    /// Whether the order tells what lies sealed in it, all of it, where there is something to tell; what it tells has to
    /// be so.
    pub(crate) fn check_outline(&self, order: &Order, arguments_bytes: &[u8]) -> Result<bool, Refusal> {
        let made = match &order.kind {
            OrderKind::Command { command } => outline::of_command(command, &secrets(arguments_bytes)?),
            OrderKind::SetDeclarations { .. } => Some(outline_of_set(arguments_bytes)?),
            _ => None,
        };
        match &order.outline {
            Some(_) if order.outline != made => Err(Refusal::OutlinedOtherwise),
            _ => Ok(order.tells()),
        }
    }

    pub(crate) fn command(
        &mut self,
        order: &Order,
        command: &Command,
        arguments_bytes: &[u8],
        rows: &[(EnrolmentId, SealedRow)],
        (erasing, cools): (bool, bool),
    ) -> Result<Consequence, Refusal> {
        let secrets = secrets(arguments_bytes)?;
        self.check_targets(order)?;
        // A phone that has no declarations has nothing to look for.
        let has_some = |t: &EnrolmentId| self.state.declared.of(t).is_some();
        if *command == Command::DeclarativeManagement && !order.targets.iter().all(has_some) {
            return Err(Refusal::NoDeclarations);
        }
        self.check_name(order, erasing, secrets.holder_name.as_deref())?;
        let built = self.build(order, command, &secrets, rows)?;
        let per_phone: Vec<_> =
            built.iter().filter_map(|b| b.phone.map(|p| (p, b.command, b.digest))).collect();
        let first = built.first().ok_or(Refusal::BadArgument)?;
        let effect = Effect::Commanded {
            command: self.keys.file.derive_key.command(&order.id, None),
            kind: command.kind(),
            answer_digest: first.digest,
            erasing,
            targets: order.targets.clone(),
            expires_at_ms: order.expires_at_ms,
            per_phone,
        };
        // Called back before the cooling-off ends, nothing was ever signed.
        let commands =
            if cools { Vec::new() } else { self.prepare(built, order, is_secret(command, &secrets))? };
        Ok(Consequence { commands, erasing, ..Consequence::of(effect) })
    }

    /// The phones are there, and the name is the holder's.
    pub(crate) fn check_command(
        &self,
        order: &Order,
        arguments_bytes: &[u8],
        erasing: bool,
    ) -> Result<(), Refusal> {
        self.check_targets(order)?;
        self.check_name(order, erasing, secrets(arguments_bytes)?.holder_name.as_deref())
    }

    /// The name typed for the one phone that is erased. Where one order erases several, other people's
    /// signatures and the cooling-off stand in its place.
    pub(crate) fn check_name(
        &self,
        order: &Order,
        erasing: bool,
        typed: Option<&str>,
    ) -> Result<(), Refusal> {
        match order.targets[..] {
            [target] if erasing => self.check_holder(&target, typed),
            _ => Ok(()),
        }
    }

    /// The same bytes and fresh warrants for an order that was accepted before.
    pub(crate) fn command_again(
        &mut self,
        order: &Order,
        command: &Command,
        arguments_bytes: &[u8],
        rows: &[(EnrolmentId, SealedRow)],
    ) -> Result<Consequence, Refusal> {
        let standing = self.state.commanded.get(&order.id).ok_or(Refusal::NothingToRecall)?;
        if standing.recalled || self.now_ms >= standing.expires_at_ms {
            return Err(Refusal::Expired);
        }
        if self.now_ms < standing.not_before_ms {
            return Err(Refusal::CoolingOff);
        }
        let erasing = standing.erasing;
        let standing = standing.clone();
        let secrets = secrets(arguments_bytes)?;
        let built = self.build(order, command, &secrets, rows)?;
        // A phone's unlock token may have changed since: what was recorded is what may be sent.
        let recorded = |b: &Built| match b.phone {
            Some(p) => standing.for_phone(&p) == Some((b.command, b.digest)),
            None => standing.digest == b.digest,
        };
        let built: Vec<_> = built.into_iter().filter(recorded).collect();
        let commands = self.prepare(built, order, is_secret(command, &secrets))?;
        Ok(Consequence { commands, erasing, ..Consequence::of(Effect::Recalled { order: order.id }) })
    }

    pub(crate) fn check_targets(&self, order: &Order) -> Result<(), Refusal> {
        if order.targets.is_empty() {
            return Err(Refusal::BadArgument);
        }
        for target in &order.targets {
            let known = self.state.enrolments.get(target).is_some_and(|e| e.issued.is_some());
            if !known {
                return Err(Refusal::UnknownEnrolment);
            }
        }
        Ok(())
    }

    /// The name that the person typed against the invitation's: same words, whatever their case.
    pub(crate) fn check_holder(&self, target: &EnrolmentId, typed: Option<&str>) -> Result<(), Refusal> {
        let enrolment = self.state.enrolments.get(target).ok_or(Refusal::UnknownEnrolment)?;
        let holder = self
            .people_keys
            .open(Subject::from(*target), &enrolment.holder)
            .map_err(|_| Refusal::CannotOpen)?;
        let invited: InviteSecrets = order::decode(&holder).map_err(|_| Refusal::CannotOpen)?;
        let words = |name: &str| {
            let mut words = terms(SearchField::Name, name);
            words.sort_unstable();
            words
        };
        match typed {
            Some(typed) if !words(typed).is_empty() && words(typed) == words(&invited.name) => Ok(()),
            _ => Err(Refusal::WrongHolder),
        }
    }

    fn build(
        &mut self,
        order: &Order,
        command: &Command,
        secrets: &CommandSecrets,
        rows: &[(EnrolmentId, SealedRow)],
    ) -> Result<Vec<Built>, Refusal> {
        if command.kind() != CommandKind::ClearPasscode {
            let id = self.keys.file.derive_key.command(&order.id, None);
            let bytes = Zeroizing::new(
                apple::command::build(id, command, secrets, None).map_err(|e| refusal_of(&e))?,
            );
            let digest = sha256(&bytes);
            return Ok(vec![Built { phone: None, command: id, bytes, digest }]);
        }
        if order.targets.len() > MOST_WITH_A_SECRET_EACH {
            return Err(Refusal::BadArgument);
        }
        let mut all = Vec::new();
        for phone in &order.targets {
            let row = rows.iter().find(|(e, r)| e == phone && r.name == "UnlockToken");
            let (_, row) = row.ok_or(Refusal::NoUnlockToken)?;
            let token = self.opener.open(phone, row).map_err(|_| Refusal::CannotOpen)?;
            let id = self.keys.file.derive_key.command(&order.id, Some(phone));
            let bytes = Zeroizing::new(
                apple::command::build(id, command, secrets, Some(&token)).map_err(|e| refusal_of(&e))?,
            );
            let digest = sha256(&bytes);
            all.push(Built { phone: Some(*phone), command: id, bytes, digest });
        }
        Ok(all)
    }

    /// Seals what is secret to the door and signs the warrants.
    pub(crate) fn prepare(
        &self,
        built: Vec<Built>,
        order: &Order,
        secret: bool,
    ) -> Result<Vec<PreparedCommand>, Refusal> {
        let mut out = Vec::new();
        for b in built {
            let phones = b.phone.map_or_else(|| order.targets.clone(), |p| vec![p]);
            let warrants = phones
                .into_iter()
                .map(|p| (p, self.command_warrant(p, b.command, b.digest, order.expires_at_ms)))
                .collect();
            let body = if secret { self.seal_to_door(&b.digest, &b.bytes)? } else { b.bytes.to_vec() };
            out.push(PreparedCommand { command: b.command, body, sealed: secret, warrants });
        }
        Ok(out)
    }

    /// Seals bytes to the door's delivery key; their digest is the associated data.
    pub(crate) fn seal_to_door(&self, digest: &Digest, bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
        to::seal(&self.keys.file.delivery_key, to::INFO_DELIVERY, digest.as_bytes(), bytes, &self.rng)
            .map_err(|_| Refusal::BadArgument)
    }

    pub(crate) fn command_warrant(
        &self,
        phone: EnrolmentId,
        command: CommandId,
        digest: Digest,
        order_expires_at_ms: i64,
    ) -> SignedWarrant {
        let warrant = Warrant {
            version: 1,
            subject: WarrantSubject::Enrolment(phone),
            class: AnswerClass::Command,
            status: 200,
            command: Some(command),
            digest,
            expires_at_ms: order_expires_at_ms.min(self.now_ms + Warrant::LIFE_MS),
        };
        SignedWarrant::sign(&warrant, &self.keys.warrant)
    }

    /// Fresh warrants for an order that still stands.
    pub(crate) fn warrants(
        &self,
        order: &model::OrderId,
        phones: &[EnrolmentId],
    ) -> Result<Vec<(EnrolmentId, SignedWarrant)>, Refusal> {
        self.check_budgets_are_confirmed()?;
        if phones.len() > MOST_WARRANTS {
            return Err(Refusal::BadArgument);
        }
        if let Some(warrants) = self.standing_warrants(order, phones) {
            return warrants;
        }
        let c: &Commanded = self.state.commanded.get(order).ok_or(Refusal::BadArgument)?;
        if c.recalled {
            return Err(Refusal::NothingToRecall);
        }
        if self.now_ms >= c.expires_at_ms {
            return Err(Refusal::Expired);
        }
        if self.now_ms < c.not_before_ms {
            return Err(Refusal::CoolingOff);
        }
        let mut out = Vec::new();
        for phone in phones {
            let (command, digest) = c.for_phone(phone).ok_or(Refusal::UnknownEnrolment)?;
            out.push((*phone, self.command_warrant(*phone, command, digest, c.expires_at_ms)));
        }
        tracing::debug!(order = %order, kind = c.kind.request_type(), phones = out.len(), "warrants renewed");
        Ok(out)
    }
}

pub(crate) fn refusal_of(error: &apple::CommandError) -> Refusal {
    match error {
        apple::CommandError::Profile(_) => Refusal::BadProfile,
        apple::CommandError::BadAppConfiguration(_) => Refusal::BadAppConfiguration,
        apple::CommandError::Raw(apple::RawError::HasItsOwnCommand { .. }) => Refusal::HasItsOwnCommand,
        apple::CommandError::Raw(_) => Refusal::BadRawCommand,
        _ => Refusal::BadArgument,
    }
}
