//! To whom a backup is encrypted, and who opens it.

use std::io::BufReader;
use std::path::Path;

use crate::BackupError;

/// Public keys, X25519 as age writes them (`age1…`).
#[derive(Debug, Clone)]
pub struct Recipients(Vec<age::x25519::Recipient>);

impl Recipients {
    /// Reads them as the configuration has them.
    ///
    /// # Errors
    /// [`BackupError::Recipient`] names the one that is none, [`BackupError::NoRecipients`].
    pub fn parse<S: AsRef<str>>(given: &[S]) -> Result<Self, BackupError> {
        if given.is_empty() {
            return Err(BackupError::NoRecipients);
        }
        let one = |s: &S| {
            let text = s.as_ref().trim();
            // Someone may have given the secret half; it must not be repeated into a log.
            let given = if text.starts_with("age1") { text.to_owned() } else { "(not shown)".to_owned() };
            text.parse().map_err(|_| BackupError::Recipient { given })
        };
        Ok(Self(given.iter().map(one).collect::<Result<_, _>>()?))
    }

    pub(crate) fn encryptor(&self) -> Result<age::Encryptor, BackupError> {
        let recipients = self.0.iter().map(|r| r as &dyn age::Recipient);
        // Of recipients of one kind the only mistake there can be is that there is none.
        age::Encryptor::with_recipients(recipients).map_err(|_| BackupError::NoRecipients)
    }
}

/// Secret keys, as `age-keygen` writes them into a file.
pub struct Identities(pub(crate) Vec<Box<dyn age::Identity + Send + Sync>>);

impl Identities {
    /// Reads the file.
    ///
    /// # Errors
    /// [`BackupError::Identity`] when it can't be read or holds none.
    pub fn read(path: &Path) -> Result<Self, BackupError> {
        let wrong = |why: String| BackupError::Identity { path: path.to_owned(), why };
        let file = std::fs::File::open(path).map_err(|e| wrong(e.to_string()))?;
        let file = age::IdentityFile::from_buffer(BufReader::new(file)).map_err(|_| {
            wrong("it is not as 'age-keygen' writes one (for a file with a passphrase: decrypt it first with 'age -d')".into())
        })?;
        let identities = file.into_identities().map_err(|_| wrong("it can't be used".into()))?;
        if identities.is_empty() {
            return Err(wrong("it holds no identity (AGE-SECRET-KEY-1…)".into()));
        }
        Ok(Self(identities))
    }
}

impl std::fmt::Debug for Identities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identities(sealed)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use age::secrecy::ExposeSecret;

    #[test]
    fn a_secret_key_given_as_a_recipient_is_refused_and_not_repeated() {
        let secret = age::x25519::Identity::generate().to_string().expose_secret().to_owned();
        let refused = Recipients::parse(&[&secret]).unwrap_err().to_string();
        assert!(!refused.contains(&secret[20..]), "{refused}");
        assert!(Recipients::parse(&["age1tooshort"]).unwrap_err().to_string().contains("age1tooshort"));
        assert!(matches!(Recipients::parse::<&str>(&[]), Err(BackupError::NoRecipients)));
    }

    #[test]
    fn an_identity_file_without_an_identity_is_named_and_its_content_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        for (text, said) in [("# created: today\n", "holds no identity"), ("made-up words\n", "age-keygen")] {
            std::fs::write(&path, text).unwrap();
            let refused = Identities::read(&path).unwrap_err().to_string();
            assert!(refused.contains(said) && !refused.contains("made-up"), "{refused}");
        }
        assert!(Identities::read(&dir.path().join("none")).unwrap_err().to_string().contains("none"));
    }
}
