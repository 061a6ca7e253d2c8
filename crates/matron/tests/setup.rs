//! `matron setup` without a terminal, by an answer file, and with one, by typing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

fn free_port() -> u16 {
    testkit::house::free().unwrap().port()
}

struct Place {
    dir: tempfile::TempDir,
    phones: u16,
    administrators: u16,
}

/// A running `matron serve`, ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}

impl Place {
    fn new() -> Self {
        let place =
            Self { dir: tempfile::tempdir().unwrap(), phones: free_port(), administrators: free_port() };
        // What a person wrote before.
        let text =
            format!("# ours\n[administrators]\nlisten = \"127.0.0.1:{}\" # not 8444\n", place.administrators);
        std::fs::write(place.config(), text).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn config(&self) -> PathBuf {
        self.path("matron.toml")
    }

    fn setup(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_matron"));
        command
            .arg("setup")
            .arg("--data")
            .arg(self.path("data"))
            .arg("--config")
            .arg(self.config())
            .args(more);
        self.clean(&mut command);
        command
    }

    fn clean(&self, command: &mut Command) {
        command.env("MATRON_HOME", self.path("home")).env("TZ", "UTC").env_remove("MATRON_URL");
        command.env_remove("MATRON_CONFIG").env_remove("MATRON_DATA").env_remove("MATRON_JOIN_TOKEN");
    }

    fn said(&self, output: &Output) -> String {
        self.blanked(&String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()))
    }

    /// What differs from run to run is blanked.
    fn blanked(&self, text: &str) -> String {
        let text = text.replace(&self.dir.path().display().to_string(), "DIR");
        let text = text.replace(&self.phones.to_string(), "PORT").replace("\r\n", "\n").replace('\r', "");
        let mut out = String::new();
        for line in text.lines() {
            let line = if line.contains("matron-join-") && !line.contains("matron-join-…") {
                "    matron-join-xxxx"
            } else if line.contains("/enrol/") {
                "      https://localhost:PORT/enrol/xxxx"
            } else {
                line
            };
            // Users, processes, times, addresses of localhost.
            let mut words: Vec<String> = Vec::new();
            let mut before = "";
            for word in line.split(' ') {
                let bare = word.trim_matches(['(', ')', ',', ';', ':']);
                let is_number = !bare.is_empty() && bare.bytes().all(|b| b.is_ascii_digit());
                let is_date = bare.len() >= 5
                    && bare.bytes().all(|b| b.is_ascii_digit() || b == b'-' || b == b':')
                    && bare.contains(['-', ':'])
                    && bare != "::1";
                let is_id = bare.len() == 32 && bare.bytes().all(|b| b.is_ascii_hexdigit());
                let blank = (is_number && matches!(before, "(user" | "(process")) || is_date || is_id;
                words.push(if blank { word.replace(bare, "x") } else { word.to_owned() });
                before = word;
            }
            out.push_str(
                words.join(" ").replace("127.0.0.1, ::1", "127.0.0.1").replace("'#0'", "'#x'").trim_end(),
            );
            out.push('\n');
        }
        out
    }

    fn serve(&self) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_matron"));
        command.arg("serve").arg("--data").arg(self.path("data")).arg("--config").arg(self.config());
        self.clean(&mut command);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let out = child.stdout.take().unwrap();
        let running = Running(child);
        let (tx, rx) = mpsc::channel();
        std::thread::spawn(move || {
            BufReader::new(out).lines().map_while(Result::ok).for_each(|l| drop(tx.send(l)))
        });
        while rx.recv_timeout(PATIENCE).expect("matron serve to be ready") != "ready" {}
        running
    }
}

fn token_in(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.split_whitespace()
        .find(|w| w.starts_with("matron-join-") && w.len() > 80)
        .expect("a token")
        .to_owned()
}

fn answers(place: &Place) -> PathBuf {
    let path = place.path("answers.toml");
    let text = format!(
        "host = \"localhost:{}\"\norganization = \"Example Hospital\"\ntls = \"own\"\n",
        place.phones
    );
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn answers_from_a_file_make_a_house_and_each_run_goes_on_from_the_last() {
    let place = Place::new();
    let answers = answers(&place);
    let answer = ["--answer", answers.to_str().unwrap()];
    let looked = place.setup(&["--check"]).output().unwrap();
    assert!(looked.status.success() && !place.path("data").exists(), "{}", place.said(&looked));

    let first = place.setup(&answer).output().unwrap();
    assert!(first.status.success(), "{}", place.said(&first));
    let token = token_in(&first.stdout);
    let config = std::fs::read_to_string(place.config()).unwrap();
    assert!(config.contains("# ours\n[administrators]") && config.contains("# not 8444"), "{config}");
    let mut told = format!("$ matron setup --answer answers.toml\n{}", place.said(&first));

    let _running = place.serve();
    let mut more = answer.to_vec();
    more.extend(["--token", &token, "--administrator", "Ada Example", "--invite-name", "Grace Example"]);
    more.extend(["--invite-email", "grace@example.org", "--invite-group", "ward-7"]);
    let second = place.setup(&more).output().unwrap();
    assert!(second.status.success(), "{}", place.said(&second));
    assert_eq!(std::fs::read_to_string(place.config()).unwrap(), config, "answered before, written before");
    told.push_str(&format!(
        "$ matron setup --answer answers.toml --token … --administrator … --invite-…\n{}",
        place.said(&second)
    ));
    insta::assert_snapshot!(told);

    let other = place.setup(&["--check"]).output().unwrap();
    let said = place.said(&other);
    for done in ["ok    administrator", "ok    host name", "ok    TLS certificate  the CA of this house"] {
        assert!(said.contains(done), "{said}");
    }
}

#[test]
fn a_wrong_answer_is_refused_by_its_step_and_writes_nothing() {
    let place = Place::new();
    let before = std::fs::read(place.config()).unwrap();
    let wrong = |more: &[&str], says: &str| {
        let out = place.setup(more).output().unwrap();
        let said = place.said(&out);
        assert!(!out.status.success() && said.contains(says), "{said}");
    };
    wrong(&["--host", "not a host"], "is no host name");
    wrong(&["--json"], "matron doctor --json");
    std::fs::write(place.path("bad.toml"), "hots = \"x\"\n").unwrap();
    wrong(&["--answer", place.path("bad.toml").to_str().unwrap()], "hots");
    assert_eq!(std::fs::read(place.config()).unwrap(), before);
    // A certificate for another host.
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec!["other.example.org".into()]).unwrap().self_signed(&key).unwrap();
    std::fs::write(place.path("cert.pem"), certificate.pem()).unwrap();
    std::fs::write(place.path("key.pem"), key.serialize_pem()).unwrap();
    let (cert, key) = (place.path("cert.pem"), place.path("key.pem"));
    let files = ["--tls-certificate", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    wrong(&[&["--host", "localhost"][..], &files].concat(), "not for localhost");
    assert!(!std::fs::read_to_string(place.config()).unwrap().contains("tls_certificate"));
}

/// `matron doctor`'s checks by their id.
fn doctor(place: &Place, more: &[&str]) -> std::collections::HashMap<String, serde_json::Value> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_matron"));
    command.args(["doctor", "--json", "--data"]).arg(place.path("data")).arg("--config").arg(place.config());
    place.clean(&mut command);
    let said = command.args(more).output().unwrap();
    let said: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    let checks = said["checks"].as_array().unwrap().iter();
    checks.map(|c| (c["id"].as_str().unwrap().to_owned(), c.clone())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_house_set_up_for_acme_gets_its_certificate_and_the_doctor_says_how_it_stands() {
    let place = Place::new();
    let here = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let manner = testkit::acme::Manner::obliging(here(free_port()), here(place.phones));
    let authority = testkit::acme::Server::start(manner).await.unwrap();
    let (directory, root) = (authority.directory(), place.path("root.pem"));
    std::fs::write(&root, authority.root_pem()).unwrap();
    let mut config = std::fs::read_to_string(place.config()).unwrap();
    config.push_str(&format!("[acme]\ntrust_anchor = {:?} # of this test\n", root.display().to_string()));
    std::fs::write(place.config(), config).unwrap();

    let host = format!("localhost:{}", place.phones);
    let by_acme = [
        "--host",
        &host,
        "--organization",
        "Example Hospital",
        "--tls",
        "acme",
        "--acme-directory",
        &directory,
    ];
    let open = place.setup(&by_acme).output().unwrap();
    assert!(place.said(&open).contains("needs your consent to the CA's terms"), "{}", place.said(&open));
    let agreed = ["--acme-agree", "--acme-contact", "mdm@example.org"];
    let made = place.setup(&[&by_acme[..], &agreed].concat()).output().unwrap();
    assert!(made.status.success(), "{}", place.said(&made));
    let config = std::fs::read_to_string(place.config()).unwrap();
    assert!(
        config.contains("contact = \"mailto:mdm@example.org\"") && config.contains("# of this test"),
        "{config}"
    );
    let before = doctor(&place, &[]);
    assert_eq!(before["acme.certificate"]["verdict"], "warn", "{before:#?}");
    assert_eq!(before["acme.directory"]["verdict"], "ok", "{before:#?}");

    let _running = place.serve();
    let until = std::time::Instant::now() + PATIENCE;
    while doctor(&place, &[])["acme.certificate"]["verdict"] != "ok" {
        assert!(std::time::Instant::now() < until, "no certificate; refused: {:?}", authority.refused());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let outside = doctor(&place, &["--phone-ready", "--trust", root.to_str().unwrap()]);
    // A root that phones have to be told of is a warning, and nothing worse.
    assert_eq!(outside["tls.chain"]["verdict"], "warn", "{outside:#?}");
    assert_eq!(authority.contact(), serde_json::json!(["mailto:mdm@example.org"]));

    // Run again, it has nothing more to ask about the certificate.
    let again = place.setup(&["--check"]).output().unwrap();
    assert!(place.said(&again).contains("by ACME from"), "{}", place.said(&again));
    let nobody = format!("https://localhost:{}/directory", free_port());
    std::fs::write(place.config(), config.replace(&directory, &nobody)).unwrap();
    let silent = doctor(&place, &[]);
    assert_eq!(silent["acme.directory"]["verdict"], "fail", "{silent:#?}");
    assert_eq!(silent["acme.certificate"]["verdict"], "ok", "it is shown all the same");
}

/// A program on a terminal of its own, by `script` of util-linux.
struct Terminal {
    child: Child,
    input: std::process::ChildStdin,
    seen: mpsc::Receiver<u8>,
    all: Vec<u8>,
}

impl Terminal {
    fn run(command: &Command) -> Self {
        let quoted = |s: &std::ffi::OsStr| format!("'{}'", s.to_str().unwrap());
        let line: Vec<String> =
            std::iter::once(command.get_program()).chain(command.get_args()).map(quoted).collect();
        let mut script = Command::new("script");
        script.args(["-q", "-e", "-c", &line.join(" "), "/dev/null"]);
        for (name, value) in command.get_envs() {
            match value {
                Some(v) => script.env(name, v),
                None => script.env_remove(name),
            };
        }
        let mut child =
            script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (tx, seen) = mpsc::channel();
        std::thread::spawn(move || {
            let mut byte = [0u8; 1];
            while output.read(&mut byte).is_ok_and(|n| n == 1) {
                if tx.send(byte[0]).is_err() {
                    return;
                }
            }
        });
        Self { child, input, seen, all: Vec::new() }
    }

    fn answer(&mut self, prompt: &str, line: &str) {
        while !self.all.ends_with(format!("{prompt} ").as_bytes()) {
            let byte = self.seen.recv_timeout(PATIENCE);
            let byte =
                byte.unwrap_or_else(|_| panic!("no '{prompt}' in: {}", String::from_utf8_lossy(&self.all)));
            self.all.push(byte);
        }
        self.input.write_all(format!("{line}\n").as_bytes()).unwrap();
        self.input.flush().unwrap();
    }

    fn end(mut self) -> (Vec<u8>, bool) {
        while let Ok(byte) = self.seen.recv_timeout(PATIENCE) {
            self.all.push(byte);
        }
        (std::mem::take(&mut self.all), self.child.wait().unwrap().success())
    }
}

#[test]
fn a_person_at_a_terminal_is_asked_what_is_missing() {
    if !Path::new("/usr/bin/script").exists() {
        skipped::not_possible("util-linux's 'script', which plays a terminal, is missing");
        return;
    }
    let place = Place::new();
    let mut terminal = Terminal::run(&place.setup(&[]));
    terminal.answer("for example mdm.example.org:", &format!("localhost:{}", place.phones));
    terminal.answer("as phones show it:", "Example Hospital");
    terminal.answer("or own (phones have to be told)?", "own");
    let (all, good) = terminal.end();
    assert!(good, "{}", String::from_utf8_lossy(&all));
    let token = token_in(&all);
    let mut told = place.blanked(&String::from_utf8_lossy(&all));

    let _running = place.serve();
    // Answered before, the host with its port and the house's own certificate too: not asked for again.
    let mut terminal = Terminal::run(&place.setup(&[]));
    terminal.answer("(empty: later):", &token);
    terminal.answer("(it is sealed to the vault):", "Ada Example");
    terminal.answer("its holder's name (empty: later):", "");
    let (all, good) = terminal.end();
    assert!(good, "{}", String::from_utf8_lossy(&all));
    told.push_str("--- again\n");
    told.push_str(&place.blanked(&String::from_utf8_lossy(&all)));
    insta::assert_snapshot!(told);
}
