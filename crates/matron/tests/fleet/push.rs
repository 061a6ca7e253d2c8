//! Phones that rest until Apple's push service wakes them, with a stand-in for it.

use super::*;
use testkit::apns::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resting_phone_is_woken_by_a_push_and_one_that_is_gone_is_marked() {
    let apns = Server::start("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let dir = tempfile::TempDir::new().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let settings = [
        format!("push.endpoint={}", apns.url()),
        format!("push.topic={}", apns.topic),
        format!("push.certificate={}", file("push.pem", &apns.push_cert_pem)),
        format!("push.key={}", file("push.key", &apns.push_key_pem)),
        format!("push.trust_anchor={}", file("ca.pem", &apns.ca_pem)),
    ];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let ward = Ward::open(&settings).await;
    let push_service = || {
        let out = ward.house.host_command(&["doctor", "--json"]).output().unwrap();
        let report: Value = serde_json::from_slice(&out.stdout).unwrap();
        let found = report["checks"].as_array().unwrap().iter().find(|c| c["id"] == "push.service").unwrap();
        (found["verdict"].as_str().unwrap().to_owned(), found["found"].as_str().unwrap().to_owned())
    };
    let (verdict, found) = push_service();
    assert!(verdict == "ok" && found.contains("takes the certificate and the topic"), "{verdict}: {found}");
    let mut phone = ward.phone(0).await;
    let mut pushes = apns.subscribe(&phone.push_token());

    ward.command(Command::DeviceLock, &[id(&phone)], &CommandSecrets::default()).await.unwrap();
    let woken = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            // The first inventory was pushed for as well.
            let notification = pushes.next().await;
            assert_eq!(notification.push_magic, phone.push_magic());
            assert_eq!(notification.topic, apns.topic);
            if !ward.obey(&mut phone).await.commands.is_empty() {
                return;
            }
        }
    });
    woken.await.expect("a push for the lock");
    assert!(phone.is_locked());

    apns.set_gone(&phone.push_token(), true);
    ward.command(Command::DeviceLock, &[id(&phone)], &CommandSecrets::default()).await.unwrap();
    until("the phone to be marked", || async { ward.device(id(&phone)).await["push"] == "unregistered" })
        .await;

    drop(pushes);
    drop(apns);
    let (verdict, found) = push_service();
    assert!(verdict == "fail" && found.contains("can't be reached"), "{verdict}: {found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_certificate_of_another_topic_is_refused_while_a_phone_is_enrolled() {
    let apns = Server::start("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let dir = tempfile::TempDir::new().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let settings = [
        format!("push.endpoint={}", apns.url()),
        format!("push.topic={}", apns.topic),
        format!("push.certificate={}", file("push.pem", &apns.push_cert_pem)),
        format!("push.key={}", file("push.key", &apns.push_key_pem)),
        format!("push.trust_anchor={}", file("ca.pem", &apns.ca_pem)),
    ];
    let flags: Vec<&str> = settings.iter().flat_map(|s| ["--set", s.as_str()]).collect();
    let given: Vec<&str> = settings.iter().map(String::as_str).collect();
    let ward = Ward::open(&given).await;
    let data = ward.house.data().display().to_string();
    let import = |topic: &str, name: &str| {
        let made = apns.issue(topic, SystemClock.now_ms() + 300 * model::clock::DAY_MS).unwrap();
        let (certificate, key) =
            (file(&format!("{name}.pem"), &made.cert_pem), file(&format!("{name}.key"), &made.key_pem));
        let mut arguments = vec!["push", "import", "--data", &data, "--key", &key, &certificate];
        arguments.extend(&flags);
        let out = ward.house.matron(&arguments).unwrap();
        (out.status.code().unwrap(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
    };
    let other = "com.apple.mgmt.External.another";
    let (code, said) = import(other, "before");
    assert_eq!(code, 0, "nobody is enrolled yet: {said}");
    assert!(said.contains("takes it"), "{said}");

    let _phone = ward.phone(0).await;
    let kept = std::fs::read(ward.house.data().join("push/push.pem")).unwrap();
    let (code, said) = import(other, "after");
    assert!(code == 1 && said.contains("1 phone is enrolled under") && said.contains("Renew"), "{said}");
    assert_eq!(std::fs::read(ward.house.data().join("push/push.pem")).unwrap(), kept);
    let (code, said) = import(&apns.topic, "renewed");
    assert_eq!(code, 0, "{said}");
}
