//! The room that holds the phones' connections. It parses no body and lets nothing unsigned out.
//!
//! The door is the smallest room, since whoever takes the end of the TLS can tell the phones that
//! connect anything. It does: rustls and hyper; a fixed list of routes ([`route`]); limits of size
//! and time; the enrolment id from the phone's certificate, by its own hand; one call to the reader
//! with the body; one call to core with what the reader made of it; and one check of what leaves
//! ([`answer`]): a closed enum, or bytes under the vault's warrant for this phone, this class, this
//! status, this command and this digest.
//!
//! It has no database, makes no connection, and knows the reader and core by `rpc` alone.

mod acme;
mod answer;
mod arrivals;
mod back_up;
mod connection;
mod counters;
mod delivery;
mod error;
mod flow;
mod gather;
mod install;
mod own;
mod proxy;
mod rest;
mod room;
mod route;
mod served;
mod stall;
mod tls;
mod tls_keys;
mod walls;

pub use acme::{AcmeChallengeKind, AcmeConfig};
pub use back_up::{BACKED_UP, back_up};
pub use error::Error;
pub use install::{install, prepare};
pub use proxy::{BadProxyHeader, Network, NotANetwork, read_proxy_header};
pub use room::{Config, TlsEnds, run};
pub use route::{PUBLIC_ROUTES, Route, route};
pub use tls::tls_of;
