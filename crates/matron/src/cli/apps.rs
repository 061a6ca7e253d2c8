//! Apps that the hospital manages, and commands that have no type of their own.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use model::{AppAttributes, AppSource, Command, CommandSecrets, Setting};

use super::act::{How, Plain, order_all};
use super::desk::Desk;
use super::failure::{Result, usage};
use super::files::read_file;

#[derive(Debug, Subcommand)]
pub(crate) enum AppCommand {
    /// Install or update an app: in-house by its manifest, or from the App Store.
    InstallApp(InstallApp),
    /// Remove a managed app with its data; counts as erasure.
    RemoveApp(RemoveApp),
    /// Give a managed app its settings, or take them away.
    AppSettings(AppSettings),
    /// Say what a managed app is like: through which VPN it speaks, whether it can be deleted.
    AppAttributes(AppAttributesArgs),
    /// Ask what managed apps are set to or have to tell; the answer is sealed.
    AppReport(AppReport),
    /// Have phones check in-house apps' provisioning profiles anew.
    ValidateApps(ValidateApps),
    /// Have phones forget their Activation Lock bypass code and make another (supervised phones only).
    ClearBypassCode(Plain),
    /// Send a command that has no type of its own, checked against Apple's schema.
    Command(Raw),
}

#[derive(Debug, Args)]
pub(crate) struct InstallApp {
    /// Enrolment ids, or their first 6 digits or more.
    #[arg(required = true)]
    ids: Vec<String>,
    /// The app's bundle identifier: by it the installation is confirmed.
    #[arg(long, value_name = "BUNDLE ID")]
    identifier: String,
    /// The https address of an in-house app's manifest.
    #[arg(long, value_name = "URL", required_unless_present = "store_id", conflicts_with = "store_id")]
    manifest: Option<String>,
    /// The App Store's number of the app.
    #[arg(long, value_name = "NUMBER")]
    store_id: Option<u32>,
    /// The store's licence was bought by volume purchase.
    #[arg(long, requires = "store_id")]
    licensed: bool,
    /// The app's settings: a property list with one dictionary. Sealed.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// The app stays when management goes.
    #[arg(long)]
    keep_after_management: bool,
    /// The app's data stay out of backups.
    #[arg(long)]
    no_backup: bool,
    /// An app that the user installed becomes a managed one.
    #[arg(long)]
    take_over: bool,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveApp {
    /// The enrolment id, or its first 6 digits or more.
    id: String,
    /// The app's bundle identifier.
    identifier: String,
    /// The holder's name: with an app go its data.
    #[arg(long, value_name = "HOLDER NAME")]
    name: Option<String>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
pub(crate) struct AppSettings {
    /// Enrolment ids, or their first 6 digits or more.
    #[arg(required = true)]
    ids: Vec<String>,
    /// The app's bundle identifier.
    #[arg(long, value_name = "BUNDLE ID")]
    identifier: String,
    /// A property list with one dictionary. Sealed.
    #[arg(long, value_name = "FILE", required_unless_present = "remove", conflicts_with = "remove")]
    settings: Option<PathBuf>,
    /// Take away the settings it has.
    #[arg(long)]
    remove: bool,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
pub(crate) struct AppAttributesArgs {
    /// Enrolment ids, or their first 6 digits or more.
    #[arg(required = true)]
    ids: Vec<String>,
    /// The app's bundle identifier.
    #[arg(long, value_name = "BUNDLE ID")]
    identifier: String,
    /// The VPN that it speaks through; counts as erasure. What is not named is taken away.
    #[arg(long, value_name = "UUID")]
    vpn: Option<String>,
    /// Whether the user may delete it.
    #[arg(long, value_name = "true|false")]
    removable: Option<bool>,
    /// Whether the screen locks after a payment.
    #[arg(long, value_name = "true|false")]
    tap_to_pay_screen_lock: Option<bool>,
    /// The holder's name, when it counts as erasure.
    #[arg(long, value_name = "HOLDER NAME")]
    name: Option<String>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Report {
    /// What it was set to.
    Configuration,
    /// What it has to tell.
    Feedback,
    /// What it is like.
    Attributes,
}

#[derive(Debug, Args)]
pub(crate) struct AppReport {
    /// Which report.
    report: Report,
    /// Enrolment ids, or their first 6 digits or more.
    #[arg(required = true)]
    ids: Vec<String>,
    /// The apps' bundle identifiers.
    #[arg(long, value_name = "BUNDLE ID", required = true, value_delimiter = ',')]
    app: Vec<String>,
    /// Of feedback: the apps forget it once it was read.
    #[arg(long)]
    delete: bool,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
pub(crate) struct ValidateApps {
    /// Enrolment ids, or their first 6 digits or more.
    #[arg(required = true)]
    ids: Vec<String>,
    /// The apps' bundle identifiers; by default all managed ones.
    #[arg(long, value_name = "BUNDLE ID", value_delimiter = ',')]
    app: Vec<String>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
pub(crate) struct Raw {
    /// Enrolment ids, or their first 6 digits or more.
    #[arg(required = true)]
    ids: Vec<String>,
    /// A property list: the Command dictionary with its RequestType.
    #[arg(long, value_name = "FILE", required = true)]
    raw: PathBuf,
    /// The holder's name: what is not on the short list of mild commands counts as erasure.
    #[arg(long, value_name = "HOLDER NAME")]
    name: Option<String>,
    #[command(flatten)]
    how: How,
}

pub(crate) fn run(desk: &Desk, command: AppCommand) -> Result<()> {
    let none = CommandSecrets::default;
    match command {
        AppCommand::InstallApp(i) => {
            let source = match (i.manifest, i.store_id) {
                (Some(url), _) => AppSource::Manifest { url },
                (None, Some(id)) => AppSource::Store { id, licensed: i.licensed },
                (None, None) => return Err(usage("give --manifest or --store-id")),
            };
            let app_configuration = i.settings.as_deref().map(read_settings).transpose()?;
            let secrets = CommandSecrets { app_configuration, ..none() };
            let command = Command::InstallApplication {
                identifier: i.identifier,
                source,
                remove_with_management: !i.keep_after_management,
                no_backup: i.no_backup,
                take_over: i.take_over,
            };
            order_all(desk, &i.ids, command, secrets, i.how)
        }
        AppCommand::RemoveApp(r) => {
            let secrets = CommandSecrets { holder_name: r.name, ..none() };
            let command = Command::RemoveApplication { identifier: r.identifier };
            order_all(desk, &[r.id], command, secrets, r.how)
        }
        AppCommand::AppSettings(s) => {
            let app_configuration = s.settings.as_deref().map(read_settings).transpose()?;
            let secrets = CommandSecrets { app_configuration, ..none() };
            let items = vec![Setting::ApplicationConfiguration { identifier: s.identifier }];
            order_all(desk, &s.ids, Command::Settings { items }, secrets, s.how)
        }
        AppCommand::AppAttributes(a) => {
            let attributes = AppAttributes {
                vpn_uuid: a.vpn,
                removable: a.removable,
                tap_to_pay_screen_lock: a.tap_to_pay_screen_lock,
            };
            let items = vec![Setting::ApplicationAttributes { identifier: a.identifier, attributes }];
            let secrets = CommandSecrets { holder_name: a.name, ..none() };
            order_all(desk, &a.ids, Command::Settings { items }, secrets, a.how)
        }
        AppCommand::AppReport(r) => {
            let identifiers = r.app;
            if r.delete && r.report != Report::Feedback {
                return Err(usage("--delete goes with feedback alone"));
            }
            let command = match r.report {
                Report::Configuration => Command::ManagedApplicationConfiguration { identifiers },
                Report::Feedback => {
                    Command::ManagedApplicationFeedback { identifiers, delete_feedback: r.delete }
                }
                Report::Attributes => Command::ManagedApplicationAttributes { identifiers },
            };
            order_all(desk, &r.ids, command, none(), r.how)
        }
        AppCommand::ValidateApps(v) => {
            let command = Command::ValidateApplications { identifiers: v.app };
            order_all(desk, &v.ids, command, none(), v.how)
        }
        AppCommand::ClearBypassCode(p) => {
            order_all(desk, &p.ids, Command::ClearActivationLockBypassCode, none(), p.how)
        }
        AppCommand::Command(r) => raw(desk, r),
    }
}

fn read_settings(path: &Path) -> Result<Vec<u8>> {
    let bytes = read_file(path, apple::app::MAX_APP_CONFIGURATION_BYTES)?;
    match apple::app::check_configuration(&bytes) {
        Ok(()) => Ok(bytes),
        Err(e) => Err(usage(format!("{}: {e}", path.display()))),
    }
}

fn raw(desk: &Desk, r: Raw) -> Result<()> {
    let bytes = read_file(&r.raw, apple::raw::MAX_RAW_BYTES)?;
    let read = apple::raw::read(&bytes).map_err(|e| usage(format!("{}: {e}", r.raw.display())))?;
    let command = Command::Raw { request_type: read.0.to_owned() };
    let secrets = CommandSecrets { raw: Some(bytes), holder_name: r.name, ..CommandSecrets::default() };
    order_all(desk, &r.ids, command, secrets, r.how)
}
