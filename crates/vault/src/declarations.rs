//! Sets of declarations: judged by what they say and by what they take away, written down, and warranted a
//! phone and a day at a time.
//!
//! The order brings a set once. What it comes to stands in the ledger as digests, so the vault can sign for
//! it for as long as the set stands without keeping its content: a warrant is made anew whenever core asks
//! for a phone that has sets, and no order's expiry ends a policy.

use apple::declaration::{self, Declaration, MAX_DECLARATIONS};
use ledger::{Declared, Effect};
use model::{Command, CommandSecrets, DeclarationKind, Digest, EnrolmentId, SealedOutline, SetName};
use order::{
    DeclarationSecrets, DeclarationsWarrant, DeclaredAnswer, Order, Refusal, SignedDeclarations,
    endpoint_hash, sha256,
};
use zeroize::Zeroizing;

use crate::chamber::Chamber;
use crate::command::{Built, refusal_of};
use crate::order_kinds::arguments;
use crate::submit::Consequence;

/// One declaration's bytes for core to keep: it can't read them.
pub(crate) struct DeclarationBody {
    pub(crate) digest: Digest,
    pub(crate) sealed_body: Vec<u8>,
}

/// What one phone may be told today.
pub(crate) struct PhoneDeclarations {
    pub(crate) enrolment: EnrolmentId,
    pub(crate) warrant: SignedDeclarations,
    pub(crate) tokens: Vec<u8>,
    pub(crate) items: Vec<u8>,
}

fn read(arguments_bytes: &[u8]) -> Result<(Vec<Declaration>, Option<String>), Refusal> {
    let secrets: DeclarationSecrets = arguments(arguments_bytes)?;
    let set = declaration::read_set(&secrets.declarations).map_err(|_| Refusal::BadDeclaration)?;
    Ok((set, secrets.holder_name))
}

/// What an order of these arguments tells of them.
pub(crate) fn outline_of_set(arguments_bytes: &[u8]) -> Result<SealedOutline, Refusal> {
    Ok(SealedOutline::Declarations(apple::outline::of_set(&read(arguments_bytes)?.0)))
}

/// The set as the ledger keeps it, with each one's bytes.
fn declared(set: &[Declaration]) -> Vec<(Declared, Vec<u8>)> {
    let in_force = declaration::in_force(set);
    let one = |d: &Declaration| {
        let body = d.body();
        let is_configuration = d.kind() == DeclarationKind::Configuration;
        let declared = Declared {
            kind: d.kind(),
            identifier: d.identifier().clone(),
            declared_type: d.declared_type().to_owned(),
            token: d.token(),
            answer_digest: sha256(&body),
            in_force: !is_configuration || in_force.contains(d.identifier().as_str()),
        };
        (declared, body)
    };
    set.iter().map(one).collect()
}

/// Whether something that protects, or someone's account, is taken away: it was in force, and is not any
/// more, or is something else under the same identifier.
fn takes_away(old: &[Declared], new: &[(Declared, Vec<u8>)]) -> bool {
    let stays = |o: &Declared| {
        new.iter()
            .any(|(n, _)| n.identifier == o.identifier && n.declared_type == o.declared_type && n.in_force)
    };
    old.iter().any(|o| o.in_force && !declaration::removal_is_mild(&o.declared_type) && !stays(o))
}

impl Chamber {
    /// Whether the set counts as erasure: by its content, or by what it takes from one of the targets.
    pub(crate) fn judge_declarations(
        &self,
        order: &Order,
        name: &SetName,
        arguments_bytes: &[u8],
    ) -> Result<bool, Refusal> {
        let (set, _) = read(arguments_bytes)?;
        if declaration::judge(&set).is_erasing() {
            return Ok(true);
        }
        let new = declared(&set);
        let mut phones = order.targets.iter().filter_map(|t| self.state.declared.of(t));
        Ok(phones.any(|phone| takes_away(phone.set(name), &new)))
    }

    pub(crate) fn set_declarations(
        &mut self,
        order: &Order,
        name: &SetName,
        arguments_bytes: &[u8],
        erasing: bool,
    ) -> Result<Consequence, Refusal> {
        let (set, holder_name) = read(arguments_bytes)?;
        self.check_targets(order)?;
        if erasing {
            let [target] = order.targets[..] else { return Err(Refusal::ErasesTooMany) };
            self.check_holder(&target, holder_name.as_deref())?;
        }
        let new = declared(&set);
        for phone in order.targets.iter().filter_map(|t| self.state.declared.of(t)) {
            if phone.others(name).any(|o| new.iter().any(|(n, _)| n.identifier == o.identifier)) {
                return Err(Refusal::DeclarationTaken);
            }
            if phone.others(name).count() + new.len() > MAX_DECLARATIONS {
                return Err(Refusal::TooManyDeclarations);
            }
        }
        let command = self.look(order)?;
        let effect = Effect::DeclarationsSet {
            set: name.clone(),
            declarations: new.iter().map(|(d, _)| d.clone()).collect(),
            targets: order.targets.clone(),
            erasing,
            command: command.command,
            answer_digest: command.digest,
            expires_at_ms: order.expires_at_ms,
        };
        let commands = self.prepare(vec![command], order, false)?;
        let declarations = self.bodies(new)?;
        Ok(Consequence { commands, declarations, erasing, ..Consequence::of(effect) })
    }

    /// The same bytes again, for whoever lost them; nothing is set anew.
    pub(crate) fn declarations_again(
        &mut self,
        order: &Order,
        arguments_bytes: &[u8],
    ) -> Result<Consequence, Refusal> {
        let standing = self.state.commanded.get(&order.id).ok_or(Refusal::NothingToRecall)?;
        let (erasing, over) = (standing.erasing, self.now_ms >= standing.expires_at_ms);
        let (set, _) = read(arguments_bytes)?;
        let commands = if over { Vec::new() } else { self.prepare(vec![self.look(order)?], order, false)? };
        let declarations = self.bodies(declared(&set))?;
        let nothing = Effect::Recalled { order: order.id };
        Ok(Consequence { commands, declarations, erasing, ..Consequence::of(nothing) })
    }

    /// The command that has phones look: the same bytes for all of them.
    fn look(&self, order: &Order) -> Result<Built, Refusal> {
        let command = self.keys.file.derive_key.command(&order.id, None);
        let none = CommandSecrets::default();
        let bytes = apple::command::build(command, &Command::DeclarativeManagement, &none, None);
        let bytes = Zeroizing::new(bytes.map_err(|e| refusal_of(&e))?);
        let digest = sha256(&bytes);
        Ok(Built { phone: None, command, bytes, digest })
    }

    /// A declaration can hold a secret, and no one but the phone has to read it.
    fn bodies(&self, set: Vec<(Declared, Vec<u8>)>) -> Result<Vec<DeclarationBody>, Refusal> {
        let seal = |(d, body): (Declared, Vec<u8>)| {
            let sealed_body = self.seal_to_door(&d.answer_digest, &Zeroizing::new(body))?;
            Ok(DeclarationBody { digest: d.answer_digest, sealed_body })
        };
        set.into_iter().map(seal).collect()
    }

    /// What these phones may be told today, each endpoint with its status and digest.
    pub(crate) fn declarations(&self, phones: &[EnrolmentId]) -> Result<Vec<PhoneDeclarations>, Refusal> {
        self.check_budgets_are_confirmed()?;
        phones.iter().map(|p| self.declarations_of(*p)).collect()
    }

    fn declarations_of(&self, enrolment: EnrolmentId) -> Result<PhoneDeclarations, Refusal> {
        let phone = self.state.declared.of(&enrolment).ok_or(Refusal::NoDeclarations)?;
        let manifest = declaration::manifest(&phone.items(), phone.changed_at_ms);
        let answer = |endpoint: &str, status, digest| DeclaredAnswer {
            endpoint: endpoint_hash(endpoint),
            status,
            digest,
        };
        let mut answers = vec![
            answer("tokens", 200, sha256(&manifest.tokens)),
            answer("declaration-items", 200, sha256(&manifest.items)),
        ];
        for d in phone.held() {
            let endpoint = declaration::endpoint(d.kind, &d.identifier);
            answers.push(answer(&endpoint, 200, d.answer_digest));
        }
        for (kind, identifier) in phone.gone() {
            answers.push(answer(&declaration::endpoint(*kind, identifier), 404, sha256(b"")));
        }
        let warrant = DeclarationsWarrant {
            version: 1,
            enrolment,
            position: phone.position,
            answers,
            expires_at_ms: self.now_ms + DeclarationsWarrant::LIFE_MS,
        };
        Ok(PhoneDeclarations {
            enrolment,
            warrant: SignedDeclarations::sign(&warrant, &self.keys.warrant),
            tokens: manifest.tokens,
            items: manifest.items,
        })
    }
}
