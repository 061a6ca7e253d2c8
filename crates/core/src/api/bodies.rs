//! Bodies are read before anything else is done for them: in a time, and all of them together within a budget. So whoever
//! sends slowly holds nothing but a connection, and many who send much fill no memory.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::BytesMut;
use http::StatusCode;
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::Problem;
use crate::refused::Refused;

/// A body has to be there within this time.
const PATIENCE: Duration = Duration::from_secs(20);
/// All large bodies that are being read or worked on, in KiB.
const MOST_KIB: usize = 128 << 10;
/// A body of this size costs nothing of that: with the most connections it is 16 MiB in all. So nobody who sends much
/// holds up a sign-in, a lock or a recall.
const FREE_BYTES: usize = 64 << 10;

/// How long a body may take, and what is left of the budget in KiB.
#[derive(Clone)]
pub(crate) struct Bodies {
    patience: Duration,
    kib: Arc<Semaphore>,
    refused: Refused,
}

impl Bodies {
    /// `refused` counts the bodies that were not taken.
    pub fn counting(refused: Refused) -> Self {
        Self { patience: PATIENCE, kib: Arc::new(Semaphore::new(MOST_KIB)), refused }
    }
}

/// The most that this route takes. Profiles come sealed beside orders; nothing else is large.
fn most(path: &str) -> usize {
    match path {
        "/api/v1/orders" | "/orders" | "/orders/prepare" => super::LARGEST_ORDER_BYTES,
        _ => super::LARGEST_BODY_BYTES,
    }
}

enum Unread {
    TooLarge,
    Busy,
    Broken,
}

async fn whole(
    body: Body,
    bodies: &Bodies,
    most: usize,
) -> Result<(BytesMut, Vec<OwnedSemaphorePermit>), Unread> {
    if body.size_hint().lower() > most as u64 {
        return Err(Unread::TooLarge);
    }
    let (mut body, mut read, mut held) = (body, BytesMut::new(), Vec::new());
    let mut paid = FREE_BYTES.div_ceil(1024);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
        read.extend_from_slice(&data);
        if read.len() > most {
            return Err(Unread::TooLarge);
        }
        let due = read.len().div_ceil(1024);
        if let Some(more) = due.checked_sub(paid).and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0) {
            held.push(bodies.kib.clone().try_acquire_many_owned(more).map_err(|_| Unread::Busy)?);
            paid = due;
        }
    }
    Ok((read, held))
}

/// Stands before everything on the listener.
pub(crate) async fn read_first(State(bodies): State<Bodies>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let read = tokio::time::timeout(bodies.patience, whole(body, &bodies, most(parts.uri.path()))).await;
    let (status, code, detail) = match read {
        Ok(Ok((body, _held))) => {
            return next.run(Request::from_parts(parts, Body::from(body.freeze()))).await;
        }
        Ok(Err(Unread::TooLarge)) => (StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the body is too large"),
        Ok(Err(Unread::Busy)) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "busy",
            "much is being sent at once; send the same again in a moment",
        ),
        Ok(Err(Unread::Broken)) => (StatusCode::BAD_REQUEST, "bad_request", "the body broke off"),
        Err(_) => (
            StatusCode::REQUEST_TIMEOUT,
            "too_slow",
            "the body did not come within 20 seconds; nothing was done",
        ),
    };
    bodies.refused.inc();
    tracing::info!(http.method = %parts.method, http.status = status.as_u16(), problem.code = code, "a body was not taken");
    Problem::new(status, code, detail).written("")
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use prometheus_client::metrics::counter::Counter;
    use std::convert::Infallible;

    fn body(chunks: Vec<Vec<u8>>) -> Body {
        Body::from_stream(tokio_stream::iter(chunks.into_iter().map(|c| Ok::<_, Infallible>(Bytes::from(c)))))
    }

    fn refused() -> Refused {
        Refused::counting(Counter::default(), Arc::new(model::SystemClock))
    }

    fn with(kib: usize) -> Bodies {
        Bodies { patience: PATIENCE, kib: Arc::new(Semaphore::new(kib)), refused: refused() }
    }

    #[tokio::test]
    async fn large_bodies_cost_what_they_hold_and_give_it_back_and_small_ones_cost_nothing() {
        const KIB: usize = 1024;
        let bodies = with(4);
        let (read, held) = whole(body(vec![vec![1; 22 * KIB]; 3]), &bodies, KIB * KIB).await.ok().unwrap();
        assert_eq!((read.len(), bodies.kib.available_permits()), (66 * KIB, 2));
        assert!(matches!(whole(body(vec![vec![1; 67 * KIB]]), &bodies, KIB * KIB).await, Err(Unread::Busy)));
        assert!(whole(body(vec![vec![1; FREE_BYTES]]), &bodies, KIB * KIB).await.is_ok());
        drop(held);
        assert!(whole(body(vec![vec![1; 67 * KIB]]), &bodies, KIB * KIB).await.is_ok());
        assert_eq!(bodies.kib.available_permits(), 4);
    }

    #[tokio::test]
    async fn a_body_beyond_its_routes_bound_is_refused_whether_its_length_is_said_or_not() {
        let sent = Body::from(vec![1; 2_000]);
        assert!(matches!(whole(sent, &with(0), 1_000).await, Err(Unread::TooLarge)));
        let streamed = body(vec![vec![1; 600]; 2]);
        assert!(matches!(whole(streamed, &with(0), 1_000).await, Err(Unread::TooLarge)));
        assert!(most("/api/v1/search") < most("/api/v1/orders"));
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_in_its_time_is_refused_and_counted_and_its_route_not_asked() {
        use tower::ServiceExt;
        let asked = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let seen = asked.clone();
        let to = axum::routing::post(move || {
            seen.store(true, std::sync::atomic::Ordering::SeqCst);
            async { StatusCode::OK }
        });
        let bodies = Bodies { patience: Duration::from_millis(50), ..with(1024) };
        let first = axum::middleware::from_fn_with_state(bodies.clone(), read_first);
        let router = axum::Router::new().route("/api/v1/orders", to).layer(first);
        let send = |body: Body| {
            let request = Request::builder().method("POST").uri("/api/v1/orders").body(body).unwrap();
            router.clone().oneshot(request)
        };
        // A first piece, and then nothing more.
        let begun = tokio_stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"{"))]);
        let slow = tokio_stream::StreamExt::chain(begun, tokio_stream::pending());
        assert_eq!(send(Body::from_stream(slow)).await.unwrap().status(), StatusCode::REQUEST_TIMEOUT);
        assert!(!asked.load(std::sync::atomic::Ordering::SeqCst));
        assert_eq!(bodies.refused.since_start(), 1);
        assert_eq!(send(body(vec![vec![1; 10]; 3])).await.unwrap().status(), StatusCode::OK);
        assert_eq!(bodies.refused.since_start(), 1);
        assert_eq!(Bodies::counting(refused()).patience, Duration::from_secs(20));
    }
}
