//! Commands and orders as core keeps them; calling an order back; how the house is.

use clap::{Args, Subcommand};
use model::{CommandId, EnrolmentId, OrderId, PersonId, TimeMs};
use order::limits::Hold;
use order::{OrderKind, Refusal};
use serde::Deserialize;
use serde_json::{Value, json};

use super::desk::{Desk, from_base64, shaped};
use super::failure::{CliError, Result, failed, usage};
use super::place::{self, Draft};
use super::{devices, show};
use words::limits;

#[derive(Debug, Args)]
pub(crate) struct ListOf {
    /// How many to show.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Where the list before ended.
    #[arg(long)]
    cursor: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct OfDevice {
    /// The enrolment id, or its first 6 digits or more.
    id: String,
    #[command(flatten)]
    list: ListOf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CommandsCommand {
    /// Commands to all phones, newest first.
    List(ListCommands),
    /// One command at all its phones.
    Show {
        /// The command's UUID.
        id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ListCommands {
    /// queued, sent, not_now, acknowledged, error, expired or cancelled.
    #[arg(long)]
    state: Option<String>,
    /// Of this order: its id, or its first 6 digits or more.
    #[arg(long)]
    order: Option<String>,
    /// To this phone.
    #[arg(long, value_name = "ENROLMENT")]
    phone: Option<String>,
    #[command(flatten)]
    list: ListOf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum OrdersCommand {
    /// Orders, newest first.
    List(ListOf),
    /// Orders that wait for another administrator's signature, oldest first.
    Pending(ListOf),
    /// One order and how far its commands have come.
    Show {
        /// The order's id, or its first 6 digits or more.
        id: String,
    },
    /// Call an order back: what it has not yet done to a phone is not done.
    Recall(Recall),
    /// Reject an order that waits for another signature: it is refused for good, and the ledger says by whom.
    Reject(Recall),
}

#[derive(Debug, Args)]
pub(crate) struct Recall {
    /// The order's id, or its first 6 digits or more.
    id: String,
    /// Why. No names here: auditors read it.
    #[arg(long)]
    reason: Option<String>,
    /// Don't ask.
    #[arg(long, short)]
    yes: bool,
}

#[derive(Deserialize)]
struct ErrorLink {
    code: i64,
    domain: String,
}

/// A command to one phone.
#[derive(Deserialize)]
pub(crate) struct CommandItem {
    command: CommandId,
    pub(crate) enrolment: EnrolmentId,
    order: Option<OrderId>,
    request_type: String,
    pub(crate) state: String,
    created_at_ms: TimeMs,
    done_at_ms: Option<TimeMs>,
    errors: Vec<ErrorLink>,
    not_now_count: u32,
}

impl CommandItem {
    /// No further answer is to come.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state.as_str(), "acknowledged" | "error" | "expired" | "cancelled")
    }

    pub(crate) fn in_words(&self) -> String {
        let chain: Vec<_> = self.errors.iter().map(|e| format!("{} {}", e.domain, e.code)).collect();
        match self.state.as_str() {
            "error" if !chain.is_empty() => format!("error: {}", chain.join(" < ")),
            "not_now" => format!("not now (so far {}); it is asked again", self.not_now_count),
            s => s.to_owned(),
        }
    }
}

#[derive(Deserialize)]
struct Commands {
    items: Vec<CommandItem>,
    next_cursor: Option<String>,
}

fn command_table(items: &[CommandItem]) -> String {
    let rows = items.iter().map(|c| {
        vec![
            c.command.to_string(),
            c.enrolment.to_string().chars().take(12).collect(),
            c.request_type.clone(),
            c.in_words(),
            show::time(c.created_at_ms),
            show::maybe_time(c.done_at_ms),
            c.order.map_or_else(|| "-".into(), |o| o.to_string().chars().take(12).collect()),
        ]
    });
    show::table(&["COMMAND", "PHONE", "TYPE", "STATE", "MADE", "DONE", "ORDER"], rows)
}

fn show_commands(desk: &Desk, value: &Value) -> Result<()> {
    if desk.reach.json {
        return show::print_json(value);
    }
    let page: Commands = shaped(value)?;
    show::print(&command_table(&page.items))?;
    devices::tell_more(page.next_cursor.as_deref());
    Ok(())
}

pub(crate) fn of_device(desk: &Desk, d: OfDevice) -> Result<()> {
    let phone = devices::find(desk, &d.id)?;
    let path = format!("/api/v1/devices/{}/commands", phone.enrolment);
    show_commands(desk, &desk.list(&path, &[], d.list.limit, d.list.cursor)?)
}

pub(crate) fn commands(desk: &Desk, command: CommandsCommand) -> Result<()> {
    match command {
        CommandsCommand::List(l) => {
            let order = l.order.as_deref().map(|o| order_id(desk, o)).transpose()?.map(|o| o.to_string());
            let query = [("state", l.state), ("order", order), ("enrolment", l.phone)];
            show_commands(desk, &desk.list("/api/v1/commands", &query, l.list.limit, l.list.cursor)?)
        }
        CommandsCommand::Show { id } => {
            let id: CommandId = id.parse().map_err(|e| usage(format!("the command: {e}")))?;
            let value = desk.get(&format!("/api/v1/commands/{id}"))?;
            if desk.reach.json {
                return show::print_json(&value);
            }
            #[derive(Deserialize)]
            struct Detail {
                phones: Vec<CommandItem>,
            }
            let detail: Detail = shaped(&value)?;
            show::print(&command_table(&detail.phones))
        }
    }
}

/// An order as core tells it.
#[derive(Deserialize)]
struct Order {
    order: OrderId,
    kind: String,
    reason: String,
    signer: Option<PersonId>,
    state: String,
    targets: u32,
    made_at_ms: TimeMs,
    expires_at_ms: TimeMs,
    decided_at_ms: Option<TimeMs>,
    recalled_at_ms: Option<TimeMs>,
    refusal: Option<u16>,
    #[serde(default)]
    cools_until_ms: Option<TimeMs>,
    hold: Option<Hold>,
    #[serde(default)]
    signatures: usize,
}

impl Order {
    /// What stands in the way, in words, where it waits for someone.
    fn waits_in_words(&self, now_ms: TimeMs) -> Option<String> {
        match (self.state.as_str(), self.cools_until_ms, &self.hold) {
            ("cooling_off", Some(at_ms), _) => Some(format!(
                "cools off for another {}, until {}: no phone is told before, and until then 'matron orders recall \
                 {}' leaves nothing done",
                show::span(at_ms - now_ms),
                show::time(at_ms),
                self.order
            )),
            ("pending", _, Some(h)) => Some(format!(
                "{} of {} have signed: {}; 'matron approve {}'",
                self.signatures,
                h.needs,
                limits::hold(h, false),
                self.order
            )),
            _ => None,
        }
    }

    fn state_in_words(&self) -> String {
        match (self.recalled_at_ms, self.refusal) {
            (Some(at), _) => format!("called back {}", show::time(at)),
            (None, Some(n)) => {
                let why = Refusal::from_number(n).map_or_else(|| n.to_string(), |r| r.to_string());
                format!("refused: {why}")
            }
            (None, None) => self.state.clone(),
        }
    }
}

/// The order of that id, or the one whose id begins so.
fn order_id(desk: &Desk, text: &str) -> Result<OrderId> {
    let digits = text.to_ascii_lowercase();
    if let Ok(whole) = digits.parse() {
        return Ok(whole);
    }
    if !(6..32).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(usage(format!(
            "'{}' is no order's id: give its 32 digits, or the first 6 or more ('matron orders list')",
            show::line(text)
        )));
    }
    let value = desk.get(&format!("/api/v1/orders/{digits}")).map_err(|e| match e {
        CliError::NotFound(_) => {
            CliError::NotFound(format!("no order's id begins with {digits}; see 'matron orders list'"))
        }
        e => e,
    })?;
    // An order may only name what the person named.
    let found: OrderId = shaped(value.get("order").unwrap_or(&Value::Null))?;
    if found.to_string().starts_with(&digits) {
        Ok(found)
    } else {
        Err(failed("the server told of another order"))
    }
}

pub(crate) fn orders(desk: &Desk, command: OrdersCommand) -> Result<()> {
    match command {
        OrdersCommand::List(l) => {
            let value = desk.list("/api/v1/orders", &[], l.limit, l.cursor)?;
            if desk.reach.json {
                return show::print_json(&value);
            }
            #[derive(Deserialize)]
            struct Orders {
                items: Vec<Order>,
                next_cursor: Option<String>,
            }
            let page: Orders = shaped(&value)?;
            let rows = page.items.iter().map(|o| {
                vec![
                    o.order.to_string(),
                    o.kind.clone(),
                    o.state_in_words(),
                    o.targets.to_string(),
                    show::time(o.made_at_ms),
                    o.signer.map_or_else(|| "-".into(), |s| s.to_string().chars().take(12).collect()),
                    o.reason.clone(),
                ]
            });
            show::print(&show::table(&["ORDER", "KIND", "STATE", "PHONES", "MADE", "BY", "WHY"], rows))?;
            devices::tell_more(page.next_cursor.as_deref());
            Ok(())
        }
        OrdersCommand::Pending(l) => pending(desk, l),
        OrdersCommand::Show { id } => show_order(desk, order_id(desk, &id)?),
        OrdersCommand::Recall(r) => {
            let order = order_id(desk, &r.id)?;
            let reason = place::reason(r.reason)?;
            let placed = Draft::new(OrderKind::Recall { order }, &reason).place(desk, r.yes)?;
            if desk.reach.json {
                return show::print_json(&json!({ "order": placed.order, "recalled": order }));
            }
            show::print(&format!(
                "Order {order} is called back; 'matron orders show' says what it did before.\n"
            ))
        }
        OrdersCommand::Reject(r) => {
            let order = order_id(desk, &r.id)?;
            let reason = place::reason(r.reason)?;
            let placed = Draft::new(OrderKind::Reject { order }, &reason).place(desk, r.yes)?;
            if desk.reach.json {
                return show::print_json(&json!({ "order": placed.order, "rejected": order }));
            }
            show::print(&format!("Order {order} is rejected: nobody's signature brings it about any more.\n"))
        }
    }
}

fn pending(desk: &Desk, l: ListOf) -> Result<()> {
    let value = desk.list("/api/v1/orders/pending", &[], l.limit, l.cursor)?;
    if desk.reach.json {
        return show::print_json(&value);
    }
    #[derive(Deserialize)]
    struct Orders {
        items: Vec<Order>,
    }
    let page: Orders = shaped(&value)?;
    let now_ms = desk.now_ms();
    let rows = page.items.iter().map(|o| {
        let (counts_as, needs) = o.hold.as_ref().map_or(("-", 2), |h| (h.duty.name(), h.needs));
        vec![
            o.order.to_string(),
            counts_as.to_owned(),
            o.targets.to_string(),
            format!("{} of {needs}", o.signatures),
            format!("in {}", show::span(o.expires_at_ms - now_ms)),
            o.reason.clone(),
        ]
    });
    show::print(&show::table(&["ORDER", "COUNTS AS", "PHONES", "SIGNED", "RUNS OUT", "WHY"], rows))
}

/// What an order does, from the bytes that were signed; nothing where they are not to be had (someone who is held to a
/// group gets none).
fn does(desk: &Desk, id: OrderId) -> Vec<String> {
    #[derive(Deserialize)]
    struct Bytes {
        signed_order: String,
    }
    let read = || -> Result<order::Order> {
        let told: Bytes = shaped(&desk.get(&format!("/api/v1/orders/{id}/signed"))?)?;
        let signed: order::SignedOrder =
            order::decode(&from_base64("order", &told.signed_order)?).map_err(failed)?;
        order::decode(&signed.order).map_err(failed)
    };
    match read() {
        Ok(order) if order.id == id => {
            [vec![words::what(&order.kind)], words::outline::inside(&order)].concat()
        }
        _ => Vec::new(),
    }
}

fn show_order(desk: &Desk, id: OrderId) -> Result<()> {
    let value = desk.get(&format!("/api/v1/orders/{id}"))?;
    if desk.reach.json {
        return show::print_json(&value);
    }
    #[derive(Deserialize)]
    struct Detail {
        #[serde(flatten)]
        order: Order,
        commands: Vec<CommandItem>,
    }
    let d: Detail = shaped(&value)?;
    let o = &d.order;
    let mut facts = vec![("order", o.order.to_string()), ("kind", o.kind.clone())];
    facts.extend(does(desk, id).into_iter().map(|told| ("does", told)));
    facts.extend([
        ("state", o.state_in_words()),
        ("phones", o.targets.to_string()),
        ("why", o.reason.clone()),
        ("by", o.signer.map_or_else(|| "-".into(), |s| s.to_string())),
        ("made", show::time(o.made_at_ms)),
        ("decided", show::maybe_time(o.decided_at_ms)),
        ("until", show::time(o.expires_at_ms)),
    ]);
    facts.extend(o.waits_in_words(desk.now_ms()).map(|w| ("waits", w)));
    let mut out = show::facts(&facts);
    if !d.commands.is_empty() {
        out.push_str(&format!("\n{}", command_table(&d.commands)));
    }
    show::print(&out)
}

/// How the house is; fails when it is not well, so that a script notices.
/// What was turned away, a line for each reason.
fn refused_in_words(all: &Value) -> Vec<(&'static str, String)> {
    let told = |r: &Value| {
        let count = |name| r.get(name).and_then(Value::as_u64).unwrap_or(0);
        let why = words::refused(r.get("what").and_then(Value::as_str).unwrap_or("unknown"));
        let line =
            format!("{}, {} of them in the last hour: {why}", count("since_start"), count("last_hour"));
        ("turned away", line)
    };
    all.as_array().map(|all| all.iter().map(told).collect()).unwrap_or_default()
}

pub(crate) fn health(desk: &Desk) -> Result<()> {
    let value = desk.get("/api/v1/health")?;
    let status = value.get("status").and_then(Value::as_str).unwrap_or_default().to_owned();
    if desk.reach.json {
        show::print_json(&value)?;
    } else {
        show::print(&health_in_words(&value))?;
    }
    match status.as_str() {
        "ok" => Ok(()),
        _ => Err(CliError::Failed("the house is not well; see above".into())),
    }
}

/// Where alarms go, and when one last arrived.
fn alarms_in_words(value: &Value) -> String {
    let mut out = Vec::new();
    for d in value.get("destinations").and_then(Value::as_array).into_iter().flatten() {
        let number = |key: &str| d.get(key).and_then(Value::as_u64).unwrap_or_default();
        let time = |key: &str| show::maybe_time(d.get(key).and_then(Value::as_i64));
        out.push(format!(
            "{}: {} delivered (last {}), {} waiting, last failed {}",
            d.get("name").and_then(Value::as_str).unwrap_or_default(),
            number("delivered"),
            time("last_delivered_at_ms"),
            number("waiting"),
            time("last_failed_at_ms")
        ));
    }
    match value.get("lost").and_then(Value::as_u64) {
        Some(lost) if lost > 0 => out.push(format!("{lost} lost for want of room")),
        _ => {}
    }
    if out.is_empty() {
        "into the log alone; see the section alarms in docs/configuration.md".into()
    } else {
        out.join("; ")
    }
}

fn health_in_words(value: &Value) -> String {
    let at = |path: &str| value.pointer(path).cloned().unwrap_or_default();
    let text = |path: &str| match at(path) {
        Value::String(s) => s,
        Value::Null => "-".into(),
        v => v.to_string(),
    };
    let answers = |path: &str| if at(path) == true { "answers" } else { "does not answer" };
    let time = |path: &str| show::maybe_time(at(path).as_i64());
    let mut phones: Vec<String> = Vec::new();
    for (state, n) in at("/enrolments").as_object().into_iter().flatten() {
        phones.push(format!("{n} {state}"));
    }
    let push = if at("/courier/configured") == true {
        format!(
            "{}, certificate until {}",
            text("/courier/topic"),
            time("/courier/certificate_expires_at_ms")
        )
    } else {
        "no push certificate".into()
    };
    let mut certificates: Vec<String> = Vec::new();
    for (state, n) in at("/renewal/phones").as_object().into_iter().flatten() {
        certificates.push(format!("{n} {state}"));
    }
    let renewed = match at("/renewal/standing_expires_at_ms").as_i64() {
        Some(at_ms) => format!("renewed by standing order until {}", show::time(at_ms)),
        None => "no standing order renews them".into(),
    };
    let certificates = if certificates.is_empty() { "none due".into() } else { certificates.join(", ") };
    let warnings = at("/warnings").as_array().cloned().unwrap_or_default();
    let warnings = warnings.iter().filter_map(Value::as_str).map(|w| ("warning", w.to_owned()));
    let mut facts = vec![
        ("status", text("/status")),
        ("version", text("/version")),
        ("address for phones", text("/base_url")),
        ("door and reader", answers("/door/answers").into()),
        ("core", format!("answers, followed the ledger to entry {}", text("/ledger_followed"))),
        (
            "vault",
            format!(
                "{}, {} ledger entries, {} orders refused, ledger {}",
                answers("/vault/answers"),
                text("/vault/entries"),
                text("/vault/refused_orders"),
                text("/vault/following")
            ),
        ),
        ("courier", format!("{}, {push}", answers("/courier/answers"))),
        ("alarms", alarms_in_words(&at("/courier/alarms"))),
        ("keys stated until", time("/statement_expires_at_ms")),
        ("phones", if phones.is_empty() { "none".into() } else { phones.join(", ") }),
        ("certificates", format!("{certificates}; {renewed}")),
        ("open commands", format!("{} ({} deferred)", text("/open_commands"), text("/deferred_commands"))),
    ];
    facts.extend(refused_in_words(&at("/refused")));
    facts.extend(warnings);
    show::facts(&facts)
}
