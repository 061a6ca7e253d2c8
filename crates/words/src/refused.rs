//! What was turned away, as people read it.

/// Why, by its name in the API's health and in the metrics, without the sentence's end.
#[must_use]
pub fn refused(what: &str) -> &str {
    match what {
        "copied_passkey" => {
            "sign-ins with a passkey that somebody has a copy of: see the ledger, and end that key"
        }
        "forged_order" => "orders that nobody here signed",
        "unknown_passkey" => "passkeys' signatures that nobody here made, or made for something else",
        "held_up" => "sign-ins that had to wait, since too many from their address had failed",
        "no_session" => "requests with a session or key that has ended, or never was one",
        "not_allowed" => "requests for what the caller's role or key does not cover",
        "account" => "sign-ins with an organisation's account that came to nothing",
        "holders_card" => "holders' codes that open no phone's page, or came too often",
        "body" => "requests that were too large or too slow",
        "other_phone" => {
            "messages of another phone with an enrolled phone's certificate: the log names it; withdraw it"
        }
        "retired_certificate" => "messages with a certificate that has been replaced",
        "not_enrolled" => "messages of phones that are not enrolled here any more",
        "out_of_order" => "messages that a phone sent before its enrolment had got so far",
        "unreadable" => "messages of phones that could not be read",
        other => other,
    }
}
