//! The door's routes: links, SCEP queries.
#![no_main]
use door::Route;
use http::Method;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (path, query) = text.split_once('?').map_or((text, None), |(p, q)| (p, Some(q)));
    for method in [Method::GET, Method::PUT, Method::POST, Method::HEAD, Method::DELETE] {
        // One spelling of each route, whatever the input.
        match door::route(&method, path, query) {
            Route::Device => assert!(path == "/mdm" && query.is_none_or(str::is_empty)),
            Route::Invitation(secret) => {
                assert_eq!(path, format!("/enrol/{secret}"));
                assert!(secret.len() == 32 && secret.bytes().all(|b| b.is_ascii_alphanumeric()));
            }
            Route::ScepGet(message) => {
                assert!(path == "/scep" && method == Method::GET && !message.is_empty());
                let _ = apple::scep::decode_get_message(&message);
            }
            Route::ScepPost => assert!(path == "/scep" && method == Method::POST),
            Route::ScepCaps | Route::ScepCaCert => assert!(path == "/scep" && method == Method::GET),
            Route::Misused => assert!(path == "/mdm" || path == "/scep" || path.starts_with("/enrol/")),
            Route::Unknown => {}
        }
    }
});
