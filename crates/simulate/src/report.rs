//! The property lists a phone sends: check-ins and command reports.

use crate::Fault;
use plist::{Dictionary, Value};

/// Writes a property list, as XML or binary.
pub(crate) fn write(dictionary: Dictionary, binary: bool) -> Result<Vec<u8>, Fault> {
    let value = Value::Dictionary(dictionary);
    let mut out = Vec::with_capacity(1024);
    let written = if binary { value.to_writer_binary(&mut out) } else { value.to_writer_xml(&mut out) };
    written.map_err(|_| Fault::Own("a property list couldn't be written"))?;
    Ok(out)
}

/// Builds a dictionary, as literally as Rust allows.
pub(crate) fn dict<const N: usize>(pairs: [(&str, Value); N]) -> Dictionary {
    let mut dictionary = Dictionary::new();
    for (key, value) in pairs {
        dictionary.insert(key.to_owned(), value);
    }
    dictionary
}

/// How a command went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Idle,
    Acknowledged,
    NotNow,
    Error,
    CommandFormatError,
}

impl Status {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Idle => "Idle",
            Self::Acknowledged => "Acknowledged",
            Self::NotNow => "NotNow",
            Self::Error => "Error",
            Self::CommandFormatError => "CommandFormatError",
        }
    }
}

/// A command report.
pub(crate) fn report(
    udid: &str,
    status: Status,
    command_uuid: Option<&str>,
    mut content: Dictionary,
    binary: bool,
) -> Result<Vec<u8>, Fault> {
    content.insert("Status".to_owned(), status.name().into());
    content.insert("UDID".to_owned(), udid.into());
    if let Some(uuid) = command_uuid {
        content.insert("CommandUUID".to_owned(), uuid.into());
    }
    write(content, binary)
}

/// An error chain of one link, in the two languages phones send.
pub(crate) fn error_chain(code: i64, domain: &str, description: &str) -> Value {
    Value::Array(vec![Value::Dictionary(dict([
        ("ErrorCode", code.into()),
        ("ErrorDomain", domain.into()),
        ("LocalizedDescription", description.into()),
        ("USEnglishDescription", description.into()),
    ]))])
}
