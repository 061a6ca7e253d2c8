//! What each room decodes from a neighbour, who may be taken: every message of every wall, what lies encoded in it,
//! and the words of the control pair. What is read is written and read the same, and nothing is believed unsigned.
#![no_main]
use libfuzzer_sys::fuzz_target;
use order::{
    DeclarationsWarrant, Order, SearchSecrets, SignedDeclarations, SignedOrder, SignedStatement, SignedWarrant, Warrant,
};
use prost::Message;
use rpc::proto::{self, core_request, observed};

/// A message, read; what was read is written so that it is read again the same.
fn read<M: Message + Default + PartialEq>(bytes: &[u8]) -> Option<M> {
    let message = M::decode(bytes).ok()?;
    assert!(M::decode(&message.encode_to_vec()[..]).ok().as_ref() == Some(&message));
    Some(message)
}

fn only<M: Message + Default + PartialEq>(bytes: &[u8]) {
    read::<M>(bytes);
}

fn rows(rows: Vec<proto::SealedRow>) {
    for row in rows {
        let wire = row.clone();
        if let Ok(row) = rpc::row_from(row) {
            assert!(rpc::row_to(row) == wire);
        }
    }
}

fn phone_rows(rows: Vec<proto::PhoneRow>) {
    for row in rows {
        let _ = rpc::phone_row(row);
    }
}

fn order(bytes: &[u8]) {
    if let Ok(signed) = order::decode::<SignedOrder>(bytes) {
        assert_eq!(order::encode(&signed), bytes);
        let _ = order::decode::<Order>(&signed.order);
    }
}

fn warrant(bytes: &[u8]) {
    if let Ok(signed) = order::decode::<SignedWarrant>(bytes) {
        let _ = order::decode::<Warrant>(&signed.warrant);
    }
    if let Ok(signed) = order::decode::<SignedDeclarations>(bytes) {
        let _: Result<DeclarationsWarrant, _> = signed.claimed();
    }
}

fn statement(bytes: &[u8]) {
    if let Ok(signed) = order::decode::<SignedStatement>(bytes) {
        // A key that has signed nothing.
        assert!(signed.verify(&[9; 32], 0, 0).is_err());
    }
}

/// Core, of the reader's word that came through the door.
fn seen(bytes: &[u8]) {
    let Some(seen) = read::<proto::Observed>(bytes) else { return };
    match seen.what {
        Some(observed::What::Authenticate(a)) => rows(a.sealed),
        Some(observed::What::TokenUpdate(t)) => rows(t.sealed),
        Some(observed::What::SetBootstrapToken(t)) => rows(t.sealed),
        Some(observed::What::StatusReport(s)) => rows(s.sealed),
        Some(observed::What::Report(r)) => rows(r.content.unwrap_or_default().sealed),
        _ => {}
    }
}

/// The vault, from core.
fn vault(choice: u8, data: &[u8]) {
    match choice % 18 {
        0 => {
            if let Some(submission) = read::<proto::Submission>(data) {
                order(&submission.signed_order);
                phone_rows(submission.rows);
            }
        }
        1 => {
            if let Some(words) = read::<proto::CoreWords>(data) {
                for body in words.bodies {
                    if let Ok(body) = order::decode::<ledger::Body>(&body) {
                        let _ = body.witness();
                    }
                }
            }
        }
        2 => {
            if let Some(used) = read::<proto::GrantUse>(data) {
                let _ = rpc::digest(&used.session);
                phone_rows(used.open);
                let _ = order::decode::<SearchSecrets>(&used.sealed_search);
            }
        }
        3 => phone_rows(read::<proto::IndexRequest>(data).unwrap_or_default().rows),
        4 => {
            if let Some(proto::give_back_request::What::BootstrapToken(row)) =
                read::<proto::GiveBackRequest>(data).and_then(|r| r.what)
            {
                rows(vec![row]);
            }
        }
        5 => {
            if let Some(asked) = read::<proto::WarrantsRequest>(data) {
                let _ = rpc::order_id(&asked.order);
                for enrolment in &asked.enrolments {
                    let _ = rpc::enrolment_id(enrolment);
                }
            }
        }
        6 => {
            if let Some(asked) = read::<proto::TileRequest>(data) {
                let _ = asked.path.parse::<ledger::Tile>();
            }
        }
        7 => {
            if let Some(asked) = read::<proto::ProfileRequest>(data) {
                let _ = rpc::link_hash(&asked.link);
            }
        }
        8 => only::<proto::ActRequest>(data),
        9 => only::<proto::IssueRequest>(data),
        10 => phone_rows(read::<proto::ResealRequest>(data).unwrap_or_default().rows),
        11 => only::<proto::NothingLeftRequest>(data),
        12 => only::<proto::ServerCertificate>(data),
        13 => only::<proto::FollowRequest>(data),
        14 => only::<proto::CheckpointsRequest>(data),
        15 => only::<proto::LimitsRequest>(data),
        16 => only::<proto::KeysRequest>(data),
        _ => only::<proto::DeclarationsRequest>(data),
    }
}

/// The door, from core and reader; the reader, from the door; the courier, from core.
fn outer(choice: u8, data: &[u8]) {
    match choice % 7 {
        0 => {
            let answer = read::<proto::CoreReply>(data).and_then(|r| r.answer);
            match answer {
                Some(proto::core_reply::Answer::Warranted(w)) => warrant(&w.warrant),
                Some(proto::core_reply::Answer::Free(f)) => {
                    let _ = rpc::command_id(&f.command);
                }
                _ => {}
            }
        }
        1 => only::<proto::ReadReply>(data),
        2 => statement(&read::<proto::Statement>(data).unwrap_or_default().signed),
        3 => only::<proto::ReadRequest>(data),
        4 => {
            for target in read::<proto::PushRequest>(data).unwrap_or_default().targets {
                let _ = rpc::enrolment_id(&target.enrolment);
                rows(target.token.into_iter().chain(target.magic).collect());
            }
        }
        5 => only::<proto::AcmeAsk>(data),
        _ => only::<proto::AcmeAnswer>(data),
    }
}

/// Core, from door, vault and courier.
fn core(choice: u8, data: &[u8]) {
    match choice % 26 {
        0 => {
            if let Some(asked) = read::<proto::CoreRequest>(data) {
                let _ = rpc::enrolment_id(&asked.enrolment);
                if let Some(core_request::What::Observed(bytes)) = asked.what {
                    seen(&bytes);
                }
            }
        }
        1 => seen(data),
        2 => {
            if let Some(item) = read::<proto::LedgerItem>(data) {
                let _ = ledger::Entry::decode(&item.entry);
                phone_rows(item.rows);
            }
        }
        3 => {
            if let Some(outcome) = read::<proto::Outcome>(data) {
                let _ = order::decode::<order::limits::Hold>(&outcome.hold);
                for command in outcome.commands {
                    command.warrants.iter().for_each(|w| warrant(&w.warrant));
                }
            }
        }
        4 => {
            if let Some(newest) = read::<proto::LedgerCheckpoint>(data) {
                let key = ledger::checkpoint::log_key(&[9; 32]);
                assert!(ledger::SignedCheckpoint::open(newest.note.as_bytes(), &key).is_err());
            }
        }
        5 => {
            let answer = read::<proto::LimitsAnswer>(data).unwrap_or_default();
            let _ = order::decode::<order::limits::Overview>(&answer.overview);
        }
        6 => only::<proto::DeclarationsAnswer>(data),
        7 => only::<proto::PushReply>(data),
        8 => {
            for row in read::<proto::ResealAnswer>(data).unwrap_or_default().rows {
                rows(row.row.into_iter().collect());
            }
        }
        9 => only::<proto::KeysAnswer>(data),
        10 => only::<proto::NothingLeftAnswer>(data),
        11 => only::<proto::GrantAnswer>(data),
        12 => only::<proto::IndexAnswer>(data),
        13 => only::<proto::WarrantsAnswer>(data),
        14 => only::<proto::ProfileAnswer>(data),
        15 => only::<proto::IssueAnswer>(data),
        16 => only::<proto::ActAnswer>(data),
        17 => only::<proto::GiveBackAnswer>(data),
        18 => only::<proto::ServerCertificateAnswer>(data),
        19 => only::<proto::TileAnswer>(data),
        20 => only::<proto::VaultHealth>(data),
        21 => only::<proto::CountersReply>(data),
        22 => only::<proto::Witnessed>(data),
        23 => only::<proto::AcmeRenewed>(data),
        24 => only::<proto::Believed>(data),
        _ => only::<proto::CourierHealth>(data),
    }
}

/// The supervisor, from a room; a room, from the supervisor.
fn control(data: &[u8]) {
    if let Ok(said) = serde_json::from_slice::<rpc::control::ToSupervisor>(data) {
        if let rpc::control::ToSupervisor::BackedUp { made, .. } = said {
            let _ = serde_json::from_value::<backup::Made>(made);
        }
    }
    if let Ok(rpc::control::ToRoom::BackUp { request }) = serde_json::from_slice(data)
        && let Ok(request) = serde_json::from_value::<backup::Request>(request)
    {
        let _ = request.recipients();
    }
}

fuzz_target!(|data: &[u8]| {
    let Some(([wall, choice], data)) = data.split_first_chunk::<2>() else { return };
    match wall % 4 {
        0 => vault(*choice, data),
        1 => outer(*choice, data),
        2 => core(*choice, data),
        _ => control(data),
    }
});
