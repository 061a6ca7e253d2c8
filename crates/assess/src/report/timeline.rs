//! The timeline as CSV: every step, indicator and finding about the logs, in order of time.

use crate::finding::{Assessment, Cite, Step, UnixMs};
use crate::report::figures::Times;
use crate::report::plain::cell;
use crate::report::words;

/// The headings.
const HEADINGS: [&str; 22] = [
    "time_utc",
    "time_local",
    "kind",
    "chain",
    "step",
    "stage",
    "grade",
    "client",
    "via",
    "method",
    "path",
    "status",
    "bytes_out",
    "repeats",
    "rule",
    "confidence",
    "cves",
    "techniques",
    "file",
    "line",
    "byte_offset",
    "text",
];

#[derive(Default)]
struct Row {
    at: Option<UnixMs>,
    /// Everything after the two times, by heading.
    cells: Vec<(&'static str, String)>,
}

/// Writes the timeline: UTF-8, comma, a heading row, line feeds. Rows without a time come last.
///
/// A cell that a spreadsheet would compute begins with an apostrophe.
pub fn render(a: &Assessment) -> String {
    let times = Times::of(&a.timezone);
    let mut rows = rows(a);
    rows.sort_by_key(|r| (r.at.is_none(), r.at));
    let mut csv = csv::Writer::from_writer(Vec::new());
    let mut whole = csv.write_record(HEADINGS).is_ok();
    for row in &rows {
        let record = HEADINGS.map(|heading| match heading {
            "time_utc" => row.at.map(crate::moment::utc_text).unwrap_or_default(),
            "time_local" => row.at.map(|ms| times.sortable(ms)).unwrap_or_default(),
            _ => row.cells.iter().find(|(h, _)| *h == heading).map(|(_, v)| cell(v)).unwrap_or_default(),
        });
        whole &= csv.write_record(record).is_ok();
    }
    let bytes = csv.into_inner().unwrap_or_default();
    debug_assert!(whole, "writing to memory can't fail");
    String::from_utf8(bytes).unwrap_or_default()
}

fn rows(a: &Assessment) -> Vec<Row> {
    let mut rows = Vec::new();
    for chain in &a.chains {
        for (n, step) in chain.steps.iter().enumerate() {
            let mut row = of_step(step);
            row.cells.push(("chain", chain.number.to_string()));
            row.cells.push(("step", (n + 1).to_string()));
            rows.push(row);
        }
    }
    for hit in &a.indicator_hits {
        let mut row = Row { at: hit.first_ms, cells: cited(&hit.first) };
        row.cells.push(("kind", "indicator".to_owned()));
        row.cells.push(("stage", words::indicator(hit.kind).to_owned()));
        row.cells.push(("grade", words::grade(hit.grade).to_owned()));
        row.cells.push(("rule", format!("{} ({})", hit.value, hit.source)));
        row.cells.push(("repeats", hit.hits.saturating_sub(1).to_string()));
        rows.push(row);
    }
    for finding in &a.integrity {
        let mut row = Row { at: finding.from_ms.or(finding.to_ms), cells: Vec::new() };
        row.cells.push(("kind", "log".to_owned()));
        row.cells.push(("stage", words::integrity(finding.kind).to_owned()));
        row.cells.push(("file", finding.file.clone()));
        if let Some(cite) = &finding.cite {
            row.cells.push(("line", cite.line.to_string()));
            row.cells.push(("byte_offset", cite.byte_offset.to_string()));
        }
        row.cells.push(("text", finding.text.clone()));
        rows.push(row);
    }
    for hole in &a.coverage.holes {
        let cells = vec![
            ("kind", "hole".to_owned()),
            ("text", format!("no lines until {}: {}", crate::moment::utc_text(hole.to_ms), hole.why)),
        ];
        rows.push(Row { at: Some(hole.from_ms), cells });
    }
    rows
}

fn of_step(s: &Step) -> Row {
    let mut cells = cited(&s.cite);
    let raw = |r: &Option<crate::finding::Raw>| r.as_ref().map(|r| r.0.clone()).unwrap_or_default();
    cells.extend([
        ("kind", "step".to_owned()),
        ("stage", words::stage(s.stage).to_owned()),
        ("grade", words::grade(s.grade).to_owned()),
        ("client", s.client.clone().unwrap_or_default()),
        ("via", s.via.clone().unwrap_or_default()),
        ("method", raw(&s.method)),
        ("path", raw(&s.path)),
        ("status", s.status.map(|n| n.to_string()).unwrap_or_default()),
        ("bytes_out", s.bytes_out.map(|n| n.to_string()).unwrap_or_default()),
        ("repeats", s.repeats.to_string()),
        ("rule", s.rule_name.clone()),
        ("confidence", words::confidence(s.confidence).to_owned()),
        ("cves", s.cves.join(" ")),
        ("techniques", s.techniques.join(" ")),
    ]);
    Row { at: s.at_ms, cells }
}

fn cited(c: &Cite) -> Vec<(&'static str, String)> {
    vec![
        ("file", c.file.clone()),
        ("line", c.line.to_string()),
        ("byte_offset", c.byte_offset.to_string()),
        ("text", c.raw.0.clone()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn the_timeline_of_stolen_data_is_as_before() {
        insta::assert_snapshot!(render(&sample::data_left()));
    }

    #[test]
    fn the_rows_stand_in_order_of_time() {
        let text = render(&sample::data_left());
        let times: Vec<&str> = text.lines().skip(1).map(|l| l.split(',').next().unwrap()).collect();
        assert!(times.is_sorted() && times.len() >= 7, "{times:?}");
    }

    #[test]
    fn every_row_has_every_column_even_when_a_line_is_hostile() {
        let text = render(&sample::hostile());
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let rows: Vec<_> = reader.records().collect::<Result<_, _>>().unwrap();
        assert!(rows.iter().all(|r| r.len() == HEADINGS.len()));
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'));
    }
}
