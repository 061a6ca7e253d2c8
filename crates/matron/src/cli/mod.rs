//! The administrators' command line: speaks to a running Matron through its HTTP API, and signs what
//! opens or changes anything with a key that never leaves its home folder.
//!
//! [`desk`] is what a command works at (home, server, trusted statement, session); [`place`] brings an
//! order from a draft to its answer; [`words`] shows it, decoded from the bytes that are signed.

mod acme;
mod act;
mod admin;
mod approve;
mod apps;
mod chain;
mod confirm_restore;
mod declarations;
mod desk;
mod device_groups;
mod devices;
pub(crate) mod failure;
mod files;
mod follow;
mod history;
mod holder_card;
mod home;
pub(crate) mod http;
mod in_words;
mod invite;
mod keys;
mod ledger_files;
mod ledger_proofs;

mod passkey;
mod people;
mod place;
mod profiles;
mod records;
mod roles;
mod roots;
mod service_token;
pub(crate) mod show;
mod simulate;
mod standing;

use std::process::ExitCode;

use clap::{Args, Subcommand};

pub(crate) use admin::join_first;
pub(crate) use desk::{Desk, Reach};
use failure::Result;
pub(crate) use invite::{Invitee, invite_one};
pub(crate) use ledger_files::root_key_of;

/// What `matron help exit-codes` says.
const EXIT_CODES: &str = "\
0  done
1  it failed; the message says what, and what to do
2  the command line was wrong; nothing was sent
3  the vault refused the order; the message says why
4  there is no such thing
5  the server, or its vault, can't be reached
6  the order takes another administrator's signature and waits for it; the message names it

A command that waits for phones (--wait) ends with 1 when one did not obey, or not in time.
With --json the result goes to standard output, and an error as {\"error\": {...}} to standard error.
An order that may have been accepted although no answer came can be looked up by its id.";

/// A command with the options that reach the server.
#[derive(Debug, Args)]
pub(crate) struct At<C: Args> {
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    command: C,
}

/// The same for one that has commands of its own.
#[derive(Debug, Args)]
pub(crate) struct Of<C: Subcommand> {
    #[command(flatten)]
    reach: Reach,
    #[command(subcommand)]
    command: C,
}

#[derive(Debug, Args)]
pub(crate) struct Nothing {}

/// What an administrator can do from here.
#[derive(Debug, Subcommand)]
pub(crate) enum CliCommand {
    /// Your key: join as the first administrator, make a key, who you are.
    Admin(Of<admin::AdminCommand>),
    /// The people who may sign orders.
    People(Of<people::PeopleCommand>),
    /// Make a session as wide as you need: records it may open, searches it may make.
    Signin(At<admin::SignIn>),
    /// End the session and its grant.
    Signout(At<Nothing>),
    /// Invite a person to enrol one phone: a link and a QR code.
    Invite(At<invite::Invite>),
    /// Invitations that wait.
    Invitations(Of<invite::InvitationsCommand>),
    /// Phones: list, show, ask, open, lock, erase, find.
    Devices(Of<devices::DevicesCommand>),
    /// Device groups: selections of phones, by a rule or as a list (a phone's home group is another thing).
    DeviceGroups(Of<device_groups::DeviceGroupsCommand>),
    /// The phones' certificates, the first to end first: who is late with renewing.
    Certificates(At<standing::Certificates>),
    /// Standing orders: what the vault may do by itself, such as renewing certificates.
    Standing(Of<standing::StandingCommand>),
    /// Declarations: policies, subscriptions and deadlines that phones hold by themselves.
    Declarations(Of<declarations::DeclarationsCommand>),
    /// The library of profiles: save, compare, install, and which phones said that they hold what.
    Profiles(Of<profiles::ProfilesCommand>),
    /// Tokens that phones get when they ask for a service's (GetToken).
    ServiceToken(Of<service_token::ServiceTokenCommand>),
    /// Commands on their way to phones.
    Commands(Of<records::CommandsCommand>),
    /// Orders: what was asked, by whom, why, and what came of it.
    Orders(Of<records::OrdersCommand>),
    /// Sign an order that waits for another administrator, after looking at it.
    Approve(At<approve::Approve>),
    /// Who may do what, how much of it, and with how many signatures.
    Roles(Of<roles::RolesCommand>),
    /// The ledger: what happened, and whether history still holds.
    Ledger(Of<history::LedgerCommand>),
    /// Read-only keys for programs (masks only).
    ApiKeys(Of<admin::ApiKeysCommand>),
    /// The house's keys: how they stand, and new ones by order.
    Keys(Of<keys::KeysCommand>),
    /// SOMEBODY WAS IN: end what was signed before, make every key anew, and see what is left to do.
    AssumeBreach(At<keys::AssumeBreach>),
    /// The house was restored from a backup: let it open and command again.
    ConfirmRestore(At<confirm_restore::ConfirmRestore>),
    /// The public TLS certificate by ACME: how it stands, what to put into DNS, a try now.
    Acme(Of<acme::AcmeCommand>),
    /// How the house is.
    Health(At<Nothing>),
    /// Enrol simulated phones and let them live: for a demonstration, for load, for tests.
    Simulate(At<simulate::Simulate>),
    /// What the exit codes mean.
    #[command(long_about = EXIT_CODES)]
    ExitCodes,
}

/// Runs a command to its exit code.
pub(crate) fn run(command: CliCommand) -> ExitCode {
    let json = |reach: &Reach| reach.json;
    let (json, done) = match command {
        CliCommand::Admin(c) => (json(&c.reach), at(c.reach, |d| admin::run(d, c.command))),
        CliCommand::People(c) => (json(&c.reach), at(c.reach, |d| people::run(d, c.command))),
        CliCommand::Signin(c) => (json(&c.reach), at(c.reach, |d| admin::sign_in(d, c.command))),
        CliCommand::Signout(c) => (json(&c.reach), at(c.reach, admin::sign_out)),
        CliCommand::Invite(c) => (json(&c.reach), at(c.reach, |d| invite::run(d, c.command))),
        CliCommand::Invitations(c) => (json(&c.reach), at(c.reach, |d| invite::invitations(d, c.command))),
        CliCommand::Devices(c) => (json(&c.reach), at(c.reach, |d| devices::run(d, c.command))),
        CliCommand::DeviceGroups(c) => (json(&c.reach), at(c.reach, |d| device_groups::run(d, c.command))),
        CliCommand::Certificates(c) => {
            (json(&c.reach), at(c.reach, |d| standing::certificates(d, c.command)))
        }
        CliCommand::Standing(c) => (json(&c.reach), at(c.reach, |d| standing::run(d, c.command))),
        CliCommand::Declarations(c) => (json(&c.reach), at(c.reach, |d| declarations::run(d, c.command))),
        CliCommand::Profiles(c) => (json(&c.reach), at(c.reach, |d| profiles::run(d, c.command))),
        CliCommand::ServiceToken(c) => (json(&c.reach), at(c.reach, |d| service_token::run(d, c.command))),
        CliCommand::Commands(c) => (json(&c.reach), at(c.reach, |d| records::commands(d, c.command))),
        CliCommand::Orders(c) => (json(&c.reach), at(c.reach, |d| records::orders(d, c.command))),
        CliCommand::Approve(c) => (json(&c.reach), at(c.reach, |d| approve::run(d, &c.command))),
        CliCommand::Roles(c) => (json(&c.reach), at(c.reach, |d| roles::run(d, c.command))),
        CliCommand::Ledger(c) => (json(&c.reach), at(c.reach, |d| history::run(d, c.command))),
        CliCommand::ApiKeys(c) => (json(&c.reach), at(c.reach, |d| admin::api_keys(d, c.command))),
        CliCommand::Keys(c) => (json(&c.reach), at(c.reach, |d| keys::run(d, c.command))),
        CliCommand::AssumeBreach(c) => (json(&c.reach), at(c.reach, |d| keys::assume_breach(d, c.command))),
        CliCommand::ConfirmRestore(c) => {
            (json(&c.reach), at(c.reach, |d| confirm_restore::run(d, c.command)))
        }
        CliCommand::Acme(c) => (json(&c.reach), at(c.reach, |d| acme::run(d, c.command))),
        CliCommand::Health(c) => (json(&c.reach), at(c.reach, records::health)),
        CliCommand::Simulate(c) => (json(&c.reach), at(c.reach, |d| simulate::run(d, &c.command))),
        CliCommand::ExitCodes => (false, show::print(&format!("{EXIT_CODES}\n"))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => e.tell(json),
    }
}

fn at(reach: Reach, run: impl FnOnce(&Desk) -> Result<()>) -> Result<()> {
    run(&Desk::open(reach)?)
}
