//! Coming in and going out.

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::HeaderMap;
use http::header::{HOST, SET_COOKIE, USER_AGENT};
use maud::html;
use order::session::{LIFE_MS, NAMES, SEARCHES};
use serde::Deserialize;

use crate::api::{Api, path};
use crate::layout::{Place, page, status_line};
use crate::session::{self, Bearer};

#[derive(Debug, Deserialize)]
pub(crate) struct SignIn {
    /// Where to go then: a path of our own.
    to: Option<String>,
    joined: Option<String>,
}

/// A cookie takes no longer one.
const MOST_PATH_BYTES: usize = 2048;

/// Only a path on this host: `//elsewhere` and `\elsewhere` are not.
pub(crate) fn own_path(to: Option<String>) -> String {
    // Browsers drop tabs and line ends from addresses.
    to.filter(|t| {
        t.len() <= MOST_PATH_BYTES
            && t.starts_with('/')
            && !t.starts_with("//")
            && !t.contains('\\')
            && !t.contains(char::is_control)
    })
    .unwrap_or_else(|| "/".into())
}

/// Passkeys belong to a name: an address has none.
fn by_name(headers: &HeaderMap, path: &str) -> Option<Response> {
    let host = headers.get(HOST)?.to_str().ok()?;
    let port = host.strip_prefix("127.0.0.1").or_else(|| host.strip_prefix("[::1]"))?;
    let is_port = port.strip_prefix(':').is_some_and(|p| p.bytes().all(|b| b.is_ascii_digit()));
    (port.is_empty() || is_port).then(|| Redirect::to(&format!("//localhost{port}{path}")).into_response())
}

#[derive(Debug, Deserialize)]
struct Oidc {
    configured: bool,
}

pub(crate) async fn sign_in(State(api): State<Api>, headers: HeaderMap, Query(q): Query<SignIn>) -> Response {
    let here = path("/sign-in", &[("to", q.to.clone())]);
    if let Some(moved) = by_name(&headers, &here) {
        return moved;
    }
    let provider = api.get_open::<Oidc>("/api/v1/oidc").await.is_ok_and(|o| o.configured);
    let by_account = path("/sign-in/oidc", &[("to", q.to.clone())]);
    // As the server will see it again: some browsers' scripts are told another name.
    let browser = headers.get(USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let body = html! {
        .nhsuk-grid-row { .nhsuk-grid-column-two-thirds {
            @if q.joined.is_some() {
                .nhsuk-inset-text { p { "You are the first administrator. Sign in with the passkey that you just made." } }
            }
            h1.nhsuk-heading-l { "Sign in" }
            p { "Matron knows you by your passkey: on this device, on your phone, or on a security key." }
            noscript { p.app-status.app-status--bad { "Passkeys need JavaScript; without it you can't sign in here. "
                "The command line can: " code { "matron signin" } "." } }
            form method="dialog" data-door="sign-in" data-to=(own_path(q.to)) data-browser=(browser) {
                .nhsuk-form-group {
                    .nhsuk-checkboxes data-module="nhsuk-checkboxes" {
                        .nhsuk-checkboxes__item {
                            input.nhsuk-checkboxes__input #names name="names" type="checkbox" checked aria-describedby="names-hint";
                            label.nhsuk-label.nhsuk-checkboxes__label for="names" { "Let me open names and search" }
                            .nhsuk-hint.nhsuk-checkboxes__hint #names-hint {
                                (NAMES) " names and " (SEARCHES) " searches in the next " (words::span(LIFE_MS)) ", each in the ledger. Untick it to see masks alone, "
                                "as auditors do."
                            }
                        }
                    }
                }
                (status_line())
                button.nhsuk-button type="submit" { "Sign in with a passkey" }
            }
            @if provider {
                h2.nhsuk-heading-m { "Only to look" }
                p #account-hint { "With your organisation's account you read what is masked. Opening a name or changing a phone takes a passkey." }
                p { a.nhsuk-button.nhsuk-button--secondary href=(by_account) role="button" aria-describedby="account-hint" {
                    "Sign in with your organisation's account"
                } }
            }
            h2.nhsuk-heading-m { "Lost your phone?" }
            p { "Whoever holds one of the hospital's phones reports it lost, and sees what the hospital can see of it, with their holder's card: "
                a href="/my-phone" { "my phone" } "." }
            details.nhsuk-details {
                summary.nhsuk-details__summary { span.nhsuk-details__summary-text { "I have no passkey here" } }
                .nhsuk-details__text {
                    p { "An administrator adds you, and you register a passkey with what they send you. If yours is lost, use your "
                        "second one; or two administrators add you anew. Nobody at Matron's server can let you in." }
                }
            }
        } }
    };
    page("Sign in", Place::Nowhere, None, body)
}

pub(crate) async fn join(headers: HeaderMap) -> Response {
    // What stands behind # stays with the browser and goes along.
    if let Some(moved) = by_name(&headers, "/join") {
        return moved;
    }
    let body = html! {
        .nhsuk-grid-row { .nhsuk-grid-column-two-thirds {
            h1.nhsuk-heading-l { "Become the first administrator" }
            p { "Matron printed a token at its first start. It works once: it makes your passkey the first one that may sign orders here." }
            noscript { p.app-status.app-status--bad { "Passkeys need JavaScript. " code { "matron admin join" } " does not." } }
            form method="dialog" data-door="join" {
                .nhsuk-form-group {
                    label.nhsuk-label for="token" { "Token" }
                    .nhsuk-hint #token-hint { "It begins with matron-join-. It stays in this browser." }
                    input.nhsuk-input #token name="token" type="password" autocomplete="off" spellcheck="false" aria-describedby="token-hint" required;
                }
                .nhsuk-form-group {
                    label.nhsuk-label for="name" { "Your name" }
                    .nhsuk-hint #name-hint { "It is sealed before it leaves this page." }
                    input.nhsuk-input.nhsuk-input--width-20 #name name="name" type="text" autocomplete="name" aria-describedby="name-hint" required maxlength="200";
                }
                (status_line())
                button.nhsuk-button type="submit" { "Make my passkey and join" }
            }
            p.nhsuk-hint { "Do the same with a second passkey soon, on another device: there is no other way back in when one is lost." }
        } }
    };
    page("Become the first administrator", Place::Nowhere, None, body)
}

pub(crate) async fn register(headers: HeaderMap) -> Response {
    if let Some(moved) = by_name(&headers, "/register") {
        return moved;
    }
    let body = html! {
        .nhsuk-grid-row { .nhsuk-grid-column-two-thirds {
            h1.nhsuk-heading-l { "Make a passkey" }
            p { "The link that brought you here comes from " code { "matron admin add-key --passkey" } " or "
                code { "matron people add --passkey" } ". The passkey counts once the person at that terminal has signed for it." }
            noscript { p.app-status.app-status--bad { "Passkeys need JavaScript." } }
            form method="dialog" data-door="register" {
                (status_line())
                button.nhsuk-button type="submit" { "Make a passkey on this device" }
            }
        } }
    };
    page("Make a passkey", Place::Nowhere, None, body)
}

/// Forgets the cookie, and has the API forget the session.
pub(crate) async fn sign_out(State(api): State<Api>, headers: HeaderMap) -> Response {
    if let Some(bearer) = Bearer::of_cookie(&headers) {
        api.delete("/api/v1/session", &bearer).await;
    }
    ([(SET_COOKIE, session::clear())], Redirect::to("/sign-in")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_the_sign_in_one_stays_on_this_host() {
        for (to, path) in [
            ("/phones/0011?x=1", "/phones/0011?x=1"),
            ("//elsewhere.example", "/"),
            ("https://elsewhere.example", "/"),
            ("/\\elsewhere.example", "/"),
            ("/\t/elsewhere.example", "/"),
            ("/\n/elsewhere.example", "/"),
            ("javascript:0", "/"),
            ("", "/"),
        ] {
            assert_eq!(own_path(Some(to.into())), path, "{to}");
        }
    }
}
