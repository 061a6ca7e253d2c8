//! Which version was open to which flaw, and when.
//!
//! Data, not code: fixed versions a branch, with how sure we are of them.

use crate::finding::{Confidence, UnixMs};
use crate::moment::{self, Zone};

/// A flaw.
#[derive(Debug)]
pub struct Flaw {
    /// CVE ids that are one chain.
    pub cves: &'static [&'static str],
    /// What it is, for people.
    pub title: &'static str,
    /// Fixed versions, one a branch (`major.minor`); a branch below the lowest is open, one above the highest is not.
    pub fixed: &'static [[u16; 4]],
    /// How sure the versions are.
    pub confidence: Confidence,
    /// A version number can't show the fix (it came as a package of its own).
    pub hotfix: bool,
    /// Why no web log shows it; empty if one does.
    pub no_trace: &'static str,
}

/// All flaws that are known here.
pub const FLAWS: &[Flaw] = &[
    Flaw {
        cves: &["CVE-2023-35078"],
        title: "unauthenticated API (July 2023)",
        fixed: &[[11, 8, 1, 1], [11, 9, 1, 1], [11, 10, 0, 2]],
        confidence: Confidence::FromMemory,
        hotfix: false,
        no_trace: "",
    },
    Flaw {
        cves: &["CVE-2023-35082"],
        title: "unauthenticated API by a second alias (August 2023)",
        fixed: &[[11, 11, 0, 0]],
        confidence: Confidence::FromMemory,
        hotfix: false,
        no_trace: "",
    },
    Flaw {
        cves: &["CVE-2023-35081"],
        title: "file write by an administrator (July 2023)",
        fixed: &[[11, 8, 1, 2], [11, 9, 1, 2], [11, 10, 0, 3]],
        confidence: Confidence::FromMemory,
        hotfix: false,
        no_trace: "It is used with an administrator's session (in 2023: after CVE-2023-35078) and looks like administration in a web log. Look for files that the vendor did not ship.",
    },
    Flaw {
        cves: &["CVE-2025-4427", "CVE-2025-4428"],
        title: "expression language without login (May 2025)",
        fixed: &[[11, 12, 0, 5], [12, 3, 0, 2], [12, 4, 0, 2], [12, 5, 0, 1]],
        confidence: Confidence::Verified,
        hotfix: false,
        no_trace: "",
    },
    Flaw {
        cves: &["CVE-2026-1281", "CVE-2026-1340"],
        title: "shell text in app links (January 2026)",
        fixed: &[[12, 8, 0, 0]],
        confidence: Confidence::FromMemory,
        hotfix: true,
        no_trace: "",
    },
    Flaw {
        cves: &["CVE-2026-6973"],
        title: "used by an administrator, believed with stolen credentials (May 2026)",
        fixed: &[[12, 6, 1, 1], [12, 7, 0, 1], [12, 8, 0, 1]],
        confidence: Confidence::Verified,
        hotfix: false,
        no_trace: "It needs an administrator's account, and what it looks like in a web log is not public. Look at administrators' sign-ins and at what they changed; secrets stolen earlier and not rotated open it.",
    },
];

/// `12.5.0.1`; missing parts are 0.
pub fn version(text: &str) -> Option<[u16; 4]> {
    let mut out = [0u16; 4];
    let mut parts = text.trim().split(['.', '-']);
    for place in &mut out {
        match parts.next() {
            Some(p) => *place = p.parse().ok()?,
            None => break,
        }
    }
    (out.first().is_some_and(|m| *m > 0) && text.contains('.')).then_some(out)
}

impl Flaw {
    /// Was this version open to it?
    pub fn open_to(&self, v: [u16; 4]) -> bool {
        let branch = |x: &[u16; 4]| (x[0], x[1]);
        match self.fixed.iter().find(|f| branch(f) == branch(&v)) {
            Some(fixed) => v < *fixed,
            // Between known branches: the next fixed branch above tells nothing, the lowest above it does.
            None => self.fixed.last().is_some_and(|highest| v < *highest),
        }
    }
}

/// A version that ran from one day to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// As typed.
    pub text: String,
    /// The version.
    pub version: [u16; 4],
    /// From.
    pub from_ms: Option<UnixMs>,
    /// Until.
    pub to_ms: Option<UnixMs>,
}

impl Ran {
    /// `12.5.0.0` or `12.5.0.0@2025-01-10..2025-05-16`; either day may be missing.
    pub fn parse(text: &str, zone: &Zone) -> Result<Self, String> {
        let (v, days) = text.split_once('@').unwrap_or((text, ".."));
        let version = version(v).ok_or_else(|| format!("`{v}` is not a version like 12.5.0.0"))?;
        let (from, to) = days.split_once("..").ok_or_else(|| format!("`{days}` is not FROM..TO"))?;
        let day = |d: &str| {
            if d.is_empty() {
                return Ok(None);
            }
            moment::typed(d, zone).map(Some).ok_or_else(|| format!("`{d}` is not a date like 2025-05-16"))
        };
        Ok(Self { text: text.to_owned(), version, from_ms: day(from)?, to_ms: day(to)? })
    }

    /// It ran at that time.
    pub fn at(&self, ms: UnixMs) -> bool {
        self.from_ms.is_none_or(|f| ms >= f) && self.to_ms.is_none_or(|t| ms <= t)
    }
}

/// Why the appliance is taken to have been open to one of `cves` at that time.
pub fn open_that_day(ran: &[Ran], cves: &[String], at_ms: Option<UnixMs>) -> Option<String> {
    let at = at_ms?;
    ran.iter().filter(|r| r.at(at)).find_map(|r| {
        let flaw = FLAWS
            .iter()
            .find(|f| f.cves.iter().any(|c| cves.iter().any(|x| x == c)) && f.open_to(r.version))?;
        let hotfix = if flaw.hotfix {
            "; unless the vendor's separate package was installed, which the version does not show"
        } else {
            ""
        };
        let sure = if flaw.confidence == Confidence::Verified { "" } else { " (fixed versions from memory)" };
        Some(format!("version {} was open to {}{sure}{hotfix}", r.text, flaw.cves.join(" and ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(v: &str) -> Vec<&'static str> {
        FLAWS.iter().filter(|f| f.open_to(version(v).unwrap())).map(|f| f.cves[0]).collect()
    }

    #[test]
    fn versions_are_open_to_what_they_were_open_to() {
        assert!(open("12.5.0.0").contains(&"CVE-2025-4427"));
        assert!(!open("12.5.0.1").contains(&"CVE-2025-4427"));
        assert!(open("12.2.0.0").contains(&"CVE-2025-4427"), "a branch that never got a fix");
        assert!(!open("12.6.0.0").contains(&"CVE-2025-4427"));
        assert!(open("12.6.0.0").contains(&"CVE-2026-6973"));
        assert!(open("11.10.0.1").contains(&"CVE-2023-35078"));
        assert!(!open("12.5.0.0").contains(&"CVE-2023-35082"));
        assert_eq!(version("twelve"), None);
    }

    #[test]
    fn a_version_counts_on_the_days_it_ran() {
        let z = Zone::parse("UTC").unwrap();
        let r = [Ran::parse("12.5.0.0@2025-05-01..2025-05-20", &z).unwrap()];
        let cve = ["CVE-2025-4428".to_owned()];
        assert!(open_that_day(&r, &cve, moment::typed("2025-05-16", &z)).is_some());
        assert!(open_that_day(&r, &cve, moment::typed("2025-06-16", &z)).is_none());
        assert!(Ran::parse("12.5.0.0@yesterday", &z).is_err());
    }
}
