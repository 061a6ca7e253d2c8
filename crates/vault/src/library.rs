//! The library of profiles: each version is read, judged, sealed and handed to core to keep; the ledger binds it.
//!
//! The ledger holds what a version says in the clear, and a digest over its bytes that nobody can guess at, since 32
//! random bytes go in that are sealed with them. So a version that core brings back is the one that was saved, whoever
//! sealed it, or it is refused.

use std::collections::{HashMap, HashSet};

use apple::harm::{self, Harm};
use apple::profile::{self, schema};
use ledger::{Effect, ErasingKey};
use model::clock::DAY_MS;
use model::{
    Command, CommandId, CommandSecrets, Compartment, Digest, EnrolmentId, OrderId, ProfileId, SealedRow,
    StandingInstall, TimeMs,
};
use order::{
    Order, OrderKind, Refusal, SaveSecrets, SavedAnswer, SavedText, ShownVersion, encode, profile_place,
    sha256,
};
use zeroize::Zeroizing;

use crate::chamber::Chamber;
use crate::command::refusal_of;
use crate::order_kinds::arguments;
use crate::standing::Acted;
use crate::submit::Consequence;

/// The most profiles of the library, and the most versions of one.
const MOST_PROFILES: usize = 500;
const MOST_VERSIONS: usize = 200;
const SALT_BYTES: usize = 32;
/// So long a phone has to fetch what is installed by itself.
const INSTALL_LIFE_MS: TimeMs = 7 * DAY_MS;
/// The most keys that the ledger names as the reason why a version counts as erasure.
const MOST_BECAUSE: usize = 16;
/// The longest name of a signer that is repeated.
const LONGEST_SIGNER_CHARS: usize = 128;

/// The library as the ledger says it is.
#[derive(Default)]
pub(crate) struct Library {
    profiles: HashMap<ProfileId, Vec<SavedVersion>>,
    pub(crate) orders: HashMap<OrderId, (ProfileId, u32)>,
    /// What stands in an enrolment's place where versions are sealed.
    places: HashSet<EnrolmentId>,
    /// Profiles that were taken out.
    ended: HashSet<ProfileId>,
}

#[derive(Clone)]
struct SavedVersion {
    commitment: Digest,
    identifier: String,
    erasing: bool,
    shown: Digest,
}

impl Library {
    pub(crate) fn saved(
        &mut self,
        profile: ProfileId,
        version: u32,
        commitment: Digest,
        shown: &ShownVersion,
    ) {
        self.profiles.entry(profile).or_default().push(SavedVersion {
            commitment,
            identifier: shown.outline.identifier.clone(),
            erasing: shown.erasing,
            shown: shown.digest(),
        });
        self.orders.insert(shown.saved_by, (profile, version));
        self.places.insert(profile_place(&profile));
    }

    pub(crate) fn end(&mut self, profile: ProfileId) {
        self.ended.insert(profile);
    }

    pub(crate) fn check_stands(&self, profile: &ProfileId) -> Result<(), Refusal> {
        if self.ended.contains(profile) { Err(Refusal::ProfileEnded) } else { Ok(()) }
    }

    /// Whether versions are sealed in this one's place.
    pub(crate) fn has_place(&self, place: &EnrolmentId) -> bool {
        self.places.contains(place)
    }

    fn find(&self, profile: &ProfileId, version: u32) -> Option<&SavedVersion> {
        let at = usize::try_from(version.checked_sub(1)?).ok()?;
        self.profiles.get(profile)?.get(at)
    }

    /// What an order has to carry that installs it.
    #[cfg(test)]
    pub(crate) fn shown(&self, profile: &ProfileId, version: u32) -> Option<(String, bool, Digest)> {
        self.find(profile, version).map(|v| (v.identifier.clone(), v.erasing, v.shown))
    }

    /// The number that the next version of this profile gets.
    fn next(&self, profile: &ProfileId) -> Result<u32, Refusal> {
        self.check_stands(profile)?;
        let standing = self.profiles.len().saturating_sub(self.ended.len());
        let there = match self.profiles.get(profile) {
            Some(versions) if versions.len() < MOST_VERSIONS => versions.len(),
            None if standing < MOST_PROFILES => 0,
            _ => return Err(Refusal::LibraryFull),
        };
        Ok(u32::try_from(there).unwrap_or(u32::MAX).saturating_add(1))
    }

    /// One profile, one identifier: a phone takes it for which profile it is. That of one that was taken out is no other's.
    fn takes(&self, profile: &ProfileId, identifier: &str) -> Result<(), Refusal> {
        let is = |versions: &[SavedVersion]| versions.last().is_some_and(|v| v.identifier == identifier);
        match self.profiles.get(profile) {
            Some(versions) if !is(versions) => Err(Refusal::OtherIdentifier),
            None => match self.profiles.iter().find(|(_, versions)| is(versions)) {
                Some((p, _)) if self.ended.contains(p) => Err(Refusal::IdentifierEnded),
                Some(_) => Err(Refusal::IdentifierTaken),
                None => Ok(()),
            },
            Some(_) => Ok(()),
        }
    }
}

fn row_name(version: u32) -> String {
    format!("Profile.{version}")
}

fn commitment(profile: &ProfileId, version: u32, salted: &[u8]) -> Digest {
    let head = [b"matron/profile/1\0".as_slice(), profile.as_bytes(), &version.to_be_bytes()].concat();
    sha256(&Zeroizing::new([head.as_slice(), salted].concat()))
}

/// A version as it was given, read.
struct Given {
    /// Salt and content, as they are sealed.
    salted: Zeroizing<Vec<u8>>,
    read: schema::Profile,
    harm: Harm,
    signed_by: Option<String>,
}

impl Chamber {
    fn given(&mut self, arguments_bytes: &[u8]) -> Result<Given, Refusal> {
        let secrets: SaveSecrets = arguments(arguments_bytes)?;
        let bytes = Zeroizing::new(secrets.profile);
        if secrets.salt.len() != SALT_BYTES {
            return Err(Refusal::BadArgument);
        }
        let unwrapped = profile::unwrapped(&bytes).map_err(|e| {
            self.detail = Some(e.to_string());
            Refusal::BadProfileSignature
        })?;
        let given = Zeroizing::new(unwrapped.profile);
        // What is read and judged is what is kept, and what phones get.
        let content = Zeroizing::new(profile::rewritten(&given).map_err(|e| {
            self.detail = Some(e.to_string());
            Refusal::BadProfile
        })?);
        let read = schema::read(&content).map_err(|e| {
            self.detail = Some(e.to_string());
            match e {
                schema::NotRead::Malformed(_) => Refusal::BadProfile,
                schema::NotRead::Misfits(_) => Refusal::ProfileMisfit,
            }
        })?;
        let harm = harm::judge(&content).map_err(|_| Refusal::BadProfile)?;
        let salted = Zeroizing::new([secrets.salt.as_slice(), &content].concat());
        let name = |n: String| n.chars().take(LONGEST_SIGNER_CHARS).collect();
        Ok(Given { salted, read, harm, signed_by: unwrapped.signed_by.map(name) })
    }

    pub(crate) fn save_profile(
        &mut self,
        order: &Order,
        profile: &ProfileId,
        arguments_bytes: &[u8],
        before: Option<&SealedRow>,
    ) -> Result<Consequence, Refusal> {
        if !order.targets.is_empty() {
            return Err(Refusal::BadArgument);
        }
        let version = self.state.library.next(profile)?;
        let given = self.given(arguments_bytes)?;
        self.state.library.takes(profile, &given.read.outline.identifier)?;
        self.saved(profile, version, given, before)
    }

    pub(crate) fn end_profile(&self, order: &Order, profile: ProfileId) -> Result<Consequence, Refusal> {
        if !order.targets.is_empty() {
            return Err(Refusal::BadArgument);
        }
        self.state.library.find(&profile, 1).ok_or(Refusal::UnknownProfile)?;
        self.state.library.check_stands(&profile)?;
        Ok(Consequence::of(Effect::ProfileEnded { profile }))
    }

    /// The row and the answer again, for whoever lost them.
    pub(crate) fn save_again(
        &mut self,
        order: &Order,
        arguments_bytes: &[u8],
        before: Option<&SealedRow>,
    ) -> Result<Consequence, Refusal> {
        let (profile, version) =
            self.state.library.orders.get(&order.id).copied().ok_or(Refusal::UnknownProfile)?;
        let given = self.given(arguments_bytes)?;
        self.saved(&profile, version, given, before)
    }

    fn saved(
        &mut self,
        profile: &ProfileId,
        version: u32,
        Given { salted, mut read, harm, signed_by }: Given,
        before: Option<&SealedRow>,
    ) -> Result<Consequence, Refusal> {
        if let Some(before) = before
            && let Ok(older) = self.content(profile, version.saturating_sub(1), before)
            && let Ok(older) = schema::read(&older)
        {
            read.since(&older);
        }
        let row = self.sealer.seal(
            &self.rng,
            self.now_ms,
            &profile_place(profile),
            &row_name(version),
            Compartment::Secret,
            &salted,
            String::new(),
            Vec::new(),
        );
        let row = row.map_err(|_| Refusal::BadArgument)?;
        let effect = Effect::ProfileSaved {
            profile: *profile,
            version,
            outline: Box::new(read.outline.clone()),
            commitment: commitment(profile, version, &salted),
            signed: signed_by.is_some(),
            erasing: harm.is_erasing(),
            because: because(&harm, &read),
        };
        let answer = answer(*profile, version, &read, &harm, signed_by);
        Ok(Consequence {
            answer: Some(Zeroizing::new(encode(&answer))),
            profile: Some(row),
            ..Consequence::of(effect)
        })
    }

    /// What was saved as this version, out of the row that core brings.
    fn content(
        &mut self,
        profile: &ProfileId,
        version: u32,
        row: &SealedRow,
    ) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let known = self.state.library.find(profile, version).ok_or(Refusal::UnknownProfile)?.commitment;
        if row.compartment != Compartment::Secret || row.name != row_name(version) {
            return Err(Refusal::SavedProfileLost);
        }
        let salted = self.opener.open(&profile_place(profile), row).map_err(|_| Refusal::SavedProfileLost)?;
        // Whoever can seal for this compartment could have sealed something else.
        if commitment(profile, version, &salted) != known {
            return Err(Refusal::SavedProfileLost);
        }
        let content = salted.get(SALT_BYTES..).ok_or(Refusal::SavedProfileLost)?;
        Ok(Zeroizing::new(content.to_vec()))
    }

    /// What a standing order installs is one version as it was shown, mild, and the device group there is.
    pub(crate) fn check_standing_install(&self, of: &StandingInstall) -> Result<(), Refusal> {
        let known = self.state.library.find(&of.profile, of.version).ok_or(Refusal::UnknownProfile)?;
        self.state.library.check_stands(&of.profile)?;
        if (&known.identifier, &known.shown) != (&of.identifier, &of.shown) || known.erasing {
            return Err(Refusal::ShownOtherwise);
        }
        let group = self.state.device_groups.get(&of.device_group).ok_or(Refusal::NoSuchDeviceGroup)?;
        if group.name == of.name { Ok(()) } else { Err(Refusal::DeviceGroupChanged) }
    }

    /// Installs it on one phone. That the phone is in the device group is core's word; its home group, and that what is
    /// installed is what was shown and mild, the vault sees for itself.
    pub(crate) fn install_standing(
        &mut self,
        standing: &OrderId,
        enrolment: &EnrolmentId,
        of: &StandingInstall,
        row: Option<&SealedRow>,
    ) -> Result<Acted, Refusal> {
        let now_ms = self.now_ms;
        let e = self.managed(enrolment)?;
        if of.home.as_ref().is_some_and(|home| *home != e.group) {
            return Err(Refusal::OutOfScope);
        }
        self.state.library.check_stands(&of.profile)?;
        // Who is in it is core's word; that it ended is a person's.
        if !self.state.device_groups.contains_key(&of.device_group) {
            return Err(Refusal::NoSuchDeviceGroup);
        }
        let s = self.stands(standing)?;
        let expires_at_ms = (now_ms + INSTALL_LIFE_MS).min(s.expires_at_ms);
        // Once for each phone while that lives: whoever lost the answer gets the same one, and it costs nothing.
        let last = s.last(enrolment).copied().filter(|a| now_ms < a.expires_at_ms);
        // Before anything is opened: core asks again and again.
        if last.is_none() {
            self.check_cap(standing)?;
        }
        let content = self.content(&of.profile, of.version, row.ok_or(Refusal::SavedProfileLost)?)?;
        // A release may judge otherwise than the one that saved it: nobody was shown that.
        if harm::judge(&content).map_err(|_| Refusal::BadProfile)?.is_erasing() {
            return Err(Refusal::ShownOtherwise);
        }
        let secrets = CommandSecrets { profile: Some(content.to_vec()), ..CommandSecrets::default() };
        let build = |id: CommandId| {
            apple::command::build(id, &Command::InstallProfile, &secrets, None)
                .map(Zeroizing::new)
                .map_err(|e| refusal_of(&e))
        };
        if let Some(last) = last {
            let bytes = build(last.command)?;
            return match sha256(&bytes) == last.digest {
                true => self.acted(enrolment, last.command, &bytes, (last.position, last.expires_at_ms)),
                false => Err(Refusal::ShownOtherwise),
            };
        }
        let acted = self.act_anew(standing, enrolment, (0, expires_at_ms), build)?;
        tracing::info!(standing = %standing, enrolment = %enrolment, "a saved profile is installed by itself");
        Ok(acted)
    }

    /// The arguments that the same order would have with the profile given instead of saved: everything after this
    /// treats both alike.
    pub(crate) fn with_saved(
        &mut self,
        order: &Order,
        arguments_bytes: Zeroizing<Vec<u8>>,
        row: Option<&SealedRow>,
    ) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let OrderKind::InstallSaved { profile, version, identifier, erasing, shown } = &order.kind else {
            return Ok(arguments_bytes);
        };
        let secrets = if arguments_bytes.is_empty() {
            CommandSecrets::default()
        } else {
            arguments::<CommandSecrets>(&arguments_bytes)?
        };
        let alone = CommandSecrets { holder_name: secrets.holder_name.clone(), ..CommandSecrets::default() };
        if secrets != alone {
            return Err(Refusal::BadArgument);
        }
        let known = self.state.library.find(profile, *version).ok_or(Refusal::UnknownProfile)?;
        if (&known.identifier, &known.erasing, &known.shown) != (identifier, erasing, shown) {
            return Err(Refusal::ShownOtherwise);
        }
        self.state.library.check_stands(profile)?;
        let content = self.content(profile, *version, row.ok_or(Refusal::SavedProfileLost)?)?;
        // A release may judge otherwise than the one that saved it: nobody was shown that.
        if harm::judge(&content).map_err(|_| Refusal::BadProfile)?.is_erasing() && !erasing {
            return Err(Refusal::ShownOtherwise);
        }
        Ok(Zeroizing::new(encode(&CommandSecrets { profile: Some(content.to_vec()), ..alone })))
    }
}

/// Keys that the schema has; of others only that there are some.
fn because(harm: &Harm, read: &schema::Profile) -> Vec<ErasingKey> {
    let Harm::Erasing { because } = harm else { return Vec::new() };
    let named = |kind: &str, key: &str| {
        let own = schema::payload_kinds().filter(|k| k.payload_type == kind).flat_map(|k| k.keys);
        let mut all = own.chain(schema::common()).chain(schema::top_level());
        key.is_empty() || all.any(|k| k.name == key)
    };
    let is_type =
        |kind: &str| kind == "Configuration" || read.outline.payloads.iter().any(|p| p.payload_type == kind);
    let mut out: Vec<ErasingKey> = Vec::new();
    for f in because {
        let key = if named(&f.payload_type, &f.key) { f.key.clone() } else { "*".to_owned() };
        let payload_type = if is_type(&f.payload_type) { f.payload_type.clone() } else { String::new() };
        let one = ErasingKey { payload_type, key };
        if !out.contains(&one) && out.len() < MOST_BECAUSE {
            out.push(one);
        }
    }
    out
}

fn answer(
    profile: ProfileId,
    version: u32,
    read: &schema::Profile,
    harm: &Harm,
    signed_by: Option<String>,
) -> SavedAnswer {
    let text = |t: &schema::Text| SavedText {
        payload: t.payload.and_then(|p| u32::try_from(p).ok()),
        path: t.path.clone(),
        text: t.text.clone(),
    };
    let because = match harm {
        Harm::Mild => Vec::new(),
        Harm::Erasing { because } => because
            .iter()
            .map(|f| {
                let key = if f.key.is_empty() { String::new() } else { format!(".{}", f.key) };
                format!("{}{key}: {}", f.payload_type, f.why)
            })
            .collect(),
    };
    SavedAnswer {
        profile,
        version,
        outline: read.outline.clone(),
        texts: read.texts.iter().map(text).collect(),
        signed_by: signed_by.unwrap_or_default(),
        remarks: read.remarks.iter().map(|r| format!("{}: {}", r.path, r.why)).collect(),
        because,
    }
}
