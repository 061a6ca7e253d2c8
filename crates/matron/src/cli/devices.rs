//! Phones: lists and records with their masks, free queries, opening, searching.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use http::Method;
use model::{Compartment, EnrolmentId, TimeMs};
use order::{FreeQuery, OpenAnswer, OrderKind, SearchSecrets, encode};
use seal::{PublicKey, to};
use serde::Deserialize;
use serde_json::{Value, json};

use super::act::{self, ActCommand};
use super::apps::{self, AppCommand};
use super::desk::{Desk, shaped, to_base64};
use super::failure::{CliError, Result, failed, usage};
use super::place::{self, Beside, Draft, opened};
use super::{device_groups, records, show};

#[derive(Debug, Subcommand)]
pub(crate) enum DevicesCommand {
    /// Phones, with masks; names where your grant pays for them.
    List(List),
    /// One phone: what may be shown, and what is sealed.
    Show(Show),
    /// Ask phones to report; this only reads.
    Query(Query),
    /// Open sealed fields of one phone: an order with a reason, in the ledger before it is answered.
    Reveal(Reveal),
    /// Find phones by a number or a name, under a grant that pays for searches.
    Search(Search),
    /// New holder's cards: the codes are shown this once, and the cards before are void.
    HolderCard(super::holder_card::HolderCard),
    /// Commands to one phone.
    Commands(records::OfDevice),
    #[command(flatten)]
    Act(ActCommand),
    #[command(flatten)]
    App(AppCommand),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Of this home group.
    #[arg(long)]
    group: Option<String>,
    /// In this device group: its name, or its id ('matron device-groups list').
    #[arg(long, value_name = "NAME")]
    device_group: Option<String>,
    /// invited, issued, authenticated, enrolled, checked_out, replaced or withdrawn.
    #[arg(long)]
    state: Option<String>,
    /// Not heard of for so many days.
    #[arg(long, value_name = "DAYS")]
    silent_days: Option<u32>,
    /// 17.5, or 17 for all of 17.
    #[arg(long, value_name = "VERSION")]
    os: Option<String>,
    /// The product name, for example iPhone14,5.
    #[arg(long)]
    model: Option<String>,
    /// Supervised or not.
    #[arg(long, value_name = "true|false")]
    supervised: Option<bool>,
    /// With (true) or without (false) open commands.
    #[arg(long, value_name = "true|false")]
    pending: Option<bool>,
    /// last_seen or enrolled, newest first.
    #[arg(long, value_parser = ["last_seen", "enrolled"])]
    sort: Option<String>,
    /// Open the holders' names: each costs a record of your grant ('matron signin --records N').
    #[arg(long)]
    names: bool,
    /// How many to show.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Where the list before ended.
    #[arg(long)]
    cursor: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The enrolment id, or its first 6 digits or more.
    id: String,
}

#[derive(Debug, Args)]
pub(crate) struct Query {
    /// Enrolment ids, or their first 6 digits or more.
    #[arg(required_unless_present = "all")]
    ids: Vec<String>,
    /// Every enrolled phone.
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    /// Which reports: DeviceInformation, SecurityInfo, InstalledApplicationList, …
    #[arg(long, value_delimiter = ',', default_value = "DeviceInformation,SecurityInfo")]
    what: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Reveal {
    /// The enrolment id, or its first 6 digits or more.
    id: String,
    /// Which fields, as 'matron devices show' names them: IMEI, PhoneNumber, …
    #[arg(required = true, num_args = 1..=64)]
    fields: Vec<String>,
    /// Why. Auditors read it; no names or numbers here.
    #[arg(long)]
    reason: Option<String>,
    /// Don't ask.
    #[arg(long, short)]
    yes: bool,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Search {
    /// A phone number, however it is written.
    #[arg(long, value_name = "NUMBER")]
    phone: Option<String>,
    /// An IMEI.
    #[arg(long)]
    imei: Option<String>,
    /// A serial number.
    #[arg(long)]
    serial: Option<String>,
    /// A holder's name, or words of it.
    #[arg(long)]
    name: Option<String>,
    /// A holder's email address.
    #[arg(long)]
    email: Option<String>,
}

impl std::fmt::Debug for Search {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Search(sealed)")
    }
}

/// A phone as the API tells it.
#[derive(Deserialize)]
pub(crate) struct Device {
    pub(crate) enrolment: EnrolmentId,
    pub(crate) state: String,
    pub(crate) group: String,
    holder: Option<String>,
    masks: BTreeMap<String, String>,
    clear: BTreeMap<String, Value>,
    pub(crate) supervised: Option<bool>,
    last_seen_ms: Option<TimeMs>,
    enrolled_at_ms: Option<TimeMs>,
    invited_at_ms: TimeMs,
    pending_commands: u32,
    push: String,
}

#[derive(Deserialize)]
struct App {
    identifier: String,
    short_version: String,
}

#[derive(Deserialize)]
struct ManagedApp {
    identifier: String,
    state: String,
    reason: Option<String>,
    confirmed_at_ms: Option<TimeMs>,
}

#[derive(Deserialize)]
struct Report {
    kind: String,
    at_ms: TimeMs,
}

#[derive(Deserialize)]
struct SealedField {
    name: String,
    compartment: Compartment,
    mask: String,
    at_ms: TimeMs,
}

#[derive(Deserialize)]
struct Detail {
    #[serde(flatten)]
    device: Device,
    apps: Vec<App>,
    #[serde(default)]
    managed_apps: Vec<ManagedApp>,
    reports: Vec<Report>,
    sealed_fields: Vec<SealedField>,
    replaced_by: Option<EnrolmentId>,
}

#[derive(Deserialize)]
pub(crate) struct Devices {
    pub(crate) items: Vec<Device>,
    next_cursor: Option<String>,
}

fn get(desk: &Desk, id: &str) -> Result<Value> {
    let digits = id.replace('-', "").to_ascii_lowercase();
    if !(6..=32).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(usage(format!(
            "'{}' is no enrolment id: give its 32 digits, or the first 6 or more ('matron devices list')",
            show::line(id)
        )));
    }
    let value = desk.get(&format!("/api/v1/devices/{digits}")).map_err(|e| match e {
        CliError::NotFound(_) => {
            CliError::NotFound(format!("there is no phone {digits}; see 'matron devices list'"))
        }
        e => e,
    })?;
    let found = value.get("enrolment").and_then(Value::as_str).unwrap_or_default();
    // An order may only name what the person named.
    if found.starts_with(&digits) { Ok(value) } else { Err(failed("the server told of another phone")) }
}

/// The phone of that id or beginning.
pub(crate) fn find(desk: &Desk, id: &str) -> Result<Device> {
    shaped(&get(desk, id)?)
}

/// Each phone once, in the order they were named.
pub(crate) fn find_all(desk: &Desk, ids: &[String]) -> Result<Vec<Device>> {
    let mut out: Vec<Device> = Vec::new();
    for id in ids {
        let phone = find(desk, id)?;
        if out.iter().all(|p| p.enrolment != phone.enrolment) {
            out.push(phone);
        }
    }
    Ok(out)
}

/// Every enrolled phone of such a selection, as many as one order names.
pub(crate) fn enrolled(desk: &Desk, of: &str, selection: (&str, Option<String>)) -> Result<Vec<Device>> {
    let query = [selection, ("state", Some("enrolled".to_owned()))];
    let most = u32::try_from(order::Order::MOST_TARGETS).unwrap_or(u32::MAX);
    let page: Devices = shaped(&desk.list("/api/v1/devices", &query, most, None)?)?;
    if page.next_cursor.is_some() {
        return Err(usage(format!("{} has more than {most} phones; make several orders", show::line(of))));
    }
    if page.items.is_empty() {
        return Err(usage(format!("{} has no enrolled phone", show::line(of))));
    }
    Ok(page.items)
}

/// What the phone's model is sold as, once it said which it is.
pub(crate) fn model_of(phone: &Device) -> Option<String> {
    text_of(&phone.clear, "ProductName").map(|p| words::model(&p).to_owned())
}

/// What the server says of the phones, to stand beside their ids.
pub(crate) fn labels(phones: &[Device]) -> Beside {
    let label = |p: &Device| {
        let mut words = vec![p.group.clone()];
        words.extend(model_of(p));
        words.push(p.state.clone());
        words.join(", ")
    };
    Beside { labels: phones.iter().map(|p| (p.enrolment, label(p))).collect(), ..Beside::default() }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(s) => s.clone(),
        v => v.to_string(),
    }
}

/// A clear field by the end of its path.
fn text_of(clear: &BTreeMap<String, Value>, name: &str) -> Option<String> {
    let found = clear.iter().find(|(k, _)| k.rsplit('.').next() == Some(name));
    found.map(|(_, v)| text(v))
}

fn short(id: &EnrolmentId) -> String {
    id.to_string().chars().take(12).collect()
}

pub(crate) fn tell_more(cursor: Option<&str>) {
    if let Some(c) = cursor {
        eprintln!("There are more: --limit, or --cursor {}", show::line(c));
    }
}

pub(crate) fn print_devices(desk: &Desk, items: &[Device], names: bool) -> Result<()> {
    let mut head = vec!["ID", "GROUP", "STATE", "MODEL", "OS", "PHONE", "SEEN", "OPEN", "PUSH"];
    if names {
        head.insert(1, "HOLDER");
    }
    let rows = items.iter().map(|d| {
        let mask = d.masks.iter().find(|(k, _)| k.rsplit('.').next() == Some("PhoneNumber"));
        let mut row = vec![
            short(&d.enrolment),
            d.group.clone(),
            d.state.clone(),
            text_of(&d.clear, "ProductName").unwrap_or_else(|| "-".into()),
            text_of(&d.clear, "OSVersion").unwrap_or_else(|| "-".into()),
            mask.map_or_else(|| "-".into(), |(_, m)| m.clone()),
            show::ago(d.last_seen_ms, desk.now_ms()),
            d.pending_commands.to_string(),
            d.push.clone(),
        ];
        if names {
            row.insert(1, d.holder.clone().unwrap_or_else(|| "-".into()));
        }
        row
    });
    show::print(&show::table(&head, rows))
}

pub(crate) fn run(desk: &Desk, command: DevicesCommand) -> Result<()> {
    match command {
        DevicesCommand::List(l) => list(desk, l),
        DevicesCommand::Show(s) => show_one(desk, &s.id),
        DevicesCommand::Query(q) => query(desk, &q),
        DevicesCommand::Reveal(r) => reveal(desk, r),
        DevicesCommand::Search(s) => search(desk, s),
        DevicesCommand::HolderCard(h) => super::holder_card::make(desk, h),
        DevicesCommand::Commands(c) => records::of_device(desk, c),
        DevicesCommand::Act(a) => act::run(desk, a),
        DevicesCommand::App(a) => apps::run(desk, a),
    }
}

fn list(desk: &Desk, l: List) -> Result<()> {
    let device_group = l.device_group.map(|g| device_groups::find(desk, &g)).transpose()?;
    let query = [
        ("group", l.group),
        ("device_group", device_group.map(|g| g.device_group.to_string())),
        ("state", l.state),
        ("silent_for_days", l.silent_days.map(|d| d.to_string())),
        ("os_version", l.os),
        ("model", l.model),
        ("supervised", l.supervised.map(|s| s.to_string())),
        ("pending", l.pending.map(|p| p.to_string())),
        ("sort", l.sort),
        ("names", l.names.then(|| "true".to_owned())),
    ];
    let value =
        desk.list("/api/v1/devices", &query, l.limit, l.cursor).map_err(|e| grant_hint(e, l.names))?;
    if desk.reach.json {
        return show::print_json(&value);
    }
    let page: Devices = shaped(&value)?;
    print_devices(desk, &page.items, l.names)?;
    tell_more(page.next_cursor.as_deref());
    Ok(())
}

/// Says how to get a grant where one is missing.
fn grant_hint(e: CliError, needs_grant: bool) -> CliError {
    let hint = "'matron signin --records 200 --searches 20 --reason …' makes a grant that does";
    match e {
        CliError::Refused { why, number: number @ (16 | 17) } => {
            CliError::Refused { why: format!("{why} ({hint})"), number }
        }
        CliError::Failed(why) if needs_grant && why.contains("grant") => {
            CliError::Failed(format!("{why} ({hint})"))
        }
        e => e,
    }
}

fn show_one(desk: &Desk, id: &str) -> Result<()> {
    let value = get(desk, id)?;
    if desk.reach.json {
        return show::print_json(&value);
    }
    let detail: Detail = shaped(&value)?;
    let d = &detail.device;
    let mut facts = vec![
        ("enrolment", d.enrolment.to_string()),
        ("state", d.state.clone()),
        ("group", d.group.clone()),
        ("supervised", d.supervised.map_or("not known", |s| if s { "yes" } else { "no" }).to_owned()),
        ("invited", show::time(d.invited_at_ms)),
        ("enrolled", show::maybe_time(d.enrolled_at_ms)),
        ("last seen", show::ago(d.last_seen_ms, desk.now_ms())),
        ("push", d.push.clone()),
        ("open commands", d.pending_commands.to_string()),
    ];
    if let Some(by) = detail.replaced_by {
        facts.push(("replaced by", by.to_string()));
    }
    let mut out = show::facts(&facts);
    if !d.clear.is_empty() {
        let clear: Vec<_> = d.clear.iter().map(|(k, v)| (k.as_str(), text(v))).collect();
        out.push_str(&format!("\nIn the clear\n{}", show::facts(&clear)));
    }
    if let Some(update) = update_in_words(&d.clear) {
        out.push_str(&format!("\nSystem update, as the phone reports it\n  {update}\n"));
    }
    if !detail.sealed_fields.is_empty() {
        let rows = detail.sealed_fields.iter().map(|f| {
            let mask = if f.mask.is_empty() { "sealed".to_owned() } else { f.mask.clone() };
            vec![f.name.clone(), f.compartment.name().to_owned(), mask, show::time(f.at_ms)]
        });
        let table = show::table(&["FIELD", "COMPARTMENT", "MASK", "SINCE"], rows);
        out.push_str(&format!("\nSealed ('matron devices reveal' opens them)\n{table}"));
    }
    if !detail.managed_apps.is_empty() {
        let rows = detail.managed_apps.iter().map(|a| {
            let why = a.reason.as_ref().map(|r| format!(": {}", show::line(r))).unwrap_or_default();
            let state = format!("{}{why}", show::line(&a.state));
            vec![a.identifier.clone(), state, show::maybe_time(a.confirmed_at_ms)]
        });
        out.push_str(&format!("\n{}", show::table(&["ORDERED APP", "STATE", "CONFIRMED"], rows)));
    }
    if !detail.apps.is_empty() {
        let rows = detail.apps.iter().map(|a| vec![a.identifier.clone(), a.short_version.clone()]);
        out.push_str(&format!("\n{}", show::table(&["APP", "VERSION"], rows)));
    }
    if !detail.reports.is_empty() {
        let rows = detail.reports.iter().map(|r| vec![r.kind.clone(), show::time(r.at_ms)]);
        out.push_str(&format!("\n{}", show::table(&["REPORT", "CONFIRMED"], rows)));
    }
    show::print(&out)
}

/// How an update by declaration goes on, in the phone's own words (`softwareupdate.*`).
fn update_in_words(clear: &BTreeMap<String, Value>) -> Option<String> {
    let of = |name: &str| clear.get(&format!("softwareupdate.{name}")).map(text).filter(|t| !t.is_empty());
    let mut out = of("install-state")?;
    let (version, build) = (of("pending-version.os-version"), of("pending-version.build-version"));
    if let Some(version) = version {
        out.push_str(&format!(": {version}{}", build.map(|b| format!(" ({b})")).unwrap_or_default()));
    }
    if let Some(count) = of("failure-reason.count").filter(|c| c != "0") {
        let why = of("failure-reason.reason").map(|r| format!(": {r}")).unwrap_or_default();
        out.push_str(&format!("; failed {count} times{why}"));
    }
    Some(show::line(&out))
}

fn query(desk: &Desk, q: &Query) -> Result<()> {
    for what in &q.what {
        if FreeQuery::from_request_type(what).is_none() {
            let all: Vec<_> = FreeQuery::ALL.iter().map(|f| f.request_type()).collect();
            return Err(usage(format!("--what: '{}' is none of {}", show::line(what), all.join(", "))));
        }
    }
    let targets = if q.all {
        None
    } else {
        Some(find_all(desk, &q.ids)?.into_iter().map(|p| p.enrolment).collect::<Vec<_>>())
    };
    let body = json!({ "queries": q.what, "targets": targets });
    let value = desk.call(&Method::POST, "/api/v1/queries", Some(&body))?;
    if desk.reach.json {
        return show::print_json(&value);
    }
    let queued = value.get("queued").and_then(Value::as_u64).unwrap_or(0);
    let queries = if queued == 1 { "1 query waits".into() } else { format!("{queued} queries wait") };
    show::print(&format!(
        "{queries} for the phones' next check-in (what was waiting already is not asked twice).\n"
    ))
}

/// The fields' whole paths: as named, or by the path's end, in any case.
fn paths(detail: &Detail, wanted: &[String]) -> Result<Vec<String>> {
    let mut out: Vec<String> = Vec::new();
    for name in wanted {
        let known = || detail.sealed_fields.iter().map(|f| &f.name);
        let exact: Vec<_> = known().filter(|k| k.eq_ignore_ascii_case(name)).collect();
        let found = if exact.is_empty() {
            known().filter(|k| k.rsplit('.').next().is_some_and(|l| l.eq_ignore_ascii_case(name))).collect()
        } else {
            exact
        };
        if found.is_empty() {
            let all: Vec<_> = known().map(String::as_str).collect();
            return Err(CliError::NotFound(format!(
                "this phone has no sealed field '{}'; it has: {}",
                show::line(name),
                all.join(", ")
            )));
        }
        for path in found {
            if !out.contains(path) {
                out.push(path.clone());
            }
        }
    }
    Ok(out)
}

fn reveal(desk: &Desk, r: Reveal) -> Result<()> {
    let detail: Detail = shaped(&get(desk, &r.id)?)?;
    let fields = paths(&detail, &r.fields)?;
    let reason = place::reason(r.reason)?;
    let enrolment = detail.device.enrolment;
    let placed = Draft::new(OrderKind::Open { fields: fields.clone() }, &reason)
        .to(vec![enrolment])
        .beside(labels(std::slice::from_ref(&detail.device)))
        .place(desk, r.yes)?;
    let answer: OpenAnswer = opened(&placed)?;
    let absent: Vec<_> = fields.iter().filter(|f| answer.fields.iter().all(|o| o.name != **f)).collect();
    let is_text = |v: &[u8]| {
        std::str::from_utf8(v).ok().filter(|t| !t.chars().any(char::is_control)).map(str::to_owned)
    };
    if desk.reach.json {
        let opened: Vec<_> = answer
            .fields
            .iter()
            .map(|f| match is_text(&f.value) {
                Some(t) => json!({ "name": f.name, "value": t }),
                None => json!({ "name": f.name, "base64": to_base64(&f.value) }),
            })
            .collect();
        return show::print_json(&json!({
            "order": placed.order, "enrolment": enrolment, "fields": opened, "absent": absent,
        }));
    }
    let facts: Vec<_> = answer
        .fields
        .iter()
        .map(|f| {
            (f.name.as_str(), is_text(&f.value).unwrap_or_else(|| format!("base64 {}", to_base64(&f.value))))
        })
        .collect();
    show::print(&show::facts(&facts))?;
    for a in absent {
        eprintln!("{a}: the server had no such row");
    }
    eprintln!("Opened by order {}, ledger entry {}.", placed.order, placed.position);
    Ok(())
}

fn search(desk: &Desk, s: Search) -> Result<()> {
    let fields =
        [("phone", s.phone), ("imei", s.imei), ("serial", s.serial), ("name", s.name), ("email", s.email)];
    let found = fields.into_iter().find_map(|(field, term)| term.map(|t| (field, t)));
    let (field, term) = found.ok_or_else(|| usage("say what to search for: --phone, --imei, …"))?;
    let known = seal::SearchField::from_name(field).ok_or_else(|| usage("no such field"))?;
    if seal::terms(known, &term).is_empty() {
        return Err(usage(format!("--{field}: nothing in it that could be found")));
    }
    let vault = PublicKey(desk.statement()?.order_key.0);
    // The term is sealed to the session that pays, so that session has to stand first.
    let hash = desk.session_hash()?;
    let secrets = encode(&SearchSecrets { field: field.to_owned(), term });
    let sealed =
        to::seal(&vault, to::INFO_ORDER_ARGS, hash.as_bytes(), &secrets, &desk.rng).map_err(failed)?;
    let body = json!({ "sealed_search": to_base64(&sealed) });
    let value = desk.call(&Method::POST, "/api/v1/search", Some(&body)).map_err(|e| grant_hint(e, true))?;
    if desk.reach.json {
        return show::print_json(&value);
    }
    #[derive(Deserialize)]
    struct Found {
        items: Vec<Device>,
        records_left: u32,
        searches_left: u32,
    }
    let found: Found = shaped(&value)?;
    if found.items.is_empty() {
        eprintln!("No phone matches.");
    } else {
        print_devices(desk, &found.items, false)?;
    }
    eprintln!("Left of your grant: {} searches, {} records.", found.searches_left, found.records_left);
    Ok(())
}
