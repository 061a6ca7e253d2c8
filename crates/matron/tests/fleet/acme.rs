//! A public certificate by ACME, with a strict stand-in for the authority and, where it is installed, with
//! Pebble (Let's Encrypt's own test authority).

use super::*;
use model::Clock;
use std::net::SocketAddr;
use std::process::Stdio;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use testkit::acme::{Manner, Server};
use testkit::house::free;

/// A stand-in, the folder of its root, and the settings of a house that goes to it.
async fn stand_in(
    challenge: &str,
    phones: SocketAddr,
    http: SocketAddr,
    change: impl FnOnce(&mut Manner),
    settings: &[&str],
) -> (Server, tempfile::TempDir, Vec<String>) {
    let mut manner = Manner::obliging(http, phones);
    change(&mut manner);
    let authority = Server::start(manner).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root.pem");
    std::fs::write(&root, authority.root_pem()).unwrap();
    let mut all = vec![
        format!("acme.directory={}", authority.directory()),
        "acme.agree_to_terms=true".to_owned(),
        "acme.contact=mailto:mdm@example.org".to_owned(),
        format!("acme.challenge={challenge}"),
        format!("acme.http_listen={http}"),
        format!("acme.trust_anchor={}", root.display()),
    ];
    all.extend(settings.iter().map(|s| (*s).to_owned()));
    (authority, dir, all)
}

/// A house that gets its certificate from a stand-in.
struct Certified {
    ward: Ward,
    authority: Server,
    dir: tempfile::TempDir,
}

impl Certified {
    async fn open(challenge: &str, change: impl FnOnce(&mut Manner), settings: &[&str]) -> Self {
        let (phones, http) = (free().unwrap(), free().unwrap());
        let (authority, dir, all) = stand_in(challenge, phones, http, change, settings).await;
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let mut ward = Ward::open_at(phones, &all).await;
        // These phones trust the authority and no one else.
        ward.network = Network::trusting(authority.root_pem().as_bytes()).unwrap();
        Self { ward, authority, dir }
    }

    /// The certificate that whoever trusts the authority alone is shown.
    async fn shown(&self) -> Option<Vec<u8>> {
        shown(self.ward.house.phones(), "localhost", &self.authority.root_pem()).await
    }

    async fn until_certified(&self) -> Vec<u8> {
        until("the certificate", || async { self.shown().await.is_some() }).await;
        self.shown().await.unwrap()
    }

    async fn acme(&self) -> Value {
        self.ward.admin.call("GET", "/api/v1/health", None).await.unwrap()["courier"]["acme"].clone()
    }

    async fn renew(&self) {
        self.ward.admin.call("POST", "/api/v1/tls-certificate/renew", None).await.unwrap();
    }

    /// Another certificate than this one is shown.
    async fn until_another(&self, than: &[u8]) -> Vec<u8> {
        until("another certificate", || async { self.shown().await.is_some_and(|c| c != than) }).await;
        self.shown().await.unwrap()
    }
}

/// What is shown to a client that trusts only `root_pem`; `None` when it does not trust it.
async fn shown(at: SocketAddr, host: &'static str, root_pem: &str) -> Option<Vec<u8>> {
    let mut roots = rustls::RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(root_pem.as_bytes()) {
        roots.add(root.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = tokio::net::TcpStream::connect(at).await.ok()?;
    let name = ServerName::try_from(host).unwrap();
    let tls = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await.ok()?;
    Some(tls.get_ref().1.peer_certificates()?.first()?.to_vec())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_house_gets_its_certificate_by_tls_alpn_01_and_a_renewal_swaps_it_under_living_connections() {
    let difficult = |m: &mut Manner| (m.bad_nonces, m.processing) = (2, 1);
    let house = Certified::open("tls-alpn-01", difficult, &[]).await;
    let first = house.until_certified().await;
    let mut phone = house.ward.phone(0).await;
    until("the courier to know", || async { house.acme().await["issued"] == 1 }).await;
    let fifty_days_ms = SystemClock.now_ms() + 50 * model::clock::DAY_MS;
    until("the next look", || async {
        house.acme().await["next_try_at_ms"].as_i64().is_some_and(|at| at > fifty_days_ms)
    })
    .await;
    let acme = house.acme().await;
    assert_eq!(acme["failures"], 0, "{acme}");
    assert!(acme["expires_at_ms"].as_i64().unwrap() > acme["next_try_at_ms"].as_i64().unwrap());
    assert_eq!(house.authority.contact(), serde_json::json!(["mailto:mdm@example.org"]));
    // What was refused was refused on purpose.
    assert!(
        house.authority.refused().iter().all(|r| r.contains("badNonce")),
        "{:?}",
        house.authority.refused()
    );

    // A connection that is open stays open while the certificate changes, and the next sees the new one.
    let mut living = phone.connect().await.unwrap();
    house.renew().await;
    let second = house.until_another(&first).await;
    phone.converse(&mut living, Temper::obliging()).await.unwrap();
    house.ward.obey(&mut phone).await;
    assert_eq!(house.authority.kept(), (1, 2));

    // The door's key never left it, and the old one is gone.
    for file in ["acme.key.der", "acme.chain.der"] {
        assert!(house.ward.house.room_dir("door").join(file).exists(), "{file}");
    }
    assert!(!house.ward.house.room_dir("door").join("acme.next.key.der").exists());
    assert!(!house.ward.house.log().contains("alarm:"));
    drop(second);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_house_gets_its_certificate_by_http_01_and_that_listener_answers_nothing_else() {
    let house = Certified::open("http-01", |_| {}, &[]).await;
    let first = house.until_certified().await;
    house.ward.phone(0).await;
    let http = house.authority_http();
    for path in ["/", "/mdm", "/.well-known/acme-challenge/", "/.well-known/acme-challenge/../mdm"] {
        let out = std::process::Command::new("curl")
            .args([
                "-s",
                "-o",
                "/dev/null",
                "-w",
                "%{http_code}",
                "--path-as-is",
                &format!("http://{http}{path}"),
            ])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&out.stdout), "404", "{path}");
    }
    // After a restart the certificate is there at once.
    let Certified { mut ward, authority, dir: _dir } = house;
    ward.house.stop().unwrap();
    ward.house.run().unwrap();
    assert_eq!(shown(ward.house.phones(), "localhost", &authority.root_pem()).await, Some(first));
    assert_eq!(authority.kept(), (1, 1));
}

impl Certified {
    fn authority_http(&self) -> SocketAddr {
        let mut found = None;
        self.authority.behave(|m| found = Some(m.http));
        found.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_that_fails_leaves_the_old_certificate_and_health_says_why() {
    let house = Certified::open("tls-alpn-01", |m| m.out_of_order = true, &[]).await;
    let failed_with = |words: &'static str| {
        let house = &house;
        until(words, move || async move {
            house.acme().await["last_error"].as_str().unwrap_or_default().contains(words)
        })
    };
    // None at all: the house's own is shown, and the failure is said.
    failed_with("500").await;
    assert!(house.shown().await.is_none());
    let health = house.ward.admin.call("GET", "/api/v1/health", None).await.unwrap();
    assert_eq!(health["status"], "degraded");
    assert!(health["warnings"].to_string().contains("by ACME"), "{health}");
    let metrics = house.ward.admin.text("/metrics").await.unwrap();
    assert!(metrics.contains("matron_core_acme_failures 1"), "{metrics}");
    assert!(metrics.contains("matron_core_tls_certificate_expires_timestamp_seconds"));

    house.authority.behave(|m| m.out_of_order = false);
    house.renew().await;
    let first = house.until_certified().await;
    until("health to be good again", || async { house.acme().await["failures"] == 0 }).await;

    // A proof that fails: the authority's own words are shown.
    let phones = house.ward.house.phones();
    house.authority.behave(|m| m.tls = "127.0.0.1:1".parse().unwrap());
    house.renew().await;
    failed_with("did not accept the proof (tls-alpn-01)").await;
    assert_eq!(house.shown().await.as_ref(), Some(&first));
    house.authority.behave(|m| m.tls = phones);

    // An order that runs out.
    house.authority.behave(|m| m.orders_run_out = true);
    house.renew().await;
    until("the order to run out", || async { house.acme().await["failures"] == 2 }).await;
    house.authority.behave(|m| m.orders_run_out = false);

    // Too often: the authority's Retry-After holds even for who asks for a try now.
    house.authority.behave(|m| m.rate_limited = Some(3600));
    house.renew().await;
    failed_with("rateLimited").await;
    let orders = house.authority.asked("new-order");
    let refused = house.ward.admin.call("POST", "/api/v1/tls-certificate/renew", None).await.unwrap_err();
    assert!(refused.to_string().contains("asked to wait"), "{refused}");
    assert_eq!(house.authority.asked("new-order"), orders);
    assert_eq!(house.shown().await.as_ref(), Some(&first));
    house.ward.phone(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_of_courier_door_and_core_in_the_middle_of_an_order_loses_nothing() {
    let slow = |m: &mut Manner| (m.validation_pause, m.processing) = (Duration::from_millis(400), 3);
    let house = Certified::open("tls-alpn-01", slow, &[]).await;
    let mut shown = house.until_certified().await;
    let mut phone = house.ward.phone(0).await;
    // Wherever the order is when the room dies: while it is proved, or while it is processed.
    for (room, after_ms) in [("courier", 150), ("courier", 900), ("core", 300), ("door", 1500), ("door", 150)]
    {
        let orders = house.authority.kept().1;
        house.renew().await;
        until("an order", || async { house.authority.kept().1 > orders }).await;
        tokio::time::sleep(Duration::from_millis(after_ms)).await;
        house.ward.house.kill_room(room).unwrap();
        until("the room to be back", || async { house.ward.house.pid(room).is_some() }).await;
        // The certificate that was shown is shown again, or the new one already.
        until("a good certificate", || async { house.shown().await.is_some() }).await;
        // A door that dies while it is looked at costs the try, not the house: the next one begins anew.
        until("another certificate", || async {
            if house.shown().await.is_some_and(|c| c != shown) {
                return true;
            }
            if house.acme().await["failures"].as_u64().unwrap_or(0) > 0 {
                let _ = house.ward.admin.call("POST", "/api/v1/tls-certificate/renew", None).await;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            false
        })
        .await;
        shown = house.shown().await.unwrap();
        house.ward.obey(&mut phone).await;
    }
    // One account, whatever died.
    assert_eq!(house.authority.kept().0, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_renewed_when_the_authority_suggests_and_says_which_one_it_replaces() {
    // For 90 days, and yet due now: the authority wants it back (RFC 9773).
    let house = Certified::open("tls-alpn-01", |m| m.window_s = Some((-60, -1)), &[]).await;
    let first = house.until_certified().await;
    house.until_another(&first).await;
    house.authority.behave(|m| m.window_s = Some((86_400, 86_400 * 2)));
    assert!(house.authority.asked("renewal-info") >= 1);
    assert!(house.authority.replaces().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_lived_certificate_is_renewed_by_itself_when_a_third_of_its_life_is_left() {
    let house = Certified::open("tls-alpn-01", |m| m.life = Duration::from_secs(9), &[]).await;
    let first = house.until_certified().await;
    house.authority.behave(|m| m.life = Duration::from_secs(86_400));
    house.until_another(&first).await;
    assert_eq!(house.acme().await["failures"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_shows_the_certificate_the_account_and_its_caa_record_and_renews() {
    let (phones, http) = (free().unwrap(), free().unwrap());
    let (authority, dir, all) = stand_in("tls-alpn-01", phones, http, |_| {}, &[]).await;
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let house = testkit::house::House::start_at(env!("CARGO_BIN_EXE_matron"), phones, &all).unwrap();
    let run = |arguments: &[&str]| {
        let out = house.matron(arguments).unwrap();
        assert!(out.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    run(&["admin", "join", "--token", house.token(), "--name", "Ada Example"]);
    until("the certificate", || async { run(&["acme", "status"]).contains("good until") }).await;
    assert!(run(&["acme", "status"]).contains("localhost"));
    let shown = run(&["acme", "show"]);
    let record = format!(
        "localhost. CAA 0 issue \"acme.example.org; accounturi={}/account/0; validationmethods=tls-alpn-01\"",
        authority.directory().trim_end_matches("/directory")
    );
    assert!(shown.contains(&record), "{shown}");
    run(&["acme", "renew"]);
    until("a second order", || async { authority.kept() == (1, 2) }).await;
    drop(dir);
}

/// A process that ends with the test.
struct Ends(std::process::Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn have(program: &str) -> bool {
    std::process::Command::new(program).arg("-h").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// Pebble's management listener, without looking at its certificate.
fn pebble_root(management: SocketAddr) -> Option<String> {
    let url = format!("https://{management}/roots/0");
    let out = std::process::Command::new("curl").args(["-sk", &url]).output().ok()?;
    let text = String::from_utf8(out.stdout).ok()?;
    text.contains("BEGIN CERTIFICATE").then_some(text)
}

async fn with_pebble(challenge: &str) {
    if !have("pebble") || !have("pebble-challtestsrv") {
        skipped::not_installed("pebble");
        return;
    }
    let (phones, http, listen, management) =
        (free().unwrap(), free().unwrap(), free().unwrap(), free().unwrap());
    let (dns, dns_management) = (free().unwrap(), free().unwrap());
    let dir = tempfile::tempdir().unwrap();
    // Pebble's own TLS: a certificate that its directory's name fits.
    let own = testkit::acme::Server::start(Manner::obliging(http, phones)).await.unwrap();
    let (chain, key) = own.certificate_for_localhost().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let config = serde_json::json!({ "pebble": {
        "listenAddress": listen.to_string(), "managementListenAddress": management.to_string(),
        "certificate": file("pebble.pem", &chain), "privateKey": file("pebble.key", &key),
        "httpPort": http.port(), "tlsPort": phones.port(),
        "ocspResponderURL": "", "externalAccountBindingRequired": false,
    }});
    let _names = Ends(
        std::process::Command::new("pebble-challtestsrv")
            .args([
                "-defaultIPv6",
                "",
                "-defaultIPv4",
                "127.0.0.1",
                "-http01",
                "",
                "-https01",
                "",
                "-tlsalpn01",
                "",
            ])
            .args(["-dns01", &dns.to_string(), "-management", &dns_management.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let log = std::fs::File::create(dir.path().join("pebble.log")).unwrap();
    let _pebble = Ends(
        std::process::Command::new("pebble")
            .args(["-strict", "-config", &file("pebble.json", &config.to_string())])
            .args(["-dnsserver", &dns.to_string()])
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_WFE_NONCEREJECT", "5")
            .env("PEBBLE_CHAIN_LENGTH", "2")
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap(),
    );
    until("pebble", || async { pebble_root(management).is_some() }).await;
    let root = pebble_root(management).unwrap();
    let anchors = file("anchors.pem", &format!("{}{root}", own.root_pem()));
    let settings = [
        format!("base_url=https://mdm.example.org:{}", phones.port()),
        format!("acme.directory=https://localhost:{}/dir", listen.port()),
        "acme.agree_to_terms=true".to_owned(),
        "acme.contact=mailto:mdm@example.org".to_owned(),
        format!("acme.challenge={challenge}"),
        format!("acme.http_listen={http}"),
        format!("acme.trust_anchor={anchors}"),
    ];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let ward = Ward::open_at(phones, &settings).await;
    let log = || std::fs::read_to_string(dir.path().join("pebble.log")).unwrap_or_default();
    let end = Instant::now() + Duration::from_secs(40);
    let first = loop {
        if let Some(first) = shown(phones, "mdm.example.org", &root).await {
            break first;
        }
        assert!(Instant::now() < end, "{}\n{}", ward.house.log(), log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    ward.admin.call("POST", "/api/v1/tls-certificate/renew", None).await.unwrap();
    until("a renewal by pebble", || async {
        shown(phones, "mdm.example.org", &root).await.is_some_and(|c| c != first)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pebble_in_strict_mode_issues_by_tls_alpn_01() {
    with_pebble("tls-alpn-01").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pebble_in_strict_mode_issues_by_http_01() {
    with_pebble("http-01").await;
}
