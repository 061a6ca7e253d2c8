//! Whither core sends browsers: to the provider alone, whatever the courier says.

use crate::config::OidcConfig;

/// Host and port of an `https` URL without a user's name.
fn authority(url: &str) -> Option<(String, u16)> {
    // What a browser would read otherwise than this library does.
    if url.contains(|c: char| c == '\\' || c == '#' || c.is_whitespace() || c.is_control()) {
        return None;
    }
    let url: http::Uri = url.parse().ok()?;
    let authority = url.authority().filter(|a| !a.as_str().contains('@'))?;
    let https = url.scheme_str() == Some("https") && !authority.host().is_empty();
    https.then(|| (authority.host().to_ascii_lowercase(), authority.port_u16().unwrap_or(443)))
}

/// Whether it is at the issuer's host, or at one of `oidc.hosts`.
pub(super) fn leads_to_the_provider(config: &OidcConfig, endpoint: &str) -> bool {
    let hosts = config.hosts.iter().map(|h| format!("https://{h}"));
    let mut named = std::iter::once(config.issuer.clone()).chain(hosts).filter_map(|url| authority(&url));
    authority(endpoint).is_some_and(|to| named.any(|known| known == to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_sent_to_the_providers_hosts_alone() {
        let config = OidcConfig {
            issuer: "https://id.example.org/realms/ward".into(),
            client_id: "matron".into(),
            console_url: "https://matron.example.org".into(),
            hosts: vec!["login.example.org:8443".into()],
            scopes: vec![],
            roles: vec![],
        };
        for good in [
            "https://id.example.org/authorize?x=1",
            "https://ID.example.org:443/",
            "https://login.example.org:8443/a",
        ] {
            assert!(leads_to_the_provider(&config, good), "{good}");
        }
        for bad in [
            "http://id.example.org/authorize",
            "https://elsewhere.example.org/authorize",
            "https://id.example.org:8443/",
            "https://login.example.org/",
            "https://id.example.org@elsewhere.example.org/",
            "https://elsewhere.example.org\\.id.example.org/",
            "https://id.example.org.elsewhere.example.org/",
            "https://id.example.org/#x",
            "//id.example.org/",
            "javascript:alert(1)",
            "",
        ] {
            assert!(!leads_to_the_provider(&config, bad), "{bad}");
        }
    }
}
