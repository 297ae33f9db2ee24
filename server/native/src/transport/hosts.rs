//! How many connections each remote host holds, so that one of them cannot take every place.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

#[derive(Default)]
pub struct Hosts {
    open: Mutex<HashMap<IpAddr, u64>>,
    turned_away: Mutex<Option<IpAddr>>,
}

/// A host's claim to one connection; dropping it gives it back.
pub struct Seat {
    hosts: Arc<Hosts>,
    host: IpAddr,
}

impl Hosts {
    /// Count one more connection of the host, unless it holds `most` already; 0 is no limit.
    pub fn seat(self: &Arc<Self>, address: IpAddr, most: u64) -> Option<Seat> {
        // A dual-stack socket shows IPv4 callers as IPv6 ones.
        let host = address.to_canonical();
        let mut open = self.open.lock();
        let held = open.get(&host).copied().unwrap_or(0);
        if most > 0 && held >= most {
            *self.turned_away.lock() = Some(host);
            return None;
        }
        open.insert(host, held + 1);
        Some(Seat {
            hosts: self.clone(),
            host,
        })
    }

    /// The host that was turned away last.
    pub fn last_turned_away(&self) -> Option<IpAddr> {
        *self.turned_away.lock()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.hosts.open.lock();
        match open.get_mut(&self.host) {
            Some(held) if *held > 1 => *held -= 1,
            // Forgotten, or strangers would make the table grow for ever.
            _ => {
                open.remove(&self.host);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_host_gets_its_seat_back_when_a_connection_ends() {
        let hosts = Arc::new(Hosts::default());
        let seat = hosts.seat(host("10.0.0.1"), 1);
        assert!(seat.is_some());
        assert!(hosts.seat(host("10.0.0.1"), 1).is_none());

        drop(seat);

        assert!(hosts.seat(host("10.0.0.1"), 1).is_some());
    }

    #[test]
    fn hosts_do_not_take_each_others_seats() {
        let hosts = Arc::new(Hosts::default());
        let _seat = hosts.seat(host("10.0.0.1"), 1);

        assert!(hosts.seat(host("10.0.0.2"), 1).is_some());
        assert_eq!(hosts.last_turned_away(), None);
    }

    #[test]
    fn one_host_is_the_same_over_both_protocols() {
        let hosts = Arc::new(Hosts::default());
        let _seat = hosts.seat(host("10.0.0.1"), 1);

        assert!(hosts.seat(host("::ffff:10.0.0.1"), 1).is_none());
        assert_eq!(hosts.last_turned_away(), Some(host("10.0.0.1")));
    }

    #[test]
    fn hosts_without_connections_are_forgotten() {
        let hosts = Arc::new(Hosts::default());
        for last in 0..=255 {
            hosts.seat(IpAddr::from([10, 0, 0, last]), 0);
        }

        assert!(hosts.open.lock().is_empty());
    }
}
