//! SCEP through the reader, from a phone's request to its certificate, with stand-ins for door and vault.

// Tests may fail loudly; clippy knows as tests only what stands under #[test].
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod house;

use apple::scep::client::{Answer, Request, open_cert_rep, pkcs_req};
use apple::scep::{ContentCipher, FailInfo, SealedRequest};
use apple::x509::{
    Certificate, RsaSigner, Signer, SystemRandom, Window, device_certificate, ra_certificate,
    self_signed_request_certificate,
};
use base64::Engine as _;
use house::{House, PHONE, Running, refusal};
use model::clock::DAY_MS;
use model::{Clock, KeyName};
use reader::Desk;
use rpc::proto::read_reply::What;
use rpc::proto::read_request::What as Asked;
use rpc::proto::{ReadRequest, ScepAnswer, ScepBody, ScepOperation, ScepQuery, Statement};

const CHALLENGE: &str = "made-up-challenge-0001";

struct Phone {
    signer: RsaSigner,
    cert: Vec<u8>,
    csr: Vec<u8>,
}

impl Phone {
    fn new(house: &House, challenge: Option<&str>) -> Self {
        let signer = RsaSigner::generate().unwrap();
        let now_ms = house.clock.now_ms() / 1000 * 1000;
        let window = Window { not_before_ms: now_ms, not_after_ms: now_ms + DAY_MS };
        let cert = self_signed_request_certificate(&signer, "phone", [3; 16], window).unwrap();
        let csr = apple::csr::build(&signer, "phone", challenge).unwrap();
        Self { signer, cert, csr }
    }

    fn request<'a>(&'a self, house: &'a House, cipher: ContentCipher) -> Request<'a> {
        Request {
            signer: &self.signer,
            signer_cert: &self.cert,
            csr_der: &self.csr,
            ra_cert: &house.ra_certificate,
            transaction_id: "made-up-transaction",
            sender_nonce: [4; 16],
            cipher,
        }
    }
}

async fn ask(reader: &mut Running, operation: ScepOperation, message: Vec<u8>) -> What {
    reader.ask(&[], Asked::Scep(ScepQuery { operation: operation.into(), message })).await
}

async fn answer(reader: &mut Running, context: Vec<u8>, certificate: Vec<u8>, refusal: u32) -> ScepBody {
    match reader.ask(&[], Asked::ScepAnswer(ScepAnswer { context, certificate, refusal })).await {
        What::ScepBody(body) => body,
        other => panic!("{other:?}"),
    }
}

fn opened(what: What) -> (Vec<u8>, Vec<u8>) {
    match what {
        What::ScepOpened(opened) => (opened.context, opened.sealed),
        other => panic!("not opened: {other:?}"),
    }
}

/// As the vault does it.
fn open_as_vault(house: &House, sealed: &[u8]) -> SealedRequest {
    let reader_key = seal::PublicKey(house.reader_key);
    let plain = seal::to::open_auth(&house.order_key, &reader_key, seal::to::INFO_SCEP, b"", sealed).unwrap();
    SealedRequest::from_bytes(&plain).unwrap()
}

fn issue(house: &House, spki: &[u8]) -> Vec<u8> {
    let now_ms = house.clock.now_ms() / 1000 * 1000;
    let window = Window { not_before_ms: now_ms, not_after_ms: now_ms + 90 * DAY_MS };
    device_certificate(&house.ca.1, &house.ca.0, spki, &PHONE, [5; 16], window).unwrap()
}

#[tokio::test]
async fn capabilities_and_certificates_are_answered_even_without_a_statement() {
    let house = House::new();
    let mut reader = house.start().await;
    house.clock.advance(3 * DAY_MS);
    let What::ScepBody(caps) = ask(&mut reader, ScepOperation::CaCaps, vec![]).await else { panic!() };
    assert_eq!(caps.content_type, "text/plain");
    assert!(std::str::from_utf8(&caps.body).unwrap().lines().any(|l| l == "POSTPKIOperation"));
    let What::ScepBody(certs) = ask(&mut reader, ScepOperation::CaCert, vec![]).await else { panic!() };
    assert_eq!(certs.content_type, "application/x-x509-ca-ra-cert");
    for certificate in [&house.ca.1, &house.ra_certificate] {
        assert!(certs.body.windows(certificate.len()).any(|w| w == certificate.as_slice()));
    }
    let phone = Phone::new(&house, Some(CHALLENGE));
    let body = pkcs_req(&phone.request(&house, ContentCipher::Aes256), &SystemRandom).unwrap();
    assert_eq!(refusal(ask(&mut reader, ScepOperation::PkiPost, body).await), (503, "no_statement".into()));
    reader.stop().await;
}

#[tokio::test]
async fn a_phone_gets_its_certificate_and_only_the_vault_reads_the_challenge() {
    let house = House::new();
    let mut reader = house.start().await;
    let phone = Phone::new(&house, Some(CHALLENGE));
    for (cipher, by_get) in [(ContentCipher::Aes128, false), (ContentCipher::Aes256, true)] {
        let request = phone.request(&house, cipher);
        let body = pkcs_req(&request, &SystemRandom).unwrap();
        let what = if by_get {
            let text = base64::engine::general_purpose::STANDARD.encode(&body).replace('+', " ");
            ask(&mut reader, ScepOperation::PkiGet, text.into_bytes()).await
        } else {
            ask(&mut reader, ScepOperation::PkiPost, body).await
        };
        let (context, sealed) = opened(what);
        for said in [&context, &sealed] {
            assert!(!said.windows(CHALLENGE.len()).any(|w| w == CHALLENGE.as_bytes()));
        }
        let asked = open_as_vault(&house, &sealed);
        assert_eq!(asked.challenge.as_str(), CHALLENGE);
        assert_eq!(*asked.csr, phone.csr);
        let csr = apple::csr::parse(&asked.csr).unwrap();
        let body = answer(&mut reader, context, issue(&house, &csr.spki_der), 0).await;
        assert_eq!(body.content_type, "application/x-pki-message");
        let Answer::Issued(certificates) = open_cert_rep(&body.body, &request, &SystemRandom).unwrap() else {
            panic!()
        };
        let certificate = Certificate::parse(&certificates[0]).unwrap();
        assert_eq!(certificate.common_name(), Some(PHONE.to_string().as_str()));
        assert_eq!(certificate.spki_der(), phone.signer.spki_der());
        assert!(certificate.is_signed_by(house.ca.0.spki_der()));
    }
    reader.stop().await;
}

#[tokio::test]
async fn a_refusal_of_the_vault_reaches_the_phone_as_one() {
    let house = House::new();
    let mut reader = house.start().await;
    let phone = Phone::new(&house, None);
    let request = phone.request(&house, ContentCipher::Aes256);
    let body = pkcs_req(&request, &SystemRandom).unwrap();
    let (context, sealed) = opened(ask(&mut reader, ScepOperation::PkiPost, body).await);
    assert_eq!(open_as_vault(&house, &sealed).challenge.as_str(), "");
    for (number, info) in [
        (order::Refusal::InvitationNotOpen.number(), FailInfo::BadRequest),
        (order::Refusal::BadCertificateRequest.number(), FailInfo::BadAlg),
        (9999, FailInfo::BadRequest),
    ] {
        let body = answer(&mut reader, context.clone(), vec![], u32::from(number)).await;
        assert_eq!(
            open_cert_rep(&body.body, &request, &SystemRandom).unwrap(),
            Answer::Refused(Some(info)),
            "{number}"
        );
    }
    reader.stop().await;
}

#[tokio::test]
async fn old_algorithms_are_refused_unless_the_operator_admits_them() {
    let house = House::new();
    let phone = Phone::new(&house, Some(CHALLENGE));
    let request = phone.request(&house, ContentCipher::TripleDes);
    let body = pkcs_req(&request, &SystemRandom).unwrap();
    let mut reader = house.start().await;
    match ask(&mut reader, ScepOperation::PkiPost, body.clone()).await {
        // Answered in words that the phone can read, as far as it can be believed.
        What::ScepBody(_) => {}
        other => assert_eq!(refusal(other).0, 400),
    }
    reader.stop().await;
    let mut house = house;
    house.config.admit_old_algorithms = true;
    let mut reader = house.start().await;
    let (_, sealed) = opened(ask(&mut reader, ScepOperation::PkiPost, body).await);
    assert_eq!(open_as_vault(&house, &sealed).challenge.as_str(), CHALLENGE);
    reader.stop().await;
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_a_made_up_context_too() {
    let house = House::new();
    let mut reader = house.start().await;
    let phone = Phone::new(&house, Some(CHALLENGE));
    let good = pkcs_req(&phone.request(&house, ContentCipher::Aes256), &SystemRandom).unwrap();
    for bad in [vec![], vec![0x30; 50], good[..good.len() - 1].to_vec(), vec![0; (64 << 10) + 1]] {
        let (status, _) = refusal(ask(&mut reader, ScepOperation::PkiPost, bad).await);
        assert!(matches!(status, 400 | 413), "{status}");
    }
    let text = ask(&mut reader, ScepOperation::PkiGet, b"\xff".to_vec()).await;
    assert_eq!(refusal(text), (400, "scep_not_base64".into()));
    assert_eq!(
        refusal(ask(&mut reader, ScepOperation::Unspecified, vec![]).await),
        (400, "unknown_request".into())
    );
    let made_up = ScepAnswer { context: b"x".to_vec(), certificate: vec![1], refusal: 0 };
    assert_eq!(refusal(reader.ask(&[], Asked::ScepAnswer(made_up)).await), (400, "unknown_request".into()));
    // The room goes on.
    opened(ask(&mut reader, ScepOperation::PkiPost, good).await);
    reader.stop().await;
}

/// What a desk answers to a request on the SCEP route.
fn desk_answers(desk: &Desk, what: Asked) -> What {
    desk.answer(&ReadRequest { call: 1, what: Some(what), ..ReadRequest::default() }).what.unwrap()
}

fn posted(desk: &Desk, message: Vec<u8>) -> What {
    desk_answers(desk, Asked::Scep(ScepQuery { operation: ScepOperation::PkiPost.into(), message }))
}

/// Whether this phone gets its certificate through the RA that its request is sealed to.
fn gets_a_certificate(house: &House, desk: &Desk, phone: &Phone) -> bool {
    let request = phone.request(house, ContentCipher::Aes256);
    let What::ScepOpened(opened) = posted(desk, pkcs_req(&request, &SystemRandom).unwrap()) else {
        return false;
    };
    let csr = apple::csr::parse(&open_as_vault(house, &opened.sealed).csr).unwrap();
    let certificate = issue(house, &csr.spki_der);
    let what = Asked::ScepAnswer(ScepAnswer { context: opened.context, certificate, refusal: 0 });
    let What::ScepBody(body) = desk_answers(desk, what) else { return false };
    matches!(open_cert_rep(&body.body, &request, &SystemRandom), Ok(Answer::Issued(_)))
}

#[test]
fn a_new_ra_comes_with_the_statement_and_the_older_one_answers_who_knows_it_until_it_is_not_needed() {
    let mut house = House::new();
    let (home, reader_key) = (house.home(), house.reader_key);
    let desk = Desk::open(&house.config, house.clock.clone()).unwrap();
    let first = std::fs::read(home.join("ra.key")).unwrap();
    let phone = Phone::new(&house, Some(CHALLENGE));
    let spki = desk.make_key(KeyName::ScepRa, 2).unwrap();
    assert_eq!(desk.make_key(KeyName::ScepRa, 2).unwrap(), spki, "asked again");
    assert!(gets_a_certificate(&house, &desk, &phone), "made and not stated: all is as it was");
    let now_ms = house.clock.now_ms() / 1000 * 1000;
    let window = Window { not_before_ms: now_ms - DAY_MS, not_after_ms: now_ms + 300 * DAY_MS };
    let new = ra_certificate(&house.ca.1, &house.ca.0, &spki, [9; 16], window).unwrap();
    let stated = |house: &House, older: bool| {
        let signed = house.statement_with(2, reader_key, |s| {
            s.ra_fingerprint = order::sha256(&new);
            s.ra_certificate = Some(new.clone());
            s.older_needed = older.then(|| vec![KeyName::ScepRa]);
        });
        Statement { signed }
    };
    assert_eq!(desk.believe(&stated(&house, true)).epoch, 2);
    assert!(gets_a_certificate(&house, &desk, &phone), "who was told the older one goes by it");
    let older = std::mem::replace(&mut house.ra_certificate, new.clone());
    assert!(gets_a_certificate(&house, &desk, &phone), "and who asks now by the new one");
    let told = desk_answers(
        &desk,
        Asked::Scep(ScepQuery { operation: ScepOperation::CaCert.into(), message: vec![] }),
    );
    let What::ScepBody(told) = told else { panic!("{told:?}") };
    assert!(told.body.windows(new.len()).any(|w| w == new.as_slice()));
    // Over a restart, and with the older one no longer needed.
    let desk = Desk::open(&house.config, house.clock.clone()).unwrap();
    assert!(gets_a_certificate(&house, &desk, &phone));
    assert!(std::fs::read(home.join("ra.key")).unwrap().windows(first.len()).any(|w| w == first));
    assert_eq!(desk.believe(&stated(&house, false)).epoch, 2);
    assert!(!std::fs::read(home.join("ra.key")).unwrap().windows(first.len()).any(|w| w == first));
    assert!(gets_a_certificate(&house, &desk, &phone));
    house.ra_certificate = older;
    assert!(!gets_a_certificate(&house, &desk, &phone), "nobody has its key any more");
}

#[test]
fn a_new_sender_seals_from_the_statement_on_and_the_one_before_is_destroyed() {
    let mut house = House::new();
    let home = house.home();
    let desk = Desk::open(&house.config, house.clock.clone()).unwrap();
    let first = std::fs::read(home.join("sender.key")).unwrap();
    let phone = Phone::new(&house, Some(CHALLENGE));
    let public: [u8; 32] = desk.make_key(KeyName::ReaderSender, 2).unwrap().try_into().unwrap();
    assert!(public != house.reader_key && gets_a_certificate(&house, &desk, &phone), "by the stated one");
    assert!(desk.make_key(KeyName::Push, 2).is_err(), "that is the courier's");
    let both = std::fs::read(home.join("sender.key")).unwrap();
    house.reader_key = public;
    assert_eq!(desk.believe(&Statement { signed: house.statement(2, public) }).epoch, 2);
    assert!(gets_a_certificate(&house, &desk, &phone), "sealed by the new one, as the vault opens it");
    let holds = |file: &[u8]| file.windows(32).any(|w| w == first);
    assert!(holds(&both) && !holds(&std::fs::read(home.join("sender.key")).unwrap()));
    // Killed after the statement was kept and before the older key was destroyed.
    std::fs::write(home.join("sender.key"), &both).unwrap();
    let desk = Desk::open(&house.config, house.clock.clone()).unwrap();
    assert!(!holds(&std::fs::read(home.join("sender.key")).unwrap()));
    assert!(gets_a_certificate(&house, &desk, &phone));
    // One that the room has not destroys none.
    assert_eq!(desk.believe(&Statement { signed: house.statement(3, [9; 32]) }).epoch, 3);
    assert!(std::fs::read(home.join("sender.key")).unwrap().len() >= 32);
    assert!(!gets_a_certificate(&house, &desk, &phone));
}
