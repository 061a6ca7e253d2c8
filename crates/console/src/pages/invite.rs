//! Invitations: one person and one phone, once. The link is opened by the browser alone, and so is what is printed.

use axum::Extension;
use axum::extract::{Query, State};
use axum::response::Response;
use maud::{Markup, html};
use model::Group;
use order::OrderKind;
use serde::Deserialize;

use super::parts::title_row;
use super::phone::may;
use crate::api::{Api, Failure, path};
use crate::guard::Visitor;
use crate::layout::{Place, page, shown, status_line};
use crate::shapes::{Invitation, Page};

/// Which part of the list.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Asked {
    cursor: Option<String>,
}

/// How long a link may work.
const DAYS: &[(u32, &str)] =
    &[(1, "1 day"), (7, "7 days"), (14, "14 days"), (30, "30 days"), (60, "60 days")];
const USUAL_DAYS: u32 = 7;

pub(crate) async fn show(
    State(api): State<Api>,
    Extension(v): Extension<Visitor>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let from = path("/api/v1/invitations", &[("cursor", asked.cursor)]);
    let open: Page<Invitation> = api.get(&from, &v.bearer).await?;
    let next = open.next_cursor.map(|c| path("/invite", &[("cursor", Some(c))]));
    let invites = v.role().is_some_and(|role| {
        let group = Group::new(v.session.group.as_deref().unwrap_or("any"));
        group.is_ok_and(|group| may(role, &OrderKind::Invite { group, valid_ms: 1 }, false))
    });
    let body = html! {
        (title_row("Invite"))
        @if invites {
            (one(&v))
            (sheet(api.call.as_deref()))
            (many(&v))
        } @else {
            p { "Your role invites nobody. It may see which invitations are open." }
        }
        section.app-screen-only aria-labelledby="h-open" {
            h2.nhsuk-heading-m #h-open { "Open invitations" }
            #open data-live { (list(&open.items, invites)) }
            @if let Some(next) = next { p { a href=(next) rel="next" { "Next page" } } }
            @if invites { (withdraw()) }
        }
    };
    Ok(page("Invite", Place::Invite, Some(&v), body))
}

fn group_input(id: &str, v: &Visitor) -> Markup {
    let own = v.session.group.as_deref();
    html! {
        .nhsuk-form-group {
            label.nhsuk-label for=(id) { "Group or ward" }
            .nhsuk-hint id={ (id) "-hint" } {
                @if own.is_some() { "Your role reaches this group alone." }
                @else { "Small letters, digits and hyphens, such as ward-7." }
            }
            input.nhsuk-input.nhsuk-input--width-20 id=(id) name="group" required maxlength="64" pattern="[a-z0-9\\-]+"
                autocomplete="off" autocapitalize="none" spellcheck="false" value=(own.unwrap_or_default())
                readonly[own.is_some()] aria-describedby={ (id) "-hint" };
        }
    }
}

/// One person's.
fn one(v: &Visitor) -> Markup {
    html! {
        section.app-screen-only aria-labelledby="h-one" {
            h2.nhsuk-heading-m #h-one { "One person" }
            p { "They get one link, for one phone, once. Name and email address are sealed before they leave this page." }
            form.app-narrow #invite method="dialog" data-order=r#"{"kind":"invite"}"# data-secrets="invite"
                data-done="Signed and accepted. The link is below: it is shown this once, so print it or send it now." {
                .nhsuk-form-group {
                    label.nhsuk-label for="invite-name" { "Who will hold the phone?" }
                    .nhsuk-hint #invite-name-hint { "Their name, as on their badge. It is asked for again before the phone can be erased." }
                    input.nhsuk-input #invite-name name="name" data-sealed="" required maxlength="200" autocomplete="off" aria-describedby="invite-name-hint";
                }
                .nhsuk-form-group {
                    label.nhsuk-label for="invite-email" { "Their email address" }
                    input.nhsuk-input #invite-email name="email" type="email" data-sealed="" required maxlength="254" autocomplete="off" spellcheck="false";
                }
                (group_input("invite-group", v))
                .nhsuk-form-group {
                    label.nhsuk-label for="invite-days" { "The link works for" }
                    select.nhsuk-select #invite-days name="days" data-number="" {
                        @for (days, text) in DAYS { option value=(days) selected[*days == USUAL_DAYS] { (text) } }
                    }
                }
                .nhsuk-form-group {
                    label.nhsuk-label for="invite-reason" { "Why?" }
                    .nhsuk-hint #invite-reason-hint { "Auditors read it. No names or numbers." }
                    input.nhsuk-input #invite-reason name="reason" required maxlength="400" value="a phone is to be enrolled" autocomplete="off" aria-describedby="invite-reason-hint";
                }
                (status_line())
                button.nhsuk-button type="submit" { "Invite" }
            }
        }
    }
}

/// What is printed: the page's script puts the links here.
fn sheet(call: Option<&str>) -> Markup {
    html! {
        section #sheet aria-labelledby="h-sheet" hidden {
            .app-title-row {
                h2.nhsuk-heading-m #h-sheet tabindex="-1" { "Links" }
                p.app-screen-only { button.nhsuk-button.nhsuk-button--small.nhsuk-button--secondary type="button" data-print="" { "Print the sheet" } }
            }
            .nhsuk-inset-text.app-screen-only { p {
                "Each link is for its person alone: whoever opens it first enrols. Nobody can show it again, Matron neither; "
                "when it is lost, take the invitation back and make another."
            } }
            p.app-print-only {
                "Give each strip to its person alone. On the phone: join the Wi-Fi, point the camera at the code, open the link, "
                "then Settings › Profile Downloaded › Install. The holder's card below each strip is cut off and kept apart from the phone."
            }
            ul.app-cards #cards data-call=[call] {}
        }
    }
}

/// What is printed of holders' cards that were made anew: the page's script puts them here.
pub(super) fn cards_sheet(call: Option<&str>) -> Markup {
    html! {
        section.app-sheet-alone #sheet aria-labelledby="h-sheet" hidden {
            .app-title-row {
                h2.nhsuk-heading-m #h-sheet tabindex="-1" { "Holder's cards" }
                p.app-screen-only { button.nhsuk-button.nhsuk-button--small.nhsuk-button--secondary type="button" data-print="" { "Print" } }
            }
            .nhsuk-inset-text.app-screen-only { p {
                "Each card is for its phone's holder alone. Nobody can show it again, Matron neither; when it is lost, make another."
            } }
            ul.app-cards #cards data-call=[call] {}
        }
    }
}

/// A file of many: looked at here, row by row, and signed by the command line.
fn many(v: &Visitor) -> Markup {
    html! {
        section.app-screen-only aria-labelledby="h-many" {
            h2.nhsuk-heading-m #h-many { "Many at once" }
            p {
                "A file with the columns " code { "name,email,group" } " is looked at here, row by row, without leaving this browser. "
                "One touch of a passkey signs one invitation; so the command line signs those of a file. It writes their links "
                "into a file of yours, and chosen here, that one becomes the sheet to print."
            }
            form.app-narrow #many method="dialog" {
                .nhsuk-form-group {
                    label.nhsuk-label for="many-file" { "File (CSV)" }
                    input.nhsuk-file-upload #many-file name="file" type="file" accept=".csv,text/csv";
                }
                .nhsuk-form-group {
                    label.nhsuk-label for="many-group" { "Group of rows that name none (if you like)" }
                    input.nhsuk-input.nhsuk-input--width-20 #many-group name="group" maxlength="64" autocomplete="off" autocapitalize="none" spellcheck="false" value=(v.session.group.as_deref().unwrap_or_default());
                }
                (status_line())
            }
            #many-command hidden {
                p { "On your own machine, where " code { "matron" } " signs with your key:" }
                pre.app-command { code {} }
            }
            #many-wrong hidden {
                .app-scroll tabindex="0" role="region" aria-label="Rows to mend" {
                    table.nhsuk-table {
                        caption.nhsuk-table__caption { "Rows to mend" }
                        thead.nhsuk-table__head { tr { th scope="col" { "Row" } th scope="col" { "What the file says" } th scope="col" { "What is wrong" } } }
                        tbody.nhsuk-table__body {}
                    }
                }
            }
        }
    }
}

fn list(open: &[Invitation], invites: bool) -> Markup {
    if open.is_empty() {
        return html! { p.nhsuk-hint { "None: every invitation was used, has been taken back, or there has been none." } };
    }
    let label = |text: &str| html! { span.nhsuk-table-responsive__heading aria-hidden="true" { (text) " " } };
    html! {
        table.nhsuk-table.nhsuk-table-responsive role="table" {
            caption.nhsuk-u-visually-hidden { "Invitations that no phone has used" }
            thead.nhsuk-table__head role="rowgroup" { tr role="row" {
                @if invites { th role="columnheader" scope="col" { span.nhsuk-u-visually-hidden { "Choose" } } }
                th role="columnheader" scope="col" { "Phone to be" }
                th role="columnheader" scope="col" { "Group" }
                th role="columnheader" scope="col" { "Invited" }
                th role="columnheader" scope="col" { "Works until" }
            } }
            tbody.nhsuk-table__body { @for i in open {
                @let short = i.enrolment.get(..8).unwrap_or(&i.enrolment);
                tr.nhsuk-table__row role="row" {
                    @if invites {
                        td.nhsuk-table__cell role="cell" {
                            input.app-tick type="radio" name="phone" value=(i.enrolment) aria-label={ "Invitation " (short) };
                        }
                    }
                    td.nhsuk-table__cell role="cell" { (label("Phone to be")) a href={ "/phones/" (i.enrolment) } { code { (short) } } }
                    td.nhsuk-table__cell role="cell" { (label("Group")) (shown(&i.group)) }
                    td.nhsuk-table__cell role="cell" { (label("Invited")) (words::time(i.invited_at_ms)) }
                    td.nhsuk-table__cell role="cell" {
                        (label("Works until")) (words::time(i.expires_at_ms))
                        @if i.expired { " " strong.nhsuk-tag.nhsuk-tag--grey { "Run out" } }
                    }
                }
            } }
        }
    }
}

fn withdraw() -> Markup {
    html! {
        details.nhsuk-details.app-action #withdraw {
            summary.nhsuk-details__summary { span.nhsuk-details__summary-text { "Take an invitation back" } }
            .nhsuk-details__text {
                p { "Choose it in the list. Its link stops working at once; a phone that has enrolled already is not touched." }
                form method="dialog" data-order=r#"{"kind":"withdraw"}"# data-ticked="" data-nothing="Choose an invitation in the list first." data-done="Taken back; its link works no more." {
                    .nhsuk-form-group {
                        label.nhsuk-label for="withdraw-reason" { "Why?" }
                        .nhsuk-hint #withdraw-reason-hint { "Auditors read it. No names or numbers." }
                        input.nhsuk-input #withdraw-reason aria-describedby="withdraw-reason-hint" name="reason" required maxlength="400" value="the invitation is no longer needed" autocomplete="off";
                    }
                    (status_line())
                    button.nhsuk-button.nhsuk-button--small type="submit" { "Take it back" }
                }
            }
        }
    }
}
