//! Unpacks a .gz with the decompressor that `assess` uses, in blocks as large as its, and throws it away:
//! the floor for `bench/gzip-speed.sh`.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::process::ExitCode;

/// As large as those that `assess` unpacks into: small ones cost a copy of the window each.
const BLOCK_BYTES: usize = 512 * 1024;

fn unpack() -> io::Result<u64> {
    let path = std::env::args_os().nth(1).ok_or_else(|| io::Error::other("name a .gz"))?;
    let file = BufReader::with_capacity(1 << 16, File::open(path)?);
    let mut unpacked = flate2::bufread::MultiGzDecoder::new(file);
    let mut block = vec![0u8; BLOCK_BYTES];
    let mut bytes = 0;
    loop {
        match unpacked.read(&mut block)? {
            0 => return Ok(bytes),
            n => bytes += n as u64,
        }
    }
}

fn main() -> ExitCode {
    match unpack() {
        Ok(n) => {
            println!("{n} bytes");
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("inflate: {e}");
            ExitCode::from(2)
        }
    }
}
