//! Declarative management as a phone does it: it asks for the tokens, fetches what changed, drops what is
//! gone, puts activated configurations into force, and reports.
//!
//! Sources: Apple's schema, `declarative/protocol/*.yaml` and `declarative/status/*.yaml`.

use std::collections::BTreeMap;

use apple::declaration::DECLARATIONS;
use apple::json::{self, Json};
use plist::Value;

use crate::handset::Handset;
use crate::http::Connection;
use crate::phone::Phone;
use crate::{Failure, Fault, Step};

/// The largest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// A declaration on a phone.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub(crate) struct Held {
    /// `activation`, `asset`, `configuration`, `management`.
    #[n(0)]
    pub(crate) kind: String,
    #[n(1)]
    pub(crate) identifier: String,
    #[n(2)]
    pub(crate) token: String,
    /// The JSON as it was fetched.
    #[n(3)]
    pub(crate) body: String,
    #[n(4)]
    pub(crate) active: bool,
    /// Apple's code, when the phone can't use it.
    #[n(5)]
    pub(crate) invalid: Option<String>,
}

/// What declarative management knows on a phone.
#[derive(Debug, Clone, Default, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub(crate) struct Declared {
    /// It was switched on.
    #[n(0)]
    pub(crate) on: bool,
    /// It is to look for new declarations.
    #[n(1)]
    pub(crate) due: bool,
    /// The `DeclarationsToken` of what it holds.
    #[n(2)]
    pub(crate) token: String,
    #[n(3)]
    pub(crate) held: Vec<Held>,
    /// How far a software update is: the index in [`UPDATE_STATES`].
    #[n(4)]
    pub(crate) update: u8,
}

/// `softwareupdate.install-state`, as an update goes on.
const UPDATE_STATES: [&str; 3] = ["none", "downloading", "prepared"];

const LISTS: [(&str, &str); 4] = [
    ("Activations", "activation"),
    ("Assets", "asset"),
    ("Configurations", "configuration"),
    ("Management", "management"),
];

impl Held {
    fn content(&self) -> Json {
        json::read(self.body.as_bytes(), MAX_ANSWER_BYTES).unwrap_or(Json::Null)
    }

    fn declared_type(&self) -> String {
        self.content().get("Type").and_then(Json::as_text).unwrap_or_default().to_owned()
    }
}

impl Declared {
    /// Judges and activates anew, as a phone does after a change.
    fn settle(&mut self, handset: &Handset) {
        let mut activated: Vec<String> = Vec::new();
        for held in &mut self.held {
            let content = held.content();
            let declared = held.declared_type();
            let row = DECLARATIONS.iter().find(|d| d.name == declared);
            let is_update = declared == UPDATE;
            held.invalid = match row {
                None => Some("Error.ConfigurationNotSupported".into()),
                Some(row) if row.supervised && !handset.supervised => {
                    Some("Error.ConfigurationNotSupported".into())
                }
                // Apple's schema: introduced with 17.0.
                Some(_) if is_update && handset.os_major < 17 => {
                    Some("Error.ConfigurationNotSupported".into())
                }
                Some(_) => None,
            };
            held.active = held.kind != "configuration" && held.invalid.is_none();
            if held.kind == "activation" {
                let list = content.get("Payload").and_then(|p| p.get("StandardConfigurations"));
                let list = list.and_then(Json::as_list).unwrap_or_default();
                activated.extend(list.iter().filter_map(Json::as_text).map(str::to_owned));
            }
        }
        for held in self.held.iter_mut().filter(|h| h.kind == "configuration") {
            held.active = held.invalid.is_none() && activated.contains(&held.identifier);
        }
    }

    fn in_force<'a>(&'a self, declared: &'a str) -> impl Iterator<Item = Json> + 'a {
        let of_type = self.held.iter().filter(move |h| h.active && h.declared_type() == declared);
        of_type.filter_map(|h| h.content().get("Payload").cloned())
    }

    fn subscribed(&self) -> Vec<String> {
        let mut names = Vec::new();
        for payload in self.in_force("com.apple.configuration.management.status-subscriptions") {
            let items = payload.get("StatusItems").and_then(Json::as_list).unwrap_or_default().to_vec();
            names.extend(items.iter().filter_map(|i| i.get("Name")?.as_text().map(str::to_owned)));
        }
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The version that it should update to, if it is not there already.
    fn update_wanted(&self, handset: &Handset) -> Option<(String, String)> {
        let payload = self.in_force(UPDATE).next()?;
        let text = |key: &str| payload.get(key).and_then(Json::as_text).unwrap_or_default().to_owned();
        let (version, build) = (text("TargetOSVersion"), text("TargetBuildVersion"));
        (version != handset.os_version).then_some((version, build))
    }
}

const UPDATE: &str = "com.apple.configuration.softwareupdate.enforcement.specific";

/// Puts `value` at a path of keys.
fn put(items: &mut Json, path: &str, value: Json) {
    let Json::Object(members) = items else { return };
    match path.split_once('.') {
        None => {
            members.insert(path.to_owned(), value);
        }
        Some((first, rest)) => {
            let inner = members.entry(first.to_owned()).or_insert_with(|| Json::Object(BTreeMap::new()));
            put(inner, rest, value);
        }
    }
}

fn text(value: &str) -> Json {
    Json::Text(value.to_owned())
}

/// The status report.
fn report(declared: &Declared, handset: &Handset, passcode: bool, full: bool) -> String {
    let mut items = Json::Object(BTreeMap::new());
    let mut errors = Vec::new();
    let wanted = declared.update_wanted(handset);
    let stage = if wanted.is_some() { usize::from(declared.update) } else { 0 };
    let (version, build) = wanted.clone().unwrap_or_default();
    for name in declared.subscribed() {
        let value = match name.as_str() {
            "device.operating-system.version" => text(handset.os_version),
            "device.operating-system.build-version" => text(handset.build_version),
            "device.operating-system.family" => text("iOS"),
            "device.model.identifier" => text(handset.product_name),
            "device.model.family" => text("iPhone"),
            "device.model.number" => text(&handset.model),
            "device.identifier.serial-number" => text(&handset.serial),
            "device.identifier.udid" => text(&handset.udid),
            "passcode.is-present" | "passcode.is-compliant" => Json::Truth(passcode),
            "softwareupdate.install-state" => text(UPDATE_STATES.get(stage).copied().unwrap_or("none")),
            "softwareupdate.pending-version" => {
                Json::object([("build-version", text(&build)), ("os-version", text(&version))])
            }
            "softwareupdate.failure-reason" => Json::object([("count", Json::Whole(0))]),
            "softwareupdate.install-reason" => {
                let reasons = if stage > 0 { vec![text("declaration")] } else { Vec::new() };
                Json::object([("reason", Json::List(reasons))])
            }
            "mdm.app" => {
                let managed = handset.apps.iter().filter(|a| a.managed).map(|a| {
                    Json::object([
                        ("identifier", text(a.identifier)),
                        ("name", text(a.name)),
                        ("short-version", text(&a.short_version)),
                        ("state", text("managed")),
                        ("version", text(&a.version)),
                    ])
                });
                Json::List(managed.collect())
            }
            _ => {
                let reason = Json::object([("Code", text("Error.StatusItemNotSupported"))]);
                let reasons = Json::List(vec![reason]);
                errors.push(Json::object([("Reasons", reasons), ("StatusItem", text(&name))]));
                continue;
            }
        };
        put(&mut items, &name, value);
    }
    if full {
        put(&mut items, "management.declarations", states(declared));
    }
    Json::object([("Errors", Json::List(errors)), ("FullReport", Json::Truth(full)), ("StatusItems", items)])
        .write()
}

fn states(declared: &Declared) -> Json {
    let of = |kind: &str| {
        let list = declared.held.iter().filter(|h| h.kind == kind).map(|h| {
            let mut state = Json::object([
                ("active", Json::Truth(h.active)),
                ("identifier", text(&h.identifier)),
                ("server-token", text(&h.token)),
                ("valid", text(if h.invalid.is_some() { "invalid" } else { "valid" })),
            ]);
            if let Some(code) = &h.invalid {
                put(&mut state, "reasons", Json::List(vec![Json::object([("code", text(code))])]));
            }
            state
        });
        Json::List(list.collect())
    };
    Json::object([
        ("activations", of("activation")),
        ("assets", of("asset")),
        ("configurations", of("configuration")),
        ("management", of("management")),
    ])
}

impl Phone {
    /// Identifiers of the declarations on it, and whether each is in force.
    pub fn declarations(&self) -> impl Iterator<Item = (&str, bool)> {
        self.life.declared.held.iter().map(|h| (h.identifier.as_str(), h.active))
    }

    /// Looks for new declarations and reports, or reports that an update went on.
    pub(crate) async fn sync_declarations(&mut self, connection: &mut Connection) -> Result<(), Failure> {
        let handset = self.handset();
        if !self.life.declared.due {
            let moves = self.life.declared.update_wanted(&handset).is_some();
            if moves && usize::from(self.life.declared.update) + 1 < UPDATE_STATES.len() {
                self.life.declared.update += 1;
                return self.report_status(connection, &handset, false).await;
            }
            return Ok(());
        }
        let tokens = self.fetch(connection, "tokens").await?.ok_or(Fault::Status(404).at(STEP))?;
        let token = tokens.get("SyncTokens").and_then(|t| t.get("DeclarationsToken")).and_then(Json::as_text);
        let token = token.ok_or(NOT_DECLARED.at(STEP))?.to_owned();
        if token != self.life.declared.token {
            self.fetch_changes(connection).await?;
            self.life.declared.settle(&handset);
            self.life.declared.token = token;
        }
        self.life.declared.update = u8::from(self.life.declared.update_wanted(&handset).is_some());
        self.life.declared.due = false;
        self.report_status(connection, &handset, true).await
    }

    async fn fetch_changes(&mut self, connection: &mut Connection) -> Result<(), Failure> {
        let items = self.fetch(connection, "declaration-items").await?.ok_or(Fault::Status(404).at(STEP))?;
        let lists = items.get("Declarations").ok_or(NOT_DECLARED.at(STEP))?;
        let mut held = Vec::new();
        for (list, kind) in LISTS {
            let list = lists.get(list).and_then(Json::as_list).ok_or(NOT_DECLARED.at(STEP))?;
            for item in list {
                let part = |key: &str| item.get(key).and_then(Json::as_text).map(str::to_owned);
                let (Some(identifier), Some(token)) = (part("Identifier"), part("ServerToken")) else {
                    return Err(NOT_DECLARED.at(STEP));
                };
                let known = self.life.declared.held.iter();
                let mut known = known.filter(|h| h.kind == kind && h.identifier == identifier);
                if let Some(same) = known.find(|h| h.token == token) {
                    held.push(same.clone());
                    continue;
                }
                let endpoint = format!("declaration/{kind}/{identifier}");
                // 404: it was taken away in the meantime.
                let Some(content) = self.fetch(connection, &endpoint).await? else { continue };
                let is = |key: &str, value: &str| content.get(key).and_then(Json::as_text) == Some(value);
                if !is("Identifier", &identifier) || !is("ServerToken", &token) {
                    return Err(NOT_DECLARED.at(STEP));
                }
                held.push(Held {
                    kind: kind.to_owned(),
                    identifier,
                    token,
                    body: content.write(),
                    active: false,
                    invalid: None,
                });
            }
        }
        // What the manifest no longer names is gone.
        self.life.declared.held = held;
        Ok(())
    }

    /// Whether the server has a declaration at `declaration/KIND/IDENTIFIER` for this phone: 200, or 404.
    ///
    /// # Errors
    /// [`Failure`] for any other answer.
    pub async fn finds(&mut self, connection: &mut Connection, endpoint: &str) -> Result<bool, Failure> {
        Ok(self.fetch(connection, endpoint).await?.is_some())
    }

    /// Asks at an endpoint; `None` on a 404.
    async fn fetch(&mut self, connection: &mut Connection, endpoint: &str) -> Result<Option<Json>, Failure> {
        let mut message = self.check_in_message("DeclarativeManagement", &self.handset());
        message.remove("Topic");
        message.insert("Endpoint".to_owned(), endpoint.into());
        let answer = self.ask(connection, message, STEP).await?;
        match answer.status {
            200 => match json::read(&answer.body, MAX_ANSWER_BYTES) {
                Ok(content) => Ok(Some(content)),
                Err(_) => Err(NOT_DECLARED.at(STEP)),
            },
            404 => Ok(None),
            status => Err(Fault::Status(status).at(STEP)),
        }
    }

    async fn report_status(
        &mut self,
        connection: &mut Connection,
        handset: &Handset,
        full: bool,
    ) -> Result<(), Failure> {
        let report = report(&self.life.declared, handset, self.life.passcode, full);
        let mut message = self.check_in_message("DeclarativeManagement", handset);
        message.remove("Topic");
        message.insert("Endpoint".to_owned(), "status".into());
        message.insert("Data".to_owned(), Value::Data(report.into_bytes()));
        self.check_in(connection, message, STEP).await
    }
}

const STEP: Step = Step::Conversation;
const NOT_DECLARED: Fault = Fault::Http("an answer of declarative management is not what it should be");

#[cfg(test)]
mod tests {
    use super::*;

    fn held(kind: &str, declared: &str, identifier: &str, payload: &str) -> Held {
        Held {
            kind: kind.into(),
            identifier: identifier.into(),
            token: "01".repeat(32),
            body: format!(r#"{{"Identifier":"{identifier}","Payload":{payload},"Type":"{declared}"}}"#),
            active: false,
            invalid: None,
        }
    }

    fn some() -> Declared {
        let subscriptions = r#"{"StatusItems":[{"Name":"device.operating-system.version"},{"Name":"mdm.app"},
            {"Name":"softwareupdate.install-state"},{"Name":"passcode.is-compliant"},{"Name":"unheard.of"}]}"#;
        let update = r#"{"TargetOSVersion":"99.1","TargetLocalDateTime":"2027-01-01T00:00:00"}"#;
        Declared {
            on: true,
            held: vec![
                held(
                    "activation",
                    "com.apple.activation.simple",
                    "on",
                    r#"{"StandardConfigurations":["s","u"]}"#,
                ),
                held(
                    "configuration",
                    "com.apple.configuration.management.status-subscriptions",
                    "s",
                    subscriptions,
                ),
                held("configuration", UPDATE, "u", update),
                held("configuration", "com.apple.configuration.math.settings", "m", "{}"),
                held("configuration", "com.apple.configuration.unheard.of", "x", "{}"),
            ],
            update: 1,
            ..Declared::default()
        }
    }

    #[test]
    fn what_an_activation_names_is_in_force_and_what_the_phone_can_not_use_is_invalid() {
        let new = (0..).map(|i| Handset::of(5, i)).find(|h| h.os_major == 18 && !h.supervised).unwrap();
        let old = (0..).map(|i| Handset::of(5, i)).find(|h| h.os_major == 16).unwrap();
        for (handset, update_works) in [(new, true), (old, false)] {
            let mut declared = some();
            declared.settle(&handset);
            let active: Vec<_> =
                declared.held.iter().filter(|h| h.active).map(|h| h.identifier.as_str()).collect();
            assert_eq!(active.contains(&"u"), update_works);
            assert!(active.contains(&"on") && active.contains(&"s") && !active.contains(&"m"));
            assert!(declared.held[4].invalid.is_some());
        }
    }

    #[test]
    fn the_reader_takes_every_phones_status_report_and_finds_in_it_what_the_phone_is() {
        for index in 0..60 {
            let handset = Handset::of(5, index);
            let mut declared = some();
            declared.settle(&handset);
            let report = apple::status::parse(report(&declared, &handset, true, true).as_bytes()).unwrap();
            let version = report.fields.iter().find(|f| f.name == "device.operating-system.version").unwrap();
            assert_eq!(version.value.as_text(), Some(handset.os_version));
            assert_eq!(report.declarations.as_ref().map(Vec::len), Some(5));
            assert_eq!(report.errors[0].item, "unheard.of");
            let apps = handset.apps.iter().filter(|a| a.managed).count();
            assert_eq!(report.elements.len(), apps);
        }
    }
}
