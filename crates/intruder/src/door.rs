//! In the door's place: it is the end of the phones' TLS, so the phones that connect are the intruder's. Beyond
//! them it has the streams with reader and core, and the key to which the vault seals what a phone gets.

mod link;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use apple::x509::Certificate;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use model::{EnrolmentId, LinkHash};
use rpc::CallStream;
use rpc::control::RoomEvent;
use rpc::pair::{LARGEST_MESSAGE_BYTES, PeerIncoming, PeerSlot};
use rpc::proto::core_reply::Answer;
use rpc::proto::door_server::{Door, DoorServer};
use rpc::proto::reader_client::ReaderClient;
use rpc::proto::{
    self, AcmeAnswer, AcmeAsk, Believed, CoreReply, CoreRequest, CountersReply, CountersRequest, DeviceBody,
    ReadReply, ReadRequest, Statement, core_request, read_reply, read_request,
};
use seal::{KeyPairSecret, to};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use zeroize::Zeroizing;

use crate::everywhere::Acts;
use crate::reader::{erase, tell_passing};
use crate::told::Told;
use crate::{Outcome, Taken, tell};

/// The neighbours that answer nothing are not waited for longer.
const PATIENCE: Duration = Duration::from_secs(5);

struct Inside {
    told: Told,
    delivery: KeyPairSecret,
    core: CallStream<CoreRequest, CoreReply>,
    reader: CallStream<ReadRequest, ReadReply>,
    came: AtomicUsize,
    /// A link was spent already.
    spent: AtomicBool,
}

pub(crate) async fn run(taken: Taken, acts: Acts) -> Outcome<()> {
    let Taken { config, told, mut events } = taken;
    let config: door::Config = serde_json::from_value(config)?;
    let delivery: [u8; 32] = rpc::at_rest::read(&told.folder, "delivery.key")?.as_slice().try_into()?;
    let tls = TlsAcceptor::from(door::tls_of(&config)?);
    let inside = Arc::new(Inside {
        told: told.clone(),
        delivery: KeyPairSecret::from_bytes(Zeroizing::new(delivery)),
        core: CallStream::new(PATIENCE),
        reader: CallStream::new(PATIENCE),
        came: AtomicUsize::new(0),
        spent: AtomicBool::new(false),
    });
    let (pairs, incoming) = PeerIncoming::new();
    let service = DoorServer::new(Room(inside.clone())).max_decoding_message_size(LARGEST_MESSAGE_BYTES);
    tokio::spawn(rpc::pair::server().add_service(service).serve_with_incoming(incoming));
    let to_reader = PeerSlot::default();
    tokio::spawn(inside.clone().keep_reader(to_reader.clone()));
    tokio::spawn({
        let inside = inside.clone();
        async move {
            inside.speak_for_others().await;
            tokio::time::sleep(Duration::from_secs(told.patience_s)).await;
            tell::done();
            tokio::time::sleep(crate::LAST_TALKS).await;
            tokio::task::spawn_blocking(move || acts.go_on());
        }
    });
    loop {
        match events.recv().await {
            Some(RoomEvent::Peer(name, pair)) if name == "core" => pairs.renew(pair)?,
            Some(RoomEvent::Peer(_, pair)) => to_reader.renew(pair)?,
            Some(RoomEvent::Listener(_, listener)) => {
                listener.set_nonblocking(true)?;
                tokio::spawn(inside.clone().serve(TcpListener::from_std(listener)?, tls.clone()));
            }
            Some(RoomEvent::Stop) | None => return Ok(()),
            Some(RoomEvent::Alarms(_) | RoomEvent::MakeKey(..) | RoomEvent::KeyMade(..)) => {}
        }
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    let _ = SystemRandom::new().fill(&mut out);
    out
}

/// A body such as a phone sends, of a phone whose UDID the intruder does not know.
fn made_up(message: &str) -> Vec<u8> {
    let udid: String = random::<12>().iter().map(|b| format!("{b:02X}")).collect();
    let mut said = plist::Dictionary::new();
    said.insert("UDID".into(), format!("00008110-{}", udid.get(..16).unwrap_or_default()).into());
    match message {
        "Idle" => said.insert("Status".into(), "Idle".into()),
        kind => {
            said.insert("Topic".into(), "com.apple.mgmt.External.matron-without-push".into());
            said.insert("MessageType".into(), kind.into())
        }
    };
    let mut out = Vec::new();
    let _ = plist::Value::Dictionary(said).to_writer_xml(&mut out);
    out
}

impl Inside {
    async fn keep_reader(self: Arc<Self>, slot: PeerSlot) {
        let mut changes = slot.changes();
        loop {
            let channel = changes.borrow_and_update().clone();
            if let Some(channel) = channel {
                let mut client = ReaderClient::new(channel)
                    .max_decoding_message_size(LARGEST_MESSAGE_BYTES)
                    .max_encoding_message_size(LARGEST_MESSAGE_BYTES);
                let (tx, rx) = mpsc::channel(256);
                if let Ok(answers) = client.read(ReceiverStream::new(rx)).await {
                    let mut answers = answers.into_inner();
                    let attached = self.reader.attach(tx);
                    while let Ok(Some(answer)) = answers.message().await {
                        self.reader.answer(answer.call, answer);
                    }
                    self.reader.detach(attached);
                }
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    async fn ask_reader(
        &self,
        enrolment: &[u8],
        body: Vec<u8>,
        content_type: &str,
    ) -> Option<read_reply::What> {
        let device =
            DeviceBody { content_type: content_type.into(), body: body.into(), signature: Bytes::new() };
        self.ask_reader_whole(enrolment, read_request::What::Device(device)).await
    }

    async fn ask_reader_whole(&self, enrolment: &[u8], what: read_request::What) -> Option<read_reply::What> {
        let (enrolment, what) = (Bytes::copy_from_slice(enrolment), Some(what));
        self.reader.call(|call| ReadRequest { call, enrolment, what }).await.ok()?.what
    }

    async fn ask_core(&self, enrolment: &[u8], what: core_request::What) -> Option<Answer> {
        let enrolment = Bytes::copy_from_slice(enrolment);
        let make = |call| CoreRequest { call, enrolment, certificate: Bytes::new(), what: Some(what) };
        self.core.call(make).await.ok()?.answer
    }

    /// Asks core in the names of phones that did not connect, whose UDIDs it does not know, for what waits for them
    /// and what is kept for them.
    async fn speak_for_others(&self) {
        for phone in &self.told.enrolments {
            for (name, message) in [
                ("fetch the command of a phone that did not connect", "Idle"),
                ("fetch the kept token of a phone that did not connect", "GetBootstrapToken"),
                ("begin anew in the place of a phone that did not connect", "Authenticate"),
            ] {
                let read = self
                    .ask_reader(phone.as_bytes(), made_up(message), "application/x-apple-aspen-mdm")
                    .await;
                let observed = match read {
                    Some(read_reply::What::Observed(observed)) => observed,
                    _ => {
                        tell::attempt(name, false, "the reader");
                        continue;
                    }
                };
                let answer = self.ask_core(phone.as_bytes(), core_request::What::Observed(observed)).await;
                self.tell_answer(name, *phone, answer);
            }
            // Without the reader: what core is to take for its word.
            let forged = proto::Observed { udid_tag: random::<16>().to_vec(), ..proto::Observed::default() };
            let what = core_request::What::Observed(prost::Message::encode_to_vec(&forged).into());
            let answer = self.ask_core(phone.as_bytes(), what).await;
            self.tell_answer("have core take made-up words for the reader's", *phone, answer);
        }
        for _ in 0..100 {
            let what = core_request::What::Profile(random::<32>().to_vec().into());
            let answer = self.ask_core(&[], what).await;
            let got = matches!(answer, Some(Answer::Warranted(_)));
            tell::attempt("guess an invitation's link", got, "the vault");
        }
    }

    fn tell_answer(&self, name: &str, phone: EnrolmentId, answer: Option<Answer>) {
        match answer {
            Some(Answer::Warranted(w)) => {
                let body = self.opened(&w);
                tell::attempt(name, body.is_some(), "nobody");
                body.iter().for_each(|b| tell::value(Some(phone), &String::from_utf8_lossy(b)));
            }
            Some(Answer::Plain(status)) => tell::attempt(name, status == 200, format!("core ({status})")),
            Some(_) => tell::attempt(name, true, "nobody"),
            None => tell::attempt(name, false, "core (no answer)"),
        }
    }

    fn opened(&self, w: &proto::Warranted) -> Option<Vec<u8>> {
        if !w.sealed {
            return Some(w.body.to_vec());
        }
        let signed: order::SignedWarrant = order::decode(&w.warrant).ok()?;
        let warrant: order::Warrant = order::decode(&signed.warrant).ok()?;
        let opened = to::open(&self.delivery, to::INFO_DELIVERY, warrant.digest.as_bytes(), &w.body);
        opened.ok().map(|o| o.to_vec())
    }

    async fn serve(self: Arc<Self>, listener: TcpListener, tls: TlsAcceptor) {
        while let Ok((stream, _)) = listener.accept().await {
            let (inside, tls) = (self.clone(), tls.clone());
            tokio::spawn(async move {
                let Ok(stream) = tls.accept(stream).await else { return };
                let shown = stream.get_ref().1.peer_certificates().and_then(|all| all.first());
                let phone = shown
                    .and_then(|c| Certificate::parse(c).ok()?.common_name()?.parse::<EnrolmentId>().ok());
                let service = service_fn(move |request| {
                    let inside = inside.clone();
                    async move { Ok::<_, Infallible>(inside.answer(phone, request).await) }
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    }

    /// Phones that connect are wiped; who follows a link is robbed of it.
    async fn answer(&self, phone: Option<EnrolmentId>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (path, method) = (request.uri().path().to_owned(), request.method().clone());
        let body = request.into_body().collect().await.map(|b| b.to_bytes()).unwrap_or_default();
        if let Some(phone) = phone {
            tell_passing(phone, &body);
            let n = self.came.fetch_add(1, Ordering::Relaxed);
            if n.is_multiple_of(2) {
                tell::tried("wipe a phone that connects");
                let mut response = Response::new(Full::new(Bytes::from(erase())));
                let kind = http::HeaderValue::from_static("application/xml");
                response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
                return response;
            }
        } else if let (Method::GET, Some(secret)) = (method, path.strip_prefix("/enrol/")) {
            let link = LinkHash(order::sha256(secret.as_bytes()).0);
            let answer = self.ask_core(&[], core_request::What::Profile(link.0.to_vec().into())).await;
            let profile = match answer {
                Some(Answer::Warranted(w)) => self.opened(&w),
                _ => None,
            };
            tell::attempt(
                "fetch the profile of a link that passes",
                profile.is_some(),
                "nobody: it spends nothing",
            );
            if let Some(profile) = profile {
                if !self.spent.swap(true, Ordering::Relaxed) {
                    self.spend(&profile).await;
                }
                return Response::new(Full::new(profile.into()));
            }
        }
        Response::new(Full::new(Bytes::new()))
    }
}

struct Room(Arc<Inside>);

#[tonic::async_trait]
impl Door for Room {
    type CheckInsStream = Pin<Box<dyn tokio_stream::Stream<Item = Result<CoreRequest, Status>> + Send>>;

    async fn check_ins(
        &self,
        request: tonic::Request<Streaming<CoreReply>>,
    ) -> Result<tonic::Response<Self::CheckInsStream>, Status> {
        let (tx, rx) = mpsc::channel(256);
        let inside = self.0.clone();
        let attached = inside.core.attach(tx);
        let mut answers = request.into_inner();
        tokio::spawn(async move {
            while let Ok(Some(answer)) = answers.message().await {
                inside.core.answer(answer.call, answer);
            }
            inside.core.detach(attached);
        });
        let requests = tokio_stream::StreamExt::map(ReceiverStream::new(rx), Ok);
        Ok(tonic::Response::new(Box::pin(requests)))
    }

    async fn believe(&self, _: tonic::Request<Statement>) -> Result<tonic::Response<Believed>, Status> {
        Ok(tonic::Response::new(Believed { epoch: u32::MAX, refused: String::new() }))
    }

    async fn acme(&self, _: tonic::Request<AcmeAsk>) -> Result<tonic::Response<AcmeAnswer>, Status> {
        Err(Status::unavailable("no authority is configured"))
    }

    async fn reseal(
        &self,
        _: tonic::Request<rpc::proto::DeliveryResealRequest>,
    ) -> Result<tonic::Response<rpc::proto::DeliveryResealAnswer>, Status> {
        Err(Status::unavailable("no key is made anew in a drill"))
    }

    async fn counters(
        &self,
        _: tonic::Request<CountersRequest>,
    ) -> Result<tonic::Response<CountersReply>, Status> {
        Ok(tonic::Response::new(CountersReply::default()))
    }
}
