//! The administrators' pages, in core's process.
//!
//! The console is a client of core's API and nothing else: every page is made from answers that the same session
//! would get under `/api/v1`, asked in process. So who may see what is decided in one place, and a page can't show
//! what the API would not.
//!
//! Deny by default: a page is added by [`Pages::open`] with a reason, or by [`Pages::inside`], whose guard stands before
//! the handler. What a person changes is an order that their passkey signs; the console encodes it, shows it in words
//! that are read back from those bytes, and carries it.

mod api;
mod assets;
mod guard;
mod headers;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod hostile;
mod layout;
#[cfg(test)]
#[path = "../made.rs"]
mod made;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
mod offered;
mod ordering;
mod packed;
mod pages;
mod registrations;
mod session;
mod shapes;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod shown_otherwise;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::routing::MethodRouter;
use model::Clock;

use api::Api;
pub use session::of_browser;

/// Who may ask for a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anyone, and why.
    Open(&'static str),
    /// Whoever is signed in; what they see of it is the API's decision.
    Inside,
}

/// A page, or something that a page asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageInfo {
    /// The HTTP method.
    pub method: &'static str,
    /// The path's template, such as `/phones/{enrolment}`.
    pub path: &'static str,
    /// Who may ask for it.
    pub access: Access,
}

/// Collects pages; each has an access.
pub(crate) struct Pages {
    router: Router<Api>,
    infos: Vec<PageInfo>,
    api: Api,
}

impl Pages {
    fn new(api: Api) -> Self {
        Self { router: Router::new(), infos: Vec::new(), api }
    }

    /// Anyone may ask for it, and why.
    fn open(
        mut self,
        why: &'static str,
        method: &'static str,
        path: &'static str,
        to: MethodRouter<Api>,
    ) -> Self {
        self.infos.push(PageInfo { method, path, access: Access::Open(why) });
        self.router = self.router.route(path, to);
        self
    }

    /// Whoever is signed in may ask for it.
    fn inside(mut self, method: &'static str, path: &'static str, to: MethodRouter<Api>) -> Self {
        self.infos.push(PageInfo { method, path, access: Access::Inside });
        let guard = axum::middleware::from_fn_with_state(self.api.clone(), guard::inside);
        self.router = self.router.route(path, to.layer(guard));
        self
    }
}

/// Every page and who may ask for it, from the router itself.
#[must_use]
pub fn pages() -> Vec<PageInfo> {
    pages::all(Api::of(Router::new(), Arc::new(model::SystemClock), None)).infos
}

/// The pages before an API, by its clock: what no page takes goes on to it. `call` is the number that holders call.
pub fn front(api: Router, clock: Arc<dyn Clock>, call: Option<String>) -> Router {
    let pages = pages::all(Api::of(api.clone(), clock, call));
    let state = pages.api.clone();
    pages
        .router
        .layer(axum::middleware::from_fn(guard::same_origin))
        .layer(axum::middleware::from_fn(headers::wide_line))
        .layer(packed::layer())
        .layer(axum::middleware::from_fn(packed::only_for_ourselves))
        .with_state(state)
        .fallback_service(api)
        .layer(axum::middleware::from_fn(headers::add))
}
