//! What a person or another program reads: brief, HTML, JSON, timeline.
//!
//! The command line flattens [`OutputArgs`] into its own arguments and calls three things in turn:
//! [`OutputArgs::prepare`] before any log is read (a mistake costs no hour; the inventory is counted
//! here), [`Outputs::exposure`] to fill [`crate::finding::Assessment::exposure`], and
//! [`Outputs::write`] at the end.

pub mod brief;
pub mod figures;
pub mod html;
pub mod json;
pub mod manual;
pub mod outputs;
pub mod plain;
#[cfg(test)]
pub(crate) mod sample;
pub mod terminal;
pub mod timeline;
pub mod words;

pub use outputs::{OutputArgs, Outputs};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::brief::BriefOptions;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn no_text_from_outside_steers_a_terminal(text in any::<String>()) {
            let a = sample::hostile_with(&text);
            let outputs = [
                terminal::render(&a, &BriefOptions::default(), terminal::Layout::default()),
                html::render(&a, &BriefOptions::default()),
                timeline::render(&a),
                json::render(&a).unwrap(),
            ];
            for output in outputs {
                prop_assert!(!output.chars().any(|c| plain::is_steering(c) && c != '\n'));
            }
        }

        #[test]
        fn no_text_from_outside_adds_markup(text in "[ -~]{1,40}|\\PC{1,40}") {
            let tags = |text: &str| {
                let page = html::render(&sample::hostile_with(text), &BriefOptions::default());
                (page.matches('<').count(), page.matches('"').count())
            };
            // Quotes are counted too: an attribute can't be left.
            let (plain_tags, plain_quotes) = tags("203.0.113.200");
            let (found_tags, found_quotes) = tags(&text);
            prop_assert_eq!(plain_tags, found_tags);
            prop_assert!(found_quotes <= plain_quotes);
        }
    }
}
