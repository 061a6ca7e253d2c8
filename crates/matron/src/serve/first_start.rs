//! The very first start. Everything is made in a folder that takes its name only when it is whole:
//! killed anywhere before, the next start begins anew and nobody was told of anything.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use rpc::install::{Installed, VaultWants};
use serde::de::DeserializeOwned;

use crate::config::Config;
use crate::rooms::Room;

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
    let one_shot = |room, step, dir: &Path, input: &str| one_shot(config, room, step, dir, input);
    for room in Room::ALL {
        make_private(&dir(room))?;
    }
    let wants = VaultWants {
        door: keys_of(config, Room::Door, &dir(Room::Door))?,
        reader: keys_of(config, Room::Reader, &dir(Room::Reader))?,
        courier: keys_of(config, Room::Courier, &dir(Room::Courier))?,
        tls_names: config.tls_names(),
    };
    one_shot(Room::Core, "keys", &dir(Room::Core), "")?;
    let said = one_shot(Room::Vault, "keys", &dir(Room::Vault), &serde_json::to_string(&wants)?)?;
    let mut installed: Installed = serde_json::from_str(&said).context("the vault's installation")?;
    let token = std::mem::take(&mut installed.first_token);
    let trust = serde_json::to_string(&installed)?;
    // The vault made what the others trust.
    for room in Room::ALL.into_iter().filter(|r| *r != Room::Vault) {
        one_shot(room, "trust", &dir(room), &trust)?;
    }
    // For people and scripts: what a phone or a browser has to trust. Public.
    std::fs::write(
        data.join("ca.pem"),
        pem::encode(&pem::Pem::new("CERTIFICATE", installed.ca_certificate)),
    )?;
    show(&token);
    std::fs::rename(&unfinished, data.join("rooms"))?;
    std::fs::File::open(data)?.sync_all()?;
    Ok(())
}

fn make_private(dir: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("the folder {} could not be made", dir.display()))
}

fn keys_of<T: DeserializeOwned>(config: &Config, room: Room, dir: &Path) -> Result<T> {
    let said = one_shot(config, room, "keys", dir, "")?;
    serde_json::from_str(&said).with_context(|| format!("the {}'s installation", room.name()))
}

/// Runs a room's one-shot child.
fn one_shot(config: &Config, room: Room, step: &str, dir: &Path, input: &str) -> Result<String> {
    let without = config.sandbox.danger_without.iter().flat_map(|l| ["--without", l.name()]);
    let mut child = Command::new(super::this_program()?)
        .args(["install", room.name(), step])
        .arg(dir)
        .args(without)
        .args(config.root_key_arguments(room)?)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A child that ended early says why by its status.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("the {}'s {step} could not be made; its words are above", room.name());
    }
    Ok(String::from_utf8(output.stdout)?)
}
