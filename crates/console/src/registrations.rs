//! Passkeys that a browser made and that a command line waits for: kept in memory, a few, for minutes.
//!
//! Neither side trusts what lies here: the browser signs it (HMAC) under the link's secret, which the server does not
//! see, and the command line checks that before it signs the order that adds the passkey.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use model::clock::MINUTE_MS;
use model::{Digest, TimeMs};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::api::{Api, Failure};

const KEPT_MS: TimeMs = 10 * MINUTE_MS;
const MOST: usize = 64;

/// What a browser made, under the hash of the link's secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Registration {
    #[serde(skip_serializing)]
    link: Digest,
    rp_id: String,
    origin: String,
    attestation: String,
    mac: String,
}

/// Those that are waited for.
#[derive(Debug, Default)]
pub(crate) struct Registrations(Mutex<HashMap<Digest, (TimeMs, Registration)>>);

impl Registrations {
    /// `now_ms` is time that passed, whatever anyone does to the clock.
    fn put(&self, r: Registration, now_ms: TimeMs) -> bool {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, (since_ms, _)| now_ms - *since_ms < KEPT_MS);
        // The first stays: whoever has the link once can't put another passkey in its place.
        if kept.contains_key(&r.link) {
            return false;
        }
        // Command lines look every second: what strangers left goes first.
        if kept.len() >= MOST
            && let Some(oldest) =
                kept.iter().min_by_key(|(_, (since_ms, _))| *since_ms).map(|(link, _)| *link)
        {
            kept.remove(&oldest);
        }
        kept.insert(r.link, (now_ms, r));
        true
    }

    fn take(&self, link: &Digest, now_ms: TimeMs) -> Option<Registration> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.remove(link).filter(|(since_ms, _)| now_ms - *since_ms < KEPT_MS).map(|(_, r)| r)
    }
}

/// From the browser.
pub(crate) async fn put(State(api): State<Api>, body: axum::body::Bytes) -> Response {
    let Ok(r) = serde_json::from_slice::<Registration>(&body) else {
        return Failure::bad("the page sent what the server does not know; reload the page").json();
    };
    if api.registrations.put(r, api.clock.passed_ms()) {
        Json(json!({})).into_response()
    } else {
        Failure::bad("this link was used already; run the command again for a new one").json()
    }
}

/// To the command line, once.
pub(crate) async fn take(State(api): State<Api>, Path(link): Path<String>) -> Response {
    match link.parse().ok().and_then(|link| api.registrations.take(&link, api.clock.passed_ms())) {
        Some(r) => Json(r).into_response(),
        None => Failure { status: StatusCode::NOT_FOUND, ..Failure::not_found("passkey yet") }.json(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registration(link: u8, origin: &str) -> Registration {
        let (rp_id, attestation, mac) = ("localhost".into(), String::new(), String::new());
        Registration { link: Digest([link; 32]), rp_id, origin: origin.into(), attestation, mac }
    }

    #[test]
    fn a_registration_is_taken_once_and_the_first_under_a_link_stays() {
        let (kept, now) = (Registrations::default(), 5);
        assert!(kept.put(registration(1, "first"), now));
        assert!(!kept.put(registration(1, "second"), now));
        assert_eq!(kept.take(&Digest([1; 32]), now).unwrap().origin, "first");
        assert!(kept.take(&Digest([1; 32]), now).is_none());
    }

    #[test]
    fn few_are_kept_and_not_for_long() {
        let (kept, now) = (Registrations::default(), 5);
        for n in 0..65 {
            assert!(kept.put(registration(n, ""), now + TimeMs::from(n)));
        }
        assert_eq!(kept.0.lock().unwrap().len(), MOST);
        assert!(kept.take(&Digest([0; 32]), now).is_none(), "the oldest went");
        let later = now + KEPT_MS * 2;
        assert!(kept.take(&Digest([1; 32]), later).is_none());
    }
}
