//! Drafts of what a person has to report, and the clocks that run.
//!
//! A draft is never sent by software. What only a person can know stands as a visible blank; no
//! affected person is named in one.

mod forms;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::finding::UnixMs;

pub use forms::{Draft, drafts};

const BUILT_IN: &str = include_str!("duties.json");

/// The clocks and thresholds of the law: data, so that a new law needs no new program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duties {
    /// What a reader must know before relying on it.
    pub note: String,
    /// The month of our knowledge of it (`2025-11`); the law's own text counts.
    pub checked: String,
    /// The duties, in the order in which they are shown.
    pub duties: Vec<Duty>,
    /// Thresholds of the NHS DSPT incident tool.
    pub dspt: DsptThreshold,
}

/// One duty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duty {
    /// Short id (`ico`).
    pub id: String,
    /// What has to be done, as an order.
    pub act: String,
    /// The law.
    pub law: String,
    /// Hours from awareness; none for "without undue delay".
    pub hours: Option<u32>,
    /// Who owns it.
    pub owner: String,
    /// When it applies.
    pub applies: String,
    /// False for a law that is still a bill: it is never shown as a duty.
    pub in_force: bool,
}

/// When the NHS DSPT incident tool passes an incident on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DsptThreshold {
    /// The scale, in words.
    pub scale: String,
    /// Least likelihood.
    pub likelihood_at_least: u8,
    /// Least impact.
    pub impact_at_least: u8,
    /// How sure these figures are.
    pub source: String,
}

impl Duties {
    /// Reads a file of duties.
    ///
    /// # Errors
    /// [`Error::Duties`] with the place, when it is no JSON of this shape.
    pub fn parse(json: &str) -> Result<Self, Error> {
        serde_json::from_str(json).map_err(Error::Duties)
    }

    /// The duty with this id.
    pub fn find(&self, id: &str) -> Option<&Duty> {
        self.duties.iter().find(|d| d.id == id)
    }
}

impl Default for Duties {
    fn default() -> Self {
        // The built-in file is read by a test; should it ever be wrong, no clock is better than a wrong one.
        Self::parse(BUILT_IN).unwrap_or_else(|_| Self {
            note: String::new(),
            checked: String::new(),
            duties: Vec::new(),
            dspt: DsptThreshold {
                scale: String::new(),
                likelihood_at_least: 1,
                impact_at_least: 1,
                source: String::new(),
            },
        })
    }
}

impl Duty {
    /// The last moment, if the organisation became aware at `aware_at_ms`.
    pub fn deadline_ms(&self, aware_at_ms: Option<UnixMs>) -> Option<UnixMs> {
        aware_at_ms?.checked_add(i64::from(self.hours?).checked_mul(3_600_000)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_duties_can_be_read_and_hold_the_ico_clock() {
        let duties = Duties::parse(BUILT_IN).unwrap();
        assert_eq!(duties.find("ico").unwrap().hours, Some(72));
        assert_eq!(Duties::default(), duties);
    }

    #[test]
    fn seventy_two_hours_run_across_the_change_of_the_clocks() {
        // 29 March 2025, 12:00 UTC; summer time begins the next night, and 72 hours are still 72 hours.
        let aware = 1_743_249_600_000;
        let by = Duties::default().find("ico").unwrap().deadline_ms(Some(aware)).unwrap();
        assert_eq!(crate::moment::utc_text(by), "2025-04-01T12:00:00Z");
    }

    #[test]
    fn a_bill_is_not_in_force() {
        assert!(!Duties::default().find("csr-24h").unwrap().in_force);
    }

    #[test]
    fn no_awareness_means_no_deadline() {
        assert_eq!(Duties::default().find("ico").unwrap().deadline_ms(None), None);
    }
}
