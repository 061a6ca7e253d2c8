//! This machine: configuration, rooms, database, ledger, certificates, clock, kernel. Add a check by adding
//! a function to [`CHECKS`].

use std::path::PathBuf;
use std::time::Duration;

use model::{Clock, SystemClock, TimeMs};

use super::{Check, acme, files, held, keys, oidc, rooms};
use crate::Place;
use crate::backups::{LAST_FILE, Last};
use crate::certificate::{days_left, facts, fits, read_chain, read_file, read_key};
use crate::cli::show;
use crate::config::Config;
use crate::push::{Ending, Folder, ending, in_days};

/// What the checks look at.
pub(super) struct Host<'a> {
    place: &'a Place,
    pub(super) data: PathBuf,
    /// None when it can't be read; the first check says why.
    pub(super) config: Option<Config>,
    now_ms: TimeMs,
    deep: bool,
    /// The process that runs on this data folder.
    pub(super) holder: Option<u32>,
}

impl Host<'_> {
    /// What the configuration does without.
    fn without(&self) -> &[sandbox::Layer] {
        self.config.as_ref().map_or(&[], |c| c.sandbox.danger_without.as_slice())
    }
}

/// In the order they are told.
const CHECKS: &[fn(&Host<'_>) -> Vec<Check>] = &[
    configuration,
    files::folder,
    files::disk,
    house,
    held_rooms,
    keys::checks,
    open_files,
    database,
    ledger_holds,
    statement,
    tls_certificate,
    acme::checks,
    oidc::checks,
    house_certificates,
    push_certificate,
    push_service,
    backup,
    clock,
    kernel,
];

pub(super) fn checks(place: &Place, deep: bool) -> Vec<Check> {
    let data = std::path::absolute(&place.data).unwrap_or_else(|_| place.data.clone());
    let host = Host {
        place,
        holder: rooms::holder(&data),
        data,
        config: Config::read(place).ok(),
        now_ms: SystemClock.now_ms(),
        deep,
    };
    CHECKS.iter().flat_map(|check| check(&host)).collect()
}

fn configuration(host: &Host<'_>) -> Vec<Check> {
    let id = "configuration";
    let from = match &host.place.config {
        Some(path) => path.display().to_string(),
        None => "no file: defaults, environment and flags".to_owned(),
    };
    vec![match Config::read(host.place) {
        Ok(config) => Check::ok(id, format!("{from}; phones reach {}", config.base_url)),
        Err(e) => Check::fail(
            id,
            format!("{e:#}"),
            "Matron does not start with this",
            "correct it; 'matron config check' looks at it alone",
        ),
    }]
}

fn house(host: &Host<'_>) -> Vec<Check> {
    if !host.data.join("rooms").exists() {
        return vec![Check::warn(
            "house",
            format!("{}: there is no Matron in this folder yet", host.data.display()),
            "nothing was set up, or this is another folder than the one that is used",
            "matron setup; or name the folder with --data",
        )];
    }
    rooms::checks(&host.data, host.now_ms)
}

fn open_files(host: &Host<'_>) -> Vec<Check> {
    let id = "open_files";
    let Some(config) = &host.config else { return vec![] };
    let wanted = u64::try_from(config.phones.connections).unwrap_or(u64::MAX).saturating_add(1024);
    let door = host.holder.and_then(|pid| {
        rooms::of(pid)
            .into_iter()
            .find(|(r, _)| *r == crate::rooms::Room::Door)
            .and_then(|(_, p)| p.most_files)
    });
    let most = door.or_else(|| rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum);
    let Some(most) = most else {
        return vec![Check::ok(id, "no limit")];
    };
    vec![if most >= wanted {
        Check::ok(id, format!("{most}; {} connections need {wanted}", config.phones.connections))
    } else {
        Check::warn(
            id,
            format!("{most}, and phones.connections = {} needs {wanted}", config.phones.connections),
            "with that many phones at once new ones are not let in",
            "raise LimitNOFILE= of the unit (ulimit -Hn), or lower phones.connections",
        )
    }]
}

fn database(host: &Host<'_>) -> Vec<Check> {
    let id = "database";
    let path = host.data.join("rooms/core").join(core_room::DATABASE_FILE);
    if !path.exists() {
        return vec![Check::skipped(id, "there is none yet")];
    }
    let seen = match core_room::examine(&path, host.holder.is_some()) {
        Ok(seen) => seen,
        Err(e) => {
            return vec![Check::fail(
                id,
                e.to_string(),
                "core does not start, or this user may not read its file",
                "run this as the user that Matron runs as; if it is damaged, restore the newest copy beside it",
            )];
        }
    };
    let size = format!("{} MB", seen.size_bytes / 1_000_000);
    vec![if !seen.complaints.is_empty() {
        Check::fail(
            id,
            format!("SQLite finds it damaged: {}", seen.complaints.join("; ")),
            "core answers wrongly or not at all",
            "stop Matron, keep this file, restore a copy; the vault's ledger is whole and core follows it again",
        )
    } else if seen.schema > seen.newest_schema {
        Check::fail(
            id,
            format!("schema {}, this Matron knows up to {}", seen.schema, seen.newest_schema),
            "a newer Matron wrote it; this one refuses to start",
            "start the newer one, or restore the copy made before the upgrade (core.db.schema-…)",
        )
    } else {
        let next = if seen.schema < seen.newest_schema {
            format!(", brought to {} at the next start after a copy", seen.newest_schema)
        } else {
            String::new()
        };
        Check::ok(
            id,
            format!(
                "whole, schema {}{next}, {size}, {}",
                seen.schema,
                show::count(seen.living_enrolments, "phone")
            ),
        )
    }]
}

/// A longer ledger is read whole with --deep alone.
const QUICK_LEDGER_BYTES: u64 = 64 << 20;

fn ledger_holds(host: &Host<'_>) -> Vec<Check> {
    let id = "ledger";
    let dir = host.data.join("rooms/vault");
    let Ok(size) = std::fs::metadata(dir.join(ledger::FILE_NAME)) else {
        return vec![Check::skipped(id, "there is none yet, or this user may not look")];
    };
    if size.len() > QUICK_LEDGER_BYTES && !host.deep {
        return vec![Check::skipped(id, format!("{} MB; --deep reads it whole", size.len() / 1_000_000))];
    }
    vec![match ledger::verify(&dir) {
        Ok(r) if r.last_at_ms.is_some_and(|t| t > host.now_ms + 60_000) => Check::fail(
            id,
            format!("{} entries; the newest is from the future", r.entries),
            "the clock was set back: warrants and grants live longer by as much",
            "set the clock right; the ledger itself is whole",
        ),
        Ok(r) => {
            let newest = r.last_at_ms.map_or_else(|| "never".into(), show::time);
            Check::ok(id, format!("{} entries, each hash holds; the newest {newest}", r.entries))
        }
        Err(e) => Check::fail(
            id,
            e.to_string(),
            "history was altered or the disk is damaged; the vault does not start on it",
            "keep the file; restore a copy, and compare with 'matron ledger verify' of an administrator who \
             remembers it",
        ),
    }]
}

fn statement(host: &Host<'_>) -> Vec<Check> {
    let id = "statement";
    let rooms = ["door", "reader", "core", "courier"];
    let mut found: Vec<(&str, Vec<u8>, u32, TimeMs)> = Vec::new();
    for room in rooms {
        let dir = host.data.join("rooms").join(room);
        let (Ok(root), Ok(bytes)) =
            (std::fs::read(dir.join("root.pub")), std::fs::read(dir.join("statement.cbor")))
        else {
            continue;
        };
        // Verified as of its own time: that one has run out is told below, not mixed up with a wrong one.
        let read = order::decode::<order::SignedStatement>(&bytes).ok().and_then(|s| {
            let inside: order::KeyStatement = order::decode(&s.statement).ok()?;
            let at_ms = host.now_ms.min(inside.expires_at_ms - 1);
            let trusted = s.verify(&root, at_ms, 0).ok()?;
            let newest = trusted.roots().last().map(|key| key.to_vec())?;
            Some((newest, trusted.epoch, trusted.expires_at_ms))
        });
        match read {
            Some((newest, epoch, until)) => found.push((room, newest, epoch, until)),
            None => {
                return vec![Check::fail(
                    id,
                    format!("the {room}'s key statement is not under the root key it pinned"),
                    "this room believes no one; its files were mixed up or altered",
                    "restore this room's folder from a backup",
                )];
            }
        }
    }
    let Some((first, root, _, _)) = found.first() else {
        return vec![Check::skipped(id, "there is none yet, or this user may not look")];
    };
    if let Some((other, ..)) = found.iter().find(|(_, r, ..)| r != root) {
        // One of them has not heard of another root key yet.
        let former = |room: &str| {
            std::fs::read(host.data.join("rooms").join(room).join("former-roots.pub")).unwrap_or_default()
        };
        let known =
            found.iter().flat_map(|(room, ..)| former(room).as_chunks::<32>().0.to_vec()).collect::<Vec<_>>();
        let newest: Vec<_> =
            found.iter().map(|f| &f.1).filter(|r| !known.iter().any(|k| k == r.as_slice())).collect();
        if newest.windows(2).all(|w| w.first() == w.last()) && !newest.is_empty() {
            return vec![Check::warn(
                id,
                "a room has not pinned the house's newest root key yet",
                "it refuses what that key states, until it is told which key it follows",
                "that comes within a minute while the house runs; after longer, see the log for why it can't be kept",
            )];
        }
        return vec![Check::fail(
            id,
            format!("the {first} and the {other} have pinned different root keys"),
            "they belong to two houses and do not understand each other",
            "restore the rooms' folders from one backup",
        )];
    }
    let epochs: Vec<u32> = found.iter().map(|f| f.2).collect();
    let until = found.iter().map(|f| f.3).min().unwrap_or_default();
    let epoch = epochs.iter().max().copied().unwrap_or_default();
    vec![if until < host.now_ms && host.holder.is_some() {
        Check::fail(
            id,
            format!("epoch {epoch}; a room's ran out {}", show::time(until)),
            "that room believes no key any more: phones get no commands",
            "the vault renews it while it runs: journalctl -u matron says what stops it; is the clock right?",
        )
    } else if epochs.iter().any(|e| *e != epoch) {
        Check::warn(
            id,
            format!("epochs differ: {epochs:?}"),
            "a room has not heard of the newest keys yet",
            "it hears of them when it runs; if it stays so, restart Matron",
        )
    } else {
        Check::ok(id, format!("epoch {epoch} in all rooms, until {}", show::time(until)))
    }]
}

/// How a certificate that will run out is told.
pub(super) fn until(
    id: &'static str,
    what: &str,
    not_after_ms: TimeMs,
    soon_days: i64,
    host: &Host<'_>,
    remedy: &str,
) -> Check {
    let left = days_left(not_after_ms, host.now_ms);
    let found = format!("{what}: until {} ({})", show::time(not_after_ms), in_days(left));
    if left < 0 {
        Check::fail(id, found, "phones refuse to connect", remedy)
    } else if left < soon_days {
        Check::warn(id, found, "then phones refuse to connect", remedy)
    } else {
        Check::ok(id, found)
    }
}

fn tls_certificate(host: &Host<'_>) -> Vec<Check> {
    let id = "tls.files";
    let Some(config) = &host.config else { return vec![] };
    let (Some(certificate), Some(key)) = (&config.phones.tls_certificate, &config.phones.tls_key) else {
        let path = host.data.join("rooms/door/tls.cert.der");
        let Ok(Ok(read)) = read_file(&path).map(|b| facts(&b)) else { return vec![] };
        let remedy = "the vault renews it while Matron runs; restart it if it did not";
        return vec![until("tls.own", "the door's own certificate", read.not_after_ms, 14, host, remedy)];
    };
    let read = (|| {
        let chain = read_chain(certificate)?;
        let first = chain.first().ok_or_else(|| anyhow::anyhow!("no certificate"))?;
        Ok::<_, anyhow::Error>((fits(first, &read_key(key)?)?, facts(first)?))
    })();
    vec![match read {
        Err(e) => Check::fail(
            id,
            format!("{e:#}"),
            "the door does not start with these files",
            "correct phones.tls_certificate and phones.tls_key",
        ),
        Ok((false, _)) => Check::fail(
            id,
            format!("{} is not the key of {}", key.display(), certificate.display()),
            "the door does not start with these files",
            "give the key that the certificate was asked for with",
        ),
        Ok((true, read)) => until(
            id,
            "phones.tls_certificate",
            read.not_after_ms,
            14,
            host,
            "renew it and put the new files in the same places; no restart is needed",
        ),
    }]
}

fn house_certificates(host: &Host<'_>) -> Vec<Check> {
    let read = |path: PathBuf| Some(read_chain(&path).ok()?.first().map(|c| facts(c))?.ok()?.not_after_ms);
    match read(host.data.join("ca.pem")) {
        Some(at_ms) => vec![until(
            "ca",
            "the CA of this house",
            at_ms,
            2 * 365,
            host,
            "a new CA means that every phone enrols anew: plan it",
        )],
        None => vec![Check::skipped("ca", "there is none yet")],
    }
}

fn push_certificate(host: &Host<'_>) -> Vec<Check> {
    let id = "push.certificate";
    let Some(config) = &host.config else { return vec![] };
    let Some(path) = &config.push.certificate else {
        let imported = Folder::of(&host.data).is_ok_and(|f| f.current().exists());
        let remedy = if imported {
            "it is imported, and the configuration does not name it: matron setup, or set push.topic, push.certificate, push.key"
        } else {
            "matron push csr begins"
        };
        return vec![Check::warn(
            id,
            "no push certificate is configured",
            "phones are not woken: they answer only when they ask by themselves",
            remedy,
        )];
    };
    let key = config.push.key.as_ref().unwrap_or(path);
    let read = (|| {
        let chain = read_chain(path)?;
        let first = chain.first().ok_or_else(|| anyhow::anyhow!("no certificate"))?;
        Ok::<_, anyhow::Error>((fits(first, &read_key(key)?)?, facts(first)?))
    })();
    let renew =
        "matron push csr, then 'Renew' at Apple's portal under the same Apple ID, then matron push import";
    let read = match read {
        Err(e) => return vec![Check::fail(id, format!("{e:#}"), "phones are not woken", renew)],
        Ok((false, _)) => {
            return vec![Check::fail(
                id,
                format!("{} is not the key of {}", key.display(), path.display()),
                "phones are not woken",
                "give push.key the key that the request was made with",
            )];
        }
        Ok((true, read)) => read,
    };
    let topic = read.topic.clone().unwrap_or_default();
    if topic != config.push.topic {
        return vec![Check::fail(
            id,
            format!("its topic is {topic}, push.topic is {}", config.push.topic),
            "phones obey pushes of the topic they enrolled under alone: none is woken",
            "renew the certificate of the topic that phones are enrolled under",
        )];
    }
    let left = in_days(days_left(read.not_after_ms, host.now_ms));
    let found = format!("{topic}, until {} ({left})", show::time(read.not_after_ms));
    vec![match ending(read.not_after_ms, host.now_ms) {
        Ending::Far => Check::ok(id, found),
        Ending::Within(7) => Check::fail(id, found, "within a week phones are no longer woken", renew),
        Ending::Within(_) => Check::warn(id, found, "then phones are no longer woken", renew),
        Ending::Over => Check::fail(id, found, "phones are not woken", renew),
    }]
}

/// How long Apple's push service may take.
const PUSH_PATIENCE: Duration = Duration::from_secs(20);

fn push_service(host: &Host<'_>) -> Vec<Check> {
    host.config.as_ref().map(|c| probe_push(c, &host.data, host.now_ms)).into_iter().collect()
}

/// Shows the certificate to the push service; nobody is woken.
pub(super) fn probe_push(config: &Config, data: &std::path::Path, now_ms: TimeMs) -> Check {
    let id = "push.service";
    let endpoint = &config.push.endpoint;
    if config.push.certificate.is_none() {
        return Check::skipped(id, "no push certificate is configured");
    }
    let settings = config.courier(&data.join("rooms"));
    let asked = tokio::runtime::Builder::new_current_thread().enable_all().build().map(|runtime| {
        runtime
            .block_on(async { tokio::time::timeout(PUSH_PATIENCE, courier::probe(&settings, now_ms)).await })
    });
    let unreachable = |why: &str| {
        Check::fail(
            id,
            format!("{endpoint} can't be reached: {}", show::line(why)),
            "phones are not woken",
            "open port 443 (or 2197: push.endpoint = \"https://api.push.apple.com:2197\") to 17.0.0.0/8; a proxy that \
             opens TLS is refused by Apple",
        )
    };
    match asked {
        Err(e) => Check::skipped(id, e.to_string()),
        Ok(Err(_)) => unreachable("no answer within 20 seconds"),
        Ok(Ok(Err(e))) => Check::fail(id, e.to_string(), "phones are not woken", "see push.certificate"),
        Ok(Ok(Ok(probe))) => match probe.answer {
            courier::ProbeAnswer::Taken => {
                Check::ok(id, format!("{endpoint} takes the certificate and the topic"))
            }
            courier::ProbeAnswer::Unreachable(why) => unreachable(&why),
            courier::ProbeAnswer::Refused(reason) => Check::fail(
                id,
                format!("{endpoint} refuses the certificate: {}", show::line(&reason)),
                "phones are not woken",
                "look at Apple's portal whether it was revoked or replaced; renew it there and import it",
            ),
        },
    }
}

/// A backup older than this is warned of.
const BACKUP_OLD_DAYS: i64 = 8;

fn backup(host: &Host<'_>) -> Vec<Check> {
    const ID: &str = "backup";
    let Some(config) = &host.config else { return vec![] };
    let lost = "if this disk is lost, every phone has to be enrolled anew";
    if config.backup.recipients.is_empty() {
        let todo = "make a key where it stays offline (age-keygen), put its public half into backup.recipients, and \
                    run 'matron backup' every night (docs/operations.md)";
        return vec![Check::warn(
            ID,
            "backup.recipients: there is none, so no backup can be made",
            lost,
            todo,
        )];
    }
    let text = std::fs::read(host.data.join(LAST_FILE)).unwrap_or_default();
    let Ok(last) = serde_json::from_slice::<Last>(&text) else {
        return vec![Check::warn(
            ID,
            "no backup was made yet",
            lost,
            "run 'matron backup', then rehearse it",
        )];
    };
    let days = (host.now_ms - last.made_at_ms).div_euclid(model::clock::DAY_MS);
    let found = format!("the last one was made {}: {}", show::time(last.made_at_ms), last.backup.display());
    if days > BACKUP_OLD_DAYS {
        let means = format!("what happened in the last {days} days would be lost with this disk");
        return vec![Check::warn(ID, found, means, "look why 'matron backup' no longer runs")];
    }
    vec![Check::ok(ID, found)]
}

fn clock(host: &Host<'_>) -> Vec<Check> {
    let id = "clock";
    // Files are written by this clock: one from the future says that it was set back.
    let newest = ["rooms/core/core.db-wal", "rooms/core/core.db", "rooms/vault/ledger.log", "lock"]
        .iter()
        .filter_map(|f| std::fs::metadata(host.data.join(f)).ok()?.modified().ok())
        .filter_map(|t| t.duration_since(std::time::UNIX_EPOCH).ok())
        .filter_map(|d| TimeMs::try_from(d.as_millis()).ok())
        .max();
    if let Some(at_ms) = newest
        && at_ms > host.now_ms + 60_000
    {
        return vec![Check::fail(
            id,
            format!("a file of Matron is from {}, which is in the future", show::time(at_ms)),
            "the clock was set back: certificates, warrants and grants are judged by it",
            "set the clock right, and keep it so with chrony or systemd-timesyncd",
        )];
    }
    let keepers = [
        "/run/systemd/timesync/synchronized",
        "/run/chrony/chronyd.pid",
        "/run/chronyd.pid",
        "/run/ntpd.pid",
    ];
    vec![match keepers.iter().find(|p| std::path::Path::new(p).exists()) {
        Some(_) => Check::ok(id, format!("{}, kept by a time service", show::time(host.now_ms))),
        None => Check::warn(
            id,
            format!("{}; no time service is seen here", show::time(host.now_ms)),
            "on a machine whose clock wanders phones are refused and certificates run out at the wrong time",
            "install chrony, unless the host of this virtual machine or container keeps the time",
        ),
    }]
}

fn kernel(host: &Host<'_>) -> Vec<Check> {
    held::kernel(host.without())
}

fn held_rooms(host: &Host<'_>) -> Vec<Check> {
    let of_token = host.config.as_ref().map(|c| c.vault.pkcs11_without(host.without())).unwrap_or_default();
    host.holder.map(|pid| held::checks(pid, host.without(), &of_token)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    fn place(data: &std::path::Path) -> Place {
        Place { data: data.to_owned(), config: None, set: vec![] }
    }

    fn of(checks: &[Check], id: &str) -> Check {
        checks.iter().find(|c| c.id == id).cloned().unwrap()
    }

    #[test]
    fn an_empty_folder_is_told_as_one_where_nothing_was_set_up_and_stays_empty() {
        let dir = tempfile::tempdir().unwrap();
        let checks = checks(&place(dir.path()), false);
        assert_eq!(of(&checks, "house").verdict, Verdict::Warn);
        assert_eq!(of(&checks, "database").verdict, Verdict::Skipped);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_configuration_that_matron_would_not_start_with_fails() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place { set: vec!["phones.lisen=1".into()], ..place(dir.path()) };
        let check = of(&checks(&place, false), "configuration");
        assert!(check.verdict == Verdict::Fail && check.found.contains("lisen"));
    }

    #[test]
    fn a_ledger_that_is_none_fails() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("rooms/vault")).unwrap();
        std::fs::write(dir.path().join("rooms/vault").join(ledger::FILE_NAME), b"no ledger").unwrap();
        assert_eq!(of(&checks(&place(dir.path()), false), "ledger").verdict, Verdict::Fail);
    }
}
