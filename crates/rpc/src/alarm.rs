//! Alarms: what the vault tells the courier by a one-way pipe that the supervisor made, past core.
//!
//! A frame is [`FRAME_BYTES`] long, whatever it says: a length (two bytes, big-endian), CBOR, zeros. A write of at most
//! `PIPE_BUF` (4096) bytes goes into a pipe whole or not at all (pipe(7)), and a pipe that holds nothing but whole
//! frames is read in whole frames, also by a courier that was started again in between.
//!
//! An alarm holds no personal field: numbers, and ids that say nothing to who has not the vault's records.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;

use minicbor::{Decode, Encode};
use model::{EnrolmentId, OrderId, PersonId, TimeMs};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

/// A frame's length in bytes.
pub const FRAME_BYTES: usize = 256;
/// The frames' version; a courier takes no other.
const VERSION: u8 = 1;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $word:literal, $grave:literal, $says:literal;)*) => {
        /// What happened. Numbers and words are never given another meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum AlarmKind { $($(#[$doc])* $name = $number),* }

        impl AlarmKind {
            /// All of them.
            pub const ALL: &[AlarmKind] = &[$(Self::$name),*];

            /// Its word in messages.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$name => $word),* }
            }

            /// Whether somebody should look at once, at night too.
            #[must_use]
            pub fn is_grave(self) -> bool {
                match self { $(Self::$name => $grave),* }
            }

            /// What it means, in a sentence.
            #[must_use]
            pub fn sentence(self) -> &'static str {
                match self { $(Self::$name => $says),* }
            }
        }
    };
}

kinds! {
    /// Nothing: the operator tried the way.
    Test = 1, "test", false, "This is a test; nothing happened.";
    /// Orders under a signature that does not fit, or of a key that nobody has.
    ForgedOrders = 2, "forged_orders", true, "Orders came whose signature does not fit or whose key nobody has, or a holder's code that fits no card; nothing was done.";
    /// A budget, a cap or a limit refused something.
    BudgetHit = 3, "budget_hit", true, "A budget, a cap or a limit refused something.";
    /// Core knows of a newer ledger than the vault has.
    LedgerOlder = 4, "ledger_older", true, "Core knows more entries than the vault's ledger has: it was set back, or core lies.";
    /// A torn end was cut off the ledger at the start.
    LedgerCut = 5, "ledger_cut", false, "The ledger ended in a torn entry that nobody had been told of; it was cut off.";
    /// The ledger can't be written; the vault stops.
    LedgerUnwritable = 6, "ledger_unwritable", true, "The ledger can't be written; the vault stopped and is started again.";
    /// A person with a role came, by an order.
    PersonAdded = 7, "person_added", true, "A person who may sign orders was added.";
    /// A person was removed.
    PersonRemoved = 8, "person_removed", true, "A person who may sign orders was removed.";
    /// A person has one more key.
    KeyAdded = 9, "key_added", true, "A person has one more key that signs orders.";
    /// A standing order was made or ended.
    StandingChanged = 10, "standing_changed", true, "A standing order, by which the vault acts without a person, was made or ended.";
    /// A key for the API was made.
    ApiKeyMade = 11, "api_key_made", false, "A key for the API was made.";
    /// An enrolment's challenge came again with another key.
    ChallengeReused = 12, "challenge_reused", true, "The challenge of an invitation came again with another key; it got no certificate.";
    /// An order that destroys was accepted for more than one phone.
    ErasingOrder = 13, "erasing_order", true, "An order that destroys was accepted for more than one phone.";
    /// The house was restored from a backup.
    RestoredUnconfirmed = 14, "restored_unconfirmed", true, "The house was restored from a backup that administrators have yet to confirm.";
    /// An administrator confirmed a restore.
    RestoreConfirmed = 15, "restore_confirmed", true, "An administrator confirmed a restore.";
    /// The host's clock was set back.
    ClockSetBack = 16, "clock_set_back", true, "The host's clock was set back.";
    /// A phone was said so much of that it is no longer written.
    WordsCapped = 17, "words_capped", false, "Core says so much of a phone that it is no longer written in this hour.";
    /// A number in the table of limits was changed.
    LimitChanged = 19, "limit_changed", true, "A limit or budget of the house was changed.";
    /// Keys of the vault's are made anew.
    KeysRotated = 90, "keys_rotated", true, "Keys of the house are made anew by an order.";
    /// Somebody assumed a breach.
    BreachAssumed = 91, "breach_assumed", true, "A breach was assumed: what was signed before counts no more, and everything is made anew.";
    /// A sign-in came whose passkey's count had not risen.
    PasskeyCopied = 92, "passkey_copied", true, "Someone signed in with a passkey that was used elsewhere since: it may have been copied. It was refused.";
    /// The courier could not read a frame.
    Unreadable = 18, "unreadable", true, "The courier read something from the vault that is no alarm.";
}

impl AlarmKind {
    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|k| *k as u8 == number)
    }
}

impl<C> Encode<C> for AlarmKind {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.u8(*self as u8)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for AlarmKind {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Self::from_number(d.u8()?).ok_or_else(|| minicbor::decode::Error::message("no kind of alarm"))
    }
}

/// One alarm.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Alarm {
    /// Random; the same alarm may reach a destination twice, under the same id.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub id: [u8; 16],
    /// When it happened; the last of them, when they are several.
    #[n(1)]
    pub at_ms: TimeMs,
    /// What happened.
    #[n(2)]
    pub kind: AlarmKind,
    /// How many times, or to how many phones ([`AlarmKind::ErasingOrder`]).
    #[n(3)]
    pub count: u64,
    /// The phone's enrolment.
    #[n(4)]
    pub enrolment: Option<EnrolmentId>,
    /// Who did it or whom it is about.
    #[n(5)]
    pub person: Option<PersonId>,
    /// By which order.
    #[n(6)]
    pub order: Option<OrderId>,
    /// The refusal's number.
    #[n(7)]
    pub refusal: Option<u16>,
    /// How many alarms before this one were lost for want of room.
    #[n(8)]
    pub lost_before: u64,
}

impl Alarm {
    /// One of this kind, without more.
    #[must_use]
    pub fn new(id: [u8; 16], kind: AlarmKind, at_ms: TimeMs) -> Self {
        Self {
            id,
            at_ms,
            kind,
            count: 1,
            enrolment: None,
            person: None,
            order: None,
            refusal: None,
            lost_before: 0,
        }
    }

    /// As a frame.
    #[must_use]
    pub fn to_frame(&self) -> [u8; FRAME_BYTES] {
        let mut body = vec![VERSION];
        // Writing to a vector does not fail.
        let _ = minicbor::encode(self, &mut body);
        let mut frame = [0; FRAME_BYTES];
        let length = u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes();
        for (to, from) in frame.iter_mut().zip(length.into_iter().chain(body)) {
            *to = from;
        }
        frame
    }

    /// The alarm of a frame; `None` when it is none.
    #[must_use]
    pub fn from_frame(frame: &[u8]) -> Option<Self> {
        let (length, rest) = frame.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (body, padding) = rest.split_at_checked(length)?;
        let (version, body) = body.split_first()?;
        if frame.len() != FRAME_BYTES || *version != VERSION || padding.iter().any(|b| *b != 0) {
            return None;
        }
        let mut decoder = minicbor::Decoder::new(body);
        let alarm: Self = decoder.decode().ok()?;
        (decoder.position() == body.len()).then_some(alarm)
    }
}

/// The two ends of the pipe: where the courier reads, where the vault writes. Neither can be used the other way, and
/// writing never waits. The supervisor keeps both for as long as it lives: what stands in the pipe outlives a courier.
///
/// # Errors
/// When the kernel has no more descriptors.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = io::pipe()?;
    let (read, write) = (OwnedFd::from(read), OwnedFd::from(write));
    for end in [&read, &write] {
        fcntl_setfl(end, fcntl_getfl(end)? | OFlags::NONBLOCK)?;
    }
    Ok((read, write))
}

/// The vault's end.
#[derive(Debug)]
pub struct AlarmWriter(File);

impl AlarmWriter {
    /// Takes the end that the supervisor handed over.
    #[must_use]
    pub fn new(end: OwnedFd) -> Self {
        Self(File::from(end))
    }

    /// Writes an alarm; `false` when it found no room. Never waits.
    pub fn write(&mut self, alarm: &Alarm) -> bool {
        matches!(self.0.write(&alarm.to_frame()), Ok(FRAME_BYTES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn full() -> Alarm {
        Alarm {
            count: u64::MAX,
            enrolment: Some(EnrolmentId([1; 16])),
            person: Some(PersonId([2; 16])),
            order: Some(OrderId([3; 16])),
            refusal: Some(u16::MAX),
            lost_before: u64::MAX,
            ..Alarm::new([9; 16], AlarmKind::Unreadable, TimeMs::MIN)
        }
    }

    #[test]
    fn the_largest_alarm_fits_a_frame_and_comes_back_whole() {
        let small = Alarm::new([0; 16], AlarmKind::Test, 0);
        for alarm in [full(), small] {
            assert_eq!(Alarm::from_frame(&alarm.to_frame()), Some(alarm));
        }
    }

    #[test]
    fn every_kind_has_a_number_and_a_word_of_its_own() {
        for kind in AlarmKind::ALL {
            assert_eq!(AlarmKind::from_number(*kind as u8), Some(*kind));
            let word = kind.word();
            assert_eq!(AlarmKind::ALL.iter().filter(|k| k.word() == word).count(), 1, "{word}");
            assert!(word.len() <= 32 && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{word}");
        }
        assert_eq!(AlarmKind::from_number(0), None);
    }

    #[test]
    fn no_byte_of_a_frame_can_be_changed_into_what_is_no_alarm_and_be_read_past_its_end() {
        let frame = full().to_frame();
        for at in 0..FRAME_BYTES {
            for flip in 1..=255u8 {
                let mut other = frame;
                other[at] ^= flip;
                // Either it is refused, or it is an alarm that says something else; never the same twice.
                if let Some(read) = Alarm::from_frame(&other) {
                    assert_ne!(read, full(), "byte {at}");
                }
            }
        }
        assert_eq!(Alarm::from_frame(&frame[..FRAME_BYTES - 1]), None);
        assert_eq!(Alarm::from_frame(&[0; FRAME_BYTES]), None);
        assert_eq!(Alarm::from_frame(&[0xff; FRAME_BYTES]), None);
    }

    #[test]
    fn the_pipe_leads_one_way() {
        let (read, write) = pipe().unwrap();
        let (mut read, mut write) = (File::from(read), File::from(write));
        assert!(write.read(&mut [0; 8]).is_err());
        assert!(read.write(&[0; 8]).is_err());
    }

    #[test]
    fn a_full_pipe_takes_no_more_does_not_wait_and_is_read_in_whole_frames() {
        let (read, write) = pipe().unwrap();
        let mut writer = AlarmWriter::new(write);
        let alarm = full();
        let mut written = 0;
        while writer.write(&alarm) {
            written += 1;
            assert!(written < 100_000);
        }
        assert!(written >= 64, "{written}");
        // One reader takes some and dies; the next goes on with the same end.
        for reader in [read.try_clone().unwrap(), read.try_clone().unwrap()] {
            let mut reader = File::from(reader);
            let mut frame = [0; FRAME_BYTES];
            for _ in 0..written / 2 {
                assert_eq!(reader.read(&mut frame).unwrap(), FRAME_BYTES);
                assert_eq!(Alarm::from_frame(&frame), Some(alarm.clone()));
            }
        }
        assert!(writer.write(&alarm));
    }
}
