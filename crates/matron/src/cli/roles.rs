//! Roles and limits: the table in plain words, what would happen, and how a number is set.

use clap::{Args, Subcommand, ValueEnum};
use model::{Duty, Limit, Role, Whose, Window};
use order::limits::{Hold, Limits, Overview, UNLIMITED, Weighed};
use order::{OrderKind, Refusal};
use serde_json::json;

use super::approve::overview;
use super::desk::Desk;
use super::failure::{Result, usage};
use super::place::{self, Draft};
use super::show;
use words::limits;

#[derive(Debug, Subcommand)]
pub(crate) enum RolesCommand {
    /// Who may do what, how much of it, with how many signatures, and what was done lately.
    Show(Show),
    /// What would happen if someone of a role ordered it.
    Preview(Preview),
    /// Set a number of the table. It takes two administrators.
    Set(Box<Set>),
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Every number that can be set, with its bounds.
    #[arg(long)]
    limits: bool,
}

fn duty_named(name: &str) -> Result<Duty, String> {
    let names: Vec<_> = Duty::ALL.iter().map(|d| d.name()).collect();
    Duty::from_name(name).ok_or_else(|| format!("one of {}", names.join(", ")))
}

fn role_named(name: &str) -> Result<Role, String> {
    let names: Vec<_> = Role::ALL.iter().map(|r| r.name()).collect();
    Role::ALL.into_iter().find(|r| r.name() == name).ok_or_else(|| format!("one of {}", names.join(", ")))
}

#[derive(Debug, Args)]
pub(crate) struct Preview {
    /// administrator, engineer, service_desk, ward_manager or auditor.
    #[arg(long, value_parser = role_named)]
    role: Role,
    /// What: erase, lock, lost_mode, clear_passcode, open, search, … ('matron roles show' lists them).
    #[arg(long, value_parser = duty_named)]
    kind: Duty,
    /// How many phones (or records, or searches) in one order.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    phones: u32,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum WhoseBudget {
    Person,
    Role,
    House,
    Approved,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum In {
    Hour,
    Day,
}

#[derive(Debug, Args)]
pub(crate) struct Set {
    /// What: erase, lock, lost_mode, … ('matron roles show --limits' lists them with their bounds).
    #[arg(long, value_parser = duty_named)]
    kind: Duty,
    /// A budget: the most in the time of --in, of --whose.
    #[arg(long, requires = "window", requires = "whose", group = "number")]
    budget: Option<u32>,
    /// The budget's time.
    #[arg(long = "in", value_name = "TIME", id = "window")]
    window: Option<In>,
    /// Whose budget.
    #[arg(long)]
    whose: Option<WhoseBudget>,
    /// The role, where --whose is person or role.
    #[arg(long, value_parser = role_named)]
    role: Option<Role>,
    /// How many people sign each such order.
    #[arg(long, group = "number")]
    signers: Option<u32>,
    /// How many phones one person's signature is enough for in an order.
    #[arg(long, group = "number")]
    alone: Option<u32>,
    /// How many minutes an order for more phones than that cools off.
    #[arg(long, value_name = "MINUTES", group = "number")]
    cooling_off: Option<u32>,
    /// Why.
    #[arg(long)]
    reason: Option<String>,
    /// Don't ask.
    #[arg(long, short)]
    yes: bool,
}

pub(crate) fn run(desk: &Desk, command: RolesCommand) -> Result<()> {
    match command {
        RolesCommand::Show(s) => show_table(desk, &s),
        RolesCommand::Preview(p) => preview(desk, &p),
        RolesCommand::Set(s) => set(desk, *s),
    }
}

fn budget(table: &Limits, duty: Duty, whose: Whose) -> String {
    let of = |window| table.get(&Limit::Budget { duty, whose, window });
    match (of(Window::Hour), of(Window::Day)) {
        (0, 0) => "-".into(),
        (UNLIMITED, UNLIMITED) => "no limit".into(),
        (hour, day) => format!("{}/h {}/d", limits::most(hour), limits::most(day)),
    }
}

fn show_table(desk: &Desk, s: &Show) -> Result<()> {
    let o = overview(desk)?;
    let table = Limits::with(&o.changed);
    if desk.reach.json {
        let row = |l: &Limit| {
            let bounds = Limits::bounds(l);
            json!({ "limit": l, "value": table.get(l), "built_in": Limits::built_in(l),
                    "least": bounds.as_ref().map(|b| *b.start()), "most": bounds.map(|b| *b.end()) })
        };
        let rows: Vec<_> = Limits::all().iter().map(row).collect();
        return show::print_json(
            &json!({ "limits": rows, "spent": o.spent, "administrators": o.administrators,
                                         "two_administrators": o.two_administrators }),
        );
    }
    if s.limits {
        let rows = Limits::all().into_iter().filter_map(|l| {
            let (value, bounds) = (table.get(&l), Limits::bounds(&l)?);
            let changed = if value == Limits::built_in(&l) { "" } else { "changed" };
            let span = format!("{} to {}", bounds.start(), bounds.end());
            Some(vec![l.duty().name().into(), limits::limit(&l, value), span, changed.into()])
        });
        return show::print(&show::table(&["KIND", "LIMIT", "BOUNDS", ""], rows));
    }
    show::print(&in_words(&table, &o))
}

fn in_words(table: &Limits, o: &Overview) -> String {
    let mut out = String::from(
        "What each person may do with a signature of their own, in an hour and in a day (phones, records, \
         searches or orders).\nA ward manager is held to the own group's phones.\n\n",
    );
    let rows = Duty::ALL.iter().map(|d| {
        let mut row = vec![d.name().to_owned()];
        row.extend(Role::ALL.into_iter().map(|r| budget(table, *d, Whose::Person(r))));
        row
    });
    let head = ["KIND", "ADMINISTRATOR", "ENGINEER", "SERVICE DESK", "WARD MANAGER", "AUDITOR"];
    out.push_str(&show::table(&head, rows));
    out.push_str(
        "\nWhat all who sign alone may do together, what several may do who sign the same order, how many sign \
         each order\nin any case, for how many phones one is enough, and how long an order for more cools off.\n\n",
    );
    let rows = Duty::ALL.iter().copied().filter(|d| *d != Duty::End).map(|duty| {
        let alone = table.get(&Limit::Alone { duty });
        let cools = table.get(&Limit::CoolingOff { duty });
        vec![
            duty.name().to_owned(),
            budget(table, duty, Whose::House),
            budget(table, duty, Whose::Approved),
            table.get(&Limit::Signers { duty }).to_string(),
            if alone == UNLIMITED { "-".into() } else { alone.to_string() },
            if cools == 0 { "-".into() } else { limits::seconds(cools) },
        ]
    });
    out.push_str(&show::table(
        &["KIND", "ALONE, ALL", "TOGETHER", "SIGN", "PHONES ALONE", "COOLS OFF"],
        rows,
    ));
    if !o.two_administrators {
        out.push_str(
            "\nThis house has had one administrator so far: people, keys and standing orders take one signature until \
             a second has joined,\nand nothing goes beyond a budget.\n",
        );
    }
    if !o.spent.is_empty() {
        out.push_str("\nDone lately:\n\n");
        let rows = o.spent.iter().map(|r| {
            let who = r.person.map_or_else(|| limits::whose(r.whose), |p| format!("person {p}"));
            vec![r.duty.name().to_owned(), who, r.hour.to_string(), r.day.to_string()]
        });
        out.push_str(&show::table(&["KIND", "BY", "LAST HOUR", "LAST DAY"], rows));
    }
    let changed = o.changed.iter().filter(|(l, v)| Limits::built_in(l) != *v);
    let changed: Vec<String> = changed.map(|(l, v)| format!("  {}\n", limits::limit(l, *v))).collect();
    if !changed.is_empty() {
        out.push_str(&format!("\nSet by orders:\n{}", changed.concat()));
    }
    out
}

fn preview(desk: &Desk, p: &Preview) -> Result<()> {
    let o = overview(desk)?;
    let (alone, both) = limits::outcome(&o, p.role, p.kind, p.phones);
    if desk.reach.json {
        let told = |r: &Result<Weighed, (Refusal, Hold)>| match r {
            Ok(w) => json!({ "allowed": true, "cooling_off_ms": w.cooling_off_ms }),
            Err((r, h)) => json!({ "allowed": false, "refusal": r.number(), "hold": h }),
        };
        return show::print_json(
            &json!({ "alone": told(&alone), "with_another_administrator": told(&both) }),
        );
    }
    show::print(&limits::preview(&o, p.role, p.kind, p.phones))
}

fn set(desk: &Desk, s: Set) -> Result<()> {
    let duty = s.kind;
    let (limit, value) = match (s.budget, s.signers, s.alone, s.cooling_off) {
        (Some(most), ..) => {
            let of_role = || s.role.ok_or_else(|| usage("--role: whose budget is meant?"));
            let whose = match s.whose {
                Some(WhoseBudget::Person) => Whose::Person(of_role()?),
                Some(WhoseBudget::Role) => Whose::Role(of_role()?),
                Some(WhoseBudget::House) => Whose::House,
                Some(WhoseBudget::Approved) => Whose::Approved,
                None => return Err(usage("--whose: person, role, house or approved")),
            };
            let window = match s.window {
                Some(In::Hour) => Window::Hour,
                Some(In::Day) => Window::Day,
                None => return Err(usage("--in: hour or day")),
            };
            (Limit::Budget { duty, whose, window }, most)
        }
        (_, Some(n), ..) => (Limit::Signers { duty }, n),
        (_, _, Some(n), _) => (Limit::Alone { duty }, n),
        (_, _, _, Some(minutes)) => (Limit::CoolingOff { duty }, minutes.saturating_mul(60)),
        _ => return Err(usage("give --budget, --signers, --alone or --cooling-off")),
    };
    match Limits::bounds(&limit) {
        None => {
            return Err(usage("this number can't be set; 'matron roles show --limits' lists those that can"));
        }
        Some(b) if !b.contains(&value) => {
            return Err(usage(format!("it can be set from {} to {}, not to {value}", b.start(), b.end())));
        }
        Some(_) => {}
    }
    let reason = place::reason(s.reason)?;
    let placed = Draft::new(OrderKind::SetLimit { limit, value }, &reason).place(desk, s.yes)?;
    if desk.reach.json {
        return show::print_json(&json!({ "order": placed.order, "position": placed.position }));
    }
    show::print(&format!("Set, ledger entry {}: {}.\n", placed.position, limits::limit(&limit, value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_told_in_plain_words() {
        insta::assert_snapshot!(in_words(&Limits::default(), &Overview::default()));
    }

    #[test]
    fn a_preview_says_who_may_alone_what_waits_and_what_nobody_may() {
        let o = Overview { two_administrators: true, administrators: 2, ..Overview::default() };
        let cases = [
            (Role::Administrator, Duty::Erase, 1),
            (Role::Administrator, Duty::Erase, 20),
            (Role::Administrator, Duty::Erase, 300),
            (Role::ServiceDesk, Duty::Erase, 1),
            (Role::ServiceDesk, Duty::Lock, 10),
            (Role::WardManager, Duty::Open, 61),
        ];
        let told: Vec<_> = cases.into_iter().map(|(r, d, n)| limits::preview(&o, r, d, n)).collect();
        insta::assert_snapshot!(told.concat());
    }
}
