//! What core counts. Names and labels are closed; nothing of a phone or a person is a label.

use std::sync::Arc;

use model::Clock;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::refused::Refused;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct What {
    what: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Gauged {
    Invited,
    Issued,
    Authenticated,
    Enrolled,
    CheckedOut,
    Replaced,
    Withdrawn,
    Due,
    Asked,
    Late,
    Expired,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InState {
    state: Gauged,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CameOf {
    outcome: &'static str,
}

/// What a sign-in by OpenID Connect that went well comes to.
const SIGNED_IN: &str = "signed_in";

/// The counters, made once so that the check-in path looks nothing up.
pub(crate) struct Counters {
    registry: Registry,
    enrolments: Family<InState, Gauge>,
    pub open_commands: Gauge,
    pub deferred_commands: Gauge,
    pub words_waiting: Gauge,
    pub ledger_entries: Gauge,
    pub push_certificate_expires: Gauge,
    certificates: Family<InState, Gauge>,
    pub standing_orders: Gauge,
    pub certificate_ends: Gauge,
    pub acme_failures: Gauge,
    pub idle: Counter,
    pub authenticate: Counter,
    pub token_update: Counter,
    pub check_out: Counter,
    pub report: Counter,
    pub declarations_asked: Counter,
    pub status_report: Counter,
    pub other: Counter,
    pub escrow: Counter,
    pub profile: Counter,
    pub scep: Counter,
    pub unreadable: Refused,
    pub not_ours: Refused,
    pub other_phone: Refused,
    pub retired_certificate: Refused,
    pub out_of_order: Refused,
    pub unknown_command: Counter,
    pub unlisted_clear_field: Counter,
    pub unavailable: Counter,
    pub reports_unchanged: Counter,
    pub reports_changed: Counter,
    pub commands_given: Counter,
    pub orders_accepted: Counter,
    pub orders_refused: Counter,
    pub pushes_accepted: Counter,
    pub pushes_failed: Counter,
    pub without_session: Refused,
    pub not_allowed: Refused,
    pub unknown_passkeys: Refused,
    pub copied_passkeys: Refused,
    pub forged_orders: Refused,
    pub strangers_held_up: Refused,
    pub bodies_refused: Refused,
    accounts_refused: Refused,
    cards_refused: Refused,
    oidc: Family<CameOf, Counter>,
    holders: Family<CameOf, Counter>,
}

impl Counters {
    /// Counts what is turned away by this clock.
    pub fn new(clock: &Arc<dyn Clock>) -> Self {
        let mut registry = Registry::with_prefix("matron_core");
        let mut family = |name: &str, help: &str| {
            let f = Family::<What, Counter>::default();
            registry.register(name, help, f.clone());
            move |what: &'static str| f.get_or_create(&What { what }).clone()
        };
        let checkin = family("checkins", "Check-ins and reports answered, by what they were");
        let phones = family("phones_refused", "Messages from phones turned away, by why");
        let reports = family("reports", "Inventory reports, by whether anything had changed");
        let orders = family("orders", "Orders carried to the vault, by its decision");
        let pushes = family("pushes", "Pushes handed to the courier, by what came of them");
        let api = family("api_refused", "Requests of the API turned away, by why");
        let timed = |counter: Counter| Refused::counting(counter, clock.clone());
        let (phone, asked) = (|why| timed(phones(why)), |why| timed(api(why)));
        let given = family("commands", "Commands handed to the door");
        let enrolments = Family::<InState, Gauge>::default();
        registry.register("enrolments", "Enrolments, by state", enrolments.clone());
        let certificates = Family::<InState, Gauge>::default();
        let help = "Enrolled phones whose certificate is due for renewal, by how they stand with it";
        registry.register("certificates", help, certificates.clone());
        let oidc = Family::<CameOf, Counter>::default();
        let help = "Sign-ins by OpenID Connect, by what came of them";
        registry.register("oidc_signins", help, oidc.clone());
        let holders = Family::<CameOf, Counter>::default();
        let help = "Sign-ins with a holder's card and what holders asked for, by what came of them";
        registry.register("holders", help, holders.clone());
        let mut gauge = |name: &str, help: &str| {
            let g = Gauge::default();
            registry.register(name, help, g.clone());
            g
        };
        Self {
            open_commands: gauge("open_commands", "Commands that wait for a phone"),
            deferred_commands: gauge("deferred_commands", "Commands that a phone put off (NotNow)"),
            words_waiting: gauge("words_waiting", "Core's words that the vault has yet to write down"),
            standing_orders: gauge("standing_orders", "Standing orders in force that renew certificates"),
            certificates,
            push_certificate_expires: gauge(
                "push_certificate_expires_timestamp_seconds",
                "When the push certificate runs out (Unix time; 0: there is none)",
            ),
            certificate_ends: gauge(
                "tls_certificate_expires_timestamp_seconds",
                "When the certificate that phones are shown runs out (Unix time)",
            ),
            acme_failures: gauge("acme_failures", "Tries for a certificate by ACME that failed in a row"),
            ledger_entries: gauge("ledger_entries", "Entries of the vault's ledger that were followed"),
            idle: checkin("idle"),
            authenticate: checkin("authenticate"),
            token_update: checkin("token_update"),
            check_out: checkin("check_out"),
            report: checkin("report"),
            declarations_asked: checkin("declarations_asked"),
            status_report: checkin("status_report"),
            other: checkin("other"),
            escrow: checkin("escrow"),
            profile: checkin("profile"),
            scep: checkin("scep"),
            unreadable: phone("unreadable"),
            not_ours: phone("not_enrolled"),
            other_phone: phone("other_phone"),
            retired_certificate: phone("retired_certificate"),
            out_of_order: phone("out_of_order"),
            unknown_command: phones("unknown_command"),
            unlisted_clear_field: phones("unlisted_clear_field"),
            unavailable: phones("unavailable"),
            reports_unchanged: reports("unchanged"),
            reports_changed: reports("changed"),
            commands_given: given("given"),
            orders_accepted: orders("accepted"),
            orders_refused: orders("refused"),
            pushes_accepted: pushes("accepted"),
            pushes_failed: pushes("failed"),
            without_session: asked("no_session"),
            not_allowed: asked("not_allowed"),
            unknown_passkeys: asked("unknown_passkey"),
            copied_passkeys: asked("copied_passkey"),
            forged_orders: asked("forged_order"),
            strangers_held_up: asked("held_up"),
            bodies_refused: asked("body"),
            accounts_refused: asked("account"),
            cards_refused: asked("holders_card"),
            oidc,
            holders,
            enrolments,
            registry,
        }
    }

    /// A sign-in by OpenID Connect came to that.
    pub fn oidc(&self, outcome: &'static str) {
        self.oidc.get_or_create(&CameOf { outcome }).inc();
        if outcome != SIGNED_IN {
            self.accounts_refused.inc();
        }
    }

    /// A holder's sign-in, or what one asked for, came to that.
    pub fn holder(&self, outcome: &'static str) {
        self.holders.get_or_create(&CameOf { outcome }).inc();
        if matches!(outcome, "refused" | "held_up") {
            self.cards_refused.inc();
        }
    }

    /// What was turned away, by why: of the API, then of phones.
    pub fn refused(&self) -> [(&'static str, &Refused); 14] {
        [
            ("copied_passkey", &self.copied_passkeys),
            ("forged_order", &self.forged_orders),
            ("unknown_passkey", &self.unknown_passkeys),
            ("held_up", &self.strangers_held_up),
            ("no_session", &self.without_session),
            ("not_allowed", &self.not_allowed),
            ("account", &self.accounts_refused),
            ("holders_card", &self.cards_refused),
            ("body", &self.bodies_refused),
            ("other_phone", &self.other_phone),
            ("retired_certificate", &self.retired_certificate),
            ("not_enrolled", &self.not_ours),
            ("out_of_order", &self.out_of_order),
            ("unreadable", &self.unreadable),
        ]
    }

    pub fn set_enrolments(&self, counts: &[(store::EnrolmentState, u64)]) {
        for state in store::EnrolmentState::ALL {
            let n = counts.iter().find(|(s, _)| s == state).map_or(0, |c| c.1);
            let label = InState { state: gauged(*state) };
            self.enrolments.get_or_create(&label).set(i64::try_from(n).unwrap_or(i64::MAX));
        }
    }

    pub fn set_certificates(&self, counts: &[(store::CertificateState, u64)]) {
        use store::CertificateState as S;
        for (state, label) in [
            (S::Due, Gauged::Due),
            (S::Asked, Gauged::Asked),
            (S::Late, Gauged::Late),
            (S::Expired, Gauged::Expired),
        ] {
            let n = counts.iter().find(|(s, _)| *s == state).map_or(0, |c| c.1);
            let label = InState { state: label };
            self.certificates.get_or_create(&label).set(i64::try_from(n).unwrap_or(i64::MAX));
        }
    }

    /// The text that Prometheus reads.
    pub fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a String can't fail.
        let _ = prometheus_client::encoding::text::encode(&mut out, &self.registry);
        out
    }
}

fn gauged(state: store::EnrolmentState) -> Gauged {
    use store::EnrolmentState as S;
    match state {
        S::Invited => Gauged::Invited,
        S::Issued => Gauged::Issued,
        S::Authenticated => Gauged::Authenticated,
        S::Enrolled => Gauged::Enrolled,
        S::CheckedOut => Gauged::CheckedOut,
        S::Replaced => Gauged::Replaced,
        S::Withdrawn => Gauged::Withdrawn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The labels after a metric's name, each with its alternatives.
    fn labels(rest: &str) -> Vec<(String, Vec<String>)> {
        let Some(inside) = rest.strip_prefix('{').and_then(|r| r.split('}').next()) else {
            return Vec::new();
        };
        inside
            .split(',')
            .map(|l| {
                let (name, value) = l.split_once('=').unwrap();
                let value = value.trim_start_matches('~').trim_matches('"');
                (name.to_owned(), value.split('|').map(str::to_owned).collect())
            })
            .collect()
    }

    #[test]
    fn every_metric_and_reason_that_an_alert_watches_is_counted() {
        let clock: Arc<dyn Clock> = Arc::new(model::SystemClock);
        let counters = Counters::new(&clock);
        counters.set_enrolments(&[]);
        counters.set_certificates(&[]);
        let text = counters.text();
        let alerts = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging/prometheus-alerts.yml");
        let alerts = std::fs::read_to_string(alerts).unwrap();
        let mut watched = 0;
        for rest in alerts.split("matron_core_").skip(1) {
            let end = rest.find(|c: char| !(c.is_ascii_lowercase() || c == '_')).unwrap();
            let (name, rest) = rest.split_at(end);
            assert!(
                text.lines().any(|l| l.starts_with(&format!("matron_core_{name}"))),
                "{name} is counted by nothing"
            );
            for (label, values) in labels(rest) {
                for value in values {
                    let line = format!("matron_core_{name}{{{label}=\"{value}\"}} ");
                    assert!(text.contains(&line), "{line}is counted by nothing: {text}");
                }
            }
            watched += 1;
        }
        assert!(watched > 12, "{watched}");
    }

    #[test]
    fn what_is_told_as_refused_is_what_the_metrics_count_by_the_same_name() {
        let clock: Arc<dyn Clock> = Arc::new(model::SystemClock);
        let counters = Counters::new(&clock);
        for (what, refused) in counters.refused() {
            refused.inc();
            let text = counters.text();
            let told =
                ["api", "phones"].map(|of| format!("matron_core_{of}_refused_total{{what=\"{what}\"}} 1"));
            assert!(told.iter().any(|line| text.lines().any(|l| l == line)), "{what}: {text}");
        }
    }
}
