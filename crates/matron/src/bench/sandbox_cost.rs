//! What the sandbox costs: the same load by turns on a house with it and one without, so that what else the machine
//! does falls on both.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};
use serde::Serialize;
use simulate::Phone;
use simulate::load::{self, LoadOptions};
use tokio::runtime::Runtime;

use super::scratch::Scratch;
use super::{BenchArgs, WITHOUT_SANDBOX, enrolled, say};

/// How often each house has its turn.
const TURNS: u64 = 16;

/// One house, and what it came to.
struct Side {
    house: Scratch,
    phones: Vec<Phone>,
    found: Found,
}

/// Over all turns.
#[derive(Debug, Default, Serialize)]
struct Found {
    operations: u64,
    seconds: f64,
    /// Check-ins a second, turn by turn.
    per_s: Vec<f64>,
    /// CPU time of all processes a check-in, in microseconds, turn by turn.
    cpu_us_of_all: Vec<f64>,
    /// CPU time a check-in, in microseconds, by process.
    cpu_us: BTreeMap<String, f64>,
}

/// With, without, and the one by the other.
#[derive(Debug, Serialize)]
struct Cost {
    with: Found,
    without: Found,
    /// CPU time of all processes a check-in, with by without: the median of the turns, and the quartiles.
    cpu_ratio: [f64; 3],
    /// Check-ins a second, the same.
    rate_ratio: [f64; 3],
}

async fn turn(side: &mut Side, options: LoadOptions) -> Result<()> {
    load::idle(&mut side.phones, LoadOptions { for_ms: 100, ..options }).await;
    let before = side.house.cpu_us();
    let report = load::idle(&mut side.phones, options).await;
    if report.operations == 0 || report.errors > 0 {
        bail!("'{}' came to nothing: {:?}", report.name, report.examples);
    }
    let mut all = 0;
    for (process, used) in side.house.cpu_us() {
        let spent = used.saturating_sub(before.get(&process).copied().unwrap_or(0));
        all += spent;
        *side.found.cpu_us.entry(process).or_default() += spent as f64;
    }
    side.found.operations += report.operations;
    side.found.seconds += report.seconds;
    side.found.per_s.push(report.per_s);
    side.found.cpu_us_of_all.push(all as f64 / report.operations as f64);
    Ok(())
}

/// First quartile, median, third quartile of what one came to by the other in the same turn.
fn ratio(with: &[f64], without: &[f64]) -> [f64; 3] {
    let mut by_turn: Vec<f64> = with.iter().zip(without).map(|(w, o)| w / o).collect();
    by_turn.sort_by(f64::total_cmp);
    [1, 2, 3].map(|n| by_turn.get(by_turn.len() * n / 4).copied().unwrap_or(f64::NAN))
}

fn finished(side: Side) -> Found {
    let mut found = side.found;
    let operations = found.operations as f64;
    found.cpu_us.values_mut().for_each(|us| *us /= operations);
    found
}

/// `matron bench --sandbox-cost`.
pub(super) fn measure(args: &BenchArgs, dir: &Path, runtime: &Runtime) -> Result<()> {
    let side = |name: &str, settings: Vec<String>| -> Result<Side> {
        say(&format!("a house {name} the sandbox"));
        let dir = dir.join(name);
        std::fs::create_dir_all(&dir)?;
        let house = Scratch::start(&dir, settings)?;
        let (_, phones, _) = runtime.block_on(enrolled(args, &house))?;
        Ok(Side { house, phones, found: Found::default() })
    };
    let mut with = side("with", Vec::new())?;
    let mut without = side("without", vec![WITHOUT_SANDBOX.to_owned()])?;
    let options =
        LoadOptions { connections: args.connections, for_ms: (args.seconds * 1000 / TURNS).max(250) };
    say("idle check-ins, by turns");
    runtime.block_on(async {
        for n in 0..TURNS {
            if n % 2 == 0 {
                turn(&mut with, options).await?;
                turn(&mut without, options).await?;
            } else {
                turn(&mut without, options).await?;
                turn(&mut with, options).await?;
            }
        }
        anyhow::Ok(())
    })?;
    let (with, without) = (finished(with), finished(without));
    let cost = Cost {
        cpu_ratio: ratio(&with.cpu_us_of_all, &without.cpu_us_of_all),
        rate_ratio: ratio(&with.per_s, &without.per_s),
        with,
        without,
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&cost)?);
    } else {
        print(&cost);
    }
    Ok(())
}

fn print(cost: &Cost) {
    println!("CPU an idle check-in, µs");
    println!("{:<12}{:>10}{:>10}{:>10}", "", "with", "without", "more");
    let mut sums = (0.0, 0.0);
    for (process, with) in &cost.with.cpu_us {
        let without = cost.without.cpu_us.get(process).copied().unwrap_or(0.0);
        sums = (sums.0 + with, sums.1 + without);
        println!("{process:<12}{with:>10.2}{without:>10.2}{:>10.2}", with - without);
    }
    println!("{:<12}{:>10.2}{:>10.2}{:>10.2}", "together", sums.0, sums.1, sums.0 - sums.1);
    let [low, middle, high] = cost.cpu_ratio;
    println!("CPU, with by without: {middle:.3} (half of the turns between {low:.3} and {high:.3})");
    let [low, middle, high] = cost.rate_ratio;
    println!("check-ins a second, with by without: {middle:.3} ({low:.3} to {high:.3})");
}
