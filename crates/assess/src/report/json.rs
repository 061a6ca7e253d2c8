//! The assessment as JSON, for other programs.

use serde::Serialize;

use crate::finding::Assessment;
use crate::report::plain::is_steering;

/// Name and version of the shape; a field that changes its meaning raises it.
const FORMAT: &str = "matron-assess/1";

#[derive(Serialize)]
struct Document<'a> {
    format: &'static str,
    #[serde(flatten)]
    assessment: &'a Assessment,
}

/// Writes the whole assessment: `verdict`, `evidence` and `coverage` at the top level, times in Unix
/// milliseconds (UTC), indented, ending with a line feed.
///
/// # Errors
/// `serde_json`'s, which a plain structure like this one does not cause.
pub fn render(a: &Assessment) -> Result<String, serde_json::Error> {
    let text = serde_json::to_string_pretty(&Document { format: FORMAT, assessment: a })?;
    Ok(inert(&text) + "\n")
}

/// JSON whose strings can't steer a terminal either: what [`is_steering`] names is written `\uXXXX`.
/// Such characters stand only inside strings, so that the document stays the same document.
pub(crate) fn inert(json: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if is_steering(c) && c != '\n' {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a String can't fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn the_three_answers_stand_at_the_top_level() {
        let json: serde_json::Value = serde_json::from_str(&render(&sample::data_left()).unwrap()).unwrap();
        assert_eq!(json["verdict"], "data_left");
        assert_eq!(json["evidence"]["grade"], "data_left");
        assert_eq!(json["coverage"]["grade"], "part");
        assert_eq!(json["format"], FORMAT);
    }

    #[test]
    fn what_is_written_can_be_read_back() {
        for a in [sample::data_left(), sample::hostile(), sample::unknown()] {
            let back: Assessment = serde_json::from_str(&render(&a).unwrap()).unwrap();
            assert_eq!(back, a);
        }
    }

    #[test]
    fn a_hostile_line_is_inert_in_json_too() {
        let text = render(&sample::hostile()).unwrap();
        assert!(!text.chars().any(|c| is_steering(c) && c != '\n'));
    }
}
