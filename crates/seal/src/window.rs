//! The bytes that sealer and opener agree on.

use model::{Compartment, EnrolmentId};

use crate::key::PublicKey;
use crate::to::ENC_BYTES;

/// How long one data key serves, by the sender's clock.
pub const WINDOW_MS: i64 = 60_000;

/// The only version so far, first byte of a wrapped key.
pub(crate) const VERSION: u8 = 1;
pub(crate) const HEAD_BYTES: usize = 1 + 4 + 16;

/// Length of [`model::SealedRow::wrapped_key`]: version (1) ‖ epoch (4, big endian) ‖ sender key id
/// (16) ‖ encapsulated key (32) ‖ sealed data key (48).
pub const WRAPPED_KEY_BYTES: usize = HEAD_BYTES + ENC_BYTES + 48;

pub(crate) fn head(epoch: u32, sender: &PublicKey) -> [u8; HEAD_BYTES] {
    let mut out = [0; HEAD_BYTES];
    let bytes = [VERSION].into_iter().chain(epoch.to_be_bytes()).chain(sender.id());
    out.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    out
}

/// The epoch that a wrapped key names; `None` when it has not the shape of one. Nothing of it is proven.
#[must_use]
pub fn epoch_of(wrapped: &[u8]) -> Option<u32> {
    let (version, rest) = wrapped.split_first()?;
    let (epoch, _) = rest.split_first_chunk::<4>()?;
    (*version == VERSION && wrapped.len() == WRAPPED_KEY_BYTES).then_some(u32::from_be_bytes(*epoch))
}

/// HPKE's `info` for a window's key: a key wrapped for one compartment unwraps for no other.
pub(crate) fn info(compartment: Compartment) -> [u8; 16] {
    let mut out = *b"matron/window/1\0";
    if let Some(last) = out.last_mut() {
        *last = compartment.number();
    }
    out
}

/// A field's associated data: `matron/field/1` ‖ enrolment id (16) ‖ length of the name (2, big
/// endian) ‖ name ‖ version (1). Fixed lengths and a counted name, so two fields never share it.
pub(crate) fn field_aad(enrolment: &EnrolmentId, name: &str, name_bytes: u16) -> Vec<u8> {
    const DOMAIN: &[u8] = b"matron/field/1";
    let mut out = Vec::with_capacity(DOMAIN.len() + 16 + 2 + name.len() + 1);
    out.extend_from_slice(DOMAIN);
    out.extend_from_slice(enrolment.as_bytes());
    out.extend_from_slice(&name_bytes.to_be_bytes());
    out.extend_from_slice(name.as_bytes());
    out.push(VERSION);
    out
}
