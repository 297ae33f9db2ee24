//! The right to one connection, among all of them and among those of its remote host.

use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

use crate::transport::queue::backlog::Load;
use crate::transport::queue::shared::{Counters, Peer, Shared};

/// A registered connection; dropping it makes room for another.
pub struct ConnectionPermit {
    shared: Arc<Shared>,
    id: u64,
    host: IpAddr,
    load: Arc<Load>,
}

impl ConnectionPermit {
    /// Register a connection, unless its host or all hosts together hold too many.
    pub fn acquire(shared: &Arc<Shared>, id: u64, host: IpAddr, peer: Peer) -> Option<Self> {
        let settings = &shared.settings;
        let most = settings.max_connections_per_client.load(Relaxed);
        if !shared.hosts.acquire(host, most) {
            Counters::add(&shared.counters.rejected_per_client, 1);
            return None;
        }
        let load = peer.load.clone();
        let mut peers = shared.peers.lock();
        if peers.len() as u64 >= settings.max_connections.load(Relaxed) {
            shared.hosts.release(host);
            return None;
        }
        peers.insert(id, Arc::new(peer));
        Some(ConnectionPermit {
            shared: shared.clone(),
            id,
            host,
            load,
        })
    }

    pub fn load(&self) -> &Arc<Load> {
        &self.load
    }

    /// Add the certificate that the client has shown.
    pub fn identify(&self, certificate: Vec<u8>) {
        let mut peers = self.shared.peers.lock();
        if let Some(peer) = peers.get_mut(&self.id) {
            *peer = Arc::new(Peer {
                address: peer.address.clone(),
                tls: peer.tls,
                certificate: Some(certificate),
                load: self.load.clone(),
            });
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.shared.hosts.release(self.host);
        let mut peers = self.shared.peers.lock();
        peers.remove(&self.id);
        if peers.is_empty() {
            self.shared.quiet.notify_all();
        }
    }
}
