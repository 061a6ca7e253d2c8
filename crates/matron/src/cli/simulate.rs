//! `matron simulate`: a fleet of simulated phones. They enrol through invitations like anyone: the
//! administrator at this desk invites their made-up holders, or the links of invitations are given.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use simulate::{FleetOptions, KeyPool, Living, Network, Phone, Progress, Summary, Temper};
use tokio::sync::watch;

use super::desk::Desk;
use super::failure::{Result, failed, usage};
use super::invite::{Invitee, invite_one};
use super::show;

#[derive(Debug, Args)]
pub(crate) struct Simulate {
    /// How many phones enrol.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    phones: u32,
    /// Enrol by these invitations, a link a line, instead of inviting made-up holders.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["phones", "resume"])]
    links: Option<PathBuf>,
    /// The certificate (PEM) that phones trust: the data folder's ca.pem, or a public CA's.
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
    /// All that is made up follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many phones speak at once.
    #[arg(long, default_value_t = 32)]
    at_once: usize,
    /// Let the phones share so many RSA keys: quicker, for load only.
    #[arg(long, value_name = "N")]
    share_keys: Option<usize>,
    /// Keep the fleet in this file (0600) when it is done, for --resume.
    #[arg(long, value_name = "FILE")]
    keep: Option<PathBuf>,
    /// Go on with a kept fleet instead of enrolling one.
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
    /// Live on: each phone asks by itself after so many seconds, until Ctrl-C.
    #[arg(long, value_name = "SECONDS")]
    poll: Option<u64>,
    /// With --poll: end after so many seconds.
    #[arg(long = "for", value_name = "SECONDS", requires = "poll")]
    for_s: Option<u64>,
    /// Of a thousand commands, how many are put off (NotNow).
    #[arg(long, default_value_t = 40)]
    not_now_per_mille: u16,
    /// Of a thousand times a phone wakes, how often it goes silent for a minute instead.
    #[arg(long, default_value_t = 0)]
    silent_per_mille: u16,
    /// No bar, no summary.
    #[arg(long, short)]
    quiet: bool,
}

fn bar(args: &Simulate, what: &'static str, length: u64) -> ProgressBar {
    if args.quiet {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(length);
    let template = "{msg:22} [{bar:40}] {pos}/{len} ({per_sec}, {eta} left)";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(what);
    bar
}

pub(crate) fn run(desk: &Desk, args: &Simulate) -> Result<()> {
    let anchors = std::fs::read(&args.ca)
        .map_err(|e| usage(format!("--ca: {} can't be read: {e}", args.ca.display())))?;
    let network = Network::trusting(&anchors).map_err(|e| usage(format!("--ca: {e}")))?;
    let (stop_tx, stop) = watch::channel(false);
    let mut options = FleetOptions::new(args.seed, network.clone());
    options.at_once = args.at_once;
    options.temper = Temper { not_now_per_mille: args.not_now_per_mille };
    options.silent_per_mille = args.silent_per_mille;
    options.stop = Some(stop);
    if let Some(n) = args.share_keys {
        options.keys = KeyPool::made(n.max(1), 2).map_err(|e| failed(e.to_string()))?;
    }
    if let Some(poll) = args.poll {
        options.living = Living::Live { poll_ms: poll * 1000, for_ms: args.for_s.map(|s| s * 1000) };
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| failed(format!("no runtime: {e}")))?;
    let (summary, phones) = match &args.resume {
        Some(file) => {
            let phones = simulate::kept(file, &network)
                .map_err(|e| usage(format!("--resume {}: {e}", file.display())))?;
            runtime.block_on(async {
                end_on_signal(stop_tx);
                simulate::resume_fleet(phones, options, |_| {}).await
            })
        }
        None => enrol(desk, args, options, &runtime, stop_tx)?,
    };
    if let Some(file) = &args.keep {
        simulate::keep(&phones, file).map_err(|e| failed(format!("--keep {}: {e}", file.display())))?;
    }
    tell(desk, args, &summary)
}

/// The invitations of a file.
fn given(file: &Path) -> Result<Vec<simulate::Invited>> {
    let text =
        std::fs::read_to_string(file).map_err(|e| usage(format!("--links {}: {e}", file.display())))?;
    let links = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let invited: Vec<_> =
        (0u32..).zip(links).map(|(index, link)| simulate::Invited { link: link.to_owned(), index }).collect();
    if invited.is_empty() {
        return Err(usage(format!("--links {}: there is no link in it", file.display())));
    }
    Ok(invited)
}

/// An invitation for each made-up holder.
fn invite(desk: &Desk, args: &Simulate) -> Result<Vec<simulate::Invited>> {
    let people = simulate::people(args.seed, args.phones);
    let inviting = bar(args, "inviting", people.len() as u64);
    let mut invited = Vec::with_capacity(people.len());
    for (index, person) in (0u32..).zip(&people) {
        let invitee = Invitee::check(&person.name, &person.email, person.group).map_err(failed)?;
        let link = invite_one(desk, &invitee, 1, "a simulated phone is to be enrolled")?.link;
        invited.push(simulate::Invited { link, index });
        inviting.inc(1);
    }
    inviting.finish();
    Ok(invited)
}

fn enrol(
    desk: &Desk,
    args: &Simulate,
    options: FleetOptions,
    runtime: &tokio::runtime::Runtime,
    stop: watch::Sender<bool>,
) -> Result<(Summary, Vec<Phone>)> {
    let invited = match &args.links {
        Some(file) => given(file)?,
        None => invite(desk, args)?,
    };
    let enrolling = bar(args, "enrolling", invited.len() as u64);
    let done = runtime.block_on(async {
        end_on_signal(stop);
        simulate::run_fleet(invited, options, |progress| match progress {
            Progress::Enrolled { .. } | Progress::NotEnrolled { .. } => {
                enrolling.inc(1);
                if enrolling.position() == enrolling.length().unwrap_or(0) {
                    enrolling.finish();
                }
            }
            Progress::Retried { .. } | Progress::Conversed { .. } | Progress::BrokeOff { .. } => {}
        })
        .await
    });
    enrolling.finish();
    Ok(done)
}

/// Ctrl-C and SIGTERM end the fleet: conversations under way are finished first.
fn end_on_signal(stop: watch::Sender<bool>) {
    use tokio::signal::unix::{SignalKind, signal};
    tokio::spawn(async move {
        let (Ok(mut interrupt), Ok(mut terminate)) =
            (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        stop.send_replace(true);
        // Kept, so that the receivers see the word and not an end.
        tokio::time::sleep(Duration::from_secs(3600)).await;
        drop(stop);
    });
}

fn tell(desk: &Desk, args: &Simulate, summary: &Summary) -> Result<()> {
    if desk.reach.json {
        show::print_json(&serde_json::to_value(summary).map_err(failed)?)?;
    } else if !args.quiet {
        show::print(&summary.to_string())?;
    }
    match summary.not_enrolled {
        0 => Ok(()),
        n => Err(failed(format!("{n} phones could not enrol; the summary says at which step"))),
    }
}
