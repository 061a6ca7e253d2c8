//! What a backup of the large fleet costs, and its restore.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use age::secrecy::ExposeSecret;
use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::Value;

/// A backup while the house runs, and the rehearsal of its restore.
#[derive(Debug, Default, Serialize)]
pub(crate) struct BackedUp {
    /// From the command to the finished backup; up to 2 s of it the request waits.
    pub(crate) made_ms: u64,
    pub(crate) backup_mb: f64,
    /// Everything unpacked, looked at and in its place.
    pub(crate) restored_ms: u64,
    /// With a record opened, the ledger verified and the house served.
    pub(crate) rehearsed_ms: u64,
}

/// A key of the bench's own: its file, and the setting that names its public half.
pub(crate) fn recipient(dir: &Path) -> Result<String> {
    let secret = age::x25519::Identity::generate();
    std::fs::write(dir.join("identity"), secret.to_string().expose_secret())?;
    Ok(format!("backup.recipients=[\"{}\"]", secret.to_public()))
}

fn run(arguments: &[&str]) -> Result<Value> {
    let output = Command::new(std::env::current_exe()?).args(arguments).arg("--json").output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Backs up the scratch house in `dir`, which was started with `recipient`.
pub(crate) fn measure(dir: &Path, recipient: &str) -> Result<BackedUp> {
    let text = |p: &Path| p.to_str().map(str::to_owned).context("a path that is not UTF-8");
    let (data, shelf) = (text(&dir.join("data"))?, text(&dir.join("backups"))?);
    let (identity, scratch) = (text(&dir.join("identity"))?, text(dir)?);
    let began = Instant::now();
    let made = run(&["backup", "--data", &data, "--set", recipient, "--to", &shelf]).context("the backup")?;
    let made_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let number = |v: &Value, key: &str| v.get(key).and_then(Value::as_u64).unwrap_or(0);
    let backup = made.get("backup").and_then(Value::as_str).context("the backup's name")?;
    let rehearse = ["restore", backup, "--identity", &identity, "--rehearse", "--scratch", &scratch];
    let rehearsed = run(&rehearse).context("the rehearsal")?;
    Ok(BackedUp {
        made_ms,
        backup_mb: number(&made, "bytes") as f64 / 1_048_576.0,
        restored_ms: number(&rehearsed, "restored_ms"),
        rehearsed_ms: number(&rehearsed, "took_ms"),
    })
}
