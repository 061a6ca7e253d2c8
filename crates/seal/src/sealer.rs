//! Reader's side: sealing fields as they enter.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand::SecureRandom;
use model::{Compartment, EnrolmentId, SealedRow, TimeMs};
use zeroize::Zeroizing;

use crate::error::SealError;
use crate::key::{CompartmentPublic, KeyPairSecret};
use crate::to::{auth_mode, raw_seal};
use crate::window::{WINDOW_MS, WRAPPED_KEY_BYTES, field_aad, head, info};

/// The largest value of one field.
pub const MAX_FIELD_BYTES: usize = 16 << 20;
/// The longest name of a field.
pub const MAX_NAME_BYTES: usize = 512;

/// Random 96-bit nonces are safe for 2³² messages under a key (NIST SP 800-38D, 8.3); a window that
/// reaches this many takes a fresh key long before.
const MAX_USES: u32 = 1 << 24;

/// Seals fields. One for each thread that does: sealing changes it, since it keeps each compartment's
/// data key for a window of [`WINDOW_MS`].
pub struct Sealer {
    sender: KeyPairSecret,
    lanes: Vec<Lane>,
}

struct Lane {
    to: CompartmentPublic,
    current: Option<Window>,
}

struct Window {
    number: i64,
    uses: u32,
    key: LessSafeKey,
    wrapped: Vec<u8>,
}

impl Sealer {
    /// A sealer that proves itself with `sender`. Of several keys for one compartment it takes the one
    /// with the highest epoch.
    #[must_use]
    pub fn new(sender: KeyPairSecret, mut compartments: Vec<CompartmentPublic>) -> Self {
        compartments.sort_by_key(|c| (c.compartment, std::cmp::Reverse(c.epoch)));
        compartments.dedup_by_key(|c| c.compartment);
        Self { sender, lanes: compartments.into_iter().map(|to| Lane { to, current: None }).collect() }
    }

    /// Seals one value.
    ///
    /// `name` is the field's path; `mask` and `change_tag` go into the row as they are. Costs an HPKE
    /// wrapping at the first field of a compartment's window, and one AES-GCM for each field after.
    ///
    /// # Errors
    /// [`SealError::NoCompartment`] without a key for it, [`SealError::TooLarge`] over
    /// [`MAX_FIELD_BYTES`] or [`MAX_NAME_BYTES`], [`SealError::Randomness`].
    #[allow(clippy::too_many_arguments)]
    pub fn seal(
        &mut self,
        rng: &dyn SecureRandom,
        now_ms: TimeMs,
        enrolment: &EnrolmentId,
        name: &str,
        compartment: Compartment,
        plaintext: &[u8],
        mask: String,
        change_tag: Vec<u8>,
    ) -> Result<SealedRow, SealError> {
        if plaintext.len() > MAX_FIELD_BYTES {
            return Err(SealError::TooLarge { bytes: plaintext.len(), limit: MAX_FIELD_BYTES });
        }
        let name_bytes = u16::try_from(name.len())
            .ok()
            .filter(|n| usize::from(*n) <= MAX_NAME_BYTES)
            .ok_or(SealError::TooLarge { bytes: name.len(), limit: MAX_NAME_BYTES })?;
        let lane = self
            .lanes
            .iter_mut()
            .find(|l| l.to.compartment == compartment)
            .ok_or(SealError::NoCompartment(compartment))?;
        let window = lane.window(&self.sender, rng, now_ms)?;

        let mut nonce = [0; NONCE_LEN];
        rng.fill(&mut nonce).map_err(|_| SealError::Randomness)?;
        let mut ciphertext = Vec::with_capacity(NONCE_LEN + plaintext.len() + AES_256_GCM.tag_len());
        ciphertext.extend_from_slice(&nonce);
        ciphertext.extend_from_slice(plaintext);
        let (_, value) = ciphertext.split_at_mut_checked(NONCE_LEN).ok_or(SealError::Cipher)?;
        let tag = window
            .key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(field_aad(enrolment, name, name_bytes)),
                value,
            )
            .map_err(|_| SealError::Cipher)?;
        ciphertext.extend_from_slice(tag.as_ref());
        Ok(SealedRow {
            name: name.to_owned(),
            compartment,
            wrapped_key: window.wrapped.clone(),
            ciphertext,
            mask,
            change_tag,
        })
    }
}

impl Lane {
    /// The data key of this moment, a fresh one when the last is used up.
    fn window(
        &mut self,
        sender: &KeyPairSecret,
        rng: &dyn SecureRandom,
        now_ms: TimeMs,
    ) -> Result<&Window, SealError> {
        let number = now_ms.div_euclid(WINDOW_MS);
        let fits = self.current.as_ref().is_some_and(|w| w.number == number && w.uses < MAX_USES);
        if !fits {
            self.current = Some(Window::fresh(&self.to, sender, rng, number)?);
        }
        let window = self.current.as_mut().ok_or(SealError::Cipher)?;
        window.uses += 1;
        Ok(window)
    }
}

impl Window {
    fn fresh(
        to: &CompartmentPublic,
        sender: &KeyPairSecret,
        rng: &dyn SecureRandom,
        number: i64,
    ) -> Result<Self, SealError> {
        let mut data_key = Zeroizing::new([0; 32]);
        rng.fill(data_key.as_mut()).map_err(|_| SealError::Randomness)?;
        let head = head(to.epoch, &sender.public());
        let sealed =
            raw_seal(&auth_mode(sender)?, &to.key, &info(to.compartment), &head, data_key.as_ref(), rng)?;
        let mut wrapped = Vec::with_capacity(WRAPPED_KEY_BYTES);
        wrapped.extend_from_slice(&head);
        wrapped.extend_from_slice(&sealed);
        let key = UnboundKey::new(&AES_256_GCM, data_key.as_ref()).map_err(|_| SealError::Cipher)?;
        Ok(Self { number, uses: 0, key: LessSafeKey::new(key), wrapped })
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer(sealed)")
    }
}
