//! What all threads of a listener share: the queue towards Python, its wake-up, and the counters.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::time::Instant;

use crate::transport::queue::backlog::{Backlog, Load};
use crate::transport::queue::call::Call;
use crate::transport::queue::hosts::Hosts;
use crate::transport::queue::inbound::{Inbound, Taken};
use crate::transport::queue::room::{Room, Waiting};
use crate::transport::wakeup::Wakeup;
use crate::transport::wire::headers::{ClientVersion, Metadata};

/// The largest window of a connection.
const CONNECTION_WINDOW: u32 = 4 << 20;
/// What requests have sent that wait for room.
const WAITING_BYTES: u32 = 16 << 20;
/// How long a request waits for room where messages may take any time to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Settings {
    pub max_message_bytes: usize,
    /// Changed while running.
    pub max_connections: AtomicU64,
    /// Of one remote host; 0 is no limit. Changed while running.
    pub max_connections_per_client: AtomicU64,
    /// No connection is taken with a descriptor from this on; 0 is no limit.
    pub max_descriptor: u64,
    pub max_concurrent_streams: u32,
    pub queue_limit: usize,
    pub keepalive_interval: Option<Duration>,
    pub keepalive_timeout: Duration,
    pub handshake_timeout: Duration,
    /// How long a message may take from its first byte, or its request's headers, to its last byte.
    pub message_timeout: Option<Duration>,
    pub upkeep: Upkeep,
    /// How much of one request a client may send before it is read.
    pub stream_window: u32,
    /// How much large requests may take together.
    pub room: usize,
    pub stream_low_water: usize,
    /// Methods whose requests are streams, by path.
    pub streams: HashMap<String, StreamKind>,
    /// How much of one inbound stream may wait for Python before it is no longer read.
    pub inbound_backlog: usize,
}

impl Settings {
    /// How much of all its requests a client may send before they are read.
    pub fn connection_window(&self) -> u32 {
        self.stream_window.saturating_mul(32).min(CONNECTION_WINDOW)
    }

    /// How many requests may wait for room. What those of one connection have sent already must
    /// not take more than half of its window, or they would keep its others waiting.
    fn waiting(&self) -> Waiting {
        let window = self.stream_window.max(1);
        Waiting {
            all: (WAITING_BYTES / window) as usize,
            of_one: (self.connection_window() / 2 / window) as usize,
        }
    }
}

/// How long a connection may last.
#[derive(Clone, Default)]
pub struct Upkeep {
    /// Without a call.
    pub idle: Option<Duration>,
    /// At all, more or less; its client is sent elsewhere then.
    pub max_age: Option<Duration>,
    /// After that, for calls in progress.
    pub grace: Duration,
    /// Without taking anything of its answers.
    pub untaken: Option<Duration>,
}

/// What becomes of the messages of a request that is a stream.
#[derive(Clone)]
pub enum StreamKind {
    /// Python takes them as they come.
    Collected,
    /// Each is a call of this method; its answer is a message of the stream's answer.
    AnsweredEach(http::Uri),
}

/// A call on its way to Python.
#[derive(Clone)]
pub struct Queued {
    pub call: Arc<Call>,
    pub uri: http::Uri,
    pub message: Bytes,
    pub deadline: Option<Instant>,
    pub metadata: Option<Metadata>,
    pub connection: u64,
}

/// The other side of a connection.
pub struct Peer {
    pub address: String,
    pub tls: bool,
    pub certificate: Option<Vec<u8>>,
    pub load: Arc<Load>,
    pub client: Client,
}

/// What the first call of a connection says its client is; empty before it, None of other clients.
pub type Client = Arc<OnceLock<Option<ClientVersion>>>;

#[derive(Default)]
pub struct Counters {
    /// Connections that take a place.
    pub open: AtomicU64,
    pub connections_total: AtomicU64,
    pub calls_total: AtomicU64,
    pub calls_in_flight: AtomicU64,
    pub bytes_received: AtomicU64,
    pub bytes_sent: AtomicU64,
    pub handshake_failures: AtomicU64,
    pub rejected: AtomicU64,
    pub rejected_per_client: AtomicU64,
    pub rejected_for_descriptors: AtomicU64,
    pub cut_for_slowness: AtomicU64,
    pub cut_for_floods: AtomicU64,
    pub sent_elsewhere: AtomicU64,
}

impl Counters {
    pub fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Relaxed);
    }
}

pub struct Shared {
    pub settings: Settings,
    pub counters: Counters,
    pub peers: Mutex<HashMap<u64, Arc<Peer>>>,
    pub hosts: Hosts,
    /// Signalled when the last connection is gone.
    pub quiet: Condvar,
    queue: Mutex<VecDeque<Queued>>,
    cancelled: Mutex<Vec<u64>>,
    writable: Mutex<Vec<u64>>,
    /// Inbound streams with something Python has not taken.
    readable: Mutex<Vec<Arc<Inbound>>>,
    pub backlog: Arc<Backlog>,
    pub room: Arc<Room>,
    wakeup: Arc<Wakeup>,
}

impl Shared {
    pub fn new(settings: Settings, event_fd: i32) -> io::Result<Self> {
        let wakeup = Arc::new(Wakeup::new(event_fd)?);
        Ok(Shared {
            room: Arc::new(Room::new(
                settings.room,
                settings.waiting(),
                settings.message_timeout.unwrap_or(PATIENCE) / 2,
            )),
            settings,
            counters: Counters::default(),
            peers: Mutex::default(),
            hosts: Hosts::default(),
            quiet: Condvar::new(),
            queue: Mutex::default(),
            cancelled: Mutex::default(),
            writable: Mutex::default(),
            readable: Mutex::default(),
            backlog: Arc::new(Backlog::new(wakeup.clone())),
            wakeup,
        })
    }

    /// Queue a call for Python; false, and the call is dropped, when the queue is full.
    pub fn enqueue(&self, queued: Queued) -> bool {
        {
            let mut queue = self.queue.lock();
            if queue.len() >= self.settings.queue_limit {
                Counters::add(&self.counters.rejected, 1);
                return false;
            }
            queue.push_back(queued);
        }
        self.wakeup.wake();
        true
    }

    /// Everything pushed before this is seen now, everything after wakes Python again.
    pub fn take(&self, limit: usize) -> Vec<Queued> {
        self.wakeup.looking();
        let (taken, more) = {
            let mut queue = self.queue.lock();
            let count = queue.len().min(limit);
            let taken: Vec<Queued> = queue.drain(..count).collect();
            (taken, !queue.is_empty())
        };
        if more {
            self.wakeup.wake();
        }
        taken
    }

    /// Look at every connection, and end those that are slow, the largest first, until no more
    /// than `keep` bytes are held; where to, and how much each held.
    pub fn cut_slow(&self, keep: usize, parts: u64) -> Vec<(String, usize)> {
        let mut slow: Vec<(usize, Arc<Peer>)> = {
            let peers = self.peers.lock();
            let slow = peers.values().filter(|peer| peer.load.is_slow(parts));
            slow.map(|peer| (peer.load.held(), peer.clone())).collect()
        };
        slow.sort_by_key(|(held, _)| Reverse(*held));
        let (mut left, mut cut) = (self.backlog.held(), Vec::new());
        for (held, peer) in slow {
            if left <= keep {
                break;
            }
            left = left.saturating_sub(held);
            if peer.load.cut() {
                cut.push((peer.address.clone(), held));
            }
        }
        Counters::add(&self.counters.cut_for_slowness, cut.len() as u64);
        cut
    }

    /// How many connections there are by what their clients are; looks at every connection.
    pub fn clients(&self) -> BTreeMap<Option<ClientVersion>, u64> {
        let mut found = BTreeMap::new();
        for peer in self.peers.lock().values() {
            if let Some(client) = peer.client.get() {
                *found.entry(*client).or_default() += 1;
            }
        }
        found
    }

    pub fn notify_cancelled(&self, id: u64) {
        self.cancelled.lock().push(id);
        self.wakeup.wake();
    }

    pub fn take_cancelled(&self) -> Vec<u64> {
        std::mem::take(&mut *self.cancelled.lock())
    }

    pub fn notify_writable(&self, id: u64) {
        self.writable.lock().push(id);
        self.wakeup.wake();
    }

    pub fn take_writable(&self) -> Vec<u64> {
        std::mem::take(&mut *self.writable.lock())
    }

    pub fn notify_readable(&self, inbound: Arc<Inbound>) {
        self.readable.lock().push(inbound);
        self.wakeup.wake();
    }

    /// What inbound streams hold; those that are not announced to Python yet have to wait.
    pub fn take_messages(&self) -> Vec<Taken> {
        let readable = std::mem::take(&mut *self.readable.lock());
        let (known, unknown): (Vec<_>, Vec<_>) = readable
            .into_iter()
            .partition(|inbound| inbound.call.is_taken());
        // Their announcement is still queued, so Python will be woken for it.
        self.readable.lock().extend(unknown);
        known.iter().filter_map(|inbound| inbound.take()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

    use super::*;

    fn shared(queue_limit: usize) -> (Shared, OwnedFd) {
        // SAFETY: a fresh descriptor, owned here alone.
        let event = unsafe { OwnedFd::from_raw_fd(libc::eventfd(0, libc::EFD_NONBLOCK)) };
        let settings = Settings {
            max_message_bytes: 0,
            max_connections: AtomicU64::new(0),
            max_connections_per_client: AtomicU64::new(0),
            max_descriptor: 0,
            max_concurrent_streams: 0,
            queue_limit,
            keepalive_interval: None,
            keepalive_timeout: Duration::ZERO,
            handshake_timeout: Duration::ZERO,
            message_timeout: None,
            upkeep: Upkeep::default(),
            stream_window: 0,
            room: 0,
            stream_low_water: 0,
            streams: HashMap::new(),
            inbound_backlog: 0,
        };
        (Shared::new(settings, event.as_raw_fd()).unwrap(), event)
    }

    fn queued(id: u64) -> Queued {
        Queued {
            call: Arc::new(Call::new(id, Arc::default(), false)),
            uri: http::Uri::default(),
            message: Bytes::new(),
            deadline: None,
            metadata: None,
            connection: 0,
        }
    }

    fn wake_ups(event: &OwnedFd) -> u64 {
        let mut count = 0u64;
        // SAFETY: eight writable bytes and an open descriptor.
        let read = unsafe { libc::read(event.as_raw_fd(), (&raw mut count).cast(), 8) };
        if read == 8 {
            count
        } else {
            0
        }
    }

    #[test]
    fn many_calls_wake_once_until_taken() {
        let (shared, event) = shared(10);
        for id in 0..3 {
            assert!(shared.enqueue(queued(id)));
        }
        assert_eq!(wake_ups(&event), 1);

        assert_eq!(shared.take(10).len(), 3);
        assert!(shared.enqueue(queued(9)));

        assert_eq!(wake_ups(&event), 1);
    }

    #[test]
    fn leaving_calls_behind_wakes_again() {
        let (shared, event) = shared(10);
        for id in 0..3 {
            assert!(shared.enqueue(queued(id)));
        }
        wake_ups(&event);

        assert_eq!(shared.take(2).len(), 2);

        assert_eq!(wake_ups(&event), 1);
    }

    #[test]
    fn a_full_queue_takes_no_more() {
        let (shared, _event) = shared(1);

        assert!(shared.enqueue(queued(1)));
        assert!(!shared.enqueue(queued(2)));
    }
}
