//! Opening what core hands over: a phone's token and PushMagic, sealed by the reader.

use std::collections::BTreeSet;

use model::{Compartment, SealedRow};
use order::TrustedStatement;
use rpc::proto::PushTarget;
use seal::{CompartmentSecret, KeyPairSecret, Opener, PublicKey};
use zeroize::Zeroizing;

/// More key epochs than a house sees in its life; rows that name others do not open.
const MAX_EPOCHS: usize = 64;

/// The opener, for the reader's key that the statement names and the epochs that were met so far: rows
/// stay as they were sealed, while the epoch goes on, and the push key serves them all.
pub(crate) struct Opening {
    secret: KeyPairSecret,
    sender: Option<PublicKey>,
    epochs: BTreeSet<u32>,
    opener: Opener,
}

/// What is pushed. Wiped when dropped.
pub(crate) struct Opened {
    pub token: Zeroizing<Vec<u8>>,
    pub magic: Zeroizing<String>,
}

impl Opening {
    pub fn new(secret: KeyPairSecret) -> Self {
        Self { secret, sender: None, epochs: BTreeSet::new(), opener: Opener::new(vec![], vec![]) }
    }

    /// Opens both rows; `None` when either is not what it should be, or does not open.
    pub fn open(&mut self, target: PushTarget, statement: &TrustedStatement) -> Option<Opened> {
        let enrolment = rpc::enrolment_id(&target.enrolment).ok()?;
        let token = push_row(target.token, "Token")?;
        let magic = push_row(target.magic, "PushMagic")?;
        for row in [&token, &magic] {
            self.ready_for(row, statement)?;
        }
        let token = self.opener.open(&enrolment, &token).ok()?;
        let magic = self.opener.open(&enrolment, &magic).ok()?;
        let magic = Zeroizing::new(std::str::from_utf8(&magic).ok()?.to_owned());
        Some(Opened { token, magic })
    }

    fn ready_for(&mut self, row: &SealedRow, statement: &TrustedStatement) -> Option<()> {
        // version (1) ‖ epoch (4): see seal::WRAPPED_KEY_BYTES.
        let epoch = u32::from_be_bytes(row.wrapped_key.get(1..5)?.try_into().ok()?);
        let sender = PublicKey(statement.reader_key.0);
        let known = self.epochs.contains(&epoch);
        if known && self.sender == Some(sender) {
            return Some(());
        }
        if !known && (epoch > statement.epoch || self.epochs.len() >= MAX_EPOCHS) {
            return None;
        }
        self.epochs.insert(epoch);
        self.sender = Some(sender);
        let secrets = self.epochs.iter().map(|epoch| CompartmentSecret {
            compartment: Compartment::Push,
            epoch: *epoch,
            key: self.secret.clone(),
        });
        self.opener = Opener::new(secrets.collect(), vec![sender]);
        Some(())
    }
}

fn push_row(row: Option<rpc::proto::SealedRow>, name: &str) -> Option<SealedRow> {
    let row = rpc::row_from(row?).ok()?;
    (row.name == name && row.compartment == Compartment::Push).then_some(row)
}
