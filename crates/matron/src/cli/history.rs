//! The ledger: its newest entries in words, and whether the server's holds. What needs files alone is in
//! [`super::ledger_files`], proofs are in [`super::ledger_proofs`].

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use ledger::{Audit, Entry, Position, SignedCheckpoint, Witness};
use model::{Digest, TimeMs};
use serde::Deserialize;
use serde_json::{Value, json};

use super::chain::Chain;
use super::desk::{Desk, from_base64, shaped};
use super::failure::{CliError, Result, failed};
use super::home::Seen;
use super::roots::Roots;
use super::{http, show};

pub(crate) const PAGE: u64 = 200;
/// How often a followed ledger is looked at.
const EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Subcommand)]
pub(crate) enum LedgerCommand {
    /// The newest entries.
    Tail(Tail),
    /// Check every entry's place, hash and signature, the signed tree, and that history is what it was.
    Verify(Verify),
    /// Prove that an entry is in the ledger: a file that anyone can check with the root key alone.
    Prove(super::ledger_proofs::Prove),
    /// Check such a file.
    VerifyProof(super::ledger_proofs::VerifyProof),
    /// Write the ledger into a folder for others: tiles (C2SP tlog-tiles) and entries as JSON lines.
    Export(super::ledger_files::Export),
    /// The newest checkpoint that witnesses cosigned.
    Cosigned(super::ledger_proofs::Cosigned),
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
    /// Check the files in this folder (…/rooms/vault, a copy of it, or an export) instead of the server's.
    #[arg(long, value_name = "PATH")]
    pub(crate) dir: Option<PathBuf>,
    /// The root key: 64 hexadecimal digits, or a file with it (rooms/core/root.pub) [default: the one that
    /// this home trusts, else the one that the ledger names].
    #[arg(long, value_name = "KEY", requires = "dir")]
    pub(crate) root_key: Option<String>,
    /// Read what each entry says and check every order's signature too. Of the server's ledger that is
    /// always done.
    #[arg(long)]
    pub(crate) deep: bool,
}

#[derive(Deserialize)]
struct Head {
    entries: u64,
    hash: Digest,
}

#[derive(Deserialize)]
pub(crate) struct Item {
    index: u64,
    pub(crate) raw: String,
}

pub(crate) fn run(desk: &Desk, command: LedgerCommand) -> Result<()> {
    match command {
        LedgerCommand::Tail(t) => tail(desk, &t),
        LedgerCommand::Verify(v) => match &v.dir {
            Some(dir) => super::ledger_files::verify(desk, dir, &v),
            None => verify_server(desk),
        },
        LedgerCommand::Prove(p) => super::ledger_proofs::prove(desk, &p),
        LedgerCommand::VerifyProof(v) => super::ledger_proofs::verify(desk, &v),
        LedgerCommand::Export(e) => super::ledger_files::export(desk, &e),
        LedgerCommand::Cosigned(c) => super::ledger_proofs::cosigned(desk, &c),
    }
}

fn head(desk: &Desk) -> Result<Head> {
    shaped(&desk.get("/api/v1/ledger/head")?)
}

/// Entries from `from` on, at most a page, with their bytes: what is said here of an entry is said from those.
pub(crate) fn page(desk: &Desk, from: u64, limit: u64) -> Result<Vec<Value>> {
    let (from, limit) = (Some(from.to_string()), Some(limit.to_string()));
    let query = http::query(&[("from", from), ("limit", limit), ("raw", Some("true".into()))]);
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
pub(crate) fn entry_line(raw: &[u8]) -> String {
    let Ok(entry) = Entry::decode(raw) else {
        return "    ?  an entry that this version can't read\n".into();
    };
    let by = if entry.witness == Witness::Core { "core" } else { "vault" };
    let what = show::line(&words::entry::told(&entry.body));
    format!("{:>5}  {}  {by:<5}  {:<20}  {what}\n", entry.index, show::time(entry.at_ms), entry.body.kind())
}

/// What this home remembers, if it ever verified this house's ledger.
pub(crate) fn remembered(desk: &Desk, root_key: Option<Digest>) -> Result<Option<Seen>> {
    match root_key {
        Some(root) => Ok(Some(desk.home.seen(root)?)),
        None => Ok(None),
    }
}

pub(crate) fn loudly(where_: &str, why: &str) -> super::failure::CliError {
    failed(format!(
        "THE LEDGER DOES NOT HOLD ({where_}): {why}.\nKeep a copy of it and of this home as they are, tell the \
         other administrators, and compare with a backup before anything else is ordered"
    ))
}

fn verify_server(desk: &Desk) -> Result<()> {
    let root_key = desk.root()?;
    let seen = remembered(desk, root_key)?;
    let server = desk.client.server().to_owned();
    // Before the head, so that it is of no more entries than that.
    let (signed, no_tree) = match super::ledger_proofs::server_checkpoint(desk, root_key) {
        Ok(signed) => (Some(signed), None),
        Err(CliError::Unreachable(why)) => (None, Some(why)),
        Err(e) => return Err(e),
    };
    let head = head(desk)?;
    let mut chain = Chain::new(seen.clone());
    let mut audit = Audit::of(signed);
    while chain.entries() < head.entries {
        let items = page(desk, chain.entries(), PAGE.min(head.entries - chain.entries()))?;
        if items.is_empty() {
            return Err(loudly(&server, &format!("entry {} is not there", chain.entries())));
        }
        for value in items {
            let item: Item = shaped(&value)?;
            let raw = from_base64("ledger entry", &item.raw)?;
            chain.take(&raw).map_err(|e| loudly(&server, &e))?;
            let position = Position { index: chain.entries() - 1, hash: chain.head() };
            audit.take(&position).map_err(|e| loudly(&server, &e.to_string()))?;
        }
    }
    chain.finish().map_err(|e| loudly(&server, &e))?;
    audit.finish().map_err(|e| loudly(&server, &e.to_string()))?;
    if chain.head() != head.hash {
        return Err(loudly(&server, "its last entry has another hash than the server says"));
    }
    let found = Found {
        place: server,
        entries: chain.entries(),
        head: chain.head(),
        first_at_ms: chain.first_at_ms,
        last_at_ms: chain.last_at_ms,
        tail_bytes: 0,
        roots: chain.roots().clone(),
        deep: Some(chain),
        signed: audit.signed().cloned(),
        no_tree,
    };
    done(desk, &found, root_key, seen)
}

/// What a check found.
pub(crate) struct Found {
    pub(crate) place: String,
    pub(crate) entries: u64,
    pub(crate) head: Digest,
    pub(crate) first_at_ms: Option<TimeMs>,
    pub(crate) last_at_ms: Option<TimeMs>,
    pub(crate) tail_bytes: u64,
    pub(crate) roots: Roots,
    /// What the entries said, where it was read.
    pub(crate) deep: Option<Chain>,
    /// The checkpoint that the entries fit.
    pub(crate) signed: Option<SignedCheckpoint>,
    /// Why there is none.
    pub(crate) no_tree: Option<String>,
}

/// Remembers and tells. `root_key`: the one that this home trusts, when the ledger is to be that house's.
pub(crate) fn done(desk: &Desk, found: &Found, root_key: Option<Digest>, seen: Option<Seen>) -> Result<()> {
    if root_key.is_some_and(|root| !found.roots.contains(root)) {
        return Err(loudly(&found.place, "it is under other root keys than the one pinned here"));
    }
    if let Some(signed) = &found.signed {
        found.roots.hold(signed, root_key).map_err(|why| loudly(&found.place, &why))?;
    }
    let before = seen.as_ref().map_or(0, |s| s.entries);
    if let Some(seen) = seen {
        desk.home.keep_seen(&Seen { entries: found.entries, hash: Some(found.head), ..seen })?;
    }
    let orders = found.deep.as_ref().map(|c| c.orders);
    if desk.reach.json {
        return show::print_json(&json!({
            "holds": true,
            "entries": found.entries,
            "head": found.head,
            "checkpoint_entries": found.signed.as_ref().map(SignedCheckpoint::size),
            "root": found.signed.as_ref().map(SignedCheckpoint::root),
            "orders_verified": orders,
            "entries_known_before": before,
            "tail_bytes": found.tail_bytes,
            "kinds": found.deep.as_ref().map(|c| &c.kinds),
            "first_at_ms": found.first_at_ms,
            "last_at_ms": found.last_at_ms,
        }));
    }
    show::print(&show::facts(&facts(found, before, orders)))
}

fn facts(found: &Found, before: u64, orders: Option<u64>) -> Vec<(&'static str, String)> {
    let tree = match (&found.signed, &found.no_tree) {
        (Some(s), _) if s.size() + 1000 >= found.entries => {
            "fits: a checkpoint that the root key signed is of these entries".to_owned()
        }
        (Some(s), _) => format!("fits as far as it was signed: {} entries", s.size()),
        (None, Some(why)) => format!("NOT CHECKED: {why}"),
        (None, None) => "NOT CHECKED: there is no signed checkpoint".to_owned(),
    };
    let signatures = match orders {
        Some(n) => format!("{n} accepted orders, each signed by a key that was registered then"),
        None => "not looked at; --deep does".to_owned(),
    };
    let known = match before {
        0 => "first check from this home".to_owned(),
        n => format!("the {n} entries known from before are the same"),
    };
    let mut facts = vec![
        ("ledger", format!("holds: {} entries, each continues the one before", found.entries)),
        ("tree", tree),
        ("signatures", signatures),
        ("history", known),
        ("from", show::maybe_time(found.first_at_ms)),
        ("to", show::maybe_time(found.last_at_ms)),
        ("head", found.head.to_string()),
    ];
    if found.tail_bytes > 0 {
        let bytes = found.tail_bytes;
        facts.push((
            "tail",
            format!("{bytes} bytes of a write that is under way or was torn; never acknowledged"),
        ));
    }
    facts
}
