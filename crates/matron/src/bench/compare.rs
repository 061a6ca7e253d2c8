//! A load on the house beside the same load on a bare server: the same phones and connections, in slices
//! by turns, so that what else the machine does falls on both.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde::Serialize;
use simulate::Phone;
use simulate::load::{self, LoadOptions, LoadReport};

use super::bare::{Bare, Running};
use super::scratch::Scratch;

/// How often house and bare server take turns.
const TURNS: u64 = 4;

/// What one side came to over all its slices.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Side {
    pub(crate) operations: u64,
    pub(crate) errors: u64,
    pub(crate) seconds: f64,
    pub(crate) per_s: f64,
    /// Of the last slice.
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    /// CPU time an operation, in microseconds, by process.
    pub(crate) cpu_us: BTreeMap<String, f64>,
}

impl Side {
    fn add(&mut self, load: &LoadReport, spent_us: impl IntoIterator<Item = (String, u64)>) {
        self.operations += load.operations;
        self.errors += load.errors;
        self.seconds += load.seconds;
        (self.p50_us, self.p99_us) = (load.latency.p50_us, load.latency.p99_us);
        *self.cpu_us.entry("phones".into()).or_default() += load.client_cpu_s * 1e6;
        for (process, us) in spent_us {
            *self.cpu_us.entry(process).or_default() += us as f64;
        }
    }

    fn finish(&mut self) {
        let operations = self.operations as f64;
        self.per_s = operations / self.seconds;
        self.cpu_us.values_mut().for_each(|us| *us /= operations);
    }
}

/// House and bare server, and the one's share of the other.
#[derive(Debug, Serialize)]
pub(crate) struct Compared {
    pub(crate) house: Side,
    pub(crate) bare: Side,
    pub(crate) share: f64,
}

/// Idle check-ins on kept connections beside rustls and hyper; or, `cold`, a full handshake with the
/// phone's certificate for each beside rustls alone.
pub(crate) async fn beside_bare(
    house: &Scratch,
    phones: &mut Vec<Phone>,
    connections: usize,
    seconds: u64,
    cold: bool,
) -> Result<Compared> {
    let bare = Running::start(if cold { Bare::Rustls } else { Bare::Hyper }, &house.data())?;
    let mut sides = (Side::default(), Side::default());
    let for_ms = (seconds * 1000 / TURNS).max(500);
    let load = async |phones: &mut Vec<Phone>, for_ms| {
        let options = LoadOptions { connections, for_ms };
        if cold { load::cold(phones, options, false).await } else { load::idle(phones, options).await }
    };
    for turn in 0..TURNS {
        for at_bare in [turn % 2 == 0, turn % 2 != 0] {
            let to = at_bare.then_some(bare.address);
            phones.iter_mut().for_each(|p| p.dial(to));
            load(phones, 200).await;
            let before = (house.cpu_us(), bare.cpu_us());
            let report = load(phones, for_ms).await;
            if report.operations == 0 {
                bail!("'{}' came to nothing: {:?}", report.name, report.examples);
            }
            if at_bare {
                let spent = bare.cpu_us().saturating_sub(before.1);
                sides.1.add(&report, [("bare".to_owned(), spent)]);
            } else {
                let spent = house.cpu_us().into_iter().map(|(room, used)| {
                    let earlier = before.0.get(&room).copied().unwrap_or(0);
                    (room, used.saturating_sub(earlier))
                });
                sides.0.add(&report, spent);
            }
        }
    }
    phones.iter_mut().for_each(|p| p.dial(None));
    sides.0.finish();
    sides.1.finish();
    let share = sides.0.per_s / sides.1.per_s;
    Ok(Compared { house: sides.0, bare: sides.1, share })
}
