//! How a device group's phones stand with the library's profiles.

use std::collections::BTreeMap;

use model::{EnrolmentId, ProfileId, TimeMs};
use rusqlite::types::Value;
use rusqlite::{Row, params};

use crate::device_group::{Members, named};
use crate::view::id;
use crate::{EnrolmentState, Slot, StoreError, View};

/// A phone of a device group, and how it stands with one profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProfileMember {
    /// The phone's number here.
    pub slot: Slot,
    /// The version that it said it had installed; 0: none.
    pub confirmed: u32,
    /// What a command asks of it that it may still answer: a version to hold, or 0 to be without the profile.
    pub asked: Option<u32>,
}

/// So many phones are looked up one by one; for more, all of a profile's phones are walked beside them. A look takes as long as some ten
/// steps of a walk.
const FEW: usize = 4_000;

/// How a phone stands with a profile, from the index alone. Whoever answered the newest command for it has none that is open.
const STANDS: &str = "SELECT p.slot, p.confirmed, p.version, CASE WHEN p.state = 0
        THEN COALESCE((SELECT q.state < 3 FROM queue q WHERE q.slot = p.slot AND q.number = p.number), 0) ELSE 0 END
    FROM phone_profiles p INDEXED BY phone_profiles_by_profile WHERE p.profile = ?1";

fn stands(r: &Row<'_>) -> rusqlite::Result<ProfileMember> {
    let (version, open): (u32, bool) = (r.get(2)?, r.get(3)?);
    Ok(ProfileMember { slot: Slot(r.get(0)?), confirmed: r.get(1)?, asked: open.then_some(version) })
}

fn has_none(slot: Slot) -> ProfileMember {
    ProfileMember { slot, confirmed: 0, asked: None }
}

/// What a standing order installs, and by what a phone lacks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lacking {
    /// The profile.
    pub profile: ProfileId,
    /// Its version.
    pub version: u32,
    /// When the standing order was made: what was asked of a phone before it was without it.
    pub since_ms: TimeMs,
    /// Now.
    pub now_ms: TimeMs,
    /// After an ask that ran out unanswered the phone is asked again once so long went by; doubled for each ask in a row.
    pub pause_ms: TimeMs,
    /// The longest pause.
    pub longest_pause_ms: TimeMs,
}

impl Lacking {
    fn values(&self) -> Vec<(String, Value)> {
        vec![
            (":profile".to_owned(), Value::Blob(self.profile.as_bytes().to_vec())),
            (":version".to_owned(), i64::from(self.version).into()),
            (":since".to_owned(), self.since_ms.into()),
            (":now".to_owned(), self.now_ms.into()),
            (":pause".to_owned(), self.pause_ms.into()),
            (":longest".to_owned(), self.longest_pause_ms.into()),
        ]
    }
}

/// The phone was never asked for it; or, before the standing order was made, for an older version, or for this one by a command that was
/// called back.
const LACKS: &str =
    "(p.version IS NULL OR (p.version > 0 AND p.asked_at_ms < :since AND (p.version < :version
    OR (p.version = :version AND p.state = 0 AND p.ran_out_at_ms IS NULL AND NOT EXISTS (
        SELECT 1 FROM queue q WHERE q.slot = p.slot AND q.number = p.number AND q.state < 3)))))";

/// The newest ask for this very version ran out unanswered, and the pause after it is over.
const RAN_OUT: &str = "(p.version = :version AND p.state = 0 AND p.ran_out_at_ms IS NOT NULL
    AND p.ran_out_at_ms + MIN(:pause << MIN(p.asked_times - 1, 20), :longest) <= :now)";

impl View<'_> {
    /// How each of these phones stands with a profile. `members`: as [`View::member_slots`] gives them, in ascending order.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn stand_with(
        &self,
        profile: ProfileId,
        members: &[Slot],
        each: impl FnMut(ProfileMember),
    ) -> Result<(), StoreError> {
        if members.len() <= FEW {
            self.stand_each(profile, members, each)
        } else {
            self.stand_beside(profile, members, each)
        }
    }

    pub(crate) fn stand_each(
        &self,
        profile: ProfileId,
        members: &[Slot],
        mut each: impl FnMut(ProfileMember),
    ) -> Result<(), StoreError> {
        let sql = format!("{STANDS} AND p.slot = ?2");
        for slot in members {
            let found = self.one(&sql, params![profile.as_bytes(), slot.0], stands)?;
            each(found.unwrap_or_else(|| has_none(*slot)));
        }
        Ok(())
    }

    /// Both in the order of their slots, side by side: SQLite would look up each by itself.
    pub(crate) fn stand_beside(
        &self,
        profile: ProfileId,
        members: &[Slot],
        mut each: impl FnMut(ProfileMember),
    ) -> Result<(), StoreError> {
        let mut rest = members.iter().copied().peekable();
        self.all(&format!("{STANDS} ORDER BY p.slot"), [profile.as_bytes()], |r| {
            let found = stands(r)?;
            while let Some(slot) = rest.next_if(|slot| *slot < found.slot) {
                each(has_none(slot));
            }
            if rest.next_if_eq(&found.slot).is_some() {
                each(found);
            }
            Ok(())
        })?;
        rest.for_each(|slot| each(has_none(slot)));
        Ok(())
    }

    /// Whether the phone is still one of those of [`Self::members_without`].
    ///
    /// # Errors
    /// When the database refuses.
    pub fn lacks_profile(
        &self,
        slot: Slot,
        what: &Lacking,
        of: &Members,
        home: Option<&str>,
    ) -> Result<bool, StoreError> {
        let mut values = what.values();
        values.push((":slot".to_owned(), slot.0.into()));
        let members = of.within(home, &mut values);
        let sql = format!(
            "SELECT 1 FROM enrolments e LEFT JOIN phone_profiles p ON p.slot = e.slot AND p.profile = :profile
             WHERE e.slot = :slot AND e.state = {} AND ({LACKS} OR {RAN_OUT}) AND {members}",
            EnrolmentState::Enrolled.number()
        );
        Ok(!self.named(&sql, &named(&values), |_| Ok(()))?.is_empty())
    }

    /// The first phones of a device group, of one home group or of all, that a standing order has to ask for a version of a profile: those
    /// that were not asked for it nor for a newer one, and not to be without it; and since it was made not for an older one, as somebody who
    /// goes back to it does. Behind them those whose ask ran out, the longest ago first.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn members_without(
        &self,
        what: &Lacking,
        of: &Members,
        home: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(Slot, EnrolmentId)>, StoreError> {
        let mut found = self.members_not_asked(what, of, home, limit)?;
        let left = limit.saturating_sub(u32::try_from(found.len()).unwrap_or(u32::MAX));
        if left > 0 {
            found.extend(self.members_that_ran_out(what, of, home, left)?);
        }
        Ok(found)
    }

    fn members_that_ran_out(
        &self,
        what: &Lacking,
        of: &Members,
        home: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(Slot, EnrolmentId)>, StoreError> {
        let mut values = what.values();
        values.push((":limit".to_owned(), i64::from(limit).into()));
        let members = of.within(home, &mut values);
        let sql = format!(
            "SELECT e.slot, e.enrolment FROM phone_profiles p INDEXED BY phone_profiles_ran_out
             CROSS JOIN enrolments e ON e.slot = p.slot
             WHERE p.profile = :profile AND {RAN_OUT} AND +e.state = {} AND {members}
             ORDER BY p.ran_out_at_ms, p.slot LIMIT :limit",
            EnrolmentState::Enrolled.number()
        );
        self.named(&sql, &named(&values), |r| Ok((Slot(r.get(0)?), id(r, 1)?)))
    }

    fn members_not_asked(
        &self,
        what: &Lacking,
        of: &Members,
        home: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(Slot, EnrolmentId)>, StoreError> {
        let mut values = what.values();
        values.push((":limit".to_owned(), i64::from(limit).into()));
        let members = of.within(home, &mut values);
        let sql = format!(
            "SELECT e.slot, e.enrolment FROM enrolments e
             LEFT JOIN phone_profiles p ON p.slot = e.slot AND p.profile = :profile
             WHERE +e.state = {} AND {LACKS} AND {members}
             ORDER BY e.slot LIMIT :limit",
            EnrolmentState::Enrolled.number()
        );
        self.named(&sql, &named(&values), |r| Ok((Slot(r.get(0)?), id(r, 1)?)))
    }

    /// Of each profile and version, how many of these phones said that they hold it. `members`: as [`View::member_slots`] gives them, in
    /// ascending order.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn profiles_held(&self, members: &[Slot]) -> Result<Held, StoreError> {
        if members.len() <= FEW { self.held_by_each(members) } else { self.held_beside(members) }
    }

    pub(crate) fn held_by_each(&self, members: &[Slot]) -> Result<Held, StoreError> {
        let mut counts = Held::new();
        for slot in members {
            let sql =
                "SELECT p.profile, p.confirmed FROM phone_profiles p WHERE p.slot = ?1 AND p.confirmed > 0";
            self.all(sql, [slot.0], |r| {
                *counts.entry((id(r, 0)?, r.get(1)?)).or_default() += 1;
                Ok(())
            })?;
        }
        Ok(counts)
    }

    /// Profile by profile and version by version, the phones of each side by side with the members.
    pub(crate) fn held_beside(&self, members: &[Slot]) -> Result<Held, StoreError> {
        let mut counts = Held::new();
        let mut of: Option<(ProfileId, u32)> = None;
        let (mut rest, mut n) = (members, 0);
        self.all(HELD, [], |r| {
            let (held, slot) = ((id(r, 0)?, r.get(1)?), Slot(r.get(2)?));
            if of != Some(held) {
                if let Some(before) = of.replace(held).filter(|_| n > 0) {
                    counts.insert(before, n);
                }
                (rest, n) = (members, 0);
            }
            while let Some((first, others)) = rest.split_first()
                && *first <= slot
            {
                n += u64::from(*first == slot);
                rest = others;
            }
            Ok(())
        })?;
        if let Some(last) = of.filter(|_| n > 0) {
            counts.insert(last, n);
        }
        Ok(counts)
    }
}

/// How many phones, by profile and version.
pub type Held = BTreeMap<(ProfileId, u32), u64>;

const HELD: &str =
    "SELECT p.profile, p.confirmed, p.slot FROM phone_profiles p INDEXED BY phone_profiles_confirmed
    WHERE p.confirmed > 0 ORDER BY p.profile, p.confirmed, p.slot";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CommandState, NewCommand, NewInvitation, Store};
    use model::{CommandId, Condition, DeviceGroupRule, Group, Join, LinkHash};

    const PROFILE: ProfileId = ProfileId([7; 16]);
    const OTHER: ProfileId = ProfileId([8; 16]);

    fn command(n: u8) -> NewCommand {
        NewCommand {
            command: CommandId([n; 16]),
            order: None,
            request_type: "InstallProfile".into(),
            query: None,
            body: vec![1],
            sealed: false,
            created_at_ms: 5,
            expires_at_ms: 1000,
        }
    }

    fn lacking(version: u32, since_ms: TimeMs, now_ms: TimeMs) -> Lacking {
        Lacking { profile: PROFILE, version, since_ms, now_ms, pause_ms: 100, longest_pause_ms: 400 }
    }

    fn wards(names: &[&str]) -> Members {
        let homes = names.iter().map(|n| Group::new(n).unwrap()).collect();
        Members::of_rule(
            DeviceGroupRule { join: Join::All, conditions: vec![Condition::HomeGroups(homes)] },
            5,
        )
    }

    #[tokio::test]
    async fn each_phone_of_a_device_group_stands_by_its_own_word_and_by_what_it_may_still_answer() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("core.db")).unwrap();
        store
            .write(|tx| {
                for (n, home) in [(1, "ward-7"), (2, "ward-7"), (3, "ward-7"), (4, "ward-8"), (5, "ward-7")] {
                    let slot = tx.invite(&NewInvitation {
                        enrolment: EnrolmentId([n; 16]),
                        link: LinkHash([n; 32]),
                        group: home.into(),
                        expires_at_ms: 1000,
                        invited_at_ms: 1,
                    })?;
                    tx.issue(slot, 2)?;
                    tx.authenticate(slot, &[n; 16], 3)?;
                    // The fifth is invited and has not come.
                    if n < 5 {
                        tx.enrol(slot, 4, 5)?;
                    }
                }
                let ask = |slot: i64, profile, version: u32, n: u8, said: Option<bool>| {
                    let number = tx.put_command(&command(n))?;
                    tx.put_profile_command(number, profile, version)?;
                    tx.queue(Slot(slot), number, Some((&[1], 1000)))?;
                    tx.ask_profile(Slot(slot), profile, version, number, 5)?;
                    if let Some(done) = said {
                        let state = if done { CommandState::Acknowledged } else { CommandState::Error };
                        tx.mark_sent(Slot(slot), number, 5)?;
                        tx.finish(Slot(slot), CommandId([n; 16]), state, &[], 6)?;
                        tx.profile_answered(Slot(slot), number, done, 6)?;
                    }
                    Ok::<_, StoreError>(())
                };
                ask(1, PROFILE, 1, 10, Some(true))?;
                ask(1, PROFILE, 2, 11, None)?;
                ask(1, OTHER, 1, 12, Some(true))?;
                ask(2, PROFILE, 2, 13, Some(true))?;
                ask(4, PROFILE, 2, 14, Some(false))
            })
            .await
            .unwrap();
        let all = wards(&["ward-7", "ward-8"]);
        let slots = |of: &Members, home: Option<&str>| store.read_now(|v| v.member_slots(of, home)).unwrap();
        let stands = |members: &[Slot]| {
            let mut found = [Vec::new(), Vec::new()];
            let told = |m: ProfileMember| (m.slot.0, m.confirmed, m.asked);
            let [each, beside] = &mut found;
            store
                .read_now(|v| {
                    v.stand_each(PROFILE, members, |m| each.push(told(m)))?;
                    v.stand_beside(PROFILE, members, |m| beside.push(told(m)))
                })
                .unwrap();
            assert_eq!(each, beside, "both ways tell the same");
            found[0].clone()
        };
        assert_eq!(stands(&slots(&all, None)), [(1, 1, Some(2)), (2, 2, None), (3, 0, None), (4, 0, None)]);
        assert_eq!(stands(&slots(&wards(&["ward-7"]), None)), [(1, 1, Some(2)), (2, 2, None), (3, 0, None)]);
        assert_eq!(stands(&slots(&all, Some("ward-8"))), [(4, 0, None)]);
        assert_eq!(stands(&[]), []);
        let without_since = |version: u32, since_ms, home: Option<&str>| {
            let what = lacking(version, since_ms, 8);
            let found = store.read_now(|v| v.members_without(&what, &all, home, 10)).unwrap();
            found.iter().map(|(_, e)| e.0[0]).collect::<Vec<_>>()
        };
        let without = |version, home| without_since(version, 100, home);
        assert_eq!((without(2, None), without(2, Some("ward-8"))), (vec![3], vec![]));
        assert_eq!(without(3, None), [1, 2, 3, 4]);
        assert_eq!(
            without_since(3, 5, None),
            [3],
            "whoever was asked for an older one since is left with it"
        );
        let lacks = |slot, since_ms, of: &Members| {
            store.read_now(|v| v.lacks_profile(Slot(slot), &lacking(3, since_ms, 8), of, None)).unwrap()
        };
        let by_time = [lacks(1, 100, &all), lacks(1, 5, &all), lacks(3, 5, &all), lacks(5, 100, &all)];
        assert_eq!(by_time, [true, false, true, false]);
        assert!(
            !lacks(4, 100, &wards(&["ward-7"])) && lacks(4, 100, &wards(&["ward-8"])),
            "and who left is out"
        );
        let counts = |members: &[Slot]| {
            let each = store.read_now(|v| v.held_by_each(members)).unwrap();
            assert_eq!(store.read_now(|v| v.held_beside(members)).unwrap(), each, "both ways tell the same");
            each.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(counts(&slots(&all, None)), [((PROFILE, 1), 1), ((PROFILE, 2), 1), ((OTHER, 1), 1)]);
        assert_eq!(counts(&[Slot(2), Slot(3)]), [((PROFILE, 2), 1)]);
        assert_eq!(counts(&slots(&all, Some("ward-8"))), []);
        // What ran out, or was called back, can't be answered any more.
        store.write(|tx| tx.cancel_open(Slot(1), 7)).await.unwrap();
        assert_eq!(stands(&[Slot(1)]), [(1, 1, None)]);
        assert_eq!(
            (without_since(2, 5, None), without_since(2, 6, None)),
            (vec![3], vec![1, 3]),
            "what was called back is asked again by a standing order that was made since"
        );
    }

    #[tokio::test]
    async fn who_did_not_answer_is_asked_again_after_a_pause_that_doubles_and_behind_who_was_never_asked() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("core.db")).unwrap();
        let ask = |slot: i64, number: u8, at_ms| {
            store.write(move |tx| {
                let number = tx.put_command(&command(number))?;
                tx.put_profile_command(number, PROFILE, 2)?;
                tx.queue(Slot(slot), number, Some((&[1], 1000)))?;
                tx.ask_profile(Slot(slot), PROFILE, 2, number, at_ms)?;
                Ok(number)
            })
        };
        let close = |slot: i64, number, state, at_ms| {
            store.write(move |tx| tx.close(Slot(slot), number, state, at_ms))
        };
        store
            .write(|tx| {
                for n in 1..=4 {
                    let slot = tx.invite(&NewInvitation {
                        enrolment: EnrolmentId([n; 16]),
                        link: LinkHash([n; 32]),
                        group: "ward-7".into(),
                        expires_at_ms: 1000,
                        invited_at_ms: 1,
                    })?;
                    tx.issue(slot, 2)?;
                    tx.authenticate(slot, &[n; 16], 3)?;
                    tx.enrol(slot, 4, 5)?;
                }
                Ok(())
            })
            .await
            .unwrap();
        let asks = |now_ms, limit| {
            let found = store
                .read_now(|v| v.members_without(&lacking(2, 0, now_ms), &wards(&["ward-7"]), None, limit));
            found.unwrap().iter().map(|(slot, _)| slot.0).collect::<Vec<_>>()
        };
        let (one, two, three) =
            (ask(1, 1, 10).await.unwrap(), ask(2, 2, 10).await.unwrap(), ask(3, 3, 10).await.unwrap());
        assert_eq!(asks(10_000, 10), [4], "they may still answer");
        close(2, two, CommandState::Expired, 1_000).await.unwrap();
        close(1, one, CommandState::Expired, 1_010).await.unwrap();
        close(3, three, CommandState::Cancelled, 1_000).await.unwrap();
        assert_eq!(asks(1_099, 10), [4]);
        assert_eq!(asks(1_100, 10), [4, 2]);
        assert_eq!(asks(1_110, 10), [4, 2, 1], "the longest ago first, never one that was called back");
        assert_eq!((asks(1_110, 1), asks(1_110, 2)), (vec![4], vec![4, 2]));
        let lacks = |slot, now_ms| {
            let what = lacking(2, 0, now_ms);
            store.read_now(|v| v.lacks_profile(Slot(slot), &what, &wards(&["ward-7"]), None)).unwrap()
        };
        assert_eq!([lacks(2, 1_099), lacks(2, 1_100), lacks(3, 9_999)], [false, true, false]);
        // The pause doubles, up to the longest.
        let mut ended_ms = 1_000;
        for (n, pause_ms) in (10u8..).zip([200, 400, 400]) {
            let number = ask(2, n, ended_ms + 400).await.unwrap();
            assert!(!lacks(2, i64::MAX), "it may still answer");
            ended_ms += 1_000;
            close(2, number, CommandState::Expired, ended_ms).await.unwrap();
            assert_eq!([lacks(2, ended_ms + pause_ms - 1), lacks(2, ended_ms + pause_ms)], [false, true]);
        }
        // It comes after all, and what it says of the command that ran out counts.
        let answered = store.write(|tx| {
            tx.connection().execute("UPDATE queue SET sent_at_ms = 5 WHERE slot = 1", [])?;
            let done = tx.finish(Slot(1), CommandId([1; 16]), CommandState::Acknowledged, &[], 2_000)?;
            tx.profile_answered(Slot(1), done.unwrap().number, true, 2_000)
        });
        answered.await.unwrap();
        assert!(!lacks(1, i64::MAX));
        // One that is forgotten with the history is still known to have run out.
        store.write(|tx| tx.forget_history(i64::MAX, 100)).await.unwrap();
        assert_eq!([lacks(1, 9_999), lacks(2, 9_999), lacks(3, 9_999)], [false, true, false]);
    }
}
