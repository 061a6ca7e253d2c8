//! Seeds for what the rooms say to each other, and for what leaves the house: notes, proofs, backups.

use std::io::Write;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use ledger::checkpoint::{log_key, origin_of};
use ledger::tree::Edge;
use ledger::witness::AddCheckpoint;
use ledger::{Checkpoint, Level, Position, Proof, Signs, Tile, VerifierKey};
use model::{Digest, EnrolmentId, OrderId, PersonId};
use prost::Message;
use rpc::alarm::{Alarm, AlarmKind};
use rpc::proto;

use crate::{Done, save};

fn pair() -> Result<Ed25519KeyPair, &'static str> {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).map_err(|_| "a seed")
}

fn with(choice: &[u8], bytes: impl AsRef<[u8]>) -> Vec<u8> {
    [choice, bytes.as_ref()].concat()
}

pub fn all() -> Done {
    walls()?;
    notes()?;
    alarms()?;
    backups()
}

fn row() -> proto::SealedRow {
    proto::SealedRow {
        name: "IMEI".into(),
        compartment: 3,
        wrapped_key: vec![1; 80],
        ciphertext: vec![2; 40],
        mask: "…17".into(),
        change_tag: vec![3; 16],
    }
}

fn walls() -> Done {
    let phone = || proto::PhoneRow { enrolment: vec![9; 16], row: Some(row()) };
    let word = ledger::Body::TokenUpdated { enrolment: EnrolmentId([9; 16]) };
    let observed = proto::Observed {
        udid_tag: vec![1; 16],
        what: Some(proto::observed::What::TokenUpdate(proto::TokenUpdate {
            topic: "com.apple.mgmt.External.made-up".into(),
            sealed: vec![row()],
            ..Default::default()
        })),
        ..Default::default()
    };
    let vault: [(u8, Vec<u8>); 5] = [
        (
            0,
            proto::Submission {
                signed_order: std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/seeds/order/signed_0.cbor")).unwrap_or_default(),
                sealed_arguments: vec![4; 40],
                rows: vec![phone()],
                profile: None,
            }
            .encode_to_vec(),
        ),
        (1, proto::CoreWords { bodies: vec![order::encode(&word)], numbers: vec![1] }.encode_to_vec()),
        (2, proto::GrantUse { session: vec![5; 32], open: vec![phone()], sealed_search: vec![] }.encode_to_vec()),
        (3, proto::IndexRequest { rows: vec![phone()] }.encode_to_vec()),
        (6, proto::TileRequest { path: "0/x001/234".into() }.encode_to_vec()),
    ];
    for (n, bytes) in vault {
        save("walls", &format!("vault-{n}"), with(&[0, n], bytes))?;
    }
    let warranted = proto::Warranted { class: 1, status: 200, command: vec![6; 16].into(), ..Default::default() };
    let reply = proto::CoreReply { call: 7, answer: Some(proto::core_reply::Answer::Warranted(warranted)) };
    save("walls", "door-reply", with(&[1, 0], reply.encode_to_vec()))?;
    let target = proto::PushTarget { enrolment: vec![9; 16], token: Some(row()), magic: Some(row()) };
    save("walls", "courier-push", with(&[1, 4], proto::PushRequest { targets: vec![target] }.encode_to_vec()))?;
    let asked = proto::CoreRequest {
        call: 8,
        enrolment: vec![9; 16].into(),
        what: Some(proto::core_request::What::Observed(observed.encode_to_vec().into())),
        ..Default::default()
    };
    save("walls", "core-request", with(&[2, 0], asked.encode_to_vec()))?;
    save("walls", "core-observed", with(&[2, 1], observed.encode_to_vec()))?;
    let item = proto::LedgerItem { index: 3, entry: vec![1, 2, 3], rows: vec![phone()], ..Default::default() };
    save("walls", "core-item", with(&[2, 2], item.encode_to_vec()))?;
    let said = rpc::control::ToSupervisor::Failed { why: "made up".into() };
    save("walls", "control-failed", with(&[3, 0], serde_json::to_vec(&said)?))?;
    let request = serde_json::json!({ "recipients": [], "made_at_ms": 1, "before": [] });
    save("walls", "control-back-up", with(&[3, 0], serde_json::to_vec(&rpc::control::ToRoom::BackUp { request })?))
}

fn notes() -> Done {
    let pair = pair()?;
    let public: [u8; 32] = pair.public_key().as_ref().try_into()?;
    let position = |index| Position { index, hash: Digest([1; 32]) };
    let at = |size: u64| {
        let mut edge = Edge::new();
        (0..size).for_each(|n| edge.push_entry(&position(n)));
        Checkpoint { origin: origin_of(&public), size, root: edge.root() }
    };
    let note = at(5).sign(&public, |m| pair.sign(m).as_ref().to_vec());
    let witness = VerifierKey::new("witness.example.org", Signs::Cosigns, public)?;
    let line = witness.sign(&note.text, 1_800_000_000, |m| pair.sign(m).as_ref().to_vec());
    save("note", "signed", with(&[0], note.to_string()))?;
    save("note", "cosigned", with(&[0], format!("{note}{line}")))?;
    save("note", "text", with(&[1], &note.text))?;
    save("note", "log-key", with(&[2], log_key(&public).to_string()))?;
    save("note", "witness-key", with(&[2], witness.to_string()))?;
    save("note", "line", with(&[3], line.to_string()))?;

    let hashes = vec![Digest([2; 32]), Digest([3; 32])];
    let proof = Proof { entry: vec![1, 2, 3], index: 3, hashes: hashes.clone(), note: note.clone() };
    save("tree", "proof", with(&[0], proof.to_string()))?;
    for (n, tile) in [
        Tile { level: Level::Entries, index: 1_234_067, width: 17 },
        Tile::full(Level::Hashes(0), 7),
    ]
    .iter()
    .enumerate()
    {
        save("tree", &format!("tile-{n}"), with(&[1], tile.path().trim_start_matches("tile/")))?;
    }
    save("tree", "bundle", with(&[2], [&[0, 40][..], &[0; 40]].concat().repeat(3)))?;
    save("tree", "inclusion", with(&[3, 3, 8], [0; 96]))?;
    save("tree", "consistency", with(&[4, 3, 8], [0; 128]))?;

    let whole = AddCheckpoint { old: 5, proof: hashes, note: note.to_string().into_bytes() };
    save("witness", "as-it-comes", with(&[0], whole.to_string()))?;
    save("witness", "the-same-again", with(&[1], &note.text))?;
    save("witness", "signed-with-a-proof", with(&[33], [&[0; 32][..], at(6).text().as_bytes()].concat()))
}

fn alarms() -> Done {
    let small = Alarm::new([0; 16], AlarmKind::Test, 0);
    let full = Alarm {
        count: u64::MAX,
        enrolment: Some(EnrolmentId([1; 16])),
        person: Some(PersonId([2; 16])),
        order: Some(OrderId([3; 16])),
        refusal: Some(u16::MAX),
        lost_before: u64::MAX,
        ..Alarm::new([9; 16], AlarmKind::Unreadable, i64::MIN)
    };
    save("alarm", "small", small.to_frame())?;
    save("alarm", "full", full.to_frame())
}

fn backups() -> Done {
    let digest = Digest([1; 32]);
    let place = |name| matches!(name, "core" | "vault").then_some(backup::Place { entries: 1, hash: digest });
    let parts = backup::PARTS.map(|name| backup::PartMade { name: name.into(), bytes: 9, sha256: digest, place: place(name) });
    let pair = pair()?;
    let public: [u8; 32] = pair.public_key().as_ref().try_into()?;
    let signed = backup::Signed::over(5, &parts, public, |m| pair.sign(m).as_ref().to_vec());
    let manifest = backup::Manifest {
        format: backup::FORMAT,
        matron: "0.1.0".into(),
        made_at_ms: 5,
        recipients: vec!["age1made-up".into()],
        parts: parts.to_vec(),
        signed,
    };
    save("backup", "manifest", with(&[0], manifest.encode()))?;
    // Whose key is thrown away.
    let identity = age::x25519::Identity::generate();
    let recipients: [age::x25519::Recipient; 1] = [identity.to_public()];
    let encryptor = age::Encryptor::with_recipients(recipients.iter().map(|r| r as &dyn age::Recipient))?;
    let mut part = Vec::new();
    let mut writer = encryptor.wrap_output(&mut part)?;
    writer.write_all(b"made up")?;
    writer.finish()?;
    save("backup", "encrypted", with(&[1], part))?;
    for (name, file) in [("tar", "ledger.log"), ("tar-elsewhere", "elsewhere"), ("tar-deep", "tree/checkpoint")] {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(7);
        header.set_mode(0o600);
        tar.append_data(&mut header, file, &b"made up"[..])?;
        save("backup", name, with(&[2], tar.into_inner()?))?;
    }
    Ok(())
}
