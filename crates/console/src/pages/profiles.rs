//! The library of profiles: what each version says, what is different in it, and which phones said that they hold it.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use maud::{Markup, html};
use model::{DeviceGroupId, ProfileId};
use order::OrderKind;
use serde::Deserialize;
use serde_json::Value;

use super::device_groups::as_of;
use super::parts::{Mood, breadcrumb, cell, heads, line, tag, title_row, until, why};
use super::phone::may;
use super::profile_forms as forms;
use super::profile_orders::{Of, Orders, members};
use crate::api::{Api, Failure};
use crate::guard::Visitor;
use crate::layout::{Place, ago, page, shown, status_line};
use crate::shapes::{
    Page, Profile, ProfileDetail, ProfilePhone, ProfileVersion, StandingOrder, VersionDetail,
};

/// Whether this person may add to the library.
pub(super) fn may_save(v: &Visitor) -> bool {
    v.role().is_some_and(|r| may(r, &OrderKind::SaveProfile { profile: ProfileId([0; 16]) }, false))
}

pub(crate) async fn list(
    State(api): State<Api>,
    Extension(v): Extension<Visitor>,
) -> Result<Response, Failure> {
    let found: Page<Profile> = api.get("/api/v1/profiles", &v.bearer).await?;
    let ended: Page<Profile> = api.get("/api/v1/profiles?ended=true", &v.bearer).await?;
    let body = html! {
        (title_row("Profiles and settings"))
        p.app-narrow { "What phones are set up with. Each change is a version of its own, sealed so that only the vault and the phones read it; nothing reaches a phone before you install it." }
        #library data-live {
            @if found.items.is_empty() { p.nhsuk-hint { "Nothing is saved yet." } }
            @else { (table(&found.items, v.session.now_ms, "The library")) }
        }
        @if !ended.items.is_empty() {
            details.nhsuk-details #ended {
                summary.nhsuk-details__summary { span.nhsuk-details__summary-text { "Taken out of the library (" (ended.items.len()) ")" } }
                .nhsuk-details__text { (table(&ended.items, v.session.now_ms, "Profiles that were taken out")) }
            }
        }
        @if may_save(&v) { (forms::all(&found.items)) }
        @else { p.nhsuk-hint { "Administrators and engineers add to the library." } }
    };
    Ok(page("Profiles and settings", Place::Profiles, Some(&v), body))
}

fn payloads(v: &ProfileVersion) -> String {
    let mut names: Vec<String> = v.payloads.iter().map(|t| words::profile::payload(t)).collect();
    names.dedup();
    shown(&names.join(", "))
}

fn harm(v: &ProfileVersion) -> Markup {
    if v.erasing { tag(Mood::Bad, "Counts as erasure") } else { tag(Mood::Good, "Mild") }
}

fn table(items: &[Profile], now_ms: i64, caption: &str) -> Markup {
    html! {
        table.nhsuk-table.nhsuk-table-responsive role="table" {
            caption.nhsuk-u-visually-hidden { (caption) }
            (heads(&["Profile", "What it sets", "Version", "Harm", "Phones"]))
            tbody.nhsuk-table__body { @for p in items {
                tr.nhsuk-table__row role="row" {
                    (cell("Profile", html! { a.app-break href={ "/profiles/" (p.profile) } { (shown(&p.newest.identifier)) } }))
                    (cell("What it sets", payloads(&p.newest)))
                    (cell("Version", html! { (p.newest.version) ", saved " (ago(Some(p.newest.saved_at_ms), now_ms)) }))
                    (cell("Harm", harm(&p.newest)))
                    (cell("Phones", html! { (phones_of(p)) }))
                }
            } }
        }
        @if let Some(p) = items.first() { p.nhsuk-hint { "Phones are those that said they hold it." (as_of(p.counted_at_ms, now_ms)) } }
    }
}

fn phones_of(p: &Profile) -> String {
    let (newest, any) = (p.newest.phones.confirmed, p.confirmed);
    let waits = match p.newest.phones.asked {
        0 => String::new(),
        n => format!(", {n} asked"),
    };
    match any {
        0 => format!("none yet{waits}"),
        _ if any == newest => format!("{} on it{waits}", words::count(any.into(), "phone")),
        _ => format!("{newest} of {} on this version{waits}", words::count(any.into(), "phone")),
    }
}

/// A profile's id in a path; anything else is no profile.
fn id(text: &str) -> Result<ProfileId, Failure> {
    text.parse().map_err(|_| Failure::not_found("profile"))
}

/// Which device group is looked at.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Look {
    device_group: Option<String>,
}

pub(crate) async fn show(
    State(api): State<Api>,
    Extension(v): Extension<Visitor>,
    Path(profile): Path<String>,
    Query(look): Query<Look>,
) -> Result<Response, Failure> {
    let id = id(&profile)?;
    let (one, phones) = (format!("/api/v1/profiles/{id}"), format!("/api/v1/profiles/{id}/phones"));
    // At the same time: two of them count.
    let (detail, members, phones, standing) = tokio::try_join!(
        api.get::<ProfileDetail>(&one, &v.bearer),
        members(&api, &v, id, look.device_group.as_deref()),
        api.get::<Page<ProfilePhone>>(&phones, &v.bearer),
        api.get::<Page<StandingOrder>>("/api/v1/standing", &v.bearer),
    )?;
    let Some(newest) = detail.versions.first() else { return Err(Failure::not_found("profile")) };
    let told: VersionDetail = api.get(&format!("{one}/versions/{}", newest.version), &v.bearer).await?;
    // What the outline says: an order carries that.
    let title = shown(&told.outline.identifier);
    let now_ms = v.session.now_ms;
    let of = Of { id, newest, told: &told, ended: detail.ended_at_ms.is_some() };
    let orders = Orders::of(&api, &v, &of, members).await?;
    let body = html! {
        (breadcrumb("/profiles", "Profiles and settings"))
        (title_row(title.as_str()))
        @if let (Some(at_ms), Some(by)) = (detail.ended_at_ms, detail.ended_by) { (ended(at_ms, by, now_ms)) }
        dl.nhsuk-summary-list {
            (line("Version", html! { (newest.version) ", saved " (ago(Some(newest.saved_at_ms), now_ms)) }))
            (line("Harm", html! { (harm(newest)) @if newest.erasing { p { (because(&told)) } } }))
            (line("Signed", if newest.signed { "yes; nobody has vouched for the certificate" } else { "no" }))
            @if !told.content && detail.ended_at_ms.is_none() { (line("Content", "lost: save the file again, then install that version")) }
            (line("Identifier", html! { code.app-break { (title) } }))
        }
        section aria-labelledby="h-says" {
            h2.nhsuk-heading-m #h-says { "What it says" }
            p.nhsuk-hint { "Texts, passwords and certificates are sealed: that they are set is all that is told." }
            (outline(&told))
        }
        @if let Some(against) = told.against {
            section aria-labelledby="h-changes" {
                h2.nhsuk-heading-m #h-changes { "What is different from version " (against) }
                @if told.changes.is_empty() { p.nhsuk-hint { "Nothing that can be told." } }
                @else { ul.nhsuk-list.nhsuk-list--bullet { @for c in &told.changes { li { (shown(&words::profile::change(c))) } } } }
            }
        }
        (orders.markup(&v, &of, &phones.items))
        (stands(id, newest.version, &standing.items, now_ms))
        section aria-labelledby="h-versions" {
            h2.nhsuk-heading-m #h-versions { "Versions" }
            #versions data-live { (versions(&detail, now_ms)) }
        }
        section aria-labelledby="h-phones" {
            h2.nhsuk-heading-m #h-phones { "Phones" }
            p.nhsuk-hint { "Confirmed is what the phone itself answered to the order. That somebody removed it since is not noticed." }
            #profile-phones data-live {
                @if phones.items.is_empty() { p.nhsuk-hint { "No phone was asked yet." } }
                @else { (phone_table(&phones.items, now_ms)) }
            }
            @if phones.next_cursor.is_some() { p { "There are more: " code { "matron profiles phones " (shown(&newest.identifier)) } } }
        }
        @if may_save(&v) && detail.ended_at_ms.is_none() {
            (forms::upload(id))
            (end(id, held_by(&detail)))
        }
    };
    Ok(page(&title, Place::Profiles, Some(&v), body))
}

/// Phones that said they hold any version.
fn held_by(detail: &ProfileDetail) -> u32 {
    detail.versions.iter().map(|v| v.phones.confirmed).sum()
}

/// Standing orders that install it by themselves.
fn stands(id: ProfileId, newest: u32, all: &[StandingOrder], now_ms: i64) -> Markup {
    let own: Vec<_> = all
        .iter()
        .filter(|s| s.state == "stands")
        .filter_map(|s| Some((s, s.install.as_ref().filter(|i| i.profile == id)?)))
        .collect();
    if own.is_empty() {
        return html! {};
    }
    html! {
        section aria-labelledby="h-standing" {
            h2.nhsuk-heading-m #h-standing { "Installed by itself" }
            #standing data-live {
                table.nhsuk-table.nhsuk-table-responsive role="table" {
                    caption.nhsuk-u-visually-hidden { "Standing orders that install it" }
                    (heads(&["Device group", "Version", "An hour", "So far", "Until"]))
                    tbody.nhsuk-table__body { @for (s, i) in &own {
                        tr.nhsuk-table__row role="row" {
                            (cell("Device group", html! {
                                @if s.rests.as_deref() == Some("device_group_ended") { (shown(i.name.as_str())) }
                                @else { a.app-break href={ "/device-groups/" (i.device_group) } { (shown(i.name.as_str())) } }
                                @if let Some(home) = &i.home { ", home group " (shown(home.as_str())) } }))
                            (cell("Version", html! { (i.version) @if i.version < newest { ", not the newest" } }))
                            (cell("An hour", words::count(s.cap_an_hour.into(), "phone")))
                            (cell("So far", words::count(s.uses, "phone")))
                            (cell("Until", until(s.expires_at_ms, now_ms)))
                        }
                        @if let Some(why) = s.rests.as_deref() {
                            tr.nhsuk-table__row role="row" {
                                td.nhsuk-table__cell role="cell" colspan="5" { (tag(Mood::Look, "Does nothing")) " " (words::profile::rests(why)) "." }
                            }
                        }
                        tr.nhsuk-table__row role="row" {
                            td.nhsuk-table__cell role="cell" colspan="5" { "To end it: " code.app-break { "matron standing end " (s.order) } }
                        }
                    } }
                }
            }
            p.nhsuk-hint { "Phones in the device group that were never asked for it get it without a person, also those that come later. "
                "One that did not come while its order waited, a week, is asked again after a day, then after twice as long each time, 32 days at most. One whose order was called back is not." }
        }
    }
}

fn ended(at_ms: i64, by: model::OrderId, now_ms: i64) -> Markup {
    html! {
        .nhsuk-inset-text #ended {
            p { "Taken out of the library " (ago(Some(at_ms), now_ms)) " (" a href={ "/commands/" (by) } { "the order" } "): nothing of it is installed any more. Phones keep what they have; "
                "those are listed under Phones, and it is removed from them below." }
        }
    }
}

fn end(id: ProfileId, phones: u32) -> Markup {
    let order = serde_json::json!({ "kind": "end_profile", "profile": id }).to_string();
    html! {
        section.app-actions aria-labelledby="h-end" {
            h2.nhsuk-heading-m #h-end { "Take it out of the library" }
            details.nhsuk-details.app-action #end {
                summary.nhsuk-details__summary { span.nhsuk-details__summary-text { "Take it out for good" } }
                .nhsuk-details__text {
                    p { "Nothing of it is installed any more, what is sealed of its versions is deleted, and no other profile gets its identifier. "
                        "What it says in the clear stays in the history. "
                        @if phones > 0 { strong { (words::count(phones.into(), "phone")) } " said that they hold it and keep it: remove it from them first, or afterwards from this page. " }
                        "Orders that install it and are on their way go on: call them back under " a href="/commands" { "Commands" } ". What still cools off or waits for a signature is not carried out." }
                    form method="dialog" data-order=(order) data-then="/profiles" {
                        (why("end-reason"))
                        (status_line())
                        button.nhsuk-button.nhsuk-button--small.nhsuk-button--warning type="submit" { "Take it out" }
                    }
                }
            }
        }
    }
}

fn because(told: &VersionDetail) -> String {
    let because = words::profile::because(&told.because);
    format!("Installing it takes what erasing takes, because of: {}", shown(&because))
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|c| c.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// A table for each payload.
fn outline(told: &VersionDetail) -> Markup {
    let rows = |keys: &[model::OutlinedKey]| {
        html! { @for k in keys {
            tr.nhsuk-table__row role="row" {
                (cell("Setting", capital(&shown(&words::profile::key(&k.path)))))
                (cell("Value", shown(&words::profile::value(&k.value))))
            }
        } }
    };
    let part = |name: &str, keys: &[model::OutlinedKey], unknown: u32| {
        html! {
            table.nhsuk-table.nhsuk-table-responsive role="table" {
                caption.nhsuk-table__caption { (name) }
                (heads(&["Setting", "Value"]))
                tbody.nhsuk-table__body {
                    (rows(keys))
                    @if unknown > 0 {
                        tr.nhsuk-table__row role="row" {
                            (cell("Setting", words::count(unknown.into(), "key")))
                            (cell("Value", "not in Apple's schema as it is known here, so not checked"))
                        }
                    }
                }
            }
        }
    };
    html! {
        @if !told.outline.keys.is_empty() { (part("The profile itself", &told.outline.keys, 0)) }
        @for p in &told.outline.payloads {
            (part(&shown(&words::profile::payload(&p.payload_type)), &p.keys, p.unknown_keys))
        }
        @if told.outline.left_out > 0 { p.nhsuk-hint { "And " (words::count(told.outline.left_out.into(), "key")) " more." } }
    }
}

fn versions(detail: &ProfileDetail, now_ms: i64) -> Markup {
    html! {
        table.nhsuk-table.nhsuk-table-responsive role="table" {
            caption.nhsuk-u-visually-hidden { "Versions, newest first" }
            (heads(&["Version", "Saved", "Confirmed", "Asked", "Failed"]))
            tbody.nhsuk-table__body { @for v in &detail.versions {
                tr.nhsuk-table__row role="row" {
                    (cell("Version", v.version))
                    (cell("Saved", ago(Some(v.saved_at_ms), now_ms)))
                    (cell("Confirmed", v.phones.confirmed))
                    (cell("Asked", v.phones.asked))
                    (cell("Failed", v.phones.failed))
                }
            } }
        }
        p.nhsuk-hint { "Confirmed, asked and failed are numbers of phones." (as_of(detail.counted_at_ms, now_ms)) }
        @if detail.removing.asked > 0 {
            p.nhsuk-hint { (words::count(detail.removing.asked.into(), "phone")) " asked to remove it, and not answered yet." }
        }
    }
}

fn phone_table(phones: &[ProfilePhone], now_ms: i64) -> Markup {
    let answer = |p: &ProfilePhone| match (p.state.as_str(), p.command.as_deref()) {
        ("done", _) => tag(Mood::Good, "Done"),
        ("failed", _) | (_, Some("error")) => tag(Mood::Bad, "Failed"),
        (_, Some("expired")) => tag(Mood::Unknown, "Ran out"),
        (_, Some("cancelled")) => tag(Mood::Unknown, "Called back"),
        _ => tag(Mood::Look, "No answer yet"),
    };
    html! {
        table.nhsuk-table.nhsuk-table-responsive role="table" {
            caption.nhsuk-u-visually-hidden { "Phones that were asked to hold it" }
            (heads(&["Phone", "Asked", "Answer", "Confirmed"]))
            tbody.nhsuk-table__body { @for p in phones {
                tr.nhsuk-table__row role="row" {
                    (cell("Phone", html! { a href={ "/phones/" (p.enrolment) } { code { (p.enrolment.get(..8).unwrap_or(&p.enrolment)) } } }))
                    (cell("Asked", if p.version == 0 { "to remove it".to_owned() } else { format!("version {}", p.version) }))
                    (cell("Answer", answer(p)))
                    (cell("Confirmed", html! {
                        @if p.confirmed == 0 { "-" } @else { "version " (p.confirmed) ", " (ago(p.confirmed_at_ms, now_ms)) }
                    }))
                }
            } }
        }
    }
}

/// The phones of a device group that lack the newest version, as an order names them, for the page's script.
pub(crate) async fn phones_that_lack_it(
    State(api): State<Api>,
    Extension(v): Extension<Visitor>,
    Path((profile, group)): Path<(String, String)>,
) -> Response {
    let found = async {
        let group: DeviceGroupId = group.parse().map_err(|_| Failure::not_found("device group"))?;
        api.get::<Value>(
            &format!("/api/v1/profiles/{}/device-groups/{group}/phones", id(&profile)?),
            &v.bearer,
        )
        .await
    };
    match found.await {
        Ok(phones) => Json(phones).into_response(),
        Err(f) => f.json(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_count_of_phones_that_is_not_of_just_now_says_how_old_it_is_in_the_list_and_on_the_profiles_page() {
        let version = json!({
            "version": 2, "order": model::OrderId([1; 16]), "saved_at_ms": 1, "identifier": "org.example.wifi", "signed": false,
            "erasing": false, "payloads": [], "phones": { "asked": 0, "failed": 0, "confirmed": 3 },
        });
        let listed = json!({ "profile": ProfileId([7; 16]), "newest": version, "confirmed": 3, "counted_at_ms": 1_000 });
        let listed: Profile = serde_json::from_value(listed).unwrap();
        let detail: ProfileDetail = serde_json::from_value(json!({
            "versions": [version], "removing": { "asked": 0, "failed": 0, "confirmed": 0 }, "counted_at_ms": 1_000, "ended_at_ms": null,
            "ended_by": null,
        }))
        .unwrap();
        let listed = [listed];
        for (now_ms, old) in [(3_000, false), (61_000, true)] {
            for told in [table(&listed, now_ms, "The library"), versions(&detail, now_ms)] {
                let told = told.into_string();
                let says = told.contains("Counted <time")
                    && told.contains("1 minute ago</time>; they are being counted again.");
                assert_eq!(says, old, "{told}");
            }
        }
    }
}
