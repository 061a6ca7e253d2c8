//! The command line against a real house, straight and through a proxy that loses, alters or ages
//! what the server says.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails loudly")]

mod cards;
mod commands;
mod declarations;
mod device_groups;
mod limits;
mod profiles;
mod proxy;
mod roots;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use proxy::Proxy;
use testkit::house::House;

struct Admin {
    server: String,
    home: PathBuf,
}

/// What a run said: its words on both streams and its exit code.
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Admin {
    fn at(server: &str, home: &Path) -> Self {
        Self { server: server.to_owned(), home: home.to_owned() }
    }

    fn run(&self, arguments: &[&str]) -> Said {
        let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_matron"))
            .args(arguments)
            .env("MATRON_URL", &self.server)
            .env("MATRON_HOME", &self.home)
            .env("TZ", "UTC")
            .env_remove("MATRON_API_KEY")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |b: Vec<u8>| String::from_utf8(b).unwrap();
        Said { code: status.code().unwrap(), out: text(stdout), err: text(stderr) }
    }

    /// A run that has to succeed; what it said.
    fn fine(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments);
        assert_eq!(said.code, 0, "{arguments:?}: {}{}", said.out, said.err);
        said.out
    }

    /// The same, read as JSON.
    fn json(&self, arguments: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.fine(&[arguments, &["--json"]].concat())).unwrap()
    }

    /// A run as a golden file keeps it: what differs from run to run is blanked.
    fn golden(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments);
        let text = format!("{}[stderr]\n{}[exit {}]\n", said.out, said.err, said.code);
        let text = text.replace(&self.server, "http://SERVER").replace(self.home.to_str().unwrap(), "HOME");
        blanked(&text)
    }
}

/// A file of that name and content in this folder; its path.
fn file_in(dir: &Path, name: &str, content: &[u8]) -> String {
    let path = dir.join(name);
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Ids, hashes, link secrets and times, blanked at the same width.
fn blanked(text: &str) -> String {
    let mut out = String::new();
    let mut word = String::new();
    for c in text.chars().chain(['\0']) {
        if c.is_ascii_alphanumeric() || c == '-' {
            word.push(c);
            continue;
        }
        let is_id = word.len() >= 12 && word.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        let is_link = word.len() == 32 && word.bytes().all(|b| b.is_ascii_alphanumeric());
        let is_date = word.len() == 10
            && word
                .bytes()
                .enumerate()
                .all(|(n, b)| if n == 4 || n == 7 { b == b'-' } else { b.is_ascii_digit() });
        let is_code =
            word.len() == 24 && word.split('-').count() == 5 && word.split('-').all(|four| four.len() == 4);
        if is_id || is_link || is_date || is_code {
            out.extend(std::iter::repeat_n('x', word.len()));
        } else {
            out.push_str(&word);
        }
        word.clear();
        if c != '\0' {
            out.push(c);
        }
    }
    // hh:mm, and the port of the house.
    let mut blank: Vec<char> = out.chars().collect();
    for i in 0..blank.len().saturating_sub(4) {
        let digit = |n: usize| blank[i + n].is_ascii_digit();
        if digit(0) && digit(1) && blank[i + 2] == ':' && digit(3) && digit(4) {
            for n in [0, 1, 3, 4] {
                blank[i + n] = 'x';
            }
        }
    }
    let mut out: String = blank.into_iter().collect();
    if let Some(at) = out.find("Last status report: ").map(|n| n + 20)
        && out[at..].contains(" ago")
    {
        let end = out[at..].find('\n').map_or(out.len(), |n| at + n);
        out.replace_range(at..end, "a moment ago");
    }
    while let Some(at) = out.find("https://localhost:") {
        let end = out[at + 18..].find(|c: char| !c.is_ascii_digit()).map_or(out.len(), |n| at + 18 + n);
        out.replace_range(at..end, "https://HOUSE");
    }
    out
}

fn house() -> House {
    House::start(env!("CARGO_BIN_EXE_matron"), &[]).unwrap()
}

#[test]
fn what_an_administrator_reads_on_a_first_afternoon() {
    let (house, dir) = (house(), tempfile::tempdir().unwrap());
    let ada = Admin::at(&house.api_url(), &dir.path().join("ada"));
    let join = ["admin", "join", "--token", house.token(), "--name", "Ada Example"];
    let invite =
        ["invite", "--name", "Grace Example", "--email", "grace@example.org", "--group", "ward-7", "--yes"];
    let mut all = String::new();
    for arguments in [
        &["devices", "list"][..],
        &join,
        &["admin", "whoami"],
        &invite[..7],
        &invite,
        &["invitations", "list"],
        &["devices", "list"],
        &["devices", "list", "--names"],
        &["signin", "--records", "5", "--searches", "1", "--reason", "made up", "--yes"],
        &["devices", "list", "--names"],
        &["devices", "search", "--name", "grace"],
        &["devices", "search", "--name", "grace"],
        &["devices", "show", "abcdef"],
        &["devices", "erase", "abcdef", "--name", "Grace Example", "--reason", "made up", "--yes", "--json"],
        &["orders", "recall", "00000000000000000000000000000000", "--reason", "made up", "--yes"],
        &["standing", "make", "--does", "holder_lost_mode", "--yes"],
        &["standing", "make", "--does", "holder_rings", "--cap", "1001", "--yes"],
        &["standing", "make", "--does", "holder_rings", "--cap", "1", "--yes"],
        &["standing", "list"],
        &["devices", "holder-card", "abcdef", "--yes"],
        &["ledger", "tail", "-n", "30"],
        &["ledger", "verify"],
        &["signout"],
        &["exit-codes"],
    ] {
        let told: Vec<_> =
            arguments.iter().map(|a| if *a == house.token() { "matron-join-…" } else { a }).collect();
        all.push_str(&format!("$ matron {}\n{}\n", told.join(" "), ada.golden(arguments)));
    }
    assert!(!all.contains(house.token()));
    insta::assert_snapshot!(all);
}

#[test]
fn the_usage_below_an_error_names_what_was_typed_and_not_what_came_from_the_environment() {
    let dir = tempfile::tempdir().unwrap();
    let ada = Admin::at("http://127.0.0.1:1", dir.path());
    for arguments in
        [&["orders", "show"][..], &["devices", "no-such"], &["invite", "--nmae", "Grace Example"]]
    {
        let said = ada.run(arguments);
        assert_eq!(said.code, 2, "{}", said.err);
        assert!(said.err.contains("Usage: matron"), "{}", said.err);
        assert!(!said.err.contains("--server") && !said.err.contains("--home"), "{}", said.err);
    }
    let typed = ada.run(&["orders", "show", "--server", "http://127.0.0.1:1"]);
    assert!(typed.err.contains("--server"), "what was typed stands there: {}", typed.err);
}

#[test]
fn an_order_is_shown_and_called_back_by_the_first_digits_of_its_id() {
    let (house, dir) = (house(), tempfile::tempdir().unwrap());
    let ada = Admin::at(&house.api_url(), &dir.path().join("ada"));
    ada.fine(&["admin", "join", "--token", house.token(), "--name", "Ada Example"]);
    ada.fine(&["signin", "--yes"]);
    let orders = ada.json(&["orders", "list"]);
    let id = orders["items"][0]["order"].as_str().unwrap();
    assert!(ada.fine(&["orders", "show", &id[..6]]).contains(id));
    assert_eq!(ada.json(&["orders", "show", &id[..12].to_uppercase()])["order"], id);
    let short = ada.run(&["orders", "show", &id[..5]]);
    assert!(short.code == 2 && short.err.contains("the first 6 or more"), "{}", short.err);
    let other = ada.run(&["orders", "show", "0123456789"]);
    assert!(other.code == 4 && other.err.contains("no order's id begins with 0123456789"), "{}", other.err);
    // A server that tells of another order than the one that was named.
    let (told, swapped) = (id.to_owned(), "f".repeat(id.len()));
    let lying = Proxy::before(house.administrators(), move |line, _, answer| {
        if !line.starts_with("GET /api/v1/orders/") {
            return Some(answer);
        }
        Some(String::from_utf8(answer).unwrap().replace(&told, &swapped).into_bytes())
    });
    let through = Admin::at(&lying.url(), &dir.path().join("ada"));
    let refused = through.run(&["orders", "recall", &id[..6], "--reason", "made up", "--yes"]);
    assert!(refused.code == 1 && refused.err.contains("another order"), "{}", refused.err);
}

#[test]
fn a_join_whose_answer_was_lost_is_finished_by_the_same_command_with_the_same_order() {
    let (house, dir) = (house(), tempfile::tempdir().unwrap());
    let orders = "POST /api/v1/orders ";
    let proxy =
        Proxy::before(
            house.administrators(),
            move |line, _, answer| {
                if line.starts_with(orders) { None } else { Some(answer) }
            },
        );
    let home = dir.path().join("ada");
    let join = ["admin", "join", "--token", house.token(), "--name", "Ada Example"];
    let lost = Admin::at(&proxy.url(), &home).run(&join);
    assert_eq!(lost.code, 5, "{}", lost.err);
    assert!(lost.err.contains("Run the same 'matron admin join' again"));
    let sent = proxy.bodies(orders);
    assert!(sent.len() > 1 && sent.iter().all(|b| *b == sent[0]), "retries are the same bytes");
    let key = || -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(home.join("key.json")).unwrap()).unwrap()
    };
    let pending = key();
    assert_eq!(pending["state"], "pending");
    let other = Admin::at(&house.api_url(), &home).run(&["devices", "list"]);
    assert_eq!(other.code, 2, "a key that may not have joined signs nothing");

    let watched = Proxy::before(house.administrators(), |_, _, answer| Some(answer));
    let done = Admin::at(&watched.url(), &home).run(&join);
    assert_eq!(done.code, 0, "{}", done.err);
    assert_eq!(watched.bodies(orders), sent[..1], "the very same order");
    let joined = key();
    assert_eq!((&joined["state"], &joined["seed"]), (&"joined".into(), &pending["seed"]));
    assert!(joined["pending"].is_null());
    let mode = std::fs::metadata(home.join("key.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let ada = Admin::at(&house.api_url(), &home);
    assert_eq!(ada.run(&["people", "list"]).code, 0);
    let session = std::fs::metadata(home.join("session.json")).unwrap().permissions().mode();
    assert_eq!(session & 0o777, 0o600);
}

#[test]
fn a_server_with_another_root_key_gets_no_order_and_no_session() {
    let (house, other, dir) = (house(), house(), tempfile::tempdir().unwrap());
    let home = dir.path().join("ada");
    let crossed = Proxy::before(other.administrators(), |_, _, answer| Some(answer));
    let join = ["admin", "join", "--token", house.token(), "--name", "Ada Example"];
    let said = Admin::at(&crossed.url(), &home).run(&join);
    assert!(said.code == 1 && said.err.contains("another fingerprint"), "{}", said.err);
    assert_eq!(Admin::at(&house.api_url(), &home).run(&join).code, 0);
    assert_eq!(Admin::at(&house.api_url(), &home).run(&["devices", "list"]).code, 0);
    for arguments in [
        &["devices", "list"][..],
        &["invite", "--name", "G", "--email", "g@example.org", "--group", "ward-7", "--yes"],
    ] {
        let said = Admin::at(&crossed.url(), &home).run(arguments);
        assert!(said.code == 1 && said.err.contains("Nothing was sent"), "{}", said.err);
    }
    assert!(crossed.lines().iter().all(|l| l.starts_with("GET /api/v1/statement ")), "{:?}", crossed.lines());
}

#[test]
fn a_ledger_that_went_back_or_was_altered_is_refused_loudly() {
    let (house, dir) = (house(), tempfile::tempdir().unwrap());
    let home = dir.path().join("ada");
    let ada = Admin::at(&house.api_url(), &home);
    assert_eq!(ada.run(&["admin", "join", "--token", house.token(), "--name", "Ada Example"]).code, 0);
    let young: std::sync::Arc<std::sync::Mutex<Option<Vec<u8>>>> = std::sync::Arc::default();
    let kept = young.clone();
    let aged = Proxy::before(house.administrators(), move |line, _, answer| {
        if !line.starts_with("GET /api/v1/ledger/head ") {
            return Some(answer);
        }
        Some(kept.lock().unwrap().get_or_insert(answer).clone())
    });
    let through = Admin::at(&aged.url(), &home);
    let first = through.run(&["ledger", "verify"]);
    assert_eq!(first.code, 0, "{}", first.err);
    assert_eq!(ada.run(&["signin"]).code, 2, "nobody said yes");
    assert_eq!(ada.run(&["signin", "--yes"]).code, 0);
    assert_eq!(ada.run(&["ledger", "verify"]).code, 0);
    let old = through.run(&["ledger", "verify"]);
    assert!(old.code == 1 && old.err.contains("DOES NOT HOLD") && old.err.contains("cut off"), "{}", old.err);

    let altering = Proxy::before(house.administrators(), |line, _, answer| {
        if !line.starts_with("GET /api/v1/ledger?") {
            return Some(answer);
        }
        // One character of the newest entry's bytes, at their end.
        let mut text = String::from_utf8(answer).unwrap();
        let at = text.rfind("\"raw\":\"").unwrap() + 60;
        let new = if &text[at..=at] == "A" { "B" } else { "A" };
        text.replace_range(at..=at, new);
        Some(text.into_bytes())
    });
    let said = Admin::at(&altering.url(), &home).run(&["ledger", "verify"]);
    assert!(said.code == 1 && said.err.contains("DOES NOT HOLD"), "{}", said.err);
    assert_eq!(ada.run(&["ledger", "verify"]).code, 0, "what was remembered is still the true one");
    let file = house.room_dir("vault");
    assert_eq!(ada.run(&["ledger", "verify", "--dir", file.to_str().unwrap()]).code, 0);
}
