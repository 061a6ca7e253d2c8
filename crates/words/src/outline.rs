//! What lies sealed in an order, in words: what the order itself tells of it, and who reads the rest.

use model::{
    Command, DeclarationKind, Outline, OutlinedDeclaration, OutlinedKey, OutlinedValue, SealedOutline,
    SetOutline,
};
use order::{Order, OrderKind};

use crate::{count, line, profile, quoted};

const ACTIVATION: &str = "com.apple.activation.simple";
const SUBSCRIPTIONS: &str = "com.apple.configuration.management.status-subscriptions";
/// The key of a profile whose payloads are encrypted.
const ENCRYPTED: &str = "EncryptedPayloadContent";
const UPDATE: &str = "com.apple.configuration.softwareupdate.enforcement.specific";

/// What an order does by what lies sealed in it, a line each: read from the order's own bytes. Nothing for an order that is
/// told whole by [`crate::what`].
#[must_use]
pub fn inside(order: &Order) -> Vec<String> {
    match &order.outline {
        Some(SealedOutline::Declarations(set)) => declarations(set),
        Some(SealedOutline::Profile(outline)) => saved(outline),
        Some(SealedOutline::Raw(given)) if given.is_empty() => vec!["it has no keys".into()],
        Some(SealedOutline::Raw(given)) => vec![keys(given)],
        None if order.kind.takes_outline() => {
            vec!["the order does not tell what it does: what lies sealed in it can't be shown".into()]
        }
        None => match (&order.kind, order.sealed_digest) {
            (OrderKind::SetServiceToken { .. }, None) => vec!["none is given any more".into()],
            (OrderKind::SetServiceToken { .. }, Some(_)) => vec!["a new one is given".into()],
            _ => Vec::new(),
        },
    }
}

/// What lies sealed in an order and is not told, and who reads it; nothing for an order that has nothing sealed.
#[must_use]
pub fn sealed(order: &Order) -> Option<&'static str> {
    order.sealed_digest?;
    Some(match &order.kind {
        OrderKind::JoinFirst { .. } | OrderKind::AddPerson { .. } => {
            "the person's name, sealed to the vault: people who may read names open it"
        }
        OrderKind::Invite { .. } => {
            "the holder's name and email address, sealed to the vault: people who may read names open them"
        }
        OrderKind::SetServiceToken { .. } => {
            "the token, sealed to the vault: phones that ask get it, nobody else"
        }
        OrderKind::SetDeclarations { .. } => {
            "texts of the declarations that are not told here, and the holder's name where it erases: sealed to the vault, \
             which hands the declarations to the phones alone"
        }
        OrderKind::SaveProfile { .. } => {
            "the profile, sealed to the vault; what it does is told once it is saved, and again before it is installed"
        }
        OrderKind::InstallSaved { .. } => {
            "the holder's name, sealed to the vault, which compares it with the invitation's"
        }
        OrderKind::Command { command } => match command {
            Command::InstallProfile => {
                "texts of the profile that are not told here (names, addresses, passwords), and the holder's name where it \
                 erases: sealed to the vault, which hands the profile to the phones alone"
            }
            Command::Raw { .. } => {
                "texts of the command that are not told here, and the holder's name where it erases: sealed to the vault, \
                 which hands the command to the phones alone"
            }
            Command::DeviceLock | Command::EnableLostMode => {
                "what was typed to stand on the screen (a message, a number to call): sealed to the vault, which hands it to the \
                 phones alone"
            }
            Command::InstallApplication { .. } => {
                "settings for the app: sealed to the vault, which hands them to the phones alone"
            }
            Command::Settings { .. } => {
                "names or settings that were typed, and the holder's name where it erases: sealed to the vault, which hands \
                 what is for the phones to them alone"
            }
            _ => "the holder's name, sealed to the vault, which compares it with the invitation's",
        },
        _ => "something only the vault reads: ask whoever made the order what it is",
    })
}

/// What a profile says, a payload a line.
#[must_use]
pub fn saved(outline: &Outline) -> Vec<String> {
    let mut out = vec![format!("the profile's identifier is {}", quoted(&outline.identifier))];
    if !outline.keys.is_empty() {
        out.push(format!("{}: {}", profile::payload(""), keys(&outline.keys)));
    }
    for payload in &outline.payloads {
        let mut told = Vec::new();
        if !payload.keys.is_empty() {
            told.push(keys(&payload.keys));
        }
        if payload.unknown_keys > 0 {
            told.push(format!(
                "{} that Apple's schema, as it is known here, has not",
                count(payload.unknown_keys.into(), "key")
            ));
        }
        if told.is_empty() {
            told.push(match (payload.known, outline.left_out) {
                (true, 0) => "no keys of its own".into(),
                (true, _) => "of its keys none is told".into(),
                (false, _) => "a type that Apple's schema, as it is known here, has not".into(),
            });
        }
        out.push(format!("{}: {}", profile::payload(&payload.payload_type), told.join("; ")));
    }
    if outline.payloads.is_empty() {
        // What is encrypted, or has a name that nobody here knows, may well hold some.
        let may_hold = |k: &OutlinedKey| k.path == ENCRYPTED || k.path.split('.').any(|part| part == "*");
        let hides = outline.left_out > 0 || outline.keys.iter().any(may_hold);
        out.push(match hides {
            true => "it has no payloads that can be told; what it does can't be seen here".into(),
            false => "it has no payloads: all it can do is take another profile's place".into(),
        });
    }
    out.extend(left_out(outline.left_out));
    out
}

fn left_out(n: u32) -> Option<String> {
    (n > 0).then(|| format!("AND {} MORE THAT ARE NOT TOLD", count(n.into(), "key").to_uppercase()))
}

fn declarations(set: &SetOutline) -> Vec<String> {
    if set.declarations.is_empty() {
        return vec!["the set is empty: nothing of it stays on the phones".into()];
    }
    let mut out: Vec<String> = set.declarations.iter().map(|d| declaration(d, set.left_out > 0)).collect();
    out.extend(left_out(set.left_out));
    out
}

/// `cut`: keys of its set are left out, and some may be its own.
fn declaration(d: &OutlinedDeclaration, cut: bool) -> String {
    let text = |path: &str| match d.keys.iter().find(|k| k.path == path).map(|k| &k.value) {
        Some(OutlinedValue::Text(text)) => Some(in_sentence(text)),
        _ => None,
    };
    let idle = if d.in_force { "" } else { " (NOT IN FORCE: no activation of the set names it)" };
    let listed = |list: &str| -> (Vec<String>, usize) {
        let item = |k: &OutlinedKey| match &k.value {
            OutlinedValue::Text(text) if k.path.starts_with(list) => Some(in_sentence(text)),
            _ => None,
        };
        let named: Vec<_> = d.keys.iter().filter_map(item).collect();
        let rest = d.keys.len() - named.len();
        (named, rest)
    };
    // A sentence of its own has a place for everything that the declaration has, or it is told key by key.
    match d.declared_type.as_str() {
        UPDATE if d.keys.iter().all(is_of_update) => {
            if let (Some(version), Some(by)) = (text("TargetOSVersion"), text("TargetLocalDateTime")) {
                let build = text("TargetBuildVersion").map(|b| format!(" (build {b})")).unwrap_or_default();
                let page =
                    text("DetailsURL").map(|u| format!("; its page about it is at {u}")).unwrap_or_default();
                return format!(
                    "update the system to {version}{build}: a phone that has not by {} (its own local time) installs it by \
                     itself{page}{idle}",
                    by.replace('T', " ")
                );
            }
        }
        ACTIVATION => {
            let (named, rest) = listed("StandardConfigurations.");
            let on = if rest == 0 { "" } else { ", on a condition that is not told" };
            if !named.is_empty() {
                return format!("put into force: {}{on}", named.join(", "));
            }
        }
        SUBSCRIPTIONS => {
            let (named, rest) = listed("StatusItems.");
            if !named.is_empty() && rest == 0 {
                return format!("have the phone report {}{idle}", named.join(", "));
            }
        }
        _ => {}
    }
    let told = match (d.keys.is_empty(), cut) {
        (true, false) => "nothing is set".into(),
        (true, true) => "of its keys none is told".into(),
        (false, _) => keys(&d.keys),
    };
    format!("{} {}{idle}: {told}", declared_in_words(&d.declared_type), quoted(d.identifier.as_str()))
}

/// A key for which the sentence of an update by a deadline has a place.
fn is_of_update(k: &OutlinedKey) -> bool {
    let places = ["TargetOSVersion", "TargetBuildVersion", "TargetLocalDateTime", "DetailsURL"];
    places.contains(&k.path.as_str()) && matches!(k.value, OutlinedValue::Text(_))
}

/// A text in a sentence: in quotes, unless it is one word that can't be taken for anything else there.
fn in_sentence(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'/' | b'_');
    let is_word = !text.is_empty() && text.bytes().all(plain);
    if is_word || text == OutlinedValue::NOT_PLAIN { text.to_owned() } else { quoted(text) }
}

/// A declaration's type as people call it; one that has no name here is told as it is.
fn declared_in_words(declared: &str) -> String {
    let kinds = DeclarationKind::ALL.map(|k| format!("com.apple.{}.", k.name()));
    let short = kinds.iter().find_map(|k| declared.strip_prefix(k.as_str())).unwrap_or(declared);
    match short {
        "passcode.settings" => "passcode".into(),
        "legacy" | "legacy.interactive" => "profile by its address".into(),
        "organization-info" => "the organisation".into(),
        _ => match short.strip_prefix("account.") {
            Some(of) => format!("account ({})", line(of)),
            None => line(declared),
        },
    }
}

fn keys(keys: &[OutlinedKey]) -> String {
    let one = |k: &OutlinedKey| format!("{}: {}", profile::key(&k.path), profile::value(&k.value));
    keys.iter().map(one).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{DeclarationId, Digest, OrderId, OutlinedPayload, SetName, Since};
    use order::X25519Public;

    fn key(path: &str, value: OutlinedValue) -> OutlinedKey {
        OutlinedKey { path: path.into(), value }
    }

    fn text(path: &str, text: &str) -> OutlinedKey {
        key(path, OutlinedValue::Text(text.into()))
    }

    fn declared(declared: &str, in_force: bool, keys: Vec<OutlinedKey>) -> OutlinedDeclaration {
        let identifier = DeclarationId::new("org.example.one").unwrap();
        OutlinedDeclaration { identifier, declared_type: declared.into(), in_force, keys }
    }

    fn order(kind: OrderKind, outline: Option<SealedOutline>) -> Order {
        Order {
            version: 1,
            id: OrderId([1; 16]),
            kind,
            targets: vec![],
            reason: "a test".into(),
            made_at_ms: 0,
            expires_at_ms: 1,
            answer_key: X25519Public([0; 32]),
            sealed_digest: Some(Digest([2; 32])),
            outline,
        }
    }

    fn set_declarations() -> OrderKind {
        OrderKind::SetDeclarations { set: SetName::new("policy").unwrap() }
    }

    fn of_set(declarations: Vec<OutlinedDeclaration>, left_out: u32) -> Vec<String> {
        let set = SetOutline { declarations, left_out };
        inside(&order(set_declarations(), Some(SealedOutline::Declarations(set))))
    }

    #[test]
    fn an_update_by_a_deadline_is_told_by_version_build_and_deadline_with_whose_time_it_is() {
        let keys = vec![
            text("DetailsURL", "https://it.example.org"),
            text("TargetBuildVersion", "22B83"),
            text("TargetLocalDateTime", "2026-12-01T20:00:00"),
            text("TargetOSVersion", "18.1"),
        ];
        let told = of_set(vec![declared(UPDATE, true, keys.clone())], 0);
        let wanted = "update the system to 18.1 (build 22B83): a phone that has not by 2026-12-01 20:00:00 (its own local \
                      time) installs it by itself; its page about it is at https://it.example.org";
        assert_eq!(told, [wanted]);
        assert!(of_set(vec![declared(UPDATE, false, keys)], 0)[0].contains("NOT IN FORCE"));
        // One whose deadline is no text that may be told says so, and not less.
        let odd = vec![
            key("TargetLocalDateTime", OutlinedValue::Set(Since::Unknown)),
            text("TargetOSVersion", "18.1"),
        ];
        assert!(
            of_set(vec![declared(UPDATE, true, odd)], 0)[0].contains("target local date time: set (sealed)")
        );
    }

    #[test]
    fn a_set_is_told_declaration_by_declaration_and_an_empty_one_and_what_is_not_told_as_such() {
        let passcode = vec![
            key("MaximumFailedAttempts", OutlinedValue::Whole(2)),
            key("RequirePasscode", OutlinedValue::Truth(true)),
        ];
        let on = vec![text("StandardConfigurations.0", "org.example.one")];
        let on_condition = [on.clone(), vec![key("Predicate", OutlinedValue::Set(Since::Unknown))]].concat();
        let account = vec![text("HostName", "mail.example.org")];
        let told = of_set(
            vec![
                declared("com.apple.configuration.passcode.settings", true, passcode),
                declared("com.apple.configuration.account.mail", false, account),
                declared(ACTIVATION, true, on),
                declared(ACTIVATION, true, on_condition),
                declared(SUBSCRIPTIONS, true, vec![text("StatusItems.0.Name", "mdm.app")]),
                declared("com.apple.configuration.watch.enrollment", true, vec![]),
            ],
            3,
        );
        insta::assert_snapshot!(told.join("\n"));
        assert_eq!(of_set(vec![], 0), ["the set is empty: nothing of it stays on the phones"]);
    }

    #[test]
    fn a_profile_and_a_raw_command_are_told_by_their_keys() {
        let outline = Outline {
            identifier: "org.example.wifi".into(),
            keys: vec![key("PayloadRemovalDisallowed", OutlinedValue::Truth(true))],
            payloads: vec![OutlinedPayload {
                payload_type: "com.apple.wifi.managed".into(),
                known: true,
                keys: vec![
                    key("EncryptionType", OutlinedValue::Word("WPA2".into())),
                    key("Password", OutlinedValue::Set(Since::Unknown)),
                ],
                unknown_keys: 1,
            }],
            left_out: 0,
        };
        let install = OrderKind::Command { command: Command::InstallProfile };
        let told = inside(&order(install.clone(), Some(SealedOutline::Profile(outline))));
        insta::assert_snapshot!(told.join("\n"));
        let raw = OrderKind::Command { command: Command::Raw { request_type: "DeleteUser".into() } };
        let keys = vec![key("ForceDeletion", OutlinedValue::Truth(true))];
        assert_eq!(inside(&order(raw, Some(SealedOutline::Raw(keys)))), ["force deletion: yes"]);
        assert!(inside(&order(install, None))[0].contains("does not tell what it does"));
    }

    #[test]
    fn what_lies_sealed_is_named_with_who_reads_it_and_a_token_that_is_taken_away_is_told_as_such() {
        let lock = OrderKind::Command { command: Command::DeviceLock };
        let sealed_lock = order(lock, None);
        assert!(sealed(&sealed_lock).unwrap().contains("sealed to the vault"));
        assert_eq!(sealed(&Order { sealed_digest: None, ..sealed_lock }), None);
        let token = order(OrderKind::SetServiceToken { service: "com.apple.maid".into() }, None);
        assert_eq!(inside(&token), ["a new one is given"]);
        assert_eq!(inside(&Order { sealed_digest: None, ..token }), ["none is given any more"]);
    }

    #[test]
    fn a_page_or_build_that_is_set_and_not_told_does_not_vanish_from_an_update() {
        let keys = vec![
            key("DetailsURL", OutlinedValue::Set(Since::Unknown)),
            text("TargetLocalDateTime", "2026-12-01T20:00:00"),
            text("TargetOSVersion", "18.1"),
        ];
        let told = &of_set(vec![declared(UPDATE, true, keys)], 0)[0];
        assert!(
            told.contains("details URL: set (sealed)") && told.contains("target OS version: '18.1'"),
            "{told}"
        );
        // Nor does a key that the schema has not.
        let keys = vec![
            text("TargetLocalDateTime", "2026-12-01T20:00:00"),
            text("TargetOSVersion", "18.1"),
            key("*", OutlinedValue::Set(Since::Unknown)),
        ];
        let told = &of_set(vec![declared(UPDATE, true, keys)], 0)[0];
        assert!(told.contains("(a name of its author's): set (sealed)"), "{told}");
        let empty = vec![key("StandardConfigurations", OutlinedValue::Empty)];
        let told = &of_set(vec![declared(ACTIVATION, true, empty)], 0)[0];
        assert!(told.ends_with("standard configurations: empty"), "{told}");
    }

    #[test]
    fn what_is_left_out_encrypted_or_unknown_is_not_called_nothing() {
        let told = of_set(vec![declared("com.apple.configuration.watch.enrollment", true, vec![])], 1);
        assert!(told[0].ends_with("of its keys none is told"), "{told:?}");
        let payload = |known| OutlinedPayload {
            payload_type: "com.apple.wifi.managed".into(),
            known,
            keys: vec![],
            unknown_keys: 0,
        };
        let with = |known, left_out| {
            saved(&Outline { payloads: vec![payload(known)], left_out, ..Outline::default() })[1].clone()
        };
        assert!(with(true, 0).ends_with("no keys of its own"));
        assert!(with(true, 1).ends_with("of its keys none is told"));
        assert!(with(false, 0).ends_with("has not"));
        let none = |path: &str| {
            let keys = vec![key(path, OutlinedValue::Set(Since::Unknown))];
            saved(&Outline { keys, ..Outline::default() }).pop().unwrap()
        };
        assert!(none("PayloadScope").contains("all it can do is take another profile's place"));
        for path in [ENCRYPTED, "*", "ConsentText.*"] {
            assert!(none(path).contains("can't be seen here"), "{path}");
        }
    }

    #[test]
    fn no_text_that_somebody_chose_ends_its_own_quotes() {
        let feigned = r"org.example'; passcode: \'none";
        let outline = Outline { identifier: feigned.into(), ..Outline::default() };
        let wanted = r"the profile's identifier is 'org.example\'; passcode: \\\'none'";
        assert_eq!(saved(&outline)[0], wanted);
        let told = of_set(
            vec![declared(
                "com.apple.configuration.account.mail",
                true,
                vec![text("HostName", "a; port: 1")],
            )],
            0,
        );
        assert!(told[0].ends_with("host name: 'a; port: 1'"), "{told:?}");
        let keys = vec![text("TargetLocalDateTime", "2026"), text("TargetOSVersion", "18 (build 22B83): x")];
        assert!(of_set(vec![declared(UPDATE, true, keys)], 0)[0].contains("to '18 (build 22B83): x':"));
    }

    #[test]
    fn no_told_text_steers_whoever_is_shown_it() {
        let hostile = "18\u{1b}[2J\n\u{202e}";
        let keys = vec![text("TargetOSVersion", hostile), text("TargetLocalDateTime", hostile)];
        let odd = vec![text("StatusItems.0.Name", hostile), text(hostile, hostile)];
        for told in of_set(vec![declared(UPDATE, true, keys), declared(hostile, true, odd)], 0) {
            assert!(!told.chars().any(|c| c.is_control() || c == '\u{202e}'), "{told:?}");
        }
    }
}
