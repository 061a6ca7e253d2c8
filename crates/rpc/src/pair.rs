//! A pair with a neighbour, as tonic wants it: a channel for the side that dials, a stream of
//! connections for the side that serves. Both take in a fresh pair when the neighbour was restarted.

use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::{Channel, Endpoint};

use crate::Unavailable;

/// The largest message that crosses a wall, in bytes.
pub const LARGEST_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// The side that dials: holds the channel over the newest pair.
#[derive(Debug, Clone)]
pub struct PeerSlot(Arc<watch::Sender<Option<Channel>>>);

impl Default for PeerSlot {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl PeerSlot {
    /// Takes in a fresh pair.
    ///
    /// # Errors
    /// When the descriptor is not a socket that tokio can use.
    pub fn renew(&self, pair: StdUnixStream) -> io::Result<()> {
        let channel = channel(pair)?;
        self.0.send_replace(Some(channel));
        Ok(())
    }

    /// The newest channel, waiting up to `patience` for the first.
    ///
    /// # Errors
    /// [`Unavailable`] when no neighbour came in time.
    pub async fn channel(&self, patience: Duration) -> Result<Channel, Unavailable> {
        if let Some(c) = self.0.borrow().clone() {
            return Ok(c);
        }
        let mut seen = self.0.subscribe();
        match tokio::time::timeout(patience, seen.wait_for(Option::is_some)).await {
            Ok(Ok(c)) => c.clone().ok_or(Unavailable),
            _ => Err(Unavailable),
        }
    }

    /// Tells when a fresh pair came in.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Option<Channel>> {
        self.0.subscribe()
    }
}

/// A channel that speaks over this one socket. When it dies the channel is dead: a fresh pair needs
/// a fresh channel.
///
/// # Errors
/// When the descriptor is not a socket that tokio can use.
pub fn channel(pair: StdUnixStream) -> io::Result<Channel> {
    pair.set_nonblocking(true)?;
    let once = Arc::new(Mutex::new(Some(UnixStream::from_std(pair)?)));
    let connector = tower::service_fn(move |_: http::Uri| {
        let taken = once.lock().ok().and_then(|mut o| o.take());
        async move {
            taken
                .map(TokioIo::new)
                .ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, "the pair is used up"))
        }
    });
    // The address names nobody: the connector has the socket already.
    let endpoint = Endpoint::from_static("http://pair.invalid")
        .initial_stream_window_size(4 * 1024 * 1024)
        .initial_connection_window_size(8 * 1024 * 1024);
    Ok(endpoint.connect_with_connector_lazy(connector))
}

/// The side that serves: connections come in as pairs are handed over.
#[derive(Debug, Clone)]
pub struct PeerIncoming(mpsc::UnboundedSender<io::Result<UnixStream>>);

/// What `serve_with_incoming` takes.
pub type Incoming = UnboundedReceiverStream<io::Result<UnixStream>>;

impl PeerIncoming {
    /// The two halves: hand pairs to the first, serve the second.
    #[must_use]
    pub fn new() -> (Self, Incoming) {
        let (tx, rx) = mpsc::unbounded_channel();
        (Self(tx), UnboundedReceiverStream::new(rx))
    }

    /// Takes in a fresh pair.
    ///
    /// # Errors
    /// When the descriptor is not a socket that tokio can use, or nobody serves any more.
    pub fn renew(&self, pair: StdUnixStream) -> io::Result<()> {
        pair.set_nonblocking(true)?;
        let stream = UnixStream::from_std(pair)?;
        self.0.send(Ok(stream)).map_err(|_| io::Error::other("the server has stopped"))
    }
}

/// A tonic server with the windows that the check-in streams want.
#[must_use]
pub fn server() -> tonic::transport::Server {
    tonic::transport::Server::builder()
        .initial_stream_window_size(4 * 1024 * 1024)
        .initial_connection_window_size(8 * 1024 * 1024)
}
