//! Writes the seeds of every target anew: `fuzz/seeds/<target>/`. All of it is made up and inert. Keys
//! are made here, used once and forgotten; what they signed stays.

mod rooms;

use apple::scep::{ContentCipher, client};
use apple::x509::{P256Signer, RsaSigner, Signer, SystemRandom, Window};
use ledger::{Body, Effect, Entry, Opaque, PersonalSealed, ReasonKey, RefusalCode, SigningPublicKey};
use model::{
    Command, CommandId, CommandKind, CommandSecrets, Compartment, Digest, EnrolmentId, Group, KeyId,
    LinkHash, OrderId, PersonId, Role, Setting,
};
use order::{
    AnswerClass, ApiScope, Ed25519Secret, KeyStatement, Order, OrderKind, SignedOrder, SignedStatement,
    SignedWarrant, Subject, Warrant, X25519Public, sha256,
};
use std::error::Error;
use std::{fs, path::Path};

pub type Done = Result<(), Box<dyn Error>>;

fn main() -> Done {
    messages()?;
    profiles()?;
    raw()?;
    certificates()?;
    orders()?;
    entries()?;
    links()?;
    rooms::all()
}

pub fn save(target: &str, name: &str, bytes: impl AsRef<[u8]>) -> Done {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    fs::create_dir_all(&dir)?;
    fs::write(dir.join(name), bytes)?;
    Ok(())
}

/// The crate's own samples, in both forms of a property list.
fn messages() -> Done {
    for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/apple/tests/data"))? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|n| n.to_str()).ok_or("a name")?;
        let target = if path.extension().is_some_and(|e| e == "xml") { "message" } else { "profile" };
        let text = fs::read(&path)?;
        let mut binary = Vec::new();
        plist::from_bytes::<plist::Value>(&text)?.to_writer_binary(&mut binary)?;
        save(target, &format!("{name}.xml"), text)?;
        save(target, &format!("{name}.bplist"), binary)?;
    }
    save("message", "ignored", "<plist><dict><key>MessageType</key><string>FromLater</string></dict></plist>")
}

fn profiles() -> Done {
    let profile = apple::profile::EnrolmentProfile {
        organization: "Example Hospital".into(),
        display_name: "Phones".into(),
        description: "Made up".into(),
        roots: vec![apple::profile::Root {
            certificate_der: root()?.1,
            display_name: "Example CA".into(),
            uuid: [1; 16],
        }],
        scep_url: "https://mdm.example.org/scep".into(),
        scep_challenge: "a-made-up-challenge".into(),
        common_name: "00000000-0000-0000-0000-000000000001".into(),
        ca_fingerprint: Some(vec![1; 32]),
        server_url: "https://mdm.example.org/mdm".into(),
        topic: "com.apple.mgmt.External.example".into(),
        sign_message: true,
        profile_uuid: [2; 16],
        scep_uuid: [3; 16],
        mdm_uuid: [4; 16],
    };
    save("profile", "enrolment.xml", profile.build()?)?;
    // A payload with a date, a real and text that XML has to escape.
    let odd = "<plist><dict><key>PayloadType</key><string>Configuration</string><key>PayloadContent</key>\
        <array><dict><key>PayloadType</key><string>com.example.odd</string><key>When</key>\
        <date>2024-02-29T12:34:56Z</date><key>R</key><real>-1.5e-7</real><key>T</key>\
        <string> &lt;&amp;]]&gt;\t\n </string><key>I</key><integer>18446744073709551615</integer></dict></array>\
        </dict></plist>";
    save("profile", "odd.xml", odd)
}

fn raw() -> Done {
    let update = "<key>Updates</key><array><dict><key>InstallAction</key><string>InstallASAP</string></dict></array>";
    for (name, request_type, rest) in [
        ("plain.xml", "StopMirroring", ""),
        ("text.xml", "RemoveProvisioningProfile", "<key>UUID</key><string>made-up</string>"),
        ("nested.xml", "ScheduleOSUpdate", update),
    ] {
        let file = format!(
            "<plist version=\"1.0\"><dict><key>RequestType</key><string>{request_type}</string>{rest}</dict></plist>"
        );
        save("raw", name, file)?;
    }
    Ok(())
}

const WINDOW: Window = Window { not_before_ms: 0, not_after_ms: 4_000_000_000_000 };
const INSIDE: Window = Window { not_before_ms: 0, not_after_ms: 3_000_000_000_000 };

fn root() -> Result<(P256Signer, Vec<u8>), Box<dyn Error>> {
    let ca = P256Signer::generate()?;
    let cert = apple::x509::ca_certificate(&ca, "fuzz", [1; 16], WINDOW)?;
    Ok((ca, cert))
}

/// `mode` is the first byte, by which some targets choose.
fn with_mode(mode: u8, bytes: &[u8]) -> Vec<u8> {
    [&[mode], bytes].concat()
}

fn certificates() -> Done {
    let (ca, root) = root()?;
    let key = RsaSigner::generate()?;
    let ra = apple::x509::ra_certificate(&root, &ca, key.spki_der(), [2; 16], INSIDE)?;
    save("cms", "certificate.der", &root)?;
    save("cms", "ra.der", &ra)?;
    save("cms", "signed.der", apple::cms::sign_attached(b"content", &ca, &[&root], 1_700_000_000_000)?)?;
    save("cms", "signed_rsa.der", apple::cms::sign_attached(b"content", &key, &[&ra, &root], 0)?)?;
    save("cms", "certificates_only.der", apple::scep::ca_cert(&ra, &root))?;

    let phone = RsaSigner::generate()?;
    let phone_cert = apple::x509::self_signed_request_certificate(&phone, "fuzz phone", [3; 16], INSIDE)?;
    let csr = apple::csr::build(&phone, "fuzz phone", Some("a-made-up-challenge"))?;
    save("csr", "rsa.der", with_mode(0, &csr))?;
    let vendor = RsaSigner::generate()?;
    let chain = vec![apple::x509::self_signed_request_certificate(&vendor, "fuzz vendor", [4; 16], INSIDE)?];
    let request = apple::push_request::PushRequest::sign(&csr, chain, &vendor)?;
    save("push_request", "signed.txt", with_mode(0, request.to_text()?.as_bytes()))?;
    save("csr", "p256.der", with_mode(0, &apple::csr::build(&ca, "fuzz phone", None)?))?;
    let challenge = [
        &[
            0x30, 0x16, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x07, 0x31, 0x09, 0x0c,
            0x07,
        ][..],
        b"made-up",
    ]
    .concat();
    save("csr", "attributes.der", with_mode(1, &challenge))?;
    let wide = [&challenge[..15], &[0x1e, 0x07], b"\0m\0a\0d"].concat();
    save("csr", "attributes_bmp.der", with_mode(1, &wide))?;

    save("scep", "csr.der", with_mode(2, &csr))?;
    for (n, cipher) in
        [ContentCipher::Aes128, ContentCipher::Aes256, ContentCipher::TripleDes, ContentCipher::SingleDes]
            .into_iter()
            .enumerate()
    {
        let request = client::Request {
            signer: &phone,
            signer_cert: &phone_cert,
            csr_der: &csr,
            ra_cert: &ra,
            transaction_id: "made-up",
            sender_nonce: [5; 16],
            cipher,
        };
        let message = client::pkcs_req(&request, &SystemRandom)?;
        save("scep", &format!("request_{n}.der"), with_mode(0, &message))?;
        // The envelope is the one octet string within [0] within the content info.
        let envelope = find_envelope(&message).ok_or("an envelope")?;
        save("scep", &format!("envelope_{n}.der"), with_mode(1, envelope))?;
    }
    let sealed = apple::scep::SealedRequest {
        csr: zeroize::Zeroizing::new(csr),
        challenge: zeroize::Zeroizing::new("made-up".into()),
    };
    save("scep", "sealed.cbor", with_mode(3, &sealed.to_bytes()))?;
    let context = apple::scep::Context {
        transaction_id: "made-up".into(),
        sender_nonce: vec![6; 16],
        requester_cert: phone_cert,
        cipher: ContentCipher::Aes128,
    };
    save("scep", "context.cbor", with_mode(3, &context.to_bytes()))
}

/// The content info of type enveloped data (1.2.840.113549.1.7.3) inside of a message.
fn find_envelope(message: &[u8]) -> Option<&[u8]> {
    const ENVELOPED: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x03];
    let at = message.windows(ENVELOPED.len()).position(|w| w == ENVELOPED)?.checked_sub(4)?;
    // 0x30 0x82 and two bytes of length stand before it: an envelope around a request has over 255 bytes.
    let [0x30, 0x82, high, low, ..] = message.get(at..)? else { return None };
    message.get(at..at + 4 + usize::from(u16::from_be_bytes([*high, *low])))
}

fn kinds(key: &Ed25519Secret) -> Result<Vec<OrderKind>, Box<dyn Error>> {
    let key = key.person_key();
    let group = Group::new("ward-7").map_err(|e| e.to_string())?;
    let mut kinds = vec![
        OrderKind::JoinFirst { key: key.clone() },
        OrderKind::AddPerson { key: key.clone(), role: Role::WardManager, group: Some(group.clone()) },
        OrderKind::AddKey { key },
        OrderKind::RemovePerson { person: PersonId([1; 16]) },
        OrderKind::Invite { group, valid_ms: 86_400_000 },
        OrderKind::WithdrawInvitation,
        OrderKind::Open { fields: vec!["IMEI".into(), "ServiceSubscriptions.0.PhoneNumber".into()] },
        OrderKind::Grant {
            session: Digest([2; 32]),
            records: 50,
            searches: 5,
            compartments: vec![Compartment::Identity, Compartment::Contact],
            valid_ms: 3_600_000,
        },
        OrderKind::Recall { order: OrderId([3; 16]) },
        OrderKind::Reject { order: OrderId([3; 16]) },
        OrderKind::MakeApiKey {
            hash: Digest([4; 32]),
            scopes: vec![ApiScope::Devices, ApiScope::Metrics],
            valid_ms: 1,
            label: "monitoring".into(),
        },
        OrderKind::EndApiKey { hash: Digest([4; 32]) },
        OrderKind::EndSession { session: Digest([2; 32]) },
    ];
    let commands = [
        Command::InstallProfile,
        Command::RemoveProfile { identifier: "org.example.wifi".into() },
        Command::DeviceLock,
        Command::EraseDevice { preserve_data_plan: true, disallow_proximity_setup: false },
        Command::RestartDevice { notify_user: true },
        Command::Settings {
            items: vec![
                Setting::Bluetooth { enabled: false },
                Setting::DeviceName,
                Setting::TimeZone { name: "Europe/London".into() },
            ],
        },
    ];
    kinds.extend(commands.map(|command| OrderKind::Command { command }));
    Ok(kinds)
}

/// What an order may tell of what lies sealed in it.
fn outline() -> model::SealedOutline {
    let value = model::OutlinedValue::Text("18.1".into());
    let key = model::OutlinedKey { path: "TargetOSVersion".into(), value };
    model::SealedOutline::Raw(vec![key])
}

fn orders() -> Done {
    let key = Ed25519Secret::from_seed([7; 32]).ok_or("a key")?;
    for (n, kind) in kinds(&key)?.into_iter().enumerate() {
        let order = Order {
            version: Order::VERSION,
            id: OrderId([n as u8; 16]),
            targets: vec![EnrolmentId([8; 16]); n % 3],
            reason: "phone was left on a bus".into(),
            made_at_ms: 1_764_000_000_000,
            expires_at_ms: 1_764_086_400_000,
            answer_key: X25519Public([9; 32]),
            sealed_digest: (n % 2 == 0).then_some(Digest([10; 32])),
            outline: kind.takes_outline().then(outline),
            kind,
        };
        save("order", &format!("order_{:02}_{}.cbor", n, order.kind.name()), order::encode(&order))?;
        if n < 3 {
            let signed = order::encode(&SignedOrder::sign(&order, &key));
            save("order", &format!("signed_{n}.cbor"), signed)?;
        }
    }
    for (name, subject, class, command) in [
        ("warrant_command", Subject::Enrolment(EnrolmentId([1; 16])), AnswerClass::Command, Some([2; 16])),
        ("warrant_link", Subject::Link(LinkHash([3; 32])), AnswerClass::EnrolmentProfile, None),
    ] {
        let warrant = Warrant {
            version: 1,
            subject,
            class,
            status: 200,
            command: command.map(CommandId),
            digest: sha256(b"made up"),
            expires_at_ms: 1_764_086_400_000,
        };
        save("order", &format!("{name}.cbor"), order::encode(&warrant))?;
        save("order", &format!("signed_{name}.cbor"), order::encode(&SignedWarrant::sign(&warrant, &key)))?;
    }
    let statement = KeyStatement {
        version: 1,
        epoch: 3,
        made_at_ms: 1,
        expires_at_ms: 2,
        warrant_key: key.public(),
        order_key: X25519Public([1; 32]),
        delivery_key: X25519Public([2; 32]),
        compartments: vec![(Compartment::Push, X25519Public([3; 32]))],
        reader_key: X25519Public([4; 32]),
        vault_sender_key: X25519Public([5; 32]),
        ca_fingerprint: Digest([6; 32]),
        ra_fingerprint: Digest([7; 32]),
        older_needed: Some(vec![model::KeyName::Delivery]),
        older_readers: Some(vec![order::X25519Public([11; 32])]),
        ra_certificate: Some(vec![0x30, 0]),
        authorities: None,
    };
    save("order", "statement.cbor", order::encode(&SignedStatement::sign(&statement, &key)))?;
    let name = || "Mara Beispiel".to_owned();
    let email = "mara@example.org".to_owned();
    save("order", "invite_secrets.cbor", order::encode(&order::InviteSecrets { name: name(), email }))?;
    save("order", "join_secrets.cbor", order::encode(&order::JoinSecrets { name: name() }))?;
    let search = order::SearchSecrets { field: "phone".into(), term: "07700 900123".into() };
    save("order", "search_secrets.cbor", order::encode(&search))?;
    let secrets = CommandSecrets {
        profile: Some(b"<plist/>".to_vec()),
        message: Some("Please call".into()),
        phone_number: Some("07700 900123".into()),
        pin: Some("000000".into()),
        holder_name: Some(name()),
        ..CommandSecrets::default()
    };
    save("order", "command_secrets.cbor", order::encode(&secrets))
}

fn effects() -> Result<Vec<Effect>, Box<dyn Error>> {
    let phone = EnrolmentId([1; 16]);
    let group = Group::new("ward-7").map_err(|e| e.to_string())?;
    let public_key = SigningPublicKey([4; 32]);
    let key_id = KeyId([3; 16]);
    let person = PersonId([2; 16]);
    Ok(vec![
        Effect::PersonJoined {
            person,
            role: Role::WardManager,
            group: Some(group.clone()),
            key_id,
            public_key,
            name: PersonalSealed(vec![5; 40]),
        },
        Effect::PersonKeyAdded { person, key_id, public_key },
        Effect::PersonRemoved { person },
        Effect::Invited {
            enrolment: phone,
            link: LinkHash([6; 32]),
            group,
            expires_at_ms: 1_764_000_000_000,
            holder: PersonalSealed(vec![7; 50]),
            card: Some(Digest([9; 32])),
        },
        Effect::InvitationWithdrawn { enrolment: phone },
        Effect::Opened { fields: vec![(phone, "IMEI".into())] },
        Effect::Granted {
            session: Digest([8; 32]),
            records: 50,
            searches: 10,
            compartments: vec![Compartment::Identity],
            expires_at_ms: 1,
        },
        Effect::Commanded {
            command: CommandId([9; 16]),
            kind: CommandKind::ClearPasscode,
            answer_digest: Digest([10; 32]),
            erasing: false,
            targets: vec![phone],
            expires_at_ms: -1,
            per_phone: vec![(phone, CommandId([11; 16]), Digest([12; 32]))],
        },
        Effect::Recalled { order: OrderId([13; 16]) },
        Effect::Rejected { order: OrderId([13; 16]) },
        Effect::ApiKeyMade {
            hash: Digest([14; 32]),
            scopes: 5,
            expires_at_ms: 1,
            label: "monitoring".into(),
        },
        Effect::ApiKeyRevoked { hash: Digest([14; 32]) },
        Effect::SessionEnded { session: Digest([8; 32]) },
    ])
}

fn entries() -> Done {
    let enrolment = EnrolmentId([1; 16]);
    let mut bodies = vec![
        Body::Genesis { root_key: SigningPublicKey([1; 32]), first_token_key: SigningPublicKey([2; 32]) },
        Body::KeysStated { epoch: 7, statement_digest: Digest([3; 32]) },
        Body::OrderRefused {
            order: None,
            digest: Digest([4; 32]),
            signer: Some(KeyId([5; 16])),
            reason: RefusalCode(300),
            key: ReasonKey::new("wrong_role")?,
        },
        Body::GrantUsed {
            grant: OrderId([6; 16]),
            opened: vec![(enrolment, "ServiceSubscriptions.0.PhoneNumber".into())],
            searches: 2,
        },
        Body::CertificateIssued {
            enrolment,
            key_digest: Digest([7; 32]),
            certificate: Opaque(vec![0x30; 30]),
        },
        Body::CertificateRefused { enrolment: None, reason: RefusalCode(1) },
        Body::Authenticated { enrolment, replaced: Some(EnrolmentId([8; 16])) },
        Body::TokenUpdated { enrolment },
        Body::CheckedOut { enrolment },
        Body::CommandFinished { enrolment, command: CommandId([9; 16]), status: 2 },
        Body::PhoneRefused { enrolment, reason: RefusalCode(0) },
    ];
    bodies.extend(effects()?.into_iter().map(|effect| Body::OrderAccepted {
        order: OrderId([10; 16]),
        digest: Digest([11; 32]),
        signer: KeyId([12; 16]),
        person: PersonId([13; 16]),
        bytes: Opaque(vec![14; 30]),
        signature: Opaque(vec![15; 64]),
        effect,
        counted: None,
    }));
    for (n, body) in bodies.into_iter().enumerate() {
        let entry = Entry {
            version: ledger::entry::ENTRY_VERSION,
            index: n as u64,
            at_ms: 1_764_000_000_000,
            previous: Digest([0xaa; 32]),
            witness: body.witness(),
            body,
            word: None,
        };
        save("ledger", &format!("entry_{n:02}.cbor"), entry.encode()?)?;
    }
    Ok(())
}

fn links() -> Done {
    for (name, text) in [
        ("device", "/mdm"),
        ("device_query", "/mdm?"),
        ("invitation", "/enrol/abcdefghijkmnpqrstuvwxyz23456789"),
        ("caps", "/scep?operation=GetCACaps"),
        ("ca_cert", "/scep?operation=GetCACert&message=ca"),
        ("pki_get", "/scep?operation=PKIOperation&message=MIIB%2Bg%3D%3D"),
        ("pki_post", "/scep?operation=PKIOperation"),
    ] {
        save("link", name, text)?;
    }
    Ok(())
}
