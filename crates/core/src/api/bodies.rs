//! Bodies are read before anything else is done for them: in a time, and all of them together within a budget. So whoever
//! sends slowly holds nothing but a connection, and many who send much fill no memory.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::BytesMut;
use http::StatusCode;
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::Problem;

/// A body has to be there within this time.
const PATIENCE: Duration = Duration::from_secs(20);
/// All bodies that are being read or worked on, in KiB.
const MOST_KIB: usize = 128 << 10;

/// What is left of the budget, in KiB.
#[derive(Clone)]
pub(crate) struct Bodies(Arc<Semaphore>);

impl Default for Bodies {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST_KIB)))
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
    let (mut body, mut read, mut held) = (body, BytesMut::new(), Vec::new());
    let mut paid = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
        read.extend_from_slice(&data);
        if read.len() > most {
            return Err(Unread::TooLarge);
        }
        let due = read.len().div_ceil(1024);
        if let Some(more) = due.checked_sub(paid).and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0) {
            held.push(bodies.0.clone().try_acquire_many_owned(more).map_err(|_| Unread::Busy)?);
            paid = due;
        }
    }
    Ok((read, held))
}

/// Stands before everything on the listener.
pub(crate) async fn read_first(State(bodies): State<Bodies>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let read = tokio::time::timeout(PATIENCE, whole(body, &bodies, super::LARGEST_ORDER_BYTES)).await;
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
    Problem::new(status, code, detail).written("")
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::convert::Infallible;

    fn body(chunks: Vec<Vec<u8>>) -> Body {
        Body::from_stream(tokio_stream::iter(chunks.into_iter().map(|c| Ok::<_, Infallible>(Bytes::from(c)))))
    }

    #[tokio::test]
    async fn bodies_cost_what_they_hold_and_give_it_back() {
        let bodies = Bodies(Arc::new(Semaphore::new(4)));
        let (read, held) = whole(body(vec![vec![1; 700]; 3]), &bodies, 10_000).await.ok().unwrap();
        assert_eq!((read.len(), bodies.0.available_permits()), (2100, 1));
        assert!(matches!(whole(body(vec![vec![1; 1025]]), &bodies, 10_000).await, Err(Unread::Busy)));
        drop(held);
        assert!(whole(body(vec![vec![1; 1025]]), &bodies, 10_000).await.is_ok());
        assert!(matches!(whole(body(vec![vec![1; 600]; 2]), &bodies, 1000).await, Err(Unread::TooLarge)));
        assert_eq!(bodies.0.available_permits(), 4);
    }
}
