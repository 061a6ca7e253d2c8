//! Reading and writing DER (X.690), as much as certificates and CMS need.
//!
//! By hand and small, because a signature covers the bytes *as received*: every element read here
//! keeps its own encoding, nothing is decoded and encoded again. Strict: definite and minimal
//! lengths, low tag numbers only. No recursion.

/// Universal and context tags used by X.509 and CMS.
pub(crate) mod tag {
    pub(crate) const BOOLEAN: u8 = 0x01;
    pub(crate) const INTEGER: u8 = 0x02;
    pub(crate) const BIT_STRING: u8 = 0x03;
    pub(crate) const OCTET_STRING: u8 = 0x04;
    pub(crate) const NULL: u8 = 0x05;
    pub(crate) const OID: u8 = 0x06;
    pub(crate) const UTF8: u8 = 0x0c;
    pub(crate) const PRINTABLE: u8 = 0x13;
    pub(crate) const TELETEX: u8 = 0x14;
    pub(crate) const IA5: u8 = 0x16;
    pub(crate) const UTC_TIME: u8 = 0x17;
    pub(crate) const GENERALIZED_TIME: u8 = 0x18;
    pub(crate) const BMP: u8 = 0x1e;
    pub(crate) const SEQUENCE: u8 = 0x30;
    pub(crate) const SET: u8 = 0x31;
    /// `[n]` primitive.
    pub(crate) const fn context(n: u8) -> u8 {
        0x80 | n
    }
    /// `[n]` constructed.
    pub(crate) const fn context_constructed(n: u8) -> u8 {
        0xa0 | n
    }
}

/// The bytes are not the DER that was expected; the text names the element, never its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// One element.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tlv<'a> {
    /// Identifier octet.
    pub(crate) tag: u8,
    /// Identifier, length and content, as received.
    pub(crate) full: &'a [u8],
    /// Content alone.
    pub(crate) body: &'a [u8],
}

impl<'a> Tlv<'a> {
    /// Reads the elements inside.
    pub(crate) fn inside(&self) -> Reader<'a> {
        Reader::new(self.body)
    }

    /// A BIT STRING's whole octets; one with unused bits is refused.
    pub(crate) fn whole_bits(&self) -> Result<&'a [u8], Malformed> {
        match self.body.split_first() {
            Some((0, bits)) => Ok(bits),
            _ => Err(Malformed("a bit string has unused bits")),
        }
    }

    /// A non-negative INTEGER's magnitude without leading zeros (empty for 0).
    pub(crate) fn unsigned(&self) -> Result<&'a [u8], Malformed> {
        match self.body {
            [] => Err(Malformed("an integer is empty")),
            [0] => Ok(&[]),
            [0, next, ..] if *next < 0x80 => Err(Malformed("an integer is not minimal")),
            [0, rest @ ..] => Ok(rest),
            [first, ..] if *first >= 0x80 => Err(Malformed("an integer is negative")),
            all => Ok(all),
        }
    }
}

/// Reads elements one after another.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next element, whatever it is.
    pub(crate) fn any(&mut self) -> Result<Tlv<'a>, Malformed> {
        let (tag, header_bytes, len) = header(self.rest)?;
        let end = header_bytes.checked_add(len).ok_or(Malformed("a length is too large"))?;
        let (full, rest) = self.rest.split_at_checked(end).ok_or(Malformed("an element is truncated"))?;
        let body = full.get(header_bytes..).ok_or(Malformed("an element is truncated"))?;
        self.rest = rest;
        Ok(Tlv { tag, full, body })
    }

    /// The next element, which must have this tag; `what` names it in the error.
    pub(crate) fn expect(&mut self, tag: u8, what: &'static str) -> Result<Tlv<'a>, Malformed> {
        let tlv = self.any().map_err(|_| Malformed(what))?;
        if tlv.tag == tag { Ok(tlv) } else { Err(Malformed(what)) }
    }

    /// The next element if it has this tag.
    pub(crate) fn optional(&mut self, tag: u8) -> Result<Option<Tlv<'a>>, Malformed> {
        if self.rest.first() == Some(&tag) { self.any().map(Some) } else { Ok(None) }
    }

    /// Nothing may be left.
    pub(crate) fn finish(self, what: &'static str) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed(what)) }
    }
}

/// The one element that `bytes` are, with nothing after it.
pub(crate) fn only<'a>(bytes: &'a [u8], tag: u8, what: &'static str) -> Result<Tlv<'a>, Malformed> {
    let mut reader = Reader::new(bytes);
    let tlv = reader.expect(tag, what)?;
    reader.finish(what)?;
    Ok(tlv)
}

/// Tag, header length and content length of the element that begins here.
fn header(bytes: &[u8]) -> Result<(u8, usize, usize), Malformed> {
    let truncated = Malformed("an element is truncated");
    let (&tag, rest) = bytes.split_first().ok_or(truncated)?;
    if tag & 0x1f == 0x1f {
        return Err(Malformed("a tag number is too large"));
    }
    let (&first, rest) = rest.split_first().ok_or(truncated)?;
    if first < 0x80 {
        return Ok((tag, 2, usize::from(first)));
    }
    let count = usize::from(first & 0x7f);
    if !(1..=4).contains(&count) {
        return Err(Malformed("a length is indefinite or too large"));
    }
    let octets = rest.get(..count).ok_or(truncated)?;
    let len = octets.iter().fold(0usize, |n, b| n << 8 | usize::from(*b));
    let minimal = if count == 1 { len >= 0x80 } else { octets.first() != Some(&0) };
    if !minimal {
        return Err(Malformed("a length is not minimal"));
    }
    Ok((tag, 2 + count, len))
}

/// Writes an element whose content is `parts`, one after another.
pub(crate) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let len: usize = parts.iter().map(|p| p.len()).sum();
    let mut out = Vec::with_capacity(len + 6);
    out.push(tag);
    push_len(&mut out, len);
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// Appends a definite, minimal length.
pub(crate) fn push_len(out: &mut Vec<u8>, len: usize) {
    if len < 0x80 {
        out.push(len as u8);
        return;
    }
    let octets = len.to_be_bytes();
    let skip = octets.iter().take_while(|b| **b == 0).count();
    out.push(0x80 | (octets.len() - skip) as u8);
    out.extend(octets.iter().skip(skip));
}

/// A SEQUENCE of `parts`.
pub(crate) fn seq(parts: &[&[u8]]) -> Vec<u8> {
    tlv(tag::SEQUENCE, parts)
}

/// A SET OF `parts`, in the order DER asks for.
pub(crate) fn set_of(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut sorted: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    sorted.sort_unstable();
    tlv(tag::SET, &sorted)
}

/// An OBJECT IDENTIFIER from its encoded content.
pub(crate) fn oid(content: &[u8]) -> Vec<u8> {
    tlv(tag::OID, &[content])
}

/// An OCTET STRING.
pub(crate) fn octets(content: &[u8]) -> Vec<u8> {
    tlv(tag::OCTET_STRING, &[content])
}

/// A BIT STRING of whole octets.
pub(crate) fn bits(content: &[u8]) -> Vec<u8> {
    tlv(tag::BIT_STRING, &[&[0], content])
}

/// A non-negative INTEGER from its big-endian magnitude.
pub(crate) fn unsigned(magnitude: &[u8]) -> Vec<u8> {
    let skip = magnitude.iter().take_while(|b| **b == 0).count();
    let digits = magnitude.get(skip..).unwrap_or_default();
    match digits.first() {
        None => tlv(tag::INTEGER, &[&[0]]),
        Some(first) if *first >= 0x80 => tlv(tag::INTEGER, &[&[0], digits]),
        Some(_) => tlv(tag::INTEGER, &[digits]),
    }
}

/// An `AlgorithmIdentifier`, with NULL parameters or none.
pub(crate) fn algorithm(oid_content: &[u8], null_parameters: bool) -> Vec<u8> {
    let null: &[u8] = if null_parameters { &[tag::NULL, 0] } else { &[] };
    seq(&[&oid(oid_content), null])
}

/// `[n]` constructed around `parts` (EXPLICIT, or IMPLICIT for a constructed type).
pub(crate) fn context(n: u8, parts: &[&[u8]]) -> Vec<u8> {
    tlv(tag::context_constructed(n), parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_that_are_not_minimal_or_indefinite_are_refused() {
        for bad in [&[0x30, 0x80, 0, 0][..], &[0x04, 0x81, 0x01, 0], &[0x04, 0x82, 0, 0x80], &[0x1f, 1, 0]] {
            assert!(Reader::new(bad).any().is_err(), "{bad:?}");
        }
        assert!(Reader::new(&[0x04, 0x02, 0]).any().is_err());
    }

    #[test]
    fn unsigned_integers_are_written_minimal_and_positive() {
        assert_eq!(unsigned(&[0, 0]), [2, 1, 0]);
        assert_eq!(unsigned(&[0, 0x7f]), [2, 1, 0x7f]);
        assert_eq!(unsigned(&[0x80]), [2, 2, 0, 0x80]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_is_written_is_read_back(tag in 0u8..0x1f, body in prop::collection::vec(any::<u8>(), 0..70_000)) {
            let bytes = tlv(tag, &[&body]);
            let read = only(&bytes, tag, "element").unwrap();
            prop_assert_eq!(read.body, &body[..]);
            prop_assert_eq!(read.full, &bytes[..]);
        }

        #[test]
        fn reading_arbitrary_bytes_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut reader = Reader::new(&bytes);
            while let Ok(tlv) = reader.any() {
                let _ = (tlv.whole_bits(), tlv.unsigned());
            }
        }
    }
}
