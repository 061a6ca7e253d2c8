//! What data, how far it reaches, suspected origin.

use crate::exposure::Exposure;
use crate::finding::{Assessment, Grade, Verdict};
use crate::report::brief::Signs;
use crate::report::figures::{self, Times};
use crate::report::plain::visible_within;
use crate::report::words;

pub(super) fn data(a: &Assessment, signs: &Signs, times: &Times) -> Vec<String> {
    let mut data = Vec::new();
    if signs.fetches > 0 {
        data.push(format!(
            "Confirmed: {} left, in {} of what an intruder had laid under the web root. What was in it is not in a \
             web log; such files of these campaigns were dumps of the database.",
            figures::size(signs.fetched_bytes),
            figures::count(signs.fetches, "fetch", "fetches"),
        ));
    }
    if signs.read_by_api {
        data.push(format!(
            "A data interface answered a stranger ({} in answers): assume that users and devices were read, and \
             settings perhaps changed.",
            figures::size(signs.api_bytes)
        ));
    }
    if signs.ran_commands {
        data.push(
            "Commands probably ran on the appliance: assume the whole database and every secret on it taken. EPMM \
             holds names, e-mail addresses, phone numbers, IMEI and MAC, IP addresses, installed apps, location \
             where enabled, and LDAP and Office 365 tokens [second-hand]."
                .to_owned(),
        );
    }
    match a.verdict {
        Verdict::Attempted => data.push("Nothing that was read shows that data left.".to_owned()),
        Verdict::Probed => data.push("None, as far as these lines show: a probe takes nothing.".to_owned()),
        Verdict::NoTrace => data.push("No sign of any, in what was read.".to_owned()),
        Verdict::Unknown => data.push("Not known: too little was read.".to_owned()),
        Verdict::DataLeft | Verdict::LikelyCompromised => data.extend(may_2025(signs)),
    }
    match &a.exposure {
        Some(exposure) => data.extend(counted(exposure, a.evidence.grade, times)),
        None if a.evidence.grade >= Grade::LikelyCompromised => data.push(
            "How many people: not counted. Run again with --inventory and an export of the device list."
                .to_owned(),
        ),
        None => {}
    }
    data
}

fn may_2025(signs: &Signs) -> Option<String> {
    signs.cves.iter().any(|c| c == "CVE-2025-4427" || c == "CVE-2025-4428").then(|| {
        "What others found with this flaw: UCLH said on 28 May 2025 that staff mobile numbers and IMEI numbers were \
         exposed, no passwords and no patient data [read in public text]; EclecticIQ says authentication tokens too \
         [second-hand]. Which of it holds here, only your own database can show."
            .to_owned()
    })
}

fn counted(e: &Exposure, grade: Grade, times: &Times) -> Vec<String> {
    let c = e.counts;
    let named: Vec<String> = [
        (c.people, "person", "people"),
        (c.devices, "device", "devices"),
        (c.phone_numbers, "phone number", "phone numbers"),
        (c.imeis, "IMEI", "IMEIs"),
        (c.emails, "e-mail address", "e-mail addresses"),
        (c.locations, "stored location", "stored locations"),
    ]
    .into_iter()
    .filter(|(n, _, _)| *n > 0)
    .map(|(n, one, many)| figures::count(n, one, many))
    .collect();
    let what = if grade >= Grade::LikelyCompromised {
        "At most, by your inventory"
    } else {
        "Held by the appliance"
    };
    let dated = match e.dated_ms {
        Some(ms) => format!("The inventory shows {} ({}).", times.day(ms), e.dated_by),
        None => format!("The inventory's day is {}.", e.dated_by),
    };
    let mut lines = vec![format!(
        "{what}: {}. {dated} An inventory of another day is a bound, not a count: people who left are missing, \
         people who came since are in it.",
        figures::list(&named, named.len())
    )];
    if grade >= Grade::LikelyCompromised && c.accounts > 0 {
        lines.push(format!(
            "{} named in it: their tokens must be revoked. A list for those who call them is made by --write-people.",
            figures::count(c.accounts, "account is", "accounts are")
        ));
    }
    lines.extend(e.notes.iter().cloned());
    lines
}

pub(super) fn reach(a: &Assessment, signs: &Signs, times: &Times) -> Vec<String> {
    let mut reach = Vec::new();
    if let (Some(first), Some(last)) = (signs.first_ms, signs.last_ms) {
        let attackers = a.clients.iter().filter(|c| c.grade >= Grade::Attempted).count();
        let mut line = format!("First sign {}, last sign {}", times.full(first), times.full(last));
        line.push_str(&format!(
            "; {} in the evidence, {} of them beyond probing.",
            figures::count(a.clients.len() as u64, "address", "addresses"),
            attackers
        ));
        reach.push(line);
    }
    if signs.ran_commands {
        reach.push(
            "From the appliance an intruder reaches what it can reach: the directory (LDAP or Kerberos account), \
             Microsoft 365 tokens, mail gateways, the certificate authority it enrols with, Wi-Fi and VPN secrets, \
             and every managed phone by command."
                .to_owned(),
        );
    }
    if signs.tunnelled {
        reach.push(
            "A tunnel was opened: look for traffic from the appliance into the hospital's network."
                .to_owned(),
        );
    }
    if signs.persisted {
        reach.push(
            "An administrator, app or policy was made: the intruder may come back without the flaw."
                .to_owned(),
        );
    }
    if signs.destroyed {
        reach.push("Phones were ordered to wipe or lock: check which of them obeyed.".to_owned());
    }
    if !signs.sentry_log_read {
        reach.push(
            "Sentry, the gateway beside EPMM, has logs of its own; none were given. Nothing is said about it here."
                .to_owned(),
        );
    }
    if let Some(window) = &a.coverage.window {
        let from = window.from_ms.map_or_else(|| "an unknown day".to_owned(), |ms| times.day(ms));
        let to = window.to_ms.map_or_else(|| "today".to_owned(), |ms| times.day(ms));
        let read = match a.coverage.window_covered {
            Some(true) => "what was read covers it",
            _ => "what was read does not cover all of it: the rest is not known",
        };
        reach.push(format!("The appliance stood open from {from} to {to} ({}); {read}.", window.source));
    }
    if reach.is_empty() {
        reach.push(
            "Nothing was found that reaches anywhere; the appliance itself was not looked at.".to_owned(),
        );
    }
    reach
}

pub(super) fn origin(a: &Assessment) -> Vec<String> {
    let mut origin = Vec::new();
    let rows: Vec<String> = a
        .origins
        .iter()
        .take(5)
        .map(|row| {
            let country = row.origin.country_name.as_deref().or(row.origin.country.as_deref());
            let network = match (row.origin.asn, row.origin.network.as_deref()) {
                (Some(asn), Some(name)) => format!("AS{asn} {}", visible_within(name, 40)),
                (Some(asn), None) => format!("AS{asn}"),
                (None, Some(name)) => visible_within(name, 40),
                (None, None) => "network not known".to_owned(),
            };
            format!(
                "{}, {network} ({})",
                country.map_or_else(|| "country not known".to_owned(), |c| visible_within(c, 30)),
                figures::count(row.clients, "address", "addresses")
            )
        })
        .collect();
    if rows.is_empty() && !a.clients.is_empty() {
        let outside = || a.clients.iter().filter(|c| !c.internal);
        let least = outside().map(|c| c.grade).max().unwrap_or(Grade::NoTrace).min(Grade::Attempted);
        let all: Vec<String> =
            outside().filter(|c| c.grade >= least).map(|c| visible_within(&c.address, 45)).collect();
        if all.is_empty() {
            origin.push("Only addresses from inside; none from outside.".to_owned());
        }
        origin.extend((!all.is_empty()).then(|| {
            format!(
                "Addresses: {}. Country and network are shown with --geoip and an MMDB file of yours.",
                figures::list(&all, 5)
            )
        }));
    } else if !rows.is_empty() {
        origin.push(format!("Registered in: {}.", figures::list(&rows, 5)));
    }
    origin.extend(a.attributions.iter().map(|at| {
        let actor = at
            .actor
            .as_ref()
            .map(|who| format!("attributes to {who}"))
            .unwrap_or_else(|| "describes".to_owned());
        format!(
            "{} {actor}: {} [{}]. What overlaps here: {}. An overlap is not an identity.",
            at.by_whom,
            at.campaign,
            words::confidence(at.confidence),
            figures::list(&at.overlap, 4)
        )
    }));
    if a.clients.is_empty() {
        origin.push("None to suspect.".to_owned());
    } else {
        origin.push(
            "An address shows where a request came from, not who sent it: addresses and user agents are borrowed, \
             rented and shared."
                .to_owned(),
        );
    }
    origin
}
