//! A stand-in for the phones' listener that can have one thing wrong.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bad {
    Nothing,
    RequiresCertificate,
    AsksForNoCertificate,
    Redirects,
    NoScep,
    Login,
    ClockBehind,
    OnlyTls12,
    UnsignedProfile,
    ProfileAsPage,
}

/// A root and an intermediate, made up.
pub struct Authority {
    root_pem: String,
    root: CertificateDer<'static>,
    intermediate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    dir: tempfile::TempDir,
}

/// The server's own certificate.
pub struct Leaf {
    pub names: Vec<String>,
    pub from_ms: i64,
    pub until_ms: i64,
    pub server_auth: Option<bool>,
    pub send_intermediate: bool,
}

fn params(name: &str) -> CertificateParams {
    let mut p = CertificateParams::default();
    p.distinguished_name = DistinguishedName::new();
    p.distinguished_name.push(DnType::CommonName, name);
    p
}

fn at(ms: i64) -> time::OffsetDateTime {
    time::OffsetDateTime::from_unix_timestamp(ms.div_euclid(1000)).unwrap()
}

impl Authority {
    pub fn make() -> Self {
        let ca = |name| {
            let mut p = params(name);
            p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            p.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            p
        };
        let (root_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let root = ca("Made-up Root").self_signed(&root_key).unwrap();
        let root_issuer = Issuer::new(ca("Made-up Root"), root_key);
        let intermediate = ca("Made-up Intermediate").signed_by(&key, &root_issuer).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("root.pem"), root.pem()).unwrap();
        Self {
            root_pem: root.pem(),
            root: root.der().clone(),
            intermediate: intermediate.der().clone(),
            issuer: Issuer::new(ca("Made-up Intermediate"), key),
            dir,
        }
    }

    pub fn root_file(&self) -> PathBuf {
        assert!(self.root_pem.starts_with("-----BEGIN"));
        self.dir.path().join("root.pem")
    }
}

impl Leaf {
    pub fn good(now_ms: i64) -> Self {
        let day = model::clock::DAY_MS;
        Self {
            names: vec!["localhost".into()],
            from_ms: now_ms - 30 * day,
            until_ms: now_ms + 60 * day,
            server_auth: Some(true),
            send_intermediate: true,
        }
    }
}

/// The server; it ends with the test's process.
pub struct Server {
    pub authority: Authority,
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub fn good() -> Self {
        Self::with(Authority::make(), &Leaf::good(model::Clock::now_ms(&model::SystemClock)), Bad::Nothing)
    }

    pub fn with(authority: Authority, leaf: &Leaf, bad: Bad) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut p = params("localhost");
        p.not_before = at(leaf.from_ms);
        p.not_after = at(leaf.until_ms);
        p.subject_alt_names =
            leaf.names.iter().map(|n| SanType::DnsName(n.as_str().try_into().unwrap())).collect();
        p.extended_key_usages = match leaf.server_auth {
            Some(true) => vec![ExtendedKeyUsagePurpose::ServerAuth],
            Some(false) => vec![ExtendedKeyUsagePurpose::ClientAuth],
            None => vec![],
        };
        p.custom_extensions = vec![issuer_at("http://ca.example.org/intermediate.cer")];
        let certificate = p.signed_by(&key, &authority.issuer).unwrap();
        let mut chain = vec![certificate.der().clone()];
        if leaf.send_intermediate {
            chain.push(authority.intermediate.clone());
        }
        let config = Arc::new(config(&authority, chain, &key, bad));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = asked.clone();
        let ca_certs = Arc::new(apple::scep::ca_cert(&authority.intermediate, &authority.root));
        std::thread::spawn(move || {
            for tcp in listener.incoming().flatten() {
                let (config, log, ca_certs) = (config.clone(), log.clone(), ca_certs.clone());
                std::thread::spawn(move || serve(tcp, config, bad, &log, &ca_certs));
            }
        });
        Self { authority, address, asked }
    }

    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// The paths that were asked for.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Authority information access: caIssuers (RFC 5280, 4.2.2.1).
fn issuer_at(url: &str) -> CustomExtension {
    let tlv = |tag: u8, body: &[u8]| [&[tag, u8::try_from(body.len()).unwrap()], body].concat();
    let method = tlv(0x06, &[0x2b, 6, 1, 5, 5, 7, 0x30, 2]);
    let access = tlv(0x30, &[method, tlv(0x86, url.as_bytes())].concat());
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], tlv(0x30, &access))
}

fn config(
    authority: &Authority,
    chain: Vec<CertificateDer<'static>>,
    key: &KeyPair,
    bad: Bad,
) -> rustls::ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions: &[_] = match bad {
        Bad::OnlyTls12 => &[&rustls::version::TLS12],
        _ => &[&rustls::version::TLS12, &rustls::version::TLS13],
    };
    let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(authority.root.clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = match bad {
        Bad::AsksForNoCertificate => builder.with_no_client_auth(),
        Bad::RequiresCertificate => builder.with_client_cert_verifier(verifier.build().unwrap()),
        _ => builder.with_client_cert_verifier(verifier.allow_unauthenticated().build().unwrap()),
    };
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    builder.with_single_cert(chain, key).unwrap()
}

fn serve(
    tcp: TcpStream,
    config: Arc<rustls::ServerConfig>,
    bad: Bad,
    log: &Mutex<Vec<String>>,
    ca_certs: &[u8],
) -> Option<()> {
    let connection = rustls::ServerConnection::new(config).ok()?;
    let mut reader = BufReader::new(rustls::StreamOwned::new(connection, tcp));
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        if reader.by_ref().take(4096).read_line(&mut line).ok()? == 0 {
            return None;
        }
    }
    let path = first.split(' ').nth(1)?.to_owned();
    log.lock().unwrap().push(path.clone());
    let profile = format!("/enrol/{}", "b".repeat(32));
    let (status, extra, body): (&str, &str, &[u8]) = match (bad, path.as_str()) {
        (Bad::Redirects, _) => ("302 Found", "location: https://login.example.org/\r\n", b""),
        (Bad::UnsignedProfile, p) if p == profile => (
            "200 OK",
            "content-type: application/x-apple-aspen-config\r\n",
            b"<?xml version=\"1.0\"?><plist/>",
        ),
        (Bad::ProfileAsPage, p) if p == profile => ("200 OK", "content-type: text/html\r\n", b"<html>"),
        (_, p) if p == profile => {
            ("200 OK", "content-type: application/x-apple-aspen-config\r\n", &[0x30, 0x03, 2, 1, 0])
        }
        (Bad::NoScep, _) | (_, "/enrol/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa") => ("404 Not Found", "", b""),
        (Bad::Login, "/mdm") => ("401 Unauthorized", "", b""),
        (_, "/mdm") => ("400 Bad Request", "", b""),
        (_, "/scep?operation=GetCACaps") => ("200 OK", "content-type: text/plain\r\n", b"AES\nSHA-256\n"),
        (_, "/scep?operation=GetCACert") => {
            ("200 OK", "content-type: application/x-x509-ca-ra-cert\r\n", ca_certs)
        }
        _ => ("404 Not Found", "", b""),
    };
    let now_ms = model::Clock::now_ms(&model::SystemClock);
    let now_ms = if bad == Bad::ClockBehind { now_ms - 3_600_000 } else { now_ms };
    let date = jiff::fmt::rfc2822::DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&jiff::Timestamp::from_millisecond(now_ms).unwrap())
        .unwrap();
    let head = format!(
        "HTTP/1.1 {status}\r\ndate: {date}\r\n{extra}content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let out = reader.get_mut();
    out.write_all(head.as_bytes()).ok()?;
    out.write_all(body).ok()?;
    out.conn.send_close_notify();
    out.flush().ok()
}
