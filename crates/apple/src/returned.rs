//! What a phone gets back when it asks for a token that is kept for it: `GetBootstrapToken`, `GetToken`.
//! Source: `responsekeys` of `mdm/checkin/getbootstraptoken.yaml` and `gettoken.yaml`.

use crate::plist_guard;
use plist::{Dictionary, Value};

/// The largest token that is given, in bytes.
pub const MAX_TOKEN_BYTES: usize = 64 << 10;

/// The longest `TokenServiceType`, in bytes; Apple's two have 14 and 23.
pub const MAX_SERVICE_BYTES: usize = 128;

/// Whether a text looks like a `TokenServiceType` (`com.apple.maid`): it may stand in the clear.
#[must_use]
pub fn is_service_type(text: &str) -> bool {
    (1..=MAX_SERVICE_BYTES).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
}

fn answer(key: &str, token: &[u8]) -> Option<Vec<u8>> {
    if token.len() > MAX_TOKEN_BYTES {
        return None;
    }
    let mut body = Dictionary::new();
    body.insert(key.to_owned(), Value::Data(token.to_vec()));
    plist_guard::write(&Value::Dictionary(body))
}

/// The answer to `GetBootstrapToken`; `None` when the token is too large.
#[must_use]
pub fn bootstrap_token(token: &[u8]) -> Option<Vec<u8>> {
    answer("BootstrapToken", token)
}

/// The answer to `GetToken`; `None` when the token is too large.
#[must_use]
pub fn service_token(token: &[u8]) -> Option<Vec<u8>> {
    answer("TokenData", token)
}

/// Reads either answer, as a phone does.
#[must_use]
pub fn read(key: &str, body: &[u8]) -> Option<Vec<u8>> {
    let value = plist_guard::parse(body, 2 * MAX_TOKEN_BYTES).ok()?;
    value.as_dictionary()?.get(key)?.as_data().map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_as_it_was_kept_and_a_huge_one_does_not_at_all() {
        let token: Vec<u8> = (0..=255).collect();
        assert_eq!(read("BootstrapToken", &bootstrap_token(&token).unwrap()), Some(token.clone()));
        assert_eq!(read("TokenData", &service_token(&token).unwrap()), Some(token));
        assert_eq!(service_token(&vec![0; MAX_TOKEN_BYTES + 1]), None);
        assert!(
            is_service_type("com.apple.watch.pairing") && !is_service_type("a b") && !is_service_type("")
        );
    }
}
