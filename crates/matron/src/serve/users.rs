//! As whom the rooms run. Not root: all as the user that `matron serve` runs as. As root: each as the owner of its
//! folder, which `sandbox.user_prefix` makes a user of its own.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::config::Config;
use crate::rooms::Room;

/// User and group of a room with this folder, where another than one's own can be taken on.
pub(crate) fn of(folder: &Path) -> Result<Option<(u32, u32)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let meta = folder.metadata().with_context(|| format!("the folder {}", folder.display()))?;
    Ok((meta.uid() != 0).then_some((meta.uid(), meta.gid())))
}

/// Gives each room's folder to the room's own user, and the push certificate to the courier's.
pub(super) fn give(config: &Config, data: &Path) -> Result<()> {
    let Some(prefix) = &config.sandbox.user_prefix else { return Ok(()) };
    if !rustix::process::geteuid().is_root() {
        bail!(
            "sandbox.user_prefix: only root can start rooms as users of their own; start as root or leave it out"
        );
    }
    let users = std::fs::read_to_string("/etc/passwd").context("/etc/passwd")?;
    let rooms = data.join("rooms");
    for room in Room::ALL {
        let name = format!("{prefix}{}", room.name());
        let Some((uid, gid)) = ids(&users, &name) else {
            bail!(
                "sandbox.user_prefix: there is no user {name} in /etc/passwd; make it (useradd --system {name}), \
                 or leave the key out"
            );
        };
        if uid == 0 {
            bail!("sandbox.user_prefix: {name} is root");
        }
        give_tree(&rooms.join(room.name()), uid, gid)?;
        if room == Room::Courier {
            give_tree(&data.join("push"), uid, gid)?;
        }
    }
    // On the way to their folders, and no further: nothing there can be listed.
    for folder in [data, &rooms] {
        let to = |e: &std::io::Error| format!("{} could not be opened to the rooms: {e}", folder.display());
        let mode = folder.metadata().map_err(|e| anyhow::anyhow!(to(&e)))?.permissions().mode();
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(mode | 0o011))
            .map_err(|e| anyhow::anyhow!(to(&e)))?;
    }
    Ok(())
}

/// `name:x:uid:gid:…` (passwd(5)).
fn ids(users: &str, name: &str) -> Option<(u32, u32)> {
    let line = users.lines().find(|l| l.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// The folder and what lies in it; links are not followed.
fn give_tree(path: &Path, uid: u32, gid: u32) -> Result<()> {
    let Ok(meta) = path.symlink_metadata() else { return Ok(()) };
    let named = || format!("{} could not be given to user {uid}", path.display());
    if meta.is_symlink() {
        return Ok(());
    }
    if (meta.uid(), meta.gid()) != (uid, gid) {
        chown(path, Some(uid), Some(gid)).with_context(named)?;
    }
    if meta.is_dir() {
        for entry in std::fs::read_dir(path).with_context(named)? {
            give_tree(&entry?.path(), uid, gid)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let users = "root:x:0:0:root:/root:/bin/sh\nmatron-door:x:990:991::/:/usr/sbin/nologin\n";
        assert_eq!(ids(users, "matron-door"), Some((990, 991)));
        assert_eq!(ids(users, "matron"), None);
        assert_eq!(ids("matron-door:x:", "matron-door"), None);
    }
}
