//! Pages go packed (gzip) over the network: a full list of phones is 150 KB of markup that repeats itself.
//!
//! What is packed together with a secret gives it away bit by bit to whoever has a browser ask again and again with a guess in
//! the address and sees the lengths (BREACH). So a page is packed only where the browser says that one of our own pages or
//! the person themselves asked for it (Fetch Metadata): whatever another site has it fetch goes as it is.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::HeaderValue;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE};
use tower_http::compression::predicate::Predicate;
use tower_http::compression::{CompressionLayer, CompressionLevel};

use crate::guard::is_asked_by_no_other_site;

/// Pages; the script and the style sheet were packed when they were made, and streams of
/// changes are not held up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pages;

impl Predicate for Pages {
    fn should_compress<B>(&self, response: &http::Response<B>) -> bool {
        let kind = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        kind.starts_with(b"text/html")
    }
}

pub(crate) fn layer() -> CompressionLayer<Pages> {
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(Pages)
}

/// Stands before the layer: what another site may have asked for is asked for unpacked.
pub(crate) async fn only_for_ourselves(mut request: Request, next: Next) -> Response {
    if !is_asked_by_no_other_site(request.headers()) {
        request.headers_mut().remove(ACCEPT_ENCODING);
    }
    next.run(request).await
}
