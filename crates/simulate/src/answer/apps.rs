//! Apps by command: taken at once, there a while later, as on a phone.

use super::lists::asked;
use super::{Life, Own, Reply, code};
use crate::report::{dict, write};
use apple::plist_guard;
use plist::{Dictionary, Value};

/// How many apps a phone takes by command.
const MAX_ORDERED: usize = 128;
/// The largest settings of an app that are kept.
const MAX_CONFIGURATION_BYTES: usize = 64 << 10;

/// An app that a command installed, or took away.
#[derive(Debug, Clone, Default, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub(crate) struct Ordered {
    #[n(0)]
    pub(crate) identifier: String,
    /// How often the phone still says that it is installing.
    #[n(1)]
    pub(crate) installing: u8,
    #[n(2)]
    pub(crate) removed: bool,
    /// A property list, as the app was given it.
    #[n(3)]
    #[cbor(with = "minicbor::bytes")]
    pub(crate) configuration: Option<Vec<u8>>,
    /// The same of its attributes.
    #[n(4)]
    #[cbor(with = "minicbor::bytes")]
    pub(crate) attributes: Option<Vec<u8>>,
}

fn named<'a>(life: &'a mut Life, identifier: &str) -> Option<&'a mut Ordered> {
    if let Some(at) = life.apps.iter().position(|a| a.identifier == identifier) {
        return life.apps.get_mut(at);
    }
    if life.apps.len() >= MAX_ORDERED {
        return None;
    }
    life.apps.push(Ordered { identifier: identifier.to_owned(), ..Ordered::default() });
    life.apps.last_mut()
}

fn written(value: Option<&Value>) -> Option<Vec<u8>> {
    let value = value?.as_dictionary()?.clone();
    write(value, false).ok().filter(|bytes| bytes.len() <= MAX_CONFIGURATION_BYTES)
}

fn read(bytes: Option<&Vec<u8>>) -> Option<Value> {
    plist_guard::parse(bytes?, MAX_CONFIGURATION_BYTES).ok()
}

/// Takes the command; the app is there two lists later. Who reads a manifest learns the identifier from it;
/// here the file is called after it.
pub(super) fn install(life: &mut Life, command: &Dictionary) -> Reply {
    let identifier = match (
        command.get("ManifestURL").and_then(Value::as_string),
        command.get("iTunesStoreID").and_then(Value::as_signed_integer),
    ) {
        (Some(url), _) => {
            let file = url.rsplit('/').next().unwrap_or_default();
            file.strip_suffix(".plist").unwrap_or(file).to_owned()
        }
        (None, Some(id)) => format!("test.store.app{id}"),
        (None, None) => return Reply::malformed("Neither ManifestURL nor iTunesStoreID is there."),
    };
    if !model::is_app_identifier(&identifier) {
        return Reply::error(code::MALFORMED_REQUEST, "The manifest can't be read.");
    }
    let configuration = written(command.get("Configuration"));
    let Some(app) = named(life, &identifier) else {
        return Reply::error(code::NOT_AUTHORIZED, "There are too many apps.");
    };
    *app = Ordered { identifier: identifier.clone(), installing: 1, configuration, ..Ordered::default() };
    Reply::done(dict([("Identifier", identifier.into()), ("State", "Queued".into())]))
}

pub(super) fn remove(own: &Own<'_>, life: &mut Life, command: &Dictionary) -> Reply {
    let Some(identifier) = command.get("Identifier").and_then(Value::as_string) else {
        return Reply::malformed("Identifier is missing.");
    };
    let there = own.handset.apps.iter().any(|a| a.managed && a.identifier == identifier)
        || life.apps.iter().any(|a| a.identifier == identifier && !a.removed);
    match named(life, identifier).filter(|_| there) {
        Some(app) => {
            *app = Ordered { identifier: identifier.to_owned(), removed: true, ..Ordered::default() };
            Reply::done(dict([("Identifier", identifier.into())]))
        }
        None => Reply::error(code::NOT_AUTHORIZED, "The app isn’t managed."),
    }
}

fn item(status: &str, has_configuration: bool, version: u64) -> Value {
    Value::Dictionary(dict([
        ("Status", status.into()),
        ("ManagementFlags", 1i64.into()),
        ("UnusedRedemptionCode", "".into()),
        ("HasConfiguration", has_configuration.into()),
        ("HasFeedback", false.into()),
        ("IsValidated", true.into()),
        ("ExternalVersionIdentifier", version.into()),
    ]))
}

pub(super) fn list(own: &Own<'_>, life: &mut Life, command: &Dictionary) -> Reply {
    let mut list = Dictionary::new();
    for app in own.handset.apps.iter().filter(|app| app.managed && asked(command, app)) {
        list.insert(app.identifier.to_owned(), item("Managed", false, app.size_bytes % 900_000_000));
    }
    for app in &mut life.apps {
        if app.removed {
            list.remove(&app.identifier);
            continue;
        }
        let status = match app.installing.checked_sub(1) {
            Some(left) => {
                app.installing = left;
                "Installing"
            }
            None if app.identifier.ends_with(".broken") => "Failed",
            None => "Managed",
        };
        list.insert(app.identifier.clone(), item(status, app.configuration.is_some(), 1));
    }
    Reply::done(dict([("ManagedApplicationList", Value::Dictionary(list))]))
}

/// One item an app that was asked for and is there.
fn each(
    life: &Life,
    command: &Dictionary,
    key: &str,
    inner: &str,
    of: impl Fn(&Ordered) -> Option<Value>,
) -> Reply {
    let Some(asked) = command.get("Identifiers").and_then(Value::as_array) else {
        return Reply::malformed("Identifiers is missing.");
    };
    let there = life.apps.iter().filter(|a| !a.removed);
    let items = there.filter(|a| asked.iter().any(|id| id.as_string() == Some(a.identifier.as_str())));
    let items = items.map(|app| {
        let mut item = dict([("Identifier", app.identifier.as_str().into())]);
        if let Some(value) = of(app) {
            item.insert(inner.to_owned(), value);
        }
        Value::Dictionary(item)
    });
    Reply::list(key, items.collect())
}

pub(super) fn configurations(life: &Life, command: &Dictionary) -> Reply {
    each(life, command, "ApplicationConfigurations", "Configuration", |a| read(a.configuration.as_ref()))
}

pub(super) fn attributes(life: &Life, command: &Dictionary) -> Reply {
    each(life, command, "ApplicationAttributes", "Attributes", |a| read(a.attributes.as_ref()))
}

pub(super) fn feedback(life: &Life, command: &Dictionary) -> Reply {
    each(life, command, "ManagedApplicationFeedback", "Feedback", |a| {
        Some(Value::Dictionary(dict([("LastAlarmOf", a.identifier.as_str().into())])))
    })
}

/// Settings `ApplicationConfiguration` and `ApplicationAttributes`; without a value, what was set goes.
pub(super) fn set(life: &mut Life, name: &str, identifier: &str, item: &Dictionary) -> Result<(), ()> {
    let app = named(life, identifier).ok_or(())?;
    if name == "ApplicationConfiguration" {
        app.configuration = written(item.get("Configuration"));
    } else {
        app.attributes = written(item.get("Attributes"));
    }
    Ok(())
}
