//! Declarations: a person's set read and judged, the bytes that phones fetch, and what a phone reads.
//!
//! A set is read strictly against [`DECLARATIONS`], every key of every declaration with its type: an
//! unknown type or key is refused. What is sent is written anew from what was read, so that what was judged
//! is what a phone gets. A set is whole in itself: an activation names configurations of the same set, a
//! configuration names assets of the same set.
//!
//! Sources: Apple's schema, `declarative/declarations` and `declarative/protocol`.

mod mild;
mod shape;
mod table;

pub use mild::{judge, mild_declaration_keys, removal_is_mild};
pub use shape::{DeclarationType, Key, Shape};
pub use table::DECLARATIONS;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, UNIX_EPOCH};

use aws_lc_rs::digest;
use model::{DeclarationId, DeclarationKind, Digest, TimeMs};

use crate::Malformed;
use crate::json::{self, Json};
use shape::Misfit;

/// The largest set that is read, in bytes.
pub const MAX_SET_BYTES: usize = 1 << 20;
/// The most declarations of one set, and of one phone.
pub const MAX_DECLARATIONS: usize = 200;

/// One declaration of a set.
#[derive(Clone, PartialEq)]
pub struct Declaration {
    kind: DeclarationKind,
    declared: &'static str,
    supervised: bool,
    identifier: DeclarationId,
    payload: Json,
}

impl std::fmt::Debug for Declaration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Declaration({}, sealed)", self.declared)
    }
}

/// The author of a set is at fault. Names the declaration and the key (printable, bounded), never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{why}", place(.declaration, .key))]
pub struct DeclarationError {
    /// Its identifier, or its number in the list (from 1) when it has none that can be shown.
    pub declaration: String,
    /// The key's path; empty when the whole declaration, or the whole set, is meant.
    pub key: String,
    /// What is the matter.
    pub why: DeclarationWhy,
}

fn place(declaration: &str, key: &str) -> String {
    match (declaration.is_empty(), key.is_empty()) {
        (true, _) => String::new(),
        (false, true) => format!("{declaration}: "),
        (false, false) => format!("{declaration}, {key}: "),
    }
}

/// Why a set is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeclarationWhy {
    /// Not JSON that is read here.
    #[error("{0}")]
    Json(#[from] Malformed),
    /// The set isn't a list of objects.
    #[error("a set is a list of objects with Type, Identifier and Payload")]
    NotASet,
    /// Too many.
    #[error("more than 200 declarations")]
    TooMany,
    /// `ServerToken` is made of the content.
    #[error("ServerToken is made by the vault; leave it out")]
    ServerToken,
    /// A key that a declaration doesn't have.
    #[error("a declaration has Type, Identifier and Payload, and nothing else")]
    ForeignKey,
    /// The identifier.
    #[error("the Identifier must be 1 to 64 letters, digits, dots, hyphens or underscores")]
    BadIdentifier,
    /// Two of one identifier.
    #[error("the identifier stands twice in this set")]
    Twice,
    /// The type isn't in the table.
    #[error("no iPhone knows this Type of declaration")]
    UnknownType,
    /// A key that isn't in the table.
    #[error("the schema knows no such key")]
    UnknownKey,
    /// A key that must be there.
    #[error("the key is missing")]
    MissingKey,
    /// A value of another type.
    #[error("the value has another type than the schema says")]
    WrongType,
    /// A value out of its range.
    #[error("the value is none that the schema allows")]
    OutOfRange,
    /// An activation of something that isn't a configuration of this set.
    #[error("it names a configuration that is not in this set")]
    NoSuchConfiguration,
    /// A reference to something that isn't an asset of this set.
    #[error("it names an asset that is not in this set")]
    NoSuchAsset,
}

/// Reads a set: a JSON array of objects with `Type`, `Identifier` and `Payload`.
///
/// # Errors
/// [`DeclarationError`] names the first thing that can't be used.
pub fn read_set(bytes: &[u8]) -> Result<Vec<Declaration>, DeclarationError> {
    let whole = |why| DeclarationError { declaration: String::new(), key: String::new(), why };
    let set = json::read(bytes, MAX_SET_BYTES).map_err(|e| whole(DeclarationWhy::Json(e)))?;
    let Json::List(items) = set else { return Err(whole(DeclarationWhy::NotASet)) };
    if items.len() > MAX_DECLARATIONS {
        return Err(whole(DeclarationWhy::TooMany));
    }
    let mut out: Vec<Declaration> = Vec::new();
    let mut seen = BTreeSet::new();
    for (n, item) in items.into_iter().enumerate() {
        let declaration = read_one(item, n + 1)?;
        if !seen.insert(declaration.identifier.clone()) {
            return Err(declaration.error("", DeclarationWhy::Twice));
        }
        out.push(declaration);
    }
    check_references(&out)?;
    Ok(out)
}

/// Reads one declaration by itself: what it names elsewhere is not looked for.
///
/// # Errors
/// [`DeclarationError`] names the first thing that can't be used.
pub fn read_alone(content: &Json) -> Result<Declaration, DeclarationError> {
    read_one(content.clone(), 1)
}

fn read_one(item: Json, n: usize) -> Result<Declaration, DeclarationError> {
    let numbered = |key: &str, why| DeclarationError {
        declaration: format!("declaration {n}"),
        key: printable(key),
        why,
    };
    let Json::Object(mut members) = item else { return Err(numbered("", DeclarationWhy::NotASet)) };
    if members.contains_key("ServerToken") {
        return Err(numbered("ServerToken", DeclarationWhy::ServerToken));
    }
    let mut take = |key: &str| members.remove(key).ok_or_else(|| numbered(key, DeclarationWhy::MissingKey));
    let (declared, identifier, payload) = (take("Type")?, take("Identifier")?, take("Payload")?);
    if let Some(foreign) = members.keys().next() {
        return Err(numbered(foreign, DeclarationWhy::ForeignKey));
    }
    let identifier = identifier.as_text().and_then(|t| DeclarationId::new(t).ok());
    let identifier = identifier.ok_or_else(|| numbered("Identifier", DeclarationWhy::BadIdentifier))?;
    let named =
        |key: &str, why| DeclarationError { declaration: identifier.to_string(), key: printable(key), why };
    let row = declared.as_text().and_then(|t| DECLARATIONS.iter().find(|d| d.name == t));
    let row = row.ok_or_else(|| named("Type", DeclarationWhy::UnknownType))?;
    let kind = kind_of(row.name).ok_or_else(|| named("Type", DeclarationWhy::UnknownType))?;
    shape::check(&Shape::Object(row.keys), &payload, "").map_err(|(path, misfit)| {
        let why = match misfit {
            Misfit::UnknownKey => DeclarationWhy::UnknownKey,
            Misfit::Missing => DeclarationWhy::MissingKey,
            Misfit::WrongType => DeclarationWhy::WrongType,
            Misfit::OutOfRange => DeclarationWhy::OutOfRange,
        };
        named(&path, why)
    })?;
    Ok(Declaration { kind, declared: row.name, supervised: row.supervised, identifier, payload })
}

/// The kind that a type's name says.
fn kind_of(declared: &str) -> Option<DeclarationKind> {
    match declared.strip_prefix("com.apple.")?.split('.').next()? {
        "activation" => Some(DeclarationKind::Activation),
        "asset" => Some(DeclarationKind::Asset),
        "configuration" => Some(DeclarationKind::Configuration),
        "management" => Some(DeclarationKind::Management),
        _ => None,
    }
}

fn check_references(set: &[Declaration]) -> Result<(), DeclarationError> {
    let kinds: BTreeMap<&str, DeclarationKind> =
        set.iter().map(|d| (d.identifier.as_str(), d.kind)).collect();
    for declaration in set {
        for configuration in declaration.activates() {
            if kinds.get(configuration) != Some(&DeclarationKind::Configuration) {
                return Err(declaration.error("StandardConfigurations", DeclarationWhy::NoSuchConfiguration));
            }
        }
        let mut references = Vec::new();
        asset_references(&declaration.payload, &mut references);
        for (key, asset) in references {
            if kinds.get(asset) != Some(&DeclarationKind::Asset) {
                return Err(declaration.error(key, DeclarationWhy::NoSuchAsset));
            }
        }
    }
    Ok(())
}

/// Keys that end in `AssetReference` name an asset, those in `AssetReferences` a list of them.
fn asset_references<'a>(value: &'a Json, out: &mut Vec<(&'a str, &'a str)>) {
    match value {
        Json::Object(members) => {
            for (key, member) in members {
                if key.ends_with("AssetReference") {
                    out.extend(member.as_text().map(|t| (key.as_str(), t)));
                } else if key.ends_with("AssetReferences") {
                    let items = member.as_list().unwrap_or_default();
                    out.extend(items.iter().filter_map(|i| Some((key.as_str(), i.as_text()?))));
                } else {
                    asset_references(member, out);
                }
            }
        }
        Json::List(items) => items.iter().for_each(|item| asset_references(item, out)),
        _ => {}
    }
}

/// Identifiers of the configurations that the set's activations put into force.
#[must_use]
pub fn in_force(set: &[Declaration]) -> BTreeSet<&str> {
    set.iter().flat_map(Declaration::activates).collect()
}

impl Declaration {
    /// What it is for.
    #[must_use]
    pub fn kind(&self) -> DeclarationKind {
        self.kind
    }

    /// Its `Type`.
    #[must_use]
    pub fn declared_type(&self) -> &'static str {
        self.declared
    }

    /// Its `Identifier`.
    #[must_use]
    pub fn identifier(&self) -> &DeclarationId {
        &self.identifier
    }

    /// Its `Payload`.
    #[must_use]
    pub fn payload(&self) -> &Json {
        &self.payload
    }

    /// An unsupervised iPhone refuses it.
    #[must_use]
    pub fn needs_supervision(&self) -> bool {
        self.supervised
    }

    fn activates(&self) -> impl Iterator<Item = &str> {
        let list = match self.kind {
            DeclarationKind::Activation => self.payload.get("StandardConfigurations"),
            _ => None,
        };
        list.and_then(Json::as_list).unwrap_or_default().iter().filter_map(Json::as_text)
    }

    fn error(&self, key: &str, why: DeclarationWhy) -> DeclarationError {
        DeclarationError { declaration: self.identifier.to_string(), key: printable(key), why }
    }

    fn members(&self) -> [(&'static str, Json); 3] {
        [
            ("Identifier", Json::Text(self.identifier.to_string())),
            ("Payload", self.payload.clone()),
            ("Type", Json::Text(self.declared.to_owned())),
        ]
    }

    /// Its `ServerToken`: SHA-256 over its whole content, which the phone reads as 64 hexadecimal digits.
    #[must_use]
    pub fn token(&self) -> Digest {
        sha256(Json::object(self.members()).write().as_bytes())
    }

    /// The bytes that a phone fetches at `declaration/<kind>/<identifier>`.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let [identifier, payload, declared] = self.members();
        let token = ("ServerToken", Json::Text(self.token().to_string()));
        Json::object([identifier, payload, token, declared]).write().into_bytes()
    }

    /// Whether it is mild; see [`judge`].
    pub(crate) fn declared(&self) -> (&'static str, &Json) {
        (self.declared, &self.payload)
    }
}

/// The endpoint at which a declaration is fetched.
#[must_use]
pub fn endpoint(kind: DeclarationKind, identifier: &DeclarationId) -> String {
    format!("declaration/{}/{identifier}", kind.name())
}

/// An entry of `declaration-items`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ManifestItem {
    /// What it is for.
    pub kind: DeclarationKind,
    /// Its identifier.
    pub identifier: DeclarationId,
    /// Its `ServerToken`.
    pub token: Digest,
}

/// What `declaration-items` and `tokens` answer for a phone that should hold `items`, which last changed at
/// `changed_at_ms`. In one order, whatever order they come in.
#[must_use]
pub fn manifest(items: &[ManifestItem], changed_at_ms: TimeMs) -> Manifest {
    let mut items: Vec<&ManifestItem> = items.iter().collect();
    items.sort_unstable();
    let of = |kind| {
        let list = items.iter().filter(|i| i.kind == kind).map(|i| {
            Json::object([
                ("Identifier", Json::Text(i.identifier.to_string())),
                ("ServerToken", Json::Text(i.token.to_string())),
            ])
        });
        Json::List(list.collect())
    };
    // All four lists, whether there is something in them or not.
    let declarations = Json::object([
        ("Activations", of(DeclarationKind::Activation)),
        ("Assets", of(DeclarationKind::Asset)),
        ("Configurations", of(DeclarationKind::Configuration)),
        ("Management", of(DeclarationKind::Management)),
    ]);
    let token = Json::Text(sha256(declarations.write().as_bytes()).to_string());
    let at = UNIX_EPOCH + Duration::from_secs(u64::try_from(changed_at_ms / 1000).unwrap_or(0));
    let timestamp = Json::Text(plist::Date::from(at).to_xml_format());
    let sync = Json::object([("DeclarationsToken", token.clone()), ("Timestamp", timestamp)]);
    Manifest {
        items: Json::object([("Declarations", declarations), ("DeclarationsToken", token)])
            .write()
            .into_bytes(),
        tokens: Json::object([("SyncTokens", sync)]).write().into_bytes(),
    }
}

/// The two answers; see [`manifest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// At `declaration-items`.
    pub items: Vec<u8>,
    /// At `tokens`.
    pub tokens: Vec<u8>,
}

/// A name that its author chose, made fit to be shown.
fn printable(name: &str) -> String {
    name.chars().take(128).map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect()
}

fn sha256(bytes: &[u8]) -> Digest {
    let mut out = [0; 32];
    out.iter_mut().zip(digest::digest(&digest::SHA256, bytes).as_ref()).for_each(|(to, from)| *to = *from);
    Digest(out)
}
