//! What a stolen key is good for, what two people do together, and how it is stopped in time.

use super::*;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ledger::{Body, Effect};
use model::{Duty, Group, Limit, Role};
use order::{Ed25519Secret, SignedOrder, decode};
use simulate::Ending;

/// Enough for a hospital; debug builds enrol them in some seconds.
const FLEET: u32 = 500;

fn erase() -> OrderKind {
    let command = Command::EraseDevice { preserve_data_plan: false, disallow_proximity_setup: false };
    OrderKind::Command { command }
}

fn lock() -> OrderKind {
    OrderKind::Command { command: Command::DeviceLock }
}

fn named(index: u32) -> Vec<u8> {
    let name = simulate::people(7, index + 1).pop().unwrap().name;
    encode(&CommandSecrets { holder_name: Some(name), ..CommandSecrets::default() })
}

fn bodies(ward: &Ward, wanted: impl Fn(&Body) -> bool) -> usize {
    let mut found = 0;
    ledger::replay(&ward.house.room_dir("vault"), |r| found += usize::from(wanted(&r.entry.body))).unwrap();
    found
}

impl Ward {
    /// So many enrolled phones, with the number of the person who holds each.
    async fn fleet(&self, phones: u32) -> Vec<(u32, Phone)> {
        let mut links = Vec::new();
        for person in simulate::people(7, phones) {
            links.push(self.admin.invite(&person.name, &person.email).await.unwrap());
        }
        let order: std::collections::HashMap<EnrolmentId, u32> = {
            let mut by_id = std::collections::HashMap::new();
            let mut cursor = String::new();
            loop {
                let path = format!("/api/v1/invitations?limit=200{cursor}");
                let page = self.admin.call("GET", &path, None).await.unwrap();
                for i in page["items"].as_array().unwrap() {
                    let n = u32::try_from(by_id.len()).unwrap();
                    by_id.insert(i["enrolment"].as_str().unwrap().parse().unwrap(), n);
                }
                match page["next_cursor"].as_str() {
                    Some(c) => cursor = format!("&cursor={c}"),
                    None => break by_id,
                }
            }
        };
        let clock = Arc::new(SystemClock);
        let (_, made) = simulate::load::enrol(links, 7, &self.network, &self.keys, clock, 16).await;
        let mut fleet: Vec<_> = made.into_iter().map(|p| (order[&id(&p)], p)).collect();
        fleet.sort_by_key(|(n, _)| *n);
        assert_eq!(fleet.len(), phones as usize);
        fleet
    }

    /// All phones come and obey; how many were erased by it.
    async fn all_obey(&self, fleet: &mut [(u32, Phone)]) -> usize {
        let mut erased = 0;
        for (_, phone) in fleet {
            let Ok(mut connection) = phone.connect().await else { continue };
            let talk = phone.converse(&mut connection, Temper::obliging()).await;
            erased += usize::from(talk.is_ok_and(|t| t.ending == Ending::Erased));
        }
        erased
    }

    async fn pending(&self) -> Vec<Value> {
        let said = self.admin.call("GET", "/api/v1/orders/pending?limit=200", None).await.unwrap();
        said["items"].as_array().unwrap().clone()
    }

    /// Signs an order that waits, as `matron approve` does: the bytes as the server has them.
    async fn approve(&self, order: &str, key: &Ed25519Secret) -> anyhow::Result<Value> {
        let told = self.admin.call("GET", &format!("/api/v1/orders/{order}/signed"), None).await?;
        let bytes = STANDARD.decode(told["signed_order"].as_str().unwrap())?;
        let mut signed: SignedOrder = decode(&bytes)?;
        signed.add_signature(key);
        self.admin.submit(&signed, None).await
    }
}

#[tokio::test]
async fn one_stolen_administrators_key_wipes_a_handful_of_five_hundred_phones_and_the_ledger_shows_the_rest()
{
    let mut ward = Ward::open(&["log.filter=error"]).await;
    let mut fleet = ward.fleet(FLEET).await;
    ward.admin.add_person(&[ward.admin.key()], Role::Administrator, None).await.unwrap();
    let mut accepted = 0;
    for (n, (person, phone)) in fleet.iter().enumerate() {
        if n == 200 {
            ward.house.kill_room("vault").unwrap();
        }
        if n == 300 {
            ward.house.kill().unwrap();
            ward.house.run().unwrap();
        }
        let mut said = ward.admin.order(erase(), vec![id(phone)], Some(&named(*person))).await;
        while said.as_ref().is_err_and(|e| format!("{e:#}").contains("503")) {
            tokio::time::sleep(Duration::from_millis(100)).await;
            said = ward.admin.order(erase(), vec![id(phone)], Some(&named(*person))).await;
        }
        match said {
            Ok(_) => accepted += 1,
            Err(e) => {
                let text = format!("{e:#}");
                assert!(text.contains("\"refusal\":60") || text.contains("too_many_pending"), "{text}");
            }
        }
    }
    assert_eq!(accepted, 3, "an hour's budget of one administrator");
    assert_eq!(ward.all_obey(&mut fleet).await, 3);
    let wiped = bodies(&ward, |b| {
        matches!(b, Body::OrderAccepted { effect: Effect::Commanded { erasing: true, .. }, .. })
    });
    assert_eq!(wiped, 3);
    let held = bodies(&ward, |b| matches!(b, Body::OrderHeld { duty: Duty::Erase, .. }));
    assert!(held >= FLEET as usize - 3, "{held} tries stand in the ledger");
    assert_eq!(ward.pending().await.len(), 50, "what one person may have waiting");
}

#[tokio::test]
async fn two_administrators_wipe_twenty_phones_after_a_cooling_off_and_what_is_called_back_in_time_is_not_done()
 {
    let ward = Ward::open(&["log.filter=error"]).await;
    let mut fleet = ward.fleet(25).await;
    let ben = ward.admin.add_person(&[ward.admin.key()], Role::Administrator, None).await.unwrap();
    // The shortest that can be set.
    let limit = Limit::CoolingOff { duty: Duty::Erase };
    let shorter = |value| OrderKind::SetLimit { limit, value };
    let alone = ward.admin.order(shorter(60), vec![], None).await.unwrap_err();
    assert!(format!("{alone:#}").contains("\"refusal\":60"), "{alone:#}");
    let too_short = ward.admin.order_by(&[ward.admin.key(), &ben], shorter(5), vec![], None).await;
    assert!(format!("{:#}", too_short.unwrap_err()).contains("\"refusal\":66"));
    ward.admin.order_by(&[ward.admin.key(), &ben], shorter(60), vec![], None).await.unwrap();

    let ids: Vec<EnrolmentId> = fleet.iter().map(|(_, p)| id(p)).collect();
    let waits = ward.admin.order(erase(), ids[..20].to_vec(), None).await.unwrap_err();
    assert!(format!("{waits:#}").contains("many_phones"), "{waits:#}");
    let pending = ward.pending().await;
    let twenty = pending.iter().find(|o| o["targets"] == 20).unwrap()["order"].as_str().unwrap().to_owned();
    assert!(ward.approve(&twenty, ward.admin.key()).await.is_err(), "not by the same person");
    let stranger = Ed25519Secret::from_seed([9; 32]).unwrap();
    assert!(ward.approve(&twenty, &stranger).await.is_err());
    let approved = ward.approve(&twenty, &ben).await.unwrap();
    let cools_until_ms = approved["cools_until_ms"].as_i64().unwrap();
    let five =
        ward.admin.order_by(&[&ben, ward.admin.key()], erase(), ids[20..].to_vec(), None).await.unwrap();
    let five = five["order"].as_str().unwrap().to_owned();
    assert_eq!(ward.all_obey(&mut fleet).await, 0, "both cool off");
    let shown = ward.admin.call("GET", &format!("/api/v1/orders/{twenty}"), None).await.unwrap();
    assert_eq!((&shown["state"], &shown["signatures"]), (&"cooling_off".into(), &2.into()));

    ward.admin.order(OrderKind::Recall { order: five.parse().unwrap() }, vec![], None).await.unwrap();
    for room in ["vault", "core"] {
        ward.house.kill_room(room).unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let left = cools_until_ms - SystemClock.now_ms();
    assert!(left > 5_000, "the machine is too slow for this test: {left} ms of the cooling-off are left");
    assert_eq!(ward.all_obey(&mut fleet).await, 0);
    tokio::time::sleep(Duration::from_millis(
        u64::try_from(cools_until_ms - SystemClock.now_ms()).unwrap_or(0),
    ))
    .await;
    let (ward_ref, order) = (&ward, &twenty);
    until("the cooling-off to end", || async move {
        let path = format!("/api/v1/commands?order={order}");
        ward_ref
            .admin
            .call("GET", &path, None)
            .await
            .is_ok_and(|c| c["items"].as_array().unwrap().len() == 20)
    })
    .await;
    assert_eq!(ward.all_obey(&mut fleet[..20]).await, 20);
    assert_eq!(ward.all_obey(&mut fleet[20..]).await, 0, "called back in time");
    let state = ward.admin.call("GET", &format!("/api/v1/orders/{five}"), None).await.unwrap();
    assert!(state["recalled_at_ms"].is_i64() && state["state"] == "accepted", "{state}");
}

#[tokio::test]
async fn a_ward_manager_locks_thirty_phones_an_hour_of_the_own_group_whatever_restarts() {
    let mut ward = Ward::open(&["log.filter=error"]).await;
    let phone = ward.phone(0).await;
    let own = ward
        .admin
        .add_person(&[ward.admin.key()], Role::WardManager, Group::new("bench").ok())
        .await
        .unwrap();
    let other = ward
        .admin
        .add_person(&[ward.admin.key()], Role::WardManager, Group::new("ward-8").ok())
        .await
        .unwrap();
    let out = ward.admin.order_by(&[&other], lock(), vec![id(&phone)], None).await.unwrap_err();
    assert!(format!("{out:#}").contains("\"refusal\":12"), "{out:#}");
    let mut accepted = 0;
    for n in 0..40 {
        if n == 20 {
            ward.house.stop().unwrap();
            ward.house.run().unwrap();
        }
        accepted += usize::from(ward.admin.order_by(&[&own], lock(), vec![id(&phone)], None).await.is_ok());
    }
    assert_eq!(accepted, 30);
    // In a house with one administrator nothing goes beyond a budget.
    let spent = ward.admin.order_by(&[&own], lock(), vec![id(&phone)], None).await.unwrap_err();
    let text = format!("{spent:#}");
    assert!(text.contains("\"refusal\":62") && text.contains("refills_at_ms"), "{text}");
}

#[tokio::test]
async fn a_ward_manager_reads_neither_the_ledger_nor_another_groups_orders() {
    let ward = Ward::open(&["log.filter=error"]).await;
    let phone = ward.phone(0).await;
    let (locked, _) = ward.admin.order(lock(), vec![id(&phone)], None).await.unwrap();
    let order = locked["order"].as_str().unwrap().to_owned();
    let mut managers = Vec::new();
    for (seed, group) in [(71, "bench"), (72, "ward-8")] {
        let mut manager = ward.admin.another(seed);
        let kind = OrderKind::AddPerson {
            key: manager.person_key(),
            role: Role::WardManager,
            group: Group::new(group).ok(),
        };
        let secrets = encode(&order::JoinSecrets { name: "Somebody Made-up".into() });
        ward.admin.order(kind, vec![], Some(&secrets)).await.unwrap();
        manager.sign_in(0).await.unwrap();
        managers.push(manager);
    }
    for manager in &managers {
        for path in [
            "/api/v1/ledger".to_owned(),
            "/api/v1/orders/pending".to_owned(),
            format!("/api/v1/orders/{order}/signed"),
        ] {
            let refused = format!("{:#}", manager.call("GET", &path, None).await.unwrap_err());
            assert!(refused.contains("403"), "{path}: {refused}");
        }
    }
    let [own, other] = &managers[..] else { panic!("two managers") };
    let path = format!("/api/v1/orders/{order}");
    assert_eq!(own.call("GET", &path, None).await.unwrap()["order"], order.as_str());
    assert!(format!("{:#}", other.call("GET", &path, None).await.unwrap_err()).contains("404"));
    for (manager, sees) in [(own, true), (other, false)] {
        for list in ["/api/v1/orders", "/api/v1/orders/under_way"] {
            let listed = manager.call("GET", list, None).await.unwrap().to_string();
            assert_eq!(listed.contains(&order), sees, "{listed}");
        }
    }
}

#[tokio::test]
async fn an_order_that_waits_is_rejected_by_an_administrator_and_is_gone_from_the_list() {
    let mut ward = Ward::open(&["log.filter=error"]).await;
    let fleet = ward.fleet(2).await;
    let ben = ward.admin.add_person(&[ward.admin.key()], Role::Administrator, None).await.unwrap();
    let ids: Vec<EnrolmentId> = fleet.iter().map(|(_, p)| id(p)).collect();
    let held = ward.admin.order(erase(), ids, None).await.unwrap_err();
    assert!(format!("{held:#}").contains("\"refusal\":60"), "{held:#}");
    let waits = ward.pending().await;
    assert_eq!(waits.len(), 1);
    let order = waits[0]["order"].as_str().unwrap().to_owned();
    let kind = OrderKind::Reject { order: order.parse().unwrap() };
    ward.admin.order_by(&[&ben], kind, vec![], None).await.unwrap();
    assert_eq!(ward.pending().await.len(), 0);
    let shown = ward.admin.call("GET", &format!("/api/v1/orders/{order}"), None).await.unwrap();
    assert_eq!((&shown["state"], &shown["refusal"]), (&"refused".into(), &121.into()), "{shown}");
    ward.house.stop().unwrap();
    ward.house.run().unwrap();
    let refused = format!("{:#}", ward.approve(&order, &ben).await.unwrap_err());
    assert!(refused.contains("\"refusal\":121"), "{refused}");
}
