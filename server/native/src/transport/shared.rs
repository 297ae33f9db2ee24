//! What all threads of a listener share: the queue towards Python, its wake-up, and the counters.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::AcqRel, Ordering::Relaxed};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::time::Instant;

use super::call::Call;
use super::headers::Metadata;

pub struct Settings {
    pub max_message_bytes: usize,
    pub max_connections: u64,
    pub max_concurrent_streams: u32,
    pub queue_limit: usize,
    pub keepalive_interval: Option<Duration>,
    pub keepalive_timeout: Duration,
    pub handshake_timeout: Duration,
    pub stream_low_water: usize,
}

/// A call on its way to Python.
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
}

#[derive(Default)]
pub struct Counters {
    pub connections_total: AtomicU64,
    pub calls_total: AtomicU64,
    pub calls_in_flight: AtomicU64,
    pub bytes_received: AtomicU64,
    pub bytes_sent: AtomicU64,
    pub handshake_failures: AtomicU64,
    pub rejected: AtomicU64,
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
    /// Signalled when the last connection is gone.
    pub quiet: Condvar,
    queue: Mutex<VecDeque<Queued>>,
    cancelled: Mutex<Vec<u64>>,
    writable: Mutex<Vec<u64>>,
    event: OwnedFd,
    /// Set while Python has a wake-up it has not acted on.
    armed: AtomicBool,
}

impl Shared {
    /// Keeps its own duplicate of the eventfd.
    pub fn new(settings: Settings, event_fd: i32) -> io::Result<Self> {
        // SAFETY: fcntl takes any integer; the result, when not negative, is ours alone.
        let event = unsafe {
            let copy = libc::fcntl(event_fd, libc::F_DUPFD_CLOEXEC, 0);
            if copy < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(copy)
        };
        Ok(Shared {
            settings,
            counters: Counters::default(),
            peers: Mutex::default(),
            quiet: Condvar::new(),
            queue: Mutex::default(),
            cancelled: Mutex::default(),
            writable: Mutex::default(),
            event,
            armed: AtomicBool::new(false),
        })
    }

    /// Wake Python unless it has been woken and has not looked yet.
    fn wake(&self) {
        if self.armed.swap(true, AcqRel) {
            return;
        }
        let one = 1u64;
        // SAFETY: eight readable bytes and a descriptor this struct owns. A full counter (EAGAIN)
        // means that the descriptor is readable, which is all that is wanted.
        unsafe {
            libc::write(self.event.as_raw_fd(), (&raw const one).cast(), 8);
        }
    }

    /// Queue a call for Python; false, and the call is dropped, when the queue is full.
    pub fn enqueue(&self, queued: Queued) -> bool {
        {
            let mut queue = self.queue.lock();
            if queue.len() >= self.settings.queue_limit {
                return false;
            }
            queue.push_back(queued);
        }
        self.wake();
        true
    }

    /// Everything pushed before this is seen now, everything after wakes Python again.
    pub fn take(&self, limit: usize) -> Vec<Queued> {
        self.armed.swap(false, AcqRel);
        let (taken, more) = {
            let mut queue = self.queue.lock();
            let count = queue.len().min(limit);
            let taken: Vec<Queued> = queue.drain(..count).collect();
            (taken, !queue.is_empty())
        };
        if more {
            self.wake();
        }
        taken
    }

    pub fn tell_cancelled(&self, id: u64) {
        self.cancelled.lock().push(id);
        self.wake();
    }

    pub fn take_cancelled(&self) -> Vec<u64> {
        std::mem::take(&mut *self.cancelled.lock())
    }

    pub fn tell_writable(&self, id: u64) {
        self.writable.lock().push(id);
        self.wake();
    }

    pub fn take_writable(&self) -> Vec<u64> {
        std::mem::take(&mut *self.writable.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(queue_limit: usize) -> (Shared, OwnedFd) {
        // SAFETY: a fresh descriptor nobody else has.
        let event = unsafe { OwnedFd::from_raw_fd(libc::eventfd(0, libc::EFD_NONBLOCK)) };
        let settings = Settings {
            max_message_bytes: 0,
            max_connections: 0,
            max_concurrent_streams: 0,
            queue_limit,
            keepalive_interval: None,
            keepalive_timeout: Duration::ZERO,
            handshake_timeout: Duration::ZERO,
            stream_low_water: 0,
        };
        (Shared::new(settings, event.as_raw_fd()).unwrap(), event)
    }

    fn queued(id: u64) -> Queued {
        Queued {
            call: Arc::new(Call::new(id)),
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
