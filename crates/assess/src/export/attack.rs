//! The names of ATT&CK techniques, pinned to one version.

/// The version of ATT&CK for Enterprise that the ids and names are of (names from memory).
pub const VERSION: &str = "17.1";

const NAMES: [(&str, &str); 23] = [
    ("T1005", "Data from Local System"),
    ("T1036", "Masquerading"),
    ("T1041", "Exfiltration Over C2 Channel"),
    ("T1046", "Network Service Discovery"),
    ("T1059", "Command and Scripting Interpreter"),
    ("T1059.004", "Unix Shell"),
    ("T1070.002", "Clear Linux or Mac System Logs"),
    ("T1072", "Software Deployment Tools"),
    ("T1074.001", "Local Data Staging"),
    ("T1078", "Valid Accounts"),
    ("T1105", "Ingress Tool Transfer"),
    ("T1136", "Create Account"),
    ("T1190", "Exploit Public-Facing Application"),
    ("T1213.006", "Databases"),
    ("T1505.003", "Web Shell"),
    ("T1528", "Steal Application Access Token"),
    ("T1550.001", "Application Access Token"),
    ("T1552.001", "Credentials In Files"),
    ("T1560.001", "Archive via Utility"),
    ("T1572", "Protocol Tunneling"),
    ("T1595", "Active Scanning"),
    ("T1595.002", "Vulnerability Scanning"),
    ("T1620", "Reflective Code Loading"),
];

/// The technique's name; its id, when it is none of the pinned ones.
pub fn name(id: &str) -> &str {
    NAMES.iter().find(|(known, _)| *known == id).map_or(id, |(_, name)| name)
}

/// The technique's page.
pub fn url(id: &str) -> String {
    format!("https://attack.mitre.org/techniques/{}/", id.replace('.', "/"))
}

/// Whether a text is a technique's id, so that a rule of the user's can't put text into a link.
pub fn is_id(id: &str) -> bool {
    let digits = |s: &str, n: usize| s.len() == n && s.bytes().all(|b| b.is_ascii_digit());
    let Some(rest) = id.strip_prefix('T') else { return false };
    match rest.split_once('.') {
        None => digits(rest, 4),
        Some((technique, sub)) => digits(technique, 4) && digits(sub, 3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sub_technique_has_its_own_page() {
        assert_eq!(url("T1059.004"), "https://attack.mitre.org/techniques/T1059/004/");
    }

    #[test]
    fn only_ids_are_ids() {
        assert!(is_id("T1190") && is_id("T1059.004"));
        assert!(!is_id("T119") && !is_id("T1190/../x") && !is_id("1190"));
    }

    #[test]
    fn every_pinned_name_belongs_to_an_id() {
        assert!(NAMES.iter().all(|(id, name)| is_id(id) && !name.is_empty()));
        assert!(NAMES.is_sorted());
    }

    #[test]
    fn every_technique_of_our_own_rules_has_its_name() {
        let rules = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
        let mut seen = 0;
        for file in std::fs::read_dir(rules).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            for tag in text.lines().filter_map(|l| l.trim().strip_prefix("- attack.t")) {
                let id = format!("T{tag}");
                assert_ne!(name(&id), id, "no name for {id}");
                seen += 1;
            }
        }
        assert!(seen > 10);
    }
}
