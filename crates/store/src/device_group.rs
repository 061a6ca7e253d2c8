//! Device groups: as the ledger says, and whom each holds. Of a rule, SQL is made from its typed conditions; every value
//! in it is bound.

use model::{
    Condition, DeviceGroupDefinition, DeviceGroupId, DeviceGroupName, DeviceGroupRule, EnrolmentId, Join,
    OrderId, PersonId, TimeMs,
};
use rusqlite::types::Value;
use rusqlite::{Row, ToSql, params};

use crate::view::{damaged, id};
use crate::{EnrolmentState, Slot, StoreError, Tx, View};

/// A device group as an order saved it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedDeviceGroup {
    /// Which.
    pub group: DeviceGroupId,
    /// What it is called.
    pub name: DeviceGroupName,
    /// Which phones it holds.
    pub definition: DeviceGroupDefinition,
    /// The order that saved it last.
    pub order: OrderId,
    /// Who signed that.
    pub person: PersonId,
    /// When that was.
    pub saved_at_ms: TimeMs,
}

/// A device group as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceGroupRecord {
    /// Its place in the list.
    pub number: i64,
    /// What was saved.
    pub saved: SavedDeviceGroup,
    /// Of a list: how many phones the order named, those that have left since among them.
    pub listed: u32,
}

/// Whom a device group holds: enrolled phones that are on its list, or of which its rule holds at a moment.
#[derive(Debug, Clone)]
pub struct Members(Whom);

#[derive(Debug, Clone)]
enum Whom {
    List { number: i64 },
    Rule { rule: DeviceGroupRule, now_ms: TimeMs },
}

impl DeviceGroupRecord {
    /// Whom it holds at this moment.
    #[must_use]
    pub fn members(&self, now_ms: TimeMs) -> Members {
        match &self.saved.definition {
            DeviceGroupDefinition::Rule(rule) => Members::of_rule(rule.clone(), now_ms),
            DeviceGroupDefinition::List => Members(Whom::List { number: self.number }),
        }
    }
}

/// What rules ask of a phone's word stands beside the phone too: the field's name, and the column of `enrolments`.
pub(crate) const SAID: [(&str, &str); 4] = [
    ("SecurityInfo.PasscodeCompliant", "said_passcode_complies"),
    ("SecurityInfo.PasscodePresent", "said_passcode_present"),
    ("SecurityInfo.HardwareEncryptionCaps", "said_encryption"),
    ("IsMDMLostModeEnabled", "said_lost"),
];

impl Members {
    /// Those of which the rule holds at this moment.
    #[must_use]
    pub fn of_rule(rule: DeviceGroupRule, now_ms: TimeMs) -> Self {
        Self(Whom::Rule { rule, now_ms })
    }

    /// The condition over `enrolments e`. Values are bound under names that are added to `values`. `by_slot`: whoever asks
    /// wants no other order. A `+` keeps SQLite to the index of that order, or it would sort what another one finds.
    pub(crate) fn sql(&self, by_slot: bool, values: &mut Vec<(String, Value)>) -> String {
        let mut bound = |value: Value| {
            let name = format!(":g{}", values.len());
            values.push((name.clone(), value));
            name
        };
        match &self.0 {
            Whom::List { number } => {
                let number = bound((*number).into());
                let slot = if by_slot { "e.slot" } else { "+e.slot" };
                format!("{slot} IN (SELECT p.slot FROM device_group_phones p WHERE p.number = {number})")
            }
            Whom::Rule { rule, now_ms } => {
                let each: Vec<String> =
                    rule.conditions.iter().map(|c| condition(c, *now_ms, &mut bound)).collect();
                let join = match rule.join {
                    Join::All => " AND ",
                    Join::Any => " OR ",
                };
                // A rule without a condition is saved by no order, and holds nobody.
                if each.is_empty() { "0".into() } else { format!("({})", each.join(join)) }
            }
        }
    }

    /// The same for the phones of one home group, or of all.
    pub(crate) fn within(&self, home: Option<&str>, values: &mut Vec<(String, Value)>) -> String {
        let members = self.sql(true, values);
        match home {
            None => members,
            Some(home) => {
                values.push((":home".to_owned(), home.to_owned().into()));
                format!("e.home = :home AND {members}")
            }
        }
    }
}

fn condition(condition: &Condition, now_ms: TimeMs, bound: &mut impl FnMut(Value) -> String) -> String {
    match condition {
        Condition::OsBelow(version) => format!("e.os_number < {}", bound(version.number().into())),
        Condition::OsAtLeast(version) => format!("e.os_number >= {}", bound(version.number().into())),
        Condition::Models(models) => {
            let names: Vec<String> = models.iter().map(|m| bound(m.clone().into())).collect();
            format!("e.model IN ({})", names.join(", "))
        }
        Condition::HomeGroups(groups) => {
            let names: Vec<String> = groups.iter().map(|g| bound(g.as_str().to_owned().into())).collect();
            format!("+e.home IN ({})", names.join(", "))
        }
        Condition::SilentForDays(days) => {
            let since_ms = now_ms - TimeMs::from(*days) * model::clock::DAY_MS;
            format!("+e.last_seen_at_ms < {}", bound(since_ms.into()))
        }
        Condition::Supervised(is) => format!("e.supervised = {}", bound(i64::from(*is).into())),
        Condition::PasscodeCompliant(is) => format!("e.said_passcode_complies = '{is}'"),
        Condition::Lost(is) => format!("e.said_lost = '{is}'"),
        // Apple: with both kinds of encryption and a passcode the data protection is in force (SecurityInfo).
        Condition::DataProtected(true) => {
            "(e.said_encryption = '3' AND e.said_passcode_present = 'true')".to_owned()
        }
        Condition::DataProtected(false) => {
            "(e.said_encryption <> '3' OR e.said_passcode_present = 'false')".to_owned()
        }
    }
}

/// Parameters under names, for [`View::named`].
pub(crate) fn named(values: &[(String, Value)]) -> Vec<(&str, &dyn ToSql)> {
    values.iter().map(|(name, value)| (name.as_str(), value as &dyn ToSql)).collect()
}

const DEVICE_GROUP: &str =
    "SELECT g.number, g.group_id, g.name, g.definition, g.order_id, g.person, g.saved_at_ms,
    (SELECT COUNT(*) FROM device_group_phones p WHERE p.number = g.number) FROM device_groups g";

fn record(r: &Row<'_>) -> rusqlite::Result<DeviceGroupRecord> {
    let (name, definition): (String, String) = (r.get(2)?, r.get(3)?);
    Ok(DeviceGroupRecord {
        number: r.get(0)?,
        saved: SavedDeviceGroup {
            group: id(r, 1)?,
            name: DeviceGroupName::new(&name).map_err(|_| damaged(2))?,
            definition: serde_json::from_str(&definition).map_err(|_| damaged(3))?,
            order: id(r, 4)?,
            person: id(r, 5)?,
            saved_at_ms: r.get(6)?,
        },
        listed: r.get(7)?,
    })
}

impl View<'_> {
    /// Device groups after that place, the oldest first.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn device_groups(&self, after: i64, limit: u32) -> Result<Vec<DeviceGroupRecord>, StoreError> {
        self.all(
            &format!("{DEVICE_GROUP} WHERE g.number > ?1 ORDER BY g.number LIMIT ?2"),
            params![after, limit],
            record,
        )
    }

    /// The device group of that id.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn find_device_group(&self, group: DeviceGroupId) -> Result<Option<DeviceGroupRecord>, StoreError> {
        self.one(&format!("{DEVICE_GROUP} WHERE g.group_id = ?1"), [group.as_bytes()], record)
    }

    /// How many phones it holds, of one home group or of all.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn count_members(&self, of: &Members, home: Option<&str>) -> Result<u64, StoreError> {
        let mut values = Vec::new();
        let members = of.within(home, &mut values);
        let sql = format!(
            "SELECT COUNT(*) FROM enrolments e WHERE {}e.state = {} AND {members}",
            if home.is_some() { "+" } else { "" },
            EnrolmentState::Enrolled.number()
        );
        let counted = self.named(&sql, &named(&values), |r| r.get::<_, i64>(0))?;
        Ok(counted.first().and_then(|n| u64::try_from(*n).ok()).unwrap_or(0))
    }

    /// The phones it holds, of one home group or of all, in the ascending order of their slots.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn member_slots(&self, of: &Members, home: Option<&str>) -> Result<Vec<Slot>, StoreError> {
        let mut values = Vec::new();
        let members = of.within(home, &mut values);
        // A rule over all phones has an index of its own, in that order.
        let walks = home.is_none() && matches!(of.0, Whom::Rule { .. });
        let sql = format!(
            "SELECT e.slot FROM enrolments e WHERE {}e.state = {} AND {members} ORDER BY e.slot",
            if walks { "" } else { "+" },
            EnrolmentState::Enrolled.number()
        );
        self.named(&sql, &named(&values), |r| Ok(Slot(r.get(0)?)))
    }

    /// The phones it holds, of one home group or of all, as they were invited.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn members(
        &self,
        of: &Members,
        home: Option<&str>,
        limit: u32,
    ) -> Result<Vec<EnrolmentId>, StoreError> {
        let mut values = Vec::new();
        let members = of.within(home, &mut values);
        values.push((":limit".to_owned(), i64::from(limit).into()));
        let sql = format!(
            "SELECT e.enrolment FROM enrolments e WHERE +e.state = {} AND {members} ORDER BY e.slot LIMIT :limit",
            EnrolmentState::Enrolled.number()
        );
        self.named(&sql, &named(&values), |r| id(r, 0))
    }
}

impl Tx<'_> {
    /// A device group is this one from here on; `phones` are those of its list.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn save_device_group(&self, saved: &SavedDeviceGroup, phones: &[Slot]) -> Result<(), StoreError> {
        let definition = serde_json::to_string(&saved.definition)
            .map_err(|_| StoreError::Damaged("definition of a device group"))?;
        self.run(
            "INSERT INTO device_groups (group_id, name, definition, order_id, person, saved_at_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (group_id) DO UPDATE SET name = excluded.name,
             definition = excluded.definition, order_id = excluded.order_id, person = excluded.person,
             saved_at_ms = excluded.saved_at_ms",
            params![
                saved.group.as_bytes(),
                saved.name.as_str(),
                definition,
                saved.order.as_bytes(),
                saved.person.as_bytes(),
                saved.saved_at_ms
            ],
        )?;
        let number: i64 = self
            .one("SELECT number FROM device_groups WHERE group_id = ?1", [saved.group.as_bytes()], |r| {
                r.get(0)
            })?
            .ok_or(StoreError::Damaged("device group"))?;
        self.run("DELETE FROM device_group_phones WHERE number = ?1", [number])?;
        for phone in phones {
            self.run(
                "INSERT INTO device_group_phones (number, slot) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                [number, phone.0],
            )?;
        }
        Ok(())
    }

    /// A device group is no more.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn end_device_group(&self, group: DeviceGroupId) -> Result<(), StoreError> {
        self.run(
            "DELETE FROM device_group_phones WHERE number = (SELECT number FROM device_groups WHERE group_id = ?1)",
            [group.as_bytes()],
        )?;
        self.run("DELETE FROM device_groups WHERE group_id = ?1", [group.as_bytes()])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DeviceFilter, NewInvitation, Store};
    use model::clock::DAY_MS;
    use model::{Group, LinkHash, OsVersion};

    const NOW_MS: TimeMs = 1_000 * DAY_MS;

    /// Enrolled; what it said of itself: supervised, OS, model, other fields.
    fn phone(
        tx: &Tx<'_>,
        n: u8,
        home: &str,
        seen_days_ago: TimeMs,
        said: (Option<bool>, Option<&str>, Option<&str>),
        fields: &[(&str, &str)],
    ) -> Result<Slot, StoreError> {
        let slot = tx.invite(&NewInvitation {
            enrolment: EnrolmentId([n; 16]),
            link: LinkHash([n; 32]),
            group: home.into(),
            expires_at_ms: NOW_MS,
            invited_at_ms: 1,
        })?;
        tx.issue(slot, 2)?;
        tx.authenticate(slot, &[n; 16], 3)?;
        tx.enrol(slot, NOW_MS - seen_days_ago * DAY_MS, NOW_MS)?;
        tx.describe(slot, said.0, said.1, said.2)?;
        let fields: Vec<_> = fields.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        // What it said before and says no more counts no more.
        let before: Vec<_> = GOOD.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        tx.put_clear(slot, "SecurityInfo", &before, true, 4)?;
        tx.put_clear(slot, "SecurityInfo", &fields, true, 5)?;
        Ok(slot)
    }

    const GOOD: &[(&str, &str)] = &[
        ("IsMDMLostModeEnabled", "false"),
        ("SecurityInfo.HardwareEncryptionCaps", "3"),
        ("SecurityInfo.PasscodeCompliant", "true"),
        ("SecurityInfo.PasscodePresent", "true"),
    ];
    const BAD: &[(&str, &str)] = &[
        ("IsMDMLostModeEnabled", "true"),
        ("SecurityInfo.HardwareEncryptionCaps", "3"),
        ("SecurityInfo.PasscodeCompliant", "false"),
        ("SecurityInfo.PasscodePresent", "false"),
    ];

    /// 1: all is well; 2: nothing is; 3: has said nothing; 4: well, and not enrolled any more; 5: not encrypted.
    async fn fleet() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("core.db")).unwrap();
        store
            .write(|tx| {
                phone(tx, 1, "ward-7", 0, (Some(true), Some("18.1"), Some("iPhone14,5")), GOOD)?;
                phone(tx, 2, "ward-8", 40, (Some(false), Some("17.10.2"), Some("iPhone12,8")), BAD)?;
                phone(tx, 3, "ward-7", 10, (None, None, None), &[])?;
                let left = phone(tx, 4, "ward-7", 0, (Some(true), Some("18.1"), Some("iPhone14,5")), GOOD)?;
                tx.end(left, None, 9)?;
                let caps = [("SecurityInfo.HardwareEncryptionCaps", "1")];
                phone(tx, 5, "ward-9", 0, (Some(true), Some("9.3 (x)"), None), &caps)?;
                Ok(())
            })
            .await
            .unwrap();
        (dir, store)
    }

    fn held(v: &View<'_>, of: &Members) -> Vec<u8> {
        let filter = DeviceFilter { device_group: Some(of.clone()), limit: 50, ..DeviceFilter::default() };
        let found: Vec<u8> = v.devices(&filter).unwrap().iter().map(|d| d.enrolment.0[0]).collect();
        assert_eq!(v.count_members(of, None).unwrap(), found.len() as u64);
        let ids: Vec<u8> = v.members(of, None, 50).unwrap().iter().map(|e| e.0[0]).collect();
        assert_eq!(ids, found);
        assert_eq!(v.ids_of(&v.member_slots(of, None).unwrap()).unwrap(), v.members(of, None, 50).unwrap());
        found
    }

    fn version(major: u16, minor: u16, patch: u16) -> OsVersion {
        OsVersion { major, minor, patch }
    }

    #[tokio::test]
    async fn each_condition_holds_of_the_phones_that_said_so_and_of_no_phone_that_has_not() {
        let (_dir, store) = fleet().await;
        let homes = |names: &[&str]| names.iter().map(|n| Group::new(n).unwrap()).collect();
        let cases: Vec<(Condition, &[u8])> = vec![
            (Condition::OsBelow(version(18, 0, 0)), &[2, 5]),
            (Condition::OsBelow(version(17, 9, 0)), &[5]),
            (Condition::OsAtLeast(version(17, 10, 2)), &[1, 2]),
            (Condition::OsAtLeast(version(17, 10, 3)), &[1]),
            (Condition::Models(vec!["iPhone12,8".into(), "x".into()]), &[2]),
            (Condition::HomeGroups(homes(&["ward-7", "ward-9"])), &[1, 3, 5]),
            (Condition::SilentForDays(40), &[]),
            (Condition::SilentForDays(39), &[2]),
            (Condition::SilentForDays(7), &[2, 3]),
            (Condition::Supervised(true), &[1, 5]),
            (Condition::Supervised(false), &[2]),
            (Condition::PasscodeCompliant(true), &[1]),
            (Condition::PasscodeCompliant(false), &[2]),
            (Condition::Lost(true), &[2]),
            (Condition::Lost(false), &[1]),
            (Condition::DataProtected(true), &[1]),
            (Condition::DataProtected(false), &[2, 5]),
        ];
        store
            .read_now(|v| {
                for (condition, wanted) in cases {
                    let rule = DeviceGroupRule { join: Join::All, conditions: vec![condition.clone()] };
                    assert_eq!(held(v, &Members::of_rule(rule, NOW_MS)), wanted, "{condition:?}");
                }
                Ok(())
            })
            .unwrap();
    }

    #[tokio::test]
    async fn conditions_go_together_as_the_rule_says_and_a_home_group_narrows_it() {
        let (_dir, store) = fleet().await;
        let conditions = vec![Condition::Supervised(true), Condition::SilentForDays(7)];
        let rule = |join| Members::of_rule(DeviceGroupRule { join, conditions: conditions.clone() }, NOW_MS);
        store
            .read_now(|v| {
                assert_eq!(held(v, &rule(Join::All)), Vec::<u8>::new());
                assert_eq!(held(v, &rule(Join::Any)), [1, 2, 3, 5]);
                assert_eq!(v.count_members(&rule(Join::Any), Some("ward-7"))?, 2);
                assert_eq!(v.members(&rule(Join::Any), Some("ward-7"), 1)?, [EnrolmentId([1; 16])]);
                let nothing = DeviceGroupRule { join: Join::Any, conditions: vec![] };
                assert_eq!(held(v, &Members::of_rule(nothing, NOW_MS)), Vec::<u8>::new());
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn no_value_of_a_rule_stands_in_its_statement() {
        let evil = "x') OR 1 = 1 --";
        let conditions = vec![
            Condition::Models(vec![evil.into(), evil.into()]),
            Condition::HomeGroups(vec![Group::new("ward-777").unwrap()]),
            Condition::OsBelow(version(777, 7, 7)),
            Condition::OsAtLeast(version(777, 7, 7)),
            Condition::SilentForDays(777),
        ];
        let now_ms = 777_000_000_777;
        let of = Members::of_rule(DeviceGroupRule { join: Join::Any, conditions }, now_ms);
        let mut values = Vec::new();
        let sql = of.sql(true, &mut values);
        assert!(!sql.contains("OR 1") && !sql.contains("777"), "{sql}");
        assert_eq!(values.len(), 6);
        assert_eq!(values[0].1, Value::from(evil.to_owned()));
    }

    #[tokio::test]
    async fn a_list_holds_its_enrolled_phones_until_another_takes_its_place_or_it_ends() {
        let (_dir, store) = fleet().await;
        let group = DeviceGroupId([7; 16]);
        let saved = |name: &str, n: u8| SavedDeviceGroup {
            group,
            name: DeviceGroupName::new(name).unwrap(),
            definition: DeviceGroupDefinition::List,
            order: OrderId([n; 16]),
            person: PersonId([1; 16]),
            saved_at_ms: 5,
        };
        let put = |s: SavedDeviceGroup, slots: Vec<i64>| {
            store.write(move |tx| tx.save_device_group(&s, &slots.into_iter().map(Slot).collect::<Vec<_>>()))
        };
        put(saved("Theatre", 1), vec![4, 2, 1]).await.unwrap();
        let found = store.read(move |v| v.find_device_group(group)).await.unwrap().unwrap();
        assert_eq!((&found.saved, found.listed), (&saved("Theatre", 1), 3));
        let one = found.clone();
        store
            .read_now(|v| {
                assert_eq!(held(v, &one.members(NOW_MS)), [1, 2]);
                Ok(())
            })
            .unwrap();
        put(saved("Theatre 4", 2), vec![2]).await.unwrap();
        let all = store.read(|v| v.device_groups(0, 10)).await.unwrap();
        assert_eq!(all.len(), 1);
        assert_eq!(
            (all[0].saved.name.as_str(), all[0].listed, all[0].number),
            ("Theatre 4", 1, found.number)
        );
        store
            .read_now(|v| {
                assert_eq!(held(v, &all[0].members(NOW_MS)), [2]);
                Ok(())
            })
            .unwrap();
        store.write(move |tx| tx.end_device_group(group)).await.unwrap();
        assert!(store.read(move |v| v.find_device_group(group)).await.unwrap().is_none());
        store
            .read_now(|v| {
                assert_eq!(held(v, &all[0].members(NOW_MS)), Vec::<u8>::new());
                Ok(())
            })
            .unwrap();
    }
}
