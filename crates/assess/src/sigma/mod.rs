//! Rules in the Sigma format: what of it we read, and how a line answers.
//!
//! We take the part of Sigma that fits one line of a web log: selections,
//! keyword lists, the usual modifiers, conditions. A rule that needs more is
//! refused by name, never half applied. See `docs/decisions` for why the
//! evaluator is ours.
//!
//! A line answers yes, no, or *unknown*: a field that its layout doesn't have
//! makes a test unknown, not false.

mod condition;
mod event;
mod parse;
mod rewrite;
mod test;

pub use event::Event;
pub use parse::{Rule, parse_rules};

use condition::Condition;
use test::Selection;

/// A three-valued answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It matches.
    Yes,
    /// It does not.
    No,
    /// The layout can't tell.
    Unknown,
}

impl Answer {
    fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Unknown => Self::Unknown,
        }
    }

    fn all(answers: impl Iterator<Item = Self>) -> Self {
        let mut out = Self::Yes;
        for a in answers {
            match a {
                Self::No => return Self::No,
                Self::Unknown => out = Self::Unknown,
                Self::Yes => {}
            }
        }
        out
    }

    fn any(answers: impl Iterator<Item = Self>) -> Self {
        let mut out = Self::No;
        for a in answers {
            match a {
                Self::Yes => return Self::Yes,
                Self::Unknown => out = Self::Unknown,
                Self::No => {}
            }
        }
        out
    }
}

impl From<bool> for Answer {
    fn from(b: bool) -> Self {
        if b { Self::Yes } else { Self::No }
    }
}

/// A compiled detection.
#[derive(Clone, Debug)]
pub struct Detection {
    selections: Vec<(String, Selection)>,
    /// Any of these makes the rule match.
    conditions: Vec<Condition>,
}

impl Detection {
    /// Does this line match?
    pub fn answer(&self, event: &Event<'_>) -> Answer {
        Answer::any(self.conditions.iter().map(|c| c.answer(&self.selections, event)))
    }

    /// Puts the tests that cost least first; no answer changes.
    fn order(&mut self) {
        self.selections.iter_mut().for_each(|(_, s)| s.order());
        self.conditions.iter_mut().for_each(|c| c.order(&self.selections));
    }

    /// Texts of which a matching line must hold at least one, in lower case and
    /// without slashes; `None` if no such list follows from the rule.
    pub fn literals(&self) -> Option<Vec<String>> {
        let mut out = Vec::new();
        for c in &self.conditions {
            out.extend(c.literals(&self.selections)?);
        }
        out.sort();
        out.dedup();
        (!out.is_empty()).then_some(out)
    }

    /// The detection looks at this field.
    pub fn uses(&self, field: &str) -> bool {
        self.selections.iter().any(|(_, s)| s.uses(field))
    }
}
