//! When to look again.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;

use crate::api::Api;
use crate::guard::Visitor;

pub(crate) async fn events(State(api): State<Api>, Extension(v): Extension<Visitor>) -> Response {
    api.stream("/api/v1/changes", &v.bearer).await
}
