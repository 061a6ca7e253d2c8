//! How often someone whom nobody knows may have signatures tried: each costs a verification for every passkey.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// So many may fail at once from one address; then one more in each [`AGAIN`].
const AT_ONCE: u32 = 20;
const AGAIN: Duration = Duration::from_secs(3);
/// The most addresses that are remembered. Beyond, the oldest is forgotten: it had its pause by then.
const MOST: usize = 4096;

/// Failures by address. Whoever does not fail is not held up, wherever others sit.
#[derive(Debug, Default)]
pub(crate) struct Strangers(Mutex<HashMap<IpAddr, (Instant, u32)>>);

/// Whom an address stands for: a network has 2^64 of IPv6's.
fn network(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(v6) => IpAddr::from((u128::from(v6) >> 64 << 64).to_be_bytes()),
        v4 => v4,
    }
}

fn left(since: Instant, failed: u32, now: Instant) -> u32 {
    let forgiven = now.duration_since(since).as_millis() / AGAIN.as_millis();
    failed.saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX))
}

impl Strangers {
    /// Whether another try may be made from there.
    pub fn may_try(&self, from: IpAddr, now: Instant) -> bool {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.get(&network(from)).is_none_or(|(since, failed)| left(*since, *failed, now) < AT_ONCE)
    }

    /// One failed.
    pub fn failed(&self, from: IpAddr, now: Instant) {
        let from = network(from);
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.len() >= MOST && !inner.contains_key(&from) {
            inner.retain(|_, (since, failed)| left(*since, *failed, now) > 0);
            if inner.len() >= MOST
                && let Some(oldest) = inner.iter().min_by_key(|(_, (since, _))| *since).map(|(ip, _)| *ip)
            {
                inner.remove(&oldest);
            }
        }
        let (since, failed) = inner.get(&from).copied().unwrap_or((now, 0));
        inner.insert(from, (now, left(since, failed, now).saturating_add(1)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_often_waits_and_nobody_else_does() {
        let (strangers, now) = (Strangers::default(), Instant::now());
        let (flooding, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        for _ in 0..AT_ONCE {
            assert!(strangers.may_try(flooding, now));
            strangers.failed(flooding, now);
        }
        assert!(!strangers.may_try(flooding, now));
        assert!(strangers.may_try(other, now));
        assert!(strangers.may_try(flooding, now + AGAIN));
        strangers.failed(flooding, now + AGAIN);
        assert!(!strangers.may_try(flooding, now + AGAIN));
        assert!(strangers.may_try(flooding, now + AGAIN * 60));
    }

    #[test]
    fn the_addresses_of_one_network_are_one_stranger() {
        let (strangers, now) = (Strangers::default(), Instant::now());
        for n in 0..AT_ONCE {
            strangers.failed(format!("2001:db8::{n:x}").parse().unwrap(), now);
        }
        assert!(!strangers.may_try("2001:db8::ffff".parse().unwrap(), now));
        assert!(strangers.may_try("2001:db8:0:1::1".parse().unwrap(), now));
        strangers.failed("::ffff:192.0.2.1".parse().unwrap(), now);
        assert!(strangers.0.lock().unwrap().contains_key(&IpAddr::from([192, 0, 2, 1])));
    }

    #[test]
    fn addresses_without_number_fill_no_memory() {
        let (strangers, now) = (Strangers::default(), Instant::now());
        for n in 0..10_000_u32 {
            strangers.failed(IpAddr::from(n.to_be_bytes()), now);
        }
        assert!(strangers.0.lock().unwrap().len() <= MOST);
    }
}
