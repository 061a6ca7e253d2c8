//! The door's routes: links, SCEP queries.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        for method in [http::Method::GET, http::Method::PUT, http::Method::POST] {
            let _ = door::route(&method, path, Some(query));
        }
    }
});
