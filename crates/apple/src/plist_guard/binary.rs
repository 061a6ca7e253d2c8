//! The binary form (`bplist00`): magic, objects, table of offsets, a trailer of 32 bytes. Nothing is
//! allocated by a length that the file merely claims: every run of bytes is first found in the file.

use super::{Budget, DATES_MS, MAX_DEPTH, Node, check_keys};
use crate::Malformed;
use model::TimeMs;
use std::borrow::Cow;

/// Seconds from 1970 to 2001, where binary dates begin.
const EPOCH_2001_S: f64 = 978_307_200.0;

pub(super) fn read<'a>(body: &'a [u8], budget: &mut Budget) -> Result<Node<'a>, Malformed> {
    if !body.starts_with(b"bplist00") {
        return Err(Malformed::Unsupported);
    }
    let trailer_at = body.len().checked_sub(32).filter(|at| *at >= 8).ok_or(Malformed::Reference)?;
    let (objects, trailer) = body.split_at_checked(trailer_at).ok_or(Malformed::Reference)?;
    let field = |at: usize, len: usize| trailer.get(at..at + len).and_then(uint).ok_or(Malformed::Reference);
    let size = |at: usize| {
        field(at, 1).and_then(|n| match n {
            1..=8 => usize::try_from(n).map_err(|_| Malformed::Reference),
            _ => Err(Malformed::Reference),
        })
    };
    let (offset_bytes, ref_bytes) = (size(6)?, size(7)?);
    let (count, root, table_at) = (field(8, 8)?, field(16, 8)?, field(24, 8)?);
    let table = usize::try_from(count)
        .ok()
        .and_then(|n| n.checked_mul(offset_bytes))
        .zip(usize::try_from(table_at).ok())
        .and_then(|(len, at)| objects.get(at..at.checked_add(len)?))
        .ok_or(Malformed::Reference)?;
    let mut reader = Reader { objects, table, offset_bytes, ref_bytes, budget };
    reader.object(root, 0)
}

/// A big-endian number of at most 8 bytes.
fn uint(bytes: &[u8]) -> Option<u64> {
    (bytes.len() <= 8).then(|| bytes.iter().fold(0, |n, b| n << 8 | u64::from(*b)))
}

struct Reader<'a, 'b> {
    objects: &'a [u8],
    table: &'a [u8],
    offset_bytes: usize,
    ref_bytes: usize,
    budget: &'b mut Budget,
}

impl<'a> Reader<'a, '_> {
    /// `len` bytes at `at`.
    fn slice(&self, at: usize, len: usize) -> Result<&'a [u8], Malformed> {
        at.checked_add(len).and_then(|end| self.objects.get(at..end)).ok_or(Malformed::Reference)
    }

    /// Where object number `index` begins.
    fn offset(&self, index: u64) -> Result<usize, Malformed> {
        usize::try_from(index)
            .ok()
            .and_then(|i| i.checked_mul(self.offset_bytes))
            .and_then(|at| self.table.get(at..at.checked_add(self.offset_bytes)?))
            .and_then(uint)
            .and_then(|offset| usize::try_from(offset).ok())
            .ok_or(Malformed::Reference)
    }

    /// A collection's or string's length and where its content begins: in the marker's low half, or in
    /// an integer that follows it.
    fn length(&self, low: u8, at: usize) -> Result<(usize, usize), Malformed> {
        if low != 0xF {
            return Ok((usize::from(low), at));
        }
        let width = match self.slice(at, 1)? {
            [marker @ 0x10..=0x13] => 1usize << (marker & 3),
            _ => return Err(Malformed::Reference),
        };
        let len = uint(self.slice(at + 1, width)?).and_then(|n| usize::try_from(n).ok());
        Ok((len.ok_or(Malformed::Reference)?, at + 1 + width))
    }

    /// The object numbers of a collection of `len` at `at`, as bytes.
    fn refs(&self, at: usize, len: usize) -> Result<&'a [u8], Malformed> {
        self.slice(at, len.checked_mul(self.ref_bytes).ok_or(Malformed::Reference)?)
    }

    /// Object number `index`, inside of `depth` collections. A cycle ends at the depth limit; shared
    /// objects are read again each time and spend the budget each time.
    fn object(&mut self, index: u64, depth: usize) -> Result<Node<'a>, Malformed> {
        self.budget.take_nodes(1)?;
        let at = self.offset(index)?;
        let marker = *self.objects.get(at).ok_or(Malformed::Reference)?;
        let (kind, low, at) = (marker >> 4, marker & 0xF, at + 1);
        Ok(match (kind, low) {
            (0x0, 0x8) => Node::Bool(false),
            (0x0, 0x9) => Node::Bool(true),
            // One, two and four bytes are unsigned, eight are signed, sixteen hold large unsigned ones.
            (0x1, 0..=2) => {
                Node::Integer(uint(self.slice(at, 1 << low)?).ok_or(Malformed::BadNumber)?.into())
            }
            (0x1, 3) => Node::Integer(i64::from_be_bytes(self.array(at)?).into()),
            (0x1, 4) => {
                let n = i128::from_be_bytes(self.array(at)?);
                if !(i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&n) {
                    return Err(Malformed::BadNumber);
                }
                Node::Integer(n)
            }
            (0x2, 2) => Node::Real(f32::from_be_bytes(self.array(at)?).into()),
            (0x2, 3) => Node::Real(f64::from_be_bytes(self.array(at)?)),
            (0x3, 3) => Node::Date(date(f64::from_be_bytes(self.array(at)?))?),
            (0x4, low) => {
                let (len, at) = self.length(low, at)?;
                let bytes = self.slice(at, len)?;
                self.budget.take_content(len)?;
                Node::Bytes(bytes.into())
            }
            (0x5 | 0x6, _) => Node::Text(self.text(kind, low, at)?),
            (0xA | 0xD, _) if depth >= MAX_DEPTH => return Err(Malformed::TooDeep),
            (0xA, low) => {
                let (len, at) = self.length(low, at)?;
                let refs = self.refs(at, len)?;
                let items = refs.chunks_exact(self.ref_bytes);
                let items: Result<Vec<_>, _> = items.map(|r| self.reference(r, depth + 1)).collect();
                Node::Array(items?)
            }
            (0xD, low) => self.dict(low, at, depth + 1)?,
            (0x0..=0x3 | 0x8, _) => return Err(Malformed::Unsupported),
            _ => return Err(Malformed::Syntax),
        })
    }

    fn reference(&mut self, bytes: &[u8], depth: usize) -> Result<Node<'a>, Malformed> {
        self.object(uint(bytes).ok_or(Malformed::Reference)?, depth)
    }

    fn dict(&mut self, low: u8, at: usize, depth: usize) -> Result<Node<'a>, Malformed> {
        let (len, at) = self.length(low, at)?;
        let keys = self.refs(at, len)?;
        let values = self.refs(at + keys.len(), len)?;
        let mut pairs = Vec::new();
        for (key, value) in keys.chunks_exact(self.ref_bytes).zip(values.chunks_exact(self.ref_bytes)) {
            let Node::Text(key) = self.reference(key, depth)? else { return Err(Malformed::Syntax) };
            pairs.push((key, self.reference(value, depth)?));
        }
        check_keys(&pairs)?;
        Ok(Node::Dict(pairs))
    }

    fn text(&mut self, kind: u8, low: u8, at: usize) -> Result<Cow<'a, str>, Malformed> {
        let (len, at) = self.length(low, at)?;
        let text: Cow<'a, str> = if kind == 0x5 {
            std::str::from_utf8(self.slice(at, len)?).map_err(|_| Malformed::Encoding)?.into()
        } else {
            let bytes = self.slice(at, len.checked_mul(2).ok_or(Malformed::Reference)?)?;
            self.budget.take_content(bytes.len())?;
            let units = bytes.chunks_exact(2).map(|pair| match pair {
                [hi, lo] => u16::from_be_bytes([*hi, *lo]),
                _ => 0,
            });
            char::decode_utf16(units).collect::<Result<String, _>>().map_err(|_| Malformed::Encoding)?.into()
        };
        self.budget.take_content(text.len())?;
        if memchr::memchr(0, text.as_bytes()).is_some() {
            return Err(Malformed::BadCharacter);
        }
        Ok(text)
    }

    fn array<const N: usize>(&self, at: usize) -> Result<[u8; N], Malformed> {
        self.slice(at, N)?.try_into().map_err(|_| Malformed::Reference)
    }
}

fn date(seconds_since_2001: f64) -> Result<TimeMs, Malformed> {
    let ms = ((seconds_since_2001 + EPOCH_2001_S) * 1000.0).round();
    // Compared as floats first: a cast of a float saturates.
    let inside = ms >= *DATES_MS.start() as f64 && ms <= *DATES_MS.end() as f64;
    if inside { Ok(ms as TimeMs) } else { Err(Malformed::BadDate) }
}
