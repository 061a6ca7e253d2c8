//! Where the keys are.

use super::host::Host;
use super::{Check, rooms};
use crate::config::{Config, RootKey};
use crate::pkcs11::Process;

/// What begins a file that is wrapped: see `rpc::at_rest`.
const WRAPPED: &[u8] = b"matron wrapped";

pub(super) fn checks(host: &Host<'_>) -> Vec<Check> {
    let Some(config) = &host.config else { return Vec::new() };
    let mut out = vec![at_rest(host, config.vault.root_key)];
    if config.vault.root_key == RootKey::Pkcs11 {
        out.push(token(host, config));
        if config.vault.pkcs11_danger_unheld {
            out.push(Check::warn(
                "keys.unheld",
                "vault.pkcs11_danger_unheld: the kernel does not hold the token's process",
                "a fault in the maker's module is a way to the token's PIN and onto this host",
                "leave it out where the module works without",
            ));
        }
    }
    out
}

/// How the vault's key file lies on the disk, which is how every room's do.
fn at_rest(host: &Host<'_>, configured: RootKey) -> Check {
    let id = "keys";
    let path = host.data.join("rooms/vault/keys.cbor");
    let wrapped = match std::fs::read(&path) {
        Ok(bytes) => bytes.starts_with(WRAPPED),
        Err(e) => return Check::skipped(id, format!("{}: {e}", path.display())),
    };
    match (configured, wrapped) {
        (RootKey::File, false) => Check::warn(
            id,
            "root key and all other keys lie beside the data",
            "whoever takes this disk has the house: every record, every phone",
            "encrypt the disk, or keep what the keys are wrapped under elsewhere: vault.root_key (docs/operations.md, \"Keys\")",
        ),
        (RootKey::Credential, true) => Check::ok(id, "all keys are wrapped under systemd's credential"),
        (RootKey::Pkcs11, true) => {
            Check::ok(id, "root key and CA are on the token; all other keys are wrapped under what it gives")
        }
        (RootKey::Credential | RootKey::Pkcs11, false) => Check::warn(
            id,
            "the keys lie beside the data, though vault.root_key is configured",
            "whoever takes this disk has the house until Matron was started with it",
            "restart Matron; then 'matron keys rotate all', since clear bytes may still be on the disk",
        ),
        (RootKey::File, true) => Check::fail(
            id,
            "the keys are wrapped, and vault.root_key = \"file\"",
            "no room opens its keys; Matron does not start",
            "set vault.root_key to what it was",
        ),
    }
}

/// Whether the token is there. The PIN is not given: each wrong try brings a token nearer to locking itself.
fn token(host: &Host<'_>, config: &Config) -> Check {
    let id = "keys.token";
    let label = config.vault.pkcs11_token.as_deref().unwrap_or_default();
    if let Some(supervisor) = host.holder {
        return match rooms::token_process(supervisor) {
            Some(_) => Check::ok(id, format!("the token '{label}' is open in the running house")),
            None => Check::fail(
                id,
                format!("the token '{label}' is not open in the running house"),
                "no order is decided and no room can be started again",
                "see the log; is it plugged in or reachable?",
            ),
        };
    }
    match Process::look(config) {
        Ok(()) => {
            Check::ok(id, format!("the token '{label}' is there and can do what is needed; no PIN was given"))
        }
        Err(e) => Check::fail(
            id,
            format!("{e:#}"),
            "Matron does not start without its token",
            "bring it back; look as the user that Matron runs as",
        ),
    }
}
