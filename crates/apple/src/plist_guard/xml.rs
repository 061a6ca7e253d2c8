//! The XML form. Only what Apple's DTD allows is read; comments and processing instructions may stand
//! between elements, not inside text.

use super::{Budget, DATES_MS, MAX_DEPTH, Node, check_keys};
use crate::Malformed;
use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use model::TimeMs;
use std::borrow::Cow;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Longest entity reference, between `&` and `;`.
const MAX_ENTITY_BYTES: usize = 10;

pub(super) fn read<'a>(text: &'a str, budget: &mut Budget) -> Result<Node<'a>, Malformed> {
    if memchr::memchr(0, text.as_bytes()).is_some() {
        return Err(Malformed::BadCharacter);
    }
    let mut reader = Reader { rest: text.strip_prefix('\u{FEFF}').unwrap_or(text), budget };
    reader.prolog()?;
    let tag = reader.tag()?;
    let root = if tag.name == "plist" && tag.kind == Kind::Open {
        let tag = reader.tag()?;
        let root = reader.value(&tag, 0)?;
        let end = reader.tag()?;
        if end.name != "plist" || end.kind != Kind::Close {
            return Err(Malformed::Syntax);
        }
        root
    } else {
        reader.value(&tag, 0)?
    };
    reader.skip_misc()?;
    if reader.rest.is_empty() { Ok(root) } else { Err(Malformed::Syntax) }
}

#[derive(PartialEq, Clone, Copy)]
enum Kind {
    Open,
    Close,
    Empty,
}

struct Tag<'a> {
    name: &'a str,
    kind: Kind,
}

struct Reader<'a, 'b> {
    rest: &'a str,
    budget: &'b mut Budget,
}

impl<'a> Reader<'a, '_> {
    /// The XML declaration and the document type.
    fn prolog(&mut self) -> Result<(), Malformed> {
        self.rest = self.rest.trim_ascii_start();
        if !self.rest.starts_with('<') {
            return Err(Malformed::NotAPlist);
        }
        if let Some(after) = self.rest.strip_prefix("<?xml") {
            let (declaration, rest) = after.split_once("?>").ok_or(Malformed::Syntax)?;
            check_encoding(declaration)?;
            self.rest = rest;
        }
        self.skip_misc()?;
        if let Some(after) = self.rest.strip_prefix("<!DOCTYPE") {
            // Up to the first '>' outside of quotes; '[' would begin an internal subset.
            let (inside, rest) = split_markup(after).ok_or(Malformed::Syntax)?;
            let mut words = inside.split_ascii_whitespace();
            if words.next() != Some("plist") || inside.contains('[') || inside.len() > 512 {
                return Err(Malformed::Doctype);
            }
            self.rest = rest;
        }
        Ok(())
    }

    /// White space, comments, processing instructions.
    fn skip_misc(&mut self) -> Result<(), Malformed> {
        loop {
            self.rest = self.rest.trim_ascii_start();
            let (after, end) = if let Some(after) = self.rest.strip_prefix("<!--") {
                (after, "-->")
            } else if let Some(after) = self.rest.strip_prefix("<?") {
                (after, "?>")
            } else {
                return Ok(());
            };
            self.rest = after.split_once(end).ok_or(Malformed::Syntax)?.1;
        }
    }

    /// The next tag; anything else but white space before it is refused.
    fn tag(&mut self) -> Result<Tag<'a>, Malformed> {
        self.skip_misc()?;
        let after = self.rest.strip_prefix('<').ok_or(Malformed::Syntax)?;
        if after.starts_with('!') {
            return Err(if after.starts_with("!DOCTYPE") || after.starts_with("!ENTITY") {
                Malformed::Doctype
            } else {
                Malformed::Syntax
            });
        }
        let (inside, rest) = split_markup(after).ok_or(Malformed::Syntax)?;
        self.rest = rest;
        let (inside, kind) = if let Some(name) = inside.strip_prefix('/') {
            (name, Kind::Close)
        } else if let Some(name) = inside.strip_suffix('/') {
            (name, Kind::Empty)
        } else {
            (inside, Kind::Open)
        };
        let end = inside.bytes().position(|b| b.is_ascii_whitespace()).unwrap_or(inside.len());
        let (name, _attributes) = inside.split_at_checked(end).ok_or(Malformed::Syntax)?;
        Ok(Tag { name, kind })
    }

    /// The value that `tag` begins, inside of `depth` collections.
    fn value(&mut self, tag: &Tag<'a>, depth: usize) -> Result<Node<'a>, Malformed> {
        if tag.kind == Kind::Close {
            return Err(Malformed::Syntax);
        }
        self.budget.take_nodes(1)?;
        let empty = tag.kind == Kind::Empty;
        Ok(match tag.name {
            "string" => Node::Text(self.text(tag)?),
            "true" | "false" => {
                if !self.text(tag)?.trim_ascii().is_empty() {
                    return Err(Malformed::Syntax);
                }
                Node::Bool(tag.name == "true")
            }
            "integer" => Node::Integer(integer(self.text(tag)?.trim_ascii())?),
            "real" => Node::Real(self.text(tag)?.trim_ascii().parse().map_err(|_| Malformed::BadNumber)?),
            "date" => Node::Date(date(self.text(tag)?.trim_ascii()).ok_or(Malformed::BadDate)?),
            "data" => Node::Bytes(self.data(tag)?.into()),
            "array" | "dict" if depth >= MAX_DEPTH => return Err(Malformed::TooDeep),
            "array" if empty => Node::Array(Vec::new()),
            "dict" if empty => Node::Dict(Vec::new()),
            "array" => self.array(depth + 1)?,
            "dict" => self.dict(depth + 1)?,
            _ => return Err(Malformed::Syntax),
        })
    }

    fn array(&mut self, depth: usize) -> Result<Node<'a>, Malformed> {
        let mut items = Vec::new();
        loop {
            let tag = self.tag()?;
            if tag.kind == Kind::Close && tag.name == "array" {
                return Ok(Node::Array(items));
            }
            items.push(self.value(&tag, depth)?);
        }
    }

    fn dict(&mut self, depth: usize) -> Result<Node<'a>, Malformed> {
        let mut pairs = Vec::new();
        loop {
            let tag = self.tag()?;
            if tag.kind == Kind::Close && tag.name == "dict" {
                check_keys(&pairs)?;
                return Ok(Node::Dict(pairs));
            }
            if tag.kind == Kind::Close || tag.name != "key" {
                return Err(Malformed::Syntax);
            }
            self.budget.take_nodes(1)?;
            let key = self.text(&tag)?;
            let tag = self.tag()?;
            pairs.push((key, self.value(&tag, depth)?));
        }
    }

    /// The text up to the end of the element that `tag` opened.
    fn text(&mut self, tag: &Tag<'a>) -> Result<Cow<'a, str>, Malformed> {
        if tag.kind == Kind::Empty {
            return Ok(Cow::Borrowed(""));
        }
        let mut text = Cow::Borrowed("");
        loop {
            let at = memchr::memchr2(b'<', b'&', self.rest.as_bytes()).ok_or(Malformed::Syntax)?;
            let (before, rest) = self.rest.split_at_checked(at).ok_or(Malformed::Syntax)?;
            append(&mut text, before);
            self.rest = rest;
            if let Some(after) = rest.strip_prefix("</") {
                let after = after.strip_prefix(tag.name).ok_or(Malformed::Syntax)?;
                self.rest = after.trim_ascii_start().strip_prefix('>').ok_or(Malformed::Syntax)?;
                self.budget.take_content(text.len())?;
                return Ok(text);
            } else if let Some(after) = rest.strip_prefix("<![CDATA[") {
                let (inside, after) = after.split_once("]]>").ok_or(Malformed::Syntax)?;
                append(&mut text, inside);
                self.rest = after;
            } else if let Some(after) = rest.strip_prefix('&') {
                let end = after.bytes().take(MAX_ENTITY_BYTES + 1).position(|b| b == b';');
                let (name, after) =
                    end.and_then(|end| after.split_at_checked(end)).ok_or(Malformed::Entity)?;
                text.to_mut().push(entity(name)?);
                self.rest = after.strip_prefix(';').ok_or(Malformed::Entity)?;
            } else {
                return Err(Malformed::Syntax);
            }
        }
    }

    fn data(&mut self, tag: &Tag<'a>) -> Result<Vec<u8>, Malformed> {
        let text = self.text(tag)?;
        let packed: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        BASE64.decode(packed).map_err(|_| Malformed::BadBase64)
    }
}

fn append<'a>(text: &mut Cow<'a, str>, more: &'a str) {
    if text.is_empty() {
        *text = Cow::Borrowed(more);
    } else if !more.is_empty() {
        text.to_mut().push_str(more);
    }
}

/// Splits at the first `>` outside of quotes.
fn split_markup(text: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    let end = text.bytes().position(|b| {
        match (quote, b) {
            (None, b'"' | b'\'') => quote = Some(b),
            (None, b'>') => return true,
            (Some(q), b) if b == q => quote = None,
            _ => {}
        }
        false
    })?;
    let (inside, rest) = text.split_at_checked(end)?;
    Some((inside, rest.strip_prefix('>')?))
}

fn check_encoding(declaration: &str) -> Result<(), Malformed> {
    let Some((_, after)) = declaration.split_once("encoding") else { return Ok(()) };
    let after = after.trim_ascii_start().strip_prefix('=').ok_or(Malformed::Syntax)?.trim_ascii_start();
    let quote = after.chars().next().filter(|c| matches!(c, '"' | '\'')).ok_or(Malformed::Syntax)?;
    let name = after.split(quote).nth(1).ok_or(Malformed::Syntax)?;
    let known = ["utf-8", "utf8", "us-ascii"].iter().any(|k| name.eq_ignore_ascii_case(k));
    if known { Ok(()) } else { Err(Malformed::Encoding) }
}

fn entity(name: &str) -> Result<char, Malformed> {
    Ok(match name {
        "lt" => '<',
        "gt" => '>',
        "amp" => '&',
        "quot" => '"',
        "apos" => '\'',
        _ => {
            let number = name.strip_prefix('#').ok_or(Malformed::Entity)?;
            let (digits, radix) = match number.strip_prefix(['x', 'X']) {
                Some(hex) => (hex, 16),
                None => (number, 10),
            };
            if digits.starts_with('+') {
                return Err(Malformed::Entity);
            }
            let code = u32::from_str_radix(digits, radix).map_err(|_| Malformed::Entity)?;
            char::from_u32(code).filter(|c| *c != '\0').ok_or(Malformed::BadCharacter)?
        }
    })
}

fn integer(text: &str) -> Result<i128, Malformed> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, radix) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None => (digits, 10),
    };
    if digits.starts_with(['+', '-']) {
        return Err(Malformed::BadNumber);
    }
    let magnitude = i128::from(u64::from_str_radix(digits, radix).map_err(|_| Malformed::BadNumber)?);
    let value = if negative { -magnitude } else { magnitude };
    if value < i128::from(i64::MIN) { Err(Malformed::BadNumber) } else { Ok(value) }
}

/// `YYYY-MM-DDThh:mm:ssZ`, with or without a fraction of a second.
fn date(text: &str) -> Option<TimeMs> {
    let text = text.strip_suffix('Z')?;
    let (day, time) = text.split_once('T')?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let digits = |s: &str, width: usize| -> Option<i64> {
        let plain = s.len() == width && s.bytes().all(|b| b.is_ascii_digit());
        if plain { s.parse().ok() } else { None }
    };
    let mut parts = day.split('-');
    let (year, month, day) =
        (digits(parts.next()?, 4)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let mut clock = time.split(':');
    let (hour, minute, second) =
        (digits(clock.next()?, 2)?, digits(clock.next()?, 2)?, digits(clock.next()?, 2)?);
    if parts.next().is_some() || clock.next().is_some() {
        return None;
    }
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if !(1..=last).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    if fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let fraction_ms = digits(fraction, fraction.len())? * 1000 / 10i64.pow(fraction.len() as u32);
    // Days since 1970-01-01 in the proleptic Gregorian calendar, years beginning in March.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let era = y.div_euclid(400);
    let day_of_era =
        y.rem_euclid(400) * 365 + y.rem_euclid(400) / 4 - y.rem_euclid(400) / 100 + (153 * m + 2) / 5 + day
            - 1;
    let days = era * 146_097 + day_of_era - 719_468;
    let ms = ((days * 24 + hour) * 60 + minute) * 60_000 + second * 1000 + fraction_ms;
    Some(ms).filter(|ms| DATES_MS.contains(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_milliseconds_since_1970() {
        assert_eq!(date("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(date("2001-01-01T00:00:00Z"), Some(978_307_200_000));
        assert_eq!(date("2024-02-29T12:34:56Z"), Some(1_709_210_096_000));
        assert_eq!(date("2024-02-29T12:34:56.250Z"), Some(1_709_210_096_250));
        assert_eq!(date("0000-12-30T00:00:00Z"), Some(-62_135_769_600_000));
        for bad in [
            "2023-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01",
            "",
            "+024-01-01T00:00:00Z",
            "2024-01-01T00:00:00+01:00",
            "2024-01-01T00:00:00.Z",
        ] {
            assert_eq!(date(bad), None, "{bad}");
        }
    }

    #[test]
    fn integers_are_read_in_decimal_and_hexadecimal_within_64_bits() {
        assert_eq!(integer("-9223372036854775808"), Ok(i64::MIN.into()));
        assert_eq!(integer("18446744073709551615"), Ok(u64::MAX.into()));
        assert_eq!(integer("0x1F"), Ok(31));
        for bad in
            ["", "-", "--1", "0x", "1.0", "18446744073709551616", "-9223372036854775809", "0x-1", "+-1"]
        {
            assert_eq!(integer(bad), Err(Malformed::BadNumber), "{bad}");
        }
    }
}
