//! The phones: filters that live in the address, names that cost of the session's grant, search.

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::{HeaderMap, StatusCode};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Value, json};

use super::parts::title_row;
use super::{bulk, device_groups};
use crate::api::{Api, Failure, path, sentence};
use crate::guard::{Visitor, is_asked_by_our_own_page};
use crate::layout::{Place, ago, page, shown, status_line};
use crate::shapes::{Device, DeviceDetail, DeviceGroup, Found, Page};

/// The most phones that a search leads to at once.
const MOST_FOUND: usize = 50;

/// What is shown; every part of it is in the address.
#[derive(Debug, Default, Clone, Deserialize)]
pub(crate) struct Filter {
    group: Option<String>,
    device_group: Option<String>,
    state: Option<String>,
    os_version: Option<String>,
    model: Option<String>,
    silent_for_days: Option<String>,
    pending: Option<String>,
    sort: Option<String>,
    names: Option<String>,
    cursor: Option<String>,
    /// The first digits of phones that a search found.
    found: Option<String>,
}

fn given(value: &Option<String>) -> Option<String> {
    value.clone().filter(|v| !v.is_empty())
}

impl Filter {
    pub(super) fn query(&self, cursor: Option<String>, names: bool) -> Vec<(&'static str, Option<String>)> {
        vec![
            ("group", given(&self.group)),
            ("device_group", given(&self.device_group)),
            ("state", given(&self.state)),
            ("os_version", given(&self.os_version)),
            ("model", given(&self.model)),
            ("silent_for_days", given(&self.silent_for_days)),
            ("pending", given(&self.pending)),
            ("sort", given(&self.sort)),
            ("names", names.then(|| "true".to_owned())),
            ("cursor", cursor),
        ]
    }

    fn is_narrow(&self) -> bool {
        self.query(None, false).iter().any(|(key, value)| *key != "sort" && value.is_some())
    }
}

pub(crate) async fn list(
    State(api): State<Api>,
    Extension(v): Extension<Visitor>,
    headers: HeaderMap,
    Query(f): Query<Filter>,
) -> Result<Response, Failure> {
    if let Some(found) = given(&f.found) {
        return found_phones(&api, &v, &found).await;
    }
    // Names cost: what other sites link to, restored tabs and the address bar show none.
    let names = f.names.as_deref() == Some("true") && is_asked_by_our_own_page(&headers);
    let asked = |names| path("/api/v1/devices", &f.query(given(&f.cursor), names));
    let (devices, names, spent) = match api.get::<Page<Device>>(&asked(names), &v.bearer).await {
        Ok(devices) => (devices, names, None),
        Err(f) if names && f.status == StatusCode::FORBIDDEN => {
            (api.get(&asked(false), &v.bearer).await?, false, Some(f.detail))
        }
        Err(f) => return Err(f),
    };
    let groups = device_groups::all(&api, &v, false).await?;
    let next = devices.next_cursor.as_ref().map(|c| path("/phones", &f.query(Some(c.clone()), names)));
    let body = html! {
        (title_row("Phones"))
        (search_form(&v))
        (filters(&f, &groups))
        form.app-names method="get" action="/phones" {
            p { a href=(path("/phones.csv", &f.query(None, false))) download="phones.csv" { "Download as CSV" } " (masks alone)" }
            @for (key, value) in f.query(given(&f.cursor), false) {
                @if let Some(value) = value { input type="hidden" name=(key) value=(value); }
            }
            @if let Some(why) = spent {
                p.app-status.app-status--waits { "No names: " (sentence(&why)) " Sign out and in again for a new hundred." }
            } @else if names {
                p { "Names are shown; each page of them costs what it shows of your session's 100." }
                button.nhsuk-button.nhsuk-button--secondary.nhsuk-button--small { "Hide names" }
            } @else if v.opens_names() {
                button.nhsuk-button.nhsuk-button--secondary.nhsuk-button--small name="names" value="true" {
                    "Show the names on this page"
                }
            }
        }
        #phones data-live[!names] {
            @if devices.items.is_empty() {
                .nhsuk-inset-text { p {
                    @if f.is_narrow() { "No phone is like that. " a href="/phones" { "Show all phones" } }
                    @else { "No phone is here yet. " @if !v.only_reads() { a href="/invite" { "Invite someone" } } }
                } }
            } @else {
                (table(&devices.items, names, bulk::may_any(&v), v.session.now_ms))
            }
        }
        @if !devices.items.is_empty() { (bulk::actions(&v, api.call.as_deref())) }
        @if let Some(next) = next {
            nav.nhsuk-pagination role="navigation" aria-label="Pages" {
                ul.nhsuk-list.nhsuk-pagination__list {
                    li.nhsuk-pagination-item--next {
                        a.nhsuk-pagination__link.nhsuk-pagination__link--next href=(next) rel="next" {
                            span.nhsuk-pagination__title { "Next page" }
                        }
                    }
                }
            }
        }
    };
    Ok(page("Phones", Place::Phones, Some(&v), body))
}

async fn found_phones(api: &Api, v: &Visitor, found: &str) -> Result<Response, Failure> {
    let mut devices = Vec::new();
    for id in found.split(',').take(MOST_FOUND).filter(|id| id.bytes().all(|b| b.is_ascii_hexdigit())) {
        match api.get::<DeviceDetail>(&format!("/api/v1/devices/{id}"), &v.bearer).await {
            Ok(d) => devices.push(d.device),
            // Gone, or two begin so by now.
            Err(f) if f.status.is_client_error() => {}
            Err(f) => return Err(f),
        }
    }
    let body = html! {
        h1.nhsuk-heading-l { "Found" }
        p { (words::count(devices.len() as u64, "phone")) " found. " a href="/phones" { "Show all phones" } }
        (search_form(v))
        #phones { (table(&devices, false, false, v.session.now_ms)) }
    };
    Ok(page("Found", Place::Phones, Some(v), body))
}

fn search_form(v: &Visitor) -> Markup {
    if !v.opens_names() {
        return html! { p.nhsuk-hint {
            @if v.only_reads() { "You see masks. Sign in with a passkey to open names and to search." }
            @else { "This session reads masks: sign out and in again, with names, to search." }
        } };
    }
    html! {
        search {
            form.app-search method="dialog" data-search="" data-session=(v.session.session) {
                .nhsuk-form-group {
                    label.nhsuk-label for="term" { "Find a phone" }
                    .nhsuk-hint #term-hint { "Sealed before it leaves this page; each search counts." }
                    .app-inline {
                        select.nhsuk-select name="field" aria-label="What you have" {
                            option value="phone" { "Phone number" }
                            option value="name" { "Holder's name" }
                            option value="email" { "Email address" }
                            option value="serial" { "Serial number" }
                            option value="imei" { "IMEI" }
                        }
                        input.nhsuk-input #term name="term" type="search" autocomplete="off" spellcheck="false" aria-describedby="term-hint";
                        button.nhsuk-button.nhsuk-button--small type="submit" { "Search" }
                    }
                }
                (status_line())
            }
        }
    }
}

const STATES: &[(&str, &str)] = &[
    ("enrolled", "Enrolled"),
    ("invited", "Invited"),
    ("issued", "Certificate issued"),
    ("authenticated", "Enrolling"),
    ("checked_out", "Left"),
    ("replaced", "Replaced"),
    ("withdrawn", "Withdrawn"),
];

fn filters(f: &Filter, groups: &[DeviceGroup]) -> Markup {
    let value = |v: &Option<String>| v.clone().unwrap_or_default();
    let is = |v: &Option<String>, of: &str| v.as_deref() == Some(of);
    html! {
        details.nhsuk-details.app-filters open[f.is_narrow()] {
            summary.nhsuk-details__summary { span.nhsuk-details__summary-text { "Filter and sort" } }
            .nhsuk-details__text {
                form method="get" action="/phones" {
                    .app-fields {
                        (field("group", "Home group or ward", &value(&f.group)))
                        @if !groups.is_empty() {
                            .nhsuk-form-group {
                                label.nhsuk-label for="f-device_group" { "Device group" }
                                select.nhsuk-select #f-device_group name="device_group" {
                                    option value="" { "Any" }
                                    @for g in groups {
                                        @let id = g.device_group.to_string();
                                        option value=(id) selected[is(&f.device_group, &id)] { (shown(&g.name)) }
                                    }
                                }
                            }
                        }
                        .nhsuk-form-group {
                            label.nhsuk-label for="f-state" { "State" }
                            select.nhsuk-select #f-state name="state" {
                                option value="" { "Any" }
                                @for (word, name) in STATES {
                                    option value=(word) selected[is(&f.state, word)] { (name) }
                                }
                            }
                        }
                        (field("os_version", "OS version", &value(&f.os_version)))
                        (field("model", "Model", &value(&f.model)))
                        (field("silent_for_days", "Silent for days", &value(&f.silent_for_days)))
                        .nhsuk-form-group {
                            label.nhsuk-label for="f-pending" { "Commands waiting" }
                            select.nhsuk-select #f-pending name="pending" {
                                option value="" { "Any" }
                                option value="true" selected[is(&f.pending, "true")] { "Yes" }
                                option value="false" selected[is(&f.pending, "false")] { "No" }
                            }
                        }
                        .nhsuk-form-group {
                            label.nhsuk-label for="f-sort" { "Sort by" }
                            select.nhsuk-select #f-sort name="sort" {
                                option value="" { "Invitation" }
                                option value="last_seen" selected[is(&f.sort, "last_seen")] { "Last seen" }
                                option value="enrolled" selected[is(&f.sort, "enrolled")] { "Enrolment" }
                            }
                        }
                    }
                    .nhsuk-button-group {
                        button.nhsuk-button.nhsuk-button--small type="submit" { "Show" }
                        a href="/phones" { "Clear" }
                    }
                }
            }
        }
    }
}

fn field(name: &str, label: &str, value: &str) -> Markup {
    let id = format!("f-{name}");
    html! {
        .nhsuk-form-group {
            label.nhsuk-label for=(id) { (label) }
            input.nhsuk-input id=(id) name=(name) value=(value) autocomplete="off";
        }
    }
}

/// A state's name and its colour.
pub(crate) fn state_tag(state: &str) -> Markup {
    let name = STATES.iter().find(|(word, _)| *word == state).map_or(state, |(_, name)| name);
    let colour = match state {
        "enrolled" => "nhsuk-tag--green",
        "invited" | "issued" | "authenticated" => "nhsuk-tag--blue",
        _ => "nhsuk-tag--grey",
    };
    html! { strong class={ "nhsuk-tag " (colour) } { (name) } }
}

pub(super) fn table(devices: &[Device], names: bool, ticks: bool, now_ms: i64) -> Markup {
    html! {
        table.nhsuk-table.nhsuk-table-responsive role="table" {
            caption.nhsuk-u-visually-hidden { "Phones" }
            thead.nhsuk-table__head role="rowgroup" {
                tr role="row" {
                    @if ticks { th role="columnheader" scope="col" { input.app-tick type="checkbox" data-tick-all="" aria-label="Tick all phones on this page"; } }
                    th role="columnheader" scope="col" { "Phone" }
                    @if names { th role="columnheader" scope="col" { "Holder" } }
                    th role="columnheader" scope="col" { "Home group" }
                    th role="columnheader" scope="col" { "State" }
                    th role="columnheader" scope="col" { "Model" }
                    th role="columnheader" scope="col" { "OS" }
                    th role="columnheader" scope="col" { "Number" }
                    th role="columnheader" scope="col" { "Last seen" }
                    th.nhsuk-table__header--numeric role="columnheader" scope="col" { "Waiting" }
                }
            }
            tbody.nhsuk-table__body {
                @for d in devices { (row(d, names, ticks, now_ms)) }
            }
        }
    }
}

fn row(d: &Device, names: bool, ticks: bool, now_ms: i64) -> Markup {
    let label = |text: &str| html! { span.nhsuk-table-responsive__heading aria-hidden="true" { (text) " " } };
    let clear = |name: &str| d.clear(name).map(|t| shown(&t)).unwrap_or_else(|| "–".into());
    html! {
        tr.nhsuk-table__row role="row" data-phone=(d.enrolment) data-whose=(whose(d)) {
            @if ticks { td.nhsuk-table__cell role="cell" {
                @if d.state == "enrolled" { input.app-tick type="checkbox" name="phone" value=(d.enrolment) aria-label={ "Phone " (d.short()) }; }
            } }
            td.nhsuk-table__cell role="cell" {
                (label("Phone"))
                a href={ "/phones/" (d.enrolment) } { code { (d.short()) } }
            }
            @if names {
                td.nhsuk-table__cell role="cell" { (label("Holder")) (d.holder.as_deref().map(shown).unwrap_or_default()) }
            }
            td.nhsuk-table__cell role="cell" { (label("Home group")) (shown(&d.group)) }
            td.nhsuk-table__cell role="cell" { (label("State")) (state_tag(&d.state)) }
            td.nhsuk-table__cell role="cell" title=[d.clear("ProductName").map(|t| shown(&t))] { (label("Model")) (d.clear("ProductName").map_or_else(|| "–".into(), |t| shown(words::model(&t)))) }
            td.nhsuk-table__cell role="cell" { (label("OS")) (clear("OSVersion")) }
            td.nhsuk-table__cell role="cell" {
                (label("Number")) (number(d))
            }
            td.nhsuk-table__cell role="cell" { (label("Last seen")) (ago(d.last_seen_ms, now_ms)) }
            td.nhsuk-table__cell.nhsuk-table__cell--numeric role="cell" { (label("Waiting")) (d.pending_commands) }
        }
    }
}

/// Whose card it is that is made for the phone: what the page shows of it anyway.
pub(super) fn whose(d: &Device) -> String {
    let model = d.clear("ProductName").map(|t| words::model(&t).to_owned());
    let words = [d.holder.clone(), model, Some(d.group.clone())];
    words.into_iter().flatten().map(|w| shown(&w)).collect::<Vec<_>>().join(" · ")
}

/// The mask of its number.
fn number(d: &Device) -> String {
    let mask = d.masks.iter().find(|(name, _)| name.rsplit('.').next() == Some("PhoneNumber"));
    mask.map_or_else(|| "–".into(), |(_, m)| shown(m))
}

/// A sealed search under the session's grant.
pub(crate) async fn search(
    State(api): State<Api>,
    Extension(v): Extension<Visitor>,
    Json(asked): Json<Value>,
) -> Response {
    match api.post::<Found>("/api/v1/search", Some(&v.bearer), &asked).await {
        Ok(found) => {
            let ids: Vec<&str> = found.items.iter().map(|d| d.enrolment.as_str()).collect();
            Json(json!({ "found": ids, "searches_left": found.searches_left })).into_response()
        }
        Err(f) => f.json(),
    }
}
