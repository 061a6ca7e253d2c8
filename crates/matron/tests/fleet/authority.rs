//! Another CA in a running house: phones change to it, the older one counts until the last has, or until an order ends it.

use super::*;
use apple::x509::Certificate;
use model::KeyName;
use testkit::softhsm::SoftHsm;

use crate::backup::Offline;
use crate::keys::{in_time, keys};
use crate::renewal::let_renew;
use crate::token::ward_on;

fn rotate_ca() -> OrderKind {
    OrderKind::RotateKeys { keys: vec![KeyName::Ca, KeyName::Tls] }
}

/// The CAs that `ca.pem` holds, the newest first.
fn cas(house: &House) -> Vec<Vec<u8>> {
    let text = std::fs::read(house.ca_pem()).unwrap();
    pem::parse_many(text).unwrap().into_iter().map(pem::Pem::into_contents).collect()
}

fn by(certificate: &[u8], ca: &[u8]) -> bool {
    Certificate::parse(certificate).unwrap().is_signed_by(Certificate::parse(ca).unwrap().spki_der())
}

/// The CAs' state in the API, and how many phones are left.
async fn of_ca(ward: &Ward) -> (String, u64) {
    let Ok(said) = keys(ward).await else { return ("away".into(), 0) };
    let found = said["keys"].as_array().unwrap().iter().find(|k| k["name"] == "ca").unwrap();
    (found["state"].as_str().unwrap().to_owned(), found["left"].as_u64().unwrap())
}

/// The epoch that began with the newest CA.
async fn newest_epoch(ward: &Ward) -> u32 {
    let said = keys(ward).await.unwrap();
    let found = said["keys"].as_array().unwrap().iter().find(|k| k["name"] == "ca").unwrap();
    found["epoch"].as_u64().unwrap() as u32
}

/// It comes again and again until it has a certificate of that CA.
async fn changes(ward: &Ward, phone: &mut Phone, ca: &[u8]) {
    let end = Instant::now() + Duration::from_secs(60);
    while !by(phone.certificate_der().unwrap(), ca) {
        assert!(
            Instant::now() < end,
            "waited in vain for a certificate of the newest CA: {}",
            ward.house.log()
        );
        if let Ok(mut connection) = phone.connect().await {
            let _ = phone.converse(&mut connection, Temper::obliging()).await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    ward.obey(phone).await;
}

async fn has_new_ca(ward: &Ward, count: usize) -> Vec<u8> {
    in_time("the CAs to be written down", || async move { cas(&ward.house).len() == count }).await;
    let newest = cas(&ward.house).remove(0);
    let served = ward.house.room_dir("door").join("tls.cert.der");
    let (served, ca) = (&served, &newest);
    in_time("the door to show a certificate of the newest CA", || async move {
        by(&std::fs::read(served).unwrap(), ca)
    })
    .await;
    newest
}

#[tokio::test]
async fn phones_change_to_a_new_ca_though_rooms_are_killed_and_the_older_one_ends_by_itself_or_by_order() {
    let mut ward = Ward::open(&[]).await;
    let (mut one, mut other) = (ward.phone(0).await, ward.phone(1).await);
    let first = cas(&ward.house).remove(0);
    let tls_key = std::fs::read(ward.house.room_dir("door").join("tls.key.der")).unwrap();
    let ca_key = std::fs::read(ward.house.room_dir("vault").join("keys.cbor")).unwrap();
    // Behind root and warrant seed stands the CA's key, and in that behind the modulus the private exponent.
    let ca_key = ca_key[700..764].to_vec();
    let_renew(&ward, 100).await;
    ward.admin.order(rotate_ca(), vec![], None).await.unwrap();
    for room in ["vault", "door", "core", "reader"] {
        tokio::time::sleep(Duration::from_millis(300)).await;
        ward.house.kill_room(room).unwrap();
    }
    let second = has_new_ca(&ward, 2).await;
    assert_eq!(cas(&ward.house)[1], first);
    for (room, name, gone) in [("door", "tls.key.der", &tls_key), ("vault", "keys.cbor", &ca_key)] {
        let file = ward.house.room_dir(room).join(name);
        let file = &file;
        in_time("older keys to be gone", || async move {
            !std::fs::read(file).unwrap().windows(gone.len()).any(|w| w == gone)
        })
        .await;
    }
    // Who trusts the older one alone gets in by its word for the newest: an enrolled phone, and one that is new.
    let mut late = ward.phone(2).await;
    assert!(by(late.certificate_der().unwrap(), &second));
    // One that trusts the newest alone, too.
    ward.network = Network::trusting(&second).unwrap();
    ward.phone(3).await;
    assert_eq!(of_ca(&ward).await, ("reissuing".into(), 2));
    changes(&ward, &mut one, &second).await;
    let ward_ref = &ward;
    in_time("one to be left", || async move { of_ca(ward_ref).await == ("reissuing".into(), 1) }).await;
    changes(&ward, &mut other, &second).await;
    in_time("the older CA to end", || async move { of_ca(ward_ref).await == ("in_force".into(), 0) }).await;
    let second = &second;
    in_time("that to be written down", || async move { cas(&ward_ref.house) == [second.clone()] }).await;
    for phone in [&mut one, &mut other, &mut late] {
        ward.obey(phone).await;
    }
    let link = ward.invite(4).await;
    let (old, keys) = (&Network::trusting(&first).unwrap(), &ward.keys);
    in_time("the chain to lead to the older CA no more", || async {
        Phone::new(7, 4).enrol(&link, old, keys, &SystemClock).await.is_err()
    })
    .await;

    // Another one, and a phone that never comes: its connection is open when an order ends the CA of its certificate.
    ward.admin.order(rotate_ca(), vec![], None).await.unwrap();
    let third = has_new_ca(&ward, 2).await;
    changes(&ward, &mut one, &third).await;
    let mut held = other.connect().await.unwrap();
    let before = newest_epoch(&ward).await;
    ward.admin.order(OrderKind::EndOlderCa { before }, vec![], None).await.unwrap();
    let ward_ref = &ward;
    in_time("the older CA to have ended", || async move { cas(&ward_ref.house).len() == 1 }).await;
    until("the door to go by that", || async move { ward_ref.house.log().contains("an older CA has ended") })
        .await;
    assert!(other.converse(&mut held, Temper::obliging()).await.is_err(), "its connection has ended");
    for _ in 0..2 {
        let refused = match other.connect().await {
            Ok(mut connection) => other.converse(&mut connection, Temper::obliging()).await.is_err(),
            Err(_) => true,
        };
        assert!(refused, "its certificate is taken no more");
        ward.house.kill_room("door").unwrap();
        ward.house.kill_room("vault").unwrap();
        let mut one = Some(&mut one);
        let mut comes = async || {
            let phone = one.as_mut().unwrap();
            match phone.connect().await {
                Ok(mut connection) => phone.converse(&mut connection, Temper::obliging()).await.is_ok(),
                Err(_) => false,
            }
        };
        let end = Instant::now() + Duration::from_secs(20);
        while !comes().await {
            assert!(Instant::now() < end, "the other phone comes in over restarts");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    let said = ward.admin.call("GET", "/api/v1/ledger?limit=200", None).await.unwrap();
    assert!(said.to_string().contains("older_ca_ended"));
    ward.house.stop().unwrap();
    ledger::verify(&ward.house.room_dir("vault")).unwrap();
}

#[tokio::test]
async fn a_backup_amid_a_change_of_ca_restores_with_both_and_phones_of_both_go_on() {
    let offline = Offline::new();
    let mut ward = Ward::open(&[&offline.setting()]).await;
    let (mut changed, mut waits) = (ward.phone(0).await, ward.phone(1).await);
    let_renew(&ward, 100).await;
    ward.admin.order(rotate_ca(), vec![], None).await.unwrap();
    let newest = has_new_ca(&ward, 2).await;
    changes(&ward, &mut changed, &newest).await;
    let both = cas(&ward.house);
    let backup = offline.back_up(&ward.house);
    ward.house.move_out().unwrap();
    let restored = offline.restore(&ward.house, &backup, &[]);
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    ward.house.run().unwrap();
    ward.obey(&mut changed).await;
    ward.obey(&mut waits).await;
    let ward_ref = &ward;
    in_time("the CAs to be written down", || {
        let both = both.clone();
        async move { cas(&ward_ref.house) == both }
    })
    .await;
}

#[tokio::test]
async fn a_new_ca_of_a_house_on_a_token_is_made_there_and_signs_there_over_restarts() {
    let Some(token) = SoftHsm::make() else { return };
    let mut ward = ward_on(&token, &[]).await;
    let mut phone = ward.phone(0).await;
    let_renew(&ward, 100).await;
    ward.admin.order(rotate_ca(), vec![], None).await.unwrap();
    let newest = has_new_ca(&ward, 2).await;
    let pids = |ward: &Ward| ["hsm", "vault"].map(|room| ward.house.pid(room));
    let before = pids(&ward);
    ward.house.kill_room("hsm").unwrap();
    let ward_ref = &ward;
    // A phone whose certificate request fails gives the profile up for some hours.
    in_time("the token's process and the vault to be back", || async move {
        let are_new = pids(ward_ref).iter().zip(before).all(|(now, old)| now.is_some() && *now != old);
        are_new && of_ca(ward_ref).await == ("reissuing".into(), 1)
    })
    .await;
    changes(&ward, &mut phone, &newest).await;
    ward.house.stop().unwrap();
    ward.house.run().unwrap();
    let late = ward.phone(1).await;
    assert!(by(late.certificate_der().unwrap(), &newest));
    ward.obey(&mut phone).await;
}
