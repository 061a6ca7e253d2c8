//! A scratch house: this binary's own `serve` in a temporary folder, and what its rooms cost.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A running scratch house; stopped and removed when dropped.
pub(crate) struct Scratch {
    child: Child,
    dir: PathBuf,
    settings: Vec<String>,
    phones: SocketAddr,
    pub(crate) token: String,
    pub(crate) administrators: SocketAddr,
    /// From its start until all rooms were ready.
    pub(crate) ready_after: Duration,
}

/// Two addresses that are free; both are held until both are known, so that they are not the same.
fn free() -> Result<(SocketAddr, SocketAddr)> {
    let (one, other) = (TcpListener::bind(("127.0.0.1", 0))?, TcpListener::bind(("127.0.0.1", 0))?);
    Ok((one.local_addr()?, other.local_addr()?))
}

impl Scratch {
    /// Starts a new one.
    pub(crate) fn start(dir: &Path, settings: Vec<String>) -> Result<Self> {
        let (phones, administrators) = free()?;
        Self::start_at(dir, settings, phones, administrators)
    }

    /// Stops it, lets `meanwhile` work on its data folder, and starts it again at the same addresses.
    pub(crate) fn restarted<T>(self, meanwhile: impl FnOnce(&Path) -> Result<T>) -> Result<(Self, T)> {
        let (dir, phones, administrators) = (self.dir.clone(), self.phones, self.administrators);
        let settings = self.settings.clone();
        drop(self);
        let done = meanwhile(&dir.join("data"))?;
        Ok((Self::start_at(&dir, settings, phones, administrators)?, done))
    }

    fn start_at(
        dir: &Path,
        settings: Vec<String>,
        phones: SocketAddr,
        administrators: SocketAddr,
    ) -> Result<Self> {
        let began = Instant::now();
        let mut child = Command::new(std::env::current_exe()?)
            .arg("serve")
            .arg("--data")
            .arg(dir.join("data"))
            .args(["--set", &format!("phones.listen={phones}")])
            .args(["--set", &format!("administrators.listen={administrators}")])
            .args(["--set", &format!("base_url=https://localhost:{}", phones.port())])
            .args(["--set", "log.filter=warn"])
            // More than any bench opens, and within the limit of files that most systems set.
            .args(["--set", "phones.connections=8192"])
            .args(settings.iter().flat_map(|s| ["--set", s.as_str()]))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("the scratch house")?;
        let stdout = child.stdout.take().context("the scratch house's words")?;
        let mut lines = BufReader::new(stdout).lines();
        let mut token = String::new();
        let mut ready = false;
        for line in lines.by_ref().map_while(Result::ok) {
            if line.trim().starts_with("matron-join-") {
                token = line.trim().to_owned();
            }
            ready = line == "ready";
            if ready {
                break;
            }
        }
        if !ready {
            bail!("the scratch house did not get ready; its words are above");
        }
        // Read on, so that it never waits for us.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        let ready_after = began.elapsed();
        Ok(Self { child, dir: dir.to_owned(), settings, phones, token, administrators, ready_after })
    }

    /// The folder that its data folder is in.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    pub(crate) fn ca_pem(&self) -> PathBuf {
        self.data().join("ca.pem")
    }

    /// The rooms' process ids, and the supervisor's.
    fn processes(&self) -> BTreeMap<String, u32> {
        let parent = self.child.id();
        let mut found = BTreeMap::from([("supervisor".to_owned(), parent)]);
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
            let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
            let ppid = stat.rsplit(')').next().and_then(|r| r.split_whitespace().nth(1)?.parse::<u32>().ok());
            if ppid != Some(parent) {
                continue;
            }
            let Ok(line) = std::fs::read_to_string(entry.path().join("cmdline")) else { continue };
            let mut words = line.split('\0');
            if words.nth(1) == Some("room")
                && let Some(room) = words.next()
            {
                found.insert(room.to_owned(), pid);
            }
        }
        found
    }

    /// CPU time of each process so far, in microseconds.
    pub(crate) fn cpu_us(&self) -> BTreeMap<String, u64> {
        self.processes().into_iter().filter_map(|(room, pid)| Some((room, cpu_us_of(pid)?))).collect()
    }

    /// The most memory all processes together ever held, in bytes: the sum of each one's peak.
    pub(crate) fn peak_rss_bytes(&self) -> BTreeMap<String, u64> {
        self.memory("VmHWM:")
    }

    /// The memory of each process at this moment, in bytes.
    pub(crate) fn rss_bytes(&self) -> BTreeMap<String, u64> {
        self.memory("VmRSS:")
    }

    fn memory(&self, which: &str) -> BTreeMap<String, u64> {
        let of = |pid: u32| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find_map(|l| l.strip_prefix(which))?;
            Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
        };
        self.processes().into_iter().filter_map(|(room, pid)| Some((room, of(pid)?))).collect()
    }
}

/// CPU time of a process so far, in microseconds.
pub(crate) fn cpu_us_of(pid: u32) -> Option<u64> {
    let ticks = rustix::param::clock_ticks_per_second().max(1);
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit(')').next()?.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) * 1_000_000 / ticks)
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}
