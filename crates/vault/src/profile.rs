//! The enrolment profile behind an invitation link: built, signed, warranted for the link, and
//! sealed to the door, since it carries the SCEP challenge. Asking for it spends nothing.

use apple::cms;
use apple::profile::{EnrolmentProfile, Root};
use model::{EnrolmentId, KeyName, LinkHash};
use order::{AnswerClass, Refusal, SignedWarrant, Subject, Warrant, sha256};
use zeroize::Zeroizing;

use crate::chamber::Chamber;

impl Chamber {
    pub(crate) fn profile(&self, link: &LinkHash) -> Result<(SignedWarrant, Vec<u8>), Refusal> {
        let enrolment = self.state.links.get(link).ok_or(Refusal::InvitationNotOpen)?;
        let e = self.state.enrolments.get(enrolment).ok_or(Refusal::InvitationNotOpen)?;
        if e.withdrawn || self.now_ms >= e.expires_at_ms {
            return Err(Refusal::InvitationNotOpen);
        }
        let bytes = self.enrolment_profile(enrolment, &self.invitation_challenge(enrolment))?;
        let digest = sha256(&bytes);
        let warrant = Warrant {
            version: 1,
            subject: Subject::Link(*link),
            class: AnswerClass::EnrolmentProfile,
            status: 200,
            command: None,
            digest,
            expires_at_ms: e.expires_at_ms.min(self.now_ms + Warrant::LIFE_MS),
        };
        let sealed = self.seal_to_door(&digest, &bytes)?;
        Ok((SignedWarrant::sign(&warrant, &self.keys.warrant), sealed))
    }

    /// An enrolment's profile, signed. Its identifiers and whatever Apple freezes are the same each time,
    /// so that a phone takes a later one as an update of its own; only the challenge differs.
    pub(crate) fn enrolment_profile(
        &self,
        enrolment: &EnrolmentId,
        challenge: &str,
    ) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let derive = self.keys.payload_key();
        let base = self.config.base_url.trim_end_matches('/');
        let profile = EnrolmentProfile {
            organization: self.config.organization.clone(),
            display_name: format!("{} phone management", self.config.organization),
            description: "Lets your organisation manage this phone with Matron.".into(),
            roots: vec![Root {
                certificate_der: self.keys.file.ca_certificate.clone(),
                display_name: "Matron CA".into(),
                uuid: derive.payload_uuid(enrolment, "root"),
            }],
            scep_url: format!("{base}/scep"),
            scep_challenge: challenge.to_owned(),
            common_name: enrolment.to_string(),
            ca_fingerprint: Some(sha256(&self.keys.file.ca_certificate).0.to_vec()),
            server_url: format!("{base}/mdm"),
            topic: self.config.topic.clone(),
            sign_message: self.config.sign_messages,
            profile_uuid: derive.payload_uuid(enrolment, "profile"),
            scep_uuid: derive.payload_uuid(enrolment, "scep"),
            mdm_uuid: derive.payload_uuid(enrolment, "mdm"),
        };
        let plain = Zeroizing::new(profile.build().map_err(|e| {
            tracing::error!(reason = %e, "the configuration makes no valid enrolment profile");
            Refusal::BadProfile
        })?);
        if self.config.unsigned_profiles {
            return Ok(plain);
        }
        let first = self.state.enrolments.get(enrolment).and_then(|e| e.first_ca_epoch);
        let chain =
            self.keys.profile_chain(first.unwrap_or_else(|| self.state.rotations.made_in(KeyName::Ca)));
        let signed = cms::sign_attached(&plain, &self.keys.profile_signer, &chain, self.now_ms);
        Ok(Zeroizing::new(signed.map_err(|e| {
            tracing::error!(reason = %e, "the enrolment profile could not be signed");
            Refusal::BadProfile
        })?))
    }
}
