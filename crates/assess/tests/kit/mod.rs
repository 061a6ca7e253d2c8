//! What the tests of reading share: made-up logs, packers, and the command itself.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may fail loudly")]
#![allow(dead_code, reason = "not every test file needs all of it")]

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use assess::cli::run_words;
use serde_json::Value;

/// Runs with `--json` to standard output; exit code and report.
pub fn run(args: &[&str]) -> (u8, Value) {
    run_with(args, &mut std::io::empty())
}

/// The same, with something on standard input.
pub fn run_with(args: &[&str], stdin: &mut (dyn Read + Send)) -> (u8, Value) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let words = ["assess", "--quiet", "--json"].iter().chain(args).map(|s| (*s).into());
    let code = run_words(words, stdin, &mut out, &mut err);
    let v = serde_json::from_slice(&out).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&err)));
    (code, v)
}

/// A line of layout A, `minute` minutes into 16 May 2025 by the appliance's clock.
pub fn line(minute: u32, client: &str, request: &str, status: u16, bytes: u64) -> String {
    format!(
        "{client}:5000 - - 2025-05-16--{:02}-{:02}-00 \"{request} HTTP/1.1\" {status} {bytes} \"-\" \"UA\" 9\n",
        minute / 60,
        minute % 60
    )
}

/// An inert line with the form of the flaw of 2025.
pub fn exploit(minute: u32) -> String {
    line(minute, "203.0.113.7", "GET /mifs/rs/api/v2/featureusage?format=%24%7BINERT%7D", 400, 168)
}

/// A day of ordinary traffic, a line a minute, with `extra` put in by time.
pub fn day(extra: &[String]) -> String {
    let mut all: Vec<String> = (0..1440)
        .map(|m| line(m, &format!("10.0.{}.{}", m % 7, m % 200), "GET /mifs/c/i/mdm.html", 200, 300))
        .collect();
    all.extend(extra.iter().cloned());
    all.sort_by(|a, b| a.split(' ').nth(3).cmp(&b.split(' ').nth(3)));
    all.concat()
}

pub fn put(dir: &Path, name: &str, bytes: impl AsRef<[u8]>) -> String {
    let p = dir.join(name);
    fs::write(&p, bytes).unwrap();
    p.to_str().unwrap().to_owned()
}

pub fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    e.write_all(bytes).unwrap();
    e.finish().unwrap()
}

pub fn bz2(bytes: &[u8]) -> Vec<u8> {
    let mut e = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    e.write_all(bytes).unwrap();
    e.finish().unwrap()
}

pub fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut e = liblzma::write::XzEncoder::new(Vec::new(), 1);
    e.write_all(bytes).unwrap();
    e.finish().unwrap()
}

pub fn zst(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 1).unwrap()
}

/// A tar of `(name, type flag, body)`.
pub fn tar(members: &[(&str, u8, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, flag, body) in members {
        out.extend_from_slice(&assess::input::tar::header(name, body.len() as u64, *flag, 0));
        out.extend_from_slice(body);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

/// A zip of `(name, body)`, deflated.
pub fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut z = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, body) in members {
        z.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        z.write_all(body).unwrap();
    }
    z.finish().unwrap().into_inner()
}

pub fn utf16(text: &str, little: bool) -> Vec<u8> {
    std::iter::once(0xfeff)
        .chain(text.encode_utf16())
        .flat_map(|u: u16| if little { u.to_le_bytes() } else { u.to_be_bytes() })
        .collect()
}

/// The steps of all chains.
pub fn steps(v: &Value) -> Vec<&Value> {
    v["chains"].as_array().unwrap().iter().flat_map(|c| c["steps"].as_array().unwrap()).collect()
}

/// The input whose name ends so.
pub fn input<'v>(v: &'v Value, ends: &str) -> &'v Value {
    v["inputs"]
        .as_array()
        .unwrap()
        .iter()
        .find(|i| i["name"].as_str().unwrap().ends_with(ends))
        .unwrap_or_else(|| panic!("no input ends with {ends}: {}", v["inputs"]))
}
