//! The brief for a terminal of 80 columns.

use unicode_width::UnicodeWidthStr;

use crate::finding::{Assessment, Verdict};
use crate::report::brief::{Brief, BriefOptions};
use crate::report::figures::Times;
use crate::report::plain::{visible, wrap};

/// How the brief is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Columns of the terminal; used between 40 and 100.
    pub columns: usize,
    /// Whether bold and colour may be used (a terminal, and `NO_COLOR` unset).
    pub colour: bool,
}

impl Default for Layout {
    fn default() -> Self {
        Self { columns: 80, colour: false }
    }
}

/// Writes the brief as text, ending with a line feed.
///
/// Nothing from a log reaches it raw: control and format characters are written out as letters.
pub fn render(a: &Assessment, options: &BriefOptions, layout: Layout) -> String {
    let brief = Brief::of(a, options);
    let mut page = Page::new(layout);
    head(&mut page, a, &brief);
    page.section("What happened");
    for episode in &brief.happened {
        page.bullet(&episode.title);
        for moment in &episode.moments {
            page.hanging("    ", &format!("{}  ", moment.at), &moment.text);
            page.faint("              ", &moment.cite);
        }
        if episode.left_out > 0 {
            page.hanging(
                "    ",
                "",
                &format!("… {} more steps in the full report (--html, --json).", episode.left_out),
            );
        }
    }
    page.list("What data", &brief.data);
    page.list("How far it reaches", &brief.reach);
    page.list("Suspected origin", &brief.origin);
    page.list("Key points", &brief.key_points);
    page.list("Why it matters", &brief.why);
    page.section("What to do now, in order");
    for (n, action) in brief.actions.iter().enumerate() {
        page.hanging("  ", &format!("{:>2}. ", n + 1), &action.what);
        let law = if action.law { " [duty]" } else { "" };
        page.strong_line("      ", &format!("{} · {}{law}", action.owner, action.clock));
        if !action.why.is_empty() {
            page.hanging("      ", "", &action.why);
        }
    }
    page.note("Clocks without [duty] are our suggestion. Owners are roles; put names to them.");
    page.section("What to collect before it rotates away, most volatile first");
    for (n, item) in brief.collect.iter().enumerate() {
        page.hanging("  ", &format!("{:>2}. ", n + 1), &item.what);
        page.hanging("      ", "lasts ", &item.lasts);
        page.hanging("      ", "shows ", &item.shows);
    }
    foot(&mut page, a);
    page.out
}

fn head(page: &mut Page, a: &Assessment, brief: &Brief) {
    let times = Times::of(&a.timezone);
    let as_of = a.as_of_ms.map(|ms| format!("as of {}", times.day(ms))).unwrap_or_default();
    let name = "MATRON ASSESS · Ivanti EPMM";
    match page.columns.checked_sub(name.width() + as_of.width()).filter(|gap| *gap >= 2) {
        Some(gap) => page.raw_line(format!("{name}{}{as_of}", " ".repeat(gap)).trim_end()),
        None => {
            page.raw_line(name);
            page.raw_line(&as_of);
        }
    }
    page.rule();
    page.out.push('\n');
    page.title(&brief.verdict.to_uppercase(), a.verdict);
    page.hanging("  ", "", &brief.means);
    page.out.push('\n');
    page.hanging("  ", "Evidence  ", &format!("{}.", brief.evidence));
    page.hanging("  ", "Coverage  ", &format!("{}.", brief.coverage));
    for reason in brief.coverage_reasons.iter().take(3) {
        page.hanging("            ", "• ", reason);
    }
    let more = brief.coverage_reasons.len().saturating_sub(3);
    if more > 0 {
        page.hanging("            ", "• ", &format!("… and {more} more reasons in the full report."));
    }
    page.hanging("            ", "", "Two answers: neither changes the other.");
    if let Some(first) = brief.actions.first() {
        page.hanging("  ", "Do first  ", &first.what);
    }
}

fn foot(page: &mut Page, a: &Assessment) {
    page.section("What this rests on");
    page.hanging("  ", "", &format!(
        "matron assess {}, {} rules ({}), times read as {}{}. Public facts carry their confidence: read in public \
         text, second-hand, from memory, our inference.",
        a.tool_version,
        a.rule_set.len(),
        newest_rule(a),
        a.timezone.name,
        if a.timezone.guessed { " (guessed)" } else { "" }
    ));
    for input in a.inputs.iter().filter(|i| i.inside.is_none()).take(12) {
        page.hanging("  ", "", &visible(&input.name));
        page.faint(
            "    ",
            input.sha256.as_deref().unwrap_or("no SHA-256: it could not be read, or --no-hash"),
        );
    }
    let rest = a.inputs.iter().filter(|i| i.inside.is_none()).count().saturating_sub(12);
    if rest > 0 {
        page.hanging(
            "  ",
            "",
            &format!("… and {rest} more inputs, with their SHA-256 in the HTML report and the JSON."),
        );
    }
}

fn newest_rule(a: &Assessment) -> String {
    let newest = a.rule_set.iter().map(|r| r.version.as_str()).max().unwrap_or("none");
    format!("newest {}", visible(newest))
}

struct Page {
    out: String,
    columns: usize,
    colour: bool,
}

const BOLD: &str = "\x1b[1m";
const FAINT: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

impl Page {
    fn new(layout: Layout) -> Self {
        Self { out: String::new(), columns: layout.columns.clamp(40, 100), colour: layout.colour }
    }

    fn paint(&mut self, code: &str, text: &str) {
        if self.colour {
            self.out.push_str(code);
        }
        self.out.push_str(text);
        if self.colour {
            self.out.push_str(PLAIN);
        }
    }

    fn raw_line(&mut self, text: &str) {
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn rule(&mut self) {
        let line = "─".repeat(self.columns);
        self.paint(FAINT, &line);
        self.out.push('\n');
    }

    fn title(&mut self, text: &str, verdict: Verdict) {
        let code = match verdict {
            Verdict::DataLeft | Verdict::LikelyCompromised => "\x1b[1;31m",
            Verdict::Attempted | Verdict::Probed | Verdict::Unknown => "\x1b[1;33m",
            Verdict::NoTrace => BOLD,
        };
        self.out.push_str("  ");
        self.paint(code, text);
        self.out.push('\n');
    }

    fn section(&mut self, name: &str) {
        self.out.push('\n');
        for line in wrap(&name.to_uppercase(), self.columns) {
            self.paint(BOLD, &line);
            self.out.push('\n');
        }
    }

    fn list(&mut self, name: &str, lines: &[String]) {
        self.section(name);
        for line in lines {
            self.bullet(line);
        }
    }

    fn bullet(&mut self, text: &str) {
        self.hanging("  ", "• ", text);
    }

    /// `lead` stands before the first line; the rest hangs under its end.
    fn hanging(&mut self, indent: &str, lead: &str, text: &str) {
        let text = visible(text);
        let room = self.columns.saturating_sub(indent.width() + lead.width());
        let hang = " ".repeat(lead.width());
        for (i, line) in wrap(&text, room).iter().enumerate() {
            self.out.push_str(indent);
            self.out.push_str(if i == 0 { lead } else { &hang });
            self.out.push_str(line);
            self.out.push('\n');
        }
    }

    fn strong_line(&mut self, indent: &str, text: &str) {
        for line in wrap(&visible(text), self.columns.saturating_sub(indent.width())) {
            self.out.push_str(indent);
            self.paint(BOLD, &line);
            self.out.push('\n');
        }
    }

    fn faint(&mut self, indent: &str, text: &str) {
        for line in wrap(&visible(text), self.columns.saturating_sub(indent.width())) {
            self.out.push_str(indent);
            self.paint(FAINT, &line);
            self.out.push('\n');
        }
    }

    fn note(&mut self, text: &str) {
        self.out.push('\n');
        self.hanging("  ", "", text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn text(a: &Assessment) -> String {
        render(
            a,
            &BriefOptions { aware_at_ms: Some(sample::AWARE_MS), ..BriefOptions::default() },
            Layout::default(),
        )
    }

    #[test]
    fn the_brief_of_stolen_data_reads_as_before() {
        insta::assert_snapshot!(text(&sample::data_left()));
    }

    #[test]
    fn the_brief_of_an_attempt_reads_as_before() {
        insta::assert_snapshot!(text(&sample::attempted()));
    }

    #[test]
    fn the_brief_of_no_trace_reads_as_before() {
        insta::assert_snapshot!(text(&sample::no_trace()));
    }

    #[test]
    fn the_brief_of_unknown_reads_as_before() {
        insta::assert_snapshot!(text(&sample::unknown()));
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for a in [
            sample::data_left(),
            sample::attempted(),
            sample::no_trace(),
            sample::unknown(),
            sample::hostile(),
        ] {
            for line in text(&a).lines() {
                assert!(line.width() <= 80, "{} columns: {line}", line.width());
            }
        }
    }

    #[test]
    fn the_coloured_brief_reads_as_before_and_says_the_same() {
        let a = sample::attempted();
        let options = BriefOptions { aware_at_ms: Some(sample::AWARE_MS), ..BriefOptions::default() };
        let coloured = render(&a, &options, Layout { columns: 80, colour: true });
        insta::assert_snapshot!(coloured.replace('\x1b', "ESC"));
        let mut plain = coloured;
        for code in ["\x1b[1m", "\x1b[2m", "\x1b[0m", "\x1b[1;31m", "\x1b[1;33m"] {
            plain = plain.replace(code, "");
        }
        assert_eq!(plain, text(&a));
    }

    #[test]
    fn a_narrow_terminal_gets_narrow_lines() {
        for columns in [40, 60, 100] {
            for a in [sample::data_left(), sample::unknown(), sample::hostile()] {
                let text = render(&a, &BriefOptions::default(), Layout { columns, colour: false });
                for line in text.lines() {
                    assert!(line.width() <= columns, "{columns}: {line}");
                }
            }
        }
    }

    #[test]
    fn nothing_of_a_hostile_log_steers_the_terminal() {
        let text = text(&sample::hostile());
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
        assert!(!text.contains('\u{202e}'));
    }

    #[test]
    fn the_sections_stand_in_the_promised_order() {
        let text = text(&sample::data_left());
        let names = [
            "WHAT HAPPENED",
            "WHAT DATA",
            "HOW FAR IT REACHES",
            "SUSPECTED ORIGIN",
            "KEY POINTS",
            "WHY IT MATTERS",
            "WHAT TO DO NOW",
            "WHAT TO COLLECT",
        ];
        let places: Vec<_> = names.iter().map(|n| text.find(n).unwrap_or_else(|| panic!("{n}"))).collect();
        assert!(places.is_sorted(), "{places:?}");
    }

    #[test]
    fn an_address_is_never_called_a_culprit_and_nothing_is_called_clean() {
        for a in [sample::data_left(), sample::attempted(), sample::no_trace(), sample::unknown()] {
            let text = text(&a).to_lowercase();
            for word in ["culprit", "attacker is", "hacker", "is clean", "was clean", "0300 ", "nhs alert"] {
                assert!(!text.contains(word), "{word}");
            }
        }
    }
}
