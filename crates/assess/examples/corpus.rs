//! Writes a made-up corpus: `cargo run --release --example corpus -- --bytes 4GB --out a.log`.
//! `--truth FILE` names every planted line, its kind and the least grade it must get; `--check` reads
//! the corpus back as `assess` does and compares. `--lines N` instead of a size writes N lines;
//! `--every DIR` does so and checks for every layout, one file after the other.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use assess::corpus::{EVERY, Plan, Proxy, Truth, check, write};
use assess::finding::Layout;
use clap::Parser;

#[derive(Parser)]
struct Options {
    /// Size, such as 4GB or 600MB
    #[arg(long, default_value = "100MB")]
    bytes: String,
    /// So many lines, whatever their size
    #[arg(long)]
    lines: Option<u64>,
    /// Seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// a, b, common, combined, custom, iis, cloudfront, alb, haproxy, json or sentry
    #[arg(long, default_value = "a")]
    layout: String,
    /// What stands between clients and the appliance: none, forwarding or hiding
    #[arg(long, default_value = "none")]
    proxy: String,
    /// One line in so many is an attack line
    #[arg(long, default_value_t = 10_000)]
    one_in: u64,
    /// File to write
    #[arg(long, required_unless_present = "every")]
    out: Option<PathBuf>,
    /// File for the truth: line number, kind, least grade
    #[arg(long)]
    truth: Option<PathBuf>,
    /// Read it back and compare with the truth
    #[arg(long)]
    check: bool,
    /// Write, check and remove one corpus for every layout and proxy in this folder
    #[arg(long)]
    every: Option<PathBuf>,
}

fn size(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text.get(digits.len()..)?.to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

fn make(plan: &Plan, out: &Path) -> Result<Truth, String> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(out).map_err(|e| e.to_string())?);
    let truth = write(plan, &mut file).map_err(|e| e.to_string())?;
    file.flush().map_err(|e| e.to_string())?;
    println!("{} lines, {} bytes, {} attack lines", truth.lines, truth.bytes, truth.planted.len());
    Ok(truth)
}

/// Prints what came of it; false when something was missed or a line was called more than it is.
fn checked(plan: &Plan, truth: &Truth, path: &Path) -> Result<bool, String> {
    let c = check(plan, truth, path)?;
    println!(
        "{:?}, {:?} proxy: planted {} of {} kinds, found {}; {} benign lines, {} of them probed, {} above; verdict {:?}",
        plan.layout,
        plan.proxy,
        c.planted,
        c.kinds,
        c.found,
        c.benign,
        c.benign_probed,
        c.false_alarms.len(),
        c.verdict
    );
    for line in c
        .missed
        .iter()
        .map(|m| format!("missed: {m}"))
        .chain(c.false_alarms.iter().map(|m| format!("false alarm: {m}")))
    {
        println!("  {line}");
    }
    if c.uncited > 0 {
        println!(
            "  {} matched lines were only counted, {} of them more than probes",
            c.uncited, c.uncited_serious
        );
    }
    Ok(c.found == c.planted && c.false_alarms.is_empty() && c.uncited_serious == 0)
}

fn go(o: &Options) -> Result<bool, String> {
    let bytes = size(&o.bytes).ok_or("--bytes: try 4GB")?;
    let layout = match o.layout.as_str() {
        "a" => Layout::EpmmAccess,
        "b" => Layout::EpmmRequest,
        "common" => Layout::Common,
        "combined" => Layout::Combined,
        "custom" => Layout::Custom,
        "iis" => Layout::W3c,
        "cloudfront" => Layout::CloudFront,
        "alb" => Layout::Alb,
        "haproxy" => Layout::Haproxy,
        "json" => Layout::Json,
        "sentry" => Layout::SentryAudit,
        _ => {
            return Err(
                "--layout: a, b, common, combined, custom, iis, cloudfront, alb, haproxy, json or sentry"
                    .into(),
            );
        }
    };
    let plan = Plan {
        bytes: if o.lines.is_some() { u64::MAX } else { bytes },
        lines: o.lines.unwrap_or(u64::MAX),
        seed: o.seed,
        layout,
        one_in: o.one_in,
        lines_a_day: (o.lines.unwrap_or(bytes / 150) / 30).max(1),
        ..Plan::default()
    };
    if let Some(dir) = &o.every {
        let mut good = true;
        for (i, (layout, proxy)) in EVERY.iter().copied().enumerate() {
            let plan = Plan { layout, proxy, seed: o.seed + i as u64, ..plan.clone() };
            let path = dir.join("corpus.log");
            let truth = make(&plan, &path)?;
            good &= checked(&plan, &truth, &path)?;
            std::fs::remove_file(&path).map_err(|e| e.to_string())?;
        }
        return Ok(good);
    }
    let Some(out) = &o.out else { return Err("--out: name a file".into()) };
    let proxy = match o.proxy.as_str() {
        "none" => Proxy::None,
        "forwarding" => Proxy::Forwarding,
        "hiding" => Proxy::Hiding,
        _ => return Err("--proxy: none, forwarding or hiding".into()),
    };
    let plan = Plan { proxy, ..plan };
    let truth = make(&plan, out)?;
    if let Some(t) = &o.truth {
        let mut f = BufWriter::new(File::create(t).map_err(|e| e.to_string())?);
        for p in &truth.planted {
            writeln!(f, "{}\t{}\t{:?}", p.line, p.kind, p.least).map_err(|e| e.to_string())?;
        }
        f.flush().map_err(|e| e.to_string())?;
    }
    if o.check { checked(&plan, &truth, out) } else { Ok(true) }
}

fn main() -> ExitCode {
    match go(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(e) => {
            eprintln!("corpus: {e}");
            ExitCode::from(2)
        }
    }
}
