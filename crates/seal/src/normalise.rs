//! One form for each value that can be searched, so that `07700 900123` finds `+447700900123`.

use minicbor::{Decode, Encode};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// The most terms one value has; longer names keep their first.
pub const MAX_TERMS: usize = 16;
/// The longest term, in bytes; longer ones are cut.
const MAX_TERM_BYTES: usize = 64;
/// What of a value is looked at, in characters.
const MAX_VALUE_CHARS: usize = 1024;
/// The country that a number without one is read in.
const HOME_COUNTRY: &str = "44";

/// A kind of value that can be searched. Its name goes into the token and never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum SearchField {
    /// A phone number, exact after normalising.
    #[n(1)]
    Phone,
    /// An IMEI, exact.
    #[n(2)]
    Imei,
    /// A serial number, exact.
    #[n(3)]
    Serial,
    /// A UDID, exact.
    #[n(4)]
    Udid,
    /// A person's name, by word.
    #[n(5)]
    Name,
    /// An email address, exact.
    #[n(6)]
    Email,
    /// A device's name, by word.
    #[n(7)]
    DeviceName,
}

impl SearchField {
    /// Every kind.
    pub const ALL: [SearchField; 7] =
        [Self::Phone, Self::Imei, Self::Serial, Self::Udid, Self::Name, Self::Email, Self::DeviceName];

    /// The word used in tokens, routes and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Phone => "phone",
            Self::Imei => "imei",
            Self::Serial => "serial",
            Self::Udid => "udid",
            Self::Name => "name",
            Self::Email => "email",
            Self::DeviceName => "device_name",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|f| f.name() == name)
    }

    /// The kind of a row's field, if rows of that field are indexed. `Name` counts where it is a
    /// person's (`Name`, `Holder.Name`), not where it is an app's or a profile's.
    #[must_use]
    pub fn of(path: &str) -> Option<Self> {
        let mut parts = path.rsplit('.').filter(|s| s.is_empty() || !s.bytes().all(|b| b.is_ascii_digit()));
        let last = parts.next()?;
        Some(match last {
            "PhoneNumber" | "CurrentPhoneNumber" => Self::Phone,
            "IMEI" => Self::Imei,
            "SerialNumber" => Self::Serial,
            "UDID" => Self::Udid,
            "FullName" | "UserLongName" => Self::Name,
            "Name" => match parts.next() {
                None | Some("Holder") => Self::Name,
                Some(_) => return None,
            },
            "Email" | "EmailAddress" => Self::Email,
            "DeviceName" => Self::DeviceName,
            _ => return None,
        })
    }
}

/// The normalised terms of a value: one for a number or an address, one for each word of a name, none
/// for a value that is no such thing (it can then not be found, and no entry is made).
#[must_use]
pub fn terms(field: SearchField, value: &str) -> Vec<String> {
    match field {
        SearchField::Phone => phone(value).into_iter().collect(),
        SearchField::Imei => imei(value).into_iter().collect(),
        SearchField::Serial | SearchField::Udid => serial(value).into_iter().collect(),
        SearchField::Email => email(value).into_iter().collect(),
        SearchField::Name => words(value, false),
        SearchField::DeviceName => words(value, true),
    }
}

/// Whether this is an IMEI with a right check digit (3GPP TS 23.003, annex B: Luhn over 15 digits).
#[must_use]
pub fn imei_is_valid(value: &str) -> bool {
    let Some(digits) = imei(value) else { return false };
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, b)| {
            let digit = u32::from(b - b'0');
            if place % 2 == 1 { digit * 2 / 10 + digit * 2 % 10 } else { digit }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Characters of a value in compatibility form (full-width digits become plain), bounded.
fn plain(value: &str) -> impl Iterator<Item = char> {
    value.chars().take(MAX_VALUE_CHARS).nfkc()
}

/// `+` and digits (ITU-T E.164). A number without `+` or `00` is read at home; `(0)`, and a trunk zero
/// after the home country's code, are dropped.
fn phone(value: &str) -> Option<String> {
    let kept: String = plain(value).filter(|c| c.is_ascii_digit() || matches!(c, '+' | '(' | ')')).collect();
    let kept: String = kept.replace("(0)", "").chars().filter(|c| !matches!(c, '(' | ')')).collect();
    let plus = kept.starts_with('+');
    let digits: String = kept.chars().filter(char::is_ascii_digit).collect();
    let international = if plus {
        digits
    } else if let Some(rest) = digits.strip_prefix("00") {
        rest.to_owned()
    } else if let Some(rest) = digits.strip_prefix('0') {
        format!("{HOME_COUNTRY}{rest}")
    } else if digits.len() >= 11 {
        // Apple's phones report numbers with the country and without the plus.
        digits
    } else if digits.len() >= 9 {
        // `(0)7700 900123` and `7700 900123`: a national number whose zero is not there.
        format!("{HOME_COUNTRY}{digits}")
    } else {
        // A short code has no country.
        return (digits.len() >= 3).then_some(digits);
    };
    let number = match international.strip_prefix(HOME_COUNTRY).and_then(|n| n.strip_prefix('0')) {
        Some(rest) => format!("{HOME_COUNTRY}{rest}"),
        None => international,
    };
    // E.164 numbers have 15 digits at most.
    (3..=15).contains(&number.len()).then(|| format!("+{number}"))
}

/// The 15 digits, however they were grouped. 14 (without check digit) or 16 (IMEISV) are no IMEI.
fn imei(value: &str) -> Option<String> {
    let digits: String = plain(value).filter(|c| !is_separator(*c)).collect();
    (digits.len() == 15 && digits.bytes().all(|b| b.is_ascii_digit())).then_some(digits)
}

/// ASCII letters and digits in upper case, without the spaces and hyphens between them; a value with
/// anything else in it is no serial number and no UDID.
fn serial(value: &str) -> Option<String> {
    let text: String = plain(value).filter(|c| !is_separator(*c)).map(|c| c.to_ascii_uppercase()).collect();
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric())).then(|| cut(&text))
}

/// Lower case without spaces around. Gmail's dots and plus-parts are left: they name other mailboxes
/// elsewhere.
fn email(value: &str) -> Option<String> {
    let text: String = plain(value).flat_map(char::to_lowercase).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| cut_to(text, 254))
}

/// The words of a name: lower case, accents folded, hyphen and space part words, an apostrophe joins
/// them (`O'Brien` = `obrien`). With `possessive`, `Anna's iPhone` is found under `anna` too.
fn words(value: &str, possessive: bool) -> Vec<String> {
    let mut text = String::new();
    for c in value.chars().take(MAX_VALUE_CHARS).nfkd().filter(|c| !is_combining_mark(*c)) {
        match c {
            'ß' | 'ẞ' => text.push_str("ss"),
            'æ' | 'Æ' => text.push_str("ae"),
            'œ' | 'Œ' => text.push_str("oe"),
            'ø' | 'Ø' => text.push('o'),
            'đ' | 'Đ' | 'ð' | 'Ð' => text.push('d'),
            'ł' | 'Ł' => text.push('l'),
            'þ' | 'Þ' => text.push_str("th"),
            'ı' => text.push('i'),
            '\'' | '\u{2018}' | '\u{2019}' | '\u{2bc}' | '`' | '\u{b4}' => text.push('\''),
            // A final sigma and an inner one are one letter.
            'ς' => text.push('σ'),
            c if c.is_alphanumeric() => {
                // Lower case can come apart again (`İ` is `i` and a dot).
                text.extend(c.to_lowercase().nfkd().filter(|c| !is_combining_mark(*c)));
            }
            _ => text.push(' '),
        }
    }
    let mut out: Vec<String> = Vec::new();
    for word in text.split(' ') {
        let stem = word.strip_suffix("'s").filter(|_| possessive);
        for form in [Some(word), stem].into_iter().flatten() {
            let form = cut(&form.replace('\'', ""));
            if !form.is_empty() && !out.contains(&form) && out.len() < MAX_TERMS {
                out.push(form);
            }
        }
    }
    out
}

fn is_separator(c: char) -> bool {
    c.is_whitespace() || matches!(c, '-' | '\u{2010}' | '\u{2011}' | '\u{2013}' | '/' | '.')
}

fn cut(text: &str) -> String {
    cut_to(text, MAX_TERM_BYTES)
}

fn cut_to(text: &str, max_bytes: usize) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if out.len() + c.len_utf8() > max_bytes {
            break;
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(field: SearchField, value: &str) -> String {
        let terms = terms(field, value);
        assert_eq!(terms.len(), 1, "{terms:?}");
        terms[0].clone()
    }

    #[test]
    fn every_way_to_write_a_number_is_one_number() {
        for written in [
            "07700 900123",
            "+447700900123",
            "0044 7700 900123",
            "+44 (0)7700 900123",
            "+44 0 7700 900123",
            "447700900123",
            "(07700) 900-123",
            "07700.900.123",
            "(0)7700 900123",
            "+44\u{a0}7700\u{2011}900123",
            "０７７００ ９００１２３",
        ] {
            assert_eq!(one(SearchField::Phone, written), "+447700900123", "{written}");
        }
        assert_ne!(one(SearchField::Phone, "07700 900124"), "+447700900123");
        assert_eq!(one(SearchField::Phone, "+353 20 910 0000"), "+353209100000");
        assert_eq!(one(SearchField::Phone, "1234"), "1234");
    }

    #[test]
    fn what_is_no_number_has_no_terms() {
        for bad in ["", "none", "12", "+", "()", &"9".repeat(40)] {
            assert!(terms(SearchField::Phone, bad).is_empty(), "{bad}");
        }
        for bad in ["", "49015420323751", "4901542032375180", "49015420323751x"] {
            assert!(terms(SearchField::Imei, bad).is_empty(), "{bad}");
        }
    }

    #[test]
    fn an_imei_is_its_15_digits_and_its_check_digit_can_be_told() {
        assert_eq!(one(SearchField::Imei, "49 015420 323751 8"), "490154203237518");
        assert_eq!(one(SearchField::Imei, "49-015420-323751-8"), "490154203237518");
        assert!(imei_is_valid("49 015420 323751 8"));
        for wrong in ["490154203237517", "490154203237581", "", "49015420323751"] {
            assert!(!imei_is_valid(wrong), "{wrong}");
        }
    }

    #[test]
    fn serials_and_addresses_have_one_case() {
        assert_eq!(one(SearchField::Serial, " f2l madeup 01 "), "F2LMADEUP01");
        assert_eq!(one(SearchField::Email, " A.Nurse@Example.ORG "), "a.nurse@example.org");
        assert_eq!(one(SearchField::Udid, "00008030-001c"), one(SearchField::Udid, "00008030001C"));
    }

    #[test]
    fn a_name_is_its_words_without_accents() {
        assert_eq!(terms(SearchField::Name, "Zoë Müller-Łukasz"), ["zoe", "muller", "lukasz"]);
        assert_eq!(terms(SearchField::Name, "Siobhán O\u{2019}Brien"), ["siobhan", "obrien"]);
        assert_eq!(terms(SearchField::Name, "O'BRIEN, siobhan"), ["obrien", "siobhan"]);
        assert_eq!(terms(SearchField::Name, "Zoe\u{308}"), terms(SearchField::Name, "Zo\u{eb}"));
        assert_eq!(terms(SearchField::Name, "Straße  Straße"), ["strasse"]);
        assert_eq!(terms(SearchField::Name, "İsmail Işık"), ["ismail", "isik"]);
        assert!(terms(SearchField::Name, " - ' ").is_empty());
    }

    #[test]
    fn a_device_is_found_by_its_owner() {
        assert_eq!(terms(SearchField::DeviceName, "Anna\u{2019}s iPhone"), ["annas", "anna", "iphone"]);
    }

    #[test]
    fn only_the_fields_one_searches_by_are_indexed() {
        assert_eq!(SearchField::of("ServiceSubscriptions.0.PhoneNumber"), Some(SearchField::Phone));
        assert_eq!(SearchField::of("IMEI"), Some(SearchField::Imei));
        assert_eq!(SearchField::of("Name"), Some(SearchField::Name));
        assert_eq!(SearchField::of("Holder.Name"), Some(SearchField::Name));
        for other in ["InstalledApplicationList.3.Name", "Token", "ICCID", "Latitude", "", "0.1"] {
            assert_eq!(SearchField::of(other), None, "{other}");
        }
        for field in SearchField::ALL {
            assert_eq!(SearchField::from_name(field.name()), Some(field));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn normalising_ends_bounded_and_is_its_own_fixed_point(value in "\\PC{0,80}") {
            for field in SearchField::ALL {
                let found = terms(field, &value);
                prop_assert!(found.len() <= MAX_TERMS);
                for term in found {
                    prop_assert!(!term.is_empty() && term.len() <= 254);
                    if field != SearchField::Email {
                        prop_assert_eq!(terms(field, &term), vec![term.clone()]);
                    }
                }
            }
        }
    }
}
