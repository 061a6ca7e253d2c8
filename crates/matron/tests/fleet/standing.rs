//! Profiles that a standing order installs, with rooms that are killed amid it, and what ends it meanwhile.

use super::*;
use model::clock::{DAY_MS, HOUR_MS};
use model::{
    Clock as _, DeviceGroupDefinition, DeviceGroupId, DeviceGroupName, OrderId, ProfileId, StandingInstall,
    StandingTemplate,
};

const MILD: &[u8] = include_bytes!("../../../apple/tests/data/profile_mild.mobileconfig");
const PROFILE: ProfileId = ProfileId([0x77; 16]);
const GROUP: DeviceGroupId = DeviceGroupId([0x33; 16]);

impl Ward {
    async fn save_mild(&self) {
        let secrets = encode(&order::SaveSecrets { profile: MILD.to_vec(), salt: vec![1; 32] });
        self.admin.order(OrderKind::SaveProfile { profile: PROFILE }, vec![], Some(&secrets)).await.unwrap();
    }

    async fn save_list(&self, phones: &[EnrolmentId]) {
        let kind = OrderKind::SaveDeviceGroup {
            group: GROUP,
            replaces: None,
            name: DeviceGroupName::new("Theatre 4").unwrap(),
            definition: DeviceGroupDefinition::List,
        };
        self.admin.order(kind, phones.to_vec(), None).await.unwrap();
    }

    async fn let_install(&self, cap_an_hour: u32) -> OrderId {
        let told =
            self.admin.call("GET", &format!("/api/v1/profiles/{PROFILE}/versions/1"), None).await.unwrap();
        let shown = order::ShownVersion {
            saved_by: told["version"]["order"].as_str().unwrap().parse().unwrap(),
            erasing: false,
            because: serde_json::from_value(told["because"].clone()).unwrap(),
            outline: serde_json::from_value(told["outline"].clone()).unwrap(),
        };
        let install = StandingInstall {
            profile: PROFILE,
            version: 1,
            identifier: shown.outline.identifier.clone(),
            shown: shown.digest(),
            device_group: GROUP,
            name: DeviceGroupName::new("Theatre 4").unwrap(),
            home: None,
        };
        let template = StandingTemplate::InstallSaved { install: Box::new(install) };
        let expires_at_ms = SystemClock.now_ms() + 100 * DAY_MS;
        let kind = OrderKind::MakeStanding { template, cap_an_hour, expires_at_ms };
        let (said, _) = self.admin.order(kind, vec![], None).await.unwrap();
        said["order"].as_str().unwrap().parse().unwrap()
    }

    /// How often the vault acted by itself.
    async fn acts(&self) -> usize {
        let said = self.admin.call("GET", "/api/v1/ledger?limit=200&kind=standing_used", None).await;
        said.map_or(0, |said| said["items"].as_array().unwrap().len())
    }

    async fn waits(&self, phone: EnrolmentId) -> usize {
        let path = format!("/api/v1/devices/{phone}/commands?state=queued");
        let said = self.admin.call("GET", &path, None).await;
        said.map_or(0, |said| said["items"].as_array().unwrap().len())
    }

    /// The room dies, and answers again.
    async fn killed(&self, room: &str) {
        self.house.kill_room(room).unwrap();
        until("the rooms to be back", || async {
            let health = self.admin.call("GET", "/api/v1/health", None).await;
            health.is_ok_and(|h| h["vault"]["answers"] == true && h["vault"]["following"] == "following")
        })
        .await;
    }
}

fn installs(talk: &Talk) -> usize {
    talk.commands.iter().filter(|(t, said)| t == "InstallProfile" && *said == "Acknowledged").count()
}

fn hour() -> i64 {
    SystemClock.now_ms().div_euclid(HOUR_MS)
}

/// Not so near the end of an hour that its cap is another one's before this is over.
async fn within_an_hour() {
    let left_ms = HOUR_MS - SystemClock.now_ms().rem_euclid(HOUR_MS);
    if left_ms < 90_000 {
        tokio::time::sleep(Duration::from_millis(left_ms.unsigned_abs() + 100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_round_of_installing_amid_which_rooms_are_killed_gives_each_phone_one_command_within_the_cap() {
    let ward = Ward::open(&[]).await;
    let mut phones = [ward.phone(0).await, ward.phone(1).await, ward.phone(2).await];
    let ids = phones.each_ref().map(id);
    ward.save_mild().await;
    ward.save_list(&ids).await;
    within_an_hour().await;
    let began = hour();
    // The vault stands still: core's round waits for it, and dies so.
    let standing = ward.let_install(2).await;
    ward.house.signal_room("vault", "STOP").unwrap();
    tokio::time::sleep(Duration::from_secs(11)).await;
    ward.house.kill_room("core").unwrap();
    ward.house.signal_room("vault", "CONT").unwrap();
    for room in ["vault", "core", "vault", "core"] {
        ward.killed(room).await;
    }
    until("what the cap allows to be done", || async { ward.acts().await == 2 }).await;
    // One more round, which the cap holds back.
    ward.killed("core").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut given = Vec::new();
    for phone in &mut phones {
        given.push(installs(&ward.obey(phone).await));
    }
    assert_eq!(hour(), began, "the hour ended amid the test");
    assert_eq!((given.iter().sum::<usize>(), given.iter().max()), (2, Some(&1)), "{given:?}");
    assert_eq!(ward.acts().await, 2);

    // It ends: what is left of it is nothing. Another one goes on with whoever lacks it.
    ward.admin.order(OrderKind::EndStanding { order: standing }, vec![], None).await.unwrap();
    let has_it = given.iter().position(|n| *n == 1).unwrap();
    let identifier = apple::profile::inspect(MILD).unwrap().identifier;
    let holder = simulate::people(7, 3).swap_remove(has_it).name;
    let named = CommandSecrets { holder_name: Some(holder), ..Default::default() };
    ward.command(Command::RemoveProfile { identifier }, &[ids[has_it]], &named).await.unwrap();
    ward.let_install(10).await;
    until("the third to be asked", || async { ward.acts().await == 3 }).await;
    ward.killed("core").await;
    let mut again = Vec::new();
    for phone in &mut phones {
        again.push(installs(&ward.obey(phone).await));
    }
    let lacked: Vec<usize> = given.iter().map(|n| 1 - n).collect();
    assert_eq!(again, lacked, "nobody twice, and not whom it was taken from");
    assert_eq!(ward.acts().await, 3);
    let report = ledger::verify(&ward.house.room_dir("vault")).unwrap();
    assert!(report.entries > 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_under_a_standing_order_that_ends_is_called_back_and_a_newer_one_asks_again() {
    let ward = Ward::open(&[]).await;
    let mut phone = ward.phone(0).await;
    let on = id(&phone);
    ward.save_mild().await;
    ward.save_list(&[on]).await;
    let standing = ward.let_install(5).await;
    until("the phone to be asked", || async { ward.waits(on).await == 1 }).await;
    ward.admin.order(OrderKind::EndStanding { order: standing }, vec![], None).await.unwrap();
    until("it to be called back", || async { ward.waits(on).await == 0 }).await;
    assert_eq!(installs(&ward.obey(&mut phone).await), 0);
    ward.let_install(5).await;
    until("the phone to be asked again", || async { ward.waits(on).await == 1 }).await;
    // Taken out of the library, the standing order says that it does nothing.
    ward.admin.order(OrderKind::EndProfile { profile: PROFILE }, vec![], None).await.unwrap();
    let listed = ward.admin.call("GET", "/api/v1/standing", None).await.unwrap();
    assert_eq!(listed["items"][0]["rests"], "profile_ended", "{listed}");
    let health = ward.admin.call("GET", "/api/v1/health", None).await.unwrap();
    assert!(
        health["warnings"].to_string().contains("standing order(s) that install a profile do nothing"),
        "{health}"
    );
}
