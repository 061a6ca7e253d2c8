//! Counts for whoever looks at the whole, each on an index.

use model::TimeMs;
use rusqlite::params;

use crate::view::coded;
use crate::{EnrolmentState, StoreError, View};

/// A phone of a group, as far as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupPhone {
    /// Where it stands.
    pub state: EnrolmentState,
    /// When it last spoke; 0 when it never did.
    pub last_seen_at_ms: TimeMs,
}

/// Enrolled phones of a partial index over `clear_fields`, of one group or of all.
fn flagged(index: &str, condition: &str) -> String {
    format!(
        "SELECT COUNT(*) FROM clear_fields c INDEXED BY {index} CROSS JOIN enrolments e ON e.slot = c.slot
         WHERE {condition} AND e.state = {} AND (?1 IS NULL OR e.home = ?1)",
        EnrolmentState::Enrolled.number()
    )
}

impl View<'_> {
    /// The phones of a group.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn group_phones(&self, group: &str) -> Result<Vec<GroupPhone>, StoreError> {
        self.all("SELECT state, last_seen_at_ms FROM enrolments WHERE home = ?1", [group], |r| {
            Ok(GroupPhone { state: coded(r, 0, EnrolmentState::from_number)?, last_seen_at_ms: r.get(1)? })
        })
    }

    /// Enrolled phones in lost mode, by their own word.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn count_lost(&self, group: Option<&str>) -> Result<u64, StoreError> {
        let condition = "c.name = 'IsMDMLostModeEnabled' AND c.value = 'true'";
        self.count(&flagged("clear_fields_lost", condition), params![group])
    }

    /// Enrolled phones that say that their passcode does not comply.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn count_without_passcode(&self, group: Option<&str>) -> Result<u64, StoreError> {
        let condition = "c.name = 'SecurityInfo.PasscodeCompliant' AND c.value = 'false'";
        self.count(&flagged("clear_fields_no_passcode", condition), params![group])
    }

    /// Enrolled phones that say of a declaration that it is not valid.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn count_invalid_declarations(&self, group: Option<&str>) -> Result<u64, StoreError> {
        let sql = format!(
            "SELECT COUNT(*) FROM enrolments e WHERE e.slot IN
                 (SELECT d.slot FROM declaration_states d INDEXED BY declaration_states_invalid WHERE d.valid = 1)
             AND e.state = {} AND (?1 IS NULL OR e.home = ?1)",
            EnrolmentState::Enrolled.number()
        );
        self.count(&sql, params![group])
    }
}
