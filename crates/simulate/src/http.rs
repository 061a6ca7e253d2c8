//! HTTP/1.1 over one kept TLS connection, as thin as it gets: the phones share their cores with the
//! server they load. One request at a time; head, body and buffers are bounded.

use crate::Fault;
use crate::sign::MessageSigner;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// The largest body that is read, in bytes.
pub const MAX_BODY_BYTES: usize = 8 << 20;
const MAX_HEAD_BYTES: usize = 16 * 1024;
const MAX_HEADERS: usize = 48;
/// How many interim answers (1xx) may come before the real one.
const MAX_INTERIM: usize = 4;

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// `Content-Type`, in lower case and without parameters, when there is a body.
    pub content_type: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

/// A kept connection to one host.
#[derive(Debug)]
pub struct Connection {
    stream: TlsStream<TcpStream>,
    authority: Box<str>,
    timeout: Duration,
    inbound: Vec<u8>,
    outbound: Vec<u8>,
    usable: bool,
    used: bool,
    signer: Option<MessageSigner>,
}

impl Connection {
    pub(crate) fn new(stream: TlsStream<TcpStream>, authority: &str, timeout: Duration) -> Self {
        Self {
            stream,
            authority: authority.into(),
            timeout,
            inbound: Vec::new(),
            outbound: Vec::new(),
            usable: true,
            used: false,
            signer: None,
        }
    }

    /// Signs every body from here on (`Mdm-Signature`), as the enrolment profile asked.
    pub(crate) fn signing(mut self, signer: MessageSigner) -> Self {
        self.signer = Some(signer);
        self
    }

    /// May another request be sent? Not after an error, nor once the server said `Connection: close`.
    #[must_use]
    pub fn usable(&self) -> bool {
        self.usable
    }

    /// Has a request been answered on it? Then the server may have closed it meanwhile.
    pub(crate) fn is_used(&self) -> bool {
        self.used
    }

    /// Was a session ticket taken, so that the handshake was short?
    #[must_use]
    pub fn resumed(&self) -> bool {
        matches!(self.stream.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Resumed))
    }

    /// Sends one request and reads its answer, within the network's timeout.
    ///
    /// # Errors
    /// [`Fault::Io`], [`Fault::Timeout`], [`Fault::Http`]; the connection can't be used after any.
    pub async fn request(
        &mut self,
        method: &str,
        target: &str,
        content_type: Option<&str>,
        body: &[u8],
    ) -> Result<Response, Fault> {
        let timeout = self.timeout;
        tokio::time::timeout(timeout, self.exchange(method, target, content_type, body))
            .await
            .unwrap_or(Err(Fault::Timeout))
    }

    /// The same without a timeout of its own, for load: there one timer watches a whole connection.
    pub(crate) async fn exchange(
        &mut self,
        method: &str,
        target: &str,
        content_type: Option<&str>,
        body: &[u8],
    ) -> Result<Response, Fault> {
        if !self.usable {
            return Err(Fault::State("the connection is closed"));
        }
        // Stays so if the future is dropped half-way.
        self.usable = false;
        self.outbound.clear();
        for part in [method, " ", target, " HTTP/1.1\r\nHost: ", &self.authority, "\r\n"] {
            self.outbound.extend_from_slice(part.as_bytes());
        }
        if let (Some(signer), Some(_)) = (&self.signer, content_type) {
            let header = signer.header(body)?;
            for part in ["Mdm-Signature: ", &header, "\r\n"] {
                self.outbound.extend_from_slice(part.as_bytes());
            }
        }
        if let Some(kind) = content_type {
            for part in ["Content-Type: ", kind, "\r\nContent-Length: ", &body.len().to_string(), "\r\n"] {
                self.outbound.extend_from_slice(part.as_bytes());
            }
        }
        self.outbound.extend_from_slice(b"\r\n");
        self.outbound.extend_from_slice(body);
        self.stream.write_all(&self.outbound).await?;
        self.stream.flush().await?;
        let (response, keep) = self.answer().await?;
        self.used = true;
        self.usable = keep && self.inbound.is_empty();
        Ok(response)
    }

    async fn answer(&mut self) -> Result<(Response, bool), Fault> {
        for _ in 0..MAX_INTERIM {
            let head = loop {
                if let Some(head) = read_head(&self.inbound).map_err(Fault::Http)? {
                    break head;
                }
                self.more().await?;
            };
            self.inbound.drain(..head.length);
            if (100..200).contains(&head.status) {
                continue;
            }
            let body = self.body(&head).await?;
            let content_type = if body.is_empty() { None } else { head.content_type };
            return Ok((Response { status: head.status, content_type, body }, head.keep));
        }
        Err(Fault::Http("too many interim answers"))
    }

    async fn body(&mut self, head: &Head) -> Result<Vec<u8>, Fault> {
        match head.framing {
            Framing::Length(0) => Ok(Vec::new()),
            Framing::Length(length) => {
                while self.inbound.len() < length {
                    self.more().await?;
                }
                Ok(self.inbound.drain(..length).collect())
            }
            Framing::Chunked => {
                let mut body = Vec::new();
                loop {
                    match take_chunk(&self.inbound, body.len()).map_err(Fault::Http)? {
                        Chunk::Partial => self.more().await?,
                        Chunk::Data { start, end, next } => {
                            body.extend_from_slice(self.inbound.get(start..end).unwrap_or_default());
                            self.inbound.drain(..next);
                        }
                        Chunk::Last { next } => {
                            self.inbound.drain(..next);
                            return Ok(body);
                        }
                    }
                }
            }
            Framing::UntilClose => {
                while self.fill().await? {
                    if self.inbound.len() > MAX_BODY_BYTES {
                        return Err(Fault::Http("its body is too large"));
                    }
                }
                Ok(std::mem::take(&mut self.inbound))
            }
        }
    }

    /// Reads some bytes, of which there must be some.
    async fn more(&mut self) -> Result<(), Fault> {
        if self.fill().await? { Ok(()) } else { Err(Fault::Ended) }
    }

    async fn fill(&mut self) -> Result<bool, Fault> {
        self.inbound.reserve(4096);
        match self.stream.read_buf(&mut self.inbound).await {
            Ok(n) => Ok(n > 0),
            // Servers that close without a TLS goodbye: as good as an end.
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
            Err(e) => Err(Fault::Io(e)),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

#[derive(Debug, PartialEq, Eq)]
struct Head {
    length: usize,
    status: u16,
    content_type: Option<String>,
    framing: Framing,
    keep: bool,
}

/// Reads an answer's head; None if there is more to come.
fn read_head(bytes: &[u8]) -> Result<Option<Head>, &'static str> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut headers);
    let length = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD_BYTES => return Ok(None),
        Ok(httparse::Status::Partial) => return Err("its head is too large"),
        Err(_) => return Err("it isn't HTTP/1.1"),
    };
    let status = parsed.code.unwrap_or_default();
    let mut keep = parsed.version == Some(1);
    let (mut sized, mut chunked, mut content_type) = (None, false, None);
    for header in parsed.headers.iter() {
        let value = std::str::from_utf8(header.value).unwrap_or_default().trim();
        if header.name.eq_ignore_ascii_case("content-length") {
            if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) || sized.is_some() {
                return Err("its length can't be read");
            }
            sized = Some(value.parse::<usize>().map_err(|_| "its body is too large")?);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            if !value.eq_ignore_ascii_case("chunked") || chunked {
                return Err("it is encoded in a way that is not read here");
            }
            chunked = true;
        } else if header.name.eq_ignore_ascii_case("connection") {
            keep &= !value.split(',').any(|token| token.trim().eq_ignore_ascii_case("close"));
        } else if header.name.eq_ignore_ascii_case("content-type") {
            content_type = value.split(';').next().map(|kind| kind.trim().to_ascii_lowercase());
        }
    }
    let framing = match (sized, chunked) {
        _ if status < 200 || status == 204 || status == 304 => Framing::Length(0),
        (Some(_), true) => return Err("its length is given twice"),
        (Some(length), false) if length > MAX_BODY_BYTES => return Err("its body is too large"),
        (Some(length), false) => Framing::Length(length),
        (None, true) => Framing::Chunked,
        (None, false) => Framing::UntilClose,
    };
    keep &= framing != Framing::UntilClose;
    Ok(Some(Head { length, status, content_type, framing, keep }))
}

#[derive(Debug, PartialEq, Eq)]
enum Chunk {
    Partial,
    Data { start: usize, end: usize, next: usize },
    Last { next: usize },
}

/// Finds the next chunk at the beginning of `bytes`; `so_far` bytes of the body came before.
fn take_chunk(bytes: &[u8], so_far: usize) -> Result<Chunk, &'static str> {
    const BAD: &str = "its chunks can't be read";
    let (start, size) = match httparse::parse_chunk_size(bytes) {
        Ok(httparse::Status::Complete(found)) => found,
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD_BYTES => return Ok(Chunk::Partial),
        Ok(httparse::Status::Partial) | Err(_) => return Err(BAD),
    };
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if size > MAX_BODY_BYTES.saturating_sub(so_far) {
        return Err("its body is too large");
    }
    if size > 0 {
        let end = start + size;
        return match bytes.get(end..end + 2) {
            None => Ok(Chunk::Partial),
            Some(b"\r\n") => Ok(Chunk::Data { start, end, next: end + 2 }),
            Some(_) => Err(BAD),
        };
    }
    // Trailers, which nobody needs here, end with an empty line.
    let rest = bytes.get(start..).unwrap_or_default();
    if rest.starts_with(b"\r\n") {
        return Ok(Chunk::Last { next: start + 2 });
    }
    match memchr::memmem::find(rest, b"\r\n\r\n") {
        Some(at) => Ok(Chunk::Last { next: start + at + 4 }),
        None if rest.len() < MAX_HEAD_BYTES => Ok(Chunk::Partial),
        None => Err(BAD),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head(text: &str) -> Result<Option<Head>, &'static str> {
        read_head(text.as_bytes())
    }

    #[test]
    fn a_head_says_how_long_the_body_is_and_whether_the_connection_stays() {
        let ok =
            head("HTTP/1.1 200 OK\r\nContent-Length: 12\r\nContent-Type: Text/Plain; charset=utf-8\r\n\r\n");
        let ok = ok.unwrap().unwrap();
        assert_eq!((ok.status, ok.framing, ok.keep), (200, Framing::Length(12), true));
        assert_eq!(ok.content_type.as_deref(), Some("text/plain"));
        let closing = head("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").unwrap().unwrap();
        assert_eq!((closing.framing, closing.keep), (Framing::UntilClose, false));
        let chunked = head("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap().unwrap();
        assert_eq!(chunked.framing, Framing::Chunked);
        assert_eq!(head("HTTP/1.1 200 OK\r\nContent-").unwrap(), None);
        assert_eq!(head("HTTP/1.1 204 No Content\r\n\r\n").unwrap().unwrap().framing, Framing::Length(0));
    }

    #[test]
    fn a_head_that_two_readers_could_read_in_two_ways_is_refused() {
        for bad in [
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
            "SSH-2.0-whatever\r\n\r\n",
        ] {
            assert!(head(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn chunks_are_taken_one_by_one_and_bounded() {
        assert_eq!(take_chunk(b"3\r\nabc\r\n0\r\n\r\n", 0), Ok(Chunk::Data { start: 3, end: 6, next: 8 }));
        assert_eq!(take_chunk(b"0\r\n\r\n", 3), Ok(Chunk::Last { next: 5 }));
        assert_eq!(take_chunk(b"0\r\nA: b\r\n\r\n", 3), Ok(Chunk::Last { next: 11 }));
        assert_eq!(take_chunk(b"3\r\nab", 0), Ok(Chunk::Partial));
        assert!(take_chunk(b"3\r\nabcd\r\n", 0).is_err());
        assert!(take_chunk(b"ffffffffff\r\n", 0).is_err());
        assert!(take_chunk(b"3\r\n", MAX_BODY_BYTES - 1).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn whatever_a_server_sends_is_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            if let Ok(Some(head)) = read_head(&bytes) {
                prop_assert!(head.length <= bytes.len());
            }
            if let Ok(Chunk::Data { start, end, next }) = take_chunk(&bytes, 0) {
                prop_assert!(start <= end && end < next && next <= bytes.len());
            }
        }

        #[test]
        fn a_damaged_head_is_refused_or_read_but_never_a_panic(at in 0usize..64, byte in any::<u8>()) {
            let mut bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nConnection: close\r\n\r\n".to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = read_head(&bytes);
        }
    }
}
