//! Disks that are full, or can't be written: a named error, service for what needs no disk, and
//! recovery without a person. Each room's folder lies on a small file system of its own for it.

use std::process::Command as Program;

use super::*;

/// A room's folder on a tmpfs of 8 MB.
struct SmallDisk {
    at: std::path::PathBuf,
}

impl SmallDisk {
    /// Moves a stopped house's room there. `None` where mounting is not allowed.
    fn under(house: &House, room: &str) -> Option<Self> {
        let at = house.room_dir(room);
        let aside = at.with_extension("aside");
        std::fs::rename(&at, &aside).unwrap();
        std::fs::create_dir(&at).unwrap();
        let mounted = Program::new("mount")
            .args(["-t", "tmpfs", "-o", "size=8m,mode=0700", "none"])
            .arg(&at)
            .status()
            .is_ok_and(|s| s.success());
        if !mounted {
            std::fs::remove_dir(&at).unwrap();
            std::fs::rename(&aside, &at).unwrap();
            skipped::not_possible("mounting a small file system needs root");
            return None;
        }
        assert!(Program::new("cp").arg("-a").arg(aside.join(".")).arg(&at).status().unwrap().success());
        Some(Self { at })
    }

    /// Takes all the space that is left.
    fn fill(&self) {
        let _ = std::fs::write(self.at.join("filler"), vec![0u8; 9 << 20]);
        assert!(std::fs::metadata(self.at.join("filler")).unwrap().len() > 0);
    }

    fn free(&self) {
        std::fs::remove_file(self.at.join("filler")).unwrap();
    }

    /// Files that are open for writing forbid `ro`.
    fn remount(&self, how: &str) -> bool {
        let mut mount = Program::new("mount");
        mount.args(["-o", &format!("remount,{how}")]).arg(&self.at).stderr(std::process::Stdio::null());
        mount.status().unwrap().success()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Program::new("umount").args(["-l"]).arg(&self.at).status();
    }
}

/// A house with one phone, and a room of it on a small disk.
async fn with_small_disk(room: &str) -> Option<(Ward, Phone, SmallDisk)> {
    let mut ward = Ward::open(&[]).await;
    let phone = ward.phone(0).await;
    ward.house.stop().unwrap();
    let disk = SmallDisk::under(&ward.house, room)?;
    ward.house.run().unwrap();
    Some((ward, phone, disk))
}

async fn lock(ward: &Ward, phone: &Phone) -> anyhow::Result<Value> {
    let secrets = CommandSecrets::default();
    let targets = [id(phone)];
    let asked = ward.command(Command::DeviceLock, &targets, &secrets);
    // While core is away its listener is kept, and who asks waits.
    tokio::time::timeout(Duration::from_secs(15), asked).await?
}

/// Orders until one is refused: some room was left in a file.
async fn lock_until_refused(ward: &Ward, phone: &Phone) -> (usize, String) {
    for accepted in 0..2000 {
        if let Err(e) = lock(ward, phone).await {
            return (accepted, e.to_string());
        }
    }
    panic!("a full disk is never noticed");
}

/// Whatever is ordered now, and before, is obeyed.
async fn all_is_well_again(ward: &Ward, phone: &mut Phone, accepted: usize) {
    let ended = Instant::now() + Duration::from_secs(60);
    while let Err(e) = lock(ward, phone).await {
        assert!(Instant::now() < ended, "{e}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let mut obeyed = 0;
    while obeyed < accepted + 1 {
        assert!(Instant::now() < ended, "{obeyed} of {accepted} orders were obeyed");
        if let Ok(mut connection) = phone.connect().await
            && let Ok(talk) = phone.converse(&mut connection, Temper::obliging()).await
        {
            obeyed += talk.commands.iter().filter(|(t, _)| t == "DeviceLock").count();
            assert_eq!(talk.repeated, 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vault_whose_disk_is_full_decides_nothing_says_so_and_goes_on_when_there_is_space() {
    let Some((ward, mut phone, disk)) = with_small_disk("vault").await else { return };
    disk.fill();
    let (accepted, why) = lock_until_refused(&ward, &phone).await;
    assert!(why.contains("503"), "{why}");
    // Phones go on: an idle one, and a free query.
    ward.admin.ask(&["SecurityInfo"], &[id(&phone)]).await.unwrap();
    let talk = ward.obey(&mut phone).await;
    assert!(talk.commands.iter().any(|(t, _)| t == "SecurityInfo"), "{:?}", talk.commands);
    let obeyed = talk.commands.iter().filter(|(t, _)| t == "DeviceLock").count();
    let health = ward.admin.call("GET", "/api/v1/health", None).await.unwrap();
    assert_eq!(health["status"], "degraded", "{health}");
    assert!(ward.house.log().contains("No space left"), "{}", ward.house.log());
    disk.free();
    all_is_well_again(&ward, &mut phone, accepted - obeyed).await;
    ledger::verify(&ward.house.room_dir("vault")).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_core_whose_disk_is_full_turns_phones_away_for_a_while_and_loses_nothing() {
    let Some((ward, mut phone, disk)) = with_small_disk("core").await else { return };
    ward.admin.ask(&["SecurityInfo"], &[id(&phone)]).await.unwrap();
    disk.fill();
    let (accepted, why) = lock_until_refused(&ward, &phone).await;
    assert!(why.contains("503") && why.contains("Make room"), "{why}");
    // What needs no writing goes on, and health says what is wrong.
    assert_eq!(ward.device(id(&phone)).await["state"], "enrolled");
    let health = ward.admin.call("GET", "/api/v1/health", None).await.unwrap();
    assert_eq!(health["status"], "degraded", "{health}");
    assert!(health["database"].as_str().unwrap().contains("disk"), "{health}");
    // A phone that has something to report is told to come again: 503, never an answer that ends its management.
    let mut connection = phone.connect().await.unwrap();
    let told = phone.converse(&mut connection, Temper::obliging()).await;
    assert!(told.as_ref().is_err_and(|e| e.to_string().contains("503")), "{told:?}");
    assert!(ward.house.log().contains("database or disk is full"), "{}", ward.house.log());
    disk.free();
    all_is_well_again(&ward, &mut phone, accepted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_can_not_be_written_is_survived_by_vault_and_core() {
    for room in ["vault", "core"] {
        let Some((ward, mut phone, disk)) = with_small_disk(room).await else { return };
        // As when a system came up after an error: the room starts on a disk that it can't write.
        while !disk.remount("ro") {
            let _ = ward.house.kill_room(room);
        }
        let (accepted, why) = lock_until_refused(&ward, &phone).await;
        // A room that can't write at its start has no answer: who waits for it hears of that, or gives up.
        assert!(why.contains("503") || why.contains("elapsed"), "{room}: {why}");
        until("the log to name it", || async {
            let log = ward.house.log();
            ["Read-only file system", "its disk or the file can't be written"]
                .iter()
                .any(|why| log.contains(why))
        })
        .await;
        assert!(disk.remount("rw"));
        all_is_well_again(&ward, &mut phone, accepted).await;
    }
}
