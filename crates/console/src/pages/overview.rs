//! The start page: how many phones are how, what is under way, what was opened today, and the last 30 days.

use std::collections::BTreeMap;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use maud::{Markup, html};
use model::{Duty, Limit, Whose, Window};
use order::limits::{Limits, UNLIMITED};
use serde::Deserialize;

use super::chart::{Bar, chart};
use super::parts::{cell, heads, number, title_row};
use crate::api::{Api, Failure};
use crate::guard::Visitor;
use crate::layout::{Place, page, shown};

#[derive(Debug, Deserialize)]
struct Overview {
    group: Option<String>,
    enrolments: BTreeMap<String, u64>,
    silent_7_days: u64,
    silent_30_days: u64,
    lost: u64,
    passcode_not_compliant: u64,
    declarations_invalid: u64,
    certificates: Option<BTreeMap<String, u64>>,
    open_commands: Option<u64>,
    deferred_commands: Option<u64>,
    days: Option<Vec<Day>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Day {
    from_ms: i64,
    enrolled: u64,
    left: u64,
    opened: u64,
    commanded: u64,
    refused: u64,
}

pub(crate) async fn show(
    State(api): State<Api>,
    Extension(v): Extension<Visitor>,
) -> Result<Response, Failure> {
    let o: Overview = api.get("/api/v1/overview", &v.bearer).await?;
    // The vault's table: without the vault there is the rest.
    let spent = match api.get::<order::limits::Overview>("/api/v1/roles", &v.bearer).await {
        Ok(spent) => Some(spent),
        Err(f) if f.status == StatusCode::SERVICE_UNAVAILABLE => None,
        Err(f) => return Err(f),
    };
    let body = html! {
        (title_row("Overview"))
        #overview data-live {
            @if let Some(group) = &o.group { p { "The phones of " strong { (shown(group)) } "." } }
            (tiles(&o))
            (budgets(spent.as_ref(), &v))
            @if let Some(days) = &o.days { (thirty_days(days)) }
        }
    };
    Ok(page("Overview", Place::Overview, Some(&v), body))
}

/// A number, what it is, where it leads, and whether someone should look.
fn tile(n: u64, what: &str, to: Option<&str>, look: bool) -> Markup {
    html! {
        li.app-tile.app-tile--look[look && n > 0] {
            span.app-tile__number { (number(n)) }
            @match to {
                Some(to) => { a.app-tile__what href=(to) { (what) } }
                None => { span.app-tile__what { (what) } }
            }
        }
    }
}

fn tiles(o: &Overview) -> Markup {
    let state = |name: &str| o.enrolments.get(name).copied().unwrap_or(0);
    let certificate = |name: &str| o.certificates.as_ref().and_then(|c| c.get(name)).copied().unwrap_or(0);
    html! {
        section aria-labelledby="h-phones" {
            h2.nhsuk-heading-m #h-phones { "Phones" }
            ul.app-tiles {
                (tile(state("enrolled"), "enrolled", Some("/phones?state=enrolled"), false))
                (tile(state("invited"), "invited, not used yet", Some("/phones?state=invited"), false))
                (tile(state("issued"), "have a certificate, not enrolled yet", Some("/phones?state=issued"), true))
                (tile(state("authenticated"), "half way through enrolling", Some("/phones?state=authenticated"), true))
                (tile(o.silent_7_days, "silent for 7 days", Some("/phones?state=enrolled&silent_for_days=7"), true))
                (tile(o.silent_30_days, "silent for 30 days", Some("/phones?state=enrolled&silent_for_days=30"), true))
                (tile(o.lost, "in lost mode", None, true))
                @if o.certificates.is_some() {
                    (tile(certificate("late") + certificate("expired"), "late with their certificate", Some("/health"), true))
                }
            }
        }
        section aria-labelledby="h-policy" {
            h2.nhsuk-heading-m #h-policy { "Out of policy" }
            ul.app-tiles {
                (tile(o.passcode_not_compliant, "say their passcode does not comply", None, true))
                (tile(o.declarations_invalid, "say a declaration is not valid", None, true))
            }
            p.nhsuk-hint { "What phones themselves confirmed. One that has not reported is in neither number; see who is silent." }
        }
        @if let (Some(open), Some(deferred)) = (o.open_commands, o.deferred_commands) {
            section aria-labelledby="h-commands" {
                h2.nhsuk-heading-m #h-commands { "Commands under way" }
                ul.app-tiles {
                    (tile(open, "not answered yet", Some("/phones?pending=true"), false))
                    (tile(deferred, "put off by their phone", None, false))
                }
            }
        }
    }
}

/// What was spent today, each beside its budget. Of a person: one's own group's people are not told apart here.
fn budgets(o: Option<&order::limits::Overview>, v: &Visitor) -> Markup {
    let Some(o) = o else {
        return html! { .nhsuk-inset-text { p { "The vault does not answer, so what was spent of budgets is not known." } } };
    };
    let table = Limits::with(&o.changed);
    let most = |duty: Duty, whose: Whose, window| table.get(&Limit::Budget { duty, whose, window });
    let of = |n: u32, most: u32| {
        if most == UNLIMITED {
            number(n.into())
        } else {
            format!("{} of {}", number(n.into()), number(most.into()))
        }
    };
    let told: Vec<_> = o
        .spent
        .iter()
        .filter(|r| r.day > 0 && !matches!(r.duty, Duty::SignIn | Duty::End))
        .filter(|r| most(r.duty, r.whose, Window::Day) != UNLIMITED || r.person.is_some())
        .collect();
    let person = |id: &model::PersonId| id.to_string().get(..8).unwrap_or_default().to_owned();
    html! {
        section aria-labelledby="h-budgets" {
            h2.nhsuk-heading-m #h-budgets { "Spent of budgets" }
            @if told.is_empty() {
                p { "In the last 24 hours nothing was spent of a budget." }
            } @else {
                table.nhsuk-table.nhsuk-table-responsive role="table" {
                    caption.nhsuk-u-visually-hidden { "Spent of budgets, in the last hour and the last 24 hours" }
                    (heads(&["What", "By", "Last hour", "Last 24 hours"]))
                    tbody.nhsuk-table__body { @for r in told {
                        tr.nhsuk-table__row role="row" {
                            (cell("What", words::limits::duty(r.duty)))
                            (cell("By", match &r.person {
                                Some(p) if v.session.group.is_none() => html! { "person " a href={ "/ledger?person=" (p) } { code { (person(p)) } } },
                                Some(p) => html! { "person " code { (person(p)) } },
                                None => html! { (words::limits::whose(r.whose)) },
                            }))
                            (cell("Last hour", of(r.hour, most(r.duty, r.whose, Window::Hour))))
                            (cell("Last 24 hours", of(r.day, most(r.duty, r.whose, Window::Day))))
                        }
                    } }
                }
            }
        }
    }
}

fn thirty_days(days: &[Day]) -> Markup {
    let bars = |of: fn(&Day) -> u64| -> Vec<Bar> {
        days.iter().map(|d| Bar { label: words::day_of(d.from_ms), value: of(d) }).collect()
    };
    html! {
        section aria-labelledby="h-days" {
            h2.nhsuk-heading-m #h-days { "The last 30 days" }
            .app-charts {
                (chart("chart-opened", "Records opened a day", &bars(|d| d.opened)))
                (chart("chart-enrolled", "Phones enrolled a day", &bars(|d| d.enrolled)))
                (chart("chart-commanded", "Phones commanded a day", &bars(|d| d.commanded)))
            }
            details.nhsuk-details {
                summary.nhsuk-details__summary { span.nhsuk-details__summary-text { "The same as a table" } }
                .nhsuk-details__text {
                    .app-scroll tabindex="0" role="region" aria-label="The last 30 days as a table" {
                        table.nhsuk-table {
                            caption.nhsuk-u-visually-hidden { "The last 30 days, by the ledger; days are UTC" }
                            thead.nhsuk-table__head { tr {
                                @for name in ["Day", "Opened", "Enrolled", "Left", "Commanded", "Refused"] { th scope="col" { (name) } }
                            } }
                            tbody.nhsuk-table__body { @for d in days.iter().rev() {
                                tr.nhsuk-table__row {
                                    td.nhsuk-table__cell { (words::day_of(d.from_ms)) }
                                    @for n in [d.opened, d.enrolled, d.left, d.commanded, d.refused] {
                                        td.nhsuk-table__cell { (number(n)) }
                                    }
                                }
                            } }
                        }
                    }
                }
            }
        }
    }
}
