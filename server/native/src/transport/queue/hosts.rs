//! How many connections each remote host holds, so that one of them cannot take all of them.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::transport::queue::backlog::Load;

/// So many connections of one host may be in their handshake; one more ends the oldest.
const ARRIVING: usize = 32;

#[derive(Default)]
pub struct Hosts {
    known: Mutex<HashMap<IpAddr, Host>>,
    turned_away: Mutex<Option<IpAddr>>,
}

/// The connections of one host.
#[derive(Default)]
struct Host {
    open: u64,
    /// Those that do not speak HTTP/2 yet, the oldest first: they take no place of others.
    arriving: VecDeque<(u64, Arc<Load>)>,
}

impl Hosts {
    /// Note a connection in its handshake, unless the host holds `most` others; 0 is no limit.
    pub fn arrive(&self, address: IpAddr, id: u64, load: &Arc<Load>, most: u64) -> bool {
        // A dual-stack socket shows IPv4 callers as IPv6 ones.
        let address = address.to_canonical();
        let mut known = self.known.lock();
        let host = known.entry(address).or_default();
        if most > 0 && host.open >= most {
            *self.turned_away.lock() = Some(address);
            return false;
        }
        host.arriving.push_back((id, load.clone()));
        if host.arriving.len() > ARRIVING {
            if let Some((_, oldest)) = host.arriving.pop_front() {
                oldest.cut();
            }
        }
        true
    }

    /// Count a connection whose handshake is over, unless the host holds `most` others.
    pub fn acquire(&self, address: IpAddr, id: u64, most: u64) -> bool {
        let address = address.to_canonical();
        let mut known = self.known.lock();
        let host = known.entry(address).or_default();
        host.arriving.retain(|(other, _)| *other != id);
        if most > 0 && host.open >= most {
            *self.turned_away.lock() = Some(address);
            return false;
        }
        host.open += 1;
        true
    }

    /// Forget a connection; `counted` when it was acquired.
    pub fn release(&self, address: IpAddr, id: u64, counted: bool) {
        let address = address.to_canonical();
        let mut known = self.known.lock();
        let Some(host) = known.get_mut(&address) else {
            return;
        };
        host.arriving.retain(|(other, _)| *other != id);
        host.open -= u64::from(counted);
        // Forgotten, or strangers would make the table grow for ever.
        if host.open == 0 && host.arriving.is_empty() {
            known.remove(&address);
        }
    }

    /// The host that was turned away last.
    pub fn last_turned_away(&self) -> Option<IpAddr> {
        *self.turned_away.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_host_may_connect_again_when_a_connection_ends() {
        let (hosts, address) = (Hosts::default(), host("10.0.0.1"));
        assert!(hosts.acquire(address, 1, 1));
        assert!(!hosts.arrive(address, 2, &Arc::default(), 1));
        assert!(!hosts.acquire(address, 2, 1));

        hosts.release(address, 1, true);

        assert!(hosts.acquire(address, 3, 1));
    }

    #[test]
    fn a_handshake_takes_no_place() {
        let (hosts, address) = (Hosts::default(), host("10.0.0.1"));
        for id in 0..10 {
            assert!(hosts.arrive(address, id, &Arc::default(), 1));
        }

        assert!(hosts.acquire(address, 9, 1));
        assert!(!hosts.acquire(address, 8, 1));
    }

    #[test]
    fn the_oldest_handshake_ends_for_a_new_one() {
        let (hosts, address) = (Hosts::default(), host("10.0.0.1"));
        let loads: Vec<Arc<Load>> = (0..=ARRIVING).map(|_| Arc::default()).collect();
        for (id, load) in loads.iter().enumerate() {
            assert!(hosts.arrive(address, id as u64, load, 1));
        }

        let cut: Vec<bool> = loads.iter().map(|load| !load.cut()).collect();

        assert!(cut[0]);
        assert!(!cut[1..].contains(&true));
    }

    #[test]
    fn hosts_do_not_count_against_each_other() {
        let hosts = Hosts::default();
        assert!(hosts.acquire(host("10.0.0.1"), 1, 1));

        assert!(hosts.acquire(host("10.0.0.2"), 2, 1));
        assert_eq!(hosts.last_turned_away(), None);
    }

    #[test]
    fn one_host_is_the_same_over_both_protocols() {
        let hosts = Hosts::default();
        assert!(hosts.acquire(host("10.0.0.1"), 1, 1));

        assert!(!hosts.acquire(host("::ffff:10.0.0.1"), 2, 1));
        assert_eq!(hosts.last_turned_away(), Some(host("10.0.0.1")));
    }

    #[test]
    fn hosts_without_connections_are_forgotten() {
        let hosts = Hosts::default();
        for last in 0..=255 {
            let host = IpAddr::from([10, 0, 0, last]);
            assert!(hosts.arrive(host, 1, &Arc::default(), 0));
            assert!(hosts.acquire(host, 1, 0));
            hosts.release(host, 1, true);
            assert!(hosts.arrive(host, 2, &Arc::default(), 0));
            hosts.release(host, 2, false);
        }

        assert!(hosts.known.lock().is_empty());
    }
}
