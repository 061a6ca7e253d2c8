//! `matron witness`: runs elsewhere, remembers how far a ledger was, cosigns what goes on from there, and
//! alarms when a ledger goes back, forks, stands still or falls silent. It needs the root key and nothing
//! else of the house; what it reads is hashes.

mod listen;
mod memory;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use http::Method;
use ledger::checkpoint::{log_key, log_key_for};
use ledger::tree::prove_consistency;
use ledger::witness::{AddCheckpoint, NotCosigned};
use ledger::{
    CHECKPOINT_FILE, LedgerError, NoteError, SignedCheckpoint, Signs, Tile, TileFolder, TileNodes,
    TileSource, VerifierKey,
};
use model::{Clock, SystemClock};
use order::root::SignedSuccession;
use order::{SignedStatement, sha256};
use serde_json::json;

use crate::cli::http::Client;
use crate::cli::root_key_of;
use memory::{Memory, Refused};

/// An alarm that goes on is told again after so long.
const TOLD_AGAIN_S: u64 = 3600;

#[derive(Debug, Clone, Args)]
pub(crate) struct Witness {
    /// The witness's own folder: its key, and what it has seen. Never put an old copy back.
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// The witness's name, such as witness.example.org/matron.
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Whose ledger: the root key (64 hexadecimal digits, or a file with it), or another log's verifier key
    /// (C2SP signed-note). May be repeated with --listen.
    #[arg(long = "log", value_name = "KEY", required = true)]
    logs: Vec<String>,
    /// Where to look: the administrators' address of a Matron (an API key of scope ledger in MATRON_API_KEY),
    /// or a folder with a checkpoint and tiles.
    #[arg(long, value_name = "URL|DIR")]
    from: Option<String>,
    /// Also take checkpoints that logs bring: POST /add-checkpoint (C2SP tlog-witness), plain HTTP.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// The house's key statement, as GET /api/v1/statement answers it: leads to a root key that took another's place, where
    /// the house can't be asked (a folder, --listen).
    #[arg(long, value_name = "FILE")]
    statement: Option<PathBuf>,
    /// Seconds between two looks.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    every: u64,
    /// Alarm when nothing could be cosigned for so many seconds.
    #[arg(long, default_value_t = 600)]
    silent_after: u64,
    /// Alarm when the ledger did not grow for so many seconds; the vault states its keys every day.
    #[arg(long, default_value_t = 108_000)]
    still_after: u64,
    /// Look once and end: 0 all is well, 1 an alarm, 5 not reached.
    #[arg(long, requires = "from")]
    once: bool,
    /// POST each alarm there, as JSON.
    #[arg(long, value_name = "URL")]
    on_alarm_webhook: Option<String>,
    /// Certificates (PEM) to trust servers by; default: those of this machine.
    #[arg(long, value_name = "FILE")]
    server_ca: Option<PathBuf>,
    /// Speak plain http to another machine.
    #[arg(long)]
    danger_plain_http: bool,
}

pub(crate) fn now_s() -> u64 {
    u64::try_from(SystemClock.now_ms() / 1000).unwrap_or(0)
}

/// What a look may come to, other than a cosignature.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It could not be reached, or gave no whole answer.
    Away { why: String },
    /// The checkpoint is not the log's.
    NotSigned { note: Vec<u8> },
    /// It is of fewer entries than were cosigned.
    RolledBack { size: u64, now: u64, note: Vec<u8> },
    /// It does not go on from what was cosigned.
    Forked { size: u64, why: String, note: Vec<u8> },
    /// Nothing was cosigned for long.
    Silent { seconds: u64, why: String },
    /// It has not grown for long.
    Still { seconds: u64, size: u64 },
    /// Another root key signs it, by the word of the one before.
    RootChanged { fingerprint: String, at_ms: i64 },
}

impl Trouble {
    fn kind(&self) -> &'static str {
        match self {
            Self::Away { .. } => "away",
            Self::NotSigned { .. } => "not_signed",
            Self::RolledBack { .. } => "rolled_back",
            Self::Forked { .. } => "forked",
            Self::Silent { .. } => "silent",
            Self::Still { .. } => "still",
            Self::RootChanged { .. } => "root_changed",
        }
    }

    fn is_alarm(&self) -> bool {
        !matches!(self, Self::Away { .. })
    }

    fn in_words(&self) -> String {
        match self {
            Self::Away { why } => why.clone(),
            Self::NotSigned { .. } => "the checkpoint is not signed by the log's key".into(),
            Self::RootChanged { fingerprint, at_ms } => format!(
                "another root key signs since {}, fingerprint {fingerprint}; the one before has signed it, and the ledger goes on from \
                 what was cosigned here. Compare it with what 'matron admin whoami' shows an administrator: if none of them ordered \
                 it, the key before is in other hands",
                crate::cli::show::time(*at_ms)
            ),
            Self::RolledBack { size, now, .. } => format!(
                "the ledger has {now} entries, and it had {size} when it was cosigned here: an old copy took its place, \
                 or its end was cut off"
            ),
            Self::Forked { size, why, .. } => {
                format!("the ledger does not go on from the {size} entries that were cosigned here: {why}")
            }
            Self::Silent { seconds, why } => format!("nothing could be cosigned for {seconds} s: {why}"),
            Self::Still { seconds, size } => format!(
                "the ledger has had {size} entries for {seconds} s; the vault writes at least one a day, so either it \
                 stands still or someone keeps its newest entries back"
            ),
        }
    }

    fn note(&self) -> Option<&[u8]> {
        match self {
            Self::NotSigned { note } | Self::RolledBack { note, .. } | Self::Forked { note, .. } => {
                Some(note)
            }
            _ => None,
        }
    }
}

/// Tells alarms: on standard error, to the webhook, and the evidence into the folder.
pub(crate) struct Alarms {
    webhook: Option<(Client, String)>,
    /// What was told last of each log, and when.
    told: Mutex<Vec<(String, &'static str, u64)>>,
}

impl Alarms {
    fn new(w: &Witness) -> Result<Self> {
        let webhook = match &w.on_alarm_webhook {
            None => None,
            Some(url) => {
                let at = url.find("://").map_or(0, |n| n + 3);
                let end = url.get(at..).and_then(|rest| rest.find('/')).map_or(url.len(), |n| at + n);
                let (server, path) = url.split_at_checked(end).unwrap_or((url, ""));
                let client = Client::new(server, w.server_ca.as_deref(), w.danger_plain_http)
                    .map_err(|e| anyhow!("--on-alarm-webhook: {e}"))?;
                Some((client, if path.is_empty() { "/".to_owned() } else { path.to_owned() }))
            }
        };
        Ok(Self { webhook, told: Mutex::new(Vec::new()) })
    }

    /// Tells it, unless it was told within the hour.
    pub(crate) fn tell(&self, log: &VerifierKey, trouble: &Trouble, memory: &Mutex<Memory>) {
        let (kind, now) = (trouble.kind(), now_s());
        if matches!(trouble, Trouble::RootChanged { .. }) {
            if self.send(log, trouble, memory)
                && let Err(e) = memory.lock().unwrap_or_else(PoisonError::into_inner).told(log)
            {
                eprintln!("matron witness: {}: {e:#}", log.name());
            }
            return;
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = |(name, k, at): &(String, &'static str, u64)| {
            name == log.name() && *k == kind && now.saturating_sub(*at) < TOLD_AGAIN_S
        };
        if told.iter().any(lately) {
            return;
        }
        told.retain(|(name, k, _)| (name.as_str(), *k) != (log.name(), kind));
        told.push((log.name().to_owned(), kind, now));
        drop(told);
        self.send(log, trouble, memory);
    }

    /// Whether whoever is to hear it has.
    fn send(&self, log: &VerifierKey, trouble: &Trouble, memory: &Mutex<Memory>) -> bool {
        let (kind, now) = (trouble.kind(), now_s());
        let detail = trouble.in_words();
        eprintln!("matron witness: ALARM {kind} {}: {detail}", log.name());
        let (cosigned, witness) = {
            let memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(Err(e)) = trouble.note().map(|note| memory.keep_evidence(kind, note)) {
                eprintln!("matron witness: the checkpoint that shows it could not be kept: {e}");
            }
            (memory.kept(log).map(|k| k.signed.size()), memory.key().name().to_owned())
        };
        let Some((client, path)) = &self.webhook else { return true };
        let body = json!({
            "alarm": kind, "log": log.name(), "detail": detail, "at_s": now,
            "cosigned_entries": cosigned, "witness": witness,
        });
        let sent = client.send(Method::POST, path, None, Some(body.to_string().into_bytes()));
        match sent {
            Ok(answer) if (200..300).contains(&answer.status) => return true,
            Ok(answer) => eprintln!("matron witness: the webhook answered {}", answer.status),
            Err(e) => eprintln!("matron witness: the webhook: {e}"),
        }
        false
    }

    /// All is well again: the next alarm is told at once.
    fn forget(&self, log: &VerifierKey) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|(name, _, _)| name != log.name());
    }
}

/// Where a ledger's checkpoint and tiles are.
enum Source {
    Folder(PathBuf),
    Server(Client, String),
}

impl Source {
    fn of(w: &Witness, from: &str) -> Result<Self> {
        if !from.contains("://") {
            return Ok(Self::Folder(Path::new(from).to_owned()));
        }
        let client = Client::new(from, w.server_ca.as_deref(), w.danger_plain_http)
            .map_err(|e| anyhow!("--from: {e}"))?;
        let key = std::env::var("MATRON_API_KEY")
            .context("MATRON_API_KEY: 'matron api-keys make --scope ledger' makes a key for the witness")?;
        Ok(Self::Server(client, key))
    }

    fn checkpoint(&self) -> Result<Vec<u8>, Trouble> {
        match self {
            Self::Folder(dir) => {
                let path = dir.join(CHECKPOINT_FILE);
                std::fs::read(&path).map_err(|e| Trouble::Away { why: format!("{}: {e}", path.display()) })
            }
            Self::Server(..) => self.fetch("/ledger/checkpoint").map_err(|why| Trouble::Away { why }),
        }
    }

    fn fetch(&self, path: &str) -> Result<Vec<u8>, String> {
        let Self::Server(client, key) = self else { return Err("no server".into()) };
        let answer = client.send(Method::GET, path, Some(key), None).map_err(|e| e.to_string())?;
        match answer.status {
            200 => Ok(answer.body.to_vec()),
            401 | 403 => {
                Err("the server does not take the API key (scope ledger; it may have run out)".into())
            }
            status => Err(format!("the server answered {status} to {path}")),
        }
    }

    /// Gives the cosigned checkpoint back. That it can't is told and no alarm: what counts is kept here.
    fn hand_back(&self, note: &str) {
        let Self::Server(client, key) = self else { return };
        let sent = client.send(Method::POST, "/ledger/cosigned", Some(key), Some(note.as_bytes().to_vec()));
        match sent {
            Ok(answer) if answer.status == 204 => {}
            Ok(answer) => eprintln!("matron witness: the cosignature was not taken back ({})", answer.status),
            Err(e) => eprintln!("matron witness: the cosignature could not be handed back: {e}"),
        }
    }
}

impl TileSource for Source {
    type Error = LedgerError;

    fn tile(&self, tile: Tile) -> Result<Vec<u8>, LedgerError> {
        if let Self::Folder(dir) = self {
            return TileFolder(dir.clone()).tile(tile);
        }
        let bad = |_| LedgerError::Tile(ledger::tile::BadTile { path: tile.path() });
        match self.fetch(&format!("/ledger/{}", tile.path())) {
            Err(_) if !tile.is_full() => {
                let whole = Tile::full(tile.level, tile.index);
                let mut bytes = self.fetch(&format!("/ledger/{}", whole.path())).map_err(bad)?;
                bytes.truncate(tile.bytes());
                Ok(bytes)
            }
            other => other.map_err(bad),
        }
    }
}

/// The chain of root keys in a statement, as the API gives it.
fn chain_in(body: &[u8]) -> Option<Vec<SignedSuccession>> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let statement = STANDARD.decode(body.get("statement")?.as_str()?).ok()?;
    order::decode::<SignedStatement>(&statement).ok()?.successions
}

/// Looks whether another root key took the place of the one that signed until now.
fn follows(chain: &[SignedSuccession], log: &VerifierKey, memory: &Mutex<Memory>) -> bool {
    let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
    memory.follow(log, chain).unwrap_or_else(|e| {
        eprintln!("matron witness: {}: {e:#}", log.name());
        false
    })
}

/// That another root key signs is told, until whoever is to hear it has.
fn untold(log: &VerifierKey, memory: &Mutex<Memory>) -> Option<Trouble> {
    let followed = memory.lock().unwrap_or_else(PoisonError::into_inner).untold(log)?;
    let fingerprint = sha256(&followed.root).to_string().get(..16).unwrap_or_default().to_owned();
    Some(Trouble::RootChanged { fingerprint, at_ms: followed.at_ms })
}

/// One look: the size that was cosigned.
fn look(source: &Source, log: &VerifierKey, memory: &Mutex<Memory>) -> Result<u64, Trouble> {
    let note = source.checkpoint()?;
    let open = || {
        let signer = memory.lock().unwrap_or_else(PoisonError::into_inner).signer(log);
        SignedCheckpoint::open(&note, &signer)
    };
    let opened = open().or_else(|e| {
        let chain = source.fetch("/api/v1/statement").ok().and_then(|body| chain_in(&body));
        if chain.is_some_and(|chain| follows(&chain, log, memory)) { open() } else { Err(e) }
    });
    let signed = opened.map_err(|e| match e {
        NoteError::Malformed => Trouble::Away { why: "what it gave is no checkpoint".into() },
        _ => Trouble::NotSigned { note: note.clone() },
    })?;
    let before = memory.lock().unwrap_or_else(PoisonError::into_inner).kept(log).map(|k| k.signed.size());
    let old = before.unwrap_or(0);
    let now = signed.size();
    if now < old {
        return Err(Trouble::RolledBack { size: old, now, note });
    }
    let proof = prove_consistency(&TileNodes::new(source, now), old, now)
        .map_err(|e| Trouble::Away { why: format!("its tiles: {e}") })?;
    let request = AddCheckpoint { old, proof, note: note.clone() };
    let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
    match memory.cosign(log, &request, now_s()) {
        Ok(_) => {}
        Err(Refused::Judged(why @ (NotCosigned::Forked { .. } | NotCosigned::NotConsistent { .. }))) => {
            return Err(Trouble::Forked { size: old, why: why.to_string(), note });
        }
        Err(e) => return Err(Trouble::Away { why: e.to_string() }),
    }
    let text = memory.kept(log).map(|k| k.signed.note().to_string()).unwrap_or_default();
    drop(memory);
    source.hand_back(&text);
    Ok(now)
}

/// What the clock says of a log, whatever the last look came to.
fn overdue(
    w: &Witness,
    log: &VerifierKey,
    memory: &Mutex<Memory>,
    since_s: u64,
    away: Option<&str>,
) -> Option<Trouble> {
    let now = now_s();
    let memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
    let kept = memory.kept(log);
    let heard = kept.map_or(since_s, |k| k.at_s);
    let silent = now.saturating_sub(heard);
    if let Some(why) = away
        && silent >= w.silent_after
    {
        return Some(Trouble::Silent { seconds: silent, why: why.to_owned() });
    }
    let still = kept.map_or(0, |k| now.saturating_sub(k.grown_at_s));
    let size = kept.map_or(0, |k| k.signed.size());
    (still >= w.still_after).then_some(Trouble::Still { seconds: still, size })
}

fn logs_of(w: &Witness) -> Result<Vec<VerifierKey>> {
    let mut logs = Vec::new();
    for text in &w.logs {
        let key = match text.parse::<VerifierKey>() {
            Ok(key) if key.signs() == Signs::Text => key,
            Ok(_) => bail!("--log: this is a witness's key, not a log's"),
            Err(_) => log_key(
                &root_key_of(text).map_err(|_| anyhow!("--log: '{text}' is no key, nor a file with one"))?.0,
            ),
        };
        logs.push(key);
    }
    Ok(logs)
}

/// The log's name is that of the root key that it began under. Where `--log` gives a root key that took that one's place, it is
/// what the folder knows by it; and where the folder knows nothing, what the house says, by that key's signature.
fn named(w: &Witness, log: VerifierKey, source: Option<&Source>) -> Result<VerifierKey> {
    if log != log_key(log.public()) {
        return Ok(log);
    }
    if let Some(known) = Memory::log_known_by(&w.state, log.public())? {
        return Ok(known);
    }
    let Some(source) = source else { return Ok(log) };
    loop {
        match source.checkpoint() {
            Ok(note) => {
                let by_note = log_key_for(&note, log.public());
                return Ok(if SignedCheckpoint::open(&note, &by_note).is_ok() { by_note } else { log });
            }
            Err(away) if w.once => bail!(Away(away.in_words())),
            Err(away) => eprintln!("matron witness: {}", away.in_words()),
        }
        std::thread::sleep(Duration::from_secs(w.every));
    }
}

/// The house was not reached before anything was known of it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Away(String);

/// Runs until it is ended; with `--once`, one look.
pub(crate) fn run(w: &Witness) -> ExitCode {
    match witness(w) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("matron: {e:#}");
            ExitCode::from(if e.is::<Away>() { 5 } else { 2 })
        }
    }
}

fn witness(w: &Witness) -> Result<ExitCode> {
    let mut logs = logs_of(w)?;
    if w.from.is_none() && w.listen.is_none() {
        bail!("give --from (where to look), --listen (where logs come), or both");
    }
    let source = w.from.as_deref().map(|from| Source::of(w, from)).transpose()?;
    for (n, log) in logs.iter_mut().enumerate() {
        *log = named(w, log.clone(), source.as_ref().filter(|_| n == 0))?;
    }
    let [first, ..] = logs.as_slice() else { bail!("--log: whose ledger?") };
    let memory = Memory::open(&w.state, &w.name, &logs)?;
    let alarms = Arc::new(Alarms::new(w)?);
    eprintln!("matron witness: cosignatures are checked with {}", memory.key());
    for log in &logs {
        let seen = memory.kept(log).map_or("nothing yet".into(), |k| format!("{} entries", k.signed.size()));
        eprintln!("matron witness: of {} it has cosigned {seen}", log.name());
    }
    let memory = Arc::new(Mutex::new(memory));
    if let Some(path) = &w.statement {
        let body = std::fs::read(path).with_context(|| format!("--statement {}", path.display()))?;
        let Some(chain) = chain_in(&body) else {
            bail!("--statement {}: it is no key statement that tells of a changed root key", path.display());
        };
        for log in &logs {
            follows(&chain, log, &memory);
        }
    }
    if let Some(address) = w.listen {
        let listener = TcpListener::bind(address).with_context(|| format!("--listen {address}"))?;
        eprintln!("matron witness: listening on {}", listener.local_addr()?);
        let desk =
            listen::Desk { logs: logs.clone(), memory: Arc::clone(&memory), alarms: Arc::clone(&alarms) };
        listen::start(listener, desk)?;
    }
    let since_s = now_s();
    let mut well = true;
    loop {
        let mut away = None;
        let mut alarmed = false;
        if let Some(source) = &source {
            match look(source, first, &memory) {
                Ok(size) => {
                    if !well || w.once {
                        eprintln!("matron witness: {} has {size} entries, cosigned", first.name());
                    }
                    well = true;
                }
                Err(trouble) if trouble.is_alarm() => {
                    alarmed = true;
                    alarms.tell(first, &trouble, &memory);
                }
                Err(trouble) => {
                    if well || w.once {
                        eprintln!("matron witness: {}: {}", first.name(), trouble.in_words());
                    }
                    away = Some(trouble.in_words());
                }
            }
        } else {
            // Logs come by themselves, or don't.
            away = Some("no checkpoint was brought".into());
        }
        for log in &logs {
            if let Some(changed) = untold(log, &memory) {
                alarmed = true;
                alarms.tell(log, &changed, &memory);
            }
            if let Some(trouble) = overdue(w, log, &memory, since_s, away.as_deref()) {
                alarmed = true;
                alarms.tell(log, &trouble, &memory);
            }
        }
        if w.once {
            let code = if alarmed {
                1
            } else if away.is_some() {
                5
            } else {
                0
            };
            return Ok(ExitCode::from(code));
        }
        if alarmed || away.is_some() {
            well = false;
        } else {
            alarms.forget(first);
        }
        std::thread::sleep(Duration::from_secs(w.every));
    }
}
