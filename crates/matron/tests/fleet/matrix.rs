//! Every route of the API and every page of the console, asked by each role, by someone who is held to another group,
//! and by nobody: the list is the routers' own.

use super::*;
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use model::{Group, Role};
use order::{JoinSecrets, sha256};

const BROWSER: &str = "matrix";

/// Who asks.
pub(super) struct Visitor {
    pub(super) name: &'static str,
    /// They signed in by an OpenID provider.
    pub(super) only_reads: bool,
    /// What they are held to.
    group: Option<&'static str>,
    pub(super) session: String,
    cookie: String,
}

/// A status, without the body: some answers have no end.
async fn asked(address: &str, method: &str, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut request = http::Request::builder().method(method).uri(path).header("host", address);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = if method == "GET" { "" } else { "{}" };
    let request =
        request.header("content-type", "application/json").body(Full::new(bytes::Bytes::from(body)));
    let response = sender.send_request(request.unwrap()).await.unwrap();
    let location = response.headers().get("location").map(|v| v.to_str().unwrap().to_owned());
    connection.abort();
    (response.status().as_u16(), location.unwrap_or_default())
}

impl Visitor {
    async fn api(&self, ward: &Ward, method: &str, path: &str) -> u16 {
        let bearer = format!("Bearer {}", self.session);
        asked(ward.admin.address(), method, path, &[("authorization", &bearer)]).await.0
    }

    async fn page(&self, ward: &Ward, method: &str, path: &str) -> u16 {
        let headers =
            [("cookie", self.cookie.as_str()), ("user-agent", BROWSER), ("sec-fetch-site", "same-origin")];
        asked(ward.admin.address(), method, path, &headers).await.0
    }
}

async fn signs_in(person: &Admin, name: &'static str, group: Option<&'static str>) -> Visitor {
    let secret = sha256(name.as_bytes()).0;
    let (cookie, session) = console::of_browser(&secret, BROWSER.as_bytes());
    let kind = OrderKind::Grant {
        session: sha256(session.as_bytes()),
        records: 0,
        searches: 0,
        compartments: vec![],
        valid_ms: model::clock::HOUR_MS,
    };
    person.order(kind, vec![], None).await.unwrap();
    Visitor { name, only_reads: false, group, session, cookie }
}

/// A ward with a provider that nobody asks: a role that no line gives has no sessions.
pub(super) async fn ward_with_accounts() -> Ward {
    let roles = "oidc.roles=[{claim=\"groups\",value=\"a\",role=\"auditor\"},\
                 {claim=\"groups\",value=\"d\",role=\"service_desk\"},\
                 {claim=\"groups\",value=\"b\",role=\"ward_manager\",group=\"bench\"},\
                 {claim=\"groups\",value=\"8\",role=\"ward_manager\",group=\"ward-8\"}]";
    Ward::open(&[
        "oidc.issuer=https://id.example.org",
        "oidc.client_id=matron",
        "oidc.client_secret=/etc/hostname",
        "oidc.console_url=https://matron.example.org",
        roles,
    ])
    .await
}

/// Sessions as core keeps those that were signed in by an OpenID provider.
fn sign_in_to_read(ward: &mut Ward, who: &[(&'static str, Role, Option<&'static str>)]) -> Vec<Visitor> {
    ward.house.stop().unwrap();
    let database = rusqlite::Connection::open(ward.house.room_dir("core").join("core.db")).unwrap();
    let now_ms = SystemClock.now_ms();
    let all = who.iter().map(|(name, role, group)| {
        let (cookie, session) = console::of_browser(&sha256(name.as_bytes()).0, BROWSER.as_bytes());
        let columns = "hash, subject, role, home, began_at_ms, idle_until_ms, expires_at_ms";
        let kept = database.execute(
            &format!("INSERT INTO oidc_sessions ({columns}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)"),
            rusqlite::params![
                sha256(session.as_bytes()).0,
                [7u8; 32],
                role.name(),
                group,
                now_ms,
                now_ms + model::clock::HOUR_MS
            ],
        );
        assert_eq!(kept.unwrap(), 1);
        Visitor { name, only_reads: true, group: *group, session, cookie }
    });
    let all = all.collect();
    drop(database);
    ward.house.run().unwrap();
    all
}

/// The five roles, a ward manager of another ward, and those who only read.
pub(super) async fn visitors(ward: &mut Ward) -> Vec<Visitor> {
    let mut all = vec![signs_in(&ward.admin, "administrator", None).await];
    for (seed, name, role, group) in [
        (81, "engineer", Role::Engineer, None),
        (82, "service desk", Role::ServiceDesk, None),
        (83, "auditor", Role::Auditor, None),
        (84, "ward manager", Role::WardManager, Some("bench")),
        (85, "another ward's manager", Role::WardManager, Some("ward-8")),
    ] {
        let person = ward.admin.another(seed);
        let kind = OrderKind::AddPerson {
            key: person.person_key(),
            role,
            group: group.and_then(|g| Group::new(g).ok()),
        };
        let secrets = encode(&JoinSecrets { name: "Somebody Made-up".into() });
        ward.admin.order(kind, vec![], Some(&secrets)).await.unwrap();
        all.push(signs_in(&person, name, group).await);
    }
    all.extend(sign_in_to_read(
        ward,
        &[
            ("auditor by OpenID", Role::Auditor, None),
            ("service desk by OpenID", Role::ServiceDesk, None),
            ("ward manager by OpenID", Role::WardManager, Some("bench")),
            ("another ward's manager by OpenID", Role::WardManager, Some("ward-8")),
        ],
    ));
    all
}

/// What tells of every group: someone who is held to one gets 403.
const OF_EVERY_GROUP: &[&str] = &[
    "/api/v1/orders/pending",
    "/api/v1/orders/{order}/signed",
    "/api/v1/api-keys",
    "/api/v1/oidc/sessions",
    "/api/v1/health",
    "/metrics",
    "/approvals/{order}",
    "/api/v1/ledger",
    "/api/v1/ledger/{index}",
    "/api/v1/ledger/{index}/proof",
    "/ledger",
    "/ledger.jsonl",
    "/entries/{index}",
    "/entries/{index}/proof",
    "/people",
    "/health",
];

/// What is not there in this house, for whoever asks: no witness, no tile of that width.
const NOT_THERE: &[&str] = &["/ledger/cosigned", "/ledger/tile/{*path}"];

/// What names one phone, one device group, one command or one order.
fn is_of_one(path: &str) -> bool {
    ["{enrolment}", "{device_group}", "{command}", "{order}", "{id}"].iter().any(|part| path.contains(part))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_and_page_answers_each_role_as_it_should_and_another_group_finds_nothing() {
    let mut ward = ward_with_accounts().await;
    let phone = ward.phone(0).await;
    let said = ward.command(Command::DeviceLock, &[id(&phone)], &CommandSecrets::default()).await.unwrap();
    let order = said["order"].as_str().unwrap().to_owned();
    let commands =
        ward.admin.call("GET", &format!("/api/v1/devices/{}/commands", id(&phone)), None).await.unwrap();
    let command = commands["items"][0]["command"].as_str().unwrap().to_owned();
    let group = model::DeviceGroupId([7; 16]);
    let kind = OrderKind::SaveDeviceGroup {
        group,
        replaces: None,
        name: model::DeviceGroupName::new("The bench").unwrap(),
        definition: model::DeviceGroupDefinition::List,
    };
    ward.admin.order(kind, vec![id(&phone)], None).await.unwrap();
    const MILD: &[u8] = include_bytes!("../../../apple/tests/data/profile_mild.mobileconfig");
    let profile = model::ProfileId([7; 16]);
    let secrets = order::SaveSecrets { profile: MILD.to_vec(), salt: vec![1; 32] };
    let kind = order::OrderKind::SaveProfile { profile };
    ward.admin.order(kind, vec![], Some(&order::encode(&secrets))).await.unwrap();
    let visitors = visitors(&mut ward).await;
    let concrete = |path: &str| {
        path.replace("{enrolment}", &id(&phone).to_string())
            .replace("{command}", &command)
            .replace("{device_group}", &group.to_string())
            .replace("{order}", &order)
            .replace("{id}", &order)
            .replace("{index}", "1")
            .replace("{profile}", &profile.to_string())
            .replace("{version}", "1")
            .replace("{*path}", "0/000.p/1")
            .replace("/device-groups/preview", "/device-groups/preview?lost=true")
    };
    let expected = |v: &Visitor, template: &str| match v.group {
        // A phone's holder's alone: see `holder.rs`.
        _ if template.starts_with("/api/v1/my-phone") => 403,
        Some(_) if OF_EVERY_GROUP.contains(&template) => 403,
        _ if NOT_THERE.contains(&template) => 404,
        Some("ward-8") if is_of_one(template) => 404,
        _ => 200,
    };
    let mut wrong = Vec::new();
    let mut asked_for = 0;
    for route in core_room::routes() {
        if matches!(route.access, core_room::Access::Public(_)) {
            continue;
        }
        let path = concrete(&route.path);
        assert!(!path.contains('{'), "{path}");
        let (nobody, _) = asked(ward.admin.address(), route.method, &path, &[]).await;
        if nobody != 401 {
            wrong.push(format!("nobody: {} {}: {nobody}", route.method, route.path));
        }
        if route.method != "GET" {
            // Before its body is looked at; what is one's own session one may end.
            for v in visitors.iter().filter(|v| v.only_reads && route.path != "/api/v1/session") {
                let got = v.api(&ward, route.method, &path).await;
                if got != 403 {
                    wrong.push(format!("{}: {} {}: {got}, not 403", v.name, route.method, route.path));
                }
            }
            continue;
        }
        for v in &visitors {
            asked_for += 1;
            let (got, wanted) = (v.api(&ward, "GET", &path).await, expected(v, &route.path));
            if got != wanted {
                wrong.push(format!("{}: {}: {got}, not {wanted}", v.name, route.path));
            }
        }
    }
    for page in console::pages().iter().filter(|p| p.access == console::Access::Inside) {
        let path = concrete(page.path);
        assert!(!path.contains('{'), "{path}");
        let own = [("sec-fetch-site", "same-origin")];
        let (nobody, to) = asked(ward.admin.address(), page.method, &path, &own).await;
        let turned_away =
            if page.method == "GET" { nobody == 303 && to.starts_with("/sign-in") } else { nobody == 401 };
        if !turned_away {
            wrong.push(format!("nobody: {} {}: {nobody} {to}", page.method, page.path));
        }
        for v in &visitors {
            asked_for += 1;
            let got = v.page(&ward, page.method, &path).await;
            // A change without the page's token is refused, whoever asks.
            let wanted = if page.method == "GET" { expected(v, page.path) } else { 403 };
            if got != wanted {
                wrong.push(format!("{}: {} {}: {got}, not {wanted}", v.name, page.method, page.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(asked_for > 150, "{asked_for}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_says_nothing_is_refused_to_everyone_and_never_fails_within() {
    let mut ward = ward_with_accounts().await;
    let visitors = visitors(&mut ward).await;
    for route in core_room::routes() {
        let public = matches!(route.access, core_room::Access::Public(_));
        // Ends the session that asks; whoever has one may.
        if public || route.method == "GET" || route.path == "/api/v1/session" {
            continue;
        }
        for v in &visitors {
            let got = v.api(&ward, route.method, &route.path).await;
            assert!((400..500).contains(&got), "{}: {} {}: {got}", v.name, route.method, route.path);
        }
    }
    for v in &visitors {
        assert_eq!(v.api(&ward, "DELETE", "/api/v1/session").await, 204, "{}", v.name);
        assert_eq!(v.api(&ward, "GET", "/api/v1/session").await, 401, "{}: a session that was ended", v.name);
    }
}
