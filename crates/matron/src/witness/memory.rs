//! What a witness remembers: its key, and of each log the newest checkpoint that it cosigned. Files for
//! their owner alone, each written whole and durable before anything that rests on it is answered.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use ledger::checkpoint::log_key;
use ledger::witness::{AddCheckpoint, NotCosigned, judge};
use ledger::{NoteSignature, SignedCheckpoint, Signs, VerifierKey};
use minicbor::{Decode, Encode};
use model::{Digest, TimeMs};
use order::root::{SignedSuccession, follow};
use order::{Ed25519Secret, sha256};
use rpc::trust::write_file;
use zeroize::Zeroizing;

const KEY_FILE: &str = "witness.key";
/// What to do when the memory is damaged. An older copy put back would cosign what it must not.
const BEGIN_ANEW: &str = "Put no older copy back: a witness that forgot cosigns what it should not. Keep this folder, find \
                          out who or what wrote there, and begin anew with another --state";

/// What is remembered of a log.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    /// With the log's line and ours.
    pub(crate) signed: SignedCheckpoint,
    /// When it was cosigned, in seconds since 1970.
    pub(crate) at_s: u64,
    /// When it was last seen to have grown.
    pub(crate) grown_at_s: u64,
}

/// What was learned of a log's root keys.
pub(crate) struct Followed {
    /// The key that signs now.
    pub(crate) root: [u8; 32],
    /// When it took the other's place, in milliseconds since 1970.
    pub(crate) at_ms: TimeMs,
}

/// The folder.
pub(crate) struct Memory {
    dir: PathBuf,
    secret: Ed25519Secret,
    key: VerifierKey,
    kept: BTreeMap<String, Kept>,
    /// By a log's name: how its root keys took each other's place, as far as it was followed.
    chains: BTreeMap<String, Led>,
}

/// How far a log's root keys were followed.
#[derive(Debug, Clone, Encode, Decode)]
struct Led {
    #[n(0)]
    chain: Vec<SignedSuccession>,
    /// The alarm of the newest one has gone out.
    #[n(1)]
    told: bool,
}

/// Why a request was not answered with a cosignature.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error(transparent)]
    Judged(#[from] NotCosigned),
    #[error("the witness can't write down what it would sign: {0}")]
    Disk(std::io::Error),
}

impl Memory {
    /// Opens the folder, and makes folder and key the first time. `logs` are those that are watched.
    pub(crate) fn open(dir: &Path, name: &str, logs: &[VerifierKey]) -> Result<Self> {
        if !dir.is_dir() {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
            made.with_context(|| format!("the folder {}", dir.display()))?;
        }
        let secret = open_key(dir)?;
        let public =
            secret.public().try_into().map_err(|_| anyhow!("the witness's key is no Ed25519 key"))?;
        let key = VerifierKey::new(name, Signs::Cosigns, public).map_err(|_| {
            anyhow!("--name: a name such as witness.example.org/matron, without spaces or '+'")
        })?;
        let mut memory =
            Self { dir: dir.to_owned(), secret, key, kept: BTreeMap::new(), chains: BTreeMap::new() };
        for log in logs {
            if let Some(chain) = memory.read_chain(log)? {
                memory.chains.insert(log.name().to_owned(), chain);
            }
            if let Some(kept) = memory.read(log)? {
                memory.kept.insert(log.name().to_owned(), kept);
            }
        }
        Ok(memory)
    }

    /// The key that its cosignatures are checked with.
    pub(crate) fn key(&self) -> &VerifierKey {
        &self.key
    }

    pub(crate) fn kept(&self, log: &VerifierKey) -> Option<&Kept> {
        self.kept.get(log.name())
    }

    fn file_of(log: &VerifierKey) -> String {
        let hash = sha256(log.to_string().as_bytes()).to_string();
        format!("log-{}", hash.get(..16).unwrap_or_default())
    }

    /// A log that is known by another key would begin anew, and what was promised of it be forgotten.
    fn none_by_another_key(&self, log: &VerifierKey) -> Result<()> {
        for entry in fs::read_dir(&self.dir).with_context(|| self.dir.display().to_string())? {
            let path = entry?.path();
            let is_log = path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with("log-"));
            let text = if is_log { fs::read_to_string(&path).unwrap_or_default() } else { String::new() };
            if text.lines().nth(1) == Some(log.name()) {
                bail!(
                    "{} knows {} by another key than --log gives; give the one it was first watched by: a root key that took \
                     its place is followed from there. Or begin anew with another --state",
                    self.dir.display(),
                    log.name()
                );
            }
        }
        Ok(())
    }

    fn chain_file_of(log: &VerifierKey) -> String {
        format!("roots-{}", Self::file_of(log))
    }

    fn read_chain(&self, log: &VerifierKey) -> Result<Option<Led>> {
        let path = self.dir.join(Self::chain_file_of(log));
        let text = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e).with_context(|| path.display().to_string()),
        };
        let led: Option<Led> = order::decode(&text).ok();
        let led = led.filter(|led| follow(log.public(), &led.chain).is_ok_and(|roots| roots.len() > 1));
        let damaged = || anyhow!("{} is not what this witness wrote. {BEGIN_ANEW}", path.display());
        led.ok_or_else(damaged).map(Some)
    }

    /// The log's root keys, the one that it is watched by first.
    fn roots(&self, log: &VerifierKey) -> Vec<[u8; 32]> {
        let chain = self.chains.get(log.name()).map_or(&[][..], |led| &led.chain);
        follow(log.public(), chain).unwrap_or_else(|_| vec![*log.public()])
    }

    /// The key that signs the log's checkpoints now.
    pub(crate) fn signer(&self, log: &VerifierKey) -> VerifierKey {
        let newest = self.roots(log).last().copied().unwrap_or(*log.public());
        log.with(newest)
    }

    /// Goes by the newest root key that this chain leads to, from the one that signed until now. Answers whether that is
    /// another; it is told of then ([`Memory::untold`]).
    pub(crate) fn follow(&mut self, log: &VerifierKey, chain: &[SignedSuccession]) -> Result<bool> {
        let known = self.roots(log);
        let led = follow(log.public(), chain).map_err(|e| anyhow!("{e}"))?;
        if led.len() <= known.len() || !led.starts_with(&known) {
            return Ok(false);
        }
        self.keep_led(log, Led { chain: chain.to_vec(), told: false })?;
        Ok(true)
    }

    fn keep_led(&mut self, log: &VerifierKey, led: Led) -> Result<()> {
        write_file(&self.dir, &Self::chain_file_of(log), &order::encode(&led), true)
            .context("the log's new root key could not be written down")?;
        self.chains.insert(log.name().to_owned(), led);
        Ok(())
    }

    /// The newest root key, while the alarm of it has not gone out.
    pub(crate) fn untold(&self, log: &VerifierKey) -> Option<Followed> {
        let led = self.chains.get(log.name()).filter(|led| !led.told)?;
        let newest = led.chain.iter().filter_map(SignedSuccession::open).next_back()?;
        Some(Followed { root: newest.next, at_ms: newest.made_at_ms })
    }

    /// The alarm of it has gone out.
    pub(crate) fn told(&mut self, log: &VerifierKey) -> Result<()> {
        match self.chains.get(log.name()).cloned() {
            Some(led) => self.keep_led(log, Led { told: true, ..led }),
            None => Ok(()),
        }
    }

    /// The log that the folder knows by this root key, or as one that leads to it: its name is of the key that it began under,
    /// and by another name it would begin anew.
    pub(crate) fn log_known_by(dir: &Path, root: &[u8; 32]) -> Result<Option<VerifierKey>> {
        let entries = match fs::read_dir(dir) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            read => read.with_context(|| dir.display().to_string())?,
        };
        for entry in entries {
            let path = entry?.path();
            let Some(file) = path.file_name().and_then(|n| n.to_str()) else { continue };
            if !file.starts_with("log-") {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap_or_default();
            let by = |key: &[u8; 32]| text.lines().nth(1).map(|name| log_key(key).called(name.to_owned()));
            let led: Option<Led> =
                fs::read(dir.join(format!("roots-{file}"))).ok().and_then(|bytes| order::decode(&bytes).ok());
            let first = led.as_ref().and_then(|led| led.chain.iter().find_map(SignedSuccession::open));
            let leads = |first: &[u8; 32]| {
                let chain = led.as_ref().map_or(&[][..], |led| &led.chain);
                follow(first, chain).is_ok_and(|roots| roots.contains(root))
            };
            let candidates = [Some(*root), first.map(|s| s.former).filter(leads)];
            let known = candidates.iter().flatten().filter_map(by).find(|log| Self::file_of(log) == file);
            if known.is_some() {
                return Ok(known);
            }
        }
        Ok(None)
    }

    fn read(&self, log: &VerifierKey) -> Result<Option<Kept>> {
        let path = self.dir.join(Self::file_of(log));
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return self.none_by_another_key(log).map(|()| None);
            }
            Err(e) => return Err(e).with_context(|| path.display().to_string()),
        };
        // Going on without it would be to forget what was promised: someone has to look.
        let kept = text.split_once('\n').and_then(|(grown, note)| {
            let opened = |root: &[u8; 32]| SignedCheckpoint::open(note.as_bytes(), &log.with(*root)).ok();
            let signed = self.roots(log).iter().rev().find_map(opened)?;
            let at_s = self.key.verify(signed.note()).ok()?;
            Some(Kept { signed, at_s, grown_at_s: grown.strip_prefix("grown ")?.parse().ok()? })
        });
        let kept = kept.ok_or_else(|| {
            anyhow!(
                "{} is not what this witness wrote (another name or key, or damaged), and without it the witness can't \
                 tell whether the log goes on from where it was. {BEGIN_ANEW}",
                path.display()
            )
        })?;
        Ok(Some(kept))
    }

    /// Judges a request, writes down what came of it, and cosigns. Whoever holds the memory has it alone, so
    /// that nothing comes between.
    pub(crate) fn cosign(
        &mut self,
        log: &VerifierKey,
        request: &AddCheckpoint,
        now_s: u64,
    ) -> Result<NoteSignature, Refused> {
        let before = self.kept.get(log.name());
        let mut signed = judge(request, &self.signer(log), before.map(|k| k.signed.checkpoint()))?;
        let grown_at_s = before.filter(|b| b.signed.size() == signed.size()).map_or(now_s, |b| b.grown_at_s);
        let line = self.key.sign(&signed.note().text, now_s, |message| self.secret.sign(message));
        signed.keep_newest(0);
        signed.add(line.clone());
        let text = format!("grown {grown_at_s}\n{}", signed.note());
        write_file(&self.dir, &Self::file_of(log), text.as_bytes(), true).map_err(Refused::Disk)?;
        self.kept.insert(log.name().to_owned(), Kept { signed, at_s: now_s, grown_at_s });
        Ok(line)
    }

    /// Keeps what shows that a log went wrong, once.
    pub(crate) fn keep_evidence(&self, kind: &str, note: &[u8]) -> std::io::Result<()> {
        let hash = sha256(note).to_string();
        let name = format!("alarm-{kind}-{}", hash.get(..16).unwrap_or_default());
        if self.dir.join(&name).exists() { Ok(()) } else { write_file(&self.dir, &name, note, true) }
    }
}

fn open_key(dir: &Path) -> Result<Ed25519Secret> {
    let path = dir.join(KEY_FILE);
    let seed: Digest = match fs::read_to_string(&path).map(Zeroizing::new) {
        Ok(text) => {
            text.trim().parse().map_err(|_| anyhow!("{} holds no key. {BEGIN_ANEW}", path.display()))?
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let mut seed = [0; 32];
            if SystemRandom::new().fill(&mut seed).is_err() {
                bail!("this machine gives no random numbers");
            }
            let text = Zeroizing::new(format!("{}\n", Digest(seed)));
            write_file(dir, KEY_FILE, text.as_bytes(), true).with_context(|| path.display().to_string())?;
            Digest(seed)
        }
        Err(e) => return Err(e).with_context(|| path.display().to_string()),
    };
    Ed25519Secret::from_seed(seed.0).ok_or_else(|| anyhow!("{} makes no key", path.display()))
}
