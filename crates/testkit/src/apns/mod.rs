//! A push service on loopback that behaves as Apple's does: HTTP/2 over TLS, a client certificate required,
//! the same headers checked, the same reason words. It keeps one notification a token (a newer one replaces
//! it), forgets it when it has expired, and gives it to whoever waits for that token.
//!
//! ```no_run
//! # async fn example() -> Result<(), testkit::apns::Error> {
//! let apns = testkit::apns::Server::start(([127, 0, 0, 1], 0).into()).await?;
//! println!("courier.endpoint = \"{}\"", apns.url());
//! let mut phone = apns.subscribe(&[0xab; 32]);
//! let woken = phone.next().await; // until a push comes
//! # let _ = woken; Ok(())
//! # }
//! ```
//!
//! Source: "Sending notification requests to APNs" and "Handling notification responses from APNs" (Apple).

mod certificates;
mod request;
mod server;
mod shelf;

pub use certificates::PushIdentity;
pub use server::Server;
pub use shelf::{Counts, Notification, Subscription};

/// Why the stand-in can't stand, always the host's doing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address can't be bound.
    #[error("the push stand-in can't listen: {0}")]
    Listen(#[from] std::io::Error),
    /// A certificate could not be made.
    #[error("the push stand-in's certificates could not be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// rustls refuses what was made.
    #[error("the push stand-in can't speak TLS: {0}")]
    Tls(String),
}
