//! Both listeners, asked by strangers.

use super::*;
use std::io::{Read, Write};
use std::process::Command as Process;

/// Other spellings of a path that lead to it on sloppy servers.
fn spellings(path: &str) -> Vec<String> {
    let last = path.trim_start_matches('/');
    vec![
        path.to_uppercase(),
        format!("/{path}"),
        format!("{path}/"),
        format!("{path};x=1"),
        format!("/..;{path}"),
        format!("/x/..{path}"),
        format!("/.{path}"),
        path.replacen('/', "/%2e/", 1),
        format!("/%{:02x}{}", last.bytes().next().unwrap_or(b'a'), last.get(1..).unwrap_or("")),
        format!("{path}%00"),
        format!("{path}%2f"),
    ]
}

/// One plain request as bytes, so that nothing is folded on the way; the status.
fn plain(ward: &Ward, method: &str, path: &str) -> u16 {
    let mut stream = std::net::TcpStream::connect(ward.house.administrators()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let body = "{}";
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text);
    String::from_utf8_lossy(&text).split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn only_the_public_routes_answer_without_credentials() {
    let ward = Ward::open(&[]).await;
    let routes = core_room::routes();
    assert!(routes.len() > 15);
    let public: Vec<_> = routes
        .iter()
        .filter(|r| matches!(r.access, core_room::Access::Public(_)))
        .map(|r| (r.method, r.path.as_str()))
        .collect();
    assert_eq!(public.len(), 9, "{public:?}");
    for route in &routes {
        let path = route
            .path
            .replace("{enrolment}", "00112233")
            .replace("{command}", "0")
            .replace("{id}", "0")
            .replace("{index}", "0")
            .replace("{order}", "0")
            .replace("{device_group}", "0")
            .replace("{profile}", "0")
            .replace("{version}", "0")
            .replace("{*path}", "0/000");
        assert!(!path.contains('{'), "{path}");
        let open = |m: &str, p: &str| public.contains(&(m, p));
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE"] {
            let status = plain(&ward, method, &path);
            if open(method, &path) || (method == "HEAD" && open("GET", &path)) {
                continue;
            }
            assert!(matches!(status, 401 | 404 | 405), "{method} {path}: {status}");
        }
        for other in spellings(&path) {
            for method in ["GET", "POST"] {
                let status = plain(&ward, method, &other);
                assert!(matches!(status, 400 | 401 | 404 | 405), "{method} {other}: {status}");
            }
        }
    }
}

/// What curl gets of the phones' listener: status, and whether there was a body.
fn curl(ward: &Ward, method: &str, path: &str, more: &[&str]) -> String {
    let out = Process::new("curl")
        .args(["-s", "--path-as-is", "-X", method, "-o", "/dev/null", "-w", "%{http_code}"])
        .arg("--cacert")
        .arg(ward.house.ca_pem())
        .args(more)
        .arg(format!("{}{path}", ward.house.base_url()))
        .output()
        .unwrap();
    String::from_utf8_lossy(&out.stdout).into_owned()
}

#[tokio::test]
async fn only_the_listed_routes_of_the_phones_listener_answer() {
    let ward = Ward::open(&[]).await;
    let link = ward.invite(0).await;
    let link = link.strip_prefix(&ward.house.base_url()).unwrap().to_owned();
    assert_eq!(curl(&ward, "GET", &link, &[]), "200");
    assert_eq!(curl(&ward, "GET", "/scep?operation=GetCACaps", &[]), "200");
    assert_eq!(curl(&ward, "GET", "/scep?operation=GetCACert", &[]), "200");
    // The device route without a certificate is a plain 400, never a 401.
    assert_eq!(curl(&ward, "PUT", "/mdm", &["-d", "x"]), "400");
    for path in ["/mdm", "/scep", link.as_str()] {
        for other in spellings(path) {
            for method in ["GET", "PUT", "POST"] {
                let status = curl(&ward, method, &other, &["-d", "x"]);
                assert!(matches!(status.as_str(), "400" | "404"), "{method} {other}: {status}");
            }
        }
        for method in ["DELETE", "OPTIONS", "TRACE", "PATCH", "CONNECT2"] {
            let status = curl(&ward, method, path, &[]);
            assert!(matches!(status.as_str(), "400" | "404" | "405"), "{method} {path}: {status}");
        }
    }
    for path in ["/", "/enrol/", "/api/v1/devices", "/metrics", "/healthz", "/enrol/abc", "/favicon.ico"] {
        assert_eq!(curl(&ward, "GET", path, &[]), "404", "{path}");
    }
    // A certificate of another CA ends the handshake.
    let dir = tempfile::TempDir::new().unwrap();
    let (key, cert) = (dir.path().join("k.pem"), dir.path().join("c.pem"));
    let made = Process::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/O=Matron device/CN=00112233445566778899aabbccddeeff",
        ])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .output()
        .unwrap();
    assert!(made.status.success());
    let with = ["--cert", cert.to_str().unwrap(), "--key", key.to_str().unwrap(), "-d", "x"];
    assert_eq!(curl(&ward, "PUT", "/mdm", &with), "000");
}
