//! A PKCS#11 token in a temporary folder: SoftHSM2, as Debian has it.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

const MODULES: [&str; 2] = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so"];
/// The token's label.
pub const LABEL: &str = "made up";
/// Its PIN.
pub const PIN: &str = "123456";

/// The token.
#[derive(Debug)]
pub struct SoftHsm {
    dir: TempDir,
    module: PathBuf,
}

impl SoftHsm {
    /// A new token. `None`, said loudly, where SoftHSM2 is not installed.
    ///
    /// # Panics
    /// When it is not installed and `MATRON_REQUIRE_VALIDATORS` is set, or can't be used.
    #[must_use]
    #[allow(clippy::panic, clippy::expect_used)]
    pub fn make() -> Option<Self> {
        let Some(module) = MODULES.iter().map(PathBuf::from).find(|m| m.exists()) else {
            skipped::not_installed("softhsm2");
            return None;
        };
        let token = Self { dir: TempDir::new().expect("a folder"), module };
        token.begin().expect("softhsm2-util");
        Some(token)
    }

    fn begin(&self) -> std::io::Result<()> {
        std::fs::create_dir(self.folder())?;
        let conf = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            self.folder().display()
        );
        std::fs::write(self.path("softhsm2.conf"), conf)?;
        self.set_pin(PIN)?;
        let made = Command::new("softhsm2-util")
            .args(["--init-token", "--free", "--label", LABEL, "--so-pin", "87654321", "--pin", PIN])
            .env("SOFTHSM2_CONF", self.path("softhsm2.conf"))
            .output()?;
        if made.status.success() {
            return Ok(());
        }
        Err(std::io::Error::other(String::from_utf8_lossy(&made.stderr).into_owned()))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Where its files are.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.path("tokens")
    }

    /// The module.
    #[must_use]
    pub fn module(&self) -> &Path {
        &self.module
    }

    /// `NAME=value`: where the module finds its folder.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("SOFTHSM2_CONF={}", self.path("softhsm2.conf").display())
    }

    /// The settings of a house that has its keys on it.
    #[must_use]
    pub fn settings(&self) -> Vec<String> {
        vec![
            "vault.root_key=pkcs11".into(),
            format!("vault.pkcs11_module={}", self.module.display()),
            format!("vault.pkcs11_token={LABEL}"),
            format!("vault.pkcs11_pin_file={}", self.path("pin").display()),
            format!("vault.pkcs11_folder={}", self.folder().display()),
            format!("vault.pkcs11_environment=[\"{}\"]", self.variable()),
        ]
    }

    /// Brings a key to it that openssl made elsewhere (`genpkey` arguments).
    ///
    /// # Errors
    /// When openssl or softhsm2-util don't do it.
    pub fn bring(&self, label: &str, id: &str, made: &[&str]) -> std::io::Result<()> {
        let file = self.path("brought.pem");
        let said = |out: std::process::Output| match out.status.success() {
            true => Ok(()),
            false => Err(std::io::Error::other(String::from_utf8_lossy(&out.stderr).into_owned())),
        };
        said(Command::new("openssl").arg("genpkey").args(made).arg("-out").arg(&file).output()?)?;
        let mut import = Command::new("softhsm2-util");
        import
            .arg("--import")
            .arg(&file)
            .args(["--token", LABEL, "--pin", PIN, "--label", label, "--id", id]);
        said(import.env("SOFTHSM2_CONF", self.path("softhsm2.conf")).output()?)
    }

    /// Writes the PIN's file.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn set_pin(&self, pin: &str) -> std::io::Result<()> {
        std::fs::write(self.path("pin"), format!("{pin}\n"))
    }

    /// The PIN's file.
    ///
    /// # Errors
    /// When it can't be opened.
    pub fn pin(&self) -> std::io::Result<std::fs::File> {
        std::fs::File::open(self.path("pin"))
    }

    /// Takes the token away; [`SoftHsm::plug_in`] brings it back.
    ///
    /// # Errors
    /// When it is away already.
    pub fn unplug(&self) -> std::io::Result<()> {
        std::fs::rename(self.folder(), self.path("away"))?;
        std::fs::create_dir(self.folder())
    }

    /// Brings it back.
    ///
    /// # Errors
    /// When it is not away.
    pub fn plug_in(&self) -> std::io::Result<()> {
        std::fs::remove_dir_all(self.folder())?;
        std::fs::rename(self.path("away"), self.folder())
    }
}
