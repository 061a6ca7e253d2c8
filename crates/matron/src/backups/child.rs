//! One-shot children of the rooms: each reads and writes its own folder in a process of its own.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use backup::{Made, Request};
use rpc::control::{ToRoom, ToSupervisor, pair};
use serde_json::Value;

use crate::config::Config;
use crate::rooms::{Room, Step};
use crate::root_key::Unlocking;
use crate::serve::{one_shot, this_program};

/// Has a room that does not run write its part.
pub(super) fn part(
    config: &Config,
    unlocking: &Unlocking,
    data: &Path,
    (room, request): (Room, &Request),
    out: File,
) -> Result<Made> {
    let (control, theirs) = pair().context("a control pair")?;
    let mut child = Command::new(this_program()?)
        .args(["back-up", room.name()])
        .env_clear()
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("the {} could not be started", room.name()))?;
    let room_config = config.of(room, &data.join("rooms"))?;
    let start = serde_json::json!({
        "room": room_config,
        "log": config.log,
        "journal": false,
        "sandbox": config.allowed(room, &data.join("rooms")),
    });
    let _ = control.send(&ToRoom::Start { config: start }, &unlocking.handed_to(room)?);
    let request = serde_json::to_value(request)?;
    let _ = control.send(&ToRoom::BackUp { request }, &[OwnedFd::from(out)]);
    let said = control.receive::<ToSupervisor>();
    let mut words = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        let _ = stderr.read_to_string(&mut words);
    }
    child.wait()?;
    match said {
        Ok(Some((said, _))) => made(said),
        _ => bail!("it ended without an answer. {}", words.trim()),
    }
}

/// A room's answer.
pub(crate) fn made(said: ToSupervisor) -> Result<Made> {
    match said {
        ToSupervisor::BackedUp { made, refused } if refused.is_empty() => {
            serde_json::from_value(made).context("what it said")
        }
        ToSupervisor::BackedUp { refused, .. } => bail!(refused),
        _ => bail!(
            "it said something that is no answer; make the backup again, with one version of Matron alone on this host"
        ),
    }
}

/// Runs a step of a restore in the room's own process, held as the configuration has it; JSON in and out.
pub(super) fn step(
    config: &Config,
    unlocking: &Unlocking,
    (room, step): (Room, Step),
    dir: &Path,
    input: Value,
) -> Result<String> {
    let output = one_shot(config, unlocking, (room, step), dir, input, Stdio::piped())?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("the {}: {}", room.name(), words.trim().trim_start_matches("matron: "));
    }
    Ok(String::from_utf8(output.stdout)?)
}
