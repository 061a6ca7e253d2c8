//! The door's own TLS certificate, where the house makes it: issued anew in time.
//!
//! Who asks is core, and nobody needs to be believed: the vault certifies the door's key, which it knows, for the names that
//! it has certified before, for a new while. So core can gain no certificate for a key of
//! its own, and at most withhold the door's.

use apple::x509::{self, Certificate, Window};
use ledger::{Body, Opaque};
use model::{TimeMs, clock::DAY_MS};
use order::{Refusal, sha256};

use crate::chamber::Chamber;

/// Apple accepts a TLS certificate of a user-added CA for 825 days at most.
pub(crate) const TLS_LIFE_MS: TimeMs = 820 * DAY_MS;
/// The certificate is due once so much is left of it.
pub(crate) const TLS_RENEW_BEFORE_MS: TimeMs = TLS_LIFE_MS / 3;

impl Chamber {
    /// The door's certificate anew, if `current` is one of ours and due.
    pub(crate) fn renew_server(&mut self, current: &[u8]) -> Result<Vec<u8>, Refusal> {
        let ca = Certificate::parse(&self.keys.file.ca_certificate).map_err(|_| Refusal::CannotOpen)?;
        let old = Certificate::parse(current).map_err(|_| Refusal::BadCertificateRequest)?;
        // The names alone are taken from it where the vault knows the door's key: a former CA's key was perhaps stolen.
        let known = self.keys.file.tls_spki.clone();
        let of_newest = old.is_issued_by(&ca);
        let ours = of_newest || (known.is_some() && self.keys.is_of_house(&old));
        let names = old.server_names().filter(|_| ours).ok_or(Refusal::BadCertificateRequest)?;
        let spki = known.unwrap_or_else(|| old.spki_der().to_vec());
        // One of an older CA, or for an older key, is due at once.
        let stands = of_newest && old.spki_der() == spki;
        if stands && self.now_ms < old.not_after_ms() - TLS_RENEW_BEFORE_MS {
            return Err(Refusal::CertificateNotDue);
        }
        let window = Window {
            not_before_ms: self.now_ms - DAY_MS,
            not_after_ms: (self.now_ms + TLS_LIFE_MS).min(ca.not_after_ms()),
        };
        let asked_for = sha256(current);
        // The same question again gets the same certificate, for as long as it was the last one and nothing was made anew.
        if let Some((of, made)) = &self.server_renewed
            && *of == asked_for
            && Certificate::parse(made).is_ok_and(|c| c.spki_der() == spki && c.is_signed_by(ca.spki_der()))
        {
            return Ok(made.clone());
        }
        let serial = self.serial()?;
        let ca_der = &self.keys.file.ca_certificate;
        let made = x509::server_certificate(ca_der, self.keys.ca.as_ref(), &spki, &names, serial, window);
        let made = made.map_err(|e| {
            tracing::warn!(reason = %e, "the door's certificate could not be issued anew");
            self.not_issued(&e)
        })?;
        self.record(Body::ServerCertificateIssued { certificate: Opaque(made.clone()) });
        self.server_renewed = Some((asked_for, made.clone()));
        tracing::info!(tls.not_after_ms = window.not_after_ms, "the door's certificate was issued anew");
        Ok(made)
    }
}
