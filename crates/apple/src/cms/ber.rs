//! BER to DER: phones and older libraries send indefinite lengths and octet strings in pieces, which
//! the reader of [`crate::x509`] does not take. What is DER already comes out unchanged, so that a
//! signature over a part of it still fits.

use crate::x509::Malformed;
use crate::x509::der::{push_len, tag};

/// How deep elements may nest; a SCEP message needs some 15.
const MAX_DEPTH: u32 = 32;
const CONSTRUCTED: u8 = 0x20;
const TRUNCATED: Malformed = Malformed("an element is truncated");

/// The one element that `bytes` are, as DER (sets keep their order).
pub(crate) fn normalise(bytes: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut input = Input { rest: bytes };
    let mut out = Vec::with_capacity(bytes.len());
    input.element(&mut out, 0)?;
    if input.rest.is_empty() { Ok(out) } else { Err(Malformed("bytes follow the message")) }
}

struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn byte(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.rest.split_first().ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(*first)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(taken)
    }

    /// A definite length, or None for the indefinite one.
    fn length(&mut self) -> Result<Option<usize>, Malformed> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(Some(usize::from(first)));
        }
        if first == 0x80 {
            return Ok(None);
        }
        let octets = self.take(usize::from(first & 0x7f))?;
        // BER allows leading zeros.
        octets
            .iter()
            .try_fold(0usize, |n, b| n.checked_mul(256).map(|n| n | usize::from(*b)))
            .map(Some)
            .ok_or(Malformed("a length is too large"))
    }

    /// Copies one element to `out`.
    fn element(&mut self, out: &mut Vec<u8>, depth: u32) -> Result<(), Malformed> {
        let tag = self.byte()?;
        if tag & 0x1f == 0x1f {
            return Err(Malformed("a tag number is too large"));
        }
        let length = self.length()?;
        if tag & CONSTRUCTED == 0 {
            let body = self.take(length.ok_or(Malformed("a primitive element has no length"))?)?;
            write(out, tag, body);
            return Ok(());
        }
        let in_pieces = tag == tag::OCTET_STRING | CONSTRUCTED;
        let mut body = Vec::new();
        self.children(length, depth, |input, depth| {
            if in_pieces { input.pieces(&mut body, depth) } else { input.element(&mut body, depth) }
        })?;
        write(out, if in_pieces { tag::OCTET_STRING } else { tag }, &body);
        Ok(())
    }

    /// Adds the content of one piece of an octet string, which may itself be in pieces.
    fn pieces(&mut self, body: &mut Vec<u8>, depth: u32) -> Result<(), Malformed> {
        let tag = self.byte()?;
        let length = self.length()?;
        match (tag, length) {
            (tag::OCTET_STRING, Some(len)) => {
                body.extend_from_slice(self.take(len)?);
                Ok(())
            }
            (t, _) if t == tag::OCTET_STRING | CONSTRUCTED => {
                self.children(length, depth, |input, depth| input.pieces(body, depth))
            }
            _ => Err(Malformed("an octet string has a piece of another type")),
        }
    }

    /// Calls `each` for every child of an element whose length has been read.
    fn children(
        &mut self,
        length: Option<usize>,
        depth: u32,
        mut each: impl FnMut(&mut Input<'a>, u32) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        if depth >= MAX_DEPTH {
            return Err(Malformed("elements nest too deeply"));
        }
        if let Some(len) = length {
            let mut inside = Input { rest: self.take(len)? };
            while !inside.rest.is_empty() {
                each(&mut inside, depth + 1)?;
            }
            return Ok(());
        }
        loop {
            if let Some(rest) = self.rest.strip_prefix(&[0, 0]) {
                self.rest = rest;
                return Ok(());
            }
            each(self, depth + 1)?;
        }
    }
}

fn write(out: &mut Vec<u8>, tag: u8, body: &[u8]) {
    out.push(tag);
    push_len(out, body.len());
    out.extend_from_slice(body);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::der::{seq, tlv};
    use proptest::prelude::*;

    #[test]
    fn indefinite_lengths_and_pieces_become_der() {
        let ber =
            [0x30, 0x80, 0x24, 0x80, 0x04, 1, b'a', 0x24, 3, 0x04, 1, b'b', 0, 0, 0x02, 0x81, 1, 5, 0, 0];
        assert_eq!(normalise(&ber).unwrap(), [0x30, 7, 0x04, 2, b'a', b'b', 0x02, 1, 5]);
    }

    #[test]
    fn nesting_beyond_the_limit_is_refused_in_either_form() {
        let deep = (0..40).fold(Vec::new(), |inner, _| seq(&[&inner]));
        assert_eq!(normalise(&deep), Err(Malformed("elements nest too deeply")));
        let indefinite = [0x30, 0x80].repeat(50_000);
        assert_eq!(normalise(&indefinite), Err(Malformed("elements nest too deeply")));
        let pieces = [0x24, 0x80].repeat(50_000);
        assert_eq!(normalise(&pieces), Err(Malformed("elements nest too deeply")));
    }

    #[test]
    fn bytes_after_the_message_are_refused() {
        assert!(normalise(&[0x30, 0, 0]).is_err());
        assert!(normalise(&[]).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn normalising_twice_changes_nothing_more(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            if let Ok(once) = normalise(&bytes) {
                prop_assert!(once.len() <= bytes.len() + 8);
                prop_assert_eq!(normalise(&once).unwrap(), once);
            }
        }

        #[test]
        fn der_comes_out_as_it_was(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8)) {
            let parts: Vec<Vec<u8>> = parts.iter().map(|p| tlv(0x04, &[p])).collect();
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            let der = seq(&[&tlv(0xa0, &parts), &seq(&parts)]);
            prop_assert_eq!(normalise(&der).unwrap(), der);
        }
    }
}
