//! The room that talks to Apple's push service, and to no one who is not in the configuration file.
//!
//! Core says whom to wake and hands over the phone's sealed token and PushMagic; this room alone holds the
//! opening key of the *push* compartment. It wakes phones over one kept HTTP/2 connection with the MDM push
//! certificate, and tells core what came of it. It has no database and no listener.
//!
//! Whoever takes this room can wake phones (which then ask the door, as they do anyway) and reads the push
//! tokens that core hands it meanwhile; nothing else.
//!
//! # The push certificate
//! Its subject's UID is the topic, and phones obey pushes of the topic they enrolled under alone. So the
//! first topic that was used is kept (file `topic`), and a renewed certificate with another one is refused,
//! loudly, while the old one serves on; the key `topic` in the configuration overrules. A renewed file is
//! taken up without a restart. From 60 days before its end on, health says so.
//!
//! # The public TLS certificate
//! Where it is configured, the courier also gets the door a certificate by ACME. See [`AcmeConfig`].
//!
//! # Signing in by OpenID Connect
//! Where it is configured, the courier speaks to the provider for core: [`OidcConfig`]. It judges no token.
//!
//! # Alarms
//! The vault's alarms come by a pipe of their own, past core, and go where [`AlarmsConfig`] says.

mod acme;
mod alarms;
mod apns;
mod back_up;
mod config;
mod error;
mod https;
mod identity;
mod keys;
mod oidc;
mod opening;
mod probe;
mod room;

pub use acme::{AcmeChallengeKind, AcmeConfig, AcmeDirectory, probe_acme};
pub use alarms::{AlarmsConfig, MailTls, probe_alarms};
pub use back_up::{BACKED_UP, PUSH_CERTIFICATE, PUSH_KEY, back_up};
pub use config::Config;
pub use error::Error;
pub use keys::{install, prepare};
pub use oidc::{OidcConfig, OidcProvider, probe_oidc};
pub use probe::{Probe, ProbeAnswer, probe};
pub use room::{run, run_with_clock};
