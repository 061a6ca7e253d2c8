//! What systemd hands a service, and what it wants to hear: sockets already bound (`sd_listen_fds(3)`),
//! readiness and a sign of life (`sd_notify(3)`), priorities of log lines (`sd-daemon(3)`). Without
//! systemd all of it is absent and nothing changes.

use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use listenfd::ListenFd;
use sd_notify::NotifyState;

/// The names that the socket units give their descriptors (`FileDescriptorName=`).
const PHONES: &str = "phones";
const ADMINISTRATORS: &str = "administrators";
const ACME: &str = "acme";

/// The sockets that were handed over, each marked close-on-exec: a room gets what it is handed, not
/// what lies about.
#[derive(Debug, Default)]
pub(super) struct Handed {
    pub(super) phones: Option<TcpListener>,
    pub(super) administrators: Option<TcpListener>,
    /// For challenges by plain HTTP.
    pub(super) acme: Option<TcpListener>,
}

/// Takes the sockets of this process's environment. To be called before any thread is started.
///
/// # Errors
/// A socket without one of the three names, one name twice, or a descriptor that is no TCP listener.
pub(super) fn handed_sockets() -> Result<Handed> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut sockets = ListenFd::from_env();
    let mut handed = Handed::default();
    let mut names = names.split(':');
    for at in 0..sockets.len() {
        let name = names.next().unwrap_or_default();
        let place = match name {
            PHONES => &mut handed.phones,
            ADMINISTRATORS => &mut handed.administrators,
            ACME => &mut handed.acme,
            other => bail!(
                "systemd handed over a socket named '{other}'; a socket unit for Matron says \
                 FileDescriptorName=phones, administrators or acme"
            ),
        };
        let socket = sockets
            .take_tcp_listener(at)
            .with_context(|| format!("the socket '{name}' that systemd handed over"))?;
        if place.is_some() {
            bail!("systemd handed over two sockets named '{name}'; Matron has one such listener");
        }
        *place = socket;
    }
    Ok(handed)
}

/// All rooms are up.
pub(super) fn ready() {
    say(&[NotifyState::Ready, NotifyState::Status("all five rooms are up")]);
}

/// What `systemctl status` shows.
pub(super) fn status(text: &str) {
    say(&[NotifyState::Status(text)]);
}

/// The end has begun.
pub(super) fn stopping() {
    say(&[NotifyState::Stopping, NotifyState::Status("finishing what is under way")]);
}

/// The supervisor is alive.
pub(super) fn alive() {
    say(&[NotifyState::Watchdog]);
}

/// How often [`alive`] has to be said: half of what the unit's `WatchdogSec=` allows. `None`: never.
pub(super) fn sign_of_life() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|d| d / 2).filter(|d| !d.is_zero())
}

fn say(states: &[NotifyState<'_>]) {
    // Nobody to tell is no fault of the house.
    let _ = sd_notify::notify(states);
}

/// Standard error leads into the journal (`JOURNAL_STREAM` in systemd.exec(5)): lines then carry their
/// priority as `<N>`, which the journal takes off.
#[must_use]
pub(super) fn to_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Some((device, inode)) = stream.split_once(':') else { return false };
    rustix::fs::fstat(std::io::stderr())
        .is_ok_and(|s| device.parse() == Ok(s.st_dev) && inode.parse() == Ok(s.st_ino))
}
