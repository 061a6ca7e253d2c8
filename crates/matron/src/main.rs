//! The binary: command line, configuration, supervisor, wiring.
//!
//! `matron serve` is the supervisor ([`serve`]): it holds no key, binds the listeners, and starts
//! five processes of this same binary ([`rooms`]), one a room. The rest of the command line speaks
//! to a running Matron through its HTTP API.

mod allowed;
mod backups;
mod bench;
mod certificate;
mod cli;
mod config;
mod doctor;
mod drill;
mod pkcs11;
mod push;
mod rooms;
mod root_key;
mod serve;
mod setup;
mod witness;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

/// Manager of a hospital's phones: enrolment, inventory, commands, a signed record
#[derive(Debug, Parser)]
#[command(name = "matron", version, propagate_version = true)]
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
    /// Makes a new Matron in the data folder, as a first `serve` would, and prints the first
    /// administrator's token.
    Init(Place),
    /// The configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// From nothing to a house that phones can enrol with, step by step; run again, it goes on.
    Setup(Box<setup::Setup>),
    /// Apple's push certificate: ask for it, take it up, renew it.
    #[command(subcommand)]
    Push(push::PushCommand),
    /// Is all well here? With --phone-ready: would an iPhone connect? Looks and changes nothing.
    Doctor(Box<doctor::Doctor>),
    /// A backup, encrypted to the recipients in the configuration; the house goes on meanwhile.
    Backup(backups::BackupArgs),
    /// A house from a backup, in an empty data folder; with --rehearse only a try, in a folder of its own.
    Restore(backups::RestoreArgs),
    /// Watches a Matron's ledger from elsewhere: cosigns what goes on, and alarms when it goes back, forks, or
    /// falls silent.
    Witness(Box<witness::Witness>),
    #[command(flatten)]
    Administrator(cli::CliCommand),
    /// Was our Ivanti EPMM hit, what could have been taken, and what to do now. Needs no server.
    Assess(Box<assess::cli::Args>),
    /// Measures a scratch Matron on this machine.
    Bench(bench::BenchArgs),
    /// Puts a real intruder into each room of a scratch Matron, and counts what he could read and do.
    Drill(drill::DrillArgs),
    /// Prints completions for a shell.
    Completions { shell: clap_complete::Shell },
    /// Prints the man page.
    Man {
        /// Write a page for each command into this folder instead.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Started by `bench`, never by hand: what the door is measured against.
    #[command(hide = true)]
    Bare(bench::bare::BareArgs),
    /// Started by `serve`, never by hand.
    #[command(hide = true)]
    Room { room: rooms::Room },
    /// Started by `backup`, never by hand.
    #[command(hide = true)]
    BackUp { room: rooms::Room },
    /// Started by the first `serve` and by `restore`, never by hand.
    #[command(hide = true)]
    Install {
        room: rooms::Room,
        step: rooms::Step,
        dir: PathBuf,
        #[arg(long)]
        without: Vec<sandbox::Layer>,
    },
    /// Started by what needs the PKCS#11 token, never by hand.
    #[command(hide = true)]
    Hsm,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Reads the configuration as `serve` would and says what is wrong with it.
    Check(Place),
    /// Prints every key with the value in force, as TOML.
    Show(Place),
}

/// The command line, or why it can't be read. The usage that stands below an error names what was typed, and no option that
/// came from the environment: so what is wrong is looked for once more without it.
fn parsed(typed: &[OsString]) -> Result<Matron, clap::Error> {
    Matron::try_parse_from(typed).map_err(|error| {
        let bare = without_environment(Matron::command()).try_get_matches_from(typed).err();
        bare.filter(|b| b.kind() == error.kind()).unwrap_or(error)
    })
}

fn without_environment(command: clap::Command) -> clap::Command {
    let names: Vec<String> = command.get_subcommands().map(|s| s.get_name().to_owned()).collect();
    let command = command.mut_args(|a| a.env(None::<&'static str>));
    names.into_iter().fold(command, |command, name| command.mut_subcommand(name, without_environment))
}

fn main() -> ExitCode {
    let typed: Vec<OsString> = std::env::args_os().collect();
    let matron = parsed(&typed).unwrap_or_else(|e| e.exit());
    let done = match matron.command {
        Command::Serve(place) => serve::serve(&place),
        Command::Init(place) => serve::init(&place),
        Command::Config(ConfigCommand::Check(place)) => config::check(&place),
        Command::Config(ConfigCommand::Show(place)) => config::show(&place),
        Command::Setup(args) => return setup::run(*args),
        Command::Push(command) => return push::run(command),
        Command::Doctor(args) => return doctor::run(&args),
        Command::Backup(args) => return backups::back_up(&args),
        Command::Restore(args) => return backups::restore(&args),
        Command::Witness(args) => return witness::run(&args),
        Command::Administrator(command) => return cli::run(command),
        Command::Assess(args) => return assess(&args),
        Command::Drill(args) => return drill::run(&args),
        Command::Bench(args) => bench::bench(&args),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Matron::command(), "matron", &mut std::io::stdout());
            Ok(())
        }
        Command::Man { dir: Some(dir) } => {
            clap_mangen::generate_to(Matron::command(), dir).map_err(anyhow::Error::from)
        }
        Command::Man { dir: None } => clap_mangen::Man::new(Matron::command())
            .render(&mut std::io::stdout())
            .map_err(anyhow::Error::from),
        Command::Bare(args) => bench::bare::serve(&args),
        Command::Room { room } => rooms::run(room),
        Command::BackUp { room } => rooms::back_up(room),
        Command::Install { room, step, dir, without } => rooms::install(room, step, &dir, &without),
        // Why it ended it has told the supervisor.
        Command::Hsm => return if hsm::run().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("matron: {e:#}");
            ExitCode::from(1)
        }
    }
}

fn assess(args: &assess::cli::Args) -> ExitCode {
    let args = assess::cli::Args { terminal: assess::cli::terminal_columns(), ..args.clone() };
    let code = assess::cli::run(&args, &mut std::io::stdin(), &mut std::io::stdout(), &mut std::io::stderr());
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_flag_fits_with_the_others() {
        Matron::command().debug_assert();
    }
}
