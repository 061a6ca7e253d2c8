//! The library of profiles: versions as the ledger has them, their sealed contents, and which phone was asked to hold
//! which and said that it does.

use model::{Compartment, OrderId, PersonId, ProfileId, SealedRow, TimeMs};
use rusqlite::{Row, params};
use serde::{Deserialize, Serialize};

use crate::enrolment::numbered;
use crate::view::{coded, id};
use crate::{CommandState, Slot, StoreError, Tx, View};

numbered!(
    /// How a phone answered what it was last asked to hold of a profile.
    PhoneProfileState {
        /// Not yet.
        Asked = 0, "asked";
        /// It said that it did it.
        Done = 1, "done";
        /// It said no.
        Failed = 2, "failed";
    }
);

/// A version as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileVersion {
    /// Of which profile.
    pub profile: ProfileId,
    /// 1, 2, …
    pub version: u32,
    /// The order that saved it.
    pub order: OrderId,
    /// The ledger's index of it.
    pub position: u64,
    /// When.
    pub saved_at_ms: TimeMs,
    /// Who signed.
    pub signer: PersonId,
    /// Its `PayloadIdentifier`.
    pub identifier: String,
    /// It came signed.
    pub signed: bool,
    /// It counts as erasure.
    pub erasing: bool,
    /// model::Outline as CBOR.
    pub outline: Vec<u8>,
    /// Why it counts as erasure, as CBOR.
    pub because: Vec<u8>,
}

/// A sealed content under an older key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaleProfile {
    /// Its place: the next one is looked for behind it.
    pub number: i64,
    /// Of which profile.
    pub profile: ProfileId,
    /// The content.
    pub row: SealedRow,
}

/// How many phones stand where with a version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VersionPhones {
    /// 0: to be without the profile.
    pub version: u32,
    /// Asked, and not yet answered; those whose order ran out or was called back too.
    pub asked: u32,
    /// Said no.
    pub failed: u32,
    /// Said that it is installed, and nothing newer since.
    pub confirmed: u32,
}

/// A phone with a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhoneProfile {
    /// The phone's number here.
    pub slot: Slot,
    /// The phone.
    pub enrolment: model::EnrolmentId,
    /// The version it was last asked to hold; 0: none.
    pub version: u32,
    /// When.
    pub asked_at_ms: TimeMs,
    /// How it answered.
    pub state: PhoneProfileState,
    /// How the command stands, while it is known.
    pub command: Option<CommandState>,
    /// The version that it said it had installed; 0: none.
    pub confirmed: u32,
    /// When it said so.
    pub confirmed_at_ms: Option<TimeMs>,
}

const VERSION: &str =
    "SELECT v.profile, v.version, v.order_id, v.position, v.saved_at_ms, v.signer, v.identifier,
    v.signed, v.erasing, v.outline, v.because";

fn version(r: &Row<'_>) -> rusqlite::Result<ProfileVersion> {
    Ok(ProfileVersion {
        profile: id(r, 0)?,
        version: r.get(1)?,
        order: id(r, 2)?,
        position: u64::try_from(r.get::<_, i64>(3)?).unwrap_or(0),
        saved_at_ms: r.get(4)?,
        signer: id(r, 5)?,
        identifier: r.get(6)?,
        signed: r.get(7)?,
        erasing: r.get(8)?,
        outline: r.get(9)?,
        because: r.get(10)?,
    })
}

fn content(r: &Row<'_>, from: usize) -> rusqlite::Result<SealedRow> {
    Ok(SealedRow {
        name: r.get(from)?,
        compartment: Compartment::Secret,
        wrapped_key: r.get(from + 1)?,
        ciphertext: r.get(from + 2)?,
        mask: String::new(),
        change_tag: Vec::new(),
    })
}

fn epoch_bytes(epoch: u32) -> [u8; 4] {
    epoch.to_be_bytes()
}

impl View<'_> {
    /// The newest version of each profile of the library, by the profile's id.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn profiles(&self, limit: u32) -> Result<Vec<ProfileVersion>, StoreError> {
        self.newest_versions("IS NULL", limit)
    }

    /// The same of those that were taken out.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn ended_profiles(&self, limit: u32) -> Result<Vec<ProfileVersion>, StoreError> {
        self.newest_versions("IS NOT NULL", limit)
    }

    fn newest_versions(&self, ended: &str, limit: u32) -> Result<Vec<ProfileVersion>, StoreError> {
        self.all(
            &format!(
                "{VERSION} FROM profiles p JOIN profile_versions v ON v.profile = p.profile AND v.version = p.newest
                 WHERE p.ended_at_ms {ended} ORDER BY p.profile LIMIT ?1"
            ),
            [limit],
            version,
        )
    }

    /// The order that took a profile out of the library, and when.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn find_profile_end(&self, profile: ProfileId) -> Result<Option<(OrderId, TimeMs)>, StoreError> {
        self.one(
            "SELECT ended_by, ended_at_ms FROM profiles WHERE profile = ?1 AND ended_at_ms IS NOT NULL",
            [profile.as_bytes()],
            |r| Ok((id(r, 0)?, r.get(1)?)),
        )
    }

    /// A profile's versions, the newest first.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn profile_versions(&self, profile: ProfileId) -> Result<Vec<ProfileVersion>, StoreError> {
        self.all(
            &format!("{VERSION} FROM profile_versions v WHERE v.profile = ?1 ORDER BY v.version DESC"),
            [profile.as_bytes()],
            version,
        )
    }

    /// The number of a profile's newest version.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn newest_profile_version(&self, profile: ProfileId) -> Result<Option<u32>, StoreError> {
        self.one("SELECT newest FROM profiles WHERE profile = ?1", [profile.as_bytes()], |r| r.get(0))
    }

    /// Whether the profile has that version.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn has_profile_version(&self, profile: ProfileId, version: u32) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM profile_versions WHERE profile = ?1 AND version = ?2";
        Ok(self.one(sql, params![profile.as_bytes(), version], |_| Ok(()))?.is_some())
    }

    /// Whether what was sealed of a version is here. It is not read: it may be megabytes.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn has_profile_content(&self, profile: ProfileId, version: u32) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM profile_versions v JOIN profile_contents c ON c.order_id = v.order_id
             WHERE v.profile = ?1 AND v.version = ?2";
        Ok(self.one(sql, params![profile.as_bytes(), version], |_| Ok(()))?.is_some())
    }

    /// What was sealed of a version.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn find_profile_content(
        &self,
        profile: ProfileId,
        version: u32,
    ) -> Result<Option<SealedRow>, StoreError> {
        self.one(
            "SELECT c.name, c.wrapped_key, c.ciphertext FROM profile_versions v
             JOIN profile_contents c ON c.order_id = v.order_id WHERE v.profile = ?1 AND v.version = ?2",
            params![profile.as_bytes(), version],
            |r| content(r, 0),
        )
    }

    /// What was sealed of a profile's newest version that is here.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn newest_profile_content(&self, profile: ProfileId) -> Result<Option<SealedRow>, StoreError> {
        self.one(
            "SELECT c.name, c.wrapped_key, c.ciphertext FROM profile_versions v
             JOIN profile_contents c ON c.order_id = v.order_id WHERE v.profile = ?1
             ORDER BY v.version DESC LIMIT 1",
            [profile.as_bytes()],
            |r| content(r, 0),
        )
    }

    /// The next content under a key of an epoch below `before`, behind that place.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn stale_profile(&self, before: u32, behind: i64) -> Result<Option<StaleProfile>, StoreError> {
        self.one(
            "SELECT c.number, v.profile, c.name, c.wrapped_key, c.ciphertext FROM profile_contents c
             CROSS JOIN profile_versions v ON v.order_id = c.order_id
             WHERE c.number > ?2 AND substr(c.wrapped_key, 2, 4) < ?1 ORDER BY c.number LIMIT 1",
            params![epoch_bytes(before), behind],
            |r| Ok(StaleProfile { number: r.get(0)?, profile: id(r, 1)?, row: content(r, 2)? }),
        )
    }

    /// How many contents are under such keys.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn count_stale_profiles(&self, before: u32) -> Result<u64, StoreError> {
        self.count(
            "SELECT COUNT(*) FROM profile_contents WHERE substr(wrapped_key, 2, 4) < ?1",
            [epoch_bytes(before)],
        )
    }

    /// How many phones stand where with each version of a profile; of that group alone, where one is given.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn profile_phone_counts(
        &self,
        profile: ProfileId,
        group: Option<&str>,
    ) -> Result<Vec<VersionPhones>, StoreError> {
        let mut out: Vec<VersionPhones> = Vec::new();
        let mut at = |version: u32, add: &dyn Fn(&mut VersionPhones)| {
            let place = match out.iter().position(|v| v.version == version) {
                Some(place) => place,
                None => {
                    out.push(VersionPhones { version, ..VersionPhones::default() });
                    out.len() - 1
                }
            };
            out.get_mut(place).into_iter().for_each(add);
        };
        let of_group = match group {
            Some(_) => "CROSS JOIN enrolments e ON e.slot = p.slot AND e.home = ?3",
            None => "WHERE ?3 IS NULL AND",
        };
        let then = if group.is_some() { "WHERE" } else { "" };
        for state in [PhoneProfileState::Asked, PhoneProfileState::Failed] {
            let found: Vec<(u32, u32)> = self.all(
                &format!(
                    "SELECT p.version, COUNT(*) FROM phone_profiles p INDEXED BY phone_profiles_by_state {of_group}
                     {then} p.profile = ?1 AND p.state = ?2 GROUP BY p.version"
                ),
                params![profile.as_bytes(), state.number(), group],
                |r| Ok((r.get(0)?, r.get(1)?)),
            )?;
            for (version, n) in found {
                at(version, &|v| match state {
                    PhoneProfileState::Failed => v.failed = n,
                    _ => v.asked = n,
                });
            }
        }
        let found: Vec<(u32, u32)> = self.all(
            &format!(
                "SELECT p.confirmed, COUNT(*) FROM phone_profiles p INDEXED BY phone_profiles_confirmed {of_group}
                 {then} p.profile = ?1 AND p.confirmed > 0 AND ?2 = 0 GROUP BY p.confirmed"
            ),
            params![profile.as_bytes(), 0, group],
            |r| Ok((r.get(0)?, r.get(1)?)),
        )?;
        for (version, n) in found {
            at(version, &|v| v.confirmed = n);
        }
        Ok(out)
    }

    /// Phones that a profile was ordered for, behind that slot.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn profile_phones(
        &self,
        profile: ProfileId,
        group: Option<&str>,
        behind: i64,
        limit: u32,
    ) -> Result<Vec<PhoneProfile>, StoreError> {
        self.all(
            "SELECT p.slot, e.enrolment, p.version, p.asked_at_ms, p.state, q.state, p.confirmed, p.confirmed_at_ms
             FROM phone_profiles p INDEXED BY phone_profiles_by_profile CROSS JOIN enrolments e ON e.slot = p.slot
             LEFT JOIN queue q ON q.slot = p.slot AND q.number = p.number
             WHERE p.profile = ?1 AND p.slot > ?2 AND (?3 IS NULL OR e.home = ?3) ORDER BY p.slot LIMIT ?4",
            params![profile.as_bytes(), behind, group, limit],
            |r| {
                let command: Option<i64> = r.get(5)?;
                Ok(PhoneProfile {
                    slot: Slot(r.get(0)?),
                    enrolment: id(r, 1)?,
                    version: r.get(2)?,
                    asked_at_ms: r.get(3)?,
                    state: coded(r, 4, PhoneProfileState::from_number)?,
                    command: command.and_then(CommandState::from_number),
                    confirmed: r.get(6)?,
                    confirmed_at_ms: r.get(7)?,
                })
            },
        )
    }
}

impl Tx<'_> {
    /// Takes a version in as the ledger says it.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn put_profile_version(&self, v: &ProfileVersion) -> Result<(), StoreError> {
        self.run(
            "INSERT INTO profile_versions (profile, version, order_id, position, saved_at_ms, signer, identifier,
             signed, erasing, outline, because) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
             ON CONFLICT DO NOTHING",
            params![
                v.profile.as_bytes(),
                v.version,
                v.order.as_bytes(),
                i64::try_from(v.position).unwrap_or(i64::MAX),
                v.saved_at_ms,
                v.signer.as_bytes(),
                v.identifier,
                v.signed,
                v.erasing,
                v.outline,
                v.because
            ],
        )?;
        self.run(
            "INSERT INTO profiles (profile, newest) VALUES (?1, ?2)
             ON CONFLICT DO UPDATE SET newest = MAX(newest, ?2)",
            params![v.profile.as_bytes(), v.version],
        )?;
        Ok(())
    }

    /// A profile is taken out of the library, and with it what was sealed of its versions.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn end_profile(&self, profile: ProfileId, order: OrderId, at_ms: TimeMs) -> Result<(), StoreError> {
        self.run(
            "UPDATE profiles SET ended_at_ms = ?2, ended_by = ?3 WHERE profile = ?1 AND ended_at_ms IS NULL",
            params![profile.as_bytes(), at_ms, order.as_bytes()],
        )?;
        self.run(
            "DELETE FROM profile_contents WHERE order_id IN (SELECT order_id FROM profile_versions WHERE profile = ?1)",
            [profile.as_bytes()],
        )?;
        Ok(())
    }

    /// Keeps what the vault sealed of the version that an order saved.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn put_profile_content(&self, order: OrderId, row: &SealedRow) -> Result<(), StoreError> {
        self.run(
            "INSERT INTO profile_contents (order_id, name, wrapped_key, ciphertext) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO NOTHING",
            params![order.as_bytes(), row.name, row.wrapped_key, row.ciphertext],
        )?;
        Ok(())
    }

    /// Puts a content that was sealed again in the place of the one it was made of.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn put_resealed_profile(&self, was: &StaleProfile, is: &SealedRow) -> Result<bool, StoreError> {
        let n = self.run(
            "UPDATE profile_contents SET wrapped_key = ?2, ciphertext = ?3 WHERE number = ?1 AND wrapped_key = ?4",
            params![was.number, is.wrapped_key, is.ciphertext, was.row.wrapped_key],
        )?;
        Ok(n > 0)
    }

    /// The library's profiles that have, or had, this identifier.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn profiles_named(&self, identifier: &str) -> Result<Vec<ProfileId>, StoreError> {
        let mut found: Vec<ProfileId> =
            self.all("SELECT profile FROM profile_versions WHERE identifier = ?1", [identifier], |r| {
                id(r, 0)
            })?;
        found.dedup();
        Ok(found)
    }

    /// A command asks phones to hold a version of a profile; 0: to be without it.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn put_profile_command(
        &self,
        number: i64,
        profile: ProfileId,
        version: u32,
    ) -> Result<(), StoreError> {
        self.run(
            "INSERT INTO profile_commands (number, profile, version) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET version = ?3",
            params![number, profile.as_bytes(), version],
        )?;
        Ok(())
    }

    /// A phone is asked so, by such a command.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn ask_profile(
        &self,
        slot: Slot,
        profile: ProfileId,
        version: u32,
        number: i64,
        at_ms: TimeMs,
    ) -> Result<(), StoreError> {
        self.run(
            "INSERT INTO phone_profiles (slot, profile, version, number, asked_at_ms) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET version = ?3, number = ?4, asked_at_ms = ?5, state = 0,
             asked_times = CASE WHEN state = 0 AND version = ?3 AND ran_out_at_ms IS NOT NULL THEN asked_times + 1 ELSE 1 END,
             ran_out_at_ms = NULL",
            params![slot.0, profile.as_bytes(), version, number, at_ms],
        )?;
        Ok(())
    }

    /// Such a command ran out before the phone answered it.
    pub(crate) fn profile_ran_out(&self, slot: Slot, number: i64, at_ms: TimeMs) -> Result<(), StoreError> {
        self.run(
            "UPDATE phone_profiles SET ran_out_at_ms = ?3 WHERE slot = ?1 AND number = ?2 AND state = 0",
            params![slot.0, number, at_ms],
        )?;
        Ok(())
    }

    /// A phone answered such a command. What it says that it did counts also when another was asked for since.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn profile_answered(
        &self,
        slot: Slot,
        number: i64,
        done: bool,
        at_ms: TimeMs,
    ) -> Result<(), StoreError> {
        let state = if done { PhoneProfileState::Done } else { PhoneProfileState::Failed };
        self.run(
            "UPDATE phone_profiles SET state = ?3 WHERE slot = ?1 AND number = ?2",
            params![slot.0, number, state.number()],
        )?;
        if done {
            self.run(
                "UPDATE phone_profiles SET confirmed = c.version, confirmed_at_ms = ?3 FROM profile_commands c
                 WHERE c.number = ?2 AND phone_profiles.slot = ?1 AND phone_profiles.profile = c.profile",
                params![slot.0, number, at_ms],
            )?;
        }
        Ok(())
    }

    /// Whatever the phone held is gone, or its word for it is.
    ///
    /// # Errors
    /// When the database refuses.
    pub(crate) fn forget_profiles(&self, slot: Slot) -> Result<(), StoreError> {
        self.run("DELETE FROM phone_profiles WHERE slot = ?1", [slot.0])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NewInvitation, Store};
    use model::{EnrolmentId, LinkHash};

    const PROFILE: ProfileId = ProfileId([7; 16]);

    fn saved(n: u32) -> ProfileVersion {
        let order = OrderId([u8::try_from(n).unwrap(); 16]);
        ProfileVersion {
            profile: PROFILE,
            version: n,
            order,
            position: n.into(),
            saved_at_ms: n.into(),
            signer: PersonId([1; 16]),
            identifier: "org.example.wifi".into(),
            signed: false,
            erasing: false,
            outline: vec![0xa0],
            because: vec![0x80],
        }
    }

    fn row(version: u32, epoch: u32) -> SealedRow {
        SealedRow {
            name: format!("Profile.{version}"),
            compartment: Compartment::Secret,
            wrapped_key: [&[1], epoch.to_be_bytes().as_slice(), &[9; 96]].concat(),
            ciphertext: vec![u8::try_from(version).unwrap(); 40],
            mask: String::new(),
            change_tag: vec![],
        }
    }

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("core.db")).unwrap();
        (dir, store)
    }

    #[tokio::test]
    async fn a_content_is_found_whether_it_came_before_or_after_its_entry_and_a_stale_one_in_turn() {
        let (_dir, store) = store();
        store
            .write(|tx| {
                tx.put_profile_content(saved(1).order, &row(1, 1))?;
                assert_eq!(tx.find_profile_content(PROFILE, 1)?, None, "no entry says whose it is");
                tx.put_profile_version(&saved(1))?;
                tx.put_profile_version(&saved(2))?;
                tx.put_profile_version(&saved(1))?;
                tx.put_profile_content(saved(2).order, &row(2, 255))
            })
            .await
            .unwrap();
        let newest = store.read_now(|v| v.profiles(10)).unwrap();
        assert_eq!(newest, [saved(2)]);
        assert_eq!(store.read_now(|v| v.profile_versions(PROFILE)).unwrap(), [saved(2), saved(1)]);
        assert_eq!(store.read_now(|v| v.newest_profile_content(PROFILE)).unwrap(), Some(row(2, 255)));
        assert_eq!(store.read_now(|v| v.newest_profile_version(PROFILE)).unwrap(), Some(2));
        let has = |version| store.read_now(|v| v.has_profile_version(PROFILE, version)).unwrap();
        assert_eq!([0, 1, 2, 3].map(has), [false, true, true, false]);
        let here = |version| store.read_now(|v| v.has_profile_content(PROFILE, version)).unwrap();
        assert_eq!([1, 2, 3].map(here), [true, true, false]);
        let stale = |before, behind| store.read_now(|v| v.stale_profile(before, behind)).unwrap();
        assert_eq!(stale(256, 0).map(|s| s.row), Some(row(1, 1)));
        assert_eq!(stale(256, 1).map(|s| s.row), Some(row(2, 255)));
        assert_eq!(stale(2, 1), None);
        let was = stale(2, 0).unwrap();
        store.write(move |tx| tx.put_resealed_profile(&was, &row(1, 256))).await.unwrap();
        assert_eq!(store.read_now(|v| v.count_stale_profiles(256)).unwrap(), 1);
        assert_eq!(store.read_now(|v| v.find_profile_content(PROFILE, 1)).unwrap(), Some(row(1, 256)));
        // Taken out, its versions are told and nothing sealed of them is kept.
        store.write(|tx| tx.end_profile(PROFILE, OrderId([9; 16]), 77)).await.unwrap();
        store.write(|tx| tx.end_profile(PROFILE, OrderId([8; 16]), 78)).await.unwrap();
        assert_eq!(store.read_now(|v| v.find_profile_end(PROFILE)).unwrap(), Some((OrderId([9; 16]), 77)));
        assert_eq!(store.read_now(|v| v.profiles(10)).unwrap(), []);
        assert_eq!(store.read_now(|v| v.ended_profiles(10)).unwrap(), [saved(2)]);
        assert_eq!(store.read_now(|v| v.profile_versions(PROFILE)).unwrap().len(), 2);
        for n in [1, 2] {
            assert_eq!(store.read_now(|v| v.find_profile_content(PROFILE, n)).unwrap(), None);
            assert!(!store.read_now(|v| v.has_profile_content(PROFILE, n)).unwrap());
        }
    }

    #[tokio::test]
    async fn a_version_counts_as_confirmed_by_the_phones_word_alone_and_until_it_leaves() {
        let (_dir, store) = store();
        let slot = store
            .write(|tx| {
                let slot = tx.invite(&NewInvitation {
                    enrolment: EnrolmentId([1; 16]),
                    link: LinkHash([1; 32]),
                    group: "ward-7".into(),
                    expires_at_ms: 1000,
                    invited_at_ms: 1,
                })?;
                tx.put_profile_version(&saved(1))?;
                for (number, version) in [(10, 1), (11, 2), (12, 0), (13, 1), (14, 2)] {
                    tx.put_profile_command(number, PROFILE, version)?;
                }
                tx.ask_profile(slot, PROFILE, 1, 10, 5)?;
                Ok(slot)
            })
            .await
            .unwrap();
        let counts = |group: Option<&str>| {
            let mut found = store.read_now(|v| v.profile_phone_counts(PROFILE, group)).unwrap();
            found.sort_unstable_by_key(|v| v.version);
            found.iter().map(|v| (v.version, v.asked, v.failed, v.confirmed)).collect::<Vec<_>>()
        };
        assert_eq!(counts(None), [(1, 1, 0, 0)]);
        store.write(move |tx| tx.profile_answered(slot, 9, true, 6)).await.unwrap();
        assert_eq!(counts(None), [(1, 1, 0, 0)], "another command was answered");
        store.write(move |tx| tx.profile_answered(slot, 10, true, 6)).await.unwrap();
        assert_eq!(counts(Some("ward-7")), [(1, 0, 0, 1)]);
        assert_eq!(counts(Some("ward-8")), []);
        store
            .write(move |tx| {
                tx.ask_profile(slot, PROFILE, 2, 11, 7)?;
                tx.profile_answered(slot, 11, false, 8)
            })
            .await
            .unwrap();
        assert_eq!(counts(None), [(1, 0, 0, 1), (2, 0, 1, 0)], "it holds what it held");
        let phones = store.read_now(|v| v.profile_phones(PROFILE, None, 0, 10)).unwrap();
        assert_eq!((phones[0].version, phones[0].confirmed), (2, 1));
        store
            .write(move |tx| {
                tx.ask_profile(slot, PROFILE, 0, 12, 9)?;
                tx.profile_answered(slot, 12, true, 9)
            })
            .await
            .unwrap();
        assert_eq!(counts(None), [], "it was taken away");
        store
            .write(move |tx| {
                tx.ask_profile(slot, PROFILE, 1, 13, 9)?;
                tx.ask_profile(slot, PROFILE, 2, 14, 9)?;
                tx.profile_answered(slot, 13, true, 9)
            })
            .await
            .unwrap();
        assert_eq!(counts(None), [(1, 0, 0, 1), (2, 1, 0, 0)], "what it did for an older order it has");
        store.write(move |tx| tx.profile_answered(slot, 14, false, 9)).await.unwrap();
        assert_eq!(counts(None), [(1, 0, 0, 1), (2, 0, 1, 0)]);
        assert_eq!(store.write(|tx| tx.profiles_named("org.example.wifi")).await.unwrap(), [PROFILE]);
        store.write(move |tx| tx.end(slot, None, 10)).await.unwrap();
        assert!(store.read_now(|v| v.profile_phones(PROFILE, None, 0, 10)).unwrap().is_empty());
    }
}
