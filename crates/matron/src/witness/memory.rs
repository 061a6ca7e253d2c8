//! What a witness remembers: its key, and of each log the newest checkpoint that it cosigned. Files for
//! their owner alone, each written whole and durable before anything that rests on it is answered.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use ledger::witness::{AddCheckpoint, NotCosigned, judge};
use ledger::{NoteSignature, SignedCheckpoint, Signs, VerifierKey};
use model::Digest;
use order::{Ed25519Secret, sha256};
use rpc::trust::write_file;
use zeroize::Zeroizing;

const KEY_FILE: &str = "witness.key";

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

/// The folder.
pub(crate) struct Memory {
    dir: PathBuf,
    secret: Ed25519Secret,
    key: VerifierKey,
    kept: BTreeMap<String, Kept>,
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
        let mut memory = Self { dir: dir.to_owned(), secret, key, kept: BTreeMap::new() };
        for log in logs {
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

    fn read(&self, log: &VerifierKey) -> Result<Option<Kept>> {
        let path = self.dir.join(Self::file_of(log));
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e).with_context(|| path.display().to_string()),
        };
        // Going on without it would be to forget what was promised: someone has to look.
        let kept = text.split_once('\n').and_then(|(grown, note)| {
            let signed = SignedCheckpoint::open(note.as_bytes(), log).ok()?;
            let at_s = self.key.verify(signed.note()).ok()?;
            Some(Kept { signed, at_s, grown_at_s: grown.strip_prefix("grown ")?.parse().ok()? })
        });
        let kept = kept.ok_or_else(|| {
            anyhow!(
                "{} is not what this witness wrote (another name or key, or damaged). Restore it; without it the witness \
                 can't tell whether the log goes on from where it was",
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
        let mut signed = judge(request, log, before.map(|k| k.signed.checkpoint()))?;
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
            text.trim().parse().map_err(|_| anyhow!("{} holds no key; restore it", path.display()))?
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
