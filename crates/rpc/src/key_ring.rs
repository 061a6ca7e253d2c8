//! A key that a room makes for itself, and makes anew when an order says so: the newest, and older ones for as long as
//! something is under them. All stand in one file, which is written whole or not at all; so a crash leaves what was
//! before, or what was to be.
//!
//! A file of before the first rotation is the key's bytes and nothing else. Since then it is
//! `matron keys 1\n`, and of each key its number and its length (four bytes each, big endian) and its bytes.

use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::at_rest;

const MAGIC: &[u8] = b"matron keys 1\n";

/// The number of a key that was made at the installation.
const FIRST: u32 = 1;

/// The keys of one file.
pub struct KeyRing {
    dir: PathBuf,
    name: String,
    /// By number, ascending.
    keys: Vec<(u32, Zeroizing<Vec<u8>>)>,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRing").field("name", &self.name).field("keys", &"sealed").finish_non_exhaustive()
    }
}

impl KeyRing {
    /// Reads the file.
    ///
    /// # Errors
    /// When it can't be read, or was cut.
    pub fn open(dir: &Path, name: &str) -> io::Result<Self> {
        let bytes = at_rest::read(dir, name)?;
        let keys = match bytes.strip_prefix(MAGIC) {
            Some(rest) => {
                split(rest).ok_or_else(|| io::Error::other("it was cut; restore it from a backup"))?
            }
            None => vec![(FIRST, bytes)],
        };
        Ok(Self { dir: dir.to_owned(), name: name.to_owned(), keys })
    }

    /// The keys with their numbers, the newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.keys.iter().rev().map(|(number, key)| (*number, key.as_slice()))
    }

    /// The key of that number; one that is not there is made and durable before this returns.
    ///
    /// # Errors
    /// When it can't be made or written: then nothing has changed.
    pub fn make(
        &mut self,
        number: u32,
        fresh: impl FnOnce() -> io::Result<Zeroizing<Vec<u8>>>,
    ) -> io::Result<Zeroizing<Vec<u8>>> {
        if let Some((_, key)) = self.keys.iter().find(|(n, _)| *n == number) {
            return Ok(key.clone());
        }
        let key = fresh()?;
        let mut keys = self.keys.clone();
        keys.push((number, key.clone()));
        keys.sort_by_key(|(n, _)| *n);
        self.write(keys)?;
        Ok(key)
    }

    /// Destroys the keys of lower numbers. Answers how many there were.
    ///
    /// # Errors
    /// When the file can't be written: then they are all there still.
    pub fn destroy_before(&mut self, number: u32) -> io::Result<usize> {
        let keys: Vec<_> = self.keys.iter().filter(|(n, _)| *n >= number).cloned().collect();
        let gone = self.keys.len() - keys.len();
        if gone > 0 && !keys.is_empty() {
            self.write(keys)?;
            return Ok(gone);
        }
        Ok(0)
    }

    /// Destroys the keys of all other numbers. Answers how many there were.
    ///
    /// # Errors
    /// When the file can't be written: then they are all there still.
    pub fn destroy_but(&mut self, kept: &[u32]) -> io::Result<usize> {
        let keys: Vec<_> = self.keys.iter().filter(|(n, _)| kept.contains(n)).cloned().collect();
        let gone = self.keys.len() - keys.len();
        if gone > 0 && !keys.is_empty() {
            self.write(keys)?;
            return Ok(gone);
        }
        Ok(0)
    }

    /// The number of the oldest key.
    #[must_use]
    pub fn oldest(&self) -> u32 {
        self.keys.first().map_or(FIRST, |(number, _)| *number)
    }

    fn write(&mut self, keys: Vec<(u32, Zeroizing<Vec<u8>>)>) -> io::Result<()> {
        let room = keys.iter().map(|(_, key)| 8 + key.len()).sum::<usize>();
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAGIC.len() + room));
        bytes.extend_from_slice(MAGIC);
        for (number, key) in &keys {
            let length = u32::try_from(key.len()).map_err(io::Error::other)?;
            bytes.extend_from_slice(&number.to_be_bytes());
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(key);
        }
        at_rest::write(&self.dir, &self.name, &bytes)?;
        self.keys = keys;
        Ok(())
    }
}

fn split(mut rest: &[u8]) -> Option<Vec<(u32, Zeroizing<Vec<u8>>)>> {
    let mut keys = Vec::new();
    while !rest.is_empty() {
        let (number, after) = rest.split_first_chunk::<4>()?;
        let (length, after) = after.split_first_chunk::<4>()?;
        let (key, after) = after.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        let number = u32::from_be_bytes(*number);
        if keys.last().is_some_and(|(before, _)| *before >= number) {
            return None;
        }
        keys.push((number, Zeroizing::new(key.to_vec())));
        rest = after;
    }
    (!keys.is_empty()).then_some(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(ring: &KeyRing) -> Vec<u32> {
        ring.newest_first().map(|(n, _)| n).collect()
    }

    fn key(n: u8) -> io::Result<Zeroizing<Vec<u8>>> {
        Ok(Zeroizing::new(vec![n; 32]))
    }

    #[test]
    fn a_key_is_made_once_for_a_number_and_older_ones_stay_until_they_are_destroyed() {
        let dir = tempfile::tempdir().unwrap();
        at_rest::write(dir.path(), "a.key", &[1; 32]).unwrap();
        let mut ring = KeyRing::open(dir.path(), "a.key").unwrap();
        assert_eq!(ring.make(5, || key(5)).unwrap().as_slice(), [5; 32]);
        assert_eq!(ring.make(5, || key(6)).unwrap().as_slice(), [5; 32], "asked again");
        assert_eq!(ring.make(3, || key(3)).unwrap().as_slice(), [3; 32]);
        let mut ring = KeyRing::open(dir.path(), "a.key").unwrap();
        assert_eq!(numbers(&ring), [5, 3, 1]);
        assert_eq!(ring.newest_first().last().unwrap().1, [1; 32]);
        assert_eq!(ring.destroy_before(5).unwrap(), 2);
        assert_eq!(ring.destroy_before(9).unwrap(), 0, "the last one stays");
        assert_eq!(numbers(&KeyRing::open(dir.path(), "a.key").unwrap()), [5]);
        ring.make(6, || key(6)).unwrap();
        ring.make(7, || key(7)).unwrap();
        assert_eq!((ring.oldest(), ring.destroy_but(&[5, 7]).unwrap()), (5, 1));
        assert_eq!(ring.destroy_but(&[8]).unwrap(), 0, "the last ones stay");
        assert_eq!(numbers(&KeyRing::open(dir.path(), "a.key").unwrap()), [7, 5]);
        let file = std::fs::read(dir.path().join("a.key")).unwrap();
        assert!(!file.windows(32).any(|w| w == [1; 32] || w == [3; 32]));
    }

    #[test]
    fn what_can_not_be_written_leaves_the_keys_as_they_were() {
        let dir = tempfile::tempdir().unwrap();
        at_rest::write(dir.path(), "a.key", &[1; 32]).unwrap();
        let mut ring = KeyRing::open(dir.path(), "a.key").unwrap();
        // A folder in the way of the temporary file, as a full disk would be.
        std::fs::create_dir(dir.path().join(".a.key.new")).unwrap();
        assert!(ring.make(2, || key(2)).is_err());
        assert_eq!(numbers(&ring), [1]);
        std::fs::remove_dir(dir.path().join(".a.key.new")).unwrap();
        ring.make(2, || key(2)).unwrap();
        std::fs::create_dir(dir.path().join(".a.key.new")).unwrap();
        assert!(ring.destroy_before(2).is_err());
        assert_eq!(numbers(&ring), [2, 1]);
        assert_eq!(numbers(&KeyRing::open(dir.path(), "a.key").unwrap()), [2, 1]);
    }

    #[test]
    fn a_file_that_was_cut_anywhere_is_named_and_none_of_it_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        at_rest::write(dir.path(), "a.key", &[1; 32]).unwrap();
        KeyRing::open(dir.path(), "a.key").unwrap().make(2, || key(2)).unwrap();
        let whole = std::fs::read(dir.path().join("a.key")).unwrap();
        for at in MAGIC.len()..whole.len() {
            // Between two keys it is a shorter list: files are written whole, so none is cut there.
            if at == MAGIC.len() + 40 {
                continue;
            }
            std::fs::write(dir.path().join("a.key"), &whole[..at]).unwrap();
            assert!(KeyRing::open(dir.path(), "a.key").is_err(), "cut at {at}");
        }
    }
}
