//! Writes a made-up corpus: `cargo run --release --example corpus -- --bytes 4GB --out a.log`.
//! `--truth FILE` names every planted line, its kind and the least grade it must get.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use assess::corpus::{Plan, write};
use assess::finding::Layout;
use clap::Parser;

#[derive(Parser)]
struct Options {
    /// Size, such as 4GB or 600MB
    #[arg(long, default_value = "100MB")]
    bytes: String,
    /// Seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// a, b, common, combined or json
    #[arg(long, default_value = "a")]
    layout: String,
    /// One line in so many is an attack line
    #[arg(long, default_value_t = 10_000)]
    one_in: u64,
    /// File to write
    #[arg(long)]
    out: PathBuf,
    /// File for the truth: line number, kind, least grade
    #[arg(long)]
    truth: Option<PathBuf>,
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

fn go(o: &Options) -> Result<(), String> {
    let bytes = size(&o.bytes).ok_or("--bytes: try 4GB")?;
    let layout = match o.layout.as_str() {
        "a" => Layout::EpmmAccess,
        "b" => Layout::EpmmRequest,
        "common" => Layout::Common,
        "combined" => Layout::Combined,
        "json" => Layout::Json,
        _ => return Err("--layout: a, b, common, combined or json".into()),
    };
    let plan = Plan {
        bytes,
        seed: o.seed,
        layout,
        one_in: o.one_in,
        lines_a_day: (bytes / 150 / 30).max(1),
        ..Plan::default()
    };
    let mut out = BufWriter::with_capacity(1 << 20, File::create(&o.out).map_err(|e| e.to_string())?);
    let truth = write(&plan, &mut out).map_err(|e| e.to_string())?;
    out.flush().map_err(|e| e.to_string())?;
    println!("{} lines, {} bytes, {} attack lines", truth.lines, truth.bytes, truth.planted.len());
    if let Some(t) = &o.truth {
        let mut f = BufWriter::new(File::create(t).map_err(|e| e.to_string())?);
        for p in &truth.planted {
            writeln!(f, "{}\t{}\t{:?}", p.line, p.kind, p.least).map_err(|e| e.to_string())?;
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    match go(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("corpus: {e}");
            ExitCode::from(2)
        }
    }
}
