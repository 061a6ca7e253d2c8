//! A small server for phones to talk to: one process, no walls, no database. It checks what phones say
//! with the reader's own parsers, and misbehaves on demand.
#![allow(dead_code)]

use apple::message::{self, Message};
use apple::profile::{EnrolmentProfile, Root};
use apple::scep::{self, RaKey};
use apple::x509::{
    Algorithms, P256Signer, RsaSigner, ServerName, Signer, SystemRandom, Window, ca_certificate,
    device_certificate, profile_signer_certificate, ra_certificate, server_certificate,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use model::{Clock, CommandId, EnrolmentId, SystemClock};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;

pub const TOPIC: &str = "com.apple.mgmt.External.simulate.test";

/// What the server does wrong.
#[derive(Clone, Default)]
pub struct Trouble {
    /// How many check-ins and reports still get this status.
    pub status: Option<(u16, u32)>,
    /// Every report gets these bytes.
    pub reply: Option<Vec<u8>>,
    /// The profile is served unsigned.
    pub unsigned: bool,
    /// The profile tells another fingerprint.
    pub wrong_fingerprint: bool,
    /// SCEP refuses.
    pub refuse: bool,
    /// Each answer closes the connection.
    pub close: bool,
    /// Connections are closed without a word when nothing comes for a moment.
    pub impatient: bool,
}

#[derive(Default)]
struct Enrolment {
    challenge: String,
    spki: Option<Vec<u8>>,
    authenticated: bool,
    enrolled: bool,
    queue: VecDeque<(CommandId, Vec<u8>)>,
    unlock_token: Option<Vec<u8>>,
    push: Option<(Vec<u8>, String)>,
}

pub struct House {
    pub addr: SocketAddr,
    pub ca_der: Vec<u8>,
    ca: P256Signer,
    ra: RaKey,
    signer: (P256Signer, Vec<u8>),
    enrolments: Mutex<HashMap<EnrolmentId, Enrolment>>,
    /// Everything that phones said at check-in and in reports.
    pub heard: Mutex<Vec<(EnrolmentId, Message)>>,
    pub trouble: Mutex<Trouble>,
    next: Mutex<u8>,
    tls: tokio_rustls::TlsAcceptor,
}

fn serial(n: u8) -> [u8; 16] {
    [n | 1; 16]
}

impl House {
    pub async fn start() -> Arc<Self> {
        // Whole seconds, as certificates tell time.
        let now_ms = SystemClock.now_ms() / 1000 * 1000;
        let day_ms = model::clock::DAY_MS;
        let window = Window { not_before_ms: now_ms - day_ms, not_after_ms: now_ms + 30 * day_ms };
        let ca = P256Signer::generate().unwrap();
        let ca_der = ca_certificate(&ca, "Test CA", serial(1), window).unwrap();
        let ra_key = RsaSigner::generate().unwrap();
        let ra_der = ra_certificate(&ca_der, &ca, ra_key.spki_der(), serial(2), window).unwrap();
        let profile_key = P256Signer::generate().unwrap();
        let profile_der =
            profile_signer_certificate(&ca_der, &ca, profile_key.spki_der(), serial(4), window).unwrap();
        let tls_key = P256Signer::generate().unwrap();
        let names = [ServerName::Dns("mdm.example.org".into())];
        let tls_der =
            server_certificate(&ca_der, &ca, tls_key.spki_der(), &names, serial(6), window).unwrap();

        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from(ca_der.clone())).unwrap();
        let clients =
            rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .allow_unauthenticated()
                .build()
                .unwrap();
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(
                vec![CertificateDer::from(tls_der)],
                PrivateKeyDer::Pkcs8(tls_key.to_pkcs8().unwrap().to_vec().into()),
            )
            .unwrap();
        tls.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
        let tls = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let house = Arc::new(Self {
            addr: listener.local_addr().unwrap(),
            ra: RaKey::new(ra_key, ra_der).unwrap(),
            signer: (profile_key, profile_der),
            ca,
            ca_der,
            enrolments: Mutex::default(),
            heard: Mutex::default(),
            trouble: Mutex::default(),
            next: Mutex::new(0),
            tls,
        });
        tokio::spawn(house.clone().accept(listener));
        house
    }

    async fn accept(self: Arc<Self>, listener: TcpListener) {
        while let Ok((tcp, _)) = listener.accept().await {
            tcp.set_nodelay(true).unwrap();
            let (house, tls) = (self.clone(), self.tls());
            tokio::spawn(async move {
                let impatient = house.trouble.lock().unwrap().impatient;
                let Ok(stream) = tls.accept(tcp).await else { return };
                let certs = stream.get_ref().1.peer_certificates();
                let enrolment = certs.and_then(|certs| {
                    let cert = apple::x509::Certificate::parse(certs.first()?).ok()?;
                    cert.common_name()?.parse::<EnrolmentId>().ok()
                });
                let service = service_fn(move |request: Request<Incoming>| {
                    let house = house.clone();
                    async move { Ok::<_, std::convert::Infallible>(house.serve(enrolment, request).await) }
                });
                let patience = if impatient { Duration::from_millis(8) } else { Duration::from_secs(30) };
                let _ = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(patience)
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    }

    pub fn tls(&self) -> tokio_rustls::TlsAcceptor {
        self.tls.clone()
    }

    pub fn network(&self) -> simulate::Network {
        simulate::Network::trusting(&self.ca_der).unwrap().dialling(self.addr).with_timeout_ms(10_000)
    }

    pub fn invite(&self) -> (String, EnrolmentId) {
        let mut next = self.next.lock().unwrap();
        *next += 1;
        let id = EnrolmentId([*next; 16]);
        let challenge = format!("challenge-{id}");
        self.enrolments.lock().unwrap().insert(id, Enrolment { challenge, ..Enrolment::default() });
        (format!("https://mdm.example.org/enrol/{id}"), id)
    }

    pub fn queue(&self, id: EnrolmentId, command: Vec<u8>) {
        let (command_id, _, _) = apple::command::parse(&command).unwrap();
        self.enrolments.lock().unwrap().get_mut(&id).unwrap().queue.push_back((command_id, command));
    }

    pub fn unlock_token(&self, id: EnrolmentId) -> Option<Vec<u8>> {
        self.enrolments.lock().unwrap()[&id].unlock_token.clone()
    }

    pub fn push(&self, id: EnrolmentId) -> Option<(Vec<u8>, String)> {
        self.enrolments.lock().unwrap()[&id].push.clone()
    }

    pub fn reports(&self, id: EnrolmentId) -> Vec<apple::report::Report> {
        let heard = self.heard.lock().unwrap();
        let of = heard.iter().filter(|(from, _)| *from == id);
        of.filter_map(|(_, m)| if let Message::Report(r) = m { Some((**r).clone()) } else { None }).collect()
    }

    async fn serve(
        &self,
        enrolment: Option<EnrolmentId>,
        request: Request<Incoming>,
    ) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map(|b| b.to_bytes()).unwrap_or_default();
        let path = parts.uri.path();
        let answer = if let Some(id) = path.strip_prefix("/enrol/") {
            self.profile(id)
        } else if path == "/scep" {
            self.scep(parts.uri.query().unwrap_or_default(), &body)
        } else if path == "/mdm" && parts.method == "PUT" {
            self.device(enrolment, &body)
        } else {
            (404, "text/plain", Vec::new())
        };
        let (status, kind, body) = answer;
        let mut response = Response::builder().status(status).header("content-type", kind);
        if self.trouble.lock().unwrap().close {
            response = response.header("connection", "close");
        }
        response.body(Full::new(Bytes::from(body))).unwrap()
    }

    fn profile(&self, id: &str) -> (u16, &'static str, Vec<u8>) {
        const KIND: &str = "application/x-apple-aspen-config";
        let enrolments = self.enrolments.lock().unwrap();
        let Some((id, enrolment)) = id.parse().ok().and_then(|id| Some((id, enrolments.get(&id)?))) else {
            return (410, "text/plain", Vec::new());
        };
        let trouble = self.trouble.lock().unwrap().clone();
        let mut fingerprint =
            aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.ca_der).as_ref().to_vec();
        fingerprint[0] ^= u8::from(trouble.wrong_fingerprint);
        let profile = EnrolmentProfile {
            organization: "Test".into(),
            display_name: "Test management".into(),
            description: "For tests".into(),
            roots: vec![Root {
                certificate_der: self.ca_der.clone(),
                display_name: "Test CA".into(),
                uuid: [1; 16],
            }],
            scep_url: "https://mdm.example.org/scep".into(),
            scep_challenge: enrolment.challenge.clone(),
            common_name: id.to_string(),
            ca_fingerprint: Some(fingerprint),
            server_url: "https://mdm.example.org/mdm".into(),
            topic: TOPIC.into(),
            sign_message: false,
            profile_uuid: [2; 16],
            scep_uuid: [3; 16],
            mdm_uuid: [4; 16],
        };
        let bytes = profile.build().unwrap();
        if trouble.unsigned {
            return (200, KIND, bytes);
        }
        let chain: [&[u8]; 1] = [&self.signer.1];
        (200, KIND, apple::cms::sign_attached(&bytes, &self.signer.0, &chain, SystemClock.now_ms()).unwrap())
    }

    fn scep(&self, query: &str, body: &[u8]) -> (u16, &'static str, Vec<u8>) {
        if query == "operation=GetCACaps" {
            return (200, scep::CA_CAPS_TYPE, scep::ca_caps().as_bytes().to_vec());
        }
        if query == "operation=GetCACert" {
            return (200, scep::CA_CERT_TYPE, scep::ca_cert(self.ra.cert_der(), &self.ca_der));
        }
        let message = query.strip_prefix("operation=PKIOperation&message=");
        let body = message.map_or_else(|| body.to_vec(), |m| scep::decode_get_message(m).unwrap());
        let opened = match scep::request::open(&body, &self.ra, Algorithms::Strong, &SystemRandom) {
            Ok(opened) => opened,
            Err(_) => return (400, "text/plain", Vec::new()),
        };
        let refuse = |why| scep::response::failure(&opened.context, why, &self.ra, &SystemRandom).unwrap();
        if self.trouble.lock().unwrap().refuse {
            return (200, scep::PKI_MESSAGE_TYPE, refuse(scep::FailInfo::BadRequest));
        }
        let challenge = opened.csr.challenge.as_ref().map(|c| c.as_str().to_owned()).unwrap_or_default();
        let mut enrolments = self.enrolments.lock().unwrap();
        let Some((id, enrolment)) = enrolments.iter_mut().find(|(_, e)| e.challenge == challenge) else {
            return (200, scep::PKI_MESSAGE_TYPE, refuse(scep::FailInfo::BadRequest));
        };
        // One key for a challenge.
        if enrolment.spki.get_or_insert_with(|| opened.csr.spki_der.clone()) != &opened.csr.spki_der {
            return (200, scep::PKI_MESSAGE_TYPE, refuse(scep::FailInfo::BadCertId));
        }
        let now_ms = SystemClock.now_ms();
        let window = Window { not_before_ms: now_ms - 60_000, not_after_ms: now_ms + model::clock::DAY_MS };
        let issued =
            device_certificate(&self.ca_der, &self.ca, &opened.csr.spki_der, id, serial(99), window).unwrap();
        let chain: [&[u8]; 1] = [&self.ca_der];
        let answer = scep::response::success(&opened.context, &issued, &chain, &self.ra, &SystemRandom);
        (200, scep::PKI_MESSAGE_TYPE, answer.unwrap())
    }

    fn device(&self, enrolment: Option<EnrolmentId>, body: &[u8]) -> (u16, &'static str, Vec<u8>) {
        const KIND: &str = "application/xml";
        let empty = |status| (status, KIND, Vec::new());
        let Some(id) = enrolment else { return empty(400) };
        {
            let mut trouble = self.trouble.lock().unwrap();
            if let Some((status, left)) = trouble.status {
                trouble.status = (left > 1).then_some((status, left - 1));
                return empty(status);
            }
            if let Some(reply) = &trouble.reply {
                return (200, KIND, reply.clone());
            }
        }
        let message = message::parse(body).expect("phones say only what the reader understands");
        self.heard.lock().unwrap().push((id, message.clone()));
        let mut enrolments = self.enrolments.lock().unwrap();
        let enrolment = enrolments.get_mut(&id).unwrap();
        match message {
            Message::Authenticate(a) => {
                assert_eq!(a.topic, TOPIC);
                enrolment.authenticated = true;
            }
            Message::TokenUpdate(t) => {
                assert!(enrolment.authenticated, "Authenticate comes first");
                enrolment.enrolled = true;
                enrolment.push = Some((t.token().to_vec(), t.push_magic().to_owned()));
                if let Some(token) = t.unlock_token() {
                    enrolment.unlock_token = Some(token.to_vec());
                }
            }
            Message::CheckOut(_) => enrolment.enrolled = false,
            Message::Report(report) => {
                assert!(enrolment.enrolled, "no report before TokenUpdate");
                let not_now = report.status == apple::report::Status::NotNow;
                if let Some(done) = report.command_id {
                    let at =
                        enrolment.queue.iter().position(|(id, _)| *id == done).expect("a command of ours");
                    let command = enrolment.queue.remove(at).unwrap();
                    if not_now {
                        enrolment.queue.push_back(command);
                        return empty(200);
                    }
                }
                if let Some((_, bytes)) = enrolment.queue.front() {
                    return (200, KIND, bytes.clone());
                }
            }
            _ => return empty(400),
        }
        empty(200)
    }
}
