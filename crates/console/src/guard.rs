//! Who may ask: authenticate, then authorise, then parse.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderMap, Method, StatusCode};
use serde::Deserialize;

use crate::api::{Api, Failure, path};
use crate::layout::failed;
use crate::session::Bearer;

/// Whoever is signed in.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    pub bearer: Bearer,
    pub session: Session,
}

/// As the API tells it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Session {
    /// Their id; none of whoever signs nothing.
    pub person: Option<String>,
    pub signed_in_by: String,
    pub role: String,
    pub group: Option<String>,
    pub session: String,
    pub compartments: Vec<String>,
    pub now_ms: i64,
}

impl Visitor {
    /// As what they sign orders; none of whoever signed in with their organisation's account, who only reads.
    pub(crate) fn role(&self) -> Option<model::Role> {
        self.reads_as().filter(|_| !self.only_reads())
    }

    /// As what they read.
    pub(crate) fn reads_as(&self) -> Option<model::Role> {
        model::Role::ALL.into_iter().find(|r| r.name() == self.session.role)
    }

    /// They signed in by OpenID Connect.
    pub(crate) fn only_reads(&self) -> bool {
        self.session.signed_in_by != "grant"
    }

    /// Whether names may be opened on the lists.
    pub(crate) fn opens_names(&self) -> bool {
        self.session.compartments.iter().any(|c| c == "identity")
    }
}

/// Stands before everything that is for people who are signed in. The visitor goes with the request.
pub(crate) async fn inside(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let page = matches!(*request.method(), Method::GET | Method::HEAD);
    let Some(bearer) = Bearer::of_cookie(request.headers()) else { return sign_in(&request, page) };
    // The stream of a page that stands open is not somebody's doing.
    let bearer = if request.uri().path() == "/events" { bearer.unattended() } else { bearer };
    if is_drawn_in_by_another_site(request.headers()) {
        return refused("another site asked for this; open it here").json();
    }
    match api.get::<Session>("/api/v1/session", &bearer).await {
        Ok(session) => {
            if !page && !has_token(request.headers(), &bearer) {
                return refused("the page's token does not fit this session; reload the page").json();
            }
            let visitor = Visitor { bearer, session };
            request.extensions_mut().insert(visitor.clone());
            let mut response = next.run(request).await;
            match response.extensions_mut().remove::<Failure>() {
                Some(failure) => failed(&failure, Some(&visitor)),
                None => response,
            }
        }
        Err(f) if f.status == StatusCode::UNAUTHORIZED => sign_in(&request, page),
        Err(f) if page => f.into_response(),
        Err(f) => f.json(),
    }
}

/// Another site's page has it fetched as an image, a frame or by a script; people come by links alone. (Not by
/// `SameSite`: the neighbours of one domain count as one site.)
pub(crate) fn is_drawn_in_by_another_site(headers: &HeaderMap) -> bool {
    let is = |name: &str, of: &[&str]| {
        headers.get(name).is_some_and(|v| of.iter().any(|o| v.as_bytes() == o.as_bytes()))
    };
    is("sec-fetch-site", &["cross-site", "same-site"]) && !is("sec-fetch-mode", &["navigate"])
}

/// Whether one of our own pages leads here, or the person reloads what they came to so.
pub(crate) fn is_asked_by_our_own_page(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|v| v.as_bytes() == b"same-origin")
}

/// The same, or the person typed the address: no other site's page leads here.
pub(crate) fn is_asked_by_no_other_site(headers: &HeaderMap) -> bool {
    is_asked_by_our_own_page(headers)
        || headers.get("sec-fetch-site").is_some_and(|v| v.as_bytes() == b"none")
}

fn has_token(headers: &HeaderMap, bearer: &Bearer) -> bool {
    headers.get("x-matron-token").is_some_and(|v| v.as_bytes() == bearer.form_token().as_bytes())
}

fn refused(detail: &str) -> Failure {
    Failure { status: StatusCode::FORBIDDEN, code: "forbidden".into(), ..Failure::bad(detail) }
}

fn sign_in(request: &Request, page: bool) -> Response {
    if !page {
        let code = "unauthorised".to_owned();
        let detail = "you are signed out; sign in again, then do it once more. Nothing was changed";
        return Failure { status: StatusCode::UNAUTHORIZED, code, ..Failure::bad(detail) }.json();
    }
    let to = request.uri().path_and_query().map(ToString::to_string).filter(|p| p != "/");
    Redirect::to(&path("/sign-in", &[("to", to)])).into_response()
}

/// What changes something comes from our own pages alone (Fetch Metadata).
pub(crate) async fn same_origin(request: Request, next: Next) -> Response {
    let safe = matches!(*request.method(), Method::GET | Method::HEAD);
    let site = request.headers().get("sec-fetch-site").map(|v| v.as_bytes());
    if safe || site == Some(b"same-origin") {
        return next.run(request).await;
    }
    let refused =
        refused("another site asked for this, or a browser that does not say who asks; nothing was changed");
    // A holder's forms are sent without a script: whoever sits there reads the answer.
    if request.uri().path().starts_with("/my-phone/") { refused.into_response() } else { refused.json() }
}
