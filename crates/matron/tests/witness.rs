//! A witness elsewhere: what it cosigns, what it refuses, and what it tells of. The real binary, real
//! files, real HTTP.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use ledger::checkpoint::{log_key, origin_of};
use ledger::tree::prove_consistency;
use ledger::witness::AddCheckpoint;
use ledger::{
    Body, CHECKPOINT_FILE, FILE_NAME, FileLedger, Note, Publisher, SignedCheckpoint, SigningPublicKey,
    TREE_DIR, TileFolder, TileNodes, VerifierKey,
};
use model::EnrolmentId;
use order::Ed25519Secret;
use tempfile::TempDir;
use testkit::house::House;

/// The house's root key; in the hands of whoever has the house, too.
fn root() -> Ed25519Secret {
    Ed25519Secret::from_seed([7; 32]).unwrap()
}

fn stranger() -> Ed25519Secret {
    Ed25519Secret::from_seed([8; 32]).unwrap()
}

fn root_key() -> [u8; 32] {
    root().public().try_into().unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn body(n: u16) -> Body {
    let key = SigningPublicKey(root_key());
    let [a, b] = n.to_be_bytes();
    match n {
        0 => Body::Genesis { root_key: key, first_token_key: key },
        _ => Body::TokenUpdated { enrolment: EnrolmentId([a, b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]) },
    }
}

/// A whole and signed ledger in `dir`, in place of what was there.
fn write(dir: &Path, entries: u16, bodies: impl Fn(u16) -> Body) {
    write_by(&root(), dir, entries, bodies);
}

fn write_by(root: &Ed25519Secret, dir: &Path, entries: u16, bodies: impl Fn(u16) -> Body) {
    let _ = std::fs::remove_file(dir.join(FILE_NAME));
    let _ = std::fs::remove_dir_all(dir.join(TREE_DIR));
    let mut ledger = FileLedger::open(dir).unwrap();
    let mut publisher = Publisher::open(dir, &[root.public().try_into().unwrap()]).unwrap();
    for r in ledger.append_batch((0..entries).map(bodies).collect(), 1_780_000_000_000).unwrap() {
        publisher.push(&r.position).unwrap();
    }
    publisher.publish(|m| root.sign(m)).unwrap();
}

fn matron(arguments: &[&str]) -> Output {
    let home = std::env::temp_dir().join("no-such-matron-home");
    let mut command = Command::new(env!("CARGO_BIN_EXE_matron"));
    command.args(arguments).env("MATRON_HOME", home).stdin(Stdio::null()).output().unwrap()
}

fn said(output: &Output) -> (i32, String) {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8_lossy(&text).into_owned())
}

fn look(dir: &TempDir, more: &[&str]) -> (i32, String) {
    let (state, tree) = (dir.path().join("state"), dir.path().join(TREE_DIR));
    let key = hex(&root_key());
    let mut all = vec!["witness", "--once", "--name", "witness.example.org/w1", "--log", &key, "--state"];
    all.extend([state.to_str().unwrap(), "--from", tree.to_str().unwrap()]);
    all.extend(more);
    said(&matron(&all))
}

#[test]
fn a_ledger_that_root_rewrote_and_signed_anew_is_noticed_by_the_witness_alone() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), 300, body);
    let (code, text) = look(&dir, &[]);
    assert_eq!(code, 0, "{text}");
    write(dir.path(), 310, body);
    assert_eq!(look(&dir, &[]).0, 0);
    assert_eq!(look(&dir, &[]).0, 0, "the same again");

    // He has the files and the root key: one entry is another, and everything fits.
    for entries in [310, 400] {
        write(dir.path(), entries, |n| if n == 42 { body(9_999) } else { body(n) });
        let place = dir.path().to_str().unwrap();
        let (code, text) =
            said(&matron(&["ledger", "verify", "--dir", place, "--root-key", &hex(&root_key())]));
        assert_eq!(code, 0, "whoever remembers nothing sees nothing: {text}");
        let hook = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", hook.local_addr().unwrap());
        let heard = std::thread::spawn(move || {
            let (mut stream, _) = hook.accept().unwrap();
            let mut request = vec![0; 4096];
            let mut n = 0;
            while !String::from_utf8_lossy(&request[..n]).contains("\"alarm\"") {
                n += stream.read(&mut request[n..]).unwrap();
            }
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
            String::from_utf8_lossy(&request[..n]).into_owned()
        });
        let (code, text) = look(&dir, &["--on-alarm-webhook", &url]);
        assert!(code == 1 && text.contains("ALARM forked"), "{code}: {text}");
        let heard = heard.join().unwrap();
        assert!(heard.starts_with("POST /hook ") && heard.contains("\"alarm\":\"forked\""), "{heard}");
    }
    // He puts an old copy back instead.
    write(dir.path(), 300, body);
    let (code, text) = look(&dir, &[]);
    assert!(code == 1 && text.contains("ALARM rolled_back"), "{text}");
    let kept: Vec<String> = std::fs::read_dir(dir.path().join("state"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|n| n.starts_with("alarm-"))
        .collect();
    assert_eq!(kept.len(), 3, "the signed checkpoints are the evidence: {kept:?}");
    // The true one is taken up again.
    write(dir.path(), 320, body);
    assert_eq!(look(&dir, &[]).0, 0);
}

#[test]
fn a_witness_tells_of_silence_and_of_a_ledger_that_stands_still_and_of_a_strangers_key() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), 20, body);
    assert_eq!(look(&dir, &[]).0, 0);
    let tree = dir.path().join(TREE_DIR);
    std::fs::rename(tree.join(CHECKPOINT_FILE), tree.join("away")).unwrap();
    assert_eq!(look(&dir, &[]).0, 5, "not reached, and not for long");
    let (code, text) = look(&dir, &["--silent-after", "0"]);
    assert!(code == 1 && text.contains("ALARM silent"), "{text}");
    std::fs::rename(tree.join("away"), tree.join(CHECKPOINT_FILE)).unwrap();
    let (code, text) = look(&dir, &["--still-after", "0"]);
    assert!(code == 1 && text.contains("ALARM still"), "{text}");
    let checkpoint = std::fs::read_to_string(tree.join(CHECKPOINT_FILE)).unwrap();
    std::fs::write(tree.join(CHECKPOINT_FILE), checkpoint.replacen("\n20\n", "\n21\n", 1)).unwrap();
    let (code, text) = look(&dir, &[]);
    assert!(code == 1 && text.contains("ALARM not_signed"), "{text}");
    // The same ledger, all of it as it should be, but under a key that is not the house's.
    write_by(&stranger(), dir.path(), 25, body);
    let (code, text) = look(&dir, &[]);
    assert!(code == 1 && text.contains("ALARM not_signed"), "{text}");
}

#[test]
fn a_witness_whose_memory_is_damaged_or_another_names_does_not_begin_anew() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), 20, body);
    assert_eq!(look(&dir, &[]).0, 0);
    let state = dir.path().join("state");
    let log = std::fs::read_dir(&state)
        .unwrap()
        .flatten()
        .find(|e| e.file_name().to_string_lossy().starts_with("log-"));
    let log = log.unwrap().path();
    for file in [log.clone(), state.join("witness.key")] {
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let (code, text) = look(&dir, &["--name", "another.example.org/w"]);
    assert!(code == 2, "given twice: {text}");
    let whole = std::fs::read(&log).unwrap();
    for at in [3, 40, whole.len() - 9] {
        let mut bad = whole.clone();
        bad[at] ^= 1;
        std::fs::write(&log, &bad).unwrap();
        let (code, text) = look(&dir, &[]);
        assert!(code == 2 && text.contains("is not what this witness wrote"), "byte {at}: {text}");
    }
}

struct Listening {
    child: Child,
    address: SocketAddr,
    key: VerifierKey,
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[allow(clippy::zombie_processes, reason = "it is waited for when it is dropped")]
fn listening(state: &Path) -> Listening {
    let mut child = Command::new(env!("CARGO_BIN_EXE_matron"))
        .args(["witness", "--name", "witness.example.org/w1", "--listen", "127.0.0.1:0", "--state"])
        .arg(state)
        .args(["--log", &log_key(&root_key()).to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut key = None;
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        key = line.split("checked with ").nth(1).map(|k| k.parse().unwrap()).or(key);
        if let Some(address) = line.split("listening on ").nth(1) {
            return Listening { child, address: address.parse().unwrap(), key: key.unwrap() };
        }
    }
    panic!("it did not listen");
}

fn post(to: SocketAddr, path: &str, body: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(to).unwrap();
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: w\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_ascii_lowercase(), body.to_owned())
}

#[test]
fn a_log_that_brings_its_checkpoints_gets_what_the_specification_says() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), 300, body);
    let tree = dir.path().join(TREE_DIR);
    let folder = TileFolder(tree.clone());
    let note = std::fs::read(tree.join(CHECKPOINT_FILE)).unwrap();
    let at = |size: u16| {
        let part = TempDir::new().unwrap();
        write(part.path(), size, body);
        std::fs::read(part.path().join(TREE_DIR).join(CHECKPOINT_FILE)).unwrap()
    };
    let proof = |old: u64| prove_consistency(&TileNodes::new(&folder, 300), old, 300).unwrap();
    let w = listening(&dir.path().join("state"));
    let add = |old: u64, proof, note: &[u8]| {
        let request = AddCheckpoint { old, proof, note: note.to_vec() };
        post(w.address, "/add-checkpoint", &request.to_string())
    };
    let (code, _, line) = add(0, vec![], &at(20));
    assert_eq!(code, 200, "{line}");
    let first = Note::read(format!("{}{line}", String::from_utf8(at(20)).unwrap()).as_bytes()).unwrap();
    assert!(w.key.verify(&first).unwrap() > 1_700_000_000);
    // Another size than was cosigned: the answer says which one.
    let (code, head, size) = add(0, vec![], &note);
    assert_eq!((code, size.as_str()), (409, "20\n"));
    assert!(head.contains("content-type: text/x.tlog.size"), "{head}");
    assert_eq!(add(20, vec![], &note).0, 422, "no proof");
    assert_eq!(add(20, proof(21), &note).0, 422, "another proof");
    assert_eq!(add(20, proof(20), &note).0, 200);
    assert_eq!(add(300, vec![], &note).0, 200, "again");
    assert_eq!(add(301, vec![], &note).0, 400);
    let stranger = String::from_utf8(note.clone()).unwrap().replace("\n300\n", "\n301\n");
    assert_eq!(add(300, vec![], stranger.as_bytes()).0, 403);
    let unknown = String::from_utf8(note.clone()).unwrap().replacen("matron/ledger", "other/ledger", 1);
    assert_eq!(add(0, vec![], unknown.as_bytes()).0, 404);
    let forked = TempDir::new().unwrap();
    write(forked.path(), 300, |n| if n == 3 { body(77) } else { body(n) });
    let other = std::fs::read(forked.path().join(TREE_DIR).join(CHECKPOINT_FILE)).unwrap();
    assert_eq!(add(300, vec![], &other).0, 409);
    assert_eq!(post(w.address, "/add-checkpoint", "old x\n\n").0, 400);
    assert_eq!(post(w.address, "/add-checkpoint", &"x".repeat(200_000)).0, 400);
    assert_eq!(post(w.address, "/another", "").0, 404);
    // kill -9, and it goes on from what it promised.
    drop(w);
    let w = listening(&dir.path().join("state"));
    let request = AddCheckpoint { old: 0, proof: vec![], note: at(20) };
    assert_eq!(post(w.address, "/add-checkpoint", &request.to_string()).2, "300\n");
}

#[test]
fn a_house_is_witnessed_proved_exported_and_verified_elsewhere() {
    let house = House::start(env!("CARGO_BIN_EXE_matron"), &[]).unwrap();
    let dir = TempDir::new().unwrap();
    let home = dir.path().join("ada");
    let run = |arguments: &[&str]| said(&house.matron_as(&home, arguments).unwrap());
    let fine = |arguments: &[&str]| {
        let (code, text) = run(arguments);
        assert_eq!(code, 0, "{arguments:?}: {text}");
        text
    };
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    fine(&["admin", "join", "--token", house.token(), "--name", "Ada Example"]);
    let why = ["--reason", "made up", "--yes"];
    let key = fine(&[&["api-keys", "make", "--label", "witness", "--scope", "ledger"][..], &why].concat());
    let key = key.split_whitespace().find(|w| w.starts_with("mk_")).unwrap().to_owned();
    let root = path("root.pub");
    std::fs::copy(house.room_dir("core").join("root.pub"), &root).unwrap();
    let root = root.as_str();
    let (url, state) = (house.api_url(), path("state"));
    let witness = |more: &[&str]| {
        let mut all = vec!["witness", "--once", "--state", &state, "--name", "witness.example.org/w1"];
        all.extend(["--log", root, "--from", &url]);
        all.extend(more);
        let out = Command::new(env!("CARGO_BIN_EXE_matron"))
            .args(&all)
            .env("MATRON_API_KEY", &key)
            .output()
            .unwrap();
        said(&out)
    };
    let (code, text) = witness(&[]);
    assert_eq!(code, 0, "{text}");
    let vkey = text.split("checked with ").nth(1).unwrap().lines().next().unwrap().to_owned();
    // A checkpoint lags by a second: until it is of the joining, too.
    let seen =
        |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap()["entries"].as_u64().unwrap();
    for _ in 0..20 {
        assert_eq!(witness(&[]).0, 0);
        if seen(&fine(&["ledger", "cosigned", "--json"])) > 4 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    let told = fine(&["ledger", "cosigned", "--witness-key", &vkey]);
    assert!(told.contains("by witness.example.org/w1"), "{told}");
    let (other, _) = vkey.rsplit_once('+').unwrap();
    assert_eq!(run(&["ledger", "cosigned", "--witness-key", &format!("{other}+AAAA")]).0, 2);

    // The proof carries the witness's word, and needs no server.
    let proof = path("entry-3.tlog-proof");
    fine(&["ledger", "prove", "3", "--out", &proof]);
    let verify = ["ledger", "verify-proof", &proof, "--root-key", root, "--witness-key", &vkey];
    let (code, text) = said(&matron(&verify));
    assert!(
        code == 0 && text.contains("person_joined") && text.contains("by witness.example.org/w1"),
        "{text}"
    );
    let whole = std::fs::read(&proof).unwrap();
    for at in (0..whole.len()).step_by(61) {
        let mut bad = whole.clone();
        bad[at] ^= 1;
        std::fs::write(&proof, &bad).unwrap();
        assert_ne!(matron(&verify).status.code(), Some(0), "byte {at}");
    }
    assert_eq!(run(&["ledger", "prove", "100000"]).0, 4);

    // Elsewhere: the vault's folder, an export, and what the export proves.
    fine(&["ledger", "verify"]);
    let vault = house.room_dir("vault");
    let vault = vault.to_str().unwrap();
    for more in [&[][..], &["--deep"]] {
        let (code, text) =
            said(&matron(&[&["ledger", "verify", "--dir", vault, "--root-key", root][..], more].concat()));
        assert!(code == 0 && text.contains("a checkpoint that the root key signed"), "{text}");
    }
    for from in [&["--dir", vault][..], &[]] {
        let to = path(&format!("export-{}", from.len()));
        fine(&[&["ledger", "export", "--to", &to][..], from].concat());
        let (code, text) = said(&matron(&["ledger", "verify", "--dir", &to, "--root-key", root]));
        assert!(code == 0 && text.contains("a checkpoint that the root key signed"), "{text}");
        let lines = std::fs::read_to_string(Path::new(&to).join("entries.jsonl")).unwrap();
        assert!(lines.lines().count() > 4 && !lines.contains("Ada"), "names stay sealed");
        let (code, text) = said(&matron(&["ledger", "prove", "2", "--dir", &to, "--root-key", root]));
        assert!(code == 0 && text.starts_with("c2sp.org/tlog-proof@v1\n"), "{text}");
        let forged = lines.replacen("\"kind\":\"keys_stated\"", "\"kind\":\"x\"", 1).replacen(
            "\"raw\":\"h",
            "\"raw\":\"i",
            1,
        );
        std::fs::write(Path::new(&to).join("entries.jsonl"), forged).unwrap();
        assert_ne!(matron(&["ledger", "verify", "--dir", &to, "--root-key", root]).status.code(), Some(0));
    }
    let wrong = hex(&[9; 32]);
    assert_eq!(matron(&["ledger", "verify", "--dir", vault, "--root-key", &wrong]).status.code(), Some(1));

    // A person is erased, and the ledger still verifies.
    let invite =
        ["invite", "--name", "Grace Example", "--email", "grace@example.org", "--group", "ward-7", "--json"];
    let invited: serde_json::Value =
        serde_json::from_str(&fine(&[&invite[..], &["--yes"]].concat())).unwrap();
    let phone = invited["enrolment"].as_str().unwrap();
    let erase = ["people", "erase", "--phone", phone];
    let (code, text) = run(&[&erase[..], &why].concat());
    assert!(code == 3 && text.contains("still under management"), "{text}");
    let gone = fine(&[&erase[..], &["--even-if-enrolled"], &why].concat());
    assert!(gone.contains("the key is destroyed"), "{gone}");
    fine(&["ledger", "verify"]);
    fine(&[&["signin", "--records", "5", "--searches", "1"][..], &why].concat());
    let found = run(&["devices", "search", "--name", "grace"]);
    assert!(!found.1.contains("Grace"), "{}", found.1);

    assert_eq!(witness(&[]).0, 0);
    drop(house);
    let (code, text) = witness(&["--silent-after", "0"]);
    assert!(code == 1 && text.contains("ALARM silent"), "{text}");
}

#[test]
fn a_checkpoint_is_named_by_its_root_key() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), 5, body);
    let bytes = std::fs::read(dir.path().join(TREE_DIR).join(CHECKPOINT_FILE)).unwrap();
    let signed = SignedCheckpoint::open(&bytes, &log_key(&root_key())).unwrap();
    assert_eq!(signed.checkpoint().origin, origin_of(&root_key()));
    let fingerprint = order::sha256(&root_key()).to_string();
    assert_eq!(signed.checkpoint().origin, format!("matron/ledger/{}", &fingerprint[..32]));
}

/// A certificate for `localhost` and its key, as PEM files in `dir`.
fn certificate(dir: &Path, name: &str) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let path = |end: &str| dir.join(format!("{name}.{end}")).to_str().unwrap().to_owned();
    std::fs::write(path("pem"), made.cert.pem()).unwrap();
    std::fs::write(path("key"), made.signing_key.serialize_pem()).unwrap();
    (path("pem"), path("key"))
}

#[test]
fn a_witness_looks_over_https_at_the_server_of_its_ca_and_at_no_other() {
    let dir = TempDir::new().unwrap();
    let (pem, key) = certificate(dir.path(), "house");
    let (stranger, _) = certificate(dir.path(), "stranger");
    let settings = [format!("administrators.tls_certificate={pem}"), format!("administrators.tls_key={key}")];
    let house = House::start(env!("CARGO_BIN_EXE_matron"), &settings.each_ref().map(String::as_str)).unwrap();
    let url = format!("https://localhost:{}", house.administrators().port());
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_matron"));
        command.args(arguments).env("MATRON_URL", &url).env("MATRON_HOME", dir.path().join("ada"));
        said(&command.env("MATRON_SERVER_CA", &pem).stdin(Stdio::null()).output().unwrap())
    };
    let (code, text) = run(&["admin", "join", "--token", house.token(), "--name", "Ada Example"]);
    assert_eq!(code, 0, "{text}");
    let make =
        ["api-keys", "make", "--label", "witness", "--scope", "ledger", "--reason", "made up", "--yes"];
    let (code, text) = run(&make);
    assert_eq!(code, 0, "{text}");
    let api_key = text.split_whitespace().find(|w| w.starts_with("mk_")).unwrap().to_owned();
    let root = house.room_dir("core").join("root.pub");
    let witness = |from: &str, ca: &str, more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_matron"));
        command.args(["witness", "--once", "--name", "witness.example.org/w1", "--state"]);
        command.arg(dir.path().join("state")).arg("--log").arg(&root);
        command.args(["--from", from, "--server-ca", ca]).args(more).env("MATRON_API_KEY", &api_key);
        said(&command.output().unwrap())
    };
    let (code, text) = witness(&url, &pem, &[]);
    assert!(code == 0 && text.contains("entries, cosigned"), "{code}: {text}");
    let (code, text) = run(&["ledger", "cosigned"]);
    assert!(code == 0 && text.contains("witness.example.org/w1"), "handed back: {text}");
    // A server that another CA vouches for is not asked; in the end that is silence.
    assert_eq!(witness(&url, &stranger, &[]).0, 5);
    let (code, text) = witness(&url, &stranger, &["--silent-after", "0"]);
    assert!(code == 1 && text.contains("ALARM silent"), "{text}");
    // Nor one by another name, nor in the clear.
    let by_address = format!("https://127.0.0.1:{}", house.administrators().port());
    assert_eq!(witness(&by_address, &pem, &[]).0, 5);
    assert_eq!(witness(&url.replace("https", "http"), &pem, &[]).0, 5);
    let (code, text) = witness("http://witness.example.org", &pem, &[]);
    assert!(code == 2 && text.contains("danger-plain-http"), "{code}: {text}");
}
