//! Which files a room sees, to which TCP ports it connects: Landlock (landlock(7)).

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, NetPort,
    PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope, make_bitflags,
};

use crate::{Allowed, Layer, Missing};

/// The newest kernel interface whose rights were tried; what it adds to the required ones is taken where it is.
const TRIED: ABI = ABI::V7;

/// In its own folder a room reads, writes, makes, renames and removes files and folders. It makes no links,
/// devices, sockets or pipes, and runs nothing.
fn own() -> BitFlags<AccessFs> {
    make_bitflags!(AccessFs::{
        ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeDir | RemoveFile | RemoveDir | Refer
    })
}

/// Whether this kernel has what a layer needs.
pub(crate) fn supports(layer: Layer) -> bool {
    let hard = || Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    match layer {
        Layer::Seccomp => false,
        Layer::Landlock => hard().handle_access(AccessFs::from_all(ABI::V2)).is_ok(),
        Layer::LandlockTruncate => hard().handle_access(AccessFs::Truncate).is_ok(),
        Layer::LandlockTcp => hard().handle_access(AccessNet::from_all(ABI::V4)).is_ok(),
    }
}

/// The rights on files that are taken from every room but where a rule gives them, as Landlock names them, on a
/// kernel that has them all.
#[must_use]
pub fn file_rights() -> Vec<String> {
    AccessFs::from_all(TRIED).iter().map(|right| format!("{right:?}")).collect()
}

fn failed(e: impl std::fmt::Display) -> Missing {
    Missing::Step { step: "putting Landlock in force", why: e.to_string() }
}

/// What is opened to read `path`, and what replaces it later: the folder that the file lies in, links
/// followed. The file alone where that folder is wide.
pub(crate) fn place_of(path: &Path, own: &Path) -> PathBuf {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if real.is_dir() {
        return real;
    }
    match real.parent() {
        Some(folder) if !is_wide(folder, own) => folder.to_owned(),
        _ => real,
    }
}

/// A folder that holds more than what belongs to one file: the system's, somebody's home, one that holds this
/// room or is a neighbour's.
fn is_wide(folder: &Path, own: &Path) -> bool {
    const SHARED: [&str; 6] = ["/etc/ssl", "/usr/share", "/usr/lib", "/var/lib", "/run/secrets", "/home"];
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let rooms = real(own.parent().unwrap_or(own));
    let shared =
        SHARED.iter().any(|wide| folder == Path::new(wide)) || folder.parent() == Some(Path::new("/home"));
    folder.components().count() <= 2 || shared || rooms.starts_with(folder) || folder.starts_with(rooms)
}

/// From here on this thread, and each that it starts, sees what is allowed. The kernel's interface version.
pub(crate) fn enforce(allowed: &Allowed) -> Result<i32, Missing> {
    let without = |layer: Layer| allowed.without.contains(&layer);
    let mut handled = AccessFs::from_all(TRIED);
    if without(Layer::LandlockTruncate) {
        handled.remove(AccessFs::Truncate);
    }
    let tcp = !without(Layer::LandlockTcp);
    let mut rules = Ruleset::default().handle_access(handled).map_err(failed)?;
    if tcp {
        rules = rules.handle_access(AccessNet::from_all(TRIED)).map_err(failed)?;
    }
    // Abstract sockets and signals, where the kernel has it: seccomp refuses both as well.
    let mut rules = rules.scope(Scope::from_all(TRIED)).map_err(failed)?.create().map_err(failed)?;
    let opened = |path: &Path| {
        PathFd::new(path).map_err(|e| Missing::Path { path: path.to_owned(), why: e.to_string() })
    };
    rules = rules.add_rule(PathBeneath::new(opened(&allowed.folder)?, own() & handled)).map_err(failed)?;
    for path in &allowed.reads {
        let place = place_of(path, &allowed.folder);
        // What is not there can't be read; whoever needs it says so by its name.
        if place.exists() {
            rules = rules.add_rule(PathBeneath::new(opened(&place)?, AccessFs::ReadFile)).map_err(failed)?;
        }
    }
    if tcp {
        for port in &allowed.connects {
            rules = rules.add_rule(NetPort::new(*port, AccessNet::ConnectTcp)).map_err(failed)?;
        }
    }
    let status = rules.restrict_self().map_err(failed)?;
    match status.landlock {
        LandlockStatus::Available { effective_abi, .. } if status.ruleset != RulesetStatus::NotEnforced => {
            Ok(effective_abi as i32)
        }
        _ => Err(Missing::Kernel(vec![Layer::Landlock])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewed_certificate_is_found_by_its_folder_and_a_wide_folder_is_not_opened() {
        let dir = std::env::temp_dir().join(format!("matron-sandbox-{}", std::process::id()));
        let own = dir.join("data/rooms/door");
        std::fs::create_dir_all(&own).unwrap();
        std::fs::create_dir_all(dir.join("tls")).unwrap();
        std::fs::create_dir_all(dir.join("data/rooms/vault")).unwrap();
        let alone = ["chain.pem", "data/chain.pem", "data/rooms/chain.pem", "data/rooms/vault/chain.pem"];
        for file in alone.into_iter().chain(["tls/chain.pem"]) {
            std::fs::write(dir.join(file), "x").unwrap();
        }
        let dir = dir.canonicalize().unwrap();
        assert_eq!(place_of(&dir.join("tls/chain.pem"), &own), dir.join("tls"));
        for file in alone {
            assert_eq!(place_of(&dir.join(file), &own), dir.join(file), "{file}");
        }
        assert_eq!(place_of(Path::new("/etc/hosts"), &own), Path::new("/etc/hosts"));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
