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

/// What a phone was asked of the profile leaves room for a standing order to install it.
const LACKS: &str =
    "(p.version IS NULL OR (p.version > 0 AND p.version < :version AND p.asked_at_ms < :since))";

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

    /// Whether the phone is still one of those of [`Self::members_without`], but for the device group.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn lacks_profile(
        &self,
        slot: Slot,
        (profile, version): (ProfileId, u32),
        since_ms: TimeMs,
    ) -> Result<bool, StoreError> {
        let values = vec![
            (":profile".to_owned(), Value::Blob(profile.as_bytes().to_vec())),
            (":version".to_owned(), i64::from(version).into()),
            (":since".to_owned(), since_ms.into()),
            (":slot".to_owned(), slot.0.into()),
        ];
        let sql = format!(
            "SELECT 1 FROM enrolments e LEFT JOIN phone_profiles p ON p.slot = e.slot AND p.profile = :profile
             WHERE e.slot = :slot AND e.state = {} AND {LACKS}",
            EnrolmentState::Enrolled.number()
        );
        Ok(!self.named(&sql, &named(&values), |_| Ok(()))?.is_empty())
    }

    /// The first phones of a device group, of one home group or of all, that were not asked for this version of a profile nor a newer
    /// one, and not to be without it; and since `since_ms` not for an older one, as somebody who goes back to it does.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn members_without(
        &self,
        (profile, version): (ProfileId, u32),
        since_ms: TimeMs,
        of: &Members,
        home: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(Slot, EnrolmentId)>, StoreError> {
        let mut values = vec![
            (":profile".to_owned(), Value::Blob(profile.as_bytes().to_vec())),
            (":version".to_owned(), i64::from(version).into()),
            (":since".to_owned(), since_ms.into()),
            (":limit".to_owned(), i64::from(limit).into()),
        ];
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
                    let number = tx.put_command(&NewCommand {
                        command: CommandId([n; 16]),
                        order: None,
                        request_type: "InstallProfile".into(),
                        query: None,
                        body: vec![1],
                        sealed: false,
                        created_at_ms: 5,
                        expires_at_ms: 1000,
                    })?;
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
            let found =
                store.read_now(|v| v.members_without((PROFILE, version), since_ms, &all, home, 10)).unwrap();
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
        let lacks =
            |slot, since_ms| store.read_now(|v| v.lacks_profile(Slot(slot), (PROFILE, 3), since_ms)).unwrap();
        assert_eq!([lacks(1, 100), lacks(1, 5), lacks(3, 5), lacks(5, 100)], [true, false, true, false]);
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
    }
}
