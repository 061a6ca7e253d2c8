//! Certificates renewed in time, under a standing order.

use super::*;
use model::clock::DAY_MS;
use model::{Clock as _, StandingTemplate};

/// Phones' certificates that live for a day.
const A_DAY: &[&str] = &["enrolment.certificate_days=1"];

async fn certificates(ward: &Ward) -> Vec<Value> {
    let said = ward.admin.call("GET", "/api/v1/certificates", None).await.unwrap();
    said["items"].as_array().cloned().unwrap()
}

async fn of_kind(ward: &Ward, kind: &str) -> usize {
    let path = "/api/v1/ledger?limit=200";
    let Ok(said) = ward.admin.call("GET", path, None).await else { return 0 };
    said["items"].as_array().unwrap().iter().filter(|e| e["kind"] == kind).count()
}

/// Makes certificates due some seconds after they were issued.
pub(super) async fn let_renew(ward: &Ward, cap_an_hour: u32) {
    let template = StandingTemplate::RenewCertificates { before_ms: DAY_MS - 2_000 };
    let expires_at_ms = SystemClock.now_ms() + 100 * DAY_MS;
    let kind = OrderKind::MakeStanding { template, cap_an_hour, expires_at_ms };
    ward.admin.order(kind, vec![], None).await.unwrap();
}

#[tokio::test]
async fn a_phone_renews_its_certificate_in_time_and_a_vault_killed_in_between_loses_nothing() {
    let ward = Ward::open(A_DAY).await;
    let mut phone = ward.phone(0).await;
    let old = phone.certificate_der().unwrap().to_vec();
    let health = ward.admin.call("GET", "/api/v1/health", None).await.unwrap();
    assert!(health["warnings"][0].as_str().unwrap().contains("matron standing make"), "{health}");
    assert_eq!(certificates(&ward).await[0]["state"], "late", "without an order there are 60 days for it");

    let backup = tempfile::tempdir().unwrap();
    let backup = backup.path().join("phone");
    simulate::keep(std::slice::from_ref(&phone), &backup).unwrap();
    // One act an hour: what is done below is done once.
    let_renew(&ward, 1).await;
    let ward_ref = &ward;
    until("the phone to be asked", || async move { certificates(ward_ref).await[0]["state"] == "asked" })
        .await;
    ward.house.kill_room("vault").unwrap();
    // A phone whose certificate request fails gives the profile up, and is asked again after some hours.
    until("the vault to be back", || async move {
        let health = ward_ref.admin.call("GET", "/api/v1/health", None).await;
        health.is_ok_and(|h| h["vault"]["answers"] == true)
    })
    .await;
    // It comes, is told to renew, and fetches its certificate from a vault that was just killed.
    let renewing = Arc::new(tokio::sync::Mutex::new(&mut phone));
    until("the phone to have renewed", || {
        let renewing = renewing.clone();
        let old = old.clone();
        async move {
            let mut phone = renewing.lock().await;
            if let Ok(mut connection) = phone.connect().await {
                let _ = phone.converse(&mut connection, Temper::obliging()).await;
            }
            phone.certificate_der().unwrap() != old
        }
    })
    .await;
    ward.house.kill_room("vault").unwrap();
    let talk = ward.obey(&mut phone).await;
    assert_eq!(talk.repeated, 0);
    let certificate = phone.certificate_der().unwrap().to_vec();
    let parsed = apple::x509::Certificate::parse(&certificate).unwrap();
    assert_eq!(parsed.common_name(), Some(id(&phone).to_string().as_str()));
    assert_ne!(parsed.spki_der(), apple::x509::Certificate::parse(&old).unwrap().spki_der());
    until("the ledger to say that it is in use", || async move {
        of_kind(ward_ref, "certificate_taken").await == 1
    })
    .await;
    // A phone killed in the middle takes the same one again; the vault was asked once, and acted once.
    assert_eq!(of_kind(&ward, "standing_used").await, 1);
    let certified = of_kind(&ward, "certificate_issued").await;
    assert_eq!(certified, 2);
    // It is the same phone to everyone.
    let device = ward.device(id(&phone)).await;
    assert_eq!(device["state"], "enrolled");

    // Restored from a backup that is older than the renewal: it is let in, and shown with the old end.
    let mut restored = simulate::kept(&backup, &ward.network).unwrap().pop().unwrap();
    let before = certificates(&ward).await[0]["not_after_ms"].as_i64().unwrap();
    ward.obey(&mut restored).await;
    until("the old certificate to count again", || async move {
        certificates(ward_ref).await[0]["not_after_ms"].as_i64().unwrap() < before
    })
    .await;
    let report = ledger::verify(&ward.house.room_dir("vault")).unwrap();
    assert!(report.entries > 10);
}

#[tokio::test]
async fn a_standing_order_that_ended_asks_no_phone_and_calls_back_what_it_asked() {
    let ward = Ward::open(A_DAY).await;
    let mut phone = ward.phone(0).await;
    let old = phone.certificate_der().unwrap().to_vec();
    let_renew(&ward, 10).await;
    let ward_ref = &ward;
    until("the phone to be asked", || async move { certificates(ward_ref).await[0]["state"] == "asked" })
        .await;
    let standing = ward.admin.call("GET", "/api/v1/standing", None).await.unwrap();
    assert_eq!(standing["items"][0]["state"], "stands");
    let order = standing["items"][0]["order"].as_str().unwrap().parse().unwrap();
    ward.admin.order(OrderKind::EndStanding { order }, vec![], None).await.unwrap();
    let talk = ward.obey(&mut phone).await;
    assert!(talk.commands.iter().all(|(t, _)| t != "InstallProfile"), "{:?}", talk.commands);
    assert_eq!(phone.certificate_der().unwrap(), old);
    let standing = ward.admin.call("GET", "/api/v1/standing", None).await.unwrap();
    assert_eq!(standing["items"][0]["state"], "ended");
}
