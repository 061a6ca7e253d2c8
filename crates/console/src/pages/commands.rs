//! What is under way: how far each order has come, what waits and why, and its end.

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use maud::{Markup, html};
use model::OrderId;
use serde::Deserialize;

use super::approvals::{People, decided, does, fold, read, recalls, title, touches};
use super::parts::{breadcrumb, line, title_row};
use super::phone::state_of_command;
use crate::api::{Api, Failure, path};
use crate::guard::Visitor;
use crate::layout::{Place, ago, page, shown};
use crate::shapes::{Command, ListedOrder, Page, Progress, UnderWay};

/// Orders on a page, each told from its own bytes.
const SHOWN: u32 = 20;

/// Which part of a list.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Asked {
    cursor: Option<String>,
    state: Option<String>,
}

pub(crate) async fn list(
    State(api): State<Api>,
    Extension(v): Extension<Visitor>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let query = [("limit", Some(SHOWN.to_string())), ("cursor", asked.cursor)];
    let found: Page<UnderWay> = api.get(&path("/api/v1/orders/under_way", &query), &v.bearer).await?;
    let people = People::all(&api, &v).await?;
    let next = found.next_cursor.map(|c| path("/commands", &[("cursor", Some(c))]));
    let mut orders = Vec::new();
    for u in found.items {
        let order = read(&api, &v, &u.order).await;
        orders.push((title(&u.order, order.as_ref()), u));
    }
    let body = html! {
        (title_row("Commands in flight"))
        #under-way data-live {
            @if orders.is_empty() && next.is_some() { p.nhsuk-hint { "Nothing newer is under way." } }
            @else if orders.is_empty() { p.nhsuk-hint { "Nothing is under way: every phone has answered what was asked of it." } }
            @else { (table(&v, &orders, &people)) }
        }
        @if let Some(next) = next { p { a href=(next) rel="next" { "Older ones" } } }
    };
    Ok(page("Commands in flight", Place::Commands, Some(&v), body))
}

fn table(v: &Visitor, orders: &[(String, UnderWay)], people: &People) -> Markup {
    let label = |text: &str| html! { span.nhsuk-table-responsive__heading aria-hidden="true" { (text) " " } };
    html! {
        table.nhsuk-table.nhsuk-table-responsive role="table" {
            caption.nhsuk-u-visually-hidden { "Orders that are under way, newest first" }
            thead.nhsuk-table__head role="rowgroup" { tr role="row" {
                th role="columnheader" scope="col" { "What" }
                th role="columnheader" scope="col" { "Asked" }
                th role="columnheader" scope="col" { "How far" }
            } }
            tbody.nhsuk-table__body { @for (what, u) in orders {
                tr.nhsuk-table__row role="row" {
                    td.nhsuk-table__cell role="cell" {
                        (label("What"))
                        div { a href={ "/commands/" (u.order.order) } { (what) } }
                        p.nhsuk-hint { (shown(&u.order.reason)) }
                    }
                    td.nhsuk-table__cell role="cell" {
                        (label("Asked"))
                        div { (ago(Some(u.order.made_at_ms), v.session.now_ms)) ", by " (people.by_id(v, u.order.signer)) }
                    }
                    td.nhsuk-table__cell role="cell" { (label("How far")) (how_far(&u.order, &u.progress, v.session.now_ms)) }
                }
            } }
        }
    }
}

/// A bar with its words.
fn how_far(order: &ListedOrder, p: &Progress, now_ms: i64) -> Markup {
    if let Some(until) = order.cools_until_ms {
        return html! { div { "Cools off; " (words::count(order.targets.into(), "phone")) " told in " span data-countdown=(until) { (words::span(until - now_ms)) } } };
    }
    let (all, ended) = (p.all(), p.all() - p.open());
    html! {
        div {
            progress.app-progress max=(all) value=(ended) aria-label="Phones that have answered" { (ended) " of " (all) }
            div { (parts(p)) }
        }
    }
}

fn parts(p: &Progress) -> String {
    let all = [
        (p.acknowledged, "done"),
        (p.error, "failed"),
        (p.expired, "ran out"),
        (p.cancelled, "called back"),
        (p.sent, "told, no answer yet"),
        (p.not_now, "put off by the phone"),
        (p.queued, "not told yet"),
    ];
    let said = all.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}"));
    said.collect::<Vec<_>>().join(", ")
}

const STATES: &[(&str, &str)] = &[
    ("queued", "Not told yet"),
    ("sent", "Told, no answer yet"),
    ("not_now", "Put off by the phone"),
    ("acknowledged", "Done"),
    ("error", "Failed"),
    ("expired", "Ran out"),
    ("cancelled", "Called back"),
];

pub(crate) async fn show(
    State(api): State<Api>,
    Extension(v): Extension<Visitor>,
    Path(order): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let id: OrderId = order.parse().map_err(|_| Failure::not_found("order"))?;
    let listed: ListedOrder = api.get(&format!("/api/v1/orders/{id}"), &v.bearer).await?;
    let state = asked.state.filter(|s| !s.is_empty());
    let query = [("order", Some(id.to_string())), ("state", state.clone()), ("cursor", asked.cursor)];
    let commands: Page<Command> = api.get(&path("/api/v1/commands", &query), &v.bearer).await?;
    let order = read(&api, &v, &listed).await;
    let people = People::all(&api, &v).await?;
    let (now_ms, here) = (v.session.now_ms, format!("/commands/{id}"));
    let next = commands.next_cursor.map(|c| path(&here, &[("state", state.clone()), ("cursor", Some(c))]));
    let ended = listed.recalled_at_ms.is_some() || listed.expires_at_ms <= now_ms;
    let what = title(&listed, order.as_ref());
    let inside = order.as_ref().map(words::outline::inside).unwrap_or_default();
    let body = html! {
        (breadcrumb("/commands", "Commands in flight"))
        (title_row(what.as_str()))
        (decided())
        #summary data-live {
            dl.nhsuk-summary-list {
            (line("State", html! { (standing(&listed)) }))
            @if let Some(until) = listed.cools_until_ms {
                (line("Phones are told", html! { (words::time(until)) ", in " span data-countdown=(until) { (words::span(until - now_ms)) } }))
            }
            @if !inside.is_empty() { (line("What it does", does(&inside))) }
            (line("Why", html! { (shown(&listed.reason)) }))
            (line("Asked", html! { (ago(Some(listed.made_at_ms), now_ms)) ", by " (people.by_id(&v, listed.signer)) }))
            (line("Touches", match &order { Some(o) => touches(o), None => html! { (words::count(listed.targets.into(), "phone")) } }))
            (line("Runs out", html! { (words::time(listed.expires_at_ms)) "; a phone that has not been heard of by then is not told" }))
            (line("Order", html! { code.app-break { (id) } }))
            }
            @if !ended && recalls(&v, &listed) {
                (fold("recall", &id.to_string(), "Call it back", "Phones that have not been told are not told. What a phone has done already stays done.", "recall", "Call it back", "Called back."))
            }
        }
        section aria-labelledby="h-phones" {
            h2.nhsuk-heading-m #h-phones { "Phones" }
            form.app-inline.app-filters method="get" action=(here) {
                select.nhsuk-select name="state" aria-label="Which phones" {
                    option value="" { "All phones" }
                    @for (word, name) in STATES { option value=(word) selected[state.as_deref() == Some(*word)] { (name) } }
                }
                button.nhsuk-button.nhsuk-button--small.nhsuk-button--secondary { "Show" }
            }
            #phones-of data-live {
                @if commands.items.is_empty() { p.nhsuk-hint { "No phone is like that." } }
                @else { (phones(&commands.items, now_ms)) }
            }
            @if let Some(next) = next { p { a href=(next) rel="next" { "Next page" } } }
        }
    };
    Ok(page(&what, Place::Commands, Some(&v), body))
}

fn standing(o: &ListedOrder) -> Markup {
    let (colour, text) = match (o.recalled_at_ms, o.state.as_str()) {
        (Some(_), _) => ("nhsuk-tag--grey", "Called back"),
        (None, "accepted") => ("nhsuk-tag--green", "Accepted"),
        (None, "cooling_off") => ("nhsuk-tag--yellow", "Cooling off"),
        (None, "pending") => ("nhsuk-tag--yellow", "Waits for a signature"),
        (None, "refused") => ("nhsuk-tag--red", "Refused"),
        (None, _) => ("nhsuk-tag--blue", "On its way to the vault"),
    };
    html! { strong class={ "nhsuk-tag " (colour) } { (text) } }
}

fn phones(commands: &[Command], now_ms: i64) -> Markup {
    let label = |text: &str| html! { span.nhsuk-table-responsive__heading aria-hidden="true" { (text) " " } };
    html! {
        table.nhsuk-table.nhsuk-table-responsive role="table" {
            caption.nhsuk-u-visually-hidden { "Phones of this order" }
            thead.nhsuk-table__head role="rowgroup" { tr role="row" {
                th role="columnheader" scope="col" { "Phone" }
                th role="columnheader" scope="col" { "State" }
                th role="columnheader" scope="col" { "Why" }
            } }
            tbody.nhsuk-table__body { @for c in commands {
                @let (state, colour) = state_of_command(c);
                tr.nhsuk-table__row role="row" {
                    td.nhsuk-table__cell role="cell" {
                        (label("Phone")) a href={ "/phones/" (c.enrolment) } { code { (c.enrolment.get(..8).unwrap_or(&c.enrolment)) } }
                    }
                    td.nhsuk-table__cell role="cell" { (label("State")) strong class={ "nhsuk-tag " (colour) } { (state) } }
                    td.nhsuk-table__cell role="cell" { (label("Why")) div { (why(c, now_ms)) } }
                }
            } }
        }
    }
}

/// What it waits for, or what came of it.
fn why(c: &Command, now_ms: i64) -> Markup {
    let heard = html! { "last heard of " (ago(c.phone_last_seen_ms, now_ms)) };
    let deaf = match c.phone_push.as_deref() {
        Some("none") => "; it has sent no push token, so it can't be woken and comes by itself",
        Some("unregistered") => {
            "; Apple says its push token is gone, so it can't be woken until it comes by itself"
        }
        _ => "",
    };
    html! {
        @match c.state.as_str() {
            "queued" => { "waits for the phone; " (heard) (deaf) }
            "sent" => { "told " (ago(c.sent_at_ms, now_ms)) ", no answer yet; " (heard) (deaf) }
            "not_now" => { "the phone put it off " (words::count(c.not_now_count.into(), "time")) " (its screen is locked, or it is busy) and is asked again; " (heard) }
            "acknowledged" => { "answered " (ago(c.done_at_ms, now_ms)) }
            "error" => { "answered " (ago(c.done_at_ms, now_ms)) ": " @for e in &c.errors { (shown(&e.domain)) " " (e.code) " " } }
            "expired" => { "ran out " (ago(Some(c.expires_at_ms), now_ms)) " before the phone answered" }
            _ => { "ended " (ago(c.done_at_ms, now_ms)) ": called back, or the phone left or enrolled anew" }
        }
    }
}
