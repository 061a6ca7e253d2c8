//! What a phone under load says: reports are written once, then only their `CommandUUID` is replaced, so
//! that the phones' own work doesn't hide the server's.

use crate::Fault;
use crate::answer::may_be_put_off;
use crate::phone::Phone;
use crate::report::{Status, report};
use memchr::memmem;
use plist::Dictionary;
use std::collections::HashMap;

/// Stands in a report until a command's id takes its place; as long as one.
const SLOT: &str = "00000000-0000-0000-0000-00000000SLOT";
/// Reports that one phone keeps.
const MAX_REPORTS: usize = 32;

/// A phone's lines.
pub(super) struct Script {
    idle: Vec<u8>,
    /// By `RequestType` and the command's length, since a query may ask for more or less.
    reports: HashMap<(String, usize), (Vec<u8>, usize)>,
    scratch: Vec<u8>,
}

impl Script {
    pub(super) fn new(phone: &Phone) -> Result<Self, Fault> {
        let handset = phone.handset();
        let idle = report(&handset.udid, Status::Idle, None, Dictionary::new(), handset.binary)?;
        Ok(Self { idle, reports: HashMap::new(), scratch: Vec::new() })
    }

    pub(super) fn idle(&self) -> &[u8] {
        &self.idle
    }

    /// The report that acknowledges this command.
    pub(super) fn report(&mut self, phone: &mut Phone, command: &[u8]) -> Result<&[u8], Fault> {
        let Some((uuid, request_type)) = glance(command) else {
            let (id, request_type, body) = apple::command::parse(command).map_err(Fault::Command)?;
            self.scratch = phone.obey_at_once(&id.to_string(), &request_type, &body)?;
            return Ok(&self.scratch);
        };
        let key = (request_type.to_owned(), command.len());
        if !self.reports.contains_key(&key) {
            let (id, request_type, body) = apple::command::parse(command).map_err(Fault::Command)?;
            // What changes the phone is obeyed each time.
            if self.reports.len() >= MAX_REPORTS || !is_query(&request_type) {
                self.scratch = phone.obey_at_once(&id.to_string(), &request_type, &body)?;
                return Ok(&self.scratch);
            }
            let written = phone.obey_at_once(SLOT, &request_type, &body)?;
            let at = memmem::find(&written, SLOT.as_bytes())
                .ok_or(Fault::Own("a report has no place for an id"))?;
            self.reports.insert(key.clone(), (written, at));
        }
        let (written, at) = self.reports.get_mut(&key).ok_or(Fault::Own("a report was lost"))?;
        if let Some(slot) = written.get_mut(*at..*at + SLOT.len()) {
            slot.copy_from_slice(uuid.as_bytes());
        }
        Ok(written)
    }
}

/// Read-only, so that one report stands for all.
fn is_query(request_type: &str) -> bool {
    request_type.ends_with("List")
        || request_type.ends_with("Info")
        || request_type == "DeviceInformation"
        || { !may_be_put_off(request_type) && request_type.contains("OSUpdate") }
}

/// A command's id and `RequestType`, found without reading all of an XML property list. None for anything
/// that doesn't look as expected, which is then read properly.
fn glance(command: &[u8]) -> Option<(&str, &str)> {
    let after = |key: &str| {
        let at = memmem::find(command, key.as_bytes())?;
        let rest = command.get(at + key.len()..)?.trim_ascii_start().strip_prefix(b"<string>")?;
        std::str::from_utf8(rest.get(..memchr::memchr(b'<', rest)?)?).ok()
    };
    let uuid = after("<key>CommandUUID</key>").filter(|uuid| uuid.len() == SLOT.len())?;
    Some((uuid, after("<key>RequestType</key>")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::CommandId;
    use order::FreeQuery;

    #[test]
    fn a_report_made_from_a_kept_one_is_the_report_of_its_command() {
        let mut phone = Phone::new(3, 1);
        let mut script = Script::new(&phone).unwrap();
        for query in [FreeQuery::DeviceInformation, FreeQuery::SecurityInfo, FreeQuery::ProfileList] {
            for id in [CommandId([7; 16]), CommandId([9; 16])] {
                let sent = script.report(&mut phone, &query.bytes(id)).unwrap().to_vec();
                let read = plist::Value::from_reader(std::io::Cursor::new(&sent)).unwrap();
                let read = read.as_dictionary().unwrap();
                assert_eq!(read["CommandUUID"].as_string(), Some(id.to_string().as_str()));
                assert_eq!(read["Status"].as_string(), Some("Acknowledged"));
            }
        }
        assert_eq!(script.reports.len(), 3);
    }

    #[test]
    fn a_command_that_is_no_xml_is_read_properly_or_refused() {
        let mut phone = Phone::new(3, 1);
        let mut script = Script::new(&phone).unwrap();
        let xml = FreeQuery::SecurityInfo.bytes(CommandId([7; 16]));
        let value = plist::Value::from_reader(std::io::Cursor::new(&xml)).unwrap();
        let mut binary = Vec::new();
        value.to_writer_binary(&mut binary).unwrap();
        assert!(script.report(&mut phone, &binary).is_ok());
        assert!(matches!(script.report(&mut phone, b"<html>"), Err(Fault::Command(_))));
    }
}
