//! A set of declarations that an administrator sends, and a phone's status report: JSON both.
#![no_main]
use apple::declaration::{MAX_SET_BYTES, judge, read_set};
use apple::json::{self, Json};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((mode, data)) = data.split_first() else { return };
    if mode % 2 == 1 {
        if let Ok(report) = apple::status::parse(data) {
            assert!(report.fields.len() + report.elements.len() <= apple::status::MAX_ITEMS + 1);
            assert!(report.fields.iter().all(|f| f.name.len() <= apple::message::MAX_NAME_BYTES));
        }
        return;
    }
    let Ok(set) = read_set(data) else { return };
    // What phones fetch, without the token that was made of it, is the same set and judged the same.
    let bodies = set.iter().map(|declaration| {
        let body = json::read(&declaration.body(), MAX_SET_BYTES).expect("a body reads back");
        let Json::Object(mut members) = body else { panic!("a body is an object") };
        assert_eq!(members.remove("ServerToken"), Some(Json::Text(declaration.token().to_string())));
        Json::Object(members)
    });
    let again = read_set(Json::List(bodies.collect()).write().as_bytes()).expect("what is sent reads back");
    assert!(again == set);
    assert_eq!(judge(&again), judge(&set));
});
