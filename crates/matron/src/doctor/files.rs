//! The data folder and its disk.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Check;
use super::host::Host;

/// Fewer free bytes are a fault, or to be warned of.
const LEAST_BYTES: u64 = 200 << 20;
const FEW_BYTES: u64 = 2 << 30;
/// The most names that are told.
const MOST_TOLD: usize = 5;

pub(super) fn folder(host: &Host<'_>) -> Vec<Check> {
    let id = "data";
    let Ok(of) = std::fs::metadata(&host.data) else {
        return vec![Check::warn(
            id,
            format!("{} is not there, or this user may not look", host.data.display()),
            "nothing was set up, or this is another folder than the one that is used",
            "matron setup; or name the folder with --data",
        )];
    };
    let mut open = Vec::new();
    let mut foreign = Vec::new();
    let mut unseen = 0usize;
    let rooms = host.data.join("rooms");
    let uid = |folder: PathBuf| std::fs::metadata(folder).map_or(of.uid(), |m| m.uid());
    let courier = uid(rooms.join("courier"));
    // A room's files are its folder's owner's; the push certificate is the courier's.
    let owner = |path: &Path| match path.strip_prefix(&rooms).ok().and_then(|p| p.components().next()) {
        Some(room) => uid(rooms.join(room)),
        None if path.starts_with(host.data.join("push")) => courier,
        None => of.uid(),
    };
    look(
        &host.data,
        &mut |path, m| {
            let inside_room = path.components().any(|c| c.as_os_str() == "rooms" || c.as_os_str() == "push");
            // Rooms with users of their own pass through it, and see nothing of it.
            let others = if *path == rooms { 0o066 } else { 0o077 };
            if inside_room && m.is_dir() && m.mode() & others != 0 {
                open.push(path.to_owned());
            }
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let secret = name.contains("key") || name == "push.pem" || name == "push.previous.pem";
            if m.is_file() && secret && m.mode() & 0o077 != 0 {
                open.push(path.to_owned());
            }
            if m.uid() != owner(path) {
                foreign.push(path.to_owned());
            }
        },
        &mut unseen,
    );
    // A room's folder under folders that let no one in is closed by them.
    let closed_above = of.mode() & 0o077 == 0
        || std::fs::metadata(host.data.join("rooms")).is_ok_and(|m| m.mode() & 0o077 == 0);
    let names = |paths: &[PathBuf]| {
        let told: Vec<_> = paths.iter().take(MOST_TOLD).map(|p| p.display().to_string()).collect();
        let more = paths.len().saturating_sub(MOST_TOLD);
        if more > 0 { format!("{} and {more} more", told.join(", ")) } else { told.join(", ") }
    };
    let user = of.uid();
    let mut out = Vec::new();
    out.push(match open.is_empty() {
        true => {
            Check::ok(id, format!("{} of user {user}; keys are for their owner alone", host.data.display()))
        }
        false if closed_above => Check::warn(
            id,
            format!("others might read {}", names(&open)),
            "only the folder above keeps them closed",
            "chmod 600 each file, chmod 700 each folder",
        ),
        false => Check::fail(
            id,
            format!("others can read {}", names(&open)),
            "whoever has a room's key is that room",
            "find out who could have read it; chmod 600 each file, chmod 700 each folder",
        ),
    });
    if !foreign.is_empty() {
        out.push(Check::warn(
            "data.owner",
            format!("not of user {user}: {}", names(&foreign)),
            "a command was run as another user; Matron may not be able to read or replace these",
            format!("chown them to user {user}"),
        ));
    }
    if unseen > 0 {
        out.push(Check::skipped(
            "data.unseen",
            format!("{unseen} folders can't be looked into by this user"),
        ));
    }
    out
}

/// Every file and folder below, some thousand at most.
fn look(dir: &Path, each: &mut impl FnMut(&Path, &std::fs::Metadata), unseen: &mut usize) {
    let mut folders = vec![dir.to_owned()];
    let mut seen = 0usize;
    while let Some(dir) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else {
            *unseen += 1;
            continue;
        };
        for entry in entries.flatten() {
            seen += 1;
            if seen > 10_000 {
                return;
            }
            // Not followed where it leads elsewhere.
            let Ok(m) = std::fs::symlink_metadata(entry.path()) else { continue };
            if m.is_symlink() {
                continue;
            }
            each(&entry.path(), &m);
            if m.is_dir() {
                folders.push(entry.path());
            }
        }
    }
}

pub(super) fn disk(host: &Host<'_>) -> Vec<Check> {
    let id = "disk";
    let Ok(s) = rustix::fs::statvfs(&host.data) else { return vec![] };
    let free_bytes = s.f_bavail.saturating_mul(s.f_frsize);
    let percent = |part: u64, whole: u64| part.saturating_mul(100).checked_div(whole).unwrap_or(100);
    let inodes = percent(s.f_favail, s.f_files);
    let found = format!("{} MB and {inodes} % of the inodes are free", free_bytes / 1_000_000);
    let means = "with a full disk nothing is accepted: no order, no check-in that says anything new";
    let remedy = "make room, or move the data folder to a larger disk";
    vec![if free_bytes < LEAST_BYTES || inodes < 1 {
        Check::fail(id, found, means, remedy)
    } else if free_bytes < FEW_BYTES || inodes < 5 {
        Check::warn(id, found, means, remedy)
    } else {
        Check::ok(id, found)
    }]
}
