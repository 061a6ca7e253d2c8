use std::sync::atomic::Ordering;

use rpc::alarm::{Alarm, AlarmKind};
use testkit::smtp::{Relay as StandIn, Smtp};

use super::*;
use crate::alarms::send::Destination;

async fn hears(text: &[u8]) -> Result<Reply, String> {
    Talk::new("relay.example.org", tokio::io::join(text, tokio::io::sink())).reply().await
}

#[tokio::test]
async fn a_reply_has_one_code_and_an_end_and_what_is_none_is_refused() {
    let reply = hears(b"250-relay.example.org\r\n250-STARTTLS\r\n250 AUTH plain LOGIN\r\n").await.unwrap();
    assert_eq!((reply.code, reply.lines.len()), (250, 3));
    assert_eq!(reply.offers("auth").unwrap(), ["PLAIN", "LOGIN"]);
    assert_eq!(reply.offers("STARTTLS").unwrap(), [] as [String; 0]);
    // Its own name, in the first line, is no offer.
    assert!(reply.offers("relay.example.org").is_none());
    for bad in [
        &b"250-a\r\n550 b\r\n"[..],
        b"250",
        b"250 never ended",
        b"25\r\n",
        b"abc hello\r\n",
        b"HTTP/1.1 400 Bad Request\r\n",
        b"199 x\r\n",
        b"600 x\r\n",
        b"250/x\r\n",
        b"",
    ] {
        assert!(hears(bad).await.is_err(), "{}", String::from_utf8_lossy(bad));
    }
    assert!(hears(&[b'2'; 100_000]).await.is_err());
    assert!(hears(&b"250-x\r\n".repeat(10_000)).await.is_err());
}

#[tokio::test]
async fn of_what_a_relay_writes_only_numbers_are_repeated() {
    for (said, repeated) in [
        (&b"550 5.1.1 <somebody@example.org> unknown\r\n"[..], "550 5.1.1"),
        (b"451 Somebody Made-up\r\n", "451"),
        (b"550 5.1.1x y\r\n", "550"),
        (b"550\r\n", "550"),
    ] {
        assert_eq!(hears(said).await.unwrap().numbers(), repeated);
    }
}

#[test]
fn a_line_that_begins_with_a_dot_does_not_end_the_mail() {
    assert_eq!(stuffed("a\r\n.\r\n..b\r\n"), "a\r\n..\r\n...b");
}

#[test]
fn the_house_names_itself_by_a_host_or_an_address_in_brackets() {
    assert_eq!(own_name("mdm.example.org"), "mdm.example.org");
    assert_eq!(own_name("192.0.2.7"), "[192.0.2.7]");
    assert_eq!(own_name("2001:db8::1"), "[IPv6:2001:db8::1]");
    assert_eq!(own_name("a b\r\nMAIL"), "localhost");
    assert_eq!(own_name(""), "localhost");
}

/// A house that sends by this relay.
struct Sending {
    dir: tempfile::TempDir,
    config: AlarmsConfig,
}

impl Sending {
    fn by(smtp: &Smtp, implicit: bool) -> Self {
        let dir = tempfile::TempDir::new().unwrap();
        let file = |name: &str, text: &str| {
            std::fs::write(dir.path().join(name), text).unwrap();
            Some(dir.path().join(name))
        };
        let config = AlarmsConfig {
            sender: "mdm.example.org".into(),
            email_relay: Some(format!("localhost:{}", smtp.port)),
            email_tls: Some(if implicit { MailTls::Implicit } else { MailTls::Starttls }),
            email_from: Some("matron@example.org".into()),
            email_to: vec!["on-call@example.org".into(), "ward@example.org".into()],
            email_user: Some("matron".into()),
            email_password: file("password", "correct horse\n"),
            trust_anchor: file("ca.pem", &smtp.ca_pem),
            ..AlarmsConfig::default()
        };
        config.check().unwrap();
        Self { dir, config }
    }

    async fn send(&self) -> Result<Delivered, String> {
        let alarm = Alarm::new([0xab; 16], AlarmKind::PersonAdded, 1_800_000_000_123);
        let message = Message { alarm, sender: self.config.sender.clone() };
        Destination::Email.send(&self.config, &message, 0).await
    }
}

fn wants(mechanisms: &[&'static str]) -> Option<(String, String, Vec<&'static str>)> {
    Some(("matron".into(), "correct horse".into(), mechanisms.to_vec()))
}

#[tokio::test]
async fn a_mail_goes_by_either_kind_of_tls_and_either_way_to_sign_in() {
    for implicit in [true, false] {
        for mechanisms in [&["PLAIN", "LOGIN"][..], &["CRAM-MD5", "LOGIN"]] {
            let smtp = Smtp::start(StandIn { implicit, wants: wants(mechanisms), ..StandIn::default() })
                .await
                .unwrap();
            let sending = Sending::by(&smtp, implicit);
            assert_eq!(sending.send().await, Ok(Delivered::ToAll), "{implicit} {mechanisms:?}");
            assert_eq!(smtp.wrongs(), [] as [String; 0]);
            let [mail] = &smtp.mails()[..] else { panic!("one mail") };
            assert_eq!(mail.from, "matron@example.org");
            assert_eq!(mail.to, ["on-call@example.org", "ward@example.org"]);
            assert_eq!(mail.user.as_deref(), Some("matron"));
            let message = Message {
                alarm: Alarm::new([0xab; 16], AlarmKind::PersonAdded, 1_800_000_000_123),
                sender: "mdm.example.org".into(),
            };
            assert_eq!(mail.text, message.mail(&mail.from, &mail.to));
        }
    }
}

#[tokio::test]
async fn a_relay_that_wants_no_name_is_told_none() {
    let smtp = Smtp::start(StandIn { implicit: true, ..StandIn::default() }).await.unwrap();
    let mut sending = Sending::by(&smtp, true);
    (sending.config.email_user, sending.config.email_password) = (None, None);
    assert_eq!(sending.send().await, Ok(Delivered::ToAll));
    assert_eq!((smtp.mails()[0].user.as_ref(), smtp.wrongs().len()), (None, 0));
}

#[tokio::test]
async fn nothing_is_sent_in_the_clear_and_nothing_believed_that_came_in_the_clear() {
    let strips = StandIn { strips_starttls: true, ..StandIn::default() };
    let injects = StandIn { injects: true, ..StandIn::default() };
    for (relay, why) in [(strips, "does not offer STARTTLS"), (injects, "someone sits in between")] {
        let smtp = Smtp::start(relay).await.unwrap();
        let said = Sending::by(&smtp, false).send().await.unwrap_err();
        assert!(said.contains(why), "{said}");
        assert_eq!(smtp.mails(), []);
    }
}

#[tokio::test]
async fn a_relay_that_can_not_be_trusted_gets_no_password_and_no_mail() {
    let relay = || StandIn { implicit: true, wants: wants(&["PLAIN"]), ..StandIn::default() };
    let (smtp, other) = (Smtp::start(relay()).await.unwrap(), Smtp::start(relay()).await.unwrap());
    let sending = Sending::by(&smtp, true);
    std::fs::write(sending.dir.path().join("ca.pem"), &other.ca_pem).unwrap();
    let said = sending.send().await.unwrap_err();
    assert!(said.contains("can't be reached"), "{said}");
    // The right anchor, another name.
    std::fs::write(sending.dir.path().join("ca.pem"), &smtp.ca_pem).unwrap();
    let mut elsewhere = sending.config.clone();
    elsewhere.email_relay = Some(format!("127.0.0.1:{}", smtp.port));
    let elsewhere = Sending { config: elsewhere, ..sending };
    assert!(elsewhere.send().await.is_err());
    assert_eq!(smtp.mails(), []);
}

#[tokio::test]
async fn what_a_relay_refuses_is_said_by_number_and_without_the_password_or_an_address() {
    let answers: std::sync::Arc<std::sync::atomic::AtomicU16> = std::sync::Arc::default();
    let relay = StandIn {
        implicit: true,
        wants: wants(&["PLAIN"]),
        refuses: vec!["ward@example.org".into()],
        answers_mail: answers.clone(),
        ..StandIn::default()
    };
    let smtp = Smtp::start(relay).await.unwrap();
    let mut sending = Sending::by(&smtp, true);
    // One of two is refused: the other has it.
    let complaint = "localhost refuses of alarms.email_to: number 2 (550 5.1.1)";
    assert_eq!(sending.send().await, Ok(Delivered::ToSome(complaint.into())));
    assert_eq!(smtp.mails()[0].to, ["on-call@example.org"]);

    answers.store(452, Ordering::SeqCst);
    assert_eq!(sending.send().await, Err("localhost answered 452 to the mail".into()));
    answers.store(0, Ordering::SeqCst);

    sending.config.email_to = vec!["ward@example.org".into()];
    assert!(sending.send().await.unwrap_err().contains("number 1 (550 5.1.1)"));

    std::fs::write(sending.dir.path().join("password"), "wrong horse").unwrap();
    assert_eq!(sending.send().await, Err("localhost answered 535 5.7.8 to name and password".into()));
    std::fs::write(sending.dir.path().join("password"), "\n").unwrap();
    assert!(sending.send().await.unwrap_err().contains("no password"));
    assert_eq!((smtp.mails().len(), smtp.wrongs().len()), (1, 0));
}

#[tokio::test]
async fn what_is_no_relay_is_said_so() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let smtp = Smtp::start(StandIn::default()).await.unwrap();
    let mut sending = Sending::by(&smtp, false);
    sending.config.email_relay = Some(format!("localhost:{}", listener.local_addr().unwrap().port()));
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        tcp.write_all(b"SSH-2.0-made-up\r\n").await.unwrap();
        tcp.flush().await.unwrap();
        let _ = tcp.read(&mut [0; 64]).await;
    });
    assert_eq!(sending.send().await, Err("what localhost answers is no SMTP".into()));
}
