//! What every page has around it.

use axum::response::{Html, IntoResponse, Response};
use http::StatusCode;
use maud::{DOCTYPE, Markup, html};

use crate::api::{Failure, sentence};
use crate::assets;
use crate::guard::Visitor;
use crate::session::Bearer;

/// Where a page stands in the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Overview,
    Phones,
    DeviceGroups,
    Invite,
    Approvals,
    Commands,
    Profiles,
    Health,
    Ledger,
    People,
    /// In none of its parts.
    Nowhere,
}

const PLACES: &[(Place, &str, &str)] = &[
    (Place::Overview, "/", "Overview"),
    (Place::Phones, "/phones", "Phones"),
    (Place::DeviceGroups, "/device-groups", "Device groups"),
    (Place::Invite, "/invite", "Invite"),
    (Place::Approvals, "/approvals", "Approvals"),
    (Place::Commands, "/commands", "Commands"),
    (Place::Profiles, "/profiles", "Profiles"),
    (Place::People, "/people", "People and roles"),
    (Place::Ledger, "/ledger", "Ledger"),
    (Place::Health, "/health", "Health"),
];

/// What tells of every group is no place for someone who is held to one; the API would say no.
fn is_for(place: Place, visitor: &Visitor) -> bool {
    let grouped =
        visitor.session.group.is_some() && matches!(place, Place::Ledger | Place::People | Place::Health);
    let nothing_to_do = visitor.only_reads() && place == Place::Invite;
    !(grouped || nothing_to_do)
}

/// What a page says of itself; `token`: whose forms the script sends.
fn head(title: &str, token: Option<&Bearer>) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            title { (title) " – Matron" }
            @if let Some(bearer) = token {
                meta name="matron-token" content=(bearer.form_token());
            }
            link rel="stylesheet" href=(assets::style());
            link rel="icon" href="data:,";
            script type="module" src=(assets::script()) {}
        }
    }
}

/// A whole page.
pub(crate) fn page(title: &str, place: Place, visitor: Option<&Visitor>, body: Markup) -> Response {
    let markup = html! {
        (DOCTYPE)
        html lang="en-GB" {
            (head(title, visitor.map(|v| &v.bearer)))
            body {
                a.nhsuk-skip-link href="#maincontent" data-module="nhsuk-skip-link" { "Skip to main content" }
                (header(place, visitor))
                .nhsuk-width-container {
                    main.nhsuk-main-wrapper #maincontent role="main" { (body) }
                }
                @if visitor.is_some_and(|v| !v.only_reads()) { (order_dialog()) }
            }
        }
    };
    Html(markup.into_string()).into_response()
}

/// A page for a phone's holder: nothing around it leads to the administrators' pages.
pub(crate) fn holders_page(title: &str, bearer: Option<&Bearer>, body: Markup) -> Response {
    let markup = html! {
        (DOCTYPE)
        html lang="en-GB" {
            (head(title, None))
            body {
                a.nhsuk-skip-link href="#maincontent" data-module="nhsuk-skip-link" { "Skip to main content" }
                header.nhsuk-header role="banner" data-module="nhsuk-header" {
                    .nhsuk-header__container.nhsuk-width-container {
                        .nhsuk-header__service { a.nhsuk-header__service-name href="/my-phone" { "My phone" } }
                    }
                }
                .nhsuk-width-container {
                    main.nhsuk-main-wrapper #maincontent role="main" {
                        @if bearer.is_some() { p.app-connection data-connection="" role="status" hidden {} }
                        (body)
                    }
                }
            }
        }
    };
    Html(markup.into_string()).into_response()
}

fn header(place: Place, visitor: Option<&Visitor>) -> Markup {
    html! {
        header.nhsuk-header role="banner" data-module="nhsuk-header" {
            .nhsuk-header__container.nhsuk-width-container {
                .nhsuk-header__service {
                    a.nhsuk-header__service-name href="/" { "Matron" }
                }
                @if let Some(v) = visitor {
                    nav.nhsuk-header__account aria-label="Account" {
                        ul.nhsuk-header__account-list {
                            li.nhsuk-header__account-item { (role(v)) }
                            li.nhsuk-header__account-item {
                                form.nhsuk-header__account-form method="post" action="/sign-out" {
                                    button.nhsuk-header__account-button { "Sign out" }
                                }
                            }
                        }
                    }
                }
            }
            @if let Some(v) = visitor {
                nav.nhsuk-header__navigation aria-label="Menu" {
                    .nhsuk-header__navigation-container.nhsuk-width-container {
                        ul.nhsuk-header__navigation-list {
                            @for (of, path, name) in PLACES.iter().filter(|p| is_for(p.0, v)) {
                                li.nhsuk-header__navigation-item.nhsuk-header__navigation-item--current[*of == place] {
                                    a.nhsuk-header__navigation-link href=(path) aria-current=[(*of == place).then_some("page")] {
                                        (name)
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn role(v: &Visitor) -> String {
    let role = v.reads_as().map_or("someone", words::limits::role);
    let only = if v.only_reads() { ", reading only" } else { "" };
    match &v.session.group {
        Some(group) => format!("{role}, {group}{only}"),
        None => format!("{role}{only}"),
    }
}

/// Shows what is about to be signed; the page's script fills it.
fn order_dialog() -> Markup {
    html! {
        dialog.app-dialog #order aria-labelledby="order-title" aria-describedby="order-words" {
            form method="dialog" {
                h2.nhsuk-heading-m #order-title tabindex="-1" { "You are about to sign this" }
                dl.nhsuk-summary-list #order-words {}
                .nhsuk-warning-callout data-warning="" hidden {
                    h3.nhsuk-warning-callout__label { "Important" }
                    p data-warning-text="" {}
                }
                p.nhsuk-hint { "Your passkey signs exactly this, and it stands in the ledger for good." }
                .nhsuk-button-group {
                    button.nhsuk-button type="submit" value="sign" { "Sign with your passkey" }
                    button.nhsuk-button.nhsuk-button--secondary type="submit" value="cancel" formnovalidate { "Cancel" }
                }
            }
        }
    }
}

/// A page that leads on by itself, at once and without a script: from a page of our own the browser sends the session's
/// cookie along, from the provider's it does not (`SameSite=Strict`).
pub(crate) fn moved_on(title: &str, to: &str) -> Response {
    let to = if to.starts_with('/') { to } else { "/" };
    let markup = html! {
        (DOCTYPE)
        html lang="en-GB" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="refresh" content={ "0;url=" (to) };
                title { (title) " – Matron" }
                link rel="stylesheet" href=(assets::style());
                link rel="icon" href="data:,";
            }
            body {
                .nhsuk-width-container { main.nhsuk-main-wrapper #maincontent role="main" {
                    h1.nhsuk-heading-l { (title) }
                    p { a href=(to) { "Go on" } }
                } }
            }
        }
    };
    Html(markup.into_string()).into_response()
}

/// A page that could not be made, with the navigation of whoever is signed in.
pub(crate) fn failed(f: &Failure, visitor: Option<&Visitor>) -> Response {
    let title = match f.status {
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::FORBIDDEN => "Not allowed",
        StatusCode::SERVICE_UNAVAILABLE => "Not just now",
        s if s.is_client_error() => "That can't be shown",
        _ => "Something went wrong",
    };
    let body = html! {
        h1.nhsuk-heading-l { (title) }
        p { (sentence(&f.detail)) }
        @if !f.request.is_empty() {
            p.nhsuk-hint { "Request " code { (f.request) } ", as the log has it." }
        }
        p { a href="/" { "Back to the start" } }
    };
    let mut response = page(title, Place::Nowhere, visitor, body);
    *response.status_mut() = f.status;
    response
}

/// Text that came from a phone or a person: shown as it is, but nothing in it turns the direction of writing.
pub(crate) fn shown(text: &str) -> String {
    const MOST: usize = 300;
    let plain = words::line(text);
    match plain.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", plain.get(..at).unwrap_or_default()),
        None => plain,
    }
}

/// A moment: how long ago, and exactly when as its title.
pub(crate) fn ago(at_ms: Option<i64>, now_ms: i64) -> Markup {
    match at_ms {
        Some(at) => html! { time title=(words::time(at)) { (words::ago(Some(at), now_ms)) } },
        None => html! { "never" },
    }
}

/// The line in which a form's script says what came of it.
pub(crate) fn status_line() -> Markup {
    html! { p.app-status role="status" aria-live="polite" data-status="" {} }
}
