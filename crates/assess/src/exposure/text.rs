//! An export's bytes to text: what Excel, EPMM and other consoles write.

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

/// Decodes an export and says as what it was read.
///
/// # Errors
/// [`Error::InventoryTooLarge`] above [`MAX_INVENTORY_BYTES`]; [`Error::InventoryNotText`] when it
/// holds NUL bytes and is not UTF-16, as a spreadsheet's own format or an archive does.
pub fn decode(bytes: &[u8]) -> Result<(String, Encoding), Error> {
    if bytes.len() as u64 > MAX_INVENTORY_BYTES {
        return Err(Error::InventoryTooLarge { limit_bytes: MAX_INVENTORY_BYTES });
    }
    if let Some(rest) = bytes.strip_prefix(&[0xff, 0xfe]) {
        return Ok((utf16(rest, u16::from_le_bytes), Encoding::Utf16Le));
    }
    if let Some(rest) = bytes.strip_prefix(&[0xfe, 0xff]) {
        return Ok((utf16(rest, u16::from_be_bytes), Encoding::Utf16Be));
    }
    let bytes = bytes.strip_prefix(&[0xef, 0xbb, 0xbf]).unwrap_or(bytes);
    if bytes.starts_with(b"PK\x03\x04") || bytes.contains(&0) {
        return Err(Error::InventoryNotText);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok((text.to_owned(), Encoding::Utf8)),
        Err(_) => Ok((bytes.iter().map(|b| windows_1252(*b)).collect(), Encoding::Windows1252)),
    }
}

fn utf16(bytes: &[u8], order: fn([u8; 2]) -> u16) -> String {
    let units = bytes.chunks_exact(2).map(|pair| match pair {
        [a, b] => order([*a, *b]),
        _ => 0xfffd,
    });
    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
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
