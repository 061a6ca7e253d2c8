//! The certificate that the house made for the door: asked for anew in time, and looked at before it is
//! believed, since it comes by core's hand.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::{Clock, SystemClock, TimeMs};
use order::Authority;
use rpc::proto::{CoreReply, CoreRequest, core_reply, core_request};
use rpc::trust::write_file;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

use crate::Error;
use crate::install::{TLS_CERTIFICATE, read};
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
    let mut changed = walls.house_changed.subscribe();
    let mut shown = Shown { generation: walls.authorities.generation(), behind: None };
    loop {
        let wait = match look(&dir, &served, &walls, &mut shown).await {
            Ok(true) => LOOK,
            Ok(false) => LOOK_AGAIN,
            Err(e) => {
                tracing::error!(reason = %e, "the door's own certificate can't be looked at");
                LOOK_AGAIN
            }
        };
        let _ = tokio::time::timeout(wait, changed.changed()).await;
    }
}

/// What is shown, as far as it was the house's own.
struct Shown {
    /// Of the CAs to which the chain leads.
    generation: u64,
    /// A certificate that is shown still, since the one in the file could not be taken up.
    behind: Option<Vec<u8>>,
}

impl Shown {
    /// Takes up what stands in the file, or notes that it is to be tried again. `own`: what stood there before.
    fn take_up(
        &mut self,
        dir: &Path,
        served: &Served,
        own: &[u8],
        generation: u64,
        all: &[Authority],
    ) -> bool {
        let before = self.behind.take().unwrap_or_else(|| own.to_vec());
        let taken = take_up(dir, served, &before, all);
        match taken {
            true => self.generation = generation,
            false => self.behind = Some(before),
        }
        taken
    }
}

/// Looks once, and has the certificate made anew where it is due. False: it could not be had, or not be shown.
async fn look(dir: &Path, served: &Served, walls: &Walls, shown: &mut Shown) -> Result<bool, Error> {
    let newest_generation = walls.authorities.generation();
    let authorities = walls.authorities.all();
    let newest = walls.tls.newest().map_err(|e| Error::Tls(e.to_string()))?;
    let own = read(dir, TLS_CERTIFICATE)?;
    let ca = authorities.first().map(|ca| ca.certificate.clone()).unwrap_or_default();
    let ca = CertificateDer::from(ca);
    if !is_due(&own, &ca, &newest, SystemClock.now_ms()) {
        // Killed after the certificate was written, and before.
        destroy_older(walls, &own);
        if shown.generation != newest_generation || shown.behind.is_some() {
            return Ok(shown.take_up(dir, served, &own, newest_generation, &authorities));
        }
        return Ok(true);
    }
    let what = core_request::What::OwnCertificate(Bytes::copy_from_slice(&own));
    let make = |call| CoreRequest { call, what: Some(what), ..CoreRequest::default() };
    let Ok(CoreReply { answer: Some(core_reply::Answer::OwnCertificate(new)), .. }) =
        walls.core.call(make).await
    else {
        tracing::warn!("the door's own certificate is due and was not renewed; asking again");
        return Ok(false);
    };
    if let Err(why) = check(&new, &own, &ca, &newest, SystemClock.now_ms()) {
        if why == NotOurs::Another && walls.tls.of(&new).is_some() {
            tracing::info!("the vault does not know the door's newest TLS key yet; asking again");
            return Ok(false);
        }
        tracing::error!(reason = %why, "alarm: what came as the door's own certificate is not taken");
        return Ok(false);
    }
    if let Err(e) = write_file(dir, TLS_CERTIFICATE, &new, true) {
        tracing::error!(reason = %e, "the door's renewed certificate can't be kept");
        return Ok(false);
    }
    let taken = shown.take_up(dir, served, &own, newest_generation, &authorities);
    // Where another certificate is shown, by ACME or from files, the house's own is there for when that one goes.
    destroy_older(walls, &new);
    Ok(taken)
}

/// Shows what stands in the file, as at a start, where `before` is shown. False: it could not be.
fn take_up(dir: &Path, served: &Served, before: &[u8], authorities: &[Authority]) -> bool {
    if !served.shows(&CertificateDer::from(before.to_vec())) {
        return true;
    }
    let taken = house_made(dir, authorities)
        .map_err(|e| e.to_string())
        .and_then(|(chain, key)| served.take_up(chain, key, SystemClock.now_ms()).map_err(|e| e.to_string()));
    match taken {
        Ok(not_after_ms) => {
            tracing::info!(tls.not_after_ms = not_after_ms, "the door's own certificate was renewed");
            true
        }
        Err(why) => {
            tracing::error!(reason = %why, "the door's own certificate was not taken up; it is tried again");
            false
        }
    }
}

fn destroy_older(walls: &Walls, own: &[u8]) {
    match walls.tls.destroy_before(own) {
        Ok(0) => {}
        Ok(gone) => tracing::info!(keys = gone, "older TLS keys were destroyed"),
        Err(e) => tracing::warn!(error = %e, "older TLS keys can't be destroyed yet"),
    }
}

/// A third of its life is left, or less; or there is a newer key, or a newer CA.
fn is_due(certificate: &[u8], ca: &[u8], newest_spki: &[u8], now_ms: TimeMs) -> bool {
    let ends = validity(certificate).is_none_or(|(from_ms, to_ms)| now_ms >= to_ms - (to_ms - from_ms) / 3);
    let (Ok((_, own)), Ok((_, ca))) = (X509Certificate::from_der(certificate), X509Certificate::from_der(ca))
    else {
        return true;
    };
    ends || own.public_key().raw != newest_spki || !is_by(&own, &ca)
}

/// Whether a certificate of our own says that this CA issued it: all of ours have one name, and a key identifier.
fn is_by(own: &X509Certificate<'_>, ca: &X509Certificate<'_>) -> bool {
    let issuer = own.extensions().iter().find_map(|e| match e.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0),
        _ => None,
    });
    let subject = ca.extensions().iter().find_map(|e| match e.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
        _ => None,
    });
    issuer == subject && own.issuer().as_raw() == ca.subject().as_raw()
}

/// Whether `new` is `old` for another while: the same names, the door's newest key, under the newest CA.
fn check(
    new: &[u8],
    old: &[u8],
    ca: &CertificateDer<'_>,
    newest_spki: &[u8],
    now_ms: TimeMs,
) -> Result<(), NotOurs> {
    let read = |der| match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(NotOurs::Unreadable),
    };
    let (made, was) = (read(new)?, read(old)?);
    let names = names_of(&made);
    if made.public_key().raw != newest_spki || names.is_empty() || names != names_of(&was) {
        return Err(NotOurs::Another);
    }
    let same = was.public_key().raw == newest_spki && is_by(&was, &read(ca)?);
    if same && made.validity().not_after <= was.validity().not_after {
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
        params.use_authority_key_identifier_extension = true;
        params.not_before = date_time_ymd(2020, 1, 1);
        let own = params.self_signed(&key).unwrap().der().clone();
        Ca(Issuer::new(params, key), own)
    }

    fn server(ca: &Ca, key: &KeyPair, names: &[&str], until_year: i32) -> Vec<u8> {
        let names: Vec<_> = names.iter().map(|n| (*n).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
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
        let spki = rcgen::PublicKeyData::subject_public_key_info(&key);
        let check = |new: &[u8]| super::check(new, &old, &ours.1, &spki, NOW_MS);
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
    fn another_key_of_the_doors_and_a_newer_ca_are_due_at_once_and_taken() {
        let (older, newer) = (ca(), ca());
        let (key, next) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let [spki, next_spki] = [&key, &next].map(rcgen::PublicKeyData::subject_public_key_info);
        let old = server(&older, &key, &["mdm.example.org"], 2040);
        assert!(!is_due(&old, &older.1, &spki, NOW_MS));
        assert!(is_due(&old, &older.1, &next_spki, NOW_MS) && is_due(&old, &newer.1, &spki, NOW_MS));
        let new = server(&newer, &next, &["mdm.example.org"], 2030);
        assert_eq!(
            super::check(&new, &old, &newer.1, &next_spki, NOW_MS),
            Ok(()),
            "also where it ends sooner"
        );
        assert_eq!(super::check(&new, &old, &newer.1, &spki, NOW_MS), Err(NotOurs::Another));
        assert_eq!(super::check(&new, &old, &older.1, &next_spki, NOW_MS), Err(NotOurs::NotSigned));
    }

    #[test]
    fn what_could_not_be_taken_up_is_tried_again_though_another_is_shown_than_stands_in_the_file() {
        let (dir, ours) = (tempfile::tempdir().unwrap(), ca());
        crate::prepare(dir.path()).unwrap();
        let pkcs8 = rpc::at_rest::read(dir.path(), crate::install::TLS_KEY).unwrap();
        let private = rustls::pki_types::PrivatePkcs8KeyDer::from(pkcs8.to_vec());
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&private, &rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let [old, new] = [2040, 2041].map(|year| server(&ours, &key, &["mdm.example.org"], year));
        let chain = vec![CertificateDer::from(old.clone())];
        let served = Served::new(chain, private.into(), NOW_MS).unwrap();
        let mut shown = Shown { generation: 1, behind: None };
        let file = |bytes: &[u8]| std::fs::write(dir.path().join(TLS_CERTIFICATE), bytes).unwrap();
        file(b"cut");
        assert!(!shown.take_up(dir.path(), &served, &old, 2, &[]));
        assert_eq!((shown.generation, shown.behind.as_ref()), (1, Some(&old)));
        file(&new);
        assert!(shown.take_up(dir.path(), &served, &new, 2, &[]));
        assert!(served.shows(&CertificateDer::from(new)) && shown.behind.is_none() && shown.generation == 2);
    }

    #[test]
    fn a_certificate_is_due_in_the_last_third_of_its_life() {
        let (ours, key) = (ca(), KeyPair::generate().unwrap());
        let certificate = server(&ours, &key, &["mdm.example.org"], 2027);
        let (from_ms, to_ms) = validity(&certificate).unwrap();
        let spki = rcgen::PublicKeyData::subject_public_key_info(&key);
        let third = (to_ms - from_ms) / 3;
        assert!(!is_due(&certificate, &ours.1, &spki, to_ms - third - 1));
        assert!(is_due(&certificate, &ours.1, &spki, to_ms - third));
        assert!(is_due(&certificate, &ours.1, &spki, to_ms + 1));
    }
}
