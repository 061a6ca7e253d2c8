//! What a content is, told from its first bytes and never from its name.

use serde_json::Value;

use crate::line;
use crate::scan::{Mode, Setup};

/// What a content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Nothing in it.
    Empty,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
    /// xz.
    Xz,
    /// bzip2.
    Bzip2,
    /// tar.
    Tar,
    /// zip.
    Zip,
    /// Packed or sealed in a way that isn't read; its name.
    Foreign(&'static str),
    /// UTF-16 text, little-endian or not.
    Utf16 {
        /// Little-endian.
        little: bool,
    },
    /// `mactime` body file or `sha256sum` output.
    Listing,
    /// EPMM's audit export (CSV).
    AuditCsv,
    /// JSON that is not one object a line.
    JsonDocument,
    /// Lines.
    Lines(Mode),
}

/// Bytes that are looked at.
pub const HEAD_BYTES: usize = 64 * 1024;

const FOREIGN: &[(&[u8], &str)] = &[
    (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (b"Rar!\x1a\x07", "RAR"),
    (b"\x04\x22\x4d\x18", "LZ4"),
    (b"LZIP", "lzip"),
    (b"\x1f\x9d", "compress (.Z)"),
    (b"\x1f\xa0", "compress (.Z)"),
    (b"-----BEGIN PGP", "PGP"),
    (b"age-encryption.org/", "age"),
    (b"Salted__", "OpenSSL encryption"),
    (b"MSCF", "a cabinet file"),
    (b"EVF\x09\x0d\x0a\xff\x00", "an EWF disk image"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"ElfFile\0", "a Windows event log"),
];

/// How one content is compressed, if it is.
pub(super) fn packed_as(head: &[u8]) -> Option<Shape> {
    if head.starts_with(b"\x1f\x8b") {
        Some(Shape::Gzip)
    } else if head.starts_with(b"\x28\xb5\x2f\xfd") {
        Some(Shape::Zstd)
    } else if head.starts_with(b"\xfd7zXZ\0") {
        Some(Shape::Xz)
    } else if head.starts_with(b"BZh") && head.get(4..10) == Some(b"\x31\x41\x59\x26\x53\x59") {
        Some(Shape::Bzip2)
    } else {
        None
    }
}

/// Tells what a content is from its head.
pub fn sniff(head: &[u8], setup: &Setup) -> Shape {
    if head.is_empty() {
        return Shape::Empty;
    }
    if let Some(packed) = packed_as(head) {
        return packed;
    }
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        return Shape::Zip;
    }
    if head.get(257..262) == Some(b"ustar") || super::tar::is_old_header(head) {
        return Shape::Tar;
    }
    if let Some((_, name)) = FOREIGN.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Shape::Foreign(name);
    }
    if head.starts_with(b"\xff\xfe") {
        return Shape::Utf16 { little: true };
    }
    if head.starts_with(b"\xfe\xff") {
        return Shape::Utf16 { little: false };
    }
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    if matches!(text.first(), Some(b'{' | b'[')) && setup.format.is_none() {
        return json(text);
    }
    let mut lines = text.split(|b| *b == b'\n').filter(|l| !l.trim_ascii().is_empty()).take(5).peekable();
    if lines.peek().is_some_and(|l| is_audit_header(l)) {
        return Shape::AuditCsv;
    }
    let whole_lines = memchr::memchr_iter(b'\n', text).count().max(1);
    if lines.take(whole_lines).all(|l| super::listing::parse(l).is_some()) {
        return Shape::Listing;
    }
    Shape::Lines(Mode::Text)
}

fn json(text: &[u8]) -> Shape {
    let mut lines =
        text.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).filter(|l| !l.is_empty() && *l != b"[");
    let Some(first) = lines.next() else { return Shape::JsonDocument };
    let one = first.strip_prefix(b"[").unwrap_or(first).trim_ascii();
    let one = one.strip_suffix(b",").unwrap_or(one);
    let one = one.strip_suffix(b"]").unwrap_or(one);
    match serde_json::from_slice::<Value>(one) {
        Ok(v) if v.is_object() => {
            if v.as_object().is_some_and(|o| {
                o.len() <= 3 && o.values().any(|x| x.is_array() || (x.is_object() && x.get("hits").is_some()))
            }) {
                return Shape::JsonDocument;
            }
            let parsed = line::parse_json(one, &line::FieldMap::default());
            let audit = parsed.is_some_and(|l| !l.extra.is_empty());
            Shape::Lines(if audit { Mode::JsonAudit } else { Mode::Json })
        }
        // A line longer than the head can't be told; it is read as lines.
        _ if one.len() >= HEAD_BYTES - 16 && !one.contains(&b'\n') => Shape::Lines(Mode::Json),
        _ => Shape::JsonDocument,
    }
}

/// The first line of an audit export names an action and who did it.
fn is_audit_header(line: &[u8]) -> bool {
    if line.len() > 4096 || !line.contains(&b',') {
        return false;
    }
    let low = String::from_utf8_lossy(line).to_ascii_lowercase();
    let names: Vec<&str> = low.split(',').map(|n| n.trim().trim_matches('"')).collect();
    let any = |words: &[&str]| names.iter().any(|n| words.iter().any(|w| n.contains(w)));
    names.len() >= 3
        && any(&["action", "event type", "operation"])
        && any(&["user", "actor", "subject", "performed", "requested", "admin"])
        && any(&["date", "time"])
}
