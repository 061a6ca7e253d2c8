//! Making text from outside harmless before a person sees it.
//!
//! A log line is written by whoever sent the request. It may hold terminal escape codes, markup,
//! characters that turn the writing direction round, or a spreadsheet formula. Nothing of that is
//! removed (it is evidence): it is made visible instead, as `\x1b` or `\u{202e}`.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Makes every character visible that could steer a terminal or mislead a reader.
///
/// Control characters (C0, DEL, C1), line and paragraph separators, bidirectional controls,
/// zero-width and tag characters become `\xHH` or `\u{H}`. All else stays as it is.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_steering(c) {
            push_escaped(&mut out, c);
        } else {
            out.push(c);
        }
    }
    out
}

/// [`visible`], shortened to `columns` terminal columns with an ellipsis at its end.
pub fn visible_within(text: &str, columns: usize) -> String {
    let text = visible(text);
    if text.width() <= columns {
        return text;
    }
    let room = columns.saturating_sub(1);
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let w = c.width().unwrap_or(0);
        if used + w > room {
            break;
        }
        used += w;
        out.push(c);
    }
    out.push('…');
    out
}

/// [`visible`], shortened to `columns` at its *front*: of a path, the end says more.
pub fn visible_end(text: &str, columns: usize) -> String {
    let text = visible(text);
    if text.width() <= columns {
        return text;
    }
    let room = columns.saturating_sub(1);
    let mut used = 0;
    let mut from = text.len();
    for (at, c) in text.char_indices().rev() {
        used += c.width().unwrap_or(0);
        if used > room {
            break;
        }
        from = at;
    }
    format!("…{}", text.get(from..).unwrap_or_default())
}

/// A CSV cell that a spreadsheet shows and does not compute: [`visible`], and an apostrophe before
/// a leading `= + - @`.
pub fn cell(text: &str) -> String {
    let text = visible(text);
    if text.starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { text }
}

fn push_escaped(out: &mut String, c: char) {
    use std::fmt::Write as _;
    let n = c as u32;
    // Writing to a String can't fail.
    let _ = if n <= 0xff { write!(out, "\\x{n:02x}") } else { write!(out, "\\u{{{n:x}}}") };
}

pub(crate) fn is_steering(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// Breaks text into lines of at most `columns` terminal columns, at spaces where it can.
///
/// A word longer than a line is cut. There is always at least one line.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(8);
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for word in text.split_whitespace() {
        let mut rest = word;
        loop {
            let w = rest.width();
            let gap = usize::from(used > 0);
            if used + gap + w <= columns {
                if gap == 1 {
                    line.push(' ');
                }
                line.push_str(rest);
                used += gap + w;
                break;
            }
            if used > 0 {
                lines.push(std::mem::take(&mut line));
                used = 0;
                continue;
            }
            let (head, tail) = cut_at(rest, columns);
            lines.push(head.to_owned());
            rest = tail;
        }
    }
    if used > 0 || lines.is_empty() {
        lines.push(line);
    }
    lines
}

/// Splits where `columns` columns are full; the head is never empty.
fn cut_at(text: &str, columns: usize) -> (&str, &str) {
    let mut used = 0;
    for (at, c) in text.char_indices() {
        let w = c.width().unwrap_or(0);
        if used + w > columns && at > 0 {
            return text.split_at(at);
        }
        used += w;
    }
    (text, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_escape_code_becomes_letters() {
        assert_eq!(visible("\x1b[2Jx\u{9b}31m"), "\\x1b[2Jx\\x9b31m");
    }

    #[test]
    fn a_direction_override_becomes_letters() {
        assert_eq!(visible("a\u{202e}b"), "a\\u{202e}b");
    }

    #[test]
    fn ordinary_text_in_any_script_is_left_alone() {
        assert_eq!(visible("café Ωμέγα 北京"), "café Ωμέγα 北京");
    }

    #[test]
    fn a_formula_is_shown_and_not_computed() {
        assert_eq!(cell("=HYPERLINK(1)"), "'=HYPERLINK(1)");
        assert_eq!(cell("GET /"), "GET /");
    }

    #[test]
    fn a_long_word_is_cut_and_nothing_is_lost() {
        let word = "x".repeat(25);
        let lines = wrap(&word, 10);
        assert_eq!(lines.concat(), word);
        assert!(lines.iter().all(|l| l.width() <= 10));
    }

    #[test]
    fn of_a_long_path_the_end_is_kept() {
        assert_eq!(visible_end("bundle.tar!/var/log/access_log", 11), "…access_log");
        assert_eq!(visible_end("access_log", 11), "access_log");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_control_character_survives(text in any::<String>()) {
            prop_assert!(!visible(&text).chars().any(is_steering));
            prop_assert!(!cell(&text).chars().any(is_steering));
        }

        #[test]
        fn wrapped_lines_fit_and_keep_every_word(text in "[a-zA-Zé北 ]{0,200}", columns in 8usize..40) {
            let lines = wrap(&text, columns);
            prop_assert!(lines.iter().all(|l| l.width() <= columns));
            let kept: String = lines.concat().split_whitespace().collect();
            let sent: String = text.split_whitespace().collect();
            prop_assert_eq!(kept, sent);
        }

        #[test]
        fn a_shortened_text_fits(text in any::<String>(), columns in 1usize..60) {
            prop_assert!(visible_within(&text, columns).width() <= columns.max(1));
            prop_assert!(visible_end(&text, columns).width() <= columns.max(1));
        }
    }
}
