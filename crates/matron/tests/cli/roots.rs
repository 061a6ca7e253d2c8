//! Another root key takes the first one's place: who trusted that one is led on, and what is signed with it counts no more.

use super::*;

struct Witness {
    state: PathBuf,
    server: String,
    api_key: String,
}

impl Witness {
    fn look(&self, root: &str) -> (i32, String) {
        self.look_with(root, &[])
    }

    fn look_with(&self, root: &str, more: &[&str]) -> (i32, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_matron"))
            .args([
                "witness",
                "--once",
                "--name",
                "witness.example.org/w1",
                "--log",
                root,
                "--from",
                &self.server,
            ])
            .arg("--state")
            .arg(&self.state)
            .args(more)
            .env("MATRON_API_KEY", &self.api_key)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn beside(&self, state: &Path) -> Self {
        Self { state: state.to_owned(), server: self.server.clone(), api_key: self.api_key.clone() }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn pinned(house: &House, room: &str) -> Vec<u8> {
    std::fs::read(house.room_dir(room).join("root.pub")).unwrap()
}

fn soon(what: &str, mut holds: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !holds() {
        assert!(std::time::Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

const ROOMS: [&str; 4] = ["door", "reader", "core", "courier"];

#[test]
fn a_root_key_is_changed_and_rooms_homes_and_witnesses_are_led_to_the_new_one() {
    let (mut house, dir) = (house(), tempfile::tempdir().unwrap());
    let place = |name: &str| dir.path().join(name);
    let (ada, ben) = (Admin::at(&house.api_url(), &place("ada")), Admin::at(&house.api_url(), &place("ben")));
    ada.fine(&["admin", "join", "--token", house.token(), "--name", "Ada Example"]);
    let fingerprint = ada.json(&["admin", "whoami"])["root_fingerprint"].as_str().unwrap().to_owned();
    let key =
        ben.json(&["admin", "key", "--fingerprint", &fingerprint])["public_key"].as_str().unwrap().to_owned();
    ada.fine(&["people", "add", "--name", "Ben Example", "--role", "auditor", "--key", &key, "--yes"]);
    ada.fine(&["ledger", "verify"]);
    ben.fine(&["ledger", "verify"]);
    let made = ada.json(&["api-keys", "make", "--scope", "ledger", "--label", "witness", "--yes"]);
    let api_key = made["api_key"].as_str().unwrap().to_owned();
    let witness = Witness { state: place("witness"), server: house.api_url(), api_key };
    let first = pinned(&house, "core");
    assert_eq!(witness.look(&hex(&first)).0, 0);
    let proof = place("before.proof").to_str().unwrap().to_owned();
    soon("a checkpoint", || ada.run(&["ledger", "prove", "1", "--out", &proof]).code == 0);
    let vault = house.room_dir("vault");
    let seed_of =
        |file: Vec<u8>| file[file.windows(2).position(|w| w == [0x58, 32]).unwrap() + 2..][..32].to_vec();
    let seed = seed_of(std::fs::read(vault.join("keys.cbor")).unwrap());

    let said = ada.fine(&["keys", "rotate", "root", "--reason", "made up", "--yes"]);
    assert!(said.contains("made anew"), "{said}");
    soon("the rooms", || ROOMS.iter().all(|room| pinned(&house, room) != first));
    let second = pinned(&house, "core");
    assert!(ROOMS.iter().all(|room| pinned(&house, room) == second));
    let file = std::fs::read(vault.join("keys.cbor")).unwrap();
    assert!(!file.windows(32).any(|w| w == seed), "the key before is in no file");

    // Administrators: told once, and what they remember of the ledger goes on.
    let said = ben.run(&["ledger", "verify"]);
    assert!(said.code == 0 && said.err.contains("another root key since"), "{}{}", said.out, said.err);
    assert!(said.out.contains("known from before are the same"), "{}", said.out);
    let again = ben.run(&["ledger", "verify"]);
    assert!(again.code == 0 && again.err.is_empty(), "{}", again.err);
    let newest = ada.json(&["admin", "whoami"])["root_fingerprint"].as_str().unwrap().to_owned();
    assert_ne!(newest, fingerprint);
    assert_eq!(ben.json(&["admin", "whoami"])["root_fingerprint"].as_str().unwrap(), newest);
    assert_eq!(
        ada.fine(&["keys", "show"]).lines().find(|l| l.starts_with("root ")).map(|l| l.contains(" 2 ")),
        Some(true)
    );

    // The witness: alarms once, and goes on from where it was.
    let (code, text) = witness.look(&hex(&first));
    assert!(
        code == 1 && text.contains("ALARM root_changed") && text.contains(&newest[..16]),
        "{code}: {text}"
    );
    assert_eq!(witness.look(&hex(&first)).0, 0);
    assert_eq!(witness.look(&hex(&second)).0, 0, "given the new key, it knows the log by what led there");
    let kept = std::fs::read_dir(place("witness")).unwrap().flatten();
    let logs = kept.filter(|f| f.file_name().to_str().unwrap().starts_with("log-")).count();
    assert_eq!(logs, 1, "it goes on from where it was");
    assert_eq!(witness.beside(&place("late")).look(&hex(&second)).0, 0, "one that begins with the new key");

    // Files: led on from either key, and from no other.
    let place = vault.to_str().unwrap();
    let from = |root: &str| ada.run(&["ledger", "verify", "--dir", place, "--root-key", root]);
    for root in [&first, &second] {
        assert_eq!(from(&hex(root)).code, 0, "{}", from(&hex(root)).err);
    }
    assert!(from(&hex(&[7; 32])).err.contains("under other root keys"));
    assert_eq!(ada.run(&["ledger", "verify", "--deep", "--dir", place]).code, 0);
    // What the key before signed proves nothing any more, but to who asks for that key by name.
    let said = ada.run(&["ledger", "verify-proof", &proof]);
    assert!(said.code == 1 && said.err.contains("make the proof anew"), "{}", said.err);
    assert_eq!(ada.run(&["ledger", "verify-proof", &proof, "--root-key", &hex(&first)]).code, 0);
    soon("a new proof", || ada.run(&["ledger", "prove", "1", "--out", &proof]).code == 0);
    ada.fine(&["ledger", "verify-proof", &proof]);

    // Another one after that, and a start anew; who slept over both is led over both.
    ada.fine(&["keys", "rotate", "root", "--reason", "made up", "--yes"]);
    soon("the rooms", || ROOMS.iter().all(|room| pinned(&house, room) != second));
    house.stop().unwrap();
    house.run().unwrap();
    assert!(ben.run(&["ledger", "verify"]).err.contains("another root key since"));
    // Who has taken core and the key before shows a chain and no tiles: the alarm goes out all the same, and again until it
    // is heard.
    let bare = Proxy::before(house.administrators(), |line, _, answer| {
        (!line.starts_with("GET /ledger/tile")).then_some(answer)
    });
    let through = Witness { server: bare.url(), ..witness.beside(&witness.state) };
    let nobody = ["--on-alarm-webhook", "http://127.0.0.1:9/hook"];
    let (code, text) = through.look_with(&hex(&first), &nobody);
    assert!(code == 1 && text.contains("tiles") && text.contains("ALARM root_changed"), "{code}: {text}");
    assert!(witness.look_with(&hex(&first), &nobody).1.contains("ALARM root_changed"));
    let (code, text) = witness.look(&hex(&first));
    assert!(code == 1 && text.contains("ALARM root_changed"), "{code}: {text}");
    assert_eq!(witness.look(&hex(&first)).0, 0);
    assert_eq!(from(&hex(&first)).code, 0);
    ada.fine(&["people", "list"]);
    let told = ada.fine(&["ledger", "tail", "-n", "200"]);
    assert_eq!(told.matches("another root key signs from here on").count(), 2, "{told}");
}

#[test]
fn a_checkpoint_that_the_key_before_signed_over_what_came_after_it_does_not_hold() {
    use ledger::{Body, FileLedger, Opaque, Publisher, SigningPublicKey};
    use order::Ed25519Secret;
    let [first, second] = [1, 2].map(|n| Ed25519Secret::from_seed([n; 32]).unwrap());
    let public = |key: &Ed25519Secret| <[u8; 32]>::try_from(key.public()).unwrap();
    let (from, to) = (public(&first), public(&second));
    let said = order::root::Succession { epoch: 2, made_at_ms: 1_780_000_000_000, former: from, next: to };
    let begin = Body::Genesis { root_key: SigningPublicKey(from), first_token_key: SigningPublicKey(from) };
    let succeeded = |link: order::root::SignedSuccession| Body::RootSucceeded { succession: Opaque(link.0) };
    let written = |link, signer: &Ed25519Secret, roots: &[[u8; 32]]| {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = FileLedger::open(dir.path()).unwrap();
        let mut publisher = Publisher::open(dir.path(), roots).unwrap();
        for r in ledger.append_batch(vec![begin.clone(), succeeded(link)], 1_780_000_000_000).unwrap() {
            publisher.push(&r.position).unwrap();
        }
        publisher.publish(|m| signer.sign(m)).unwrap();
        dir
    };
    let verify = |dir: &tempfile::TempDir, root: &[u8; 32]| {
        let place = dir.path().to_str().unwrap();
        Admin::at("http://127.0.0.1:9", &dir.path().join("home")).run(&[
            "ledger",
            "verify",
            "--dir",
            place,
            "--root-key",
            &hex(root),
        ])
    };
    let good = verify(&written(said.sign(&first, &second), &second, &[from, to]), &from);
    assert_eq!(good.code, 0, "{}", good.err);
    let late = verify(&written(said.sign(&first, &second), &first, &[from]), &from);
    assert!(late.code == 1 && late.err.contains("is not signed by the root key"), "{}", late.err);
    // Whoever has the key before makes a ledger up, and writes the true successor, which is no secret, at its end.
    let made_up = tempfile::tempdir().unwrap();
    let mut ledger = FileLedger::open(made_up.path()).unwrap();
    let mut publisher = Publisher::open(made_up.path(), &[from]).unwrap();
    let stated = Body::KeysStated { epoch: 1, statement_digest: model::Digest([1; 32]) };
    let link = said.sign(&first, &second);
    for r in ledger.append_batch(vec![begin.clone(), stated], 1_780_000_000_000).unwrap() {
        publisher.push(&r.position).unwrap();
    }
    publisher.publish(|m| first.sign(m)).unwrap();
    ledger.append_batch(vec![succeeded(link)], 1_780_000_000_000).unwrap();
    drop(ledger);
    let by_new = verify(&made_up, &to);
    assert!(by_new.code == 1 && by_new.err.contains("may have made it up"), "{}", by_new.err);
    assert_eq!(verify(&made_up, &from).code, 0, "whoever trusts that key alone sees nothing");
    // A successor that the key before has not signed, by which a second key signed the ledger.
    let forged = verify(&written(said.sign(&second, &second), &second, &[from, to]), &from);
    assert!(forged.code == 1 && forged.err.contains("has not signed"), "{}", forged.err);
}
