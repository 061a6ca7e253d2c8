//! Root key and CA on a PKCS#11 token (SoftHSM2).

use super::*;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::Stdio;

use rpc::at_rest::WrappingKey;
use rpc::control::{ControlEnd, pair};
use rpc::hsm::{Hsm, Make, Start, ToHsm, ToSupervisor};
use testkit::softhsm::{LABEL, PIN, SoftHsm};

use crate::backup::Offline;

fn settings(token: &SoftHsm, more: &[&str]) -> Vec<String> {
    token.settings().into_iter().chain(more.iter().map(|s| (*s).to_owned())).collect()
}

fn house_on(token: &SoftHsm, more: &[&str]) -> House {
    let all = settings(token, more);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    House::start_at(env!("CARGO_BIN_EXE_matron"), testkit::house::free().unwrap(), &all).unwrap()
}

pub(super) async fn ward_on(token: &SoftHsm, more: &[&str]) -> Ward {
    let house = house_on(token, more);
    let admin = Admin::join(&house.administrators().to_string(), house.token()).await.unwrap();
    let network = Network::trusting(&std::fs::read(house.ca_pem()).unwrap()).unwrap();
    Ward { house, admin, network, keys: KeyPool::made(4, 2).unwrap() }
}

/// What a start says that does not come about.
fn refused(house: &House) -> String {
    let output = house.host_command(&["serve"]).stdout(Stdio::null()).output().unwrap();
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Asserts what the host's doctor finds.
fn doctor(house: &House, id: &str, verdict: &str, says: &str) {
    let output = house.host_command(&["doctor", "--json"]).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|c| c["id"] == id).unwrap_or_else(|| panic!("no {id} in {report:#}"));
    assert_eq!(check["verdict"], verdict, "{check:#}");
    assert!(check["found"].as_str().unwrap().contains(says), "{check:#}");
}

/// The real process beside the house, with the test in the supervisor's and the vault's place.
struct Beside {
    control: ControlEnd,
    child: std::process::Child,
}

impl Beside {
    fn begin(token: &SoftHsm, keys: &str) -> Self {
        let (control, theirs) = pair().unwrap();
        let variable = token.variable();
        let (name, value) = variable.split_once('=').unwrap();
        let child = std::process::Command::new(env!("CARGO_BIN_EXE_matron"))
            .arg("hsm")
            .env_clear()
            .env(name, value)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let config = Start {
            module: token.module().to_owned(),
            token: LABEL.into(),
            keys: keys.into(),
            make: Make::No,
            sandbox: serde_json::to_value(sandbox::Allowed::only(token.folder())).unwrap(),
        };
        control.send(&ToHsm::Start { config }, &[OwnedFd::from(token.pin().unwrap())]).unwrap();
        Self { control, child }
    }

    fn said(&self) -> ToSupervisor {
        self.control.receive().unwrap().unwrap().0
    }

    fn open(token: &SoftHsm) -> Self {
        let beside = Self::begin(token, "matron");
        assert_eq!(beside.said(), ToSupervisor::Ready);
        beside
    }

    fn secret_of(&self, room: &str) -> Vec<u8> {
        let (mut read, write) = std::io::pipe().unwrap();
        self.control.send(&ToHsm::Unlock { room: room.into() }, &[OwnedFd::from(write)]).unwrap();
        let mut secret = Vec::new();
        read.read_to_end(&mut secret).unwrap();
        secret
    }

    fn stream(&self) -> std::os::unix::net::UnixStream {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        self.control.send(&ToHsm::Vault, &[OwnedFd::from(theirs)]).unwrap();
        ours
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether openssl finds that a certificate was issued by the house's CA.
fn openssl_verifies(house: &House, certificate: &[u8]) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c.pem");
    std::fs::write(&file, pem::encode(&pem::Pem::new("CERTIFICATE", certificate))).unwrap();
    let said = std::process::Command::new("openssl")
        .args(["verify", "-CAfile"])
        .arg(house.ca_pem())
        .arg(&file)
        .output()
        .unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
}

const KEY_FILES: [(&str, &str); 6] = [
    ("door", "tls.key.der"),
    ("door", "delivery.key"),
    ("reader", "ra.key"),
    ("reader", "sender.key"),
    ("reader", "change.key"),
    ("courier", "push.key"),
];

#[tokio::test]
async fn a_house_with_its_root_key_and_ca_on_a_token_enrols_phones_and_has_neither_on_its_disk() {
    let Some(token) = SoftHsm::make() else { return };
    let mut ward = ward_on(&token, &[]).await;
    let mut phone = ward.phone(0).await;
    openssl_verifies(&ward.house, phone.certificate_der().unwrap());
    openssl_verifies(&ward.house, &std::fs::read(ward.house.room_dir("door").join("tls.cert.der")).unwrap());
    doctor(&ward.house, "keys", "ok", "on the token");
    doctor(&ward.house, "keys.token", "ok", "open in the running house");
    // What can be made anew is; root key and CA stay where they are.
    let rotated = OrderKind::RotateKeys { keys: model::KeyName::rotatable().collect() };
    ward.admin.order(rotated, vec![], None).await.unwrap();
    ward.house.stop().unwrap();
    ward.house.run().unwrap();
    ward.obey(&mut phone).await;
    let another = ward.phone(1).await;
    openssl_verifies(&ward.house, another.certificate_der().unwrap());
    ward.house.stop().unwrap();

    let beside = Beside::open(&token);
    let unwrap = |room: &str, name: &str| {
        let bytes = std::fs::read(ward.house.room_dir(room).join(name)).unwrap();
        let key = WrappingKey::of(&beside.secret_of(room), room).unwrap();
        key.unwrap(name, &bytes).unwrap().to_vec()
    };
    // An array: the version of such a file, no seed of a root key, the warrant key's, no CA key.
    let keys = unwrap("vault", "keys.cbor");
    let mut read = minicbor::Decoder::new(&keys);
    read.array().unwrap();
    assert_eq!(read.u8().unwrap(), 3);
    assert_eq!(read.bytes().unwrap(), [0; 32]);
    let warrant = read.bytes().unwrap();
    assert_ne!(warrant, [0; 32]);
    assert_eq!(read.bytes().unwrap(), [] as [u8; 0]);
    // And every other room's are wrapped under what the token alone gives.
    let mut secrets = vec![("warrant key".to_owned(), warrant.to_vec())];
    secrets.extend(KEY_FILES.map(|(room, name)| (format!("{room}/{name}"), unwrap(room, name))));
    for (what, secret) in &secrets {
        assert_eq!(found(&ward.house.data(), secret), [] as [std::path::PathBuf; 0], "{what}");
    }
    // What signs is what the house goes by.
    let hsm = Hsm::open(beside.stream()).unwrap();
    assert_eq!(std::fs::read(ward.house.room_dir("door").join("root.pub")).unwrap(), hsm.publics().root);
    assert_eq!(hsm.sign_root(b"made up").unwrap().len(), 64);
}

#[tokio::test]
async fn a_house_whose_token_is_away_or_another_or_whose_pin_is_wrong_says_so_and_does_not_start() {
    let Some(token) = SoftHsm::make() else { return };
    let mut house = house_on(&token, &[]);
    house.stop().unwrap();

    token.unplug().unwrap();
    let said = refused(&house);
    assert!(said.contains("there is no token 'made up'") && said.contains("vault.pkcs11_token"), "{said}");
    doctor(&house, "keys.token", "fail", "there is no token 'made up'");
    token.plug_in().unwrap();
    doctor(&house, "keys.token", "ok", "no PIN was given");

    // Another token of that label: none of its keys are there; then its own, made by another house.
    let other = SoftHsm::make().unwrap();
    let with = |token: &SoftHsm| {
        let mut command = house.host_command(&["serve"]);
        command.args(token.settings().iter().flat_map(|s| ["--set", s])).stdout(Stdio::null());
        String::from_utf8_lossy(&command.output().unwrap().stderr).into_owned()
    };
    let said = with(&other);
    assert!(said.contains("holds no key 'matron-root'"), "{said}");
    let mut neighbour = house_on(&other, &[]);
    neighbour.stop().unwrap();
    let said = with(&other);
    assert!(said.contains("can't start") && said.contains("another root key"), "{said}");

    // Wrong, said, and not tried again: not even when it has become right at the token, until the file changes.
    token.set_pin("654321").unwrap();
    let said = refused(&house);
    assert!(said.contains("refuses the PIN") && said.contains("vault.pkcs11_pin_file"), "{said}");
    token.unplug().unwrap();
    let said = refused(&house);
    assert!(said.contains("not tried again") && !said.contains("there is no token"), "{said}");
    token.plug_in().unwrap();
    token.set_pin(PIN).unwrap();
    house.run().unwrap();
    house.stop().unwrap();
    assert!(!house.data().join("pkcs11.refused").exists());
}

#[tokio::test]
async fn keys_that_are_on_the_token_already_are_no_new_houses_but_where_its_first_start_was_broken_off() {
    let Some(token) = SoftHsm::make() else { return };
    let mut house = house_on(&token, &[]);
    house.stop().unwrap();
    let said = {
        let elsewhere = tempfile::tempdir().unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_matron"));
        command.args(["init", "--data"]).arg(elsewhere.path().join("data"));
        command.args(token.settings().iter().flat_map(|s| ["--set", s]));
        String::from_utf8_lossy(&command.output().unwrap().stderr).into_owned()
    };
    assert!(said.contains("'matron-root' already") && said.contains("vault.pkcs11_keys"), "{said}");
    // Under other names there is room for it.
    let mut second = house_on(&token, &["vault.pkcs11_keys=second"]);
    second.stop().unwrap();

    // A first start that was killed after it made keys: it has noted so, and goes on with them.
    let root = std::fs::read(second.room_dir("door").join("root.pub")).unwrap();
    std::fs::remove_dir_all(second.data().join("rooms")).unwrap();
    assert!(refused(&second).contains("'second-root' already"));
    std::fs::write(second.data().join("pkcs11.making"), format!("{LABEL}\nsecond\n")).unwrap();
    second.run().unwrap();
    assert_eq!(std::fs::read(second.room_dir("door").join("root.pub")).unwrap(), root);
    assert!(!second.data().join("pkcs11.making").exists());
}

#[tokio::test]
async fn a_token_that_goes_and_comes_back_stops_the_vault_meanwhile_and_no_phone() {
    let Some(token) = SoftHsm::make() else { return };
    let ward = ward_on(&token, &[]).await;
    let mut phone = ward.phone(0).await;
    // The process is killed: it and the vault are there again by themselves.
    let (hsm, vault) = (ward.house.pid("hsm").unwrap(), ward.house.pid("vault").unwrap());
    ward.house.kill_room("hsm").unwrap();
    until("the token's process and the vault are others", || async {
        let pids = (ward.house.pid("hsm"), ward.house.pid("vault"));
        pids.0.is_some_and(|p| p != hsm) && pids.1.is_some_and(|p| p != vault)
    })
    .await;
    let mut second = ward.phone(1).await;
    // The token is away when it is looked for again: said; phones are served; a courier that dies meanwhile waits for it.
    token.unplug().unwrap();
    ward.house.kill_room("hsm").unwrap();
    let said = || ward.house.log().contains("there is no token 'made up'");
    let end = Instant::now() + Duration::from_secs(30);
    while !said() {
        assert!(Instant::now() < end, "it is not said: {}", ward.house.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ward.house.kill_room("courier").unwrap();
    ward.obey(&mut phone).await;
    token.plug_in().unwrap();
    until("both are there again", || async {
        ward.house.pid("courier").is_some() && ward.house.pid("vault").is_some()
    })
    .await;
    ward.obey(&mut second).await;
    ward.phone(2).await;
}

#[tokio::test]
async fn the_tokens_process_is_held_by_the_kernel_and_takes_nothing_that_is_no_question() {
    let Some(token) = SoftHsm::make() else { return };
    let mut house = house_on(&token, &[]);
    let status = std::fs::read_to_string(format!("/proc/{}/status", house.pid("hsm").unwrap())).unwrap();
    let value = |name: &str| {
        let line = status.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default();
        line.trim_start_matches(':').trim().to_owned()
    };
    assert_eq!((value("NoNewPrivs"), value("Seccomp")), ("1".into(), "2".into()));
    assert!(value("CapEff").chars().all(|c| c == '0'), "{}", value("CapEff"));

    doctor(&house, "sandbox.hsm", "ok", "filters on its system calls");
    house.stop().unwrap();
    house.change(&["vault.pkcs11_danger_unheld=true"], &[]);
    house.run().unwrap();
    doctor(&house, "keys.unheld", "warn", "vault.pkcs11_danger_unheld");
    doctor(&house, "sandbox.hsm", "warn", "no filters");
    house.stop().unwrap();

    let beside = Beside::open(&token);
    assert_ne!(beside.secret_of("vault"), beside.secret_of("door"));
    assert_eq!(beside.secret_of("vault").len(), 32);
    // Garbage ends that stream alone.
    let mut stream = beside.stream();
    std::io::Write::write_all(&mut stream, &[0, 0, 0, 2, 0xff, 0xff]).unwrap();
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
    assert!(Hsm::open(beside.stream()).unwrap().sign_ca(b"made up").is_ok());
    beside.control.send(&ToHsm::Ping, &[]).unwrap();
    assert_eq!(beside.said(), ToSupervisor::Alive);

    let none = Beside::begin(&token, "nobodys");
    let ToSupervisor::Failed { why, pin_refused } = none.said() else { panic!("it said something else") };
    assert!(why.contains("holds no key 'nobodys-root'") && !pin_refused, "{why}");
}

#[tokio::test]
async fn a_key_that_was_brought_to_the_token_or_is_there_twice_is_not_used() {
    let Some(token) = SoftHsm::make() else { return };
    token.bring("other-root", "01", &["-algorithm", "ed25519"]).unwrap();
    let said = Beside::begin(&token, "other").said();
    let ToSupervisor::Failed { why, .. } = said else { panic!("{said:?}") };
    assert!(why.contains("'other-root'") && why.contains("is not used"), "{why}");

    let mut house = house_on(&token, &[]);
    house.stop().unwrap();
    token.bring("matron-ca", "02", &["-algorithm", "rsa", "-pkeyopt", "rsa_keygen_bits:3072"]).unwrap();
    let said = refused(&house);
    assert!(said.contains("'matron-ca'") && said.contains("is there more than once"), "{said}");
}

#[tokio::test]
async fn a_backup_of_a_house_on_a_token_holds_neither_key_and_restores_with_the_token_alone() {
    let Some(token) = SoftHsm::make() else { return };
    let offline = Offline::new();
    let mut ward = ward_on(&token, &[&offline.setting()]).await;
    let mut phone = ward.phone(0).await;
    let running = offline.back_up(&ward.house);
    ward.house.stop().unwrap();
    // Their names are of the second.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let stopped = offline.back_up(&ward.house);
    assert_ne!(running, stopped);
    ward.house.move_out().unwrap();
    token.unplug().unwrap();
    let said = offline.restore(&ward.house, &stopped, &[]);
    assert!(String::from_utf8_lossy(&said.stderr).contains("there is no token 'made up'"));
    token.plug_in().unwrap();
    let said = offline.restore(&ward.house, &running, &[]);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    ward.house.run().unwrap();
    ward.obey(&mut phone).await;
}

#[tokio::test]
async fn keys_in_a_file_are_not_taken_for_keys_on_a_token() {
    let Some(token) = SoftHsm::make() else { return };
    let mut ward = Ward::open(&[]).await;
    ward.house.stop().unwrap();
    drop(house_on(&token, &[]));
    let on = token.settings();
    let on: Vec<&str> = on.iter().map(String::as_str).collect();
    ward.house.change(&on, &[]);
    let said = refused(&ward.house);
    assert!(said.contains("are in its key file, not on a PKCS#11 token"), "{said}");
}
