//! What the chains say, summed up for advice.

use std::collections::BTreeSet;

use crate::finding::{Assessment, Grade, Layout, Stage, Step, UnixMs};

/// Yes-or-no answers that decide which advice applies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signs {
    /// Intruders probably ran commands on an appliance.
    pub ran_commands: bool,
    /// A data interface of 2023 answered a stranger.
    pub read_by_api: bool,
    /// Somebody looked (probe or worse) at a Sentry gateway's flaw.
    pub sentry: bool,
    /// A Sentry's log was among the inputs.
    pub sentry_log_read: bool,
    /// An EPMM audit export was among the inputs.
    pub audit_read: bool,
    /// A new administrator, app or policy was seen.
    pub persisted: bool,
    /// Phones were wiped or locked.
    pub destroyed: bool,
    /// A tunnel was seen.
    pub tunnelled: bool,
    /// A known bad file lies on the disk.
    pub known_file: bool,
    /// Number of fetches of laid-down files, repeats included.
    pub fetches: u64,
    /// Bytes that left in them; at least, where API answers left too.
    pub fetched_bytes: u64,
    /// Bytes of data answers on routes that must refuse.
    pub api_bytes: u64,
    /// Flaws in all chains.
    pub cves: BTreeSet<String>,
    /// First step of the chains beyond probing; of all chains, if there is none.
    pub first_ms: Option<UnixMs>,
    /// Last step of the same chains.
    pub last_ms: Option<UnixMs>,
    /// Addresses of steps at or above `attempted`.
    pub addresses: BTreeSet<String>,
}

impl Signs {
    /// Reads the chains.
    pub fn of(a: &Assessment) -> Self {
        let mut signs = Self::default();
        let layouts = a.inputs.iter().flat_map(|i| i.layouts.iter());
        for layout in layouts {
            signs.sentry_log_read |= *layout == Layout::SentryAudit;
            signs.audit_read |= *layout == Layout::EpmmAudit;
        }
        for chain in &a.chains {
            signs.cves.extend(chain.cves.iter().cloned());
            for step in &chain.steps {
                signs.add(step, chain.grade);
            }
        }
        let beyond = a.chains.iter().any(|c| c.grade >= Grade::Attempted);
        let told = || a.chains.iter().filter(|c| !beyond || c.grade >= Grade::Attempted);
        signs.first_ms = told().filter_map(|c| c.first_ms).min();
        signs.last_ms = told().filter_map(|c| c.last_ms).max();
        // Chains count folded and unlisted steps as well; they don't say which stage the bytes left by.
        if signs.fetches > 0 && !signs.read_by_api {
            signs.fetched_bytes = a.chains.iter().map(|c| c.bytes_out).sum::<u64>().max(signs.fetched_bytes);
        }
        signs
    }

    fn add(&mut self, step: &Step, chain: Grade) {
        let bytes = step.bytes_out.unwrap_or(0);
        match step.stage {
            Stage::Fetch if step.grade >= Grade::LikelyCompromised => {
                self.fetches += 1 + step.repeats;
                self.fetched_bytes += bytes;
            }
            Stage::ApiAccess if step.grade >= Grade::LikelyCompromised => {
                self.read_by_api = true;
                self.api_bytes += bytes;
            }
            Stage::Persistence => self.persisted = true,
            Stage::Destruction => self.destroyed = true,
            Stage::Tunnel => self.tunnelled |= step.grade >= Grade::LikelyCompromised,
            Stage::KnownFile => self.known_file = true,
            _ => {}
        }
        let after = matches!(
            step.stage,
            Stage::Loader | Stage::Upload | Stage::Stage | Stage::Fetch | Stage::Tunnel | Stage::KnownFile
        );
        let open = step.stage == Stage::Attempt && step.grade >= Grade::LikelyCompromised;
        self.ran_commands |= chain >= Grade::LikelyCompromised && (after || open);
        self.sentry |= step.cves.iter().any(|c| c == "CVE-2026-10520");
        if step.grade >= Grade::Attempted {
            self.addresses.extend(step.client.iter().cloned());
        }
    }
}
