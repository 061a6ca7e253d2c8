//! The tables: evidence, clients, indicators, the logs themselves, inputs, rules, inventory.

use maud::{Markup, html};

use crate::finding::{Assessment, Chain, Grade, InputFile, ReadState, Step};
use crate::report::figures::{self, Times};
use crate::report::html::t;
use crate::report::plain::visible_within;
use crate::report::words;

/// Rows of the evidence table; the JSON and the timeline have them all.
const MOST_ROWS: usize = 150;
/// Columns of a raw line that are shown.
const MOST_RAW: usize = 400;
/// Rows of the other tables.
const MOST_OTHER: usize = 300;

/// Numbers that must not break at their hyphens.
fn ids(list: &[String]) -> Markup {
    html! {
        @for (i, id) in list.iter().enumerate() {
            @if i > 0 { ", " }
            span class="id" { (t(id)) }
        }
    }
}

pub(super) fn all(a: &Assessment, times: &Times) -> Markup {
    html! {
        (evidence(a, times))
        (clients(a, times))
        (indicators(a, times))
        (integrity(a, times))
        (not_assessable(a))
        (inventory(a, times))
        (inputs(a, times))
        (rules(a))
        (remarks(a))
    }
}

fn cut(shown: usize, all: usize) -> Markup {
    html! { @if all > shown { p class="small soft" { "Shown: " (shown) " of " (all) " rows; all of them stand in the JSON." } } }
}

fn graded(g: Grade) -> Markup {
    let class = match g {
        Grade::NoTrace => "no_trace",
        Grade::Probed => "probed",
        Grade::Attempted => "attempted",
        Grade::LikelyCompromised => "likely_compromised",
        Grade::DataLeft => "data_left",
    };
    html! { span class={ "grade g-" (class) } { (words::grade(g)) } }
}

fn evidence(a: &Assessment, times: &Times) -> Markup {
    let rows: Vec<(&Chain, usize, &Step)> =
        a.chains.iter().flat_map(|c| c.steps.iter().enumerate().map(move |(i, s)| (c, i + 1, s))).collect();
    if rows.is_empty() {
        return html! {};
    }
    html! {
        h2 { "Evidence" }
        table {
            caption { "Each step with the line that it rests on: file, line number and byte offset in the unpacked file." }
            thead { tr { th { "Step" } th { "Time" } th { "What" } th { "Client" } th { "Answer" } th { "Rule" } } }
            // A body each, so that no page ends between a step and its line.
            @for (chain, n, step) in rows.iter().take(MOST_ROWS) {
                tbody class="step" {
                    tr class="lead" {
                        td class="k" data-label="Step" { b { (chain.number) "." (n) } }
                        td data-label="Time" { span { (when(step, times)) } }
                        td data-label="What" { span { (words::stage(step.stage)) br; (graded(step.grade)) } }
                        td class=[short(step.client.as_deref().unwrap_or_default())] data-label="Client" { (client(step)) }
                        td data-label="Answer" { (answer(step)) }
                        td data-label="Rule" { (rule(step)) }
                    }
                    tr class="raw" {
                        td data-label="Line" colspan="6" { span {
                            code { (visible_within(&step.cite.raw.0, MOST_RAW)) }
                            div class="soft small" {
                                (visible_within(&step.cite.file, 200)) ", line " (step.cite.line) ", byte " (step.cite.byte_offset)
                                @if step.cite.cut { "; the line is longer than 8 KiB and was cut" }
                            }
                            @if !step.note.is_empty() { div class="small" { (t(&step.note)) } }
                            @if let Some(open) = &step.version_open { div class="small" { (t(open)) } }
                        } }
                    }
                }
            }
        }
        (cut(rows.len().min(MOST_ROWS), rows.len()))
        @for chain in a.chains.iter().filter(|c| c.steps_left_out > 0) {
            p class="small soft" { "Chain " (chain.number) ": " (figures::grouped(chain.steps_left_out)) " further steps were seen and are not listed." }
        }
    }
}

/// A column that holds only short addresses is not broken inside them.
fn short(address: &str) -> Option<&'static str> {
    (address.len() <= 15).then_some("k")
}

fn when(step: &Step, times: &Times) -> Markup {
    html! {
        @match step.at_ms {
            Some(ms) => { (times.sortable(ms)) br; span class="soft" { (crate::moment::utc_text(ms)) } },
            None => { "not in the line" },
        }
        @if step.zone_guessed { br; span class="soft" { "zone guessed" } }
    }
}

fn client(step: &Step) -> Markup {
    html! { span {
        (step.client.as_deref().map_or_else(|| "not known".to_owned(), |c| visible_within(c, 60)))
        @if let Some(via) = &step.via { br; span class="soft" { "via " (visible_within(via, 60)) } }
    } }
}

fn answer(step: &Step) -> Markup {
    html! { span {
        (step.status.map_or_else(|| "no status".to_owned(), |s| s.to_string()))
        @if let Some(bytes) = step.bytes_out { br; (figures::grouped(bytes)) " bytes" }
        @if step.repeats > 0 { br; span class="soft" { "and " (figures::grouped(step.repeats)) " more" } }
    } }
}

fn rule(step: &Step) -> Markup {
    html! { span {
        (t(&step.rule_name)) " [" (words::confidence_mark(step.confidence)) "]"
        @if !step.cves.is_empty() { br; span class="soft" { (ids(&step.cves)) } }
        @if !step.techniques.is_empty() { br; span class="soft" { (ids(&step.techniques)) } }
    } }
}

fn clients(a: &Assessment, times: &Times) -> Markup {
    if a.clients.is_empty() {
        return html! {};
    }
    html! {
        h2 { "Clients" }
        table {
            caption { "Addresses of requests in the evidence. An address shows where a request came from, not who sent it." }
            thead { tr { th { "Address" } th { "Worst" } th { "First" } th { "Last" } th { "Requests" } th { "Bytes out" } th { "Registered" } } }
            tbody {
                @for c in a.clients.iter().take(MOST_OTHER) {
                    tr {
                        td class=[short(&c.address)] data-label="Address" { span { (visible_within(&c.address, 60)) @if c.internal { " (inside)" } } }
                        td data-label="Worst" { (graded(c.grade)) }
                        td data-label="First" { (times.full_or(c.first_ms, "not known")) }
                        td data-label="Last" { (times.full_or(c.last_ms, "not known")) }
                        td class="n" data-label="Requests" { (figures::grouped(c.requests)) }
                        td class="n" data-label="Bytes out" { (figures::grouped(c.bytes_out)) }
                        td data-label="Registered" { (c.origin.as_ref().map(registered).unwrap_or_default()) }
                    }
                }
            }
        }
        (cut(a.clients.len().min(MOST_OTHER), a.clients.len()))
    }
}

fn registered(o: &crate::finding::Origin) -> String {
    let country = o.country_name.as_deref().or(o.country.as_deref()).unwrap_or("country not known");
    let asn = o.asn.map(|n| format!(", AS{n}")).unwrap_or_default();
    let network = o.network.as_deref().map(|n| format!(" {n}")).unwrap_or_default();
    visible_within(&format!("{country}{asn}{network}"), 90)
}

pub(super) fn origins(a: &Assessment) -> Markup {
    if a.origins.is_empty() {
        return html! {};
    }
    html! {
        table {
            thead { tr { th { "Registered in" } th { "Addresses" } th { "Requests" } th { "Worst" } } }
            tbody {
                @for row in a.origins.iter().take(50) {
                    tr {
                        td data-label="Registered" { (registered(&row.origin)) }
                        td class="n" data-label="Addresses" { (figures::grouped(row.clients)) }
                        td class="n" data-label="Requests" { (figures::grouped(row.requests)) }
                        td data-label="Worst" { (graded(row.grade)) }
                    }
                }
            }
        }
        (cut(a.origins.len().min(50), a.origins.len()))
    }
}

fn indicators(a: &Assessment, times: &Times) -> Markup {
    if a.indicator_hits.is_empty() {
        return html! {};
    }
    html! {
        h2 { "Published indicators that were met" }
        table {
            caption { "Indicators age: an old address may belong to somebody else today." }
            thead { tr { th { "Indicator" } th { "Source" } th { "Age then" } th { "Counts as" } th { "Met" } } }
            tbody {
                @for hit in a.indicator_hits.iter().take(MOST_OTHER) {
                    tr {
                        td data-label="Indicator" { span { (words::indicator(hit.kind)) br; code { (visible_within(&hit.value, 120)) } } }
                        td data-label="Source" { (visible_within(&hit.source, 120)) }
                        td data-label="Age then" { (hit.age_days.map_or_else(|| "not dated".to_owned(), |d| format!("{d} days"))) }
                        td data-label="Counts as" { @if hit.stale { "a remark: too old" } @else { (graded(hit.grade)) } }
                        td data-label="Met" { span { (figures::count(hit.hits, "time", "times")) br; span class="soft" { (times.full_or(hit.first_ms, "time not known")) } } }
                    }
                }
            }
        }
        (cut(a.indicator_hits.len().min(MOST_OTHER), a.indicator_hits.len()))
    }
}

fn integrity(a: &Assessment, times: &Times) -> Markup {
    if a.integrity.is_empty() && a.coverage.holes.is_empty() {
        return html! {};
    }
    html! {
        h2 { "The logs themselves" }
        table {
            thead { tr { th { "What" } th { "Where" } th { "From" } th { "To" } th { "How it was seen" } } }
            tbody {
                @for f in a.integrity.iter().take(MOST_OTHER) {
                    tr {
                        td data-label="What" { (words::integrity(f.kind)) }
                        td data-label="Where" { span { (visible_within(&f.file, 120)) @if let Some(c) = &f.cite { ":" (c.line) } } }
                        td data-label="From" { (times.full_or(f.from_ms, "")) }
                        td data-label="To" { (times.full_or(f.to_ms, "")) }
                        td data-label="How" { (t(&f.text)) }
                    }
                }
                @for hole in a.coverage.holes.iter().take(MOST_OTHER) {
                    tr {
                        td data-label="What" { "hole in coverage" }
                        td data-label="Where" {}
                        td data-label="From" { (times.full(hole.from_ms)) }
                        td data-label="To" { (times.full(hole.to_ms)) }
                        td data-label="How" { (t(&hole.why)) }
                    }
                }
            }
        }
        (cut(a.integrity.len().min(MOST_OTHER), a.integrity.len()))
    }
}

fn not_assessable(a: &Assessment) -> Markup {
    if a.coverage.not_assessable.is_empty() {
        return html! {};
    }
    html! {
        h2 { "Not assessable here" }
        table {
            thead { tr { th { "What" } th { "In which layout" } th { "Why" } } }
            tbody {
                @for n in a.coverage.not_assessable.iter().take(MOST_OTHER) {
                    tr {
                        td data-label="What" { span { (t(&n.title)) br; span class="soft" { (t(&n.rule)) } } }
                        td data-label="Layout" { (n.layout.map_or("leaves no web trace", words::layout)) }
                        td data-label="Why" { (t(&n.why)) }
                    }
                }
            }
        }
    }
}

fn inventory(a: &Assessment, times: &Times) -> Markup {
    let Some(e) = &a.exposure else { return html! {} };
    html! {
        h2 { "The inventory that was counted" }
        p { (visible_within(&e.file, 120)) ", " (figures::size(e.bytes)) ", " (e.encoding) ", " (figures::count(e.rows, "row", "rows")) "; its day: "
            (e.dated_ms.map_or_else(|| "not known".to_owned(), |ms| times.day(ms))) " (" (t(&e.dated_by)) ")." }
        p class="small soft mono" { "SHA-256 " (t(&e.sha256)) }
        table {
            caption { "What each column was taken for. Change it with --map WORD=COLUMN." }
            thead { tr { th { "Column" } th { "Taken for" } th { "How" } } }
            tbody {
                @for c in e.columns.iter().take(MOST_OTHER) {
                    tr {
                        td data-label="Column" { (visible_within(&c.heading, 80)) }
                        td data-label="Taken for" { (t(&c.field)) }
                        td data-label="How" { (t(&c.how)) }
                    }
                }
            }
        }
        @if !e.unread_columns.is_empty() {
            p class="small soft" { "Not read: " (visible_within(&e.unread_columns.join(", "), 600)) "." }
        }
    }
}

/// Why a file has no digest.
fn no_digest(i: &InputFile) -> &'static str {
    match i.read {
        ReadState::Whole if i.inside.is_some() => "no SHA-256 of its own: see that of the packed file",
        _ => "no SHA-256 (not readable, or --no-hash)",
    }
}

fn inputs(a: &Assessment, times: &Times) -> Markup {
    html! {
        h2 { "What was read" }
        table {
            thead { tr { th { "File" } th { "Kind" } th { "Read" } th { "Times" } th { "Lines" } } }
            tbody {
                @for i in a.inputs.iter().take(MOST_OTHER) {
                    tr {
                        td data-label="File" { span {
                            (visible_within(&i.name, 200)) br;
                            span class="soft mono" { (i.sha256.as_deref().unwrap_or(no_digest(i))) }
                            span class="soft" { ", " (figures::size(i.bytes)) }
                        } }
                        td data-label="Kind" { span {
                            (words::input_kind(i.kind))
                            @for l in &i.layouts { br; span class="soft" { (words::layout(*l)) } }
                        } }
                        td data-label="Read" { span {
                            @if let Some(of) = &i.double_of { "a copy of " (visible_within(of, 120)) ", counted once" }
                            @else { b { (words::read_state(&i.read).0) } " " (t(words::read_state(&i.read).1)) }
                        } }
                        td data-label="Times" { @if let (Some(from), Some(to)) = (i.first_ms, i.last_ms) { span { (times.minute(from)) br; (times.minute(to)) } } }
                        td class="n" data-label="Lines" { span { (figures::grouped(i.lines)) br; span class="soft" { (figures::grouped(i.relevant_lines)) " matched" } } }
                    }
                }
            }
        }
        (cut(a.inputs.len().min(MOST_OTHER), a.inputs.len()))
        p class="small" {
            "Times are read as " (t(&a.timezone.name)) @if a.timezone.guessed { " (guessed)" } ". " (t(&a.timezone.why))
        }
        @if let Some(p) = &a.proxy {
            p class="small" { (t(&p.text)) " (" (t(&figures::list(&p.addresses, 5))) ", " (p.share_percent) " % of sampled lines)" }
        }
    }
}

fn rules(a: &Assessment) -> Markup {
    let matched: Vec<_> = a.rule_set.iter().filter(|r| r.hits > 0).collect();
    let silent: Vec<String> =
        a.rule_set.iter().filter(|r| r.hits == 0).map(|r| format!("{} ({})", r.name, r.version)).collect();
    html! {
        h2 { "Rules that were applied" }
        @if !matched.is_empty() {
            table {
                thead { tr { th { "Rule" } th { "Version" } th { "Flaws" } th { "Facts" } th { "Lines" } } }
                tbody {
                    @for r in matched.iter().take(MOST_OTHER) {
                        tr {
                            td data-label="Rule" { span { (t(&r.title)) br; span class="soft" { (t(&r.name)) @if !r.builtin { ", from --rules" } } } }
                            td class="k" data-label="Version" { (t(&r.version)) }
                            td data-label="Flaws" { (ids(&r.cves)) }
                            td data-label="Facts" { span { (words::confidence_mark(r.confidence)) ", " (words::confidence(r.confidence)) br; span class="soft" { (t(&r.source)) } } }
                            td class="n" data-label="Lines" { (figures::grouped(r.hits)) }
                        }
                    }
                }
            }
            (cut(matched.len().min(MOST_OTHER), matched.len()))
        }
        @if !silent.is_empty() {
            p class="small soft" { "Applied without a match, with their versions: " (visible_within(&silent.join(", "), 12_000)) "." }
        }
    }
}

fn remarks(a: &Assessment) -> Markup {
    if a.remarks.is_empty() {
        return html! {};
    }
    html! {
        h2 { "Remarks" }
        p class="small soft" { "A remark never changes the verdict." }
        ul { @for r in a.remarks.iter().take(MOST_OTHER) { li { b { (visible_within(&r.about, 120)) } ": " (t(&r.text)) } } }
        (cut(a.remarks.len().min(MOST_OTHER), a.remarks.len()))
    }
}
