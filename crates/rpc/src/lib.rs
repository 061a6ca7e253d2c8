//! The walls between the rooms: the `.proto` files and their generated code ([`proto`]), the pairs
//! of descriptors over which they are spoken ([`pair`]), the control pair over which the supervisor
//! hands descriptors to a room ([`control`]), the pipe for alarms ([`alarm`]), and calls multiplexed over one long stream
//! ([`CallStream`]).
//!
//! There are no socket paths: whom a room was not given it can't reach. When a room died and was
//! started again, its neighbours are handed a fresh pair; a [`pair::PeerSlot`] (for whoever dials)
//! and a [`pair::PeerIncoming`] (for whoever serves) take it in.

pub mod alarm;
pub mod at_rest;
pub mod authorities;
mod calls;
pub mod control;
mod convert;
pub mod hsm;
pub mod install;
pub mod key_ring;
pub mod pair;
pub mod trust;

/// Generated from `proto/*.proto`; the comments stand there.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod proto {
    tonic::include_proto!("matron.v1");
}

pub use calls::{CallStream, Unavailable};
pub use convert::{
    ConvertError, command_id, digest, enrolment_id, link_hash, order_id, phone_row, row_from, row_to,
};
