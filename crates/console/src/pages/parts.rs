//! Pieces of markup that several pages have.

use maud::{Markup, Render, html};
use serde_json::Value;

/// The heading row of a table that becomes a list at a phone's width.
pub(super) fn heads(names: &[&str]) -> Markup {
    html! {
        thead.nhsuk-table__head role="rowgroup" {
            tr role="row" { @for name in names { th role="columnheader" scope="col" { (name) } } }
        }
    }
}

/// A cell of such a table, with its column's name for the phone's width.
pub(super) fn cell(label: &str, value: impl Render) -> Markup {
    html! {
        td.nhsuk-table__cell role="cell" {
            span.nhsuk-table-responsive__heading aria-hidden="true" { (label) " " }
            (value)
        }
    }
}

/// A row of a summary list.
pub(super) fn line(key: &str, value: impl Render) -> Markup {
    html! {
        .nhsuk-summary-list__row.nhsuk-summary-list__row--no-actions {
            dt.nhsuk-summary-list__key { (key) }
            dd.nhsuk-summary-list__value { (value) }
        }
    }
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Good,
    Look,
    Bad,
    Unknown,
}

/// A word in its colour; the word alone says it too.
pub(super) fn tag(mood: Mood, text: &str) -> Markup {
    let colour = match mood {
        Mood::Good => "nhsuk-tag--green",
        Mood::Look => "nhsuk-tag--yellow",
        Mood::Bad => "nhsuk-tag--red",
        Mood::Unknown => "nhsuk-tag--grey",
    };
    html! { strong class={ "nhsuk-tag " (colour) } { (text) } }
}

/// The page's title, and whether what is seen may be old.
pub(super) fn title_row(title: impl Render) -> Markup {
    html! {
        .app-title-row {
            h1.nhsuk-heading-l { (title) }
            p.app-connection role="status" data-connection="" hidden { "Not connected: what you see may be old." }
        }
    }
}

/// Why an order is given; `id` is the input's.
pub(super) fn why(id: &str) -> Markup {
    html! {
        .nhsuk-form-group {
            label.nhsuk-label for=(id) { "Why?" }
            .nhsuk-hint id={ (id) "-hint" } { "Auditors read it. No names or numbers." }
            input.nhsuk-input id=(id) name="reason" required maxlength="400" autocomplete="off" aria-describedby={ (id) "-hint" };
        }
    }
}

/// The way back to a list.
pub(super) fn breadcrumb(href: &str, list: &str) -> Markup {
    html! {
        nav.nhsuk-breadcrumb aria-label="Breadcrumb" {
            ol.nhsuk-breadcrumb__list { li.nhsuk-breadcrumb__list-item { a.nhsuk-breadcrumb__link href=(href) { (list) } } }
        }
    }
}

/// JSON in which nothing turns the direction of writing, wherever it is read.
pub(super) fn in_ascii(value: &Value) -> String {
    let mut out = String::new();
    for c in value.to_string().chars() {
        if c.is_ascii() && !c.is_ascii_control() {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
}

/// A number with its thousands apart.
pub(super) fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A time that is to come: when, and how long until then.
pub(super) fn until(at_ms: i64, now_ms: i64) -> String {
    let left_ms = at_ms - now_ms;
    if left_ms > 0 {
        format!("{}, in {}", words::time(at_ms), words::span(left_ms))
    } else {
        format!("{}, {} ago", words::time(at_ms), words::span(-left_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        for (n, text) in
            [(0, "0"), (999, "999"), (1_000, "1,000"), (100_000, "100,000"), (1_234_567, "1,234,567")]
        {
            assert_eq!(number(n), text);
        }
    }
}
