//! The public TLS certificate by ACME: how it stands, and a try now.

use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Json};
use http::StatusCode;
use rpc::proto::{AcmeHealth, AcmeRenewRequest};
use serde::Serialize;
use utoipa::ToSchema;

use super::access::{Permit, Runs};
use super::problem::{Problem, ProblemBody};
use crate::room::{Room, asked};

const PATIENCE: Duration = Duration::from_secs(5);

/// The certificate by ACME, as the courier sees it. Absent where none is configured.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AcmeState {
    directory: String,
    hosts: Vec<String>,
    /// `http-01` or `tls-alpn-01`.
    challenge: String,
    /// The account's URL; empty before there is one. It belongs into a CAA record (RFC 8657).
    account: String,
    /// How the authority is called in CAA records.
    caa_identities: Vec<String>,
    /// When the one that is shown ends; absent when none by ACME is shown.
    expires_at_ms: Option<i64>,
    next_try_at_ms: Option<i64>,
    /// Tries in a row that failed, and why the last one did.
    pub(crate) failures: u32,
    last_error: String,
    /// Certificates that the door took up since the courier started.
    issued: u64,
}

impl AcmeState {
    /// What an operator should look at.
    pub(crate) fn warning(&self) -> Option<String> {
        (self.failures > 0).then(|| {
            format!("no new TLS certificate by ACME, {} times in a row: {}", self.failures, self.last_error)
        })
    }

    pub(crate) fn of(health: AcmeHealth) -> Self {
        Self {
            directory: health.directory,
            hosts: health.hosts,
            challenge: health.challenge,
            account: health.account,
            caa_identities: health.caa_identities,
            expires_at_ms: Some(health.expires_at_ms).filter(|t| *t > 0),
            next_try_at_ms: Some(health.next_try_at_ms).filter(|t| *t > 0),
            failures: health.failures,
            last_error: health.last_error,
            issued: health.issued,
        }
    }
}

/// A try begins.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RenewalBegun {
    begun: bool,
}

#[utoipa::path(post, path = "/api/v1/tls-certificate/renew", responses(
    (status = 202, body = RenewalBegun),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "for administrators and engineers"),
    (status = 409, body = ProblemBody, content_type = "application/problem+json"),
    (status = 503, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn renew_tls_certificate(
    _permit: Permit<Runs>,
    Extension(room): Extension<Arc<Room>>,
) -> Result<(StatusCode, Json<RenewalBegun>), Problem> {
    let answered =
        async { asked("acme_renew", PATIENCE, room.courier().await?.acme_renew(AcmeRenewRequest {})).await };
    let Ok(answer) = answered.await else {
        let detail = "the courier does not answer; try again in a moment";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "courier_away", detail));
    };
    if !answer.refused.is_empty() {
        return Err(Problem::new(StatusCode::CONFLICT, "not_now", answer.refused));
    }
    Ok((StatusCode::ACCEPTED, Json(RenewalBegun { begun: true })))
}
