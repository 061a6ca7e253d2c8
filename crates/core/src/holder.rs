//! Phones' holders who are signed in with the code of a holder's card: sessions that live in memory alone, and what they
//! may have done. The code is kept as long as the session, since the vault asks for it each time.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::clock::MINUTE_MS;
use model::{Digest, EnrolmentId, StandingTemplate, TimeMs};
use order::{HolderCode, Refusal};
use store::{CommandFilter, EnrolmentState, StandingRecord, StoreError};

use crate::acts::{self, Asking, NotActed, NotQueued, queue_act, stands};
use crate::room::Room;

/// A session lives so long, used or not: it is a borrowed computer, mostly.
pub(crate) const LIFE_MS: TimeMs = 20 * MINUTE_MS;
/// So many are signed in at once; beyond, whoever came first has to sign in again.
const MOST: usize = 10_000;
/// So many of one phone; beyond, that phone's own oldest ends, so that one card signs nobody else out.
const MOST_A_PHONE: usize = 4;

/// A phone's holder in a session. It is one enrolment and nothing else; only [`Holders::find`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    hash: Digest,
    enrolment: EnrolmentId,
    expires_at_ms: TimeMs,
}

impl Holder {
    /// SHA-256 of the session's secret.
    pub fn hash(&self) -> Digest {
        self.hash
    }

    /// The phone.
    pub fn enrolment(&self) -> EnrolmentId {
        self.enrolment
    }

    pub fn expires_at_ms(&self) -> TimeMs {
        self.expires_at_ms
    }
}

/// One session. Its code is overwritten when it ends.
struct Kept {
    enrolment: EnrolmentId,
    code: HolderCode,
    expires_at_ms: TimeMs,
    turn: u64,
}

#[derive(Default)]
struct Inner {
    sessions: HashMap<Digest, Kept>,
    /// In the order in which they began.
    turns: BTreeMap<u64, Digest>,
    next_turn: u64,
}

impl Inner {
    fn end(&mut self, hash: &Digest) {
        if let Some(kept) = self.sessions.remove(hash) {
            self.turns.remove(&kept.turn);
        }
    }

    fn end_those(&mut self, which: impl Fn(&Kept) -> bool) {
        let over: Vec<Digest> = self.sessions.iter().filter(|(_, k)| which(k)).map(|(h, _)| *h).collect();
        over.iter().for_each(|hash| self.end(hash));
    }
}

/// Everyone who is signed in with a holder's card.
#[derive(Default)]
pub(crate) struct Holders(Mutex<Inner>);

impl Holders {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session begins. False: one of that hash is there already, and nothing begins.
    pub fn begin(&self, hash: Digest, enrolment: EnrolmentId, code: HolderCode, now_ms: TimeMs) -> bool {
        let mut inner = self.lock();
        if inner.sessions.contains_key(&hash) {
            return false;
        }
        let own: Vec<Digest> = (inner.turns.values())
            .filter(|hash| inner.sessions.get(*hash).is_some_and(|k| k.enrolment == enrolment))
            .copied()
            .collect();
        if own.len() >= MOST_A_PHONE
            && let Some(oldest) = own.first()
        {
            inner.end(oldest);
        }
        if inner.sessions.len() >= MOST
            && let Some(oldest) = inner.turns.first_key_value().map(|(_, hash)| *hash)
        {
            inner.end(&oldest);
        }
        let turn = inner.next_turn;
        inner.next_turn += 1;
        inner.turns.insert(turn, hash);
        inner.sessions.insert(hash, Kept { enrolment, code, expires_at_ms: now_ms + LIFE_MS, turn });
        true
    }

    /// Who has the secret of this hash. The look-up goes by the hash of what was given, so its time says nothing
    /// about any secret. One that is over ends here, whenever the sweep comes.
    pub fn find(&self, hash: &Digest, now_ms: TimeMs) -> Option<Holder> {
        let mut inner = self.lock();
        if inner.sessions.get(hash).is_some_and(|k| now_ms >= k.expires_at_ms) {
            inner.end(hash);
        }
        let kept = inner.sessions.get(hash)?;
        Some(Holder { hash: *hash, enrolment: kept.enrolment, expires_at_ms: kept.expires_at_ms })
    }

    fn code(&self, holder: &Holder) -> Option<HolderCode> {
        self.lock().sessions.get(&holder.hash).map(|k| k.code.clone())
    }

    pub fn end(&self, hash: &Digest) {
        self.lock().end(hash);
    }

    /// The phone has this card from now on, or none: sessions by another one end.
    pub fn card_is(&self, enrolment: EnrolmentId, card: Option<Digest>) {
        self.lock().end_those(|k| k.enrolment == enrolment && Some(k.code.hash()) != card);
    }

    pub fn end_all(&self) {
        *self.lock() = Inner::default();
    }

    pub fn drop_expired(&self, now_ms: TimeMs) {
        self.lock().end_those(|k| now_ms >= k.expires_at_ms);
    }
}

/// Whether a phone in this state is still its holder's.
pub(crate) fn is_held(state: EnrolmentState) -> bool {
    use EnrolmentState as S;
    matches!(state, S::Invited | S::Issued | S::Authenticated | S::Enrolled)
}

/// The standing order in force by which the vault does this for holders: the newest.
pub(crate) fn in_force(
    all: &[StandingRecord],
    template: StandingTemplate,
    now_ms: TimeMs,
) -> Option<StandingRecord> {
    all.iter().find(|s| s.template == template && stands(s, now_ms)).cloned()
}

/// Why nothing was done.
#[derive(Debug)]
pub(crate) enum NotDone {
    /// No standing order lets holders do it.
    NotSwitchedOn,
    /// The phone is not enrolled, or has left.
    NotEnrolled,
    /// The phone is not supervised: it would refuse.
    NotSupervised,
    /// The session or its card has ended meanwhile.
    SignedOut,
    Refused(Refusal),
    VaultAway,
    Store(StoreError),
}

impl From<StoreError> for NotDone {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

impl From<NotQueued> for NotDone {
    fn from(e: NotQueued) -> Self {
        match e {
            NotQueued::NoCommand => Self::VaultAway,
            NotQueued::Store(e) => Self::Store(e),
        }
    }
}

/// Has the vault act for this holder's phone, and queues what it answers. While the phone has not answered the command of
/// before, there is nothing to do. Asked again soon after, the vault answers the same command, unless core says that the
/// phone is done with that one.
pub(crate) async fn act(
    room: &Arc<Room>,
    holder: &Holder,
    template: StandingTemplate,
) -> Result<(), NotDone> {
    let (enrolment, now_ms) = (holder.enrolment, room.now_ms());
    let code = room.holders.code(holder).ok_or(NotDone::SignedOut)?;
    let read = room.store.read(move |v| {
        let Some(phone) = v.find_device(enrolment)? else { return Ok(None) };
        let standing = in_force(&v.standing_orders()?, template, now_ms);
        let newest = match &standing {
            Some(s) => {
                let (slot, order) = (Some(phone.slot), Some(s.order));
                v.commands(&CommandFilter { slot, order, limit: 1, ..CommandFilter::default() })?.pop()
            }
            None => None,
        };
        Ok(Some((phone, standing, newest)))
    });
    let (phone, standing, newest) = read.await?.ok_or(NotDone::NotEnrolled)?;
    if phone.state != EnrolmentState::Enrolled {
        return Err(NotDone::NotEnrolled);
    }
    let standing = standing.ok_or(NotDone::NotSwitchedOn)?;
    if phone.supervised == Some(false) {
        return Err(NotDone::NotSupervised);
    }
    if newest.as_ref().is_some_and(|c| c.state.is_open() && now_ms < c.expires_at_ms) {
        return Ok(());
    }
    let asking = Asking {
        holder_code: Some(code.grouped().to_string()),
        over: newest.map(|c| c.command),
        ..Asking::default()
    };
    let answer = match acts::ask(room, &standing, enrolment, asking).await {
        Ok(answer) => answer,
        Err(NotActed::Refused(Refusal::WrongHolderCode)) => {
            // Another card was made, and the ledger's entry is on its way here.
            room.holders.end(&holder.hash);
            return Err(NotDone::SignedOut);
        }
        Err(NotActed::Refused(Refusal::NoSuchStanding)) => return Err(NotDone::NotSwitchedOn),
        Err(NotActed::Refused(Refusal::UnknownEnrolment)) => return Err(NotDone::NotEnrolled),
        Err(NotActed::Refused(refusal)) => return Err(NotDone::Refused(refusal)),
        Err(NotActed::Away) => return Err(NotDone::VaultAway),
    };
    queue_act(room, &standing, (phone.slot, enrolment), answer, |_, _| Ok(())).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(last: char) -> HolderCode {
        HolderCode::read(&format!("abcd-efgh-ijkm-npqr-222{last}")).unwrap()
    }

    fn hash(n: u32) -> Digest {
        order::sha256(&n.to_be_bytes())
    }

    const ONE: EnrolmentId = EnrolmentId([1; 16]);
    const TWO: EnrolmentId = EnrolmentId([2; 16]);

    #[test]
    fn a_holders_session_is_of_one_phone_and_ends_after_twenty_minutes_or_when_told() {
        let holders = Holders::default();
        assert!(holders.begin(hash(1), ONE, code('a'), 0));
        assert!(!holders.begin(hash(1), TWO, code('b'), 0), "nobody takes another's session over");
        let found = holders.find(&hash(1), LIFE_MS - 1).unwrap();
        assert_eq!((found.enrolment(), holders.code(&found)), (ONE, Some(code('a'))));
        assert!(holders.find(&hash(1), LIFE_MS).is_none() && holders.find(&hash(2), 0).is_none());
        assert!(
            holders.code(&found).is_none(),
            "whoever looks for one that is over ends it, and its code with it"
        );
        holders.begin(hash(1), ONE, code('a'), 0);
        holders.drop_expired(LIFE_MS - 1);
        assert!(holders.code(&found).is_some());
        holders.drop_expired(LIFE_MS);
        assert!(holders.code(&found).is_none());
        holders.begin(hash(2), ONE, code('a'), 0);
        holders.end(&hash(2));
        assert!(holders.find(&hash(2), 0).is_none());
    }

    #[test]
    fn another_card_ends_the_sessions_of_the_one_before_and_no_other_phones() {
        let holders = Holders::default();
        holders.begin(hash(1), ONE, code('a'), 0);
        holders.begin(hash(2), TWO, code('b'), 0);
        holders.card_is(ONE, Some(code('a').hash()));
        assert!(holders.find(&hash(1), 0).is_some(), "the same card");
        holders.card_is(ONE, Some(code('c').hash()));
        assert!(holders.find(&hash(1), 0).is_none() && holders.find(&hash(2), 0).is_some());
        holders.card_is(TWO, None);
        assert!(holders.find(&hash(2), 0).is_none());
        holders.begin(hash(3), ONE, code('c'), 0);
        holders.end_all();
        assert!(holders.find(&hash(3), 0).is_none());
    }

    #[test]
    fn sessions_without_number_fill_no_memory_and_the_oldest_goes_first() {
        let holders = Holders::default();
        for n in 0..u32::try_from(MOST).unwrap() + 2 {
            let mut phone = [0; 16];
            phone[..4].copy_from_slice(&n.to_be_bytes());
            holders.begin(hash(n), EnrolmentId(phone), code('a'), 0);
        }
        let inner = holders.lock();
        assert_eq!((inner.sessions.len(), inner.turns.len()), (MOST, MOST));
        assert!(!inner.sessions.contains_key(&hash(0)) && !inner.sessions.contains_key(&hash(1)));
        assert!(inner.sessions.contains_key(&hash(2)));
    }

    #[test]
    fn one_card_ends_its_own_phones_oldest_session_and_signs_nobody_else_out() {
        let holders = Holders::default();
        holders.begin(hash(0), TWO, code('b'), 0);
        for n in 1..=u32::try_from(MOST).unwrap() + 5 {
            assert!(holders.begin(hash(n), ONE, code('a'), 0));
        }
        assert!(holders.find(&hash(0), 0).is_some(), "another phone's");
        let last = u32::try_from(MOST).unwrap() + 5;
        let left: Vec<u32> = (1..=last).filter(|n| holders.find(&hash(*n), 0).is_some()).collect();
        assert_eq!(left, [last - 3, last - 2, last - 1, last]);
        let inner = holders.lock();
        assert_eq!((inner.sessions.len(), inner.turns.len()), (MOST_A_PHONE + 1, MOST_A_PHONE + 1));
    }

    #[test]
    fn what_holders_may_have_done_goes_by_the_newest_standing_order_of_its_own_template() {
        let made = |n: u8, template, ended_at_ms| StandingRecord {
            order: model::OrderId([n; 16]),
            template,
            cap_an_hour: 1,
            made_at_ms: 0,
            expires_at_ms: 100,
            ended_at_ms,
            uses: 0,
            used_at_ms: None,
        };
        let all = [
            made(1, StandingTemplate::HolderLostMode, Some(5)),
            made(2, StandingTemplate::HolderRings, None),
            made(3, StandingTemplate::HolderLostMode, None),
            made(4, StandingTemplate::RenewCertificates { before_ms: 1 }, None),
        ];
        let found = |template, now_ms| in_force(&all, template, now_ms).map(|s| s.order.0[0]);
        assert_eq!(found(StandingTemplate::HolderLostMode, 50), Some(3));
        assert_eq!(found(StandingTemplate::HolderRings, 50), Some(2));
        assert_eq!(found(StandingTemplate::HolderRings, 100), None);
        assert_eq!(crate::renewal::in_force(&all, 50).map(|s| s.order.0[0]), Some(4));
        assert_eq!(crate::renewal::in_force(&all[..3], 50), None, "what holders may do renews nothing");
    }
}
