//! Opening what core hands over: a phone's token and PushMagic, sealed by the reader, or by the courier itself when its
//! key was made anew.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use model::{Compartment, KeyName, SealedRow, TimeMs};
use order::TrustedStatement;
use rpc::key_ring::KeyRing;
use rpc::proto::{PushTarget, ResealAnswer, ResealRequest, ResealedRow};
use seal::{CompartmentPublic, CompartmentSecret, KeyPairSecret, Opener, PublicKey, Sealer};
use zeroize::Zeroizing;

use crate::keys::{open_ring, push_keys};
use crate::{Error, keys};

/// More key epochs than rows of a house name at one time; of more, the oldest are forgotten until they come again.
const MAX_EPOCHS: usize = 64;

/// The keys, and an opener for each of them: for the senders that the statement names and the epochs that were met so
/// far. Rows stay as they were sealed while the epoch goes on, and which key served in an epoch no row says.
pub(crate) struct Opening {
    dir: PathBuf,
    ring: KeyRing,
    /// The newest first.
    secrets: Vec<KeyPairSecret>,
    senders: Vec<PublicKey>,
    epochs: BTreeSet<u32>,
    openers: Vec<Opener>,
    /// For the statement of this epoch.
    sealer: Option<(u32, Sealer)>,
}

/// What is pushed. Wiped when dropped.
pub(crate) struct Opened {
    pub token: Zeroizing<Vec<u8>>,
    pub magic: Zeroizing<String>,
}

impl Opening {
    pub fn new(dir: &Path) -> Result<Self, Error> {
        let ring = open_ring(dir)?;
        let secrets = push_keys(dir, &ring)?;
        Ok(Self {
            dir: dir.to_owned(),
            ring,
            secrets,
            senders: Vec::new(),
            epochs: BTreeSet::new(),
            openers: Vec::new(),
            sealer: None,
        })
    }

    /// The key of an order's number, made if it is not there; its public half.
    pub fn make(&mut self, number: u32) -> Result<PublicKey, Error> {
        let fresh = || {
            let mut key = Zeroizing::new(vec![0u8; 32]);
            SystemRandom::new().fill(&mut key).map_err(std::io::Error::other)?;
            Ok(key)
        };
        let made = self.ring.make(number, fresh).map_err(|e| self.written(e))?;
        self.keys_changed()?;
        let bytes: [u8; 32] =
            made.as_slice().try_into().map_err(|_| Error::Keys("a key of 32 bytes".into()))?;
        Ok(KeyPairSecret::from_bytes(Zeroizing::new(bytes)).public())
    }

    fn written(&self, source: std::io::Error) -> Error {
        Error::File { path: self.dir.join(keys::PUSH_KEY), verb: "written", source }
    }

    fn keys_changed(&mut self) -> Result<(), Error> {
        self.secrets = push_keys(&self.dir, &self.ring)?;
        self.openers.clear();
        self.sealer = None;
        Ok(())
    }

    /// Destroys the keys before the stated one, if the statement says that they are needed no more.
    pub fn follow(&mut self, statement: &TrustedStatement) {
        let stated = stated(statement);
        let at = self.secrets.iter().position(|key| Some(key.public()) == stated);
        let Some((number, _)) = at.and_then(|at| self.ring.newest_first().nth(at)) else {
            tracing::error!(
                "the key statement names a push key that the courier has not; 'matron keys rotate push' makes another"
            );
            return;
        };
        if statement.needs_older(KeyName::Push) {
            return;
        }
        let done = match self.ring.destroy_before(number) {
            Ok(0) => return,
            Ok(gone) => self.keys_changed().map(|()| gone),
            Err(e) => Err(self.written(e)),
        };
        match done {
            Ok(gone) => tracing::info!(keys = gone, "older push keys were destroyed"),
            Err(e) => tracing::warn!(error = %e, "older push keys can't be destroyed yet"),
        }
    }

    /// Opens both rows; `None` when either is not what it should be, or does not open.
    pub fn open(&mut self, target: PushTarget, statement: &TrustedStatement) -> Option<Opened> {
        let enrolment = rpc::enrolment_id(&target.enrolment).ok()?;
        let token = push_row(target.token, "Token")?;
        let magic = push_row(target.magic, "PushMagic")?;
        let token = self.open_row(&enrolment, &token, statement)?;
        let magic = self.open_row(&enrolment, &magic, statement)?;
        let magic = Zeroizing::new(std::str::from_utf8(&magic).ok()?.to_owned());
        Some(Opened { token, magic })
    }

    fn open_row(
        &mut self,
        enrolment: &model::EnrolmentId,
        row: &SealedRow,
        statement: &TrustedStatement,
    ) -> Option<Zeroizing<Vec<u8>>> {
        self.ready_for(row, statement)?;
        self.openers.iter_mut().find_map(|opener| opener.open(enrolment, row).ok())
    }

    fn ready_for(&mut self, row: &SealedRow, statement: &TrustedStatement) -> Option<()> {
        let epoch = seal::epoch_of(&row.wrapped_key)?;
        let mut senders = vec![PublicKey(statement.reader_key.0)];
        senders.extend(statement.older_readers.iter().flatten().map(|key| PublicKey(key.0)));
        // What the courier sealed again it sealed by its own word.
        senders.extend(self.secrets.iter().map(KeyPairSecret::public));
        let known = self.epochs.contains(&epoch);
        if known && self.senders == senders && !self.openers.is_empty() {
            return Some(());
        }
        if !known && epoch > statement.epoch {
            return None;
        }
        self.epochs.insert(epoch);
        if self.epochs.len() > MAX_EPOCHS {
            self.epochs = BTreeSet::from([epoch]);
        }
        self.senders = senders;
        let opener = |secret: &KeyPairSecret| {
            let of = |epoch: &u32| CompartmentSecret {
                compartment: Compartment::Push,
                epoch: *epoch,
                key: secret.clone(),
            };
            Opener::new(self.epochs.iter().map(of).collect(), self.senders.clone())
        };
        self.openers = self.secrets.iter().map(opener).collect();
        Some(())
    }

    /// Seals rows of before the statement's epoch again, to the key that it names.
    pub fn reseal(
        &mut self,
        request: ResealRequest,
        statement: &TrustedStatement,
        now_ms: TimeMs,
    ) -> ResealAnswer {
        let mut answer = ResealAnswer::default();
        for (at, row) in (0u32..).zip(request.rows) {
            let Ok((enrolment, row)) = rpc::phone_row(row) else {
                answer.lost.push(at);
                continue;
            };
            if row.compartment != Compartment::Push
                || seal::epoch_of(&row.wrapped_key).is_some_and(|epoch| epoch >= statement.epoch)
            {
                continue;
            }
            match self.sealed_again(&enrolment, &row, statement, now_ms) {
                Some(row) => answer.rows.push(ResealedRow { at, row: Some(rpc::row_to(row)) }),
                None => answer.lost.push(at),
            }
        }
        answer
    }

    fn sealed_again(
        &mut self,
        enrolment: &model::EnrolmentId,
        row: &SealedRow,
        statement: &TrustedStatement,
        now_ms: TimeMs,
    ) -> Option<SealedRow> {
        let value = self.open_row(enrolment, row, statement)?;
        let own = self.secrets.iter().find(|key| Some(key.public()) == stated(statement))?;
        let (epoch, compartment) = (statement.epoch, Compartment::Push);
        let sealer = match &mut self.sealer {
            Some((of, sealer)) if *of == epoch => sealer,
            stale => {
                let to = CompartmentPublic { compartment, epoch, key: own.public() };
                &mut stale.insert((epoch, Sealer::new(own.clone(), vec![to]))).1
            }
        };
        let (mask, tag) = (row.mask.clone(), row.change_tag.clone());
        let rng = SystemRandom::new();
        sealer.seal(&rng, now_ms, enrolment, &row.name, compartment, &value, mask, tag).ok()
    }
}

/// The push key that a statement names.
fn stated(statement: &TrustedStatement) -> Option<PublicKey> {
    let mut of = statement.compartments.iter();
    of.find(|(compartment, _)| *compartment == Compartment::Push).map(|(_, key)| PublicKey(key.0))
}

fn push_row(row: Option<rpc::proto::SealedRow>, name: &str) -> Option<SealedRow> {
    let row = rpc::row_from(row?).ok()?;
    (row.name == name && row.compartment == Compartment::Push).then_some(row)
}
