//! A house is backed up under load, lost, and restored elsewhere.

use super::*;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};

use age::secrecy::ExposeSecret;
use model::{Digest, PersonId};
use order::{JoinSecrets, OpenAnswer, decode};
use tempfile::TempDir;

/// What the operator keeps elsewhere.
pub(super) struct Offline {
    dir: TempDir,
    recipient: String,
}

impl Offline {
    pub(super) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let secret = age::x25519::Identity::generate();
        std::fs::write(dir.path().join("key"), secret.to_string().expose_secret()).unwrap();
        Self { dir, recipient: secret.to_public().to_string() }
    }

    pub(super) fn setting(&self) -> String {
        format!("backup.recipients=[\"{}\"]", self.recipient)
    }

    fn identity(&self) -> String {
        self.dir.path().join("key").display().to_string()
    }

    /// Backups that were moved away from the house's disk.
    fn shelf(&self) -> String {
        self.dir.path().join("shelf").display().to_string()
    }

    /// Makes a backup and moves it here.
    pub(super) fn back_up(&self, house: &House) -> PathBuf {
        let said = said(&house.on_host(&["backup", "--json", "--to", &self.shelf()]).unwrap());
        let backup = PathBuf::from(said["backup"].as_str().unwrap());
        assert!(backup.starts_with(self.shelf()) && backup.join("manifest.json").is_file());
        assert!(said["ledger_entries"].as_u64().unwrap() > 1);
        backup
    }

    pub(super) fn restore(&self, house: &House, backup: &Path, more: &[&str]) -> Output {
        let (backup, identity, data) = (backup.display().to_string(), self.identity(), house.data());
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_matron"));
        command.args(["restore", &backup, "--identity", &identity, "--json", "--data"]).arg(data).args(more);
        command.output().unwrap()
    }
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn said(output: &Output) -> Value {
    assert!(output.status.success(), "{}", words(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Adds a second administrator.
async fn second(ward: &Ward) -> Admin {
    let grace = ward.admin.another(43);
    let kind =
        OrderKind::AddPerson { key: grace.person_key(), role: model::Role::Administrator, group: None };
    let secrets = encode(&JoinSecrets { name: "Grace Example".into() });
    ward.admin.order(kind, vec![], Some(&secrets)).await.unwrap();
    grace
}

/// The restore as the administrators are shown it.
async fn confirm(ward: &Ward, by: &Admin, without: Vec<PersonId>) -> anyhow::Result<()> {
    let health = ward.admin.call("GET", "/api/v1/health", None).await?;
    let restored = &health["vault"]["restored"];
    let manifest: Digest = restored["manifest"].as_str().unwrap().parse().unwrap();
    let made_at_ms = restored["made_at_ms"].as_i64().unwrap();
    by.order(OrderKind::ConfirmRestore { manifest, made_at_ms, without }, vec![], None).await.map(|_| ())
}

async fn imei_of(ward: &Ward, phone: EnrolmentId) -> anyhow::Result<Vec<u8>> {
    let kind = OrderKind::Open { fields: vec!["ServiceSubscriptions.0.IMEI".into()] };
    let (_, answer) = ward.admin.order(kind, vec![phone], None).await?;
    Ok(decode::<OpenAnswer>(&answer)?.fields.pop().map(|f| f.value).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_house_backed_up_under_load_is_lost_and_restored_elsewhere_and_its_phones_go_on() {
    let offline = Offline::new();
    let mut ward = Ward::open(&[&offline.setting(), "log.filter=error"]).await;
    let grace = second(&ward).await;
    let mut phones: Vec<Shared<Phone>> = Vec::new();
    for index in 0..6 {
        phones.push(Arc::new(tokio::sync::Mutex::new(ward.phone(index).await)));
    }
    let targets = futures_ids(&phones).await;
    let open_link = ward.invite(20).await;
    // Phones come and obey, and orders go in, while the backup is made.
    let over = Arc::new(AtomicBool::new(false));
    let load: Vec<_> = phones
        .iter()
        .cloned()
        .map(|phone| {
            let over = over.clone();
            tokio::spawn(async move {
                while !over.load(Ordering::SeqCst) {
                    let mut phone = phone.lock().await;
                    if let Ok(mut connection) = phone.connect().await {
                        let _ = phone.converse(&mut connection, Temper::obliging()).await;
                    }
                }
            })
        })
        .collect();
    let ordering = async {
        let mut accepted = 0;
        while !over.load(Ordering::SeqCst) {
            let target = targets[accepted % targets.len()];
            ward.command(Command::DeviceLock, &[target], &CommandSecrets::default()).await.unwrap();
            accepted += 1;
        }
        accepted
    };
    let backing_up = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let made = tokio::task::block_in_place(|| offline.back_up(&ward.house));
        tokio::time::sleep(Duration::from_millis(300)).await;
        over.store(true, Ordering::SeqCst);
        made
    };
    let (accepted, backup) = tokio::join!(ordering, backing_up);
    assert!(accepted > 3, "{accepted} orders were accepted meanwhile");
    for task in load {
        task.await.unwrap();
    }
    let nothing_there = std::fs::read_dir(ward.house.data().join("backups")).unwrap().count();
    assert_eq!(nothing_there, 0, "it was moved");
    nothing_is_in_the_clear(&ward, &backup, &phones).await;

    // The house is lost, all of it.
    ward.house.move_out().unwrap();
    let restored = said(&offline.restore(&ward.house, &backup, &[]));
    assert_eq!(restored["phones"], 6);
    assert_eq!((&restored["administrators"], &restored["confirmations"]), (&Value::from(2), &Value::from(2)));
    assert_eq!(restored["invitations_withdrawn"], 1);
    ward.house.run().unwrap();
    ward.admin.sign_in(0).await.unwrap();

    // Phones are served at once; nothing is opened or commanded.
    for phone in &phones {
        let mut phone = phone.lock().await;
        let mut connection = phone.connect().await.unwrap();
        let talk = phone.converse(&mut connection, Temper::obliging()).await.unwrap();
        assert!(talk.commands.iter().all(|(kind, _)| kind != "DeviceLock"), "{:?}", talk.commands);
    }
    let mut late = Phone::new(7, 20);
    assert!(late.enrol(&open_link, &ward.network, &ward.keys, &SystemClock).await.is_err());
    let refused = |e: anyhow::Error| assert!(e.to_string().contains("confirm-restore"), "{e}");
    refused(imei_of(&ward, targets[0]).await.unwrap_err());
    refused(ward.command(Command::DeviceLock, &targets[..1], &CommandSecrets::default()).await.unwrap_err());
    let health = ward.admin.call("GET", "/api/v1/health", None).await.unwrap();
    assert!(health["warnings"].to_string().contains("restored from a backup"), "{health}");
    confirm(&ward, &ward.admin, vec![]).await.unwrap();
    refused(imei_of(&ward, targets[0]).await.unwrap_err());
    confirm(&ward, &grace, vec![]).await.unwrap();

    // Phones write it with spaces.
    let mut imei = imei_of(&ward, targets[0]).await.unwrap();
    imei.retain(u8::is_ascii_digit);
    assert_eq!(imei, phones[0].lock().await.handset().lines[0].imei.as_bytes());
    // What waited in the queue when the backup was made goes out now, and a new order is obeyed.
    ward.command(Command::DeviceLock, &targets[..1], &CommandSecrets::default()).await.unwrap();
    let mut first = phones[0].lock().await;
    let mut connection = first.connect().await.unwrap();
    let talk = first.converse(&mut connection, Temper::obliging()).await.unwrap();
    assert!(talk.commands.contains(&("DeviceLock".to_owned(), "Acknowledged")), "{:?}", talk.commands);
    let new = ward.phone(21).await;
    assert_eq!(ward.device(id(&new)).await["state"], "enrolled");
    let report = ledger::verify(&ward.house.room_dir("vault")).unwrap();
    assert!(report.entries > restored["ledger_entries"].as_u64().unwrap());
    let said = ward.admin.call("GET", "/api/v1/ledger?limit=200&from=0", None).await.unwrap();
    let mut kinds: Vec<String> = said["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["kind"].as_str().unwrap().to_owned())
        .filter(|k| k.starts_with("restore"))
        .collect();
    kinds.dedup();
    assert_eq!(kinds, ["restored", "restore_confirmed"]);
}

async fn futures_ids(phones: &[Shared<Phone>]) -> Vec<EnrolmentId> {
    let mut out = Vec::new();
    for phone in phones {
        out.push(id(&*phone.lock().await));
    }
    out
}

/// No key of any room, no name and no number stands in a file of the backup.
async fn nothing_is_in_the_clear(ward: &Ward, backup: &Path, phones: &[Shared<Phone>]) {
    let mut secrets: Vec<(String, Vec<u8>)> = Vec::new();
    for (file, bytes) in files_below(&ward.house.data().join("rooms")) {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        // Every 16 bytes somewhere in a key file; of the large ones a few places.
        let every = (bytes.len() / 64).max(16);
        let chunks = bytes.windows(16).step_by(every).filter(|w| w.iter().collect::<BTreeSet<_>>().len() > 8);
        secrets.extend(chunks.map(|w| (name.clone(), w.to_vec())));
    }
    for (index, phone) in (0u32..).zip(phones) {
        let handset = phone.lock().await.handset();
        let person = simulate::people(7, index + 1).pop().unwrap();
        secrets.push(("name".into(), person.name.into_bytes()));
        secrets.push(("serial".into(), handset.serial.into_bytes()));
        secrets.extend(handset.lines.into_iter().map(|l| ("imei".into(), l.imei.into_bytes())));
    }
    assert!(secrets.len() > 200, "{}", secrets.len());
    let search = aho_corasick::AhoCorasick::new(secrets.iter().map(|(_, s)| s)).unwrap();
    let itself = std::fs::read(ward.house.room_dir("vault").join("keys.cbor")).unwrap();
    assert!(search.is_match(&itself), "the search itself works");
    let mut looked = 0;
    for file in std::fs::read_dir(backup).unwrap().flatten() {
        let bytes = std::fs::read(file.path()).unwrap();
        if let Some(found) = search.find(&bytes) {
            panic!("{:?} holds a piece of {}", file.path(), secrets[found.pattern().as_usize()].0);
        }
        looked += 1;
    }
    assert_eq!(looked, 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rehearsal_opens_one_record_serves_and_leaves_nothing_and_fails_where_the_record_does_not_open() {
    let offline = Offline::new();
    let mut ward = Ward::open(&[&offline.setting(), "log.filter=error"]).await;
    ward.phone(0).await;
    let backup = offline.back_up(&ward.house);
    let scratch = TempDir::new().unwrap();
    let below = scratch.path().display().to_string();
    let rehearse = |backup: &Path| offline.restore(&ward.house, backup, &["--rehearse", "--scratch", &below]);
    let rehearsed = said(&rehearse(&backup));
    assert_eq!((&rehearsed["rehearsed"], &rehearsed["phones"]), (&Value::from(true), &Value::from(1)));
    assert!(rehearsed["opened_field"].is_string() && rehearsed["name_opened"] == true, "{rehearsed}");
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);

    // A backup that is whole, of a database whose rows don't open: made while the house stands still.
    ward.house.stop().unwrap();
    let database = rusqlite::Connection::open(ward.house.room_dir("core").join("core.db")).unwrap();
    let changed = database.execute("UPDATE sealed_rows SET ciphertext = randomblob(length(ciphertext))", []);
    assert!(changed.unwrap() > 5);
    drop(database);
    // Names are seconds apart.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let spoiled = offline.back_up(&ward.house);
    let output = offline.restore(&ward.house, &spoiled, &["--rehearse", "--scratch", &below]);
    assert_eq!(output.status.code(), Some(1));
    assert!(words(&output).contains("does not open"), "{}", words(&output));
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_that_dies_while_it_is_asked_ends_the_backup_by_its_name_and_the_next_one_is_made() {
    let offline = Offline::new();
    let ward = Ward::open(&[&offline.setting(), "log.filter=error"]).await;
    ward.invite(0).await;
    ward.house.signal_room("reader", "STOP").unwrap();
    let asked = ward.house.host_command(&["backup"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let unfinished = || {
        let dir = std::fs::read_dir(ward.house.data().join("backups"));
        dir.into_iter().flatten().flatten().any(|e| e.path().join("reader.tar.age").exists())
    };
    until("the reader to be asked", || async { unfinished() }).await;
    ward.house.kill_room("reader").unwrap();
    let output = asked.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(words(&output).contains("the reader's part: it died meanwhile"), "{}", words(&output));
    assert_eq!(std::fs::read_dir(ward.house.data().join("backups")).unwrap().count(), 0);
    // Once the reader is back.
    until("the reader to be back", || async { ward.house.pid("reader").is_some() }).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    offline.back_up(&ward.house);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_restores_with_a_newer_ledger_and_confirms() {
    let offline = Offline::new();
    let mut house =
        House::start(env!("CARGO_BIN_EXE_matron"), &[&offline.setting(), "log.filter=error"]).unwrap();
    let home = offline.dir.path().join("home");
    let run = |house: &House, arguments: &[&str]| house.matron_as(&home, arguments).unwrap();
    let done = |house: &House, arguments: &[&str]| {
        let output = run(house, arguments);
        assert!(output.status.success(), "{arguments:?}: {}", words(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let token = house.token().to_owned();
    done(&house, &["admin", "join", "--token", &token, "--name", "Ada Example"]);
    let invite =
        ["invite", "--name", "Mary Example", "--email", "m@example.org", "--group", "ward-7", "--yes"];
    done(&house, &invite);
    let none = run(&house, &["confirm-restore", "--reason", "restored after the flood", "--yes"]);
    assert!(words(&none).contains("no restore to confirm"), "{}", words(&none));
    let looked = |house: &House| {
        let report = house.on_host(&["doctor", "--json"]).unwrap();
        let report: Value = serde_json::from_slice(&report.stdout).unwrap();
        let checks = report["checks"].as_array().unwrap().clone();
        let check = checks.into_iter().find(|c| c["id"] == "backup").unwrap();
        (check["verdict"].as_str().unwrap().to_owned(), check["found"].to_string())
    };
    assert_eq!(looked(&house), ("warn".into(), "\"no backup was made yet\"".into()));
    let backup = offline.back_up(&house);
    let (verdict, found) = looked(&house);
    assert!(verdict == "ok" && found.contains(backup.to_str().unwrap()), "{verdict}: {found}");
    // Something that only the newer ledger knows.
    done(&house, &["standing", "make", "--yes"]);
    house.stop().unwrap();
    let kept = offline.dir.path().join("ledger.log");
    std::fs::copy(house.room_dir("vault").join("ledger.log"), &kept).unwrap();
    let entries = ledger::verify(&house.room_dir("vault")).unwrap().entries;
    house.move_out().unwrap();
    let restored = said(&offline.restore(&house, &backup, &["--ledger", kept.to_str().unwrap()]));
    assert_eq!(restored["ledger_entries"], entries + 1);
    house.run().unwrap();

    let refused = run(&house, &invite);
    assert_eq!(refused.status.code(), Some(3));
    assert!(words(&refused).contains("matron confirm-restore"), "{}", words(&refused));
    assert!(done(&house, &["health"]).contains("restored from a backup"));
    let confirmed = done(&house, &["confirm-restore", "--reason", "restored after the flood", "--yes"]);
    assert!(confirmed.contains("is confirmed"), "{confirmed}");
    done(&house, &invite);
    let standing = done(&house, &["standing", "list"]);
    assert!(standing.contains("renew"), "what was decided after the backup stands: {standing}");
    let ledger = done(&house, &["ledger", "tail"]);
    assert!(ledger.contains("THE HOUSE WAS RESTORED"), "{ledger}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restore_a_phone_that_renewed_since_is_served_and_one_that_enrolled_since_is_not() {
    let offline = Offline::new();
    let settings = [&offline.setting(), "log.filter=error", "enrolment.certificate_days=1"];
    let mut ward = Ward::open(&settings).await;
    let mut renewed = ward.phone(0).await;
    let backup = offline.back_up(&ward.house);
    let mut new = ward.phone(1).await;
    let before_ms = model::clock::DAY_MS - 2_000;
    let kind = OrderKind::MakeStanding {
        template: model::StandingTemplate::RenewCertificates { before_ms },
        cap_an_hour: 10,
        expires_at_ms: SystemClock.now_ms() + 100 * model::clock::DAY_MS,
    };
    ward.admin.order(kind, vec![], None).await.unwrap();
    let old = renewed.certificate_der().unwrap().to_vec();
    let end = Instant::now() + Duration::from_secs(30);
    while renewed.certificate_der().unwrap() == old {
        assert!(Instant::now() < end, "it was not asked to renew");
        ward.obey(&mut renewed).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    ward.obey(&mut renewed).await;

    ward.house.move_out().unwrap();
    said(&offline.restore(&ward.house, &backup, &[]));
    ward.house.run().unwrap();
    ward.admin.sign_in(0).await.unwrap();
    // The restored house knows nothing of the newer certificate, and its own CA made it.
    ward.obey(&mut renewed).await;
    assert_eq!(ward.device(id(&renewed)).await["state"], "enrolled");
    let mut connection = new.connect().await.unwrap();
    let turned_away = new.converse(&mut connection, Temper::obliging()).await;
    let word = turned_away.map(|t| t.ending).unwrap_err().to_string();
    assert!(
        !word.contains("401") && !word.contains("403"),
        "nothing that makes it drop its management: {word}"
    );
    assert!(ward.admin.call("GET", &format!("/api/v1/devices/{}", id(&new)), None).await.is_err());
    // Nor does it become one that is invited: it needs another link, and then it is enrolled.
    confirm(&ward, &ward.admin, vec![]).await.unwrap();
    let again = ward.phone(2).await;
    assert_eq!(ward.device(id(&again)).await["state"], "enrolled");
}

fn copy_of(backup: &Path, to: &Path) -> PathBuf {
    let copy = to.join(backup.file_name().unwrap());
    let _ = std::fs::remove_dir_all(&copy);
    std::fs::create_dir_all(&copy).unwrap();
    for file in std::fs::read_dir(backup).unwrap().flatten() {
        std::fs::copy(file.path(), copy.join(file.file_name())).unwrap();
    }
    copy
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_is_not_whole_is_refused_by_the_name_of_what_is_wrong() {
    let offline = Offline::new();
    let mut ward = Ward::open(&[&offline.setting(), "log.filter=error"]).await;
    ward.invite(0).await;
    let first = offline.back_up(&ward.house);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let second = offline.back_up(&ward.house);
    ward.house.move_out().unwrap();
    let away = TempDir::new().unwrap();
    let refused = |backup: &Path, identity: &Offline| {
        let output = identity.restore(&ward.house, backup, &[]);
        assert_eq!(output.status.code(), Some(1), "{}", words(&output));
        assert!(!ward.house.data().join("rooms").exists());
        words(&output)
    };
    for part in ["core", "vault", "door", "reader", "courier", "house"] {
        let copy = copy_of(&first, away.path());
        let path = copy.join(format!("{part}.tar.age"));
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 100]).unwrap();
        let said = refused(&copy, &offline);
        assert!(said.contains(&format!("the part {part} is not as it was made")), "{said}");
        // Parts of two backups.
        std::fs::copy(second.join(format!("{part}.tar.age")), &path).unwrap();
        let said = refused(&copy, &offline);
        assert!(said.contains(&format!("the part {part} is not as it was made")), "{said}");
        std::fs::remove_file(&path).unwrap();
        assert!(refused(&copy, &offline).contains("no such file"));
    }
    // A manifest that was changed to fit.
    let copy = copy_of(&first, away.path());
    let manifest = copy.join("manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let mut changed: Value = serde_json::from_str(&text).unwrap();
    let other: Value = serde_json::from_slice(&std::fs::read(second.join("manifest.json")).unwrap()).unwrap();
    changed["parts"][1] = other["parts"][1].clone();
    std::fs::write(&manifest, changed.to_string()).unwrap();
    assert!(refused(&copy, &offline).contains("not as the vault signed it"));
    std::fs::remove_file(&manifest).unwrap();
    assert!(refused(&copy, &offline).contains("no whole backup"));
    // Someone else's identity; a folder that is not empty.
    let said = refused(&first, &{
        let mut other = Offline::new();
        other.recipient.clone_from(&offline.recipient);
        other
    });
    assert!(said.contains("not encrypted to this identity"), "{said}");
    std::fs::create_dir_all(ward.house.data()).unwrap();
    std::fs::write(ward.house.data().join("notes.txt"), "mine").unwrap();
    assert!(refused(&first, &offline).contains("notes.txt"));
    assert_eq!(std::fs::read_dir(ward.house.data()).unwrap().count(), 2, "and the lock");
}

/// Runs it, and kills it after so long with all its children. Whether it had come to its end.
fn killed_after(mut command: std::process::Command, after: Duration) -> bool {
    use std::os::unix::process::CommandExt;
    let quiet = || std::process::Stdio::null();
    let mut child = command.process_group(0).stdout(quiet()).stderr(quiet()).spawn().unwrap();
    std::thread::sleep(after);
    let ended = child.try_wait().unwrap().is_some();
    let group = format!("-{}", child.id());
    if !ended {
        std::process::Command::new("kill").args(["-KILL", "--", &group]).status().unwrap();
    }
    child.wait().unwrap();
    ended
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_or_a_restore_killed_anywhere_leaves_nothing_that_looks_whole_and_can_be_done_again() {
    let offline = Offline::new();
    let mut ward = Ward::open(&[&offline.setting(), "log.filter=error"]).await;
    ward.phone(0).await;
    ward.house.stop().unwrap();
    let backups = ward.house.data().join("backups");
    // Without a house that runs the command makes it itself: killed ever later, until it comes to its end.
    let (mut cut, mut step) = (0, 0u32);
    loop {
        let command = ward.house.host_command(&["backup"]);
        let ended = killed_after(command, Duration::from_millis(u64::from(step) * 15));
        for entry in std::fs::read_dir(&backups).into_iter().flatten().flatten() {
            let name = entry.file_name().into_string().unwrap();
            if name.starts_with("matron-") {
                let rehearsed = offline.restore(&ward.house, &entry.path(), &["--rehearse"]);
                assert!(rehearsed.status.success(), "after {step}: {}", words(&rehearsed));
                std::fs::remove_dir_all(entry.path()).unwrap();
            } else {
                assert!(name.starts_with('.') && name.ends_with(".unfinished"), "{name}");
            }
        }
        if ended {
            break;
        }
        cut += 1;
        step += 1;
    }
    assert!(cut >= 3, "it was killed {cut} times on its way");
    let backup = offline.back_up(&ward.house);
    assert_eq!(std::fs::read_dir(&backups).unwrap().count(), 0, "what was left is cleared up");

    ward.house.move_out().unwrap();
    let (mut cut, mut step) = (0, 0u32);
    loop {
        let (path, identity) = (backup.display().to_string(), offline.identity());
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_matron"));
        command.args(["restore", &path, "--identity", &identity, "--data"]).arg(ward.house.data());
        let ended = killed_after(command, Duration::from_millis(u64::from(step) * 15));
        let rooms = ward.house.data().join("rooms");
        if rooms.exists() {
            break;
        }
        assert!(!ended);
        if ward.house.data().join("restore.unfinished").exists() {
            cut += 1;
            // No new house is begun there by mistake.
            let begun = ward.house.on_host(&["init"]).unwrap();
            assert!(words(&begun).contains("not finished"), "{}", words(&begun));
        }
        step += 1;
    }
    assert!(cut >= 2, "it was killed {cut} times on its way");
    ward.house.run().unwrap();
    let report = ledger::verify(&ward.house.room_dir("vault")).unwrap();
    let mut restores = 0;
    ledger::replay(&ward.house.room_dir("vault"), |r| {
        restores += usize::from(matches!(r.entry.body, ledger::Body::Restored { .. }));
    })
    .unwrap();
    assert_eq!(restores, 1, "of {} entries", report.entries);
}

/// What lies in the rooms' folders and is in no backup, with why.
const LEFT_OUT: &[(&str, &str)] = &[
    ("core/core.db-wal", "in the copy of the database"),
    ("core/core.db-shm", "made anew"),
    ("core/checkpoint", "fetched again; a restored ledger has an older one"),
    ("core/cosigned", "handed back again; of a ledger that went on"),
    ("vault/tree/", "a cache of the ledger, made anew at the start"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_file_of_a_room_is_in_its_part_or_on_the_list_of_what_is_left_out() {
    let offline = Offline::new();
    let ward = Ward::open(&[&offline.setting(), "log.filter=error"]).await;
    ward.phone(0).await;
    let parts: [(&str, &[&str]); 5] = [
        ("door", door::BACKED_UP),
        ("reader", reader::BACKED_UP),
        ("core", core_room::BACKED_UP),
        ("vault", vault::BACKED_UP),
        ("courier", courier::BACKED_UP),
    ];
    let rooms = ward.house.data().join("rooms");
    let files = files_below(&rooms);
    assert!(files.len() > 15);
    for (file, _) in files {
        let below = file.strip_prefix(&rooms).unwrap().to_str().unwrap().to_owned();
        let (room, name) = below.split_once('/').unwrap();
        let backed_up = parts.iter().any(|(r, files)| *r == room && files.contains(&name));
        let left_out =
            LEFT_OUT.iter().any(|(f, _)| *f == below || (f.ends_with('/') && below.starts_with(f)));
        assert!(backed_up != left_out, "{below}: put it into its room's BACKED_UP, or here with a reason");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn age_and_tar_of_other_makers_read_a_part_with_the_identity() {
    if !others::has("age") || !others::has("tar") {
        return;
    }
    let offline = Offline::new();
    let mut ward = Ward::open(&[&offline.setting(), "log.filter=error"]).await;
    ward.invite(0).await;
    let backup = offline.back_up(&ward.house);
    ward.house.stop().unwrap();
    let out = TempDir::new().unwrap();
    for part in ["house", "core", "door", "reader", "courier", "vault"] {
        let archive = out.path().join(format!("{part}.tar"));
        let opened = std::process::Command::new("age")
            .args(["--decrypt", "--identity", &offline.identity(), "--output"])
            .arg(&archive)
            .arg(backup.join(format!("{part}.tar.age")))
            .output()
            .unwrap();
        assert!(opened.status.success(), "{part}: {}", words(&opened));
        let dir = out.path().join(part);
        std::fs::create_dir(&dir).unwrap();
        let unpacked =
            std::process::Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&dir).output().unwrap();
        assert!(unpacked.status.success(), "{part}: {}", words(&unpacked));
    }
    for (room, file) in
        [("vault", "keys.cbor"), ("vault", "persons.keys"), ("door", "delivery.key"), ("reader", "ra.key")]
    {
        let there = std::fs::read(out.path().join(room).join(file)).unwrap();
        assert!(there == std::fs::read(ward.house.room_dir(room).join(file)).unwrap(), "{room}/{file}");
    }
    assert!(ledger::verify(&out.path().join("vault")).unwrap().entries > 2);
}
