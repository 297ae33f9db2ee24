//! How many connections each remote host holds, so that one of them cannot take all of them.

use std::collections::HashMap;
use std::net::IpAddr;

use parking_lot::Mutex;

#[derive(Default)]
pub struct Hosts {
    open: Mutex<HashMap<IpAddr, u64>>,
    turned_away: Mutex<Option<IpAddr>>,
}

impl Hosts {
    /// Count one more connection of the host, unless it holds `most` already; 0 is no limit.
    pub fn acquire(&self, address: IpAddr, most: u64) -> bool {
        // A dual-stack socket shows IPv4 callers as IPv6 ones.
        let host = address.to_canonical();
        let mut open = self.open.lock();
        let held = open.get(&host).copied().unwrap_or(0);
        if most > 0 && held >= most {
            *self.turned_away.lock() = Some(host);
            return false;
        }
        open.insert(host, held + 1);
        true
    }

    /// Count one less; what was not acquired must not be released.
    pub fn release(&self, address: IpAddr) {
        let host = address.to_canonical();
        let mut open = self.open.lock();
        match open.get_mut(&host) {
            Some(held) if *held > 1 => *held -= 1,
            // Forgotten, or strangers would make the table grow for ever.
            _ => {
                open.remove(&host);
            }
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
        let hosts = Hosts::default();
        assert!(hosts.acquire(host("10.0.0.1"), 1));
        assert!(!hosts.acquire(host("10.0.0.1"), 1));

        hosts.release(host("10.0.0.1"));

        assert!(hosts.acquire(host("10.0.0.1"), 1));
    }

    #[test]
    fn hosts_do_not_count_against_each_other() {
        let hosts = Hosts::default();
        assert!(hosts.acquire(host("10.0.0.1"), 1));

        assert!(hosts.acquire(host("10.0.0.2"), 1));
        assert_eq!(hosts.last_turned_away(), None);
    }

    #[test]
    fn one_host_is_the_same_over_both_protocols() {
        let hosts = Hosts::default();
        assert!(hosts.acquire(host("10.0.0.1"), 1));

        assert!(!hosts.acquire(host("::ffff:10.0.0.1"), 1));
        assert_eq!(hosts.last_turned_away(), Some(host("10.0.0.1")));
    }

    #[test]
    fn hosts_without_connections_are_forgotten() {
        let hosts = Hosts::default();
        for last in 0..=255 {
            let host = IpAddr::from([10, 0, 0, last]);
            assert!(hosts.acquire(host, 0));
            hosts.release(host);
        }

        assert!(hosts.open.lock().is_empty());
    }
}
