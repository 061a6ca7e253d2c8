//! Alarms: from the vault by its pipe to the courier, and out, with core in no part of it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use model::Role;
use order::JoinSecrets;
use rustls_pki_types::PrivateKeyDer;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

const SECRET: [u8; 32] = [42; 32];

/// What came: when, and the JSON.
#[derive(Clone, Default)]
struct Came(Arc<Mutex<Vec<(Instant, Value)>>>);

impl Came {
    fn of(&self, kind: &str) -> Vec<(Instant, Value)> {
        let all = self.0.lock().unwrap();
        all.iter().filter(|(_, v)| v["data"]["kind"] == kind).cloned().collect()
    }

    async fn wait_for(&self, kind: &str, number: usize) {
        until(&format!("{number} of {kind}"), || async { self.of(kind).len() >= number }).await;
    }
}

/// A webhook's receiver that checks each signature, and a syslog collector, over real TLS.
struct Receivers {
    dir: tempfile::TempDir,
    webhook: u16,
    syslog: u16,
    by_webhook: Came,
    by_syslog: Came,
    away: Arc<AtomicBool>,
}

impl Receivers {
    async fn start() -> Self {
        let dir = tempfile::TempDir::new().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(dir.path().join("ca.pem"), made.cert.pem()).unwrap();
        std::fs::write(dir.path().join("secret"), format!("whsec_{}\n", STANDARD.encode(SECRET))).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let tls = TlsAcceptor::from(Arc::new(config));
        let (hooks, logs) = (
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
        );
        let receivers = Self {
            dir,
            webhook: hooks.local_addr().unwrap().port(),
            syslog: logs.local_addr().unwrap().port(),
            by_webhook: Came::default(),
            by_syslog: Came::default(),
            away: Arc::default(),
        };
        tokio::spawn(take_hooks(hooks, tls.clone(), receivers.by_webhook.clone(), receivers.away.clone()));
        tokio::spawn(take_syslog(logs, tls, receivers.by_syslog.clone()));
        receivers
    }

    async fn house(&self) -> Ward {
        let file = |name: &str| self.dir.path().join(name).display().to_string();
        let settings = [
            format!("alarms.webhook_url=https://localhost:{}/alarms", self.webhook),
            format!("alarms.webhook_secret={}", file("secret")),
            format!("alarms.syslog=localhost:{}", self.syslog),
            format!("alarms.trust_anchor={}", file("ca.pem")),
        ];
        Ward::open(&settings.each_ref().map(String::as_str)).await
    }
}

async fn take_hooks(listener: TcpListener, tls: TlsAcceptor, came: Came, away: Arc<AtomicBool>) {
    while let Ok((tcp, _)) = listener.accept().await {
        let (tls, came, away) = (tls.clone(), came.clone(), away.clone());
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(tcp).await else { return };
            let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let (came, away) = (came.clone(), away.clone());
                async move {
                    let header =
                        |name: &str| request.headers().get(name).unwrap().to_str().unwrap().to_owned();
                    let (id, at, signature) =
                        (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"));
                    assert_eq!(request.uri().path(), "/alarms");
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    if away.load(Ordering::SeqCst) {
                        let gone = http::Response::builder().status(503).body(Full::new(Bytes::new()));
                        return Ok::<_, std::convert::Infallible>(gone.unwrap());
                    }
                    let key = hmac::Key::new(hmac::HMAC_SHA256, &SECRET);
                    let signed = [format!("{id}.{at}.").as_bytes(), &body].concat();
                    let tag = STANDARD.decode(signature.strip_prefix("v1,").unwrap()).unwrap();
                    hmac::verify(&key, &signed, &tag).unwrap();
                    let value: Value = serde_json::from_slice(&body).unwrap();
                    assert_eq!(value["data"]["id"], id);
                    came.0.lock().unwrap().push((Instant::now(), value));
                    Ok(http::Response::new(Full::new(Bytes::new())))
                }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn take_syslog(listener: TcpListener, tls: TlsAcceptor, came: Came) {
    while let Ok((tcp, _)) = listener.accept().await {
        let (tls, came) = (tls.clone(), came.clone());
        tokio::spawn(async move {
            let Ok(mut stream) = tls.accept(tcp).await else { return };
            let mut bytes = Vec::new();
            let _ = stream.read_to_end(&mut bytes).await;
            let text = String::from_utf8(bytes).unwrap();
            let (length, line) = text.split_once(' ').unwrap();
            assert_eq!(length.parse::<usize>().unwrap(), line.len());
            assert!(line.starts_with("<81>1 ") || line.starts_with("<85>1 "), "{line}");
            let value: Value = serde_json::from_str(&line[line.find('{').unwrap()..]).unwrap();
            came.0.lock().unwrap().push((Instant::now(), value));
        });
    }
}

async fn add_engineer(ward: &Ward, seed: u8) {
    let kind = OrderKind::AddPerson {
        key: ward.admin.another(seed).person_key(),
        role: Role::Engineer,
        group: None,
    };
    let secrets = encode(&JoinSecrets { name: "Somebody Made-up".into() });
    ward.admin.order(kind, vec![], Some(&secrets)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_added_person_raises_an_alarm_by_webhook_and_by_syslog_that_names_nobody() {
    let receivers = Receivers::start().await;
    let ward = receivers.house().await;
    receivers.by_webhook.wait_for("person_added", 1).await;
    receivers.by_syslog.wait_for("person_added", 1).await;

    let begun = Instant::now();
    add_engineer(&ward, 7).await;
    let answered = begun.elapsed();
    receivers.by_webhook.wait_for("person_added", 2).await;
    receivers.by_syslog.wait_for("person_added", 2).await;
    let took = |came: &Came| came.of("person_added")[1].0.duration_since(begun).as_millis();
    println!(
        "from the order's submission: answered after {} ms, webhook after {} ms, syslog after {} ms",
        answered.as_millis(),
        took(&receivers.by_webhook),
        took(&receivers.by_syslog)
    );
    let (_, alarm) = receivers.by_webhook.of("person_added").pop().unwrap();
    assert_eq!(alarm["data"]["grave"], true);
    assert_eq!(alarm["data"]["sender"], "localhost");
    assert!(alarm["data"]["person"].is_string() && alarm["data"]["order"].is_string(), "{alarm}");
    assert!(!alarm.to_string().contains("Made-up"));

    let health = ward.admin.call("GET", "/api/v1/health", None).await.unwrap();
    let alarms = &health["courier"]["alarms"];
    assert_eq!(alarms["connected"], true);
    for destination in alarms["destinations"].as_array().unwrap() {
        assert_eq!(destination["delivered"], 2, "{destination}");
        assert!(destination["last_delivered_at_ms"].is_i64(), "{destination}");
    }

    let tried = ward.house.on_host(&["doctor", "--alarms"]).unwrap();
    assert!(tried.status.success(), "{}", String::from_utf8_lossy(&tried.stdout));
    receivers.by_webhook.wait_for("test", 1).await;
    receivers.by_syslog.wait_for("test", 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alarm_arrives_while_core_is_stopped_and_waits_in_the_pipe_for_a_courier_that_is_away() {
    let receivers = Receivers::start().await;
    let ward = receivers.house().await;
    receivers.by_webhook.wait_for("person_added", 1).await;

    ward.house.signal_room("courier", "STOP").unwrap();
    add_engineer(&ward, 7).await;
    ward.house.signal_room("core", "STOP").unwrap();
    assert_eq!(receivers.by_webhook.of("person_added").len(), 1);
    ward.house.signal_room("courier", "CONT").unwrap();
    receivers.by_webhook.wait_for("person_added", 2).await;
    receivers.by_syslog.wait_for("person_added", 2).await;
    ward.house.signal_room("core", "CONT").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alarm_that_nobody_takes_is_kept_over_the_couriers_death_and_delivered_later() {
    let receivers = Receivers::start().await;
    let ward = receivers.house().await;
    receivers.by_webhook.wait_for("person_added", 1).await;

    receivers.away.store(true, Ordering::SeqCst);
    add_engineer(&ward, 7).await;
    // The other destination is not held up.
    receivers.by_syslog.wait_for("person_added", 2).await;
    until("a failed try", || async {
        let health = ward.admin.call("GET", "/api/v1/health", None).await.unwrap();
        let webhook = health["courier"]["alarms"]["destinations"][0].clone();
        webhook["waiting"] == 1 && webhook["last_error"].as_str().unwrap_or_default().contains("503")
    })
    .await;
    ward.house.kill_room("courier").unwrap();
    receivers.away.store(false, Ordering::SeqCst);
    receivers.by_webhook.wait_for("person_added", 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_forged_orders_holds_up_no_other_order_and_is_told_as_sums() {
    let receivers = Receivers::start().await;
    let ward = receivers.house().await;
    let forger = ward.admin.another(99);
    let forge = || {
        forger.order(OrderKind::Invite { group: model::Group::new("x").unwrap(), valid_ms: 1 }, vec![], None)
    };
    for _ in 0..300 {
        forge().await.expect_err("nobody has that key");
    }
    let begun = Instant::now();
    add_engineer(&ward, 7).await;
    println!("an order after 300 forged ones: {} ms", begun.elapsed().as_millis());
    receivers.by_webhook.wait_for("forged_orders", 1).await;
    receivers.by_webhook.wait_for("person_added", 2).await;

    let end = Instant::now() + Duration::from_secs(90);
    let counted = || -> u64 {
        let came = receivers.by_webhook.of("forged_orders");
        came.iter().map(|(_, a)| a["data"]["count"].as_u64().unwrap()).sum()
    };
    while counted() < 300 {
        assert!(Instant::now() < end, "{} of 300 were told of", counted());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(counted(), 300);
    assert!(receivers.by_webhook.of("forged_orders").len() <= 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alarm_goes_by_mail_to_the_configured_relay_from_the_couriers_room_and_names_nobody() {
    use testkit::smtp::{Relay, Smtp};
    let wants = Some(("matron".to_owned(), "correct horse".to_owned(), vec!["PLAIN"]));
    let smtp = Smtp::start(Relay { wants, ..Relay::default() }).await.unwrap();
    let dir = tempfile::TempDir::new().unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(dir.path().join(name), text).unwrap();
        dir.path().join(name).display().to_string()
    };
    let settings = [
        format!("alarms.email_relay=localhost:{}", smtp.port),
        "alarms.email_from=matron@example.org".to_owned(),
        "alarms.email_to=[\"on-call@example.org\"]".to_owned(),
        "alarms.email_user=matron".to_owned(),
        format!("alarms.email_password={}", file("password", "correct horse\n")),
        format!("alarms.trust_anchor={}", file("ca.pem", &smtp.ca_pem)),
    ];
    let ward = Ward::open(&settings.each_ref().map(String::as_str)).await;
    add_engineer(&ward, 7).await;
    until("two mails", || async { smtp.mails().len() >= 2 }).await;
    let mail = smtp.mails().pop().unwrap();
    assert_eq!((mail.to, mail.user.as_deref()), (vec!["on-call@example.org".to_owned()], Some("matron")));
    assert!(mail.text.contains("\r\nSubject: ALARM person_added (localhost)\r\n"), "{}", mail.text);
    assert!(!mail.text.contains("Made-up"), "{}", mail.text);
    let health = ward.admin.call("GET", "/api/v1/health", None).await.unwrap();
    let destination = &health["courier"]["alarms"]["destinations"][0];
    assert_eq!(
        (&destination["name"], &destination["delivered"]),
        (&"email".into(), &2.into()),
        "{destination}"
    );

    let tried = ward.house.on_host(&["doctor", "--alarms"]).unwrap();
    assert!(tried.status.success(), "{}", String::from_utf8_lossy(&tried.stdout));
    assert!(smtp.mails().pop().unwrap().text.contains("Subject: notice test (localhost)"));
    assert_eq!(smtp.wrongs(), [] as [String; 0]);
}
