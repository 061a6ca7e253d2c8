//! The configuration file as a person keeps it: what is set here is set in place, and every comment, order
//! and other key stays as it was.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

use toml_edit::{DocumentMut, Item, Table, Value};

use crate::Place;
use crate::cli::failure::{Result, failed};
use crate::config::Config;

/// What a new file begins with.
const BEGINNING: &str = "\
# Matron's configuration. Every key, with its default: 'matron config show', docs/configuration.md.
# After a change: 'matron config check', then restart Matron.

";

/// A key that was set.
pub(super) struct Changed {
    pub(super) key: &'static str,
    pub(super) before: Option<String>,
    pub(super) now: String,
}

pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) is_new: bool,
    document: DocumentMut,
    pub(super) changed: Vec<Changed>,
}

impl File {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let path = std::path::absolute(path).map_err(failed)?;
        let (text, is_new) = match std::fs::read_to_string(&path) {
            Ok(text) => (text, false),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => (String::new(), true),
            Err(e) => return Err(failed(format!("{}: {e}", path.display()))),
        };
        let document = text.parse().map_err(|e| {
            failed(format!("{}: {e}\nCorrect it by hand; nothing was changed", path.display()))
        })?;
        Ok(Self { path, is_new, document, changed: Vec::new() })
    }

    /// The text at a key such as `phones.tls_key`.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        let item = match key.split_once('.') {
            Some((section, key)) => self.document.get(section)?.as_table_like()?.get(key)?,
            None => self.document.get(key)?,
        };
        match item.as_value()? {
            Value::String(s) => Some(s.value().clone()),
            other => Some(other.to_string().trim().to_owned()),
        }
    }

    /// Sets a key, unless it has this value. The comment behind a value stays.
    pub(super) fn set(&mut self, key: &'static str, value: impl Into<Value>) -> Result<()> {
        let mut value: Value = value.into();
        let now = match &value {
            Value::String(s) => s.value().clone(),
            other => other.to_string().trim().to_owned(),
        };
        let before = self.text(key);
        if before.as_ref() == Some(&now) {
            return Ok(());
        }
        let (table, name): (&mut dyn toml_edit::TableLike, &str) = match key.split_once('.') {
            None => (self.document.as_table_mut(), key),
            Some((section, name)) => {
                let item = self.document.entry(section).or_insert_with(|| Item::Table(Table::new()));
                let is = format!("{}: '{section}' is not a section there", self.path.display());
                (item.as_table_like_mut().ok_or_else(|| failed(is))?, name)
            }
        };
        match table.get_mut(name).and_then(Item::as_value_mut) {
            Some(old) => {
                *value.decor_mut() = old.decor().clone();
                *old = value;
            }
            None => {
                table.insert(name, Item::Value(value));
            }
        }
        self.changed.push(Changed { key, before, now });
        Ok(())
    }

    /// Takes a key of a section out, where it is.
    pub(super) fn remove(&mut self, key: &str) {
        let Some((section, name)) = key.split_once('.') else { return };
        if let Some(table) = self.document.get_mut(section).and_then(Item::as_table_like_mut) {
            table.remove(name);
        }
    }

    /// Writes the file whole or not at all, once Matron would start with it.
    pub(super) fn write(&self, place: &Place) -> Result<()> {
        let told = |e: std::io::Error| failed(format!("{}: {e}", self.path.display()));
        let dir = self.path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(dir).map_err(told)?;
        let unfinished = dir.join(format!(".matron-setup.{}.toml", std::process::id()));
        let before = std::fs::metadata(&self.path).ok();
        let mode = before.as_ref().map_or(0o644, |m| m.mode() & 0o777);
        let _ = std::fs::remove_file(&unfinished);
        let written = (|| {
            let mut file = std::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(mode)
                .open(&unfinished)
                .map_err(told)?;
            let heading = if self.is_new { BEGINNING } else { "" };
            file.write_all(format!("{heading}{}", self.document).as_bytes())
                .and_then(|()| file.sync_all())
                .map_err(told)?;
            if let Some(m) = &before {
                chown(&unfinished, Some(m.uid()), Some(m.gid())).map_err(told)?;
            }
            let tried = Place { config: Some(unfinished.clone()), ..place.clone() };
            Config::read(&tried)
                .map_err(|e| failed(format!("nothing was written to {}: {e:#}", self.path.display())))?;
            std::fs::rename(&unfinished, &self.path).map_err(told)?;
            std::fs::File::open(dir).and_then(|d| d.sync_all()).map_err(told)
        })();
        if written.is_err() {
            let _ = std::fs::remove_file(&unfinished);
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(dir: &Path) -> Place {
        Place { data: dir.join("data"), config: None, set: vec![] }
    }

    #[test]
    fn what_a_person_wrote_stays_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("matron.toml");
        let text = "# ours, by Ada\nbase_url = \"https://localhost\" # for now\n\n[phones]\nconnections = 700   # asked Grace\n# tls_key = \"x\"\n\n[log]\njson = true\n";
        std::fs::write(&path, text).unwrap();
        let mut file = File::read(&path).unwrap();
        file.set("base_url", "https://mdm.example.org").unwrap();
        file.set("organization", "Example Hospital").unwrap();
        file.set("phones.listen", "0.0.0.0:443").unwrap();
        file.set("push.topic", "com.apple.mgmt.External.made-up").unwrap();
        file.write(&place(dir.path())).unwrap();
        insta::assert_snapshot!(std::fs::read_to_string(&path).unwrap());
        let mut again = File::read(&path).unwrap();
        again.set("base_url", "https://mdm.example.org").unwrap();
        assert!(again.changed.is_empty(), "set again, nothing changes");
    }

    #[test]
    fn a_new_file_begins_with_its_heading() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("matron.toml");
        let mut file = File::read(&path).unwrap();
        file.set("phones.listen", "0.0.0.0:443").unwrap();
        file.set("base_url", "https://mdm.example.org").unwrap();
        file.set("phones.tls_own", true).unwrap();
        file.remove("phones.tls_own");
        file.write(&place(dir.path())).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let rest = text.strip_prefix(BEGINNING).expect("the heading");
        assert_eq!(rest, "base_url = \"https://mdm.example.org\"\n\n[phones]\nlisten = \"0.0.0.0:443\"\n");
        let mut again = File::read(&path).unwrap();
        again.set("organization", "Example Hospital").unwrap();
        again.write(&place(dir.path())).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().matches("# Matron's configuration").count(), 1);
    }

    #[test]
    fn a_file_that_matron_would_not_start_with_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("matron.toml");
        std::fs::write(&path, "lisen = 1\n").unwrap();
        let mut file = File::read(&path).unwrap();
        file.set("organization", "Example Hospital").unwrap();
        let told = file.write(&place(dir.path())).unwrap_err().to_string();
        assert!(told.contains("lisen") && told.contains("nothing was written"), "{told}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "lisen = 1\n");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        std::fs::write(&path, "[[[").unwrap();
        assert!(File::read(&path).is_err());
    }
}
