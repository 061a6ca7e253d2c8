//! The drill's phones: enrolled for real, and sent to the house in groups.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use model::{EnrolmentId, SystemClock};
use simulate::load::{self, LoadOptions};
use simulate::{KeyPool, Network, Person, Phone, State, Temper};
use tokio::task::JoinSet;

use super::truth::Truth;
use crate::bench::admin::Admin;

/// The seed of the fleet and its people.
const SEED: u64 = 41;
/// How many enrol at once, and how many talk at once.
const AT_ONCE: usize = 32;
/// No conversation takes longer, whoever holds the door.
const TALK: Duration = Duration::from_secs(10);

/// The phones, and what is true of them.
pub(crate) struct Fleet {
    phones: Vec<Phone>,
    pub(crate) truth: Truth,
    network: Network,
    keys: KeyPool,
    /// The next person to be invited.
    next: u32,
}

fn fault(e: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("{e}")
}

fn person(index: u32) -> Result<Person> {
    simulate::people(SEED, index + 1).pop().context("a person")
}

impl Fleet {
    /// Invites, enrols, and answers the first inventory.
    pub(crate) async fn enrol(admin: &Admin, ca_pem: &[u8], phones: u32) -> Result<Self> {
        let network = Network::trusting(ca_pem).map_err(fault)?;
        let people = simulate::people(SEED, phones);
        let mut links = Vec::new();
        for p in &people {
            links.push(admin.invite(&p.name, &p.email).await?);
        }
        let keys = KeyPool::made(phones.min(64) as usize, 2).map_err(fault)?;
        let clock = Arc::new(SystemClock);
        let (report, enrolled) = load::enrol(links, SEED, &network, &keys, clock, AT_ONCE).await;
        if enrolled.len() != people.len() {
            bail!("{} of {phones} phones enrolled: {:?}", enrolled.len(), report.examples);
        }
        let mut fleet = Self { phones: enrolled, truth: Truth::default(), network, keys, next: phones };
        for phone in &fleet.phones {
            let person = people.get(phone.index() as usize).context("a phone's person")?;
            fleet.truth.add(phone, person)?;
        }
        let all = fleet.phones.len();
        fleet.sweep(all).await?;
        Ok(fleet)
    }

    /// So many phones that are still managed, from the end: each group visits one room.
    pub(crate) fn take(&mut self, count: usize) -> Vec<Phone> {
        self.phones.sort_by_key(|p| (p.state() != State::Enrolled, p.index()));
        let managed = self.phones.iter().take_while(|p| p.state() == State::Enrolled).count();
        self.phones.drain(managed.saturating_sub(count)..managed).collect()
    }

    /// They come back; those that were just used are the last to be used again.
    pub(crate) fn put_back(&mut self, phones: Vec<Phone>) {
        self.phones.splice(0..0, phones);
    }

    /// Ids of phones that are not among those away.
    pub(crate) fn at_home(&self, count: usize) -> Vec<EnrolmentId> {
        self.phones
            .iter()
            .filter(|p| p.state() == State::Enrolled)
            .filter_map(Phone::enrolment)
            .take(count)
            .collect()
    }

    /// How many of those at home are wiped or dropped their management.
    pub(crate) fn harmed(&self) -> u64 {
        wiped(&self.phones) + dropped(&self.phones)
    }

    /// How many of those at home are wiped.
    pub(crate) fn wiped(&self) -> u64 {
        wiped(&self.phones)
    }

    pub(crate) fn network(&self) -> (Network, KeyPool) {
        (self.network.clone(), self.keys.clone())
    }

    /// Every phone here talks once, to obey what waits; gives how many did.
    pub(crate) async fn sweep(&mut self, most: usize) -> Result<usize> {
        let phones = self.take(most);
        let count = phones.len();
        let visit = Visit::default();
        visit.over.store(true, Ordering::SeqCst);
        let back = visit.run(phones).await?;
        self.put_back(back);
        let talked = visit.quiet.load(Ordering::SeqCst);
        if talked * 10 < count * 9 {
            bail!("only {talked} of {count} phones were answered by a house that nobody holds");
        }
        Ok(talked)
    }

    /// Invites one more, who has not enrolled.
    pub(crate) async fn newcomer(&mut self, admin: &Admin) -> Result<Newcomer> {
        let index = self.next;
        self.next += 1;
        let person = person(index)?;
        let link = admin.invite(&person.name, &person.email).await?;
        Ok(Newcomer { phone: Phone::new(SEED, index), link })
    }

    /// A load without commands, for a while: the house at its daily work.
    pub(crate) async fn load(&mut self, seconds: u64) -> u64 {
        let options = LoadOptions { connections: 32, for_ms: seconds * 1000 };
        self.phones.sort_by_key(|p| (p.state() != State::Enrolled, p.index()));
        load::idle(&mut self.phones, options).await.operations
    }
}

/// How many are wiped among these.
pub(crate) fn wiped(phones: &[Phone]) -> u64 {
    phones.iter().filter(|p| p.state() == State::Erased).count() as u64
}

/// How many dropped their management.
pub(crate) fn dropped(phones: &[Phone]) -> u64 {
    phones.iter().filter(|p| p.state() == State::CheckedOut).count() as u64
}

/// Someone with a link, and a phone that has not enrolled.
pub(crate) struct Newcomer {
    phone: Phone,
    link: String,
}

impl Newcomer {
    /// Tries to enrol until it is over or came to it.
    pub(crate) async fn enrol(&mut self, way: &(Network, KeyPool), over: &AtomicBool) {
        while !over.load(Ordering::SeqCst) && !self.once(way).await {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    /// Tries to enrol once; whether it came to it.
    pub(crate) async fn once(&mut self, (network, keys): &(Network, KeyPool)) -> bool {
        let tried = self.phone.enrol(&self.link, network, keys, &SystemClock);
        matches!(tokio::time::timeout(TALK, tried).await, Ok(Ok(_)))
    }
}

/// A visit of some phones, over and over until it is over.
#[derive(Debug, Default, Clone)]
pub(crate) struct Visit {
    pub(crate) over: Arc<AtomicBool>,
    quiet: Arc<AtomicUsize>,
}

impl Visit {
    /// Each phone connects and talks, again and again; at least once.
    pub(crate) async fn run(&self, phones: Vec<Phone>) -> Result<Vec<Phone>> {
        let mut waiting = phones.into_iter();
        let (mut running, mut back) = (JoinSet::new(), Vec::new());
        loop {
            while running.len() < AT_ONCE {
                let Some(phone) = waiting.next() else { break };
                running.spawn(self.clone().of(phone));
            }
            match running.join_next().await {
                Some(phone) => back.push(phone.context("a phone's task died")?),
                None => return Ok(back),
            }
        }
    }

    async fn of(self, mut phone: Phone) -> Phone {
        loop {
            let talk = async {
                let mut connection = phone.connect().await.ok()?;
                phone.converse(&mut connection, Temper::obliging()).await.ok()
            };
            if let Ok(Some(_)) = tokio::time::timeout(TALK, talk).await {
                self.quiet.fetch_add(1, Ordering::SeqCst);
            }
            if self.over.load(Ordering::SeqCst) || phone.state() != State::Enrolled {
                phone.rest();
                return phone;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
