//! Apple's device-management schema (YAML), read for tests where it lies beside the checkout.
#![allow(dead_code)] // each test file uses a part
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test may fail

use plist::{Dictionary, Value};
use std::path::PathBuf;
use yaml_rust2::{Yaml, YamlLoader};

/// One key of the schema.
#[derive(Debug, Clone)]
pub struct Key {
    pub name: String,
    pub kind: String,
    pub required: bool,
    pub allowed: Vec<String>,
    pub range: Option<(i64, i64)>,
    /// `supportedOS.iOS.supervised`.
    pub supervised: bool,
    pub subkeys: Vec<Key>,
}

/// The document `mdm/<path>.yaml`, or `None` (said loudly) when the schema isn't there.
pub fn load(path: &str) -> Option<Yaml> {
    let root =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/apple-device-management/mdm");
    if !root.is_dir() {
        skipped::not_possible(&format!(
            "Apple's schema is not at {}; {path} was not checked",
            root.display()
        ));
        return None;
    }
    let text = std::fs::read_to_string(root.join(format!("{path}.yaml"))).expect(path);
    Some(YamlLoader::load_from_str(&text).expect(path).remove(0))
}

/// The names of the documents in `mdm/<folder>`, or `None` when the schema isn't there.
pub fn files(folder: &str) -> Option<Vec<String>> {
    let root =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/apple-device-management/mdm");
    let Ok(dir) = std::fs::read_dir(root.join(folder)) else {
        skipped::not_possible(&format!(
            "Apple's schema is not at {}; {folder} was not checked",
            root.display()
        ));
        return None;
    };
    let name = |f: std::fs::DirEntry| Some(f.file_name().to_str()?.strip_suffix(".yaml")?.to_owned());
    let mut names: Vec<String> = dir.flatten().filter_map(name).collect();
    names.sort();
    Some(names)
}

pub fn keys(doc: &Yaml, name: &str) -> Vec<Key> {
    doc[name].as_vec().map(|keys| keys.iter().map(key).collect()).unwrap_or_default()
}

fn key(doc: &Yaml) -> Key {
    let scalar = |y: &Yaml| match y {
        Yaml::Integer(i) => i.to_string(),
        Yaml::Real(s) | Yaml::String(s) => s.clone(),
        Yaml::Boolean(b) => b.to_string(),
        other => panic!("{other:?}"),
    };
    let range = &doc["range"];
    Key {
        name: scalar(&doc["key"]),
        kind: doc["type"].as_str().unwrap_or("<any>").to_owned(),
        required: doc["presence"].as_str() == Some("required"),
        allowed: doc["rangelist"].as_vec().map(|l| l.iter().map(scalar).collect()).unwrap_or_default(),
        range: range["min"].as_i64().zip(range["max"].as_i64()),
        supervised: doc["supportedOS"]["iOS"]["supervised"].as_bool() == Some(true),
        subkeys: keys(doc, "subkeys"),
    }
}

/// Panics unless `dictionary` is what `keys` say: all required ones, no unknown ones, each of its type.
pub fn check(at: &str, dictionary: &Dictionary, keys: &[Key]) {
    for key in keys.iter().filter(|k| k.required && !k.name.starts_with("ANY")) {
        assert!(dictionary.contains_key(&key.name), "{at}: {} is missing", key.name);
    }
    for (name, value) in dictionary {
        let key = keys.iter().find(|k| k.name == *name || k.name.starts_with("ANY"));
        let key = key.unwrap_or_else(|| panic!("{at}: {name} is not in the schema"));
        check_value(&format!("{at}.{name}"), value, key);
    }
}

fn check_value(at: &str, value: &Value, key: &Key) {
    let kind = match value {
        Value::String(_) => "<string>",
        Value::Data(_) => "<data>",
        Value::Integer(_) => "<integer>",
        Value::Real(_) => "<real>",
        Value::Boolean(_) => "<boolean>",
        Value::Date(_) => "<date>",
        Value::Array(_) => "<array>",
        Value::Dictionary(_) => "<dictionary>",
        other => panic!("{at}: {other:?}"),
    };
    assert!(key.kind == kind || key.kind == "<any>", "{at} is {kind}, the schema says {}", key.kind);
    let text = match value {
        Value::String(s) => Some(s.clone()),
        Value::Integer(i) => Some(i.to_string()),
        _ => None,
    };
    if let (Some(text), false) = (&text, key.allowed.is_empty()) {
        assert!(key.allowed.contains(text), "{at}: {text} is not one of {:?}", key.allowed);
    }
    if let (Value::Integer(i), Some((min, max))) = (value, key.range) {
        assert!((min..=max).contains(&i.as_signed().unwrap()), "{at}: {i} is outside of {min}..={max}");
    }
    match value {
        Value::Dictionary(d) if !key.subkeys.is_empty() => check(at, d, &key.subkeys),
        Value::Array(items) if key.subkeys.len() == 1 => {
            items.iter().for_each(|item| check_value(at, item, &key.subkeys[0]));
        }
        _ => {}
    }
}
