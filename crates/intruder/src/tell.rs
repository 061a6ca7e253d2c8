//! What the intruder says on standard output: one JSON object a line. The drill believes none of it about the
//! house; it compares values with those it knows to be true, and asks its phones.

use std::io::Write;

use model::{Clock, EnrolmentId, SystemClock};
use serde_json::{Value, json};

fn say(what: &Value) {
    let mut out = std::io::stdout().lock();
    // A drill that is gone hears nothing; the supervisor ends us.
    let _ = writeln!(out, "{what}").and_then(|()| out.flush());
}

/// One attempt: whether it got something, and who refused it.
pub(crate) fn attempt(name: &str, got: bool, by: impl std::fmt::Display) {
    say(&json!({ "say": "attempt", "attempt": name, "got": got, "by": by.to_string() }));
}

/// One attempt of which only a phone can tell what came of it.
pub(crate) fn tried(name: &str) {
    say(&json!({ "say": "attempt", "attempt": name, "got": null, "by": "the phones tell" }));
}

/// A value in the clear.
pub(crate) fn value(of: Option<EnrolmentId>, value: &str) {
    say(&json!({ "say": "value", "of": of, "value": value }));
}

/// A value that a phone said while the room was held.
pub(crate) fn passing(of: EnrolmentId, value: &str) {
    say(&json!({ "say": "passing", "of": of, "value": value }));
}

/// A push token that was opened.
pub(crate) fn push_token(of: EnrolmentId, token: &[u8]) {
    let hex: String = token.iter().map(|b| format!("{b:02x}")).collect();
    say(&json!({ "say": "push_token", "of": of, "value": hex }));
}

/// A phone's certificate for a key of the intruder's.
pub(crate) fn minted(of: &str) {
    say(&json!({ "say": "minted", "of": of }));
}

/// A forgery was refused, now.
pub(crate) fn forgery_refused() {
    say(&json!({ "say": "forgery_refused", "at_ms": SystemClock.now_ms() }));
}

/// What ends the process was tried too.
pub(crate) fn over() {
    say(&json!({ "say": "over" }));
}

/// All was tried that does not end the process.
pub(crate) fn done() {
    say(&json!({ "say": "done" }));
}
