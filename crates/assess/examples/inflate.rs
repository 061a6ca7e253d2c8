//! Unpacks a .gz with the decompressor that `assess` uses and throws it away: the floor for
//! `bench/gzip-speed.sh`.

use std::io::BufReader;
use std::process::ExitCode;

fn main() -> ExitCode {
    let unpacked =
        std::env::args_os().nth(1).ok_or_else(|| std::io::Error::other("name a .gz")).and_then(|p| {
            let file = BufReader::with_capacity(1 << 16, std::fs::File::open(p)?);
            std::io::copy(&mut flate2::bufread::MultiGzDecoder::new(file), &mut std::io::sink())
        });
    match unpacked {
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
