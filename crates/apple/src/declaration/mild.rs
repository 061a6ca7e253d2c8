//! Which declarations are mild. As for profiles ([`crate::harm`]): a list of what is known to be mild, and
//! **all else counts as erasure**. What is mild is our judgement; each entry that could surprise says why.

use super::Declaration;
use crate::harm::{Finding, Harm, MAX_FINDINGS, Why, is_plain_https};
use crate::json::Json;

/// Which values of a key are mild.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MildValue {
    /// Either truth value.
    Truth,
    /// A whole number in this range, both ends included.
    Whole(i64, i64),
    /// A text of so many characters, without control characters.
    Text(usize, usize),
    /// `https://host…` without a user name or password.
    HttpsUrl,
    /// `yyyy-mm-ddThh:mm:ss`.
    LocalDateTime,
    /// A list of identifiers.
    Identifiers,
    /// A list of `{Name: …}`: items of the status.
    StatusItems,
    /// A truth value, a number or a short text.
    Scalar,
    /// An object or list of anything: it only tells the phone what the server can do.
    Anything,
}

impl MildValue {
    fn allows(self, value: &Json) -> Result<(), Why> {
        let plain = |text: &str, min: usize, max: usize| {
            (min..=max).contains(&text.chars().count()) && !text.contains(char::is_control)
        };
        let fits = match (self, value) {
            (Self::Truth | Self::Scalar, Json::Truth(_))
            | (Self::Scalar, Json::Whole(_) | Json::Real(_))
            | (Self::Anything, _) => true,
            (Self::Whole(min, max), Json::Whole(n)) => (min..=max).contains(n),
            (Self::Text(min, max), Json::Text(text)) => plain(text, min, max),
            (Self::Scalar, Json::Text(text)) => plain(text, 0, 1000),
            (Self::HttpsUrl, Json::Text(url)) => is_plain_https(url),
            (Self::LocalDateTime, Json::Text(text)) => is_local_date_time(text),
            (Self::Identifiers, Json::List(items)) => {
                items.iter().all(|i| i.as_text().is_some_and(|t| plain(t, 1, 64)))
            }
            (Self::StatusItems, Json::List(items)) => items.iter().all(|i| {
                let alone = matches!(i, Json::Object(members) if members.len() == 1);
                alone && i.get("Name").and_then(Json::as_text).is_some_and(|t| plain(t, 1, 128))
            }),
            _ => return Err(Why::WrongType),
        };
        if fits { Ok(()) } else { Err(Why::OutOfRange) }
    }
}

/// `2026-12-01T20:00:00`: a date that exists and a time of day, without a zone.
#[must_use]
pub(crate) fn is_local_date_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| {
        let part = text.get(from..to)?;
        if part.bytes().all(|b| b.is_ascii_digit()) { part.parse::<u32>().ok() } else { None }
    };
    let signs = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if bytes.len() != 19 || !signs.into_iter().all(|(at, sign)| bytes.get(at) == Some(&sign)) {
        return false;
    }
    let parts = (number(0, 4), number(5, 7), number(8, 10), number(11, 13), number(14, 16), number(17, 19));
    let (Some(year), Some(month), Some(day), Some(hour), Some(minute), Some(second)) = parts else {
        return false;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 31,
    };
    (2000..=2100).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60
}

struct Mild {
    declared: &'static str,
    /// Taking it away takes no protection and no account from anyone.
    removal: bool,
    keys: &'static [(&'static str, MildValue)],
}

use MildValue::{Anything, HttpsUrl, Identifiers, LocalDateTime, Scalar, StatusItems, Text, Truth, Whole};

/// Not listed: predicates (what they hold back can't be judged), accounts and their assets (they send
/// people's passwords to a server), certificates and identities, profiles by address (`legacy`), apps,
/// anything that is fetched from elsewhere later, deferring updates, a watch's enrolment.
const MILD: &[Mild] = &[
    // What it puts into force is judged by itself; what it no longer does, by `in_force`.
    Mild {
        declared: "com.apple.activation.simple",
        removal: true,
        keys: &[("StandardConfigurations", Identifiers)],
    },
    // What the phone reports comes in sealed like everything else.
    Mild {
        declared: "com.apple.configuration.management.status-subscriptions",
        removal: true,
        keys: &[("StatusItems", StatusItems)],
    },
    Mild {
        declared: "com.apple.configuration.management.test",
        removal: true,
        keys: &[("Echo", Text(0, 200)), ("ReturnStatus", Text(0, 20))],
    },
    // The same bounds as for the profile: a policy that people can meet. Fewer than six attempts erase by
    // accident.
    Mild {
        declared: "com.apple.configuration.passcode.settings",
        removal: false,
        keys: &[
            ("MaximumFailedAttempts", Whole(6, 11)),
            ("MaximumGracePeriodInMinutes", Whole(0, 15)),
            ("MaximumInactivityInMinutes", Whole(1, 15)),
            ("MaximumPasscodeAgeInDays", Whole(30, 730)),
            ("MinimumComplexCharacters", Whole(0, 2)),
            ("MinimumLength", Whole(0, 10)),
            ("PasscodeReuseLimit", Whole(1, 24)),
            ("RequireAlphanumericPasscode", Truth),
            ("RequireComplexPasscode", Truth),
            ("RequirePasscode", Truth),
        ],
    },
    // Apple signs what is installed, and an older version than the phone's is not.
    Mild {
        declared: "com.apple.configuration.softwareupdate.enforcement.specific",
        removal: true,
        keys: &[
            ("DetailsURL", HttpsUrl),
            ("TargetBuildVersion", Text(1, 20)),
            ("TargetLocalDateTime", LocalDateTime),
            ("TargetOSVersion", Text(1, 20)),
        ],
    },
    Mild {
        declared: "com.apple.management.organization-info",
        removal: true,
        keys: &[("Email", Text(1, 254)), ("Name", Text(1, 200)), ("URL", HttpsUrl)],
    },
    // Words that predicates could ask for.
    Mild { declared: "com.apple.management.properties", removal: true, keys: &[("*", Scalar)] },
    Mild {
        declared: "com.apple.management.server-capabilities",
        removal: true,
        keys: &[("SupportedFeatures", Anything), ("Version", Text(1, 20))],
    },
];

/// Every key that can be mild: type, key, and the values that are. For documents, and for people who wonder.
pub fn mild_declaration_keys() -> impl Iterator<Item = (&'static str, &'static str, MildValue)> {
    MILD.iter().flat_map(|m| m.keys.iter().map(|(key, value)| (m.declared, *key, *value)))
}

/// Whether taking a declaration of this type away is mild: it takes no policy, no account and no
/// certificate. A type that is not on the list of mild ones is not.
#[must_use]
pub fn removal_is_mild(declared: &str) -> bool {
    MILD.iter().any(|m| m.declared == declared && m.removal)
}

/// Judges what a set says, not what it takes away: that is [`removal_is_mild`] with what was there before.
#[must_use]
pub fn judge(set: &[Declaration]) -> Harm {
    let mut findings = Vec::new();
    for declaration in set {
        let (declared, payload) = declaration.declared();
        let mut add = |key: &str, why| {
            if findings.len() < MAX_FINDINGS {
                let key = super::printable(key);
                findings.push(Finding { payload_type: declared.to_owned(), key, why });
            }
        };
        let Some(mild) = MILD.iter().find(|m| m.declared == declared) else {
            add("", Why::UnlistedType);
            continue;
        };
        let Json::Object(members) = payload else {
            add("", Why::WrongType);
            continue;
        };
        for (key, value) in members {
            let rule = mild.keys.iter().find(|(listed, _)| listed == key || *listed == "*");
            if let Err(why) = rule.map_or(Err(Why::UnlistedKey), |(_, rule)| rule.allows(value)) {
                add(key, why);
            }
        }
    }
    if findings.is_empty() { Harm::Mild } else { Harm::Erasing { because: findings } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_a_date_that_exists_without_a_zone() {
        for good in ["2026-12-01T20:00:00", "2028-02-29T00:00:00"] {
            assert!(is_local_date_time(good), "{good}");
        }
        for bad in [
            "2026-12-01T20:00",
            "2026-12-01 20:00:00",
            "2026-12-01T20:00:00Z",
            "2026-02-29T00:00:00",
            "2026-13-01T00:00:00",
            "2026-00-01T00:00:00",
            "2026-12-01T24:00:00",
            "2026-12-01T20:60:00",
            "+026-12-01T20:00:00",
            "2026-12-0²T20:00:0",
        ] {
            assert!(!is_local_date_time(bad), "{bad}");
        }
    }
}
