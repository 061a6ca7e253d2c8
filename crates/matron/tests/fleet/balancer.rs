//! Behind a real load balancer (haproxy): one that passes TLS through and says for whom, and one that ends it.

use super::*;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command as Process, Stdio};

fn is_there(program: &str) -> bool {
    let found = Process::new(program).arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let found = found.is_ok();
    if !found {
        skipped::not_installed(program);
    }
    found
}

fn free() -> SocketAddr {
    testkit::house::free().unwrap()
}

/// A running haproxy, which ends with the test.
struct Balancer(Child);

impl Balancer {
    fn start(dir: &Path, mode: &str, front: SocketAddr, with: &str, server: &str) -> Self {
        let path = dir.join("haproxy.cfg");
        let config = format!(
            "global\n  maxconn 100\ndefaults\n  mode {mode}\n  timeout connect 5s\n  timeout client 60s\n  \
             timeout server 60s\nfrontend phones\n  bind {front} {with}\n  default_backend door\nbackend door\n  \
             server door {server}\n"
        );
        std::fs::write(&path, config).unwrap();
        let log = std::fs::File::create(dir.join("haproxy.log")).unwrap();
        let child = Process::new("haproxy").arg("-db").arg("-f").arg(&path).stderr(log).spawn().unwrap();
        let balancer = Self(child);
        let end = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(front).is_err() {
            let log = || std::fs::read_to_string(dir.join("haproxy.log")).unwrap_or_default();
            assert!(Instant::now() < end, "haproxy does not listen: {}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
        balancer
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A CA of its own, with a certificate for `localhost` and one for a client, as PEM files that haproxy reads.
struct Pki {
    ca: PathBuf,
    public: PathBuf,
    client: PathBuf,
}

fn pki(dir: &Path) -> Pki {
    let ca_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.distinguished_name.push(rcgen::DnType::CommonName, "A load balancer's CA");
    let ca_pem = params.self_signed(&ca_key).unwrap().pem();
    let issuer = Issuer::new(params, ca_key);
    let leaf = |name: &str, usage| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        let pem = params.signed_by(&key, &issuer).unwrap().pem();
        format!("{pem}{}", key.serialize_pem())
    };
    let put = |name: &str, pem: String| {
        let path = dir.join(name);
        std::fs::write(&path, pem).unwrap();
        path
    };
    Pki {
        ca: put("ca.pem", ca_pem),
        public: put("public.pem", leaf("localhost", rcgen::ExtendedKeyUsagePurpose::ServerAuth)),
        client: put("client.pem", leaf("balancer.example.org", rcgen::ExtendedKeyUsagePurpose::ClientAuth)),
    }
}

impl Ward {
    /// A house that phones reach by this address.
    async fn behind(address: SocketAddr, settings: &[&str]) -> Self {
        let base_url = format!("base_url=https://localhost:{}", address.port());
        Self::open(&[&[base_url.as_str()], settings].concat()).await
    }

    /// The same, for phones that trust this CA besides the house's.
    fn trusting(mut self, ca: &Path) -> Self {
        let house = std::fs::read_to_string(self.house.ca_pem()).unwrap();
        let both = format!("{house}{}", std::fs::read_to_string(ca).unwrap());
        self.network = Network::trusting(both.as_bytes()).unwrap();
        self
    }
}

/// One request by curl; the status.
fn curl(url: &str, headers: &[&str]) -> String {
    let mut curl = Process::new("curl");
    curl.args(["-sk", "--max-time", "20", "-o", "/dev/null", "-w", "%{http_code}", "-X", "PUT"]);
    curl.args(["--data-binary", "<plist/>"]);
    for h in headers {
        curl.args(["-H", h]);
    }
    String::from_utf8(curl.arg(url).output().unwrap().stdout).unwrap()
}

#[tokio::test]
async fn haproxy_passes_tls_through_and_says_for_whom_and_nobody_else_gets_in() {
    if !is_there("haproxy") {
        return;
    }
    let (front, dir) = (free(), tempfile::tempdir().unwrap());
    let proxied =
        ["phones.proxy_protocol=true", "phones.proxy_from=[\"127.0.0.1\"]", "log.filter=info,door=debug"];
    let ward = Ward::behind(front, &proxied).await;
    let door = ward.house.phones();
    let _balancer = Balancer::start(dir.path(), "tcp", front, "", &format!("{door} send-proxy-v2"));
    let mut phone = ward.phone(0).await;
    assert_eq!(ward.device(id(&phone)).await["state"], "enrolled");
    ward.command(Command::DeviceLock, &[id(&phone)], &CommandSecrets::default()).await.unwrap();
    assert!(ward.obey(&mut phone).await.commands.iter().any(|(t, _)| t == "DeviceLock"));
    // Straight to the door, without a header.
    assert_eq!(curl(&format!("https://{door}/mdm"), &[]), "000");
    // The header's word is the client's address.
    let mut raw = std::net::TcpStream::connect(door).unwrap();
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x09\xc3\x50\x20\xfb";
    raw.write_all(header).unwrap();
    raw.write_all(b"this is no TLS, and the door says so in its log").unwrap();
    let ward_ref = &ward;
    until("the door to log whom haproxy spoke for", || async move {
        ward_ref.house.log().contains("client.address=192.0.2.7")
    })
    .await;
}

#[tokio::test]
async fn a_load_balancer_that_was_not_named_speaks_for_nobody() {
    if !is_there("haproxy") {
        return;
    }
    let (front, dir) = (free(), tempfile::tempdir().unwrap());
    let proxied =
        ["phones.proxy_protocol=true", "phones.proxy_from=[\"192.0.2.0/24\"]", "log.filter=info,door=debug"];
    let ward = Ward::behind(front, &proxied).await;
    let server = format!("{} send-proxy-v2", ward.house.phones());
    let _balancer = Balancer::start(dir.path(), "tcp", front, "", &server);
    let link = ward.invite(0).await;
    let enrolled = Phone::new(7, 0).enrol(&link, &ward.network, &ward.keys, &SystemClock).await;
    assert!(enrolled.is_err());
    let ward_ref = &ward;
    until("the door to say whom it did not believe", || async move {
        ward_ref.house.log().contains("its address is none of phones.proxy_from")
    })
    .await;
}

#[tokio::test]
async fn behind_a_load_balancer_that_ends_tls_a_phone_is_who_signed_its_message() {
    if !is_there("haproxy") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let pki = pki(dir.path());
    let front = free();
    let ca = format!("phones.load_balancer_ca={}", pki.ca.display());
    let ward = Ward::behind(front, &["phones.tls_ends=load_balancer", &ca]).await.trusting(&pki.ca);
    let door = ward.house.phones();
    let server = format!(
        "{door} ssl crt {} ca-file {} verify required sni str(localhost)",
        pki.client.display(),
        ward.house.ca_pem().display()
    );
    let with = format!("ssl crt {}", pki.public.display());
    let _balancer = Balancer::start(dir.path(), "http", front, &with, &server);
    let mut phone = ward.phone(0).await;
    let mut other = ward.phone(1).await;
    ward.command(Command::DeviceLock, &[id(&phone)], &CommandSecrets::default()).await.unwrap();
    assert!(ward.obey(&mut other).await.commands.iter().all(|(t, _)| t != "DeviceLock"));
    assert!(ward.obey(&mut phone).await.commands.iter().any(|(t, _)| t == "DeviceLock"));
    assert_ne!(id(&phone), id(&other));

    // No header stands in for a signature, and a bad signature is none.
    let url = format!("https://localhost:{}/mdm", front.port());
    let named = format!("X-SSL-Client-CN: {}", id(&phone));
    for headers in [
        vec![],
        vec![named.as_str(), "X-Client-Verified: SUCCESS", "X-SSL-Client-Verify: 0"],
        vec!["Mdm-Signature: "],
        vec!["Mdm-Signature: bm8gc2lnbmF0dXJl"],
    ] {
        assert_eq!(curl(&url, &headers), "400", "{headers:?}");
    }
    // Whoever does not show the load balancer's certificate gets no answer from the door at all.
    assert_eq!(curl(&format!("https://{door}/mdm"), &[]), "000");
}

#[tokio::test]
async fn a_load_balancer_on_the_same_host_may_come_in_plain_http() {
    if !is_there("haproxy") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let pki = pki(dir.path());
    let front = free();
    let ward = Ward::behind(front, &["phones.tls_ends=load_balancer"]).await.trusting(&pki.ca);
    let with = format!("ssl crt {}", pki.public.display());
    let _balancer = Balancer::start(dir.path(), "http", front, &with, &ward.house.phones().to_string());
    let mut phone = ward.phone(0).await;
    ward.command(Command::DeviceLock, &[id(&phone)], &CommandSecrets::default()).await.unwrap();
    assert!(ward.obey(&mut phone).await.commands.iter().any(|(t, _)| t == "DeviceLock"));
}
