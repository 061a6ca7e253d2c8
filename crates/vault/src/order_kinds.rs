//! What each kind of order comes to, once its signer is known to be allowed it.

use ledger::{Effect, Opaque, SigningPublicKey, Subject};
use minicbor::Decode;
use model::{Command, Compartment, EnrolmentId, KeyId, Role, SealedRow, TimeMs};
use order::{
    ApiScope, HolderCode, InviteAnswer, InviteSecrets, JoinSecrets, OpenAnswer, OpenedField, Order,
    OrderKind, Passkey, PersonKey, Refusal, Scheme, VerifiedOrder, encode, key_id,
};
use zeroize::Zeroizing;

use crate::chamber::Chamber;
use crate::derive::DeriveKey;
use crate::submit::{Consequence, Signer, Submitted};

/// A session lives a working day at most.
const LONGEST_SESSION_MS: TimeMs = 12 * model::clock::HOUR_MS;
/// The most records and searches one grant pays for.
const MOST_RECORDS: u32 = 5_000;
const MOST_SEARCHES: u32 = 500;
/// An invitation waits 60 days at most.
const LONGEST_INVITATION_MS: TimeMs = 60 * model::clock::DAY_MS;
/// An API key lives two years at most.
const LONGEST_API_KEY_MS: TimeMs = 731 * model::clock::DAY_MS;
/// The most scopes one API key names.
const MOST_SCOPES: usize = 16;
/// So long the answer to an order that opened something is made again for whoever lost it. Later, rows
/// that were sealed since would be opened without a word in the ledger.
const OPENED_AGAIN_MS: TimeMs = model::clock::HOUR_MS;
/// The most fields one order opens.
const MOST_FIELDS: usize = 64;

/// Decodes sealed arguments strictly.
pub(crate) fn arguments<T>(bytes: &[u8]) -> Result<T, Refusal>
where
    T: minicbor::Encode<()> + for<'b> Decode<'b, ()>,
{
    order::decode(bytes).map_err(|_| Refusal::BadSealedArguments)
}

fn text(value: &str, most_chars: usize) -> Result<(), Refusal> {
    let fine = !value.trim().is_empty()
        && value.chars().count() <= most_chars
        && !value.chars().any(char::is_control);
    if fine { Ok(()) } else { Err(Refusal::BadArgument) }
}

/// An Ed25519 key's bytes, or `None` for a passkey; either one that signatures can be verified with.
fn signing_key(key: &PersonKey) -> Result<Option<SigningPublicKey>, Refusal> {
    match key.scheme {
        Scheme::Ed25519 => {
            let public = key.public.as_slice().try_into().map_err(|_| Refusal::BadArgument)?;
            Ok(Some(SigningPublicKey(public)))
        }
        Scheme::Passkey => Passkey::read(&key.public).map(|_| None).map_err(|_| Refusal::BadArgument),
    }
}

impl Chamber {
    pub(crate) fn join_first(
        &mut self,
        order: &Order,
        key: &PersonKey,
        arguments_bytes: &[u8],
    ) -> Result<Consequence, Refusal> {
        if self.state.first_token.is_none() {
            return Err(Refusal::TokenSpent);
        }
        self.person_joins(order, key, Role::Administrator, None, arguments_bytes)
    }

    fn person_joins(
        &mut self,
        order: &Order,
        key: &PersonKey,
        role: Role,
        group: Option<model::Group>,
        arguments_bytes: &[u8],
    ) -> Result<Consequence, Refusal> {
        let key_id = self.new_key(key)?;
        let secrets: JoinSecrets = arguments(arguments_bytes)?;
        text(&secrets.name, 200)?;
        if role == Role::WardManager && group.is_none() {
            return Err(Refusal::BadArgument);
        }
        let person = self.keys.file.derive_key.person(&order.id);
        let name = self.people_keys.seal(Subject::from(person), secrets.name.as_bytes(), &self.rng);
        let name = name.map_err(|e| self.fail(e))?;
        Ok(Consequence::of(match signing_key(key)? {
            Some(public_key) => Effect::PersonJoined { person, role, group, key_id, public_key, name },
            None => Effect::PasskeyJoined {
                person,
                role,
                group,
                key_id,
                passkey: Opaque(key.public.clone()),
                name,
            },
        }))
    }

    /// The id of a key that can be verified with and that nobody has yet.
    fn new_key(&self, key: &PersonKey) -> Result<KeyId, Refusal> {
        signing_key(key)?;
        let id = key_id(&key.public);
        if self.state.keys.contains_key(&id) { Err(Refusal::KeyAlreadyKnown) } else { Ok(id) }
    }

    /// What an allowed order comes to.
    pub(crate) fn consequence(
        &mut self,
        order: &Order,
        signer: &Signer,
        arguments_bytes: &[u8],
        with: &Submitted,
        erasing: bool,
        cools: bool,
    ) -> Result<Consequence, Refusal> {
        let rows = with.rows.as_slice();
        match &order.kind {
            OrderKind::JoinFirst { .. } => Err(Refusal::BadArgument),
            OrderKind::AddPerson { key, role, group } => {
                self.person_joins(order, key, *role, group.clone(), arguments_bytes)
            }
            OrderKind::AddKey { key } => {
                let (key_id, person) = (self.new_key(key)?, signer.person);
                Ok(Consequence::of(match signing_key(key)? {
                    Some(public_key) => Effect::PersonKeyAdded { person, key_id, public_key },
                    None => Effect::PasskeyAdded { person, key_id, passkey: Opaque(key.public.clone()) },
                }))
            }
            OrderKind::RemovePerson { person } => {
                let p = self.state.people.get(person).filter(|p| p.present).ok_or(Refusal::BadArgument)?;
                // Once there were two there are always two, or a thief could get back to being the only one.
                match (p.role, self.state.administrators()) {
                    (Role::Administrator, ..=1) => return Err(Refusal::LastAdministrator),
                    (Role::Administrator, 2) => return Err(Refusal::TwoAdministratorsStay),
                    _ => {}
                }
                Ok(Consequence::of(Effect::PersonRemoved { person: *person }))
            }
            OrderKind::Invite { group, valid_ms } => {
                if !order.targets.is_empty() || !(1..=LONGEST_INVITATION_MS).contains(valid_ms) {
                    return Err(Refusal::BadArgument);
                }
                self.invite(order, group, self.now_ms + valid_ms, arguments_bytes)
            }
            OrderKind::WithdrawInvitation => {
                let [enrolment] = order.targets[..] else { return Err(Refusal::BadArgument) };
                let e = self.state.enrolments.get(&enrolment).ok_or(Refusal::UnknownEnrolment)?;
                if e.withdrawn || e.issued.is_some() {
                    return Err(Refusal::InvitationNotOpen);
                }
                Ok(Consequence::of(Effect::InvitationWithdrawn { enrolment }))
            }
            OrderKind::Open { fields } => self.open_fields(order, signer, fields, rows),
            OrderKind::Grant { session, records, searches, compartments, valid_ms } => {
                let never = [Compartment::Escrow, Compartment::Secret, Compartment::Push];
                if !(1..=LONGEST_SESSION_MS).contains(valid_ms)
                    || *records > MOST_RECORDS
                    || *searches > MOST_SEARCHES
                    || compartments.len() > Compartment::ALL.len()
                    || compartments.iter().any(|c| never.contains(c))
                    || self.state.sessions.contains_key(session)
                    || self.state.readers.contains_key(session)
                {
                    return Err(Refusal::BadArgument);
                }
                Ok(Consequence::of(Effect::Granted {
                    session: *session,
                    records: *records,
                    searches: *searches,
                    compartments: compartments.clone(),
                    expires_at_ms: self.now_ms + valid_ms,
                }))
            }
            OrderKind::Command { command } => {
                self.command(order, command, arguments_bytes, rows, (erasing, cools))
            }
            OrderKind::InstallSaved { .. } => {
                self.command(order, &Command::InstallProfile, arguments_bytes, rows, (erasing, cools))
            }
            OrderKind::SaveProfile { profile } => {
                self.save_profile(order, profile, arguments_bytes, with.profile.as_ref())
            }
            OrderKind::EndProfile { profile } => self.end_profile(order, *profile),
            OrderKind::SetDeclarations { set } => self.set_declarations(order, set, arguments_bytes, erasing),
            OrderKind::Recall { order } => match self.state.commanded.get(order) {
                Some(_) if self.state.declared.is_set_by(order) => Err(Refusal::SetStands),
                Some(c) if !c.recalled && self.now_ms < c.expires_at_ms => {
                    Ok(Consequence::of(Effect::Recalled { order: *order }))
                }
                _ => Err(Refusal::NothingToRecall),
            },
            OrderKind::Reject { order } => match self.state.held.get(order) {
                Some(held) if self.now_ms < held.expires_at_ms => {
                    Ok(Consequence::of(Effect::Rejected { order: *order }))
                }
                _ => Err(Refusal::NothingToReject),
            },
            OrderKind::MakeApiKey { hash, scopes, valid_ms, label } => {
                text(label, 100)?;
                let bits = scopes.iter().fold(0u32, |bits, s| bits | scope_bit(*s));
                if bits == 0
                    || scopes.len() > MOST_SCOPES
                    || !(1..=LONGEST_API_KEY_MS).contains(valid_ms)
                    || self.state.api_keys.contains_key(hash)
                {
                    return Err(Refusal::BadArgument);
                }
                Ok(Consequence::of(Effect::ApiKeyMade {
                    hash: *hash,
                    scopes: bits,
                    expires_at_ms: self.now_ms + valid_ms,
                    label: label.clone(),
                }))
            }
            OrderKind::EndApiKey { hash } => {
                if !self.state.api_keys.contains_key(hash) {
                    return Err(Refusal::BadArgument);
                }
                Ok(Consequence::of(Effect::ApiKeyRevoked { hash: *hash }))
            }
            OrderKind::EndSession { session } => {
                let own = match self.state.sessions.get(session) {
                    Some(s) => s.person == signer.person,
                    None if self.state.readers.contains_key(session) => false,
                    None => return Err(Refusal::GrantExhausted),
                };
                let role = self.state.people.get(&signer.person).map(|p| p.role);
                if !own && role != Some(Role::Administrator) {
                    return Err(Refusal::RoleNotAllowed);
                }
                Ok(Consequence::of(Effect::SessionEnded { session: *session }))
            }
            OrderKind::SetServiceToken { service } => self.set_service_token(order, service, arguments_bytes),
            OrderKind::MakeStanding { template, cap_an_hour, expires_at_ms } => {
                self.make_standing(order, template, *cap_an_hour, *expires_at_ms)
            }
            OrderKind::EndStanding { order } => self.end_standing(*order),
            OrderKind::ConfirmRestore { manifest, made_at_ms, without } => {
                self.confirm_restore(signer, manifest, *made_at_ms, without)
            }
            OrderKind::SetLimit { limit, value } => {
                let mut limits = self.state.limits.clone();
                limits.set(*limit, *value).map_err(|_| Refusal::LimitOutOfBounds)?;
                Ok(Consequence::of(Effect::LimitSet { limit: *limit, value: *value }))
            }
            OrderKind::RotateKeys { keys } => self.rotate_keys(order, keys),
            OrderKind::AssumeBreach { reissues_an_hour } => self.assume_breach(order, *reissues_an_hour),
            OrderKind::EndOlderCa { before } => self.end_older_ca(order, *before),
            OrderKind::EndKey { key } => self.end_key(signer, key),
            OrderKind::SaveDeviceGroup { group, replaces, name, definition } => {
                self.save_device_group(order, *group, *replaces, name, definition)
            }
            OrderKind::EndDeviceGroup { group } => self.end_device_group(order, *group),
            OrderKind::ErasePerson { subject, despite_enrolled } => {
                self.erase_person(order, *subject, *despite_enrolled)
            }
            OrderKind::HolderCards => self.holder_cards(order),
        }
    }

    /// What can be seen to be wrong before the limits are asked. Nothing is written, opened or signed.
    pub(crate) fn check_beforehand(
        &mut self,
        order: &Order,
        signer: &Signer,
        arguments_bytes: &[u8],
        erasing: bool,
    ) -> Result<(), Refusal> {
        match &order.kind {
            OrderKind::Command { .. } | OrderKind::InstallSaved { .. } => {
                self.check_command(order, arguments_bytes, erasing)
            }
            OrderKind::AddPerson { key, .. } | OrderKind::AddKey { key } => self.new_key(key).map(drop),
            OrderKind::RemovePerson { .. }
            | OrderKind::ErasePerson { .. }
            | OrderKind::MakeApiKey { .. }
            | OrderKind::MakeStanding { .. }
            | OrderKind::SetLimit { .. }
            | OrderKind::RotateKeys { .. }
            | OrderKind::AssumeBreach { .. }
            | OrderKind::EndOlderCa { .. }
            | OrderKind::EndKey { .. }
            | OrderKind::SaveDeviceGroup { .. }
            | OrderKind::HolderCards
            | OrderKind::Grant { .. } => {
                let nothing = Submitted::default();
                self.consequence(order, signer, arguments_bytes, &nothing, erasing, true).map(drop)
            }
            _ => Ok(()),
        }
    }

    fn invite(
        &mut self,
        order: &Order,
        group: &model::Group,
        expires_at_ms: TimeMs,
        arguments_bytes: &[u8],
    ) -> Result<Consequence, Refusal> {
        let secrets: InviteSecrets = arguments(arguments_bytes)?;
        text(&secrets.name, 200)?;
        text(&secrets.email, 254)?;
        if !secrets.email.contains('@') {
            return Err(Refusal::BadArgument);
        }
        let enrolment = self.keys.file.derive_key.enrolment(&order.id);
        let link_secret = self.keys.file.derive_key.link_secret(&order.id);
        let holder = self.people_keys.seal(Subject::from(enrolment), arguments_bytes, &self.rng);
        let holder = holder.map_err(|e| self.fail(e))?;
        let code = self.keys.file.derive_key.holder_code(&enrolment, &order.id);
        let card = code.as_ref().map(HolderCode::hash);
        let answer = self.invite_answer(order, expires_at_ms, code);
        let effect = Effect::Invited {
            enrolment,
            link: DeriveKey::link_hash(&link_secret),
            group: group.clone(),
            expires_at_ms,
            holder,
            card,
        };
        Ok(Consequence { answer: Some(answer), ..Consequence::of(effect) })
    }

    /// `code`: of the holder's card, as long as it is the newest.
    fn invite_answer(
        &self,
        order: &Order,
        expires_at_ms: TimeMs,
        code: Option<HolderCode>,
    ) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(encode(&InviteAnswer {
            enrolment: self.keys.file.derive_key.enrolment(&order.id),
            link_secret: self.keys.file.derive_key.link_secret(&order.id).to_string(),
            expires_at_ms,
            base_url: self.config.base_url.clone(),
            holder_code: code.map(|c| c.grouped().to_string()),
            call: self.config.organization_phone.clone(),
        }))
    }

    fn open_fields(
        &mut self,
        order: &Order,
        signer: &Signer,
        fields: &[String],
        rows: &[(EnrolmentId, SealedRow)],
    ) -> Result<Consequence, Refusal> {
        let [target] = order.targets[..] else { return Err(Refusal::BadArgument) };
        let named = |f: &String| !f.is_empty() && f.len() <= 128 && !f.chars().any(char::is_control);
        if fields.is_empty() || fields.len() > MOST_FIELDS || !fields.iter().all(named) {
            return Err(Refusal::BadArgument);
        }
        if !self.state.enrolments.contains_key(&target) {
            return Err(Refusal::UnknownEnrolment);
        }
        let role = self.state.people.get(&signer.person).map(|p| p.role);
        let may_escrow = matches!(role, Some(Role::Administrator | Role::Engineer));
        let answer = self.opened(target, fields, rows, may_escrow)?;
        let fields = fields.iter().map(|f| (target, f.clone())).collect();
        Ok(Consequence { answer: Some(answer), ..Consequence::of(Effect::Opened { fields }) })
    }

    fn opened(
        &mut self,
        target: EnrolmentId,
        fields: &[String],
        rows: &[(EnrolmentId, SealedRow)],
        may_escrow: bool,
    ) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let mut opened = Vec::new();
        for name in fields {
            for (_, row) in rows.iter().filter(|(e, r)| *e == target && r.name == *name) {
                let secret = matches!(row.compartment, Compartment::Escrow | Compartment::Secret);
                if secret && !may_escrow {
                    return Err(Refusal::RoleNotAllowed);
                }
                let value = self.opener.open(&target, row).map_err(|_| Refusal::CannotOpen)?;
                opened.push(OpenedField { enrolment: target, name: name.clone(), value: value.to_vec() });
            }
        }
        Ok(Zeroizing::new(encode(&OpenAnswer { fields: opened })))
    }

    /// The outcome of an order that was accepted before, made again without any effect.
    pub(crate) fn again(
        &mut self,
        verified: &VerifiedOrder,
        decided_at_ms: TimeMs,
        submitted: &Submitted,
    ) -> Result<Consequence, Refusal> {
        let order = verified.order();
        // Never written: `again` only fills answers and commands.
        let nothing = || Consequence::of(Effect::Recalled { order: order.id });
        match &order.kind {
            OrderKind::Invite { .. } => {
                let enrolment = self.keys.file.derive_key.enrolment(&order.id);
                let e = self.state.enrolments.get(&enrolment).ok_or(Refusal::UnknownEnrolment)?;
                let code = self.card_of(&enrolment, &order.id);
                let answer = self.invite_answer(order, e.expires_at_ms, code);
                Ok(Consequence { answer: Some(answer), ..nothing() })
            }
            OrderKind::HolderCards => Ok(Consequence { answer: Some(self.cards_answer(order)), ..nothing() }),
            OrderKind::Open { fields } => {
                let since_ms = self.now_ms.saturating_sub(decided_at_ms);
                if since_ms.saturating_abs() >= OPENED_AGAIN_MS || self.now_ms >= order.expires_at_ms {
                    return Err(Refusal::Expired);
                }
                let [target] = order.targets[..] else { return Err(Refusal::BadArgument) };
                let role =
                    verified.signers().first().and_then(|k| self.state.holder_of(k)).map(|(_, p)| p.role);
                let may_escrow = matches!(role, Some(Role::Administrator | Role::Engineer));
                let answer = self.opened(target, fields, &submitted.rows, may_escrow)?;
                Ok(Consequence { answer: Some(answer), ..nothing() })
            }
            OrderKind::Command { command } => {
                let arguments_bytes = self.open_arguments(order, &submitted.sealed_arguments)?;
                let c = self.command_again(order, command, &arguments_bytes, &submitted.rows)?;
                Ok(Consequence { effect: nothing().effect, ..c })
            }
            OrderKind::InstallSaved { .. } => {
                let arguments_bytes = self.open_arguments(order, &submitted.sealed_arguments)?;
                let arguments_bytes = self.with_saved(order, arguments_bytes, submitted.profile.as_ref())?;
                let c = self.command_again(order, &Command::InstallProfile, &arguments_bytes, &[])?;
                Ok(Consequence { effect: nothing().effect, ..c })
            }
            OrderKind::SaveProfile { .. } => {
                let arguments_bytes = self.open_arguments(order, &submitted.sealed_arguments)?;
                let c = self.save_again(order, &arguments_bytes, submitted.profile.as_ref())?;
                Ok(Consequence { effect: nothing().effect, ..c })
            }
            OrderKind::SetDeclarations { .. } => {
                let arguments_bytes = self.open_arguments(order, &submitted.sealed_arguments)?;
                let c = self.declarations_again(order, &arguments_bytes)?;
                Ok(Consequence { effect: nothing().effect, ..c })
            }
            _ => Ok(nothing()),
        }
    }
}

/// A scope's bit in the ledger.
fn scope_bit(scope: ApiScope) -> u32 {
    match scope {
        ApiScope::Devices => 1,
        ApiScope::Commands => 2,
        ApiScope::Ledger => 4,
        ApiScope::Metrics => 8,
    }
}
