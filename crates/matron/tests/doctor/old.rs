//! Servers of other days, which today's libraries can't be: played by openssl.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{doctor, is};

struct Old(Child);

impl Drop for Old {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A self-signed certificate; None where this openssl can't make it.
fn certificate(dir: &Path, key: &str, digest: &str) -> Option<()> {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-newkey", key, digest, "-days", "90", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost", "-addext", "extendedKeyUsage=serverAuth"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(dir)
        .stderr(Stdio::null())
        .status();
    made.ok().filter(std::process::ExitStatus::success).map(drop)
}

fn serve(dir: &Path, arguments: &[&str]) -> Option<(Old, String)> {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let child = Command::new("openssl")
        .args([
            "s_server",
            "-quiet",
            "-www",
            "-cert",
            "cert.pem",
            "-key",
            "key.pem",
            "-port",
            &port.to_string(),
        ])
        .args(arguments)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut old = Old(child);
    let until = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if old.0.try_wait().ok()?.is_some() || Instant::now() > until {
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Some((old, format!("https://localhost:{port}")))
}

fn case(key: &str, digest: &str, arguments: &[&str], id: &str, says: &str) {
    let dir = tempfile::tempdir().unwrap();
    let up = certificate(dir.path(), key, digest).and_then(|()| serve(dir.path(), arguments));
    let Some((_old, url)) = up else {
        skipped::not_possible(&format!("this openssl can't play a server with {key} {digest} {arguments:?}"));
        return;
    };
    let (report, code) = doctor(&["--phone-ready", &url]);
    assert_eq!(code, 1);
    is(&report, id, "fail", says);
}

#[test]
fn weak_keys_and_signatures_are_named() {
    let weak = ["-cipher", "ALL:@SECLEVEL=0"];
    case("rsa:1024", "-sha256", &weak, "tls.key", "RSA 1024");
    case("rsa:2048", "-sha1", &weak, "tls.signature", "SHA-1");
}

#[test]
fn old_protocols_and_ciphers_without_forward_secrecy_are_named() {
    case("rsa:2048", "-sha256", &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], "tls", "TLS 1.1 or older");
    case("rsa:2048", "-sha256", &["-tls1_2", "-cipher", "AES128-GCM-SHA256"], "tls", "forward secrecy");
}
