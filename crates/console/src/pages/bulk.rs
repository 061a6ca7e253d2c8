//! What can be done with several phones of the list at once.

use maud::{Markup, html};
use model::{Command as Ordered, Role};
use order::OrderKind;

use super::device_groups;
use super::invite::cards_sheet;
use super::parts::why;
use super::phone::{Action, may, new_card, sealed_input};
use crate::guard::Visitor;
use crate::layout::status_line;
use crate::shapes::DeviceGroup;

/// Whether the list has boxes to tick.
pub(super) fn may_any(v: &Visitor) -> bool {
    v.role().is_some_and(may_lock)
}

fn command(role: Role, command: Ordered, erasing: bool) -> bool {
    may(role, &OrderKind::Command { command }, erasing)
}

fn may_lock(role: Role) -> bool {
    command(role, Ordered::DeviceLock, false)
}

/// Whom the actions are for.
#[derive(Clone, Copy)]
enum Whom<'a> {
    /// The phones that are ticked in the list.
    Ticked,
    /// Those that a device group holds when it is signed; where they are asked for.
    All(&'a str),
}

/// The actions, for the phones that are ticked.
pub(super) fn actions(v: &Visitor, call: Option<&str>) -> Markup {
    if !may_any(v) {
        return html! {};
    }
    html! {
        section.app-actions aria-labelledby="h-bulk" {
            h2.nhsuk-heading-m #h-bulk { "With the ticked phones" }
            p.nhsuk-hint data-ticks="" role="status" { "Tick phones in the list first." }
            (each(v, Whom::Ticked))
            (cards_sheet(call))
            @if device_groups::may_save(v) { (list_of_ticked()) }
        }
    }
}

/// The same for all phones that a device group holds at the moment of signing.
pub(super) fn of_group(v: &Visitor, group: &DeviceGroup, call: Option<&str>) -> Markup {
    if !may_any(v) {
        return html! {};
    }
    let phones = format!("/device-groups/{}/phones", group.device_group);
    html! {
        section.app-actions aria-labelledby="h-bulk" {
            h2.nhsuk-heading-m #h-bulk { "With all phones in it" }
            p { "An order names its phones one by one, so it goes to those that are in now, and to none that come later. You see "
                "how many before you sign." }
            (each(v, Whom::All(&phones)))
            (cards_sheet(call))
        }
    }
}

fn list_of_ticked() -> Markup {
    html! {
        details.nhsuk-details.app-action #make-list {
            summary.nhsuk-details__summary { span.nhsuk-details__summary-text { "Make a device group of them" } }
            .nhsuk-details__text {
                p { "A list of these very phones, under a name. Nothing is done to them." }
                form method="dialog" data-order=r#"{"kind":"save_device_group","replaces":null,"definition":"list"}"# data-ticked=""
                    data-mints="group" data-then="/device-groups/{group}" {
                    (device_groups::name_input("make-list-name", ""))
                    (why("make-list-reason"))
                    (status_line())
                    button.nhsuk-button.nhsuk-button--small type="submit" { "Save this device group" }
                }
            }
        }
    }
}

fn each(v: &Visitor, whom: Whom<'_>) -> Markup {
    let Some(role) = v.role() else { return html! {} };
    let erase = Ordered::EraseDevice { preserve_data_plan: false, disallow_proximity_setup: false };
    let markup = |action: Action<'_>| match whom {
        Whom::Ticked => action.markup(""),
        Whom::All(phones) => action.for_all(phones),
    };
    html! {
        (markup(Action {
            id: "lock", title: "Lock their screens", order: r#"{"kind":"lock"}"#, sealed: true, grave: false,
            says: "The screens lock at once. Their holders open them with their passcodes and go on working.",
            fields: sealed_input("lock", "message", "Message on the screens (if you like)", false), button: "Lock",
        }))
        @if command(role, Ordered::EnableLostMode, false) {
            (markup(Action {
                id: "lost-mode", title: "Lost mode", order: r#"{"kind":"lost_mode"}"#, sealed: true, grave: false,
                says: "The phones show your message and nothing else until lost mode is ended. Supervised phones only.",
                fields: html! {
                    (sealed_input("lost-mode", "message", "Message on the screens", true))
                    (sealed_input("lost-mode", "phone_number", "Number to call (if you like)", false))
                },
                button: "Turn lost mode on",
            }))
        }
        @if command(role, Ordered::RestartDevice { notify_user: true }, false) {
            (markup(Action {
                id: "restart", title: "Restart", order: r#"{"kind":"restart","ask":true}"#, sealed: false, grave: false,
                says: "Their holders are asked first. What is not saved in an app may be lost. Supervised phones only.",
                fields: html! {}, button: "Restart",
            }))
        }
        @if may(role, &OrderKind::HolderCards, false) {
            @let says = "Codes on paper for the phones' holders, at most 100 at once: with them they report their phones lost, and see what the \
                hospital can see of them. The cards that they have now are void at once.";
            @let all = if let Whom::All(phones) = whom { Some(phones) } else { None };
            (new_card("holder-card", "", all, says))
        }
        // Of a device group it is core that says which phones: what is erased, somebody has ticked.
        @if matches!(whom, Whom::Ticked) && command(role, erase, true) {
            (markup(Action {
                id: "erase", title: "Erase everything", order: r#"{"kind":"erase"}"#, sealed: false, grave: true,
                says: "Everything on the phones is deleted for good, and they leave management. It waits for a second \
                       administrator, then cools off. A single phone is erased from its own page, by its holder's name.",
                fields: html! {
                    .nhsuk-form-group { .nhsuk-checkboxes { .nhsuk-checkboxes__item {
                        input.nhsuk-checkboxes__input #erase-keep_esim name="keep_esim" type="checkbox" checked;
                        label.nhsuk-label.nhsuk-checkboxes__label for="erase-keep_esim" { "Keep the eSIM" }
                    } } }
                },
                button: "Erase these phones",
            }))
        }
    }
}
