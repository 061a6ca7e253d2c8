use super::*;
use proptest::prelude::*;

/// So much was spent by everyone, in every window.
struct Everyone(u32);

impl Spent for Everyone {
    fn spent(&self, _: Duty, _: Whose, _: Window) -> u32 {
        self.0
    }
    fn refills_at_ms(&self, _: Duty, _: Whose, _: Window, _: u32, _: u32) -> Option<TimeMs> {
        Some(7)
    }
}

const ADMINISTRATOR: Signing = Signing { role: Role::Administrator, scheme: Scheme::Ed25519 };
const ENGINEER: Signing = Signing { role: Role::Engineer, scheme: Scheme::Ed25519 };

fn asked(duty: Duty, phones: u32) -> Asked {
    Asked { duty, count: phones.max(1), phones, two_administrators: true }
}

fn refusal(asked: &Asked, signers: &[Signing], spent: u32) -> Option<Refusal> {
    weigh(&Limits::default(), asked, signers, &Everyone(spent)).err().map(|(r, _)| r)
}

#[test]
fn one_administrator_erases_a_handful_and_the_rest_takes_a_second_one() {
    let one = asked(Duty::Erase, 1);
    assert_eq!(refusal(&one, &[ADMINISTRATOR], 2), None);
    assert_eq!(refusal(&one, &[ADMINISTRATOR], 3), Some(Refusal::NeedsSignatures));
    assert_eq!(refusal(&one, &[ADMINISTRATOR; 2], 3), None);
    assert_eq!(refusal(&one, &[ADMINISTRATOR; 2], 200), Some(Refusal::ApprovedBudgetSpent));
}

#[test]
fn an_order_that_erases_several_takes_two_and_cools_off() {
    let several = asked(Duty::Erase, 20);
    assert_eq!(refusal(&several, &[ADMINISTRATOR], 0), Some(Refusal::NeedsSignatures));
    assert_eq!(refusal(&several, &[ENGINEER; 2], 0), Some(Refusal::NeedsSignatures), "one an administrator");
    let both = weigh(&Limits::default(), &several, &[ENGINEER, ADMINISTRATOR], &Everyone(0)).unwrap();
    assert_eq!(both, Weighed { approved: true, cooling_off_ms: 3_600_000 });
    let alone = weigh(&Limits::default(), &asked(Duty::Erase, 1), &[ENGINEER], &Everyone(0)).unwrap();
    assert_eq!(alone, Weighed { approved: false, cooling_off_ms: 0 });
}

#[test]
fn people_limits_keys_and_standing_orders_take_two_once_there_were_two() {
    for duty in [Duty::People, Duty::Limits, Duty::Keys, Duty::Standing] {
        assert_eq!(refusal(&asked(duty, 0), &[ADMINISTRATOR], 0), Some(Refusal::NeedsSignatures), "{duty:?}");
        assert_eq!(refusal(&asked(duty, 0), &[ADMINISTRATOR; 2], 0), None, "{duty:?}");
        let first = Asked { two_administrators: false, ..asked(duty, 0) };
        let refused = (duty == Duty::Limits).then_some(Refusal::NeedsSecondAdministrator);
        assert_eq!(refusal(&first, &[ADMINISTRATOR], 0), refused, "{duty:?}");
    }
}

#[test]
fn a_house_with_one_administrator_erases_within_the_budget_and_no_more() {
    let first = |phones| Asked { two_administrators: false, ..asked(Duty::Erase, phones) };
    assert_eq!(refusal(&first(1), &[ADMINISTRATOR], 0), None);
    assert_eq!(refusal(&first(1), &[ADMINISTRATOR], 3), Some(Refusal::BudgetSpent));
    assert_eq!(refusal(&first(2), &[ADMINISTRATOR], 0), Some(Refusal::NeedsSecondAdministrator));
}

#[test]
fn a_passkeys_signature_is_not_enough_for_what_the_browser_could_lie_about() {
    let passkey = Signing { scheme: Scheme::Passkey, ..ADMINISTRATOR };
    for duty in [Duty::People, Duty::Limits, Duty::Keys, Duty::Standing] {
        let (r, hold) = weigh(&Limits::default(), &asked(duty, 0), &[passkey; 2], &Everyone(0)).unwrap_err();
        assert_eq!((r, hold.why), (Refusal::NeedsSignatures, Why::OutsideBrowser), "{duty:?}");
        assert_eq!(refusal(&asked(duty, 0), &[passkey, ADMINISTRATOR], 0), None, "{duty:?}");
    }
    let many = asked(Duty::Erase, 2);
    assert_eq!(refusal(&many, &[passkey; 2], 0), Some(Refusal::NeedsSignatures));
    assert_eq!(refusal(&asked(Duty::Erase, 1), &[passkey], 0), None);
}

#[test]
fn ending_something_is_never_limited() {
    assert_eq!(refusal(&asked(Duty::End, 0), &[ENGINEER], u32::MAX), None);
    assert!(Limits::all().iter().all(|l| l.duty() != Duty::End));
}

#[test]
fn a_number_is_set_within_its_bounds_alone() {
    let mut limits = Limits::default();
    let whose = Whose::Person(Role::Administrator);
    let erase = Limit::Budget { duty: Duty::Erase, whose, window: Window::Day };
    assert_eq!(limits.set(erase, 20), Ok(()));
    assert_eq!(limits.get(&erase), 20);
    assert_eq!(limits.set(erase, 21), Err(OutOfBounds));
    assert_eq!(limits.set(Limit::Signers { duty: Duty::People }, 1), Err(OutOfBounds));
    assert_eq!(limits.set(Limit::CoolingOff { duty: Duty::Erase }, 0), Err(OutOfBounds));
    let desk = Whose::Person(Role::ServiceDesk);
    let never = Limit::Budget { duty: Duty::Erase, whose: desk, window: Window::Day };
    assert_eq!(limits.set(never, 1), Err(OutOfBounds), "the desk does not erase at all");
}

#[test]
fn a_role_has_a_budget_for_exactly_what_it_may_do() {
    let lock = OrderKind::Command { command: Command::DeviceLock };
    let erase = OrderKind::Command {
        command: Command::EraseDevice { preserve_data_plan: false, disallow_proximity_setup: false },
    };
    let clear = OrderKind::Command { command: Command::ClearPasscode };
    let open = OrderKind::Open { fields: vec![] };
    for (kind, erasing) in [(lock, false), (erase, true), (clear, false), (open, false)] {
        for role in Role::ALL {
            let whose = Whose::Person(role);
            let most = Limits::default().budget(duty(&kind, erasing), whose, Window::Day);
            assert_eq!(crate::roles::rule(role, &kind, erasing).is_some(), most > 0, "{role:?} {kind:?}");
        }
    }
}

#[test]
fn every_built_in_number_lies_within_its_bounds_and_no_role_has_more_than_the_house() {
    for limit in Limits::all() {
        let bounds = Limits::bounds(&limit).unwrap();
        assert!(bounds.contains(&Limits::built_in(&limit)), "{limit:?}");
        if let Limit::Budget { duty, whose: Whose::Role(_), window } = limit {
            let house = Limits::default().budget(duty, Whose::House, window);
            assert!(Limits::built_in(&limit) <= house, "{limit:?}");
        }
    }
}

proptest! {
    #[test]
    fn more_spent_or_more_asked_never_helps(duty in 0..Duty::ALL.len(), phones in 0u32..300, spent in 0u32..300) {
        let ask = |phones| asked(Duty::ALL[duty], phones);
        let fine = |phones, spent| refusal(&ask(phones), &[ADMINISTRATOR], spent).is_none();
        prop_assert!(fine(phones, spent) || !fine(phones + 1, spent));
        prop_assert!(fine(phones, spent) || !fine(phones, spent + 1));
    }
}

#[test]
fn what_is_left_is_the_least_of_what_the_person_their_role_and_the_house_have() {
    let (ada, bea) = (model::PersonId([1; 16]), model::PersonId([2; 16]));
    let row = |whose, person, hour, day| SpentRow { duty: Duty::Open, whose, person, hour, day };
    let person = Whose::Person(Role::Administrator);
    let mut told = Overview::default();
    let left = |told: &Overview, who, window| told.left(Duty::Open, Role::Administrator, who, window);
    let (hour, day) = (left(&told, ada, Window::Hour).unwrap(), left(&told, ada, Window::Day).unwrap());
    assert_eq!((hour, day), (200, 1_000), "the built-in budget of a person");
    told.spent = vec![row(person, Some(ada), 3, 40)];
    assert_eq!((left(&told, ada, Window::Hour), left(&told, ada, Window::Day)), (Some(197), Some(960)));
    assert_eq!(left(&told, bea, Window::Hour), Some(200), "another's is not touched");
    // The house's is nearly spent by everyone together.
    let house = Limit::Budget { duty: Duty::Open, whose: Whose::House, window: Window::Hour };
    let most = Limits::with(&told.changed).get(&house);
    assert_ne!(most, UNLIMITED);
    told.spent.push(row(Whose::House, None, most - 5, most - 5));
    assert_eq!(left(&told, ada, Window::Hour), Some(5));
    told.spent.push(row(person, Some(bea), 900, 900));
    assert_eq!(left(&told, bea, Window::Hour), Some(0), "never less than nothing");
    assert_eq!(
        told.left(Duty::End, Role::Administrator, ada, Window::Day),
        None,
        "there is no budget for it"
    );
}
