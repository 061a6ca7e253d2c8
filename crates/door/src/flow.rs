//! One request, from its route to what leaves.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use model::{Clock, Digest, LinkHash};
use order::Subject;
use rpc::proto::{
    CoreReply, CoreRequest, DeviceBody, ReadReply, ReadRequest, ScepAnswer, ScepOperation, ScepQuery,
    core_reply, core_request, read_reply, read_request,
};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::answer::{Check, NotLetOut, Outgoing, OutgoingKind, check};
use crate::counters::Counters;
use crate::route::{Route, route};
use crate::tls::{Phone, Who};
use crate::walls::Walls;

/// What serving a request needs.
pub(crate) struct Flow {
    pub(crate) walls: Arc<Walls>,
    pub(crate) largest_body_bytes: usize,
    pub(crate) body_timeout: Duration,
    pub(crate) room: Places,
}

/// What all requests together may take.
pub(crate) struct Places {
    /// Bytes of bodies that are held.
    body_bytes: Semaphore,
    /// Requests of those who are no phones yet, under way at once: they cost the reader and the vault
    /// most, and the phones' check-ins go first.
    strangers: Semaphore,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            body_bytes: Semaphore::new(MOST_BODY_BYTES),
            strangers: Semaphore::new(MOST_STRANGERS_AT_ONCE),
        }
    }
}

/// The most bytes of bodies held at once, of all connections together.
const MOST_BODY_BYTES: usize = 256 << 20;
const MOST_STRANGERS_AT_ONCE: usize = 16;
/// How long a stranger's request waits for its turn.
const STRANGERS_PATIENCE: Duration = Duration::from_secs(5);

/// A body, and the share of [`MOST_BODY_BYTES`] it holds until it is dropped.
struct Held<'a> {
    body: Bytes,
    _share: Option<SemaphorePermit<'a>>,
}

/// Apple's header, when the enrolment profile says `SignMessage`.
const SIGNATURE_HEADER: &str = "mdm-signature";
/// A SCEP message is never larger.
const LARGEST_SCEP_BYTES: usize = 64 * 1024;

impl Flow {
    /// Answers one request. `who` is what the connection says.
    pub(crate) async fn serve(&self, who: Who, request: Request<Incoming>) -> Outgoing {
        let counters = &self.walls.counters;
        Counters::add(&counters.requests);
        let uri = request.uri();
        let way = route(request.method(), uri.path(), uri.query());
        let name = route_name(&way);
        let out = match way {
            Route::Device => self.device(who, request).await,
            Route::Invitation(secret) => self.in_turn(self.invitation(&secret)).await,
            Route::ScepCaps => self.in_turn(self.scep(ScepOperation::CaCaps, Bytes::new())).await,
            Route::ScepCaCert => self.in_turn(self.scep(ScepOperation::CaCert, Bytes::new())).await,
            Route::ScepGet(message) => self.in_turn(self.scep(ScepOperation::PkiGet, message.into())).await,
            Route::ScepPost => match self.body(request, LARGEST_SCEP_BYTES).await {
                Ok(held) => self.in_turn(self.scep(ScepOperation::PkiPost, held.body)).await,
                Err(out) => out,
            },
            Route::Misused => Outgoing::plain(400),
            Route::Unknown => Outgoing::unknown_path(),
        };
        match (out.kind, out.status) {
            (OutgoingKind::Free, _) => Counters::add(&counters.free_queries),
            (OutgoingKind::Warranted, _) => Counters::add(&counters.warranted),
            (_, 400 | 413) => Counters::add(&counters.bad_requests),
            (_, 503) => Counters::add(&counters.unavailable),
            _ => {}
        }
        let enrolment = match who {
            Who::Phone(p) => p.enrolment.to_string(),
            Who::Stranger | Who::Balancer => String::new(),
        };
        if out.status == 200 && out.kind == OutgoingKind::Plain {
            tracing::debug!(http.route = name, http.status = out.status, enrolment, "request");
        } else {
            tracing::info!(http.route = name, http.status = out.status, enrolment, answer = ?out.kind, "request");
        }
        out
    }

    /// Reads a body within its limits of size and time.
    async fn body(&self, request: Request<Incoming>, largest_bytes: usize) -> Result<Held<'_>, Outgoing> {
        let read = read_body(request.into_body(), largest_bytes, &self.room.body_bytes);
        match tokio::time::timeout(self.body_timeout, read).await {
            Ok(read) => read,
            Err(_) => Err(Outgoing::plain(400)),
        }
    }

    /// Lets a stranger's request go when it is its turn.
    async fn in_turn(&self, answer: impl Future<Output = Outgoing>) -> Outgoing {
        match tokio::time::timeout(STRANGERS_PATIENCE, self.room.strangers.acquire()).await {
            Ok(Ok(_turn)) => answer.await,
            _ => Outgoing::plain(503),
        }
    }

    async fn device(&self, who: Who, request: Request<Incoming>) -> Outgoing {
        // Without a phone's certificate or signature: a plain 400, never a 401, which would end its management.
        let (phone, signature) = match who {
            Who::Phone(phone) => (Some(phone), Bytes::new()),
            Who::Stranger => return Outgoing::plain(400),
            Who::Balancer => match request.headers().get(SIGNATURE_HEADER) {
                Some(signature) => (None, Bytes::copy_from_slice(signature.as_bytes())),
                None => return Outgoing::plain(400),
            },
        };
        let content_type = request
            .headers()
            .get(http::header::CONTENT_TYPE)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let held = match self.body(request, self.largest_body_bytes).await {
            Ok(held) => held,
            Err(out) => return out,
        };
        let body = held.body.clone();
        let what = read_request::What::Device(DeviceBody { content_type, body, signature });
        let Some(reply) = self.ask_reader_whole(phone, what).await else { return Outgoing::plain(503) };
        // Behind a load balancer the reader's word is who it is; here its word on that counts for nothing.
        let phone = phone.or_else(|| signed_by(&reply));
        match reply.what {
            Some(read_reply::What::Observed(observed)) => {
                let Ok(endpoint) = asked_at(&reply.endpoint) else { return self.unlisted() };
                let Some(phone) = phone else { return self.unlisted() };
                let what = core_request::What::Observed(observed);
                let reply = self.ask_core(Some(phone), what).await;
                self.let_out(Subject::Enrolment(phone.enrolment), endpoint, reply)
            }
            Some(read_reply::What::Refused(r)) => {
                let enrolment = phone.map(|p| p.enrolment.to_string()).unwrap_or_default();
                tracing::info!(enrolment, reason = r.reason, "the reader refused a body");
                self.refused_by_reader(r.status)
            }
            Some(_) | None => self.unlisted(),
        }
    }

    async fn invitation(&self, secret: &str) -> Outgoing {
        // Core learns the hash alone: the link itself is a bearer secret.
        let link = LinkHash(order::sha256(secret.as_bytes()).0);
        let what = core_request::What::Profile(link.0.to_vec().into());
        let reply = self.ask_core(None, what).await;
        self.let_out(Subject::Link(link), None, reply)
    }

    async fn scep(&self, operation: ScepOperation, message: Bytes) -> Outgoing {
        let query = ScepQuery { operation: operation.into(), message: message.to_vec() };
        let opened = match self.ask_reader(read_request::What::Scep(query)).await {
            Some(read_reply::What::ScepOpened(opened)) => opened,
            Some(other) => return self.scep_answer(other),
            None => return Outgoing::plain(503),
        };
        let what = core_request::What::Scep(opened.sealed.into());
        let mut answer = ScepAnswer { context: opened.context, ..ScepAnswer::default() };
        match self.ask_core(None, what).await.and_then(|r| r.answer) {
            Some(core_reply::Answer::ScepIssued(certificate)) => answer.certificate = certificate.to_vec(),
            Some(core_reply::Answer::ScepRefused(refusal)) => answer.refusal = refusal,
            Some(core_reply::Answer::Plain(503)) | None => return Outgoing::plain(503),
            Some(_) => return self.unlisted(),
        }
        match self.ask_reader(read_request::What::ScepAnswer(answer)).await {
            Some(answer) => self.scep_answer(answer),
            None => Outgoing::plain(503),
        }
    }

    fn scep_answer(&self, answer: read_reply::What) -> Outgoing {
        match answer {
            read_reply::What::ScepBody(b) => {
                Outgoing::scep(&b.content_type, b.body).unwrap_or_else(|| self.unlisted())
            }
            read_reply::What::Refused(r) => {
                tracing::info!(reason = r.reason, "the reader refused a SCEP message");
                self.refused_by_reader(r.status)
            }
            _ => self.unlisted(),
        }
    }

    /// The reader refuses with a status of its own list; another is out of place.
    fn refused_by_reader(&self, status: u32) -> Outgoing {
        match u16::try_from(status) {
            Ok(status @ (400 | 413 | 503)) => Outgoing::plain(status),
            _ => self.unlisted(),
        }
    }

    fn unlisted(&self) -> Outgoing {
        Counters::add(&self.walls.counters.refused_unlisted);
        tracing::error!("alarm: a neighbour's answer is not on the door's list; nothing was let out");
        Outgoing::plain(503)
    }

    fn let_out(&self, subject: Subject, endpoint: Option<Digest>, reply: Option<CoreReply>) -> Outgoing {
        let Some(reply) = reply else { return Outgoing::plain(503) };
        let now_ms = self.walls.clock.now_ms();
        let statement = self.walls.trust.current(now_ms);
        let statement = statement.as_deref();
        let delivery = self.walls.delivery.keys();
        let against = Check { subject, endpoint, statement, delivery: &delivery, now_ms };
        match check(reply, &against) {
            Ok(out) => out,
            Err(NotLetOut::Unlisted) => self.unlisted(),
            Err(why) => {
                Counters::add(&self.walls.counters.refused_warrants);
                tracing::error!(reason = %why, "alarm: core's answer was not let out");
                Outgoing::plain(503)
            }
        }
    }

    async fn ask_reader(&self, what: read_request::What) -> Option<read_reply::What> {
        self.ask_reader_whole(None, what).await?.what
    }

    async fn ask_reader_whole(&self, phone: Option<Phone>, what: read_request::What) -> Option<ReadReply> {
        let enrolment = phone.map(|p| Bytes::copy_from_slice(&p.enrolment.0)).unwrap_or_default();
        let make = |call| ReadRequest { call, enrolment, what: Some(what) };
        self.walls.reader.call(make).await.ok()
    }

    async fn ask_core(&self, phone: Option<Phone>, what: core_request::What) -> Option<CoreReply> {
        let enrolment = phone.map(|p| Bytes::copy_from_slice(&p.enrolment.0)).unwrap_or_default();
        let certificate = phone.map(|p| Bytes::copy_from_slice(&p.certificate.0)).unwrap_or_default();
        let make = |call| CoreRequest { call, enrolment, certificate, what: Some(what) };
        self.walls.core.call(make).await.ok()
    }
}

/// Whose message it is by the reader's word, from the signature on it.
fn signed_by(reply: &ReadReply) -> Option<Phone> {
    let enrolment = rpc::enrolment_id(&reply.enrolment).ok()?;
    Some(Phone { enrolment, certificate: rpc::digest(&reply.certificate).ok()? })
}

/// The reader's word on where a phone asked: nothing, or a hash.
fn asked_at(endpoint: &[u8]) -> Result<Option<Digest>, ()> {
    if endpoint.is_empty() {
        return Ok(None);
    }
    Digest::try_from(endpoint).map(Some).map_err(|_| ())
}

/// How much of a body that is too large is read and thrown away, and for how long.
const MOST_THROWN_AWAY_BYTES: usize = 4 << 20;
const THROW_AWAY_PATIENCE: Duration = Duration::from_secs(2);

/// Reads a body, taking its share as it comes in: what was only announced takes none.
async fn read_body<'a, B>(body: B, largest_bytes: usize, places: &'a Semaphore) -> Result<Held<'a>, Outgoing>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    let mut body = body;
    if body.size_hint().lower() > largest_bytes as u64 {
        return Err(too_large(body).await);
    }
    let mut share: Option<SemaphorePermit<'a>> = None;
    let (mut whole, mut length) = (Vec::new(), 0usize);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Err(Outgoing::plain(400)) };
        let Ok(data) = frame.into_data() else { continue };
        length = length.saturating_add(data.len());
        if length > largest_bytes {
            return Err(too_large(body).await);
        }
        let bytes = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let Ok(more) = places.acquire_many(bytes).await else { return Err(Outgoing::plain(503)) };
        match &mut share {
            Some(share) => share.merge(more),
            None => share = Some(more),
        }
        whole.push(data);
    }
    let body = match whole.as_mut_slice() {
        [one] => std::mem::take(one),
        all => all.concat().into(),
    };
    Ok(Held { body, _share: share })
}

/// 413, after what is under way was thrown away: a phone that is still sending when the connection
/// closes would see a broken pipe and never the answer (RFC 9112, section 9.6). Bounded in size and time.
async fn too_large<B>(mut body: B) -> Outgoing
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    let thrown_away = async {
        let mut left = MOST_THROWN_AWAY_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            let data = frame.into_data().map_or(0, |d| d.len());
            match left.checked_sub(data) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    let _ = tokio::time::timeout(THROW_AWAY_PATIENCE, thrown_away).await;
    Outgoing::plain(413)
}

fn route_name(route: &Route) -> &'static str {
    match route {
        Route::Device => "device",
        Route::Invitation(_) => "invitation",
        Route::ScepCaps | Route::ScepCaCert | Route::ScepGet(_) | Route::ScepPost => "scep",
        Route::Misused => "misused",
        Route::Unknown => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{Full, StreamBody};

    fn chunks(of: &[&'static [u8]]) -> impl hyper::body::Body<Data = Bytes, Error = std::io::Error> + Unpin {
        let frames: Vec<_> = of.iter().map(|c| Ok(hyper::body::Frame::data(Bytes::from_static(c)))).collect();
        StreamBody::new(tokio_stream::iter(frames))
    }

    #[tokio::test]
    async fn a_body_is_read_whole_up_to_its_limit_and_no_further() {
        let places = Semaphore::new(1000);
        for body in [&[&b"abc"[..], b"de"][..], &[b"abcde"]] {
            let held = read_body(chunks(body), 5, &places).await.ok().unwrap();
            assert_eq!(&held.body[..], b"abcde");
            assert_eq!(places.available_permits(), 995);
            drop(held);
            assert_eq!(places.available_permits(), 1000);
            let status = read_body(chunks(body), 4, &places).await.err().unwrap().status;
            assert_eq!((status, places.available_permits()), (413, 1000));
        }
        let announced = Full::new(Bytes::from_static(b"abcde"));
        assert_eq!(read_body(announced, 4, &places).await.err().unwrap().status, 413);
        assert!(read_body(chunks(&[]), 4, &places).await.ok().unwrap().body.is_empty());
    }

    #[tokio::test]
    async fn bodies_beyond_what_all_may_hold_wait_for_others_to_end() {
        let places = Semaphore::new(8);
        let first = read_body(chunks(&[b"abcdef"]), 10, &places).await.ok().unwrap();
        let mut second = Box::pin(read_body(chunks(&[b"abcdef"]), 10, &places));
        let waited = tokio::time::timeout(Duration::from_millis(50), &mut second).await;
        assert!(waited.is_err());
        drop(first);
        assert_eq!(second.await.ok().unwrap().body.len(), 6);
    }
}
