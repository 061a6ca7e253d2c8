//! What waits for a second person, and what can still be called back.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use maud::{Markup, html};
use model::{Duty, Role};
use order::limits::{Limits, Overview, cooling_off_ms, takes_one_outside};
use order::{Order, OrderKind, SignedOrder};

use super::parts::{line, title_row, why};
use super::people;
use super::phone::may;
use crate::api::{Api, Failure, path, sentence};
use crate::guard::Visitor;
use crate::layout::{Place, page, shown};
use crate::ordering;
use crate::shapes::{ListedOrder, Page, Person, UnderWay};

/// How many orders are shown at once, each read from its own bytes.
const SHOWN: u32 = 20;
/// How many of its phones an order's card names.
const NAMED: usize = 10;

pub(crate) async fn show(
    State(api): State<Api>,
    Extension(v): Extension<Visitor>,
) -> Result<Response, Failure> {
    let people = People::all(&api, &v).await?;
    let waiting = match waiting(&api, &v).await {
        Err(f) if f.status == StatusCode::FORBIDDEN => None,
        found => Some(found?),
    };
    let cooling = cooling(&api, &v).await?;
    let now_ms = v.session.now_ms;
    let body = html! {
        (title_row("Approvals"))
        (decided())
        section aria-labelledby="h-waiting" {
            h2.nhsuk-heading-m #h-waiting { "Waiting for another signature" }
            #waiting data-live {
                @match &waiting {
                    None => p { "Your role reaches one group, and these tell of every group: someone else approves them." },
                    Some(w) if w.orders.is_empty() && w.unread.is_empty() => p.nhsuk-hint { "Nothing waits." },
                    Some(found) => {
                        @for w in &found.orders { (card(&v, w, &found.limits, &people, now_ms)) }
                        @for (id, why) in &found.unread {
                            .nhsuk-inset-text {
                                p { "An order waits that this page can't show: " (sentence(why)) }
                                pre.app-command { code { "matron approve " (id) } }
                            }
                        }
                        @if found.more { p { "There are more: decide these first, or see " code { "matron orders pending" } "." } }
                    }
                }
            }
        }
        section aria-labelledby="h-cooling" {
            h2.nhsuk-heading-m #h-cooling { "Cooling off" }
            p { "Signed and accepted, and no phone has been told yet. Called back now, it is as if it had never been." }
            #cooling data-live {
                @if cooling.is_empty() { p.nhsuk-hint { "Nothing cools off." } }
                @for (listed, order) in &cooling { (cools(&v, listed, order.as_ref(), &people)) }
            }
        }
    };
    Ok(page("Approvals", Place::Approvals, Some(&v), body))
}

/// An order that waits, from its bytes.
struct Waiting {
    listed: ListedOrder,
    signed: SignedOrder,
    order: Order,
    /// What it does by what lies sealed in it or by what was saved, or why that can't be shown.
    inside: Result<Vec<String>, String>,
}

/// All that waits, as far as it is shown.
struct Found {
    orders: Vec<Waiting>,
    /// Those that can't be shown, and why.
    unread: Vec<(model::OrderId, String)>,
    more: bool,
    limits: Limits,
}

async fn waiting(api: &Api, v: &Visitor) -> Result<Found, Failure> {
    let asked = path("/api/v1/orders/pending", &[("limit", Some(SHOWN.to_string()))]);
    let pending: Page<ListedOrder> = api.get(&asked, &v.bearer).await?;
    let (mut orders, mut unread) = (Vec::new(), Vec::new());
    for listed in pending.items {
        let signed = match ordering::signed(api, v, listed.order).await {
            Ok(signed) => signed,
            // It was decided meanwhile.
            Err(f) if f.status == StatusCode::NOT_FOUND => continue,
            Err(f) => {
                unread.push((listed.order, f.detail));
                continue;
            }
        };
        match order::decode::<Order>(&signed.order) {
            Ok(order) => {
                let saved = ordering::inside(api, v, &order).await;
                let told = words::outline::inside(&order);
                let inside = saved.map(|saved| [told, saved].concat()).map_err(|f| f.detail);
                orders.push(Waiting { listed, signed, order, inside });
            }
            Err(_) => unread.push((listed.order, "this version can't read it".into())),
        }
    }
    let table: Overview = api.get("/api/v1/roles", &v.bearer).await?;
    let limits = Limits::with(&table.changed);
    Ok(Found { orders, unread, more: pending.next_cursor.is_some(), limits })
}

async fn cooling(api: &Api, v: &Visitor) -> Result<Vec<(ListedOrder, Option<Order>)>, Failure> {
    let cooling: Page<UnderWay> = api.get("/api/v1/orders/under_way?cooling=true", &v.bearer).await?;
    let mut orders = Vec::new();
    for listed in cooling.items.into_iter().map(|u| u.order) {
        let order = read(api, v, &listed).await;
        orders.push((listed, order));
    }
    Ok(orders)
}

/// What an order says, from its bytes; someone who is held to a group does not get them.
pub(super) async fn read(api: &Api, v: &Visitor, listed: &ListedOrder) -> Option<Order> {
    let signed = ordering::signed(api, v, listed.order).await.ok()?;
    order::decode(&signed.order).ok()
}

/// An order in a few words, as a heading.
pub(super) fn title(listed: &ListedOrder, order: Option<&Order>) -> String {
    let words = order.map_or_else(|| listed.kind.replace('_', " "), |o| words::what(&o.kind));
    sentence(&words).trim_end_matches('.').to_owned()
}

/// Those who sign; their names are sealed.
pub(super) struct People(Vec<Person>);

impl People {
    pub(super) async fn all(api: &Api, v: &Visitor) -> Result<Self, Failure> {
        Ok(Self(people::everyone(api, v).await?))
    }

    fn told(&self, v: &Visitor, found: Option<&Person>) -> String {
        let Some(p) = found else { return "someone who is not in the list of people".into() };
        let (id, role) = (p.person.to_string(), Role::ALL.into_iter().find(|r| r.name() == p.role));
        let role = role.map_or_else(|| p.role.clone(), |r| words::limits::role(r).to_owned());
        let you = if Some(&id) == v.session.person.as_ref() { " (you)" } else { "" };
        format!("{role} {}{you}", id.get(..8).unwrap_or(&id))
    }

    fn by_key(&self, v: &Visitor, key: &model::KeyId) -> String {
        self.told(v, self.0.iter().find(|p| p.keys.contains(key)))
    }

    pub(super) fn by_id(&self, v: &Visitor, person: Option<model::PersonId>) -> String {
        self.told(v, self.0.iter().find(|p| Some(p.person) == person))
    }

    fn is_among(&self, v: &Visitor, signed: &SignedOrder) -> bool {
        let own = self.0.iter().find(|p| Some(p.person.to_string()) == v.session.person);
        own.is_some_and(|p| signed.signatures.iter().any(|s| p.keys.contains(&s.key)))
    }
}

/// Which phones, and that people hold them.
pub(super) fn touches(order: &Order) -> Markup {
    let n = order.targets.len();
    html! {
        @if n == 0 { "no phone" } @else {
            (words::count(n as u64, "phone")) ", and " @if n == 1 { "the person who holds it" } @else { "the people who hold them" } ": "
            @for (i, t) in order.targets.iter().take(NAMED).enumerate() {
                @let id = t.to_string();
                @if i > 0 { ", " }
                a href={ "/phones/" (id) } { code { (id.get(..8).unwrap_or(&id)) } }
            }
            @if n > NAMED { " and " (n - NAMED) " more" }
        }
    }
}

/// What an order does, one thing a point: whole, since a person judges by it.
pub(super) fn does(told: &[String]) -> Markup {
    html! { ul.nhsuk-list.nhsuk-list--bullet { @for one in told { li { (sentence(one)) } } } }
}

fn card(v: &Visitor, w: &Waiting, limits: &Limits, people: &People, now_ms: i64) -> Markup {
    let id = w.listed.order.to_string();
    let hold = w.listed.hold.as_ref();
    let duty = hold.map_or_else(|| order::limits::duty(&w.order.kind, false), |h| h.duty);
    let phones = u32::try_from(w.order.targets.len()).unwrap_or(u32::MAX);
    let cools_ms = cooling_off_ms(limits, duty, phones);
    let erasing = duty == Duty::Erase;
    html! {
        article.nhsuk-card.app-order.app-order--grave[erasing] id={ "order-" (id) } {
            .nhsuk-card__content {
                h3.nhsuk-card__heading.nhsuk-heading-s { (title(&w.listed, Some(&w.order))) }
                @if erasing { p { strong.nhsuk-tag.nhsuk-tag--red { "Counts as erasing " (words::count(phones.into(), "phone")) } } }
                dl.nhsuk-summary-list {
                    @match &w.inside {
                        Ok(told) if told.is_empty() => {},
                        Ok(told) => (line("What it does", does(told))),
                        Err(why) => (line("What it does", html! { strong { (sentence(&shown(why))) } })),
                    }
                    (line("Why", html! { (shown(&w.order.reason)) }))
                    (line("Asked by", html! { @for (n, s) in w.signed.signatures.iter().enumerate() { @if n > 0 { ", then signed by " } (people.by_key(v, &s.key)) } ", " time title=(words::time(w.order.made_at_ms)) { (words::ago(Some(w.order.made_at_ms), now_ms)) } }))
                    (line("Touches", touches(&w.order)))
                    @if let Some(h) = hold { (line("Why it waits", html! { (sentence(&words::limits::hold(h, false))) })) }
                    @if let Some(what) = words::outline::sealed(&w.order) {
                        (line("Sealed", html! { (sentence(what)) " To know it, ask whoever made the order, by another way than this page." }))
                    }
                    @if cools_ms > 0 { (line("Once signed", html! { "it cools off for " (words::span(cools_ms)) "; then it can't be undone" })) }
                    (line("Runs out", html! { (words::time(w.order.expires_at_ms)) " unless it is signed" }))
                    (line("Order", html! { code.app-break { (id) } }))
                }
                (decide(v, w, duty, takes_one_outside(limits, duty, phones), people.is_among(v, &w.signed)))
            }
        }
    }
}

/// What this visitor can do with it.
fn decide(v: &Visitor, w: &Waiting, duty: Duty, outside: bool, signed_already: bool) -> Markup {
    let id = w.listed.order.to_string();
    let signs = v.role().is_some_and(|r| may(r, &w.order.kind, duty == Duty::Erase));
    let rejects = v.role().is_some_and(|r| may(r, &OrderKind::Reject { order: w.listed.order }, false));
    let from_outside = w.signed.signatures.iter().any(|s| s.scheme.is_outside_browser());
    html! {
        @if w.inside.is_err() {
            p { "Nobody signs what they can't be shown." }
        } @else if v.only_reads() {
            p { "You signed in to read: someone with a passkey signs this." }
        } @else if !signs {
            p { "Your role does not sign this: another person has to." }
        } @else if signed_already {
            p { "You have signed this: another person has to." }
        } @else if outside && !from_outside {
            .nhsuk-inset-text {
                p { "One of the signatures has to be made outside the browser, and so far none is. Don't sign it here; on your own machine:" }
                pre.app-command { code { "matron approve " (id) } }
            }
        } @else {
            form method="dialog" data-approve=(id) {
                button.nhsuk-button.nhsuk-button--small type="submit" { "Read and sign…" }
            }
        }
        @if rejects {
            (fold("reject", &id, "Reject it", "It is refused for good, and the ledger says by whom.", "reject", "Reject", "Rejected."))
        }
    }
}

/// What came of it: stays when what it was about goes.
pub(super) fn decided() -> Markup {
    html! { p.app-status #decided role="status" aria-live="polite" data-status="" {} }
}

/// An order that ends another one, folded until it is wanted.
pub(super) fn fold(
    what: &str,
    id: &str,
    title: &str,
    says: &str,
    kind: &str,
    button: &str,
    done: &str,
) -> Markup {
    let reason = format!("{what}-{id}");
    let order = format!(r#"{{"kind":"{kind}","order":"{id}"}}"#);
    html! {
        details.nhsuk-details.app-action id={ (what) "-fold-" (id) } {
            summary.nhsuk-details__summary { span.nhsuk-details__summary-text { (title) } }
            .nhsuk-details__text {
                p { (says) }
                form method="dialog" data-order=(order) data-done=(done) data-says="decided" {
                    (why(&reason))
                    button.nhsuk-button.nhsuk-button--small.nhsuk-button--secondary type="submit" { (button) }
                }
            }
        }
    }
}

fn cools(v: &Visitor, listed: &ListedOrder, order: Option<&Order>, people: &People) -> Markup {
    let id = listed.order.to_string();
    let until = listed.cools_until_ms.unwrap_or_default();
    html! {
        article.nhsuk-card.app-order.app-order--grave id={ "order-" (id) } {
            .nhsuk-card__content {
                h3.nhsuk-card__heading.nhsuk-heading-s { (title(listed, order)) }
                dl.nhsuk-summary-list {
                    (line("Phones are told", html! {
                        (words::time(until)) ", in "
                        span data-countdown=(until) { (words::span(until - v.session.now_ms)) }
                    }))
                    @let told = order.map(words::outline::inside).unwrap_or_default();
                    @if !told.is_empty() { (line("What it does", does(&told))) }
                    (line("Why", html! { (shown(&listed.reason)) }))
                    (line("Asked by", html! { (people.by_id(v, listed.signer)) }))
                    (line("Touches", match order {
                        Some(o) => touches(o),
                        None => html! { (words::count(listed.targets.into(), "phone")) },
                    }))
                    (line("Order", html! { a href={ "/commands/" (id) } { code.app-break { (id) } } }))
                }
                @if recalls(v, listed) {
                    (fold("recall", &id, "Call it back", "No phone has been told: nothing happens to any of them.", "recall", "Call it back", "Called back: no phone was told."))
                }
            }
        }
    }
}

pub(super) fn recalls(v: &Visitor, listed: &ListedOrder) -> bool {
    v.role().is_some_and(|r| may(r, &OrderKind::Recall { order: listed.order }, false))
}
