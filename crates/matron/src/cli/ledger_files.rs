//! A ledger's files, checked and copied without a server: the vault's folder, a copy of it on another
//! machine, or an export.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use ledger::checkpoint::log_key_for;
use ledger::{
    Audit, CHECKPOINT_FILE, Entry, FILE_NAME, FolderShelf, LedgerError, Position, Publisher, Scanned,
    SignedCheckpoint, TREE_DIR, Witness, scan,
};
use model::Digest;
use order::sha256;
use serde::{Deserialize, Serialize};

use super::chain::Chain;
use super::desk::{Desk, from_base64, shaped, to_base64};
use super::failure::{CliError, Result, failed, usage};
use super::history::{self, Found, Item, PAGE, Verify, loudly};
use super::home::Seen;
use super::roots::Roots;
use super::{ledger_proofs, show};

/// The entries of an export.
const ENTRIES_FILE: &str = "entries.jsonl";
/// The log's key in an export, for other programs (C2SP signed-note).
const KEY_FILE: &str = "log.vkey";

/// One line of an export.
#[derive(Serialize, Deserialize)]
struct Line {
    index: u64,
    at_ms: i64,
    witness: String,
    kind: String,
    /// SHA-256 of `raw`.
    hash: Digest,
    /// The entry's bytes, in base64.
    raw: String,
}

/// Why a walk over entries ended.
enum Wrong {
    /// Enough was seen.
    Enough,
    /// The ledger does not hold.
    Holds(String),
    /// Something else went wrong.
    Other(CliError),
}

impl From<LedgerError> for Wrong {
    fn from(e: LedgerError) -> Self {
        match e {
            LedgerError::Io { .. } => Self::Other(failed(e)),
            e => Self::Holds(e.to_string()),
        }
    }
}

impl Wrong {
    fn at(self, place: &str) -> CliError {
        match self {
            Self::Enough => failed("the ledger has no such entry"),
            Self::Holds(why) => loudly(place, &why),
            Self::Other(e) => e,
        }
    }
}

/// A root key as it is given: hexadecimal digits, or a file of 32 bytes.
pub(crate) fn root_key_of(text: &str) -> Result<Digest> {
    if let Ok(key) = text.trim().parse() {
        return Ok(key);
    }
    let wrong =
        || usage("--root-key: 64 hexadecimal digits, or a file of 32 bytes such as rooms/core/root.pub");
    let bytes = fs::read(text).map_err(|_| wrong())?;
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    match <[u8; 32]>::try_from(bytes.as_slice()) {
        Ok(key) => Ok(Digest(key)),
        Err(_) => text.trim().parse().map_err(|_| wrong()),
    }
}

/// The root keys that the ledger in `dir` tells of: the first alone, or `all`.
fn own_roots(dir: &Path, all: bool) -> Result<Roots> {
    let mut own = Roots::default();
    let mut look = |n: u64, raw: &[u8]| {
        own.take_raw(n, raw).map_err(Wrong::Holds)?;
        if all { Ok(()) } else { Err(Wrong::Enough) }
    };
    let walked = if is_export(dir) {
        lines(dir, look)
    } else {
        scan(dir, |s: Scanned<'_>| look(s.position.index, s.bytes)).map(drop)
    };
    let place = dir.display().to_string();
    match walked {
        Ok(()) | Err(Wrong::Enough) => {}
        Err(wrong) => return Err(wrong.at(&place)),
    }
    if own.first().is_none() { Err(loudly(&place, "entry 0 is not a ledger's beginning")) } else { Ok(own) }
}

/// The same as far as they are needed: the first alone, where `trusted` and the checkpoint are under that one.
pub(crate) fn needed_roots(dir: &Path, trusted: Option<Digest>) -> Result<Roots> {
    let first = own_roots(dir, false)?;
    let checkpoint = fs::read(tree_of(dir).join(CHECKPOINT_FILE)).unwrap_or_default();
    let signs = checkpoint.is_empty() || SignedCheckpoint::of_house(&checkpoint, &first.keys()).is_ok();
    if signs && trusted.is_none_or(|root| first.contains(root)) { Ok(first) } else { own_roots(dir, true) }
}

/// The checkpoint of the ledger in `dir`, signed by `root`, or by one that it leads to.
pub(crate) fn checkpoint_in(dir: &Path, root: Option<Digest>) -> Result<SignedCheckpoint> {
    let path = tree_of(dir).join(CHECKPOINT_FILE);
    let bytes = fs::read(&path).map_err(|e| failed(format!("{}: {e}", path.display())))?;
    let roots = needed_roots(dir, root)?;
    let after = roots.keys().into_iter().skip_while(|key| root.is_some_and(|r| r.0 != *key));
    let trusted: Vec<_> = after.collect();
    SignedCheckpoint::of_house(&bytes, &trusted)
        .map_err(|e| loudly(&path.display().to_string(), &e.to_string()))
}

fn is_export(dir: &Path) -> bool {
    !dir.join(FILE_NAME).exists() && dir.join(ENTRIES_FILE).exists()
}

/// Where the tiles of the ledger in `dir` are.
pub(crate) fn tree_of(dir: &Path) -> PathBuf {
    if is_export(dir) { dir.to_owned() } else { dir.join(TREE_DIR) }
}

/// The entries of an export, one after the other.
fn lines(dir: &Path, mut visit: impl FnMut(u64, &[u8]) -> Result<(), Wrong>) -> Result<(), Wrong> {
    let path = dir.join(ENTRIES_FILE);
    let other = |e: std::io::Error| Wrong::Other(failed(format!("{}: {e}", path.display())));
    let file = BufReader::new(File::open(&path).map_err(other)?);
    for (n, line) in (0u64..).zip(file.lines()) {
        let line: Line = serde_json::from_str(&line.map_err(other)?)
            .map_err(|_| Wrong::Holds(format!("line {} of {ENTRIES_FILE} is no entry", n + 1)))?;
        let raw = from_base64("entry", &line.raw).map_err(Wrong::Other)?;
        if line.index != n || line.hash != sha256(&raw) {
            return Err(Wrong::Holds(format!("line {} of {ENTRIES_FILE} is not entry {n}", n + 1)));
        }
        visit(n, &raw)?;
    }
    Ok(())
}

pub(crate) fn verify(desk: &Desk, dir: &Path, v: &Verify) -> Result<()> {
    let place = dir.display().to_string();
    let pinned = desk.home.find_key()?.and_then(|k| k.root_key);
    let given = v.root_key.as_deref().map(root_key_of).transpose()?;
    let roots = needed_roots(dir, given.or(pinned))?;
    if given.is_some_and(|g| !roots.contains(g)) {
        return Err(loudly(&place, "it is under other root keys than the one given"));
    }
    let ours = pinned.is_some_and(|p| roots.contains(p));
    if given.is_none() && !desk.reach.json {
        match pinned {
            Some(_) if ours => {}
            Some(pinned) => {
                let before = desk.home.seen(pinned)?.former_roots.iter().any(|f| roots.contains(*f));
                eprintln!(
                    "matron: {}",
                    if before {
                        "this is a ledger of before this Matron's root key was changed: anybody who has the key before may have \
                         made it up"
                    } else {
                        "this is another Matron's ledger than the one that this home trusts"
                    }
                );
            }
            None => eprintln!(
                "matron: no root key was given, so the ledger's own word is taken for it ({}); compare its \
                 fingerprint with what 'matron admin whoami' shows an administrator",
                roots
                    .newest()
                    .map(|r| sha256(&r.0).to_string())
                    .unwrap_or_default()
                    .get(..16)
                    .unwrap_or_default()
            ),
        }
    }
    let seen = history::remembered(desk, pinned.filter(|_| ours))?;
    let audit = audit_of(dir, &roots.keys()).map_err(|e| Wrong::from(e).at(&place))?;
    let found = check(dir, &place, audit, seen.clone(), v.deep).map_err(|w| w.at(&place))?;
    history::done(desk, &found, given.or(pinned.filter(|_| ours)), seen)
}

/// The console's export has a checkpoint and no tiles: its entries alone have to make the tree that was signed.
fn audit_of(dir: &Path, roots: &[[u8; 32]]) -> Result<Audit, LedgerError> {
    let tree = tree_of(dir);
    let audit = Audit::with_folder(&tree, roots)?;
    let bare = is_export(dir) && !tree.join("tile").exists();
    Ok(if bare { Audit::of(audit.signed().cloned()) } else { audit })
}

fn check(dir: &Path, place: &str, mut audit: Audit, seen: Option<Seen>, deep: bool) -> Result<Found, Wrong> {
    let export = is_export(dir);
    let mut chain = (deep || export).then(|| Chain::new(seen.clone()));
    let mut head = None;
    let mut roots = Roots::default();
    let mut visit = |position: Position, raw: &[u8]| -> Result<(), Wrong> {
        if let Some(chain) = &mut chain {
            chain.take(raw).map_err(Wrong::Holds)?;
        } else if let Some(seen) = seen.as_ref().filter(|s| s.entries == position.index + 1)
            && seen.hash != Some(position.hash)
        {
            return Err(Wrong::Holds(format!(
                "entry {} is another one than when it was verified here before: history was written anew",
                position.index
            )));
        }
        roots.take_raw(position.index, raw).map_err(Wrong::Holds)?;
        head = Some(position);
        audit.take(&position)?;
        Ok(())
    };
    let (first_at_ms, last_at_ms, tail_bytes) = if export {
        lines(dir, |index, raw| visit(Position { index, hash: sha256(raw) }, raw))?;
        (None, None, 0)
    } else {
        let report = scan(dir, |s| visit(s.position, s.bytes))?;
        (report.first_at_ms, report.last_at_ms, report.tail_bytes)
    };
    audit.finish()?;
    let entries = head.map_or(0, |p| p.index + 1);
    match &seen {
        Some(s) if s.entries > entries => {
            return Err(Wrong::Holds(format!(
                "it has {entries} entries, and it had {} when it was verified here before: its end was cut off, or \
                 an old copy took its place",
                s.entries
            )));
        }
        _ => {}
    }
    Ok(Found {
        place: place.to_owned(),
        entries,
        head: head.map_or(Digest([0; 32]), |p| p.hash),
        first_at_ms: first_at_ms.or_else(|| chain.as_ref().and_then(|c| c.first_at_ms)),
        last_at_ms: last_at_ms.or_else(|| chain.as_ref().and_then(|c| c.last_at_ms)),
        tail_bytes,
        roots,
        deep: chain,
        signed: audit.signed().cloned(),
        no_tree: None,
    })
}

/// The bytes of one entry of the ledger in `dir`.
pub(crate) fn entry_of(dir: &Path, index: u64) -> Result<Vec<u8>> {
    let mut found = None;
    let mut look = |n: u64, raw: &[u8]| {
        if n < index {
            return Ok(());
        }
        found = Some(raw.to_vec());
        Err(Wrong::Enough)
    };
    let walked = if is_export(dir) {
        lines(dir, look)
    } else {
        scan(dir, |s: Scanned<'_>| look(s.position.index, s.bytes)).map(drop)
    };
    match walked {
        Ok(()) | Err(Wrong::Enough) => {}
        Err(wrong) => return Err(wrong.at(&dir.display().to_string())),
    }
    found.ok_or_else(|| CliError::NotFound(format!("the ledger has no entry {index}")))
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The folder to write into; it is made, and must be empty.
    #[arg(long, value_name = "PATH")]
    to: PathBuf,
    /// Take the files in this folder (…/rooms/vault) instead of the server's ledger.
    #[arg(long, value_name = "PATH")]
    dir: Option<PathBuf>,
}

/// Writes entries and tree while the entries go by.
struct Exporting {
    publisher: Publisher,
    lines: BufWriter<File>,
    most: u64,
}

impl Exporting {
    fn take(&mut self, index: u64, raw: &[u8]) -> Result<(), Wrong> {
        if index >= self.most {
            return Err(Wrong::Enough);
        }
        let entry = Entry::decode(raw).map_err(|e| Wrong::Holds(format!("entry {index}: {e}")))?;
        let hash = sha256(raw);
        let line = Line {
            index,
            at_ms: entry.at_ms,
            witness: if entry.witness == Witness::Core { "core" } else { "vault" }.to_owned(),
            kind: entry.body.kind().to_owned(),
            hash,
            raw: to_base64(raw),
        };
        let text = serde_json::to_string(&line).map_err(|e| Wrong::Other(failed(e)))?;
        writeln!(self.lines, "{text}").map_err(|e| Wrong::Other(failed(e)))?;
        self.publisher.push(&Position { index, hash })?;
        Ok(())
    }
}

pub(crate) fn export(desk: &Desk, e: &Export) -> Result<()> {
    let place = e.dir.as_ref().map_or_else(|| desk.client.server().to_owned(), |d| d.display().to_string());
    let io = |error: std::io::Error| failed(format!("{}: {error}", e.to.display()));
    fs::create_dir_all(&e.to).map_err(io)?;
    if fs::read_dir(&e.to).map_err(io)?.next().is_some() {
        return Err(usage(format!("--to: {} is not empty", e.to.display())));
    }
    let (roots, signed) = match &e.dir {
        Some(dir) => {
            let roots = needed_roots(dir, None)?;
            (roots.keys(), checkpoint_in(dir, roots.first())?)
        }
        None => {
            desk.signer()?;
            let root = desk.root()?;
            let signed = ledger_proofs::server_checkpoint(desk, root)?;
            (root.iter().map(|r| r.0).collect(), signed)
        }
    };
    let Some(newest) = roots.last() else { return Err(failed("there is no root key")) };
    let note = signed.note().to_string();
    let key = log_key_for(note.as_bytes(), newest);
    let shelf = Box::new(FolderShelf::new(e.to.clone()));
    let publisher = Publisher::open_with(e.to.clone(), &roots, shelf).map_err(failed)?;
    let lines_file = File::create_new(e.to.join(ENTRIES_FILE)).map_err(io)?;
    let mut to = Exporting { publisher, lines: BufWriter::new(lines_file), most: signed.size() };
    let walked = match &e.dir {
        Some(dir) if is_export(dir) => lines(dir, |index, raw| to.take(index, raw)),
        Some(dir) => scan(dir, |s: Scanned<'_>| to.take(s.position.index, s.bytes)).map(drop),
        None => from_server(desk, &mut to),
    };
    match walked {
        Ok(()) | Err(Wrong::Enough) => {}
        Err(wrong) => return Err(wrong.at(&place)),
    }
    to.publisher.copy(&signed).map_err(|e| Wrong::from(e).at(&place))?;
    let lines_file = to.lines.into_inner().map_err(failed)?;
    lines_file.sync_all().map_err(io)?;
    fs::write(e.to.join(KEY_FILE), format!("{key}\n")).map_err(io)?;
    if desk.reach.json {
        return show::print_json(&serde_json::json!({ "entries": signed.size(), "root": signed.root() }));
    }
    show::print(&format!(
        "{} entries in {}: {ENTRIES_FILE}, {CHECKPOINT_FILE}, tile/ and {KEY_FILE}. Names in them stay sealed; reasons \
         that people wrote do not. Whoever has the root key checks it with 'matron ledger verify --dir'.\n",
        signed.size(),
        e.to.display()
    ))
}

fn from_server(desk: &Desk, to: &mut Exporting) -> Result<(), Wrong> {
    let mut from = 0;
    while from < to.most {
        let items = history::page(desk, from, PAGE.min(to.most - from)).map_err(Wrong::Other)?;
        if items.is_empty() {
            return Err(Wrong::Holds(format!("entry {from} is not there")));
        }
        for value in items {
            let item: Item = shaped(&value).map_err(Wrong::Other)?;
            let raw = from_base64("ledger entry", &item.raw).map_err(Wrong::Other)?;
            to.take(from, &raw)?;
            from += 1;
        }
    }
    Ok(())
}
