//! What systemd does to a service, done by its own tool `systemd-socket-activate`, and by a socket that
//! listens for the service's notifications.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const MATRON: &str = env!("CARGO_BIN_EXE_matron");

fn has(program: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|paths| std::env::split_paths(&paths).any(|p| p.join(program).is_file()));
    if !found {
        skipped::not_possible(&format!("{program} is not installed (Debian: systemd)"));
    }
    found
}

/// Two ports that were free a moment ago.
fn ports() -> (u16, u16) {
    let (a, b) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    (a.local_addr().unwrap().port(), b.local_addr().unwrap().port())
}

fn init(data: &Path) {
    let made = Command::new(MATRON).args(["init", "--data"]).arg(data).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert!(String::from_utf8_lossy(&made.stdout).contains("matron-join-"));
}

struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

/// A service under `systemd-socket-activate`, its standard error in the file `journal`.
fn activated(dir: &Path, names: &str, ports: (u16, u16)) -> (Service, UnixDatagram) {
    let notify = dir.join("notify");
    let hears = UnixDatagram::bind(&notify).unwrap();
    hears.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let journal = std::fs::File::create(dir.join("journal")).unwrap();
    let meta = journal.metadata().unwrap();
    let service = Command::new("systemd-socket-activate")
        .args(["-l", &format!("127.0.0.1:{}", ports.0), "-l", &format!("127.0.0.1:{}", ports.1)])
        .arg(format!("--fdname={names}"))
        .args(["-E", &format!("NOTIFY_SOCKET={}", notify.display()), "-E", "WATCHDOG_USEC=400000"])
        .args(["-E", &format!("JOURNAL_STREAM={}:{}", meta.dev(), meta.ino())])
        .args([MATRON, "serve", "--data", dir.join("data").to_str().unwrap()])
        .args(["--set", "log.filter=debug"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(journal)
        .spawn()
        .unwrap();
    // The tool starts the service at the first connection.
    let until = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(("127.0.0.1", ports.1)).is_err() {
        assert!(Instant::now() < until, "systemd-socket-activate does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    (Service(service), hears)
}

fn heard(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 512];
    let n = socket.recv(&mut bytes).expect("the service says something");
    String::from_utf8_lossy(&bytes[..n]).into_owned()
}

#[test]
fn systemds_sockets_are_taken_up_and_it_hears_of_readiness_life_and_the_end() {
    if !has("systemd-socket-activate") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    init(&dir.path().join("data"));
    let ports = ports();
    let (mut service, hears) = activated(dir.path(), "phones:administrators", ports);
    while !heard(&hears).contains("READY=1") {}
    while !heard(&hears).contains("WATCHDOG=1") {}
    let administrators = Command::new("curl")
        .args([
            "-s",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            &format!("http://127.0.0.1:{}/api/v1/openapi.json", ports.1),
        ])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&administrators.stdout), "200");
    let ca = dir.path().join("data/ca.pem");
    let phones = Command::new("curl")
        .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", ca.to_str().unwrap()])
        .arg(format!("https://localhost:{}/scep?operation=GetCACaps", ports.0))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&phones.stdout), "200");

    let _ = Command::new("kill").arg(service.0.id().to_string()).status();
    while !heard(&hears).contains("STOPPING=1") {}
    assert!(service.0.wait().unwrap().success());

    // A line of a room carries its priority and no time; the journal has its own.
    let journal = std::fs::read_to_string(dir.path().join("journal")).unwrap();
    let line = journal.lines().find(|l| l.contains("a room starts")).expect("a room's line");
    assert!(line.starts_with("<7>matron"), "{line}");
    assert!(!journal.contains("matron-join-"));
}

#[test]
fn a_socket_of_another_name_is_refused_by_it() {
    if !has("systemd-socket-activate") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    init(&dir.path().join("data"));
    let (mut service, _hears) = activated(dir.path(), "phones:printers", ports());
    assert!(!service.0.wait().unwrap().success());
    let journal = std::fs::read_to_string(dir.path().join("journal")).unwrap();
    assert!(journal.contains("'printers'") && journal.contains("FileDescriptorName=phones"), "{journal}");
}

#[test]
fn the_first_token_is_never_said_into_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let journal = std::fs::File::create(dir.path().join("journal")).unwrap();
    let meta = journal.metadata().unwrap();
    let data = dir.path().join("data");
    let serve = || {
        let mut c = Command::new(MATRON);
        c.args(["serve", "--data"]).arg(&data);
        c.args(["--set", "phones.listen=127.0.0.1:0", "--set", "administrators.listen=127.0.0.1:0"]);
        c
    };
    let out = serve()
        .env("JOURNAL_STREAM", format!("{}:{}", meta.dev(), meta.ino()))
        .stderr(journal)
        .output()
        .unwrap();
    assert!(!out.status.success());
    let said = std::fs::read_to_string(dir.path().join("journal")).unwrap();
    assert!(said.contains("matron init"), "{said}");
    assert!(!said.contains("matron-join-"), "{said}");
    assert!(!data.join("rooms").exists());
    // And what init made, a second init leaves alone.
    init(&data);
    let again = Command::new(MATRON).args(["init", "--data"]).arg(&data).output().unwrap();
    assert!(!again.status.success());
    assert!(String::from_utf8_lossy(&again.stderr).contains("nothing was changed"));
}
