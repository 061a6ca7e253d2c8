//! Requests on a connection, and its rest between them. A phone may keep its connection for long and say little;
//! hyper keeps 20 KiB for each meanwhile, so a silent connection is taken out of its hands until a byte comes.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;

use crate::connection::{FAREWELL, stopped};
use crate::stall::Impatient;

/// How long an answer may get on not a byte.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);

/// How long a connection may be silent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Silence {
    /// After so long, at most twice it, it is put to rest.
    pub(crate) rests: Duration,
    /// After so long it ends.
    pub(crate) ends: Duration,
}

/// How many requests were begun and answered.
#[derive(Default)]
struct Pulse {
    begun: AtomicU64,
    answered: AtomicU64,
}

impl Pulse {
    /// How many were answered, when that is all of them.
    fn still_at(&self) -> Option<u64> {
        let answered = self.answered.load(Ordering::Relaxed);
        (answered == self.begun.load(Ordering::Relaxed)).then_some(answered)
    }

    /// Returns when nothing was asked for so long, and nothing is busy.
    async fn stops(&self, silence: Duration, busy: impl Fn() -> bool) {
        let mut before = None;
        loop {
            tokio::time::sleep(silence).await;
            let now = self.still_at().filter(|answered| *answered > 0 && !busy());
            if now.is_some() && now == before {
                return;
            }
            before = now;
        }
    }
}

/// Serves the connection until it ends.
pub(crate) async fn serve<S, A, F>(stream: S, answer: &A, silence: Silence, stop: &mut watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<Full<Bytes>>>,
{
    let mut next = Some((stream, Bytes::new()));
    while let Some((stream, ahead)) = next {
        // On the heap, so that a connection at rest has none of it.
        let Some((stream, ahead)) = Box::pin(wake(stream, ahead, answer, silence, stop)).await else {
            return;
        };
        next = rest(stream, ahead, silence, stop).await;
    }
}

/// Serves until the connection ends (`None`) or has been silent for a while: then with what was read of a next
/// request.
async fn wake<S, A, F>(
    stream: S,
    ahead: Bytes,
    answer: &A,
    silence: Silence,
    stop: &mut watch::Receiver<bool>,
) -> Option<(S, Bytes)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<Full<Bytes>>>,
{
    let pulse = Arc::new(Pulse::default());
    let service = service_fn(|request| {
        pulse.begun.fetch_add(1, Ordering::Relaxed);
        let (answer, pulse) = (answer(request), pulse.clone());
        Box::pin(async move {
            let answer = answer.await;
            pulse.answered.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Infallible>(answer)
        })
    });
    let stream = Impatient::new(stream, ahead, WRITE_PATIENCE);
    let write_waits = stream.waits();
    let mut serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(silence.ends)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    let ended = tokio::select! {
        ended = poll_fn(|cx| serving.poll_without_shutdown(cx)) => Some(ended),
        () = stopped(stop) => None,
        () = pulse.stops(silence.rests, || write_waits.load(Ordering::Relaxed)) => {
            let answered = pulse.still_at();
            Pin::new(&mut serving).graceful_shutdown();
            // hyper lets go at once when it is between two requests: all was read, all was written.
            let looked = poll_fn(|cx| Poll::Ready(serving.poll_without_shutdown(cx))).await;
            if matches!(looked, Poll::Ready(Ok(()))) && answered.is_some() && pulse.still_at() == answered {
                let parts = serving.into_parts();
                return Some((parts.io.into_inner().into_inner(), parts.read_buf));
            }
            match looked {
                Poll::Ready(ended) => Some(ended),
                Poll::Pending => None,
            }
        }
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            Pin::new(&mut serving).graceful_shutdown();
            poll_fn(|cx| serving.poll_without_shutdown(cx)).await
        }
    };
    if ended.is_ok() {
        farewell(serving.into_parts().io.into_inner().into_inner()).await;
    }
    None
}

/// Holds nothing but the stream until a byte comes.
async fn rest<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    ahead: Bytes,
    silence: Silence,
    stop: &mut watch::Receiver<bool>,
) -> Option<(S, Bytes)> {
    if !ahead.is_empty() {
        return Some((stream, ahead));
    }
    // Empty as it is, it may hold a large buffer.
    drop(ahead);
    let mut first = [0; 1];
    let read = tokio::select! {
        read = tokio::time::timeout(silence.ends.saturating_sub(silence.rests), stream.read(&mut first)) => read,
        () = stopped(stop) => Ok(Ok(0)),
    };
    match read {
        Ok(Ok(1)) => Some((stream, Bytes::copy_from_slice(&first))),
        Ok(Err(_)) => None,
        _ => {
            farewell(stream).await;
            None
        }
    }
}

async fn farewell<S: AsyncWrite + Unpin>(mut stream: S) {
    let _ = tokio::time::timeout(FAREWELL, stream.shutdown()).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::DuplexStream;

    const SILENCE: Silence = Silence { rests: Duration::from_millis(50), ends: Duration::from_secs(3) };
    /// By then it rests.
    const LONG: Duration = Duration::from_millis(200);

    async fn echo(request: Request<Incoming>) -> Response<Full<Bytes>> {
        use http_body_util::BodyExt;
        Response::new(Full::new(request.into_body().collect().await.unwrap().to_bytes()))
    }

    /// A connection that is served as the door does; how often it rested comes out at the end.
    fn served() -> (DuplexStream, watch::Sender<bool>, tokio::task::JoinHandle<u32>) {
        let (theirs, ours) = tokio::io::duplex(1 << 16);
        let (stop, mut stopped) = watch::channel(false);
        let serving = tokio::spawn(async move {
            let (mut next, mut rests) = (Some((ours, Bytes::new())), 0);
            while let Some((stream, ahead)) = next {
                let silent = Box::pin(wake(stream, ahead, &echo, SILENCE, &mut stopped)).await;
                let Some((stream, ahead)) = silent else { break };
                rests += 1;
                next = rest(stream, ahead, SILENCE, &mut stopped).await;
            }
            rests
        });
        (theirs, stop, serving)
    }

    async fn ask(stream: &mut DuplexStream, body: &str) {
        let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    }

    async fn answered(stream: &mut DuplexStream, body: &str) {
        let (mut text, mut some) = (String::new(), [0; 1024]);
        while !text.ends_with(&format!("\r\n\r\n{body}")) {
            let n = stream.read(&mut some).await.unwrap();
            assert!(n > 0, "the connection ended after {text:?}");
            text.push_str(std::str::from_utf8(&some[..n]).unwrap());
        }
        assert!(text.starts_with("HTTP/1.1 200 OK") && !text.contains("close"), "{text}");
    }

    #[tokio::test]
    async fn a_connection_that_rested_is_served_on_and_one_that_is_busy_does_not_rest() {
        let (mut phone, _stop, serving) = served();
        for body in ["one", "two", "three"] {
            ask(&mut phone, body).await;
            answered(&mut phone, body).await;
            tokio::time::sleep(LONG).await;
        }
        for _ in 0..20 {
            ask(&mut phone, "busy").await;
            answered(&mut phone, "busy").await;
            tokio::time::sleep(SILENCE.rests / 5).await;
        }
        drop(phone);
        assert_eq!(serving.await.unwrap(), 3);
    }

    #[tokio::test]
    async fn a_request_that_comes_in_pieces_over_a_rest_is_one_request() {
        let (mut phone, _stop, serving) = served();
        ask(&mut phone, "one").await;
        answered(&mut phone, "one").await;
        for piece in ["PO", "ST / HTTP/1.1\r\nhost: a\r\nconte", "nt-length: 3\r\n\r\ntw", "o"] {
            tokio::time::sleep(LONG).await;
            phone.write_all(piece.as_bytes()).await.unwrap();
        }
        answered(&mut phone, "two").await;
        drop(phone);
        assert_eq!(serving.await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_resting_connection_ends_with_its_time_and_when_the_door_stops() {
        let (mut phone, _stop, serving) = served();
        ask(&mut phone, "one").await;
        answered(&mut phone, "one").await;
        tokio::time::timeout(SILENCE.ends * 2, serving).await.unwrap().unwrap();

        let (mut phone, stop, serving) = served();
        ask(&mut phone, "one").await;
        answered(&mut phone, "one").await;
        tokio::time::sleep(LONG).await;
        stop.send_replace(true);
        tokio::time::timeout(Duration::from_secs(2), serving).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn who_wants_the_connection_closed_gets_it_closed() {
        let (mut phone, _stop, serving) = served();
        phone.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut text = String::new();
        tokio::time::timeout(Duration::from_secs(2), phone.read_to_string(&mut text)).await.unwrap().unwrap();
        assert!(text.contains("connection: close"), "{text}");
        assert_eq!(serving.await.unwrap(), 0);
    }
}
