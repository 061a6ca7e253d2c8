//! The table of limits in words: what an order counts as, whose budget, what stood in the way.

use model::{Duty, Limit, Role, Whose, Window};
use order::limits::{Asked, Hold, Limits, Overview, Signing, Spent, UNLIMITED, Weighed, Why, weigh};
use order::{Refusal, Scheme};

use crate::{count, span, time};

/// What is done, in a few words.
#[must_use]
pub fn duty(duty: Duty) -> &'static str {
    match duty {
        Duty::Erase => "erasing phones, or what counts as that",
        Duty::Lock => "locking screens",
        Duty::LostMode => "lost mode, finding phones and holder's cards",
        Duty::ClearPasscode => "removing passcodes",
        Duty::Restart => "restarting and switching off",
        Duty::Configure => "mild profiles, settings, declarations and apps of the App Store",
        Duty::InstallCode => "apps by a manifest, apps' settings and raw commands",
        Duty::Invite => "inviting phones",
        Duty::Open => "opening records",
        Duty::Search => "searching",
        Duty::People => "adding and removing people",
        Duty::Limits => "changing limits",
        Duty::Keys => "keys of people and programs, and tokens of services",
        Duty::Standing => "making standing orders",
        Duty::SignIn => "signing in",
        Duty::End => "calling back and ending",
    }
}

/// What is counted.
#[must_use]
pub fn unit(duty: Duty) -> &'static str {
    match duty {
        Duty::Open => "record",
        Duty::Search => "search",
        Duty::Invite
        | Duty::People
        | Duty::Limits
        | Duty::Keys
        | Duty::Standing
        | Duty::SignIn
        | Duty::End => "order",
        _ => "phone",
    }
}

fn counted(n: u32, of: Duty) -> String {
    match (unit(of), n) {
        ("search", n) if n != 1 => format!("{n} searches"),
        (unit, n) => count(n.into(), unit),
    }
}

/// A role as people say it.
#[must_use]
pub fn role(role: Role) -> &'static str {
    match role {
        Role::Administrator => "administrator",
        Role::Engineer => "engineer",
        Role::ServiceDesk => "service desk",
        Role::WardManager => "ward manager",
        Role::Auditor => "auditor",
    }
}

/// Whose budget, in words.
#[must_use]
pub fn whose(whose: Whose) -> String {
    match whose {
        Whose::Person(r) => format!("each {} alone", role(r)),
        Whose::Role(r) => format!("all of role {} who sign alone", role(r)),
        Whose::House => "everyone who signs alone".into(),
        Whose::Approved => "several signing together".into(),
    }
}

fn window(window: Window) -> &'static str {
    match window {
        Window::Hour => "hour",
        Window::Day => "day (24 hours)",
    }
}

/// A number of the table, in words.
#[must_use]
pub fn limit(limit: &Limit, value: u32) -> String {
    let what = duty(limit.duty());
    match *limit {
        Limit::Budget { duty, whose: of, window: w } => {
            format!("{what}: {}, at most {} an {}", whose(of), counted(value, duty), window(w))
                .replace("an day", "a day")
        }
        Limit::Signers { .. } => {
            format!("{what}: {} sign each order", count(value.into(), "person")).replace("persons", "people")
        }
        Limit::Alone { .. } => {
            format!("{what}: one person's signature is enough for {} an order", count(value.into(), "phone"))
        }
        Limit::CoolingOff { .. } => {
            format!("{what}: an order for more than one may name alone cools off for {}", seconds(value))
        }
    }
}

/// Seconds as a span.
#[must_use]
pub fn seconds(n: u32) -> String {
    if n == 0 { "no time".into() } else { span(i64::from(n) * 1000) }
}

/// A number, or that there is none.
#[must_use]
pub fn most(n: u32) -> String {
    if n == UNLIMITED { "no limit".into() } else { n.to_string() }
}

/// What stood in the way, and what to do.
#[must_use]
pub fn hold(h: &Hold, lifted: bool) -> String {
    let what = duty(h.duty);
    let why = match &h.why {
        Why::Always => format!("{what} takes {} people's signatures", h.needs),
        Why::ManyPhones { alone } => format!(
            "{what}: {} in one order, and one person's signature is enough for {}",
            counted(h.count, h.duty),
            alone
        ),
        Why::Budget { whose: of, window: w, most, left, refills_at_ms } => {
            let again = match refills_at_ms {
                Some(at_ms) => format!("there is room for it again at {}", time(*at_ms)),
                None => "it never has room for so much".into(),
            };
            format!(
                "{what}: the budget of {} has {left} of {} left in this {}, and {} asked; {again}",
                whose(*of),
                counted(*most, h.duty),
                window(*w),
                if h.count == 1 { "1 is".into() } else { format!("{} are", h.count) },
            )
        }
        Why::OutsideBrowser => format!("{what} takes a signature made outside the browser"),
    };
    if lifted { format!("{why}. Another administrator's signature lifts it") } else { why }
}

/// What the overview says was spent; of a person nothing, since whoever it is may have done nothing yet.
struct FromOverview<'a>(&'a Overview);

impl Spent for FromOverview<'_> {
    fn spent(&self, duty: Duty, whose: Whose, window: Window) -> u32 {
        let row = self.0.spent.iter().find(|r| r.duty == duty && r.whose == whose && r.person.is_none());
        row.map_or(0, |r| if window == Window::Hour { r.hour } else { r.day })
    }
    fn refills_at_ms(&self, _: Duty, _: Whose, _: Window, _: u32, _: u32) -> Option<model::TimeMs> {
        None
    }
}

/// Alone, and with an administrator.
pub type Outcomes = (Result<Weighed, (Refusal, Hold)>, Result<Weighed, (Refusal, Hold)>);

/// What would come of such an order, by the budgets of roles and the house as they are spent now.
pub fn outcome(o: &Overview, of: Role, kind: Duty, phones: u32) -> Outcomes {
    let table = Limits::with(&o.changed);
    let named = if unit(kind) == "phone" { phones } else { 0 };
    let asked = Asked { duty: kind, count: phones, phones: named, two_administrators: o.two_administrators };
    let by = |role| Signing { role, scheme: Scheme::Ed25519 };
    let spent = FromOverview(o);
    (
        weigh(&table, &asked, &[by(of)], &spent),
        weigh(&table, &asked, &[by(of), by(Role::Administrator)], &spent),
    )
}

/// The same in words.
#[must_use]
pub fn preview(o: &Overview, of: Role, kind: Duty, phones: u32) -> String {
    let table = Limits::with(&o.changed);
    let what = format!("{} ({phones} at once)", duty(kind));
    let day = table.get(&Limit::Budget { duty: kind, whose: Whose::Person(of), window: Window::Day });
    if day == 0 {
        return format!("{what}: {} may not do that at all.\n", role(of));
    }
    let cools = |w: &Weighed| match w.cooling_off_ms {
        0 => String::new(),
        ms => format!(
            " It cools off for {} before any phone is told, and can be called back until then.",
            span(ms)
        ),
    };
    match outcome(o, of, kind, phones) {
        (Ok(w), _) => format!("{what}: one {} does that alone.{}\n", role(of), cools(&w)),
        (Err((Refusal::NeedsSignatures, h)), Ok(w)) => format!(
            "{what}: it waits until another administrator signs ('matron approve'), since {}.{}\n",
            hold(&h, false),
            cools(&w)
        ),
        (Err((Refusal::NeedsSignatures, h)), Err((_, beyond))) => {
            format!("{what}: not even two may do that now. {}. {}.\n", hold(&h, false), hold(&beyond, false))
        }
        (Err((refusal, h)), _) => format!("{what}: refused, since {}: {refusal}.\n", hold(&h, false)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_which_budget_what_is_left_when_it_refills_and_what_lifts_it() {
        let why = Why::Budget {
            whose: Whose::Person(Role::Administrator),
            window: Window::Day,
            most: 5,
            left: 2,
            refills_at_ms: Some(0),
        };
        let text = hold(&Hold { duty: Duty::Erase, count: 3, needs: 2, why }, true);
        for part in [
            "erasing",
            "each administrator alone",
            "2 of 5 phones",
            "day",
            "room for it again at",
            "lifts it",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn every_number_that_can_be_set_has_its_words() {
        let mut all: Vec<String> = order::limits::Limits::all().iter().map(|l| limit(l, 7)).collect();
        let n = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), n, "no two are told alike");
        assert!(all.iter().all(|t| t.contains('7') && !t.contains("an day")));
    }
}
