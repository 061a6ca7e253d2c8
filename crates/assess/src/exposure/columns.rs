//! Which column of an inventory export means what.

use crate::error::Error;
use crate::exposure::values;

/// What a column of an inventory can mean to the count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// The account that the phone is enrolled under.
    User,
    /// A person's whole name.
    Name,
    /// A person's first name.
    FirstName,
    /// A person's family name.
    LastName,
    /// An e-mail address.
    Email,
    /// A telephone number.
    Phone,
    /// An IMEI or MEID.
    Imei,
    /// A serial number.
    Serial,
    /// The console's own id of the device.
    Device,
    /// A latitude.
    Latitude,
    /// A longitude.
    Longitude,
    /// A place in words, or both coordinates in one cell.
    Location,
    /// When the device last reported.
    LastSeen,
}

impl Field {
    /// All fields, in the order in which a report lists them.
    pub const ALL: [Self; 13] = [
        Self::User,
        Self::Name,
        Self::FirstName,
        Self::LastName,
        Self::Email,
        Self::Phone,
        Self::Imei,
        Self::Serial,
        Self::Device,
        Self::Latitude,
        Self::Longitude,
        Self::Location,
        Self::LastSeen,
    ];

    /// The word for it on the command line (`--map WORD=COLUMN`) and in the report.
    pub fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Name => "name",
            Self::FirstName => "first-name",
            Self::LastName => "last-name",
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Imei => "imei",
            Self::Serial => "serial",
            Self::Device => "device",
            Self::Latitude => "latitude",
            Self::Longitude => "longitude",
            Self::Location => "location",
            Self::LastSeen => "last-seen",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|f| f.word() == word)
    }
}

/// How a column came to its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Its heading is a known one.
    Heading,
    /// Its heading says nothing known; its values look like it.
    Values,
    /// `--map` said so.
    Told,
}

impl How {
    /// The words that a report shows.
    pub fn words(self) -> &'static str {
        match self {
            Self::Heading => "by its heading",
            Self::Values => "by its values",
            Self::Told => "as told with --map",
        }
    }
}

/// One column with its meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Position in the table, from 0.
    pub index: usize,
    /// The heading as it stands in the file.
    pub heading: String,
    /// What it means.
    pub field: Field,
    /// How that was found.
    pub how: How,
}

/// The columns that are counted; all others are left unread.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns(pub Vec<Column>);

impl Columns {
    /// The positions of a field's columns.
    pub fn of(&self, field: Field) -> impl Iterator<Item = usize> {
        self.0.iter().filter(move |c| c.field == field).map(|c| c.index)
    }

    /// Finds each column's meaning: first what `told` says (`WORD=COLUMN`; a field that is told is
    /// not guessed), then by heading, then by what `sample` rows hold.
    ///
    /// # Errors
    /// [`Error::Mapping`] for a word or a column that does not exist, and
    /// [`Error::NothingToCount`] when no column means a person, phone number, IMEI or e-mail.
    pub fn find(headings: &[&str], sample: &[csv::StringRecord], told: &[String]) -> Result<Self, Error> {
        let mut columns = Vec::new();
        for pair in told {
            columns.push(told_column(pair, headings)?);
        }
        let told_fields: Vec<Field> = columns.iter().map(|c| c.field).collect();
        for (index, heading) in headings.iter().enumerate() {
            if columns.iter().any(|c| c.index == index) {
                continue;
            }
            let by_heading = by_heading(heading).map(|f| (f, How::Heading));
            let found = by_heading.or_else(|| by_values(index, sample).map(|f| (f, How::Values)));
            if let Some((field, how)) = found.filter(|(f, _)| !told_fields.contains(f)) {
                columns.push(Column { index, heading: (*heading).to_owned(), field, how });
            }
        }
        columns.sort_by_key(|c| (c.field, c.index));
        let counts = [Field::User, Field::Name, Field::LastName, Field::Email, Field::Phone, Field::Imei];
        if columns.iter().any(|c| counts.contains(&c.field)) {
            Ok(Self(columns))
        } else {
            Err(Error::NothingToCount)
        }
    }
}

fn told_column(pair: &str, headings: &[&str]) -> Result<Column, Error> {
    let words = || Field::ALL.map(Field::word).join(", ");
    let (word, name) = pair.split_once('=').ok_or_else(|| Error::Mapping {
        pair: pair.to_owned(),
        why: "write it as WORD=COLUMN, for example imei=\"IMEI (slot 1)\"".to_owned(),
    })?;
    let field = Field::from_word(word.trim()).ok_or_else(|| Error::Mapping {
        pair: pair.to_owned(),
        why: format!("the word before = must be one of {}", words()),
    })?;
    let name = name.trim();
    let at = headings.iter().position(|h| h.trim() == name).or_else(|| {
        let wanted = plain(name);
        headings.iter().position(|h| plain(h) == wanted)
    });
    let index = at.ok_or_else(|| Error::Mapping {
        pair: pair.to_owned(),
        why: "the file has no column with this heading".to_owned(),
    })?;
    let heading = headings.get(index).map(|h| (*h).to_owned()).unwrap_or_default();
    Ok(Column { index, heading, field, how: How::Told })
}

/// Letters and digits only, lower case: `Current Phone Number` and `current_phone_number` are one.
fn plain(heading: &str) -> String {
    heading.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn by_heading(heading: &str) -> Option<Field> {
    let h = plain(heading);
    let exact = match h.as_str() {
        "user" | "userid" | "username" | "useruid" | "principal" | "userprincipal" | "userprincipalname"
        | "upn" | "account" | "owner" | "enrolledby" | "enrolleduser" | "primaryuser" | "samaccountname"
        | "primaryuserupn" | "useruuid" => Some(Field::User),
        "name"
        | "displayname"
        | "userdisplayname"
        | "fullname"
        | "employee"
        | "person"
        | "primaryuserdisplayname" => Some(Field::Name),
        "firstname" | "givenname" | "forename" | "userfirstname" => Some(Field::FirstName),
        "lastname" | "surname" | "familyname" | "userlastname" => Some(Field::LastName),
        "mobile" | "msisdn" | "phone" | "telephone" | "tel" | "mobileno" | "number" => Some(Field::Phone),
        "serial" | "serialno" | "sn" => Some(Field::Serial),
        "deviceid" | "deviceuuid" | "uuid" | "udid" | "deviceudid" | "deviceguid" => Some(Field::Device),
        "lat" => Some(Field::Latitude),
        "lon" | "lng" | "long" => Some(Field::Longitude),
        "gps" | "coordinates" | "position" => Some(Field::Location),
        "lastseen" | "lastcheckin" | "lastconnected" | "lastconnectedat" | "lastcontact" | "lastsync" => {
            Some(Field::LastSeen)
        }
        _ => None,
    };
    exact.or_else(|| by_part(&h))
}

fn by_part(h: &str) -> Option<Field> {
    // What only tells of a thing ("Email Domain", "IMEI present") is not the thing.
    if ["domain", "status", "present", "enabled", "verified", "country", "type", "count", "date"]
        .iter()
        .any(|word| h.ends_with(word))
    {
        return None;
    }
    let has = |word: &str| h.contains(word);
    if has("imei") || has("meid") {
        Some(Field::Imei)
    } else if has("phonenumber") || has("mobilenumber") || has("telephonenumber") || has("msisdn") {
        Some(Field::Phone)
    } else if has("email") || has("mailaddress") {
        Some(Field::Email)
    } else if has("serialnumber") {
        Some(Field::Serial)
    } else if has("latitude") {
        Some(Field::Latitude)
    } else if has("longitude") {
        Some(Field::Longitude)
    } else if has("lastknownlocation") || h == "location" || has("lastlocation") {
        Some(Field::Location)
    } else {
        None
    }
}

/// At least eight in ten of the cells that are not empty, and at least three of them, must fit.
fn by_values(index: usize, sample: &[csv::StringRecord]) -> Option<Field> {
    let cells: Vec<&str> =
        sample.iter().filter_map(|r| r.get(index)).map(str::trim).filter(|c| !c.is_empty()).collect();
    let most = |fits: fn(&str) -> bool| {
        let n = cells.iter().filter(|c| fits(c)).count();
        n >= 3 && n * 10 >= cells.len() * 8
    };
    if most(|c| values::imei(c).is_ok_and(|i| i.check_digit_right)) {
        Some(Field::Imei)
    } else if most(|c| values::email(c).is_some()) {
        Some(Field::Email)
    } else if most(|c| c.starts_with('+') && values::phone(c).is_some()) {
        Some(Field::Phone)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(headings: &[&str], rows: &[&[&str]], told: &[&str]) -> Result<Columns, Error> {
        let sample: Vec<_> = rows.iter().map(|r| csv::StringRecord::from(r.to_vec())).collect();
        Columns::find(headings, &sample, &told.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_headings_of_a_device_export_are_known() {
        let found = find(
            &[
                "User ID",
                "Display Name",
                "Current Phone Number",
                "IMEI",
                "Email Address",
                "Model",
                "Last Check-In",
            ],
            &[],
            &[],
        )
        .unwrap();
        let words: Vec<_> = found.0.iter().map(|c| c.field.word()).collect();
        assert_eq!(words, ["user", "name", "email", "phone", "imei", "last-seen"]);
    }

    #[test]
    fn a_domain_column_is_not_taken_for_addresses() {
        assert!(matches!(find(&["Email Domain", "Model"], &[], &[]), Err(Error::NothingToCount)));
    }

    #[test]
    fn a_column_without_a_known_heading_is_known_by_its_values() {
        let rows: &[&[&str]] = &[&["490154203237518"], &["356938035643809"], &["352099001761481"]];
        let found = find(&["Kennung"], rows, &[]).unwrap();
        assert_eq!((found.0[0].field, found.0[0].how), (Field::Imei, How::Values));
    }

    #[test]
    fn what_is_told_wins_over_what_is_guessed() {
        let found = find(&["Phone", "Work line"], &[], &["phone=work LINE"]).unwrap();
        assert_eq!(found.0.len(), 1);
        assert_eq!((found.0[0].index, found.0[0].how), (1, How::Told));
    }

    #[test]
    fn a_mapping_to_a_missing_column_is_refused_with_its_reason() {
        let refused = find(&["Phone"], &[], &["phone=Handy"]).unwrap_err();
        assert!(refused.to_string().contains("no column with this heading"), "{refused}");
    }
}
