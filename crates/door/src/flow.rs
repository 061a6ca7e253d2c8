//! One request, from its route to what leaves.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use model::{Clock, EnrolmentId, LinkHash, SystemClock};
use order::Subject;
use rpc::proto::{
    CoreReply, CoreRequest, DeviceBody, ReadReply, ReadRequest, ScepAnswer, ScepOperation, ScepQuery,
    core_reply, core_request, read_reply, read_request,
};
use seal::KeyPairSecret;

use crate::answer::{Check, NotLetOut, Outgoing, OutgoingKind, check};
use crate::counters::Counters;
use crate::route::{Route, route};
use crate::walls::Walls;

/// What serving a request needs.
pub(crate) struct Flow {
    pub(crate) walls: Arc<Walls>,
    pub(crate) delivery: KeyPairSecret,
    pub(crate) largest_body_bytes: usize,
    pub(crate) body_timeout: Duration,
}

/// A SCEP message is never larger.
const LARGEST_SCEP_BYTES: usize = 64 * 1024;

impl Flow {
    /// Answers one request. `phone` is what the connection's certificate says.
    pub(crate) async fn serve(&self, phone: Option<EnrolmentId>, request: Request<Incoming>) -> Outgoing {
        let counters = &self.walls.counters;
        Counters::add(&counters.requests);
        let uri = request.uri();
        let way = route(request.method(), uri.path(), uri.query());
        let name = route_name(&way);
        let out = match way {
            Route::Device => self.device(phone, request).await,
            Route::Invitation(secret) => self.invitation(&secret).await,
            Route::ScepCaps => self.scep(ScepOperation::CaCaps, Bytes::new()).await,
            Route::ScepCaCert => self.scep(ScepOperation::CaCert, Bytes::new()).await,
            Route::ScepGet(message) => self.scep(ScepOperation::PkiGet, message.into()).await,
            Route::ScepPost => match self.body(request, LARGEST_SCEP_BYTES).await {
                Ok(body) => self.scep(ScepOperation::PkiPost, body).await,
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
        let enrolment = phone.map(|p| p.to_string()).unwrap_or_default();
        if out.status == 200 && out.kind == OutgoingKind::Plain {
            tracing::debug!(http.route = name, http.status = out.status, enrolment, "request");
        } else {
            tracing::info!(http.route = name, http.status = out.status, enrolment, answer = ?out.kind, "request");
        }
        out
    }

    /// Reads a body within its limits of size and time.
    async fn body(&self, request: Request<Incoming>, largest_bytes: usize) -> Result<Bytes, Outgoing> {
        use hyper::body::Body;
        let body = request.into_body();
        if body.size_hint().lower() > largest_bytes as u64 {
            return Err(Outgoing::plain(413));
        }
        let read = Limited::new(body, largest_bytes).collect();
        match tokio::time::timeout(self.body_timeout, read).await {
            Ok(Ok(whole)) => Ok(whole.to_bytes()),
            Ok(Err(e)) if e.is::<http_body_util::LengthLimitError>() => Err(Outgoing::plain(413)),
            Ok(Err(_)) | Err(_) => Err(Outgoing::plain(400)),
        }
    }

    async fn device(&self, phone: Option<EnrolmentId>, request: Request<Incoming>) -> Outgoing {
        // Without a phone's certificate: a plain 400, never a 401, which would end its management.
        let Some(phone) = phone else { return Outgoing::plain(400) };
        let content_type = request
            .headers()
            .get(http::header::CONTENT_TYPE)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let body = match self.body(request, self.largest_body_bytes).await {
            Ok(body) => body,
            Err(out) => return out,
        };
        let what = read_request::What::Device(DeviceBody { content_type, body });
        match self.ask_reader(Some(phone), what).await {
            Some(read_reply::What::Observed(observed)) => {
                let what = core_request::What::Observed(observed);
                let reply = self.ask_core(Some(phone), what).await;
                self.let_out(Subject::Enrolment(phone), reply)
            }
            Some(read_reply::What::Refused(r)) => {
                tracing::info!(enrolment = %phone, reason = r.reason, "the reader refused a body");
                Outgoing::plain(u16::try_from(r.status).unwrap_or(400))
            }
            Some(_) => self.unlisted(),
            None => Outgoing::plain(503),
        }
    }

    async fn invitation(&self, secret: &str) -> Outgoing {
        // Core learns the hash alone: the link itself is a bearer secret.
        let link = LinkHash(order::sha256(secret.as_bytes()).0);
        let what = core_request::What::Profile(link.0.to_vec().into());
        let reply = self.ask_core(None, what).await;
        self.let_out(Subject::Link(link), reply)
    }

    async fn scep(&self, operation: ScepOperation, message: Bytes) -> Outgoing {
        let query = ScepQuery { operation: operation.into(), message: message.to_vec() };
        let opened = match self.ask_reader(None, read_request::What::Scep(query)).await {
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
        match self.ask_reader(None, read_request::What::ScepAnswer(answer)).await {
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
                Outgoing::plain(u16::try_from(r.status).unwrap_or(400))
            }
            _ => self.unlisted(),
        }
    }

    fn unlisted(&self) -> Outgoing {
        Counters::add(&self.walls.counters.refused_unlisted);
        tracing::error!("alarm: a neighbour's answer is not on the door's list; nothing was let out");
        Outgoing::plain(503)
    }

    fn let_out(&self, subject: Subject, reply: Option<CoreReply>) -> Outgoing {
        let Some(reply) = reply else { return Outgoing::plain(503) };
        let now_ms = SystemClock.now_ms();
        let statement = self.walls.trust.current(now_ms);
        let against = Check { subject, statement: statement.as_deref(), delivery: &self.delivery, now_ms };
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

    async fn ask_reader(
        &self,
        phone: Option<EnrolmentId>,
        what: read_request::What,
    ) -> Option<read_reply::What> {
        let enrolment = phone.map(|p| Bytes::copy_from_slice(&p.0)).unwrap_or_default();
        let make = |call| ReadRequest { call, enrolment, what: Some(what) };
        let reply: Result<ReadReply, _> = self.walls.reader.call(make).await;
        reply.ok()?.what
    }

    async fn ask_core(&self, phone: Option<EnrolmentId>, what: core_request::What) -> Option<CoreReply> {
        let enrolment = phone.map(|p| Bytes::copy_from_slice(&p.0)).unwrap_or_default();
        let make = |call| CoreRequest { call, enrolment, what: Some(what) };
        self.walls.core.call(make).await.ok()
    }
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
