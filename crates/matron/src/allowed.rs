//! What each room's configuration needs from the kernel: its folder, the files it reads, the ports it connects to.

use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::rooms::Room;

/// What glibc reads to resolve a name.
const RESOLVER_FILES: [&str; 5] =
    ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf"];
/// RFC 1035, 4.2.2.
const DNS_PORT: u16 = 53;
const HTTPS_PORT: u16 = 443;

/// The port that an `https` URL leads to.
fn port_of(url: &str) -> Option<u16> {
    let uri: http::Uri = url.parse().ok()?;
    Some(uri.authority()?.port_u16().unwrap_or(HTTPS_PORT))
}

impl Config {
    /// What the kernel lets this room do, given the folder that holds the rooms' own.
    pub(crate) fn allowed(&self, room: Room, rooms_dir: &Path) -> sandbox::Allowed {
        let files = |paths: &[&Option<PathBuf>]| -> Vec<PathBuf> {
            paths.iter().filter_map(|p| p.as_deref()).filter_map(|p| std::path::absolute(p).ok()).collect()
        };
        let (phones, administrators, push) = (&self.phones, &self.administrators, &self.push);
        let anchor = &self.acme.trust_anchor;
        let mut allowed = sandbox::Allowed {
            without: self.sandbox.danger_without.clone(),
            ..sandbox::Allowed::only(rooms_dir.join(room.name()))
        };
        match room {
            Room::Door => {
                allowed.reads =
                    files(&[&phones.tls_certificate, &phones.tls_key, &phones.load_balancer_ca, anchor]);
            }
            Room::Core => {
                allowed.reads = files(&[&administrators.tls_certificate, &administrators.tls_key]);
            }
            Room::Reader => {}
            // The root key is here.
            Room::Vault => allowed.lock_memory = true,
            Room::Courier => {
                allowed.reads = files(&[&push.certificate, &push.key, &push.trust_anchor, anchor]);
                let alarms = self.alarms();
                allowed.reads.extend(files(&alarms.files()));
                allowed.reads.extend(files(&[&self.oidc.client_secret, &self.oidc.trust_anchor]));
                allowed.reads.extend(RESOLVER_FILES.map(PathBuf::from));
                let mut ports = vec![DNS_PORT];
                ports.extend(port_of(&push.endpoint));
                ports.extend(self.acme.directory.as_deref().and_then(port_of));
                ports.extend(alarms.ports());
                ports.extend(self.oidc().map(|oidc| oidc.ports()).unwrap_or_default());
                allowed.connects = ports;
                allowed.dns_over_udp = self.sandbox.dns_over_udp;
            }
        }
        allowed
    }

    /// The variables that a room's resolver reads (resolv.conf(5)): by TCP, which Landlock holds to its port.
    pub(crate) fn resolver_of(&self, room: Room) -> Option<(&'static str, &'static str)> {
        (room == Room::Courier && !self.sandbox.dns_over_udp).then_some(("RES_OPTIONS", "use-vc"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_courier_connects_and_only_to_the_ports_of_its_configuration() {
        let mut config = Config::default();
        config.push.endpoint = "https://push.example.org:2197".into();
        config.acme.directory = Some("https://acme.example.org/directory".into());
        config.alarms.webhook_url = Some("https://hooks.example.org:8443/x".into());
        config.alarms.syslog = Some("siem.example.org".into());
        config.alarms.email_relay = Some("smtp.example.org:587".into());
        config.oidc.issuer = Some("https://id.example.org:9443/realms/ward".into());
        config.oidc.client_secret = Some("/oidc/secret".into());
        config.oidc.hosts = vec!["login.example.org:9444".into()];
        for room in Room::ALL {
            let ports = config.allowed(room, Path::new("/x")).connects;
            let wanted: &[u16] =
                if room == Room::Courier { &[53, 2197, 443, 8443, 6514, 587, 9443, 9444] } else { &[] };
            assert_eq!(ports, wanted, "{}", room.name());
        }
    }

    #[test]
    fn reader_and_vault_read_nothing_but_their_own_folder() {
        let mut config = Config::default();
        config.phones.tls_key = Some("/tls/key.pem".into());
        config.push.key = Some("/push/key.pem".into());
        for room in [Room::Reader, Room::Vault] {
            let allowed = config.allowed(room, Path::new("/x"));
            assert_eq!(allowed.folder, Path::new("/x").join(room.name()));
            assert_eq!(allowed.reads, [] as [PathBuf; 0]);
        }
        assert_eq!(config.allowed(Room::Door, Path::new("/x")).reads, [PathBuf::from("/tls/key.pem")]);
    }
}
