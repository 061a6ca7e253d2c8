//! The list of people, for `--write-people`: the one output that holds names.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::str::FromStr;

use crate::error::Error;
use crate::exposure::People;
use crate::report::plain::cell;

/// Writes the list as CSV, one person a row, to a new file that its owner alone may read; sealed
/// to an age recipient (`age1…`) if one is given.
///
/// An existing file is never overwritten: it might be readable by others, or be evidence.
///
/// # Errors
/// [`Error::Recipient`] before anything is written, [`Error::Write`] or
/// [`Error::Seal`] otherwise.
pub fn write(people: &People, path: &Path, recipient: Option<&str>) -> Result<(), Error> {
    let recipient = match recipient {
        Some(text) => Some(age::x25519::Recipient::from_str(text.trim()).map_err(|_| Error::Recipient)?),
        None => None,
    };
    let failed = |source| Error::Write { path: path.display().to_string(), source };
    let mut file = create_private(path).map_err(failed)?;
    match recipient {
        None => table(people, &mut file).map_err(failed)?,
        Some(recipient) => {
            let to = std::iter::once(&recipient as &dyn age::Recipient);
            let sealer = age::Encryptor::with_recipients(to).map_err(|_| Error::Seal)?;
            let mut sealed = sealer.wrap_output(&mut file).map_err(failed)?;
            table(people, &mut sealed).map_err(failed)?;
            sealed.finish().map_err(failed)?;
        }
    }
    file.sync_all().map_err(failed)
}

/// Says early whether a recipient is one.
///
/// # Errors
/// [`Error::Recipient`].
pub fn check_recipient(text: &str) -> Result<(), Error> {
    parse_recipient(text).map(|_| ())
}

fn parse_recipient(text: &str) -> Result<age::x25519::Recipient, Error> {
    age::x25519::Recipient::from_str(text.trim()).map_err(|_| Error::Recipient)
}

fn create_private(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn table(people: &People, out: &mut dyn Write) -> std::io::Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record(["user", "name", "emails", "phone_numbers", "imeis", "location_stored"])?;
    for p in &people.0 {
        let location = if p.has_location { "yes" } else { "no" };
        csv.write_record([
            cell(&p.user),
            cell(&p.name),
            cell(&p.emails.join(" ")),
            // A number begins with +, which a spreadsheet would compute: the apostrophe stays.
            cell(&p.phones.join(" ")),
            cell(&p.imeis.join(" ")),
            location.to_owned(),
        ])?;
    }
    csv.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exposure::Person;
    use std::io::Read;

    fn people() -> People {
        People(vec![Person {
            user: "awright".into(),
            name: "=Ada".into(),
            phones: vec!["+447700900123".into()],
            ..Person::default()
        }])
    }

    #[cfg(unix)]
    #[test]
    fn the_list_is_readable_by_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("people.csv");
        write(&people(), &path, None).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("awright,'=Ada,,'+447700900123,,no"), "{text}");
    }

    #[test]
    fn a_list_that_exists_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("people.csv");
        std::fs::write(&path, "mine").unwrap();
        assert!(write(&people(), &path, None).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    }

    #[test]
    fn a_sealed_list_opens_with_the_recipients_key_and_shows_nothing_without() {
        let key = age::x25519::Identity::generate();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("people.csv.age");
        write(&people(), &path, Some(&key.to_public().to_string())).unwrap();
        let sealed = std::fs::read(&path).unwrap();
        assert!(!sealed.windows(7).any(|w| w == b"awright"));
        let opener = age::Decryptor::new(&sealed[..]).unwrap();
        let mut text = String::new();
        opener
            .decrypt(std::iter::once(&key as &dyn age::Identity))
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert!(text.contains("awright"));
    }

    #[test]
    fn a_wrong_recipient_is_refused_before_a_file_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("people.csv");
        assert!(matches!(write(&people(), &path, Some("age1nonsense")), Err(Error::Recipient)));
        assert!(!path.exists());
    }
}
