//! The three drafts: ICO, NHS DSPT, NIS.

use crate::draft::{Duties, Duty};
use crate::finding::{Assessment, Grade, UnixMs, Verdict};
use crate::report::brief::{Brief, BriefOptions, Signs};
use crate::report::figures::{self, Times};

/// A draft and the name of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// `ico.md`
    pub file: &'static str,
    /// Markdown.
    pub text: String,
}

/// Makes all three drafts.
pub fn drafts(a: &Assessment, options: &BriefOptions) -> Vec<Draft> {
    let facts = Facts {
        a,
        brief: Brief::of(a, options),
        signs: Signs::of(a),
        times: Times::of(&a.timezone),
        aware_at_ms: options.aware_at_ms,
        duties: &options.duties,
    };
    vec![
        Draft { file: "ico.md", text: ico(&facts) },
        Draft { file: "dspt.md", text: dspt(&facts) },
        Draft { file: "nis.md", text: nis(&facts) },
    ]
}

struct Facts<'a> {
    a: &'a Assessment,
    brief: Brief,
    signs: Signs,
    times: Times,
    aware_at_ms: Option<UnixMs>,
    duties: &'a Duties,
}

/// What only a person can know. Made to be seen, and to be found by searching for `FILL IN`.
fn blank(what: &str) -> String {
    format!("**\u{2588}\u{2588} FILL IN: {what} \u{2588}\u{2588}**")
}

struct Form(String);

impl Form {
    fn new(title: &str, facts: &Facts<'_>, duty: Option<&Duty>) -> Self {
        let mut form = Self(format!("# DRAFT, not sent: {title}\n\n"));
        form.line(&format!(
            "Made by matron assess {} from log files. **A person completes, checks and submits this; software never \
             does.** Every `FILL IN` is something that no log can know. Do not name affected people in it.",
            facts.a.tool_version
        ));
        if let Some(duty) = duty {
            let hours = duty.hours.unwrap_or_default();
            form.line(&match (facts.aware_at_ms, duty.deadline_ms(facts.aware_at_ms)) {
                (Some(aware), Some(by)) => format!(
                    "**Clock:** aware since {}; {hours} hours end **{}** ({}). {}.",
                    facts.times.minute(aware),
                    facts.times.minute(by),
                    duty.law,
                    capital(&duty.applies)
                ),
                _ => format!(
                    "**Clock:** {hours} hours from awareness ({}). Aware since {}. {}.",
                    duty.law,
                    blank("day and time when the organisation became aware"),
                    capital(&duty.applies)
                ),
            });
            form.line(&format!(
                "Clocks and thresholds as we knew them in {}; compare them with the law's own text before you rely on them.",
                facts.duties.checked
            ));
        }
        form
    }

    fn line(&mut self, text: &str) {
        self.0.push_str(text);
        self.0.push_str("\n\n");
    }

    fn field(&mut self, name: &str, text: &str) {
        self.0.push_str(&format!("## {name}\n\n{text}\n\n"));
    }

    fn field_list(&mut self, name: &str, lines: &[String]) {
        let list: Vec<String> = lines.iter().map(|l| format!("- {}", inert(l))).collect();
        self.field(name, &list.join("\n"));
    }
}

/// Markdown takes `<` for markup, a backtick for code and `](` for a link; text from a log gets none.
fn inert(text: &str) -> String {
    let text = crate::report::plain::visible(text);
    text.replace('<', "&lt;").replace('>', "&gt;").replace('`', "\\`").replace("](", "]\\(")
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|c| c.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

impl Facts<'_> {
    fn broken_into(&self) -> bool {
        self.a.evidence.grade >= Grade::LikelyCompromised
    }

    fn happened(&self) -> Vec<String> {
        let mut lines = vec![format!("{}. {}", self.brief.verdict, self.brief.means)];
        lines.extend(self.brief.happened.iter().map(|e| e.title.clone()));
        lines.push(format!("What was read: {}.", self.brief.coverage));
        lines.push(format!(
            "Whether this is confirmed on the appliance itself: {}",
            blank("result of the forensic work, or \"not yet known\"")
        ));
        lines
    }

    fn when(&self) -> String {
        match (self.signs.first_ms, self.signs.last_ms) {
            (Some(first), Some(last)) => format!(
                "First sign in the logs {}, last {}. Times are read as {}{}. It may have begun before the first line \
                 that was kept.",
                self.times.full(first),
                self.times.full(last),
                inert(&self.a.timezone.name),
                if self.a.timezone.guessed { " (guessed)" } else { "" }
            ),
            _ => blank("when it happened; no log line says so"),
        }
    }

    fn counts(&self) -> String {
        match &self.a.exposure {
            Some(e) => format!(
                "At most {} and {} (accounts {}, phone numbers {}, IMEIs {}, e-mail addresses {}, stored locations \
                 {}), by the inventory {} (SHA-256 {}); its day: {}. This is a bound. {}",
                figures::count(e.counts.people, "person", "people"),
                figures::count(e.counts.devices, "device", "devices"),
                figures::grouped(e.counts.accounts),
                figures::grouped(e.counts.phone_numbers),
                figures::grouped(e.counts.imeis),
                figures::grouped(e.counts.emails),
                figures::grouped(e.counts.locations),
                inert(&e.file),
                e.sha256,
                e.dated_ms.map_or_else(|| e.dated_by.clone(), |ms| self.times.day(ms)),
                blank("correct it for people who left or came since, or confirm it")
            ),
            None => blank(
                "number of people and of records; the maximum if unsure (or run again with --inventory)",
            ),
        }
    }

    fn origin_of_report(&self) -> String {
        let mut lines = vec![format!("- matron assess {}", self.a.tool_version)];
        for input in self.a.inputs.iter().filter(|i| i.inside.is_none()) {
            let hash = input.sha256.as_deref().unwrap_or("not readable");
            lines.push(format!("- {} ({}): SHA-256 {hash}", inert(&input.name), figures::size(input.bytes)));
        }
        lines.join("\n")
    }

    fn actions(&self) -> String {
        let mut lines =
            vec!["Mark what was done, with day and time; strike what was not.".to_owned(), String::new()];
        lines.extend(
            self.brief
                .actions
                .iter()
                .filter(|x| !x.law)
                .map(|x| format!("- [ ] {} {}", inert(&x.what), blank("done when, by whom, or why not"))),
        );
        lines.join("\n")
    }
}

fn ico(f: &Facts<'_>) -> String {
    let mut form =
        Form::new("personal data breach report to the ICO (UK GDPR Art. 33)", f, f.duties.find("ico"));
    if !f.broken_into() {
        form.line(
            "**Read this first:** the evidence does not reach \"likely compromised\". A report may still be due if a \
             risk to people can't be ruled out; that is a person's decision, to be written down either way.",
        );
    }
    form.field("Initial or follow-up report", &blank("initial, or follow-up with the ICO's case reference"));
    form.field_list("What happened", &f.happened());
    let cyber = match (f.broken_into(), f.a.chains.is_empty()) {
        (true, _) => "Yes.",
        (false, false) => "An attempt, as far as the logs show.",
        (false, true) => "No sign of one in what was read.",
    };
    form.field("Was it a cyber incident?", cyber);
    form.field(
        "How and when it was discovered",
        &blank("who noticed what, how, on which day and at what time; why not earlier"),
    );
    form.field("When it happened", &f.when());
    form.field_list("Categories of personal data", &f.brief.data);
    form.field("Number of people and records", &f.counts());
    form.field(
        "Kinds of people affected",
        &format!(
            "Staff with a managed phone. {}",
            blank("contractors, students, volunteers; patients only if the appliance held any of their data")
        ),
    );
    form.field(
        "Likely consequences",
        &format!(
            "Calls and messages that use name, number and employer; attempts to take over a telephone line; use of \
             stolen tokens to read mail. {}",
            blank("what else follows for the people concerned here, and what has already been seen")
        ),
    );
    form.field(
        "Likelihood that people suffer harm",
        &blank("very likely, likely, neutral, unlikely, very unlikely, not yet known; and why"),
    );
    form.field("Confidentiality, integrity, availability", &cia(f));
    form.field(
        "Impact on the organisation",
        &blank("high, medium, low or not yet known; which services were or are affected"),
    );
    form.field("Recovery time", &blank("regular, supplemented, extended or not recoverable; when"));
    form.field("Actions taken", &f.actions());
    form.field(
        "Have the people affected been told? (Art. 34)",
        &blank("yes, when and how; about to; no, and why; a high risk makes it a duty"),
    );
    form.field(
        "Who else was told",
        &blank("NHS England, NCSC, police, insurers, suppliers, commissioners: who, when, reference"),
    );
    form.field("If later than 72 hours: reasons for the delay", &blank("reasons, or \"not applicable\""));
    form.field(
        "Contacts",
        &blank("organisation, ICO registration number, data protection officer, who can be called"),
    );
    form.field("Where this draft's facts come from", &f.origin_of_report());
    form.0
}

fn cia(f: &Facts<'_>) -> String {
    let confidentiality = if f.a.verdict == Verdict::DataLeft {
        "affected: data left"
    } else if f.broken_into() {
        "to be assumed affected"
    } else {
        "no sign"
    };
    let integrity = if f.signs.persisted || f.signs.known_file || f.signs.ran_commands || f.signs.read_by_api
    {
        "settings, files or accounts on the appliance may have been changed"
    } else {
        "no sign"
    };
    let availability = if f.signs.destroyed { "phones were ordered to wipe or lock" } else { "no sign" };
    format!(
        "- Confidentiality: {confidentiality}\n- Integrity: {integrity}\n- Availability: {availability}\n\n{}",
        blank("correct these where you know better")
    )
}

fn dspt(f: &Facts<'_>) -> String {
    let mut form = Form::new("NHS DSPT incident", f, f.duties.find("dspt"));
    let t = &f.duties.dspt;
    form.field("Organisation", &blank("name and ODS code"));
    form.field_list("What happened", &f.happened());
    form.field("When it happened", &f.when());
    form.field("How it was found", &blank("who noticed what, how, and when"));
    form.field_list("What data", &f.brief.data);
    form.field("How many people", &f.counts());
    form.field(
        "Score 1: likelihood that people are harmed (1 to 5)",
        &format!(
            "{}\n\nReasons that the logs give: {}.\n\nReasons that only you know: {}",
            blank("1 to 5"),
            inert(&f.brief.evidence),
            blank("reasons")
        ),
    );
    form.field(
        "Score 2: impact on the people (1 to 5)",
        &format!(
            "{}\n\nReasons: {}",
            blank("1 to 5"),
            blank("what it means for the people concerned, worst first")
        ),
    );
    form.field(
        "Threshold",
        &format!(
            "Passed on when likelihood is at least {} and impact at least {} ({}; {}).",
            t.likelihood_at_least, t.impact_at_least, t.scale, t.source
        ),
    );
    form.field(
        "Is care affected?",
        &blank("yes or no; which services, since when, how patients are kept safe"),
    );
    form.field("Actions taken", &f.actions());
    form.field("Who else was told", &blank("who, when, reference"));
    form.field("Contacts", &blank("SIRO, Caldicott Guardian, data protection officer"));
    form.field("Where this draft's facts come from", &f.origin_of_report());
    form.0
}

fn nis(f: &Facts<'_>) -> String {
    let mut form =
        Form::new("NIS incident notification (NIS Regulations 2018 reg. 11)", f, f.duties.find("nis"));
    form.line(
        "A notification is due only if the incident has a significant impact on the continuity of an essential \
         service. That is a person's decision.",
    );
    form.field("Operator", &blank("name, and the essential service that it provides"));
    form.field(
        "Significant impact?",
        &blank("yes or no, and why: users affected, how long, how wide an area"),
    );
    form.field("When it occurred", &f.when());
    form.field("Duration", &blank("from when to when the service was affected, or \"goes on\""));
    form.field_list("Nature", &f.happened());
    form.field_list("How far it reaches", &f.brief.reach);
    form.field(
        "Impact",
        &format!(
            "{}{}",
            if f.signs.destroyed { "Phones were ordered to wipe or lock. " } else { "" },
            blank("number of users affected, services, geographic extent, patients")
        ),
    );
    form.field("Cross-border impact", &blank("any effect outside the United Kingdom, or \"none known\""));
    form.field("Actions taken", &f.actions());
    form.field("Anything else that helps the authority", &blank("or \"nothing\""));
    form.field("Contacts", &blank("who can be called, day and night"));
    if let Some(bill) = f.duties.find("csr-24h").filter(|d| !d.in_force) {
        form.line(&format!("Not a duty today: {} ({}).", bill.act, bill.law));
    }
    form.field("Where this draft's facts come from", &f.origin_of_report());
    form.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn made(a: &Assessment, aware_at_ms: Option<UnixMs>) -> Vec<Draft> {
        drafts(a, &BriefOptions { aware_at_ms, ..BriefOptions::default() })
    }

    #[test]
    fn the_drafts_for_stolen_data_are_as_before() {
        for draft in made(&sample::data_left(), Some(sample::AWARE_MS)) {
            insta::assert_snapshot!(draft.file, draft.text);
        }
    }

    #[test]
    fn without_the_moment_of_awareness_the_clock_is_a_blank() {
        for draft in made(&sample::data_left(), None) {
            assert!(
                draft.text.contains("FILL IN: day and time when the organisation became aware"),
                "{}",
                draft.file
            );
        }
    }

    #[test]
    fn the_clock_ends_seventy_two_hours_after_awareness() {
        for draft in made(&sample::data_left(), Some(sample::AWARE_MS)) {
            assert!(draft.text.contains("**31 May 2025, 09:30 BST**"), "{}", draft.file);
        }
    }

    #[test]
    fn an_attempt_is_not_reported_as_a_breach() {
        let ico = &made(&sample::attempted(), None)[0].text;
        assert!(ico.contains("does not reach \"likely compromised\""));
    }

    #[test]
    fn the_ico_draft_has_every_field_that_the_form_asks_for() {
        let ico = &made(&sample::data_left(), None)[0].text;
        for field in [
            "Initial or follow-up",
            "What happened",
            "cyber incident",
            "discovered",
            "When it happened",
            "Categories of personal data",
            "Number of people",
            "Kinds of people",
            "Likely consequences",
            "Likelihood",
            "Confidentiality",
            "Impact on the organisation",
            "Recovery time",
            "Actions taken",
            "Who else was told",
            "reasons for the delay",
            "Contacts",
        ] {
            assert!(ico.lines().any(|l| l.starts_with("## ") && l.contains(field)), "{field}");
        }
    }

    #[test]
    fn markup_in_a_log_line_does_not_get_into_a_draft() {
        for draft in made(&sample::hostile(), None) {
            assert!(!draft.text.contains("<script"), "{}", draft.file);
            assert!(!draft.text.contains("](x)"), "{}", draft.file);
            assert!(!draft.text.chars().any(|c| c.is_control() && c != '\n'), "{}", draft.file);
        }
    }
}
