//! What an order tells of what lies sealed beside it ([`model::SealedOutline`]): the vault and whoever makes the order make
//! it with this, so that what a person signs is what the vault reads.
//!
//! What is told is a list: truth values, whole numbers, words of Apple's own lists, names of status items; of all texts only those of [`TEXTS`], and of the addresses of [`ADDRESSES`] the server. None of them is a
//! person's, and each is what a signer has to judge: which version by when, and which server gets people's passwords or
//! hands out what a phone installs.

use model::{
    Command, CommandSecrets, Outline, OutlinedDeclaration, OutlinedKey, OutlinedValue, SealedOutline,
    SetOutline, Since,
};
use plist::{Dictionary, Value};

use crate::declaration::{DECLARATIONS, Declaration, Shape, in_force};
use crate::json::Json;
use crate::profile::schema;
use crate::raw;

/// Keys whose text is told, if it is short and plain.
pub const TEXTS: &[&str] = &[
    "HostName",
    "ProductKey",
    "ProductVersion",
    // Identifiers of declarations; the ledger has them too.
    "StandardConfigurations",
    "TargetBuildVersion",
    "TargetLocalDateTime",
    "TargetOSVersion",
];
/// Keys whose text is an address: scheme and server are told, and nothing of the rest.
pub const ADDRESSES: &[&str] = &[
    "DataURL",
    "DetailsURL",
    "InvitationURL",
    "MediaURL",
    "ProfileURL",
    "SignInURL",
    "TokenRequestURL",
    "eSIMServerURL",
];
/// The longest text that is told, in characters.
const LONGEST_TEXT: usize = 200;

/// Of a set.
#[must_use]
pub fn of_set(set: &[Declaration]) -> SetOutline {
    let on = in_force(set);
    let mut telling = Telling::default();
    let one = |d: &Declaration| {
        let keys = DECLARATIONS.iter().find(|row| row.name == d.declared_type()).map_or(&[][..], |r| r.keys);
        telling.json(Shape::Object(keys), d.payload(), &At::default());
        OutlinedDeclaration {
            identifier: d.identifier().clone(),
            declared_type: d.declared_type().to_owned(),
            in_force: d.kind() != model::DeclarationKind::Configuration
                || on.contains(d.identifier().as_str()),
            keys: std::mem::take(&mut telling.keys),
        }
    };
    let declarations = set.iter().map(one).collect();
    SetOutline { declarations, left_out: telling.left_out }
}

/// Of a command's sealed half; nothing for a command that says all there is to judge by itself, and nothing for what does
/// not fit Apple's schema.
#[must_use]
pub fn of_command(command: &Command, secrets: &CommandSecrets) -> Option<SealedOutline> {
    match command {
        Command::InstallProfile => {
            let read = schema::read(secrets.profile.as_deref()?).ok()?;
            Some(SealedOutline::Profile(read.outline))
        }
        Command::Raw { request_type } => {
            let (read, dictionary) = raw::read(secrets.raw.as_deref()?).ok()?;
            let row =
                raw::COMMANDS.iter().find(|c| c.request_type == read && read == request_type.as_str())?;
            let mut telling = Telling::default();
            telling.dictionary(row.keys, &dictionary, &At::default());
            // The closed table lets through no more than are told.
            (telling.left_out == 0).then_some(SealedOutline::Raw(telling.keys))
        }
        _ => None,
    }
}

/// Where a value stands: its path, and the last name of Apple's in it.
#[derive(Default)]
struct At {
    path: String,
    name: &'static str,
}

impl At {
    fn key(&self, name: &'static str) -> Self {
        Self { path: self.joined(name), name }
    }

    fn item(&self, n: usize) -> Self {
        Self { path: self.joined(&n.to_string()), name: self.name }
    }

    fn joined(&self, part: &str) -> String {
        if self.path.is_empty() { part.to_owned() } else { format!("{}.{part}", self.path) }
    }
}

#[derive(Default)]
struct Telling {
    keys: Vec<OutlinedKey>,
    count: usize,
    left_out: u32,
}

impl Telling {
    fn tell(&mut self, at: &At, value: OutlinedValue) {
        if self.count < Outline::MOST_KEYS {
            self.count += 1;
            self.keys.push(OutlinedKey { path: at.path.clone(), value });
        } else {
            self.left_out = self.left_out.saturating_add(1);
        }
    }

    fn json(&mut self, shape: Shape, value: &Json, at: &At) {
        match (shape, value) {
            // A declaration that has no keys tells none.
            (Shape::Object(_), Json::Object(m)) if m.is_empty() && !at.path.is_empty() => {
                self.tell(at, OutlinedValue::Empty);
            }
            (Shape::Object(keys), Json::Object(members)) => {
                for (name, member) in members {
                    let key = keys.iter().find(|k| k.name == name || k.name == "*");
                    match key {
                        Some(key) => self.json(key.shape, member, &at.key(key.name)),
                        None => self.tell(&at.key("*"), OutlinedValue::Set(Since::Unknown)),
                    }
                }
            }
            (Shape::List(_), Json::List(items)) if items.is_empty() => self.tell(at, OutlinedValue::Empty),
            (Shape::List(of), Json::List(items)) => {
                for (n, item) in items.iter().enumerate() {
                    self.json(*of, item, &at.item(n));
                }
            }
            (Shape::Truth, Json::Truth(b)) => self.tell(at, OutlinedValue::Truth(*b)),
            (Shape::Whole(..), Json::Whole(n)) => self.tell(at, OutlinedValue::Whole(*n)),
            (Shape::OneOf(words), Json::Text(text)) => self.word(words, text, at),
            (Shape::Text, Json::Text(text)) => self.tell(at, told(at, text)),
            _ => self.tell(at, OutlinedValue::Set(Since::Unknown)),
        }
    }

    fn dictionary(&mut self, keys: &[raw::Key], of: &Dictionary, at: &At) {
        for (name, value) in of.iter().filter(|(name, _)| *name != "RequestType") {
            let Some(key) = keys.iter().find(|k| k.name == name) else {
                self.tell(&at.key("*"), OutlinedValue::Set(Since::Unknown));
                continue;
            };
            let at = at.key(key.name);
            match (key.kind, value) {
                (raw::Kind::Bool, Value::Boolean(b)) => self.tell(&at, OutlinedValue::Truth(*b)),
                (raw::Kind::Integer(..), Value::Integer(n)) => match n.as_signed() {
                    Some(n) => self.tell(&at, OutlinedValue::Whole(n)),
                    None => self.tell(&at, OutlinedValue::Set(Since::Unknown)),
                },
                (raw::Kind::Text([]), Value::String(text)) => self.tell(&at, told(&at, text)),
                (raw::Kind::Text(words), Value::String(text)) => self.word(words, text, &at),
                (raw::Kind::Dictionaries(_), Value::Array(items)) if items.is_empty() => {
                    self.tell(&at, OutlinedValue::Empty);
                }
                (raw::Kind::Dictionaries(keys), Value::Array(items)) => {
                    for (n, item) in items.iter().enumerate() {
                        match item.as_dictionary() {
                            Some(item) if item.is_empty() => self.tell(&at.item(n), OutlinedValue::Empty),
                            Some(item) => self.dictionary(keys, item, &at.item(n)),
                            None => self.tell(&at.item(n), OutlinedValue::Set(Since::Unknown)),
                        }
                    }
                }
                _ => self.tell(&at, OutlinedValue::Set(Since::Unknown)),
            }
        }
    }

    fn word(&mut self, words: &[&str], text: &str, at: &At) {
        let value = match words.iter().find(|w| **w == text) {
            Some(word) => OutlinedValue::Word((*word).to_owned()),
            None => OutlinedValue::Set(Since::Unknown),
        };
        self.tell(at, value);
    }
}

/// What is told of a text.
fn told(at: &At, text: &str) -> OutlinedValue {
    let plain = |t: &str| {
        (1..=LONGEST_TEXT).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
    };
    let is_status_item = || at.path.starts_with("StatusItems.") && is_status_item(text);
    let told = match at.name {
        name if TEXTS.contains(&name) => Some(text.to_owned()),
        name if ADDRESSES.contains(&name) => {
            Some(server_of(text).unwrap_or_else(|| OutlinedValue::NOT_PLAIN.to_owned()))
        }
        "Name" if is_status_item() => Some(text.to_owned()),
        _ => None,
    };
    match told {
        Some(text) if plain(&text) => OutlinedValue::Text(text),
        _ => OutlinedValue::Set(Since::Unknown),
    }
}

/// Whether a text has the form of a status item's name, under one of the heads that Apple's schema has (iOS).
fn is_status_item(text: &str) -> bool {
    const HEADS: &[&str] =
        &["account", "app", "device", "management", "mdm", "passcode", "security", "softwareupdate", "test"];
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-');
    text.split_once('.').is_some_and(|(head, _)| HEADS.contains(&head)) && text.bytes().all(plain)
}

/// `https://apps.example.org` of `https://apps.example.org/path?query`. Nothing of an address with `@` or `\` anywhere, or
/// with a port that is no number: what stands there may be a password, and programs differ in which server they take.
fn server_of(address: &str) -> Option<String> {
    let (scheme, rest) = address.split_once("://")?;
    if rest.contains(['@', '\\']) {
        return None;
    }
    let authority = rest.split(['/', '?', '#']).next()?;
    let (host, port) = authority.split_once(':').map_or((authority, None), |(h, p)| (h, Some(p)));
    let is_name = |t: &str, also: &[u8]| {
        !t.is_empty() && t.bytes().all(|b| b.is_ascii_alphanumeric() || also.contains(&b))
    };
    let is_port = |p: &str| (1..=5).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit());
    let plain = is_name(scheme, b"") && is_name(host, b".-") && port.is_none_or(is_port);
    plain.then(|| format!("{scheme}://{authority}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declaration::read_set;

    fn keys(json: &str) -> Vec<(String, OutlinedValue)> {
        let set = of_set(&read_set(json.as_bytes()).unwrap());
        set.declarations.into_iter().flat_map(|d| d.keys).map(|k| (k.path, k.value)).collect()
    }

    fn text(path: &str, text: &str) -> (String, OutlinedValue) {
        (path.to_owned(), OutlinedValue::Text(text.into()))
    }

    fn set(path: &str) -> (String, OutlinedValue) {
        (path.to_owned(), OutlinedValue::Set(Since::Unknown))
    }

    #[test]
    fn an_update_by_a_deadline_tells_its_version_its_build_its_deadline_and_whose_page() {
        let json = r#"[{"Type": "com.apple.configuration.softwareupdate.enforcement.specific", "Identifier": "os",
            "Payload": {"TargetOSVersion": "18.1", "TargetBuildVersion": "22B83",
            "TargetLocalDateTime": "2026-12-01T20:00:00", "DetailsURL": "https://it.example.org/why?who=ada"}}]"#;
        let wanted = [
            text("DetailsURL", "https://it.example.org"),
            text("TargetBuildVersion", "22B83"),
            text("TargetLocalDateTime", "2026-12-01T20:00:00"),
            text("TargetOSVersion", "18.1"),
        ];
        assert_eq!(keys(json), wanted);
        assert!(!of_set(&read_set(json.as_bytes()).unwrap()).declarations[0].in_force);
    }

    #[test]
    fn a_passcodes_numbers_are_told_and_a_name_a_password_or_a_whole_address_are_not() {
        let json = r#"[
            {"Type": "com.apple.activation.simple", "Identifier": "on", "Payload": {"StandardConfigurations": ["code"]}},
            {"Type": "com.apple.configuration.passcode.settings", "Identifier": "code",
             "Payload": {"MaximumFailedAttempts": 2, "RequirePasscode": true}},
            {"Type": "com.apple.configuration.account.caldav", "Identifier": "cal",
             "Payload": {"HostName": "cal.example.org", "VisibleName": "Ada Example"}},
            {"Type": "com.apple.asset.useridentity", "Identifier": "who",
             "Payload": {"FullName": "Ada Example", "EmailAddress": "ada@example.org"}},
            {"Type": "com.apple.asset.data", "Identifier": "data",
             "Payload": {"Reference": {"DataURL": "https://d.example.org:8443/x?key=secret"}}},
            {"Type": "com.apple.asset.data", "Identifier": "data2",
             "Payload": {"Reference": {"DataURL": "https://ada:pa#secret@d.example.org/x"}}},
            {"Type": "com.apple.management.properties", "Identifier": "words", "Payload": {"Ada": "Example"}}
        ]"#;
        let outline = of_set(&read_set(json.as_bytes()).unwrap());
        let forced: Vec<_> = outline.declarations.iter().map(|d| d.in_force).collect();
        assert_eq!(forced, [true, true, false, true, true, true, true]);
        let wanted = [
            text("StandardConfigurations.0", "code"),
            ("MaximumFailedAttempts".to_owned(), OutlinedValue::Whole(2)),
            ("RequirePasscode".to_owned(), OutlinedValue::Truth(true)),
            text("HostName", "cal.example.org"),
            set("VisibleName"),
            set("EmailAddress"),
            set("FullName"),
            text("Reference.DataURL", "https://d.example.org:8443"),
            text("Reference.DataURL", OutlinedValue::NOT_PLAIN),
            set("*"),
        ];
        assert_eq!(keys(json), wanted);
        let all = format!("{outline:?}");
        assert!(!all.contains("Ada") && !all.contains("secret") && !all.contains("ada@"), "{all}");
    }

    #[test]
    fn a_status_items_name_is_told_and_another_text_in_its_place_is_not() {
        let json = r#"[{"Type": "com.apple.configuration.management.status-subscriptions", "Identifier": "s",
            "Payload": {"StatusItems": [{"Name": "softwareupdate.pending-version"}, {"Name": "ada.example"}]}}]"#;
        let wanted =
            [text("StatusItems.0.Name", "softwareupdate.pending-version"), set("StatusItems.1.Name")];
        assert_eq!(keys(json), wanted);
    }

    #[test]
    fn what_is_too_long_or_would_steer_a_terminal_is_not_told() {
        for bad in ["x".repeat(201), "18.1\u{1b}[2J".into(), "18.\u{202e}1".into(), String::new()] {
            let value = told(&At::default().key("TargetOSVersion"), &bad);
            assert_eq!(value, OutlinedValue::Set(Since::Unknown), "{bad:?}");
        }
        for bad in ["no address", "https://", "https:///path", "a b://host"] {
            assert_eq!(server_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_server_is_told_of_a_plain_address_alone_and_nothing_of_a_password() {
        for (address, server) in [
            ("https://it.example.org", "https://it.example.org"),
            ("https://it.example.org:8443/a/b", "https://it.example.org:8443"),
            ("https://it.example.org?why", "https://it.example.org"),
            ("https://it.example.org#why", "https://it.example.org"),
        ] {
            assert_eq!(server_of(address).as_deref(), Some(server), "{address}");
        }
        for bad in [
            "https://ada:pa#ss@host.example/",
            "https://ada:12#ss@host.example/",
            "https://ada:1/2@host.example/",
            "https://ada@host.example/",
            r"https://good.example.org\@evil.example/",
            r"https://good.example.org\.evil.example/",
            "https://good.example.org%2f.evil.example/",
            "https://good.example.org:80x/",
            "https://good.example.org:/",
            "https://[::1]/",
            "https://good.example.org evil/",
        ] {
            assert_eq!(server_of(bad), None, "{bad}");
            let value = told(&At::default().key("ProfileURL"), bad);
            assert_eq!(value, OutlinedValue::Text(OutlinedValue::NOT_PLAIN.into()), "{bad}");
        }
    }

    #[test]
    fn an_empty_list_or_dictionary_is_told_as_empty_and_one_that_is_not_there_is_not_told() {
        let json = r#"[{"Type": "com.apple.configuration.management.status-subscriptions", "Identifier": "s",
            "Payload": {"StatusItems": []}},
            {"Type": "com.apple.activation.simple", "Identifier": "on", "Payload": {"StandardConfigurations": []}}]"#;
        let empty = |path: &str| (path.to_owned(), OutlinedValue::Empty);
        assert_eq!(keys(json), [empty("StatusItems"), empty("StandardConfigurations")]);
    }

    #[test]
    fn what_is_beyond_what_is_told_is_counted() {
        let items: Vec<_> = (0..1_001).map(|_| r#"{"Name": "mdm.app"}"#).collect();
        let json = format!(
            r#"[{{"Type": "com.apple.configuration.management.status-subscriptions", "Identifier": "s",
            "Payload": {{"StatusItems": [{}]}}}}]"#,
            items.join(",")
        );
        let outline = of_set(&read_set(json.as_bytes()).unwrap());
        assert_eq!((outline.declarations[0].keys.len(), outline.left_out), (Outline::MOST_KEYS, 1));
    }

    #[test]
    fn a_raw_command_tells_its_keys_and_no_name_or_password() {
        let plist = |request: &str, keys: &str| {
            let raw = format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?><plist version=\"1.0\"><dict><key>RequestType</key>\
                 <string>{request}</string>{keys}</dict></plist>"
            );
            let command = Command::Raw { request_type: request.to_owned() };
            of_command(&command, &CommandSecrets { raw: Some(raw.into_bytes()), ..CommandSecrets::default() })
        };
        let update = "<key>Updates</key><array><dict><key>ProductVersion</key><string>18.1</string>\
            <key>InstallAction</key><string>InstallASAP</string></dict></array>";
        let Some(SealedOutline::Raw(keys)) = plist("ScheduleOSUpdate", update) else { panic!() };
        let key = |path: &str, value| OutlinedKey { path: path.into(), value };
        let mut keys = keys;
        keys.sort_by(|a, b| a.path.cmp(&b.path));
        let wanted = [
            key("Updates.0.InstallAction", OutlinedValue::Word("InstallASAP".into())),
            key("Updates.0.ProductVersion", OutlinedValue::Text("18.1".into())),
        ];
        assert_eq!(keys, wanted);
        let user = "<key>UserName</key><string>ada</string><key>ForceDeletion</key><true/>";
        let told = format!("{:?}", plist("DeleteUser", user));
        assert!(told.contains("ForceDeletion") && !told.contains("ada"), "{told}");
        assert_eq!(plist("NoSuchCommand", ""), None);
        let swapped = Command::Raw { request_type: "StopMirroring".into() };
        let raw =
            b"<?xml version=\"1.0\" encoding=\"UTF-8\"?><plist version=\"1.0\"><dict><key>RequestType</key>\
            <string>LogOutUser</string></dict></plist>";
        assert_eq!(
            of_command(&swapped, &CommandSecrets { raw: Some(raw.to_vec()), ..CommandSecrets::default() }),
            None
        );
    }

    #[test]
    fn a_profile_tells_what_the_library_tells_of_it() {
        let profile = include_bytes!("../tests/data/profile_mild.mobileconfig");
        let secrets = CommandSecrets { profile: Some(profile.to_vec()), ..CommandSecrets::default() };
        let outline = schema::read(profile).unwrap().outline;
        assert_eq!(of_command(&Command::InstallProfile, &secrets), Some(SealedOutline::Profile(outline)));
        assert_eq!(of_command(&Command::InstallProfile, &CommandSecrets::default()), None);
        assert_eq!(of_command(&Command::DeviceLock, &secrets), None);
    }
}
