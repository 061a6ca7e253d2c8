//! A core and a courier that lie: what the door takes of ACME, and what it doesn't.

use super::*;
use model::Clock;
use model::SystemClock;
use proptest::prelude::*;
use rcgen::{BasicConstraints, CertificateSigningRequestParams, IsCa, Issuer};
use rpc::proto::{AcmeLook, AcmeMakeRequest, AcmeWithdraw};

const HOST: &str = "mdm.example.org";
const TOKEN: &str = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA";
const THUMB: &str = "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI";

struct Room {
    dir: tempfile::TempDir,
    acme: Acme,
    ca: Issuer<'static, KeyPair>,
}

fn authority() -> (Issuer<'static, KeyPair>, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    (Issuer::new(params, key), pem)
}

fn room(challenge: AcmeChallengeKind) -> Room {
    let dir = tempfile::tempdir().unwrap();
    let (ca, pem) = authority();
    let anchor = dir.path().join("anchor.pem");
    std::fs::write(&anchor, pem).unwrap();
    let config = AcmeConfig { hosts: vec![HOST.into()], challenge, trust_anchor: Some(anchor) };
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec![HOST.to_owned()]).unwrap().self_signed(&key).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let served = Served::new(vec![own.der().clone()], key, now_ms()).unwrap();
    let acme = Acme::open(config, dir.path().to_owned(), served).unwrap();
    Room { dir, acme, ca }
}

fn now_ms() -> TimeMs {
    SystemClock.now_ms()
}

impl Room {
    fn ask(&self, what: acme_ask::What) -> AcmeAnswer {
        Acme::take(Some(&self.acme), AcmeAsk { call: 7, what: Some(what) }, now_ms())
    }

    fn request(&self) -> Vec<u8> {
        let answer = self.ask(acme_ask::What::MakeRequest(AcmeMakeRequest {}));
        assert_eq!((answer.call, answer.refused.as_str()), (7, ""));
        answer.request
    }

    /// What a certificate authority makes of a request.
    fn certify(
        &self,
        request: &[u8],
        by: &Issuer<'static, KeyPair>,
        change: fn(&mut CertificateParams),
    ) -> Vec<u8> {
        let request = request.to_vec().into();
        let mut csr = CertificateSigningRequestParams::from_der(&request).unwrap();
        csr.params.not_before = rcgen::date_time_ymd(2025, 1, 1);
        csr.params.not_after = rcgen::date_time_ymd(2045, 1, 1);
        change(&mut csr.params);
        csr.signed_by(by).unwrap().der().to_vec()
    }

    fn chain(&self, certificates: Vec<Vec<u8>>) -> AcmeAnswer {
        self.ask(acme_ask::What::Chain(AcmeChain { certificates }))
    }

    fn challenge(&self, host: &str, kind: u32, token: &str, key_authorization: &str) -> String {
        let [host, token, key_authorization] = [host, token, key_authorization].map(str::to_owned);
        self.ask(acme_ask::What::Challenge(AcmeChallenge { host, kind, token, key_authorization })).refused
    }
}

#[test]
fn a_core_that_lies_gets_no_chain_taken_up_that_does_not_fit() {
    let room = room(AcmeChallengeKind::TlsAlpn01);
    let request = room.request();
    let (stranger, _) = authority();
    let other = self::room(AcmeChallengeKind::TlsAlpn01);
    let good = |change| room.certify(&request, &room.ca, change);
    for (what, chain) in [
        ("nothing", vec![]),
        ("no certificate", vec![vec![0x30, 0]]),
        ("another root's", vec![room.certify(&request, &stranger, |_| {})]),
        ("another key's", vec![room.certify(&other.request(), &room.ca, |_| {})]),
        (
            "another host's",
            vec![good(|p| {
                p.subject_alt_names = vec![rcgen::SanType::DnsName("example.org".try_into().unwrap())]
            })],
        ),
        ("run out", vec![good(|p| p.not_after = rcgen::date_time_ymd(2025, 6, 1))]),
        ("from the future", vec![good(|p| p.not_before = rcgen::date_time_ymd(2044, 6, 1))]),
        ("too long", vec![good(|_| {}); 9]),
        ("too large", vec![vec![0; 17 * 1024]]),
    ] {
        assert!(!room.chain(chain).refused.is_empty(), "{what}");
        assert!(room.ask(acme_ask::What::Look(AcmeLook {})).shown.is_empty(), "{what}");
    }
    let own = good(|_| {});
    let answer = room.chain(vec![own.clone()]);
    assert_eq!((answer.refused.as_str(), &answer.shown), ("", &own));
    // Again is no harm; with the key in use, the next request has another.
    assert_eq!(room.chain(vec![own.clone()]).refused, "");
    assert_ne!(room.request(), request);
    assert!(
        room.chain(vec![good(|p| p.not_after = rcgen::date_time_ymd(2046, 1, 1))]).refused.contains("belong")
    );
}

#[test]
fn a_key_waits_for_its_chain_over_restarts_and_a_take_up_that_was_cut_short_is_finished() {
    let room = room(AcmeChallengeKind::TlsAlpn01);
    let (first, again) = (room.request(), room.request());
    let key_of = |csr: &Vec<u8>| {
        CertificateSigningRequestParams::from_der(&csr.clone().into()).map(|c| c.public_key).unwrap()
    };
    assert_eq!(key_of(&first), key_of(&again));
    let own = room.certify(&first, &room.ca, |_| {});
    // As it lies when the door died between the two files.
    write(room.dir.path(), CHAIN, &own).unwrap();
    let (chain, _) = kept(room.dir.path()).unwrap();
    assert_eq!(chain.first().unwrap().as_ref(), own);
    assert!(room.dir.path().join(KEY).exists() && !room.dir.path().join(NEXT_KEY).exists());
    // A file that was cut is no certificate, and no reason to stop.
    write(room.dir.path(), CHAIN, &own[..own.len() - 1]).unwrap();
    assert!(kept(room.dir.path()).is_none());
}

#[test]
fn a_challenge_is_answered_for_the_configured_host_and_kind_and_the_first_account_alone() {
    let room = room(AcmeChallengeKind::Http01);
    let good = format!("{TOKEN}.{THUMB}");
    let other = format!("{TOKEN}.{}", THUMB.replace('9', "8"));
    for (what, host, kind, token, key_authorization) in [
        ("another host", "example.org", 1, TOKEN, good.as_str()),
        ("another kind", HOST, 2, TOKEN, &good),
        ("no kind", HOST, 3, TOKEN, &good),
        ("a short token", HOST, 1, "abc", "abc.x"),
        ("a path", HOST, 1, "../../mdm", &good),
        ("another token's", HOST, 1, &TOKEN.replace('e', "f"), &good),
        ("a long answer", HOST, 1, TOKEN, &format!("{good}<html>")),
    ] {
        assert!(!room.challenge(host, kind, token, key_authorization).is_empty(), "{what}");
    }
    assert_eq!(room.challenge(HOST, 1, TOKEN, &good), "");
    assert!(room.challenge(HOST, 1, TOKEN, &other).contains("another ACME account"));
    let path = format!("/.well-known/acme-challenge/{TOKEN}");
    let answers = &room.acme.answers;
    assert_eq!(answers.key_authorization(&path, now_ms()), Some(good.clone()));
    assert_eq!(answers.key_authorization(&path, now_ms() + 11 * 60_000), None);
    assert_eq!(answers.key_authorization(&format!("/{path}"), now_ms()), None);
    assert!(answers.certificate(HOST, now_ms()).is_none());
    room.ask(acme_ask::What::Withdraw(AcmeWithdraw {}));
    assert_eq!(answers.key_authorization(&path, now_ms()), None);
}

#[test]
fn a_door_without_acme_takes_no_step_of_it() {
    let ask = AcmeAsk { call: 1, what: Some(acme_ask::What::MakeRequest(AcmeMakeRequest {})) };
    assert!(Acme::take(None, ask, 0).refused.contains("no certificate by ACME is configured"));
    let room = room(AcmeChallengeKind::Http01);
    assert!(!Acme::take(Some(&room.acme), AcmeAsk::default(), 0).refused.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn only_a_token_with_a_thumbprint_is_a_key_authorization(token in "[ -~]{0,140}", rest in "[ -~]{0,50}") {
        let text = format!("{token}.{rest}");
        let word = |t: &str| t.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        let good = (22..=128).contains(&token.len()) && word(&token) && rest.len() == 43 && word(&rest);
        prop_assert_eq!(answers::thumbprint(&token, &text), good.then_some(rest.as_str()));
        prop_assert_eq!(answers::thumbprint(&token, &rest), None);
    }
}
