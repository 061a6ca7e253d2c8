//! Device groups: which there are, whom each holds; a rule is tried before it is signed.

use std::collections::BTreeMap;

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use maud::{Markup, html};
use model::{DeviceGroupDefinition, DeviceGroupId, OrderId, RuleForm};
use order::OrderKind;
use serde_json::{Value, json};

use super::parts::{Mood, breadcrumb, cell, heads, in_ascii, line, number, tag, title_row, why};
use super::phone::may;
use super::{bulk, phones};
use crate::api::{Api, Failure, path, sentence};
use crate::guard::Visitor;
use crate::layout::{Place, ago, page, shown, status_line};
use crate::shapes::{Device, DeviceGroup, GroupPreview, MemberProfile, Page};

const PATH: &str = "/api/v1/device-groups";
/// As many as there may be.
const ALL: &str = "200";
/// Members on a device group's own page.
const SHOWN: &str = "50";

/// All of them by name: they are few, and the API gives 200 at once.
pub(super) async fn all(api: &Api, v: &Visitor, counts: bool) -> Result<Vec<DeviceGroup>, Failure> {
    let query = [("limit", Some(ALL.into())), ("counts", counts.then(|| "true".into()))];
    let found: Page<DeviceGroup> = api.get(&path(PATH, &query), &v.bearer).await?;
    let mut all = found.items;
    all.sort_by_key(|g| g.name.to_lowercase());
    Ok(all)
}

pub(super) fn may_save(v: &Visitor) -> bool {
    let end = OrderKind::EndDeviceGroup { group: DeviceGroupId([0; 16]) };
    v.role().is_some_and(|role| may(role, &end, false))
}

fn count(phones: Option<u64>) -> String {
    phones.map_or_else(|| "being counted".into(), number)
}

fn holds(definition: &DeviceGroupDefinition) -> String {
    shown(&sentence(&words::device_group::definition(definition)))
}

pub(crate) async fn list(
    State(api): State<Api>,
    Extension(v): Extension<Visitor>,
) -> Result<Response, Failure> {
    let groups = all(&api, &v, true).await?;
    let body = html! {
        (title_row("Device groups"))
        p { "A device group is a selection of phones, made to work with: by a rule, or as a list. It gives nobody any rights. "
            "A phone’s home group, such as its ward, is another thing: each phone has one, and people’s roles are held to it." }
        @if may_save(&v) { a.nhsuk-button href="/device-groups/new" role="button" draggable="false" { "New device group" } }
        #groups data-live { (table(&groups, v.session.now_ms)) }
    };
    Ok(page("Device groups", Place::DeviceGroups, Some(&v), body))
}

fn table(groups: &[DeviceGroup], now_ms: i64) -> Markup {
    if groups.is_empty() {
        return html! { .nhsuk-inset-text { p { "There is none yet, or none with a phone of yours." } } };
    }
    html! {
        table.nhsuk-table.nhsuk-table-responsive role="table" {
            caption.nhsuk-u-visually-hidden { "Device groups" }
            (heads(&["Name", "Phones now", "Holds", "Saved"]))
            tbody.nhsuk-table__body { @for g in groups {
                tr.nhsuk-table__row role="row" {
                    (cell("Name", html! { a.app-break href={ "/device-groups/" (g.device_group) } { (shown(&g.name)) } }))
                    (cell("Phones now", count(g.phones)))
                    (cell("Holds", html! { div.app-break { (holds(&g.definition)) } }))
                    (cell("Saved", ago(Some(g.saved_at_ms), now_ms)))
                }
            } }
        }
    }
}

/// A device group's id in a path; anything else is no device group.
fn id(text: &str) -> Result<DeviceGroupId, Failure> {
    text.parse().map_err(|_| Failure::not_found("device group"))
}

async fn one(api: &Api, v: &Visitor, text: &str) -> Result<DeviceGroup, Failure> {
    api.get(&format!("{PATH}/{}", id(text)?), &v.bearer).await
}

pub(crate) async fn show(
    State(api): State<Api>,
    Extension(v): Extension<Visitor>,
    Path(group): Path<String>,
) -> Result<Response, Failure> {
    let id = id(&group)?;
    let query = [("device_group", Some(id.to_string())), ("limit", Some(SHOWN.into()))];
    let (devices, profiles) = (path("/api/v1/devices", &query), format!("{PATH}/{id}/profiles"));
    // At the same time: two of them count.
    let (g, profiles, devices) = tokio::try_join!(
        one(&api, &v, &group),
        api.get::<Page<MemberProfile>>(&profiles, &v.bearer),
        api.get::<Page<Device>>(&devices, &v.bearer),
    )?;
    let in_list = path("/phones", &[("device_group", Some(g.device_group.to_string()))]);
    let now_ms = v.session.now_ms;
    let by_rule = matches!(g.definition, DeviceGroupDefinition::Rule(_));
    let body = html! {
        (breadcrumb("/device-groups", "Device groups"))
        (title_row(shown(&g.name)))
        #summary data-live { dl.nhsuk-summary-list {
            (line("Holds", holds(&g.definition)))
            (line("Phones now", html! { (count(g.phones))
                @if let Some(listed) = g.listed.map(u64::from).filter(|n| Some(*n) != g.phones) {
                    " enrolled, of " (number(listed)) " that were listed. A phone that enrols anew is another one: list it again."
                }
            }))
            (line("Saved", html! { (ago(Some(g.saved_at_ms), now_ms)) ", by "
                code { (g.saved_by.to_string().get(..8).unwrap_or_default()) } " (" a href={ "/commands/" (g.order) } { "the order" } ")" }))
            (line("Id", html! { code.app-break { (g.device_group) } }))
        } }
        @if by_rule && may_save(&v) {
            p { a href={ "/device-groups/" (g.device_group) "/edit" } { "Change its name or rule" } }
        } @else if may_save(&v) {
            p.nhsuk-hint { "A list is changed on the command line: " code.app-break { "matron device-groups save " (g.device_group) " --add PHONE --drop PHONE" } }
        }
        section aria-labelledby="h-members" {
            h2.nhsuk-heading-m #h-members { "Phones in it now" }
            #members data-live {
                @if devices.items.is_empty() { p.nhsuk-hint { "None." } }
                @else { (phones::table(&devices.items, false, false, now_ms)) }
            }
            p { @if devices.next_cursor.is_some() { "These are the first " (SHOWN) ". " }
                a href=(in_list) { "Show them in the list of phones" } ", to filter them, tick some, or download them." }
        }
        section aria-labelledby="h-profiles" {
            h2.nhsuk-heading-m #h-profiles { "Profiles on them" }
            #profiles data-live {
                p.nhsuk-hint { "By what each phone itself answered."
                    @if let Some(c) = profiles.items.iter().find_map(|p| p.counted.as_ref()) { (as_of(c.counted_at_ms, now_ms)) } }
                @if profiles.items.is_empty() { p.nhsuk-hint { "The library is empty." } }
                @else { (profile_table(&g, &profiles.items)) }
            }
        }
        (bulk::of_group(&v, &g, api.call.as_deref()))
        @if may_save(&v) { (end(&g)) }
    };
    Ok(page(&shown(&g.name), Place::DeviceGroups, Some(&v), body))
}

/// When something was counted, where that is not just now.
pub(super) fn as_of(counted_at_ms: i64, now_ms: i64) -> Markup {
    const JUST_NOW_MS: i64 = 5_000;
    html! { @if now_ms - counted_at_ms > JUST_NOW_MS { " Counted " (ago(Some(counted_at_ms), now_ms)) "; they are being counted again." } }
}

/// Which profiles of the library its phones hold, each with the way to its page.
fn profile_table(g: &DeviceGroup, items: &[MemberProfile]) -> Markup {
    html! {
        table.nhsuk-table.nhsuk-table-responsive role="table" {
            caption.nhsuk-u-visually-hidden { "Profiles of the library" }
            (heads(&["Profile", "Have the newest", "Have an older one", "Have none", "Do"]))
            tbody.nhsuk-table__body { @for p in items {
                tr.nhsuk-table__row role="row" {
                    (cell("Profile", html! { a.app-break href={ "/profiles/" (p.profile) } { (shown(&p.identifier)) } ", version " (p.newest)
                        @if p.erasing { " " (tag(Mood::Bad, "Counts as erasure")) } }))
                    (cell("Have the newest", count(p.counted.as_ref().map(|c| c.on_newest))))
                    (cell("Have an older one", count(p.counted.as_ref().map(|c| c.older))))
                    (cell("Have none", count(p.counted.as_ref().map(|c| c.without))))
                    (cell("Do", html! { a href={ "/profiles/" (p.profile) "?device_group=" (g.device_group) "#h-group" } { "Install or remove" span.nhsuk-u-visually-hidden { " " (shown(&p.identifier)) } } }))
                }
            } }
        }
    }
}

fn end(g: &DeviceGroup) -> Markup {
    let order = json!({ "kind": "end_device_group", "group": g.device_group }).to_string();
    html! {
        section.app-actions aria-labelledby="h-end" {
            h2.nhsuk-heading-m #h-end { "End it" }
            details.nhsuk-details.app-action #end {
                summary.nhsuk-details__summary { span.nhsuk-details__summary-text { "End this device group" } }
                .nhsuk-details__text {
                    p { "The selection is gone; its phones stay as they are, with all that was done to them." }
                    form method="dialog" data-order=(order) data-then="/device-groups" {
                        (why("end-reason"))
                        (status_line())
                        button.nhsuk-button.nhsuk-button--small.nhsuk-button--secondary type="submit" { "End it" }
                    }
                }
            }
        }
    }
}

/// The phones of a device group as an order names them, for the page's script.
pub(crate) async fn phones(
    State(api): State<Api>,
    Extension(v): Extension<Visitor>,
    Path(group): Path<String>,
) -> Response {
    let found = async { api.get::<Value>(&format!("{PATH}/{}/phones", id(&group)?), &v.bearer).await };
    match found.await {
        Ok(phones) => Json(phones).into_response(),
        Err(f) => f.json(),
    }
}

pub(crate) async fn new(
    State(api): State<Api>,
    Extension(v): Extension<Visitor>,
    Query(form): Query<RuleForm>,
) -> Result<Response, Failure> {
    let tried = tried(&api, &v, &form).await?;
    let body = html! {
        (breadcrumb("/device-groups", "Device groups"))
        (title_row("New device group"))
        p { "Say which phones, look who is in, then sign. To list phones one by one instead, tick them in the "
            a href="/phones?state=enrolled" { "list of phones" } "." }
        (conditions(&form, "/device-groups/new", None))
        (preview(&v, tried, None))
    };
    Ok(page("New device group", Place::DeviceGroups, Some(&v), body))
}

pub(crate) async fn edit(
    State(api): State<Api>,
    Extension(v): Extension<Visitor>,
    Path(group): Path<String>,
    Query(fields): Query<BTreeMap<String, String>>,
) -> Result<Response, Failure> {
    let g = one(&api, &v, &group).await?;
    let change = Change::read(fields, &g)?;
    let form = &change.form;
    let tried = tried(&api, &v, form).await?;
    let here = format!("/device-groups/{}/edit", g.device_group);
    let title = format!("Change {}", shown(&g.name));
    let body = html! {
        (breadcrumb("/device-groups", "Device groups"))
        (title_row(title.as_str()))
        @if change.stale { (changed_since(&here)) }
        (conditions(form, &here, Some(&change.replaces)))
        (preview(&v, tried, Some((&g, &change))))
    };
    Ok(page(&title, Place::DeviceGroups, Some(&v), body))
}

/// What somebody makes of a device group, and of which saving of it: the one that stood when they began.
struct Change {
    form: RuleForm,
    replaces: String,
    /// It was saved again since.
    stale: bool,
}

impl Change {
    fn read(mut fields: BTreeMap<String, String>, of: &DeviceGroup) -> Result<Self, Failure> {
        let began = fields.remove("replaces").unwrap_or_default();
        let form = serde_json::from_value::<RuleForm>(json!(fields))
            .map_err(|_| Failure::bad("the address has a field that a rule has not"))?;
        let now = of.order.to_string();
        Ok(match &of.definition {
            // Nobody has begun: what is shown is what stands.
            DeviceGroupDefinition::Rule(rule) if form.is_empty() => {
                Self { form: RuleForm::of(rule), replaces: now, stale: false }
            }
            _ => Self { form, stale: began.parse::<OrderId>() != Ok(of.order), replaces: began },
        })
    }
}

fn changed_since(here: &str) -> Markup {
    html! {
        .nhsuk-warning-callout #changed role="alert" {
            h2.nhsuk-warning-callout__label { "Somebody saved this device group since you began" }
            p { "Your change would undo theirs, so it can't be signed. " a href=(here) { "Start again from what it is now" } "." }
        }
    }
}

/// Whom the form's rule would hold, or what is wrong with it; nothing where nothing is filled in.
async fn tried(
    api: &Api,
    v: &Visitor,
    form: &RuleForm,
) -> Result<Option<Result<GroupPreview, String>>, Failure> {
    if form.is_empty() {
        return Ok(None);
    }
    if let Err(e) = form.rule() {
        return Ok(Some(Err(e.to_string())));
    }
    api.get(&path(&format!("{PATH}/preview"), &form.fields()), &v.bearer).await.map(|p| Some(Ok(p)))
}

fn preview(
    v: &Visitor,
    tried: Option<Result<GroupPreview, String>>,
    of: Option<(&DeviceGroup, &Change)>,
) -> Markup {
    let p = match tried {
        None => return html! {},
        Some(Err(wrong)) => {
            return html! { p.app-status.app-status--bad role="alert" #wrong { (sentence(&shown(&wrong))) } };
        }
        Some(Ok(p)) => p,
    };
    html! {
        section aria-labelledby="h-preview" {
            h2.nhsuk-heading-m #h-preview { "Who is in now" }
            p #preview { strong { (number(p.phones)) @if p.phones == 1 { " phone" } @else { " phones" } } ": " (holds(&p.definition)) }
            @if !p.items.is_empty() {
                (phones::table(&p.items, false, false, v.session.now_ms))
                @if p.phones > p.items.len() as u64 { p.nhsuk-hint { "These are the first " (p.items.len()) "." } }
            }
        }
        @if of.is_some_and(|(_, change)| change.stale) {}
        @else if may_save(v) { (sign(&p.definition, of)) }
        @else { p.nhsuk-hint { "Your role looks at device groups; administrators and engineers save them." } }
    }
}

fn sign(definition: &DeviceGroupDefinition, of: Option<(&DeviceGroup, &Change)>) -> Markup {
    let replaces = of.map(|(_, change)| change.replaces.as_str());
    let of = of.map(|(g, _)| g);
    let mut order = json!({ "kind": "save_device_group", "replaces": replaces, "definition": definition });
    if let (Some(g), Value::Object(order)) = (of, &mut order) {
        order.insert("group".into(), json!(g.device_group));
    }
    html! {
        section aria-labelledby="h-sign" {
            h2.nhsuk-heading-m #h-sign { "Save it" }
            form.app-narrow method="dialog" data-order=(in_ascii(&order)) data-mints=[of.is_none().then_some("group")] data-then="/device-groups/{group}" {
                (name_input("save-name", of.map_or("", |g| &g.name)))
                (why("save-reason"))
                (status_line())
                button.nhsuk-button type="submit" { "Save this device group" }
            }
        }
    }
}

pub(super) fn name_input(id: &str, value: &str) -> Markup {
    html! {
        .nhsuk-form-group {
            label.nhsuk-label for=(id) { "Name" }
            .nhsuk-hint id={ (id) "-hint" } { "It stands in the ledger for good: no person’s name." }
            input.nhsuk-input id=(id) name="name" value=(value) required maxlength="64" autocomplete="off" aria-describedby={ (id) "-hint" };
        }
    }
}

fn conditions(form: &RuleForm, here: &str, replaces: Option<&str>) -> Markup {
    let value = |v: &Option<String>| v.clone().unwrap_or_default();
    let yes_no = |name: &str, label: &str, value: &Option<String>, yes: &str, no: &str| {
        let is = |of: &str| value.as_deref() == Some(of);
        html! {
            .nhsuk-form-group {
                label.nhsuk-label for={ "c-" (name) } { (label) }
                select.nhsuk-select id={ "c-" (name) } name=(name) {
                    option value="" { "Either" }
                    option value="true" selected[is("true")] { (yes) }
                    option value="false" selected[is("false")] { (no) }
                }
            }
        }
    };
    let text = |name: &str, label: &str, example: &str, value: &Option<String>| {
        html! {
            .nhsuk-form-group {
                label.nhsuk-label for={ "c-" (name) } { (label) }
                .nhsuk-hint id={ "c-" (name) "-hint" } { (example) }
                input.nhsuk-input id={ "c-" (name) } name=(name) value=(value.clone().unwrap_or_default()) autocomplete="off" spellcheck="false"
                    aria-describedby={ "c-" (name) "-hint" };
            }
        }
    };
    html! {
        form method="get" action=(here) {
            @if let Some(replaces) = replaces { input type="hidden" name="replaces" value=(replaces); }
            .nhsuk-form-group {
                label.nhsuk-label for="c-join" { "A phone is in it when" }
                select.nhsuk-select #c-join name="join" {
                    option value="all" { "all of this holds" }
                    option value="any" selected[value(&form.join) == "any"] { "any of this holds" }
                }
            }
            .app-fields {
                (text("os_below", "System older than", "Such as 17.5", &form.os_below))
                (text("os_at_least", "System at least", "Such as 16.0", &form.os_at_least))
                (text("silent_for_days", "Not heard of for", "Days, such as 30", &form.silent_for_days))
            }
            .app-fields.app-fields--wide {
                (text("model", "Model", "One or more, such as iPhone14,5 iPhone12,8", &form.model))
                (text("home_group", "Home group", "One or more, such as ward-7 ward-8", &form.home_group))
            }
            .app-fields {
                (yes_no("supervised", "Supervised", &form.supervised, "Yes", "No"))
                (yes_no("passcode_compliant", "Passcode complies", &form.passcode_compliant, "Yes", "No"))
                (yes_no("lost", "In lost mode", &form.lost, "Yes", "No"))
                (yes_no("data_protected", "Data protection", &form.data_protected, "On", "Off"))
            }
            p.nhsuk-hint { "What is left empty is not asked for. By what phones reported last; one that has not said something is not in. "
                "Data protection is on when the storage is encrypted as a whole and there is a passcode." }
            button.nhsuk-button.nhsuk-button--secondary.nhsuk-button--small type="submit" { "Look who is in" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(order: OrderId) -> DeviceGroup {
        serde_json::from_value(json!({
            "device_group": DeviceGroupId([9; 16]), "name": "Old systems", "order": order, "saved_at_ms": 0,
            "saved_by": model::PersonId([1; 16]),
            "definition": DeviceGroupDefinition::Rule(
                RuleForm { lost: Some("true".into()), ..RuleForm::default() }.rule().unwrap(),
            ),
        }))
        .unwrap()
    }

    fn read(fields: &[(&str, &str)], of: &DeviceGroup) -> Change {
        let fields = fields.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Change::read(fields, of).ok().unwrap()
    }

    #[test]
    fn a_change_that_was_begun_before_somebody_elses_is_not_offered_for_signing() {
        let (first, second) = (OrderId([1; 16]), OrderId([2; 16]));
        let began = read(&[], &group(first));
        assert_eq!((began.stale, began.replaces.as_str()), (false, first.to_string().as_str()));
        let page = conditions(&began.form, "/here", Some(&began.replaces)).into_string();
        assert!(page.contains(&format!("name=\"replaces\" value=\"{first}\"")), "{page}");
        // Looking who is in takes along what was begun from.
        let looked = [("replaces", began.replaces.as_str()), ("lost", "false")];
        let change = read(&looked, &group(first));
        assert!(!change.stale);
        let form = sign(&group(first).definition, Some((&group(first), &change))).into_string();
        assert!(form.contains(&first.to_string()), "{form}");
        let change = read(&looked, &group(second));
        assert!(change.stale && change.replaces == first.to_string());
        // Nor where the address does not say what it was begun from.
        assert!(read(&[("lost", "false")], &group(first)).stale);
        assert!(Change::read(BTreeMap::from([("os".into(), "1".into())]), &group(first)).is_err());
    }
}
