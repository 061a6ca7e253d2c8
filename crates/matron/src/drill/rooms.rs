//! The scene of the drill, and what happens while each room is held.

use std::collections::{BTreeSet, HashSet};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ledger::{Body, Entry, LedgerError};
use model::{
    Clock, Command, CommandSecrets, Compartment, EnrolmentId, Group, Role, StandingTemplate, SystemClock,
};
use order::{Ed25519Secret, OrderKind, encode};
use simulate::Phone;

use super::fleet::{Fleet, Visit, dropped, wiped};
use super::hooks::Hooks;
use super::occupy::{Occupation, Tip};
use super::report::RoomReport;
use super::standing::Installing;
use super::{DrillArgs, ScratchFolder, Taking, verdict};
use crate::bench;
use crate::bench::admin::Admin;
use crate::rooms::Room;
use crate::serve::drilled::{self, Drilled};

/// How long the house may take to be itself again.
const PATIENCE: Duration = Duration::from_secs(40);
/// Records that each of the three administrators' grants pays for, in a drill with live grants; with searches.
const GRANTS: [(u32, u32); 3] = [(3, 2), (5, 2), (7, 2)];
/// What the courier is asked to wake.
const WOKEN: usize = 10;
/// Phones with a lock that waits for them while core is held.
const LOCKED: usize = 6;
/// How many numbers the intruder guesses at.
const GUESSES: u32 = 1000;

/// The house, its people, its phones.
pub(crate) struct Scene<'a> {
    pub(super) house: Drilled,
    pub(super) folder: &'a ScratchFolder,
    pub(super) admins: Vec<Admin>,
    pub(super) fleet: Fleet,
    pub(super) hooks: Hooks,
    pub(super) intruder: PathBuf,
    pub(super) set: Vec<String>,
    seconds: u64,
    outside: Outside,
    installing: Installing,
}

/// What listens outside, to be called by nobody.
struct Outside {
    tcp_port: u16,
    udp: UdpSocket,
    unix_path: PathBuf,
    canary: PathBuf,
    called: Arc<AtomicU64>,
}

impl Outside {
    fn listen(folder: &ScratchFolder) -> Result<Self> {
        let called = Arc::new(AtomicU64::new(0));
        let (tcp, udp) = (TcpListener::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
        udp.set_nonblocking(true)?;
        let unix_path = folder.path().join("outside.sock");
        let unix = UnixListener::bind(&unix_path)?;
        let tcp_port = tcp.local_addr()?.port();
        for wait in [0, 1] {
            let (tcp, unix, called) = (tcp.try_clone()?, unix.try_clone()?, called.clone());
            std::thread::Builder::new().name("outside".into()).spawn(move || {
                loop {
                    let came = if wait == 0 { tcp.accept().is_ok() } else { unix.accept().is_ok() };
                    if !came {
                        return;
                    }
                    called.fetch_add(1, Ordering::SeqCst);
                }
            })?;
        }
        let canary = folder.path().join("canary");
        Ok(Self { tcp_port, udp, unix_path, canary, called })
    }

    /// How often someone came since it was asked last, and whether a program was started.
    fn broken(&self) -> Vec<String> {
        let mut out = Vec::new();
        let mut called = self.called.swap(0, Ordering::SeqCst);
        while self.udp.recv(&mut [0; 16]).is_ok() {
            called += 1;
        }
        if called > 0 {
            out.push(format!("the intruder called out {called} times and was heard"));
        }
        if std::fs::remove_file(&self.canary).is_ok() {
            out.push("the intruder started a program".into());
        }
        out
    }
}

/// What the ledger says from a position on.
pub(super) struct Since {
    pub(super) entries: u64,
    /// Phones of which records were opened, and how many searches were made.
    pub(super) opened: BTreeSet<EnrolmentId>,
    pub(super) searches: u64,
}

impl<'a> Scene<'a> {
    pub(super) async fn set(args: &DrillArgs, folder: &'a ScratchFolder, intruder: PathBuf) -> Result<Self> {
        let (phones, administrators) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
        let port = phones.local_addr()?.port();
        let mut set = vec![
            format!("phones.listen=127.0.0.1:{port}"),
            format!("administrators.listen={}", administrators.local_addr()?),
            format!("base_url=https://localhost:{port}"),
            "log.filter=off".to_owned(),
            "phones.connections=4096".to_owned(),
            // As a house should be: the disk alone opens nothing.
            "vault.root_key=credential".to_owned(),
            bench::backup::recipient(folder.path())?,
        ];
        set.extend(args.set.iter().cloned());
        let (config, token) = drilled::make(folder, set.clone())?;
        let ca_pem = std::fs::read(folder.data().join("ca.pem"))?;
        // The house's own certificate serves for the alarms' receiver too.
        let root_key = config.root_key_file()?.map(std::fs::File::open).transpose()?;
        rpc::at_rest::unlock(Room::Door.name(), root_key)?;
        let tls = door::tls_of(&config.door(&folder.data().join("rooms")))?;
        let (hooks, alarms) = Hooks::listen(&folder.path().join("hooks"), &ca_pem, tls).await?;
        set.extend(alarms);
        let house = Drilled::start(folder, set.clone(), phones, administrators)?;
        let first = Admin::join(&house.administrators.to_string(), &token).await?;
        eprintln!("drill: enrolling {} phones", args.phones);
        let mut fleet = Fleet::enrol(&first, &ca_pem, args.phones).await?;
        let installing = Installing::make(&first).await?;
        let admins = people(first).await?;
        let kind = OrderKind::MakeStanding {
            template: StandingTemplate::RenewCertificates { before_ms: StandingTemplate::USUAL_BEFORE_MS },
            cap_an_hour: 100,
            expires_at_ms: SystemClock.now_ms() + 20 * model::clock::DAY_MS,
        };
        if let [first, second, ..] = admins.as_slice() {
            first.order_by(&[first.signs_with(), second.signs_with()], kind, vec![], None).await?;
        }
        let operations = fleet.load(args.seconds.min(5)).await;
        eprintln!("drill: the house serves {operations} check-ins in {} s", args.seconds.min(5));
        let outside = Outside::listen(folder)?;
        let seconds = args.seconds;
        Ok(Self { house, folder, admins, fleet, hooks, intruder, set, seconds, outside, installing })
    }

    pub(super) fn admin(&self) -> Result<&Admin> {
        self.admins.first().context("there is no administrator")
    }

    fn vault_dir(&self) -> PathBuf {
        self.house.data().join("rooms/vault")
    }

    /// Reads the vault's ledger as whoever owns the files can, from this entry on.
    pub(super) fn ledger_since(&self, from: u64) -> Result<Since> {
        let mut since = Since { entries: 0, opened: BTreeSet::new(), searches: 0 };
        ledger::scan(&self.vault_dir(), |scanned| -> Result<(), LedgerError> {
            if scanned.position.index < from {
                return Ok(());
            }
            since.entries += 1;
            if let Ok(Body::GrantUsed { opened, searches, .. }) = Entry::decode(scanned.bytes).map(|e| e.body)
            {
                since.opened.extend(opened.iter().map(|(e, _)| *e));
                since.searches += u64::from(searches);
            }
            Ok(())
        })?;
        Ok(since)
    }

    /// Drills one taking, and judges it.
    pub(super) async fn drill(&mut self, taking: Taking) -> Result<RoomReport> {
        let mut report = match taking {
            Taking::Door => self.hold(taking, Room::Door).await,
            Taking::Reader => self.hold(taking, Room::Reader).await,
            Taking::Core | Taking::CoreWithGrants => self.hold(taking, Room::Core).await,
            Taking::Courier => self.hold(taking, Room::Courier).await,
            Taking::Session => self.steal_a_session().await,
            Taking::Backup => self.steal_a_backup().await,
            Taking::Disk => self.steal_the_disk().await,
        }?;
        verdict::judge(&mut report);
        Ok(report)
    }

    /// Each room is visited by its own tenth of the phones, five at least.
    fn group(&self) -> usize {
        (self.fleet.truth.len() / 10).max(4)
    }

    async fn hold(&mut self, taking: Taking, room: Room) -> Result<RoomReport> {
        let mut report = RoomReport::of(taking, self.fleet.truth.len() as u64);
        let visitors = self.fleet.take(self.group());
        let visiting: HashSet<EnrolmentId> = visitors.iter().filter_map(Phone::enrolment).collect();
        if room == Room::Core {
            // Real warrants lie in the database: for some who come meanwhile, and for some who don't.
            let mut locked: Vec<EnrolmentId> = visiting.iter().take(LOCKED / 2).copied().collect();
            locked.extend(self.fleet.at_home(LOCKED / 2));
            let secrets =
                CommandSecrets { message: Some("Please ring the desk".into()), ..Default::default() };
            let kind = OrderKind::Command { command: Command::DeviceLock };
            self.admin()?.order(kind, locked, Some(&encode(&secrets))).await?;
        }
        if room == Room::Core {
            // Forgeries of one minute are told once and then summed up: each drill begins a minute of its own.
            self.house.give_back(Room::Vault)?;
            self.come_back().await?;
        }
        let mut newcomer = None;
        if matches!(room, Room::Reader | Room::Door) {
            let admin = self.admins.first().context("there is no administrator")?;
            newcomer = Some(self.fleet.newcomer(admin).await?);
            report.phones_enrolling = 1;
        }
        let to_wake = if room == Room::Courier { self.fleet.at_home(WOKEN) } else { vec![] };
        let sign_ins = if taking == Taking::CoreWithGrants { GRANTS.len() } else { 0 };
        let from = self.ledger_since(0)?.entries;
        let acts_before = self.installing.acts(&self.vault_dir())?;
        let tip = Tip {
            enrolments: self.fleet.truth.enrolments(),
            guesses: (0..GUESSES).map(|n| format!("+44770090{n:04}")).collect(),
            secrets: self
                .house
                .config
                .root_key_file()?
                .into_iter()
                .chain([self.folder.path().join("identity")])
                .collect(),
            tcp_port: self.outside.tcp_port,
            udp_port: self.outside.udp.local_addr()?.port(),
            unix_path: self.outside.unix_path.clone(),
            canary: self.outside.canary.clone(),
            sign_ins,
            patience_s: self.seconds,
        };
        let mut held = Occupation::begin(&self.house, room, &self.intruder, &tip, visiting)?;
        let visit = Visit::default();
        let over = visit.over.clone();
        let (network, truth) = (self.fleet.network(), &self.fleet.truth);
        let ((), came, (), paid) = tokio::join!(
            async {
                held.hear(truth, self.seconds).await;
                over.store(true, Ordering::SeqCst);
                held.hear_its_end(truth).await;
            },
            visit.run(visitors),
            async {
                if let Some(newcomer) = newcomer.as_mut() {
                    newcomer.enrol(&network, &over).await;
                }
            },
            administrators(&mut self.admins, sign_ins, &to_wake, &over),
        );
        let (came, paid) = (came?, paid?);
        let (loot, records, unheld) = held.end(truth)?;
        report.broken.extend(unheld);
        report.broken.extend(self.outside.broken());
        if !loot.over {
            report.broken.push("the intruder did not come to its end, so not everything was tried".into());
        }
        report.phones_wiped = wiped(&came);
        report.phones_dropped = dropped(&came);
        report.phones_connected = came.len() as u64;
        report.phones_heard = loot.passing.len() as u64;
        report.records_read = records.len() as u64;
        report.records_paid_for = paid;
        report.push_tokens_read = loot.push_tokens.len() as u64;
        report.phones_pushed = to_wake.len() as u64;
        report.certificates_taken = loot.minted.len() as u64;
        if let Some(at_ms) = loot.forgery_at_ms {
            let kinds: &[&str] = match room {
                Room::Core => &["forged_orders"],
                _ => &["challenge_reused"],
            };
            report.alarm_ms = self.hooks.after(at_ms, kinds).await;
        }
        self.fleet.put_back(came);
        let (wiped_till_now, harmed) = (self.fleet.wiped(), self.fleet.harmed());
        self.come_back().await.with_context(|| format!("the {} was given back to itself", room.name()))?;
        if let (Room::Door, Some(newcomer), 1..) = (room, newcomer.as_mut(), report.certificates_taken) {
            // Whose certificate was taken comes to a house that nobody holds, with a key of its own.
            let at_ms = SystemClock.now_ms();
            if newcomer.once(&network).await {
                report.broken.push("a link that the intruder spent was spent again".into());
            }
            report.alarm_ms = self.hooks.after(at_ms, &["challenge_reused"]).await;
        }
        // What the intruder may have left behind, for those that came and for those that did not.
        let all = self.fleet.truth.len();
        self.fleet.sweep(all).await?;
        report.phones_harmed_later = self.fleet.harmed() - harmed;
        report.phones_wiped += self.fleet.wiped() - wiped_till_now;
        let since = self.ledger_since(from)?;
        report.ledger_entries = since.entries;
        let acts = self.installing.acts(&self.vault_dir())?;
        report.installed_within_cap = acts.within - acts_before.within;
        report.installed_beyond_cap = acts.beyond - acts_before.beyond;
        // A search is paid for and noted as such; which phones it showed only core knows.
        report.records_in_ledger = since.opened.len() as u64 + since.searches;
        report.attempts = loot.attempts;
        note(&mut report);
        Ok(report)
    }

    /// Until the house serves administrators and phones again.
    pub(super) async fn come_back(&mut self) -> Result<()> {
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            let health = self.admin()?.text("/api/v1/ledger/head").await;
            let sweep = if health.is_ok() { self.fleet.sweep(1).await } else { Ok(0) };
            if health.is_ok() && sweep.is_ok() {
                return Ok(());
            }
            if tokio::time::Instant::now() > until {
                health?;
                sweep?;
                bail!("the house did not come back");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Three administrators: each of the later two joins by those who were there.
async fn people(first: Admin) -> Result<Vec<Admin>> {
    let mut all = vec![first];
    while all.len() < GRANTS.len() {
        let first = all.first().context("there is no administrator")?;
        let keys: Vec<_> = all.iter().map(Admin::signs_with).take(2).collect();
        let key = first.add_person(&keys, Role::Administrator, None).await?;
        let next = first.beside(key);
        all.push(next);
    }
    Ok(all)
}

/// All that a grant can cover.
pub(super) fn covered() -> Vec<Compartment> {
    let never = [Compartment::Push, Compartment::Escrow, Compartment::Secret];
    Compartment::ALL.into_iter().filter(|c| !never.contains(c)).collect()
}

/// Administrators sign in at whoever listens; gives for how many records and searches their grants pay.
async fn sign_in(admins: &mut [Admin], count: usize, over: &AtomicBool) -> Result<u64> {
    let mut paid = 0;
    for (admin, (records, searches)) in admins.iter_mut().zip(GRANTS).take(count) {
        loop {
            let tried = admin.sign_in_for(records, searches, covered());
            match tokio::time::timeout(Duration::from_secs(3), tried).await {
                Ok(Ok(_)) => {
                    paid += u64::from(records) + u64::from(searches);
                    break;
                }
                _ if over.load(Ordering::SeqCst) => bail!("an administrator could not sign in"),
                _ => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }
    Ok(paid)
}

/// What administrators do meanwhile: sign in where that is wanted, and have phones woken while the courier is held;
/// then somebody forges orders, so that there is an alarm to be kept back. Gives what the grants pay for.
async fn administrators(
    admins: &mut [Admin],
    sign_ins: usize,
    woken: &[EnrolmentId],
    over: &AtomicBool,
) -> Result<u64> {
    if !woken.is_empty() {
        // The courier is the intruder by then.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let admin = admins.first().context("there is no administrator")?;
        admin.ask(&["SecurityInfo"], woken).await?;
        let stranger = Ed25519Secret::from_seed([7; 32]).context("a key")?;
        let stranger = admin.beside(stranger);
        for _ in 0..4 {
            let group = Group::new("nowhere")?;
            let kind = OrderKind::Invite { group, valid_ms: model::clock::DAY_MS };
            if stranger.order(kind, vec![], Some(b"\xa0")).await.is_ok() {
                bail!("a stranger's order was accepted");
            }
        }
    }
    sign_in(admins, sign_ins, over).await
}

fn note(r: &mut RoomReport) {
    let count = |n: u64, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
    if r.phones_heard > 0 {
        r.notes.push(format!(
            "heard what {} said",
            count(r.phones_heard, "connecting phone", "connecting phones")
        ));
    }
    if r.room == Taking::Courier {
        r.notes.push(format!("{} push tokens, of {} to be woken", r.push_tokens_read, r.phones_pushed));
    }
    if r.installed_within_cap > 0 {
        let phones = count(r.installed_within_cap, "phone", "phones");
        r.notes.push(format!(
            "had a mild profile installed on {phones}, by a standing order and within its cap"
        ));
    }
    if r.certificates_taken > 0 {
        r.notes.push(format!(
            "took {} as it passed",
            count(r.certificates_taken, "new phone's certificate", "new phones' certificates")
        ));
    }
}
