//! Certificates for phones: the challenge is spent on one key, and the certificate says nothing of
//! the person.

use apple::csr;
use apple::x509::{self, Window, X509Error};
use aws_lc_rs::rand::SecureRandom;
use ledger::{Body, Opaque, RefusalCode};
use model::{EnrolmentId, TimeMs, clock::DAY_MS};
use order::{Refusal, sha256};
use rpc::alarm::AlarmKind;
use seal::to;

use crate::Error;
use crate::chamber::Chamber;
use crate::derive::DeriveKey;

/// The most refusals of one invitation that are written down.
const MOST_REFUSALS_WRITTEN: u8 = 16;

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
        let Some((enrolment, number)) = self.challenged(challenge) else {
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
        let open = match number {
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

    /// The enrolment that a challenge of ours belongs to, and how many certificates it had when the
    /// challenge was made: none for an invitation's.
    fn challenged(&self, challenge: &str) -> Option<(EnrolmentId, u32)> {
        if let Some(enrolment) = self.keys.file.derive_key.read_challenge(challenge) {
            return Some((enrolment, 0));
        }
        let (enrolment, number) = DeriveKey::named_in_renewal(challenge)?;
        let renewal = self.state.enrolments.get(&enrolment)?.renewal.filter(|r| r.number == number)?;
        let right = self.keys.file.derive_key.renewal_challenge(&renewal.standing, &enrolment, number);
        (number > 0 && DeriveKey::same(&right, challenge)).then_some((enrolment, number))
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
