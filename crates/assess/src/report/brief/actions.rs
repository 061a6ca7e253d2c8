//! What to do now, in order, with an owner and a clock each.
//!
//! The order for a confirmed or likely break-in follows CERT-FR and Ivanti [second-hand]; revoking
//! what EPMM could reach beyond its own secrets is our inference.

use crate::finding::{Assessment, CoverageGrade, Verdict};
use crate::report::brief::{Action, BriefOptions, Signs};
use crate::report::figures::Times;

const NETWORK: &str = "Network lead";
const FORENSICS: &str = "Forensic lead";
const SECURITY: &str = "Security operations";
const EPMM: &str = "EPMM administrator";
const IDENTITY: &str = "Identity team";
const IG: &str = "Information governance lead";
const SIRO: &str = "SIRO";

pub(super) fn actions(a: &Assessment, signs: &Signs, options: &BriefOptions, times: &Times) -> Vec<Action> {
    match a.verdict {
        Verdict::DataLeft | Verdict::LikelyCompromised => broken_into(a.verdict, signs, options, times),
        Verdict::Attempted => attempted(signs, options, times),
        Verdict::Probed => probed(),
        Verdict::NoTrace => no_trace(),
        Verdict::Unknown => unknown(a),
    }
}

fn action(what: &str, owner: &str, clock: &str, why: &str) -> Action {
    Action { what: what.into(), owner: owner.into(), clock: clock.into(), law: false, why: why.into() }
}

fn broken_into(verdict: Verdict, signs: &Signs, options: &BriefOptions, times: &Times) -> Vec<Action> {
    let mut list = vec![
        action(
            "Cut EPMM and its Sentry gateways off the internet and the hospital's network. Leave them switched on.",
            NETWORK,
            "now, within the hour",
            "Switching off loses memory, and with it programs that were never on the disk.",
        ),
        action(
            "Write down, now, when and by whom it was noticed.",
            IG,
            "now",
            "The legal clocks run from the moment of awareness.",
        ),
    ];
    if signs.destroyed {
        list.push(action(
            "Find the phones that were ordered to wipe or lock, and replace those that care depends on.",
            EPMM,
            "now, within the hour",
            "Ward by ward; the orders stand in the appliance's audit log.",
        ));
    }
    list.extend([
        action(
            "Take an image of memory, then of the disk, of EPMM and Sentry; hash both and lock them away.",
            FORENSICS,
            "within 4 hours, before any restart or patch",
            "If they are virtual: a snapshot with memory.",
        ),
        action(
            "Collect what rotates away, in the order of the list below.",
            SECURITY,
            "today",
            "Copies kept elsewhere first: those on the appliance may have been altered.",
        ),
    ]);
    list.extend(legal("", options, times));
    list.extend([
        action(
            "Reset EPMM's local accounts, the LDAP or Kerberos account it uses, and every service account on it.",
            IDENTITY,
            "within 24 hours, from a clean computer",
            "Resetting while the intruder is still connected gives them the new ones.",
        ),
        action(
            "Revoke and replace the appliance's certificates and keys (TLS, enrolment CA, SAML).",
            EPMM,
            "within 24 hours",
            "A stolen key works for whoever has it.",
        ),
        action(
            "Revoke Entra refresh tokens of the people in EPMM, then APNs, ADE and Android enterprise tokens, SCEP \
             issuance, and the Wi-Fi, VPN and Exchange secrets that EPMM deployed.",
            IDENTITY,
            "within 48 hours",
            "Our inference from what EPMM holds; the list of accounts comes from --write-people.",
        ),
        action(
            "Look for administrators, apps, policies and commands that nobody ordered.",
            EPMM,
            "within 48 hours",
            if signs.persisted {
                "At least one was seen here."
            } else {
                "In the audit log and in the console, both."
            },
        ),
        action(
            "Hunt with the queries (--queries): Entra sign-ins and firewall flows, by these times and addresses.",
            SECURITY,
            "within 48 hours",
            if signs.tunnelled {
                "A tunnel was seen: begin with flows out of the appliance."
            } else {
                "Begin with flows out of the appliance in the hours after the first attempt."
            },
        ),
        action(
            "Rebuild on a fixed version, or restore from before the first sign. Never clean.",
            EPMM,
            "before it goes back on the network",
            "What runs as root on an appliance can hide from it.",
        ),
    ]);
    if verdict == Verdict::DataLeft || signs.ran_commands || signs.read_by_api {
        list.push(action(
            "Warn staff of calls and texts that know their name, number and employer; tell them whom to ask.",
            SIRO,
            "within 24 hours; a duty without undue delay if the risk to them is high (UK GDPR Art. 34)",
            "In plain words; no link in the message.",
        ));
    }
    list
}

/// The clocks of the law, from the data in force.
fn legal(before: &str, options: &BriefOptions, times: &Times) -> Vec<Action> {
    let in_force = options.duties.duties.iter().filter(|d| d.in_force && d.hours.is_some());
    in_force
        .map(|d| {
            let hours = d.hours.unwrap_or_default();
            let clock = match d.deadline_ms(options.aware_at_ms) {
                Some(by) => format!("by {} ({hours} hours after awareness)", times.minute(by)),
                None => format!("within {hours} hours of awareness (say when with --aware-at)"),
            };
            Action {
                what: format!("{before}{}.", d.act),
                owner: d.owner.clone(),
                clock,
                law: true,
                why: format!(
                    "{}; {}. A draft is made by --drafts; a person completes and submits it.",
                    d.law, d.applies
                ),
            }
        })
        .collect()
}

fn attempted(signs: &Signs, options: &BriefOptions, times: &Times) -> Vec<Action> {
    let mut list = vec![
        action(
            "Take a snapshot with memory, or images, of EPMM and Sentry before anything is patched or restarted.",
            FORENSICS,
            "today",
            "Whether the attempt worked can be seen on the appliance, not in its web log.",
        ),
        action(
            "Find out which version ran on the day of the first attempt, and run this again with --epmm-version.",
            EPMM,
            "today",
            "Exploit text against a version open to it that day makes this \"likely compromised\".",
        ),
        action(
            "List the files of the appliance's disk (a mactime body file or sha256sum) and give them to this tool.",
            FORENSICS,
            "within 24 hours",
            "A loader or a staged file is found by name, hash and date.",
        ),
        action("Collect what rotates away, in the order of the list below.", SECURITY, "today", ""),
        action(
            "Install the fixed version if it isn't; take the management interface off the internet.",
            EPMM,
            "within 24 hours, after the snapshot",
            "",
        ),
        action(
            "Replace the LDAP account and other secrets if the version was open, or if you can't tell.",
            IDENTITY,
            "within 72 hours",
            "Secrets that are not replaced outlive the patch.",
        ),
    ];
    if !signs.sentry_log_read {
        list.push(action("Fetch Sentry's logs and give them to this tool too.", EPMM, "today", ""));
    }
    list.push(action(
        "Decide whether this is a notifiable breach, and write down why or why not.",
        IG,
        "today",
        "An attempt alone is none; \"we can't rule it out\" may be one.",
    ));
    if options.aware_at_ms.is_some() {
        list.extend(legal("If it is a breach: ", options, times));
    }
    list
}

fn probed() -> Vec<Action> {
    vec![
        action(
            "Check that EPMM and Sentry run fixed versions, and since when.",
            EPMM,
            "today",
            "Run this again with --epmm-version or --exposed-from and --exposed-to.",
        ),
        action(
            "Give this tool the logs of the whole time of exposure, from a copy kept elsewhere if there is one.",
            SECURITY,
            "this week",
            "An intruder may have probed from one address and come back from another.",
        ),
        action(
            "Keep these logs and this report.",
            IG,
            "today",
            "Logs rotate; the report names their hashes.",
        ),
        action("Take the management interface off the internet.", NETWORK, "this week", ""),
    ]
}

fn no_trace() -> Vec<Action> {
    vec![
        action(
            "Keep these logs and this report.",
            IG,
            "today",
            "Logs rotate; the report names their hashes.",
        ),
        action(
            "Compare with a copy that was kept elsewhere (--compare), and give Sentry's logs and a file listing too.",
            SECURITY,
            "this week",
            "Intruders erased lines; a flaw in Sentry leaves its trace in no web log.",
        ),
        action(
            "If the appliance stood open before it was patched, replace its LDAP account and tokens all the same.",
            IDENTITY,
            "this month",
            "Cheap, and it ends what no log can show.",
        ),
    ]
}

fn unknown(a: &Assessment) -> Vec<Action> {
    let mut list = vec![action(
        "Find the missing logs: SIEM, load balancer, backup, old snapshots, in the order of the list below.",
        SECURITY,
        "today",
        "They rotate while you look.",
    )];
    if a.coverage.grade != CoverageGrade::Whole {
        list.push(action(
            "Give what could not be read again, unpacked or with the right to read it (see the list of files).",
            SECURITY,
            "today",
            "",
        ));
    }
    list.extend([
        action(
            "Find out which version ran when, and run this again with --epmm-version.",
            EPMM,
            "today",
            "Then the report can say whether the time of exposure is covered.",
        ),
        action(
            "If the logs of the time of exposure are gone for good, take images and have the appliance looked at.",
            FORENSICS,
            "this week",
            "A loader or a staged file may still be on the disk.",
        ),
        action(
            "If it stood open and can't be shown to be untouched, treat its secrets as taken: replace them.",
            IDENTITY,
            "this month",
            "",
        ),
    ]);
    list
}
