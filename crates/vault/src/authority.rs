//! The CA, and the one after it. A new one is made beside the one before, which certifies the new one's key and then signs
//! nothing more: its key is destroyed with the same write (on a token it stays, unused). Its certificates count until no phone
//! uses one any more, or until an order ends it.

use apple::x509::{self, Certificate, RsaSigner, Signer, Window};
use aws_lc_rs::rand::SystemRandom;
use ledger::{Effect, Opaque};
use model::{KeyName, TimeMs, clock::DAY_MS};
use order::{Authority, Order, Refusal};
use rpc::hsm::of_this_process;
use zeroize::Zeroize;

use crate::Error;
use crate::chamber::Chamber;
use crate::keys::{Keys, OlderCa, random};
use crate::on_token::CaOnToken;
use crate::rotation::Rotations;
use crate::standing::ASKED_ANEW_AFTER_MS;
use crate::state::{Enrolment, State};
use crate::submit::Consequence;

/// The CA lives 20 years; a phone's certificate is renewed long before it would outlive it.
pub(crate) const CA_LIFE_MS: TimeMs = 20 * 365 * DAY_MS;
/// Every CA of every house has this name: which one signed is told by the key.
pub(crate) const CA_NAME: &str = "Matron CA";

impl Keys {
    /// A CA beside the one that is there. The RA's certificate is made anew under it; the profiles' signer gets one more, for
    /// phones that are new.
    pub(crate) fn make_ca_anew(
        &mut self,
        epoch: u32,
        at_ms: TimeMs,
        rng: &SystemRandom,
    ) -> Result<(), Error> {
        let (ca, pkcs8, on_token): (Box<dyn Signer>, Vec<u8>, Option<u32>) = match of_this_process() {
            Some(hsm) => (Box::new(CaOnToken::later(hsm, epoch, true)?), Vec::new(), Some(epoch)),
            None => {
                let ca = RsaSigner::generate_for_ca()?;
                let pkcs8 = ca.to_pkcs8()?.to_vec();
                (Box::new(ca), pkcs8, None)
            }
        };
        let file = &mut self.file;
        let window = Window { not_before_ms: at_ms - DAY_MS, not_after_ms: at_ms + CA_LIFE_MS };
        let certificate = x509::ca_certificate(ca.as_ref(), CA_NAME, random(rng)?, window)?;
        let (before, spki) = (&file.ca_certificate, ca.spki_der());
        let until = Window { not_after_ms: Certificate::parse(before)?.not_after_ms(), ..window };
        // One that has ended, or is about to, leads nowhere any more, and neither do those before it.
        let successor = match until.not_after_ms > at_ms + DAY_MS {
            true => Some(x509::successor_certificate(before, self.ca.as_ref(), spki, random(rng)?, until)?),
            false => None,
        };
        let under = Window { not_after_ms: window.not_after_ms - DAY_MS, ..window };
        let ra_spki = Certificate::parse(&file.ra_certificate)?.spki_der().to_vec();
        file.ra_certificate = x509::ra_certificate(&certificate, ca.as_ref(), &ra_spki, random(rng)?, under)?;
        let signer = self.profile_signer.spki_der();
        let signer =
            x509::profile_signer_certificate(&certificate, ca.as_ref(), signer, random(rng)?, under)?;
        let signer = (epoch, Opaque(signer), Opaque(certificate.clone()));
        file.later_profile_signers.get_or_insert_default().push(signer);
        let before = std::mem::replace(&mut file.ca_certificate, certificate);
        file.former_cas.get_or_insert_default().push(Opaque(before.clone()));
        match successor {
            Some(successor) => {
                let older = OlderCa { until: epoch, certificate: before, successor };
                file.older_cas.get_or_insert_default().push(older);
            }
            None => file.older_cas = None,
        }
        file.ca_pkcs8.zeroize();
        file.ca_pkcs8 = pkcs8;
        file.ca_on_token = on_token;
        self.ca = ca;
        Ok(())
    }

    /// The certificates of the CAs that count, the newest first.
    pub(crate) fn ca_certificates(&self) -> Vec<Vec<u8>> {
        let older = self.file.older_cas.iter().flatten().rev().map(|ca| ca.certificate.clone());
        std::iter::once(self.file.ca_certificate.clone()).chain(older).collect()
    }

    /// Whether the newest CA, or one before it, made this certificate.
    pub(crate) fn is_of_house(&self, certificate: &Certificate<'_>) -> bool {
        let former = self.file.former_cas.iter().flatten().map(|ca| ca.0.as_slice());
        let made = |ca: &[u8]| Certificate::parse(ca).is_ok_and(|ca| certificate.is_issued_by(&ca));
        std::iter::once(self.file.ca_certificate.as_slice()).chain(former).any(made)
    }

    /// The CAs that count, as the statement has them, once there was another than the installation's.
    pub(crate) fn authorities(&self, said: &Rotations) -> Option<Vec<Authority>> {
        if said.made_in(KeyName::Ca) <= 1 && self.file.older_cas.is_none() {
            return None;
        }
        let newest = Authority { certificate: self.file.ca_certificate.clone(), successor: None };
        let older = self.file.older_cas.iter().flatten().rev().map(|ca| Authority {
            certificate: ca.certificate.clone(),
            successor: Some(ca.successor.clone()),
        });
        Some(std::iter::once(newest).chain(older).collect())
    }

    /// The chain of who signs the profiles of a phone whose first certificate was of this CA's epoch: the same for all its
    /// life, since a phone takes a profile for a newer one of its own by who signed it.
    pub(crate) fn profile_chain(&self, ca_epoch: u32) -> [&[u8]; 2] {
        let mut later = self.file.later_profile_signers.iter().flatten().rev();
        if let Some((_, signer, ca)) = later.find(|(since, ..)| *since <= ca_epoch) {
            return [&signer.0, &ca.0];
        }
        let first = self.file.former_cas.iter().flatten().next().map(|ca| &ca.0);
        [&self.file.profile_signer_certificate, first.unwrap_or(&self.file.ca_certificate)]
    }
}

impl Enrolment {
    /// Whether the phone is to have another certificate since it uses one of an older CA, and may be asked now.
    pub(crate) fn is_to_change_ca(&self, newest_epoch: u32, now_ms: TimeMs) -> bool {
        let (Some(issued), Some(of_ca)) = (&self.issued, self.used_ca_epoch) else { return false };
        if of_ca >= newest_epoch {
            return false;
        }
        // One of the newest CA was perhaps given and never taken into use.
        issued.ca_epoch < newest_epoch || now_ms >= issued.at_ms + ASKED_ANEW_AFTER_MS
    }
}

impl State {
    /// Phones under management that use a certificate of an older CA.
    pub(crate) fn phones_of_older_ca(&self, now_ms: TimeMs) -> u64 {
        let newest = self.rotations.made_in(KeyName::Ca);
        if newest <= 1 {
            return 0;
        }
        let old = |e: &&Enrolment| {
            e.is_under_management(now_ms) && e.used_ca_epoch.is_some_and(|epoch| epoch < newest)
        };
        self.enrolments.values().filter(old).count() as u64
    }
}

impl Chamber {
    /// What ends the CAs before that epoch's at once.
    pub(crate) fn end_older_ca(&self, order: &Order, before: u32) -> Result<Consequence, Refusal> {
        if !order.targets.is_empty() {
            return Err(Refusal::BadArgument);
        }
        let old = self.state.rotations.old(KeyName::Ca).ok_or(Refusal::NoOlderCa)?;
        if old.before != before {
            return Err(Refusal::AnotherCaSince);
        }
        Ok(Consequence::of(Effect::OlderCaEnded { before, epoch: self.next_epoch() }))
    }
}
