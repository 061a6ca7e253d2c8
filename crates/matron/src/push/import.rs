//! Taking up the certificate that Apple gave.

use std::path::{Path, PathBuf};
use std::time::Duration;

use apple::x509::Certificate;
use clap::Args;
use model::{Clock, SystemClock, TimeMs};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use zeroize::Zeroizing;

use super::{Ending, Folder, ending, in_days, shown};
use crate::Place;
use crate::certificate::{Facts, Key, days_left, facts, fits, read_chain, read_key};
use crate::cli::failure::{Result, failed};
use crate::cli::show;
use crate::config::Config;

/// Apple's topics of MDM push certificates.
const TOPIC_PREFIX: &str = "com.apple.mgmt.";
/// How long Apple's push service may take to answer when a certificate is tried.
const TRY_PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Args)]
pub(crate) struct Import {
    #[command(flatten)]
    pub(crate) place: Place,
    /// What Apple's portal gave (PEM or DER; a chain may follow).
    pub(crate) file: PathBuf,
    /// The private key, when the request was not made by 'matron push csr' (PEM, no passphrase).
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Don't try the certificate at Apple's push service first.
    #[arg(long)]
    pub(crate) no_try: bool,
    /// Take a certificate of another topic although phones are enrolled: each has to be enrolled anew.
    #[arg(long)]
    pub(crate) danger_other_topic: bool,
    /// Answer in JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What was taken up.
pub(crate) struct Imported {
    pub(crate) topic: String,
    pub(crate) expires_at_ms: TimeMs,
    pub(crate) renewed: bool,
    /// What came of trying it, in words.
    pub(crate) tried: String,
}

/// The topic that phones are enrolled under, as far as this host knows: the certificate in use, or the
/// configuration.
pub(crate) fn in_use_topic(folder: &Folder, config: Option<&Config>) -> Option<String> {
    let of_file = |path: &Path| read_chain(path).ok().and_then(|c| facts(c.first()?).ok()?.topic);
    let configured = config.filter(|c| c.push.topic != Config::default().push.topic);
    configured
        .map(|c| c.push.topic.clone())
        .or_else(|| config?.push.certificate.as_deref().and_then(of_file))
        .or_else(|| of_file(&folder.current()))
}

/// How many phones would no longer be woken. None: the database says nothing (there is one, and it can't be
/// read now).
fn enrolled(data: &Path) -> Option<u64> {
    let path = data.join("rooms/core/core.db");
    if !path.exists() {
        return Some(0);
    }
    core_room::examine(&path, crate::doctor::holder(data).is_some()).ok().map(|e| e.living_enrolments)
}

fn check_kind(read: &Facts, now_ms: TimeMs, file: &Path) -> Result<String> {
    let file = shown(file);
    let topic = read.topic.clone().filter(|t| t.starts_with(TOPIC_PREFIX)).ok_or_else(|| {
        failed(format!(
            "{file}: its subject has no UID that begins with {TOPIC_PREFIX}: that is no MDM push certificate. \
             'matron push show' and Apple's portal tell what it should be"
        ))
    })?;
    if read.client_auth == Some(false) {
        return Err(failed(format!(
            "{file}: its extended key usage does not allow it to be shown by a client"
        )));
    }
    if read.not_after_ms < now_ms {
        return Err(failed(format!(
            "{file}: it ran out on {}; renew it at Apple's portal, and import what that gives",
            show::time(read.not_after_ms)
        )));
    }
    if read.not_before_ms > now_ms {
        return Err(failed(format!(
            "{file}: it is valid from {} on; is this machine's clock right?",
            show::time(read.not_before_ms)
        )));
    }
    if matches!(read.key, Key::Rsa(bits) if bits < 2048) {
        return Err(failed(format!("{file}: its key is {}; 2048 bits are the least", read.key)));
    }
    Ok(topic)
}

/// Each certificate that follows was to have issued the one before it.
fn check_chain(chain: &[CertificateDer<'_>], file: &Path) -> Result<()> {
    let read: Vec<Certificate<'_>> = chain
        .iter()
        .map(|c| Certificate::parse(c))
        .collect::<Result<_, _>>()
        .map_err(|e| failed(format!("{}: {e}", shown(file))))?;
    for (n, pair) in read.windows(2).enumerate() {
        let [this, issuer] = pair else { continue };
        if !this.is_issued_by(issuer) {
            return Err(failed(format!(
                "{}: certificate {} was not issued by the one that follows it; give the push certificate first",
                shown(file),
                n + 1
            )));
        }
    }
    Ok(())
}

/// The key of the certificate: of the request under way, or of the certificate in use (renewed under the
/// same key), or the one given.
fn find_key(
    folder: &Folder,
    given: Option<&Path>,
    first: &CertificateDer<'_>,
) -> Result<PrivateKeyDer<'static>> {
    let mut looked = Vec::new();
    let places = match given {
        Some(path) => vec![path.to_owned()],
        None => vec![folder.next_key(), folder.current(), folder.previous()],
    };
    for path in places.into_iter().filter(|p| given.is_some() || p.exists()) {
        let key = read_key(&path)?;
        if fits(first, &key)? {
            return Ok(key);
        }
        looked.push(shown(&path));
    }
    Err(failed(if looked.is_empty() {
        format!(
            "there is no key in {}: the request was made elsewhere? Give its key with --key",
            folder.path().display()
        )
    } else {
        format!(
            "the certificate is for none of the keys here ({}): it answers another request. Upload the request \
             that 'matron push request' prints, or give the key with --key",
            looked.join(", ")
        )
    }))
}

fn check_topic(folder: &Folder, args: &Import, config: Option<&Config>, topic: &str) -> Result<()> {
    let Some(before) = in_use_topic(folder, config).filter(|t| t != topic) else { return Ok(()) };
    if args.danger_other_topic {
        return Ok(());
    }
    let who = match enrolled(&args.place.data) {
        Some(0) => return Ok(()),
        Some(1) => "1 phone is enrolled".to_owned(),
        Some(n) => format!("{n} phones are enrolled"),
        None => "phones may be enrolled (the database can't be read just now)".to_owned(),
    };
    Err(failed(format!(
        "the certificate's topic is {topic}, and {who} under {before}. A phone obeys pushes of the topic it enrolled \
         under and of no other, and that can't be changed on a phone: with this certificate none of them could be \
         woken again until each was enrolled anew. Nothing was changed. At Apple's portal sign in with the Apple ID \
         that the old certificate was made under and press 'Renew' beside it, never 'Create'. (To give the phones up: \
         --danger-other-topic)"
    )))
}

/// Checks a certificate and takes it up. What was in use stays in use until the new file has its name.
pub(crate) fn import(args: &Import) -> Result<Imported> {
    let now_ms = SystemClock.now_ms();
    let folder = Folder::of(&args.place.data)?;
    // A configuration that can't be read is no reason to refuse a good certificate.
    let config = Config::read(&args.place).ok();
    let chain = read_chain(&args.file)?;
    let first = chain.first().ok_or_else(|| failed("the file holds no certificate"))?;
    let read = facts(first)?;
    let topic = check_kind(&read, now_ms, &args.file)?;
    check_chain(&chain, &args.file)?;
    let key = find_key(&folder, args.key.as_deref(), first)?;
    check_topic(&folder, args, config.as_ref(), &topic)?;

    folder.make()?;
    let mut text = Zeroizing::new(String::new());
    for certificate in &chain {
        text.push_str(&pem::encode(&pem::Pem::new("CERTIFICATE", certificate.to_vec())));
    }
    let label = match key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    text.push_str(&Zeroizing::new(pem::encode(&pem::Pem::new(label, key.secret_der()))));
    folder.write("trying.pem", text.as_bytes())?;
    let trying = folder.path().join("trying.pem");
    let tried =
        if args.no_try { Ok("not tried".to_owned()) } else { try_it(&trying, &topic, config.as_ref()) };
    let _ = std::fs::remove_file(&trying);
    let tried = tried?;

    let renewed = folder.current().exists();
    if renewed {
        let before = Zeroizing::new(std::fs::read(folder.current()).map_err(failed)?);
        folder.write("push.previous.pem", &before)?;
    }
    folder.write("push.pem", text.as_bytes())?;
    folder.forget_next()?;
    Ok(Imported { topic, expires_at_ms: read.not_after_ms, renewed, tried })
}

/// Shows the certificate to Apple's push service. Only its clear no refuses it: this machine may be
/// installed where Apple is not reached yet.
fn try_it(file: &Path, topic: &str, config: Option<&Config>) -> Result<String> {
    let defaults = Config::default();
    let push = &config.unwrap_or(&defaults).push;
    let settings = courier::Config {
        endpoint: push.endpoint.clone(),
        trust_anchor: push.trust_anchor.clone(),
        push_certificate: Some(file.to_owned()),
        push_key: Some(file.to_owned()),
        topic: Some(topic.to_owned()),
        ..courier::Config::new(file.parent().unwrap_or(Path::new(".")))
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let asked = runtime.block_on(async {
        tokio::time::timeout(TRY_PATIENCE, courier::probe(&settings, SystemClock.now_ms())).await
    });
    match asked {
        Err(_) => Ok(format!("{} did not answer in time; not tried", push.endpoint)),
        Ok(Err(e)) => Err(failed(e)),
        Ok(Ok(probe)) => match probe.answer {
            courier::ProbeAnswer::Taken => Ok(format!("{} takes it", push.endpoint)),
            courier::ProbeAnswer::Refused(reason) => Err(failed(format!(
                "{} refuses the certificate ({}); nothing was changed",
                push.endpoint,
                show::line(&reason)
            ))),
            courier::ProbeAnswer::Unreachable(why) => {
                Ok(format!("{} can't be reached from here ({}); not tried", push.endpoint, show::line(&why)))
            }
        },
    }
}

pub(super) fn run(args: &Import) -> Result<()> {
    let done = import(args)?;
    let folder = Folder::of(&args.place.data)?;
    let file = folder.current();
    let config = Config::read(&args.place).ok();
    let configured = config.as_ref().is_some_and(|c| {
        let same = |p: &Option<PathBuf>| {
            p.as_deref().and_then(|p| std::path::absolute(p).ok()) == Some(file.clone())
        };
        same(&c.push.certificate) && same(&c.push.key) && c.push.topic == done.topic
    });
    if args.json {
        return show::print_json(&json!({
            "file": file,
            "topic": done.topic,
            "expires_at_ms": done.expires_at_ms,
            "renewed": done.renewed,
            "tried": done.tried,
            "configured": configured,
        }));
    }
    let now_ms = SystemClock.now_ms();
    let left = in_days(days_left(done.expires_at_ms, now_ms));
    let mut text = show::facts(&[
        ("topic", done.topic.clone()),
        ("valid until", format!("{} ({left})", show::time(done.expires_at_ms))),
        ("file", file.display().to_string()),
        ("tried", done.tried.clone()),
    ]);
    if ending(done.expires_at_ms, now_ms) != Ending::Far {
        text.push_str("It does not live long: was the renewed one downloaded?\n");
    }
    text.push_str(&if configured {
        "\nA running Matron takes it up within half a minute, without a restart.\n".to_owned()
    } else {
        format!(
            "\nThese belong into the configuration file ('matron setup' writes them), then start Matron:\n\n\
             [push]\ntopic = \"{}\"\ncertificate = \"{}\"\nkey = \"{}\"\n",
            done.topic,
            file.display(),
            file.display()
        )
    });
    show::print(&text)
}

impl Import {
    /// What `matron setup` takes up.
    pub(crate) fn of(place: Place, file: PathBuf, key: Option<PathBuf>) -> Self {
        Self { place, file, key, no_try: false, danger_other_topic: false, json: false }
    }
}
