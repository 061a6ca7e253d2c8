//! Errors as `application/problem+json` (RFC 9457). Outside gets a code, a sentence and a request id,
//! never internals.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use order::Refusal;
use order::limits::Hold;
use serde::Serialize;
use store::StoreError;

use crate::submit::NotDecided;

/// What went wrong, to which thing, what to do.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub status: StatusCode,
    pub code: &'static str,
    pub detail: String,
    pub refusal: Option<u16>,
    pub enrolments: Vec<String>,
    /// The limit that stood in the way.
    pub hold: Option<Box<Hold>>,
    /// Where and why the order's content does not fit.
    pub misfits: Option<String>,
}

/// A problem as it is written.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ProblemBody {
    /// `urn:matron:problem:<code>`.
    r#type: String,
    title: &'static str,
    status: u16,
    detail: String,
    /// The request id, as in the header `x-request-id` and the log.
    instance: String,
    code: &'static str,
    /// Why the vault refused an order (order::Refusal's number).
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<u16>,
    /// The phones it is about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    enrolments: Vec<String>,
    /// The limit that stood in the way: what it counts as, how many have to sign, which budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    hold: Option<Box<Hold>>,
    /// Where and why the order's content does not fit, as the vault says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    misfits: Option<String>,
}

impl Problem {
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            refusal: None,
            enrolments: Vec::new(),
            hold: None,
            misfits: None,
        }
    }

    pub fn unauthorised() -> Self {
        let detail = "give a session's or an API key's secret as 'Authorization: Bearer …'";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorised", detail)
    }

    pub fn forbidden(detail: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// Whoever signed in by OpenID Connect asked for more than masks.
    pub fn reads_only() -> Self {
        Self::forbidden(
            "you signed in with your organisation's account, which only reads masks; sign in with a passkey to open or change something",
        )
    }

    /// A holder asked for something else than their own phone.
    pub fn holders_only_their_own() -> Self {
        Self::forbidden("a holder's card opens the page of its own phone and nothing else")
    }

    /// Somebody else asked for what is a holder's.
    pub fn for_holders() -> Self {
        Self::forbidden("this is for a phone's holder, signed in with the code of the holder's card")
    }

    pub fn not_found(what: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("there is no such {what}"))
    }

    pub fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", detail)
    }

    pub fn unreadable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "unreadable", detail)
    }

    pub fn vault_away() -> Self {
        let detail = "the vault does not answer; try again in a moment";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "vault_away", detail)
    }

    /// The vault said no.
    pub fn refused(number: u16) -> Self {
        let (code, detail) = match Refusal::from_number(number) {
            Some(r) => ("refused", r.to_string()),
            None => ("refused", "the vault refused, for a reason this release does not know".to_owned()),
        };
        Self { refusal: Some(number), ..Self::new(StatusCode::FORBIDDEN, code, detail) }
    }

    /// The vault said no, because of a limit where `hold` (order::limits::Hold as CBOR) says so.
    pub fn held(number: u32, hold: &[u8]) -> Self {
        let hold = order::decode(hold).ok().map(Box::new);
        Self { hold, ..Self::refused(u16::try_from(number).unwrap_or(u16::MAX)) }
    }

    /// As a whole answer, where nobody writes the body later.
    pub fn written(self, request_id: &str) -> Response {
        let mut response = (self.status, self.body(request_id)).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }

    /// What is written to the caller.
    pub fn body(self, request_id: &str) -> Vec<u8> {
        let body = ProblemBody {
            r#type: format!("urn:matron:problem:{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: self.detail,
            instance: request_id.to_owned(),
            code: self.code,
            refusal: self.refusal,
            enrolments: self.enrolments,
            hold: self.hold,
            misfits: self.misfits,
        };
        serde_json::to_vec(&body).unwrap_or_default()
    }

    /// The problem that a bare status stands for (axum's own refusals).
    pub fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::not_found("path"),
            StatusCode::METHOD_NOT_ALLOWED => {
                Self::new(status, "method_not_allowed", "the path does not take this method")
            }
            StatusCode::PAYLOAD_TOO_LARGE => Self::new(status, "too_large", "the body is too large"),
            s if s.is_client_error() => Self::new(s, "bad_request", "the request can't be read"),
            s => Self::new(s, "internal", "something failed within; the log has this request's id"),
        }
    }
}

impl IntoResponse for Problem {
    /// The body is written where the request id is known.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StoreError> for Problem {
    fn from(e: StoreError) -> Self {
        tracing::error!(store.error = %e, "a request could not be answered");
        if matches!(e, StoreError::Disk(_)) {
            return Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "disk",
                "the database's disk is full or can't be written; nothing was kept. Make room on it, then \
                 send the request again",
            );
        }
        Self::of_status(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<rpc::Unavailable> for Problem {
    fn from(_: rpc::Unavailable) -> Self {
        Self::vault_away()
    }
}

impl From<NotDecided> for Problem {
    fn from(e: NotDecided) -> Self {
        match e {
            NotDecided::Unreadable => Self {
                refusal: Some(Refusal::Unreadable.number()),
                ..Self::unreadable(Refusal::Unreadable.to_string())
            },
            NotDecided::NeedsSupervision(phones) => Self {
                enrolments: phones.iter().map(ToString::to_string).collect(),
                ..Self::new(
                    StatusCode::CONFLICT,
                    "needs_supervision",
                    "the command needs supervised phones; leave out the ones named here, which are not",
                )
            },
            NotDecided::VaultAway => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "vault_away",
                "the vault does not answer; the order is kept and goes to it once it does. Send the same \
                 order again to learn its outcome",
            ),
            NotDecided::VaultAwayForSignature => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "vault_away",
                "the vault does not answer, and this signature may not have reached it. The order waits; look at it \
                 again once the vault answers, and sign again if it still waits",
            ),
            NotDecided::TooManyWait => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "too many orders wait for the vault; this one was not kept. Send it again once the vault answers",
            ),
            NotDecided::TooManyPending => Self::new(
                StatusCode::CONFLICT,
                "too_many_pending",
                "too many orders wait for another signature already (50 of one person's, 500 in all); this one \
                 was not kept. Have some approved, or wait until they run out",
            ),
            NotDecided::Store(e) => e.into(),
        }
    }
}

pub(crate) async fn no_such_path() -> Problem {
    Problem::not_found("path")
}
