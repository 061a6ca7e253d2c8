//! What was spent of the budgets: a replay of the ledger, as all of the vault's state.
//!
//! A budget looks back over a sliding hour or day, so no limit can be had twice around a full hour. What
//! was done within five minutes is kept as one, as if all of it had been done at the last moment: a little
//! is given back late, nothing early.

use std::collections::{HashMap, VecDeque};

use model::clock::{DAY_MS, MINUTE_MS};
use model::{Duty, PersonId, Role, TimeMs, Whose, Window};
use order::limits::{Spent, SpentRow};

/// What is done within so long is one item.
const GRAIN_MS: TimeMs = 5 * MINUTE_MS;

/// Who spends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Spender {
    Person(PersonId),
    Role(Role),
    House,
    Approved,
}

/// When the first and the last of them was done, and how many.
#[derive(Debug, Clone, Copy)]
struct Item {
    first_ms: TimeMs,
    last_ms: TimeMs,
    count: u32,
}

/// All that was spent in the last day.
#[derive(Debug, Default)]
pub(crate) struct Budgets {
    spent: HashMap<(Duty, Spender), VecDeque<Item>>,
}

impl Budgets {
    /// Takes in what a person alone did at `at_ms`, or several together.
    pub(crate) fn spend(
        &mut self,
        duty: Duty,
        (person, role): (PersonId, Role),
        approved: bool,
        count: u32,
        at_ms: TimeMs,
    ) {
        let alone = [Spender::Person(person), Spender::Role(role), Spender::House];
        let payers: &[Spender] = if approved { &[Spender::Approved] } else { &alone };
        for payer in payers {
            let items = self.spent.entry((duty, *payer)).or_default();
            while items.front().is_some_and(|i| i.last_ms <= at_ms - DAY_MS) {
                items.pop_front();
            }
            match items.back_mut() {
                Some(i) if at_ms - i.first_ms < GRAIN_MS => {
                    i.last_ms = i.last_ms.max(at_ms);
                    i.count = i.count.saturating_add(count);
                }
                _ => items.push_back(Item { first_ms: at_ms, last_ms: at_ms, count }),
            }
        }
    }

    fn within(&self, duty: Duty, spender: Spender, window: Window, now_ms: TimeMs) -> u32 {
        let items = self.spent.get(&(duty, spender));
        let items = items.into_iter().flatten().filter(|i| i.last_ms > now_ms - window.ms());
        items.fold(0, |sum, i| sum.saturating_add(i.count))
    }

    /// The clock went back by more than is passed over in silence, to `at_ms`: what was done within the day
    /// before counts as done now. Nothing is given back, and nothing is in the way for longer than a day. A
    /// second time changes nothing.
    pub(crate) fn clock_went_back(&mut self, at_ms: TimeMs) {
        let Some(newest_ms) = self.spent.values().flatten().map(|i| i.last_ms).max().filter(|n| *n > at_ms)
        else {
            return;
        };
        self.sweep(newest_ms - DAY_MS);
        for i in self.spent.values_mut().flatten() {
            i.first_ms = i.first_ms.min(at_ms);
            i.last_ms = i.last_ms.min(at_ms);
        }
    }

    /// Drops what was done before then.
    pub(crate) fn sweep(&mut self, before_ms: TimeMs) {
        self.spent.values_mut().for_each(|items| items.retain(|i| i.last_ms > before_ms));
        self.spent.retain(|_, items| !items.is_empty());
    }

    /// As the table of limits asks, for this person at this moment.
    pub(crate) fn of(&self, person: PersonId, now_ms: TimeMs) -> OfPerson<'_> {
        OfPerson { budgets: self, person, now_ms }
    }

    /// All of it, for people to read.
    pub(crate) fn rows(&self, role_of: impl Fn(&PersonId) -> Option<Role>, now_ms: TimeMs) -> Vec<SpentRow> {
        let mut rows = Vec::new();
        for (duty, spender) in self.spent.keys() {
            let (whose, person) = match spender {
                Spender::Person(p) => match role_of(p) {
                    Some(role) => (Whose::Person(role), Some(*p)),
                    None => continue,
                },
                Spender::Role(role) => (Whose::Role(*role), None),
                Spender::House => (Whose::House, None),
                Spender::Approved => (Whose::Approved, None),
            };
            let within = |window| self.within(*duty, *spender, window, now_ms);
            let (hour, day) = (within(Window::Hour), within(Window::Day));
            if day > 0 {
                rows.push(SpentRow { duty: *duty, whose, person, hour, day });
            }
        }
        rows.sort_unstable_by_key(|r| (r.duty, r.whose, r.person.map(|p| p.0)));
        rows
    }
}

/// The budgets as they stand for one person.
pub(crate) struct OfPerson<'a> {
    budgets: &'a Budgets,
    person: PersonId,
    now_ms: TimeMs,
}

impl OfPerson<'_> {
    fn spender(&self, whose: Whose) -> Spender {
        match whose {
            Whose::Person(_) => Spender::Person(self.person),
            Whose::Role(role) => Spender::Role(role),
            Whose::House => Spender::House,
            Whose::Approved => Spender::Approved,
        }
    }
}

impl Spent for OfPerson<'_> {
    fn spent(&self, duty: Duty, whose: Whose, window: Window) -> u32 {
        self.budgets.within(duty, self.spender(whose), window, self.now_ms)
    }

    fn refills_at_ms(
        &self,
        duty: Duty,
        whose: Whose,
        window: Window,
        most: u32,
        count: u32,
    ) -> Option<TimeMs> {
        let room_for = most.checked_sub(count)?;
        let mut left = self.spent(duty, whose, window);
        let items = self.budgets.spent.get(&(duty, self.spender(whose)))?;
        for i in items.iter().filter(|i| i.last_ms > self.now_ms - window.ms()) {
            left = left.saturating_sub(i.count);
            if left <= room_for {
                return Some(i.last_ms + window.ms());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::clock::HOUR_MS;

    const ADA: PersonId = PersonId([1; 16]);
    const ROLE: Role = Role::Administrator;

    fn spent(b: &Budgets, window: Window, now_ms: TimeMs) -> u32 {
        b.of(ADA, now_ms).spent(Duty::Erase, Whose::Person(ROLE), window)
    }

    #[test]
    fn a_budget_slides_and_is_not_had_twice_around_a_full_hour() {
        let mut b = Budgets::default();
        let before = HOUR_MS - MINUTE_MS;
        b.spend(Duty::Erase, (ADA, ROLE), false, 3, before);
        assert_eq!(spent(&b, Window::Hour, HOUR_MS + MINUTE_MS), 3);
        assert_eq!(spent(&b, Window::Hour, before + HOUR_MS), 0);
        assert_eq!(spent(&b, Window::Day, before + HOUR_MS), 3);
        let mine = b.of(ADA, before);
        let refills = mine.refills_at_ms(Duty::Erase, Whose::House, Window::Hour, 3, 1);
        assert_eq!(refills, Some(before + HOUR_MS));
        assert_eq!(mine.refills_at_ms(Duty::Erase, Whose::House, Window::Hour, 3, 4), None, "never at once");
    }

    #[test]
    fn what_is_kept_as_one_is_given_back_late_and_never_early() {
        let mut b = Budgets::default();
        for n in 0..40 {
            b.spend(Duty::Erase, (ADA, ROLE), false, 1, n * MINUTE_MS);
        }
        for now in 39..120 {
            let within = (0..40).filter(|n| n * MINUTE_MS > now * MINUTE_MS - HOUR_MS).count();
            assert!(spent(&b, Window::Hour, now * MINUTE_MS) as usize >= within, "{now}");
        }
        assert_eq!(spent(&b, Window::Hour, 39 * MINUTE_MS + HOUR_MS), 0);
        assert!(b.spent.values().all(|items| items.len() <= 8));
    }

    #[test]
    fn a_clock_that_went_back_by_years_gives_nothing_back_and_is_over_in_a_day() {
        let mut b = Budgets::default();
        let ahead = 3650 * DAY_MS;
        b.spend(Duty::Erase, (ADA, ROLE), false, 2, ahead - 2 * DAY_MS);
        b.spend(Duty::Erase, (ADA, ROLE), false, 3, ahead);
        b.clock_went_back(DAY_MS);
        b.clock_went_back(DAY_MS);
        assert_eq!(spent(&b, Window::Hour, DAY_MS), 3);
        assert_eq!(spent(&b, Window::Day, 2 * DAY_MS), 0);
    }

    #[test]
    fn what_several_signed_is_taken_from_nobodys_own() {
        let mut b = Budgets::default();
        b.spend(Duty::Erase, (ADA, ROLE), true, 20, 5);
        let mine = b.of(ADA, 5);
        assert_eq!(mine.spent(Duty::Erase, Whose::House, Window::Day), 0);
        assert_eq!(mine.spent(Duty::Erase, Whose::Approved, Window::Day), 20);
    }
}
