//! Listings of files from a disk image: `mactime` body files and the output of
//! `sha256sum`, `sha1sum`, `md5sum`.

use std::io::Read;

use crate::finding::UnixMs;
use crate::indicators::Indicators;

/// Matches kept of one listing.
const MAX_MATCHES: usize = 1000;
/// Longest line.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// A line of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Hash as written.
    pub hash: Option<&'a str>,
    /// Path.
    pub path: &'a [u8],
    /// Size in bytes.
    pub size: Option<u64>,
    /// Last change of the content.
    pub mtime_ms: Option<UnixMs>,
}

/// Why an entry is of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// An indicator (its index).
    Indicator(usize),
    /// A dump's known name under the web root.
    StagedName,
    /// The page where a loader was hidden.
    LoaderPage,
}

/// A match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// Why.
    pub why: Why,
    /// Line number.
    pub line: u64,
    /// Offset.
    pub offset: u64,
    /// The line, at most 1 KiB.
    pub raw: Vec<u8>,
    /// Last change of the file.
    pub mtime_ms: Option<UnixMs>,
    /// Its size.
    pub size: Option<u64>,
    /// Its path.
    pub path: Vec<u8>,
}

/// What a listing holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Lines.
    pub lines: u64,
    /// Entries that were understood.
    pub entries: u64,
    /// Matches.
    pub matches: Vec<Match>,
    /// Matches beyond [`MAX_MATCHES`].
    pub left_out: u64,
}

/// Parses one line.
pub fn parse(line: &[u8]) -> Option<Entry<'_>> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.iter().filter(|b| **b == b'|').count() >= 10 {
        // MD5|name|inode|mode|UID|GID|size|atime|mtime|ctime|crtime; the name may hold a bar.
        let mut back = line.rsplitn(10, |b| *b == b'|');
        let (_cr, _c, m, _a, size) = (back.next()?, back.next()?, back.next()?, back.next()?, back.next()?);
        let (_gid, _uid, _mode, _inode, front) =
            (back.next()?, back.next()?, back.next()?, back.next()?, back.next()?);
        let bar = front.iter().position(|b| *b == b'|')?;
        let hash = std::str::from_utf8(front.get(..bar)?).ok()?;
        let whole =
            |b: &[u8]| std::str::from_utf8(b).ok().and_then(|s| s.split('.').next()?.parse::<i64>().ok());
        let size = whole(size)?;
        let mtime = whole(m)?;
        return Some(Entry {
            hash: is_hash(hash).then_some(hash),
            path: front.get(bar + 1..)?,
            size: u64::try_from(size).ok(),
            mtime_ms: (mtime > 0).then(|| mtime.saturating_mul(1000)),
        });
    }
    let space = line.iter().position(|b| *b == b' ')?;
    let hash = std::str::from_utf8(line.get(..space)?).ok()?;
    let hash = hash.strip_prefix('\\').unwrap_or(hash);
    let path = line.get(space + 1..)?;
    let path = path.strip_prefix(b" ").or_else(|| path.strip_prefix(b"*"))?;
    (is_hash(hash) && !path.is_empty()).then_some(Entry {
        hash: Some(hash),
        path,
        size: None,
        mtime_ms: None,
    })
}

fn is_hash(h: &str) -> bool {
    matches!(h.len(), 32 | 40 | 64)
        && h.bytes().all(|b| b.is_ascii_hexdigit())
        && h.bytes().any(|b| b != b'0')
}

/// Reads a whole listing; the error, if any, comes with what was read.
pub fn read(
    reader: &mut dyn Read,
    known: &Indicators,
    fed: &mut dyn FnMut(&[u8]),
) -> (Listing, u64, Option<std::io::Error>) {
    let mut out = Listing::default();
    let mut buf = vec![0u8; 64 * 1024];
    let mut line: Vec<u8> = Vec::new();
    let (mut offset, mut bytes) = (0u64, 0u64);
    let mut failure = None;
    loop {
        let n = match reader.read(&mut buf) {
            Ok(n) => n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => {
                failure = Some(e);
                0
            }
        };
        let got = buf.get(..n).unwrap_or_default();
        fed(got);
        for piece in got.split_inclusive(|b| *b == b'\n') {
            if line.len() < MAX_LINE_BYTES {
                line.extend_from_slice(piece.get(..MAX_LINE_BYTES.min(piece.len())).unwrap_or(piece));
            }
            bytes += piece.len() as u64;
            if piece.ends_with(b"\n") {
                one(&mut out, known, line.strip_suffix(b"\n").unwrap_or(&line), offset);
                line.clear();
                offset = bytes;
            }
        }
        if n == 0 {
            if !line.is_empty() {
                one(&mut out, known, &line, offset);
            }
            return (out, bytes, failure);
        }
    }
}

fn one(out: &mut Listing, known: &Indicators, line: &[u8], offset: u64) {
    out.lines += 1;
    let Some(e) = parse(line) else { return };
    out.entries += 1;
    let mut whys: Vec<Why> = known.of_file(e.hash, e.path).into_iter().map(Why::Indicator).collect();
    let low = e.path.to_ascii_lowercase();
    // mactime may add a remark in brackets, such as "(deleted)".
    let bare = low.split(|b| *b == b' ').next().unwrap_or(&low);
    let name = bare.rsplit(|b| *b == b'/').next().unwrap_or(bare);
    let under_mifs =
        memchr::memmem::find(bare, b"/mifs").is_some() || memchr::memmem::find(bare, b"/tomcat").is_some();
    let staged = name.strip_prefix(b"mibasecss").and_then(|n| n.strip_suffix(b".css"));
    if staged.is_some_and(|n| n.iter().all(u8::is_ascii_digit)) {
        whys.push(Why::StagedName);
    }
    if name == b"403.jsp" && under_mifs {
        whys.push(Why::LoaderPage);
    }
    for why in whys {
        if out.matches.len() >= MAX_MATCHES {
            out.left_out += 1;
            continue;
        }
        out.matches.push(Match {
            why,
            line: out.lines,
            offset,
            raw: line.get(..1024).unwrap_or(line).to_vec(),
            mtime_ms: e.mtime_ms,
            size: e.size,
            path: e.path.get(..512).unwrap_or(e.path).to_vec(),
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_known_hash_and_a_known_name_are_found_in_both_kinds_of_listing() {
        let hash = "c1f60ca5a5f7b94ab7122718a44b46de16c69d22c2eb62ce2948cab14bc78d50";
        let text = format!(
            "{hash}  /tmp/x\n{}  /etc/hosts\n0|/mi/tomcat/webapps/mifs/css/mibasecss12.css (deleted)|7|r/rrw|0|0|9000|1747274496|1747274497|1|1\nrubbish\n",
            "ab".repeat(32)
        );
        let (l, bytes, e) = read(&mut text.as_bytes(), &Indicators::builtin(), &mut |_| {});
        assert!(e.is_none());
        assert_eq!((l.lines, l.entries, bytes), (4, 3, text.len() as u64));
        assert!(matches!(l.matches[0].why, Why::Indicator(_)));
        assert_eq!(
            (l.matches[1].why, l.matches[1].size, l.matches[1].mtime_ms),
            (Why::StagedName, Some(9000), Some(1_747_274_497_000))
        );
        assert_eq!(l.matches.len(), 2);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
        #[test]
        fn no_line_upsets_the_listing_parser(raw in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&raw);
        }
    }
}
