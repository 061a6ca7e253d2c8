//! A large fleet around the phones of the bench: what of it is real, and what lists and searches take.
//!
//! The invitations are orders that the bench's administrator signs, written through the ledger's own
//! API while the house is stopped (a hundred thousand over HTTP would be most of the bench), with a
//! certificate each. The vault replays them, and core follows them, as it would any; the holders' rows
//! and index entries are the vault's. What the phones reported is a copy of one that enrolled really
//! (see `core_room::bulk`).

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use core_room::bulk::Written;
use ledger::{Body, Disk, Effect, FileDisk, FileLedger, Opaque, PersonKeys, Subject};
use model::clock::DAY_MS;
use model::{
    Clock, Command, CommandId, CommandKind, Condition, DeviceGroupDefinition, DeviceGroupId, DeviceGroupName,
    DeviceGroupRule, Digest, EnrolmentId, Group, Join, KeyId, LinkHash, PersonId, ProfileId, Setting,
    SystemClock,
};
use order::{InviteSecrets, Order, OrderKind, SaveSecrets, encode, sha256};
use serde::Serialize;
use serde_json::Value;
use simulate::Phone;

use super::admin::Admin;
use super::backup::{self, BackedUp};
use super::pages::{Browser, Holder};
use super::scratch::Scratch;

/// Wards of the large fleet.
const WARDS: usize = 200;
/// Invitations of one append to the ledger.
const AT_ONCE: usize = 250;
/// How often each list is asked for.
const ASKED: usize = 21;
/// Orders for a phone that the ledger has: for as many phones as one order names, and before them for it alone. More than its
/// holder is told, so that the page reads as much as it ever does.
const WIDE_ORDERS: usize = 12;
const OWN_ORDERS: usize = 100;
/// A count of all phones is good for no longer (core's `GOOD_AT_MOST`).
const ANEW: Duration = Duration::from_millis(1_100);
/// How long core may take to follow the ledger.
const FOLLOW_PATIENCE: Duration = Duration::from_secs(1800);

/// What the large fleet costs.
#[derive(Debug, Serialize)]
pub(crate) struct Large {
    enrolled: u64,
    written: Written,
    database_mb: f64,
    ledger_mb: f64,
    /// A start of all rooms: the vault replays the ledger, core reads its fleet.
    ready_after_ms: u64,
    /// How long core took to follow what was appended.
    followed_after_ms: u64,
    lists: Vec<Asked>,
    /// After the lists, with every phone in memory.
    rss_mb: f64,
    backup: BackedUp,
}

/// One list, asked again and again: milliseconds from request to answer, over a connection of its own.
#[derive(Debug, Serialize)]
pub(crate) struct Asked {
    what: &'static str,
    p50_ms: f64,
    slowest_ms: f64,
    found: usize,
}

impl Large {
    /// As a table.
    pub(crate) fn print(&self) {
        println!("\n{} enrolled", self.enrolled);
        println!("{:<44}{:>10} rows", "what they reported", self.written.rows);
        println!("{:<44}{:>10} rows", "finished commands", self.written.history);
        println!("{:<44}{:>10.0} MB", "database", self.database_mb);
        println!("{:<44}{:>10.0} MB", "ledger", self.ledger_mb);
        println!("{:<44}{:>10} ms", "start of all rooms, ledger replayed", self.ready_after_ms);
        println!("{:<44}{:>10} ms", "core followed what was appended after", self.followed_after_ms);
        println!("{:<44}{:>10.0} MB", "all rooms, once the lists were read", self.rss_mb);
        let b = &self.backup;
        println!("{:<44}{:>10.0} MB", "backup, encrypted", b.backup_mb);
        println!("{:<44}{:>10} ms", "backup while the house runs, moved", b.made_ms);
        println!("{:<44}{:>10} ms", "restore", b.restored_ms);
        println!("{:<44}{:>10} ms", "rehearsal: restore, open, verify, serve", b.rehearsed_ms);
        println!("\n{:<44}{:>10}{:>10}{:>8}", "", "p50 ms", "slowest", "found");
        for l in &self.lists {
            println!("{:<44}{:>10.1}{:>10.1}{:>8}", l.what, l.p50_ms, l.slowest_ms, l.found);
        }
    }
}

/// A profile that nine phones in ten have.
const PROFILE: ProfileId = ProfileId([0x70; 16]);
const PASSCODE: &str = r#"<plist version="1.0"><dict><key>PayloadType</key><string>Configuration</string>
<key>PayloadVersion</key><integer>1</integer><key>PayloadUUID</key><string>A</string><key>PayloadIdentifier</key>
<string>org.example.passcode</string><key>PayloadContent</key><array><dict><key>PayloadType</key>
<string>com.apple.mobiledevice.passwordpolicy</string><key>PayloadVersion</key><integer>1</integer><key>PayloadUUID</key>
<string>B</string><key>PayloadIdentifier</key><string>org.example.passcode.1</string><key>forcePIN</key><true/>
</dict></array></dict></plist>"#;

/// Keys that are made durable once, at the end, by whoever opens the file next.
struct Unsynced(FileDisk);

impl Disk for Unsynced {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write_at(offset, bytes)
    }

    fn sync(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn random<const N: usize>(rng: &SystemRandom) -> Result<[u8; N]> {
    let mut out = [0; N];
    rng.fill(&mut out).ok().context("no random numbers")?;
    Ok(out)
}

/// Appends invitations and certificates to a stopped vault's ledger. Gives the enrolments, and how many
/// entries there are now.
fn append(vault: &Path, admin: &Admin, count: usize, certificate: &[u8]) -> Result<(Vec<EnrolmentId>, u64)> {
    let rng = SystemRandom::new();
    let mut signer: Option<(KeyId, PersonId)> = None;
    let mut ledger = FileLedger::open_replaying(vault, |record| {
        if let Body::OrderAccepted { signer: key, person, .. } = &record.entry.body {
            signer = Some((*key, *person));
        }
    })?;
    let (signer, person) = signer.context("nobody has joined")?;
    let mut keys = PersonKeys::load_with(vault, |file: File| Box::new(Unsynced(FileDisk(file))))?;
    let people = simulate::people(2, u32::try_from(count).unwrap_or(u32::MAX));
    let mut all = Vec::with_capacity(count);
    for (chunk, holders) in people.chunks(AT_ONCE).enumerate() {
        let mut bodies = Vec::with_capacity(2 * AT_ONCE);
        for (n, holder) in (chunk * AT_ONCE..).zip(holders) {
            let enrolment = EnrolmentId(random(&rng)?);
            let group = Group::new(&format!("ward-{}", n % WARDS))?;
            let kind = OrderKind::Invite { group: group.clone(), valid_ms: DAY_MS };
            let secrets = encode(&InviteSecrets { name: holder.name.clone(), email: holder.email.clone() });
            let (id, signed, _) = admin.signed(kind, vec![], Some(&secrets))?;
            let effect = Effect::Invited {
                enrolment,
                link: LinkHash(random(&rng)?),
                group,
                expires_at_ms: SystemClock.now_ms() + DAY_MS,
                holder: keys.seal(Subject::from(enrolment), &secrets, &rng)?,
                card: Some(Digest(random(&rng)?)),
            };
            bodies.push(Body::OrderAccepted {
                order: id,
                digest: sha256(&signed.order),
                signer,
                person,
                signature: Opaque(signed.signatures.first().map(|s| s.signature.clone()).unwrap_or_default()),
                bytes: Opaque(signed.order),
                effect,
                counted: None,
            });
            bodies.push(Body::CertificateIssued {
                enrolment,
                key_digest: Digest(random(&rng)?),
                certificate: Opaque(certificate.to_vec()),
            });
            all.push(enrolment);
        }
        ledger.append_batch(bodies, SystemClock.now_ms())?;
    }
    let own = all.get(..1).unwrap_or_default();
    let wide = all.get(..all.len().min(Order::MOST_TARGETS)).unwrap_or_default();
    for targets in std::iter::repeat_n(own, OWN_ORDERS).chain(std::iter::repeat_n(wide, WIDE_ORDERS)) {
        let body = commanded(admin, (signer, person), targets, &rng)?;
        ledger.append_batch(vec![body], SystemClock.now_ms())?;
    }
    Ok((all, ledger.entries()))
}

/// What the vault writes of an order that sets something on phones.
fn commanded(
    admin: &Admin,
    (signer, person): (KeyId, PersonId),
    targets: &[EnrolmentId],
    rng: &SystemRandom,
) -> Result<Body> {
    let command = Command::Settings { items: vec![Setting::DataRoaming { enabled: false }] };
    let (id, signed, _) = admin.signed(OrderKind::Command { command }, targets.to_vec(), None)?;
    Ok(Body::OrderAccepted {
        order: id,
        digest: sha256(&signed.order),
        signer,
        person,
        signature: Opaque(signed.signatures.first().map(|s| s.signature.clone()).unwrap_or_default()),
        bytes: Opaque(signed.order),
        effect: Effect::Commanded {
            command: CommandId(random(rng)?),
            kind: CommandKind::Settings,
            answer_digest: Digest(random(rng)?),
            erasing: false,
            targets: targets.to_vec(),
            expires_at_ms: SystemClock.now_ms(),
            per_phone: vec![],
        },
        counted: None,
    })
}

fn bytes_of(path: &Path) -> f64 {
    std::fs::metadata(path).map_or(0.0, |m| m.len() as f64 / 1_048_576.0)
}

/// Waits until core has followed so many entries.
async fn followed(admin: &Admin, entries: u64) -> Result<Duration> {
    let began = Instant::now();
    while began.elapsed() < FOLLOW_PATIENCE {
        let metrics = admin.text("/metrics").await.unwrap_or_default();
        let at = metrics.lines().find_map(|l| l.strip_prefix("matron_core_ledger_entries "));
        if at.and_then(|n| n.trim().parse::<f64>().ok()).is_some_and(|n| n >= entries as f64) {
            return Ok(began.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    bail!("core did not follow the ledger of the large fleet in time")
}

/// Lets `enrolled` phones stand around those of the bench.
pub(crate) async fn around(
    house: Scratch,
    admin: &mut Admin,
    phones: &[Phone],
    enrolled: u64,
    history: u32,
    recipient: &str,
) -> Result<(Scratch, Large)> {
    let like = phones.first().context("no phone enrolled")?;
    let (like_id, certificate) = (
        like.enrolment().context("a phone without an enrolment")?,
        like.certificate_der().context("a phone without a certificate")?.to_vec(),
    );
    let count = usize::try_from(enrolled)?.saturating_sub(phones.len());
    eprintln!("bench: {count} more phones into the ledger");
    let secrets = encode(&SaveSecrets { profile: PASSCODE.as_bytes().to_vec(), salt: vec![1; 32] });
    admin.order(OrderKind::SaveProfile { profile: PROFILE }, vec![], Some(&secrets)).await?;
    let (house, (ids, entries)) =
        house.restarted(|data| append(&data.join("rooms").join("vault"), admin, count, &certificate))?;
    let followed_after = followed(admin, entries).await?;
    eprintln!("bench: what they reported, and {history} finished commands each");
    let (house, written) = house.restarted(|data| {
        let core = data.join("rooms").join("core");
        Ok(core_room::bulk::copy_phone(&core, like_id, &ids, (history, PROFILE), SystemClock.now_ms())?)
    })?;
    followed(admin, entries).await?;
    let ready_after_ms = u64::try_from(house.ready_after.as_millis()).unwrap_or(u64::MAX);
    admin.sign_in(500).await?;
    let lists = lists(admin, like, *ids.first().context("a phone of the large fleet")?).await?;
    let rooms = house.data().join("rooms");
    let rss: u64 = house.rss_bytes().values().sum();
    eprintln!("bench: a backup, and its rehearsal");
    let backup = backup::measure(house.dir(), recipient)?;
    let large = Large {
        enrolled,
        written,
        database_mb: bytes_of(&rooms.join("core").join(core_room::DATABASE_FILE)),
        ledger_mb: bytes_of(&rooms.join("vault").join(ledger::FILE_NAME)),
        ready_after_ms,
        followed_after_ms: u64::try_from(followed_after.as_millis()).unwrap_or(u64::MAX),
        lists,
        rss_mb: rss as f64 / 1_048_576.0,
        backup,
    };
    Ok((house, large))
}

fn items(answer: &Value) -> usize {
    answer.get("items").and_then(Value::as_array).map_or(0, Vec::len)
}

/// How many phones a page lists.
fn listed(page: &[u8]) -> usize {
    String::from_utf8_lossy(page).matches("href=\"/phones/").count()
}

async fn pages(admin: &Admin) -> Result<Vec<Asked>> {
    let browser = Browser::sign_in(admin).await?;
    let first = browser.page("/phones?state=enrolled").await?;
    let first = String::from_utf8_lossy(&first);
    let (_, rest) = first.split_once("href=\"/phones/").context("a phone on the first page")?;
    let one = format!("/phones/{}", rest.get(..32).context("a phone's id")?);
    let mut out = Vec::new();
    for (what, path) in [
        ("page: phones", "/phones"),
        ("page: phones, last seen first", "/phones?sort=last_seen"),
        ("page: phones of one ward", "/phones?group=ward-7"),
        ("page: one phone", one.as_str()),
        ("page: overview", "/"),
        ("page: commands", "/commands"),
        ("page: approvals", "/approvals"),
        ("page: ledger", "/ledger"),
        ("page: ledger, one kind", "/ledger?kind=token_updated"),
        ("page: people and roles", "/people"),
        ("page: health", "/health"),
    ] {
        out.push(asked_for(what, async || Ok(listed(&browser.page(path).await?))).await?);
    }
    let [groups, anew] = device_groups(admin).await?;
    for (what, path) in groups {
        out.push(asked_for(what, async || Ok(listed(&browser.page(&path).await?))).await?);
    }
    for (what, path) in anew {
        let page = async || Ok(listed(&browser.page(&path).await?));
        out.push(asked_after(ANEW, what, page).await?);
    }
    Ok(out)
}

type Paths = Vec<(&'static str, String)>;

/// Saves a device group of each sort, and gives the pages about them: a column's condition, two fields of each phone, one that nearly
/// no phone fits, and one that all do. Then pages that are looked at so seldom that all is counted anew.
async fn device_groups(admin: &Admin) -> Result<[Paths; 2]> {
    let rules = [
        ("Older than 17", vec![Condition::OsBelow("17".parse()?)]),
        ("All is well", vec![Condition::Lost(false), Condition::PasscodeCompliant(true)]),
        ("Unprotected", vec![Condition::DataProtected(false)]),
        ("All", vec![Condition::OsAtLeast("1".parse()?)]),
    ];
    let mut ids = Vec::new();
    for (name, conditions) in rules {
        let group = DeviceGroupId(random(&SystemRandom::new())?);
        let definition = DeviceGroupDefinition::Rule(DeviceGroupRule { join: Join::All, conditions });
        let name = DeviceGroupName::new(name)?;
        let kind = OrderKind::SaveDeviceGroup { group, replaces: None, name, definition };
        admin.order(kind, vec![], None).await?;
        ids.push(group.to_string());
    }
    let [old, well, unprotected, all] = ids.as_slice() else { bail!("four device groups") };
    let of_all = (format!("/device-groups/{all}"), format!("/profiles/{PROFILE}?device_group={all}"));
    let pages = vec![
        ("page: device groups", "/device-groups".into()),
        ("page: device group, older than 17", format!("/device-groups/{old}")),
        ("page: device group, two fields", format!("/device-groups/{well}")),
        ("page: device group, nearly nobody", format!("/device-groups/{unprotected}")),
        ("page: device group, all phones", of_all.0.clone()),
        ("page: device group tried, older than 17", "/device-groups/new?os_below=17".into()),
        (
            "page: device group tried, two fields",
            "/device-groups/new?lost=false&passcode_compliant=true".into(),
        ),
        ("page: phones of a device group", format!("/phones?device_group={old}")),
        ("page: profiles", "/profiles".into()),
        ("page: one profile", format!("/profiles/{PROFILE}")),
        ("page: a profile, who older than 17 has it", format!("/profiles/{PROFILE}?device_group={old}")),
        ("page: a profile, who of all has it", of_all.1.clone()),
    ];
    let anew = vec![
        ("page: device group, all phones, anew", of_all.0),
        ("page: one profile, anew", format!("/profiles/{PROFILE}")),
        ("page: a profile, who of all has it, anew", of_all.1),
    ];
    Ok([pages, anew])
}

async fn asked(what: &'static str, ask: impl AsyncFn() -> Result<Value>) -> Result<Asked> {
    asked_for(what, async || Ok(items(&ask().await?))).await
}

async fn asked_for(what: &'static str, ask: impl AsyncFn() -> Result<usize>) -> Result<Asked> {
    asked_after(Duration::ZERO, what, ask).await
}

/// Each so long after the one before.
async fn asked_after(
    pause: Duration,
    what: &'static str,
    ask: impl AsyncFn() -> Result<usize>,
) -> Result<Asked> {
    let mut times = Vec::with_capacity(ASKED);
    let mut found = 0;
    for _ in 0..ASKED {
        tokio::time::sleep(pause).await;
        let began = Instant::now();
        found = ask().await.with_context(|| what)?;
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    let at = |n: usize| times.get(n).copied().unwrap_or(0.0);
    Ok(Asked { what, p50_ms: at(ASKED / 2), slowest_ms: at(ASKED - 1), found })
}

async fn lists(admin: &Admin, known: &Phone, held: EnrolmentId) -> Result<Vec<Asked>> {
    let get = |path: &'static str| async move { admin.call("GET", path, None).await };
    let mut out = Vec::new();
    for (what, path) in [
        ("devices, first page", "/api/v1/devices?limit=50"),
        ("devices, last seen first", "/api/v1/devices?limit=50&sort=last_seen"),
        ("devices of one ward", "/api/v1/devices?limit=50&group=ward-7"),
        ("devices with an OS version", "/api/v1/devices?limit=50&os_version=18.1"),
        ("devices with an OS version that none has", "/api/v1/devices?limit=50&os_version=9.3"),
        ("devices of a model that none is", "/api/v1/devices?limit=50&model=iPhone3,1"),
        ("devices silent for a week", "/api/v1/devices?limit=50&silent_for_days=7"),
        ("devices with open commands", "/api/v1/devices?limit=50&pending=true"),
        ("commands, newest", "/api/v1/commands?limit=50"),
        ("commands that failed", "/api/v1/commands?limit=50&state=error"),
        ("commands that ran out", "/api/v1/commands?limit=50&state=expired"),
        ("commands not now", "/api/v1/commands?limit=50&state=not_now"),
    ] {
        out.push(asked(what, async || get(path).await).await?);
    }
    let number = known.handset().lines.first().map(|l| l.phone_number.clone()).unwrap_or_default();
    out.push(asked("search for a phone number", async || admin.search("phone", &number).await).await?);
    let name = simulate::people(2, 1).first().map(|p| p.name.clone()).unwrap_or_default();
    out.push(asked("search for a holder's name", async || admin.search("name", &name).await).await?);
    out.extend(pages(admin).await?);
    out.extend(my_phone(admin, held).await?);
    Ok(out)
}

/// What the holder of that phone is shown.
async fn my_phone(admin: &Admin, held: EnrolmentId) -> Result<Vec<Asked>> {
    let holder = Holder::of(admin, held).await?;
    let signing_in = asked_for("my phone: sign-in with a card", async || {
        holder.sign_in().await?;
        Ok(1)
    });
    let signing_in = signing_in.await?;
    let browser = holder.sign_in().await?;
    let page = asked_for("page: my phone, things that were done to it", async || {
        let page = browser.page("/my-phone").await?;
        let page = String::from_utf8_lossy(&page);
        let (_, done) = page.split_once("id=\"done\"").context("what was done")?;
        Ok(done.matches("<time").count())
    });
    Ok(vec![signing_in, page.await?])
}
