//! The list of phones.

use model::{EnrolmentId, TimeMs};
use rusqlite::types::Value;
use rusqlite::{Row, named_params};

use crate::device_group::{Members, named};
use crate::view::{coded, id, optional_id};
use crate::{EnrolmentState, PushState, Slot, StoreError, View};

/// How the list is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceSort {
    /// As they were invited.
    #[default]
    Invited,
    /// The one that spoke last first.
    LastSeen,
    /// The one that enrolled last first.
    Enrolled,
}

/// Which phones the list shows.
#[derive(Debug, Clone, Default)]
pub struct DeviceFilter {
    /// Of this home group.
    pub group: Option<String>,
    /// In this state.
    pub state: Option<EnrolmentState>,
    /// Supervised or not.
    pub supervised: Option<bool>,
    /// This OS version, or one that begins with it and a dot.
    pub os_version: Option<String>,
    /// This `ProductName`.
    pub model: Option<String>,
    /// Not heard of since then.
    pub silent_since_ms: Option<TimeMs>,
    /// With, or without, open commands.
    pub pending: Option<bool>,
    /// In this device group.
    pub device_group: Option<Members>,
    /// The order.
    pub sort: DeviceSort,
    /// Go on behind this place.
    pub after: Option<(i64, i64)>,
    /// How many at most.
    pub limit: u32,
}

/// A phone in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceItem {
    /// Its place in the list's order.
    pub place: (i64, i64),
    /// Its number here.
    pub slot: Slot,
    /// Its enrolment.
    pub enrolment: EnrolmentId,
    /// Where it stands.
    pub state: EnrolmentState,
    /// Its home group.
    pub group: String,
    /// Whether it is supervised, once it said so.
    pub supervised: Option<bool>,
    /// When it last spoke; 0 when it never did.
    pub last_seen_at_ms: TimeMs,
    /// When it enrolled; 0 when it has not.
    pub enrolled_at_ms: TimeMs,
    /// When it was invited.
    pub invited_at_ms: TimeMs,
    /// Open commands.
    pub pending_commands: u32,
    /// Whether it can be woken.
    pub push: PushState,
    /// Who took its place.
    pub replaced_by: Option<EnrolmentId>,
}

const DEVICE: &str = "SELECT e.slot, e.enrolment, e.state, e.home, e.supervised, e.last_seen_at_ms,
    e.enrolled_at_ms, e.invited_at_ms,
    (SELECT COUNT(*) FROM queue q INDEXED BY queue_open WHERE q.slot = e.slot AND q.state < 3), e.push, e.replaced_by
    FROM enrolments e";

fn device(r: &Row<'_>, sort: DeviceSort) -> rusqlite::Result<DeviceItem> {
    let slot: i64 = r.get(0)?;
    let (seen, enrolled): (i64, i64) = (r.get(5)?, r.get(6)?);
    let place = match sort {
        DeviceSort::Invited => (slot, slot),
        DeviceSort::LastSeen => (seen, slot),
        DeviceSort::Enrolled => (enrolled, slot),
    };
    Ok(DeviceItem {
        place,
        slot: Slot(slot),
        enrolment: id(r, 1)?,
        state: coded(r, 2, EnrolmentState::from_number)?,
        group: r.get(3)?,
        supervised: r.get(4)?,
        last_seen_at_ms: seen,
        enrolled_at_ms: enrolled,
        invited_at_ms: r.get(7)?,
        pending_commands: r.get(8)?,
        push: coded(r, 9, PushState::from_number)?,
        replaced_by: optional_id(r, 10)?,
    })
}

impl DeviceFilter {
    /// The statement; it names only the filters in use, so that each finds its index. What a device group binds is
    /// added to `values`.
    pub(crate) fn sql(&self, values: &mut Vec<(String, Value)>) -> String {
        let mut wheres: Vec<&str> = Vec::new();
        let members = self.device_group.as_ref().map(|g| {
            let members = g.sql(self.sort == DeviceSort::Invited, values);
            format!("+e.state = {} AND {members}", EnrolmentState::Enrolled.number())
        });
        wheres.extend(members.as_deref());
        if self.group.is_some() {
            wheres.push("e.home = :home");
        }
        if self.state.is_some() {
            wheres.push("e.state = :state");
        }
        if self.supervised.is_some() {
            wheres.push("e.supervised = :supervised");
        }
        if self.os_version.is_some() {
            wheres.push("(e.os_version = :os OR substr(e.os_version, 1, length(:os) + 1) = :os || '.')");
        }
        if self.model.is_some() {
            wheres.push("e.model = :model");
        }
        if self.silent_since_ms.is_some() {
            wheres.push("e.last_seen_at_ms < :silent");
        }
        match self.pending {
            Some(true) => wheres.push(
                "EXISTS (SELECT 1 FROM queue q INDEXED BY queue_open WHERE q.slot = e.slot AND q.state < 3)",
            ),
            Some(false) => {
                wheres.push("NOT EXISTS (SELECT 1 FROM queue q INDEXED BY queue_open WHERE q.slot = e.slot AND q.state < 3)");
            }
            None => {}
        }
        let (after, order) = match self.sort {
            DeviceSort::Invited => ("e.slot > :slot", "e.slot"),
            DeviceSort::LastSeen => {
                ("(e.last_seen_at_ms, e.slot) < (:value, :slot)", "e.last_seen_at_ms DESC, e.slot DESC")
            }
            DeviceSort::Enrolled => {
                ("(e.enrolled_at_ms, e.slot) < (:value, :slot)", "e.enrolled_at_ms DESC, e.slot DESC")
            }
        };
        if self.after.is_some() {
            wheres.push(after);
        }
        let wheres = if wheres.is_empty() { "1 = 1".to_owned() } else { wheres.join(" AND ") };
        format!("{DEVICE} WHERE {wheres} ORDER BY {order} LIMIT :limit")
    }
}

impl View<'_> {
    /// A page of phones.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn devices(&self, f: &DeviceFilter) -> Result<Vec<DeviceItem>, StoreError> {
        let state = f.state.map(EnrolmentState::number);
        let (value, slot) = (f.after.map(|a| a.0), f.after.map(|a| a.1));
        let mut members = Vec::new();
        let sql = f.sql(&mut members);
        let mut params = named_params! {
            ":home": f.group, ":state": state, ":supervised": f.supervised, ":os": f.os_version,
            ":model": f.model, ":silent": f.silent_since_ms, ":value": value, ":slot": slot,
            ":limit": f.limit,
        }
        .to_vec();
        params.extend(named(&members));
        self.named(&sql, &params, |r| device(r, f.sort))
    }

    /// One phone as the list shows it.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn find_device(&self, enrolment: EnrolmentId) -> Result<Option<DeviceItem>, StoreError> {
        self.one(&format!("{DEVICE} WHERE e.enrolment = ?1"), [enrolment.as_bytes()], |r| {
            device(r, DeviceSort::Invited)
        })
    }
}
