//! A passkey from a browser: the command line prints a link, the browser makes the passkey, the command line signs
//! the order that adds it. So the signature that lets a new passkey in is made outside the browser.

use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use order::{Passkey, PersonKey, Scheme, encode, registered_key, sha256};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::desk::{Desk, from_base64, read_answer, shaped};
use super::failure::{CliError, Result, failed};

/// How long the link is waited for.
const PATIENCE: Duration = Duration::from_secs(600);
const LOOKED_EVERY: Duration = Duration::from_secs(1);

/// What the browser left (`console::registrations`).
#[derive(Deserialize)]
struct Registered {
    rp_id: String,
    origin: String,
    attestation: String,
    /// HMAC-SHA-256 under the link's secret over `rp_id`, `origin`, `attestation`, each but the last followed by a zero byte.
    mac: String,
}

/// Where the browser goes: a passkey belongs to a name, so this machine is `localhost`.
fn page(server: &str) -> String {
    server.replacen("//127.0.0.1", "//localhost", 1).replacen("//[::1]", "//localhost", 1)
}

/// As a browser writes it: without the scheme's own port.
fn origin(server: &str) -> String {
    let server = server.trim_end_matches('/');
    let plain = server.strip_prefix("https://").and_then(|rest| rest.strip_suffix(":443"));
    plain.map_or_else(|| server.to_owned(), |host| format!("https://{host}"))
}

/// Prints a link, and waits until someone made a passkey with it.
pub(crate) fn registered(desk: &Desk) -> Result<PersonKey> {
    let secret = Zeroizing::new(desk.random::<32>()?);
    // What stands behind # does not reach the server.
    let link = format!("{}/register#{}", page(desk.client.server()), URL_SAFE_NO_PAD.encode(*secret));
    eprintln!(
        "Open this link in the browser that shall hold the passkey; it works once, within 10 minutes:\n  {link}\n\
         Waiting…"
    );
    let origin = origin(&page(desk.client.server()));
    let id = sha256(&*secret).to_string();
    let path = format!("/registrations/{id}");
    let until = Instant::now() + PATIENCE;
    loop {
        match read_answer(&desk.client.send(Method::GET, &path, None, None)?) {
            Ok(value) => return key_of(&shaped(&value)?, &secret, &origin),
            Err(CliError::NotFound(_)) if Instant::now() < until => std::thread::sleep(LOOKED_EVERY),
            Err(CliError::NotFound(_)) => {
                return Err(failed("nobody made a passkey within 10 minutes; run this again for a new link"));
            }
            Err(e) => return Err(e),
        }
    }
}

fn key_of(r: &Registered, secret: &[u8; 32], origin: &str) -> Result<PersonKey> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let said = [r.rp_id.as_str(), &r.origin, &r.attestation].join("\0");
    hmac::verify(&key, said.as_bytes(), &from_base64("mac", &r.mac)?).map_err(|_| {
        failed("the passkey that came was not made with this link; nothing was signed. Run this again for a new link")
    })?;
    if r.origin != origin {
        return Err(failed(format!(
            "the passkey that came is for another site, {}, and not for {origin}; nothing was signed",
            super::show::line(&r.origin)
        )));
    }
    let cose = registered_key(&from_base64("passkey", &r.attestation)?).map_err(failed)?;
    let public = encode(&Passkey { rp_id: r.rp_id.clone(), origin: r.origin.clone(), cose });
    let passkey = Passkey::read(&public).map_err(failed)?;
    eprintln!(
        "A passkey came, for {}. Sign only if the browser has just made it before your eyes.",
        passkey.origin
    );
    Ok(PersonKey { scheme: Scheme::Passkey, public })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passkey_that_was_not_made_with_the_link_is_not_taken() {
        let mac =
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &[1; 32]), b"localhost\0http://localhost\0AA==");
        let mac = super::super::desk::to_base64(mac.as_ref());
        let r = Registered {
            rp_id: "localhost".into(),
            origin: "http://localhost".into(),
            attestation: "AA==".into(),
            mac,
        };
        let why = key_of(&r, &[2; 32], "http://localhost").unwrap_err().to_string();
        assert!(why.contains("not made with this link"), "{why}");
        // With the link's own secret only what was registered is looked at.
        let of = |origin| key_of(&r, &[1; 32], origin).unwrap_err().to_string();
        assert!(!of("http://localhost").contains("link"));
        assert!(of("https://matron.example.org").contains("another site"));
        assert_eq!(origin("https://matron.example.org:443/"), "https://matron.example.org");
    }

    #[test]
    fn a_link_to_this_machine_goes_by_its_name() {
        assert_eq!(page("http://127.0.0.1:8444"), "http://localhost:8444");
        assert_eq!(page("https://matron.example.org"), "https://matron.example.org");
    }
}
