//! In the reader's place: it has the RA's key, the key by which it proves itself when it seals, and the stream with
//! the door. What phones say passes through it. It would like to answer them itself, to speak for other phones, to
//! learn whether a guess is right, and to keep a certificate for a key of its own.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use apple::scep::{self, RaKey, SealedRequest};
use apple::x509::{Algorithms, RsaSigner, Signer, SystemRandom as Random};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use model::{Clock, Compartment, EnrolmentId, SystemClock};
use prost::Message as _;
use rpc::control::RoomEvent;
use rpc::pair::PeerIncoming;
use rpc::proto::read_reply::What;
use rpc::proto::read_request::What as Asked;
use rpc::proto::reader_server::{Reader, ReaderServer};
use rpc::proto::{
    self, Observed, ReadReply, ReadRequest, Report, ReportContent, ReportStatus, SealedRow, observed,
};
use rpc::trust::Trust;
use seal::{CompartmentPublic, KeyPairSecret, PublicKey, Sealer};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use zeroize::Zeroizing;

use crate::everywhere::Acts;
use crate::told::Told;
use crate::{Outcome, Taken, tell};

/// So many of a phone's values are told; one is enough to count it.
const MOST_VALUES: usize = 64;
/// How many forms of a forged answer there are, each followed by an honest one, so that phones come again.
const FORMS: u64 = 9;

struct Inside {
    told: Told,
    /// The reader's own work, by its own code.
    desk: reader::Desk,
    ra: RaKey,
    sender: KeyPairSecret,
    statement: Option<Arc<order::TrustedStatement>>,
    answered: AtomicU64,
    guessed: AtomicU64,
    /// Certificates that were asked for with a key of the intruder's: the reader's contexts of them.
    mine: Mutex<HashSet<Vec<u8>>>,
    stolen: AtomicU64,
    forms_left: tokio::sync::watch::Sender<u64>,
    /// A phone whose certificate was taken asked again, and was refused.
    refused: tokio::sync::watch::Sender<bool>,
}

pub(crate) async fn run(taken: Taken, acts: Acts) -> Outcome<()> {
    let Taken { config, told, mut events } = taken;
    let config: reader::Config = serde_json::from_value(config)?;
    let read = |name: &str| rpc::at_rest::read(&config.data_dir, name);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let trust = Trust::open(&config.data_dir, &*clock)?;
    let sender: [u8; 32] = read("sender.key")?.as_slice().try_into()?;
    let inside = Arc::new(Inside {
        desk: reader::Desk::open(&config, clock.clone())?,
        ra: RaKey::new(
            RsaSigner::from_pkcs8(&read("ra.key")?)?,
            std::fs::read(config.data_dir.join("ra.der"))?,
        )?,
        sender: KeyPairSecret::from_bytes(Zeroizing::new(sender)),
        statement: trust.current(clock.now_ms()),
        answered: AtomicU64::new(0),
        guessed: AtomicU64::new(0),
        mine: Mutex::default(),
        stolen: AtomicU64::new(0),
        forms_left: tokio::sync::watch::Sender::new(FORMS),
        refused: tokio::sync::watch::Sender::new(false),
        told: told.clone(),
    });
    let (pairs, incoming) = PeerIncoming::new();
    let service =
        ReaderServer::new(Room(inside.clone())).max_decoding_message_size(rpc::pair::LARGEST_MESSAGE_BYTES);
    tokio::spawn(rpc::pair::server().add_service(service).serve_with_incoming(incoming));
    let (mut left, mut refused) = (inside.forms_left.subscribe(), inside.refused.subscribe());
    tokio::spawn(async move {
        let patience = std::time::Duration::from_secs(told.patience_s);
        // Each form was tried on a phone, or no more phones came.
        let all = async {
            let _ = left.wait_for(|n| *n == 0).await;
            let _ = refused.wait_for(|r| *r).await;
        };
        let _ = tokio::time::timeout(patience, all).await;
        tell::done();
        // Last, since it costs the process its life.
        tokio::time::sleep(crate::LAST_TALKS).await;
        tokio::task::spawn_blocking(move || acts.go_on());
    });
    loop {
        match events.recv().await {
            Some(RoomEvent::Peer(_, pair)) => pairs.renew(pair)?,
            Some(RoomEvent::Stop) | None => return Ok(()),
            Some(_) => {}
        }
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    let _ = SystemRandom::new().fill(&mut out);
    out
}

/// Every text in a property list.
fn texts(value: &plist::Value, out: &mut Vec<String>) {
    match value {
        plist::Value::String(s) if out.len() < MOST_VALUES => out.push(s.clone()),
        plist::Value::Array(all) => all.iter().for_each(|v| texts(v, out)),
        plist::Value::Dictionary(all) => all.values().for_each(|v| texts(v, out)),
        _ => {}
    }
}

/// Tells what a phone's body says.
pub(crate) fn tell_passing(enrolment: EnrolmentId, body: &[u8]) {
    let mut said = Vec::new();
    if let Ok(value) = plist::from_bytes(body) {
        texts(&value, &mut said);
    }
    said.iter().for_each(|text| tell::passing(enrolment, text));
}

/// The order to erase, as a phone would obey it.
pub(crate) fn erase() -> Vec<u8> {
    let command = model::Command::EraseDevice { preserve_data_plan: false, disallow_proximity_setup: false };
    apple::command::build(model::CommandId(random()), &command, &model::CommandSecrets::default(), None)
        .unwrap_or_default()
}

impl Inside {
    fn answer(&self, request: &ReadRequest) -> ReadReply {
        match &request.what {
            Some(Asked::Device(device)) => match rpc::enrolment_id(&request.enrolment) {
                Ok(enrolment) => self.to_phone(request, enrolment, &device.body),
                Err(_) => self.desk.answer(request),
            },
            Some(Asked::Scep(query)) => {
                self.steal(request, query).unwrap_or_else(|| self.desk.answer(request))
            }
            Some(Asked::ScepAnswer(answer)) => {
                self.look_at(answer);
                self.desk.answer(request)
            }
            None => self.desk.answer(request),
        }
    }

    /// Every second time something that a reader does not say.
    fn to_phone(&self, request: &ReadRequest, enrolment: EnrolmentId, body: &[u8]) -> ReadReply {
        tell_passing(enrolment, body);
        let honest = self.desk.answer(request);
        let n = self.answered.fetch_add(1, Ordering::Relaxed);
        if n.is_multiple_of(2) {
            return honest;
        }
        let form = (n / 2) % FORMS;
        self.forms_left.send_modify(|left| *left = left.saturating_sub(1));
        let reply = |what| ReadReply { call: request.call, what: Some(what), ..ReadReply::default() };
        let scep = |content_type: &str| {
            reply(What::ScepBody(proto::ScepBody { content_type: content_type.into(), body: erase() }))
        };
        let refused = |status| reply(What::Refused(proto::Refused { status, reason: "intruder".into() }));
        match form {
            0 => {
                tell::tried("answer a phone with an order to erase");
                scep("application/x-pki-message")
            }
            1 => {
                tell::tried("answer a phone with an order to erase");
                scep("application/xml")
            }
            2 => {
                tell::tried("answer a phone with a 401 or 403");
                refused(401)
            }
            3 => {
                tell::tried("answer a phone with a 401 or 403");
                refused(403)
            }
            4 => {
                tell::tried("speak for another phone");
                let other = self.told.enrolments.iter().find(|e| **e != enrolment);
                let other = other.map(|e| e.0.to_vec()).unwrap_or_default();
                ReadReply { enrolment: other.into(), certificate: random::<32>().to_vec().into(), ..honest }
            }
            5 => {
                tell::tried("have a phone fed with another endpoint's answer");
                ReadReply { endpoint: random::<32>().to_vec().into(), ..honest }
            }
            6 => {
                tell::tried("answer with bytes that are no observation");
                reply(What::Observed(random::<200>().to_vec().into()))
            }
            7 => {
                tell::tried("answer with a certificate request in a phone's place");
                reply(What::ScepOpened(proto::ScepOpened {
                    context: vec![],
                    sealed: random::<64>().to_vec(),
                }))
            }
            _ => self.guess(request.call, enrolment, &honest).unwrap_or(honest),
        }
    }

    /// Has a phone report a number that another may have, sealed by the reader's own key. Nothing comes back that
    /// would tell; it is tried all the same.
    fn guess(&self, call: u64, enrolment: EnrolmentId, honest: &ReadReply) -> Option<ReadReply> {
        let Some(What::Observed(bytes)) = &honest.what else { return None };
        let tag = Observed::decode(&bytes[..]).ok()?.udid_tag;
        let n = usize::try_from(self.guessed.fetch_add(1, Ordering::Relaxed)).ok()?;
        let number = self.told.guesses.get(n)?;
        let row = self.sealed(enrolment, "PhoneNumber", Compartment::Contact, number.as_bytes())?;
        let content = ReportContent {
            kind: "DeviceInformation".into(),
            change_tag: random::<16>().to_vec(),
            sealed: vec![row],
            ..ReportContent::default()
        };
        let report =
            Report { status: ReportStatus::Idle as i32, content: Some(content), ..Report::default() };
        let observed =
            Observed { udid_tag: tag, what: Some(observed::What::Report(report)), ..Observed::default() };
        tell::attempt(
            "learn from a sealed guess whether it is right",
            false,
            "the walls (nothing comes back)",
        );
        let what = Some(What::Observed(observed.encode_to_vec().into()));
        Some(ReadReply { call, what, ..ReadReply::default() })
    }

    fn sealed(
        &self,
        enrolment: EnrolmentId,
        name: &str,
        compartment: Compartment,
        value: &[u8],
    ) -> Option<SealedRow> {
        let statement = self.statement.as_ref()?;
        let keys = statement.compartments.iter().map(|(compartment, key)| CompartmentPublic {
            compartment: *compartment,
            epoch: statement.epoch,
            key: PublicKey(key.0),
        });
        let mut sealer = Sealer::new(self.sender.clone(), keys.collect());
        let now_ms = SystemClock.now_ms();
        let rng = SystemRandom::new();
        let row = sealer.seal(&rng, now_ms, &enrolment, name, compartment, value, String::new(), vec![]);
        row.ok().map(rpc::row_to)
    }

    /// Puts a key of the intruder's under the first request for a certificate that passes.
    fn steal(&self, request: &ReadRequest, query: &proto::ScepQuery) -> Option<ReadReply> {
        let message = match query.operation() {
            proto::ScepOperation::PkiPost => query.message.clone(),
            proto::ScepOperation::PkiGet => {
                scep::decode_get_message(std::str::from_utf8(&query.message).ok()?).ok()?
            }
            _ => return None,
        };
        if self.stolen.load(Ordering::Relaxed) > 0 {
            return None;
        }
        let opened = scep::request::open(&message, &self.ra, Algorithms::Strong, &Random).ok()?;
        let challenge = opened.csr.challenge.clone()?;
        let key = RsaSigner::generate().ok()?;
        let csr = apple::csr::build(&key as &dyn Signer, "intruder", Some(&challenge)).ok()?;
        let asked = SealedRequest { csr: Zeroizing::new(csr), challenge };
        let to = PublicKey(self.statement.as_ref()?.order_key.0);
        let rng = SystemRandom::new();
        let sealed =
            seal::to::seal_auth(&self.sender, &to, seal::to::INFO_SCEP, b"", &asked.to_bytes(), &rng).ok()?;
        let context = opened.context.to_bytes();
        self.mine.lock().unwrap_or_else(PoisonError::into_inner).insert(context.clone());
        self.stolen.fetch_add(1, Ordering::Relaxed);
        let what = Some(What::ScepOpened(proto::ScepOpened { context, sealed }));
        Some(ReadReply { call: request.call, what, ..ReadReply::default() })
    }

    fn look_at(&self, answer: &proto::ScepAnswer) {
        if !self.mine.lock().unwrap_or_else(PoisonError::into_inner).remove(&answer.context) {
            if answer.refusal != 0 {
                self.refused.send_replace(true);
            }
            return;
        }
        let got = !answer.certificate.is_empty();
        tell::attempt("keep the certificate of a phone that enrols meanwhile", got, "the vault");
        if let Ok(certificate) = apple::x509::Certificate::parse(&answer.certificate) {
            tell::minted(certificate.common_name().unwrap_or_default());
            // From here on the phone's own request, with another key, is what is refused.
            tell::forgery_refused();
        }
    }
}

#[derive(Clone)]
struct Room(Arc<Inside>);

#[tonic::async_trait]
impl Reader for Room {
    type ReadStream = Pin<Box<ReceiverStream<Result<ReadReply, Status>>>>;

    async fn read(
        &self,
        request: Request<Streaming<ReadRequest>>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let (replies, stream) = mpsc::channel(512);
        let (inside, mut requests) = (self.0.clone(), request.into_inner());
        tokio::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                let (inside, replies) = (inside.clone(), replies.clone());
                tokio::task::spawn_blocking(move || {
                    let reply = inside.answer(&request);
                    let _ = replies.blocking_send(Ok(reply));
                });
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn believe(&self, request: Request<proto::Statement>) -> Result<Response<proto::Believed>, Status> {
        Ok(Response::new(self.0.desk.believe(request.get_ref())))
    }
}
