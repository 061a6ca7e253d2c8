//! A core that lies: every kind of forgery, handed to the door's last check.

use super::*;
use aws_lc_rs::rand::SystemRandom;
use model::{Compartment, Digest, EnrolmentId, LinkHash};
use order::{Ed25519Secret, KeyStatement, SignedStatement, X25519Public, encode, sha256};
use rpc::proto::Free;
use seal::to;

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
        older_needed: None,
        older_readers: None,
        ra_certificate: None,
        authorities: None,
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
    ask_at(house, subject, None, now_ms, reply)
}

fn ask_at(
    house: &House,
    subject: Subject,
    endpoint: Option<Digest>,
    now_ms: TimeMs,
    reply: CoreReply,
) -> Result<Outgoing, NotLetOut> {
    let statement = Some(&house.statement);
    check(
        reply,
        &Check { subject, endpoint, statement, delivery: std::slice::from_ref(&house.delivery), now_ms },
    )
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
    let subject = Subject::Enrolment(PHONE);
    let c = Check {
        subject,
        endpoint: None,
        statement: None,
        delivery: std::slice::from_ref(&h.delivery),
        now_ms: 1,
    };
    assert_eq!(check(reply, &c), Err(NotLetOut::NoStatement));
}

mod declarations {
    use super::*;
    use order::{DeclarationsWarrant, DeclaredAnswer, SignedDeclarations, endpoint_hash};

    const ONE: &str = "declaration/configuration/one";
    const TWO: &str = "declaration/configuration/two";
    const GONE: &str = "declaration/configuration/gone";

    fn warrant() -> DeclarationsWarrant {
        let answer = |endpoint: &str, status, bytes: &[u8]| DeclaredAnswer {
            endpoint: endpoint_hash(endpoint),
            status,
            digest: sha256(bytes),
        };
        DeclarationsWarrant {
            version: 1,
            enrolment: PHONE,
            position: 1,
            answers: vec![
                answer("tokens", 200, b"tokens"),
                answer(ONE, 200, b"one"),
                answer(TWO, 200, b"two"),
                answer(GONE, 404, b""),
            ],
            expires_at_ms: 5_000,
        }
    }

    fn told(w: &DeclarationsWarrant, key: &Ed25519Secret, status: u32, body: &'static [u8]) -> Warranted {
        Warranted {
            warrant: encode(&SignedDeclarations::sign(w, key)).into(),
            class: 3,
            status,
            command: Bytes::new(),
            body: Bytes::from_static(body),
            sealed: false,
        }
    }

    fn at(h: &House, endpoint: &str, now_ms: TimeMs, w: Warranted) -> Result<Outgoing, NotLetOut> {
        let reply = CoreReply { call: 1, answer: Some(core_reply::Answer::Warranted(w)) };
        ask_at(h, Subject::Enrolment(PHONE), Some(endpoint_hash(endpoint)), now_ms, reply)
    }

    #[test]
    fn what_the_vault_signed_for_the_endpoint_leaves_as_it_is() {
        let h = house();
        let out = at(&h, ONE, 1, told(&warrant(), &h.vault, 200, b"one")).unwrap();
        assert_eq!(
            (out.status, &out.body[..], out.content_type),
            (200, &b"one"[..], Some("application/json"))
        );
        let out = at(&h, GONE, 1, told(&warrant(), &h.vault, 404, b"")).unwrap();
        assert_eq!((out.status, out.body.len(), out.content_type), (404, 0, None));
    }

    #[test]
    fn a_core_that_lies_about_declarations_gets_nothing_out() {
        let h = house();
        let forger = Ed25519Secret::from_seed([9; 32]).unwrap();
        let good = || told(&warrant(), &h.vault, 200, b"one");
        let mut other = warrant();
        other.enrolment = OTHER;
        let mut newer = warrant();
        newer.version = 2;
        let command = super::answer(&super::warrant(), &h.vault);
        for (what, endpoint, now_ms, w) in [
            ("signed by another key", ONE, 1, told(&warrant(), &forger, 200, b"one")),
            ("for another phone", ONE, 1, told(&other, &h.vault, 200, b"one")),
            ("run out", ONE, 5_000, good()),
            ("of a later version", ONE, 1, told(&newer, &h.vault, 200, b"one")),
            ("another declaration's bytes", ONE, 1, told(&warrant(), &h.vault, 200, b"two")),
            ("at another endpoint", TWO, 1, good()),
            ("at one that was never signed", "declaration/asset/one", 1, good()),
            ("a 404 of its own", ONE, 1, told(&warrant(), &h.vault, 404, b"")),
            ("what was taken away, as if it stood", GONE, 1, told(&warrant(), &h.vault, 200, b"one")),
            ("a 401", ONE, 1, told(&warrant(), &h.vault, 401, b"")),
            ("with a command's id", ONE, 1, Warranted { command: COMMAND.0.to_vec().into(), ..good() }),
            ("said to be sealed and is not", ONE, 1, Warranted { sealed: true, ..good() }),
            ("no warrant", ONE, 1, Warranted { warrant: Bytes::new(), ..good() }),
            ("a command's warrant", ONE, 1, Warranted { warrant: command.warrant.clone(), ..good() }),
            ("a command", ONE, 1, command),
        ] {
            assert!(at(&h, endpoint, now_ms, w).is_err(), "{what}");
        }
        let free = Free { query: 1, command: COMMAND.0.to_vec() };
        let reply = CoreReply { call: 1, answer: Some(core_reply::Answer::Free(free)) };
        let asked = Some(endpoint_hash(ONE));
        let out = ask_at(&h, Subject::Enrolment(PHONE), asked, 1, reply);
        assert_eq!(out, Err(NotLetOut::WrongRoute), "a free query");
    }

    #[test]
    fn a_declaration_answers_nothing_but_a_request_for_declarations() {
        let h = house();
        let tokens = || core_reply::Answer::Warranted(told(&warrant(), &h.vault, 200, b"tokens"));
        assert_eq!(ask(&h, Subject::Enrolment(PHONE), 1, tokens()), Err(NotLetOut::WrongRoute));
        assert_eq!(ask(&h, Subject::Link(LinkHash([1; 32])), 1, tokens()), Err(NotLetOut::WrongRoute));
    }

    #[test]
    fn a_declaration_that_is_sealed_to_the_door_is_opened_and_then_checked() {
        let h = house();
        let seal = |bytes: &[u8]| {
            let aad = sha256(b"one");
            let rng = SystemRandom::new();
            to::seal(&h.delivery.public(), to::INFO_DELIVERY, aad.as_bytes(), bytes, &rng).unwrap()
        };
        let sealed = |bytes: &[u8]| Warranted {
            body: seal(bytes).into(),
            sealed: true,
            ..told(&warrant(), &h.vault, 200, b"")
        };
        assert_eq!(&at(&h, ONE, 1, sealed(b"one")).unwrap().body[..], b"one");
        assert!(at(&h, ONE, 1, sealed(b"two")).is_err());
        assert_eq!(at(&h, TWO, 1, sealed(b"one")), Err(NotLetOut::Sealed));
    }
}
