//! Ready-made queries for the next places to look: Entra sign-ins and firewall flows.
//!
//! Only addresses that parse and times go into a query; text from a log never does. What only the
//! hospital knows (the appliance's address) stands as `FILL_IN`.

use crate::export::{addresses, made_ms};
use crate::finding::{Assessment, Grade, UnixMs};
use crate::report::brief::Signs;

const HOUR_MS: i64 = 3_600_000;
/// Tokens and tunnels are used after the break-in: how long after the last sign to look.
const AFTER_MS: i64 = 30 * 24 * HOUR_MS;

/// A query and the name of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// `entra-sign-ins.kql`
    pub file: &'static str,
    /// Its text.
    pub text: String,
}

struct Scope {
    ips: Vec<String>,
    from: String,
    to: String,
    first_ms: UnixMs,
    last_ms: UnixMs,
}

/// Makes all queries. Without evidence they cover the time that was read, with no addresses in them.
pub fn queries(a: &Assessment) -> Vec<Query> {
    let signs = Signs::of(a);
    let first_ms = signs.first_ms.or(a.coverage.first_ms).unwrap_or_else(|| made_ms(a)) - HOUR_MS;
    let last_ms = signs.last_ms.or(a.coverage.last_ms).unwrap_or_else(|| made_ms(a)) + AFTER_MS;
    let mut ips: Vec<String> =
        addresses(a, Grade::Probed).into_iter().map(|(ip, _)| ip.to_string()).collect();
    ips.sort();
    ips.dedup();
    let scope = Scope {
        ips,
        from: crate::moment::utc_text(first_ms),
        to: crate::moment::utc_text(last_ms),
        first_ms,
        last_ms,
    };
    vec![
        Query { file: "entra-sign-ins.kql", text: entra(&scope) },
        Query { file: "entra-sign-ins.graph.txt", text: graph(&scope) },
        Query { file: "firewall-flows.kql", text: firewall_kql(&scope) },
        Query { file: "firewall-flows.spl", text: firewall_spl(&scope) },
        Query { file: "flows.nfdump", text: nfdump(&scope) },
        Query { file: "addresses.csv", text: table(a) },
    ]
}

fn quoted(ips: &[String]) -> String {
    ips.iter().map(|ip| format!("\"{ip}\"")).collect::<Vec<_>>().join(", ")
}

/// The head of each KQL query. Each is whole in itself: an editor runs what stands between blank lines.
fn lets(s: &Scope) -> String {
    format!(
        "let addresses = dynamic([{}]);\nlet appliances = dynamic([\"FILL_IN_ADDRESS_OF_EPMM\", \
         \"FILL_IN_ADDRESS_OF_SENTRY\"]);\nlet since = datetime({});\nlet until = datetime({});",
        quoted(&s.ips),
        s.from,
        s.to
    )
}

fn entra(s: &Scope) -> String {
    let lets = lets(s);
    format!(
        r#"// Sign-ins from addresses in the evidence, and use of tokens that EPMM may have held.
// Log Analytics or Sentinel; times are UTC. Nothing found is no proof: tokens are used from other addresses.

// 1. Any sign-in from these addresses.
{lets}
union isfuzzy=true SigninLogs, AADNonInteractiveUserSignInLogs, AADServicePrincipalSignInLogs
| where TimeGenerated between (since .. until)
| where IPAddress in (addresses)
| project TimeGenerated, Type, UserPrincipalName, AppDisplayName, ResourceDisplayName, IPAddress, UserAgent, ResultType
| order by TimeGenerated asc

// 2. Sign-ins of EPMM's own application from anywhere but the appliances.
{lets}
union isfuzzy=true SigninLogs, AADNonInteractiveUserSignInLogs, AADServicePrincipalSignInLogs
| where TimeGenerated between (since .. until)
| where AppId == "FILL_IN_APPLICATION_ID_OF_EPMM" and IPAddress !in (appliances)
| summarize count(), min(TimeGenerated), max(TimeGenerated) by UserPrincipalName, IPAddress

// 3. What was changed in the directory from these addresses.
{lets}
AuditLogs
| where TimeGenerated between (since .. until)
| where tostring(InitiatedBy.user.ipAddress) in (addresses)
| project TimeGenerated, OperationName, InitiatedBy, TargetResources, Result
"#
    )
}

fn graph(s: &Scope) -> String {
    let mut text = format!(
        "# Microsoft Graph, without Sentinel: one request an address (AuditLog.Read.All). Times are UTC.\n\
         # Sign-in logs are kept for 7 days without a P1 or P2 licence, 30 with one (from memory; check your own).\n\
         # Add -Beta and a filter on signInEventTypes for non-interactive sign-ins.\n\
         # Time: {} to {}\n",
        s.from, s.to
    );
    if s.ips.is_empty() {
        text.push_str("# No address in the evidence: nothing to ask for.\n");
    }
    for ip in &s.ips {
        text.push_str(&format!(
            "Get-MgAuditLogSignIn -All -Filter \"createdDateTime ge {} and createdDateTime le {} and ipAddress eq '{ip}'\"\n",
            s.from, s.to
        ));
    }
    text
}

fn firewall_kql(s: &Scope) -> String {
    let lets = lets(s);
    format!(
        r#"// Flows between EPMM or Sentry and addresses in the evidence, and all that left the appliances. Times are UTC.

// 1. Either direction, these addresses.
{lets}
CommonSecurityLog
| where TimeGenerated between (since .. until)
| where SourceIP in (addresses) or DestinationIP in (addresses)
| project TimeGenerated, SourceIP, DestinationIP, DestinationPort, DeviceAction, SentBytes, ReceivedBytes
| order by TimeGenerated asc

// 2. Whatever the appliances opened themselves: tunnels and downloads.
{lets}
CommonSecurityLog
| where TimeGenerated between (since .. until)
| where SourceIP in (appliances)
| summarize flows = count(), sent = sum(SentBytes), first_seen = min(TimeGenerated), last_seen = max(TimeGenerated)
    by DestinationIP, DestinationPort, DeviceAction
| order by sent desc
"#
    )
}

fn firewall_spl(s: &Scope) -> String {
    let earliest = s.first_ms.div_euclid(1000);
    let latest = s.last_ms.div_euclid(1000);
    let either = if s.ips.is_empty() {
        "src_ip=FILL_IN_ADDRESS_OF_EPMM".to_owned()
    } else {
        let list = quoted(&s.ips);
        format!("(src_ip IN ({list}) OR dest_ip IN ({list}))")
    };
    format!(
        "``` Flows with addresses in the evidence, {} to {} (UTC). Put in your index. ```\n\
         index=FILL_IN earliest={earliest} latest={latest} {either}\n\
         | stats count sum(bytes_out) AS sent sum(bytes_in) AS received min(_time) AS first max(_time) AS last \
         by src_ip dest_ip dest_port action\n\
         | sort - sent\n\n\
         ``` Whatever the appliances opened themselves. ```\n\
         index=FILL_IN earliest={earliest} latest={latest} src_ip IN (\"FILL_IN_ADDRESS_OF_EPMM\", \"FILL_IN_ADDRESS_OF_SENTRY\")\n\
         | stats count sum(bytes_out) AS sent min(_time) AS first max(_time) AS last by dest_ip dest_port action\n\
         | sort - sent\n",
        s.from, s.to
    )
}

fn nfdump(s: &Scope) -> String {
    // nfdump's time window: YYYY/MM/DD.hh:mm:ss, in the zone of the machine that runs it (TZ=UTC).
    let time = |text: &str| text.trim_end_matches('Z').replace('-', "/").replace('T', ".");
    let filter = if s.ips.is_empty() {
        "src ip FILL_IN_ADDRESS_OF_EPMM".to_owned()
    } else {
        s.ips.iter().map(|ip| format!("ip {ip}")).collect::<Vec<_>>().join(" or ")
    };
    format!(
        "# TZ=UTC nfdump -R FILL_IN_DIRECTORY -t {}-{} -s ip/bytes -o long -f flows.nfdump\n{filter}\n",
        time(&s.from),
        time(&s.to)
    )
}

fn table(a: &Assessment) -> String {
    let mut text = String::from("address,grade,first_utc,last_utc,requests,bytes_out\n");
    for (ip, client) in addresses(a, Grade::Probed) {
        let utc = |ms: Option<UnixMs>| ms.map(crate::moment::utc_text).unwrap_or_default();
        text.push_str(&format!(
            "{ip},{},{},{},{},{}\n",
            crate::report::words::grade(client.grade),
            utc(client.first_ms),
            utc(client.last_ms),
            client.requests,
            client.bytes_out
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn the_queries_for_stolen_data_are_as_before() {
        let all: Vec<String> = queries(&sample::data_left())
            .into_iter()
            .map(|q| format!("=== {}\n{}", q.file, q.text))
            .collect();
        insta::assert_snapshot!(all.join("\n"));
    }

    #[test]
    fn text_from_a_log_gets_into_no_query() {
        for query in queries(&sample::hostile()) {
            assert!(!query.text.contains("script") && !query.text.contains("owned"), "{}", query.file);
        }
    }

    #[test]
    fn without_an_address_no_query_is_broken() {
        for query in queries(&sample::no_trace()) {
            assert!(!query.text.contains("IN ()"), "{}", query.text);
        }
    }
}
