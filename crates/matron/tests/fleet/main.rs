//! The main job end to end: the real binary, its five rooms, real TLS, a real database, phones that
//! speak Apple's protocol, and clients of other makers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod acme;
#[path = "../../src/bench/admin.rs"]
mod admin;
mod alarms;
mod apps;
mod authority;
mod backup;
mod balancer;
mod bodies;
mod changes;
mod clocks;
mod declared;
mod device_groups;
mod disks;
mod floods;
mod holder;
mod hung;
mod keeping;
mod keys;
mod limits;
mod matrix;
mod neighbours;
mod orders;
mod others;
mod push;
mod renewal;
mod restarts;
mod root;
mod routes;
mod sealed;
mod standing;
mod token;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{Clock, Command, CommandSecrets, EnrolmentId, SystemClock};
use order::{OrderKind, encode};
use serde_json::Value;
use simulate::{KeyPool, Network, Phone, Talk, Temper};
use testkit::house::House;

use admin::Admin;

/// A running house with its first administrator.
struct Ward {
    house: House,
    admin: Admin,
    network: Network,
    keys: KeyPool,
}

impl Ward {
    async fn open(settings: &[&str]) -> Self {
        Self::open_at(testkit::house::free().unwrap(), settings).await
    }

    async fn open_at(phones: std::net::SocketAddr, settings: &[&str]) -> Self {
        let house = House::start_at(env!("CARGO_BIN_EXE_matron"), phones, settings).unwrap();
        let admin = Admin::join(&house.administrators().to_string(), house.token()).await.unwrap();
        let network = Network::trusting(&std::fs::read(house.ca_pem()).unwrap()).unwrap();
        Self { house, admin, network, keys: KeyPool::made(4, 2).unwrap() }
    }

    async fn invite(&self, index: u32) -> String {
        let person = simulate::people(7, index + 1).pop().unwrap();
        self.admin.invite(&person.name, &person.email).await.unwrap()
    }

    /// An enrolled phone that has answered its first inventory.
    async fn phone(&self, index: u32) -> Phone {
        let mut phone = Phone::new(7, index);
        let link = self.invite(index).await;
        let enrolled = phone.enrol(&link, &self.network, &self.keys, &SystemClock).await.unwrap();
        let mut connection = enrolled.connection;
        phone.converse(&mut connection, Temper::obliging()).await.unwrap();
        phone
    }

    /// The phone comes and does what it is told, until there is nothing more.
    async fn obey(&self, phone: &mut Phone) -> Talk {
        let mut connection = phone.connect().await.unwrap();
        phone.converse(&mut connection, Temper::obliging()).await.unwrap()
    }

    async fn command(
        &self,
        command: Command,
        targets: &[EnrolmentId],
        secrets: &CommandSecrets,
    ) -> anyhow::Result<Value> {
        let kind = OrderKind::Command { command };
        self.admin.order(kind, targets.to_vec(), Some(&encode(secrets))).await.map(|(said, _)| said)
    }

    async fn device(&self, phone: EnrolmentId) -> Value {
        self.admin.call("GET", &format!("/api/v1/devices/{phone}"), None).await.unwrap()
    }
}

fn id(phone: &Phone) -> EnrolmentId {
    phone.enrolment().unwrap()
}

/// Tries until it holds, for at most 20 seconds.
async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds().await {
        assert!(Instant::now() < end, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Every file below a folder with what it holds. In a house that runs, one that took its name or went since it was
/// listed is left out.
fn files_below(dir: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    fn there<T>(path: &Path, looked: std::io::Result<T>) -> Option<T> {
        match looked {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            looked => Some(looked.unwrap_or_else(|e| panic!("{}: {e}", path.display()))),
        }
    }
    let (mut folders, mut files) = (vec![dir.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in there(&folder, std::fs::read_dir(&folder)).into_iter().flatten().flatten() {
            let path = entry.path();
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(path),
                false => files.extend(there(&path, std::fs::read(&path)).map(|bytes| (path, bytes))),
            }
        }
    }
    files
}

/// In which files below a folder the secret stands.
fn found(dir: &Path, secret: &[u8]) -> Vec<std::path::PathBuf> {
    let holds = |bytes: &[u8]| bytes.windows(secret.len()).any(|w| w == secret);
    files_below(dir).into_iter().filter(|(_, bytes)| holds(bytes)).map(|(path, _)| path).collect()
}

type Shared<T> = Arc<tokio::sync::Mutex<T>>;
