//! What a fleet did, in numbers.

use crate::enrol::ProfileTrust;
use crate::talk::{Ending, Talk};
use crate::{Failure, State};
use std::collections::BTreeMap;
use std::fmt;

/// What a fleet did. For people (`Display`) and for scripts (serde).
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// Phones that were to enrol.
    pub phones: u64,
    /// Phones that did.
    pub enrolled: u64,
    /// Enrolment tries that were repeated after a failure.
    pub enrolment_retries: u64,
    /// Phones that gave up enrolling.
    pub not_enrolled: u64,
    /// Enrolment profiles by what a phone would show of their signature.
    pub profiles: BTreeMap<&'static str, u64>,
    /// Conversations that came to their end.
    pub conversations: u64,
    /// Conversations that a push began.
    pub pushed: u64,
    /// Commands by `RequestType`, then by the status that was reported.
    pub commands: BTreeMap<String, BTreeMap<&'static str, u64>>,
    /// Commands that came again although the server had confirmed the report on them: see
    /// [`Talk::repeated`].
    pub repeated: u64,
    /// How conversations ended.
    pub endings: BTreeMap<&'static str, u64>,
    /// Times a phone went silent for a while.
    pub silences: u64,
    /// Failures by step, then by kind.
    pub failures: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
    /// The first failure of each step, in words.
    pub examples: BTreeMap<&'static str, String>,
    /// Where the phones are at the end.
    pub states: BTreeMap<&'static str, u64>,
}

impl Summary {
    pub(crate) fn profile(&mut self, trust: Option<ProfileTrust>) {
        let name = match trust {
            Some(ProfileTrust::Verified) => "verified",
            Some(ProfileTrust::NotVerified) => "not_verified",
            Some(ProfileTrust::Unsigned) => "unsigned",
            None => return,
        };
        *self.profiles.entry(name).or_default() += 1;
    }

    pub(crate) fn talk(&mut self, talk: &Talk) {
        self.conversations += 1;
        self.repeated += u64::from(talk.repeated);
        for (request_type, status) in &talk.commands {
            // A server could make up names without end.
            let known = self.commands.len() < 200 || self.commands.contains_key(request_type);
            let name = if known { request_type.as_str() } else { "(others)" };
            match self.commands.get_mut(name) {
                Some(counts) => *counts.entry(status).or_default() += 1,
                None => drop(self.commands.insert(name.to_owned(), BTreeMap::from([(*status, 1)]))),
            }
        }
        let name = match talk.ending {
            Ending::Quiet => "quiet",
            Ending::PutOff => "put_off",
            Ending::Restarting => "restarting",
            Ending::Off => "off",
            Ending::Erased => "erased",
            Ending::CheckedOut => "checked_out",
            Ending::Dropped => "dropped",
        };
        *self.endings.entry(name).or_default() += 1;
    }

    pub(crate) fn failure(&mut self, failure: &Failure) {
        let step = failure.step.name();
        *self.failures.entry(step).or_default().entry(failure.fault.kind()).or_default() += 1;
        self.examples.entry(step).or_insert_with(|| failure.fault.to_string());
    }

    pub(crate) fn state(&mut self, state: State) {
        let name = match state {
            State::New => "new",
            State::Enrolled => "enrolled",
            State::Off => "off",
            State::Erased => "erased",
            State::CheckedOut => "checked_out",
        };
        *self.states.entry(name).or_default() += 1;
    }

    /// Commands that were reported with this status.
    #[must_use]
    pub fn commands_with(&self, status: &str) -> u64 {
        self.commands.values().filter_map(|counts| counts.get(status)).sum()
    }

    /// Failures of all steps.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failures.values().flat_map(BTreeMap::values).sum()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} phones enrolled", self.enrolled, self.phones)?;
        if self.enrolment_retries > 0 {
            write!(f, " ({} tries repeated)", self.enrolment_retries)?;
        }
        writeln!(f, "; {} conversations, {} of them after a push", self.conversations, self.pushed)?;
        for (request_type, counts) in &self.commands {
            let counts: Vec<_> = counts.iter().map(|(status, n)| format!("{n} {status}")).collect();
            writeln!(f, "  {request_type}: {}", counts.join(", "))?;
        }
        if self.repeated > 0 {
            writeln!(f, "  {} commands came again after their reports were confirmed", self.repeated)?;
        }
        let states: Vec<_> = self.states.iter().map(|(state, n)| format!("{n} {state}")).collect();
        writeln!(f, "  at the end: {}", states.join(", "))?;
        for (step, kinds) in &self.failures {
            let kinds: Vec<_> = kinds.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
            let example = self.examples.get(step).map(String::as_str).unwrap_or_default();
            writeln!(f, "  failed at {step}: {} (first: {example})", kinds.join(", "))?;
        }
        Ok(())
    }
}
