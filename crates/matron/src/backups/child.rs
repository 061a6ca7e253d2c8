//! One-shot children of the rooms: each reads and writes its own folder in a process of its own.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use backup::{Made, Request};
use rpc::control::{ToRoom, ToSupervisor, pair};

use crate::config::Config;
use crate::rooms::{Room, Step};
use crate::serve::this_program;

/// Has a room that does not run write its part.
pub(super) fn part(config: &Config, data: &Path, room: Room, request: &Request, out: File) -> Result<Made> {
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
    let _ = control.send(&ToRoom::Start { config: start }, &config.root_key_for(room)?);
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
        _ => bail!("it said something else"),
    }
}

/// Runs a step of a restore in the room's own process, held as the configuration has it; JSON in and out.
pub(super) fn step(config: &Config, room: Room, step: Step, dir: &Path, input: &str) -> Result<String> {
    let without = config.sandbox.danger_without.iter().flat_map(|l| ["--without", l.name()]);
    let mut child = Command::new(this_program()?)
        .args(["install", room.name(), step.name()])
        .arg(dir)
        .args(without)
        .args(config.root_key_arguments(room)?)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A child that ended early says why by its status.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("the {}: {}", room.name(), words.trim().trim_start_matches("matron: "));
    }
    Ok(String::from_utf8(output.stdout)?)
}
