//! Certificates for phones: the challenge is spent on one key, and the certificate says nothing of
//! the person.

use apple::csr;
use apple::x509::{self, Window};
use ledger::{Body, Opaque, RefusalCode};
use model::{EnrolmentId, TimeMs, clock::DAY_MS};
use order::{Refusal, sha256};
use seal::to;

use crate::chamber::Chamber;

/// A phone's certificate lives two years; renewal is a later release's.
const CERTIFICATE_LIFE_MS: TimeMs = 2 * 365 * DAY_MS;

/// The most refusals of one invitation that are written down.
const MOST_REFUSALS_WRITTEN: u8 = 16;

impl Chamber {
    /// Issues, or gives again, the certificate for what the reader opened and sealed.
    pub(crate) fn issue(&mut self, sealed: &[u8]) -> Result<(EnrolmentId, Vec<u8>), Refusal> {
        let plain =
            to::open_auth(&self.keys.file.order_key, &self.keys.file.reader_key, to::INFO_SCEP, b"", sealed)
                .map_err(|_| Refusal::CannotOpen)?;
        let request = apple::scep::SealedRequest::from_bytes(&plain).ok_or(Refusal::BadCertificateRequest)?;
        let csr = csr::parse_with(&request.csr, self.config.admitted()).map_err(|e| {
            tracing::warn!(reason = %e, "a certificate request was refused");
            Refusal::BadCertificateRequest
        })?;
        // The CSR's own challenge counts: the reader's word for it would be one more thing to trust.
        let challenge = csr.challenge.as_ref().map(|c| c.as_str()).unwrap_or_default();
        let Some(enrolment) = self.keys.file.derive_key.read_challenge(challenge) else {
            return Err(self.refuse_certificate(None, Refusal::InvitationNotOpen));
        };
        let key_digest = sha256(&csr.spki_der);
        let Some(e) = self.state.enrolments.get(&enrolment) else {
            return Err(self.refuse_certificate(None, Refusal::InvitationNotOpen));
        };
        match &e.issued {
            // A lost reply: the same key gets the same certificate.
            Some((key, certificate)) if *key == key_digest => return Ok((enrolment, certificate.clone())),
            Some(_) => {
                tracing::warn!(enrolment = %enrolment, "alarm: a challenge came again with another key");
                return Err(self.refuse_certificate(Some(enrolment), Refusal::ChallengeReused));
            }
            None => {}
        }
        if e.withdrawn || self.now_ms >= e.expires_at_ms {
            return Err(self.refuse_certificate(Some(enrolment), Refusal::InvitationNotOpen));
        }
        let serial = self.keys.file.derive_key.serial(&enrolment, key_digest.as_bytes());
        let window =
            Window { not_before_ms: self.now_ms - DAY_MS, not_after_ms: self.now_ms + CERTIFICATE_LIFE_MS };
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
            Refusal::BadCertificateRequest
        })?;
        self.record(Body::CertificateIssued {
            enrolment,
            key_digest,
            certificate: Opaque(certificate.clone()),
        });
        Ok((enrolment, certificate))
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
