//! The very first start. Everything is made in a folder that takes its name only when it is whole:
//! killed anywhere before, the next start begins anew and nobody was told of anything.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};
use rpc::control::{ToRoom, pair};
use rpc::install::{Installed, VaultWants};
use serde_json::Value;

use crate::config::Config;
use crate::rooms::{Room, Step};
use crate::root_key::Unlocking;

/// Makes every room's keys and trust. `show` is given the first administrator's one-time token before
/// anything counts: killed between the two, a token was shown that opens nothing, and the next start
/// shows another; the other way round nobody could ever join.
pub(super) fn install(config: &Config, data: &Path, show: impl FnOnce(&str)) -> Result<()> {
    let unfinished = data.join("rooms.unfinished");
    if unfinished.exists() {
        std::fs::remove_dir_all(&unfinished)
            .with_context(|| format!("the unfinished first start in {}", unfinished.display()))?;
    }
    make_private(&unfinished)?;
    let dir = |room: Room| unfinished.join(room.name());
    let unlocking = Unlocking::open(config, data, crate::pkcs11::to_make(config, data))?;
    let one_shot =
        |room, step, dir: &Path, input: Value| step_of(config, &unlocking, (room, step), dir, input);
    let keys_of = |room, dir: &Path| one_shot(room, Step::Keys, dir, Value::Null);
    for room in Room::ALL {
        make_private(&dir(room))?;
    }
    let wants = VaultWants {
        door: serde_json::from_str(&keys_of(Room::Door, &dir(Room::Door))?)?,
        reader: serde_json::from_str(&keys_of(Room::Reader, &dir(Room::Reader))?)?,
        courier: serde_json::from_str(&keys_of(Room::Courier, &dir(Room::Courier))?)?,
        tls_names: config.tls_names(),
    };
    keys_of(Room::Core, &dir(Room::Core))?;
    let said = one_shot(Room::Vault, Step::Keys, &dir(Room::Vault), serde_json::to_value(&wants)?)?;
    let mut installed: Installed = serde_json::from_str(&said).context("the vault's installation")?;
    let token = std::mem::take(&mut installed.first_token);
    let trust = serde_json::to_value(&installed)?;
    // The vault made what the others trust.
    for room in Room::ALL.into_iter().filter(|r| *r != Room::Vault) {
        one_shot(room, Step::Trust, &dir(room), trust.clone())?;
    }
    // For people and scripts: what a phone or a browser has to trust. Public.
    std::fs::write(
        data.join("ca.pem"),
        pem::encode(&pem::Pem::new("CERTIFICATE", installed.ca_certificate)),
    )?;
    show(&token);
    std::fs::rename(&unfinished, data.join("rooms"))?;
    std::fs::File::open(data)?.sync_all()?;
    crate::pkcs11::made(data)
}

fn make_private(dir: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("the folder {} could not be made", dir.display()))
}

/// Runs a step in the room's one-shot child.
fn step_of(
    config: &Config,
    unlocking: &Unlocking,
    (room, step): (Room, Step),
    dir: &Path,
    input: Value,
) -> Result<String> {
    let output = one_shot(config, unlocking, (room, step), dir, input, Stdio::inherit())?;
    if !output.status.success() {
        bail!("the {}'s {} could not be made; its words are above", room.name(), step.name());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Runs a room's one-shot child; its input goes by a control pair, with what it is handed.
pub(crate) fn one_shot(
    config: &Config,
    unlocking: &Unlocking,
    (room, step): (Room, Step),
    dir: &Path,
    input: Value,
    stderr: Stdio,
) -> Result<Output> {
    let without = config.sandbox.danger_without.iter().flat_map(|l| ["--without", l.name()]);
    let (control, theirs) = pair().context("a control pair")?;
    let child = Command::new(super::this_program()?)
        .args(["install", room.name(), step.name()])
        .arg(dir)
        .args(without)
        .env_clear()
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()?;
    // A child that ended early says why by its status.
    let _ = control.send(&ToRoom::Start { config: input }, &unlocking.handed_to(room)?);
    Ok(child.wait_with_output()?)
}
