//! `matron assess` on its own.

use std::io::{Write, stderr, stdin, stdout};

fn main() {
    let code = {
        let mut out = std::io::BufWriter::new(stdout().lock());
        let code = assess::cli::run_words(std::env::args_os(), &mut stdin(), &mut out, &mut stderr());
        let _ = out.flush();
        code
    };
    std::process::exit(i32::from(code));
}
