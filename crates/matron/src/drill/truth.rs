//! What is true of each phone, kept by the drill to count by. It is nowhere in the house's reach.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use aho_corasick::AhoCorasick;
use anyhow::{Context, Result};
use model::EnrolmentId;
use simulate::{Person, Phone};

/// Shorter texts are found by chance.
const SHORTEST: usize = 8;

/// One phone's true values.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) enrolment: EnrolmentId,
    /// What the phone itself says when it connects.
    said: Vec<String>,
    /// What only the invitation said: the holder's name and address.
    invited: Vec<String>,
    pub(crate) push_token: String,
}

impl Record {
    fn of(phone: &Phone, person: &Person, enrolment: EnrolmentId) -> Self {
        let h = phone.handset();
        let mut said = vec![h.udid, h.serial, h.wifi_mac, h.bluetooth_mac];
        // Some are just called "iPhone", as their model is.
        said.extend(Some(h.device_name).filter(|n| n.contains(' ')));
        for line in h.lines {
            let spaced: String = line
                .imei
                .char_indices()
                .flat_map(|(n, c)| [Some(' ').filter(|_| matches!(n, 2 | 8 | 14)), Some(c)])
                .flatten()
                .collect();
            said.extend([line.phone_number, line.imei, spaced, line.iccid]);
            said.extend(line.eid);
        }
        said.retain(|v| v.len() >= SHORTEST);
        let push_token = phone.push_token().iter().map(|b| format!("{b:02x}")).collect();
        Self { enrolment, said, invited: vec![person.name.clone(), person.email.clone()], push_token }
    }

    fn values(&self) -> impl Iterator<Item = &String> {
        self.said.iter().chain(&self.invited)
    }
}

/// All phones' true values.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    records: Vec<Record>,
    at: HashMap<EnrolmentId, usize>,
}

impl Truth {
    pub(crate) fn add(&mut self, phone: &Phone, person: &Person) -> Result<()> {
        let enrolment = phone.enrolment().context("a phone that is not enrolled")?;
        self.at.insert(enrolment, self.records.len());
        self.records.push(Record::of(phone, person, enrolment));
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn enrolments(&self) -> Vec<EnrolmentId> {
        self.records.iter().map(|r| r.enrolment).collect()
    }

    fn find(&self, phone: &EnrolmentId) -> Option<&Record> {
        self.at.get(phone).and_then(|n| self.records.get(*n))
    }

    /// Of whom `value` shows something true. `passing`: phones that said it to whoever holds the room; what they
    /// say themselves is not counted.
    pub(crate) fn shown(
        &self,
        of: Option<EnrolmentId>,
        value: &str,
        passing: &HashSet<EnrolmentId>,
    ) -> BTreeSet<EnrolmentId> {
        let shows = |r: &&Record| {
            let said = if passing.contains(&r.enrolment) { &[] } else { r.said.as_slice() };
            said.iter().chain(&r.invited).any(|t| value.contains(t.as_str()))
        };
        match of {
            Some(of) => self.find(&of).filter(shows).map(|r| r.enrolment).into_iter().collect(),
            None => self.records.iter().filter(shows).map(|r| r.enrolment).collect(),
        }
    }

    /// Whether a phone said something true of itself.
    pub(crate) fn is_said_by(&self, phone: &EnrolmentId, value: &str) -> bool {
        self.find(phone).is_some_and(|r| r.said.iter().any(|t| value.contains(t.as_str())))
    }

    /// The holder's name, as a thief who opened it would type it.
    pub(crate) fn holder_of(&self, phone: &EnrolmentId) -> Option<&str> {
        self.find(phone)?.invited.first().map(String::as_str)
    }

    /// Whether this is the phone's push token.
    pub(crate) fn is_token_of(&self, phone: &EnrolmentId, hex: &str) -> bool {
        self.find(phone).is_some_and(|r| r.push_token == hex)
    }

    /// Whose values stand readable in the files of a folder, and in which: as they are, in lower case, in UTF-16.
    pub(crate) fn in_files(&self, folder: &Path) -> Result<(BTreeSet<EnrolmentId>, Vec<PathBuf>)> {
        let (mut patterns, mut whose) = (Vec::new(), Vec::new());
        for r in &self.records {
            for value in r.values() {
                let wide: Vec<u8> = value.encode_utf16().flat_map(u16::to_le_bytes).collect();
                for form in [value.clone().into_bytes(), value.to_lowercase().into_bytes(), wide] {
                    patterns.push(form);
                    whose.push(r.enrolment);
                }
            }
        }
        let search = AhoCorasick::new(&patterns)?;
        let (mut shown, mut places) = (BTreeSet::new(), Vec::new());
        for file in files_below(folder)? {
            let bytes = std::fs::read(&file).with_context(|| format!("{}", file.display()))?;
            let found = search.find_overlapping_iter(&bytes);
            let found: BTreeSet<_> =
                found.filter_map(|m| whose.get(m.pattern().as_usize())).copied().collect();
            if !found.is_empty() {
                places.push(file);
            }
            shown.extend(found);
        }
        Ok((shown, places))
    }
}

/// Every file below a folder. One that can't be listed is an error: nothing found there would mean nothing.
pub(crate) fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut folders, mut files) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| format!("{}", folder.display()))? {
            let entry = entry?;
            let kind = entry.file_type()?;
            match (kind.is_dir(), kind.is_file()) {
                (true, _) => folders.push(entry.path()),
                (_, true) => files.push(entry.path()),
                _ => {}
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn truth() -> (Truth, EnrolmentId, Person) {
        let phone = Phone::new(7, 3);
        let person = simulate::people(7, 4).pop().unwrap();
        let e = EnrolmentId([1; 16]);
        let truth = Truth { records: vec![Record::of(&phone, &person, e)], at: HashMap::from([(e, 0)]) };
        (truth, e, person)
    }

    #[test]
    fn a_value_counts_where_it_is_true_and_not_of_a_phone_that_said_it() {
        let (truth, e, person) = truth();
        let serial = Phone::new(7, 3).handset().serial;
        let nobody = HashSet::new();
        assert_eq!(truth.shown(Some(e), &serial, &nobody).len(), 1);
        assert_eq!(truth.shown(None, &format!("x {serial}"), &nobody).len(), 1);
        assert_eq!(truth.shown(Some(EnrolmentId([2; 16])), &serial, &nobody).len(), 0, "another phone's");
        assert_eq!(truth.shown(Some(e), "made up", &nobody).len(), 0);
        let passing = HashSet::from([e]);
        assert_eq!(truth.shown(Some(e), &serial, &passing).len(), 0, "it said so itself");
        assert_eq!(truth.shown(Some(e), &person.name, &passing).len(), 1, "no phone says its holder's name");
    }

    #[test]
    fn a_value_that_stands_in_a_file_in_any_common_form_is_found() {
        let (truth, _, person) = truth();
        for bytes in [
            person.email.clone().into_bytes(),
            person.name.to_lowercase().into_bytes(),
            person.email.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        ] {
            let dir = tempfile::tempdir().unwrap();
            std::fs::create_dir(dir.path().join("deep")).unwrap();
            std::fs::write(dir.path().join("deep/file"), [b"before".to_vec(), bytes].concat()).unwrap();
            assert_eq!(truth.in_files(dir.path()).unwrap().0.len(), 1);
        }
        assert_eq!(truth.in_files(tempfile::tempdir().unwrap().path()).unwrap().0.len(), 0);
    }
}
