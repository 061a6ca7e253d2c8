//! Is it mild, or does it count as erasure? Judged by content, by a list of what is known to be mild.
//!
//! A list of dangerous things is never complete, so there is none: **whatever is not listed as mild, type
//! by type, key by key, value by value, is [`Harm::Erasing`]** and comes under erasure's limits and
//! signers. The list ([`mild_keys`]) is short on purpose. An attacker with one signature would like to
//! erase (a passcode policy that erases after two mistypes), to lock out, to see traffic (roots, proxies,
//! VPN, DNS, open Wi-Fi), to take management away (a profile under the enrolment profile's identifier),
//! to hide apps or to hand phones to another server; none of these is on it.
//!
//! What the list can't know is what already lies on the phone: a mild profile under the identifier of a
//! harsher one replaces it. Whoever keeps the record of what was installed must count that as erasure too.

mod allow;

pub(crate) use allow::is_plain_https;
pub use allow::{Rule, mild_keys};

use crate::Malformed;
use crate::profile::{self, ENROLMENT_IDENTIFIER};
use crate::raw;
use allow::{COMMON_KEYS, MildPayload, TOP_LEVEL_KEYS};
use model::{Command, CommandSecrets, Setting};
use plist::{Dictionary, Value};

/// Most payloads of a profile that may still be mild.
pub const MAX_MILD_PAYLOADS: usize = 32;
/// Most findings that are listed; one is enough to count as erasure.
pub const MAX_FINDINGS: usize = 32;

/// What a profile or a command counts as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Harm {
    /// All of it is known to be mild.
    Mild,
    /// It erases, or may do what erasure's limits and signers are there for.
    Erasing {
        /// Why: at least one finding, at most [`MAX_FINDINGS`].
        because: Vec<Finding>,
    },
}

impl Harm {
    /// Whether erasure's limits and signers apply.
    #[must_use]
    pub fn is_erasing(&self) -> bool {
        matches!(self, Self::Erasing { .. })
    }
}

/// One reason. Holds names (at most 128 characters each, printable), never a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The payload's type, `Configuration` for the profile itself, or a command's `RequestType`.
    pub payload_type: String,
    /// The key; empty when the whole payload or command is meant.
    pub key: String,
    /// What is the matter with it.
    pub why: Why,
}

/// Why something isn't mild.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Why {
    /// The payload's type is not on the list.
    #[error("this type of payload is not on the list of mild ones")]
    UnlistedType,
    /// The raw command is not on the list.
    #[error("this raw command is not on the list of mild ones")]
    UnlistedCommand,
    /// The key is not on the list.
    #[error("this key is not on the list of mild ones")]
    UnlistedKey,
    /// The value has another type than the list says.
    #[error("the value has an unexpected type")]
    WrongType,
    /// The value is outside of what the list allows.
    #[error("the value is outside of the mild range")]
    OutOfRange,
    /// The payload is mild only together with this key.
    #[error("the payload is mild only with this key")]
    MissingKey,
    /// The identifier is the enrolment profile's: management would be replaced.
    #[error("the identifier belongs to the enrolment profile")]
    ReplacesManagement,
    /// A profile without payloads: all it can do is replace another.
    #[error("a profile without payloads can only replace another one")]
    Empty,
    /// More payloads than are judged.
    #[error("more payloads than a mild profile has")]
    TooManyPayloads,
    /// The command erases the phone.
    #[error("erases the phone")]
    Erases,
    /// The command takes away management or a policy.
    #[error("removes management or a policy")]
    RemovesManagement,
    /// The command locks with a code that only its sender knows.
    #[error("locks with a code that only the sender knows")]
    LocksOut,
    /// The profile can't be read or is missing.
    #[error("the profile can't be read")]
    Unreadable,
}

/// Judges a configuration profile.
///
/// # Errors
/// [`Malformed`] when it can't be read as a profile. A signed one ([`Malformed::SignedEnvelope`]) is
/// refused: whoever calls verifies and unwraps it, judges what was inside, and sends that.
pub fn judge(profile_bytes: &[u8]) -> Result<Harm, Malformed> {
    let outer = profile::read_outer(profile_bytes)?;
    let payloads = profile::payloads_of(&outer)?;
    let mut findings = Findings(Vec::new());
    findings.check("Configuration", &outer, &[TOP_LEVEL_KEYS]);
    findings.check_identifier("Configuration", &outer);
    if payloads.is_empty() {
        findings.add("Configuration", "PayloadContent", Why::Empty);
    }
    if payloads.len() > MAX_MILD_PAYLOADS {
        findings.add("Configuration", "PayloadContent", Why::TooManyPayloads);
    }
    for payload in payloads.into_iter().take(MAX_MILD_PAYLOADS) {
        findings.judge_payload(payload);
    }
    Ok(findings.into_harm())
}

/// Judges a command with its sealed half.
///
/// Mild is what destroys nothing, leaves management in place and hands nothing to others: locking without
/// a PIN, lost mode and its end, location, sound, restart, shutting down, and each setting that
/// [`Setting`] knows (on/off switches, a name, a time zone, an app's settings; not through which VPN an app
/// speaks), installing an app and asking about apps. `ClearPasscode` is mild in this sense: who may
/// clear one is a matter of roles. Erasing are `EraseDevice`; `RemoveProfile` of anything, since it may
/// be management or a policy; `RemoveApplication`, since an app's data go with it; a raw command that is not on
/// the short list of mild ones ([`raw::MILD`]); a lock with a PIN; and `InstallProfile` of what [`judge`] says, or of what
/// can't be read.
#[must_use]
pub fn judge_command(command: &Command, secrets: &CommandSecrets) -> Harm {
    let erasing = |key: &str, why| Harm::Erasing {
        because: vec![Finding {
            payload_type: command.kind().request_type().to_owned(),
            key: key.to_owned(),
            why,
        }],
    };
    match command {
        Command::InstallProfile => match secrets.profile.as_deref().map(judge) {
            Some(Ok(harm)) => harm,
            Some(Err(_)) | None => erasing("Payload", Why::Unreadable),
        },
        Command::RemoveProfile { .. } => erasing("", Why::RemovesManagement),
        Command::EraseDevice { .. } => erasing("", Why::Erases),
        // With an app go its data.
        Command::RemoveApplication { .. } => erasing("", Why::Erases),
        Command::Raw { request_type } => {
            if raw::MILD.contains(&request_type.as_str()) {
                Harm::Mild
            } else {
                erasing(request_type, Why::UnlistedCommand)
            }
        }
        Command::DeviceLock if secrets.pin.is_some() => erasing("PIN", Why::LocksOut),
        Command::Settings { items } => {
            // Exhaustive, so that a new setting is decided upon here.
            let mild = |setting: &Setting| match setting {
                Setting::Bluetooth { .. }
                | Setting::DataRoaming { .. }
                | Setting::VoiceRoaming { .. }
                | Setting::PersonalHotspot { .. }
                | Setting::DeviceName
                | Setting::TimeZone { .. }
                // An app's own settings, as anyone may give them who may install the app.
                | Setting::ApplicationConfiguration { .. } => true,
                // Where an app's traffic goes is not.
                Setting::ApplicationAttributes { attributes, .. } => attributes.vpn_uuid.is_none(),
            };
            if items.iter().all(mild) { Harm::Mild } else { erasing("Settings", Why::UnlistedKey) }
        }
        Command::DeviceLock
        | Command::ClearPasscode
        | Command::EnableLostMode
        | Command::DisableLostMode
        | Command::DeviceLocation
        | Command::PlayLostModeSound
        | Command::RestartDevice { .. }
        | Command::ShutDownDevice
        // What the phone then finds was judged with its set.
        | Command::DeclarativeManagement
        | Command::InstallApplication { .. }
        | Command::ClearActivationLockBypassCode
        | Command::ManagedApplicationConfiguration { .. }
        | Command::ManagedApplicationFeedback { .. }
        | Command::ManagedApplicationAttributes { .. }
        | Command::ValidateApplications { .. } => Harm::Mild,
    }
}

struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, payload_type: &str, key: &str, why: Why) {
        if self.0.len() < MAX_FINDINGS {
            self.0.push(Finding { payload_type: printable(payload_type), key: printable(key), why });
        }
    }

    fn judge_payload(&mut self, payload: &Dictionary) {
        let Some(kind) = payload.get("PayloadType").and_then(Value::as_string) else {
            return self.add("", "PayloadType", Why::WrongType);
        };
        let Some(mild) = MildPayload::find(kind) else {
            return self.add(kind, "", Why::UnlistedType);
        };
        self.check(kind, payload, &[COMMON_KEYS, mild.keys]);
        self.check_identifier(kind, payload);
        for key in mild.required {
            if !payload.contains_key(key) {
                self.add(kind, key, Why::MissingKey);
            }
        }
    }

    /// Every key must be in one of `lists`, with a value its rule allows.
    fn check(&mut self, kind: &str, dictionary: &Dictionary, lists: &[&[(&str, Rule)]]) {
        for (key, value) in dictionary {
            let rule = lists.iter().copied().flatten().find(|(listed, _)| listed == key);
            let verdict = rule.map_or(Err(Why::UnlistedKey), |(_, rule)| rule.allows(value));
            if let Err(why) = verdict {
                self.add(kind, key, why);
            }
        }
    }

    /// A profile or payload without an identifier of its own, or with the enrolment profile's.
    fn check_identifier(&mut self, kind: &str, dictionary: &Dictionary) {
        match dictionary.get("PayloadIdentifier").and_then(Value::as_string) {
            None => self.add(kind, "PayloadIdentifier", Why::MissingKey),
            Some(identifier) => {
                if identifier.trim().to_ascii_lowercase().starts_with(ENROLMENT_IDENTIFIER) {
                    self.add(kind, "PayloadIdentifier", Why::ReplacesManagement);
                }
            }
        }
    }

    fn into_harm(self) -> Harm {
        if self.0.is_empty() { Harm::Mild } else { Harm::Erasing { because: self.0 } }
    }
}

/// A name that its author chose, made fit to be shown.
fn printable(name: &str) -> String {
    name.chars().take(128).map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect()
}
