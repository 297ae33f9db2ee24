//! What answers hold in memory until their callers have taken them: in all, and by connection.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Notify;

use super::wakeup::Wakeup;

/// One connection's part.
#[derive(Default)]
pub struct Load {
    held: AtomicUsize,
    cut: Notify,
}

impl Load {
    pub fn held(&self) -> usize {
        self.held.load(SeqCst)
    }

    /// End the connection, and with it all that it holds.
    pub fn cut(&self) {
        self.cut.notify_one();
    }

    pub async fn until_cut(&self) {
        self.cut.notified().await;
    }
}

/// The whole of a listener.
pub struct Backlog {
    held: AtomicUsize,
    taken: AtomicU64,
    /// Python waits until less than this is held; 0 when it does not wait.
    awaited: AtomicUsize,
    wakeup: Arc<Wakeup>,
}

impl Backlog {
    pub fn new(wakeup: Arc<Wakeup>) -> Self {
        Backlog {
            held: AtomicUsize::new(0),
            taken: AtomicU64::new(0),
            awaited: AtomicUsize::new(0),
            wakeup,
        }
    }

    pub fn held(&self) -> usize {
        self.held.load(SeqCst)
    }

    /// How many bytes have left since the start.
    pub fn taken(&self) -> u64 {
        self.taken.load(SeqCst)
    }

    /// Wake Python once less than that is held; true, and no wake-up, when it is so already.
    pub fn wake_below(&self, size: usize) -> bool {
        self.awaited.store(size, SeqCst);
        self.held() < size && self.awaited.swap(0, SeqCst) != 0
    }

    fn release(&self, size: usize) {
        self.taken.fetch_add(size as u64, SeqCst);
        let left = self.held.fetch_sub(size, SeqCst) - size;
        if left < self.awaited.load(SeqCst) && self.awaited.swap(0, SeqCst) != 0 {
            self.wakeup.wake();
        }
    }
}

/// A framed message, counted until it has been written or given up.
pub struct Held {
    frame: Vec<u8>,
    backlog: Arc<Backlog>,
    load: Option<Arc<Load>>,
}

impl Held {
    pub fn new(frame: Vec<u8>, backlog: &Arc<Backlog>) -> Self {
        backlog.held.fetch_add(frame.len(), SeqCst);
        Held {
            frame,
            backlog: backlog.clone(),
            load: None,
        }
    }

    /// The bytes to send on that connection; they are counted until the last copy is dropped.
    pub fn on(mut self, load: &Arc<Load>) -> Bytes {
        load.held.fetch_add(self.frame.len(), SeqCst);
        self.load = Some(load.clone());
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.frame
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(load) = &self.load {
            load.held.fetch_sub(self.frame.len(), SeqCst);
        }
        self.backlog.release(self.frame.len());
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

    use super::*;

    fn backlog() -> (Arc<Backlog>, OwnedFd) {
        // SAFETY: a fresh descriptor nobody else has.
        let event = unsafe { OwnedFd::from_raw_fd(libc::eventfd(0, libc::EFD_NONBLOCK)) };
        let wakeup = Arc::new(Wakeup::new(event.as_raw_fd()).unwrap());
        (Arc::new(Backlog::new(wakeup)), event)
    }

    fn was_woken(event: &OwnedFd) -> bool {
        let mut count = 0u64;
        // SAFETY: eight writable bytes and an open descriptor.
        unsafe { libc::read(event.as_raw_fd(), (&raw mut count).cast(), 8) == 8 }
    }

    #[test]
    fn a_message_counts_until_its_last_part_is_gone() {
        let (backlog, _event) = backlog();
        let load = Arc::new(Load::default());
        let mut sent = Held::new(vec![0; 100], &backlog).on(&load);

        let part = sent.split_to(40);
        drop(sent);
        assert_eq!(
            (backlog.held(), load.held(), backlog.taken()),
            (100, 100, 0)
        );
        drop(part);
        assert_eq!((backlog.held(), load.held(), backlog.taken()), (0, 0, 100));
    }

    #[test]
    fn an_answer_for_a_call_that_is_gone_counts_no_more() {
        let (backlog, _event) = backlog();

        drop(Held::new(vec![0; 100], &backlog));

        assert_eq!(backlog.held(), 0);
    }

    #[test]
    fn python_is_woken_once_when_enough_has_been_taken() {
        let (backlog, event) = backlog();
        let load = Arc::new(Load::default());
        let sent: Vec<Bytes> = (0..3)
            .map(|_| Held::new(vec![0; 10], &backlog).on(&load))
            .collect();
        assert!(!backlog.wake_below(15));
        assert!(backlog.wake_below(31));

        assert!(!backlog.wake_below(15));
        let woken: Vec<bool> = sent
            .into_iter()
            .map(|one| {
                drop(one);
                was_woken(&event)
            })
            .collect();

        assert_eq!(woken, [false, true, false]);
    }
}
