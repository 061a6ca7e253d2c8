//! What a saved profile says, and what is different in another version, in words.

use model::{Change, OutlinedValue, Since};

use crate::{line, quoted};

/// A payload's type as people call it; a type that has no name here is told as it is.
#[must_use]
pub fn payload(payload_type: &str) -> String {
    let name = match payload_type {
        "" => "The profile itself",
        "Configuration" => "The profile itself",
        "com.apple.wifi.managed" => "Wi-Fi",
        "com.apple.mobiledevice.passwordpolicy" => "Passcode",
        "com.apple.applicationaccess" => "Restrictions",
        "com.apple.webClip.managed" => "Web clip",
        "com.apple.security.root" => "Certificate (trusted root)",
        "com.apple.security.pkcs1" | "com.apple.security.pem" => "Certificate",
        "com.apple.security.pkcs12" => "Certificate with its key",
        "com.apple.security.scep" => "Certificate by SCEP",
        "com.apple.security.acme" => "Certificate by ACME",
        "com.apple.vpn.managed" => "VPN",
        "com.apple.vpn.managed.applayer" => "VPN for single apps",
        "com.apple.mail.managed" => "Mail account",
        "com.apple.eas.account" => "Exchange account",
        "com.apple.ldap.account" => "Directory (LDAP)",
        "com.apple.caldav.account" => "Calendar account",
        "com.apple.carddav.account" => "Contacts account",
        "com.apple.subscribedcalendar.account" => "Subscribed calendar",
        "com.apple.notificationsettings" => "Notifications",
        "com.apple.homescreenlayout" => "Home screen",
        "com.apple.app.lock" => "One app alone",
        "com.apple.shareddeviceconfiguration" => "Lock screen text",
        "com.apple.font" => "Font",
        "com.apple.webcontent-filter" => "Web content filter",
        "com.apple.dnsSettings.managed" => "DNS",
        "com.apple.proxy.http.global" => "Proxy for everything",
        "com.apple.cellular" => "Cellular",
        "com.apple.airprint" => "AirPrint",
        "com.apple.airplay" => "AirPlay",
        "com.apple.profileRemovalPassword" => "Password to remove the profile",
        "com.apple.domains" => "Managed domains",
        "com.apple.mdm" => "Management",
        other => return line(other),
    };
    name.to_owned()
}

/// Why a version counts as erasure: pairs of a payload's type and a key of it. No key is the payload itself, `*` one that
/// Apple's schema has not.
#[must_use]
pub fn because(pairs: &[(String, String)]) -> String {
    let one = |(kind, path): &(String, String)| match path.as_str() {
        "" => payload(kind),
        "*" => format!("{}: a key that Apple's schema has not", payload(kind)),
        path => format!("{}: {}", payload(kind), key(path)),
    };
    pairs.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// A key's path as words: `EAPClientConfiguration.AcceptEAPTypes.0` is `EAP client configuration, accept EAP types 1`.
#[must_use]
pub fn key(path: &str) -> String {
    let mut out = String::new();
    for part in path.split('.') {
        match part.parse::<u32>() {
            Ok(n) => out.push_str(&format!(" {}", n.saturating_add(1))),
            Err(_) if part == "*" && out.is_empty() => out.push_str("(a name of its author's)"),
            Err(_) if part == "*" => out.push_str(" (a name of its author's)"),
            Err(_) => {
                if !out.is_empty() {
                    out.push_str(", ");
                }
                out.push_str(&name(part));
            }
        }
    }
    line(&out)
}

/// A name of the schema's, in words.
fn name(key: &str) -> String {
    match key {
        "SSID_STR" => return "network name (SSID)".into(),
        "IPv4" | "IPv6" => return key.into(),
        "HIDDEN_NETWORK" => return "hidden network".into(),
        "forcePIN" => return "a passcode is required".into(),
        "allowSimple" => return "simple passcodes allowed".into(),
        "minLength" => return "shortest passcode".into(),
        "maxFailedAttempts" | "MaximumFailedAttempts" => {
            return "failed attempts before everything is erased".into();
        }
        "maxInactivity" => return "minutes until it locks".into(),
        "maxPINAgeInDays" => return "days until the passcode must change".into(),
        "pinHistory" => return "passcodes that can't be used again".into(),
        "PayloadCertificateUUID" => return "certificate to use".into(),
        "PayloadContent" => return "content".into(),
        "PayloadRemovalDisallowed" => return "the person can't remove it".into(),
        _ => {}
    }
    let chars: Vec<char> = key.chars().collect();
    let mut out = String::new();
    let mut word = String::new();
    let mut words = Vec::new();
    for (at, c) in chars.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|i| chars.get(i));
        let after = chars.get(at + 1);
        let begins = c.is_ascii_uppercase()
            && before.is_some_and(|b| {
                b.is_ascii_lowercase()
                    || b.is_ascii_digit()
                    || (b.is_ascii_uppercase() && after.is_some_and(char::is_ascii_lowercase))
            });
        if (begins || *c == '_' || *c == '-') && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if *c != '_' && *c != '-' {
            word.push(*c);
        }
    }
    words.push(word);
    for word in words.into_iter().filter(|w| !w.is_empty()) {
        if !out.is_empty() {
            out.push(' ');
        }
        // `SSID` stays, `Minimum` does not.
        let shouted = word.len() > 1 && word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
        out.push_str(&if shouted { word } else { word.to_ascii_lowercase() });
    }
    out
}

/// A value as it is told.
#[must_use]
pub fn value(value: &OutlinedValue) -> String {
    match value {
        OutlinedValue::Truth(true) => "yes".into(),
        OutlinedValue::Truth(false) => "no".into(),
        OutlinedValue::Whole(n) => n.to_string(),
        OutlinedValue::Word(text) => line(text),
        OutlinedValue::Text(text) if text == OutlinedValue::NOT_PLAIN => text.clone(),
        OutlinedValue::Text(text) => quoted(text),
        OutlinedValue::Set(_) => "set (sealed)".into(),
        OutlinedValue::Empty => "empty".into(),
    }
}

/// A difference, in a sentence without its end.
#[must_use]
pub fn change(c: &Change) -> String {
    let which = if c.nth > 1 { format!(" {}", c.nth) } else { String::new() };
    let payload = format!("{}{which}", payload(&c.payload_type));
    if let Some(came) = c.came {
        return format!("{payload}: {}", if came { "new" } else { "taken away" });
    }
    if c.path == model::Outline::NOT_TOLD {
        return match (&c.from, &c.to) {
            (Some(from), Some(to)) => {
                format!("{payload}: {} that are not told, were {}", value(to), value(from))
            }
            _ => format!("{payload}: keys that are not told may be others; they are not compared"),
        };
    }
    let key = key(&c.path);
    match (&c.from, &c.to) {
        (Some(OutlinedValue::Set(_)), Some(OutlinedValue::Set(Since::Changed))) => {
            format!("{payload}: {key} is another one")
        }
        (Some(OutlinedValue::Set(_)), Some(OutlinedValue::Set(_))) => {
            format!("{payload}: {key} may be another one; it could not be compared")
        }
        (Some(from), Some(to)) => format!("{payload}: {key} is {}, was {}", value(to), value(from)),
        (None, Some(to)) => format!("{payload}: {key} is now {}", value(to)),
        (Some(from), None) => format!("{payload}: {key} is not set any more, was {}", value(from)),
        (None, None) => format!("{payload}: {key}"),
    }
}

/// Why a standing order that installs does nothing, by the API's name for it, and what to do.
#[must_use]
pub fn rests(why: &str) -> &'static str {
    match why {
        "device_group_ended" => "its device group was ended; make another standing order, and end this one",
        "profile_ended" => "the profile was taken out of the library; end this standing order",
        "content_lost" => {
            "the version's content is lost; save the file again, make a standing order of the new version, and end this one"
        }
        "judged_otherwise" => {
            "the vault judges the version otherwise than when it was shown; save the file again to be shown it anew, and end this standing order"
        }
        _ => "the health page may say more",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn why_a_version_counts_as_erasure_is_told_of_the_payload_its_key_and_a_key_that_nobody_knows() {
        let pair = |kind: &str, key: &str| (kind.to_owned(), key.to_owned());
        let pairs = [
            pair("com.apple.proxy.http.global", ""),
            pair("com.apple.mobiledevice.passwordpolicy", "maxFailedAttempts"),
            pair("com.apple.wifi.managed", "*"),
        ];
        assert_eq!(
            because(&pairs),
            "Proxy for everything; Passcode: failed attempts before everything is erased; Wi-Fi: a key that Apple's schema has not"
        );
        assert_eq!(because(&[]), "");
    }

    #[test]
    fn keys_are_told_as_words() {
        for (path, words) in [
            ("minComplexChars", "min complex chars"),
            ("SSID_STR", "network name (SSID)"),
            ("EAPClientConfiguration.AcceptEAPTypes.0", "EAP client configuration, accept EAP types 1"),
            ("allowCamera", "allow camera"),
            ("IPv4.OverridePrimary", "IPv4, override primary"),
            ("VendorConfig.*", "vendor config (a name of its author's)"),
            ("*", "(a name of its author's)"),
        ] {
            assert_eq!(key(path), words, "{path}");
        }
    }

    #[test]
    fn a_change_says_what_was_and_what_is() {
        let base = Change {
            payload_type: "com.apple.mobiledevice.passwordpolicy".into(),
            nth: 1,
            path: "minLength".into(),
            from: Some(OutlinedValue::Whole(6)),
            to: Some(OutlinedValue::Whole(8)),
            came: None,
        };
        assert_eq!(change(&base), "Passcode: shortest passcode is 8, was 6");
        let gone = Change { to: None, ..base.clone() };
        assert_eq!(change(&gone), "Passcode: shortest passcode is not set any more, was 6");
        let set = |since| Some(OutlinedValue::Set(since));
        let password = Change {
            payload_type: "com.apple.wifi.managed".into(),
            nth: 2,
            path: "Password".into(),
            from: set(Since::Unknown),
            to: set(Since::Changed),
            came: None,
        };
        assert_eq!(change(&password), "Wi-Fi 2: password is another one");
        let unknown = Change { to: set(Since::Unknown), ..password.clone() };
        assert!(change(&unknown).contains("may be another one"));
        let whole = Change { came: Some(false), from: None, to: None, ..password };
        assert_eq!(change(&whole), "Wi-Fi 2: taken away");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn no_name_steers_whoever_is_shown_it(text in any::<String>()) {
            for shown in [payload(&text), key(&text), value(&OutlinedValue::Word(text.clone()))] {
                prop_assert!(!shown.chars().any(|c| c.is_control() || c == '\u{202e}'), "it steers");
            }
        }
    }
}
