//! Whose passkey made an assertion: a browser tells a credential, an order's signature names a key.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::ConnectInfo;
use axum::{Extension, Json};
use model::KeyId;
use order::{Assertion, Passkey, sha256};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;

use super::problem::{Problem, ProblemBody};
use super::shape::{Input, decode};
use crate::room::Room;

/// An assertion over an order, as `navigator.credentials.get` gives it; all in base64.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asserted {
    /// The order's bytes, whose SHA-256 was the challenge.
    order: String,
    authenticator_data: String,
    client_data_json: String,
    signature: String,
}

/// The key that made it.
#[derive(Serialize, ToSchema)]
pub(crate) struct FoundPasskey {
    #[schema(value_type = String)]
    key: KeyId,
    /// order::Assertion as CBOR, in base64: what an order::OrderSignature by this key holds.
    signature: String,
}

#[utoipa::path(post, path = "/api/v1/passkeys/find", request_body = Asserted, responses(
    (status = 200, body = FoundPasskey),
    (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "no passkey that signs here made it"),
    (status = 429, body = ProblemBody, content_type = "application/problem+json", description = "too many that nobody made came from this address"),
))]
pub(crate) async fn find_passkey(
    Extension(room): Extension<Arc<Room>>,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    Input(asserted): Input<Asserted>,
) -> Result<Json<FoundPasskey>, Problem> {
    // Without one it is the console, for someone who is signed in: they are not held up by who shares their address.
    let from = peer.map(|Extension(ConnectInfo(peer))| peer.ip());
    if from.is_some_and(|from| !room.strangers.may_try(from, Instant::now())) {
        room.counters.strangers_held_up.inc();
        let detail =
            "too many signatures came from your address that nobody here made; wait a minute, then try again";
        return Err(Problem::new(http::StatusCode::TOO_MANY_REQUESTS, "held_up", detail));
    }
    let challenge = sha256(&decode("order", &asserted.order)?);
    let assertion = order::encode(&Assertion {
        authenticator_data: decode("authenticator_data", &asserted.authenticator_data)?,
        client_data_json: decode("client_data_json", &asserted.client_data_json)?,
        signature: decode("signature", &asserted.signature)?,
    });
    let signature = super::shape::encode(&assertion);
    let found = room
        .store
        .read(move |v| {
            let fits =
                |public: &[u8]| Passkey::read(public).is_ok_and(|p| p.verify(&assertion, &challenge).is_ok());
            Ok(v.passkeys()?.into_iter().find(|(_, public)| fits(public)).map(|(key, _)| key))
        })
        .await?;
    let key = found.ok_or_else(|| {
        if let Some(from) = from {
            room.strangers.failed(from, Instant::now());
        }
        room.counters.unknown_passkeys.inc();
        Problem::new(
            http::StatusCode::NOT_FOUND,
            "unknown_passkey",
            "no passkey that may sign here made this signature; it was removed, or belongs to another Matron",
        )
    })?;
    Ok(Json(FoundPasskey { key, signature }))
}
