//! The phones as a table for a spreadsheet: masks, and what may stand in the clear. Nothing is opened for it.

use axum::Extension;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use tokio_stream::wrappers::ReceiverStream;

use super::phones::Filter;
use crate::api::{Api, Failure, path};
use crate::guard::Visitor;
use crate::layout::shown;
use crate::shapes::{Device, Page};

const HEAD: &[&str] = &[
    "enrolment",
    "group",
    "state",
    "model",
    "os_version",
    "supervised",
    "number_mask",
    "last_seen",
    "enrolled",
    "invited",
    "commands_waiting",
];

/// Every phone that the filter finds, page by page as the browser takes them.
pub(crate) async fn phones(
    State(api): State<Api>,
    Extension(v): Extension<Visitor>,
    Query(f): Query<Filter>,
) -> Result<Response, Failure> {
    let mut devices = page(&api, &v, &f, None).await?;
    let (tx, rx) = tokio::sync::mpsc::channel::<Result<Bytes, Failure>>(2);
    tokio::spawn(async move {
        let mut written = text(HEAD.iter().map(|h| (*h).to_owned()));
        loop {
            for d in &devices.items {
                written.extend(text(cells(d).into_iter()));
            }
            if tx.send(Ok(std::mem::take(&mut written).into())).await.is_err() {
                return;
            }
            let Some(cursor) = devices.next_cursor.take() else { return };
            devices = match page(&api, &v, &f, Some(cursor)).await {
                Ok(next) => next,
                // The download breaks off: a table that only looks whole is worse than none.
                Err(failure) => {
                    let _ = tx.send(Err(failure)).await;
                    return;
                }
            };
        }
    });
    let kind = [
        (CONTENT_TYPE, "text/csv; charset=utf-8"),
        (CONTENT_DISPOSITION, "attachment; filename=\"phones.csv\""),
    ];
    Ok((kind, Body::from_stream(ReceiverStream::new(rx))).into_response())
}

async fn page(api: &Api, v: &Visitor, f: &Filter, cursor: Option<String>) -> Result<Page<Device>, Failure> {
    let mut query = f.query(cursor, false);
    query.push(("limit", Some("200".into())));
    api.get(&path("/api/v1/devices", &query), &v.bearer).await
}

fn cells(d: &Device) -> Vec<String> {
    let clear = |name: &str| d.clear(name).unwrap_or_default();
    let time = |at: Option<i64>| at.map(words::time).unwrap_or_default();
    let number = d.masks.iter().find(|(name, _)| name.rsplit('.').next() == Some("PhoneNumber"));
    vec![
        d.enrolment.clone(),
        d.group.clone(),
        d.state.clone(),
        clear("ProductName"),
        clear("OSVersion"),
        d.supervised.map_or("", |s| if s { "yes" } else { "no" }).to_owned(),
        number.map(|(_, mask)| mask.clone()).unwrap_or_default(),
        time(d.last_seen_ms),
        time(d.enrolled_at_ms),
        words::time(d.invited_at_ms),
        d.pending_commands.to_string(),
    ]
}

/// A line of the table (RFC 4180).
fn text(cells: impl Iterator<Item = String>) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    // A vector takes every write.
    let _ = writer.write_record(cells.map(|c| inert(&c)));
    writer.into_inner().unwrap_or_default()
}

/// What a phone said is text in a spreadsheet too, never a formula.
fn inert(cell: &str) -> String {
    let begins = cell.trim_start().chars().next().or_else(|| cell.chars().next());
    let formula =
        cell.starts_with(['\t', '\r', '\n']) || begins.is_some_and(|c| "=+-@＝＋－＠|%".contains(c));
    let plain = shown(cell);
    if formula { format!("'{plain}") } else { plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_that_a_phone_filled_with_a_formula_is_text() {
        for evil in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "＝1"] {
            let cell = inert(evil);
            assert!(cell.starts_with('\''), "{evil:?}: {cell:?}");
            assert!(!cell.contains(['\t', '\r', '\n']), "{evil:?}: {cell:?}");
        }
        for mark in ["\u{202e}", "\u{200f}", "\u{61c}", "\u{2066}", "\u{feff}"] {
            let cell = inert(&format!("a{mark}b"));
            assert!(!cell.contains(mark), "{}", cell.escape_unicode());
            // One that hides the sign of a formula hides it from nobody who looks.
            let hidden = inert(&format!("{mark}=1+1"));
            assert!(!hidden.contains(mark) && !hidden.starts_with('='), "{}", hidden.escape_unicode());
        }
        for good in ["iPhone14,5", "17.5", "a-b", "", "•••• 12"] {
            assert_eq!(inert(good), good);
        }
    }

    #[test]
    fn a_line_is_quoted_where_it_has_to_be_and_ten_thousand_letters_are_cut() {
        let line = String::from_utf8(text(["a,b".to_owned(), "c\"d".into(), "x".repeat(10_000)].into_iter()))
            .unwrap();
        assert!(
            line.starts_with("\"a,b\",\"c\"\"d\",xxx") && line.ends_with("…\r\n") && line.len() < 400,
            "{line}"
        );
    }
}
