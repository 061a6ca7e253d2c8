//! An export's bytes to text: what Excel, EPMM and other consoles write.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

use crate::error::Error;

/// The largest inventory that is read, in bytes. A fleet of a million phones stays below it.
pub const MAX_INVENTORY_BYTES: u64 = 512 * 1024 * 1024;

/// How an export was encoded; the report names it, since a wrong guess spoils names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8, with or without a byte order mark.
    Utf8,
    /// UTF-16, little endian, as Excel's "Unicode text" is.
    Utf16Le,
    /// UTF-16, big endian.
    Utf16Be,
    /// Neither: read as Windows-1252, which has a character for nearly every byte.
    Windows1252,
}

impl Encoding {
    /// The name that a report shows.
    pub fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "UTF-8",
            Self::Utf16Le => "UTF-16 (little endian)",
            Self::Utf16Be => "UTF-16 (big endian)",
            Self::Windows1252 => "Windows-1252",
        }
    }
}

/// What a first reading tells of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// How it is encoded.
    pub encoding: Encoding,
    /// SHA-256, lower-case hex.
    pub sha256: String,
    /// Its size in bytes.
    pub bytes: u64,
}

/// Bytes read at a time.
const BLOCK_BYTES: usize = 64 * 1024;

/// Reads an export through, keeping nothing of it, to tell how it is encoded.
///
/// # Errors
/// [`Error::InventoryTooLarge`] above [`MAX_INVENTORY_BYTES`]; [`Error::InventoryNotText`] when it
/// holds NUL bytes and is not UTF-16, as a spreadsheet's own format or an archive does;
/// [`Error::Read`] with `name`.
pub fn look(name: &str, input: &mut dyn Read) -> Result<Look, Error> {
    let mut hash = Sha256::new();
    let mut bytes = 0u64;
    let mut head: Vec<u8> = Vec::new();
    let (mut nul, mut utf8) = (false, true);
    // The beginning of a character that the block cut.
    let mut begun: Vec<u8> = Vec::new();
    let mut block = vec![0u8; BLOCK_BYTES];
    loop {
        let n = match input.read(&mut block) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(Error::Read { path: name.to_owned(), source }),
        };
        let got = block.get(..n).unwrap_or_default();
        bytes += n as u64;
        if bytes > MAX_INVENTORY_BYTES {
            return Err(Error::InventoryTooLarge { limit_bytes: MAX_INVENTORY_BYTES });
        }
        hash.update(got);
        if head.len() < 8 {
            head.extend(got.iter().take(8));
        }
        nul |= got.contains(&0);
        if utf8 {
            begun.extend_from_slice(got);
            match std::str::from_utf8(&begun) {
                Ok(_) => begun.clear(),
                Err(e) if e.error_len().is_none() => {
                    begun.drain(..e.valid_up_to());
                }
                Err(_) => {
                    utf8 = false;
                    begun = Vec::new();
                }
            }
        }
    }
    let marked = head.strip_prefix(&[0xef, 0xbb, 0xbf]).unwrap_or(&head);
    let encoding = if head.starts_with(&[0xff, 0xfe]) {
        Encoding::Utf16Le
    } else if head.starts_with(&[0xfe, 0xff]) {
        Encoding::Utf16Be
    } else if nul || marked.starts_with(b"PK\x03\x04") {
        return Err(Error::InventoryNotText);
    } else if utf8 && begun.is_empty() {
        Encoding::Utf8
    } else {
        Encoding::Windows1252
    };
    let sha256 = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
    Ok(Look { encoding, sha256, bytes })
}

/// An export as UTF-8, decoded block by block, without its byte order mark.
pub struct Decoded<R> {
    inner: R,
    encoding: Encoding,
    out: Vec<u8>,
    at: usize,
    odd: Option<u8>,
    high: Option<u16>,
    begun: bool,
}

impl<R: Read> Decoded<R> {
    /// Decodes `inner`, which stands at its beginning.
    pub fn new(inner: R, encoding: Encoding) -> Self {
        Self { inner, encoding, out: Vec::new(), at: 0, odd: None, high: None, begun: false }
    }

    fn push(&mut self, c: char) {
        let mut b = [0; 4];
        self.out.extend_from_slice(c.encode_utf8(&mut b).as_bytes());
    }

    fn utf16(&mut self, got: &[u8], order: fn([u8; 2]) -> u16) {
        let mut units: Vec<u16> = self.high.take().into_iter().collect();
        for b in got {
            match self.odd.take() {
                None => self.odd = Some(*b),
                Some(a) => units.push(order([a, *b])),
            }
        }
        if units.last().is_some_and(|u| (0xD800..0xDC00).contains(u)) {
            self.high = units.pop();
        }
        for c in char::decode_utf16(units) {
            self.push(c.unwrap_or(char::REPLACEMENT_CHARACTER));
        }
    }
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.at >= self.out.len() {
            let mut block = vec![0u8; BLOCK_BYTES];
            let n = self.inner.read(&mut block)?;
            if n == 0 {
                return Ok(0);
            }
            let got = block.get(..n).unwrap_or_default();
            self.out.clear();
            self.at = 0;
            match self.encoding {
                Encoding::Utf8 => self.out.extend_from_slice(got),
                Encoding::Utf16Le => self.utf16(got, u16::from_le_bytes),
                Encoding::Utf16Be => self.utf16(got, u16::from_be_bytes),
                Encoding::Windows1252 => got.iter().for_each(|b| self.push(windows_1252(*b))),
            }
            // The byte order mark, also as Windows-1252 shows it.
            if !std::mem::replace(&mut self.begun, true)
                && let Some(mark) = ["\u{feff}", "ï»¿"].iter().find(|m| self.out.starts_with(m.as_bytes()))
            {
                self.at = mark.len();
            }
        }
        let have = self.out.get(self.at..).unwrap_or_default();
        let n = have.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..n), have.get(..n)) {
            to.copy_from_slice(from);
        }
        self.at += n;
        Ok(n)
    }
}

fn windows_1252(byte: u8) -> char {
    const HIGH: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}',
        '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    match byte {
        0x80..=0x9f => HIGH.get(usize::from(byte - 0x80)).copied().unwrap_or(char::REPLACEMENT_CHARACTER),
        _ => char::from(byte),
    }
}

/// The delimiter of a table: of `,` `;` tab and `|`, the one that stands most often in its first
/// line outside quotes.
pub fn delimiter(text: &str) -> u8 {
    let first = text.lines().find(|l| !l.trim().is_empty()).unwrap_or("");
    let mut quoted = false;
    let mut counts = [(b',', 0usize), (b';', 0), (b'\t', 0), (b'|', 0)];
    for b in first.bytes() {
        if b == b'"' {
            quoted = !quoted;
        } else if !quoted {
            for (d, n) in &mut counts {
                if *d == b {
                    *n += 1;
                }
            }
        }
    }
    // On a tie the earlier one in the list wins.
    let mut best = (b',', 0);
    for (d, n) in counts {
        if n > best.1 {
            best = (d, n);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8]) -> Result<(String, Encoding), Error> {
        let look = look("x", &mut &*bytes)?;
        let mut text = String::new();
        Decoded::new(bytes, look.encoding).read_to_string(&mut text).unwrap();
        Ok((text, look.encoding))
    }

    #[test]
    fn a_character_that_a_block_cuts_is_put_together_in_every_encoding() {
        let long: String = "aé€😀".chars().cycle().take(200_004).collect();
        assert_eq!(decode(long.as_bytes()).unwrap(), (long.clone(), Encoding::Utf8));
        for (order, encoding) in [
            (u16::to_le_bytes as fn(u16) -> [u8; 2], Encoding::Utf16Le),
            (u16::to_be_bytes, Encoding::Utf16Be),
        ] {
            let bytes: Vec<u8> = std::iter::once(0xfeff).chain(long.encode_utf16()).flat_map(order).collect();
            assert!(decode(&bytes).unwrap() == (long.clone(), encoding));
        }
        let cut = &long.as_bytes()[..long.len() - 1];
        assert_eq!(decode(cut).unwrap().1, Encoding::Windows1252, "half a character is no UTF-8");
    }

    #[test]
    fn excels_unicode_text_is_read() {
        let mut bytes = vec![0xff, 0xfe];
        for unit in "Name\tIMEI\r\nZoë\t1".encode_utf16() {
            bytes.extend_from_slice(&unit.to_le_bytes());
        }
        let (text, encoding) = decode(&bytes).unwrap();
        assert_eq!(text, "Name\tIMEI\r\nZoë\t1");
        assert_eq!(encoding, Encoding::Utf16Le);
        assert_eq!(delimiter(&text), b'\t');
    }

    #[test]
    fn a_file_in_windows_1252_keeps_its_accents() {
        let (text, encoding) = decode(b"Name\nZo\xeb \x96 x").unwrap();
        assert_eq!(text, "Name\nZoë – x");
        assert_eq!(encoding, Encoding::Windows1252);
    }

    #[test]
    fn a_workbook_is_refused_and_not_read_as_a_table() {
        assert!(matches!(decode(b"PK\x03\x04rest"), Err(Error::InventoryNotText)));
    }

    #[test]
    fn a_comma_inside_quotes_does_not_choose_the_delimiter() {
        assert_eq!(delimiter("\"a,b,c,d\";x;y\n"), b';');
    }
}
