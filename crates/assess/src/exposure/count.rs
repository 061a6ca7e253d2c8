//! Counting an inventory.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, BufReader, Cursor, Read, Seek};

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::exposure::columns::{Columns, Field};
use crate::exposure::values::{self, NoImei};
use crate::exposure::{Counts, Exposure, MappedColumn, text};
use crate::finding::UnixMs;

/// Rows looked at when a column's meaning is guessed from its values.
const SAMPLE_ROWS: usize = 200;
/// Most people that a list for `--write-people` holds.
const MAX_PEOPLE: usize = 2_000_000;

/// What the person said about the inventory.
#[derive(Debug, Clone, Default)]
pub struct InventoryOptions {
    /// `WORD=COLUMN` pairs of `--map`.
    pub told: Vec<String>,
    /// The day the inventory shows (`--inventory-date`).
    pub dated_ms: Option<UnixMs>,
    /// Whether the people are wanted one by one (`--write-people`).
    pub keep_people: bool,
}

/// One person and what the inventory says of their phones. Personal: `Debug` says nothing.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Person {
    /// Account.
    pub user: String,
    /// Name.
    pub name: String,
    /// E-mail addresses.
    pub emails: Vec<String>,
    /// Telephone numbers.
    pub phones: Vec<String>,
    /// IMEIs, as they stand in the export.
    pub imeis: Vec<String>,
    /// Whether a location of one of their devices is stored.
    pub has_location: bool,
}

impl fmt::Debug for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Person(sealed)")
    }
}

/// The people of an inventory, for `--write-people` alone. `Debug` says how many.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct People(pub(crate) Vec<Person>);

impl fmt::Debug for People {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "People({}, sealed)", self.0.len())
    }
}

/// Reads an inventory export that lies in memory, and counts it; see [`read_from`].
///
/// # Errors
/// As [`read_from`].
pub fn read(name: &str, bytes: &[u8], options: &InventoryOptions) -> Result<(Exposure, People), Error> {
    read_from(name, &mut Cursor::new(bytes), options)
}

/// Reads an inventory export, from its beginning, and counts it. It is read twice, block by block;
/// of each value eight bytes of a digest are kept, so that a million rows take about 60 MB.
///
/// `name` is shown in the report. The people come back empty unless
/// [`InventoryOptions::keep_people`] is set.
///
/// # Errors
/// [`Error`]: too large, not a table, a row that is no CSV, or nothing to count.
pub fn read_from(
    name: &str,
    input: &mut (impl Read + Seek),
    options: &InventoryOptions,
) -> Result<(Exposure, People), Error> {
    let bad_row = |e: csv::Error| bad_row(name, e);
    let look = text::look(name, input)?;
    input.rewind().map_err(|source| Error::Read { path: name.to_owned(), source })?;
    let mut table =
        BufReader::with_capacity(1 << 16, text::Decoded::new(input.take(look.bytes), look.encoding));
    let head = table.fill_buf().map_err(|source| Error::Read { path: name.to_owned(), source })?;
    let delimiter = text::delimiter(&String::from_utf8_lossy(head));
    let mut reader =
        csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).trim(csv::Trim::All).from_reader(table);
    let headings = reader.headers().map_err(bad_row)?.clone();
    let mut rows = reader.records();
    let mut sample = Vec::new();
    for row in rows.by_ref().take(SAMPLE_ROWS) {
        sample.push(row.map_err(bad_row)?);
    }
    if sample.is_empty() {
        return Err(Error::InventoryEmpty);
    }
    let headings: Vec<&str> = headings.iter().collect();
    let columns = Columns::find(&headings, &sample, &options.told)?;
    let mut tally = Tally::new(&columns, options.keep_people);
    for row in sample.into_iter().map(Ok).chain(rows) {
        tally.add(&row.map_err(bad_row)?);
    }
    let (dated_ms, dated_by) = dated(options.dated_ms, tally.newest_ms);
    let unread = headings.iter().enumerate().filter(|(i, _)| !columns.0.iter().any(|c| c.index == *i));
    let exposure = Exposure {
        file: name.to_owned(),
        sha256: look.sha256,
        bytes: look.bytes,
        encoding: look.encoding.name().to_owned(),
        dated_ms,
        dated_by,
        unread_columns: unread.map(|(_, h)| (*h).to_owned()).collect(),
        columns: columns
            .0
            .iter()
            .map(|c| MappedColumn {
                heading: c.heading.clone(),
                field: c.field.word().to_owned(),
                how: c.how.words().to_owned(),
            })
            .collect(),
        rows: tally.rows,
        rows_without_person: tally.without_person,
        counts: tally.counts(),
        notes: tally.notes(),
    };
    Ok((exposure, People(tally.people.into_values().collect())))
}

fn bad_row(name: &str, e: csv::Error) -> Error {
    let row = e.position().map_or(1, csv::Position::line);
    match e.into_kind() {
        csv::ErrorKind::Io(source) => Error::Read { path: name.to_owned(), source },
        _ => Error::InventoryRow { row },
    }
}

fn dated(told_ms: Option<UnixMs>, newest_ms: Option<UnixMs>) -> (Option<UnixMs>, String) {
    match (told_ms, newest_ms) {
        (Some(ms), _) => (Some(ms), "as told with --inventory-date".to_owned()),
        (None, Some(ms)) => (Some(ms), "the newest check-in in it".to_owned()),
        (None, None) => (None, "not known; say it with --inventory-date".to_owned()),
    }
}

/// Distinct values, of each of which eight bytes of a digest are kept: among a million, two that look
/// alike are met once in thirty million exports.
#[derive(Default)]
struct Distinct {
    marks: Vec<u64>,
    /// The first so many are sorted and distinct.
    sorted: usize,
}

/// Marks gathered before they are sorted again.
const UNSORTED: usize = 1 << 17;

impl Distinct {
    fn insert(&mut self, value: &str) {
        let mark = Sha256::digest(value.as_bytes()).iter().take(8).fold(0, |n, b| (n << 8) | u64::from(*b));
        self.marks.push(mark);
        if self.marks.len() - self.sorted > UNSORTED.max(self.sorted) {
            self.tidy();
        }
    }

    fn extend<'a>(&mut self, values: impl IntoIterator<Item = &'a String>) {
        values.into_iter().for_each(|v| self.insert(v));
    }

    fn tidy(&mut self) {
        self.marks.sort_unstable();
        self.marks.dedup();
        self.sorted = self.marks.len();
    }

    fn len(&mut self) -> u64 {
        self.tidy();
        self.sorted as u64
    }
}

#[derive(Default)]
struct Tally<'c> {
    columns: Option<&'c Columns>,
    keep_people: bool,
    rows: u64,
    without_person: u64,
    located: u64,
    spoilt_imeis: u64,
    wrong_check_digits: u64,
    newest_ms: Option<UnixMs>,
    persons: Distinct,
    accounts: Distinct,
    devices: Distinct,
    phones: Distinct,
    imeis: Distinct,
    emails: Distinct,
    serials: Distinct,
    people: BTreeMap<String, Person>,
}

impl<'c> Tally<'c> {
    fn new(columns: &'c Columns, keep_people: bool) -> Self {
        Self { columns: Some(columns), keep_people, ..Self::default() }
    }

    fn cells<'r>(&self, row: &'r csv::StringRecord, field: Field) -> Vec<&'r str> {
        let of = self.columns.map(|c| c.of(field).collect::<Vec<_>>()).unwrap_or_default();
        of.into_iter().filter_map(|i| row.get(i)).map(str::trim).filter(|c| !c.is_empty()).collect()
    }

    fn first_words(&self, row: &csv::StringRecord, field: Field) -> Option<String> {
        self.cells(row, field).into_iter().find_map(values::words)
    }

    fn add(&mut self, row: &csv::StringRecord) {
        if row.iter().all(|c| c.trim().is_empty()) {
            return;
        }
        self.rows += 1;
        let emails: Vec<String> =
            self.cells(row, Field::Email).into_iter().filter_map(values::email).collect();
        let phones: Vec<String> =
            self.cells(row, Field::Phone).into_iter().filter_map(values::phone).collect();
        let imeis = self.imeis_of(row);
        let user = self.first_words(row, Field::User);
        let name = self.name_of(row);
        let has_location = self.has_location(row);
        self.add_device(row, &imeis);
        self.located += u64::from(has_location);
        self.phones.extend(&phones);
        self.emails.extend(&emails);
        self.accounts.extend(&user);
        for cell in self.cells(row, Field::LastSeen) {
            self.newest_ms = self.newest_ms.max(moment(cell));
        }
        let who = user
            .clone()
            .or_else(|| emails.first().cloned())
            .or_else(|| name.as_ref().map(|n| n.to_lowercase()));
        let Some(who) = who else {
            self.without_person += 1;
            return;
        };
        self.persons.insert(&who);
        if self.keep_people && (self.people.len() < MAX_PEOPLE || self.people.contains_key(&who)) {
            let person = self.people.entry(who).or_default();
            if person.user.is_empty() {
                person.user = user.unwrap_or_default();
            }
            if person.name.is_empty() {
                person.name = name.unwrap_or_default();
            }
            merge(&mut person.emails, emails);
            merge(&mut person.phones, phones);
            merge(&mut person.imeis, imeis);
            person.has_location |= has_location;
        }
    }

    fn imeis_of(&mut self, row: &csv::StringRecord) -> Vec<String> {
        let mut found = Vec::new();
        for cell in self.cells(row, Field::Imei) {
            match values::imei(cell) {
                Ok(imei) => {
                    self.wrong_check_digits += u64::from(!imei.check_digit_right);
                    self.imeis.insert(&imei.body);
                    found.push(cell.trim_matches(['\'', '"', '=']).to_owned());
                }
                Err(NoImei::SpoiltBySpreadsheet) => self.spoilt_imeis += 1,
                Err(_) => {}
            }
        }
        found
    }

    fn add_device(&mut self, row: &csv::StringRecord, imeis: &[String]) {
        let serial = self.first_words(row, Field::Serial);
        self.serials.extend(&serial);
        let id = self
            .first_words(row, Field::Device)
            .or(serial)
            .or_else(|| imeis.first().cloned())
            .unwrap_or_else(|| format!("row {}", self.rows));
        self.devices.insert(&id);
    }

    fn name_of(&self, row: &csv::StringRecord) -> Option<String> {
        let written = |field| {
            let cell = self.cells(row, field).into_iter().next()?;
            values::words(cell).map(|_| cell.to_owned())
        };
        written(Field::Name).or_else(|| match (written(Field::FirstName), written(Field::LastName)) {
            (Some(first), Some(last)) => Some(format!("{first} {last}")),
            (first, last) => last.or(first),
        })
    }

    fn has_location(&self, row: &csv::StringRecord) -> bool {
        let coordinate = |field| self.cells(row, field).into_iter().any(values::coordinate);
        (coordinate(Field::Latitude) && coordinate(Field::Longitude))
            || self.cells(row, Field::Location).into_iter().any(|c| values::words(c).is_some())
    }

    fn counts(&mut self) -> Counts {
        Counts {
            people: self.persons.len(),
            accounts: self.accounts.len(),
            devices: self.devices.len(),
            phone_numbers: self.phones.len(),
            imeis: self.imeis.len(),
            emails: self.emails.len(),
            locations: self.located,
            serials: self.serials.len(),
        }
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.spoilt_imeis > 0 {
            notes.push(format!(
                "{} IMEI cells were spoilt by a spreadsheet (such as 4.9E+14) and are not counted; export again \
                 and do not open the file in a spreadsheet first.",
                self.spoilt_imeis
            ));
        }
        if self.wrong_check_digits > 0 {
            notes.push(format!(
                "{} IMEIs have a wrong check digit; they are counted, but may be mistyped.",
                self.wrong_check_digits
            ));
        }
        if self.without_person > 0 {
            notes.push(format!(
                "{} rows name no person (shared or unassigned devices); the number of people may be higher.",
                self.without_person
            ));
        }
        if self.keep_people && self.people.len() >= MAX_PEOPLE {
            notes.push(format!("The list of people was cut at {MAX_PEOPLE}."));
        }
        notes
    }
}

fn merge(into: &mut Vec<String>, more: Vec<String>) {
    for value in more {
        if !into.contains(&value) && into.len() < 100 {
            into.push(value);
        }
    }
}

/// A day or time that can be read only one way: ISO 8601, or Unix seconds or milliseconds.
/// `03/04/2025` is two days on two sides of the Atlantic, and is not read.
fn moment(cell: &str) -> Option<UnixMs> {
    if let Ok(n) = cell.parse::<i64>() {
        return match n {
            1_000_000_000..=9_999_999_999 => Some(n * 1000),
            1_000_000_000_000..=9_999_999_999_999 => Some(n),
            _ => None,
        };
    }
    if let Ok(at) = cell.parse::<jiff::Timestamp>() {
        return Some(at.as_millisecond());
    }
    let at = cell.parse::<DateTime>().ok()?;
    TimeZone::UTC.to_timestamp(at).ok().map(jiff::Timestamp::as_millisecond)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EXPORT: &str = "User ID,Display Name,Email Address,Current Phone Number,IMEI,Device UUID,Latitude,Longitude,Last Check-In\n\
        awright,Ada Wright,ada@example.org,07700 900123,490154203237518,d-1,51.5,-0.1,2025-05-14 08:00:00\n\
        awright,Ada Wright,ADA@example.org,+447700900123,356938035643809,d-2,0,0,2025-05-13\n\
        bhill,Ben Hill,ben@example.org,PDA,3.56938E+14,d-3,,,\n\
        ,,,07700900200,352099001761482,d-4,,,\n";

    fn count(export: &str) -> (Exposure, People) {
        read("export.csv", export.as_bytes(), &InventoryOptions { keep_people: true, ..Default::default() })
            .unwrap()
    }

    #[test]
    fn each_person_number_and_device_counts_once() {
        let (exposure, _) = count(EXPORT);
        let expected = Counts {
            people: 2,
            accounts: 2,
            devices: 4,
            phone_numbers: 2,
            imeis: 3,
            emails: 2,
            locations: 1,
            serials: 0,
        };
        assert_eq!(exposure.counts, expected);
        assert_eq!((exposure.rows, exposure.rows_without_person), (4, 1));
    }

    #[test]
    fn the_day_of_the_inventory_is_its_newest_check_in() {
        let (exposure, _) = count(EXPORT);
        assert_eq!(exposure.dated_ms.map(crate::moment::utc_text).as_deref(), Some("2025-05-14T08:00:00Z"));
    }

    #[test]
    fn what_makes_a_count_uncertain_is_said() {
        let (exposure, _) = count(EXPORT);
        assert_eq!(exposure.notes.len(), 3, "{:?}", exposure.notes);
    }

    #[test]
    fn no_personal_value_is_in_the_counts() {
        let (exposure, people) = count(EXPORT);
        let shown = format!("{} {people:?}", serde_json::to_string(&exposure).unwrap());
        for value in ["Ada", "awright", "ada@", "900123", "900200", "4901542", "bhill"] {
            assert!(!shown.contains(value), "{value} in {shown}");
        }
    }

    #[test]
    fn a_persons_phones_are_gathered_under_them() {
        let (_, people) = count(EXPORT);
        assert_eq!(people.0.len(), 2);
        assert_eq!(people.0[0].imeis, ["490154203237518", "356938035643809"]);
        assert_eq!(people.0[0].phones, ["+447700900123"]);
    }

    #[test]
    fn an_error_names_the_row_and_none_of_its_content() {
        let told = InventoryOptions::default();
        let refused = read("x", b"only,headings\n", &told).unwrap_err();
        assert!(matches!(refused, Error::InventoryEmpty));
    }

    #[test]
    fn a_day_that_reads_two_ways_is_not_read() {
        assert_eq!(moment("03/04/2025"), None);
        assert_eq!(moment("1747209600"), Some(1_747_209_600_000));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_bytes_are_counted_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = read("x", &bytes, &InventoryOptions::default());
            let mut table = b"imei,phone,email\n".to_vec();
            table.extend_from_slice(&bytes);
            let _ = read("x", &table, &InventoryOptions::default());
        }
    }
}
