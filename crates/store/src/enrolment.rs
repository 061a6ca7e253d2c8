//! Enrolments: from the invitation to the end.

use model::{EnrolmentId, LinkHash, OsVersion, TimeMs};
use rusqlite::{Row, named_params, params};
use serde::{Deserialize, Serialize};

use crate::view::{coded, id, optional_id};
use crate::{StoreError, Tx, View};

/// An enrolment's number in this database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub i64);

macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $n:literal, $word:literal;)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$vdoc])* $variant,)* }
        impl $name {
            /// Every value, in the order of its number.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];
            /// Its number in the database.
            #[must_use]
            pub fn number(self) -> i64 { match self { $(Self::$variant => $n,)* } }
            /// The value of that number.
            #[must_use]
            pub fn from_number(n: i64) -> Option<Self> {
                match n { $($n => Some(Self::$variant),)* _ => None }
            }
            /// The word in routes and tables.
            #[must_use]
            pub fn name(self) -> &'static str { match self { $(Self::$variant => $word,)* } }
            /// The value of that word.
            #[must_use]
            pub fn from_name(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }
        }
    };
}
pub(crate) use numbered;

numbered!(
    /// Where an enrolment stands.
    EnrolmentState {
        /// The link is out; no phone has come.
        Invited = 0, "invited";
        /// A certificate was issued.
        Issued = 1, "issued";
        /// The phone sent `Authenticate`; it can't be reached yet.
        Authenticated = 2, "authenticated";
        /// The phone sent `TokenUpdate`: it is managed.
        Enrolled = 3, "enrolled";
        /// The phone said that its management was removed.
        CheckedOut = 4, "checked_out";
        /// The same phone enrolled anew.
        Replaced = 5, "replaced";
        /// The invitation was taken back.
        Withdrawn = 6, "withdrawn";
    }
);

impl EnrolmentState {
    /// No phone is answered under it any more.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::CheckedOut | Self::Replaced | Self::Withdrawn)
    }
}

numbered!(
    /// Whether the phone can be woken.
    PushState {
        /// It has sent no token.
        None = 0, "none";
        /// It has.
        Ok = 1, "ok";
        /// Apple says the token is gone; a new one must come first.
        Unregistered = 2, "unregistered";
    }
);

/// What an `invite` order made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewInvitation {
    /// The enrolment.
    pub enrolment: EnrolmentId,
    /// SHA-256 of the link's secret.
    pub link: LinkHash,
    /// Its home group.
    pub group: String,
    /// When the link runs out.
    pub expires_at_ms: TimeMs,
    /// When it was made.
    pub invited_at_ms: TimeMs,
}

/// An invitation that no phone has used yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// Its place, for paging.
    pub slot: Slot,
    /// The enrolment it leads to.
    pub enrolment: EnrolmentId,
    /// Its home group.
    pub group: String,
    /// When it was made.
    pub invited_at_ms: TimeMs,
    /// When the link runs out.
    pub expires_at_ms: TimeMs,
}

/// What core needs of an enrolment at each check-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrolmentRecord {
    /// Its number here.
    pub slot: Slot,
    /// Its id.
    pub enrolment: EnrolmentId,
    /// Where it stands.
    pub state: EnrolmentState,
    /// The phone's keyed tag, once bound.
    pub udid_tag: Option<Vec<u8>>,
    /// Whether it can be woken.
    pub push: PushState,
    /// When it last spoke; 0 when it never did.
    pub last_seen_at_ms: TimeMs,
    /// Whether a command is open for it.
    pub waiting: bool,
    /// Known to be (un)supervised.
    pub supervised: Option<bool>,
}

const RECORD: &str = "SELECT e.slot, e.enrolment, e.state, e.udid_tag, e.push, e.last_seen_at_ms,
    EXISTS (SELECT 1 FROM queue q INDEXED BY queue_open WHERE q.slot = e.slot AND q.state < 3), e.supervised FROM enrolments e";

fn record(r: &Row<'_>) -> rusqlite::Result<EnrolmentRecord> {
    Ok(EnrolmentRecord {
        slot: Slot(r.get(0)?),
        enrolment: id(r, 1)?,
        state: coded(r, 2, EnrolmentState::from_number)?,
        udid_tag: r.get(3)?,
        push: coded(r, 4, PushState::from_number)?,
        last_seen_at_ms: r.get(5)?,
        waiting: r.get(6)?,
        supervised: r.get(7)?,
    })
}

impl View<'_> {
    /// Every enrolment that is not over, for core's memory.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn live_enrolments(&self) -> Result<Vec<EnrolmentRecord>, StoreError> {
        self.all(&format!("{RECORD} ORDER BY e.slot"), [], record)
    }

    /// The enrolment of that id.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn find_enrolment(&self, enrolment: EnrolmentId) -> Result<Option<EnrolmentRecord>, StoreError> {
        self.one(&format!("{RECORD} WHERE e.enrolment = ?1"), [enrolment.as_bytes()], record)
    }

    /// At most two enrolments whose ids begin with these hexadecimal digits (two: it is ambiguous).
    ///
    /// # Errors
    /// When the database refuses.
    pub fn enrolments_by_prefix(&self, from: [u8; 16], to: [u8; 16]) -> Result<Vec<EnrolmentId>, StoreError> {
        self.all(
            "SELECT enrolment FROM enrolments WHERE enrolment BETWEEN ?1 AND ?2 ORDER BY enrolment LIMIT 2",
            params![from, to],
            |r| id(r, 0),
        )
    }

    /// The live enrolment, other than `but`, of the phone with this tag.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn find_by_tag(&self, tag: &[u8], but: Slot) -> Result<Option<EnrolmentRecord>, StoreError> {
        self.one(
            &format!("{RECORD} WHERE e.udid_tag = ?1 AND e.slot <> ?2 AND e.state IN (2, 3) LIMIT 1"),
            params![tag, but.0],
            record,
        )
    }

    /// Enrolled phones whose inventory is due, the longest due first.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn inventory_due(&self, now_ms: TimeMs, limit: u32) -> Result<Vec<(Slot, EnrolmentId)>, StoreError> {
        self.all(
            "SELECT slot, enrolment FROM enrolments WHERE inventory_due_at_ms <= ?1
             ORDER BY inventory_due_at_ms LIMIT ?2",
            params![now_ms, limit],
            |r| Ok((Slot(r.get(0)?), id(r, 1)?)),
        )
    }

    /// Invitations that no phone has used, oldest first, after `after`.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn invitations(
        &self,
        after: Slot,
        group: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Invitation>, StoreError> {
        self.all(
            "SELECT slot, enrolment, home, invited_at_ms, link_expires_at_ms FROM enrolments
             WHERE state = 0 AND slot > ?1 AND (?2 IS NULL OR home = ?2) ORDER BY slot LIMIT ?3",
            params![after.0, group, limit],
            |r| {
                Ok(Invitation {
                    slot: Slot(r.get(0)?),
                    enrolment: id(r, 1)?,
                    group: r.get(2)?,
                    invited_at_ms: r.get(3)?,
                    expires_at_ms: r.get(4)?,
                })
            },
        )
    }

    /// How many enrolments stand in each state.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn count_by_state(&self) -> Result<Vec<(EnrolmentState, u64)>, StoreError> {
        self.all("SELECT state, COUNT(*) FROM enrolments GROUP BY state", [], |r| {
            let n: i64 = r.get(1)?;
            Ok((coded(r, 0, EnrolmentState::from_number)?, u64::try_from(n).unwrap_or(0)))
        })
    }

    /// What the phones of these ids are known to be: enrolment, state, supervised.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn enrolments_of(&self, ids: &[EnrolmentId]) -> Result<Vec<EnrolmentRecord>, StoreError> {
        let mut out = Vec::with_capacity(ids.len());
        for one in ids {
            out.extend(self.find_enrolment(*one)?);
        }
        Ok(out)
    }

    /// The group an enrolment belongs to.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn group_of(&self, slot: Slot) -> Result<Option<String>, StoreError> {
        self.one("SELECT home FROM enrolments WHERE slot = ?1", [slot.0], |r| r.get(0))
    }

    /// Who took this enrolment's place.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn replaced_by(&self, slot: Slot) -> Result<Option<EnrolmentId>, StoreError> {
        let found =
            self.one("SELECT replaced_by FROM enrolments WHERE slot = ?1", [slot.0], |r| optional_id(r, 0))?;
        Ok(found.flatten())
    }
}

impl Tx<'_> {
    /// Notes an invitation; one that is there already stays as it is.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn invite(&self, new: &NewInvitation) -> Result<Slot, StoreError> {
        self.run(
            "INSERT INTO enrolments (enrolment, state, home, link, link_expires_at_ms, invited_at_ms)
             VALUES (?1, 0, ?2, ?3, ?4, ?5) ON CONFLICT (enrolment) DO NOTHING",
            params![
                new.enrolment.as_bytes(),
                new.group,
                new.link.as_bytes(),
                new.expires_at_ms,
                new.invited_at_ms
            ],
        )?;
        self.one("SELECT slot FROM enrolments WHERE enrolment = ?1", [new.enrolment.as_bytes()], |r| {
            Ok(Slot(r.get(0)?))
        })?
        .ok_or(StoreError::Damaged("enrolment"))
    }

    /// The invitation was taken back, if no phone has used it.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn withdraw(&self, slot: Slot, at_ms: TimeMs) -> Result<bool, StoreError> {
        let n = self.run(
            "UPDATE enrolments SET state = 6, ended_at_ms = ?2 WHERE slot = ?1 AND state IN (0, 1)",
            params![slot.0, at_ms],
        )?;
        Ok(n > 0)
    }

    /// A certificate was issued for it.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn issue(&self, slot: Slot, at_ms: TimeMs) -> Result<bool, StoreError> {
        let n = self.run(
            "UPDATE enrolments SET state = 1, issued_at_ms = ?2 WHERE slot = ?1 AND state = 0",
            params![slot.0, at_ms],
        )?;
        Ok(n > 0)
    }

    /// The phone begins: its tag is bound, its queue cancelled, its old reports no longer compared. False: it was
    /// withdrawn or is over, or another phone's tag is bound, and nothing was changed.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn authenticate(&self, slot: Slot, tag: &[u8], at_ms: TimeMs) -> Result<bool, StoreError> {
        let n = self.run(
            "UPDATE enrolments SET state = 2, udid_tag = ?2, push = 0, inventory_due_at_ms = NULL,
             last_seen_at_ms = ?3 WHERE slot = ?1 AND state < 4 AND COALESCE(udid_tag, ?2) = ?2",
            params![slot.0, tag, at_ms],
        )?;
        if n == 0 {
            return Ok(false);
        }
        self.cancel_open(slot, at_ms)?;
        self.run("DELETE FROM reports WHERE slot = ?1", [slot.0])?;
        self.forget_profiles(slot)?;
        self.run("UPDATE app_requests SET check_due_at_ms = NULL WHERE slot = ?1", [slot.0])?;
        Ok(true)
    }

    /// The phone can be reached from now on.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn enrol(&self, slot: Slot, at_ms: TimeMs, inventory_due_at_ms: TimeMs) -> Result<(), StoreError> {
        self.run(
            "UPDATE enrolments SET state = 3, enrolled_at_ms = ?2, last_seen_at_ms = ?2,
             inventory_due_at_ms = ?3 WHERE slot = ?1",
            params![slot.0, at_ms, inventory_due_at_ms],
        )?;
        Ok(())
    }

    /// The phone left, or (`by`) enrolled anew under another enrolment. Its queue is cancelled. False: it
    /// was over before.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn end(&self, slot: Slot, by: Option<EnrolmentId>, at_ms: TimeMs) -> Result<bool, StoreError> {
        let state = if by.is_some() { EnrolmentState::Replaced } else { EnrolmentState::CheckedOut };
        let n = self.run(
            "UPDATE enrolments SET state = :state, replaced_by = :by, ended_at_ms = :at, push = 0,
             inventory_due_at_ms = NULL WHERE slot = :slot AND state < 4",
            named_params! {
                ":state": state.number(), ":by": by.map(|b| b.0), ":at": at_ms, ":slot": slot.0,
            },
        )?;
        if n == 0 {
            return Ok(false);
        }
        self.cancel_open(slot, at_ms)?;
        self.forget_profiles(slot)?;
        self.run("UPDATE app_requests SET check_due_at_ms = NULL WHERE slot = ?1", [slot.0])?;
        Ok(true)
    }

    /// Whether it can be woken.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn set_push(&self, slot: Slot, push: PushState) -> Result<(), StoreError> {
        self.run(
            "UPDATE enrolments SET push = ?2 WHERE slot = ?1 AND push <> ?2",
            params![slot.0, push.number()],
        )?;
        Ok(())
    }

    /// When phones last spoke; a time that a clock running ahead had written is set right.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn seen(&self, phones: &[(Slot, TimeMs)]) -> Result<(), StoreError> {
        for (slot, at_ms) in phones {
            self.run(
                "UPDATE enrolments SET last_seen_at_ms = ?2 WHERE slot = ?1 AND last_seen_at_ms <> ?2",
                params![slot.0, at_ms],
            )?;
        }
        Ok(())
    }

    /// When the phone is next asked for its inventory.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn set_inventory_due(&self, slot: Slot, due_at_ms: TimeMs) -> Result<(), StoreError> {
        self.run(
            "UPDATE enrolments SET inventory_due_at_ms = ?2 WHERE slot = ?1 AND state = 3",
            params![slot.0, due_at_ms],
        )?;
        Ok(())
    }

    /// What lists filter by; an absent value is left as it is.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn describe(
        &self,
        slot: Slot,
        supervised: Option<bool>,
        os_version: Option<&str>,
        model: Option<&str>,
    ) -> Result<(), StoreError> {
        let os_number = os_version.and_then(OsVersion::reported).map(OsVersion::number);
        self.run(
            "UPDATE enrolments SET supervised = COALESCE(?2, supervised), os_version = COALESCE(?3, os_version),
             os_number = CASE WHEN ?3 IS NULL THEN os_number ELSE ?5 END, model = COALESCE(?4, model) WHERE slot = ?1",
            params![slot.0, supervised, os_version, model, os_number],
        )?;
        Ok(())
    }
}
