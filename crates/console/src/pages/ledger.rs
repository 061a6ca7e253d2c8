//! The ledger: every entry in words, looked through by kind, person, phone and day, and proved in the browser.

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use ledger::{Body, Entry, KINDS};
use maud::{Markup, html};
use model::clock::DAY_MS;
use serde::Deserialize;
use serde_json::Value;

use super::parts::{breadcrumb, cell, heads, line, number};
use super::people::everyone;
use crate::api::{Api, Failure, path, sentence};
use crate::guard::Visitor;
use crate::layout::{Place, page, shown, status_line};
use crate::shapes::{Page, Person, text};

/// The most characters of an entry's telling in the list.
const MOST_TOLD: usize = 300;

/// What is shown; every part of it is in the address.
#[derive(Debug, Default, Clone, Deserialize)]
pub(crate) struct Filter {
    kind: Option<String>,
    person: Option<String>,
    phone: Option<String>,
    from_day: Option<String>,
    to_day: Option<String>,
    cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Item {
    index: u64,
    at_ms: i64,
    witness: String,
    kind: String,
    told: String,
    summary: Value,
    hash: String,
    /// Of an entry that is asked for by itself.
    raw: Option<String>,
}

impl Item {
    fn body(&self) -> Option<Body> {
        Some(Entry::decode(&STANDARD.decode(self.raw.as_ref()?).ok()?).ok()?.body)
    }

    fn told(&self) -> String {
        // These begin with the id of whoever signed.
        let is_accepted = self.summary.get("order").is_some_and(Value::is_object);
        let told = words::line(&self.told);
        if is_accepted || self.kind == "order_held" { format!("Person {told}.") } else { sentence(&told) }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Head {
    pub(super) entries: u64,
}

fn given(value: &Option<String>) -> Option<String> {
    value.clone().filter(|v| !v.is_empty())
}

impl Filter {
    fn own(&self, cursor: Option<String>) -> Vec<(&'static str, Option<String>)> {
        vec![
            ("kind", given(&self.kind)),
            ("person", given(&self.person)),
            ("phone", given(&self.phone)),
            ("from_day", given(&self.from_day)),
            ("to_day", given(&self.to_day)),
            ("cursor", cursor),
        ]
    }

    fn asked(&self) -> Result<String, Failure> {
        let day = |value: &Option<String>, more_ms: i64| match given(value) {
            None => Ok(None),
            Some(text) => match words::day(&text) {
                Some(at_ms) => Ok(Some((at_ms + more_ms).to_string())),
                None => Err(Failure::bad("a day is written 2026-03-31")),
            },
        };
        Ok(path(
            "/api/v1/ledger",
            &[
                ("sort", Some("newest".into())),
                ("kind", given(&self.kind)),
                ("person", given(&self.person)),
                ("enrolment", given(&self.phone)),
                ("since_ms", day(&self.from_day, 0)?),
                ("until_ms", day(&self.to_day, DAY_MS)?),
                ("cursor", given(&self.cursor)),
            ],
        ))
    }

    fn is_narrow(&self) -> bool {
        self.own(None).iter().any(|(_, value)| value.is_some())
    }
}

pub(crate) async fn list(
    State(api): State<Api>,
    Extension(v): Extension<Visitor>,
    Query(f): Query<Filter>,
) -> Result<Response, Failure> {
    let items: Page<Item> = api.get(&f.asked()?, &v.bearer).await?;
    let head: Head = api.get("/api/v1/ledger/head", &v.bearer).await?;
    let people = everyone(&api, &v).await?;
    let next = items.next_cursor.as_ref().map(|c| path("/ledger", &f.own(Some(c.clone()))));
    let body = html! {
        h1.nhsuk-heading-l { "Ledger" }
        p { "Everything that mattered, in order and for good: " (number(head.entries)) " entries. Nobody can change or take one away "
            "without it showing." }
        (filters(&f, &people))
        @if items.items.is_empty() {
            .nhsuk-inset-text { p { "No entry is like that. " a href="/ledger" { "Show all" } } }
        } @else {
            (checker("Check the entries on this page"))
            (table(&items.items))
        }
        @if let Some(next) = next {
            nav.nhsuk-pagination role="navigation" aria-label="Pages" {
                ul.nhsuk-list.nhsuk-pagination__list {
                    li.nhsuk-pagination-item--next {
                        a.nhsuk-pagination__link.nhsuk-pagination__link--next href=(next) rel="next" {
                            span.nhsuk-pagination__title { "Older entries" }
                        }
                    }
                }
            }
        }
        (outside())
    };
    Ok(page("Ledger", Place::Ledger, Some(&v), body))
}

/// The browser's own check; without JavaScript there is none.
fn checker(name: &str) -> Markup {
    html! {
        .app-check data-check="" hidden {
            button.nhsuk-button.nhsuk-button--secondary.nhsuk-button--small type="button" { (name) }
            (status_line())
        }
        noscript { p.nhsuk-hint { "Checking in the browser needs JavaScript; " code { "matron ledger verify" } " does not." } }
    }
}

fn filters(f: &Filter, people: &[Person]) -> Markup {
    let value = |v: &Option<String>| v.clone().unwrap_or_default();
    let is = |v: &Option<String>, of: &str| v.as_deref() == Some(of);
    let day = |name: &str, label: &str, value: String| {
        html! {
            .nhsuk-form-group {
                label.nhsuk-label for={ "f-" (name) } { (label) }
                input.nhsuk-input id={ "f-" (name) } name=(name) value=(value) type="date";
            }
        }
    };
    html! {
        details.nhsuk-details.app-filters open[f.is_narrow()] {
            summary.nhsuk-details__summary { span.nhsuk-details__summary-text { "Filter" } }
            .nhsuk-details__text {
                form method="get" action="/ledger" {
                    .app-fields {
                        .nhsuk-form-group {
                            label.nhsuk-label for="f-kind" { "Kind" }
                            select.nhsuk-select #f-kind name="kind" {
                                option value="" { "Any" }
                                @for kind in KINDS {
                                    option value=(kind) selected[is(&f.kind, kind)] { (words::entry::kind_name(kind)) }
                                }
                            }
                        }
                        .nhsuk-form-group {
                            label.nhsuk-label for="f-person" { "Person who signs" }
                            select.nhsuk-select #f-person name="person" {
                                option value="" { "Anyone" }
                                @for p in people {
                                    @let id = p.person.to_string();
                                    option value=(id) selected[is(&f.person, &id)] {
                                        (id.get(..8).unwrap_or(&id)) ", " (p.role.replace('_', " "))
                                        @if p.removed_at_ms.is_some() { ", left" }
                                    }
                                }
                            }
                        }
                        .nhsuk-form-group {
                            label.nhsuk-label for="f-phone" { "Phone" }
                            input.nhsuk-input #f-phone name="phone" value=(value(&f.phone)) autocomplete="off" spellcheck="false"
                                placeholder="first 6 digits or more";
                        }
                        (day("from_day", "From day", value(&f.from_day)))
                        (day("to_day", "To day", value(&f.to_day)))
                    }
                    .nhsuk-button-group {
                        button.nhsuk-button.nhsuk-button--small type="submit" { "Show" }
                        a href="/ledger" { "Clear" }
                    }
                }
            }
        }
    }
}

fn table(items: &[Item]) -> Markup {
    html! {
        table.nhsuk-table.nhsuk-table-responsive role="table" {
            caption.nhsuk-u-visually-hidden { "Entries, the newest first" }
            (heads(&["Entry", "When", "What", "Kind", "Checked"]))
            tbody.nhsuk-table__body { @for item in items {
                tr.nhsuk-table__row role="row" {
                    (cell("Entry", html! { a href={ "/entries/" (item.index) } { (item.index) } }))
                    (cell("When", words::time(item.at_ms)))
                    (cell("What", html! { span.app-break { (cut(&item.told())) } }))
                    (cell("Kind", html! { (words::entry::kind_name(&item.kind)) @if item.witness == "core" { ", core's word" } }))
                    (cell("Checked", html! { span data-entry=(item.index) data-hash=(item.hash) { "–" } }))
                }
            } }
        }
    }
}

fn cut(told: &str) -> String {
    match told.char_indices().nth(MOST_TOLD) {
        Some((at, _)) => format!("{}…", told.get(..at).unwrap_or_default()),
        None => told.to_owned(),
    }
}

fn outside() -> Markup {
    html! {
        details.nhsuk-details {
            summary.nhsuk-details__summary { span.nhsuk-details__summary-text { "Take it with you, or check it without this page" } }
            .nhsuk-details__text {
                p { "All of it as two files, which belong in one folder; names in them stay sealed, reasons that people wrote do not. First "
                    a href="/ledger.checkpoint" download="checkpoint" { "the checkpoint" } ", then "
                    a href="/ledger.jsonl" download="entries.jsonl" { "every entry" } ". "
                    code { "matron ledger verify --dir FOLDER" } " checks them without this server." }
                p { "This page and its script come from core. Who doubts core checks from elsewhere, with the root key that they were given:" }
                ul.nhsuk-list.nhsuk-list--bullet {
                    li { code { "matron ledger verify" } ": every entry, every signature, and that history is what it was" }
                    li { code { "matron ledger export --to FOLDER" } ": the same with the tree's tiles, for other programs" }
                    li { code { "matron ledger prove NUMBER --out FILE" } " and " code { "matron ledger verify-proof FILE" } ": one entry" }
                    li { code { "matron ledger cosigned" } ": what witnesses signed" }
                }
            }
        }
    }
}

pub(crate) async fn show(
    State(api): State<Api>,
    Extension(v): Extension<Visitor>,
    Path(index): Path<String>,
) -> Result<Response, Failure> {
    let index: u64 = index.parse().map_err(|_| Failure::not_found("entry"))?;
    let item: Item = api.get(&format!("/api/v1/ledger/{index}"), &v.bearer).await?;
    let body = html! {
        (breadcrumb("/ledger", "Ledger"))
        h1.nhsuk-heading-l { "Entry " (number(item.index)) }
        p.nhsuk-body-l.app-break { (item.told()) }
        dl.nhsuk-summary-list {
            (line("When", words::time(item.at_ms)))
            (line("Kind", words::entry::kind_name(&item.kind)))
            (line("Who saw it", if item.witness == "core" {
                "Core: what a phone said, which the vault could not check"
            } else {
                "The vault itself"
            }))
            (about(&item))
            (line("SHA-256", html! { code.app-break { (item.hash) } }))
            (line("Checked", html! { span data-entry=(item.index) data-hash=(item.hash) { "–" } }))
        }
        (checker("Check this entry"))
        p {
            a href={ "/entries/" (item.index) "/proof" } download={ "entry-" (item.index) ".tlog-proof" } { "Download its proof" }
            ": a file that " code { "matron ledger verify-proof" } " checks without this server."
        }
        details.nhsuk-details {
            summary.nhsuk-details__summary { span.nhsuk-details__summary-text { "What it says, field by field" } }
            .nhsuk-details__text { (fields(&item.summary)) }
        }
    };
    Ok(page(&format!("Entry {index}"), Place::Ledger, Some(&v), body))
}

/// Whom and what it names, each with the way there.
fn about(item: &Item) -> Markup {
    const NAMED: usize = 20;
    let Some(about) = item.body().map(|b| b.about()) else { return html! {} };
    let more = |n: usize| {
        if n > NAMED { format!(" and {} more", number((n - NAMED) as u64)) } else { String::new() }
    };
    html! {
        @if !about.people.is_empty() {
            (line("People", html! { @for p in about.people.iter().take(NAMED) {
                a href=(path("/ledger", &[("person", Some(p.to_string()))])) { code { (p.to_string().get(..8).unwrap_or_default()) } } " "
            } (more(about.people.len())) }))
        }
        @if !about.enrolments.is_empty() {
            (line("Phones", html! { @for e in about.enrolments.iter().take(NAMED) {
                a href={ "/phones/" (e) } { code { (e.to_string().get(..8).unwrap_or_default()) } } " "
            } (more(about.enrolments.len())) }))
        }
    }
}

fn fields(summary: &Value) -> Markup {
    let flat =
        |name: &str, value: &Value| line(&shown(name), html! { span.app-break { (shown(&text(value))) } });
    html! {
        dl.nhsuk-summary-list {
            @if let Value::Object(map) = summary {
                @for (name, value) in map {
                    @match value {
                        Value::Object(inner) => { @for (inner_name, inner_value) in inner { (flat(inner_name, inner_value)) } }
                        other => { (flat(name, other)) }
                    }
                }
            }
        }
    }
}

/// The proof as a file, for the page's script and for whoever keeps it.
pub(crate) async fn proof(
    State(api): State<Api>,
    Extension(v): Extension<Visitor>,
    Path(index): Path<String>,
) -> Response {
    let found = async {
        let index: u64 = index.parse().map_err(|_| Failure::not_found("entry"))?;
        let file = api.get_text(&format!("/api/v1/ledger/{index}/proof"), &v.bearer).await?;
        Ok::<_, Failure>((index, file))
    };
    match found.await {
        Ok((index, file)) => {
            let name = format!("attachment; filename=\"entry-{index}.tlog-proof\"");
            let mut response = file.into_response();
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
            if let Ok(name) = HeaderValue::from_str(&name) {
                headers.insert(CONTENT_DISPOSITION, name);
            }
            response
        }
        Err(f) => f.json(),
    }
}
