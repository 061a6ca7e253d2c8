//! How things are printed: tables, times, questions. Nothing from the server steers the terminal.

use std::io::{BufRead, IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};
use model::TimeMs;
use model::clock::{DAY_MS, HOUR_MS, MINUTE_MS};
use serde_json::Value;

use super::failure::{Result, failed, usage};

/// Writes to standard output. A reader that went away (`| head`) is no error.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(failed(e)),
        _ => Ok(()),
    }
}

pub(crate) fn print_json(value: &Value) -> Result<()> {
    print(&format!("{value:#}\n"))
}

/// Text without what would steer a terminal or turn the direction of writing.
pub(crate) fn plain(text: &str) -> String {
    let steers = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}

/// The same on one line.
pub(crate) fn line(text: &str) -> String {
    plain(text).replace('\n', " ")
}

/// A table: at the terminal's width, or plain columns when piped.
pub(crate) fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let width =
        if std::io::stdout().is_terminal() { terminal_size::terminal_size().map(|(w, _)| w.0) } else { None };
    match width {
        Some(w) => {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(w.max(40));
        }
        None => {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
    }
    table.set_header(head.to_vec());
    for row in rows {
        table.add_row(row.iter().map(|c| line(c)).collect::<Vec<_>>());
    }
    let mut out = String::new();
    for l in table.to_string().lines() {
        let l = l.strip_prefix(' ').unwrap_or(l);
        out.push_str(l.trim_end());
        out.push('\n');
    }
    out
}

/// `key  value` lines.
pub(crate) fn facts(pairs: &[(&str, String)]) -> String {
    let widest = pairs.iter().map(|(k, _)| k.chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for (key, value) in pairs {
        let pad = widest - key.chars().count() + 2;
        out.push_str(&format!("{key}{}{}\n", " ".repeat(pad), line(value)));
    }
    out
}

/// Local time to the minute.
pub(crate) fn time(at_ms: TimeMs) -> String {
    match jiff::Timestamp::from_millisecond(at_ms) {
        Ok(t) => t.to_zoned_datetime(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string(),
        Err(_) => "?".to_owned(),
    }
}

pub(crate) fn maybe_time(at_ms: Option<TimeMs>) -> String {
    at_ms.map_or_else(|| "-".to_owned(), time)
}

/// `3 days`, `1 hour`, …: the largest unit that fits.
pub(crate) fn span(ms: TimeMs) -> String {
    let (n, unit) = match ms {
        _ if ms >= 2 * DAY_MS || (ms >= DAY_MS && ms % DAY_MS == 0) => (ms / DAY_MS, "day"),
        _ if ms >= HOUR_MS => (ms / HOUR_MS, "hour"),
        _ if ms >= MINUTE_MS => (ms / MINUTE_MS, "minute"),
        _ => (ms.max(0) / 1000, "second"),
    };
    format!("{n} {unit}{}", if n == 1 { "" } else { "s" })
}

pub(crate) fn ago(at_ms: Option<TimeMs>, now_ms: TimeMs) -> String {
    at_ms.map_or_else(|| "never".to_owned(), |t| format!("{} ago", span(now_ms - t)))
}

/// `1 phone`, `3 phones`.
pub(crate) fn count(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Whether a person sits at the other end.
pub(crate) fn is_person() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks for a line; an empty one is refused.
pub(crate) fn ask(question: &str, flag: &str) -> Result<String> {
    if !is_person() {
        return Err(usage(format!("{flag} is missing")));
    }
    eprint!("{question} ");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(failed)?;
    let answer = answer.trim();
    if answer.is_empty() { Err(usage(format!("{flag} is missing"))) } else { Ok(answer.to_owned()) }
}

/// Asks before anything is sent. Without a person at the terminal only `--yes` says yes.
pub(crate) fn confirm(yes: bool, question: &str) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !is_person() {
        return Err(usage(
            "nothing was sent: nobody is at the terminal to say yes; look at the order, then give --yes",
        ));
    }
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(failed)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(failed("nothing was sent")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spans_are_told_in_their_largest_unit() {
        for (ms, text) in [
            (0, "0 seconds"),
            (1_000, "1 second"),
            (MINUTE_MS, "1 minute"),
            (HOUR_MS, "1 hour"),
            (DAY_MS, "1 day"),
            (DAY_MS + HOUR_MS, "25 hours"),
            (7 * DAY_MS, "7 days"),
        ] {
            assert_eq!(span(ms), text);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn no_text_steers_the_terminal(text in any::<String>()) {
            let shown = line(&text);
            prop_assert!(!shown.chars().any(|c| c.is_control() || c == '\u{202e}'), "it steers");
            let shown = table(&["A"], vec![vec![text]]);
            prop_assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "it steers");
        }
    }
}
