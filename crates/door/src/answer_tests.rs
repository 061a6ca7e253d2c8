//! A core that lies: every kind of forgery, handed to the door's last check.

use super::*;
use aws_lc_rs::rand::SystemRandom;
use model::{Compartment, Digest, EnrolmentId, LinkHash};
use order::{Ed25519Secret, KeyStatement, SignedStatement, X25519Public, encode, sha256};
use rpc::proto::Free;

struct House {
    vault: Ed25519Secret,
    statement: TrustedStatement,
    delivery: KeyPairSecret,
}

const PHONE: EnrolmentId = EnrolmentId([1; 16]);
const OTHER: EnrolmentId = EnrolmentId([2; 16]);
const COMMAND: CommandId = CommandId([3; 16]);

fn house() -> House {
    let root = Ed25519Secret::from_seed([1; 32]).unwrap();
    let vault = Ed25519Secret::from_seed([2; 32]).unwrap();
    let delivery = KeyPairSecret::generate(&SystemRandom::new()).unwrap();
    let statement = KeyStatement {
        version: 1,
        epoch: 1,
        made_at_ms: 0,
        expires_at_ms: 1_000_000,
        warrant_key: vault.public(),
        order_key: X25519Public([0; 32]),
        delivery_key: X25519Public(delivery.public().0),
        compartments: vec![(Compartment::Push, X25519Public([0; 32]))],
        reader_key: X25519Public([0; 32]),
        vault_sender_key: X25519Public([0; 32]),
        ca_fingerprint: Digest([0; 32]),
        ra_fingerprint: Digest([0; 32]),
    };
    let statement = SignedStatement::sign(&statement, &root).verify(&root.public(), 1, 0).unwrap();
    House { vault, statement, delivery }
}

fn warrant() -> Warrant {
    Warrant {
        version: 1,
        subject: Subject::Enrolment(PHONE),
        class: AnswerClass::Command,
        status: 200,
        command: Some(COMMAND),
        digest: sha256(b"command"),
        expires_at_ms: 5_000,
    }
}

fn answer(w: &Warrant, key: &Ed25519Secret) -> Warranted {
    Warranted {
        warrant: encode(&SignedWarrant::sign(w, key)).into(),
        class: 1,
        status: 200,
        command: COMMAND.0.to_vec().into(),
        body: Bytes::from_static(b"command"),
        sealed: false,
    }
}

fn ask(
    house: &House,
    subject: Subject,
    now_ms: TimeMs,
    answer: core_reply::Answer,
) -> Result<Outgoing, NotLetOut> {
    let reply = CoreReply { call: 1, answer: Some(answer) };
    check(reply, &Check { subject, statement: Some(&house.statement), delivery: &house.delivery, now_ms })
}

fn ask_phone(house: &House, w: Warranted) -> Result<Outgoing, NotLetOut> {
    ask(house, Subject::Enrolment(PHONE), 1, core_reply::Answer::Warranted(w))
}

#[test]
fn what_the_vault_signed_for_this_phone_leaves_as_it_is() {
    let h = house();
    let out = ask_phone(&h, answer(&warrant(), &h.vault)).unwrap();
    assert_eq!((out.status, &out.body[..], out.kind), (200, &b"command"[..], OutgoingKind::Warranted));
}

#[test]
fn a_core_that_lies_gets_nothing_out() {
    let h = house();
    let forger = Ed25519Secret::from_seed([9; 32]).unwrap();
    let good = || answer(&warrant(), &h.vault);
    let warrant_for = |change: fn(&mut Warrant)| {
        let mut w = warrant();
        change(&mut w);
        answer(&w, &h.vault)
    };
    let cases: Vec<(&str, Warranted)> = vec![
        ("signed by another key", answer(&warrant(), &forger)),
        ("no warrant", Warranted { warrant: Bytes::new(), ..good() }),
        ("other bytes", Warranted { body: Bytes::from_static(b"Command"), ..good() }),
        ("no bytes", Warranted { body: Bytes::new(), ..good() }),
        ("another status", Warranted { status: 401, ..good() }),
        ("a status that is none", Warranted { status: 70_000, ..good() }),
        ("another command id", Warranted { command: vec![4; 16].into(), ..good() }),
        ("no command id", Warranted { command: Bytes::new(), ..good() }),
        ("a command id of another length", Warranted { command: vec![3; 15].into(), ..good() }),
        ("another class", Warranted { class: 3, ..good() }),
        ("a dismissal by a command's warrant", Warranted { class: 4, status: 401, ..good() }),
        ("a class that is none", Warranted { class: 9, ..good() }),
        ("a profile on the device route", Warranted { class: 2, ..good() }),
        ("for another phone", warrant_for(|w| w.subject = Subject::Enrolment(OTHER))),
        ("for a link", warrant_for(|w| w.subject = Subject::Link(LinkHash([1; 32])))),
        ("run out", warrant_for(|w| w.expires_at_ms = 1)),
        ("of a later version", warrant_for(|w| w.version = 2)),
        ("said to be sealed and is not", Warranted { sealed: true, ..good() }),
    ];
    for (what, w) in cases {
        assert!(ask_phone(&h, w).is_err(), "{what}");
    }
}

#[test]
fn plain_answers_are_five_statuses_without_a_body() {
    let h = house();
    for status in 0..1_000u32 {
        let out = ask(&h, Subject::Enrolment(PHONE), 1, core_reply::Answer::Plain(status));
        let listed = [200, 400, 410, 413, 503].contains(&status);
        assert_eq!(out.is_ok(), listed, "{status}");
        assert!(out.is_ok_and(|o| o.body.is_empty()) == listed);
    }
}

#[test]
fn a_free_query_is_made_by_the_door_and_there_is_none_that_changes_anything() {
    let h = house();
    for query in 0..300u32 {
        let free = Free { query, command: COMMAND.0.to_vec() };
        let out = ask(&h, Subject::Enrolment(PHONE), 1, core_reply::Answer::Free(free));
        match u8::try_from(query).ok().and_then(FreeQuery::from_number) {
            Some(q) => assert_eq!(out.unwrap().body, q.bytes(COMMAND)),
            None => assert!(out.is_err()),
        }
    }
    let free = Free { query: 1, command: COMMAND.0.to_vec() };
    let link = Subject::Link(LinkHash([1; 32]));
    assert_eq!(ask(&h, link, 1, core_reply::Answer::Free(free)), Err(NotLetOut::WrongRoute));
}

#[test]
fn a_certificate_leaves_on_no_other_route_than_scep() {
    let h = house();
    let out = ask(&h, Subject::Enrolment(PHONE), 1, core_reply::Answer::ScepIssued(vec![1].into()));
    assert_eq!(out, Err(NotLetOut::WrongRoute));
}

#[test]
fn what_is_sealed_to_the_door_is_opened_and_then_checked() {
    let h = house();
    let digest = sha256(b"command");
    let seal = |aad: &Digest, bytes: &[u8]| {
        let rng = SystemRandom::new();
        to::seal(&h.delivery.public(), to::INFO_DELIVERY, aad.as_bytes(), bytes, &rng).unwrap()
    };
    let good =
        Warranted { sealed: true, body: seal(&digest, b"command").into(), ..answer(&warrant(), &h.vault) };
    assert_eq!(&ask_phone(&h, good.clone()).unwrap().body[..], b"command");
    let swapped = Warranted { body: seal(&digest, b"another").into(), ..good };
    assert_eq!(ask_phone(&h, swapped), Err(NotLetOut::Warrant(WarrantError::OtherBytes)));
}

#[test]
fn without_a_key_statement_nothing_warranted_leaves() {
    let h = house();
    let reply =
        CoreReply { call: 1, answer: Some(core_reply::Answer::Warranted(answer(&warrant(), &h.vault))) };
    let c = Check { subject: Subject::Enrolment(PHONE), statement: None, delivery: &h.delivery, now_ms: 1 };
    assert_eq!(check(reply, &c), Err(NotLetOut::NoStatement));
}
