//! tar, read as a stream: nothing is ever written, so a member's name is only
//! a label, and links are named but not followed. Long names and extended
//! headers are bounded, whatever size they claim.

use std::io::{self, Read};

const BLOCK: usize = 512;
/// Longest name or extended header that is read.
const MAX_META_BYTES: u64 = 256 * 1024;

/// A member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name, as bytes.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Its size in bytes.
    pub size: u64,
}

/// Kinds of member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A symbolic or hard link.
    Link,
    /// A device, a FIFO, a sparse file or something unknown.
    Other,
}

/// Walks the members. `each` gets a member and a reader of its bytes; what it
/// leaves unread is passed over. It returns false to stop.
pub fn walk(
    reader: &mut (dyn Read + Send),
    each: &mut dyn FnMut(&Member, &mut (dyn Read + Send)) -> io::Result<bool>,
) -> io::Result<()> {
    let mut long_name: Option<Vec<u8>> = None;
    let mut long_size: Option<u64> = None;
    let mut blank = 0;
    loop {
        let mut header = [0u8; BLOCK];
        match fill(reader, &mut header)? {
            0 => return Ok(()),
            BLOCK => {}
            n => return Err(cut(format!("the archive ends inside a header ({n} bytes of it)"))),
        }
        if header.iter().all(|b| *b == 0) {
            blank += 1;
            if blank == 2 {
                return Ok(());
            }
            continue;
        }
        blank = 0;
        if !checksum_holds(&header) {
            return Err(io::Error::other("a header's checksum is wrong; what follows it was not read"));
        }
        let flag = header.get(156).copied().unwrap_or(0);
        let size = number(header.get(124..136).unwrap_or_default())
            .ok_or_else(|| io::Error::other("a header has no readable size"))?;
        match flag {
            b'L' | b'K' | b'x' | b'g' => {
                if size > MAX_META_BYTES {
                    return Err(io::Error::other(format!("a name or extended header claims {size} bytes")));
                }
                let mut meta = Vec::new();
                reader.take(size).read_to_end(&mut meta)?;
                pass_over(reader, padding(size))?;
                match flag {
                    b'L' => long_name = Some(meta.split(|b| *b == 0).next().unwrap_or_default().to_vec()),
                    b'x' => {
                        let (name, size) = pax(&meta);
                        long_name = name.or(long_name);
                        long_size = size.or(long_size);
                    }
                    _ => {}
                }
                continue;
            }
            _ => {}
        }
        let size = long_size.take().unwrap_or(size);
        let kind = match flag {
            b'0' | 0 | b'7' => Kind::File,
            b'5' => Kind::Folder,
            b'1' | b'2' => Kind::Link,
            _ => Kind::Other,
        };
        let member = Member { name: long_name.take().unwrap_or_else(|| name(&header)), kind, size };
        let held = if matches!(kind, Kind::Link | Kind::Folder) { 0 } else { size };
        let mut body = Body { inner: reader, left: held };
        let go_on = each(&member, &mut body)?;
        let left = body.left;
        if !go_on {
            return Ok(());
        }
        pass_over(reader, left.saturating_add(padding(held)))?;
    }
}

struct Body<'a> {
    inner: &'a mut (dyn Read + Send),
    left: u64,
}

impl Read for Body<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        if most == 0 {
            return Ok(0);
        }
        let n = self.inner.read(buf.get_mut(..most).unwrap_or_default())?;
        if n == 0 {
            let left = std::mem::take(&mut self.left);
            return Err(cut(format!("the archive ends {left} bytes before this member does")));
        }
        self.left -= n as u64;
        Ok(n)
    }
}

/// An error for input that ends too early.
pub fn cut(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, text)
}

fn fill(reader: &mut (dyn Read + Send), buf: &mut [u8]) -> io::Result<usize> {
    let mut have = 0;
    while let Some(free) = buf.get_mut(have..).filter(|f| !f.is_empty()) {
        match reader.read(free) {
            Ok(0) => break,
            Ok(n) => have += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(have)
}

fn pass_over(reader: &mut (dyn Read + Send), bytes: u64) -> io::Result<()> {
    let n = io::copy(&mut reader.take(bytes), &mut io::sink())?;
    if n < bytes { Err(cut("the archive ends too early".into())) } else { Ok(()) }
}

fn padding(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}

fn number(field: &[u8]) -> Option<u64> {
    if field.first().is_some_and(|b| b & 0x80 != 0) {
        // Base 256 for sizes beyond 8 GiB.
        let tail = field.get(field.len().checked_sub(8)?..)?;
        let n = tail.iter().fold(0u64, |n, b| (n << 8) | u64::from(*b));
        return (n < 1 << 62).then_some(n);
    }
    let digits: Vec<u8> = field.iter().copied().filter(|b| *b != b' ' && *b != 0).collect();
    if digits.len() > 12 || !digits.iter().all(|b| (b'0'..=b'7').contains(b)) {
        return None;
    }
    Some(digits.iter().fold(0, |n, b| n * 8 + u64::from(b - b'0')))
}

fn name(header: &[u8]) -> Vec<u8> {
    let text = |a: usize, b: usize| {
        header.get(a..b).unwrap_or_default().split(|x| *x == 0).next().unwrap_or_default()
    };
    let prefix = if header.get(257..263) == Some(b"ustar\0") { text(345, 500) } else { b"" };
    let mut out = prefix.to_vec();
    if !out.is_empty() {
        out.push(b'/');
    }
    out.extend_from_slice(text(0, 100));
    out
}

fn checksum_holds(header: &[u8]) -> bool {
    let want = number(header.get(148..156).unwrap_or_default());
    let sum: u64 = header
        .iter()
        .enumerate()
        .map(|(i, b)| if (148..156).contains(&i) { 32 } else { u64::from(*b) })
        .sum();
    want == Some(sum)
}

/// Before POSIX there was no magic: a header is known by its checksum.
pub fn is_old_header(head: &[u8]) -> bool {
    head.get(..BLOCK).is_some_and(|h| {
        h.first().is_some_and(|b| *b > 32)
            && h.get(100..108).is_some_and(|m| m.contains(&b'0'))
            && checksum_holds(h)
    })
}

/// `path` and `size` of an extended header: lines of `LENGTH key=value\n`.
fn pax(meta: &[u8]) -> (Option<Vec<u8>>, Option<u64>) {
    let (mut path, mut size) = (None, None);
    let mut rest = meta;
    while let Some(space) = rest.iter().position(|b| *b == b' ') {
        let len = std::str::from_utf8(rest.get(..space).unwrap_or_default())
            .ok()
            .and_then(|s| s.parse::<usize>().ok());
        let Some(record) = len.filter(|l| *l > space + 1).and_then(|l| rest.get(space + 1..l)) else { break };
        let record = record.strip_suffix(b"\n").unwrap_or(record);
        if let Some(p) = record.strip_prefix(b"path=") {
            path = Some(p.to_vec());
        }
        if let Some(s) = record.strip_prefix(b"size=") {
            size = std::str::from_utf8(s).ok().and_then(|s| s.parse().ok()).filter(|n: &u64| *n < 1 << 62);
        }
        rest = rest.get(len.unwrap_or(rest.len())..).unwrap_or_default();
    }
    (path, size)
}

/// Makes a header; for the demonstration bundle and tests.
pub fn header(name: &str, size: u64, flag: u8, mtime_s: u64) -> [u8; 512] {
    let mut h = [0u8; BLOCK];
    let mut put = |at: usize, text: &[u8]| {
        for (place, b) in h.iter_mut().skip(at).zip(text) {
            *place = *b;
        }
    };
    put(0, name.as_bytes().get(..100).unwrap_or(name.as_bytes()));
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, format!("{mtime_s:011o}\0").as_bytes());
    put(148, b"        ");
    put(156, &[flag]);
    put(257, b"ustar\x0000");
    let sum: u64 = h.iter().map(|b| u64::from(*b)).sum();
    for (place, b) in h.iter_mut().skip(148).zip(format!("{sum:06o}\0 ").as_bytes()) {
        *place = *b;
    }
    h
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn archive(members: &[(&str, &[u8], u8)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, body, flag) in members {
            out.extend_from_slice(&header(name, body.len() as u64, *flag, 0));
            out.extend_from_slice(body);
            out.resize(out.len().next_multiple_of(BLOCK), 0);
        }
        out.resize(out.len() + 2 * BLOCK, 0);
        out
    }

    type Listed = Vec<(Vec<u8>, Kind, Vec<u8>)>;

    fn list(bytes: &[u8]) -> (Listed, io::Result<()>) {
        let mut seen = Vec::new();
        let mut r = bytes;
        let end = walk(&mut r, &mut |m, body| {
            let mut b = Vec::new();
            let e = body.read_to_end(&mut b);
            seen.push((m.name.clone(), m.kind, b));
            e.map(|_| true)
        });
        (seen, end)
    }

    #[test]
    fn members_links_and_long_names_are_read() {
        let long = "d/".repeat(120) + "log";
        let a = archive(&[
            ("a", b"one", b'0'),
            ("up", b"", b'2'),
            ("x", long.as_bytes(), b'L'),
            ("cut", b"two", b'0'),
        ]);
        let (seen, end) = list(&a);
        assert!(end.is_ok());
        assert_eq!(seen[0], (b"a".to_vec(), Kind::File, b"one".to_vec()));
        assert_eq!(seen[1].1, Kind::Link);
        assert_eq!(seen[2], (long.into_bytes(), Kind::File, b"two".to_vec()));
    }

    #[test]
    fn a_cut_archive_gives_what_it_had_and_an_error() {
        let a = archive(&[("a", b"one", b'0'), ("b", &[b'x'; 2000], b'0')]);
        let (seen, end) = list(&a[..1800]);
        assert_eq!(seen[0].2, b"one");
        assert_eq!(seen[1].2.len(), 1800 - 3 * BLOCK);
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_name_that_claims_gigabytes_is_refused() {
        let (_, end) = list(&header("x", 8_000_000_000, b'L', 0));
        assert!(end.unwrap_err().to_string().contains("claims"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]
        #[test]
        fn no_mangled_archive_upsets_the_walker(at in 0usize..2048, b in any::<u8>(), cut in 0usize..3000) {
            let mut a = archive(&[("a", b"one", b'0'), ("b", b"two", b'x'), ("c", b"three", b'0')]);
            if let Some(x) = a.get_mut(at) { *x = b; }
            a.truncate(cut);
            let _ = list(&a);
        }
    }
}
