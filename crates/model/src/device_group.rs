//! Device groups: a selection of phones, by a rule over what they reported in the clear or as a list. A phone's *home
//! group* ([`crate::Group`]) is another thing: each phone has one, and roles are held to it.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::Group;

/// A version of a phone's system, such as 17.5.1; each part below 1000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct OsVersion {
    /// 17
    #[n(0)]
    pub major: u16,
    /// 5
    #[n(1)]
    pub minor: u16,
    /// 1
    #[n(2)]
    pub patch: u16,
}

impl OsVersion {
    const END: u16 = 1000;

    /// Versions compare as these numbers do; the store keeps the same of what phones report.
    #[must_use]
    pub fn number(self) -> i64 {
        i64::from(self.major) * 1_000_000 + i64::from(self.minor) * 1_000 + i64::from(self.patch)
    }

    /// What a phone reported, as far as it is numbers: `16.4.1 (a)` is 16.4.1. `None`: it begins with no number.
    #[must_use]
    pub fn reported(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(|part| {
            let digits = part.bytes().take_while(u8::is_ascii_digit);
            digits.fold(None, |n, d| {
                let n: u16 = n.unwrap_or(0);
                Some(n.saturating_mul(10).saturating_add(u16::from(d - b'0')).min(Self::END - 1))
            })
        });
        let major = parts.next().flatten()?;
        let mut next = || parts.next().flatten().unwrap_or(0);
        Some(Self { major, minor: next(), patch: next() })
    }

    fn is_sound(self) -> bool {
        self.major < Self::END && self.minor < Self::END && self.patch < Self::END
    }
}

impl fmt::Display for OsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.minor, self.patch) {
            (0, 0) => write!(f, "{}", self.major),
            (minor, 0) => write!(f, "{}.{minor}", self.major),
            (minor, patch) => write!(f, "{}.{minor}.{patch}", self.major),
        }
    }
}

impl FromStr for OsVersion {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let bad =
            RuleError { what: "an OS version", why: "1 to 3 numbers below 1000 with dots, such as 17.5" };
        let mut parts = text.split('.').map(|p| p.parse::<u16>().ok().filter(|_| !p.starts_with('+')));
        let mut next = |missing: Option<u16>| parts.next().unwrap_or(missing).ok_or_else(|| bad.clone());
        let version = Self { major: next(None)?, minor: next(Some(0))?, patch: next(Some(0))? };
        if parts.next().is_none() && version.is_sound() { Ok(version) } else { Err(bad) }
    }
}

impl Serialize for OsVersion {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for OsVersion {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What a device group is called: 1 to 64 characters, none of them a control character or one that turns or hides
/// writing, no white space at its ends. It stands in the ledger in the clear: a person's name does not belong there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceGroupName(String);

/// A device group's name was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a device group's name is 1 to 64 characters, without line breaks, characters that are not seen, or two spaces together"
)]
pub struct DeviceGroupNameError;

/// Unicode's `Default_Ignorable_Code_Point` (DerivedCoreProperties.txt), and the braille pattern that is blank: not seen, so two
/// names would look alike.
fn is_default_ignorable(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

impl DeviceGroupName {
    /// The most characters.
    pub const LONGEST_CHARS: usize = 64;

    /// Checks and takes a name.
    ///
    /// # Errors
    /// When it is empty, too long, or holds a character that has no place in it.
    pub fn new(name: &str) -> Result<Self, DeviceGroupNameError> {
        let hides = |c: char| c.is_control() || (c.is_whitespace() && c != ' ') || is_default_ignorable(c);
        let ok = !name.is_empty()
            && name.trim() == name
            && !name.contains("  ")
            && name.chars().count() <= Self::LONGEST_CHARS
            && !name.chars().any(hides);
        if ok { Ok(Self(name.to_owned())) } else { Err(DeviceGroupNameError) }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same for two names that people would take for one.
    #[must_use]
    pub fn folded(&self) -> String {
        self.0.to_lowercase()
    }
}

impl fmt::Display for DeviceGroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<C> Encode<C> for DeviceGroupName {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.str(&self.0)?.ok()
    }
}

/// By hand, so that no name gets in from bytes that [`DeviceGroupName::new`] would refuse.
impl<'b, C> Decode<'b, C> for DeviceGroupName {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Self::new(d.str()?).map_err(|_| minicbor::decode::Error::message("bad name of a device group"))
    }
}

impl Serialize for DeviceGroupName {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for DeviceGroupName {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

/// How a rule's conditions go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
#[cbor(index_only)]
pub enum Join {
    /// Every one has to hold.
    #[n(1)]
    All,
    /// One is enough.
    #[n(2)]
    Any,
}

/// What has to hold of a phone, by what it reported last. Of a phone that has not said it, no condition holds, neither
/// one nor its opposite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Its system is older than this version.
    #[n(1)]
    OsBelow(#[n(0)] OsVersion),
    /// Its system is this version or newer.
    #[n(2)]
    OsAtLeast(#[n(0)] OsVersion),
    /// Its `ProductName` is one of these, such as `iPhone14,5`.
    #[n(3)]
    Models(#[n(0)] Vec<String>),
    /// Its home group is one of these.
    #[n(4)]
    HomeGroups(#[n(0)] Vec<Group>),
    /// Not heard of for so many days.
    #[n(5)]
    SilentForDays(#[n(0)] u16),
    /// Supervised, or not.
    #[n(6)]
    Supervised(#[n(0)] bool),
    /// Its passcode complies (`SecurityInfo.PasscodeCompliant`), or does not.
    #[n(7)]
    PasscodeCompliant(#[n(0)] bool),
    /// In lost mode, or not.
    #[n(8)]
    Lost(#[n(0)] bool),
    /// Apple's data protection is in force (`HardwareEncryptionCaps` of 3, and a passcode), or is not.
    #[n(9)]
    DataProtected(#[n(0)] bool),
}

/// Conditions, one deep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct DeviceGroupRule {
    /// How they go together.
    #[n(0)]
    pub join: Join,
    /// 1 to [`DeviceGroupRule::MOST_CONDITIONS`] of them.
    #[n(1)]
    pub conditions: Vec<Condition>,
}

/// Which phones a device group holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum DeviceGroupDefinition {
    /// Those of which it holds whenever one looks.
    #[n(1)]
    Rule(#[n(0)] DeviceGroupRule),
    /// Those that the order names.
    #[n(2)]
    List,
}

impl DeviceGroupDefinition {
    /// The word for its kind.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Rule(_) => "rule",
            Self::List => "list",
        }
    }
}

/// What is wrong with a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub struct RuleError {
    what: &'static str,
    why: &'static str,
}

fn is_model(name: &str) -> bool {
    (1..=32).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b',')
}

impl Condition {
    fn is_sound(&self) -> bool {
        let few = |n: usize| (1..=DeviceGroupRule::MOST_VALUES).contains(&n);
        match self {
            Self::OsBelow(v) | Self::OsAtLeast(v) => v.is_sound(),
            Self::Models(models) => few(models.len()) && models.iter().all(|m| is_model(m)),
            Self::HomeGroups(groups) => few(groups.len()),
            Self::SilentForDays(days) => (1..=DeviceGroupRule::LONGEST_SILENT_DAYS).contains(days),
            Self::Supervised(_) | Self::PasscodeCompliant(_) | Self::Lost(_) | Self::DataProtected(_) => true,
        }
    }
}

impl DeviceGroupRule {
    /// The most conditions of one rule.
    pub const MOST_CONDITIONS: usize = 16;
    /// The most models, or home groups, of one condition.
    pub const MOST_VALUES: usize = 50;
    /// The longest silence that is asked for: ten years.
    pub const LONGEST_SILENT_DAYS: u16 = 3_650;

    /// Whether everything in it is in range, and each kind of condition is there once.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        (1..=Self::MOST_CONDITIONS).contains(&self.conditions.len())
            && self.conditions.iter().all(Condition::is_sound)
            && self.conditions.iter().map(std::mem::discriminant).collect::<HashSet<_>>().len()
                == self.conditions.len()
    }
}

/// A rule as people fill it in, on a page, in an address, on a command line: each kind of condition once, as text. What
/// is empty is not asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs)]
pub struct RuleForm {
    /// `all` (when it is empty) or `any`.
    pub join: Option<String>,
    pub os_below: Option<String>,
    pub os_at_least: Option<String>,
    /// Several with spaces between.
    pub model: Option<String>,
    /// Several with spaces between.
    pub home_group: Option<String>,
    pub silent_for_days: Option<String>,
    /// `true` or `false`, here and below.
    pub supervised: Option<String>,
    pub passcode_compliant: Option<String>,
    pub lost: Option<String>,
    pub data_protected: Option<String>,
}

impl RuleForm {
    /// Its fields by name, in their order.
    #[must_use]
    pub fn fields(&self) -> Vec<(&'static str, Option<String>)> {
        let all = [
            ("join", &self.join),
            ("os_below", &self.os_below),
            ("os_at_least", &self.os_at_least),
            ("model", &self.model),
            ("home_group", &self.home_group),
            ("silent_for_days", &self.silent_for_days),
            ("supervised", &self.supervised),
            ("passcode_compliant", &self.passcode_compliant),
            ("lost", &self.lost),
            ("data_protected", &self.data_protected),
        ];
        all.map(|(name, value)| (name, value.clone().filter(|v| !v.trim().is_empty()))).into()
    }

    /// Nothing is filled in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields().iter().all(|(_, value)| value.is_none())
    }

    /// What it says.
    ///
    /// # Errors
    /// [`RuleError`] names the first field that can't be used.
    pub fn rule(&self) -> Result<DeviceGroupRule, RuleError> {
        let err = |what, why| RuleError { what, why };
        let mut join = Join::All;
        let mut conditions = Vec::new();
        for (name, value) in self.fields() {
            let Some(value) = value else { continue };
            let value = value.trim();
            let yes = || match value {
                "true" => Ok(true),
                "false" => Ok(false),
                _ => Err(err(name, "true or false")),
            };
            conditions.push(match name {
                "join" => {
                    join = match value {
                        "all" => Join::All,
                        "any" => Join::Any,
                        _ => return Err(err(name, "all or any")),
                    };
                    continue;
                }
                "os_below" => Condition::OsBelow(value.parse()?),
                "os_at_least" => Condition::OsAtLeast(value.parse()?),
                "model" => Condition::Models(value.split_whitespace().map(str::to_owned).collect()),
                "home_group" => {
                    let groups = value.split_whitespace().map(Group::new).collect::<Result<_, _>>();
                    let why = "names of 1 to 64 characters of a-z, 0-9 and '-', such as ward-7, with spaces between";
                    Condition::HomeGroups(groups.map_err(|_| err(name, why))?)
                }
                "silent_for_days" => Condition::SilentForDays(
                    value.parse().map_err(|_| err(name, "a number of days, 1 to 3650"))?,
                ),
                "supervised" => Condition::Supervised(yes()?),
                "passcode_compliant" => Condition::PasscodeCompliant(yes()?),
                "lost" => Condition::Lost(yes()?),
                _ => Condition::DataProtected(yes()?),
            });
            if let Some(unsound) = conditions.last().filter(|c| !c.is_sound()) {
                return Err(err(
                    name,
                    match unsound {
                        Condition::Models(_) => {
                            "up to 50 product names such as iPhone14,5, with spaces between"
                        }
                        Condition::HomeGroups(_) => "up to 50",
                        _ => "a number of days, 1 to 3650",
                    },
                ));
            }
        }
        if conditions.is_empty() {
            Err(err("the rule", "give at least one condition"))
        } else {
            Ok(DeviceGroupRule { join, conditions })
        }
    }

    /// The form that says this rule; of a kind that stands in it twice, the last.
    #[must_use]
    pub fn of(rule: &DeviceGroupRule) -> Self {
        let mut form = Self {
            join: Some(match rule.join {
                Join::All => "all".to_owned(),
                Join::Any => "any".to_owned(),
            }),
            ..Self::default()
        };
        for condition in &rule.conditions {
            let (field, value) = match condition {
                Condition::OsBelow(v) => (&mut form.os_below, v.to_string()),
                Condition::OsAtLeast(v) => (&mut form.os_at_least, v.to_string()),
                Condition::Models(models) => (&mut form.model, models.join(" ")),
                Condition::HomeGroups(groups) => {
                    let names: Vec<&str> = groups.iter().map(Group::as_str).collect();
                    (&mut form.home_group, names.join(" "))
                }
                Condition::SilentForDays(days) => (&mut form.silent_for_days, days.to_string()),
                Condition::Supervised(b) => (&mut form.supervised, b.to_string()),
                Condition::PasscodeCompliant(b) => (&mut form.passcode_compliant, b.to_string()),
                Condition::Lost(b) => (&mut form.lost, b.to_string()),
                Condition::DataProtected(b) => (&mut form.data_protected, b.to_string()),
            };
            *field = Some(value);
        }
        form
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn form(fields: &[(&str, &str)]) -> RuleForm {
        let mut form = RuleForm::default();
        for (name, value) in fields {
            let field = match *name {
                "join" => &mut form.join,
                "os_below" => &mut form.os_below,
                "model" => &mut form.model,
                "home_group" => &mut form.home_group,
                "silent_for_days" => &mut form.silent_for_days,
                "lost" => &mut form.lost,
                other => panic!("{other}"),
            };
            *field = Some((*value).to_owned());
        }
        form
    }

    #[test]
    fn a_version_reads_back_and_compares_by_its_parts() {
        for text in ["17", "17.5", "17.5.1", "0.0.1"] {
            assert_eq!(text.parse::<OsVersion>().unwrap().to_string(), text);
        }
        let number = |text: &str| text.parse::<OsVersion>().unwrap().number();
        assert!(number("17.10") > number("17.9.9") && number("18") > number("17.999.999"));
        for bad in ["", "17.", "17.5.1.2", "1000", "-1", "+1", "17.x", " 17"] {
            assert!(bad.parse::<OsVersion>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_a_phone_reported_is_read_as_far_as_it_is_numbers() {
        let read = |text| OsVersion::reported(text).map(|v| v.to_string());
        for (text, version) in
            [("17", "17"), ("16.4.1 (a)", "16.4.1"), ("18.1.1.2", "18.1.1"), ("99999.5", "999.5")]
        {
            assert_eq!(read(text).as_deref(), Some(version));
        }
        assert_eq!((read(""), read("x17")), (None, None));
    }

    #[test]
    fn a_name_is_bounded_and_hides_nothing_also_when_it_is_decoded() {
        let decode = |name: &str| minicbor::decode::<DeviceGroupName>(&minicbor::to_vec(name).unwrap());
        for good in ["iPads, theatre 4", "Älter als iOS 17"] {
            assert_eq!(decode(good).unwrap(), DeviceGroupName::new(good).unwrap());
        }
        for bad in [
            "",
            " a",
            "a ",
            "a\nb",
            "a\u{202e}b",
            "a\u{200b}b",
            "a\u{ad}b",
            "a\u{3164}b",
            "a\u{fe0f}",
            "a\u{a0}b",
            "a  b",
            &"a".repeat(65),
        ] {
            assert!(DeviceGroupName::new(bad).is_err() && decode(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_filled_in_becomes_a_rule_and_the_rule_fills_it_in_again() {
        let filled = form(&[
            ("join", "any"),
            ("os_below", "17.5"),
            ("model", "iPhone12,8 iPhone14,5"),
            ("home_group", "ward-7"),
            ("silent_for_days", "30"),
            ("lost", "true"),
        ]);
        let rule = filled.rule().unwrap();
        assert!(rule.is_sound() && rule.join == Join::Any && rule.conditions.len() == 5);
        assert_eq!(RuleForm::of(&rule), filled);
        let definition = DeviceGroupDefinition::Rule(rule);
        assert_eq!(
            minicbor::decode::<DeviceGroupDefinition>(&minicbor::to_vec(&definition).unwrap()).unwrap(),
            definition
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn whatever_is_filled_in_gives_a_sound_rule_that_fills_in_the_same_or_none(
            texts in proptest::collection::vec("[a-z0-9,. -]{0,12}|true|false|any|17\\.[0-9]{1,4}|\\PC{0,8}", 10)
        ) {
            let mut texts = texts.into_iter().map(Some);
            let mut next = || texts.next().flatten();
            let form = RuleForm {
                join: next(),
                os_below: next(),
                os_at_least: next(),
                model: next(),
                home_group: next(),
                silent_for_days: next(),
                supervised: next(),
                passcode_compliant: next(),
                lost: next(),
                data_protected: next(),
            };
            if let Ok(rule) = form.rule() {
                prop_assert!(rule.is_sound());
                prop_assert_eq!(RuleForm::of(&rule).rule().unwrap(), rule);
            }
        }
    }

    #[test]
    fn what_can_not_be_used_is_named_by_its_field() {
        for (field, value) in [
            ("join", "none"),
            ("model", "iPhone14;5"),
            ("home_group", "Ward 7"),
            ("silent_for_days", "0"),
            ("silent_for_days", "4000"),
            ("lost", "yes"),
        ] {
            let why = form(&[(field, value)]).rule().unwrap_err().to_string();
            assert!(why.starts_with(field), "{why}");
        }
        assert!(form(&[("os_below", "x")]).rule().unwrap_err().to_string().contains("version"));
        assert!(
            form(&[("join", "all"), ("os_below", " ")])
                .rule()
                .unwrap_err()
                .to_string()
                .contains("at least one")
        );
        let many = "a ".repeat(51);
        assert!(form(&[("model", &many)]).rule().is_err());
    }
}
