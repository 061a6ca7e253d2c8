//! A certificate authority on loopback that speaks ACME (RFC 8555, with RFC 8737 and RFC 9773) as strictly as
//! it can: signatures, nonces used once, `url`, `kid` or `jwk`, the request's names against the order's; it
//! really connects to whoever wants a certificate. It can be told to be difficult.

mod authority;
mod jws;
mod server;
mod validation;
mod words;

pub use server::Server;

use std::net::SocketAddr;
use std::time::Duration;

/// Why the stand-in can't stand, always the host's doing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address can't be bound.
    #[error("the ACME stand-in can't listen: {0}")]
    Listen(#[from] std::io::Error),
    /// A certificate could not be made.
    #[error("the ACME stand-in's certificates could not be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// rustls refuses what was made.
    #[error("the ACME stand-in can't speak TLS: {0}")]
    Tls(String),
}

/// How the stand-in behaves from now on.
#[derive(Debug, Clone)]
pub struct Manner {
    /// Where http-01 is looked for, whatever the host's name.
    pub http: SocketAddr,
    /// Where tls-alpn-01 is looked for.
    pub tls: SocketAddr,
    /// How long certificates live; they began a tenth of it ago.
    pub life: Duration,
    /// How many good nonces are called bad before one is taken.
    pub bad_nonces: u32,
    /// How often an order says `processing` before its certificate is there.
    pub processing: u32,
    /// New orders are answered 429 with this `Retry-After`.
    pub rate_limited: Option<u32>,
    /// Everything is answered 500.
    pub out_of_order: bool,
    /// Orders run out the moment that they are made.
    pub orders_run_out: bool,
    /// Validation waits for this long before it looks.
    pub validation_pause: Duration,
    /// The window that renewal information gives, in seconds from now; none: it is not offered.
    pub window_s: Option<(i64, i64)>,
}
