//! How the house is: its rooms, what runs out, the ledger and its witness; and what only the host can tell.

use std::collections::BTreeMap;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::parts::{Mood, cell, heads, line, number, tag, title_row, until};
use crate::api::{Api, Failure, sentence};
use crate::guard::Visitor;
use crate::layout::{Place, ago, page, shown};

#[derive(Debug, Deserialize)]
struct Health {
    status: String,
    version: String,
    base_url: String,
    vault: Vault,
    door: Door,
    courier: Courier,
    database: String,
    ledger_followed: u64,
    open_commands: u64,
    deferred_commands: u64,
    words_waiting: u64,
    renewal: Renewal,
    endings: Vec<Ending>,
    witness: Option<Witness>,
    refused: Vec<Refused>,
    warnings: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Refused {
    what: String,
    since_start: u64,
    last_hour: u64,
}

#[derive(Debug, Deserialize)]
struct Vault {
    answers: bool,
    entries: u64,
    refused_orders: u64,
    following: String,
}

#[derive(Debug, Deserialize)]
struct Door {
    answers: bool,
    counters: BTreeMap<String, u64>,
}

#[derive(Debug, Deserialize)]
struct Courier {
    answers: bool,
    configured: bool,
    topic: String,
    accepted: u64,
    failed: u64,
    last_error: String,
    alarms: Alarms,
}

#[derive(Debug, Deserialize)]
struct Alarms {
    connected: bool,
    lost: u64,
    destinations: Vec<Destination>,
}

#[derive(Debug, Deserialize)]
struct Destination {
    name: String,
    delivered: u64,
    waiting: u64,
    last_delivered_at_ms: Option<i64>,
    last_error: String,
}

#[derive(Debug, Deserialize)]
struct Renewal {
    phones: BTreeMap<String, u64>,
}

#[derive(Debug, Deserialize)]
struct Ending {
    what: String,
    ends_at_ms: Option<i64>,
    state: String,
}

#[derive(Debug, Deserialize)]
struct Witness {
    entries: u64,
    cosigned: Vec<Cosigned>,
}

#[derive(Debug, Deserialize)]
struct Cosigned {
    name: String,
    at_ms: Option<i64>,
}

pub(crate) async fn show(
    State(api): State<Api>,
    Extension(v): Extension<Visitor>,
) -> Result<Response, Failure> {
    let health: Health = api.get("/api/v1/health", &v.bearer).await?;
    let now_ms = v.session.now_ms;
    let body = html! {
        (title_row("Health"))
        #health data-live { (summary(&health)) (rooms(&health)) (endings(&health, now_ms)) (history(&health, now_ms)) (refused(&health.refused)) (alarms(&health, now_ms)) }
        (on_the_host())
    };
    Ok(page("Health", Place::Health, Some(&v), body))
}

fn summary(h: &Health) -> Markup {
    html! {
        @if h.warnings.is_empty() && h.status == "ok" {
            .nhsuk-inset-text { p { "Every room that can be asked answers, and nothing needs doing." } }
        } @else {
            .nhsuk-warning-callout {
                h2.nhsuk-warning-callout__label { "To look at" }
                @if h.warnings.is_empty() {
                    p { "A room does not answer, or the last thing it did failed: see below." }
                } @else {
                    ul.nhsuk-list.nhsuk-list--bullet { @for w in &h.warnings { li { (sentence(&shown(w))) } } }
                }
            }
        }
        dl.nhsuk-summary-list {
            (line("Version", html! { (h.version) ", in every room" }))
            (line("Phones come to", html! { span.app-break { (shown(&h.base_url)) } }))
            (line("Commands under way", html! { (number(h.open_commands)) ", of which " (number(h.deferred_commands)) " were put off by their phone (NotNow)" }))
        }
    }
}

/// A room: its name, what it does, how it is, what it says.
struct Room<'a>(&'a str, &'a str, Markup, Markup);

fn answers(yes: bool) -> Markup {
    if yes { tag(Mood::Good, "Answers") } else { tag(Mood::Bad, "Does not answer") }
}

fn rooms(h: &Health) -> Markup {
    let counted = |name: &str| number(h.door.counters.get(name).copied().unwrap_or(0));
    let kept_back: u64 = ["refused_unlisted_total", "refused_warrants_total"]
        .iter()
        .filter_map(|name| h.door.counters.get(*name))
        .sum();
    let followed = match h.vault.following.as_str() {
        "following" => tag(Mood::Good, "Answers"),
        "waiting" => tag(Mood::Look, "Waiting"),
        _ => tag(Mood::Bad, "Not followed"),
    };
    let rooms = [
        Room(
            "Door",
            "keeps the phones' connections",
            answers(h.door.answers),
            html! { @if h.door.answers {
                (counted("connections_total")) " connections and " (counted("requests_total")) " requests since it started; "
                (number(kept_back)) " answers were kept back, since they had no valid warrant or are on no list"
            } },
        ),
        Room(
            "Reader",
            "parses what phones say, and seals it",
            tag(Mood::Unknown, "Not asked"),
            html! {
                "It stands behind the door and core can't speak to it. While it is away phones get 503: "
                (counted("unavailable_total")) " such answers since the door started"
            },
        ),
        Room(
            "Core",
            "the database, the rules, these pages",
            if h.database.is_empty() { tag(Mood::Good, "Answers") } else { tag(Mood::Bad, "Keeps nothing") },
            html! { @if h.database.is_empty() { "The database keeps what is written" } @else { (shown(&h.database)) } },
        ),
        Room(
            "Vault",
            "keys, people, the ledger",
            if h.vault.answers { followed } else { answers(false) },
            html! {
                @if h.vault.answers {
                    (number(h.vault.entries)) " entries in the ledger; " (number(h.vault.refused_orders)) " orders refused since it started"
                }
                @if h.vault.following != "following" && h.vault.following != "waiting" { "; " (shown(&h.vault.following)) }
            },
        ),
        Room(
            "Courier",
            "wakes phones by Apple's push service, sends alarms",
            answers(h.courier.answers),
            html! { @if h.courier.answers {
                @if h.courier.configured {
                    (number(h.courier.accepted)) " pushes accepted, " (number(h.courier.failed)) " failed; topic " span.app-break { (shown(&h.courier.topic)) }
                    @if !h.courier.last_error.is_empty() { "; the last failure: " (shown(&h.courier.last_error)) }
                } @else { "No push certificate: phones come when they come, nobody wakes them" }
            } },
        ),
    ];
    html! {
        section aria-labelledby="h-rooms" {
            h2.nhsuk-heading-m #h-rooms { "Rooms" }
            table.nhsuk-table.nhsuk-table-responsive role="table" {
                caption.nhsuk-u-visually-hidden { "Rooms" }
                (heads(&["Room", "What it does", "State", "What it says"]))
                tbody.nhsuk-table__body { @for Room(name, does, state, says) in rooms {
                    tr.nhsuk-table__row role="row" {
                        (cell("Room", html! { strong { (name) } }))
                        (cell("What it does", does))
                        (cell("State", state))
                        (cell("What it says", says))
                    }
                } }
            }
        }
    }
}

/// What ends, in words, and what to do about it.
fn ending(what: &str) -> (&str, &str) {
    match what {
        "key_statement" => ("The vault's key statement", "the vault renews it by itself"),
        "tls_certificate" => {
            ("The phones' TLS certificate", "renewed by itself where the house made it or ACME does")
        }
        "push_certificate" => ("The push certificate", "matron push csr, under the same Apple ID"),
        "standing_renewal" => {
            ("The standing order that renews the phones' certificates", "matron standing make")
        }
        other => (other, ""),
    }
}

fn endings(h: &Health, now_ms: i64) -> Markup {
    let state = |state: &str| match state {
        "fine" => tag(Mood::Good, "Fine"),
        "soon" => tag(Mood::Look, "Soon"),
        "ended" => tag(Mood::Bad, "Has ended"),
        "none" => tag(Mood::Look, "There is none"),
        _ => tag(Mood::Unknown, "Not known"),
    };
    let phones = |of: &str| h.renewal.phones.get(of).copied().unwrap_or(0);
    html! {
        section aria-labelledby="h-endings" {
            h2.nhsuk-heading-m #h-endings { "What runs out" }
            table.nhsuk-table.nhsuk-table-responsive role="table" {
                caption.nhsuk-u-visually-hidden { "What runs out" }
                (heads(&["What", "State", "Ends", "Renewed by"]))
                tbody.nhsuk-table__body { @for e in &h.endings {
                    @let (name, by) = ending(&e.what);
                    tr.nhsuk-table__row role="row" {
                        (cell("What", name))
                        (cell("State", state(&e.state)))
                        (cell("Ends", e.ends_at_ms.map_or_else(|| "–".to_owned(), |at| until(at, now_ms))))
                        (cell("Renewed by", by))
                    }
                } }
            }
            p {
                "Phones' own certificates: " (number(phones("due"))) " due, " (number(phones("asked"))) " asked to renew, "
                (number(phones("late"))) " late, " (number(phones("expired"))) " run out. "
                code { "matron certificates" } " lists them."
            }
        }
    }
}

fn history(h: &Health, now_ms: i64) -> Markup {
    html! {
        section aria-labelledby="h-history" {
            h2.nhsuk-heading-m #h-history { "Ledger and witness" }
            dl.nhsuk-summary-list {
                (line("Entries followed", html! { (number(h.ledger_followed)) " of " (number(h.vault.entries)) }))
                (line("Waiting to be written", html! { (number(h.words_waiting)) " of what phones said" }))
                (line("Witness", witness(h, now_ms)))
            }
        }
    }
}

fn witness(h: &Health, now_ms: i64) -> Markup {
    match &h.witness {
        None => html! {
            (tag(Mood::Look, "None"))
            " No witness has handed a cosignature back. Until one does, whoever is root on this host could rewrite history unseen."
        },
        Some(w) => html! {
            "The first " (number(w.entries)) " entries were cosigned by "
            @for (n, c) in w.cosigned.iter().enumerate() {
                @if n > 0 { ", " }
                span.app-break { (shown(&c.name)) }
                @if c.at_ms.is_some() { " (" (ago(c.at_ms, now_ms)) ")" }
            }
            ". This is what was handed back; " code { "matron ledger cosigned --witness-key" } " checks the signatures."
        },
    }
}

fn refused(all: &[Refused]) -> Markup {
    html! {
        section aria-labelledby="h-refused" {
            h2.nhsuk-heading-m #h-refused { "Turned away" }
            @if all.is_empty() {
                p { "Nothing was turned away since core started." }
            } @else {
                table.nhsuk-table.nhsuk-table-responsive role="table" {
                    caption.nhsuk-u-visually-hidden { "What was turned away" }
                    (heads(&["What", "In the last hour", "Since core started"]))
                    tbody.nhsuk-table__body { @for r in all {
                        tr.nhsuk-table__row role="row" data-refused=(r.what) {
                            (cell("What", sentence(&shown(words::refused(&r.what)))))
                            (cell("In the last hour", number(r.last_hour)))
                            (cell("Since core started", number(r.since_start)))
                        }
                    } }
                }
                p { "Some of it is everyday: a session ends, a phone comes late. Many in an hour are somebody who tries." }
            }
        }
    }
}

fn alarms(h: &Health, now_ms: i64) -> Markup {
    let a = &h.courier.alarms;
    html! {
        section aria-labelledby="h-alarms" {
            h2.nhsuk-heading-m #h-alarms { "Alarms" }
            @if a.destinations.is_empty() {
                p { "No destination is configured: alarms of the vault (a refused certificate, a ledger that was changed) stay in its "
                    "log. docs/configuration.md says how to have them by webhook, syslog or e-mail." }
            } @else {
                table.nhsuk-table.nhsuk-table-responsive role="table" {
                    caption.nhsuk-u-visually-hidden { "Where alarms go" }
                    (heads(&["Destination", "State", "Delivered", "Waiting", "Last delivered"]))
                    tbody.nhsuk-table__body { @for d in &a.destinations {
                        tr.nhsuk-table__row role="row" {
                            (cell("Destination", shown(&d.name)))
                            (cell("State", html! { @if d.last_error.is_empty() { (tag(Mood::Good, "Fine")) } @else { (tag(Mood::Bad, "Fails")) " " (shown(&d.last_error)) } }))
                            (cell("Delivered", number(d.delivered)))
                            (cell("Waiting", number(d.waiting)))
                            (cell("Last delivered", ago(d.last_delivered_at_ms, now_ms)))
                        }
                    } }
                }
            }
            @if h.courier.answers && !a.connected {
                p { "The courier has lost the vault's pipe: no alarm gets through." }
            }
            @if a.lost > 0 { p { (number(a.lost)) " alarms found no room and are lost." } }
        }
    }
}

/// What these pages can't know, said plainly.
fn on_the_host() -> Markup {
    html! {
        section aria-labelledby="h-host" {
            h2.nhsuk-heading-m #h-host { "What only the host can tell" }
            p { "Core is shut in and sees none of this; run " code { "matron doctor" } " there:" }
            ul.nhsuk-list.nhsuk-list--bullet {
                li { "when the last backup was made; " code { "matron backup" } " makes and rehearses one" }
                li { "whether the kernel holds each room, the reader too, to its task" }
                li { "who may read the data folder, how full the disk is, whether the clock is right" }
                li { "the chain of the TLS certificate as a phone sees it: " code { "matron doctor --phone-ready" } }
                li { "whether a test alarm arrives: " code { "matron doctor --alarms" } }
            }
        }
    }
}
