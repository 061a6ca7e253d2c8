//! What other tools take: STIX 2.1, OCSF, hunting queries.

pub mod attack;
pub mod ocsf;
pub mod queries;
pub mod stix;
mod tlp;
#[cfg(test)]
mod validated;

use std::net::IpAddr;

pub use tlp::Tlp;

use crate::finding::{Assessment, ClientSummary, Grade, UnixMs};

/// The moment that stands for "when this was made": no wall clock is in a report.
pub(crate) fn made_ms(a: &Assessment) -> UnixMs {
    a.as_of_ms.or(a.coverage.last_ms).unwrap_or(0)
}

/// Outside addresses at or above `least` that really are addresses: log text goes into no query.
pub(crate) fn addresses(a: &Assessment, least: Grade) -> Vec<(IpAddr, &ClientSummary)> {
    a.clients
        .iter()
        .filter(|c| c.grade >= least && !c.internal)
        .filter_map(|c| Some((c.address.parse::<IpAddr>().ok()?, c)))
        .collect()
}
