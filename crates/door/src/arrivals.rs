//! Connections whose handshake is under way. They have places of their own, so that whoever comes and
//! says nothing takes no phone's place; and no one address has more than half of these.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Who is arriving.
#[derive(Debug)]
pub(crate) struct Arrivals {
    most: usize,
    most_each: usize,
    now: Mutex<HashMap<IpAddr, usize>>,
}

/// One that arrives; given back when dropped.
#[derive(Debug)]
pub(crate) struct Arrival {
    arrivals: Arc<Arrivals>,
    from: IpAddr,
}

impl Arrivals {
    /// A quarter of the connections' places beside them, 16 at least.
    pub(crate) fn beside(connections: usize) -> Arc<Self> {
        let most = (connections / 4).max(16);
        Arc::new(Self { most, most_each: most / 2, now: Mutex::default() })
    }

    /// A place for one more from this address, if there is one.
    pub(crate) fn enter(self: &Arc<Self>, from: IpAddr) -> Option<Arrival> {
        let from = network_of(from);
        let mut now = self.lock();
        if now.values().sum::<usize>() >= self.most {
            return None;
        }
        let here = now.entry(from).or_default();
        if *here >= self.most_each {
            return None;
        }
        *here += 1;
        Some(Arrival { arrivals: self.clone(), from })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        let mut now = self.arrivals.lock();
        if let Some(here) = now.get_mut(&self.from) {
            *here -= 1;
            if *here == 0 {
                now.remove(&self.from);
            }
        }
    }
}

/// Whom an address stands for: an IPv6 host has its whole /64.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_has_half_of_the_places_at_most_and_gives_them_back() {
        let arrivals = Arrivals::beside(80);
        let mut first: Vec<_> = std::iter::from_fn(|| arrivals.enter(ip("192.0.2.1"))).collect();
        assert_eq!(first.len(), 10);
        assert!(arrivals.enter(ip("::ffff:192.0.2.1")).is_none(), "the same address, written otherwise");
        let second: Vec<_> = std::iter::from_fn(|| arrivals.enter(ip("192.0.2.2"))).collect();
        assert_eq!(second.len(), 10);
        assert!(arrivals.enter(ip("192.0.2.3")).is_none(), "all places are taken");
        first.pop();
        assert!(arrivals.enter(ip("192.0.2.3")).is_some());
        drop((first, second));
        assert!(arrivals.lock().is_empty());
    }

    #[test]
    fn a_host_with_a_whole_ipv6_network_counts_once() {
        let arrivals = Arrivals::beside(64);
        let of_one_host = (0..100).filter_map(|n| arrivals.enter(ip(&format!("2001:db8:1:2::{n:x}"))));
        assert_eq!(of_one_host.collect::<Vec<_>>().len(), 8);
        assert!(arrivals.enter(ip("2001:db8:1:3::1")).is_some());
    }
}
