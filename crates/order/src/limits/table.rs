//! The numbers. They are meant for a hospital of some thousand phones: generous where an error is only a
//! nuisance, a handful where it destroys.

use std::ops::RangeInclusive;

use model::{Duty, Limit, Role, Whose, Window};

use super::UNLIMITED;

/// (in an hour, in a day).
type Most = (u32, u32);

const NONE: Most = (0, 0);
const FREE: Most = (UNLIMITED, UNLIMITED);

/// What each person of the role may do alone.
fn person(duty: Duty, role: Role) -> Most {
    use Role::{Administrator, Auditor, Engineer, ServiceDesk, WardManager};
    match (duty, role) {
        (Duty::End, _) => FREE,
        (Duty::SignIn, _) => (200, 1_000),
        (Duty::Keys, Administrator) => (20, 50),
        (Duty::Keys, _) => (2, 4),
        (Duty::People | Duty::Limits | Duty::Standing, Administrator) => (20, 50),
        (_, Auditor) | (Duty::People | Duty::Limits | Duty::Standing, _) => NONE,
        (Duty::Erase, Administrator | Engineer) => (3, 5),
        (Duty::InstallCode, Administrator | Engineer) => (100, 200),
        (Duty::Erase | Duty::InstallCode, _) => NONE,
        (Duty::Lock, Administrator | Engineer) => (500, 2_000),
        (Duty::Lock, ServiceDesk) => (60, 200),
        (Duty::Lock, WardManager) => (30, 60),
        (Duty::LostMode, Administrator | Engineer) => (100, 200),
        (Duty::LostMode, ServiceDesk) => (20, 60),
        (Duty::LostMode, WardManager) => (10, 30),
        (Duty::ClearPasscode, Administrator | Engineer) => (20, 60),
        (Duty::ClearPasscode, ServiceDesk) => (10, 40),
        (Duty::Restart, Administrator | Engineer) => (200, 500),
        (Duty::Restart, ServiceDesk) => (20, 60),
        (Duty::Configure, Administrator | Engineer) => (20_000, 40_000),
        (Duty::Configure, ServiceDesk) => (20, 100),
        (Duty::ClearPasscode | Duty::Restart | Duty::Configure, WardManager) => NONE,
        (Duty::Invite, Administrator | Engineer) => (2_000, 10_000),
        (Duty::Invite, ServiceDesk) => (100, 500),
        (Duty::Invite, WardManager) => (20, 60),
        (Duty::Open, WardManager) => (60, 200),
        (Duty::Open, _) => (200, 1_000),
        (Duty::Search, WardManager) => (20, 100),
        (Duty::Search, _) => (60, 300),
    }
}

/// What is done in the whole house by those who sign alone, and by several together.
fn house(duty: Duty) -> (Most, Most) {
    match duty {
        Duty::Erase => ((6, 10), (100, 200)),
        Duty::Lock => ((2_000, 5_000), (20_000, 40_000)),
        Duty::LostMode => ((300, 600), (2_000, 5_000)),
        Duty::ClearPasscode => ((100, 300), (500, 1_000)),
        Duty::Restart => ((1_000, 2_500), (20_000, 40_000)),
        Duty::Configure => ((60_000, 120_000), (200_000, 400_000)),
        Duty::InstallCode => ((300, 600), (2_000, 5_000)),
        Duty::Invite => ((6_000, 20_000), (20_000, 50_000)),
        Duty::Open => ((2_000, 10_000), (5_000, 20_000)),
        Duty::Search => ((500, 2_500), (1_000, 5_000)),
        Duty::People | Duty::Limits | Duty::Keys | Duty::Standing => ((100, 200), (100, 200)),
        Duty::SignIn => ((20_000, 100_000), FREE),
        Duty::End => (FREE, FREE),
    }
}

fn of(most: Most, window: Window) -> u32 {
    match window {
        Window::Hour => most.0,
        Window::Day => most.1,
    }
}

/// People of these roles are many, and each does little.
fn many_of(role: Role) -> u32 {
    match role {
        Role::Administrator | Role::Engineer => 3,
        Role::ServiceDesk | Role::WardManager | Role::Auditor => 20,
    }
}

fn budget(duty: Duty, whose: Whose, window: Window) -> u32 {
    let (house, approved) = house(duty);
    match whose {
        Whose::Person(role) => of(person(duty, role), window),
        Whose::Role(role) => {
            of(person(duty, role), window).saturating_mul(many_of(role)).min(of(house, window))
        }
        Whose::House => of(house, window),
        Whose::Approved => of(approved, window),
    }
}

/// (built in, at least, at most) of how many sign.
fn signers(duty: Duty) -> (u32, u32, u32) {
    match duty {
        Duty::People | Duty::Limits => (2, 2, 2),
        Duty::Keys | Duty::Standing => (2, 1, 2),
        Duty::Open | Duty::Search | Duty::SignIn | Duty::End => (1, 1, 1),
        _ => (1, 1, 2),
    }
}

/// (built in, at least, at most) of the phones that one may name alone.
fn alone(duty: Duty) -> (u32, u32, u32) {
    match duty {
        Duty::Erase => (1, 1, 3),
        Duty::LostMode | Duty::ClearPasscode | Duty::Restart | Duty::InstallCode => (100, 1, 100),
        Duty::Lock | Duty::Configure => (20_000, 1, 20_000),
        _ => (UNLIMITED, UNLIMITED, UNLIMITED),
    }
}

/// (built in, at least, at most) of the seconds before a phone is told.
fn cooling_off(duty: Duty) -> (u32, u32, u32) {
    match duty {
        // An hour; never less than someone needs to notice and to type one command, never more than a week.
        Duty::Erase => (3_600, 60, 604_800),
        Duty::LostMode | Duty::ClearPasscode | Duty::Restart | Duty::InstallCode => (0, 0, 86_400),
        _ => (0, 0, 0),
    }
}

pub(super) fn built_in(limit: &Limit) -> u32 {
    match *limit {
        Limit::Budget { duty, whose, window } => budget(duty, whose, window),
        Limit::Signers { duty } => signers(duty).0,
        Limit::Alone { duty } => alone(duty).0,
        Limit::CoolingOff { duty } => cooling_off(duty).0,
    }
}

pub(super) fn bounds(limit: &Limit) -> Option<RangeInclusive<u32>> {
    let (_, least, most) = match *limit {
        Limit::Budget { duty, whose, window } => (0, least(duty, whose), hardest(duty, whose, window)?),
        Limit::Signers { duty } => signers(duty),
        Limit::Alone { duty } => alone(duty),
        Limit::CoolingOff { duty } => cooling_off(duty),
    };
    (least < most).then_some(least..=most)
}

/// Below that nobody could work, or put it back.
fn least(duty: Duty, whose: Whose) -> u32 {
    match (duty, whose) {
        (Duty::SignIn, _) => 10,
        (Duty::People | Duty::Limits | Duty::Keys, Whose::Approved) => 10,
        _ => 0,
    }
}

/// The most that two administrators can set. `None`: nothing, since the role may not do it at all.
fn hardest(duty: Duty, whose: Whose, window: Window) -> Option<u32> {
    let built_in = budget(duty, whose, window);
    if built_in == 0 || built_in == UNLIMITED {
        return None;
    }
    let most = match (duty, whose, window) {
        (Duty::Erase, Whose::Person(_), Window::Hour) => 10,
        (Duty::Erase, Whose::Person(_), Window::Day) => 20,
        (Duty::Erase, Whose::Role(_) | Whose::House, Window::Hour) => 20,
        (Duty::Erase, Whose::Role(_) | Whose::House, Window::Day) => 40,
        (Duty::Erase, Whose::Approved, Window::Hour) => 500,
        (Duty::Erase, Whose::Approved, Window::Day) => 1_000,
        (Duty::Configure | Duty::Invite, ..) => 1_000_000,
        _ => built_in.saturating_mul(10),
    };
    Some(most.max(built_in))
}

/// Every order of that kind has to carry a signature that was made outside the browser: core serves the
/// pages, and could show one order while asking for another.
pub(super) fn needs_outside(duty: Duty) -> bool {
    matches!(duty, Duty::People | Duty::Limits | Duty::Keys | Duty::Standing)
}

/// What the first administrator does alone until a second has joined: what it takes to begin.
pub(super) fn begins_alone(duty: Duty) -> bool {
    matches!(duty, Duty::People | Duty::Keys | Duty::Standing)
}
