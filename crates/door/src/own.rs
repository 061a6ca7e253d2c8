//! The certificate that the house made for the door: asked for anew in time, and looked at before it is
//! believed, since it comes by core's hand.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::{Clock, SystemClock, TimeMs};
use rpc::proto::{CoreReply, CoreRequest, core_reply, core_request};
use rpc::trust::write_file;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

use crate::install::TLS_CERTIFICATE;
use crate::served::{Served, house_made, validity};
use crate::walls::Walls;

/// How often the certificate is looked at, and how soon again when it could not be had.
const LOOK: Duration = Duration::from_secs(6 * 3600);
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// Why what core brought is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotOurs {
    #[error("it can't be read")]
    Unreadable,
    #[error("it is for another key or other names")]
    Another,
    #[error("it ends no later than the one that is there")]
    NoLater,
    #[error("our CA did not sign it for a server")]
    NotSigned,
}

/// Renews the house's certificate for as long as the door runs.
pub(crate) async fn renew(dir: PathBuf, served: Arc<Served>, walls: Arc<Walls>) {
    loop {
        let now_ms = SystemClock.now_ms();
        let wait = match house_made(&dir) {
            Ok((chain, _)) if chain.first().is_some_and(|own| is_due(own, now_ms)) => {
                if renew_once(&dir, &served, &walls, chain).await { LOOK } else { LOOK_AGAIN }
            }
            Ok(_) => LOOK,
            Err(e) => {
                tracing::error!(reason = %e, "the door's own certificate can't be looked at");
                LOOK_AGAIN
            }
        };
        tokio::time::sleep(wait).await;
    }
}

/// A third of its life is left, or less.
fn is_due(certificate: &[u8], now_ms: TimeMs) -> bool {
    validity(certificate).is_none_or(|(from_ms, to_ms)| now_ms >= to_ms - (to_ms - from_ms) / 3)
}

async fn renew_once(dir: &Path, served: &Served, walls: &Walls, chain: Vec<CertificateDer<'static>>) -> bool {
    let [own, ca] = &chain[..] else { return false };
    let what = core_request::What::OwnCertificate(Bytes::copy_from_slice(own));
    let make = |call| CoreRequest { call, what: Some(what), ..CoreRequest::default() };
    let Ok(CoreReply { answer: Some(core_reply::Answer::OwnCertificate(new)), .. }) =
        walls.core.call(make).await
    else {
        tracing::warn!("the door's own certificate is due and was not renewed; asking again");
        return false;
    };
    let taken = check(&new, own, ca, SystemClock.now_ms());
    if let Err(why) = taken {
        tracing::error!(reason = %why, "alarm: what came as the door's own certificate is not taken");
        return false;
    }
    if let Err(e) = write_file(dir, TLS_CERTIFICATE, &new, true) {
        tracing::error!(reason = %e, "the door's renewed certificate can't be kept");
        return false;
    }
    if !served.shows(own) {
        // A certificate by ACME is shown; the house's own is there for when that runs out.
        return true;
    }
    // From the file, as at a start.
    let taken = house_made(dir)
        .map_err(|e| e.to_string())
        .and_then(|(chain, key)| served.take_up(chain, key, SystemClock.now_ms()).map_err(|e| e.to_string()));
    match taken {
        Ok(not_after_ms) => {
            tracing::info!(tls.not_after_ms = not_after_ms, "the door's own certificate was renewed")
        }
        Err(why) => tracing::error!(reason = %why, "the door's renewed certificate was not taken up"),
    }
    true
}

/// Whether `new` is `old` for another while: the same key and names, under the same CA.
fn check(new: &[u8], old: &[u8], ca: &CertificateDer<'_>, now_ms: TimeMs) -> Result<(), NotOurs> {
    let read = |der| match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(NotOurs::Unreadable),
    };
    let (made, was) = (read(new)?, read(old)?);
    let names = names_of(&made);
    if made.public_key().raw != was.public_key().raw || names.is_empty() || names != names_of(&was) {
        return Err(NotOurs::Another);
    }
    if made.validity().not_after <= was.validity().not_after {
        return Err(NotOurs::NoLater);
    }
    let now = UnixTime::since_unix_epoch(Duration::from_millis(u64::try_from(now_ms).unwrap_or(0)));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone().into_owned()).map_err(|_| NotOurs::NotSigned)?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    let verifier = verifier.map_err(|_| NotOurs::NotSigned)?;
    let new = CertificateDer::from(new.to_vec());
    for name in &names {
        verifier.verify_server_cert(&new, &[], name, &[], now).map_err(|_| NotOurs::NotSigned)?;
    }
    Ok(())
}

fn names_of(certificate: &X509Certificate<'_>) -> Vec<ServerName<'static>> {
    let names = certificate.extensions().iter().find_map(|e| match e.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
        _ => None,
    });
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(dns) => ServerName::try_from((*dns).to_owned()).ok(),
        GeneralName::IPAddress(octets) => {
            let v4 = <[u8; 4]>::try_from(*octets).map(IpAddr::from);
            v4.or_else(|_| <[u8; 16]>::try_from(*octets).map(IpAddr::from)).ok().map(ServerName::from)
        }
        _ => None,
    };
    names.into_iter().flatten().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};

    const NOW_MS: TimeMs = 1_795_000_000_000;

    struct Ca(Issuer<'static, KeyPair>, CertificateDer<'static>);

    fn ca() -> Ca {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.not_before = date_time_ymd(2020, 1, 1);
        let own = params.self_signed(&key).unwrap().der().clone();
        Ca(Issuer::new(params, key), own)
    }

    fn server(ca: &Ca, key: &KeyPair, names: &[&str], until_year: i32) -> Vec<u8> {
        let names: Vec<_> = names.iter().map(|n| (*n).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        params.not_before = date_time_ymd(2024, 1, 1);
        params.not_after = date_time_ymd(until_year, 1, 1);
        params.signed_by(key, &ca.0).unwrap().der().to_vec()
    }

    #[test]
    fn only_the_same_key_and_names_under_our_ca_for_longer_are_taken() {
        let (ours, other) = (ca(), ca());
        let (key, other_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let names = ["mdm.example.org", "192.0.2.7"];
        let old = server(&ours, &key, &names, 2027);
        let check = |new: &[u8]| super::check(new, &old, &ours.1, NOW_MS);
        assert_eq!(check(&server(&ours, &key, &names, 2029)), Ok(()));
        assert_eq!(check(&old), Err(NotOurs::NoLater));
        assert_eq!(check(&server(&ours, &key, &names, 2026)), Err(NotOurs::NoLater));
        assert_eq!(check(&server(&ours, &other_key, &names, 2029)), Err(NotOurs::Another));
        assert_eq!(check(&server(&ours, &key, &names[..1], 2029)), Err(NotOurs::Another));
        assert_eq!(check(&server(&ours, &key, &["evil.example.org"], 2029)), Err(NotOurs::Another));
        assert_eq!(check(&server(&other, &key, &names, 2029)), Err(NotOurs::NotSigned));
        assert_eq!(check(b"no certificate"), Err(NotOurs::Unreadable));
    }

    #[test]
    fn a_certificate_is_due_in_the_last_third_of_its_life() {
        let (ours, key) = (ca(), KeyPair::generate().unwrap());
        let certificate = server(&ours, &key, &["mdm.example.org"], 2027);
        let (from_ms, to_ms) = validity(&certificate).unwrap();
        let third = (to_ms - from_ms) / 3;
        assert!(!is_due(&certificate, to_ms - third - 1));
        assert!(is_due(&certificate, to_ms - third));
        assert!(is_due(&certificate, to_ms + 1));
    }
}
