//! One phone: what it is, what it last confirmed and when, what was asked of it, what can be done.

use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, State};
use axum::response::Response;
use maud::{Markup, html};
use model::{Command as Ordered, Duty, Role, Window};
use order::limits::Overview;
use order::{OrderKind, roles};

use super::invite::cards_sheet;
use super::parts::{breadcrumb, line, number, title_row, why};
use super::phones::{state_tag, whose};
use crate::api::{Api, Failure, path};
use crate::guard::Visitor;
use crate::layout::{Place, ago, page, shown, status_line};
use crate::shapes::{Command, DeviceDetail, Page, SealedField, text};

pub(crate) async fn show(
    State(api): State<Api>,
    Extension(v): Extension<Visitor>,
    Path(enrolment): Path<String>,
) -> Result<Response, Failure> {
    let plain = enrolment.bytes().all(|b| b.is_ascii_hexdigit());
    if !plain {
        return Err(Failure::not_found("phone"));
    }
    let phone: DeviceDetail = api.get(&format!("/api/v1/devices/{enrolment}"), &v.bearer).await?;
    let asked = path(
        &format!("/api/v1/devices/{}/commands", phone.device.enrolment),
        &[("limit", Some("20".into()))],
    );
    let commands: Page<Command> = api.get(&asked, &v.bearer).await?;
    let d = &phone.device;
    let now_ms = v.session.now_ms;
    let left = left_to_open(&api, &v).await;
    let body = html! {
        (breadcrumb("/phones", "Phones"))
        (title_row(html! { "Phone " code { (d.short()) } }))
        #summary data-live { (summary(&phone, now_ms)) }
        (actions(&v, &phone, left))
        @if v.role().is_some() {
            span data-phone=(d.enrolment) data-whose=(whose(d)) hidden {}
            (cards_sheet(api.call.as_deref()))
        }
        section aria-labelledby="h-commands" {
            h2.nhsuk-heading-m #h-commands { "What was asked of it" }
            #commands data-live { (history(&commands.items, now_ms)) }
        }
        section aria-labelledby="h-inventory" {
            h2.nhsuk-heading-m #h-inventory { "What it reported" }
            #inventory data-live { (inventory(&phone, now_ms)) }
        }
    };
    Ok(page(&format!("Phone {}", d.short()), Place::Phones, Some(&v), body))
}

fn summary(phone: &DeviceDetail, now_ms: i64) -> Markup {
    let d = &phone.device;
    let clear = |name: &str| html! { (d.clear(name).map_or_else(|| "not reported".into(), |t| shown(&t))) };
    let lost = d.clear("IsMDMLostModeEnabled").as_deref() == Some("yes");
    let push = match d.push.as_str() {
        "ok" => "has given its push token",
        "none" => "no push token yet: it comes by itself",
        "unregistered" => "Apple says its push token is gone: it comes by itself",
        other => other,
    };
    html! {
        @if let Some(by) = &phone.replaced_by {
            .nhsuk-inset-text { p { "This enrolment was replaced by " a href={ "/phones/" (by) } { code { (by.get(..8).unwrap_or(by)) } } "." } }
        }
        dl.nhsuk-summary-list {
            (line("State", html! { (state_tag(&d.state)) @if lost { " " strong.nhsuk-tag.nhsuk-tag--red { "Lost mode" } } }))
            (line("Group", html! { (shown(&d.group)) }))
            (line("Model", html! { (d.clear("ProductName").map_or_else(|| "not reported".into(), |t| shown(&words::model_and_identifier(&t)))) }))
            (line("OS", clear("OSVersion")))
            (line("Supervised", html! { (match d.supervised { Some(true) => "yes", Some(false) => "no", None => "not reported" }) }))
            (line("Last seen", ago(d.last_seen_ms, now_ms)))
            (line("Enrolled", match d.enrolled_at_ms { Some(at) => html! { (words::time(at)) }, None => html! { "not yet; invited " (words::time(d.invited_at_ms)) } }))
            (line("Push", html! { (push) }))
            (line("Commands waiting", html! { (d.pending_commands) }))
            (line("Identifier", html! { code.app-break { (d.enrolment) } }))
        }
    }
}

/// What a field is called on the page.
fn label(name: &str) -> String {
    let last = name.rsplit('.').next().unwrap_or(name);
    match last {
        "Name" if name.starts_with("Holder") => "Holder's name",
        "Email" if name.starts_with("Holder") => "Holder's email address",
        "DeviceName" => "Device name",
        "PhoneNumber" => "Phone number",
        "SerialNumber" => "Serial number",
        "WiFiMAC" => "Wi-Fi MAC address",
        "BluetoothMAC" => "Bluetooth MAC address",
        // A phone can name a field as it likes.
        _ => return shown(last),
    }
    .to_owned()
}

pub(super) fn may(role: Role, kind: &OrderKind, erasing: bool) -> bool {
    roles::rule(role, kind, erasing).is_some()
}

/// One action, folded until it is wanted.
pub(super) struct Action<'a> {
    pub(super) id: &'a str,
    pub(super) title: &'a str,
    /// What will happen to the person's phone.
    pub(super) says: &'a str,
    pub(super) order: &'a str,
    pub(super) sealed: bool,
    pub(super) fields: Markup,
    pub(super) button: &'a str,
    pub(super) grave: bool,
}

/// New holders' cards: `cards` are shown by the page's script, once.
pub(super) fn new_card(id: &str, target: &str, all: Option<&str>, says: &str) -> Markup {
    let reason = format!("{id}-reason");
    html! {
        details.nhsuk-details.app-action id=(id) {
            summary.nhsuk-details__summary { span.nhsuk-details__summary-text { "New holder's card" } }
            .nhsuk-details__text {
                p { (says) }
                form method="dialog" data-order=r#"{"kind":"holder_cards"}"# data-target=(target) data-all=[all]
                    data-ticked[target.is_empty() && all.is_none()] data-cards=""
                    data-done="Signed and accepted. The card is below: it is shown this once, so print it now." {
                    (why(&reason))
                    (status_line())
                    button.nhsuk-button.nhsuk-button--small type="submit" { "Make it" }
                }
            }
        }
    }
}

impl Action<'_> {
    /// For one phone, or, where `target` is empty, for those that are ticked in the list.
    pub(super) fn markup(&self, target: &str) -> Markup {
        self.form(target, None)
    }

    /// For all phones that this path tells when it is signed.
    pub(super) fn for_all(&self, phones: &str) -> Markup {
        self.form("", Some(phones))
    }

    fn form(&self, target: &str, all: Option<&str>) -> Markup {
        let ticked = target.is_empty() && all.is_none();
        let reason = format!("{}-reason", self.id);
        html! {
            details.nhsuk-details.app-action id=(self.id) {
                summary.nhsuk-details__summary { span.nhsuk-details__summary-text { (self.title) } }
                .nhsuk-details__text {
                    p { (self.says) }
                    form method="dialog" data-order=(self.order) data-target=(target) data-all=[all] data-ticked[ticked] data-secrets=[self.sealed.then_some("command")]
                        data-done="Signed and accepted. The phone is told as soon as it can be reached." {
                        (self.fields)
                        (why(&reason))
                        (status_line())
                        button.nhsuk-button.nhsuk-button--small.nhsuk-button--warning[self.grave] type="submit" { (self.button) }
                    }
                }
            }
        }
    }
}

pub(super) fn sealed_input(id: &str, name: &str, label: &str, required: bool) -> Markup {
    let id = format!("{id}-{name}");
    html! {
        .nhsuk-form-group {
            label.nhsuk-label for=(id) { (label) }
            input.nhsuk-input id=(id) name=(name) data-sealed="" required[required] maxlength="200" autocomplete="off";
        }
    }
}

fn actions(v: &Visitor, phone: &DeviceDetail, left: Option<(u32, u32)>) -> Markup {
    let Some(role) = v.role() else { return masks(&phone.sealed_fields) };
    let target = &phone.device.enrolment;
    let command = |command: Ordered| OrderKind::Command { command };
    let erase = Ordered::EraseDevice { preserve_data_plan: false, disallow_proximity_setup: false };
    let enrolled = phone.device.state == "enrolled";
    let nothing = html! {};
    html! {
        section.app-actions aria-labelledby="h-actions" {
            h2.nhsuk-heading-m #h-actions { "Do something" }
            @if may(role, &OrderKind::Open { fields: vec![] }, false) { (reveal(target, &phone.sealed_fields, left)) }
            @if may(role, &OrderKind::HolderCards, false) && !matches!(phone.device.state.as_str(), "withdrawn" | "checked_out" | "replaced") {
                (new_card("holder-card", target, None, "A code on paper for the phone's holder: with it they report the phone lost, and see what the \
                    hospital can see of it. The card that they have now is void at once."))
            }
            @if !enrolled {
                p.nhsuk-hint { "This phone is not under management, so nothing can be asked of it." }
            } @else {
                @if may(role, &command(Ordered::DeviceLock), false) {
                    (Action {
                        id: "lock", title: "Lock the screen", order: r#"{"kind":"lock"}"#, sealed: true, grave: false,
                        says: "The screen locks at once. Its holder opens it with their passcode and goes on working.",
                        fields: html! {
                            (sealed_input("lock", "message", "Message on the screen (if you like)", false))
                            (sealed_input("lock", "phone_number", "Number to call (if you like)", false))
                        },
                        button: "Lock",
                    }.markup(target))
                }
                @if may(role, &command(Ordered::EnableLostMode), false) {
                    (Action {
                        id: "lost-mode", title: "Lost mode", order: r#"{"kind":"lost_mode"}"#, sealed: true, grave: false,
                        says: "The phone shows your message and nothing else until lost mode is ended. It can be found and made to ring meanwhile. Supervised phones only.",
                        fields: html! {
                            (sealed_input("lost-mode", "message", "Message on the screen", true))
                            (sealed_input("lost-mode", "phone_number", "Number to call (if you like)", false))
                        },
                        button: "Turn lost mode on",
                    }.markup(target))
                    (Action {
                        id: "lost-mode-off", title: "End lost mode", order: r#"{"kind":"lost_mode_off"}"#, sealed: false, grave: false,
                        says: "The phone works again as before. Its holder is told that it was located, if it was.",
                        fields: nothing.clone(), button: "End lost mode",
                    }.markup(target))
                    (Action {
                        id: "ring", title: "Make it ring", order: r#"{"kind":"ring"}"#, sealed: false, grave: false,
                        says: "It rings at full volume, muted or not, until lost mode ends or somebody at the phone silences it. Only in lost mode.",
                        fields: nothing.clone(), button: "Ring",
                    }.markup(target))
                    (Action {
                        id: "locate", title: "Ask where it is", order: r#"{"kind":"locate"}"#, sealed: false, grave: false,
                        says: "Only in lost mode. The answer is sealed; open it below once it has come. Its holder is told when lost mode ends.",
                        fields: nothing.clone(), button: "Ask",
                    }.markup(target))
                }
                @if may(role, &command(Ordered::RestartDevice { notify_user: true }), false) {
                    (Action {
                        id: "restart", title: "Restart", order: r#"{"kind":"restart","ask":true}"#, sealed: false, grave: false,
                        says: "Its holder is asked first. What is not saved in an app may be lost. Supervised phones only.",
                        fields: nothing.clone(), button: "Restart",
                    }.markup(target))
                }
                @if may(role, &command(Ordered::ClearPasscode), false) {
                    (Action {
                        id: "clear-passcode", title: "Remove the passcode", order: r#"{"kind":"clear_passcode"}"#, sealed: false, grave: true,
                        says: "Whoever holds the phone can open it until its holder sets a new passcode. Do it with the holder beside you.",
                        fields: nothing.clone(), button: "Remove the passcode",
                    }.markup(target))
                }
                @if may(role, &command(erase), true) {
                    (Action {
                        id: "erase", title: "Erase everything", order: r#"{"kind":"erase"}"#, sealed: true, grave: true,
                        says: "Everything on the phone is deleted for good, and it leaves management. A lost phone is better in lost mode first: an erased one can't be found.",
                        fields: html! {
                            (sealed_input("erase", "holder_name", "Type the holder's name, as on the invitation", true))
                            .nhsuk-form-group { .nhsuk-checkboxes { .nhsuk-checkboxes__item {
                                input.nhsuk-checkboxes__input #erase-keep_esim name="keep_esim" type="checkbox" checked;
                                label.nhsuk-label.nhsuk-checkboxes__label for="erase-keep_esim" { "Keep the eSIM" }
                            } } }
                        },
                        button: "Erase this phone",
                    }.markup(target))
                }
            }
        }
    }
}

/// What people ask for daily, in this order; the rest is folded away.
const ASKED_FOR: &[&str] =
    &["Holder.Name", "Holder.Email", "DeviceName", "PhoneNumber", "SerialNumber", "IMEI", "UDID", "Location"];

/// What whoever only reads sees of what is sealed.
fn masks(fields: &[SealedField]) -> Markup {
    let masked = || fields.iter().filter(|f| !f.mask.is_empty());
    if masked().next().is_none() {
        return html! {};
    }
    html! {
        section aria-labelledby="h-masks" {
            h2.nhsuk-heading-m #h-masks { "Sealed" }
            dl.nhsuk-summary-list { @for f in masked() { (line(&label(&f.name), html! { span.app-mask { (shown(&f.mask)) } })) } }
        }
    }
}

/// The page does not wait longer for a vault that is slow.
const VAULT_PATIENCE: Duration = Duration::from_secs(1);

/// How many records this person may still open alone, in this hour and in these 24; none where the vault does not say.
async fn left_to_open(api: &Api, v: &Visitor) -> Option<(u32, u32)> {
    let role = v.role().filter(|role| may(*role, &OrderKind::Open { fields: vec![] }, false))?;
    let person = v.session.person.as_deref()?.parse().ok()?;
    let asked = api.get::<Overview>("/api/v1/roles", &v.bearer);
    let overview = tokio::time::timeout(VAULT_PATIENCE, asked).await.ok()?.ok()?;
    let of = |window| overview.left(Duty::Open, role, person, window);
    Some((of(Window::Hour)?, of(Window::Day)?))
}

fn reveal(target: &str, fields: &[SealedField], left: Option<(u32, u32)>) -> Markup {
    let rank = |f: &SealedField| {
        let last = f.name.rsplit('.').next().unwrap_or(&f.name);
        ASKED_FOR.iter().position(|n| *n == f.name || *n == last)
    };
    // Push tokens and keys are of no use to a person.
    let open = fields.iter().filter(|f| f.compartment != "push" && f.compartment != "secret");
    let (mut first, rest): (Vec<_>, Vec<_>) = open.partition(|f| rank(f).is_some());
    first.sort_by_key(|f| (rank(f), f.name.clone()));
    html! {
        details.nhsuk-details.app-action #reveal {
            summary.nhsuk-details__summary { span.nhsuk-details__summary-text { "Reveal…" } }
            .nhsuk-details__text {
                @if fields.is_empty() { p { "Nothing is sealed for this phone yet." } }
                @else {
                    p { "What you open is shown here alone, counts against your budget, and stands in the ledger with your reason." }
                    p #reveal-left data-live { @match left {
                        Some((hour, day)) => {
                            "Left of it: " strong { (number(hour.into())) } " in an hour, " strong { (number(day.into())) }
                            " in 24 hours. What is beyond takes another administrator's signature."
                        }
                        None => { "What is left of it is not known just now: the vault does not say." }
                    } }
                    form method="dialog" data-order=r#"{"kind":"open"}"# data-least="fields" data-target=(target) data-done="Opened; it is in the ledger." {
                        fieldset.nhsuk-fieldset {
                            legend.nhsuk-fieldset__legend { "What" }
                            (choices("first", &first))
                            @if !rest.is_empty() {
                                details.nhsuk-details {
                                    summary.nhsuk-details__summary { span.nhsuk-details__summary-text { "More" } }
                                    .nhsuk-details__text { (choices("more", &rest)) }
                                }
                            }
                        }
                        (why("reveal-reason"))
                        (status_line())
                        .app-answer data-answer="" hidden {
                            table.nhsuk-table { caption.nhsuk-table__caption { "Opened" } tbody.nhsuk-table__body {} }
                        }
                        button.nhsuk-button.nhsuk-button--small type="submit" { "Reveal" }
                    }
                }
            }
        }
    }
}

fn choices(of: &str, fields: &[&SealedField]) -> Markup {
    html! {
        .nhsuk-checkboxes.nhsuk-checkboxes--small {
            @for (n, f) in fields.iter().enumerate() {
                .nhsuk-checkboxes__item {
                    input.nhsuk-checkboxes__input id={ "open-" (of) (n) } name="fields" data-list="fields" type="checkbox" value=(f.name) data-label=(label(&f.name));
                    label.nhsuk-label.nhsuk-checkboxes__label for={ "open-" (of) (n) } {
                        (label(&f.name)) " "
                        @if !f.mask.is_empty() { span.app-mask { (shown(&f.mask)) } }
                        " " span.nhsuk-u-secondary-text-colour { (f.compartment) }
                    }
                }
            }
        }
    }
}

/// Its word and its colour.
pub(super) fn state_of_command(c: &Command) -> (&str, &'static str) {
    match c.state.as_str() {
        "not_now" => ("put off", "nhsuk-tag--yellow"),
        "cancelled" => ("called back", "nhsuk-tag--grey"),
        "acknowledged" | "done" => ("acknowledged", "nhsuk-tag--green"),
        "error" | "failed" => ("failed", "nhsuk-tag--red"),
        "expired" => ("ran out", "nhsuk-tag--grey"),
        other => (other, "nhsuk-tag--blue"),
    }
}

fn history(commands: &[Command], now_ms: i64) -> Markup {
    if commands.is_empty() {
        return html! { p.nhsuk-hint { "Nothing yet." } };
    }
    html! {
        .app-scroll tabindex="0" role="region" aria-label="Commands" { table.nhsuk-table {
            caption.nhsuk-u-visually-hidden { "Commands, newest first" }
            thead.nhsuk-table__head { tr {
                th scope="col" { "Command" } th scope="col" { "State" } th scope="col" { "Asked" } th scope="col" { "Answered" }
            } }
            tbody.nhsuk-table__body {
                @for c in commands {
                    @let (state, colour) = state_of_command(c);
                    tr.nhsuk-table__row {
                        td.nhsuk-table__cell { (shown(&c.request_type)) }
                        td.nhsuk-table__cell {
                            strong class={ "nhsuk-tag " (colour) } { (state) }
                            @if c.not_now_count > 0 && c.done_at_ms.is_none() {
                                p.nhsuk-hint { "put off " (words::count(u64::from(c.not_now_count), "time")) "; asked again" }
                            }
                            @for e in &c.errors { p.nhsuk-hint { (shown(&e.domain)) " " (e.code) } }
                        }
                        td.nhsuk-table__cell { (ago(Some(c.created_at_ms), now_ms)) }
                        td.nhsuk-table__cell { @if c.done_at_ms.is_some() { (ago(c.done_at_ms, now_ms)) } @else { "–" } }
                    }
                }
            }
        } }
    }
}

fn inventory(phone: &DeviceDetail, now_ms: i64) -> Markup {
    html! {
        @if !phone.reports.is_empty() {
            p { "Confirmed: "
                @for (n, r) in phone.reports.iter().enumerate() { @if n > 0 { ", " } (shown(&r.kind)) " " (ago(Some(r.at_ms), now_ms)) }
            }
        }
        @if !phone.managed_apps.is_empty() {
            h3.nhsuk-heading-s { "Apps that were ordered" }
            table.nhsuk-table { tbody.nhsuk-table__body { @for a in &phone.managed_apps {
                tr.nhsuk-table__row {
                    td.nhsuk-table__cell { (shown(&a.identifier)) }
                    td.nhsuk-table__cell { (a.state) @if let Some(r) = &a.reason { ": " (shown(r)) } }
                    td.nhsuk-table__cell { @if a.confirmed_at_ms.is_some() { "confirmed " (ago(a.confirmed_at_ms, now_ms)) } @else { "ordered " (ago(Some(a.requested_at_ms), now_ms)) } }
                }
            } } }
        }
        details.nhsuk-details {
            summary.nhsuk-details__summary { span.nhsuk-details__summary-text { "All " (phone.device.clear.len()) " fields that may stand in the clear" } }
            .nhsuk-details__text { dl.nhsuk-summary-list {
                @for (name, value) in &phone.device.clear { (line(name, html! { (shown(&text(value))) })) }
            } }
        }
        details.nhsuk-details {
            summary.nhsuk-details__summary { span.nhsuk-details__summary-text { "All " (phone.apps.len()) " apps" } }
            .nhsuk-details__text { table.nhsuk-table { tbody.nhsuk-table__body { @for a in &phone.apps {
                tr.nhsuk-table__row {
                    td.nhsuk-table__cell { (shown(&a.identifier)) }
                    td.nhsuk-table__cell { (shown(if a.short_version.is_empty() { &a.version } else { &a.short_version })) }
                }
            } } } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_link_of_an_error_chain_is_shown_in_the_phones_own_order() {
        let failed: Command = serde_json::from_value(serde_json::json!({
            "enrolment": "00", "expires_at_ms": 2, "request_type": "InstallProfile", "state": "error", "created_at_ms": 1,
            "done_at_ms": 2, "not_now_count": 0,
            "errors": [{ "code": 4001, "domain": "MCInstallationErrorDomain" }, { "code": 1009, "domain": "MCProfileErrorDomain" }],
        }))
        .unwrap();
        let page = history(&[failed], 3).into_string();
        let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text}: {page}"));
        assert!(at("failed") < at("MCInstallationErrorDomain 4001"));
        assert!(at("MCInstallationErrorDomain 4001") < at("MCProfileErrorDomain 1009"));
    }

    #[test]
    fn what_is_left_to_open_stands_at_reveal_and_so_does_that_nobody_knows_it() {
        let field = SealedField { name: "IMEI".into(), compartment: "hardware".into(), mask: String::new() };
        let told = |left| reveal("00", std::slice::from_ref(&field), left).into_string();
        let page = told(Some((197, 1_000)));
        assert!(
            page.contains("<strong>197</strong> in an hour, <strong>1,000</strong> in 24 hours"),
            "{page}"
        );
        assert!(told(None).contains("the vault does not say"));
    }
}
