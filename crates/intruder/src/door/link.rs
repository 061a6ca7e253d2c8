//! An invitation's link passes through the door in the clear: whoever holds the door has what the link has.

use apple::scep::ContentCipher;
use apple::scep::client::{Request, open_ca_cert, pkcs_req};
use apple::x509::{Certificate, RsaSigner, Signer, SystemRandom, Window, self_signed_request_certificate};
use model::clock::{DAY_MS, MINUTE_MS};
use model::{Clock, SystemClock};
use rpc::proto::core_reply::Answer;
use rpc::proto::{ScepOperation, ScepQuery, core_request, read_reply, read_request};

use super::{Inside, random};
use crate::tell;

impl Inside {
    async fn scep(&self, operation: ScepOperation, message: Vec<u8>) -> Option<read_reply::What> {
        let query = ScepQuery { operation: operation.into(), message };
        self.ask_reader_whole(&[], read_request::What::Scep(query)).await
    }

    /// Gets a certificate for a key of the intruder's by this profile's challenge.
    pub(super) async fn spend(&self, profile: &[u8]) -> Option<()> {
        let unwrapped = apple::cms::unwrap_signed(profile).ok();
        let read = apple::profile::parse(unwrapped.as_deref().unwrap_or(profile)).ok()?;
        let Some(read_reply::What::ScepBody(answer)) = self.scep(ScepOperation::CaCert, vec![]).await else {
            return None;
        };
        let certificates = open_ca_cert(&answer.body).ok()?;
        let ra = certificates.iter().find(|c| Certificate::parse(c).is_ok_and(|c| !c.is_ca()))?;
        let key = RsaSigner::generate().ok()?;
        let now_ms = SystemClock.now_ms();
        let name = read.common_name.unwrap_or_default();
        let window = Window { not_before_ms: now_ms - MINUTE_MS, not_after_ms: now_ms + DAY_MS };
        let own = self_signed_request_certificate(&key, &name, random(), window).ok()?;
        let csr = apple::csr::build(&key as &dyn Signer, &name, Some(&read.scep_challenge)).ok()?;
        let request = Request {
            signer: &key,
            signer_cert: &own,
            csr_der: &csr,
            ra_cert: ra,
            transaction_id: "intruder",
            sender_nonce: random(),
            cipher: ContentCipher::Aes256,
        };
        let message = pkcs_req(&request, &SystemRandom).ok()?;
        let Some(read_reply::What::ScepOpened(opened)) = self.scep(ScepOperation::PkiPost, message).await
        else {
            return None;
        };
        let answer = self.ask_core(&[], core_request::What::Scep(opened.sealed.into())).await;
        let issued = match answer {
            Some(Answer::ScepIssued(certificate)) => certificate,
            _ => {
                tell::attempt("take the certificate that a passing link is for", false, "the vault");
                return None;
            }
        };
        tell::attempt("take the certificate that a passing link is for", true, "nobody");
        tell::minted(Certificate::parse(&issued).ok()?.common_name()?);
        Some(())
    }
}
