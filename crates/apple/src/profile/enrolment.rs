//! The profile that enrols a phone: roots to trust, a SCEP identity, and the management itself.

use super::{find_text, payloads_of, read_outer};
use crate::{Malformed, ProfileError, plist_guard};
use plist::{Dictionary, Value};

/// The enrolment profile's `PayloadIdentifier`; its payloads' begin with it. A profile that an
/// administrator installs may not use it: it would replace management (see `harm`).
pub const ENROLMENT_IDENTIFIER: &str = "matron.enrolment";

/// `AccessRights`: all thirteen.
const ALL_RIGHTS: i64 = 8191;
const MAX_TEXT_CHARS: usize = 200;
const MAX_URL_BYTES: usize = 2048;

/// A root certificate that the phone shall trust (`com.apple.security.root`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// The certificate, DER.
    pub certificate_der: Vec<u8>,
    /// What people see, such as `Matron CA`.
    pub display_name: String,
    /// The payload's UUID.
    pub uuid: [u8; 16],
}

/// All that an enrolment profile says. It names no person: the challenge alone tells invitations apart.
#[derive(Clone, PartialEq, Eq)]
pub struct EnrolmentProfile {
    /// `PayloadOrganization`, shown on the phone.
    pub organization: String,
    /// `PayloadDisplayName`, shown on the phone.
    pub display_name: String,
    /// `PayloadDescription`, shown on the phone.
    pub description: String,
    /// Certificates to trust: the CA, and the TLS certificate's issuer if it is another. One to eight.
    pub roots: Vec<Root>,
    /// The SCEP URL, `https://…`.
    pub scep_url: String,
    /// The SCEP challenge: the invitation's secret.
    pub scep_challenge: String,
    /// The certificate's common name: the enrolment id, which says nothing of the person.
    pub common_name: String,
    /// SHA-256 (32 bytes) or, for phones that know no other, SHA-1 (20 bytes) of the CA's certificate.
    pub ca_fingerprint: Option<Vec<u8>>,
    /// Where the phone reports: `ServerURL`, `https://…`. `CheckInURL` is left out, so check-ins go there too.
    pub server_url: String,
    /// The push topic, `com.apple.mgmt.…`.
    pub topic: String,
    /// `SignMessage`: ask for `Mdm-Signature`, for a load balancer that ends TLS.
    pub sign_message: bool,
    /// The profile's own UUID.
    pub profile_uuid: [u8; 16],
    /// The SCEP payload's UUID, to which `IdentityCertificateUUID` points.
    pub scep_uuid: [u8; 16],
    /// The management payload's UUID.
    pub mdm_uuid: [u8; 16],
}

impl std::fmt::Debug for EnrolmentProfile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EnrolmentProfile(sealed)")
    }
}

/// A UUID as Apple writes it: upper case, with hyphens.
#[must_use]
pub fn format_uuid(uuid: [u8; 16]) -> String {
    model::CommandId(uuid).to_string()
}

impl EnrolmentProfile {
    /// The profile as an XML property list, unsigned; the same arguments give the same bytes.
    ///
    /// # Errors
    /// [`ProfileError`] when the operator's configuration makes no profile that a phone would take.
    pub fn build(&self) -> Result<Vec<u8>, ProfileError> {
        self.check()?;
        let mut content = Vec::new();
        for (i, root) in self.roots.iter().enumerate() {
            let mut payload = self.payload(
                "com.apple.security.root",
                &format!("{ENROLMENT_IDENTIFIER}.root.{i}"),
                root.uuid,
                &root.display_name,
            );
            payload.insert("PayloadContent".into(), Value::Data(root.certificate_der.clone()));
            content.push(Value::Dictionary(payload));
        }
        content.push(Value::Dictionary(self.scep()));
        content.push(Value::Dictionary(self.mdm()));
        let mut profile =
            self.payload("Configuration", ENROLMENT_IDENTIFIER, self.profile_uuid, &self.display_name);
        profile.insert("PayloadDescription".into(), self.description.as_str().into());
        profile.insert("PayloadContent".into(), Value::Array(content));
        plist_guard::write(&Value::Dictionary(profile)).ok_or(ProfileError::Unwritable)
    }

    fn payload(&self, kind: &str, identifier: &str, uuid: [u8; 16], display_name: &str) -> Dictionary {
        let mut payload = Dictionary::new();
        payload.insert("PayloadType".into(), kind.into());
        payload.insert("PayloadVersion".into(), 1i64.into());
        payload.insert("PayloadIdentifier".into(), identifier.into());
        payload.insert("PayloadUUID".into(), format_uuid(uuid).into());
        payload.insert("PayloadDisplayName".into(), display_name.into());
        payload.insert("PayloadOrganization".into(), self.organization.as_str().into());
        payload
    }

    fn scep(&self) -> Dictionary {
        let pair = Value::Array(vec!["CN".into(), self.common_name.as_str().into()]);
        let mut content = Dictionary::new();
        content.insert("URL".into(), self.scep_url.as_str().into());
        content.insert("Subject".into(), Value::Array(vec![Value::Array(vec![pair])]));
        content.insert("Challenge".into(), self.scep_challenge.as_str().into());
        // Apple's default is 1024.
        content.insert("Keysize".into(), 2048i64.into());
        content.insert("Key Type".into(), "RSA".into());
        // Signing and encryption.
        content.insert("Key Usage".into(), 5i64.into());
        if let Some(fingerprint) = &self.ca_fingerprint {
            content.insert("CAFingerprint".into(), Value::Data(fingerprint.clone()));
        }
        content.insert("Retries".into(), 3i64.into());
        content.insert("RetryDelay".into(), 10i64.into());
        let identifier = format!("{ENROLMENT_IDENTIFIER}.scep");
        let mut payload =
            self.payload("com.apple.security.scep", &identifier, self.scep_uuid, "Device identity");
        payload.insert("PayloadContent".into(), Value::Dictionary(content));
        payload
    }

    fn mdm(&self) -> Dictionary {
        let identifier = format!("{ENROLMENT_IDENTIFIER}.mdm");
        let mut payload = self.payload("com.apple.mdm", &identifier, self.mdm_uuid, "Device management");
        payload.insert("IdentityCertificateUUID".into(), format_uuid(self.scep_uuid).into());
        payload.insert("Topic".into(), self.topic.as_str().into());
        payload.insert("ServerURL".into(), self.server_url.as_str().into());
        payload.insert("SignMessage".into(), self.sign_message.into());
        payload.insert("AccessRights".into(), ALL_RIGHTS.into());
        payload.insert("CheckOutWhenRemoved".into(), true.into());
        let capabilities =
            ["com.apple.mdm.per-user-connections", "com.apple.mdm.bootstraptoken", "com.apple.mdm.token"];
        payload.insert(
            "ServerCapabilities".into(),
            Value::Array(capabilities.into_iter().map(Value::from).collect()),
        );
        payload
    }

    fn check(&self) -> Result<(), ProfileError> {
        check_url("the SCEP URL", &self.scep_url)?;
        check_url("the server URL", &self.server_url)?;
        if !self.topic.starts_with("com.apple.mgmt.") || !is_line(&self.topic) {
            return Err(ProfileError::BadTopic);
        }
        let mut texts = vec![
            ("the organization", &self.organization),
            ("the display name", &self.display_name),
            ("the description", &self.description),
            ("the SCEP challenge", &self.scep_challenge),
            ("the common name", &self.common_name),
        ];
        texts.extend(self.roots.iter().map(|r| ("a root's display name", &r.display_name)));
        if let Some((what, _)) = texts.into_iter().find(|(_, text)| !is_line(text)) {
            return Err(ProfileError::BadText(what));
        }
        if self.ca_fingerprint.as_ref().is_some_and(|f| !matches!(f.len(), 20 | 32)) {
            return Err(ProfileError::BadFingerprint);
        }
        let empty_root = self.roots.iter().any(|r| r.certificate_der.is_empty());
        if !(1..=8).contains(&self.roots.len()) || empty_root {
            return Err(ProfileError::BadRoots);
        }
        let mut uuids: Vec<[u8; 16]> = self.roots.iter().map(|r| r.uuid).collect();
        uuids.extend([self.profile_uuid, self.scep_uuid, self.mdm_uuid]);
        uuids.sort_unstable();
        let twice = uuids.windows(2).any(|w| matches!(w, [a, b] if a == b));
        if twice { Err(ProfileError::EqualUuids) } else { Ok(()) }
    }
}

fn check_url(what: &'static str, url: &str) -> Result<(), ProfileError> {
    let host = url.strip_prefix("https://").ok_or(ProfileError::NotHttps(what))?;
    let fits = !host.is_empty() && url.len() <= MAX_URL_BYTES;
    let plain = url.bytes().all(|b| b.is_ascii_graphic());
    if fits && plain { Ok(()) } else { Err(ProfileError::BadText(what)) }
}

fn is_line(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= MAX_TEXT_CHARS && !text.contains(|c: char| c.is_control())
}

/// What a phone takes from an enrolment profile.
#[derive(Clone, PartialEq, Eq)]
pub struct ReadEnrolment {
    /// The SCEP URL.
    pub scep_url: String,
    /// The SCEP challenge.
    pub scep_challenge: String,
    /// The common name that the certificate request shall carry.
    pub common_name: Option<String>,
    /// RSA key size in bits.
    pub key_size_bits: u32,
    /// The CA certificate's fingerprint.
    pub ca_fingerprint: Option<Vec<u8>>,
    /// `ServerURL`.
    pub server_url: String,
    /// `CheckInURL`, or else `ServerURL`.
    pub check_in_url: String,
    /// The push topic.
    pub topic: String,
    /// `SignMessage`.
    pub sign_message: bool,
    /// The roots to trust, DER.
    pub roots_der: Vec<Vec<u8>>,
}

impl std::fmt::Debug for ReadEnrolment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReadEnrolment(sealed)")
    }
}

/// Reads an enrolment profile (unsigned, or unwrapped) as a phone does.
///
/// # Errors
/// [`Malformed`]: not a profile, or one without a SCEP and a management payload that fit together.
pub fn parse(bytes: &[u8]) -> Result<ReadEnrolment, Malformed> {
    let outer = read_outer(bytes)?;
    let (mut scep, mut mdm, mut roots_der) = (None, None, Vec::new());
    for payload in payloads_of(&outer)? {
        match payload.get("PayloadType").and_then(Value::as_string) {
            Some("com.apple.security.scep") => scep = Some(payload),
            Some("com.apple.mdm") => mdm = Some(payload),
            Some("com.apple.security.root" | "com.apple.security.pem") => {
                let der = payload.get("PayloadContent").and_then(Value::as_data);
                roots_der.push(der.ok_or(Malformed::MissingKey("PayloadContent"))?.to_vec());
            }
            _ => {}
        }
    }
    let scep = scep.ok_or(Malformed::MissingKey("com.apple.security.scep"))?;
    let mdm = mdm.ok_or(Malformed::MissingKey("com.apple.mdm"))?;
    if text(mdm, "IdentityCertificateUUID")? != text(scep, "PayloadUUID")? {
        return Err(Malformed::WrongType("IdentityCertificateUUID"));
    }
    let content = scep.get("PayloadContent").and_then(Value::as_dictionary);
    let content = content.ok_or(Malformed::MissingKey("PayloadContent"))?;
    let key_size_bits = match content.get("Keysize") {
        None => 1024,
        Some(size) => size
            .as_unsigned_integer()
            .and_then(|n| u32::try_from(n).ok())
            .ok_or(Malformed::WrongType("Keysize"))?,
    };
    let server_url = text(mdm, "ServerURL")?;
    Ok(ReadEnrolment {
        scep_url: text(content, "URL")?,
        scep_challenge: find_text(content, "Challenge")?.unwrap_or_default(),
        common_name: content.get("Subject").and_then(common_name),
        key_size_bits,
        ca_fingerprint: content.get("CAFingerprint").and_then(Value::as_data).map(<[u8]>::to_vec),
        check_in_url: find_text(mdm, "CheckInURL")?.unwrap_or_else(|| server_url.clone()),
        server_url,
        topic: text(mdm, "Topic")?,
        sign_message: mdm.get("SignMessage").and_then(Value::as_boolean).unwrap_or(false),
        roots_der,
    })
}

fn text(of: &Dictionary, key: &'static str) -> Result<String, Malformed> {
    find_text(of, key)?.ok_or(Malformed::MissingKey(key))
}

/// `[[["CN", …]]]`.
fn common_name(subject: &Value) -> Option<String> {
    subject.as_array()?.iter().filter_map(Value::as_array).flatten().find_map(|pair| {
        match pair.as_array()?.as_slice() {
            [Value::String(kind), Value::String(value)] if kind == "CN" => Some(value.clone()),
            _ => None,
        }
    })
}
