//! `matron restore --rehearse`: a backup is worth what a restore of it is. Restores into a folder of its own,
//! tries the vault's keys on one record, reads the ledger from end to end, serves on loopback, asks as a phone
//! and as an administrator would, and removes everything.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rpc::hsm::Make;
use rustls::ClientConnection;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};

use super::RestoreArgs;
use super::child::step;
use super::restore::{House, into};
use crate::cli::show;
use crate::config::Config;
use crate::rooms::{Room, Step};
use crate::root_key::Unlocking;

/// How long the restored house may take to be ready.
const READY: Duration = Duration::from_secs(120);
/// How long it may take to answer, and to stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder of one's own, removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn make(below: &Path) -> Result<Self> {
        let dir = below.join(format!("matron-rehearsal-{}", std::process::id()));
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&dir)
            .with_context(|| format!("{}: the folder for the rehearsal can't be made", dir.display()))?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(e) = std::fs::remove_dir_all(&self.0) {
            eprintln!("matron: {} holds keys and can't be removed ({e}); remove it", self.0.display());
        }
    }
}

/// The restored house while it serves; ended when dropped.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        use rustix::process::{Pid, Signal, kill_process};
        if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let until = Instant::now() + PATIENCE;
        while matches!(self.0.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(super) fn rehearse(args: &RestoreArgs) -> Result<()> {
    let begun = Instant::now();
    let scratch = Scratch::make(&args.scratch)?;
    let data = scratch.0.join("data");
    let house =
        into(&data, &args.backup, &args.identity, args.ledger.as_deref()).context("it does not restore")?;
    let restored = begun.elapsed();
    let unlocking = Unlocking::open(&house.config, &data, Make::No)?;
    let tried = try_record(&house, &unlocking, &data)?;
    drop(unlocking);
    let entries = verify(&data, house.vault.entries)?;
    serve(&house.config, &data).context("it does not serve")?;
    drop(scratch);
    let field = tried.as_ref().map(|t| t.field.clone());
    let name_opened = tried.as_ref().and_then(|t| t.name_opened);
    if args.json {
        let said = json!({
            "rehearsed": true, "made_at_ms": house.manifest.made_at_ms, "opened_field": field,
            "name_opened": name_opened, "ledger_entries": entries, "phones": house.vault.phones,
            "restored_ms": u64::try_from(restored.as_millis()).unwrap_or(u64::MAX),
            "took_ms": u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        });
        return Ok(show::print_json(&said)?);
    }
    let record = match field {
        Some(field) => format!("One record opened ({field}; its value was shown to nobody)."),
        None => "There is no record in it that could be opened: the house has no phones.".into(),
    };
    let name = match name_opened {
        Some(_) => " A holder's name in the ledger opened.",
        None => "",
    };
    Ok(show::print(&format!(
        "The backup of {} restores: {} phones, in {:.1} s.\n{record}{name}\nThe ledger's {} verify.\n\
         It serves phones and administrators.\nEverything was removed again.\n",
        show::time(house.manifest.made_at_ms),
        house.vault.phones,
        restored.as_secs_f64(),
        show::count(entries, "entry"),
    ))?)
}

/// Opens one record with the vault's restored keys, in the vault's own process.
fn try_record(house: &House, unlocking: &Unlocking, data: &Path) -> Result<Option<vault::Tried>> {
    let config = &house.config;
    let rooms = data.join("rooms");
    let (core, vault) = ((Room::Core, Step::TestRecord), (Room::Vault, Step::TryRecord));
    let found = step(config, unlocking, core, &rooms.join("core"), Value::Null)?;
    let Some(mut record) = serde_json::from_str::<Option<vault::TestRecord>>(&found)? else {
        return Ok(None);
    };
    record.names_of = house.manifest.ledger().map_or(0, |at| at.entries);
    let input = serde_json::to_value(&record)?;
    let said = step(config, unlocking, vault, &rooms.join("vault"), input)?;
    let tried: vault::Tried = serde_json::from_str(&said)?;
    ensure!(
        tried.opened,
        "a record of the database ({}) does not open with the keys of this backup; take another backup",
        tried.field
    );
    ensure!(
        tried.name_opened != Some(false),
        "a holder's name in the ledger does not open with the persons' keys of this backup; take another backup"
    );
    Ok(Some(tried))
}

fn verify(data: &Path, expected: u64) -> Result<u64> {
    let report = ledger::verify(&data.join("rooms/vault")).context("the ledger does not verify")?;
    ensure!(
        report.entries == expected,
        "the ledger has {} entries, and the vault's part of the backup counts {expected}: they don't belong together; \
         take another backup",
        report.entries
    );
    Ok(report.entries)
}

/// An address on loopback that was free a moment ago.
fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}

/// Serves the restored house on loopback: without push certificate and ACME it speaks to nobody outside.
fn serve(was: &Config, data: &Path) -> Result<()> {
    let (phones, administrators) = (free()?, free()?);
    let without: Vec<_> = was.sandbox.danger_without.iter().map(|l| format!("\"{}\"", l.name())).collect();
    let mut child = Command::new(crate::serve::this_program()?)
        .arg("serve")
        .arg("--data")
        .arg(data)
        .args(["--set", &format!("phones.listen={phones}")])
        .args(["--set", &format!("administrators.listen={administrators}")])
        .args([
            "--set",
            &format!("base_url={}", was.base_url),
            "--set",
            &format!("push.topic={}", was.push.topic),
        ])
        .args(["--set", "log.filter=error"])
        .args(["--set", &format!("sandbox.danger_without=[{}]", without.join(","))])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let serving = Serving(child);
    let (tx, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in stdout.into_iter().flat_map(|out| BufReader::new(out).lines()).map_while(Result::ok) {
            if tx.send(line).is_err() {
                // Read on, so that it never waits for us.
            }
        }
    });
    let words = std::thread::spawn(move || {
        let mut text = String::new();
        if let Some(mut out) = stderr {
            let _ = out.read_to_string(&mut text);
        }
        text
    });
    let until = Instant::now() + READY;
    loop {
        match lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) if line == "ready" => break,
            Ok(_) => {}
            Err(_) => {
                drop(serving);
                bail!("it was not ready: {}", words.join().unwrap_or_default().trim());
            }
        }
    }
    as_a_phone(data, phones).context("asked as a phone would")?;
    until_followed(administrators).context("asked as an administrator would")
}

/// A TLS connection to the door that trusts the house's own CA, and a question that goes through to the reader.
fn as_a_phone(data: &Path, at: SocketAddr) -> Result<()> {
    let own = std::fs::read(data.join("rooms/door/tls.cert.der")).context("the door's own certificate")?;
    let host = host_of(&own).context("the door's own certificate names no host")?;
    let ca = pem::parse(std::fs::read(data.join("ca.pem"))?)?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from(ca.into_contents()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.clone()).context("the door's own certificate")?;
    let mut tls = ClientConnection::new(Arc::new(config), name)?;
    let mut socket = TcpStream::connect_timeout(&at, PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut stream = rustls::Stream::new(&mut tls, &mut socket);
    write!(stream, "GET /scep?operation=GetCACaps HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    // The door may close without a farewell.
    let _ = stream.read_to_string(&mut answer);
    let status = answer.lines().next().unwrap_or_default();
    ensure!(status.contains(" 200 "), "the restored door answered '{status}', not 200; see its lines above");
    Ok(())
}

/// The first name that the house's own certificate is for: that of `base_url` when the house was made.
fn host_of(certificate: &[u8]) -> Option<String> {
    use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|n| match n {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match **bytes {
            [a, b, c, d] => Some(std::net::Ipv4Addr::new(a, b, c, d).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|b| std::net::Ipv6Addr::from(b).to_string()),
        },
        _ => None,
    })
}

/// Core answers, and believes a key statement of the restored vault.
fn until_followed(at: SocketAddr) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = (|| {
            let mut socket = TcpStream::connect_timeout(&at, PATIENCE)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            write!(socket, "GET /api/v1/statement HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\n\r\n")?;
            let mut answer = String::new();
            socket.read_to_string(&mut answer)?;
            std::io::Result::Ok(answer)
        })();
        let status = answer.as_deref().ok().and_then(|a| a.lines().next()).unwrap_or("nothing").to_owned();
        if status.contains(" 200 ") {
            return Ok(());
        }
        ensure!(
            Instant::now() < until,
            "the restored core does not serve after {} s (it answered '{status}'); see its lines above",
            PATIENCE.as_secs()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}
