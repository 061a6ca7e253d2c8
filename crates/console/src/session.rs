//! The cookie, and what stands behind it.
//!
//! The browser keeps 32 random bytes; the session's bearer secret is their hash with the browser's own name
//! (`User-Agent`). Matron knows the hash of that. So what lies in the database is no cookie, and a cookie that is
//! carried to a browser of another name is none either. (Someone who copies both is not stopped by this.)

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{COOKIE, USER_AGENT};
use order::sha256;
use zeroize::Zeroizing;

use crate::api::Failure;

/// `__Host-`: by TLS (or this machine) alone, for this very host and every path.
const COOKIE_NAME: &str = "__Host-matron";
/// A page that asks for itself again says so (`live.js`).
pub(crate) const LIVE: &str = "x-matron-live";
const SESSION_CONTEXT: &[u8] = b"matron/session/1\0";
const TOKEN_CONTEXT: &[u8] = b"matron/form-token/1\0";

/// The cookie of these bytes, and the session's secret that it stands for in a browser of this name, as the API
/// takes it: for whoever poses as a browser.
#[must_use]
pub fn of_browser(secret: &[u8; 32], browser: &[u8]) -> (String, String) {
    let bytes = sha256(&[SESSION_CONTEXT, secret, browser].concat());
    let cookie = format!("{COOKIE_NAME}={}", URL_SAFE_NO_PAD.encode(secret));
    (cookie, format!("ms_{}", URL_SAFE_NO_PAD.encode(bytes.0)))
}

/// A session's secret as the API takes it.
#[derive(Clone)]
pub(crate) struct Bearer(Zeroizing<String>, Attended);

/// Whether somebody asks, or a page that stands open asks for itself again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Attended {
    Yes,
    No,
}

impl std::fmt::Debug for Bearer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bearer(secret)")
    }
}

impl Bearer {
    /// Of the cookie's bytes in this browser.
    pub(crate) fn of(secret: &[u8; 32], headers: &HeaderMap) -> Self {
        let browser = headers.get(USER_AGENT).map(|v| v.as_bytes()).unwrap_or_default();
        let attended = if headers.contains_key(LIVE) { Attended::No } else { Attended::Yes };
        Self(Zeroizing::new(of_browser(secret, browser).1), attended)
    }

    /// Of the request's cookie, when there is one.
    pub(crate) fn of_cookie(headers: &HeaderMap) -> Option<Self> {
        Some(Self::of(&secret(only(headers, COOKIE_NAME)?)?, headers))
    }

    /// A holder's, of the cookie's bytes in this browser.
    pub(crate) fn of_holder(secret: &[u8; 32], headers: &HeaderMap) -> Self {
        let browser = headers.get(USER_AGENT).map(|v| v.as_bytes()).unwrap_or_default();
        let bytes = sha256(&[holder::CONTEXT, secret, browser].concat());
        Self(Zeroizing::new(format!("mh_{}", URL_SAFE_NO_PAD.encode(bytes.0))), Attended::Yes)
    }

    /// A holder's, of the request's cookie, when there is one.
    pub(crate) fn of_holders_cookie(headers: &HeaderMap) -> Option<Self> {
        Some(Self::of_holder(&secret(only(headers, holder::NAME)?)?, headers))
    }

    /// For what is not somebody's doing.
    pub(crate) fn unattended(self) -> Self {
        Self(self.0, Attended::No)
    }

    pub(crate) fn is_attended(&self) -> bool {
        self.1 == Attended::Yes
    }

    pub(crate) fn header(&self) -> String {
        format!("Bearer {}", self.0.as_str())
    }

    /// The secret itself, to be hashed.
    pub(crate) fn secret(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// What a page's script has to send along, which no other site can know.
    pub(crate) fn form_token(&self) -> String {
        let bytes = sha256(&[TOKEN_CONTEXT, self.0.as_bytes()].concat());
        URL_SAFE_NO_PAD.encode(bytes.0)
    }
}

/// The value of the one cookie of that name. Two are none.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut found = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(';'))
        .filter_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='));
    let value = found.next()?;
    found.next().is_none().then_some(value)
}

/// The cookie's 32 bytes.
pub(crate) fn secret(text: &str) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

/// Sets the cookie; the browser drops it when it closes.
pub(crate) fn set(secret: &str) -> String {
    format!("{COOKIE_NAME}={secret}; Path=/; Secure; HttpOnly; SameSite=Strict")
}

/// Takes it away.
pub(crate) fn clear() -> String {
    format!("{COOKIE_NAME}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0")
}

/// 32 bytes for a cookie that the server makes, after a sign-in without a script.
pub(crate) fn fresh() -> Result<[u8; 32], Failure> {
    let mut secret = [0; 32];
    let filled = SystemRandom::new().fill(&mut secret);
    filled.map_err(|_| Failure::within("the system gave no random bytes"))?;
    Ok(secret)
}

/// A holder's cookie: another one than that of people who sign orders, who may use the same browser.
pub(crate) mod holder {
    pub(super) const NAME: &str = "__Host-matron-holder";
    pub(super) const CONTEXT: &[u8] = b"matron/holder-session/1\0";

    pub(crate) fn set(secret: &str) -> String {
        format!("{NAME}={secret}; Path=/; Secure; HttpOnly; SameSite=Strict")
    }

    pub(crate) fn clear() -> String {
        format!("{NAME}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0")
    }
}

/// The cookie of a sign-in by an OpenID provider that was begun: 32 bytes, and where to go then. `Lax`, since the provider's
/// page leads back here.
pub(crate) mod oidc {
    use super::*;

    const NAME: &str = "__Host-matron-oidc";
    const SECONDS: u32 = 600;

    pub(crate) fn set(secret: &[u8; 32], to: &str) -> String {
        let (secret, to) = (URL_SAFE_NO_PAD.encode(secret), URL_SAFE_NO_PAD.encode(to));
        format!("{NAME}={secret}.{to}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={SECONDS}")
    }

    pub(crate) fn clear() -> String {
        format!("{NAME}=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0")
    }

    /// The bytes and the path of the request's cookie, when there is one.
    pub(crate) fn of(headers: &HeaderMap) -> Option<([u8; 32], String)> {
        let (secret_text, to) = only(headers, NAME)?.split_once('.')?;
        let to = String::from_utf8(URL_SAFE_NO_PAD.decode(to).ok()?).ok()?;
        Some((secret(secret_text)?, crate::pages::own_path(Some(to))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(cookie: &str, browser: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_str(cookie).unwrap());
        headers.insert(USER_AGENT, HeaderValue::from_str(browser).unwrap());
        headers
    }

    #[test]
    fn a_cookie_in_another_browser_is_another_secret() {
        let cookie = format!("other=1; {COOKIE_NAME}={}", URL_SAFE_NO_PAD.encode([7; 32]));
        let here = Bearer::of_cookie(&headers(&cookie, "Browser/1")).unwrap();
        let again = Bearer::of_cookie(&headers(&cookie, "Browser/1")).unwrap();
        let there = Bearer::of_cookie(&headers(&cookie, "Browser/2")).unwrap();
        assert_eq!(here.header(), again.header());
        assert_ne!(here.header(), there.header());
        assert_eq!(here.header().len(), "Bearer ".len() + 46);
        assert!(!format!("{here:?}").contains("ms_"));
    }

    #[test]
    fn a_holders_cookie_is_no_persons_and_a_persons_is_no_holders() {
        let (own, theirs) =
            (holder::set(&URL_SAFE_NO_PAD.encode([7; 32])), set(&URL_SAFE_NO_PAD.encode([7; 32])));
        let pair = |set: &str| set.split(';').next().unwrap().to_owned();
        let holders = headers(&pair(&own), "Browser/1");
        let bearer = Bearer::of_holders_cookie(&holders).unwrap();
        assert!(bearer.header().starts_with("Bearer mh_") && bearer.header().len() == "Bearer ".len() + 46);
        assert!(Bearer::of_cookie(&holders).is_none());
        assert!(Bearer::of_holders_cookie(&headers(&pair(&theirs), "Browser/1")).is_none());
        let there = Bearer::of_holders_cookie(&headers(&pair(&own), "Browser/2")).unwrap();
        assert_ne!(bearer.header(), there.header(), "in another browser it is another secret");
        for part in ["__Host-", "Path=/;", "Secure", "HttpOnly", "SameSite=Strict"] {
            assert!(own.contains(part) && holder::clear().contains(part), "{part}");
        }
    }

    #[test]
    fn a_sign_in_that_was_begun_is_its_own_browsers_and_leads_to_a_path_of_our_own() {
        let kept = |cookie: &str| oidc::of(&headers(cookie, "Browser/1"));
        let pair = |to: &str| oidc::set(&[7; 32], to).split(';').next().unwrap().to_owned();
        assert_eq!(kept(&pair("/phones?x=1")), Some(([7; 32], "/phones?x=1".into())));
        assert_eq!(kept(&pair("//elsewhere.example")), Some(([7; 32], "/".into())));
        let long = |n: usize| format!("/phones?{}", "x".repeat(n - 8));
        assert_eq!(kept(&pair(&long(2048))), Some(([7; 32], long(2048))));
        assert_eq!(kept(&pair(&long(2049))), Some(([7; 32], "/".into())));
        for cookie in
            ["", "__Host-matron-oidc=", "__Host-matron-oidc=x.y", &format!("{}; {}", pair("/"), pair("/"))]
        {
            assert_eq!(kept(cookie), None, "{cookie}");
        }
        let set = oidc::set(&[7; 32], "/");
        for part in ["__Host-", "Path=/;", "Secure", "HttpOnly", "SameSite=Lax", "Max-Age=600"] {
            assert!(set.contains(part), "{part}");
        }
        // Neither is the other's.
        assert!(Bearer::of_cookie(&headers(&pair("/"), "Browser/1")).is_none());
    }

    #[test]
    fn no_cookie_two_cookies_and_one_of_another_length_are_none() {
        let one = format!("{COOKIE_NAME}={}", URL_SAFE_NO_PAD.encode([7; 32]));
        let short = format!("{COOKIE_NAME}={}", URL_SAFE_NO_PAD.encode([7; 31]));
        for cookie in ["", "a=b", &format!("{one}; {one}"), &short, &format!("x{one}")] {
            assert!(Bearer::of_cookie(&headers(cookie, "Browser/1")).is_none(), "{cookie}");
        }
    }
}
