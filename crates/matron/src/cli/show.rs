//! How things are printed: tables, times, questions. Nothing from the server steers the terminal.

use std::io::{BufRead, IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;
pub(crate) use words::{ago, count, line, maybe_time, plain, span, time};

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
