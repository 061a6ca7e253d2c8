//! Tokens that phones give into keeping and get back; users of shared devices; the Activation Lock code.

use super::*;
use order::{OpenAnswer, ServiceTokenSecrets, decode};
use plist::{Dictionary, Value as Plist};

/// What the ledger has of this kind.
async fn in_ledger(ward: &Ward, kind: &str) -> usize {
    let said = ward.admin.call("GET", "/api/v1/ledger?limit=200", None).await.unwrap();
    said["items"].as_array().unwrap().iter().filter(|e| e["kind"] == kind).count()
}

/// Core follows the ledger a moment later.
async fn until_in_ledger(ward: &Ward, kind: &str, n: usize) {
    until("the ledger to have it", || async move { in_ledger(ward, kind).await >= n }).await;
    assert_eq!(in_ledger(ward, kind).await, n, "{kind}");
}

async fn opened(ward: &Ward, phone: EnrolmentId, field: &str) -> Option<Vec<u8>> {
    let kind = OrderKind::Open { fields: vec![field.to_owned()] };
    let (_, answer) = ward.admin.order(kind, vec![phone], None).await.unwrap();
    decode::<OpenAnswer>(&answer).unwrap().fields.pop().map(|f| f.value)
}

#[tokio::test]
async fn a_bootstrap_token_is_kept_sealed_and_given_back_to_its_own_phone_alone() {
    let ward = Ward::open(&[]).await;
    let (mut phone, mut other) = (ward.phone(0).await, ward.phone(1).await);
    let token = b"a made-up bootstrap token of the first phone".to_vec();
    let mut line = phone.connect().await.unwrap();
    assert_eq!(phone.get_bootstrap_token(&mut line).await.unwrap(), None, "none was given yet");
    assert_eq!(phone.set_bootstrap_token(&mut line, &token).await.unwrap(), 200);
    assert_eq!(phone.get_bootstrap_token(&mut line).await.unwrap(), Some(token.clone()));
    let mut others_line = other.connect().await.unwrap();
    assert_eq!(other.get_bootstrap_token(&mut others_line).await.unwrap(), None);

    // Through a vault that was just killed: nothing kept is lost.
    ward.house.kill_room("vault").unwrap();
    let shared = Arc::new(tokio::sync::Mutex::new(&mut phone));
    until("the token to come back", || {
        let (shared, token) = (shared.clone(), token.clone());
        async move {
            let mut phone = shared.lock().await;
            let Ok(mut line) = phone.connect().await else { return false };
            phone.get_bootstrap_token(&mut line).await.is_ok_and(|t| t == Some(token))
        }
    })
    .await;
    until_in_ledger(&ward, "given_back", 2).await;
    let mut line = phone.connect().await.unwrap();
    assert_eq!(phone.set_bootstrap_token(&mut line, b"").await.unwrap(), 200, "an empty one clears it");
    assert_eq!(phone.get_bootstrap_token(&mut line).await.unwrap(), None);
    until_in_ledger(&ward, "given_back", 2).await;

    assert_eq!(found(&ward.house.data(), &token), [] as [std::path::PathBuf; 0]);
}

#[tokio::test]
async fn a_phone_that_asks_again_and_again_is_told_to_come_later_and_the_ledger_stays_small() {
    let ward = Ward::open(&[]).await;
    let mut phone = ward.phone(0).await;
    let mut line = phone.connect().await.unwrap();
    assert_eq!(phone.set_bootstrap_token(&mut line, b"made up").await.unwrap(), 200);
    let mut given = 0;
    for _ in 0..30 {
        given += usize::from(phone.get_bootstrap_token(&mut line).await.is_ok());
    }
    // 12 an hour; a test that runs over the end of one sees two hours.
    assert!((12..=24).contains(&given), "{given}");
    until_in_ledger(&ward, "given_back", given).await;
}

#[tokio::test]
async fn a_services_token_is_set_by_an_order_and_given_to_phones_that_ask() {
    const SERVICE: &str = "com.apple.maid";
    let ward = Ward::open(&[]).await;
    let mut phone = ward.phone(0).await;
    let mut line = phone.connect().await.unwrap();
    assert_eq!(phone.get_token(&mut line, SERVICE).await.unwrap(), (400, None), "none is kept");
    let token = b"made.up.token-of-the-hospital".to_vec();
    let set = || OrderKind::SetServiceToken { service: SERVICE.into() };
    let secrets = order::encode(&ServiceTokenSecrets { token: token.clone() });
    ward.admin.order(set(), vec![], Some(&secrets)).await.unwrap();
    assert_eq!(phone.get_token(&mut line, SERVICE).await.unwrap(), (200, Some(token)));
    assert_eq!(phone.get_token(&mut line, "com.apple.watch.pairing").await.unwrap().0, 400);
    until_in_ledger(&ward, "service_token_set", 1).await;
    // Without a token the order takes it away.
    ward.admin.order(set(), vec![], None).await.unwrap();
    assert_eq!(phone.get_token(&mut line, SERVICE).await.unwrap().0, 400);
}

#[tokio::test]
async fn a_user_of_a_shared_device_gets_no_command_and_ends_none_and_has_a_token_of_its_own() {
    let ward = Ward::open(&[]).await;
    let mut phone = ward.phone(0).await;
    let on = [id(&phone)];
    let sealed = |device: &Value, name: &str| {
        let fields = device["sealed_fields"].as_array().unwrap().clone();
        fields.into_iter().find(|f| f["name"].as_str().is_some_and(|n| n.ends_with(name)))
    };
    let own = |device: &Value| {
        let fields = device["sealed_fields"].as_array().unwrap().clone();
        fields.into_iter().find(|f| f["name"] == "Token").unwrap()
    };
    let before = own(&ward.device(on[0]).await);
    let users_token = vec![0x5e; 32];
    let keys = |token: &[u8]| {
        Dictionary::from_iter([
            ("Token".to_owned(), Plist::Data(token.to_vec())),
            ("PushMagic".to_owned(), Plist::from("made-up-magic-of-a-user")),
        ])
    };
    let mut line = phone.connect().await.unwrap();
    let none = Dictionary::new;
    let say = phone.say_as_user(&mut line, "ward7", "UserAuthenticate", none()).await.unwrap();
    assert_eq!(say.0, 410);
    for user in ["ward7", "ward8"] {
        let said = phone.say_as_user(&mut line, user, "TokenUpdate", keys(&users_token)).await.unwrap();
        assert_eq!(said, (200, vec![]), "{user}");
    }
    let device = ward.device(on[0]).await;
    assert_eq!(device["user_channels"], 2);
    assert_eq!(own(&device), before, "the device's token is its own");
    let name = sealed(&device, ".UserShortName").unwrap()["name"].as_str().unwrap().to_owned();
    let user = opened(&ward, on[0], &name).await.unwrap();
    assert!(user == b"ward7" || user == b"ward8");

    let said = ward.command(Command::DeviceLock, &on, &CommandSecrets::default()).await.unwrap();
    let command = said["commands"][0]["command"].as_str().unwrap().to_owned();
    let idle = phone.say_as_user(&mut line, "ward7", "Idle", none()).await.unwrap();
    assert_eq!(idle, (200, vec![]), "a user is given no command");
    let claim = Dictionary::from_iter([("CommandUUID".to_owned(), Plist::from(command.as_str()))]);
    let claimed = phone.say_as_user(&mut line, "ward7", "Acknowledged", claim).await.unwrap();
    assert_eq!(claimed, (200, vec![]));
    let state = ward.admin.call("GET", &format!("/api/v1/commands/{command}"), None).await.unwrap();
    assert_eq!(state["state"], "queued", "a user's word ends no command");
    let talk = ward.obey(&mut phone).await;
    assert_eq!(talk.commands, [("DeviceLock".to_owned(), "Acknowledged")]);

    let mut line = phone.connect().await.unwrap();
    let left = phone.say_as_user(&mut line, "ward8", "CheckOut", none()).await.unwrap();
    assert_eq!(left.0, 200);
    let device = ward.device(on[0]).await;
    assert_eq!((&device["user_channels"], &device["state"]), (&Value::from(1), &Value::from("enrolled")));
}

#[tokio::test]
async fn a_supervised_phones_activation_lock_code_is_asked_for_kept_sealed_and_revealed() {
    let ward = Ward::open(&[]).await;
    let index = (0..).find(|i| simulate::Handset::of(7, *i).supervised).unwrap();
    let mut phone = ward.phone(index).await;
    let device = ward.device(id(&phone)).await;
    let field = |d: &Value| {
        let fields = d["sealed_fields"].as_array().unwrap().clone();
        fields.into_iter().find(|f| f["name"] == "ActivationLockBypassCode")
    };
    let row = field(&device).expect("asked for after the enrolment");
    assert_eq!((&row["compartment"], &row["mask"]), (&Value::from("escrow"), &Value::from("")));
    let code = opened(&ward, id(&phone), "ActivationLockBypassCode").await.unwrap();
    assert_eq!(code.len(), 31);

    let clear = Command::ClearActivationLockBypassCode;
    ward.command(clear, &[id(&phone)], &CommandSecrets::default()).await.unwrap();
    ward.admin.ask(&["ActivationLockBypassCode"], &[id(&phone)]).await.unwrap();
    ward.obey(&mut phone).await;
    let new = opened(&ward, id(&phone), "ActivationLockBypassCode").await.unwrap();
    assert_ne!(new, code, "the phone made another");

    let not = (0..).find(|i| !simulate::Handset::of(7, *i).supervised).unwrap();
    let phone = ward.phone(not).await;
    assert!(field(&ward.device(id(&phone)).await).is_none());
}

#[tokio::test]
async fn a_phone_that_checks_out_or_is_switched_off_is_shown_so() {
    let ward = Ward::open(&[]).await;
    let index = (0..).find(|i| simulate::Handset::of(7, *i).supervised).unwrap();
    let mut phone = ward.phone(index).await;
    let on = id(&phone);
    ward.command(Command::ShutDownDevice, &[on], &CommandSecrets::default()).await.unwrap();
    let talk = ward.obey(&mut phone).await;
    assert_eq!(talk.ending, simulate::Ending::Off);
    assert_eq!(ward.device(on).await["state"], "enrolled", "off is not gone");
    phone.switch_on();
    assert!(ward.obey(&mut phone).await.commands.is_empty(), "it is not switched off twice");

    let mut line = phone.connect().await.unwrap();
    phone.check_out(&mut line).await.unwrap();
    assert_eq!(ward.device(on).await["state"], "checked_out");
    let ward_ref = &ward;
    until("the ledger to say so", || async move { in_ledger(ward_ref, "checked_out").await == 1 }).await;
    let lock = ward.command(Command::DeviceLock, &[on], &CommandSecrets::default()).await;
    let path = format!("/api/v1/devices/{on}/commands");
    let commands = ward.admin.call("GET", &path, None).await.unwrap();
    let items = commands["items"].as_array().unwrap();
    let queued = items.iter().any(|c| c["request_type"] == "DeviceLock" && c["state"] == "queued");
    assert!(!queued, "nothing waits for a phone that left: {lock:?}");
}
