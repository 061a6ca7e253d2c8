//! The check-in types against Apple's schema.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test may fail

mod schema;

use apple::Malformed;
use apple::checkin::{AUTHENTICATE_TEXTS, TOKEN_UPDATE_SECRETS};
use apple::message;
use plist::{Dictionary, Value};
use schema::Key;

const MESSAGES: [&str; 8] = [
    "authenticate",
    "tokenupdate",
    "checkout",
    "userauthenticate",
    "setbootstraptoken",
    "getbootstraptoken",
    "gettoken",
    "declarativemanagement",
];

fn value_of(key: &Key) -> Value {
    if let Some(allowed) = key.allowed.first() {
        return allowed.as_str().into();
    }
    match key.kind.as_str() {
        "<string>" if key.name == "Endpoint" => "tokens".into(),
        "<string>" => "a made-up text".into(),
        "<data>" => Value::Data(b"made up".to_vec()),
        "<boolean>" => true.into(),
        "<dictionary>" => {
            Value::Dictionary(key.subkeys.iter().map(|k| (k.name.clone(), value_of(k))).collect())
        }
        other => panic!("{other}"),
    }
}

fn parse(dictionary: &Dictionary) -> Result<message::Message, Malformed> {
    let mut body = Vec::new();
    Value::Dictionary(dictionary.clone()).to_writer_xml(&mut body).unwrap();
    message::parse(&body)
}

#[test]
fn a_message_with_every_key_of_the_schema_is_read_and_each_key_has_the_schemas_type() {
    for name in MESSAGES {
        let Some(doc) = schema::load(&format!("checkin/{name}")) else { return };
        let keys = schema::keys(&doc, "payloadkeys");
        let mut full: Dictionary = keys.iter().map(|k| (k.name.clone(), value_of(k))).collect();
        // The bootstrap messages' schema leaves out who speaks.
        full.insert("UDID".to_owned(), "a made-up device".into());
        let parsed = parse(&full).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(Some(parsed.kind()), doc["payload"]["requesttype"].as_str());
        for key in keys.iter().filter(|k| k.kind != "<dictionary>") {
            let mut wrong = full.clone();
            wrong.insert(key.name.clone(), Value::Real(1.5));
            match parse(&wrong) {
                Err(Malformed::WrongType(named)) => assert_eq!(named, key.name, "{name}"),
                other => panic!("{name}: {} as a real gives {other:?}", key.name),
            }
        }
    }
}

#[test]
fn the_keys_that_the_types_know_are_in_the_schema() {
    let known = |name: &str| -> Option<Vec<String>> {
        let doc = schema::load(&format!("checkin/{name}"))?;
        Some(schema::keys(&doc, "payloadkeys").into_iter().map(|k| k.name).collect())
    };
    let Some(authenticate) = known("authenticate") else { return };
    for key in AUTHENTICATE_TEXTS {
        assert!(authenticate.iter().any(|k| k == key), "{key}");
    }
    let Some(token_update) = known("tokenupdate") else { return };
    for (key, _) in TOKEN_UPDATE_SECRETS {
        assert!(token_update.iter().any(|k| k == key), "{key}");
    }
    for key in ["UDID", "EnrollmentID", "EnrollmentUserID", "UserID", "UserShortName", "UserLongName"] {
        assert!(token_update.iter().any(|k| k == key), "{key}");
    }
}
