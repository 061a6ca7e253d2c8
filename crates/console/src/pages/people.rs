//! Who signs orders, with what, and who may do what. Looking alone: what changes people, keys or limits takes a signature
//! made outside the browser, and the page has the commands for it.

use axum::Extension;
use axum::extract::{Query, State};
use axum::response::Response;
use maud::{Markup, html};
use model::{Duty, Limit, Role, Whose, Window};
use order::limits::{Limits, Overview, UNLIMITED};
use serde::Deserialize;

use super::parts::{Mood, cell, heads, tag, until, why};
use crate::api::{Api, Failure, path, sentence};
use crate::guard::Visitor;
use crate::layout::{Place, ago, page, shown, status_line};
use crate::shapes::{Page, Person};

#[derive(Debug, Deserialize)]
struct ApiKey {
    hash: String,
    label: String,
    scopes: Vec<String>,
    expires_at_ms: i64,
}

/// Someone who is signed in with their organisation's account.
#[derive(Debug, Deserialize)]
struct Reader {
    session: String,
    subject: String,
    role: String,
    group: Option<String>,
    began_at_ms: i64,
    expires_at_ms: i64,
}

/// What is tried out; it stands in the address.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Preview {
    role: Option<String>,
    kind: Option<String>,
    phones: Option<String>,
}

pub(crate) async fn show(
    State(api): State<Api>,
    Extension(v): Extension<Visitor>,
    Query(q): Query<Preview>,
) -> Result<Response, Failure> {
    let people = everyone(&api, &v).await?;
    let keys: Page<ApiKey> = api.get("/api/v1/api-keys", &v.bearer).await?;
    let readers: Page<Reader> = api.get("/api/v1/oidc/sessions", &v.bearer).await?;
    let o: Overview = api.get("/api/v1/roles", &v.bearer).await?;
    let table = Limits::with(&o.changed);
    let now_ms = v.session.now_ms;
    let (here, left): (Vec<&Person>, Vec<&Person>) = people.iter().partition(|p| p.removed_at_ms.is_none());
    let body = html! {
        h1.nhsuk-heading-l { "People and roles" }
        p { "Names are sealed, and these pages don't have them: a person is shown by the first digits of their id." }
        section aria-labelledby="h-people" {
            h2.nhsuk-heading-m #h-people { "Who signs orders" }
            (who(&here))
            @if !left.is_empty() {
                details.nhsuk-details {
                    summary.nhsuk-details__summary { span.nhsuk-details__summary-text { (words::count(left.len() as u64, "person")) " left" } }
                    .nhsuk-details__text { ul.nhsuk-list { @for p in &left {
                        li { code { (first(p.person)) } ", " (role(&p.role)) ", left " (words::maybe_time(p.removed_at_ms)) }
                    } } }
                }
            }
        }
        @if !readers.items.is_empty() {
            section aria-labelledby="h-readers" {
                h2.nhsuk-heading-m #h-readers { "Signed in to read" }
                p { "With their organisation's account, which knows who they are; Matron does not. They see masks and change nothing." }
                (readers_of(&v, &readers.items))
            }
        }
        section aria-labelledby="h-keys" {
            h2.nhsuk-heading-m #h-keys { "Keys of programs" }
            (programs(&keys.items, now_ms))
        }
        section aria-labelledby="h-may" {
            h2.nhsuk-heading-m #h-may { "Who can do what" }
            (may(&table, &o))
        }
        section aria-labelledby="h-preview" {
            h2.nhsuk-heading-m #h-preview { "What would happen?" }
            (preview(&q, &o))
        }
        section aria-labelledby="h-change" {
            h2.nhsuk-heading-m #h-change { "To change something" }
            (commands())
        }
    };
    Ok(page("People and roles", Place::People, Some(&v), body))
}

/// All of them: they are few, and the API gives 200 at once.
pub(super) async fn everyone(api: &Api, v: &Visitor) -> Result<Vec<Person>, Failure> {
    const MOST: usize = 2_000;
    let (mut people, mut cursor) = (Vec::new(), None);
    loop {
        let asked = path("/api/v1/people", &[("limit", Some("200".into())), ("cursor", cursor)]);
        let some: Page<Person> = api.get(&asked, &v.bearer).await?;
        people.extend(some.items);
        cursor = some.next_cursor;
        if cursor.is_none() || people.len() >= MOST {
            people.sort_by_key(|p| p.joined_at_ms);
            return Ok(people);
        }
    }
}

fn first(id: impl std::fmt::Display) -> String {
    id.to_string().chars().take(8).collect()
}

fn role(name: &str) -> String {
    let known = Role::ALL.into_iter().find(|r| r.name() == name);
    known.map_or_else(|| shown(name), |r| words::limits::role(r).to_owned())
}

fn who(people: &[&Person]) -> Markup {
    html! {
        table.nhsuk-table.nhsuk-table-responsive role="table" {
            caption.nhsuk-u-visually-hidden { "People who sign orders" }
            (heads(&["Person", "Role", "Group", "Joined", "Keys"]))
            tbody.nhsuk-table__body { @for p in people {
                tr.nhsuk-table__row role="row" {
                    (cell("Person", html! { a href=(path("/ledger", &[("person", Some(p.person.to_string()))])) { code { (first(p.person)) } } }))
                    (cell("Role", role(&p.role)))
                    (cell("Group", p.group.as_deref().map_or_else(|| "all".to_owned(), shown)))
                    (cell("Joined", words::time(p.joined_at_ms)))
                    (cell("Keys", html! {
                        @if p.keys.is_empty() { (tag(Mood::Look, "None")) " signs nothing until they are added anew" }
                        ul.app-keys { @for k in &p.keys { li {
                            code { (first(k)) } " " @if p.passkeys.contains(k) { "passkey" } @else { "key file" }
                        } } }
                    }))
                }
            } }
        }
    }
}

fn readers_of(v: &Visitor, readers: &[Reader]) -> Markup {
    let ends = v.role() == Some(Role::Administrator);
    html! {
        table.nhsuk-table.nhsuk-table-responsive role="table" {
            caption.nhsuk-u-visually-hidden { "People who are signed in with their organisation's account" }
            (heads(&["Account", "Reads as", "Group", "Since", "Until"]))
            tbody.nhsuk-table__body { @for r in readers {
                tr.nhsuk-table__row role="row" {
                    (cell("Account", html! { code { (shown(&r.subject)) } }))
                    (cell("Reads as", role(&r.role)))
                    (cell("Group", r.group.as_deref().map_or_else(|| "all".to_owned(), shown)))
                    (cell("Since", ago(Some(r.began_at_ms), v.session.now_ms)))
                    (cell("Until", words::time(r.expires_at_ms)))
                }
            } }
        }
        @if ends {
            details.nhsuk-details.app-action {
                summary.nhsuk-details__summary { span.nhsuk-details__summary-text { "End one of them" } }
                .nhsuk-details__text { @for r in readers { (end_of(r, v.session.now_ms)) } }
            }
        }
    }
}

fn end_of(r: &Reader, now_ms: i64) -> Markup {
    let session = Some(r.session.as_str()).filter(|s| s.bytes().all(|b| b.is_ascii_hexdigit()));
    let session = session.unwrap_or_default();
    let order = format!(r#"{{"kind":"end_session","session":"{session}"}}"#);
    let id = format!("end-{}", session.get(..12).unwrap_or_default());
    html! {
        form.app-narrow method="dialog" data-order=(order) data-done="Ended: they are signed out." {
            p { code { (shown(&r.subject)) } ", " (role(&r.role)) ", since " (words::ago(Some(r.began_at_ms), now_ms)) }
            (why(&id))
            (status_line())
            button.nhsuk-button.nhsuk-button--small.nhsuk-button--secondary type="submit" { "End" }
        }
    }
}

fn programs(keys: &[ApiKey], now_ms: i64) -> Markup {
    if keys.is_empty() {
        return html! { p { "No program has a key." } };
    }
    html! {
        table.nhsuk-table.nhsuk-table-responsive role="table" {
            caption.nhsuk-u-visually-hidden { "Read-only keys of programs" }
            (heads(&["For", "Reads", "Ends", "Hash"]))
            tbody.nhsuk-table__body { @for k in keys {
                tr.nhsuk-table__row role="row" {
                    (cell("For", html! { span.app-break { (shown(&k.label)) } }))
                    (cell("Reads", k.scopes.join(", ")))
                    (cell("Ends", until(k.expires_at_ms, now_ms)))
                    (cell("Hash", html! { code { (first(&k.hash)) } }))
                }
            } }
        }
    }
}

/// A budget as one reads it: in an hour, in a day.
fn budget(table: &Limits, duty: Duty, whose: Whose) -> String {
    let of = |window| table.get(&Limit::Budget { duty, whose, window });
    match (of(Window::Hour), of(Window::Day)) {
        (0, 0) => "–".into(),
        (UNLIMITED, UNLIMITED) => "no limit".into(),
        (hour, day) => format!("{} / {}", words::limits::most(hour), words::limits::most(day)),
    }
}

fn may(table: &Limits, o: &Overview) -> Markup {
    let changed: Vec<_> = o.changed.iter().filter(|(l, v)| Limits::built_in(l) != *v).collect();
    html! {
        p { "What one person may do with a signature of their own, in an hour / in a day: phones, records, searches or orders. "
            "A ward manager is held to their own group." }
        .app-scroll tabindex="0" role="region" aria-label="What each role may do" {
            table.nhsuk-table {
                caption.nhsuk-u-visually-hidden { "What each role may do alone, in an hour and in a day" }
                thead.nhsuk-table__head { tr {
                    th scope="col" { "What" }
                    @for r in Role::ALL { th scope="col" { (sentence(words::limits::role(r)).trim_end_matches('.')) } }
                } }
                tbody.nhsuk-table__body { @for duty in Duty::ALL {
                    tr.nhsuk-table__row {
                        th scope="row" { (words::limits::duty(*duty)) }
                        @for r in Role::ALL { td.nhsuk-table__cell { (budget(table, *duty, Whose::Person(r))) } }
                    }
                } }
            }
        }
        details.nhsuk-details {
            summary.nhsuk-details__summary { span.nhsuk-details__summary-text { "Several together, and the house" } }
            .nhsuk-details__text {
                .app-scroll tabindex="0" role="region" aria-label="What takes several people" {
                    table.nhsuk-table {
                        caption.nhsuk-u-visually-hidden { "What all may do who sign alone, what several may, and what takes more than one" }
                        thead.nhsuk-table__head { tr {
                            @for name in ["What", "All who sign alone", "Several together", "People who sign", "Phones for one", "Cools off"] { th scope="col" { (name) } }
                        } }
                        tbody.nhsuk-table__body { @for duty in Duty::ALL.iter().copied().filter(|d| *d != Duty::End) {
                            @let alone = table.get(&Limit::Alone { duty });
                            tr.nhsuk-table__row {
                                th scope="row" { (words::limits::duty(duty)) }
                                td.nhsuk-table__cell { (budget(table, duty, Whose::House)) }
                                td.nhsuk-table__cell { (budget(table, duty, Whose::Approved)) }
                                td.nhsuk-table__cell { (table.get(&Limit::Signers { duty })) }
                                td.nhsuk-table__cell { @if alone == UNLIMITED { "–" } @else { (alone) } }
                                td.nhsuk-table__cell { (words::limits::seconds(table.get(&Limit::CoolingOff { duty }))) }
                            }
                        } }
                    }
                }
            }
        }
        @if !o.two_administrators {
            .nhsuk-inset-text { p { "This house has had one administrator so far: people, keys and standing orders take one signature until a "
                "second has joined, and nothing goes beyond a budget." } }
        }
        @if !changed.is_empty() {
            p { "Set by orders:" }
            ul.nhsuk-list.nhsuk-list--bullet { @for (l, value) in changed { li { (sentence(&words::limits::limit(l, *value))) } } }
        }
    }
}

fn preview(q: &Preview, o: &Overview) -> Markup {
    let of = |name: &Option<String>| name.clone().unwrap_or_default();
    let role = Role::ALL.into_iter().find(|r| r.name() == of(&q.role));
    let duty = Duty::from_name(&of(&q.kind));
    let phones = of(&q.phones).parse::<u32>().ok().filter(|n| (1..=20_000).contains(n));
    html! {
        @if let (Some(role), Some(duty), Some(phones)) = (role, duty, phones) {
            .nhsuk-inset-text #preview { p { (sentence(words::limits::preview(o, role, duty, phones).trim_end())) } }
        } @else if q.role.is_some() {
            .nhsuk-inset-text #preview { p { "Choose a role, what, and how many from 1 to 20,000." } }
        }
        form method="get" action="/people" {
            .app-fields {
                .nhsuk-form-group {
                    label.nhsuk-label for="p-role" { "If someone who is" }
                    select.nhsuk-select #p-role name="role" {
                        @for r in Role::ALL { option value=(r.name()) selected[role == Some(r)] { (words::limits::role(r)) } }
                    }
                }
                .nhsuk-form-group {
                    label.nhsuk-label for="p-kind" { "Orders" }
                    select.nhsuk-select #p-kind name="kind" {
                        @for d in Duty::ALL { option value=(d.name()) selected[duty == Some(*d)] { (words::limits::duty(*d)) } }
                    }
                }
                .nhsuk-form-group {
                    label.nhsuk-label for="p-phones" { "For how many at once" }
                    input.nhsuk-input #p-phones name="phones" inputmode="numeric" value=(q.phones.clone().unwrap_or_else(|| "1".into()));
                }
                .nhsuk-form-group { button.nhsuk-button.nhsuk-button--small type="submit" { "Look" } }
            }
        }
        p.nhsuk-hint { "By the budgets of roles and the house as they are spent now; nobody's own. Nothing is ordered." }
    }
}

fn commands() -> Markup {
    let all = [
        (
            "Add a person with a passkey; they open the link that it prints",
            "matron people add --name NAME --role ROLE --passkey",
        ),
        ("A person leaves: keys, sessions and grants end", "matron people remove ID"),
        ("Another passkey, or another key, of your own", "matron admin add-key --passkey"),
        ("End a key of your own", "matron admin end-key KEY"),
        ("A read-only key for a program", "matron api-keys make"),
        ("End a program's key", "matron api-keys end HASH"),
        ("Every number that can be set, with its bounds", "matron roles show --limits"),
        ("Set a number", "matron roles set --kind erase --alone 1"),
    ];
    html! {
        p { "People, keys and limits take a signature from outside the browser, most of them two people's: this page is core's, and whoever "
            "held core could show one thing and ask for another. On an administrator's own machine:" }
        dl.nhsuk-summary-list {
            @for (what, command) in all {
                .nhsuk-summary-list__row.nhsuk-summary-list__row--no-actions {
                    dt.nhsuk-summary-list__key { (what) }
                    dd.nhsuk-summary-list__value { code.app-break { (command) } }
                }
            }
        }
    }
}
