//! The HTTP API under `/api/v1`, for administrators and their programs.
//!
//! Deny by default: a route is added by `Routes::public` with a reason, or by `Routes::guarded` with
//! who may call it; there is no third way. The guard stands before the handler's extractors, so a
//! request is authenticated, then authorised, then parsed.

mod access;
mod bodies;
mod certificates;
mod commands;
mod declarations;
mod device_groups;
mod devices;
mod endings;
mod health;
mod keys;
mod ledger;
mod ledger_summary;
mod my_phone;
mod oidc;
mod orders;
mod overview;
mod passkeys;
mod people;
mod problem;
mod profile_members;
mod profiles;
mod proof;
mod roles;
mod search;
mod serve;
mod session;
mod shape;
mod strangers;
mod tls_certificate;
mod tree;

pub use access::{Access, RouteInfo};
pub(crate) use ledger_summary::summary;
pub use serve::Front;
pub(crate) use serve::{serve, tls};

use std::sync::Arc;
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::routing::MethodRouter;
use axum::{Extension, Router};
use model::{OrderId, ProfileId};
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use crate::counted::Counted;
use crate::room::Room;
use access::{
    Commands, Devices, HandsBack, Holders, InSession, Ledger, Metrics, OwnSession, Reach, Runs, SignedIn,
    guard,
};
pub(crate) use strangers::Strangers;

/// What is counted over all phones, as it was counted last.
pub(crate) struct Counts {
    overview: Counted<(), overview::Overview>,
    /// By the order that saved the device group.
    device_groups: Counted<OrderId, device_groups::Count>,
    /// Of the library, and of what was taken out of it.
    profiles: Arc<Counted<bool, profiles::Counts>>,
    /// Of one profile.
    profile: Arc<Counted<ProfileId, profiles::ProfileCounts>>,
    /// By the order that saved the device group.
    profiles_of: Arc<Counted<OrderId, profile_members::Counts>>,
    /// Of a device group's phones and one profile.
    members: Arc<Counted<profile_members::MembersKey, Arc<profile_members::MembersCounted>>>,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            overview: Counted::new(overview::GOOD_AT_MOST),
            device_groups: Counted::new(Duration::MAX),
            profiles: Arc::new(Counted::new(overview::GOOD_AT_MOST)),
            profile: Arc::new(Counted::new(overview::GOOD_AT_MOST)),
            profiles_of: Arc::new(Counted::new(overview::GOOD_AT_MOST)),
            members: Arc::new(Counted::new(overview::GOOD_AT_MOST)),
        }
    }
}

/// The largest body in bytes, but for orders.
const LARGEST_BODY_BYTES: usize = 1024 * 1024;
/// The largest order in bytes, with what lies sealed beside it, in base64.
const LARGEST_ORDER_BYTES: usize = 12 * 1024 * 1024;

/// Orders under way at once.
pub(crate) const MOST_ORDERS_AT_ONCE: usize = 16;

/// The name of the one way to authenticate, in the document.
const BEARER: &str = "bearer";

#[derive(OpenApi)]
#[openapi(modifiers(&Bearer), info(
    title = "Matron",
    description = "Reads masks; what opens or changes takes a signed order. Times are milliseconds since \
                   1970 (UTC), bytes are base64. Errors are application/problem+json (RFC 9457)."
))]
struct Document;

struct Bearer;

impl utoipa::Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        document.components.get_or_insert_default().add_security_scheme(BEARER, scheme);
    }
}

/// Collects routes; each has an access.
struct Routes {
    router: OpenApiRouter,
    infos: Vec<RouteInfo>,
}

impl Routes {
    fn note(&mut self, paths: &utoipa::openapi::path::Paths, access: Access) {
        for (path, item) in &paths.paths {
            let methods = [
                ("GET", &item.get),
                ("PUT", &item.put),
                ("POST", &item.post),
                ("DELETE", &item.delete),
                ("OPTIONS", &item.options),
                ("HEAD", &item.head),
                ("PATCH", &item.patch),
                ("TRACE", &item.trace),
            ];
            for (method, _) in methods.into_iter().filter(|(_, operation)| operation.is_some()) {
                self.infos.push(RouteInfo { method, path: path.clone(), access });
            }
        }
    }

    /// A route that anyone may call, and why.
    fn public(mut self, why: &'static str, routes: UtoipaMethodRouter) -> Self {
        self.note(&routes.1, Access::Public(why));
        self.router = self.router.routes(routes);
        self
    }

    /// A route for those whom `R` reaches.
    fn guarded<R: Reach>(mut self, mut routes: UtoipaMethodRouter) -> Self {
        for item in routes.1.paths.values_mut() {
            let operations =
                [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
            for operation in operations.into_iter().flatten() {
                operation.security = Some(vec![SecurityRequirement::new(BEARER, Vec::<String>::new())]);
            }
        }
        self.note(&routes.1, R::ACCESS);
        let guarded = routes.map(|r: MethodRouter| r.layer(axum::middleware::from_fn(guard::<R>)));
        self.router = self.router.routes(guarded);
        self
    }
}

fn all() -> Routes {
    let orders = routes!(orders::submit_order)
        .layer(DefaultBodyLimit::max(LARGEST_ORDER_BYTES))
        .layer(axum::middleware::from_fn(orders::few_at_once));
    let passkeys = routes!(passkeys::find_passkey).layer(axum::middleware::from_fn(orders::few_at_once));
    Routes { router: OpenApiRouter::with_openapi(Document::openapi()), infos: Vec::new() }
        .public("says only that the process answers", routes!(health::healthz))
        .public("public keys, which whoever makes an order needs", routes!(health::statement))
        .public("says what the API is, nothing of what it holds", routes!(health::openapi))
        .public("an order carries the signatures that the vault checks", orders)
        .public("says whose passkey signed, to whoever has its signature", passkeys)
        .public(
            "says whether people may sign in by an OpenID provider, nothing of it",
            routes!(oidc::get_oidc),
        )
        .public(
            "says where the provider is; what it begins lies in the caller's own cookie",
            routes!(oidc::begin_oidc),
        )
        .public(
            "the provider's signed token says who comes, and that they began here",
            routes!(oidc::finish_oidc),
        )
        .public(
            "the code of a holder's card says whose phone it is; who is wrong often waits",
            routes!(my_phone::begin_my_phone),
        )
        .guarded::<Holders>(routes!(my_phone::end_my_phone))
        .guarded::<Holders>(routes!(my_phone::seen::get_my_phone))
        .guarded::<Holders>(routes!(my_phone::lose_my_phone))
        .guarded::<Holders>(routes!(my_phone::ring_my_phone))
        .guarded::<OwnSession>(routes!(session::get_session, session::end_session))
        .guarded::<SignedIn>(routes!(oidc::list_oidc_sessions))
        .guarded::<SignedIn>(routes!(session::changes))
        .guarded::<Commands>(routes!(orders::list_orders))
        .guarded::<Commands>(routes!(orders::get_order))
        .guarded::<Commands>(routes!(orders::list_under_way))
        .guarded::<SignedIn>(routes!(orders::list_pending))
        .guarded::<SignedIn>(routes!(orders::get_signed))
        .guarded::<SignedIn>(routes!(roles::get_roles))
        .guarded::<SignedIn>(routes!(keys::get_keys))
        .guarded::<Devices>(routes!(devices::list_devices))
        .guarded::<Devices>(routes!(devices::get_device))
        .guarded::<Devices>(routes!(device_groups::list_device_groups))
        .guarded::<Devices>(routes!(device_groups::preview_device_group))
        .guarded::<Devices>(routes!(device_groups::get_device_group))
        .guarded::<Devices>(routes!(device_groups::device_group_phones))
        .guarded::<Devices>(routes!(declarations::get_declarations))
        .guarded::<Commands>(routes!(commands::list_device_commands))
        .guarded::<Commands>(routes!(commands::list_commands))
        .guarded::<Commands>(routes!(commands::get_command))
        .guarded::<InSession>(routes!(commands::ask))
        .guarded::<InSession>(routes!(search::search))
        .guarded::<Devices>(routes!(people::list_invitations))
        .guarded::<SignedIn>(routes!(people::list_people))
        .guarded::<SignedIn>(routes!(people::list_api_keys))
        .guarded::<Devices>(routes!(certificates::list_certificates))
        .guarded::<SignedIn>(routes!(certificates::list_standing))
        .guarded::<SignedIn>(routes!(profiles::list_profiles))
        .guarded::<SignedIn>(routes!(profiles::get_profile))
        .guarded::<SignedIn>(routes!(profiles::get_version))
        .guarded::<SignedIn>(routes!(profiles::list_profile_phones))
        .guarded::<SignedIn>(routes!(profile_members::get_profile_members))
        .guarded::<SignedIn>(routes!(profile_members::profile_member_phones))
        .guarded::<SignedIn>(routes!(profile_members::list_member_profiles))
        .guarded::<Ledger>(routes!(ledger::list_ledger))
        .guarded::<Ledger>(routes!(ledger::ledger_head))
        .guarded::<Ledger>(routes!(ledger::get_ledger_entry))
        .guarded::<Ledger>(routes!(proof::ledger_proof))
        .guarded::<Ledger>(routes!(tree::ledger_checkpoint))
        .guarded::<Ledger>(routes!(tree::ledger_tile))
        .guarded::<Ledger>(routes!(tree::ledger_cosigned))
        .guarded::<HandsBack>(routes!(tree::add_cosigned))
        .guarded::<Runs>(routes!(tls_certificate::renew_tls_certificate))
        .guarded::<Metrics>(routes!(health::health))
        .guarded::<Metrics>(routes!(overview::overview))
        .guarded::<Metrics>(routes!(health::metrics))
}

/// Every route of the API and who may call it, from the router itself.
#[must_use]
pub fn routes() -> Vec<RouteInfo> {
    all().infos
}

/// The OpenAPI document as JSON.
pub(crate) fn document() -> String {
    all().router.into_openapi().to_json().unwrap_or_default()
}

/// The router over a room.
pub(crate) fn router(room: Arc<Room>) -> Router {
    let (router, _) = all().router.split_for_parts();
    router
        .fallback(problem::no_such_path)
        .layer(DefaultBodyLimit::max(LARGEST_BODY_BYTES))
        .layer(axum::middleware::from_fn(serve::wide_line))
        .layer(Extension(room))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_routes_are_these_nine() {
        let all = routes();
        let public: Vec<_> =
            all.iter().filter(|r| matches!(r.access, Access::Public(_))).map(|r| r.path.as_str()).collect();
        assert_eq!(
            public,
            [
                "/healthz",
                "/api/v1/statement",
                "/api/v1/openapi.json",
                "/api/v1/orders",
                "/api/v1/passkeys/find",
                "/api/v1/oidc",
                "/api/v1/oidc/begin",
                "/api/v1/oidc/finish",
                "/api/v1/my-phone/session"
            ]
        );
        assert_eq!(all.len(), 60);
    }

    #[test]
    fn the_document_is_openapi_3_1_and_names_every_route() {
        let document: serde_json::Value = serde_json::from_str(&document()).unwrap();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        for r in routes() {
            let operation = &document["paths"][&r.path][r.method.to_lowercase()];
            assert!(operation.is_object(), "{} {}", r.method, r.path);
            let public = matches!(r.access, Access::Public(_));
            assert_eq!(operation["security"].is_null(), public, "{} {}", r.method, r.path);
        }
    }
}
