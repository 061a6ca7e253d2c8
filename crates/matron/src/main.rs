//! The binary: command line, configuration, supervisor, wiring.
//!
//! `matron serve` is the supervisor ([`serve`]): it holds no key, binds the listeners, and starts
//! five processes of this same binary ([`rooms`]), one a room. The rest of the command line speaks
//! to a running Matron through its HTTP API.

mod bench;
mod cli;
mod config;
mod rooms;
mod serve;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// Matron manages a hospital's phones.
#[derive(Debug, Parser)]
#[command(name = "matron", version, about, propagate_version = true)]
struct Matron {
    #[command(subcommand)]
    command: Command,
}

/// Where a server's configuration and data are.
#[derive(Debug, Clone, Args)]
pub(crate) struct Place {
    /// The data folder: keys, database, ledger.
    #[arg(long, env = "MATRON_DATA", default_value = "matron-data")]
    data: PathBuf,
    /// The configuration file (TOML). Absent: every key has its default.
    #[arg(long, env = "MATRON_CONFIG")]
    config: Option<PathBuf>,
    /// Overrides a key of the configuration, for example `phones.listen=0.0.0.0:8443`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs Matron: the supervisor and its five rooms.
    Serve(Place),
    /// The configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    #[command(flatten)]
    Administrator(cli::CliCommand),
    /// Measures a scratch Matron on this machine.
    Bench(bench::BenchArgs),
    /// Started by `serve`, never by hand.
    #[command(hide = true)]
    Room { room: rooms::Room },
    /// Started by the first `serve`, never by hand.
    #[command(hide = true)]
    Install { room: rooms::Room, step: rooms::Step, dir: PathBuf },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Reads the configuration as `serve` would and says what is wrong with it.
    Check(Place),
    /// Prints every key with the value in force, as TOML.
    Show(Place),
}

fn main() -> ExitCode {
    let done = match Matron::parse().command {
        Command::Serve(place) => serve::serve(&place),
        Command::Config(ConfigCommand::Check(place)) => config::check(&place),
        Command::Config(ConfigCommand::Show(place)) => config::show(&place),
        Command::Administrator(command) => return cli::run(command),
        Command::Bench(args) => bench::bench(&args),
        Command::Room { room } => rooms::run(room),
        Command::Install { room, step, dir } => rooms::install(room, step, &dir),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("matron: {e:#}");
            ExitCode::from(1)
        }
    }
}
