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
    now: Mutex<Now>,
}

#[derive(Debug, Default)]
struct Now {
    all: usize,
    each: HashMap<IpAddr, usize>,
}

/// One that arrives; its place is given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Arrival {
    arrivals: Arc<Arrivals>,
    from: Option<IpAddr>,
}

impl Arrivals {
    /// A quarter of the connections' places beside them, 16 at least.
    pub(crate) fn beside(connections: usize) -> Arc<Self> {
        let most = (connections / 4).max(16);
        Arc::new(Self { most, most_each: most / 2, now: Mutex::default() })
    }

    /// A place for one more, if there is one.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Arrival> {
        let mut now = self.lock();
        if now.all >= self.most {
            return None;
        }
        now.all += 1;
        Some(Arrival { arrivals: self.clone(), from: None })
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Arrival {
    /// Says whose it is. False: that address has as many as one may have. A load balancer's own are nobody's.
    #[must_use]
    pub(crate) fn is_of(&mut self, from: IpAddr) -> bool {
        let from = network_of(from);
        let mut now = self.arrivals.lock();
        let here = now.each.entry(from).or_default();
        if *here >= self.arrivals.most_each {
            return false;
        }
        *here += 1;
        self.from = Some(from);
        true
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        let mut now = self.arrivals.lock();
        now.all = now.all.saturating_sub(1);
        if let Some(from) = self.from
            && let Some(here) = now.each.get_mut(&from)
        {
            *here = here.saturating_sub(1);
            if *here == 0 {
                now.each.remove(&from);
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

    fn taken(arrivals: &Arc<Arrivals>, from: &str) -> Option<Arrival> {
        arrivals.enter().and_then(|mut a| a.is_of(ip(from)).then_some(a))
    }

    #[test]
    fn one_address_has_half_of_the_places_at_most_and_gives_them_back() {
        let arrivals = Arrivals::beside(80);
        let mut first: Vec<_> = std::iter::from_fn(|| taken(&arrivals, "192.0.2.1")).collect();
        assert_eq!(first.len(), 10);
        assert!(taken(&arrivals, "::ffff:192.0.2.1").is_none(), "the same address, written otherwise");
        let second: Vec<_> = std::iter::from_fn(|| taken(&arrivals, "192.0.2.2")).collect();
        assert_eq!(second.len(), 10);
        assert!(arrivals.enter().is_none(), "all places are taken");
        first.pop();
        assert!(taken(&arrivals, "192.0.2.3").is_some());
        drop((first, second));
        let now = arrivals.lock();
        assert!(now.all == 0 && now.each.is_empty());
    }

    #[test]
    fn a_host_with_a_whole_ipv6_network_counts_once() {
        let arrivals = Arrivals::beside(64);
        let of_one_host: Vec<_> =
            (0..100).filter_map(|n| taken(&arrivals, &format!("2001:db8:1:2::{n:x}"))).collect();
        assert_eq!(of_one_host.len(), 8);
        assert!(taken(&arrivals, "2001:db8:1:3::1").is_some());
    }
}
