//! The root key, and the one after it. A new one is made where the one before was, in the key file or on the token; both sign
//! that it takes the other's place, and the one before is destroyed with the same write (on a token it stays, unused). The
//! ledger is told then ([`Body::RootSucceeded`]): the newest checkpoint bears the signature of the key that its entries lead to.

use aws_lc_rs::rand::SystemRandom;
use ledger::{Body, Opaque};
use model::TimeMs;
use order::Ed25519Secret;
use order::root::{SignedSuccession, Succession};
use rpc::hsm::of_this_process;
use zeroize::{Zeroize, Zeroizing};

use crate::Error;
use crate::chamber::Chamber;
use crate::keys::{Keys, random};
use crate::on_token::RootKey;
use crate::state::State;

/// The most successions of a house: each is a link of the chain that every statement brings.
pub(crate) const MOST: usize = 64;

fn public32(key: &RootKey) -> Result<[u8; 32], Error> {
    key.public().try_into().map_err(|_| Error::Making("an Ed25519 key".into()))
}

impl Keys {
    /// A root key in place of the one that is there.
    pub(crate) fn make_root_anew(
        &mut self,
        epoch: u32,
        made_at_ms: TimeMs,
        rng: &SystemRandom,
    ) -> Result<(), Error> {
        let (next, seed, on_token) = match of_this_process() {
            Some(hsm) => (RootKey::later(hsm, epoch, true)?, Zeroizing::new([0; 32]), Some(epoch)),
            None => {
                let seed = Zeroizing::new(random::<32>(rng)?);
                let key =
                    Ed25519Secret::from_seed(*seed).ok_or_else(|| Error::Making("a root key".into()))?;
                (RootKey::InFile(key), seed, None)
            }
        };
        let said = Succession { epoch, made_at_ms, former: public32(&self.root)?, next: public32(&next)? };
        let signed = said.sign_with(|m| self.root.sign(m), |m| next.sign(m))?;
        let file = &mut self.file;
        file.successions.get_or_insert_default().push(signed);
        file.root_seed.zeroize();
        file.root_seed = *seed;
        file.root_on_token = on_token;
        self.root = next;
        Ok(())
    }

    /// The house's root keys, the installation's first, the one that is here last.
    pub(crate) fn roots(&self) -> Result<Vec<[u8; 32]>, Error> {
        let said = self.file.successions.iter().flatten().filter_map(SignedSuccession::open);
        let mut roots: Vec<_> = said.map(|s| s.former).collect();
        roots.push(public32(&self.root)?);
        Ok(roots)
    }
}

impl State {
    /// The root keys that the ledger tells of, the installation's first.
    pub(crate) fn roots(&self) -> Vec<[u8; 32]> {
        self.root_key.iter().map(|k| k.0).chain(self.later_roots.iter().copied()).collect()
    }

    /// Takes in a succession, where it goes on from the newest key.
    pub(crate) fn root_succeeded(&mut self, succession: &Opaque) {
        let said = SignedSuccession(succession.0.clone()).open();
        if let Some(said) = said.filter(|s| self.roots().last() == Some(&s.former)) {
            self.later_roots.push(said.next);
        }
    }

    /// Whether the ledger is of the house that has these keys: it begins under their first root key, and tells of no other
    /// than theirs. It may not know the newest ones yet.
    pub(crate) fn is_of(&self, keys: &Keys) -> Result<bool, Error> {
        let known = self.roots();
        Ok(!known.is_empty() && keys.roots()?.starts_with(&known))
    }
}

impl Chamber {
    /// Writes down which root keys took the one before's place, where the ledger does not know it yet: after a rotation, and
    /// at the start after one that was cut short. Answers whether there was something to say.
    pub(crate) fn say_successions(&mut self) -> bool {
        let known = self.state.later_roots.len();
        let unsaid: Vec<_> = self.keys.file.successions.iter().flatten().skip(known).cloned().collect();
        for SignedSuccession(bytes) in &unsaid {
            self.record(Body::RootSucceeded { succession: Opaque(bytes.clone()) });
        }
        self.root_due |= !unsaid.is_empty();
        !unsaid.is_empty()
    }
}
