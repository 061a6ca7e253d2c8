//! Another root key in a running house: rooms are led to it, phones notice nothing, and backups of before and after are told apart.

use super::*;
use model::KeyName;
use testkit::softhsm::SoftHsm;

use crate::backup::Offline;
use crate::keys::in_time;
use crate::token::ward_on;

const PINNING: [&str; 4] = ["door", "reader", "core", "courier"];

fn pinned(house: &House, room: &str) -> Vec<u8> {
    std::fs::read(house.room_dir(room).join("root.pub")).unwrap_or_default()
}

async fn change_root(ward: &Ward) {
    ward.admin.order(OrderKind::RotateKeys { keys: vec![KeyName::Root] }, vec![], None).await.unwrap();
}

/// Every room has pinned one other than `before`, all of them the same.
async fn led_from(house: &House, before: &[u8]) -> Vec<u8> {
    in_time("every room to pin the new root key", || async {
        let now = pinned(house, "core");
        now != before && PINNING.iter().all(|room| pinned(house, room) == now)
    })
    .await;
    pinned(house, "core")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_that_are_killed_meanwhile_pin_the_new_root_key_and_a_backup_of_then_restores() {
    let offline = Offline::new();
    let mut ward = Ward::open(&[&offline.setting()]).await;
    let mut phone = ward.phone(0).await;
    let first = pinned(&ward.house, "core");
    let early = offline.back_up(&ward.house);
    // A warrant of before the change waits for the phone.
    ward.command(Command::DeviceLock, &[id(&phone)], &CommandSecrets::default()).await.unwrap();
    change_root(&ward).await;
    for room in ["core", "vault", "door", "reader", "courier"] {
        ward.house.kill_room(room).unwrap();
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    let second = led_from(&ward.house, &first).await;
    let talk = ward.obey(&mut phone).await;
    assert!(talk.commands.iter().any(|(what, _)| what == "DeviceLock"), "{:?}", talk.commands);
    change_root(&ward).await;
    ward.house.kill().unwrap();
    ward.house.run().unwrap();
    let third = led_from(&ward.house, &second).await;
    ward.admin.sign_in(0).await.unwrap();
    ward.obey(&mut phone).await;

    let late = offline.back_up(&ward.house);
    let vault = ward.house.room_dir("vault");
    let kept = tempfile::NamedTempFile::new().unwrap();
    std::fs::copy(vault.join(ledger::FILE_NAME), kept.path()).unwrap();
    ward.house.move_out().unwrap();
    let refused = offline.restore(&ward.house, &early, &["--ledger", kept.path().to_str().unwrap()]);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && why.contains("a root key that was made after this backup"), "{why}");
    let restored = offline.restore(&ward.house, &late, &[]);
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    ward.house.run().unwrap();
    assert!(PINNING.iter().all(|room| pinned(&ward.house, room) == third));
    ward.obey(&mut phone).await;
    ward.house.stop().unwrap();
    assert!(ledger::verify(&ward.house.room_dir("vault")).unwrap().entries > 10);
}

#[tokio::test]
async fn a_root_key_on_a_token_is_followed_by_another_there() {
    let Some(token) = SoftHsm::make() else { return };
    let mut ward = ward_on(&token, &[]).await;
    let mut phone = ward.phone(0).await;
    let first = pinned(&ward.house, "core");
    change_root(&ward).await;
    let second = led_from(&ward.house, &first).await;
    change_root(&ward).await;
    ward.house.kill_room("hsm").unwrap();
    let third = led_from(&ward.house, &second).await;
    ward.house.stop().unwrap();
    ward.house.run().unwrap();
    ward.admin.sign_in(0).await.unwrap();
    ward.command(Command::DeviceLock, &[id(&phone)], &CommandSecrets::default()).await.unwrap();
    ward.obey(&mut phone).await;
    assert_eq!(pinned(&ward.house, "door"), third);
    // A statement of after the start is the newest key's.
    let said = ward.admin.call("GET", "/api/v1/keys", None).await.unwrap();
    assert!(said["epoch"].as_u64() >= Some(3), "{said}");
}
