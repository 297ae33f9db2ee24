//! The right to one connection, among all of them and among those of its remote host.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::Arc;

use crate::transport::queue::backlog::Load;
use crate::transport::queue::shared::{Client, Counters, Peer, Shared};

/// So many connections may be in their handshake beside those that are open.
const ARRIVING: u64 = 256;

/// A registered connection; dropping it makes room for another.
pub struct ConnectionPermit {
    shared: Arc<Shared>,
    id: u64,
    host: IpAddr,
    load: Arc<Load>,
    client: Client,
    /// It takes one of the places: from the end of its handshake until it is sent elsewhere.
    counted: AtomicBool,
}

impl ConnectionPermit {
    /// Register a connection in its handshake, unless its host or all hosts hold too many.
    pub fn acquire(shared: &Arc<Shared>, id: u64, host: IpAddr, peer: Peer) -> Option<Self> {
        let settings = &shared.settings;
        let most = settings.max_connections_per_client.load(Relaxed);
        let (load, client) = (peer.load.clone(), peer.client.clone());
        if !shared.hosts.arrive(host, id, &load, most) {
            Counters::add(&shared.counters.rejected_per_client, 1);
            return None;
        }
        let most = settings.max_connections.load(Relaxed);
        let mut peers = shared.peers.lock();
        let is_full = shared.counters.open.load(SeqCst) >= most
            || peers.len() as u64 >= most.saturating_add(ARRIVING);
        if is_full {
            shared.hosts.release(host, id, false);
            return None;
        }
        peers.insert(id, Arc::new(peer));
        Some(ConnectionPermit {
            shared: shared.clone(),
            id,
            host,
            load,
            client,
            counted: AtomicBool::new(false),
        })
    }

    /// The handshake is over: take a place; false when there is none left.
    pub fn establish(&self) -> bool {
        let shared = &self.shared;
        let most = shared.settings.max_connections_per_client.load(Relaxed);
        if !shared.hosts.acquire(self.host, self.id, most) {
            Counters::add(&shared.counters.rejected_per_client, 1);
            Counters::add(&shared.counters.rejected, 1);
            return false;
        }
        self.counted.store(true, SeqCst);
        let most = shared.settings.max_connections.load(Relaxed);
        if shared.counters.open.fetch_add(1, SeqCst) >= most {
            self.give_up();
            Counters::add(&shared.counters.rejected, 1);
            return false;
        }
        true
    }

    /// Give up the place: the client was sent elsewhere, and needs it for its next connection.
    pub fn give_up(&self) {
        let counted = self.counted.swap(false, SeqCst);
        if counted {
            self.shared.counters.open.fetch_sub(1, SeqCst);
        }
        self.shared.hosts.release(self.host, self.id, counted);
    }

    pub fn load(&self) -> &Arc<Load> {
        &self.load
    }

    pub fn client(&self) -> &Client {
        &self.client
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
                client: self.client.clone(),
            });
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.give_up();
        let mut peers = self.shared.peers.lock();
        peers.remove(&self.id);
        if peers.is_empty() {
            self.shared.quiet.notify_all();
        }
    }
}
