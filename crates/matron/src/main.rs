//! The binary: command line, configuration, supervisor, wiring.
fn main() {}
