//! Who may change what: every changing route with a body that a permitted person would get through with, and an order of
//! every kind by every role. What is expected stands here as docs/roles.md says it; the code's own table is not asked.

use super::matrix::{Visitor, visitors, ward_with_accounts};
use super::*;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use model::{
    AppSource, CommandKind, Compartment, DataSubject, DeviceGroupDefinition, DeviceGroupId, DeviceGroupName,
    Duty, Group, KeyName, Limit, OrderId, ProfileId, Role, SetName, Setting, StandingTemplate,
};
use order::{ApiScope, DeclarationSecrets, Ed25519Secret, InviteSecrets, JoinSecrets, Refusal, sha256};

const MILD: &[u8] = include_bytes!("../../../apple/tests/data/profile_mild.mobileconfig");
/// Everything that a phone sends goes through somebody's proxy: nothing that is known to be mild.
const HARSH: &str = "<plist version=\"1.0\"><dict><key>PayloadType</key><string>Configuration</string>
    <key>PayloadVersion</key><integer>1</integer><key>PayloadUUID</key><string>A</string>
    <key>PayloadIdentifier</key><string>org.example.proxy</string><key>PayloadContent</key><array><dict>
    <key>PayloadType</key><string>com.apple.proxy.http.global</string><key>PayloadVersion</key><integer>1</integer>
    <key>PayloadUUID</key><string>B</string><key>PayloadIdentifier</key><string>org.example.proxy.1</string>
    <key>ProxyType</key><string>Manual</string><key>ProxyServer</key><string>192.0.2.1</string>
    <key>ProxyServerPort</key><integer>8080</integer></dict></array></dict></plist>";
const STATUS: &str = r#"[{"Type": "com.apple.configuration.management.status-subscriptions", "Identifier": "status",
    "Payload": {"StatusItems": [{"Name": "device.model.identifier"}]}}]"#;

/// Those who sign: as the columns of the tables below.
const SIGNERS: [(&str, u8); 6] = [
    ("administrator", 0),
    ("engineer", 81),
    ("service desk", 82),
    ("auditor", 83),
    ("ward manager", 84),
    ("another ward's manager", 85),
];

/// What is there to be changed, for each signer something of its own.
struct There {
    phone: EnrolmentId,
    holder: String,
    /// An invitation that is open.
    invited: Vec<EnrolmentId>,
    /// An order that locks the phone.
    locks: Vec<OrderId>,
    groups: Vec<DeviceGroupId>,
    library: ProfileId,
    shown: model::Digest,
    identifier: String,
    key: String,
    standing: OrderId,
    waiting: OrderId,
    auditor: model::PersonId,
}

/// An order, and what becomes of it for each signer: `y` it is taken, `w` it waits for another signature, `-` the role
/// may not, `g` the phone is another group's, `x` it is refused for a reason that is no one's role.
struct Row {
    kind: OrderKind,
    targets: Vec<EnrolmentId>,
    secrets: Option<Vec<u8>>,
    expected: &'static str,
    otherwise: Option<Refusal>,
}

fn row(expected: &'static str, kind: OrderKind) -> Row {
    Row { kind, targets: vec![], secrets: None, expected, otherwise: None }
}

impl Row {
    fn to(self, phone: EnrolmentId) -> Self {
        Self { targets: vec![phone], ..self }
    }

    fn with(self, secrets: Vec<u8>) -> Self {
        Self { secrets: Some(secrets), ..self }
    }

    fn or(self, refusal: Refusal) -> Self {
        Self { otherwise: Some(refusal), ..self }
    }
}

fn session_of(n: usize) -> model::Digest {
    sha256(format!("spare {n}").as_bytes())
}

/// A profile of the library for each signer to take out.
fn spare(n: usize) -> ProfileId {
    ProfileId([0x20 + u8::try_from(n).unwrap(); 16])
}

/// Commands, by what docs/roles.md counts them as.
fn commands(there: &There) -> Vec<Row> {
    let app = || "org.example.pager".to_owned();
    let named = || CommandSecrets { holder_name: Some(there.holder.clone()), ..CommandSecrets::default() };
    let row = |expected, command, secrets: CommandSecrets| {
        row(expected, OrderKind::Command { command }).to(there.phone).with(encode(&secrets))
    };
    let plain = CommandSecrets::default;
    let install = |source| Command::InstallApplication {
        identifier: app(),
        source,
        remove_with_management: true,
        no_backup: false,
        take_over: false,
    };
    let settings = |item| Command::Settings { items: vec![item] };
    let profile = |bytes: &[u8]| CommandSecrets { profile: Some(bytes.to_vec()), ..named() };
    let raw =
        "<plist version=\"1.0\"><dict><key>RequestType</key><string>UserConfigured</string></dict></plist>";
    let raw = CommandSecrets { raw: Some(raw.into()), ..plain() };
    vec![
        // Lock.
        row("yyy-yg", Command::DeviceLock, plain()),
        // Lost mode.
        row("yyy-yg", Command::EnableLostMode, CommandSecrets { message: Some("Call".into()), ..plain() }),
        row("yyy-yg", Command::DeviceLocation, plain()),
        row("yyy-yg", Command::PlayLostModeSound, plain()),
        row("yyy-yg", Command::DisableLostMode, plain()),
        // Passcodes.
        row("yyy---", Command::ClearPasscode, plain()),
        // Restarts.
        row("yyy---", Command::RestartDevice { notify_user: true }, plain()),
        row("yy----", Command::ShutDownDevice, plain()),
        // What is mild.
        row("yyy---", Command::InstallProfile, profile(MILD)),
        row("yy----", settings(Setting::DataRoaming { enabled: true }), plain()),
        row("yy----", Command::DeclarativeManagement, plain()),
        row("yyy---", install(AppSource::Store { id: 1, licensed: true }), plain()),
        row("yy----", Command::ManagedApplicationConfiguration { identifiers: vec![app()] }, plain()),
        row(
            "yy----",
            Command::ManagedApplicationFeedback { identifiers: vec![app()], delete_feedback: false },
            plain(),
        ),
        row("yyy---", Command::ManagedApplicationAttributes { identifiers: vec![app()] }, plain()),
        row("yyy---", Command::ValidateApplications { identifiers: vec![app()] }, plain()),
        // Code, and settings of someone's choice.
        row(
            "yy----",
            install(AppSource::Manifest { url: "https://apps.example.org/m.plist".into() }),
            plain(),
        ),
        row("yy----", settings(Setting::ApplicationConfiguration { identifier: app() }), plain()),
        row("yy----", Command::Raw { request_type: "UserConfigured".into() }, raw),
        row("yy----", Command::ClearActivationLockBypassCode, plain()),
        // Erasing: three an hour by one person, six in the house.
        row(
            "yy----",
            Command::EraseDevice { preserve_data_plan: false, disallow_proximity_setup: false },
            named(),
        ),
        row("yy----", Command::RemoveProfile { identifier: "org.example.wifi".into() }, named()),
        row("yy----", Command::RemoveApplication { identifier: app() }, named()),
        // A harsh profile counts as that, and there is nothing left of the budget.
        row("ww----", Command::InstallProfile, profile(HARSH.as_bytes())),
    ]
}

/// All else that an order may be.
fn others(there: &There, n: usize, own: model::KeyId) -> Vec<Row> {
    let phone = there.phone;
    let key = |seed: u8| Ed25519Secret::from_seed([seed; 32]).unwrap();
    let seed = 100 + u8::try_from(n).unwrap();
    let grant = |records, searches, compartments| OrderKind::Grant {
        session: session_of(if records > 0 { n + 100 } else { n }),
        records,
        searches,
        compartments,
        valid_ms: model::clock::HOUR_MS,
    };
    let name = JoinSecrets { name: "Somebody Made-up".into() };
    let holder = InviteSecrets { name: "Grace Example".into(), email: "grace@example.org".into() };
    let hash = sha256(format!("another key {n}").as_bytes());
    let declared =
        DeclarationSecrets { declarations: STATUS.into(), holder_name: Some(there.holder.clone()) };
    let list = OrderKind::SaveDeviceGroup {
        group: DeviceGroupId([seed; 16]),
        replaces: None,
        name: DeviceGroupName::new(&format!("Of {n}")).unwrap(),
        definition: DeviceGroupDefinition::List,
    };
    let saved = OrderKind::InstallSaved {
        profile: there.library,
        version: 1,
        identifier: there.identifier.clone(),
        erasing: false,
        shown: there.shown,
    };
    let another = order::SaveSecrets { profile: MILD.to_vec(), salt: vec![seed; 32] };
    let standing = OrderKind::MakeStanding {
        template: StandingTemplate::RenewCertificates { before_ms: StandingTemplate::USUAL_BEFORE_MS },
        cap_an_hour: 10,
        expires_at_ms: SystemClock.now_ms() + 30 * model::clock::DAY_MS,
    };
    let bench = Group::new("bench").unwrap();
    let limit = Limit::CoolingOff { duty: Duty::Erase };
    vec![
        // Invitations and records.
        row("yyy-yg", OrderKind::Invite { group: bench, valid_ms: model::clock::DAY_MS })
            .with(encode(&holder)),
        row("yyy-yg", OrderKind::WithdrawInvitation).to(there.invited[n]),
        row("yyy-yg", OrderKind::HolderCards).to(phone),
        row("yyy-yg", OrderKind::Open { fields: vec!["IMEI".into()] }).to(phone),
        // What is mild, but no command.
        row("yy----", OrderKind::SetDeclarations { set: SetName::new("status").unwrap() })
            .to(phone)
            .with(encode(&declared)),
        row("yy----", list).to(phone),
        // Into the library goes the next version of what is there.
        row("yy----", OrderKind::SaveProfile { profile: there.library }).with(encode(&another)),
        row("yyy---", saved).to(phone),
        row("yy----", OrderKind::EndProfile { profile: spare(n) }),
        // Sessions.
        row("yyyyyy", grant(0, 0, vec![])),
        row("yyy-yy", grant(1, 1, vec![Compartment::Identity])),
        row("yyyyyy", OrderKind::EndSession { session: session_of(n) }),
        // Ending things.
        row("yyy-yg", OrderKind::Recall { order: there.locks[n] }),
        row("yy----", OrderKind::EndDeviceGroup { group: there.groups[n] }),
        row("xx----", OrderKind::EndProfile { profile: model::ProfileId([0xee; 16]) })
            .or(Refusal::UnknownProfile),
        row("y-----", OrderKind::EndApiKey { hash: sha256(there.key.as_bytes()) }),
        row("y-----", OrderKind::EndStanding { order: there.standing }),
        row("y-----", OrderKind::Reject { order: there.waiting }),
        row("xxxxxx", OrderKind::EndKey { key: own }).or(Refusal::KeyStays),
        row("x-----", OrderKind::EndOlderCa { before: 1 }).or(Refusal::NoOlderCa),
        row("x-----", OrderKind::ConfirmRestore { manifest: hash, made_at_ms: 1, without: vec![] })
            .or(Refusal::NoSuchRestore),
        row("xxxxxx", OrderKind::JoinFirst { key: key(seed).person_key() })
            .with(encode(&name))
            .or(Refusal::TokenSpent),
        // People, keys, limits, standing orders: with a second administrator in the house, two sign.
        row("w-----", OrderKind::AddPerson { key: key(seed).person_key(), role: Role::Auditor, group: None })
            .with(encode(&name)),
        row("w-----", OrderKind::RemovePerson { person: there.auditor }),
        row("w-----", OrderKind::ErasePerson { subject: DataSubject::Holder(phone), despite_enrolled: true }),
        row("wwwwww", OrderKind::AddKey { key: key(seed + 50).person_key() }),
        row(
            "w-----",
            OrderKind::MakeApiKey {
                hash,
                scopes: vec![ApiScope::Devices],
                valid_ms: model::clock::DAY_MS,
                label: "a test".into(),
            },
        ),
        row("w-----", OrderKind::SetServiceToken { service: "com.apple.maid".into() })
            .with(encode(&order::ServiceTokenSecrets { token: b"made up".to_vec() })),
        row("w-----", OrderKind::RotateKeys { keys: vec![KeyName::Index] }),
        row("w-----", OrderKind::AssumeBreach { reissues_an_hour: 100 }),
        row("w-----", OrderKind::SetLimit { limit, value: 7200 }),
        row("w-----", standing),
    ]
}

/// What became of an order: nothing stands in its way, or why not.
fn refusal(said: anyhow::Result<Value>) -> Option<u16> {
    let text = format!("{:#}", said.err()?);
    let body = text.split_once("403 Forbidden: ").unwrap_or_else(|| panic!("no refusal: {text}")).1;
    let number = serde_json::from_str::<Value>(body).unwrap()["refusal"].as_u64();
    Some(u16::try_from(number.unwrap_or_else(|| panic!("no refusal: {text}"))).unwrap())
}

impl Ward {
    async fn has(&self, phone: EnrolmentId, holder: String) -> There {
        let (mut locks, mut groups) = (vec![], vec![]);
        for n in 0..SIGNERS.len() {
            self.admin.invite(&format!("Guest Madeup{n}"), "guest@example.org").await.unwrap();
            let lock = OrderKind::Command { command: Command::DeviceLock };
            let secrets = encode(&CommandSecrets::default());
            let said = self.admin.order(lock, vec![phone], Some(&secrets)).await.unwrap().0;
            locks.push(said["order"].as_str().unwrap().parse().unwrap());
            let group = DeviceGroupId([u8::try_from(n).unwrap() + 1; 16]);
            let kind = OrderKind::SaveDeviceGroup {
                group,
                replaces: None,
                name: DeviceGroupName::new(&format!("There {n}")).unwrap(),
                definition: DeviceGroupDefinition::List,
            };
            self.admin.order(kind, vec![phone], None).await.unwrap();
            groups.push(group);
            let content = HARSH.replace("org.example.proxy", &format!("org.example.proxy-{n}"));
            let secrets = encode(&order::SaveSecrets { profile: content.into_bytes(), salt: vec![2; 32] });
            self.admin
                .order(OrderKind::SaveProfile { profile: spare(n) }, vec![], Some(&secrets))
                .await
                .unwrap();
        }
        let open = self.admin.call("GET", "/api/v1/devices?state=invited", None).await.unwrap();
        let open = open["items"].as_array().unwrap().iter();
        let invited = open.map(|i| i["enrolment"].as_str().unwrap().parse().unwrap()).collect();
        let library = ProfileId([7; 16]);
        let secrets = order::SaveSecrets { profile: MILD.to_vec(), salt: vec![1; 32] };
        self.admin
            .order(OrderKind::SaveProfile { profile: library }, vec![], Some(&encode(&secrets)))
            .await
            .unwrap();
        let told =
            self.admin.call("GET", &format!("/api/v1/profiles/{library}/versions/1"), None).await.unwrap();
        let shown = order::ShownVersion {
            saved_by: told["version"]["order"].as_str().unwrap().parse().unwrap(),
            erasing: told["version"]["erasing"].as_bool().unwrap(),
            because: serde_json::from_value(told["because"].clone()).unwrap(),
            outline: serde_json::from_value(told["outline"].clone()).unwrap(),
        };
        let key = format!("mk_{}", "A".repeat(43));
        let kind = OrderKind::MakeApiKey {
            hash: sha256(key.as_bytes()),
            scopes: vec![ApiScope::Ledger],
            valid_ms: model::clock::DAY_MS,
            label: "a test".into(),
        };
        self.admin.order(kind, vec![], None).await.unwrap();
        let standing = OrderKind::MakeStanding {
            template: StandingTemplate::RenewCertificates { before_ms: StandingTemplate::USUAL_BEFORE_MS },
            cap_an_hour: 10,
            expires_at_ms: SystemClock.now_ms() + 30 * model::clock::DAY_MS,
        };
        let standing = self.admin.order(standing, vec![], None).await.unwrap().0;
        // From here on two sign what two have to.
        self.admin.add_person(&[self.admin.key()], Role::Administrator, None).await.unwrap();
        let limit = Limit::CoolingOff { duty: Duty::Erase };
        let held = self.admin.order(OrderKind::SetLimit { limit, value: 7300 }, vec![], None).await;
        assert!(format!("{:#}", held.unwrap_err()).contains("\"refusal\":60"));
        let pending = self.admin.call("GET", "/api/v1/orders/pending", None).await.unwrap();
        let people = self.admin.call("GET", "/api/v1/people", None).await.unwrap();
        let auditor = people["items"].as_array().unwrap().iter().find(|p| p["role"] == "auditor").unwrap();
        There {
            phone,
            holder,
            invited,
            locks,
            groups,
            library,
            identifier: told["outline"]["identifier"].as_str().unwrap().to_owned(),
            shown: shown.digest(),
            key,
            standing: standing["order"].as_str().unwrap().parse().unwrap(),
            waiting: pending["items"][0]["order"].as_str().unwrap().parse().unwrap(),
            auditor: auditor["person"].as_str().unwrap().parse().unwrap(),
        }
    }
}

/// The number of a phone that takes what supervised ones take.
fn supervised() -> u32 {
    (0..).find(|i| simulate::Handset::of(7, *i).supervised).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_of_order_is_taken_from_the_roles_that_may_and_refused_to_every_other_role_and_group() {
    let mut ward = ward_with_accounts().await;
    let index = supervised();
    let phone = id(&ward.phone(index).await);
    visitors(&mut ward).await;
    let there = ward.has(phone, simulate::people(7, index + 1).pop().unwrap().name).await;
    let stranger = Ed25519Secret::from_seed([9; 32]).unwrap();
    let (mut wrong, mut duties, mut kinds) = (Vec::new(), Vec::new(), Vec::new());
    for (n, (name, seed)) in SIGNERS.into_iter().enumerate() {
        let person = if n == 0 { ward.admin.with_secret("ms_none") } else { ward.admin.another(seed) };
        for row in others(&there, n, person.key().id()).into_iter().chain(commands(&there)) {
            let what = match &row.kind {
                OrderKind::Command { command } => {
                    kinds.push(command.kind());
                    command.request_type().to_owned()
                }
                kind => kind.name().to_owned(),
            };
            duties.push(order::limits::duty(&row.kind, row.expected == "ww----"));
            let secrets = row.secrets.as_deref();
            if n == 0 {
                let nobodys =
                    ward.admin.order_by(&[&stranger], row.kind.clone(), row.targets.clone(), secrets).await;
                // The first to join is a stranger until then: what is in the way is another.
                let joins = matches!(row.kind, OrderKind::JoinFirst { .. });
                let wanted = if joins { Refusal::TokenSpent } else { Refusal::UnknownSigner };
                let got = refusal(nobodys);
                if got != Some(wanted.number()) {
                    wrong.push(format!("a stranger, {what}: {got:?}, not {wanted:?}"));
                }
            }
            let got = refusal(person.order_by(&[person.key()], row.kind, row.targets, secrets).await);
            let wanted = match row.expected.as_bytes()[n] {
                b'y' => None,
                b'w' => Some(Refusal::NeedsSignatures),
                b'-' => Some(Refusal::RoleNotAllowed),
                b'g' => Some(Refusal::OutOfScope),
                _ => row.otherwise,
            };
            if got != wanted.map(Refusal::number) {
                wrong.push(format!("{name}, {what}: {got:?}, not {wanted:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // A search is no order; the routes below have it.
    let missing: Vec<_> = Duty::ALL.iter().filter(|d| **d != Duty::Search && !duties.contains(d)).collect();
    assert!(missing.is_empty(), "no order counts as {missing:?}");
    let missing: Vec<_> = CommandKind::ALL.iter().filter(|k| !kinds.contains(k)).collect();
    assert!(missing.is_empty(), "nobody tried {missing:?}");
}

/// A request with this body; its status, and what is said.
async fn sent(
    address: &str,
    (method, path): (&str, &str),
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, String) {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let kind = if body.starts_with('{') { "application/json" } else { "text/plain" };
    let mut request = http::Request::builder().method(method).uri(path).header("host", address);
    request = request.header("content-type", kind);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = http_body_util::Full::new(bytes::Bytes::from(body.to_owned()));
    let response = sender.send_request(request.body(body).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let said = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&said).into_owned())
}

/// The newest checkpoint with somebody's line under it, as a witness hands it back.
async fn cosigned(ward: &Ward) -> String {
    until("the checkpoint is served", || async { ward.admin.text("/ledger/checkpoint").await.is_ok() }).await;
    let line = ledger::NoteSignature { name: "w.example.org".into(), id: [1; 4], signature: vec![1; 72] };
    format!("{}{line}", ward.admin.text("/ledger/checkpoint").await.unwrap())
}

/// What each of [`SIGNERS`] gets; whoever only reads gets 403 of all, but for the end of their own session.
const ROUTES: [(&str, &str, [u16; 6]); 8] = [
    ("POST", "/api/v1/queries", [202, 202, 202, 403, 202, 404]),
    ("POST", "/api/v1/search", [200, 200, 200, 403, 200, 200]),
    ("POST", "/ledger/cosigned", [204, 204, 403, 403, 403, 403]),
    // None is configured here: those who may are told so.
    ("POST", "/api/v1/tls-certificate/renew", [409, 409, 403, 403, 403, 403]),
    // A phone's holder's alone, with the code of their card.
    ("POST", "/api/v1/my-phone/lost-mode", [403; 6]),
    ("POST", "/api/v1/my-phone/ring", [403; 6]),
    ("DELETE", "/api/v1/my-phone/session", [403; 6]),
    // The last, since it ends what asks.
    ("DELETE", "/api/v1/session", [204; 6]),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_changing_route_does_what_it_is_asked_for_whom_it_is_for_and_refuses_every_other() {
    let mut ward = ward_with_accounts().await;
    let phone = id(&ward.phone(0).await);
    let readers: Vec<Visitor> = visitors(&mut ward).await.into_iter().filter(|v| v.only_reads).collect();
    let mut signers = Vec::new();
    for (n, (name, seed)) in SIGNERS.into_iter().enumerate() {
        let mut person = if n == 0 { ward.admin.with_secret("ms_none") } else { ward.admin.another(seed) };
        let (cookie, session) = console::of_browser(&sha256(name.as_bytes()).0, b"changes");
        let searches = u32::from(name != "auditor") * 2;
        person.sign_in_as(&session, searches).await.unwrap();
        signers.push((name, person, session, cookie));
    }
    let mut keys = Vec::new();
    for (n, scope) in
        [ApiScope::Devices, ApiScope::Commands, ApiScope::Ledger, ApiScope::Metrics].into_iter().enumerate()
    {
        let secret = format!("mk_{}", char::from(b'A' + u8::try_from(n).unwrap()).to_string().repeat(43));
        let (hash, label) = (sha256(secret.as_bytes()), "a test".to_owned());
        let kind = OrderKind::MakeApiKey { hash, scopes: vec![scope], valid_ms: model::clock::DAY_MS, label };
        ward.admin.order(kind, vec![], None).await.unwrap();
        keys.push((scope, secret));
    }
    // None is added or taken away without a line here. What anyone may ask carries its own signature or
    // begins with the caller's own cookie, and has tests of its own.
    let changing = |public: bool| {
        let routes = core_room::routes()
            .into_iter()
            .filter(move |r| r.method != "GET" && matches!(r.access, core_room::Access::Public(_)) == public);
        let mut all: Vec<_> = routes.map(|r| (r.method, r.path)).collect();
        all.sort();
        all
    };
    let mut listed: Vec<_> = ROUTES.iter().map(|(m, p, _)| (*m, (*p).to_owned())).collect();
    listed.sort();
    assert_eq!(changing(false), listed);
    let public: Vec<_> = changing(true).into_iter().map(|(_, path)| path).collect();
    assert_eq!(
        public,
        [
            "/api/v1/my-phone/session",
            "/api/v1/oidc/begin",
            "/api/v1/oidc/finish",
            "/api/v1/orders",
            "/api/v1/passkeys/find"
        ]
    );

    let note = cosigned(&ward).await;
    let holder = simulate::people(7, 1).pop().unwrap().name;
    let asks = serde_json::json!({ "queries": ["DeviceInformation"], "targets": [phone] }).to_string();
    let address = ward.admin.address().to_owned();
    let mut wrong = Vec::new();
    let mut judge = |who: &str, path: &str, got: u16, wanted: u16| {
        if got != wanted {
            wrong.push(format!("{who}: {path}: {got}, not {wanted}"));
        }
    };
    for (method, path, expected) in ROUTES {
        let body = |person: &Admin| match path {
            "/api/v1/queries" => asks.clone(),
            "/api/v1/search" => person.sealed_search("name", &holder).unwrap().to_string(),
            "/ledger/cosigned" => note.clone(),
            _ => String::new(),
        };
        let nobodys = body(&ward.admin);
        judge("nobody", path, sent(&address, (method, path), &[], &nobodys).await.0, 401);
        for (scope, secret) in &keys {
            let bearer = format!("Bearer {secret}");
            let got = sent(&address, (method, path), &[("authorization", &bearer)], &nobodys).await.0;
            let hands_back = path == "/ledger/cosigned" && *scope == ApiScope::Ledger;
            judge(&format!("a key for {scope:?}"), path, got, if hands_back { 204 } else { 403 });
        }
        for v in &readers {
            let bearer = format!("Bearer {}", v.session);
            let got = sent(&address, (method, path), &[("authorization", &bearer)], &nobodys).await.0;
            judge(v.name, path, got, if path == "/api/v1/session" { 204 } else { 403 });
        }
        for ((name, person, session, cookie), wanted) in signers.iter().zip(expected) {
            let bearer = format!("Bearer {session}");
            // The console's own search goes the same way.
            if path == "/api/v1/search" {
                let own = [
                    ("cookie", cookie.as_str()),
                    ("user-agent", "changes"),
                    ("sec-fetch-site", "same-origin"),
                ];
                let page = sent(&address, ("GET", "/phones"), &own, "").await.1;
                let token = page.split("name=\"matron-token\" content=\"").nth(1).unwrap();
                let token = token.split('"').next().unwrap();
                let own = [&own[..], &[("x-matron-token", token)]].concat();
                let got = sent(&address, ("POST", "/search"), &own, &body(person)).await;
                judge(name, "/search", got.0, wanted);
            }
            let got = sent(&address, (method, path), &[("authorization", &bearer)], &body(person)).await;
            judge(name, path, got.0, wanted);
            if path == "/api/v1/search" && wanted == 200 {
                let said: Value = serde_json::from_str(&got.1).unwrap();
                let found = said["items"].as_array().unwrap().len();
                assert_eq!(found, usize::from(*name != "another ward's manager"), "{name} finds {found}");
            }
            if path == "/api/v1/session" {
                let again = sent(&address, (method, path), &[("authorization", &bearer)], "").await;
                judge(name, "a session that was ended", again.0, 401);
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
