//! How much a signature is good for: budgets, signers, cooling-off, by what an order counts as.
//!
//! The table stands in the code with its bounds; two administrators can move a number within them
//! ([`crate::OrderKind::SetLimit`]), and nobody beyond. [`weigh`] is the whole decision; the vault calls it
//! with what its ledger says was spent, the command line with what it was told, to preview.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use minicbor::{Decode, Encode};
use model::{Command, CommandKind, Duty, Limit, Role, Setting, TimeMs, Whose, Window};
use serde::{Deserialize, Serialize};

use crate::{Order, OrderKind, Refusal, Scheme};

mod table;

/// The number that means: no budget.
pub const UNLIMITED: u32 = u32::MAX;

/// What `kind` counts as; `erasing` is the vault's own judgement of its content.
#[must_use]
pub fn duty(kind: &OrderKind, erasing: bool) -> Duty {
    match kind {
        OrderKind::JoinFirst { .. }
        | OrderKind::AddPerson { .. }
        | OrderKind::RemovePerson { .. }
        | OrderKind::ErasePerson { .. } => Duty::People,
        OrderKind::AddKey { .. }
        | OrderKind::MakeApiKey { .. }
        | OrderKind::RotateKeys { .. }
        | OrderKind::AssumeBreach { .. }
        | OrderKind::EndOlderCa { .. }
        | OrderKind::SetServiceToken { .. } => Duty::Keys,
        OrderKind::Invite { .. } => Duty::Invite,
        // Whoever makes a card could use it.
        OrderKind::HolderCards => Duty::LostMode,
        OrderKind::Open { .. } => Duty::Open,
        OrderKind::Grant { .. } => Duty::SignIn,
        OrderKind::SetLimit { .. } => Duty::Limits,
        OrderKind::MakeStanding { .. } => Duty::Standing,
        OrderKind::WithdrawInvitation
        | OrderKind::Recall { .. }
        | OrderKind::Reject { .. }
        | OrderKind::EndApiKey { .. }
        | OrderKind::EndKey { .. }
        | OrderKind::EndSession { .. }
        | OrderKind::EndDeviceGroup { .. }
        | OrderKind::EndProfile { .. }
        | OrderKind::EndStanding { .. } => Duty::End,
        // It counts by its own rule: as many administrators as there were, up to two, an order each.
        OrderKind::ConfirmRestore { .. } => Duty::End,
        OrderKind::SetDeclarations { .. } if erasing => Duty::Erase,
        OrderKind::SetDeclarations { .. } | OrderKind::SaveDeviceGroup { .. } => Duty::Configure,
        OrderKind::SaveProfile { .. } => Duty::Configure,
        OrderKind::InstallSaved { .. } if erasing => Duty::Erase,
        OrderKind::InstallSaved { .. } => Duty::Configure,
        OrderKind::Command { .. } if erasing => Duty::Erase,
        OrderKind::Command { command } => command_duty(command),
    }
}

fn command_duty(command: &Command) -> Duty {
    match command.kind() {
        CommandKind::EraseDevice | CommandKind::RemoveProfile | CommandKind::RemoveApplication => Duty::Erase,
        CommandKind::DeviceLock => Duty::Lock,
        CommandKind::EnableLostMode
        | CommandKind::DisableLostMode
        | CommandKind::DeviceLocation
        | CommandKind::PlayLostModeSound => Duty::LostMode,
        CommandKind::ClearPasscode => Duty::ClearPasscode,
        CommandKind::RestartDevice | CommandKind::ShutDownDevice => Duty::Restart,
        CommandKind::Raw | CommandKind::ClearActivationLockBypassCode => Duty::InstallCode,
        CommandKind::InstallApplication if brings_code(command) => Duty::InstallCode,
        CommandKind::Settings if brings_code(command) => Duty::InstallCode,
        CommandKind::InstallProfile
        | CommandKind::InstallApplication
        | CommandKind::Settings
        | CommandKind::DeclarativeManagement
        | CommandKind::ManagedApplicationConfiguration
        | CommandKind::ManagedApplicationFeedback
        | CommandKind::ManagedApplicationAttributes
        | CommandKind::ValidateApplications => Duty::Configure,
    }
}

fn brings_code(command: &Command) -> bool {
    match command {
        Command::InstallApplication { source, .. } => matches!(source, model::AppSource::Manifest { .. }),
        Command::Settings { items } => items.iter().any(|i| {
            matches!(i, Setting::ApplicationConfiguration { .. } | Setting::ApplicationAttributes { .. })
        }),
        _ => false,
    }
}

/// A version that is saved takes room for good: as much of the budget as so many phones, some 30 an hour by one person.
const SAVED_VERSION: u32 = 600;

/// How much of its budget the order takes: its phones, or 1 where it names none.
#[must_use]
pub fn count(order: &Order) -> u32 {
    if let OrderKind::SaveProfile { .. } = order.kind {
        return SAVED_VERSION;
    }
    u32::try_from(order.targets.len()).unwrap_or(u32::MAX).max(1)
}

/// A number was out of the bounds that are built in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the number is not one that can be set, or lies outside its bounds")]
pub struct OutOfBounds;

/// The table: the built-in numbers, and those that were set by an order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    set: BTreeMap<Limit, u32>,
}

impl Limits {
    /// The table with these numbers set; those that a later release bounds more narrowly are held to it.
    #[must_use]
    pub fn with(set: &[(Limit, u32)]) -> Self {
        let mut limits = Self::default();
        for (limit, value) in set {
            if let Some(bounds) = Self::bounds(limit) {
                limits.set.insert(*limit, (*value).clamp(*bounds.start(), *bounds.end()));
            }
        }
        limits
    }

    /// The number in force.
    #[must_use]
    pub fn get(&self, limit: &Limit) -> u32 {
        self.set.get(limit).copied().unwrap_or_else(|| Self::built_in(limit))
    }

    /// The number as this release brings it.
    #[must_use]
    pub fn built_in(limit: &Limit) -> u32 {
        table::built_in(limit)
    }

    /// Between which numbers it can be set. `None`: it can't.
    #[must_use]
    pub fn bounds(limit: &Limit) -> Option<RangeInclusive<u32>> {
        table::bounds(limit)
    }

    /// Sets one number.
    ///
    /// # Errors
    /// [`OutOfBounds`] when it can't be set, or not to this.
    pub fn set(&mut self, limit: Limit, value: u32) -> Result<(), OutOfBounds> {
        Self::bounds(&limit).filter(|b| b.contains(&value)).ok_or(OutOfBounds)?;
        self.set.insert(limit, value);
        Ok(())
    }

    /// What was set by orders.
    #[must_use]
    pub fn changed(&self) -> Vec<(Limit, u32)> {
        self.set.iter().map(|(l, v)| (*l, *v)).collect()
    }

    /// Every number of the table that can be set.
    #[must_use]
    pub fn all() -> Vec<Limit> {
        let mut out = Vec::new();
        for duty in Duty::ALL.iter().copied() {
            out.push(Limit::Signers { duty });
            out.push(Limit::Alone { duty });
            out.push(Limit::CoolingOff { duty });
            let roles = Role::ALL.into_iter().flat_map(|r| [Whose::Person(r), Whose::Role(r)]);
            for whose in roles.chain([Whose::House, Whose::Approved]) {
                out.extend(Window::ALL.iter().map(|w| Limit::Budget { duty, whose, window: *w }));
            }
        }
        out.retain(|l| Self::bounds(l).is_some());
        out
    }

    fn budget(&self, duty: Duty, whose: Whose, window: Window) -> u32 {
        self.get(&Limit::Budget { duty, whose, window })
    }
}

/// Whether one of the signatures has to be made outside the browser, for an order of that duty that names so many phones.
#[must_use]
pub fn takes_one_outside(limits: &Limits, duty: Duty, phones: u32) -> bool {
    table::needs_outside(duty) || (duty == Duty::Erase && phones > limits.get(&Limit::Alone { duty }))
}

/// One who signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signing {
    /// Their role.
    pub role: Role,
    /// How they signed.
    pub scheme: Scheme,
}

/// What is asked of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// What the order counts as.
    pub duty: Duty,
    /// How much of it.
    pub count: u32,
    /// How many phones it names.
    pub phones: u32,
    /// Two administrators have joined at some time; from then on the house has two.
    pub two_administrators: bool,
}

/// What was spent so far.
pub trait Spent {
    /// How much lies within the window, of this duty, by whom. `Whose::Person` is the one who signed.
    fn spent(&self, duty: Duty, whose: Whose, window: Window) -> u32;
    /// When there is room for `count` again under `most`; `None`: never in one go, or not known.
    fn refills_at_ms(
        &self,
        duty: Duty,
        whose: Whose,
        window: Window,
        most: u32,
        count: u32,
    ) -> Option<TimeMs>;
}

/// It may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weighed {
    /// Several signed: no person's budget pays.
    pub approved: bool,
    /// So long no phone is told.
    pub cooling_off_ms: TimeMs,
}

/// It may not, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Hold {
    /// What it counts as.
    #[n(0)]
    pub duty: Duty,
    /// How much of it was asked.
    #[n(1)]
    pub count: u32,
    /// How many people have to sign.
    #[n(2)]
    pub needs: u32,
    /// What stood in the way.
    #[n(3)]
    pub why: Why,
}

/// What stood in the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(tag = "because", rename_all = "snake_case")]
pub enum Why {
    /// Such an order always takes so many signers.
    #[n(1)]
    Always,
    /// It names more phones than one signature is enough for.
    #[n(2)]
    ManyPhones {
        /// How many that are.
        #[n(0)]
        alone: u32,
    },
    /// A budget has not that much left.
    #[n(3)]
    Budget {
        /// Whose.
        #[n(0)]
        whose: Whose,
        /// In which time.
        #[n(1)]
        window: Window,
        /// What it allows.
        #[n(2)]
        most: u32,
        /// What is left of it now.
        #[n(3)]
        left: u32,
        /// When there is room for it again.
        #[n(4)]
        refills_at_ms: Option<TimeMs>,
    },
    /// One of the signatures has to be made outside the browser.
    #[n(4)]
    OutsideBrowser,
}

/// What there is of the table, for people to read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Overview {
    /// The numbers that were set by orders.
    #[n(0)]
    pub changed: Vec<(Limit, u32)>,
    /// What was spent lately.
    #[n(1)]
    pub spent: Vec<SpentRow>,
    /// How many administrators there are.
    #[n(2)]
    pub administrators: u32,
    /// Two administrators have joined at some time.
    #[n(3)]
    pub two_administrators: bool,
}

/// What one of them spent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct SpentRow {
    /// On what.
    #[n(0)]
    pub duty: Duty,
    /// Whose budget.
    #[n(1)]
    pub whose: Whose,
    /// The person, when it is a person's.
    #[n(2)]
    pub person: Option<model::PersonId>,
    /// In the last hour.
    #[n(3)]
    pub hour: u32,
    /// In the last 24 hours.
    #[n(4)]
    pub day: u32,
}

impl Overview {
    /// What this person, signing alone, has left of a duty in the window: of their own budget, their role's and the
    /// house's, whichever is least. `None`: there is no budget.
    #[must_use]
    pub fn left(&self, duty: Duty, role: Role, person: model::PersonId, window: Window) -> Option<u32> {
        let limits = Limits::with(&self.changed);
        let left = |whose| {
            let most = limits.budget(duty, whose, window);
            let of = matches!(whose, Whose::Person(_)).then_some(person);
            let row = self.spent.iter().find(|r| r.duty == duty && r.whose == whose && r.person == of);
            let spent = row.map_or(0, |r| if window == Window::Hour { r.hour } else { r.day });
            (most != UNLIMITED).then(|| most.saturating_sub(spent))
        };
        [Whose::Person(role), Whose::Role(role), Whose::House].into_iter().filter_map(left).min()
    }
}

/// Whether this may be done with these signatures, one of each person.
///
/// # Errors
/// Why not: the refusal, and what would have to be otherwise. [`Refusal::NeedsSignatures`] alone is lifted by
/// another signature.
pub fn weigh(
    limits: &Limits,
    asked: &Asked,
    signers: &[Signing],
    spent: &impl Spent,
) -> Result<Weighed, (Refusal, Hold)> {
    let Asked { duty, count, phones, two_administrators } = *asked;
    let hold = |refusal, needs, why| Err((refusal, Hold { duty, count, needs, why }));
    let alone = limits.get(&Limit::Alone { duty });
    let many = phones > alone;
    let always = match limits.get(&Limit::Signers { duty }) {
        // A house with one administrator has to come to a second.
        n if !two_administrators && table::begins_alone(duty) => n.min(1),
        n => n,
    };
    let needs = always.max(if many { 2 } else { 1 });
    let approved = enough(signers, 2);
    let lifted = |needs, why| {
        let refusal =
            if two_administrators { Refusal::NeedsSignatures } else { Refusal::NeedsSecondAdministrator };
        hold(refusal, needs, why)
    };
    if !enough(signers, needs) {
        return lifted(needs, if many { Why::ManyPhones { alone } } else { Why::Always });
    }
    if takes_one_outside(limits, duty, phones) && !signers.iter().any(|s| s.scheme.is_outside_browser()) {
        return hold(Refusal::NeedsSignatures, needs, Why::OutsideBrowser);
    }
    let role = signers.first().map_or(Role::Auditor, |s| s.role);
    if let Err(why) = budgets_pay(limits, duty, count, role, approved, spent) {
        return match (approved, two_administrators) {
            (true, _) => hold(Refusal::ApprovedBudgetSpent, needs, why),
            (false, true) => hold(Refusal::NeedsSignatures, 2, why),
            (false, false) => hold(Refusal::BudgetSpent, 2, why),
        };
    }
    Ok(Weighed { approved, cooling_off_ms: cooling_off_ms(limits, duty, phones) })
}

/// How long an accepted order of so many phones cools off; 0: not at all.
#[must_use]
pub fn cooling_off_ms(limits: &Limits, duty: Duty, phones: u32) -> TimeMs {
    let many = phones > limits.get(&Limit::Alone { duty });
    let seconds = if many { limits.get(&Limit::CoolingOff { duty }) } else { 0 };
    TimeMs::from(seconds) * 1000
}

/// Whether the budgets have `count` left: the signer's, their role's and the house's, or, where several signed,
/// that of what is done together.
///
/// # Errors
/// [`Why::Budget`]: the first that has not.
pub fn budgets_pay(
    limits: &Limits,
    duty: Duty,
    count: u32,
    role: Role,
    approved: bool,
    spent: &impl Spent,
) -> Result<(), Why> {
    let alone = [Whose::Person(role), Whose::Role(role), Whose::House];
    let payers: &[Whose] = if approved { &[Whose::Approved] } else { &alone };
    for whose in payers.iter().copied() {
        for window in Window::ALL.iter().copied() {
            let most = limits.budget(duty, whose, window);
            if most == UNLIMITED {
                continue;
            }
            let left = most.saturating_sub(spent.spent(duty, whose, window));
            if count > left {
                let refills_at_ms = spent.refills_at_ms(duty, whose, window, most, count);
                return Err(Why::Budget { whose, window, most, left, refills_at_ms });
            }
        }
    }
    Ok(())
}

/// So many people, all but one of them administrators.
fn enough(signers: &[Signing], needs: u32) -> bool {
    let needs = usize::try_from(needs).unwrap_or(usize::MAX);
    let administrators = signers.iter().filter(|s| s.role == Role::Administrator).count();
    signers.len() >= needs && administrators + 1 >= needs
}

#[cfg(test)]
mod tests;
