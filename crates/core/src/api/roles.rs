//! The limits as the vault has them, and what was spent of the budgets.

use std::sync::Arc;

use axum::{Extension, Json};
use order::limits::Overview;
use rpc::proto::LimitsRequest;

use super::access::{Permit, SignedIn};
use super::problem::{Problem, ProblemBody};
use crate::checkin::ask_vault;
use crate::room::Room;

#[utoipa::path(get, path = "/api/v1/roles", responses(
    (status = 200, body = Object, description = "the numbers that were set by orders (the others are built in), and \
     what was spent in the last hour and day"),
    (status = 503, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn get_roles(
    _permit: Permit<SignedIn>,
    Extension(room): Extension<Arc<Room>>,
) -> Result<Json<Overview>, Problem> {
    let asked = ask_vault(&room, "limits", |mut v| async move { v.limits(LimitsRequest {}).await }).await?;
    order::decode(&asked.overview).map(Json).map_err(|_| Problem::vault_away())
}
