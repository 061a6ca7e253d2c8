//! Device groups end to end: saved by an order, followed by core, filtered by, held to a ward manager's own phones, and
//! there again after a restart.

use super::*;
use model::{
    Condition, DeviceGroupDefinition, DeviceGroupId, DeviceGroupName, DeviceGroupRule, Group, Join, OrderId,
    OsVersion, Role,
};
use order::{InviteAnswer, InviteSecrets};

const OLD: DeviceGroupId = DeviceGroupId([7; 16]);
const LIST: DeviceGroupId = DeviceGroupId([8; 16]);

fn rule(conditions: Vec<Condition>) -> DeviceGroupDefinition {
    DeviceGroupDefinition::Rule(DeviceGroupRule { join: Join::All, conditions })
}

impl Ward {
    async fn save(
        &self,
        group: DeviceGroupId,
        replaces: Option<OrderId>,
        name: &str,
        definition: DeviceGroupDefinition,
        phones: &[EnrolmentId],
    ) -> anyhow::Result<OrderId> {
        let name = DeviceGroupName::new(name).unwrap();
        let kind = OrderKind::SaveDeviceGroup { group, replaces, name, definition };
        let (said, _) = self.admin.order(kind, phones.to_vec(), None).await?;
        Ok(said["order"].as_str().unwrap().parse().unwrap())
    }

    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.admin.call("GET", path, None).await
    }

    async fn in_group(&self, group: DeviceGroupId) -> Vec<String> {
        let found = self.get(&format!("/api/v1/devices?device_group={group}")).await.unwrap();
        let items = found["items"].as_array().unwrap().iter();
        items.map(|d| d["enrolment"].as_str().unwrap().to_owned()).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_group_is_saved_by_order_holds_who_fits_and_stands_over_a_restart_of_every_room() {
    let ward = Ward::open(&[]).await;
    let (one, two) = (ward.phone(0).await, ward.phone(1).await);
    let ids = [id(&one), id(&two)].map(|id| id.to_string());
    let newest: OsVersion = "999".parse().unwrap();
    let old =
        || rule(vec![Condition::OsBelow(newest), Condition::HomeGroups(vec![Group::new("bench").unwrap()])]);

    // Before anyone saves it.
    let preview = ward.get("/api/v1/device-groups/preview?os_below=999&home_group=bench").await.unwrap();
    assert_eq!((&preview["phones"], preview["items"].as_array().unwrap().len()), (&2.into(), 2));
    assert_eq!(preview["definition"], serde_json::to_value(old()).unwrap());
    let wrong = ward.get("/api/v1/device-groups/preview?os_below=seventeen").await.unwrap_err().to_string();
    assert!(wrong.contains("an OS version"), "{wrong}");

    let saved = ward.save(OLD, None, "Old systems", old(), &[]).await.unwrap();
    ward.save(LIST, None, "Theatre 4", DeviceGroupDefinition::List, &[id(&two)]).await.unwrap();
    let all = ward.get("/api/v1/device-groups?counts=true").await.unwrap();
    let told: Vec<_> =
        all["items"].as_array().unwrap().iter().map(|g| (&g["name"], &g["phones"], &g["kind"])).collect();
    assert_eq!(
        told,
        [
            (&"Old systems".into(), &2.into(), &"rule".into()),
            (&"Theatre 4".into(), &1.into(), &"list".into())
        ]
    );
    assert_eq!(ward.in_group(OLD).await, ids);
    assert_eq!(ward.in_group(LIST).await, ids[1..]);
    let phones = ward.get(&format!("/api/v1/device-groups/{OLD}/phones")).await.unwrap();
    assert_eq!(phones["phones"], serde_json::to_value(&ids).unwrap());

    // Somebody's change is not lost unseen, and two groups have two names.
    let lost = ward.save(OLD, None, "Old systems", old(), &[]).await.unwrap_err().to_string();
    assert!(lost.contains("\"refusal\":140"), "{lost}");
    let taken = ward.save(LIST, None, "OLD SYSTEMS", old(), &[]).await.unwrap_err().to_string();
    assert!(taken.contains("\"refusal\":14"), "{taken}");
    ward.save(OLD, Some(saved), "Older systems", old(), &[]).await.unwrap();

    // A phone that leaves is in none.
    let mut two = two;
    let mut connection = two.connect().await.unwrap();
    two.check_out(&mut connection).await.unwrap();
    until("the phone to have left", || async { ward.in_group(LIST).await.is_empty() }).await;
    assert_eq!(ward.in_group(OLD).await, ids[..1]);
    let list = ward.get(&format!("/api/v1/device-groups/{LIST}")).await.unwrap();
    assert_eq!((&list["phones"], &list["listed"]), (&0.into(), &1.into()));

    // The vault replays them, core has them.
    for room in ["vault", "core"] {
        ward.house.kill_room(room).unwrap();
    }
    until("the rooms to be back", || async { ward.get("/api/v1/device-groups").await.is_ok() }).await;
    let end = OrderKind::EndDeviceGroup { group: LIST };
    until("the vault to answer", || async { ward.admin.order(end.clone(), vec![], None).await.is_ok() })
        .await;
    let left = ward.get("/api/v1/device-groups").await.unwrap();
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
    assert_eq!(left["items"][0]["name"], "Older systems");
    for path in [format!("/api/v1/device-groups/{LIST}"), format!("/api/v1/devices?device_group={LIST}")] {
        assert!(ward.get(&path).await.unwrap_err().to_string().contains("404"), "{path}");
    }
    let entries = ward.get("/api/v1/ledger?kind=device_group_saved").await.unwrap();
    assert_eq!(entries["items"].as_array().unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ward_manager_finds_own_phones_in_a_device_group_and_none_of_the_others() {
    let ward = Ward::open(&[]).await;
    let phones = [ward.phone(0).await, ward.phone(1).await];
    let kind = OrderKind::Invite { group: Group::new("ward-8").unwrap(), valid_ms: model::clock::DAY_MS };
    let secrets = InviteSecrets { name: "Mary Example".into(), email: "mary@example.org".into() };
    let (_, answer) = ward.admin.order(kind, vec![], Some(&encode(&secrets))).await.unwrap();
    let answer: InviteAnswer = order::decode(&answer).unwrap();
    let other = format!("{}/enrol/{}", answer.base_url, answer.link_secret);
    let mut elsewhere = Phone::new(7, 2);
    elsewhere.enrol(&other, &ward.network, &ward.keys, &SystemClock).await.unwrap();
    let all: Vec<EnrolmentId> = phones.iter().chain([&elsewhere]).map(id).collect();
    let list = || DeviceGroupDefinition::List;
    ward.save(LIST, None, "Trial", list(), &all).await.unwrap();
    ward.save(OLD, None, "The bench alone", list(), &all[..1]).await.unwrap();

    let home = Group::new("ward-8").ok();
    let key = ward.admin.add_person(&[ward.admin.signs_with()], Role::WardManager, home).await.unwrap();
    let mut manager = ward.admin.beside(key);
    manager.sign_in(0).await.unwrap();
    let get = async |path: String| manager.call("GET", &path, None).await;
    let groups = get("/api/v1/device-groups?counts=true".into()).await.unwrap();
    let told: Vec<_> = groups["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|g| (&g["name"], &g["phones"], &g["listed"]))
        .collect();
    assert_eq!(told, [(&"Trial".into(), &1.into(), &Value::Null)]);
    let own = get(format!("/api/v1/devices?device_group={LIST}")).await.unwrap();
    assert_eq!(own["items"].as_array().unwrap().len(), 1);
    assert_eq!(own["items"][0]["enrolment"], all[2].to_string());
    let own = get(format!("/api/v1/device-groups/{LIST}/phones")).await.unwrap();
    assert_eq!(own["phones"], serde_json::to_value(&all[2..]).unwrap());
    let tried = get("/api/v1/device-groups/preview?os_at_least=1".into()).await.unwrap();
    assert_eq!(tried["phones"], 1);
    for path in ["", "/phones"] {
        let none = get(format!("/api/v1/device-groups/{OLD}{path}")).await.unwrap_err().to_string();
        assert!(none.contains("404"), "{none}");
    }
    assert!(
        get(format!("/api/v1/devices?device_group={OLD}")).await.unwrap_err().to_string().contains("404")
    );
}
