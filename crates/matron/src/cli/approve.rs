//! Another person's signature: the order is shown from the very bytes that are signed.

use clap::Args;
use model::clock::MINUTE_MS;
use model::{Duty, Limit};
use order::limits::{Hold, Limits, Overview};
use order::{Order, SignedOrder};
use serde::Deserialize;
use serde_json::json;

use super::desk::{Desk, from_base64, shaped};
use super::failure::{CliError, Result, failed, usage};
use super::people::find_by_key;
use super::place::{self, Beside};
use words::limits;

use super::{devices, in_words, profiles, show};

/// The most phones of which is shown what they are.
const LABELLED: usize = 20;

#[derive(Debug, Args)]
pub(crate) struct Approve {
    /// The order's id, or its first 6 digits or more; 'matron orders pending' lists them.
    id: String,
    /// Don't ask.
    #[arg(long, short)]
    yes: bool,
}

/// An order that waits, as the API tells it.
#[derive(Deserialize)]
struct Pending {
    order: model::OrderId,
    hold: Option<Hold>,
}

#[derive(Deserialize)]
struct SignedBytes {
    signed_order: String,
}

fn find(desk: &Desk, wanted: &str) -> Result<Pending> {
    #[derive(Deserialize)]
    struct Items {
        items: Vec<Pending>,
    }
    let wanted = wanted.to_ascii_lowercase();
    let all: Items = shaped(&desk.list("/api/v1/orders/pending", &[], 1_000, None)?)?;
    let mut found = all.items.into_iter().filter(|p| p.order.to_string().starts_with(&wanted));
    match (wanted.len() >= 6, found.next(), found.next()) {
        (true, Some(one), None) => Ok(one),
        (true, Some(_), Some(_)) => Err(usage("more than one order's id begins so; give more digits")),
        _ => Err(CliError::NotFound(format!(
            "no order {} waits for a signature; see 'matron orders pending'",
            show::line(&wanted)
        ))),
    }
}

/// The table as the vault has it.
pub(crate) fn overview(desk: &Desk) -> Result<Overview> {
    shaped(&desk.get("/api/v1/roles")?)
}

pub(crate) fn run(desk: &Desk, a: &Approve) -> Result<()> {
    let key = desk.signer()?.key;
    let pending = find(desk, &a.id)?;
    let told: SignedBytes = shaped(&desk.get(&format!("/api/v1/orders/{}/signed", pending.order))?)?;
    let mut signed: SignedOrder = order::decode(&from_base64("order", &told.signed_order)?)
        .map_err(|_| failed("the order that waits can't be read by this version"))?;
    // What is shown is decoded from what is signed; whatever else the server says of it is its word.
    let order: Order = order::decode(&signed.order).map_err(|_| {
        failed("the order that waits can't be read by this version; don't sign it elsewhere either")
    })?;
    if order.id != pending.order {
        return Err(failed(
            "the server gave another order than the one that was asked for; nothing was signed",
        ));
    }
    if order.expires_at_ms <= desk.now_ms() {
        return Err(usage("the order has run out; whoever made it makes it again"));
    }
    if signed.signatures.iter().any(|s| s.key == key.id()) {
        return Err(usage("you have signed this order already; another person has to"));
    }
    if !order.tells() {
        return Err(failed(
            "the order does not tell all that it does, so nobody signs it second (and the vault would refuse it); whoever made \
             it makes it again with this version, or in parts; nothing was signed",
        ));
    }
    let beside = beside(desk, &order, &signed, pending.hold.as_ref())?;
    if !(a.yes && desk.reach.json) {
        let text = in_words::order_in_words(&signed, &beside)
            .map_err(|e| failed(format!("the order can't be read back: {e}")))?;
        eprint!("{text}");
    }
    show::confirm(a.yes, "Sign this order too?")?;
    signed.add_signature(&key);
    let placed = place::send_signed(desk, &signed, order.id)?;
    if desk.reach.json {
        return show::print_json(&json!({
            "order": placed.order,
            "position": placed.position,
            "erasing": placed.erasing,
            "cools_until_ms": placed.cools_until_ms,
        }));
    }
    show::print(&format!(
        "Signed and accepted: order {}, ledger entry {}.{}\n",
        placed.order,
        placed.position,
        place::cooling_in_words(placed.order, placed.cools_until_ms)
    ))
}

/// Who signed so far, what the phones are, and what to think of.
fn beside(desk: &Desk, order: &Order, signed: &SignedOrder, hold: Option<&Hold>) -> Result<Beside> {
    let ids: Vec<String> = order.targets.iter().take(LABELLED).map(ToString::to_string).collect();
    // A phone that core doesn't know any more is shown by its id alone.
    let mut beside = devices::find_all(desk, &ids).map(|p| devices::labels(&p)).unwrap_or_default();
    for s in &signed.signatures {
        let who = match find_by_key(desk, &s.key)? {
            Some(p) => format!("{} {}", p.role, p.person),
            None => "someone whom the server does not know".into(),
        };
        beside.warnings.push(format!("signed by key {}: {who}", s.key));
    }
    beside.inside = profiles::inside(desk, &order.kind)?;
    if let Some(what) = words::outline::sealed(order) {
        beside.sealed.push(("not shown", what.into()));
    }
    if let Some(h) = hold {
        beside.warnings.push(format!("why it waits: {}", limits::hold(h, false)));
    }
    let duty = hold.map_or_else(|| order::limits::duty(&order.kind, false), |h| h.duty);
    let table = Limits::with(&overview(desk)?.changed);
    let alone = table.get(&Limit::Alone { duty });
    if u32::try_from(order.targets.len()).unwrap_or(u32::MAX) > alone {
        let cools = limits::seconds(table.get(&Limit::CoolingOff { duty }));
        beside
            .warnings
            .push(format!("once you have signed it cools off for {cools}; then it can't be undone"));
    }
    if duty == Duty::Erase {
        let phones = show::count(order.targets.len() as u64, "phone");
        beside.warnings.push(format!("IT COUNTS AS ERASURE, ON {}", phones.to_uppercase()));
    }
    let left_ms = order.expires_at_ms - desk.now_ms();
    if left_ms < 60 * MINUTE_MS {
        beside.warnings.push(format!("it runs out in {}", show::span(left_ms)));
    }
    Ok(beside)
}
