//! The API, asked in process.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use model::Clock;
use order::Refusal;
use order::limits::Hold;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tower::ServiceExt;

use crate::layout;
use crate::registrations::Registrations;
use crate::session::Bearer;

/// The most bytes of an answer.
const LARGEST_ANSWER: usize = 16 << 20;

/// Where a request comes from, as the listener says.
pub(crate) type Peer = Option<Extension<ConnectInfo<SocketAddr>>>;

/// The API's router, and what the console keeps itself.
#[derive(Clone)]
pub(crate) struct Api {
    router: Router,
    pub(crate) clock: Arc<dyn Clock>,
    /// The service desk's number, as the configuration has it: also for those who are not signed in.
    pub(crate) call: Option<String>,
    pub(crate) registrations: Arc<Registrations>,
}

/// Why the API did not do as asked.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub status: StatusCode,
    pub code: String,
    /// What happened, to which thing, what to do.
    pub detail: String,
    /// As the log has it.
    pub request: String,
    /// Another person's signature would do.
    pub waits: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ProblemBody {
    code: String,
    detail: String,
    instance: String,
    refusal: Option<u16>,
    enrolments: Vec<String>,
    hold: Option<Hold>,
    misfits: Option<String>,
}

impl Failure {
    fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        let (code, detail) = (code.to_owned(), detail.into());
        Self { status, code, detail, request: String::new(), waits: false }
    }

    /// The request itself was wrong.
    pub(crate) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "unreadable", detail)
    }

    /// There is no such thing, or none for this person.
    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("there is no such {what}"))
    }

    pub(crate) fn within(detail: &str) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    fn of(status: StatusCode, body: &[u8]) -> Self {
        let p: ProblemBody = serde_json::from_slice(body).unwrap_or_default();
        // The vault's own words where this release knows them.
        let mut detail = p.refusal.and_then(Refusal::from_number).map_or(p.detail, |r| r.to_string());
        let waits = p.refusal == Some(Refusal::NeedsSignatures.number());
        if let Some(hold) = &p.hold {
            let told = words::limits::hold(hold, waits);
            detail = if waits { told } else { format!("{detail}. {told}") };
        }
        if let Some(misfits) = &p.misfits {
            detail = format!("{detail}: {}", words::line(misfits));
        }
        if !p.enrolments.is_empty() {
            detail = format!("{detail}: {}", p.enrolments.join(", "));
        }
        Self { status, code: p.code, detail, request: p.instance, waits }
    }

    /// As an answer to the page's script.
    pub(crate) fn json(&self) -> Response {
        let body = serde_json::json!({
            "code": self.code, "detail": sentence(&self.detail), "instance": self.request, "waits": self.waits,
        });
        let mut response = (self.status, body.to_string()).into_response();
        response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
        response
    }
}

/// With a capital and a full stop, as people write.
pub(crate) fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    let rest = chars.as_str();
    let end = if rest.ends_with(['.', '!', '?']) || text.is_empty() { "" } else { "." };
    format!("{first}{rest}{end}")
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Failure {}

impl IntoResponse for Failure {
    /// As a page. Whoever is signed in gets it with its navigation from the guard, which knows them.
    fn into_response(self) -> Response {
        let mut response = layout::failed(&self, None);
        response.extensions_mut().insert(self);
        response
    }
}

impl Api {
    pub(crate) fn of(router: Router, clock: Arc<dyn Clock>, call: Option<String>) -> Self {
        Self { router, clock, call, registrations: Arc::default() }
    }

    /// The answer as it comes, for what is passed on while it lasts.
    pub(crate) async fn stream(&self, path: &str, bearer: &Bearer) -> Response {
        self.send(Method::GET, path, Some(bearer), None).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        bearer: Option<&Bearer>,
        body: Option<Vec<u8>>,
    ) -> Response {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(bearer) = bearer {
            request = request.header(AUTHORIZATION, bearer.header());
            if !bearer.is_attended() {
                // It keeps no session alive that only reads.
                request = request.header("x-matron-unattended", "1");
            }
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let Ok(request) = request.body(Body::from(body.unwrap_or_default())) else {
            return StatusCode::BAD_REQUEST.into_response();
        };
        self.asked(request).await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        bearer: Option<&Bearer>,
        body: Option<Vec<u8>>,
    ) -> Result<Bytes, Failure> {
        collected(self.send(method, path, bearer, body).await).await
    }

    /// What is there.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str, bearer: &Bearer) -> Result<T, Failure> {
        read(&self.call(Method::GET, path, Some(bearer), None).await?)
    }

    /// What is there, as text.
    pub(crate) async fn get_text(&self, path: &str, bearer: &Bearer) -> Result<String, Failure> {
        let body = self.call(Method::GET, path, Some(bearer), None).await?;
        String::from_utf8(body.into()).map_err(|_| Failure::within("an answer is no text"))
    }

    /// The same for what anyone may read.
    pub(crate) async fn get_open<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        read(&self.call(Method::GET, path, None, None).await?)
    }

    /// Takes something away; that it is gone already is no failure.
    pub(crate) async fn delete(&self, path: &str, bearer: &Bearer) {
        let _ = self.call(Method::DELETE, path, Some(bearer), None).await;
    }

    /// Something that anyone may ask, with where they ask from: who fails often there has to wait.
    pub(crate) async fn post_from<T: DeserializeOwned>(
        &self,
        path: &str,
        peer: Peer,
        body: &serde_json::Value,
    ) -> Result<T, Failure> {
        let mut request = Request::new(Body::from(body.to_string()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = path.parse().map_err(|_| Failure::within("a path of the API"))?;
        request.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
        if let Some(Extension(peer)) = peer {
            request.extensions_mut().insert(peer);
        }
        read(&collected(self.asked(request).await).await?)
    }

    async fn asked(&self, request: Request<Body>) -> Response {
        match self.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// Something that is asked with a body.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        bearer: Option<&Bearer>,
        body: &serde_json::Value,
    ) -> Result<T, Failure> {
        read(&self.call(Method::POST, path, bearer, Some(body.to_string().into_bytes())).await?)
    }
}

/// What has no body: that it was done is the answer.
impl Api {
    pub(crate) async fn post_nothing(&self, path: &str, bearer: &Bearer) -> Result<(), Failure> {
        self.call(Method::POST, path, Some(bearer), None).await.map(drop)
    }
}

async fn collected(response: Response) -> Result<Bytes, Failure> {
    let status = response.status();
    let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
    let body = body.map_err(|_| Failure::within("the answer is too large"))?.to_bytes();
    if status.is_success() { Ok(body) } else { Err(Failure::of(status, &body)) }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|e| {
        tracing::error!(error.line = e.line(), error.column = e.column(), "the API answered another shape");
        Failure::within("an answer has another shape than the pages know")
    })
}

/// A path with its query; values are encoded.
pub(crate) fn path(base: &str, query: &[(&str, Option<String>)]) -> String {
    let mut encoded = form_urlencoded::Serializer::new(String::new());
    for (key, value) in query {
        if let Some(value) = value {
            encoded.append_pair(key, value);
        }
    }
    let query = encoded.finish();
    if query.is_empty() { base.to_owned() } else { format!("{base}?{query}") }
}
