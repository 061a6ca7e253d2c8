//! My phone: for a phone's holder, who has no account here but the code of the holder's card. Everything works without
//! JavaScript: whoever needs this page is at a borrowed computer, in a hurry.

use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::SET_COOKIE;
use http::{HeaderMap, StatusCode};
use maud::{Markup, html};
use order::{HolderCode, sha256};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::parts::line;
use crate::api::{Api, Failure, Peer, sentence};
use crate::guard::is_drawn_in_by_another_site;
use crate::layout::{ago, holders_page, shown};
use crate::session::{self, Bearer};
use crate::shapes::{HolderAsked, HolderDone, MyPhone};

const HERE: &str = "/my-phone";
const LOST: &str = "/my-phone/lost";

/// A page that stands open asks again, and nobody who sits there (live.js).
fn asks_for_itself(headers: &HeaderMap) -> bool {
    headers.contains_key(session::LIVE)
}

/// The one field of that name in a form that the browser sent by itself; two are none.
fn field(form: &[u8], name: &str) -> Option<Zeroizing<String>> {
    let mut found = form_urlencoded::parse(form).filter(|(key, _)| key == name).map(|(_, value)| value);
    let value = Zeroizing::new(found.next()?.into_owned());
    found.next().is_none().then_some(value)
}

pub(crate) async fn show(State(api): State<Api>, headers: HeaderMap) -> Response {
    let Some(bearer) = Bearer::of_holders_cookie(&headers) else {
        // A page that stands open asks: it must not take the form for its newest state.
        return if asks_for_itself(&headers) {
            signed_out(&api, StatusCode::UNAUTHORIZED)
        } else {
            sign_in_page(&api, None)
        };
    };
    if is_drawn_in_by_another_site(&headers) {
        return sign_in_page(&api, Some("Another site asked for this: open it here."));
    }
    match api.get::<MyPhone>("/api/v1/my-phone", &bearer).await {
        Ok(phone) => holders_page("Your phone", Some(&bearer), whole(&phone, &bearer)),
        Err(f) if f.status == StatusCode::UNAUTHORIZED && asks_for_itself(&headers) => {
            signed_out(&api, f.status)
        }
        Err(f) if f.status == StatusCode::UNAUTHORIZED => signed_out(&api, StatusCode::OK),
        Err(f) => f.into_response(),
    }
}

/// Whose session ended has to type the code again: the cookie is of no use any more.
fn signed_out(api: &Api, status: StatusCode) -> Response {
    let mut page = sign_in_page(
        api,
        Some(
            "You are signed out: 20 minutes are over, a new card was made, or this phone's page was opened in other places. Type the code again.",
        ),
    );
    *page.status_mut() = status;
    if status != StatusCode::OK {
        // Whoever sits there has not been told yet: the next page that they open does.
        return page;
    }
    ([(SET_COOKIE, session::holder::clear())], page).into_response()
}

pub(crate) async fn sign_in(State(api): State<Api>, peer: Peer, headers: HeaderMap, form: Bytes) -> Response {
    let typed = field(&form, "code").unwrap_or_default();
    let signed_in = async {
        let secret = Zeroizing::new(session::fresh()?);
        let bearer = Bearer::of_holder(&secret, &headers);
        let asked = json!({ "code": typed.as_str(), "session": sha256(bearer.secret()) });
        api.post_from::<Value>("/api/v1/my-phone/session", peer, &asked).await?;
        // Only now: a wrong code ends nothing.
        if let Some(before) = Bearer::of_holders_cookie(&headers) {
            api.delete("/api/v1/my-phone/session", &before).await;
        }
        Ok::<_, Failure>(session::holder::set(&URL_SAFE_NO_PAD.encode(secret.as_slice())))
    };
    match signed_in.await {
        Ok(cookie) => ([(SET_COOKIE, cookie)], Redirect::to(HERE)).into_response(),
        Err(f) => {
            let why = format!("{} {}", sentence(&f.detail), misshapen(&typed).unwrap_or_default());
            let mut response = sign_in_page(&api, Some(why.trim_end()));
            *response.status_mut() = f.status;
            response
        }
    }
}

/// Whoever reloads after a wrong code, or comes back to that address.
pub(crate) async fn to_the_page() -> Redirect {
    Redirect::to(HERE)
}

pub(crate) async fn sign_out(State(api): State<Api>, headers: HeaderMap) -> Response {
    if let Some(bearer) = Bearer::of_holders_cookie(&headers) {
        api.delete("/api/v1/my-phone/session", &bearer).await;
    }
    ([(SET_COOKIE, session::holder::clear())], Redirect::to(HERE)).into_response()
}

/// Asks once more, on a page of its own.
pub(crate) async fn sure(State(api): State<Api>, headers: HeaderMap) -> Response {
    let Some(bearer) = Bearer::of_holders_cookie(&headers) else { return Redirect::to(HERE).into_response() };
    match api.get::<MyPhone>("/api/v1/my-phone", &bearer).await {
        Ok(phone) if may_be_lost(&phone.lost_mode) => {
            holders_page("Is your phone lost?", Some(&bearer), are_you_sure(&bearer))
        }
        _ => Redirect::to(HERE).into_response(),
    }
}

pub(crate) async fn lose(State(api): State<Api>, headers: HeaderMap, form: Bytes) -> Response {
    ask(&api, &headers, &form, "/api/v1/my-phone/lost-mode").await
}

pub(crate) async fn ring(State(api): State<Api>, headers: HeaderMap, form: Bytes) -> Response {
    ask(&api, &headers, &form, "/api/v1/my-phone/ring").await
}

async fn ask(api: &Api, headers: &HeaderMap, form: &[u8], path: &str) -> Response {
    let Some(bearer) = Bearer::of_holders_cookie(headers) else { return signed_out(api, StatusCode::OK) };
    // Known to our own pages of this session alone. (That no other site's page sends it stands before: `guard::same_origin`.)
    if field(form, "token").is_none_or(|token| *token != bearer.form_token()) {
        return not_done(
            api,
            "The page is of another session. Nothing was done: go back and try again.",
            &bearer,
        );
    }
    match api.post_nothing(path, &bearer).await {
        Ok(()) => Redirect::to(HERE).into_response(),
        Err(f) if f.status == StatusCode::UNAUTHORIZED => signed_out(api, StatusCode::OK),
        Err(f) => {
            let mut response = not_done(api, &sentence(&f.detail), &bearer);
            *response.status_mut() = f.status;
            response
        }
    }
}

fn not_done(api: &Api, why: &str, bearer: &Bearer) -> Response {
    let body = html! {
        h1.nhsuk-heading-l { "That was not done" }
        p { (why) }
        p { "Is it urgent? Call the service desk" (number(api)) "." }
        p { a href=(HERE) { "Back to your phone" } }
    };
    holders_page("That was not done", Some(bearer), body)
}

/// The service desk's number behind its name, if the configuration has one.
fn number(api: &Api) -> Markup {
    html! { @if let Some(number) = &api.call { ": " strong { (shown(number)) } } }
}

/// What is wrong with the shape of what was typed, so that whoever types it again knows where to look. It says nothing of
/// which code would be right, and repeats nothing of what was typed: that may be all but one letter of a good one, and the
/// computer is a borrowed one. So the field is empty again, too: a code is a secret as a whole, no part of it is a name.
fn misshapen(typed: &str) -> Option<String> {
    let plain = |c: &char| !c.is_whitespace() && !matches!(c, '-' | '\u{2010}'..='\u{2015}');
    let letters: Vec<char> = typed.chars().filter(plain).map(|c| c.to_ascii_lowercase()).collect();
    let known = |c: &char| u8::try_from(*c).is_ok_and(|b| HolderCode::ALPHABET.contains(&b));
    if let Some(at) = letters.iter().position(|c| !known(c)) {
        return Some(format!(
            "No card has the sign that you typed in the place {} of group {}: there is no letter l or o, no 0 and no 1 on them.",
            at % 4 + 1,
            at / 4 + 1
        ));
    }
    let (typed, wanted) = (letters.len(), HolderCode::CHARACTERS);
    (typed != wanted).then(|| format!("You typed {typed} letters and digits; a code has {wanted}."))
}

fn sign_in_page(api: &Api, wrong: Option<&str>) -> Response {
    let body = html! {
        .nhsuk-grid-row { .nhsuk-grid-column-two-thirds {
            h1.nhsuk-heading-l { "My phone" }
            p { "For whoever holds one of the hospital's phones: report it lost, make it ring, and see what the hospital can see of it." }
            form method="post" action="/my-phone/session" #holder-sign-in autocomplete="off" {
                .nhsuk-form-group.nhsuk-form-group--error[wrong.is_some()] {
                    label.nhsuk-label.nhsuk-label--m for="code" { "The code of your holder's card" }
                    .nhsuk-hint #code-hint { "Five groups of four letters and digits. Capitals, hyphens and spaces don't matter." }
                    @if let Some(wrong) = wrong {
                        span.nhsuk-error-message #code-error role="alert" { span.nhsuk-u-visually-hidden { "Error: " } (wrong) }
                    }
                    input.nhsuk-input.nhsuk-input--code.nhsuk-input--width-20.nhsuk-input--error[wrong.is_some()] #code name="code" type="text"
                        required maxlength="64" autocomplete="off" autocapitalize="none" autocorrect="off" spellcheck="false"
                        aria-invalid=[wrong.map(|_| "true")]
                        aria-describedby=(if wrong.is_some() { "code-hint code-error" } else { "code-hint" });
                }
                button.nhsuk-button type="submit" { "Open my phone's page" }
            }
            h2.nhsuk-heading-m { "No card, or it was with the phone?" }
            p { "Call the service desk" (number(api)) ". They can put the phone in lost mode at once, and make you a new card." }
        } }
    };
    holders_page(if wrong.is_some() { "Error: My phone" } else { "My phone" }, None, body)
}

fn are_you_sure(bearer: &Bearer) -> Markup {
    html! {
        .nhsuk-grid-row { .nhsuk-grid-column-two-thirds {
            h1.nhsuk-heading-l { "Is your phone lost?" }
            p { "In lost mode nobody can use it, you neither. Its screen says that it is lost, whom it belongs to, and whom to call if the hospital has given a number. "
                "Nothing on it is deleted." }
            p { "You can't end lost mode from here, so that whoever has your phone and your card can't either: the service desk does, once you have it back." }
            form method="post" action="/my-phone/lost-mode" {
                input type="hidden" name="token" value=(bearer.form_token());
                .nhsuk-button-group {
                    button.nhsuk-button.nhsuk-button--warning type="submit" data-module="nhsuk-button" data-prevent-double-click="true" { "Yes, turn lost mode on" }
                    a href=(HERE) { "No, go back" }
                }
            }
        } }
    }
}

/// Whether there is use in asking for lost mode (again).
fn may_be_lost(a: &HolderAsked) -> bool {
    a.can == "yes" && !matches!(a.state.as_str(), "asked" | "on")
}

fn whole(phone: &MyPhone, bearer: &Bearer) -> Markup {
    let now_ms = phone.now_ms;
    let waits = phone.lost_mode.state == "asked" || phone.ring.state == "asked";
    html! {
        .app-title-row {
            h1.nhsuk-heading-l { "Your phone" }
            form method="post" action="/my-phone/sign-out" { button.nhsuk-button.nhsuk-button--secondary.nhsuk-button--small { "Sign out" } }
        }
        // Read aloud when it changes: short, and without times, which change by themselves.
        p.nhsuk-u-visually-hidden #news role="status" data-live { (news(phone)) }
        #lost data-live data-poll=(if waits { "now" } else { "later" }) {
            p { (shown(phone.model.as_deref().map_or("A phone", words::model)))
                @if let Some(os) = &phone.os_version { ", system " (shown(os)) }
                ". Last contact " (ago(phone.last_seen_ms, now_ms)) "." }
            section.app-lost aria-labelledby="h-lost" {
                h2.nhsuk-heading-m #h-lost { "If it is lost" }
                (if_lost(phone, bearer))
                @if let Some(number) = &phone.call { p { "The service desk: " strong { (shown(number)) } } }
            }
        }
        section aria-labelledby="h-sees" {
            h2.nhsuk-heading-m #h-sees { "What the hospital can see" }
            dl.nhsuk-summary-list {
                (line("Model", html! { (shown(phone.model.as_deref().map_or("not reported", words::model))) }))
                (line("System version", html! { (shown(phone.os_version.as_deref().unwrap_or("not reported"))) }))
                (line("Last contact", ago(phone.last_seen_ms, now_ms)))
                (line("Managed since", match phone.enrolled_at_ms { Some(at) => html! { (words::time(at)) }, None => html! { "not yet" } }))
                (line("Passcode", html! { (passcode(phone)) }))
                (line("Encrypted", html! { (yes_or_no(phone.encrypted)) }))
                (line("Set up by the hospital from the start (supervised)", html! { (yes_or_no(phone.supervised)) }))
                (line("Apps", html! { (phone.apps) ", yours among them: their names and versions, nothing that is in them" }))
            }
            p { "This and more is what the phone itself reports:" }
            ul.nhsuk-list.nhsuk-list--bullet {
                @for (seen, _) in words::SEEN { li { (seen) } }
                li { "the lists of its settings profiles and certificates" }
            }
            h3.nhsuk-heading-s { "Kept sealed" }
            p { "Your name and email address, the phone's own name, its number, its carrier and country, serial number and other numbers of the device, and whatever "
                "else it reports are kept encrypted. Whoever opens one signs for it, with a reason; names may also be opened for a whole list of phones at once, "
                "without a reason for each. Each opening is written down for good, and those of the last 90 days stand in the list below, as far as it goes "
                "(the newest 100 lines). That somebody searched for a name or a number does not stand there." }
            h3.nhsuk-heading-s { "Where it is" }
            p { "Only while it is in lost mode, when somebody signs to ask for it. The phone tells you afterwards that it was asked." }
        }
        section aria-labelledby="h-not" {
            h2.nhsuk-heading-m #h-not { "What it can't see" }
            p { "There is one condition. The hospital can install settings: a root certificate together with a proxy, a VPN or a filter. What then goes through "
                "these can be seen, messages, passwords and websites too. Whether your phone has such settings, the service desk can tell you." }
            ul.nhsuk-list.nhsuk-list--bullet {
                li { "your messages and who they are with (on that condition)" }
                li { "your calls, photos, contacts, calendar and notes" }
                li { "what you do in apps" }
                li { "which websites you visit (on that condition; a filter, proxy or VPN alone sees their addresses)" }
                li { "your passcode" }
                li { "your passwords (on that condition)" }
                li { "where the phone is, unless it is in lost mode, or you let an app of the hospital's see it" }
            }
            p { "The hospital can install and remove its own settings and apps, lock the phone, remove its passcode, and delete everything on it. "
                "Each of these takes a signature, and stands below." }
        }
        section aria-labelledby="h-done" {
            h2.nhsuk-heading-m #h-done { "What was done to it" }
            #done data-live { (history(phone)) }
        }
        p.nhsuk-hint { "You are signed in until " (words::time(phone.expires_at_ms)) ". Sign out when others use this computer." }
    }
}

fn yes_or_no(value: Option<bool>) -> &'static str {
    match value {
        Some(true) => "yes",
        Some(false) => "no",
        None => "not reported",
    }
}

fn passcode(phone: &MyPhone) -> &'static str {
    match (phone.passcode_present, phone.passcode_compliant) {
        (Some(true), Some(false)) => "set, but weaker than the hospital asks for",
        (Some(true), _) => "set (the hospital sees that there is one, not which)",
        (Some(false), _) => "none",
        (None, _) => "not reported",
    }
}

/// How it stands with what was asked of the phone.
fn news(phone: &MyPhone) -> String {
    let lost = match phone.lost_mode.state.as_str() {
        "asked" => "Lost mode was asked for; the phone has not answered yet.",
        "on" => "Lost mode is on.",
        "failed" => "The phone can't go into lost mode: call the service desk.",
        "ran_out" => "The phone did not come in time for lost mode.",
        "called_back" => "Lost mode was called back.",
        _ => return String::new(),
    };
    let ring = match phone.ring.state.as_str() {
        "asked" => " It was asked to ring.",
        "on" => " It rang.",
        "failed" => " It could not ring.",
        _ => "",
    };
    format!("{lost}{ring}")
}

/// What can be done about a lost phone now, and how far it is.
fn if_lost(phone: &MyPhone, bearer: &Bearer) -> Markup {
    let a = &phone.lost_mode;
    let asked = || ago(a.asked_at_ms, phone.now_ms);
    html! {
        @match a.state.as_str() {
            "asked" => {
                .nhsuk-inset-text { p {
                    strong { "Lost mode was asked for " (asked()) "." } " The phone has not answered yet. It does as soon as it is switched on and "
                    "connected; it stays asked for some days. You need not stay on this page."
                } }
                p { a #look-again href=(HERE) { "Look again" } }
            }
            "on" => {
                .nhsuk-inset-text { p {
                    strong { "Lost mode is on." } " The phone said so " (ago(a.confirmed_at_ms, phone.now_ms)) ". Nobody can use it, and its screen says whom it belongs to."
                } }
                p { "Found it? Call the service desk: they end lost mode. Nobody can end it from this page." }
            }
            "failed" => {
                p { strong { "The phone answered that it can't go into lost mode." } " Call the service desk." }
            }
            "ran_out" => { p { "Lost mode was asked for " (asked()) ", and the phone did not come in time." } }
            "called_back" => { p { "Lost mode was asked for " (asked()) ", and the hospital called it back." } }
            _ => {}
        }
        @if may_be_lost(a) {
            @if a.state == "off" {
                p { "Lost mode locks the phone at once. Nothing on it is deleted, and its screen says whom it belongs to." }
            }
            p { a.nhsuk-button.nhsuk-button--warning #i-lost-it href=(LOST) role="button" draggable="false" data-module="nhsuk-button" { "I have lost my phone…" } }
        } @else if a.can != "yes" && !matches!(a.state.as_str(), "asked" | "on") {
            (cannot(&a.can))
        }
        @if matches!(a.state.as_str(), "asked" | "on") { (ringing(phone, bearer)) }
    }
}

fn ringing(phone: &MyPhone, bearer: &Bearer) -> Markup {
    let r = &phone.ring;
    html! {
        h3.nhsuk-heading-s { "Make it ring" }
        @if r.can == "yes" {
            p { "Once it is in lost mode it rings at full volume, muted or not, until lost mode ends or somebody at the phone silences it." }
            @match r.state.as_str() {
                "asked" => p.nhsuk-hint { "Asked " (ago(r.asked_at_ms, phone.now_ms)) "; the phone has not answered yet." },
                "on" => p.nhsuk-hint { "It rang " (ago(r.confirmed_at_ms, phone.now_ms)) "." },
                "failed" => p.nhsuk-hint { "The phone could not ring when it was asked " (ago(r.asked_at_ms, phone.now_ms)) "." },
                _ => {}
            }
            form method="post" action="/my-phone/ring" {
                input type="hidden" name="token" value=(bearer.form_token());
                button.nhsuk-button.nhsuk-button--secondary type="submit" data-module="nhsuk-button" data-prevent-double-click="true" { "Make it ring" }
            }
        } @else { (cannot(&r.can)) }
    }
}

fn cannot(why: &str) -> Markup {
    html! {
        p { (match why {
            "not_switched_on" => "The hospital has not switched this on for this page. Call the service desk: they can do it at once.",
            "not_supervised" => "This phone is set up so that it can't be put in lost mode. Call the service desk: they can lock it.",
            _ => "This phone is not managed by the hospital, or not yet, so nothing can be asked of it from here. Call the service desk.",
        }) }
    }
}

fn state_of(d: &HolderDone) -> &'static str {
    match d.state.as_deref() {
        Some("acknowledged") => "done",
        Some("error") => "the phone said no",
        Some("expired") => "ran out",
        Some("cancelled") => "called back",
        Some(_) => "waits for the phone",
        None => "how it ended is not kept any more",
    }
}

fn by(d: &HolderDone) -> &'static str {
    match d.by.as_str() {
        "holder" => "you, from this page",
        "matron" => "by itself",
        _ => "the hospital",
    }
}

fn history(phone: &MyPhone) -> Markup {
    if phone.done.is_empty() {
        return html! { p { "Nothing in the last 90 days, but the questions that every phone answers every few hours." } };
    }
    let label = |text: &str| html! { span.nhsuk-table-responsive__heading aria-hidden="true" { (text) " " } };
    html! {
        p { "In the last 90 days. The questions that every phone answers every few hours are left out." }
        table.nhsuk-table.nhsuk-table-responsive role="table" {
            caption.nhsuk-u-visually-hidden { "What was done to your phone, the newest first" }
            thead.nhsuk-table__head role="rowgroup" { tr role="row" {
                th role="columnheader" scope="col" { "When" } th role="columnheader" scope="col" { "What" }
                th role="columnheader" scope="col" { "How it stands" } th role="columnheader" scope="col" { "By" }
            } }
            tbody.nhsuk-table__body { @for d in &phone.done {
                tr.nhsuk-table__row role="row" {
                    td.nhsuk-table__cell role="cell" { (label("When")) (ago(Some(d.at_ms), phone.now_ms)) }
                    td.nhsuk-table__cell role="cell" { (label("What")) span { (what(d)) } }
                    td.nhsuk-table__cell role="cell" { (label("How it stands")) (if d.what == "opened" { "written down" } else { state_of(d) }) }
                    td.nhsuk-table__cell role="cell" { (label("By")) (by(d)) }
                }
            } }
        }
        @if phone.more_done { p.nhsuk-hint { "There was more; these are the newest." } }
    }
}

fn what(d: &HolderDone) -> String {
    if d.what == "opened" {
        return words::opened_of_holder(&d.compartments);
    }
    let kind = d.request_type.as_deref().unwrap_or_default();
    if d.by == "matron" && kind == "InstallProfile" {
        return "Its certificate was renewed".to_owned();
    }
    shown(&words::done_to_phone(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_typed_a_code_wrongly_is_told_what_is_wrong_with_its_shape_and_nothing_of_it_is_repeated() {
        let good = "abcd-efgh-ijkm-npqr-2345";
        assert_eq!(misshapen(good), None);
        assert_eq!(misshapen(&good.to_uppercase().replace('-', " ")), None);
        let short = misshapen("abcd-efgh-ijkm-npqr-234").unwrap();
        assert!(short.contains("19 letters") && !short.contains("abcd"), "{short}");
        let odd = misshapen("abcd-efgh-ij1m-npqr-2345").unwrap();
        assert!(odd.contains("place 3 of group 3") && !odd.contains("ij"), "{odd}");
        assert!(misshapen("").unwrap().contains("0 letters"));
        assert!(misshapen("äbcd-efgh-ijkm-npqr-2345").is_some());
    }
}
