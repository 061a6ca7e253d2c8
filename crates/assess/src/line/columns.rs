//! Logs whose header names their columns: W3C extended (IIS and what writes like it), CloudFront,
//! Zeek's `http.log`.
//!
//! W3C's draft (`WD-logfile-960323`) has times in GMT, and IIS and CloudFront keep to that. A header
//! may come again in the middle of a file, with other columns.

use std::borrow::Cow;
use std::sync::LazyLock;

use super::text::{is_address, number};
use super::{Line, without_port};
use crate::finding::Layout;
use crate::moment::{self, Stamp};

/// Most columns of a header that are looked at.
const MAX_COLUMNS: usize = 256;
/// Most lines of directives (`#…`) around a header that are looked at for its date.
const MAX_DIRECTIVES: usize = 8;
/// Where a header begins, in lower case: W3C's, and Zeek's.
const HEADERS: [&[u8]; 2] = [b"#fields:", b"#fields\t"];
/// What the first stage searches for to find headers.
pub const HEADER_LITERAL: &str = "#fields";

/// The columns that IIS writes unless told otherwise.
const IIS: &[u8] = b"#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) cs(Referer) sc-status sc-substatus sc-win32-status time-taken";
/// The first columns of a CloudFront standard log.
const CLOUDFRONT: &[u8] = b"#Fields: date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) cs(User-Agent) cs-uri-query cs(Cookie) x-edge-result-type x-edge-request-id x-host-header cs-protocol cs-bytes time-taken x-forwarded-for";

/// Columns in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    what: Vec<What>,
    /// `#Date:`, for rows that have only a time.
    date: Option<[u8; 10]>,
    layout: Layout,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Date,
    Time,
    Moment,
    Peer,
    Forwarded,
    Method,
    Path,
    Query,
    Uri,
    Status,
    Bytes,
    Agent,
    Referer,
    User,
    Skip,
}

/// Does a header begin here?
pub fn is_header(line: &[u8]) -> bool {
    HEADERS.iter().any(|h| line.get(..h.len()).is_some_and(|b| b.eq_ignore_ascii_case(h)))
}

impl Columns {
    /// Reads a header line; `None` if it names no address that was asked for (a firewall's log).
    pub fn read(line: &[u8]) -> Option<Self> {
        if !is_header(line) {
            return None;
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let names = line.get(HEADERS[0].len()..)?.split(u8::is_ascii_whitespace).filter(|n| !n.is_empty());
        let mut layout = Layout::W3c;
        let what: Vec<What> = names
            .take(MAX_COLUMNS)
            .map(|n| {
                let name = n.to_ascii_lowercase();
                if name == b"x-edge-location" {
                    layout = Layout::CloudFront;
                }
                column(&name)
            })
            .collect();
        let asks = what.iter().any(|w| matches!(w, What::Path | What::Uri));
        asks.then_some(Self { what, date: None, layout })
    }

    /// Reads the header that begins at `at` of a block, and the date from the directives around it.
    pub fn read_at(block: &[u8], at: usize) -> Option<Self> {
        let rest = block.get(at..)?;
        let header = rest.split(|b| *b == b'\n').next()?;
        let mut columns = Self::read(header)?;
        let directive = |l: &&[u8]| l.starts_with(b"#");
        let before = block.get(..at.saturating_sub(1)).unwrap_or_default();
        let above = before.rsplit(|b| *b == b'\n').take_while(directive).take(MAX_DIRECTIVES);
        let below = rest.split(|b| *b == b'\n').skip(1).take_while(directive).take(MAX_DIRECTIVES);
        columns.date = above.chain(below).find_map(|l| {
            let date = l.strip_prefix(b"#Date:").or_else(|| l.strip_prefix(b"#date:"))?.trim_ascii_start();
            date.first_chunk::<10>().copied()
        });
        Some(columns)
    }

    /// Reads a row; `None` if its time is none, so that it is a line of something else.
    pub fn parse<'a>(&self, bytes: &'a [u8]) -> Option<Line<'a>> {
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        if bytes.first().is_none_or(|b| *b == b'#') {
            return None;
        }
        let mut row = Row { columns: self, line: Line::empty(self.layout), path: None, query: None };
        let (mut date, mut time) = (self.date.as_ref().map(<[u8; 10]>::as_slice), None);
        let cells = |cell: &'a [u8], what: What, row: &mut Row<'a, '_>| match what {
            What::Date => date = Some(cell),
            What::Time => time = Some(cell),
            _ => row.set(what, cell),
        };
        self.cells(bytes, &mut row, cells);
        if row.line.stamp.is_none() {
            row.line.stamp = date.zip(time).and_then(|(d, t)| stamp(d, t));
        }
        row.line.stamp?;
        Some(row.finish())
    }

    /// Only the time of a row.
    pub fn stamp_of(&self, bytes: &[u8]) -> Option<Stamp> {
        // Date and time stand first nearly everywhere; else the row is read.
        if let ([What::Date, What::Time, ..], Some(head)) = (self.what.as_slice(), bytes.get(..19)) {
            return stamp(head.get(..10)?, head.get(11..)?);
        }
        self.parse(bytes).and_then(|l| l.stamp)
    }

    fn cells<'a, 'c>(
        &'c self,
        bytes: &'a [u8],
        row: &mut Row<'a, 'c>,
        mut each: impl FnMut(&'a [u8], What, &mut Row<'a, 'c>),
    ) {
        // The first separator tells: what a client sent stands further behind.
        let tabs = bytes.iter().find(|b| b.is_ascii_whitespace()) == Some(&b'\t');
        let is_separator = move |b: &u8| if tabs { *b == b'\t' } else { *b == b' ' };
        let spaces = bytes.iter().filter(|b| is_separator(b)).count();
        // Quoted text may hold separators. IIS quotes nothing, so that a quote sent by a client joins no columns.
        let quoted = spaces + 1 > self.what.len();
        let mut rest = bytes;
        for what in &self.what {
            let (cell, after) = next_cell(rest, is_separator, quoted);
            if cell != b"-" && !cell.is_empty() {
                each(cell, *what, row);
            }
            match after {
                Some(a) => rest = a,
                None => return,
            }
        }
    }
}

/// A cell, and what stands behind its separator.
fn next_cell(rest: &[u8], is_separator: impl Fn(&u8) -> bool, quoted: bool) -> (&[u8], Option<&[u8]>) {
    if quoted && let Some(inner) = rest.strip_prefix(b"\"") {
        let mut from = 0;
        while let Some(i) = inner.get(from..).and_then(|b| memchr::memchr(b'"', b)) {
            let end = from + i;
            match inner.get(end + 1) {
                // A quote inside is doubled.
                Some(b'"') => from = end + 2,
                Some(b) if !is_separator(b) => from = end + 1,
                after => {
                    let behind = after.and(inner.get(end + 2..));
                    return (inner.get(..end).unwrap_or_default(), behind);
                }
            }
        }
    }
    match rest.iter().position(is_separator) {
        Some(i) => (rest.get(..i).unwrap_or_default(), rest.get(i + 1..)),
        None => (rest, None),
    }
}

struct Row<'a, 'c> {
    columns: &'c Columns,
    line: Line<'a>,
    path: Option<&'a [u8]>,
    query: Option<&'a [u8]>,
}

impl<'a> Row<'a, '_> {
    fn set(&mut self, what: What, v: &'a [u8]) {
        let line = &mut self.line;
        match what {
            What::Moment => {
                line.stamp = moment::iso(v).or_else(|| {
                    number(v.split(|b| *b == b'.').next()?).and_then(|n| moment::unix(i64::try_from(n).ok()?))
                });
            }
            What::Peer => line.peer = Some(Cow::Borrowed(without_port(v))),
            What::Forwarded => line.forwarded = line.forwarded.take().or_else(|| forwarded(v)),
            What::Method => line.method = Some(Cow::Borrowed(v)),
            What::Path => self.path = Some(v),
            What::Query => self.query = Some(v),
            What::Uri => line.target = Some(Cow::Borrowed(v)),
            What::Status => {
                line.status =
                    number(v).and_then(|n| u16::try_from(n).ok()).filter(|n| (100..=999).contains(n));
            }
            What::Bytes => line.bytes = number(v),
            What::Agent => line.agent = Some(Cow::Borrowed(v)),
            What::Referer => line.referer = Some(Cow::Borrowed(v)),
            What::User => line.user = Some(Cow::Borrowed(v)),
            What::Date | What::Time | What::Skip => {}
        }
    }

    fn finish(mut self) -> Line<'a> {
        if let Some(path) = self.path {
            self.line.target = Some(match self.query {
                None => Cow::Borrowed(path),
                Some(q) => {
                    let mut t = path.to_vec();
                    t.push(b'?');
                    t.extend_from_slice(q.strip_prefix(b"?").unwrap_or(q));
                    Cow::Owned(t)
                }
            });
        }
        self.line.layout = self.columns.layout;
        self.line
    }
}

/// IIS writes `+` for a space: `203.0.113.9,+10.0.0.1`.
fn forwarded(v: &[u8]) -> Option<Cow<'_, [u8]>> {
    let first = v.split(|b| *b == b',').next()?.trim_ascii();
    if !is_address(without_port(first)) {
        return None;
    }
    if !v.contains(&b'+') {
        return Some(Cow::Borrowed(v));
    }
    Some(Cow::Owned(v.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect()))
}

/// `2025-05-16` and `03:01:36[.5]`, in UTC.
fn stamp(date: &[u8], time: &[u8]) -> Option<Stamp> {
    let mut both = [b' '; 19];
    both.get_mut(..10)?.copy_from_slice(date.get(..10)?);
    both.get_mut(11..)?.copy_from_slice(time.get(..8)?);
    moment::iso(&both).map(|s| Stamp { offset_s: Some(0), ..s })
}

/// What a column holds, by its name in lower case.
fn column(name: &[u8]) -> What {
    // `cs(User-Agent)` is a header of the request.
    let inner = name.strip_prefix(b"cs(").and_then(|n| n.strip_suffix(b")"));
    match inner.unwrap_or(name) {
        b"date" => What::Date,
        b"time" => What::Time,
        b"ts" | b"timestamp" | b"timestamp(ms)" | b"date-time" | b"x-timestamp" => What::Moment,
        b"c-ip" | b"id.orig_h" => What::Peer,
        b"x-forwarded-for" | b"x-real-ip" | b"true-client-ip" | b"cf-connecting-ip" | b"x-client-ip"
        | b"x-original-for" => What::Forwarded,
        b"cs-method" | b"method" => What::Method,
        b"cs-uri-stem" => What::Path,
        b"cs-uri-query" => What::Query,
        b"cs-uri" | b"uri" => What::Uri,
        b"sc-status" | b"status_code" => What::Status,
        b"sc-bytes" | b"bytes" | b"response_body_len" => What::Bytes,
        b"user-agent" | b"cs-user-agent" | b"user_agent" => What::Agent,
        b"referer" | b"cs-referer" | b"referrer" => What::Referer,
        b"cs-username" | b"username" => What::User,
        _ => What::Skip,
    }
}

/// A row of IIS or CloudFront that was cut out of its file, without the header: told by its form.
pub fn guess(bytes: &[u8]) -> Option<Line<'_>> {
    static DEFAULTS: LazyLock<Option<(Columns, Columns)>> =
        LazyLock::new(|| Columns::read(IIS).zip(Columns::read(CLOUDFRONT)));
    guessed(bytes, DEFAULTS.as_ref()?)?.parse(bytes)
}

fn guessed<'c>(bytes: &[u8], (iis, cloudfront): &'c (Columns, Columns)) -> Option<&'c Columns> {
    let head = bytes.get(..20)?;
    let (day, clock) = (head.get(4)?, head.get(13)?);
    if !(head.first()?.is_ascii_digit() && *day == b'-' && *clock == b':' && head.get(16) == Some(&b':')) {
        return None;
    }
    let separator = *head.get(10)?;
    if head.get(19) != Some(&separator) {
        return None;
    }
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    let cells: Vec<&[u8]> = bytes.split(|b| *b == separator).take(16).collect();
    let method = |m: &[u8]| !m.is_empty() && m.iter().all(u8::is_ascii_uppercase);
    match (separator, cells.as_slice()) {
        (b' ', [_, _, server, m, stem, _, port, _, client, _, _, status, rest @ ..])
            if rest.len() <= 3
                && is_address(server)
                && method(m)
                && stem.starts_with(b"/")
                && number(port).is_some()
                && is_address(client)
                && number(status).is_some() =>
        {
            Some(iis)
        }
        (b'\t', [_, _, place, bytes, client, m, _, stem, status, ..])
            if place.first().is_some_and(u8::is_ascii_uppercase)
                && number(bytes).is_some()
                && is_address(client)
                && method(m)
                && stem.starts_with(b"/")
                && number(status).is_some() =>
        {
            Some(cloudfront)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ROW: &str = "2025-05-16 02:01:36 192.0.2.10 GET /mifs/rs/api/v2/featureusage format=$%7BINERT%7D 443 - 203.0.113.7 python-requests/2.31 - 400 0 0 31";
    const EDGE: &str = "2025-05-16\t02:01:36\tLHR62-C2\t168\t203.0.113.7\tGET\td111.cloudfront.example\t/p\t404\t-\tMozilla/5.0%20(x)\ta=1\t-\tMiss\tINERT==\twww.example.org\thttps\t318\t0.044\t198.51.100.4, 10.0.0.1";

    fn seconds(l: &Line<'_>) -> i64 {
        l.stamp.map(|s| s.civil_s - i64::from(s.offset_s.unwrap())).unwrap()
    }

    #[test]
    fn a_row_of_iis_is_read_by_its_header_and_without_one() {
        let by_header = Columns::read(IIS).unwrap();
        for l in [by_header.parse(ROW.as_bytes()).unwrap(), guess(ROW.as_bytes()).unwrap()] {
            assert_eq!(l.layout, Layout::W3c);
            assert_eq!(l.peer.as_deref(), Some(b"203.0.113.7".as_slice()));
            assert_eq!((l.status, l.bytes, seconds(&l)), (Some(400), None, 1_747_360_896));
            assert_eq!(
                l.target.as_deref(),
                Some(b"/mifs/rs/api/v2/featureusage?format=$%7BINERT%7D".as_slice())
            );
        }
        assert_eq!(by_header.stamp_of(ROW.as_bytes()), by_header.parse(ROW.as_bytes()).unwrap().stamp);
    }

    #[test]
    fn columns_stand_where_the_header_says_and_a_header_of_something_else_is_none() {
        let c = Columns::read(
            b"#Fields: time X-Forwarded-For cs-method sc-bytes sc-status cs-uri-stem c-ip date",
        )
        .unwrap();
        let l = c.parse(b"02:01:36 198.51.100.4,+10.0.0.1 GET 168 404 /p 203.0.113.7 2025-05-16\r").unwrap();
        assert_eq!(l.client(), (Some(b"198.51.100.4".as_slice()), Some(b"203.0.113.7".as_slice())));
        assert_eq!((l.status, l.bytes, seconds(&l)), (Some(404), Some(168), 1_747_360_896));
        assert_eq!(Columns::read(b"#Fields: date time action protocol src-ip dst-ip"), None);
        assert_eq!(c.parse(b"#Date: 2025-05-16 02:00:00"), None);
        assert_eq!(c.parse(br#"203.0.113.7 - - [16/May/2025:03:01:36 +0100] "GET /p HTTP/1.1" 200 5"#), None);
    }

    #[test]
    fn cloudfront_and_zeek_are_read_by_tabs() {
        let l = guess(EDGE.as_bytes()).unwrap();
        assert_eq!((l.layout, l.status, l.bytes), (Layout::CloudFront, Some(404), Some(168)));
        assert_eq!(l.target.as_deref(), Some(b"/p?a=1".as_slice()));
        assert_eq!(l.client().0, Some(b"198.51.100.4".as_slice()));
        let z = Columns::read(b"#fields\tts\tuid\tid.orig_h\tid.orig_p\tmethod\thost\turi\tuser_agent\tresponse_body_len\tstatus_code").unwrap();
        let l = z.parse(b"1747360896.25\tCINERT\t203.0.113.7\t51234\tGET\twww.example.org\t/p?a=1\tUA with spaces\t168\t400").unwrap();
        assert_eq!((l.status, l.bytes, seconds(&l)), (Some(400), Some(168), 1_747_360_896));
        assert_eq!(l.agent.as_deref(), Some(b"UA with spaces".as_slice()));
    }

    #[test]
    fn quoted_cells_may_hold_spaces_and_a_clients_quote_joins_no_columns() {
        let c = Columns::read(b"#Fields: date time c-ip cs-method cs-uri cs(User-Agent) sc-status").unwrap();
        let l = c.parse(br#"2025-05-16 02:01:36 203.0.113.7 GET /p "Mozilla ""x"" (y)" 404"#).unwrap();
        assert_eq!((l.status, l.target.as_deref()), (Some(404), Some(b"/p".as_slice())));
        let l = Columns::read(IIS)
            .unwrap()
            .parse(br#"2025-05-16 02:01:36 192.0.2.10 GET /p "a 443 - 203.0.113.7 b" - 404 0 0 31"#)
            .unwrap();
        assert_eq!((l.status, l.peer.as_deref()), (Some(404), Some(b"203.0.113.7".as_slice())));
    }

    #[test]
    fn a_time_that_a_client_sent_is_not_the_rows() {
        let row = EDGE.replace("Mozilla/5.0%20(x)", "x - - [16/May/2020:03:01:36 +0100] \"GET /x HTTP/1.1\"");
        let fields = crate::line::FieldMap::default();
        let layouts = crate::line::Layouts { format: None, fields: &fields, columns: None };
        let whole = layouts.parse(row.as_bytes()).unwrap();
        assert_eq!(seconds(&whole), 1_747_360_896);
        assert_eq!(layouts.stamp_of(row.as_bytes()), whole.stamp);
    }

    #[test]
    fn the_date_may_stand_above_or_below_the_header() {
        for text in [
            "#Version: 1.0\n#Date: 2025-05-16 00:00:00\n#Fields: time cs-method cs-uri\n02:01:36 GET /p\n",
            "#Version: 1.0\n#Fields: time cs-method cs-uri\n#Date: 2025-05-16\n02:01:36 GET /p\n",
        ] {
            let at = memchr::memmem::find(text.as_bytes(), b"#Fields").unwrap();
            let c = Columns::read_at(text.as_bytes(), at).unwrap();
            assert_eq!(seconds(&c.parse(b"02:01:36 GET /p").unwrap()), 1_747_360_896);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
        #[test]
        fn no_row_and_no_header_upset_the_parser(
            raw in proptest::collection::vec(any::<u8>(), 0..200),
            names in "#Fields: ([a-z()-]{1,12}[ \t]){0,12}",
            at in 0usize..170, b in any::<u8>(), cut in 0usize..200,
        ) {
            for c in [Columns::read(names.as_bytes()), Columns::read_at(&raw, at), Columns::read(IIS)].into_iter().flatten() {
                let _ = (c.parse(&raw), c.stamp_of(&raw));
            }
            for s in [ROW, EDGE] {
                let mut row = s.as_bytes().to_vec();
                if let Some(x) = row.get_mut(at) { *x = b; }
                row.truncate(cut);
                let _ = guess(&row);
            }
        }
    }
}
