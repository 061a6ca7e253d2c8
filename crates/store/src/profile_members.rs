//! How a device group's phones stand with the library's profiles.

use std::collections::BTreeMap;

use model::{EnrolmentId, ProfileId, TimeMs};
use rusqlite::types::Value;

use crate::device_group::{Members, named};
use crate::view::id;
use crate::{CommandState, EnrolmentState, Slot, StoreError, View};

/// A phone of a device group, and how it stands with one profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProfileMember {
    /// The phone.
    pub enrolment: EnrolmentId,
    /// The version that it said it had installed; 0: none.
    pub confirmed: u32,
    /// What a command asks of it that it may still answer: a version to hold, or 0 to be without the profile.
    pub asked: Option<u32>,
}

/// What a phone was asked of the profile leaves room for a standing order to install it.
const LACKS: &str =
    "(p.version IS NULL OR (p.version > 0 AND p.version < :version AND p.asked_at_ms < :since))";

impl View<'_> {
    /// The phones of a device group, of one home group or of all, as they stand with a profile.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn profile_members(
        &self,
        profile: ProfileId,
        of: &Members,
        home: Option<&str>,
        limit: u32,
    ) -> Result<Vec<ProfileMember>, StoreError> {
        let mut values = vec![
            (":profile".to_owned(), Value::Blob(profile.as_bytes().to_vec())),
            (":limit".to_owned(), i64::from(limit).into()),
        ];
        let members = of.within(home, &mut values);
        let sql = format!(
            "SELECT e.enrolment, p.confirmed, p.version, q.state FROM enrolments e
             LEFT JOIN phone_profiles p ON p.slot = e.slot AND p.profile = :profile
             LEFT JOIN queue q ON q.slot = p.slot AND q.number = p.number
             WHERE +e.state = {} AND {members} ORDER BY e.slot LIMIT :limit",
            EnrolmentState::Enrolled.number()
        );
        self.named(&sql, &named(&values), |r| {
            let (confirmed, version): (Option<u32>, Option<u32>) = (r.get(1)?, r.get(2)?);
            let command = r.get::<_, Option<i64>>(3)?.and_then(CommandState::from_number);
            let asked = version.filter(|_| command.is_some_and(CommandState::is_open));
            Ok(ProfileMember { enrolment: id(r, 0)?, confirmed: confirmed.unwrap_or(0), asked })
        })
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

    /// Of each profile and version, how many phones of a device group said that they hold it.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn profiles_of_members(
        &self,
        of: &Members,
        home: Option<&str>,
    ) -> Result<BTreeMap<(ProfileId, u32), u64>, StoreError> {
        let mut values = Vec::new();
        let members = of.within(home, &mut values);
        let sql = format!(
            "SELECT p.profile, p.confirmed FROM enrolments e CROSS JOIN phone_profiles p ON p.slot = e.slot
             WHERE {}e.state = {} AND p.confirmed > 0 AND {members}",
            if home.is_some() { "+" } else { "" },
            EnrolmentState::Enrolled.number()
        );
        // Counted here: SQLite would sort all of them first.
        let mut counts = BTreeMap::new();
        self.named(&sql, &named(&values), |r| {
            *counts.entry((id(r, 0)?, r.get(1)?)).or_default() += 1;
            Ok(())
        })?;
        Ok(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NewCommand, NewInvitation, Store};
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
        let stands = |of: &Members, home: Option<&str>, limit: u32| {
            let found = store.read_now(|v| v.profile_members(PROFILE, of, home, limit)).unwrap();
            found.iter().map(|m| (m.enrolment.0[0], m.confirmed, m.asked)).collect::<Vec<_>>()
        };
        let all = wards(&["ward-7", "ward-8"]);
        assert_eq!(stands(&all, None, 10), [(1, 1, Some(2)), (2, 2, None), (3, 0, None), (4, 0, None)]);
        assert_eq!(stands(&wards(&["ward-7"]), None, 2), [(1, 1, Some(2)), (2, 2, None)]);
        assert_eq!(stands(&all, Some("ward-8"), 10), [(4, 0, None)]);
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
        let counts = |of: &Members, home: Option<&str>| {
            store.read_now(|v| v.profiles_of_members(of, home)).unwrap().into_iter().collect::<Vec<_>>()
        };
        assert_eq!(counts(&all, None), [((PROFILE, 1), 1), ((PROFILE, 2), 1), ((OTHER, 1), 1)]);
        assert_eq!(counts(&all, Some("ward-8")), []);
    }
}
