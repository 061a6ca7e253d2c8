//! A proxy between the command line and a house: one request a connection, whole in memory. The test
//! decides what becomes of each answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What came through: request lines with their bodies.
type Heard = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

pub(crate) struct Proxy {
    address: SocketAddr,
    heard: Heard,
}

impl Proxy {
    /// `treat` gets the request line, the request's body and the whole answer; `None` hangs up.
    pub(crate) fn before(
        house: SocketAddr,
        treat: impl Fn(&str, &[u8], Vec<u8>) -> Option<Vec<u8>> + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Heard::default();
        let notes = heard.clone();
        // Ends with the test's process.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let _ = pass(client, house, &notes, &treat);
            }
        });
        Self { address, heard }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.heard.lock().unwrap().iter().map(|(l, _)| l.clone()).collect()
    }

    /// Bodies of the requests that begin so.
    pub(crate) fn bodies(&self, line: &str) -> Vec<Vec<u8>> {
        let heard = self.heard.lock().unwrap();
        heard.iter().filter(|(l, _)| l.starts_with(line)).map(|(_, b)| b.clone()).collect()
    }
}

fn pass(
    mut client: TcpStream,
    house: SocketAddr,
    heard: &Heard,
    treat: &impl Fn(&str, &[u8], Vec<u8>) -> Option<Vec<u8>>,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    let head_end = loop {
        let n = client.read(&mut chunk)?;
        request.extend_from_slice(&chunk[..n]);
        match request.windows(4).position(|w| w == b"\r\n\r\n") {
            Some(at) => break at + 4,
            None if n == 0 => return Ok(()),
            None => {}
        }
    };
    let head = String::from_utf8_lossy(&request[..head_end]).into_owned();
    let length = head
        .lines()
        .find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    let length: usize = length.unwrap_or(0);
    while request.len() < head_end + length {
        let n = client.read(&mut chunk)?;
        if n == 0 {
            return Ok(());
        }
        request.extend_from_slice(&chunk[..n]);
    }
    let line = head.lines().next().unwrap_or_default().to_owned();
    let body = request.split_off(head_end);
    heard.lock().unwrap().push((line.clone(), body.clone()));
    let mut server = TcpStream::connect(house)?;
    server.write_all(head.trim_end().as_bytes())?;
    server.write_all(b"\r\nconnection: close\r\n\r\n")?;
    server.write_all(&body)?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    match treat(&line, &body, answer) {
        Some(answer) => client.write_all(&answer),
        None => Ok(()),
    }
}
