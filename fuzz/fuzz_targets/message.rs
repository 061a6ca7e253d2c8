//! What a phone sends: XML and binary property lists, every check-in and report.
#![no_main]
use apple::message::{Field, FieldValue, MAX_NAME_BYTES, Message};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(message) = apple::message::parse(data) {
        match &message {
            Message::Report(report) => {
                check(&report.fields);
                report.items.iter().for_each(|item| check(&item.fields));
            }
            Message::Authenticate(m) => check(&m.fields),
            Message::TokenUpdate(m) => check(&m.fields),
            Message::Unknown { message_type, fields, .. } => {
                assert!(message_type.len() <= 64 && message_type.is_ascii());
                check(fields);
            }
            _ => {}
        }
        // What a log line would hold must say nothing of the message's values.
        assert!(message.kind().is_ascii());
    }
});

/// Each path once and within its bound; each value survives being sealed and opened.
fn check(fields: &[Field]) {
    let mut names: Vec<&str> = fields.iter().map(|f| f.name.as_str()).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|w| w[0] != w[1]), "a path stands twice");
    for field in fields {
        assert!(!field.name.is_empty() && field.name.len() <= MAX_NAME_BYTES);
        let bytes = field.value.encode();
        let again = FieldValue::decode(&bytes).expect("what was encoded decodes");
        assert_eq!(again.encode(), bytes);
        let _ = (model::classify(&field.name), field.value.to_text());
    }
}
