//! Where the keys are.

use super::*;
use std::process::Stdio;

use rpc::at_rest::WrappingKey;
use tempfile::TempDir;

use crate::backup::Offline;

const WITH_CREDENTIAL: &str = "vault.root_key=credential";
const WRAPPED: &[u8] = b"matron wrapped 1";

/// What systemd would hand to the service.
struct Credential {
    dir: TempDir,
    secret: [u8; 32],
}

impl Credential {
    fn new(n: u8) -> Self {
        let (dir, secret) = (TempDir::new().unwrap(), [n; 32]);
        std::fs::write(dir.path().join("matron-root-key"), secret).unwrap();
        Self { dir, secret }
    }

    fn variable(&self) -> (&'static str, &str) {
        ("CREDENTIALS_DIRECTORY", self.dir.path().to_str().unwrap())
    }

    fn unwrap(&self, house: &House, room: &str, name: &str) -> Vec<u8> {
        let bytes = std::fs::read(house.room_dir(room).join(name)).unwrap();
        assert!(bytes.starts_with(WRAPPED), "{room}/{name} lies in the clear");
        WrappingKey::of(&self.secret, room).unwrap().unwrap(name, &bytes).unwrap().to_vec()
    }

    /// The secrets of every room, as they would stand in files.
    fn secrets(&self, house: &House) -> Vec<(String, Vec<u8>)> {
        let mut out = Vec::new();
        for (room, name) in KEY_FILES {
            out.push((format!("{room}/{name}"), self.unwrap(house, room, name)));
        }
        out.extend(seeds(&self.unwrap(house, "vault", "keys.cbor")));
        out
    }
}

const KEY_FILES: [(&str, &str); 6] = [
    ("door", "tls.key.der"),
    ("door", "delivery.key"),
    ("reader", "ra.key"),
    ("reader", "sender.key"),
    ("reader", "change.key"),
    ("courier", "push.key"),
];

/// Root and warrant key: an array, the version, and two strings of 32 bytes.
fn seeds(key_file: &[u8]) -> Vec<(String, Vec<u8>)> {
    let at = key_file.windows(2).position(|w| w == [0x58, 32]).unwrap() + 2;
    let (root, warrant) = (&key_file[at..at + 32], &key_file[at + 34..at + 66]);
    vec![("root key".into(), root.to_vec()), ("warrant key".into(), warrant.to_vec())]
}

/// What a start on a stolen disk says.
fn refused(house: &House, more: &[&str], environment: &[(&str, &str)]) -> String {
    let mut command = house.host_command(&["serve"]);
    command.args(more.iter().flat_map(|s| ["--set", s]));
    command.envs(environment.iter().copied()).stdout(Stdio::null());
    let output = command.output().unwrap();
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What an order opens of a phone.
async fn opened(ward: &Ward, phone: EnrolmentId, field: &str) -> Vec<u8> {
    let kind = OrderKind::Open { fields: vec![field.to_owned()] };
    let (_, answer) = ward.admin.order(kind, vec![phone], None).await.unwrap();
    let answer: order::OpenAnswer = order::decode(&answer).unwrap();
    answer.fields.into_iter().next().unwrap().value.clone()
}

async fn ward_in(credential: &Credential) -> Ward {
    let phones = testkit::house::free().unwrap();
    let binary = env!("CARGO_BIN_EXE_matron");
    let house = House::start_in(binary, phones, &[WITH_CREDENTIAL], &[credential.variable()]).unwrap();
    let admin = Admin::join(&house.administrators().to_string(), house.token()).await.unwrap();
    let network = Network::trusting(&std::fs::read(house.ca_pem()).unwrap()).unwrap();
    Ward { house, admin, network, keys: KeyPool::made(4, 2).unwrap() }
}

#[tokio::test]
async fn a_stolen_disk_holds_no_key_in_the_clear_and_does_not_start_without_the_credential() {
    let credential = Credential::new(1);
    let mut ward = ward_in(&credential).await;
    let mut phone = ward.phone(0).await;
    ward.house.stop().unwrap();
    for (what, secret) in credential.secrets(&ward.house) {
        assert_eq!(found(&ward.house.data(), &secret), [] as [std::path::PathBuf; 0], "{what}");
    }
    // Names in the ledger: the person's keys are covered too.
    let persons = std::fs::read(ward.house.room_dir("vault").join("persons.keys")).unwrap();
    assert!(persons.len() > 64 && persons[64..].chunks(64).all(|record| record[0] == 4));
    assert!(refused(&ward.house, &[], &[]).contains("CREDENTIALS_DIRECTORY"));
    assert!(
        refused(&ward.house, &["vault.root_key=file"], &[])
            .contains("wrapped under the root key's credential")
    );
    let other = Credential::new(2);
    assert!(refused(&ward.house, &[], &[other.variable()]).contains("another root key's credential"));
    ward.house.run().unwrap();
    ward.obey(&mut phone).await;
    assert!(opened(&ward, id(&phone), "IMEI").await.len() > 10);
}

#[tokio::test]
async fn a_house_that_gets_a_credential_later_wraps_its_keys_and_its_backup_restores_without_it() {
    let offline = Offline::new();
    let mut ward = Ward::open(&[&offline.setting()]).await;
    let mut phone = ward.phone(0).await;
    ward.house.stop().unwrap();
    let bare = seeds(&std::fs::read(ward.house.room_dir("vault").join("keys.cbor")).unwrap());
    for (what, secret) in &bare {
        assert_eq!(found(&ward.house.data(), secret).len(), 1, "{what}");
    }
    let credential = Credential::new(3);
    ward.house.change(&[WITH_CREDENTIAL], &[credential.variable()]);
    ward.house.run().unwrap();
    ward.obey(&mut phone).await;
    for (what, secret) in bare.iter().chain(&credential.secrets(&ward.house)) {
        assert_eq!(found(&ward.house.data(), secret), [] as [std::path::PathBuf; 0], "{what}");
    }
    let backup = offline.back_up(&ward.house);
    ward.house.move_out().unwrap();
    let restored = offline.restore(&ward.house, &backup, &[]);
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    // On the new machine there is another credential.
    let elsewhere = Credential::new(4);
    ward.house.change(&[], &[elsewhere.variable()]);
    ward.house.run().unwrap();
    ward.obey(&mut phone).await;
    assert!(!elsewhere.secrets(&ward.house).is_empty());
}

/// Tries until it holds, for at most two minutes: an older key is kept for half a minute in any case.
pub(super) async fn in_time<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let end = Instant::now() + Duration::from_secs(120);
    while !holds().await {
        assert!(Instant::now() < end, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

pub(super) async fn keys(ward: &Ward) -> anyhow::Result<Value> {
    ward.admin.call("GET", "/api/v1/keys", None).await
}

/// Every key is in force, and nothing is left under an older one but what runs out by itself.
fn settled(said: &Value) -> bool {
    let all = said["keys"].as_array().unwrap();
    let runs_out = |k: &Value| k["state"] == "kept" && (k["name"] == "orders" || k["name"] == "scep_ra");
    all.iter().all(|k| k["state"] == "in_force" || runs_out(k))
}

/// Keys that rooms made for themselves and that rotate: their files, and the secrets in them.
fn rooms_keys(house: &House) -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let rotated = [
        ("door", "delivery.key"),
        ("door", "tls.key.der"),
        ("courier", "push.key"),
        ("reader", "sender.key"),
    ];
    let read = |(room, name)| (room, name, std::fs::read(house.room_dir(room).join(name)).unwrap());
    rotated.into_iter().map(read).collect()
}

fn are_gone(house: &House, before: &[(&str, &str, Vec<u8>)]) -> bool {
    let gone = |(room, name, key): &(&str, &str, Vec<u8>)| {
        let now = std::fs::read(house.room_dir(room).join(name)).unwrap();
        !now.windows(key.len()).any(|w| w == key)
    };
    before.iter().all(gone)
}

#[tokio::test]
async fn every_key_rotates_in_a_running_house_though_rooms_are_killed_meanwhile() {
    let mut ward = Ward::open(&[]).await;
    let mut phones = Vec::new();
    for n in 0..4 {
        phones.push(ward.phone(n).await);
    }
    let targets: Vec<EnrolmentId> = phones.iter().map(id).collect();
    let mut before = Vec::new();
    for target in &targets {
        before.push(opened(&ward, *target, "IMEI").await);
    }
    let vault = ward.house.room_dir("vault");
    let old = std::fs::read(vault.join("keys.cbor")).unwrap();
    let of_rooms = rooms_keys(&ward.house);
    // A command that was warranted under the older key, and sealed to the door's older one, waits for the phones.
    let message = CommandSecrets { message: Some("call the desk".into()), ..CommandSecrets::default() };
    ward.command(Command::DeviceLock, &targets, &message).await.unwrap();
    let rotated = OrderKind::RotateKeys { keys: model::KeyName::rotatable().collect() };
    ward.admin.order(rotated, vec![], None).await.unwrap();
    for room in ["core", "vault", "door", "core", "courier", "reader"] {
        tokio::time::sleep(Duration::from_millis(300)).await;
        ward.house.kill_room(room).unwrap();
    }
    let ward_ref = &ward;
    in_time("rows to be sealed again", || async move { keys(ward_ref).await.is_ok_and(|k| settled(&k)) })
        .await;
    let said = keys(&ward).await.unwrap();
    let rooms = model::KeyName::ALL.iter().filter(|k| k.made_by().is_some()).count() as u64;
    assert_eq!(said["epoch"].as_u64(), Some(2 + rooms), "{said}");
    ward.admin.renew_statement().await.unwrap();
    for (target, before) in targets.iter().zip(&before) {
        assert_eq!(opened(&ward, *target, "IMEI").await, *before);
    }
    // The warrant key of before is gone from the file (the vault's own tests look at the others).
    let new = std::fs::read(vault.join("keys.cbor")).unwrap();
    let warrant = &seeds(&old)[1].1;
    assert!(!new.windows(32).any(|w| w == warrant));
    // The rooms' own of before are gone from theirs.
    let house = &ward.house;
    let of_rooms = &of_rooms;
    in_time("rooms to destroy their older keys", || async move { are_gone(house, of_rooms) }).await;
    // A phone that comes now enrols by the new RA.
    let mut late = ward.phone(9).await;
    ward.obey(&mut late).await;
    for phone in &mut phones {
        let talk = ward.obey(phone).await;
        assert!(
            talk.commands.iter().any(|(what, _)| what == "DeviceLock"),
            "the command came with a warrant of the new key"
        );
    }
    let found = ward.admin.call("GET", "/api/v1/ledger?limit=200", None).await.unwrap();
    let kinds: Vec<&str> =
        found["items"].as_array().unwrap().iter().filter_map(|e| e["kind"].as_str()).collect();
    for kind in ["keys_rotated", "room_key_taken", "resealed", "keys_destroyed"] {
        assert!(kinds.contains(&kind), "{kind}");
    }
    // Search entries were made anew.
    ward.admin.sign_in(3).await.unwrap();
    let imei = String::from_utf8(before[0].clone()).unwrap();
    let hit = ward.admin.search("imei", &imei).await.unwrap();
    assert!(hit.to_string().contains(&targets[0].to_string()), "{hit}");
    ward.house.stop().unwrap();
    assert!(ledger::verify(&vault).unwrap().entries > 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_is_finished_after_kill_9_of_the_supervisor_at_four_moments_of_it() {
    let mut ward = Ward::open(&[]).await;
    let mut phone = ward.phone(0).await;
    let target = id(&phone);
    let before = opened(&ward, target, "IMEI").await;
    let message = CommandSecrets { message: Some("call the desk".into()), ..CommandSecrets::default() };
    ward.command(Command::DeviceLock, &[target], &message).await.unwrap();
    let of_rooms = rooms_keys(&ward.house);
    let mut epoch = 1;
    for pause_ms in [0, 300, 1_200, 2_500] {
        let rotated = OrderKind::RotateKeys { keys: model::KeyName::rotatable().collect() };
        ward.admin.order(rotated, vec![], None).await.unwrap();
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        ward.house.kill().unwrap();
        ward.house.run().unwrap();
        ward.admin.sign_in(0).await.unwrap();
        let said = keys(&ward).await.unwrap()["epoch"].as_u64().unwrap();
        assert!(said > epoch, "no epoch comes twice: {said} after {epoch}");
        epoch = said;
    }
    let ward_ref = &ward;
    in_time("rows to be sealed again", || async move { keys(ward_ref).await.is_ok_and(|k| settled(&k)) })
        .await;
    ward.admin.renew_statement().await.unwrap();
    assert_eq!(opened(&ward, target, "IMEI").await, before);
    let (house, of_rooms) = (&ward.house, &of_rooms);
    in_time("rooms to destroy their older keys", || async move { are_gone(house, of_rooms) }).await;
    let talk = ward.obey(&mut phone).await;
    assert!(
        talk.commands.iter().any(|(what, _)| what == "DeviceLock"),
        "sealed again to the door's newest key"
    );
    ward.house.stop().unwrap();
    assert!(ledger::verify(&ward.house.room_dir("vault")).unwrap().entries > 10);
}

#[tokio::test]
async fn an_assumed_breach_ends_everything_and_is_over_when_nothing_is_left() {
    let mut ward = Ward::open(&[]).await;
    let mut phone = ward.phone(0).await;
    let old = phone.certificate_der().unwrap().to_vec();
    let link = ward.invite(1).await;
    let ra = ("reader", "ra.key", std::fs::read(ward.house.room_dir("reader").join("ra.key")).unwrap());
    let of_rooms = [rooms_keys(&ward.house), vec![ra]].concat();
    ward.admin.order(OrderKind::AssumeBreach { reissues_an_hour: 100 }, vec![], None).await.unwrap();
    assert!(keys(&ward).await.is_err(), "the session has ended");
    let mut late = Phone::new(7, 1);
    assert!(late.enrol(&link, &ward.network, &ward.keys, &SystemClock).await.is_err(), "and the invitation");
    ward.admin.sign_in(0).await.unwrap();
    let said = keys(&ward).await.unwrap();
    assert_eq!((said["breach"]["phones"].as_u64(), said["breach"]["signers"].as_u64()), (Some(1), Some(1)));
    let phone_ref = Arc::new(tokio::sync::Mutex::new(&mut phone));
    in_time("the phone to have a new certificate", || {
        let (phone, old) = (phone_ref.clone(), old.clone());
        async move {
            let mut phone = phone.lock().await;
            if let Ok(mut connection) = phone.connect().await {
                let _ = phone.converse(&mut connection, Temper::obliging()).await;
            }
            phone.certificate_der().unwrap() != old
        }
    })
    .await;
    let new = ward.admin.another(60);
    ward.admin.order(OrderKind::AddKey { key: new.person_key() }, vec![], None).await.unwrap();
    let before = order::key_id(&ward.admin.person_key().public);
    ward.admin = new;
    ward.admin.order(OrderKind::EndKey { key: before }, vec![], None).await.unwrap();
    ward.admin.sign_in(0).await.unwrap();
    let ward_ref = &ward;
    let phone_ref = &phone_ref;
    in_time("the breach to be over", || async move {
        // It comes with its new certificate; then the older CA ends.
        let mut phone = phone_ref.lock().await;
        if let Ok(mut connection) = phone.connect().await {
            let _ = phone.converse(&mut connection, Temper::obliging()).await;
        }
        keys(ward_ref).await.is_ok_and(|k| k["breach"]["done"] == true)
    })
    .await;
    let (house, of_rooms) = (&ward.house, &of_rooms);
    in_time("rooms to destroy their older keys", || async move { are_gone(house, of_rooms) }).await;
    ward.obey(&mut phone).await;
}

#[tokio::test]
async fn the_command_line_shows_keys_rotates_them_and_says_what_a_breach_has_left() {
    let house = House::start(env!("CARGO_BIN_EXE_matron"), &[]).unwrap();
    let run = |arguments: &[&str]| {
        let output = house.matron(arguments).unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8_lossy(&text).into_owned())
    };
    let why = ["--reason", "a test", "--yes"];
    let (code, said) = run(&["admin", "join", "--token", house.token(), "--name", "Ada Example"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(run(&["signin", "--yes"]).0, 0);
    let (code, said) = run(&["keys", "show"]);
    assert_eq!(code, 0, "{said}");
    for part in ["contact", "at the installation", "epoch 1", "push certificate"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let (code, said) = run(&["keys", "rotate", "contcat", why[0], why[1], why[2]]);
    assert!(code == 2 && said.contains("one of identity, contact"), "{said}");
    let (code, said) = run(&["keys", "rotate", "contact", "index", why[0], why[1], why[2]]);
    assert_eq!(code, 0, "{said}");
    let (_, said) = run(&["keys", "show", "--json"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((said["epoch"].as_u64(), said["keys"][1]["epoch"].as_u64()), (Some(2), Some(2)));
    let (code, said) = run(&["keys", "end-old", why[0], why[1], why[2]]);
    assert!(code == 1 && said.contains("there is no older CA"), "{said}");
    let (code, said) = run(&["keys", "rotate", "ca", why[0], why[1], why[2]]);
    assert!(code == 0 && said.contains("matron standing"), "{said}");
    let (_, said) = run(&["keys", "show", "--json"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    let of =
        |name: &str| said["keys"].as_array().unwrap().iter().find(|k| k["name"] == name).unwrap().clone();
    assert_eq!((&of("ca")["state"], &of("ca")["left"]), (&"reissuing".into(), &0.into()), "{said}");
    let (code, said) = run(&["keys", "end-old", why[0], why[1], why[2]]);
    assert!(code == 0 && said.contains("takes its certificates no more"), "{said}");
    assert!(run(&["keys", "end-old", why[0], why[1], why[2]]).1.contains("there is no older CA"));
    assert!(run(&["assume-breach", "status"]).1.contains("no breach was assumed"));
    let (code, said) = run(&["assume-breach", why[0], why[1], why[2]]);
    assert!(code == 0 && said.contains("counts no more"), "{said}");
    assert_ne!(run(&["assume-breach", "status"]).0, 0, "the session has ended");
    let (code, said) = run(&["signin", "--yes"]);
    assert_eq!(code, 0, "{said}");
    let (code, said) = run(&["assume-breach", "status"]);
    assert_eq!(code, 1, "{said}");
    for part in ["1 key to be replaced", "root key  ", "not all is done yet"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let (code, said) = run(&["ledger", "verify"]);
    assert_eq!(code, 0, "{said}");
}
