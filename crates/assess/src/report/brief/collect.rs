//! What to collect before it rotates away, most volatile first.

use crate::finding::{Assessment, Grade};
use crate::report::brief::{Collect, Signs};

fn collect_one(what: &str, lasts: &str, shows: &str) -> Collect {
    Collect { what: what.into(), lasts: lasts.into(), shows: shows.into() }
}

pub(super) fn collect(a: &Assessment, signs: &Signs) -> Vec<Collect> {
    let mut list = Vec::new();
    if a.evidence.grade >= Grade::Attempted {
        list.push(collect_one(
            "Memory of EPMM and Sentry (a snapshot with memory, if virtual)",
            "until the next restart",
            "class loaders, tunnels and programs that never were on the disk; open connections",
        ));
        list.push(collect_one(
            "Temporary folders and the web root of EPMM, with times (a disk image has them)",
            "minutes to days: staged files were erased after the fetch",
            "loader pages, dumps, scripts; deleted files may still be carved from an image",
        ));
    }
    list.push(collect_one(
        "https-access_log and https-request_log of EPMM, with all rotations",
        "days to weeks; intruders deleted lines",
        "who asked for what; compare with the copies below (--compare)",
    ));
    if !signs.sentry_log_read {
        list.push(collect_one(
            "Sentry's web and audit logs, from every gateway",
            "days to weeks",
            "a second appliance with flaws and logs of its own",
        ));
    }
    list.extend([
        collect_one(
            "Flow records of the firewall, both directions, for EPMM's and Sentry's addresses",
            "often 7 to 30 days",
            "how many bytes left and where to, tunnels, the appliance reaching inwards",
        ),
        collect_one(
            "Entra sign-in logs, interactive and not, of accounts known to EPMM",
            "7 days without a P1 or P2 licence, 30 with one (from memory; check your own)",
            "use of stolen tokens",
        ),
        collect_one(
            "Logs of the load balancer, reverse proxy or web application firewall",
            "often 14 to 90 days",
            "the real client behind a shared address; lines that are missing here",
        ),
        collect_one(
            "DNS queries made by the appliance",
            "often days",
            "names that a program inside asked for",
        ),
    ]);
    if !signs.audit_read {
        list.push(collect_one(
            "EPMM's audit export, and Sentry's",
            "weeks to months, by its setting",
            "administrators, apps, policies and wipes that nobody ordered",
        ));
    }
    list.extend([
        collect_one(
            "Logs of the directory's servers for the account that EPMM uses",
            "days to weeks",
            "searches and sign-ins that EPMM never made",
        ),
        collect_one(
            "The copy of the logs in the SIEM or on a syslog server",
            "months",
            "what the appliance's own log looked like before anyone touched it",
        ),
        collect_one(
            "Backups and old snapshots of EPMM and Sentry",
            "until they are overwritten: stop that job now",
            "a state from before the first sign, to restore or to compare",
        ),
    ]);
    list
}
