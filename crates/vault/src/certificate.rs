//! Certificates for phones: the challenge is spent on one key, and the certificate says nothing of
//! the person.

use apple::csr;
use apple::x509::{self, Window, X509Error};
use aws_lc_rs::rand::SecureRandom;
use ledger::{Body, Opaque, RefusalCode};
use model::{EnrolmentId, KeyName, TimeMs, clock::DAY_MS};
use order::{Refusal, sha256};
use rpc::alarm::AlarmKind;
use seal::to;
use zeroize::Zeroizing;

use crate::Error;
use crate::chamber::Chamber;
use crate::derive::DeriveKey;

/// The most refusals of one invitation that are written down.
const MOST_REFUSALS_WRITTEN: u8 = 16;

/// What a challenge is for.
struct Challenged {
    enrolment: EnrolmentId,
    /// How many certificates the enrolment had when it was made: none for an invitation's.
    number: u32,
    /// The profile that it stands in anchors the newest CA: one of before would leave a phone that does not know who
    /// issued its certificate.
    of_newest_ca: bool,
}

impl Chamber {
    /// Issues, or gives again, the certificate for what the reader opened and sealed.
    pub(crate) fn issue(&mut self, sealed: &[u8]) -> Result<(EnrolmentId, Vec<u8>), Refusal> {
        let plain = self.keys.open_from_reader(to::INFO_SCEP, sealed).map_err(|_| Refusal::CannotOpen)?;
        let request = apple::scep::SealedRequest::from_bytes(&plain).ok_or(Refusal::BadCertificateRequest)?;
        let csr = csr::parse_with(&request.csr, self.config.admitted()).map_err(|e| {
            tracing::warn!(reason = %e, "a certificate request was refused");
            Refusal::BadCertificateRequest
        })?;
        // The CSR's own challenge counts: the reader's word for it would be one more thing to trust.
        let challenge = csr.challenge.as_ref().map(|c| c.as_str()).unwrap_or_default();
        let Some(Challenged { enrolment, number, of_newest_ca }) = self.challenged(challenge) else {
            return Err(self.refuse_certificate(None, Refusal::InvitationNotOpen));
        };
        let key_digest = sha256(&csr.spki_der);
        let Some(e) = self.state.enrolments.get(&enrolment) else {
            return Err(self.refuse_certificate(None, Refusal::InvitationNotOpen));
        };
        if e.certificates > number {
            return match &e.issued {
                // A lost reply: the same key gets the same certificate.
                Some(i) if i.key_digest == key_digest && e.certificates == number + 1 => {
                    Ok((enrolment, i.certificate.clone()))
                }
                _ => {
                    self.alarm(AlarmKind::ChallengeReused).enrolment = Some(enrolment);
                    Err(self.refuse_certificate(Some(enrolment), Refusal::ChallengeReused))
                }
            };
        }
        if !of_newest_ca {
            tracing::warn!(
                enrolment = %enrolment,
                "a profile from before the CA changed asks for a certificate: the phone is to open its link again"
            );
        }
        let open = of_newest_ca
            && match number {
                0 => !e.withdrawn && self.now_ms < e.expires_at_ms,
                _ => e.renewal.is_some_and(|r| self.renewal_stands(&r)),
            };
        if !open {
            return Err(self.refuse_certificate(Some(enrolment), Refusal::InvitationNotOpen));
        }
        let serial = self.serial()?;
        let life_ms = TimeMs::from(self.config.certificate_days) * DAY_MS;
        let window = Window { not_before_ms: self.now_ms - DAY_MS, not_after_ms: self.now_ms + life_ms };
        let certificate = x509::device_certificate(
            &self.keys.file.ca_certificate,
            self.keys.ca.as_ref(),
            &csr.spki_der,
            &enrolment,
            serial,
            window,
        )
        .map_err(|e| {
            tracing::warn!(reason = %e, "a certificate could not be issued");
            self.not_issued(&e)
        })?;
        self.record(Body::CertificateIssued {
            enrolment,
            key_digest,
            certificate: Opaque(certificate.clone()),
        });
        Ok((enrolment, certificate))
    }

    /// The request's fault; or the CA's key did not sign, since its token is gone: then the room ends.
    pub(crate) fn not_issued(&mut self, e: &X509Error) -> Refusal {
        if !matches!(e, X509Error::Signing) {
            return Refusal::BadCertificateRequest;
        }
        self.stop(Error::Making(e.to_string()));
        Refusal::LedgerUnavailable
    }

    /// A certificate's serial number: random, so that no two certificates have one, also when a restore took the
    /// house back to before one of them was issued.
    pub(crate) fn serial(&self) -> Result<[u8; 16], Refusal> {
        let mut serial = [0; 16];
        self.rng.fill(&mut serial).map_err(|_| Refusal::LedgerUnavailable)?;
        Ok(serial)
    }

    /// The challenge in the profile behind an invitation's link.
    pub(crate) fn invitation_challenge(&self, enrolment: &EnrolmentId) -> Zeroizing<String> {
        self.keys.file.derive_key.challenge(enrolment, self.state.rotations.made_in(KeyName::Ca))
    }

    /// What a challenge of ours is for.
    fn challenged(&self, challenge: &str) -> Option<Challenged> {
        let newest = self.state.rotations.made_in(KeyName::Ca);
        if let Some((enrolment, ca_epoch)) = self.keys.file.derive_key.read_challenge(challenge, newest) {
            return Some(Challenged { enrolment, number: 0, of_newest_ca: ca_epoch == newest });
        }
        let (enrolment, number) = DeriveKey::named_in_renewal(challenge)?;
        let renewal = self.state.enrolments.get(&enrolment)?.renewal.filter(|r| r.number == number)?;
        let right = self.keys.file.derive_key.renewal_challenge(&renewal.standing, &enrolment, number);
        let right = number > 0 && DeriveKey::same(&right, challenge);
        right.then_some(Challenged { enrolment, number, of_newest_ca: true })
    }

    /// Refusals that name an invitation of ours are written; a stranger's guess is only counted.
    fn refuse_certificate(&mut self, enrolment: Option<EnrolmentId>, refusal: Refusal) -> Refusal {
        // Whoever has a link could ask for ever: the first refusals of an invitation tell enough.
        let written = enrolment.and_then(|e| self.state.enrolments.get(&e)).map_or(0, |e| e.refused_requests);
        if enrolment.is_some() && written < MOST_REFUSALS_WRITTEN {
            self.record(Body::CertificateRefused { enrolment, reason: RefusalCode(refusal.number()) });
        }
        refusal
    }
}
