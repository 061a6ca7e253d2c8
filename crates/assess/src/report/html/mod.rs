//! The report as one HTML file: no script, no network, readable on a phone, printable on A4.

mod pictures;
mod tables;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::finding::{Assessment, Verdict};
use crate::report::brief::{Brief, BriefOptions, Episode};
use crate::report::figures::Times;
use crate::report::plain::visible;

const STYLE: &str = include_str!("style.css");
/// Nothing may be loaded, run or sent, whatever a log line holds.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// Text from outside for the page: steering characters made visible; maud escapes the markup.
pub(crate) fn t(text: &str) -> String {
    visible(text)
}

/// Writes the whole page.
pub fn render(a: &Assessment, options: &BriefOptions) -> String {
    let brief = Brief::of(a, options);
    let times = Times::of(&a.timezone);
    let title = format!("{}: Ivanti EPMM assessment", brief.verdict);
    let page = html! {
        (DOCTYPE)
        html lang="en-GB" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="robots" content="noindex";
                meta name="referrer" content="no-referrer";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { main {
                (head(a, &brief, &times))
                (story(a, &brief, &times))
                (todo(&brief))
                (tables::all(a, &times))
                (foot(a))
            } }
        }
    };
    page.into_string()
}

fn head(a: &Assessment, brief: &Brief, times: &Times) -> Markup {
    html! {
        h1 {
            span { "Was our EPMM hit? Assessment of log files" }
            @if let Some(ms) = a.as_of_ms { span { "as of " (times.day(ms)) } }
        }
        div class={ "verdict " (class(a.verdict)) } {
            strong { (brief.verdict) }
            p { (brief.means) }
            @if let Some(first) = brief.actions.first() { p { b { "Do first: " } (t(&first.what)) } }
        }
        div class="answers" {
            div {
                h3 { "Evidence" }
                p { (t(&capital(&brief.evidence))) "." }
            }
            div {
                h3 { "Coverage" }
                p { (t(&capital(&brief.coverage))) "." }
                @if !brief.coverage_reasons.is_empty() {
                    ul class="small" { @for reason in brief.coverage_reasons.iter().take(8) { li { (t(reason)) } } }
                    @let more = brief.coverage_reasons.len().saturating_sub(8);
                    @if more > 0 { p class="small soft" { "and " (more) " more reasons, in the JSON" } }
                }
            }
        }
        p class="key" { "Two answers: neither changes the other. Evidence is what the lines show; coverage is how much was read." }
        (pictures::coverage(a, times))
    }
}

fn story(a: &Assessment, brief: &Brief, times: &Times) -> Markup {
    html! {
        h2 { "What happened" }
        @for (n, episode) in brief.happened.iter().enumerate() {
            (told(episode))
            @if let Some(chain) = a.chains.get(n).filter(|_| !episode.moments.is_empty()) { (pictures::timeline(chain, times)) }
        }
        (section("What data", &brief.data))
        (section("How far it reaches", &brief.reach))
        (section("Suspected origin", &brief.origin))
        (tables::origins(a))
        (section("Key points", &brief.key_points))
        (section("Why it matters", &brief.why))
    }
}

fn told(episode: &Episode) -> Markup {
    html! {
        @if episode.moments.is_empty() { p { (t(&episode.title)) } } @else { h3 { (t(&episode.title)) } }
        @if !episode.moments.is_empty() {
            ul class="moments" {
                @for moment in &episode.moments {
                    li {
                        span class="at" { (moment.at) }
                        span { (t(&moment.text)) " " span class="soft mono" { (t(&moment.cite)) } }
                    }
                }
            }
        }
        @if episode.left_out > 0 { p class="small soft" { (episode.left_out) " more steps stand in the evidence table or the JSON." } }
    }
}

fn section(name: &str, lines: &[String]) -> Markup {
    html! {
        h2 { (name) }
        ul { @for line in lines { li { (t(line)) } } }
    }
}

fn todo(brief: &Brief) -> Markup {
    html! {
        h2 { "What to do now, in order" }
        ol class="actions" {
            @for action in &brief.actions {
                li {
                    div {
                        span class="tick" {}
                        b { (t(&action.what)) }
                        @if !action.why.is_empty() { div class="soft small" { (t(&action.why)) } }
                    }
                    div class="by" {
                        div class="who" { (t(&action.owner)) }
                        div { (t(&action.clock)) @if action.law { " " span class="duty" { "duty" } } }
                    }
                }
            }
        }
        p class="key" { "Clocks without “duty” are our suggestion. Owners are roles; put names to them." }
        h2 { "What to collect before it rotates away, most volatile first" }
        table {
            thead { tr { th { "#" } th { "What" } th { "Lasts" } th { "Shows" } } }
            tbody {
                @for (n, item) in brief.collect.iter().enumerate() {
                    tr {
                        td class="k" data-label="#" { (n + 1) }
                        td data-label="What" { (t(&item.what)) }
                        td data-label="Lasts" { (t(&item.lasts)) }
                        td data-label="Shows" { (t(&item.shows)) }
                    }
                }
            }
        }
    }
}

fn foot(a: &Assessment) -> Markup {
    html! {
        footer {
            p {
                "Made by matron assess " (t(&a.tool_version)) ". The same inputs and options give the same report, byte \
                 for byte. Confidence of public facts: V read in public text, 2 second-hand, M from memory and \
                 unconfirmed, I our inference."
            }
            p { "Nothing in this report says that an appliance is free of intruders, or who an intruder is." }
        }
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|c| c.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// The class that colours a verdict.
fn class(v: Verdict) -> &'static str {
    match v {
        Verdict::Unknown => "unknown",
        Verdict::NoTrace => "no_trace",
        Verdict::Probed => "probed",
        Verdict::Attempted => "attempted",
        Verdict::LikelyCompromised => "likely_compromised",
        Verdict::DataLeft => "data_left",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn page(a: &Assessment) -> String {
        render(a, &BriefOptions { aware_at_ms: Some(sample::AWARE_MS), ..BriefOptions::default() })
    }

    #[test]
    fn the_page_of_stolen_data_is_as_before() {
        insta::assert_snapshot!(page(&sample::data_left()));
    }

    #[test]
    fn the_page_of_unknown_is_as_before() {
        insta::assert_snapshot!(page(&sample::unknown()));
    }

    #[test]
    fn the_page_loads_nothing_and_runs_nothing() {
        let page = page(&sample::data_left());
        for word in [
            "<script", "http://", "https://", "src=", "@import", "url(", "<link", "<iframe", "onclick",
            "onload",
        ] {
            assert!(!page.contains(word), "{word}");
        }
    }

    #[test]
    fn markup_in_a_log_line_is_shown_as_letters() {
        let page = page(&sample::hostile());
        assert!(!page.contains("<script>alert"), "markup got through");
        assert!(page.contains("&lt;script&gt;alert"));
        assert!(!page.chars().any(|c| c.is_control() && c != '\n'));
        assert!(!page.contains('\u{202e}'));
    }

    #[test]
    fn a_very_long_line_stays_bounded() {
        assert!(page(&sample::hostile()).len() < 400_000);
    }
}
