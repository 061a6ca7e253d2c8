//! The root keys that a ledger tells of. It begins under the first; each one after that is signed by the one before, in an
//! entry of its own, so that whoever trusts any of them is led to the one that signed the newest checkpoint.

use ledger::{Body, Entry, SignedCheckpoint};
use model::Digest;
use order::root::{SUCCESSION_CONTEXT, SignedSuccession};

/// The longest entry that can be a root key's.
const LARGEST_BYTES: usize = 1024;

/// Root keys, each from the entry on that names it.
#[derive(Debug, Default, Clone)]
pub(crate) struct Roots(Vec<(u64, [u8; 32])>);

impl Roots {
    /// Takes in what entry `n` says.
    pub(crate) fn take(&mut self, n: u64, body: &Body) -> Result<(), String> {
        match body {
            Body::Genesis { root_key, .. } if n == 0 => self.0.push((0, root_key.0)),
            Body::RootSucceeded { succession } => {
                let said = SignedSuccession(succession.0.clone()).open();
                let goes_on = said.filter(|s| self.newest().map(|d| d.0) == Some(s.former));
                let goes_on = goes_on.ok_or_else(|| {
                    format!("entry {n} names a root key that the one before it has not signed")
                })?;
                self.0.push((n, goes_on.next));
            }
            _ => {}
        }
        Ok(())
    }

    /// The same from an entry's bytes, of which hardly any are decoded.
    pub(crate) fn take_raw(&mut self, n: u64, raw: &[u8]) -> Result<(), String> {
        let may_be =
            n == 0 || raw.len() <= LARGEST_BYTES && memchr::memmem::find(raw, SUCCESSION_CONTEXT).is_some();
        if !may_be {
            return Ok(());
        }
        // What can't be decoded names no key; whoever reads every entry says so.
        Entry::decode(raw).map_or(Ok(()), |entry| self.take(n, &entry.body))
    }

    /// The installation's.
    pub(crate) fn first(&self) -> Option<Digest> {
        self.0.first().map(|(_, key)| Digest(*key))
    }

    pub(crate) fn newest(&self) -> Option<Digest> {
        self.0.last().map(|(_, key)| Digest(*key))
    }

    pub(crate) fn contains(&self, root: Digest) -> bool {
        self.0.iter().any(|(_, key)| *key == root.0)
    }

    /// All of them, the first one first.
    pub(crate) fn keys(&self) -> Vec<[u8; 32]> {
        self.0.iter().map(|(_, key)| *key).collect()
    }

    /// Holds a checkpoint against them: it is signed by the key that was in force with its last entry. Where `trusted` is given
    /// that is this key or a later one: what a key of before signed is as good as made up by whoever has that key since.
    pub(crate) fn hold(&self, signed: &SignedCheckpoint, trusted: Option<Digest>) -> Result<(), String> {
        let in_force = self.0.iter().rposition(|(from, _)| *from < signed.size());
        let note = signed.note().to_string();
        let by = |at: usize| {
            self.0
                .get(at)
                .is_some_and(|(_, key)| SignedCheckpoint::of_house(note.as_bytes(), &[*key]).is_ok())
        };
        let Some(at) = in_force.filter(|at| by(*at)) else {
            return Err(format!(
                "the checkpoint of {} entries is not signed by the root key that these entries lead to",
                signed.size()
            ));
        };
        let from = trusted.and_then(|root| self.0.iter().position(|(_, key)| *key == root.0)).unwrap_or(0);
        if at >= from {
            return Ok(());
        }
        Err(format!(
            "the checkpoint of {} entries is signed by a root key of before the one that is trusted, so anybody who has that one \
             may have made it up. Was this copied in the second in which the root key was changed, take a newer one",
            signed.size()
        ))
    }
}
