//! Every page.

mod approvals;
mod bulk;
mod chart;
mod commands;
mod device_groups;
mod door;
mod export;
mod health;
mod invite;
mod ledger;
mod ledger_export;
mod live;
mod my_phone;
mod oidc;
mod overview;
mod parts;
mod people;
mod phone;
mod phones;
mod profile_forms;
mod profile_orders;
mod profiles;

use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};

use crate::api::Api;
use crate::{Pages, assets, ordering, registrations};
pub(crate) use door::own_path;

/// An order with a profile sealed beside it, in base64, with room for the rest.
const LARGEST_BODY_BYTES: usize = 12 << 20;

/// A holder's code, or a page's token.
const LARGEST_HOLDERS_BYTES: usize = 4 << 10;

/// A passkey with its attestation is some hundred bytes.
const LARGEST_PASSKEY_BYTES: usize = 16 << 10;

pub(crate) fn all(api: Api) -> Pages {
    let large = DefaultBodyLimit::max(LARGEST_BODY_BYTES);
    let small = DefaultBodyLimit::max(LARGEST_HOLDERS_BYTES);
    Pages::new(api)
        .open("nobody is signed in yet", "GET", "/sign-in", get(door::sign_in))
        .open("nobody has a role yet; the token's key signs", "GET", "/join", get(door::join))
        .open(
            "the script and the style sheet, which say nothing of what is here",
            "GET",
            "/assets/{name}",
            get(assets::get),
        )
        .open("public keys, which whoever seals something needs", "POST", "/orders/key", post(ordering::key))
        .open(
            "encodes what was sent, and looks nothing up",
            "POST",
            "/orders/prepare",
            post(ordering::prepare).layer(large),
        )
        .open(
            "an order carries the signatures that the vault checks",
            "POST",
            "/orders",
            post(ordering::submit).layer(large),
        )
        .open(
            "the grant carries the signature that the vault checks",
            "POST",
            "/session",
            post(ordering::sign_in),
        )
        .open("nobody is signed in yet; the link's secret signs", "GET", "/register", get(door::register))
        .open(
            "a passkey that a command line waits for, under the hash of a link that few know",
            "POST",
            "/registrations",
            post(registrations::put).layer(DefaultBodyLimit::max(LARGEST_PASSKEY_BYTES)),
        )
        .open(
            "goes to whoever knows the link, once; it is public",
            "GET",
            "/registrations/{link}",
            get(registrations::take),
        )
        .open("nobody is signed in yet; leads to the provider", "GET", "/sign-in/oidc", get(oidc::begin))
        .open(
            "nobody is signed in yet; the provider's code and the browser's own cookie are looked at",
            "GET",
            "/sign-in/oidc/done",
            get(oidc::done),
        )
        .open("ends the session of its own cookie", "POST", "/sign-out", post(door::sign_out))
        .open(
            "a phone's holder has no account; the API looks at the card's code, or at the cookie that came of it",
            "GET",
            "/my-phone",
            get(my_phone::show),
        )
        .open(
            "nobody is signed in yet; the API looks at the card's code",
            "POST",
            "/my-phone/session",
            post(my_phone::sign_in).layer(small),
        )
        .open("leads to the page with the form", "GET", "/my-phone/session", get(my_phone::to_the_page))
        .open("asks once more; the API looks at the cookie", "GET", "/my-phone/lost", get(my_phone::sure))
        .open(
            "the API looks at the holder's cookie, the vault at the code behind it",
            "POST",
            "/my-phone/lost-mode",
            post(my_phone::lose).layer(small),
        )
        .open(
            "the API looks at the holder's cookie, the vault at the code behind it",
            "POST",
            "/my-phone/ring",
            post(my_phone::ring).layer(small),
        )
        .open("ends the session of its own cookie", "POST", "/my-phone/sign-out", post(my_phone::sign_out))
        .inside("GET", "/phones", get(phones::list))
        .inside("GET", "/phones/{enrolment}", get(phone::show))
        .inside("GET", "/phones.csv", get(export::phones))
        .inside("GET", "/device-groups", get(device_groups::list))
        .inside("GET", "/device-groups/new", get(device_groups::new))
        .inside("GET", "/device-groups/{device_group}", get(device_groups::show))
        .inside("GET", "/device-groups/{device_group}/edit", get(device_groups::edit))
        .inside("GET", "/device-groups/{device_group}/phones", get(device_groups::phones))
        .inside("GET", "/invite", get(invite::show))
        .inside("GET", "/approvals", get(approvals::show))
        .inside("GET", "/approvals/{order}", get(ordering::waiting))
        .inside("GET", "/commands", get(commands::list))
        .inside("GET", "/commands/{order}", get(commands::show))
        .inside("GET", "/profiles", get(profiles::list))
        .inside("GET", "/profiles/{profile}", get(profiles::show))
        .inside(
            "GET",
            "/profiles/{profile}/device-groups/{device_group}/phones",
            get(profiles::phones_that_lack_it),
        )
        .inside("GET", "/", get(overview::show))
        .inside("GET", "/people", get(people::show))
        .inside("GET", "/health", get(health::show))
        .inside("GET", "/ledger", get(ledger::list))
        .inside("GET", "/ledger.jsonl", get(ledger_export::entries))
        .inside("GET", "/ledger.checkpoint", get(ledger_export::checkpoint))
        .inside("GET", "/entries/{index}", get(ledger::show))
        .inside("GET", "/entries/{index}/proof", get(ledger::proof))
        .inside("POST", "/search", post(phones::search))
        .inside("GET", "/events", get(live::events))
}
