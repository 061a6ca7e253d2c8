//! The process that speaks to the PKCS#11 token, as the supervisor starts it: `vault.root_key = "pkcs11"`.
//!
//! The supervisor carries descriptors: the PIN's file to that process, one end of a pipe to it and the other to a room,
//! one end of a stream to it and the other to the vault. It reads none of them.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use rpc::control::{ControlEnd, neighbours, pair};
use rpc::hsm::{Make, Start, ToHsm, ToSupervisor};
use sandbox::Layer;
use serde::{Deserialize, Serialize};

use crate::config::{Config, Vault};
use crate::rooms::Room;

/// The PIN's credential, as systemd has it.
const PIN_CREDENTIAL: &str = "matron-pkcs11-pin";
/// In the data folder: the file of a PIN that the token refused. It is not tried again while it is the same.
const REFUSED: &str = "pkcs11.refused";
/// In the data folder, while a first start makes keys on the token.
const MAKING: &str = "pkcs11.making";

/// The module's code runs in it.
const WORDLESS: &str = "the token's process ended without a word: the module (vault.pkcs11_module) brought it down, or the \
                        sandbox did; see the kernel's log";

/// A PIN's file, as far as one sees without reading it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct PinFile {
    path: PathBuf,
    inode: u64,
    size: u64,
    changed_s: i64,
    changed_ns: i64,
}

impl PinFile {
    fn of(path: &Path, file: &File) -> Result<Self> {
        let meta = file.metadata().with_context(|| format!("the token's PIN, {}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            inode: meta.ino(),
            size: meta.size(),
            changed_s: meta.ctime(),
            changed_ns: meta.ctime_nsec(),
        })
    }
}

/// The process did not open the token.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub(crate) struct NotOpened {
    why: String,
    /// Trying again brings the token nearer to locking itself.
    pub(crate) pin_refused: bool,
}

/// The process, with the token open.
pub(crate) struct Process {
    pub(crate) control: ControlEnd,
    child: Child,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

impl Vault {
    fn pin_path(&self) -> Result<PathBuf> {
        if let Some(path) = &self.pkcs11_pin_file {
            return Ok(path.clone());
        }
        let dir = std::env::var_os("CREDENTIALS_DIRECTORY").context(
            "vault.root_key = \"pkcs11\": no vault.pkcs11_pin_file, and there is no CREDENTIALS_DIRECTORY; name the \
             file, or start Matron as a service with LoadCredentialEncrypted=matron-pkcs11-pin",
        )?;
        Ok(PathBuf::from(dir).join(PIN_CREDENTIAL))
    }

    /// What the token's process is not held by.
    pub(crate) fn pkcs11_without(&self, danger_without: &[Layer]) -> Vec<Layer> {
        if self.pkcs11_danger_unheld {
            vec![Layer::Seccomp, Layer::Landlock]
        } else {
            danger_without.to_vec()
        }
    }

    /// Says what is missing of the keys that a token needs.
    pub(crate) fn check_pkcs11(&self) -> Result<()> {
        let given = [
            ("module", self.pkcs11_module.is_some()),
            ("token", self.pkcs11_token.is_some()),
            ("folder", self.pkcs11_folder.is_some()),
        ];
        for (key, given) in given {
            ensure!(
                given,
                "vault.pkcs11_{key}: vault.root_key = \"pkcs11\" needs it (docs/operations.md, \"Keys\")"
            );
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        ensure!(
            (1..=40).contains(&self.pkcs11_keys.len()) && self.pkcs11_keys.chars().all(plain),
            "vault.pkcs11_keys: 1 to 40 letters, digits, '-' and '_'"
        );
        for pair in &self.pkcs11_environment {
            ensure!(
                pair.split_once('=').is_some_and(|(name, _)| !name.is_empty()),
                "vault.pkcs11_environment: each is NAME=value, for example \"SOFTHSM2_CONF=/etc/softhsm/softhsm2.conf\""
            );
        }
        Ok(())
    }
}

impl Process {
    /// Starts it, and waits until the token is open. `data`: the house's folder, where it is noted that a PIN was refused.
    ///
    /// # Errors
    /// [`NotOpened`] among others.
    pub(crate) fn start(config: &Config, data: &Path, make: Make) -> Result<Self> {
        let vault = &config.vault;
        let pin_path = vault.pin_path()?;
        let pin =
            File::open(&pin_path).with_context(|| format!("the token's PIN, {}", pin_path.display()))?;
        let pin_file = PinFile::of(&pin_path, &pin)?;
        let note = data.join(REFUSED);
        let refused = fs::read(&note).ok().and_then(|text| serde_json::from_slice::<PinFile>(&text).ok());
        if refused.as_ref() == Some(&pin_file) {
            let why = format!(
                "the token '{}' refused the PIN in {} before, and that file has not changed since; it is not tried again, \
                 since a token locks itself after some tries. Put the right PIN there and start again",
                vault.pkcs11_token.as_deref().unwrap_or_default(),
                pin_path.display()
            );
            return Err(NotOpened { why, pin_refused: true }.into());
        }
        let process = Self::spawn(config, make, &[OwnedFd::from(pin)])?;
        let mut said = process.control.receive::<ToSupervisor>();
        if let Ok(Some((ToSupervisor::Making, _))) = said {
            // Durable before there is a key: so whoever finds one and this note has found one that nobody was told of.
            let path = data.join(MAKING);
            let written = File::create(&path).and_then(|mut file| {
                file.write_all(of_keys(vault).as_bytes())?;
                file.sync_all()
            });
            written
                .and_then(|()| File::open(data)?.sync_all())
                .with_context(|| format!("{}", path.display()))?;
            let _ = process.control.send(&ToHsm::Make, &[]);
            said = process.control.receive();
        }
        match said {
            Ok(Some((ToSupervisor::Ready, _))) => {
                let _ = fs::remove_file(&note);
                Ok(process)
            }
            Ok(Some((ToSupervisor::Failed { why, pin_refused }, _))) => {
                if pin_refused {
                    fs::write(&note, serde_json::to_vec(&pin_file)?)
                        .with_context(|| format!("{}", note.display()))?;
                }
                Err(NotOpened { why, pin_refused }.into())
            }
            _ => bail!(WORDLESS),
        }
    }

    /// Whether the token is there and can do what is needed; no PIN is given.
    ///
    /// # Errors
    /// What is wrong.
    pub(crate) fn look(config: &Config) -> Result<()> {
        let process = Self::spawn(config, Make::Look, &[])?;
        match process.control.receive::<ToSupervisor>() {
            Ok(Some((ToSupervisor::Ready, _))) => Ok(()),
            Ok(Some((ToSupervisor::Failed { why, .. }, _))) => bail!(why),
            _ => bail!(WORDLESS),
        }
    }

    fn spawn(config: &Config, make: Make, handed: &[OwnedFd]) -> Result<Self> {
        let vault = &config.vault;
        let (Some(module), Some(token), Some(folder)) =
            (&vault.pkcs11_module, &vault.pkcs11_token, &vault.pkcs11_folder)
        else {
            bail!("vault.root_key = \"pkcs11\": the token is not configured");
        };
        let (control, theirs) = pair().context("a control pair")?;
        let mut command = Command::new(crate::serve::this_program()?);
        if let Some((uid, gid)) = crate::serve::owner_to_be(folder)? {
            command.uid(uid).gid(gid);
        }
        let environment = vault.pkcs11_environment.iter().filter_map(|pair| pair.split_once('='));
        let child = command
            .arg("hsm")
            .env_clear()
            .envs(environment)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            // A Ctrl-C in the terminal is the supervisor's.
            .process_group(0)
            .spawn()
            .context("the token's process could not be started")?;
        let process = Self { control, child };
        let allowed = sandbox::Allowed {
            without: vault.pkcs11_without(&config.sandbox.danger_without),
            lock_memory: true,
            ..sandbox::Allowed::only(std::path::absolute(folder).context("vault.pkcs11_folder")?)
        };
        let config = Start {
            module: module.clone(),
            token: token.clone(),
            keys: vault.pkcs11_keys.clone(),
            make,
            sandbox: serde_json::to_value(allowed)?,
        };
        let _ = process.control.send(&ToHsm::Start { config }, handed);
        Ok(process)
    }

    /// From where a room reads what its files are wrapped under.
    pub(crate) fn unlock(&self, room: Room) -> Result<OwnedFd> {
        let (read, write) = std::io::pipe().context("a pipe for a room's secret")?;
        let unlock = ToHsm::Unlock { room: room.name().into() };
        self.control.send(&unlock, &[OwnedFd::from(write)]).context("the token's process")?;
        Ok(OwnedFd::from(read))
    }

    /// The vault's end of a fresh stream.
    pub(crate) fn stream(&self) -> Result<OwnedFd> {
        let (ours, theirs) = neighbours().context("a stream for the vault")?;
        self.control.send(&ToHsm::Vault, &[theirs]).context("the token's process")?;
        Ok(ours)
    }

    /// Ends it.
    pub(crate) fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a first start may do on the token: goes on where one of this folder was broken off, and makes new keys else.
pub(crate) fn to_make(config: &Config, data: &Path) -> Make {
    let noted = fs::read_to_string(data.join(MAKING)).is_ok_and(|text| text == of_keys(&config.vault));
    if noted { Make::GoOn } else { Make::New }
}

/// The house is whole: its keys are nobody's to go on with.
pub(crate) fn made(data: &Path) -> Result<()> {
    match fs::remove_file(data.join(MAKING)) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).context("the note of a first start"),
        _ => Ok(()),
    }
}

fn of_keys(vault: &Vault) -> String {
    format!("{}\n{}\n", vault.pkcs11_token.as_deref().unwrap_or_default(), vault.pkcs11_keys)
}
