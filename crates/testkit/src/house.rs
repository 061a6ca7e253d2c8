//! A whole house in a temporary folder: the real binary, its five rooms, real TLS, a real database.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a house may take to be ready.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a room that died may take to be there again.
const BACK: Duration = Duration::from_secs(20);

/// What stopped a house from standing.
#[derive(Debug, thiserror::Error)]
pub enum HouseError {
    /// The host's.
    #[error("the test house: {0}")]
    Host(#[from] std::io::Error),
    /// The binary said something else than expected.
    #[error("the test house did not get ready; it said:\n{0}")]
    NotReady(String),
}

/// A running Matron.
#[derive(Debug)]
pub struct House {
    binary: PathBuf,
    dir: TempDir,
    settings: Vec<String>,
    environment: Vec<(String, String)>,
    phones: SocketAddr,
    administrators: SocketAddr,
    child: Option<Child>,
    token: Option<String>,
}

/// An address on loopback that was free a moment ago, and that this program was not given before: the kernel may
/// well give a port again that was let go.
///
/// # Errors
/// When loopback has none.
pub fn free() -> std::io::Result<SocketAddr> {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        if GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(address.port()) {
            return Ok(address);
        }
    }
}

impl House {
    /// Starts a house with these `key=value` settings, and waits until every room is ready.
    ///
    /// # Errors
    /// [`HouseError`] with what the binary said.
    pub fn start(binary: impl Into<PathBuf>, settings: &[&str]) -> Result<Self, HouseError> {
        Self::start_at(binary, free()?, settings)
    }

    /// The same with the phones' listener at this address, for what has to know it before.
    ///
    /// # Errors
    /// [`HouseError`] with what the binary said.
    pub fn start_at(
        binary: impl Into<PathBuf>,
        phones: SocketAddr,
        settings: &[&str],
    ) -> Result<Self, HouseError> {
        Self::start_in(binary, phones, settings, &[])
    }

    /// The same with these variables in its environment.
    ///
    /// # Errors
    /// [`HouseError`] with what the binary said.
    pub fn start_in(
        binary: impl Into<PathBuf>,
        phones: SocketAddr,
        settings: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Self, HouseError> {
        let administrators = free()?;
        let mut all = vec![
            format!("phones.listen={phones}"),
            format!("administrators.listen={administrators}"),
            format!("base_url=https://localhost:{}", phones.port()),
        ];
        all.extend(settings.iter().map(|s| (*s).to_owned()));
        let dir = TempDir::new()?;
        let binary = binary.into();
        let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let mut house = Self {
            binary,
            dir,
            settings: all,
            environment,
            phones,
            administrators,
            child: None,
            token: None,
        };
        house.run()?;
        Ok(house)
    }

    /// From the next start on with these settings and variables too.
    pub fn change(&mut self, settings: &[&str], environment: &[(&str, &str)]) {
        self.settings.extend(settings.iter().map(|s| (*s).to_owned()));
        self.environment.extend(environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
    }

    /// Starts the stopped house again on the same data.
    ///
    /// # Errors
    /// [`HouseError`] with what the binary said.
    pub fn run(&mut self) -> Result<(), HouseError> {
        let log = std::fs::File::options().create(true).append(true).open(self.log_path())?;
        let mut command = Command::new(&self.binary);
        command.arg("serve").arg("--data").arg(self.data());
        for s in &self.settings {
            command.arg("--set").arg(s);
        }
        command.envs(self.environment.iter().map(|(k, v)| (k, v)));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn()?;
        let stdout = child.stdout.take();
        self.child = Some(child);
        let (tx, rx) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout.into_iter().next()?).lines().map_while(Result::ok) {
                if tx.send(line).is_err() {
                    // Nobody listens any more; read on, so that the house never blocks on us.
                }
            }
            Some(())
        });
        let until = Instant::now() + PATIENCE;
        let mut said = String::new();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(line) = rx.recv_timeout(left) else {
                return Err(HouseError::NotReady(format!("{said}{}", self.log())));
            };
            if let Some(token) = line.trim().strip_prefix("matron-join-") {
                self.token = Some(format!("matron-join-{token}"));
            }
            if line == "ready" {
                return Ok(());
            }
            said.push_str(&line);
            said.push('\n');
        }
    }

    /// The first administrator's token, as it was printed at the first start.
    #[must_use]
    pub fn token(&self) -> &str {
        self.token.as_deref().unwrap_or_default()
    }

    /// The data folder.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// A room's own folder.
    #[must_use]
    pub fn room_dir(&self, room: &str) -> PathBuf {
        self.data().join("rooms").join(room)
    }

    /// The CA certificate that phones and tests trust, as PEM.
    #[must_use]
    pub fn ca_pem(&self) -> PathBuf {
        self.data().join("ca.pem")
    }

    /// Leaves everything behind: what is started next is on another, empty disk, at the same addresses.
    ///
    /// # Errors
    /// When no folder can be made.
    pub fn move_out(&mut self) -> Result<(), HouseError> {
        self.stop()?;
        self.dir = TempDir::new()?;
        Ok(())
    }

    /// Runs a command of the host against this house's data folder, with its settings.
    ///
    /// # Errors
    /// When the binary can't be run.
    pub fn on_host(&self, arguments: &[&str]) -> Result<Output, HouseError> {
        Ok(self.host_command(arguments).output()?)
    }

    /// The same, not yet started.
    #[must_use]
    pub fn host_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments).arg("--data").arg(self.data());
        for s in &self.settings {
            command.arg("--set").arg(s);
        }
        command.env("NO_COLOR", "1").stdin(Stdio::null());
        command
    }

    /// Where phones connect.
    #[must_use]
    pub fn phones(&self) -> SocketAddr {
        self.phones
    }

    /// Where administrators connect.
    #[must_use]
    pub fn administrators(&self) -> SocketAddr {
        self.administrators
    }

    /// `https://localhost:…`, as phones call it.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("https://localhost:{}", self.phones.port())
    }

    /// `http://127.0.0.1:…` of the API.
    #[must_use]
    pub fn api_url(&self) -> String {
        format!("http://{}", self.administrators)
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// What the rooms logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read(self.log_path()).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
    }

    /// Runs the command line against this house, as the administrator whose home is in its folder.
    ///
    /// # Errors
    /// When the binary can't be run.
    pub fn matron(&self, arguments: &[&str]) -> Result<Output, HouseError> {
        let home = self.dir.path().join("home");
        self.matron_as(&home, arguments)
    }

    /// The same as another administrator.
    ///
    /// # Errors
    /// When the binary can't be run.
    pub fn matron_as(&self, home: &Path, arguments: &[&str]) -> Result<Output, HouseError> {
        Ok(Command::new(&self.binary)
            .args(arguments)
            .env("MATRON_URL", self.api_url())
            .env("MATRON_HOME", home)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .output()?)
    }

    /// The process id of a room, or of `hsm`, which speaks to the token.
    #[must_use]
    pub fn pid(&self, room: &str) -> Option<u32> {
        let parent = self.child.as_ref()?.id();
        let wanted = if room == "hsm" { "\0hsm\0".to_owned() } else { format!("room\0{room}\0") };
        for process in std::fs::read_dir("/proc").ok()?.flatten() {
            let Some(pid) = process.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else {
                continue;
            };
            let Ok(stat) = std::fs::read_to_string(process.path().join("stat")) else { continue };
            let of_ours = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1))
                == Some(parent.to_string().as_str());
            let Ok(line) = std::fs::read_to_string(process.path().join("cmdline")) else { continue };
            if of_ours && line.ends_with(&wanted) {
                return Some(pid);
            }
        }
        None
    }

    /// kill -9 of a room.
    ///
    /// # Errors
    /// When there is no such room.
    pub fn kill_room(&self, room: &str) -> Result<(), HouseError> {
        self.signal_room(room, "KILL")
    }

    /// Sends a room a signal: `STOP` makes it hang without dying. One that died is waited for.
    ///
    /// # Errors
    /// When there is no such room.
    pub fn signal_room(&self, room: &str, signal: &str) -> Result<(), HouseError> {
        let until = Instant::now() + BACK;
        let pid = loop {
            match self.pid(room) {
                Some(pid) => break pid,
                None if Instant::now() > until => {
                    return Err(HouseError::NotReady(format!("there is no {room}")));
                }
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status()?;
        Ok(())
    }

    /// kill -9 of the supervisor; the rooms see the end of their control pairs and stop.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self) -> Result<(), HouseError> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Stops as an operator would, and waits for the end.
    ///
    /// # Errors
    /// When it does not run.
    pub fn stop(&mut self) -> Result<(), HouseError> {
        if let Some(mut child) = self.child.take() {
            Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?;
            child.wait()?;
        }
        Ok(())
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}
