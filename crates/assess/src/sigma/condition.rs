//! Conditions: `a and not (b or 1 of c*)`.

use super::test::Selection;
use super::{Answer, Event};

/// Deepest nesting of a condition.
const DEPTH: u8 = 32;

#[derive(Clone, Debug)]
pub(super) enum Condition {
    One(String),
    Not(Box<Self>),
    And(Vec<Self>),
    Or(Vec<Self>),
}

type Named = [(String, Selection)];

impl Condition {
    pub(super) fn compile(text: &str, names: &[String]) -> Result<Self, String> {
        let spaced = text.replace('(', " ( ").replace(')', " ) ");
        let words: Vec<&str> = spaced.split_whitespace().collect();
        let mut at = Parser { words: &words, names };
        let c = at.or(0)?;
        match at.words.first() {
            None => Ok(c),
            Some(&"|") => {
                Err("an aggregation (`|`) in the condition joins several lines, which rules here don't"
                    .into())
            }
            Some(w) => Err(format!("`{w}` in the condition is not understood")),
        }
    }

    pub(super) fn answer(&self, named: &Named, e: &Event<'_>) -> Answer {
        match self {
            Self::One(name) => named.iter().find(|(n, _)| n == name).map_or(Answer::No, |(_, s)| s.answer(e)),
            Self::Not(c) => c.answer(named, e).not(),
            Self::And(l) => Answer::all(l.iter().map(|c| c.answer(named, e))),
            Self::Or(l) => Answer::any(l.iter().map(|c| c.answer(named, e))),
        }
    }

    fn cost(&self, named: &Named) -> u32 {
        match self {
            Self::One(name) => named.iter().find(|(n, _)| n == name).map_or(0, |(_, s)| s.cost()),
            Self::Not(c) => c.cost(named),
            Self::And(l) | Self::Or(l) => l.iter().map(|c| c.cost(named)).sum(),
        }
    }

    /// Puts what costs least first; the answer is the same in any order.
    pub(super) fn order(&mut self, named: &Named) {
        match self {
            Self::One(_) => {}
            Self::Not(c) => c.order(named),
            Self::And(l) | Self::Or(l) => {
                l.iter_mut().for_each(|c| c.order(named));
                l.sort_by_key(|c| c.cost(named));
            }
        }
    }

    pub(super) fn literals(&self, named: &Named) -> Option<Vec<String>> {
        match self {
            Self::One(name) => named.iter().find(|(n, _)| n == name).and_then(|(_, s)| s.literals()),
            Self::Not(_) => None,
            Self::And(l) => l
                .iter()
                .filter_map(|c| c.literals(named))
                .max_by_key(|l| l.iter().map(String::len).min().unwrap_or(0)),
            Self::Or(l) => {
                let mut out = Vec::new();
                for c in l {
                    out.extend(c.literals(named)?);
                }
                Some(out)
            }
        }
    }
}

struct Parser<'a> {
    words: &'a [&'a str],
    names: &'a [String],
}

impl<'a> Parser<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let (first, rest) = self.words.split_first()?;
        self.words = rest;
        Some(first)
    }

    fn eat(&mut self, word: &str) -> bool {
        let hit = self.words.first().is_some_and(|w| w.eq_ignore_ascii_case(word));
        if hit {
            self.next();
        }
        hit
    }

    fn or(&mut self, depth: u8) -> Result<Condition, String> {
        if depth > DEPTH {
            return Err(format!("the condition is nested deeper than {DEPTH}"));
        }
        let mut list = vec![self.and(depth)?];
        while self.eat("or") {
            list.push(self.and(depth)?);
        }
        Ok(if list.len() == 1 { list.swap_remove(0) } else { Condition::Or(list) })
    }

    fn and(&mut self, depth: u8) -> Result<Condition, String> {
        let mut list = vec![self.not(depth)?];
        while self.eat("and") {
            list.push(self.not(depth)?);
        }
        Ok(if list.len() == 1 { list.swap_remove(0) } else { Condition::And(list) })
    }

    fn not(&mut self, depth: u8) -> Result<Condition, String> {
        let mut odd = false;
        while self.eat("not") {
            odd = !odd;
        }
        let inner = self.atom(depth)?;
        Ok(if odd { Condition::Not(Box::new(inner)) } else { inner })
    }

    fn atom(&mut self, depth: u8) -> Result<Condition, String> {
        let word = self.next().ok_or("the condition ends too early")?;
        if word == "(" {
            let inner = self.or(depth + 1)?;
            return if self.eat(")") { Ok(inner) } else { Err("a parenthesis is not closed".into()) };
        }
        let many = word.eq_ignore_ascii_case("all");
        if (many || word == "1" || word.eq_ignore_ascii_case("any")) && self.eat("of") {
            let what = self.next().ok_or("`of` names nothing")?;
            let of: Vec<Condition> = self
                .names
                .iter()
                .filter(|n| match what.split_once('*') {
                    _ if what.eq_ignore_ascii_case("them") => !n.starts_with('_'),
                    Some((start, end)) => {
                        n.len() >= start.len() + end.len() && n.starts_with(start) && n.ends_with(end)
                    }
                    None => *n == what,
                })
                .map(|n| Condition::One(n.clone()))
                .collect();
            if of.is_empty() {
                return Err(format!("`of {what}` names no selection"));
            }
            return Ok(if many { Condition::And(of) } else { Condition::Or(of) });
        }
        if self.names.iter().any(|n| n == word) {
            Ok(Condition::One(word.to_owned()))
        } else {
            Err(format!("`{word}` in the condition is no selection of this rule"))
        }
    }
}
