//! A phone's holder, with the card that came with the invitation.

use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::clock::DAY_MS;
use model::{Clock as _, Group, StandingTemplate};
use order::{InviteAnswer, InviteSecrets, sha256};
use serde_json::json;

fn bearer(n: u8) -> String {
    format!("mh_{}", URL_SAFE_NO_PAD.encode([n; 32]))
}

async fn asked(ward: &Ward, method: &str, path: &str, n: u8) -> anyhow::Result<Value> {
    let said = admin::request(ward.admin.address(), method, path, Some(&bearer(n)), None).await?;
    Ok(serde_json::from_slice(&said).unwrap_or(Value::Null))
}

async fn comes(ward: &Ward, n: u8, code: &str) -> bool {
    let body = json!({ "code": code, "session": sha256(bearer(n).as_bytes()) });
    let path = "/api/v1/my-phone/session";
    admin::request(ward.admin.address(), "POST", path, None, Some(&body)).await.is_ok()
}

/// A supervised phone that enrolled by this link.
async fn enrolled(ward: &Ward, link: &str) -> Phone {
    for index in 0..50 {
        let mut phone = Phone::new(7, index);
        if phone.handset().supervised {
            let enrolled = phone.enrol(link, &ward.network, &ward.keys, &SystemClock).await.unwrap();
            let mut connection = enrolled.connection;
            phone.converse(&mut connection, Temper::obliging()).await.unwrap();
            return phone;
        }
    }
    panic!("half of them are supervised");
}

#[tokio::test]
async fn a_holder_reports_the_phone_lost_and_killed_rooms_neither_lose_nor_repeat_it() {
    let ward = Ward::open(&["organization_phone=+44 20 7946 0123"]).await;
    let kind = OrderKind::Invite { group: Group::new("bench").unwrap(), valid_ms: DAY_MS };
    let secrets = encode(&InviteSecrets { name: "Grace Example".into(), email: "g@example.org".into() });
    let answer = ward.admin.order(kind, vec![], Some(&secrets)).await.unwrap().1;
    let answer: InviteAnswer = order::decode(&answer).unwrap();
    let code = answer.holder_code.unwrap();
    let mut phone = enrolled(&ward, &format!("{}/enrol/{}", answer.base_url, answer.link_secret)).await;
    for template in [StandingTemplate::HolderLostMode, StandingTemplate::HolderRings] {
        let expires_at_ms = SystemClock.now_ms() + 100 * DAY_MS;
        let kind = OrderKind::MakeStanding { template, cap_an_hour: 1, expires_at_ms };
        ward.admin.order(kind, vec![], None).await.unwrap();
    }
    let ward_ref = &ward;
    assert!(comes(&ward, 1, &code).await);
    until("it to be switched on", || async move {
        let told = asked(ward_ref, "GET", "/api/v1/my-phone", 1).await.unwrap();
        told["lost_mode"]["can"] == "yes" && told["ring"]["can"] == "yes"
    })
    .await;
    let told = asked(&ward, "GET", "/api/v1/my-phone", 1).await.unwrap();
    assert_eq!(told["call"], "+44 20 7946 0123");
    asked(&ward, "POST", "/api/v1/my-phone/lost-mode", 1).await.unwrap();
    // Core dies: the session with it. The same ask again is the same command, though the hour's cap is spent.
    ward.house.kill_room("core").unwrap();
    until("core to be back", || async { comes(ward_ref, 2, &code).await }).await;
    assert!(asked(&ward, "GET", "/api/v1/my-phone", 1).await.is_err(), "sessions are in memory alone");
    // What waits already takes no vault.
    ward.house.kill_room("vault").unwrap();
    asked(&ward, "POST", "/api/v1/my-phone/lost-mode", 2).await.unwrap();
    let talk = ward.obey(&mut phone).await;
    let lost = talk.commands.iter().filter(|(t, _)| t == "EnableLostMode").count();
    assert_eq!(lost, 1, "{:?}", talk.commands);
    let told = asked(&ward, "GET", "/api/v1/my-phone", 2).await.unwrap();
    assert_eq!(told["lost_mode"]["state"], "on");
    assert_eq!(
        (&told["done"][0]["request_type"], &told["done"][0]["by"]),
        (&json!("EnableLostMode"), &json!("holder"))
    );
    until("the vault to be back", || async {
        asked(ward_ref, "POST", "/api/v1/my-phone/ring", 2).await.is_ok()
    })
    .await;
    let talk = ward.obey(&mut phone).await;
    assert!(talk.commands.iter().any(|(t, _)| t == "PlayLostModeSound"), "{:?}", talk.commands);
    let ledger = ward.admin.call("GET", "/api/v1/ledger?limit=200&kind=standing_used", None).await.unwrap();
    assert_eq!(ledger["items"].as_array().unwrap().len(), 2, "each was done once");
    // Whose card was replaced reaches nothing.
    ward.admin.order(OrderKind::HolderCards, vec![id(&phone)], None).await.unwrap();
    until("the session to end", || async { asked(ward_ref, "GET", "/api/v1/my-phone", 2).await.is_err() })
        .await;
    assert!(!comes(&ward, 3, &code).await);
}
