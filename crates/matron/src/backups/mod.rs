//! `matron backup` and `matron restore`, on the host, by whoever owns the data folder.
//!
//! [`make`] puts a backup together, room by room; the supervisor does it while the house runs, this
//! command itself otherwise. [`restore`] makes a house of a backup; [`rehearse`] tries one.

mod child;
mod make;
mod place;
mod rehearse;
mod restore;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::Place;
use crate::cli::failure::failed;

pub(crate) use child::made;
pub(crate) use make::{Name, make};
pub(crate) use place::{LAST_FILE, Last, REQUEST_FILE, Wanted, backups_dir, failed_file};

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    #[command(flatten)]
    place: Place,
    /// Move the finished backup into this folder (another disk). Without it: DATA/backups.
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
    /// Keep so many of the newest backups there and remove the older ones.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The backup's folder, matron-…Z.
    backup: PathBuf,
    /// The file with the secret key of one of the backup's recipients, as 'age-keygen' wrote it.
    #[arg(long, value_name = "FILE")]
    identity: PathBuf,
    /// The data folder to make; it must be empty.
    #[arg(long, env = "MATRON_DATA", default_value = "matron-data")]
    data: PathBuf,
    /// Only try it: restore into a folder of its own, open one record, verify the ledger, serve on
    /// loopback, and remove everything again.
    #[arg(long)]
    rehearse: bool,
    /// Where the folder for the rehearsal is made; keys lie there in the clear meanwhile.
    #[arg(long, value_name = "FOLDER", requires = "rehearse", default_value_os_t = std::env::temp_dir())]
    scratch: PathBuf,
    /// The house's ledger.log from after the backup, if you have it (from its disk): it takes the place of
    /// the backup's, so that what was decided since stays decided.
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

fn told(done: anyhow::Result<()>, json: bool) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => failed(format!("{e:#}")).tell(json),
    }
}

/// `matron backup`.
pub(crate) fn back_up(args: &BackupArgs) -> ExitCode {
    told(place::back_up(args), args.json)
}

/// `matron restore`.
pub(crate) fn restore(args: &RestoreArgs) -> ExitCode {
    told(if args.rehearse { rehearse::rehearse(args) } else { restore::restore(args) }, args.json)
}
