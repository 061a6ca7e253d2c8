//! The ledger: its newest entries in words, and whether it holds.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use ledger::{Body, Effect, Entry, Witness};
use model::{Digest, TimeMs};
use order::{Order, Refusal};
use serde::Deserialize;
use serde_json::{Value, json};

use super::chain::{Chain, kind_of};
use super::desk::{Desk, from_base64, shaped};
use super::failure::{Result, failed};
use super::home::Seen;
use super::{http, limits, show, words};

const PAGE: u64 = 200;
/// How often a followed ledger is looked at.
const EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Subcommand)]
pub(crate) enum LedgerCommand {
    /// The newest entries.
    Tail(Tail),
    /// Check every entry's place, hash and signature, and that history is what it was.
    Verify(Verify),
}

#[derive(Debug, Args)]
pub(crate) struct Tail {
    /// How many.
    #[arg(short, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    n: u64,
    /// Go on with what comes, until Ctrl-C.
    #[arg(long, short)]
    follow: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Check the ledger file in this folder (…/rooms/vault) instead of the server's.
    #[arg(long, value_name = "PATH")]
    dir: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Head {
    entries: u64,
    hash: Digest,
}

#[derive(Deserialize)]
struct Item {
    index: u64,
    raw: String,
}

pub(crate) fn run(desk: &Desk, command: LedgerCommand) -> Result<()> {
    match command {
        LedgerCommand::Tail(t) => tail(desk, &t),
        LedgerCommand::Verify(v) => match v.dir {
            Some(dir) => verify_file(desk, &dir),
            None => verify_server(desk),
        },
    }
}

fn head(desk: &Desk) -> Result<Head> {
    shaped(&desk.get("/api/v1/ledger/head")?)
}

/// Entries from `from` on, at most a page.
fn page(desk: &Desk, from: u64, limit: u64) -> Result<Vec<Value>> {
    let query = http::query(&[("from", Some(from.to_string())), ("limit", Some(limit.to_string()))]);
    let mut page = desk.get(&format!("/api/v1/ledger{query}"))?;
    match page.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => Ok(items),
        _ => Err(failed("the server's list has no items field")),
    }
}

fn tail(desk: &Desk, t: &Tail) -> Result<()> {
    let entries = head(desk)?.entries;
    let mut from = entries.saturating_sub(t.n);
    let mut shown = Vec::new();
    loop {
        let items = page(desk, from, PAGE)?;
        let full = items.len() as u64 >= PAGE;
        for value in items {
            let item: Item = shaped(&value)?;
            from = item.index + 1;
            if !desk.reach.json {
                show::print(&entry_line(&from_base64("ledger entry", &item.raw)?))?;
            } else if t.follow {
                // One object a line, so that a program can read along.
                show::print(&format!("{value}\n"))?;
            } else {
                shown.push(value);
            }
        }
        if !t.follow && !full {
            break;
        }
        if !full {
            std::thread::sleep(EVERY);
        }
    }
    if desk.reach.json { show::print_json(&json!({ "items": shown, "next_cursor": null })) } else { Ok(()) }
}

/// An entry in a line, from its own bytes.
fn entry_line(raw: &[u8]) -> String {
    let Ok(entry) = Entry::decode(raw) else {
        return "    ?  an entry that this version can't read\n".into();
    };
    let by = if entry.witness == Witness::Core { "core" } else { "vault" };
    let what = show::line(&body_in_words(&entry.body));
    format!(
        "{:>5}  {}  {by:<5}  {:<20}  {what}\n",
        entry.index,
        show::time(entry.at_ms),
        kind_of(&entry.body)
    )
}

fn short(id: &impl std::fmt::Display) -> String {
    id.to_string().chars().take(12).collect()
}

fn refusal(code: u16) -> String {
    Refusal::from_number(code).map_or_else(|| format!("reason {code}"), |r| r.to_string())
}

/// Who else signed, and until when it cools off.
fn counted_in_words(c: &ledger::Counted) -> String {
    let mut out = String::new();
    if !c.approvals.is_empty() {
        let people: Vec<_> = c.approvals.iter().map(|a| short(&a.person)).collect();
        out.push_str(&format!(", signed by {} too", people.join(" and ")));
    }
    if let Some(at_ms) = c.not_before_ms {
        out.push_str(&format!(", cooling off until {}", show::time(at_ms)));
    }
    out
}

fn body_in_words(body: &Body) -> String {
    match body {
        Body::Genesis { root_key, .. } => {
            format!("the ledger begins under root key {}", short(&order::sha256(&root_key.0)))
        }
        Body::KeysStated { epoch, .. } => format!("the vault stated its keys, epoch {epoch}"),
        Body::OrderAccepted { person, bytes, effect, counted, .. } => {
            let order = order::decode::<Order>(&bytes.0).ok();
            let what = order.as_ref().map(|o| words::what(&o.kind)).unwrap_or_default();
            let why = order.as_ref().map(|o| format!(" (why: {})", o.reason)).unwrap_or_default();
            let on = match effect {
                Effect::Commanded { targets, .. } if targets.len() == 1 => {
                    targets.first().map(|t| format!(" to {}", short(t))).unwrap_or_default()
                }
                Effect::Commanded { targets, .. } => {
                    format!(" to {}", show::count(targets.len() as u64, "phone"))
                }
                Effect::Opened { fields } => {
                    fields.first().map(|(e, _)| format!(" of {}", short(e))).unwrap_or_default()
                }
                Effect::Invited { enrolment, .. } | Effect::InvitationWithdrawn { enrolment } => {
                    format!(", enrolment {}", short(enrolment))
                }
                _ => String::new(),
            };
            let more = counted.as_deref().map(counted_in_words).unwrap_or_default();
            format!("{} ordered: {what}{on}{more}{why}", short(person))
        }
        Body::OrderHeld { order, people, duty, count, needs, .. } => {
            let by = people.first().map(short).unwrap_or_default();
            let so_far = people.len();
            format!(
                "{by} ordered more than the signatures are good for: {}, {count}; order {} waits with {so_far} of \
                 {needs} signatures",
                limits::duty(*duty),
                short(order)
            )
        }
        Body::OrderRefused { reason, .. } => format!("an order was refused: {}", refusal(reason.0)),
        Body::GrantUsed { grant, opened, searches } => {
            let mut phones: Vec<_> = opened.iter().map(|(e, _)| e).collect();
            phones.dedup();
            format!(
                "grant {} opened {} and made {} searches",
                short(grant),
                show::count(phones.len() as u64, "record"),
                searches
            )
        }
        Body::CertificateIssued { enrolment, .. } => format!("a certificate for {}", short(enrolment)),
        Body::CertificateRefused { enrolment, reason } => {
            let of = enrolment.as_ref().map(|e| format!(" for {}", short(e))).unwrap_or_default();
            format!("no certificate{of}: {}", refusal(reason.0))
        }
        Body::Authenticated { enrolment, replaced } => {
            let instead =
                replaced.as_ref().map(|r| format!(", in place of {}", short(r))).unwrap_or_default();
            format!("phone {} began to enrol{instead}", short(enrolment))
        }
        Body::TokenUpdated { enrolment } => format!("phone {} is enrolled", short(enrolment)),
        Body::CheckedOut { enrolment } => format!("phone {} left", short(enrolment)),
        Body::CommandFinished { enrolment, command, status } => {
            let how = match status {
                2 => "acknowledged".to_owned(),
                4 | 5 => "answered with an error to".to_owned(),
                n => format!("ended ({n})"),
            };
            format!("phone {} {how} command {command}", short(enrolment))
        }
        Body::PhoneRefused { enrolment, .. } => format!("phone {} was turned away", short(enrolment)),
        Body::StandingUsed { standing, enrolment, .. } => {
            format!(
                "standing order {} asked phone {} to renew its certificate",
                short(standing),
                short(enrolment)
            )
        }
        Body::GivenBack { enrolment, what } => {
            format!("phone {} got back what is kept for it: {}", short(enrolment), show::line(what))
        }
        Body::Restored { made_at_ms, .. } => format!(
            "THE HOUSE WAS RESTORED from the backup of {}: what happened between then and now is missing",
            show::time(*made_at_ms)
        ),
        Body::ServerCertificateIssued { .. } => "the door's own certificate was renewed".into(),
        Body::CertificateTaken { enrolment, .. } => {
            format!("phone {} came with its renewed certificate", short(enrolment))
        }
    }
}

/// What this home remembers, if it ever verified this house's ledger.
fn remembered(desk: &Desk, root_key: Option<Digest>) -> Result<Option<Seen>> {
    match root_key {
        Some(root) => Ok(Some(desk.home.seen(root)?)),
        None => Ok(None),
    }
}

fn loudly(where_: &str, why: &str) -> super::failure::CliError {
    failed(format!(
        "THE LEDGER DOES NOT HOLD ({where_}): {why}.\nKeep a copy of it and of this home as they are, tell the \
         other administrators, and compare with a backup before anything else is ordered"
    ))
}

fn verify_server(desk: &Desk) -> Result<()> {
    let key = desk.home.find_key()?;
    let root_key = key.as_ref().and_then(|k| k.root_key);
    let seen = remembered(desk, root_key)?;
    let server = desk.client.server().to_owned();
    let head = head(desk)?;
    let mut chain = Chain::new(seen.clone());
    while chain.entries() < head.entries {
        let items = page(desk, chain.entries(), PAGE.min(head.entries - chain.entries()))?;
        if items.is_empty() {
            return Err(loudly(&server, &format!("entry {} is not there", chain.entries())));
        }
        for value in items {
            let item: Item = shaped(&value)?;
            let raw = from_base64("ledger entry", &item.raw)?;
            chain.take(&raw).map_err(|e| loudly(&server, &e))?;
        }
    }
    chain.finish().map_err(|e| loudly(&server, &e))?;
    if chain.head() != head.hash {
        return Err(loudly(&server, "its last entry has another hash than the server says"));
    }
    done(desk, &server, &chain, root_key, seen, 0)
}

fn verify_file(desk: &Desk, dir: &Path) -> Result<()> {
    let root_key = desk.home.find_key()?.and_then(|k| k.root_key);
    let seen = remembered(desk, root_key)?;
    let place = dir.display().to_string();
    // Another house's ledger can be checked too: then there is nothing to remember.
    let mut own_root = None;
    let look = ledger::replay(dir, |r| {
        if let Body::Genesis { root_key, .. } = &r.entry.body {
            own_root = Some(Digest(root_key.0));
        }
    });
    let report = look.map_err(|e| loudly(&place, &e.to_string()))?;
    let ours = root_key.is_some() && own_root == root_key;
    let seen = seen.filter(|_| ours);
    let mut chain = Chain::new(seen.clone());
    let mut wrong = None;
    let again = ledger::replay(dir, |r| {
        if wrong.is_none()
            && let Err(e) = chain.take(&r.bytes)
        {
            wrong = Some(e);
        }
    });
    again.map_err(|e| loudly(&place, &e.to_string()))?;
    if let Some(e) = wrong {
        return Err(loudly(&place, &e));
    }
    chain.finish().map_err(|e| loudly(&place, &e))?;
    if root_key.is_some() && !ours && !desk.reach.json {
        eprintln!("matron: this is another Matron's ledger than the one that this home trusts");
    }
    done(desk, &place, &chain, root_key.filter(|_| ours), seen, report.tail_bytes)
}

fn done(
    desk: &Desk,
    place: &str,
    chain: &Chain,
    root_key: Option<Digest>,
    seen: Option<Seen>,
    tail_bytes: u64,
) -> Result<()> {
    if let Some(root) = root_key
        && chain.root_key() != Some(root)
    {
        return Err(loudly(place, "it begins under another root key than the one pinned here"));
    }
    let before = seen.as_ref().map_or(0, |s| s.entries);
    if let Some(seen) = seen {
        desk.home.keep_seen(&Seen { entries: chain.entries(), hash: Some(chain.head()), ..seen })?;
    }
    let time = |t: Option<TimeMs>| show::maybe_time(t);
    if desk.reach.json {
        return show::print_json(&json!({
            "holds": true,
            "entries": chain.entries(),
            "head": chain.head(),
            "orders_verified": chain.orders,
            "entries_known_before": before,
            "tail_bytes": tail_bytes,
            "kinds": chain.kinds,
            "first_at_ms": chain.first_at_ms,
            "last_at_ms": chain.last_at_ms,
        }));
    }
    let known = match before {
        0 => "first check from this home".to_owned(),
        n => format!("the {n} entries known from before are the same"),
    };
    let mut facts = vec![
        ("ledger", format!("holds: {} entries, each continues the one before", chain.entries())),
        (
            "signatures",
            format!("{} accepted orders, each signed by a key that was registered then", chain.orders),
        ),
        ("history", known),
        ("from", time(chain.first_at_ms)),
        ("to", time(chain.last_at_ms)),
        ("head", chain.head().to_string()),
    ];
    if tail_bytes > 0 {
        facts.push((
            "tail",
            format!("{tail_bytes} bytes of a write that is under way or was torn; never acknowledged"),
        ));
    }
    show::print(&show::facts(&facts))
}
