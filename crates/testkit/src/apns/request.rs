//! One request, checked as Apple checks it.

use http::{HeaderMap, Method};
use model::TimeMs;

/// Apple's limit for a payload.
pub(crate) const MAX_PAYLOAD_BYTES: usize = 4096;

/// A refusal: status and Apple's reason word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused(pub u16, pub &'static str);

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub token: Vec<u8>,
    pub topic: String,
    pub push_magic: String,
    pub id: Option<String>,
    pub expires_at_ms: TimeMs,
}

/// How long Apple keeps a push whose sender says nothing: 30 days.
const DEFAULT_LIFE_MS: TimeMs = 30 * model::clock::DAY_MS;

/// Checks method, path, headers and payload; `own_topic` is the client certificate's.
pub(crate) fn check(
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    payload: &[u8],
    own_topic: &str,
    now_ms: TimeMs,
) -> Result<Asked, Refused> {
    let token = path.strip_prefix("/3/device/").ok_or(Refused(404, "BadPath"))?;
    if method != Method::POST {
        return Err(Refused(405, "MethodNotAllowed"));
    }
    if token.is_empty() {
        return Err(Refused(400, "MissingDeviceToken"));
    }
    let token = hex(token).ok_or(Refused(400, "BadDeviceToken"))?;
    let header = |name: &str| headers.get(name).map(|v| v.to_str().unwrap_or_default());
    let topic = header("apns-topic").ok_or(Refused(400, "MissingTopic"))?;
    if topic != own_topic {
        return Err(Refused(400, "TopicDisallowed"));
    }
    if header("apns-push-type") != Some("mdm") {
        return Err(Refused(400, "InvalidPushType"));
    }
    if !matches!(header("apns-priority"), None | Some("1" | "5" | "10")) {
        return Err(Refused(400, "BadPriority"));
    }
    let expires_at_ms = match header("apns-expiration") {
        None => now_ms + DEFAULT_LIFE_MS,
        Some(text) => {
            let seconds: u32 = text.parse().map_err(|_| Refused(400, "BadExpirationDate"))?;
            i64::from(seconds) * 1000
        }
    };
    let id = header("apns-id").map(str::to_owned);
    if id.as_deref().is_some_and(|id| !is_uuid(id)) {
        return Err(Refused(400, "BadMessageId"));
    }
    if payload.is_empty() {
        return Err(Refused(400, "PayloadEmpty"));
    }
    if payload.len() > MAX_PAYLOAD_BYTES {
        return Err(Refused(413, "PayloadTooLarge"));
    }
    // An MDM push has this one key.
    let payload: serde_json::Value =
        serde_json::from_slice(payload).map_err(|_| Refused(400, "BadPayload"))?;
    let only = payload.as_object().filter(|o| o.len() == 1).and_then(|o| o.get("mdm"));
    let push_magic = only.and_then(|v| v.as_str()).ok_or(Refused(400, "BadPayload"))?.to_owned();
    Ok(Asked { token, topic: topic.to_owned(), push_magic, id, expires_at_ms })
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
    let (pairs, rest) = digits.as_deref()?.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text
            .bytes()
            .enumerate()
            .all(|(i, b)| if matches!(i, 8 | 13 | 18 | 23) { b == b'-' } else { b.is_ascii_hexdigit() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOPIC: &str = "com.apple.mgmt.External.made-up";

    fn ask(path: &str, change: &[(&'static str, Option<&str>)], payload: &str) -> Result<Asked, Refused> {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("apns-topic", TOPIC),
            ("apns-push-type", "mdm"),
            ("apns-expiration", "100"),
            ("apns-priority", "10"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        for (name, value) in change {
            match value {
                Some(v) => headers.insert(*name, v.parse().unwrap()),
                None => headers.remove(*name),
            };
        }
        check(&Method::POST, path, &headers, payload.as_bytes(), TOPIC, 5)
    }

    #[test]
    fn a_whole_request_is_taken() {
        let asked = ask("/3/device/00fF", &[], r#"{"mdm":"magic"}"#).unwrap();
        assert_eq!((asked.token.as_slice(), asked.expires_at_ms), (&[0, 255][..], 100_000));
        let unsaid = ask("/3/device/00", &[("apns-expiration", None)], r#"{"mdm":""}"#).unwrap();
        assert_eq!(unsaid.expires_at_ms, 5 + DEFAULT_LIFE_MS);
    }

    #[test]
    fn each_mistake_has_apples_word() {
        let word = |path, change: &[(&'static str, Option<&str>)], payload| {
            ask(path, change, payload).unwrap_err().1
        };
        let (good, body) = ("/3/device/00", r#"{"mdm":"m"}"#);
        assert_eq!(word("/2/device/00", &[], body), "BadPath");
        assert_eq!(word("/3/device/", &[], body), "MissingDeviceToken");
        assert_eq!(word("/3/device/0", &[], body), "BadDeviceToken");
        assert_eq!(word("/3/device/0g", &[], body), "BadDeviceToken");
        assert_eq!(word(good, &[("apns-topic", None)], body), "MissingTopic");
        assert_eq!(word(good, &[("apns-topic", Some("com.apple.mgmt.Other"))], body), "TopicDisallowed");
        assert_eq!(word(good, &[("apns-push-type", Some("alert"))], body), "InvalidPushType");
        assert_eq!(word(good, &[("apns-priority", Some("11"))], body), "BadPriority");
        assert_eq!(word(good, &[("apns-expiration", Some("soon"))], body), "BadExpirationDate");
        assert_eq!(word(good, &[("apns-id", Some("7"))], body), "BadMessageId");
        assert_eq!(word(good, &[], ""), "PayloadEmpty");
        assert_eq!(word(good, &[], r#"{"aps":{}}"#), "BadPayload");
        assert_eq!(word(good, &[], &"x".repeat(4097)), "PayloadTooLarge");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_path_or_payload_makes_it_panic(path in ".*", payload in ".*") {
            let _ = ask(&format!("/3/device/{path}"), &[], &payload);
            let _ = ask(&path, &[], &payload);
        }
    }
}
