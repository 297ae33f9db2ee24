//! What is held in memory: answers until their callers have taken them, in all and by connection,
//! and messages of streams until Python has taken them.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Buf;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::transport::queue::room::Share;
use crate::transport::wakeup::Wakeup;
use crate::transport::wire::framing::compressed;

/// While a connection holds so much, no more of its calls are read.
const ENOUGH: usize = 8 << 20;

/// One connection's part.
#[derive(Default)]
pub struct Load {
    held: AtomicUsize,
    taken: AtomicU64,
    /// Calls that are not over.
    calls: AtomicUsize,
    /// Those that wait until less than `ENOUGH` is held.
    readers: Mutex<Vec<Waker>>,
    share: Arc<Share>,
    last: Mutex<Look>,
    is_cut: AtomicBool,
    cut: Notify,
}

/// What a connection held, and had taken, when it was looked at.
#[derive(Default)]
struct Look {
    held: usize,
    taken: u64,
}

impl Load {
    pub fn new(share: Share) -> Self {
        Load {
            share: Arc::new(share),
            ..Load::default()
        }
    }

    /// What its requests may take of the room.
    pub fn share(&self) -> &Arc<Share> {
        &self.share
    }

    pub fn calls(&self) -> usize {
        self.calls.load(SeqCst)
    }

    pub fn begin_call(&self) {
        self.calls.fetch_add(1, SeqCst);
    }

    pub fn end_call(&self) {
        self.calls.fetch_sub(1, SeqCst);
    }

    /// How many bytes have been written since the start.
    pub fn taken(&self) -> u64 {
        self.taken.load(SeqCst)
    }

    /// Ready while the client takes its answers: not much of them is held.
    pub fn poll_taken(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.held() < ENOUGH {
            return Poll::Ready(());
        }
        let mut readers = self.readers.lock();
        if self.held() < ENOUGH {
            return Poll::Ready(());
        }
        if !readers.iter().any(|one| one.will_wake(cx.waker())) {
            readers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn release(&self, size: usize) {
        let before = self.held.fetch_sub(size, SeqCst);
        if before >= ENOUGH && before - size < ENOUGH {
            let readers = std::mem::take(&mut *self.readers.lock());
            readers.into_iter().for_each(Waker::wake);
        }
    }

    pub fn held(&self) -> usize {
        self.held.load(SeqCst)
    }

    /// Whether less than one part in `parts` of what was held at the last look has left since.
    pub fn is_slow(&self, parts: u64) -> bool {
        let mut last = self.last.lock();
        let taken = self.taken.load(SeqCst);
        let (held, left) = (last.held as u64, taken - last.taken);
        *last = Look {
            held: self.held(),
            taken,
        };
        last.held > 0 && left.saturating_mul(parts) < held
    }

    /// End the connection, and with it all that it holds; false when that is under way.
    pub fn cut(&self) -> bool {
        let first = !self.is_cut.swap(true, SeqCst);
        self.cut.notify_one();
        first
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

    /// How many bytes have been written since the start.
    pub fn taken(&self) -> u64 {
        self.taken.load(SeqCst)
    }

    /// Wake Python once less than that is held; true, and no wake-up, when it is so already.
    pub fn wake_below(&self, size: usize) -> bool {
        self.awaited.store(size, SeqCst);
        self.held() < size && self.awaited.swap(0, SeqCst) != 0
    }

    /// Count what waits for Python: whole messages of requests that are streams.
    pub fn hold(&self, size: usize) {
        self.held.fetch_add(size, SeqCst);
    }

    pub fn release(&self, size: usize) {
        let left = self.held.fetch_sub(size, SeqCst) - size;
        if left < self.awaited.load(SeqCst) && self.awaited.swap(0, SeqCst) != 0 {
            self.wakeup.wake();
        }
    }
}

/// A framed message: counted as held as long as its memory is, and as taken while it is written.
pub struct Held {
    frame: Vec<u8>,
    written: usize,
    backlog: Arc<Backlog>,
    load: Option<Arc<Load>>,
}

impl Held {
    pub fn new(frame: Vec<u8>, backlog: &Arc<Backlog>) -> Self {
        backlog.held.fetch_add(frame.len(), SeqCst);
        Held {
            frame,
            written: 0,
            backlog: backlog.clone(),
            load: None,
        }
    }

    /// The same, to be sent on that connection.
    pub fn on(mut self, load: &Arc<Load>) -> Self {
        load.held.fetch_add(self.frame.len(), SeqCst);
        self.load = Some(load.clone());
        self
    }

    /// Compress the message, if that makes it smaller; what is saved counts as taken.
    pub fn compressed(mut self) -> Self {
        let Some(frame) = compressed(&self.frame) else {
            return self;
        };
        let saved = self.frame.len() - frame.len();
        self.frame = frame;
        if let Some(load) = &self.load {
            load.release(saved);
            load.taken.fetch_add(saved as u64, SeqCst);
        }
        self.backlog.release(saved);
        self
    }
}

impl Buf for Held {
    fn remaining(&self) -> usize {
        self.frame.len() - self.written
    }

    fn chunk(&self) -> &[u8] {
        &self.frame[self.written..]
    }

    fn advance(&mut self, count: usize) {
        assert!(count <= self.remaining(), "more was written than there is");
        self.written += count;
        self.backlog.taken.fetch_add(count as u64, SeqCst);
        if let Some(load) = &self.load {
            load.taken.fetch_add(count as u64, SeqCst);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(load) = &self.load {
            load.release(self.frame.len());
        }
        self.backlog.release(self.frame.len());
    }
}

#[cfg(test)]
impl Held {
    pub fn for_tests() -> Self {
        let wakeup = Arc::new(Wakeup::new(0).unwrap());
        Held::new(vec![0; 5], &Arc::new(Backlog::new(wakeup)))
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

    use super::*;
    use crate::transport::wire::framing::framed;

    fn backlog() -> (Arc<Backlog>, OwnedFd) {
        // SAFETY: a fresh descriptor, owned here alone.
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
    fn a_message_is_held_whole_until_it_is_gone_and_taken_as_it_is_written() {
        let (backlog, _event) = backlog();
        let load = Arc::new(Load::default());
        let mut sent = Held::new(vec![0; 100], &backlog).on(&load);

        sent.advance(40);
        let counted = (backlog.held(), load.held(), backlog.taken());
        drop(sent);

        assert_eq!(counted, (100, 100, 40));
        assert_eq!((backlog.held(), load.held(), backlog.taken()), (0, 0, 40));
    }

    #[test]
    fn a_connection_is_slow_that_took_too_little_of_what_it_held_at_the_last_look() {
        let (backlog, _event) = backlog();
        let load = Arc::new(Load::default());
        let mut sent = Held::new(vec![0; 1200], &backlog).on(&load);
        assert!(!load.is_slow(12), "not looked at before");

        sent.advance(99);
        assert!(load.is_slow(12));
        sent.advance(100);
        assert!(!load.is_slow(12));
        assert!(load.is_slow(12));
        drop(sent);

        assert!(!load.is_slow(12), "it holds nothing");
    }

    #[test]
    fn calls_of_a_connection_are_read_while_it_takes_its_answers() {
        let (backlog, _event) = backlog();
        let load = Arc::new(Load::default());
        let mut cx = Context::from_waker(Waker::noop());
        let small = Held::new(vec![0; ENOUGH - 1], &backlog).on(&load);
        assert!(load.poll_taken(&mut cx).is_ready());

        let one_more = Held::new(vec![0; 1], &backlog).on(&load);
        assert!(load.poll_taken(&mut cx).is_pending());
        assert!(load.poll_taken(&mut cx).is_pending());
        assert_eq!(load.readers.lock().len(), 1);

        drop(one_more);
        assert!(load.poll_taken(&mut cx).is_ready());
        assert!(load.readers.lock().is_empty());
        drop(small);
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
        let sent: Vec<Held> = (0..3)
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

    #[test]
    fn what_compressing_saves_counts_as_taken() {
        let (backlog, _event) = backlog();
        let load = Arc::new(Load::default());
        let frame = framed(&[7; 10_000]).unwrap();
        let whole = frame.len();
        let sent = Held::new(frame, &backlog).on(&load);
        load.is_slow(12);

        let sent = sent.compressed();

        assert!(sent.remaining() < whole / 10);
        assert_eq!(
            (backlog.held(), load.held()),
            (sent.remaining(), sent.remaining())
        );
        assert!(!load.is_slow(12));
        drop(sent);
        assert_eq!((backlog.held(), load.held()), (0, 0));
    }
}
