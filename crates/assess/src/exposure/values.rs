//! One cell to the thing it names, in one spelling, so that equal things count once.

/// An IMEI or MEID, or why a cell is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imei {
    /// 14 digits (an IMEI without its check digit) or 14 hexadecimal digits (a MEID).
    pub body: String,
    /// False when 15 digits were given and the last one is not their Luhn digit.
    pub check_digit_right: bool,
}

/// Why a cell holds no IMEI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoImei {
    /// Empty, or a placeholder.
    Empty,
    /// A spreadsheet turned it into `3.5E+14`: its last digits are gone.
    SpoiltBySpreadsheet,
    /// Something else.
    Other,
}

/// Reads an IMEI (14, 15 or 16 digits, with spaces or dashes) or a MEID (14 hexadecimal digits).
///
/// # Errors
/// [`NoImei`] says what the cell holds instead.
pub fn imei(cell: &str) -> Result<Imei, NoImei> {
    let cell = unquoted(cell);
    if is_placeholder(cell) {
        return Err(NoImei::Empty);
    }
    if cell.len() < 24
        && cell.contains(['E', 'e'])
        && cell.contains('+')
        && cell.starts_with(|c: char| c.is_ascii_digit())
    {
        return Err(NoImei::SpoiltBySpreadsheet);
    }
    let bare: String = cell.chars().filter(|c| !matches!(c, ' ' | '-' | '/' | '.')).collect();
    let head: String = bare.chars().take(14).collect();
    if bare.chars().all(|c| c.is_ascii_digit()) {
        return match bare.len() {
            14 | 16 => Ok(Imei { body: head, check_digit_right: true }),
            15 => Ok(Imei { check_digit_right: luhn(&bare), body: head }),
            _ => Err(NoImei::Other),
        };
    }
    let is_meid = bare.len() == 14 && bare.chars().all(|c| c.is_ascii_hexdigit());
    if is_meid {
        Ok(Imei { body: head.to_ascii_uppercase(), check_digit_right: true })
    } else {
        Err(NoImei::Other)
    }
}

fn luhn(digits: &str) -> bool {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(i, b)| {
            let d = u32::from(b - b'0');
            if i % 2 == 0 { d } else { d * 2 / 10 + d * 2 % 10 }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Reads a telephone number into `+` and its digits; `None` when the cell holds none.
///
/// A national number is taken as a British one: these exports come from British hospitals, and a
/// spreadsheet that drops the leading zero of `07700 900123` is the common accident.
pub fn phone(cell: &str) -> Option<String> {
    let cell = unquoted(cell);
    if cell.chars().any(|c| c.is_alphabetic()) {
        return None;
    }
    let cell = cell.replace("(0)", "");
    let plus = cell.trim_start().starts_with('+');
    let digits: String = cell.chars().filter(char::is_ascii_digit).collect();
    let international = match digits.strip_prefix("00") {
        Some(rest) if !plus => rest.to_owned(),
        _ if plus => digits,
        _ => match (digits.strip_prefix('0'), digits.len()) {
            (Some(rest), _) => format!("44{rest}"),
            (None, 10) if digits.starts_with('7') => format!("44{digits}"),
            (None, _) => digits,
        },
    };
    // E.164 allows fifteen digits; fewer than eight is an extension or a placeholder.
    ((8..=15).contains(&international.len()) && !all_same(&international))
        .then(|| format!("+{international}"))
}

/// Reads an e-mail address into lower case; `None` when the cell holds none.
pub fn email(cell: &str) -> Option<String> {
    let cell = unquoted(cell);
    let (local, domain) = cell.rsplit_once('@')?;
    let fits = !local.is_empty()
        && domain.contains('.')
        && !domain.starts_with('.')
        && !domain.ends_with('.')
        && cell.len() <= 254
        && !cell.chars().any(|c| c.is_whitespace() || c.is_control());
    fits.then(|| cell.to_lowercase())
}

/// Text in lower case with single spaces; `None` for an empty cell or a placeholder.
pub fn words(cell: &str) -> Option<String> {
    let cell = unquoted(cell);
    if is_placeholder(cell) {
        return None;
    }
    Some(cell.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase())
}

/// Whether a cell holds one coordinate that is not 0 (consoles write 0 for "not known").
pub fn coordinate(cell: &str) -> bool {
    unquoted(cell).parse::<f64>().is_ok_and(|v| v.is_finite() && v != 0.0 && v.abs() <= 180.0)
}

/// Consoles and spreadsheets guard long numbers as `'490…` or `="490…"`.
fn unquoted(cell: &str) -> &str {
    cell.trim().trim_start_matches('=').trim_matches(['"', '\'']).trim()
}

fn is_placeholder(cell: &str) -> bool {
    let lower = cell.to_ascii_lowercase();
    matches!(
        lower.as_str(),
        "" | "-"
            | "--"
            | "n/a"
            | "na"
            | "none"
            | "null"
            | "unknown"
            | "not available"
            | "pda"
            | "(null)"
            | "nil"
    )
}

fn all_same(digits: &str) -> bool {
    let mut bytes = digits.bytes();
    bytes.next().is_none_or(|first| bytes.all(|b| b == first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_number_in_many_spellings_counts_once() {
        for cell in [
            "07700 900123",
            "+44 7700 900123",
            "0044 7700 900123",
            "447700900123",
            "7700900123",
            "+44 (0)7700 900123",
            "'07700900123",
            "=\"07700900123\"",
        ] {
            assert_eq!(phone(cell).as_deref(), Some("+447700900123"), "{cell}");
        }
    }

    #[test]
    fn a_word_in_place_of_a_number_is_no_number() {
        for cell in ["PDA", "", "n/a", "1234", "000000000000", "ext 4412"] {
            assert_eq!(phone(cell), None, "{cell}");
        }
    }

    #[test]
    fn an_imei_counts_once_with_and_without_its_check_digit() {
        let with = imei("49-015420-323751-8").unwrap();
        assert!(with.check_digit_right);
        assert_eq!(imei("49015420323751").unwrap().body, with.body);
        assert_eq!(imei("4901542032375101").unwrap().body, with.body);
    }

    #[test]
    fn a_wrong_check_digit_is_noticed() {
        assert!(!imei("490154203237519").unwrap().check_digit_right);
    }

    #[test]
    fn a_number_that_a_spreadsheet_spoilt_is_told_apart() {
        assert_eq!(imei("4.90154E+14"), Err(NoImei::SpoiltBySpreadsheet));
        assert_eq!(imei("N/A"), Err(NoImei::Empty));
    }

    #[test]
    fn a_null_island_is_no_location() {
        assert!(!coordinate("0.0"));
        assert!(coordinate("-0.1357"));
        assert!(!coordinate("NaN"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn no_cell_makes_a_reader_panic(cell in any::<String>()) {
            let _ = (imei(&cell), phone(&cell), email(&cell), words(&cell), coordinate(&cell));
        }

        #[test]
        fn a_number_is_stable_once_read(cell in "[+0-9 ()-]{0,20}") {
            if let Some(read) = phone(&cell) {
                prop_assert_eq!(phone(&read), Some(read.clone()));
            }
        }
    }
}
