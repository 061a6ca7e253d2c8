//! What core counts. Names and labels are closed; nothing of a phone or a person is a label.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

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
    pub unreadable: Counter,
    pub not_ours: Counter,
    pub other_phone: Counter,
    pub retired_certificate: Counter,
    pub out_of_order: Counter,
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
    pub requests_refused: Counter,
    pub unknown_passkeys: Counter,
    pub strangers_held_up: Counter,
    pub bodies_refused: Counter,
    oidc: Family<CameOf, Counter>,
    holders: Family<CameOf, Counter>,
}

impl Counters {
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("matron_core");
        let mut family = |name: &str, help: &str| {
            let f = Family::<What, Counter>::default();
            registry.register(name, help, f.clone());
            move |what: &'static str| f.get_or_create(&What { what }).clone()
        };
        let checkin = family("checkins", "Check-ins and reports answered, by what they were");
        let refused = family("phones_refused", "Messages from phones turned away, by why");
        let reports = family("reports", "Inventory reports, by whether anything had changed");
        let orders = family("orders", "Orders carried to the vault, by its decision");
        let pushes = family("pushes", "Pushes handed to the courier, by what came of them");
        let api = family("api_refused", "Requests of the API turned away");
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
            unreadable: refused("unreadable"),
            not_ours: refused("not_enrolled"),
            other_phone: refused("other_phone"),
            retired_certificate: refused("retired_certificate"),
            out_of_order: refused("out_of_order"),
            unknown_command: refused("unknown_command"),
            unlisted_clear_field: refused("unlisted_clear_field"),
            unavailable: refused("unavailable"),
            reports_unchanged: reports("unchanged"),
            reports_changed: reports("changed"),
            commands_given: given("given"),
            orders_accepted: orders("accepted"),
            orders_refused: orders("refused"),
            pushes_accepted: pushes("accepted"),
            pushes_failed: pushes("failed"),
            requests_refused: api("refused"),
            unknown_passkeys: api("unknown_passkey"),
            strangers_held_up: api("held_up"),
            bodies_refused: api("body"),
            oidc,
            holders,
            enrolments,
            registry,
        }
    }

    /// A sign-in by OpenID Connect came to that.
    pub fn oidc(&self, outcome: &'static str) {
        self.oidc.get_or_create(&CameOf { outcome }).inc();
    }

    /// A holder's sign-in, or what one asked for, came to that.
    pub fn holder(&self, outcome: &'static str) {
        self.holders.get_or_create(&CameOf { outcome }).inc();
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
