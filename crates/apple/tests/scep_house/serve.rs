//! As much HTTP/1.1 as a SCEP client needs, on loopback.

use super::House;
use apple::scep::{self, Algorithms};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What the loop saw, one line a request.
pub type Seen = Arc<Mutex<Vec<String>>>;

/// Serves SCEP on loopback until the test's process ends.
pub fn serve(house: Arc<House>, admit: Algorithms) -> (SocketAddr, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Seen::default();
    let log = Arc::clone(&seen);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if let Err(e) = one(&stream, &house, admit, &log) {
                eprintln!("the test's server: {e}");
            }
        }
    });
    (address, seen)
}

/// Answers one request and closes.
fn one(stream: &TcpStream, house: &House, admit: Algorithms, seen: &Seen) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut length = 0;
    let mut continues = false;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let header = header.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        continues |= header == "expect: 100-continue";
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    if continues {
        (&*stream).write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let method = line.split(' ').next().unwrap_or_default().to_owned();
    let target = line.split(' ').nth(1).unwrap_or_default();
    let query = target.split_once('?').map_or("", |(_, q)| q);
    let parameter = |name: &str| {
        query.split('&').find_map(|pair| pair.split_once('=').filter(|(n, _)| *n == name)).map(|(_, v)| v)
    };
    let operation = parameter("operation").unwrap_or_default();
    seen.lock().unwrap().push(format!("{method} {operation}"));
    let answer = match operation {
        "GetCACaps" => Some((scep::CA_CAPS_TYPE, scep::ca_caps().as_bytes().to_vec())),
        "GetCACert" => Some((scep::CA_CERT_TYPE, scep::ca_cert(house.ra.cert_der(), &house.ca_cert))),
        "PKIOperation" => {
            let body = match parameter("message") {
                Some(message) => scep::decode_get_message(message).unwrap_or_default(),
                None => body,
            };
            house.answer(&body, admit).map(|a| (scep::PKI_MESSAGE_TYPE, a))
        }
        _ => None,
    };
    let (status, kind, answer) = match answer {
        Some((kind, answer)) => ("200 OK", kind, answer),
        None => ("400 Bad Request", "text/plain", Vec::new()),
    };
    let length = answer.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    let mut stream = stream;
    stream.write_all(head.as_bytes())?;
    stream.write_all(&answer)
}
