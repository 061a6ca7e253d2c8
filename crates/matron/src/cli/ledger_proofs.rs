//! Proofs that an entry is in the ledger, and what witnesses say of it.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use ledger::checkpoint::log_key_for;
use ledger::proof::{LARGEST_PROOF_BYTES, NoProof};
use ledger::tile::BadTile;
use ledger::tree::prove_inclusion;
use ledger::{
    NoteError, Proof, SignedCheckpoint, Signs, Tile, TileFolder, TileNodes, TileSource, VerifierKey,
};
use model::Digest;
use serde_json::json;

use super::desk::{Desk, from_base64, shaped};
use super::failure::{CliError, Result, failed, usage};
use super::history::{self, Item, entry_line, loudly};
use super::ledger_files::{checkpoint_in, entry_of, needed_roots, root_key_of, tree_of};
use super::show;

#[derive(Debug, Args)]
pub(crate) struct Prove {
    /// The entry's number, as 'ledger tail' shows it.
    index: u64,
    /// Take the files in this folder (…/rooms/vault, or an export) instead of the server's ledger.
    #[arg(long, value_name = "PATH")]
    dir: Option<PathBuf>,
    /// Write the proof into this file instead of to standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The root key, with --dir [default: the one that this home trusts].
    #[arg(long, value_name = "KEY", requires = "dir")]
    root_key: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyProof {
    /// The file that 'ledger prove' wrote.
    file: PathBuf,
    /// The root key: 64 hexadecimal digits, or a file with it [default: the one that this home trusts].
    #[arg(long, value_name = "KEY")]
    root_key: Option<String>,
    /// A witness that must have cosigned, as 'matron witness' printed its key; may be repeated.
    #[arg(long = "witness-key", value_name = "KEY")]
    witness_keys: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Cosigned {
    /// A witness that must have cosigned, as 'matron witness' printed its key; may be repeated.
    #[arg(long = "witness-key", value_name = "KEY")]
    witness_keys: Vec<String>,
}

impl From<BadTile> for CliError {
    fn from(e: BadTile) -> Self {
        failed(e)
    }
}

/// Tiles as the server gives them.
struct ServerTiles<'a>(&'a Desk);

impl TileSource for ServerTiles<'_> {
    type Error = CliError;

    fn tile(&self, tile: Tile) -> Result<Vec<u8>> {
        match self.0.get_bytes(&format!("/ledger/{}", tile.path())) {
            Err(CliError::NotFound(_)) if !tile.is_full() => {
                let whole = Tile::full(tile.level, tile.index);
                let mut bytes = self.0.get_bytes(&format!("/ledger/{}", whole.path()))?;
                bytes.truncate(tile.bytes());
                Ok(bytes)
            }
            other => other,
        }
    }
}

/// So long after another root key took the other's place the newest checkpoint may still be the other's.
const SIGNED_ANEW_WITHIN: Duration = Duration::from_secs(5);

/// The server's newest checkpoint; signed by this key, or by whichever the house of this home has.
pub(crate) fn server_checkpoint(desk: &Desk, root_key: Option<Digest>) -> Result<SignedCheckpoint> {
    checkpoint_at(desk, "/ledger/checkpoint", root_key)
}

fn checkpoint_at(desk: &Desk, path: &str, root_key: Option<Digest>) -> Result<SignedCheckpoint> {
    // Without a pinned key nothing of the server's is believed anyway: its own word has to do.
    let root = match root_key {
        Some(root) => root,
        None => desk.fetch_statement()?.1,
    };
    let mut seen = desk.home.seen(root)?;
    let until = Instant::now() + SIGNED_ANEW_WITHIN;
    let signed = loop {
        let bytes = desk.get_bytes(path)?;
        match SignedCheckpoint::of_house(&bytes, &[root.0]) {
            Ok(signed) => break signed,
            // The root key was changed a moment ago, perhaps.
            Err(NoteError::Unsigned) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(500));
            }
            Err(e) => return Err(loudly(desk.client.server(), &format!("its checkpoint: {e}"))),
        }
    };
    let origin = &signed.checkpoint().origin;
    match &seen.log {
        Some(known) if known != origin => {
            let why = format!("its checkpoint is of a log called {origin}, and it was {known} before");
            return Err(loudly(desk.client.server(), &why));
        }
        Some(_) => {}
        None if root_key.is_some() && desk.home.find_key()?.and_then(|k| k.root_key) == root_key => {
            seen.log = Some(origin.clone());
            desk.home.keep_seen(&seen)?;
        }
        None => {}
    }
    Ok(signed)
}

/// The given root key, or the one that this home trusts.
fn root_key(desk: &Desk, given: Option<&str>) -> Result<Digest> {
    if let Some(text) = given {
        return root_key_of(text);
    }
    let none = || usage("--root-key: this home trusts no Matron yet; say whose ledger it is to be");
    desk.home.find_key()?.and_then(|k| k.root_key).ok_or_else(none)
}

fn checked(proof: &Proof, root: Digest) -> Result<SignedCheckpoint, NoProof> {
    let note = proof.note.to_string();
    proof.check(&log_key_for(note.as_bytes(), &root.0)).map(|(_, signed)| signed)
}

/// What to do about a proof that a root key of before signed. It may as well be made up by whoever has that key since.
fn earlier(desk: &Desk, root: Digest, proof: &Proof) -> Result<&'static str> {
    let former = desk.home.seen(root)?.former_roots;
    Ok(match former.iter().any(|f| checked(proof, *f).is_ok()) {
        true => {
            ". A root key that this home trusted before has signed it: make the proof anew ('matron ledger prove')"
        }
        false => "",
    })
}

pub(crate) fn prove(desk: &Desk, p: &Prove) -> Result<()> {
    let mut root = root_key(desk, p.root_key.as_deref())?;
    if p.root_key.is_none() && p.dir.is_none() {
        root = desk.root()?.unwrap_or(root);
    }
    let not_yet = |size: u64| {
        CliError::NotFound(format!(
            "the newest checkpoint is of {size} entries, and entry {} is not among them; look again in a second",
            p.index
        ))
    };
    let (entry, signed, hashes) = match &p.dir {
        Some(dir) => {
            let tree = tree_of(dir);
            let signed = checkpoint_in(dir, Some(root))?;
            if p.index >= signed.size() {
                return Err(not_yet(signed.size()));
            }
            let folder = TileFolder(tree);
            let nodes = TileNodes::new(&folder, signed.size());
            let hashes = prove_inclusion(&nodes, p.index, signed.size()).map_err(failed)?;
            (entry_of(dir, p.index)?, signed, hashes)
        }
        None => {
            // With what witnesses said, when they have seen the entry.
            let cosigned = checkpoint_at(desk, "/ledger/cosigned", Some(root)).ok();
            let signed = match cosigned.filter(|c| p.index < c.size()) {
                Some(c) => c,
                None => server_checkpoint(desk, Some(root))?,
            };
            if p.index >= signed.size() {
                return Err(not_yet(signed.size()));
            }
            let items = history::page(desk, p.index, 1)?;
            let item: Item = shaped(items.first().ok_or_else(|| not_yet(signed.size()))?)?;
            let tiles = ServerTiles(desk);
            let nodes = TileNodes::new(&tiles, signed.size());
            let hashes = prove_inclusion(&nodes, p.index, signed.size())?;
            (from_base64("ledger entry", &item.raw)?, signed, hashes)
        }
    };
    let proof = Proof { entry, index: p.index, hashes, note: signed.note().clone() };
    // Of a folder: as far as the given key leads, which was looked at with its checkpoint.
    let signer = match &p.dir {
        Some(dir) => needed_roots(dir, Some(root))?.newest().unwrap_or(root),
        None => root,
    };
    checked(&proof, signer).map_err(|e| loudly(&format!("entry {}", p.index), &e.to_string()))?;
    match &p.out {
        None => show::print(&proof.to_string()),
        Some(path) => {
            fs::write(path, proof.to_string()).map_err(|e| failed(format!("{}: {e}", path.display())))?;
            show::print(&format!(
                "{}: proof that entry {} is in the ledger of {} entries\n",
                path.display(),
                p.index,
                signed.size()
            ))
        }
    }
}

pub(crate) fn verify(desk: &Desk, v: &VerifyProof) -> Result<()> {
    let root = root_key(desk, v.root_key.as_deref())?;
    let place = v.file.display().to_string();
    let size = fs::metadata(&v.file).map_err(|e| failed(format!("{place}: {e}")))?.len();
    if usize::try_from(size).is_ok_and(|n| n > LARGEST_PROOF_BYTES) {
        return Err(failed(format!("{place} is larger than any proof")));
    }
    let bytes = fs::read(&v.file).map_err(|e| failed(format!("{place}: {e}")))?;
    let proof = Proof::read(&bytes).map_err(|e| failed(format!("{place}: {e}")))?;
    // Another root key may have taken the place of the one that this home knows; without the server it is not followed.
    let newer = |e| match v.root_key.is_none().then(|| desk.root()) {
        Some(Ok(Some(newer))) if newer != root => checked(&proof, newer),
        _ => Err(e),
    };
    let signed = match checked(&proof, root).or_else(newer) {
        Ok(signed) => signed,
        Err(e) => {
            let root = desk.home.find_key()?.and_then(|k| k.root_key).unwrap_or(root);
            let why = earlier(desk, root, &proof)?;
            return Err(failed(format!("{place} PROVES NOTHING under this root key: {e}{why}")));
        }
    };
    let witnesses = cosignatures(&signed, &v.witness_keys)?;
    if desk.reach.json {
        return show::print_json(&json!({
            "proved": true, "index": proof.index, "entries": signed.size(), "root": signed.root(),
            "cosigned": witnesses.iter().map(|(name, at_s)| json!({ "witness": name, "at_s": at_s })).collect::<Vec<_>>(),
        }));
    }
    show::print(&entry_line(&proof.entry))?;
    show::print(&show::facts(&told(
        &signed,
        &witnesses,
        "is in the ledger, by the root key's signature over",
    )))
}

fn told(signed: &SignedCheckpoint, witnesses: &[(String, u64)], what: &str) -> Vec<(&'static str, String)> {
    let mut facts = vec![("ledger", format!("{what} {} entries", signed.size()))];
    for (name, at_s) in witnesses {
        let at_ms = i64::try_from(at_s.saturating_mul(1000)).unwrap_or(i64::MAX);
        facts.push(("cosigned", format!("by {name}, {}", show::time(at_ms))));
    }
    let others = signed.note().signatures.iter().filter(|s| {
        s.name != signed.checkpoint().origin && !witnesses.iter().any(|(name, _)| *name == s.name)
    });
    for other in others {
        facts.push(("not checked", format!("a line in the name of {}; --witness-key checks it", other.name)));
    }
    facts
}

/// Who of these has cosigned, and when; all of them must have.
fn cosignatures(signed: &SignedCheckpoint, keys: &[String]) -> Result<Vec<(String, u64)>> {
    let mut out = Vec::new();
    for text in keys {
        let key: VerifierKey = text.parse().map_err(|e| usage(format!("--witness-key: {e}")))?;
        if key.signs() != Signs::Cosigns {
            return Err(usage("--witness-key: this is a log's key, not a witness's"));
        }
        let at_s = key.verify(signed.note()).map_err(|e| {
            failed(format!(
                "{} has not cosigned this checkpoint of {} entries: {e}",
                key.name(),
                signed.size()
            ))
        })?;
        out.push((key.name().to_owned(), at_s));
    }
    Ok(out)
}

pub(crate) fn cosigned(desk: &Desk, c: &Cosigned) -> Result<()> {
    desk.signer()?;
    let root = desk.root()?;
    let signed = checkpoint_at(desk, "/ledger/cosigned", root).map_err(|e| match e {
        CliError::NotFound(_) => CliError::NotFound(
            "no witness has handed a cosignature back yet; docs/operations.md says how to run one".into(),
        ),
        e => e,
    })?;
    let witnesses = cosignatures(&signed, &c.witness_keys)?;
    if desk.reach.json {
        return show::print_json(&json!({
            "entries": signed.size(), "root": signed.root(),
            "cosigned": witnesses.iter().map(|(name, at_s)| json!({ "witness": name, "at_s": at_s })).collect::<Vec<_>>(),
            "lines": signed.note().signatures.iter().map(|s| &s.name).collect::<Vec<_>>(),
        }));
    }
    show::print(&show::facts(&told(&signed, &witnesses, "the newest cosigned checkpoint is of")))
}
